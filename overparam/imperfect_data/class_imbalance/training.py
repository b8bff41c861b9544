"""The experiment's configuration, its data, and the training of one set of replicas with one of the methods."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from overparam.core import checks, compute
from overparam.core.compute import Device
from overparam.core.datasets import Examples, digits, hub_images
from overparam.core.progress import track
from overparam.core.training import drop_schedule, train_ensemble
from overparam.imperfect_data.class_imbalance.method import resample_indices, step_counts, subsample
from overparam.imperfect_data.class_imbalance.networks import AllCNNs, Networks, StackedCNNs

#: Classes of both data sets, the side of a digit, and the digits of each class that are kept for testing.
CLASSES, DIGIT_SIDE, DIGITS_TEST = 10, 8, 60
#: Points of a training curve, evenly spaced.
CURVE_POINTS = 10
#: Independent streams of random numbers, so that no method changes what another one draws.
STREAMS = ("split", "subsets", "start", "resampling", "batches", "phase2_batches", "dropout")


@dataclass(frozen=True)
class Config:
    """Reader scale: 15 CPU-seconds. Every number of the experiment is here."""

    seed: int = 0
    dataset: str = "digits"  # or "cifar10", which takes All-CNN
    source: str | None = None  # folder of cifar10's parquet files, to read instead of the hub
    n_max: int = 100  # training images of a majority class
    minority: int = 5  # minority classes, drawn anew for each replica
    rhos: tuple[float, ...] = (1, 10, 50)  # imbalance ratios, ascending
    rho: float = 50  # the one of them at which all methods are compared
    replicas: int = 4  # networks, each with its own minority classes, images and start
    channels: tuple[int, int] = (16, 32)  # of the two convolutions, or of the two halves of All-CNN
    hidden: int = 64  # units of the digits network's hidden layer
    steps: int = 240  # SGD steps, the same for every method
    phase2_steps: int = 120  # further steps of two-phase training, on the last layer alone
    batch_size: int = 32
    lr: float = 0.05  # step size
    phase2_lr: float = 0.01
    lr_drops: tuple[float, ...] = (0.6,)  # shares of the steps of a phase after which its step size falls to a tenth
    momentum: float = 0.9
    weight_decay: float = 5e-4
    over_level: float = 0.1  # level of the partial oversampling

    def __post_init__(self) -> None:
        checks.integer(0, seed=self.seed)
        checks.integer(1, n_max=self.n_max, minority=self.minority, replicas=self.replicas, hidden=self.hidden)
        checks.integer(1, steps=self.steps, phase2_steps=self.phase2_steps, batch_size=self.batch_size)
        checks.one_of(("digits", "cifar10"), dataset=self.dataset)
        checks.positive(lr=self.lr, phase2_lr=self.phase2_lr)
        checks.non_negative(weight_decay=self.weight_decay)
        checks.probability(below_one=True, momentum=self.momentum)
        checks.probability(over_level=self.over_level)
        for share in self.lr_drops:
            checks.probability(lr_drops=share)
        checks.increasing(rhos=self.rhos)
        if len(self.channels) != 2:
            raise ValueError(f"channels must be two numbers, got {self.channels}")
        for width in self.channels:
            checks.integer(1, channels=width)
        if self.minority >= CLASSES:
            raise ValueError(f"minority must leave one of the {CLASSES} classes, got {self.minority}")
        if self.rho not in self.rhos:
            raise ValueError(f"rho must be one of rhos {self.rhos}, got {self.rho}")
        for rho in self.rhos:
            step_counts(CLASSES, (), self.n_max, rho)  # refuses a ratio outside [1, n_max]
        if self.source is not None and self.dataset == "digits":
            raise ValueError(f"source must be None for digits, which are bundled, got {self.source!r}")
        if self.source is not None and not Path(self.source).is_dir():
            raise ValueError(f"source must be a folder of parquet files, got {self.source!r}")


FULL = Config(
    dataset="cifar10",
    n_max=5000,
    rhos=(1, 2, 10, 20, 50),
    replicas=10,
    channels=(96, 192),
    steps=70_000,
    phase2_steps=70_000,
    batch_size=256,
    lr=0.005,  # the paper searched 0.05, 0.005, 0.0005 and 0.00005 for each network
    phase2_lr=0.0005,
    lr_drops=(4 / 7, 5 / 7, 6 / 7),
    weight_decay=1e-3,
)


# --- Data -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ImbalancedData:
    """A balanced pool of images, and for each ratio and replica the indices of those that one may train on.

    ``pool`` and ``test`` hold images as the networks want them (:meth:`Networks.prepare`); ``minority`` marks each
    replica's minority classes, ``subsets`` has one tensor of indices for each of ``config.rhos``.
    """

    pool: Examples
    test: Examples
    minority: Bool[Tensor, "k c"]
    subsets: tuple[Int[Tensor, "k _"], ...]

    def subset(self, config: Config, rho: float) -> Int[Tensor, "k m"]:
        """The training images of every replica at one ratio of ``config.rhos``."""
        return self.subsets[config.rhos.index(rho)]


def imbalanced_data(config: Config, *, device: Device = "cpu") -> ImbalancedData:
    """The configuration's data: step-imbalanced subsets of a pool, smaller ones within larger ones, and a test set.

    The digits' test set has 60 images of each class. It is balanced, as CIFAR-10's is.

    Raises
    ------
    ValueError
        If a class of the pool has fewer than ``n_max`` images.
    """
    pool, test = _images(config)
    where = compute.device(device)
    minority = [_minority(config, replica) for replica in range(config.replicas)]
    subsets = tuple(
        torch.stack([_subset(config, pool.y, classes, rho, replica) for replica, classes in enumerate(minority)])
        for rho in config.rhos
    )
    prepare = _network_type(config).prepare
    return ImbalancedData(
        pool=Examples(prepare(pool.x).to(where), pool.y.to(where)),
        test=Examples(prepare(test.x).to(where), test.y.to(where)),
        minority=functional.one_hot(torch.tensor(minority), CLASSES).sum(1).bool(),
        subsets=tuple(subset.to(where) for subset in subsets),
    )


def _images(config: Config) -> tuple[Examples, Examples]:
    if config.dataset == "cifar10":
        split = hub_images("cifar10", source=config.source)
        return split.train, split.test
    x, y = digits(flatten=False, center=False).whole()
    held_out = torch.zeros(len(y), dtype=torch.bool)
    held_out[subsample(y, [DIGITS_TEST] * CLASSES, generator=stream(config, "split"))] = True
    x = x - x[~held_out].mean()
    return Examples(x[~held_out], y[~held_out]), Examples(x[held_out], y[held_out])


def _minority(config: Config, replica: int) -> list[int]:
    generator = stream(config, "subsets", replica)
    return torch.randperm(CLASSES, generator=generator)[: config.minority].sort().values.tolist()


def _subset(config: Config, labels: Tensor, minority: Sequence[int], rho: float, replica: int) -> Tensor:
    generator = stream(config, "subsets", replica + config.replicas)
    return subsample(labels, step_counts(CLASSES, minority, config.n_max, rho), generator=generator)


def class_sizes(data: ImbalancedData, config: Config, rho: float) -> Int[np.ndarray, "k c"]:
    """How many images of each class every replica has at one ratio; up to a factor, the prior."""
    rows = [data.pool.y[subset].bincount(minlength=CLASSES) for subset in data.subset(config, rho)]
    return torch.stack(rows).cpu().numpy()


def training_indices(
    data: ImbalancedData, config: Config, rho: float, *, method: str | None = None, level: float = 1.0
) -> Int[Tensor, "k m"]:
    """What every replica draws its batches from: its imbalanced set, resampled if a method is named.

    Parameters
    ----------
    data, config, rho
        The experiment and the ratio.
    method
        "oversample", "undersample", or None to leave the set as it is.
    level
        As for :func:`resample_indices`.
    """
    subsets = data.subset(config, rho)
    if method is None:
        return subsets
    rows = []
    for replica, subset in enumerate(subsets):
        generator = stream(config, "resampling", replica)
        chosen = resample_indices(data.pool.y[subset], method=method, level=level, generator=generator)
        rows.append(subset[chosen])
    return torch.stack(rows)


def stream(config: Config, name: str, replica: int = 0) -> torch.Generator:
    """A generator for one of the :data:`STREAMS` of the configuration's seed, and for one replica of it."""
    return compute.generator(compute.seeds(compute.streams(config.seed, STREAMS)[name], replica + 1)[-1])


# --- Training ---------------------------------------------------------------------------------------------------


def _network_type(config: Config) -> type[Networks]:
    return StackedCNNs if config.dataset == "digits" else AllCNNs


def build(config: Config, *, device: Device = "cpu") -> Networks:
    """Freshly initialized networks, the same for every method: small CNNs for digits, All-CNNs for cifar10."""
    generator = stream(config, "start")
    common = {"channels": config.channels, "num_classes": CLASSES, "generator": generator}
    if config.dataset == "cifar10":
        return AllCNNs(config.replicas, **common).to(compute.device(device))
    networks = StackedCNNs(config.replicas, side=DIGIT_SIDE, in_channels=1, hidden=config.hidden, **common)
    return networks.to(compute.device(device))


def train(
    networks: Networks,
    data: ImbalancedData,
    indices: Int[Tensor, "k m"],
    config: Config,
    *,
    on_point: Callable[[int], None] | None = None,
    progress: bool = False,
    what: str = "training",
) -> None:
    """Train the networks in place, each on batches drawn uniformly from its row of ``indices``.

    Parameters
    ----------
    networks, data, config
        The experiment, as :func:`build` and :func:`imbalanced_data` make it.
    indices
        Rows of the pool, as :func:`training_indices` makes them.
    on_point
        Called with the number of steps taken at :func:`curve_steps`.
    progress, what
        Show a bar, and its label.
    """
    batches = track(_batches(config, indices, config.steps, "batches"), progress, what, total=config.steps)
    _fit(networks, data, batches, config, list(networks.parameters()), config.lr, config.steps, on_point)


def tune_head(
    networks: Networks,
    data: ImbalancedData,
    indices: Int[Tensor, "k m"],
    config: Config,
    *,
    progress: bool = False,
    what: str = "phase two",
) -> None:
    """The second phase of two-phase training: tune the head alone, in place, at a lower step size.

    Parameters
    ----------
    networks, data, config, progress, what
        As for :func:`train`; the networks come from it, trained on a balanced set.
    indices
        The original, imbalanced set.

    References
    ----------
    Havaei et al., Medical Image Analysis 2017; Buda, Maki & Mazurowski (2018), Sections 2.2 and 3.2.
    """
    steps = config.phase2_steps
    batches = track(_batches(config, indices, steps, "phase2_batches"), progress, what, total=steps)
    _fit(networks, data, batches, config, networks.head(), config.phase2_lr, steps, None)


def curve_steps(config: Config) -> list[int]:
    """Ten equidistant numbers of steps, up to the last; fewer where there are fewer steps."""
    return sorted({max(1, round(config.steps * point / CURVE_POINTS)) for point in range(1, CURVE_POINTS + 1)})


def _batches(config: Config, indices: Tensor, steps: int, name: str) -> Iterator[Tensor]:
    """Uniform draws from each row; the same uniform numbers whatever the row's length."""
    generator = stream(config, name)
    size = indices.shape[1]
    for _ in range(steps):
        uniform = torch.rand(len(indices), config.batch_size, generator=generator, dtype=torch.float64)
        yield indices.gather(1, (uniform * size).long().to(indices.device))


def _fit(
    networks: Networks,
    data: ImbalancedData,
    batches: Iterator[Tensor],
    config: Config,
    parameters: list[torch.nn.Parameter],
    lr: float,
    steps: int,
    on_point: Callable[[int], None] | None,
) -> None:
    flags = [p.requires_grad for p in networks.parameters()]
    networks.requires_grad_(False)

    def loss(batch: Tensor) -> Tensor:
        logits, labels = networks(data.pool.x[batch]), data.pool.y[batch]
        losses = functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
        return losses.view_as(labels).mean(1)

    optimizer = partial(torch.optim.SGD, lr=lr, momentum=config.momentum, weight_decay=config.weight_decay, fused=True)
    where = data.pool.y.device
    networks.train()
    # Dropout, which All-CNN has, draws from torch's global generators.
    with torch.random.fork_rng([where] if where.type == "cuda" else []):
        torch.manual_seed(stream(config, "dropout").initial_seed())
        train_ensemble(
            parameters,
            loss,
            batches,
            optimizer=optimizer,
            schedule=drop_schedule(steps, config.lr_drops, 0.1),
            checkpoints=curve_steps(config) if on_point else (),
            on_checkpoint=on_point,
        )
    networks.eval()
    for parameter, flag in zip(networks.parameters(), flags, strict=True):
        parameter.requires_grad_(flag)


def per_class_accuracy(
    probs: Float[Tensor, "k n c"], labels: Int[Tensor, "k n"] | Int[Tensor, " n"]
) -> Float[Tensor, "k c"]:
    """The share of right decisions within each class (its recall), of each network."""
    right = (probs.max(-1).indices == labels).double()
    classes = functional.one_hot(labels, probs.shape[-1]).double().expand(probs.shape)
    return (right[..., None] * classes).sum(1) / classes.sum(1)
