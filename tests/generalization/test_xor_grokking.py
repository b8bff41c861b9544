"""Gradient descent in the span of the data against autograd, logistic regression and closed forms."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from overparam.core import compute
from overparam.generalization import xor_grokking as xg
from tests.conftest import refuses

SMALL = xg.Config(n=40, p=1500, mu_norm=10.0, m=40, n_test=40, checkpoints=(0, 1, 3, 10), runs=2, low_p=20)


def problem(n=14, p=60, m=10, scale=0.1, seed=0, dtype=torch.float64):
    generator = compute.generator(seed)
    data = xg.xor_clusters(n, p, 3.0, 0.2, generator, dtype=dtype)
    return data, *xg.init_network(m, p, scale, generator, dtype=dtype)


# --- The problem ------------------------------------------------------------------------------------------------


def test_the_means_are_orthogonal_and_of_the_norm_asked_for():
    data = xg.xor_clusters(5, 30, 2.5, 0.0, compute.generator(0), dtype=torch.float64)
    expected = 2.5**2 * torch.eye(2, dtype=torch.float64)
    torch.testing.assert_close(data.mu @ data.mu.mT, expected, atol=1e-12, rtol=0)


def test_samples_are_standard_normal_around_the_centre_of_their_cluster():
    data = xg.xor_clusters(4000, 6, 5.0, 0.0, compute.generator(1), dtype=torch.float64)
    centres = torch.stack([data.mu[0], -data.mu[0], data.mu[1], -data.mu[1]])
    rest = data.x - centres[data.cluster]
    torch.testing.assert_close(rest.mean(0), torch.zeros(6, dtype=torch.float64), atol=0.07, rtol=0)
    torch.testing.assert_close(rest.mT.cov(), torch.eye(6, dtype=torch.float64), atol=0.1, rtol=0)
    assert data.cluster.bincount(minlength=4).tolist() == pytest.approx([1000] * 4, abs=120)
    assert data.clean.tolist() == [1.0 if k < 2 else -1.0 for k in data.cluster]


def test_independent_flips_have_the_rate_asked_for_in_both_classes():
    data = xg.xor_clusters(20_000, 2, 1.0, 0.3, compute.generator(2))
    flipped = data.y != data.clean
    assert [float(flipped[data.clean == c].double().mean()) for c in (-1, 1)] == pytest.approx([0.3, 0.3], abs=0.015)


@given(n=st.integers(1, 80), noise=st.floats(0, 0.49), seed=st.integers(0, 99))
def test_balanced_clusters_and_their_flips_have_exact_counts(n, noise, seed):
    data = xg.xor_clusters(n, 3, 1.0, noise, compute.generator(seed), balanced=True)
    counts = data.cluster.bincount(minlength=4).tolist()
    assert sorted(counts) == [(n + k) // 4 for k in range(4)]
    flips = [int((data.y != data.clean)[data.cluster == k].sum()) for k in range(4)]
    assert flips == [round(noise * count) for count in counts]


def test_balanced_clusters_come_in_random_order():
    one, two = (xg.xor_clusters(40, 3, 1.0, 0.1, compute.generator(s), balanced=True).cluster for s in (0, 1))
    assert not torch.equal(one, two)
    assert not torch.equal(one, torch.arange(40) % 4)


def test_a_test_set_has_the_means_that_it_is_given():
    train = xg.xor_clusters(8, 50, 4.0, 0.1, compute.generator(0))
    test = xg.xor_clusters(8, 50, 4.0, 0.0, compute.generator(1), mu=train.mu)
    torch.testing.assert_close(test.mu, train.mu, atol=0, rtol=0)
    torch.testing.assert_close(test.y, test.clean, atol=0, rtol=0)
    assert float((test.x - train.x).abs().min()) > 0


def test_the_network_starts_with_the_scale_and_the_signs_of_the_paper():
    W0, a = xg.init_network(300, 200, 0.02, compute.generator(0))
    assert float(W0.std()) == pytest.approx(0.02, rel=0.02)
    torch.testing.assert_close(a.abs(), torch.full((300,), 1 / math.sqrt(300)))
    assert abs(float((a > 0).double().mean()) - 0.5) < 0.1


@given(pairs=st.integers(1, 8), scale=st.floats(1e-3, 10), seed=st.integers(0, 99))
@settings(max_examples=25)
def test_a_symmetric_start_is_the_zero_function(pairs, scale, seed):
    generator = compute.generator(seed)
    W0, a = xg.init_network(2 * pairs, 7, scale, generator, symmetric=True, dtype=torch.float64)
    x = torch.randn(5, 7, generator=generator, dtype=torch.float64)
    torch.testing.assert_close((x @ W0.mT).relu() @ a, torch.zeros(5, dtype=torch.float64), atol=1e-13 * scale, rtol=0)


# --- Training ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["relu", "linear"])
def test_training_is_gradient_descent_on_the_weights_by_autograd(activation):
    data, W0, a = problem()
    W = W0.clone().requires_grad_()

    def f(x):
        return (torch.relu(x @ W.mT) if activation == "relu" else x @ W.mT) @ a

    for _ in range(12):
        (gradient,) = torch.autograd.grad(torch.nn.functional.softplus(-data.y * f(data.x)).mean(), W)
        W.data -= 0.5 * gradient
    trainer = xg.GramTrainer(data.x, data.y, W0, a, 0.5, activation).advance(12)
    test = torch.randn(9, 60, generator=compute.generator(5), dtype=torch.float64)
    close = {"atol": 1e-9, "rtol": 1e-9}
    torch.testing.assert_close(trainer.weights(), W.detach(), **close)
    torch.testing.assert_close(trainer.train_output(), f(data.x).detach(), **close)
    torch.testing.assert_close(trainer.output(test), f(test).detach(), **close)
    torch.testing.assert_close(trainer.output(test, trainer.prepare(test)), f(test).detach(), **close)
    torch.testing.assert_close(trainer.alignment(data.mu), (W @ data.mu.mT).detach(), **close)


def test_a_linear_network_is_logistic_regression_with_the_same_step():
    # The signs square to one in sum, so that the product of the layers moves like a single vector.
    data, W0, a = problem()
    x, y = data.x.numpy(), data.y.numpy()
    v = a.numpy() @ W0.numpy()
    for _ in range(30):
        v = v + 0.2 * x.T @ (y / (1 + np.exp(y * (x @ v)))) / len(y)
    trainer = xg.GramTrainer(data.x, data.y, W0, a, 0.2, "linear").advance(30)
    np.testing.assert_allclose(trainer.train_output(), x @ v, rtol=1e-10)


def test_the_first_step_from_a_vanishing_start_has_its_closed_form():
    data, W0, a = problem(scale=1e-9)
    trainer = xg.GramTrainer(data.x, data.y, W0, a, 0.3).advance()
    for w, w0, sign in zip(trainer.weights(), W0, a, strict=True):
        gated = sum(y * x for x, y in zip(data.x, data.y, strict=True) if w0 @ x > 0)
        torch.testing.assert_close(w, 0.3 * sign / (2 * 14) * gated, atol=1e-7, rtol=1e-6)


def test_after_one_step_a_wide_network_is_the_linear_direction():
    generator = compute.generator(3)
    data = xg.xor_clusters(60, 3000, 4.0, 0.1, generator)
    W0, a = xg.init_network(300, 3000, 1e-7, generator)
    test = xg.xor_clusters(200, 3000, 4.0, 0.0, generator, mu=data.mu).x
    output = xg.GramTrainer(data.x, data.y, W0, a, 0.01).advance().output(test)
    direction = sum(y * x for x, y in zip(data.x, data.y, strict=True))
    torch.testing.assert_close(xg.linear_direction(data.x, data.y), direction)
    assert np.corrcoef(output, test @ direction)[0, 1] > 0.95


def test_a_neuron_at_zero_does_not_move():
    data, W0, a = problem()
    trainer = xg.GramTrainer(data.x, data.y, torch.zeros_like(W0), a, 1.0).advance(3)
    assert not trainer.C.any()


def test_steps_add_up():
    data, W0, a = problem()
    once = xg.GramTrainer(data.x, data.y, W0, a, 0.1)
    assert once.advance(7) is once
    twice = xg.GramTrainer(data.x, data.y, W0, a, 0.1).advance(3).advance(0).advance(4)
    assert once.t == twice.t == 7
    torch.testing.assert_close(once.C, twice.C, atol=0, rtol=0)


@given(seed=st.integers(0, 99))
@settings(max_examples=10)
def test_training_does_not_depend_on_the_order_of_the_samples(seed):
    data, W0, a = problem(seed=seed)
    order = torch.randperm(14, generator=compute.generator(seed))
    straight = xg.GramTrainer(data.x, data.y, W0, a, 0.5).advance(5)
    shuffled = xg.GramTrainer(data.x[order], data.y[order], W0, a, 0.5).advance(5)
    torch.testing.assert_close(shuffled.weights(), straight.weights(), atol=1e-10, rtol=1e-10)


# --- What to look at --------------------------------------------------------------------------------------------


def test_an_output_of_zero_is_an_error():
    output = torch.tensor([0.0, 1.0, -2.0, 3.0])
    assert xg.accuracy(output, torch.tensor([1.0, 1.0, -1.0, -1.0])) == 0.5
    assert math.isnan(xg.accuracy(output[:0], output[:0]))


def test_the_ratio_compares_each_neuron_with_the_mean_it_votes_for():
    alignment = torch.tensor([[4.0, -1.0], [-2.0, 1.0], [0.5, 6.0]])
    a = torch.tensor([1.0, 1.0, -1.0])
    assert float(xg.own_mean_ratio(alignment, a)) == pytest.approx((4 + 2 + 6) / (1 + 1 + 0.5))
    assert float(xg.own_mean_ratio(alignment, -a)) == pytest.approx((1 + 1 + 0.5) / (4 + 2 + 6))


def test_the_output_on_the_plane_needs_the_alignments_alone():
    data, W0, a = problem()
    trainer = xg.GramTrainer(data.x, data.y, W0, a, 0.5).advance(4)
    coordinates = torch.randn(3, 4, 2, generator=compute.generator(0), dtype=torch.float64)
    seen = xg.plane_output(trainer.alignment(data.mu), a, coordinates)
    torch.testing.assert_close(seen.flatten(), trainer.output((coordinates @ data.mu).flatten(0, 1)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_inputs_decide_dtype_and_device(dtype):
    data, W0, a = problem(dtype=dtype)
    trainer = xg.GramTrainer(data.x, data.y, W0, a, 0.1).advance(2)
    made = (*dataclasses.astuple(data)[:3], data.mu, W0, a, trainer.C, trainer.weights(), trainer.output(data.x))
    assert {z.dtype for z in made} == {dtype}
    assert data.cluster.dtype == torch.int64
    assert xg.linear_direction(data.x.to("meta"), data.y.to("meta")).device.type == "meta"
    assert xg.plane_output(data.mu.mT.to("meta"), data.mu[0].to("meta"), data.mu.mT.to("meta")).device.type == "meta"
    assert data.to(torch.device("meta")).x.device.type == "meta"


# --- The experiment ---------------------------------------------------------------------------------------------


def test_full_scale_takes_two_steps():
    config = dataclasses.replace(xg.FULL, m=20, n_test=8, runs=1, checkpoints=(0, 1, 2))
    result = xg.run(config, device="cpu", progress=False)
    assert result.relu.test.shape == (1, 3)
    assert result.alignment.shape == (1, 3, 20, 2)


def test_a_run_is_measured_on_observed_training_labels_and_on_clean_test_labels():
    result = xg.run(SMALL, device="cpu", progress=False)
    flips = 4 * round(SMALL.noise * SMALL.n / 4)
    for curves in (result.relu, result.linear, result.lazy, result.weak, result.low):
        assert curves.train.shape == curves.flipped.shape == curves.test.shape == (2, 4)
        # The flipped labels that are fitted are among all that are.
        assert bool((curves.train * SMALL.n >= curves.flipped * flips - 1e-9).all())
    assert bool((result.lazy.train[:, 1:] == 1).all())


def test_no_claim_holds_with_a_number_that_is_missing():
    result = xg.run(dataclasses.replace(SMALL, noise=0.0), device="cpu", progress=False)
    assert bool(result.relu.flipped.isnan().all())
    verdicts = {claim.id: claim.holds for claim in xg.claims(result)}
    assert not verdicts["grokking"]
    nothing = xg.Curves(*torch.full((3, 2, 4), math.nan, dtype=torch.float64))
    names = ("relu", "linear", "lazy", "weak", "low")
    blank = dataclasses.replace(
        result,
        **dict.fromkeys(names, nothing),
        correlation=result.correlation * math.nan,
        alignment=result.alignment * math.nan,
    )
    assert not any(claim.holds for claim in xg.claims(blank))


GENERATOR = compute.generator(0)
X, Y, W, A = torch.ones(4, 3), torch.ones(4), torch.ones(2, 3), torch.ones(2)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: xg.xor_clusters(0, 4, 1.0, 0.1, GENERATOR), "n must.*0"),
        (lambda: xg.xor_clusters(4, 1, 1.0, 0.1, GENERATOR), "p must.*1"),
        (lambda: xg.xor_clusters(4, 4, 0.0, 0.1, GENERATOR), "mu_norm.*0.0"),
        (lambda: xg.xor_clusters(4, 4, math.nan, 0.1, GENERATOR), "mu_norm.*nan"),
        (lambda: xg.xor_clusters(4, 4, 1.0, 0.5, GENERATOR), "noise.*0.5"),
        (lambda: xg.xor_clusters(4, 4, 1.0, -0.1, GENERATOR), "noise.*-0.1"),
        (lambda: xg.xor_clusters(4, 4, 1.0, 0.1, GENERATOR, mu=torch.ones(2, 5)), r"dimension 4.*\(2, 5\)"),
        (lambda: xg.init_network(0, 4, 1.0, GENERATOR), "m must.*0"),
        (lambda: xg.init_network(2, 4, 0.0, GENERATOR), "scale.*0.0"),
        (lambda: xg.init_network(2, 4, math.inf, GENERATOR), "scale.*inf"),
        (lambda: xg.init_network(3, 4, 1.0, GENERATOR, symmetric=True), "even.*3"),
        (lambda: xg.GramTrainer(X, Y, W, A, 0.0), "step.*0.0"),
        (lambda: xg.GramTrainer(X, Y, W, A, 0.1, "tanh"), "activation.*tanh"),
        (lambda: xg.GramTrainer(X, 2 * Y, W, A, 0.1), "-1 or 1, got 2"),
        (lambda: xg.GramTrainer(X, 0 * Y, W, A, 0.1), "-1 or 1, got 0"),
        (lambda: xg.GramTrainer(X[0], Y, W, A, 0.1), r"matrix.*\(3,\)"),
        (lambda: xg.GramTrainer(X[:0], Y[:0], W, A, 0.1), r"matrix.*\(0, 3\)"),
        (lambda: xg.GramTrainer(X, Y[:3], W, A, 0.1), r"4 labels.*\(3,\)"),
        (lambda: xg.GramTrainer(X, Y, W[:, :2], A, 0.1), r"dimension 3.*\(2, 2\)"),
        (lambda: xg.GramTrainer(X, Y, W, A[:1], 0.1), r"2 signs.*\(1,\)"),
        (lambda: xg.GramTrainer(X, Y, W, A, 0.1).advance(-1), "steps.*-1"),
        (lambda: xg.GramTrainer(X, Y, W, A, 0.1).prepare(X[:, :2]), r"x_test.*dimension 3.*\(4, 2\)"),
        (lambda: xg.GramTrainer(X, Y, W, A, 0.1).output(X[0]), r"x_test.*\(3,\)"),
        (lambda: xg.GramTrainer(X, Y, W, A, 0.1).output(X[:2], xg.Prepared(X @ W.mT, X @ X.mT)), "2 test points.*4"),
        (lambda: xg.GramTrainer(X, Y, W, A, 0.1).alignment(torch.ones(2, 5)), r"mu.*dimension 3.*\(2, 5\)"),
        (lambda: xg.Config(m=5), "even.*5"),
        (lambda: xg.Config(noise=0.5), "noise.*0.5"),
        (lambda: xg.Config(step=math.inf), "step.*inf"),
        (lambda: xg.Config(checkpoints=(0, 2)), r"begin with 0 and 1, got \(0, 2\)"),
        (lambda: xg.Config(checkpoints=(0, 1, 5, 5)), r"checkpoints.*each above.*\(0, 1, 5, 5\)"),
    ],
)
def test_bad_input_is_refused_with_its_value(call, match):
    with refuses(ValueError, match=match):
        call()
