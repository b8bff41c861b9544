"""The chapter's figures, each drawn from a result."""

from __future__ import annotations

import numpy as np
import torch
from matplotlib.figure import Figure

from overparam.core import figures
from overparam.core.figures import MARKERS, PALETTE
from overparam.imperfect_data.noisy_labels.co_teaching import small_loss_indices
from overparam.imperfect_data.noisy_labels.experiment import Result

#: Colour, marker, and name of each variant.
LOOKS = {
    "baseline": (PALETTE[1], MARKERS[1], "plain"),
    "dropout": (PALETTE[2], MARKERS[2], "Dropout"),
    "nested": (PALETTE[0], MARKERS[0], "Nested Dropout"),
}
WRONG, RIGHT, REFERENCE = PALETTE[1], PALETTE[0], PALETTE[4]
#: Examples that the figure of the losses shows, evenly spaced by rank.
LOSSES_SHOWN = 500


@figures.styled
def plot(result: Result) -> Figure:
    """Clean test accuracy over both stages: the plain network rises and decays, the compressed ones hold."""
    figure, axes = figures.new(height=3.9)
    alone, end = result.config.epochs, result.config.epochs + result.config.ct_epochs
    both = torch.cat([result.accuracy, result.co_accuracy[:, :, 1:]], 2)
    for (color, marker, name), curves, below in zip(LOOKS.values(), both, (True, False, True), strict=True):
        mean = curves.mean(0)
        figures.band(axes, range(end + 1), curves.amin(0), curves.amax(0), color)
        axes.plot(mean, color=color, marker=marker, markevery=max(1, end // 8))
        where = {"xytext": (0, -9 if below else 7), "ha": "right", "va": "top" if below else "bottom"}
        figures.label_line(axes, 0.97 * alone, float(mean[alone]), name, color, **where)
    axes.axhline(result.logistic, color=REFERENCE, ls="--", lw=1.2)
    where = {"xytext": (4, 0), "va": "center", "annotation_clip": False}
    figures.label_line(axes, end, result.logistic, "logistic\nregression", REFERENCE, **where)
    axes.axvline(alone, color="black", lw=0.8)
    for middle, stage in ((alone / 2, "each network alone"), ((alone + end) / 2, "Co-teaching")):
        axes.text(middle, 1.01, stage, ha="center", va="bottom", transform=axes.get_xaxis_transform())
    low = max(0.0, float(both[:, :, alone:].min()) - 0.1)
    axes.set(xlabel="epoch", ylabel="accuracy on clean test data", xlim=(0, end), ylim=(low, 1))
    return figure


@figures.styled
def plot_features(result: Result) -> Figure:
    """Accuracy from the first k features after stage 1: nested features are ordered, the others need each other."""
    figure, axes = figures.new(height=3.6)
    dim = result.by_features.shape[2]
    k = np.arange(1, dim + 1)
    marks = np.unique(np.geomspace(1, dim, 8).round().astype(int)) - 1
    places = ((0.7, (6, -8), "left"), (0.62, (-6, 6), "right"), (0.3, (-6, 6), "right"))
    for look, curves, (along, offset, side) in zip(LOOKS.values(), result.by_features, places, strict=True):
        color, marker, name = look
        mean = curves.mean(0)
        figures.band(axes, k, curves.amin(0), curves.amax(0), color)
        axes.plot(k, mean, color=color, marker=marker, markevery=marks.tolist())
        at = round(dim**along)
        figures.label_line(axes, at, float(mean[at - 1]), name, color, xytext=offset, ha=side)
    chosen = result.k[2]
    heights = result.by_features[2].gather(1, chosen[:, None] - 1)[:, 0]
    axes.plot(chosen, heights, ls="none", marker="*", ms=11, color="black", zorder=3)
    where = {"xytext": (0, 9), "ha": "center"}
    figures.label_line(axes, float(chosen.double().log().mean().exp()), float(heights.max()), "$k^*$", "black", **where)
    powers = 2 ** np.arange(int(np.log2(dim)) + 1)
    axes.set(xscale="log", xlabel="features used, $k$", ylabel="accuracy on clean test data", ylim=(0, 1))
    axes.set_xticks(powers, [str(power) for power in powers])
    axes.minorticks_off()
    return figure


@figures.styled
def plot_losses(result: Result) -> Figure:
    """Losses of the noisy training set at the start of stage 2, sorted: the small ones are those of right labels."""
    figure, axes = figures.new(height=3.6)
    losses = result.losses[2, 0]
    order = losses.argsort(dim=0, stable=True)
    kept = small_loss_indices(losses, result.config.forget_rate)
    rank = torch.linspace(0, len(order) - 1, min(len(order), LOSSES_SHOWN)).round().long()
    shown, wrong = losses[order][rank], result.wrong[order][rank]
    axes.axvspan(0, len(kept), color="#e6ecf2", lw=0)
    axes.vlines(rank[wrong], 0, shown[wrong], color=WRONG, lw=0.8)
    axes.plot(rank[wrong], shown[wrong], ls="none", marker="s", ms=2, color=WRONG)
    axes.plot(rank[~wrong], shown[~wrong], ls="none", marker="o", ms=3.5, color=RIGHT)
    share = round(100 * float(result.wrong[kept].double().mean()))
    middle, top = len(kept) / 2, float(shown.max())
    axes.text(middle, 0.97 * top, f"kept; {share} % of these are wrong", ha="center", va="top")
    figures.label_line(
        axes, middle, float(shown[rank <= middle].max()), "right labels", RIGHT, xytext=(0, 8), ha="center"
    )
    figures.label_line(axes, 0.9 * len(order), 0.7 * top, "wrong labels", WRONG, xytext=(-24, 0), ha="right")
    axes.set(
        xlabel="training examples, by their loss", ylabel="cross-entropy", xlim=(0, len(order)), ylim=(0, 1.04 * top)
    )
    return figure
