r"""Toward infinite-long prefix in transformer.

Prefix tuning puts m trainable key/value vectors before the input of every attention layer. Two things are said of it:

* a long prefix is over-parameterized: in a one-layer model gradient descent brings the loss as low as one likes, while
  each vector moves by about 1/m, and a short prefix cannot;
* a long prefix need not be stored: it enters softmax attention through sums over its positions only, which a feature
  map turns into a matrix Z and a vector k. NTK-Attention trains these: d² + d numbers stand for any length.

Reproduced here: the compression, by features that approximate the exponential and by learned Z and k; the training of
prefixes of 2 to 1024 vectors and their kernel; and the adaptation of a small frozen transformer next to prefix tuning,
LoRA and full fine-tuning, over which NTK-Attention does *not* win at this size. :data:`FULL` adapts ViT-B/16 on
CIFAR-100, in single precision and without augmentation. Not reproduced: Food-101 and the language models, and the
theorem's constants. The form of the one-layer model is reconstructed, not checked against the paper letter by letter.

Liang, Shi, Song & Yang, Towards Infinite-Long Prefix in Transformer, EMNLP 2025; first version, with Gu, arXiv
2406.14036.
"""

from __future__ import annotations

from overparam.core.chapters import Paper
from overparam.dynamics.infinite_prefix.adaptation import (
    ADAPTERS,
    Attention,
    LoRA,
    PrefixMixing,
    RowTransformer,
    VisionTransformer,
    adapt,
    fit,
    load_vit,
)
from overparam.dynamics.infinite_prefix.attention import (
    NTKAttention,
    compress_prefix,
    elu_features,
    learn_compression,
    ntk_attention,
    prefix_attention,
    taylor_features,
)
from overparam.dynamics.infinite_prefix.experiment import (
    DTYPE,
    FULL,
    Config,
    Result,
    attention_problem,
    claims,
    prefix_data,
    pretrained,
    run,
)
from overparam.dynamics.infinite_prefix.learning import paired_init, prefix_model, prefix_ntk, train_prefix
from overparam.dynamics.infinite_prefix.plots import plot, plot_adapters, plot_learning

PAPER = Paper(
    title="Toward Infinite-Long Prefix in Transformer",
    authors=("Jiuxiang Gu", "Yingyu Liang", "Zhenmei Shi", "Zhao Song", "Chiwun Yang"),
    year=2024,
    venue="arXiv 2024, EMNLP 2025",
    arxiv="2406.14036",
    code="https://github.com/ChristianYang37/chiwun/tree/main/src/NTK-Attention",
)
LEVEL = "intermediate"

__all__ = [
    "ADAPTERS",
    "DTYPE",
    "FULL",
    "LEVEL",
    "PAPER",
    "Attention",
    "Config",
    "LoRA",
    "NTKAttention",
    "PrefixMixing",
    "Result",
    "RowTransformer",
    "VisionTransformer",
    "adapt",
    "attention_problem",
    "claims",
    "compress_prefix",
    "elu_features",
    "fit",
    "learn_compression",
    "load_vit",
    "ntk_attention",
    "paired_init",
    "plot",
    "plot_adapters",
    "plot_learning",
    "prefix_attention",
    "prefix_data",
    "prefix_model",
    "prefix_ntk",
    "pretrained",
    "run",
    "taylor_features",
    "train_prefix",
]
