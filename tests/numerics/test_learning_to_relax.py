"""The pieces of learning to relax against pointwise sweeps, eigenvalues, brute force and scipy."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import scipy.sparse.linalg
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial import chebyshev
from scipy.optimize import brentq, minimize

from overparam.numerics import learning_to_relax as lr
from tests.conftest import refuses

SMALL = lr.Config(grid_side=4, rounds=30, trials=2, actions=4, shift_min=-0.1, terms=3, bins=2)
GRID = np.linspace(1.0, 1.95, 20)


def rng(seed=0):
    return np.random.default_rng(seed)


def pointwise(A, b, omega, tol):
    """SOR as the textbook has it, one unknown after the other."""
    x, start = np.zeros(len(b)), np.linalg.norm(b)
    for k in range(1, 10_000):
        for i in range(len(b)):
            others = A[i] @ x - A[i, i] * x[i]
            x[i] = (1 - omega) * x[i] + omega / A[i, i] * (b[i] - others)
        if np.linalg.norm(b - A @ x) < tol * start:
            return k, x
    raise AssertionError


# --- Relaxation


def test_the_laplacian_has_the_eigenvalues_of_the_continuous_formula():
    side = 5
    line = 2 - 2 * np.cos(np.pi * np.arange(1, side + 1) / (side + 1))
    np.testing.assert_allclose(
        np.linalg.eigvalsh(lr.laplacian_square(side)), np.sort((line[:, None] + line).ravel()), atol=1e-12
    )


def test_the_laplacian_couples_the_four_neighbours_of_a_grid_point():
    A = lr.laplacian_square(3)
    assert A[4].tolist() == [0, -1, 0, -1, 4, -1, 0, -1, 0]
    assert A[2].tolist() == [0, -1, 4, 0, 0, -1, 0, 0, 0]


@given(n=st.integers(1, 12), omega=st.floats(0.3, 1.7), seed=st.integers(0, 99))
@settings(max_examples=20)
def test_sor_is_the_pointwise_sweep_on_any_dominant_matrix(n, omega, seed):
    draw = rng(seed)
    B = draw.standard_normal((n, n))
    A = B @ B.T + n * np.eye(n)
    b = draw.standard_normal(n)
    expected, x = pointwise(A, b, omega, 1e-6)
    k, y = lr.sor(A, b, omega, tol=1e-6)
    assert k == expected
    np.testing.assert_allclose(y, x, atol=1e-10)


def test_sor_starts_where_it_is_told_and_at_a_solution_does_nothing():
    A, b = lr.laplacian_square(3), np.ones(9)
    exact = np.linalg.solve(A, b)
    near, _ = lr.sor(A, b, 1.2, x0=exact + 1e-3, tol=0.5)
    assert near == 1
    assert lr.sor(A, A @ np.ones(9), 1.2, x0=np.ones(9))[0] == 0
    k, x = lr.sor(A, np.zeros(9), 1.2)
    assert (k, x.tolist()) == (0, [0.0] * 9)


def test_a_cost_is_capped_and_divergence_costs_the_cap():
    A = lr.laplacian_square(3)
    assert lr.sor(A, np.ones(9), 1.0, max_iter=3)[0] == 3
    assert lr.sor(A - 6 * np.eye(9), np.ones(9), 1.0)[0] == 10_000
    costs = lr.sor_costs(3, np.array([-6.0, 0.0]), np.ones((2, 9)), np.array([1.0]), max_iter=500)
    assert costs[0, 0] == 500
    assert costs[1, 0] < 60


@given(side=st.integers(2, 6), seed=st.integers(0, 99))
@settings(max_examples=10)
def test_the_batched_costs_are_those_of_single_systems(side, seed):
    draw = rng(seed)
    shifts, rhs = draw.uniform(-0.05, 1, 4), draw.standard_normal((4, side**2))
    rhs[1] = 0
    omegas = np.array([0.5, 1.0, 1.4, 1.9])
    A = lr.laplacian_square(side)
    singles = [[lr.sor(A + c * np.eye(side**2), b, w)[0] for w in omegas] for c, b in zip(shifts, rhs, strict=True)]
    assert lr.sor_costs(side, shifts, rhs, omegas).tolist() == singles


def test_the_batched_costs_do_not_depend_on_the_batch():
    draw = rng()
    shifts, rhs = draw.uniform(-0.15, 0.45, 110), draw.standard_normal((110, 100))
    together = lr.sor_costs(10, shifts, rhs, GRID)  # more than one chunk
    assert (lr.sor_costs(10, shifts[:3], rhs[:3], GRID[5:8]) == together[:3, 5:8]).all()


def test_the_cost_of_the_largest_problem_is_that_of_a_pointwise_sweep():
    b = lr.truncated_normal(100, rng())
    A = lr.laplacian_square(10)
    assert lr.sor_costs(10, np.zeros(1), b[None], np.array([1.55]))[0, 0] == pointwise(A, b, 1.55, 1e-8)[0]


@pytest.mark.parametrize("c", [-0.15, 0.0, 0.45])
def test_the_jacobi_radius_of_the_shifted_laplacian_is_the_closed_form(c):
    A = lr.laplacian_square(6) + c * np.eye(36) if c > -0.15 else lr.laplacian_square(10) + c * np.eye(100)
    side = math.isqrt(len(A))
    assert lr.jacobi_radius(A) == pytest.approx(4 * math.cos(math.pi / (side + 1)) / (4 + c), abs=1e-12)


@pytest.mark.parametrize("omega", [0.4, 1.0, 1.3, 1.7, 1.9])
def test_the_sor_radius_is_the_largest_eigenvalue_of_the_iteration(omega):
    A = lr.laplacian_square(6) + 0.1 * np.eye(36)
    C = np.eye(36) - A @ np.linalg.inv(np.tril(A, -1) + np.diag(A.diagonal()) / omega)
    assert lr.sor_radius(omega, lr.jacobi_radius(A)) == pytest.approx(np.abs(np.linalg.eigvals(C)).max(), abs=1e-6)


@given(beta=st.floats(0, 0.999))
def test_youngs_factor_has_the_smallest_radius(beta):
    best = lr.optimal_omega(beta)
    assert lr.sor_radius(best, beta) == pytest.approx(best - 1, abs=1e-7)  # a square root of rounding
    grid = np.linspace(0.01, 1.99, 300)
    assert (lr.sor_radius(grid, beta) >= best - 1 - 1e-12).all()


def test_radius_and_surrogate_take_numbers_and_arrays():
    assert isinstance(lr.sor_radius(1.2, 0.5), float)
    assert lr.sor_radius(GRID[:, None], np.array([0.5, 0.9])).shape == (20, 2)
    assert isinstance(lr.surrogate_cost(1.2, 0.5, 0.1, 1e-8), float)
    assert lr.surrogate_cost(1.0, 0.0, 0.0, 1e-8) == 1.0
    assert lr.surrogate_cost(1.0, 0.8, 0.0, 1e-8) == pytest.approx(1 + math.log(1e-8) / math.log(0.64))


def test_the_asymptocity_is_its_definition_by_repeated_products():
    A, omegas = lr.laplacian_square(4), np.array([1.0, 1.3, 1.6])
    costs = lr.sor_costs(4, np.zeros(1), np.ones((1, 16)), omegas)[0]
    gaps = []
    for omega, k in zip(omegas, costs, strict=True):
        C, power = np.eye(16) - A @ np.linalg.inv(np.tril(A, -1) + np.diag(A.diagonal()) / omega), np.eye(16)
        for _ in range(k - 1):
            power = power @ C
        rho = np.abs(np.linalg.eigvals(C)).max()
        gaps.append((np.linalg.svd(power)[1][0] ** (1 / (k - 1)) - rho) / (1 - rho))
    assert lr.asymptocity(A, omegas, costs) == pytest.approx(max(gaps), abs=1e-9)


def test_a_cost_of_one_uses_the_first_power():
    A = lr.laplacian_square(3)
    C = np.eye(9) - A @ np.linalg.inv(np.tril(A, -1) + np.diag(A.diagonal()))
    rho = lr.sor_radius(1.0, lr.jacobi_radius(A))
    expected = (np.linalg.norm(C, 2) - rho) / (1 - rho)
    assert lr.asymptocity(A, np.array([1.0]), np.array([1])) == pytest.approx(expected)


def test_the_truncated_normal_is_short_and_looks_gaussian_in_direction():
    draw = rng()
    draws = np.stack([lr.truncated_normal(30, draw) for _ in range(400)])
    assert (np.linalg.norm(draws, axis=1) <= math.sqrt(30)).all()
    assert abs(draws.mean()) < 0.03
    assert 0.7 < draws.var() < 1


# --- Conjugate gradients


@given(side=st.integers(2, 6), omega=st.floats(0.2, 1.9), seed=st.integers(0, 99))
@settings(max_examples=15)
def test_preconditioned_conjugate_gradients_are_those_of_scipy(side, omega, seed):
    draw = rng(seed)
    A = lr.laplacian_square(side) + np.diag(draw.uniform(0, 2, side**2))
    b = draw.standard_normal(side**2)
    D = np.diag(A.diagonal())
    X = D + omega * np.tril(A, -1)
    P = X @ np.linalg.inv(D) @ X.T / (omega * (2 - omega))
    iterates = []
    x, _ = scipy.sparse.linalg.cg(A, b, rtol=1e-8, M=np.linalg.inv(P), callback=lambda z: iterates.append(z.copy()))
    k, y = lr.ssor_pcg(A, b, omega)
    assert k == len(iterates)
    np.testing.assert_allclose(y, x, atol=1e-9)


def test_a_zero_right_hand_side_costs_nothing_and_the_cap_is_kept():
    A = lr.laplacian_square(4)
    assert lr.ssor_pcg(A, np.zeros(16), 1.0)[0] == 0
    assert lr.ssor_pcg(A, np.ones(16), 1.0, tol=1e-12, max_iter=2)[0] == 2


@pytest.mark.parametrize("omega", [0.9, 1.4, 1.8])
def test_the_condition_bound_holds_for_the_preconditioned_matrix(omega):
    A = lr.laplacian_square(5)
    D = np.diag(A.diagonal())
    X = D + omega * np.tril(A, -1)
    values = np.linalg.eigvals(np.linalg.solve(X @ np.linalg.inv(D) @ X.T, A)).real
    bound = lr.ssor_condition_bound(A, omega)
    assert values.max() / values.min() <= bound <= 5 * values.max() / values.min()


def test_the_bounds_are_the_formulas_with_explicit_inverses():
    A, omega, tol = lr.laplacian_square(4) + 0.2 * np.eye(16), 1.3, 1e-8
    inverse, D, L = np.linalg.inv(A), np.diag(A.diagonal()), np.tril(A, -1)
    alpha = np.linalg.eigvals(D @ inverse).real.max()
    beta = np.linalg.eigvals((L @ np.linalg.inv(D) @ L.T - D / 4) @ inverse).real.max()
    q = (1 + (2 - omega) ** 2 / (4 * omega) * alpha + beta * omega) / (2 - omega)
    kappa = np.linalg.norm(A, 2) * np.linalg.norm(inverse, 2)
    assert lr.ssor_condition_bound(A, omega) == pytest.approx(q)
    log = math.log(math.sqrt(kappa) / tol + math.sqrt(kappa / tol**2 - 1))
    assert lr.pcg_bound(A, omega, tol) == pytest.approx(1 + log / -math.log(1 - 2 / (1 + math.sqrt(q))))
    assert lr.pcg_bound(A, np.array([omega, 1.0]), tol).shape == (2,)


# --- Learners


@given(losses=st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=30), eta=st.floats(1e-3, 2))
def test_tsallis_probabilities_solve_their_equation(losses, eta):
    K = np.array(losses)
    p = lr.tsallis_probs(K, eta)
    assert p.sum() == pytest.approx(1, abs=1e-12)

    def excess(z):  # z is min K - x, and the root lies between the two starts that bracket it
        return (4 / (eta * (K - K.min() + z)) ** 2).sum() - 1

    z = brentq(excess, 2 / eta * (1 - 1e-12), 2 / eta * math.sqrt(len(K)) * (1 + 1e-9), xtol=1e-13, rtol=1e-14)
    np.testing.assert_allclose(p, 4 / (eta * (K - K.min() + z)) ** 2, rtol=1e-8)


def test_tsallis_probabilities_minimise_the_regularised_loss():
    K, eta = np.array([0.0, 1.0, 3.0]), 0.7
    found = minimize(
        lambda p: p @ K - 4 / eta * np.sqrt(p).sum(),
        np.full(3, 1 / 3),
        bounds=[(1e-9, 1)] * 3,
        constraints={"type": "eq", "fun": lambda p: p.sum() - 1},
        options={"ftol": 1e-14},
    )
    np.testing.assert_allclose(lr.tsallis_probs(K, eta), found.x, atol=1e-4)


def test_a_thousand_equal_arms_are_equally_likely():
    np.testing.assert_allclose(lr.tsallis_probs(np.full(1000, 7.0), 0.1), 1e-3)


def test_tsallis_inf_weighs_a_cost_by_the_inverse_of_its_probability():
    learner = lr.TsallisINF(GRID[:4], rng())
    assert learner.probs.tolist() == [0.25] * 4
    first = learner.predict()
    learner.update(11)
    assert learner.k[first] == pytest.approx(10 / 0.25)
    expected = lr.tsallis_probs(learner.k / 10, 2 / math.sqrt(2))  # the running mean of k - 1 is 10
    np.testing.assert_array_equal(learner.probs, expected)
    second = learner.predict()
    before = learner.k.copy()
    learner.update(21)
    before[second] += 20 / expected[second]
    np.testing.assert_allclose(learner.k, before)
    np.testing.assert_allclose(learner.probs, lr.tsallis_probs(before / 15, 2 / math.sqrt(3)))


def test_the_cumulative_losses_of_tsallis_inf_are_unbiased():
    draw, costs = rng(), np.array([[3.0, 9.0, 2.0]] * 3)
    total = np.zeros(3)
    for _ in range(600):
        learner = lr.TsallisINF(GRID[:3], draw)
        lr.play(learner, costs)
        total += learner.k
    np.testing.assert_allclose(total / 600, (costs - 1).sum(0), rtol=0.12)


def test_costs_of_one_leave_tsallis_inf_as_it_was():
    learner = lr.TsallisINF(GRID[:3], rng())
    lr.play(learner, np.ones((5, 3)))
    np.testing.assert_allclose(learner.probs, 1 / 3)


def test_the_bins_learn_apart_and_their_edges_are_clipped():
    learner = lr.TsallisINFCB(GRID, 4, (0.0, 1.0), rng())
    for context, k in ((-1.0, 0), (0.0, 0), (0.26, 1), (0.99, 3), (1.0, 3), (7.0, 3)):
        before = [one.k.sum() for one in learner.learners]
        learner.predict(context)
        learner.update(5)
        changed = [one.k.sum() != old for one, old in zip(learner.learners, before, strict=True)]
        assert changed == [i == k for i in range(4)]


def test_chebcb_begins_with_equal_chances_exactly():
    learner = lr.ChebCB(GRID, 6, (-0.15, 0.45), rng())
    assert learner.probs(0.1).tolist() == [1 / 20] * 20


@given(context=st.floats(-0.15, 0.45), terms=st.integers(1, 9))
@settings(max_examples=30)
def test_the_features_are_chebyshev_polynomials(context, terms):
    z = 2 * (context + 0.15) / 0.6 - 1
    expected = chebyshev.chebvander(z, terms - 1)[0]
    np.testing.assert_allclose(lr.ChebCB(GRID, terms, (-0.15, 0.45), rng()).features(context), expected, atol=1e-9)


@given(seed=st.integers(0, 999), rounds=st.integers(1, 25), terms=st.integers(1, 4))
@settings(max_examples=15)
def test_chebcb_is_the_definition_with_the_whole_history(seed, rounds, terms):
    """Against fits by a general optimiser on all past rounds, instead of running Gram matrices."""
    draw, d = rng(seed), 3
    learner = lr.ChebCB(GRID[:d], terms, (0.0, 1.0), rng(seed + 1))
    contexts, arms, costs, predicted = draw.uniform(0, 1, rounds), [], [], []
    for context in contexts:
        y = learner.theta @ learner.features(context)
        arms.append(learner.predict(float(context)))
        predicted.append(y[arms[-1]])
        costs.append(float(draw.integers(1, 60)))
        learner.update(costs[-1])
    arms, costs = np.array(arms), np.array(costs)
    R, K = costs.max() - costs.min(), costs.max()
    N = 2 + 4 * R / K * (1 + math.log(terms))
    S = K * N
    assert learner.scale == pytest.approx(S)
    box = np.array([1 / N, *(2 * R / (S * j) for j in range(1, terms))])
    phi = chebyshev.chebvander(2 * contexts - 1, terms - 1)
    assert (np.abs(learner.theta) <= box + 1e-9).all()
    for a in range(d):
        X, y = phi[arms == a], (costs[arms == a] - 1) / S
        if not len(y):
            assert not learner.theta[a].any()
            continue
        best = scipy.optimize.lsq_linear(X, y, (-box - 1e-12, box + 1e-12), tol=1e-14)
        ours = ((X @ learner.theta[a] - y) ** 2).sum() / 2
        assert ours <= best.cost + 1e-9 * (1 + best.cost)
    E = ((np.array(predicted) - costs / S) ** 2).sum()
    alpha = (math.pi + 2 / math.pi * math.log(2 * terms + 1)) * R / (2 * S * (terms + 1))
    assert learner.eta == pytest.approx(2 * rounds * math.sqrt(d * rounds / (E + 2 * alpha**2 * rounds)), rel=1e-6)
    y = learner.theta @ learner.features(0.3)
    p = learner.probs(0.3)
    others = np.arange(d) != y.argmin()
    np.testing.assert_allclose(p[others], 1 / (d + learner.eta * (y - y.min())[others]))
    assert p.sum() == pytest.approx(1)


def test_chebcb_finds_the_arm_that_is_best_on_each_side():
    contexts = rng().uniform(0, 1, 600)
    costs = np.stack([10 + 40 * contexts, 50 - 40 * contexts], 1).round()
    arms = lr.play(lr.ChebCB(GRID[:2], 3, (0.0, 1.0), rng(1)), costs, contexts)
    assert (arms[300:] == costs[300:].argmin(1)).mean() > 0.9


def test_a_learner_is_told_the_cost_of_its_own_arm_alone():
    class Spy(lr.ChebCB):
        def __init__(self):
            self.seen = []

        def predict(self, context):
            return int(context)

        def update(self, cost):
            self.seen.append(cost)

    spy = Spy()
    arms = lr.play(spy, np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1.0, 0.0]))
    assert (arms.tolist(), spy.seen) == ([1, 0], [2.0, 3.0])


def test_the_same_randomness_plays_the_same_arms():
    costs = rng().integers(1, 50, (60, 20))
    for make in (
        lambda: lr.TsallisINF(GRID, rng(3)),
        lambda: lr.TsallisINF(GRID, rng(3), eta=0.1),
    ):
        assert (lr.play(make(), costs) == lr.play(make(), costs)).all()


# --- The experiment


def test_everything_is_double_precision_whatever_comes_in():
    A, b = lr.laplacian_square(3).astype(np.float32), np.ones(9, dtype=np.float32)
    assert lr.sor(A, b, 1.2)[1].dtype == np.float64
    assert lr.ssor_pcg(A, b, 1.2)[1].dtype == np.float64
    assert lr.sor(A, b, 1.2)[0] == lr.sor(A.astype(float), b.astype(float), 1.2)[0]
    costs = lr.sor_costs(3, np.zeros(1, np.float32), b[None], np.array([1.25], np.float32))
    assert costs.dtype == np.int64
    assert lr.tsallis_probs(np.zeros(2, np.float32), 1.0).dtype == np.float64


def test_full_scale_takes_two_steps():
    result = lr.run(dataclasses.replace(lr.FULL, rounds=2, trials=2), device="cpu", progress=False)
    assert result.high.costs.shape == (2, 20)
    assert result.low.contextual.shape == (2, 2)
    verdicts = {claim.id: claim for claim in lr.claims(result)}
    assert math.isnan(verdicts["regret_sublinear"].measured)
    assert verdicts["regret_sublinear"].holds is False
    assert verdicts["surrogate_bounds_cost"].holds
    assert verdicts["ssor_cg_bound"].holds


def test_the_policies_are_rows_of_the_cost_table():
    result = lr.run(SMALL, progress=False)
    family, omegas = result.high, SMALL.omegas
    assert family.fixed.sum() == family.costs.sum(0).min()
    assert family.paid(family.bandit)[1, 7] == family.costs[7, family.bandit[1, 7]]
    A = lr.laplacian_square(4) + family.shifts[3] * np.eye(16)
    young = lr.optimal_omega(lr.jacobi_radius(A))
    assert abs(omegas[family.young[3]] - young) == np.abs(omegas - young).min()
    assert lr.late_ratio(family, family.young[None], family.paid(family.young)) == 1


@pytest.mark.parametrize(
    ("field", "factor"), [("costs", 2), ("mean_costs", 0.5), ("asymptotic", 2)], ids=["no bound", "loose", "no need"]
)
def test_the_bound_must_hold_for_the_dearest_be_near_the_mean_and_be_needed(field, factor):
    result = lr.run(dataclasses.replace(lr.Config(), rounds=2, trials=1), progress=False)
    assert result.bounds.costs.max() > result.bounds.mean_costs.max()
    changed = dataclasses.replace(result.bounds, **{field: factor * getattr(result.bounds, field)})
    verdicts = [
        {claim.id: claim.holds for claim in lr.claims(dataclasses.replace(result, bounds=bounds))}
        for bounds in (result.bounds, changed)
    ]
    assert [verdict["surrogate_bounds_cost"] for verdict in verdicts] == [True, False]


A3, B3 = lr.laplacian_square(3), np.ones(9)


def played(learner, *context):
    learner.predict(*context)
    return learner


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: lr.laplacian_square(1), "side.*1"),
        (lambda: lr.truncated_normal(0, rng()), "n must.*0"),
        (lambda: lr.sor(A3, B3, 0.0), "omega.*0"),
        (lambda: lr.sor(A3, B3, 2.0), "omega.*2"),
        (lambda: lr.sor(A3, B3, math.nan), "omega.*nan"),
        (lambda: lr.sor(A3, B3[:8], 1.0), r"\(9,\), got \(8,\)"),
        (lambda: lr.sor(A3[:8], B3, 1.0), r"square.*\(8, 9\)"),
        (lambda: lr.sor(A3, B3, 1.0, x0=np.ones(3)), r"x0.*\(3,\)"),
        (lambda: lr.sor(A3 - 4 * np.eye(9), B3, 1.0), "diagonal, got 0 in row 0"),
        (lambda: lr.sor(A3, B3, 1.0, tol=0.0), "tol.*0.0"),
        (lambda: lr.sor(A3, B3, 1.0, max_iter=0), "max_iter.*0"),
        (lambda: lr.sor(A3 + math.inf, B3, 1.0), "A must be finite, got inf"),
        (lambda: lr.sor(A3, B3 * math.nan, 1.0), "b must be finite, got nan"),
        (lambda: lr.sor_costs(1, np.zeros(1), np.ones((1, 1)), GRID), "side.*1"),
        (lambda: lr.sor_costs(3, np.zeros(2), B3[None], GRID), r"2 x 9.*\(1, 9\)"),
        (lambda: lr.sor_costs(3, np.zeros(1), B3[None], np.array([1.0, 2.5])), "omega.*2.5"),
        (lambda: lr.sor_costs(3, np.zeros(1), B3[None], np.array([])), r"omega.*\(0,\)"),
        (lambda: lr.sor_costs(3, np.array([-4.0]), B3[None], GRID), "shifts.*-4"),
        (lambda: lr.sor_costs(3, np.array([math.nan]), B3[None], GRID), "shifts.*nan"),
        (lambda: lr.sor_costs(3, np.zeros(1), B3[None] * math.inf, GRID), "rhs.*inf"),
        (lambda: lr.sor_costs(3, np.zeros(1), B3[None], GRID, tol=-1.0), "tol.*-1.0"),
        (lambda: lr.jacobi_radius(np.ones((2, 3))), r"\(2, 3\)"),
        (lambda: lr.optimal_omega(1.0), "beta.*1.0"),
        (lambda: lr.optimal_omega(-0.1), "beta.*-0.1"),
        (lambda: lr.sor_radius(-1.0, 0.5), "omega.*-1"),
        (lambda: lr.sor_radius(1.0, np.array([0.5, 1.5])), "beta.*1.5"),
        (lambda: lr.asymptocity(A3, GRID, np.ones(3)), r"costs.*\(20,\).*\(3,\)"),
        (lambda: lr.asymptocity(A3, GRID[:1], np.zeros(1)), "costs.*0"),
        (lambda: lr.surrogate_cost(1.0, 0.5, 1.0, 1e-8), "tau.*1.0"),
        (lambda: lr.surrogate_cost(1.0, 0.5, 0.1, 1.0), "tol.*1.0"),
        (lambda: lr.tsallis_probs(np.zeros(3), 0.0), "eta.*0.0"),
        (lambda: lr.tsallis_probs(np.array([]), 1.0), r"\(0,\)"),
        (lambda: lr.tsallis_probs(np.array([0.0, math.inf]), 1.0), "losses.*inf"),
        (lambda: lr.TsallisINF([], rng()), r"grid.*\(0,\)"),
        (lambda: lr.TsallisINF([1.0, 2.0], rng()), "grid.*2"),
        (lambda: lr.TsallisINF(GRID, rng(), eta=-1.0), "eta.*-1.0"),
        (lambda: lr.TsallisINF(GRID, rng()).update(3), "none since"),
        (lambda: played(lr.TsallisINF(GRID, rng())).update(0.5), "cost.*0.5"),
        (lambda: played(lr.TsallisINF(GRID, rng())).update(math.inf), "cost.*inf"),
        (lambda: lr.TsallisINFCB([], 3, (0.0, 1.0), rng()), r"grid.*\(0,\)"),
        (lambda: lr.TsallisINFCB(GRID, 0, (0.0, 1.0), rng()), "bins.*0"),
        (lambda: lr.TsallisINFCB(GRID, 3, (1.0, 1.0), rng()), r"interval.*\(1.0, 1.0\)"),
        (lambda: lr.TsallisINFCB(GRID, 3, (0.0, 1.0), rng()).predict(math.nan), "context.*nan"),
        (lambda: lr.TsallisINFCB(GRID, 3, (0.0, 1.0), rng()).update(3), "none since"),
        (lambda: played(lr.TsallisINFCB(GRID, 3, (0.0, 1.0), rng()), 0.5).update(0), "cost.*0"),
        (lambda: lr.ChebCB([], 3, (0.0, 1.0), rng()), r"grid.*\(0,\)"),
        (lambda: lr.ChebCB(GRID, 0, (0.0, 1.0), rng()), "terms.*0"),
        (lambda: lr.ChebCB(GRID, 3, (0.0, math.inf), rng()), "interval.*inf"),
        (lambda: lr.ChebCB(GRID, 3, (0.0, 1.0), rng()).predict(1.5), "context.*1.5"),
        (lambda: lr.ChebCB(GRID, 3, (0.0, 1.0), rng()).probs(math.nan), "context.*nan"),
        (lambda: lr.ChebCB(GRID, 3, (0.0, 1.0), rng()).update(3), "none since"),
        (lambda: played(lr.ChebCB(GRID, 3, (0.0, 1.0), rng()), 0.5).update(-2), "cost.*-2"),
        (lambda: lr.ssor_pcg(A3, B3, 2.0), "omega.*2"),
        (lambda: lr.ssor_pcg(A3, B3[:2], 1.0), r"\(9,\), got \(2,\)"),
        (lambda: lr.ssor_pcg(np.tril(A3), B3, 1.0), "symmetric.*1"),
        (lambda: lr.ssor_pcg(-A3, B3, 1.0), "positive diagonal, got -4"),
        (lambda: lr.ssor_pcg(A3, B3, 1.0, tol=0.0), "tol.*0.0"),
        (lambda: lr.ssor_condition_bound(A3 - 3 * np.eye(9), 1.0), "definite.*-1.8"),
        (lambda: lr.pcg_bound(A3, 1.0, 0.0), "tol.*0.0"),
        (lambda: lr.pcg_bound(A3, np.array([1.0, 0.0]), 1e-8), "omega.*0"),
        (lambda: lr.play(lr.TsallisINF(GRID, rng()), np.ones((3, 20)), np.ones(2)), "3, one a round, got 2"),
        (lambda: lr.Config(shift_min=-0.17), "shift_min.*-0.162.*-0.17"),
        (lambda: lr.Config(omega_max=2.0), "omega_max.*2"),
        (lambda: lr.Config(omega_min=1.96), "omega_min 1.96, got 1.95"),
        (lambda: lr.Config(high=(0.5,)), r"high.*\(0.5,\)"),
        (lambda: lr.Config(low=(2.0, 0.0)), "low.*0.0"),
        (lambda: lr.Config(actions=1), "actions.*1"),
        (lambda: lr.Config(tol=1.0), "tol.*1.0"),
        (lambda: lr.Config(shift_width=0.0), "shift_width.*0.0"),
        (lambda: lr.run(SMALL, device="no-such-device"), "no-such-device"),
    ],
)
def test_bad_input_is_refused_with_its_value(call, match):
    with refuses(ValueError, match=match):
        call()
