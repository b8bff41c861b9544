"""The behavioural Hessian from its Kronecker blocks, against the second derivative by autograd."""

from __future__ import annotations

import torch

from overparam.core import compute
from overparam.generalization import loss_degeneracy as ld


def test_behavioural_hessian(compare):
    weights, X = ld.planted("generic", (6, 8, 7, 3), 300, compute.generator(0))
    theta = torch.cat([W.flatten() for W in weights])
    sizes = [W.numel() for W in weights]
    target = ld.forward(weights, X)

    def behaviour(moved):
        features = X
        parts = [part.view_as(W) for part, W in zip(moved.split(sizes), weights, strict=True)]
        for W in parts[:-1]:
            features = torch.nn.functional.linear(features, W[:, :-1], W[:, -1]).relu()
        output = torch.nn.functional.linear(features, parts[-1][:, :-1], parts[-1][:, -1])
        return (output - target).square().sum() / (2 * len(X))

    def ours():
        return ld.behavioral_hessian(weights, X)

    def peer():
        return torch.autograd.functional.hessian(behaviour, theta)

    torch.testing.assert_close(ours(), peer(), rtol=1e-10, atol=1e-10)
    compare(ours, peer, target=20)
