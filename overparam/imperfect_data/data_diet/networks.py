"""The replicas over which a score is averaged: MLPs as stacked tensors, ResNets in a loop."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from overparam.core.datasets import crop_and_mirror
from overparam.core.models import ResNet18, mlp_ensemble_forward, mlp_ensemble_init
from overparam.core.training import evaluating
from overparam.imperfect_data.data_diet.scores import grand_scores, mlp_ensemble_grand

#: Examples that are evaluated at once, and those whose gradients a ResNet's GraNd holds at once (45 MB each).
EVALUATED_AT_ONCE, GRADIENTS_AT_ONCE = 1000, 64
#: Pixels of border that an image gets before a crop is taken.
CROP_PADDING = 4


class Networks(nn.Module, ABC):
    """K independent classifiers that train side by side, each on batches of its own."""

    count: int

    @abstractmethod
    def forward(self, x: Float[Tensor, "k n ..."]) -> Float[Tensor, "k n c"]:
        """Each network's logits of its own batch."""

    @abstractmethod
    def grand(self, x: Float[Tensor, "n ..."], labels: Int[Tensor, " n"]) -> Float[Tensor, "k n"]:
        """Each network's gradient norm of every example, in evaluation mode."""

    @torch.no_grad()
    def logits(self, x: Float[Tensor, "n ..."]) -> Float[Tensor, "k n c"]:
        """Every network's logits of the same examples, in evaluation mode and without gradient."""
        with evaluating(self):
            return torch.cat([self(part.expand(self.count, *part.shape)) for part in x.split(EVALUATED_AT_ONCE)], 1)


class StackedMLPs(Networks):
    """K ReLU MLPs as one batched product a layer, on flattened inputs; He-normal weights and zero biases."""

    def __init__(self, count: int, dims: tuple[int, ...], *, generator: torch.Generator) -> None:
        super().__init__()
        self.count = count
        self.stacked = nn.ParameterList(mlp_ensemble_init(count, dims, generator=generator))

    def forward(self, x: Float[Tensor, "k n ..."]) -> Float[Tensor, "k n c"]:
        """Logits of each network's batch."""
        return mlp_ensemble_forward(list(self.stacked), x.flatten(2))

    @torch.no_grad()
    def grand(self, x: Float[Tensor, "n ..."], labels: Int[Tensor, " n"]) -> Float[Tensor, "k n"]:
        """The closed form, without forming a gradient."""
        return mlp_ensemble_grand(list(self.stacked), x.flatten(1), labels)


class ResNets(Networks):
    """K ResNet-18 for small colour images."""

    def __init__(self, count: int, num_classes: int, *, generator: torch.Generator) -> None:
        super().__init__()
        self.count = count
        self.each = nn.ModuleList(ResNet18(num_classes, generator=generator) for _ in range(count))

    def forward(self, x: Float[Tensor, "k n c h w"]) -> Float[Tensor, "k n classes"]:
        """Logits of each network's batch."""
        return torch.stack([network(part) for network, part in zip(self.each, x, strict=True)])

    def grand(self, x: Float[Tensor, "n c h w"], labels: Int[Tensor, " n"]) -> Float[Tensor, "k n"]:
        """Gradients one example at a time, by ``torch.func``."""
        return torch.stack([grand_scores(net, x, labels, chunk_size=GRADIENTS_AT_ONCE) for net in self.each])


def crop_and_flip(
    images: Float[Tensor, "*batch c h w"], *, generator: torch.Generator
) -> Float[Tensor, "*batch c h w"]:
    """The usual augmentation of small images: a crop out of a mirrored border and, every other time, a reflection.

    Parameters
    ----------
    images
        Height and width above 4 pixels, the width of the border.
    generator
        CPU generator: a shift of -4..4 pixels along each axis and a reflection for each image.
    """
    flat = functional.pad(images.flatten(0, -4), [CROP_PADDING] * 4, mode="reflect")
    return crop_and_mirror(flat, CROP_PADDING, generator=generator).reshape(images.shape)
