"""Six models write programs for many tasks, tests let some of them pass, and what that shows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import torch
from jaxtyping import Float, Int
from torch import Tensor

from overparam.core import checks, compute
from overparam.core.claims import Claim
from overparam.core.compute import Device
from overparam.core.progress import track
from overparam.scaling.imperfect_verifiers.programs import (
    Tasks,
    draw_tasks,
    execute,
    operations,
    slip_rates,
    tests_passed,
    write_programs,
)
from overparam.scaling.imperfect_verifiers.resampling import (
    DTYPE,
    ceiling,
    false_positive_share,
    optimal_attempts,
    precision_at_attempt,
    resample,
)


@dataclass(frozen=True)
class Config:
    """Reader scale: about a CPU-second. Every number of the experiment is here."""

    tasks: int = 160
    modulus: int = 64  # m, the number of inputs
    min_length: int = 1  # operations of a program
    max_length: int = 5
    tests: int = 24  # inputs on which the verifier looks
    samples: int = 1000  # of each model for each task
    weakness: tuple[float, ...] = (0.02, 0.05, 0.10, 0.17, 0.25, 0.35)  # of the models, strongest first
    slip: float = 0.4  # slip rate of a mastered operation at a weakness of 0.35, in proportion else
    stuck: float = 0.97  # slip rate of an operation that is not mastered
    gross: float = 0.4  # share of slips that mistake the operation; the others move its guard
    cost: float = 2.0  # of a false positive, in units of a correct answer
    seed: int = 0

    def __post_init__(self) -> None:
        checks.integer(0, seed=self.seed)
        checks.integer(8, modulus=self.modulus)
        checks.integer(1, tasks=self.tasks, min_length=self.min_length, max_length=self.max_length)
        checks.integer(1, tests=self.tests, samples=self.samples)
        checks.probability(slip=self.slip, stuck=self.stuck, gross=self.gross)
        checks.non_negative(cost=self.cost)
        for value in self.weakness:
            checks.probability(weakness=value)
        checks.increasing(least=2, weakness=self.weakness)
        if self.min_length > self.max_length:
            raise ValueError(f"min_length must be at most max_length {self.max_length}, got {self.min_length}")
        if self.tests > self.modulus:
            raise ValueError(f"tests must be at most modulus {self.modulus}, got {self.tests}")


FULL = Config(tasks=2000, samples=20_000, max_length=8)


@dataclass(frozen=True)
class Result:
    """What :func:`run` measured: rates of a single sample, one row a model, the strongest first.

    ``correct`` and ``false_positive`` are with the tests of the configuration; ``more_tests`` holds the false
    positives with other numbers of tests, the last of which is all inputs.
    """

    correct: Float[Tensor, "models tasks"]
    false_positive: Float[Tensor, "models tasks"]
    weakness: tuple[float, ...]
    cost: float
    more_tests: dict[int, Float[Tensor, "models tasks"]]


#: Numbers of tests that are compared, with all inputs as the last.
COVERAGES = (1, 2, 4, 8, 16, 32)
#: Programs that are drawn at once, and that a CPU runs at once: few enough for its cache.
BLOCK = 2048
#: Programs that a GPU runs at once: so many that starting a kernel and waiting for it is not what takes the time.
GPU_BLOCK = 2**18


def run(config: Config = Config(), *, device: Device = None, progress: bool = True) -> Result:
    """Let every model write programs for every task, run them on all inputs, and count.

    Parameters
    ----------
    config
        The experiment.
    device
        Where programs run; None picks the best. They are drawn on the CPU.
    progress
        Show a bar.
    """
    where = compute.device(device, dtype=DTYPE)
    of_tasks, of_samples = (compute.generator(seed) for seed in compute.seeds(config.seed, 2))
    table = operations(config.modulus)
    lengths = {"min_length": config.min_length, "max_length": config.max_length}
    tasks = draw_tasks(config.tasks, table, **lengths, generator=of_tasks)
    table, m = table.to(where), config.modulus
    reference, order = execute(tasks.kinds.to(where), tasks.guards.to(where), table), tasks.order.to(where)
    counts = torch.zeros(len(config.weakness), config.tasks, m + 1, dtype=torch.long)
    drawn, ran = tasks_at_once(config.samples, where)
    blocks = list(product(range(len(config.weakness)), range(0, config.tasks, ran)))
    for model, start in track(blocks, progress, "programs"):
        here = slice(start, start + ran)
        block = Tasks._make(part[here] for part in tasks)
        rates = slip_rates(block.difficulty, config.weakness[model], slip=config.slip, stuck=config.stuck)
        kinds, guards = _write(block, rates, config, drawn, of_samples)
        outputs = execute(kinds.to(where), guards.to(where), table)
        passed = tests_passed(outputs, reference[here], order[here])
        counts[model, here] = _histogram(passed, m + 1).cpu()
    # The share of the samples that pass the first n tests, for n = 0..m.
    passing = counts.flip(-1).cumsum(-1).flip(-1).to(DTYPE) / config.samples
    correct = passing[..., m].clone()
    coverages = [*(n for n in COVERAGES if n < m), m]
    return Result(
        correct=correct,
        false_positive=passing[..., config.tests] - correct,
        weakness=config.weakness,
        cost=config.cost,
        more_tests={n: passing[..., n] - correct for n in coverages},
    )


def tasks_at_once(samples: int, device: torch.device) -> tuple[int, int]:
    """For how many tasks programs are drawn at once, the same on every device, and for how many they run at once."""
    drawn = max(1, BLOCK // samples)
    return drawn, drawn if device.type == "cpu" else drawn * max(1, GPU_BLOCK // (drawn * samples))


def _write(
    tasks: Tasks, rates: Tensor, config: Config, at_once: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Programs of one model, drawn for ``at_once`` tasks after the other."""
    parts = zip(*(part.split(at_once) for part in (*tasks, rates)), strict=True)
    written = [
        write_programs(Tasks(*task), rate, config.samples, gross=config.gross, generator=generator)
        for *task, rate in parts
    ]
    kinds, guards = (torch.cat(codes, 1) for codes in zip(*written, strict=True))
    return kinds, guards


def _histogram(values: Int[Tensor, "samples tasks"], bins: int) -> Int[Tensor, "tasks bins"]:
    tasks = values.shape[1]
    codes = values + bins * torch.arange(tasks, device=values.device)
    return torch.bincount(codes.flatten(), minlength=tasks * bins).view(tasks, bins)


# --- What it claims ---------------------------------------------------------------------------------------------


def claims(result: Result) -> list[Claim]:
    """The chapter's six claims, decided on one result."""
    c, f, cost = result.correct, result.false_positive, result.cost
    none = torch.zeros_like(f)
    accuracy = c.mean(1)
    strongest = float(accuracy[0])
    shares = each_model(false_positive_share, c, f)
    correlation = float(torch.corrcoef(torch.stack([accuracy, shares]))[0, 1])
    gap = strongest - float(each_model(ceiling, c[-3:], f[-3:]).max())
    best = float(each_model(lambda c, f: optimal_attempts(c, f, cost=cost), c, f).max())
    patient = float(each_model(lambda c, f: optimal_attempts(c, f, cost=cost), c, none).min())
    perfect = float(each_model(lambda c, f: resample(c, f, 10_000).accuracy, c[-1:], none[-1:])) - strongest
    early = float(each_model(lambda c, f: precision_at_attempt(c, f, 1), c[-1:], f[-1:]))
    late = float(each_model(lambda c, f: precision_at_attempt(c, f, 10), c[-1:], f[-1:]))
    coverages = sorted(result.more_tests)
    by_tests = torch.stack([each_model(false_positive_share, c, result.more_tests[n]) for n in coverages])
    left = float(by_tests[-2].min())
    falling = bool((by_tests[:-1, -1] > by_tests[1:, -1]).all() and (by_tests[-1] == 0).all())
    return [
        Claim(
            "accuracy_vs_false_positives",
            "The weaker the model, the larger the share of wrong answers among those that pass",
            measured=correlation,
            holds=correlation <= -0.9,
            limits=(-math.inf, -0.9),
            bound="Pearson correlation over models at most -0.9",
            source="abstract: strong correlation of accuracy and false positive rate",
        ),
        Claim(
            "ceiling",
            "No number of samples brings a weak model to what a strong one does with one sample",
            measured=gap,
            holds=gap > 0.05,
            limits=(0.05, math.inf),
            bound="strongest minus ceilings of the three weakest above 0.05",
            source="abstract: no amount of inference scaling",
        ),
        Claim(
            "few_attempts",
            "Where a wrong answer is costly, few samples are best",
            measured=best,
            holds=best <= 10 and patient >= 100,
            limits=(-math.inf, 10),
            bound="optimum at most 10 for all models, at least 100 without false positives",
            source="abstract: optimal number of samples often below 10",
        ),
        Claim(
            "perfect_verifier",
            "It is the verifier that limits: with all tests, patience does replace strength",
            measured=perfect,
            holds=perfect > 0,
            limits=(0, math.inf),
            bound="weakest with all tests and 10,000 attempts above the strongest",
            source="abstract: indefinite gains only with a perfect verifier",
        ),
        Claim(
            "precision_falls",
            "What is accepted later is worse",
            measured=early - late,
            holds=early - late > 0.1,
            limits=(0.1, math.inf),
            bound="precision of the weakest falls by more than 0.1 to attempt 10",
            source="model with easy and hard tasks",
        ),
        Claim(
            "more_tests",
            "More tests help, and only all of them suffice",
            measured=left,
            holds=left > 0 and falling,
            limits=(0, math.inf),
            bound="share falls for the weakest, above 0 for all models until all tests, then 0",
            source="unit tests of limited coverage",
        ),
    ]


def each_model(measure: Callable[[Tensor, Tensor], float | Tensor], c: Tensor, f: Tensor) -> Float[Tensor, " models"]:
    """A measure of every model, or NaN where it is refused: no claim holds with a NaN, and none raises."""
    values = []
    for rates in zip(c, f, strict=True):
        try:
            values.append(float(measure(*rates)))
        except ValueError:
            values.append(math.nan)
    return torch.tensor(values, dtype=DTYPE)
