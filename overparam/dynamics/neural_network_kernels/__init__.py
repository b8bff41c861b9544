r"""Scalable neural network kernels.

A layer x -> f(Wx + b) has its input and its parameters entangled inside f. Random features take them apart, as a dot
product of a map of x and a map of (W, b):

* universal random features do so without bias for every f with a Fourier transform;
* ReLU features on both sides give the arc-cosine kernel, which is no function of w . x, so no layer at all;
* once the parameters enter linearly, the next matrix can be multiplied into them (bundling): a network becomes one
  readout of random features, whose optimum for squared error has a closed form;
* the number of trained parameters is then outputs times features. The width has become a number of samples.

Reproduced here: the estimators and their variance, bundling of a trained network on handwritten digits, and its optimum
in closed form beside a backpropagated network. Not reproduced: the paper's adapters in BERT and ViT. The official
layer differs from the estimator in three places, which the chapter names.

Sehanobish, Choromanski, Zhao, Dubey & Likhosherstov, Scalable Neural Network Kernels, ICLR 2024, arXiv 2310.13225.
"""

from __future__ import annotations

from overparam.core.chapters import Paper
from overparam.dynamics.neural_network_kernels.experiment import (
    DTYPE,
    FULL,
    Config,
    Result,
    claims,
    closed_form_readout,
    run,
    train_sine_network,
    unit_digits,
)
from overparam.dynamics.neural_network_kernels.features import (
    ACTIVATIONS,
    SPLITS,
    URF,
    arc_cosine_kernel,
    draw_frequencies,
    draw_projections,
    estimate,
    real_features,
    real_weights,
    relu_features,
    universal_features,
)
from overparam.dynamics.neural_network_kernels.layers import SNNKLayer, bundle, ridge_readout
from overparam.dynamics.neural_network_kernels.plots import plot, plot_estimates, plot_kernel

PAPER = Paper(
    title="Scalable Neural Network Kernels",
    authors=(
        "Arijit Sehanobish",
        "Krzysztof Choromanski",
        "Yunfan Zhao",
        "Avinava Dubey",
        "Valerii Likhosherstov",
    ),
    year=2024,
    venue="ICLR 2024",
    arxiv="2310.13225",
    code="https://github.com/arijitthegame/neural-network-kernels",
)
LEVEL = "intermediate"

__all__ = [
    "ACTIVATIONS",
    "DTYPE",
    "FULL",
    "LEVEL",
    "PAPER",
    "SPLITS",
    "URF",
    "Config",
    "Result",
    "SNNKLayer",
    "arc_cosine_kernel",
    "bundle",
    "claims",
    "closed_form_readout",
    "draw_frequencies",
    "draw_projections",
    "estimate",
    "plot",
    "plot_estimates",
    "plot_kernel",
    "real_features",
    "real_weights",
    "relu_features",
    "ridge_readout",
    "run",
    "train_sine_network",
    "unit_digits",
    "universal_features",
]
