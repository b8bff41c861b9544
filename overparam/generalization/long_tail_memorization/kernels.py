"""Kernel ridge regression, what it would say without each of its examples, and so what it has memorized."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from overparam.core import checks


def gaussian_kernel(X: Float[Tensor, "n d"], Z: Float[Tensor, "k d"], width2: float) -> Float[Tensor, "n k"]:
    r"""The kernel :math:`\exp(-\lVert x - z\rVert^2 / (2 w^2))`, with ``width2`` for :math:`w^2`.

    Raises
    ------
    ValueError
        If the inputs are no matrices of one width, or ``width2`` is not positive and finite.
    """
    checks.positive(width2=width2)
    if X.ndim != 2 or Z.ndim != 2 or X.shape[1] != Z.shape[1]:
        raise ValueError(f"X and Z must be matrices of one width, got shapes {tuple(X.shape)} and {tuple(Z.shape)}")
    # Differences rather than products: a point keeps a distance of exactly zero to itself.
    distances = torch.cdist(X, Z, compute_mode="donot_use_mm_for_euclid_dist")
    return (distances.square() / (-2 * width2)).exp()


def kernel_ridge_loo(
    K: Float[Tensor, "n n"], Y: Float[Tensor, "n c"], ridge: float
) -> tuple[Float[Tensor, "n c"], Float[Tensor, "n c"]]:
    r"""Kernel ridge regression and all of its leave-one-out predictions, from one factorization.

    With :math:`G = (K + \lambda I)^{-1}` the coefficients are :math:`\beta = G Y`, and the prediction at :math:`x_i` of
    the fit without example i is :math:`y_i - \beta_i / G_{ii}`: n fits for the price of one.

    Parameters
    ----------
    K
        Kernel of the training inputs, symmetric and positive semi-definite.
    Y
        Targets.
    ridge
        The penalty :math:`\lambda`.

    Returns
    -------
    The coefficients :math:`\beta`, with predictions ``k(x, X) @ beta``, and the leave-one-out predictions.

    Raises
    ------
    ValueError
        If ``ridge`` is not positive and finite, the shapes do not fit, or K is not positive semi-definite.
    """
    checks.positive(ridge=ridge)
    if K.ndim != 2 or K.shape[0] != K.shape[1]:
        raise ValueError(f"K must be square, got shape {tuple(K.shape)}")
    if Y.ndim != 2 or len(Y) != len(K):
        raise ValueError(f"Y must have {len(K)} rows like K, got shape {tuple(Y.shape)}")
    factor, failed = torch.linalg.cholesky_ex(K + ridge * torch.eye(len(K), dtype=K.dtype, device=K.device))
    if failed:
        raise ValueError(f"K must be positive semi-definite, but with ridge {ridge!r} it has no Cholesky factor")
    G = torch.cholesky_inverse(factor)
    beta = G @ Y
    return beta, Y - beta / G.diagonal()[:, None]


def memorization_scores(
    K: Float[Tensor, "n n"], y: Int[Tensor, " n"], classes: int, ridge: float
) -> Float[Tensor, " n"]:
    r"""Whether each example's label is right because the example was there: 1, 0, or -1 if it is wrong because of it.

    :math:`\mathrm{mem}(i) = P[h_S(x_i) = y_i] - P[h_{S \setminus i}(x_i) = y_i]` for kernel ridge regression on
    one-hot targets, decided by the largest output. Fitting is deterministic, so that both probabilities are 0 or 1.
    An output that is zero everywhere decides for class 0.

    Parameters
    ----------
    K
        Kernel of the training inputs.
    y
        Labels 0..classes-1.
    classes, ridge
        Number of labels, penalty.

    Raises
    ------
    ValueError
        If there are fewer than 2 classes, a label is outside their range, or as for :func:`kernel_ridge_loo`.

    References
    ----------
    Feldman (2020), the definition of label memorization.
    """
    targets = one_hot(y, classes).to(K)
    beta, loo = kernel_ridge_loo(K, targets, ridge)
    fitted = targets - ridge * beta
    return ((fitted.argmax(1) == y).int() - (loo.argmax(1) == y).int()).to(K)


def one_hot(y: Int[Tensor, " n"], classes: int) -> Int[Tensor, "n {classes}"]:
    """A one in the column of each label.

    Raises
    ------
    ValueError
        If there are fewer than 2 classes, or a label is outside 0..classes-1.
    """
    checks.integer(2, classes=classes)
    if y.ndim != 1:
        raise ValueError(f"y must be a list of labels, got shape {tuple(y.shape)}")
    if (bad := y[(y < 0) | (y >= classes)]).numel():
        raise ValueError(f"y must lie in 0..{classes - 1}, got {bad[0].item()}")
    return functional.one_hot(y, classes)
