"""Features in polar form from one real product, against a Python function call for every frequency."""

from __future__ import annotations

import math

import torch

from overparam.core import compute
from overparam.dynamics import neural_network_kernels as nnk

M, COUNT, INPUTS, SIZE = 0.02, 4096, 64, 64


def test_features_of_a_batch(compare):
    generator = compute.generator(0)
    urf = nnk.universal_features("sin", COUNT, SIZE, M=M, generator=generator)
    x = torch.nn.functional.normalize(torch.randn(INPUTS, SIZE, generator=generator, dtype=torch.float64), dim=1)

    def ours():
        return urf.x(x)

    def peer():
        return per_frequency(x, urf.G, urf.xi)

    torch.testing.assert_close(ours(), peer())
    compare(ours, peer, target=5)


def per_frequency(x, G, xi):
    """The features as the official layer computes them: one function call a frequency, then complex arithmetic."""

    def constant(_):
        return torch.tensor((1 + 4 * M) ** (SIZE / 4), dtype=torch.complex128)

    def root(frequency):
        return torch.sqrt(2j * math.pi * frequency)

    A, rho = (torch.stack([function(f) for f in torch.unbind(xi)]) for function in (constant, root))
    scaled = (math.sqrt(1 + 4 * M) * rho * G.mT).mT
    along = torch.einsum("ij,jk->ik", x.to(torch.complex128), scaled.mT)
    correction = torch.outer(x.square().sum(1) / 2, rho * rho) + M * G.norm(dim=1) ** 2
    return A * torch.exp(along - correction) / math.sqrt(len(G))
