"""The chapter's figures, each drawn from a result."""

from __future__ import annotations

import math
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from overparam.core import figures
from overparam.core.figures import MARKERS, PALETTE
from overparam.dynamics.robust_matrix_recovery.experiment import DTYPE, Config, Result


@figures.styled
def plot(result: Result) -> Figure:
    """Error against iteration, for three scales of the start and three numbers of columns."""
    config = result.config
    figure, axes = figures.new(height=3.8)
    for color, i in zip(PALETTE, _spread(len(config.alphas)), strict=False):
        for k, error in zip(config.ranks, result.error[:, i], strict=True):
            axes.plot(result.steps, error, color=color, **_stroke(config, k))
        name = rf"$\alpha=10^{{{round(math.log10(config.alphas[i]))}}}$"
        last = float(result.steps[-1]), float(result.error[-1, i, -1])
        figures.label_line(axes, *last, name, color, xytext=(6, -3))
    axes.plot(result.steps, result.l2_error, "--", color="black", lw=1.2)
    at = len(result.steps) // 2
    figures.label_line(axes, float(result.steps[at]), float(result.l2_error[at]), "squared loss", "black", ha="center")
    axes.set(yscale="log", xlabel="step $t$", ylabel="relative error", xlim=(0, 1.16 * config.steps))
    _rank_legend(axes, config)
    return figure


def _spread(count: int) -> list[int]:
    """Three indices from the second to the last, or as many as there are."""
    return sorted({min(1, count - 1), count // 2, count - 1})


def _stroke(config: Config, k: int) -> dict[str, Any]:
    """The largest k is a broad pale line, so that a thin one on top of it shows that they agree."""
    if k == config.ranks[-1]:
        return {"lw": 5, "alpha": 0.35}
    return {"lw": 1.3, "ls": ":" if k == config.rank else "-"}


def _rank_name(config: Config, k: int) -> str:
    return f"$k={k}=r$" if k == config.rank else f"$k={k}$"


def _rank_legend(axes: Axes, config: Config) -> None:
    for k in config.ranks:
        axes.plot([], [], color=PALETTE[4], label=_rank_name(config, k), **_stroke(config, k))
    axes.legend(loc="lower left")


@figures.styled
def plot_alpha(result: Result) -> Figure:
    """Final error and final loss against the scale of the start."""
    config = result.config
    figure, (errors, losses) = figures.new(ncols=2, height=3.4)
    alphas = torch.tensor(config.alphas, dtype=DTYPE)
    for i, k in enumerate(config.ranks):
        style = {"color": PALETTE[i % len(PALETTE)], "marker": MARKERS[i % len(MARKERS)], "mfc": "none"}
        errors.plot(alphas, result.error[i, :, -1], lw=1, label=_rank_name(config, k), **style)
        losses.plot(alphas, result.loss[i, :, -1], lw=1, **style)
    guide = result.error[-1, -1, -1] * alphas / alphas[-1]
    seen = guide <= result.error[-1, :, -1].max()
    errors.plot(alphas[seen], guide[seen], "--", color="black", lw=1)
    figures.label_line(
        errors, float(alphas[seen][0]), float(guide[seen][0]), r"$\propto\alpha$", "black", xytext=(-6, -2), ha="right"
    )
    errors.set(xscale="log", yscale="log", xlabel=r"scale of the start $\alpha$", ylabel="final relative error")
    errors.legend(loc="upper left")
    losses.axhline(result.truth_loss, ls="--", color="black", lw=1)
    figures.label_line(losses, float(alphas[-1]), result.truth_loss, "loss of the truth", "black")
    losses.set(xscale="log", xlabel=r"scale of the start $\alpha$", ylabel="final loss")
    losses.set(ylim=(0, 1.25 * max(result.truth_loss, float(result.loss[:, :, -1].max()))))
    return figure


@figures.styled
def plot_noise(result: Result) -> Figure:
    """Loss against error through training with Gaussian noise, from a small and from a large start."""
    figure, axes = figures.new(height=3.6)
    names = ("small start", "large start")
    for i, (name, marker, at) in enumerate(zip(names, ("o", "s"), ((8, 2), (6, 4)), strict=True)):
        error, loss = result.gaussian_error_path[i], result.gaussian_loss_path[i]
        axes.plot(error, loss, color=PALETTE[i], lw=1.2)
        axes.plot(error[-1], loss[-1], marker, color=PALETTE[i], ms=8)
        figures.label_line(axes, float(error[-1]), float(loss[-1]), name, PALETTE[i], xytext=at, va="top")
    truth = float(result.gaussian_loss[2])
    axes.axhline(truth, ls=":", color="black", lw=1)
    axes.plot(0, truth, "*", color="black", ms=12, clip_on=False, zorder=5)
    figures.label_line(axes, 0, truth, "truth", "black", xytext=(8, 6))
    low, high = float(result.gaussian_loss.min()), float(result.gaussian_loss.max())
    axes.set(xlim=(0, 1.15), ylim=(low - (high - low), high + 3 * (high - low)))
    axes.set(xlabel="relative error", ylabel="training loss")
    return figure


@figures.styled
def plot_samples(result: Result) -> Figure:
    """Final error against the number of measurements, for each k."""
    config = result.config
    figure, axes = figures.new(height=3.2)
    for i, k in enumerate(config.ranks):
        style = {"color": PALETTE[i % len(PALETTE)], "marker": MARKERS[i % len(MARKERS)], "mfc": "none"}
        axes.plot(
            config.sample_sizes, result.sample_error[:, i], lw=1, ms=6 + 2 * i, label=_rank_name(config, k), **style
        )
    freedom = config.d * (config.d + 1) // 2
    axes.axvline(freedom, color="black", lw=1, ls=":")
    figures.label_line(axes, freedom, float(result.sample_error.max()), f"{freedom} unknowns", "black", va="top")
    axes.set(yscale="log", xlabel="measurements $m$", ylabel="final relative error")
    axes.legend()
    return figure
