"""One batched product for all scales, against separate autograd loops on the explicit measurements."""

from __future__ import annotations

import torch

from overparam.core import compute
from overparam.dynamics import matrix_sensing as ms

STEPS, ALPHAS = 50, (0.5, 0.35, 0.25, 0.18)


def test_batched_matrix_sensing(compare):
    config, generator = ms.Config(), compute.generator(0)
    M = ms.ground_truth(config.n, config.n, config.singular_values, psd=True, generator=generator)
    A = ms.gaussian_measurements(config.n, config.n, config.measurements, generator=generator)
    F0, G0 = (ms.init_factor(config.n, config.k, 1.0, generator=generator) for _ in range(2))
    scales = torch.tensor(ALPHAS, dtype=F0.dtype)[:, None, None]
    H, y = ms.normal_operator(A), (A * M).sum((1, 2))

    def ours():
        return ms.gd_asymmetric(scales * F0, scales / 3 * G0, M, lr=config.lr, steps=STEPS, H=H, record_every=10).loss[
            :, -1
        ]

    def peer():
        return torch.stack([autograd_loop(A, y, M, alpha * F0, alpha / 3 * G0, config.lr) for alpha in ALPHAS])

    torch.testing.assert_close(ours(), peer(), rtol=1e-9, atol=1e-12)
    compare(ours, peer, target=15, rounds=2)


def autograd_loop(A, y, M, F, G, lr):
    F, G = F.clone().requires_grad_(), G.clone().requires_grad_()
    optimizer = torch.optim.SGD([F, G], lr=lr)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = ((A * (F @ G.mT)).sum((1, 2)) - y).square().sum() / 2
        loss.backward()
        optimizer.step()
    return (F @ G.mT - M).square().sum().detach() / 2
