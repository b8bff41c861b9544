r"""Performance scaling via optimal transport: choosing data sources of which only samples are shown.

Three sellers show a pilot each; in which proportions p should one buy N examples? The framework splits the question:

* at one size, performance is nearly linear in the optimal-transport distance between mixture and validation set, so
  that a few coefficients, fitted on a few mixtures, predict others;
* two sizes are extrapolated to a third along a straight line in log N, with nothing to fit;
* the dual potentials of the transport problem are its gradient in p, so the best mixture is found by descent.

Reproduced here: all three, and the regressions without a distance that they are compared with, on handwritten digits,
with the paper's CIFAR-10 setting as :data:`FULL`. Different from the official code: exact transport instead of a
Sinkhorn divergence, mixtures as weights instead of resampled sets, and extrapolation of the log error instead of the
accuracy. Not reproduced: the language tasks, the quadratic regressions with mixed terms, and the selection baselines
other than the uniform mixture.

Transport, regressions and selection are numpy in float64; the trainings follow ``device``.

Kang, Just, Sahu & Jia, Performance Scaling via Optimal Transport: Enabling Data Selection from Partially Revealed
Sources, NeurIPS 2023, arXiv 2307.02460.
"""

from __future__ import annotations

from overparam.core.chapters import Paper
from overparam.core.fits import rank_correlation
from overparam.imperfect_data.projektor.experiment import (
    DTYPE,
    PROBE,
    Result,
    central_differences,
    claims,
    predict_unseen,
    run,
    unseen_errors,
)
from overparam.imperfect_data.projektor.networks import PreActResNet18, train_mlps, train_resnet
from overparam.imperfect_data.projektor.plots import plot, plot_lines, plot_unseen
from overparam.imperfect_data.projektor.projection import (
    FORMS,
    PerformanceModel,
    allocate,
    extrapolate,
    project_simplex,
    select_mixture,
)
from overparam.imperfect_data.projektor.sources import (
    FULL,
    SOURCES,
    Config,
    Market,
    compose,
    log_error,
    market,
    measure,
    mixtures,
    pilot_costs,
    pilot_features,
    purchases,
    stream,
)
from overparam.imperfect_data.projektor.transport import hybrid_cost, label_distances, mixture_ot, ot_gradient

PAPER = Paper(
    title="Performance Scaling via Optimal Transport: Enabling Data Selection from Partially Revealed Sources",
    authors=("Feiyang Kang", "Hoang Anh Just", "Anit Kumar Sahu", "Ruoxi Jia"),
    year=2023,
    venue="NeurIPS 2023",
    arxiv="2307.02460",
    code="https://github.com/ruoxi-jia-group/projektor",
)
LEVEL = "introductory"

__all__ = [
    "DTYPE",
    "FORMS",
    "FULL",
    "LEVEL",
    "PAPER",
    "PROBE",
    "SOURCES",
    "Config",
    "Market",
    "PerformanceModel",
    "PreActResNet18",
    "Result",
    "allocate",
    "central_differences",
    "claims",
    "compose",
    "extrapolate",
    "hybrid_cost",
    "label_distances",
    "log_error",
    "market",
    "measure",
    "mixture_ot",
    "mixtures",
    "ot_gradient",
    "pilot_costs",
    "pilot_features",
    "plot",
    "plot_lines",
    "plot_unseen",
    "predict_unseen",
    "project_simplex",
    "purchases",
    "rank_correlation",
    "run",
    "select_mixture",
    "stream",
    "train_mlps",
    "train_resnet",
    "unseen_errors",
]
