"""One network with and without its cures, another in three precisions, and what they show."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from overparam.core import checks, compute
from overparam.core.claims import Claim
from overparam.core.compute import Device
from overparam.core.progress import track
from overparam.generalization.softmax_collapse.losses import stablemax_cross_entropy, zero_gradient_share
from overparam.generalization.softmax_collapse.tables import (
    OPERATIONS,
    History,
    PairMLP,
    check_fraction,
    check_hidden,
    modular_table,
    split,
    train,
)

PRECISIONS = ("float16", "float32", "float64")


@dataclass(frozen=True)
class Config:
    """Reader scale: about fifteen CPU-seconds. Every number of the experiment is here."""

    seed: int = 0
    operation: str = "add"  # modulo p
    # Part A: does it generalize, and when?
    p: int = 59  # modulus
    hidden: tuple[int, ...] = (128, 128)  # hidden widths
    fraction: float = 0.4  # share of the table to train on
    perp_steps: int = 400  # with perpGrad
    plain_steps: int = 400  # with nothing
    plain_precision: str = "float32"  # of the loss there
    decay_steps: int = 900  # with weight decay
    weight_decay: float = 1.0  # AdamW's, per step and learning rate
    # Part B: how does it collapse?
    collapse_p: int = 31  # modulus
    collapse_hidden: tuple[int, ...] = (100, 100)  # hidden widths
    collapse_fraction: float = 0.5  # share of the table to train on
    collapse_lr: float = 0.01  # step size of the three softmax runs
    float16_steps: int = 800  # with the loss in each precision
    float32_steps: int = 2400
    float64_steps: int = 1800
    stablemax_steps: int = 1000
    # Part C: factors on the final float32 logits of part B, the last being the one that the claim is about.
    scales: tuple[float, ...] = (0.25, 1.0, 4.0)
    lr: float = 0.01  # step size of all other runs
    beta1: float = 0.9  # Adam's memory of gradients
    beta2: float = 0.99  # and of their squares
    stablemax_beta2: float = 0.999  # the same, for StableMax
    eps: float = 1e-25  # Adam's; from 1e-6 on it slows training down before the loss collapses
    every: int = 25  # steps between records

    def __post_init__(self) -> None:
        checks.integer(0, seed=self.seed)
        checks.one_of(tuple(OPERATIONS), operation=self.operation)
        checks.one_of(PRECISIONS, plain_precision=self.plain_precision)
        checks.integer(2, p=self.p, collapse_p=self.collapse_p)
        check_hidden(hidden=self.hidden, collapse_hidden=self.collapse_hidden)
        check_fraction(fraction=self.fraction, collapse_fraction=self.collapse_fraction)
        checks.integer(1, perp_steps=self.perp_steps, plain_steps=self.plain_steps, decay_steps=self.decay_steps)
        checks.integer(1, float16_steps=self.float16_steps, float32_steps=self.float32_steps)
        checks.integer(1, float64_steps=self.float64_steps, stablemax_steps=self.stablemax_steps, every=self.every)
        checks.positive(lr=self.lr, collapse_lr=self.collapse_lr, eps=self.eps)
        checks.non_negative(weight_decay=self.weight_decay)
        checks.probability(below_one=True, beta1=self.beta1, beta2=self.beta2, stablemax_beta2=self.stablemax_beta2)
        if not self.scales:
            raise ValueError(f"scales must name at least one factor, got {self.scales}")
        for scale in self.scales:
            checks.positive(scales=scale)


FULL = Config(
    p=113,
    hidden=(200, 200),
    perp_steps=300,
    plain_steps=80_000,
    plain_precision="float64",
    decay_steps=3000,
    collapse_p=113,
    collapse_hidden=(200, 200),
    collapse_fraction=0.4,
    collapse_lr=5e-4,
    float16_steps=20_000,
    float32_steps=20_000,
    float64_steps=20_000,
    stablemax_steps=80_000,
)

#: The share of collapsed samples from which a run counts as collapsed.
ONSET = 0.1
#: Steps after which a run has fitted its training set, and its alignment counts.
FITTED = 200


@dataclass(frozen=True)
class Result:
    """What :func:`run` measured.

    ``perp``, ``plain`` and ``decay`` are the runs of part A: with perpGrad, with nothing, with weight decay.
    ``float16``, ``float32``, ``float64`` and ``stablemax`` are those of part B. ``zero_softmax`` and
    ``zero_stablemax`` are the shares of correctly classified samples whose correct logit has no gradient, at each of
    ``config.scales``.
    """

    config: Config
    perp: History
    plain: History
    decay: History
    float16: History
    float32: History
    float64: History
    stablemax: History
    zero_softmax: Float[Tensor, " scales"]
    zero_stablemax: Float[Tensor, " scales"]


def run(config: Config = Config(), *, device: Device = None, progress: bool = True) -> Result:
    """Train every network and probe one, in float32 with losses in the precision under study.

    Parameters
    ----------
    config
        The experiment.
    device
        None picks the best device that has float64.
    progress
        Show a bar.
    """
    where = compute.device(device, dtype=torch.float64)
    large, small = _tasks(config, where)
    softmax = {"lr": config.lr, "betas": (config.beta1, config.beta2)}
    collapsing = {**softmax, "lr": config.collapse_lr}
    stable = {**softmax, "betas": (config.beta1, config.stablemax_beta2), "loss": "stablemax"}
    plain_precision = getattr(torch, config.plain_precision)
    plan: dict[str, tuple[_Task, dict[str, Any]]] = {
        "perp": (large, {**softmax, "steps": config.perp_steps, "perp": True}),
        "plain": (large, {**softmax, "steps": config.plain_steps, "precision": plain_precision}),
        "decay": (large, {**softmax, "steps": config.decay_steps, "weight_decay": config.weight_decay}),
        "float16": (small, {**collapsing, "steps": config.float16_steps, "precision": torch.float16}),
        "float32": (small, {**collapsing, "steps": config.float32_steps}),
        "float64": (small, {**collapsing, "steps": config.float64_steps, "precision": torch.float64}),
        "stablemax": (small, {**stable, "steps": config.stablemax_steps}),
    }
    models = {name: task.model() for name, (task, _) in plan.items()}
    histories = {
        name: train(models[name], *task.data, **arguments, eps=config.eps, every=config.every)
        for name, (task, arguments) in track(plan.items(), progress, "softmax collapse", total=len(plan))
    }
    pairs, labels, train_index, _ = small.data
    with torch.no_grad():
        logits = models["float32"](pairs[train_index])
    scaled = [scale * logits for scale in config.scales]
    y = labels[train_index]
    return Result(
        config=config,
        **histories,
        zero_softmax=torch.tensor([zero_gradient_share(z, y) for z in scaled]),
        zero_stablemax=torch.tensor([zero_gradient_share(z, y, stablemax_cross_entropy) for z in scaled]),
    )


@dataclass(frozen=True)
class _Task:
    """A table with its split, and the start that all networks of a part share."""

    data: tuple[Tensor, Tensor, Tensor, Tensor]
    hidden: tuple[int, ...]
    p: int
    seed: int
    where: torch.device

    def model(self) -> PairMLP:
        return PairMLP(self.p, self.hidden, compute.generator(self.seed)).to(self.where)


def _tasks(config: Config, where: torch.device) -> tuple[_Task, _Task]:
    seeds = compute.seeds(config.seed, 4)
    large = _task(config.operation, config.p, config.hidden, config.fraction, seeds[:2], where)
    sizes = (config.collapse_p, config.collapse_hidden, config.collapse_fraction)
    return large, _task(config.operation, *sizes, seeds[2:], where)


def _task(
    operation: str, p: int, hidden: tuple[int, ...], fraction: float, seeds: list[int], where: torch.device
) -> _Task:
    pairs, labels = modular_table(p, operation)
    train_index, test_index = split(len(labels), fraction, compute.generator(seeds[0]))
    data = (pairs.to(where), labels.to(where), train_index.to(where), test_index.to(where))
    return _Task(data, hidden, p, seeds[1], where)


# --- What it claims ---------------------------------------------------------------------------------------------


def claims(result: Result) -> list[Claim]:
    """The chapter's seven claims, decided on one result."""
    perp, plain, float32, stable = result.perp, result.plain, result.float32, result.stablemax
    last, plain_last = float(perp.test[-1]), float(plain.test[-1])
    speed = _ratio(_or_limit(result.decay.first("test", 0.95), result.decay), perp.first("test", 0.95))
    half, single, double = (h.first("collapse", ONSET) for h in (result.float16, float32, result.float64))
    order, later = _ratio(single, half), double == -1 or double > 1.5 * single
    aligned = _alignment(float32)
    probe, stable_probe = float(result.zero_softmax[-1]), float(result.zero_stablemax[-1])
    zero, softmax_zero = float(stable.zero.max()), float(float32.zero.max())
    falling = bool(stable.loss[-1] < stable.loss[len(stable.loss) // 2] < stable.loss[0])
    collapsed_test, collapsed = float(float32.test[-1]), float(float32.collapse.max())
    return [
        Claim(
            "perp_groks",
            "perpGrad generalizes with no regularization; the same optimizer without it only fits the training set",
            measured=last,
            holds=last > 0.9 and plain_last < 0.1 and bool(plain.train[-1] == 1),
            limits=(0.9, math.inf),
            bound="last test accuracy above 0.9; without perpGrad below 0.1, at training accuracy 1",
            source="Figure 1, perpGrad",
        ),
        Claim(
            "faster_than_decay",
            "perpGrad needs far fewer steps than weight decay",
            measured=speed,
            holds=speed > 2.5,
            limits=(2.5, math.inf),
            bound="steps to 95 % test accuracy, weight decay (or its limit) over perpGrad, above 2.5",
            source="Figure 6; the MLP with weight decay is our control",
        ),
        Claim(
            "collapse_order",
            "The more precise the loss, the later the collapse",
            measured=order,
            holds=order > 1.5 and later,
            limits=(1.5, math.inf),
            bound="onset float32 over float16 above 1.5; float64 never, or over 1.5 times later than float32",
            source="Figure 2",
        ),
        Claim(
            "nlm_alignment",
            "Once the training set is fitted, the gradient points along the weights",
            measured=aligned,
            holds=aligned > 0.65 and bool(abs(float32.cosine[0]) < 0.1),
            limits=(0.65, math.inf),
            bound="max cosine of -gradient and weights after step 200 and before collapse above 0.65; at the start "
            "below 0.1 in size",
            source="naive loss minimization",
        ),
        Claim(
            "zero_gradient",
            "On logits scaled up, float32 softmax has no gradient at the correct class, and StableMax has one",
            measured=probe,
            holds=probe > 0.99 and stable_probe == 0,
            limits=(0.99, math.inf),
            bound="share of zero gradients at 4 times the logits above 0.99; StableMax's 0",
            source="Softmax Collapse; StableMax",
        ),
        Claim(
            "stablemax_keeps_learning",
            "Under StableMax no loss is exactly zero, and the loss keeps falling; under softmax many are",
            measured=zero,
            holds=zero == 0 and falling and softmax_zero > 0.1,
            limits=(0.0, 0.0),
            bound="largest share of zero losses 0, loss lower at the end than half-way; float32 softmax above 0.1",
            source="Figure 1, StableMax",
        ),
        Claim(
            "collapse_no_grok",
            "A run that has collapsed has not generalized",
            measured=collapsed_test,
            holds=collapsed_test < 0.1 and collapsed > 0.3,
            limits=(-math.inf, 0.1),
            bound="last test accuracy below 0.1, largest share of collapsed samples above 0.3",
            source="Figure 2",
        ),
    ]


def _ratio(later: int, sooner: int) -> float:
    """NaN where one of them never came, or the sooner one at the start."""
    return later / sooner if later >= 0 and sooner > 0 else math.nan


def _or_limit(step: int, history: History) -> int:
    return int(history.step[-1]) if step < 0 else step


def _alignment(history: History) -> float:
    """The largest cosine between the fit and the collapse, NaN if nothing was recorded there."""
    onset = history.first("collapse", ONSET)
    between = (history.step > FITTED) & ((history.step < onset) | (onset < 0))
    cosine = history.cosine[between & np.isfinite(history.cosine)]
    return float(cosine.max()) if len(cosine) else math.nan
