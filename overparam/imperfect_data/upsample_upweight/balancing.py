"""Two ways to balance domains, sampling and weighting, and how noisy each makes the gradient."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from numpy.typing import ArrayLike
from torch import Tensor

from overparam.core import checks

METHODS = ("sampling", "scalarization")


def temperature_probs(sizes: ArrayLike, tau: float) -> Float[Tensor, " k"]:
    r"""Temperature Sampling: :math:`p(i; \tau) = n_i^{1/\tau} / \sum_j n_j^{1/\tau}`.

    Parameters
    ----------
    sizes
        The sizes :math:`n_i` of the domains, in any unit.
    tau
        The temperature: 1 is proportional to size, ``math.inf`` is uniform.

    Returns
    -------
    Probabilities in float64, on the device of ``sizes``.

    Raises
    ------
    ValueError
        If ``sizes`` is not a vector of positive numbers or ``tau`` is not positive.
    """
    return _log_probs(sizes, tau).exp()


def scalarization_weights(sizes: ArrayLike, tau: float) -> Float[Tensor, " k"]:
    r"""Weights of the loss with the same target: :math:`w_i = p(i; \tau) / p(i; 1)`, of mean 1 under :math:`p(i; 1)`.

    Raises
    ------
    ValueError
        As :func:`temperature_probs`.
    """
    return (_log_probs(sizes, tau) - _log_probs(sizes, 1.0)).exp()


def variance_factor(sizes: ArrayLike, tau: float) -> float:
    r"""The factor :math:`F(\tau) = \sum_i p(i; \tau)^2 / p(i; 1) = 1 + \chi^2(p_\tau \,\|\, p_1) \ge 1`.

    With the same second moment G in every domain, Scalarization's variance exceeds that of sampling by G (F - 1).

    Raises
    ------
    ValueError
        As :func:`temperature_probs`.
    """
    return float(temperature_probs(sizes, tau) @ scalarization_weights(sizes, tau))


def variance_gap(second_moments: ArrayLike, sizes: ArrayLike, tau: float) -> float:
    r"""Scalarization's variance minus that of sampling, :math:`\sum_i p(i; \tau)\,(w_i - 1)\,G_i`; it may be negative.

    Parameters
    ----------
    second_moments
        :math:`G_i = \mathbb{E}_{D_i} \|\nabla \ell\|^2`, one for each domain.
    sizes, tau
        As for :func:`temperature_probs`.

    Raises
    ------
    ValueError
        As :func:`temperature_probs`, or if the moments are negative, not finite, or not one for each domain.
    """
    probs, weights = temperature_probs(sizes, tau), scalarization_weights(sizes, tau)
    moments = torch.as_tensor(second_moments, dtype=torch.float64, device=probs.device)
    if moments.shape != probs.shape:
        raise ValueError(f"second_moments must be one for each of {len(probs)} domains, got {tuple(moments.shape)}")
    if (bad := moments[~(moments.isfinite() & (moments >= 0))]).numel():
        raise ValueError(f"second_moments must be finite and at least 0, got {bad[0].item():g}")
    return float((probs * (weights - 1)) @ moments)


def gradient_variance(grads: Float[Tensor, "n p"], domains: Int[Tensor, " n"], tau: float, *, method: str) -> float:
    r"""Trace of the covariance of the one-example gradient estimator over a finite set of gradients, exactly.

    Sampling draws example x of domain i with probability :math:`p(i; \tau) / n_i` and returns its gradient g(x);
    Scalarization draws it with probability :math:`p(i; 1) / n_i = 1/N` and returns :math:`w_i\, g(x)`.

    Parameters
    ----------
    grads
        A gradient in each row; sums are taken in float64.
    domains
        The domain 0..K-1 of each; their counts are the sizes.
    tau
        The temperature.
    method
        "sampling" or "scalarization".

    Raises
    ------
    ValueError
        If the method is unknown, the shapes differ, ``tau`` is not positive, or a domain below the largest has no
        example.
    """
    checks.one_of(METHODS, method=method)
    if grads.ndim != 2 or domains.shape != grads.shape[:1] or not len(grads):
        raise ValueError(
            f"grads must be rows, and domains one for each, got {tuple(grads.shape)}, {tuple(domains.shape)}"
        )
    if domains.min() < 0:
        raise ValueError(f"domains must be at least 0, got {int(domains.min())}")
    counts = torch.bincount(domains)
    if (empty := (counts == 0).nonzero()).numel():
        raise ValueError(f"every domain must have an example, got none of domain {int(empty[0])}")
    drawn_at = tau if method == "sampling" else 1.0
    scale = scalarization_weights(counts, tau) if method == "scalarization" else torch.ones_like(counts)
    chance = (temperature_probs(counts, drawn_at) / counts)[domains]
    estimates = grads.double() * scale[domains, None]
    mean = chance @ estimates
    return float(chance @ (estimates - mean).square().sum(1))


def cooldown(step: int, total: int, *, high: float = 5.0, low: float = 1.0, switch: float = 0.5) -> float:
    """The temperature of a step: ``high`` while ``step < switch * total``, then ``low``; one step, no ramp.

    Raises
    ------
    ValueError
        If ``step`` is outside [0, total), ``switch`` outside [0, 1], or a temperature is not positive.
    """
    checks.integer(1, total=total)
    checks.integer(0, step=step)
    if step >= total:
        raise ValueError(f"step must be below total {total}, got {step}")
    checks.probability(switch=switch)
    _check_temperature(high=high, low=low)
    return high if step < switch * total else low


def sample_batch(
    sizes: ArrayLike, tau: float, batch: int, *, generator: torch.Generator
) -> tuple[Int[Tensor, " {batch}"], Int[Tensor, " {batch}"]]:
    """Draw a domain at the temperature, then one of its examples uniformly, with replacement.

    Parameters
    ----------
    sizes
        Examples of each domain.
    tau
        The temperature.
    batch
        How many to draw.
    generator
        CPU generator.

    Returns
    -------
    The domain of each draw and its index within the domain, int64, on the device of ``sizes``.

    Raises
    ------
    ValueError
        As :func:`temperature_probs`, or if a size is not whole or ``batch`` is below 1.
    """
    checks.integer(1, batch=batch)
    where = _sizes(sizes).device
    counts = _sizes(sizes).cpu()
    if (bad := counts[counts != counts.floor()]).numel():
        raise ValueError(f"sizes must be whole numbers of examples, got {bad[0].item():g}")
    # A pair of numbers for each draw: however many are drawn at once, a stream gives the same draws.
    first, second = torch.rand(batch, 2, dtype=torch.float64, generator=generator).unbind(1)
    domain = torch.searchsorted(temperature_probs(counts, tau).cumsum(0), first.contiguous(), right=True)
    domain = domain.clamp(max=len(counts) - 1)
    index = (second * counts[domain]).long().minimum(counts[domain].long() - 1)
    return domain.to(where), index.to(where)


def _sizes(sizes: ArrayLike) -> Tensor:
    values = torch.as_tensor(sizes, dtype=torch.float64)
    if values.ndim != 1 or not values.numel():
        raise ValueError(f"sizes must be a vector with an entry for each domain, got shape {tuple(values.shape)}")
    if (bad := values[~(values.isfinite() & (values > 0))]).numel():
        raise ValueError(f"sizes must be positive and finite, got {bad[0].item():g}")
    return values


def _log_probs(sizes: ArrayLike, tau: float) -> Tensor:
    _check_temperature(tau=tau)
    logs = _sizes(sizes).log()
    # The largest is taken away first: then a temperature near 0 underflows, which is right, and cannot overflow.
    return ((logs - logs.max()) / tau).log_softmax(0)


def _check_temperature(**values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{name} must be positive, got {value!r}")
