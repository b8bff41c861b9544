"""The lookup against a product with one-hot vectors, perpGrad against the authors' formula, and what perpGrad costs."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn import functional

from overparam.core import compute
from overparam.generalization import softmax_collapse as sc

CONFIG = sc.Config()


def task(dtype=torch.float32):
    pairs, labels = sc.modular_table(CONFIG.p)
    train_index, _ = sc.split(len(labels), CONFIG.fraction, compute.generator(0))
    model = sc.PairMLP(CONFIG.p, CONFIG.hidden, compute.generator(1)).to(dtype)
    return model, pairs[train_index], labels[train_index]


def test_lookup_first_layer(compare):
    model, pairs, _ = task()
    model.weights = nn.ParameterList(model.weights[:1])  # the first layer alone
    (weight,) = model.weights
    one_hot = functional.one_hot(pairs, CONFIG.p).flatten(1).float()
    pull = torch.randn(len(pairs), len(weight), generator=compute.generator(2))

    def ours():
        return [backward(model(pairs)) for _ in range(30)][-1]

    def peer():
        return [backward(one_hot @ weight.mT) for _ in range(30)][-1]

    def backward(out):
        return out.detach(), torch.autograd.grad(out, weight, pull)[0]

    torch.testing.assert_close(ours(), peer(), rtol=1e-4, atol=1e-4)
    compare(ours, peer, target=1.5)


def test_orthograd(compare):
    trained = []
    for optimizer in (sc.OrthoGrad, PlainOrthoGrad):
        model, pairs, labels = task(torch.float64)
        steps(model, pairs, labels, optimizer(model.parameters(), lr=0.01), 3)
        trained.append(list(model.parameters()))
    torch.testing.assert_close(*trained, rtol=1e-9, atol=1e-9)

    model, pairs, labels = task()
    functional.cross_entropy(model(pairs), labels).backward()
    ours, peer = (optimizer(copy.deepcopy(list(model.parameters())), lr=0.0) for optimizer in OPTIMIZERS)
    for optimizer in (ours, peer):
        for p, q in zip(optimizer.param_groups[0]["params"], model.parameters(), strict=True):
            p.grad = q.grad.clone()
    compare(lambda: [ours.step() for _ in range(50)], lambda: [peer.step() for _ in range(50)], target=0.5)


def test_perpgrad_takes_a_small_share_of_a_step(compare):
    timed = []
    for optimizer in (sc.OrthoGrad, torch.optim.AdamW):
        model, pairs, labels = task()
        timed.append((model, pairs, labels, optimizer(model.parameters(), lr=0.01, betas=(0.9, 0.99), eps=1e-25)))
    compare(lambda: steps(*timed[0], 15), lambda: steps(*timed[1], 15), target=0.95, rounds=12)


def steps(model, pairs, labels, optimizer, count):
    for _ in range(count):
        optimizer.zero_grad()
        sc.softmax_cross_entropy(model(pairs), labels, next(model.parameters()).dtype).backward()
        optimizer.step()


class PlainOrthoGrad(torch.optim.AdamW):
    """The paper's formula in the parameters' own dtype, in front of AdamW."""

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                w, g = p.view(-1), p.grad.view(-1)
                rest = g - torch.dot(w, g) / (torch.dot(w, w) + 1e-30) * w
                p.grad.copy_((rest * (g.norm() / (rest.norm() + 1e-30))).view_as(p))
        return super().step()


OPTIMIZERS = (sc.OrthoGrad, PlainOrthoGrad)
