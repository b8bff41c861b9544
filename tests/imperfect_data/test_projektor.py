"""Transport against linear programming and closed forms in one dimension; gradients against differences; the run."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize
from scipy.stats import spearmanr, wasserstein_distance
from torch import nn
from torch.nn import functional

from overparam.core import compute
from overparam.core.models import mlp_ensemble_init
from overparam.imperfect_data import projektor as pj
from overparam.imperfect_data.projektor import sources as sources_module
from tests.conftest import refuses
from tests.hub import hub_folder

SMALL = pj.Config(
    n_val=60,
    n_source=60,
    pilot=24,
    n0=12,
    n1=24,
    n=60,
    grid=4,
    repeats=2,
    repeats_full=1,
    repeats_selected=3,
    hidden=16,
    steps=8,
)


def toy(sizes=(3, 5, 4), n_val=6, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.random((n, n_val)) for n in sizes]


def simplex(seed, m=3):
    return np.random.default_rng(seed).dirichlet(np.ones(m))


def program(costs, p):
    """Value and dual of the transport problem by HiGHS, over every row and column."""
    cost = np.concatenate(costs)
    n, m = cost.shape
    rows, columns = np.kron(np.eye(n), np.ones(m)), np.kron(np.ones(n), np.eye(m))
    weights = np.concatenate([np.full(len(c), share / len(c)) for share, c in zip(p, costs, strict=True)])
    marginals = np.concatenate([weights, np.full(m, 1 / m)])
    solved = linprog(cost.ravel(), A_eq=np.concatenate([rows, columns]), b_eq=marginals, method="highs")
    return solved.fun, solved.eqlin.marginals[:n]


# --- Costs ------------------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 99), classes=st.integers(2, 4))
@settings(max_examples=6)
def test_label_distances_in_one_dimension_are_scipys(seed, classes):
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(classes), rng.integers(classes, size=12)])
    x = rng.normal(size=(len(y), 1)) + y[:, None]
    distances = pj.label_distances(x, y, classes)
    for c, d in itertools.product(range(classes), repeat=2):
        assert distances[c, d] == pytest.approx(wasserstein_distance(x[y == c, 0], x[y == d, 0]), abs=1e-12)
    assert (distances == distances.T).all()
    assert (distances.diagonal() == 0).all()


def test_the_cost_is_a_distance_of_images_and_a_distance_of_labels():
    rng = np.random.default_rng(0)
    x, y, x_val, y_val = rng.random((4, 3)), np.array([0, 1, 1, 2]), rng.random((5, 3)), np.array([2, 0, 1, 1, 0])
    between = pj.label_distances(rng.random((6, 3)), np.arange(6) % 3, 3)
    cost = pj.hybrid_cost(x, y, x_val, y_val, between, weight=0.7)
    for i, j in itertools.product(range(4), range(5)):
        assert cost[i, j] == pytest.approx(math.dist(x[i], x_val[j]) + 0.7 * between[y[i], y_val[j]], rel=1e-12)
    features = pj.hybrid_cost(x, y, x_val, y_val, between, weight=0)
    assert (features <= cost).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_transport_computes_in_float64_whatever_comes_in(dtype):
    x = np.random.default_rng(0).random((6, 2)).astype(dtype)
    y = np.arange(6, dtype=np.int32) % 2
    between = pj.label_distances(x, y, 2)
    cost = pj.hybrid_cost(x, y, x, y, between)
    assert between.dtype == cost.dtype == np.float64
    value, (u, v) = pj.mixture_ot([cost[:3].astype(dtype), cost[3:].astype(dtype)], (0.5, 0.5))
    assert value == pytest.approx(0, abs=1e-6)
    assert u.dtype == v.dtype == np.float64


# --- Transport --------------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 999), n_val=st.integers(1, 8))
@settings(max_examples=12)
def test_the_distance_is_the_value_of_the_linear_program(seed, n_val):
    costs, p = toy(n_val=n_val, seed=seed), simplex(seed)
    value, potentials = pj.mixture_ot(costs, p)
    assert value == pytest.approx(program(costs, p)[0], rel=1e-9)
    # Strong duality, with the validation potentials that the c-transform of the potentials gives back.
    u = np.concatenate(potentials)
    w = (np.concatenate(costs) - u[:, None]).min(0)
    assert sum(share * f.mean() for share, f in zip(p, potentials, strict=True)) + w.mean() == pytest.approx(value)


@given(seed=st.integers(0, 99))
@settings(max_examples=15)
def test_the_distance_on_a_line_is_scipys_with_weights(seed):
    rng = np.random.default_rng(seed)
    sources, val, p = [rng.normal(i, 1, n) for i, n in enumerate((4, 7, 3))], rng.normal(1, 1, 6), simplex(seed)
    weights = np.concatenate([np.full(len(s), share / len(s)) for share, s in zip(p, sources, strict=True)])
    value, _ = pj.mixture_ot([np.abs(s[:, None] - val) for s in sources], p)
    assert value == pytest.approx(wasserstein_distance(np.concatenate(sources), val, weights))


@given(seed=st.integers(0, 99), share=st.floats(0, 1))
@settings(max_examples=12)
def test_the_distance_is_convex_in_the_mixture(seed, share):
    costs, p, q = toy(seed=seed), simplex(seed), simplex(seed + 1)
    between = pj.mixture_ot(costs, share * p + (1 - share) * q)[0]
    assert between <= share * pj.mixture_ot(costs, p)[0] + (1 - share) * pj.mixture_ot(costs, q)[0] + 1e-9


@pytest.mark.parametrize("seed", range(5))
def test_the_gradient_is_the_derivative_of_the_linear_program(seed):
    costs, p = toy((7, 9, 8), n_val=11, seed=seed), np.array([0.37, 0.21, 0.42])
    gradient = pj.ot_gradient(pj.mixture_ot(costs, p)[1], p)
    for i in range(3):
        along = (np.eye(3)[i] - p) / (1 - p[i])
        ahead, behind = (program(costs, p + step * along)[0] for step in (1e-6, -1e-6))
        assert gradient[i] == pytest.approx((ahead - behind) / 2e-6, rel=1e-4, abs=1e-6)
    np.testing.assert_allclose(gradient, pj.central_differences(costs, tuple(p), 1e-6), rtol=1e-4, atol=1e-6)


@given(seed=st.integers(0, 99), constant=st.floats(-1e3, 1e3))
@settings(max_examples=12)
def test_the_gradient_forgets_a_constant_and_its_weighted_sum_is_zero(seed, constant):
    costs, p = toy(seed=seed), simplex(seed)
    _, potentials = pj.mixture_ot(costs, p)
    gradient = pj.ot_gradient(potentials, p)
    assert sum(p * (1 - p) * gradient) == pytest.approx(0, abs=1e-12)
    np.testing.assert_allclose(pj.ot_gradient([u + constant for u in potentials], p), gradient, atol=1e-6)
    means = [u.mean() for u in potentials]
    for i in range(3):  # the form in which the paper writes it
        others = sum(p[j] * means[j] for j in range(3) if j != i) / (1 - p[i])
        assert gradient[i] == pytest.approx(means[i] - others, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_a_source_without_mass_has_the_one_sided_derivative(seed):
    costs, p = toy((7, 9, 8), n_val=11, seed=seed), np.array([0.37, 0.63, 0.0])
    value, potentials = pj.mixture_ot(costs, p)
    assert value == pytest.approx(program(costs[:2], p[:2])[0])
    moved = (program(costs, 0.999 * p + [0, 0, 0.001])[0] - value) / 0.001
    # The value is convex, so a subgradient lies below its slope; the third entry is one.
    assert pj.ot_gradient(potentials, p)[2] <= moved + 1e-9


def test_a_pure_mixture_has_a_gradient_of_zero_in_its_own_corner():
    costs = toy()
    value, potentials = pj.mixture_ot(costs, (0, 1, 0))
    gradient = pj.ot_gradient(potentials, (0, 1, 0))
    assert gradient[1] == 0
    assert gradient[0] == pytest.approx(potentials[0].mean() - potentials[1].mean())
    assert value == pytest.approx(program(costs, (0, 1, 0))[0])


def test_exercise_two_sources_on_a_line():
    costs = [np.array([[0.0, 2], [1, 1]]), np.array([[4.0, 2]])]
    value, potentials = pj.mixture_ot(costs, (0.4, 0.6))
    assert value == pytest.approx(1.6)
    np.testing.assert_allclose(pj.ot_gradient(potentials, (0.4, 0.6)), [-3.5, 3.5])


# --- Regressions and extrapolation ------------------------------------------------------------------------------


@pytest.mark.parametrize("use_ot", [False, True])
@pytest.mark.parametrize("form", pj.FORMS)
def test_a_model_recovers_what_has_its_own_form(form, use_ot):
    rng = np.random.default_rng(0)
    p, ot = rng.dirichlet(np.ones(3), 30), rng.random(30)
    basis = {"constant": np.ones((30, 1)), "linear": p, "pseudo-quadratic": np.hstack([p, p**2])}[form]
    b, c = rng.normal(size=(2, basis.shape[1]))
    truth = basis @ c + use_ot * (basis @ b) * ot
    model = pj.PerformanceModel(form, use_ot).fit(p[:20], ot[:20], truth[:20])
    np.testing.assert_allclose(model.predict(p[20:], ot[20:]), truth[20:], rtol=1e-8)
    np.testing.assert_allclose(model.predict(p[20], ot[20]), truth[20:21], rtol=1e-8)


@given(form=st.sampled_from(pj.FORMS), use_ot=st.booleans(), seed=st.integers(0, 99))
@settings(max_examples=20)
def test_the_models_gradient_is_its_derivative_along_the_simplex(form, use_ot, seed):
    rng = np.random.default_rng(seed)
    p, dot = rng.dirichlet(np.ones(3), 12), rng.normal(size=3)
    model = pj.PerformanceModel(form, use_ot).fit(p, rng.random(12), rng.normal(size=12))
    along = np.array([1, 1, -2]) / 9
    p0 = 0.9 * p[0] + 0.1 / 3  # away from the border, over which a difference would step
    ahead, behind = (model.predict(p0 + h * along, 0.7 + h * dot @ along)[0] for h in (1e-4, -1e-4))
    assert model.gradient(p0, 0.7, dot) @ along == pytest.approx((ahead - behind) / 2e-4, rel=1e-4, abs=1e-4)


def test_least_squares_has_the_least_norm():
    p = np.array([[0.5, 0.5], [0.5, 0.5]])
    model = pj.PerformanceModel("linear", use_ot=False).fit(p, [1, 1], [1, 3])
    np.testing.assert_allclose(model.coefficients, [2, 2])


@given(slope=st.floats(-3, 3), shift=st.floats(-3, 3), n=st.floats(1, 1e6))
def test_extrapolation_follows_a_line_in_the_logarithm(slope, shift, n):
    v0, v1 = (shift + slope * math.log(size) for size in (60, 120))
    assert pj.extrapolate(v0, v1, 60, 120, n) == pytest.approx(shift + slope * math.log(n), abs=1e-9)
    projected = pj.extrapolate(np.array([v0, v1]), np.array([v1, v1]), 60, 120, n)
    np.testing.assert_allclose(projected, [shift + slope * math.log(n), v1], atol=1e-9)


def test_exercise_accuracy_overshoots_and_its_error_does_not():
    assert pj.extrapolate(0.62, 0.70, 1000, 1500, 10_000) == pytest.approx(1.0743, abs=1e-4)
    error = math.exp(pj.extrapolate(math.log(0.38), math.log(0.30), 1000, 1500, 10_000))
    assert error == pytest.approx(0.0993, abs=1e-4)


# --- Mixtures ---------------------------------------------------------------------------------------------------


@given(v=st.lists(st.floats(-5, 5), min_size=1, max_size=5))
@settings(max_examples=25)
def test_the_projection_is_the_nearest_mixture(v):
    v = np.array(v)
    p = pj.project_simplex(v)
    assert p.min() >= 0
    assert p.sum() == pytest.approx(1)
    for corner in np.eye(len(v)):  # the variational inequality characterizes it
        assert (v - p) @ (corner - p) <= 1e-9


def test_the_projection_keeps_mixtures_and_stands_huge_numbers():
    np.testing.assert_allclose(pj.project_simplex([0.2, 0.5, 0.3]), [0.2, 0.5, 0.3])
    np.testing.assert_allclose(pj.project_simplex([1e20, 0, 0]), [1, 0, 0])
    np.testing.assert_allclose(pj.project_simplex([-1e20, -1e20]), [0.5, 0.5])


@given(seed=st.integers(0, 99), m=st.integers(1, 6), n=st.integers(0, 500))
def test_an_allocation_sums_to_n_and_is_within_one_of_the_exact_shares(seed, m, n):
    p = simplex(seed, m)
    counts = pj.allocate(p, n)
    assert counts.sum() == n
    assert (np.abs(counts - n * p) < 1 + 1e-6).all()


def test_allocation_breaks_ties_to_the_lower_index_and_forgives_rounding():
    assert pj.allocate((1 / 3, 1 / 3, 1 / 3), 400).tolist() == [134, 133, 133]
    assert pj.allocate((0.29, 0.71), 100).tolist() == [29, 71]
    assert pj.allocate((0.25, 0.25, 0.5), 2).tolist() == [1, 0, 1]
    assert pj.allocate((0.1, 0.3, 0.6), 5).tolist() == [1, 1, 3]


@pytest.mark.parametrize("sources", [1, 2, 3])
def test_the_grid_has_every_mixture_once(sources):
    grid = pj.mixtures(4, sources)
    expected = [row for row in itertools.product(range(5), repeat=sources) if sum(row) == 4]
    assert (4 * grid).tolist() == [list(row) for row in expected]
    assert len(pj.mixtures(10)) == 66


def fitted(costs, size, seed=0):
    grid = pj.mixtures(5)
    ot = np.array([pj.mixture_ot(costs, p)[0] for p in grid])
    noise = np.random.default_rng(seed).normal(size=len(grid))
    return pj.PerformanceModel().fit(grid, ot, 3 * ot - math.log(size) + 0.05 * noise + grid @ [0.1, 0, 0.1])


def test_the_selection_finds_the_minimum_of_its_prediction():
    costs = toy((12, 15, 11), n_val=20, seed=3)
    models = fitted(costs, 10), fitted(costs, 20)
    best, path, values = pj.select_mixture(costs, *models, 10, 20, 80)
    assert path.shape == (61, 3)
    assert values.shape == (61,)
    np.testing.assert_allclose(path[0], 1 / 3)
    assert (path[values.argmin()] == best).all()
    np.testing.assert_allclose(path.sum(1), 1)

    def predicted(free):
        p = pj.project_simplex([*free, 1 - sum(free)])
        ot = pj.mixture_ot(costs, p)[0]
        return pj.extrapolate(models[0].predict(p, ot)[0], models[1].predict(p, ot)[0], 10, 20, 80)

    least = minimize(predicted, best[:2], method="Nelder-Mead")
    brute = min(predicted(p[:2]) for p in pj.mixtures(20))
    assert values.min() <= min(least.fun, brute) + 0.01 * abs(values[0] - brute)
    assert values.min() < values[0]


def test_a_step_of_the_selection_moves_the_largest_coordinate_by_the_step_size():
    costs = toy((12, 15, 11), n_val=20, seed=3)
    _, path, _ = pj.select_mixture(costs, fitted(costs, 10), fitted(costs, 20), 10, 20, 80, lr=0.01, steps=2)
    moves = np.abs(np.diff(path, axis=0)).max(1)
    np.testing.assert_allclose(moves, [0.01, 0.0095], rtol=1e-6)


# --- Refusals ---------------------------------------------------------------------------------------------------

X, Y, W = np.zeros((2, 3)), np.array([0, 1]), np.zeros((2, 2))
PAIR = [np.ones((2, 3)), np.ones((1, 3))]
MODEL = pj.PerformanceModel()
FITTED = pj.PerformanceModel("constant").fit([[1, 0], [0, 1]], [1, 2], [1, 2])

REFUSALS = [
    (pj.label_distances, (X, Y, 3), {}, "none of class 2"),
    (pj.label_distances, (X, np.array([0, 4]), 2), {}, r"0\.\.1, got 0\.\.4"),
    (pj.label_distances, (X, np.array([0]), 2), {}, r"\(2, 3\) and \(1,\)"),
    (pj.label_distances, (X, Y, 0), {}, "num_classes.*0"),
    (pj.label_distances, (X * np.nan, Y, 2), {}, "x must be finite, got nan"),
    (pj.label_distances, (X, Y + 0.5, 2), {}, "integers, got .*0.5"),
    (pj.hybrid_cost, (X, Y, X, Y, W), {"weight": -1.0}, "weight.*-1.0"),
    (pj.hybrid_cost, (X, Y, X, Y, W), {"weight": math.nan}, "weight.*nan"),
    (pj.hybrid_cost, (X, Y, np.zeros((2, 4)), Y, W), {}, "3 and 4"),
    (pj.hybrid_cost, (X, Y + 1, X, Y, W), {}, r"got 1\.\.2"),
    (pj.hybrid_cost, (X, Y, X, Y, W[:1]), {}, r"square, got shape \(1, 2\)"),
    (pj.hybrid_cost, (X, Y, X, Y[:1], W), {}, r"\(2, 3\) and \(1,\)"),
    (pj.mixture_ot, (PAIR, (0.5, 0.6)), {}, r"sum to 1, got \[0.5, 0.6\]"),
    (pj.mixture_ot, (PAIR, (1.5, -0.5)), {}, r"got \[1.5, -0.5\]"),
    (pj.mixture_ot, (PAIR, (math.nan, 1)), {}, r"got \[nan, 1.0\]"),
    (pj.mixture_ot, (PAIR, (1.0,)), {}, r"2 sources, got shape \(1,\): \[1.0\]"),
    (pj.mixture_ot, ([PAIR[0], np.ones((0, 3))], (0.5, 0.5)), {}, r"\(0, 3\) for source 1"),
    (pj.mixture_ot, ([PAIR[0], np.ones((2, 4))], (0.5, 0.5)), {}, r"\(2, 4\) for source 1"),
    (pj.mixture_ot, ([PAIR[0] * math.inf, PAIR[1]], (0.5, 0.5)), {}, "finite, got inf for source 0"),
    (pj.mixture_ot, ([], ()), {}, "at least one source, got 0"),
    (pj.ot_gradient, ([np.ones(2), np.ones(1)], (0.5, 0.4)), {}, r"\[0.5, 0.4\]"),
    (pj.ot_gradient, ([np.ones(2), np.ones(1)], (1.0,)), {}, r"2 sources, got shape \(1,\)"),
    (pj.ot_gradient, ([np.ones(2), np.ones(0)], (0.5, 0.5)), {}, "none in source 1"),
    (pj.extrapolate, (1.0, 2.0, 0, 10, 20), {}, "n0.*0"),
    (pj.extrapolate, (1.0, 2.0, 10, -1, 20), {}, "n1.*-1"),
    (pj.extrapolate, (1.0, 2.0, 10, 20, math.inf), {}, "n must.*inf"),
    (pj.extrapolate, (1.0, 2.0, 10, 10, 20), {}, "differ, got 10"),
    (pj.extrapolate, (np.ones(2), np.ones(3), 10, 20, 30), {}, r"\(2,\) and \(3,\)"),
    (pj.project_simplex, ([],), {}, r"shape \(0,\)"),
    (pj.project_simplex, ([1.0, math.nan],), {}, "finite, got nan"),
    (pj.allocate, ((0.5, 0.4), 10), {}, r"\[0.5, 0.4\]"),
    (pj.allocate, ((0.5, 0.5), -1), {}, "n must.*-1"),
    (pj.PerformanceModel, ("cubic",), {}, "form.*cubic"),
    (MODEL.predict, ((0.5, 0.5), 1.0), {}, "predict needs a fit first, got .*None"),
    (MODEL.gradient, ((0.5, 0.5), 1.0, (0, 0)), {}, "gradient needs a fit first, got .*None"),
    (MODEL.fit, ([[0.5, 0.5]], [1.0], [1.0, 2.0]), {}, r"1 mixtures, got shape \(2,\)"),
    (MODEL.fit, ([[0.5, 0.5]], [1.0, 2.0], [1.0]), {}, r"1 mixtures, got shape \(2,\)"),
    (MODEL.fit, ([[0.5, 0.6]], [1.0], [1.0]), {}, r"\[0.5, 0.6\]"),
    (MODEL.fit, ([[0.5, 0.5]], [1.0], [math.nan]), {}, "perf.*nan"),
    (MODEL.fit, ([[0.5, 0.5]], [math.nan], [1.0]), {}, "ot.*nan"),
    (MODEL.fit, ([0.5, 0.5], [1.0], [1.0]), {}, r"shape \(2,\)"),
    (FITTED.predict, ((0.5, 0.3, 0.2), 1.0), {}, r"2 sources, got shape \(3,\)"),
    (FITTED.predict, ([(0.5, 0.5)], [1.0, 2.0]), {}, r"1 mixtures, got shape \(2,\)"),
    (FITTED.gradient, ((0.5, 0.5), 1.0, (0,)), {}, r"2 sources, got shape \(1,\)"),
    (pj.select_mixture, (PAIR, MODEL, FITTED, 1, 2, 3), {}, "needs a fit first, got .*None"),
    (pj.select_mixture, (PAIR, FITTED, FITTED, 2, 2, 3), {}, "differ, got 2"),
    (pj.select_mixture, (PAIR, FITTED, FITTED, 1, 2, 3), {"p_init": (0.5, 0.4)}, r"\[0.5, 0.4\]"),
    (pj.select_mixture, (PAIR, FITTED, FITTED, 1, 2, 3), {"lr": 0.0}, "lr.*0.0"),
    (pj.select_mixture, (PAIR, FITTED, FITTED, 1, 2, 3), {"steps": -1}, "steps.*-1"),
    (pj.mixtures, (0,), {}, "grid.*0"),
    (pj.Config, (), {"n0": 120}, r"n0, n1, n.*\(120, 120, 400\)"),
    (pj.Config, (), {"pilot": 100}, "n1 120 and n_source 420, got 100"),
    (pj.Config, (), {"n": 500}, "n must.*420.*500"),
    (pj.Config, (), {"n_source": 480}, "n_source 480"),
    (pj.Config, (), {"batch_size": 0}, "batch_size.*0"),
    (pj.Config, (), {"skew": 1.2}, "skew.*1.2"),
    (pj.Config, (), {"dataset": "mnist"}, "dataset.*mnist"),
]


@pytest.mark.parametrize(("call", "arguments", "named", "message"), REFUSALS)
def test_bad_input_is_refused_with_its_value(call, arguments, named, message):
    with refuses(ValueError, match=message):
        call(*arguments, **named)


# --- Sources and purchases --------------------------------------------------------------------------------------


def test_the_sources_are_disjoint_skewed_and_apart_from_validation():
    config = pj.Config()
    goods = pj.market(config)
    a, b, c = goods.sources
    assert [len(s) for s in goods.sources] == [420, 420, 560]
    assert len(torch.cat(goods.sources).unique()) == len(goods.data.y) == 1400
    assert (goods.data.y[a] < 5).double().mean() == pytest.approx(0.9)
    assert (goods.data.y[b] >= 5).double().mean() == pytest.approx(0.9)
    assert goods.val.y.bincount().min() > 0
    # A pilot is a fair sample: its skew is the source's, up to chance.
    assert abs((goods.data.y[a[:120]] < 5).double().mean() - 0.9) < 0.1
    clean = pj.market(dataclasses.replace(config, noise=0.0))
    assert torch.equal(clean.data.x[a], goods.data.x[a])
    moved = goods.data.x[c] - clean.data.x[c]
    assert goods.data.x.min() == 0
    assert moved[clean.data.x[c] == 1].std().item() == pytest.approx(0.5, rel=0.1)


def test_purchases_are_exact_and_without_repetition():
    goods = pj.market(SMALL)
    p = pj.mixtures(4)
    bought = pj.purchases(goods.sources, p, 10, 2, compute.generator(0))
    assert bought.shape == (15, 2, 10)
    for row, pair in zip(p, bought, strict=True):
        for one in pair:
            assert len(one.unique()) == 10
            assert [int(torch.isin(one, s).sum()) for s in goods.sources] == pj.allocate(row, 10).tolist()


def test_a_group_that_runs_out_is_refused():
    with refuses(ValueError, match="asks for 3 more examples of group 1, which has 2 left"):
        pj.compose(torch.tensor([0, 0, 5, 5]), [(0.25, 0.75)], (0, 5), 4, generator=compute.generator(0))


def test_the_ensemble_trains_every_network_as_if_it_were_alone():
    goods = pj.market(SMALL)
    bought = pj.purchases(goods.sources, pj.mixtures(1), 12, 1, compute.generator(0)).flatten(0, 1)
    recipe = {"dims": (64, 16, 10), "lr": 0.02, "steps": 8}
    errors = pj.train_mlps(goods.data, bought, goods.val, **recipe, generator=compute.generator(1))
    parameters = mlp_ensemble_init(3, (64, 16, 10), generator=compute.generator(1))
    for k, purchase in enumerate(bought):
        model = nn.Sequential(nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
        for layer, (weight, bias) in zip(model[::2], zip(parameters[::2], parameters[1::2], strict=True), strict=True):
            layer.weight.data, layer.bias.data = weight[k].mT.clone(), bias[k, 0].clone()
        optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
        for _ in range(8):
            optimizer.zero_grad()
            functional.cross_entropy(model(goods.data.x[purchase]), goods.data.y[purchase]).backward()
            optimizer.step()
        wrong = (model(goods.val.x).argmax(1) != goods.val.y).double().mean()
        assert errors[k].item() == pytest.approx(wrong.item(), abs=1.5 / 60)


def test_the_log_of_no_error_is_that_of_half_an_image():
    logs = pj.log_error(np.array([[0.0, 0.0], [0.1, 0.3]]), 50)
    np.testing.assert_allclose(np.exp(logs), [0.01, 0.2])


# --- Full scale -------------------------------------------------------------------------------------------------


def test_full_scale_takes_two_steps_on_data_of_the_real_shape(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder, _ = hub_folder(tmp_path / "hub", "cifar10", (32, 32, 3), n_train=60, n_test=10)
    tiny = {"n_val": 10, "n_source": 4, "pilot": 3, "n0": 2, "n1": 3, "n": 4, "steps": 2, "batch_size": 4}
    config = dataclasses.replace(pj.FULL, source=str(folder), **tiny)
    goods = pj.market(config)
    assert goods.data.x.shape == (60, 3, 32, 32)
    for places, group in zip(goods.sources, ((0, 1, 2, 3), (4, 5, 6), (7, 8, 9)), strict=True):
        assert torch.isin(goods.data.y[places], torch.tensor(group)).all()
    schedule = {"lr": 0.001, "epochs": 2, "batch_size": 4}
    network = pj.train_resnet(goods.data, goods.sources[0], **schedule, generator=compute.generator(0))
    assert sum(p.numel() for p in network.parameters()) == 11_171_146
    norm = network.layer4[1].bn2
    assert norm.num_batches_tracked == 2
    assert (norm.weight != 1).any()
    assert not network.training

    torch.save(network.state_dict(), tmp_path / "weights.pt")
    shown, val = pj.pilot_features(goods, dataclasses.replace(config, weights=str(tmp_path / "weights.pt")))
    assert [part.shape for part in shown] == [(3, 512)] * 3
    with torch.no_grad():
        features, wrong = network.features(goods.val.x), network(goods.val.x).argmax(1) != goods.val.y
    torch.testing.assert_close(torch.from_numpy(val).float(), features, rtol=1e-4, atol=1e-4)
    monkeypatch.setattr(sources_module, "train_resnet", lambda *_, **__: network)  # it has been trained above
    streams = {"draws": compute.generator(0), "starts": compute.generator(1)}
    errors = pj.measure(goods, config, np.eye(3)[:1], config.n, 2, pilots=False, **streams)
    np.testing.assert_allclose(errors, [[wrong.double().mean()] * 2])


def test_full_scale_is_the_official_scripts():
    assert (pj.FULL.n0, pj.FULL.n1, pj.FULL.n, pj.FULL.grid) == (1000, 1500, 10_000, 10)
    assert (pj.FULL.steps, pj.FULL.batch_size, pj.FULL.lr) == (110, 256, 0.001)


# --- The run ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def result():
    return pj.run(SMALL, device="cpu", progress=False)


def test_the_run_keeps_what_its_fields_say(result):
    costs, features = pj.pilot_costs(pj.market(SMALL), SMALL)
    assert [cost.shape for cost in costs] == [(24, 60)] * 3
    np.testing.assert_allclose(result.ot[3], program(costs, result.mixtures[3])[0])
    np.testing.assert_allclose(result.ot_features[3], program(features, result.mixtures[3])[0])
    np.testing.assert_allclose(np.exp(result.log_errors), result.errors.clip(1 / 120))
    assert (result.unseen == (result.mixtures[:, 1] >= 0.5)).all()
    seen = ~result.unseen
    design = np.hstack([result.mixtures * result.ot[:, None], result.mixtures])
    coefficients = np.linalg.pinv(design[seen]) @ result.log_errors[1][seen]
    np.testing.assert_allclose(result.predicted[1, 1, 1], design @ coefficients, atol=1e-6)
    both = [design @ np.linalg.pinv(design) @ result.log_errors[i] for i in range(2)]
    weight = math.log(60 / 12) / math.log(2)
    np.testing.assert_allclose(result.projected, weight * both[1] - (weight - 1) * both[0], atol=1e-6)
    assert result.values.min() <= result.values[0]
    gap = np.abs(result.predicted[:, :, :, result.unseen] - result.log_errors[:2, None, None][..., result.unseen])
    np.testing.assert_allclose(pj.unseen_errors(result), gap.mean(-1).mean(0))


def synthetic(result, **change):
    """A result in which every claim holds, but for what is changed."""
    k = len(result.ot)
    ot = np.linspace(1, 2, k)
    logs = np.stack([ot - 2, ot - 2.5, ot - 3.5])
    predicted = np.broadcast_to(logs[:2, None, None], (2, 3, 2, k)) + np.array([0.2, 0.1])[:, None]
    good = {
        "ot": ot,
        "ot_features": np.cos(7 * ot),
        "log_errors": logs,
        "errors": np.exp(logs),
        "predicted": predicted,
        "projected": logs[2],
        "gradient": np.array([1.0, -2.0, 0.5]),
        "differences": np.array([1.0, -2.0, 0.501]),
        "selected_errors": np.full(3, 0.05),
        "uniform_errors": np.full(3, 0.06),
    }
    return dataclasses.replace(result, **(good | change))


def test_the_rank_correlation_is_scipys():
    a, b = np.array([1.0, 2, 2, 5, 3]), np.array([0.1, 0.1, 0.4, 0.3, 0.9])
    assert pj.rank_correlation(a, b) == pytest.approx(spearmanr(a, b).statistic)
    assert math.isnan(pj.rank_correlation(a, np.ones(5)))


def verdicts(result):
    return {claim.id: claim.holds for claim in pj.claims(result)}


def test_each_claim_fails_where_its_own_measurement_does(result):
    assert all(verdicts(synthetic(result)).values())
    good = synthetic(result)
    worse = copy.deepcopy(good.predicted)
    worse[:, 1, 1] += 0.1
    changes = {
        "ot_tracks_error": [{"ot": good.ot[::-1]}, {"ot_features": good.ot}, {"ot": np.ones_like(good.ot)}],
        "ot_predicts_unseen_mixtures": [{"predicted": worse}],
        "two_scales_extrapolate": [{"projected": good.log_errors[1]}, {"projected": np.full_like(good.ot, math.nan)}],
        "dual_is_the_gradient": [{"gradient": np.array([1.0, -2.0, 0.51])}, {"gradient": np.full(3, math.nan)}],
        "selection_beats_uniform": [{"selected_errors": np.full(3, 0.056)}],
    }
    for name, wrong in changes.items():
        for change in wrong:
            assert {n for n, holds in verdicts(synthetic(result, **change)).items() if not holds} == {name}


def test_a_tiny_run_claims_without_raising():
    tiny = dataclasses.replace(SMALL, grid=1, repeats=1, repeats_selected=1, steps=1, holdout_share=0.0)
    tiny_result = pj.run(tiny, device="cpu", progress=False)
    held = {claim.id: claim for claim in pj.claims(tiny_result)}
    assert not held["ot_predicts_unseen_mixtures"].holds
    assert math.isnan(held["ot_predicts_unseen_mixtures"].measured)
    none_held_out = dataclasses.replace(tiny, grid=3, holdout_share=1.0, skew=0.5)
    assert len(pj.claims(pj.run(none_held_out, device="cpu", progress=False))) == 5
