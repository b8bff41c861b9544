r"""More is better: when infinite overparameterization is optimal and overfitting is obligatory.

Regression on k random features of n samples is a two-layer network whose first layer stays as it was drawn. From the
spectrum of the task alone a closed formula gives its test risk, and from the formula follows:

* with the ridge tuned, another feature or another sample never hurts, so that infinite width is best; the peak of
  double descent belongs to an untuned ridge;
* for powerlaw spectra the best ridge leaves the training error far below the test error, at a ratio that a scalar
  equation gives;
* images with a neural kernel are such a task.

Reproduced here: the formula against simulations, with Gaussian features and with ReLU features on digits; the
monotone grid; the ratio at n = 1000 against its limit; and the fitting curve of digits. Not reproduced: the
convolutional kernels of the paper's image tasks, which :func:`fitting_curve` takes as matrices, and the proofs.
The formula itself rests on Gaussian universality and is exact only for large n and k; both are measured here.

Simon, Karkada, Ghosh & Belkin, More is Better in Modern Machine Learning: when Infinite Overparameterization is
Optimal and Overfitting is Obligatory, ICLR 2024, arXiv 2311.14646.
"""

from __future__ import annotations

from overparam.core.chapters import Paper
from overparam.generalization.more_is_better.experiment import (
    DTYPE,
    FULL,
    Comparison,
    Config,
    Result,
    claims,
    fitting_curve,
    image_population,
    mean_gap,
    measured_exponents,
    run,
)
from overparam.generalization.more_is_better.plots import plot, plot_fitting, plot_grid, plot_images
from overparam.generalization.more_is_better.regression import (
    arccos_kernel,
    gaussian_features,
    kernel_eigenstructure,
    kernel_regression,
    relu_features,
    rf_regression,
)
from overparam.generalization.more_is_better.theory import (
    Risk,
    krr_risk,
    optimal_fitting_ratio,
    optimal_ridge,
    powerlaw_risk,
    powerlaw_task,
    rf_risk,
    solve_implicit,
)

PAPER = Paper(
    title="More is Better in Modern Machine Learning: when Infinite Overparameterization is Optimal "
    "and Overfitting is Obligatory",
    authors=("James B. Simon", "Dhruva Karkada", "Nikhil Ghosh", "Mikhail Belkin"),
    year=2024,
    venue="ICLR 2024",
    arxiv="2311.14646",
    code="https://github.com/dkarkada/more-is-better",
)
LEVEL = "intermediate"

__all__ = [
    "DTYPE",
    "FULL",
    "LEVEL",
    "PAPER",
    "Comparison",
    "Config",
    "Result",
    "Risk",
    "arccos_kernel",
    "claims",
    "fitting_curve",
    "gaussian_features",
    "image_population",
    "kernel_eigenstructure",
    "kernel_regression",
    "krr_risk",
    "mean_gap",
    "measured_exponents",
    "optimal_fitting_ratio",
    "optimal_ridge",
    "plot",
    "plot_fitting",
    "plot_grid",
    "plot_images",
    "powerlaw_risk",
    "powerlaw_task",
    "relu_features",
    "rf_regression",
    "rf_risk",
    "run",
    "solve_implicit",
]
