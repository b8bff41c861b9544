"""A language model of characters, and the six ways to balance its training, in one batched ensemble."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from overparam.core import checks
from overparam.core.models import mlp_ensemble_forward, mlp_ensemble_init
from overparam.core.progress import track
from overparam.core.training import train_ensemble
from overparam.imperfect_data.upsample_upweight.balancing import cooldown, sample_batch, scalarization_weights
from overparam.imperfect_data.upsample_upweight.corpus import Config, Corpus, stream

VARIANTS = ("proportional", "sampling", "hot", "scalarization", "cooldown", "heat_up")
#: Steps whose batches are drawn at once.
BLOCK = 100


def language_model_init(
    models: int,
    symbols: int,
    languages: int,
    context: int,
    embed: int,
    hidden: int,
    *,
    embed_std: float = 0.25,
    generator: torch.Generator,
) -> list[Tensor]:
    """Stacked parameters of character-level models: a normal embedding and a He-normal MLP of one hidden ReLU layer."""
    embedding = embed_std * torch.randn(models, symbols + languages, embed, generator=generator)
    return [embedding, *mlp_ensemble_init(models, ((context + 1) * embed, hidden, symbols), generator=generator)]


def language_model(parameters: Sequence[Tensor], tokens: Int[Tensor, "#k n c"]) -> Float[Tensor, "k n symbols"]:
    """Logits of the next character from the language and the characters before it, for a batch of models.

    ``tokens`` is one batch for all models or one for each.
    """
    models, vocabulary, _ = parameters[0].shape
    # One lookup for all: the tables stand one below the other, and model k reads from row k * vocabulary on.
    shift = vocabulary * torch.arange(models, device=tokens.device)[:, None, None]
    embedded = functional.embedding(tokens + shift, parameters[0].flatten(0, 1))
    return mlp_ensemble_forward(parameters[1:], embedded.flatten(2))


def character_losses(parameters: Sequence[Tensor], windows: Int[Tensor, "#k n w"]) -> Float[Tensor, "k n"]:
    """Cross-entropy of the last column of every window, in nats."""
    logits = language_model(parameters, windows[..., :-1])
    targets = windows[..., -1].expand(logits.shape[:2])
    return functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none").view_as(targets)


# --- Training ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class History:
    """Losses in nats a character at ``steps``: on held-out names of every domain, on low-resource training names.

    ``snapshot`` holds the parameters of the first variant in the first replica at ``probe_step``.
    """

    steps: Int[Tensor, " t"]
    val: Float[Tensor, "v replicas domains t"]
    train: Float[Tensor, "v replicas t"]
    snapshot: list[Tensor]


def temperatures(variant: str, config: Config) -> list[float]:
    """The sampling temperature of every step: each variant is a :func:`cooldown` between two temperatures.

    Raises
    ------
    ValueError
        If the variant is not one of :data:`VARIANTS`.
    """
    checks.one_of(VARIANTS, variant=variant)
    high, low = {
        "proportional": (1.0, 1.0),
        "sampling": (config.tau, config.tau),
        "hot": (config.tau_high, config.tau_high),
        "scalarization": (1.0, 1.0),
        "cooldown": (config.tau, 1.0),
        "heat_up": (1.0, config.tau),
    }[variant]
    return [cooldown(t, config.steps, high=high, low=low, switch=config.switch) for t in range(config.steps)]


def batches(corpus: Corpus, config: Config, variants: Sequence[str]) -> Iterator[Int[Tensor, "k b"]]:
    """Every step's batch for every model: places in all training windows, replica by replica, domain by domain."""
    draws, start = [], 0
    for replica in range(config.replicas):
        sizes = corpus.sizes(replica)
        for variant in variants:
            generator = stream(config, "batches", replica)
            draws.append(_places(sizes, start, temperatures(variant, config), config.batch_size, generator))
        start += sum(sizes)
    return (torch.stack(step) for step in zip(*draws, strict=True))


def _places(
    sizes: list[int], start: int, taus: list[float], batch: int, generator: torch.Generator
) -> Iterator[Tensor]:
    starts = start + torch.tensor([0, *sizes]).cumsum(0)
    for (tau, _), steps in groupby(range(len(taus)), key=lambda step: (taus[step], step // BLOCK)):
        domain, index = sample_batch(sizes, tau, batch * len(list(steps)), generator=generator)
        yield from (starts[domain] + index).split(batch)


def train(corpus: Corpus, config: Config, variants: Sequence[str] = VARIANTS, *, progress: bool = False) -> History:
    """Train all replicas of all variants as one batched ensemble, from the same start in each replica.

    Scalarization multiplies each loss by the weight of its domain and divides by the number of examples, never by
    the sum of the weights in the batch: that would be another estimator, and a biased one.

    Raises
    ------
    ValueError
        If a variant is unknown.
    """
    windows = torch.cat([domain for replica in corpus.train for domain in replica])
    device = windows.device
    weights = _loss_weights(corpus, config, variants).to(device)
    parameters = _starts(corpus, config, len(variants), device)
    domains = range(len(config.locales))
    val, low, snapshot = [], [], []

    def loss(places: Tensor) -> Tensor:
        batch = windows[places.to(device)]
        return (weights.gather(1, batch[..., 0] - corpus.symbols) * character_losses(parameters, batch)).mean(1)

    def evaluate(step: int) -> None:
        if step == config.probe_step:
            snapshot.extend(p[0].clone() for p in parameters)
        if step % config.eval_every == 0 or step == config.steps:
            val.append(torch.stack([_mean_losses(parameters, [r[i] for r in corpus.val]) for i in domains]))
            low.append(_mean_losses(parameters, [replica[-1] for replica in corpus.train]))

    times = sorted({*range(0, config.steps + 1, config.eval_every), config.steps})
    train_ensemble(
        parameters,
        loss,
        track(batches(corpus, config, variants), progress, "training", total=config.steps),
        optimizer=partial(torch.optim.Adam, lr=config.lr, betas=(0.9, 0.98), fused=True),
        checkpoints={*times, config.probe_step},
        on_checkpoint=evaluate,
    )
    return History(
        torch.tensor(times), torch.stack(val).permute(3, 2, 1, 0), torch.stack(low).permute(2, 1, 0), snapshot
    )


def _loss_weights(corpus: Corpus, config: Config, variants: Sequence[str]) -> Tensor:
    """The weight of each domain's loss, a row for each model."""
    rows = [
        scalarization_weights(corpus.sizes(replica), config.tau if variant == "scalarization" else 1.0)
        for replica in range(config.replicas)
        for variant in variants
    ]
    return torch.stack(rows).float()


def _starts(corpus: Corpus, config: Config, variants: int, device: torch.device) -> list[Tensor]:
    """The start of each replica, once for each variant."""
    shape = corpus.symbols, len(config.locales), config.context, config.embed, config.hidden
    starts = (
        language_model_init(1, *shape, embed_std=config.embed_std, generator=stream(config, "start", replica))
        for replica in range(config.replicas)
    )
    return [torch.cat(layer).repeat_interleave(variants, 0).to(device) for layer in zip(*starts, strict=True)]


def _mean_losses(parameters: Sequence[Tensor], windows: Sequence[Tensor]) -> Tensor:
    """Mean loss of every replica's models on the windows of that replica, (replicas, variants), on the CPU."""
    models = [torch.chunk(p, len(windows)) for p in parameters]
    losses = [
        character_losses(own, text[None]).double().mean(1)
        for own, text in zip(zip(*models, strict=True), windows, strict=True)
    ]
    return torch.stack(losses).cpu()
