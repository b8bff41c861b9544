"""The chapter's figures, each drawn from a result."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from overparam.core import figures
from overparam.core.figures import MARKERS, PALETTE
from overparam.imperfect_data.data_diet.experiment import HALF, Result

HARDEST, EASIEST, RANDOM, GRAND, REFERENCE = PALETTE[0], PALETTE[1], PALETTE[2], PALETTE[3], PALETTE[4]
CLEAN, MOVED = PALETTE[0], PALETTE[1]
COLUMNS = 10


@figures.styled
def plot(result: Result) -> Figure:
    """What is kept, and what the score needs: accuracy against the share kept, and against the score's epoch."""
    figure, (left, right) = figures.new(ncols=2, height=3.7, sharey=True)
    _plot_kept(left, result)
    _plot_epochs(right, result)
    left.set(ylabel="accuracy on test data")
    return figure


def _plot_kept(axes: Axes, result: Result) -> None:
    kept = 1 - result.pruned
    half = result.pruned.tolist().index(HALF)
    axes.axhline(float(result.full.mean()), color=REFERENCE, ls="--", lw=1.2)
    where = {"xytext": (0, 5), "ha": "right"}
    figures.label_line(axes, 1, float(result.full.mean()), "everything", REFERENCE, **where)
    lines = (
        (result.hardest, HARDEST, MARKERS[0], "hardest", (5, -14)),
        (result.random, RANDOM, MARKERS[2], "random", (6, -14)),
    )
    for accuracies, color, marker, name, offset in lines:
        axes.plot(kept, accuracies.mean(1), color=color, marker=marker)
        figures.band(axes, kept, accuracies.amin(1), accuracies.amax(1), color)
        figures.label_line(axes, float(kept[half]), float(accuracies[half].mean()), name, color, xytext=offset)
    easiest = float(result.easiest.mean())
    axes.plot(kept[half], easiest, color=EASIEST, marker=MARKERS[1])
    figures.label_line(axes, float(kept[half]), easiest, "easiest", EASIEST, xytext=(7, 0), va="center")
    axes.set(xlabel="share of the examples kept", xlim=(0.1, 1))


def _plot_epochs(axes: Axes, result: Result) -> None:
    random = float(result.random[result.pruned.tolist().index(HALF)].mean())
    places = range(len(result.epochs))
    axes.axhline(random, color=RANDOM, ls=":", lw=1.4)
    figures.label_line(axes, len(places) - 1, random, "random half", RANDOM, xytext=(0, -13), ha="right")
    lines = (
        (result.by_el2n, HARDEST, MARKERS[0], "EL2N", "-"),
        (result.by_grand, GRAND, MARKERS[3], "GraNd", "--"),
    )
    for accuracies, color, marker, name, style in lines:
        axes.plot(places, accuracies.mean(1), color=color, marker=marker, ls=style)
        figures.band(axes, places, accuracies.amin(1), accuracies.amax(1), color)
        where = {"xytext": (-8, 0), "ha": "right", "va": "center"}
        figures.label_line(axes, 0, float(accuracies[0].mean()), name, color, **where)
    axes.set_xticks(places, [str(epoch) for epoch in result.epochs.tolist()])
    axes.set(xlabel="epoch of the scores", xlim=(-1.2, len(places) - 0.8))


@figures.styled
def plot_gallery(result: Result) -> Figure:
    """The ends of the ranking: what is easy, what is odd, and what is wrong."""
    size = result.gallery.shape[1]
    rows = -(-size // COLUMNS)
    figure, axes = figures.new(ncols=COLUMNS, nrows=3 * rows, height=0.2 + 2.3 * rows + 0.5)
    names = ("lowest scores", "highest scores", "highest scores, with label noise")
    for block, name in enumerate(names):
        part = axes[block * rows : (block + 1) * rows].flat
        for i, ax in enumerate(part):
            ax.set(xticks=[], yticks=[])
            ax.axis("off") if i >= size else _show(ax, result, block, i)
        # The name of a block would widen its column, so it has no part in the layout; _show keeps room above it.
        where = {"xycoords": "axes fraction", "textcoords": "offset points", "in_layout": False}
        axes[block * rows, 0].annotate(name, (0, 1), (0, 14), **where)
    return figure


def _show(axes: Axes, result: Result, block: int, i: int) -> None:
    moved = bool(result.gallery_moved[block, i])
    axes.imshow(_picture(result.gallery[block, i]), cmap="gray_r")
    above = "\n" if i < COLUMNS else ""
    label = int(result.gallery_labels[block, i])
    axes.set_title(f"{above}{label}", fontsize=9.5, pad=2, color=MOVED if moved else "black")
    for spine in axes.spines.values():
        spine.set(visible=moved, color=MOVED, linewidth=2)


def _picture(image: Tensor) -> np.ndarray:
    """Height x width, with channels last where there are some, scaled to [0, 1]."""
    image = image.reshape(8, 8) if image.ndim == 1 else image.movedim(0, -1)
    return ((image - image.min()) / (image.max() - image.min())).numpy()


@figures.styled
def plot_noise(result: Result) -> Figure:
    """EL2N in the noisy run: moved labels pile up at the top, and the window ends below them."""
    figure, axes = figures.new(height=3.6)
    scores, moved = result.noisy_el2n, result.moved
    top = 1.05 * float(scores.max())
    kept = scores.sort().values[result.offset : result.offset + result.kept]
    axes.axvspan(float(kept[0]), float(kept[-1]), color="#e6ecf2", lw=0)
    for part, color, hatch in ((scores[~moved], CLEAN, None), (scores[moved], MOVED, "////")):
        axes.hist(part.numpy(), bins=40, range=(0, top), color=color, alpha=0.55, hatch=hatch, edgecolor=color)
    axes.set(xlabel="EL2N, mean over the networks", ylabel="examples", yscale="log", xlim=(0, top))
    high = axes.get_ylim()[1]
    axes.set_ylim(0.7, 2.5 * high)
    axes.text(float(kept[0] + kept[-1]) / 2, 1.6 * high, "the window", ha="center", va="center")
    axes.text(0.72 * top, 0.14 * high, "moved labels", color=MOVED, ha="center", fontsize=9.5)
    axes.text(float(kept[-1]) + 0.02 * top, 1.6 * high, "skipped", ha="left", va="center")
    axes.text(0.1 * top, 0.02 * high, "labels as they were", color="white", fontsize=9.5)
    return figure
