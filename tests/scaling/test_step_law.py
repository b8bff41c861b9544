"""The step law against scikit-learn's regression, loops, exact bowls and the numbers that its authors published."""

from __future__ import annotations

import dataclasses
import math
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression

from overparam.core import compute
from overparam.core.language import student_parameters, train_students, zipf_language
from overparam.scaling import step_law as sl
from overparam.scaling.step_law import experiment
from tests.conftest import refuses

SMALL = sl.Config(
    vocab=8,
    features=16,
    widths=(2, 4),
    tokens=(512, 1024),
    held_out=(8, 1024),
    batches=(16, 32, 64),
    lrs=(0.01, 0.02, 0.04, 0.08),
)
TRUE = sl.HyperLaw(c_lr=1.5, lr_N=-0.6, lr_D=0.25, c_b=0.7, b_D=0.5, b_N=0.1)
HESSIAN = np.array([[0.04, -0.015], [-0.015, 0.03]])


@pytest.fixture(scope="module")
def result():
    return sl.run(SMALL, device="cpu", progress=False)


def bowls(law=TRUE, noise=0.0, seed=0):
    """Runs of six settings, on a grid around the optimum of each, with losses of an exact quadratic bowl."""
    rows = []
    for N, D in product((1e3, 4e3, 9e3), (1e5, 7e5)):
        lr, batch = law(N, D)
        for x, y in product(np.linspace(-1, 1, 7), np.linspace(-1, 1, 7)):
            delta = np.array([x, y])
            floor = 2 + 50 / math.sqrt(N)  # settings differ by far more than the bowls are deep
            rows.append((N, D, lr * math.exp(x), batch * math.exp(y), floor * (1 + delta @ HESSIAN @ delta / 2)))
    runs = np.array(rows).T
    runs[4] *= 1 + noise * np.random.default_rng(seed).standard_normal(runs.shape[1])
    return runs


# --- Laws ------------------------------------------------------------------------------------------------------


def test_the_published_constants_are_those_of_the_paper():
    lr, batch = sl.STEP_LAW(1e9, 1e11)
    assert lr == pytest.approx(1.79 * math.exp(-0.713 * math.log(1e9) + 0.307 * math.log(1e11)))
    assert batch == pytest.approx(0.58 * math.exp(0.571 * math.log(1e11)))
    # The authors' intercepts are natural logarithms.
    assert math.log(1.79) == pytest.approx(0.586, abs=0.01)
    assert math.log(0.58) == pytest.approx(-0.544, abs=0.01)


@given(N=st.floats(1e3, 1e12), D=st.floats(1e3, 1e13), factor=st.floats(0.1, 10))
@settings(max_examples=30)
def test_a_law_is_a_power_law_and_the_published_batch_does_not_know_n(N, D, factor):
    lr, batch = sl.STEP_LAW([N, factor * N, N], [D, D, factor * D])
    np.testing.assert_allclose(lr / lr[0], [1, factor**-0.713, factor**0.307], rtol=1e-10)
    np.testing.assert_allclose(batch / batch[0], [1, 1, factor**0.571], rtol=1e-10)


def test_laws_broadcast():
    for law in (sl.STEP_LAW, TRUE, sl.deepseek_law):
        lr, batch = law(np.array([[1e8], [1e9]]), np.array([1e9, 1e10, 1e11]))
        assert lr.shape == batch.shape == (2, 3)
        assert float(lr[1, 2]) == pytest.approx(float(law(1e9, 1e11)[0]))
        assert float(batch[1, 2]) == pytest.approx(float(law(1e9, 1e11)[1]))


def test_the_deepseek_law_sees_the_compute_alone():
    one, other = sl.deepseek_law(1e9, 1e10), sl.deepseek_law(1e8, 1e11)
    np.testing.assert_allclose(one, other)
    np.testing.assert_allclose(one, [0.3118 * 6e19**-0.125, 0.2920 * 6e19**0.3271])


# --- The fit ---------------------------------------------------------------------------------------------------


@given(
    runs=st.lists(
        st.tuples(st.sampled_from([1, 2, 3]), st.sampled_from([10, 20]), st.floats(1, 1.1)), min_size=1, max_size=25
    ),
    threshold=st.sampled_from([0.0, 0.0025, 0.02]),
)
@settings(max_examples=40)
def test_near_optimal_is_a_loop_over_settings(runs, threshold):
    N, D, loss = zip(*runs, strict=True)
    expected = [(1 + threshold) * min(m for n, d, m in runs if (n, d) == (N_, D_)) >= L for N_, D_, L in runs]
    assert sl.near_optimal(N, D, loss, threshold).tolist() == expected


def test_a_threshold_of_zero_keeps_exactly_the_best_run_of_each_setting():
    N, D, _, _, loss = bowls(noise=0.01)
    kept = sl.near_optimal(N, D, loss, 0)
    assert kept.sum() == 6
    assert len({(n, d) for n, d in zip(N[kept], D[kept], strict=True)}) == 6
    # One best for all settings would keep runs of the largest model alone.
    assert loss[kept].max() > 1.2 * loss.min()


def test_the_fit_recovers_the_law_by_which_exact_bowls_move():
    runs = bowls()
    for threshold in (0.0, 0.0025, 0.02):
        with_N = sl.fit_hyper_law(*runs, threshold=threshold, batch_uses_N=True)
        np.testing.assert_allclose(dataclasses.astuple(with_N), dataclasses.astuple(TRUE), rtol=1e-9)
    no_N = dataclasses.replace(TRUE, b_N=0.0)
    np.testing.assert_allclose(
        dataclasses.astuple(sl.fit_hyper_law(*bowls(no_N))), dataclasses.astuple(no_N), atol=1e-9
    )


@pytest.mark.parametrize("batch_uses_N", [False, True])
@pytest.mark.parametrize("threshold", [0.0, 0.004, 0.03])
def test_the_fit_is_scikit_learn_s_regression_on_logarithms(batch_uses_N, threshold):
    runs = bowls(noise=0.005, seed=3)
    law = sl.fit_hyper_law(*runs, threshold=threshold, batch_uses_N=batch_uses_N)
    log_N, log_D, log_lr, log_batch = np.log(runs[:4, sl.near_optimal(runs[0], runs[1], runs[4], threshold)])
    both = np.stack([log_N, log_D], 1)
    rate = LinearRegression().fit(both, log_lr)
    size = LinearRegression().fit(both if batch_uses_N else both[:, 1:], log_batch)
    expected = (math.exp(rate.intercept_), *rate.coef_, math.exp(size.intercept_), size.coef_[-1])
    np.testing.assert_allclose(dataclasses.astuple(law)[:5], expected, rtol=1e-8)
    assert law.b_N == (pytest.approx(size.coef_[0], rel=1e-8) if batch_uses_N else 0)


def test_another_unit_of_the_batch_changes_one_constant():
    N, D, lr, batch, loss = bowls(noise=0.003)
    tokens, sequences = (sl.fit_hyper_law(N, D, lr, b, loss, batch_uses_N=True) for b in (batch, batch / 2048))
    assert sequences.c_b == pytest.approx(tokens.c_b / 2048)
    rescaled = dataclasses.replace(sequences, c_b=tokens.c_b)
    np.testing.assert_allclose(dataclasses.astuple(rescaled), dataclasses.astuple(tokens), rtol=1e-9)


@given(seed=st.integers(0, 99), scale=st.floats(0.1, 10))
@settings(max_examples=15)
def test_neither_the_order_of_the_runs_nor_the_unit_of_the_loss_matters(seed, scale):
    runs = bowls(noise=0.004, seed=seed)
    shuffled = runs[:, np.random.default_rng(seed).permutation(runs.shape[1])]
    shuffled[4] *= scale
    laws = [dataclasses.astuple(sl.fit_hyper_law(*table, threshold=0.0051)) for table in (runs, shuffled)]
    np.testing.assert_allclose(laws[0], laws[1], rtol=1e-7)


def test_lists_tensors_and_single_precision_are_taken_alike():
    runs = bowls(noise=0.003)
    expected = sl.fit_hyper_law(*runs)
    assert sl.fit_hyper_law(*(column.tolist() for column in runs)) == expected
    assert sl.fit_hyper_law(*torch.from_numpy(runs)) == expected
    single = sl.fit_hyper_law(*runs.astype(np.float32), threshold=0.0025)
    np.testing.assert_allclose(dataclasses.astuple(single), dataclasses.astuple(expected), rtol=1e-4)
    assert sl.STEP_LAW(np.float32(1e9), 10**11)[0].dtype == np.float64


def test_a_refit_is_the_regression_on_one_resample_of_the_runs_that_were_kept():
    runs = bowls(noise=0.004, seed=1)
    refits = sl.bootstrap_hyper_law(*runs, batch_uses_N=True, refits=5, generator=compute.generator(7))
    kept = np.log(runs[:4, sl.near_optimal(runs[0], runs[1], runs[4])])
    draws = torch.randint(kept.shape[1], (5, kept.shape[1]), generator=compute.generator(7)).numpy()
    for row, draw in zip(refits, draws, strict=True):
        sample = kept[:, draw].T
        rate, size = (LinearRegression().fit(sample[:, :2], sample[:, column]) for column in (2, 3))
        expected = math.exp(rate.intercept_), *rate.coef_, math.exp(size.intercept_), *size.coef_[::-1]
        np.testing.assert_allclose(row, expected, rtol=1e-7)


def test_the_mean_of_many_refits_is_the_fit():
    runs = bowls(noise=0.004, seed=2)
    refits = sl.bootstrap_hyper_law(*runs, generator=compute.generator(0))
    law = np.array(dataclasses.astuple(sl.fit_hyper_law(*runs)))
    assert refits.shape == (1000, 6)
    exponents = [1, 2, 4]
    assert (abs(refits.mean(0) - law) <= 0.2 * refits.std(0))[exponents].all()
    assert (abs(np.median(refits, 0) - law) <= 0.3 * refits.std(0))[[0, 3]].all()
    assert (refits[:, 5] == 0).all()


# --- The bowl --------------------------------------------------------------------------------------------------


@given(
    lr=st.floats(1e-4, 0.1),
    batch=st.floats(10, 1e6),
    loss=st.floats(1, 5),
    eigenvalues=st.tuples(st.floats(0.01, 0.1), st.floats(0.01, 0.1)),
    angle=st.floats(0, 3),
)
@settings(max_examples=30)
def test_a_quadratic_is_found_again(lr, batch, loss, eigenvalues, angle):
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    hessian = turn @ np.diag(eigenvalues) @ turn.T
    x, y = (axis.ravel() for axis in np.meshgrid(np.linspace(-0.6, 0.4, 5), np.linspace(-0.3, 0.7, 6)))
    losses = loss + (hessian[0, 0] * x**2 + 2 * hessian[0, 1] * x * y + hessian[1, 1] * y**2) / 2
    bowl = sl.fit_landscape(lr * np.exp(x), batch * np.exp(y), losses, within=0.1)
    assert bowl.lr == pytest.approx(lr, rel=1e-6)
    assert bowl.batch == pytest.approx(batch, rel=1e-6)
    assert bowl.loss == pytest.approx(loss, rel=1e-9)
    assert bowl.r2 == pytest.approx(1, abs=1e-9)
    assert bowl.convex
    np.testing.assert_allclose(bowl.hessian, hessian, atol=1e-8)
    # Regret is the excess that the loss itself has.
    np.testing.assert_allclose(bowl.regret(lr * np.exp(x), batch * np.exp(y)), losses / loss - 1, atol=1e-8)


def test_only_runs_near_the_best_count():
    N, D, lr, batch, loss = bowls()
    one = (N[0] == N) & (D[0] == D)
    lr, batch, loss = lr[one], batch[one], loss[one].copy()
    expected = sl.fit_landscape(lr, batch, loss, within=0.005)
    loss[loss > 1.005 * loss.min()] *= 3
    np.testing.assert_allclose(sl.fit_landscape(lr, batch, loss, within=0.005).hessian, expected.hessian)


def test_a_saddle_is_not_convex():
    x, y = (axis.ravel() for axis in np.meshgrid(np.linspace(-1, 1, 5), np.linspace(-1, 1, 5)))
    saddle = sl.fit_landscape(np.exp(x), np.exp(y), 2 + 0.01 * x**2 - 0.01 * y**2)
    assert not saddle.convex
    assert not dataclasses.replace(saddle, hessian=np.full((2, 2), math.nan)).convex


def test_regret_broadcasts_and_is_zero_at_the_optimum():
    bowl = sl.Landscape(0.01, 100.0, 2.5, HESSIAN, 1.0)
    regret = bowl.regret(np.array([[0.01], [0.02]]), np.array([100.0, 200.0, 50.0]))
    assert regret.shape == (2, 3)
    assert regret[0, 0] == 0
    log2 = math.log(2)
    assert regret[1, 2] == pytest.approx((0.04 + 2 * 0.015 + 0.03) * log2**2 / 2 / 2.5)


def test_the_published_bowls_are_convex_and_the_step_law_is_near_their_bottoms():
    rows = sl.published_landscapes()
    assert len(rows) == 17
    assert len({N for N, _, _ in rows}) == 5
    assert all(bowl.convex and math.isnan(bowl.r2) for _, _, bowl in rows)
    step, deepseek = sl.published_regrets(sl.STEP_LAW), sl.published_regrets(sl.deepseek_law)
    assert step.mean() == pytest.approx(0.0004, abs=2e-5)
    assert step.max() == pytest.approx(0.001, abs=2e-5)
    assert deepseek.mean() == pytest.approx(0.0059, abs=1e-4)
    constant = sl.published_regrets(lambda N, D: (np.array(3e-4), sl.STEP_LAW(N, D)[1]))
    assert constant.mean() == pytest.approx(0.02, abs=1e-3)


def test_a_refit_to_the_published_optima_has_the_published_batch_exponent():
    N, D, bowls_ = zip(*sl.published_landscapes(), strict=True)
    law = sl.fit_hyper_law(N, D, *zip(*((b.lr, b.batch, b.loss) for b in bowls_), strict=True))
    assert (law.lr_N, law.lr_D, law.b_D) == (
        pytest.approx(-0.69, abs=0.01),
        pytest.approx(0.21, abs=0.01),
        pytest.approx(0.57, abs=0.01),
    )


# --- The experiment --------------------------------------------------------------------------------------------


def test_the_flat_table_and_the_maps_hold_the_same_runs(result):
    assert len(result.loss) == 2 * 2 * 3 * 4
    for N, D, lr, batch, loss in zip(result.N, result.D, result.lr, result.batch, result.loss, strict=True):
        grid = result.landscapes[int(N), int(D)]
        assert grid[SMALL.batches.index(batch), SMALL.lrs.index(lr)] == loss
    assert list(result.landscapes) == [(student_parameters(8, h), D) for h in (2, 4) for D in (512, 1024)]
    assert (result.loss > result.entropy).all()


def test_cells_and_choices_are_runs_trained_alone(result):
    language = zipf_language(8, features=16, seed=0)

    def alone(width, tokens, batch, lr):
        runs = train_students(language, width, tokens // batch, batch, [lr], seed=0, final_lr=1e-3, device="cpu")
        return float(runs.test[0, -1])

    assert result.landscapes[student_parameters(8, 4), 512][1, 2] == pytest.approx(alone(4, 512, 32, 0.04), rel=1e-5)
    lr, batch = result.held_pred
    assert result.held_loss == pytest.approx(alone(8, 1024, batch, lr), rel=1e-6)
    lr, batch = result.transfer
    assert result.transfer_loss == pytest.approx(alone(8, 1024, batch, lr), rel=1e-5)


def test_the_laws_are_fits_of_the_table_and_the_choice_is_theirs(result):
    runs = result.N, result.D, result.lr, result.batch, result.loss
    assert result.law == sl.fit_hyper_law(*runs, threshold=SMALL.threshold)
    assert result.law_with_N == sl.fit_hyper_law(*runs, threshold=SMALL.threshold, batch_uses_N=True)
    lr, batch = result.law(result.held_N, result.held_D)
    assert result.held_pred == (float(lr), min(max(round(float(batch)), 1), 1024))
    assert (result.held_N, result.held_D) == (student_parameters(8, 8), 1024)
    smallest = result.landscapes[student_parameters(8, 2), 512]
    i, j = np.argwhere(smallest == smallest.min())[0]
    assert result.transfer == (SMALL.lrs[j], SMALL.batches[i])


def test_a_run_that_diverges_is_not_left_out(monkeypatch):
    monkeypatch.setattr(experiment, "_final_losses", lambda *_: np.full(4, math.nan))
    with refuses(ValueError, match="loss must be positive and finite, got nan"):
        sl.run(SMALL, device="cpu", progress=False)


def test_full_scale_takes_two_steps():
    short = dataclasses.replace(
        sl.FULL, widths=(8, 128), tokens=(4096, 8192), batches=(2048, 4096), held_out=(256, 8192), lrs=(0.01, 0.16)
    )
    measured = sl.run(short, device="cpu", progress=False)
    assert measured.held_N == 3 * 128 * 256 + 256 + 128
    assert measured.held_grid.shape == (2, 2)
    assert np.isfinite(measured.loss).all()


def invented(**changes):
    """A result on which every claim holds, and what is changed in it."""
    config = sl.Config(widths=(4, 8), tokens=(16_384, 32_768))
    batch, lr = np.meshgrid(np.log(config.batches), np.log(config.lrs), indexing="ij")
    grid = 3 * (1 + 0.01 * (lr - lr.mean()) ** 2 + 0.01 * (batch - batch.mean()) ** 2)
    grids = changes.pop("grids", [grid] * 4)
    empty = np.zeros(0)
    values = {
        "law": sl.HyperLaw(1.0, -0.2, 0.0, 1.0, 0.57),
        "law_with_N": sl.HyperLaw(1.0, -0.2, 0.0, 1.0, 0.57, 0.1),
        "landscapes": dict(zip(product((836, 1608), config.tokens), grids, strict=True)),
        "held_grid": grid,
        "held_loss": 3.01,
    }
    fixed = {"held_N": 6240, "held_D": 65_536, "held_pred": (0.03, 100), "transfer": (0.1, 32), "transfer_loss": 3.5}
    return sl.Result(
        config,
        empty.astype(int),
        empty.astype(int),
        empty,
        empty.astype(int),
        empty,
        **{**values, **changes, **fixed},
        entropy=2.9,
    )


FLAT = np.full((5, 9), 3.0)
STEEP = 3 + np.arange(45.0).reshape(5, 9)


@pytest.mark.parametrize(
    ("changes", "refuted"),
    [
        ({}, set()),
        ({"law": sl.HyperLaw(1.0, -0.05, 0.0, 1.0, 0.57)}, {"lr_falls_with_size"}),
        ({"law": sl.HyperLaw(1.0, -0.2, 0.0, 1.0, 0.85)}, {"batch_follows_data"}),
        ({"law": sl.HyperLaw(1.0, -0.2, 0.0, 1.0, 0.3)}, {"batch_follows_data"}),
        ({"law": sl.HyperLaw(1.0, math.nan, 0.0, 1.0, math.nan)}, {"batch_follows_data", "lr_falls_with_size"}),
        ({"law_with_N": sl.HyperLaw(1.0, -0.2, 0.0, 1.0, 0.57, 0.3)}, {"batch_follows_data"}),
        ({"law_with_N": sl.HyperLaw(1.0, -0.2, 0.0, 1.0, 0.57, -0.3)}, {"batch_follows_data"}),
        ({"held_loss": 3.02}, {"held_out"}),
        ({"held_loss": math.nan}, {"held_out"}),
        ({"grids": [FLAT] * 4}, {"convex"}),
        ({"grids": [STEEP] * 4}, {"convex", "plateau"}),
    ],
)
def test_every_claim_about_the_runs_can_be_refuted(changes, refuted):
    found = sl.claims(invented(**changes))
    assert {claim.id for claim in found if not claim.holds} == refuted


@pytest.mark.parametrize(
    "constants", [{"c_b": 0.58 / 2048}, {"c_lr": 0.586}, {"lr_N": -0.2}, {"c_lr": 10**0.586}, {"b_D": 0.5}]
)
def test_the_claim_about_the_published_law_needs_its_constants(constants, monkeypatch):
    monkeypatch.setattr(experiment, "STEP_LAW", dataclasses.replace(sl.STEP_LAW, **constants))
    assert not next(claim for claim in sl.claims(invented()) if claim.id == "published_regret").holds


ONES = np.ones(6)
GRID = np.stack(np.meshgrid(np.linspace(-1, 1, 5), np.linspace(-1, 1, 5))).reshape(2, -1)
RUNS = tuple(bowls())
BOWL = sl.Landscape(0.01, 100.0, 2.5, HESSIAN, 1.0)


def bad(index, value):
    """The runs of exact bowls with one entry of one column replaced."""
    columns = [column.copy() for column in RUNS]
    columns[index][5] = value
    return columns


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: sl.STEP_LAW(0, 1e9), "N must.*got 0"),
        (lambda: sl.STEP_LAW(1e9, -1.0), "D must.*got -1"),
        (lambda: sl.STEP_LAW(math.nan, 1e9), "N must.*nan"),
        (lambda: sl.STEP_LAW([1e9, 1e8], [1e9, math.inf]), "D must.*inf"),
        (lambda: sl.deepseek_law(-2, 1e9), "N must.*-2"),
        (lambda: sl.deepseek_law(1e9, math.nan), "D must.*nan"),
        (lambda: sl.near_optimal(ONES, ONES, -ONES), "loss must.*-1"),
        (lambda: sl.near_optimal(ONES, ONES, math.inf * ONES), "loss must.*inf"),
        (lambda: sl.near_optimal(0 * ONES, ONES, ONES), "N must.*got 0"),
        (lambda: sl.near_optimal(ONES, math.nan * ONES, ONES), "D must.*nan"),
        (lambda: sl.near_optimal(ONES, ONES, ONES, -0.1), "threshold.*-0.1"),
        (lambda: sl.near_optimal(ONES, ONES, ONES, math.nan), "threshold.*nan"),
        (lambda: sl.near_optimal(ONES, ONES[:3], ONES), r"one length.*\(6,\), \(3,\)"),
        (lambda: sl.near_optimal([], [], []), r"one length.*\(0,\)"),
        (lambda: sl.fit_hyper_law(*bad(4, math.nan)), "loss must.*nan"),
        (lambda: sl.fit_hyper_law(*bad(2, -0.5)), "lr must.*-0.5"),
        (lambda: sl.fit_hyper_law(*bad(3, 0)), "batch must.*got 0"),
        (lambda: sl.fit_hyper_law(*RUNS, threshold=-1), "threshold.*-1"),
        (lambda: sl.fit_hyper_law(*RUNS[:4], RUNS[4][:-1]), r"one length.*\(294,\).*\(293,\)"),
        (lambda: sl.fit_hyper_law(*(c[None] for c in RUNS)), r"vectors.*\(1, 294\)"),
        (lambda: sl.fit_hyper_law(ONES, ONES, ONES, ONES, ONES), "independently, got 6 runs with N 1..1"),
        (lambda: sl.fit_hyper_law([1, 2], [1, 2], [1, 1], [1, 1], [1, 1]), "independently, got 2 runs with N 1..2"),
        (lambda: sl.fit_hyper_law([1, 2, 4], [3, 6, 12], *np.ones((3, 3))), "independently.*D 3..12"),
        (lambda: sl.fit_hyper_law([1, 2, 4], [3, 3, 3], *np.ones((3, 3))), "independently.*D 3..3"),
        (lambda: sl.bootstrap_hyper_law(*RUNS, refits=0), "refits.*0"),
        (lambda: sl.bootstrap_hyper_law(*bad(4, math.inf)), "loss must.*inf"),
        (lambda: BOWL.regret(0, 100), "lr must.*got 0"),
        (lambda: BOWL.regret(0.1, [100, math.nan]), "batch must.*nan"),
        (lambda: sl.fit_landscape(ONES[:5], ONES[:5], ONES[:5]), "6 runs.*got 5"),
        (lambda: sl.fit_landscape(ONES, ONES, 2.0 ** np.arange(6)), "6 runs within 0.02.*got 1"),
        (lambda: sl.fit_landscape(ONES, ONES, ONES), "within 0.02.*rank 1 of 6"),
        (lambda: sl.fit_landscape([1, 2, 3, 4] * 2, [1] * 4 + [2] * 4, 2 + 1e-3 * np.arange(8)), "8 runs.*rank 5 of 6"),
        (lambda: sl.fit_landscape(*np.exp(GRID), 2 + 0.01 * GRID[0] ** 2), "25 runs within 0.02"),
        (lambda: sl.fit_landscape(*np.exp(GRID), 2 + 0 * GRID[0]), "25 runs within 0.02"),
        (lambda: sl.fit_landscape(ONES, ONES, ONES, within=-1.0), "within.*-1.0"),
        (lambda: sl.fit_landscape(ONES, ONES, math.nan * ONES), "loss must.*nan"),
        (lambda: sl.fit_landscape(ONES, ONES[1:], ONES), r"one length.*\(5,\)"),
        (lambda: sl.Config(widths=(4,)), r"widths.*\(4,\)"),
        (lambda: sl.Config(tokens=(4096, 2048)), r"tokens.*\(4096, 2048\)"),
        (lambda: sl.Config(batches=(0, 8)), "batches.*0"),
        (lambda: sl.Config(batches=(32, 16_385)), r"16384 tokens.*\(32, 16385\)"),
        (lambda: sl.Config(held_out=(32,)), r"held_out.*\(32,\)"),
        (lambda: sl.Config(held_out=(32, 256)), "256 tokens"),
        (lambda: sl.Config(held_out=(0, 65_536)), "held_out.*0"),
        (lambda: sl.Config(lrs=(0.0, 0.1)), "lrs.*0.0"),
        (lambda: sl.Config(lrs=(0.1, 0.1)), r"lrs.*\(0.1, 0.1\)"),
        (lambda: sl.Config(min_lr=-1e-3), "min_lr.*-0.001"),
        (lambda: sl.Config(threshold=-0.1), "threshold.*-0.1"),
        (lambda: sl.Config(vocab=1), "vocab.*1"),
    ],
)
def test_bad_input_is_refused_with_its_value(call, match):
    with refuses(ValueError, match=match):
        call()
