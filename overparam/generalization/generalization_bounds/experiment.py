"""Twin worlds for trained networks, the trade-off over finite fields, and a learner that never learns."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from overparam.core import checks, compute, datasets
from overparam.core.claims import Claim
from overparam.core.compute import Device
from overparam.core.datasets import Examples
from overparam.core.progress import track
from overparam.generalization.generalization_bounds.estimability import (
    MAX_ENUMERATED,
    best_estimator_failure,
    enumerate_twins,
    twin_failure,
    twin_worlds,
)
from overparam.generalization.generalization_bounds.fields import (
    check_prime,
    field_solve,
    linear_failure,
    linear_success,
)
from overparam.generalization.generalization_bounds.networks import generalization_measures, predict, train_batch

#: Classes of every data set here.
CLASSES = 10
#: The tolerance with which a constant certifies the kernel machine, and the error it has to exceed everywhere.
NEVER_LEARNS = 0.25

# --- A rule that never learns -----------------------------------------------------------------------------------


def parity_losses(d: int, n: int, count: int, generator: torch.Generator) -> Float[Tensor, " {count}"]:
    r"""The population losses of a kernel machine that is taught parities.

    For each of ``count`` different parities of two or more of d signs, n uniform inputs are drawn and interpolated by
    least squares with the Gaussian kernel :math:`\exp(-|x - x'|^2 / 2d)`. The loss is the share of all
    :math:`2^d` inputs on which the sign is wrong; a zero has no sign and counts as wrong.

    Raises
    ------
    ValueError
        If ``d < 2`` or a count is below 1, or there are fewer than ``count`` such parities.
    """
    checks.integer(2, d=d)
    checks.integer(1, n=n, count=count)
    if count > 2**d - d - 1:
        raise ValueError(f"count must be at most the {2**d - d - 1} parities of two signs or more, got {count}")
    bits = torch.arange(2**d)[:, None] >> torch.arange(d) & 1
    cube = 1 - 2 * bits.double()
    subsets = bits[bits.sum(1) >= 2]
    chosen = subsets[torch.randperm(len(subsets), generator=generator)[:count]]
    labels = 1 - 2 * ((chosen @ bits.mT) % 2).double()
    drawn = torch.randint(2**d, (count, n), generator=generator)
    x = cube[drawn]
    # A point drawn twice makes the kernel matrix singular, hence the pseudo-inverse.
    weights = torch.linalg.pinv(_kernel(x, x), hermitian=True) @ labels.gather(1, drawn)[..., None]
    output = (_kernel(cube, x) @ weights).squeeze(-1)
    return (output * labels <= 0).double().mean(1)


def _kernel(x: Tensor, z: Tensor) -> Tensor:
    # |x - z|^2 / 2d is 1 - <x, z> / d for vectors of signs.
    return torch.exp(x @ z.mT / x.shape[-1] - 1)


# --- The experiment ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Config:
    """Reader scale: about six CPU-seconds. Every number of the experiment is here."""

    seed: int = 0
    dataset: str = "digits"  # or mnist, cifar10
    source: str | None = None  # folder of parquet files to read instead of the hub, None for the hub
    nets: int = 32  # networks, each with a pool of its own
    pool: int = 200  # points of a population
    sample: int = 20  # draws of a sample, with replacement
    hidden: int = 128  # hidden units
    steps: int = 150  # Adam steps
    lr: float = 3e-3  # Adam's learning rate
    enumerate_d: int = 4  # points where the worlds are enumerated
    enumerate_n: int = 2  # draws where the worlds are enumerated
    enumerate_epsilon: float = 0.25  # tolerance there
    fields: tuple[int, ...] = (2, 3, 5)  # sizes of the finite fields
    field_d: int = 14  # dimension of the linear functions
    field_samples: tuple[int, ...] = (4, 6, 8, 10, 11, 12, 13, 14, 15, 16, 18, 20, 24)  # samples
    systems: int = 4000  # random linear functions for each field and number of samples
    parity_d: int = 10  # signs of an input of the kernel machine
    parity_n: int = 9  # its samples
    parities: int = 40  # populations that it is taught

    def __post_init__(self) -> None:
        checks.integer(0, seed=self.seed, enumerate_n=self.enumerate_n)
        checks.one_of(("digits", "mnist", "cifar10"), dataset=self.dataset)
        checks.integer(1, nets=self.nets, pool=self.pool, sample=self.sample, hidden=self.hidden, steps=self.steps)
        checks.integer(1, enumerate_d=self.enumerate_d, field_d=self.field_d, systems=self.systems)
        checks.integer(2, parity_d=self.parity_d)
        checks.integer(1, parity_n=self.parity_n, parities=self.parities)
        checks.positive(lr=self.lr, enumerate_epsilon=self.enumerate_epsilon)
        if self.enumerate_d > MAX_ENUMERATED:
            raise ValueError(f"enumerate_d must be at most {MAX_ENUMERATED}, got {self.enumerate_d}")
        if self.parities > (most := 2**self.parity_d - self.parity_d - 1):
            raise ValueError(f"parities must be at most {most} for {self.parity_d} signs, got {self.parities}")
        for q in self.fields:
            check_prime(q)
        if 2 not in self.fields:
            raise ValueError(f"fields must have 2 among them, got {self.fields}")
        checks.increasing(field_samples=self.field_samples)
        checks.integer(0, field_samples=self.field_samples[0])


FULL = Config(
    dataset="mnist",
    nets=100,
    pool=5000,
    sample=500,
    hidden=2048,
    steps=3000,
    fields=(2,),
    field_d=64,
    field_samples=tuple(range(32, 97, 4)),
    systems=20_000,
)


@dataclass(frozen=True)
class Result:
    """What :func:`run` measured.

    Of the twin networks: ``sample_errors`` and ``losses``, one row a world, and ``twin_measures``. Of the natural
    ones, trained on the sample with its true labels: ``natural_losses`` and ``natural_measures``. By enumeration:
    ``distance`` (total variation) and ``enumerated_failure``, beside the closed form ``exact_failure``. Over the
    fields, one row a field and one column a number of samples: ``learned``, the share of systems whose consistent
    rule was right, and the closed forms ``success`` and ``failure``. ``parity_losses`` are the kernel machine's.
    """

    config: Config
    sample_errors: Float[Tensor, "2 t"]
    losses: Float[Tensor, "2 t"]
    twin_measures: dict[str, Float[Tensor, " t"]]
    natural_losses: Float[Tensor, " t"]
    natural_measures: dict[str, Float[Tensor, " t"]]
    distance: float
    enumerated_failure: float
    exact_failure: float
    learned: Float[Tensor, "q n"]
    success: Float[Tensor, "q n"]
    failure: Float[Tensor, "q n"]
    parity_losses: Float[Tensor, " k"]


def run(config: Config = Config(), *, device: Device = None, progress: bool = True) -> Result:
    """Build both obstacles: the networks in float32, everything that is counted in float64.

    Parameters
    ----------
    config
        The experiment.
    device
        None picks the best device.
    progress
        Show a bar.

    Raises
    ------
    ValueError
        If a pool is larger than the data set.
    """
    where = compute.device(device)
    twin_seed, field_seed, parity_seed = compute.seeds(config.seed, 3)
    cells = list(itertools.product(config.fields, config.field_samples))
    generator = compute.generator(field_seed)
    bar = track(cells, progress, "generalization bounds: fields")
    learned = [_learned(config, q, n, generator, where) for q, n in bar]
    success = [linear_success(n, config.field_d, q) for q, n in cells]
    failure = [linear_failure(n, config.field_d, q) for q, n in cells]
    enumerated = config.enumerate_d, config.enumerate_n, config.enumerate_epsilon
    distance, enumerated_failure = enumerate_twins(*enumerated)
    return Result(
        config=config,
        **_networks(config, twin_seed, where)._asdict(),
        distance=distance,
        enumerated_failure=enumerated_failure,
        exact_failure=twin_failure(*enumerated),
        learned=_table(learned, config),
        success=_table(success, config),
        failure=_table(failure, config),
        # Small, and in float64, which not every device has.
        parity_losses=parity_losses(config.parity_d, config.parity_n, config.parities, compute.generator(parity_seed)),
    )


def _table(cells: list[float], config: Config) -> Tensor:
    return torch.tensor(cells, dtype=torch.float64).view(len(config.fields), -1)


def _learned(config: Config, q: int, n: int, generator: torch.Generator, where: torch.device) -> float:
    """The share of random linear functions that the solution of n random equations is."""
    w = torch.randint(q, (config.systems, config.field_d), generator=generator).to(where)
    A = torch.randint(q, (config.systems, n, config.field_d), generator=generator).to(where)
    y = (A * w[:, None]).sum(-1) % q
    solution, _ = field_solve(A, y, q)
    return float((solution == w).all(1).double().mean())


def _images(config: Config, seed: int) -> Examples:
    """All images of the training set, flat; the digits standardised by one mean and one deviation for all pixels."""
    if config.dataset == "digits":
        # One image must be left for testing; it is put back, so that the pools can have all of them.
        x, y = datasets.digits(datasets.DIGITS - 1, seed=seed, center=False, scale="raw").whole()
        return Examples((x - x.mean()) / x.std(), y)
    train = datasets.hub_images(config.dataset, seed=seed, source=config.source).train
    return Examples(train.x.flatten(1), train.y)


class _Networks(NamedTuple):
    """The part of the result that is about trained networks."""

    sample_errors: Tensor
    losses: Tensor
    twin_measures: dict[str, Tensor]
    natural_losses: Tensor
    natural_measures: dict[str, Tensor]


def _networks(config: Config, seed: int, where: torch.device) -> _Networks:
    data_seed, label_seed, world_seed, start_seed = compute.seeds(seed, 4)
    images, generator = _images(config, data_seed), compute.generator(label_seed)
    if config.pool > len(images.y):
        raise ValueError(f"pool must be at most the {len(images.y)} images, got {config.pool}")
    size = (config.nets, config.pool)
    pools = torch.rand(config.nets, len(images.y), generator=generator).argsort(1)[:, : config.pool]
    drawn = torch.randint(config.pool, (config.nets, config.sample), generator=generator).to(where)
    labelling = torch.randint(CLASSES, size, generator=generator).to(where)
    x, truth = images.x[pools].to(where), images.y[pools].to(where)
    worlds = torch.stack(twin_worlds(labelling, drawn, CLASSES, compute.generator(world_seed)))
    x_sample, y_sample = _at(x, drawn), labelling.gather(1, drawn)
    settings = config.hidden, CLASSES, config.steps, config.lr
    twin = train_batch(x, labelling, *settings, compute.generator(start_seed))
    # The same start, for a fair comparison of the distances from it.
    natural = train_batch(x_sample, truth.gather(1, drawn), *settings, compute.generator(start_seed))
    wrong = predict(*twin[:2], x) != worlds
    on_sample = wrong.gather(2, drawn.expand(2, -1, -1))
    return _Networks(
        sample_errors=_share(on_sample),
        losses=_share(wrong),
        twin_measures=_measures(*twin, x_sample, y_sample),
        natural_losses=_share(predict(*natural[:2], x) != truth),
        natural_measures=_measures(*natural, x_sample, truth.gather(1, drawn)),
    )


def _at(x: Float[Tensor, "t d p"], index: Int[Tensor, "t n"]) -> Float[Tensor, "t n p"]:
    return x.gather(1, index[..., None].expand(-1, -1, x.shape[2]))


def _share(wrong: Tensor) -> Tensor:
    return wrong.cpu().double().mean(-1)


def _measures(*arguments: Tensor) -> dict[str, Tensor]:
    return {name: measure.cpu() for name, measure in generalization_measures(*arguments).items()}


# --- What it claims ---------------------------------------------------------------------------------------------


def claims(result: Result) -> list[Claim]:
    """The chapter's seven claims, decided on one result."""
    config = result.config
    gap = float((result.losses[1] - result.losses[0]).abs().min() / 2)
    fits = bool((result.sample_errors == 0).all() and (result.losses[0] == 0).all())
    ratios = [result.twin_measures[name].mean() / result.natural_measures[name].mean() for name in result.twin_measures]
    inverted = float(torch.stack(ratios).min())
    mismatch = abs(result.enumerated_failure - result.exact_failure)
    law = float((result.learned - result.success).abs().max())
    binary = config.fields.index(2)
    peak = float(result.failure[binary].max())
    past = [i for i, n in enumerate(config.field_samples) if n >= config.field_d + 10]
    settled, sure = (float(table[binary, past[0]]) if past else math.nan for table in (result.failure, result.success))
    constant, never = _certified(result.parity_losses)
    return [
        Claim(
            "twin_nets",
            "One network and one sample, two populations: any bound that sees both errs by at least this in one",
            measured=gap,
            holds=gap > 0.36 and fits,
            limits=(0.36, math.inf),
            bound="half the gap of the two losses above 0.36 for every net; no error in world 1 or on the sample",
            source="Section 5, bounds that do not know the algorithm",
        ),
        Claim(
            "measures_inverted",
            "Every measure is larger on the network without error than on the natural network with many errors",
            measured=inverted,
            holds=inverted > 1.15 and float(result.natural_losses.mean()) > 0.2,
            limits=(1.15, math.inf),
            bound="smallest ratio of mean measures above 1.15; natural loss above 0.2",
            source="Section 5 on measures of Jiang et al. (2020); our networks",
        ),
        Claim(
            "same_law",
            "The two worlds show a certificate the same law of sample and network, and it fails as computed",
            measured=result.distance,
            holds=result.distance < 1e-12 and mismatch < 1e-12,
            limits=(-math.inf, 1e-12),
            bound="total variation below 1e-12; failure as in closed form, to 1e-12",
            source="Section 5, the proof's two populations; our instance",
        ),
        Claim(
            "learner_law",
            "A rule that outputs a consistent linear function over a finite field is right with the exact probability",
            measured=law,
            holds=law < 0.03,
            limits=(-math.inf, 0.03),
            bound="largest difference from the closed form below 0.03",
            source="Section 6, linear functions over finite fields; our constants",
        ),
        Claim(
            "tradeoff_peak",
            "Where a rule learns sometimes, the best certificate that knows the rule fails often",
            measured=peak,
            holds=peak > 0.3,
            limits=(0.3, math.inf),
            bound="largest failure over n above 0.3 for q = 2",
            source="Section 6, the trade-off of learnability and estimability",
        ),
        Claim(
            "estimable_when_determined",
            "Once the sample determines the function its loss is certified",
            measured=settled,
            holds=settled < 2e-3 and sure > 0.998,
            limits=(-math.inf, 2e-3),
            bound="failure below 0.002 and success above 0.998 at the first n ≥ d + 10 for q = 2",
            source="the regime without over-parameterization; our control",
        ),
        Claim(
            "non_learner_estimable",
            "A rule that never learns is certified by a constant",
            measured=constant,
            holds=constant < 1e-9 and never,
            limits=(-math.inf, 1e-9),
            bound="failure of a constant at tolerance 1/4 below 1e-9; all losses above 1/4",
            source="Section 6, the other end of the trade-off; our control",
        ),
    ]


def _certified(losses: Tensor) -> tuple[float, bool]:
    """The failure of the best constant over these losses, NaN if one is missing, and whether all are large."""
    if losses.isnan().any():
        return math.nan, False
    uniform = np.full(len(losses), 1 / len(losses))
    failure, _ = best_estimator_failure(losses.numpy(), uniform, NEVER_LEARNS)
    return failure, bool((losses > NEVER_LEARNS).all())
