"""Where the knots go, how they came there, and how many they are."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from overparam.core import figures
from overparam.core.figures import MARKERS, PALETTE
from overparam.numerics.autoknots.experiment import PROFILES, Result, bump
from overparam.numerics.autoknots.splines import Knots, autoknots

#: A bump, and a tolerance, at which an interval is closed by accident and opened again by refinement.
BUMP, BUMP_TOL = (0.37, 0.08), 1e-3
#: Groups of radii of which the largest error is drawn.
GROUPS = 125


@figures.styled
def plot(result: Result) -> Figure:
    """Surface density with its linear knots, and the errors of as many knots placed and not placed."""
    figure, (above, below) = figures.new(nrows=2, height=4.6, sharex=True)
    config, halo = result.config, result.nfw
    R = np.geomspace(*config.radius, config.halo_points)
    sigma = PROFILES["NFW"][1]
    above.plot(R, sigma(R), color="black")
    above.plot(halo.linear, np.full(len(halo.linear), 0.04), "|", transform=above.get_xaxis_transform(), ms=8, mew=0.6)
    above.annotate(
        f"{len(halo.linear)} knots", (0.5, 0.09), xycoords="axes fraction", color=PALETTE[0], fontsize=9.5, ha="center"
    )
    above.set(yscale="log", ylabel=r"$\Sigma(R)$, units of $\rho_s r_s$")
    groups = [group for group in np.array_split(np.arange(len(R)), GROUPS) if len(group)]
    x = np.array([R[group].mean() for group in groups])
    lines = (
        ("equally spaced", halo.uniform_error, 1, "--", 0.45, (14, 8)),
        ("AutoKnots", halo.linear_error, 0, "-", 0.4, (-40, -28)),
    )
    for name, error, i, line, at, where in lines:
        largest = np.array([error[group].max() for group in groups])
        below.plot(x, np.maximum(largest, 1e-17), line, color=PALETTE[i])
        j = int(at * len(x))
        figures.label_line(below, float(x[j]), float(largest[j]), name, PALETTE[i], xytext=where)
    below.axhline(config.uniform_tol, color=PALETTE[4], lw=1)
    figures.label_line(below, config.radius[1], config.uniform_tol, "tolerance", PALETTE[4], ha="right")
    below.set(xscale="log", yscale="log", xlabel="radius $R$, units of $r_s$", ylabel="relative error")
    return figure


@figures.styled
def plot_rounds(result: Result) -> Figure:
    """The knots of a bump round by round, and the error without and with refinement."""
    figure, (above, below) = figures.new(nrows=2, height=5.0, sharex=True, height_ratios=(1, 1.5))
    f, x = bump(*BUMP), np.linspace(0, 1, 2001)
    table = partial(autoknots, f, 0, 1, rel_tol=BUMP_TOL, scale=1.0, refine_ns=result.config.refine_ns)
    truth = f(x)
    passes = (("as settled", 0, 1, "--", (0.37, 3e-2), (20, -2)), ("refined", 1, 0, "-", (0.62, 2e-4), (8, 0)))
    for name, refine, i, line, at, where in passes:
        error = np.abs(table(refine=refine)(x) - truth) / (truth + 1)
        above.plot(x, np.maximum(error, 1e-9), line, color=PALETTE[i], lw=1.3)
        figures.label_line(above, *at, name, PALETTE[i], xytext=where)
    above.axhline(BUMP_TOL, color=PALETTE[4], lw=1)
    figures.label_line(above, 1, BUMP_TOL, "tolerance", PALETTE[4], ha="right")
    above.set(yscale="log", ylabel="relative error", ylim=(1e-8, 1))
    _draw_rounds(below, table)
    return figure


def _draw_rounds(axes: Axes, table: Callable[..., Knots]) -> None:
    settled = len(table().history)
    # Stopped by the limit on knots, the same run shows its rounds.
    rounds = [table(refine=1, max_knots=n - 1).x for n in table(refine=1).history]
    for k, knots in enumerate(rounds):
        old = rounds[k - 1] if k else knots
        following = knots if k + 1 in (settled, len(rounds)) else rounds[k + 1]
        new, later = np.setdiff1d(knots, old), np.setdiff1d(following, knots)
        place = np.searchsorted(knots, new)
        # A midpoint has failed if its halves are halved in turn.
        left, right = (np.searchsorted(later, knots[place + j]) for j in (-1, 1))
        failed = right > left
        axes.plot(old, np.full(len(old), k), "|", color="black", ms=7, mew=0.8)
        axes.plot(new[failed], np.full(failed.sum(), k), MARKERS[1], color=PALETTE[1], ms=4.5)
        axes.plot(new[~failed], np.full((~failed).sum(), k), MARKERS[0], color=PALETTE[0], ms=4.5, mfc="white")
    axes.axhline(settled - 0.5, color=PALETTE[4], lw=1)
    bar = axes.get_yaxis_transform()
    for text, at, va in (("settled", settled - 0.55, "bottom"), ("reopened", settled - 0.45, "top")):
        axes.text(1.01, at, text, transform=bar, color=PALETTE[4], fontsize=9.5, va=va)
    axes.set(xlabel="$x$", ylabel="round", yticks=range(len(rounds)), ylim=(len(rounds) - 0.5, -0.6))
    axes.grid(False)


@figures.styled
def plot_cost(result: Result) -> Figure:
    """Knots against the tolerance, for both halos, their surface density and its mean."""
    figure, axes = figures.new(height=3.6)
    tolerances = np.array(result.config.halo_tolerances)
    order = np.argsort(tolerances)
    curves = (
        (r"Hernquist, $\Sigma$", result.hernquist.knots, 1, "--", 6),
        (r"NFW, $\Sigma$", result.nfw.knots, 0, "-", -10),
        (r"Hernquist, $\bar\Sigma$", result.hernquist.mean_knots, 3, "-.", 2),
        (r"NFW, $\bar\Sigma$", result.nfw.mean_knots, 2, ":", -12),
    )
    for name, knots, i, line, down in curves:
        axes.plot(tolerances[order], knots[order], line, marker=MARKERS[i], color=PALETTE[i])
        end = (float(tolerances[order][0]), float(knots[order][0]))
        figures.label_line(axes, *end, name, PALETTE[i], xytext=(7, down), annotation_clip=False)
    law = 0.45 * result.nfw.mean_knots[0] * (tolerances / tolerances[0]) ** -0.25
    axes.plot(tolerances, law, color=PALETTE[4], lw=1)
    figures.label_line(axes, tolerances[0], law[0], r"$\delta^{-1/4}$", PALETTE[4], xytext=(14, -4))
    axes.set(xscale="log", yscale="log", xlabel=r"tolerance $\delta$", ylabel="knots")
    axes.set_xlim(tolerances.max() * 2, tolerances.min() / 60)  # room for the names
    axes.set_xticks(tolerances)
    axes.tick_params(which="minor", bottom=False)
    return figure
