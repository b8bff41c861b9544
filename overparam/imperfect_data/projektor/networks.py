"""What is trained on a purchase: MLPs on digits as one batched ensemble, PreActResNet-18 on colour images in a loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from overparam.core.datasets import Examples
from overparam.core.models import mlp_ensemble_forward, mlp_ensemble_init
from overparam.core.training import accuracy, epoch_batches, train_ensemble

#: Images that a PreActResNet sees at once where nothing is trained.
EVALUATED_AT_ONCE = 500


def train_mlps(
    data: Examples,
    purchases: Int[Tensor, "k n"],
    val: Examples,
    *,
    dims: Sequence[int],
    lr: float,
    steps: int,
    generator: torch.Generator,
) -> Float[Tensor, " k"]:
    """Validation errors of one MLP for each purchase, trained side by side by full-batch Adam.

    Parameters
    ----------
    data
        Everything that can be bought, on the device to train on.
    purchases
        For each network the indices of what it trains on.
    dims
        Widths from input to output.
    generator
        CPU generator of the He-normal starts.
    """
    parameters = [p.to(data.x.device) for p in mlp_ensemble_init(len(purchases), dims, generator=generator)]
    x, y = data.x[purchases], data.y[purchases]

    def loss(_: Tensor) -> Tensor:
        logits = mlp_ensemble_forward(parameters, x)
        return functional.cross_entropy(logits.movedim(-1, 1), y, reduction="none").mean(1)

    train_ensemble(parameters, loss, [purchases] * steps, optimizer=partial(torch.optim.Adam, lr=lr))
    return 1 - accuracy(mlp_ensemble_forward(parameters, val.x), val.y)


def train_resnet(
    data: Examples, purchase: Int[Tensor, " n"], *, lr: float, epochs: int, batch_size: int, generator: torch.Generator
) -> PreActResNet18:
    """A network that was trained on a purchase by Adam in mini-batches, in evaluation mode."""
    network = PreActResNet18(generator=generator).to(data.x.device).train()
    bought = Examples(data.x[purchase], data.y[purchase])

    def loss(batch: Tensor) -> Tensor:
        return functional.cross_entropy(network(bought.x[batch[0]]), bought.y[batch[0]])[None]

    size = min(batch_size, len(purchase))
    batches = epoch_batches(1, len(purchase), size, epochs, generator=generator)
    train_ensemble(list(network.parameters()), loss, batches, optimizer=partial(torch.optim.Adam, lr=lr))
    return network.eval()


@torch.no_grad()
def in_chunks(function: Callable[[Tensor], Tensor], images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n f"]:
    """What a network makes of images, a few hundred images at a time and without a gradient."""
    return torch.cat([function(part) for part in images.split(EVALUATED_AT_ONCE)])


class PreActResNet18(nn.Module):
    """ResNet-18 with batch norm and ReLU before every convolution, for colour images of 32 x 32 pixels.

    Like the official code's it has no norm after the last block, and its state has the official names.

    Parameters
    ----------
    generator
        CPU generator of the initial weights, by torch's default law.

    References
    ----------
    He et al., Identity Mappings in Deep Residual Networks, ECCV 2016.
    """

    def __init__(self, num_classes: int = 10, *, generator: torch.Generator) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
        stages = []
        for stage, (narrow, wide) in enumerate(pairwise((64, 64, 128, 256, 512))):
            stages.append(nn.Sequential(_PreActBlock(narrow, wide, min(stage, 1) + 1), _PreActBlock(wide, wide, 1)))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.linear = nn.Linear(512, num_classes)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                bound = module.weight[0].numel() ** -0.5
                for parameter in module.parameters():
                    nn.init.uniform_(parameter, -bound, bound, generator)

    def features(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n 512"]:
        """The pooled output of the last block, which ``linear`` reads."""
        hidden = self.conv1(images)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            hidden = stage(hidden)
        return hidden.mean((2, 3))

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n classes"]:
        """Logits."""
        return self.linear(self.features(images))


class _PreActBlock(nn.Module):
    def __init__(self, narrow: int, wide: int, stride: int) -> None:
        super().__init__()
        self.bn1, self.bn2 = nn.BatchNorm2d(narrow), nn.BatchNorm2d(wide)
        self.conv1 = nn.Conv2d(narrow, wide, 3, stride=stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(wide, wide, 3, padding=1, bias=False)
        widens = stride != 1 or narrow != wide
        self.shortcut = nn.Sequential(nn.Conv2d(narrow, wide, 1, stride=stride, bias=False)) if widens else None

    def forward(self, x: Tensor) -> Tensor:
        out = functional.relu(self.bn1(x))
        shortcut = x if self.shortcut is None else self.shortcut(out)
        return self.conv2(functional.relu(self.bn2(self.conv1(out)))) + shortcut
