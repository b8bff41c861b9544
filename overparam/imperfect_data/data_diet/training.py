"""The experiment's numbers, its data, and the one way in which every subset is trained on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from overparam.core import checks, compute
from overparam.core.compute import Device
from overparam.core.datasets import Examples, digits, hub_images
from overparam.core.progress import track
from overparam.core.training import accuracy, drop_schedule, epoch_batches, train_ensemble
from overparam.imperfect_data.data_diet.networks import Networks, ResNets, StackedMLPs, crop_and_flip
from overparam.imperfect_data.data_diet.scores import corrupt_labels, el2n_scores, forgetting_scores

CLASSES = 10
#: Factor on the step size at each of its drops.
LR_DROP = 0.2
#: Independent random streams of a run, each with its own seed.
STREAMS = ("split", "start", "batches", "crops", "other_start", "random", "noise")


@dataclass(frozen=True)
class Config:
    """Reader scale: 20 CPU-seconds. Every number of the experiment is here."""

    seed: int = 0
    dataset: str = "digits"  # or "cifar10", which takes ResNet-18 and augments
    source: str | None = None  # folder of cifar10's parquet files, to read instead of the hub
    n_train: int = 1197  # training examples; of the digits the rest is for testing
    replicas: int = 8  # independent starts and batch orders over which scores are averaged
    retrained: int | None = None  # of these, how many train on each subset; None is all
    hidden: tuple[int, ...] = (128, 128)  # units of the MLP's hidden layers; ResNet-18 has its own
    other_hidden: tuple[int, ...] = (48,)  # units of the MLP that lends its scores
    epochs: int = 12  # passes over the full set, which fix the number of steps for every subset
    batch_size: int = 32
    lr: float = 0.05  # step size
    lr_drops: tuple[float, ...] = (0.6, 0.85)  # shares of the steps after which it falls to a fifth
    momentum: float = 0.9  # Nesterov's
    weight_decay: float = 5e-4
    score_epochs: tuple[int, ...] = (0, 1, 2, 4, 8)  # epochs at which examples are scored
    score_epoch: int = 4  # the one of them whose scores prune
    prune: tuple[float, ...] = (0.5, 0.7, 0.85)  # shares of the training set that are thrown away
    noise: float = 0.1  # share of the labels that move in the noisy run
    noise_prune: float = 0.5  # share that is thrown away in it

    def __post_init__(self) -> None:
        checks.integer(0, seed=self.seed, score_epoch=self.score_epoch)
        checks.integer(1, n_train=self.n_train, replicas=self.replicas, epochs=self.epochs, batch_size=self.batch_size)
        checks.one_of(("digits", "cifar10"), dataset=self.dataset)
        checks.positive(lr=self.lr)
        checks.non_negative(weight_decay=self.weight_decay)
        checks.probability(below_one=True, momentum=self.momentum, noise_prune=self.noise_prune)
        checks.probability(noise=self.noise)
        for width in self.hidden + self.other_hidden:
            checks.integer(1, hidden=width)
        for share in self.lr_drops:
            checks.probability(lr_drops=share)
        for share in self.prune:
            checks.probability(below_one=True, prune=share)
        checks.increasing(score_epochs=self.score_epochs)
        for epoch in self.score_epochs:
            checks.integer(0, score_epochs=epoch)
        if self.retrained is not None:
            checks.integer(1, retrained=self.retrained)
        if self.source is not None and self.dataset == "digits":
            raise ValueError(f"source must be None for digits, which are bundled, got {self.source!r}")
        if self.source is not None and not Path(self.source).is_dir():
            raise ValueError(f"source must be a folder of parquet files, got {self.source!r}")
        if self.score_epoch not in self.score_epochs:
            raise ValueError(f"score_epoch must be among {self.score_epochs}, got {self.score_epoch}")
        limits = {"batch_size": self.n_train, "retrained": self.replicas}
        for name, limit in limits.items():
            if (value := getattr(self, name)) is not None and value > limit:
                raise ValueError(f"{name} must be at most {limit}, got {value}")
        if self.score_epochs[-1] > self.epochs:
            raise ValueError(f"score_epochs must end by epoch {self.epochs}, got {self.score_epochs[-1]}")

    @property
    def steps_per_epoch(self) -> int:
        """Steps in a pass over the full set."""
        return self.n_train // self.batch_size

    @property
    def steps(self) -> int:
        """Steps of every training, whatever it trains on."""
        return self.epochs * self.steps_per_epoch


FULL = Config(
    dataset="cifar10",
    n_train=50_000,
    replicas=10,
    retrained=1,
    other_hidden=(512, 512),
    epochs=200,
    batch_size=128,
    lr=0.1,
    lr_drops=(0.3, 0.6, 0.8),
    score_epochs=(0, 1, 2, 5, 10, 20),
    score_epoch=20,
    prune=(0.3, 0.5, 0.7),
)


# --- Data and networks ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Data:
    """Training examples, the mask of those whose label was moved, clean test examples, and what centred the pixels."""

    x: Float[Tensor, "n ..."]
    labels: Int[Tensor, " n"]
    moved: Bool[Tensor, " n"]
    test: Examples
    mean: Float[Tensor, "..."]

    @property
    def images(self) -> bool:
        """Whether an example is an image with channels, which training augments."""
        return self.x.ndim == 4


def training_data(config: Config, *, noisy: bool = False, device: Device = "cpu") -> Data:
    """The configuration's data, with its share of moved training labels if ``noisy``.

    Raises
    ------
    ValueError
        If the data set is smaller than the configuration asks for.
    """
    device = compute.device(device)
    seed = compute.streams(config.seed, STREAMS)["split"]
    if config.dataset == "digits":
        split = digits(config.n_train, seed=seed, center=False)
    else:
        split = hub_images(config.dataset, seed=seed, source=config.source)
    if len(split.train.y) < config.n_train:
        raise ValueError(f"n_train must be at most the {len(split.train.y)} training images, got {config.n_train}")
    x, labels = (part[: config.n_train] for part in split.train)
    # The hub's images are centred, by channel.
    mean = x.mean(0) if config.dataset == "digits" else torch.zeros(())
    test = Examples((split.test.x - mean).to(device), split.test.y.to(device))
    moved = torch.zeros_like(labels, dtype=torch.bool)
    if noisy:
        labels, moved = corrupt_labels(labels, config.noise, CLASSES, generator=stream(config, "noise"))
    return Data((x - mean).to(device), labels.to(device), moved.to(device), test, mean.to(device))


def build(config: Config, count: int | None = None, *, device: Device = "cpu") -> Networks:
    """Freshly initialized networks, ``replicas`` or ``count`` of them: always the same start for one configuration.

    Of MLPs with another count the start is another one.
    """
    count, generator = count or config.replicas, stream(config, "start")
    if config.dataset == "digits":
        dims = (64, *config.hidden, CLASSES)
        return StackedMLPs(count, dims, generator=generator).to(compute.device(device))
    return ResNets(count, CLASSES, generator=generator).to(compute.device(device))


def build_other(config: Config, *, device: Device = "cpu") -> Networks:
    """Replicas of the other architecture, an MLP with ``other_hidden`` units."""
    pixels = 64 if config.dataset == "digits" else 3 * 32 * 32
    dims = (pixels, *config.other_hidden, CLASSES)
    return StackedMLPs(config.replicas, dims, generator=stream(config, "other_start")).to(compute.device(device))


def random_subsets(config: Config, count: int, keep: int) -> Int[Tensor, "{count} {keep}"]:
    """A random subset of the training examples for each of ``count`` networks, ascending."""
    order = torch.rand(count, config.n_train, generator=stream(config, "random")).argsort(1)
    return order[:, :keep].sort(1).values


def stream(config: Config, name: str) -> torch.Generator:
    """A generator for one of the :data:`STREAMS` of the configuration's seed."""
    return compute.generator(compute.streams(config.seed, STREAMS)[name])


# --- Training ---------------------------------------------------------------------------------------------------


@dataclass
class Diary:
    """What a training on the full set notes about every example, network by network.

    ``el2n`` and ``grand`` have an entry of shape (k, n) for each of the score epochs that were reached, and
    ``correct`` one for each epoch: whether the prediction was right when the example was last visited. An example
    that an epoch leaves out (its last, incomplete batch is dropped) keeps its state, which is no event.
    """

    el2n: list[Float[Tensor, "k n"]] = field(default_factory=list)
    grand: list[Float[Tensor, "k n"]] = field(default_factory=list)
    correct: list[Bool[Tensor, "k n"]] = field(default_factory=list)

    def forgetting(self) -> Float[Tensor, "k n"]:
        """The forgetting scores of each network."""
        return torch.stack([forgetting_scores(visits) for visits in torch.stack(self.correct, 1)])


def train(
    networks: Networks,
    data: Data,
    config: Config,
    kept: Int[Tensor, " m"] | Int[Tensor, "k m"] | None = None,
    *,
    diary: Diary | None = None,
    epochs: int | None = None,
    progress: bool = False,
    label: str = "train",
) -> Float[Tensor, " k"]:
    """Train the networks in place on some of the examples, for as many *steps* as the full set takes.

    Parameters
    ----------
    networks
        As :func:`build` makes them, on the data's device.
    data, config
        The experiment.
    kept
        The examples to train on, for all networks alike or a row for each; None is all. Where they are fewer than
        a batch, the batch shrinks to them.
    diary
        Is written while training; asks for ``kept=None``.
    epochs
        Stop after so many of the full set's epochs, with the step sizes of the whole training.
    progress, label
        Show a bar, under this name.

    Returns
    -------
    Each network's accuracy on the test data.

    Raises
    ------
    ValueError
        If a diary is asked for a subset.
    """
    if diary is not None and kept is not None:
        raise ValueError(f"a diary is kept of the full set, got a subset of {kept.shape[-1]}")
    where, count = data.labels.device, networks.count
    kept = torch.arange(len(data.labels)) if kept is None else kept.cpu()
    kept = kept.expand(count, -1)
    steps = config.steps_per_epoch * (config.epochs if epochs is None else epochs)
    crops = stream(config, "crops")
    right = torch.zeros(count, len(data.labels), dtype=torch.bool, device=where)

    def loss(batch: Tensor) -> Tensor:
        index = kept.gather(1, batch).to(where)
        x, y = data.x[index], data.labels[index]
        logits = networks(crop_and_flip(x, generator=crops) if data.images else x)
        if diary is not None:
            right.scatter_(1, index, logits.detach().argmax(-1) == y)
        return functional.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none").view_as(y).mean(1)

    def write(step: int) -> None:
        assert diary is not None
        epoch = step // config.steps_per_epoch
        if epoch:
            diary.correct.append(right.clone())
        if epoch in config.score_epochs:
            diary.el2n.append(el2n_scores(networks.logits(data.x), data.labels))
            diary.grand.append(networks.grand(data.x, data.labels))

    networks.train()
    batches = islice(_batches(config, count, kept.shape[1]), steps)
    train_ensemble(
        list(networks.parameters()),
        loss,
        track(batches, progress, label, total=steps),
        optimizer=partial(
            torch.optim.SGD,
            lr=config.lr,
            momentum=config.momentum,
            weight_decay=config.weight_decay,
            nesterov=config.momentum > 0,
            fused=True,
        ),
        schedule=drop_schedule(config.steps, config.lr_drops, LR_DROP),
        checkpoints=range(0, steps + 1, config.steps_per_epoch),
        on_checkpoint=write if diary is not None else None,
    )
    return accuracy(networks.logits(data.test.x), data.test.y)


def _batches(config: Config, count: int, m: int) -> Iterator[Tensor]:
    """Batches of positions in a subset of m examples, in as many passes as the steps of the full set need."""
    size = min(config.batch_size, m)
    passes = math.ceil(config.steps / (m // size))
    return epoch_batches(count, m, size, passes, generator=stream(config, "batches"))
