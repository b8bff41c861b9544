"""The eigenframework against root finders, closed forms and regression, and the regression against its peers."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq, minimize_scalar
from sklearn.datasets import load_digits
from sklearn.linear_model import Ridge

from overparam.core import compute
from overparam.core.datasets import Examples, Split
from overparam.generalization import more_is_better as mb
from overparam.generalization.more_is_better import experiment, theory
from tests.conftest import refuses

SMALL = mb.Config(
    modes=60,
    n=12,
    widths=(6, 12, 24),
    ridges=(1e-2, 1.0),
    trials=3,
    n_test=20,
    grid=(4, 8, 16),
    population=80,
    image_n=12,
    image_widths=(6, 12),
    image_trials=2,
    kernel_ridges=(0.0, 0.1),
    ratio_modes=500,
    ratio_n=10,
)
SIZES = st.floats(0.5, 300)


def spectrum(modes, seed):
    """Eigenvalues over six decades and coefficients of either sign."""
    generator = compute.generator(seed)
    eigvals = 10 ** (6 * torch.rand(modes, generator=generator, dtype=torch.float64) - 5)
    return eigvals, torch.randn(modes, generator=generator, dtype=torch.float64)


def nested_roots(eigvals, n, k, ridge):
    """The two equations as they stand, one root finder inside another."""
    lam = eigvals.numpy()

    def gamma_of(log_kappa):
        def first(log_gamma):
            return (lam / (lam + math.exp(log_gamma))).sum() + ridge / math.exp(log_kappa) - n

        return brentq(first, -80, 80, xtol=1e-14, rtol=1e-14)

    def second(log_kappa):
        gamma = math.exp(gamma_of(log_kappa))
        return (lam / (lam + gamma)).sum() + k * math.exp(log_kappa) / gamma - k

    # Below ridge/n the first equation has no solution; there kappa is too small.
    log_kappa = brentq(second, math.log(ridge / n) + 1e-12, 60, xtol=1e-14, rtol=1e-14)
    return math.exp(log_kappa), math.exp(gamma_of(log_kappa))


def as_published(eigvals, coeffs, n, k, ridge, noise_var, kappa, gamma):
    """The risks in the form of the paper."""
    lam, v = eigvals.numpy(), coeffs.numpy()
    learnt = lam / (lam + gamma)
    z, q = learnt.sum(), (learnt**2).sum()
    bias = ((gamma / (lam + gamma) - kappa * lam / (lam + gamma) ** 2 * k / (k - q)) * v**2).sum()
    test = (bias + noise_var) / (1 - (q * (k - 2 * z) + z**2) / (n * (k - q)))
    return test, (ridge / (n * kappa)) ** 2 * test


# --- The eigenframework -----------------------------------------------------------------------------------------


@given(modes=st.integers(1, 60), seed=st.integers(0, 999), n=SIZES, k=SIZES, log_ridge=st.floats(-12, 4))
@settings(max_examples=30)
def test_the_implicit_constants_solve_both_equations(modes, seed, n, k, log_ridge):
    eigvals, _ = spectrum(modes, seed)
    for features in (k, math.inf):
        ridge = 10**log_ridge
        kappa, gamma = mb.solve_implicit(eigvals, n, features, ridge)
        z = (eigvals / (eigvals + gamma)).sum()
        assert float(z + ridge / kappa) == pytest.approx(n, rel=1e-9)
        share = 1.0 if features == math.inf else float(z / features + kappa / gamma)
        assert share == pytest.approx(1, rel=1e-9)
        assert features < math.inf or float(kappa) == float(gamma)


@pytest.mark.parametrize(("n", "k", "ridge"), [(20, 9, 1e-3), (9, 20, 0.5), (12, 12, 1e-5), (40, 300, 30.0)])
def test_the_implicit_constants_are_those_of_two_nested_root_finders(n, k, ridge):
    eigvals, _ = mb.powerlaw_task(100, 1.4, 1.6)
    assert [float(x) for x in mb.solve_implicit(eigvals, n, k, ridge)] == pytest.approx(
        nested_roots(eigvals, n, k, ridge), rel=1e-8
    )


def test_a_grid_is_its_cells_in_chunks_or_at_once(monkeypatch):
    eigvals, coeffs = mb.powerlaw_task(50, 1.5, 1.5)
    n, k = torch.tensor([[5.0], [20.0]]), torch.tensor([4.0, 5.0, math.inf])
    grid = mb.rf_risk(eigvals, coeffs, n, k, 0.1, 0.3)
    assert grid.test.shape == (2, 3)
    cells = [[float(mb.rf_risk(eigvals, coeffs, a, b, 0.1, 0.3).test) for b in k.tolist()] for a in n[:, 0].tolist()]
    torch.testing.assert_close(grid.test, torch.tensor(cells, dtype=torch.float64))
    monkeypatch.setattr(theory, "CHUNK", 100)
    torch.testing.assert_close(mb.rf_risk(eigvals, coeffs, n, k, 0.1, 0.3).test, grid.test)


@given(modes=st.integers(1, 40), seed=st.integers(0, 999), n=SIZES, k=SIZES, log_ridge=st.floats(-2, 2))
@settings(max_examples=20)
def test_the_risks_are_those_of_the_published_formula(modes, seed, n, k, log_ridge):
    eigvals, coeffs = spectrum(modes, seed)
    risk = mb.rf_risk(eigvals, coeffs, n, k, 10**log_ridge, 0.2)
    published = as_published(eigvals, coeffs, n, k, 10**log_ridge, 0.2, float(risk.kappa), float(risk.gamma))
    assert (float(risk.test), float(risk.train)) == pytest.approx(published, rel=1e-5)
    assert float(risk.modes) == pytest.approx(float((eigvals / (eigvals + risk.gamma)).sum()))
    assert float(risk.modes2) == pytest.approx(float((eigvals / (eigvals + risk.gamma)).square().sum()))


@given(seed=st.integers(0, 99), log_scale=st.floats(-6, 6), k=st.sampled_from([7.0, 25.0, math.inf]))
@settings(max_examples=20)
def test_the_unit_of_the_kernel_is_that_of_the_ridge_and_changes_no_risk(seed, log_scale, k):
    eigvals, coeffs = spectrum(30, seed)
    scale = 10**log_scale
    one, other = mb.rf_risk(eigvals, coeffs, 12, k, 0.3), mb.rf_risk(scale * eigvals, coeffs, 12, k, 0.3 * scale)
    torch.testing.assert_close(one.test, other.test)
    torch.testing.assert_close(scale * one.kappa, other.kappa)


def test_many_features_are_the_kernel():
    eigvals, coeffs = mb.powerlaw_task(300, 1.5, 1.5)
    kernel, many = mb.krr_risk(eigvals, coeffs, 30, 0.1, 0.2), mb.rf_risk(eigvals, coeffs, 30, 1e9, 0.1, 0.2)
    torch.testing.assert_close(many.test, kernel.test, rtol=1e-6, atol=0)
    learnt = eigvals / (eigvals + kernel.kappa)
    bias = ((1 - learnt).square() * coeffs.square()).sum() + 0.2
    torch.testing.assert_close(kernel.test, 30 / (30 - learnt.square().sum()) * bias)


@pytest.mark.parametrize(("modes", "n", "noise"), [(50, 20, 0.3), (9, 2, 0.0)])
def test_equal_eigenvalues_without_a_ridge_have_a_closed_form(modes, n, noise):
    _, coeffs = spectrum(modes, 1)
    risk = mb.krr_risk(torch.ones(modes).double(), coeffs, n, 0, noise)
    assert float(risk.gamma) == pytest.approx(modes / n - 1)
    power = (1 - n / modes) ** 2 * float(coeffs.square().sum())
    assert float(risk.test) == pytest.approx(modes / (modes - n) * (power + noise))


def test_fewer_features_than_samples_leave_a_known_share_of_the_training_error():
    eigvals, coeffs = mb.powerlaw_task(2000, 1.5, 1.5)
    risk = mb.rf_risk(eigvals, coeffs, 60, 25, 0.0, 0.1)
    assert float(risk.train / risk.test) == pytest.approx((35 / 60) ** 2)
    assert (float(risk.kappa), float(risk.modes)) == (0, pytest.approx(25))


def test_the_risk_has_a_pole_where_features_are_as_many_as_samples():
    eigvals, coeffs = mb.powerlaw_task(200, 1.5, 1.5)
    assert math.isinf(mb.rf_risk(eigvals, coeffs, 30, 30, 0.0).test)
    assert float(mb.rf_risk(eigvals, coeffs, 30, 30, 0.0).train) == 0
    near = [float(mb.rf_risk(eigvals, coeffs, 30, 30, ridge).test) for ridge in (1e-2, 1e-6, 1e-10)]
    assert near == sorted(near)
    assert near[-1] > 1e3


@pytest.mark.parametrize(("n", "k"), [(12, 20), (20, 12), (20, math.inf), (20, 8), (8, 8.5)])
def test_with_too_few_modes_the_ridge_can_go_to_zero_and_what_is_left_is_noise(n, k):
    eigvals, coeffs = torch.tensor([3.0, 1.0, 0.2, 0.0] * 2).double(), torch.ones(8).double()
    risk = mb.rf_risk(eigvals, coeffs, n, k, 0.0, 0.3)
    assert float(risk.gamma) == 0
    # Two modes have no eigenvalue: what the target has there is noise too.
    assert float(risk.test) == pytest.approx((0.3 + 2) / (1 - 6 / n))
    assert float(risk.train) == pytest.approx((1 - 6 / n) * (0.3 + 2))
    torch.testing.assert_close(mb.rf_risk(eigvals, coeffs, n, k, 1e-13, 0.3).test, risk.test, rtol=1e-3, atol=0)


def test_as_many_modes_as_samples_are_learnt_without_noise_and_hopeless_with_it():
    eigvals, coeffs = mb.powerlaw_task(10, 1.5, 1.5)
    assert float(mb.krr_risk(eigvals, coeffs, 10, 0.0).test) == 0
    assert math.isinf(mb.krr_risk(eigvals, coeffs, 10, 0.0, 0.1).test)


@given(
    seed=st.integers(0, 99), n=st.integers(2, 40), k=st.sampled_from([3, 20, 40, math.inf]), noise=st.floats(0.0, 3.0)
)
@settings(max_examples=8)
def test_no_ridge_of_a_fine_grid_beats_the_optimal_one(seed, n, k, noise):
    eigvals, coeffs = spectrum(30, seed)
    ridge, test = mb.optimal_ridge(eigvals, coeffs, n, k, noise)
    ridges = torch.cat([torch.zeros(1), torch.logspace(-10, 6, 400)]).double()
    others = mb.rf_risk(eigvals, coeffs, n, k, ridges, noise).test
    assert test <= float(others.min()) * (1 + 1e-6) + 1e-12
    assert float(mb.rf_risk(eigvals, coeffs, n, k, ridge, noise).test) == pytest.approx(test, rel=1e-5, abs=1e-12)


def test_the_optimal_ridge_is_that_of_a_scalar_minimizer():
    eigvals, coeffs = mb.powerlaw_task(400, 1.5, 1.5)

    def risk(log_ridge):
        return float(mb.rf_risk(eigvals, coeffs, 40, 30, math.exp(log_ridge), 0.5).test)

    best = minimize_scalar(risk, bounds=(-6, 4), method="bounded", options={"xatol": 1e-9})
    ridge, test = mb.optimal_ridge(eigvals, coeffs, 40, 30, 0.5)
    assert test == pytest.approx(best.fun, rel=1e-8)
    assert math.log(ridge) == pytest.approx(best.x, abs=1e-3)


@given(seed=st.integers(0, 99), n=st.integers(1, 30), k=st.integers(1, 30), noise=st.floats(0.01, 2.0))
@settings(max_examples=8)
def test_with_the_ridge_tuned_one_more_sample_or_feature_never_hurts(seed, n, k, noise):
    eigvals, coeffs = spectrum(25, seed)
    here, sample, feature, kernel = (
        mb.optimal_ridge(eigvals, coeffs, a, b, noise)[1] for a, b in ((n, k), (n + 1, k), (n, k + 1), (n, math.inf))
    )
    assert max(sample, feature) <= here * (1 + 1e-6)
    assert kernel <= feature * (1 + 1e-6)


# --- Powerlaw tasks ---------------------------------------------------------------------------------------------


def test_a_powerlaw_task_has_its_exponents():
    eigvals, coeffs = mb.powerlaw_task(4, 2, 1.5)
    assert eigvals.tolist() == pytest.approx([1, 1 / 4, 1 / 9, 1 / 16])
    assert coeffs.square().tolist() == pytest.approx([1, 2**-1.5, 3**-1.5, 4**-1.5])


@pytest.mark.parametrize(
    ("alpha", "beta", "noise", "ratio"),
    [(2, 2, 1, ((3 - 5**0.5) / 2) ** 2), (3, 2, 0, 1 / 16), (2, 2, 0, 0), (1.8, 2.2, 0.2, 0), (1.5, 2, 0, 0)],
)
def test_the_optimal_fitting_ratio_solves_its_equation(alpha, beta, noise, ratio):
    assert mb.optimal_fitting_ratio(alpha, beta, noise) == pytest.approx(ratio, abs=1e-14)


@given(alpha=st.floats(1.1, 4), share=st.floats(0.05, 0.95), noise=st.floats(0, 10))
@settings(max_examples=30)
def test_the_optimal_fitting_ratio_minimizes_the_powerlaw_risk(alpha, share, noise):
    beta = 1 + share * 2 * alpha
    r = torch.linspace(0, 0.999, 4000, dtype=torch.float64)
    lowest = float(mb.powerlaw_risk(r, alpha, beta, noise).min())
    best = torch.tensor([mb.optimal_fitting_ratio(alpha, beta, noise)], dtype=torch.float64).sqrt()
    assert float(mb.powerlaw_risk(best, alpha, beta, noise)[0]) <= lowest * (1 + 1e-12)


def test_the_powerlaw_risk_is_the_limit_of_the_eigenframework():
    eigvals, coeffs = mb.powerlaw_task(100_000, 2.0, 2.0)
    ridgeless = float(mb.krr_risk(eigvals, coeffs, 1000, 0.0).test)
    ridges = torch.logspace(-6, 0, 7, dtype=torch.float64)
    risk = mb.krr_risk(eigvals, coeffs, 1000, ridges, 0.5 * ridgeless)
    limit = mb.powerlaw_risk((risk.train / risk.test).sqrt(), 2.0, 2.0, 0.5)
    torch.testing.assert_close(risk.test / ridgeless, limit, rtol=0.02, atol=0)


# --- Features, kernels, regression ------------------------------------------------------------------------------


def test_gaussian_features_converge_to_the_kernel_of_their_eigenvalues():
    X = torch.randn(5, 7, generator=compute.generator(0), dtype=torch.float64)
    eigvals = torch.arange(7, 0, -1).double()
    phi = mb.gaussian_features(X, eigvals, 100_000, compute.generator(1))
    torch.testing.assert_close(phi @ phi.mT, (X * eigvals) @ X.mT, atol=0.3, rtol=0.02)


def test_relu_features_converge_to_the_arc_cosine_kernel():
    X = torch.randn(5, 4, generator=compute.generator(0), dtype=torch.float64)
    phi = mb.relu_features(X, 200_000, compute.generator(1))
    torch.testing.assert_close(phi @ phi.mT, mb.arccos_kernel(X), atol=0.02, rtol=0.02)


def test_the_arc_cosine_kernel_at_angles_that_are_known():
    X = torch.tensor([[2.0, 0.0], [0.0, 3.0], [-5.0, 0.0], [0.0, 0.0]]).double()
    K = mb.arccos_kernel(X)
    assert K.diagonal().tolist() == pytest.approx([2, 4.5, 12.5, 0])
    assert float(K[0, 1]) == pytest.approx(6 / 2 / math.pi)
    assert float(K[0, 2]) == pytest.approx(0, abs=1e-12)
    assert torch.equal(K, K.mT)
    torch.testing.assert_close(mb.arccos_kernel(X[:3], X[1:]), K[:3, 1:])


def test_the_eigenstructure_of_a_kernel_matrix_rebuilds_it():
    X = torch.randn(12, 5, generator=compute.generator(0), dtype=torch.float64)
    y = torch.randn(12, 2, generator=compute.generator(1), dtype=torch.float64)
    K = X @ X.mT
    eigvals, coeffs = mb.kernel_eigenstructure(K, y)
    assert eigvals.shape == (12,)
    assert coeffs.shape == (12, 2)
    np.testing.assert_allclose(eigvals, np.clip(np.linalg.eigvalsh(K.numpy())[::-1] / 12, 0, None), atol=1e-12)
    assert (eigvals >= 0).all()
    torch.testing.assert_close(coeffs.square().sum(0), y.square().mean(0))
    # Quadratic forms of the kernel are those of its eigenstructure.
    torch.testing.assert_close((eigvals[:, None] * coeffs.square()).sum(0), (y * (K @ y)).sum(0) / 12**2)
    torch.testing.assert_close(mb.kernel_eigenstructure(K, y[:, 0])[1].abs(), coeffs[:, 0].abs())


@pytest.mark.parametrize("k", [6, 15, 60])
def test_regression_is_that_of_scikit_learn_and_of_the_pseudo_inverse(k):
    generator = compute.generator(k)
    phi = torch.randn(40, k, generator=generator, dtype=torch.float64)
    y = torch.randn(40, generator=generator, dtype=torch.float64)
    ridges = torch.tensor([0.0, 0.1, 3.0]).double()
    train, test = mb.rf_regression(phi[:15], y[:15], phi[15:], y[15:], ridges)
    for i, ridge in enumerate(ridges.tolist()):
        if ridge:
            weights = Ridge(alpha=ridge, fit_intercept=False).fit(phi[:15].numpy(), y[:15].numpy()).coef_
        else:
            weights = np.linalg.pinv(phi[:15].numpy()) @ y[:15].numpy()
        errors = (phi.numpy() @ weights - y.numpy()) ** 2
        assert float(train[i]) == pytest.approx(errors[:15].mean(), abs=1e-12)
        assert float(test[i]) == pytest.approx(errors[15:].mean(), rel=1e-7)


def test_repeated_samples_do_not_disturb_the_pseudo_inverse():
    phi = torch.randn(6, 9, generator=compute.generator(0), dtype=torch.float64)[[0, 1, 2, 3, 0, 0]]
    y = torch.tensor([1.0, 2, 3, 4, 1, 1]).double()
    train, test = mb.rf_regression(phi, y, phi, y, torch.zeros(1).double())
    assert max(float(train), float(test)) < 1e-20


def test_the_fitting_curve_is_regression_on_points_drawn_with_replacement():
    X = torch.randn(20, 3, generator=compute.generator(0), dtype=torch.float64)
    y, ridges = X[:, 0] ** 2, torch.tensor([0.0, 1.0]).double()
    train, test = mb.fitting_curve(X @ X.mT, y, 8, ridges, trials=2, generator=compute.generator(5))
    again, expected = compute.generator(5), []
    for _ in range(2):
        chosen = torch.randint(20, (8,), generator=again)
        expected.append(torch.stack(mb.rf_regression(X[chosen], y[chosen], X, y, ridges)))
    torch.testing.assert_close(torch.stack([train, test]), torch.stack(expected).mean(0))


def test_the_digits_are_standardized_as_a_whole_and_labelled_by_five_of_them():
    X, y = mb.image_population(mb.Config())
    assert X.shape == (1797, 64)
    assert (float(X.mean()), float(X.std())) == (pytest.approx(0, abs=1e-12), pytest.approx(1))
    _, labels = load_digits(return_X_y=True)
    assert int((y == 1).sum()) == int(np.isin(labels, (0, 1, 7, 8, 9)).sum())
    assert set(y.tolist()) == {-1, 1}


# --- The experiment ---------------------------------------------------------------------------------------------


def test_the_prediction_is_right_in_the_mean_over_many_draws():
    config = dataclasses.replace(SMALL, modes=400, n=40, widths=(20, 80), trials=40, n_test=100)
    generator = compute.generator(3)
    eigvals, coeffs = mb.powerlaw_task(400, 1.5, 1.5)
    ridges = torch.tensor(config.ridges, dtype=torch.float64)
    runs = [experiment._gaussian_trial(eigvals, coeffs, config, ridges, generator) for _ in range(config.trials)]
    k = torch.tensor(config.widths)[:, None]
    risk = mb.rf_risk(eigvals, coeffs, config.n, k, ridges, config.noise_var)
    train, test = torch.stack(runs).mean(0)
    torch.testing.assert_close(test, risk.test, rtol=0.1, atol=0)
    torch.testing.assert_close(train, risk.train, rtol=0.15, atol=1e-3)


def test_exponents_are_found_again_from_what_the_kernel_does():
    alpha, beta = mb.measured_exponents(*mb.powerlaw_task(20_000, 1.8, 1.7))
    assert alpha == pytest.approx(1.8, abs=0.05)
    assert beta == pytest.approx(1.7, abs=0.05)


def test_full_scale_takes_two_steps(monkeypatch):
    pixels = torch.randn(300, 3, 32, 32, generator=compute.generator(0))
    few = Examples(pixels, torch.arange(300) % 10)
    monkeypatch.setattr(experiment, "hub_images", lambda *_, **__: Split(few, few, few))
    monkeypatch.setattr(experiment, "CURVE_POINTS", 3)
    steps = {
        "widths": (10, 300),
        "image_widths": (10, 300),
        "trials": 2,
        "image_trials": 2,
        "ratio_cases": ((2, 2, 1),),
    }
    config = dataclasses.replace(mb.FULL, modes=500, ratio_modes=500, population=300, grid=(16, 32), **steps)
    result = mb.run(config, device="cpu", progress=False)
    assert result.image.sim_test.shape == (2, 2, 31)
    assert result.eigvals.shape == (300,)
    assert len(mb.claims(result)) == 7


def test_a_run_too_small_to_show_anything_is_measured_all_the_same():
    tiny = {"modes": 2, "n": 1, "widths": (1, 2), "ridges": (1.0,), "trials": 1, "n_test": 1, "grid": (1, 2)}
    images = {"population": 2, "image_n": 1, "image_widths": (1, 2), "image_trials": 1, "kernel_ridges": (0.0,)}
    config = mb.Config(**tiny, **images, ratio_modes=1, ratio_n=1, ratio_cases=())
    assert len(mb.claims(mb.run(config, device="cpu", progress=False))) == 7


def test_no_claim_holds_with_a_number_that_is_missing():
    result = mb.run(SMALL, device="cpu", progress=False)
    nothing = {f.name: getattr(result.synthetic, f.name) * math.nan for f in dataclasses.fields(result.synthetic)}
    blank = dataclasses.replace(
        result,
        synthetic=mb.Comparison(**nothing),
        image=mb.Comparison(**nothing),
        tuned=result.tuned * math.nan,
        untuned=result.untuned * math.nan,
        ratio=result.ratio * math.nan,
        kernel_test=result.kernel_test * math.nan,
    )
    assert not any(claim.holds for claim in mb.claims(blank))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_features_and_regression_follow_their_inputs_and_the_theory_is_in_float64(dtype):
    X = torch.randn(6, 4, generator=compute.generator(0)).to(dtype)
    eigvals = torch.tensor([1.0, 0.5, 0.25, 0.1], dtype=dtype)
    K = mb.arccos_kernel(X)
    made = (
        mb.gaussian_features(X, eigvals, 3, compute.generator(0)),
        mb.relu_features(X, 3, compute.generator(0)),
        K,
        *mb.kernel_eigenstructure(K, X[:, 0]),
        *mb.rf_regression(X[:4], X[:4, 0], X[4:], X[4:, 1], torch.tensor([0.0, 1.0], dtype=dtype)),
    )
    assert {z.dtype for z in made} == {dtype}
    assert mb.rf_risk(eigvals, eigvals, 3, 2, 0.1).test.dtype == torch.float64
    meta = X.to("meta")
    assert mb.arccos_kernel(meta, meta).device.type == "meta"
    assert mb.relu_features(meta, 3, compute.generator(0)).device.type == "meta"


G = compute.generator(0)
LAM, V = mb.powerlaw_task(5, 1.5, 1.5)
X, Y, R = torch.ones(4, 3).double(), torch.ones(4).double(), torch.ones(2).double()


@pytest.mark.parametrize("call", [mb.solve_implicit, lambda lam, *cell: mb.rf_risk(lam, lam, *cell)])
@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((LAM, 0, 5, 0.1), "n must.*0"),
        ((LAM, -3, 5, 0.1), "n must.*-3"),
        ((LAM, math.inf, 5, 0.1), "n must.*inf"),
        ((LAM, torch.tensor([3.0, -2.0]), 5, 0.1), "n must.*-2"),
        ((LAM, 3, 0, 0.1), "k must.*0"),
        ((LAM, 3, -1, 0.1), "k must.*-1"),
        ((LAM, 3, math.nan, 0.1), "k must.*nan"),
        ((LAM, 3, 5, -0.1), "ridge must.*-0.1"),
        ((LAM, 3, 5, math.inf), "ridge must.*inf"),
        ((LAM, 3, 5, math.nan), "ridge must.*nan"),
        ((-LAM, 3, 5, 0.1), "eigvals.*-1"),
        ((0 * LAM, 3, 5, 0.1), "eigvals.*positive.*5 times 0"),
        ((LAM * math.nan, 3, 5, 0.1), "eigvals.*nan"),
        ((LAM[None], 3, 5, 0.1), r"eigvals.*\(1, 5\)"),
        ((LAM[:0], 3, 5, 0.1), r"eigvals.*\(0,\)"),
    ],
)
def test_a_cell_that_makes_no_sense_is_refused_with_its_value(call, arguments, match):
    with refuses(ValueError, match=match):
        call(*arguments)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: mb.rf_risk(LAM, V[:3], 3, 5, 0.1), r"coeffs.*\(5,\).*\(3,\)"),
        (lambda: mb.rf_risk(LAM, V * math.nan, 3, 5, 0.1), "coeffs.*nan"),
        (lambda: mb.rf_risk(LAM, V, 3, 5, 0.1, -0.5), "noise_var.*-0.5"),
        (lambda: mb.krr_risk(LAM, V, 0, 0.1), "n must.*0"),
        (lambda: mb.krr_risk(LAM, V, 3, 0.1, math.nan), "noise_var.*nan"),
        (lambda: mb.optimal_ridge(LAM, V, 3, 0), "k must.*0"),
        (lambda: mb.optimal_ridge(LAM, V, -1, 3), "n must.*-1"),
        (lambda: mb.optimal_ridge(LAM, V, 3, 5, -1.0), "noise_var.*-1.0"),
        (lambda: mb.optimal_ridge(LAM, V[None], 3, 5), r"coeffs.*\(1, 5\)"),
        (lambda: mb.powerlaw_task(0, 1.5, 1.5), "modes.*0"),
        (lambda: mb.powerlaw_task(5, 1.0, 1.5), "alpha.*1.0"),
        (lambda: mb.powerlaw_task(5, 1.5, 1.0), "beta.*1.0"),
        (lambda: mb.powerlaw_task(5, 1.5, 4.0), r"beta.*\(1, 4\).*4.0"),
        (lambda: mb.optimal_fitting_ratio(0.5, 1.5, 0.0), "alpha.*0.5"),
        (lambda: mb.optimal_fitting_ratio(math.nan, 1.5, 0.0), "alpha.*nan"),
        (lambda: mb.optimal_fitting_ratio(2.0, 5.5, 0.0), "beta.*5.5"),
        (lambda: mb.optimal_fitting_ratio(2.0, 2.0, -0.1), "rel_noise.*-0.1"),
        (lambda: mb.powerlaw_risk(torch.ones(1), 2.0, 2.0, 0.0), r"r must lie in \[0, 1\), got 1"),
        (lambda: mb.powerlaw_risk(R - 2, 2.0, 2.0, 0.0), "r must.*-1"),
        (lambda: mb.kernel_eigenstructure(X, Y), r"square.*\(4, 3\)"),
        (lambda: mb.kernel_eigenstructure(X @ X.mT, Y[:3]), r"4 rows.*\(3,\)"),
        (lambda: mb.arccos_kernel(X, X[:, :2]), r"dimension 3.*\(4, 2\)"),
        (lambda: mb.arccos_kernel(X[0]), r"X must.*\(3,\)"),
        (lambda: mb.relu_features(X, 0, G), "k must.*0"),
        (lambda: mb.relu_features(X[0], 2, G), r"X must.*\(3,\)"),
        (lambda: mb.gaussian_features(X, LAM[:3], 0, G), "k must.*0"),
        (lambda: mb.gaussian_features(X, LAM, 2, G), r"\(4, 3\) and \(5,\)"),
        (lambda: mb.gaussian_features(X, -LAM[:3], 2, G), "eigvals.*-1"),
        (lambda: mb.rf_regression(X, Y[:3], X, Y, R), r"4 training.*\(3,\) and \(4,\)"),
        (lambda: mb.rf_regression(X, Y, X, Y[:2], R), r"4 test.*\(4,\) and \(2,\)"),
        (lambda: mb.rf_regression(X, Y, X[:, :2], Y, R), r"\(4, 3\) and \(4, 2\)"),
        (lambda: mb.rf_regression(X[:, :0], Y, X[:, :0], Y, R), r"k >= 1.*\(4, 0\)"),
        (lambda: mb.rf_regression(X, Y, X, Y, -R), "ridges.*-1"),
        (lambda: mb.rf_regression(X, Y, X, Y, R * math.inf), "ridges.*inf"),
        (lambda: mb.rf_regression(X, Y, X, Y, R[None]), r"ridges.*\(1, 2\)"),
        (lambda: mb.kernel_regression(X, Y, X, Y, R), r"square.*\(4, 3\)"),
        (lambda: mb.fitting_curve(X, Y, 2, R, trials=1, generator=G), r"square.*\(4, 3\)"),
        (lambda: mb.fitting_curve(X @ X.mT, Y, 0, R, trials=1, generator=G), "n must.*0"),
        (lambda: mb.fitting_curve(X @ X.mT, Y, 2, R, trials=0, generator=G), "trials.*0"),
        (lambda: mb.fitting_curve(X @ X.mT, Y[:3], 2, R, trials=1, generator=G), r"4 rows.*\(3,\)"),
        (lambda: mb.Config(widths=(16,)), r"2 entries.*\(16,\)"),
        (lambda: mb.Config(grid=(16, 8)), r"grid.*\(16, 8\)"),
        (lambda: mb.Config(image_widths=(0, 8)), "image_widths.*0"),
        (lambda: mb.Config(ridges=(0.0, 1.0)), "ridges.*0.0"),
        (lambda: mb.Config(kernel_ridges=(1.0, 0.1)), r"kernel_ridges.*\(1.0, 0.1\)"),
        (lambda: mb.Config(population=1798), "at most 1797.*1798"),
        (lambda: mb.Config(ratio_cases=((2.0, 2.0, -1.0),)), "rel_noise.*-1.0"),
    ],
)
def test_bad_input_is_refused_with_its_value(call, match):
    with refuses(ValueError, match=match):
        call()
