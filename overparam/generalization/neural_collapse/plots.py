"""The chapter's figures."""

from __future__ import annotations

import math

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator, StrMethodFormatter

from overparam.core import figures
from overparam.core.figures import MARKERS, PALETTE
from overparam.generalization.neural_collapse.experiment import DTYPE, Result, compensated, mean_nc1

#: The networks' decays, in the order of ``Config.decays``.
NETWORKS = ("base decay", "10 x feature decay", "10 x last-layer decay")
STYLES = ("-", "--", ":")
#: Names of the blocks, short enough for an axis.
BLOCKS = {
    "within_inside": "within,\nin span",
    "within_outside": "within,\noutside",
    "means_outside": "means,\noutside",
    "means_antisymmetric": "means,\nturn",
    "means_symmetric": "means,\nstretch",
}


@figures.styled
def plot(result: Result) -> Figure:
    """NC1~ by layer: of the base network through training, and of all three networks at the end."""
    ratios = mean_nc1(result)
    layers = torch.arange(ratios.shape[2])
    figure, panels = figures.new(ncols=2, height=3.8, sharey=True)
    times = result.config.checkpoints
    for i, (step, shade) in enumerate(zip(times, torch.linspace(0.25, 1, len(times)).tolist(), strict=True)):
        marker = MARKERS[i % len(MARKERS)]
        panels[0].plot(layers, ratios[0, i], marker=marker, color=PALETTE[0], alpha=shade, label=f"step {step}")
    for i, name in enumerate(NETWORKS):
        panels[1].plot(layers, ratios[i, -1], STYLES[i], marker=MARKERS[i], color=PALETTE[i], label=name)
    for axes, title in zip(panels, ("base decay, through training", "at the end"), strict=True):
        axes.set(yscale="log", xlabel="layer (0 is the input)", title=title, xticks=layers.tolist())
        axes.legend(loc="lower left")
    panels[0].set_ylabel(r"$\widetilde{NC}_1$")
    return figure


@figures.styled
def plot_flow(result: Result) -> Figure:
    """The two compensated traces and their ratio along the central path, for each feature decay."""
    within, between = compensated(result)
    ratio = result.flow.within / result.flow.between
    figure, panels = figures.new(ncols=3, height=3.2)
    titles = (
        r"$e^{2\lambda_H t}\,\mathrm{tr}\,\Sigma_W$",
        r"$e^{2\lambda_H t}\,\mathrm{tr}\,\Sigma_B$",
        r"$\widetilde{NC}_1$",
    )
    every = max(1, result.config.flow_steps // 8)
    for axes, curves, title in zip(panels, (within, between, ratio), titles, strict=True):
        for i, decay in enumerate(result.config.flow_decays):
            style = {"marker": MARKERS[i % 5], "markevery": (i * every // 3, every), "color": PALETTE[i % 5]}
            axes.plot(result.flow.times, curves[i], STYLES[i % 3], label=rf"$\lambda_H={decay:g}$", **style)
        axes.set(yscale="log", title=title, xlabel="time $t$")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


@figures.styled
def plot_factors(result: Result) -> Figure:
    """The distance from the linear map against the size of the perturbation, and the five factors."""
    near = result.near
    figure, (left, right) = figures.new(ncols=2, height=3.7, width_ratios=(1, 1.25))
    eps = torch.tensor(result.config.eps, dtype=DTYPE)
    left.plot(eps, near.residual, ls="none", marker=MARKERS[0], color=PALETTE[0])
    line = eps.sort().values
    first = near.residual[eps.argsort()][0] / line[0]
    left.plot(line, first / line[0] * line**2, color=PALETTE[1])
    left.plot(line, first * line, "--", color=PALETTE[4])
    at = float((line[0] * line[-1]) ** 0.5)
    figures.label_line(left, at, float(first / line[0]) * at**2, "slope 2", PALETTE[1], xytext=(-8, 4), ha="right")
    figures.label_line(left, at, float(first) * at, "slope 1", PALETTE[4], xytext=(8, -10))
    left.set(xscale="log", yscale="log", xlabel=r"size of the perturbation $\varepsilon$", ylabel="residual, relative")
    left.set_xticks(line.tolist(), [f"{x:.2g}" for x in line.tolist()], fontsize=8)
    left.xaxis.set_minor_locator(NullLocator())
    places = torch.arange(len(BLOCKS)).double()
    measured, formula = ([values[name] for name in BLOCKS] for values in (near.factors, near.formula))
    right.bar(places, formula, width=0.62, color=PALETTE[1], alpha=0.35, label="formula")
    right.plot(places, measured, ls="none", marker=MARKERS[0], color=PALETTE[0], ms=6, label="measured")
    for place, value in zip(places.tolist(), measured, strict=True):
        if math.isfinite(value):
            right.annotate(
                f"{value:.2f}", (place, value), xytext=(0, 6), textcoords="offset points", ha="center", fontsize=9
            )
    right.set_xticks(places.tolist(), list(BLOCKS.values()), fontsize=8)
    right.set(ylabel="share that is kept", ylim=(0, 1.3))
    right.legend(loc="upper left", ncols=2)
    right.grid(axis="x", visible=False)
    return figure


@figures.styled
def plot_sweep(result: Result) -> Figure:
    """How far NC1~ falls between the given and the optimised features, against either decay."""
    near, multipliers = result.near, result.config.multipliers
    figure, axes = figures.new(height=3.2)
    for i, (name, below) in enumerate((("feature decay", -14), ("last-layer decay", 8))):
        axes.plot(multipliers, near.sweep_predicted[i], STYLES[i], color=PALETTE[i])
        axes.plot(multipliers, near.sweep[i], ls="none", marker=MARKERS[i], color=PALETTE[i])
        figures.label_line(
            axes, multipliers[-1], float(near.sweep[i, -1]), name, PALETTE[i], xytext=(0, below), ha="right"
        )
    axes.set_xscale("log", base=2)
    axes.set_xticks(multipliers, [f"{m:g}" for m in multipliers])
    axes.minorticks_off()
    axes.set(
        xlabel="decay, in multiples of its default", ylabel=r"$\widetilde{NC}_1$, optimised / given", ylim=(0, 0.7)
    )
    return figure
