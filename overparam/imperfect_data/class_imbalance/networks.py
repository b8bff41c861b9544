"""Several convolutional networks behind one interface: small ones as stacked matrix products, All-CNNs in a loop."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from overparam.core.training import evaluating

#: Images that :meth:`Networks.probabilities` takes at once.
AT_ONCE = 500
#: Side of a convolution's window, and of a pooling's.
WINDOW, POOL = 3, 2


class Networks(nn.Module, ABC):
    """K networks that train side by side."""

    count: int

    @staticmethod
    def prepare(images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n ..."]:
        """The form in which :meth:`forward` wants images; done once for all steps."""
        return images

    @abstractmethod
    def forward(self, x: Float[Tensor, "k n ..."]) -> Float[Tensor, "k n classes"]:
        """Logits of each network for its own batch of prepared images."""

    @abstractmethod
    def head(self) -> list[nn.Parameter]:
        """What the second phase of two-phase training tunes: the end of the networks."""

    @torch.no_grad()
    def probabilities(
        self, x: Float[Tensor, "n ..."], indices: Int[Tensor, "k m"] | None = None
    ) -> Float[Tensor, "k m classes"]:
        """Every network's posterior for prepared images, in evaluation mode and float64.

        ``indices`` names each network's own images among ``x``; None takes all for all.
        """
        if indices is None:
            indices = torch.arange(len(x), device=x.device).expand(self.count, -1)
        with evaluating(self):
            logits = torch.cat([self(x[part]) for part in indices.split(AT_ONCE, dim=1)], 1)
        return logits.double().softmax(-1)


class StackedCNNs(Networks):
    """K networks conv3x3-ReLU-pool-conv3x3-ReLU-pool-FC-ReLU-FC, of which every layer is one batched product.

    A convolution is a product with the image's 3 x 3 patches. Those of the input are the same at every step and
    are cut out once (:meth:`prepare`); those of the second layer are gathered by one index tensor. Positions are
    kept in the order of the pooling's windows, so that pooling is a maximum over four neighbours in memory.

    Parameters
    ----------
    count
        Networks, K.
    side
        Side of the images in pixels, a multiple of 4.
    in_channels, channels, hidden, num_classes
        Channels of the images and of the two convolutions, units of the hidden layer, outputs.
    generator
        CPU generator of the He-normal weights; biases start at zero.
    """

    def __init__(
        self,
        count: int,
        *,
        side: int,
        in_channels: int,
        channels: tuple[int, int],
        hidden: int,
        num_classes: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        if side % POOL**2:
            raise ValueError(f"side must be a multiple of {POOL**2}, for two poolings, got {side}")
        self.count = count
        self.pooled = (side // POOL) ** 2, (side // POOL**2) ** 2
        fan_ins = in_channels * WINDOW**2, channels[0] * WINDOW**2, channels[1] * self.pooled[1], hidden
        fan_outs = *channels, hidden, num_classes
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for fan_in, fan_out in zip(fan_ins, fan_outs, strict=True):
            weight = torch.randn(count, fan_in, fan_out, generator=generator) * (2 / fan_in) ** 0.5
            self.weights.append(nn.Parameter(weight))
            self.biases.append(nn.Parameter(torch.zeros(count, 1, fan_out)))
        self.neighbours: Tensor
        self.register_buffer("neighbours", _neighbours(side // POOL), persistent=False)

    @staticmethod
    def prepare(images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n places patch"]:
        """The zero-padded 3 x 3 patches of the images, channel by channel, in the order of the pooling's windows."""
        patches = functional.unfold(images, WINDOW, padding=WINDOW // 2).mT
        return patches[:, _pooling_order(images.shape[-1]).to(images.device)].contiguous()

    def forward(self, x: Float[Tensor, "k n places patch"]) -> Float[Tensor, "k n classes"]:
        """Logits."""
        k, n = x.shape[:2]
        maps = self._layer(0, x).unflatten(1, (n, *self._windows(0))).max(-2).values.relu()
        padded = functional.pad(maps, (0, 0, 0, 1))  # one more place, which holds zeros
        patches = padded.index_select(2, self.neighbours).view(k, -1, WINDOW**2 * maps.shape[-1])
        maps = self._layer(1, patches).unflatten(1, (n, *self._windows(1))).max(-2).values.relu()
        return self._layer(3, self._layer(2, maps.reshape(k, n, -1)).relu())

    def _windows(self, layer: int) -> tuple[int, int]:
        return self.pooled[layer], POOL**2

    def _layer(self, index: int, x: Tensor) -> Tensor:
        return torch.baddbmm(self.biases[index], x.reshape(self.count, -1, x.shape[-1]), self.weights[index])

    def head(self) -> list[nn.Parameter]:
        """The last layer."""
        return [self.weights[-1], self.biases[-1]]


def _pooling_order(side: int) -> Int[Tensor, " places"]:
    """The places of a side x side map, window by window of the 2 x 2 pooling."""
    places = torch.arange(side**2).view(side // POOL, POOL, side // POOL, POOL)
    return places.transpose(1, 2).flatten()


def _neighbours(side: int) -> Int[Tensor, " places_times_9"]:
    """For each place of a map in pooling order, the 9 places around it; ``side**2`` stands for the padding."""
    padded = functional.pad(torch.arange(side**2).view(side, side), [1] * 4, value=side**2)
    around = padded.unfold(0, WINDOW, 1).unfold(1, WINDOW, 1).reshape(side**2, WINDOW**2)
    return around[_pooling_order(side)].flatten()


class AllCNNs(Networks):
    """K All-CNNs for 32 x 32 colour images: convolutions and dropout, no pooling but the final mean.

    Parameters
    ----------
    count, num_classes
        Networks and outputs.
    channels
        Channels of the first and of the second half, (96, 192) in the paper.
    generator
        CPU generator of the Xavier-uniform weights; biases start at zero.

    References
    ----------
    Buda, Maki & Mazurowski (2018), Table 3; Springenberg et al., Striving for Simplicity, ICLR Workshop 2015.
    """

    def __init__(self, count: int, *, channels: tuple[int, int], num_classes: int, generator: torch.Generator) -> None:
        super().__init__()
        self.count = count
        self.each = nn.ModuleList(_all_cnn(channels, num_classes) for _ in range(count))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight, generator=generator)
                module.bias = nn.Parameter(torch.zeros(module.out_channels))

    def forward(self, x: Float[Tensor, "k n 3 h w"]) -> Float[Tensor, "k n classes"]:
        """Logits: the mean over the last maps."""
        return torch.stack([network(part).mean((2, 3)) for network, part in zip(self.each, x, strict=True)])

    def head(self) -> list[nn.Parameter]:
        """The last two layers, whose windows are 1 x 1 (Section 3.3.2)."""
        layers = (m for m in self.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (1, 1))
        return [parameter for layer in layers for parameter in layer.parameters()]


def _all_cnn(channels: tuple[int, int], num_classes: int) -> nn.Sequential:
    low, high = channels
    return nn.Sequential(
        nn.Dropout(0.2),
        *_convolution(3, low),
        *_convolution(low, low),
        *_convolution(low, low, stride=2),
        nn.Dropout(0.5),
        *_convolution(low, high),
        *_convolution(high, high),
        *_convolution(high, high, stride=2),
        nn.Dropout(0.5),
        *_convolution(high, high, padding=0),
        *_convolution(high, high, window=1, padding=0),
        *_convolution(high, num_classes, window=1, padding=0),
    )


def _convolution(
    narrow: int, wide: int, *, window: int = WINDOW, stride: int = 1, padding: int = 1
) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(narrow, wide, window, stride=stride, padding=padding), nn.ReLU()
