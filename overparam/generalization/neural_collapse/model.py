"""Features near given features: the model, its two exact blocks, its minimiser near collapse, and the flow."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from overparam.core import checks
from overparam.generalization.neural_collapse.metrics import check_features, class_means, one_hot_targets

#: Earlier iterates that :func:`solve_near` combines, and the relative change below which it begins to.
WINDOW, CLOSE = 8, 1e-2


def objective(
    W: Float[Tensor, "K d"],
    H: Float[Tensor, "d N"],
    H0: Float[Tensor, "d N"],
    lambda_w: float,
    lambda_h: float,
    beta: float,
) -> Float[Tensor, ""]:
    r"""The loss of a linear classifier on features that are free but held near given ones.

    .. math::
        L(W, H) = \frac{\|WH - Y\|^2}{2Kn} + \frac{\lambda_W \|W\|^2}{2K} + \frac{\lambda_H \|H\|^2}{2Kn}
        + \frac{\beta \|H - H_0\|^2}{2Kn}

    Parameters
    ----------
    W
        Classifier without bias.
    H, H0
        Features and the features to stay near, N = Kn columns ordered class by class.
    lambda_w, lambda_h
        Decay of the last layer and of the features, at least 0.
    beta
        Strength of the tie, at least 0; 0 frees the features.

    Raises
    ------
    ValueError
        If the shapes do not fit together or a strength is negative.

    References
    ----------
    Tirer et al. (2023), the model; without the last term the unconstrained features of Mixon et al. (2020).
    """
    K = W.shape[0]
    n = check_features(H, K)
    _check_pair(W, H)
    _check_same(H, H0)
    checks.non_negative(lambda_w=lambda_w, lambda_h=lambda_h, beta=beta)
    Y = one_hot_targets(K, n, H.dtype).to(H.device)
    features = (W @ H - Y).square().sum() + lambda_h * H.square().sum() + beta * (H - H0).square().sum()
    return features / (2 * K * n) + lambda_w * W.square().sum() / (2 * K)


def optimal_classifier(H: Float[Tensor, "d N"], K: int, lambda_w: float) -> Float[Tensor, "{K} d"]:
    r"""The best classifier for given features, ridge regression on the class labels.

    :math:`W^*(H) = \frac1n Y H^\top \big(\frac1n H H^\top + \lambda_W I\big)^{-1}`, where :math:`\frac1n Y H^\top` is
    the transpose of the class means. Differentiable.

    Raises
    ------
    ValueError
        If ``lambda_w`` is not positive, or the features do not fit K classes.
    """
    n = check_features(H, K)
    checks.positive(lambda_w=lambda_w)
    M, _ = class_means(H, K)
    return torch.linalg.solve(H @ H.mT / n + lambda_w * _identity(H), M).mT


def optimal_features(
    W: Float[Tensor, "K d"], H0: Float[Tensor, "d N"], K: int, lambda_h: float, beta: float
) -> Float[Tensor, "d N"]:
    r"""The best features for a classifier, :math:`(W^\top W + (\lambda_H + \beta) I)^{-1} (W^\top Y + \beta H_0)`.

    Raises
    ------
    ValueError
        If ``lambda_h`` is negative, ``beta`` is not positive, or the shapes do not fit together.
    """
    n = check_features(H0, K)
    if W.shape[0] != K:
        raise ValueError(f"W must have one row for each of the {K} classes, got shape {tuple(W.shape)}")
    _check_pair(W, H0)
    checks.non_negative(lambda_h=lambda_h)
    checks.positive(beta=beta)
    pulled = W.mT @ one_hot_targets(K, n, H0.dtype).to(H0.device) + beta * H0
    return torch.linalg.solve(W.mT @ W + (lambda_h + beta) * _identity(H0), pulled)


def collapsed_minimizer(
    K: int, n: int, d: int, lambda_w: float, lambda_h: float, basis: Float[Tensor, "d K"]
) -> tuple[Float[Tensor, "{K} {d}"], Float[Tensor, "{d} {K}*{n}"]]:
    r"""The minimiser with free features (``beta`` = 0), which is exactly collapsed.

    With :math:`\rho = \sqrt{\lambda_W \lambda_H} < 1`: :math:`W = w U^\top` and :math:`H = h\, U \otimes 1_n^\top`,
    :math:`w^2 = \sqrt{\lambda_H/\lambda_W}\,(1 - \rho)`, :math:`h^2 = \sqrt{\lambda_W/\lambda_H}\,(1 - \rho)`. The
    value is :math:`\rho (2 - \rho)/2`. From :math:`\rho = 1` on the minimiser is zero.

    Parameters
    ----------
    K, n, d
        Classes, samples of each, and dimension of the features, at least K.
    lambda_w, lambda_h
        The decays, positive, their product below 1.
    basis
        Any orthonormal columns U, which also decide dtype and device.

    Raises
    ------
    ValueError
        If a size, a decay or their product lies outside its range, or ``basis`` is no orthonormal d x K matrix.
    """
    checks.integer(2, K=K)
    checks.integer(1, n=n)
    if d < K:
        raise ValueError(f"d must be at least the {K} classes, got {d}")
    if basis.shape != (d, K):
        raise ValueError(f"basis must have shape {(d, K)}, got {tuple(basis.shape)}")
    _check_basis(basis, K)
    checks.positive(lambda_h=lambda_h)
    rho = _rho(lambda_w, lambda_h)
    w, h = (((1 - rho) * ratio**0.5) ** 0.5 for ratio in (lambda_h / lambda_w, lambda_w / lambda_h))
    return w * basis.mT, h * basis.repeat_interleave(n, 1)


# --- Near collapse ----------------------------------------------------------------------------------------------


def solve_near(
    H0: Float[Tensor, "d N"],
    K: int,
    lambda_w: float,
    lambda_h: float,
    beta: float,
    iters: int = 20_000,
    tol: float = 1e-13,
) -> tuple[Float[Tensor, "{K} d"], Float[Tensor, "d N"], int]:
    r"""The minimiser of :func:`objective`, by alternating the two exact blocks from H = H0.

    Given W the residual is linear in that of :math:`H_0`, and the next W needs only the class means and
    :math:`Z Z^\top / n`. So a round trip costs two solves of size d, whatever n is. The alternation converges
    linearly, and slowly along directions to which the loss is almost blind; once W moves by less than a hundredth, the
    last iterates are combined so that their residuals cancel (Anderson acceleration), which leaves the fixed
    points as they are.

    Parameters
    ----------
    H0
        Features to stay near, class by class.
    K
        Classes.
    lambda_w, lambda_h, beta
        The decays, of product below 1, and the tie; ``lambda_h`` may be 0.
    iters
        Largest number of round trips.
    tol
        Relative change of W in one round trip at which to stop; no less than what the dtype resolves.

    Returns
    -------
    W, H and the number of round trips taken.

    Raises
    ------
    ValueError
        If a number lies outside its range, or H0 does not fit K classes.

    References
    ----------
    Walker & Ni, Anderson Acceleration for Fixed-Point Iterations, SIAM J. Numer. Anal. 49(4), 2011.
    """
    n = check_features(H0, K)
    _check_strengths(lambda_w, lambda_h, beta)
    checks.integer(1, iters=iters)
    checks.positive(tol=tol)
    tol = max(tol, 8 * torch.finfo(H0.dtype).eps)
    M0, Z0 = class_means(H0, K)
    within = Z0 @ Z0.mT / n

    def round_trip(W: Tensor) -> Tensor:
        # All three right-hand sides at once: the means, and the inverse that shrinks the residual from both sides.
        A = W.mT @ W + (lambda_h + beta) * identity
        solved = torch.linalg.solve(A, torch.cat([W.mT + beta * M0, beta * identity], 1))
        M, shrink = solved[:, :K], solved[:, K:]
        return torch.linalg.solve(M @ M.mT + shrink @ within @ shrink.mT + lambda_w * identity, M).mT

    identity = _identity(H0)
    W = optimal_classifier(H0, K, lambda_w)
    images: list[Tensor] = []
    steps: list[Tensor] = []
    taken, last = 0, math.inf
    while taken < iters:
        image = round_trip(W)
        taken += 1
        change = float((image - W).norm() / image.norm())
        if change < tol:
            W = image
            break
        if change > min(CLOSE, 2 * last):  # far away, or led astray: alternate plainly
            images, steps = [], []
        images, steps = [*images, image][-WINDOW:], [*steps, image - W][-WINDOW:]
        W, last = _combine(images, steps), change
    return W, optimal_features(W, H0, K, lambda_h, beta), taken


def _combine(images: list[Tensor], steps: list[Tensor]) -> Tensor:
    """The affine combination of images whose combined step is shortest."""
    if len(images) == 1:
        return images[0]
    residuals, values = (torch.stack([x.flatten() for x in xs], 1) for xs in (steps, images))
    bends = residuals[:, 1:] - residuals[:, :-1]
    # Columns of one length, and a pseudo-inverse: late differences are small and nearly dependent.
    sizes = bends.norm(dim=0)
    share = torch.linalg.pinv(bends / sizes, rtol=1e-10) @ residuals[:, -1] / sizes
    return (values[:, -1] - (values[:, 1:] - values[:, :-1]) @ share).view_as(images[-1])


def shrink_factors(lambda_w: float, lambda_h: float, beta: float) -> dict[str, float]:
    r"""How much of each kind of deviation from collapse the minimiser keeps, to first order.

    Returns
    -------
    ``within_inside``, :math:`\beta/(\beta + \sqrt{\lambda_H/\lambda_W})`: residuals in the span of the class means.
    ``within_outside``, :math:`\beta/(\beta + \lambda_H)`: residuals orthogonal to it. ``means_outside`` and
    ``means_antisymmetric``, 1: means that leave the span, or turn inside it. ``means_symmetric``,
    :math:`\beta/(\beta + 4\lambda_H(1 - \rho))`: means that change their lengths or angles.

    Raises
    ------
    ValueError
        If a number or the product of the decays lies outside its range.
    """
    rho = _check_strengths(lambda_w, lambda_h, beta)
    return {
        "within_inside": beta / (beta + (lambda_h / lambda_w) ** 0.5),
        "within_outside": beta / (beta + lambda_h),
        "means_outside": 1.0,
        "means_antisymmetric": 1.0,
        "means_symmetric": beta / (beta + 4 * lambda_h * (1 - rho)),
    }


def perturbation_blocks(
    delta: Float[Tensor, "d N"], basis: Float[Tensor, "d K"], K: int
) -> dict[str, Float[Tensor, "d N"]]:
    """The five orthogonal parts of a perturbation, by the names of :func:`shrink_factors`; their sum is ``delta``.

    Raises
    ------
    ValueError
        If the shapes do not fit together or the basis is not orthonormal.
    """
    n = check_features(delta, K)
    _check_basis(basis, K)
    if basis.shape[0] != delta.shape[0]:
        raise ValueError(f"basis must have {delta.shape[0]} rows, got shape {tuple(basis.shape)}")
    M, Z = class_means(delta, K)
    inside_Z, S = basis @ (basis.mT @ Z), basis.mT @ M
    means = {
        "means_outside": M - basis @ S,
        "means_antisymmetric": basis @ (S - S.mT) / 2,
        "means_symmetric": basis @ (S + S.mT) / 2,
    }
    repeated = {name: part.repeat_interleave(n, 1) for name, part in means.items()}
    return {"within_inside": inside_Z, "within_outside": Z - inside_Z} | repeated


def first_order_map(
    delta: Float[Tensor, "d N"],
    basis: Float[Tensor, "d K"],
    K: int,
    lambda_w: float,
    lambda_h: float,
    beta: float,
) -> Float[Tensor, "d N"]:
    r"""The linear map F: near collapse the minimiser is the collapsed point plus :math:`F(\delta) + O(|\delta|^2)`.

    Parameters
    ----------
    delta
        Deviation of H0 from the collapsed point of these decays.
    basis
        The orthonormal U of that point.
    K, lambda_w, lambda_h, beta
        As in :func:`solve_near`.

    Raises
    ------
    ValueError
        As for :func:`shrink_factors` and :func:`perturbation_blocks`.

    References
    ----------
    Tirer et al. (2023), the near-collapse analysis, which has the map in Kronecker form; the blocks are this book's.
    """
    factors = shrink_factors(lambda_w, lambda_h, beta)
    mapped = torch.zeros_like(delta)
    for name, part in perturbation_blocks(delta, basis, K).items():
        mapped = mapped + factors[name] * part
    return mapped


# --- The flow ---------------------------------------------------------------------------------------------------


def central_path_flow(
    H0: Float[Tensor, "d N"], K: int, lambda_w: float, lambda_h: float, time: float, steps: int
) -> tuple[Float[Tensor, " t"], Float[Tensor, " t"], Float[Tensor, " t"], Float[Tensor, "d N"]]:
    r"""Gradient flow of free features under a classifier that is optimal at every moment, by Runge and Kutta's rule.

    :math:`\dot H = -W^{*\top}(W^* H - Y) - \lambda_H H` with :math:`W^* = W^*(H)`. Along it
    :math:`e^{2\lambda_H t} \operatorname{tr} \Sigma_W` falls and :math:`e^{2\lambda_H t} \operatorname{tr} \Sigma_B`
    rises.

    Parameters
    ----------
    H0
        Features at time 0, class by class.
    K, lambda_w, lambda_h
        Classes, and the decays of the classifier (positive) and of the features (at least 0).
    time, steps
        Length of the path, and the number of equal steps of fourth order that it is divided into.

    Returns
    -------
    The times, the traces of the two covariances at each of them, and the features at the end.

    Raises
    ------
    ValueError
        If a number lies outside its range, or H0 does not fit K classes.

    References
    ----------
    Tirer et al. (2023), the analysis on the central path of Han et al. (2022).
    """
    n = check_features(H0, K)
    checks.positive(lambda_w=lambda_w, time=time)
    checks.non_negative(lambda_h=lambda_h)
    checks.integer(1, steps=steps)
    Y = one_hot_targets(K, n, H0.dtype).to(H0.device)

    def velocity(H: Tensor) -> Tensor:
        W = optimal_classifier(H, K, lambda_w)
        return W.mT @ (Y - W @ H) - lambda_h * H

    H, dt = H0, time / steps
    spreads = [_spreads(H, K)]
    for _ in range(steps):
        k1 = velocity(H)
        k2 = velocity(H + dt / 2 * k1)
        k3 = velocity(H + dt / 2 * k2)
        k4 = velocity(H + dt * k3)
        H = H + dt / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        spreads.append(_spreads(H, K))
    within, between = torch.stack(spreads, 1)
    times = torch.linspace(0, time, steps + 1, dtype=H0.dtype, device=H0.device)
    return times, within, between, H


def _spreads(H: Tensor, K: int) -> Tensor:
    """The traces of the within-class and of the between-class covariance."""
    M, Z = class_means(H, K)
    return torch.stack([Z.square().sum() / H.shape[1], (M - M.mean(1, keepdim=True)).square().sum() / K])


# --- What is refused --------------------------------------------------------------------------------------------


def _identity(H: Tensor) -> Tensor:
    return torch.eye(H.shape[0], dtype=H.dtype, device=H.device)


def _rho(lambda_w: float, lambda_h: float) -> float:
    checks.positive(lambda_w=lambda_w)
    checks.non_negative(lambda_h=lambda_h)
    if lambda_w * lambda_h >= 1:
        raise ValueError(f"lambda_w * lambda_h must be below 1, got {lambda_w!r} * {lambda_h!r}: the minimiser is zero")
    return (lambda_w * lambda_h) ** 0.5


def _check_strengths(lambda_w: float, lambda_h: float, beta: float) -> float:
    checks.positive(beta=beta)
    return _rho(lambda_w, lambda_h)


def _check_basis(basis: Tensor, K: int) -> None:
    d, columns = basis.shape
    if columns != K or d < K:
        raise ValueError(f"basis must have {K} columns and at least as many rows, got shape {tuple(basis.shape)}")
    off = basis.mT @ basis - torch.eye(K, dtype=basis.dtype, device=basis.device)
    worst = 0.0 if basis.device.type == "meta" else float(off.abs().max())
    if not worst < 100 * K * torch.finfo(basis.dtype).eps:
        raise ValueError(f"basis must have orthonormal columns, got an inner product that is off by {worst:.1e}")


def _check_pair(W: Tensor, H: Tensor) -> None:
    if W.ndim != 2 or W.shape[1] != H.shape[0]:
        raise ValueError(f"W must have one column for each of the {H.shape[0]} features, got shape {tuple(W.shape)}")


def _check_same(H: Tensor, H0: Tensor) -> None:
    if H0.shape != H.shape:
        raise ValueError(f"H0 must have the shape of H, {tuple(H.shape)}, got {tuple(H0.shape)}")
