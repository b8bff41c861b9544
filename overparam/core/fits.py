"""Straight lines through logarithms, for power laws and linear (geometric) convergence rates; rank correlation."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import ArrayLike


def loglog_slope(x: ArrayLike, y: ArrayLike) -> float:
    """The exponent of a power law: least-squares slope of log y against log x.

    Parameters
    ----------
    x, y
        Positive samples, one-dimensional and of one length (arrays or tensors).

    Raises
    ------
    ValueError
        If there are fewer than 3 samples, all at one x, one is not positive and finite, or the lengths differ.
    """
    x, y = _samples(x, y)
    return _slope(np.log(_positive("x", x)), np.log(_positive("y", y)))


def slope_or_nan(x: ArrayLike, y: ArrayLike) -> float:
    """The exponent of :func:`loglog_slope`, or NaN where it refuses: no claim holds with a NaN, and none raises."""
    try:
        return loglog_slope(x, y)
    except ValueError:
        return math.nan


def linear_rate(steps: ArrayLike, loss: ArrayLike, hi: float, lo: float) -> float:
    """The rate c of a loss that falls like exp(-c t), from the samples with ``lo <= loss <= hi``.

    Parameters
    ----------
    steps, loss
        Time and loss, one-dimensional and of one length (arrays or tensors).
    hi, lo
        The window: it leaves out the start, where the rate is not yet seen, and the floor of rounding.

    Returns
    -------
    Minus the least-squares slope of log loss against the steps, per step.

    Raises
    ------
    ValueError
        If fewer than 3 samples, or none but at one step, lie in the window, or the lengths differ.
    """
    steps, loss = _samples(steps, loss)
    inside = (loss >= lo) & (loss <= hi)
    if inside.sum() < 3:
        raise ValueError(f"a rate needs 3 samples with loss in [{lo:g}, {hi:g}], got {inside.sum()}")
    return -_slope(steps[inside], np.log(_positive("loss", loss[inside])))


def rank_correlation(x: ArrayLike, y: ArrayLike) -> float:
    """Spearman's rank correlation, NaN where one side is constant or has fewer than 2 entries."""
    from scipy.stats import spearmanr

    x, y = np.asarray(x), np.asarray(y)
    if len(x) < 2 or any(z.min() == z.max() for z in (x, y)):
        return math.nan
    return float(np.asarray(spearmanr(x, y))[0])


def _samples(x: ArrayLike, y: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    x, y = (torch.as_tensor(z, dtype=torch.float64).cpu().numpy() for z in (x, y))
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"samples must be two vectors of one length, got shapes {x.shape} and {y.shape}")
    if len(x) < 3:
        raise ValueError(f"a fit needs at least 3 samples, got {len(x)}")
    return x, y


def _positive(name: str, values: np.ndarray) -> np.ndarray:
    if (bad := values[~(np.isfinite(values) & (values > 0))]).size:
        raise ValueError(f"{name} must be positive and finite, got {bad[0]:g}")
    return values


def _slope(x: np.ndarray, y: np.ndarray) -> float:
    if x.min() == x.max():
        raise ValueError(f"samples along x must differ, got {len(x)} samples at {x[0]:g}")
    return float(np.polynomial.polynomial.polyfit(x, y, 1)[1])
