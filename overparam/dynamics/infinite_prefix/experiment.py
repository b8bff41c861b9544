"""The experiment: three parts on streams of their own, what was measured, and what the paper claims about it."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from overparam.core import checks, compute, datasets, training
from overparam.core.claims import Claim
from overparam.core.compute import Device
from overparam.core.datasets import Examples
from overparam.core.fits import slope_or_nan
from overparam.core.progress import track
from overparam.dynamics.infinite_prefix.adaptation import (
    ADAPTERS,
    RowTransformer,
    Transformer,
    adapt,
    fit,
    load_vit,
)
from overparam.dynamics.infinite_prefix.attention import (
    compress_prefix,
    learn_compression,
    ntk_attention,
    prefix_attention,
    taylor_features,
)
from overparam.dynamics.infinite_prefix.learning import paired_init, prefix_ntk, train_prefix

DTYPE = torch.float64  # of the first two parts; the transformer trains in float32


@dataclass(frozen=True)
class Config:
    """Reader scale: about 20 CPU-seconds. Every number of the experiment is here."""

    seed: int = 0
    # Part 1: attention over a prefix, and its compression
    d: int = 8  # dimension of a token, of part 2 too
    length: int = 16  # tokens of a sequence
    samples: int = 128  # sequences, three quarters of them to learn Z and k from, the others to measure the error
    token_scale: float = 0.5  # standard deviation of tokens and prefix
    prefix_lengths: tuple[int, ...] = (4, 16, 64, 256, 1024, 4096)  # m
    degrees: tuple[int, ...] = (1, 2, 3, 4, 5)  # of the Taylor features
    fit_steps: int = 400  # of Adam, for Z and k
    fit_lr: float = 0.05
    # Part 2: prefix learning
    n: int = 6  # inputs
    prefix_counts: tuple[int, ...] = (2, 4, 8, 32, 128, 512, 1024)  # m, even
    gd_steps: int = 2000
    # Part 3: adaptation
    adapters: tuple[str, ...] = ADAPTERS
    adapter_lr: tuple[float, ...] = (0.01, 0.03, 0.3, 0.03, 0.003)  # of Adam, one for each adapter
    pretrain_steps: int = 400
    adapt_steps: int = 500
    prefix: int = 8  # positions of the adapter's prefix
    rank: int = 2  # of LoRA
    target_scale: float = 0.5  # standard deviation of part 2's targets
    dataset: str = "digits"  # of part 3: the digits, turned, for a RowTransformer; or cifar100 for ViT-B/16
    source: str | None = None  # folder of cifar100's parquet files, to read instead of the hub
    checkpoint: str | None = None  # file of ViT-B/16's weights, to read instead of the hub
    train_images: int = 1000  # digits to train on, the other 797 to test on
    batch_size: int = 128
    pretrain_lr: float = 0.003
    head_lr: float = 0.01  # of the head beside an adapter; under full fine-tuning it trains as all else does

    def __post_init__(self) -> None:
        checks.integer(0, seed=self.seed)
        checks.integer(1, d=self.d, length=self.length, n=self.n, prefix=self.prefix, rank=self.rank)
        checks.integer(2, samples=self.samples)
        checks.integer(1, fit_steps=self.fit_steps, gd_steps=self.gd_steps)
        checks.integer(1, pretrain_steps=self.pretrain_steps, adapt_steps=self.adapt_steps)
        checks.integer(1, train_images=self.train_images, batch_size=self.batch_size)
        checks.positive(token_scale=self.token_scale, target_scale=self.target_scale)
        checks.positive(fit_lr=self.fit_lr, pretrain_lr=self.pretrain_lr, head_lr=self.head_lr)
        checks.one_of(("digits", "cifar100"), dataset=self.dataset)
        for name, minimum in (("prefix_lengths", 1), ("degrees", 0), ("prefix_counts", 2)):
            for size in (sizes := getattr(self, name)):
                checks.integer(minimum, **{name: size})
            checks.increasing(**{name: sizes})
        if odd := [m for m in self.prefix_counts if m % 2]:
            raise ValueError(f"prefix_counts must be even, got {odd[0]}")
        for adapter in self.adapters:
            checks.one_of(ADAPTERS, adapters=adapter)
        for lr in self.adapter_lr:
            checks.positive(adapter_lr=lr)
        if len(self.adapter_lr) != len(self.adapters) or not self.adapters:
            raise ValueError(f"adapter_lr must have one rate for each of {self.adapters}, got {self.adapter_lr}")
        if self.dataset == "digits":
            self._check_digits()

    def _check_digits(self) -> None:
        if self.train_images >= datasets.DIGITS:
            raise ValueError(f"train_images must leave some of {datasets.DIGITS} digits, got {self.train_images}")
        if self.batch_size > self.train_images:
            raise ValueError(f"batch_size must be at most the {self.train_images} train_images, got {self.batch_size}")
        for name in ("source", "checkpoint"):
            if (value := getattr(self, name)) is not None:
                raise ValueError(f"{name} must be None for digits, which are bundled, got {value!r}")


#: The paper's scale: prefixes up to its longest, and ViT-B/16 on CIFAR-100 for 10 epochs of its batch.
FULL = Config(
    d=64,
    length=128,
    prefix_lengths=tuple(4**i for i in range(1, 10)),
    degrees=(1, 2),
    fit_steps=20_000,
    prefix_counts=(2, 4, 8, 32, 128, 512, 1024, 4096, 8192),
    gd_steps=20_000,
    dataset="cifar100",
    adapt_steps=1950,
    batch_size=256,
    adapter_lr=(0.001, 0.001, 0.1, 0.001, 0.0001),
    head_lr=0.001,
)


@dataclass(frozen=True)
class Result:
    """What :func:`run` measured, as numpy arrays.

    Errors are relative Frobenius norms of the output of attention, on sequences from which nothing was learned;
    ``lengths``, ``counts`` and ``adapters`` are the config's ``prefix_lengths``, ``prefix_counts`` and ``adapters``.
    ``loss_ratio`` is final over initial loss; ``movement`` the largest distance that a prefix vector has gone;
    ``kernel_change`` the relative change of the kernel in training, and ``min_eigenvalue`` the smallest of K / m before
    it. ``trainable`` counts an adapter's parameters without the head. ``pretrained_accuracy`` is on the images as they
    were pretrained on, NaN where the pretrained weights came from elsewhere.
    """

    config: Config
    no_prefix_error: Float[np.ndarray, " lengths"]
    taylor_error: Float[np.ndarray, "lengths degrees"]
    learned_error: Float[np.ndarray, " lengths"]
    loss_ratio: Float[np.ndarray, " counts"]
    movement: Float[np.ndarray, " counts"]
    kernel_change: Float[np.ndarray, " counts"]
    min_eigenvalue: Float[np.ndarray, " counts"]
    loss_curves: Float[np.ndarray, "counts times"]
    accuracy: Float[np.ndarray, " adapters"]
    trainable: Int[np.ndarray, " adapters"]
    pretrained_accuracy: float


def run(config: Config = Config(), *, device: Device = None, progress: bool = True) -> Result:
    """Compress prefixes of many lengths, train prefixes of many lengths, and adapt a frozen transformer.

    Parameters
    ----------
    config
        The experiment. Its parts draw from streams of their own: changing one leaves the others as they were.
    device
        None picks the best one that has float64.
    progress
        Show bars.
    """
    where = compute.device(device, dtype=DTYPE)
    parts = (_compression, _learning, _adaptation)
    measured: dict[str, Any] = {}
    for part, seed in zip(parts, compute.seeds(config.seed, len(parts)), strict=True):
        measured |= part(config, seed, where, progress)
    return Result(config=config, **measured)


# --- Part 1 -----------------------------------------------------------------------------------------------------


def _compression(config: Config, seed: int, where: torch.device, progress: bool) -> dict[str, Any]:
    """Errors of attention without the prefix, with Taylor's Z and k, and with learned ones."""
    q, k, v, k_prefix, v_prefix = attention_problem(config, seed, where)
    targets = torch.stack([_over_prefix(q, k, v, k_prefix[:m], v_prefix[:m]) for m in config.prefix_lengths])
    learn, test = slice(config.samples * 3 // 4), slice(config.samples * 3 // 4, None)
    Z, k_sum = learn_compression(
        q[learn],
        k[learn],
        v[learn],
        targets[:, learn],
        config.prefix_lengths,
        steps=config.fit_steps,
        lr=config.fit_lr,
        progress=progress,
    )
    q, k, v, targets = q[test], k[test], v[test], targets[:, test]
    alone = prefix_attention(q, k, v, k_prefix[:0], v_prefix[:0])
    taylor = [
        [_taylor_error(q, k, v, k_prefix[:m], v_prefix[:m], y, degree) for degree in config.degrees]
        for m, y in zip(track(config.prefix_lengths, progress, "compressing"), targets, strict=True)
    ]
    return {
        "no_prefix_error": np.array([_relative_error(alone, y) for y in targets]),
        "taylor_error": np.array(taylor),
        "learned_error": np.array(list(map(_relative_error, ntk_attention(q, k, v, Z, k_sum), targets))),
    }


def attention_problem(config: Config, seed: int, where: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """q, k and v of the sequences, and keys and values of the longest prefix, of which shorter ones are the start."""
    generator = compute.generator(seed)
    draw = partial(torch.randn, generator=generator, dtype=DTYPE)
    tokens = config.token_scale * draw(config.samples, config.length, config.d)
    weights = draw(3, config.d, config.d) / math.sqrt(config.d)
    prefix = config.token_scale * draw(max(config.prefix_lengths), config.d)
    q, k, v = (tokens.to(where) @ weight for weight in weights.to(where))
    k_prefix, v_prefix = (prefix.to(where) @ weight for weight in weights[1:].to(where))
    return q, k, v, k_prefix, v_prefix


def _over_prefix(q: Tensor, k: Tensor, v: Tensor, k_prefix: Tensor, v_prefix: Tensor) -> Tensor:
    """One sequence at a time: the logits of all of them are large at full scale."""
    return torch.stack([prefix_attention(*one, k_prefix, v_prefix) for one in zip(q, k, v, strict=True)])


def _taylor_error(q: Tensor, k: Tensor, v: Tensor, k_prefix: Tensor, v_prefix: Tensor, y: Tensor, degree: int) -> float:
    phi = partial(taylor_features, degree=degree)
    return _relative_error(ntk_attention(q, k, v, *compress_prefix(k_prefix, v_prefix, phi), feature_map=phi), y)


def _relative_error(output: Tensor, target: Tensor) -> float:
    return float((output - target).norm() / target.norm())


# --- Part 2 -----------------------------------------------------------------------------------------------------


def _learning(config: Config, seed: int, where: torch.device, progress: bool) -> dict[str, Any]:
    """Gradient descent on prefixes of every length, with the same data and the largest step that is safe for each."""
    data_seed, *starts = compute.seeds(seed, 1 + len(config.prefix_counts))
    X, Y = prefix_data(config, data_seed, where)
    rows = []
    for m, start in zip(track(config.prefix_counts, progress, "prefix learning"), starts, strict=True):
        W0, a = (z.to(where) for z in paired_init(m, config.d, generator=compute.generator(start), dtype=DTYPE))
        before = prefix_ntk(W0, a, X)
        eigenvalues = torch.linalg.eigvalsh(before)
        W, losses = train_prefix(W0, a, X, Y, steps=config.gd_steps, eta=1 / float(eigenvalues[-1]))
        change = (prefix_ntk(W, a, X) - before).norm() / before.norm()
        rows.append((losses[-1] / losses[0], (W - W0).norm(dim=1).max(), change, eigenvalues[0] / m, losses))
    names = ("loss_ratio", "movement", "kernel_change", "min_eigenvalue", "loss_curves")
    columns = (torch.stack(column).cpu().numpy() for column in zip(*rows, strict=True))
    return dict(zip(names, columns, strict=True))


def prefix_data(config: Config, seed: int, where: torch.device) -> tuple[Tensor, Tensor]:
    """Inputs of length one, and normal targets."""
    generator = compute.generator(seed)
    X = torch.randn(config.n, config.d, generator=generator, dtype=DTYPE)
    Y = config.target_scale * torch.randn(config.n, config.d, generator=generator, dtype=DTYPE)
    return (X / X.norm(dim=1, keepdim=True)).to(where), Y.to(where)


# --- Part 3 -----------------------------------------------------------------------------------------------------


def _adaptation(config: Config, seed: int, where: torch.device, progress: bool) -> dict[str, Any]:
    """Accuracy on the new task with every adapter, from one pretrained model and on the same batches."""
    model_seed, batch_seed, adapter_seed = compute.seeds(seed, 3)
    model, train, test, pretrained_accuracy = pretrained(config, model_seed, where, progress=progress)
    accuracies, trainable = [], []
    for mode, lr in zip(config.adapters, config.adapter_lr, strict=True):
        adapted = copy.deepcopy(model)
        generator = compute.generator(adapter_seed)
        extra = adapt(adapted, mode, prefix=config.prefix, rank=config.rank, generator=generator)
        head_lr = lr if mode in ("head", "full") else config.head_lr
        groups = [{"params": list(adapted.head.parameters()), "lr": head_lr}]
        groups += [{"params": extra, "lr": lr}] if extra else []
        trained, data = adapted, train
        if not extra:  # alone, the head reads features that never change
            trained, data = adapted.head, Examples(_in_batches(model.features, train.x, config.batch_size), train.y)
        steps = {"steps": config.adapt_steps, "batch_size": config.batch_size}
        fit(trained, data, groups, **steps, generator=compute.generator(batch_seed), progress=progress)
        accuracies.append(_accuracy(adapted, test, config.batch_size))
        trainable.append(sum(p.numel() for p in extra))
    return {
        "accuracy": np.array(accuracies),
        "trainable": np.array(trainable),
        "pretrained_accuracy": pretrained_accuracy,
    }


def pretrained(
    config: Config, seed: int, where: torch.device, *, progress: bool = False
) -> tuple[Transformer, Examples, Examples, float]:
    """A transformer that knows one task, training and test data of another, and its accuracy on what it knows."""
    data_seed, weight_seed, batch_seed = compute.seeds(seed, 3)
    if config.dataset == "cifar100":
        split = datasets.hub_images("cifar100", seed=data_seed, source=config.source).to(where)
        vit = load_vit(100, checkpoint=config.checkpoint, generator=compute.generator(weight_seed))
        return vit.to(where), split.train, split.test, math.nan
    split = datasets.digits(config.train_images, seed=data_seed, flatten=False, center=False, scale="raw").to(where)
    train, test = (Examples(e.x / 8 - 1, e.y) for e in (split.train, split.test))
    model = RowTransformer(generator=compute.generator(weight_seed)).to(where)
    groups = [{"params": list(model.parameters()), "lr": config.pretrain_lr}]
    steps = {"steps": config.pretrain_steps, "batch_size": config.batch_size}
    fit(model, train, groups, **steps, generator=compute.generator(batch_seed), progress=progress)
    known = _accuracy(model, test, config.batch_size)
    train, test = (Examples(e.x.rot90(dims=(-2, -1)), e.y) for e in (train, test))
    return model, train, test, known


def _accuracy(model: Transformer, data: Examples, batch_size: int) -> float:
    return float(training.accuracy(_in_batches(model, data.x, batch_size), data.y))


@torch.no_grad()
def _in_batches(function: Callable[[Tensor], Tensor], images: Tensor, batch_size: int) -> Tensor:
    return torch.cat([function(batch) for batch in images.split(batch_size)])


# --- What it claims ---------------------------------------------------------------------------------------------

#: Prefix length to which the longest one is compared, and count of vectors of the short prefix.
MEDIUM_LENGTH, SHORT_PREFIX = 256, 4


def claims(result: Result) -> list[Claim]:
    """The chapter's seven claims, decided on one result; a measurement that a configuration lacks is NaN and fails."""
    config, learned = result.config, result.learned_error
    accurate = float(result.taylor_error[:, -1].max())
    falling = float((result.taylor_error[:, -1] / result.taylor_error[:, 0]).max())
    growth = float(learned[-1] / _at(config.prefix_lengths, learned, MEDIUM_LENGTH))
    worth = float(learned[-1] / result.no_prefix_error[-1])
    converged = float(result.loss_ratio[-1])
    stalled = _at(config.prefix_counts, result.loss_ratio, SHORT_PREFIX)
    singular = abs(_at(config.prefix_counts, result.min_eigenvalue, SHORT_PREFIX))
    counts = np.array(config.prefix_counts)
    exponent = slope_or_nan(counts[counts >= 32], result.movement[counts >= 32])
    accuracy = dict(zip(config.adapters, result.accuracy, strict=True))
    gain = float(accuracy.get("ntk", math.nan) - accuracy.get("head", math.nan))
    return [
        Claim(
            "compression_is_accurate",
            "Z and k reproduce attention over a prefix of any length",
            measured=accurate,
            holds=accurate <= 0.01,
            limits=(-math.inf, 0.01),
            bound="relative error at the highest degree at most 0.01, at every length",
            source="NTK-Attention approximates prefix attention to a guaranteed, polynomially small error",
        ),
        Claim(
            "error_falls_with_features",
            "The error of the compression vanishes with the degree of the features",
            measured=falling,
            holds=falling <= 0.1,
            limits=(-math.inf, 0.1),
            bound="error at the highest over error at the lowest degree at most 0.1, at every length",
            source="the same, by polynomial features of the exponential",
        ),
        Claim(
            "error_free_of_length",
            "d² + d learned numbers do as well for the longest prefix as for one of 256",
            measured=growth,
            holds=growth <= 1.7 and worth <= 0.2,
            limits=(-math.inf, 1.7),
            bound="error at the longest over error at 256 at most 1.7; at most 0.2 of the error without prefix",
            source="d² + d parameters stand for a prefix of any length",
        ),
        Claim(
            "long_prefix_converges",
            "Gradient descent on an over-parameterized prefix brings the loss as low as one likes",
            measured=converged,
            holds=converged <= 1e-6,
            limits=(-math.inf, 1e-6),
            bound="final over initial loss at most 1e-6 for the longest prefix",
            source="convergence guarantee for an ultra-long prefix, in the stylized setting",
        ),
        Claim(
            "short_prefix_cannot",
            "A short prefix stalls, and its kernel is singular",
            measured=stalled,
            holds=stalled >= 0.05 and singular <= 1e-9 and bool(result.min_eigenvalue[-1] > 1e-3),
            limits=(0.05, math.inf),
            bound="final over initial loss at least 0.05 at m = 4; "
            "least eigenvalue of K/m 0 there, above 1e-3 for the longest",
            source="the guarantee asks for a long prefix and a positive definite kernel",
        ),
        Claim(
            "lazy_prefix",
            "In a long prefix each vector moves by about 1/m",
            measured=exponent,
            holds=-1.2 <= exponent <= -0.6,
            limits=(-1.2, -0.6),
            bound="log-log slope of the largest movement in [-1.2, -0.6] for m >= 32",
            source="neural tangent kernel regime: the vectors stay near their start",
        ),
        Claim(
            "ntk_adapts",
            "NTK-Attention adapts a frozen transformer beyond what its head can",
            measured=gain,
            holds=gain >= 0.02,
            limits=(0.02, math.inf),
            bound="accuracy at least 0.02 above the head's alone",
            source="experiments on vision, language and mathematics",
        ),
    ]


def _at(sizes: Sequence[int], values: np.ndarray, size: int) -> float:
    return float(values[sizes.index(size)]) if size in sizes else math.nan
