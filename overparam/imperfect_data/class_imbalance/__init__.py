r"""A systematic study of the class imbalance problem in convolutional neural networks.

Classes with few examples are learned badly, and the more so the larger the ratio of the classes' sizes. The cures
are compared on the same networks:

* oversampling, which repeats the rare examples until all classes have one size;
* undersampling, which leaves out the frequent ones;
* two-phase training: on a balanced set, and then of the last layer alone on the original one;
* thresholding: dividing the outputs by the prior, :math:`p(i \mid x) / p(i)`, without any training.

Oversampling wins on the quality of the ranking (multi-class ROC AUC), and repeating images dozens of times does not
make a convolutional network overfit them. Thresholding repairs decisions and cannot change a ranking.

Reproduced here: all seven methods of the paper under step imbalance, on handwritten digits, and its CIFAR-10 setting
as :data:`FULL`. Linear imbalance is there as a function and an exercise. Not reproduced: MNIST and ImageNet (where
the paper finds oversampling slightly *below* the baseline), contrast normalization and ZCA whitening of CIFAR-10
(channels are standardized instead), the search of the step size for each network, and the choice of the best of
eight trainings by their score on the test set.

Buda, Maki & Mazurowski, A systematic study of the class imbalance problem in convolutional neural networks, Neural
Networks 106 (2018) 249-259, arXiv 1710.05381.
"""

from __future__ import annotations

from overparam.core.chapters import Paper
from overparam.imperfect_data.class_imbalance.experiment import DTYPE, VARIANTS, Result, claims, run
from overparam.imperfect_data.class_imbalance.method import (
    linear_counts,
    multiclass_auc,
    resample_indices,
    step_counts,
    subsample,
    threshold,
)
from overparam.imperfect_data.class_imbalance.networks import AllCNNs, Networks, StackedCNNs
from overparam.imperfect_data.class_imbalance.plots import plot, plot_confusion, plot_remaining, plot_training
from overparam.imperfect_data.class_imbalance.training import (
    FULL,
    Config,
    ImbalancedData,
    build,
    class_sizes,
    curve_steps,
    imbalanced_data,
    per_class_accuracy,
    stream,
    train,
    training_indices,
    tune_head,
)

PAPER = Paper(
    title="A systematic study of the class imbalance problem in convolutional neural networks",
    authors=("Mateusz Buda", "Atsuto Maki", "Maciej A. Mazurowski"),
    year=2018,
    venue="Neural Networks 106",
    arxiv="1710.05381",
    code=None,
)
LEVEL = "introductory"

__all__ = [
    "DTYPE",
    "FULL",
    "LEVEL",
    "PAPER",
    "VARIANTS",
    "AllCNNs",
    "Config",
    "ImbalancedData",
    "Networks",
    "Result",
    "StackedCNNs",
    "build",
    "claims",
    "class_sizes",
    "curve_steps",
    "imbalanced_data",
    "linear_counts",
    "multiclass_auc",
    "per_class_accuracy",
    "plot",
    "plot_confusion",
    "plot_remaining",
    "plot_training",
    "resample_indices",
    "run",
    "step_counts",
    "stream",
    "subsample",
    "threshold",
    "train",
    "training_indices",
    "tune_head",
]
