"""One epoch against closed forms, scipy's root finder and least squares, and runs that cannot learn."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from overparam.core import language as lang
from overparam.scaling import one_epoch as oe
from tests.conftest import refuses

SMALL = oe.Config(
    vocab=8,
    features=16,
    hidden=16,
    dataset=512,
    epochs=10,
    batch=16,
    evals=6,
    lrs=(0.01, 0.03),
    dropouts=(0.0, 0.2),
    widths=(4, 8, 16),
    size_budget_width=16,
    size_budget_tokens=2048,
    size_lrs=(0.02, 0.05),
)

STEPS = np.geomspace(10, 2560, 9)  # a factor of 2 from one to the next


@pytest.fixture(scope="module")
def result():
    return oe.run(SMALL, device="cpu", progress=False)


def power_law(t, E=2.9, A=20.0, alpha=0.6):
    return E + A * np.asarray(t) ** -alpha


# --- Reading two curves horizontally ----------------------------------------------------------------------------


@given(
    losses=st.lists(st.floats(0, 10), min_size=2, max_size=8),
    jumps=st.lists(st.integers(1, 50), min_size=8, max_size=8),
    target=st.floats(0, 10),
)
@settings(max_examples=60, deadline=None)
def test_a_loss_is_reached_where_scipy_finds_the_first_root_of_the_interpolated_curve(losses, jumps, target):
    steps = np.cumsum(jumps)[: len(losses)]
    reached = oe.iterations_to_reach(steps, losses, target)
    if losses[0] <= target:
        assert reached == steps[0]
    elif min(losses) > target:
        assert reached == math.inf
    else:
        k = next(i for i, loss in enumerate(losses) if loss <= target)  # the first measurement at or below
        ends = np.log(steps[k - 1 : k + 1])
        root = optimize.brentq(lambda u: np.interp(u, ends, losses[k - 1 : k + 1]) - target, *ends, xtol=1e-14)
        assert reached == pytest.approx(math.exp(root), rel=1e-6)


def test_the_first_crossing_counts_and_a_loss_that_was_measured_is_reached_at_its_step():
    assert oe.iterations_to_reach([1, 4, 16, 64], [3.0, 1.0, 2.0, 0.0], 2.0) == pytest.approx(2.0)
    for step, loss in zip(STEPS, power_law(STEPS), strict=True):
        assert oe.iterations_to_reach(STEPS, power_law(STEPS), float(loss)) == pytest.approx(step, rel=1e-12)


@pytest.mark.parametrize("k", [1, 2, 4, 16])
def test_a_power_law_that_runs_k_times_slower_is_a_speed_up_of_k(k):
    assert oe.speedup(STEPS, power_law(STEPS / k), STEPS, power_law(STEPS)) == pytest.approx(k, rel=1e-12)


def test_between_measurements_the_speed_up_of_dense_curves_is_exact_too():
    dense = np.geomspace(1, 5000, 4000)
    assert oe.speedup(dense, power_law(dense / 3.3), dense, power_law(dense)) == pytest.approx(3.3, rel=1e-5)


def test_the_reference_pays_only_for_the_way_to_its_best_loss():
    turned = [3.0, 2.0, 2.5, 4.0]
    assert oe.speedup([1, 10, 100, 1000], turned, [1, 10, 100], [3.0, 2.0, 1.0]) == 1
    assert oe.speedup([1, 10], [3.0, 2.0], [1, 10], [3.0, 2.5]) == 0


@given(scale=st.floats(0.1, 10), cost=st.floats(0.1, 10), shift=st.floats(-5, 5), slope=st.floats(0.1, 5))
@settings(max_examples=15, deadline=None)
def test_the_speed_up_knows_no_units_and_counts_the_cost_of_an_iteration(scale, cost, shift, slope):
    slow, fast = power_law(STEPS / 4), power_law(STEPS)
    changed = oe.speedup(
        scale * STEPS, shift + slope * slow, scale * STEPS, shift + slope * fast, cost_ref=cost, cost_new=2 * cost
    )
    assert changed == pytest.approx(2, rel=1e-9)


@pytest.mark.parametrize(
    "kind", [list, torch.tensor, lambda x: torch.tensor(x, dtype=torch.float32, requires_grad=True)]
)
def test_curves_may_be_lists_and_tensors_of_any_dtype(kind):
    steps, loss = [10.0, 20.0, 40.0, 80.0], [4.0, 3.0, 2.5, 2.25]
    assert oe.iterations_to_reach(kind(steps), kind(loss), 2.75) == pytest.approx(20 * math.sqrt(2))
    assert oe.speedup(kind(steps), kind(loss), kind(steps), kind(loss)) == 1
    law = oe.fit_power_law(kind(steps), kind(loss))
    assert (law.E, law.A, law.alpha) == pytest.approx((2, 20, 1), rel=1e-5)


# --- The power law ----------------------------------------------------------------------------------------------


@given(E=st.floats(0, 5), A=st.floats(0.5, 50), alpha=st.floats(0.1, 2))
@settings(max_examples=15, deadline=None)
def test_an_exact_power_law_is_found_again(E, A, alpha):
    law = oe.fit_power_law(STEPS, power_law(STEPS, E, A, alpha))
    assert (law.E, law.A, law.alpha) == pytest.approx((E, A, alpha), rel=1e-4, abs=1e-4)
    assert law.r2 == pytest.approx(1, abs=1e-9)
    np.testing.assert_allclose(law(STEPS), power_law(STEPS, E, A, alpha), rtol=1e-6, atol=1e-6)
    assert law(7.0) == pytest.approx(law.E + law.A / 7.0**law.alpha)


@pytest.mark.parametrize("seed", range(4))
def test_no_start_of_scipy_s_least_squares_finds_a_better_fit(seed):
    rng = np.random.default_rng(seed)
    loss = power_law(STEPS, E=rng.uniform(0, 3), A=5, alpha=rng.uniform(0.2, 1.2)) + 0.02 * rng.normal(size=9)
    law = oe.fit_power_law(STEPS, loss)
    fits = [
        optimize.least_squares(
            lambda p: p[0] + p[1] * STEPS ** -p[2] - loss,
            [1, 5, start],
            bounds=([0, -np.inf, 0], np.inf),
            x_scale="jac",
            xtol=1e-14,
            ftol=1e-14,
            gtol=1e-14,
        )
        for start in (0.1, 0.5, 1.5)
    ]
    best = min(fits, key=lambda fit: fit.cost)
    assert np.sum((law(STEPS) - loss) ** 2) <= 2 * best.cost * (1 + 1e-6)
    assert law.alpha == pytest.approx(best.x[2], rel=1e-3)
    assert law.r2 == pytest.approx(np.corrcoef(law(STEPS), loss)[0, 1] ** 2, abs=1e-6)


def test_the_limit_does_not_fall_below_zero():
    law = oe.fit_power_law(STEPS, 5 - 0.6 * np.log(STEPS))  # without the bound E would run to minus infinity
    assert law.E == 0
    assert law.r2 < 1


def test_a_constant_loss_explains_nothing():
    assert math.isnan(oe.fit_power_law([1, 2, 3, 4], [2.0] * 4).r2)


# --- Size against iterations ------------------------------------------------------------------------------------


@given(params=st.floats(1, 1e12), tokens=st.floats(1, 1e15), ratio=st.floats(1e-3, 1e3))
@settings(max_examples=40, deadline=None)
def test_an_adjusted_size_costs_the_same_has_the_ratio_and_stays_when_adjusted_again(params, tokens, ratio):
    size, rest = oe.adjust_size(params, tokens, ratio)
    assert size * rest == pytest.approx(params * tokens)
    assert rest / size == pytest.approx(ratio)
    assert oe.adjust_size(size, rest, ratio) == pytest.approx((size, rest))


def test_the_adjusted_size_is_the_one_in_the_formula():
    assert oe.adjust_size(4, 500) == pytest.approx((20, 100))
    assert oe.adjust_size(1e200, 1e300, 1.0) == pytest.approx((1e250, 1e250))  # the product alone overflows


# --- The experiment ---------------------------------------------------------------------------------------------


def test_every_arm_has_a_row_for_each_rate_and_a_column_for_each_point(result):
    assert result.steps.tolist() == [22, 62, 113, 174, 243, 320]
    assert set(result.test) == {(data, dropout) for data in ("one", "multi") for dropout in (0.0, 0.2)}
    for curves in (*result.test.values(), *result.train.values()):
        assert curves.shape == (2, 6)
        assert np.isfinite(curves).all()
    assert all((curves > result.entropy).all() for curves in result.test.values())


def test_arms_read_fresh_tokens_or_the_finite_set_at_a_constant_rate_from_one_seed(monkeypatch):
    calls = []
    monkeypatch.setattr(oe, "train_students", lambda *args, **kwargs: calls.append((args, kwargs)) or none(*args))
    oe.run(SMALL, device="cpu", progress=False)
    arms, sizes = calls[:4], calls[4:]
    assert [(k["dataset"], k["dropout"]) for _, k in arms] == [(None, 0.0), (None, 0.2), (512, 0.0), (512, 0.2)]
    assert {a[1:4] for a, _ in arms} == {(16, 320, 16)}  # width, iterations, minibatch
    assert all(k.get("final_lr") is None for _, k in arms)
    assert {k["seed"] for _, k in calls} == {0}
    assert all(k.get("dataset") is None and not k.get("dropout") for _, k in sizes)
    assert all(k["final_lr"] == pytest.approx([0.002, 0.005]) for _, k in sizes)


def none(language, width, steps, batch, lrs):
    zeros = torch.zeros(len(lrs), 2, dtype=torch.float64)
    return lang.StudentRuns(torch.tensor([1, 2]), zeros, zeros)


def test_without_learning_all_arms_are_one_network_and_epochs_repeat_their_tokens():
    config = dataclasses.replace(SMALL, lrs=(1e-30,), evals=1, epochs=1, widths=(16,), size_budget_tokens=16)
    still = oe.run(config, device="cpu", progress=False)
    again = oe.run(dataclasses.replace(config, epochs=3), device="cpu", progress=False)
    assert len({float(curve[0, 0]) for curve in (*still.test.values(), *again.test.values())}) == 1
    one, multi = ("one", 0.0), ("multi", 0.0)
    assert still.train[one] == pytest.approx(still.train[multi], rel=1e-5)  # the first epoch is fresh, in another order
    assert again.train[multi] == pytest.approx(still.train[multi], rel=1e-5)
    assert abs(again.train[one] - still.train[one]) > 1e-4


def test_fresh_tokens_do_not_overfit_and_repeated_ones_do(result):
    assert abs(result.gap("one", 1)[-1]) < 0.1 < result.gap("multi", 1)[-1]
    assert result.test["one", 0.0].min() < result.test["multi", 0.0].min()


def test_all_sizes_cost_the_same_and_end_where_their_curve_ends(result):
    cost = result.size_N * result.size_T
    np.testing.assert_allclose(cost, cost[-1], rtol=0.02)
    assert result.size_N.tolist() == [3 * 8 * h + h + 8 for h in (4, 8, 16)]
    for steps, curve, tokens, loss in zip(
        result.size_steps, result.size_curves, result.size_T, result.size_loss, strict=True
    ):
        assert steps[-1] * 16 == tokens
        assert curve[-1] == loss
        assert len(steps) == len(curve)


def test_the_reader_scale_gives_every_width_the_same_compute_within_a_per_cent():
    config = oe.Config()
    costs = [3 * 64 * h + h + 64 for h in config.widths]
    compute = [N * config.batch * config.size_iterations(h) for N, h in zip(costs, config.widths, strict=True)]
    np.testing.assert_allclose(compute, 24768 * 49152, rtol=0.01)
    assert config.iterations == 2560


def test_envelope_and_reference_are_the_lowest_curves(result):
    assert result.envelope().tolist() == [min(pair) for pair in zip(*result.test["one", 0.0].tolist(), strict=True)]
    lows = {(d, r): result.test["multi", d][r].min() for d in (0.0, 0.2) for r in (0, 1)}
    dropout, rate = min(lows, key=lows.get)
    assert result.reference().tolist() == result.test["multi", dropout][rate].tolist()
    assert result.best_rate("multi", dropout) == rate


def test_full_scale_takes_two_steps_at_its_own_sizes():
    config = dataclasses.replace(
        oe.FULL, dataset=oe.FULL.batch, epochs=2, evals=1, size_budget_tokens=oe.FULL.batch, size_lrs=(0.01,)
    )
    measured = oe.run(config, device="cpu", progress=False)
    assert measured.steps.tolist() == [2]
    assert measured.size_N.tolist() == [3 * 128 * h + h + 128 for h in (32, 64, 128, 256, 512)]
    assert all(np.isfinite(curves).all() for curves in (*measured.test.values(), measured.size_loss))


def test_a_run_of_one_point_decides_no_claim_and_is_drawn():
    few = oe.run(
        dataclasses.replace(SMALL, evals=1, dropouts=(0.0,), widths=(4,), epochs=1), device="cpu", progress=False
    )
    assert not any(claim.holds for claim in oe.claims(few))
    assert all(draw(few) for draw in (oe.plot, oe.plot_speedup, oe.plot_gap, oe.plot_power_law, oe.plot_sizes))


def invented(slow=4.0, gap=(0.0, 0.3), costs=(0.01, -0.03), law=power_law, curves=None):
    """A result with power laws for curves, a given gap and cost of dropout in the two regimes."""
    steps = np.geomspace(10, 2560, 17).round().astype(int)
    plain = {"one": law(steps), "multi": law(steps / slow)}
    test = {(data, 0.0): np.stack([plain[data], plain[data] + 0.1]) for data in plain}
    test |= {(data, 0.2): test[data, 0.0] + cost for data, cost in zip(plain, costs, strict=True)}
    train = {(data, d): test[data, d] - gap[data == "multi"] for data, d in test}
    curves = curves or [[3.2, 3.1, 3.0], [3.3, 3.2, 3.1]]
    return oe.Result(
        config=SMALL,
        steps=steps,
        test=test,
        train=train,
        entropy=2.9,
        size_N=np.array([100, 200]),
        size_T=np.array([64 * 16, 32 * 16]),
        size_loss=np.array([curve[-1] for curve in curves]),
        size_steps=[np.array([16, 32, 64]), np.array([8, 16, 32])],
        size_curves=[np.array(curve) for curve in curves],
    )


def test_the_numbers_of_the_claims_are_those_of_invented_curves():
    found = {claim.id: claim.measured for claim in oe.claims(invented(slow=4, costs=(0.01, 0.02)))}
    expected = {
        "one_epoch_speedup": 4,  # the reference is the undropped arm here
        "no_overfitting": 0,
        "dropout": 0.01,
        "power_law": 1,
        "size_adjustment": 2,  # 3.1 is reached half-way
    }
    assert found == pytest.approx(expected, rel=1e-3, abs=1e-9)


@pytest.mark.parametrize(
    ("change", "refuted"),
    [
        ({}, set()),
        ({"slow": 1.4}, {"one_epoch_speedup"}),
        ({"gap": (0.04, 0.3)}, {"no_overfitting"}),
        ({"gap": (-0.04, 0.3)}, {"no_overfitting"}),
        ({"gap": (0.0, 0.1)}, {"no_overfitting"}),
        ({"costs": (-0.01, -0.03)}, {"dropout"}),
        ({"costs": (0.01, 0.03)}, {"dropout"}),
        ({"law": lambda t: 4 - 0.3 * np.tanh(2 * np.log(t / 700))}, {"power_law"}),
        ({"curves": [[3.2, 3.1, 3.0], [3.3, 3.2, 3.02]]}, {"size_adjustment"}),
        ({"curves": [[3.2, 3.1, 3.0], [3.3, 3.2, 2.9]]}, {"size_adjustment"}),
        ({"gap": (math.nan, 0.3)}, {"no_overfitting"}),
        ({"costs": (math.nan, -0.03)}, {"dropout"}),
        ({"curves": [[3.2, math.nan, 3.0], [3.3, 3.2, 3.1]]}, {"size_adjustment"}),
    ],
)
def test_every_claim_can_be_refuted(change, refuted):
    found = oe.claims(invented(**change))
    assert {claim.id for claim in found if not claim.holds} == refuted


NAN = math.nan


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: oe.iterations_to_reach([], [], 1.0), "at least 2 points, got 0"),
        (lambda: oe.iterations_to_reach([1], [2.0], 1.0), "at least 2 points, got 1"),
        (lambda: oe.iterations_to_reach([1, 2], [2.0], 1.0), r"\(2,\) and \(1,\)"),
        (lambda: oe.iterations_to_reach([[1, 2]], [[2.0, 1.0]], 1.0), r"\(1, 2\)"),
        (lambda: oe.iterations_to_reach([1, NAN], [2.0, 1.0], 1.0), "steps.*nan"),
        (lambda: oe.iterations_to_reach([1, math.inf], [2.0, 1.0], 1.0), "steps.*inf"),
        (lambda: oe.iterations_to_reach([1, 2], [2.0, NAN], 1.0), "loss.*nan"),
        (lambda: oe.iterations_to_reach([1, 2], [-math.inf, 1.0], 1.0), "loss.*-inf"),
        (lambda: oe.iterations_to_reach([0, 2], [2.0, 1.0], 1.0), "steps.*positive.*0.0"),
        (lambda: oe.iterations_to_reach([-3, 2], [2.0, 1.0], 1.0), "steps.*positive.*-3.0"),
        (lambda: oe.iterations_to_reach([1, 3, 2], [2.0, 1.0, 0.0], 1.0), r"above the last.*3.0, 2.0"),
        (lambda: oe.iterations_to_reach([1, 1], [2.0, 1.0], 1.0), r"above the last.*1.0, 1.0"),
        (lambda: oe.iterations_to_reach([1, 2], [2.0, 1.0], NAN), "target.*nan"),
        (lambda: oe.speedup([1, 2], [2.0, NAN], [1, 2], [2.0, 1.0]), "loss.*nan"),
        (lambda: oe.speedup([1, 2], [2.0, 1.0], [2, 1], [2.0, 1.0]), r"2.0, 1.0"),
        (lambda: oe.speedup([1], [2.0], [1, 2], [2.0, 1.0]), "got 1"),
        (lambda: oe.speedup([1, 2], [2.0, 1.0], [1, 2], [2.0, 1.0], cost_ref=0.0), "cost_ref.*0.0"),
        (lambda: oe.speedup([1, 2], [2.0, 1.0], [1, 2], [2.0, 1.0], cost_new=-1.0), "cost_new.*-1.0"),
        (lambda: oe.fit_power_law([1, 2, 3], [3.0, 2.0, 1.0]), "at least 4 points, got 3"),
        (lambda: oe.fit_power_law([1, 2, 3, 4], [3.0, 2.0, 1.0, NAN]), "loss.*nan"),
        (lambda: oe.fit_power_law([1, 2, 4, 3], [3.0, 2.0, 1.0, 0.5]), "4.0, 3.0"),
        (lambda: oe.adjust_size(0, 1), "params.*0"),
        (lambda: oe.adjust_size(1, -2.0), "tokens.*-2.0"),
        (lambda: oe.adjust_size(1, 1, NAN), "ratio.*nan"),
        (lambda: oe.adjust_size(math.inf, 1), "params.*inf"),
        (lambda: oe.Config(lrs=()), r"lrs.*\(\)"),
        (lambda: oe.Config(lrs=(0.0, 0.1)), "lrs.*0.0"),
        (lambda: oe.Config(lrs=(0.2, 0.1)), r"lrs.*\(0.2, 0.1\)"),
        (lambda: oe.Config(size_lrs=(0.1, math.inf)), "size_lrs.*inf"),
        (lambda: oe.Config(size_lrs=(NAN,)), "size_lrs.*nan"),
        (lambda: oe.Config(dropouts=(0.2, 0.5)), r"dropouts.*0\.2"),
        (lambda: oe.Config(dropouts=(0.0, 1.0)), r"dropouts.*1\.0"),
        (lambda: oe.Config(widths=(0, 8)), "widths.*0"),
        (lambda: oe.Config(widths=(8, 8)), r"widths.*\(8, 8\)"),
        (lambda: oe.Config(widths=()), r"widths.*\(\)"),
        (lambda: oe.Config(batch=200, dataset=10), "100 tokens, got 200"),
        (lambda: oe.Config(size_budget_tokens=20), "size_budget_tokens.*width 128.*20"),
        (lambda: oe.Config(vocab=1), "vocab.*1"),
        (lambda: oe.Config(zipf=-1.0), "zipf.*-1.0"),
    ],
)
def test_bad_input_is_refused_with_its_value(call, match):
    with refuses(ValueError, match=match):
        call()
