"""The chapter's figures."""

from __future__ import annotations

import torch
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from overparam.core import figures
from overparam.core.figures import MARKERS, PALETTE
from overparam.scaling.imperfect_verifiers.experiment import Result, each_model
from overparam.scaling.imperfect_verifiers.resampling import (
    ceiling,
    false_positive_share,
    optimal_attempts,
    precision_at_attempt,
    resample,
    utility,
)

#: The strongest model, those between, and the three weakest.
STRONG, MIDDLE, WEAKEST = PALETTE[0], PALETTE[4], PALETTE[1]


def _color(result: Result, model: int) -> str:
    return STRONG if model == 0 else WEAKEST if model >= len(result.weakness) - 3 else MIDDLE


def _place(result: Result, model: int) -> int:
    """Where in its group of colour a model stands, which decides its line and its marker."""
    return (len(result.weakness) - 1 - model) % 3


def _line(result: Result, model: int) -> dict[str, str]:
    return {"color": _color(result, model), "ls": ("-", "--", "-.")[_place(result, model)]}


def _name(result: Result, model: int) -> str:
    return f"{'weakness ' if model == 0 else ''}{result.weakness[model]:g}"


def _name_start(axes: Axes, result: Result, model: int, height: float) -> None:
    where = {"ha": "right", "xytext": (-5, -4)}
    figures.label_line(axes, 1, height, f"{result.weakness[model]:g}", _color(result, model), **where)


@figures.styled
def plot(result: Result) -> Figure:
    """Accuracy against the number of attempts, with the ceilings, and a single sample of the strongest model."""
    figure, axes = figures.new(height=4)
    attempts = torch.logspace(0, 4, 81).round().long().unique()
    for model, (c, f) in enumerate(zip(result.correct, result.false_positive, strict=True)):
        color, limit = _color(result, model), ceiling(c, f)
        axes.plot(attempts, resample(c, f, attempts).accuracy, **_line(result, model))
        axes.plot([1, 1e4], [limit, limit], ":", color=color, lw=1)
        figures.label_line(axes, 1e4, limit, _name(result, model), color, xytext=(6, -4))
    strongest = float(result.correct[0].mean())
    axes.plot([1, 1e4], [strongest, strongest], color="black", lw=1)
    figures.label_line(axes, 1e4, strongest, "strongest, one sample", "black", ha="right", xytext=(-4, -16))
    axes.set(xscale="log", xlabel="attempts, at most", ylabel="accuracy", xlim=(1, 1e5), ylim=(0, 1))
    axes.set_xticks([1, 10, 100, 1000, 10_000], ["1", "10", "100", "1,000", "10,000"])
    axes.minorticks_off()
    return figure


@figures.styled
def plot_utility(result: Result) -> Figure:
    """Utility against the number of attempts at four costs, for the strongest and for a weak model."""
    figure, panels = figures.new(ncols=2, height=3.6, sharey=True)
    attempts = torch.arange(301)
    weak = max(len(result.weakness) - 3, 0)
    for axes, model in zip(panels, (0, weak), strict=True):
        c, f = result.correct[model], result.false_positive[model]
        for i, cost in enumerate((0.0, 1.0, 2.0, 4.0)):
            worth, best = utility(c, f, attempts, cost=cost), optimal_attempts(c, f, cost=cost, max_attempts=300)
            color = PALETTE[(2, 4, 0, 1)[i]]
            axes.plot(attempts, worth, color=color, ls=("-", "--", "-.", ":")[i])
            axes.plot(best, worth[best], MARKERS[i], color=color)
            if model == weak:  # at the strongest model the lines lie too close for names
                figures.label_line(axes, 300, float(worth[-1]), f"cost {cost:g}", color, xytext=(5, -3))
        axes.axhline(0, color="black", lw=0.8)
        axes.set_xscale("symlog", linthresh=1)
        axes.set(xlabel="attempts, at most", title=f"weakness {result.weakness[model]:g}")
        axes.set(xticks=[0, 1, 10, 100], xticklabels=["0", "1", "10", "100"], xlim=(0, 400 if model != weak else 3000))
        axes.minorticks_off()
    panels[0].set(ylabel="utility")
    return figure


@figures.styled
def plot_share(result: Result) -> Figure:
    """Share of false positives among what passes, against the accuracy of a single sample."""
    figure, axes = figures.new(height=3.2)
    for model, (c, f) in enumerate(zip(result.correct, result.false_positive, strict=True)):
        at, color = (float(c.mean()), false_positive_share(c, f)), _color(result, model)
        axes.plot(*at, MARKERS[_place(result, model)], color=color, ms=7)
        where = {"ha": "right", "xytext": (-9, -4)} if model == 0 else {"xytext": (8, 0)}
        figures.label_line(axes, *at, _name(result, model), color, **where)
    axes.set(xlabel="accuracy of one sample", ylabel="wrong, of those that pass", xlim=(0, 1))
    axes.margins(y=0.12)
    axes.set_ylim(0, None)
    return figure


@figures.styled
def plot_precision(result: Result) -> Figure:
    """Precision of what is accepted, attempt by attempt, for the strongest, a middle and the weakest model."""
    figure, axes = figures.new(height=3.4)
    attempts, models = torch.arange(1, 31), len(result.weakness)
    for model in sorted({0, (models - 1) // 2, models - 1}):
        precision = precision_at_attempt(result.correct[model], result.false_positive[model], attempts)
        marker = MARKERS[_place(result, model)]
        axes.plot(attempts, precision, marker=marker, ms=3, **_line(result, model))
        _name_start(axes, result, model, float(precision[0]))
    axes.set(xscale="log", xlabel="attempt at which it is accepted", ylabel="precision", xlim=(0.6, 33), ylim=(0, 1))
    axes.set_xticks([1, 2, 5, 10, 20, 30], ["1", "2", "5", "10", "20", "30"])
    axes.minorticks_off()
    return figure


@figures.styled
def plot_tests(result: Result) -> Figure:
    """Share of false positives against the number of tests."""
    figure, axes = figures.new(height=3.4)
    numbers = sorted(result.more_tests)
    for model, c in enumerate(result.correct):
        shares = each_model(false_positive_share, c.expand(len(numbers), -1), _by_tests(result, model))
        marker = MARKERS[_place(result, model)]
        axes.plot(numbers, shares, marker=marker, **_line(result, model))
        _name_start(axes, result, model, float(shares[0]))
    axes.set(xscale="log", xlabel="tests", ylabel="wrong, of those that pass", xlim=(0.65, numbers[-1] * 1.1))
    axes.set_xticks(numbers, [str(n) for n in numbers])
    axes.minorticks_off()
    axes.set_ylim(0, None)
    return figure


def _by_tests(result: Result, model: int) -> Float[Tensor, "numbers tasks"]:
    return torch.stack([result.more_tests[n][model] for n in sorted(result.more_tests)])
