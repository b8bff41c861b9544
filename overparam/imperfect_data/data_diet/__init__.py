r"""Deep learning on a data diet: finding important examples early in training.

A network with more parameters than examples fits all of them, so that its final loss does not tell which it needed.
Two scores from the first epochs, averaged over several initializations, do:

* GraNd, the norm of an example's loss gradient over all parameters;
* EL2N, the norm of its error vector, softmax output minus one-hot label, which ranks nearly as GraNd does.

Training on the half with the largest scores, for as many steps as on everything, loses nothing. Wrong labels have
the largest scores of all, so with label noise the top is skipped.

Reproduced here: both scores, the forgetting scores that they are compared with, pruning, the noisy window and the
transfer to another architecture, on handwritten digits, and the paper's CIFAR-10 setting as :data:`FULL`. Corrected:
the paper's result for GraNd *at initialization*, which Kirsch (2023) traces to a bug in a library, and is
measured here as what it is. Not reproduced: CIFAR-100, CINIC-10 and ResNet-50 (the scores of another architecture
are those of an MLP), and the paper's study of loss surfaces and of the kernel's evolution. The official code permutes
the labels that it corrupts among themselves, ours move to another class for certain; it crops a whole batch at one
place, we crop every image at its own.

Paul, Ganguli & Dziugaite, Deep Learning on a Data Diet: Finding Important Examples Early in Training, NeurIPS 2021,
arXiv 2107.07075. Kirsch, Does "Deep Learning on a Data Diet" reproduce? Overall yes, but GraNd at Initialization does
not, 2023, arXiv 2303.14753.
"""

from __future__ import annotations

from overparam.core.chapters import Paper
from overparam.core.fits import rank_correlation as spearman
from overparam.imperfect_data.data_diet.experiment import (
    DTYPE,
    HALF,
    Result,
    auroc,
    claims,
    kept_after,
    reproducibility,
    retrain,
    run,
    window_offset,
)
from overparam.imperfect_data.data_diet.networks import Networks, ResNets, StackedMLPs, crop_and_flip
from overparam.imperfect_data.data_diet.plots import plot, plot_gallery, plot_noise
from overparam.imperfect_data.data_diet.scores import (
    RULES,
    corrupt_labels,
    el2n_scores,
    forgetting_scores,
    grand_scores,
    keep_indices,
    mlp_ensemble_grand,
)
from overparam.imperfect_data.data_diet.training import (
    FULL,
    Config,
    Data,
    Diary,
    build,
    build_other,
    random_subsets,
    stream,
    train,
    training_data,
)

PAPER = Paper(
    title="Deep Learning on a Data Diet: Finding Important Examples Early in Training",
    authors=("Mansheej Paul", "Surya Ganguli", "Gintare Karolina Dziugaite"),
    year=2021,
    venue="NeurIPS 2021",
    arxiv="2107.07075",
    code="https://github.com/mansheej/data_diet",
)
LEVEL = "introductory"

__all__ = [
    "DTYPE",
    "FULL",
    "HALF",
    "LEVEL",
    "PAPER",
    "RULES",
    "Config",
    "Data",
    "Diary",
    "Networks",
    "ResNets",
    "Result",
    "StackedMLPs",
    "auroc",
    "build",
    "build_other",
    "claims",
    "corrupt_labels",
    "crop_and_flip",
    "el2n_scores",
    "forgetting_scores",
    "grand_scores",
    "keep_indices",
    "kept_after",
    "mlp_ensemble_grand",
    "plot",
    "plot_gallery",
    "plot_noise",
    "random_subsets",
    "reproducibility",
    "retrain",
    "run",
    "spearman",
    "stream",
    "train",
    "training_data",
    "window_offset",
]
