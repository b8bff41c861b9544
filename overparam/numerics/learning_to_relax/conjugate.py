"""Conjugate gradients with symmetric SOR as preconditioner: the iteration, and a bound on it that depends on omega."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float, Real
from numpy.typing import ArrayLike
from scipy.linalg import eigh, solve_triangular

from overparam.numerics.learning_to_relax.relaxation import (
    check_matrix,
    check_omegas,
    check_stopping,
    check_system,
    check_tolerance,
    float_or_array,
)


def ssor_pcg(
    A: Real[np.ndarray, "n n"],
    b: Real[np.ndarray, " n"],
    omega: float,
    *,
    tol: float = 1e-8,
    max_iter: int = 10_000,
) -> tuple[int, Float[np.ndarray, " n"]]:
    r"""Solve :math:`Ax = b` by preconditioned conjugate gradients, from a zero start.

    The preconditioner is symmetric SOR, :math:`X D^{-1} X^\top / (\omega(2 - \omega))` with :math:`X = D + \omega L`.

    Parameters
    ----------
    A, b
        The system; A is symmetric and positive definite.
    omega
        The relaxation factor, in (0, 2).
    tol
        Stop as soon as the residual norm is below ``tol`` times that of b.
    max_iter
        Stop after so many iterations in any case.

    Returns
    -------
    The number of iterations and the solution; 0 if b is zero.

    Raises
    ------
    ValueError
        If the shapes do not fit, A is not symmetric or its diagonal not positive, or a number is out of range.
    """
    A, b = check_system(A, b)
    _check_symmetric(A)
    check_omegas(omega)
    check_stopping(tol, max_iter)
    D = A.diagonal()
    X = np.diag(D) + omega * np.tril(A, -1)

    def precondition(r: np.ndarray) -> np.ndarray:
        half = solve_triangular(X, r, lower=True, check_finite=False)
        return omega * (2 - omega) * solve_triangular(X, D * half, lower=True, trans=1, check_finite=False)

    x, r, target = np.zeros(len(b)), b.copy(), tol * np.linalg.norm(b)
    if not b.any():
        return 0, x
    p = z = precondition(r)
    fit = r @ z
    for k in range(1, max_iter + 1):
        q = A @ p
        step = fit / (p @ q)
        x, r = x + step * p, r - step * q
        if np.linalg.norm(r) < target:
            return k, x
        z = precondition(r)
        fit, before = r @ z, fit
        p = z + fit / before * p
    return max_iter, x


def ssor_condition_bound(A: Real[np.ndarray, "n n"], omega: ArrayLike) -> float | Float[np.ndarray, "..."]:
    r"""An upper bound on the condition number of A preconditioned by symmetric SOR.

    .. math:: q(\omega) = \frac{1 + \frac{(2-\omega)^2}{4\omega}\alpha + \beta'\omega}{2 - \omega}

    with :math:`\alpha` the largest eigenvalue of :math:`DA^{-1}` and :math:`\beta'` that of
    :math:`(LD^{-1}L^\top - D/4)A^{-1}`.

    Parameters
    ----------
    A
        A symmetric positive definite matrix.
    omega
        Relaxation factors in (0, 2), a number or an array; the bound has its shape.

    Raises
    ------
    ValueError
        If A is not symmetric positive definite, or a factor is out of range.

    References
    ----------
    Axelsson (1994), *Iterative Solution Methods*, Theorem 7.17, as the authors' program has it.
    """
    A, omega = check_matrix(A), check_omegas(omega)
    _check_definite(A)
    D, L = np.diag(A.diagonal()), np.tril(A, -1)
    alpha = eigh(D, A, eigvals_only=True)[-1]
    beta = eigh(L / A.diagonal() @ L.T - D / 4, A, eigvals_only=True)[-1]
    bound = (1 + (2 - omega) ** 2 / (4 * omega) * alpha + beta * omega) / (2 - omega)
    return float_or_array(bound)


def pcg_bound(A: Real[np.ndarray, "n n"], omega: ArrayLike, tol: float) -> float | Float[np.ndarray, "..."]:
    r"""An upper bound on the iterations of :func:`ssor_pcg`.

    With :math:`\kappa = \operatorname{cond}_2(A)` and q from :func:`ssor_condition_bound` it is

    .. math::
       1 + \frac{\log\big(\sqrt\kappa/\varepsilon + \sqrt{\kappa/\varepsilon^2 - 1}\big)}
       {-\log\big(1 - 2/(1 + \sqrt{q(\omega)})\big)} .

    Raises
    ------
    ValueError
        If A is not symmetric positive definite, or a number is out of range.
    """
    check_tolerance(tol)
    q = np.asarray(ssor_condition_bound(A, omega))
    kappa = np.linalg.cond(A, 2)
    bound = 1 + math.acosh(math.sqrt(kappa) / tol) / -np.log1p(-2 / (1 + np.sqrt(q)))
    return float_or_array(bound)


def _check_symmetric(A: np.ndarray) -> None:
    if (gap := np.abs(A - A.T).max()) > 1e-10 * np.abs(A).max():
        raise ValueError(f"A must be symmetric, got entries that differ by {gap:g}")
    if (bad := A.diagonal()[A.diagonal() < 0]).size:
        raise ValueError(f"A must have a positive diagonal, got {bad[0]:g}")


def _check_definite(A: np.ndarray) -> None:
    _check_symmetric(A)
    if (lowest := np.linalg.eigvalsh(A)[0]) <= 0:
        raise ValueError(f"A must be positive definite, got a smallest eigenvalue of {lowest:g}")
