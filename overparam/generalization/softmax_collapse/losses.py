"""Two normalized exponentials, one of which is none, and where floating point ends the first."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from overparam.core import checks

REDUCTIONS = ("mean", "sum", "none")


# --- StableMax --------------------------------------------------------------------------------------------------


def stablemax(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    r"""What StableMax has in the place of the exponential.

    .. math:: s(x) = \begin{cases} x + 1 & x \ge 0 \\ 1/(1 - x) & x < 0 \end{cases}

    Positive, increasing and continuously differentiable, it grows only linearly, so that no float within its range is
    absorbed by another.

    References
    ----------
    Prieto et al. (2025), the definition of StableMax.
    """
    above, below = _halves(x)
    return (1 + above) / (1 - below)


def log_stablemax(logits: Float[Tensor, "*batch c"]) -> Float64[Tensor, "*batch c"]:
    r"""The logarithm of :math:`s(z_i) / \sum_j s(z_j)` over the last axis, in float64.

    It never forms the ratio: :math:`\log s` comes from ``log1p`` and is normalized by ``logsumexp``, which is
    finite for logits of any size that float64 holds.

    References
    ----------
    Prieto et al. (2025), the definition of StableMax.
    """
    above, below = _halves(logits.double())
    log_s = torch.log1p(above) - torch.log1p(-below)
    return log_s - log_s.logsumexp(-1, keepdim=True)


def _halves(x: Tensor) -> tuple[Tensor, Tensor]:
    # The argument is masked and not the value: a branch that is not taken would still send back its gradient.
    # Unlike two clamps, this gives the slope 1 at 0.
    positive = x >= 0
    return torch.where(positive, x, 0.0), torch.where(positive, 0.0, x)


def stablemax_cross_entropy(
    logits: Float[Tensor, "n c"], labels: Int[Tensor, " n"], reduction: str = "mean"
) -> Float64[Tensor, "*terms"]:
    """Cross-entropy of StableMax's probabilities, always in float64.

    Parameters
    ----------
    logits, labels
        One row and one class a sample.
    reduction
        "mean", "sum", or "none" for one term a sample.

    Raises
    ------
    ValueError
        If the logits are no matrix, the labels are not one class for each row, or the reduction is unknown.
    """
    _check(logits, labels, reduction)
    return _reduce(_terms(log_stablemax(logits), labels), reduction)


# --- Softmax and its collapse -----------------------------------------------------------------------------------


def softmax_cross_entropy(
    logits: Float[Tensor, "n c"],
    labels: Int[Tensor, " n"],
    dtype: torch.dtype = torch.float32,
    reduction: str = "mean",
) -> Float[Tensor, "*terms"]:
    """Cross-entropy of the softmax, with the logits cast to ``dtype`` first and everything after computed in it.

    Parameters
    ----------
    logits, labels
        One row and one class a sample.
    dtype
        The precision of the loss, which may be another than that of the network.
    reduction
        "mean", "sum", or "none" for one term a sample.

    Raises
    ------
    ValueError
        If the logits are no matrix, the labels are not one class for each row, the reduction is unknown, or ``dtype``
        no floating-point type.
    """
    _check(logits, labels, reduction)
    _check_dtype(dtype)
    return _reduce(_terms(logits.to(dtype).log_softmax(-1), labels), reduction)


def softmax_collapse(logits: Float[Tensor, "n c"], dtype: torch.dtype = torch.float32) -> float:
    r"""The share of samples for which :math:`\sum_j e^{z_j - \max z}` is exactly 1 in ``dtype``. NaN for no samples.

    There the largest logit has absorbed all others. Between two classes it takes a gap of 11 ln 2 = 7.6 in float16,
    24 ln 2 = 16.6 in float32 and 53 ln 2 = 36.7 in float64.

    Raises
    ------
    ValueError
        If the logits are no matrix, or ``dtype`` is no floating-point type.

    References
    ----------
    Prieto et al. (2025), the definition of Softmax Collapse.
    """
    _check_logits(logits)
    _check_dtype(dtype)
    z = logits.detach().to(dtype)
    total = (z - z.amax(1, keepdim=True)).exp().sum(1)
    return float((total == 1).double().mean())


def zero_gradient_share(
    logits: Float[Tensor, "n c"],
    labels: Int[Tensor, " n"],
    cross_entropy: Callable[..., Tensor] = softmax_cross_entropy,
) -> float:
    """The share of correctly classified samples whose loss has the gradient 0, exactly, at the correct logit.

    NaN if no sample is classified correctly.

    Parameters
    ----------
    logits, labels
        One row and one class a sample.
    cross_entropy
        :func:`softmax_cross_entropy` or :func:`stablemax_cross_entropy`.

    Raises
    ------
    ValueError
        As the loss.
    """
    # In float64, so that a gradient that the loss computes is not lost when it is handed back.
    leaf = logits.detach().double().requires_grad_()
    (gradient,) = torch.autograd.grad(cross_entropy(leaf, labels, reduction="sum"), leaf)
    correct = logits.argmax(1) == labels
    pull = gradient.gather(1, labels[:, None])[correct]
    return float((pull == 0).double().mean())


def _terms(log_probabilities: Tensor, labels: Tensor) -> Tensor:
    return -log_probabilities.gather(1, labels[:, None]).squeeze(1)


def _reduce(terms: Tensor, reduction: str) -> Tensor:
    return {"mean": Tensor.mean, "sum": Tensor.sum, "none": Tensor.clone}[reduction](terms)


def _check(logits: Tensor, labels: Tensor, reduction: str) -> None:
    checks.one_of(REDUCTIONS, reduction=reduction)
    _check_logits(logits)
    check_labels(labels, *logits.shape)


def _check_logits(logits: Tensor) -> None:
    if logits.ndim != 2 or not logits.shape[1]:
        raise ValueError(f"logits must be a matrix (n, c), got shape {tuple(logits.shape)}")


def check_labels(labels: Tensor, n: int, num_classes: int) -> None:
    """Raise ``ValueError`` unless there are ``n`` labels, all of them in 0..num_classes-1."""
    if labels.shape != (n,):
        raise ValueError(f"labels must be {n} classes, got shape {tuple(labels.shape)}")
    if labels.is_meta:
        return
    if (bad := labels[(labels < 0) | (labels >= num_classes)]).numel():
        raise ValueError(f"labels must lie in 0..{num_classes - 1}, got {bad[0].item()}")


def _check_dtype(dtype: torch.dtype) -> None:
    if not dtype.is_floating_point:
        raise ValueError(f"dtype must be a floating-point type, got {dtype}")
