"""All learning rates in one stacked run against one run after the other, and the fit against the authors' route."""

from __future__ import annotations

import warnings
from itertools import product

import numpy as np
from scipy import optimize

from overparam.core.language import train_students, zipf_language
from overparam.scaling import overtraining as ot


def test_four_learning_rates_at_once(compare):
    config = ot.Config()
    language = zipf_language()
    assert len(language.joint) + len(language.cumulative) > 0  # both are made now, not while the clock runs
    width, steps = 8, 500

    def train(lrs):
        final = [lr / 10 for lr in lrs]
        return train_students(language, width, steps, 64, lrs, seed=0, final_lr=final, device="cpu").test[:, -1].numpy()

    def ours():
        return train(config.lrs)

    def peer():
        return np.concatenate([train([lr]) for lr in config.lrs])

    np.testing.assert_allclose(ours(), peer(), rtol=1e-4)
    compare(ours, peer, target=2.5)


def test_the_fit_against_curve_fit_from_the_authors_starts(compare):
    runs = ot.published_runs()
    five = ot.small_runs(runs)
    N, D, loss = runs["N"][five], (runs["M"] * runs["N"])[five], runs["loss"][five]
    large = runs["N"][~five], (runs["M"] * runs["N"])[~five]

    def model(x, A, B, power, E):
        return A * x[0] ** power + B * x[1] ** power + E

    def ours():
        return ot.fit_loss_law(N, D, loss)(*large)

    def peer():
        scales, powers, floors = (1e2, 3e2, 1e3, 3e3), (-0.1, -0.3), (0.0, 1.0, 2.0, 10.0)
        found = []
        for start in product(scales, scales, powers, floors):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found.append(optimize.curve_fit(model, (N, D), loss, p0=start, maxfev=10_000)[0])
        best = min(found, key=lambda one: float(np.sum((model((N, D), *one) - loss) ** 2)))
        return model(large, *best)

    np.testing.assert_allclose(ours(), peer(), rtol=1e-6)
    compare(ours, peer, target=1)
