r"""Benign overfitting and grokking in ReLU networks for XOR cluster data.

Four Gaussian clusters in an XOR arrangement, a share of the training labels flipped, and a two-layer ReLU network of
which gradient descent trains the first layer, with far more weights than samples:

* after one step it fits every training label, the flipped ones included, and is at chance on test data, because it is
  still a linear classifier;
* later it is near-perfect on test data while it goes on fitting the flipped labels: its neurons have turned to the
  means of their own class, and the noise is stored in directions that no test point has;
* a linear network, a lazy start, a weak signal or too few dimensions take one half of this away.

Training is exact and never forms the weights: they stay in the span of the data (:class:`GramTrainer`).

Reproduced here: both halves and their mechanism, at n = 200 samples in p = 24000 dimensions. Not reproduced: the
theorem's regime, which needs p of the order of n^5 and far smaller steps, and its error rate; the settings of the
paper's own figures are not checked, and the experiment's are ours.

Xu, Wang, Frei, Vardi & Hu, Benign Overfitting and Grokking in ReLU Networks for XOR Cluster Data, ICLR 2024,
arXiv 2310.02541.
"""

from __future__ import annotations

from overparam.core.chapters import Paper
from overparam.generalization.xor_grokking.experiment import FULL, Config, Curves, Result, claims, run
from overparam.generalization.xor_grokking.method import (
    GramTrainer,
    Prepared,
    XorData,
    accuracy,
    init_network,
    linear_direction,
    own_mean_ratio,
    plane_output,
    xor_clusters,
)
from overparam.generalization.xor_grokking.plots import plot, plot_neurons, plot_plane

PAPER = Paper(
    title="Benign Overfitting and Grokking in ReLU Networks for XOR Cluster Data",
    authors=("Zhiwei Xu", "Yutong Wang", "Spencer Frei", "Gal Vardi", "Wei Hu"),
    year=2024,
    venue="ICLR 2024",
    arxiv="2310.02541",
    code=None,
)
LEVEL = "intermediate"


__all__ = [
    "FULL",
    "LEVEL",
    "PAPER",
    "Config",
    "Curves",
    "GramTrainer",
    "Prepared",
    "Result",
    "XorData",
    "accuracy",
    "claims",
    "init_network",
    "linear_direction",
    "own_mean_ratio",
    "plane_output",
    "plot",
    "plot_neurons",
    "plot_plane",
    "run",
    "xor_clusters",
]
