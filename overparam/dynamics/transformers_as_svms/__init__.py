r"""Transformers as support vector machines.

Train only the attention weights W of one layer, :math:`f = v^\top X^\top \operatorname{softmax}(X W z)`. They
diverge, and their direction is the solution of a hard-margin SVM that separates, in every input, the token that was
selected from all others. What the parameterization decides is the norm that the SVM makes small:

* training W itself finds the smallest *Frobenius* norm;
* training the factors of :math:`W = K Q^\top` finds the smallest *nuclear* norm, a solution of lower rank.

Which tokens are selected depends on the width d. For :math:`d \ge \max(T - 1, n)` every choice of tokens can be
separated, and the wider the embedding, the more often the tokens selected are the best ones.

Reproduced here: both limits for tokens that gradient descent has selected, the feasibility threshold, the effect of
width, and the ranks. Not reproduced: regularization paths, and nonlinear heads, of which an exercise shows the start.

Ataee Tarzanagh, Li, Thrampoulidis & Oymak, Transformers as Support Vector Machines, 2023, arXiv 2308.16898.
"""

from __future__ import annotations

from overparam.core.chapters import Paper
from overparam.dynamics.transformers_as_svms.descent import (
    PARAMETERIZATIONS,
    Direction,
    Path,
    attention,
    attention_data,
    attention_loss,
    gradient_direction,
    naive_direction,
    normalized_gd,
    token_scores,
)
from overparam.dynamics.transformers_as_svms.experiment import (
    DTYPE,
    FULL,
    NORMS,
    Config,
    Result,
    claims,
    run,
)
from overparam.dynamics.transformers_as_svms.machines import (
    INFEASIBLE,
    correlation,
    frobenius_svm,
    nuclear_svm,
    numerical_rank,
    svm_constraints,
)
from overparam.dynamics.transformers_as_svms.plots import (
    plot,
    plot_sweep,
)

PAPER = Paper(
    title="Transformers as Support Vector Machines",
    authors=("Davoud Ataee Tarzanagh", "Yingcong Li", "Christos Thrampoulidis", "Samet Oymak"),
    year=2023,
    venue="arXiv preprint",
    arxiv="2308.16898",
    code="https://github.com/umich-sota/TF-as-SVM",
)
LEVEL = "intermediate"

__all__ = [
    "DTYPE",
    "FULL",
    "INFEASIBLE",
    "LEVEL",
    "NORMS",
    "PAPER",
    "PARAMETERIZATIONS",
    "Config",
    "Direction",
    "Path",
    "Result",
    "attention",
    "attention_data",
    "attention_loss",
    "claims",
    "correlation",
    "frobenius_svm",
    "gradient_direction",
    "naive_direction",
    "normalized_gd",
    "nuclear_svm",
    "numerical_rank",
    "plot",
    "plot_sweep",
    "run",
    "svm_constraints",
    "token_scores",
]
