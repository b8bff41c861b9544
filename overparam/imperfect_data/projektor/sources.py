"""The configuration, what the sellers have and show, and the errors of what is bought."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from overparam.core import checks, compute
from overparam.core.datasets import DIGITS, Examples, digits, hub_images
from overparam.core.progress import track
from overparam.core.training import accuracy
from overparam.imperfect_data.projektor.networks import PreActResNet18, in_chunks, train_mlps, train_resnet
from overparam.imperfect_data.projektor.projection import allocate
from overparam.imperfect_data.projektor.transport import hybrid_cost, label_distances

CLASSES = 10
SOURCES = ("A", "B", "C")
#: Independent random streams of a run, each with its own seed.
STREAMS = ("split", "sources", "noise", "draws", "starts", "embedding")
#: For CIFAR-10 the first class of each group of classes, and the share of each group in each source, as in the
#: official script: nearly all of a source is airplanes to cats, deer to frogs, or horses to trucks.
CIFAR_GROUPS = (0, 4, 7)
CIFAR_SHARES = ((0.97, 0.015, 0.015), (0.0229, 0.96, 0.0171), (0.0057, 0.0043, 0.99))


@dataclass(frozen=True)
class Config:
    """Reader scale: 20 CPU-seconds. Every number of the experiment is here."""

    seed: int = 0
    dataset: str = "digits"  # or "cifar10", which takes PreActResNet-18 and its features for the cost
    source: str | None = None  # folder of cifar10's parquet files, to read instead of the hub
    weights: str | None = None  # file with the state of the network that makes cifar10's features; None trains one
    n_val: int = 397  # validation images
    skew: float = 0.9  # share of digits 0 to 4 in source A, and of 5 to 9 in source B
    noise: float = 0.5  # standard deviation of the pixel noise of source C, digits only
    n_source: int = 420  # images of a source; of the digits C has the rest
    pilot: int = 120  # images that each source shows
    n0: int = 60  # the two sizes at which mixtures of the pilots are trained on
    n1: int = 120
    n: int = 400  # the size to buy
    grid: int = 10  # steps of a mixture's weights from 0 to 1
    repeats: int = 6  # trainings of each mixture at n0 and n1
    repeats_full: int = 3  # trainings of each mixture at n
    repeats_selected: int = 30  # trainings of the selected and of the uniform mixture at n
    hidden: int = 64  # units of the MLP's hidden layer
    steps: int = 60  # passes over what was bought, which at full batch are the steps of Adam
    batch_size: int | None = None  # None is full batch
    lr: float = 0.02
    label_weight: float = 1.0  # c, what a distance between labels counts against one between images
    holdout_share: float = 0.5  # stage 1 is fitted where B has less than this share, and tested on the rest

    def __post_init__(self) -> None:
        checks.integer(0, seed=self.seed)
        checks.one_of(("digits", "cifar10"), dataset=self.dataset)
        checks.integer(1, n_val=self.n_val, n_source=self.n_source, pilot=self.pilot, n0=self.n0, grid=self.grid)
        checks.integer(1, n1=self.n1, n=self.n, hidden=self.hidden, steps=self.steps)
        checks.integer(1, repeats=self.repeats, repeats_full=self.repeats_full, repeats_selected=self.repeats_selected)
        checks.probability(skew=self.skew)
        checks.probability(holdout_share=self.holdout_share)
        checks.non_negative(noise=self.noise, label_weight=self.label_weight)
        checks.positive(lr=self.lr)
        if self.batch_size is not None:
            checks.integer(1, batch_size=self.batch_size)
        checks.increasing(least=3, **{"n0, n1, n": (self.n0, self.n1, self.n)})
        if not self.n1 <= self.pilot <= self.n_source:
            raise ValueError(f"pilot must lie between n1 {self.n1} and n_source {self.n_source}, got {self.pilot}")
        if self.n > self.n_source:
            raise ValueError(f"n must be at most the n_source {self.n_source} images of one source, got {self.n}")
        rest = DIGITS - self.n_val - 2 * self.n_source
        if self.dataset == "digits" and rest < self.n_source:
            fitting = f"leave n_source for C, got {rest} with n_source {self.n_source}"
            raise ValueError(f"n_val and two sources must {fitting} and n_val {self.n_val}")


FULL = Config(
    dataset="cifar10",
    n_val=2000,
    noise=0.0,
    n_source=10_000,
    pilot=1500,
    n0=1000,
    n1=1500,
    n=10_000,
    repeats=5,
    repeats_full=5,
    repeats_selected=5,
    steps=110,
    batch_size=256,
    lr=0.001,
)


# --- The sellers ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Market:
    """All examples, the places of each source among them, the pilot first, and the buyer's validation examples."""

    data: Examples
    sources: tuple[Int[Tensor, " _"], ...]
    val: Examples


def market(config: Config, *, device: torch.device | str = "cpu") -> Market:
    """The three sources and the validation set.

    Raises
    ------
    ValueError
        If the classes do not suffice for the sources.
    """
    if config.dataset == "digits":
        split = digits(DIGITS - config.n_val, seed=compute.streams(config.seed, STREAMS)["split"], center=False)
        pool, val = split.train, split.test
        shares, groups = ((config.skew, 1 - config.skew), (1 - config.skew, config.skew)), (0, 5)
    else:
        split = hub_images("cifar10", source=config.source)
        order = torch.randperm(len(split.test.y), generator=stream(config, "split"))[: config.n_val]
        if len(order) < config.n_val:
            raise ValueError(f"n_val must be at most the {len(order)} test images, got {config.n_val}")
        pool, val = split.train, Examples(split.test.x[order], split.test.y[order])
        shares, groups = CIFAR_SHARES, CIFAR_GROUPS
    sources = compose(pool.y, shares, groups, config.n_source, generator=stream(config, "sources"))
    x = pool.x
    if config.dataset == "digits":
        taken = torch.zeros(len(pool.y), dtype=torch.bool)
        taken[torch.cat(sources)] = True
        rest = (~taken).nonzero()[:, 0]
        noise = config.noise * torch.randn(len(rest), x.shape[1], generator=stream(config, "noise"))
        x = x.index_copy(0, rest, (x[rest] + noise).clamp(min=0))
        sources.append(rest)
    data, val = (Examples(part.to(device), labels.to(device)) for part, labels in ((x, pool.y), val))
    return Market(data, tuple(places.to(device) for places in sources), val)


def compose(
    labels: Int[Tensor, " n"],
    shares: Sequence[Sequence[float]],
    groups: Sequence[int],
    size: int,
    *,
    generator: torch.Generator,
) -> list[Int[Tensor, " {size}"]]:
    """Disjoint sources with given shares of groups of classes, each in a random order.

    Parameters
    ----------
    labels
        Labels of the examples to divide, themselves in a random order.
    shares
        For each source the share of each group.
    groups
        The first class of each group, ascending.
    size
        Examples of a source.

    Raises
    ------
    ValueError
        If a group has too few examples for what the sources take from it.
    """
    group = torch.bucketize(labels, torch.tensor(groups), right=True) - 1
    queues = [(group == g).nonzero()[:, 0] for g in range(len(groups))]
    sources = []
    for row in shares:
        counts = allocate(np.array(row) / sum(row), size).tolist()
        for g, (count, queue) in enumerate(zip(counts, queues, strict=True)):
            if count > len(queue):
                raise ValueError(f"n_source asks for {count} more examples of group {g}, which has {len(queue)} left")
        members = torch.cat([queue[:count] for count, queue in zip(counts, queues, strict=True)])
        queues = [queue[count:] for count, queue in zip(counts, queues, strict=True)]
        sources.append(members[torch.randperm(size, generator=generator)])
    return sources


def pilot_features(goods: Market, config: Config) -> tuple[list[np.ndarray], np.ndarray]:
    """What the cost compares, of every source's pilot and of the validation set: pixels, or a network's features."""
    pilots = [places[: config.pilot] for places in goods.sources]
    images = [goods.data.x[places] for places in pilots] + [goods.val.x]
    if config.dataset == "cifar10":
        network = _embedding(goods, torch.cat(pilots), config)
        images = [in_chunks(network.features, part) for part in images]
    *shown, val = (part.double().cpu().numpy() for part in images)
    return shown, val


def _embedding(goods: Market, shown: Tensor, config: Config) -> PreActResNet18:
    generator = stream(config, "embedding")
    if config.weights is None:
        schedule = {"epochs": config.steps, "batch_size": config.batch_size or len(shown)}
        return train_resnet(goods.data, shown, lr=config.lr, **schedule, generator=generator)
    network = PreActResNet18(generator=generator).eval()
    network.load_state_dict(torch.load(config.weights, weights_only=True, map_location="cpu"))
    return network.to(goods.data.x.device)


def pilot_costs(goods: Market, config: Config) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """For each source the costs of its pilot to the validation set, with the labels and from the features alone."""
    x, x_val = pilot_features(goods, config)
    y_val = goods.val.y.cpu().numpy()
    y = [goods.data.y[places[: config.pilot]].cpu().numpy() for places in goods.sources]
    distances = label_distances(x_val, y_val, CLASSES)
    labelled, features = (
        [hybrid_cost(a, b, x_val, y_val, distances, weight=weight) for a, b in zip(x, y, strict=True)]
        for weight in (config.label_weight, 0.0)
    )
    return labelled, features


# --- Purchases --------------------------------------------------------------------------------------------------


def mixtures(grid: int, sources: int = 3) -> Float[np.ndarray, "k {sources}"]:
    """All mixtures whose weights are multiples of ``1 / grid``.

    Raises
    ------
    ValueError
        If a count is below 1.
    """
    checks.integer(1, grid=grid, sources=sources)
    counts = [(grid,)] if sources == 1 else []
    if sources > 1:
        smaller = np.indices((grid + 1,) * (sources - 1)).reshape(sources - 1, -1).T
        counts = [(*row, grid - sum(row)) for row in smaller.tolist() if sum(row) <= grid]
    return np.array(counts) / grid


def purchases(
    sources: Sequence[Int[Tensor, " _"]], p: Float[np.ndarray, "k m"], n: int, repeats: int, generator: torch.Generator
) -> Int[Tensor, "k {repeats} {n}"]:
    """``repeats`` purchases of ``n`` examples for each mixture, without replacement within a purchase."""
    bought = []
    for counts in (allocate(row, n).tolist() for row in p):
        for _ in range(repeats):
            drawn = [
                places[torch.randperm(len(places), generator=generator)[:count].to(places.device)]
                for places, count in zip(sources, counts, strict=True)
            ]
            bought.append(torch.cat(drawn))
    return torch.stack(bought).unflatten(0, (len(p), repeats))


def measure(
    goods: Market,
    config: Config,
    p: Float[np.ndarray, "k m"],
    n: int,
    repeats: int,
    *,
    draws: torch.Generator,
    starts: torch.Generator,
    pilots: bool,
    progress: bool = False,
) -> Float[np.ndarray, "k {repeats}"]:
    """Validation errors of networks trained on purchases of ``n`` examples, from the pilots or from all there is."""
    sources = [places[: config.pilot] for places in goods.sources] if pilots else goods.sources
    bought = purchases(sources, p, n, repeats, draws).flatten(0, 1)
    if config.dataset == "digits":
        dims = (goods.data.x.shape[1], config.hidden, CLASSES)
        recipe = {"dims": dims, "lr": config.lr, "steps": config.steps}
        errors = train_mlps(goods.data, bought, goods.val, **recipe, generator=starts)
    else:
        schedule = {"lr": config.lr, "epochs": config.steps, "batch_size": config.batch_size or n}
        trained = (
            train_resnet(goods.data, one, **schedule, generator=starts) for one in track(bought, progress, f"n = {n}")
        )
        errors = torch.stack([1 - accuracy(in_chunks(network, goods.val.x), goods.val.y) for network in trained])
    return errors.reshape(len(p), repeats).cpu().numpy()


def log_error(errors: Float[np.ndarray, "*batch repeats"], n_val: int) -> Float[np.ndarray, "*batch"]:
    """Logarithm of the mean error over the repeats, which is taken to be at least half a validation image."""
    return np.log(errors.mean(-1).clip(1 / (2 * n_val)))


def stream(config: Config, name: str) -> torch.Generator:
    """A generator for one of the :data:`STREAMS` of the configuration's seed."""
    return compute.generator(compute.streams(config.seed, STREAMS)[name])
