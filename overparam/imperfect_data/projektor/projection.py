"""The statistics side: performance as a function of mixture and distance, of size, and the best mixture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar, cast

import numpy as np
from jaxtyping import Float, Int

from overparam.core import checks
from overparam.imperfect_data.projektor.transport import Numbers, mixture_ot, ot_gradient, simplex_point

FORMS = ("constant", "linear", "pseudo-quadratic")
#: Factor from one step of the selection to the next.
DECAY = 0.95

Value = TypeVar("Value", float, np.ndarray)


class PerformanceModel:
    r"""Stage 1: performance at one size as :math:`B(p)^\top b \cdot \mathrm{OT}(p) + B(p)^\top c`.

    Parameters
    ----------
    form
        :math:`B(p)` is 1 ("constant"), p ("linear") or :math:`(p, p^2)` ("pseudo-quadratic").
    use_ot
        False leaves :math:`B(p)^\top c` alone, the regression that knows no distance.

    Attributes
    ----------
    coefficients
        :math:`(b, c)` in one vector, or c; None before :meth:`fit`.

    Raises
    ------
    ValueError
        If the form is unknown.
    """

    def __init__(self, form: str = "linear", use_ot: bool = True) -> None:
        checks.one_of(FORMS, form=form)
        self.form, self.use_ot = form, use_ot
        self.coefficients: np.ndarray | None = None
        self._sources = 0

    def fit(self, p: Numbers, ot: Numbers, perf: Numbers) -> PerformanceModel:
        """Least squares; the solution of least norm, because the columns of ``p`` sum to one.

        Parameters
        ----------
        p
            Mixtures, shape (k, m).
        ot, perf
            Their distances and performances, shape (k,).

        Raises
        ------
        ValueError
            If there are different numbers of mixtures, distances and performances, or a mixture is off the simplex.
        """
        p, perf = np.asarray(p, dtype=np.float64), np.asarray(perf, dtype=np.float64)
        if p.ndim != 2 or not p.size:
            raise ValueError(f"p must be mixtures (k, m) to fit, got shape {p.shape}")
        if perf.shape != p.shape[:1]:
            raise ValueError(f"perf must have one entry for each of the {len(p)} mixtures, got shape {perf.shape}")
        if not np.isfinite(perf).all():
            raise ValueError(f"perf must be finite, got {perf[~np.isfinite(perf)][0]}")
        self._sources = p.shape[1]
        self.coefficients = np.linalg.lstsq(self._design(p, ot), perf, rcond=None)[0]
        return self

    def predict(self, p: Numbers, ot: Numbers) -> Float[np.ndarray, " k"]:
        """Performances of mixtures (k, m), or of one (m,), at their distances.

        Raises
        ------
        ValueError
            Before :meth:`fit`, or if the shapes do not fit or a mixture is off the simplex.
        """
        return self._design(np.atleast_2d(np.asarray(p, dtype=np.float64)), ot) @ self._fitted("predict")

    def gradient(self, p: Numbers, ot: float, dot: Numbers) -> Float[np.ndarray, " m"]:
        r"""Partial derivatives of the prediction in each :math:`p_i`.

        Parameters
        ----------
        p, ot
            One mixture (m,) and its distance.
        dot
            Derivatives of the distance, shape (m,).

        Raises
        ------
        ValueError
            Before :meth:`fit`, or if the shapes do not fit or the mixture is off the simplex.
        """
        coefficients = self._fitted("gradient")
        p, dot = simplex_point(p, self._sources), np.asarray(dot, dtype=np.float64)
        if dot.shape != p.shape:
            raise ValueError(f"dot must have one derivative for each of the {len(p)} sources, got shape {dot.shape}")
        if not self.use_ot:
            return self._slopes(p, coefficients)
        b, c = np.split(coefficients, 2)
        return (self._basis(p) @ b) * dot + self._slopes(p, b) * float(ot) + self._slopes(p, c)

    def _basis(self, p: np.ndarray) -> np.ndarray:
        if self.form == "constant":
            return np.ones((*p.shape[:-1], 1))
        return p if self.form == "linear" else np.concatenate([p, p**2], -1)

    def _slopes(self, p: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
        """Partial derivatives of the basis times its coefficients."""
        if self.form == "constant":
            return np.zeros_like(p)
        if self.form == "linear":
            return coefficients
        first, second = np.split(coefficients, 2)
        return first + 2 * second * p

    def _design(self, p: np.ndarray, ot: Numbers) -> np.ndarray:
        ot = np.atleast_1d(np.asarray(ot, dtype=np.float64))
        if ot.shape != p.shape[:1]:
            raise ValueError(f"ot must have one distance for each of the {len(p)} mixtures, got shape {ot.shape}")
        if not np.isfinite(ot).all():
            raise ValueError(f"ot must be finite, got {ot[~np.isfinite(ot)][0]}")
        basis = self._basis(np.stack([simplex_point(row, self._sources or p.shape[1]) for row in p]))
        return np.concatenate([basis * ot[:, None], basis], 1) if self.use_ot else basis

    def _fitted(self, what: str) -> np.ndarray:
        if self.coefficients is None:
            raise ValueError(f"{what} needs a fit first, got coefficients None")
        return self.coefficients


def extrapolate(v0: Value, v1: Value, n0: float, n1: float, n: float) -> Value:
    r"""Stage 2: the straight line in :math:`\log N` through values at two sizes, read off at a third.

    Parameters
    ----------
    v0, v1
        Values at the sizes ``n0`` and ``n1``, numbers or arrays of one shape. For an error rate these are its
        logarithms: the line is then a power law, and never predicts less than no errors.

    Raises
    ------
    ValueError
        If a size is not positive and finite, the two are equal, or the shapes differ.
    """
    checks.positive(n0=n0, n1=n1, n=n)
    if n0 == n1:
        raise ValueError(f"n0 and n1 must differ, got {n0} twice")
    if np.shape(v0) != np.shape(v1):
        raise ValueError(f"v0 and v1 must have one shape, got {np.shape(v0)} and {np.shape(v1)}")
    later, earlier = math.log(n / n0) / math.log(n1 / n0), math.log(n / n1) / math.log(n1 / n0)
    value = later * np.asarray(v1, dtype=np.float64) - earlier * np.asarray(v0, dtype=np.float64)
    return cast(Value, value if value.ndim else float(value))


def project_simplex(v: Numbers) -> Float[np.ndarray, " m"]:
    """The nearest mixture in the Euclidean distance: subtract one number from all entries, and clip at 0.

    Raises
    ------
    ValueError
        If ``v`` is no vector, empty, or not finite.

    References
    ----------
    Duchi, Shalev-Shwartz, Singer & Chandra, Efficient Projections onto the l1-Ball, ICML 2008.
    """
    v = np.asarray(v, dtype=np.float64)
    if v.ndim != 1 or not v.size:
        raise ValueError(f"v must be a vector with at least one entry, got shape {v.shape}")
    if not np.isfinite(v).all():
        raise ValueError(f"v must be finite, got {v[~np.isfinite(v)][0]}")
    below = v - v.max()  # the projection does not see a constant, and sums of huge numbers would lose the 1
    ordered = np.sort(below)[::-1]
    thresholds = (np.cumsum(ordered) - 1) / np.arange(1, below.size + 1)
    support = np.flatnonzero(ordered > thresholds)[-1]
    return (below - thresholds[support]).clip(0)


def allocate(p: Numbers, n: int) -> Int[np.ndarray, " m"]:
    """A mixture as whole numbers of examples: floors first, then the largest remainders, ties to the lower index.

    Raises
    ------
    ValueError
        If ``p`` is not on the simplex or ``n`` is negative.
    """
    checks.integer(0, n=n)
    p = np.asarray(p, dtype=np.float64)
    share = simplex_point(p, p.size)
    exact = np.round(share * n, 9)  # 0.29 * 100 is meant to be 29, and equal remainders to be equal
    counts = np.floor(exact).astype(np.int64)
    order = np.argsort(counts - exact, kind="stable")
    counts[order[: n - counts.sum()]] += 1
    return counts


def select_mixture(
    costs: Sequence[np.ndarray],
    model0: PerformanceModel,
    model1: PerformanceModel,
    n0: float,
    n1: float,
    n: float,
    *,
    p_init: Numbers | None = None,
    lr: float = 0.1,
    steps: int = 60,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""Projected gradient descent on the extrapolated performance over all mixtures; it minimizes.

    One step moves by ``lr`` :math:`\cdot\, 0.95^t` in the largest coordinate, along the centred gradient. What enters
    the models as the derivative of the distance is :math:`(1 - p_i)\, g_i = f_i - \langle p, f \rangle`: the calibrated
    gradient g is a derivative along :math:`(e_i - p) / (1 - p_i)`, and with its factor taken back it is the partial
    derivative on the simplex, of one kind with the models' own derivatives.

    Parameters
    ----------
    costs
        For each source its costs, as for :func:`mixture_ot`.
    model0, model1
        Models fitted at the sizes ``n0`` and ``n1``.
    n
        The size to buy.
    p_init
        The start; None is the uniform mixture.

    Returns
    -------
    The best mixture on the path (m,), the path (steps + 1, m), and the predictions along it (steps + 1,).

    Raises
    ------
    ValueError
        If a model is not fitted, a number is out of range, ``p_init`` is off the simplex, or the costs do not fit.
    """
    checks.positive(lr=lr)
    checks.integer(0, steps=steps)
    sources = len(costs)
    start = np.full(sources, 1 / sources) if p_init is None else p_init
    p = simplex_point(start, sources)
    path, values = [], []
    for step in range(steps + 1):
        ot, potentials = mixture_ot(costs, p)
        slope = (1 - p) * ot_gradient(potentials, p)
        path.append(p)
        values.append(extrapolate(model0.predict(p, ot)[0], model1.predict(p, ot)[0], n0, n1, n))
        gradient = extrapolate(model0.gradient(p, ot, slope), model1.gradient(p, ot, slope), n0, n1, n)
        gradient = gradient - gradient.mean()
        if largest := np.abs(gradient).max():
            p = project_simplex(p - lr * DECAY**step * gradient / largest)
    return path[int(np.argmin(values))], np.array(path), np.array(values)
