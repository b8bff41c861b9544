"""Three learners that see nothing but costs: an adversarial bandit, the same in bins, and Chebyshev regression."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.optimize import lsq_linear

from overparam.core import checks
from overparam.numerics.learning_to_relax.relaxation import check_omegas

#: Newton's iterations of :func:`tsallis_probs` at most; they grow with the logarithm of the number of arms.
NEWTON = 100
#: Eigenvalues of a Gram matrix below this share of the largest are rounding.
RANK = 1e-12


def tsallis_probs(losses: Float[np.ndarray, " d"], eta: float) -> Float[np.ndarray, " d"]:
    r"""The distribution over arms of Tsallis-INF: :math:`p_i = 4 / (\eta\,(K_i - x))^2` with x such that they sum to 1.

    It minimises :math:`\langle p, K\rangle - \frac{4}{\eta}\sum_i \sqrt{p_i}` over the simplex.
    Newton's iteration from :math:`x = \min K - 2/\eta`, where the sum is at least 1, is monotone.

    Parameters
    ----------
    losses
        Cumulative losses :math:`K_i`, one an arm.
    eta
        The learning rate.

    Raises
    ------
    ValueError
        If there is no arm, a loss is not finite, or ``eta`` is not positive and finite.

    References
    ----------
    Zimmert & Seldin (2021), *Tsallis-INF: An optimal algorithm for stochastic and adversarial bandits*.
    """
    checks.positive(eta=eta)
    losses = np.asarray(losses, dtype=float)
    if losses.ndim != 1 or not losses.size:
        raise ValueError(f"losses must be a vector of at least one, got shape {losses.shape}")
    if not np.isfinite(losses).all():
        raise ValueError(f"losses must be finite, got {losses[~np.isfinite(losses)][0]}")
    gaps = eta / 2 * (losses - losses.min())
    z = 1.0  # eta / 2 times (min K - x)
    for _ in range(NEWTON):
        probs = (gaps + z) ** -2.0
        excess = probs.sum() - 1
        if excess <= 1e-14:
            break
        z += excess / (2 * (probs**1.5).sum())
    return probs / probs.sum()


class TsallisINF:
    r"""The bandit of :func:`tsallis_probs`, by default with the anytime rate :math:`\eta_t = 2/\sqrt t`.

    A cost of k on an arm played with probability p adds :math:`(k - 1)/p` to that arm's cumulative loss: in expectation
    every arm gets its own loss. Costs are unbounded, so the losses are divided by the running mean of
    :math:`k - 1` before the probabilities are computed.

    Parameters
    ----------
    grid
        The relaxation factors, one an arm.
    rng
        The learner's randomness.
    eta
        A constant rate instead of the anytime one.

    Attributes
    ----------
    k
        The cumulative losses :math:`K_i`, unscaled.

    Raises
    ------
    ValueError
        If the grid is empty or has a factor outside (0, 2), or ``eta`` is not positive and finite.
    """

    def __init__(self, grid: ArrayLike, rng: np.random.Generator, *, eta: float | None = None) -> None:
        if eta is not None:
            checks.positive(eta=eta)
        self.grid = check_omegas(grid, ndim=1, name="grid")
        self.k = np.zeros(len(self.grid))
        self._rng, self._eta = rng, eta
        self._rounds, self._total = 0, 0.0
        self._played: tuple[int, float] | None = None

    @property
    def probs(self) -> Float[np.ndarray, " d"]:
        """The distribution from which the arm of this round is drawn."""
        scale = self._total / self._rounds if self._total else 1.0
        return tsallis_probs(self.k / scale, self._eta or 2 / math.sqrt(self._rounds + 1))

    def predict(self) -> int:
        """Draw the arm of this round; returns its index."""
        probs = self.probs
        arm = _draw(probs, self._rng)
        self._played = arm, float(probs[arm])
        return arm

    def update(self, cost: float) -> None:
        """Learn the cost of the arm drawn last.

        Raises
        ------
        ValueError
            If the cost is below 1 or not finite, or no arm has been drawn since the last update.
        """
        _check_cost(cost)
        arm, prob = _drawn(self._played)
        self.k[arm] += (cost - 1) / prob
        self._total += cost - 1
        self._rounds += 1
        self._played = None


class TsallisINFCB:
    """The contextual baseline: the context interval in equal bins, and one :class:`TsallisINF` in each.

    Parameters
    ----------
    grid, rng
        As in :class:`TsallisINF`.
    bins
        How many.
    interval
        The range (lo, hi) of the contexts; one outside belongs to the nearest bin.

    Raises
    ------
    ValueError
        If the grid or the interval is empty, or ``bins`` below 1.
    """

    def __init__(self, grid: ArrayLike, bins: int, interval: tuple[float, float], rng: np.random.Generator) -> None:
        checks.integer(1, bins=bins)
        self.interval = _check_interval(interval)
        self.learners = [TsallisINF(grid, rng) for _ in range(bins)]
        self._last: TsallisINF | None = None

    def predict(self, context: float) -> int:
        """Draw the arm of this round from the learner of the context's bin; returns its index.

        Raises
        ------
        ValueError
            If the context is not finite.
        """
        if not math.isfinite(context):
            raise ValueError(f"context must be finite, got {context!r}")
        lo, hi = self.interval
        place = math.floor((context - lo) / (hi - lo) * len(self.learners))
        self._last = self.learners[min(max(place, 0), len(self.learners) - 1)]
        return self._last.predict()

    def update(self, cost: float) -> None:
        """Learn the cost of the arm drawn last; raises as :meth:`TsallisINF.update`."""
        _check_cost(cost)
        _drawn(self._last).update(cost)
        self._last = None


class ChebCB:
    r"""A contextual bandit: inverse-gap weighting on one Chebyshev series an arm.

    The cost of arm a at context c is modelled as :math:`1 + S\,\langle\theta_a, \phi(c)\rangle` with
    :math:`\phi_j(c) = T_j(z)` and z the context rescaled to [-1, 1]. With K the largest cost seen and R the range of
    costs, :math:`S = KN`, :math:`N = 2 + 4(R/K)(1 + \log(\text{terms}))`. Each :math:`\theta_a` is the least-squares
    fit of the arm's own rounds in the box :math:`|\theta_0| \le 1/N`, :math:`|\theta_j| \le 2R/(Sj)`: the
    coefficients of a function that changes by R over the interval, at a bounded slope, fall like 1/j. An arm never
    played has :math:`\theta_a = 0`, the lowest cost there is.

    Parameters
    ----------
    grid, rng
        As in :class:`TsallisINF`.
    terms
        Terms of a series.
    interval
        The range (lo, hi) of the contexts.

    Attributes
    ----------
    theta
        The series, one row an arm.
    scale
        S, 0 before the first cost.
    eta
        The weight of the gaps, 0 before the first cost: the first arm is drawn uniformly.

    Raises
    ------
    ValueError
        If the grid or the interval is empty, or ``terms`` below 1.

    References
    ----------
    Foster & Rakhlin (2020), *Beyond UCB*, for the inverse-gap weights (SquareCB).
    """

    def __init__(self, grid: ArrayLike, terms: int, interval: tuple[float, float], rng: np.random.Generator) -> None:
        checks.integer(1, terms=terms)
        self.grid = check_omegas(grid, ndim=1, name="grid")
        self.terms, self.interval = terms, _check_interval(interval)
        self.theta = np.zeros((len(self.grid), terms))
        self.scale, self.eta = 0.0, 0.0
        self._rng = rng
        # All that a fit needs of the past, and its solution before the division by the scale.
        self._gram = np.zeros((len(self.grid), terms, terms))
        self._moments = np.zeros((len(self.grid), terms))
        self._solutions = np.zeros((len(self.grid), terms))
        self._low, self._high = math.inf, -math.inf
        # The squared error of past predictions is quadratic in 1 / scale; these are its coefficients.
        self._rounds, self._errors = 0, np.zeros(3)
        self._played: tuple[int, np.ndarray, float] | None = None

    def features(self, context: float) -> Float[np.ndarray, " terms"]:
        """The Chebyshev polynomials of the first kind at a context.

        Raises
        ------
        ValueError
            If the context is outside the interval.
        """
        lo, hi = self.interval
        if not lo <= context <= hi:
            raise ValueError(f"context must lie in [{lo:g}, {hi:g}], got {context!r}")
        z = min(max(2 * (context - lo) / (hi - lo) - 1, -1.0), 1.0)
        return np.cos(np.arange(self.terms) * math.acos(z))

    def costs(self, context: float) -> Float[np.ndarray, " d"]:
        """The predicted cost of every arm at a context."""
        return 1 + self.scale * (self.theta @ self.features(context))

    def probs(self, context: float) -> Float[np.ndarray, " d"]:
        """The distribution over arms at a context."""
        return self._weights(self.theta @ self.features(context))

    def _weights(self, predictions: np.ndarray) -> np.ndarray:
        d, best = len(predictions), int(predictions.argmin())
        probs = 1 / (d + self.eta * (predictions - predictions[best]))
        probs[best] += (1 / d - probs).sum()
        return probs

    def predict(self, context: float) -> int:
        """Draw the arm of this round; returns its index."""
        phi = self.features(context)
        predictions = self.theta @ phi
        arm = _draw(self._weights(predictions), self._rng)
        self._played = arm, phi, float(predictions[arm])
        return arm

    def update(self, cost: float) -> None:
        """Learn the cost of the arm drawn last.

        Raises
        ------
        ValueError
            If the cost is below 1 or not finite, or no arm has been drawn since the last update.
        """
        _check_cost(cost)
        arm, phi, predicted = _drawn(self._played)
        self._played = None
        self._rounds += 1
        self._errors += predicted**2, -2 * predicted * cost, cost**2
        self._low, self._high = min(self._low, cost), max(self._high, cost)
        self._gram[arm] += np.outer(phi, phi)
        self._moments[arm] += (cost - 1) * phi
        self._solutions[arm] = _least_squares(self._gram[arm], self._moments[arm])
        self._fit(arm)
        self._set_eta()

    def _fit(self, arm: int) -> None:
        """Refit the arm, or all of them if the scale has changed."""
        spread = self._high - self._low
        before, N = self.scale, 2 + 4 * spread / self._high * (1 + math.log(self.terms))
        self.scale = self._high * N
        box = np.concatenate([[1 / N], 2 * spread / self.scale / np.arange(1, self.terms)])
        for a in range(len(self.grid)) if self.scale != before else (arm,):
            theta = self._solutions[a] / self.scale
            if (np.abs(theta) > box).any():
                theta = _box_least_squares(self._gram[a], self._moments[a] / self.scale, box)
            self.theta[a] = theta

    def _set_eta(self) -> None:
        t, d, terms, spread = self._rounds, len(self.grid), self.terms, self._high - self._low
        error = self._errors @ (1, 1 / self.scale, 1 / self.scale**2)
        alpha = (math.pi + 2 / math.pi * math.log(2 * terms + 1)) * spread / (2 * self.scale * (terms + 1))
        self.eta = 2 * t * math.sqrt(d * t / (error + 2 * alpha**2 * t))


def _least_squares(gram: np.ndarray, moments: np.ndarray) -> np.ndarray:
    values, vectors = _spectrum(gram)
    return vectors @ (vectors.T @ moments / values)


def _box_least_squares(gram: np.ndarray, moments: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The least-squares fit with a Gram matrix and moments, within plus and minus the box."""
    theta, free = np.zeros(len(box)), box > 0  # no range of costs, no slope
    values, vectors = _spectrum(gram[np.ix_(free, free)])
    root = np.sqrt(values)
    fit = lsq_linear((vectors * root).T, vectors.T @ moments[free] / root, (-box[free], box[free]), method="bvls")
    theta[free] = fit.x
    return theta


def _spectrum(gram: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nonzero eigenvalues of a Gram matrix and their vectors."""
    values, vectors = np.linalg.eigh(gram)
    kept = values > RANK * values[-1]
    return values[kept], vectors[:, kept]


def _draw(probs: np.ndarray, rng: np.random.Generator) -> int:
    return min(int(np.searchsorted(probs.cumsum(), rng.random(), side="right")), len(probs) - 1)


def _drawn(last):
    if last is None:
        raise ValueError("update must follow a predict, got none since the last update")
    return last


def _check_cost(cost: float) -> None:
    if not (math.isfinite(cost) and cost >= 1):
        raise ValueError(f"cost must be finite and at least 1, got {cost!r}")


def _check_interval(interval: tuple[float, float]) -> tuple[float, float]:
    lo, hi = interval
    if not (math.isfinite(lo) and math.isfinite(hi) and lo < hi):
        raise ValueError(f"interval must be finite and not empty, got {interval!r}")
    return float(lo), float(hi)
