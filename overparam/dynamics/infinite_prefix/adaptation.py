"""A frozen transformer and its adapters: prefix, NTK-Attention, LoRA, and full fine-tuning."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Union, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from overparam.core import checks, models
from overparam.core.datasets import Examples, cache_directory, optional
from overparam.core.progress import track
from overparam.core.training import epoch_batches
from overparam.dynamics.infinite_prefix.attention import NTKAttention, prefix_attention

ADAPTERS = ("head", "prefix", "ntk", "lora", "full")
Transformer = Union["RowTransformer", "VisionTransformer"]
#: The paper's vision transformer on the Hugging Face hub.
CHECKPOINT = ("google/vit-base-patch16-224-in21k", "pytorch_model.bin")


# --- Adapters ---------------------------------------------------------------------------------------------------


class PrefixMixing(nn.Module):
    """Softmax attention over a learned prefix and the input: prefix tuning, with keys and values from N(0, 0.02²)."""

    def __init__(self, head_dim: int, heads: int, prefix: int, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        checks.integer(1, prefix=prefix)
        start = 0.02 * torch.randn(2, heads, prefix, head_dim, generator=generator)
        self.k_prefix, self.v_prefix = nn.Parameter(start[0]), nn.Parameter(start[1])

    def forward(
        self, q: Float[Tensor, "*b h n d"], k: Float[Tensor, "*b h n_k d"], v: Float[Tensor, "*b h n_k d"]
    ) -> Float[Tensor, "*b h n d"]:
        """Mix the values, the prefix among them."""
        return prefix_attention(q, k, v, self.k_prefix, self.v_prefix)


class LoRA(nn.Module):
    """A linear layer plus a trainable product of two thin matrices, which starts at zero.

    References
    ----------
    Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, ICLR 2022.
    """

    def __init__(self, base: nn.Linear, rank: int, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        checks.integer(1, rank=rank)
        self.base = base
        self.down = nn.Parameter(torch.empty(base.in_features, rank))
        self.up = nn.Parameter(torch.zeros(rank, base.out_features))
        nn.init.uniform_(self.down, -(base.in_features**-0.5), base.in_features**-0.5, generator)

    def forward(self, x: Float[Tensor, "*b n"]) -> Float[Tensor, "*b n_out"]:
        """The layer's output and the update's."""
        return self.base(x) + x @ self.down @ self.up


class Attention(models.SelfAttention):
    """Self-attention that takes an adapter."""

    def attach(self, mode: str, *, prefix: int = 8, rank: int = 2, generator: torch.Generator | None = None) -> None:
        """Freeze what is there, unless ``mode`` is "full", and add an adapter in place of a former one.

        Parameters
        ----------
        mode
            "prefix" and "ntk" replace the mixing step by :class:`PrefixMixing` and by
            :class:`~overparam.dynamics.infinite_prefix.NTKAttention`; "lora" updates the query and value layers by
            :class:`LoRA`; "head" and "full" add nothing.
        prefix, rank
            Prefix positions, and rank of the updates.
        generator
            CPU generator of the initial prefix or updates.

        Raises
        ------
        ValueError
            If the mode is unknown, or a size below 1.
        """
        checks.one_of(ADAPTERS, mode=mode)
        checks.integer(1, prefix=prefix, rank=rank)
        self.query, self.value = _bare(self.query), _bare(self.value)
        self.mix = models.SoftmaxMixing()
        self.requires_grad_(mode == "full")
        weight = self.query.weight
        head_dim = weight.shape[0] // self.heads
        if mode == "prefix":
            self.mix = PrefixMixing(head_dim, self.heads, prefix, generator=generator)
        elif mode == "ntk":
            self.mix = NTKAttention(head_dim, self.heads)
        elif mode == "lora":
            self.query, self.value = (
                LoRA(_bare(layer), rank, generator=generator) for layer in (self.query, self.value)
            )
        self.to(weight)


def _bare(layer: nn.Module) -> nn.Linear:
    return cast(nn.Linear, getattr(layer, "base", layer))


class RowTransformer(models.RowTransformer):
    """:class:`overparam.core.models.RowTransformer` whose attentions take adapters; its keyword arguments are kept."""

    def __init__(self, *, generator: torch.Generator | None = None, **sizes: int) -> None:
        super().__init__(attention=Attention, generator=generator, **sizes)


def adapt(
    model: Transformer, mode: str, *, prefix: int = 8, rank: int = 2, generator: torch.Generator | None = None
) -> list[nn.Parameter]:
    """Freeze a transformer but for its head and attach an adapter to every attention, in place.

    Parameters
    ----------
    model
        A transformer with a linear layer ``head`` and attentions of class :class:`Attention`.
    mode, prefix, rank, generator
        As for :meth:`Attention.attach`.

    Returns
    -------
    What trains beside the head: the adapter's parameters, or all of the model's for "full".

    Raises
    ------
    ValueError
        If the mode is unknown, or a size below 1.
    """
    checks.one_of(ADAPTERS, mode=mode)
    model.requires_grad_(mode == "full")
    for module in list(model.modules()):
        if isinstance(module, Attention):
            module.attach(mode, prefix=prefix, rank=rank, generator=generator)
    model.head.requires_grad_(True)
    named = model.named_parameters()
    return [p for name, p in named if p.requires_grad and not name.startswith("head.")]


def fit(
    model: nn.Module,
    data: Examples,
    groups: Sequence[dict[str, Any]],
    *,
    steps: int,
    batch_size: int,
    generator: torch.Generator,
    progress: bool = False,
) -> None:
    """Train with Adam on the cross-entropy, in place.

    Parameters
    ----------
    model
        From images to logits.
    data
        Training examples, on the model's device.
    groups
        Parameter groups with their rates, as torch's optimizers take them.
    steps, batch_size
        Steps, and examples in each; an epoch's last, incomplete batch is dropped.
    generator
        CPU generator of the order of the examples.
    progress
        Show a bar.

    Raises
    ------
    ValueError
        If ``steps`` is below 1, or the batch is empty or larger than the set.
    """
    checks.integer(1, steps=steps, batch_size=batch_size)
    epochs = math.ceil(steps / max(1, len(data.y) // batch_size))
    batches = epoch_batches(1, len(data.y), batch_size, epochs, generator=generator)
    optimizer = torch.optim.Adam(groups, fused=True)
    for (batch,) in track(islice(batches, steps), progress, "training", total=steps):
        batch = batch.to(data.y.device)
        optimizer.zero_grad()
        functional.cross_entropy(model(data.x[batch]), data.y[batch]).backward()
        optimizer.step()


# --- The paper's backbone ---------------------------------------------------------------------------------------


class VisionTransformer(nn.Module):
    """ViT-B/16 by default: patches and a class token, pre-norm blocks, a linear head on the class token.

    Parameters
    ----------
    image, patch, channels
        Side of the image, to which others are resized, side of a patch, and colour channels.
    width, heads, layers, feedforward
        Numbers a token, heads of attention, blocks, and hidden units of their feed-forward networks.
    num_classes
        Outputs of ``head``.
    generator
        CPU generator of the initial head, the one layer that no checkpoint brings.

    References
    ----------
    Dosovitskiy et al., An Image is Worth 16x16 Words, ICLR 2021.
    """

    def __init__(
        self,
        *,
        image: int = 224,
        patch: int = 16,
        channels: int = 3,
        width: int = 768,
        heads: int = 12,
        layers: int = 12,
        feedforward: int = 3072,
        num_classes: int = 100,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.image = image
        self.embedding = nn.Conv2d(channels, width, patch, stride=patch)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.zeros(1, 1 + (image // patch) ** 2, width))
        blocks = (models.TransformerBlock(width, heads, feedforward, Attention) for _ in range(layers))
        self.blocks = nn.Sequential(*blocks)
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, num_classes)
        for parameter in self.head.parameters():
            nn.init.uniform_(parameter, -(width**-0.5), width**-0.5, generator)
        for module in self.modules():
            if isinstance(module, nn.LayerNorm):
                module.eps = 1e-12  # the checkpoint's

    def features(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n width"]:
        """The class token, which ``head`` reads."""
        size = (self.image, self.image)
        images = functional.interpolate(images, size, mode="bilinear", align_corners=False, antialias=True)
        patches = self.embedding(images).flatten(2).mT
        tokens = torch.cat([self.token.expand(len(images), -1, -1), patches], 1) + self.positions
        return self.norm(self.blocks(tokens))[:, 0]

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        """Logits."""
        return self.head(self.features(images))

    def load_checkpoint(self, state: Mapping[str, Tensor]) -> None:
        """Take all weights but the head's from a checkpoint of the hub's ``transformers``.

        Raises
        ------
        RuntimeError
            If a weight is missing or of another shape.
        """
        renamed = {_our_name(name): tensor for name, tensor in state.items()}
        head = {f"head.{name}": tensor for name, tensor in self.head.state_dict().items()}
        # What is not ours, such as the pooler, stays behind; what is missing is an error.
        self.load_state_dict({name: renamed[name] for name in self.state_dict() if name in renamed} | head)


#: Parts of the checkpoint's names and ours, in the order in which they are replaced.
NAMES = (
    ("vit.", ""),
    ("embeddings.cls_token", "token"),
    ("embeddings.position_embeddings", "positions"),
    ("embeddings.patch_embeddings.projection", "embedding"),
    ("encoder.layer.", "blocks."),
    ("attention.attention.", "attention."),
    ("attention.output.dense", "attention.output"),
    ("intermediate.dense", "feedforward.0"),
    ("output.dense", "feedforward.2"),
    ("layernorm_before", "norm1"),
    ("layernorm_after", "norm2"),
    ("layernorm", "norm"),
)


def _our_name(name: str) -> str:
    for theirs, ours in NAMES:
        name = name.replace(theirs, ours)
    return name


def _download() -> str:
    hub: Any = optional("huggingface_hub", extra="full")
    return hub.hf_hub_download(*CHECKPOINT, cache_dir=cache_directory() / "hub")


def load_vit(num_classes: int, *, checkpoint: str | None = None, generator: torch.Generator) -> VisionTransformer:
    """ViT-B/16 as pretrained on ImageNet-21k, with a new head.

    Parameters
    ----------
    num_classes
        Outputs of the head.
    checkpoint
        A file of weights to read instead of the hub's.
    generator
        CPU generator of the head.

    Raises
    ------
    MissingExtraError
        If the extra ``full`` is not installed.
    """
    model = VisionTransformer(num_classes=num_classes, generator=generator)
    model.load_checkpoint(torch.load(checkpoint or _download(), map_location="cpu", weights_only=True))
    return model
