"""The support vector machines of attention, for two norms."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.optimize import nnls

from overparam.core.datasets import optional

#: Residuals of the least-squares problem below this are 0: no matrix, or one of norm above 1e8.
INFEASIBLE = 1e-8


def svm_constraints(X: ArrayLike, Z: ArrayLike, selected: ArrayLike) -> Float[np.ndarray, "m d d"]:
    r"""The data points of the SVM of one dataset: :math:`C = (x_{i\alpha_i} - x_{it})\, z_i^\top` for all t but α.

    :math:`\langle C, W\rangle` is the lead of the selected token over another one in the logits.

    Parameters
    ----------
    X, Z
        Tokens (n, T, d) and queries (n, d), arrays or CPU tensors.
    selected
        The index :math:`\alpha_i` of the token selected in each input, (n,).

    Returns
    -------
    n (T - 1) matrices, input by input and in the order of the tokens.

    Raises
    ------
    ValueError
        If ``selected`` is not one token index for each input, or the shapes do not fit.
    """
    X, Z, selected = np.asarray(X), np.asarray(Z), np.asarray(selected)
    if X.ndim != 3 or Z.shape != X.shape[::2]:
        raise ValueError(f"X and Z must be (n, T, d) and (n, d), got shapes {X.shape} and {Z.shape}")
    n, T, d = X.shape
    if selected.shape != (n,) or not np.issubdtype(selected.dtype, np.integer):
        raise ValueError(f"selected must be {n} token indices, got {selected.dtype} of shape {selected.shape}")
    if (bad := selected[(selected < 0) | (selected >= T)]).size:
        raise ValueError(f"selected must lie in 0..{T - 1}, got {bad[0]}")
    others = np.arange(T) != selected[:, None]
    lead = (X[np.arange(n), selected][:, None] - X)[others].reshape(n, T - 1, d)
    return (lead[..., None] * Z[:, None, None, :]).reshape(n * (T - 1), d, d)


def frobenius_svm(C: Float[ArrayLike, "m d d"]) -> Float[np.ndarray, "d d"] | None:
    r"""The matrix of least Frobenius norm with :math:`\langle C_j, W\rangle \ge 1` for every j; None if infeasible.

    A least-distance problem, solved by one non-negative least-squares problem: with
    :math:`u = \arg\min_{u \ge 0} \|Eu - f\|`, the points and a row of ones in E, and :math:`f = (0, \dots, 0, 1)`,
    the residual :math:`r = Eu - f` is 0 if the constraints contradict each other, and else all its entries but the
    last, divided by minus the last, are the solution. Then :math:`\|r\|^2 = 1 / (1 + \|W\|^2)`.

    Parameters
    ----------
    C
        The constraints, an array or a CPU tensor; their common scale does not matter to what is feasible.

    Raises
    ------
    ValueError
        If ``C`` is not a stack of finite matrices.

    References
    ----------
    Lawson & Hanson, Solving Least Squares Problems (1974), chapter 23.
    """
    C = _constraints(C)
    rows = C.reshape(len(C), -1)
    scale = np.linalg.norm(rows, axis=1).max() or 1.0
    # The solution lies in the span of the constraints: there are fewer of them than entries of W.
    basis, points = np.linalg.qr(rows.T / scale)
    E = np.vstack([points, np.ones(len(C))])
    f = np.append(np.zeros(len(points)), 1.0)
    u, distance = nnls(E, f, maxiter=100 * len(C))
    if distance < INFEASIBLE:
        return None
    residual = E @ u - f
    return (basis @ (-residual[:-1] / residual[-1]) / scale).reshape(C.shape[1:])


def nuclear_svm(C: Float[ArrayLike, "m d d"]) -> Float[np.ndarray, "d d"] | None:
    r"""The matrix of least nuclear norm with :math:`\langle C_j, W\rangle \ge 1` for every j; None if infeasible.

    A semidefinite program, in as few variables as there can be: a projection onto the column and the row space
    that the constraints share changes no :math:`\langle C_j, W\rangle` and does not raise the norm. With n queries
    this takes W from d x d to at most d x n, and its rank to at most n.

    Parameters
    ----------
    C
        The constraints, an array or a CPU tensor.

    Raises
    ------
    ValueError
        If ``C`` is not a stack of finite matrices.
    MissingExtraError
        If cvxpy is missing, which the extra ``dynamics`` installs.
    RuntimeError
        If the solver gives up on constraints that can be met.
    """
    C = _constraints(C)
    # Which norm is minimized does not matter for what can be met, and this test is sharper than the solver's.
    smallest = frobenius_svm(C)
    if smallest is None:
        return None
    scale = np.linalg.norm(smallest)
    left, right = _span(np.concatenate(list(C), axis=1)), _span(np.concatenate(list(C.mT), axis=1))
    reduced = left.T @ C @ right * scale
    cp: Any = optional("cvxpy", extra="dynamics")
    W = cp.Variable(reduced.shape[1:])
    met = reduced.reshape(len(C), -1) @ cp.vec(W, order="C") >= 1
    problem = cp.Problem(cp.Minimize(cp.normNuc(W)), [met])
    problem.solve(solver=cp.CLARABEL)
    if W.value is None:
        raise RuntimeError(f"Clarabel stopped with status {problem.status!r}")
    return scale * (left @ W.value @ right.T)


def _constraints(C: Any) -> np.ndarray:
    C = np.asarray(C, dtype=np.float64)
    if C.ndim != 3 or 0 in C.shape:
        raise ValueError(f"C must be a stack of matrices (m, d, d), got shape {C.shape}")
    if not np.isfinite(C).all():
        raise ValueError(f"C must be finite, got {C[~np.isfinite(C)][0]}")
    return C


def _span(columns: np.ndarray) -> np.ndarray:
    """An orthonormal basis of the columns' span."""
    vectors, values, _ = np.linalg.svd(columns, full_matrices=False)
    return vectors[:, values > 1e-12 * values[0]]


def correlation(A: ArrayLike, B: ArrayLike) -> float:
    r"""The cosine of two matrices, :math:`\langle A, B\rangle / (\|A\|_F \|B\|_F)`; NaN if one of them is zero.

    Raises
    ------
    ValueError
        If their shapes differ.
    """
    A, B = np.asarray(A, dtype=np.float64), np.asarray(B, dtype=np.float64)
    if A.shape != B.shape:
        raise ValueError(f"A and B must have one shape, got {A.shape} and {B.shape}")
    lengths = np.linalg.norm(A) * np.linalg.norm(B)
    return float((A * B).sum() / lengths) if lengths else math.nan


def numerical_rank(W: ArrayLike, rtol: float = 1e-4) -> int:
    """The number of singular values above ``rtol`` times the largest; an interior-point solution needs 1e-4."""
    values = np.linalg.svd(np.asarray(W, dtype=np.float64), compute_uv=False)
    return int((values > rtol * values[0]).sum())
