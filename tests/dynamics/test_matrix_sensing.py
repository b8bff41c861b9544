"""The pieces of matrix sensing against autograd, scalar recursions and linear algebra."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from overparam.core import compute
from overparam.dynamics import matrix_sensing as ms
from tests.conftest import refuses

SMALL = ms.Config(n=8, k=4, measurements=300, steps=60, rebalance_at=20)


def problem(n1=6, n2=5, k=3, m=40, seed=0, dtype=torch.float64):
    generator = compute.generator(seed)
    A = ms.gaussian_measurements(n1, n2, m, generator=generator, dtype=dtype)
    M = ms.ground_truth(n1, n2, (1.0, 0.5), generator=generator, dtype=dtype)
    F = ms.init_factor(n1, k, 0.5, generator=generator, dtype=dtype)
    G = ms.init_factor(n2, k, 0.3, generator=generator, dtype=dtype)
    return A, M, F, G


def test_the_normal_operator_applies_the_measurements_and_then_their_adjoint():
    A, _, F, G = problem()
    E = F @ G.mT
    expected = sum((a * E).sum() * a for a in A)
    torch.testing.assert_close((ms.normal_operator(A) @ E.flatten()).view_as(E), expected)


def test_the_normal_operator_is_the_identity_on_average():
    H = ms.normal_operator(ms.gaussian_measurements(3, 4, 200_000, generator=compute.generator(0)))
    torch.testing.assert_close(H, torch.eye(12, dtype=H.dtype), atol=0.02, rtol=0)


def test_a_symmetric_step_is_a_gradient_step_of_the_explicit_training_loss():
    A, _, F, _ = problem(n1=6, n2=6)
    M = ms.ground_truth(6, 6, (1.0, 0.5), psd=True, generator=compute.generator(1))
    X = F.clone().requires_grad_()
    residual = ((A * (X @ X.mT)).sum((1, 2)) - (A * M).sum((1, 2))).square().sum() / 4
    (gradient,) = torch.autograd.grad(residual, X)
    path = ms.gd_symmetric(F, M, lr=0.1, steps=1, H=ms.normal_operator(A))
    torch.testing.assert_close(path.factors[0][0], F - 0.1 * gradient, atol=1e-12, rtol=1e-12)


def test_an_asymmetric_step_is_a_gradient_step_in_both_factors_at_once():
    A, M, F, G = problem()
    leaves = F.clone().requires_grad_(), G.clone().requires_grad_()
    residual = ((A * (leaves[0] @ leaves[1].mT)).sum((1, 2)) - (A * M).sum((1, 2))).square().sum() / 2
    gradients = torch.autograd.grad(residual, leaves)
    path = ms.gd_asymmetric(F, G, M, lr=0.1, steps=1, H=ms.normal_operator(A))
    for new, old, gradient in zip(path.factors, (F, G), gradients, strict=True):
        torch.testing.assert_close(new[0], old - 0.1 * gradient, atol=1e-12, rtol=1e-12)


def test_a_diagonal_start_follows_the_scalar_recursion():
    x, target, lr, steps = np.array([0.9, 0.3, 0.1]), np.array([1.0, 0.0, 0.0]), 0.2, 50
    path = ms.gd_symmetric(torch.diag(torch.tensor(x)), torch.diag(torch.tensor(target)), lr=lr, steps=steps)
    losses = []
    for _ in range(steps + 1):
        losses.append(0.5 * np.sum((x**2 - target) ** 2))
        x = x - lr * (x**2 - target) * x
    np.testing.assert_allclose(path.loss[0], losses, rtol=1e-12)


def test_a_balanced_asymmetric_run_is_the_symmetric_run():
    generator = compute.generator(3)
    M = ms.ground_truth(7, 7, (1.0, 0.8), psd=True, generator=generator)
    X = ms.init_factor(7, 4, 0.5, generator=generator)
    symmetric = ms.gd_symmetric(X, M, lr=0.25, steps=300)
    balanced = ms.gd_asymmetric(X, X, M, lr=0.25, steps=300)
    torch.testing.assert_close(balanced.loss, symmetric.loss, rtol=1e-12, atol=0)


def test_a_batch_is_its_runs_one_by_one():
    A, M, F, G = problem()
    H = ms.normal_operator(A)
    batch = ms.gd_asymmetric(torch.stack([F, 2 * F]), torch.stack([G, 2 * G]), M, lr=0.1, steps=20, H=H)
    for i, scale in enumerate((1, 2)):
        alone = ms.gd_asymmetric(scale * F, scale * G, M, lr=0.1, steps=20, H=H)
        torch.testing.assert_close(batch.loss[i], alone.loss[0])


@given(
    n1=st.integers(3, 7), n2=st.integers(1, 7), k=st.integers(1, 3), beta=st.floats(0.1, 10), seed=st.integers(0, 99)
)
@settings(max_examples=30, deadline=None)
def test_rebalancing_keeps_the_product_and_makes_f_orthonormal(n1, n2, k, beta, seed):
    generator = compute.generator(seed)
    F, G = (torch.randn(2, n, k, generator=generator, dtype=torch.float64) for n in (n1, n2))
    P, R = ms.rebalance(F, G, beta)
    torch.testing.assert_close(P @ R.mT, F @ G.mT, atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(
        P.mT @ P, (beta**2 * torch.eye(k, dtype=P.dtype)).expand(2, k, k), atol=1e-10, rtol=1e-10
    )


@given(seed=st.integers(0, 99))
@settings(max_examples=10, deadline=None)
def test_the_imbalance_drifts_by_the_order_of_the_step(seed):
    _, M, F, G = problem(seed=seed)

    def drift(lr):
        path = ms.gd_asymmetric(F, G, M, lr=lr, steps=round(5 / lr))
        return float((ms.imbalance(*path.factors)[0] - ms.imbalance(F, G)).norm())

    assert drift(0.005) < 0.6 * drift(0.01)


def test_steps_are_recorded_from_zero_to_the_last_and_before_the_update():
    _, M, F, G = problem()
    path = ms.gd_asymmetric(F, G, M, lr=0.1, steps=25, record_every=10)
    assert path.steps.tolist() == [0, 10, 20, 25]
    assert float(path.loss[0, 0]) == pytest.approx(float((F @ G.mT - M).square().sum() / 2))
    assert float(path.loss[0, -1]) == pytest.approx(
        float((path.factors[0] @ path.factors[1].mT - M).square().sum() / 2)
    )


def test_the_modified_step_comes_before_the_record_of_its_step():
    _, M, F, G = problem()
    plain = ms.gd_asymmetric(F, G, M, lr=0.1, steps=3)
    modified = ms.gd_asymmetric(F, G, M, lr=0.1, steps=3, rebalance_at=2)
    torch.testing.assert_close(modified.loss[:, :3], plain.loss[:, :3])  # the product is unchanged at step 2 ...
    assert not torch.isclose(modified.loss[0, 3], plain.loss[0, 3])  # ... and another step follows from it


def test_rates_and_slopes_of_exact_laws():
    steps = torch.arange(1, 200)
    assert ms.linear_rate(steps, torch.exp(-0.3 * steps.double()), 1e-3, 1e-20) == pytest.approx(0.3)
    assert ms.power_slope(steps, 5 * steps.double() ** -2, 10) == pytest.approx(-2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_inputs_decide_dtype_and_device(dtype):
    A, M, F, G = problem(dtype=dtype)
    assert ms.gd_asymmetric(F, G, M, lr=0.1, steps=2, H=ms.normal_operator(A)).loss.dtype == dtype
    path = ms.gd_asymmetric(F, G, M, lr=0.1, steps=2, rebalance_at=1)
    assert {Z.dtype for Z in path.factors} == {dtype}
    assert ms.normal_operator(A.to("meta")).device.type == "meta"
    assert ms.rebalance(F.to("meta"), G.to("meta"))[0].device.type == "meta"


def test_full_scale_takes_two_steps():
    config = dataclasses.replace(ms.FULL, measurements=400, steps=2, rebalance_at=1)
    result = ms.run(config, device="cpu", progress=False)
    assert result.asymmetric_over.shape == (4, 2)
    assert all(claim.holds is False for claim in ms.claims(result) if math.isnan(claim.measured))


@pytest.mark.parametrize("psd", [True, False])
def test_the_ground_truth_has_the_singular_values_asked_for(psd):
    M = ms.ground_truth(6, 6, (2.0, 0.5), psd=psd, generator=compute.generator(0))
    expected = torch.tensor([2.0, 0.5, 0, 0, 0, 0], dtype=M.dtype)
    torch.testing.assert_close(torch.linalg.svdvals(M), expected, atol=1e-12, rtol=0)
    assert torch.allclose(M, M.mT) is psd


X = torch.ones(4, 2, dtype=torch.float64)
M4 = torch.eye(4, dtype=torch.float64)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: ms.gd_symmetric(X, M4, lr=-0.5, steps=2), "lr.*-0.5"),
        (lambda: ms.gd_symmetric(X, M4, lr=math.inf, steps=2), "lr.*inf"),
        (lambda: ms.gd_symmetric(X, M4, lr=0.1, steps=0), "steps.*0"),
        (lambda: ms.gd_symmetric(X, M4, lr=0.1, steps=2, record_every=0), "record_every.*0"),
        (lambda: ms.gd_symmetric(X, torch.eye(3).double(), lr=0.1, steps=2), r"4 x 4.*\(3, 3\)"),
        (lambda: ms.gd_symmetric(X, M4, lr=0.1, steps=2, H=torch.eye(4).double()), r"16 x 16.*\(4, 4\)"),
        (lambda: ms.gd_symmetric(X, M4 * math.nan, lr=0.1, steps=2), "finite, got nan"),
        (lambda: ms.gd_asymmetric(X, X[:, :1], M4, lr=0.1, steps=2), r"\(4, 2\) and \(4, 1\)"),
        (lambda: ms.gd_asymmetric(X, X, M4, lr=0.1, steps=2, rebalance_at=3), "0..2, got 3"),
        (lambda: ms.gd_asymmetric(X, X, M4, lr=0.1, steps=2, beta=0.0), "beta.*0.0"),
        (lambda: ms.rebalance(X.mT, X.mT), r"\(2, 4\)"),
        (lambda: ms.rebalance(X, X, beta=-1.0), "beta.*-1.0"),
        (lambda: ms.normal_operator(X), r"\(4, 2\)"),
        (lambda: ms.init_factor(4, 2, 0.0), "alpha.*0.0"),
        (lambda: ms.gaussian_measurements(4, 4, 0), "m must.*0"),
        (lambda: ms.ground_truth(3, 4, (1.0,), psd=True), "3 x 4"),
        (lambda: ms.ground_truth(3, 4, (1.0,) * 4), "1..3.*got 4"),
        (lambda: ms.ground_truth(3, 4, (1.0, -2.0)), "-2.0"),
        (lambda: ms.linear_rate([0, 1], [1.0, 0.5], 1, 0.1), "got 2"),
        (lambda: ms.power_slope(torch.arange(5), torch.ones(5).double(), 3), "got 2"),
        (lambda: ms.Config(k=2), "above rank 2.*got 2"),
        (lambda: ms.Config(singular_values=(1.0,)), "rank = 2"),
        (lambda: ms.Config(alphas=(0.5,)), "alphas.*2 entries"),
        (lambda: ms.Config(alphas=(0.2, 0.5)), r"each below the last, got \(0.2, 0.5\)"),
        (lambda: ms.Config(rebalance_at=9000), "8000, got 9000"),
    ],
)
def test_bad_input_is_refused_with_its_value(call, match):
    with refuses(ValueError, match=match):
        call()
