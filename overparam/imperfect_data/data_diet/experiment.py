"""The experiment: score the examples early, train on what the scores keep, and hold the paper's claims against it."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from sklearn.metrics import roc_auc_score
from torch import Tensor

from overparam.core import compute
from overparam.core.claims import Claim
from overparam.core.compute import Device
from overparam.core.fits import rank_correlation as spearman
from overparam.core.progress import track
from overparam.imperfect_data.data_diet.scores import keep_indices
from overparam.imperfect_data.data_diet.training import (
    Config,
    Data,
    Diary,
    build,
    build_other,
    random_subsets,
    train,
    training_data,
)

DTYPE = torch.float64  # of accuracies; networks are float32
#: The shares of the training set at which subsets are compared, beside those of the configuration.
HALF, MOST = 0.5, 0.7
#: The window of the noisy run skips so many times the number of moved labels.
SKIP = 1.2
#: Images that a result keeps of each end of the ranking.
GALLERY = 20


@dataclass(frozen=True)
class Result:
    """What :func:`run` measured, on the CPU: test accuracies of k networks each, and scores of n examples.

    ``pruned`` are the shares thrown away (axis p), ``epochs`` those of the scores (axis e). ``hardest``, ``random``:
    accuracies after pruning with EL2N of ``score_epoch``, and at random. At half pruned: ``easiest``; ``by_el2n``
    and ``by_grand``, the hardest by the score of each epoch; ``by_other``, by EL2N of the other architecture;
    ``by_forgetting``. In the noisy run: ``noisy_full``, ``noisy_hardest``, ``noisy_random``, ``noisy_window``, the
    mask ``moved``, the mean ``noisy_el2n``, and ``offset`` and ``kept``, the window's first place and length.
    ``gallery`` has the images with the lowest and the highest scores and the highest ones of the noisy run,
    ``gallery_labels`` the labels that the networks were given, ``gallery_moved`` whether those had been moved.
    """

    config: Config
    pruned: Float[Tensor, " p"]
    epochs: Int[Tensor, " e"]
    full: Float[Tensor, " k"]
    hardest: Float[Tensor, "p j"]
    random: Float[Tensor, "p j"]
    easiest: Float[Tensor, " j"]
    by_el2n: Float[Tensor, "e j"]
    by_grand: Float[Tensor, "e j"]
    by_other: Float[Tensor, " j"]
    by_forgetting: Float[Tensor, " j"]
    el2n: Float[Tensor, "e k n"]
    grand: Float[Tensor, "e k n"]
    other_el2n: Float[Tensor, "k n"]
    forgetting: Float[Tensor, "k n"]
    input_norm: Float[Tensor, " n"]
    noisy_full: Float[Tensor, " k"]
    noisy_hardest: Float[Tensor, " j"]
    noisy_random: Float[Tensor, " j"]
    noisy_window: Float[Tensor, " j"]
    noisy_el2n: Float[Tensor, " n"]
    moved: Bool[Tensor, " n"]
    offset: int
    kept: int
    gallery: Float[Tensor, "3 g ..."]
    gallery_labels: Int[Tensor, "3 g"]
    gallery_moved: Bool[Tensor, "3 g"]


def run(config: Config = Config(), *, device: Device = None, progress: bool = True) -> Result:
    """Train on everything and keep a diary, then train from the same starts on what each score keeps.

    Parameters
    ----------
    config
        The experiment.
    device
        None picks the best one that has float64, in which accuracies are computed.
    progress
        Show a bar over the trainings.
    """
    where = compute.device(device, dtype=DTYPE)
    data, noisy = (training_data(config, noisy=flag, device=where) for flag in (False, True))
    own, noisy_own, other = Diary(), Diary(), Diary()
    full = train(build(config, device=where), data, config, diary=own, progress=progress, label="full")
    noisy_full = train(build(config, device=where), noisy, config, diary=noisy_own, progress=progress, label="noisy")
    # The other architecture lends its scores alone, so its training ends there.
    short = {"epochs": config.score_epoch, "progress": progress, "label": "other"}
    train(build_other(config, device=where), data, config, diary=other, **short)

    early = config.score_epochs.index(config.score_epoch)
    el2n, grand, other_el2n, forgetting, noisy_el2n = (
        scores.cpu()
        for scores in (
            torch.stack(own.el2n),
            torch.stack(own.grand),
            other.el2n[-1],
            own.forgetting(),
            noisy_own.el2n[early].mean(0),
        )
    )
    pruned = sorted({*config.prune, HALF, MOST})
    kept, offset = kept_after(config, config.noise_prune), window_offset(config)
    subsets = _by_rule(config, pruned, el2n[early].mean(0)) | _by_score(config, el2n, grand, other_el2n, forgetting)
    trainings = [(name, data, subset) for name, subset in subsets.items()]
    trainings += [(name, noisy, subset) for name, subset in _of_noisy(config, noisy_el2n).items()]
    found = {key: retrain(examples, config, subset) for key, examples, subset in track(trainings, progress, "subsets")}
    found["hardest", HALF] = found["el2n", early]

    def rows(name: str, keys: Iterable[float]) -> Tensor:
        return torch.stack([found[name, key] for key in keys])

    return Result(
        config=config,
        pruned=torch.tensor(pruned, dtype=DTYPE),
        epochs=torch.tensor(config.score_epochs),
        full=full.cpu(),
        hardest=rows("hardest", pruned),
        random=rows("random", pruned),
        easiest=found["easiest", HALF],
        by_el2n=rows("el2n", range(len(el2n))),
        by_grand=rows("grand", range(len(grand))),
        by_other=found["other", HALF],
        by_forgetting=found["forgetting", HALF],
        el2n=el2n,
        grand=grand,
        other_el2n=other_el2n,
        forgetting=forgetting,
        input_norm=data.x.flatten(1).norm(dim=1).cpu(),
        noisy_full=noisy_full.cpu(),
        noisy_hardest=found["noisy_hardest", kept],
        noisy_random=found["noisy_random", kept],
        noisy_window=found["noisy_window", kept],
        noisy_el2n=noisy_el2n,
        moved=noisy.moved.cpu(),
        offset=offset,
        kept=kept,
        **_gallery(data, noisy, el2n[early].mean(0), noisy_el2n),
    )


def _by_rule(config: Config, pruned: list[float], early: Tensor) -> dict[tuple[str, float], Tensor]:
    """The subsets that differ in their size and rule; that of the hardest half is among those of :func:`_by_score`."""
    sizes = {share: kept_after(config, share) for share in pruned}
    networks = config.retrained or config.replicas
    hardest = {("hardest", share): keep_indices(early, keep) for share, keep in sizes.items() if share != HALF}
    random = {("random", share): random_subsets(config, networks, keep) for share, keep in sizes.items()}
    return hardest | random | {("easiest", HALF): keep_indices(early, sizes[HALF], rule="easiest")}


def _by_score(
    config: Config, el2n: Tensor, grand: Tensor, other: Tensor, forgetting: Tensor
) -> dict[tuple[str, float], Tensor]:
    """The hardest halves by each score: of each epoch, of the other architecture, and by forgetting."""
    scores = {("el2n", i): s for i, s in enumerate(el2n)} | {("grand", i): s for i, s in enumerate(grand)}
    scores |= {("other", HALF): other, ("forgetting", HALF): forgetting}
    return {key: keep_indices(s.mean(0), kept_after(config, HALF)) for key, s in scores.items()}


def _of_noisy(config: Config, scores: Tensor) -> dict[tuple[str, float], Tensor]:
    """The subsets of the noisy run."""
    keep, offset = kept_after(config, config.noise_prune), window_offset(config)
    return {
        ("noisy_hardest", keep): keep_indices(scores, keep),
        ("noisy_random", keep): random_subsets(config, config.retrained or config.replicas, keep),
        ("noisy_window", keep): keep_indices(scores, keep, rule="window", offset=offset),
    }


def retrain(data: Data, config: Config, kept: Int[Tensor, " m"] | Int[Tensor, "j m"]) -> Float[Tensor, " j"]:
    """Test accuracies of networks that start where the full ones did and train on ``kept`` alone; on the CPU."""
    networks = build(config, config.retrained, device=data.labels.device)
    return train(networks, data, config, kept).cpu()


def kept_after(config: Config, pruned: float) -> int:
    """How many training examples are left after throwing away this share of them, at least one."""
    return max(1, round((1 - pruned) * config.n_train))


def window_offset(config: Config, skipped: float | None = None) -> int:
    """The first place of a window that skips this share of the hardest examples, by default 1.2 times the noise."""
    skipped = SKIP * config.noise if skipped is None else skipped
    return max(0, config.n_train - kept_after(config, config.noise_prune) - round(skipped * config.n_train))


def _gallery(data: Data, noisy: Data, early: Tensor, noisy_el2n: Tensor) -> dict[str, Tensor]:
    """The ends of both rankings, from the lowest score up and from the highest down."""
    size = min(GALLERY, len(early))
    ascending, noisy_ascending = (scores.argsort(stable=True) for scores in (early, noisy_el2n))
    ends = torch.stack([ascending[:size], ascending[-size:].flip(0), noisy_ascending[-size:].flip(0)])
    labels = torch.stack([data.labels.cpu()[ends[0]], data.labels.cpu()[ends[1]], noisy.labels.cpu()[ends[2]]])
    moved = torch.stack([torch.zeros_like(ends[0], dtype=torch.bool)] * 2 + [noisy.moved.cpu()[ends[2]]])
    return {
        "gallery": (data.x[ends.to(data.x.device)] + data.mean).cpu(),
        "gallery_labels": labels,
        "gallery_moved": moved,
    }


# --- What it claims ---------------------------------------------------------------------------------------------


def claims(result: Result) -> list[Claim]:
    """The chapter's eight claims, decided on one result; accuracies are means over the networks."""
    config = result.config
    half, most = (result.pruned.tolist().index(share) for share in (HALF, MOST))
    early = config.score_epochs.index(config.score_epoch)
    by_el2n, by_grand = result.by_el2n.mean(1), result.by_grand.mean(1)
    epoch_0, epoch_1 = (_at(by_el2n, result.epochs, epoch) for epoch in (0, 1))
    random = float(result.random[half].mean())
    own = float(by_el2n[early])
    enough = own - float(result.full.mean())
    gain = float(result.hardest[most].mean() - result.random[most].mean())
    one, zero = epoch_1 - own, random - epoch_0
    grand_init = random - _at(by_grand, result.epochs, 0)
    agreement = spearman(result.el2n[early].mean(0), result.grand[early].mean(0))
    averaged = reproducibility(result.el2n[early])
    found = auroc(result.noisy_el2n, result.moved)
    window = float(result.noisy_window.mean() - result.noisy_hardest.mean())
    transfer = float(result.by_other.mean()) - own
    return [
        Claim(
            "half_is_enough",
            "The hardest half by early EL2N trains as well as everything",
            measured=enough,
            holds=enough >= -0.005,
            limits=(-0.005, math.inf),
            bound="accuracy on the hardest half minus accuracy on everything at least -0.005",
            source="abstract: half of CIFAR-10 pruned with slightly better test accuracy",
        ),
        Claim(
            "beats_random",
            "At 70 % pruned the score beats a random subset",
            measured=gain,
            holds=gain >= 0.01,
            limits=(0.01, math.inf),
            bound="accuracy on the hardest minus on random 30 % at least 0.01",
            source="the paper's baseline of random subsets",
        ),
        Claim(
            "one_epoch_suffices",
            "One epoch of training is enough for the score; none at all is not",
            measured=one,
            holds=one >= -0.01 and zero >= 0.05,
            limits=(-0.01, math.inf),
            bound="halves by EL2N: epoch 1 at least the score epoch's - 0.01, epoch 0 at least 0.05 below random",
            source="abstract: a few epochs into training",
        ),
        Claim(
            "grand_init_fails",
            "A correction of the paper: GraNd at initialization is worse than a random subset",
            measured=grand_init,
            holds=grand_init >= 0.01,
            limits=(0.01, math.inf),
            bound="accuracy on a random half minus on the half by GraNd at epoch 0 at least 0.01",
            source="Kirsch (2023), against Paul et al., whose result he traces to a bug in restoring checkpoints",
        ),
        Claim(
            "el2n_is_grand",
            "EL2N ranks as GraNd does once training has begun",
            measured=agreement,
            holds=agreement >= 0.95,
            limits=(0.95, math.inf),
            bound="rank correlation of the two, each averaged over the networks, at least 0.95",
            source="EL2N as the approximation of GraNd",
        ),
        Claim(
            "averaging",
            "Averaging over initializations makes the ranking reproducible",
            measured=averaged,
            holds=averaged >= 0.05,
            limits=(0.05, math.inf),
            bound="rank correlation of two half ensembles minus that of single networks at least 0.05",
            source="abstract: scores averaged over several weight initializations; the paper takes 10",
        ),
        Claim(
            "finds_noise",
            "Mislabelled examples have the highest scores, so the top must be skipped",
            measured=window,
            holds=found >= 0.97 and window >= 0.03,
            limits=(0.03, math.inf),
            bound="AUROC of EL2N for moved labels at least 0.97, window at least 0.03 above hardest",
            source="the paper's experiment with randomized labels and an offset",
        ),
        Claim(
            "transfers",
            "Scores of another, smaller architecture serve as well",
            measured=transfer,
            holds=transfer >= -0.01,
            limits=(-0.01, math.inf),
            bound="accuracy on the half by the other network's scores minus by its own at least -0.01",
            source="abstract: scores from one architecture generalize to other configurations",
        ),
    ]


def auroc(scores: Float[Tensor, " n"], mask: Bool[Tensor, " n"]) -> float:
    """The chance that a masked example scores above another one; NaN where there is only one kind."""
    if mask.all() or not mask.any():
        return math.nan
    return float(roc_auc_score(mask.numpy(), scores.double().numpy()))


def reproducibility(scores: Float[Tensor, "k n"]) -> float:
    """How much better the means of two halves of the networks agree in rank than single networks do; NaN for one."""
    k = len(scores)
    if k < 2:
        return math.nan
    halves = spearman(scores[: k // 2].mean(0), scores[k // 2 :].mean(0))
    return halves - float(np.mean([spearman(scores[i], scores[j]) for i, j in combinations(range(k), 2)]))


def _at(accuracies: Tensor, epochs: Tensor, epoch: int) -> float:
    found = accuracies[epochs == epoch]
    return float(found[0]) if len(found) else math.nan
