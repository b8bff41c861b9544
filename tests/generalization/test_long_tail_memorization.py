"""The long tail against exact arithmetic, enumeration, simulation and retraining."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction
from itertools import product

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics.pairwise import rbf_kernel

from overparam.core import compute
from overparam.core.datasets import Examples, Split
from overparam.generalization import long_tail_memorization as tail
from overparam.generalization.long_tail_memorization import experiment as experiment_module
from overparam.generalization.long_tail_memorization import frequencies as frequencies_module
from tests.conftest import refuses

SMALL = tail.Config(
    points=60,
    samples=60,
    normalizers=20,
    trials=10,
    short_points=5,
    noise_trials=4,
    clusters=2,
    draws=60,
    data_trials=2,
)


def zipf(N=60, draws=30, seed=0):
    return tail.frequency_marginal(tail.zipf_prior(N), N, draws, compute.generator(seed))


def uniform(size=6001):
    return (torch.arange(size, dtype=torch.float64) + 0.5) / size


# --- The law of a frequency ------------------------------------------------------------------------------------


def test_the_zipf_list_is_the_power_of_the_rank():
    assert tail.zipf_prior(4, 2.0).tolist() == [1, 1 / 4, 1 / 9, 1 / 16]
    assert tail.zipf_prior(3, 0.0).tolist() == [1, 1, 1]


def test_the_law_of_a_frequency_is_that_of_all_lists_of_three_enumerated():
    values = (4.0, 1.0, 0.5)
    exact = [p[0] / sum(p) for p in product(values, repeat=3)]
    drawn = tail.frequency_marginal(torch.tensor(values).double(), 3, 20_000, compute.generator(0))
    assert drawn.shape == (60_000,)
    np.testing.assert_allclose(np.mean(exact), 1 / 3)
    for moment in (1, 2, 5):
        assert float((drawn**moment).mean()) == pytest.approx(np.mean(np.power(exact, moment)), rel=0.015)


def test_every_prior_value_meets_the_same_number_of_normalizers():
    drawn = tail.frequency_marginal(torch.tensor([1.0, 0.0]).double(), 2, 500, compute.generator(1)).view(2, 500)
    assert set(drawn[0].tolist()) == {0.5, 1.0}
    assert set(drawn[1].tolist()) == {0.0, 0.5}  # a list of zeros counts as one of equal frequencies


def test_equal_frequencies_are_all_one_in_n():
    assert torch.equal(
        tail.frequency_marginal(torch.full((3,), 7.0), 4, 2, compute.generator(0)), torch.full((6,), 0.25)
    )


# --- tau -------------------------------------------------------------------------------------------------------


@given(
    values=st.lists(st.fractions(0, 1, max_denominator=30), min_size=1, max_size=6),
    n=st.integers(1, 30),
    data=st.data(),
)
@settings(max_examples=20, deadline=None)
def test_tau_and_counts_are_those_of_exact_arithmetic(values, n, data):
    ell = data.draw(st.integers(0, n))
    evidence = sum(a**ell * (1 - a) ** (n - ell) for a in values)
    alphas = torch.tensor([float(a) for a in values], dtype=torch.float64)
    count = 7 * math.comb(n, ell) * evidence / len(values)
    assert float(tail.expected_counts(alphas, 7, n, ell)) == pytest.approx(float(count), rel=1e-9)
    measured = float(tail.tau(alphas, n, ell))
    if evidence == 0:
        assert math.isnan(measured)
    else:
        exact = sum(a ** (ell + 1) * (1 - a) ** (n - ell) for a in values) / Fraction(evidence)
        assert measured == pytest.approx(float(exact), rel=1e-9)


@pytest.mark.parametrize("n", [1, 5, 40])
def test_a_uniform_law_obeys_the_rule_of_succession(n):
    ell = torch.arange(n + 1)
    torch.testing.assert_close(tail.tau(uniform(), n, ell), (ell.double() + 1) / (n + 2), atol=0, rtol=1e-3)
    torch.testing.assert_close(
        tail.expected_counts(uniform(), 3, n, ell), torch.full((n + 1,), 3 / (n + 1)).double(), atol=0, rtol=1e-3
    )


def test_tau_is_a_beta_posterior_mean():
    a, b, n = 2.0, 30.0, 50
    alphas = torch.from_numpy(stats.beta(a, b).ppf((np.arange(40_000) + 0.5) / 40_000))
    exact = [stats.beta(a + ell, b + n - ell).mean() for ell in (0, 1, 5)]
    np.testing.assert_allclose(tail.tau(alphas, n, [0, 1, 5]), exact, rtol=1e-3)


def test_likelihoods_far_below_the_smallest_double_do_not_underflow():
    n, ell, alphas = 1_000_000, 5000, torch.tensor([1e-4, 3e-4, 0.02], dtype=torch.float64)
    with mpmath.workdps(30):
        weights = [mpmath.mpf(a) ** ell * (1 - mpmath.mpf(a)) ** (n - ell) for a in alphas.tolist()]
        assert max(weights) < mpmath.mpf("1e-10000")
        exact = sum(a * w for a, w in zip(alphas.tolist(), weights, strict=True)) / sum(weights)
        count = 9 * mpmath.binomial(n, ell) * sum(weights) / 3
        log_count = float(mpmath.log(count))
    assert float(tail.tau(alphas, n, ell)) == pytest.approx(float(exact), rel=1e-9)
    near = torch.tensor([0.0049], dtype=torch.float64)
    assert float(tail.expected_counts(near, 9, n, ell)) == pytest.approx(9 * stats.binom(n, 0.0049).pmf(ell), rel=1e-6)
    assert log_count < -3000
    assert float(tail.expected_counts(alphas, 9, n, ell)) == 0.0


@given(N=st.integers(2, 40), n=st.integers(1, 60), exponent=st.floats(0, 2), seed=st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_counts_sum_to_the_points_and_their_worth_to_the_mass(N, n, exponent, seed):
    alphas = tail.frequency_marginal(tail.zipf_prior(N, exponent), N, 3, compute.generator(seed))
    ell = torch.arange(n + 1)
    counts = tail.expected_counts(alphas, N, n, ell)
    assert float(counts.sum()) == pytest.approx(N, rel=1e-9)
    assert float(counts @ tail.tau(alphas, n, ell)) == pytest.approx(N * float(alphas.mean()), rel=1e-9)


def test_blocks_of_the_buffer_change_nothing(monkeypatch):
    alphas, ell = zipf(6, 5), torch.arange(0, 60, 6)
    whole = tail.tau(alphas, 60, ell), tail.expected_counts(alphas, 6, 60, ell)
    for size in (1, 7, 30, 100):  # one frequency at a time, and rows of several
        monkeypatch.setattr(frequencies_module, "BUFFER", size)
        torch.testing.assert_close(tail.tau(alphas, 60, ell), whole[0], rtol=1e-12, atol=0)
        torch.testing.assert_close(tail.expected_counts(alphas, 6, 60, ell), whole[1], rtol=1e-12, atol=0)


# --- The price -------------------------------------------------------------------------------------------------


@given(misfit=st.lists(st.floats(0, 1), min_size=1, max_size=45), seed=st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_the_price_is_the_sum_over_all_sightings(misfit, seed):
    n, alphas = 40, zipf(20, 3, seed)
    ell = range(1, n + 1)
    mass = tail.tau(alphas, n, ell) * tail.expected_counts(alphas, 20, n, ell)
    total = sum(float(mass[i - 1]) * misfit[min(i, len(misfit)) - 1] for i in ell)
    assert tail.price_of_not_fitting(alphas, 20, n, misfit) == pytest.approx(total, rel=1e-9, abs=1e-12)
    as_tensor = torch.tensor(misfit, dtype=torch.float64)
    assert tail.price_of_not_fitting(alphas, 20, n, as_tensor) == pytest.approx(total, rel=1e-9, abs=1e-12)


def test_refusing_singletons_of_equal_frequencies_costs_their_binomial_probability():
    alphas = torch.full((1,), 1 / 50, dtype=torch.float64)
    exact = stats.binom(1000, 1 / 50).pmf(1)  # N points, each of frequency 1/N
    assert tail.price_of_not_fitting(alphas, 50, 1000, (1.0, 0.0)) == pytest.approx(exact, rel=1e-9)
    assert 3e-8 < exact < 4e-8


def test_the_weight_of_an_interval_counts_its_ends():
    alphas = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    assert tail.tail_weight(alphas, 2, 0.2, 0.3) == pytest.approx(2 * (0.2 + 0.3) / 4)
    assert tail.tau1_lower_bound(alphas, 2, 3) == pytest.approx(2 * (0.2 + 0.3 + 0.4) / 4 / 15)


@given(N=st.integers(2, 200), n=st.integers(3, 300), exponent=st.floats(0, 3), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_a_long_tail_bounds_the_worth_of_a_singleton(N, n, exponent, seed):
    alphas = tail.frequency_marginal(tail.zipf_prior(N, exponent), N, 5, compute.generator(seed))
    alphas = alphas / (N * alphas.mean()).clamp(min=1)  # the bound is for frequencies of mean 1/N
    assert float(tail.tau(alphas, n, 1)) >= tail.tau1_lower_bound(alphas, N, n) * (1 - 1e-9)


def test_the_inequality_behind_the_bound_holds_from_three_examples_on_and_not_for_two():
    for n in (3, 4, 10, 1000, 10**6):
        a = np.linspace(1 / (3 * n), 2 / n, 1001)
        assert (a * (1 - a) ** (n - 1)).min() >= 1 / (5 * n)
    assert 1.0 * (1 - 1.0) < 1 / 10


# --- Privacy ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("epsilon", "delta"), [(0.0, 0.0), (0.0, 0.01), (0.3, 0.0), (0.3, 0.02), (5.0, 1e-6)])
def test_group_privacy_is_the_recursion_of_one_example_after_the_other(epsilon, delta):
    allowed, misfits = 1 / 10, []
    for _ in range(30):
        misfits.append(min(1, max(0, 1 - allowed)))
        allowed = math.exp(epsilon) * allowed + delta
    np.testing.assert_allclose(tail.dp_misfit(range(30), epsilon, delta, 10), misfits, atol=1e-12)


def test_randomized_response_respects_the_privacy_bound():
    for epsilon, classes in product((0.1, 1.0, 3.0), (2, 10)):
        correct = math.exp(epsilon) / (math.exp(epsilon) + classes - 1)
        assert 1 - correct >= float(tail.dp_misfit(1, epsilon, 0.0, classes))


def test_very_many_sightings_bound_nothing_and_overflow_nothing():
    assert tail.dp_misfit([10**6, 1], 3.0, 0.0, 2).tolist() == [0.0, 0.0]
    assert tail.dp_misfit([0, 1, 10**6], 1e5, 0.5, 2).tolist() == [0.5, 0.0, 0.0]


# --- Simulation ------------------------------------------------------------------------------------------------


def simulate(fit, trials=300, N=60, n=60, **options):
    return tail.simulate(tail.zipf_prior(N), N, n, 10, fit, trials, compute.generator(0), zipf(N, 400), **options)


def test_a_learner_that_fits_everything_errs_nowhere_on_what_it_has_seen():
    done = simulate((1.0,), trials=5)
    assert done.excess.tolist() == done.predicted.tolist() == [0] * 5


def test_simulated_points_have_the_frequencies_and_the_numbers_of_the_theory():
    done, alphas = simulate((0.0, 0.5, 1.0), trials=600), zipf(60, 400)
    ell = range(4)
    torch.testing.assert_close(done.frequency[:4], tail.tau(alphas, 60, ell), rtol=0.06, atol=0)
    torch.testing.assert_close(done.counts[:4], tail.expected_counts(alphas, 60, 60, ell), rtol=0.06, atol=0)
    price = tail.price_of_not_fitting(alphas, 60, 60, (0.9, 0.45, 0.0))
    assert float(done.excess.mean()) == pytest.approx(price, rel=0.1)
    assert float(done.predicted.mean()) == pytest.approx(price, rel=0.1)


def test_noise_that_is_fitted_costs_its_share_and_fitting_it_still_gains():
    eta = 0.4
    prior = torch.ones(1, dtype=torch.float64)
    done = tail.simulate(prior, 20, 400, 5, (1.0,), 200, compute.generator(0), label_noise=eta)
    assert float(done.excess.mean()) == pytest.approx(eta * (1 - 1 / 5), rel=0.05)
    fit, refuse = (simulate(f, label_noise=eta, trials=600).excess.mean() for f in ((1.0,), (0.0, 1.0)))
    gain = tail.price_of_not_fitting(zipf(60, 400), 60, 60, (1.0, 0.0)) * (1 - eta) * (1 - 1 / 10)
    assert float(refuse - fit) == pytest.approx(gain, rel=0.2)


def test_frequencies_drawn_by_the_simulation_leave_its_trials_alone():
    given_alphas = simulate((0.0, 1.0), trials=4)
    own = tail.simulate(tail.zipf_prior(60), 60, 60, 10, (0.0, 1.0), 4, compute.generator(0))
    assert torch.equal(own.excess, given_alphas.excess)
    torch.testing.assert_close(own.predicted, given_alphas.predicted, rtol=0.1, atol=0)


def test_sightings_that_no_sample_shows_have_no_mean_frequency():
    done = tail.simulate(torch.ones(1).double(), 2, 3, 2, (1.0,), 3, compute.generator(0))
    assert done.frequency[4:].isnan().all()
    assert done.counts[4:].tolist() == [0, 0, 0]


# --- Kernel ridge regression -----------------------------------------------------------------------------------


def regression(n=25, classes=3, seed=0, dtype=torch.float64):
    generator = compute.generator(seed)
    X = torch.randn(n, 4, generator=generator, dtype=dtype)
    return X, torch.randint(classes, (n,), generator=generator)


def test_the_kernel_is_scikit_learns():
    X, _ = regression()
    torch.testing.assert_close(
        tail.gaussian_kernel(X, X[:7], 3.0), torch.from_numpy(rbf_kernel(X, X[:7], gamma=1 / 6)), rtol=1e-12, atol=1e-15
    )
    assert torch.equal(tail.gaussian_kernel(X, X, 3.0).diagonal(), torch.ones(25).double())


@pytest.mark.parametrize("ridge", [1e-3, 1.0])
def test_leaving_one_out_is_retraining_without_it(ridge):
    X, y = regression()
    Y = torch.nn.functional.one_hot(y, 3).double()
    K = tail.gaussian_kernel(X, X, 4.0)
    alpha, loo = tail.kernel_ridge_loo(K, Y, ridge)
    peer = KernelRidge(alpha=ridge, kernel="precomputed")
    np.testing.assert_allclose(alpha, peer.fit(K, Y).dual_coef_, rtol=1e-8)
    mem = []
    for i in range(25):
        rest = torch.arange(25) != i
        without = peer.fit(K[rest][:, rest], Y[rest]).predict(K[i : i + 1][:, rest])
        np.testing.assert_allclose(loo[i : i + 1], without, rtol=1e-9, atol=1e-9)
        fitted = peer.fit(K, Y).predict(K[i : i + 1])
        mem.append(int(fitted.argmax() == y[i]) - int(without.argmax() == y[i]))
    assert tail.memorization_scores(K, y, 3, ridge).tolist() == mem
    assert len(set(mem)) > 1


def test_an_isolated_example_is_memorized_unless_the_tie_goes_to_its_class():
    K = torch.eye(3, dtype=torch.float64)
    assert tail.memorization_scores(K, torch.tensor([1, 2, 0]), 3, 0.1).tolist() == [1, 1, 0]


def test_a_heavy_ridge_can_make_an_example_wrong_because_of_itself_or_never():
    X, y = regression(40, 2, 5)
    scores = tail.memorization_scores(tail.gaussian_kernel(X, X, 1.0), y, 2, 1e-3)
    assert set(scores.tolist()) <= {-1.0, 0.0, 1.0}
    assert (scores >= 0).all()  # what interpolates is never wrong on its own examples


# --- Subpopulations and the run ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pool():
    return tail.subpopulations(tail.Config(clusters=3), compute.generator(0))


@pytest.fixture(scope="module")
def result():
    return tail.run(SMALL, device="cpu", progress=False)


def test_every_subpopulation_is_of_one_class_and_halved(pool):
    assert len(pool.label) == 30
    assert float(pool.x.mean()) == pytest.approx(0, abs=1e-12)
    assert float(pool.x.square().mean()) == pytest.approx(1)
    train, test = set(pool.train.tolist()), set(pool.test.tolist())
    assert not train & test
    assert len(train | test) == len(pool.x) == 1797
    for j in range(30):
        members = pool.train[pool.offset[j] : pool.offset[j] + pool.size[j]]
        assert (pool.cluster[members] == j).all()
        held = int((pool.cluster[pool.test] == j).sum())
        assert len(members) - held in (0, 1)


def test_subpopulations_are_the_same_for_every_seed_but_their_halves_are_not(pool):
    other = tail.subpopulations(tail.Config(clusters=3, seed=1), compute.generator(1))
    assert torch.equal(pool.cluster, other.cluster)
    assert not torch.equal(pool.train, other.train)


def test_an_image_alone_in_its_subpopulation_is_for_training_and_for_testing(monkeypatch):
    few = Examples(torch.rand(5, 1, 2, 2, generator=compute.generator(0)), torch.tensor([0, 0, 0, 1, 1]))
    none = Examples(few.x[:0], few.y[:0])
    monkeypatch.setattr(experiment_module, "digits", lambda **_: Split(few, none, none))
    alone = tail.subpopulations(tail.Config(clusters=2), compute.generator(0))
    assert alone.size.tolist().count(1) >= 3
    assert set(alone.cluster[alone.test].tolist()) == {0, 1, 2, 3}
    with refuses(ValueError, match="clusters.*at most the 2 images of a class, got 3"):
        tail.subpopulations(tail.Config(clusters=3, ridges=(1.0, 10.0)), compute.generator(0))


def test_the_run_measures_what_its_fields_say(result):
    assert result.seen.sum(1).tolist() == [60, 60]
    torch.testing.assert_close(result.frequency.sum(1), torch.ones(2).double())
    assert result.test_error.shape == result.unfitted.shape == (2, 7, 20)
    assert (result.unfitted[:, 0] == 0).all()  # the first ridge interpolates
    assert ((result.test_error >= 0) & (result.test_error <= 1)).all()
    assert (result.memorization[result.seen == 0] == 0).all()
    assert torch.equal(
        result.tau_of_seen[0], tail.tau(tail.zipf_prior(20) / tail.zipf_prior(20).sum(), 60, result.seen[0])
    )
    assert result.strip_images.shape[1:] == (1, 8, 8)
    assert (result.strip_labels != result.strip_without).all()


def test_averages_over_bins_are_those_of_a_loop(result):
    ends = ((0, 0), (1, 1), (2, 5), (6, 10**9))
    for b, (low, high) in enumerate(ends):
        chosen = [(t, c) for t in range(2) for c in range(20) if low <= result.seen[t, c] <= high]
        weights = [float(result.frequency[at]) for at in chosen]
        errors = [float(result.test_error[t, 3, c]) for t, c in chosen]
        if chosen:
            assert float(tail.error_by_sightings(result)[3, b]) == pytest.approx(np.average(errors, weights=weights))
    often = [(t, c) for t in range(2) for c in range(20) if result.seen[t, c] > 5]
    scores = [float(result.memorization[at]) for at in often for _ in range(result.seen[at])]
    assert float(tail.memorization_by_sightings(result)[3]) == pytest.approx(np.mean(scores))
    measured, predicted = tail.excess_by_ridge(result)
    seen = result.seen > 0
    gap = result.test_error[:, 5] - result.test_error[:, 0]
    assert float(measured[5]) == pytest.approx(float((gap * result.frequency)[seen].sum() / 2))
    assert float(predicted[5]) == pytest.approx(float((result.unfitted[:, 5] * result.tau_of_seen)[seen].sum() / 2))


def test_claims_are_the_briefs_and_none_holds_on_nothing(result):
    ids = "tau price long_tail noisy_singletons memorized_are_rare disparate digits_price"
    assert [claim.id for claim in tail.claims(result)] == ids.split()
    broken, kept = {}, ("alphas", "half_fit", "config")
    for name in {f.name for f in dataclasses.fields(result)} - set(kept):
        value = getattr(result, name)
        if isinstance(value, float):
            broken[name] = math.nan
        elif value.is_floating_point():
            broken[name] = torch.full_like(value, math.nan)
    simulation = {name: value * math.nan for name, value in vars(result.half_fit).items()}
    refuted = dataclasses.replace(result, **broken, half_fit=tail.Simulation(**simulation))
    assert not any(claim.holds for claim in tail.claims(refuted))


def test_full_scale_takes_two_steps(monkeypatch):
    generator = compute.generator(0)
    images = torch.randn(400, 1, 28, 28, generator=generator)
    part = Examples(images, torch.arange(400) % 10)
    monkeypatch.setattr(experiment_module, "hub_images", lambda name, source: Split(part, part, part))
    tiny = {"normalizers": 2, "trials": 2, "noise_trials": 1, "clusters": 5, "draws": 80, "data_trials": 2}
    result = tail.run(dataclasses.replace(tail.FULL, **tiny), device="cpu", progress=False)
    assert result.alphas.shape == (100_000,)
    assert result.seen.shape == (2, 50)
    assert result.strip_images.shape[1:] == (1, 28, 28)
    assert 0.05 < result.refusal_long < 0.12


# --- dtype and refusals ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_inputs_decide_the_dtype(dtype):
    X, y = regression(dtype=dtype)
    K = tail.gaussian_kernel(X, X, 4.0)
    alpha, loo = tail.kernel_ridge_loo(K, torch.nn.functional.one_hot(y, 3).to(dtype), 0.1)
    assert {K.dtype, alpha.dtype, loo.dtype, tail.memorization_scores(K, y, 3, 0.1).dtype} == {dtype}
    alphas = tail.frequency_marginal(tail.zipf_prior(30).to(dtype), 30, 20, compute.generator(0))
    assert alphas.dtype == tail.tau(alphas, 1000, 3).dtype == tail.expected_counts(alphas, 30, 1000, [1]).dtype == dtype
    exact = tail.tau(alphas.double(), 1000, [0, 3, 40])
    torch.testing.assert_close(tail.tau(alphas, 1000, [0, 3, 40]).double(), exact, rtol=1e-4, atol=0)
    done = tail.simulate(tail.zipf_prior(30).to(dtype), 30, 20, 4, (0.0, 1.0), 2, compute.generator(0), alphas)
    assert {done.excess.dtype, done.predicted.dtype, done.frequency.dtype, done.counts.dtype} == {dtype}
    assert tail.gaussian_kernel(X.to("meta"), X.to("meta"), 4.0).device.type == "meta"


def test_an_integer_of_sightings_gives_a_scalar_and_several_a_vector():
    alphas = zipf(10, 2)
    assert tail.tau(alphas, 9, 2).shape == tail.expected_counts(alphas, 10, 9, 2).shape == ()
    assert tail.tau(alphas, 9, [2]).shape == tail.dp_misfit(torch.tensor([2]), 1.0, 0.0, 2).shape == (1,)
    assert tail.dp_misfit(2, 1.0, 0.0, 2).shape == ()


G = compute.generator(0)
P = torch.ones(3, dtype=torch.float64)
A = torch.tensor([0.2, 0.5], dtype=torch.float64)
K3, Y3 = torch.eye(3, dtype=torch.float64), torch.ones(3, 2, dtype=torch.float64)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: tail.zipf_prior(0), "N.*0"),
        (lambda: tail.zipf_prior(3, math.nan), "exponent.*nan"),
        (lambda: tail.frequency_marginal(P[:0], 3, 1, G), r"prior.*\(0,\)"),
        (lambda: tail.frequency_marginal(-P, 3, 1, G), "prior.*-1"),
        (lambda: tail.frequency_marginal(P * math.nan, 3, 1, G), "prior.*nan"),
        (lambda: tail.frequency_marginal(0 * P, 3, 1, G), "prior.*positive.*0"),
        (lambda: tail.frequency_marginal(P[:, None], 3, 1, G), r"prior.*\(3, 1\)"),
        (lambda: tail.frequency_marginal(P, 1, 1, G), "N.*1"),
        (lambda: tail.frequency_marginal(P, 3, 0, G), "draws.*0"),
        (lambda: tail.tau(A, 5, 6), r"ell.*0\.\.5, got 6"),
        (lambda: tail.tau(A, 5, [1, -1]), r"ell.*0\.\.5, got -1"),
        (lambda: tail.tau(A, -1, 0), "n.*-1"),
        (lambda: tail.tau(A[:0], 5, 1), r"alphas.*\(0,\)"),
        (lambda: tail.tau(A + 0.6, 5, 1), r"alphas.*1\.1"),
        (lambda: tail.tau(A * math.nan, 5, 1), "alphas.*nan"),
        (lambda: tail.expected_counts(-A, 3, 5, 1), r"alphas.*-0\.2"),
        (lambda: tail.expected_counts(A, 0, 5, 1), "N.*0"),
        (lambda: tail.expected_counts(A, 3, 5, 9), "ell.*9"),
        (lambda: tail.tail_weight(2 * A + 0.5, 3, 0.1, 0.2), r"alphas.*1\.5"),
        (lambda: tail.tail_weight(A, 3, 0.3, 0.2), r"low.*0\.3 and 0\.2"),
        (lambda: tail.tau1_lower_bound(A, 3, 0), "n.*0"),
        (lambda: tail.price_of_not_fitting(A, 3, 5, (0.5, 1.5)), r"misfit.*1\.5"),
        (lambda: tail.price_of_not_fitting(A, 3, 5, (math.nan,)), "misfit.*nan"),
        (lambda: tail.price_of_not_fitting(A, 3, 5, ()), r"misfit.*\(0,\)"),
        (lambda: tail.price_of_not_fitting(A, 3, 0, (1.0,)), "n.*0"),
        (lambda: tail.dp_misfit(-1, 1.0, 0.0, 10), "ell.*-1"),
        (lambda: tail.dp_misfit(1, -0.5, 0.0, 10), r"epsilon.*-0\.5"),
        (lambda: tail.dp_misfit(1, 1.0, 1.5, 10), r"delta.*1\.5"),
        (lambda: tail.dp_misfit(1, 1.0, 0.0, 1), "classes.*1"),
        (lambda: tail.simulate(P, 3, 5, 2, (-0.5,), 1, G), r"fit.*-0\.5"),
        (lambda: tail.simulate(P, 3, 5, 2, (), 1, G), r"fit.*\(0,\)"),
        (lambda: tail.simulate(P, 3, 5, 1, (1.0,), 1, G), "classes.*1"),
        (lambda: tail.simulate(P, 1, 5, 2, (1.0,), 1, G), "N.*1"),
        (lambda: tail.simulate(P, 3, 0, 2, (1.0,), 1, G), "n.*0"),
        (lambda: tail.simulate(P, 3, 5, 2, (1.0,), 0, G), "trials.*0"),
        (lambda: tail.simulate(P, 3, 5, 2, (1.0,), 1, G, A + 0.6), r"alphas.*1\.1"),
        (lambda: tail.simulate(P, 3, 5, 2, (1.0,), 1, G, label_noise=1.5), r"label_noise.*1\.5"),
        (lambda: tail.gaussian_kernel(Y3, K3, 1.0), r"\(3, 2\) and \(3, 3\)"),
        (lambda: tail.gaussian_kernel(K3, K3, 0.0), r"width2.*0\.0"),
        (lambda: tail.kernel_ridge_loo(K3, Y3, 0.0), r"ridge.*0\.0"),
        (lambda: tail.kernel_ridge_loo(Y3, Y3, 1.0), r"K.*\(3, 2\)"),
        (lambda: tail.kernel_ridge_loo(K3, Y3[:2], 1.0), r"Y.*3 rows.*\(2, 2\)"),
        (lambda: tail.kernel_ridge_loo(-K3, Y3, 0.5), r"K.*ridge 0\.5"),
        (lambda: tail.memorization_scores(K3, torch.tensor([0, 1, 2]), 2, 1.0), r"y.*0\.\.1, got 2"),
        (lambda: tail.memorization_scores(K3, torch.tensor([0, 0, 0]), 1, 1.0), "classes.*1"),
        (lambda: tail.memorization_scores(K3, torch.tensor([0, 1]), 2, 1.0), r"Y.*3 rows.*\(2, 2\)"),
        (lambda: tail.memorization_scores(K3, torch.tensor([[0, 1, 1]]), 2, 1.0), r"y.*\(1, 3\)"),
        (lambda: tail.memorization_scores(K3, torch.tensor([0, 1, 1]), 2, -1.0), r"ridge.*-1\.0"),
        (lambda: tail.Config(fit=(0.5, 2.0)), r"fit.*2\.0"),
        (lambda: tail.Config(fit=()), r"fit.*\(\)"),
        (lambda: tail.Config(epsilons=(-1.0,)), r"epsilons.*-1\.0"),
        (lambda: tail.Config(ridges=(1.0, 0.1, 10.0)), r"ridges.*\(1\.0, 0\.1, 10\.0\)"),
        (lambda: tail.Config(ridges=(0.0, 10.0)), r"ridges.*0\.0"),
        (lambda: tail.Config(limit=5.0), r"limit.*5\.0"),
        (lambda: tail.Config(source="somewhere"), "source.*'somewhere'"),
    ],
)
def test_bad_input_is_refused_with_its_value(call, match):
    with refuses(ValueError, match=match):
        call()
