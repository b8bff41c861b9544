"""Checks at the public boundary: every refusal names the value and says what was expected."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike


def positive(**values: float) -> None:
    """Raise ``ValueError`` unless every value is a positive, finite number."""
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name} must be positive and finite, got {value!r}")


def positive_arrays(**values: ArrayLike) -> list[np.ndarray]:
    """The values as float64 arrays; ``ValueError`` names the first entry that is not positive and finite."""
    arrays = {name: np.asarray(value, dtype=np.float64) for name, value in values.items()}
    for name, array in arrays.items():
        if (bad := array[~(np.isfinite(array) & (array > 0))]).size:
            raise ValueError(f"{name} must be positive and finite, got {float(bad[0])!r}")
    return list(arrays.values())


def non_negative(**values: float) -> None:
    """Raise ``ValueError`` unless every value is a finite number of at least 0."""
    for name, value in values.items():
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be finite and at least 0, got {value!r}")


def integer(minimum: int, **values: int) -> None:
    """Raise ``ValueError`` unless every value is an integer of at least ``minimum``."""
    for name, value in values.items():
        whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
        if not (whole and value >= minimum):
            raise ValueError(f"{name} must be an integer of at least {minimum}, got {value!r}")


def probability(*, below_one: bool = False, **values: float) -> None:
    """Raise ``ValueError`` unless every value lies in [0, 1], or in [0, 1) with ``below_one``."""
    for name, value in values.items():
        if not (0 <= value < 1 or (value == 1 and not below_one)):
            interval = "[0, 1)" if below_one else "[0, 1]"
            raise ValueError(f"{name} must lie in {interval}, got {value!r}")


def one_of(choices: tuple[str, ...], **values: str) -> None:
    """Raise ``ValueError`` unless every value is among ``choices``."""
    for name, value in values.items():
        if value not in choices:
            raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


def increasing(*, least: int = 1, **values: Sequence[float]) -> None:
    """Raise ``ValueError`` unless every value has at least ``least`` entries, each above the last."""
    for name, value in values.items():
        if len(value) < least or not all(lower < upper for lower, upper in pairwise(value)):
            raise ValueError(f"{name} must have at least {_entries(least)}, each above the last, got {value!r}")


def decreasing(*, least: int = 1, **values: Sequence[float]) -> None:
    """Raise ``ValueError`` unless every value has at least ``least`` entries, each below the last."""
    for name, value in values.items():
        if len(value) < least or not all(upper > lower for upper, lower in pairwise(value)):
            raise ValueError(f"{name} must have at least {_entries(least)}, each below the last, got {value!r}")


def _entries(least: int) -> str:
    return f"{least} entry" if least == 1 else f"{least} entries"
