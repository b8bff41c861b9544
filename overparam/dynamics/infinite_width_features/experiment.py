"""Features that move, features that do not, and the words that are learned."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from overparam.core import checks, compute, datasets
from overparam.core.claims import Claim
from overparam.core.compute import Device
from overparam.core.fits import slope_or_nan
from overparam.core.progress import track
from overparam.dynamics.infinite_width_features.corpora import analogy_accuracy, analogy_corpus
from overparam.dynamics.infinite_width_features.parametrizations import (
    ABCMLP,
    Parametrization,
    mup,
    ntk,
    sgd,
    shift,
    standard,
)
from overparam.dynamics.infinite_width_features.word2vec import (
    cross_entropy,
    finite_factors,
    limit_factors,
    ntk_limit_word2vec,
    train_word2vec,
    word2vec_loss,
)

DTYPE = torch.float64  # the shift symmetry is exact, and is tested to rounding


@dataclass(frozen=True)
class Config:
    """Reader scale: some ten CPU-seconds. Every number of the experiment is here."""

    seed: int = 0
    hidden: int = 2  # L, hidden layers of the MLPs
    widths: tuple[int, ...] = (128, 256, 512, 1024, 2048)  # n of the MLPs
    nets: int = 2  # MLPs for each width and parametrization
    samples: int = 64  # digits
    eta: float = 0.5  # rate of the MLPs
    steps: int = 5  # of the MLPs; the standard parametrization takes one
    bases: int = 8
    attributes: int = 6  # the grid of words is bases x attributes
    contexts: int = 8  # context words for each base and attribute
    noise: float = 0.2  # weight of what is a word's own
    w2v_eta: float = 20.0  # rate of muP; stable while it times the most frequent word's share is well below 1
    w2v_steps: int = 50
    w2v_widths: tuple[int, ...] = (8, 16, 32, 64, 256, 1024)
    w2v_nets: int = 3  # for each width, of both kinds
    ntk_eta: float = 100.0  # NTK nets are slower: this rate and these steps bring them to muP's loss
    ntk_steps: int = 150
    ntk_widths: tuple[int, ...] = (16, 64, 256, 1024)

    def __post_init__(self) -> None:
        checks.integer(0, seed=self.seed, w2v_steps=self.w2v_steps, ntk_steps=self.ntk_steps)
        checks.integer(1, hidden=self.hidden, nets=self.nets, samples=self.samples, steps=self.steps)
        checks.integer(1, contexts=self.contexts, w2v_nets=self.w2v_nets)
        checks.integer(2, bases=self.bases, attributes=self.attributes)
        checks.positive(eta=self.eta, w2v_eta=self.w2v_eta, ntk_eta=self.ntk_eta)
        checks.non_negative(noise=self.noise)
        if self.samples > datasets.DIGITS:
            raise ValueError(f"samples must be at most {datasets.DIGITS}, got {self.samples}")
        for name in ("widths", "w2v_widths", "ntk_widths"):
            widths = getattr(self, name)
            for width in widths:
                checks.integer(1, **{name: width})
            checks.increasing(**{name: widths})


#: The rates grow with the grid, because each of its words is rarer.
FULL = Config(
    widths=(128, 256, 512, 1024, 2048, 4096, 8192, 16384),
    nets=8,
    samples=512,
    bases=24,
    attributes=12,
    contexts=16,
    w2v_eta=120.0,
    w2v_widths=(8, 16, 32, 64, 256, 1024, 4096, 16384),
    ntk_eta=600.0,
    ntk_widths=(16, 64, 256, 1024, 4096, 16384),
)

#: The rows of ``feature_motion`` and ``logit_motion``.
NAMES = ("muP", "NTK", "standard")
#: By how much the exponents are shifted for ``shift_gap``.
THETA = 0.4


class Losses(NamedTuple):
    """Final word losses: the muP limit, the NTK limit from f = 0, the widest NTK nets, and the least possible."""

    limit: float
    ntk_limit: float
    ntk_net: float
    floor: float


@dataclass(frozen=True)
class Result:
    r"""What :func:`run` measured.

    ``feature_motion`` and ``logit_motion`` are the root mean square changes of the last hidden preactivation and of
    the logits, averaged over nets: muP and NTK after ``config.steps`` steps, standard (c = 0) after one.
    ``shift_gap`` is the largest change of a trained logit under a shift of the exponents. Accuracies are of
    analogies, a column of ``*_accuracies`` a net; ``gram_gap`` is the relative distance of :math:`A^\top A` to that
    of the limit, ``ntk_motion`` the relative change of A. ``embeddings`` are those of the grid's words in the limit,
    before and after training.
    """

    config: Config
    feature_motion: Float[Tensor, "3 n"]
    logit_motion: Float[Tensor, "3 n"]
    shift_gap: float
    limit_accuracy: float
    initial_accuracy: float
    finite_accuracy: Float[Tensor, " w"]
    finite_accuracies: Float[Tensor, "w k"]
    gram_gap: Float[Tensor, " w"]
    ntk_accuracy: Float[Tensor, " m"]
    ntk_accuracies: Float[Tensor, "m k"]
    ntk_motion: Float[Tensor, " m"]
    losses: Losses
    embeddings: Float[Tensor, "2 h g"]


def run(config: Config = Config(), *, device: Device = None, progress: bool = True) -> Result:
    """Measure how far features move in three parametrizations, then embed words by muP, its limit, and NTK nets.

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
    x, y = (z.to(where) for z in first_digits(config.samples))
    mlp_seed, finite_seed, ntk_seed = compute.seeds(config.seed, 3)
    feature_motion, logit_motion = _motions(config, x, y, mlp_seed, progress)
    P = analogy_corpus(
        config.bases, config.attributes, config.contexts, noise=config.noise, generator=compute.generator(config.seed)
    ).to(where)
    A0, B0 = (z.to(where) for z in limit_factors(P.shape[0], P.shape[1], DTYPE))
    A, B = train_word2vec(A0, B0, P, eta=config.w2v_eta, steps=config.w2v_steps)
    finite_accuracies, gram_gap = _finite_nets(config, P, A, finite_seed, progress)
    ntk_accuracies, ntk_motion, ntk_loss = _ntk_nets(config, P, ntk_seed, progress)
    f = ntk_limit_word2vec(torch.zeros_like(P), P, eta=config.ntk_eta, steps=config.ntk_steps)
    conditional = P / P.sum(1, keepdim=True)
    grid = config.bases * config.attributes
    return Result(
        config=config,
        feature_motion=feature_motion,
        logit_motion=logit_motion,
        shift_gap=_shift_gap(config, x, y),
        limit_accuracy=analogy_accuracy(A, config.bases, config.attributes),
        initial_accuracy=analogy_accuracy(A0, config.bases, config.attributes),
        finite_accuracy=finite_accuracies.mean(1),
        finite_accuracies=finite_accuracies,
        gram_gap=gram_gap,
        ntk_accuracy=ntk_accuracies.mean(1),
        ntk_accuracies=ntk_accuracies,
        ntk_motion=ntk_motion,
        losses=Losses(
            limit=word2vec_loss(A, B, P).item(),
            ntk_limit=cross_entropy(f, P).item(),
            ntk_net=ntk_loss,
            floor=-torch.xlogy(P, conditional).sum().item(),
        ),
        embeddings=torch.stack([A0, A])[..., :grid].cpu(),
    )


def first_digits(samples: int) -> tuple[Float[Tensor, "{samples} 64"], Float[Tensor, "{samples} 10"]]:
    """The first digits of scikit-learn's set, each pixel centred, all scaled to unit RMS, and one-hot targets."""
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    x = torch.as_tensor(pixels[:samples], dtype=DTYPE) / 16
    x = x - x.mean(0)
    # A single digit is its own mean; without the floor it would be divided by zero.
    x = x / x.square().mean().sqrt().clamp(min=torch.finfo(DTYPE).tiny)
    return x, functional.one_hot(torch.as_tensor(labels[:samples], dtype=torch.int64), 10).to(DTYPE)


def _motions(config: Config, x: Tensor, y: Tensor, seed: int, progress: bool) -> tuple[Tensor, Tensor]:
    """Feature and logit motion, (3, widths) each; the three parametrizations share every random draw."""
    rules = (mup(config.hidden), config.steps), (ntk(config.hidden), config.steps), (standard(config.hidden), 1)
    streams = torch.tensor(compute.seeds(seed, len(config.widths) * config.nets)).view(-1, config.nets)
    motion = torch.zeros(2, 3, len(config.widths), dtype=DTYPE)
    for i, width in enumerate(track(config.widths, progress, "widths of MLPs")):
        for j, (p, steps) in enumerate(rules):
            nets = [_motion(p, width, stream, x, y, config.eta, steps) for stream in streams[i].tolist()]
            motion[:, j, i] = torch.tensor(nets, dtype=DTYPE).mean(0)
    return motion[0], motion[1]


def _motion(
    p: Parametrization, width: int, seed: int, x: Tensor, y: Tensor, eta: float, steps: int
) -> tuple[float, float]:
    """RMS change of the last hidden preactivation and of the logits."""
    model = _mlp(p, width, seed, x, y)
    with torch.no_grad():
        before = model.preactivations(x)[-2:]
    sgd(model, x, y, eta=eta, steps=steps)
    with torch.no_grad():
        after = model.preactivations(x)[-2:]
    features, logits = ((new - old).square().mean().sqrt().item() for new, old in zip(after, before, strict=True))
    return features, logits


def _mlp(p: Parametrization, width: int, seed: int, x: Tensor, y: Tensor) -> ABCMLP:
    return ABCMLP(x.shape[1], width, y.shape[1], p, generator=compute.generator(seed), dtype=DTYPE).to(x.device)


def _shift_gap(config: Config, x: Tensor, y: Tensor) -> float:
    gaps = []
    for p in (mup(config.hidden), ntk(config.hidden)):
        plain, shifted = (_mlp(q, config.widths[0], config.seed, x, y) for q in (p, shift(p, THETA)))
        for model in (plain, shifted):
            sgd(model, x, y, eta=config.eta, steps=config.steps)
        with torch.no_grad():
            gaps.append((plain(x) - shifted(x)).abs().max().item())
    return max(gaps)


def _finite_nets(config: Config, P: Tensor, A: Tensor, seed: int, progress: bool) -> tuple[Tensor, Tensor]:
    """Analogy accuracy of every muP net, and the mean distance of their Gram matrices to the limit's, by width."""
    generator = compute.generator(seed)
    gram, accuracies, gaps = A.mT @ A, [], []
    for width in track(config.w2v_widths, progress, "widths of muP nets"):
        A0, B0 = _net_batch(width, config.w2v_nets, P, generator)
        An, _ = train_word2vec(A0, B0, P, eta=config.w2v_eta, steps=config.w2v_steps)
        accuracies.append([analogy_accuracy(net, config.bases, config.attributes) for net in An])
        gaps.append(((An.mT @ An - gram).norm(dim=(1, 2)) / gram.norm()).mean().item())
    return torch.tensor(accuracies, dtype=DTYPE), torch.tensor(gaps, dtype=DTYPE)


def _ntk_nets(config: Config, P: Tensor, seed: int, progress: bool) -> tuple[Tensor, Tensor, float]:
    """Analogy accuracy of every NTK net, the mean motion of their embeddings, by width, and the widest ones' loss."""
    generator = compute.generator(seed)
    accuracies, motions, loss = [], [], math.nan
    for width in track(config.ntk_widths, progress, "widths of NTK nets"):
        A0, B0 = _net_batch(width, config.w2v_nets, P, generator)
        scale = math.sqrt(width)
        A, B = train_word2vec(A0, B0, P, eta=config.ntk_eta, steps=config.ntk_steps, output_scale=scale)
        accuracies.append([analogy_accuracy(net, config.bases, config.attributes) for net in A])
        motions.append(((A - A0).norm(dim=(1, 2)) / A0.norm(dim=(1, 2))).mean().item())
        loss = word2vec_loss(A, B, P, scale).mean().item()
    return torch.tensor(accuracies, dtype=DTYPE), torch.tensor(motions, dtype=DTYPE), loss


def _net_batch(width: int, nets: int, P: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    pairs = [finite_factors(width, *P.shape, generator=generator, dtype=DTYPE) for _ in range(nets)]
    A, B = (torch.stack(factors).to(P.device) for factors in zip(*pairs, strict=True))
    return A, B


# --- What it claims ---------------------------------------------------------------------------------------------


#: Widths below this are too narrow for the n^-1/2 of the limit.
ASYMPTOTIC = 64
#: The narrow muP net that the limit is held against.
NARROW = 16


def claims(result: Result) -> list[Claim]:
    """The chapter's seven claims, decided on one result."""
    config, losses = result.config, result.losses
    widths = torch.tensor(config.widths)
    mup_slope = slope_or_nan(widths, result.feature_motion[0])
    ntk_slope = slope_or_nan(widths, result.feature_motion[1])
    standard_slope = slope_or_nan(widths, result.logit_motion[2])
    w2v_widths = torch.tensor(config.w2v_widths)
    wide = w2v_widths >= ASYMPTOTIC
    gram_slope = slope_or_nan(w2v_widths[wide], result.gram_gap[wide])
    narrow = result.finite_accuracy[w2v_widths == NARROW]
    advantage = result.limit_accuracy - float(narrow[0]) if len(narrow) else math.nan
    best_finite = float(result.finite_accuracy.max())
    loss_of_words = result.limit_accuracy - float(result.ntk_accuracy[-1])
    falling = len(result.ntk_accuracy) > 1 and bool((result.ntk_accuracy.diff() < 0).all())
    return [
        Claim(
            "mup_learns_features",
            "In muP the features move by the same amount at every width",
            measured=mup_slope,
            holds=abs(mup_slope) <= 0.1,
            limits=(-0.1, 0.1),
            bound="log-log slope in [-0.1, 0.1]",
            source="r = 0",
        ),
        Claim(
            "ntk_freezes_features",
            "In the NTK parametrization the features move by n^-1/2",
            measured=ntk_slope,
            holds=-0.6 <= ntk_slope <= -0.35,
            limits=(-0.6, -0.35),
            bound="log-log slope in [-0.6, -0.35]",
            source="r = 1/2",
        ),
        Claim(
            "standard_blows_up",
            "In the standard parametrization with a fixed rate one step moves the logits by the order of the width",
            measured=standard_slope,
            holds=standard_slope >= 0.6,
            limits=(0.6, math.inf),
            bound="log-log slope at least 0.6",
            source="r = -1, unstable",
        ),
        Claim(
            "abc_shift",
            "Shifting a and b against each other, and the rate with them, leaves the trained function as it is",
            measured=result.shift_gap,
            holds=result.shift_gap <= 1e-9,
            limits=(-math.inf, 1e-9),
            bound="trained logits change by at most 1e-9",
            source="symmetry of abc-parametrizations",
        ),
        Claim(
            "limit_is_exact",
            "Finite muP nets tend to the limit at the rate n^-1/2 of their random start",
            measured=gram_slope,
            holds=-0.6 <= gram_slope <= -0.4,
            limits=(-0.6, -0.4),
            bound="log-log slope in [-0.6, -0.4] for widths of at least 64",
            source="limit of the linear network with one hidden layer",
        ),
        Claim(
            "limit_beats_finite",
            "The infinitely wide muP network solves more analogies than finite ones",
            measured=advantage,
            holds=advantage >= 0.2 and result.limit_accuracy >= max(0.8, best_finite - 0.02),
            limits=(0.2, math.inf),
            bound="0.2 above width 16; at least 0.8 and within 0.02 of the best finite net",
            source="Word2Vec on text8 and fil9",
        ),
        Claim(
            "ntk_learns_no_words",
            "At equal loss NTK nets lose the analogies as they widen",
            measured=loss_of_words,
            holds=loss_of_words >= 0.6 and falling and losses.ntk_net <= losses.limit + 0.05,
            limits=(0.6, math.inf),
            bound="widest NTK net 0.6 below the limit, falling with width, loss at most 0.05 above",
            source="Word2Vec: the NTK limit is at chance",
        ),
    ]
