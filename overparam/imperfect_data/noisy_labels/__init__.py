r"""Compressing features for learning with noisy labels.

A network with more parameters than labels learns the wrong labels too, and pays with accuracy on clean data. What
helps is to restrict not the weights but the *features* that reach the classifier:

* Dropout on the last hidden layer;
* Nested Dropout, which keeps the first k features for a random k and so orders them by importance: ten or twenty
  carry the whole prediction, and a clean validation set says how many to use;
* Co-teaching from two such networks: each hands the other the examples on which its own loss is small, which are
  mostly those with right labels.

The squared loss under random masks is a squared bias plus a variance, exactly, and the variance is the penalty.

Reproduced here: all of it on handwritten digits with 40 % wrong labels, and the paper's CIFAR-10 setting as
:data:`FULL`. Not reproduced: Clothing1M and ANIMAL-10N, the 6,000 steps of learning-rate warm-up and the choice of
the best epoch on validation data of the official code (ours takes the last), and its averaging of two networks
(we report single ones).

Chen, Hu, Shen, Ai & Suykens, Compressing Features for Learning with Noisy Labels, IEEE TNNLS 2022, arXiv 2206.13140.
"""

from __future__ import annotations

from overparam.core.chapters import Paper
from overparam.imperfect_data.noisy_labels.co_teaching import (
    co_teaching_exchange,
    forget_schedule,
    peers,
    small_loss_indices,
    symmetric_noise,
)
from overparam.imperfect_data.noisy_labels.experiment import Result, claims, run
from overparam.imperfect_data.noisy_labels.masks import (
    best_k,
    compression_decomposition,
    dropout_mask,
    nested_accuracy,
    nested_distribution,
    nested_logits,
    nested_mask,
    nested_survival,
    prefix_mask,
)
from overparam.imperfect_data.noisy_labels.networks import Networks, ResNets, StackedMLPs, crop_and_flip
from overparam.imperfect_data.noisy_labels.plots import plot, plot_features, plot_losses
from overparam.imperfect_data.noisy_labels.training import (
    DTYPE,
    FULL,
    VARIANTS,
    Config,
    Evaluation,
    History,
    NoisyData,
    build,
    co_teach,
    compression,
    evaluate,
    example_losses,
    noisy_data,
    prefix_accuracies,
    stream,
    train,
)

PAPER = Paper(
    title="Compressing Features for Learning with Noisy Labels",
    authors=("Yingyi Chen", "Shell Xu Hu", "Xi Shen", "Chunrong Ai", "Johan A. K. Suykens"),
    year=2022,
    venue="IEEE Transactions on Neural Networks and Learning Systems",
    arxiv="2206.13140",
    code="https://github.com/yingyichen-cyy/Nested-Co-teaching",
)
LEVEL = "intermediate"

__all__ = [
    "DTYPE",
    "FULL",
    "LEVEL",
    "PAPER",
    "VARIANTS",
    "Config",
    "Evaluation",
    "History",
    "Networks",
    "NoisyData",
    "ResNets",
    "Result",
    "StackedMLPs",
    "best_k",
    "build",
    "claims",
    "co_teach",
    "co_teaching_exchange",
    "compression",
    "compression_decomposition",
    "crop_and_flip",
    "dropout_mask",
    "evaluate",
    "example_losses",
    "forget_schedule",
    "nested_accuracy",
    "nested_distribution",
    "nested_logits",
    "nested_mask",
    "nested_survival",
    "noisy_data",
    "peers",
    "plot",
    "plot_features",
    "plot_losses",
    "prefix_accuracies",
    "prefix_mask",
    "run",
    "small_loss_indices",
    "stream",
    "symmetric_noise",
    "train",
]
