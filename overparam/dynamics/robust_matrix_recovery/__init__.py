r"""Global convergence of the sub-gradient method for robust matrix recovery, with far too many columns.

A low-rank positive semi-definite matrix is measured by Gaussian matrices, and some measurements are garbage of any
size. The factor U has k > r columns, up to a full square, and the loss is the mean absolute residual:

* started small, the sub-gradient method recovers the matrix, to an error that shrinks with a power of the scale of the
  start and depends neither on k nor on the size of the outliers;
* the number of measurements it needs does not depend on k either;
* the truth is not a minimizer of the loss: an over-parameterized factor can fit part of the noise, and one that starts
  large does.

The reason is Sign-RIP: on average the sub-gradient points along the normalized error, whatever the outliers are.

Reproduced here: all of it, on synthetic problems, against the squared loss with oracle early stopping. Not reproduced:
the theorems' constants and their rate, and the variant of the method that divides its steps by the sub-gradient's
norm. The normalization of the start is not checked against the paper word by word.

Ma & Fattahi, Global Convergence of Sub-gradient Method for Robust Matrix Recovery: Small Initialization, Noisy
Measurements, and Over-parameterization, 2022, arXiv 2202.08788.
"""

from __future__ import annotations

from overparam.core.chapters import Paper
from overparam.dynamics.robust_matrix_recovery.experiment import DTYPE, FULL, Config, Result, claims, run
from overparam.dynamics.robust_matrix_recovery.method import (
    Trajectory,
    gaussian_measurements,
    l1_loss,
    low_rank_psd,
    measurement_subgradient,
    outliers,
    sign_rip_deviation,
    sign_rip_scale,
    spectral_init,
    sub_gradient_method,
    subgradient,
)
from overparam.dynamics.robust_matrix_recovery.plots import plot, plot_alpha, plot_noise, plot_samples

PAPER = Paper(
    title="Global Convergence of Sub-gradient Method for Robust Matrix Recovery: "
    "Small Initialization, Noisy Measurements, and Over-parameterization",
    authors=("Jianhao Ma", "Salar Fattahi"),
    year=2022,
    venue="arXiv preprint",
    arxiv="2202.08788",
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
    "Trajectory",
    "claims",
    "gaussian_measurements",
    "l1_loss",
    "low_rank_psd",
    "measurement_subgradient",
    "outliers",
    "plot",
    "plot_alpha",
    "plot_noise",
    "plot_samples",
    "run",
    "sign_rip_deviation",
    "sign_rip_scale",
    "spectral_init",
    "sub_gradient_method",
    "subgradient",
]
