"""The infinitely wide network, of height 2V, against a finite network wide enough to come near it."""

from __future__ import annotations

import math

import torch

from overparam.core import compute
from overparam.dynamics import infinite_width_features as iw

STEPS, WIDTH = 20, 16_384


def test_limit_of_word_embeddings(compare):
    config, generator = iw.Config(), compute.generator(0)
    P = iw.analogy_corpus(config.bases, config.attributes, config.contexts, noise=config.noise, generator=generator)
    start, net = iw.limit_factors(*P.shape), iw.finite_factors(WIDTH, *P.shape, generator=generator)

    def ours():
        A, _ = iw.train_word2vec(*start, P, eta=config.w2v_eta, steps=STEPS)
        return A.mT @ A

    def peer():
        return gram_of_a_module(*net, P, config.w2v_eta)

    gap = (ours() - peer()).norm() / ours().norm()
    assert gap < math.sqrt(P.shape[0] / WIDTH)  # the distance of their random starts: training adds nothing to it
    compare(ours, peer, target=50, rounds=3)


def gram_of_a_module(A, B, P, eta):
    """The network as torch's users write it: two embeddings, the loss, autograd, SGD."""
    A, B = (Z.clone().requires_grad_() for Z in (A, B))
    optimizer = torch.optim.SGD([A, B], lr=eta)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = -(P * (A.T @ B).log_softmax(1)).sum()
        loss.backward()
        optimizer.step()
    return (A.T @ A).detach()
