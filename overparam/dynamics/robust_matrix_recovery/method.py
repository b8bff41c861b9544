"""The measurements, the sub-gradient method, and Sign-RIP."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from overparam.core import checks
from overparam.core.datasets import random_low_rank

LOSSES = ("l1", "l2")


# --- The problem ------------------------------------------------------------------------------------------------


def gaussian_measurements(
    d: int, m: int, *, generator: torch.Generator | None = None, dtype: torch.dtype = torch.float64
) -> Float[Tensor, "{m} {d} {d}"]:
    r"""Measurement matrices :math:`A_1, \dots, A_m` with independent entries :math:`N(0, 1)`.

    The variance is 1 and not :math:`1/m`: the loss is a mean over measurements, and the step size goes with it.

    Raises
    ------
    ValueError
        If a size is below 1.
    """
    checks.integer(1, d=d, m=m)
    return torch.randn(m, d, d, generator=generator, dtype=dtype)


def low_rank_psd(
    d: int,
    singular_values: tuple[float, ...] | list[float],
    *,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float64,
) -> Float[Tensor, "{d} {d}"]:
    r"""The truth :math:`X^* = V \operatorname{diag}(s) V^\top` with random orthonormal :math:`V`.

    Raises
    ------
    ValueError
        If there are more singular values than ``d``, or one is not positive.
    """
    return random_low_rank(d, d, singular_values, psd=True, generator=generator, dtype=dtype)


def outliers(
    m: int, p: float, scale: float, *, generator: torch.Generator | None = None, dtype: torch.dtype = torch.float64
) -> Float[Tensor, " {m}"]:
    r"""Noise that is 0 with probability ``1 - p`` and else :math:`N(0, \text{scale}^2)`; ``p = 1`` is Gaussian noise.

    Raises
    ------
    ValueError
        If ``m`` is below 1, ``p`` is outside [0, 1], or ``scale`` is negative or not finite.
    """
    checks.integer(1, m=m)
    checks.probability(p=p)
    checks.non_negative(scale=scale)
    hit = torch.rand(m, generator=generator, dtype=dtype) < p
    return torch.where(hit, scale * torch.randn(m, generator=generator, dtype=dtype), 0.0)


# --- The sub-gradient method ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trajectory:
    r"""A batch of B runs.

    ``steps`` are the recorded times. ``loss`` is what the run minimizes, and ``error`` is
    :math:`\|UU^\top - X^*\|_F / \|X^*\|_F` (without columns where the truth was not given), both before the update
    of that step. ``U`` is the final factor.
    """

    steps: Int[Tensor, " times"]
    loss: Float[Tensor, "b times"]
    error: Float[Tensor, "b _"]
    U: Float[Tensor, "b d k"]


def l1_loss(U: Float[Tensor, "*b d k"], A: Float[Tensor, "m d d"], y: Float[Tensor, " m"]) -> Float[Tensor, "*b"]:
    r"""The mean absolute residual :math:`\frac1m \sum_i |\langle A_i, UU^\top\rangle - y_i|`.

    Raises
    ------
    ValueError
        If the shapes do not fit or ``y`` is not finite.
    """
    _check_problem(U, A, y)
    return _residuals(U, A, y).abs().mean(-1)


def measurement_subgradient(
    U: Float[Tensor, "*b d k"], A: Float[Tensor, "m d d"], y: Float[Tensor, " m"], loss: str = "l1"
) -> Float[Tensor, "*b d d"]:
    r"""The sub-gradient in the product, :math:`Q = \frac1m \sum_i \operatorname{sign}(r_i) A_i`.

    Here :math:`r_i = \langle A_i, UU^\top\rangle - y_i` and :math:`\operatorname{sign}(0) = 0`.

    Parameters
    ----------
    U
        The factor, one or a batch.
    A, y
        The measurement matrices and what they measured.
    loss
        "l1", or "l2" for the gradient of :math:`\frac{1}{2m}\sum_i r_i^2`: the residual instead of its sign.

    Raises
    ------
    ValueError
        If the shapes do not fit, ``y`` is not finite, or the loss is another.
    """
    _check_problem(U, A, y)
    checks.one_of(LOSSES, loss=loss)
    return _pull_back(_residuals(U, A, y), A.flatten(1), loss).unflatten(-1, A.shape[1:])


def subgradient(
    U: Float[Tensor, "*b d k"], A: Float[Tensor, "m d d"], y: Float[Tensor, " m"], loss: str = "l1"
) -> Float[Tensor, "*b d k"]:
    r"""The sub-gradient in the factor, :math:`(Q + Q^\top)\,U` with :func:`measurement_subgradient`'s Q.

    Raises
    ------
    ValueError
        As for :func:`measurement_subgradient`.
    """
    Q = measurement_subgradient(U, A, y, loss)
    return (Q + Q.mT) @ U


def spectral_init(A: Float[Tensor, "m d d"], y: Float[Tensor, " m"], k: int, alpha: float) -> Float[Tensor, "d {k}"]:
    r"""A small start along the sub-gradient at zero, with :math:`\|U_0 U_0^\top\|_F = \alpha^2` for every k.

    Of the symmetric part of :math:`\frac1m \sum_i \operatorname{sign}(y_i) A_i` the k largest eigenvalues are kept,
    negative ones set to 0: with them in :math:`\lambda_+` and their eigenvectors in :math:`V_k`,
    :math:`U_0 = \alpha V_k \operatorname{diag}(\lambda_+ / \|\lambda_+\|_2)^{1/2}`.

    Raises
    ------
    ValueError
        If ``k`` is outside 1..d, ``alpha`` is not positive and finite, the shapes do not fit, ``y`` is not finite,
        or no eigenvalue is positive, in which case the measurements show no direction to start in.
    """
    _check_measurements(A, y)
    checks.positive(alpha=alpha)
    d = A.shape[-1]
    checks.integer(1, k=k)
    if k > d:
        raise ValueError(f"k must lie in 1..{d} for matrices of size {d} x {d}, got {k}")
    C = _pull_back(y, A.flatten(1), "l1").view(d, d)
    eigenvalues, vectors = torch.linalg.eigh((C + C.mT) / 2)  # in ascending order
    kept = eigenvalues[-k:].clamp(min=0)
    if not (kept > 0).any():
        raise ValueError(f"y must correlate with a positive direction, got largest eigenvalue {eigenvalues[-1]:g}")
    return alpha * vectors[:, -k:] * (kept / kept.norm()).sqrt()


def sub_gradient_method(
    U0: Float[Tensor, "*b d k"],
    A: Float[Tensor, "m d d"],
    y: Float[Tensor, " m"],
    *,
    eta: float,
    rho: float = 1.0,
    steps: int,
    X_true: Float[Tensor, "d d"] | None = None,
    loss: str = "l1",
    record_every: int = 10,
) -> Trajectory:
    r"""The sub-gradient method with geometric steps, :math:`U_{t+1} = U_t - \eta\rho^t (Q + Q^\top)\,U_t`.

    The steps have to shrink, because the sub-gradient of the l1 loss does not when the solution comes near.

    Parameters
    ----------
    U0
        The start, one matrix or a batch. Columns of zeros stay zero, so that starts of different k can share a batch.
    A, y
        The measurement matrices and what they measured.
    eta, rho, steps
        The first step size, the factor from one to the next in (0, 1], and their number.
    X_true
        The matrix to compare with; None records no error.
    loss
        "l1", or "l2" for gradient descent on :math:`\frac{1}{2m}\sum_i r_i^2`.
    record_every
        Every so many steps loss and error are recorded, from step 0 on, and always at the last.

    Raises
    ------
    ValueError
        If a number is out of range, the shapes do not fit, or ``y`` is not finite.
    """
    _check_problem(U0, A, y)
    checks.positive(eta=eta)
    checks.integer(1, steps=steps, record_every=record_every)
    checks.one_of(LOSSES, loss=loss)
    if not 0 < rho <= 1:
        raise ValueError(f"rho must lie in (0, 1], got {rho!r}")
    if X_true is not None and X_true.shape != A.shape[1:]:
        raise ValueError(f"X_true must be {A.shape[1]} x {A.shape[2]}, got shape {tuple(X_true.shape)}")
    U, d = U0.reshape(-1, *U0.shape[-2:]), A.shape[-1]
    # Only Q + Q^T is needed and UU^T is symmetric, so that one triangle does for both: half the work.
    i, j = torch.triu_indices(d, d, device=A.device)
    rows = (A + A.mT)[:, i, j]
    columns = (rows * torch.where(i == j, 0.5, 1.0).to(rows)).mT.contiguous()
    unfold = torch.empty(d, d, dtype=torch.long, device=A.device)
    unfold[i, j] = unfold[j, i] = torch.arange(len(i), device=A.device)
    times, losses, errors = dict.fromkeys([*range(0, steps + 1, record_every), steps]), [], []
    for step in range(steps + 1):
        r = (U @ U.mT)[:, i, j] @ columns - y
        if step in times:
            losses.append(r.abs().mean(-1) if loss == "l1" else r.square().mean(-1) / 2)
            if X_true is not None:
                errors.append(_relative_error(U, X_true))
        if step < steps:
            Q_plus_Qt = _pull_back(r, rows, loss)[:, unfold]
            U = U - eta * rho**step * Q_plus_Qt @ U
    recorded = torch.tensor(list(times), device=U.device)
    error = torch.stack(errors, 1) if errors else U.new_empty(len(U), 0)
    return Trajectory(recorded, torch.stack(losses, 1), error, U)


def _residuals(U: Tensor, A: Tensor, y: Tensor) -> Tensor:
    return (U @ U.mT).flatten(-2) @ A.flatten(1).mT - y


def _pull_back(r: Tensor, rows: Tensor, loss: str) -> Tensor:
    """The measurements' adjoint on the signs (l1) or on the residuals themselves (l2), a flat matrix for each run."""
    return (r.sign() if loss == "l1" else r) @ rows / len(rows)


def _relative_error(U: Tensor, X: Tensor) -> Tensor:
    return torch.linalg.matrix_norm(U @ U.mT - X) / torch.linalg.matrix_norm(X)


def _check_measurements(A: Tensor, y: Tensor) -> None:
    if A.ndim != 3 or A.shape[1] != A.shape[2]:
        raise ValueError(f"A must be a stack of square matrices (m, d, d), got shape {tuple(A.shape)}")
    if y.shape != A.shape[:1]:
        raise ValueError(f"y must hold one number for each of {len(A)} measurements, got shape {tuple(y.shape)}")
    if not y.isfinite().all():
        raise ValueError(f"y must be finite, got {y[~y.isfinite()][0].item()}")


def _check_problem(U: Tensor, A: Tensor, y: Tensor) -> None:
    _check_measurements(A, y)
    if U.ndim < 2 or U.shape[-2] != A.shape[1]:
        raise ValueError(f"U must have {A.shape[1]} rows like the measurement matrices, got shape {tuple(U.shape)}")


# --- Sign-RIP ---------------------------------------------------------------------------------------------------


def sign_rip_scale(norm: float, p: float, sigma: float) -> float:
    r"""The length :math:`\varphi` of the expected sub-gradient at an error of Frobenius norm ``norm``.

    With :math:`s \sim N(0, \sigma^2)` in a fraction p of the measurements,
    :math:`\mathbb{E}[\operatorname{sign}(\langle A, X\rangle - s)\,A] = \varphi(\|X\|_F)\, X / \|X\|_F` where
    :math:`\varphi(n) = \sqrt{2/\pi}\,\big(1 - p + p\,\mathbb{E}\,e^{-s^2 / (2n^2)}\big)`, and the expectation is
    :math:`n / \sqrt{n^2 + \sigma^2}`.

    Raises
    ------
    ValueError
        If ``norm`` is not positive and finite, ``p`` is outside [0, 1], or ``sigma`` is negative or not finite.
    """
    checks.positive(norm=norm)
    checks.probability(p=p)
    checks.non_negative(sigma=sigma)
    return math.sqrt(2 / math.pi) * (1 - p + p * norm / math.hypot(norm, sigma))


def sign_rip_deviation(Q: Float[Tensor, "d d"], X: Float[Tensor, "d d"], phi: float, rank: int) -> float:
    r"""How far :math:`Q/\varphi` is from :math:`X/\|X\|_F`, seen along the worst direction of a given rank.

    That is :math:`\sup \langle Q/\varphi - X/\|X\|_F, Y\rangle` over :math:`\|Y\|_F \le 1` of rank at most ``rank``:
    the root of the sum of the largest ``rank`` squared singular values. Sign-RIP asks for it to be small.

    Raises
    ------
    ValueError
        If the shapes differ, X is zero, ``phi`` is not positive and finite, or ``rank`` is outside 1..d.
    """
    checks.positive(phi=phi)
    checks.integer(1, rank=rank)
    if Q.ndim != 2 or Q.shape != X.shape:
        raise ValueError(f"Q and X must be matrices of one shape, got {tuple(Q.shape)} and {tuple(X.shape)}")
    if rank > min(Q.shape):
        raise ValueError(f"rank must lie in 1..{min(Q.shape)}, got {rank}")
    norm = float(torch.linalg.matrix_norm(X))
    checks.positive(norm_of_X=norm)
    return float(torch.linalg.svdvals(Q / phi - X / norm)[:rank].norm())
