"""All columns and scales in one padded batch, against one autograd loop for each run."""

from __future__ import annotations

import torch
from torch.nn.functional import pad

from overparam.core import compute
from overparam.dynamics import robust_matrix_recovery as rmr

STEPS = 40


def test_batched_sub_gradient_method(compare):
    config, generator = rmr.Config(), compute.generator(0)
    X = rmr.low_rank_psd(config.d, config.singular_values, generator=generator)
    A = rmr.gaussian_measurements(config.d, config.measurements, generator=generator)
    y = (A * X).sum((1, 2)) + rmr.outliers(config.measurements, 0.1, 10.0, generator=generator)
    starts = [rmr.spectral_init(A, y, k, alpha) for k in config.ranks for alpha in config.alphas]
    batch = torch.stack([pad(U, (0, config.d - U.shape[1])) for U in starts])

    def ours():
        path = rmr.sub_gradient_method(batch, A, y, eta=config.eta, rho=config.rho, steps=STEPS, X_true=X)
        return path.error[:, -1]

    def peer():
        return torch.stack([autograd_loop(U, A, y, X, config) for U in starts])

    torch.testing.assert_close(ours(), peer(), rtol=1e-6, atol=1e-9)
    compare(ours, peer, target=10, rounds=2)


def autograd_loop(U, A, y, X, config):
    U = U.clone().requires_grad_()
    optimizer = torch.optim.SGD([U], lr=config.eta)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, config.rho)
    for _ in range(STEPS):
        optimizer.zero_grad()
        ((A * (U @ U.mT)).sum((1, 2)) - y).abs().mean().backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        return (U @ U.mT - X).norm() / X.norm()
