"""Masks on features: how they are drawn, how a classifier reads a prefix, and what they add to a squared loss."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from overparam.core import checks

#: How far from 1 a probability vector may sum.
PROBABILITY_TOLERANCE = 1e-4
#: Logits that :func:`nested_accuracy` holds at once; 4 million float32 are 16 MB.
LOGITS_AT_ONCE = 4_000_000


# --- Drawing masks ----------------------------------------------------------------------------------------------


def nested_distribution(
    dim: int, std: float, *, mean: float = 0.0, dtype: torch.dtype = torch.float64
) -> Float[Tensor, " {dim}"]:
    r"""The law of the number of features kept, :math:`p(k) \propto e^{-((k-\mu)/\sigma)^2}` for k = 1..D.

    There is no factor 1/2 in the exponent, so :math:`\sigma` is :math:`\sqrt 2` times a standard deviation.
    Computed in float64: in float32 the tail underflows from k = 100 on at :math:`\sigma = 10`.

    Parameters
    ----------
    dim
        Number of features D.
    std, mean
        :math:`\sigma` and :math:`\mu`, in features.
    dtype
        Of the result.

    Returns
    -------
    Entry i is :math:`p(k = i + 1)`; they sum to 1.

    Raises
    ------
    ValueError
        If ``dim`` is below 1, ``std`` not positive and finite, ``mean`` not finite, or ``dtype`` not floating.

    References
    ----------
    Rippel, Gelbart & Adams, ICML 2014, who draw k from a geometric law; this one is that of Chen et al. (2022).
    """
    checks.integer(1, dim=dim)
    checks.positive(std=std)
    if not math.isfinite(mean):
        raise ValueError(f"mean must be finite, got {mean}")
    if not dtype.is_floating_point:
        raise ValueError(f"dtype must be a floating type, got {dtype}")
    distance = (torch.arange(1, dim + 1, dtype=torch.float64) - mean).abs()
    nearest = distance.min()  # taken off, so that not every entry can underflow
    return torch.softmax(-((distance - nearest) / std) * ((distance + nearest) / std), 0).to(dtype)


def nested_survival(dist: Float[Tensor, " d"]) -> Float[Tensor, " d"]:
    r"""The probability :math:`S_j = P(k \ge j)` that feature j is kept, which is :math:`\mathbb{E}[m_j]`.

    :math:`\sum_j S_j` is the average number of features kept.

    Raises
    ------
    ValueError
        If ``dist`` is not a probability vector.
    """
    _check_probabilities(dist)
    return dist.flip(0).cumsum(0).flip(0)


def nested_mask(dist: Float[Tensor, " d"], batch: int = 1, *, generator: torch.Generator) -> Float[Tensor, "{batch} d"]:
    r"""Nested Dropout: each row keeps the first :math:`k \sim` ``dist`` features, without rescaling them.

    Parameters
    ----------
    dist
        The law of k (:func:`nested_distribution`).
    batch
        Rows; the paper draws one for each mini-batch.
    generator
        CPU generator.

    Returns
    -------
    Rows of ones and then zeros, at least one 1 each, of the dtype and on the device of ``dist``.

    Raises
    ------
    ValueError
        If ``dist`` is not a probability vector or ``batch`` is below 1.
    """
    _check_probabilities(dist)
    checks.integer(1, batch=batch)
    kept = 1 + torch.multinomial(dist.double().cpu(), batch, replacement=True, generator=generator)
    return prefix_mask(kept.to(dist.device), len(dist), dtype=dist.dtype)


def prefix_mask(kept: Int[Tensor, " n"], dim: int, *, dtype: torch.dtype = torch.float32) -> Float[Tensor, "n {dim}"]:
    """Rows of ``dim`` features of which the first ``kept`` are 1 and the others 0."""
    return (torch.arange(dim, device=kept.device) < kept[:, None]).to(dtype)


def dropout_mask(shape: int | Sequence[int], p: float, *, generator: torch.Generator) -> Float[Tensor, "*shape"]:
    r"""Dropout: independent entries, 0 with probability p and :math:`1/(1-p)` otherwise, so that the mean is 1.

    Parameters
    ----------
    shape
        Of the mask.
    p
        Probability of dropping, in [0, 1).
    generator
        CPU generator; the mask is a float32 tensor on the CPU.

    Raises
    ------
    ValueError
        If ``p`` is outside [0, 1).
    """
    checks.probability(below_one=True, p=p)
    return (torch.rand(shape, generator=generator) >= p).float() / (1 - p)


def _check_probabilities(dist: Tensor) -> None:
    if dist.ndim != 1 or not len(dist):
        raise ValueError(f"dist must be a vector of probabilities, got shape {tuple(dist.shape)}")
    if dist.is_meta:
        return
    total = dist.double().sum().item()
    if not (dist >= 0).all() or not abs(total - 1) <= PROBABILITY_TOLERANCE:
        raise ValueError(f"dist must be probabilities that sum to 1, got sum {total:g} and least {dist.min():g}")


# --- Reading a prefix of the features ---------------------------------------------------------------------------


def nested_logits(
    features: Float[Tensor, "n d"], weight: Float[Tensor, "c d"], bias: Float[Tensor, " c"] | None = None
) -> Float[Tensor, "d n c"]:
    r"""The classifier's outputs from every prefix of the features, :math:`\sum_{j \le k} W_{cj} z_j + b_c`.

    One cumulative sum over k, O(n D C), where D masked products cost O(n D² C).

    Parameters
    ----------
    features
        :math:`z`, one example a row.
    weight, bias
        The linear classifier, same device and dtype.

    Returns
    -------
    Entry k - 1 uses the first k features.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    _check_classifier(features, weight, bias)
    terms = features.mT[:, :, None] * weight.mT[:, None, :]
    if bias is not None:
        terms[0] += bias
    return terms.cumsum_(0)


def nested_accuracy(
    features: Float[Tensor, "n d"],
    weight: Float[Tensor, "c d"],
    bias: Float[Tensor, " c"] | None,
    labels: Int[Tensor, " n"],
) -> Float[Tensor, " d"]:
    """The share of examples classified right by the first 1, 2, ..., D features, as float64.

    Computed from :func:`nested_logits` in chunks of examples, so that memory does not grow with their number.

    Raises
    ------
    ValueError
        If the shapes do not fit or there is no example.
    """
    _check_classifier(features, weight, bias)
    if labels.shape != features.shape[:1] or not len(labels):
        raise ValueError(f"labels must number the {len(features)} (at least 1) examples, got {tuple(labels.shape)}")
    chunk = max(1, LOGITS_AT_ONCE // weight.numel())
    right = torch.zeros(features.shape[1], dtype=torch.float64, device=features.device)
    for z, y in zip(features.split(chunk), labels.split(chunk), strict=True):
        # max is several times faster than argmax over so short an axis, and takes the first of equal ones too.
        right += (nested_logits(z, weight, bias).max(-1).indices == y).sum(1)
    return right / len(labels)


def best_k(accuracy: Float[Tensor, " d"], *, penalty: float = 1e-5) -> int:
    r"""The number of features to use, :math:`k^* = \arg\max_k \operatorname{acc}(k) - \text{penalty}\,(k - 1)`.

    The small penalty lets ties go to fewer features. The accuracies must be those of validation data: the test
    data's would make the test accuracy at :math:`k^*` an optimistic one.

    Parameters
    ----------
    accuracy
        Entry k - 1 is that of the first k features (:func:`nested_accuracy`).
    penalty
        Accuracy that one more feature must bring.

    Returns
    -------
    A number of features, 1..D.

    Raises
    ------
    ValueError
        If ``accuracy`` is no vector of finite numbers or ``penalty`` is negative.
    """
    checks.non_negative(penalty=penalty)
    if accuracy.ndim != 1 or not len(accuracy):
        raise ValueError(f"accuracy must be a vector with an entry for each k, got shape {tuple(accuracy.shape)}")
    if not accuracy.isfinite().all():
        raise ValueError(f"accuracy must be finite, got {accuracy[~accuracy.isfinite()][0].item()}")
    cost = penalty * torch.arange(len(accuracy), dtype=torch.float64, device=accuracy.device)
    return int((accuracy.double() - cost).argmax()) + 1


def _check_classifier(features: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    shapes = [tuple(t.shape) for t in (features, weight, bias) if t is not None]
    if features.ndim != 2 or weight.ndim != 2 or features.shape[1] != weight.shape[1] or not weight.numel():
        raise ValueError(
            f"features (n, D) and weight (C, D) must share D of at least 1, got {shapes[0]} and {shapes[1]}"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"bias must have one entry for each of {len(weight)} outputs, got shape {shapes[-1]}")


# --- What masks add to a squared loss ---------------------------------------------------------------------------


def compression_decomposition(
    features: Float[Tensor, "n d"],
    weight: Float[Tensor, "c d"],
    targets: Float[Tensor, "n c"],
    *,
    dist: Float[Tensor, " d"] | None = None,
    dropout: float | None = None,
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    r"""The squared loss under random masks, split into what the mean mask leaves and what its spread adds.

    .. math:: \mathbb{E}_m\|y - W(m \odot z)\|^2 = \|y - W(\mathbb{E}[m] \odot z)\|^2
              + \sum_c \sum_{ij} \operatorname{Cov}(m_i, m_j)\, W_{ci} W_{cj} z_i z_j

    Dropout has mean 1 and covariance :math:`p/(1-p)` on the diagonal. Nested Dropout has mean
    :math:`S_j = P(k \ge j)` and the full covariance :math:`S_{\max(i,j)} - S_i S_j`. A classifier's bias b belongs
    into the targets, as :math:`y - b`.

    Parameters
    ----------
    features, weight, targets
        :math:`z`, :math:`W` and :math:`y`, same device and dtype.
    dist
        The law of k for Nested Dropout; exactly one of this and ``dropout`` must be given.
    dropout
        The probability p for Dropout.

    Returns
    -------
    Squared bias and variance, each the mean over the examples of the sum over the outputs.

    Raises
    ------
    ValueError
        If both or neither of ``dist`` and ``dropout`` are given, one is out of range, or the shapes do not fit.

    References
    ----------
    Chen et al. (2022); Wager, Wang & Liang, NeurIPS 2013, for Dropout.
    """
    _check_classifier(features, weight, None)
    if targets.shape != (len(features), len(weight)) or not len(targets):
        expected = f"{len(features)} (at least 1) x {len(weight)}"
        raise ValueError(f"targets must be {expected} for these features and weight, got shape {tuple(targets.shape)}")
    if (dist is None) == (dropout is None):
        raise ValueError(f"exactly one of dist and dropout must be given, got dist={dist} and dropout={dropout}")
    second_moment = (weight.mT @ weight) * (features.mT @ features) / len(features)
    if dist is not None:
        if dist.shape != features.shape[1:]:
            raise ValueError(
                f"dist must have an entry for each of {features.shape[1]} features, got {tuple(dist.shape)}"
            )
        mean = nested_survival(dist).to(features)
        index = torch.arange(len(mean), device=mean.device)
        covariance = mean[torch.maximum(index[:, None], index)] - mean[:, None] * mean
        variance = (covariance * second_moment).sum()
    else:
        assert dropout is not None
        checks.probability(below_one=True, dropout=dropout)
        mean = torch.ones_like(features[0])
        variance = dropout / (1 - dropout) * second_moment.diagonal().sum()
    bias = targets - (features * mean) @ weight.mT
    return bias.square().sum(1).mean(), variance
