"""The flow, the perturbations and the networks, and what they show."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from overparam.core import checks, compute
from overparam.core.claims import Claim
from overparam.core.compute import Device
from overparam.core.datasets import Examples, digits, hub_images, random_orthonormal
from overparam.core.fits import slope_or_nan
from overparam.core.progress import track
from overparam.generalization.neural_collapse.metrics import nc1_trace
from overparam.generalization.neural_collapse.model import (
    central_path_flow,
    collapsed_minimizer,
    first_order_map,
    perturbation_blocks,
    shrink_factors,
    solve_near,
)
from overparam.generalization.neural_collapse.networks import check_checkpoints, check_decays, train_nets

#: Of the model; the networks are in float32.
DTYPE = torch.float64
#: Classes of every data set.
LABELS = 10
DATASETS = ("digits", "mnist", "cifar10")

# --- The experiment ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Config:
    """Reader scale: about ten CPU-seconds. Every number of the experiment is here."""

    seed: int = 0
    # The model.
    K: int = 4  # classes
    n: int = 15  # samples of each
    d: int = 10  # dimensions of the features
    lambda_w: float = 0.05  # decay of the last layer
    lambda_h: float = 0.005  # decay of the features
    beta: float = 0.05  # strength of the tie to the given features
    eps: tuple[float, ...] = (0.2, 0.1, 0.05, 0.025, 0.0125)  # sizes of the perturbation, in norms of the collapsed H
    multipliers: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0)  # of one decay at a time, rising
    sweep_eps: float = 0.02  # size of the perturbation there
    # The flow.
    flow_decays: tuple[float, ...] = (0.0, 0.005, 0.1)  # feature decays
    flow_means: float = 0.3  # standard deviation of the mean features at the start; that of the noise is 1
    flow_time: float = 20.0
    flow_steps: int = 400
    # The networks.
    dataset: str = "digits"  # or mnist or cifar10, from the Hugging Face hub
    source: str | None = None  # a folder of parquet files to read instead of the hub
    images: int = 400  # training images
    width: int = 64  # units of a hidden layer
    depth: int = 4  # hidden layers
    steps: int = 1500  # of Adam on the full batch
    lr: float = 2e-3  # its step size
    decays: tuple[tuple[float, float], ...] = ((3e-4, 3e-4), (3e-3, 3e-4), (3e-4, 3e-3))  # base, feature, last
    checkpoints: tuple[int, ...] = (0, 50, 300, 1500)  # steps at which to look
    draws: int = 2  # of images and of the start

    def __post_init__(self) -> None:
        checks.integer(0, seed=self.seed)
        checks.integer(2, K=self.K)
        checks.integer(1, n=self.n, flow_steps=self.flow_steps, images=self.images, width=self.width)
        checks.integer(1, depth=self.depth, steps=self.steps, draws=self.draws)
        checks.positive(lambda_w=self.lambda_w, lambda_h=self.lambda_h, beta=self.beta, sweep_eps=self.sweep_eps)
        checks.positive(flow_means=self.flow_means, flow_time=self.flow_time, lr=self.lr)
        checks.one_of(DATASETS, dataset=self.dataset)
        if self.source is not None and self.dataset == "digits":
            raise ValueError(f"source must be None for digits, which are bundled, got {self.source!r}")
        if self.d < self.K:
            raise ValueError(f"d must be an integer of at least K = {self.K}, got {self.d!r}")
        for name in ("eps", "multipliers", "flow_decays"):
            if not (values := getattr(self, name)):
                raise ValueError(f"{name} must have at least one entry, got {values!r}")
        for size in (*self.eps, *self.multipliers):
            checks.positive(size=size)
        for decay in self.flow_decays:
            checks.non_negative(flow_decay=decay)
        shrink_factors(max(1, *self.multipliers) * self.lambda_w, self.lambda_h, self.beta)
        shrink_factors(self.lambda_w, max(1, *self.multipliers) * self.lambda_h, self.beta)
        check_decays(self.decays)
        if len(self.decays) != 3:
            raise ValueError(f"decays must be three pairs, base, feature and last, got {self.decays}")
        check_checkpoints(self.checkpoints, self.steps)


FULL = Config(
    dataset="mnist", images=60_000, width=512, depth=6, steps=30_000, lr=5e-4, checkpoints=(0, 300, 3000, 30_000)
)


@dataclass(frozen=True)
class Flow:
    """Traces of the two covariances along the central path, one row for each feature decay."""

    times: Float[Tensor, " t"]
    within: Float[Tensor, "decays t"]
    between: Float[Tensor, "decays t"]


@dataclass(frozen=True)
class NearCollapse:
    """Minimisers near collapsed points.

    ``residual`` is the distance from the first-order prediction, relative to the collapsed H, at every ``eps``;
    ``factors`` what is kept of each block of the smallest perturbation, ``formula`` what theory says (NaN for a block
    that is empty). ``ratio`` is NC1~ of the minimiser over that of H0 there, ``predicted`` its first order.
    ``sweep`` and ``sweep_predicted`` have that ratio for every multiplier of the feature decay (first row) and of the
    last layer's decay (second row). ``round_trips`` is the largest number that a solution took.
    """

    residual: Float[Tensor, " eps"]
    factors: dict[str, float]
    formula: dict[str, float]
    ratio: float
    predicted: float
    sweep: Float[Tensor, "2 m"]
    sweep_predicted: Float[Tensor, "2 m"]
    round_trips: int


@dataclass(frozen=True)
class Result:
    """What :func:`run` measured.

    ``nc1`` has NC1~ of the input and every hidden layer for each draw, pair of decays and checkpoint; ``accuracy`` the
    training accuracy.
    """

    config: Config
    flow: Flow
    near: NearCollapse
    nc1: Float[Tensor, "draws nets t layers"]
    accuracy: Float[Tensor, "draws nets t"]


def run(config: Config = Config(), *, device: Device = None, progress: bool = True) -> Result:
    """Follow the flow, perturb the collapsed points, and train the networks.

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
    flow_seed, near_seed, *draws = compute.seeds(config.seed, 2 + config.draws)
    flow = follow_flows(config, compute.generator(flow_seed), where)
    near = measure_near_collapse(config, compute.generator(near_seed), where)
    networks = [_train(config, seed, where) for seed in track(draws, progress, "neural collapse")]
    ratios, accuracies = zip(*networks, strict=True)
    return Result(config=config, flow=flow, near=near, nc1=torch.stack(ratios), accuracy=torch.stack(accuracies))


def random_features(config: Config, generator: torch.Generator) -> Float[Tensor, "d N"]:
    """Features with little structure: short random means, and noise of unit variance around them."""
    means = torch.randn(config.d, config.K, generator=generator, dtype=DTYPE)
    noise = torch.randn(config.d, config.K * config.n, generator=generator, dtype=DTYPE)
    return config.flow_means * means.repeat_interleave(config.n, 1) + noise


def follow_flows(config: Config, generator: torch.Generator, where: torch.device) -> Flow:
    """The central path from one random start under each feature decay."""
    start = random_features(config, generator).to(where)
    paths = [
        central_path_flow(start, config.K, config.lambda_w, decay, config.flow_time, config.flow_steps)
        for decay in config.flow_decays
    ]
    within, between = (torch.stack([path[i] for path in paths]).cpu() for i in (1, 2))
    return Flow(times=paths[0][0].cpu(), within=within, between=between)


def draw_perturbation(config: Config, generator: torch.Generator) -> tuple[Float[Tensor, "d K"], Float[Tensor, "d N"]]:
    """A random orthonormal basis of the class means, and a random direction of unit norm."""
    basis = random_orthonormal(config.d, config.K, generator=generator, dtype=DTYPE)
    delta = torch.randn(config.d, config.K * config.n, generator=generator, dtype=DTYPE)
    return basis, delta / delta.norm()


def measure_near_collapse(config: Config, generator: torch.Generator, where: torch.device) -> NearCollapse:
    """Minimisers around the collapsed points of several decays, against the linear map."""
    basis, direction = (x.to(where) for x in draw_perturbation(config, generator))
    strengths = (config.lambda_w, config.lambda_h, config.beta)
    _, collapsed = collapsed_minimizer(config.K, config.n, config.d, *strengths[:2], basis)
    size = float(collapsed.norm())
    residuals, most = [], 0
    kept: dict[str, float] = {}
    ratio = predicted = math.nan
    for eps in sorted(config.eps, reverse=True):  # the smallest last, whose factors and ratio stay
        delta = eps * size * direction
        _, H, taken = solve_near(collapsed + delta, config.K, *strengths)
        linear = first_order_map(delta, basis, config.K, *strengths)
        residuals.append(float((H - collapsed - linear).norm()) / size)
        kept = _kept(H - collapsed, delta, basis, config.K)
        ratio = nc1_trace(H, config.K) / nc1_trace(collapsed + delta, config.K) if config.n > 1 else math.nan
        predicted = predicted_ratio(delta, basis, config.K, *strengths)
        most = max(most, taken)
    formula = shrink_factors(*strengths)
    order = torch.tensor(config.eps).argsort(descending=True).argsort()
    sweep = [sweep_decays(config, basis, direction, *scale) for scale in _scales(config.multipliers)]
    return NearCollapse(
        residual=torch.tensor(residuals, dtype=DTYPE)[order],
        factors=kept,
        formula={name: value if math.isfinite(kept[name]) else math.nan for name, value in formula.items()},
        ratio=ratio,
        predicted=predicted,
        sweep=torch.tensor([pair[0] for pair in sweep], dtype=DTYPE).view(2, -1),
        sweep_predicted=torch.tensor([pair[1] for pair in sweep], dtype=DTYPE).view(2, -1),
        round_trips=most,
    )


def _scales(multipliers: Iterable[float]) -> list[tuple[float, float]]:
    """Factors of (feature decay, last decay): first the one is swept, then the other."""
    return [(m, 1.0) for m in multipliers] + [(1.0, m) for m in multipliers]


def _kept(moved: Tensor, delta: Tensor, basis: Tensor, K: int) -> dict[str, float]:
    """The share of each block of delta that is left in ``moved``, by projection; NaN where the block is empty."""
    parts = perturbation_blocks(delta, basis, K)
    floor = 1e-12 * float(delta.norm()) ** 2
    sizes = {name: float(part.square().sum()) for name, part in parts.items()}
    return {
        name: float((part * moved).sum()) / sizes[name] if sizes[name] > floor else math.nan
        for name, part in parts.items()
    }


def predicted_ratio(
    delta: Float[Tensor, "d N"],
    basis: Float[Tensor, "d K"],
    K: int,
    lambda_w: float,
    lambda_h: float,
    beta: float,
) -> float:
    r"""NC1~ of the minimiser over NC1~ of H0, to first order: :math:`q f_\text{in}^2 + (1 - q) f_\text{out}^2`.

    Here q is the share of the within-class energy of ``delta`` inside the span of the class means; NaN without any.

    Raises
    ------
    ValueError
        As for :func:`~overparam.generalization.neural_collapse.model.first_order_map`.
    """
    parts = perturbation_blocks(delta, basis, K)
    factors = shrink_factors(lambda_w, lambda_h, beta)
    inside, outside = (float(parts[name].square().sum()) for name in ("within_inside", "within_outside"))
    if inside + outside == 0:
        return math.nan
    q = inside / (inside + outside)
    return q * factors["within_inside"] ** 2 + (1 - q) * factors["within_outside"] ** 2


def sweep_decays(
    config: Config,
    basis: Float[Tensor, "d K"],
    direction: Float[Tensor, "d N"],
    feature: float,
    last: float,
    common: Float[Tensor, "d N"] | None = None,
) -> tuple[float, float]:
    """The ratio of NC1~, measured and to first order, with the two decays multiplied by ``feature`` and ``last``.

    H0 is the collapsed point of those decays, perturbed; or ``common``, the same for all, which is no fair comparison.
    """
    strengths = (last * config.lambda_w, feature * config.lambda_h, config.beta)
    _, collapsed = collapsed_minimizer(config.K, config.n, config.d, *strengths[:2], basis)
    delta = config.sweep_eps * collapsed.norm() * direction
    H0 = collapsed + delta if common is None else common
    if config.n == 1:  # one sample is its class's mean
        return math.nan, math.nan
    _, H, _ = solve_near(H0, config.K, *strengths)
    ratio = nc1_trace(H, config.K) / nc1_trace(H0, config.K)
    return ratio, predicted_ratio(delta, basis, config.K, *strengths)


def load_images(config: Config, seed: int) -> Examples:
    """The training images of one draw as vectors, with one mean and one standard deviation taken off all pixels."""
    if config.dataset == "digits":
        x, y = digits(config.images, seed=seed, center=False).train
    else:
        x, y = hub_images(config.dataset, source=config.source).train
        order = torch.randperm(len(y), generator=compute.generator(seed))[: config.images]
        x, y = x[order].flatten(1), y[order]
    return Examples((x - x.mean()) / x.std(), y)


def _train(config: Config, seed: int, where: torch.device) -> tuple[Tensor, Tensor]:
    image_seed, start_seed = compute.seeds(seed, 2)
    X, y = load_images(config, image_seed)
    return train_nets(
        X.to(where),
        y.to(where),
        LABELS,
        config.width,
        config.depth,
        config.steps,
        config.lr,
        config.decays,
        compute.generator(start_seed),
        config.checkpoints,
    )


# --- What it claims ---------------------------------------------------------------------------------------------


def claims(result: Result) -> list[Claim]:
    """The chapter's seven claims, decided on one result."""
    near = result.near
    slope = slope_or_nan(torch.tensor(result.config.eps), near.residual)
    worst = _largest([abs(near.factors[name] - near.formula[name]) for name in near.factors])
    off = abs(near.ratio / near.predicted - 1)
    feature, last = (float(torch.log(row[0] / row[-1])) for row in near.sweep)
    layers = mean_nc1(result)[:, -1]
    steepest = float((layers[:, 1:] / layers[:, :-1]).max())
    fitted = bool((result.accuracy[:, :, -1] == 1).all())
    base, by_feature, by_last = layers[:, 1:].log().mean(1).tolist()
    return [
        Claim(
            "flow_monotone",
            "Along the central path the within-class spread falls and the between-class spread rises, at every step",
            measured=violations(result),
            holds=violations(result) == 0,
            limits=(0.0, 0.0),
            bound="no violation in any step of any flow",
            source="theorem on the central path",
        ),
        Claim(
            "first_order",
            "Near collapse the minimiser is the collapsed point plus a linear map of the perturbation",
            measured=slope,
            holds=slope > 1.9,
            limits=(1.9, math.inf),
            bound="slope of the residual against eps above 1.9",
            source="near-collapse analysis",
        ),
        Claim(
            "factors",
            "Each of the five blocks of a perturbation is damped by its own factor",
            measured=worst,
            holds=worst < 0.02,
            limits=(-math.inf, 0.02),
            bound="every factor within 0.02 of its formula",
            source="near-collapse analysis; the block form is this book's",
        ),
        Claim(
            "reduces_nc1",
            "The optimised features are more collapsed than the given ones, by the predicted ratio",
            measured=off,
            holds=off < 0.05 and near.ratio < 0.7,
            limits=(-math.inf, 0.05),
            bound="ratio of NC1~ within 5 % of the prediction, and below 0.7",
            source="near-collapse analysis",
        ),
        Claim(
            "feature_decay_matters",
            "More feature decay means more collapse; the decay of the last layer hardly matters",
            measured=feature,
            holds=feature > 0.3 and abs(last) < feature / 4,
            limits=(0.3, math.inf),
            bound="log ratio falls by more than 0.3 over the sweep of feature decay, by less than a quarter of that "
            "over the last layer's",
            source="effect of the regularization hyperparameters",
        ),
        Claim(
            "depth",
            "In trained networks every layer is more collapsed than the one before",
            measured=steepest,
            holds=steepest < 1 and fitted,
            limits=(-math.inf, 1.0),
            bound="NC1~ over that of the layer before below 1 everywhere; training accuracy 1",
            source="experiments, layer-wise decrease",
        ),
        Claim(
            "net_decay",
            "In networks, too, feature decay deepens the collapse more than the decay of the last layer",
            measured=base - by_feature,
            holds=base - by_feature > 0.15 and base - by_feature > 1.7 * (base - by_last),
            limits=(0.15, math.inf),
            bound="mean log reduction above 0.15, and above 1.7 times that of last-layer decay",
            source="experiments, effect of the regularization",
        ),
    ]


def compensated(result: Result) -> tuple[Float[Tensor, "decays t"], Float[Tensor, "decays t"]]:
    r"""The two traces along the flows, times :math:`e^{2\lambda_H t}`."""
    decays = torch.tensor(result.config.flow_decays, dtype=DTYPE)[:, None]
    growth = torch.exp(2 * decays * result.flow.times)
    return growth * result.flow.within, growth * result.flow.between


def violations(result: Result) -> int:
    """Steps at which a trace or NC1~ does not move the way of the theorem, each counted for itself."""
    within, between = compensated(result)
    right = (within.diff() < 0, between.diff() > 0, (result.flow.within / result.flow.between).diff() < 0)
    return int(sum((~moves).sum() for moves in right))


def mean_nc1(result: Result) -> Float[Tensor, "nets t layers"]:
    """NC1~ of the networks' layers, the geometric mean over the draws."""
    return result.nc1.log().mean(0).exp()


def _largest(values: Iterable[float]) -> float:
    """The largest of the values that are numbers; NaN where there is none."""
    return max((value for value in values if math.isfinite(value)), default=math.nan)
