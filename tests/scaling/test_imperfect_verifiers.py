"""Resampling against the process run attempt by attempt, programs against an interpreter, counts against loops."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from overparam.core import compute
from overparam.scaling import imperfect_verifiers as iv
from overparam.scaling.imperfect_verifiers import experiment as experiment_module
from tests.conftest import refuses

SMALL = iv.Config(tasks=40, samples=60, max_length=3)

# A problem as counts of correct, falsely accepted and rejected samples, not all zero.
PROBLEM = st.tuples(*[st.integers(0, 4)] * 3).filter(any)
PROBLEMS = st.lists(PROBLEM, min_size=1, max_size=6)


def exact(problems):
    c, f = ([Fraction(p[i], sum(p)) for p in problems] for i in (0, 1))
    return c, f, [float(x) for x in c], [float(x) for x in f]


def process(c, f, k):
    """Every problem's chances of each end, and its expected samples, attempt by attempt."""
    ends, samples = [Fraction(0)] * 3, Fraction(0)
    for right, wrong in zip(c, f, strict=True):
        still = Fraction(1)
        for _ in range(k):
            samples += still
            ends[0] += still * right
            ends[1] += still * wrong
            still *= 1 - right - wrong
        ends[2] += still
    return [float(end / len(c)) for end in ends], float(samples / len(c))


# --- Resampling ------------------------------------------------------------------------------------------------


@given(problems=PROBLEMS, k=st.integers(0, 12), cost=st.floats(0, 5), sample_cost=st.floats(0, 0.5))
@settings(max_examples=30)
def test_outcome_and_utility_are_those_of_the_process_run_attempt_by_attempt(problems, k, cost, sample_cost):
    c, f, cs, fs = exact(problems)
    (accuracy, wrong, abstain), samples = process(c, f, k)
    outcome = iv.resample(cs, fs, k)
    np.testing.assert_allclose([float(x) for x in outcome], [accuracy, wrong, abstain], atol=1e-12)
    worth = accuracy - cost * wrong - sample_cost * samples
    assert float(iv.utility(cs, fs, k, cost=cost, sample_cost=sample_cost)) == pytest.approx(worth, abs=1e-12)


@given(problems=PROBLEMS, attempts=st.lists(st.integers(0, 2000), min_size=1, max_size=5))
@settings(max_examples=20)
def test_more_attempts_never_lower_accuracy_nor_pass_the_ceiling_and_the_ends_sum_to_one(problems, attempts):
    _, _, c, f = exact(problems)
    outcome = iv.resample(c, f, sorted(attempts))
    assert (outcome.accuracy.diff() >= -1e-12).all()
    assert float(outcome.accuracy.max()) <= iv.ceiling(c, f) + 1e-12
    torch.testing.assert_close(sum(outcome), torch.ones(len(attempts), dtype=torch.float64))
    assert float(iv.resample(c, f, 10**6).accuracy) == pytest.approx(iv.ceiling(c, f), abs=1e-12)


def test_the_ceiling_is_a_mean_of_ratios_and_a_hopeless_problem_counts_as_zero():
    c, f = [0.8, 0.1, 0.0], [0.0, 0.3, 0.0]
    assert iv.ceiling(c, f) == pytest.approx((1 + 0.25 + 0) / 3)
    assert iv.ceiling(c, f) != pytest.approx(0.9 / 1.2)
    assert iv.ceiling([0.0], [0.0]) == 0


def test_the_share_is_pooled_and_not_a_mean_of_ratios():
    c, f = [0.8, 0.1, 0.0], [0.0, 0.3, 0.0]
    assert iv.false_positive_share(c, f) == pytest.approx(0.3 / 1.2)
    assert iv.false_positive_share(c, f) != pytest.approx((0 + 0.75) / 2)


@given(problems=PROBLEMS, j=st.integers(1, 12))
@settings(max_examples=30)
def test_precision_is_what_the_process_accepts_at_one_attempt(problems, j):
    c, f, cs, fs = exact(problems)
    (right, wrong, _), (before, wrong_before, _) = process(c, f, j)[0], process(c, f, j - 1)[0]
    measured = float(iv.precision_at_attempt(cs, fs, j))
    if any(x + y and x + y < 1 for x, y in zip(c, f, strict=True)) or (
        j == 1 and any(map(sum, zip(c, f, strict=True)))
    ):
        accepted = right + wrong - before - wrong_before
        assert measured == pytest.approx((right - before) / accepted, abs=1e-4)
    else:
        assert math.isnan(measured)


def test_equal_problems_have_one_precision_and_easy_pure_ones_a_falling_one():
    j = torch.arange(1, 60)
    same = iv.precision_at_attempt([0.2] * 5, [0.05] * 5, j)
    torch.testing.assert_close(same, torch.full(j.shape, 0.8, dtype=torch.float64))
    falling = iv.precision_at_attempt([0.9, 0.3, 0.01], [0.0, 0.1, 0.1], j)
    assert (falling.diff() < 0).all()
    assert float(iv.precision_at_attempt([0.9, 0.01], [0.0, 0.03], 10**6)) == pytest.approx(0.25)


@given(problems=PROBLEMS, cost=st.sampled_from([0.0, 0.5, 1.0, 3.0]), sample_cost=st.sampled_from([0.0, 0.01, 0.2]))
@settings(max_examples=20)
def test_the_optimum_is_the_first_best_of_all_tried(problems, cost, sample_cost):
    c, f, cs, fs = exact(problems)
    worth = [0.0]
    still = [Fraction(1)] * len(c)
    for _ in range(25):
        gains = [a * (x - Fraction(cost) * y - Fraction(sample_cost)) for a, x, y in zip(still, c, f, strict=True)]
        worth.append(worth[-1] + float(sum(gains)) / len(c))
        still = [a * (1 - x - y) for a, x, y in zip(still, c, f, strict=True)]
    best = iv.optimal_attempts(cs, fs, cost=cost, sample_cost=sample_cost, max_attempts=25)
    assert worth[best] == pytest.approx(max(worth), abs=1e-11)
    assert best == 0 or max(worth[:best]) < max(worth) - 1e-13


def test_optima_known_by_hand():
    assert iv.optimal_attempts([0.5, 0.01], [0.0, 0.2]) == 3
    assert iv.optimal_attempts([0.2] * 3, [0.15] * 3, cost=2) == 0
    assert iv.optimal_attempts([0.2], [0.1], cost=2) == 0  # worth nothing at any number: the smallest
    assert iv.optimal_attempts([1.0, 0.5], [0.0, 0.5], cost=0.5) == 1  # a second attempt has nothing to do
    assert iv.optimal_attempts([1e-3], [0.0], max_attempts=50) == 50  # the cap, not an optimum
    assert iv.optimal_attempts([0.0], [0.0], sample_cost=0.1) == 0


def test_everything_that_passes_at_once_and_nothing_that_ever_does():
    outcome = iv.resample([1.0, 0.0], [0.0, 0.0], [0, 1, 50])
    assert outcome.accuracy.tolist() == [0, 0.5, 0.5]
    assert outcome.abstain.tolist() == [1, 0.5, 0.5]
    assert iv.utility([0.0], [0.0], 7, sample_cost=0.5) == -3.5
    assert math.isnan(iv.precision_at_attempt([0.0], [0.0], 1))


# --- Programs --------------------------------------------------------------------------------------------------


def interpret(kinds, guards, x, m):
    for kind, guard in zip(kinds, guards, strict=True):
        if x >= guard:
            x = [(x + 1) % m, (x + 5) % m, m - 1 - x, 2 * x % m, abs(x - m // 3), (x ^ 1) % m][kind]
    return x


@given(m=st.integers(8, 70), length=st.integers(1, 5), seed=st.integers(0, 99))
@settings(max_examples=20)
def test_programs_run_as_an_interpreter_runs_them(m, length, seed):
    generator = compute.generator(seed)
    kinds = torch.randint(iv.KINDS, (4, length), generator=generator)
    guards = torch.randint(m + 1, (4, length), generator=generator)
    outputs = iv.execute(kinds, guards, iv.operations(m))
    assert outputs.tolist() == [
        [interpret(k, a, x, m) for x in range(m)] for k, a in zip(kinds.tolist(), guards.tolist(), strict=True)
    ]


def test_a_guard_of_the_modulus_is_the_identity_and_one_of_zero_the_whole_operation():
    table = iv.operations(16)
    assert table.shape == (6, 17, 16)
    assert (table[:, 16] == torch.arange(16)).all()
    assert table[3, 0].tolist() == [2 * x % 16 for x in range(16)]
    assert (table >= 0).all()
    assert (table < 16).all()


def test_batches_of_programs_keep_their_shape():
    table = iv.operations(8)
    kinds, guards = torch.zeros(2, 3, 2, dtype=torch.long), torch.zeros(2, 3, 2, dtype=torch.long)
    assert iv.execute(kinds, guards, table).shape == (2, 3, 8)
    assert iv.execute(kinds[0, 0], guards[0, 0], table).tolist() == [2, 3, 4, 5, 6, 7, 0, 1]


def test_tasks_change_something_and_end_in_identities():
    table = iv.operations(8)
    tasks = iv.draw_tasks(3000, table, min_length=2, generator=compute.generator(0))
    assert not (iv.execute(tasks.kinds, tasks.guards, table) == torch.arange(8)).all(-1).any()
    real = tasks.guards < 8
    assert set(real.sum(-1).tolist()) == {2, 3, 4, 5}
    assert (real.int().diff(dim=-1) <= 0).all()
    assert set(tasks.guards[real].tolist()) == set(range(5))
    assert set(tasks.kinds[real].tolist()) == set(range(6))
    assert torch.equal(tasks.order.sort(-1).values, torch.arange(8).expand(3000, 8))
    assert float(tasks.difficulty.mean()) == pytest.approx(0.5, abs=0.02)


def test_what_is_not_mastered_sticks_and_the_rest_slips_in_proportion():
    u = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)
    assert iv.slip_rates(u, 0.2).tolist() == pytest.approx([0.97, 0.4 * 0.2 / 0.35, 0.4 * 0.2 / 0.35])
    assert iv.slip_rates(u, 0.25, slip=1.0, stuck=0.5).tolist() == pytest.approx([0.5, 0.5, 1 / 1.4])
    assert iv.slip_rates(u[2:], 0.3, slip=1.0).tolist() == pytest.approx([6 / 7])
    assert iv.slip_rates(u[:1] + 0.85, 0.9, slip=1.0).tolist() == [1.0]


@pytest.fixture(scope="module")
def tasks():
    return iv.draw_tasks(40, iv.operations(), max_length=3, generator=compute.generator(0))


def test_a_model_that_never_slips_writes_the_reference(tasks):
    kinds, guards = iv.write_programs(tasks, torch.zeros(tasks.kinds.shape), 3, generator=compute.generator(1))
    assert torch.equal(kinds, tasks.kinds.expand_as(kinds))
    assert torch.equal(guards, tasks.guards.expand_as(guards))


def test_slips_mistake_the_operation_or_move_its_guard_and_leave_identities_alone(tasks):
    always = torch.ones(tasks.kinds.shape)
    real = (tasks.guards < 64).expand(900, -1, -1)
    kinds, guards = iv.write_programs(tasks, always, 900, gross=0.0, generator=compute.generator(1))
    assert torch.equal(kinds, tasks.kinds.expand_as(kinds))
    assert (guards[~real] == 64).all()
    inner = real & (tasks.guards >= 3) & (tasks.guards <= 61)
    moves = (guards - tasks.guards)[inner]
    assert set(moves.tolist()) == {-3, -2, -1, 1, 2, 3}
    assert float(moves.double().mean()) == pytest.approx(0, abs=0.05)
    assert (guards >= 0).all()
    kinds, guards = iv.write_programs(tasks, always, 900, gross=1.0, generator=compute.generator(1))
    assert torch.equal(guards, tasks.guards.expand_as(guards))
    drawn = kinds[real].bincount(minlength=6).double()
    torch.testing.assert_close(drawn / drawn.sum(), torch.full((6,), 1 / 6).double(), atol=0.01, rtol=0)


def test_slips_come_at_the_rate_given_and_are_gross_at_theirs(tasks):
    rates = torch.full(tasks.kinds.shape, 0.3)
    kinds, guards = iv.write_programs(tasks, rates, 2000, gross=0.4, generator=compute.generator(2))
    inner = (tasks.guards >= 3) & (tasks.guards <= 61)
    moved = (guards != tasks.guards)[:, inner].double().mean()
    mistaken = (kinds != tasks.kinds)[:, inner].double().mean()
    assert float(moved) == pytest.approx(0.3 * 0.6, abs=0.005)
    assert float(mistaken) == pytest.approx(0.3 * 0.4 * 5 / 6, abs=0.005)


@given(seed=st.integers(0, 99))
@settings(max_examples=15)
def test_tests_are_counted_until_the_first_that_fails(seed):
    generator = compute.generator(seed)
    reference = torch.randint(9, (3, 8), generator=generator)
    outputs = torch.where(torch.rand(5, 3, 8, generator=generator) < 0.15, 9, reference)
    order = torch.rand(3, 8, generator=generator).argsort(-1)
    passed = iv.tests_passed(outputs, reference, order)
    for s, t in np.ndindex(5, 3):
        agrees = [bool(outputs[s, t, x] == reference[t, x]) for x in order[t]]
        assert int(passed[s, t]) == [*agrees, False].index(False)


# --- The run ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def result():
    return iv.run(SMALL, device="cpu", progress=False)


def test_the_run_counts_what_an_interpreter_counts():
    config = dataclasses.replace(SMALL, tasks=4, samples=12, modulus=16, tests=3, weakness=(0.1, 0.5), seed=3)
    found = iv.run(config, device="cpu", progress=False)
    first, second = (compute.generator(seed) for seed in compute.seeds(3, 2))
    drawn = iv.draw_tasks(4, iv.operations(16), max_length=3, generator=first)
    for model, weakness in enumerate(config.weakness):
        rates = iv.slip_rates(drawn.difficulty, weakness)
        kinds, guards = (x.tolist() for x in iv.write_programs(drawn, rates, 12, generator=second))
        for t in range(4):
            inputs = drawn.order[t].tolist()
            truth = [interpret(drawn.kinds[t].tolist(), drawn.guards[t].tolist(), x, 16) for x in inputs]
            runs = [[interpret(kinds[s][t], guards[s][t], x, 16) for x in inputs] for s in range(12)]
            correct = sum(run == truth for run in runs) / 12
            assert float(found.correct[model, t]) == pytest.approx(correct)
            passing = sum(run[:3] == truth[:3] for run in runs) / 12
            assert float(found.false_positive[model, t]) == pytest.approx(passing - correct)


def test_blocks_and_their_size_leave_the_rates_alike(monkeypatch, result):
    monkeypatch.setattr(experiment_module, "BLOCK", 300)
    other = iv.run(dataclasses.replace(SMALL, samples=300), device="cpu", progress=False)
    assert other.correct.shape == result.correct.shape == (6, 40)
    torch.testing.assert_close(other.correct, result.correct, atol=0.35, rtol=0)


@pytest.mark.parametrize(("programs", "together"), [(1, 3), (600, 9), (10**6, 16_665)])
def test_how_many_programs_a_device_runs_at_once_changes_nothing(monkeypatch, programs, together):
    monkeypatch.setattr(experiment_module, "BLOCK", 3 * SMALL.samples)  # three tasks, of which one is left at the end
    monkeypatch.setattr(experiment_module, "GPU_BLOCK", programs)
    cpu, gpu = (experiment_module.tasks_at_once(SMALL.samples, torch.device(name)) for name in ("cpu", "cuda"))
    assert (cpu, gpu) == ((3, 3), (3, together))
    blocks = iv.run(SMALL, device="cpu", progress=False)
    monkeypatch.setattr(experiment_module, "tasks_at_once", lambda *_: gpu)
    at_once = iv.run(SMALL, device="cpu", progress=False)
    assert torch.equal(at_once.correct, blocks.correct)
    assert torch.equal(at_once.false_positive, blocks.false_positive)


def test_tests_are_nested_and_all_of_them_let_nothing_wrong_pass(result):
    assert list(result.more_tests) == [1, 2, 4, 8, 16, 32, 64]
    rates = torch.stack(list(result.more_tests.values()))
    assert (rates.diff(dim=0) <= 0).all()
    assert (rates[-1] == 0).all()
    same = iv.run(dataclasses.replace(SMALL, tests=16), device="cpu", progress=False)
    assert torch.equal(same.false_positive, result.more_tests[16])
    assert torch.equal(same.correct, result.correct)


def test_a_small_modulus_has_its_own_numbers_of_tests():
    tiny = iv.run(dataclasses.replace(SMALL, modulus=8, tests=8), device="cpu", progress=False)
    assert list(tiny.more_tests) == [1, 2, 4, 8]
    assert (tiny.false_positive == 0).all()


def test_claims_are_the_briefs_and_none_holds_on_nothing(result):
    ids = "accuracy_vs_false_positives ceiling few_attempts perfect_verifier precision_falls more_tests"
    assert [claim.id for claim in iv.claims(result)] == ids.split()
    nothing = result.correct * math.nan
    broken = dataclasses.replace(
        result, correct=nothing, false_positive=nothing, more_tests=dict.fromkeys(result.more_tests, nothing)
    )
    assert not any(claim.holds for claim in iv.claims(broken))
    empty = dataclasses.replace(SMALL, tasks=1, samples=1, weakness=(0.9, 1.0), modulus=8, tests=1)
    assert len(iv.claims(iv.run(empty, device="cpu", progress=False))) == 6


def test_full_scale_takes_two_steps():
    found = iv.run(dataclasses.replace(iv.FULL, tasks=2, weakness=(0.02, 0.35)), device="cpu", progress=False)
    assert found.correct.shape == (2, 2)
    torch.testing.assert_close(found.correct * 20_000, (found.correct * 20_000).round())


# --- dtype and refusals ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_inputs_decide_the_dtype_and_attempts_the_shape(dtype):
    c, f = torch.tensor([0.9, 0.001], dtype=dtype), torch.tensor([0.1, 0.002], dtype=dtype)
    outcome = iv.resample(c, f, [[1, 2], [3, 4000]])
    found = [
        *outcome,
        iv.utility(c, f, torch.tensor([[1, 2], [3, 4]])),
        iv.precision_at_attempt(c, f, [[1, 2], [3, 4]]),
    ]
    assert {x.dtype for x in found} == {dtype}
    assert {x.shape for x in found} == {(2, 2)}
    assert float(outcome.accuracy[1, 1]) == pytest.approx(0.5 * (0.9 + (1 - 0.997**4000) / 3), rel=1e-5)
    assert iv.resample(c.numpy(), f.numpy(), np.int64(3)).abstain.shape == ()
    assert iv.resample([0, 1], [1, 0], 3).accuracy.dtype == torch.float64


TABLE = iv.operations(8)
ONE = torch.zeros(1, dtype=torch.long)
TASKS = iv.draw_tasks(2, TABLE, generator=compute.generator(0))
SURE = torch.ones(TASKS.kinds.shape)
OPEN = [0.5, 0.1], [0.1, 0.2]


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: iv.resample([], [], 1), r"correct.*\(0,\)"),
        (lambda: iv.resample([[0.1]], [[0.1]], 1), r"correct.*\(1, 1\)"),
        (lambda: iv.resample(0.1, 0.1, 1), r"correct.*\(\)"),
        (lambda: iv.resample([0.1, 0.2], [0.1], 1), r"correct.*\(2,\) and \(1,\)"),
        (lambda: iv.resample([-0.1], [0.1], 1), r"correct.*-0\.1"),
        (lambda: iv.resample([0.1], [-0.2], 1), r"false_positive.*-0\.2"),
        (lambda: iv.resample([math.nan], [0.1], 1), "correct.*nan"),
        (lambda: iv.resample([0.1], [math.inf], 1), "false_positive.*inf"),
        (lambda: iv.resample([0.9], [0.2], 1), r"at most 1.*1\.1"),
        (lambda: iv.resample(*OPEN, -1), "attempts.*-1"),
        (lambda: iv.resample(*OPEN, [1, -2]), "attempts.*-2"),
        (lambda: iv.resample(*OPEN, 2.5), r"attempts.*2\.5"),
        (lambda: iv.resample(*OPEN, np.array([1.5])), r"attempts.*1\.5"),
        (lambda: iv.resample(*OPEN, True), "attempts.*True"),
        (lambda: iv.ceiling([0.9], [0.2]), r"at most 1.*1\.1"),
        (lambda: iv.ceiling([], []), r"correct.*\(0,\)"),
        (lambda: iv.precision_at_attempt(*OPEN, 0), "attempt.*0"),
        (lambda: iv.precision_at_attempt(*OPEN, 1.0), r"attempt.*1\.0"),
        (lambda: iv.precision_at_attempt([-0.1], [0.1], 1), r"correct.*-0\.1"),
        (lambda: iv.false_positive_share([0.0, 0.0], [0.0, 0.0]), "passes.*0"),
        (lambda: iv.false_positive_share([math.nan], [0.0]), "correct.*nan"),
        (lambda: iv.utility(*OPEN, 1, cost=-1.0), r"cost.*-1\.0"),
        (lambda: iv.utility(*OPEN, 1, cost=math.inf), "cost.*inf"),
        (lambda: iv.utility(*OPEN, 1, sample_cost=-0.5), r"sample_cost.*-0\.5"),
        (lambda: iv.utility(*OPEN, -3), "attempts.*-3"),
        (lambda: iv.optimal_attempts(*OPEN, cost=math.nan), "cost.*nan"),
        (lambda: iv.optimal_attempts(*OPEN, sample_cost=-1.0), r"sample_cost.*-1\.0"),
        (lambda: iv.optimal_attempts(*OPEN, max_attempts=-1), "max_attempts.*-1"),
        (lambda: iv.optimal_attempts(*OPEN, max_attempts=1.5), r"max_attempts.*1\.5"),
        (lambda: iv.operations(7), "modulus.*7"),
        (lambda: iv.execute(ONE, ONE[:0], TABLE), r"\(1,\) and \(0,\)"),
        (lambda: iv.execute(ONE[:0], ONE[:0], TABLE), r"above 0.*\(0,\)"),
        (lambda: iv.execute(ONE + 6, ONE, TABLE), r"kinds.*0\.\.5, got 6"),
        (lambda: iv.execute(ONE, ONE - 1, TABLE), r"guards.*0\.\.8, got -1"),
        (lambda: iv.execute(ONE, ONE + 9, TABLE), r"guards.*0\.\.8, got 9"),
        (lambda: iv.draw_tasks(0, TABLE), "count.*0"),
        (lambda: iv.draw_tasks(1, TABLE, min_length=3, max_length=2), "min_length.*2, got 3"),
        (lambda: iv.slip_rates(torch.rand(2), 1.5), r"weakness.*1\.5"),
        (lambda: iv.slip_rates(torch.rand(2), 0.5, stuck=-0.1), r"stuck.*-0\.1"),
        (lambda: iv.write_programs(TASKS, SURE, 0), "samples.*0"),
        (lambda: iv.write_programs(TASKS, SURE, 1, gross=1.1), r"gross.*1\.1"),
        (lambda: iv.Config(modulus=7), "modulus.*7"),
        (lambda: iv.Config(tests=65), "tests.*64, got 65"),
        (lambda: iv.Config(tests=0), "tests.*0"),
        (lambda: iv.Config(min_length=6), "min_length.*5, got 6"),
        (lambda: iv.Config(weakness=(0.2, 0.1)), r"weakness.*\(0\.2, 0\.1\)"),
        (lambda: iv.Config(weakness=(0.2,)), r"weakness.*\(0\.2,\)"),
        (lambda: iv.Config(weakness=(0.2, 1.2)), r"weakness.*1\.2"),
        (lambda: iv.Config(slip=1.5), r"slip.*1\.5"),
        (lambda: iv.Config(cost=-1.0), r"cost.*-1\.0"),
    ],
)
def test_bad_input_is_refused_with_its_value(call, match):
    with refuses(ValueError, match=match):
        call()
