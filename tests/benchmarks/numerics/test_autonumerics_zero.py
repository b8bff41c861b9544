"""All restarts of a fit in one batch, against a loop of scipy's least squares over the same starts."""

from __future__ import annotations

import numpy as np
from scipy.optimize import least_squares

from overparam.numerics import autonumerics_zero as az

PROGRAMS = (az.rational(1, 1), az.rational(2, 1), az.horner(4), az.rational(2, 2))
RESTARTS = 10


def test_constants_of_four_programs(compare):
    x = 0.5 - 0.5 * np.cos((2 * np.arange(33) + 1) * np.pi / 66)

    def ours():
        return [az.fit_constants(p, np.exp2, restarts=RESTARTS)[1] for p in PROGRAMS]

    def peer():
        return [min(scalar(p, x, c) for c in starts(p)) for p in PROGRAMS]

    # Least squares is within a factor of two of the minimax that ours goes on to.
    for error, reference in zip(ours(), peer(), strict=True):
        assert 0.5 * reference <= error <= 1.001 * reference
    compare(ours, peer, target=10, rounds=2)


def starts(p):
    rng = np.random.default_rng(0)
    shape = RESTARTS, p.constants
    return rng.standard_normal(shape) * 10 ** rng.uniform(-0.5, 1, shape)


def scalar(p, x, start):
    target = np.exp2(x)
    tight = {"xtol": 1e-12, "ftol": 1e-12, "gtol": 1e-15}
    fitted = least_squares(lambda c: az.evaluate(p, x, c) / target - 1, start, method="lm", **tight)
    return az.max_error(p, fitted.x)
