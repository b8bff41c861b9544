"""Several networks behind one interface: MLPs as stacked tensors, ResNets in a loop."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from overparam.core.datasets import crop_and_mirror
from overparam.core.models import ResNet18, mlp_ensemble_features, mlp_ensemble_init
from overparam.core.training import evaluating

#: Examples that :meth:`Networks.extract` takes at once.
EXTRACT_AT_ONCE = 500
#: Pixels of border that an image gets before a crop is taken.
CROP_PADDING = 4


class Networks(nn.Module, ABC):
    """K networks that train side by side, each a feature extractor and a linear classifier."""

    count: int

    @abstractmethod
    def features(self, x: Float[Tensor, "k n ..."]) -> Float[Tensor, "k n d"]:
        """Each network's non-negative features of its own batch."""

    @abstractmethod
    def classifier(self) -> tuple[Float[Tensor, "k c d"], Float[Tensor, "k c"]]:
        """Weights and biases of the linear classifiers."""

    def classify(self, features: Float[Tensor, "k n d"]) -> Float[Tensor, "k n c"]:
        """Logits from features, masked or not."""
        weight, bias = self.classifier()
        return torch.baddbmm(bias[:, None], features, weight.mT)

    @torch.no_grad()
    def extract(self, x: Float[Tensor, "n ..."]) -> Float[Tensor, "k n d"]:
        """Every network's features of the same examples, in evaluation mode and without gradient."""
        with evaluating(self):
            chunks = [self.features(part.expand(self.count, *part.shape)) for part in x.split(EXTRACT_AT_ONCE)]
        return torch.cat(chunks, 1)

    def weights_beside_norms(self) -> list[nn.Parameter]:
        """All parameters but those of batch norm, which fine-tuning leaves frozen."""
        kept = [m for m in self.modules() if not isinstance(m, nn.BatchNorm2d)]
        return [p for module in kept for p in module.parameters(recurse=False)]


class StackedMLPs(Networks):
    """K ReLU MLPs as one batched product; the last hidden layer is the features."""

    def __init__(self, count: int, dims: tuple[int, ...], *, generator: torch.Generator) -> None:
        super().__init__()
        self.count = count
        self.stacked = nn.ParameterList(mlp_ensemble_init(count, dims, generator=generator))

    def features(self, x: Float[Tensor, "k n d_in"]) -> Float[Tensor, "k n d"]:
        """The last hidden layer."""
        return mlp_ensemble_features(list(self.stacked), x)

    def classifier(self) -> tuple[Float[Tensor, "k c d"], Float[Tensor, "k c"]]:
        """The last layer's weights and biases."""
        return self.stacked[-2].mT, self.stacked[-1][:, 0]


class ResNets(Networks):
    """K ResNet-18 for 32 x 32 colour images, with 512 features each."""

    def __init__(self, count: int, num_classes: int, *, generator: torch.Generator) -> None:
        super().__init__()
        self.count = count
        self.each = nn.ModuleList(ResNet18(num_classes, generator=generator) for _ in range(count))

    def features(self, x: Float[Tensor, "k n c h w"]) -> Float[Tensor, "k n 512"]:
        """The pooled last stage of each network."""
        return torch.stack([network.features(part) for network, part in zip(self._networks(), x, strict=True)])

    def classifier(self) -> tuple[Float[Tensor, "k c 512"], Float[Tensor, "k c"]]:
        """The classifiers' weights and biases, stacked."""
        heads = [network.classifier for network in self._networks()]
        return torch.stack([head.weight for head in heads]), torch.stack([head.bias for head in heads])

    def _networks(self) -> list[ResNet18]:
        return [network for network in self.each if isinstance(network, ResNet18)]


def crop_and_flip(
    images: Float[Tensor, "*batch c h w"], *, generator: torch.Generator
) -> Float[Tensor, "*batch c h w"]:
    """The usual augmentation of small images: a crop out of a border of 4 pixels and, every other time, a mirror.

    Parameters
    ----------
    images
        Centred images; the border is 0, the mean colour.
    generator
        CPU generator: a shift of -4..4 pixels along each axis and a mirror for each image.
    """
    return crop_and_mirror(functional.pad(images, [CROP_PADDING] * 4), CROP_PADDING, generator=generator)
