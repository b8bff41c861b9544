"""Networks that share a start and a data set: one flat parameter vector each, all trained as one batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from overparam.core import checks, training
from overparam.generalization.intrinsic_dimension.projections import check_dims, project


def parameter_count(sizes: Sequence[int]) -> int:
    """The number D of weights and biases of a network with layers of these sizes.

    Raises
    ------
    ValueError
        If there are fewer than two sizes or one is below 1.
    """
    if len(sizes) < 2:
        raise ValueError(f"sizes must name at least an input and an output width, got {tuple(sizes)}")
    for size in sizes:
        checks.integer(1, sizes=size)
    return sum((fan_in + 1) * fan_out for fan_in, fan_out in pairwise(sizes))


def init_flat(sizes: Sequence[int], generator: torch.Generator) -> Float[Tensor, " D"]:
    r"""A random start :math:`\theta_0`: for each layer its weight (out, in), row by row, and then its bias.

    Weights are N(0, 2 / in) and biases zero; drawn on the CPU, in float32.

    Raises
    ------
    ValueError
        As for :func:`parameter_count`.
    """
    parameter_count(sizes)
    parts: list[Tensor] = []
    for fan_in, fan_out in pairwise(sizes):
        weight = torch.randn(fan_out, fan_in, generator=generator) * (2 / fan_in) ** 0.5
        parts += [weight.flatten(), torch.zeros(fan_out)]
    return torch.cat(parts)


def mlp_forward(
    theta: Float[Tensor, "B D"], x: Float[Tensor, "n p"] | Float[Tensor, "B n p"], sizes: Sequence[int]
) -> Float[Tensor, "B n out"]:
    """Outputs of B networks, with ReLU between the layers and none at the end.

    Parameters
    ----------
    theta
        One network a row, as :func:`init_flat` lays it out.
    x
        One batch for all networks, or one for each.
    sizes
        Widths from input to output.

    Raises
    ------
    ValueError
        If the rows of ``theta`` are not as long as the sizes say, or x has another width or number of batches.
    """
    _check_theta(theta, sizes)
    if x.ndim not in (2, 3) or x.shape[-1] != sizes[0] or (x.ndim == 3 and len(x) != len(theta)):
        raise ValueError(f"x must be (n, {sizes[0]}) or ({len(theta)}, n, {sizes[0]}), got {tuple(x.shape)}")
    hidden = x.expand(len(theta), *x.shape[-2:])
    layers = list(pairwise(sizes))
    parts = iter(theta.split([count for fan_in, fan_out in layers for count in (fan_out * fan_in, fan_out)], dim=1))
    for layer, (fan_in, fan_out) in enumerate(layers):
        weight, bias = next(parts).unflatten(1, (fan_out, fan_in)), next(parts).unsqueeze(1)
        hidden = torch.baddbmm(bias, hidden.relu() if layer else hidden, weight.mT)
    return hidden


def accuracy(
    theta: Float[Tensor, "B D"], x: Float[Tensor, "n p"], y: Int[Tensor, " n"], sizes: Sequence[int]
) -> Float[Tensor, " B"]:
    """The share of right decisions of each network, in float64.

    Raises
    ------
    ValueError
        As for :func:`mlp_forward`.
    """
    with torch.no_grad():
        return training.accuracy(mlp_forward(theta, x, sizes), y)


def train_subspace(
    sizes: Sequence[int],
    x: Float[Tensor, "n p"],
    y: Int[Tensor, " n"],
    dims: Sequence[int],
    *,
    kind: str = "dense",
    steps: int,
    lr: float,
    batch: int | None,
    generator: torch.Generator,
    theta0: Float[Tensor, " D"] | None = None,
) -> Float[Tensor, "n_d D"]:
    r"""Train one network for each d, all in nested subspaces :math:`\theta = \theta_0 + P_{:, :d}\, v`.

    Adam moves v alone, from v = 0, on the cross-entropy. The networks see the same batch in every step, and each
    trains as if it were alone: its loss does not depend on the others, and Adam acts entry by entry.

    Parameters
    ----------
    sizes
        Widths from input to output.
    x, y
        Training set; its device and dtype are those of the networks.
    dims
        Dimensions d of the subspaces, increasing; the largest is the number of columns of P.
    kind
        The projection, as for :func:`~overparam.generalization.intrinsic_dimension.projections.project`.
    steps, lr
        Steps of Adam, and its step size, in the units of both v and theta as the columns of P have unit length.
    batch
        Examples of a minibatch, drawn with replacement; None takes all of them in every step.
    generator
        CPU generator: first the start (unless given), then P, then the minibatches step by step.
    theta0
        The start; None draws one.

    Returns
    -------
    The trained parameters, one row for each d.

    Raises
    ------
    ValueError
        If a dimension is below 1 or above D, there is none or they do not increase; if the kind is unknown, the
        start is not of length D, or a count or the step size is not positive.

    References
    ----------
    Li et al. (2018), Section 2; that the subspaces are nested and train together is ours.
    """
    D = parameter_count(sizes)
    check_dims(dims, D)
    theta0 = init_flat(sizes, generator) if theta0 is None else theta0
    if theta0.shape != (D,):
        raise ValueError(f"theta0 must be of length D = {D}, got shape {tuple(theta0.shape)}")
    projection = project(kind, D, dims[-1], generator, x.dtype).to(x.device)
    theta0 = theta0.to(x)
    v = torch.zeros(len(dims), dims[-1], dtype=x.dtype, device=x.device)

    def theta() -> Tensor:
        return theta0 + projection.nested(v, dims)

    _train(v, theta, sizes, x, y, steps, lr, batch, generator)
    return theta()


def train_direct(
    sizes: Sequence[int],
    x: Float[Tensor, "n p"],
    y: Int[Tensor, " n"],
    *,
    steps: int,
    lr: float,
    batch: int | None,
    generator: torch.Generator,
) -> Float[Tensor, "1 D"]:
    """Train all parameters of one network with Adam, which gives the baseline.

    The generator draws the start and then the minibatches; all else is as in :func:`train_subspace`.

    Raises
    ------
    ValueError
        If a size, a count or the step size is not positive.
    """
    theta = init_flat(sizes, generator).to(x)[None]
    _train(theta, lambda: theta, sizes, x, y, steps, lr, batch, generator)
    return theta


def _train(
    trained: Tensor,
    theta: Callable[[], Tensor],
    sizes: Sequence[int],
    x: Tensor,
    y: Tensor,
    steps: int,
    lr: float,
    batch: int | None,
    generator: torch.Generator,
) -> None:
    checks.integer(1, steps=steps)
    checks.positive(lr=lr)
    if batch is not None:
        checks.integer(1, batch=batch)

    def loss(indices: Tensor) -> Tensor:
        seen = indices[0]  # the same for all networks
        logits = mlp_forward(theta(), x[seen], sizes).mT  # the classes come second, as torch has it
        return functional.cross_entropy(logits, y[seen].expand(len(logits), -1), reduction="none").mean(1)

    def batches() -> Iterator[Tensor]:
        everything = torch.arange(len(x), device=x.device)
        for _ in range(steps):
            drawn = None if batch is None else torch.randint(len(x), (batch,), generator=generator).to(x.device)
            yield (everything if drawn is None else drawn).expand(len(trained), -1)

    training.train_ensemble([trained], loss, batches(), optimizer=partial(torch.optim.Adam, lr=lr))


def _check_theta(theta: Tensor, sizes: Sequence[int]) -> None:
    D = parameter_count(sizes)
    if theta.ndim != 2 or theta.shape[1] != D:
        raise ValueError(f"theta must be (B, {D}) for layers of {tuple(sizes)}, got {tuple(theta.shape)}")
