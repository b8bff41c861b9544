"""The chapter's figures."""

from __future__ import annotations

import math

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from overparam.core import figures
from overparam.core.figures import MARKERS, PALETTE
from overparam.generalization.xor_grokking.experiment import Result
from overparam.generalization.xor_grokking.method import plane_output


@figures.styled
def plot(result: Result) -> Figure:
    """Training and test accuracy through training, of the network and of two that cannot grok."""
    figure, axes = figures.new(height=3.6)
    blue, red, green, purple, grey = PALETTE
    end = float(result.steps[-1])
    for curves, color, style, marker in (
        (result.relu, blue, "-", MARKERS[0]),
        (result.lazy, green, "--", MARKERS[2]),
        (result.linear, purple, "--", MARKERS[3]),
    ):
        axes.plot(result.steps, curves.test.mean(0), style, color=color, marker=marker, ms=4)
    axes.plot(result.steps, result.relu.train.mean(0), color=grey)
    axes.plot(result.steps, result.relu.flipped.mean(0), ls="none", marker=MARKERS[1], color=red, ms=5)
    chance = {"xytext": (0, 7), "ha": "right"}
    figures.label_line(axes, end, float(result.lazy.test[:, -1].mean()), "test, lazy start", green, **chance)
    figures.label_line(axes, end, float(result.linear.test[:, -1].mean()), "test, linear", purple, **chance)
    figures.label_line(axes, 2, 0.8, "test, clean labels", blue, xytext=(6, -4))
    figures.label_line(axes, 1, 1, "training, all labels", grey, xytext=(-4, 9))
    figures.label_line(axes, end, 1, "training, flipped labels", red, xytext=(0, 9), ha="right")
    _log_time(axes, result)
    axes.set(ylabel="accuracy", ylim=(0.3, 1.12), yticks=[0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
    return figure


def _log_time(axes: Axes, result: Result) -> None:
    """Logarithmic time that has a place for step 0."""
    axes.set_xscale("symlog", linthresh=1)
    ticks = [t for t in (0, 1, 3, 10, 30, 100, 300) if t <= result.steps[-1]]
    axes.set_xticks(ticks, [str(t) for t in ticks])
    axes.minorticks_off()
    axes.set_xlabel("gradient steps $t$")


@figures.styled
def plot_neurons(result: Result) -> Figure:
    """Every neuron of the first run by its inner products with the two means, after one step and at the end."""
    figure, panels = figures.new(ncols=2, height=3.9)
    for axes, at in zip(panels, (1, -1), strict=True):
        alignment = result.alignment[0, at] / result.alignment[0, at].abs().max()
        for chosen, color, marker, name in (
            (result.a[0] > 0, PALETTE[1], MARKERS[0], "$a_j>0$, votes for $\\pm\\mu_1$"),
            (result.a[0] < 0, PALETTE[0], MARKERS[1], "$a_j<0$, votes for $\\pm\\mu_2$"),
        ):
            x, y = alignment[chosen].unbind(1)
            axes.plot(x, y, ls="none", marker=marker, ms=3, mew=0, alpha=0.6, color=color, label=name)
        axes.set(xlim=(-1.1, 1.1), ylim=(-1.1, 1.1), aspect="equal", xticks=[-1, 0, 1], yticks=[-1, 0, 1])
        axes.set_xlabel(r"$\langle w_j,\mu_1\rangle$, relative")
        axes.set_title(f"$t={int(result.steps[at])}$")
    panels[0].set_ylabel(r"$\langle w_j,\mu_2\rangle$, relative")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, markerscale=2)
    return figure


#: Half the side of the plane that is drawn, in units of the means' norm.
PLANE = 1.6


@figures.styled
def plot_plane(result: Result) -> Figure:
    """What the network of the first run says on the plane of the two means, after one step and at the end."""
    figure, panels = figures.new(ncols=2, height=3.5)
    ticks = torch.linspace(-PLANE, PLANE, 161)
    grid = torch.stack(torch.meshgrid(ticks, ticks, indexing="xy"), -1)
    for axes, at in zip(panels, (1, -1), strict=True):
        output = plane_output(result.alignment[0, at], result.a[0], grid)
        axes.contourf(ticks, ticks, output, levels=[-math.inf, 0, math.inf], colors=[PALETTE[0], PALETTE[1]], alpha=0.3)
        axes.contour(ticks, ticks, output, levels=[0], colors="black", linewidths=1.2)
        for centre, sign in (((1, 0), "+"), ((-1, 0), "+"), ((0, 1), "-"), ((0, -1), "-")):
            color = PALETTE[1] if sign == "+" else PALETTE[0]
            axes.plot(*centre, marker="o", ms=15, mfc="white", mec=color, mew=1.5)
            axes.text(*centre, f"${sign}$", color=color, ha="center", va="center", fontsize=13)
        axes.set(aspect="equal", xticks=[-1, 0, 1], yticks=[-1, 0, 1], xlabel=r"along $\mu_1$")
        axes.set_title(f"$t={int(result.steps[at])}$")
        axes.grid(False)
    panels[0].set_ylabel(r"along $\mu_2$")
    return figure
