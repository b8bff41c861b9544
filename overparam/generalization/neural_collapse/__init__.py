r"""Perturbation analysis of neural collapse: how near to collapse a layer comes that may not move its features freely.

Past zero training error the last features of a classifier collapse to their class means, and the means to a symmetric
frame. The usual explanation lets the features be free, and then the collapse is exact. Here they are tied to given
features, those of an earlier layer, and the tie decides how much of the collapse is seen:

* along the gradient flow of the free features, classes tighten and separate from any start;
* near collapse the minimiser is a linear map of the perturbation, diagonal in five blocks;
* of the two weight decays, that of the features drives the collapse and that of the last layer hardly counts.

Reproduced here: the flow, the linear map and its five factors, the effect of the two decays in the model and in ReLU
networks on digits, layer by layer. The block form of the map is this book's evaluation of the paper's operator. Not
reproduced: the paper's proofs, and its experiments on ResNets, whose numbers are not compared.

Tirer, Huang & Niles-Weed, Perturbation Analysis of Neural Collapse, ICML 2023, arXiv 2210.16658.
"""

from __future__ import annotations

from overparam.core.chapters import Paper
from overparam.generalization.neural_collapse.experiment import (
    DTYPE,
    FULL,
    Config,
    Flow,
    NearCollapse,
    Result,
    claims,
    compensated,
    draw_perturbation,
    follow_flows,
    load_images,
    mean_nc1,
    measure_near_collapse,
    predicted_ratio,
    random_features,
    run,
    sweep_decays,
    violations,
)
from overparam.generalization.neural_collapse.metrics import (
    FRAMES,
    class_means,
    covariances,
    nc1,
    nc1_trace,
    nc2,
    nc3,
    one_hot_targets,
)
from overparam.generalization.neural_collapse.model import (
    central_path_flow,
    collapsed_minimizer,
    first_order_map,
    objective,
    optimal_classifier,
    optimal_features,
    perturbation_blocks,
    shrink_factors,
    solve_near,
)
from overparam.generalization.neural_collapse.networks import trace_ratio, train_nets
from overparam.generalization.neural_collapse.plots import plot, plot_factors, plot_flow, plot_sweep

PAPER = Paper(
    title="Perturbation Analysis of Neural Collapse",
    authors=("Tom Tirer", "Haoxiang Huang", "Jonathan Niles-Weed"),
    year=2023,
    venue="ICML 2023",
    arxiv="2210.16658",
    code=None,
)
LEVEL = "intermediate"

__all__ = [
    "DTYPE",
    "FRAMES",
    "FULL",
    "LEVEL",
    "PAPER",
    "Config",
    "Flow",
    "NearCollapse",
    "Result",
    "central_path_flow",
    "claims",
    "class_means",
    "collapsed_minimizer",
    "compensated",
    "covariances",
    "draw_perturbation",
    "first_order_map",
    "follow_flows",
    "load_images",
    "mean_nc1",
    "measure_near_collapse",
    "nc1",
    "nc1_trace",
    "nc2",
    "nc3",
    "objective",
    "one_hot_targets",
    "optimal_classifier",
    "optimal_features",
    "perturbation_blocks",
    "plot",
    "plot_factors",
    "plot_flow",
    "plot_sweep",
    "predicted_ratio",
    "random_features",
    "run",
    "shrink_factors",
    "solve_near",
    "sweep_decays",
    "trace_ratio",
    "train_nets",
    "violations",
]
