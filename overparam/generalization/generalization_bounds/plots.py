"""The chapter's figures."""

from __future__ import annotations

from matplotlib.figure import Figure

from overparam.core import figures
from overparam.core.figures import MARKERS, PALETTE
from overparam.generalization.generalization_bounds.experiment import Result


@figures.styled
def plot(result: Result) -> Figure:
    """How often a consistent rule is right against how often its best certificate fails, as the sample grows."""
    figure, axes = figures.new(height=3.9)
    axes.plot([0, 0.5], [0, 0.5], ":", color=PALETTE[4], lw=1.2)
    figures.label_line(axes, 0.33, 0.33, "failure = success", PALETTE[4], xytext=(-8, 8), ha="right")
    for i, q in enumerate(result.config.fields):
        style = ("-", "--", "-.")[i % 3]
        color, marker = PALETTE[i % 3], MARKERS[i % 3]
        axes.plot(result.success[i], result.failure[i], style, color=color, marker=marker, ms=6, label=f"$q={q}$")
    for n in {result.config.field_d - 1, result.config.field_d, result.config.field_d + 2}:
        if n in result.config.field_samples:
            at = result.config.field_samples.index(n)
            x, y = (float(table[result.config.fields.index(2), at]) for table in (result.success, result.failure))
            figures.label_line(axes, x, y, f"$n={n}$", PALETTE[0], xytext=(11, -1))
    axes.plot(0, 0, ls="none", marker="*", ms=15, color=PALETTE[3], clip_on=False, zorder=5)
    figures.label_line(axes, 0, 0, "kernel machine", PALETTE[3], xytext=(16, -2))
    axes.set(xlabel="probability that the rule is right", ylabel="least failure of a certificate")
    axes.set(xlim=(-0.02, 1.03), ylim=(-0.02, 0.52))
    axes.legend(loc="upper right", title="consistent rule over $\\mathbb{F}_q$")
    return figure


@figures.styled
def plot_worlds(result: Result) -> Figure:
    """One distribution of a measure, and the two of the loss, over the twin networks."""
    figure, (seen, hidden) = figures.new(ncols=2, height=3.2)
    seen.hist(result.twin_measures["spectral_over_margin"].numpy(), bins=8, color=PALETTE[4])
    seen.set(xlabel="spectral norms over margin", ylabel="networks", title="seen, in either world")
    bins = [i / 40 for i in range(41)]
    for world, (color, hatch) in enumerate(((PALETTE[0], ""), (PALETTE[1], "//"))):
        hidden.hist(result.losses[world].numpy(), bins=bins, color=color, hatch=hatch, edgecolor="white", lw=0)
        where = {"xytext": (8, -14)} if world == 0 else {"xytext": (-16, -14), "ha": "right"}
        figures.label_line(
            hidden,
            float(result.losses[world].mean()),
            hidden.get_ylim()[1] / (1.05 + world),
            f"world {world + 1}",
            color,
            **where,
        )
    hidden.set(xlabel="population loss", title="not seen", xlim=(-0.02, 1))
    return figure
