"""The unstructured model: a prior over frequencies, what a sighting tells, and the price of not fitting it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from overparam.core import checks

#: Numbers of sightings 0, 1, ... for which a simulation keeps averages.
TRACKED = 7
#: Elements of the one buffer in which likelihoods are computed: half a megabyte, which stays in a core's cache.
BUFFER = 2**16
#: A finite stand-in for log 0: times a zero exponent it is 0, times any other it vanishes under exp.
LOG_ZERO = -1e300
#: Normalisers that a simulation draws where it is given no frequencies.
NORMALIZERS = 400


# --- The prior --------------------------------------------------------------------------------------------------


def zipf_prior(N: int, exponent: float = 1.0) -> Float[Tensor, " {N}"]:
    r"""The list of unnormalised frequencies :math:`\pi_i = i^{-s}`, largest first; an exponent s of 0 makes them equal.

    Raises
    ------
    ValueError
        If N is below 1, or the exponent is negative or not finite.
    """
    checks.integer(1, N=N)
    checks.non_negative(exponent=exponent)
    return torch.arange(1, N + 1, dtype=torch.float64) ** -exponent


def frequency_marginal(
    prior: Float[Tensor, " m"], N: int, draws: int, generator: torch.Generator
) -> Float[Tensor, " m*{draws}"]:
    r"""Equally weighted support points of :math:`\bar\pi^N`, the law of one point's frequency D(x).

    The N values :math:`p_x` are drawn independently from the list, and :math:`D(x) = p_x / \sum_{x'} p_{x'}`. For
    one x the other N - 1 only enter through their sum, so every value of the list is set against ``draws`` such sums.

    Parameters
    ----------
    prior
        The list :math:`\pi`, non-negative, with any normalisation.
    N, draws
        Points of the domain, and random normalisers. At N = 1000 under Zipf's law one normaliser differs from the
        next by 17 %, so that a few are not enough.
    generator
        CPU generator.

    Returns
    -------
    All frequencies, those of one prior value together. Should all N values be zero, each point has 1/N.

    Raises
    ------
    ValueError
        If the prior is empty, negative, not finite or all zero, N is below 2, or ``draws`` is below 1.

    References
    ----------
    Feldman (2020), the model of unstructured classification.
    """
    _check_prior(prior)
    checks.integer(2, N=N)
    checks.integer(1, draws=draws)
    # One at a time: at full scale the indices of all would take more memory than the result.
    rest = torch.stack([_drawn(prior, N - 1, generator).sum() for _ in range(draws)])
    total = prior[:, None] + rest
    return torch.where(total > 0, prior[:, None] / total, 1 / N).flatten()


def _drawn(prior: Tensor, count: int, generator: torch.Generator) -> Tensor:
    return prior[torch.randint(len(prior), (count,), generator=generator).to(prior.device)]


# --- What a sighting tells --------------------------------------------------------------------------------------


def tau(alphas: Float[Tensor, " a"], n: int, ell: int | Sequence[int] | Int[Tensor, " l"]) -> Float[Tensor, "*ell"]:
    r"""The expected frequency of a point that was seen :math:`\ell` times among n.

    .. math:: \tau_\ell = \frac{\mathbb{E}[\alpha^{\ell+1} (1-\alpha)^{n-\ell}]}
                               {\mathbb{E}[\alpha^\ell (1-\alpha)^{n-\ell}]},
              \qquad \alpha \sim \bar\pi^N,

    which is a posterior mean: the frequencies averaged with their likelihoods as weights.

    Parameters
    ----------
    alphas
        Equally weighted frequencies in [0, 1], as from :func:`frequency_marginal`.
    n
        Examples in the sample.
    ell
        One number of sightings or several, in 0..n; 0 is for points that were not seen.

    Returns
    -------
    One value for each ``ell``, a scalar tensor for an integer. NaN where no frequency makes that many possible.

    Raises
    ------
    ValueError
        If a frequency is outside [0, 1], there is none, or a number of sightings is outside 0..n.
    """
    sightings = _check_sightings(alphas, n, ell)
    return _posterior(alphas, n, sightings)[1].to(alphas.dtype)


def expected_counts(
    alphas: Float[Tensor, " a"], N: int, n: int, ell: int | Sequence[int] | Int[Tensor, " l"]
) -> Float[Tensor, "*ell"]:
    r"""The expected number of points seen :math:`\ell` times.

    It is :math:`N \binom{n}{\ell}\, \mathbb{E}[\alpha^\ell (1-\alpha)^{n-\ell}]`, with arguments as for :func:`tau`.

    Raises
    ------
    ValueError
        As for :func:`tau`, and if N is below 1.
    """
    checks.integer(1, N=N)
    sightings = _check_sightings(alphas, n, ell)
    log_evidence = _posterior(alphas, n, sightings)[0]
    return (math.log(N) + _log_binomial(n, sightings) + log_evidence).exp().to(alphas.dtype)


def _posterior(alphas: Tensor, n: int, ell: Tensor) -> tuple[Tensor, Tensor]:
    r"""The log of :math:`\mathbb{E}[\alpha^\ell (1-\alpha)^{n-\ell}]` and the mean frequency under those weights.

    In logarithms, because the likelihoods are of the order of 1e-500, and in blocks of one buffer, shaped by how
    many frequencies there are; blocks of frequencies are merged as softmax sums are, relative to the largest.
    """
    values = alphas.double()
    seen, unseen = values.log().clamp(min=LOG_ZERO), torch.log1p(-values).clamp(min=LOG_ZERO)
    flat = ell.reshape(-1, 1).to(values)
    evidence, mean = torch.empty_like(flat[:, 0]), torch.empty_like(flat[:, 0])
    columns = min(len(values), BUFFER)
    rows = BUFFER // columns
    buffer = values.new_empty(rows, columns)
    parts = list(zip(seen.split(columns), unseen.split(columns), values.split(columns), strict=True))
    for start in range(0, len(flat), rows):
        block = slice(start, start + rows)
        logs, means = zip(*(_weigh(buffer, flat[block], n, *part) for part in parts), strict=True)
        evidence[block] = torch.stack(logs).logsumexp(0)
        mean[block] = (torch.softmax(torch.stack(logs), 0) * torch.stack(means)).sum(0)
    possible = evidence > LOG_ZERO / 2
    evidence = torch.where(possible, evidence - math.log(len(values)), -math.inf)
    return evidence.reshape(ell.shape), torch.where(possible, mean, math.nan).reshape(ell.shape)


def _weigh(buffer: Tensor, ell: Tensor, n: int, seen: Tensor, unseen: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """The log of the summed likelihoods of some frequencies, one row for each ``ell``, and their weighted mean."""
    weights = buffer[: len(ell), : len(values)]
    torch.mul(ell, seen, out=weights)
    weights.addcmul_(n - ell, unseen)
    largest = weights.amax(1)
    weights.sub_(largest[:, None]).exp_()
    total = weights.sum(1)
    return largest + total.log(), weights @ values / total


def _log_binomial(n: int, ell: Tensor) -> Tensor:
    ell = ell.double()
    return math.lgamma(n + 1) - torch.lgamma(ell + 1) - torch.lgamma(n - ell + 1)


# --- The price of not fitting -----------------------------------------------------------------------------------


def tail_weight(alphas: Float[Tensor, " a"], N: int, low: float, high: float) -> float:
    r"""The expected mass of the points whose frequency lies in the closed interval I from ``low`` to ``high``.

    It is :math:`N\,\mathbb{E}[\alpha\,\mathbf{1}(\alpha \in I)]`.

    Raises
    ------
    ValueError
        If a frequency is outside [0, 1], there is none, N is below 1, or the interval is empty.
    """
    _check_alphas(alphas)
    checks.integer(1, N=N)
    if not low <= high:
        raise ValueError(f"low must be at most high, got {low!r} and {high!r}")
    inside = (alphas >= low) & (alphas <= high)
    return float(N * (alphas * inside).double().mean())


def tau1_lower_bound(alphas: Float[Tensor, " a"], N: int, n: int) -> float:
    r"""A long tail alone bounds the worth of a singleton: :math:`\tau_1 \ge \mathrm{weight}([1/(3n), 2/n]) / (5n)`.

    For n of at least 3, and where the frequencies have the mean 1/N that :func:`frequency_marginal` gives them:
    :math:`\alpha (1-\alpha)^{n-1} \ge 1/(5n)` on that interval.

    Raises
    ------
    ValueError
        If a frequency is outside [0, 1], there is none, or N or n is below 1.
    """
    checks.integer(1, n=n)
    return tail_weight(alphas, N, 1 / (3 * n), 2 / n) / (5 * n)


def price_of_not_fitting(
    alphas: Float[Tensor, " a"], N: int, n: int, misfit: Sequence[float] | Float[Tensor, " l"]
) -> float:
    r"""The expected excess error of a learner that misfits.

    It is :math:`\sum_{\ell=1}^n \tau_\ell\,\mathbb{E}|S_\ell|\,\mathrm{misfit}_\ell`, where :math:`S_\ell` are the
    points seen :math:`\ell` times. As :math:`\sum_{\ell=0}^n \tau_\ell\,\mathbb{E}|S_\ell| = N\,\mathbb{E}[\alpha]`,
    the common value of the largest :math:`\ell` is paid on everything, and only the others are corrected one by one.

    Parameters
    ----------
    alphas, N, n
        Frequencies, points of the domain, examples in the sample.
    misfit
        ``misfit[l - 1]`` is the probability of predicting another label for a point that was seen l times; the last
        entry also stands for all larger l.

    Raises
    ------
    ValueError
        If a misfit or a frequency is outside [0, 1], there is none, N is below 1, or n is below 1.

    References
    ----------
    Feldman (2020), the theorem on the excess error of not fitting.
    """
    _check_alphas(alphas)
    checks.integer(1, N=N, n=n)
    misfits = _check_probabilities("misfit", misfit).to(alphas.device)[:n]
    excess = torch.cat([misfits.new_zeros(1), misfits]) - misfits[-1]
    ell = excess.nonzero()[:, 0]
    log_evidence, mean = _posterior(alphas, n, ell)
    mass = N * (_log_binomial(n, ell) + log_evidence).exp() * mean.nan_to_num(0)
    return float(misfits[-1] * N * alphas.double().mean() + excess[ell] @ mass)


def dp_misfit(
    ell: int | Sequence[int] | Int[Tensor, " l"], epsilon: float, delta: float, classes: int
) -> Float[Tensor, "*ell"]:
    r"""What an :math:`(\varepsilon, \delta)`-private learner must misfit of a point seen :math:`\ell` times.

    Without those :math:`\ell` examples a uniform label among C is guessed with probability 1/C. Group privacy lets them
    raise it to :math:`e^{\ell\varepsilon}/C + \delta \sum_{i<\ell} e^{i\varepsilon}` at most; the misfit is the rest.

    Returns
    -------
    Lower bounds in [0, 1], float64.

    Raises
    ------
    ValueError
        If ``ell`` is negative, ``epsilon`` is negative or not finite, ``delta`` is outside [0, 1], or there are
        fewer than 2 classes.
    """
    checks.non_negative(epsilon=epsilon)
    checks.probability(delta=delta)
    checks.integer(2, classes=classes)
    sightings = torch.as_tensor(ell)
    if (bad := sightings[sightings < 0]).numel():
        raise ValueError(f"ell must be at least 0, got {bad[0].item()}")
    # From e^(l epsilon) = e C on nothing is left to bound, and larger exponents would only overflow.
    exponent = (sightings.double() * epsilon).clamp(max=math.log(classes) + 1)
    one = torch.tensor(epsilon, dtype=torch.float64, device=exponent.device)
    steps = torch.expm1(exponent) / torch.expm1(one) if epsilon > 0 else sightings.double()
    return (1 - exponent.exp() / classes - delta * steps).clamp(0, 1)


# --- A learner that keeps labels or forgets them ----------------------------------------------------------------


@dataclass(frozen=True)
class Simulation:
    """What T simulated samples showed.

    ``excess`` is the frequency of the seen points that are predicted wrong, ``predicted`` the sum of tau over the same
    points. ``frequency`` is the mean D(x) of the points seen 0..6 times (NaN where there were none), over all
    samples together, and ``counts`` their mean number.
    """

    excess: Float[Tensor, " t"]
    predicted: Float[Tensor, " t"]
    frequency: Float[Tensor, " 7"]
    counts: Float[Tensor, " 7"]


def simulate(
    prior: Float[Tensor, " m"],
    N: int,
    n: int,
    classes: int,
    fit: Sequence[float] | Float[Tensor, " l"],
    trials: int,
    generator: torch.Generator,
    alphas: Float[Tensor, " a"] | None = None,
    label_noise: float = 0.0,
) -> Simulation:
    """Samples from the model, and the errors of a learner that fits a point or guesses its label.

    Each trial draws N frequencies from the prior, a uniform label for each point, and n examples.

    Parameters
    ----------
    prior, N, n, classes, trials
        The list of frequencies, points of the domain, examples, labels, repetitions.
    fit
        ``fit[l - 1]`` is the probability that a point seen l times keeps its training label, the last entry standing
        for all larger l. A point that does not keep it is predicted a uniform label.
    generator
        CPU generator; the simulation runs on the CPU and its results follow the prior.
    alphas
        Frequencies for tau; None draws some, after the trials.
    label_noise
        Probability, once for each point, that its training label is replaced by a uniform one. Errors are counted
        against the true label.

    Raises
    ------
    ValueError
        If the prior is empty, negative, not finite or all zero, N is below 2, n or ``trials`` is below 1, there are
        fewer than 2 classes, or a probability is outside [0, 1].
    """
    _check_prior(prior)
    checks.integer(2, N=N, classes=classes)
    checks.integer(1, n=n, trials=trials)
    checks.probability(label_noise=label_noise)
    keep = _check_probabilities("fit", fit)
    if alphas is not None:
        _check_alphas(alphas)
    values = prior.detach().cpu().double()
    mass, number = torch.zeros(TRACKED, dtype=torch.float64), torch.zeros(TRACKED, dtype=torch.float64)
    excess, wrong_counts = [], []
    for _ in range(trials):
        D, seen = _sample(values, N, n, generator)
        rare = seen < TRACKED
        mass += torch.bincount(seen[rare], D[rare], minlength=TRACKED)
        number += torch.bincount(seen[rare], minlength=TRACKED)
        wrong = _wrong(seen, keep, classes, label_noise, generator)
        excess.append(D[wrong].sum())
        wrong_counts.append(seen[wrong])
    if alphas is None:
        alphas = frequency_marginal(prior, N, NORMALIZERS, generator)
    distinct, where = torch.cat(wrong_counts).unique(return_inverse=True)
    worth = tau(alphas, n, distinct).cpu().double()[where]
    predicted = [part.sum() for part in worth.split([len(counts) for counts in wrong_counts])]
    return Simulation(
        excess=torch.stack(excess).to(prior),
        predicted=torch.stack(predicted).to(prior),
        frequency=(mass / number).to(prior),
        counts=(number / trials).to(prior),
    )


def _sample(prior: Tensor, N: int, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Frequencies of the points, normalised for this very draw of the list, and how often each point is seen."""
    p = _drawn(prior, N, generator)
    D = p / p.sum() if p.sum() > 0 else torch.full_like(p, 1 / N)
    return D, torch.multinomial(D, n, replacement=True, generator=generator).bincount(minlength=N)


def _wrong(seen: Tensor, keep: Tensor, classes: int, label_noise: float, generator: torch.Generator) -> Tensor:
    """Which points are seen and yet predicted another label than their true one."""
    N = len(seen)
    truth, replacement, guess = torch.randint(classes, (3, N), generator=generator)
    noisy, kept = torch.rand(2, N, dtype=torch.float64, generator=generator)
    label = torch.where(noisy < label_noise, replacement, truth)
    fitted = kept < keep[seen.clamp(1, len(keep)) - 1]
    return (seen > 0) & (torch.where(fitted, label, guess) != truth)


# --- Refusals ---------------------------------------------------------------------------------------------------


def _check_prior(prior: Tensor) -> None:
    if prior.ndim != 1 or not prior.numel():
        raise ValueError(f"prior must be a list of at least one frequency, got shape {tuple(prior.shape)}")
    if (bad := prior[~(prior.isfinite() & (prior >= 0))]).numel():
        raise ValueError(f"prior must be finite and not negative, got {bad[0].item():g}")
    if not (prior > 0).any():
        raise ValueError(f"prior must have a positive frequency, got {prior.max().item():g} as its largest")


def _check_alphas(alphas: Tensor) -> None:
    if alphas.ndim != 1 or not alphas.numel():
        raise ValueError(f"alphas must be a list of at least one frequency, got shape {tuple(alphas.shape)}")
    if (bad := alphas[~((alphas >= 0) & (alphas <= 1))]).numel():
        raise ValueError(f"alphas must lie in [0, 1], got {bad[0].item():g}")


def _check_sightings(alphas: Tensor, n: int, ell: int | Sequence[int] | Tensor) -> Tensor:
    _check_alphas(alphas)
    checks.integer(0, n=n)
    sightings = torch.as_tensor(ell, device=alphas.device)
    if (bad := sightings[(sightings < 0) | (sightings > n)]).numel():
        raise ValueError(f"ell must lie in 0..{n}, got {bad[0].item()}")
    return sightings


def _check_probabilities(name: str, values: Sequence[float] | Tensor) -> Tensor:
    numbers = torch.as_tensor(values, dtype=torch.float64)
    if numbers.ndim != 1 or not numbers.numel():
        raise ValueError(f"{name} must be a list of at least one probability, got shape {tuple(numbers.shape)}")
    if (bad := numbers[~((numbers >= 0) & (numbers <= 1))]).numel():
        raise ValueError(f"{name} must lie in [0, 1], got {bad[0].item():g}")
    return numbers
