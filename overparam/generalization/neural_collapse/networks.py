"""ReLU networks of one start under several weight decays, trained as one, and the collapse of their layers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from overparam.core import checks
from overparam.core.models import mlp_ensemble_features, mlp_ensemble_forward, mlp_ensemble_init
from overparam.core.training import accuracy, train_ensemble


def train_nets(
    X: Float[Tensor, "s p"],
    y: Int[Tensor, " s"],
    K: int,
    width: int,
    depth: int,
    steps: int,
    lr: float,
    decays: Sequence[tuple[float, float]],
    generator: torch.Generator,
    checkpoints: Sequence[int],
) -> tuple[Float[Tensor, "nets t layers"], Float[Tensor, "nets t"]]:
    r"""Train one ReLU network for each pair of decays, all from the same start, and watch every layer collapse.

    The loss is that of the model, half the squared distance to the one-hot label in the mean over samples, plus
    :math:`\frac12 (\lambda_\text{feature} \sum_{l \le L} \|W_l\|^2 + \lambda_\text{last} \|W_{L+1}\|^2)`, minimised by
    Adam on the full batch; biases do not decay. All networks take each step in one batched product.

    Parameters
    ----------
    X, y
        Inputs and their labels 0..K-1, each of which occurs; X decides dtype and device.
    K, width, depth
        Classes, units of a hidden layer, and hidden layers.
    steps, lr
        Steps of Adam and their size.
    decays
        (feature, last) for each network, at least 0.
    generator
        CPU generator of the He-normal start that the networks share.
    checkpoints
        Rising numbers of steps at which to measure, 0 being the start.

    Returns
    -------
    The trace ratio NC1~ of the input and of each hidden layer after its ReLU, (nets, checkpoints, depth + 1), and the
    training accuracy, (nets, checkpoints), both float64.

    Raises
    ------
    ValueError
        If a size, a decay, a label or a checkpoint lies outside its range, or two lengths differ.
    """
    checks.integer(2, K=K)
    checks.integer(1, width=width, depth=depth, steps=steps)
    checks.positive(lr=lr)
    _check_examples(X, y, K)
    check_decays(decays)
    check_checkpoints(checkpoints, steps)
    dims = (X.shape[1], *[width] * depth, K)
    start = mlp_ensemble_init(1, dims, generator=generator, dtype=X.dtype)
    parameters = [p.repeat(len(decays), 1, 1).to(X.device) for p in start]
    targets = functional.one_hot(y, K).to(X)
    feature, last = torch.tensor(decays, dtype=X.dtype, device=X.device).unbind(1)

    def loss(_: Tensor) -> Tensor:
        errors = (mlp_ensemble_forward(parameters, X) - targets).square().sum(2).mean(1)
        *hidden, head = (W.square().sum((1, 2)) for W in parameters[::2])
        return (errors + feature * torch.stack(hidden).sum(0) + last * head) / 2

    ratios, accuracies = [], []

    def measure(_: int) -> None:
        # Every layer is the "last hidden layer" of the network that ends there.
        layers = [mlp_ensemble_features(parameters[: 2 * layer + 2], X) for layer in range(depth + 1)]
        ratios.append(torch.stack([trace_ratio(features, y, K) for features in layers], 1).cpu())
        accuracies.append(accuracy(mlp_ensemble_forward(parameters, X), y).cpu())

    everything = torch.arange(len(X), device=X.device).expand(len(decays), -1)
    train_ensemble(
        parameters,
        loss,
        (everything for _ in range(steps)),
        optimizer=partial(torch.optim.Adam, lr=lr, fused=X.device.type != "mps"),
        checkpoints=checkpoints,
        on_checkpoint=measure,
    )
    return torch.stack(ratios, 1), torch.stack(accuracies, 1)


def trace_ratio(features: Float[Tensor, "k s h"], y: Int[Tensor, " s"], K: int) -> Float[Tensor, " k"]:
    r"""NC1~ of a batch of feature matrices, one sample a row, for labels in any order and number; in float64.

    :math:`\Sigma_W` is the mean over samples and :math:`\Sigma_B` that over classes.
    """
    features = features.double()
    members = functional.one_hot(y, K).double()
    means = (members / members.sum(0)).mT @ features
    within = (features - means[:, y]).square().sum(2).mean(1)
    between = (means - means.mean(1, keepdim=True)).square().sum(2).mean(1)
    return within / between


def check_decays(decays: Sequence[tuple[float, float]]) -> None:
    """Refuse anything but pairs of numbers of at least 0, one pair or more."""
    if not decays or any(len(pair) != 2 for pair in decays):
        raise ValueError(f"decays must be pairs (feature, last), at least one, got {tuple(decays)!r}")
    for feature, last in decays:
        checks.non_negative(feature_decay=feature, last_decay=last)


def check_checkpoints(checkpoints: Sequence[int], steps: int) -> None:
    """Refuse checkpoints that do not rise from at least 0 to at most ``steps``."""
    checks.increasing(checkpoints=checkpoints)
    if checkpoints[0] < 0 or checkpoints[-1] > steps:
        raise ValueError(f"checkpoints must lie in 0..{steps}, got {tuple(checkpoints)}")


def _check_examples(X: Tensor, y: Tensor, K: int) -> None:
    if X.ndim != 2 or y.shape != X.shape[:1]:
        raise ValueError(f"X and y must be (s, p) and (s,), got {tuple(X.shape)} and {tuple(y.shape)}")
    if y.numel() and not (y.min() >= 0 and y.max() < K):
        raise ValueError(f"labels must lie in 0..{K - 1}, got {y.min()}..{y.max()}")
    counts = torch.bincount(y, minlength=K)
    if (missing := torch.nonzero(counts == 0)).numel():
        raise ValueError(f"every class needs a sample, got none of class {missing[0].item()}")
