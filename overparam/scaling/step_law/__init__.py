r"""Predictable Scale: Part I -- Optimal Hyperparameter Scaling Law in Large Language Model Pretraining.

The learning rate and the batch size of a training run are parameters too, and a grid search is how they are trained.
For language models the loss over (log learning rate, log batch) is a wide bowl, and its bottom moves as a power law

.. math:: \eta^\ast = 1.79\, N^{-0.713} D^{0.307}, \qquad B^\ast = 0.58\, D^{0.571}

in the parameters N and the tokens D. Five constants then replace every further search:

* each bowl is convex, with a flat bottom on which the single best run is mostly chance;
* so the law is fitted to *all* runs near the best of their own (N, D), by least squares on logarithms;
* what it predicts for a larger model is as good as a grid search there.

Reproduced here: the authors' fit and its bootstrap, the bowl, and its transfer, on 450 small students of a language of
known entropy; and the published law on quadratic fits to 17 of the released sweeps, of which we hand on the numbers
alone. Not reproduced: the 3,700 language models, mixtures of experts and the data recipes. At our scale the best
learning rate falls a little with D, where the paper's rises.

Li, Zheng, Hu, Wang, Zhang, Wang, Xu, Zhou, Zhang & Jiang, Predictable Scale: Part I, 2025, arXiv 2503.04715.
"""

from __future__ import annotations

from overparam.core.chapters import Paper
from overparam.scaling.step_law.experiment import (
    FULL,
    Config,
    Result,
    claims,
    run,
)
from overparam.scaling.step_law.landscapes import (
    Landscape,
    fit_landscape,
    published_landscapes,
    published_regrets,
)
from overparam.scaling.step_law.laws import (
    STEP_LAW,
    HyperLaw,
    Law,
    bootstrap_hyper_law,
    deepseek_law,
    fit_hyper_law,
    near_optimal,
)
from overparam.scaling.step_law.plots import (
    plot,
    plot_held_out,
    plot_laws,
)

__all__ = [
    "FULL",
    "LEVEL",
    "PAPER",
    "STEP_LAW",
    "Config",
    "HyperLaw",
    "Landscape",
    "Law",
    "Result",
    "bootstrap_hyper_law",
    "claims",
    "deepseek_law",
    "fit_hyper_law",
    "fit_landscape",
    "near_optimal",
    "plot",
    "plot_held_out",
    "plot_laws",
    "published_landscapes",
    "published_regrets",
    "run",
]

PAPER = Paper(
    title="Predictable Scale: Part I -- Optimal Hyperparameter Scaling Law in Large Language Model Pretraining",
    authors=(
        "Houyi Li",
        "Wenzheng Zheng",
        "Jingcheng Hu",
        "Qiufeng Wang",
        "Hanshan Zhang",
        "Zili Wang",
        "Yangshijie Xu",
        "Shuigeng Zhou",
        "Xiangyu Zhang",
        "Daxin Jiang",
    ),
    year=2025,
    venue="arXiv",
    arxiv="2503.04715",
    code="https://github.com/step-law/steplaw",
)
LEVEL = "introductory"
