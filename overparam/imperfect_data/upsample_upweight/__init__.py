r"""Upsample or upweight: balanced training on heavily imbalanced data.

One model learns from several domains whose sizes differ by orders of magnitude. To balance them one can draw the
small domains more often (Temperature Sampling) or weight their loss more (Scalarization):

* with full gradients the two are the same;
* with mini-batches they are not: a rare example of large weight makes a noisy gradient, so sampling is faster;
* then sampling overfits the small domain, which it repeats;
* Cooldown samples at a high temperature first and at temperature 1 from a fixed step on.

Reproduced here: all of it, on the names of countries, languages, currencies and scripts that come with Babel, where
English has thirty times as many names as Vietnamese. The variance is exact for every pair of second moments, which
the paper takes as equal; where they differ enough, sampling is the noisier one. Not reproduced: machine translation
and the language models on mC4, and that a falling temperature beats a rising one on the small language.

Li, Xu, Tan, Murray & Khashabi, Upsample or Upweight? Balanced Training on Heavily Imbalanced Datasets, NAACL 2025,
arXiv 2410.04579.
"""

from __future__ import annotations

from overparam.core.chapters import Paper
from overparam.imperfect_data.upsample_upweight.balancing import (
    METHODS,
    cooldown,
    gradient_variance,
    sample_batch,
    scalarization_weights,
    temperature_probs,
    variance_factor,
    variance_gap,
)
from overparam.imperfect_data.upsample_upweight.corpus import (
    FULL,
    STREAMS,
    Config,
    Corpus,
    build_corpus,
    display_names,
    stream,
)
from overparam.imperfect_data.upsample_upweight.experiment import (
    Result,
    claims,
    run,
    steps_to,
)
from overparam.imperfect_data.upsample_upweight.plots import (
    plot,
    plot_norms,
    plot_variance,
)
from overparam.imperfect_data.upsample_upweight.probe import (
    DTYPE,
    Probe,
    full_gradients,
    gradient_norms,
    probe,
)
from overparam.imperfect_data.upsample_upweight.training import (
    VARIANTS,
    History,
    batches,
    character_losses,
    language_model,
    language_model_init,
    temperatures,
    train,
)

PAPER = Paper(
    title="Upsample or Upweight? Balanced Training on Heavily Imbalanced Datasets",
    authors=("Tianjian Li", "Haoran Xu", "Weiting Tan", "Kenton Murray", "Daniel Khashabi"),
    year=2025,
    venue="NAACL 2025",
    arxiv="2410.04579",
    code=None,
)
LEVEL = "introductory"

__all__ = [
    "DTYPE",
    "FULL",
    "LEVEL",
    "METHODS",
    "PAPER",
    "STREAMS",
    "VARIANTS",
    "Config",
    "Corpus",
    "History",
    "Probe",
    "Result",
    "batches",
    "build_corpus",
    "character_losses",
    "claims",
    "cooldown",
    "display_names",
    "full_gradients",
    "gradient_norms",
    "gradient_variance",
    "language_model",
    "language_model_init",
    "plot",
    "plot_norms",
    "plot_variance",
    "probe",
    "run",
    "sample_batch",
    "scalarization_weights",
    "steps_to",
    "stream",
    "temperature_probs",
    "temperatures",
    "train",
    "variance_factor",
    "variance_gap",
]
