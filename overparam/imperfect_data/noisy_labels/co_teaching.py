"""Who learns what from whom: small losses are selected, exchanged between peers, and the noise that asks for it."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from overparam.core import checks
from overparam.core.datasets import flip_labels


def small_loss_indices(losses: Float[Tensor, "*batch n"], forget_rate: float) -> Int[Tensor, "*batch r"]:
    r"""The positions of the :math:`r = \max(1, \lfloor (1 - \text{rate})\,n \rfloor)` smallest losses.

    Parameters
    ----------
    losses
        One loss an example along the last axis.
    forget_rate
        The share to leave out, in [0, 1).

    Returns
    -------
    Positions along the last axis, by ascending loss; equal losses keep their order.

    Raises
    ------
    ValueError
        If ``forget_rate`` is outside [0, 1) or there is no loss.

    References
    ----------
    Han et al., Co-teaching, NeurIPS 2018, Algorithm 1.
    """
    checks.probability(below_one=True, forget_rate=forget_rate)
    if not losses.ndim or not losses.shape[-1]:
        raise ValueError(f"losses must have at least one entry along the last axis, got shape {tuple(losses.shape)}")
    # Without the 1e-9, (1 - 0.3) * 10 = 6.999... would lose an example to rounding.
    kept = max(1, math.floor((1 - forget_rate) * losses.shape[-1] + 1e-9))
    return losses.argsort(dim=-1, stable=True)[..., :kept]


def co_teaching_exchange(losses: Float[Tensor, "networks n"], forget_rate: float) -> Int[Tensor, "networks r"]:
    """What each network learns from: the examples on which its *peer* has the smallest losses.

    Networks 0 and 1 are peers, 2 and 3, and so on; each has computed the losses of its own half of a mini-batch.

    Parameters
    ----------
    losses
        One row a network, over its own half.
    forget_rate
        The share to leave out, in [0, 1).

    Returns
    -------
    Row i holds what peer i ^ 1 selected: positions in the peer's half, not in the network's own.

    Raises
    ------
    ValueError
        If the number of networks is odd or ``forget_rate`` is outside [0, 1).

    References
    ----------
    Han et al., Co-teaching, NeurIPS 2018, Algorithm 1; halves of a batch as in Chen et al. (2022).
    """
    if losses.ndim != 2 or not len(losses) or len(losses) % 2:
        raise ValueError(f"losses must have a row for each of an even number of networks, got {tuple(losses.shape)}")
    return small_loss_indices(losses, forget_rate)[peers(len(losses)).to(losses.device)]


def peers(networks: int) -> Int[Tensor, " {networks}"]:
    """The peer of each network: 1, 0, 3, 2, ..."""
    return torch.arange(networks) ^ 1


def forget_schedule(epochs: int, rate: float, n_gradual: int) -> np.ndarray:
    """The forget rate of every epoch: up from 0 in ``n_gradual`` even steps, ``rate`` from then on.

    Raises
    ------
    ValueError
        If ``epochs`` is below 1, ``rate`` outside [0, 1), or ``n_gradual`` outside [0, epochs].
    """
    checks.integer(1, epochs=epochs)
    checks.probability(below_one=True, rate=rate)
    checks.integer(0, n_gradual=n_gradual)
    if n_gradual > epochs:
        raise ValueError(f"n_gradual must be at most the {epochs} epochs, got {n_gradual}")
    schedule = np.full(epochs, float(rate))
    schedule[:n_gradual] = np.linspace(0, rate, n_gradual)
    return schedule


def symmetric_noise(
    labels: Int[Tensor, " n"], rate: float, num_classes: int, *, generator: torch.Generator
) -> tuple[Int[Tensor, " n"], Bool[Tensor, " n"]]:
    """Move each label, independently with probability ``rate``, to a uniformly drawn other class.

    Returns
    -------
    The noisy labels and the mask of those that moved, on the labels' device.

    Raises
    ------
    ValueError
        If ``rate`` is outside [0, 1], there are fewer than two classes, or a label is outside 0..num_classes-1.
    """
    return flip_labels(labels, rate, num_classes, exact=False, generator=generator)
