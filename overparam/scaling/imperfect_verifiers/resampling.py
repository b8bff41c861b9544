"""Resampling until something passes: what comes out, what it is worth, and when to stop."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from numpy.typing import ArrayLike
from torch import Tensor

from overparam.core import checks

DTYPE = torch.float64  # a miss to the power of ten thousand attempts


class Outcome(NamedTuple):
    """What resampling ends in, as shares of the problems; the three sum to one."""

    accuracy: Float[Tensor, "*k"]
    false_positive: Float[Tensor, "*k"]
    abstain: Float[Tensor, "*k"]


def resample(correct: ArrayLike, false_positive: ArrayLike, attempts: ArrayLike) -> Outcome:
    r"""Sample each problem until something passes, at most ``attempts`` times, and else abstain.

    A single sample for problem i is correct with probability :math:`c_i`, wrong and accepted with :math:`f_i`, and
    rejected with :math:`1 - s_i`, where :math:`s_i = c_i + f_i`. After k attempts

    .. math:: \text{accuracy} = \frac1n \sum_i \frac{c_i}{s_i} \big(1 - (1 - s_i)^k\big),

    the same with :math:`f_i` for false positives, and :math:`\frac1n \sum_i (1 - s_i)^k` for abstaining. A problem with
    :math:`s_i = 0` abstains forever.

    Parameters
    ----------
    correct, false_positive
        :math:`c` and :math:`f`, one entry a problem.
    attempts
        k, an integer or an array of them, at least 0.

    Returns
    -------
    Three tensors of the shape of ``attempts``, in the dtype of ``correct``.

    Raises
    ------
    ValueError
        If an entry is negative or not finite, c + f exceeds 1, the lengths differ or are 0, or an attempt is negative
        or no integer.
    """
    c, f, dtype = _problems(correct, false_positive)
    k = _attempts(attempts, 0, "attempts", c)
    s = c + f
    shares = torch.stack([_ratio(c, s), _ratio(f, s)], 1)
    missed = _missed(s, k)
    solved = shares.mean(0) - missed @ shares / len(s)
    return Outcome(*(part.to(dtype) for part in (solved[..., 0], solved[..., 1], missed.mean(-1))))


def ceiling(correct: ArrayLike, false_positive: ArrayLike) -> float:
    r"""The accuracy of resampling without end: the mean over problems of :math:`c_i / s_i`, hopeless ones as 0.

    Raises
    ------
    ValueError
        As for :func:`resample`.
    """
    c, f, _ = _problems(correct, false_positive)
    return float(_ratio(c, c + f).mean())


def false_positive_share(correct: ArrayLike, false_positive: ArrayLike) -> float:
    r"""The probability that a single sample that passes is wrong, pooled: :math:`\sum_i f_i / \sum_i s_i`.

    Raises
    ------
    ValueError
        As for :func:`resample`, and if nothing passes.
    """
    c, f, _ = _problems(correct, false_positive)
    passing = float((c + f).sum())
    if passing == 0:
        raise ValueError(f"a share needs a sample that passes, got rates that sum to {passing:g}")
    return float(f.sum()) / passing


def precision_at_attempt(correct: ArrayLike, false_positive: ArrayLike, attempt: ArrayLike) -> Float[Tensor, "*j"]:
    r"""The probability that what is accepted at attempt j is correct.

    .. math:: \frac{\sum_i (1 - s_i)^{j-1} c_i}{\sum_i (1 - s_i)^{j-1} s_i}

    The weights are the problems that are still open. Where none can be, the precision is NaN.

    Parameters
    ----------
    correct, false_positive
        As for :func:`resample`.
    attempt
        j, an integer or an array of them, counted from 1.

    Raises
    ------
    ValueError
        As for :func:`resample`, and if ``attempt`` is below 1.
    """
    c, f, dtype = _problems(correct, false_positive)
    j = _attempts(attempt, 1, "attempt", c)
    s = c + f
    c, s = c[s > 0], s[s > 0]
    # Relative to the problem that stays open longest, so that many attempts underflow for all others only.
    longest = (1 - s).clamp(min=0).max() if len(s) else 1.0
    still_open = ((1 - s).clamp(min=0) / max(float(longest), math.ulp(0))) ** (j[..., None] - 1)
    return (still_open @ c / (still_open @ s)).to(dtype)


def utility(
    correct: ArrayLike,
    false_positive: ArrayLike,
    attempts: ArrayLike,
    *,
    cost: float = 1.0,
    sample_cost: float = 0.0,
) -> Float[Tensor, "*k"]:
    r"""What resampling is worth: accuracy less the cost of false positives and of the samples that were drawn.

    A correct answer is worth 1, abstaining 0. Problem i draws :math:`(1 - (1 - s_i)^k) / s_i` samples on average, or
    k if nothing passes. Attempt j adds :math:`\frac1n \sum_i (1 - s_i)^{j-1} (c_i - \text{cost} \cdot f_i -
    \text{sample cost})`.

    Parameters
    ----------
    correct, false_positive, attempts
        As for :func:`resample`.
    cost
        Of a false positive, in units of a correct answer.
    sample_cost
        Of a sample, in the same units.

    Raises
    ------
    ValueError
        As for :func:`resample`, and if a cost is negative or not finite.
    """
    checks.non_negative(cost=cost, sample_cost=sample_cost)
    c, f, dtype = _problems(correct, false_positive)
    k = _attempts(attempts, 0, "attempts", c)
    s = c + f
    gain = _ratio(c - cost * f - sample_cost, s)
    hopeless = (s == 0).to(c).mean()
    worth = gain.mean() - _missed(s, k) @ gain / len(s) - sample_cost * hopeless * k
    return worth.to(dtype)


def optimal_attempts(
    correct: ArrayLike,
    false_positive: ArrayLike,
    *,
    cost: float = 1.0,
    sample_cost: float = 0.0,
    max_attempts: int = 10_000,
) -> int:
    """The number of attempts of the highest :func:`utility`, the smallest such up to 1e-12; 0 is never to answer.

    Where more attempts are always better the search ends near ``max_attempts`` or where they no longer matter.

    Raises
    ------
    ValueError
        As for :func:`utility`, and if ``max_attempts`` is negative or no integer.
    """
    checks.integer(0, max_attempts=max_attempts)
    c, f, _ = _problems(correct, false_positive)
    worth = utility(c, f, torch.arange(max_attempts + 1), cost=cost, sample_cost=sample_cost)
    return int((worth >= worth.max() - 1e-12).int().argmax())


def _missed(s: Tensor, k: Tensor) -> Tensor:
    """The probability that no attempt passes, a row for each k; one for k = 0, also where everything passes."""
    return (1 - s).clamp(min=0) ** k[..., None]


def _ratio(part: Tensor, whole: Tensor) -> Tensor:
    """``part / whole``, and 0 where the whole is 0."""
    return torch.where(whole > 0, part / whole.clamp(min=math.ulp(0)), 0)


def _problems(correct: ArrayLike, false_positive: ArrayLike) -> tuple[Tensor, Tensor, torch.dtype]:
    """Both rates, checked, in double precision, and the dtype of the first."""
    c, f = (_vector(rates) for rates in (correct, false_positive))
    if c.ndim != 1 or c.shape != f.shape or not len(c):
        shapes = f"{tuple(c.shape)} and {tuple(f.shape)}"
        raise ValueError(f"correct and false_positive must be vectors of one length above 0, got shapes {shapes}")
    for name, rates in (("correct", c), ("false_positive", f)):
        if not (good := rates.isfinite() & (rates >= 0)).all():
            raise ValueError(f"{name} must be finite and at least 0, got {rates[~good][0].item():g}")
    slack = max(1e-9, torch.finfo(c.dtype).eps)  # two rates in single precision may sum to a little more than one
    total = c.to(DTYPE) + f.to(DTYPE)
    if (total > 1 + slack).any():
        raise ValueError(f"correct + false_positive must be at most 1, got {total.max().item():g}")
    return c.to(DTYPE), f.to(DTYPE), c.dtype


def _vector(rates: ArrayLike) -> Tensor:
    values = torch.as_tensor(rates) if isinstance(rates, Tensor) else torch.as_tensor(rates, dtype=DTYPE)
    return values if values.is_floating_point() else values.to(DTYPE)


def _attempts(attempts: ArrayLike, least: int, name: str, like: Tensor) -> Tensor:
    k = torch.as_tensor(attempts)
    whole = not (k.is_floating_point() or k.is_complex() or k.dtype == torch.bool)
    if not whole or (k < least).any():
        worst = k.min().item() if whole else k.flatten()[0].item()
        raise ValueError(f"{name} must be integers of at least {least}, got {worst!r}")
    return k.to(like.device)
