"""What the best certificate of a loss can do, and two worlds between which no certificate can tell."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.stats import binom
from torch import Tensor

from overparam.core import checks

#: Gaps between losses that differ from a window's width by less than this are as wide as the window.
ROUNDING = 1e-12
#: Brute force over all samples and two labellings grows like (4 d)^d.
MAX_ENUMERATED = 5

# --- One loss, one estimate -------------------------------------------------------------------------------------


def best_estimator_failure(
    losses: Float[np.ndarray, " k"], probs: Float[np.ndarray, " k"], epsilon: float
) -> tuple[float, float]:
    r"""The least probability with which a constant misses a random loss by :math:`\varepsilon` or more.

    A constant :math:`E` is good where :math:`|E - L| < \varepsilon`, that is, on an open window of width
    :math:`2\varepsilon`, so that

    .. math:: \min_E P(|E - L| \ge \varepsilon) = 1 - \max_a P(a < L < a + 2\varepsilon).

    Parameters
    ----------
    losses, probs
        The law of L: its values, in any order and possibly repeated, and their probabilities.
    epsilon
        The tolerance. Two values exactly :math:`2\varepsilon` apart cannot both be covered.

    Returns
    -------
    The failure, and an estimate that attains it: the middle of the first best window.

    Raises
    ------
    ValueError
        If ``epsilon`` is not positive, the shapes differ, a loss is not finite, or the probabilities are negative or
        do not sum to 1 within 1e-9.

    References
    ----------
    Gastpar et al. (2024), the definition of estimability.
    """
    checks.positive(epsilon=epsilon)
    losses, probs = np.asarray(losses, dtype=np.float64), np.asarray(probs, dtype=np.float64)
    _check_law(losses, probs)
    order = np.argsort(losses, kind="stable")
    values, below = losses[order], np.concatenate([[0.0], np.cumsum(probs[order])])
    width = 2 * epsilon - min(ROUNDING, epsilon / 2)
    end = np.searchsorted(values, values + width, side="left")
    mass = below[end] - below[:-1]
    best = int(mass.argmax())
    failure = max(0.0, float(below[-1] - mass[best]))
    return failure, float((values[best] + values[end[best] - 1]) / 2)


def _check_law(losses: np.ndarray, probs: np.ndarray) -> None:
    if losses.ndim != 1 or losses.shape != probs.shape:
        raise ValueError(f"losses and probs must be vectors of one length, got shapes {losses.shape} and {probs.shape}")
    if not np.isfinite(losses).all():
        raise ValueError(f"losses must be finite, got {losses[~np.isfinite(losses)][0]}")
    if not (probs >= 0).all():
        raise ValueError(f"probs must not be negative, got {probs[~(probs >= 0)][0]:g}")
    if not abs(probs.sum() - 1) <= 1e-9:
        raise ValueError(f"probs must sum to 1, got {probs.sum():.12g}")


# --- Twin worlds ------------------------------------------------------------------------------------------------


def distinct_distribution(n: int, d: int) -> Float[np.ndarray, " u"]:
    r"""The law of the number u of distinct points among n that are drawn with replacement from d.

    .. math:: p_{t+1}(u) = p_t(u)\,\frac{u}{d} + p_t(u - 1)\,\frac{d - u + 1}{d}, \qquad p_0(0) = 1.

    Returns
    -------
    The probabilities of u = 0, ..., n.

    Raises
    ------
    ValueError
        If ``n`` is negative or ``d`` below 1.
    """
    checks.integer(0, n=n)
    checks.integer(1, d=d)
    u = np.arange(n + 1)
    law = (u == 0).astype(np.float64)
    for _ in range(n):
        fresh = law[:-1] * np.maximum(d - u[:-1], 0) / d
        law = law * np.minimum(u, d) / d
        law[1:] += fresh
    return law


def twin_failure(d: int, n: int, epsilon: float, classes: int = 2) -> float:
    r"""The least failure, on average over the twin worlds, of any certificate that sees the sample and the network.

    Either world has probability 1/2. Given sample and network, of whose d points u are in the sample, the loss is 0
    with probability 1/2, and otherwise :math:`k / d` with :math:`k \sim \text{Bin}(d - u, 1 - 1/c)`.

    Parameters
    ----------
    d, n
        Points of the population and draws of the sample.
    epsilon
        The tolerance.
    classes
        Number of classes c.

    Raises
    ------
    ValueError
        If ``epsilon`` is not positive, ``n < 0``, ``d < 1`` or ``classes < 2``.
    """
    checks.positive(epsilon=epsilon)
    checks.integer(2, classes=classes)
    failure = 0.0
    for u, p in enumerate(distinct_distribution(n, d)[: d + 1]):
        if p == 0:
            continue
        errors = np.arange(d - u + 1)
        probs = binom.pmf(errors, d - u, 1 - 1 / classes) / 2
        probs[0] += 0.5
        failure += float(p) * best_estimator_failure(errors / d, probs / probs.sum(), epsilon)[0]
    return failure


def twin_worlds(
    pool_labels: Int[Tensor, "*batch d"],
    sample_index: Int[Tensor, "*batch n"],
    classes: int,
    generator: torch.Generator,
) -> tuple[Int[Tensor, "*batch d"], Int[Tensor, "*batch d"]]:
    """Two populations that agree on a sample: the labels as given, and the same with fresh ones off the sample.

    If the labels are uniform and the sample is independent of them, then in either world the population is uniform
    and the sample a fair one of it, and a network that fits all of ``pool_labels`` fits the sample. All that a
    certificate can see is the same.

    Parameters
    ----------
    pool_labels
        What the network says on the d points, labels 0..classes-1.
    sample_index
        The sample's points, repeats allowed.
    classes
        At least 2.
    generator
        CPU generator of the fresh labels, which are uniform.

    Returns
    -------
    The labels of world 1, which are ``pool_labels``, and of world 2.

    Raises
    ------
    ValueError
        If ``classes < 2``, a label or an index is out of range, or the batches differ.
    """
    checks.integer(2, classes=classes)
    if pool_labels.ndim < 1 or pool_labels.shape[:-1] != sample_index.shape[:-1] or sample_index.ndim < 1:
        shapes = f"{tuple(pool_labels.shape)} and {tuple(sample_index.shape)}"
        raise ValueError(f"pool_labels and sample_index must have the same batch, got shapes {shapes}")
    check_range(classes, pool_labels=pool_labels)
    check_range(pool_labels.shape[-1], sample_index=sample_index)
    fresh = torch.randint(classes, pool_labels.shape, generator=generator).to(pool_labels)
    seen = torch.zeros_like(pool_labels, dtype=torch.bool).scatter(-1, sample_index.long(), True)
    return pool_labels, torch.where(seen, pool_labels, fresh)


def check_range(count: int, **values: Tensor) -> None:
    """Raise ``ValueError`` unless every entry lies in 0..count-1."""
    for name, tensor in values.items():
        if (bad := tensor[(tensor < 0) | (tensor >= count)]).numel():
            raise ValueError(f"{name} must lie in 0..{count - 1}, got {bad.flatten()[0].item()}")


def enumerate_twins(d: int, n: int, epsilon: float) -> tuple[float, float]:
    """The twin worlds by brute force: every population, every sample, every choice of labels off the sample.

    Binary labels. In both worlds the population f is uniform and the sample a uniform one of n draws; the network is
    f itself in world 1, and f on the sample with fresh labels off it in world 2. What a certificate sees is the
    sample with its labels, and the network.

    Parameters
    ----------
    d, n
        Points, at most 5, and draws.
    epsilon
        The tolerance.

    Returns
    -------
    The total variation distance between what is seen in the two worlds, and the least average failure of a
    certificate, from the joint law of what is seen and the loss.

    Raises
    ------
    ValueError
        If ``d`` is not in 1..5, ``n < 0`` or ``epsilon`` is not positive.
    """
    checks.integer(1, d=d)
    checks.integer(0, n=n)
    checks.positive(epsilon=epsilon)
    if d > MAX_ENUMERATED:
        raise ValueError(f"d must be at most {MAX_ENUMERATED} for brute force, got {d}")
    labellings = np.arange(2**d)  # bit i is the label of point i
    f, fresh = (grid.ravel() for grid in np.meshgrid(labellings, labellings, indexing="ij"))
    losses = np.arange(d + 1) / d
    apart = failure = 0.0
    for sample in itertools.product(range(d), repeat=n):
        seen = sum(1 << i for i in set(sample))
        joint = np.zeros((2, 2**d, 2**d, d + 1))  # world, labels on the sample, network, errors
        for world, network in enumerate((f, (f & seen) | (fresh & ~seen))):
            np.add.at(joint, (world, f & seen, network, np.bitwise_count(f ^ network)), 0.25**d / d**n)
        apart += float(np.abs(joint[0].sum(-1) - joint[1].sum(-1)).sum()) / 2
        laws = joint.mean(0).reshape(-1, d + 1)
        for law in laws[laws.sum(1) > 0]:
            failure += float(law.sum()) * best_estimator_failure(losses, law / law.sum(), epsilon)[0]
    return apart, failure
