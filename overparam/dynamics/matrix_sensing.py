r"""How over-parameterization slows down gradient descent in matrix sensing.

Recover a rank-r matrix M from linear measurements by gradient descent on a factorization with k > r columns.
The k - r columns that nobody needed decide how long it takes, and so does the parameterization:

* symmetric, :math:`XX^\top`: the loss falls only like :math:`1/T^2`, where k = r falls exponentially;
* asymmetric, :math:`FG^\top`: exponential again, at a rate proportional to :math:`\alpha^2`, the squared scale of
  the start, because the imbalance :math:`F^\top F - G^\top G` is nearly conserved;
* asymmetric with one modified step that makes F a multiple of an orthonormal matrix: the rate forgets the start.

Reproduced here: all three rates, on Gaussian measurements. The constant of the power law is our corollary. Not
reproduced: the theorem's own constants of the start and of the measurement count. The factor 1/3 between the starts
and the form of the modified step are not checked against the paper word by word; the claims hold for them.

Xiong, Ding & Du, How Over-Parameterization Slows Down Gradient Descent in Matrix Sensing: The Curses of Symmetry
and Initialization, ICLR 2024, arXiv 2310.01769.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from torch import Tensor

from overparam.core import checks, compute, figures
from overparam.core.chapters import Paper
from overparam.core.claims import Claim
from overparam.core.compute import Device
from overparam.core.datasets import random_low_rank
from overparam.core.figures import PALETTE
from overparam.core.fits import linear_rate, loglog_slope
from overparam.core.progress import track

PAPER = Paper(
    title="How Over-Parameterization Slows Down Gradient Descent in Matrix Sensing: "
    "The Curses of Symmetry and Initialization",
    authors=("Nuoya Xiong", "Lijun Ding", "Simon S. Du"),
    year=2024,
    venue="ICLR 2024",
    arxiv="2310.01769",
    code=None,
)
LEVEL = "introductory"
DTYPE = torch.float64  # float32 would floor the loss at 1e-13

ground_truth = random_low_rank


# --- The problem ------------------------------------------------------------------------------------------------


def gaussian_measurements(
    n1: int,
    n2: int,
    m: int,
    *,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float64,
) -> Float[Tensor, "{m} {n1} {n2}"]:
    r"""Measurement matrices :math:`A_1, \dots, A_m` with independent entries :math:`N(0, 1/m)`.

    With this scaling :math:`\mathbb{E}[\mathcal{A}^*\mathcal{A}] = I`, and m of a few times
    :math:`(n_1 + n_2) k` makes :math:`\mathcal{A}` a near-isometry on matrices of rank k.

    Raises
    ------
    ValueError
        If a size is below 1.
    """
    checks.integer(1, n1=n1, n2=n2, m=m)
    return torch.randn(m, n1, n2, generator=generator, dtype=dtype) / math.sqrt(m)


def normal_operator(A: Float[Tensor, "m n1 n2"]) -> Float[Tensor, "n n"]:
    r"""The normal operator :math:`\mathcal{A}^*\mathcal{A}(E) = \sum_i \langle A_i, E\rangle A_i` as a matrix.

    It acts on row-major :math:`\operatorname{vec}(E)`, so it is (n1 n2) x (n1 n2). One product with it replaces
    two passes over the m measurements and is cheaper as soon as :math:`m > n_1 n_2 / 2`.

    Raises
    ------
    ValueError
        If ``A`` is not a stack of matrices.
    """
    if A.ndim != 3:
        raise ValueError(f"A must be a stack of matrices (m, n1, n2), got shape {tuple(A.shape)}")
    rows = A.flatten(1)
    return rows.mT @ rows


def init_factor(
    n: int,
    k: int,
    alpha: float,
    *,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float64,
) -> Float[Tensor, "{n} {k}"]:
    r"""A random start :math:`\alpha \cdot N(0, 1/n)`, whose columns have a norm of about ``alpha``.

    Raises
    ------
    ValueError
        If a size is below 1 or ``alpha`` is not positive and finite.
    """
    checks.integer(1, n=n, k=k)
    checks.positive(alpha=alpha)
    return alpha / math.sqrt(n) * torch.randn(n, k, generator=generator, dtype=dtype)


# --- Gradient descent -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trajectory:
    r"""A batch of B gradient-descent runs.

    ``steps`` are the recorded times, ``loss`` the population loss
    :math:`\frac12\|FG^\top - M\|_F^2` at each of them, before the update of that step, and ``factors`` the final
    ``(X,)`` or ``(F, G)``.
    """

    steps: Int[Tensor, " times"]
    loss: Float[Tensor, "b times"]
    factors: tuple[Float[Tensor, "b _ k"], ...]


def imbalance(F: Float[Tensor, "*b n1 k"], G: Float[Tensor, "*b n2 k"]) -> Float[Tensor, "*b k k"]:
    r"""The imbalance :math:`F^\top F - G^\top G`, which gradient flow conserves and gradient descent nearly does."""
    return F.mT @ F - G.mT @ G


def rebalance(
    F: Float[Tensor, "*b n1 k"], G: Float[Tensor, "*b n2 k"], beta: float = 1.0
) -> tuple[Float[Tensor, "*b n1 k"], Float[Tensor, "*b n2 k"]]:
    r"""The modified step: split the same product so that F is ``beta`` times an orthonormal matrix.

    With the thin SVD :math:`F = P S Q^\top`, set :math:`F \leftarrow \beta P` and
    :math:`G \leftarrow G Q S / \beta`. Then :math:`FG^\top` is unchanged and :math:`F^\top F = \beta^2 I`, so that
    from here on the excess part of G contracts at a rate of :math:`\beta^2` instead of :math:`\alpha^2`.

    Raises
    ------
    ValueError
        If ``beta`` is not positive and finite, or F is wider than tall.

    References
    ----------
    Xiong, Ding & Du (2024), who modify one step of gradient descent; this form of it is ours.
    """
    checks.positive(beta=beta)
    if F.shape[-2] < F.shape[-1]:
        raise ValueError(f"F must be at least as tall as wide to have orthonormal columns, got {tuple(F.shape)}")
    P, S, Qt = torch.linalg.svd(F, full_matrices=False)
    return beta * P, G @ Qt.mT * S[..., None, :] / beta


def gd_symmetric(
    X0: Float[Tensor, "*b n k"],
    M: Float[Tensor, "n n"],
    *,
    lr: float,
    steps: int,
    H: Float[Tensor, "nn nn"] | None = None,
    record_every: int = 1,
) -> Trajectory:
    r"""Gradient descent on :math:`\frac14\sum_i(\langle A_i, XX^\top\rangle - y_i)^2`.

    One step is :math:`X \leftarrow X - \eta\,\operatorname{sym}(\mathcal{A}^*\mathcal{A}(XX^\top - M))\,X`.

    Parameters
    ----------
    X0
        The start, one matrix or a batch.
    M
        The matrix to recover.
    lr, steps
        The step size :math:`\eta`, well below :math:`1/\|M\|`, and the number of steps.
    H
        The normal operator (:func:`normal_operator`); None is the population problem, in which it is the identity.
    record_every
        Every so many steps the loss is recorded, from step 0 on, and always at the last.

    Raises
    ------
    ValueError
        If a number is out of range, the shapes do not fit, or M is not finite.
    """
    _check_descent(X0, X0, M, H, lr, steps, record_every)
    X = X0.reshape(-1, *X0.shape[-2:])
    times, losses = _times(steps, record_every), []
    for step in range(steps + 1):
        E = X @ X.mT - M
        if step in times:
            losses.append(_loss(E))
        if step < steps:
            D = _apply(H, E)
            # The A_i are not symmetric: without this the step would not be the gradient.
            X = X - lr * ((D + D.mT) / 2) @ X
    return Trajectory(_as_steps(times, M), torch.stack(losses, 1), (X,))


def gd_asymmetric(
    F0: Float[Tensor, "*b n1 k"],
    G0: Float[Tensor, "*b n2 k"],
    M: Float[Tensor, "n1 n2"],
    *,
    lr: float,
    steps: int,
    H: Float[Tensor, "nn nn"] | None = None,
    record_every: int = 1,
    rebalance_at: int | None = None,
    beta: float = 1.0,
) -> Trajectory:
    r"""Gradient descent on :math:`\frac12\sum_i(\langle A_i, FG^\top\rangle - y_i)^2`, both factors at once.

    With :math:`D = \mathcal{A}^*\mathcal{A}(FG^\top - M)` one step is :math:`F \leftarrow F - \eta D G` and
    :math:`G \leftarrow G - \eta D^\top F`, both from the old F and G.

    Parameters
    ----------
    F0, G0
        The start, one pair of matrices or a batch of pairs.
    M, lr, steps, H, record_every
        As for :func:`gd_symmetric`.
    rebalance_at, beta
        Take the modified step (:func:`rebalance`) at the start of this step, before its loss is recorded.

    Raises
    ------
    ValueError
        If a number is out of range, the shapes do not fit, or M is not finite.
    """
    _check_descent(F0, G0, M, H, lr, steps, record_every)
    checks.positive(beta=beta)
    if rebalance_at is not None and not 0 <= rebalance_at <= steps:
        raise ValueError(f"rebalance_at must lie in 0..{steps}, got {rebalance_at}")
    F, G = (Z.reshape(-1, *Z.shape[-2:]) for Z in (F0, G0))
    times, losses = _times(steps, record_every), []
    for step in range(steps + 1):
        if step == rebalance_at:
            F, G = rebalance(F, G, beta)
        E = F @ G.mT - M
        if step in times:
            losses.append(_loss(E))
        if step < steps:
            D = _apply(H, E)
            F, G = F - lr * D @ G, G - lr * D.mT @ F
    return Trajectory(_as_steps(times, M), torch.stack(losses, 1), (F, G))


def _apply(H: Tensor | None, E: Tensor) -> Tensor:
    return E if H is None else (E.flatten(1) @ H).view_as(E)


def _loss(E: Tensor) -> Tensor:
    return E.square().sum((-2, -1)) / 2


def _times(steps: int, record_every: int) -> dict[int, None]:
    """The recorded steps in order, as a dict for its fast and ordered ``in``."""
    return dict.fromkeys([*range(0, steps + 1, record_every), steps])


def _as_steps(times: dict[int, None], like: Tensor) -> Tensor:
    return torch.tensor(list(times), device=like.device)


def _check_descent(F: Tensor, G: Tensor, M: Tensor, H: Tensor | None, lr: float, steps: int, record_every: int) -> None:
    checks.positive(lr=lr)
    checks.integer(1, steps=steps, record_every=record_every)
    if F.ndim < 2 or F.shape[:-2] != G.shape[:-2] or F.shape[-1] != G.shape[-1]:
        raise ValueError(f"the factors must agree in batch and columns, got {tuple(F.shape)} and {tuple(G.shape)}")
    n1, n2 = F.shape[-2], G.shape[-2]
    if M.shape != (n1, n2):
        raise ValueError(f"M must be {n1} x {n2} for these factors, got shape {tuple(M.shape)}")
    if not M.isfinite().all():
        raise ValueError(f"M must be finite, got {M[~M.isfinite()][0].item()}")
    if H is not None and H.shape != (n1 * n2, n1 * n2):
        raise ValueError(f"H must be {n1 * n2} x {n1 * n2}, got shape {tuple(H.shape)}")


def power_slope(steps: ArrayLike, loss: ArrayLike, start: float) -> float:
    """The exponent of a power-law tail: slope of log loss against log steps, over samples with ``steps >= start``.

    Raises
    ------
    ValueError
        If fewer than 3 samples are left, or one of them is not positive.
    """
    steps, loss = torch.as_tensor(steps), torch.as_tensor(loss)
    return loglog_slope(steps[steps >= start], loss[steps >= start])


# --- The experiment ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Config:
    """Reader scale: a few CPU-seconds. Every number of the experiment is here."""

    seed: int = 0
    n: int = 20  # M is n x n
    rank: int = 2  # r, its rank
    k: int = 6  # columns of the over-parameterized factors
    singular_values: tuple[float, ...] = (1.0, 0.8)  # of M, one for each rank
    measurements: int = 2000  # m
    lr: float = 0.25  # step size
    steps: int = 8000  # T
    record_every: int = 10  # steps between recorded losses
    alpha_symmetric: float = 0.5  # scale of the symmetric start
    alphas: tuple[float, ...] = (0.5, 0.35, 0.25, 0.18)  # scales of the asymmetric starts, largest first
    ratio: float = 1 / 3  # scale of G's start over F's: the deliberate imbalance
    rebalance_at: int = 300  # step of the modified step, after the signal has been fitted
    beta: float = 1.0  # F is beta times an orthonormal matrix after it

    def __post_init__(self) -> None:
        checks.integer(0, seed=self.seed)
        checks.integer(1, n=self.n, rank=self.rank, measurements=self.measurements)
        checks.integer(1, steps=self.steps, record_every=self.record_every)
        checks.integer(0, rebalance_at=self.rebalance_at)
        checks.positive(lr=self.lr, alpha_symmetric=self.alpha_symmetric, ratio=self.ratio, beta=self.beta)
        for alpha in self.alphas:
            checks.positive(alphas=alpha)
        for value in self.singular_values:
            checks.positive(singular_values=value)
        if not self.rank < self.k <= self.n:
            raise ValueError(f"k must lie above rank {self.rank} and be at most n {self.n}, got {self.k}")
        if len(self.singular_values) != self.rank:
            raise ValueError(f"singular_values must number rank = {self.rank}, got {self.singular_values}")
        checks.decreasing(least=2, alphas=self.alphas)
        if self.rebalance_at > self.steps:
            raise ValueError(f"rebalance_at must be at most steps {self.steps}, got {self.rebalance_at}")


FULL = Config(
    n=50,
    rank=3,
    k=10,
    singular_values=(1.0, 0.8, 0.6),
    measurements=10_000,
    steps=50_000,
    alphas=(0.5, 0.25, 0.125, 0.0625),
    rebalance_at=600,
)


@dataclass(frozen=True)
class Result:
    """What :func:`run` measured; losses are at ``steps``, rows of two-dimensional fields follow ``config.alphas``.

    ``symmetric_population`` and ``balanced`` are the population problem, all else is sensing; ``*_over`` have k
    columns, ``*_exact`` have r. ``rates_*`` are per step and NaN where the loss never crosses their window. The
    imbalance's drift is relative to its start, the largest over the alphas; ``imbalance`` holds its eigenvalues
    and ``excess`` the singular values of G off M's row space, both at ``imbalance_steps`` and the largest alpha.
    """

    config: Config
    steps: Int[Tensor, " t"]
    symmetric_over: Float[Tensor, " t"]
    symmetric_exact: Float[Tensor, " t"]
    symmetric_population: Float[Tensor, " t"]
    balanced: Float[Tensor, " t"]
    asymmetric_over: Float[Tensor, "a t"]
    asymmetric_exact: Float[Tensor, "a t"]
    rebalanced: Float[Tensor, "a t"]
    rates_over: Float[Tensor, " a"]
    rates_exact: Float[Tensor, " a"]
    rates_rebalanced: Float[Tensor, " a"]
    imbalance_drift: float
    imbalance_steps: Int[Tensor, " s"]
    imbalance: Float[Tensor, "s k"]
    excess: Float[Tensor, "s k"]


#: Windows of the loss in which a rate is read: below the first transient, above the floor of rounding.
OVER_WINDOW = (1e-6, 1e-24)
EXACT_WINDOW = (1e-3, 1e-24)
#: Steps after the modified step from which its rate is read.
RATE_STEPS = 200
#: Recorded times of the imbalance, at least; they are spread evenly over log time.
IMBALANCE_TIMES = 25


def run(config: Config = Config(), *, device: Device = None, progress: bool = True) -> Result:
    """Run every variant from starts that share one random direction, in float64.

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
    generator = compute.generator(config.seed)
    M = ground_truth(config.n, config.n, config.singular_values, psd=True, generator=generator).to(where)
    A = gaussian_measurements(config.n, config.n, config.measurements, generator=generator).to(where)
    H = normal_operator(A)
    del A  # at full scale it is ten times what everything else needs
    X0, F0, G0 = (Z.to(where) for Z in _starts(config, generator))
    exact = slice(config.rank)
    common = {"lr": config.lr, "steps": config.steps, "record_every": config.record_every}
    modified = {"rebalance_at": config.rebalance_at, "beta": config.beta}
    variants = {
        "symmetric_over": lambda: gd_symmetric(X0, M, H=H, **common),
        "symmetric_exact": lambda: gd_symmetric(X0[:, exact], M, H=H, **common),
        "symmetric_population": lambda: gd_symmetric(X0, M, **common),
        "balanced": lambda: gd_asymmetric(X0, X0, M, **common),
        "asymmetric_over": lambda: gd_asymmetric(F0, G0, M, H=H, **common),
        "asymmetric_exact": lambda: gd_asymmetric(F0[..., exact], G0[..., exact], M, H=H, **common),
        "rebalanced": lambda: gd_asymmetric(F0, G0, M, H=H, **common, **modified),
    }
    runs = {name: variant() for name, variant in track(variants.items(), progress, "matrix sensing")}
    losses = {name: path.loss.cpu() for name, path in runs.items()}
    steps = runs["symmetric_over"].steps.cpu()
    after = _after_modified_step(config, F0, G0, M, H)
    times, imbalances, excess = _imbalance_path(config, F0[0], G0[0], M, H)
    start, end = imbalance(F0, G0), imbalance(*runs["asymmetric_over"].factors)
    drifts = (end - start).norm(dim=(1, 2)) / start.norm(dim=(1, 2))
    single = ("symmetric_over", "symmetric_exact", "symmetric_population", "balanced")
    return Result(
        config=config,
        steps=steps,
        **{name: loss[0] if name in single else loss for name, loss in losses.items()},
        rates_over=_rates(steps, losses["asymmetric_over"], OVER_WINDOW),
        rates_exact=_rates(steps, losses["asymmetric_exact"], EXACT_WINDOW),
        rates_rebalanced=_rates(after.steps.cpu(), after.loss.cpu(), OVER_WINDOW),
        imbalance_drift=float(drifts.max()),
        imbalance_steps=times,
        imbalance=imbalances,
        excess=excess,
    )


def _starts(config: Config, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """X0, and F0 and G0 at every alpha: one random direction for all, so that alpha alone differs."""
    X, F, G = (init_factor(config.n, config.k, 1.0, generator=generator) for _ in range(3))
    alphas = torch.tensor(config.alphas, dtype=F.dtype)[:, None, None]
    return config.alpha_symmetric * X, alphas * F, config.ratio * alphas * G


def _after_modified_step(config: Config, F0: Tensor, G0: Tensor, M: Tensor, H: Tensor) -> Trajectory:
    """The steps after the modified step, all recorded: the rate is too fast for ``record_every``."""
    F, G = F0, G0
    if config.rebalance_at:
        F, G = gd_asymmetric(F, G, M, H=H, lr=config.lr, steps=config.rebalance_at).factors
    return gd_asymmetric(F, G, M, H=H, lr=config.lr, steps=RATE_STEPS, rebalance_at=0, beta=config.beta)


def _imbalance_path(config: Config, F: Tensor, G: Tensor, M: Tensor, H: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Eigenvalues of the imbalance and singular values of G off M's row space, at times even in their logarithm."""
    stops = sorted({0, *torch.logspace(0, math.log10(config.steps), IMBALANCE_TIMES).round().int().tolist()})
    row_space = torch.linalg.svd(M)[2][: config.rank]
    eigenvalues, excess = [], []
    for before, stop in zip([0, *stops], stops, strict=False):
        if stop > before:
            run_on = gd_asymmetric(F, G, M, H=H, lr=config.lr, steps=stop - before, record_every=config.steps)
            F, G = (Z[0] for Z in run_on.factors)
        eigenvalues.append(torch.linalg.eigvalsh(imbalance(F, G)).cpu())
        excess.append(torch.linalg.svdvals(G - row_space.mT @ (row_space @ G)).cpu())
    return torch.tensor(stops), torch.stack(eigenvalues), torch.stack(excess)


def _rates(steps: Tensor, losses: Tensor, window: tuple[float, float]) -> Tensor:
    return torch.tensor([_rate(steps, loss, window) for loss in losses], dtype=torch.float64)


def _rate(steps: Tensor, loss: Tensor, window: tuple[float, float]) -> float:
    try:
        return linear_rate(steps, loss, *window)
    except ValueError:  # too short a run: not measured is not an error, and no claim holds with a NaN
        return math.nan


# --- What it claims ---------------------------------------------------------------------------------------------


def claims(result: Result) -> list[Claim]:
    """The chapter's eight claims, decided on one result."""
    config, steps = result.config, result.steps
    slope = _slope_or_nan(steps, result.symmetric_over, config.steps / 8)
    excess_loss = (config.k - config.rank) / (2 * config.lr * config.steps) ** 2 / 2
    constant = float(result.symmetric_population[-1] / excess_loss)
    reached = steps[result.symmetric_exact < 1e-20]
    first = float(reached[0]) if len(reached) else math.inf
    exponent = _exponent(config.alphas, result.rates_over)
    spread_exact = float(result.rates_exact.max() / result.rates_exact.min())
    spread_modified = float(result.rates_rebalanced.max() / result.rates_rebalanced.min())
    speedup = float(result.rates_rebalanced[-1] / result.rates_over[-1])
    advantage = float(result.symmetric_over[-1] / result.asymmetric_over[0, -1])
    return [
        Claim(
            "symmetric_power_law",
            "Over-parameterized symmetric gradient descent decays no faster than 1/T²",
            measured=slope,
            holds=-2.2 <= slope <= -1.8,
            limits=(-2.2, -1.8),
            bound="log-log slope in [-2.2, -1.8]",
            source="lower bound of order 1/T²",
        ),
        Claim(
            "symmetric_constant",
            "Its tail is that of k - r excess columns, each of which falls like 1/(2 lr T)",
            measured=constant,
            holds=0.9 <= constant <= 1.05,
            limits=(0.9, 1.05),
            bound="loss over (k - r)/2 (2 lr T)⁻² in [0.9, 1.05]",
            source="our corollary, population case",
        ),
        Claim(
            "exact_rank_is_linear",
            "With k = r columns the symmetric problem converges linearly",
            measured=first,
            holds=first <= 400,
            limits=(-math.inf, 400.0),
            bound="loss below 1e-20 within 400 steps",
            source="exact case, exp(-cT)",
        ),
        Claim(
            "alpha_squared_rate",
            "The asymmetric problem with k > r converges linearly, at a rate proportional to alpha²",
            measured=exponent,
            holds=1.8 <= exponent <= 2.2,
            limits=(1.8, 2.2),
            bound="exponent in [1.8, 2.2]",
            source="upper bound exp(-c α² T)",
        ),
        Claim(
            "exact_rank_alpha_free",
            "With k = r columns the asymmetric rate does not depend on alpha",
            measured=spread_exact,
            holds=spread_exact <= 1.3,
            limits=(-math.inf, 1.3),
            bound="fastest over slowest rate at most 1.3",
            source="exact case, exp(-cT)",
        ),
        Claim(
            "one_step_alpha_free",
            "After one modified step the over-parameterized rate does not depend on alpha either",
            measured=spread_modified,
            holds=spread_modified <= 1.25,
            limits=(-math.inf, 1.25),
            bound="fastest over slowest rate at most 1.25",
            source="accelerated method, rate free of α",
        ),
        Claim(
            "one_step_speedup",
            "After it the rate is of the order of the exact problem's",
            measured=speedup,
            holds=speedup >= 20,
            limits=(20.0, math.inf),
            bound="at least 20 times the unmodified rate at the smallest alpha",
            source="accelerated method, as fast as k = r",
        ),
        Claim(
            "asymmetry_beats_symmetry",
            "On the same matrix the asymmetric factorization ends far below the symmetric one",
            measured=advantage,
            holds=advantage >= 1e10,
            limits=(1e10, math.inf),
            bound="final loss at least 1e10 times smaller",
            source="1/T² against exp(-c α² T)",
        ),
    ]


def _slope_or_nan(steps: Tensor, loss: Tensor, start: float) -> float:
    try:
        return power_slope(steps, loss, start)
    except ValueError:
        return math.nan


def _exponent(alphas: tuple[float, ...], rates: Tensor) -> float:
    """The power of alpha in the rates; unlike :func:`loglog_slope` it makes do with two."""
    if not (rates > 0).all():
        return math.nan
    return statistics.linear_regression([math.log(alpha) for alpha in alphas], rates.log().tolist()).slope


# --- Figures ----------------------------------------------------------------------------------------------------


@figures.styled
def plot(result: Result) -> Figure:
    """Loss against time for the four cases, on logarithmic and on linear time."""
    figure, (power, linear) = figures.new(ncols=2, height=3.6, sharey=True)
    for axes in (power, linear):
        _draw_losses(axes, result)
    config, blue = result.config, PALETTE[0]
    late = result.steps[result.steps >= config.steps / 100].double()
    theory = (config.k - config.rank) / 2 / (2 * config.lr * late) ** 2
    power.plot(late, theory, "--", color="black", lw=1)
    figures.label_line(power, float(late[0]), float(theory[0]), r"$\frac{k-r}{2}(2\eta T)^{-2}$", "black")
    power.set(xscale="log", yscale="log", ylim=(1e-32, 10), xlabel="step $T$", ylabel="population loss")
    power.set_title("a power law is straight here")
    linear.set(xlabel="step $T$", xlim=(0, config.steps), xticks=[0, config.steps // 2, config.steps])
    linear.set_title("a linear rate is straight here")
    for alpha, loss in zip(config.alphas, result.asymmetric_over, strict=True):
        at = min(int((loss > 1e-27).sum()), len(loss)) - 1
        where = {"xytext": (-3, -2), "ha": "right", "va": "top"}
        figures.label_line(linear, float(result.steps[at]), float(loss[at]), rf"$\alpha={alpha:g}$", blue, **where)
    figure.legend(*power.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


def _draw_losses(axes: Axes, result: Result) -> None:
    green, red, blue, purple = PALETTE[2], PALETTE[1], PALETTE[0], PALETTE[3]
    axes.plot(result.steps, result.symmetric_over, color=red, label="$XX^\\top$, $k>r$")
    axes.plot(result.steps, result.symmetric_exact, color=green, ls="-.", label="$XX^\\top$, $k=r$")
    for i, (slow, fast) in enumerate(zip(result.asymmetric_over, result.rebalanced, strict=True)):
        axes.plot(result.steps, slow, color=blue, lw=1.3, label="$FG^\\top$, $k>r$, by $\\alpha$" if i == 0 else None)
        late = result.steps >= result.config.rebalance_at
        name = "$FG^\\top$, $k>r$, after one modified step" if i == 0 else None
        axes.plot(result.steps[late], fast[late], ":", color=purple, label=name)
    axes.axvline(result.config.rebalance_at, color=PALETTE[4], lw=0.8)


@figures.styled
def plot_rates(result: Result) -> Figure:
    """Convergence rate against the scale of the start."""
    figure, axes = figures.new(height=3.2)
    alphas = torch.tensor(result.config.alphas)
    rates = {
        "$k>r$": (result.rates_over, PALETTE[0], "o", 8),
        "$k=r$": (result.rates_exact, PALETTE[2], "s", 8),
        "$k>r$, one modified step": (result.rates_rebalanced, PALETTE[3], "D", -16),
    }
    for name, (rate, color, marker, above) in rates.items():
        axes.plot(alphas, rate, marker=marker, color=color, ls="none")
        figures.label_line(axes, float(alphas[1]), float(rate[1]), name, color, xytext=(0, above), ha="center")
    guide = result.rates_over[0] * (alphas / alphas[0]) ** 2
    axes.plot(alphas, guide, "--", color="black", lw=1)
    figures.label_line(axes, float(alphas[-1]), float(guide[-1]), r"$\propto\alpha^2$", "black", xytext=(10, -6))
    axes.set(xscale="log", yscale="log", xlabel=r"scale of the start $\alpha$", ylabel="rate per step")
    axes.set_xticks(result.config.alphas, [f"{alpha:g}" for alpha in result.config.alphas])
    axes.minorticks_off()
    axes.margins(y=0.2)
    return figure


@figures.styled
def plot_imbalance(result: Result) -> Figure:
    """What gradient descent conserves, and what it forgets."""
    figure, (kept, lost) = figures.new(ncols=2, height=3.2)
    time = result.imbalance_steps.clamp(min=0.5)  # step 0 has no place on a logarithmic axis
    kept.plot(time, result.imbalance, color=PALETTE[0])
    kept.set(xscale="log", xlabel="step $T$", ylabel=r"eigenvalues of $F^\top F-G^\top G$", ylim=(0, None))
    kept.set_title("conserved")
    lost.plot(time, result.excess.clamp(min=1e-18), color=PALETTE[1])
    lost.set(xscale="log", yscale="log", xlabel="step $T$", ylabel=r"singular values of $G$ off $M$")
    lost.set_title("forgotten, at the rate it sets")
    return figure
