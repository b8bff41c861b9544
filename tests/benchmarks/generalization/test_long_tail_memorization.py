"""Leave-one-out predictions from one factorization, against retraining; a price from four sightings, against all."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.kernel_ridge import KernelRidge

from overparam.core import compute
from overparam.generalization import long_tail_memorization as tail


def test_leave_one_out(compare):
    config, generator = tail.Config(), compute.generator(0)
    pool = tail.subpopulations(config, generator)
    images = pool.train[torch.randperm(len(pool.train), generator=generator)[: config.draws]]
    K = tail.gaussian_kernel(pool.x[images], pool.x[images], config.width2)
    Y = tail.one_hot(pool.label[pool.cluster[images]], 10).to(K)
    arrays = K.numpy(), Y.numpy()

    def ours():
        return tail.kernel_ridge_loo(K, Y, config.ridges[0])[1].numpy()

    def peer():
        return np.concatenate([retrained(*arrays, i, config.ridges[0]) for i in range(config.draws)])

    np.testing.assert_allclose(ours(), peer(), rtol=1e-9, atol=1e-9)
    compare(ours, peer, target=50, rounds=3)


def retrained(K, Y, i, ridge):
    rest = np.delete(np.arange(len(K)), i)
    model = KernelRidge(alpha=ridge, kernel="precomputed").fit(K[np.ix_(rest, rest)], Y[rest])
    return model.predict(K[i : i + 1, rest])


def test_the_price_of_refusing_singletons(compare):
    config = tail.Config()
    alphas = tail.frequency_marginal(
        tail.zipf_prior(config.points), config.points, config.normalizers, compute.generator(0)
    )
    N, n, misfit = config.points, config.samples, (1.0, 0.5, 0.25, 0.2)
    few = alphas[::40]  # the peer would take half a minute for all

    def ours():
        return tail.price_of_not_fitting(few, N, n, misfit)

    def peer():
        total = torch.zeros((), dtype=torch.float64)
        for ell in range(1, n + 1):
            logs = ell * few.log() + (n - ell) * torch.log1p(-few)
            choose = torch.lgamma(torch.tensor([n + 1.0, ell + 1.0, n - ell + 1.0], dtype=torch.float64))
            number = (choose[0] - choose[1] - choose[2] + torch.logsumexp(logs + few.log(), 0)).exp() * N / len(few)
            total += number * misfit[min(ell, len(misfit)) - 1]
        return float(total)

    np.testing.assert_allclose(ours(), peer(), rtol=1e-9)
    compare(ours, peer, target=50, rounds=3)  # the brief has no target here; this one is ours
