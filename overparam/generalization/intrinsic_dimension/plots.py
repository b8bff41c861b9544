"""The chapter's figures."""

from __future__ import annotations

import math

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from overparam.core import figures
from overparam.core.figures import MARKERS, PALETTE
from overparam.generalization.intrinsic_dimension.experiment import Result

#: Losses of the toy problem are drawn from here on: below is rounding.
FLOOR = 1e-32


@figures.styled
def plot(result: Result) -> Figure:
    """Accuracy relative to the baseline against d and against d / D, one line a width."""
    figure, (counted, relative) = figures.new(ncols=2, height=3.9, sharey=True)
    config = result.config
    dims = torch.tensor(config.dims)
    rows = zip(config.widths, result.parameters, result.accuracy, result.baseline, strict=True)
    for (width, D, accuracy, baseline), color, marker in zip(rows, PALETTE, MARKERS, strict=False):
        look = {"color": color, "marker": marker, "ms": 4, "lw": 1.4}
        counted.plot(dims, accuracy / baseline, **look, label=f"width {width}, $D$ = {D:,}")
        relative.plot(dims / D, accuracy / baseline, **look)
    for axes in (counted, relative):
        axes.axhline(config.fraction, color="black", ls="--", lw=1)
        axes.set(xscale="log", ylim=(0, 1.05))
    figures.label_line(counted, config.dims[0], config.fraction, "solved", "black", xytext=(0, 3))
    counted.set(xlabel="dimension of the subspace, $d$", ylabel="accuracy over baseline")
    _ticks(counted, (5, 10, 20, 50, 100, 200))
    relative.set_xlabel("$d/D$")
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _ticks(axes: Axes, ticks: tuple[int, ...]) -> None:
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())


@figures.styled
def plot_toy(result: Result) -> Figure:
    """The toy problem's smallest loss against d, for each number of parameters."""
    figure, axes = figures.new(height=3.2)
    config = result.config
    dims = range(1, config.toy_dims + 1)
    for D, loss, color, marker in zip(config.toy_sizes, result.toy_loss, PALETTE, MARKERS, strict=False):
        axes.plot(dims, loss.clamp(min=FLOOR), color=color, marker=marker, ms=4, lw=1.2, label=f"$D$ = {D:,}")
    axes.axvline(config.toy_groups, color="black", ls="--", lw=1)
    figures.label_line(axes, config.toy_groups, 1e-10, f"$d={config.toy_groups}$", "black", xytext=(6, 0))
    axes.set(yscale="log", xlabel="dimension of the subspace, $d$", ylabel="smallest loss", ylim=(FLOOR / 10, 1e6))
    axes.set_xticks([d for d in dims if d % 5 == 0 or d == 1])
    axes.legend(loc="upper right")
    return figure


@figures.styled
def plot_memory(result: Result) -> Figure:
    """Training accuracy against d, for true and for shuffled labels."""
    figure, axes = figures.new(height=3.2)
    config = result.config
    runs = (
        ("true labels", result.memory_true, PALETTE[0], MARKERS[0], 0, (8, -8)),
        ("shuffled labels", result.memory_shuffled, PALETTE[1], MARKERS[1], len(config.memory_dims) // 2, (10, -6)),
    )
    for (name, row, color, marker, at, offset), d in zip(runs, result.d90_memory(), strict=True):
        axes.plot(config.memory_dims, row, color=color, marker=marker)
        figures.label_line(axes, config.memory_dims[at], float(row[at]), name, color, xytext=offset)
        if math.isfinite(d):
            axes.plot([d, d], [0, config.fraction], ":", color=color, lw=1.4)
            figures.label_line(axes, d, 0.02, f"{d:.0f}", color, xytext=(4, 0))
    axes.axhline(config.fraction, color="black", ls="--", lw=1)
    axes.set(xscale="log", ylim=(0, 1.05), xlabel="dimension of the subspace, $d$", ylabel="training accuracy")
    _ticks(axes, config.memory_dims)
    return figure


@figures.styled
def plot_compression(result: Result) -> Figure:
    """Bars of D and of the intrinsic dimension for each width, and the factor between them."""
    figure, axes = figures.new(height=3.2)
    config, d90 = result.config, result.d90()
    places = torch.arange(len(config.widths))
    axes.bar(places - 0.2, result.parameters, 0.38, color=PALETTE[4], label="parameters $D$")
    needed = [d if math.isfinite(d) else 0.0 for d in d90]
    axes.bar(places + 0.2, needed, 0.38, color=PALETTE[0], hatch="//", ec="white", label=r"$d_{\mathrm{int90}}$")
    for place, D, d in zip(places.tolist(), result.parameters, d90, strict=True):
        axes.annotate(
            rf"{D / d:.0f}$\times$",
            (place + 0.2, max(d, 1) if math.isfinite(d) else 1),
            (0, 3),
            textcoords="offset points",
            ha="center",
            color=PALETTE[0],
            fontsize=9.5,
        )
    axes.set(yscale="log", ylim=(10, 10 * max(result.parameters)), ylabel="numbers")
    axes.set_xticks(places.tolist(), [f"width {width}" for width in config.widths])
    axes.grid(False, axis="x")
    axes.legend(loc="upper left", ncols=2)
    return figure
