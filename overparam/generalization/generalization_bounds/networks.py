"""Many two-layer networks at once, and what the literature measures of them."""

from __future__ import annotations

from functools import partial
from itertools import repeat

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from overparam.core import checks
from overparam.core.training import train_ensemble
from overparam.generalization.generalization_bounds.estimability import check_range

#: The margin is this quantile of the margins of the sample.
MARGIN_QUANTILE = 0.1


def train_batch(
    X: Float[Tensor, "t n p"],
    Y: Int[Tensor, "t n"],
    hidden: int,
    classes: int,
    steps: int,
    lr: float,
    generator: torch.Generator,
) -> tuple[Float[Tensor, "t h p"], Float[Tensor, "t c h"], Float[Tensor, "t h p"], Float[Tensor, "t c h"]]:
    r"""Train a network :math:`x \mapsto W_2\, \sigma(W_1 x)` on each of t samples, by full-batch Adam.

    The loss is the mean cross-entropy. The start is :math:`W_1 \sim N(0, 2/p)`, :math:`W_2 \sim N(0, 1/h)`.

    Parameters
    ----------
    X, Y
        One sample of n inputs, and labels 0..classes-1, for each network; same device.
    hidden
        Hidden units h.
    classes
        Outputs c, at least 2.
    steps
        Adam steps; 0 leaves the start.
    lr
        Adam's learning rate.
    generator
        CPU generator of the start.

    Returns
    -------
    W1 and W2 after training, and at the start, in the dtype of ``X``.

    Raises
    ------
    ValueError
        If a size or ``lr`` is out of range, a label too, or the shapes do not fit.
    """
    checks.integer(1, hidden=hidden)
    checks.integer(2, classes=classes)
    checks.integer(0, steps=steps)
    checks.positive(lr=lr)
    _check_samples(X, Y)
    check_range(classes, Y=Y)
    nets, _, p = X.shape
    first = torch.randn(nets, hidden, p, generator=generator, dtype=X.dtype) * (2 / p) ** 0.5
    second = torch.randn(nets, classes, hidden, generator=generator, dtype=X.dtype) / hidden**0.5
    start = [first.to(X), second.to(X)]
    trained = [weight.clone() for weight in start]
    targets = Y.long().flatten()

    def loss(_: Tensor) -> Tensor:
        logits = _logits(trained[0], trained[1], X)
        return functional.cross_entropy(logits.flatten(0, 1), targets, reduction="none").view(Y.shape).mean(1)

    everything = torch.arange(X.shape[1], device=X.device).expand(nets, -1)
    train_ensemble(trained, loss, repeat(everything, steps), optimizer=partial(torch.optim.Adam, lr=lr))
    return trained[0], trained[1], start[0], start[1]


def _logits(W1: Tensor, W2: Tensor, X: Tensor) -> Tensor:
    return (X @ W1.mT).relu() @ W2.mT


def predict(W1: Float[Tensor, "t h p"], W2: Float[Tensor, "t c h"], X: Float[Tensor, "t n p"]) -> Int[Tensor, "t n"]:
    """The class of the largest output of each network on each of its inputs.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    _check_networks(W1, W2, X)
    return _logits(W1, W2, X).max(-1).indices


def generalization_measures(
    W1: Float[Tensor, "t h p"],
    W2: Float[Tensor, "t c h"],
    W1_init: Float[Tensor, "t h p"],
    W2_init: Float[Tensor, "t c h"],
    X: Float[Tensor, "t n p"],
    y: Int[Tensor, "t n"],
) -> dict[str, Float[Tensor, " t"]]:
    r"""Six measures of complexity, of networks and their samples; each says that larger means worse.

    With :math:`\gamma` the 10 % quantile over the sample of the margins, the true class's output minus the largest of
    the others:

    * ``inverse_margin``: :math:`1/\gamma^2`;
    * ``spectral_over_margin``: :math:`\|W_1\|_2 \|W_2\|_2 / \gamma`;
    * ``frobenius_over_margin``: :math:`\|W_1\|_F \|W_2\|_F / \gamma`;
    * ``path_over_margin``: :math:`\sqrt{\sum_{k,j,i} (W_2)_{kj}^2 (W_1)_{ji}^2} \,/\, \gamma`;
    * ``distance_from_init``: the Euclidean distance of all weights from their start;
    * ``parameter_norm``: the Euclidean norm of all weights.

    A network that does not fit its sample can have a negative margin, and the measures that divide by it mean nothing.

    Raises
    ------
    ValueError
        If the shapes do not fit or a label is out of range.

    References
    ----------
    Jiang et al. (2020), from whose list the measures are.
    """
    _check_networks(W1, W2, X)
    _check_samples(X, y)
    for name, init, weight in (("W1_init", W1_init, W1), ("W2_init", W2_init, W2)):
        if init.shape != weight.shape:
            raise ValueError(f"{name} must have the weights' shape {tuple(weight.shape)}, got {tuple(init.shape)}")
    check_range(W2.shape[1], y=y)
    gamma = _margins(_logits(W1, W2, X), y.long()).quantile(MARGIN_QUANTILE, dim=1)
    paths = torch.einsum("tkj,tji->t", W2.square(), W1.square())
    spectral = torch.linalg.matrix_norm(W1, ord=2) * torch.linalg.matrix_norm(W2, ord=2)
    frobenius = torch.linalg.matrix_norm(W1) * torch.linalg.matrix_norm(W2)
    return {
        "inverse_margin": 1 / gamma.square(),
        "spectral_over_margin": spectral / gamma,
        "frobenius_over_margin": frobenius / gamma,
        "path_over_margin": paths.sqrt() / gamma,
        "distance_from_init": _norm(W1 - W1_init, W2 - W2_init),
        "parameter_norm": _norm(W1, W2),
    }


def _margins(logits: Tensor, y: Tensor) -> Tensor:
    true = logits.gather(-1, y[..., None])
    others = logits.scatter(-1, y[..., None], -torch.inf)
    return (true - others.amax(-1, keepdim=True)).squeeze(-1)


def _norm(first: Tensor, second: Tensor) -> Tensor:
    return (first.square().sum((1, 2)) + second.square().sum((1, 2))).sqrt()


def _check_samples(X: Tensor, Y: Tensor) -> None:
    if X.ndim != 3 or not X.numel():
        raise ValueError(f"X must be samples (t, n, p) with entries, got shape {tuple(X.shape)}")
    if Y.shape != X.shape[:2]:
        raise ValueError(f"there must be {tuple(X.shape[:2])} labels for as many inputs, got shape {tuple(Y.shape)}")


def _check_networks(W1: Tensor, W2: Tensor, X: Tensor) -> None:
    if not (W1.ndim == W2.ndim == X.ndim == 3 and len(W1) == len(W2) == len(X)):
        shapes = ", ".join(str(tuple(z.shape)) for z in (W1, W2, X))
        raise ValueError(f"W1, W2 and X must be batches of as many matrices, got shapes {shapes}")
    if W2.shape[2] != W1.shape[1]:
        raise ValueError(f"W2 must read {W1.shape[1]} hidden units, got shape {tuple(W2.shape)}")
    if X.shape[2] != W1.shape[2]:
        raise ValueError(f"X must have {W1.shape[2]} entries an input, got shape {tuple(X.shape)}")
