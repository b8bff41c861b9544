"""Certificates and fields against brute force, closed forms, sympy and single networks."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from overparam.core import compute
from overparam.generalization import generalization_bounds as gb
from tests.conftest import refuses
from tests.hub import hub_folder

SMALL = gb.Config(
    nets=2,
    pool=12,
    sample=4,
    hidden=16,
    steps=40,
    enumerate_d=2,
    fields=(2, 3),
    field_d=3,
    field_samples=(0, 2, 4, 13),
    systems=40,
    parity_d=4,
    parity_n=3,
    parities=5,
)


# --- One loss, one estimate -------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 9)), min_size=1, max_size=9),
    st.integers(1, 14),
)
def test_the_best_constant_is_the_best_on_a_grid_of_estimates(atoms, tolerance):
    # Integers, in which every comparison is exact; the estimates may lie half way between.
    losses, weights = np.array(atoms).T
    weights[0] += 1
    probs = weights / weights.sum()
    failure, estimate = gb.best_estimator_failure(losses / 12, probs, tolerance / 12)
    missed = [probs[2 * abs(e - 2 * losses) >= 4 * tolerance].sum() for e in range(-30, 60)]
    assert failure == pytest.approx(min(missed), abs=1e-12)
    assert failure >= 0
    assert probs[np.abs(estimate - losses / 12) >= tolerance / 12 - 1e-13].sum() == pytest.approx(failure, abs=1e-12)


def test_two_losses_a_whole_window_apart_cannot_both_be_covered():
    half = np.array([0.5, 0.5])
    assert gb.best_estimator_failure(np.array([0.0, 0.5]), half, 0.25)[0] == 0.5
    # In binary 0.6 - 0.4 falls short of 0.2.
    assert gb.best_estimator_failure(np.array([0.6, 0.4]), half, 0.1)[0] == 0.5
    failure, estimate = gb.best_estimator_failure(np.array([0.5, 0.0]), half, 0.2501)
    assert (failure, estimate) == (0.0, 0.25)


def test_repeated_losses_add_up_and_a_tiny_tolerance_still_covers_one():
    losses, probs = np.array([0.3, 0.9, 0.3]), np.array([0.3, 0.4, 0.3])
    assert gb.best_estimator_failure(losses, probs, 1e-15)[0] == pytest.approx(0.4)


def test_failure_is_never_negative():
    probs = np.full(10, 0.1)
    assert gb.best_estimator_failure(np.zeros(10), probs, 0.1) == (0.0, 0.0)


# --- Twin worlds ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "d"), [(0, 3), (1, 4), (3, 2), (4, 3), (5, 5)])
def test_the_number_of_distinct_points_is_counted_right(n, d):
    counts = np.zeros(n + 1)
    for sample in itertools.product(range(d), repeat=n):
        counts[len(set(sample))] += 1
    np.testing.assert_allclose(gb.distinct_distribution(n, d), counts / d**n, atol=1e-14)


def test_the_mean_number_of_distinct_points_has_its_closed_form():
    law = gb.distinct_distribution(300, 1000)
    assert law.sum() == pytest.approx(1, abs=1e-12)
    assert law @ np.arange(301) == pytest.approx(1000 * (1 - 0.999**300))


@pytest.mark.parametrize(("d", "n", "epsilon"), [(4, 2, 0.25), (3, 2, 0.2), (2, 0, 0.3), (3, 4, 0.5), (4, 1, 0.1)])
def test_the_enumerated_worlds_look_the_same_and_fail_as_computed(d, n, epsilon):
    apart, failure = gb.enumerate_twins(d, n, epsilon)
    assert apart < 1e-12
    assert failure == pytest.approx(gb.twin_failure(d, n, epsilon), abs=1e-12)


def test_the_failure_of_four_points_and_two_draws_is_five_in_thirty_two():
    # By hand, with u = 1 and u = 2 distinct points: 1/4 (1/16 + 3/16) + 3/4 (1/8).
    assert gb.twin_failure(4, 2, 0.25) == pytest.approx(5 / 32, abs=1e-14)


def test_failure_is_a_half_while_the_gap_is_wide_and_nothing_beyond():
    assert gb.twin_failure(1000, 50, 0.2) == pytest.approx(0.5, abs=1e-5)
    assert gb.twin_failure(1000, 50, 0.3) == pytest.approx(0, abs=1e-9)
    assert gb.twin_failure(1, 1, 0.1) == 0


def test_twin_failure_is_what_a_simulation_finds():
    # One certificate for each number of distinct points, the best on the simulated losses themselves.
    generator = np.random.default_rng(0)
    d, n, epsilon, classes, draws = 30, 20, 0.2, 3, 40_000
    distinct = np.array([len(set(row)) for row in generator.integers(d, size=(draws, n))])
    losses = binom.rvs(d - distinct, 2 / 3, random_state=generator) / d * generator.integers(2, size=draws)
    missed = 0
    for u in np.unique(distinct):
        group = losses[distinct == u]
        missed += min((np.abs(k / (2 * d) - group) > epsilon - 1e-9).sum() for k in range(2 * d))
    assert gb.twin_failure(d, n, epsilon, classes) == pytest.approx(missed / draws, abs=0.01)


@given(d=st.integers(1, 8), n=st.integers(0, 9), classes=st.integers(2, 5), seed=st.integers(0, 99))
@settings(max_examples=30)
def test_the_worlds_agree_on_the_sample(d, n, classes, seed):
    generator = compute.generator(seed)
    labels = torch.randint(classes, (3, d), generator=generator)
    index = torch.randint(d, (3, n), generator=generator)
    before = labels.clone()
    one, two = gb.twin_worlds(labels, index, classes, generator)
    assert torch.equal(one, before)
    assert torch.equal(one.gather(1, index), two.gather(1, index))
    assert two.min() >= 0
    assert two.max() < classes


def test_off_the_sample_the_labels_of_world_two_are_uniform_and_independent():
    labels = torch.randint(4, (40_000,), generator=compute.generator(0))
    _, two = gb.twin_worlds(labels, torch.arange(100), 4, compute.generator(1))
    pairs = (4 * labels + two)[100:].bincount(minlength=16) / 39_900
    assert float((pairs - 1 / 16).abs().max()) < 0.006


# --- Finite fields ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "d", "q"), [(2, 2, 2), (3, 2, 2), (2, 3, 3), (1, 2, 5), (0, 3, 2)])
def test_rank_law_success_and_failure_by_counting_all_matrices(n, d, q):
    everyone = np.array(list(itertools.product(range(q), repeat=d)))
    ranks, success, failure = np.zeros(min(n, d) + 1), 0.0, 0.0
    for entries in itertools.product(range(q), repeat=n * d):
        A = np.array(entries, dtype=int).reshape(n, d)
        consistent = (everyone @ A.T % q == 0).all(1).sum()  # functions that agree with one on the sample
        ranks[d - round(math.log(consistent, q))] += 1 / q ** (n * d)
        success += 1 / consistent / q ** (n * d)
        failure += min(1 / consistent, 1 - 1 / consistent) / q ** (n * d)
    np.testing.assert_allclose(gb.rank_distribution(n, d, q), ranks, atol=1e-12)
    assert gb.linear_success(n, d, q) == pytest.approx(success)
    assert gb.linear_failure(n, d, q) == pytest.approx(failure)


@given(n=st.integers(0, 40), d=st.integers(1, 40), q=st.sampled_from([2, 3, 5, 7]))
def test_the_rank_law_is_a_law_and_certificates_fail_no_more_often_than_the_rule_succeeds(n, d, q):
    law = gb.rank_distribution(n, d, q)
    assert law.shape == (min(n, d) + 1,)
    assert law.sum() == pytest.approx(1, abs=1e-12)
    success, failure = gb.linear_success(n, d, q), gb.linear_failure(n, d, q)
    assert failure <= min(success, 1 - success) + 1e-12
    if n < d:
        assert failure == pytest.approx(success)


def test_numbers_of_the_fields_that_are_known_by_hand():
    assert gb.linear_success(2, 2, 2) == pytest.approx(0.671875, abs=1e-15)
    assert gb.linear_failure(13, 14) == pytest.approx(0.390, abs=5e-4)
    assert all(gb.linear_failure(d + 10, d) < 1e-3 for d in (1, 5, 14, 64))
    assert gb.linear_success(0, 5, 3) == pytest.approx(3**-5)


def test_a_tolerance_that_covers_both_losses_never_fails():
    assert gb.linear_failure(3, 4, 3, 1 / 3) == pytest.approx(gb.linear_failure(3, 4, 3))
    assert gb.linear_failure(3, 4, 3, 0.334) == 0
    assert gb.linear_failure(3, 4, 3, 0.01) == gb.linear_failure(3, 4, 3)


@pytest.mark.parametrize("q", [2, 3, 5, 769, 2_053, 33_554_467])
def test_solutions_solve_and_ranks_are_those_of_sympy(q):
    from sympy import GF
    from sympy.polys.matrices import DomainMatrix

    generator, field = compute.generator(q), GF(q)
    for n, d in ((3, 5), (5, 3), (4, 4), (1, 1)):
        A = torch.randint(q, (12, n, d), generator=generator)
        A[::2, -1] = A[::2, 0]  # half of them of lower rank
        y = (A @ torch.randint(q, (12, d, 1), generator=generator)).squeeze(-1)
        w, rank = gb.field_solve(A, y - 7 * q, q)
        assert torch.equal((A @ w[..., None]).squeeze(-1) % q, y % q)
        assert 0 <= int(w.min()) <= int(w.max()) < q
        expected = [DomainMatrix([[field(int(v)) for v in row] for row in a], (n, d), field).rank() for a in A]
        assert rank.tolist() == expected
        assert bool(((w != 0).sum(1) <= rank).all())


def test_free_variables_are_zero():
    A = torch.tensor([[[0, 2, 1], [0, 1, 2]], [[1, 1, 0], [0, 0, 1]]])
    w, rank = gb.field_solve(A, torch.tensor([[1, 2], [2, 1]]), 3)
    assert w.tolist() == [[0, 2, 0], [2, 0, 1]]
    assert rank.tolist() == [1, 2]


def test_no_equations_leave_everything_free():
    w, rank = gb.field_solve(torch.zeros(2, 0, 3, dtype=torch.int64), torch.zeros(2, 0, dtype=torch.int64))
    assert w.tolist() == [[0, 0, 0]] * 2
    assert w.dtype == torch.int64
    assert rank.tolist() == [0, 0]


@pytest.mark.parametrize("dtype", [torch.int8, torch.int32, torch.int64])
def test_field_solve_follows_the_integers_it_is_given(dtype):
    w, rank = gb.field_solve(torch.ones(1, 2, 2, dtype=dtype), torch.ones(1, 2, dtype=dtype), 2)
    assert w.dtype == dtype
    assert rank.dtype == torch.int64
    assert w.tolist() == [[1, 0]]


# --- Networks ---------------------------------------------------------------------------------------------------


def problem(t=3, n=6, p=4, hidden=5, classes=3, steps=8, dtype=torch.float64):
    generator = compute.generator(0)
    X = torch.randn(t, n, p, generator=generator, dtype=dtype)
    Y = torch.randint(classes, (t, n), generator=generator)
    return X, Y, gb.train_batch(X, Y, hidden, classes, steps, 0.01, generator)


def test_a_batch_trains_as_single_modules_do():
    X, Y, (W1, W2, W1_init, W2_init) = problem()
    for i in range(3):
        net = torch.nn.Sequential(
            torch.nn.Linear(4, 5, bias=False), torch.nn.ReLU(), torch.nn.Linear(5, 3, bias=False)
        ).double()
        net[0].weight.data, net[2].weight.data = W1_init[i].clone(), W2_init[i].clone()
        adam = torch.optim.Adam(net.parameters(), lr=0.01)
        for _ in range(8):
            adam.zero_grad()
            torch.nn.functional.cross_entropy(net(X[i]), Y[i]).backward()
            adam.step()
        torch.testing.assert_close(W1[i], net[0].weight.detach(), atol=1e-10, rtol=1e-8)
        torch.testing.assert_close(W2[i], net[2].weight.detach(), atol=1e-10, rtol=1e-8)
        assert torch.equal(gb.predict(W1, W2, X)[i], net(X[i]).argmax(1))


def test_the_start_has_the_variances_asked_for():
    X, Y = torch.randn(2, 3, 50), torch.zeros(2, 3, dtype=torch.int64)
    W1, W2, W1_init, W2_init = gb.train_batch(X, Y, 400, 10, 0, 0.1, compute.generator(0))
    assert torch.equal(W1, W1_init)
    assert torch.equal(W2, W2_init)
    assert float(W1.var()) == pytest.approx(2 / 50, rel=0.03)
    assert float(W2.var()) == pytest.approx(1 / 400, rel=0.05)
    assert not W1.requires_grad


def test_the_measures_are_those_of_numpy_and_of_a_walk_along_all_paths():
    X, Y, nets = problem()
    measures = gb.generalization_measures(*nets, X, Y)
    assert list(measures) == [
        "inverse_margin",
        "spectral_over_margin",
        "frobenius_over_margin",
        "path_over_margin",
        "distance_from_init",
        "parameter_norm",
    ]
    for i in range(3):
        W1, W2, W1_init, W2_init = (weight[i].numpy() for weight in nets)
        outputs = np.maximum(X[i].numpy() @ W1.T, 0) @ W2.T
        margins = [out[y] - max(np.delete(out, y)) for out, y in zip(outputs, Y[i].tolist(), strict=True)]
        gamma = np.quantile(margins, 0.1)
        paths = sum((W2[k, j] * W1[j, i]) ** 2 for k, j, i in itertools.product(range(3), range(5), range(4)))
        everything = np.concatenate([W1.ravel(), W2.ravel()])
        expected = [
            gamma**-2,
            np.linalg.svd(W1)[1][0] * np.linalg.svd(W2)[1][0] / gamma,
            np.linalg.norm(W1) * np.linalg.norm(W2) / gamma,
            paths**0.5 / gamma,
            np.linalg.norm(everything - np.concatenate([W1_init.ravel(), W2_init.ravel()])),
            np.linalg.norm(everything),
        ]
        assert [float(m[i]) for m in measures.values()] == pytest.approx(expected, rel=1e-9)


@given(scale=st.floats(0.1, 10))
@settings(max_examples=15)
def test_rescaling_the_layers_against_each_other_moves_no_measure_of_the_function(scale):
    X, Y, (W1, W2, W1_init, W2_init) = problem()
    one = gb.generalization_measures(W1, W2, W1_init, W2_init, X, Y)
    two = gb.generalization_measures(scale * W1, W2 / scale, W1_init, W2_init, X, Y)
    for name in ("inverse_margin", "spectral_over_margin", "frobenius_over_margin", "path_over_margin"):
        torch.testing.assert_close(one[name], two[name], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_inputs_decide_dtype_and_device(dtype):
    X, Y, nets = problem(dtype=dtype)
    measures = gb.generalization_measures(*nets, X, Y)
    assert {z.dtype for z in (*nets, *measures.values())} == {dtype}
    assert gb.predict(*nets[:2], X).dtype == torch.int64
    assert gb.predict(*(z.to("meta") for z in (*nets[:2], X))).device.type == "meta"


# --- The experiment ---------------------------------------------------------------------------------------------


def test_parity_losses_are_those_of_a_dense_solve_with_chance_on_average():
    losses = gb.parity_losses(4, 3, 11, compute.generator(0))
    assert losses.shape == (11,)
    assert bool(((losses > 0) & (losses < 1)).all())
    assert bool((losses * 16 == (losses * 16).round()).all())
    # Each parity is drawn once, and eleven are all there are: one a subset of two signs or more.
    assert float(gb.parity_losses(10, 9, 40, compute.generator(1)).mean()) == pytest.approx(0.5, abs=0.03)
    # With all points seen, and most of them are after 400 draws, nothing is left to get wrong.
    assert float(gb.parity_losses(3, 400, 4, compute.generator(0)).max()) == 0


def test_the_twins_have_no_error_on_what_is_seen_and_all_of_it_off_the_sample():
    result = gb.run(SMALL, device="cpu", progress=False)
    assert result.sample_errors.shape == result.losses.shape == (2, 2)
    assert bool((result.sample_errors[0] == result.sample_errors[1]).all())
    assert result.learned.shape == result.success.shape == result.failure.shape == (2, 4)
    assert float(result.learned[0, -1]) == pytest.approx(1, abs=0.1)
    assert result.parity_losses.shape == (5,)


def test_no_claim_holds_with_a_number_that_is_missing():
    result = gb.run(SMALL, device="cpu", progress=False)
    blank = {
        f.name: getattr(result, f.name) * math.nan
        for f in dataclasses.fields(result)
        if f.name not in ("config", "twin_measures", "natural_measures")
    }
    nothing = {name: measure * math.nan for name, measure in result.twin_measures.items()}
    blank |= {"twin_measures": nothing, "natural_measures": nothing}
    assert not any(claim.holds for claim in gb.claims(dataclasses.replace(result, **blank)))
    short = dataclasses.replace(SMALL, field_samples=(0, 2))
    verdicts = {c.id: c.holds for c in gb.claims(gb.run(short, device="cpu", progress=False))}
    assert not verdicts["estimable_when_determined"]


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A folder like mnist's on the hub."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return hub_folder(tmp_path / "hub", "mnist", (28, 28), n_train=6, n_test=1)[0]


def test_full_scale_takes_two_steps(stand_in):
    config = dataclasses.replace(gb.FULL, source=str(stand_in), nets=1, pool=6, sample=3, steps=2, systems=2)
    result = gb.run(config, device="cpu", progress=False)
    assert result.losses.shape == (2, 1)
    assert result.learned.shape == (1, 17)
    assert float(result.learned[0, -1]) == 1
    verdicts = {claim.id: claim.holds for claim in gb.claims(result)}
    assert verdicts["tradeoff_peak"]
    assert verdicts["estimable_when_determined"]
    with refuses(ValueError, match="pool must be at most the 6 images, got 7"):
        gb.run(dataclasses.replace(config, pool=7), device="cpu", progress=False)


GENERATOR = compute.generator(0)
HALF = np.array([0.5, 0.5])
LABELS, INDEX = torch.zeros(2, 4, dtype=torch.int64), torch.zeros(2, 3, dtype=torch.int64)
X, Y = torch.ones(2, 3, 4), torch.zeros(2, 3, dtype=torch.int64)
W1, W2 = torch.ones(2, 5, 4), torch.ones(2, 2, 5)
A, B = torch.ones(1, 2, 3, dtype=torch.int64), torch.ones(1, 2, dtype=torch.int64)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: gb.best_estimator_failure(HALF, HALF, 0.0), "epsilon.*0.0"),
        (lambda: gb.best_estimator_failure(HALF, HALF, math.nan), "epsilon.*nan"),
        (lambda: gb.best_estimator_failure(HALF, np.array([1.5, -0.5]), 0.1), "negative, got -0.5"),
        (lambda: gb.best_estimator_failure(HALF, np.array([0.5, 0.5 + 1e-8]), 0.1), "sum to 1, got 1.00000001"),
        (lambda: gb.best_estimator_failure(HALF, np.array([0.5, math.nan]), 0.1), "probs.*nan"),
        (lambda: gb.best_estimator_failure(np.array([0.5, math.inf]), HALF, 0.1), "losses.*inf"),
        (lambda: gb.best_estimator_failure(np.ones(3), HALF, 0.1), r"one length.*\(3,\)"),
        (lambda: gb.best_estimator_failure(np.ones((1, 2)), HALF[None], 0.1), r"vectors.*\(1, 2\)"),
        (lambda: gb.best_estimator_failure(np.ones(0), np.ones(0), 0.1), "sum to 1, got 0"),
        (lambda: gb.distinct_distribution(-1, 3), "n must.*-1"),
        (lambda: gb.distinct_distribution(2, 0), "d must.*0"),
        (lambda: gb.twin_failure(0, 2, 0.1), "d must.*0"),
        (lambda: gb.twin_failure(3, -2, 0.1), "n must.*-2"),
        (lambda: gb.twin_failure(3, 2, -0.1), "epsilon.*-0.1"),
        (lambda: gb.twin_failure(3, 2, 0.1, classes=1), "classes.*1"),
        (lambda: gb.twin_worlds(LABELS, INDEX, 1, GENERATOR), "classes.*1"),
        (lambda: gb.twin_worlds(LABELS + 2, INDEX, 2, GENERATOR), r"pool_labels.*0\.\.1, got 2"),
        (lambda: gb.twin_worlds(LABELS - 1, INDEX, 2, GENERATOR), "pool_labels.*-1"),
        (lambda: gb.twin_worlds(LABELS, INDEX + 4, 2, GENERATOR), r"sample_index.*0\.\.3, got 4"),
        (lambda: gb.twin_worlds(LABELS, INDEX - 1, 2, GENERATOR), "sample_index.*-1"),
        (lambda: gb.twin_worlds(LABELS, INDEX[:1], 2, GENERATOR), r"same batch.*\(1, 3\)"),
        (lambda: gb.enumerate_twins(6, 1, 0.1), "d must.*6"),
        (lambda: gb.enumerate_twins(0, 1, 0.1), "d must.*0"),
        (lambda: gb.enumerate_twins(2, -1, 0.1), "n must.*-1"),
        (lambda: gb.enumerate_twins(2, 1, 0.0), "epsilon.*0.0"),
        (lambda: gb.rank_distribution(-1, 2), "n must.*-1"),
        (lambda: gb.rank_distribution(1, 0), "d must.*0"),
        (lambda: gb.rank_distribution(1, 2, 4), "q must be prime, got 4"),
        (lambda: gb.rank_distribution(1, 2, 1), "q must.*1"),
        (lambda: gb.linear_success(-1, 2), "n must.*-1"),
        (lambda: gb.linear_success(1, 2, 9), "prime, got 9"),
        (lambda: gb.linear_failure(1, 0), "d must.*0"),
        (lambda: gb.linear_failure(1, 2, 6), "prime, got 6"),
        (lambda: gb.linear_failure(1, 2, 2, 0.0), "epsilon.*0.0"),
        (lambda: gb.field_solve(A, B, 4), "prime, got 4"),
        (lambda: gb.field_solve(A, B, 2_147_483_659), "too large.*2147483659"),
        (lambda: gb.field_solve(A, torch.tensor([[0, 1]]), 2), "system 0 is inconsistent"),
        (lambda: gb.field_solve(A, B[:, :1]), r"shapes.*\(1, 1\)"),
        (lambda: gb.field_solve(A[0], B), r"shapes.*\(2, 3\)"),
        (lambda: gb.field_solve(A.float(), B), "A must be of integers, got torch.float32"),
        (lambda: gb.train_batch(X, Y, 0, 2, 1, 0.1, GENERATOR), "hidden.*0"),
        (lambda: gb.train_batch(X, Y, 3, 1, 1, 0.1, GENERATOR), "classes.*1"),
        (lambda: gb.train_batch(X, Y, 3, 2, -1, 0.1, GENERATOR), "steps.*-1"),
        (lambda: gb.train_batch(X, Y, 3, 2, 1, 0.0, GENERATOR), "lr.*0.0"),
        (lambda: gb.train_batch(X, Y + 2, 3, 2, 1, 0.1, GENERATOR), "Y must.*got 2"),
        (lambda: gb.train_batch(X, Y[:1], 3, 2, 1, 0.1, GENERATOR), r"labels.*\(1, 3\)"),
        (lambda: gb.train_batch(X[0], Y, 3, 2, 1, 0.1, GENERATOR), r"X must.*\(3, 4\)"),
        (lambda: gb.predict(W1, W2[:, :, :2], X), r"W2 must read 5.*\(2, 2, 2\)"),
        (lambda: gb.predict(W1[:1], W2, X), r"as many.*\(1, 5, 4\)"),
        (lambda: gb.predict(W1, W2, X[..., :2]), r"X must have 4.*\(2, 3, 2\)"),
        (lambda: gb.generalization_measures(W1, W2, W1[:1], W2, X, Y), r"W1_init.*\(1, 5, 4\)"),
        (lambda: gb.generalization_measures(W1, W2, W1, W2, X, Y - 1), "y must.*-1"),
        (lambda: gb.generalization_measures(W1, W2, W1, W2, X, Y[:, :1]), r"labels.*\(2, 1\)"),
        (lambda: gb.parity_losses(1, 2, 1, GENERATOR), "d must.*1"),
        (lambda: gb.parity_losses(3, 2, 5, GENERATOR), "at most the 4 parities.*5"),
        (lambda: gb.Config(enumerate_d=6), "enumerate_d.*6"),
        (lambda: gb.Config(fields=(2, 4)), "prime, got 4"),
        (lambda: gb.Config(fields=(3, 5)), r"2 among them, got \(3, 5\)"),
        (lambda: gb.Config(field_samples=()), r"field_samples.*\(\)"),
        (lambda: gb.Config(field_samples=(4, 2)), r"field_samples.*above the last, got \(4, 2\)"),
        (lambda: gb.Config(parity_d=3), "parities must be at most 4 for 3 signs, got 40"),
        (lambda: gb.run(dataclasses.replace(SMALL, pool=1798), device="cpu"), "pool.*1797 images, got 1798"),
    ],
)
def test_bad_input_is_refused_with_its_value(call, match):
    with refuses(ValueError, match=match):
        call()
