"""The figures of one result."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

from overparam.core import figures
from overparam.core.figures import PALETTE
from overparam.scaling.step_law.experiment import Config, Result
from overparam.scaling.step_law.landscapes import published_landscapes
from overparam.scaling.step_law.laws import STEP_LAW, Numbers, near_optimal


@figures.styled
def plot(result: Result) -> Figure:
    """The loss over learning rate and batch, one map for each setting, with what the law chooses there."""
    config = result.config
    shape = len(config.widths), len(config.tokens)
    figure, panels = figures.new(shape[1], shape[0], height=1.0 + 1.65 * shape[0], sharex=True, sharey=True)
    for axes, ((N, D), grid) in zip(panels.flat, result.landscapes.items(), strict=True):
        mesh = _draw_map(axes, config, grid)
        axes.plot(*_place(*result.law(N, D)), "o", color=PALETTE[1], mec="white", ms=8)
        axes.set_title(f"$N={N}$, $D={D // 1024}$k", fontsize=9.5)
    _label_maps(figure, panels, mesh)
    return figure


@figures.styled
def plot_held_out(result: Result) -> Figure:
    """The map of the held-out setting, with the best cell, the law's choice and that of the smallest setting."""
    figure, axes = figures.new(height=3.6)
    mesh = _draw_map(axes, result.config, result.held_grid)
    i, j = np.unravel_index(result.held_grid.argmin(), result.held_grid.shape)
    best = result.config.lrs[j], result.config.batches[i]
    choices = (
        ("grid's best", best, "s", PALETTE[2]),
        ("law", result.held_pred, "o", PALETTE[1]),
        ("transfer", result.transfer, "D", PALETTE[3]),
    )
    for name, choice, marker, color in choices:
        x, y = _place(*choice)
        axes.plot(x, y, marker, color=color, mec="white", ms=10, label=name, ls="none")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, 1.16), ncols=3)
    _label_maps(figure, np.array([[axes]]), mesh)
    return figure


def _place(lr: Numbers, batch: Numbers) -> tuple[Float[np.ndarray, "..."], Float[np.ndarray, "..."]]:
    """Where a choice is on a map, whose axes are in binary logarithms."""
    return np.asarray(np.log2(lr)), np.asarray(np.log2(batch))


def _draw_map(axes: Axes, config: Config, grid: Float[np.ndarray, "batches lrs"]) -> QuadMesh:
    """Excess over the best loss in per cent, up to 5, and the contour at 1."""
    excess = 100 * (grid / grid.min() - 1)
    places = _place(config.lrs, config.batches)
    mesh = axes.pcolormesh(*places, excess, vmin=0, vmax=5, shading="nearest", rasterized=True)
    axes.contour(*places, excess, levels=[1], colors="white", linewidths=1.5)
    axes.set_xticks(places[0][::4], [f"{lr:.2g}" for lr in config.lrs[::4]])
    axes.set_yticks(places[1][::2], [str(batch) for batch in config.batches[::2]])
    axes.grid(visible=False)
    return mesh


def _label_maps(figure: Figure, panels: np.ndarray, mesh: QuadMesh) -> None:
    figure.supxlabel("peak learning rate", fontsize=10.5)
    figure.supylabel("batch, tokens", fontsize=10.5)
    figure.colorbar(mesh, ax=panels, label="loss above the best, %", extend="max", aspect=30)


@figures.styled
def plot_laws(result: Result) -> Figure:
    """Best batch against data and best learning rate against size, ours and the published, each with its law.

    The learning rates are shown as the law carries them over to the mean of log D: what is left is the size.
    """
    ours = [(N, D, *choice) for (N, D), choice in _centres(result).items()]
    theirs = [(N, D, bowl.lr, bowl.batch) for N, D, bowl in published_landscapes()]
    figure, (left, right) = figures.new(ncols=2, height=3.5)
    looks = (("ours", ours, result.law, PALETTE[0], "o", "-"), ("published", theirs, STEP_LAW, PALETTE[1], "s", "--"))
    for name, points, law, color, marker, line in looks:
        N, D, lr, batch = np.array(points).T
        size, data = np.exp(np.log(N).mean()), np.exp(np.log(D).mean())
        ends_N, ends_D = (np.array([values.min() / 3, values.max() * 3]) for values in (N, D))
        batch_line, lr_line = law(size, ends_D)[1], law(ends_N, data)[0]
        left.plot(D, batch, marker, color=color, mfc="none")
        left.plot(ends_D, batch_line, line, color=color, lw=1.4)
        right.plot(N, lr * law(N, data)[0] / law(N, D)[0], marker, color=color, mfc="none")
        right.plot(ends_N, lr_line, line, color=color, lw=1.4)
        figures.label_line(left, ends_D[0], batch_line[0], name, color, xytext=(10, -6))
        figures.label_line(right, ends_N[0], lr_line[0], name, color, xytext=(6, 2))
    all_D = np.array([result.D.min(), min(D for _, D, *_ in theirs)])
    left.plot(all_D, STEP_LAW(1, all_D)[1], ":", color=PALETTE[1], lw=1.2)
    left.set(xscale="log", yscale="log", xlabel="tokens $D$", ylabel="best batch, tokens")
    right.set(xscale="log", yscale="log", xlabel="parameters $N$", ylabel="best learning rate, at mean $D$")
    right.margins(0.14)
    return figure


def _centres(result: Result) -> dict[tuple[int, int], tuple[float, float]]:
    """The geometric means of learning rate and batch over the near-optimal runs of each setting."""
    kept = near_optimal(result.N, result.D, result.loss, result.config.threshold)
    centres = {}
    for N, D in result.landscapes:
        chosen = kept & (result.N == N) & (result.D == D)
        lr, batch = (float(np.exp(np.log(values[chosen]).mean())) for values in (result.lr, result.batch))
        centres[N, D] = lr, batch
    return centres
