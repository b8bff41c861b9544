"""Knots where the function needs them: intervals are halved until the spline predicts the next value and integral."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike
from scipy.interpolate import CubicSpline
from scipy.linalg import get_lapack_funcs

from overparam.core import checks

#: A function of an array of points, one value a point.
Function = Callable[[np.ndarray], np.ndarray]


def _same(x: np.ndarray) -> np.ndarray:
    return x


#: The variables in which an interval may be halved: u(x), and its inverse.
VARIABLES: dict[str, tuple[Function, Function]] = {
    "linear": (_same, _same),
    "log": (np.log, np.exp),
    "asinh": (np.arcsinh, np.sinh),
}
#: LAPACK's solver; scipy's own checks would take longer than it does.
SOLVE_TRIDIAGONAL = get_lapack_funcs(("gtsv",), dtype=np.float64)[0]
#: Equally spaced knots beyond which no more are tried.
MOST = 2**23
#: An open interval may not be narrower than this times its midpoint.
NARROWEST = 100 * np.finfo(float).eps


@dataclass(frozen=True)
class Knots:
    """A table of a function and the cubic not-a-knot spline through it.

    ``x`` and ``y`` are the knots and the values there, ``evaluations`` counts the points at which the function was
    called. ``history`` has the number of knots at the start and after each round. ``converged`` is False if the
    limit on knots ended the rounds. Calling it evaluates the spline, which scipy continues outside the interval.
    """

    x: Float[np.ndarray, " n"]
    y: Float[np.ndarray, " n"]
    spline: CubicSpline
    evaluations: int
    history: tuple[int, ...]
    converged: bool

    def __call__(self, x: ArrayLike) -> Float[np.ndarray, "..."]:
        """The spline's values."""
        return self.spline(x)


def autoknots(
    f: Function,
    a: float,
    b: float,
    *,
    rel_tol: float = 1e-8,
    scale: float = 0.0,
    variable: str = "linear",
    refine: int = 0,
    refine_ns: float = 1.0,
    start: int = 6,
    max_knots: int = 1_000_000,
) -> Knots:
    r"""Interpolate a function to a given tolerance, with as many knots as it takes, where it takes them.

    In each round every open interval gets a knot in its middle. If the spline through the old knots has predicted the
    value there within ``rel_tol`` times :math:`|f| + s`, and the interval's integral likewise, both halves are closed.
    Else both stay open. It ends when a round leaves none open.

    Parameters
    ----------
    f
        The function, called with an array of points and returning as many finite values.
    a, b
        The interval; its ends are knots.
    rel_tol
        The tolerance :math:`\delta`, relative.
    scale
        The size s, in units of f, below which the error counts as an absolute one. A zero of f needs it.
    variable
        What is halved: "linear" x, "log" x, or "asinh" x.
    refine
        So many times intervals that are wider than usual are opened again, once all are closed.
    refine_ns
        Wider than usual is wider than the mean by so many standard deviations, in the variable.
    start
        Knots to begin with, equally spaced in the variable.
    max_knots
        A table with more knots is returned as it is, not converged.

    Returns
    -------
    The knots; every evaluation is one.

    Raises
    ------
    ValueError
        If an argument is out of range, f returns another shape or a value that is not finite, or the intervals
        shrink to nothing, as at a jump.

    References
    ----------
    Vitenti, de Simoni, Penna-Lima & Barroso (2025).
    """
    checks.one_of(tuple(VARIABLES), variable=variable)
    checks.positive(rel_tol=rel_tol)
    checks.non_negative(scale=scale, refine_ns=refine_ns)
    checks.integer(0, refine=refine)
    checks.integer(4, start=start)
    checks.integer(1, max_knots=max_knots)
    check_interval(a, b)
    if variable == "log":
        checks.positive(a=a)
    forward, inverse = VARIABLES[variable]
    ends = forward(np.array([a, b], dtype=float))
    u = np.linspace(ends[0], ends[1], start)
    x = np.array(inverse(u))
    x[0], x[-1] = a, b  # the variable and back would be off by a rounding
    _refuse_collapse(x[:-1], x[1:], x[:-1])
    y = evaluate(f, x)
    unsettled = np.ones(start - 1, dtype=bool)
    history, evaluations, reopenings = [start], len(x), refine
    while len(x) <= max_knots:
        if reopenings and not unsettled.any():
            reopenings -= 1
            unsettled = _unusually_wide(u, refine_ns)
        if not unsettled.any():
            break
        i = np.flatnonzero(unsettled)
        middle = (u[i] + u[i + 1]) / 2
        xm = inverse(middle)
        _refuse_collapse(x[i], x[i + 1], xm)
        ym = evaluate(f, xm)
        evaluations += len(xm)
        failed = ~_predicted(x, y, i, xm, ym, rel_tol, scale)
        # Also the middle of an interval that passes is a knot: it has been paid for.
        u, x, y = np.insert([u, x, y], i + 1, [middle, xm, ym], axis=1)
        unsettled[i] = failed
        unsettled = np.insert(unsettled, i + 1, failed)
        history.append(len(x))
    return Knots(
        x=x,
        y=y,
        spline=CubicSpline(x, y),
        evaluations=evaluations,
        history=tuple(history),
        converged=len(x) <= max_knots,
    )


def _predicted(
    x: Float[np.ndarray, " n"],
    y: Float[np.ndarray, " n"],
    i: Int[np.ndarray, " k"],
    xm: Float[np.ndarray, " k"],
    ym: Float[np.ndarray, " k"],
    rel_tol: float,
    scale: float,
) -> Bool[np.ndarray, " k"]:
    """Whether the spline through the knots has known what was found in the middle of the intervals i."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        slope = not_a_knot_slopes(x, y)
        s0, s1, y0, y1 = slope[i], slope[i + 1], y[i], y[i + 1]
        h, t = x[i + 1] - x[i], (xm - x[i]) / (x[i + 1] - x[i])
        value = y0 + t * t * (3 - 2 * t) * (y1 - y0) + h * t * (1 - t) * ((1 - t) * s0 - t * s1)
        # The interval's own cubic: a difference of two antiderivatives would lose its digits.
        integral = h / 2 * (y0 + y1) + h * h / 12 * (s0 - s1)
    if (bad := ~np.isfinite(value + integral)).any():
        raise ValueError(f"f must be continuous and of moderate size, its spline overflows at {float(xm[bad][0])!r}")
    found = parabola_integral(x[i], x[i + 1], xm, y0, y1, ym)
    value_known = np.abs(ym - value) <= rel_tol * (np.abs(ym) + scale)
    integral_known = np.abs(found - integral) <= rel_tol * (np.abs(found) + scale * h)
    return value_known & integral_known


def not_a_knot_slopes(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    r"""The slopes at the knots of the cubic spline through them, one tridiagonal system.

    With :math:`h_i` the widths and :math:`m_i` the slopes of the chords, the second derivative is continuous if

    .. math:: h_i s_{i-1} + 2 (h_{i-1} + h_i) s_i + h_{i-1} s_{i+1} = 3 (h_i m_{i-1} + h_{i-1} m_i)

    and at the second knot from either end the third one is too. It is scipy's ``CubicSpline``, which for a few knots
    spends more time on its arguments than on this.

    Parameters
    ----------
    x, y
        At least four knots, ascending, and the values there.
    """
    h = np.diff(x)
    m = np.diff(y) / h
    first, last = h[0] + h[1], h[-1] + h[-2]
    right = np.empty_like(y)
    right[0] = ((h[0] + 2 * first) * h[1] * m[0] + h[0] ** 2 * m[1]) / first
    right[1:-1] = 3 * (h[1:] * m[:-1] + h[:-1] * m[1:])
    right[-1] = ((h[-1] + 2 * last) * h[-2] * m[-1] + h[-1] ** 2 * m[-2]) / last
    diagonal = np.concatenate([h[1:2], 2 * (h[1:] + h[:-1]), h[-2:-1]])
    return SOLVE_TRIDIAGONAL(np.append(h[1:], last), diagonal, np.insert(h[:-1], 0, first), right)[3]


def parabola_integral(
    x0: Float[np.ndarray, " k"],
    x1: Float[np.ndarray, " k"],
    xm: Float[np.ndarray, " k"],
    y0: Float[np.ndarray, " k"],
    y1: Float[np.ndarray, " k"],
    ym: Float[np.ndarray, " k"],
) -> Float[np.ndarray, " k"]:
    r"""The integral over :math:`[x_0, x_1]` of the parabola through three points, Simpson's rule if one is central.

    .. math::
       \frac h6 \Big( y_1 \big(3 - \tfrac{2}{1-d}\big) + y_0 \big(3 - \tfrac{2}{1+d}\big)
       + \tfrac{4 y_m}{1-d^2} \Big)

    with :math:`h = x_1 - x_0` and :math:`d` the place of :math:`x_m`, from -1 to 1.
    """
    h = x1 - x0
    d = (xm - (x0 + x1) / 2) / (h / 2)
    return h / 6 * (y1 * (3 - 2 / (1 - d)) + y0 * (3 - 2 / (1 + d)) + 4 * ym / (1 - d * d))


def _unusually_wide(u: Float[np.ndarray, " n"], sigmas: float) -> Bool[np.ndarray, " n-1"]:
    width = np.diff(u)
    # In a uniform mesh the widths differ by roundings, and none is unusual.
    rounding = 4 * np.finfo(float).eps * np.abs(u).max()
    return width > width.mean() + sigmas * width.std() + rounding


def _refuse_collapse(x0: np.ndarray, x1: np.ndarray, xm: np.ndarray) -> None:
    if (bad := ~(x1 - x0 >= NARROWEST * np.abs(xm))).any():
        raise ValueError(f"an interval has collapsed at x = {float(xm[bad][0])!r}: is f continuous there?")


def uniform_knots_needed(f: Function, a: float, b: float, tol: float, x_test: Float[np.ndarray, " n"]) -> int:
    r"""How many equally spaced knots reach a relative error of at most ``tol`` at all of ``x_test``.

    The number is doubled until it is enough and then bisected until it is known to 5 %.

    Parameters
    ----------
    f
        The function, without a zero in ``x_test``.
    a, b
        The interval.
    tol
        The relative error.
    x_test
        Points in the interval.

    Raises
    ------
    ValueError
        If an argument is out of range, f is zero at a test point, or :data:`MOST` knots are not enough.
    """
    checks.positive(tol=tol)
    check_interval(a, b)
    if not (x_test.size and a <= x_test.min() and x_test.max() <= b):
        raise ValueError(f"x_test must be points in [{a}, {b}], got {x_test}")
    truth = evaluate(f, x_test)
    if not truth.all():
        raise ValueError(f"f must not be zero at a test point, got 0 at x = {float(x_test[truth == 0][0])!r}")

    def enough(knots: int) -> bool:
        x = np.linspace(a, b, knots)
        return bool(np.all(np.abs(CubicSpline(x, evaluate(f, x))(x_test) - truth) <= tol * np.abs(truth)))

    few, many = 4, 4
    while not enough(many):
        few, many = many, 2 * many
        if many > MOST:
            raise ValueError(f"tol must be within reach of {MOST} knots, got {tol}")
    while many - few > max(1, few // 20):
        middle = (few + many) // 2
        few, many = (few, middle) if enough(middle) else (middle, many)
    return many


def check_interval(a: float, b: float, *, names: tuple[str, str] = ("a", "b")) -> None:
    """Raise ``ValueError`` unless a < b and both, and their distance, are finite."""
    if not (a < b and math.isfinite(b - a)):
        raise ValueError(f"{names[0]} and {names[1]} must be finite and ascending, got {a!r} and {b!r}")


def evaluate(f: Function, x: Float[np.ndarray, " n"], *, name: str = "f") -> Float[np.ndarray, " n"]:
    """The values of f, as a new array; ``ValueError`` unless there is one for each point and all are finite."""
    y = np.array(f(x), dtype=float)
    if y.shape != x.shape:
        raise ValueError(f"{name} must return an array of shape {x.shape}, got {y.shape}")
    if (bad := ~np.isfinite(y)).any():
        raise ValueError(f"{name} must be finite, got {float(y[bad][0])} at {float(x[bad][0])!r}")
    return y
