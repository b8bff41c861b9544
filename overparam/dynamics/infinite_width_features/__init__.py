r"""Feature learning in infinitely wide networks.

What a network becomes as its width n grows is decided by its *parametrization*: by the powers of n that stand in
front of the weights, of their random start and of the learning rate. The paper sorts all such scalings. One that
stays finite and still moves either freezes its features and becomes kernel gradient descent (NTK), or learns them
(maximal update, :math:`\mu P`); none does both. For a linear network of one hidden layer the :math:`\mu P` limit is
exact and cheap: a network of width d_in + d_out, started at the identity, *is* the infinite one.

Reproduced here: the classification and its exponents on MLPs, the exact limit, and word embeddings by it, by finite
:math:`\mu P` nets and by NTK nets. The corpus is synthetic with a known answer to every analogy, and the loss is the
softmax over all pairs of words at once; the paper trains CBOW with negative samples on text8 and fil9. Not
reproduced: its first-order MAML on Omniglot, and the limits of nonlinear networks.

Yang & Hu, Feature Learning in Infinite-Width Neural Networks (Tensor Programs IV), ICML 2021, arXiv 2011.14522.
"""

from __future__ import annotations

from overparam.core.chapters import Paper
from overparam.dynamics.infinite_width_features.corpora import (
    TEXT8,
    analogy_accuracy,
    analogy_corpus,
    skip_gram_pairs,
    text8,
)
from overparam.dynamics.infinite_width_features.experiment import (
    ASYMPTOTIC,
    DTYPE,
    FULL,
    NAMES,
    NARROW,
    THETA,
    Config,
    Losses,
    Result,
    claims,
    first_digits,
    run,
)
from overparam.dynamics.infinite_width_features.parametrizations import (
    ABCMLP,
    TOLERANCE,
    Parametrization,
    classify,
    feature_exponent,
    is_nontrivial,
    is_stable,
    mean_field,
    mup,
    ntk,
    sgd,
    shift,
    standard,
)
from overparam.dynamics.infinite_width_features.plots import (
    plot,
    plot_embeddings,
    plot_motion,
)
from overparam.dynamics.infinite_width_features.word2vec import (
    finite_factors,
    limit_factors,
    ntk_limit_word2vec,
    train_word2vec,
    word2vec_loss,
)

PAPER = Paper(
    title="Feature Learning in Infinite-Width Neural Networks",
    authors=("Greg Yang", "Edward J. Hu"),
    year=2021,
    venue="ICML 2021",
    arxiv="2011.14522",
    code="https://github.com/edwardjhu/TP4",
)
LEVEL = "intermediate"

__all__ = [
    "ABCMLP",
    "ASYMPTOTIC",
    "DTYPE",
    "FULL",
    "LEVEL",
    "NAMES",
    "NARROW",
    "PAPER",
    "TEXT8",
    "THETA",
    "TOLERANCE",
    "Config",
    "Losses",
    "Parametrization",
    "Result",
    "analogy_accuracy",
    "analogy_corpus",
    "claims",
    "classify",
    "feature_exponent",
    "finite_factors",
    "first_digits",
    "is_nontrivial",
    "is_stable",
    "limit_factors",
    "mean_field",
    "mup",
    "ntk",
    "ntk_limit_word2vec",
    "plot",
    "plot_embeddings",
    "plot_motion",
    "run",
    "sgd",
    "shift",
    "skip_gram_pairs",
    "standard",
    "text8",
    "train_word2vec",
    "word2vec_loss",
]
