"""The chapter's figures, each drawn from a result."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from overparam.core import figures
from overparam.core.figures import MARKERS, PALETTE
from overparam.imperfect_data.class_imbalance.experiment import Result

#: Colour, marker, line and name of what is compared.
LOOKS = {
    "baseline": (PALETTE[1], MARKERS[1], "-", "as it is"),
    "threshold": (PALETTE[3], MARKERS[3], "--", "thresholding"),
    "oversample": (PALETTE[0], MARKERS[0], "-", "oversampling"),
    "undersample": (PALETTE[2], MARKERS[2], "-", "undersampling"),
}


@figures.styled
def plot(result: Result) -> Figure:
    """Ranking and decisions against the ratio of imbalance: thresholding repairs the second, not the first."""
    figure, (left, right) = figures.new(ncols=2, height=3.7)
    panels = (
        (left, (result.auc[0], result.threshold_auc[0], result.auc[1], result.auc[2]), "ranking: AUC"),
        (right, (result.accuracy[0], result.threshold_accuracy[0], *result.accuracy[1:]), "decisions: accuracy"),
    )
    for axes, lines, title in panels:
        for (color, marker, line, _), values in zip(LOOKS.values(), lines, strict=True):
            axes.plot(result.config.rhos, values.mean(1), line, color=color, marker=marker)
        _ratio_axis(axes, result.config.rhos)
        axes.set_title(title)
    handles = [
        figure.axes[0].plot([], [], line, color=color, marker=marker, label=name)[0]
        for color, marker, line, name in LOOKS.values()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, handlelength=1.8, columnspacing=1.2)
    return figure


def _ratio_axis(axes: Axes, rhos: tuple[float, ...]) -> None:
    axes.set(xscale="log", xlabel=r"imbalance ratio $\rho$")
    axes.set_xticks(rhos, [f"{rho:g}" for rho in rhos])
    axes.minorticks_off()


@figures.styled
def plot_confusion(result: Result) -> Figure:
    """Who is taken for whom, minority classes first: the unbalanced network hardly ever names a rare class."""
    figure, row = figures.new(ncols=3, height=2.6, sharey=True)
    rare = result.config.minority
    classes = result.confusion.shape[1]
    middles = [(rare - 1) / 2, (rare + classes - 1) / 2]
    for axes, matrix, title in zip(row, result.confusion, ("as it is", "thresholding", "oversampling"), strict=True):
        image = axes.imshow(matrix.numpy(), vmin=0, vmax=1, cmap="Blues")
        axes.axhline(rare - 0.5, color="black", lw=0.8)
        axes.axvline(rare - 0.5, color="black", lw=0.8)
        axes.set_title(title)
        axes.set_xticks(middles, ["rare", "frequent"])
        axes.set_yticks(middles, ["rare", "frequent"], rotation=90, va="center")
        axes.tick_params(length=0)
        axes.grid(visible=False)
        axes.set_xlabel("class decided")
    row[0].set_ylabel("true class")
    figure.colorbar(image, ax=row, label="share of true class", shrink=0.7, ticks=[0, 0.5, 1])
    return figure


@figures.styled
def plot_training(result: Result) -> Figure:
    """Along training with oversampling: the ranking never decays, and the rare classes are not unlearned."""
    figure, (left, right) = figures.new(ncols=2, height=3.5)
    steps = result.curve_steps
    names = ("baseline", "as it is", (0, -6), "top"), ("oversample", "oversampling", (0, 6), "bottom")
    for curve, (look, name, offset, va) in zip(result.curve_auc, names, strict=True):
        color, marker, line, _ = LOOKS[look]
        _curve(left, steps, curve, color, marker, line)
        at = len(steps) // 2
        place = float(steps[at]), float(curve[at].amin() if va == "top" else curve[at].amax())
        figures.label_line(left, *place, name, color, xytext=offset, ha="center", va=va)
    left.set(xlabel="step", ylabel="test AUC")
    left.set_title("all classes")
    blue, circle, _, _ = LOOKS["oversample"]
    rows = (
        (result.rare_train[1], "black", MARKERS[4], "training", (0, -6), "top"),
        (result.rare_test[1], blue, circle, "test", (0, 8), "bottom"),
    )
    for curve, color, marker, name, offset, va in rows:
        _curve(right, steps, curve, color, marker, "-")
        at = max(0, len(steps) - 2)
        place = float(steps[at]), float(curve[at].amin() if va == "top" else curve[at].amax())
        figures.label_line(right, *place, name, color, xytext=offset, ha="center", va=va)
    right.set(xlabel="step", ylabel="accuracy, oversampling", ylim=(0, 1.05))
    right.set_title("rare classes")
    return figure


def _curve(axes: Axes, steps: Tensor, curve: Tensor, color: str, marker: str, line: str) -> None:
    figures.band(axes, steps, curve.amin(1), curve.amax(1), color)
    axes.plot(steps, curve.mean(1), line, color=color, marker=marker)


@figures.styled
def plot_remaining(result: Result) -> Figure:
    """What each method leaves of the error in ranking, 1 - AUC, at the compared ratio: one point a replica."""
    figure, axes = figures.new(height=3.2)
    at = result.config.rhos.index(result.config.rho)
    base, over, under = result.auc[:, at]
    rows = (
        ("as it is", base, PALETTE[1], "s"),
        ("two-phase after undersampling", result.two_phase_auc[1], PALETTE[2], "^"),
        ("undersampling", under, PALETTE[2], "^"),
        (f"oversampling, level {result.config.over_level:g}", result.partial_auc, PALETTE[0], "o"),
        ("two-phase after oversampling", result.two_phase_auc[0], PALETTE[0], "o"),
        ("oversampling", over, PALETTE[0], "o"),
    )
    for height, (_, values, color, marker) in enumerate(reversed(rows)):
        errors = 1 - values
        axes.plot(errors, np.full(len(errors), height), ls="none", marker=marker, mfc="none", color=color)
        axes.plot(errors.mean(), height, marker="|", ms=18, mew=2.5, color="black")
    axes.set_yticks(range(len(rows)), [name for name, *_ in reversed(rows)])
    axes.set(xlabel="what is missing to a perfect ranking, 1 - AUC", ylim=(-0.6, len(rows) - 0.4))
    axes.set_xlim(left=min(0.0, float(torch.tensor([1 - v.max() for _, v, _, _ in rows]).min())))
    return figure
