"""The chapter's figures."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from overparam.core import figures
from overparam.core.figures import MARKERS, PALETTE
from overparam.scaling.overtraining.experiment import Result
from overparam.scaling.overtraining.published import error_runs, large_runs, small_runs

#: Multipliers that get a line of their own.
SHOWN = (10, 40, 160, 640)
STAR = {"marker": "*", "ms": 13, "ls": "none", "mec": "black", "mew": 0.8}
LARGE = ("1.4B", "6.9B")


@figures.styled
def plot(result: Result) -> Figure:
    """Reducible loss against compute by multiplier, as it is and times the common power of the compute."""
    figure, (left, right) = figures.new(ncols=2, height=3.8)
    eta = result.published_law.eta
    for axes, power in ((left, 0.0), (right, eta)):
        _draw_multipliers(axes, result, power)
    left.set(ylabel="loss above $E$, nats a token", xlim=(3e15, 4e23))
    left.set_yticks([0.5, 1, 2, 4], ["0.5", "1", "2", "4"])
    right.set(ylabel=r"the same times $C^{\,\eta}$", xlim=(3e15, 2e25), ylim=(535, 715))
    right.set_yticks([550, 600, 650, 700], ["550", "600", "650", "700"])
    return figure


def _draw_multipliers(axes: Axes, result: Result, power: float) -> None:
    """The law and the runs at the multipliers shown, with rings for the runs of the fit and stars for the targets."""
    law, runs = result.published_law, result.published
    C = 6 * runs["N"] ** 2 * runs["M"]
    height = (runs["loss"] - law.E) * C**power
    grid = np.geomspace(5e15, 2e22, 50)
    for M, color, marker in zip(SHOWN, PALETTE, MARKERS, strict=False):
        line = (law.at_compute(grid, M) - law.E) * grid**power
        axes.plot(grid, line, color=color, lw=1.2)
        axes.plot(C[runs["M"] == M], height[runs["M"] == M], marker, color=color)
        if power:
            figures.label_line(axes, grid[-1], line[-1], f"$M={M}$", color, xytext=(5, -3))
    fitted, large = small_runs(runs), large_runs(runs)
    axes.plot(C[fitted], height[fitted], "o", color="white", mec="black", ms=7)
    for x, y, name, color in zip(C[large], height[large], LARGE, (PALETTE[3], "white"), strict=True):
        axes.plot(x, y, color=color, **STAR)
        if not power:
            above = {"xytext": (6, 6)} if name == LARGE[0] else {"xytext": (-8, -6), "ha": "right"}
            figures.label_line(axes, x, y, name, "black", **above)
    axes.set(xscale="log", yscale="log", xlabel="compute $C=6ND$, operations")
    axes.set_xticks([1e16, 1e18, 1e20, 1e22])
    axes.minorticks_off()


@figures.styled
def plot_error(result: Result) -> Figure:
    """Downstream error against loss, with the fitted law and both predictions."""
    figure, axes = figures.new(height=3.6)
    runs, law = result.published, result.published_error_law
    six, large = error_runs(runs), large_runs(runs)
    axes.plot(runs["loss"], runs["err17"], "v", color=PALETTE[4], ms=4)
    grid = np.linspace(2.3, 6.3, 200)
    axes.plot(grid, law(grid), color=PALETTE[0])
    axes.plot(runs["loss"][six], runs["err17"][six], "o", color=PALETTE[0], ms=7)
    predicted = result.published_law(runs["N"][large], (runs["M"] * runs["N"])[large])
    axes.plot(runs["loss"][large], runs["err17"][large], color=PALETTE[1], **STAR)
    axes.plot(predicted, law(predicted), "x", color="black", ms=7, mew=1.6)
    beside = ({"xytext": (10, -3)}, {"xytext": (-9, -5), "ha": "right"})
    for x, y, name, where in zip(runs["loss"][large], runs["err17"][large], LARGE, beside, strict=True):
        figures.label_line(axes, x, y, name, PALETTE[1], **where)
    axes.set(xlabel="loss, nats a token", ylabel="mean error on 17 tasks", xlim=(1.95, None))
    return figure


@figures.styled
def plot_own(result: Result) -> Figure:
    """Predicted against measured loss of our own runs, with the entropy as the floor."""
    figure, axes = figures.new(height=3.8)
    E, lam, eta = result.blind
    ends = [result.entropy, max(result.fit_loss.max(), result.target_loss.max()) + 0.05]
    axes.plot(ends, ends, color="black", lw=1)
    fitted = result.law(result.fit_N, result.fit_M * result.fit_N)
    axes.plot(result.fit_loss, fitted, "o", color=PALETTE[0], label="runs of the fit")
    predicted = result.law(result.target_N, result.target_M * result.target_N)
    axes.plot(result.target_loss, predicted, color=PALETTE[1], label="predictions", **STAR)
    blind = E + lam * (6 * result.target_N**2 * result.target_M) ** -eta
    axes.plot(result.target_loss, blind, "s", color="black", mfc="none", label="predictions without $M$")
    axes.axvline(result.entropy, ls=":", color=PALETTE[2])
    figures.label_line(axes, result.entropy, ends[1], "entropy $H$", PALETTE[2], xytext=(5, -12))
    axes.set(xlabel="measured loss, nats a token", ylabel="predicted loss")
    axes.legend(loc="lower right")
    return figure
