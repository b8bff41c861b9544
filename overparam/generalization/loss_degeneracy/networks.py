"""ReLU networks as lists of matrices: what they compute, their Jacobian, and the Hessian of their behaviour."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from overparam.core import checks

#: Examples of one product in :func:`behavioral_hessian`; its memory is this many squared widths.
CHUNK = 2048


def forward(weights: Sequence[Float[Tensor, "_ _"]], X: Float[Tensor, "n d"]) -> Float[Tensor, "n k"]:
    r"""The network :math:`f^0 = x`, :math:`p^{l+1} = W^l [f^l; 1]`, :math:`f^{l+1} = \operatorname{relu}(p^{l+1})`.

    Parameters
    ----------
    weights
        :math:`W^0, \dots, W^{L-1}` of shapes :math:`(d_{l+1}, d_l + 1)`; the last column is the bias.
    X
        Inputs, one a row.

    Returns
    -------
    The last pre-activation :math:`F = p^L`: the last layer is linear.

    Raises
    ------
    ValueError
        If there are no weights, their widths do not chain, or X has no rows or another width.
    """
    check_network(weights, X)
    features = X
    for layer, W in enumerate(weights):
        p = features @ W[:, :-1].mT + W[:, -1]
        features = p.relu() if layer < len(weights) - 1 else p
    return features


@dataclass(frozen=True)
class Trace:
    """What the layers of a network see on n inputs; every list goes from the first layer to the last.

    ``acts`` are the inputs of each weight matrix with the constant appended, ``gates`` tell where a hidden neuron
    fires, ``jacobians`` are those of the output in each layer's pre-activations, ``output`` is the last of these.
    """

    acts: list[Float[Tensor, "n _"]]
    gates: list[Bool[Tensor, "n _"]]
    jacobians: list[Float[Tensor, "n k _"]]
    output: Float[Tensor, "n k"]


def trace(weights: Sequence[Float[Tensor, "_ _"]], X: Float[Tensor, "n d"]) -> Trace:
    r"""One pass forwards for the activations, one backwards for :math:`\partial F / \partial p^{l}`.

    Backwards, :math:`\partial F/\partial p^{l} = (\partial F/\partial p^{l+1})\, W^{l} \operatorname{diag}(1[p^l > 0])`
    with the bias column of :math:`W^l` left out.

    Raises
    ------
    ValueError
        As for :func:`forward`.
    """
    check_network(weights, X)
    acts, gates = [_with_constant(X)], []
    for W in weights[:-1]:
        p = acts[-1] @ W.mT
        gates.append(p > 0)
        acts.append(_with_constant(p.relu()))
    output = acts[-1] @ weights[-1].mT
    identity = torch.eye(output.shape[1], dtype=output.dtype, device=output.device)
    jacobians = [identity.expand(len(X), -1, -1)]
    for W, gate in zip(reversed(weights[1:]), reversed(gates), strict=True):
        jacobians.insert(0, jacobians[0] @ W[:, :-1] * gate[:, None, :])
    return Trace(acts, gates, jacobians, output)


def parameter_jacobian(weights: Sequence[Float[Tensor, "_ _"]], X: Float[Tensor, "n d"]) -> Float[Tensor, "nk N"]:
    r"""The Jacobian of all outputs in all parameters.

    :math:`\partial F_k / \partial W^l_{ij} = (\partial F_k / \partial p^{l+1}_i)\, f^l_j`, where :math:`f^l` includes
    the constant.

    Returns
    -------
    (n k, N): rows by example and then by output, columns layer by layer and row-major within a layer.

    Raises
    ------
    ValueError
        As for :func:`forward`.
    """
    seen = trace(weights, X)
    blocks = [
        (jacobian[..., None] * act[:, None, None, :]).flatten(2)
        for jacobian, act in zip(seen.jacobians, seen.acts, strict=True)
    ]
    return torch.cat(blocks, 2).flatten(0, 1)


def behavioral_hessian(weights: Sequence[Float[Tensor, "_ _"]], X: Float[Tensor, "n d"]) -> Float[Tensor, "N N"]:
    r"""The Hessian of the behavioural loss at the network itself.

    With :math:`B(\theta) = \frac{1}{2n} \sum_x \lVert F_\theta(x) - F_{\theta^*}(x)\rVert^2` the Hessian at
    :math:`\theta^*` is :math:`J^\top J / n`, exactly, because the residual vanishes there. Its block between layers l
    and m is a mean of Kronecker products,
    :math:`\langle (\partial F/\partial p^{l+1})^\top (\partial F/\partial p^{m+1}) \otimes f^l f^{m\top}\rangle`,
    and so one matrix product over the examples: J itself, n k x N, is never formed.

    Raises
    ------
    ValueError
        As for :func:`forward`.
    """
    check_network(weights, X)
    sizes = [W.numel() for W in weights]
    starts = [0, *accumulate(sizes)]
    hessian = X.new_zeros(starts[-1], starts[-1])
    for chunk in X.split(CHUNK):
        seen = trace(weights, chunk)
        for low in range(len(weights)):
            for high in range(low, len(weights)):
                block = _kronecker_sum(seen, low, high)
                hessian[starts[low] : starts[low + 1], starts[high] : starts[high + 1]] += block
    upper = hessian.triu() / len(X)
    return upper + upper.triu(1).mT


def _kronecker_sum(seen: Trace, low: int, high: int) -> Tensor:
    backward = (seen.jacobians[low].mT @ seen.jacobians[high]).flatten(1)
    forwards = (seen.acts[low][:, :, None] * seen.acts[high][:, None, :]).flatten(1)
    rows, columns = (seen.jacobians[layer].shape[2] for layer in (low, high))
    inner, outer = (seen.acts[layer].shape[1] for layer in (low, high))
    both = (backward.mT @ forwards).view(rows, columns, inner, outer)
    return both.permute(0, 2, 1, 3).reshape(rows * inner, columns * outer)


def effective_parameters(hessian: Float[Tensor, "N N"], epsilon: float) -> int:
    r"""The number of eigenvalues of the Hessian above ``epsilon``: directions whose movement is noticed.

    Raises
    ------
    ValueError
        If ``epsilon`` is not positive and finite, or the Hessian is not square and finite.

    References
    ----------
    Bushnaq et al. (2024), Section 2, whose effective parameter count at a finite tolerance is a volume's exponent; in
    a quadratic valley it is this count.
    """
    checks.positive(epsilon=epsilon)
    if hessian.ndim != 2 or hessian.shape[0] != hessian.shape[1]:
        raise ValueError(f"hessian must be square, got shape {tuple(hessian.shape)}")
    check_finite(hessian=hessian)
    return int((torch.linalg.eigvalsh(hessian) > epsilon).sum())


def random_mlp(
    sizes: Sequence[int], generator: torch.Generator, *, dtype: torch.dtype = torch.float64
) -> list[Float[Tensor, "_ _"]]:
    r"""Random weights, biases too: independent :math:`N(0, 2/(d_l + 1))`, which keeps the size of a ReLU's signal.

    Raises
    ------
    ValueError
        If there are fewer than two sizes, or one is below 1.
    """
    if len(sizes) < 2:
        raise ValueError(f"sizes must name at least an input and an output width, got {tuple(sizes)}")
    for size in sizes:
        checks.integer(1, sizes=size)
    return [
        torch.randn(fan_out, fan_in + 1, generator=generator, dtype=dtype) * math.sqrt(2 / (fan_in + 1))
        for fan_in, fan_out in pairwise(sizes)
    ]


def balance_biases(weights: Sequence[Float[Tensor, "_ _"]], X: Float[Tensor, "n d"]) -> list[Float[Tensor, "_ _"]]:
    """New weights in which every hidden neuron fires on half the data.

    Layer by layer each hidden bias is lowered by the median of its pre-activation, and by another 1e-3 so that the
    median example itself does not sit on the kink.

    Raises
    ------
    ValueError
        As for :func:`forward`.
    """
    check_network(weights, X)
    balanced, features = [], X
    for W in weights[:-1]:
        unbiased = features @ W[:, :-1].mT
        bias = -unbiased.median(0).values - 1e-3
        balanced.append(torch.cat([W[:, :-1], bias[:, None]], 1))
        features = (unbiased + bias).relu()
    return [*balanced, weights[-1].clone()]


def _with_constant(features: Tensor) -> Tensor:
    return torch.cat([features, features.new_ones(len(features), 1)], 1)


def check_network(weights: Sequence[Tensor], X: Tensor) -> None:
    """Raise ``ValueError`` unless the widths chain and X fits them."""
    if len(weights) == 0:
        raise ValueError(f"weights must hold at least one matrix, got {list(weights)}")
    for layer, W in enumerate(weights):
        if W.ndim != 2 or W.shape[0] < 1 or W.shape[1] < 1:
            raise ValueError(f"weights must be matrices, got shape {tuple(W.shape)} in layer {layer}")
    for layer, (before, after) in enumerate(pairwise(weights)):
        if after.shape[1] != before.shape[0] + 1:
            raise ValueError(
                f"weights must chain: layer {layer} has {before.shape[0]} outputs, so layer {layer + 1} "
                f"must have {before.shape[0] + 1} columns, got {after.shape[1]}"
            )
    if X.ndim != 2 or len(X) < 1 or X.shape[1] != weights[0].shape[1] - 1:
        raise ValueError(f"X must be (n >= 1, {weights[0].shape[1] - 1}) for these weights, got {tuple(X.shape)}")


def check_finite(**tensors: Tensor) -> None:
    """Raise ``ValueError`` unless every entry is finite."""
    for name, tensor in tensors.items():
        if (bad := tensor[~tensor.isfinite()]).numel():
            raise ValueError(f"{name} must be finite, got {bad[0].item()}")


def check_tolerance(tol: float) -> None:
    """Raise ``ValueError`` unless ``tol`` lies strictly between 0 and 1."""
    if not 0 < tol < 1:
        raise ValueError(f"tol must lie in (0, 1), got {tol!r}")
