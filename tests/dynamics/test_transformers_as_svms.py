"""The pieces of attention and its SVMs against autograd, 400-digit arithmetic, other solvers and dual certificates."""

from __future__ import annotations

import dataclasses
import decimal
import math
import sys

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from sklearn.svm import SVC

from overparam.core import compute
from overparam.core.datasets import MissingExtraError
from overparam.dynamics import transformers_as_svms as svm
from tests.conftest import refuses

SMALL = svm.Config(n=3, T=3, d=4, runs=2, steps=40, record_every=15, sweep_dims=(2, 4), sweep_runs=4, sweep_steps=10)


def problem(runs=3, n=4, T=5, d=6, seed=0, dtype=torch.float64):
    X, Z, v, Y = svm.attention_data(runs, n, T, d, generator=compute.generator(seed), dtype=dtype)
    return X, Z, svm.token_scores(X, v, Y)


def constraints(n=4, T=5, d=6, seed=0):
    """The constraints of one dataset for its best tokens."""
    X, Z, scores = problem(1, n, T, d, seed)
    return svm.svm_constraints(X[0], Z[0], scores[0].argmax(-1))


# --- The model and its gradient ---------------------------------------------------------------------------------


def test_tokens_queries_and_heads_have_unit_norm_and_labels_are_fair_signs():
    X, Z, v, Y = svm.attention_data(50, 20, 3, 4, generator=compute.generator(0))
    for part in (X, Z, v):
        torch.testing.assert_close(part.norm(dim=-1), torch.ones(part.shape[:-1], dtype=part.dtype))
    assert Y.unique().tolist() == [-1, 1]
    assert abs(float(Y.mean())) < 0.1
    assert float(X.mean((0, 1, 2)).norm()) < 0.1


def test_attention_and_loss_are_those_of_each_input_alone():
    X, Z, v, Y = svm.attention_data(2, 3, 4, 5, generator=compute.generator(1))
    scores = svm.token_scores(X, v, Y)
    W = torch.randn(7, 2, 5, 5, generator=compute.generator(2), dtype=X.dtype)
    s, loss = svm.attention(W, X, Z), svm.attention_loss(W, X, Z, scores)
    assert s.shape == (7, 2, 3, 4)
    expected = 0.0
    for i in range(3):
        weights = torch.softmax(X[1, i] @ W[4, 1] @ Z[1, i], 0)
        torch.testing.assert_close(s[4, 1, i], weights)
        output = v[1] @ X[1, i].T @ weights
        expected += math.log(1 + math.exp(-float(Y[1, i] * output))) / 3
    assert float(loss[4, 1]) == pytest.approx(expected, rel=1e-12)


@given(n=st.integers(1, 4), T=st.integers(2, 5), d=st.integers(1, 5), scale=st.floats(0, 5), seed=st.integers(0, 99))
@settings(max_examples=25)
def test_the_direction_is_that_of_autograd_while_autograd_has_digits(n, T, d, scale, seed):
    X, Z, scores = problem(2, n, T, d, seed)
    W = scale * torch.randn(2, d, d, generator=compute.generator(seed), dtype=X.dtype)
    leaf = W.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(svm.attention_loss(leaf, X, Z, scores).sum(), leaf)
    assume(gradient.norm(dim=(1, 2)).min() > 1e-6)
    unit = gradient / gradient.norm(dim=(1, 2), keepdim=True)
    torch.testing.assert_close(svm.naive_direction(W, X, Z, scores), unit, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(svm.gradient_direction(W, X, Z, scores), unit, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("scale", [1.0, 30.0, 300.0])
def test_the_direction_is_exact_where_the_gradient_is_far_below_rounding(scale):
    X, Z, scores = problem(1, 2, 3, 2, seed=3)
    W = scale * torch.randn(1, 2, 2, generator=compute.generator(4), dtype=X.dtype)
    expected = direction_in_400_digits(W[0], X[0], Z[0], scores[0])
    np.testing.assert_allclose(svm.gradient_direction(W, X, Z, scores)[0], expected, atol=1e-9)
    if scale == 300:
        assert np.abs(svm.naive_direction(W, X, Z, scores)[0].numpy() - expected).max() > 0.1


def direction_in_400_digits(W, X, Z, scores):
    with decimal.localcontext(decimal.Context(prec=400)):
        exact = np.vectorize(decimal.Decimal, otypes=[object])
        W, X, Z, scores = (exact(part.tolist()) for part in (W, X, Z, scores))
        G = 0
        for x, z, gamma in zip(X, Z, scores, strict=True):
            weights = np.array([h.exp() for h in x @ W @ z])
            s = weights / weights.sum()
            m = s @ gamma
            g = -s * (gamma - m) / (1 + m.exp())
            G = G + np.outer(x.T @ g, z)
        return (G / (G**2).sum().sqrt()).astype(float)


def test_tied_tokens_do_not_hide_the_others_however_hard_the_attention():
    X = torch.tensor([[[[1.0, 0], [1, 0], [0, 1]]]]).double()
    scores = torch.tensor([[[1.0, 1.0, 0.5]]]).double()
    W = torch.tensor([[[2000.0, 0], [0, 0]]]).double()
    G = svm.gradient_direction(W, X, torch.tensor([[[1.0, 0]]]).double(), scores)
    torch.testing.assert_close(G, torch.tensor([[[-1.0, 0], [1, 0]]]).double() / math.sqrt(2))


def test_equal_scores_have_no_direction_and_no_nan():
    X, Z, scores = problem()
    assert not svm.gradient_direction(torch.zeros(3, 6, 6).double(), X, Z, torch.ones_like(scores)).any()


# --- Training ---------------------------------------------------------------------------------------------------


def test_one_step_of_w_is_a_normalized_gradient_step():
    X, Z, scores = problem()
    W = svm.normalized_gd(X, Z, scores, steps=1, lr=0.3, init_scale=0.5, generator=compute.generator(7)).W[0]
    generator = compute.generator(7)
    start = torch.stack([0.5 * torch.randn(6, 6, generator=generator, dtype=X.dtype) for _ in range(3)])
    leaf = start.clone().requires_grad_()
    (G,) = torch.autograd.grad(svm.attention_loss(leaf, X, Z, scores).sum(), leaf)
    torch.testing.assert_close(W, start - 0.3 * G / G.norm(dim=(1, 2), keepdim=True))


def test_one_step_of_the_factors_normalizes_each_and_uses_the_old_of_both():
    X, Z, scores = problem()
    options = {"parameterization": "KQ", "lr": 0.3, "init_scale": 0.5, "head_dim": 2}
    W = svm.normalized_gd(X, Z, scores, steps=1, generator=compute.generator(7), **options).W[0]
    generator = compute.generator(7)
    start = torch.stack([0.5 * torch.randn(2, 6, 2, generator=generator, dtype=X.dtype) for _ in range(3)])
    K, Q = (part.clone().requires_grad_() for part in start.unbind(1))
    gradients = torch.autograd.grad(svm.attention_loss(K @ Q.mT, X, Z, scores).sum(), (K, Q))
    new_K, new_Q = (
        part - 0.3 * G / G.norm(dim=(1, 2), keepdim=True) for part, G in zip((K, Q), gradients, strict=True)
    )
    torch.testing.assert_close(W, (new_K @ new_Q.mT).detach())
    assert svm.numerical_rank(W[0]) == 2


@pytest.mark.parametrize(("parameterization", "scale"), [("W", 0.0), ("W", 0.3), ("KQ", 0.3)])
def test_a_run_in_the_batch_is_the_run_alone(parameterization, scale):
    X, Z, scores = problem()
    options = {"parameterization": parameterization, "steps": 200, "init_scale": scale}
    batch = svm.normalized_gd(X, Z, scores, generator=compute.generator(5), **options).W[-1]
    alone = svm.normalized_gd(X[:1], Z[:1], scores[:1], generator=compute.generator(5), **options).W[-1]
    torch.testing.assert_close(alone[0], batch[0], rtol=1e-9, atol=1e-9)


def test_steps_are_counted_from_one_and_the_last_is_always_recorded():
    X, Z, scores = problem()
    assert svm.normalized_gd(X, Z, scores, steps=25, record_every=10).steps.tolist() == [10, 20, 25]
    last = svm.normalized_gd(X, Z, scores, steps=25)
    assert last.steps.tolist() == [25]
    assert last.W.shape == (1, 3, 6, 6)


def test_with_two_tokens_of_one_input_one_step_is_the_svm_of_both_norms():
    X, Z, scores = problem(1, 1, 2, 5)
    W = svm.normalized_gd(X, Z, scores, steps=1).W[-1, 0]
    best = int(scores[0, 0].argmax())
    expected = torch.outer(X[0, 0, best] - X[0, 0, 1 - best], Z[0, 0])
    C = svm.svm_constraints(X[0], Z[0], [best])
    for limit in (expected, svm.frobenius_svm(C), svm.nuclear_svm(C)):
        assert svm.correlation(W, limit) == pytest.approx(1, abs=1e-9)


def test_training_w_finds_the_svm_and_the_naive_gradient_loses_it_again():
    X, Z, scores = problem(1, 2, 3, 4, seed=6)
    paths = [
        svm.normalized_gd(X, Z, scores, steps=1500, direction=direction).W[-1, 0]
        for direction in (svm.gradient_direction, svm.naive_direction)
    ]
    selected = svm.attention(paths[0][None], X, Z)[0].argmax(-1)
    limit = svm.frobenius_svm(svm.svm_constraints(X[0], Z[0], selected))
    exact, naive = (svm.correlation(W, limit) for W in paths)
    assert exact > 0.999
    assert naive < exact - 0.005


# --- Support vector machines ------------------------------------------------------------------------------------


def test_the_constraints_are_the_leads_of_the_selected_tokens():
    X, Z, _ = problem(1, 3, 4, 5)
    W = torch.randn(5, 5, generator=compute.generator(1), dtype=X.dtype)
    C = svm.svm_constraints(X[0], Z[0], torch.tensor([2, 0, 3]))
    logits = [X[0, i] @ W @ Z[0, i] for i in range(3)]
    leads = [logits[i][a] - logits[i][t] for i, a in enumerate((2, 0, 3)) for t in range(4) if t != a]
    np.testing.assert_allclose((C * W.numpy()).sum((1, 2)), leads, atol=1e-12)


@given(n=st.integers(1, 4), T=st.integers(2, 5), d=st.integers(1, 5), seed=st.integers(0, 999))
@settings(max_examples=40)
def test_a_solution_exists_exactly_where_linear_programming_finds_one(n, T, d, seed):
    C = constraints(n, T, d, seed)
    rows = C.reshape(len(C), -1)
    program = linprog(np.zeros(d * d), A_ub=-rows, b_ub=-np.ones(len(C)), bounds=(None, None))
    W = svm.frobenius_svm(C)
    assert (W is not None) == (program.status == 0)
    if W is not None:
        assert (rows @ W.ravel()).min() == pytest.approx(1, abs=1e-6)
    else:
        assert svm.nuclear_svm(C) is None


@given(n=st.integers(1, 5), T=st.integers(2, 6), seed=st.integers(0, 999))
@settings(max_examples=20)
def test_every_choice_of_tokens_can_be_separated_from_the_threshold_on(n, T, seed):
    generator = compute.generator(seed)
    d = max(T - 1, n)
    X, Z = (torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((n, T, d), (n, d)))
    selected = torch.randint(T, (n,), generator=generator)
    assert svm.frobenius_svm(svm.svm_constraints(X, Z, selected)) is not None


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e6])
def test_the_frobenius_svm_is_scikit_learns_on_the_points_and_their_mirror_images(scale):
    C = constraints()
    rows = C.reshape(len(C), -1)
    machine = SVC(kernel="linear", C=1e6, tol=1e-8).fit(np.vstack([rows, -rows]), np.repeat([1, -1], len(C)))
    W = svm.frobenius_svm(scale * C)
    np.testing.assert_allclose(W.ravel() * scale, machine.coef_[0], atol=1e-4)


def test_the_frobenius_svm_is_a_non_negative_sum_of_the_constraints_that_it_meets_with_equality():
    C = constraints(n=6, T=8, d=10)
    W = svm.frobenius_svm(C)
    leads = (C * W).sum((1, 2))
    active = leads < 1 + 1e-9
    weights = np.linalg.lstsq(C[active].reshape(active.sum(), -1).T, W.ravel(), rcond=None)[0]
    np.testing.assert_allclose(np.tensordot(weights, C[active], 1), W, atol=1e-9)
    assert weights.min() > 0
    assert weights.sum() == pytest.approx((W**2).sum())


@pytest.mark.parametrize("shape", [(4, 5, 6), (3, 4, 2)])
def test_the_nuclear_svm_has_a_dual_certificate(shape):
    import cvxpy as cp

    C = constraints(*shape, seed=2)
    W = svm.nuclear_svm(C)
    assert (C * W).sum((1, 2)).min() > 1 - 1e-6
    weights = cp.Variable(len(C), nonneg=True)
    spread = cp.reshape(C.reshape(len(C), -1).T @ weights, C.shape[1:], order="C")
    cp.Problem(cp.Maximize(cp.sum(weights)), [cp.sigma_max(spread) <= 1]).solve(solver=cp.CLARABEL)
    feasible = weights.value / max(np.linalg.norm(np.tensordot(weights.value, C, 1), 2), 1)
    assert feasible.sum() == pytest.approx(np.linalg.norm(W, "nuc"), rel=1e-5)


def test_the_two_norms_order_their_solutions_and_bound_their_ranks():
    C = constraints(n=3, T=6, d=8, seed=1)
    fro, nuc = svm.frobenius_svm(C), svm.nuclear_svm(C)
    assert np.linalg.norm(fro) < np.linalg.norm(nuc)
    assert np.linalg.norm(nuc, "nuc") < np.linalg.norm(fro, "nuc")
    assert svm.numerical_rank(nuc) <= svm.numerical_rank(fro) <= 3


def test_a_token_that_has_a_double_cannot_be_separated():
    X, Z, _ = problem(1, 2, 3, 8)
    X[0, 1, 2] = X[0, 1, 0]
    C = svm.svm_constraints(X[0], Z[0], [0, 0])
    assert svm.frobenius_svm(C) is None
    assert svm.nuclear_svm(C) is None
    assert svm.frobenius_svm(svm.svm_constraints(X[0], Z[0], [0, 1])) is not None


def test_arrays_and_tensors_are_the_same_to_the_solvers():
    C = constraints()
    for solve in (svm.frobenius_svm, svm.nuclear_svm):
        np.testing.assert_array_equal(solve(C), solve(torch.from_numpy(C)))
    assert svm.correlation(torch.eye(3), np.eye(3)) == pytest.approx(1)


def test_a_missing_solver_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "cvxpy", None)
    with pytest.raises(MissingExtraError, match=r"overparam\[dynamics\]"):
        svm.nuclear_svm(constraints())


def test_correlation_and_rank_of_matrices_that_one_knows():
    A = np.array([[3.0, 0], [0, 4]])
    assert svm.correlation(A, -2 * A) == pytest.approx(-1)
    assert svm.correlation(A, np.eye(2)) == pytest.approx(7 / (5 * math.sqrt(2)))
    assert math.isnan(svm.correlation(A, np.zeros((2, 2))))
    assert svm.numerical_rank(np.diag([1.0, 2e-4, 5e-5])) == 2
    assert svm.numerical_rank(np.diag([1.0, 2e-4, 5e-5]), rtol=1e-5) == 3
    assert svm.numerical_rank(np.zeros((2, 2))) == 0


# --- The experiment ---------------------------------------------------------------------------------------------


def test_a_result_has_the_shapes_and_the_ranges_that_it_promises():
    result = svm.run(SMALL, device="cpu", progress=False)
    assert result.steps.tolist() == [15, 30, 40]
    assert result.corr.shape == (2, 2, 2, 3)
    assert (np.abs(result.corr) <= 1 + 1e-9).all()
    assert ((result.prob >= 1 / 3) & (result.prob <= 1)).all()
    assert (result.sweep_global <= 1).all()


def test_what_cannot_be_separated_is_not_measured_and_proves_nothing():
    config = dataclasses.replace(SMALL, d=1, n=6, T=8, sweep_dims=(1,))
    result = svm.run(config, device="cpu", progress=False)
    assert np.isnan(result.corr).any()
    verdicts = {claim.id: claim for claim in svm.claims(result)}
    assert math.isnan(verdicts["w_is_frobenius_svm"].measured)
    assert not any(
        verdicts[name].holds for name in ("w_is_frobenius_svm", "feasible_when_wide", "width_makes_it_global")
    )


def test_full_scale_takes_two_steps():
    config = dataclasses.replace(svm.FULL, steps=2, runs=3, sweep_steps=2, sweep_runs=2)
    result = svm.run(config, device="cpu", progress=False)
    assert result.corr.shape == (2, 2, 3, 1)
    assert result.sweep_feasible[-1] == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_inputs_decide_dtype_and_device(dtype):
    X, Z, scores = problem(dtype=dtype)
    for parameterization in ("W", "KQ"):
        path = svm.normalized_gd(X, Z, scores, parameterization=parameterization, steps=2, init_scale=0.1)
        assert path.W.dtype == dtype
    away = [part.to("meta") for part in (path.W[-1], X, Z, scores)]
    for function in (svm.attention_loss, svm.gradient_direction, svm.naive_direction):
        assert function(*away).device.type == "meta"
        assert function(path.W[-1], X, Z, scores).dtype == dtype


X, Z, SCORES = problem(2, 3, 4, 5)
ONE = X[0].numpy(), Z[0].numpy()


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: svm.attention_data(0, 2, 3, 4), "runs.*0"),
        (lambda: svm.attention_data(1, 0, 3, 4), "n must.*0"),
        (lambda: svm.attention_data(1, 2, 1, 4), "T must.*1"),
        (lambda: svm.attention_data(1, 2, 3, -1), "d must.*-1"),
        (lambda: svm.attention(torch.zeros(2, 5, 4).double(), X, Z), r"5 x 5.*\(2, 5, 4\)"),
        (lambda: svm.attention_loss(torch.zeros(5).double(), X, Z, SCORES), r"5 x 5.*\(5,\)"),
        (lambda: svm.gradient_direction(torch.zeros(2, 4, 4).double(), X, Z, SCORES), r"5 x 5.*\(2, 4, 4\)"),
        (lambda: svm.naive_direction(torch.zeros(2, 4, 4).double(), X, Z, SCORES), r"5 x 5.*\(2, 4, 4\)"),
        (lambda: svm.normalized_gd(X, Z, SCORES, steps=2, parameterization="QK"), "W, KQ, got 'QK'"),
        (lambda: svm.normalized_gd(X, Z, SCORES, steps=2, lr=0.0), "lr.*0.0"),
        (lambda: svm.normalized_gd(X, Z, SCORES, steps=2, lr=math.nan), "lr.*nan"),
        (lambda: svm.normalized_gd(X, Z, SCORES, steps=0), "steps.*0"),
        (lambda: svm.normalized_gd(X, Z, SCORES, steps=2, record_every=0), "record_every.*0"),
        (lambda: svm.normalized_gd(X, Z, SCORES, steps=2, parameterization="KQ"), "init_scale.*0.0"),
        (lambda: svm.normalized_gd(X, Z, SCORES, steps=2, parameterization="KQ", init_scale=-0.3), "init_scale.*-0.3"),
        (
            lambda: svm.normalized_gd(X, Z, SCORES, steps=2, parameterization="KQ", init_scale=1.0, head_dim=0),
            "head_dim.*0",
        ),
        (lambda: svm.normalized_gd(X[0], Z, SCORES, steps=2), r"\(3, 4, 5\)"),
        (lambda: svm.normalized_gd(X[:, :, :1], Z, SCORES[..., :1], steps=2), r"\(2, 3, 1, 5\)"),
        (lambda: svm.normalized_gd(X, Z[:1], SCORES, steps=2), r"\(1, 3, 5\)"),
        (lambda: svm.normalized_gd(X, Z, SCORES[..., :2], steps=2), r"\(2, 3, 2\)"),
        (lambda: svm.svm_constraints(*ONE, [0, 1]), r"selected.*\(2,\)"),
        (lambda: svm.svm_constraints(*ONE, [0, 1, 4]), "0..3, got 4"),
        (lambda: svm.svm_constraints(*ONE, [0, -1, 2]), "0..3, got -1"),
        (lambda: svm.svm_constraints(*ONE, [0.0, 1.0, 2.0]), "float64"),
        (lambda: svm.svm_constraints(ONE[0], ONE[1][:2], [0, 1, 2]), r"\(2, 5\)"),
        (lambda: svm.frobenius_svm(np.eye(3)), r"\(3, 3\)"),
        (lambda: svm.nuclear_svm(np.eye(3)), r"\(3, 3\)"),
        (lambda: svm.frobenius_svm(np.zeros((0, 2, 2))), r"\(0, 2, 2\)"),
        (lambda: svm.frobenius_svm(np.full((1, 2, 2), math.inf)), "finite, got inf"),
        (lambda: svm.correlation(np.eye(2), np.eye(3)), r"\(2, 2\) and \(3, 3\)"),
        (lambda: svm.Config(T=1), "T must.*1"),
        (lambda: svm.Config(n=0), "n must.*0"),
        (lambda: svm.Config(steps=0), "steps.*0"),
        (lambda: svm.Config(init_scale=0.0), "init_scale.*0.0"),
        (lambda: svm.Config(lr=-0.1), "lr.*-0.1"),
        (lambda: svm.Config(sweep_dims=()), r"sweep_dims.*\(\)"),
        (lambda: svm.Config(sweep_dims=(4, 0)), "sweep_dims.*0"),
    ],
)
def test_bad_input_is_refused_with_its_value(call, match):
    with refuses(ValueError, match=match):
        call()
