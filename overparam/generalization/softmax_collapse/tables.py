"""Modular arithmetic, a bias-free network for it, and training that watches its own arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from overparam.core import checks
from overparam.core.training import accuracy
from overparam.generalization.softmax_collapse.losses import (
    check_labels,
    softmax_collapse,
    softmax_cross_entropy,
    stablemax_cross_entropy,
)
from overparam.generalization.softmax_collapse.orthograd import OrthoGrad, nlm_cosine

OPERATIONS = {"add": torch.add, "subtract": torch.sub, "multiply": torch.mul}
LOSSES = ("softmax", "stablemax")


# --- The task ---------------------------------------------------------------------------------------------------


def modular_table(p: int, operation: str = "add") -> tuple[Int[Tensor, "n 2"], Int[Tensor, " n"]]:
    """All pairs (a, b) with 0 <= a, b < p, row by row, and the result of the operation modulo p.

    Raises
    ------
    ValueError
        If ``p < 2``, or the operation is not "add", "subtract" or "multiply".
    """
    checks.integer(2, p=p)
    checks.one_of(tuple(OPERATIONS), operation=operation)
    pairs = torch.cartesian_prod(torch.arange(p), torch.arange(p))
    return pairs, OPERATIONS[operation](*pairs.unbind(1)) % p


def split(n: int, fraction: float, generator: torch.Generator) -> tuple[Int[Tensor, " k"], Int[Tensor, " m"]]:
    """The indices of ``int(fraction * n)`` training items, drawn at random, and of the others.

    Raises
    ------
    ValueError
        If ``fraction`` lies outside (0, 1), or leaves nothing to train on.
    """
    checks.integer(2, n=n)
    check_fraction(fraction=fraction)
    count = int(fraction * n)
    if not count:
        raise ValueError(f"fraction must leave at least one of {n} items to train on, got {fraction!r}")
    order = torch.randperm(n, generator=generator)
    return order[:count], order[count:]


def check_fraction(**values: float) -> None:
    """Raise ``ValueError`` unless every value lies strictly between 0 and 1."""
    for name, value in values.items():
        if not 0 < value < 1:
            raise ValueError(f"{name} must lie in (0, 1), got {value!r}")


class PairMLP(nn.Module):
    r"""A bias-free ReLU network on a pair of one-hot vectors, the first layer of which is a lookup.

    The product of the first weights :math:`W_1` with the concatenated one-hot vectors of (a, b) is column :math:`a`
    plus column :math:`p + b` of :math:`W_1`. Without biases the network is positively homogeneous: scaling all weights
    by :math:`c` scales the outputs by :math:`c^L`, with :math:`L` the number of layers.

    Parameters
    ----------
    p
        The modulus: numbers that can be looked up, and classes.
    hidden
        Widths of the hidden layers, at least one.
    generator
        CPU generator of the initial weights, uniform in :math:`\pm 1/\sqrt{\text{fan in}}`.

    Attributes
    ----------
    weights
        Matrices (out, in), the first (hidden[0], 2 p).

    Raises
    ------
    ValueError
        If ``p < 2``, a width is below 1, or there is no hidden layer.
    """

    def __init__(self, p: int, hidden: tuple[int, ...], generator: torch.Generator) -> None:
        super().__init__()
        checks.integer(2, p=p)
        check_hidden(hidden=hidden)
        self.p = p
        self.weights = nn.ParameterList(
            torch.empty(fan_out, fan_in).uniform_(-(fan_in**-0.5), fan_in**-0.5, generator=generator)
            for fan_in, fan_out in pairwise((2 * p, *hidden, p))
        )

    def forward(self, pairs: Int[Tensor, "n 2"]) -> Float[Tensor, "n p"]:
        """Logits."""
        first, *rest = self.weights
        columns = first.mT.contiguous()  # a lookup reads whole rows, three times faster than columns
        x = columns.index_select(0, pairs[:, 0]) + columns.index_select(0, self.p + pairs[:, 1])
        for weight in rest:
            x = x.relu() @ weight.mT
        return x


def check_hidden(**values: tuple[int, ...]) -> None:
    """Raise ``ValueError`` unless every value holds at least one width, and none below 1."""
    for name, widths in values.items():
        if not widths:
            raise ValueError(f"{name} must name at least one width, got {widths}")
        for width in widths:
            checks.integer(1, **{name: width})


# --- Training ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class History:
    """What :func:`train` saw, one entry a record, each of the network before the update of that step.

    Attributes
    ----------
    step
        Updates so far.
    loss
        Training loss.
    train, test
        Accuracies.
    collapse
        Share of training samples in Softmax Collapse (:func:`softmax_collapse`), in the precision of the loss.
    cosine
        :func:`nlm_cosine` of the raw gradient, before any projection.
    norm
        Norm of all parameters together.
    zero
        Share of training samples whose loss is exactly zero.
    """

    step: Int[np.ndarray, " t"]
    loss: Float[np.ndarray, " t"]
    train: Float[np.ndarray, " t"]
    test: Float[np.ndarray, " t"]
    collapse: Float[np.ndarray, " t"]
    cosine: Float[np.ndarray, " t"]
    norm: Float[np.ndarray, " t"]
    zero: Float[np.ndarray, " t"]

    def first(self, name: str, value: float) -> int:
        """The first recorded step at which the metric ``name`` is at least ``value``, or -1.

        Raises
        ------
        ValueError
            If there is no such metric.
        """
        checks.one_of(METRICS, name=name)
        (reached,) = np.nonzero(getattr(self, name) >= value)
        return int(self.step[reached[0]]) if len(reached) else -1


METRICS = tuple(name for name in History.__dataclass_fields__ if name != "step")


def train(
    model: nn.Module,
    pairs: Int[Tensor, "n 2"],
    labels: Int[Tensor, " n"],
    train_index: Int[Tensor, " k"],
    test_index: Int[Tensor, " m"],
    *,
    steps: int,
    lr: float,
    loss: str = "softmax",
    precision: torch.dtype = torch.float32,
    perp: bool = False,
    weight_decay: float = 0.0,
    betas: tuple[float, float] = (0.9, 0.99),
    eps: float = 1e-25,
    every: int = 25,
) -> History:
    """Train in place with AdamW on the whole training set at every step.

    Parameters
    ----------
    model
        From pairs to logits (:class:`PairMLP`), on the data's device.
    pairs, labels, train_index, test_index
        A table (:func:`modular_table`) and its :func:`split`.
    steps
        Updates.
    lr, weight_decay, betas, eps
        AdamW's. Where gradients are smaller than ``eps`` its steps shrink with them, and a run may slow down before
        its loss collapses; hence the tiny default.
    loss
        "softmax" or "stablemax".
    precision
        That of the softmax loss; StableMax is always in float64. The network stays in its own.
    perp
        Step with :class:`OrthoGrad`.
    every
        Updates between records; the last network is recorded too.

    Raises
    ------
    ValueError
        If a number is out of range, a label lies outside 0..p-1, or the loss is unknown.
    """
    checks.integer(1, steps=steps, every=every)
    checks.positive(lr=lr, eps=eps)
    checks.non_negative(weight_decay=weight_decay)
    checks.one_of(LOSSES, loss=loss)
    x, y, x_test, y_test = pairs[train_index], labels[train_index], pairs[test_index], labels[test_index]
    with torch.no_grad():
        check_labels(labels, len(pairs), model(x[:1]).shape[1])
    arguments = {"lr": lr, "weight_decay": weight_decay, "betas": betas, "eps": eps}
    optimizer = (OrthoGrad if perp else torch.optim.AdamW)(model.parameters(), **arguments)
    rows = []
    for step in range(steps + 1):
        logits = model(x)
        terms = (
            stablemax_cross_entropy(logits, y, "none")
            if loss == "stablemax"
            else softmax_cross_entropy(logits, y, precision, "none")
        )
        optimizer.zero_grad()
        terms.mean().backward()
        if step % every == 0 or step == steps:
            rows.append({"step": step, **_look(model, logits, terms, y, x_test, y_test, precision)})
        if step < steps:
            optimizer.step()
    return History(**{name: np.array([row[name] for row in rows]) for name in ("step", *METRICS)})


@torch.no_grad()
def _look(
    model: nn.Module, logits: Tensor, terms: Tensor, y: Tensor, x_test: Tensor, y_test: Tensor, precision: torch.dtype
) -> dict[str, float]:
    parameters = list(model.parameters())
    return {
        "loss": float(terms.detach().mean()),
        "zero": float((terms == 0).double().mean()),
        "train": float(accuracy(logits, y)),
        "test": float(accuracy(model(x_test), y_test)),
        "collapse": softmax_collapse(logits, precision),
        "cosine": nlm_cosine(parameters),
        "norm": sum(float(p.double().square().sum()) for p in parameters) ** 0.5,
    }
