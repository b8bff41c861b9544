r"""Fantastic generalization measures are nowhere to be found: what no certificate of the loss can do.

A generalization bound is useful if it is close to the population loss. With more parameters than data none is, for all
algorithms and all populations at once, and the chapter builds the two obstacles explicitly:

* a bound that sees the sample and the network errs in one of two worlds that show it the same network and the same
  sample, with a loss of 0 in one and near chance in the other (:func:`twin_worlds`, :func:`twin_failure`);
* a bound that may know the algorithm too fails whenever the algorithm learns some populations and not others: for
  linear functions over a finite field it fails as often as the algorithm succeeds (:func:`linear_failure`).

Where the sample determines the function both obstacles vanish.

Reproduced here: both impossibilities on concrete instances, in exact numbers, and the first on trained networks with
six measures of the kind of Jiang et al. (2020). Not reproduced: the paper's theorems in their generality, which are
about VC classes and about linear functions over finite fields; the constants are those of our instances.

Gastpar, Nachum, Shafer & Weinberger, Fantastic Generalization Measures are Nowhere to be Found, ICLR 2024,
arXiv 2309.13658.
"""

from __future__ import annotations

from overparam.core.chapters import Paper
from overparam.generalization.generalization_bounds.estimability import (
    best_estimator_failure,
    distinct_distribution,
    enumerate_twins,
    twin_failure,
    twin_worlds,
)
from overparam.generalization.generalization_bounds.experiment import (
    FULL,
    Config,
    Result,
    claims,
    parity_losses,
    run,
)
from overparam.generalization.generalization_bounds.fields import (
    field_solve,
    linear_failure,
    linear_success,
    rank_distribution,
)
from overparam.generalization.generalization_bounds.networks import generalization_measures, predict, train_batch
from overparam.generalization.generalization_bounds.plots import plot, plot_worlds

PAPER = Paper(
    title="Fantastic Generalization Measures are Nowhere to be Found",
    authors=("Michael Gastpar", "Ido Nachum", "Jonathan Shafer", "Thomas Weinberger"),
    year=2024,
    venue="ICLR 2024",
    arxiv="2309.13658",
    code=None,
)
LEVEL = "intermediate"


__all__ = [
    "FULL",
    "LEVEL",
    "PAPER",
    "Config",
    "Result",
    "best_estimator_failure",
    "claims",
    "distinct_distribution",
    "enumerate_twins",
    "field_solve",
    "generalization_measures",
    "linear_failure",
    "linear_success",
    "parity_losses",
    "plot",
    "plot_worlds",
    "predict",
    "rank_distribution",
    "run",
    "train_batch",
    "twin_failure",
    "twin_worlds",
]
