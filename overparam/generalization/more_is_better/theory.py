"""The eigenframework: what random-feature regression will do, from the spectrum of the task alone.

Everything is computed in float64, whatever the inputs are: the implicit constants span twenty decades.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from scipy.optimize import root_scalar
from torch import Tensor

from overparam.core import checks

#: A number, or a tensor of them that broadcasts against the others.
Number = float | int | Tensor
#: Numbers that are in memory at once where a grid meets a spectrum.
CHUNK = 200_000
#: Fewest and most points of the table that brackets the roots, of which a larger grid is worth more.
TABLE = (16, 256)
#: A step of Newton's method in log gamma after which the next would be lost in rounding.
CLOSE = 1e-7


@dataclass(frozen=True)
class Risk:
    """What the eigenframework says, one entry a cell of the grid of n, k and ridge.

    ``test`` and ``train`` are mean squared errors on noisy labels, ``kappa`` and ``gamma`` the implicit constants.
    ``modes`` is the sum of the learnabilities, z, and ``modes2`` that of their squares, q.
    """

    test: Tensor
    train: Tensor
    kappa: Tensor
    gamma: Tensor
    modes: Tensor
    modes2: Tensor


def solve_implicit(eigvals: Float[Tensor, " m"], n: Number, k: Number, ridge: Number) -> tuple[Tensor, Tensor]:
    r"""The implicit constants of random-feature regression, for a whole grid at once.

    Solves for :math:`\kappa, \gamma \ge 0`

    .. math:: n = z + \delta / \kappa, \qquad k = z + k \kappa / \gamma, \qquad
              z = \sum_i \lambda_i / (\lambda_i + \gamma).

    Without :math:`\kappa`, which is :math:`\gamma (1 - z/k)`, they say :math:`(n - z)(k - z) = k \delta / \gamma`. Its
    solution with z below both n and k is :math:`z + D(\gamma) = \min(n, k)` with the *slack*

    .. math:: D\,(|n - k| + D) = k \delta / \gamma, \qquad D \ge 0.

    Both terms fall as :math:`\gamma` grows, and nearly as powers of it. Newton's method on
    :math:`\log(z + D)` against :math:`\log\gamma` then needs two or three steps from a table that all cells share.

    Parameters
    ----------
    eigvals
        Kernel eigenvalues :math:`\lambda_i \ge 0`, in any order.
    n, k, ridge
        Samples, features (``inf`` for the kernel itself) and ridge :math:`\delta \ge 0`; they broadcast.

    Returns
    -------
    :math:`\kappa` and :math:`\gamma`. Without a ridge, :math:`\gamma = 0` if no more than min(n, k) eigenvalues are
    positive.

    Raises
    ------
    ValueError
        If n or k is not positive, a ridge is negative or not finite, or the eigenvalues are not a vector of
        non-negative numbers with a positive one among them.

    References
    ----------
    Simon et al. (2024), the RF eigenframework.
    """
    eigvals = _spectrum(eigvals)
    n, k, ridge = _grid(eigvals, n, k, ridge)
    gamma = _solve_gamma(eigvals, n, k, ridge)
    slack, _ = _slack(gamma, n, k, ridge)
    return gamma * _share_left(n, k, slack), gamma


def _solve_gamma(eigvals: Tensor, n: Tensor, k: Tensor, ridge: Tensor) -> Tensor:
    smaller, positive = torch.minimum(n, k), eigvals[eigvals > 0]
    gamma = torch.zeros_like(n)
    todo = (ridge > 0) | (len(positive) > smaller)
    if bool(todo.any()):
        gamma[todo] = _newton(positive, n[todo], k[todo], ridge[todo], smaller[todo]).exp()
    return gamma


def _newton(eigvals: Tensor, n: Tensor, k: Tensor, ridge: Tensor, smaller: Tensor) -> Tensor:
    """The root in log gamma: bracketed by a table that all cells share, then Newton, kept inside the bracket."""
    low, high, point = _bracket(eigvals, n, k, ridge, smaller)
    for _ in range(100):
        z, gap = _learned(eigvals, point.exp())
        slack, slope = _slack(point.exp(), n, k, ridge)
        value = ((z + slack) / smaller).log()
        low, high = torch.where(value >= 0, point, low), torch.where(value <= 0, point, high)
        step = point + value * (z + slack) / (gap + slope)
        step = torch.where((step >= low) & (step <= high), step, (low + high) / 2)
        moved, point = (step - point).abs(), step
        if not bool((moved > CLOSE).any()):
            break
    return point


def _bracket(eigvals: Tensor, n: Tensor, k: Tensor, ridge: Tensor, smaller: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Below and above the root in log gamma, and the secant's guess between them.

    At the first end of the table the slack or z alone is too large in every cell; at the last both are below one half.
    """
    spread = eigvals.min() * (len(eigvals) / smaller - 1)
    first = torch.maximum(ridge / n, spread).log().min()
    last = torch.maximum(2 * eigvals.sum() / smaller, 4 * ridge / n).log().max()
    points = min(max(TABLE[0], len(n)), TABLE[1])
    table = first + (last - first) * torch.linspace(0, 1, points, dtype=n.dtype, device=n.device)
    z, _ = _learned(eigvals, table.exp())
    slack, _ = _slack(table.exp(), n[:, None], k[:, None], ridge[:, None])
    value = ((z + slack) / smaller[:, None]).log()
    at = (value > 0).sum(1, keepdim=True).clamp(1, points - 1)
    low, high = table[at - 1], table[at]
    above, below = value.gather(1, at - 1), value.gather(1, at)
    share = (above / (above - below)).clamp(0, 1)
    return low[:, 0], high[:, 0], (low + (high - low) * share)[:, 0]


def _slack(gamma: Tensor, n: Tensor, k: Tensor, ridge: Tensor) -> tuple[Tensor, Tensor]:
    """D(gamma), how far z stays below min(n, k), and minus its derivative in log gamma; k may be infinite."""
    pull = torch.where(ridge > 0, ridge / gamma, 0.0)
    gap = (n / k - 1).abs()
    root = (gap**2 + 4 * pull / k).sqrt()
    slack = torch.where(ridge > 0, 2 * pull / (gap + root), 0.0)
    return slack, torch.where(ridge > 0, pull / root, 0.0)


def _share_left(n: Tensor, k: Tensor, slack: Tensor) -> Tensor:
    """The ratio kappa/gamma = 1 - z/k, without the cancellation: 1 for infinite k."""
    return 1 - torch.minimum(n, k) / k + slack / k


def _learned(eigvals: Tensor, gamma: Tensor) -> tuple[Tensor, Tensor]:
    """The sums of L and of L (1 - L), which are z and z - q."""
    sums = torch.empty(2, len(gamma), dtype=gamma.dtype, device=gamma.device)
    for cells in torch.arange(len(gamma), device=gamma.device).split(max(1, CHUNK // len(eigvals))):
        learnability = eigvals / (eigvals + gamma[cells, None])
        z = learnability.sum(1)
        sums[0, cells], sums[1, cells] = z, z - torch.linalg.vecdot(learnability, learnability)
    return sums[0], sums[1]


def rf_risk(
    eigvals: Float[Tensor, " m"],
    coeffs: Float[Tensor, " m"],
    n: Number,
    k: Number,
    ridge: Number,
    noise_var: float | int = 0.0,
) -> Risk:
    r"""Test and training risk of regression on k random features of n samples.

    With the learnabilities :math:`L_i = \lambda_i / (\lambda_i + \gamma)`, their sum z and the sum of their squares q,

    .. math::

        \mathcal{E} = \frac{1}{1 - \frac{q(k - 2z) + z^2}{n(k - q)}} \left[ \sum_i \left(
        \frac{\gamma}{\lambda_i + \gamma} - \frac{\kappa \lambda_i}{(\lambda_i + \gamma)^2} \frac{k}{k - q}
        \right) v_i^2 + \sigma^2 \right],

    and the training risk is :math:`((n - z)/n)^2\, \mathcal{E}`. It is evaluated as

    .. math::

        \mathcal{E} = n\, \frac{\sum_i v_i^2 (1 - L_i) \left[ c (1 - L_i) + w/k \right] + \sigma^2 p}{a p + w c},
        \qquad a = n - z, \quad c = 1 - z/k, \quad w = z - q, \quad p = c + w/k,

    which is the same and has no differences: every term is positive, infinite k needs no limit, and the pole at
    n = k without a ridge is an exact zero below.

    Parameters
    ----------
    eigvals, coeffs
        Kernel eigenvalues :math:`\lambda_i` and target coefficients :math:`v_i` in the same eigenbasis.
    n, k, ridge
        As in :func:`solve_implicit`. The ridge is not multiplied by n.
    noise_var
        Variance :math:`\sigma^2` of the label noise, which the risks include.

    Returns
    -------
    The risks and what they were computed from, in the broadcast shape. ``test`` is infinite at ridge 0 and n = k.

    Raises
    ------
    ValueError
        As in :func:`solve_implicit`, or if the coefficients are not one for each eigenvalue, or the noise is negative.

    References
    ----------
    Simon et al. (2024), the RF eigenframework.
    """
    eigvals, power = _task(eigvals, coeffs, noise_var)
    n, k, ridge = _grid(eigvals, n, k, ridge)
    gamma = _solve_gamma(eigvals, n, k, ridge)
    slack, _ = _slack(gamma, n, k, ridge)
    # Without a ridge and with too few modes z is their number, below min(n, k), and the slack is not what is left.
    idle = (gamma == 0) * (torch.minimum(n, k) - (eigvals > 0).sum())
    return _risk(eigvals, power, n, k, gamma, slack + idle, noise_var)


def _risk(eigvals: Tensor, power: Tensor, n: Tensor, k: Tensor, gamma: Tensor, slack: Tensor, noise_var: float) -> Risk:
    """The second form of :func:`rf_risk`, with z given as min(n, k) minus the slack."""
    shape, cells = gamma.shape, gamma.flatten()
    z, gap, missed, missed2 = (sums.reshape(shape) for sums in _mode_sums(eigvals, power, cells))
    a = (n - torch.minimum(n, k)) + slack
    # At gamma = 0 the factor c is common to both sides of the fraction; it may be zero there, and is left out.
    c = torch.where(gamma == 0, 1.0, _share_left(n, k, slack))
    p = c + gap / k
    numerator = c * missed2 + missed * gap / k + noise_var * p
    denominator = a * p + gap * c
    test = torch.where(numerator == 0, 0.0, n * numerator / denominator)
    # With as many modes as samples, no ridge and no noise everything is learnt; the two zeros cancel in the limit.
    train = torch.where(a == 0, 0.0, (a / n) ** 2 * test)
    return Risk(test, train, gamma * c, gamma, z, z - gap)


def _mode_sums(eigvals: Tensor, power: Tensor, gamma: Tensor) -> Tensor:
    """The sums of L, L (1 - L), v² (1 - L) and v² (1 - L)², one row each; a mode of eigenvalue 0 has L = 0."""
    sums = torch.empty(4, len(gamma), dtype=gamma.dtype, device=gamma.device)
    for cells in torch.arange(len(gamma), device=gamma.device).split(max(1, CHUNK // len(eigvals))):
        learnability = torch.where(eigvals > 0, eigvals / (eigvals + gamma[cells, None]), 0.0)
        missing = torch.where(eigvals > 0, gamma[cells, None] / (eigvals + gamma[cells, None]), 1.0)
        sums[0, cells] = learnability.sum(1)
        sums[1, cells] = torch.linalg.vecdot(learnability, missing)
        sums[2, cells] = missing @ power
        sums[3, cells] = missing.square() @ power
    return sums


def krr_risk(
    eigvals: Float[Tensor, " m"],
    coeffs: Float[Tensor, " m"],
    n: Number,
    ridge: Number,
    noise_var: float | int = 0.0,
) -> Risk:
    r"""The limit of infinitely many features, kernel ridge regression: :func:`rf_risk` with ``k = inf``.

    Then :math:`\kappa = \gamma` and
    :math:`\mathcal{E} = \frac{n}{n - q} \big[ \sum_i (1 - L_i)^2 v_i^2 + \sigma^2 \big]`.
    """
    return rf_risk(eigvals, coeffs, n, math.inf, ridge, noise_var)


#: Points of the sweep over log gamma, and of each of the refinements around the best of them.
SWEEP, REFINE, ROUNDS = 256, 17, 5


def optimal_ridge(
    eigvals: Float[Tensor, " m"],
    coeffs: Float[Tensor, " m"],
    n: float | int,
    k: float | int,
    noise_var: float | int = 0.0,
) -> tuple[float, float]:
    r"""The ridge with the smallest test risk, 0 included, and that risk.

    No equation is solved for it: every :math:`\gamma` from that of ridge 0 upwards belongs to exactly one ridge,
    :math:`\delta = \gamma (n - z)(1 - z/k)`, and the risk is explicit in :math:`\gamma`.

    Raises
    ------
    ValueError
        As in :func:`rf_risk`.
    """
    ridgeless = rf_risk(eigvals, coeffs, n, k, 0.0, noise_var)
    eigvals, power = _task(eigvals, coeffs, noise_var)
    n_, k_, _ = _grid(eigvals, n, k, 0.0)
    positive = eigvals[eigvals > 0]
    start = max(float(ridgeless.gamma), 1e-8 * float(positive.min()))
    low, high = math.log(start), math.log(1e8 * float(positive.sum()))
    best_ridge, best_test = 0.0, float(ridgeless.test)
    for points in (SWEEP, *[REFINE] * ROUNDS):
        log_gamma = torch.linspace(low, high, points, dtype=eigvals.dtype, device=eigvals.device)
        z, _ = _learned(eigvals, log_gamma.exp())
        slack = (torch.minimum(n_, k_) - z).clamp(min=0)
        risk = _risk(eigvals, power, n_, k_, log_gamma.exp(), slack, float(noise_var))
        at = int(risk.test.argmin())
        if float(risk.test[at]) < best_test * (1 - 1e-12):  # else rounding would make a ridge of 0 a tiny one
            best_test = float(risk.test[at])
            best_ridge = float(risk.kappa[at] * (n_ - z[at]).clamp(min=0))
        low, high = float(log_gamma[max(at - 1, 0)]), float(log_gamma[min(at + 1, points - 1)])
    return best_ridge, best_test


# --- Powerlaw tasks ---------------------------------------------------------------------------------------------


def powerlaw_task(
    modes: int, alpha: float | int, beta: float | int
) -> tuple[Float[Tensor, " {modes}"], Float[Tensor, " {modes}"]]:
    r"""Eigenvalues :math:`\lambda_i = i^{-\alpha}` and coefficients :math:`v_i = i^{-\beta/2}`, i = 1, 2, ...

    Raises
    ------
    ValueError
        If there is no mode, :math:`\alpha \le 1` or :math:`\beta` lies outside :math:`(1, 2\alpha + 1)`.
    """
    checks.integer(1, modes=modes)
    check_exponents(alpha, beta)
    index = torch.arange(1, modes + 1, dtype=torch.float64)
    return index**-alpha, index ** (-beta / 2)


def optimal_fitting_ratio(alpha: float | int, beta: float | int, rel_noise: float | int) -> float:
    r"""The optimal ratio of training to test risk, for a powerlaw task and n to infinity.

    :math:`R^* = r^2` with the root r in [0, 1) of

    .. math:: \alpha - \beta - (\alpha - 1) \beta r + \alpha (\alpha - 1) (1 - r)^\beta \sigma_{\rm rel}^2 = 0,

    or 0 if the left side, which falls from r = 0 to r = 1, has no root.

    Parameters
    ----------
    alpha, beta
        Exponents of the eigenvalues and of the squared coefficients.
    rel_noise
        Variance of the noise, in units of the test risk without noise and without ridge at this n.

    Raises
    ------
    ValueError
        If an exponent is out of range (see :func:`powerlaw_task`) or the noise is negative.

    References
    ----------
    Simon et al. (2024), the theorem on powerlaw eigenstructure.
    """
    check_exponents(alpha, beta)
    checks.non_negative(rel_noise=rel_noise)

    def slope(r: float) -> float:
        return alpha - beta - (alpha - 1) * beta * r + alpha * (alpha - 1) * (1 - r) ** beta * rel_noise

    return float(root_scalar(slope, bracket=(0.0, 1.0), xtol=1e-15).root) ** 2 if slope(0.0) > 0 else 0.0


def powerlaw_risk(r: Tensor, alpha: float | int, beta: float | int, rel_noise: float | int) -> Tensor:
    r"""Test risk of a powerlaw task for n to infinity, in units of that without noise and without ridge.

    A ridge whose training risk is :math:`r^2` times the test risk, r in [0, 1), has the risk

    .. math:: \frac{(1 - r)^{-(\beta - 1)} + \alpha \sigma_{\rm rel}^2}{1 + r (\alpha - 1)}.

    Raises
    ------
    ValueError
        If an exponent is out of range, the noise negative or r outside [0, 1).
    """
    check_exponents(alpha, beta)
    checks.non_negative(rel_noise=rel_noise)
    if (bad := r[~((r >= 0) & (r < 1))]).numel():
        raise ValueError(f"r must lie in [0, 1), got {float(bad[0]):g}")
    return ((1 - r) ** (1 - beta) + alpha * rel_noise) / (1 + r * (alpha - 1))


# --- What is refused --------------------------------------------------------------------------------------------


def check_exponents(alpha: float | int, beta: float | int) -> None:
    """Raise ``ValueError`` unless alpha > 1 and 1 < beta < 2 alpha + 1."""
    if not 1 < alpha < math.inf:
        raise ValueError(f"alpha must be above 1 and finite, got {alpha!r}")
    if not 1 < beta < 2 * alpha + 1:
        raise ValueError(f"beta must lie in (1, {2 * alpha + 1:g}), got {beta!r}")


def _spectrum(eigvals: Tensor) -> Tensor:
    if eigvals.ndim != 1 or not len(eigvals):
        raise ValueError(f"eigvals must be a vector of at least one, got shape {tuple(eigvals.shape)}")
    if (bad := eigvals[~((eigvals >= 0) & eigvals.isfinite())]).numel():
        raise ValueError(f"eigvals must be finite and at least 0, got {float(bad[0]):g}")
    if not bool((eigvals > 0).any()):
        raise ValueError(f"eigvals must hold a positive one, got {len(eigvals)} times 0")
    return eigvals.double()


def _task(eigvals: Tensor, coeffs: Tensor, noise_var: float | int) -> tuple[Tensor, Tensor]:
    """The spectrum and the squared coefficients."""
    spectrum = _spectrum(eigvals)
    if coeffs.shape != eigvals.shape:
        raise ValueError(f"coeffs must have the shape of eigvals, {tuple(eigvals.shape)}, got {tuple(coeffs.shape)}")
    if (bad := coeffs[~coeffs.isfinite()]).numel():
        raise ValueError(f"coeffs must be finite, got {float(bad[0]):g}")
    checks.non_negative(noise_var=noise_var)
    return spectrum, coeffs.double().square()


def _grid(eigvals: Tensor, n: Number, k: Number, ridge: Number) -> list[Tensor]:
    """n, k and ridge as float64 tensors of one shape."""
    tensors = [torch.as_tensor(x, dtype=eigvals.dtype, device=eigvals.device) for x in (n, k, ridge)]
    for value in tensors[0].flatten().tolist():
        checks.positive(n=value)
    for value in tensors[1].flatten().tolist():
        if value != math.inf:
            checks.positive(k=value)
    for value in tensors[2].flatten().tolist():
        checks.non_negative(ridge=value)
    return list(torch.broadcast_tensors(*tensors))
