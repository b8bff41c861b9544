"""Evolution on 2^x, the same fits without selection, the classical families, and what they show."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from overparam.core import checks, compute
from overparam.core.claims import Claim
from overparam.core.compute import Device
from overparam.numerics.autonumerics_zero.fitting import (
    Fitted,
    Interval,
    Named,
    baselines,
    check_interval,
    fit_polynomial,
    ulp_error,
)
from overparam.numerics.autonumerics_zero.programs import horner
from overparam.numerics.autonumerics_zero.search import CLAMP, Evolution, evolve, random_search


@dataclass(frozen=True)
class Config:
    """Reader scale: about 15 CPU-seconds. Every number of the experiment is here."""

    seed: int = 0
    interval: tuple[float, float] = (0.0, 1.0)  # on which 2^x is approximated
    population: int = 60  # programs that survive a generation
    children: int = 60  # new structures fitted in a generation
    generations: int = 45
    max_ops: int = 8  # operations of the largest program
    random_evaluations: int = 1500  # structures fitted by random search
    float_degrees: tuple[int, ...] = (3, 4, 5, 6, 7, 8)  # of the polynomials that run in float32

    def __post_init__(self) -> None:
        checks.integer(0, seed=self.seed)
        checks.integer(4, population=self.population)
        checks.integer(1, children=self.children, generations=self.generations, max_ops=self.max_ops)
        checks.integer(1, random_evaluations=self.random_evaluations)
        check_interval(self.interval)
        for degree in self.float_degrees:
            checks.integer(1, float_degrees=degree)
        checks.increasing(float_degrees=self.float_degrees)


FULL = Config(population=200, children=200, generations=2000, max_ops=12, random_evaluations=20_000)


@dataclass(frozen=True)
class Result:
    """What :func:`run` measured.

    ``evolution`` is the search, ``random`` the best error of random search with at most n operations, ``baselines`` the
    minimax polynomials and rationals (name, program, constants, error). ``real`` is the largest relative error of the
    minimax polynomials of the degrees of the configuration, ``ulps`` their error in float32 in units in the last place;
    ``evolved_ulps`` is the same for the evolved program of each number of operations.
    """

    config: Config
    evolution: Evolution
    random: dict[int, float]
    baselines: tuple[Named, ...]
    real: Float[np.ndarray, " degrees"]
    ulps: Float[np.ndarray, " degrees"]
    evolved_ulps: dict[int, float]

    def classical(self, n: int) -> float:
        """The least error of a polynomial or a rational of at most n operations."""
        return min((error for _, p, _, error in self.baselines if p.ops <= n), default=math.inf)


def run(config: Config = Config(), *, device: Device = None, progress: bool = True) -> Result:
    """Evolve, search at random with the same fit, and fit the classical families.

    Parameters
    ----------
    config
        The experiment.
    device
        For the protocol: all is numpy on the CPU. A device that is not there is refused.
    progress
        Show a bar.
    """
    compute.device(device)
    where: Interval = config.interval
    evolution = evolve(
        np.exp2,
        interval=where,
        population=config.population,
        children=config.children,
        generations=config.generations,
        max_ops=config.max_ops,
        seed=config.seed,
        progress=progress,
    )
    control = random_search(
        np.exp2,
        interval=where,
        evaluations=config.random_evaluations,
        max_ops=config.max_ops,
        seed=config.seed,
        progress=progress,
    )
    polynomials: list[Fitted] = [(horner(d), *fit_polynomial(d, np.exp2, where)) for d in config.float_degrees]
    return Result(
        config=config,
        evolution=evolution,
        random=control,
        baselines=tuple(baselines(np.exp2, where, config.max_ops)),
        real=np.array([error for _, _, error in polynomials]),
        ulps=np.array([ulp_error(p, c, np.exp2, where) for p, c, _ in polynomials]),
        evolved_ulps={n: ulp_error(p, c, np.exp2, where) for n, (p, c, _) in evolution.front.items()},
    )


# --- What it claims ---------------------------------------------------------------------------------------------


def claims(result: Result) -> list[Claim]:
    """The chapter's four claims, decided on one result."""
    gains = classical_gains(result)
    largest = 10 ** max((gain for n, gain in gains.items() if n > 4), default=math.nan)
    typical = 10 ** _mean(gains.values())
    selection = _mean(selection_gains(result).values())
    saturation, real_gain = _saturation(result)
    return [
        Claim(
            "orders_of_magnitude_better",
            "Evolved programs are far more precise than minimax polynomials and rationals of as many operations",
            measured=largest,
            holds=largest >= 10,
            limits=(10, math.inf),
            bound="largest ratio of errors at 5 to 8 operations at least 10",
            source="precision against operations over the reals; 6 orders of magnitude at 10 operations",
        ),
        Claim(
            "better_across_op_counts",
            "The gain is not that of a single size",
            measured=typical,
            holds=typical >= 2.5,
            limits=(2.5, math.inf),
            bound="geometric mean of the ratio over 4 to 8 operations at least 2.5",
            source="precision against operations over the reals",
        ),
        Claim(
            "evolution_beats_random_search",
            "With as many structures fitted in the same way, selection finds better programs than chance",
            measured=selection,
            holds=selection >= 0.5,
            limits=(0.5, math.inf),
            bound="mean of log10(random/evolved) over 4 to 8 operations at least 0.5",
            source="evolution as the method of search",
        ),
        Claim(
            "float32_saturates",
            "In float32 two more degrees do not help, though over the reals they do",
            measured=saturation,
            holds=saturation >= 0.5 and real_gain > 100,
            limits=(0.5, math.inf),
            bound="ULP error at degree 8 at least 0.5 of that at 6, real error over 100 times smaller",
            source="limited precision: accuracy beyond the type's is discarded",
        ),
    ]


def classical_gains(result: Result) -> dict[int, float]:
    """Orders of magnitude between evolution and the classical families with at most n operations, n from 4 to 8."""
    last = result.evolution.history[-1]
    return {n: _log10(result.classical(n)) - _log10(last[n]) for n in _sizes(result)}


def selection_gains(result: Result) -> dict[int, float]:
    """The same against random search, in the generation in which evolution had fitted as many structures."""
    counts, wanted = result.evolution.counts, result.config.random_evaluations
    generation = next((i for i, count in enumerate(counts) if count >= wanted), len(counts) - 1)
    then = result.evolution.history[generation]
    return {n: _log10(result.random[n]) - _log10(then[n]) for n in _sizes(result)}


def _sizes(result: Result) -> range:
    return range(4, min(8, result.config.max_ops) + 1)


def _log10(error: float) -> float:
    return math.log10(min(max(error, CLAMP[0]), CLAMP[1]))


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return math.fsum(listed) / len(listed) if listed else math.nan


def _saturation(result: Result) -> tuple[float, float]:
    """Degree 8 over degree 6 in float32, and degree 6 over degree 8 over the reals; NaN without the two."""
    degrees = result.config.float_degrees
    if not {6, 8} <= set(degrees):
        return math.nan, math.nan
    six, eight = degrees.index(6), degrees.index(8)
    return float(result.ulps[eight] / result.ulps[six]), float(result.real[six] / result.real[eight])
