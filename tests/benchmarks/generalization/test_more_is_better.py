"""One root for a whole grid against nested root finders cell by cell, and all ridges at once against one at a time."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.optimize import brentq
from sklearn.linear_model import Ridge

from overparam.core import compute
from overparam.generalization import more_is_better as mb

N = 256


def test_implicit_constants_of_a_grid(compare):
    # As many widths and ridges as in the official figure.
    eigvals, _ = mb.powerlaw_task(10_000, 1.5, 1.5)
    widths = torch.logspace(1, 4, 60, dtype=torch.float64).round()
    ridges = torch.logspace(-3, 2, 31, dtype=torch.float64)
    lam = eigvals.numpy()

    def ours():
        return torch.stack(mb.solve_implicit(eigvals, N, widths[:, None], ridges))

    def peer():
        cells = [[nested_roots(lam, k, ridge) for ridge in ridges.tolist()] for k in widths.tolist()]
        return torch.tensor(cells, dtype=torch.float64).movedim(-1, 0)

    torch.testing.assert_close(ours(), peer(), rtol=1e-6, atol=0)
    compare(ours, peer, target=20, rounds=2)


def nested_roots(lam: np.ndarray, k: float, ridge: float) -> tuple[float, float]:
    """Choose kappa; find the gamma that satisfies the first equation; look at what is left of the second."""

    def gamma_of(log_kappa):
        def first(log_gamma):
            return (lam / (lam + math.exp(log_gamma))).sum() + ridge / math.exp(log_kappa) - N

        return math.exp(brentq(first, -35, 35, xtol=1e-10))

    def second(log_kappa):
        gamma = gamma_of(log_kappa)
        return (lam / (lam + gamma)).sum() + k * math.exp(log_kappa) / gamma - k

    log_kappa = brentq(second, math.log(ridge / N) + 1e-9, 35, xtol=1e-10)
    return math.exp(log_kappa), gamma_of(log_kappa)


def test_all_ridges_of_a_regression(compare):
    generator = compute.generator(0)
    phi = torch.randn(N + 500, 1024, generator=generator, dtype=torch.float64) / 32
    y = torch.randn(N + 500, generator=generator, dtype=torch.float64)
    ridges = torch.logspace(-3, 2, 31, dtype=torch.float64)
    train_phi, train_y, test_phi, test_y = (z.numpy() for z in (phi[:N], y[:N], phi[N:], y[N:]))

    def ours():
        return torch.stack(mb.rf_regression(phi[:N], y[:N], phi[N:], y[N:], ridges))

    def peer():
        errors = []
        for ridge in ridges.tolist():
            model = Ridge(alpha=ridge, fit_intercept=False).fit(train_phi, train_y)
            train, test = model.predict(train_phi) - train_y, model.predict(test_phi) - test_y
            errors.append(((train**2).mean(), (test**2).mean()))
        return torch.tensor(errors, dtype=torch.float64).mT

    torch.testing.assert_close(ours(), peer(), rtol=1e-8, atol=1e-12)
    compare(ours, peer, target=5)
