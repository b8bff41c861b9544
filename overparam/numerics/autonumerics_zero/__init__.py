r"""AutoNumerics-Zero: programs for 2^x whose form and constants are found by evolution.

How precise can :math:`2^x` be on [0, 1] with n additions, subtractions, multiplications and divisions? Textbooks fix a
family first (polynomials, rationals) and then its constants. Evolution chooses the form too, without being told any
mathematics, under two objectives at once: few operations and a small error. Programs that use a result twice, such as a
continued fraction that is squared and squared again, are orders of magnitude more precise than the best polynomials and
rationals of as many operations.

Reproduced here: the search over straight-line programs with NSGA-II, one representative for all programs of the same
structure, the comparison over the reals with minimax polynomials and rationals, random search as a control, and the end
of what float32 can use. Not reproduced: the speed of compiled float32 code, which depends on the compiler; functions
other than the exponential (an exercise evolves the cosine); thousands of workers. The constants of a program are fitted
by least squares and exchange instead of CMA-ES, and programs are compared by structure instead of by their values.

Real et al., AutoNumerics-Zero: Automated Discovery of State-of-the-Art Mathematical Functions, ICML 2026, arXiv
2312.08472.
"""

from __future__ import annotations

from overparam.core.chapters import Paper
from overparam.numerics.autonumerics_zero.experiment import (
    FULL,
    Config,
    Result,
    claims,
    classical_gains,
    run,
    selection_gains,
)
from overparam.numerics.autonumerics_zero.fitting import (
    baselines,
    fit_constants,
    fit_polynomial,
    max_error,
    ulp_error,
)
from overparam.numerics.autonumerics_zero.plots import plot, plot_error, plot_float32, plot_history
from overparam.numerics.autonumerics_zero.programs import (
    Program,
    canonical,
    evaluate,
    evaluate_jac,
    horner,
    rational,
    signature,
    to_string,
)
from overparam.numerics.autonumerics_zero.search import (
    Evolution,
    crowding_distance,
    evolve,
    mutate,
    nondominated_sort,
    random_program,
    random_search,
)

PAPER = Paper(
    title="AutoNumerics-Zero: Automated Discovery of State-of-the-Art Mathematical Functions",
    authors=(
        "Esteban Real",
        "Mirko Rossini",
        "Connal de Souza",
        "Manav Garg",
        "Moritz Firsching",
        "Quoc V. Le",
        "Yao Chen",
        "Akhil Verghese",
        "Ekin Dogus Cubuk",
        "David H. Park",
    ),
    year=2026,
    venue="ICML 2026",
    arxiv="2312.08472",
    code="https://github.com/google-deepmind/autonumerics_zero",
)
LEVEL = "intermediate"

__all__ = [
    "FULL",
    "LEVEL",
    "PAPER",
    "Config",
    "Evolution",
    "Program",
    "Result",
    "baselines",
    "canonical",
    "claims",
    "classical_gains",
    "crowding_distance",
    "evaluate",
    "evaluate_jac",
    "evolve",
    "fit_constants",
    "fit_polynomial",
    "horner",
    "max_error",
    "mutate",
    "nondominated_sort",
    "plot",
    "plot_error",
    "plot_float32",
    "plot_history",
    "random_program",
    "random_search",
    "rational",
    "run",
    "selection_gains",
    "signature",
    "to_string",
    "ulp_error",
]
