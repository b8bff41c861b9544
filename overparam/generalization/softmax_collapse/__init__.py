r"""Grokking at the edge of numerical stability.

A network that has fitted its training set can lower the cross-entropy by growing its weights, which changes no
prediction. Left alone it does little else, until the arithmetic gives out:

* *naive loss minimization*: the gradient turns to the weights themselves, and training scales the logits;
* *Softmax Collapse*: the exponentials of the wrong classes are absorbed when they are added to 1; the loss of a sample
  becomes exactly zero, and so does the gradient of its correct class, before the network has generalized;
* *StableMax*, a softmax that grows linearly, absorbs nothing; *perpGrad* removes the part of the gradient along the
  weights, and the network generalizes at once, with no regularization.

Reproduced here: the collapse in three precisions, the alignment, both cures' gradients, and perpGrad's grokking, on
modular addition with p = 31 and 59. Not reproduced: StableMax's grokking, which takes tens of thousands of steps and
is left to ``FULL``; sparse parity, and the one-layer transformer.

Prieto, Barsbey, Mediano & Birdal, Grokking at the Edge of Numerical Stability, ICLR 2025, arXiv 2501.04697.
"""

from __future__ import annotations

from overparam.core.chapters import Paper
from overparam.generalization.softmax_collapse.experiment import FULL, Config, Result, claims, run
from overparam.generalization.softmax_collapse.losses import (
    log_stablemax,
    softmax_collapse,
    softmax_cross_entropy,
    stablemax,
    stablemax_cross_entropy,
    zero_gradient_share,
)
from overparam.generalization.softmax_collapse.orthograd import OrthoGrad, nlm_cosine, orthogonalize_gradients_
from overparam.generalization.softmax_collapse.plots import plot, plot_collapse
from overparam.generalization.softmax_collapse.tables import History, PairMLP, modular_table, split, train

PAPER = Paper(
    title="Grokking at the Edge of Numerical Stability",
    authors=("Lucas Prieto", "Melih Barsbey", "Pedro A. M. Mediano", "Tolga Birdal"),
    year=2025,
    venue="ICLR 2025",
    arxiv="2501.04697",
    code="https://github.com/LucasPrietoAl/grokking-at-the-edge-of-numerical-stability",
)
LEVEL = "intermediate"


__all__ = [
    "FULL",
    "LEVEL",
    "PAPER",
    "Config",
    "History",
    "OrthoGrad",
    "PairMLP",
    "Result",
    "claims",
    "log_stablemax",
    "modular_table",
    "nlm_cosine",
    "orthogonalize_gradients_",
    "plot",
    "plot_collapse",
    "run",
    "softmax_collapse",
    "softmax_cross_entropy",
    "split",
    "stablemax",
    "stablemax_cross_entropy",
    "train",
    "zero_gradient_share",
]
