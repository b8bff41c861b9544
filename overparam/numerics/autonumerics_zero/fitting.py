"""Constants: least squares from random starts, then true minimax by exchange; and the classical families."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from overparam.core import checks
from overparam.numerics.autonumerics_zero.programs import Program, dual, evaluate, evaluate_jac, horner, rational

Target = Callable[[np.ndarray], np.ndarray]
Interval = tuple[float, float]
Fitted = tuple[Program, np.ndarray, float]
Named = tuple[str, Program, np.ndarray, float]

#: Points on which an error is measured, and twice as many intervals on which its extrema are located.
DENSE, FINE = 513, 1025
#: Shares of the iterations with all restarts, with the best four and with the best two.
STAGES = ((14 / 60, 4), (20 / 60, 2), (26 / 60, 1))
#: A fit is given up when its residual is so many times the bar, and polished below so many times the bar.
HOPELESS, PROMISING = 300, 30
#: Polishing: more steps of least squares, rounds of exchange, and halvings of one Newton step.
MORE, ROUNDS, HALVINGS = 30, 8, 4
#: Least damping and most, and what success and failure of a step do to it.
DAMPING, SUCCESS, FAILURE = (1e-15, 1e10), 0.2, 6.0
#: A step that does not help at this damping ends a fit: a smaller one would not either.
STUCK = 100.0
#: Keeps the normal matrix of a constant without effect regular.
TINY = 1e-200
#: Degrees of numerators and denominators among the baselines.
TOP, BELOW = range(4), range(1, 4)


@dataclass(frozen=True)
class Problem:
    """A target on an interval, sampled where fits and errors need it."""

    interval: Interval
    nodes: np.ndarray
    at_nodes: np.ndarray
    fine: np.ndarray
    at_fine: np.ndarray

    def error(self, p: Program, c: np.ndarray) -> float:
        """The largest relative error on the dense grid; infinite if a value is not finite."""
        worst = np.abs(evaluate(p, self.fine[::2], c) / self.at_fine[::2] - 1).max()
        return float(worst) if math.isfinite(worst) else math.inf


def problem(target: Target, interval: Interval, nodes: int = 33) -> Problem:
    """Sample a target at Chebyshev nodes and on a fine grid.

    Raises
    ------
    ValueError
        If the interval is empty or not finite, or the target has a zero or no finite value on it.
    """
    checks.integer(1, nodes=nodes)
    lo, hi = check_interval(interval)
    angles = (2 * np.arange(nodes) + 1) * math.pi / (2 * nodes)
    at = (lo + hi) / 2 - (hi - lo) / 2 * np.cos(angles)
    fine = np.linspace(lo, hi, FINE)
    with np.errstate(all="ignore"):
        values, dense = np.asarray(target(at), dtype=float), np.asarray(target(fine), dtype=float)
    bad = ~np.isfinite(dense) | (np.sign(dense) != np.sign(dense[0])) | (dense == 0)
    if bad.any():
        raise ValueError(f"target must be finite and keep its sign on {interval}, got the value {dense[bad][0]}")
    return Problem((lo, hi), at, values, fine, dense)


def check_interval(interval: Interval) -> Interval:
    """Two finite ends, the lower one first."""
    lo, hi = interval
    if not (math.isfinite(lo) and math.isfinite(hi) and lo < hi):
        raise ValueError(f"interval must be finite and not empty, got {interval!r}")
    return float(lo), float(hi)


def max_error(p: Program, constants: np.ndarray, target: Target = np.exp2, interval: Interval = (0.0, 1.0)) -> float:
    """The largest relative error on 513 points of the interval, infinite if a value is not finite.

    Raises
    ------
    ValueError
        If the number of constants is not the program's, or the interval or the target unfit.
    """
    return problem(target, interval).error(p, constants)


# --- Least squares ----------------------------------------------------------------------------------------------


def fit_constants(
    p: Program,
    target: Target,
    interval: Interval = (0.0, 1.0),
    *,
    restarts: int = 10,
    iters: int = 60,
    nodes: int = 33,
    seed: int = 0,
    bar: float = math.inf,
) -> tuple[Float[np.ndarray, " C"], float]:
    r"""Constants with a small largest relative error.

    Levenberg-Marquardt on relative residuals, all random starts in one batch of which fewer and fewer go on. If the
    result is within sight of ``bar``, it is polished to the minimax constants.

    Parameters
    ----------
    p
        The program.
    target
        The function to approximate, without a zero on the interval.
    interval
        Where.
    restarts, iters, nodes
        Random starts, iterations in all, and Chebyshev nodes.
    seed
        Of the starts.
    bar
        The error to beat. A fit that stays 300 times above it is given up early, and only one below 30 times is
        polished.

    Returns
    -------
    The constants and the largest relative error on 513 points.

    Raises
    ------
    ValueError
        If the interval is empty, the target has a zero on it, a count is below 1, or ``bar`` is negative or NaN.
    """
    checks.integer(1, restarts=restarts, iters=iters)
    checks.integer(0, seed=seed)
    if not bar >= 0:
        raise ValueError(f"bar must be at least 0, got {bar!r}")
    rng = np.random.default_rng(seed)
    return fit(p, problem(target, interval, nodes), rng, bar, restarts=restarts, iters=iters)


@np.errstate(all="ignore")
def fit(
    p: Program, aim: Problem, rng: np.random.Generator, bar: float, *, restarts: int = 10, iters: int = 60
) -> tuple[np.ndarray, float]:
    """:func:`fit_constants` on a problem that is sampled already."""
    shape = restarts, p.constants
    c = rng.standard_normal(shape) * 10 ** rng.uniform(-0.5, 1, shape)
    if not p.constants:
        return c[0], aim.error(p, c[0])
    state = _start(p, aim, c)
    for stage, (share, kept) in enumerate(STAGES):
        state = _descend(p, aim, state, round(share * iters))
        costs = state.gram[:, -1, -1]
        best = np.argsort(costs, kind="stable")[:kept]
        state = _State(*(part[best] for part in state))
        if stage == 0 and not math.sqrt(costs[best[0]] / len(aim.nodes)) <= HOPELESS * bar:
            return state.c[0], aim.error(p, state.c[0])
    c, error = state.c[0], aim.error(p, state.c[0])
    return _polish(p, aim, c) if error < PROMISING * bar else (c, error)


class _State(NamedTuple):
    """Constants (R, C), the Gram matrices (R, C + 1, C + 1) of derivatives and residual, and damping (R)."""

    c: np.ndarray
    gram: np.ndarray
    damping: np.ndarray


def _start(p: Program, aim: Problem, c: np.ndarray) -> _State:
    return _State(c, _gram(p, aim, c), np.full(len(c), 1e-2))


def _gram(p: Program, aim: Problem, c: np.ndarray) -> np.ndarray:
    """Normal equations, with the gradient as last column and the cost, infinite if need be, in the last place."""
    stack = np.empty((len(c), p.constants + 1, len(aim.nodes)))
    f, J = dual(p, aim.nodes, c)
    np.divide(J, aim.at_nodes, out=stack[:, :-1])
    stack[:, -1] = f / aim.at_nodes - 1
    gram = stack @ stack.swapaxes(1, 2)
    lost = ~np.isfinite(gram.sum((1, 2)))
    if lost.any():
        gram[lost] = 0
        gram[lost, -1, -1] = math.inf
    return gram


def _descend(p: Program, aim: Problem, state: _State, steps: int) -> _State:
    """Steps of Levenberg and Marquardt in a batch, each row with a damping of its own, until all rows are stuck."""
    c, gram, damping = state
    diagonal = np.arange(p.constants)
    for _ in range(steps):
        damped = gram[:, :-1, :-1].copy()
        damped[:, diagonal, diagonal] *= 1 + damping[:, None]
        damped[:, diagonal, diagonal] += TINY
        trial = c - _solve(damped, gram[:, :-1, -1:])[:, :, 0]
        proposed = _gram(p, aim, trial)
        before, after = gram[:, -1, -1], proposed[:, -1, -1]
        better = after < before
        if damping.min() > STUCK and not (after < before * (1 - 1e-9)).any():
            break
        c = np.where(better[:, None], trial, c)
        gram = np.where(better[:, None, None], proposed, gram)
        damping = np.clip(damping * np.where(better, SUCCESS, FAILURE), *DAMPING)
    return _State(c, gram, damping)


def _solve(matrices: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    try:
        return np.linalg.solve(matrices, vectors)
    except np.linalg.LinAlgError:  # constants that do the same thing
        diagonal = np.arange(matrices.shape[1])
        matrices[:, diagonal, diagonal] *= 1 + 1e-9
        return np.linalg.solve(matrices, vectors)


# --- Minimax ----------------------------------------------------------------------------------------------------


@np.errstate(all="ignore")
def _polish(p: Program, aim: Problem, c: np.ndarray) -> tuple[np.ndarray, float]:
    better = _descend(p, aim, _start(p, aim, c[None]), MORE).c[0]
    return _exchange(p, aim, min(better, c, key=lambda constants: aim.error(p, constants)))


@np.errstate(all="ignore")
def _exchange(p: Program, aim: Problem, c: np.ndarray) -> tuple[np.ndarray, float]:
    r"""Remez's exchange for any program: make the error's extrema equal, :math:`r(x_i) = s_i E`, and locate them anew.

    Newton's equations are solved by least squares, so that constants that do the same thing do no harm.
    """
    error = aim.error(p, c)
    x = aim.fine.copy()
    # Where an intermediate result is infinite it has no derivative; just inside the interval it has.
    x[[0, -1]] += np.array([1e-12, -1e-12]) * (x[-1] - x[0])
    for _ in range(ROUNDS):
        f, J = evaluate_jac(p, x, c[None])
        r = f[0] / aim.at_fine - 1
        at = _extrema(r, p.constants + 1)
        A = np.column_stack([J[0][at] / aim.at_fine[at, None], -np.sign(r[at])])
        if not (np.isfinite(A).all() and np.isfinite(r[at]).all()):
            break
        scale = np.linalg.norm(A, axis=0)
        scale[scale == 0] = 1
        step = (np.linalg.lstsq(A / scale, -r[at])[0] / scale)[:-1]
        trials = (c + step / 2**k for k in range(HALVINGS + 1))
        found = next(((trial, e) for trial in trials if (e := aim.error(p, trial)) < error), None)
        if found is None:
            break
        before, (c, error) = error, found
        if error > before * (1 - 1e-9):
            break
    return c, error


def _extrema(r: np.ndarray, count: int) -> list[int]:
    """Where the error is largest between its sign changes, at most ``count`` places, the weaker ends left out."""
    changes = np.flatnonzero(np.diff(r > 0)) + 1
    edges = [0, *changes.tolist(), len(r)]
    at = [lo + int(np.abs(r[lo:hi]).argmax()) for lo, hi in pairwise(edges)]
    while len(at) > count:
        at.pop(0 if abs(r[at[0]]) < abs(r[at[-1]]) else -1)
    return at


# --- The classical families -------------------------------------------------------------------------------------


def fit_polynomial(
    degree: int, target: Target = np.exp2, interval: Interval = (0.0, 1.0)
) -> tuple[Float[np.ndarray, " C"], float]:
    """The minimax polynomial in the relative error, coefficients highest first as in :func:`horner`, and its error.

    Raises
    ------
    ValueError
        If the degree is below 1, the interval empty, or the target zero on it.
    """
    p, aim = horner(degree), problem(target, interval, max(33, 4 * degree))
    powers = np.vander(aim.nodes, degree + 1)
    c = np.linalg.lstsq(powers / aim.at_nodes[:, None], np.ones(len(aim.nodes)))[0]
    return _exchange(p, aim, c)


def _fit_rational(n: int, m: int, target: Target, interval: Interval) -> tuple[np.ndarray, float]:
    """The minimax rational: the start solves P = tQ, which is linear, by least squares."""
    p, aim = rational(n, m), problem(target, interval)
    top, below = np.vander(aim.nodes, n + 1), np.vander(aim.nodes, m + 1)
    A = np.column_stack([top / aim.at_nodes[:, None], -below[:, 1:]])
    return _polish(p, aim, np.linalg.lstsq(A, below[:, 0])[0])


def baselines(target: Target = np.exp2, interval: Interval = (0.0, 1.0), max_ops: int = 12) -> list[Named]:
    """Minimax polynomials and rationals (degrees 0 to 3 over 1 to 3) of at most ``max_ops`` operations.

    Returns
    -------
    Name, program, constants and largest relative error of each.

    Raises
    ------
    ValueError
        If ``max_ops`` is below 1, the interval empty, or the target zero on it.
    """
    checks.integer(1, max_ops=max_ops)
    problem(target, interval)
    found = [(f"polynomial {d}", horner(d), *fit_polynomial(d, target, interval)) for d in range(1, max_ops // 2 + 1)]
    degrees = [(n, m) for n in TOP for m in BELOW if 2 * (n + m) <= max_ops]
    return found + [
        (f"rational ({n}, {m})", rational(n, m), *_fit_rational(n, m, target, interval)) for n, m in degrees
    ]


# --- Float32 ----------------------------------------------------------------------------------------------------


def ulp_error(
    p: Program,
    constants: np.ndarray,
    target: Target = np.exp2,
    interval: Interval = (0.0, 1.0),
    points: int = 65536,
) -> float:
    """The largest error of the program in single precision, in units in the last place of the true value.

    Arguments and constants are rounded to float32 and every operation is done in float32. The true value is the
    target at the rounded argument, in double precision.

    Raises
    ------
    ValueError
        If the number of constants is not the program's, there are fewer than two points, or the interval is empty.
    """
    checks.integer(2, points=points)
    x = np.linspace(*check_interval(interval), points).astype(np.float32)
    true = np.asarray(target(x.astype(float)), dtype=float)
    error = np.abs(evaluate(p, x, constants).astype(float) - true) / np.abs(np.spacing(true.astype(np.float32)))
    worst = float(error.max())
    return worst if math.isfinite(worst) else math.inf
