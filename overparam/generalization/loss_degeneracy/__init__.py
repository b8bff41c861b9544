r"""Using degeneracy in the loss landscape: which parameters of a network do nothing, and what is left without them.

Many directions in parameter space leave the behaviour of a network unchanged. Three causes inside the network:

* activations of a layer are linearly dependent;
* gradients that are passed back to a layer are linearly dependent;
* ReLUs fire on the same data, so that mixing them before can be undone after.

A representation that does not see the first two is the *Interaction Basis* of a layer: coordinates in which what the
layer holds and what the output notices are diagonal at once. In it, interactions between layers can be sparse, and
modules show as communities of a graph with logarithmic weights.

Reproduced here: the directions and their count against the behavioural Hessian, the basis and its invariance, the
modularity metric, and the effective parameter count of trained students. The paper reports no numbers to compare with.
Not reproduced: its arguments from singular learning theory, and the experiments on language models of its companion
paper on the Local Interaction Basis. That the three kinds are *all* in generic position is a claim of this chapter.

Bushnaq et al., Using Degeneracy in the Loss Landscape for Mechanistic Interpretability, 2024, arXiv 2405.10927.
"""

from __future__ import annotations

from overparam.core.chapters import Paper
from overparam.generalization.loss_degeneracy.directions import (
    KINDS,
    Degeneracy,
    degenerate_directions,
    firing_groups,
    planted,
    rank,
)
from overparam.generalization.loss_degeneracy.experiment import (
    BASES,
    DTYPE,
    FULL,
    Buses,
    Config,
    Modular,
    Planted,
    Result,
    Students,
    behaviour_changes,
    claims,
    coordinates,
    hidden_layer,
    measure_modules,
    run,
    scrambled_modules,
    train_students,
)
from overparam.generalization.loss_degeneracy.interaction import (
    Basis,
    edge_strengths,
    find_modules,
    interaction_basis,
    log_weights,
    modularity,
    pca_basis,
    random_invertible,
)
from overparam.generalization.loss_degeneracy.networks import (
    Trace,
    balance_biases,
    behavioral_hessian,
    effective_parameters,
    forward,
    parameter_jacobian,
    random_mlp,
    trace,
)
from overparam.generalization.loss_degeneracy.plots import plot, plot_adjacency, plot_spectrum

PAPER = Paper(
    title="Using Degeneracy in the Loss Landscape for Mechanistic Interpretability",
    authors=(
        "Lucius Bushnaq",
        "Jake Mendel",
        "Stefan Heimersheim",
        "Dan Braun",
        "Nicholas Goldowsky-Dill",
        "Kaarel Hänni",
        "Cindy Wu",
        "Marius Hobbhahn",
    ),
    year=2024,
    venue="arXiv preprint",
    arxiv="2405.10927",
    code=None,
)
LEVEL = "intermediate"

__all__ = [
    "BASES",
    "DTYPE",
    "FULL",
    "KINDS",
    "LEVEL",
    "PAPER",
    "Basis",
    "Buses",
    "Config",
    "Degeneracy",
    "Modular",
    "Planted",
    "Result",
    "Students",
    "Trace",
    "balance_biases",
    "behavioral_hessian",
    "behaviour_changes",
    "claims",
    "coordinates",
    "degenerate_directions",
    "edge_strengths",
    "effective_parameters",
    "find_modules",
    "firing_groups",
    "forward",
    "hidden_layer",
    "interaction_basis",
    "log_weights",
    "measure_modules",
    "modularity",
    "parameter_jacobian",
    "pca_basis",
    "planted",
    "plot",
    "plot_adjacency",
    "plot_spectrum",
    "random_invertible",
    "random_mlp",
    "rank",
    "run",
    "scrambled_modules",
    "trace",
    "train_students",
]
