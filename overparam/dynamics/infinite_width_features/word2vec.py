"""Word embeddings by a linear network of one hidden layer: finite, infinitely wide, and in the NTK limit."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from overparam.core import checks


def limit_factors(
    d_in: int, d_out: int, dtype: torch.dtype = torch.float64
) -> tuple[Float[Tensor, "h {d_in}"], Float[Tensor, "h {d_out}"]]:
    r"""The infinitely wide :math:`\mu P` network at its start: :math:`A = [I; 0]`, :math:`B = [0; I]`.

    Training of :math:`f = B^\top A` sees the start only through the inner products of its columns. Those of a random
    start tend to the identity with the width, and :math:`d_{in} + d_{out}` coordinates realize the identity.
    """
    checks.integer(1, d_in=d_in, d_out=d_out)
    identity = torch.eye(d_in + d_out, dtype=dtype)
    return identity[:, :d_in], identity[:, d_in:]


def finite_factors(
    width: int,
    d_in: int,
    d_out: int,
    *,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float64,
) -> tuple[Float[Tensor, "{width} {d_in}"], Float[Tensor, "{width} {d_out}"]]:
    """A network of finite width at its start: entries N(0, 1/width), ``A`` drawn first."""
    checks.integer(1, width=width, d_in=d_in, d_out=d_out)
    A, B = (torch.randn(width, d, generator=generator, dtype=dtype) / math.sqrt(width) for d in (d_in, d_out))
    return A, B


def word2vec_loss(
    A: Float[Tensor, "*b h v"], B: Float[Tensor, "*b h u"], P: Float[Tensor, "v u"], output_scale: float = 1.0
) -> Float[Tensor, "*b"]:
    r"""The skip-gram loss :math:`-\sum_{ab} P_{ab} \log \operatorname{softmax}(f_a)_b` with :math:`f = s A^\top B`.

    Parameters
    ----------
    A, B
        Embeddings of the words as inputs and as outputs, one a column; a pair of matrices or a batch of pairs.
    P
        The joint distribution of an input word (row) and an output word (column).
    output_scale
        The multiplier s.

    Raises
    ------
    ValueError
        If P is no distribution, the shapes do not fit, or ``output_scale`` is not positive.
    """
    checks.positive(output_scale=output_scale)
    _check_pairs(P)
    _check_factors(A, B, P)
    return cross_entropy(output_scale * A.mT @ B, P)


def train_word2vec(
    A: Float[Tensor, "*b h v"],
    B: Float[Tensor, "*b h u"],
    P: Float[Tensor, "v u"],
    *,
    eta: float,
    steps: int,
    output_scale: float = 1.0,
) -> tuple[Float[Tensor, "*b h v"], Float[Tensor, "*b h u"]]:
    r"""Gradient descent on :func:`word2vec_loss` over the whole distribution, both factors at once.

    With :math:`D_{ab} = p_a \operatorname{softmax}(f_a)_b - P_{ab}`, the gradient in the logits, one step is
    :math:`A \leftarrow A - \frac{\eta}{s} B D^\top`, :math:`B \leftarrow B - \frac{\eta}{s} A D`. With s = 1 it is
    :math:`\mu P`, or its limit when started at :func:`limit_factors`; with :math:`s = \sqrt n` it is the NTK
    parametrization of the same network.

    Parameters
    ----------
    A, B, P, output_scale
        As for :func:`word2vec_loss`.
    eta, steps
        The rate :math:`\eta` and the number of steps, 0 or more.

    Raises
    ------
    ValueError
        As :func:`word2vec_loss`, and if ``eta`` is not positive or ``steps`` negative.
    """
    checks.positive(eta=eta, output_scale=output_scale)
    checks.integer(0, steps=steps)
    _check_pairs(P)
    _check_factors(A, B, P)
    rate, marginal = eta / output_scale, P.sum(1, keepdim=True)
    for _ in range(steps):
        D = marginal * (output_scale * A.mT @ B).softmax(-1) - P
        A, B = A - rate * B @ D.mT, B - rate * A @ D
    return A, B


def ntk_limit_word2vec(
    f0: Float[Tensor, "v u"], P: Float[Tensor, "v u"], *, eta: float, steps: int
) -> Float[Tensor, "v u"]:
    r"""The logits of the infinitely wide NTK network: :math:`f \leftarrow f - 2 \eta D`.

    Its embeddings never move. Both factors keep orthonormal columns, and each contributes one :math:`\eta D`.

    Raises
    ------
    ValueError
        If P is no distribution, ``f0`` does not fit it, ``eta`` is not positive or ``steps`` negative.
    """
    checks.positive(eta=eta)
    checks.integer(0, steps=steps)
    _check_pairs(P)
    if f0.shape != P.shape:
        raise ValueError(f"f0 must have the shape {tuple(P.shape)} of P, got {tuple(f0.shape)}")
    f, marginal = f0, P.sum(1, keepdim=True)
    for _ in range(steps):
        f = f - 2 * eta * (marginal * f.softmax(-1) - P)
    return f


def cross_entropy(f: Tensor, P: Tensor) -> Tensor:
    """The skip-gram loss of given logits, unchecked."""
    return -(P * f.log_softmax(-1)).sum((-2, -1))


def _check_pairs(P: Tensor) -> None:
    if P.ndim != 2:
        raise ValueError(f"P must be a matrix, got shape {tuple(P.shape)}")
    if not (P >= 0).all():
        raise ValueError(f"P must not be negative, got {P[~(P >= 0)][0].item():g}")
    if not abs(total := P.sum().item() - 1) <= 1e-6:
        raise ValueError(f"P must sum to 1, got {total + 1:g}")


def _check_factors(A: Tensor, B: Tensor, P: Tensor) -> None:
    if A.ndim < 2 or A.shape[:-1] != B.shape[:-1]:
        raise ValueError(f"A and B must agree in batch and height, got {tuple(A.shape)} and {tuple(B.shape)}")
    if (A.shape[-1], B.shape[-1]) != P.shape:
        raise ValueError(f"P must be {A.shape[-1]} x {B.shape[-1]} for these factors, got shape {tuple(P.shape)}")
