"""Predictions held against simulations, grids on which more is better, and the price of not overfitting."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from overparam.core import checks, compute
from overparam.core.claims import Claim
from overparam.core.compute import Device
from overparam.core.datasets import DIGITS, digits, hub_images
from overparam.core.fits import slope_or_nan
from overparam.core.progress import track
from overparam.generalization.more_is_better.regression import (
    arccos_kernel,
    gaussian_features,
    kernel_eigenstructure,
    kernel_regression,
    relu_features,
    rf_regression,
)
from overparam.generalization.more_is_better.theory import (
    check_exponents,
    krr_risk,
    optimal_fitting_ratio,
    optimal_ridge,
    powerlaw_task,
    rf_risk,
)

DTYPE = torch.float64  # the implicit constants span twenty decades
#: Populations of images, and how many they have.
IMAGES = {"digits": DIGITS, "cifar10": 50_000}
#: Classes with the label +1; the others have -1.
POSITIVE = (0, 1, 7, 8, 9)


def _logspace(low: float, high: float, count: int) -> tuple[float, ...]:
    return tuple(torch.logspace(low, high, count, dtype=DTYPE).tolist())


@dataclass(frozen=True)
class Config:
    """Reader scale: about fifteen CPU-seconds. Every number of the experiment is here."""

    seed: int = 0
    # A Gaussian task with powerlaw eigenstructure
    modes: int = 2000  # M, eigenvalues
    alpha: float = 1.5  # exponent of the eigenvalues
    beta: float = 1.5  # exponent of the squared coefficients
    noise_var: float = 0.5  # variance of the label noise
    n: int = 128  # training samples
    widths: tuple[int, ...] = (16, 32, 64, 96, 128, 192, 256, 512, 1024)  # k, random features, increasing
    ridges: tuple[float, ...] = (1e-3, 1e-2, 1e-1, 1.0, 10.0)  # increasing; also for the images
    trials: int = 36  # draws of data and features; with 12 the noise of the training labels alone decides a claim
    n_test: int = 500  # test points of a draw
    # The grid on which more is better, of n and of k, which also takes k = infinity
    grid: tuple[int, ...] = (16, 32, 64, 128, 256, 512)
    fixed_ridge: float = 1e-6  # what is used where the ridge is not tuned
    # Images, whose uniform measure is the population
    images: str = "digits"  # or "cifar10"
    source: str | None = None  # folder of cifar10's parquet files, to read instead of the hub
    population: int = DIGITS  # images in it
    image_n: int = 128  # training images, drawn with replacement
    image_widths: tuple[int, ...] = (16, 32, 64, 128, 256, 512, 1024)  # k, ReLU features, increasing
    image_trials: int = 10  # draws of training images and features
    kernel_ridges: tuple[float, ...] = (0.0, *_logspace(-5, 1, 25))  # for the kernel itself
    # Powerlaw tasks of which the optimal fitting ratio is known: alpha, beta, relative noise
    ratio_modes: int = 100_000  # M there
    ratio_n: int = 1000  # n there
    ratio_cases: tuple[tuple[float, float, float], ...] = (
        (3.0, 2.0, 0.0),
        (2.5, 1.8, 0.0),
        (2.0, 2.0, 0.0),
        (1.8, 2.5, 0.0),
        (2.0, 2.0, 0.5),
        (1.8, 2.2, 0.2),
        (1.5, 2.0, 5.0),
    )

    def __post_init__(self) -> None:
        checks.integer(0, seed=self.seed)
        checks.integer(1, modes=self.modes, n=self.n, trials=self.trials, n_test=self.n_test)
        checks.integer(1, image_n=self.image_n, image_trials=self.image_trials)
        checks.integer(1, ratio_modes=self.ratio_modes, ratio_n=self.ratio_n)
        checks.non_negative(noise_var=self.noise_var, fixed_ridge=self.fixed_ridge)
        check_exponents(self.alpha, self.beta)
        checks.one_of(tuple(IMAGES), images=self.images)
        checks.integer(2, population=self.population)
        if self.population > IMAGES[self.images]:
            raise ValueError(f"population must be at most {IMAGES[self.images]} images, got {self.population}")
        for name in ("widths", "grid", "image_widths"):
            sizes = getattr(self, name)
            for size in sizes:
                checks.integer(1, **{name: size})
            checks.increasing(least=2, **{name: sizes})
        for ridge in self.ridges:
            checks.positive(ridges=ridge)
        for ridge in self.kernel_ridges:
            checks.non_negative(kernel_ridges=ridge)
        checks.increasing(ridges=self.ridges, kernel_ridges=self.kernel_ridges)
        for alpha, beta, rel_noise in self.ratio_cases:
            check_exponents(alpha, beta)
            checks.non_negative(rel_noise=rel_noise)


def log_sizes(low: int, high: int, count: int) -> tuple[int, ...]:
    """About ``count`` whole numbers from ``low`` to ``high``, evenly spaced in their logarithm."""
    return tuple(sorted({round(k) for k in _logspace(math.log10(low), math.log10(high), count)}))


FULL = Config(
    modes=10_000,
    n=256,
    widths=log_sizes(10, 10_000, 31),
    ridges=_logspace(-3, 2, 31),
    trials=45,
    n_test=1000,
    images="cifar10",
    population=20_000,
    image_n=256,
    image_widths=log_sizes(10, 10_000, 31),
    image_trials=45,
)

#: Samples over which exponents are read off, and the share of the modes that they stay below.
EXPONENT_N, EXPONENT_SHARE = (16, 630), 0.4
#: About how many widths the predicted curves have, besides those that are simulated.
CURVE_POINTS = 40


@dataclass(frozen=True)
class Comparison:
    """Simulated and predicted risks: a trial (simulated only), a width, a ridge.

    ``kernel_test`` is the prediction for infinitely many features, one a ridge. ``curve_test`` and ``curve_tuned`` are
    the predictions for the test risk at more widths, ``curve_k``, at each ridge and at the best.
    """

    sim_train: Float[Tensor, "t k r"]
    sim_test: Float[Tensor, "t k r"]
    train: Float[Tensor, "k r"]
    test: Float[Tensor, "k r"]
    kernel_test: Float[Tensor, " r"]
    curve_k: Float[Tensor, " points"]
    curve_test: Float[Tensor, "points r"]
    curve_tuned: Float[Tensor, " points"]


@dataclass(frozen=True)
class Result:
    """What :func:`run` computed and measured.

    ``synthetic`` and ``image`` are the two comparisons. ``tuned`` and ``untuned`` are the grids of n (rows) and k
    (columns, the last one infinite) at the best and at the fixed ridge. ``ratio`` and ``ratio_limit`` are the roots of
    the optimal fitting ratios, at n samples and for n to infinity. ``kernel_train`` and ``kernel_test`` are errors of
    the images' kernel at ``config.kernel_ridges``, means over trials. ``eigvals`` and ``coeffs`` are the images'
    eigenstructure, ``exponents`` its alpha and beta.
    """

    config: Config
    synthetic: Comparison
    image: Comparison
    tuned: Float[Tensor, "g h"]
    untuned: Float[Tensor, "g h"]
    ratio: Float[Tensor, " cases"]
    ratio_limit: Float[Tensor, " cases"]
    kernel_train: Float[Tensor, " ridges"]
    kernel_test: Float[Tensor, " ridges"]
    eigvals: Float[Tensor, " population"]
    coeffs: Float[Tensor, " population"]
    exponents: Float[Tensor, " 2"]


def run(config: Config = Config(), *, device: Device = None, progress: bool = True) -> Result:
    """Predict, simulate and tune, in float64.

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
    gaussian, pictures, kernel = (compute.generator(seed) for seed in compute.seeds(config.seed, 3))
    eigvals, coeffs = (z.to(where) for z in powerlaw_task(config.modes, config.alpha, config.beta))
    X, y = (z.to(where) for z in image_population(config))
    K = arccos_kernel(X)
    image_eigvals, image_coeffs = kernel_eigenstructure(K, y)
    ridges, kernel_ridges, sizes = (
        torch.tensor(z, dtype=DTYPE, device=where) for z in (config.ridges, config.kernel_ridges, config.grid)
    )

    def gaussian_trial() -> Tensor:
        return _gaussian_trial(eigvals, coeffs, config, ridges, gaussian)

    def image_trial() -> Tensor:
        return _image_trial(X, y, config, ridges, pictures)

    def tuned(n: float, k: float) -> float:
        return optimal_ridge(eigvals, coeffs, n, k, config.noise_var)[1]

    trials = [gaussian_trial] * config.trials + [image_trial] * config.image_trials
    runs = [trial() for trial in track(trials, progress, "more is better, simulations")]
    synthetic, image = torch.stack(runs[: config.trials]), torch.stack(runs[config.trials :])
    cases = track(config.ratio_cases, progress, "more is better, fitting ratios")
    ratio = [_tuned_ratio(*case, config) for case in cases]
    grid_k = torch.cat([sizes, torch.full_like(sizes[:1], math.inf)])
    sweep = fitting_curve(K, y, config.image_n, kernel_ridges, trials=config.image_trials, generator=kernel)
    return Result(
        config=config,
        synthetic=_compare(synthetic, config.widths, eigvals, coeffs, config.n, ridges, config.noise_var),
        image=_compare(image, config.image_widths, image_eigvals, image_coeffs, config.image_n, ridges, 0.0),
        tuned=torch.tensor([[tuned(n, k) for k in grid_k.tolist()] for n in config.grid], dtype=DTYPE),
        untuned=rf_risk(eigvals, coeffs, sizes[:, None], grid_k, config.fixed_ridge, config.noise_var).test.cpu(),
        ratio=torch.tensor(ratio, dtype=DTYPE),
        ratio_limit=torch.tensor([optimal_fitting_ratio(*case) for case in config.ratio_cases], dtype=DTYPE).sqrt(),
        kernel_train=sweep[0].cpu(),
        kernel_test=sweep[1].cpu(),
        eigvals=image_eigvals.cpu(),
        coeffs=image_coeffs.cpu(),
        exponents=torch.tensor(measured_exponents(image_eigvals, image_coeffs), dtype=DTYPE),
    )


def image_population(config: Config) -> tuple[Float[Tensor, "n d"], Float[Tensor, " n"]]:
    """Images as rows, with pixels of mean 0 and variance 1 over all of them, and labels -1 and 1."""
    if config.images == "digits":
        x, y = digits(seed=0, center=False).whole()
    else:
        x, y = hub_images(config.images, source=config.source).train
    x, y = x[: config.population].flatten(1).to(DTYPE), y[: config.population]
    return (x - x.mean()) / x.std(), 2 * torch.isin(y, torch.tensor(POSITIVE)).to(DTYPE) - 1


def _gaussian_trial(
    eigvals: Tensor, coeffs: Tensor, config: Config, ridges: Tensor, generator: torch.Generator
) -> Tensor:
    """Errors on training and on test samples of one draw; (2, k, r)."""
    samples = config.n + config.n_test
    X = torch.randn(samples, config.modes, generator=generator, dtype=DTYPE).to(eigvals.device)
    noise = torch.randn(samples, generator=generator, dtype=DTYPE).to(eigvals.device)
    y = X @ coeffs + math.sqrt(config.noise_var) * noise
    phi = gaussian_features(X, eigvals, config.widths[-1], generator)
    test = slice(config.n, None)
    return _every_width(phi[: config.n], y[: config.n], phi[test], y[test], config.widths, ridges)


def _image_trial(X: Tensor, y: Tensor, config: Config, ridges: Tensor, generator: torch.Generator) -> Tensor:
    """The same on images: the training set is drawn with replacement, and the test set is the whole population."""
    chosen = torch.randint(len(X), (config.image_n,), generator=generator).to(X.device)
    phi = relu_features(X, config.image_widths[-1], generator)
    return _every_width(phi[chosen], y[chosen], phi, y, config.image_widths, ridges)


def _every_width(
    train_phi: Tensor, train_y: Tensor, test_phi: Tensor, test_y: Tensor, widths: tuple[int, ...], ridges: Tensor
) -> Tensor:
    """The first k of the features, scaled to be k features, for every k."""
    errors = []
    for k in widths:
        scale = math.sqrt(widths[-1] / k)
        fit = rf_regression(scale * train_phi[:, :k], train_y, scale * test_phi[:, :k], test_y, ridges)
        errors.append(torch.stack(fit))
    return torch.stack(errors, 1)


def _compare(
    simulated: Tensor,
    widths: tuple[int, ...],
    eigvals: Tensor,
    coeffs: Tensor,
    n: int,
    ridges: Tensor,
    noise_var: float,
) -> Comparison:
    dense = sorted({*widths, *log_sizes(widths[0], widths[-1], CURVE_POINTS)})
    k, curve_k = (torch.tensor(z, dtype=DTYPE, device=eigvals.device) for z in (widths, dense))
    predicted = rf_risk(eigvals, coeffs, n, k[:, None], ridges, noise_var)
    return Comparison(
        sim_train=simulated[:, 0].cpu(),
        sim_test=simulated[:, 1].cpu(),
        train=predicted.train.cpu(),
        test=predicted.test.cpu(),
        kernel_test=krr_risk(eigvals, coeffs, n, ridges, noise_var).test.cpu(),
        curve_k=curve_k.cpu(),
        curve_test=rf_risk(eigvals, coeffs, n, curve_k[:, None], ridges, noise_var).test.cpu(),
        curve_tuned=torch.tensor(
            [optimal_ridge(eigvals, coeffs, n, width, noise_var)[1] for width in dense], dtype=DTYPE
        ),
    )


def fitting_curve(
    K: Float[Tensor, "n n"],
    y: Float[Tensor, " n"],
    n: int,
    ridges: Float[Tensor, " r"],
    *,
    trials: int,
    generator: torch.Generator,
) -> tuple[Float[Tensor, " r"], Float[Tensor, " r"]]:
    """Errors of kernel regression on n points drawn with replacement, on these and on all, as means over trials.

    It takes any kernel matrix of a population, such as one of a convolutional network that was computed elsewhere.

    Raises
    ------
    ValueError
        If n or the number of trials is below 1, or a shape or a ridge is refused by :func:`kernel_regression`.
    """
    checks.integer(1, n=n, trials=trials)
    if K.ndim != 2 or K.shape[0] != K.shape[1] or not len(K):
        raise ValueError(f"K must be square, got shape {tuple(K.shape)}")
    if y.shape != K.shape[:1]:
        raise ValueError(f"y must have {len(K)} rows like K, got shape {tuple(y.shape)}")
    errors = []
    for _ in range(trials):
        chosen = torch.randint(len(K), (n,), generator=generator).to(K.device)
        errors.append(torch.stack(kernel_regression(K[chosen][:, chosen], y[chosen], K[:, chosen], y, ridges)))
    train, test = torch.stack(errors).mean(0)
    return train, test


def measured_exponents(eigvals: Float[Tensor, " m"], coeffs: Float[Tensor, " m"]) -> tuple[float, float]:
    r"""Exponents alpha and beta from what the kernel does without a ridge, rather than from the spectrum.

    :math:`\kappa \sim n^{-\alpha}`, and the test risk falls like :math:`n^{-(\beta - 1)}`.
    """
    first, last = EXPONENT_N
    last = max(first, min(last, round(EXPONENT_SHARE * len(eigvals))))
    n = torch.tensor(log_sizes(first, last, 12), dtype=DTYPE, device=eigvals.device)
    risk = krr_risk(eigvals, coeffs, n, 0.0)
    return -slope_or_nan(n, risk.kappa), 1 - slope_or_nan(n, risk.test)


def _tuned_ratio(alpha: float, beta: float, rel_noise: float, config: Config) -> float:
    """The root of training over test risk of the kernel at the best ridge, (n - z)/n."""
    eigvals, coeffs = powerlaw_task(config.ratio_modes, alpha, beta)
    noise_var = rel_noise * float(krr_risk(eigvals, coeffs, config.ratio_n, 0.0).test)
    ridge, _ = optimal_ridge(eigvals, coeffs, config.ratio_n, math.inf, noise_var)
    risk = krr_risk(eigvals, coeffs, config.ratio_n, ridge, noise_var)
    return max(0.0, 1 - float(risk.modes) / config.ratio_n)


# --- What it claims ---------------------------------------------------------------------------------------------

#: From this ridge on the training error is large enough to be compared.
TRAIN_RIDGE = 0.1


def claims(result: Result) -> list[Claim]:
    """The chapter's seven claims, decided on one result."""
    config = result.config
    fitted = torch.tensor(config.ridges, dtype=DTYPE) >= TRAIN_RIDGE * (1 - 1e-9)
    synthetic, image = result.synthetic, result.image
    test_gap, image_gap = (mean_gap(z.sim_test, z.test) for z in (synthetic, image))
    train_gap = mean_gap(synthetic.sim_train[..., fitted], synthetic.train[:, fitted])
    largest_step = float(torch.cat([result.tuned.diff(dim=0).flatten(), result.tuned.diff(dim=1).flatten()]).max())
    peaks = float((result.untuned.diff(dim=1) > 0).any(1).double().mean())
    limit_gap = float((result.ratio - result.ratio_limit).abs().max()) if len(result.ratio) else math.nan
    best = int(result.kernel_test.argmin())
    ratio = float(result.kernel_train[best] / result.kernel_test[best])
    return [
        Claim(
            "omniscient_synthetic",
            "The eigenframework predicts the simulated test risk at every width and ridge, the peak included",
            measured=test_gap,
            holds=test_gap < 0.06,
            limits=(-math.inf, 0.06),
            bound="mean of |simulated/predicted - 1| below 0.06",
            source="RF eigenframework, Gaussian features on Gaussian data",
        ),
        Claim(
            "train_risk",
            "The training risk is ((n - z)/n)² times the test risk",
            measured=train_gap,
            holds=train_gap < 0.08,
            limits=(-math.inf, 0.08),
            bound="mean of |simulated/predicted - 1| below 0.08, ridge at least 0.1",
            source="RF eigenframework, training risk",
        ),
        Claim(
            "omniscient_digits",
            "It predicts ReLU features on images, which are not Gaussian",
            measured=image_gap,
            holds=image_gap < 0.15,
            limits=(-math.inf, 0.15),
            bound="mean of |simulated/predicted - 1| below 0.15",
            source="Gaussian universality; the paper's images are CIFAR-10",
        ),
        Claim(
            "more_is_better",
            "With the ridge tuned, the risk falls with every step in n and in k, up to infinity",
            measured=largest_step,
            holds=largest_step < 0,
            limits=(-math.inf, 0.0),
            bound="largest step of the tuned grid below 0",
            source="theorem: more is better for RF regression",
        ),
        Claim(
            "untuned_peak",
            "At a fixed tiny ridge more features can hurt",
            measured=peaks,
            holds=peaks > 0.5,
            limits=(0.5, math.inf),
            bound="more than half of the rows of the fixed-ridge grid rise somewhere",
            source="our control: the theorem needs the tuned ridge",
        ),
        Claim(
            "obligatory_powerlaw",
            "On powerlaw tasks the fitting ratio of the best ridge is the closed form",
            measured=limit_gap,
            holds=limit_gap < 0.03,
            limits=(-math.inf, 0.03),
            bound="largest difference of the roots below 0.03 over all cases",
            source="theorem: overfitting is obligatory for powerlaw tasks",
        ),
        Claim(
            "obligatory_digits",
            "On images the best ridge trains far below the test error",
            measured=ratio,
            holds=ratio < 0.1,
            limits=(-math.inf, 0.1),
            bound="training over test error below 0.1 at the best ridge",
            source="measured tasks; the paper has convolutional kernels",
        ),
    ]


def mean_gap(simulated: Float[Tensor, "t k r"], predicted: Float[Tensor, "k r"]) -> float:
    """The mean over widths and ridges of abs(simulated/predicted - 1), simulated being the mean over trials."""
    return float((simulated.mean(0) / predicted - 1).abs().mean())
