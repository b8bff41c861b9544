"""The price of not fitting, in the model and on handwritten digits whose subpopulations have a long tail."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from overparam.core import checks, compute
from overparam.core.claims import Claim
from overparam.core.compute import Device
from overparam.core.datasets import HUB_SETS, digits, hub_images
from overparam.core.progress import track
from overparam.generalization.long_tail_memorization.frequencies import (
    TRACKED,
    Simulation,
    dp_misfit,
    frequency_marginal,
    price_of_not_fitting,
    simulate,
    tau,
    tau1_lower_bound,
    zipf_prior,
)
from overparam.generalization.long_tail_memorization.kernels import (
    gaussian_kernel,
    kernel_ridge_loo,
    memorization_scores,
    one_hot,
)

DTYPE = torch.float64
DATASETS = ("digits", *HUB_SETS)


@dataclass(frozen=True)
class Config:
    """Reader scale: a few CPU-seconds. Every number of the experiment is here."""

    seed: int = 0
    # The unstructured model.
    points: int = 1000  # N, of the domain; also the length of the Zipf list
    samples: int = 1000  # n
    exponent: float = 1.0  # of the Zipf list, here and for the digits
    classes: int = 10
    normalizers: int = 400  # random normalisers from which the law of a frequency is computed
    fit: tuple[float, ...] = (0.0, 0.5, 1.0)  # probability of fitting a point seen once, twice, ... and more often
    trials: int = 200  # simulated samples
    short_points: int = 50  # points of equal frequency: the short tail
    label_noise: float = 0.3  # share of training labels that are replaced by uniform ones
    noise_trials: int = 40  # simulated samples with them, and for each epsilon
    epsilons: tuple[float, ...] = (0.1, 0.5, 1.0, 2.0, 4.0)  # of differential privacy
    delta: float = 0.0  # of differential privacy
    # The real subpopulations.
    dataset: str = "digits"
    source: str | None = None  # folder of a hub set's parquet files, to read instead of the hub
    clusters: int = 10  # subpopulations a class, by k-means
    cluster_seed: int = 0  # of k-means; the subpopulations are the same for every seed
    draws: int = 300  # n, training examples
    jitter: float = 0.3  # standard deviation of the noise on a training pixel, in units of a pixel's own
    width2: float = 64.0  # squared width of the Gaussian kernel
    ridges: tuple[float, ...] = (1e-3, 0.01, 0.1, 1.0, 3.0, 10.0, 30.0)  # increasing; the first interpolates
    limit: float = 10.0  # the ridge that stands for limited memorization
    data_trials: int = 20  # training sets, each with the frequencies assigned anew

    def __post_init__(self) -> None:
        checks.integer(0, seed=self.seed, cluster_seed=self.cluster_seed)
        checks.integer(2, points=self.points, short_points=self.short_points, classes=self.classes)
        checks.integer(1, samples=self.samples, normalizers=self.normalizers, trials=self.trials)
        checks.integer(1, noise_trials=self.noise_trials, clusters=self.clusters, data_trials=self.data_trials)
        checks.integer(2, draws=self.draws)
        checks.non_negative(exponent=self.exponent, jitter=self.jitter)
        checks.positive(width2=self.width2, limit=self.limit)
        checks.probability(label_noise=self.label_noise, delta=self.delta)
        checks.one_of(DATASETS, dataset=self.dataset)
        for probability in self.fit:
            checks.probability(fit=probability)
        for epsilon in self.epsilons:
            checks.non_negative(epsilons=epsilon)
        for ridge in self.ridges:
            checks.positive(ridges=ridge)
        if not self.fit or not self.epsilons:
            raise ValueError(f"fit and epsilons must not be empty, got {self.fit} and {self.epsilons}")
        checks.increasing(least=2, ridges=self.ridges)
        if self.limit not in self.ridges[1:]:
            raise ValueError(f"limit must be one of the ridges but the first, {self.ridges[1:]}, got {self.limit!r}")
        if self.source is not None and self.dataset == "digits":
            raise ValueError(f"source must be None for digits, which are bundled, got {self.source!r}")


FULL = Config(
    points=50_000,
    samples=50_000,
    normalizers=100,
    dataset="mnist",
    clusters=100,
    draws=20_000,
    width2=784.0,  # as many as there are pixels, like the reader scale's
)

#: Sightings at which a row of bins begins: never, once, 2 to 5 times, more often.
SEEN_FROM = (0, 1, 2, 6)
#: Sightings up to which the claim on tau is checked.
TAU_UP_TO = 5
#: Training examples that are kept for the picture of the most memorized ones.
STRIP = 10
#: A mean below it counts as this much in a ratio: the bins are small.
FLOOR = 1e-3


# --- Subpopulations of real images ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Subpopulations:
    """Images, standardised as a whole, in C subpopulations, half of each for training and half for testing.

    ``train`` lists the training images sorted by subpopulation: those of subpopulation j are ``size[j]`` entries from
    ``offset[j]`` on. ``test`` lists the test images. ``label`` is each subpopulation's class.
    """

    x: Float[Tensor, "images d"]
    cluster: Int[Tensor, " images"]
    label: Int[Tensor, " c"]
    train: Int[Tensor, " train"]
    offset: Int[Tensor, " c"]
    size: Int[Tensor, " c"]
    test: Int[Tensor, " test"]
    shape: tuple[int, ...]


def subpopulations(config: Config, generator: torch.Generator) -> Subpopulations:
    """Cluster the images of every class, and split every cluster at random.

    A cluster of a single image, should there be one, is used for both.
    """
    x, y, shape = _images(config)
    cluster = torch.empty(len(y), dtype=torch.int64)
    label = torch.arange(int(y.max()) + 1).repeat_interleave(config.clusters)
    for c in range(int(y.max()) + 1):
        cluster[y == c] = c * config.clusters + _kmeans(x[y == c], config)
    train, test = [], []
    for j in range(len(label)):
        members = (cluster == j).nonzero()[:, 0]
        members = members[torch.randperm(len(members), generator=generator)]
        half = (len(members) + 1) // 2
        train.append(members[:half])
        test.append(members[half:] if len(members) > 1 else members)
    size = torch.tensor([len(part) for part in train])
    return Subpopulations(x, cluster, label, torch.cat(train), size.cumsum(0) - size, size, torch.cat(test), shape)


def _images(config: Config) -> tuple[Tensor, Tensor, tuple[int, ...]]:
    """All images as rows, of mean 0 and variance 1 over all pixels of all images together; labels; an image's shape."""
    if config.dataset == "digits":
        split = digits(center=False, scale="raw", flatten=False)
    else:
        split = hub_images(config.dataset, source=config.source)
    images, labels = split.whole()
    images = images.to(DTYPE)
    images = (images - images.mean()) / images.std(correction=0)
    return images.flatten(1), labels, tuple(images.shape[1:])


def _kmeans(x: Tensor, config: Config) -> Tensor:
    from sklearn.cluster import KMeans

    if len(x) < config.clusters:
        raise ValueError(f"clusters must be at most the {len(x)} images of a class, got {config.clusters}")
    means = KMeans(config.clusters, n_init=10, random_state=config.cluster_seed)  # pyright: ignore[reportArgumentType]
    return torch.from_numpy(means.fit_predict(x.numpy()).astype(np.int64))


# --- The experiment ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """What :func:`run` measured.

    ``alphas`` are the support points of a frequency's law and ``half_fit`` the simulation of ``config.fit``, with its
    price. ``refusal_*`` are the prices of misfitting all singletons and nothing else, ``tau1`` and ``tau1_bound`` the
    worth of a singleton and its lower bound. ``noisy_*`` are excess errors with noisy labels, ``private_*`` the price
    and the simulated excess error for each epsilon.

    The fields of the digits are for each trial and subpopulation (and each ridge): its ``frequency``, how often it was
    ``seen``, the share of its test images that are predicted wrong, of its training examples that are not fitted, and
    the mean memorization score of its examples under the first ridge (0 where unseen). ``strip_*`` are the most
    memorized examples of the first trial: image, class, and the class they get when left out.
    """

    config: Config
    alphas: Float[Tensor, " a"]
    half_fit: Simulation
    half_fit_price: float
    refusal_long: float
    refusal_short: float
    tau1: float
    tau1_bound: float
    noisy_fit: Float[Tensor, " noise"]
    noisy_refuse: Float[Tensor, " noise"]
    private_price: Float[Tensor, " e"]
    private_excess: Float[Tensor, "e noise"]
    frequency: Float[Tensor, "t c"]
    seen: Int[Tensor, "t c"]
    tau_of_seen: Float[Tensor, "t c"]
    test_error: Float[Tensor, "t r c"]
    unfitted: Float[Tensor, "t r c"]
    memorization: Float[Tensor, "t c"]
    strip_images: Float[Tensor, "s ..."]
    strip_labels: Int[Tensor, " s"]
    strip_without: Int[Tensor, " s"]


def run(config: Config = Config(), *, device: Device = None, progress: bool = True) -> Result:
    """The model's predictions and simulations, and then kernel ridge regression on real subpopulations.

    Parameters
    ----------
    config
        The experiment.
    device
        None picks the best device that has float64.
    progress
        Show a bar.
    """
    where = compute.device(device, dtype=DTYPE)
    streams = [compute.generator(seed) for seed in compute.seeds(config.seed, 6)]
    law, trials, noise, privacy, halves, samples = streams
    prior = zipf_prior(config.points, config.exponent)
    alphas = frequency_marginal(prior, config.points, config.normalizers, law).to(where)
    N, n, guess = config.points, config.samples, 1 - 1 / config.classes
    sizes = {"prior": prior, "N": N, "n": n, "classes": config.classes, "alphas": alphas}
    noisy = {**sizes, "trials": config.noise_trials, "generator": noise, "label_noise": config.label_noise}
    equal = frequency_marginal(torch.ones(1, dtype=DTYPE), config.short_points, 1, law)
    misfits = [dp_misfit(torch.arange(1, n + 1), epsilon, config.delta, config.classes) for epsilon in config.epsilons]
    private = [
        simulate(**sizes, fit=(1 - misfit / guess).clamp(min=0), trials=config.noise_trials, generator=privacy).excess
        for misfit in track(misfits, progress, "private learners")
    ]
    return Result(
        config=config,
        alphas=alphas.cpu(),
        half_fit=simulate(**sizes, fit=config.fit, trials=config.trials, generator=trials),
        half_fit_price=price_of_not_fitting(alphas, N, n, [guess * (1 - fit) for fit in config.fit]),
        refusal_long=price_of_not_fitting(alphas, N, n, (1.0, 0.0)),
        refusal_short=price_of_not_fitting(equal, config.short_points, n, (1.0, 0.0)),
        tau1=float(tau(alphas, n, 1)),
        tau1_bound=tau1_lower_bound(alphas, N, n),
        noisy_fit=simulate(**noisy, fit=(1.0,)).excess,
        noisy_refuse=simulate(**noisy, fit=(0.0, 1.0)).excess,
        private_price=torch.tensor([price_of_not_fitting(alphas, N, n, m) for m in misfits], dtype=DTYPE),
        private_excess=torch.stack(private),
        **_run_on_images(config, where, halves, samples, progress),
    )


def _run_on_images(
    config: Config, where: torch.device, halves: torch.Generator, samples: torch.Generator, progress: bool
) -> dict[str, Tensor]:
    pool = subpopulations(config, halves)
    trials, strip = [], {}
    for _ in track(range(config.data_trials), progress, "subpopulations"):
        images, frequency = _draw(pool, config, samples)
        noise = config.jitter * torch.randn(len(images), pool.x.shape[1], dtype=DTYPE, generator=samples)
        x, y = (pool.x[images] + noise).to(where), pool.label[pool.cluster[images]].to(where)
        K = gaussian_kernel(x, x, config.width2)
        K_test = gaussian_kernel(pool.x[pool.test].to(where), x, config.width2)
        trials.append(_measure(pool, images, K, K_test, y, config) | {"frequency": frequency})
        strip = strip or _strip(pool, images, K, y, config)
    return {name: torch.stack([trial[name] for trial in trials]) for name in trials[0]} | strip


def _draw(pool: Subpopulations, config: Config, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Training images, each a random member of a random subpopulation, and the frequencies of these."""
    weights = zipf_prior(len(pool.label), config.exponent)
    frequency = (weights / weights.sum())[torch.randperm(len(weights), generator=generator)]
    cluster = torch.multinomial(frequency, config.draws, replacement=True, generator=generator)
    member = torch.rand(config.draws, dtype=DTYPE, generator=generator) * pool.size[cluster]
    return pool.train[pool.offset[cluster] + member.long()], frequency


def _measure(
    pool: Subpopulations, images: Tensor, K: Tensor, K_test: Tensor, y: Tensor, config: Config
) -> dict[str, Tensor]:
    """One training set: what every ridge gets wrong in each subpopulation, and what the first has memorized."""
    C = len(pool.label)
    cluster, test_cluster = pool.cluster[images], pool.cluster[pool.test]
    test_labels, classes = pool.label[test_cluster].to(y.device), int(pool.label.max()) + 1
    targets = one_hot(y, classes).to(K)
    test_error, unfitted = [], []
    for ridge in config.ridges:
        beta, _ = kernel_ridge_loo(K, targets, ridge)
        test_error.append(_mean_by(test_cluster, (K_test @ beta).argmax(1) != test_labels, C))
        unfitted.append(_mean_by(cluster, (targets - ridge * beta).argmax(1) != y, C))
    weights = zipf_prior(C, config.exponent)
    seen = cluster.bincount(minlength=C)
    return {
        "seen": seen,
        "tau_of_seen": tau(weights / weights.sum(), config.draws, seen),
        "test_error": torch.stack(test_error),
        "unfitted": torch.stack(unfitted),
        "memorization": _mean_by(cluster, memorization_scores(K, y, classes, config.ridges[0]), C),
    }


def _mean_by(group: Tensor, values: Tensor, groups: int) -> Tensor:
    """The mean of the values in each group, 0 for an empty one."""
    sums = torch.bincount(group, values.to("cpu", DTYPE), minlength=groups)
    return sums / group.bincount(minlength=groups).clamp(min=1)


def _strip(pool: Subpopulations, images: Tensor, K: Tensor, y: Tensor, config: Config) -> dict[str, Tensor]:
    """The training examples that are right only because they are there, the most wrong without themselves first."""
    classes = int(pool.label.max()) + 1
    targets = one_hot(y, classes).to(K)
    loo = kernel_ridge_loo(K, targets, config.ridges[0])[1]
    memorized = memorization_scores(K, y, classes, config.ridges[0]) == 1
    own = (loo * targets).sum(1)
    others = loo.masked_fill(targets.bool(), -math.inf).amax(1)
    order = (others - own).masked_fill(~memorized, -math.inf).argsort(descending=True, stable=True)
    kept = order[: min(STRIP, int(memorized.sum()))].cpu()
    return {
        "strip_images": pool.x[images[kept]].unflatten(1, pool.shape),
        "strip_labels": y.cpu()[kept],
        "strip_without": loo.argmax(1).cpu()[kept],
    }


# --- What it shows ----------------------------------------------------------------------------------------------


def in_bins(result: Result) -> Bool[Tensor, "4 t c"]:
    """Which subpopulations were seen never, once, 2 to 5 times, and more often."""
    ends = (*SEEN_FROM[1:], math.inf)
    return torch.stack([(result.seen >= a) & (result.seen < b) for a, b in zip(SEEN_FROM, ends, strict=True)])


def error_by_sightings(result: Result) -> Float[Tensor, "r 4"]:
    """Test error for each ridge and bin, weighted by the subpopulations' frequencies, over all trials together."""
    weight = in_bins(result) * result.frequency
    return torch.einsum("btc,trc->rb", weight, result.test_error) / weight.sum((1, 2))


def memorization_by_sightings(result: Result) -> Float[Tensor, " 4"]:
    """The mean memorization score of the training examples in each bin, NaN for the unseen."""
    weight = in_bins(result) * result.seen.to(DTYPE)
    return (weight * result.memorization).sum((1, 2)) / weight.sum((1, 2))


def excess_by_ridge(result: Result) -> tuple[Float[Tensor, " r"], Float[Tensor, " r"]]:
    """The error on seen subpopulations beyond the first ridge's, and what tau predicts; means over the trials."""
    seen = (result.seen > 0) * result.frequency
    measured = torch.einsum("tc,trc->rt", seen, result.test_error - result.test_error[:, :1])
    worth = (result.seen > 0) * result.tau_of_seen
    predicted = torch.einsum("tc,trc->rt", worth, result.unfitted)
    return measured.mean(1), predicted.mean(1)


def claims(result: Result) -> list[Claim]:
    """The chapter's seven claims, decided on one result."""
    config = result.config
    limit = config.ridges.index(config.limit)
    last = min(TAU_UP_TO, TRACKED - 1, config.samples)
    theory = tau(result.alphas, config.samples, range(last + 1))
    tau_error = float((result.half_fit.frequency[: last + 1] / theory - 1).abs().max())
    price_error = abs(_ratio(float(result.half_fit.excess.mean()), result.half_fit_price) - 1)
    noise_gain = float(result.noisy_refuse.mean() - result.noisy_fit.mean())
    memorization = memorization_by_sightings(result)
    rare, frequent = float(memorization[1]), float(memorization[3])
    memorized_ratio = rare / _floored(frequent)
    error = error_by_sightings(result)
    extra = error[limit] - error[0]
    extra_rare, extra_frequent = float(extra[1]), float(extra[3])
    extra_ratio = extra_rare / _floored(extra_frequent)
    measured, predicted = excess_by_ridge(result)
    coupling = _ratio(float(measured[limit]), float(predicted[limit]))
    return [
        Claim(
            "tau",
            "Points seen l times have on average the frequency tau_l",
            measured=tau_error,
            holds=tau_error < 0.06,
            limits=(-math.inf, 0.06),
            bound="relative deviation below 0.06 for l = 0..5",
            source="definition of tau_l, the posterior mean frequency",
        ),
        Claim(
            "price",
            "The excess error of a learner that half-fits the tail is the sum of tau_l times what it misfits",
            measured=price_error,
            holds=price_error < 0.05,
            limits=(-math.inf, 0.05),
            bound="relative deviation below 0.05",
            source="theorem on the price of not fitting, with equality",
        ),
        Claim(
            "long_tail",
            "Refusing singletons costs a constant under a long tail and nothing under a short one",
            measured=result.refusal_long,
            holds=result.refusal_long > 0.05 and result.refusal_short < 1e-4 and result.tau1 >= result.tau1_bound,
            limits=(0.05, math.inf),
            bound="cost above 0.05, below 1e-4 for the short tail, and tau_1 at least its bound",
            source="tail bound on tau_1",
        ),
        Claim(
            "noisy_singletons",
            "With noisy labels, fitting singletons, wrong ones too, still beats refusing them",
            measured=noise_gain,
            holds=noise_gain > 0.01,
            limits=(0.01, math.inf),
            bound="excess error falls by more than 0.01",
            source="outliers and noisy labels need to be memorized too",
        ),
        Claim(
            "memorized_are_rare",
            "On digits memorization sits on the singletons of their subpopulation",
            measured=memorized_ratio,
            holds=memorized_ratio > 10 and rare > 0.1,
            limits=(10.0, math.inf),
            bound="mean score at l = 1 above 0.1 and above 10 times that at l > 5",
            source="definition of label memorization; ours on digits",
        ),
        Claim(
            "disparate",
            "Limiting memorization hits the subpopulations that were seen once",
            measured=extra_ratio,
            holds=extra_ratio > 5 and extra_rare > 0.25,
            limits=(5.0, math.inf),
            bound="extra error at l = 1 above 0.25 and above 5 times that at l > 5",
            source="disparate effects of limited memorization; ours on digits",
        ),
        Claim(
            "digits_price",
            "On digits, too, the excess error is the sum of tau_l times the misfitted share",
            measured=coupling,
            holds=0.75 <= coupling <= 1.25,
            limits=(0.75, 1.25),
            bound="measured over predicted excess in [0.75, 1.25]",
            source="theorem for subpopulations, coupling 1; ours on digits",
        ),
    ]


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else math.nan


def _floored(value: float) -> float:
    """At least :data:`FLOOR`; a NaN stays one, so that no claim holds with it."""
    return value if math.isnan(value) else max(value, FLOOR)
