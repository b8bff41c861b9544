"""The gradient probe: what both estimators do at one model, in double precision."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from overparam.imperfect_data.upsample_upweight.balancing import (
    METHODS,
    sample_batch,
    scalarization_weights,
    temperature_probs,
)
from overparam.imperfect_data.upsample_upweight.corpus import Config, Corpus, stream
from overparam.imperfect_data.upsample_upweight.training import character_losses

DTYPE = torch.float64


#: The lowest temperature of the probe; the others are those of the configuration.
PROBE_TAU = 2.0
#: Mini-batches of each method whose gradient norms are measured, and gradients that are held at once.
PROBE_BATCHES, CHUNK = 200, 50


@dataclass(frozen=True)
class Probe:
    """Gradients of one model: temperatures, and at each the two full gradients' relative gap and both variances.

    ``moments`` are the domains' second moments, ``norms`` those of mini-batch gradients; rows are :data:`METHODS`.
    """

    taus: tuple[float, ...]
    full_gap: Float[Tensor, " taus"]
    variance: Float[Tensor, "methods taus"]
    moments: Float[Tensor, " domains"]
    norms: Float[Tensor, "methods draws"]


def probe(parameters: Sequence[Tensor], corpus: Corpus, config: Config) -> Probe:
    """Measure both estimators at one model of the first replica, in float64.

    The full gradients are those of all training examples, the second moments those of a sample of each domain.
    """
    parameters = [p.detach().double() for p in parameters]
    domains, sizes = corpus.train[0], corpus.sizes(0)
    generator = stream(config, "probe", 0)
    moments = []
    for windows in domains:
        chosen = torch.randperm(len(windows), generator=generator)[: config.probe_examples].to(windows.device)
        norms = gradient_norms(parameters, windows[chosen, None], torch.ones(len(chosen), 1))
        moments.append(norms.square().mean())
    second = torch.stack(moments)
    gaps, variances = [], []
    taus = PROBE_TAU, config.tau, config.tau_high
    for tau in taus:
        sampled, weighted = full_gradients(parameters, domains, tau)
        gaps.append(((sampled - weighted).norm() / sampled.norm()).cpu())
        probs, weights = temperature_probs(sizes, tau), scalarization_weights(sizes, tau)
        square = sampled.square().sum().cpu()
        variances.append(torch.stack([probs @ second - square, (probs * weights) @ second - square]))
    norms = torch.stack([_batch_norms(parameters, corpus, config, method, generator) for method in METHODS])
    return Probe(taus, torch.stack(gaps), torch.stack(variances, 1), second, norms)


def full_gradients(
    parameters: Sequence[Tensor], domains: Sequence[Int[Tensor, "_ w"]], tau: float
) -> tuple[Float[Tensor, " p"], Float[Tensor, " p"]]:
    r"""The gradients that sampling and Scalarization follow without noise.

    Parameters
    ----------
    parameters
        Of one model, unstacked.
    domains
        Windows of each domain.
    tau
        The temperature.

    Returns
    -------
    The gradient of :math:`\sum_i p(i; \tau)\, \mathbb{E}_{D_i}[\ell]`, and that of the mean over all examples of
    :math:`w_i\, \ell`, each as a vector.
    """
    leaves = [p[None].clone().requires_grad_() for p in parameters]
    sizes = [len(windows) for windows in domains]
    losses = character_losses(leaves, torch.cat(list(domains))[None])[0]
    means = torch.stack([part.mean() for part in losses.split(sizes)])
    each = torch.repeat_interleave(scalarization_weights(sizes, tau), torch.tensor(sizes))
    sampled = torch.autograd.grad(temperature_probs(sizes, tau).to(means) @ means, leaves, retain_graph=True)
    weighted = torch.autograd.grad((each.to(losses) * losses).mean(), leaves)
    return _flat(sampled), _flat(weighted)


def gradient_norms(
    parameters: Sequence[Tensor], windows: Int[Tensor, "q b w"], weights: Float[Tensor, "q b"]
) -> Float[Tensor, " q"]:
    """Norms, on the CPU, of the gradients of q mini-batches' weighted mean losses, at one model."""

    def norm(batch: Tensor, weight: Tensor) -> Tensor:
        gradients = torch.func.grad(mean_loss)(tuple(parameters), batch, weight)
        return _flat(gradients).norm()

    def mean_loss(leaves: tuple[Tensor, ...], batch: Tensor, weight: Tensor) -> Tensor:
        return (weight * character_losses([p[None] for p in leaves], batch[None])[0]).mean()

    # In chunks: the gradients of all examples at once would fill the memory.
    norms = torch.func.vmap(norm, chunk_size=CHUNK)(windows, weights.to(parameters[0]))
    return norms.cpu()


def _batch_norms(
    parameters: Sequence[Tensor], corpus: Corpus, config: Config, method: str, generator: torch.Generator
) -> Tensor:
    sizes, windows = corpus.sizes(0), torch.cat(list(corpus.train[0]))
    weighted = method == "scalarization"
    shape = PROBE_BATCHES, config.batch_size
    domain, index = sample_batch(sizes, 1.0 if weighted else config.tau, math.prod(shape), generator=generator)
    places = torch.tensor([0, *sizes]).cumsum(0)[domain] + index
    weights = scalarization_weights(sizes, config.tau if weighted else 1.0)[domain]
    return gradient_norms(parameters, windows[places.to(windows.device)].view(*shape, -1), weights.view(shape))


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([t.flatten() for t in tensors])
