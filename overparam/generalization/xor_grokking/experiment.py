"""The network and its controls on the same draws, and what they show."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from overparam.core import checks, compute
from overparam.core.claims import Claim
from overparam.core.compute import Device
from overparam.core.progress import track
from overparam.generalization.xor_grokking.method import (
    GramTrainer,
    Prepared,
    XorData,
    accuracy,
    check_noise,
    init_network,
    linear_direction,
    own_mean_ratio,
    xor_clusters,
)

# --- The experiment ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Config:
    """Reader scale: about ten CPU-seconds. Every number of the experiment is here."""

    seed: int = 0
    n: int = 200  # training samples
    p: int = 24_000  # dimensions
    mu_norm: float = 26.0  # norm of the means, in standard deviations of a coordinate
    noise: float = 0.1  # share of flipped training labels
    balanced: bool = True  # the same number of samples, and of flips, in each cluster
    m: int = 400  # neurons
    step: float = 1e-2  # step size
    scale: float = 1e-7  # standard deviation of an initial weight
    n_test: int = 600  # test points, scored on clean labels
    checkpoints: tuple[int, ...] = (0, 1, 2, 3, 5, 10, 20, 50, 100, 300)  # steps at which to look
    runs: int = 3  # independent draws of data and network
    lazy_scale: float = 0.3  # standard deviation of an initial weight of the lazy start
    weak_mu_norm: float = 3.0  # norm of the means where the signal is weak
    low_p: int = 400  # dimensions where they are too few; the step is scaled by p / low_p

    def __post_init__(self) -> None:
        checks.integer(0, seed=self.seed)
        checks.integer(4, n=self.n, n_test=self.n_test)
        checks.integer(2, p=self.p, low_p=self.low_p)
        checks.integer(1, m=self.m, runs=self.runs)
        checks.positive(mu_norm=self.mu_norm, weak_mu_norm=self.weak_mu_norm, step=self.step)
        checks.positive(scale=self.scale, lazy_scale=self.lazy_scale)
        check_noise(self.noise)
        if self.m % 2:
            raise ValueError(f"m must be even for the symmetric lazy start, got {self.m}")
        checks.increasing(least=2, checkpoints=self.checkpoints)
        if self.checkpoints[:2] != (0, 1):
            raise ValueError(f"checkpoints must begin with 0 and 1, got {self.checkpoints}")


FULL = Config(n=400, p=40_000, mu_norm=24.0, m=1000, n_test=5000, runs=10)


@dataclass(frozen=True)
class Curves:
    """Accuracy at every checkpoint, one row a run.

    On all training labels as observed, on those of them that were flipped, and on test points with clean labels.
    """

    train: Float[Tensor, "r t"]
    flipped: Float[Tensor, "r t"]
    test: Float[Tensor, "r t"]


@dataclass(frozen=True)
class Result:
    """What :func:`run` measured at the steps ``steps``.

    ``relu`` is the network, ``linear`` the same without its activation, ``lazy`` the same from a large symmetric
    start, ``weak`` the same on means that are too short, and ``low`` in too few dimensions. ``correlation`` is between
    the network's test outputs and those of :func:`linear_direction`, ``alignment`` the inner products of its neurons
    with the two means, ``a`` its signs.
    """

    config: Config
    steps: Int[Tensor, " t"]
    relu: Curves
    linear: Curves
    lazy: Curves
    weak: Curves
    low: Curves
    correlation: Float[Tensor, "r t"]
    alignment: Float[Tensor, "r t m 2"]
    a: Float[Tensor, "r m"]


def run(config: Config = Config(), *, device: Device = None, progress: bool = True) -> Result:
    """Train the network and its controls, one run after the other, in float32.

    Parameters
    ----------
    config
        The experiment.
    device
        None picks the best device.
    progress
        Show a bar.
    """
    where = compute.device(device)
    seeds = compute.seeds(config.seed, config.runs)
    runs = [_one_run(config, seed, where) for seed in track(seeds, progress, "xor grokking")]
    return Result(
        config=config,
        steps=torch.tensor(config.checkpoints),
        relu=_stack([one.relu for one in runs]),
        linear=_stack([one.linear for one in runs]),
        lazy=_stack([one.lazy for one in runs]),
        weak=_stack([one.weak for one in runs]),
        low=_stack([one.low for one in runs]),
        correlation=torch.stack([one.correlation for one in runs]),
        alignment=torch.stack([one.alignment for one in runs]),
        a=torch.stack([one.a for one in runs]),
    )


class _Problem(NamedTuple):
    """One draw: training and test data, and a network's start, on the device."""

    train: XorData
    test: XorData
    W0: Tensor
    a: Tensor

    def trainer(self, step: float, activation: str = "relu") -> GramTrainer:
        return GramTrainer(self.train.x, self.train.y, self.W0, self.a, step, activation)


class _Run(NamedTuple):
    """One run of network and controls; scores are (3, t)."""

    relu: Tensor
    linear: Tensor
    lazy: Tensor
    weak: Tensor
    low: Tensor
    correlation: Tensor
    alignment: Tensor
    a: Tensor


def _draw(config: Config, seed: int, where: torch.device) -> _Problem:
    train_seed, test_seed, network_seed, _ = compute.seeds(seed, 4)
    sizes = (config.p, config.mu_norm)
    train = xor_clusters(config.n, *sizes, config.noise, compute.generator(train_seed), balanced=config.balanced)
    test = xor_clusters(config.n_test, *sizes, 0.0, compute.generator(test_seed), mu=train.mu, balanced=config.balanced)
    W0, a = init_network(config.m, config.p, config.scale, compute.generator(network_seed))
    return _Problem(train.to(where), test.to(where), W0.to(where), a.to(where))


def _one_run(config: Config, seed: int, where: torch.device) -> _Run:
    problem = _draw(config, seed, where)
    train, test = problem.train, problem.test
    straight = test.x @ linear_direction(train.x, train.y)
    trainer = problem.trainer(config.step)
    cache = trainer.prepare(test.x)
    scores, correlations, alignments = [], [], []
    for _ in _visit(trainer, config.checkpoints):
        output = trainer.output(test.x, cache)
        scores.append(_score(trainer, train, test, output))
        correlations.append(torch.corrcoef(torch.stack([output, straight]).double())[0, 1].cpu())
        alignments.append(trainer.alignment(train.mu).cpu())
    lazy_generator = compute.generator(compute.seeds(seed, 4)[3])
    W0, a = init_network(config.m, config.p, config.lazy_scale, lazy_generator, symmetric=True)
    lazy = problem._replace(W0=W0.to(where), a=a.to(where))
    # From the same seed: the same noise and the same network around shorter means.
    weak = replace(config, mu_norm=config.weak_mu_norm)
    low = replace(config, p=config.low_p, step=config.step * config.p / config.low_p)
    return _Run(
        relu=torch.stack(scores, 1),
        linear=_scores(problem, problem.trainer(config.step, "linear"), config.checkpoints, cache),
        lazy=_scores(lazy, lazy.trainer(config.step), config.checkpoints),
        weak=_plain_run(weak, seed, where),
        low=_plain_run(low, seed, where),
        correlation=torch.stack(correlations),
        alignment=torch.stack(alignments),
        a=problem.a.cpu(),
    )


def _plain_run(config: Config, seed: int, where: torch.device) -> Tensor:
    problem = _draw(config, seed, where)
    return _scores(problem, problem.trainer(config.step), config.checkpoints)


def _scores(
    problem: _Problem, trainer: GramTrainer, checkpoints: tuple[int, ...], cache: Prepared | None = None
) -> Tensor:
    train, test = problem.train, problem.test
    cache = trainer.prepare(test.x) if cache is None else cache
    scores = [_score(trainer, train, test, trainer.output(test.x, cache)) for _ in _visit(trainer, checkpoints)]
    return torch.stack(scores, 1)


def _visit(trainer: GramTrainer, checkpoints: tuple[int, ...]) -> Iterator[int]:
    """Train, and stop at every checkpoint."""
    for t in checkpoints:
        trainer.advance(t - trainer.t)
        yield t


def _score(trainer: GramTrainer, train: XorData, test: XorData, output: Tensor) -> Tensor:
    fitted, flipped = trainer.train_output(), train.y != train.clean
    scores = accuracy(fitted, train.y), accuracy(fitted[flipped], train.y[flipped]), accuracy(output, test.clean)
    return torch.tensor(scores, dtype=torch.float64)


def _stack(scores: list[Tensor]) -> Curves:
    return Curves(*torch.stack(scores, 1))


# --- What it claims ---------------------------------------------------------------------------------------------


def claims(result: Result) -> list[Claim]:
    """The chapter's eight claims, decided on one result; every one must hold in each of its runs."""
    relu, first = result.relu, list(result.config.checkpoints).index(1)
    at_one = float((relu.test[:, first] - 0.5).abs().max())
    last = float(relu.test[:, -1].min())
    straight, bent = float(result.correlation[:, first].min()), float(result.correlation[:, -1].max())
    ratios = own_mean_ratio(result.alignment, result.a[:, None])
    turned, even = float(ratios[:, -1].min()), bool((ratios[:, first].log().abs() < 0.3).all())
    linear, weak = _best_test(result.linear), _best_test(result.weak)
    lazy = float(result.lazy.test[:, -1].mean())
    low = float(result.low.train[:, first].max())
    return [
        Claim(
            "one_step_overfit",
            "After one step every training label is fitted, flipped ones included, and test accuracy is near 1/2",
            measured=at_one,
            holds=at_one < 0.15 and _fitted(relu.train),
            limits=(-math.inf, 0.15),
            bound="test accuracy within 0.15 of 1/2 at step 1; training accuracy 1 from then on",
            source="main theorem, overfitting and error near 1/2 at t = 1",
        ),
        Claim(
            "grokking",
            "Later, test accuracy on clean labels is near-optimal while every flipped label stays fitted",
            measured=last,
            holds=last > 0.95 and _fitted(relu.flipped),
            limits=(0.95, math.inf),
            bound="last test accuracy above 0.95; flipped labels all fitted from step 1 on",
            source="main theorem, vanishing test error up to t = √n",
        ),
        Claim(
            "linear_at_first",
            "After one step the network is the linear function ⟨x, Σ yᵢxᵢ⟩, and at the end it is not",
            measured=straight,
            holds=straight > 0.88 and bent < 0.5,
            limits=(0.88, math.inf),
            bound="correlation on test points above 0.88 at step 1, below 0.5 at the end",
            source="mechanism: a linear classifier after one step",
        ),
        Claim(
            "features",
            "The neurons, indifferent after one step, turn to the means of their own class",
            measured=turned,
            holds=turned > 10 and even,
            limits=(10.0, math.inf),
            bound="own over other alignment within e^0.3 of 1 at step 1, above 10 at the end",
            source="mechanism: features learnt later",
        ),
        Claim(
            "linear_fails",
            "A linear network fits the labels and never generalizes",
            measured=linear,
            holds=linear < 0.62 and _fitted(result.linear.train),
            limits=(-math.inf, 0.62),
            bound="test accuracy below 0.62 from step 1 on; training accuracy 1",
            source="XOR is not linearly separable",
        ),
        Claim(
            "lazy_fails",
            "The same network from a large start fits the labels and does not grok",
            measured=lazy,
            holds=lazy < 0.8 and _fitted(result.lazy.train),
            limits=(-math.inf, 0.8),
            bound="mean last test accuracy below 0.8; training accuracy 1",
            source="the theorem asks for a vanishing start; our control",
        ),
        Claim(
            "weak_signal_harmful",
            "Where |μ|² is far below √p, overfitting stays harmful",
            measured=weak,
            holds=weak < 0.62 and _fitted(result.weak.train),
            limits=(-math.inf, 0.62),
            bound="test accuracy below 0.62 from step 1 on; training accuracy 1",
            source="the theorem's assumption on |μ|²; our control",
        ),
        Claim(
            "low_dimension_not_benign",
            "Where p is far below n|μ|², one step cannot store the noise",
            measured=low,
            holds=low < 0.95,
            limits=(-math.inf, 0.95),
            bound="training accuracy below 0.95 at step 1",
            source="the theorem's assumption on p; our control",
        ),
    ]


def _fitted(accuracies: Tensor) -> bool:
    """Whether everything is fitted at every checkpoint from the first step on."""
    return bool((accuracies[:, 1:] == 1).all())


def _best_test(curves: Curves) -> float:
    return float(curves.test[:, 1:].max())
