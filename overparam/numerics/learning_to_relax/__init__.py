r"""Learning to relax: a solver's parameter, chosen by a bandit across a sequence of linear systems.

Successive over-relaxation (SOR) solves :math:`Ax = b` with one free parameter, the relaxation factor :math:`\omega`
in (0, 2), on which the number of iterations depends by an order of magnitude. Whoever solves thousands of related
systems can learn it, from the numbers of iterations alone:

* Tsallis-INF, an adversarial bandit on a grid of factors, approaches the best fixed one;
* ChebCB, a contextual bandit whose regression is one Chebyshev series an action, sees the diagonal shift of each system
  and approaches the best factor of *each*, which no fixed one reaches.

The theory needs a cost that is regular in :math:`\omega`; it is a near-asymptotic upper bound on the iteration count.

Reproduced here: both learners and the binned baseline on the paper's two families of systems, the near-asymptotic
bound, and the bound for conjugate gradients with symmetric SOR as preconditioner. Not reproduced: the theorems'
constants, the grid that grows with the horizon, and the heat equation of the authors' later experiments. Four choices
differ from the authors' program: the systems of a run are fixed and its trials redraw the learner's randomness alone;
contexts are rescaled from the support of the shifts, [-0.15, 0.45], where theirs are from [-0.15, 0.65]; the residual
of a box-constrained fit is not subtracted from ChebCB's running error; and bounds are held against the dearest, and
estimates against the mean, of several right-hand sides instead of one.

Khodak, Chow, Balcan & Talwalkar, Learning to Relax: Setting Solver Parameters Across a Sequence of Linear System
Instances, ICLR 2024, arXiv 2310.02246.
"""

from __future__ import annotations

from overparam.core.chapters import Paper
from overparam.numerics.learning_to_relax.bandits import ChebCB, TsallisINF, TsallisINFCB, tsallis_probs
from overparam.numerics.learning_to_relax.conjugate import pcg_bound, ssor_condition_bound, ssor_pcg
from overparam.numerics.learning_to_relax.experiment import (
    FULL,
    Bounds,
    Config,
    Family,
    Learner,
    Result,
    claims,
    late_ratio,
    play,
    run,
)
from overparam.numerics.learning_to_relax.plots import plot, plot_cumulative, plot_pcg, plot_surrogate
from overparam.numerics.learning_to_relax.relaxation import (
    asymptocity,
    jacobi_radius,
    laplacian_square,
    optimal_omega,
    sor,
    sor_costs,
    sor_radius,
    surrogate_cost,
    truncated_normal,
)

PAPER = Paper(
    title="Learning to Relax: Setting Solver Parameters Across a Sequence of Linear System Instances",
    authors=("Mikhail Khodak", "Edmond Chow", "Maria-Florina Balcan", "Ameet Talwalkar"),
    year=2024,
    venue="ICLR 2024",
    arxiv="2310.02246",
    code="https://github.com/mkhodak/learning-to-relax",
)
LEVEL = "intermediate"

__all__ = [
    "FULL",
    "LEVEL",
    "PAPER",
    "Bounds",
    "ChebCB",
    "Config",
    "Family",
    "Learner",
    "Result",
    "TsallisINF",
    "TsallisINFCB",
    "asymptocity",
    "claims",
    "jacobi_radius",
    "laplacian_square",
    "late_ratio",
    "optimal_omega",
    "pcg_bound",
    "play",
    "plot",
    "plot_cumulative",
    "plot_pcg",
    "plot_surrogate",
    "run",
    "sor",
    "sor_costs",
    "sor_radius",
    "ssor_condition_bound",
    "ssor_pcg",
    "surrogate_cost",
    "truncated_normal",
    "tsallis_probs",
]
