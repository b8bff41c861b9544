"""The pieces of robust matrix recovery against autograd, quadrature, convex optimization and random search."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from overparam.core import compute
from overparam.dynamics import robust_matrix_recovery as rmr
from tests.conftest import refuses

SMALL = rmr.Config(
    d=8,
    measurements=60,
    ranks=(2, 4, 8),
    alphas=(1e-1, 1e-3, 1e-4, 1e-5),
    steps=60,
    sample_sizes=(40, 90),
    sign_rip_samples=500,
)


def problem(d=6, m=40, k=3, p=0.2, scale=10.0, seed=0, dtype=torch.float64):
    generator = compute.generator(seed)
    X = rmr.low_rank_psd(d, (1.0, 0.5), generator=generator, dtype=dtype)
    A = rmr.gaussian_measurements(d, m, generator=generator, dtype=dtype)
    y = (A * X).sum((1, 2)) + rmr.outliers(m, p, scale, generator=generator, dtype=dtype)
    return X, A, y, torch.randn(d, k, generator=generator, dtype=dtype)


# --- Problem ----------------------------------------------------------------------------------------------------


def test_the_measurements_have_unit_variance():
    A = rmr.gaussian_measurements(5, 20_000, generator=compute.generator(0))
    assert float(A.var()) == pytest.approx(1, abs=0.01)


def test_outliers_hit_their_fraction_with_their_scale():
    s = rmr.outliers(100_000, 0.3, 7.0, generator=compute.generator(0))
    hit = s[s != 0]
    assert len(hit) / len(s) == pytest.approx(0.3, abs=0.01)
    assert stats.kstest((hit / 7).numpy(), "norm").pvalue > 1e-3
    assert not rmr.outliers(50, 0.0, 7.0).any()
    assert rmr.outliers(50, 1.0, 7.0).all()


def test_the_truth_is_positive_semi_definite_with_the_eigenvalues_asked_for():
    X = rmr.low_rank_psd(6, (2.0, 0.5), generator=compute.generator(0))
    expected = torch.tensor([0, 0, 0, 0, 0.5, 2.0], dtype=X.dtype)
    torch.testing.assert_close(torch.linalg.eigvalsh(X), expected, atol=1e-12, rtol=0)


# --- Sub-gradient -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["l1", "l2"])
def test_the_sub_gradient_is_the_gradient_of_the_explicit_loss(loss):
    _, A, y, U = problem()
    leaf = U.clone().requires_grad_()
    r = torch.stack([(a * (leaf @ leaf.mT)).sum() for a in A]) - y
    value = r.abs().mean() if loss == "l1" else r.square().mean() / 2
    (gradient,) = torch.autograd.grad(value, leaf)
    torch.testing.assert_close(rmr.subgradient(U, A, y, loss), gradient, atol=1e-12, rtol=1e-12)


def test_the_loss_and_q_are_means_over_the_measurements():
    _, A, y, U = problem()
    r = [float((a * (U @ U.mT)).sum() - yi) for a, yi in zip(A, y, strict=True)]
    assert float(rmr.l1_loss(U, A, y)) == pytest.approx(np.mean(np.abs(r)))
    Q = sum(math.copysign(1, ri) * a for ri, a in zip(r, A, strict=True)) / len(A)
    torch.testing.assert_close(rmr.measurement_subgradient(U, A, y), Q)


def test_the_sign_of_zero_is_zero():
    A, U = torch.ones(2, 1, 1).double(), torch.ones(1, 1).double()
    y = torch.tensor([1.0, 0.0]).double()  # the first measurement is met exactly
    assert float(rmr.measurement_subgradient(U, A, y)) == 0.5


@pytest.mark.parametrize("batch", [(), (4,), (2, 3)])
def test_any_number_of_batch_dimensions_goes_through(batch):
    _, A, y, _ = problem()
    U = torch.randn(*batch, 6, 2, generator=compute.generator(1), dtype=torch.float64)
    flat = U.reshape(-1, 6, 2)
    expected = torch.stack([rmr.subgradient(u, A, y) for u in flat]).view_as(U)
    torch.testing.assert_close(rmr.subgradient(U, A, y), expected)
    assert rmr.l1_loss(U, A, y).shape == batch
    assert rmr.measurement_subgradient(U, A, y).shape == (*batch, 6, 6)


# --- Start ------------------------------------------------------------------------------------------------------


@given(k=st.integers(1, 6), alpha=st.floats(1e-6, 2), seed=st.integers(0, 99))
@settings(max_examples=30)
def test_the_start_has_the_scale_asked_for_at_every_k(k, alpha, seed):
    _, A, y, _ = problem(seed=seed)
    U = rmr.spectral_init(A, y, k, alpha)
    assert U.shape == (6, k)
    assert float(torch.linalg.matrix_norm(U @ U.mT)) == pytest.approx(alpha**2)


def test_the_start_is_the_best_psd_approximation_of_the_sub_gradient_at_zero():
    _, A, y, _ = problem()
    C = -rmr.measurement_subgradient(torch.zeros(6, 1).double(), A, y)
    values, vectors = np.linalg.eigh((C + C.mT).numpy() / 2)
    best = sum(max(v, 0) * np.outer(w, w) for v, w in zip(values[-2:], vectors.T[-2:], strict=True))
    U = rmr.spectral_init(A, y, 2, 0.3)
    np.testing.assert_allclose(U @ U.mT, 0.09 * best / np.linalg.norm(best), atol=1e-12)


def test_eigenvalues_below_zero_give_columns_of_zeros():
    A = torch.diag_embed(torch.tensor([[1.0, -2.0, 0.5]]).double())
    U = rmr.spectral_init(A, torch.ones(1).double(), 3, 1.0)
    assert int((U.norm(dim=0) > 0).sum()) == 2


# --- Method -----------------------------------------------------------------------------------------------------


def test_the_method_takes_geometric_steps_along_the_sub_gradient():
    X, A, y, U = problem()
    path = rmr.sub_gradient_method(U, A, y, eta=0.05, rho=0.8, steps=3, X_true=X, record_every=1)
    for t in range(3):
        assert float(path.loss[0, t]) == pytest.approx(float(rmr.l1_loss(U, A, y)))
        assert float(path.error[0, t]) == pytest.approx(float((U @ U.mT - X).norm() / X.norm()))
        U = U - 0.05 * 0.8**t * rmr.subgradient(U, A, y)
    torch.testing.assert_close(path.U[0], U)
    assert float(path.loss[0, -1]) == pytest.approx(float(rmr.l1_loss(U, A, y)))


def test_the_squared_loss_is_gradient_descent_on_half_the_mean_square():
    _, A, y, U = problem()
    leaf = U.clone().requires_grad_()
    optimizer = torch.optim.SGD([leaf], lr=0.01)
    for _ in range(5):
        optimizer.zero_grad()
        (((A * (leaf @ leaf.mT)).sum((1, 2)) - y).square().mean() / 2).backward()
        optimizer.step()
    path = rmr.sub_gradient_method(U, A, y, eta=0.01, steps=5, loss="l2")
    torch.testing.assert_close(path.U[0], leaf.detach())


def test_steps_are_recorded_from_zero_to_the_last():
    X, A, y, U = problem()
    path = rmr.sub_gradient_method(U, A, y, eta=0.1, steps=25, X_true=X)
    assert path.steps.tolist() == [0, 10, 20, 25]
    assert path.loss.shape == path.error.shape == (1, 4)
    assert rmr.sub_gradient_method(U, A, y, eta=0.1, steps=25).error.shape == (1, 0)


def test_a_padded_batch_is_its_runs_one_by_one_and_zero_columns_stay_zero():
    X, A, y, _ = problem()
    narrow, wide = rmr.spectral_init(A, y, 1, 1e-2), rmr.spectral_init(A, y, 6, 1e-2)
    padded = torch.stack([torch.nn.functional.pad(narrow, (0, 5)), wide])
    batch = rmr.sub_gradient_method(padded, A, y, eta=0.1, rho=0.99, steps=50, X_true=X)
    assert not batch.U[0, :, 1:].any()
    for i, U0 in enumerate((narrow, wide)):
        alone = rmr.sub_gradient_method(U0, A, y, eta=0.1, rho=0.99, steps=50, X_true=X)
        torch.testing.assert_close(batch.error[i], alone.error[0], rtol=1e-9, atol=1e-12)


@given(seed=st.integers(0, 99))
@settings(max_examples=10)
def test_the_path_does_not_see_a_rotation_of_the_factor(seed):
    X, A, y, U = problem(seed=seed)
    R = torch.linalg.qr(torch.randn(3, 3, generator=compute.generator(seed), dtype=U.dtype))[0]
    runs = rmr.sub_gradient_method(torch.stack([U, U @ R]), A, y, eta=0.01, steps=20, X_true=X)
    torch.testing.assert_close(runs.error[0], runs.error[1], rtol=1e-8, atol=1e-10)


def test_a_full_square_factor_recovers_among_huge_outliers():
    generator = compute.generator(0)
    X = rmr.low_rank_psd(8, (1.0,), generator=generator)
    A = rmr.gaussian_measurements(8, 200, generator=generator)
    y = (A * X).sum((1, 2)) + rmr.outliers(200, 0.2, 1e6, generator=generator)
    U0 = rmr.spectral_init(A, y, 8, 1e-5)
    path = rmr.sub_gradient_method(U0, A, y, eta=0.1, rho=0.99, steps=1200, X_true=X)
    assert float(path.error[0, -1]) < 1e-4
    outliers_only = float(((A * X).sum((1, 2)) - y).abs().mean())
    assert float(path.loss[0, -1]) == pytest.approx(outliers_only, rel=1e-4)  # never judge by the training loss


def test_the_convex_l1_regression_agrees_where_the_rank_is_no_secret():
    """Over all positive semi-definite matrices the l1 problem is convex; cvxpy solves it from anywhere."""
    cvxpy = pytest.importorskip("cvxpy")
    generator = compute.generator(0)
    X = rmr.low_rank_psd(6, (1.0,), generator=generator)
    A = rmr.gaussian_measurements(6, 150, generator=generator)
    y = (A * X).sum((1, 2)) + rmr.outliers(150, 0.1, 10.0, generator=generator)
    V = cvxpy.Variable((6, 6), PSD=True)
    cvxpy.Problem(cvxpy.Minimize(cvxpy.norm1(A.flatten(1).numpy() @ cvxpy.vec(V, order="C") - y.numpy()))).solve(
        solver="CLARABEL"
    )
    path = rmr.sub_gradient_method(rmr.spectral_init(A, y, 6, 1e-6), A, y, eta=0.1, rho=0.995, steps=2000)
    np.testing.assert_allclose(path.U[0] @ path.U[0].mT, V.value, atol=1e-4)


# --- Sign-RIP ---------------------------------------------------------------------------------------------------


@given(norm=st.floats(0.1, 10), p=st.floats(0, 1), sigma=st.floats(0.1, 10))
@settings(max_examples=30)
def test_the_closed_form_of_phi_agrees_with_quadrature(norm, p, sigma):
    def integrand(s):
        return math.exp(-(s**2) / (2 * norm**2)) * stats.norm.pdf(s, scale=sigma)

    expectation = 2 * integrate.quad(integrand, 0, 12 * sigma, points=[min(norm, 12 * sigma)])[0]
    exact = math.sqrt(2 / math.pi) * (1 - p + p * expectation)
    assert rmr.sign_rip_scale(norm, p, sigma) == pytest.approx(exact, rel=1e-6)


def test_without_noise_phi_is_the_mean_of_an_absolute_gaussian():
    assert rmr.sign_rip_scale(3.0, 0.7, 0.0) == pytest.approx(math.sqrt(2 / math.pi))


def test_the_sub_gradient_concentrates_on_the_normalized_error():
    X, _, _, U = problem()
    generator = compute.generator(1)
    A = rmr.gaussian_measurements(6, 100_000, generator=generator)
    y = (A * X).sum((1, 2)) + rmr.outliers(100_000, 0.5, 2.0, generator=generator)
    E = U @ U.mT - X
    phi = rmr.sign_rip_scale(float(E.norm()), 0.5, 2.0)
    Q = rmr.measurement_subgradient(U, A, y)
    torch.testing.assert_close(Q / phi, E / E.norm(), atol=0.02, rtol=0)
    assert rmr.sign_rip_deviation(Q, E, phi, 6) < 0.05


@pytest.mark.parametrize("rank", [1, 2, 5])
def test_no_direction_of_the_rank_deviates_more_than_the_worst(rank):
    generator = compute.generator(rank)
    Q, X = torch.randn(2, 5, 5, generator=generator, dtype=torch.float64)
    worst = rmr.sign_rip_deviation(Q, X, 0.7, rank)
    D = Q / 0.7 - X / X.norm()
    Y = torch.randn(2000, 5, rank, generator=generator, dtype=Q.dtype)
    Y = Y @ torch.randn(2000, rank, 5, generator=generator, dtype=Q.dtype)
    Y = Y / torch.linalg.matrix_norm(Y)[:, None, None]
    assert float((D * Y).sum((1, 2)).max()) <= worst
    left, values, right = torch.linalg.svd(D)
    best = left[:, :rank] * values[:rank] @ right[:rank]
    assert float((D * best).sum() / best.norm()) == pytest.approx(worst)  # and it is attained


# --- Devices, scale, refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_inputs_decide_dtype_and_device(dtype):
    X, A, y, U = problem(dtype=dtype)
    path = rmr.sub_gradient_method(U, A, y, eta=0.01, steps=2, X_true=X)
    assert {path.loss.dtype, path.error.dtype, path.U.dtype, rmr.spectral_init(A, y, 2, 0.1).dtype} == {dtype}
    assert rmr.gaussian_measurements(2, 3, dtype=dtype).dtype == rmr.outliers(3, 0.5, 1.0, dtype=dtype).dtype == dtype


def test_full_scale_takes_two_steps():
    config = dataclasses.replace(rmr.FULL, measurements=300, sample_sizes=(200,), steps=2, sign_rip_samples=200)
    result = rmr.run(config, device="cpu", progress=False)
    assert result.error.shape == (3, 6, 2)
    assert len(rmr.claims(result)) == 8


def test_more_measurements_in_the_sweep_than_in_the_grid_are_drawn():
    result = rmr.run(dataclasses.replace(SMALL, steps=1), device="cpu", progress=False)
    assert result.sample_error.shape == (2, 3)


def test_one_over_estimated_rank_has_nothing_to_agree_with():
    config = dataclasses.replace(SMALL, ranks=(1, 2, 8), steps=1)
    claims = {claim.id: claim for claim in rmr.claims(rmr.run(config, device="cpu", progress=False))}
    for name in ("rank_agnostic", "samples_free_of_rank"):
        assert math.isnan(claims[name].measured)
        assert not claims[name].holds


def test_two_small_scales_are_too_few_for_an_exponent():
    config = dataclasses.replace(SMALL, alphas=(1e-1, 1e-3, 1e-4), steps=1)
    slope = next(c for c in rmr.claims(rmr.run(config, device="cpu", progress=False)) if c.id == "small_init_power")
    assert math.isnan(slope.measured)
    assert not slope.holds


A3, Y3, U3 = torch.ones(3, 2, 2).double(), torch.ones(3).double(), torch.ones(2, 1).double()


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: rmr.sub_gradient_method(U3, A3, Y3, eta=-0.5, steps=2), "eta.*-0.5"),
        (lambda: rmr.sub_gradient_method(U3, A3, Y3, eta=math.inf, steps=2), "eta.*inf"),
        (lambda: rmr.sub_gradient_method(U3, A3, Y3, eta=0.1, rho=0.0, steps=2), "rho.*0.0"),
        (lambda: rmr.sub_gradient_method(U3, A3, Y3, eta=0.1, rho=1.5, steps=2), "rho.*1.5"),
        (lambda: rmr.sub_gradient_method(U3, A3, Y3, eta=0.1, rho=math.nan, steps=2), "rho.*nan"),
        (lambda: rmr.sub_gradient_method(U3, A3, Y3, eta=0.1, steps=0), "steps.*0"),
        (lambda: rmr.sub_gradient_method(U3, A3, Y3, eta=0.1, steps=1, record_every=0), "record_every.*0"),
        (lambda: rmr.sub_gradient_method(U3, A3, Y3, eta=0.1, steps=1, loss="huber"), "huber"),
        (lambda: rmr.sub_gradient_method(U3, A3, Y3, eta=0.1, steps=1, X_true=torch.ones(3, 3).double()), r"\(3, 3\)"),
        (lambda: rmr.sub_gradient_method(U3[0], A3, Y3, eta=0.1, steps=1), r"2 rows.*\(1,\)"),
        (lambda: rmr.measurement_subgradient(U3, A3, Y3, "l3"), "l3"),
        (lambda: rmr.subgradient(torch.ones(3, 1).double(), A3, Y3), r"2 rows.*\(3, 1\)"),
        (lambda: rmr.l1_loss(U3, A3, Y3[:2]), r"3 measurements.*\(2,\)"),
        (lambda: rmr.l1_loss(U3, A3[0], Y3), r"\(2, 2\)"),
        (lambda: rmr.l1_loss(U3, A3, torch.tensor([0.0, math.nan, 1.0]).double()), "finite, got nan"),
        (lambda: rmr.spectral_init(A3, Y3 * math.inf, 1, 1.0), "finite, got inf"),
        (lambda: rmr.spectral_init(A3, Y3, 0, 1.0), "k must.*0"),
        (lambda: rmr.spectral_init(A3, Y3, 3, 1.0), r"1..2.*got 3"),
        (lambda: rmr.spectral_init(A3, Y3, 1, 0.0), "alpha.*0.0"),
        (lambda: rmr.spectral_init(A3, Y3, 1, math.nan), "alpha.*nan"),
        (lambda: rmr.spectral_init(torch.eye(2).double()[None], -Y3[:1], 1, 1.0), "eigenvalue -1"),
        (lambda: rmr.outliers(3, 1.5, 1.0), "p must.*1.5"),
        (lambda: rmr.outliers(3, 0.5, -1.0), "scale.*-1.0"),
        (lambda: rmr.outliers(0, 0.5, 1.0), "m must.*0"),
        (lambda: rmr.gaussian_measurements(0, 3), "d must.*0"),
        (lambda: rmr.low_rank_psd(2, (1.0, 1.0, 1.0)), "1..2.*got 3"),
        (lambda: rmr.low_rank_psd(2, (0.0,)), "singular_value.*0.0"),
        (lambda: rmr.sign_rip_scale(0.0, 0.5, 1.0), "norm.*0.0"),
        (lambda: rmr.sign_rip_scale(1.0, -0.5, 1.0), "p must.*-0.5"),
        (lambda: rmr.sign_rip_scale(1.0, 0.5, -2.0), "sigma.*-2.0"),
        (lambda: rmr.sign_rip_deviation(A3[0], A3[0], 0.5, 3), "1..2.*3"),
        (lambda: rmr.sign_rip_deviation(A3[0], A3[0], 0.5, 0), "rank.*0"),
        (lambda: rmr.sign_rip_deviation(A3[0], A3[0], 0.0, 1), "phi.*0.0"),
        (lambda: rmr.sign_rip_deviation(A3[0], 0 * A3[0], 0.5, 1), "norm_of_X.*0.0"),
        (lambda: rmr.sign_rip_deviation(A3[0], U3, 0.5, 1), r"\(2, 2\) and \(2, 1\)"),
        (lambda: rmr.Config(ranks=(2, 21, 25)), "at most 20.*25"),
        (lambda: rmr.Config(ranks=(5, 2)), r"ranks.*each above.*\(5, 2\)"),
        (lambda: rmr.Config(ranks=(0, 5)), "ranks must.*0"),
        (lambda: rmr.Config(ranks=()), r"ranks.*\(\)"),
        (lambda: rmr.Config(alphas=(1e-3, 1e-2)), "0.001, 0.01"),
        (lambda: rmr.Config(alphas=(1e-2, -1e-3)), "-0.001"),
        (lambda: rmr.Config(singular_values=()), "1..20.*got 0"),
        (lambda: rmr.Config(singular_values=(1.0, -1.0)), "-1.0"),
        (lambda: rmr.Config(sample_sizes=()), r"sample_sizes.*\(\)"),
        (lambda: rmr.Config(sample_sizes=(0,)), "sample_size must.*0"),
        (lambda: rmr.Config(rho=2.0), "rho.*2.0"),
    ],
)
def test_bad_input_is_refused_with_its_value(call, match):
    with refuses(ValueError, match=match):
        call()
