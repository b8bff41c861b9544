"""The pieces of AutoNumerics-Zero against formulas, finite differences, brute force, scipy and mpmath."""

from __future__ import annotations

import dataclasses
import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares, linprog

from overparam.numerics import autonumerics_zero as az
from tests.conftest import refuses

SMALL = az.Config(population=6, children=8, generations=3, max_ops=5, random_evaluations=12, float_degrees=(3, 6, 8))
X = np.linspace(0.0, 1.0, 41)
CONTINUED = (("div", -1, 0), ("add", 0, 1), ("sub", 2, -2), ("div", -3, 3), ("add", 4, -4))


def rng(seed=0):
    return np.random.default_rng(seed)


def program(*code):
    return az.Program(code)


SEEDS, SIZES = st.integers(0, 9999), st.integers(1, 8)


def grown(seed, size):
    return az.random_program(rng(seed), size, grown=True)


# --- Programs


def test_a_program_counts_its_instructions_and_constants():
    p = program(("mul", -1, 0), ("add", 1, -2), ("div", 2, 2))
    assert (p.ops, p.constants) == (3, 2)
    assert program(("mul", 0, 0)).constants == 0


def test_evaluation_is_the_formula_and_broadcasts():
    p = program(("mul", -1, 0), ("sub", 1, -2), ("div", 2, 0), ("add", 3, 3))
    x, c = X[1:] + np.zeros((3, 1)), rng().standard_normal((4, 1, 2))
    expected = 2 * (c[..., :1] * x - c[..., 1:]) / x
    np.testing.assert_allclose(az.evaluate(p, x, c), expected)
    assert az.evaluate(p, x, c).shape == (4, 3, 40)
    assert az.evaluate(program(("add", -1, -2)), X, [1.0, 2.0]).tolist() == [3.0] * 41


def test_every_operation_is_in_the_precision_of_x():
    p, c = program(("add", -1, 0), ("sub", 1, -2)), np.array([1e8, 1e8])
    assert az.evaluate(p, X, c)[20] == 0.5
    single = az.evaluate(p, X.astype(np.float32), c)
    assert single.dtype == np.float32
    assert single[20] == 0


def test_an_infinity_inside_a_program_is_legal():
    p = program(("div", -1, 0), ("add", 1, -2), ("div", -3, 2), ("add", 3, -4))
    value = az.evaluate(p, np.array([0.0, 1.0]), np.array([1.0, 1.0, 6.0, 5.0]))
    assert value.tolist() == [5.0, 8.0]
    assert az.max_error(program(("div", -1, 0)), np.array([1.0])) == math.inf


@given(seed=SEEDS, size=SIZES)
@settings(max_examples=40)
def test_the_jacobian_is_that_of_central_differences(seed, size):
    p = grown(seed, size)
    c = rng(seed).uniform(0.5, 2, (3, p.constants))
    x = np.linspace(0.3, 1, 7)
    f, J = az.evaluate_jac(p, x, c)
    np.testing.assert_array_equal(f, az.evaluate(p, x, c))
    assert J.shape == (3, 7, p.constants)
    for k in range(p.constants):
        h = 1e-5 * np.eye(p.constants)[k]
        above, below = az.evaluate(p, x, c + h), az.evaluate(p, x, c - h)
        smooth = np.isfinite(above) & np.isfinite(below) & (np.abs(f) < 1e2) & (np.abs(J[:, :, k]) < 1e2)
        difference = (above[smooth] - below[smooth]) / 2e-5
        np.testing.assert_allclose(J[:, :, k][smooth], difference, rtol=1e-2, atol=1e-5)


@pytest.mark.parametrize("degree", [1, 2, 5])
def test_horner_is_the_polynomial(degree):
    c = rng().standard_normal(degree + 1)
    p = az.horner(degree)
    assert (p.ops, p.constants) == (2 * degree, degree + 1)
    np.testing.assert_allclose(az.evaluate(p, X, c), np.polyval(c, X), atol=1e-12)


@pytest.mark.parametrize(("n", "m"), [(0, 1), (0, 3), (1, 1), (2, 1), (1, 3), (3, 3)])
def test_a_rational_is_a_polynomial_over_a_monic_one(n, m):
    c = rng().uniform(1, 2, n + 1 + m)
    p = az.rational(n, m)
    assert (p.ops, p.constants) == (2 * n + 2 * m, n + m + 1)
    expected = np.polyval(c[: n + 1], X) / np.polyval([1, *c[n + 1 :]], X)
    np.testing.assert_allclose(az.evaluate(p, X, c), expected)


@given(seed=SEEDS, size=SIZES)
@settings(max_examples=40)
def test_the_formula_is_python_for_the_same_function(seed, size):
    p = grown(seed, size)
    c = rng(seed).integers(-9, 9, p.constants).astype(float)
    text = az.to_string(p, c).replace("^", "**")
    with np.errstate(all="ignore"):
        value = eval(text, {"x": X[1:]}) + 0 * X[1:]
        np.testing.assert_allclose(value, az.evaluate(p, X[1:], c), rtol=1e-9)


def test_the_formula_names_constants_that_have_no_value():
    assert az.to_string(az.rational(1, 1)) == "(c1*x + c2)/(x + c3)"
    assert az.to_string(program(("add", -1, 0), ("mul", 1, 1)), [2.5]) == "(2.5 + x)^2"


# --- Canonical form


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ([("add", 0, -1)], [("add", -1, 0)]),
        ([("sub", 0, -1)], [("add", -1, 0)]),
        ([("div", 0, -1)], [("mul", -1, 0)]),
        ([("sub", -1, 0)], [("sub", -1, 0)]),
        ([("mul", 0, 0), ("add", 0, -1)], [("add", -1, 0)]),  # dead code
        ([("add", -1, -2), ("mul", 1, 0)], [("mul", -1, 0)]),  # constants alone
        ([("add", -1, 0), ("add", -2, 1)], [("add", -1, 0)]),
        ([("mul", -1, 0), ("div", 1, -2)], [("mul", -1, 0)]),
        ([("sub", -1, 0), ("sub", 1, -2)], [("sub", -1, 0)]),
        ([("div", -1, 0), ("mul", 1, -2)], [("div", -1, 0)]),
        ([("sub", 0, 0), ("add", 1, 0)], [("add", -1, 0)]),
        ([("div", 0, 0)], None),
        ([("add", -1, -2)], None),
        ([("mul", 0, 0), ("sub", 1, 1)], None),
        ([("mul", 0, 0), ("mul", 0, 0), ("mul", 1, 2)], [("mul", 0, 0), ("mul", 1, 1)]),
        ([("add", -1, 0), ("add", 0, -2), ("mul", 1, 2)], [("add", -1, 0), ("mul", 1, 1)]),
    ],
)
def test_one_representative_stands_for_all_of_a_structure(code, expected):
    form = az.canonical(az.Program(tuple(code)))
    assert form == (None if expected is None else az.Program(tuple(expected)))


@given(seed=SEEDS, size=SIZES)
@settings(max_examples=60)
def test_a_canonical_form_is_its_own_and_no_longer(seed, size):
    p = grown(seed, size)
    form = az.canonical(p)
    if form is None:
        assert az.signature(p) == "constant"
        return
    assert az.canonical(form) == form
    assert az.signature(form) == az.signature(p)
    assert form.ops <= p.ops


@given(seed=st.integers(0, 999), n=st.integers(1, 7))
@settings(max_examples=30)
def test_the_order_of_commuting_operands_does_not_matter(seed, n):
    p, draw = grown(seed, n), rng(seed)
    turned = [(op, b, a) if op in ("add", "mul") and draw.random() < 0.5 else (op, a, b) for op, a, b in p.code]
    assert az.signature(az.Program(tuple(turned))) == az.signature(p)


def test_the_canonical_form_can_compute_what_the_program_computes():
    c = np.array([2.0, 3.0, 5.0])
    p = program(("sub", 0, -1), ("div", 1, -2), ("add", -3, 2), ("mul", 3, 3))
    form = az.canonical(p)
    assert az.to_string(form) == "(c3 + c2*(c1 + x))^2"
    merged = np.array([-c[0], 1 / c[1], c[2]])
    np.testing.assert_allclose(az.evaluate(form, X, merged), az.evaluate(p, X, c))


def test_forty_squarings_are_forty_instructions():
    p = az.Program((("mul", 0, 0), *(("mul", k, k) for k in range(1, 40))))
    assert az.canonical(p) == p


# --- Fitting


def test_the_one_one_rational_has_the_known_minimax_error():
    c, error = az.fit_constants(az.rational(1, 1), np.exp2)
    assert error == pytest.approx(8.67239e-4, rel=1e-5)
    r = az.evaluate(az.rational(1, 1), np.linspace(0, 1, 20001), c) / np.exp2(np.linspace(0, 1, 20001)) - 1
    assert np.abs(r).max() == pytest.approx(error, rel=1e-4)


@pytest.mark.parametrize("degree", [1, 2, 4, 6])
def test_minimax_polynomials_are_those_of_a_linear_program(degree):
    x = (1 - np.cos(np.linspace(0, np.pi, 801))) / 2
    A = np.vander(x, degree + 1) / np.exp2(x)[:, None]
    ones = np.ones((len(x), 1))
    found = linprog(
        [0] * (degree + 1) + [1],
        np.block([[A, -ones], [-A, -ones]]),
        np.r_[ones[:, 0], -ones[:, 0]],
        bounds=[(None, None)] * (degree + 2),
    )
    _, error = az.fit_polynomial(degree)
    assert error == pytest.approx(found.fun, rel=2e-3, abs=3e-7)  # the solver's tolerance


@pytest.mark.parametrize("degree", [3, 6, 8])
def test_a_minimax_polynomial_equioscillates_in_fifty_digits(degree):
    c, error = az.fit_polynomial(degree)
    with mpmath.workdps(50):
        xs = [mpmath.mpf(i) / 2000 for i in range(2001)]
        r = np.array([float(mpmath.polyval([mpmath.mpf(float(v)) for v in c], x) / 2**x - 1) for x in xs])
    runs = np.split(r, np.flatnonzero(np.diff(r > 0)) + 1)
    peaks = np.array([np.abs(run).max() for run in runs])
    assert len(peaks) == degree + 2
    np.testing.assert_allclose(peaks, error, rtol=3e-3, atol=5e-14)  # what double precision leaves


def test_the_baselines_within_eight_operations_are_those_of_the_literature():
    table = {name: (p.ops, error) for name, p, _, error in az.baselines(max_ops=8)}
    assert len(table) == 13
    assert max(ops for ops, _ in table.values()) == 8
    assert table["rational (1, 1)"][1] == pytest.approx(8.67e-4, rel=1e-3)
    assert table["rational (2, 1)"][1] == pytest.approx(2.50e-5, rel=2e-3)
    assert table["rational (2, 2)"][1] == pytest.approx(4.34e-7, rel=1e-3)


def test_a_fit_is_as_good_as_scipys_on_its_own_residuals():
    p = program(("div", -1, 0), ("add", 0, 1), ("add", 2, -2), ("div", -3, 3), ("add", 4, -4))
    x = np.linspace(0.001, 1, 60)
    start = np.array([20.0, -9.0, 18.0, 1.0])
    peer = least_squares(lambda c: az.evaluate(p, x, c) / np.exp2(x) - 1, start, xtol=1e-15, ftol=1e-15, gtol=1e-15)
    _, error = az.fit_constants(p, np.exp2, seed=1)
    assert error <= np.abs(peer.fun).max() * 1.01


def test_an_intermediate_infinity_at_the_end_is_polished_all_the_same():
    """A continued fraction with c/x, whose error is largest at x = 0 too."""
    p = az.Program(CONTINUED)
    c, error = az.fit_constants(p, np.exp2, seed=1)
    x = np.linspace(0, 1, 4001)
    r = az.evaluate(p, x, c) / np.exp2(x) - 1
    peaks = [np.abs(part).max() for part in np.split(r, np.flatnonzero(np.diff(r > 0)) + 1)]
    assert len(peaks) == 5
    assert abs(r[0]) == pytest.approx(error, rel=1e-3)
    np.testing.assert_allclose(peaks, error, rtol=1e-3)


def test_two_constants_that_do_the_same_thing_do_no_harm():
    p = program(("mul", -1, 0), ("add", 1, -2), ("add", 2, -3), ("mul", 3, -4))
    assert az.fit_constants(p, np.exp2)[1] == pytest.approx(az.fit_polynomial(1)[1], rel=1e-4)


def test_a_program_without_constants_has_its_error():
    c, error = az.fit_constants(program(("add", 0, 0)), np.exp2)
    assert c.shape == (0,)
    assert error == 1


def test_a_hopeless_structure_is_given_up_and_the_bar_changes_no_good_fit():
    _, plain = az.fit_constants(az.rational(1, 1), np.exp2)
    assert az.fit_constants(az.rational(1, 1), np.exp2, bar=1e-3)[1] == plain
    assert az.fit_constants(az.rational(1, 1), np.exp2, bar=1e-9)[1] > plain


def test_a_fit_works_on_another_interval_and_target():
    _, error = az.fit_constants(az.horner(2), np.cos, (0.2, 0.9))
    assert error == pytest.approx(az.fit_polynomial(2, np.cos, (0.2, 0.9))[1], rel=1e-4)


def test_ulps_are_counted_against_the_rounded_argument():
    assert az.ulp_error(program(("mul", -1, 0)), np.array([1.0]), np.positive, (0.5, 1.0)) == 0
    # A third in float32 is wrong by at most half a unit, and so is the product.
    assert 0.4 < az.ulp_error(program(("mul", -1, 0)), np.array([1 / 3]), lambda x: x / 3, (1.0, 2.0)) <= 1.5
    x = np.float32(0.3)
    one = az.ulp_error(program(("add", -1, 0)), np.array([1.0]), lambda v: 1 + v + 2.0**-23, (float(x), 0.5), 2)
    assert one == pytest.approx(1, abs=0.6)


def test_float32_keeps_the_sixth_degree_and_wastes_the_eighth():
    six, eight = (az.ulp_error(az.horner(d), az.fit_polynomial(d)[0]) for d in (6, 8))
    assert six == pytest.approx(1.26, abs=0.1)
    assert eight == pytest.approx(1.20, abs=0.1)


# --- Search


@given(seed=SEEDS, size=SIZES, room=st.integers(0, 3))
@settings(max_examples=80)
def test_a_mutation_is_a_program_of_allowed_size_with_a_slot_for_every_use(seed, size, room):
    p = grown(seed, size)
    child = az.mutate(p, rng(seed), p.ops + room)
    assert 1 <= child.ops <= p.ops + room
    uses = [j for _, a, b in child.code for j in (a, b) if j < 0]
    assert uses == [-k for k in range(1, len(uses) + 1)]
    assert child == az.mutate(p, rng(seed), p.ops + room)


def test_mutations_change_size_by_at_most_the_two_steps_they_take_unless_the_end_is_cut():
    p = az.horner(3)
    sizes = {az.mutate(p, rng(seed), 8).ops for seed in range(400)}
    assert max(sizes) == 8
    assert min(sizes) < p.ops


def test_a_program_of_one_instruction_only_grows():
    p = program(("mul", -1, 0))
    sizes = [az.mutate(p, rng(seed)).ops for seed in range(200)]
    # Back at one it is only by a second mutation that removes what the first has inserted.
    assert np.mean([size == 1 for size in sizes]) < 0.1
    assert {az.mutate(p, rng(seed), 1).ops for seed in range(50)} == {1}


@pytest.mark.parametrize("grow", [False, True])
def test_random_programs_have_every_size(grow):
    assert {az.random_program(rng(seed), 5, grown=grow).ops for seed in range(100)} == {1, 2, 3, 4, 5}


def test_what_has_grown_has_less_dead_code():
    sizes = {}
    for grow in (False, True):
        forms = [az.canonical(az.random_program(rng(seed), 8, grown=grow)) for seed in range(100)]
        sizes[grow] = sum(form.ops for form in forms if form)
    assert sizes[True] > 1.5 * sizes[False]


@given(points=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=25))
@settings(max_examples=40)
def test_ranks_are_those_of_peeling_front_after_front(points):
    F = np.array(points, dtype=float)
    ranks = az.nondominated_sort(F)
    left, rank = set(range(len(F))), 0
    while left:
        front = {i for i in left if not any((F[j] <= F[i]).all() and (F[j] < F[i]).any() for j in left)}
        assert {i for i in range(len(F)) if ranks[i] == rank} == front
        left, rank = left - front, rank + 1


def test_crowding_is_the_sum_of_the_neighbours_gaps():
    F = np.array([[0.0, 10.0], [1.0, 6.0], [3.0, 5.0], [10.0, 0.0]])
    expected = [math.inf, 3 / 10 + 5 / 10, 9 / 10 + 6 / 10, math.inf]
    assert az.crowding_distance(F).tolist() == pytest.approx(expected)
    assert az.crowding_distance(F[[2, 0, 3, 1]]).tolist() == pytest.approx([expected[i] for i in (2, 0, 3, 1)])
    assert az.crowding_distance(F[:2]).tolist() == [math.inf] * 2
    assert az.crowding_distance(F[:1]).tolist() == [math.inf]
    same = az.crowding_distance(np.ones((4, 2)))
    assert np.isfinite(same).sum() >= 1


def test_evolution_keeps_the_best_and_never_forgets():
    found = az.evolve(population=6, children=10, generations=4, max_ops=4, seed=3)
    assert found.evaluations == found.counts[-1] <= 4 + 4 * 10
    assert len(found.history) == len(found.counts) == 4
    for early, late in zip(found.history, found.history[1:], strict=False):
        assert all(late[n] <= early[n] for n in range(1, 5))
    last = found.history[-1]
    assert all(last[n + 1] <= last[n] for n in range(1, 4))
    for n, (p, c, error) in found.front.items():
        assert p.ops == n
        assert az.canonical(p) == p
        assert az.max_error(p, c) == error
        assert last[n] == min(e for m, (_, _, e) in found.front.items() if m <= n)


def test_the_search_space_of_one_operation_is_exhausted():
    best = az.random_search(evaluations=500, max_ops=1)
    evolved = az.evolve(population=4, children=4, generations=1, max_ops=1)
    assert best[1] == pytest.approx(evolved.front[1][2], rel=1e-9)
    # x + c: the constant that balances the ends of the interval.
    assert best[1] == pytest.approx(min(az.fit_constants(program((op, -1, 0)), np.exp2)[1] for op in ("add", "mul")))


# --- The experiment


def test_full_scale_takes_two_steps():
    full = dataclasses.replace(az.FULL, generations=2, children=3, random_evaluations=3)
    result = az.run(full, device="cpu", progress=False)
    assert result.evolution.history[-1].keys() == result.random.keys() == set(range(1, 13))
    assert {p.ops for _, p, _, _ in result.baselines} == {2, 4, 6, 8, 10, 12}
    verdicts = {claim.id: claim for claim in az.claims(result)}
    assert verdicts["float32_saturates"].holds


def test_claims_compare_at_equal_counts_of_operations_and_structures():
    front = {n: (az.horner(1), np.zeros(2), 0.1) for n in (4,)}
    early, late = (dict.fromkeys(range(1, 9), e) for e in (1e-5, 1e-9))
    found = az.Evolution(front, (early, late), 120, (60, 120))
    result = az.Result(
        config=az.Config(random_evaluations=60),
        evolution=found,
        random=dict.fromkeys(range(1, 9), 0.001),
        baselines=(
            ("polynomial 2", az.horner(2), np.zeros(3), 1e-4),
            ("polynomial 4", az.horner(4), np.zeros(5), 1e-7),
        ),
        real=np.array([1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-10]),
        ulps=np.array([9.0, 8.0, 7.0, 4.0, 3.0, 1.0]),
        evolved_ulps={4: 1.0},
    )
    assert az.classical_gains(result) == pytest.approx({4: 5, 5: 5, 6: 5, 7: 5, 8: 2})
    assert az.selection_gains(result) == pytest.approx(dict.fromkeys(range(4, 9), 2))
    verdicts = {claim.id: (claim.measured, claim.holds) for claim in az.claims(result)}
    assert verdicts["orders_of_magnitude_better"] == (pytest.approx(1e5), True)
    assert verdicts["better_across_op_counts"] == (pytest.approx(10**4.4), True)
    assert verdicts["float32_saturates"] == (0.25, False)


def test_a_configuration_without_the_sizes_claims_nothing():
    result = az.run(dataclasses.replace(SMALL, generations=1, max_ops=1, float_degrees=(2,)), progress=False)
    assert [claim.holds for claim in az.claims(result)] == [False] * 4


def sign_change(x):
    return x - 0.4


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: az.Program(()), r"code.*\(\)"),
        (lambda: program(("pow", 0, 0)), "op.*'pow'"),
        (lambda: program(("add", 0, 1)), "instruction 1.*got 1"),
        (lambda: program(("add", 0, 0), ("mul", 1, 3)), "instruction 2.*got 3"),
        (lambda: program(("add", 0, -2)), r"1 to C, got \[2\]"),
        (lambda: az.evaluate(az.horner(1), X, np.ones(3)), r"number 2.*\(3,\)"),
        (lambda: az.evaluate(az.horner(1), X, 1.0), r"number 2.*\(\)"),
        (lambda: az.evaluate_jac(az.horner(1), X, np.ones((2, 1))), r"2 columns.*\(2, 1\)"),
        (lambda: az.to_string(az.horner(1), [1.0]), "number 2, got 1"),
        (lambda: az.horner(0), "degree.*0"),
        (lambda: az.rational(-1, 1), "n must.*-1"),
        (lambda: az.rational(1, 0), "m must.*0"),
        (lambda: az.mutate(az.horner(2), rng(), 3), "at most 3.*4"),
        (lambda: az.mutate(az.horner(1), rng(), 0), "max_ops.*0"),
        (lambda: az.random_program(rng(), 0), "max_ops.*0"),
        (lambda: az.fit_constants(az.horner(1), np.exp2, (1.0, 1.0)), r"interval.*\(1.0, 1.0\)"),
        (lambda: az.fit_constants(az.horner(1), np.exp2, (0.0, math.nan)), "interval.*nan"),
        (lambda: az.fit_constants(az.horner(1), np.sin), "sign.*0.0"),
        (lambda: az.fit_constants(az.horner(1), sign_change), "sign.*value 0"),
        (lambda: az.fit_constants(az.horner(1), np.log), "finite.*inf"),
        (lambda: az.fit_constants(az.horner(1), np.exp2, restarts=0), "restarts.*0"),
        (lambda: az.fit_constants(az.horner(1), np.exp2, iters=0), "iters.*0"),
        (lambda: az.fit_constants(az.horner(1), np.exp2, nodes=0), "nodes.*0"),
        (lambda: az.fit_constants(az.horner(1), np.exp2, seed=-1), "seed.*-1"),
        (lambda: az.fit_constants(az.horner(1), np.exp2, bar=math.nan), "bar.*nan"),
        (lambda: az.fit_polynomial(0), "degree.*0"),
        (lambda: az.fit_polynomial(2, np.sin), "sign.*0.0"),
        (lambda: az.baselines(max_ops=0), "max_ops.*0"),
        (lambda: az.baselines(interval=(2.0, 1.0)), r"interval.*\(2.0, 1.0\)"),
        (lambda: az.max_error(az.horner(1), np.ones(1)), r"number 2.*\(1,\)"),
        (lambda: az.ulp_error(az.horner(1), np.ones(2), points=1), "points.*1"),
        (lambda: az.ulp_error(az.horner(1), np.ones(2), interval=(1.0, 0.0)), r"interval.*\(1.0, 0.0\)"),
        (lambda: az.nondominated_sort(np.array([[1.0, math.nan]])), "NaN.*nan"),
        (lambda: az.nondominated_sort(np.ones((2, 3))), "2 columns, got 3"),
        (lambda: az.crowding_distance(np.ones(3)), r"F.*\(3,\)"),
        (lambda: az.evolve(population=3), "population.*3"),
        (lambda: az.evolve(children=0), "children.*0"),
        (lambda: az.evolve(generations=0), "generations.*0"),
        (lambda: az.evolve(max_ops=0), "max_ops.*0"),
        (lambda: az.evolve(interval=(1.0, 0.0)), r"interval.*\(1.0, 0.0\)"),
        (lambda: az.random_search(evaluations=0), "evaluations.*0"),
        (lambda: az.random_search(interval=(0.0, math.inf)), "interval.*inf"),
        (lambda: az.Config(population=3), "population.*3"),
        (lambda: az.Config(generations=0), "generations.*0"),
        (lambda: az.Config(interval=(1.0, 0.0)), r"interval.*\(1.0, 0.0\)"),
        (lambda: az.Config(float_degrees=()), r"float_degrees.*\(\)"),
        (lambda: az.Config(float_degrees=(6, 6)), r"float_degrees.*\(6, 6\)"),
        (lambda: az.Config(float_degrees=(0, 6)), "float_degrees.*0"),
        (lambda: az.run(SMALL, device="no-such-device"), "no-such-device"),
    ],
)
def test_bad_input_is_refused_with_its_value(call, match):
    with refuses(ValueError, match=match):
        call()
