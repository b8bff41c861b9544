"""The transport side: costs between labelled examples, the exact distance of a mixture, and its gradient."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.spatial.distance import cdist

from overparam.core import checks
from overparam.core.datasets import optional

#: Numbers in an array, a list or a tuple.
Numbers = ArrayLike | Sequence[Any]
#: How far the entries of a mixture may sum from 1.
TOLERANCE = 1e-8
#: Pivots of the network simplex; POT's own limit stops problems of a few thousand rows too early.
PIVOTS = 10_000_000


def label_distances(x: Numbers, y: Numbers, num_classes: int) -> Float[np.ndarray, "{num_classes} {num_classes}"]:
    """How far apart the classes are: Wasserstein-1 between the examples of every two of them.

    Parameters
    ----------
    x
        Examples as vectors, shape (n, d). The chapter takes those for validation.
    y
        Their labels, 0..num_classes-1, shape (n,).

    Returns
    -------
    Symmetric, with a zero diagonal; float64, as everything here.

    Raises
    ------
    ValueError
        If a class has no example, a label is out of range, or the shapes do not fit.

    References
    ----------
    Alvarez-Melis & Fusi, Geometric Dataset Distances via Optimal Transport, NeurIPS 2020.
    """
    checks.integer(1, num_classes=num_classes)
    x, y = _examples("x", x, "y", y)
    _check_labels(y, num_classes)
    classes = [x[y == c] for c in range(num_classes)]
    if absent := [c for c, members in enumerate(classes) if not len(members)]:
        raise ValueError(f"every class needs an example, got none of class {absent[0]}")
    ot = optional("ot", extra="imperfect_data")
    distances = np.zeros((num_classes, num_classes))
    for c, d in combinations(range(num_classes), 2):
        # Empty weights are uniform ones.
        distances[c, d] = distances[d, c] = ot.emd2([], [], cdist(classes[c], classes[d]), numItermax=PIVOTS)
    return distances


def hybrid_cost(
    x: Numbers, y: Numbers, x_val: Numbers, y_val: Numbers, label_dist: Numbers, *, weight: float = 1.0
) -> Float[np.ndarray, "n m"]:
    r"""Cost of moving a labelled example to another: :math:`\|x - x'\|_2 + c\, W(y, y')`.

    Parameters
    ----------
    x, y
        Examples (n, d) and their labels (n,).
    x_val, y_val
        Examples (m, d) and labels (m,) to move to.
    label_dist
        Distances :math:`W` between classes, as :func:`label_distances` gives them.
    weight
        :math:`c`; at 0 the labels do not count.

    Raises
    ------
    ValueError
        If the weight is negative, a label has no row in ``label_dist``, or the shapes do not fit.
    """
    checks.non_negative(weight=weight)
    x, y = _examples("x", x, "y", y)
    x_val, y_val = _examples("x_val", x_val, "y_val", y_val)
    label_dist = np.asarray(label_dist, dtype=np.float64)
    if label_dist.ndim != 2 or label_dist.shape[0] != label_dist.shape[1]:
        raise ValueError(f"label_dist must be square, got shape {label_dist.shape}")
    if x.shape[1] != x_val.shape[1]:
        raise ValueError(f"x and x_val must have equally many columns, got {x.shape[1]} and {x_val.shape[1]}")
    for labels in (y, y_val):
        _check_labels(labels, len(label_dist))
    return cdist(x, x_val) + weight * label_dist[y[:, None], y_val]


def mixture_ot(costs: Sequence[np.ndarray], p: Numbers) -> tuple[float, list[np.ndarray]]:
    r"""Exact optimal transport between a mixture of sources and the validation examples.

    The mixture is :math:`\mu_p = \sum_i \frac{p_i}{n_i} \sum_{x \in S_i} \delta_x`: the proportions are weights, and
    nothing is resampled.

    Parameters
    ----------
    costs
        For each source its costs to the validation examples, shape (n_i, n_val).
    p
        The mixture, one weight a source.

    Returns
    -------
    The distance, and for each source the dual potentials of its examples, shape (n_i,). They are the c-transform
    :math:`u(x) = \min_v [C(x, v) - w(v)]` of the validation potentials, and so mean something also where
    :math:`p_i = 0` and the solver has no row.

    Raises
    ------
    ValueError
        If there is no source or an empty one, the shapes do not fit, a cost is not finite, or ``p`` is not on the
        simplex.
    """
    costs = _costs(costs)
    p = simplex_point(p, len(costs))
    weights = np.concatenate([np.full(len(cost), share / len(cost)) for share, cost in zip(p, costs, strict=True)])
    n_val = costs[0].shape[1]
    stacked = np.concatenate(costs)
    ot = optional("ot", extra="imperfect_data")
    there = weights > 0
    target = np.full(n_val, weights.sum() / n_val)
    value, log = ot.emd2(weights[there], target, stacked[there], numItermax=PIVOTS, log=True)
    potentials = (stacked - log["v"]).min(1)
    return float(value), np.split(potentials, np.cumsum([len(cost) for cost in costs])[:-1])


def ot_gradient(potentials: Sequence[np.ndarray], p: Numbers) -> Float[np.ndarray, " m"]:
    r"""The calibrated gradient: how fast the distance grows as mass moves to one source from all others alike.

    With :math:`f_i` the mean potential of source i, :math:`g_i = (f_i - \langle p, f \rangle) / (1 - p_i)` is the
    derivative along :math:`(e_i - p) / (1 - p_i)`, and 0 where :math:`p_i = 1` and no other source has mass to give.

    Parameters
    ----------
    potentials
        As :func:`mixture_ot` returns them; a constant added to all of them changes nothing.
    p
        The mixture at which they were computed.

    Raises
    ------
    ValueError
        If a source is empty or ``p`` is not on the simplex.
    """
    if empty := [i for i, u in enumerate(potentials) if not np.size(u)]:
        raise ValueError(f"every source needs an example, got none in source {empty[0]}")
    p = simplex_point(p, len(potentials))
    f = np.array([np.mean(u) for u in potentials], dtype=np.float64)
    rest = 1 - p
    return np.divide(f - p @ f, rest, out=np.zeros_like(f), where=rest > TOLERANCE)


def simplex_point(p: Numbers, sources: int) -> Float[np.ndarray, " {sources}"]:
    """A mixture as a float64 vector.

    Raises
    ------
    ValueError
        If it has another length than ``sources``, a negative entry, or a sum that is not 1.
    """
    p = np.asarray(p, dtype=np.float64)
    if p.shape != (sources,):
        raise ValueError(f"p must have one weight for each of the {sources} sources, got shape {p.shape}: {p.tolist()}")
    if not (p.min(initial=0) >= -TOLERANCE and abs(p.sum() - 1) <= TOLERANCE):
        raise ValueError(f"p must be non-negative and sum to 1, got {p.tolist()}")
    return p.clip(0)


def _examples(name: str, x: Numbers, label: str, y: Numbers) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y)
    if x.ndim != 2 or y.shape != x.shape[:1]:
        raise ValueError(f"{name} must be (n, d) and {label} (n,), got shapes {x.shape} and {y.shape}")
    if not np.isfinite(x).all():
        raise ValueError(f"{name} must be finite, got {x[~np.isfinite(x)][0]}")
    if y.size and not np.issubdtype(y.dtype, np.integer):
        raise ValueError(f"{label} must be integers, got {y.ravel()[0]!r}")
    return x, y.astype(np.int64)


def _check_labels(y: np.ndarray, num_classes: int) -> None:
    if y.size and not (y.min() >= 0 and y.max() < num_classes):
        raise ValueError(f"labels must lie in 0..{num_classes - 1}, got {y.min()}..{y.max()}")


def _costs(costs: Sequence[np.ndarray]) -> list[np.ndarray]:
    costs = [np.asarray(cost, dtype=np.float64) for cost in costs]
    if not costs:
        raise ValueError("costs must have at least one source, got 0")
    for i, cost in enumerate(costs):
        if cost.ndim != 2 or cost.shape[1] != costs[0].shape[-1]:
            raise ValueError(f"costs must be (n_i, n_val) with one n_val, got shape {cost.shape} for source {i}")
        if not cost.size:
            raise ValueError(f"every source needs an example, got shape {cost.shape} for source {i}")
        if not np.isfinite(cost).all():
            raise ValueError(f"costs must be finite, got {cost[~np.isfinite(cost)][0]} for source {i}")
    return costs
