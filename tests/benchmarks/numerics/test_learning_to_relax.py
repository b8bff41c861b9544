"""Every factor on every system in wavefronts, against one triangular solve a sweep and a system."""

from __future__ import annotations

import numpy as np
from scipy.linalg import solve_triangular

from overparam.numerics import learning_to_relax as lr

SYSTEMS = 200


def test_costs_of_all_systems(compare):
    config, rng = lr.Config(), np.random.default_rng(0)
    shifts = config.shift_min + config.shift_width * rng.beta(*config.high, size=SYSTEMS)
    rhs = np.stack([lr.truncated_normal(config.grid_side**2, rng) for _ in range(SYSTEMS)])
    laplacian = lr.laplacian_square(config.grid_side)

    def ours():
        return lr.sor_costs(config.grid_side, shifts, rhs, config.omegas, tol=config.tol)

    def peer():
        systems = [(laplacian + c * np.eye(len(laplacian)), b) for c, b in zip(shifts, rhs, strict=True)]
        return np.array([[sweeps(A, b, omega, config.tol) for omega in config.omegas] for A, b in systems])

    np.testing.assert_array_equal(ours(), peer())
    compare(ours, peer, target=30, rounds=1)


def sweeps(A, b, omega, tol):
    M = np.tril(A, -1) + np.diag(A.diagonal() / omega)
    x, r, k = np.zeros(len(b)), b, 0
    start = np.linalg.norm(b)
    while np.linalg.norm(r) >= tol * start:
        x = x + solve_triangular(M, r, lower=True)
        r = b - A @ x
        k += 1
    return k
