"""The chapter's figures, each drawn from a result."""

from __future__ import annotations

import torch
from matplotlib.figure import Figure

from overparam.core import figures
from overparam.core.figures import MARKERS, PALETTE
from overparam.dynamics.neural_network_kernels.experiment import DTYPE, Result
from overparam.dynamics.neural_network_kernels.features import ACTIVATIONS, arc_cosine_kernel


@figures.styled
def plot(result: Result) -> Figure:
    """Test accuracy against trained parameters: bundled from weights, in closed form, and by backpropagation."""
    figure, axes = figures.new(height=3.8)
    curves = (
        ("closed form", result.closed_parameters, result.closed_accuracy, 0, {"xytext": (8, -14)}),
        ("bundled from\ntrained weights", result.bundled_parameters, result.bundled_accuracy, 1, {"xytext": (10, -18)}),
    )
    for name, parameters, accuracy, i, where in curves:
        axes.plot(parameters, accuracy, color=PALETTE[i], marker=MARKERS[i], lw=1.4)
        at = (len(parameters) - 1) // 2
        figures.label_line(axes, parameters[at], float(accuracy[at]), name, PALETTE[i], **where)
    axes.plot(result.mlp_parameters, result.mlp_accuracy, MARKERS[3], color=PALETTE[2], ms=9)
    where = {"xytext": (-4, 10), "ha": "left"}
    figures.label_line(axes, result.mlp_parameters, result.mlp_accuracy, "ReLU network", PALETTE[2], **where)
    axes.axhline(result.sine_accuracy, ls="--", lw=1, color=PALETTE[4])
    last = result.bundled_parameters[-1]
    where = {"xytext": (0, 4), "ha": "right"}
    figures.label_line(axes, last, result.sine_accuracy, "sine network", PALETTE[4], **where)
    axes.set(xscale="log", xlabel="trained parameters", ylabel="test accuracy", ylim=(None, 1.05))
    return figure


@figures.styled
def plot_estimates(result: Result) -> Figure:
    """Estimates against exact values, and the error against the number of features."""
    config = result.config
    figure, (scatter, rate) = figures.new(ncols=2, height=3.4)
    few, many = config.counts[min(1, len(config.counts) - 1)], config.counts[-1]
    for i in range(len(ACTIVATIONS)):
        scatter.plot(
            result.exact[i], result.estimates[i, 0], MARKERS[i], color=PALETTE[i], ms=3.5, mfc="none", alpha=0.6
        )
        scatter.plot(result.exact[i], result.estimates[i, 1], MARKERS[i], color=PALETTE[i], ms=4)
    low, high = float(result.exact.min()), float(result.exact.max())
    scatter.plot([low, high], [low, high], color="black", lw=1)
    scatter.set(xlabel=r"exact $f(w\cdot x+b)$", ylabel="estimate", title=f"$m={few}$ (open), ${many}$ (full)")
    counts = torch.tensor(config.counts, dtype=DTYPE)
    for i, name in enumerate(ACTIVATIONS):
        rate.plot(counts, result.rmse[i], MARKERS[i], color=PALETTE[i], label=name)
    guide = result.rmse[0, 0] * (counts / counts[0]) ** -0.5
    rate.plot(counts, guide, "--", color="black", lw=1, label=r"$\propto m^{-1/2}$")
    rate.set(xscale="log", yscale="log", xlabel="features $m$", ylabel="root mean square error")
    rate.legend()
    return figure


@figures.styled
def plot_kernel(result: Result) -> Figure:
    """The arc-cosine kernel against the dot product, for vectors of several norms."""
    figure, axes = figures.new(height=3.3)
    e1 = torch.tensor([[1.0, 0.0]], dtype=DTYPE)
    for i, norm in enumerate((1.0, 2.0, 4.0)):
        angle = torch.linspace(0, torch.pi, 181, dtype=DTYPE)
        x = norm * torch.stack([angle.cos(), angle.sin()], 1)
        axes.plot(x[:, 0], arc_cosine_kernel(x, e1)[:, 0], color=PALETTE[i])
        figures.label_line(axes, norm, norm / 2, rf"$\|x\|={norm:g}$", PALETTE[i], xytext=(6, -6))
    line = torch.tensor([-4.0, 0.0, 4.0], dtype=DTYPE)
    axes.plot(line, line.relu() / 2, "--", color="black", lw=1)
    figures.label_line(axes, 2.9, 1.45, r"$\frac{1}{2}$ReLU", "black", xytext=(10, -12))
    pair = torch.tensor([[1.0, 0.0], [1.0, 3.0]], dtype=DTYPE)
    axes.plot(pair[:, 0], arc_cosine_kernel(pair, e1)[:, 0], MARKERS[3], color=PALETTE[3], ms=7, zorder=5)
    axes.set(xlabel=r"dot product $w\cdot x$, $\|w\|=1$", ylabel="kernel", xlim=(-4.2, 4.9))
    return figure
