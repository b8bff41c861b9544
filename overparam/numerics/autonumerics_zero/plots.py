"""How far each family of programs gets with its operations, when evolution got there, and where float32 ends it."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.figure import Figure

from overparam.core import figures
from overparam.core.figures import MARKERS, PALETTE
from overparam.numerics.autonumerics_zero.experiment import Result
from overparam.numerics.autonumerics_zero.programs import evaluate

#: Sizes of which the history is drawn, and the size of the program whose error is.
SIZES, SHOWN = (4, 5, 6, 7, 8), 7


@figures.styled
def plot(result: Result) -> Figure:
    """Error against operations: evolved programs, the classical families, and random search."""
    figure, axes = figures.new(height=3.9)
    sizes = range(2, result.config.max_ops + 1)
    polynomials = {p.ops: error for name, p, _, error in result.baselines if name.startswith("poly")}
    rationals = {n: min(e for name, p, _, e in result.baselines if p.ops == n and name[0] == "r") for n in polynomials}
    curves = (
        ("polynomials", polynomials, 1, "--", (7, 4)),
        ("rationals", rationals, 2, ":", (7, -4)),
        ("random search", {n: result.random[n] for n in sizes}, 3, "-.", (7, -4)),
        ("evolved", {n: result.evolution.history[-1][n] for n in sizes}, 0, "-", (7, -4)),
    )
    for name, errors, i, line, where in curves:
        x, y = list(errors), list(errors.values())
        axes.plot(x, y, ls=line, marker=MARKERS[i], color=PALETTE[i])
        if x and math.isfinite(y[-1]):
            figures.label_line(axes, x[-1], y[-1], name, PALETTE[i], xytext=where)
    right = result.config.max_ops + 1.9
    axes.set(yscale="log", xlabel="operations, at most", ylabel="largest relative error", xlim=(1.7, right))
    axes.set_xticks(sizes)
    return figure


@figures.styled
def plot_history(result: Result) -> Figure:
    """Best error of each size against the structures fitted."""
    figure, axes = figures.new(height=3.6)
    history, counts = result.evolution.history, result.evolution.counts
    lines = ("-", "--", ":", "-.", (0, (5, 1)))
    sizes = [n for n in SIZES if n <= result.config.max_ops]
    ends = {n: math.log10(history[-1][n]) for n in sizes}
    for i, n in enumerate(sizes):
        axes.plot(counts, [best[n] for best in history], ls=lines[i], color=PALETTE[i])
        # Two sizes that end at the same error share a label, below the line of the smaller.
        same = [m for m in sizes if abs(ends[m] - ends[n]) < 0.25]
        if n == same[0]:
            text = f"{' and '.join(map(str, same))} operations"
            figures.label_line(axes, counts[-1], history[-1][n], text, PALETTE[i], xytext=(5, -3))
    axes.set(yscale="log", xlabel="structures fitted", ylabel="best error", xlim=(0, counts[-1] * 1.32))
    axes.set_xticks([tick for tick in axes.get_xticks() if tick <= counts[-1]])
    return figure


@figures.styled
def plot_error(result: Result) -> Figure:
    """The relative error of an evolved program over the interval, between plus and minus its maximum."""
    figure, axes = figures.new(height=3.2)
    n = max((n for n in result.evolution.front if n <= SHOWN), default=min(result.evolution.front))
    p, c, error = result.evolution.front[n]
    x = np.linspace(*result.config.interval, 1025)
    scale = 10.0 ** math.floor(math.log10(error)) if 0 < error < math.inf else 1.0
    for bound in (error, -error):
        axes.axhline(bound / scale, color=PALETTE[4], lw=1, ls="--")
    axes.plot(x, (evaluate(p, x, c) / np.exp2(x) - 1) / scale, color=PALETTE[0])
    exponent = round(math.log10(scale))
    axes.set(xlabel="$x$", ylabel=f"relative error, in $10^{{{exponent}}}$")
    return figure


@figures.styled
def plot_float32(result: Result) -> Figure:
    """Error in float32 against the error over the reals, polynomials and evolved programs."""
    figure, axes = figures.new(height=3.8)
    front = {n: error for n, (_, _, error) in result.evolution.front.items() if n > 3 and math.isfinite(error)}
    evolved = list(front.values()), [result.evolved_ulps[n] for n in front]
    reals = [*result.real, *evolved[0]]
    line = np.array([min(reals), max(reals)])
    # The true value lies between 1 and 2, where neighbours in float32 are 2^-23 apart.
    axes.plot(line, line * 2**24, color=PALETTE[4], lw=1, ls=":")
    figures.label_line(axes, line[1], line[1] * 2**24, "without rounding", PALETTE[4], xytext=(20, 2))
    axes.plot(result.real, result.ulps, "--", marker=MARKERS[1], color=PALETTE[1])
    axes.plot(*evolved, ls="none", marker=MARKERS[0], color=PALETTE[0])
    for degree, x, y in zip(result.config.float_degrees, result.real, result.ulps, strict=True):
        figures.label_line(axes, x, y, str(degree), PALETTE[1], xytext=(0, -13), ha="center")
    for n, error in front.items():
        same = [m for m in front if abs(math.log10(front[m] / error)) < 0.1]
        if n == same[0]:
            figures.label_line(axes, error, result.evolved_ulps[n], ", ".join(map(str, same)), PALETTE[0])
    figures.label_line(axes, result.real[-1], result.ulps[-1], "polynomials", PALETTE[1], xytext=(0, 8), ha="right")
    if front:
        n = max(front)
        figures.label_line(axes, front[n], result.evolved_ulps[n], "evolved", PALETTE[0], xytext=(14, 4))
    axes.set(
        xscale="log", yscale="log", xlabel="largest relative error over the reals", ylabel="error in float32 [ULP]"
    )
    axes.set_ylim(0.3, None)
    axes.invert_xaxis()
    return figure
