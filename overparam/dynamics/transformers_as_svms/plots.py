"""The chapter's figures, each drawn from a result."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from overparam.core import figures
from overparam.core.figures import MARKERS, PALETTE
from overparam.dynamics.transformers_as_svms.experiment import NORMS, Result


@figures.styled
def plot(result: Result) -> Figure:
    """Correlation with the two SVM solutions during training, for both parameterizations."""
    figure, panels = figures.new(ncols=2, height=3.2, sharey=True)
    for axes, corr, name in zip(panels, result.corr, ("$W$", "$K$ and $Q$"), strict=True):
        _draw_correlations(axes, result.steps, corr)
        axes.set(xlabel="step", title=f"training {name}", xticks=np.linspace(0, result.config.steps, 3))
    panels[0].set_ylabel("correlation with the SVM solution")
    panels[0].set_ylim(top=1.08)
    return figure


def _draw_correlations(axes: Axes, steps: np.ndarray, corr: np.ndarray) -> None:
    """Mean and one standard deviation over the runs, for the two norms."""
    middle = len(steps) // 2
    means = corr.mean(1)
    looks = zip(NORMS, means, corr.std(1), PALETTE, MARKERS, ("-", "--"), strict=False)
    for norm, mean, spread, color, marker, style in looks:
        figures.band(axes, steps, mean - spread, np.minimum(mean + spread, 1), color)
        axes.plot(steps, mean, color=color, ls=style, marker=marker, markevery=max(len(steps) // 5, 1))
        above = mean[middle] == means[:, middle].max()
        where = {"xytext": (0, 12 if above else -22), "ha": "center"}
        figures.label_line(axes, float(steps[middle]), float(mean[middle]), f"{norm} SVM", color, **where)


@figures.styled
def plot_sweep(result: Result) -> Figure:
    """The shares of datasets that could be solved, and that are, against the width."""
    figure, axes = figures.new(height=3.2)
    config, dims = result.config, result.config.sweep_dims
    lines = {
        "best tokens separable": (result.sweep_feasible, PALETTE[2], MARKERS[2], "--", 8),
        "best tokens selected": (result.sweep_global, PALETTE[0], MARKERS[0], "-", -18),
    }
    at = len(dims) // 2
    for name, (share, color, marker, style, above) in lines.items():
        axes.plot(dims, share, color=color, marker=marker, ls=style)
        figures.label_line(axes, dims[at], float(share[at]), name, color, xytext=(8, above))
    axes.axvline(config.threshold, color=PALETTE[4], lw=1)
    figures.label_line(axes, config.threshold, 0.03, r"$\max(T-1,\,n)$", PALETTE[4])
    axes.set(xscale="log", xlabel="width $d$", ylabel="share of datasets", ylim=(0, 1.15))
    axes.set_xticks(dims, [str(d) for d in dims])
    axes.minorticks_off()
    return figure
