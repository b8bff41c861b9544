"""The experiment: every method on the same replicas, what was measured, and what the paper claims about it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from overparam.core import compute
from overparam.core.claims import Claim
from overparam.core.compute import Device
from overparam.imperfect_data.class_imbalance.method import multiclass_auc, threshold
from overparam.imperfect_data.class_imbalance.networks import Networks
from overparam.imperfect_data.class_imbalance.training import (
    CLASSES,
    Config,
    ImbalancedData,
    build,
    class_sizes,
    curve_steps,
    imbalanced_data,
    per_class_accuracy,
    train,
    training_indices,
    tune_head,
)

DTYPE = torch.float64  # of posteriors and scores; networks train in float32
#: What is done to the training set; the axis ``m`` of :class:`Result`.
VARIANTS = ("baseline", "oversample", "undersample")


@dataclass(frozen=True)
class Result:
    """What :func:`run` measured on the balanced test set, on the CPU.

    Axes: m is :data:`VARIANTS`, r is ``config.rhos``, k the replicas, t the points of a curve. At ratio 1 there is
    nothing to resample, and the three variants are one. The scores of ``threshold_*`` are the posteriors divided by
    the prior of the *imbalanced* set, whatever the training set was: ``threshold_auc`` ranks by them as they are,
    ``normalized_auc`` after dividing each example's by their sum. ``two_phase_*`` start from over- and from
    undersampling, ``partial_*`` oversample to ``config.over_level``; both at ``config.rho``, as are the curves
    along training without and with oversampling: ``rare_train`` and ``rare_test`` are the accuracy on the minority
    classes. ``confusion`` holds, for the baseline, thresholding and oversampling at ``config.rho``, the share of
    each class (row) that is taken for each class (column), mean over replicas, each one's minority classes first.
    """

    config: Config
    parameters: int
    minority: Bool[Tensor, "k c"]
    auc: Float[Tensor, "m r k"]
    accuracy: Float[Tensor, "m r k"]
    threshold_auc: Float[Tensor, "m r k"]
    normalized_auc: Float[Tensor, "m r k"]
    threshold_accuracy: Float[Tensor, "m r k"]
    two_phase_auc: Float[Tensor, "2 k"]
    two_phase_accuracy: Float[Tensor, "2 k"]
    partial_auc: Float[Tensor, " k"]
    partial_accuracy: Float[Tensor, " k"]
    curve_steps: Int[Tensor, " t"]
    curve_auc: Float[Tensor, "2 t k"]
    rare_train: Float[Tensor, "2 t k"]
    rare_test: Float[Tensor, "2 t k"]
    confusion: Float[Tensor, "3 c c"]


@dataclass(frozen=True)
class _Run:
    """One method at one ratio: test posteriors at the end, and curves where they were asked for."""

    probs: Float[Tensor, "k n c"]
    curves: Float[Tensor, "3 t k"] | None = None


def run(config: Config = Config(), *, device: Device = None, progress: bool = True) -> Result:
    """Train every method at every ratio from the same start, on subsets that differ in their rare classes alone.

    Parameters
    ----------
    config
        The experiment.
    device
        None picks the best one that has float64, in which scores are computed.
    progress
        Show a bar for each training.
    """
    where = compute.device(device, dtype=DTYPE)
    data = imbalanced_data(config, device=where)
    runs: dict[tuple[str, float], _Run] = {}
    two_phase: list[Tensor] = []
    for rho in config.rhos:
        for variant in VARIANTS:
            if rho == 1 and variant != "baseline":
                runs[variant, rho] = runs["baseline", rho]
                continue
            networks = build(config, device=where)
            curves = rho == config.rho and variant != "undersample"
            runs[variant, rho] = _train(networks, data, config, rho, variant, curves=curves, progress=progress)
            if rho == config.rho and variant != "baseline":
                original = training_indices(data, config, rho)
                tune_head(networks, data, original, config, progress=progress, what=f"two-phase after {variant}")
                two_phase.append(networks.probabilities(data.test.x))
    networks = build(config, device=where)
    partial = _train(networks, data, config, config.rho, "oversample", level=config.over_level, progress=progress)
    # Without imbalance there is nothing to resample, and two-phase training has no balanced set to start from.
    two_phase = two_phase or [partial.probs, partial.probs]
    return _measure(data, config, runs, torch.stack(two_phase), partial.probs, networks)


def _train(
    networks: Networks,
    data: ImbalancedData,
    config: Config,
    rho: float,
    variant: str,
    *,
    level: float = 1.0,
    curves: bool = False,
    progress: bool,
) -> _Run:
    method = None if variant == "baseline" else variant
    indices = training_indices(data, config, rho, method=method, level=level)
    points: list[Tensor] = []
    train(
        networks,
        data,
        indices,
        config,
        on_point=(lambda _: points.append(_point(networks, data, config, rho))) if curves else None,
        progress=progress,
        what=f"{variant}, ratio {rho:g}",
    )
    return _Run(networks.probabilities(data.test.x), torch.stack(points, 1) if curves else None)


def _point(networks: Networks, data: ImbalancedData, config: Config, rho: float) -> Float[Tensor, "3 k"]:
    """Test AUC, and the accuracy on the minority classes' training and test images."""
    subset = data.subset(config, rho)
    probs = networks.probabilities(data.test.x)
    seen = per_class_accuracy(networks.probabilities(data.pool.x, subset), data.pool.y[subset])
    recalls = (seen.cpu(), per_class_accuracy(probs, data.test.y).cpu())
    rare = [(recall * data.minority).sum(1) / data.minority.sum(1) for recall in recalls]
    return torch.stack([_aucs(probs, data.test.y), *rare])


def _measure(
    data: ImbalancedData,
    config: Config,
    runs: dict[tuple[str, float], _Run],
    two_phase: Float[Tensor, "2 k n c"],
    partial: Float[Tensor, "k n c"],
    networks: Networks,
) -> Result:
    y = data.test.y
    probs = torch.stack([torch.stack([runs[variant, rho].probs for rho in config.rhos]) for variant in VARIANTS])
    scores = torch.empty_like(probs)
    for r, rho in enumerate(config.rhos):
        for k, sizes in enumerate(class_sizes(data, config, rho)):
            scores[:, r, k] = threshold(probs[:, r, k], sizes, normalize=False)
    curves = torch.stack([_curves(runs["baseline", config.rho]), _curves(runs["oversample", config.rho])])
    at = config.rhos.index(config.rho)
    shown = torch.stack([probs[0, at], scores[0, at], probs[1, at]])
    return Result(
        config=config,
        parameters=sum(p.numel() for p in networks.parameters()) // config.replicas,
        minority=data.minority,
        auc=_aucs(probs, y),
        accuracy=_accuracies(probs, y),
        threshold_auc=_aucs(scores, y),
        normalized_auc=_aucs(scores / scores.sum(-1, keepdim=True), y),
        threshold_accuracy=_accuracies(scores, y),
        two_phase_auc=_aucs(two_phase, y),
        two_phase_accuracy=_accuracies(two_phase, y),
        partial_auc=_aucs(partial, y),
        partial_accuracy=_accuracies(partial, y),
        curve_steps=torch.tensor(curve_steps(config)),
        curve_auc=curves[:, 0],
        rare_train=curves[:, 1],
        rare_test=curves[:, 2],
        confusion=torch.stack([_confusion(each, y, data.minority) for each in shown]),
    )


def _curves(run: _Run) -> Float[Tensor, "3 t k"]:
    assert run.curves is not None
    return run.curves


def _aucs(scores: Float[Tensor, "*batch n c"], labels: Int[Tensor, " n"]) -> Float[Tensor, "*batch"]:
    flat = [multiclass_auc(each, labels) for each in scores.flatten(0, -3)]
    return torch.tensor(flat, dtype=DTYPE).view(scores.shape[:-2])


def _accuracies(scores: Float[Tensor, "*batch n c"], labels: Int[Tensor, " n"]) -> Float[Tensor, "*batch"]:
    return (scores.max(-1).indices == labels).double().mean(-1).cpu()


def _confusion(
    scores: Float[Tensor, "k n c"], labels: Int[Tensor, " n"], minority: Bool[Tensor, "k c"]
) -> Float[Tensor, "c c"]:
    """Shares of each true class by decision, minority classes first, mean over the networks."""
    labels, decisions = labels.cpu(), scores.max(-1).indices.cpu()
    total = torch.zeros(CLASSES, CLASSES, dtype=DTYPE)
    for decided, rare in zip(decisions, minority, strict=True):
        place = (~rare).to(torch.uint8).argsort(stable=True).argsort()
        cells = (place[labels] * CLASSES + place[decided]).bincount(minlength=CLASSES**2)
        matrix = cells.view(CLASSES, CLASSES).double()
        total += matrix / matrix.sum(1, keepdim=True)
    return total / len(decisions)


# --- What it claims ---------------------------------------------------------------------------------------------


def claims(result: Result) -> list[Claim]:
    """The chapter's seven claims, decided on one result; all numbers are means over the replicas."""
    at = result.config.rhos.index(result.config.rho)
    baseline_auc, over_auc, under_auc = result.auc[:, at].mean(1).tolist()
    baseline_accuracy, _, under_accuracy = result.accuracy[:, at].mean(1).tolist()
    over_then_tuned, under_then_tuned = result.two_phase_auc.mean(1).tolist()
    by_rho = result.auc[0].mean(1).numpy()
    harm = float(by_rho[0] - by_rho[at])
    falling = len(by_rho) > 1 and bool((np.diff(by_rho) < 0).all())
    helps = over_auc - baseline_auc
    dominates = over_auc - max(under_auc, under_then_tuned)
    repaired = float(result.threshold_accuracy[0, at].mean()) - baseline_accuracy
    moved = float((result.threshold_auc[0, at] - result.auc[0, at]).abs().max())
    completely = over_auc - float(result.partial_auc.mean())
    curve = result.curve_auc[1].mean(1)
    decay = float(curve.max() - curve[-1])
    given_back = under_accuracy - float(result.two_phase_accuracy[1].mean())
    kept = over_auc - over_then_tuned
    return [
        Claim(
            "imbalance_hurts",
            "The ranking of the network trained as it is gets worse as the ratio of imbalance grows",
            measured=harm,
            holds=harm >= 0.02 and falling,
            limits=(0.02, math.inf),
            bound="AUC at least 0.02 lower at the compared ratio, and strictly falling over the ratios",
            source="Section 4.1, Figures 3 and 4; ImageNet: 99.4, 96.3, 90.7",
        ),
        Claim(
            "oversampling_helps",
            "Oversampling to full balance lifts the ranking",
            measured=helps,
            holds=helps >= 0.015,
            limits=(0.015, math.inf),
            bound="AUC at least 0.015 above the baseline",
            source="Section 4.1, Figure 3 (MNIST and CIFAR-10)",
        ),
        Claim(
            "oversampling_dominates",
            "It beats undersampling and two-phase training from undersampling",
            measured=dominates,
            holds=dominates >= 0.005,
            limits=(0.005, math.inf),
            bound="AUC at least 0.005 above the better of the two",
            source="Section 4.1, Figures 3 and 4",
        ),
        Claim(
            "thresholding_restores_accuracy",
            "Dividing by the prior repairs the accuracy of the unbalanced network and leaves its ranking alone",
            measured=repaired,
            holds=repaired >= 0.05 and moved <= 1e-4,
            limits=(0.05, math.inf),
            bound="accuracy at least 0.05 higher, no AUC moved by more than 1e-4",
            source="Section 4.4, Figure 6",
        ),
        Claim(
            "oversample_completely",
            "Oversampling should remove the imbalance altogether",
            measured=completely,
            holds=completely >= 0,
            limits=(0, math.inf),
            bound="AUC at full level at least that at the partial level",
            source="Section 4.5, Figure 7a",
        ),
        Claim(
            "oversampling_does_not_overfit",
            "With oversampling the ranking does not decay along training, however often a rare image is repeated",
            measured=decay,
            holds=decay <= 0.01,
            limits=(-math.inf, 0.01),
            bound="best minus final AUC at most 0.01",
            source="Section 4.6, Figure 8",
        ),
        Claim(
            "two_phase_gives_back",
            "Tuning the last layer on the unbalanced data gives back what balance had won",
            measured=given_back,
            holds=given_back >= 0.005 and kept >= -0.001,
            limits=(0.005, math.inf),
            bound="accuracy at least 0.005 below undersampling, AUC at most 0.001 above oversampling",
            source="Section 4.1: between the baseline and the sampling it starts from",
        ),
    ]
