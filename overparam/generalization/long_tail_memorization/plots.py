"""The chapter's figures, each drawn from a result."""

from __future__ import annotations

import torch
from matplotlib.figure import Figure

from overparam.core import figures
from overparam.core.figures import MARKERS, PALETTE
from overparam.generalization.long_tail_memorization.experiment import (
    DTYPE,
    Result,
    error_by_sightings,
    excess_by_ridge,
)
from overparam.generalization.long_tail_memorization.frequencies import TRACKED, tau

#: Sightings up to which tau is drawn.
TAU_SHOWN = 12


@figures.styled
def plot(result: Result) -> Figure:
    """Test error on the real subpopulations by how often they were seen, rarest last, for every ridge."""
    config, error = result.config, error_by_sightings(result).flip(1)
    figure, axes = figures.new(height=3.6)
    last = error.shape[1] - 1
    for ridge, values in zip(config.ridges, error, strict=True):
        axes.plot(values, color=PALETTE[4], lw=1, marker=".")
        if ridge not in (config.ridges[0], config.limit):
            continue
        color, marker = (PALETTE[1], MARKERS[1]) if ridge == config.limit else (PALETTE[0], MARKERS[0])
        axes.plot(values, color=color, marker=marker, lw=2.2, zorder=3)
    for y, name, emphasis in _ridge_labels(config.ridges, error[:, last].tolist()):
        color = {config.ridges[0]: PALETTE[0], config.limit: PALETTE[1]}.get(emphasis, PALETTE[4])
        figures.label_line(axes, last, y, name, color, xytext=(8, -3))
    axes.set(xlim=(-0.15, last + 0.75), ylim=(0, None), ylabel="test error")
    axes.set_xticks(range(last + 1), ["more than 5", "2 to 5", "once", "never"])
    axes.set_xlabel("how often the subpopulation was seen in training")
    return figure


def _ridge_labels(ridges: tuple[float, ...], heights: list[float]) -> list[tuple[float, str, float]]:
    """Where to write which ridges, and the first of them: lines that end together share a label."""
    room = 0.06 * max(heights)
    groups: list[list[int]] = []
    for i, height in enumerate(heights):
        if groups and abs(height - heights[groups[-1][0]]) < room:
            groups[-1].append(i)
        else:
            groups.append([i])
    names = [f"{ridges[g[0]]:g}" + (f" to {ridges[g[-1]]:g}" if len(g) > 1 else "") for g in groups]
    names[-1] = f"ridge {names[-1]}"
    return [(heights[g[0]], name, ridges[g[0]]) for g, name in zip(groups, names, strict=True)]


@figures.styled
def plot_tau(result: Result) -> Figure:
    """The worth of a sighting: n tau against l for the long tail and for equal frequencies, with the simulation."""
    config, n = result.config, result.config.samples
    ell = range(min(TAU_SHOWN, n) + 1)
    figure, axes = figures.new(height=3.6)
    axes.plot(ell, ell, ls=":", color=PALETTE[4], lw=1.3)
    axes.plot(ell, n * tau(result.alphas, n, ell), color=PALETTE[0])
    for points, color, style in ((config.points, PALETTE[2], "--"), (config.short_points, PALETTE[1], "-.")):
        axes.plot(ell, n * tau(torch.full((1,), 1 / points, dtype=DTYPE), n, ell), color=color, ls=style)
        name = f"{points:,} equal frequencies"
        figures.label_line(axes, ell[-1], n / points, name, color, ha="right", xytext=(0, 4))
    seen = range(min(TRACKED, len(ell)))
    axes.plot(seen, n * result.half_fit.frequency[: len(seen)], "o", color="black", ms=4.5, zorder=3)
    middle = ell[len(ell) * 2 // 3]
    long_tail = float(n * tau(result.alphas, n, middle))
    figures.label_line(axes, middle, long_tail, "long tail", PALETTE[0], xytext=(8, -12))
    figures.label_line(axes, middle, middle, r"$\ell$", PALETTE[4], ha="right", xytext=(-6, 6))
    axes.set(xlabel=r"sightings $\ell$ in the sample", ylabel=r"frequency that they are worth, $n\,\tau_\ell$")
    axes.set(ylim=(-0.5, 1.15 * n / config.short_points), xlim=(-0.3, ell[-1] + 0.3))
    return figure


@figures.styled
def plot_privacy(result: Result) -> Figure:
    """The price of privacy against epsilon, and the excess error of a learner that is as accurate as it allows."""
    figure, axes = figures.new(height=3.2)
    epsilons = torch.tensor(result.config.epsilons)
    axes.plot(epsilons, result.private_price, color=PALETTE[0], lw=1.3)
    mean, spread = result.private_excess.mean(1), result.private_excess.std(1, correction=0)
    axes.errorbar(epsilons.numpy(), mean.numpy(), spread.numpy(), fmt="o", color=PALETTE[1], capsize=3)
    axes.axhline(0, color=PALETTE[4], lw=0.8)
    axes.axhline(result.refusal_long, color="black", ls=":", lw=1.2)
    figures.label_line(
        axes, float(epsilons[-1]), result.refusal_long, "no singleton fitted", "black", ha="right", xytext=(0, 4)
    )
    axes.set(xscale="log", xlabel=r"privacy parameter $\varepsilon$", ylabel="excess error")
    axes.set_xticks(result.config.epsilons, [f"{epsilon:g}" for epsilon in result.config.epsilons])
    axes.minorticks_off()
    return figure


@figures.styled
def plot_coupling(result: Result) -> Figure:
    """Excess error over the interpolating learner on the real subpopulations: measured, and predicted by tau."""
    figure, axes = figures.new(height=3.2)
    measured, predicted = excess_by_ridge(result)
    ridges = result.config.ridges
    axes.plot(ridges, predicted, color=PALETTE[0])
    axes.plot(ridges, measured, "s", color=PALETTE[1])
    figures.label_line(
        axes, ridges[-1], float(predicted[-1]), r"$\sum_\ell \tau_\ell\,$errn", PALETTE[0], ha="right", xytext=(-24, -4)
    )
    figures.label_line(axes, ridges[-2], float(measured[-2]), "measured", PALETTE[1], ha="right", xytext=(-10, 0))
    axes.set(xscale="log", xlabel="ridge", ylabel="excess error on what was seen")
    return figure


@figures.styled
def plot_strip(result: Result) -> Figure:
    """The most memorized training images: their class, and the one that they get when they are left out."""
    count = max(1, len(result.strip_labels))
    figure, axes = figures.new(ncols=count, height=1.35, squeeze=False)
    strip = zip(axes[0], result.strip_images, result.strip_labels, result.strip_without, strict=False)
    for ax, image, label, without in strip:
        ax.imshow(image.mean(0).numpy(), cmap="gray_r")
        ax.set_title(rf"{int(label)} $\to$ {int(without)}", fontsize=10)
    for ax in axes.flat:
        ax.axis("off")
    return figure
