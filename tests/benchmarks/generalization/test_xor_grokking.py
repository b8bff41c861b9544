"""Steps in the span of the data, against autograd and SGD on the full first layer."""

from __future__ import annotations

import torch
from torch.nn import functional

from overparam.core import compute
from overparam.generalization import xor_grokking as xg

STEPS = 12


def test_gram_training(compare):
    # Set-up is left out on both sides: per run it is a few passes over the data, whatever the number of steps.
    config, generator = xg.Config(), compute.generator(0)
    sizes = (config.n, config.p, config.mu_norm, config.noise, generator)
    for dtype, tolerance in ((torch.float64, 1e-9), (torch.float32, 1e-4)):
        data = xg.xor_clusters(*sizes, balanced=True, dtype=dtype)
        W0, a = xg.init_network(config.m, config.p, config.scale, generator, dtype=dtype)
        trainer = xg.GramTrainer(data.x, data.y, W0, a, config.step)

        def ours(trainer=trainer):
            trainer.C, trainer.t = torch.zeros_like(trainer.C), 0
            return trainer.advance(STEPS).train_output()

        def peer(data=data, W0=W0, a=a):
            return autograd_loop(data.x, data.y, W0, a, config.step)

        torch.testing.assert_close(ours(), peer(), rtol=tolerance, atol=tolerance)
    compare(ours, peer, target=30, rounds=2)  # in float32, the experiment's


def autograd_loop(x, y, W0, a, step):
    W = W0.clone().requires_grad_()
    optimizer = torch.optim.SGD([W], lr=step)
    for _ in range(STEPS):
        optimizer.zero_grad()
        functional.softplus(-y * ((x @ W.mT).relu() @ a)).mean().backward()
        optimizer.step()
    return ((x @ W.mT).relu() @ a).detach()
