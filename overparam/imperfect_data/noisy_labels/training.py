"""Training under noisy labels: each network alone, with or without compression, and then in pairs that co-teach."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from overparam.core import checks, compute
from overparam.core.compute import Device
from overparam.core.datasets import Examples, digits, hub_images
from overparam.core.progress import track
from overparam.core.training import accuracy, drop_schedule, epoch_batches, train_ensemble
from overparam.imperfect_data.noisy_labels.co_teaching import (
    co_teaching_exchange,
    forget_schedule,
    peers,
    symmetric_noise,
)
from overparam.imperfect_data.noisy_labels.masks import (
    best_k,
    dropout_mask,
    nested_accuracy,
    nested_distribution,
    nested_mask,
    prefix_mask,
)
from overparam.imperfect_data.noisy_labels.networks import Networks, ResNets, StackedMLPs, crop_and_flip

#: Of accuracies and of the decomposition, and so what a device must have; training is in float32.
DTYPE = torch.float64
VARIANTS = ("baseline", "dropout", "nested")
CLASSES = 10
PIXELS = 64
RESNET_FEATURES = 512
#: Factor on the step size at each of its drops.
LR_DROP = 0.1
#: What the seed decides, each with a stream of its own, so that the variants differ in their masks alone.
STREAMS = ("split", "noise", "start", "batches", "masks", "co_batches", "co_masks", "sampling")


@dataclass(frozen=True)
class Config:
    """Reader scale: 10 CPU-seconds. Every number of the experiment is here."""

    seed: int = 0
    dataset: str = "digits"  # or "cifar10", which takes ResNet-18 and augments
    source: str | None = None  # folder of cifar10's parquet files, to read instead of the hub
    n_train: int = 1000  # training examples, with noisy labels
    n_val: int = 197  # clean examples that choose the number of features; the rest is for testing
    noise: float = 0.4  # probability that a training label is wrong
    networks: int = 6  # networks, in pairs of peers
    hidden: int = 128  # units of the MLP's first hidden layer
    features: int = 128  # D, units of its second, which the masks act on; ResNet-18 has 512
    epochs: int = 60  # stage 1
    batch_size: int = 50
    lr: float = 0.05  # step size
    lr_drops: tuple[float, ...] = (0.6,)  # shares of the epochs after which it falls to a tenth
    momentum: float = 0.9
    weight_decay: float = 5e-4
    nested_std: float = 10.0  # sigma of Nested Dropout, features
    dropout: float = 0.7  # probability that Dropout drops a feature
    ct_epochs: int = 24  # stage 2, Co-teaching
    ct_batch_size: int = 100  # both halves together
    ct_lr: float = 0.02
    ct_lr_drops: tuple[float, ...] = (0.5,)
    forget_rate: float = 0.4  # share of the largest losses that is left out
    n_gradual: int = 0  # epochs over which the forget rate rises from 0
    k_probe: int = 16  # features that should do the whole job

    def __post_init__(self) -> None:
        checks.integer(0, seed=self.seed, n_gradual=self.n_gradual)
        checks.integer(1, n_train=self.n_train, n_val=self.n_val, networks=self.networks, hidden=self.hidden)
        checks.integer(1, features=self.features, epochs=self.epochs, batch_size=self.batch_size)
        checks.integer(1, ct_epochs=self.ct_epochs, ct_batch_size=self.ct_batch_size, k_probe=self.k_probe)
        checks.one_of(("digits", "cifar10"), dataset=self.dataset)
        checks.positive(lr=self.lr, ct_lr=self.ct_lr, nested_std=self.nested_std)
        checks.non_negative(weight_decay=self.weight_decay)
        checks.probability(noise=self.noise)
        checks.probability(below_one=True, momentum=self.momentum, dropout=self.dropout, forget_rate=self.forget_rate)
        for share in self.lr_drops:
            checks.probability(lr_drops=share)
        for share in self.ct_lr_drops:
            checks.probability(ct_lr_drops=share)
        if self.source is not None and self.dataset == "digits":
            raise ValueError(f"source must be None for digits, which are bundled, got {self.source!r}")
        if self.source is not None and not Path(self.source).is_dir():
            raise ValueError(f"source must be a folder of parquet files, got {self.source!r}")
        if self.dataset == "cifar10" and self.features != RESNET_FEATURES:
            raise ValueError(f"features must be {RESNET_FEATURES} for cifar10's ResNet-18, got {self.features}")
        for name in ("networks", "ct_batch_size"):
            if getattr(self, name) % 2:
                raise ValueError(f"{name} must be even, for pairs of peers, got {getattr(self, name)}")
        limits = {"batch_size": "n_train", "ct_batch_size": "n_train", "k_probe": "features", "n_gradual": "ct_epochs"}
        for name, limit in limits.items():
            if getattr(self, name) > getattr(self, limit):
                raise ValueError(f"{name} must be at most {limit} {getattr(self, limit)}, got {getattr(self, name)}")


FULL = Config(
    dataset="cifar10",
    n_train=45_000,
    n_val=5_000,
    noise=0.2,
    networks=2,
    features=RESNET_FEATURES,
    epochs=350,
    batch_size=320,
    lr=0.1,
    lr_drops=(200 / 350, 300 / 350),
    dropout=0.3,
    ct_epochs=100,
    ct_batch_size=320,
    ct_lr=1e-3,
    forget_rate=0.2,
)


# --- Data and networks ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NoisyData:
    """Training examples with their noisy labels and the mask of the wrong ones, clean validation and test data."""

    x: Float[Tensor, "n ..."]
    labels: Int[Tensor, " n"]
    wrong: Bool[Tensor, " n"]
    val: Examples
    test: Examples

    @property
    def images(self) -> bool:
        """Whether an example is an image with channels, which training augments."""
        return self.x.ndim == 4


def noisy_data(config: Config, *, device: Device = "cpu") -> NoisyData:
    """The configuration's data, with label noise on the training part alone.

    Raises
    ------
    ValueError
        If the data set is smaller than the configuration asks for.
    """
    seed = compute.streams(config.seed, STREAMS)["split"]
    if config.dataset == "digits":
        split = digits(config.n_train, config.n_val, seed=seed)
    else:
        split = hub_images(config.dataset, n_val=config.n_val, seed=seed, source=config.source)
    if len(split.train.y) < config.n_train:
        raise ValueError(f"n_train must be at most the {len(split.train.y)} training images, got {config.n_train}")
    clean = split.train.y[: config.n_train]
    labels, wrong = symmetric_noise(clean, config.noise, CLASSES, generator=stream(config, "noise"))
    where = compute.device(device)
    split = split.to(where)
    return NoisyData(split.train.x[: config.n_train], labels.to(where), wrong.to(where), split.val, split.test)


def build(config: Config, *, device: Device = "cpu") -> Networks:
    """Freshly initialized networks: MLPs 64-hidden-features-10 for digits, ResNet-18 for cifar10."""
    generator = stream(config, "start")
    if config.dataset == "digits":
        dims = (PIXELS, config.hidden, config.features, CLASSES)
        return StackedMLPs(config.networks, dims, generator=generator).to(compute.device(device))
    return ResNets(config.networks, CLASSES, generator=generator).to(compute.device(device))


def compression(config: Config, variant: str, *, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
    """What a variant does to features (k, n, D) in training: nothing, Dropout, or Nested Dropout.

    Raises
    ------
    ValueError
        If ``variant`` is unknown.
    """
    checks.one_of(VARIANTS, variant=variant)
    if variant == "dropout":
        return lambda z: z * dropout_mask(z.shape, config.dropout, generator=generator).to(z)
    if variant == "nested":
        dist = nested_distribution(config.features, config.nested_std)
        # One k for each network and mini-batch.
        return lambda z: z * nested_mask(dist, len(z), generator=generator)[:, None].to(z)
    return lambda z: z


def stream(config: Config, name: str) -> torch.Generator:
    """A generator for one of the :data:`STREAMS` of the configuration's seed."""
    return compute.generator(compute.streams(config.seed, STREAMS)[name])


# --- The two stages of training ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class History:
    """Accuracies at the start and after every epoch: of each network, at the number of features k that it uses.

    ``k`` is chosen on the validation data for Nested Dropout and is D otherwise. ``clean`` is the share of right
    labels among what each network learned from, epoch by epoch; stage 1 has none.
    """

    test: Float[Tensor, "networks times"]
    val: Float[Tensor, "networks times"]
    k: Int[Tensor, "networks times"]
    clean: Float[Tensor, "networks epochs"] | None = None


class Evaluation(NamedTuple):
    """Each network's accuracies and the number of features that it used for them."""

    test: Float[Tensor, " networks"]
    val: Float[Tensor, " networks"]
    k: Int[Tensor, " networks"]


def train(
    networks: Networks,
    data: NoisyData,
    config: Config,
    variant: str,
    *,
    progress: bool = False,
) -> History:
    """Stage 1: train the networks in place on the noisy labels, each alone, with the variant's masks.

    Parameters
    ----------
    networks
        As :func:`build` makes them, on the data's device.
    data, config
        The experiment.
    variant
        "baseline", "dropout" or "nested".
    progress
        Show a bar.
    """
    masks = stream(config, "masks")
    compress = compression(config, variant, generator=masks)
    order = stream(config, "batches")
    batches = epoch_batches(networks.count, len(data.labels), config.batch_size, config.epochs, generator=order)

    def loss(batch: Tensor) -> Tensor:
        x, y = _examples(data, batch, masks)
        return _losses(networks.classify(compress(networks.features(x))), y).mean(1)

    seen: list[Evaluation] = []
    networks.train()
    steps = len(data.labels) // config.batch_size * config.epochs
    train_ensemble(
        list(networks.parameters()),
        loss,
        track(batches, progress, variant, total=steps),
        optimizer=_sgd(config, config.lr),
        schedule=drop_schedule(steps, config.lr_drops, LR_DROP),
        checkpoints=range(0, steps + 1, steps // config.epochs),
        on_checkpoint=lambda _: seen.append(evaluate(networks, data, variant)),
    )
    return _history(seen)


def co_teach(
    networks: Networks,
    data: NoisyData,
    config: Config,
    variant: str,
    *,
    progress: bool = False,
) -> History:
    """Stage 2: fine-tune pairs of trained networks in place, each on what its peer holds for clean.

    A mini-batch is cut in two halves, one for each peer. A network computes the losses of its half without masks,
    with its first k* features, and its *peer* takes the step on the smallest of them, masks on. Each network's k*
    is chosen anew every epoch on the validation data. Batch norm, where there is one, stays frozen. (The official
    code has one k* and one k a step for both peers, k* from the average of their logits.)

    Parameters
    ----------
    networks, data, config, variant, progress
        As for :func:`train`.

    References
    ----------
    Chen et al. (2022); Han et al., Co-teaching, NeurIPS 2018, Algorithm 1.
    """
    masks = stream(config, "co_masks")
    compress = compression(config, variant, generator=masks)
    order = stream(config, "co_batches")
    pairs = epoch_batches(
        networks.count // 2, len(data.labels), config.ct_batch_size, config.ct_epochs, generator=order
    )
    halves = (batch.reshape(networks.count, -1) for batch in pairs)
    rates = forget_schedule(config.ct_epochs, config.forget_rate, config.n_gradual)
    peer = peers(networks.count)[:, None].to(data.labels.device)
    clean: list[Tensor] = []
    seen: list[Evaluation] = []

    def loss(half: Tensor) -> Tensor:
        x, y = _examples(data, half, masks)
        with torch.no_grad():
            kept = _prefix(networks, seen[-1].k)
            losses = _losses(networks.classify(networks.features(x) * kept), y)
        epoch = len(seen) - 1  # one evaluation at the start of each
        chosen = co_teaching_exchange(losses, float(rates[epoch]))
        clean.append((~data.wrong)[half.to(peer.device)][peer, chosen].double().mean(1))
        x, y = x[peer, chosen], y[peer, chosen]
        return _losses(networks.classify(compress(networks.features(x))), y).mean(1)

    networks.eval()
    steps = len(data.labels) // config.ct_batch_size * config.ct_epochs
    train_ensemble(
        networks.weights_beside_norms(),
        loss,
        track(halves, progress, f"{variant}, Co-teaching", total=steps),
        optimizer=_sgd(config, config.ct_lr),
        schedule=drop_schedule(steps, config.ct_lr_drops, LR_DROP),
        checkpoints=range(0, steps + 1, steps // config.ct_epochs),
        on_checkpoint=lambda _: seen.append(evaluate(networks, data, variant)),
    )
    return _history(seen, torch.stack(clean, 1).unflatten(1, (config.ct_epochs, -1)).mean(2).cpu())


@torch.no_grad()
def evaluate(networks: Networks, data: NoisyData, variant: str) -> Evaluation:
    """Each network's test and validation accuracy and the number of features it used, k* for "nested", else D."""
    val, test = (networks.extract(examples.x) for examples in (data.val, data.test))
    weight, bias = networks.classifier()
    if variant == "nested":
        curves = [nested_accuracy(z, w, b, data.val.y) for z, w, b in zip(val, weight, bias, strict=True)]
        k = torch.tensor([best_k(curve) for curve in curves], device=val.device)
    else:
        k = torch.full((networks.count,), val.shape[2], device=val.device)
    kept = _prefix(networks, k)
    right = [accuracy(networks.classify(z * kept), part.y) for z, part in ((test, data.test), (val, data.val))]
    return Evaluation(right[0], right[1], k)


def example_losses(
    networks: Networks, data: NoisyData, k: Int[Tensor, " networks"]
) -> tuple[Float[Tensor, "networks n"], Float[Tensor, " networks"]]:
    """Cross-entropy of every training example against its noisy label, by each network's first k features.

    Returns
    -------
    The losses, and each network's accuracy on the noisy labels.
    """
    with torch.no_grad():
        logits = networks.classify(networks.extract(data.x) * _prefix(networks, k.to(data.x.device)))
    return _losses(logits, data.labels.expand(networks.count, -1)), accuracy(logits, data.labels)


def prefix_accuracies(networks: Networks, examples: Examples) -> Float[Tensor, "networks d"]:
    """Each network's accuracy from its first 1, 2, ..., D features."""
    with torch.no_grad():
        each = zip(networks.extract(examples.x), *networks.classifier(), strict=True)
        return torch.stack([nested_accuracy(z, w, b, examples.y) for z, w, b in each])


def _prefix(networks: Networks, k: Tensor) -> Tensor:
    weight = networks.classifier()[0]
    return prefix_mask(k, weight.shape[2], dtype=weight.dtype)[:, None]


def _examples(data: NoisyData, batch: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    batch = batch.to(data.labels.device)
    x = data.x[batch]
    return crop_and_flip(x, generator=generator) if data.images else x, data.labels[batch]


def _losses(logits: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none").view_as(labels)


def _sgd(config: Config, lr: float) -> Callable[[Sequence[Tensor]], torch.optim.Optimizer]:
    return partial(torch.optim.SGD, lr=lr, momentum=config.momentum, weight_decay=config.weight_decay, fused=True)


def _history(seen: list[Evaluation], clean: Tensor | None = None) -> History:
    test, val, k = (torch.stack(values, 1).cpu() for values in zip(*seen, strict=True))
    return History(test, val, k, clean)
