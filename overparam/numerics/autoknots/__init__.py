r"""AutoKnots: a spline table whose only parameter is the tolerance.

A table has as many parameters as knots, and how many there are and where they stand is usually tuned by hand. AutoKnots
halves intervals until the spline predicts both the next value of the function and the interval's integral. Every
evaluation becomes a knot, and the number of knots follows the fourth-order law
:math:`n \sim \delta^{-1/4}` in the tolerance :math:`\delta`, with a factor that is the function's own.

A midpoint can agree by accident, on a plateau or where a bump is symmetric, and the interval is closed too early. A
refinement pass opens unusually wide intervals again and repairs most of it.

Reproduced here: the method with all three variables and the refinement, the tests on random functions, and the
application to projected halos with their mean within a radius, against closed forms. Not reproduced: the paper's
tables, its own distributions of the random functions, and its comparison of computing times. One choice differs from
the authors' program: refinement takes the widths of the settled mesh in the chosen variable, where theirs is for linear
knots and takes those of the mesh before the last round.

Vitenti, de Simoni, Penna-Lima & Barroso, AutoKnots: Adaptive Knot Allocation for Spline Interpolation, Astronomy and
Computing 2025, arXiv 2412.13423.
"""

from __future__ import annotations

from overparam.core.chapters import Paper
from overparam.numerics.autoknots.experiment import (
    FULL,
    Config,
    Halo,
    Result,
    bump,
    claims,
    random_function,
    run,
    wave,
)
from overparam.numerics.autoknots.halos import (
    mean_projection,
    mean_sigma_hernquist,
    mean_sigma_nfw,
    project,
    rho_hernquist,
    rho_nfw,
    sigma_hernquist,
    sigma_nfw,
)
from overparam.numerics.autoknots.plots import plot, plot_cost, plot_rounds
from overparam.numerics.autoknots.splines import (
    Knots,
    autoknots,
    not_a_knot_slopes,
    parabola_integral,
    uniform_knots_needed,
)

PAPER = Paper(
    title="AutoKnots: Adaptive Knot Allocation for Spline Interpolation",
    authors=("Sandro D. P. Vitenti", "Fernando de Simoni", "Mariana Penna-Lima", "Eduardo J. Barroso"),
    year=2025,
    venue="Astronomy and Computing 2025",
    arxiv="2412.13423",
    code="https://github.com/NumCosmo/NumCosmo",
)
LEVEL = "introductory"

__all__ = [
    "FULL",
    "LEVEL",
    "PAPER",
    "Config",
    "Halo",
    "Knots",
    "Result",
    "autoknots",
    "bump",
    "claims",
    "mean_projection",
    "mean_sigma_hernquist",
    "mean_sigma_nfw",
    "not_a_knot_slopes",
    "parabola_integral",
    "plot",
    "plot_cost",
    "plot_rounds",
    "project",
    "random_function",
    "rho_hernquist",
    "rho_nfw",
    "run",
    "sigma_hernquist",
    "sigma_nfw",
    "uniform_knots_needed",
    "wave",
]
