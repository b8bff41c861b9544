"""Successive over-relaxation: one system, many systems at once, and what spectral theory says of both."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, Int, Real
from numpy.typing import ArrayLike
from scipy.linalg import solve_triangular

from overparam.core import checks

# --- The problem ------------------------------------------------------------------------------------------------


def laplacian_square(side: int) -> Float[np.ndarray, "n n"]:
    r"""The 5-point Laplacian on the interior of a square grid: 4 on the diagonal, -1 for each of four neighbours.

    Parameters
    ----------
    side
        Interior grid points along an edge, m; the matrix has :math:`n = m^2` rows, in row-major order.

    Raises
    ------
    ValueError
        If ``side`` is below 2.
    """
    checks.integer(2, side=side)
    line = np.diag(np.full(side, 2.0)) - np.eye(side, k=1) - np.eye(side, k=-1)
    return np.kron(line, np.eye(side)) + np.kron(np.eye(side), line)


def truncated_normal(n: int, rng: np.random.Generator) -> Float[np.ndarray, " n"]:
    r"""A standard Gaussian vector, redrawn until :math:`\|b\| \le \sqrt n`.

    Raises
    ------
    ValueError
        If ``n`` is below 1.
    """
    checks.integer(1, n=n)
    while np.linalg.norm(b := rng.standard_normal(n)) > math.sqrt(n):
        pass
    return b


# --- The solver -------------------------------------------------------------------------------------------------


def sor(
    A: Real[np.ndarray, "n n"],
    b: Real[np.ndarray, " n"],
    omega: float,
    *,
    x0: Real[np.ndarray, " n"] | None = None,
    tol: float = 1e-8,
    max_iter: int = 10_000,
) -> tuple[int, Float[np.ndarray, " n"]]:
    r"""Solve :math:`Ax = b` by successive over-relaxation.

    With :math:`D` and :math:`L` the diagonal and the strictly lower triangle of A, one sweep is

    .. math:: x \leftarrow x + M^{-1}(b - Ax), \qquad M = D/\omega + L .

    Parameters
    ----------
    A, b
        The system; A has a nonzero diagonal.
    omega
        The relaxation factor, in (0, 2); 1 is Gauss-Seidel.
    x0
        The start, zero by default.
    tol
        Stop as soon as the residual norm is below ``tol`` times that of the start.
    max_iter
        Stop after so many sweeps in any case.

    Returns
    -------
    The number of sweeps (the *cost*) and the solution. The cost is 0 if the start solves the system, and otherwise at
    least 1; it is ``max_iter`` if the iteration has not converged by then, or diverges beyond the floats.

    Raises
    ------
    ValueError
        If the shapes do not fit, the diagonal has a zero, or a number is out of range.
    """
    A, b = check_system(A, b)
    check_omegas(omega)
    check_stopping(tol, max_iter)
    x = np.zeros(len(b)) if x0 is None else np.array(x0, dtype=float)
    if x.shape != b.shape:
        raise ValueError(f"x0 must have the shape {b.shape} of b, got {x.shape}")
    M = np.tril(A, -1) + np.diag(A.diagonal() / omega)
    residual = b - A @ x
    target = tol * np.linalg.norm(residual)
    if not residual.any():
        return 0, x
    with np.errstate(over="ignore", invalid="ignore"):
        for k in range(1, max_iter + 1):
            x = x + solve_triangular(M, residual, lower=True, check_finite=False)
            residual = b - A @ x
            size = np.linalg.norm(residual)
            if size < target:
                return k, x
            if not np.isfinite(size):
                break
    return max_iter, x


#: Jobs that :func:`sor_costs` sweeps at once: many, for numpy's overhead, and few enough for the cache.
WINDOW = 2048
#: Once no job is waiting, finished ones are dropped when they are this share of the window.
FINISHED = 0.2


def sor_costs(
    side: int,
    shifts: Real[np.ndarray, " t"],
    rhs: Real[np.ndarray, "t n"],
    omegas: Real[np.ndarray, " d"],
    *,
    tol: float = 1e-8,
    max_iter: int = 10_000,
) -> Int[np.ndarray, "t d"]:
    r"""The cost of every relaxation factor on every system :math:`(L_m + c_t I)\, x = b_t`, from a zero start.

    The residuals are all that is needed: with :math:`d = M^{-1} r`, a sweep takes :math:`r` to
    :math:`r - A d = (D/\omega - D - L^\top) d`. On the grid the triangular solve has wavefronts, the
    anti-diagonals :math:`i + j = s`: each depends on the one before it alone. So a window of many jobs, each a system
    with a factor, is swept together, one wavefront at a time; a job that is done makes room for the next.

    Parameters
    ----------
    side
        Grid points along an edge, m; see :func:`laplacian_square`.
    shifts, rhs
        The diagonal shifts :math:`c_t` and the right-hand sides :math:`b_t`.
    omegas
        The relaxation factors.
    tol, max_iter
        As in :func:`sor`.

    Returns
    -------
    The costs, one row a system: the counts of :func:`sor`.

    Raises
    ------
    ValueError
        If the shapes do not fit, a shift is not finite or makes the diagonal zero, or a number is out of range.
    """
    checks.integer(2, side=side)
    check_stopping(tol, max_iter)
    shifts, rhs = np.asarray(shifts, dtype=float), np.asarray(rhs, dtype=float)
    omegas = check_omegas(omegas, ndim=1)
    if shifts.ndim != 1 or rhs.shape != (len(shifts), side**2):
        raise ValueError(f"rhs must be {shifts.size} x {side**2}, one row a shift, got shape {rhs.shape}")
    if (bad := shifts[~np.isfinite(shifts) | (shifts == -4)]).size:
        raise ValueError(f"shifts must be finite and leave a nonzero diagonal, got {bad[0]:g}")
    if not np.isfinite(rhs).all():
        raise ValueError(f"rhs must be finite, got {rhs[~np.isfinite(rhs)][0]}")
    diagonal = 4 + shifts[:, None]
    beta = np.abs(4 * math.cos(math.pi / (side + 1)) / diagonal)
    costs = np.where(rhs.any(1, keepdims=True), max_iter, np.zeros_like(omegas, dtype=np.int64))
    # The slowest jobs begin, so that those which end when none is left to take their place are short.
    queue = np.argsort(-_radius(omegas, beta).ravel(), kind="stable")
    queue = queue[costs.ravel()[queue] > 0]
    rows, columns = np.divmod(np.arange(side**2), side)
    waves = rhs[:, np.lexsort((rows, rows + columns))].T
    solve, keep = (omegas / diagonal).ravel(), (diagonal / omegas - diagonal).ravel()
    _sweep_all(side, waves, solve, keep, queue, costs.reshape(-1), tol, max_iter)
    return costs


def _sweep_all(
    side: int,
    waves: Float[np.ndarray, "n t"],
    solve: Float[np.ndarray, " jobs"],
    keep: Float[np.ndarray, " jobs"],
    queue: Int[np.ndarray, " waiting"],
    costs: Int[np.ndarray, " jobs"],
    tol: float,
    max_iter: int,
) -> None:
    """Work through the queue of jobs and enter the costs of those that converge."""
    factors = len(solve) // max(waves.shape[1], 1)
    targets = tol**2 * _squared_norm(waves)
    job, waiting = queue[:WINDOW].copy(), WINDOW
    residual = np.take(waves, job // factors, 1)
    target, mine, other, age = targets[job // factors], solve[job], keep[job], np.zeros(len(job), dtype=np.int64)
    update, running = _planes(side, len(job)), np.ones(len(job), dtype=bool)
    while running.any():
        with np.errstate(over="ignore", invalid="ignore"):
            _sweep(side, residual, update, mine, other)
            size = _squared_norm(residual)
        age += 1
        converged = running & (size < target)
        costs[job[converged]] = age[converged]
        free = np.flatnonzero(running & (converged | ~np.isfinite(size) | (age >= max_iter)))
        new = queue[waiting : waiting + len(free)]
        waiting += len(free)
        free, empty = free[: len(new)], free[len(new) :]
        job[free], target[free], mine[free], other[free] = new, targets[new // factors], solve[new], keep[new]
        residual[:, free], age[free] = waves[:, new // factors], 0
        running[empty] = False
        if running.sum() <= (1 - FINISHED) * len(running):
            job, age = job[running], age[running]
            # Not by indexing, whose result would lie in memory the other way round.
            state = (residual, target, mine, other)
            residual, target, mine, other = (np.compress(running, values, -1) for values in state)
            update, running = _planes(side, len(job)), np.ones(len(job), dtype=bool)


def _planes(side: int, systems: int) -> np.ndarray:
    """Room for one vector a system: row i + 1 of plane s + 1 is grid point (i, s - i), the border stays zero."""
    return np.zeros((2 * side + 1, side + 2, systems))


def _sweep(side: int, residual: np.ndarray, update: np.ndarray, solve: np.ndarray, keep: np.ndarray) -> None:
    """One sweep in place: ``update`` becomes d = M⁻¹ r, wave by wave, and ``residual`` becomes r - A d."""
    waves, stop = [], 0
    for s in range(2 * side - 1):
        first, last = max(0, s - side + 1) + 1, min(side - 1, s) + 2
        start, stop = stop, stop + last - first
        waves.append((s + 1, first, last, residual[start:stop]))
    for plane, first, last, r in waves:
        d = update[plane, first:last]
        np.add(r, update[plane - 1, first - 1 : last - 1], out=d)
        d += update[plane - 1, first:last]
        d *= solve
    for plane, first, last, r in waves:
        np.multiply(update[plane, first:last], keep, out=r)
        r += update[plane + 1, first + 1 : last + 1]
        r += update[plane + 1, first:last]


def _squared_norm(columns: np.ndarray) -> np.ndarray:
    return np.einsum("nb,nb->b", columns, columns)


# --- Spectral theory --------------------------------------------------------------------------------------------


def jacobi_radius(A: Real[np.ndarray, "n n"]) -> float:
    r"""The spectral radius :math:`\beta = \rho(I - D^{-1}A)` of Jacobi's iteration.

    Raises
    ------
    ValueError
        If A is not a square matrix with a nonzero diagonal.
    """
    A = check_matrix(A)
    return float(np.abs(np.linalg.eigvals(np.eye(len(A)) - A / A.diagonal()[:, None])).max())


def optimal_omega(beta: float) -> float:
    r"""Young's relaxation factor :math:`\omega^* = 1 + (\beta / (1 + \sqrt{1 - \beta^2}))^2` for a Jacobi radius.

    Raises
    ------
    ValueError
        If ``beta`` is not in [0, 1).
    """
    checks.probability(below_one=True, beta=beta)
    return 1 + (beta / (1 + math.sqrt(1 - beta**2))) ** 2


def sor_radius(omega: ArrayLike, beta: ArrayLike) -> float | Float[np.ndarray, "..."]:
    r"""The spectral radius of the iteration matrix :math:`C_\omega = I - AM^{-1}`, A consistently ordered.

    It is :math:`(\omega\beta/2 + \sqrt{\Delta})^2` while :math:`\Delta = \omega^2\beta^2/4 - \omega + 1` is positive,
    which is for :math:`\omega < \omega^*`, and :math:`\omega - 1` beyond.

    Parameters
    ----------
    omega, beta
        Relaxation factors in (0, 2) and Jacobi radii in [0, 1), numbers or arrays that broadcast.

    Raises
    ------
    ValueError
        If a factor or a radius is out of range.

    References
    ----------
    Young (1971), *Iterative Solution of Large Linear Systems*.
    """
    omega, beta = check_omegas(omega), np.asarray(beta, dtype=float)
    if (bad := beta[~((beta >= 0) & (beta < 1))]).size:
        raise ValueError(f"beta must lie in [0, 1), got {bad[0]:g}")
    return float_or_array(_radius(omega, beta))


def _radius(omega: np.ndarray, beta: np.ndarray) -> np.ndarray:
    real = omega**2 * beta**2 / 4 - omega + 1
    return np.where(real > 0, (omega * beta / 2 + np.sqrt(np.maximum(real, 0))) ** 2, omega - 1)


def asymptocity(A: Real[np.ndarray, "n n"], omegas: Real[np.ndarray, " d"], costs: Real[np.ndarray, " d"]) -> float:
    r"""How far costs are from asymptotic: the smallest :math:`\tau` of the near-asymptotic bound.

    It is the largest :math:`(\|C_\omega^{k-1}\|_2^{1/(k-1)} - \rho) / (1 - \rho)` over the factors, with k the measured
    cost (power at least 1) and :math:`\rho = \rho(C_\omega)` from :func:`sor_radius`.

    Parameters
    ----------
    A
        A consistently ordered matrix with a Jacobi radius below 1.
    omegas, costs
        Relaxation factors, and the number of sweeps that each has taken.

    Raises
    ------
    ValueError
        If the shapes do not fit, or a number is out of range.
    """
    A, omegas, costs = check_matrix(A), check_omegas(omegas, ndim=1), np.asarray(costs)
    if costs.shape != omegas.shape:
        raise ValueError(f"costs must have the shape {omegas.shape} of omegas, got {costs.shape}")
    if (bad := costs[~(np.isfinite(costs) & (costs >= 1))]).size:
        raise ValueError(f"costs must be at least 1, got {bad[0]:g}")
    rho = np.asarray(sor_radius(omegas, jacobi_radius(A)))
    gaps = [_norm_rate(A, w, max(int(k) - 1, 1)) - r for w, k, r in zip(omegas, costs, rho, strict=True)]
    return float((np.array(gaps) / (1 - rho)).max())


def _norm_rate(A: np.ndarray, omega: float, power: int) -> float:
    M = np.tril(A, -1) + np.diag(A.diagonal() / omega)
    C = np.eye(len(A)) - solve_triangular(M, A.T, lower=True, trans=1).T
    return float(np.linalg.norm(np.linalg.matrix_power(C, power), 2)) ** (1 / power)


def surrogate_cost(omega: ArrayLike, beta: ArrayLike, tau: float, tol: float) -> float | Float[np.ndarray, "..."]:
    r"""The near-asymptotic bound :math:`U(\omega) = 1 + \log\varepsilon / \log(\rho + \tau(1 - \rho))` on the cost.

    Parameters
    ----------
    omega, beta
        As in :func:`sor_radius`, whose value is :math:`\rho`.
    tau
        The asymptocity, in [0, 1); see :func:`asymptocity`.
    tol
        The tolerance :math:`\varepsilon`, in (0, 1).

    Raises
    ------
    ValueError
        If a number is out of range.
    """
    checks.probability(below_one=True, tau=tau)
    check_tolerance(tol)
    rho = np.asarray(sor_radius(omega, beta))
    with np.errstate(divide="ignore"):  # a radius of zero: one sweep
        return float_or_array(1 + math.log(tol) / np.log(rho + tau * (1 - rho)))


# --- What the other pieces share --------------------------------------------------------------------------------


def float_or_array(values: np.ndarray | np.float64) -> float | Float[np.ndarray, "..."]:
    """A number where numbers came in, and an array where one did."""
    return values if isinstance(values, np.ndarray) and values.ndim else float(values)


def check_omegas(omegas: ArrayLike, *, ndim: int | None = None, name: str = "omega") -> Float[np.ndarray, "..."]:
    """The relaxation factors as an array, at least one and all strictly between 0 and 2."""
    omegas = np.asarray(omegas, dtype=float)
    if not omegas.size or ndim not in (None, omegas.ndim):
        raise ValueError(f"{name} must hold at least one factor, got shape {omegas.shape}")
    if (bad := omegas[~((omegas > 0) & (omegas < 2))]).size:
        raise ValueError(f"{name} must lie strictly between 0 and 2, got {bad[0]:g}")
    return omegas


def check_matrix(A: ArrayLike) -> Float[np.ndarray, "n n"]:
    """A finite square matrix with a nonzero diagonal."""
    A = np.asarray(A, dtype=float)
    if A.ndim != 2 or A.shape[0] != A.shape[1] or not A.size:
        raise ValueError(f"A must be a square matrix, got shape {A.shape}")
    if not np.isfinite(A).all():
        raise ValueError(f"A must be finite, got {A[~np.isfinite(A)][0]}")
    if not A.diagonal().all():
        raise ValueError(f"A must have a nonzero diagonal, got 0 in row {int(np.flatnonzero(A.diagonal() == 0)[0])}")
    return A


def check_system(A: ArrayLike, b: ArrayLike) -> tuple[Float[np.ndarray, "n n"], Float[np.ndarray, " n"]]:
    """A matrix and a right-hand side that fit."""
    A, b = check_matrix(A), np.asarray(b, dtype=float)
    if b.shape != A.shape[:1]:
        raise ValueError(f"b must have shape {A.shape[:1]}, got {b.shape}")
    if not np.isfinite(b).all():
        raise ValueError(f"b must be finite, got {b[~np.isfinite(b)][0]}")
    return A, b


def check_tolerance(tol: float) -> None:
    """A relative tolerance, strictly between 0 and 1."""
    if not 0 < tol < 1:
        raise ValueError(f"tol must lie strictly between 0 and 1, got {tol!r}")


def check_stopping(tol: float, max_iter: int) -> None:
    """When an iteration stops."""
    checks.positive(tol=tol)
    checks.integer(1, max_iter=max_iter)
