"""Linear functions over a finite field: what a sample determines, how often a rule is right, and who can tell."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from overparam.core import checks


def rank_distribution(n: int, d: int, q: int = 2) -> Float[np.ndarray, " r"]:
    r"""The law of the rank of a uniform n x d matrix over :math:`\mathbb{F}_q`.

    .. math:: P(r) = q^{-(n-r)(d-r)} \prod_{i<r} \frac{(1 - q^{i-n})(1 - q^{i-d})}{1 - q^{i-r}}

    Returns
    -------
    The probabilities of r = 0, ..., min(n, d).

    Raises
    ------
    ValueError
        If ``n < 0``, ``d < 1`` or ``q`` is not prime.
    """
    checks.integer(0, n=n)
    checks.integer(1, d=d)
    check_prime(q)
    return np.array([_rank_probability(n, d, r, float(q)) for r in range(min(n, d) + 1)])


def _rank_probability(n: int, d: int, r: int, q: float) -> float:
    i = np.arange(r)
    ways = (1 - q ** (i - n)) * (1 - q ** (i - d)) / (1 - q ** (i - r))
    return float(q ** -((n - r) * (d - r)) * ways.prod())


def check_prime(q: int) -> None:
    """Raise ``ValueError`` unless ``q`` is prime."""
    checks.integer(2, q=q)
    if any(q % k == 0 for k in range(2, math.isqrt(q) + 1)):
        raise ValueError(f"q must be prime, got {q}")


def linear_success(n: int, d: int, q: int = 2) -> float:
    r"""The probability that a rule which outputs a consistent linear function has found the right one.

    After n uniform samples of rank r the :math:`q^{d-r}` consistent functions are equally likely, whatever the rule
    prefers: :math:`\sum_r P(r)\, q^{-(d-r)}`.

    Raises
    ------
    ValueError
        If ``n < 0``, ``d < 1`` or ``q`` is not prime.
    """
    right = _chances(n, d, q)
    return float(rank_distribution(n, d, q) @ right)


def linear_failure(n: int, d: int, q: int = 2, epsilon: float | None = None) -> float:
    r"""The least failure of a certificate that knows the sample and the rule.

    Given a sample of rank r the loss is 0 with probability :math:`\pi = q^{-(d-r)}` and :math:`1 - 1/q` otherwise, so
    that the best certificate fails with probability :math:`\min(\pi, 1 - \pi)`, if the tolerance does not cover both
    losses at once.

    Parameters
    ----------
    n, d, q
        Samples, dimension and size of the field.
    epsilon
        The tolerance; None is :math:`(1 - 1/q)/2`, the largest for which the question is not void.

    Raises
    ------
    ValueError
        If ``n < 0``, ``d < 1``, ``q`` is not prime or ``epsilon`` not positive.
    """
    right = _chances(n, d, q)
    largest = (1 - 1 / q) / 2
    epsilon = largest if epsilon is None else epsilon
    checks.positive(epsilon=epsilon)
    # An open window of width 2 epsilon covers both losses only if it is wider than their distance.
    if epsilon > largest * (1 + 1e-12):
        return 0.0
    return float(rank_distribution(n, d, q) @ np.minimum(right, 1 - right))


def _chances(n: int, d: int, q: int) -> Float[np.ndarray, " r"]:
    """For every rank, one over the number of consistent functions."""
    checks.integer(0, n=n)
    checks.integer(1, d=d)
    check_prime(q)
    return float(q) ** (np.arange(min(n, d) + 1) - d)


def field_solve(
    A: Int[Tensor, "b n d"], y: Int[Tensor, "b n"], q: int = 2
) -> tuple[Int[Tensor, "b d"], Int[Tensor, " b"]]:
    r"""Solve many systems :math:`A w = y` over :math:`\mathbb{F}_q` at once, by Gauss-Jordan elimination.

    Rows are not swapped: a row that has served as a pivot is marked. With the pivot row scaled to
    :math:`M_p / M_{pj}`, one subtraction clears column j in all other rows and scales the pivot row itself.

    Parameters
    ----------
    A, y
        Integers, reduced mod q; same device.
    q
        A prime; (d + 1) q^2 must fit 62 bits.

    Returns
    -------
    The solution whose free variables are 0, in the dtype of ``A``, and the rank, int64.

    Raises
    ------
    ValueError
        If ``q`` is not prime or is too large, the shapes do not fit, the entries are not integers, or a system is
        inconsistent.
    """
    check_prime(q)
    _check_systems(A, y)
    batch, n, d = A.shape
    largest = (d + 1) * q * q
    if largest >= 2**62:
        raise ValueError(f"q is too large for {d} unknowns in 64 bits, got {q}")
    # The systems come last, so that the processor's vectors run along them. A float is exact on integers of this size.
    exact = torch.float32 if largest < 2**22 else torch.float64 if largest < 2**50 else torch.int64
    M = _augmented(A, y, q).permute(1, 2, 0).to(exact).contiguous()
    systems = torch.arange(batch, device=A.device)
    used = torch.zeros(n, batch, dtype=torch.bool, device=A.device)
    pivots, bound = torch.zeros(2, d, batch, dtype=torch.int64, device=A.device)
    for j in range(d if n else 0):
        # An entry grows by less than q^2 in a step, and is reduced only when it is read.
        column = _reduce(M[:, j], q)
        found, pivot = ((column != 0) & ~used).max(0)
        # To the left of j the pivot row is zero already.
        row = _reduce(M[:, j:].gather(0, pivot.expand(1, d + 1 - j, batch))[0], q)
        scaled = _reduce(row * _inverse(row[0], q), q)
        factors = column * found
        factors[pivot, systems] -= found.to(exact)
        M[:, j:].addcmul_(factors[:, None], scaled, value=-1)
        used[pivot, systems] |= found
        pivots[j], bound[j] = pivot, found
    right = _reduce(M[:, d], q)
    if (broken := ((right != 0) & ~used).any(0)).any():
        raise ValueError(f"system {int(broken.nonzero()[0])} is inconsistent, {int(broken.sum())} of {batch} are")
    w = right.gather(0, pivots) * bound if n else bound
    return w.mT.to(A), used.sum(0)


def _augmented(A: Tensor, y: Tensor, q: int) -> Tensor:
    """The matrices (A | y), reduced mod q where that is not done already."""
    M = torch.cat([A, y[..., None]], -1).long()
    return M if not M.numel() or (M.min() >= 0 and M.max() < q) else M.remainder(q)


def _reduce(x: Tensor, q: int) -> Tensor:
    """Integers mod q, in place; the half keeps a quotient that is whole away from the edge of the floor."""
    if not x.is_floating_point():
        return x.remainder_(q)
    return x.sub_((x + 0.5).div_(q).floor_(), alpha=q)


def _inverse(x: Tensor, q: int) -> Tensor:
    """Inverses mod q by Fermat's little theorem, as the power q - 2 by repeated squaring; for 0 anything."""
    inverse, power = torch.ones_like(x), x
    for bit in reversed(f"{q - 2:b}"):
        inverse = _reduce(inverse * power, q) if bit == "1" else inverse
        power = _reduce(power * power, q)
    return inverse


def _check_systems(A: Tensor, y: Tensor) -> None:
    if A.ndim != 3 or A.shape[:2] != y.shape or A.shape[2] < 1:
        shapes = f"{tuple(A.shape)} and {tuple(y.shape)}"
        raise ValueError(f"A and y must have shapes (b, n, d) with d >= 1 and (b, n), got {shapes}")
    for name, tensor in (("A", A), ("y", y)):
        if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
            raise ValueError(f"{name} must be of integers, got {tensor.dtype}")
