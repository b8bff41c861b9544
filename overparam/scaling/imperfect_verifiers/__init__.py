r"""Inference Scaling fLaws: the limits of LLM resampling with imperfect verifiers.

Draw solutions until one passes the tests, and a weak model seems to need nothing but patience. Some wrong solutions
pass too, and no number of samples removes them:

* the accuracy of resampling converges to a ceiling, the mean over problems of :math:`c / (c + f)`, where c and f are
  the probabilities that a single sample is correct and that it is wrong and passes;
* weaker models have a higher share of such false positives, so that their ceilings can lie below what a strong model
  does with one sample;
* where a wrong answer costs more than none, the best number of samples is small, and sometimes zero.

Reproduced here: the three findings in a world of small programs, where a model slips on operations that it has not
mastered and unit tests are a few of all inputs; the formulas hold for any c and f. Not reproduced: the language models
and HumanEval, MBPP with their extended tests, whose place the world takes; the code quality of false positives.

Stroebl, Kapoor & Narayanan, Inference Scaling fLaws: The Limits of LLM Resampling with Imperfect Verifiers, 2024,
arXiv 2411.17501.
"""

from __future__ import annotations

from overparam.core.chapters import Paper
from overparam.scaling.imperfect_verifiers.experiment import (
    FULL,
    Config,
    Result,
    claims,
    run,
)
from overparam.scaling.imperfect_verifiers.plots import (
    plot,
    plot_precision,
    plot_share,
    plot_tests,
    plot_utility,
)
from overparam.scaling.imperfect_verifiers.programs import (
    KINDS,
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
    Outcome,
    ceiling,
    false_positive_share,
    optimal_attempts,
    precision_at_attempt,
    resample,
    utility,
)

__all__ = [
    "DTYPE",
    "FULL",
    "KINDS",
    "LEVEL",
    "PAPER",
    "Config",
    "Outcome",
    "Result",
    "Tasks",
    "ceiling",
    "claims",
    "draw_tasks",
    "execute",
    "false_positive_share",
    "operations",
    "optimal_attempts",
    "plot",
    "plot_precision",
    "plot_share",
    "plot_tests",
    "plot_utility",
    "precision_at_attempt",
    "resample",
    "run",
    "slip_rates",
    "tests_passed",
    "utility",
    "write_programs",
]

PAPER = Paper(
    title="Inference Scaling fLaws: The Limits of LLM Resampling with Imperfect Verifiers",
    authors=("Benedikt Stroebl", "Sayash Kapoor", "Arvind Narayanan"),
    year=2024,
    venue="arXiv",
    arxiv="2411.17501",
    code="https://github.com/benediktstroebl/inference-scaling-limits",
)
LEVEL = "introductory"
