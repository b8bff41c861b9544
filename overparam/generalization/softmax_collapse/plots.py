"""The chapter's figures."""

from __future__ import annotations

from matplotlib.figure import Figure

from overparam.core import figures
from overparam.core.figures import MARKERS, PALETTE
from overparam.generalization.softmax_collapse.experiment import Result


@figures.styled
def plot(result: Result) -> Figure:
    """Test accuracy through training, with perpGrad, with weight decay and with nothing; training accuracy dashed."""
    figure, axes = figures.new(height=3.5)
    runs = (
        (result.decay, PALETTE[2], MARKERS[2], "weight decay", 0.8, (-6, 4), "right"),
        (result.plain, PALETTE[1], MARKERS[1], "nothing", 1.0, (0, 6), "right"),
        (result.perp, PALETTE[0], MARKERS[0], "perpGrad", 1.0, (5, -5), "left"),
    )
    for history, color, marker, name, where, offset, align in runs:
        axes.plot(history.step, history.train, "--", lw=1.1, color=color)
        axes.plot(history.step, history.test, color=color, marker=marker, ms=4)
        at = int(where * (len(history.step) - 1))
        figures.label_line(axes, float(history.step[at]), float(history.test[at]), name, color, xytext=offset, ha=align)
    axes.annotate("training accuracy (dashed)", (1, 1), (0, 3), ha="right", fontsize=9.5, **_CORNER)
    axes.set(xlabel="steps $t$", ylabel="accuracy", ylim=(-0.06, 1.12), yticks=[0, 0.2, 0.4, 0.6, 0.8, 1.0])
    return figure


_CORNER = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "color": PALETTE[4]}


@figures.styled
def plot_collapse(result: Result) -> Figure:
    """Loss, collapsed samples and alignment through training, with the loss in three precisions."""
    figure, panels = figures.new(nrows=3, height=6.4, sharex=True)
    runs = (
        (result.float16, PALETTE[1], MARKERS[1], "float16"),
        (result.float32, PALETTE[0], MARKERS[0], "float32"),
        (result.float64, PALETTE[2], MARKERS[2], "float64"),
    )
    names = (("loss", "training loss"), ("collapse", "collapsed samples"), ("cosine", "cosine of $-g$ and $\\theta$"))
    for axes, (metric, label) in zip(panels, names, strict=True):
        for history, color, marker, name in runs:
            values = getattr(history, metric)
            shown = history.step > 0
            if metric == "loss":
                shown = shown & (values > 0)
            axes.plot(history.step[shown], values[shown], color=color, marker=marker, ms=3, lw=1.2, label=name)
        axes.set_ylabel(label)
    panels[0].set_yscale("log")
    panels[0].legend(loc="lower left")
    panels[1].set_ylim(-0.05, 1.05)
    panels[2].set_ylim(-0.3, 1.05)
    panels[2].axhline(0, color=PALETTE[4], lw=0.8)
    panels[2].set(xscale="log", xlabel="steps $t$")
    return figure
