r"""Measuring the intrinsic dimension of objective landscapes: how many parameters a problem needs, whoever solves it.

A network of D parameters trains only inside a random subspace of d dimensions through its start,
:math:`\theta = \theta_0 + P v`, and d grows until solutions appear. That d, the intrinsic dimension, is

* far below D;
* nearly the same for a narrow and a wide network: what widening adds are dimensions of the set of solutions;
* a measure of difficulty, of a problem's labels for example, and a bound on what it takes to write a solution down.

Reproduced here: the toy problem, exactly; digits with fully connected networks of four widths, with dense, sparse and
Fastfood projections, and with shuffled labels. All dimensions train at once in nested subspaces, where the authors'
code trains one at a time in its own. Not reproduced: convolutional networks, other depths, CIFAR-10, ImageNet,
reinforcement learning, and regularization.

Li, Farkhoor, Liu & Yosinski, Measuring the Intrinsic Dimension of Objective Landscapes, ICLR 2018, arXiv 1804.08838.
"""

from __future__ import annotations

from overparam.core.chapters import Paper
from overparam.generalization.intrinsic_dimension.experiment import FULL, Config, Result, claims, load_data, run
from overparam.generalization.intrinsic_dimension.measure import intrinsic_dimension, toy_best_loss, toy_problem
from overparam.generalization.intrinsic_dimension.networks import (
    accuracy,
    init_flat,
    mlp_forward,
    parameter_count,
    train_direct,
    train_subspace,
)
from overparam.generalization.intrinsic_dimension.plots import plot, plot_compression, plot_memory, plot_toy
from overparam.generalization.intrinsic_dimension.projections import (
    KINDS,
    DenseProjection,
    FastfoodProjection,
    Projection,
    SparseProjection,
    fast_walsh_hadamard,
    project,
)

PAPER = Paper(
    title="Measuring the Intrinsic Dimension of Objective Landscapes",
    authors=("Chunyuan Li", "Heerad Farkhoor", "Rosanne Liu", "Jason Yosinski"),
    year=2018,
    venue="ICLR 2018",
    arxiv="1804.08838",
    code="https://github.com/uber-research/intrinsic-dimension",
)
LEVEL = "introductory"

__all__ = [
    "FULL",
    "KINDS",
    "LEVEL",
    "PAPER",
    "Config",
    "DenseProjection",
    "FastfoodProjection",
    "Projection",
    "Result",
    "SparseProjection",
    "accuracy",
    "claims",
    "fast_walsh_hadamard",
    "init_flat",
    "intrinsic_dimension",
    "load_data",
    "mlp_forward",
    "parameter_count",
    "plot",
    "plot_compression",
    "plot_memory",
    "plot_toy",
    "project",
    "run",
    "toy_best_loss",
    "toy_problem",
    "train_direct",
    "train_subspace",
]
