"""The experiment: every variant through both stages, what was measured, and what the paper claims about it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from overparam.core import compute
from overparam.core.claims import Claim
from overparam.core.compute import Device
from overparam.imperfect_data.noisy_labels.masks import compression_decomposition, dropout_mask, nested_distribution
from overparam.imperfect_data.noisy_labels.networks import Networks
from overparam.imperfect_data.noisy_labels.training import (
    CLASSES,
    DTYPE,
    VARIANTS,
    Config,
    NoisyData,
    build,
    co_teach,
    example_losses,
    noisy_data,
    prefix_accuracies,
    stream,
    train,
)

#: Training examples on which the decomposition is compared with brute force, and the sampled masks of Dropout.
DECOMPOSED, SAMPLED_MASKS = 1000, 400


@dataclass(frozen=True)
class Result:
    """What :func:`run` measured, on the CPU; the axis ``v`` is :data:`VARIANTS`, accuracies are on clean test data.

    ``accuracy`` and ``co_accuracy`` hold the start and every epoch of the two stages, at the ``k`` features that
    the network uses (k* for nested, else all), ``val_accuracy`` the same on the validation data. At the end of
    stage 1: ``fitted`` is the accuracy on the noisy training labels, ``by_features`` the accuracy from the first
    1..D features, ``losses`` those of the training examples, ``wrong`` the mask of their wrong labels. ``clean``
    is the share of right labels in what a network learned from in stage 2. ``logistic`` is the accuracy of
    logistic regression on the raw pixels with the same noisy labels. The gaps are relative differences between
    the decomposed objective and brute force.
    """

    config: Config
    accuracy: Float[Tensor, "v networks times"]
    val_accuracy: Float[Tensor, "v networks times"]
    k: Int[Tensor, "v networks"]
    fitted: Float[Tensor, "v networks"]
    by_features: Float[Tensor, "v networks features"]
    losses: Float[Tensor, "v networks n"]
    wrong: Bool[Tensor, " n"]
    co_accuracy: Float[Tensor, "v networks co_times"]
    co_k: Int[Tensor, "v networks"]
    clean: Float[Tensor, "v networks co_epochs"]
    logistic: float
    nested_gap: float
    dropout_gap: float


def run(config: Config = Config(), *, device: Device = None, progress: bool = True) -> Result:
    """Train every variant from the same start on the same noisy labels, then let its pairs co-teach.

    Parameters
    ----------
    config
        The experiment.
    device
        None picks the best one that has float64, in which accuracies and the decomposition are computed.
    progress
        Show a bar for each variant and stage.
    """
    where = compute.device(device, dtype=DTYPE)
    data = noisy_data(config, device=where)
    rows: dict[str, list[Tensor]] = {}
    gaps: dict[str, float] = {}
    for variant in VARIANTS:
        networks = build(config, device=where)
        alone = train(networks, data, config, variant, progress=progress)
        losses, fitted = example_losses(networks, data, alone.k[:, -1])
        by_features = prefix_accuracies(networks, data.test)
        if variant != "baseline":
            gaps[variant] = _decomposition_gap(networks, data, config, variant)
        together = co_teach(networks, data, config, variant, progress=progress)
        assert together.clean is not None
        measured = {
            "accuracy": alone.test,
            "val_accuracy": alone.val,
            "k": alone.k[:, -1],
            "fitted": fitted,
            "by_features": by_features,
            "losses": losses,
            "co_accuracy": together.test,
            "co_k": together.k[:, -1],
            "clean": together.clean,
        }
        for name, value in measured.items():
            rows.setdefault(name, []).append(value.cpu())
    return Result(
        config=config,
        wrong=data.wrong.cpu(),
        logistic=_logistic_accuracy(data),
        nested_gap=gaps["nested"],
        dropout_gap=gaps["dropout"],
        **{name: torch.stack(values) for name, values in rows.items()},
    )


def _decomposition_gap(networks: Networks, data: NoisyData, config: Config, variant: str) -> float:
    """How far bias² + variance is from brute force, relatively: all D prefixes, or sampled Dropout masks."""
    with torch.no_grad():
        z = networks.extract(data.x[:DECOMPOSED])[0].double()
        weight, bias = (part[0].double() for part in networks.classifier())
    y = functional.one_hot(data.labels[:DECOMPOSED], CLASSES) - bias

    def objective(mask: Tensor) -> Tensor:
        return (y - (mask * z) @ weight.mT).square().sum(1).mean()

    if variant == "nested":
        dist = nested_distribution(config.features, config.nested_std).to(z.device)
        parts = compression_decomposition(z, weight, y, dist=dist)
        prefixes = torch.ones(len(dist), len(dist), dtype=z.dtype, device=z.device).tril()
        brute = torch.stack([p * objective(mask) for p, mask in zip(dist, prefixes, strict=True)]).sum()
    else:
        parts = compression_decomposition(z, weight, y, dropout=config.dropout)
        draws = stream(config, "sampling")
        masks = (dropout_mask(z.shape, config.dropout, generator=draws).to(z) for _ in range(SAMPLED_MASKS))
        brute = torch.stack([objective(mask) for mask in masks]).mean()
    return float((sum(parts) / brute - 1).abs())


def _logistic_accuracy(data: NoisyData) -> float:
    from sklearn.linear_model import LogisticRegression

    x, test = (images.flatten(1).cpu().numpy() for images in (data.x, data.test.x))
    model = LogisticRegression(max_iter=1000).fit(x, data.labels.cpu().numpy())
    return float(model.score(test, data.test.y.cpu().numpy()))


# --- What it claims ---------------------------------------------------------------------------------------------


def claims(result: Result) -> list[Claim]:
    """The chapter's seven claims, decided on one result; accuracies are means over the single networks."""
    curve = result.accuracy[0].mean(0)
    lost, fitted = float(curve.max() - curve[-1]), float(result.fitted[0].mean())
    baseline, dropout, nested = result.accuracy[:, :, -1].mean(1).tolist()
    resists = min(nested, dropout) - baseline
    probe = result.by_features[:, :, result.config.k_probe - 1].mean(1) - result.by_features[:, :, -1].mean(1)
    ordered, unordered = float(probe[2]), float(-probe[0])
    after_baseline, after_dropout, after_nested = result.co_accuracy[:, :, -1].mean(1).tolist()
    boost = after_nested - float(result.co_accuracy[2, :, 0].mean())
    helps = min(after_nested, after_dropout) - after_baseline
    clean = float(result.clean[1:, :, -1].mean(1).min())
    return [
        Claim(
            "baseline_overfits",
            "The plain network fits nearly all of the noisy labels and loses accuracy that it had",
            measured=lost,
            holds=lost >= 0.1 and fitted >= 0.97,
            limits=(0.1, math.inf),
            bound="peak minus final accuracy at least 0.1, noisy labels fitted at least 0.97",
            source="networks memorize noisy labels; CIFAR-10 baseline checkpoint: 84.3 % against 89.1 %",
        ),
        Claim(
            "compression_resists",
            "Both compressions, Dropout and Nested Dropout, end above the plain network",
            measured=resists,
            holds=resists >= 0.05,
            limits=(0.05, math.inf),
            bound="lower of the two at least 0.05 above",
            source="stage 1; ANIMAL-10N: 81.3 % and 81.3 % against 79.4 %",
        ),
        Claim(
            "ordered_features",
            "A few nested features do the whole job, and the plain network's first ones do not",
            measured=ordered,
            holds=ordered >= -0.01 and unordered >= 0.2,
            limits=(-0.01, math.inf),
            bound=f"first {result.config.k_probe}: nested loses at most 0.01, plain at least 0.2",
            source="Nested Dropout orders features; CIFAR-10 checkpoints use 9 and 10 of 512",
        ),
        Claim(
            "co_teaching_boost",
            "Fine-tuning with Co-teaching lifts the nested networks",
            measured=boost,
            holds=boost >= 0.05,
            limits=(0.05, math.inf),
            bound="accuracy rises by at least 0.05",
            source="stage 2; Clothing1M: 73.1 % to 74.9 %",
        ),
        Claim(
            "compression_helps_co_teaching",
            "Co-teaching from compressed networks ends above Co-teaching from plain ones",
            measured=helps,
            holds=helps >= 0.02,
            limits=(0.02, math.inf),
            bound="lower of the two at least 0.02 above",
            source="stage 2; CIFAR-10 checkpoints: 92.2 % from both compressions",
        ),
        Claim(
            "selection_is_clean",
            "What peers hand each other is mostly labelled right",
            measured=clean,
            holds=clean >= 0.88,
            limits=(0.88, math.inf),
            bound="right labels in the last epoch's selections at least 0.88",
            source="small-loss selection, Han et al. (2018)",
        ),
        Claim(
            "bias_variance",
            "The squared loss under masks is bias² + variance: over all prefixes, and over sampled Dropout masks",
            measured=result.nested_gap,
            holds=result.nested_gap <= 1e-9 and result.dropout_gap <= 0.02,
            limits=(-math.inf, 1e-9),
            bound="relative gap at most 1e-9 to all prefixes, 0.02 to 400 sampled masks",
            source="bias-variance decomposition of the objective under compression",
        ),
    ]
