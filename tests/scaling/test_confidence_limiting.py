"""Confidence limiting against sixty digits of mpmath, torch's cross-entropy, enumeration, and scipy's optimizer."""

from __future__ import annotations

import dataclasses
import math
from itertools import combinations, pairwise

import mpmath
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize
from torch.nn import functional

from overparam.core import compute
from overparam.core.datasets import Examples, Split
from overparam.scaling import confidence_limiting as cl
from tests.conftest import refuses

SMALL = cl.Config(hidden=8, depth=1, epochs=1, train_N=(1, 16, 64), test_N=(1, 8, 64, 128), pairings=1, evals=2)

DTYPES = [torch.float32, torch.float64]
HALF = torch.tensor([0.5])


@pytest.fixture(scope="module")
def result():
    return cl.run(SMALL, device="cpu", progress=False)


def exact_coverage(p, N):
    with mpmath.workdps(60):
        return 1 - (1 - mpmath.mpf(p)) ** N


# --- Coverage --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("N", [1, 2, 3.5, 64, 1024])
def test_coverage_is_that_of_sixty_digits(dtype, N):
    p = torch.tensor([0, 1e-30, 1e-12, 1e-7, 1e-3, 0.3, 0.5, 0.97, 1 - 1e-6, 1], dtype=dtype)
    expected = torch.tensor([float(exact_coverage(value, N)) for value in p.tolist()], dtype=dtype)
    covered = cl.coverage(p, N)
    assert covered.dtype == dtype
    torch.testing.assert_close(covered, expected, rtol=8 * torch.finfo(dtype).eps, atol=0)


def test_coverage_in_single_precision_sees_what_the_plain_formula_loses():
    p = torch.tensor([1e-9])
    assert float(1 - (1 - p) ** 64) == 0
    assert float(cl.coverage(p, 64)) == pytest.approx(6.4e-8)


def test_coverage_takes_attempts_of_its_own_for_every_problem():
    p, N = torch.tensor([[0.1], [0.2]]), torch.tensor([1, 2, 3])
    expected = [[1 - (1 - q) ** n for n in (1, 2, 3)] for q in (0.1, 0.2)]
    torch.testing.assert_close(cl.coverage(p, N), torch.tensor(expected))


def test_a_plain_number_is_taken_in_double_precision():
    assert float(cl.coverage(1e-12, 3)) == pytest.approx(3e-12, rel=1e-11)
    assert float(cl.overconfidence_factor(0.5, 2)) == pytest.approx(2 / 3, rel=1e-15)


@given(n=st.integers(1, 8), data=st.data())
@settings(max_examples=40, deadline=None)
def test_the_estimate_is_the_share_of_subsets_with_a_right_answer(n, data):
    c, N = data.draw(st.integers(0, n)), data.draw(st.integers(1, n))
    subsets = list(combinations(range(n), N))
    share = sum(min(subset) < c for subset in subsets) / len(subsets)
    assert cl.pass_at_n_estimate(n, c, N) == pytest.approx(share, abs=1e-12)


@pytest.mark.parametrize(("n", "c", "N"), [(10_000, 3, 4096), (5000, 2500, 1), (300, 299, 2), (2000, 1, 2000)])
def test_the_estimate_is_that_of_exact_binomials(n, c, N):
    expected = 1 - math.comb(n - c, N) / math.comb(n, N)
    assert cl.pass_at_n_estimate(n, c, N) == pytest.approx(expected, rel=1e-10)


def test_the_estimate_is_unbiased():
    n, N, p = 12, 5, 0.2
    law = [math.comb(n, c) * p**c * (1 - p) ** (n - c) for c in range(n + 1)]
    mean = sum(weight * cl.pass_at_n_estimate(n, c, N) for c, weight in enumerate(law))
    assert mean == pytest.approx(1 - (1 - p) ** N, rel=1e-12)


# --- The loss --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("reduction", cl.REDUCTIONS)
def test_one_attempt_is_cross_entropy(dtype, reduction):
    logits = 5 * torch.randn(3, 7, 11, generator=compute.generator(0), dtype=dtype)
    target = torch.randint(11, (3, 7), generator=compute.generator(1))
    ours, peer = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    loss = cl.dco_loss(ours, target, 1, reduction)
    expected = functional.cross_entropy(peer.movedim(-1, 1), target, reduction=reduction)
    torch.testing.assert_close(loss, expected)
    loss.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(ours.grad, peer.grad)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("N", [1, 1.5, 2, 16, 64, 1024])
def test_the_loss_and_its_gradient_are_those_of_sixty_digits(dtype, N):
    logp = torch.tensor([-1e4, -800, -90, -60, -30, -17, -8, -3, -0.7, -0.69, -0.1, -1e-3, -1e-6], dtype=dtype)
    logp.requires_grad_()
    loss = cl.dco_loss_from_logp(logp, N, "none")
    (gradient,) = torch.autograd.grad(loss.sum(), logp)
    eps = torch.finfo(dtype).eps
    for u, value, slope in zip(logp.tolist(), loss.tolist(), gradient.tolist(), strict=True):
        with mpmath.workdps(60 + int(abs(u))):  # 1 - p has to be told from 1
            p = mpmath.exp(mpmath.mpf(u))
            miss = (1 - p) ** N
            factor = N * miss / (1 - p) * p / (1 - miss)
            assert value == pytest.approx(float(-mpmath.log(1 - miss)), rel=30 * eps, abs=30 * eps)
            assert slope == pytest.approx(float(-factor), rel=100 * eps, abs=30 * eps)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("N", [1, 1.01, 2, 64, 1e6])
def test_the_loss_and_its_gradient_are_finite_for_logits_of_ten_thousand(dtype, N):
    logits = torch.tensor([[1e4, -1e4], [-1e4, 1e4], [1e4, 1e4], [60.0, 0.0], [0.0, 60.0]], dtype=dtype)
    logits.requires_grad_()
    loss = cl.dco_loss(logits, torch.zeros(5, dtype=torch.int64), N, "none")
    loss.sum().backward()
    assert loss.dtype == dtype
    assert loss.isfinite().all()
    assert logits.grad.isfinite().all()
    assert float(loss[0].detach()) <= torch.finfo(dtype).tiny
    assert N < 1.1 or loss[0].item() == 0
    assert logits.grad[0].tolist() == [0, 0]
    torch.testing.assert_close(logits.grad[1], torch.tensor([-1.0, 1.0], dtype=dtype))


@given(p=st.floats(1e-12, 1), N=st.floats(1, 2000))
@settings(max_examples=60, deadline=None)
def test_the_gradient_is_the_brake_times_that_of_cross_entropy(p, N):
    logp = torch.tensor([math.log(p)], dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(cl.dco_loss_from_logp(logp, N), logp)
    torch.testing.assert_close(-gradient, cl.overconfidence_factor(logp.detach().exp(), N), atol=1e-9, rtol=1e-9)


@given(logits=st.lists(st.floats(-20, 20), min_size=2, max_size=5), N=st.floats(1, 500))
@settings(max_examples=40, deadline=None)
def test_the_loss_is_minus_the_logarithm_of_the_coverage(logits, N):
    z = torch.tensor([logits], dtype=torch.float64)
    covered = cl.coverage(z.softmax(-1)[:, 0], N)
    torch.testing.assert_close(cl.dco_loss(z, torch.tensor([0]), N), -covered.log()[0], atol=1e-8, rtol=1e-8)


def test_more_attempts_brake_earlier_and_the_ends_are_free_and_stopped():
    p = torch.linspace(0, 1, 101, dtype=torch.float64)
    F = torch.stack([cl.overconfidence_factor(p, N) for N in (1, 2, 8, 64)])
    assert F[:, 0].tolist() == [1, 1, 1, 1]
    assert F[:, -1].tolist() == [1, 0, 0, 0]
    assert (F[1:, 1:-1] < F[:-1, 1:-1]).all()
    torch.testing.assert_close(F[1], 2 * (1 - p) / (2 - p))


def test_a_chain_is_one_answer_whose_steps_multiply():
    logp = torch.tensor([0.3, 0.2]).double().log()
    loss = cl.dco_loss_from_logp(logp.sum(), 5)
    assert float(loss) == pytest.approx(-math.log(1 - (1 - 0.06) ** 5))


# --- The best policy -------------------------------------------------------------------------------------------


@given(
    weights=st.lists(st.floats(0.02, 1), min_size=2, max_size=6),
    N=st.sampled_from([1.5, 2, 3, 8, 40]),
)
@settings(max_examples=25, deadline=None)
def test_the_policy_covers_as_much_as_scipy_can_find(weights, N):
    pi = np.array(weights) / sum(weights)
    q = cl.optimal_policy(pi, N)
    assert q.min() >= 0
    assert q.sum() == pytest.approx(1)
    found = optimize.minimize(
        lambda r: -np.sum(pi * (1 - np.clip(1 - r, 0, 1) ** N)),
        np.full(len(pi), 1 / len(pi)),
        method="SLSQP",
        bounds=[(0, 1)] * len(pi),
        constraints={"type": "eq", "fun": lambda r: r.sum() - 1},
        options={"ftol": 1e-12, "maxiter": 300},
    )
    assert np.sum(pi * (1 - (1 - q) ** N)) >= -found.fun - 1e-7


@given(
    weights=st.lists(st.floats(0.02, 1), min_size=2, max_size=6),
    N=st.sampled_from([1.2, 2, 3, 8, 40]),
)
@settings(max_examples=40, deadline=None)
def test_no_answer_is_worth_more_than_those_that_are_kept(weights, N):
    pi = np.array(weights) / sum(weights)
    q = cl.optimal_policy(pi, N)
    worth = pi * (1 - q) ** (N - 1)
    kept = q > 1e-9
    if kept.sum() > 1:
        np.testing.assert_allclose(worth[kept], worth[kept].max(), rtol=1e-6)
        assert worth.max() <= worth[kept].max() * (1 + 1e-6)


@given(weights=st.lists(st.floats(0.01, 1), min_size=2, max_size=8))
@settings(max_examples=40, deadline=None)
def test_the_highest_useful_confidence_falls_with_the_attempts(weights):
    pi = np.array(weights) / sum(weights)
    tops = [cl.optimal_policy(pi, N).max() for N in (1, 1.5, 2, 4, 16, 256)]
    assert all(later <= earlier + 1e-9 for earlier, later in pairwise(tops))


def test_the_policy_at_its_ends_and_at_two_attempts():
    pi = [0.2, 0.5, 0.0, 0.3]
    assert cl.optimal_policy(pi, 1).tolist() == [0, 1, 0, 0]
    assert cl.optimal_policy(pi, 1 + 1e-9).tolist() == [0, 1, 0, 0]
    np.testing.assert_allclose(cl.optimal_policy(pi, 1e9), [1 / 3, 1 / 3, 0, 1 / 3], atol=1e-8)
    np.testing.assert_allclose(cl.optimal_policy([0.9, 0.1], 2), [0.9, 0.1])
    np.testing.assert_allclose(cl.optimal_policy([0.1, 0.9], 3), [0.25, 0.75])
    assert cl.optimal_policy(torch.tensor([1.0]), 8).tolist() == [1]


# --- Dtypes and devices ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_inputs_decide_dtype_and_device(dtype):
    logits, target, N = torch.zeros(2, 3, dtype=dtype), torch.zeros(2, dtype=torch.int64), torch.tensor(4.0).double()
    for reduction in cl.REDUCTIONS:
        assert cl.dco_loss(logits, target, N, reduction).dtype == dtype
        assert cl.dco_loss(logits.to("meta"), target.to("meta"), 4, reduction).device.type == "meta"
    assert cl.overconfidence_factor(HALF.to(dtype), N).dtype == dtype
    assert cl.coverage(HALF.to("meta"), 2).device.type == "meta"


# --- The experiment --------------------------------------------------------------------------------------------


def test_one_arm_is_a_network_trained_alone():
    config = dataclasses.replace(SMALL, train_N=(64,))
    both = cl.run(dataclasses.replace(SMALL, train_N=(1, 64)), device="cpu", progress=False)
    alone = cl.run(config, device="cpu", progress=False)
    torch.testing.assert_close(both.coverage[:, 1], alone.coverage[:, 0], atol=1e-5, rtol=1e-5)


def test_one_attempt_covers_the_mean_probability_and_more_cover_more(result):
    assert result.epochs.tolist() == [0, 1]
    assert result.coverage.shape == (2, 3, 4)
    assert (result.coverage.diff(dim=2) > 0).all()
    assert ((result.top >= 0) & (result.top <= 1)).all()
    torch.testing.assert_close(result.top.mean(1), result.confidence[-1])
    torch.testing.assert_close(result.hit.double().mean(1), result.accuracy[-1])
    # All arms start from one network.
    torch.testing.assert_close(result.coverage[0, 0], result.coverage[0, 2])


def test_blind_guessing_among_a_hundred_answers_fills_less_than_half_of_64_attempts():
    assert float(cl.coverage(torch.tensor([0.01]), 64)) == pytest.approx(0.474, abs=1e-3)
    assert float(cl.coverage(torch.tensor([0.1]), 64)) > 0.998


def test_a_single_step_does_not_tell_the_product_from_the_steps():
    config = dataclasses.replace(SMALL, digits=1)
    whole = cl.run(config, device="cpu", progress=False)
    steps = cl.run(dataclasses.replace(config, stepwise=True), device="cpu", progress=False)
    torch.testing.assert_close(whole.coverage, steps.coverage)
    assert not torch.equal(cl.run(SMALL, progress=False).coverage, whole.coverage)


def test_full_scale_takes_two_steps(monkeypatch):
    generator = compute.generator(0)
    few = [  # of the real signals' shape; two minibatches make an epoch
        Examples(torch.randn(n, 40, generator=generator), torch.randint(10, (n,), generator=generator))
        for n in (200, 0, 40)
    ]
    monkeypatch.setattr(cl, "_signals", lambda seed: Split(*few))
    measured = cl.run(dataclasses.replace(cl.FULL, epochs=1, evals=1), device="cpu", progress=False)
    assert measured.coverage.shape == (2, 9, 11)
    assert measured.coverage.isfinite().all()


def test_claims_about_arms_that_were_not_run_do_not_hold():
    few = cl.run(dataclasses.replace(SMALL, train_N=(2, 3), test_N=(1,)), device="cpu", progress=False)
    found = cl.claims(few)
    assert [claim.id for claim in found] == ["misalignment", "overconfidence", "rescue", "co_design"]
    assert not any(claim.holds for claim in found)
    assert cl.plot(few)
    assert cl.plot_budgets(few)
    assert cl.plot_confidence(few)


def invented(ce, matched, single, confidence):
    """A result of two epochs with the given pass@64 of CE and of N' = 64, pass@1 of CE, and final confidences."""
    coverage = torch.zeros(2, 3, 3, dtype=torch.float64)
    coverage[:, 0, 0], coverage[:, 0, 1], coverage[1, 2, 1] = torch.tensor(single), torch.tensor(ce), matched
    coverage[1, 2, 2] = 1
    per_arm = torch.tensor([[0.0, 0, 0], confidence], dtype=torch.float64)
    tensors = {"train_loss": per_arm, "confidence": per_arm, "accuracy": torch.zeros_like(per_arm)}
    extra = {"top": torch.zeros(3, 1).double(), "hit": torch.zeros(3, 1, dtype=torch.bool)}
    return cl.Result(
        SMALL, torch.tensor([0, 1]), coverage, **tensors, **extra, train_N=(1, 16, 64), test_N=(1, 64, 128)
    )


@pytest.mark.parametrize(
    ("change", "refuted"),
    [
        ({}, set()),
        ({"ce": [0.82, 0.8]}, {"misalignment"}),
        ({"single": [0.5, 0.4]}, {"misalignment"}),
        ({"confidence": [0.3, 0.25, 0.0]}, {"overconfidence"}),
        ({"confidence": [0.05, -0.2, 0.0]}, {"overconfidence"}),
        ({"matched": 0.84}, {"rescue"}),
        ({"matched": 0.885, "ce": [0.9, 0.8]}, {"rescue"}),
        ({"single": [0.0, math.nan]}, {"misalignment", "co_design"}),
    ],
)
def test_every_claim_can_be_refuted(change, refuted):
    good = {"ce": [0.9, 0.8], "matched": 0.9, "single": [0.2, 0.4], "confidence": [0.3, 0.1, 0.0]}
    found = cl.claims(invented(**{**good, **change}))
    assert {claim.id for claim in found if not claim.holds} == refuted


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: cl.coverage(torch.tensor([0.5, 1.5]), 2), "p must.*1.5"),
        (lambda: cl.coverage(torch.tensor([-0.25]), 2), "p must.*-0.25"),
        (lambda: cl.coverage(torch.tensor([math.nan]), 2), "p must.*nan"),
        (lambda: cl.coverage(HALF, 0.5), "N must.*0.5"),
        (lambda: cl.coverage(HALF, torch.tensor([2.0, 0.0])), "N must.*0.0"),
        (lambda: cl.coverage(HALF, math.inf), "N must.*inf"),
        (lambda: cl.overconfidence_factor(torch.tensor([1.5]), 2), "p must.*1.5"),
        (lambda: cl.overconfidence_factor(HALF, 0), "N must.*0.0"),
        (lambda: cl.pass_at_n_estimate(4, 2, 5), "n = 4, got 5"),
        (lambda: cl.pass_at_n_estimate(4, 2, 0), "N must.*0"),
        (lambda: cl.pass_at_n_estimate(4, 5, 2), "n = 4, got 5"),
        (lambda: cl.pass_at_n_estimate(4, -1, 2), "c must.*-1"),
        (lambda: cl.pass_at_n_estimate(0, 0, 1), "n must.*0"),
        (lambda: cl.dco_loss(torch.zeros(3, 4), torch.zeros(2, dtype=torch.int64), 2), r"\(3, 4\) and \(2,\)"),
        (lambda: cl.dco_loss(torch.tensor(0.0), torch.tensor(0), 2), r"\(\) and \(\)"),
        (lambda: cl.dco_loss(torch.zeros(1, 4), torch.tensor([4]), 2), "0..3, got 4"),
        (lambda: cl.dco_loss(torch.zeros(1, 4), torch.tensor([-100]), 2), "0..3, got -100"),
        (lambda: cl.dco_loss(torch.zeros(1, 4), torch.tensor([0]), 0.5), "N must.*0.5"),
        (lambda: cl.dco_loss(torch.zeros(1, 4), torch.tensor([0]), 2, "median"), "reduction.*median"),
        (lambda: cl.dco_loss_from_logp(-HALF, 0), "N must.*0.0"),
        (lambda: cl.dco_loss_from_logp(-HALF, math.nan), "N must.*nan"),
        (lambda: cl.dco_loss_from_logp(-HALF, 2, "max"), "reduction.*max"),
        (lambda: cl.dco_loss_from_logp(HALF, 2), "logp.*0.5"),
        (lambda: cl.optimal_policy([0.5, 0.6], 2), "sum to 1.*0.6"),
        (lambda: cl.optimal_policy([1.5, -0.5], 2), "non-negative.*-0.5"),
        (lambda: cl.optimal_policy([math.nan, 1.0], 2), "nan"),
        (lambda: cl.optimal_policy([[0.5, 0.5]], 2), r"\(1, 2\)"),
        (lambda: cl.optimal_policy([], 2), r"\(0,\)"),
        (lambda: cl.optimal_policy([0.5, 0.5], 0.5), "N must.*0.5"),
        (lambda: cl.optimal_policy([0.5, 0.5], math.inf), "N must.*inf"),
        (lambda: cl.Config(train_N=()), r"train_N.*\(\)"),
        (lambda: cl.Config(train_N=(4, 1)), r"train_N.*\(4, 1\)"),
        (lambda: cl.Config(train_N=(0, 1)), "train_N.*0"),
        (lambda: cl.Config(test_N=(1, 2.5)), "test_N.*2.5"),
        (lambda: cl.Config(test_N=(8, 8)), r"test_N.*\(8, 8\)"),
        (lambda: cl.Config(digits=3), "multiple of digits 3.*100"),
        (lambda: cl.Config(digits=1001, batch=1001), "digits.*1001"),
        (lambda: cl.Config(batch=5000), "4000, got 5000"),
        (lambda: cl.Config(lr=0.0), "lr.*0.0"),
    ],
)
def test_bad_input_is_refused_with_its_value(call, match):
    with refuses(ValueError, match=match):
        call()
