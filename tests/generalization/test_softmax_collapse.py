"""Losses against closed forms and torch, the projection against numpy, training against a plain loop."""

from __future__ import annotations

import copy
import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from overparam.core import compute
from overparam.generalization import softmax_collapse as sc
from tests.conftest import refuses

SMALL = sc.Config(
    p=5,
    hidden=(8, 8),
    perp_steps=12,
    plain_steps=10,
    decay_steps=14,
    collapse_p=4,
    collapse_hidden=(6,),
    float16_steps=8,
    float32_steps=12,
    float64_steps=10,
    stablemax_steps=10,
    every=5,
)


def setting(p=7, hidden=(16, 12), fraction=0.5, seed=0, dtype=torch.float32):
    pairs, labels = sc.modular_table(p)
    index = sc.split(p * p, fraction, compute.generator(seed))
    return sc.PairMLP(p, hidden, compute.generator(seed + 1)).to(dtype), pairs, labels, *index


def random_logits(n=6, c=5, scale=3.0, seed=0, dtype=torch.float64):
    generator = compute.generator(seed)
    logits = scale * torch.randn(n, c, generator=generator, dtype=dtype)
    return logits, torch.randint(c, (n,), generator=generator)


# --- StableMax --------------------------------------------------------------------------------------------------


@given(x=st.floats(-1e6, 1e6))
def test_stablemax_has_a_line_on_the_right_and_a_hyperbola_on_the_left(x):
    value = float(sc.stablemax(torch.tensor(x, dtype=torch.float64)))
    assert value == pytest.approx(x + 1 if x >= 0 else 1 / (1 - x), rel=1e-12)


def test_stablemax_has_slope_one_at_zero_from_both_sides():
    x = torch.tensor([-1e-9, 0.0, 1e-9], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(sc.stablemax(x).sum(), x)
    torch.testing.assert_close(slope, torch.ones(3, dtype=torch.float64))


@given(x=st.floats(-1e30, 1e30))
def test_stablemax_of_opposite_numbers_are_reciprocal(x):
    x = torch.tensor(x, dtype=torch.float64)
    assert float(sc.stablemax(x) * sc.stablemax(-x)) == pytest.approx(1)


def test_log_stablemax_is_the_log_of_the_ratio_of_the_definition():
    rows = [[0.0, -3.0, 2.5], [4.0, 4.0, -0.5]]
    s = [[x + 1 if x >= 0 else 1 / (1 - x) for x in row] for row in rows]
    expected = torch.tensor([[math.log(v / sum(row)) for v in row] for row in s], dtype=torch.float64)
    torch.testing.assert_close(sc.log_stablemax(torch.tensor(rows)), expected)


def test_huge_logits_leave_log_stablemax_and_its_gradient_finite():
    logits = torch.tensor([[1e30, -1e30, 0.0], [-1e30, -1e30, -1e30]], requires_grad=True)
    value = sc.log_stablemax(logits)
    torch.testing.assert_close(value[1].detach(), torch.full((3,), -math.log(3), dtype=torch.float64))
    assert value[0, 1].item() == pytest.approx(-2 * math.log(1e30), rel=1e-6)
    (gradient,) = torch.autograd.grad(value[0, 1] + value[1, 0], logits)
    assert bool(gradient.isfinite().all())


@given(seed=st.integers(0, 99), scale=st.floats(0.1, 100))
@settings(max_examples=25)
def test_probabilities_add_up_to_one_and_keep_the_order_of_the_logits(seed, scale):
    logits, _ = random_logits(seed=seed, scale=scale)
    probabilities = sc.log_stablemax(logits).exp()
    torch.testing.assert_close(probabilities.sum(1), torch.ones(6, dtype=torch.float64))
    assert torch.equal(probabilities.argsort(1), logits.argsort(1))


def test_the_gradient_of_stablemax_passes_a_numerical_check():
    logits, labels = random_logits()
    assert torch.autograd.gradcheck(lambda z: sc.stablemax_cross_entropy(z, labels), logits.requires_grad_())


# --- Softmax ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_the_softmax_loss_is_torchs(reduction):
    logits, labels = random_logits()
    expected = functional.cross_entropy(logits, labels, reduction=reduction)
    torch.testing.assert_close(sc.softmax_cross_entropy(logits, labels, torch.float64, reduction), expected)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_reductions_of_stablemax_are_those_of_its_terms(reduction):
    logits, labels = random_logits()
    terms = sc.stablemax_cross_entropy(logits, labels, "none")
    expected = getattr(np, reduction)([-float(row[y]) for row, y in zip(sc.log_stablemax(logits), labels, strict=True)])
    assert terms.shape == (6,)
    assert float(sc.stablemax_cross_entropy(logits, labels, reduction)) == pytest.approx(expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_the_loss_is_computed_in_the_precision_asked_for(dtype):
    logits, labels = random_logits(dtype=torch.float32)
    logits.requires_grad_()
    loss = sc.softmax_cross_entropy(logits, labels, dtype)
    assert loss.dtype == dtype
    assert torch.autograd.grad(loss, logits)[0].dtype == torch.float32
    assert sc.stablemax_cross_entropy(logits.to(dtype), labels).dtype == torch.float64
    assert sc.stablemax(logits.to(dtype)).dtype == dtype


@pytest.mark.parametrize(("dtype", "bits"), [(torch.float16, 11), (torch.float32, 24), (torch.float64, 53)])
def test_two_classes_collapse_at_the_number_of_bits_times_ln_2(dtype, bits):
    gap = bits * math.log(2)
    logits = torch.tensor([[0.0, -0.98 * gap], [0.0, -1.02 * gap], [-1.02 * gap, 0.0]], dtype=torch.float64)
    assert sc.softmax_collapse(logits, dtype) == pytest.approx(2 / 3)


@given(seed=st.integers(0, 99), shift=st.floats(-30, 30))
@settings(max_examples=20)
def test_collapse_does_not_depend_on_a_shift_of_the_logits(seed, shift):
    logits, _ = random_logits(n=40, scale=40.0, seed=seed)
    logits, shift = logits.round(), round(shift)
    assert sc.softmax_collapse(logits + shift) == sc.softmax_collapse(logits)


def test_a_collapsed_sample_has_no_gradient_at_its_class_and_one_elsewhere():
    logits = torch.tensor([[0.0, -20.0, -21.0], [0.0, -1.0, -2.0]], requires_grad=True)
    loss = sc.softmax_cross_entropy(logits, torch.tensor([0, 0]), reduction="none")
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert loss[0].item() == gradient[0, 0].item() == 0
    assert float(gradient[0, 1]) == pytest.approx(math.exp(-20), rel=1e-5)


def test_the_zero_gradient_share_is_over_correctly_classified_samples():
    logits = torch.tensor([[0.0, -40.0], [0.0, -1.0], [0.0, -1.0], [-40.0, 0.0]])
    labels = torch.tensor([0, 0, 0, 0])
    assert sc.zero_gradient_share(logits, labels) == pytest.approx(1 / 3)
    assert sc.zero_gradient_share(logits, labels, sc.stablemax_cross_entropy) == 0
    assert math.isnan(sc.zero_gradient_share(logits[3:], labels[3:]))


# --- perpGrad ---------------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 99), size=st.floats(1e-20, 1e3))
@settings(max_examples=30)
def test_a_projected_gradient_is_orthogonal_and_as_long_as_before(seed, size):
    generator = compute.generator(seed)
    w = torch.randn(4, 3, generator=generator)
    w.grad = size * torch.randn(4, 3, generator=generator)
    before, length = w.grad.double().numpy().copy(), float(w.grad.double().norm())
    sc.orthogonalize_gradients_([w])
    after, weights = w.grad.double().numpy(), w.double().numpy()
    assert abs((after * weights).sum()) < 1e-5 * length * np.linalg.norm(weights)
    assert np.linalg.norm(after) == pytest.approx(length, rel=1e-5)
    # It lies in the plane of the two.
    rest = before - (before * weights).sum() / (weights**2).sum() * weights
    np.testing.assert_allclose(after / np.linalg.norm(after), rest / np.linalg.norm(rest), atol=1e-5)


def test_every_tensor_is_projected_on_its_own():
    one, two = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 2.0])
    one.grad, two.grad = torch.tensor([3.0, 4.0]), torch.tensor([-4.0, 3.0])
    sc.orthogonalize_gradients_([one, two])
    torch.testing.assert_close(one.grad, torch.tensor([0.0, 5.0]))
    torch.testing.assert_close(two.grad, torch.tensor([-5.0, 0.0]))


def test_no_gradient_stays_none_and_a_tensor_of_zeros_keeps_its_own():
    none, zero = torch.ones(2), torch.zeros(2, dtype=torch.float16)
    zero.grad = torch.tensor([1.0, 2.0], dtype=torch.float16)
    sc.orthogonalize_gradients_([none, zero])
    assert none.grad is None
    assert zero.grad.tolist() == [1, 2]


@pytest.mark.parametrize("base", [torch.optim.AdamW, torch.optim.SGD])
def test_the_wrapper_is_a_projection_and_then_a_step_of_the_base(base):
    model, pairs, labels, *_ = setting(dtype=torch.float64)
    twin = copy.deepcopy(model)
    wrapped, plain = sc.OrthoGrad(model.parameters(), base, lr=0.1), base(twin.parameters(), lr=0.1)

    def closure():
        wrapped.zero_grad()
        loss = functional.cross_entropy(model(pairs), labels)
        loss.backward()
        return loss

    for _ in range(3):
        loss = wrapped.step(closure)
        plain.zero_grad()
        expected = functional.cross_entropy(twin(pairs), labels)
        expected.backward()
        for p in twin.parameters():
            w, g = p.detach().numpy(), p.grad.numpy()
            rest = g - (w * g).sum() / (w * w).sum() * w
            p.grad = torch.from_numpy(rest * np.linalg.norm(g) / np.linalg.norm(rest))
        plain.step()
        torch.testing.assert_close(loss, expected)
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(p, q, atol=1e-9, rtol=1e-9)


def test_a_schedule_and_a_restored_state_reach_the_base():
    model, pairs, labels, *_ = setting()
    optimizer = sc.OrthoGrad(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    functional.cross_entropy(model(pairs), labels).backward()
    optimizer.step()
    schedule.step()
    assert optimizer.base.param_groups[0]["lr"] == pytest.approx(0.05)
    other = sc.OrthoGrad(copy.deepcopy(model).parameters(), lr=1.0)
    other.load_state_dict(optimizer.state_dict())
    assert other.base.param_groups[0]["lr"] == other.param_groups[0]["lr"] == pytest.approx(0.05)
    assert len(other.state) == len(other.base.state) == 3


@pytest.mark.parametrize(("direction", "cosine"), [(-2.0, 1.0), (0.5, -1.0)])
def test_the_cosine_is_one_for_a_gradient_that_shrinks_nothing_but_the_loss(direction, cosine):
    tensors = [torch.tensor([1.0, 2.0]), torch.tensor([[3.0]]), torch.ones(7)]
    for w in tensors[:2]:
        w.grad = 1e-25 * direction * w
    assert sc.nlm_cosine(tensors) == pytest.approx(cosine, rel=1e-6)


def test_the_cosine_is_over_all_tensors_together_and_missing_where_there_is_no_direction():
    one, two = torch.tensor([3.0, 0.0]), torch.tensor([4.0])
    one.grad, two.grad = torch.tensor([0.0, 1.0]), torch.tensor([-1.0])
    assert sc.nlm_cosine([one, two]) == pytest.approx(4 / (5 * math.sqrt(2)))
    one.grad, two.grad = 0 * one, 0 * two
    assert math.isnan(sc.nlm_cosine([one, two]))


# --- The task and the network -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "rule"), [("add", int.__add__), ("subtract", int.__sub__), ("multiply", int.__mul__)]
)
def test_the_table_has_every_pair_once_and_its_result(operation, rule):
    pairs, labels = sc.modular_table(7, operation)
    assert pairs.tolist() == [[a, b] for a in range(7) for b in range(7)]
    assert labels.tolist() == [rule(a, b) % 7 for a, b in pairs.tolist()]


@given(n=st.integers(2, 90), fraction=st.floats(0.5, 0.99), seed=st.integers(0, 99))
@settings(max_examples=25)
def test_a_split_is_a_partition_of_the_size_asked_for(n, fraction, seed):
    one, two = sc.split(n, fraction, compute.generator(seed))
    assert len(one) == int(fraction * n)
    assert sorted([*one.tolist(), *two.tolist()]) == list(range(n))


def test_the_lookup_is_a_product_with_one_hot_vectors():
    model, pairs, *_ = setting(dtype=torch.float64)
    x = functional.one_hot(pairs, 7).flatten(1).double()
    first, second, third = model.weights
    assert [tuple(w.shape) for w in model.weights] == [(16, 14), (12, 16), (7, 12)]
    torch.testing.assert_close(model(pairs), torch.relu(torch.relu(x @ first.T) @ second.T) @ third.T)


def test_the_start_is_uniform_in_one_over_the_root_of_the_fan_in():
    model = sc.PairMLP(50, (400, 300), compute.generator(0))
    for weight in (w.detach() for w in model.weights):
        bound = weight.shape[1] ** -0.5
        assert 0.99 * bound < float(weight.abs().max()) <= bound
        assert float(weight.std()) == pytest.approx(bound / math.sqrt(3), rel=0.02)


def test_scaling_the_weights_scales_the_logits_by_the_power_of_the_depth():
    model, pairs, *_ = setting(dtype=torch.float64)
    expected = 1.5**3 * model(pairs)
    with torch.no_grad():
        for weight in model.weights:
            weight *= 1.5
    torch.testing.assert_close(model(pairs), expected)


def test_inputs_decide_device_and_dtype():
    model, pairs, *_ = setting()
    assert model.to("meta")(pairs.to("meta")).device.type == "meta"
    assert sc.log_stablemax(torch.ones(2, 3, device="meta")).device.type == "meta"
    z, y = torch.ones(2, 3, device="meta"), torch.ones(2, dtype=torch.int64, device="meta")
    assert sc.softmax_cross_entropy(z, y).device.type == "meta"


# --- Training ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", ["softmax", "stablemax"])
def test_training_is_adamw_on_the_whole_training_set(loss):
    model, pairs, labels, train_index, test_index = setting(dtype=torch.float64)
    twin = copy.deepcopy(model)
    options = {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-12, "weight_decay": 0.3}
    optimizer = torch.optim.AdamW(twin.parameters(), **options)
    x, y, losses = pairs[train_index], labels[train_index], []
    for _ in range(6):
        z = twin(x)
        if loss == "stablemax":
            s = torch.where(z >= 0, z + 1, 1 / (1 - z.clamp(max=0)))
            value = -(s[range(len(y)), y] / s.sum(1)).log().mean()
        else:
            value = functional.cross_entropy(z, y)
        losses.append(value.item())
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
    history = sc.train(
        model, pairs, labels, train_index, test_index, steps=5, loss=loss, precision=torch.float64, every=2, **options
    )
    assert history.step.tolist() == [0, 2, 4, 5]
    np.testing.assert_allclose(history.loss, np.array(losses)[[0, 2, 4, 5]], rtol=1e-9)


def test_a_record_is_of_the_network_before_the_update():
    model, pairs, labels, train_index, test_index = setting()
    start = copy.deepcopy(model)
    history = sc.train(model, pairs, labels, train_index, test_index, steps=3, lr=0.01, perp=True, every=5)
    for k, network in ((0, start), (1, model)):
        logits = network(pairs)
        right = (logits.argmax(1) == labels).double()
        loss = functional.cross_entropy(logits[train_index], labels[train_index])
        gradients = torch.autograd.grad(loss, list(network.parameters()))
        g, theta = (torch.cat([t.flatten() for t in ts]).detach().double() for ts in (gradients, network.parameters()))
        assert history.step[k] == 3 * k
        assert history.train[k] == float(right[train_index].mean())
        assert history.test[k] == float(right[test_index].mean())
        assert history.loss[k] == pytest.approx(loss.item(), rel=1e-5)
        assert history.norm[k] == pytest.approx(float(theta.norm()), rel=1e-9)
        # The raw gradient: a projected one is orthogonal to the weights.
        assert history.cosine[k] == pytest.approx(float(-(g @ theta) / (g.norm() * theta.norm())), abs=1e-4)


def test_perp_steps_with_orthograd():
    model, *data = setting()
    twin = copy.deepcopy(model)
    x, y = data[0][data[2]], data[1][data[2]]
    optimizer = sc.OrthoGrad(twin.parameters(), lr=0.01, betas=(0.9, 0.99), eps=1e-25, weight_decay=0.0)
    for _ in range(4):
        optimizer.zero_grad()
        functional.cross_entropy(twin(x), y).backward()
        optimizer.step()
    sc.train(model, *data, steps=4, lr=0.01, perp=True)
    for p, q in zip(model.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(p, q, atol=1e-4, rtol=1e-3)


def test_the_first_record_at_a_value_is_found_or_minus_one():
    t = np.array([0, 25, 50])
    history = sc.History(t, *(np.array([0.0, 0.5, math.nan]) * k for k in range(7)))
    assert history.first("train", 0.5) == 25
    assert history.first("loss", 0.1) == -1
    assert history.first("zero", 0.0) == 0


# --- The experiment ---------------------------------------------------------------------------------------------


def test_full_scale_takes_two_steps():
    steps = {f.name: 2 for f in dataclasses.fields(sc.FULL) if f.name.endswith("_steps")}
    result = sc.run(dataclasses.replace(sc.FULL, **steps), device="cpu", progress=False)
    assert result.perp.step.tolist() == [0, 2]
    assert result.zero_softmax.shape == (3,)
    # One start for all runs of a part.
    assert result.perp.norm[0] == result.plain.norm[0] == result.decay.norm[0]
    assert result.float16.test[0] == result.float64.test[0] == result.stablemax.test[0]


def test_no_claim_holds_with_a_number_that_is_missing():
    result = sc.run(SMALL, device="cpu", progress=False)
    blank = np.full(3, math.nan)
    nothing = sc.History(np.array([0, 5, 10]), *(blank for _ in range(7)))
    names = ("perp", "plain", "decay", "float16", "float32", "float64", "stablemax")
    missing = torch.full((3,), math.nan)
    broken = dataclasses.replace(result, **dict.fromkeys(names, nothing), zero_softmax=missing, zero_stablemax=missing)
    assert not any(claim.holds for claim in sc.claims(broken))


Z, Y = torch.ones(3, 4), torch.zeros(3, dtype=torch.int64)
G = compute.generator(0)


def start(**options):
    return sc.train(*setting(), **{"steps": 1, "lr": 0.1, **options})


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: sc.softmax_cross_entropy(Z, Y + 4), "0..3, got 4"),
        (lambda: sc.stablemax_cross_entropy(Z, Y - 1), "0..3, got -1"),
        (lambda: sc.softmax_cross_entropy(Z, Y[:2]), r"3 classes.*\(2,\)"),
        (lambda: sc.stablemax_cross_entropy(Z, Y[:, None]), r"3 classes.*\(3, 1\)"),
        (lambda: sc.softmax_cross_entropy(Z, Y, reduction="max"), "reduction.*max"),
        (lambda: sc.stablemax_cross_entropy(Z, Y, "max"), "reduction.*max"),
        (lambda: sc.softmax_cross_entropy(Z[0], Y), r"logits.*\(4,\)"),
        (lambda: sc.stablemax_cross_entropy(Z[None], Y), r"logits.*\(1, 3, 4\)"),
        (lambda: sc.softmax_collapse(Z[0]), r"logits.*\(4,\)"),
        (lambda: sc.softmax_collapse(Z, torch.int64), "dtype.*int64"),
        (lambda: sc.softmax_cross_entropy(Z, Y, torch.int32), "dtype.*int32"),
        (lambda: sc.zero_gradient_share(Z, Y + 9), "got 9"),
        (lambda: sc.modular_table(1), "p must.*1"),
        (lambda: sc.modular_table(5, "divide"), "operation.*divide"),
        (lambda: sc.split(10, 0.0, G), "fraction.*0.0"),
        (lambda: sc.split(10, 1.0, G), "fraction.*1.0"),
        (lambda: sc.split(10, math.nan, G), "fraction.*nan"),
        (lambda: sc.split(10, 0.05, G), "fraction.*0.05"),
        (lambda: sc.split(1, 0.5, G), "n must.*1"),
        (lambda: sc.PairMLP(1, (3,), G), "p must.*1"),
        (lambda: sc.PairMLP(5, (3, 0), G), "hidden.*0"),
        (lambda: sc.PairMLP(5, (), G), r"hidden.*\(\)"),
        (lambda: start(steps=0), "steps.*0"),
        (lambda: start(every=0), "every.*0"),
        (lambda: start(lr=0.0), "lr.*0.0"),
        (lambda: start(eps=-1.0), "eps.*-1.0"),
        (lambda: start(weight_decay=-0.1), "weight_decay.*-0.1"),
        (lambda: start(loss="hinge"), "loss.*hinge"),
        (lambda: start(precision=torch.int8), "dtype.*int8"),
        (lambda: sc.train(*setting()[:2], setting()[2] + 1, *setting()[3:], steps=1, lr=0.1), "0..6, got 7"),
        (lambda: sc.History(*(np.zeros(1) for _ in range(8))).first("speed", 1.0), "name.*speed"),
        (lambda: sc.Config(fraction=1.0), "fraction.*1.0"),
        (lambda: sc.Config(hidden=(4, 0)), "hidden.*0"),
        (lambda: sc.Config(beta2=1.0), "beta2.*1.0"),
        (lambda: sc.Config(scales=()), r"scales.*\(\)"),
        (lambda: sc.Config(scales=(1.0, 0.0)), "scales.*0.0"),
        (lambda: sc.Config(plain_precision="float8"), "plain_precision.*float8"),
    ],
)
def test_bad_input_is_refused_with_its_value(call, match):
    with refuses(ValueError, match=match):
        call()
