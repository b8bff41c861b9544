"""One matrix recovered from every kind of measurement, and what that shows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from overparam.core import checks, compute
from overparam.core.claims import Claim
from overparam.core.compute import Device
from overparam.core.datasets import random_orthonormal
from overparam.core.fits import slope_or_nan
from overparam.core.progress import track
from overparam.dynamics.robust_matrix_recovery.method import (
    Trajectory,
    gaussian_measurements,
    low_rank_psd,
    outliers,
    sign_rip_scale,
    spectral_init,
    sub_gradient_method,
)

DTYPE = torch.float64  # errors of interest go down to 1e-7


@dataclass(frozen=True)
class Config:
    """Reader scale: a few CPU-seconds. Every number of the experiment is here."""

    seed: int = 0
    d: int = 20  # the truth is d x d
    singular_values: tuple[float, ...] = (1.0, 0.6)  # of the truth, one for each rank
    measurements: int = 400  # m
    outlier_fraction: float = 0.1  # p, share of corrupted measurements
    outlier_scale: float = 10.0  # their standard deviation; a clean measurement has that of the truth's norm
    huge_scale: float = 1e4  # the same outliers, scaled to this
    ranks: tuple[int, ...] = (2, 5, 20)  # k, columns of U, increasing
    alphas: tuple[float, ...] = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)  # scales of the start, decreasing
    eta: float = 0.1  # first step size
    rho: float = 0.995  # factor from one step size to the next
    steps: int = 2500  # T
    record_every: int = 10  # steps between records
    l2_eta: float = 0.02  # constant step size of the squared loss, whose gradients are as large as the outliers
    gaussian_noise: float = 0.5  # standard deviation where every measurement is noisy
    sample_sizes: tuple[int, ...] = (100, 140, 200, 300)  # m where the number of measurements varies
    sign_rip_samples: int = 20_000  # Monte Carlo samples of the expected sub-gradient
    sign_rip_fraction: float = 0.9  # p there; the noise has standard deviation 1

    def __post_init__(self) -> None:
        checks.integer(1, d=self.d, measurements=self.measurements, steps=self.steps, record_every=self.record_every)
        checks.integer(1, sign_rip_samples=self.sign_rip_samples)
        checks.integer(0, seed=self.seed)
        checks.positive(eta=self.eta, l2_eta=self.l2_eta, outlier_scale=self.outlier_scale, huge_scale=self.huge_scale)
        checks.non_negative(gaussian_noise=self.gaussian_noise)
        checks.probability(outlier_fraction=self.outlier_fraction, sign_rip_fraction=self.sign_rip_fraction)
        if not 0 < self.rho <= 1:
            raise ValueError(f"rho must lie in (0, 1], got {self.rho!r}")
        for value in self.singular_values:
            checks.positive(singular_value=value)
        for alpha in self.alphas:
            checks.positive(alpha=alpha)
        for size in self.sample_sizes:
            checks.integer(1, sample_size=size)
        if not self.sample_sizes:
            raise ValueError(f"sample_sizes must name at least one size, got {self.sample_sizes}")
        if not 1 <= self.rank <= self.d:
            raise ValueError(f"singular_values must hold 1..{self.d} values, got {self.rank}")
        for k in self.ranks:
            checks.integer(1, ranks=k)
        checks.increasing(ranks=self.ranks)
        if self.ranks[-1] > self.d:
            raise ValueError(f"ranks must be at most {self.d}, got {self.ranks}")
        checks.decreasing(least=2, alphas=self.alphas)

    @property
    def rank(self) -> int:
        """r, the rank of the truth."""
        return len(self.singular_values)


FULL = Config(
    d=100,
    singular_values=(1.0, 0.8, 0.6),
    measurements=4000,
    ranks=(3, 10, 100),
    eta=0.05,
    rho=0.998,
    steps=8000,
    sample_sizes=(1000, 1500, 2000, 3000),
    sign_rip_samples=200_000,
)

#: Errors at which the expected sub-gradient is sampled, and the noise's standard deviation there.
SIGN_RIP_NORMS = (10.0, 3.0, 1.0, 0.3)
SIGN_RIP_SIGMA = 1.0
#: Measurement matrices that are in memory at once while it is sampled.
SIGN_RIP_CHUNK = 10_000
#: Below it an error is a power of the scale of the start; above it the start is not small.
SMALL_ALPHA = 1e-3


@dataclass(frozen=True)
class Result:
    """What :func:`run` measured: losses are mean absolute residuals, errors relative Frobenius distances to the truth.

    ``error`` and ``loss`` follow ``config.ranks`` and ``config.alphas``; ``huge_error`` and ``sample_error`` are
    final errors at the smallest alpha. ``l2_error`` is the squared loss's run at the largest k and the smallest
    alpha. The Gaussian fields are for a small and a large start, the loss of the truth coming third; their
    ``*_path`` are at ``steps``. ``sign_rip`` holds the empirical and the closed form at ``sign_rip_norms``.
    """

    config: Config
    steps: Int[Tensor, " t"]
    error: Float[Tensor, "k a t"]
    loss: Float[Tensor, "k a t"]
    truth_loss: float
    huge_error: Float[Tensor, " k"]
    l2_error: Float[Tensor, " t"]
    gaussian_error: Float[Tensor, " 2"]
    gaussian_loss: Float[Tensor, " 3"]
    gaussian_error_path: Float[Tensor, "2 t"]
    gaussian_loss_path: Float[Tensor, "2 t"]
    sample_error: Float[Tensor, "s k"]
    sign_rip: Float[Tensor, "n 2"]
    sign_rip_norms: Float[Tensor, " n"]


def run(config: Config = Config(), *, device: Device = None, progress: bool = True) -> Result:
    """Recover one matrix from every kind of measurement, in float64.

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
    problem, noise, start, sampling = (compute.generator(seed) for seed in compute.seeds(config.seed, 4))
    drawn = max(config.measurements, *config.sample_sizes)
    X = low_rank_psd(config.d, config.singular_values, generator=problem).to(where)
    every_A = gaussian_measurements(config.d, drawn, generator=problem).to(where)
    every_s = outliers(drawn, config.outlier_fraction, 1.0, generator=noise).to(where)
    nu = outliers(config.measurements, 1.0, config.gaussian_noise, generator=noise).to(where)
    large = random_orthonormal(config.d, config.d, generator=start).to(where)
    A, s = every_A[: config.measurements], every_s[: config.measurements]
    clean, smallest = (A * X).sum((1, 2)), config.alphas[-1:]
    y = clean + config.outlier_scale * s

    def grid() -> Trajectory:
        return _descend(_starts(A, y, config.ranks, config.alphas), A, y, X, config)

    def huge() -> Trajectory:
        huge_y = clean + config.huge_scale * s
        return _descend(_starts(A, huge_y, config.ranks, smallest), A, huge_y, X, config)

    def squared() -> Trajectory:
        U0 = _starts(A, y, config.ranks[-1:], smallest)
        record = {"steps": config.steps, "record_every": config.record_every}
        return sub_gradient_method(U0, A, y, eta=config.l2_eta, X_true=X, loss="l2", **record)

    def gaussian() -> Trajectory:
        small = spectral_init(A, clean + nu, config.d, smallest[0])
        return _descend(torch.stack([small, large]), A, clean + nu, X, config)

    jobs = {"grid": grid, "huge": huge, "squared": squared, "gaussian": gaussian}
    jobs |= {f"m = {m}": _with_samples(m, every_A, X, every_s, config) for m in config.sample_sizes}
    paths = {name: job() for name, job in track(jobs.items(), progress, "robust matrix recovery")}
    shape = (len(config.ranks), len(config.alphas), -1)
    noisy = paths["gaussian"]
    return Result(
        config=config,
        steps=paths["grid"].steps.cpu(),
        error=paths["grid"].error.view(shape).cpu(),
        loss=paths["grid"].loss.view(shape).cpu(),
        truth_loss=float((clean - y).abs().mean()),
        huge_error=paths["huge"].error[:, -1].cpu(),
        l2_error=paths["squared"].error[0].cpu(),
        gaussian_error=noisy.error[:, -1].cpu(),
        gaussian_loss=torch.cat([noisy.loss[:, -1], nu.abs().mean()[None]]).cpu(),
        gaussian_error_path=noisy.error.cpu(),
        gaussian_loss_path=noisy.loss.cpu(),
        sample_error=torch.stack([paths[f"m = {m}"].error[:, -1] for m in config.sample_sizes]).cpu(),
        sign_rip=_sample_sign_rip(config, X, sampling),
        sign_rip_norms=torch.tensor(SIGN_RIP_NORMS, dtype=DTYPE),
    )


def _descend(U0: Tensor, A: Tensor, y: Tensor, X: Tensor, config: Config) -> Trajectory:
    schedule = {"eta": config.eta, "rho": config.rho, "steps": config.steps, "record_every": config.record_every}
    return sub_gradient_method(U0, A, y, X_true=X, **schedule)


def _starts(A: Tensor, y: Tensor, ranks: tuple[int, ...], alphas: tuple[float, ...]) -> Tensor:
    """A spectral start for each k and each alpha within it, padded with zero columns to one batch."""
    directions = torch.zeros(len(ranks), 1, A.shape[1], max(ranks), dtype=A.dtype, device=A.device)
    for i, k in enumerate(ranks):
        directions[i, 0, :, :k] = spectral_init(A, y, k, 1.0)
    scales = torch.tensor(alphas, dtype=A.dtype, device=A.device)[:, None, None]
    return (scales * directions).flatten(0, 1)


def _with_samples(m: int, A: Tensor, X: Tensor, s: Tensor, config: Config) -> Callable[[], Trajectory]:
    """A run on the first m measurements, which every k sees."""

    def job() -> Trajectory:
        y = (A[:m] * X).sum((1, 2)) + config.outlier_scale * s[:m]
        return _descend(_starts(A[:m], y, config.ranks, config.alphas[-1:]), A[:m], y, X, config)

    return job


def _sample_sign_rip(config: Config, X: Tensor, generator: torch.Generator) -> Tensor:
    """The expected sub-gradient along the truth: its mean over samples, and its closed form."""
    direction = (X / torch.linalg.matrix_norm(X)).cpu()
    sums, left = torch.zeros(len(SIGN_RIP_NORMS), dtype=DTYPE), config.sign_rip_samples
    norms = torch.tensor(SIGN_RIP_NORMS, dtype=DTYPE)[:, None]
    while left:
        size = min(left, SIGN_RIP_CHUNK)
        A = gaussian_measurements(config.d, size, generator=generator)
        s = outliers(size, config.sign_rip_fraction, SIGN_RIP_SIGMA, generator=generator)
        along = (A * direction).sum((1, 2))
        sums += ((norms * along - s).sign() * along).sum(1)
        left -= size
    exact = [sign_rip_scale(norm, config.sign_rip_fraction, SIGN_RIP_SIGMA) for norm in SIGN_RIP_NORMS]
    return torch.stack([sums / config.sign_rip_samples, torch.tensor(exact, dtype=DTYPE)], 1)


# --- What it claims ---------------------------------------------------------------------------------------------


def claims(result: Result) -> list[Claim]:
    """The chapter's eight claims, decided on one result."""
    config = result.config
    over = [i for i, k in enumerate(config.ranks) if k > config.rank]
    final = result.error[:, -1, -1]
    # One over-estimated rank has nothing to agree with, which is not measured and not claimed.
    rank_spread = float(final[over].max() / final[over].min()) if len(over) > 1 else math.nan
    alphas = torch.tensor(config.alphas, dtype=DTYPE)
    small = alphas <= SMALL_ALPHA * (1 + 1e-9)
    slope = slope_or_nan(alphas[small], result.error[-1, small, -1])
    l2_ratio = float(result.l2_error.min() / final[-1])
    small_start, large_start, truth = result.gaussian_loss.tolist()
    overfit = float(result.gaussian_error[1] / result.gaussian_error[0])
    sample_gaps = (result.sample_error[:, over[:1]] / result.sample_error[:, -1:]).log10().abs()
    sample_gap = float(sample_gaps.max()) if len(over) > 1 else math.nan
    gap = float((result.sign_rip[:, 0] / result.sign_rip[:, 1] - 1).abs().max())
    return [
        Claim(
            "recovery",
            "With as many columns as rows and gross outliers the sub-gradient method finds the matrix",
            measured=float(final[-1]),
            holds=float(final[-1]) <= 1e-4,
            limits=(-math.inf, 1e-4),
            bound="relative error at most 1e-4 at k = d, smallest alpha",
            source="outlier model, exact recovery up to the start",
        ),
        Claim(
            "rank_agnostic",
            "The error does not depend on the over-estimated rank",
            measured=rank_spread,
            holds=rank_spread <= 1.5,
            limits=(-math.inf, 1.5),
            bound="largest over smallest error for k > r at most 1.5",
            source="agnostic to over-parameterization",
        ),
        Claim(
            "small_init_power",
            "The error falls as a power of the scale of the start",
            measured=slope,
            holds=slope >= 0.5,
            limits=(0.5, math.inf),
            bound="log-log slope at least 0.5 for alpha <= 1e-3, k = d",
            source="error bounded by a power of alpha",
        ),
        Claim(
            "outlier_size_free",
            "Outliers a thousand times larger change nothing",
            measured=float(result.huge_error[-1]),
            holds=float(result.huge_error[-1]) <= 1e-4,
            limits=(-math.inf, 1e-4),
            bound="relative error at most 1e-4 at k = d, outliers of huge_scale",
            source="arbitrarily large noise values",
        ),
        Claim(
            "l2_fails",
            "The squared loss cannot do this, even if an oracle stops it at its best moment",
            measured=l2_ratio,
            holds=l2_ratio >= 1e3,
            limits=(1e3, math.inf),
            bound="smallest l2 error over time at least 1e3 times the l1 error",
            source="our comparison",
        ),
        Claim(
            "truth_is_no_minimum",
            "The truth does not minimize the loss, and a small start still ends nearer to it than a large one",
            measured=overfit,
            holds=overfit >= 1.3 and truth / large_start >= 1.15 and large_start < small_start,
            limits=(1.3, math.inf),
            bound="error large/small at least 1.3, loss truth/large at least 1.15, loss large < small",
            source="Gaussian noise model",
        ),
        Claim(
            "samples_free_of_rank",
            "The number of measurements that are needed does not depend on k",
            measured=sample_gap,
            holds=sample_gap <= 0.3,
            limits=(-math.inf, 0.3),
            bound="errors at the smallest k > r and at k = d within 0.3 decades at every m",
            source="sample complexity free of k",
        ),
        Claim(
            "sign_rip",
            "The expected sub-gradient points along the error even with nine outliers in ten",
            measured=gap,
            holds=gap <= 0.08,
            limits=(-math.inf, 0.08),
            bound="empirical within 8 % of the closed form at every norm",
            source="Sign-RIP",
        ),
    ]
