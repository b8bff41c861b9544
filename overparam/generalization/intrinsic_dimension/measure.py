"""The measurement: the smallest dimension that suffices, and a problem whose answer is known."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from overparam.core import checks
from overparam.generalization.intrinsic_dimension.projections import check_dims


def intrinsic_dimension(
    dims: Sequence[int],
    performance: Sequence[float] | Float[np.ndarray, " n_d"] | Float[Tensor, " n_d"],
    baseline: float,
    fraction: float = 0.9,
    interpolate: bool = False,
) -> float:
    r"""The smallest tested d whose performance is at least ``fraction`` of the baseline.

    Parameters
    ----------
    dims
        The dimensions that were tested, increasing.
    performance
        What each achieved. The first crossing counts, even if performance falls again later.
    baseline
        What direct training achieved.
    fraction
        In (0, 1]; 0.9 makes the result :math:`d_{\mathrm{int90}}`.
    interpolate
        Between the last dimension that fails and the first that suffices, linearly in performance against log d.

    Returns
    -------
    The dimension; infinity if none suffices, and ``dims[0]`` if the first one does.

    Raises
    ------
    ValueError
        If ``dims`` is empty, does not increase or is of another length than ``performance``, or the fraction is
        outside (0, 1].

    References
    ----------
    Li et al. (2018), Section 2; the interpolation is ours.
    """
    check_dims(dims)
    if len(performance) != len(dims):
        raise ValueError(f"performance must have one number for each of {len(dims)} dims, got {len(performance)}")
    if not 0 < fraction <= 1:
        raise ValueError(f"fraction must lie in (0, 1], got {fraction!r}")
    threshold, values = fraction * float(baseline), [float(value) for value in performance]
    first = next((i for i, value in enumerate(values) if value >= threshold), None)
    if first is None:
        return math.inf
    if first == 0 or not interpolate:
        return float(dims[first])
    share = (threshold - values[first - 1]) / (values[first] - values[first - 1])
    return float(dims[first - 1] * (dims[first] / dims[first - 1]) ** share)


def toy_problem(D: int, groups: int = 10) -> tuple[Float[Tensor, "groups D"], Float[Tensor, " groups"]]:
    r"""D parameters in equal groups, of which the g-th must sum to g: the loss is :math:`\lVert A\theta - b\rVert^2`.

    Each group is one constraint, so the solutions form a subspace of dimension D - groups, whatever D is.

    Returns
    -------
    A, with ones where a parameter belongs to a group, and b = (1, ..., groups), in float64.

    Raises
    ------
    ValueError
        If D is not a positive multiple of ``groups``.

    References
    ----------
    Li et al. (2018), Section 2, the toy example with D = 1000.
    """
    checks.integer(1, groups=groups, D=D)
    if D % groups:
        raise ValueError(f"D must be a multiple of groups = {groups}, got {D}")
    A = torch.eye(groups, dtype=torch.float64).repeat_interleave(D // groups, 1)
    return A, torch.arange(1, groups + 1, dtype=torch.float64)


def toy_best_loss(
    A: Float[Tensor, "g D"], b: Float[Tensor, " g"], theta0: Float[Tensor, " D"], P: Float[Tensor, "D d"]
) -> float:
    r"""The smallest loss in the subspace, :math:`\min_v \lVert A(\theta_0 + P v) - b\rVert^2`, by least squares.

    Raises
    ------
    ValueError
        If the start is not of A's width, or P of its height.
    """
    if theta0.shape != A.shape[1:] or b.shape != A.shape[:1]:
        raise ValueError(f"theta0 and b must fit A {tuple(A.shape)}, got {tuple(theta0.shape)} and {tuple(b.shape)}")
    if P.ndim != 2 or len(P) != A.shape[1]:
        raise ValueError(f"P must have {A.shape[1]} rows, got shape {tuple(P.shape)}")
    seen, wanted = A @ P.to(A), b - A @ theta0.to(A)
    # With more columns than rows A P is rank-deficient, which of lstsq's drivers only LAPACK's gelsd and gelss bear.
    v = torch.linalg.lstsq(seen.cpu(), wanted[:, None].cpu(), driver="gelsd").solution
    return float((seen.cpu() @ v - wanted[:, None].cpu()).square().sum())
