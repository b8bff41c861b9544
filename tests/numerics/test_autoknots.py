"""AutoKnots against closed forms, interval-by-interval brute force, quadrature and arbitrary precision."""

from __future__ import annotations

import dataclasses
import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.interpolate import CubicSpline

from overparam.numerics import autoknots as ak
from tests.conftest import refuses, unchecked

SMALL = ak.Config(
    functions=2,
    kinds=("cosine", "plateau"),
    tolerances=(1e-3, 1e-4),
    points=201,
    halo_tolerances=(1e-2, 1e-3, 1e-4),
    radius=(0.1, 10.0),
    halo_points=100,
    uniform_tol=1e-3,
)
X = np.linspace(0, 1, 2001)
RHO_S, R_S = 2.5, 0.7


def one_by_one(f, a, b, tol, scale, start=6):
    """The method without refinement, one interval after the other, with scipy's spline and its own integral."""
    x = list(np.linspace(a, b, start))
    settled = [False] * (start - 1)
    while not all(settled):
        spline = CubicSpline(x, f(np.array(x)))
        new_x, new_settled = [x[0]], []
        for x0, x1, done in zip(x[:-1], x[1:], settled, strict=True):
            if not done:
                xm = (x0 + x1) / 2
                y0, ym, y1 = f(np.array([x0, xm, x1]))
                simpson, integral = (x1 - x0) / 6 * (y0 + 4 * ym + y1), spline.integrate(x0, x1)
                done = abs(ym - spline(xm)) <= tol * (abs(ym) + scale)
                done = done and abs(simpson - integral) <= tol * (abs(simpson) + scale * (x1 - x0))
                new_x.append(xm)
                new_settled.append(bool(done))
            new_x.append(x1)
            new_settled.append(bool(done))
        x, settled = new_x, new_settled
    return np.array(x)


# --- The method


@pytest.mark.parametrize("tol", [1e-3, 1e-6])
@pytest.mark.parametrize("kind", ["polynomial", "cosine", "rbf", "plateau"])
def test_the_knots_are_those_of_the_method_one_interval_after_the_other(kind, tol):
    f = ak.random_function(kind, np.random.default_rng(3))
    np.testing.assert_allclose(ak.autoknots(f, 0, 1, rel_tol=tol, scale=1).x, one_by_one(f, 0, 1, tol, 1), atol=1e-15)


@given(seed=st.integers(0, 999), kind=st.sampled_from(["polynomial", "cosine", "rbf"]), refine=st.integers(0, 2))
@settings(max_examples=10)
def test_every_point_at_which_the_function_is_called_is_a_knot_and_none_is_called_twice(seed, kind, refine):
    f, called = ak.random_function(kind, np.random.default_rng(seed)), []

    def spy(x):
        called.extend(x.tolist())
        return f(x)

    table = ak.autoknots(spy, 0, 1, rel_tol=1e-5, scale=1, refine=refine)
    assert sorted(called) == table.x.tolist()
    assert len(called) == table.evaluations == table.history[-1]
    assert len(set(called)) == len(called)
    assert (np.diff(table.x) > 0).all()
    np.testing.assert_allclose(table.y, f(table.x), atol=1e-12)


@given(coefficients=st.lists(st.floats(-5, 5), min_size=4, max_size=4), low=st.floats(-3, 3), width=st.floats(0.5, 5))
@settings(max_examples=20)
def test_a_cubic_is_known_after_one_round_and_stays_settled(coefficients, low, width):
    f = np.polynomial.Polynomial(coefficients)
    for refine in (0, 3):
        table = ak.autoknots(f, low, low + width, scale=1, refine=refine)
        assert table.history == (6, 11)
        assert table.converged
        points = np.linspace(low, low + width, 50)
        np.testing.assert_allclose(table(points), f(points), rtol=1e-10, atol=1e-9)


@given(widths=st.lists(st.floats(0.01, 3), min_size=3, max_size=12), seed=st.integers(0, 99))
@settings(max_examples=20)
def test_the_slopes_are_those_of_scipys_spline(widths, seed):
    x = np.concatenate([[0], np.cumsum(widths)])
    y = np.random.default_rng(seed).standard_normal(len(x))
    peer = CubicSpline(x, y)(x, 1)
    np.testing.assert_allclose(ak.not_a_knot_slopes(x, y), peer, rtol=1e-9, atol=1e-9 * np.abs(peer).max())


@given(d=st.floats(-0.8, 0.8), a=st.floats(-2, 2), b=st.floats(-2, 2), c=st.floats(-2, 2))
@settings(max_examples=20)
def test_the_integral_of_the_parabola_is_exact_for_parabolas(d, a, b, c):
    f = np.polynomial.Polynomial([a, b, c])
    x0, x1 = np.array([1.0]), np.array([3.0])
    xm = 2 + np.array([d])
    integral = f.integ()(x1) - f.integ()(x0)
    np.testing.assert_allclose(ak.parabola_integral(x0, x1, xm, f(x0), f(x1), f(xm)), integral, atol=1e-12)


@pytest.mark.parametrize(("variable", "u"), [("linear", lambda x: x), ("log", np.log), ("asinh", np.arcsinh)])
def test_intervals_are_halved_in_the_variable_and_the_ends_are_exact(variable, u):
    a, b = 0.013, 7.3
    table = ak.autoknots(np.cos, a, b, scale=1, rel_tol=1e-7, variable=variable)
    assert (table.x[0], table.x[-1]) == (a, b)
    width = np.diff(u(table.x)) / (u(b) - u(a)) * 5
    np.testing.assert_allclose(np.log2(width), np.log2(width).round(), atol=1e-6)
    points = np.linspace(a, b, 999)
    assert np.abs(table(points) - np.cos(points)).max() < 2e-7


def test_the_number_of_knots_follows_the_fourth_order_count():
    # With equal steps a cubic spline errs by h⁴ f''''/384 in the middle; the last halving takes away 16.
    table = ak.autoknots(np.exp, 0, 1, rel_tol=1e-10)
    error = np.abs(table(X) / np.exp(X) - 1).max()
    assert 1e-10 / 256 * 0.8 < error < 1e-10 / 16 * 1.2
    widest = (384 * 1e-10) ** 0.25
    assert 2 <= len(table.x) * widest <= 4.2


def test_the_value_is_tested_and_the_integral_too():
    # At the six first knots and the middles between them this is 1, or 1 plus what only the integral sees.
    spoilt = ak.autoknots(lambda x: 1 + 0.1 * np.sin(10 * np.pi * x) ** 2, 0, 1, rel_tol=1e-6)
    assert spoilt.history == (6, 11)
    # Where |f| is large in the middle and its integral small, the point passes and the integral does not.
    f = np.polynomial.Polynomial([0, 1.0]) ** 5
    plain = ak.autoknots(f, -1, 1, rel_tol=1e-3, start=4, scale=1e-3)
    assert plain.converged
    assert len(plain.x) == len(one_by_one(f, -1, 1, 1e-3, 1e-3, start=4))


def test_small_tolerances_end_because_the_integral_is_local():
    # With the difference of two antiderivatives it would go on to the limit on knots.
    table = ak.autoknots(ak.sigma_nfw, 1e-2, 1e2, rel_tol=1e-10, variable="log", max_knots=20_000)
    assert table.converged
    assert len(table.x) < 10_000


def test_refinement_opens_the_intervals_that_are_wider_than_usual():
    f = ak.bump(0.5, 0.03)
    settled = ak.autoknots(f, 0, 1, rel_tol=1e-4, scale=1)
    refined = ak.autoknots(f, 0, 1, rel_tol=1e-4, scale=1, refine=1)
    width = np.diff(settled.x)
    wide = width > width.mean() + width.std() + 1e-12
    assert 0 < wide.sum() < len(wide)
    middles = ((settled.x[1:] + settled.x[:-1]) / 2)[wide]
    first = len(settled.history)
    assert refined.history[:first] == settled.history
    assert refined.history[first] == settled.history[-1] + wide.sum()
    assert np.isin(np.concatenate([settled.x, middles]).round(12), refined.x.round(12)).all()


def test_refinement_stops_early_and_a_high_bar_reopens_nothing():
    f = ak.bump(0.5, 0.03)
    plain = ak.autoknots(f, 0, 1, rel_tol=1e-4, scale=1)
    assert ak.autoknots(f, 0, 1, rel_tol=1e-4, scale=1, refine=5, refine_ns=50).history == plain.history


def test_refinement_repairs_an_accident():
    f = ak.bump(0.37, 0.08)
    worst = {
        refine: np.abs(ak.autoknots(f, 0, 1, rel_tol=1e-3, scale=1, refine=refine)(X) - f(X)).max() for refine in (0, 1)
    }
    assert worst[0] > 2e-2
    assert worst[1] < 1e-3


def test_too_many_knots_end_it_unconverged():
    table = ak.autoknots(np.exp, 0, 1, rel_tol=1e-10, max_knots=40)
    assert not table.converged
    assert table.history == (6, 11, 21, 41)
    assert table.evaluations == len(table.x) == 41
    assert table(0.5) == pytest.approx(math.exp(0.5), abs=1e-6)
    assert ak.autoknots(np.exp, 0, 1, max_knots=5).history == (6,)


def test_zeros_need_a_scale():
    # x = 0.5 is a midpoint, and there no relative error is small enough.
    plain = {scale: ak.autoknots(lambda x: np.sin(x - 0.5), 0, 1, scale=scale, max_knots=3000) for scale in (0.0, 1.0)}
    assert plain[1.0].converged
    assert len(plain[1.0].x) < 300
    with pytest.raises(ValueError, match=r"collapsed|overflow"):
        ak.autoknots(lambda x: np.where(x == 0.5, 0, np.abs(x - 0.5) ** 0.5), 0, 1, scale=0.0)


@pytest.mark.parametrize("place", [0.0, 0.3, -0.7])
def test_a_jump_is_refused_wherever_it_is(place):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match="continuous"):
            ak.autoknots(lambda x: np.sign(x - place), -1, 1, scale=1, rel_tol=0.1)


def test_whatever_comes_in_all_is_double_precision():
    table = ak.autoknots(lambda x: np.cos(x).astype(np.float32), 0, 1, rel_tol=1e-4)
    assert table.x.dtype == table.y.dtype == np.float64
    assert ak.sigma_nfw(np.ones(3, dtype=np.float32)).dtype == np.float64
    assert ak.project(ak.rho_nfw, np.ones(2, dtype=int)).dtype == np.float64


# --- Halos


@pytest.mark.parametrize("halo", ["nfw", "hernquist"])
def test_closed_forms_hold_to_rounding_also_where_they_cancel(halo):
    mp = pytest.importorskip("mpmath")
    places = (1e-7, 1e-4, 1e-3, 0.05, 0.1999, 0.2, 0.5, 0.79, 0.81, 0.9999, 1 - 1e-9, 1 + 1e-7, 1.1, 1.21, 3, 50, 1e4)
    with mp.workdps(40):
        for x in map(mp.mpf, places):
            chi = mp.acosh(1 / x) / mp.sqrt(1 - x * x) if x < 1 else mp.acos(1 / x) / mp.sqrt(x * x - 1)
            exact = {
                "sigma_nfw": 2 * (1 - chi) / (x * x - 1),
                "mean_sigma_nfw": 4 * (mp.log(x / 2) + chi) / x**2,
                "sigma_hernquist": ((2 + x * x) * chi - 3) / (1 - x * x) ** 2,
                "mean_sigma_hernquist": 2 * (chi - 1) / (1 - x * x),
            }
            for name in (f"sigma_{halo}", f"mean_sigma_{halo}"):
                value = getattr(ak, name)(np.array([float(x) * R_S]), rho_s=RHO_S, r_s=R_S)[0]
                assert value == pytest.approx(float(exact[name]) * RHO_S * R_S, rel=1e-13), (name, x)


def test_closed_forms_at_the_scale_radius():
    one = np.ones(1)
    assert ak.sigma_nfw(one)[0] == pytest.approx(2 / 3, rel=1e-15)
    assert ak.sigma_hernquist(one)[0] == pytest.approx(4 / 15, rel=1e-15)
    assert ak.mean_sigma_hernquist(one)[0] == pytest.approx(2 / 3, rel=1e-15)
    assert ak.mean_sigma_nfw(one)[0] == pytest.approx(4 * (1 - math.log(2)), rel=1e-15)


@pytest.mark.parametrize(("rho", "sigma"), [(ak.rho_nfw, ak.sigma_nfw), (ak.rho_hernquist, ak.sigma_hernquist)])
def test_the_projection_is_that_of_scipys_quadrature_and_of_the_closed_form(rho, sigma):
    R = np.array([1e-6, 0.01, 0.3, 1.0, 1.001, 30.0, 1e3])
    projected = ak.project(rho, R)
    np.testing.assert_allclose(projected, sigma(R), rtol=1e-12)
    for radius, value in zip(R[1:4], projected[1:4], strict=True):
        peer = 2 * quad(lambda z, r=radius: float(rho(math.hypot(r, z))), 0, np.inf, epsrel=1e-11, limit=300)[0]
        assert value == pytest.approx(peer, rel=1e-9)


def test_the_projection_of_a_gaussian_takes_smaller_steps_where_it_is_narrow():
    R = np.array([0.01, 1.0, 5.0, 20.0])
    exact = math.sqrt(2 * math.pi) * np.exp(-(R**2) / 2)
    np.testing.assert_allclose(ak.project(lambda r: np.exp(-r * r / 2), R), exact, rtol=1e-10)


def test_many_radii_are_projected_as_one_is():
    R = np.geomspace(0.01, 100, 2100)
    together = ak.project(ak.rho_nfw, R)
    np.testing.assert_allclose(
        together[[0, 1023, 1024, -1]], ak.project(ak.rho_nfw, R[[0, 1023, 1024, -1]]), rtol=1e-13
    )


@pytest.mark.parametrize("halo", ["nfw", "hernquist"])
def test_the_mean_is_the_mean_of_the_projection(halo):
    sigma, exact = getattr(ak, f"sigma_{halo}"), getattr(ak, f"mean_sigma_{halo}")
    mean, knots = ak.mean_projection(sigma, 0.05, 20.0, rel_tol=1e-9)
    R = np.geomspace(0.05, 20, 300)
    R[0], R[-1] = 0.05, 20
    np.testing.assert_allclose(mean(R), exact(R), rtol=1e-9)
    assert knots.x[0] == math.log(0.05)
    brute = 2 / 3**2 * quad(lambda r: r * float(sigma(r)), 0, 3)[0]
    assert float(mean(3.0)) == pytest.approx(brute, rel=1e-8)


def test_a_constant_density_is_its_own_mean():
    mean, _ = ak.mean_projection(lambda R: np.full(R.shape, 2.0), 1.0, 5.0)
    np.testing.assert_allclose(mean(np.array([1.0, 2.0, 5.0])), 2.0, rtol=1e-8)


# --- The experiment


@pytest.fixture(scope="module")
def result():
    return ak.run(SMALL, progress=False)


@pytest.mark.parametrize("kind", ["polynomial", "cosine", "rbf", "plateau"])
def test_random_functions_are_smooth_and_repeat_with_the_seed(kind):
    f, g = (ak.random_function(kind, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(f(X), g(X))
    assert f(X).shape == X.shape
    assert not np.array_equal(f(X), ak.random_function(kind, np.random.default_rng(6))(X))


def test_each_kind_of_random_function_is_what_its_name_says():
    rng = np.random.default_rng(0)
    fit = np.polynomial.Polynomial.fit(X, ak.random_function("polynomial", rng)(X), 9)
    np.testing.assert_allclose(fit(X), ak.random_function("polynomial", np.random.default_rng(0))(X), atol=1e-9)
    tops = [ak.random_function("plateau", rng)(X) for _ in range(20)]
    assert all(0.9 < top.max() <= 1 and 0.1 <= X[top.argmax()] <= 0.9 for top in tops)
    assert all(2.35 * 0.009 < np.mean(top > 0.5) < 2.36 * 0.051 for top in tops)
    # A cosine of at most 12 periods turns at most about 24 times.
    waves = ak.random_function("cosine", rng)(X)
    assert np.count_nonzero(np.diff(np.sign(np.diff(waves)))) <= 26


def test_uniform_knots_needed_is_what_a_search_finds():
    f = ak.sigma_nfw
    needed = ak.uniform_knots_needed(f, 0.1, 10, 1e-3, R := np.geomspace(0.1001, 9.99, 500))

    def error(n):
        x = np.linspace(0.1, 10, n)
        return np.abs(CubicSpline(x, f(x))(R) / f(R) - 1).max()

    assert error(needed) <= 1e-3
    smallest = next(n for n in range(4, needed + 1) if error(n) <= 1e-3)
    assert smallest <= needed <= 1.05 * smallest + 1


def test_full_scale_takes_two_steps():
    config = dataclasses.replace(ak.FULL, functions=1, tolerances=ak.FULL.tolerances[:2], halo_tolerances=(1e-3,) * 2)
    result = ak.run(dataclasses.replace(config, uniform_tol=1e-3), device="cpu", progress=False)
    assert result.over.shape == result.knots.shape == (4, 1, 2, 2)
    assert result.nfw.linear_error.shape == (5000,)
    verdicts = {claim.id: claim for claim in ak.claims(result)}
    assert math.isnan(verdicts["fourth_order_cost"].measured)
    assert verdicts["fourth_order_cost"].holds is False
    assert verdicts["surface_density"].holds
    assert verdicts["no_evaluation_wasted"].holds


def test_nothing_to_repair_is_no_repair(result):
    clean = dataclasses.replace(result, over=np.zeros_like(result.over))
    verdict = next(claim for claim in ak.claims(clean) if claim.id == "refinement_repairs")
    assert math.isnan(verdict.measured)
    assert verdict.holds is False


def test_an_evaluation_that_is_no_knot_is_seen(result):
    verdict = [claim for claim in ak.claims(result) if claim.id == "no_evaluation_wasted"]
    wasteful = dataclasses.replace(result, nfw=dataclasses.replace(result.nfw, linear_evaluations=10**6))
    verdict += [claim for claim in ak.claims(wasteful) if claim.id == "no_evaluation_wasted"]
    assert [claim.holds for claim in verdict] == [True, False]


R1 = np.ones(1)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: ak.autoknots(np.exp, 1.0, 1.0), "1.0 and 1.0"),
        (lambda: ak.autoknots(np.exp, 2.0, 1.0), "2.0 and 1.0"),
        (lambda: ak.autoknots(np.exp, -math.inf, 1.0), "-inf"),
        (lambda: ak.autoknots(np.exp, 0.0, math.nan), "nan"),
        (lambda: ak.autoknots(np.exp, 0.0, math.inf), "inf"),
        (lambda: ak.autoknots(np.exp, 1.0, 1.0 + 1e-15), "collapsed.*1.0"),
        (lambda: ak.autoknots(np.exp, 0.0, 1.0, rel_tol=0.0), "rel_tol.*0.0"),
        (lambda: ak.autoknots(np.exp, 0.0, 1.0, rel_tol=-1e-3), "rel_tol.*-0.001"),
        (lambda: ak.autoknots(np.exp, 0.0, 1.0, rel_tol=math.nan), "rel_tol.*nan"),
        (lambda: ak.autoknots(np.exp, 0.0, 1.0, scale=-1.0), "scale.*-1.0"),
        (lambda: ak.autoknots(np.exp, 0.0, 1.0, refine=-1), "refine.*-1"),
        (lambda: ak.autoknots(np.exp, 0.0, 1.0, refine=1.5), "refine.*1.5"),
        (lambda: ak.autoknots(np.exp, 0.0, 1.0, refine_ns=math.nan), "refine_ns.*nan"),
        (lambda: ak.autoknots(np.exp, 0.0, 1.0, start=3), "start.*3"),
        (lambda: ak.autoknots(np.exp, 0.0, 1.0, max_knots=0), "max_knots.*0"),
        (lambda: ak.autoknots(np.exp, 0.0, 1.0, variable="cubic"), "variable.*cubic"),
        (lambda: ak.autoknots(np.exp, 0.0, 1.0, variable="log"), "a must.*0.0"),
        (lambda: ak.autoknots(np.exp, -1.0, 1.0, variable="log"), "a must.*-1.0"),
        (lambda: ak.autoknots(lambda x: x[:-1], 0.0, 1.0), r"\(6,\), got \(5,\)"),
        (lambda: ak.autoknots(lambda x: 1.0, 0.0, 1.0), r"\(6,\), got \(\)"),
        (lambda: ak.autoknots(lambda x: 1 / (x + (x == 0) * np.nan), 0.0, 1.0), "finite, got nan at 0.0"),
        (lambda: ak.autoknots(lambda x: np.where(np.abs(x - 0.3) < 1e-9, np.inf, x), 0.0, 1.0), "got inf at 0.3"),
        (lambda: ak.autoknots(lambda x: (x > 0.3) * 1.0, 0.0, 1.0, scale=1.0), "collapsed at x = 0.29"),
        (lambda: ak.uniform_knots_needed(np.exp, 0.0, 1.0, 0.0, X), "tol.*0.0"),
        (lambda: ak.uniform_knots_needed(np.exp, 1.0, 0.0, 1e-3, X), "1.0 and 0.0"),
        (lambda: ak.uniform_knots_needed(np.exp, 0.0, 0.5, 1e-3, X), "x_test"),
        (lambda: ak.uniform_knots_needed(np.exp, 0.0, 0.5, 1e-3, X[:0]), "x_test"),
        (lambda: ak.uniform_knots_needed(np.sin, 0.0, 1.0, 1e-3, X), "got 0 at x = 0.0"),
        (lambda: ak.rho_nfw(np.zeros(2)), "R must.*0.0"),
        (lambda: ak.rho_hernquist(-R1), "R must.*-1.0"),
        (lambda: ak.sigma_nfw(R1 * math.nan), "R must.*nan"),
        (lambda: ak.sigma_hernquist(R1 * math.inf), "R must.*inf"),
        (lambda: ak.mean_sigma_nfw(R1, rho_s=0.0), "rho_s.*0.0"),
        (lambda: ak.mean_sigma_hernquist(R1, r_s=-2.0), "r_s.*-2.0"),
        (lambda: ak.sigma_nfw(R1, rho_s=math.nan), "rho_s.*nan"),
        (lambda: ak.project(ak.rho_nfw, -R1), "R must.*-1.0"),
        (lambda: ak.project(ak.rho_nfw, R1[None]), r"R must.*\(1, 1\)"),
        (lambda: ak.project(lambda r: 1 / r, R1), "faster than 1/r.*1.0"),
        (lambda: ak.project(lambda r: (r < 2.0) * 1.0, R1), "smooth.*1.0"),
        (lambda: ak.project(lambda r: r[:1], np.ones(2)), "rho must return"),
        (lambda: ak.mean_projection(ak.sigma_nfw, 0.0, 1.0), "R_min.*0.0"),
        (lambda: ak.mean_projection(ak.sigma_nfw, 2.0, 1.0), "R_min and R_max.*2.0 and 1.0"),
        (lambda: ak.mean_projection(ak.sigma_nfw, 1.0, 2.0, rel_tol=0.0), "rel_tol.*0.0"),
        (lambda: ak.mean_projection(ak.sigma_nfw, 1.0, 2.0)[0](R1 * 2.1), r"\[1.0, 2.0\], got 2.1"),
        (lambda: ak.mean_projection(ak.sigma_nfw, 1.0, 2.0)[0](R1 * 0.9), r"\[1.0, 2.0\], got 0.9"),
        (lambda: ak.mean_projection(ak.sigma_nfw, 1.0, 2.0)[0](R1 * math.nan), "got nan"),
        (lambda: ak.random_function("sine", np.random.default_rng(0)), "kind.*sine"),
        (lambda: ak.bump(0.5, 0.0), "width.*0.0"),
        (lambda: ak.Config(functions=0), "functions.*0"),
        (lambda: ak.Config(kinds=("rbf", "sine")), "kinds.*sine"),
        (lambda: ak.Config(kinds=()), r"kinds.*\(\)"),
        (lambda: ak.Config(tolerances=(1e-3, 0.0)), "tolerances.*0.0"),
        (lambda: ak.Config(tolerances=()), r"tolerances.*\(\)"),
        (lambda: ak.Config(halo_tolerances=(-1.0,)), "halo_tolerances.*-1.0"),
        (lambda: ak.Config(points=1), "points.*1"),
        (lambda: ak.Config(radius=(1.0, 0.5)), r"radius.*\(1.0, 0.5\)"),
        (lambda: ak.Config(radius=(0.0, 0.5)), r"radius.*\(0.0, 0.5\)"),
        (lambda: ak.Config(refine_ns=-1.0), "refine_ns.*-1.0"),
        (lambda: ak.run(SMALL, device="no-such-device"), "no-such-device"),
    ],
)
def test_bad_input_is_refused_with_its_value(call, match):
    with refuses(ValueError, match=match):
        call()


def test_a_tolerance_out_of_reach_is_refused(monkeypatch):
    monkeypatch.setattr("overparam.numerics.autoknots.splines.MOST", 64)
    with refuses(ValueError, match="tol.*1e-15"), unchecked():
        ak.uniform_knots_needed(np.exp, 0.0, 1.0, 1e-15, X)
