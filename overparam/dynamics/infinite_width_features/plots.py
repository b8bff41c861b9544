"""The chapter's figures, each drawn from a result."""

from __future__ import annotations

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from overparam.core import figures
from overparam.core.figures import MARKERS, PALETTE
from overparam.core.fits import slope_or_nan
from overparam.dynamics.infinite_width_features.experiment import Result


@figures.styled
def plot(result: Result) -> Figure:
    """Analogy accuracy against width: muP rises to its limit, NTK falls to chance."""
    figure, axes = figures.new(height=3.6)
    config = result.config
    _draw_nets(axes, config.w2v_widths, result.finite_accuracies, 0)
    _draw_nets(axes, config.ntk_widths, result.ntk_accuracies, 1)
    widths = sorted({*config.w2v_widths, *config.ntk_widths})
    for level, x, text, side in (
        (result.limit_accuracy, widths[-1], r"limit of $\mu$P", "right"),
        (result.initial_accuracy, widths[0], "limit of NTK: chance", "left"),
    ):
        color = PALETTE[0] if side == "right" else PALETTE[1]
        axes.axhline(level, ls="--", lw=1.2, color=color)
        figures.label_line(axes, x, level, text, color, xytext=(0, 6), ha=side)
    above = {"xytext": (-6, 5), "ha": "right"}
    figures.label_line(axes, *_middle(config.w2v_widths, result.finite_accuracy), r"$\mu$P nets", PALETTE[0], **above)
    figures.label_line(axes, *_middle(config.ntk_widths, result.ntk_accuracy), "NTK nets", PALETTE[1])
    axes.set(xscale="log", ylim=(0, 1.09), xlabel="width $n$", ylabel="analogies solved")
    _width_ticks(axes, widths)
    return figure


def _draw_nets(axes: Axes, widths: tuple[int, ...], accuracies: Tensor, color: int) -> None:
    """The mean over nets as a line, every net as a small mark."""
    axes.plot(widths, accuracies.mean(1), color=PALETTE[color], marker=MARKERS[color])
    axes.plot(widths, accuracies, color=PALETTE[color], ls="none", marker=MARKERS[color], ms=3, alpha=0.5)


def _middle(widths: tuple[int, ...], values: Tensor) -> tuple[float, float]:
    at = len(widths) // 2
    return float(widths[at]), float(values[at])


def _width_ticks(axes: Axes, widths: list[int]) -> None:
    axes.set_xticks(widths, [str(width) for width in widths])
    axes.minorticks_off()


@figures.styled
def plot_motion(result: Result) -> Figure:
    """How far the last features move, against width, in three parametrizations."""
    figure, axes = figures.new(height=3.6)
    widths = torch.tensor(result.config.widths)
    names = (r"$\mu$P", "NTK", "standard, one step")
    for i, (name, motion) in enumerate(zip(names, result.feature_motion, strict=True)):
        slope = slope_or_nan(widths, motion)
        axes.plot(widths, motion, color=PALETTE[i], marker=MARKERS[i])
        text = f"{name}: slope ${round(slope, 2) + 0.0:.2f}$"  # + 0.0 turns -0.00 into 0.00
        figures.label_line(axes, float(widths[0]), float(motion[0]), text, PALETTE[i], xytext=(0, 15))
    axes.set(xscale="log", yscale="log", xlabel="width $n$", ylabel="feature motion (RMS)")
    axes.margins(y=0.15)
    _width_ticks(axes, list(result.config.widths))
    return figure


@figures.styled
def plot_embeddings(result: Result) -> Figure:
    """Words of four bases in the plane of the grid's two leading principal components, before and after training."""
    figure, panels = figures.new(ncols=2, height=3.4)
    config = result.config
    for axes, E, title in zip(panels, result.embeddings, ("before: NTK, for ever", r"after: $\mu$P"), strict=True):
        centred = E.mT - E.mean(1)
        U, S, _ = torch.linalg.svd(centred, full_matrices=False)
        plane = (U * S)[:, :2].view(config.bases, config.attributes, 2)
        plane = plane[:, plane[..., 0].mean(0).argsort()]  # attributes from left to right
        for words, color, marker in zip(plane, PALETTE[:4], MARKERS, strict=False):
            axes.plot(*words.mT, color=color, marker=marker, lw=0.9, ms=5)
        axes.set(title=title, xlabel="first component", ylabel="second component")
    return figure
