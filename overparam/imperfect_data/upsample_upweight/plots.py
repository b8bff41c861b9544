"""The chapter's figures, each drawn from a result."""

from __future__ import annotations

import torch
from matplotlib.figure import Figure

from overparam.core import figures
from overparam.core.figures import MARKERS, PALETTE
from overparam.imperfect_data.upsample_upweight.balancing import variance_factor
from overparam.imperfect_data.upsample_upweight.experiment import Result

#: Colour, marker, line style and name of each variant.
LOOKS = {
    "proportional": ("black", MARKERS[4], "-", r"$\tau=1$"),
    "sampling": (PALETTE[0], MARKERS[0], "-", r"$\tau={tau:g}$"),
    "hot": (PALETTE[3], MARKERS[3], "-", r"$\tau={tau_high:g}$"),
    "scalarization": (PALETTE[1], MARKERS[1], "--", r"Scalarization to $\tau={tau:g}$"),
    "cooldown": (PALETTE[2], MARKERS[2], "-", r"Cooldown, ${tau:g}\to 1$"),
    "heat_up": (PALETTE[4], None, ":", r"heat-up, $1\to {tau:g}$"),
}


@figures.styled
def plot(result: Result) -> Figure:
    """Validation losses of the low- and of the high-resource domain over the steps, for the six variants."""
    config = result.config
    figure, (low, high) = figures.new(ncols=2, height=4.1)
    for variant, (color, marker, style, name) in LOOKS.items():
        label = name.format(tau=config.tau, tau_high=config.tau_high)
        for axes, loss in ((low, result.low(variant)), (high, result.high(variant))):
            every = max(1, len(loss) // 6)
            axes.plot(result.steps, loss, style, color=color, marker=marker, markevery=every, ms=4, label=label)
    for axes, losses, kind, locale in ((low, result.val[:, :, -1], "low", -1), (high, result.val[:, :, 0], "high", 0)):
        late = losses.mean(1)[:, losses.shape[2] // 4 :]  # the start is off the scale
        axes.set(xlabel="step", title=f"{kind}-resource ({config.locales[locale]})", xlim=(0, config.steps))
        axes.set_ylim(float(late.min()) - 0.05, float(late.max()) + 0.1)
        axes.axvline(config.switch * config.steps, color="black", lw=0.8, ls=":")
    low.set_ylabel("validation loss, nats a character")
    figure.legend(*low.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


#: Domains, and exponents of their sizes, for which the figure of the variance factor shows the theory.
SHOWN_DOMAINS, SHOWN_EXPONENTS = 10, (0.0, 0.5, 1.0, 1.5, 2.0)


@figures.styled
def plot_variance(result: Result) -> Figure:
    """The factor F over the temperature, with the probe's ratio of variances as points."""
    figure, axes = figures.new(height=3.6)
    taus = torch.logspace(0, 2.3, 60, dtype=torch.float64)
    for alpha in SHOWN_EXPONENTS:
        sizes = torch.arange(1, SHOWN_DOMAINS + 1, dtype=torch.float64) ** -alpha
        factor = [variance_factor(sizes, tau) for tau in taus.tolist()]
        axes.plot(taus, factor, color=PALETTE[4], lw=1.2)
        figures.label_line(axes, float(taus[-1]), factor[-1], rf"$\alpha={alpha:g}$", "black", xytext=(5, -3))
    sizes = result.sizes[0]
    axes.plot(taus, [variance_factor(sizes, tau) for tau in taus.tolist()], color=PALETTE[0])
    ratio = result.probe.variance[1] / result.probe.variance[0]
    axes.plot(result.probe.taus, ratio, MARKERS[1], color=PALETTE[1], ms=7)
    figures.label_line(axes, result.probe.taus[1], float(ratio[1]), "measured", PALETTE[1], xytext=(8, -12))
    mine = variance_factor(sizes, 12.0)
    figures.label_line(axes, 12.0, mine, "$F$ of this corpus", PALETTE[0], xytext=(-6, 8), ha="right")
    axes.set(xscale="log", yscale="log", xlim=(1, 400), xlabel=r"temperature $\tau$")
    axes.set_ylabel("variance, Scalarization over sampling")
    axes.set_xticks([1, 2, 5, 10, 100], ["1", "2", "5", "10", "100"])
    axes.set_yticks([1, 2, 5, 10], ["1", "2", "5", "10"])
    axes.minorticks_off()
    return figure


@figures.styled
def plot_norms(result: Result) -> Figure:
    """Norms of mini-batch gradients at one model, by the two methods."""
    figure, axes = figures.new(height=3.2)
    norms = result.probe.norms
    bins = torch.linspace(float(norms.min()), float(norms.max()), 41).tolist()
    names = "Temperature Sampling", "Scalarization"
    for values, color, hatch, name in zip(norms, PALETTE, ("", "///"), names, strict=False):
        axes.hist(values.tolist(), bins, color=color, alpha=0.45, hatch=hatch, edgecolor=color, label=name)
    axes.set(xlabel="norm of a mini-batch gradient", ylabel="mini-batches")
    axes.legend()
    return figure
