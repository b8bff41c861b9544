"""The chapter's figures, each drawn from a result."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.collections import TriMesh
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter

from overparam.core import figures
from overparam.core.figures import MARKERS, PALETTE
from overparam.imperfect_data.projektor.experiment import FORMS, Result
from overparam.imperfect_data.projektor.sources import SOURCES

WITHOUT, WITH, REFERENCE = PALETTE[1], PALETTE[0], PALETTE[4]
#: Corners of the ternary plots: A lower left, B lower right, C on top.
CORNERS = np.array([[0.0, 0.0], [1.0, 0.0], [0.5, math.sqrt(3) / 2]])


@figures.styled
def plot(result: Result) -> Figure:
    """The simplex three times: what the distance says, what training at n0 says, and what is projected at n."""
    figure, panels = figures.new(ncols=3, height=2.7)
    n0, _, n = result.sizes
    contents = (
        (result.ot, "OT distance"),
        (result.errors[0], f"error at $N_0={n0}$"),
        (np.exp(result.projected), f"projected, $N={n}$"),
    )
    for axes, (values, title) in zip(panels, contents, strict=True):
        shown = _ternary(axes, result.mixtures, values)
        axes.set_title(title)
        bar = figure.colorbar(shown, ax=axes, orientation="horizontal", shrink=0.8, pad=0.02)
        bar.locator = MaxNLocator(4)
    path = result.path @ CORNERS
    panels[2].plot(*path.T, color="white", lw=3.2)
    panels[2].plot(*path.T, color=PALETTE[1], lw=1.6)
    panels[2].plot(*path[0], marker="o", ms=6, color=PALETTE[1], mec="white")
    panels[2].plot(*(result.selected @ CORNERS), marker="*", ms=13, color=PALETTE[1], mec="white")
    return figure


def _ternary(axes: Axes, p: Float[np.ndarray, "k 3"], values: Float[np.ndarray, " k"]) -> TriMesh:
    places = p @ CORNERS
    shown = axes.tripcolor(places[:, 0], places[:, 1], values, shading="gouraud")
    axes.plot(*CORNERS[[0, 1, 2, 0]].T, color="black", lw=0.8)
    offsets = ((-2, -4, "right", "top"), (2, -4, "left", "top"), (0, 3, "center", "bottom"))
    for name, corner, (dx, dy, ha, va) in zip(SOURCES, CORNERS, offsets, strict=True):
        axes.annotate(name, corner, (dx, dy), textcoords="offset points", ha=ha, va=va)
    axes.set(aspect="equal", xlim=(-0.12, 1.12), ylim=(-0.12, 1.02))
    axes.axis("off")
    return shown


@figures.styled
def plot_lines(result: Result) -> Figure:
    """Log error against OT at the three sizes, with a least-squares line each."""
    figure, axes = figures.new(height=3.6)
    for errors, logs, n, color, marker in zip(
        result.errors, result.log_errors, result.sizes, PALETTE[:3], MARKERS[:3], strict=True
    ):
        axes.plot(result.ot, errors.clip(1 / (2 * result.config.n_val)), marker=marker, color=color, ls="none", ms=4)
        slope, shift = np.polynomial.polynomial.polyfit(result.ot, logs, 1)[::-1]
        ends = np.array([result.ot.min(), result.ot.max()])
        axes.plot(ends, np.exp(shift + slope * ends), color=color, lw=1.4)
        where = {"xytext": (6, 0), "va": "center"}
        figures.label_line(axes, ends[1], float(np.exp(shift + slope * ends[1])), f"$N={n}$", color, **where)
    axes.set(yscale="log", xlabel="OT distance from mixture to validation set", ylabel="validation error")
    ticks = [tick for tick in (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8) if axes.get_ylim()[0] <= tick <= axes.get_ylim()[1]]
    axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(right=ends[1] + 0.16 * np.ptp(ends))
    return figure


@figures.styled
def plot_unseen(result: Result) -> Figure:
    """Predicted against measured error on the mixtures that were held out, without and with OT."""
    figure, panels = figures.new(ncols=2, height=3.4, sharex=True, sharey=True)
    form = FORMS.index("linear")
    truth = np.exp(result.log_errors[1])
    both = np.concatenate([truth, np.exp(result.predicted[1, form]).ravel()])
    low, high = np.nanmin(both) / 1.1, np.nanmax(both) * 1.1
    for use, (axes, name, color, marker) in enumerate(
        zip(panels, ("without OT", "with OT"), (WITHOUT, WITH), (MARKERS[1], MARKERS[0]), strict=True)
    ):
        predicted = np.exp(result.predicted[1, form, use])
        axes.plot([low, high], [low, high], color=REFERENCE, ls="--", lw=1.2)
        axes.plot(truth[~result.unseen], predicted[~result.unseen], ".", color=REFERENCE, ms=4)
        axes.plot(truth[result.unseen], predicted[result.unseen], marker=marker, color=color, ls="none")
        axes.set(xscale="log", yscale="log", xlim=(low, high), ylim=(low, high), title=name)
        axes.set(xlabel=f"measured error at $N_1={result.sizes[1]}$")
        ticks = [tick for tick in (0.05, 0.1, 0.2, 0.3, 0.5, 0.8) if low <= tick <= high]
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
            axis.set_minor_formatter(NullFormatter())
    panels[0].set_ylabel("predicted error")
    return figure
