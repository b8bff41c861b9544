"""How well random features estimate a layer, and how far a bundled network gets."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from overparam.core import checks, compute
from overparam.core.claims import Claim
from overparam.core.compute import Device
from overparam.core.datasets import DIGITS, Examples, Split, digits
from overparam.core.fits import slope_or_nan
from overparam.core.models import mlp_ensemble_forward, mlp_ensemble_init
from overparam.core.progress import track
from overparam.core.training import accuracy
from overparam.dynamics.neural_network_kernels.features import (
    ACTIVATIONS,
    URF,
    arc_cosine_kernel,
    draw_frequencies,
    draw_projections,
    real_features,
    real_weights,
    relu_features,
    universal_features,
)
from overparam.dynamics.neural_network_kernels.layers import bundle, ridge_readout

DTYPE = torch.float64  # complex64 is too coarse for thousands of features
CLASSES = 10
#: Features of one draw where bias and orthogonality are measured.
REFERENCE_COUNT = 64
#: Standard deviation of the biases of the estimated layers, and vectors of the arc-cosine kernel.
BIAS_SCALE = 0.3
RELU_VECTORS = (7, 6)
#: Features in memory at once, times pairs.
CHUNK = 2**21


@dataclass(frozen=True)
class Config:
    """Reader scale: a few CPU-seconds. Every number of the experiment is here."""

    seed: int = 0
    d: int = 16  # size of the vectors whose layer is estimated
    pairs: int = 50  # of input and weight, unit vectors
    M: float = 0.05  # the features' free parameter there
    counts: tuple[int, ...] = (16, 64, 256, 1024)  # m, features of one estimate
    draws: int = 200  # independent estimates at m <= 64, fewer above
    relu_count: int = 100_000  # ReLU features of the arc-cosine kernel
    hidden: int = 128  # width of both trained networks
    weight_cap: float = 1.5  # largest norm of a row of the sine network's first matrix
    train_steps: int = 300  # full-batch Adam steps of both networks
    lr: float = 0.01  # their step size
    bundle_counts: tuple[int, ...] = (64, 256, 1024, 4096)  # m, features of the bundled trained network
    bundle_M: float = 0.02  # the features' free parameter on the digits  # noqa: N815
    closed_counts: tuple[int, ...] = (16, 32, 64, 96, 256)  # m, features of the network in closed form
    ridge: float = 1e-3  # its penalty, in units of the features' mean square
    train_size: int = 1200  # digits to train on; the other 597 are for testing

    def __post_init__(self) -> None:
        checks.integer(0, seed=self.seed)
        checks.integer(1, d=self.d, pairs=self.pairs, relu_count=self.relu_count, hidden=self.hidden)
        checks.integer(1, train_steps=self.train_steps, train_size=self.train_size)
        checks.integer(2, draws=self.draws)
        checks.positive(weight_cap=self.weight_cap, lr=self.lr, ridge=self.ridge)
        if self.train_size >= DIGITS:
            raise ValueError(f"train_size must leave some of {DIGITS} digits, got {self.train_size}")
        for name in ("M", "bundle_M"):
            if not (math.isfinite(value := getattr(self, name)) and value > -0.25):
                raise ValueError(f"{name} must be above -1/4 and finite, got {value!r}")
        for name in ("counts", "bundle_counts", "closed_counts"):
            counts = getattr(self, name)
            checks.increasing(**{name: counts})
            checks.integer(1, **{name: counts[0]})


FULL = Config(d=64, draws=2000, counts=(64, 256, 1024, 4096, 16384, 65536), hidden=512)


@dataclass(frozen=True)
class Result:
    """What :func:`run` measured; the activations are in the order of :data:`ACTIVATIONS`.

    ``z_scores`` are mean errors over draws in standard errors and ``orthogonal_ratio`` mean squared errors of
    orthogonal over independent projections, both at 64 features. ``relu_error`` is relative to the norms, ``relu_gap``
    the ratio of two estimated kernel values at one dot product. Accuracies are on test digits; ``*_parameters`` count
    trained numbers. ``exact`` and ``estimates`` hold one draw at every pair, for the second and the last count.
    """

    config: Config
    z_scores: Float[Tensor, "f pairs"]
    rmse: Float[Tensor, "f counts"]
    orthogonal_ratio: Float[Tensor, " f"]
    relu_error: float
    relu_gap: float
    sine_accuracy: float
    bundled_accuracy: Float[Tensor, " bundles"]
    bundled_error: Float[Tensor, " bundles"]
    bundled_parameters: tuple[int, ...]
    mlp_accuracy: float
    mlp_parameters: int
    closed_accuracy: Float[Tensor, " closed"]
    closed_parameters: tuple[int, ...]
    exact: Float[Tensor, "f pairs"]
    estimates: Float[Tensor, "f 2 pairs"]


def run(config: Config = Config(), *, device: Device = None, progress: bool = True) -> Result:
    """Estimate single layers, then bundle a trained network, then solve for the bundled network, in float64.

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
    jobs = {
        "layers": lambda: _estimate_layers(config, streams[0], where),
        "relu": lambda: _estimate_arc_cosine(config, streams[1], where),
        "networks": lambda: _networks(config, streams[2:], where),
    }
    parts = [job() for _, job in track(jobs.items(), progress, "neural network kernels")]
    return Result(config=config, **parts[0], **parts[1], **parts[2])


# --- Single layers ----------------------------------------------------------------------------------------------


class Pairs(NamedTuple):
    """Inputs, weights and biases of single units, one of each for every pair."""

    x: Float[Tensor, "pairs d"]
    w: Float[Tensor, "pairs d"]
    b: Float[Tensor, " pairs"]


def _estimate_layers(config: Config, generator: torch.Generator, where: torch.device) -> dict[str, Tensor]:
    x, w = functional.normalize(torch.randn(2, config.pairs, config.d, generator=generator, dtype=DTYPE), dim=-1)
    b = BIAS_SCALE * torch.randn(config.pairs, generator=generator, dtype=DTYPE)
    pairs = Pairs(x.to(where), w.to(where), b.to(where))
    measured = [_estimate_activation(activation, pairs, config, generator) for activation in ACTIVATIONS]
    return {name: torch.stack([one[name] for one in measured]).cpu() for name in measured[0]}


def _estimate_activation(
    activation: str, pairs: Pairs, config: Config, generator: torch.Generator
) -> dict[str, Tensor]:
    exact = ACTIVATIONS[activation]((pairs.x * pairs.w).sum(1) + pairs.b)
    draw = partial(_draw_estimates, activation, pairs, config.M, generator)
    iid, orthogonal = (draw(REFERENCE_COUNT, config.draws, orthogonal=kind) - exact for kind in (False, True))
    series = [draw(m, _draws(config, m)) for m in config.counts]
    return {
        "z_scores": iid.mean(0) / (iid.std(0) / math.sqrt(config.draws)),
        "rmse": torch.stack([(estimates - exact).square().mean().sqrt() for estimates in series]),
        "orthogonal_ratio": orthogonal.square().mean() / iid.square().mean(),
        "exact": exact,
        "estimates": torch.stack([series[min(1, len(series) - 1)][0], series[-1][0]]),
    }


def _draws(config: Config, m: int) -> int:
    """Fewer draws of many features: the error of the RMSE stays about the same for the same work."""
    return config.draws if m <= REFERENCE_COUNT else min(config.draws, max(20, config.draws * REFERENCE_COUNT // m))


def _draw_estimates(
    activation: str,
    pairs: Pairs,
    M: float,
    generator: torch.Generator,
    m: int,
    draws: int,
    orthogonal: bool = False,
) -> Float[Tensor, "{draws} pairs"]:
    r"""Independent estimates of every pair's :math:`f(w \cdot x + b)`, several draws as one set of features."""
    count, d = pairs.x.shape
    estimates, step = [], max(1, CHUNK // (m * count))
    for start in range(0, draws, step):
        size = min(step, draws - start)
        blocks = [m] * size if orthogonal else [m * size]  # orthogonal blocks must not reach across draws
        G = torch.cat([draw_projections(n, d, orthogonal=orthogonal, generator=generator) for n in blocks])
        xi, weight = draw_frequencies(activation, m * size, generator=generator)
        G, xi, weight = (drawn.to(pairs.x.device) for drawn in (G, xi, weight))
        urf = URF(activation, G, xi, weight, M, "symmetric")
        products = (urf.x(pairs.x) * urf.w(pairs.w, pairs.b)).real
        # A set of size * m features carries a factor 1 / (size * m), and each draw is a mean over its own m.
        estimates.append(size * products.unflatten(1, (size, m)).sum(2).mT)
    return torch.cat(estimates)


def _estimate_arc_cosine(config: Config, generator: torch.Generator, where: torch.device) -> dict[str, float]:
    x, w = (torch.randn(n, config.d, generator=generator, dtype=DTYPE).to(where) for n in RELU_VECTORS)
    one_product = torch.zeros(2, max(config.d, 2), dtype=DTYPE, device=where)
    one_product[:, 0], one_product[1, 1] = 1.0, 3.0  # e_1 and e_1 + 3 e_2, whose product with e_1 is 1
    G = draw_projections(config.relu_count, max(config.d, 2), generator=generator).to(where)
    kernel = relu_features(x, G[:, : config.d]) @ relu_features(w, G[:, : config.d]).mT
    scale = x.norm(dim=1)[:, None] * w.norm(dim=1)
    along = relu_features(one_product, G) @ relu_features(one_product[:1], G).mT
    return {
        "relu_error": float(((kernel - arc_cosine_kernel(x, w)) / scale).abs().max()),
        "relu_gap": float(along[1, 0] / along[0, 0]),
    }


# --- Networks ---------------------------------------------------------------------------------------------------


def _networks(config: Config, streams: list[torch.Generator], where: torch.device) -> dict[str, object]:
    data = unit_digits(config).to(where)
    sine, mlp, bundled, closed = streams
    W1, b1, W2 = train_sine_network(data, config, generator=sine)
    exact = torch.sin(data.test.x @ W1.mT + b1) @ W2.mT
    norm = float(exact.norm())
    errors, bundled_accuracies = [], []
    for m in config.bundle_counts:
        urf = _digit_features(m, data, config, bundled)
        readout = bundle(W2, real_weights(urf.w(W1, b1)))
        logits = real_features(urf.x(data.test.x)) @ readout.mT
        errors.append(float((logits - exact).norm()) / norm)
        bundled_accuracies.append(accuracy(logits, data.test.y))
    closed_accuracies = []
    for m in config.closed_counts:
        urf = _digit_features(m, data, config, closed)
        readout = closed_form_readout(urf, data, config)
        closed_accuracies.append(accuracy(real_features(urf.x(data.test.x)) @ readout.mT, data.test.y))
    mlp_accuracy, mlp_parameters = _train_mlp(data, config, generator=mlp)
    return {
        "sine_accuracy": float(accuracy(exact, data.test.y)),
        "bundled_accuracy": torch.stack(bundled_accuracies).cpu(),
        "bundled_error": torch.tensor(errors, dtype=DTYPE),
        "bundled_parameters": tuple(2 * CLASSES * m for m in config.bundle_counts),
        "mlp_accuracy": mlp_accuracy,
        "mlp_parameters": mlp_parameters,
        "closed_accuracy": torch.stack(closed_accuracies).cpu(),
        "closed_parameters": tuple(2 * CLASSES * m for m in config.closed_counts),
    }


def unit_digits(config: Config) -> Split:
    """Handwritten digits without the mean training image, each scaled to norm 1: the features need norms of about 1."""
    data = digits(config.train_size, seed=config.seed)
    parts = (data.train, data.val, data.test)
    return Split(*(Examples(functional.normalize(e.x.to(DTYPE), dim=-1), e.y) for e in parts))


def train_sine_network(
    data: Split, config: Config, *, generator: torch.Generator
) -> tuple[Float[Tensor, "h d"], Float[Tensor, " h"], Float[Tensor, "c h"]]:
    r"""Train :math:`W_2 \sin(W_1 x + b_1)` on one-hot targets, full-batch Adam on the squared error.

    After each step the rows of :math:`W_1` are scaled down to a norm of at most ``weight_cap``: the variance of the
    features grows exponentially with it.
    """
    d = data.train.x.shape[1]
    W1 = torch.randn(config.hidden, d, generator=generator, dtype=DTYPE) / math.sqrt(d)
    b1 = BIAS_SCALE * torch.randn(config.hidden, generator=generator, dtype=DTYPE)
    W2 = torch.randn(CLASSES, config.hidden, generator=generator, dtype=DTYPE) / math.sqrt(config.hidden)
    parameters = [p.to(data.train.x.device).requires_grad_() for p in (W1, b1, W2)]
    targets = functional.one_hot(data.train.y, CLASSES).to(DTYPE)
    optimizer = torch.optim.Adam(parameters, lr=config.lr)
    for _ in range(config.train_steps):
        optimizer.zero_grad()
        outputs = torch.sin(data.train.x @ parameters[0].mT + parameters[1]) @ parameters[2].mT
        (outputs - targets).square().sum(1).mean().backward()
        optimizer.step()
        with torch.no_grad():
            parameters[0].mul_((config.weight_cap / parameters[0].norm(dim=1, keepdim=True)).clamp(max=1))
    W1, b1, W2 = (p.detach() for p in parameters)
    return W1, b1, W2


def closed_form_readout(urf: URF, data: Split, config: Config) -> Float[Tensor, "c p"]:
    """The fully bundled network's optimum for squared error: ridge regression on the features, one-hot targets."""
    features = real_features(urf.x(data.train.x))
    targets = functional.one_hot(data.train.y, CLASSES).to(features)
    return ridge_readout(features, targets, config.ridge * len(features) * float(features.square().mean()))


def _digit_features(m: int, data: Split, config: Config, generator: torch.Generator) -> URF:
    kinds = {"M": config.bundle_M, "split": "input", "orthogonal": True, "generator": generator}
    urf, where = universal_features("sin", m, data.train.x.shape[1], **kinds), data.train.x.device
    return replace(urf, G=urf.G.to(where), xi=urf.xi.to(where), weight=urf.weight.to(where))


def _train_mlp(data: Split, config: Config, *, generator: torch.Generator) -> tuple[float, int]:
    """Test accuracy and size of a ReLU network of the same width, cross-entropy, the same optimizer and steps."""
    dims = (data.train.x.shape[1], config.hidden, CLASSES)
    drawn = mlp_ensemble_init(1, dims, generator=generator, dtype=DTYPE)
    parameters = [p.to(data.train.x.device).requires_grad_() for p in drawn]
    optimizer = torch.optim.Adam(parameters, lr=config.lr)
    for _ in range(config.train_steps):
        optimizer.zero_grad()
        functional.cross_entropy(mlp_ensemble_forward(parameters, data.train.x)[0], data.train.y).backward()
        optimizer.step()
    with torch.no_grad():
        logits = mlp_ensemble_forward(parameters, data.test.x)[0]
    return float(accuracy(logits, data.test.y)), sum(p.numel() for p in parameters)


# --- What it claims ---------------------------------------------------------------------------------------------


def claims(result: Result) -> list[Claim]:
    """The chapter's six claims, decided on one result."""
    config, sine = result.config, list(ACTIVATIONS).index("sin")
    bias = float(result.z_scores.abs().max())
    rate = slope_or_nan(torch.tensor(config.counts), result.rmse[sine])
    ratio = float(result.orthogonal_ratio[sine])
    bundling = slope_or_nan(torch.tensor(config.bundle_counts), result.bundled_error)
    lost = result.sine_accuracy - float(result.bundled_accuracy[-1])
    small = [i for i, p in enumerate(result.closed_parameters) if 5 * p <= result.mlp_parameters]
    margin = float(result.closed_accuracy[small[-1]]) - result.mlp_accuracy if small else math.nan
    return [
        Claim(
            "unbiased",
            "Universal random features estimate a layer without bias, for sine, cosine and a Gaussian",
            measured=bias,
            holds=bias <= 5,
            limits=(-math.inf, 5.0),
            bound="largest |z| over all pairs at most 5",
            source="universal random features, unbiasedness",
        ),
        Claim(
            "monte_carlo_rate",
            "Their error falls like the root of the number of features",
            measured=rate,
            holds=-0.6 <= rate <= -0.4,
            limits=(-0.6, -0.4),
            bound="log-log slope of the RMSE (sine) in [-0.6, -0.4]",
            source="variance of m independent features",
        ),
        Claim(
            "orthogonal_helps",
            "Orthogonal projections reduce the variance",
            measured=ratio,
            holds=ratio <= 0.8,
            limits=(-math.inf, 0.8),
            bound="MSE orthogonal over independent at most 0.8 (sine, m = 64)",
            source="orthogonal random features",
        ),
        Claim(
            "relu_is_arc_cosine",
            "ReLU features realize the arc-cosine kernel, which is no function of the dot product",
            measured=result.relu_error,
            holds=result.relu_error <= 0.02 and result.relu_gap >= 1.3,
            limits=(-math.inf, 0.02),
            bound="scaled error at most 0.02, and values at one dot product apart by a factor of at least 1.3",
            source="ReLU-SNNK, strictly more expressive",
        ),
        Claim(
            "bundling_converges",
            "A trained network bundles into one matrix, with an error that vanishes as features are added",
            measured=bundling,
            holds=-0.65 <= bundling <= -0.35 and lost <= 0.05,
            limits=(-0.65, -0.35),
            bound="slope of the logit error in [-0.65, -0.35], accuracy at most 0.05 lost at the largest m",
            source="bundling",
        ),
        Claim(
            "closed_form_competes",
            "The bundled network's closed-form optimum rivals a backpropagated one with five times its parameters",
            measured=margin,
            holds=margin >= -0.02,
            limits=(-0.02, math.inf),
            bound="accuracy at least that of the MLP minus 0.02, with at most a fifth of its parameters",
            source="closed form of the fully bundled network; up to 5 times fewer parameters in the paper's adapters",
        ),
    ]
