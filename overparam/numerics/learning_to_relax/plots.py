"""What the learners pay, and what theory says they pay."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from overparam.core import figures
from overparam.core.figures import MARKERS, PALETTE
from overparam.numerics.learning_to_relax.experiment import Family, Result

#: Fixed factors in the figure of all learners, after the paper's.
FIXED = (1.0, 1.2, 1.4, 1.6, 1.8)
#: Groups of systems of a like shift.
GROUPS = 14


@figures.styled
def plot(result: Result) -> Figure:
    """Cost against the shift of a system, for the best fixed factor, ChebCB and the instance-optimal policy."""
    figure, axes = figures.new(height=3.6)
    family, late = result.high, slice(-max(len(result.high.costs) // 4, 1), None)
    policies = (
        (f"best fixed, $\\omega={result.config.omegas[family.best]:.2f}$", family.fixed[None, late], "--", (0, 8)),
        ("ChebCB", family.paid(family.contextual)[:, late], "-", (0, 8)),
        (r"optimal $\omega^\ast(c)$", family.paid(family.young)[None, late], ":", (0, -24)),
    )
    # The distance to the singular system, on a logarithmic axis, spreads out what lies crowded along c.
    smallest = family.shifts[late] + 4 - 4 * math.cos(math.pi / (result.config.grid_side + 1))
    order = np.argsort(smallest)
    groups = np.array_split(order, min(GROUPS, len(order)))
    x = np.array([smallest[group].mean() for group in groups])
    for i, (name, paid, line, where) in enumerate(policies):
        color = PALETTE[(1, 0, 2)[i]]
        spread = np.array([np.quantile(paid[:, group], (0.1, 0.9)) for group in groups])
        mean = np.array([paid[:, group].mean() for group in groups])
        figures.band(axes, x, spread[:, 0], spread[:, 1], color)
        axes.plot(x, mean, line, marker=MARKERS[i], color=color)
        at = 9 * len(x) // 14
        figures.label_line(axes, float(x[at]), float(mean[at]), name, color, xytext=where)
    axes.set(xscale="log", xlabel="smallest eigenvalue of $A(c)$", ylabel="iterations", ylim=(0, None))
    axes.set_xticks([0.02, 0.05, 0.1, 0.2, 0.5], ["0.02", "0.05", "0.1", "0.2", "0.5"])
    axes.minorticks_off()
    return figure


@figures.styled
def plot_cumulative(result: Result) -> Figure:
    """Cumulative iterations a system of all learners and five fixed factors, in both families."""
    figure, both = figures.new(ncols=2, height=4.0, sharey=True)
    panels = (("high variance", result.high, both[0]), ("low variance", result.low, both[1]))
    for name, family, axes in panels:
        _draw_family(axes, family, result)
        axes.set(xscale="log", yscale="log", xlabel="systems solved $t$", xlim=(10, None), title=name)
        axes.set_yticks([50, 100, 200, 500], ["50", "100", "200", "500"])
        axes.minorticks_off()
    both[0].set(ylabel="iterations a system, up to $t$", ylim=(35, None))
    figure.legend(*both[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _draw_family(axes: Axes, family: Family, result: Result) -> None:
    t = np.arange(1, len(family.costs) + 1)
    arms = {int(np.abs(result.config.omegas - omega).argmin()): omega for omega in FIXED}
    for i, arm in enumerate(arms):
        mean = family.costs[:, arm].cumsum() / t
        axes.plot(t, mean, "--", color=PALETTE[4], lw=1, label="fixed $\\omega$" if i == 0 else None)
        text = f"{result.config.omegas[arm]:.1f}"
        figures.label_line(axes, float(t[-1]), float(mean[-1]), text, PALETTE[4], xytext=(2, -3), annotation_clip=False)
    learners = (
        ("Tsallis-INF", family.bandit, PALETTE[1], "-."),
        ("Tsallis-INF in bins", family.binned, PALETTE[3], (0, (5, 1))),
        ("ChebCB", family.contextual, PALETTE[0], "-"),
        (r"optimal $\omega^\star(c)$", family.young[None], PALETTE[2], ":"),
    )
    for name, played, color, line in learners:
        axes.plot(t, family.paid(played).mean(0).cumsum() / t, ls=line, color=color, label=name)


@figures.styled
def plot_surrogate(result: Result) -> Figure:
    """Cost of SOR, asymptotic estimate and near-asymptotic bound against the factor."""
    figure, axes = figures.new(height=3.5)
    bounds = result.bounds
    left, lowest = len(bounds.omegas) // 4, int(bounds.asymptotic.argmin())
    curves = (
        ("upper bound $U(\\omega)$", bounds.surrogate, 1, "--", left, (6, 6)),
        ("cost", bounds.costs, 0, "-", left, (-10, -20)),
        ("asymptotic estimate", bounds.asymptotic, 2, ":", lowest, (8, -6)),
    )
    for name, values, i, line, at, where in curves:
        axes.plot(bounds.omegas, values, ls=line, marker=MARKERS[i], color=PALETTE[i])
        figures.label_line(axes, bounds.omegas[at], float(values[at]), name, PALETTE[i], xytext=where)
    axes.set(yscale="log", xlabel=r"relaxation factor $\omega$", ylabel="iterations", ylim=(26, None))
    axes.set_yticks([30, 100, 300], ["30", "100", "300"])
    axes.minorticks_off()
    return figure


@figures.styled
def plot_pcg(result: Result) -> Figure:
    """Cost of preconditioned conjugate gradients and their bound against the factor."""
    figure, axes = figures.new(height=3.2)
    bounds = result.bounds
    middle = len(bounds.pcg_omegas) // 2
    curves = (("bound", bounds.pcg_bounds, 1, "--"), ("cost", bounds.pcg_costs, 0, "-"))
    for name, values, i, line in curves:
        axes.plot(bounds.pcg_omegas, values, ls=line, marker=MARKERS[i], color=PALETTE[i])
        figures.label_line(axes, bounds.pcg_omegas[middle], float(values[middle]), name, PALETTE[i], xytext=(0, 8))
    axes.set(xlabel=r"relaxation factor $\omega$", ylabel="iterations", ylim=(0, None))
    return figure
