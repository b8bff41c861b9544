"""Laws against searches and root finding, fits against other routes to the same minimum, and the authors' numbers."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

from overparam.core.language import student_parameters, train_students, zipf_language
from overparam.scaling import overtraining as ot
from tests.conftest import refuses

SMALL = ot.Config(
    vocab=8,
    features=32,
    fit_runs=((2, 20), (4, 20), (8, 20), (16, 20), (2, 160)),
    target_runs=((4, 80), (16, 40)),
    batch=64,
    lrs=(0.02, 0.05),
)

LAW = ot.LossLaw(E=1.8, A=170.0, B=290.0, alpha=0.27)
LAWS = st.builds(
    ot.LossLaw, E=st.floats(0.5, 3), A=st.floats(50, 500), B=st.floats(50, 500), alpha=st.floats(0.22, 0.45)
)
RUNS = ot.published_runs()
N, M, D, LOSS = RUNS["N"], RUNS["M"], RUNS["N"] * RUNS["M"], RUNS["loss"]
FIVE, TWO = ot.small_runs(RUNS), ot.large_runs(RUNS)


# --- The laws --------------------------------------------------------------------------------------------------


@given(law=LAWS, n=st.floats(1e6, 1e11), multiplier=st.floats(1, 1e3))
@settings(max_examples=25)
def test_the_law_in_sizes_and_the_law_in_compute_are_one(law, n, multiplier):
    d = n * multiplier
    assert law.at_compute(6 * n * d, multiplier) == pytest.approx(law(n, d), rel=1e-12)
    assert law(n, d) == pytest.approx(law.E + law.A / n**law.alpha + law.B / d**law.alpha, rel=1e-12)


@given(law=LAWS, multiplier=st.floats(1, 1e3))
@settings(max_examples=12)
def test_lines_of_fixed_multiplier_are_straight_and_parallel(law, multiplier):
    C = np.geomspace(1e15, 1e23, 9)
    slope = np.diff(np.log(law.at_compute(C, multiplier) - law.E)) / np.diff(np.log(C))
    np.testing.assert_allclose(slope, -law.alpha / 2, rtol=1e-8)


@given(law=LAWS, C=st.floats(1e16, 1e24))
@settings(max_examples=12)
def test_the_optimal_multiplier_is_the_one_that_a_search_finds_at_any_compute(law, C):
    searched = optimize.minimize_scalar(lambda t: float(law.at_compute(C, math.exp(t))), bounds=(-20, 30))
    assert math.exp(searched.x) == pytest.approx(law.optimal_multiplier(), rel=1e-2)
    assert searched.fun >= law.at_compute(C, law.optimal_multiplier()) - 1e-12


@given(law=LAWS, ratio=st.floats(1, 200), C=st.floats(1e16, 1e22))
@settings(max_examples=12)
def test_the_cost_of_overtraining_is_the_compute_that_root_finding_finds(law, ratio, C):
    best = law.optimal_multiplier()
    target, multiplier = law.at_compute(C, best), best * ratio
    found = optimize.brentq(lambda t: float(law.at_compute(C * math.exp(t), multiplier) - target), -1, 40, xtol=1e-13)
    assert law.overtraining_cost(multiplier) == pytest.approx(math.exp(found), rel=1e-6)
    assert law.overtraining_cost(best / ratio) == pytest.approx(law.overtraining_cost(multiplier), rel=1e-9)
    assert law.overtraining_cost(best) == pytest.approx(1)


def test_laws_broadcast_and_give_float64_for_any_input():
    n, d = np.array([[1e7], [1e8]]), np.array([1e9, 1e10, 1e11])
    grid = LAW(n, d)
    assert grid.shape == (2, 3)
    assert grid[1, 2] == LAW(1e8, 1e11)
    for values in (d.astype(np.float32), torch.tensor(d, dtype=torch.float32), d.astype(np.int64), d.tolist()):
        assert LAW(10**7, values).dtype == np.float64
        np.testing.assert_allclose(LAW(10**7, values), grid[0], rtol=1e-8)
    assert LAW.at_compute(n, d).shape == LAW.overtraining_cost(np.ones((2, 3))).shape
    assert isinstance(LAW(1e7, 1e9), float)


def test_the_error_law_is_a_power_law_in_perplexity():
    law = ot.ErrorLaw(epsilon=0.86, k=2.2, gamma=0.7)
    loss = np.linspace(2, 6, 5)
    np.testing.assert_allclose(law(loss), 0.86 - 2.2 * np.exp(loss) ** -0.7)


# --- The fits --------------------------------------------------------------------------------------------------


@given(law=LAWS)
@settings(max_examples=12)
def test_the_fit_finds_the_law_that_made_the_losses(law):
    fitted = ot.fit_loss_law(N[FIVE], D[FIVE], law(N[FIVE], D[FIVE]))
    np.testing.assert_allclose(fitted(N, D), law(N, D), rtol=1e-6)
    assert fitted.alpha == pytest.approx(law.alpha, rel=1e-3)


def linear_fit(log_alpha, n, d, loss):
    """For a given exponent the law is linear in E, A and B, none of them negative."""
    alpha = math.exp(log_alpha)
    return optimize.nnls(np.stack([np.ones_like(n), n**-alpha, d**-alpha], 1), loss)


@given(seed=st.integers(0, 99), noise=st.sampled_from([0.003, 0.03]))
@example(seed=39, noise=0.03)  # whose best exponents lie above 5: the noise is all that is left to fit
@example(seed=105, noise=0.03)
@settings(max_examples=12)
def test_the_fit_is_the_best_over_all_exponents(seed, noise):
    rng = np.random.default_rng(seed)
    n, d = rng.uniform(0.1, 10, 7), rng.uniform(0.1, 10, 7)
    loss = (2 + 0.8 * n**-0.5 + 0.6 * d**-0.5) * (1 + noise * rng.normal(size=7))
    fitted = ot.fit_loss_law(n, d, loss)
    residual = float(np.sum((fitted(n, d) - loss) ** 2))
    best = min(linear_fit(t, n, d, loss)[1] for t in np.linspace(math.log(0.02), math.log(8), 200)) ** 2
    assert residual <= best * (1 + 1e-4)


def authors_route(starts):
    """The same least squares by curve_fit in raw units, from the starts of the authors' code that are given."""
    small = np.stack([N[FIVE], D[FIVE]])

    def model(x, A, B, power, E):
        return A * x[0] ** power + B * x[1] ** power + E

    fits = [optimize.curve_fit(model, small, LOSS[FIVE], p0=start, maxfev=10_000)[0] for start in starts]
    best = min(fits, key=lambda found: float(np.sum((model(small, *found) - LOSS[FIVE]) ** 2)))
    return model(np.stack([N, D]), *best)


def test_the_fit_predicts_what_the_authors_route_predicts():
    law = ot.fit_loss_law(N[FIVE], D[FIVE], LOSS[FIVE])
    theirs = authors_route([(a, b, p, e) for a in (1e2, 1e3) for b in (1e2, 1e3) for p in (-0.1, -0.3) for e in (0, 2)])
    np.testing.assert_allclose(law(N, D), theirs, rtol=1e-6)


def test_units_of_size_and_tokens_do_not_matter():
    law = ot.fit_loss_law(N[FIVE], D[FIVE], LOSS[FIVE])
    scaled = ot.fit_loss_law(N[FIVE] / 1e6, D[FIVE] / 1e9, LOSS[FIVE])
    np.testing.assert_allclose(scaled(N / 1e6, D / 1e9), law(N, D), rtol=1e-7)
    assert scaled.alpha == pytest.approx(law.alpha, rel=1e-5)


def test_the_order_of_the_runs_does_not_matter():
    index = np.flatnonzero(FIVE)[[3, 0, 4, 2, 1]]
    law, other = ot.fit_loss_law(N[FIVE], D[FIVE], LOSS[FIVE]), ot.fit_loss_law(N[index], D[index], LOSS[index])
    np.testing.assert_allclose(other(N, D), law(N, D), rtol=1e-7)


def test_the_irreducible_loss_is_not_negative_where_the_losses_ask_for_less():
    n, d = np.array([1.0, 4, 16, 64, 1]), np.array([1.0, 4, 16, 64, 16])
    loss = n**-0.2 + d**-0.2 - 0.5
    law = ot.fit_loss_law(n, d, loss)
    assert 0 <= law.E < 1e-6
    best = min(linear_fit(t, n, d, loss)[1] for t in np.linspace(math.log(0.05), 0, 300))
    assert math.sqrt(np.sum((law(n, d) - loss) ** 2)) <= best * (1 + 1e-6)


@given(E=st.floats(0.5, 3), lam=st.floats(0.3, 3), eta=st.floats(0.15, 0.6))
@settings(max_examples=12)
def test_the_blind_fit_finds_the_law_that_made_the_losses(E, lam, eta):
    C = np.geomspace(1, 1e4, 5)
    floor, height, power = ot.fit_blind_law(C, E + lam * C**-eta)
    wide = np.geomspace(0.1, 1e6, 9)
    np.testing.assert_allclose(floor + height * wide**-power, E + lam * wide**-eta, rtol=1e-5)


@given(epsilon=st.floats(0.6, 0.95), gamma=st.floats(0.4, 1.2), k=st.floats(0.8, 3))
@settings(max_examples=12)
def test_the_error_fit_finds_the_law_that_made_the_errors(epsilon, gamma, k):
    loss = np.linspace(2.7, 5.5, 6)
    made = ot.ErrorLaw(epsilon, k, gamma)
    made_errors = made(loss) + 1.0  # all positive; the offset belongs to epsilon
    fitted = ot.fit_error_law(loss, made_errors)
    np.testing.assert_allclose(fitted(loss) - 1.0, made(loss), atol=1e-7)
    assert fitted(2.4) - 1.0 == pytest.approx(made(2.4), abs=1e-5)


def test_the_error_fit_is_that_of_curve_fit():
    six = ot.error_runs(RUNS)
    fitted = ot.fit_error_law(LOSS[six], RUNS["err17"][six])
    theirs, _ = optimize.curve_fit(
        lambda t, k, gamma, epsilon: epsilon - k * np.exp(-gamma * t), LOSS[six], RUNS["err17"][six], maxfev=10_000
    )
    np.testing.assert_allclose((fitted.k, fitted.gamma, fitted.epsilon), theirs, rtol=1e-4)


@given(law=LAWS)
@settings(max_examples=10)
def test_every_multiplier_has_the_exponent_of_the_law_and_those_with_two_runs_none(law):
    keep = ~((M == 40) & (N > 1e8))  # two runs are left at M = 40
    found = ot.exponents_by_multiplier(N[keep], M[keep], law(N, D)[keep], law.E)
    assert set(found) == {5.0, 10.0, 20.0, 80.0, 160.0, 320.0, 640.0}
    np.testing.assert_allclose(list(found.values()), law.eta, rtol=1e-6)


# --- The published runs ----------------------------------------------------------------------------------------


def test_the_published_table_is_the_authors():
    assert {key: values.shape for key, values in RUNS.items()} == dict.fromkeys(
        ("N", "M", "loss", "err17", "err46"), (35,)
    )
    sums = {key: float(RUNS[key].sum()) for key in ("loss", "err17", "err46")}
    # Sums of the unrounded numbers of the authors' repository.
    assert sums == pytest.approx(AUTHORS_SUMS, abs=35 * 5e-5)
    assert N[FIVE].tolist() == [10569312, 10569312, 78914048, 153677376, 411616256]
    assert M[FIVE].tolist() == [20, 320, 20, 20, 20]
    assert (N[TWO] / 1e9).round(1).tolist() == [1.4, 6.9]
    assert M[TWO].tolist() == [640, 20]


#: Computed from the JSON files of github.com/mlfoundations/scaling.
AUTHORS_SUMS = {"loss": 131.68619, "err17": 23.76601, "err46": 24.57192}


def test_predictions_come_within_the_rounding_of_the_authors_notebook():
    law = ot.fit_loss_law(N[FIVE], D[FIVE], LOSS[FIVE])
    predicted = law(N[TWO], D[TWO])
    # Their printed errors are 0.7103 % and 0.7320 %, and 3.6365 % and 0.0464 %, on unrounded losses.
    np.testing.assert_allclose(predicted / LOSS[TWO] - 1, [0.007103, 0.007320], atol=1e-4)
    six = ot.error_runs(RUNS)
    errors = ot.fit_error_law(LOSS[six], RUNS["err17"][six])(predicted)
    np.testing.assert_allclose(np.abs(errors / RUNS["err17"][TWO] - 1), [0.036365, 0.000464], atol=2e-4)
    assert law.optimal_multiplier() == pytest.approx(7.42, abs=0.01)
    assert law.overtraining_cost(640) == pytest.approx(3.595, abs=0.001)


def test_the_prediction_at_the_usual_multiplier_does_not_see_the_overtrained_run():
    usual = FIVE & (M == 20)
    law = ot.fit_loss_law(N[FIVE], D[FIVE], LOSS[FIVE])
    E, lam, eta = ot.fit_blind_law(6 * (N * D)[usual], LOSS[usual])
    C = 6 * (N * D)[TWO][1]
    assert law(N[TWO][1], D[TWO][1]) == pytest.approx(E + lam * C**-eta, rel=1e-6)


# --- The run ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def result():
    return ot.run(SMALL, device="cpu", progress=False)


def test_a_run_has_its_tokens_and_its_best_rate_averaged_over_students_first():
    language = zipf_language(8, features=16, seed=1)
    config = ot.Config(batch=8, big_batch=16, big_tokens=400, lrs=(0.01, 0.1))
    n = student_parameters(8, 2)
    for multiplier, batch, steps in ((3, 8, 22), (7, 16, 25)):
        found = ot.train_run(language, 2, multiplier, config, [5, 6, 7], device="cpu")
        each = [
            [
                train_students(language, 2, steps, batch, [lr], seed=seed, final_lr=lr / 10, device="cpu").test[0, -1]
                for seed in (5, 6, 7)
            ]
            for lr in config.lrs
        ]
        assert found[:2] == (n, batch * steps)
        assert found[2] == pytest.approx(min(np.mean(losses) for losses in each), rel=1e-5)


def test_a_rate_that_diverges_is_not_the_best():
    language = zipf_language(8, features=16, seed=1)
    config = ot.Config(batch=8, lrs=(0.02, 1e30))
    _, _, loss = ot.train_run(language, 2, 20, config, [0], device="cpu")
    assert language.entropy < loss < math.log(8)


def test_the_run_fits_what_it_trained(result):
    expected = [student_parameters(8, width) for width, _ in SMALL.fit_runs]
    assert result.fit_N.tolist() == expected
    np.testing.assert_allclose(result.fit_M, [m for _, m in SMALL.fit_runs], rtol=0.02)
    np.testing.assert_allclose(result.target_M, [80, 40], rtol=0.02)
    tokens = np.concatenate([result.fit_M * result.fit_N, result.target_M * result.target_N])
    np.testing.assert_allclose(tokens / 64, (tokens / 64).round())
    assert (np.concatenate([result.fit_loss, result.target_loss]) > result.entropy).all()
    again = ot.fit_loss_law(result.fit_N, result.fit_M * result.fit_N, result.fit_loss)
    np.testing.assert_allclose(again(1e3, 1e5), result.law(1e3, 1e5), rtol=1e-9)
    usual = slice(4)
    C = 6 * result.fit_N**2 * result.fit_M
    E, lam, eta = ot.fit_blind_law(C[usual], result.fit_loss[usual])
    assert E + lam * C[0] ** -eta == pytest.approx(result.blind[0] + result.blind[1] * C[0] ** -result.blind[2])
    assert result.entropy == zipf_language(8, features=32, seed=0).entropy


def test_published_slopes_are_regressions_over_the_common_sizes(result):
    assert set(result.published_slopes) == {5, 10, 20, 40, 80, 160, 320, 640}
    here = (M == 80) & (N < 1e9)
    slope = stats.linregress(np.log(6 * N[here] ** 2 * 80), np.log(LOSS[here] - result.published_law.E)).slope
    assert result.published_slopes[80.0] == pytest.approx(-slope)
    assert result.published_slopes[5.0] < 0.92 * min(s for m, s in result.published_slopes.items() if m >= 10)


def test_the_full_scale_trains_on_its_language_and_widths():
    few = tuple((width, 128 / student_parameters(128, width)) for width, _ in ot.FULL.fit_runs)
    uneven = (*few[:-1], (few[-1][0], 2 * few[-1][1]))
    targets = tuple((width, 128 / student_parameters(128, width)) for width, _ in ot.FULL.target_runs)
    config = dataclasses.replace(ot.FULL, fit_runs=uneven, target_runs=targets, repeats=1, lrs=(0.02,))
    found = ot.run(config, device="cpu", progress=False)
    assert found.fit_N.tolist() == [student_parameters(128, w) for w in (8, 12, 16, 24, 32, 48, 64, 8)]
    assert found.target_N.tolist() == [student_parameters(128, w) for w in (64, 256, 128)]
    np.testing.assert_allclose(found.target_N * found.target_M, 128)
    assert np.isfinite(found.target_loss).all()


def verdicts(result):
    return {claim.id: claim.holds for claim in ot.claims(result)}


def test_the_published_claims_hold_and_the_numbers_are_the_briefs(result):
    measured = {claim.id: claim.measured for claim in ot.claims(result)}
    assert measured["published_loss"] == pytest.approx(0.0074, abs=1e-5)
    assert measured["published_error"] == pytest.approx(0.03648, abs=1e-5)
    assert measured["parallel_lines"] == pytest.approx(1.079, abs=1e-3)
    assert measured["multiplier_matters"] == pytest.approx(4.81, abs=0.01)
    assert list(measured)[-1] == "own_extrapolation"
    assert all(holds for name, holds in verdicts(result).items() if name != "own_extrapolation")


def test_claims_fail_where_the_result_is_another(result):
    law = result.published_law
    worse = dataclasses.replace(law, E=1.05 * law.E)
    assert not verdicts(dataclasses.replace(result, published_law=worse))["published_loss"]
    linear = ot.ErrorLaw(0.9, 2.0, 0.7)
    assert not verdicts(dataclasses.replace(result, published_error_law=linear))["published_error"]
    tilted = {**result.published_slopes, 640.0: 0.2}
    assert not verdicts(dataclasses.replace(result, published_slopes=tilted))["parallel_lines"]
    under = {**result.published_slopes, 5.0: 0.01}
    assert verdicts(dataclasses.replace(result, published_slopes=under))["parallel_lines"]
    knowing = (law.E, (law.at_compute(1.0, 640.0) - law.E), law.eta)
    assert not verdicts(dataclasses.replace(result, published_blind=knowing))["multiplier_matters"]
    predicted = result.law(result.target_N, result.target_M * result.target_N)
    assert verdicts(dataclasses.replace(result, target_loss=1.014 * predicted))["own_extrapolation"]
    assert not verdicts(dataclasses.replace(result, target_loss=1.02 * predicted))["own_extrapolation"]


def test_nothing_holds_with_nan(result):
    lost = dataclasses.replace(
        result,
        published={**RUNS, "loss": LOSS * math.nan, "err17": LOSS * math.nan},
        published_slopes={},
        target_loss=result.target_loss * math.nan,
    )
    assert not any(verdicts(lost).values())
    few = dataclasses.replace(SMALL, fit_runs=((2, 2), (4, 2), (8, 3), (2, 8)), target_runs=((4, 2),))
    assert all(math.isnan(value) for value in ot.run(few, device="cpu", progress=False).blind)


# --- Refusals --------------------------------------------------------------------------------------------------

FOUR = np.array([1.0, 2, 4, 8])
REFUSED = {
    "no parameters": (lambda: LAW(0, 1e9), "N must be positive and finite, got 0.0"),
    "negative tokens": (lambda: LAW(1e7, [1e9, -2.0]), "D must be positive and finite, got -2.0"),
    "endless tokens": (lambda: LAW(1e7, math.inf), "D must be positive and finite, got inf"),
    "no compute": (lambda: LAW.at_compute(0.0, 20), "C must be positive and finite, got 0.0"),
    "no multiplier": (lambda: LAW.at_compute(1e20, 0), "M must be positive and finite, got 0.0"),
    "multiplier is nan": (lambda: LAW.overtraining_cost(math.nan), "M must be positive and finite, got nan"),
    "cost of a negative multiplier": (lambda: LAW.overtraining_cost(-20), "M must be positive and finite, got -20.0"),
    "error of a nan": (lambda: ot.ErrorLaw(0.9, 2, 0.7)(math.nan), "loss must be positive and finite, got nan"),
    "three runs": (lambda: ot.fit_loss_law(FOUR[:3], FOUR[:3] ** 2, FOUR[:3]), "at least 4 runs, got 3"),
    "lengths differ": (lambda: ot.fit_loss_law(FOUR, FOUR[:3], FOUR), r"one length, got shapes \[\(4,\), \(3,\)"),
    "a matrix": (lambda: ot.fit_loss_law(np.ones((4, 2)), np.ones((4, 2)), np.ones((4, 2))), r"vectors.*\(4, 2\)"),
    "zero tokens": (lambda: ot.fit_loss_law(FOUR, FOUR - 1, FOUR), "D must be positive and finite, got 0.0"),
    "a loss of nan": (lambda: ot.fit_loss_law(FOUR, FOUR**2, FOUR * math.nan), "loss must be .* got nan"),
    "a negative loss": (lambda: ot.fit_loss_law(FOUR, FOUR**2, FOUR - 4), "loss must be .* got -3.0"),
    "one multiplier": (lambda: ot.fit_loss_law(FOUR, 20 * FOUR, FOUR), "not identified by runs at one D/N, got 20"),
    "blind to two": (lambda: ot.fit_blind_law(FOUR[:2], FOUR[:2]), "at least 3 runs, got 2"),
    "blind, no compute": (lambda: ot.fit_blind_law(FOUR - 1, FOUR), "C must be positive and finite, got 0.0"),
    "blind, lengths": (lambda: ot.fit_blind_law(FOUR, FOUR[:3]), r"one length, got shapes \[\(4,\), \(3,\)\]"),
    "two errors": (lambda: ot.fit_error_law(FOUR[:2], FOUR[:2]), "at least 3 runs, got 2"),
    "errors, lengths": (lambda: ot.fit_error_law(FOUR, FOUR[:3]), r"one length, got shapes \[\(4,\), \(3,\)\]"),
    "an error of nan": (lambda: ot.fit_error_law(FOUR, FOUR * math.nan), "err must be positive and finite, got nan"),
    "one loss": (lambda: ot.fit_error_law(FOUR * 0 + 3, FOUR), "loss must differ between the runs, got 3 for all 4"),
    "one error": (lambda: ot.fit_error_law(FOUR, FOUR * 0 + 0.5), "err must differ between the runs, got 0.5"),
    "loss at the floor": (lambda: ot.exponents_by_multiplier(FOUR, FOUR, FOUR, 1.0), "above E = 1, got 1.0"),
    "loss below the floor": (lambda: ot.exponents_by_multiplier(FOUR, FOUR, FOUR, 3.5), "above E = 3.5, got 1.0"),
    "a negative floor": (lambda: ot.exponents_by_multiplier(FOUR, FOUR, FOUR, -1.0), "E must .* got -1.0"),
    "exponents, lengths": (lambda: ot.exponents_by_multiplier(FOUR, FOUR[:3], FOUR, 0.5), r"one length.*\(3,\)"),
    "exponents, no size": (lambda: ot.exponents_by_multiplier(FOUR - 1, FOUR, FOUR, 0.5), "N must be .* got 0.0"),
    "few runs": (lambda: ot.Config(fit_runs=((4, 20), (8, 20), (4, 320))), "fit_runs must have at least 4 runs"),
    "runs at one M": (lambda: ot.Config(fit_runs=((4, 20), (8, 20), (16, 20), (32, 20))), "fit_runs.*more than one"),
    "no target": (lambda: ot.Config(target_runs=()), r"target_runs must have at least 1 runs, got \(\)"),
    "no width": (lambda: ot.Config(target_runs=((0, 20),)), "target_runs must be an integer of at least 1, got 0"),
    "no tokens": (lambda: ot.Config(target_runs=((4, 0.0),)), "target_runs must be positive and finite, got 0.0"),
    "no rate": (lambda: ot.Config(lrs=()), r"lrs must name at least one learning rate, got \(\)"),
    "a negative rate": (lambda: ot.Config(lrs=(-0.1, 0.1)), "lrs must be positive and finite, got -0.1"),
    "one token": (lambda: ot.Config(vocab=1), "vocab must be an integer of at least 2, got 1"),
    "no repeats": (lambda: ot.Config(repeats=0), "repeats must be an integer of at least 1, got 0"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_input_is_refused_with_its_value(case):
    call, message = REFUSED[case]
    with refuses(ValueError, match=message):
        call()
