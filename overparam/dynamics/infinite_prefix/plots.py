"""The chapter's figures, each drawn from a result."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from overparam.core import figures
from overparam.core.figures import MARKERS, PALETTE
from overparam.dynamics.infinite_prefix.experiment import Result

TAYLOR, LEARNED, NONE = PALETTE[0], PALETTE[1], PALETTE[4]
#: Prefix vectors from which on a prefix is drawn as a long one, and the relative loss at which curves end.
LONG, FLOOR = 32, 1e-13


@figures.styled
def plot(result: Result) -> Figure:
    """Error of the compression against the length of the prefix, and the numbers that have to be stored for it."""
    figure, (error, stored) = figures.new(ncols=2, height=3.6, width_ratios=(3, 2))
    lengths = np.array(result.config.prefix_lengths, dtype=float)
    error.plot(lengths, result.no_prefix_error, color=NONE, marker=MARKERS[4], ls="--")
    error.plot(lengths, result.learned_error, color=LEARNED, marker=MARKERS[1])
    for degree, values in zip(result.config.degrees, result.taylor_error.T, strict=True):
        error.plot(lengths, values, color=TAYLOR, marker=MARKERS[0], ms=3.5, lw=1.2)
        where = {"xytext": (5, 0), "va": "center", "annotation_clip": False}
        figures.label_line(error, lengths[-1], values[-1], str(degree), TAYLOR, **where)
    error.set(xscale="log", yscale="log", xlabel="prefix length $m$", ylabel="relative error of the output")
    middle = len(lengths) // 2
    above = {"xytext": (0, 8), "ha": "center"}
    figures.label_line(error, lengths[middle], result.no_prefix_error[middle], "without the prefix", NONE, **above)
    figures.label_line(error, lengths[middle], result.learned_error[middle], "$Z$, $k$ learned", LEARNED, **above)
    lowest = {"xycoords": "axes fraction", "xytext": (0, 0), "ha": "right"}
    figures.label_line(error, 0.97, 0.04, "$Z$, $k$ computed, by degree", TAYLOR, **lowest)
    error.set_ylim(error.get_ylim()[0] / 4, error.get_ylim()[1] * 3)
    _draw_storage(stored, result)
    return figure


def _draw_storage(axes: Axes, result: Result) -> None:
    d, degrees = result.config.d, result.config.degrees
    lengths = np.array(result.config.prefix_lengths, dtype=float)
    axes.plot(lengths, 2 * lengths * d, color="black", marker=MARKERS[4])
    where = {"xytext": (8, -3), "ha": "left", "va": "top"}
    figures.label_line(axes, lengths[len(lengths) // 3], 2 * lengths[len(lengths) // 3] * d, "$2md$", "black", **where)
    for degree, at in ((degrees[0], lengths[-1]), (degrees[-1], lengths[len(lengths) // 2])):
        numbers = math.comb(d + degree, degree) * (d + 1)
        axes.axhline(numbers, color=TAYLOR, lw=1.4)
        figures.label_line(axes, at, numbers, f"degree {degree}", TAYLOR, xytext=(0, 3), ha="right")
    axes.axhline(d * d + d, color=LEARNED, lw=1.4)
    where = {"xytext": (0, -4), "ha": "right", "va": "top"}
    figures.label_line(axes, lengths[-1], d * d + d, "learned, $d^2+d$", LEARNED, **where)
    axes.set_ylim(d * d / 2, 4 * d * lengths[-1])
    axes.set(xscale="log", yscale="log", xlabel="prefix length $m$", ylabel="numbers stored for a head")


@figures.styled
def plot_learning(result: Result) -> Figure:
    """Loss of prefixes of every length, and how far their vectors and their kernel have moved."""
    figure, (loss, moved) = figures.new(ncols=2, height=3.6)
    _draw_losses(loss, result)
    counts = np.array(result.config.prefix_counts)
    moved.plot(counts, result.movement, color=PALETTE[0], marker=MARKERS[0], label="largest movement")
    moved.plot(counts, result.kernel_change, color=PALETTE[2], marker=MARKERS[2], label="change of the kernel")
    moved.plot(counts, result.movement[-1] * counts[-1] / counts, "--", color="black", lw=1, label="$1/m$")
    moved.set(xscale="log", yscale="log", xlabel="prefix vectors $m$")
    moved.set_title("moved by the end")
    moved.set_ylim(top=100 * moved.get_ylim()[1])
    moved.legend(loc="upper right")
    return figure


def _draw_losses(axes: Axes, result: Result) -> None:
    relative = result.loss_curves / result.loss_curves[:, :1]
    steps = relative.shape[1] - 1
    by_length = dict(zip(result.config.prefix_counts, relative, strict=True))
    for m, curve in by_length.items():
        style = "-" if m >= LONG else "--"
        axes.plot(np.where(curve > FLOOR, curve, math.nan), color=_color(m), ls=style, lw=1.3)
    place, where = math.inf, {"xytext": (4, 0), "va": "center", "annotation_clip": False}
    for m, curve in sorted(by_length.items(), key=lambda item: -item[1][-1]):
        if curve[-1] > FLOOR:  # names keep a distance
            place = min(curve[-1], place / 4)
            figures.label_line(axes, steps, place, str(m), _color(m), **where)
    if fallen := {m: int((curve > FLOOR).sum()) for m, curve in by_length.items() if curve[-1] <= FLOOR}:
        name = ", ".join(map(str, fallen))
        figures.label_line(axes, max(fallen.values()), FLOOR, name, _color(max(fallen)), xytext=(6, 4))
    axes.set(yscale="log", ylim=(FLOOR, 10), xlim=(0, steps), xlabel="step", ylabel="loss over its start")
    axes.set_title("loss, by $m$")


def _color(m: int) -> str:
    return TAYLOR if m >= LONG else LEARNED


@figures.styled
def plot_adapters(result: Result) -> Figure:
    """Accuracy on the new task against the parameters that an adapter trains."""
    figure, axes = figures.new(height=3.3)
    names = {"head": "head alone", "prefix": "prefix", "ntk": "NTK-Attention", "lora": "LoRA", "full": "all of it"}
    for adapter, x, y in zip(result.config.adapters, result.trainable.tolist(), result.accuracy, strict=True):
        ours = adapter == "ntk"
        axes.plot(x, y, color=LEARNED if ours else TAYLOR, marker=MARKERS[1] if ours else MARKERS[0], ms=7)
        where = {"xytext": (9, 0), "ha": "left", "va": "center"}
        figures.label_line(axes, x, y, names[adapter], LEARNED if ours else TAYLOR, **where)
    axes.axhline(result.pretrained_accuracy, color=NONE, ls="--", lw=1.2)
    figures.label_line(axes, 0, result.pretrained_accuracy, "on the old task", NONE, xytext=(0, 4))
    axes.set_xscale("symlog", linthresh=200)
    axes.set(xlabel="trained parameters beside the head", ylabel="accuracy on the new task", xlim=(-40, 6e4))
    axes.margins(y=0.18)
    return figure
