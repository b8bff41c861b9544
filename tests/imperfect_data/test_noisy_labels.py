"""The pieces of learning with noisy labels against closed forms, enumeration, and loops over networks."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from overparam.core import compute
from overparam.core.datasets import Examples, Split
from overparam.imperfect_data import noisy_labels as nl
from overparam.imperfect_data.noisy_labels import masks as masks_module
from overparam.imperfect_data.noisy_labels import training as training_module
from tests.conftest import refuses
from tests.hub import hub_folder

SMALL = nl.Config(
    n_train=120,
    n_val=40,
    networks=2,
    hidden=16,
    features=12,
    epochs=2,
    batch_size=20,
    ct_epochs=2,
    ct_batch_size=40,
    nested_std=4.0,
    k_probe=4,
)


def classifier_problem(n=7, dim=6, classes=3, seed=0, dtype=torch.float64):
    generator = compute.generator(seed)
    z = torch.randn(n, dim, generator=generator, dtype=dtype).relu()
    weight = torch.randn(classes, dim, generator=generator, dtype=dtype)
    bias = torch.randn(classes, generator=generator, dtype=dtype)
    return z, weight, bias, torch.randint(classes, (n,), generator=generator)


# --- Masks ------------------------------------------------------------------------------------------------------


@given(dim=st.integers(1, 40), std=st.floats(0.5, 50), mean=st.floats(-5, 20))
@settings(max_examples=20, deadline=None)
def test_the_distribution_is_the_papers_formula(dim, std, mean):
    terms = [math.exp(-(((k - mean) / std) ** 2)) for k in range(1, dim + 1)]
    if sum(terms) > 1e-250:
        expected = torch.tensor(terms, dtype=torch.float64) / sum(terms)
        torch.testing.assert_close(nl.nested_distribution(dim, std, mean=mean), expected, rtol=1e-9, atol=1e-300)
    assert nl.nested_distribution(dim, std, mean=mean).sum().item() == pytest.approx(1)


def test_the_exponent_has_no_factor_one_half_and_k_starts_at_one():
    dist = nl.nested_distribution(128, 10.0)
    assert (dist[1] / dist[0]).item() == pytest.approx(math.exp(-(4 - 1) / 100))


def test_the_tail_does_not_underflow_and_extreme_widths_are_limits():
    assert (nl.nested_distribution(128, 10.0) > 0).all()
    assert nl.nested_distribution(4, 1e-200).tolist() == [1, 0, 0, 0]
    assert nl.nested_distribution(4, 1e200).tolist() == [0.25] * 4
    assert nl.nested_distribution(4, 1.0, mean=1e3).argmax() == 3


@given(dim=st.integers(1, 30), std=st.floats(0.5, 30))
@settings(max_examples=20, deadline=None)
def test_survival_sums_to_the_mean_number_of_features(dim, std):
    dist = nl.nested_distribution(dim, std)
    survival = nl.nested_survival(dist)
    for j in range(1, dim + 1):
        assert survival[j - 1].item() == pytest.approx(sum(dist[j - 1 :].tolist()))
    mean = sum(k * p for k, p in enumerate(dist.tolist(), 1))
    assert survival.sum().item() == pytest.approx(mean)


@pytest.mark.parametrize(("std", "kept"), [(10.0, 5.97), (100.0, 49.3)])
def test_exercise_the_average_number_of_features_kept(std, kept):
    assert nl.nested_survival(nl.nested_distribution(128, std)).sum().item() == pytest.approx(kept, rel=1e-3)


def test_nested_masks_are_prefixes_of_ones_drawn_from_the_distribution():
    dist = nl.nested_distribution(9, 4.0)
    mask = nl.nested_mask(dist, 40_000, generator=compute.generator(0))
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert (mask[:, 0] == 1).all()
    assert (mask.diff(dim=1) <= 0).all()
    frequency = mask.sum(1).long().bincount(minlength=10)[1:] / len(mask)
    torch.testing.assert_close(frequency, dist.float(), atol=0.01, rtol=0)
    torch.testing.assert_close(mask.mean(0), nl.nested_survival(dist), atol=0.01, rtol=0)
    assert torch.equal(mask, nl.nested_mask(dist, 40_000, generator=compute.generator(0)))


@pytest.mark.parametrize("p", [0.0, 0.3, 0.7])
def test_dropout_masks_have_the_statistics_of_torchs_dropout(p):
    mask = nl.dropout_mask((200, 300), p, generator=compute.generator(0))
    torch.manual_seed(1)
    reference = functional.dropout(torch.ones(200, 300), p, training=True)
    torch.testing.assert_close(mask.unique(), reference.unique())
    assert mask.mean().item() == pytest.approx(1, abs=0.02)
    assert mask.var().item() == pytest.approx(p / (1 - p), abs=0.03)
    assert mask.var().item() == pytest.approx(reference.var().item(), abs=0.05)


# --- Prefixes ---------------------------------------------------------------------------------------------------


@given(n=st.integers(1, 6), dim=st.integers(1, 9), classes=st.integers(1, 4), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_nested_logits_are_the_d_masked_classifiers(n, dim, classes, seed):
    z, weight, bias, labels = classifier_problem(n, dim, classes, seed)
    logits, plain = nl.nested_logits(z, weight, bias), nl.nested_logits(z, weight)
    accuracy = nl.nested_accuracy(z, weight, bias, labels)
    for k in range(1, dim + 1):
        mask = (torch.arange(dim) < k).double()
        expected = functional.linear(z * mask, weight, bias)
        torch.testing.assert_close(logits[k - 1], expected)
        torch.testing.assert_close(plain[k - 1], functional.linear(z * mask, weight))
        assert accuracy[k - 1].item() == pytest.approx((expected.argmax(1) == labels).double().mean().item())


def test_nested_logits_have_the_gradients_of_the_masked_classifiers():
    z, weight, bias, _ = classifier_problem()
    leaves = [t.requires_grad_() for t in (z, weight, bias)]
    prefixes = torch.ones(6, 6, dtype=z.dtype).tril()
    loop = torch.stack([functional.linear(z * mask, weight, bias) for mask in prefixes])
    expected = torch.autograd.grad(loop.square().sum(), leaves)
    for ours, theirs in zip(
        torch.autograd.grad(nl.nested_logits(*leaves).square().sum(), leaves), expected, strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def test_the_accuracy_does_not_depend_on_the_chunks(monkeypatch):
    z, weight, bias, labels = classifier_problem(n=50)
    whole = nl.nested_accuracy(z, weight, bias, labels)
    monkeypatch.setattr(masks_module, "LOGITS_AT_ONCE", 7 * weight.numel())
    torch.testing.assert_close(nl.nested_accuracy(z, weight, bias, labels), whole)
    assert whole.dtype == torch.float64


def test_dead_features_leave_ties_to_the_first_class():
    accuracy = nl.nested_accuracy(torch.zeros(4, 3), torch.ones(2, 3), None, torch.tensor([0, 0, 0, 1]))
    assert accuracy.tolist() == [0.75] * 3


def test_ties_go_to_fewer_features_and_real_gains_to_more():
    assert nl.best_k(torch.tensor([0.5, 0.9, 0.9, 0.9])) == 2
    assert nl.best_k(torch.tensor([0.5, 0.9, 0.9, 0.91], dtype=torch.float64)) == 4
    assert nl.best_k(torch.tensor([0.5, 0.9, 0.9, 0.91]), penalty=0.1) == 2
    assert nl.best_k(torch.zeros(5, dtype=torch.float64), penalty=0.0) == 1


@given(values=st.lists(st.integers(0, 20), min_size=1, max_size=12), penalty=st.floats(0, 0.1))
@settings(max_examples=20, deadline=None)
def test_best_k_maximizes_the_penalized_accuracy(values, penalty):
    accuracy = [value / 20 for value in values]
    scores = [a - penalty * k for k, a in enumerate(accuracy)]
    assert nl.best_k(torch.tensor(accuracy, dtype=torch.float64), penalty=penalty) == scores.index(max(scores)) + 1


# --- Bias and variance ------------------------------------------------------------------------------------------


def objective(z, weight, targets, mask):
    return sum(float((y - weight @ (mask * x)).square().sum()) for x, y in zip(z, targets, strict=True)) / len(z)


@given(dim=st.integers(1, 8), std=st.floats(0.5, 10), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_the_nested_objective_is_its_enumeration_over_k(dim, std, seed):
    z, weight, _, labels = classifier_problem(5, dim, 3, seed)
    targets, dist = functional.one_hot(labels, 3).double(), nl.nested_distribution(dim, std)
    bias, variance = nl.compression_decomposition(z, weight, targets, dist=dist)
    each = [p * objective(z, weight, targets, (torch.arange(dim) < k).double()) for k, p in enumerate(dist.tolist(), 1)]
    assert (bias + variance).item() == pytest.approx(sum(each), rel=1e-10)
    assert bias.item() == pytest.approx(objective(z, weight, targets, nl.nested_survival(dist)), rel=1e-10)
    assert variance.item() >= -1e-12


@given(dim=st.integers(1, 6), p=st.floats(0, 0.9), seed=st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_the_dropout_objective_is_its_enumeration_over_all_masks(dim, p, seed):
    z, weight, _, labels = classifier_problem(4, dim, 3, seed)
    targets = functional.one_hot(labels, 3).double()
    bias, variance = nl.compression_decomposition(z, weight, targets, dropout=p)
    total = 0.0
    for kept in itertools.product((0, 1), repeat=dim):
        probability = math.prod(1 - p if keep else p for keep in kept)
        total += probability * objective(z, weight, targets, torch.tensor(kept) / (1 - p))
    assert (bias + variance).item() == pytest.approx(total, rel=1e-6)


def test_exercise_dropouts_variance_on_a_linear_unit_is_a_ridge_penalty():
    z, weight, _, _ = classifier_problem(n=20, classes=1)
    _, variance = nl.compression_decomposition(z, weight, torch.zeros(20, 1, dtype=z.dtype), dropout=0.7)
    ridge = 0.7 / 0.3 * sum(w**2 * float(z[:, j].square().mean()) for j, w in enumerate(weight[0].tolist()))
    assert variance.item() == pytest.approx(ridge)


def test_one_sure_prefix_has_no_variance():
    z, weight, _, _ = classifier_problem()
    dist = torch.eye(6, dtype=z.dtype)[2]
    bias, variance = nl.compression_decomposition(z, weight, torch.ones(7, 3, dtype=z.dtype), dist=dist)
    assert variance.item() == pytest.approx(0, abs=1e-12)
    assert bias.item() == pytest.approx(float((1 - z[:, :3] @ weight[:, :3].mT).square().sum(1).mean()))


# --- Co-teaching ------------------------------------------------------------------------------------------------


@given(n=st.integers(1, 40), percent=st.integers(0, 99), seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_small_losses_are_kept_in_order_and_rounding_loses_none(n, percent, seed):
    losses = torch.randint(10, (2, n), generator=compute.generator(seed)).float()
    kept = nl.small_loss_indices(losses, percent / 100)
    assert kept.shape == (2, max(1, (100 - percent) * n // 100))  # in exact arithmetic
    for row, chosen in zip(losses.tolist(), kept.tolist(), strict=True):
        assert chosen == sorted(range(n), key=lambda i: (row[i], i))[: len(chosen)]


def test_three_tenths_of_ten_losses_leave_seven():
    assert nl.small_loss_indices(torch.arange(10.0), 0.3).tolist() == list(range(7))


def test_the_exchange_hands_each_network_its_peers_small_losses():
    losses = torch.tensor([[3.0, 1, 2, 9], [1, 2, 3, 0], [5, 6, 1, 2], [4, 3, 2, 1]])
    expected = [[3, 0], [1, 2], [3, 2], [2, 3]]
    assert nl.co_teaching_exchange(losses, 0.5).tolist() == expected


@given(pairs=st.integers(1, 4), n=st.integers(1, 12), rate=st.floats(0, 0.95), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_what_is_exchanged_is_never_above_what_is_left(pairs, n, rate, seed):
    losses = torch.rand(2 * pairs, n, generator=compute.generator(seed))
    for i, chosen in enumerate(nl.co_teaching_exchange(losses, rate).tolist()):
        peer = losses[i + 1 if i % 2 == 0 else i - 1].tolist()
        left = [loss for j, loss in enumerate(peer) if j not in chosen]
        assert max(peer[j] for j in chosen) <= min(left, default=math.inf)


def test_the_forget_rate_ramps_linearly_and_then_stays():
    np.testing.assert_allclose(nl.forget_schedule(6, 0.4, 3), [0, 0.2, 0.4, 0.4, 0.4, 0.4])
    np.testing.assert_allclose(nl.forget_schedule(3, 0.2, 0), [0.2] * 3)
    np.testing.assert_allclose(nl.forget_schedule(3, 0.2, 3), [0, 0.1, 0.2])


def test_symmetric_noise_moves_the_asked_share_to_all_other_classes_alike():
    labels = torch.full((30_000,), 2)
    noisy, moved = nl.symmetric_noise(labels, 0.4, 5, generator=compute.generator(0))
    assert torch.equal(moved, noisy != labels)
    assert moved.double().mean().item() == pytest.approx(0.4, abs=0.01)
    counts = noisy[moved].bincount(minlength=5) / moved.sum()
    torch.testing.assert_close(counts, torch.tensor([0.25, 0.25, 0, 0.25, 0.25]), atol=0.01, rtol=0)
    assert (nl.symmetric_noise(labels, 1.0, 5, generator=compute.generator(0))[0] != 2).all()
    assert not nl.symmetric_noise(labels, 0.0, 5, generator=compute.generator(0))[1].any()


# --- Training ---------------------------------------------------------------------------------------------------


def forward(parameters, i, x, mask):
    """Network i of a stack, by itself."""
    w1, b1, w2, b2, w3, b3 = (part[i] for part in parameters)
    return (((x @ w1 + b1).relu() @ w2 + b2).relu() * mask) @ w3 + b3


def test_stage_one_trains_each_network_as_if_it_were_alone():
    config = dataclasses.replace(SMALL, epochs=1, momentum=0.0, lr_drops=(0.5,))
    data, networks = nl.noisy_data(config), nl.build(config)
    start = [part.detach().clone() for part in networks.stacked]
    nl.train(networks, data, config, "nested")
    order, draws = nl.stream(config, "batches"), nl.stream(config, "masks")
    epoch = torch.rand(2, config.n_train, generator=order).argsort(1)
    dist = nl.nested_distribution(config.features, config.nested_std)
    for step in range(6):
        mask = nl.nested_mask(dist, 2, generator=draws).float()  # one k for each network and batch
        lr = config.lr * (1 if step < 3 else 0.1)
        for i in range(2):
            batch = epoch[i, 20 * step : 20 * step + 20]
            leaves = [part[i].clone().requires_grad_() for part in start]
            logits = forward([leaf[None] for leaf in leaves], 0, data.x[batch], mask[i])
            gradients = torch.autograd.grad(functional.cross_entropy(logits, data.labels[batch]), leaves)
            for part, gradient in zip(start, gradients, strict=True):
                part[i] -= lr * (gradient + config.weight_decay * part[i])
    for ours, theirs in zip(networks.stacked, start, strict=True):
        torch.testing.assert_close(ours.detach(), theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("variant", nl.VARIANTS)
def test_a_step_of_co_teaching_learns_from_the_peers_selection_in_the_peers_half(variant):
    config = dataclasses.replace(SMALL, n_train=40, networks=4, ct_epochs=1, ct_lr_drops=(), lr=0.2, epochs=20)
    data, networks = nl.noisy_data(config), nl.build(config)
    last = nl.train(networks, data, config, variant)
    before = [part.detach().clone() for part in networks.stacked]
    history = nl.co_teach(networks, data, config, variant)  # 40 examples, batch 40: one step
    pairs = torch.rand(2, 40, generator=nl.stream(config, "co_batches")).argsort(1)
    halves = [pairs[0, :20], pairs[0, 20:], pairs[1, :20], pairs[1, 20:]]
    chosen = []
    for i, half in enumerate(halves):
        prefix = (torch.arange(config.features) < last.k[i, -1]).float()
        losses = functional.cross_entropy(forward(before, i, data.x[half], prefix), data.labels[half], reduction="none")
        chosen.append(half[losses.argsort()[:12]])  # 60 % of 20, no masks but k*
    compress = nl.compression(config, variant, generator=nl.stream(config, "co_masks"))
    masks = compress(torch.ones(4, 12, config.features))
    for i, peer in enumerate((1, 0, 3, 2)):
        leaves = [part[i].clone().requires_grad_() for part in before]
        logits = forward([leaf[None] for leaf in leaves], 0, data.x[chosen[peer]], masks[i])
        gradients = torch.autograd.grad(functional.cross_entropy(logits, data.labels[chosen[peer]]), leaves)
        for ours, old, gradient in zip(networks.stacked, leaves, gradients, strict=True):
            expected = old - config.ct_lr * (gradient + config.weight_decay * old)
            torch.testing.assert_close(ours[i].detach(), expected.detach(), rtol=1e-4, atol=1e-6)
        right = (~data.wrong[chosen[peer]]).double().mean().item()
        assert history.clean[i, 0].item() == pytest.approx(right)
    torch.testing.assert_close(history.test[:, 0], last.test[:, -1])
    assert (history.k[:, 0] == last.k[:, -1]).all()


def test_every_variant_keeps_masks_out_of_evaluation():
    config = SMALL
    data, networks = nl.noisy_data(config), nl.build(config)
    test, val, k = nl.evaluate(networks, data, "dropout")
    assert k.tolist() == [config.features] * 2
    for i in range(2):
        logits = forward([part.detach() for part in networks.stacked], i, data.test.x, 1.0)
        assert test[i].item() == pytest.approx((logits.argmax(1) == data.test.y).double().mean().item())
    _, nested_val, k = nl.evaluate(networks, data, "nested")
    assert (nested_val >= val - 1e-5 * config.features).all()  # k* is the best on validation
    curves = nl.prefix_accuracies(networks, data.val)
    assert k.tolist() == [nl.best_k(curve) for curve in curves]


def test_variants_differ_in_their_masks_alone():
    config = dataclasses.replace(SMALL, dropout=0.0)
    data = nl.noisy_data(config)
    trained = []
    for variant in ("baseline", "dropout", "nested"):
        networks = nl.build(config)
        nl.train(networks, data, config, variant)
        trained.append(networks.classifier()[0].detach())
    assert torch.equal(trained[0], trained[1])
    assert not torch.allclose(trained[0], trained[2])


def test_the_training_part_alone_is_noisy():
    data = nl.noisy_data(dataclasses.replace(SMALL, n_train=1000, n_val=197, noise=0.4))
    clean = nl.noisy_data(dataclasses.replace(SMALL, n_train=1000, n_val=197, noise=0.0))
    assert torch.equal(data.x, clean.x)
    assert torch.equal(data.labels != clean.labels, data.wrong)
    assert data.wrong.double().mean().item() == pytest.approx(0.4, abs=0.05)
    assert torch.equal(data.val.y, clean.val.y)
    assert torch.equal(data.test.y, clean.test.y)
    assert (len(data.val.y), len(data.test.y)) == (197, 600)


# --- Images -----------------------------------------------------------------------------------------------------


def test_augmentation_is_a_shift_of_at_most_four_pixels_and_a_mirror():
    image = torch.rand(3, 8, 8, generator=compute.generator(0))
    padded = functional.pad(image, [4] * 4)
    crops = {}
    for mirrored, dy, dx in itertools.product((False, True), range(9), range(9)):
        crop = padded[:, dy : dy + 8, dx : dx + 8]
        crops[(crop.flip(2) if mirrored else crop).numpy().tobytes()] = (mirrored, dy, dx)
    many = nl.crop_and_flip(image.expand(2, 1000, 3, 8, 8), generator=compute.generator(1)).flatten(0, 1)
    seen = [crops[each.contiguous().numpy().tobytes()] for each in many]
    assert len(set(seen)) == 162
    assert sum(mirrored for mirrored, _, _ in seen) == pytest.approx(1000, abs=100)


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A folder like cifar10's on the hub."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return hub_folder(tmp_path / "hub", "cifar10", (32, 32, 3), n_train=3, n_test=1)[0]


def test_full_scale_takes_two_steps_of_each_stage(stand_in):
    tiny = {"n_train": 2, "n_val": 1, "batch_size": 1, "ct_batch_size": 2, "epochs": 1, "ct_epochs": 2}
    config = dataclasses.replace(nl.FULL, source=str(stand_in), **tiny)
    data, networks = nl.noisy_data(config), nl.build(config)
    assert data.x.shape == (2, 3, 32, 32)
    assert sum(p.numel() for p in networks.parameters()) == 2 * 11_173_962
    history = nl.train(networks, data, config, "nested")
    assert history.test.shape == (2, 2)
    before = copy.deepcopy(networks.state_dict())
    history = nl.co_teach(networks, data, config, "nested")
    assert history.clean is not None
    after = networks.state_dict()
    norms = [name for name in before if name.split(".")[-1].startswith(("running", "num_batches"))]
    assert norms
    assert all(torch.equal(before[name], after[name]) for name in norms)  # batch norm is frozen in stage 2
    assert not torch.equal(before["each.0.classifier.weight"], after["each.0.classifier.weight"])


def test_too_small_a_set_is_refused(monkeypatch):
    few = Examples(torch.zeros(2, 3, 32, 32), torch.zeros(2, dtype=torch.int64))
    monkeypatch.setattr(training_module, "hub_images", lambda *_, **__: Split(few, few, few))
    with refuses(ValueError, match="n_train.*at most the 2 training images, got 45000"):
        nl.noisy_data(nl.FULL)


# --- The run ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def result():
    return nl.run(SMALL, device="cpu", progress=False)


def test_the_run_measures_what_its_fields_say(result):
    assert result.accuracy.shape == (3, 2, 3)
    assert result.by_features.shape == (3, 2, 12)
    assert torch.equal(result.accuracy[:2, :, -1], result.by_features[:2, :, -1])
    at_k = result.by_features[2].gather(1, result.k[2][:, None] - 1)[:, 0]
    torch.testing.assert_close(result.accuracy[2, :, -1], at_k)
    torch.testing.assert_close(result.co_accuracy[:, :, 0], result.accuracy[:, :, -1])
    assert result.nested_gap < 1e-12
    assert result.dropout_gap < 0.05
    assert 0.5 < result.logistic < 1


def test_claims_are_the_briefs_and_can_fail(result):
    ids = "baseline_overfits compression_resists ordered_features co_teaching_boost compression_helps_co_teaching"
    assert [claim.id for claim in nl.claims(result)] == [*ids.split(), "selection_is_clean", "bias_variance"]
    flat = dataclasses.replace(
        result,
        accuracy=torch.full_like(result.accuracy, 0.8),
        co_accuracy=torch.full_like(result.co_accuracy, 0.8),
        by_features=torch.full_like(result.by_features, 0.8),
        clean=torch.full_like(result.clean, 0.6),
        nested_gap=1e-3,
    )
    assert not any(claim.holds for claim in nl.claims(flat))


def test_claims_read_means_over_single_networks(result):
    accuracy = torch.tensor([[0.6, 0.9, 0.7], [0.6, 0.9, 0.75], [0.6, 0.9, 0.8]]).double()[:, None].expand(3, 2, 3)
    by_features = torch.ones_like(result.by_features) * 0.8
    by_features[0, :, :6] = 0.3
    made = dataclasses.replace(
        result,
        accuracy=accuracy,
        co_accuracy=accuracy + torch.tensor([0.0, 0.05, 0.06])[:, None, None],
        fitted=torch.ones_like(result.fitted),
        by_features=by_features,
        clean=torch.tensor([0.1, 0.9, 0.95]).double()[:, None, None].expand_as(result.clean),
    )
    measured = {claim.id: claim.measured for claim in nl.claims(made)}
    expected = [0.2, 0.05, 0.0, 0.2, 0.1, 0.9]
    assert list(measured.values())[:6] == pytest.approx(expected)


@pytest.mark.parametrize("draw", [nl.plot, nl.plot_features, nl.plot_losses])
def test_figures_draw_any_result(result, draw):
    figure = draw(result)
    figure.canvas.draw()
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_inputs_decide_dtype_and_device(dtype):
    z, weight, bias, labels = classifier_problem(dtype=dtype)
    dist = nl.nested_distribution(6, 3.0, dtype=dtype)
    assert {dist.dtype, nl.nested_survival(dist).dtype} == {dtype}
    assert nl.nested_mask(dist, 2, generator=compute.generator(0)).dtype == dtype
    assert nl.nested_logits(z, weight, bias).dtype == dtype
    targets = functional.one_hot(labels, 3).to(dtype)
    for part in nl.compression_decomposition(z, weight, targets, dist=dist.double()):
        assert part.dtype == dtype
    z, weight, bias, labels, targets, dist = (t.to("meta") for t in (z, weight, bias, labels, targets, dist))
    there = [
        nl.nested_survival(dist),
        nl.nested_logits(z, weight, bias),
        nl.nested_accuracy(z, weight, bias, labels),
        *nl.compression_decomposition(z, weight, targets, dist=dist),
        *nl.compression_decomposition(z, weight, targets, dropout=0.5),
        nl.small_loss_indices(z, 0.2),
        nl.co_teaching_exchange(z[:4], 0.2),
        nl.crop_and_flip(torch.empty(2, 3, 8, 8, device="meta"), generator=compute.generator(0)),
    ]
    assert {t.device.type for t in there} == {"meta"}


# --- Refusals ---------------------------------------------------------------------------------------------------

Z, W, B, Y = classifier_problem()
T = torch.zeros(7, 3, dtype=torch.float64)
DIST = nl.nested_distribution(6, 3.0)
G = compute.generator(0)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: nl.nested_distribution(0, 1.0), "dim.*0"),
        (lambda: nl.nested_distribution(3, 0.0), "std.*0.0"),
        (lambda: nl.nested_distribution(3, math.nan), "std.*nan"),
        (lambda: nl.nested_distribution(3, 1.0, mean=math.inf), "mean.*inf"),
        (lambda: nl.nested_distribution(3, 1.0, dtype=torch.int64), "dtype.*int64"),
        (lambda: nl.nested_survival(torch.tensor([0.5, 0.6])), "dist.*1.1"),
        (lambda: nl.nested_survival(torch.tensor([1.5, -0.5])), "dist.*-0.5"),
        (lambda: nl.nested_survival(torch.tensor([math.nan, 1.0])), "dist.*nan"),
        (lambda: nl.nested_survival(torch.ones(1, 1)), r"dist.*\(1, 1\)"),
        (lambda: nl.nested_mask(torch.tensor([0.5, 0.4]), generator=G), "dist.*0.9"),
        (lambda: nl.nested_mask(DIST, 0, generator=G), "batch.*0"),
        (lambda: nl.dropout_mask((2,), 1.0, generator=G), r"p must.*\[0, 1\).*1.0"),
        (lambda: nl.dropout_mask((2,), -0.1, generator=G), "p must.*-0.1"),
        (lambda: nl.nested_logits(Z, W[:, :5]), r"\(7, 6\) and \(3, 5\)"),
        (lambda: nl.nested_logits(Z, W, B[:2]), r"bias.*3 outputs.*\(2,\)"),
        (lambda: nl.nested_accuracy(Z, W, B, Y[:5]), r"labels.*7.*\(5,\)"),
        (lambda: nl.nested_accuracy(Z[:0], W, B, Y[:0]), "at least 1"),
        (lambda: nl.best_k(torch.tensor([0.5, math.nan])), "accuracy.*nan"),
        (lambda: nl.best_k(torch.zeros(0)), r"accuracy.*\(0,\)"),
        (lambda: nl.best_k(torch.ones(2), penalty=-1.0), "penalty.*-1.0"),
        (lambda: nl.compression_decomposition(Z, W, T), "exactly one.*None.*None"),
        (lambda: nl.compression_decomposition(Z, W, T, dist=DIST, dropout=0.5), "exactly one.*0.5"),
        (lambda: nl.compression_decomposition(Z, W, T, dropout=1.0), "dropout.*1.0"),
        (lambda: nl.compression_decomposition(Z, W, T, dist=DIST[:5]), r"dist.*6 features.*\(5,\)"),
        (lambda: nl.compression_decomposition(Z, W, T, dist=2 * DIST), "dist.*2"),
        (lambda: nl.compression_decomposition(Z, W, T[:, :2], dropout=0.5), r"targets.*\(7, 2\)"),
        (lambda: nl.compression_decomposition(Z, W[:, :4], T, dropout=0.5), r"\(3, 4\)"),
        (lambda: nl.small_loss_indices(torch.ones(3), 1.0), r"forget_rate.*\[0, 1\).*1.0"),
        (lambda: nl.small_loss_indices(torch.ones(3), math.nan), "forget_rate.*nan"),
        (lambda: nl.small_loss_indices(torch.ones(2, 0), 0.5), r"losses.*\(2, 0\)"),
        (lambda: nl.co_teaching_exchange(torch.ones(3, 4), 0.5), r"even number.*\(3, 4\)"),
        (lambda: nl.co_teaching_exchange(torch.ones(2, 4), -0.5), "forget_rate.*-0.5"),
        (lambda: nl.forget_schedule(0, 0.2, 0), "epochs.*0"),
        (lambda: nl.forget_schedule(5, 1.0, 0), "rate.*1.0"),
        (lambda: nl.forget_schedule(5, 0.2, 6), "n_gradual.*6"),
        (lambda: nl.forget_schedule(5, 0.2, -1), "n_gradual.*-1"),
        (lambda: nl.symmetric_noise(Y, 1.5, 3, generator=G), "rate.*1.5"),
        (lambda: nl.symmetric_noise(Y, 0.5, 1, generator=G), "num_classes.*1"),
        (lambda: nl.symmetric_noise(Y + 5, 0.5, 3, generator=G), "labels"),
        (lambda: nl.compression(SMALL, "none", generator=G), "variant.*none"),
        (lambda: nl.Config(dataset="mnist"), "dataset.*mnist"),
        (lambda: nl.Config(source="folder"), "source.*folder"),
        (lambda: nl.Config(dataset="cifar10"), "features.*512.*128"),
        (lambda: nl.Config(networks=3), "networks.*even.*3"),
        (lambda: nl.Config(ct_batch_size=25), "ct_batch_size.*even.*25"),
        (lambda: nl.Config(k_probe=200), "k_probe.*128.*200"),
        (lambda: nl.Config(n_gradual=25), "n_gradual.*24.*25"),
        (lambda: nl.Config(batch_size=2000), "batch_size.*1000.*2000"),
        (lambda: nl.Config(lr_drops=(math.nan,)), "lr_drops.*nan"),
        (lambda: nl.noisy_data(dataclasses.replace(SMALL, n_train=1700, n_val=97)), "1700"),
    ],
)
def test_bad_input_is_refused_with_its_value(call, match):
    with refuses(ValueError, match=match):
        call()


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(nl.Config) if f.type in ("int", "float")])
def test_every_number_of_the_configuration_has_a_range(field):
    value = -1 if isinstance(getattr(nl.Config(), field), int) else math.nan
    with refuses(ValueError, match=f"{field}.*{value}"):
        nl.Config(**{field: value})


def test_the_reader_model_has_the_briefs_size():
    networks = nl.build(nl.Config())
    assert sum(p.numel() for p in networks.parameters()) == 6 * 26_122
