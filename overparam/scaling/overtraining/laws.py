"""The loss of a size and a number of tokens, the error of a loss, and how both are fitted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.optimize import least_squares, nnls

from overparam.core import checks
from overparam.core.fits import loglog_slope

#: An array, or a number where the inputs were numbers.
Values = Float[np.ndarray, "..."] | float


# --- The laws ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LossLaw:
    r"""The loss of N parameters trained on D tokens, :math:`L = E + A N^{-\alpha} + B D^{-\alpha}`.

    ``E`` is the irreducible loss in nats a token. One exponent for both terms is what makes the lines of fixed D/N
    parallel (:meth:`at_compute`).

    References
    ----------
    Gadre et al. (2024), section 3; the form with two exponents is that of Hoffmann et al. (2022).
    """

    E: float
    A: float
    B: float
    alpha: float

    @property
    def eta(self) -> float:
        r"""The exponent of the compute, :math:`\eta = \alpha / 2`."""
        return self.alpha / 2

    @property
    def a(self) -> float:
        r"""The factor of the parameters' term over compute, :math:`a = A\, 6^\eta`."""
        return self.A * 6**self.eta

    @property
    def b(self) -> float:
        r"""The factor of the tokens' term over compute, :math:`b = B\, 6^\eta`."""
        return self.B * 6**self.eta

    def __call__(self, N: ArrayLike, D: ArrayLike) -> Values:
        """The loss at N parameters and D tokens, which broadcast.

        Raises
        ------
        ValueError
            If an N or a D is not positive and finite.
        """
        N, D = checks.positive_arrays(N=N, D=D)
        return self.E + self.A * N**-self.alpha + self.B * D**-self.alpha

    def at_compute(self, C: ArrayLike, M: ArrayLike) -> Values:
        r"""The loss at compute C and multiplier M, :math:`L = E + (a M^\eta + b M^{-\eta})\, C^{-\eta}`.

        Raises
        ------
        ValueError
            If a C or an M is not positive and finite.
        """
        C, M = checks.positive_arrays(C=C, M=M)
        return self.E + self._height(M) * C**-self.eta

    def optimal_multiplier(self) -> float:
        r"""The M of least loss at given compute, :math:`M^* = (B/A)^{1/\alpha}`, whatever the compute."""
        return (self.B / self.A) ** (1 / self.alpha)

    def overtraining_cost(self, M: ArrayLike) -> Values:
        r"""How many times the compute is needed at M to reach the loss that :math:`M^*` reaches.

        :math:`\bigl(\tfrac{a M^\eta + b M^{-\eta}}{a {M^*}^\eta + b {M^*}^{-\eta}}\bigr)^{1/\eta}`, which is
        1 at :math:`M^*` and the same for :math:`M^* r` and :math:`M^* / r`.

        Raises
        ------
        ValueError
            If an M is not positive and finite.
        """
        (M,) = checks.positive_arrays(M=M)
        return (self._height(M) / self._height(self.optimal_multiplier())) ** (1 / self.eta)

    def _height(self, M: Values) -> Values:
        return self.a * M**self.eta + self.b * M**-self.eta


@dataclass(frozen=True)
class ErrorLaw:
    r"""Mean downstream error from the loss, :math:`\mathrm{Err} = \epsilon - k\, e^{-\gamma L}`.

    A power law in the perplexity :math:`e^L`; :math:`\epsilon` is the error of a model that has learned nothing.

    References
    ----------
    Gadre et al. (2024), section 3.
    """

    epsilon: float
    k: float
    gamma: float

    def __call__(self, loss: ArrayLike) -> Values:
        """The error at a loss.

        Raises
        ------
        ValueError
            If a loss is not positive and finite.
        """
        (loss,) = checks.positive_arrays(loss=loss)
        return self.epsilon - self.k * np.exp(-self.gamma * loss)


# --- The fits ---------------------------------------------------------------------------------------------------

#: Runs whose D/N differ by less than this share count as runs at one D/N: tokens come in whole minibatches.
ONE_RATIO = 0.01
#: Searches start at these powers, and the best of the starts are refined.
POWERS = np.geomspace(0.02, 10, 27)
REFINED = 3
TOLERANCE = 1e-12


def fit_loss_law(N: ArrayLike, D: ArrayLike, loss: ArrayLike) -> LossLaw:
    r"""Least squares on the loss itself, from 27 starts, with the best residual kept.

    N and D are divided by their geometric means, and the unknowns are :math:`E \ge 0` and the logarithms of A, B
    and :math:`\alpha`: in raw units the problem is so badly conditioned that its solution is left to chance.

    Parameters
    ----------
    N, D, loss
        Parameters, training tokens and loss of each run, in one dimension.

    Raises
    ------
    ValueError
        If there are fewer than 4 runs, the lengths differ, an entry is not positive and finite, or all runs have one
        D/N, at which A and B enter only as :math:`A + B (D/N)^{-\alpha}`.

    References
    ----------
    Gadre et al. (2024), section 3.
    """
    N, D, loss = _runs(4, N=N, D=D, loss=loss)
    ratio = D / N
    if ratio.max() < (1 + ONE_RATIO) * ratio.min():
        raise ValueError(f"A and B are not identified by runs at one D/N, got {ratio[0]:g} for all {len(N)}")
    E, alpha, (A, B) = _fit_powers(np.log([N, D]), loss)
    return LossLaw(E, A, B, alpha)


def fit_blind_law(C: ArrayLike, loss: ArrayLike) -> tuple[float, float, float]:
    r"""The law that does not look at M, :math:`L = E + \lambda C^{-\eta}` with :math:`E \ge 0`, fitted in the same way.

    Returns
    -------
    :math:`E`, :math:`\lambda` and :math:`\eta`.

    Raises
    ------
    ValueError
        If there are fewer than 3 runs, the lengths differ, or an entry is not positive and finite.
    """
    C, loss = _runs(3, C=C, loss=loss)
    E, eta, (lam,) = _fit_powers(np.log([C]), loss)
    return E, lam, eta


def fit_error_law(loss: ArrayLike, err: ArrayLike) -> ErrorLaw:
    """Least squares on the error, from 27 starts, with the best residual kept.

    Parameters
    ----------
    loss, err
        Loss and mean downstream error of each run, in one dimension.

    Raises
    ------
    ValueError
        If there are fewer than 3 runs, the lengths differ, an entry is not positive and finite, or all runs have one
        loss or one error.
    """
    loss, err = _runs(3, loss=loss, err=err)
    for name, values in (("loss", loss), ("err", err)):
        if np.ptp(values) == 0:
            raise ValueError(f"{name} must differ between the runs, got {values[0]:g} for all {len(values)}")
    epsilon, gamma, (k,) = _fit_powers(loss[None], err, sign=-1)
    return ErrorLaw(epsilon, k, gamma)


def exponents_by_multiplier(N: ArrayLike, M: ArrayLike, loss: ArrayLike, E: float) -> dict[float, float]:
    r"""How fast the loss above E falls with compute, separately for every multiplier with at least 3 runs.

    Parameters
    ----------
    N, M, loss
        Parameters, token multiplier and loss of each run, in one dimension.
    E
        The irreducible loss, at least 0 and below every loss.

    Returns
    -------
    For each M minus the slope of :math:`\log(L - E)` against :math:`\log 6 N^2 M`.

    Raises
    ------
    ValueError
        If the lengths differ, an entry is not positive and finite, or E is negative or not below every loss.
    """
    N, M, loss = _runs(1, N=N, M=M, loss=loss)
    checks.non_negative(E=E)
    if (low := loss[loss <= E]).size:
        raise ValueError(f"loss must be above E = {E:g}, got {float(low[0])!r}")
    exponents = {}
    for m in np.unique(M):
        here = m == M
        if here.sum() >= 3:
            exponents[float(m)] = -loglog_slope(6 * N[here] ** 2 * m, loss[here] - E)
    return exponents


def _fit_powers(
    x: Float[np.ndarray, "terms runs"], target: Float[np.ndarray, " runs"], *, sign: int = 1
) -> tuple[float, float, list[float]]:
    r"""Least squares for what all three laws are, :math:`f \pm \sum_i c_i e^{-p x_i}` with f and all c at least 0.

    For a given power p the problem is linear in f and c. So every start is the best of its power, and nonlinear
    least squares in f, log p and log c goes on from there.

    Returns
    -------
    The floor f, the power p and the factors c.
    """
    mean = x.mean(1, keepdims=True)
    x = x - mean  # powers of the geometric means are split off, and come back at the end

    def terms(unknowns: np.ndarray) -> np.ndarray:
        return sign * np.exp(unknowns[2:, None] - np.exp(unknowns[1]) * x)

    def residual(unknowns: np.ndarray) -> np.ndarray:
        return unknowns[0] + terms(unknowns).sum(0) - target

    def jacobian(unknowns: np.ndarray) -> np.ndarray:
        each = terms(unknowns)
        return np.stack([np.ones_like(target), -np.exp(unknowns[1]) * (x * each).sum(0), *each], 1)

    starts = sorted((_linear_fit(x, target, power, sign) for power in POWERS), key=lambda start: start[0])
    bounds = [0.0, *[-np.inf] * (1 + len(x))], np.inf
    options: dict[str, Any] = {"jac": jacobian, "bounds": bounds, **dict.fromkeys(("ftol", "xtol", "gtol"), TOLERANCE)}
    with np.errstate(over="ignore", divide="ignore"):  # a step may go far out, and is taken back
        fits = [least_squares(residual, start, **options) for _, start in starts[:REFINED]]
    floor, log_power, *log_factors = min(fits, key=lambda fit: fit.cost).x.tolist()
    power = math.exp(log_power)
    return floor, power, np.exp(np.array(log_factors) + power * mean[:, 0]).tolist()


def _linear_fit(x: np.ndarray, target: np.ndarray, power: float, sign: int) -> tuple[float, np.ndarray]:
    """The residual of the best floor and factors at one power, and the unknowns that go with it."""
    (floor, *factors), residual = nnls(np.stack([np.ones_like(target), *(sign * np.exp(-power * x))], 1), target)
    smallest = 1e-6 * np.abs(target).max()  # a factor of 0 has no logarithm
    return float(residual), np.array([floor, math.log(power), *np.log(np.maximum(factors, smallest))])


def _runs(least: int, **values: ArrayLike) -> list[np.ndarray]:
    """The values as positive vectors of one length, which is ``least`` at least."""
    arrays = checks.positive_arrays(**values)
    shapes = [array.shape for array in arrays]
    if arrays[0].ndim != 1 or len(set(shapes)) > 1:
        raise ValueError(f"{', '.join(values)} must be vectors of one length, got shapes {shapes}")
    if len(arrays[0]) < least:
        raise ValueError(f"a fit needs at least {least} runs, got {len(arrays[0])}")
    return arrays
