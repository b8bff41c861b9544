r"""Does learning require memorization? A short tale about a long tail.

An over-parameterized model fits every training label, outliers and wrong ones included. Under a long tail that is
necessary: much of the sample consists of examples that are the only one of their kind, no learner can tell a mistaken
one from the sole witness of a real subpopulation, and together their kinds come back often.

* A point seen l times among n has the expected frequency :math:`\tau_\ell`, a posterior mean under the prior of
  frequencies; not fitting it costs that much, and the excess error is the sum.
* Under Zipf frequencies :math:`n \tau_1` is of order one and singletons are many: refusing them costs a constant.
  Where no frequency is near 1/n it costs nothing.
* Regularization and differential privacy limit memorization, and the rare subpopulations pay.

Reproduced here: the model, the price of not fitting with equality for a learner without structure, the tail bound, the
privacy bound by group privacy, and noisy labels, all against simulation. The paper has no experiments; the one on
handwritten digits, with k-means clusters as subpopulations, is ours. Not reproduced: the part on mixtures with a
general coupling, of which the digits measure one case, and the lower bounds for particular models. The theorem and the
bounds are in our words and not checked against the paper word by word.

Feldman, Does Learning Require Memorization? A Short Tale about a Long Tail, STOC 2020, arXiv 1906.05271.
"""

from __future__ import annotations

from overparam.core.chapters import Paper
from overparam.generalization.long_tail_memorization.experiment import (
    DTYPE,
    FULL,
    Config,
    Result,
    Subpopulations,
    claims,
    error_by_sightings,
    excess_by_ridge,
    in_bins,
    memorization_by_sightings,
    run,
    subpopulations,
)
from overparam.generalization.long_tail_memorization.frequencies import (
    Simulation,
    dp_misfit,
    expected_counts,
    frequency_marginal,
    price_of_not_fitting,
    simulate,
    tail_weight,
    tau,
    tau1_lower_bound,
    zipf_prior,
)
from overparam.generalization.long_tail_memorization.kernels import (
    gaussian_kernel,
    kernel_ridge_loo,
    memorization_scores,
    one_hot,
)
from overparam.generalization.long_tail_memorization.plots import (
    plot,
    plot_coupling,
    plot_privacy,
    plot_strip,
    plot_tau,
)

PAPER = Paper(
    title="Does Learning Require Memorization? A Short Tale about a Long Tail",
    authors=("Vitaly Feldman",),
    year=2020,
    venue="STOC 2020",
    arxiv="1906.05271",
    code=None,
)
LEVEL = "introductory"

__all__ = [
    "DTYPE",
    "FULL",
    "LEVEL",
    "PAPER",
    "Config",
    "Result",
    "Simulation",
    "Subpopulations",
    "claims",
    "dp_misfit",
    "error_by_sightings",
    "excess_by_ridge",
    "expected_counts",
    "frequency_marginal",
    "gaussian_kernel",
    "in_bins",
    "kernel_ridge_loo",
    "memorization_by_sightings",
    "memorization_scores",
    "one_hot",
    "plot",
    "plot_coupling",
    "plot_privacy",
    "plot_strip",
    "plot_tau",
    "price_of_not_fitting",
    "run",
    "simulate",
    "subpopulations",
    "tail_weight",
    "tau",
    "tau1_lower_bound",
    "zipf_prior",
]
