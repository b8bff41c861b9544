"""The chapter's figures."""

from __future__ import annotations

import torch
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from overparam.core import figures
from overparam.core.figures import MARKERS, PALETTE
from overparam.generalization.more_is_better.experiment import DTYPE, Comparison, Result
from overparam.generalization.more_is_better.theory import optimal_fitting_ratio, powerlaw_risk


@figures.styled
def plot(result: Result) -> Figure:
    """Test risk against the number of features on the Gaussian task: predictions, simulations, and the best ridge."""
    config = result.config
    return _risk_against_width(result.synthetic, config.widths, config.ridges, config.n, "random features $k$")


@figures.styled
def plot_images(result: Result) -> Figure:
    """The same for ReLU features on images."""
    config = result.config
    label = "random ReLU features $k$"
    return _risk_against_width(result.image, config.image_widths, config.ridges, config.image_n, label)


def _risk_against_width(
    compared: Comparison, widths: tuple[int, ...], ridges: tuple[float, ...], n: int, label: str
) -> Figure:
    """Lines are predictions, dots means over trials with their standard error, one colour a ridge."""
    figure, axes = figures.new(height=4.0)
    mean, trials = compared.sim_test.mean(0), len(compared.sim_test)
    error = compared.sim_test.std(0, correction=min(1, trials - 1)) / trials**0.5
    axes.axvline(n, color="black", lw=0.8, ls=":")
    axes.plot(compared.curve_k, compared.curve_tuned, color="black", lw=3, label="best")
    for color, marker, at in zip(PALETTE, MARKERS, _spread(len(ridges)), strict=False):
        axes.plot(compared.curve_k, compared.curve_test[:, at], color=color, lw=1.3)
        dots = {"color": color, "marker": marker, "ls": "none", "ms": 4.5, "elinewidth": 1, "zorder": 3}
        axes.errorbar(widths, mean[:, at], yerr=error[:, at], label=f"{ridges[at]:g}", **dots)
    axes.set(xscale="log", yscale="log", xlabel=label, ylabel="test risk")
    _plain_ticks(axes.xaxis, [16, 32, 64, 128, 256, 512, 1024], widths[0], widths[-1])
    _plain_ticks(axes.yaxis, [0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 8], *axes.get_ylim())
    handles, names = axes.get_legend_handles_labels()
    order = [*range(1, len(names)), 0]
    handles, names = [handles[i] for i in order], [names[i] for i in order]
    figure.legend(handles, names, loc="outside lower center", ncols=len(names), title="ridge", handlelength=1.4)
    return figure


def _spread(count: int) -> list[int]:
    """At most five indices, evenly spread."""
    return sorted({round(x) for x in torch.linspace(0, count - 1, min(count, len(PALETTE))).tolist()})


def _plain_ticks(axis: Axis, ticks: list[float], low: float, high: float) -> None:
    inside = [tick for tick in ticks if low <= tick <= high]
    axis.set_major_locator(FixedLocator(inside))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


@figures.styled
def plot_grid(result: Result) -> Figure:
    """The risk over samples and features, at a fixed tiny ridge and at the best one."""
    config = result.config
    figure, panels = figures.new(ncols=2, height=3.7, sharey=True)
    both = torch.stack([result.tuned, result.untuned])
    low, high = float(both[both.isfinite()].min()), float(both[0].max())
    scale = LogNorm(low, 2 * high)
    fixed = f"one small ridge, {config.fixed_ridge:g}"
    for axes, risk, title in ((panels[0], result.untuned, fixed), (panels[1], result.tuned, "best ridge")):
        image = axes.imshow(risk.numpy(), origin="lower", norm=scale, cmap="cividis_r", aspect="auto")
        for (row, column), value in _cells(risk):
            ink = "white" if value > 1.1 * high else "black"
            name = f"{value:.2f}" if value < 10 else f"{value:.0f}"
            axes.text(column, row, name, ha="center", va="center", color=ink, fontsize=9)
        names = [*map(str, config.grid), r"$\infty$"]
        axes.set_xticks(range(len(names)), names)
        axes.set(xlabel="random features $k$", title=title)
        axes.grid(False)
    panels[0].set_yticks(range(len(config.grid)), list(map(str, config.grid)))
    panels[0].set_ylabel("samples $n$")
    bar = figure.colorbar(image, ax=panels, location="bottom", extend="max", label="test risk", aspect=40, shrink=0.9)
    _plain_ticks(bar.ax.xaxis, [0.5, 0.7, 1, 1.5, 2, 3, 5], low, 2 * high)
    return figure


def _cells(grid: torch.Tensor) -> list[tuple[tuple[int, int], float]]:
    rows, columns = grid.shape
    return [((i, j), float(grid[i, j])) for i in range(rows) for j in range(columns)]


#: Relative noise of the curves of the third figure.
NOISE = (0.0, 0.2, 0.5, 5.0)


@figures.styled
def plot_fitting(result: Result) -> Figure:
    """Test risk against the root of the fitting ratio: the images' kernel, and powerlaw tasks of its exponents."""
    figure, (measured, theory) = figures.new(ncols=2, height=3.8)
    root = (result.kernel_train / result.kernel_test).sqrt()
    best = int(result.kernel_test.argmin())
    at = float(root[best]), float(result.kernel_test[best])
    measured.plot(root, result.kernel_test, color=PALETTE[0], marker=MARKERS[0], ms=4)
    measured.plot(*at, "*", color="black", ms=13, zorder=4)
    figures.label_line(measured, *at, "best ridge", "black", xytext=(4, 12))
    measured.set(xlabel="root of the fitting ratio", ylabel="test error", title=f"{result.config.images}, measured")
    alpha, beta = result.exponents.tolist()
    if alpha > 1 and 1 < beta < 2 * alpha + 1:  # a tiny population need not have a powerlaw
        _powerlaw_curves(theory, alpha, beta)
    theory.set(
        xlabel="root $r$ of the fitting ratio", ylabel="risk over the best risk", title="powerlaw tasks, predicted"
    )
    theory.set(ylim=(0.95, 1.85))
    return figure


def _powerlaw_curves(axes: Axes, alpha: float, beta: float) -> None:
    r = torch.linspace(0, 0.98, 300, dtype=DTYPE)
    for color, style, noise in zip(PALETTE, ("-", "--", "-.", ":"), NOISE, strict=False):
        optimum = torch.tensor([optimal_fitting_ratio(alpha, beta, noise)], dtype=DTYPE).sqrt()
        lowest = powerlaw_risk(optimum, alpha, beta, noise)
        axes.plot(r, powerlaw_risk(r, alpha, beta, noise) / lowest, style, color=color, label=f"{noise:g}")
        axes.plot(optimum, 1, "*", color=color, mec="black", mew=0.6, ms=13, zorder=4, clip_on=False)
    axes.legend(title="relative noise", loc="upper center")
