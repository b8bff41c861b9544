r"""Language models scale reliably with over-training and on downstream tasks.

For a given compute there is a best number of training tokens for each parameter, and models that many people will use
are trained on far more, because a smaller model is cheaper to run. What this costs can be predicted from small runs:

* with the token multiplier M = D/N held fixed, the loss above its floor is a power of the compute C = 6ND, and the
  exponent is the same for every M: over-training shifts the line and does not tilt it;
* the law, fitted to five small runs of which one is over-trained, predicts the loss of models trained with 300 times
  their compute, one of them 32 times past the usual multiplier of 20;
* a second law, exponential in the loss, predicts the mean error on downstream tasks.

Reproduced here: both laws and their fits on the published losses and errors of the 35 models trained on RedPajama,
and the recipe of five runs on a small language of known entropy, with runs of our own. Not reproduced: the training of
the language models, the models trained on C4 and RefinedWeb, and errors on single tasks.

Gadre, Smyrnis, Shankar, Gururangan, Wortsman, Shao, Mercat, Fang, Li, Keh, Xin, Nezhurina, Vasiljevic, Jitsev,
Dimakis, Ilharco, Song, Kollar, Carmon, Dave, Heckel, Muennighoff & Schmidt, Language Models Scale Reliably with
Over-Training and on Downstream Tasks, 2024, arXiv 2403.08540.
"""

from __future__ import annotations

from overparam.core.chapters import Paper
from overparam.scaling.overtraining.experiment import (
    FULL,
    Config,
    Result,
    claims,
    run,
    train_run,
)
from overparam.scaling.overtraining.laws import (
    ErrorLaw,
    LossLaw,
    exponents_by_multiplier,
    fit_blind_law,
    fit_error_law,
    fit_loss_law,
)
from overparam.scaling.overtraining.plots import (
    plot,
    plot_error,
    plot_own,
)
from overparam.scaling.overtraining.published import (
    error_runs,
    large_runs,
    published_runs,
    small_runs,
)

__all__ = [
    "FULL",
    "LEVEL",
    "PAPER",
    "Config",
    "ErrorLaw",
    "LossLaw",
    "Result",
    "claims",
    "error_runs",
    "exponents_by_multiplier",
    "fit_blind_law",
    "fit_error_law",
    "fit_loss_law",
    "large_runs",
    "plot",
    "plot_error",
    "plot_own",
    "published_runs",
    "run",
    "small_runs",
    "train_run",
]

PAPER = Paper(
    title="Language models scale reliably with over-training and on downstream tasks",
    authors=(
        "Samir Yitzhak Gadre",
        "Georgios Smyrnis",
        "Vaishaal Shankar",
        "Suchin Gururangan",
        "Mitchell Wortsman",
        "Rulin Shao",
        "Jean Mercat",
        "Alex Fang",
        "Jeffrey Li",
        "Sedrick Keh",
        "Rui Xin",
        "Marianna Nezhurina",
        "Igor Vasiljevic",
        "Jenia Jitsev",
        "Alexandros G. Dimakis",
        "Gabriel Ilharco",
        "Shuran Song",
        "Thomas Kollar",
        "Yair Carmon",
        "Achal Dave",
        "Reinhard Heckel",
        "Niklas Muennighoff",
        "Ludwig Schmidt",
    ),
    year=2024,
    venue="arXiv",
    arxiv="2403.08540",
    code="https://github.com/mlfoundations/scaling",
)
LEVEL = "introductory"
