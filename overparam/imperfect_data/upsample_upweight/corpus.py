"""The experiment's numbers, and its text: names in several languages, cut into windows of characters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import torch
from jaxtyping import Int
from torch import Tensor

from overparam.core import checks, compute
from overparam.core.compute import Device
from overparam.core.datasets import optional


def display_names(locale: str) -> list[str]:
    """The Unicode CLDR names of territories, languages, currencies and scripts in one language, from Babel.

    Returns
    -------
    Lower-case names, sorted, each once.

    Raises
    ------
    MissingExtraError
        If Babel is missing.
    ValueError
        If Babel does not know the locale.
    """
    babel = optional("babel", extra="imperfect_data")
    try:
        names = babel.Locale.parse(locale)
    except (ValueError, TypeError, babel.UnknownLocaleError):
        raise ValueError(f"locales must be known to Babel, got {locale!r}") from None
    groups = (names.territories, names.languages, names.currencies, names.scripts)
    return sorted({name.lower() for group in groups for name in group.values()})


@dataclass(frozen=True)
class Config:
    """Reader scale: 10 CPU-seconds. Every number of the experiment is here."""

    seed: int = 0
    locales: tuple[str, ...] = ("en", "vi")  # domains, from high- to low-resource
    names: tuple[int, ...] = (1200, 40)  # training names of each
    val_names: int = 150  # held-out names of each
    context: int = 4  # characters that the model sees
    embed: int = 16  # numbers a character
    embed_std: float = 0.25  # of their start: 1/sqrt(embed), so that a character starts as a vector of length 1
    hidden: int = 128  # units
    replicas: int = 3  # other names and another start for each
    steps: int = 600
    batch_size: int = 64  # characters to predict
    lr: float = 2e-3  # of Adam
    tau: float = 5.0  # temperature of sampling, Scalarization and Cooldown
    tau_high: float = 100.0  # nearly uniform
    switch: float = 0.25  # share of the steps after which Cooldown cools down
    eval_every: int = 25  # steps between validations
    target_loss: float = 2.8  # nats a character in the low-resource domain, for the race
    probe_examples: int = 300  # examples of each domain whose gradients are measured, or as many as there are
    probe_step: int = 150  # when

    def __post_init__(self) -> None:
        checks.integer(0, seed=self.seed, probe_step=self.probe_step)
        checks.integer(1, val_names=self.val_names, context=self.context, embed=self.embed, hidden=self.hidden)
        checks.integer(1, replicas=self.replicas, steps=self.steps, batch_size=self.batch_size)
        checks.integer(1, eval_every=self.eval_every, probe_examples=self.probe_examples)
        checks.positive(lr=self.lr, tau=self.tau, tau_high=self.tau_high)
        checks.positive(embed_std=self.embed_std, target_loss=self.target_loss)
        checks.probability(switch=self.switch)
        for count in self.names:
            checks.integer(1, names=count)
        checks.decreasing(least=2, names=self.names)
        if len(self.locales) != len(self.names) or len(set(self.locales)) != len(self.locales):
            raise ValueError(f"locales must differ and number {len(self.names)} as names do, got {self.locales}")
        if not 1 < self.tau < self.tau_high:
            raise ValueError(f"tau must lie between 1 and tau_high {self.tau_high}, got {self.tau}")
        if self.probe_step > self.steps:
            raise ValueError(f"probe_step must be at most steps {self.steps}, got {self.probe_step}")


FULL = Config(
    locales=("en", "de", "fr", "es", "pl", "vi"),
    names=(1200, 600, 300, 150, 80, 40),
    context=8,
    embed=64,
    embed_std=0.125,
    hidden=1024,
    replicas=8,
    steps=20_000,
    batch_size=512,
    eval_every=250,
    probe_step=5_000,
)

#: What the seed decides, each with a stream of its own in every replica that all variants share: Cooldown's batches are
#: those of sampling until it cools down, and Scalarization's are the proportional ones, weighted.
STREAMS = ("split", "start", "batches", "probe")


def stream(config: Config, name: str, replica: int) -> torch.Generator:
    """The generator of one of :data:`STREAMS` in one replica."""
    every = list(product(range(config.replicas), STREAMS))
    return compute.generator(compute.streams(config.seed, every)[replica, name])


@dataclass(frozen=True)
class Corpus:
    """Windows of text by replica and domain; a row is the language, the characters before, and the next character.

    Token 0 is the boundary of a name, 1..symbols-1 are characters, and the languages follow.
    """

    train: tuple[tuple[Int[Tensor, "_ c"], ...], ...]
    val: tuple[tuple[Int[Tensor, "_ c"], ...], ...]
    symbols: int

    def sizes(self, replica: int) -> list[int]:
        """Training examples, which are characters to predict, of every domain."""
        return [len(windows) for windows in self.train[replica]]


def build_corpus(config: Config, *, device: Device = "cpu") -> Corpus:
    """Split every language's names anew in each replica, and cut them into windows, once.

    Raises
    ------
    ValueError
        If a locale is unknown or has too few names.
    """
    where = compute.device(device)
    texts = [display_names(locale) for locale in config.locales]
    for locale, count, text in zip(config.locales, config.names, texts, strict=True):
        if count + config.val_names > len(text):
            raise ValueError(f"names and val_names of {locale} must not exceed {len(text)}, got {count}")
    symbols = {c: i for i, c in enumerate(sorted({c for text in texts for name in text for c in name}), start=1)}
    train, val = [], []
    for replica in range(config.replicas):
        generator = stream(config, "split", replica)
        parts = []
        for i, (count, text) in enumerate(zip(config.names, texts, strict=True)):
            order = [text[j] for j in torch.randperm(len(text), generator=generator).tolist()]
            halves = order[:count], order[count : count + config.val_names]
            parts.append([_windows(names, symbols, 1 + len(symbols) + i, config.context).to(where) for names in halves])
        train.append(tuple(part[0] for part in parts))
        val.append(tuple(part[1] for part in parts))
    return Corpus(tuple(train), tuple(val), 1 + len(symbols))


def _windows(names: Sequence[str], symbols: dict[str, int], language: int, context: int) -> Tensor:
    rows = []
    for name in names:
        tokens = torch.tensor([0] * context + [symbols[c] for c in name] + [0])
        rows.append(tokens.unfold(0, context + 1, 1))
    windows = torch.cat(rows)
    return torch.cat([torch.full((len(windows), 1), language), windows], 1)
