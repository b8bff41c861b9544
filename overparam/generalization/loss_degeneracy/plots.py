"""The chapter's figures."""

from __future__ import annotations

import torch
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from overparam.core import figures
from overparam.core.figures import MARKERS, PALETTE
from overparam.generalization.loss_degeneracy.experiment import Result

#: Spectra are cut here, at the rounding of double precision relative to the largest eigenvalue.
FLOOR = 1e-17


@figures.styled
def plot(result: Result) -> Figure:
    """Effective parameters against parameters, for trained and untrained students."""
    figure, axes = figures.new(height=3.4)
    students = result.students
    series = (
        ("untrained", students.untrained, PALETTE[1], MARKERS[1], "--", (-4, 8)),
        ("trained", students.trained, PALETTE[0], MARKERS[0], "-", (-4, 8)),
    )
    for name, counts, color, marker, line, offset in series:
        axes.plot(students.parameters, counts, line, marker=marker, color=color)
        figures.label_line(axes, students.parameters[-1], counts[-1], name, color, xytext=offset, ha="right")
    axes.plot(students.parameters, students.parameters, ":", color="black", lw=1)
    where = {"xytext": (-6, 2), "ha": "right"}
    figures.label_line(axes, students.parameters[1], students.parameters[1], "all of them", "black", **where)
    axes.axhline(students.teacher, color=PALETTE[4], ls="-.", lw=1.2)
    figures.label_line(
        axes, students.parameters[-1], students.teacher, "teacher", PALETTE[4], xytext=(-4, -12), ha="right"
    )
    axes.set(xscale="log", yscale="log", xlabel="parameters $N$", ylabel=r"eigenvalues above $\epsilon$")
    axes.set_xticks(students.parameters, [str(N) for N in students.parameters])
    ticks = (10, 20, 50, 100, 200)
    axes.set_yticks(ticks, [str(tick) for tick in ticks])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_ylim(10, 2.2 * max(students.untrained))
    return figure


@figures.styled
def plot_spectrum(result: Result) -> Figure:
    """The spectrum of the behavioural Hessian of the synchronised network, and the predicted number of zeros."""
    figure, axes = figures.new(height=3.2)
    network = result.planted[-1]
    values = (network.spectrum / network.spectrum[-1]).clamp(min=FLOOR)
    order = torch.arange(1, len(values) + 1)
    free = network.degeneracy.free
    axes.plot(order[free:], values[free:], MARKERS[0], color=PALETTE[0], ms=3.5)
    axes.plot(order[:free], values[:free], MARKERS[1], color=PALETTE[1], ms=3.5)
    axes.axvline(free + 0.5, color="black", ls="--", lw=1)
    figures.label_line(axes, free + 0.5, 1e-12, f"{free} predicted zeros", "black", xytext=(6, 0))
    axes.set(yscale="log", xlabel="eigenvalue, by size", ylabel="relative to the largest", ylim=(FLOOR / 3, 3))
    return figure


@figures.styled
def plot_adjacency(result: Result) -> Figure:
    """Interactions of the scrambled network in three sets of coordinates, nodes by module."""
    figure, panels = figures.new(ncols=3, height=3.2)
    largest = max(float(modular.adjacency.max()) for modular in result.modular)
    image = None
    for axes, modular in zip(panels, result.modular, strict=True):
        image = axes.imshow(modular.adjacency.numpy(), vmin=0, vmax=largest, cmap="Blues", interpolation="nearest")
        edge = int((modular.module == 0).sum()) - 0.5
        for line in (axes.axhline, axes.axvline):
            line(edge, color=PALETTE[1], lw=1)
        axes.set(xticks=[], yticks=[], title=f"{modular.basis}, $Q={modular.Q:.2f}$")
        axes.grid(False)
    assert image is not None
    bar = figure.colorbar(image, ax=list(panels), location="bottom", aspect=40, shrink=0.6, pad=0.04)
    bar.set_label(r"$\log_{10}(E/\epsilon)$")
    return figure
