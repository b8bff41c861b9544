"""Matter in a halo, seen along the line of sight: densities, their projections, and the mean within a radius."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Real
from numpy.polynomial.polynomial import polyval
from numpy.typing import ArrayLike

from overparam.core import checks
from overparam.numerics.autoknots.splines import Function, Knots, autoknots, check_interval, evaluate

#: A number where a number came in, an array where one did.
Values = float | Float[np.ndarray, "..."]
#: Half-width of the neighbourhood of 1, and of 0, where closed forms cancel and their power series are summed.
NEAR = 0.2


def _series_at_one(terms: int = 32) -> Float[np.ndarray, " terms"]:
    r"""Coefficients of :math:`\chi` in powers of x - 1, from :math:`x (1 - x^2) \chi' = x^2 \chi - 1`."""
    c = [1.0, -2 / 3]
    for k in range(2, terms):
        c.append(-((3 * k - 1) * c[k - 1] + (k - 1) * c[k - 2]) / (2 * k + 1))
    return np.array(c)


def _series_at_zero(terms: int = 16) -> tuple[Float[np.ndarray, " terms"], Float[np.ndarray, " terms"]]:
    r"""Coefficients in powers of :math:`x^2` of A and B in :math:`\chi = A \ln(2/x) + B`, from the same equation."""
    a, b = [1.0], [0.0]
    for k in range(1, terms):
        a.append(a[k - 1] * (2 * k - 1) / (2 * k))
        b.append(((2 * k - 1) * b[k - 1] + a[k] - a[k - 1]) / (2 * k))
    return np.array(a), np.array(b)


CHI = _series_at_one()
CHI_LOG, CHI_REST = _series_at_zero()


def chi(x: Values) -> Values:
    r"""The function in all projections: :math:`\operatorname{arccosh}(1/x) / \sqrt{1 - x^2}`, beyond 1 with arccos."""
    return _piecewise(
        x,
        [x < 1 - NEAR, x > 1 + NEAR],
        [
            lambda x: np.arccosh(1 / x) / np.sqrt(1 - x**2),
            lambda x: np.arccos(1 / x) / np.sqrt(x**2 - 1),
            lambda x: polyval(x - 1, CHI),
        ],
    )


def _piecewise(x: Values, conditions: list, functions: list[Function]) -> Values:
    """Each function where its condition holds, the last one elsewhere, and none evaluated where it does not count."""
    return np.piecewise(x, conditions, functions)  # pyright: ignore[reportCallIssue, reportArgumentType]


def rho_nfw(R: ArrayLike, rho_s: float = 1.0, r_s: float = 1.0) -> Values:
    r"""Density of Navarro, Frenk and White, :math:`\rho_s / (x (1 + x)^2)` with :math:`x = R/r_s`."""
    x = _scaled(R, rho_s, r_s)
    return rho_s / (x * (1 + x) ** 2)


def sigma_nfw(R: ArrayLike, rho_s: float = 1.0, r_s: float = 1.0) -> Values:
    r"""Its projection, :math:`2 \rho_s r_s (1 - \chi) / (x^2 - 1)`.

    References
    ----------
    Wright & Brainerd (2000).
    """
    return 2 * rho_s * r_s * _first_ratio(_scaled(R, rho_s, r_s))


def mean_sigma_nfw(R: ArrayLike, rho_s: float = 1.0, r_s: float = 1.0) -> Values:
    r"""The mean of the projection within R, :math:`4 \rho_s r_s (\ln(x/2) + \chi) / x^2`.

    References
    ----------
    Wright & Brainerd (2000).
    """

    def near_zero(x: np.ndarray) -> np.ndarray:
        # The logarithms cancel, and so does one power of x²: divided out term by term.
        return np.log(2 / x) * polyval(x**2, CHI_LOG[1:]) + polyval(x**2, CHI_REST[1:])

    x = _scaled(R, rho_s, r_s)
    return 4 * rho_s * r_s * _piecewise(x, [x < NEAR], [near_zero, lambda x: (np.log(x / 2) + chi(x)) / x**2])


def rho_hernquist(R: ArrayLike, rho_s: float = 1.0, r_s: float = 1.0) -> Values:
    r"""Density of Hernquist, :math:`\rho_s / (x (1 + x)^3)` with :math:`x = R/r_s`."""
    x = _scaled(R, rho_s, r_s)
    return rho_s / (x * (1 + x) ** 3)


def sigma_hernquist(R: ArrayLike, rho_s: float = 1.0, r_s: float = 1.0) -> Values:
    r"""Its projection, :math:`\rho_s r_s ((2 + x^2) \chi - 3) / (1 - x^2)^2`.

    References
    ----------
    Hernquist (1990).
    """
    x = _scaled(R, rho_s, r_s)
    # (2 + x²) is 3 + 2t + t² at x = 1 + t; its product with the series, less 3, begins with t².
    series = 3 * CHI[2:] + 2 * CHI[1:-1] + CHI[:-2]
    shape = _piecewise(
        x,
        [np.abs(x - 1) < NEAR],
        [
            lambda x: polyval(x - 1, series) / (1 + x) ** 2,
            lambda x: ((2 + x**2) * chi(x) - 3) / (1 - x**2) ** 2,
        ],
    )
    return rho_s * r_s * shape


def mean_sigma_hernquist(R: ArrayLike, rho_s: float = 1.0, r_s: float = 1.0) -> Values:
    r"""The mean of the projection within R, :math:`2 \rho_s r_s (\chi - 1) / (1 - x^2)`.

    References
    ----------
    Hernquist (1990).
    """
    return 2 * rho_s * r_s * _first_ratio(_scaled(R, rho_s, r_s))


def _first_ratio(x: Values) -> Values:
    r""":math:`(1 - \chi) / (x^2 - 1)`, with one power of x - 1 divided out where it is small."""
    return _piecewise(
        x,
        [np.abs(x - 1) < NEAR],
        [
            lambda x: -polyval(x - 1, CHI[1:]) / (1 + x),
            lambda x: (1 - chi(x)) / (x**2 - 1),
        ],
    )


def _scaled(R: ArrayLike, rho_s: float, r_s: float) -> Values:
    checks.positive(rho_s=rho_s, r_s=r_s)
    (R,) = checks.positive_arrays(R=R)
    return R / r_s


# --- By quadrature ----------------------------------------------------------------------------------------------

#: The first step of the trapezoidal rule, and how often it is halved at most.
STEP, HALVINGS = 0.4, 8
#: Sums of two steps must agree so well, relative; the finer one is then far better for a smooth density.
AGREEMENT = 1e-11
#: The sum ends where its terms are less than this part of it.
NEGLIGIBLE = 1e-18
#: Beyond this t the radius R cosh t is out of any range.
FARTHEST = 300.0
#: Radii treated at a time, which bounds the memory.
BATCH = 1024


def project(rho: Function, R: Real[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    r"""The surface density of a spherical density, to a relative accuracy of about 1e-10.

    With :math:`z = R \sinh t` and :math:`r = R \cosh t` along the line of sight

    .. math:: \Sigma(R) = 2 \int_0^\infty \rho(\sqrt{R^2 + z^2})\, dz = 2 \int_0^\infty r \rho(r)\, dt .

    The integrand is even and analytic, so the trapezoidal rule converges exponentially. Its step is halved until two
    sums agree.

    Parameters
    ----------
    rho
        The density, smooth for r > 0 and falling faster than 1/r.
    R
        Projected radii, positive.

    Raises
    ------
    ValueError
        If a radius is not positive, or the density is not finite, falls too slowly, or is not smooth enough.
    """
    (R,) = checks.positive_arrays(R=R)
    if R.ndim != 1 or not R.size:
        raise ValueError(f"R must be a vector of radii, got shape {R.shape}")
    return np.concatenate([_project(rho, R[j : j + BATCH]) for j in range(0, len(R), BATCH)])


def _project(rho: Function, R: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    def summed(t: Float[np.ndarray, " k"]) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        r = np.multiply.outer(np.cosh(t), R)
        terms = r * evaluate(rho, r.ravel(), name="rho").reshape(r.shape)
        return terms.sum(0), terms[-1]

    total = summed(np.zeros(1))[0] / 2
    reach = 0
    while True:
        block, last = summed(STEP * np.arange(reach + 1, reach + 11))
        total, reach = total + block, reach + 10
        if (last <= NEGLIGIBLE * total).all():
            break
        if reach * STEP > FARTHEST:
            raise ValueError(f"rho must fall faster than 1/r, got a projection without end at R = {float(R[0])!r}")
    for halvings in range(1, HALVINGS + 1):
        step = STEP / 2**halvings
        coarse, total = total, total + summed(step * np.arange(1, reach * 2**halvings, 2))[0]
        unsettled = np.abs(total - 2 * coarse) > AGREEMENT * np.abs(total)
        if not unsettled.any():
            return 2 * step * total
    raise ValueError(f"rho must be smooth, its projection does not settle at R = {float(R[unsettled][0])!r}")


def mean_projection(
    sigma: Function, R_min: float, R_max: float, *, rel_tol: float = 1e-8, refine: int = 0
) -> tuple[Callable[[ArrayLike], Values], Knots]:
    r"""The mean of a surface density within a radius, from the integral of one spline.

    In :math:`s = \ln R` with :math:`g(s) = \Sigma(e^s)\, e^{2s}`

    .. math::
       \bar\Sigma(R) = \frac{2}{R^2} \Big( \int_0^{R_{\min}} \Sigma(R') R'\, dR'
       + \int_{\ln R_{\min}}^{\ln R} g\, ds \Big) .

    The first integral is by 32 points of Gauss and Laguerre in :math:`v = 2 \ln(R_{\min}/R')`, exact for logarithmic
    cusps; the second is that of the spline of g.

    Parameters
    ----------
    sigma
        The surface density, which is called at radii far below ``R_min`` too.
    R_min, R_max
        The range of radii.
    rel_tol, refine
        For :func:`autoknots`.

    Returns
    -------
    The mean as a function of R in the range, and the knots of g. The function raises ``ValueError`` outside.

    Raises
    ------
    ValueError
        If the range is not positive and ascending, or :func:`autoknots` refuses.
    """
    checks.positive(R_min=R_min, R_max=R_max)
    check_interval(R_min, R_max, names=("R_min", "R_max"))
    low, high = np.log(R_min), np.log(R_max)

    def g(s: np.ndarray) -> np.ndarray:
        R = np.exp(s)
        return evaluate(sigma, R, name="sigma") * R**2

    knots = autoknots(g, low, high, rel_tol=rel_tol, refine=refine)
    v, weights = np.polynomial.laguerre.laggauss(32)
    core = R_min**2 / 2 * (weights @ evaluate(sigma, R_min * np.exp(-v / 2), name="sigma"))
    ring = knots.spline.antiderivative()

    def mean(R: ArrayLike) -> Values:
        R = np.asarray(R, dtype=float)
        if (bad := ~((R_min <= R) & (R_max >= R))).any():
            raise ValueError(f"R must lie in [{R_min}, {R_max}], got {float(R[bad][0])}")
        return 2 / R**2 * (core + ring(np.log(R)))

    return mean, knots
