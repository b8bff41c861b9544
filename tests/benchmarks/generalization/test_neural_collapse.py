"""The minimiser near collapse against L-BFGS, and networks trained as one against a loop of modules."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from overparam.core import compute
from overparam.core.datasets import digits
from overparam.generalization import neural_collapse as nc


def test_minimiser_near_collapse(compare):
    config = nc.Config()
    basis, direction = nc.draw_perturbation(config, compute.generator(0))
    strengths = (config.lambda_w, config.lambda_h, config.beta)
    _, collapsed = nc.collapsed_minimizer(config.K, config.n, config.d, *strengths[:2], basis)
    H0 = collapsed + 0.1 * collapsed.norm() * direction

    def ours():
        return nc.solve_near(H0, config.K, *strengths)[:2]

    def peer():
        W, H = nc.optimal_classifier(H0, config.K, config.lambda_w).requires_grad_(), H0.clone().requires_grad_()
        optimizer = torch.optim.LBFGS(
            [W, H], max_iter=5000, tolerance_grad=1e-10, tolerance_change=1e-15, line_search_fn="strong_wolfe"
        )

        def closure():
            optimizer.zero_grad()
            loss = nc.objective(W, H, H0, *strengths)
            loss.backward()
            return loss

        optimizer.step(closure)
        return W.detach(), H.detach()

    # The peer stops at the accuracy that differences of a loss in float64 allow; ours goes on to 1e-12.
    for found, other in zip(ours(), peer(), strict=True):
        torch.testing.assert_close(found, other, atol=1e-5, rtol=0)
    compare(ours, peer, target=10)


def test_networks_of_three_decays(compare):
    config = nc.Config(steps=60, checkpoints=(60,))
    X, y = digits(config.images).train
    labels = functional.one_hot(y, 10).float()
    dims = (64, *[config.width] * config.depth, 10)

    def ours():
        generator = compute.generator(0)
        sizes = (10, config.width, config.depth, config.steps, config.lr)
        return nc.train_nets(X, y, *sizes, config.decays, generator, config.checkpoints)[0][:, -1]

    def one(feature, last):
        generator = compute.generator(0)
        layers = [nn.Linear(a, b) for a, b in pairwise(dims)]
        for layer in layers:
            start = torch.randn(layer.in_features, layer.out_features, generator=generator)
            layer.weight.data = (start * (2 / layer.in_features) ** 0.5).mT.contiguous()
            layer.bias.data.zero_()
        net = nn.Sequential(*(module for layer in layers[:-1] for module in (layer, nn.ReLU())), layers[-1])
        optimizer = torch.optim.Adam(net.parameters(), lr=config.lr)
        for _ in range(config.steps):
            optimizer.zero_grad()
            decay = feature * sum(layer.weight.square().sum() for layer in layers[:-1])
            decay = decay + last * layers[-1].weight.square().sum()
            ((10 * functional.mse_loss(net(X), labels) + decay) / 2).backward()
            optimizer.step()
        with torch.no_grad():
            features = [net[: 2 * depth](X) for depth in range(config.depth + 1)]
        return torch.stack([nc.trace_ratio(layer[None], y, 10)[0] for layer in features])

    def peer():
        return torch.stack([one(*pair) for pair in config.decays])

    torch.testing.assert_close(ours(), peer(), rtol=1e-2, atol=0)
    compare(ours, peer, target=2)
