"""Networks that several chapters train: MLPs as one batched product, a ResNet for images, a small transformer."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from overparam.core import checks


def mlp_ensemble_init(
    replicas: int,
    dims: Sequence[int],
    *,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float32,
) -> list[Tensor]:
    """Parameters of ``replicas`` independent ReLU MLPs, stacked: He-normal weights, zero biases.

    Parameters
    ----------
    replicas
        Networks in the ensemble, K.
    dims
        Widths from input to output, at least two.
    generator
        CPU generator; layer by layer, all replicas of a layer at once.

    Returns
    -------
    [W1, b1, W2, b2, ...] on the CPU, with W of shape (K, fan_in, fan_out) and b of shape (K, 1, fan_out).

    Raises
    ------
    ValueError
        If there are fewer than two widths, or a size is below 1.
    """
    checks.integer(1, replicas=replicas)
    if len(dims) < 2:
        raise ValueError(f"dims must name at least an input and an output width, got {tuple(dims)}")
    for width in dims:
        checks.integer(1, width=width)
    parameters: list[Tensor] = []
    for fan_in, fan_out in pairwise(dims):
        weight = torch.randn(replicas, fan_in, fan_out, generator=generator, dtype=dtype)
        parameters += [weight * (2 / fan_in) ** 0.5, torch.zeros(replicas, 1, fan_out, dtype=dtype)]
    return parameters


def mlp_ensemble_features(
    parameters: Sequence[Tensor], x: Float[Tensor, "#k n d"] | Float[Tensor, "n d"]
) -> Float[Tensor, "k n h"]:
    """The last hidden layer of every replica, after its ReLU (the input itself if there is no hidden layer).

    ``x`` is one batch for all replicas or one for each; all layers are single ``baddbmm`` calls.
    """
    replicas = parameters[0].shape[0]
    hidden = x.expand(replicas, *x.shape[-2:])
    for weight, bias in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
        hidden = torch.baddbmm(bias, hidden, weight).relu()
    return hidden


def mlp_ensemble_forward(
    parameters: Sequence[Tensor], x: Float[Tensor, "#k n d"] | Float[Tensor, "n d"]
) -> Float[Tensor, "k n c"]:
    """Outputs of every replica: the last layer, linear, on :func:`mlp_ensemble_features`."""
    return torch.baddbmm(parameters[-1], mlp_ensemble_features(parameters, x), parameters[-2])


class ResNet18(nn.Module):
    """ResNet-18 for small images: a 3 x 3 stem without pooling, four stages of two blocks, 512 features.

    Parameters
    ----------
    num_classes
        Outputs of the linear ``classifier``.
    in_channels
        Channels of the images.
    generator
        CPU generator of the initial weights: He-normal convolutions, and torch's default law for the classifier.

    References
    ----------
    He et al., Deep Residual Learning for Image Recognition, CVPR 2016; the stem is that of its CIFAR networks.
    """

    def __init__(self, num_classes: int, in_channels: int = 3, *, generator: torch.Generator) -> None:
        super().__init__()
        widths = (64, 64, 128, 256, 512)
        self.stem = nn.Sequential(_conv3x3(in_channels, 64), nn.BatchNorm2d(64), nn.ReLU())
        blocks: list[nn.Module] = []
        for stage, (narrow, wide) in enumerate(pairwise(widths)):
            blocks += [_BasicBlock(narrow, wide, stride=1 if stage == 0 else 2), _BasicBlock(wide, wide)]
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Linear(widths[-1], num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", generator=generator)
        bound = widths[-1] ** -0.5
        nn.init.uniform_(self.classifier.weight, -bound, bound, generator=generator)
        nn.init.uniform_(self.classifier.bias, -bound, bound, generator=generator)

    def features(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 512"]:
        """The pooled, non-negative features that the classifier reads."""
        return self.blocks(self.stem(images)).mean((2, 3))

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        """Logits."""
        return self.classifier(self.features(images))


class _BasicBlock(nn.Module):
    def __init__(self, narrow: int, wide: int, stride: int = 1) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            _conv3x3(narrow, wide, stride), nn.BatchNorm2d(wide), nn.ReLU(), _conv3x3(wide, wide), nn.BatchNorm2d(wide)
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or narrow != wide:
            projection = nn.Conv2d(narrow, wide, 1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(wide))

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.residual(x) + self.shortcut(x))


def _conv3x3(narrow: int, wide: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(narrow, wide, 3, stride=stride, padding=1, bias=False)


class SoftmaxMixing(nn.Module):
    r"""Softmax attention: :math:`\operatorname{softmax}(q k^\top / \sqrt{d})\, v` for every head."""

    def forward(
        self, q: Float[Tensor, "*batch n d"], k: Float[Tensor, "*batch m d"], v: Float[Tensor, "*batch m e"]
    ) -> Float[Tensor, "*batch n e"]:
        """Queries, keys and values to mixed values."""
        return functional.scaled_dot_product_attention(q, k, v)


class SelfAttention(nn.Module):
    """Multi-head self-attention with every piece in reach: an adapter can replace any of them.

    ``query``, ``key``, ``value`` and ``output`` are linear layers, and ``mix`` is the module between them, which
    sees queries, keys and values of shape (batch, heads, tokens, width / heads).

    Parameters
    ----------
    width
        Numbers a token, a multiple of ``heads``.
    heads
        Heads of attention.

    Raises
    ------
    ValueError
        If a size is below 1 or the heads do not divide the width.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        checks.integer(1, width=width, heads=heads)
        if width % heads:
            raise ValueError(f"width must be a multiple of the {heads} heads, got {width}")
        self.heads = heads
        self.query: nn.Module = nn.Linear(width, width)
        self.key: nn.Module = nn.Linear(width, width)
        self.value: nn.Module = nn.Linear(width, width)
        self.output: nn.Module = nn.Linear(width, width)
        self.mix: nn.Module = SoftmaxMixing()

    def forward(self, tokens: Float[Tensor, "b n w"]) -> Float[Tensor, "b n w"]:
        """Tokens to tokens."""
        q, k, v = (
            layer(tokens).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        return self.output(self.mix(q, k, v).transpose(1, 2).flatten(2))


class TransformerBlock(nn.Module):
    """A pre-norm block: attention and then a GELU network of one hidden layer, each added to what it reads."""

    def __init__(self, width: int, heads: int, feedforward: int, attention: type[SelfAttention]) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = attention(width, heads)
        self.feedforward = nn.Sequential(nn.Linear(width, feedforward), nn.GELU(), nn.Linear(feedforward, width))

    def forward(self, tokens: Float[Tensor, "b n w"]) -> Float[Tensor, "b n w"]:
        """Tokens to tokens."""
        tokens = tokens + self.attention(self.norm1(tokens))
        return tokens + self.feedforward(self.norm2(tokens))


class RowTransformer(nn.Module):
    """A transformer that reads an image row by row: 17,962 parameters as it stands, trained in seconds.

    Every row of pixels is a token, to which a learned position is added; pre-norm blocks follow, and the mean of
    the tokens is what the linear ``head`` reads.

    Parameters
    ----------
    rows, pixels
        Size of the image, which may come flattened or with a channel axis.
    width, heads, layers, feedforward
        Numbers a token, heads of attention, blocks, and hidden units of their feed-forward networks.
    num_classes
        Outputs of ``head``.
    attention
        The class of the blocks' attention, built with (width, heads): a chapter hands in one that takes adapters.
    generator
        CPU generator of the initial weights: torch's default law for linear layers, and N(0, 0.02²) positions.

    Raises
    ------
    ValueError
        If a size is below 1 or the heads do not divide the width.

    References
    ----------
    Xiong et al., On Layer Normalization in the Transformer Architecture, ICML 2020, for the pre-norm block.
    """

    def __init__(
        self,
        *,
        rows: int = 8,
        pixels: int = 8,
        width: int = 32,
        heads: int = 2,
        layers: int = 2,
        feedforward: int = 64,
        num_classes: int = 10,
        attention: type[SelfAttention] = SelfAttention,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        checks.integer(1, rows=rows, pixels=pixels, layers=layers, feedforward=feedforward, num_classes=num_classes)
        self.size = (rows, pixels)
        self.embedding = nn.Linear(pixels, width)
        self.positions = nn.Parameter(0.02 * torch.randn(rows, width, generator=generator))
        self.blocks = nn.Sequential(*(TransformerBlock(width, heads, feedforward, attention) for _ in range(layers)))
        self.head = nn.Linear(width, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                for parameter in (module.weight, module.bias):
                    nn.init.uniform_(parameter, -(module.in_features**-0.5), module.in_features**-0.5, generator)

    def features(self, images: Float[Tensor, "n ..."]) -> Float[Tensor, "n w"]:
        """The mean token, which ``head`` reads."""
        rows = images.reshape(len(images), *self.size)
        return self.blocks(self.embedding(rows) + self.positions).mean(1)

    def forward(self, images: Float[Tensor, "n ..."]) -> Float[Tensor, "n classes"]:
        """Logits."""
        return self.head(self.features(images))
