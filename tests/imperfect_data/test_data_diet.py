"""Scores of examples against closed forms, autograd loops and enumeration; subsets and their training against loops."""

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
from scipy.stats import spearmanr
from torch import nn
from torch.nn import functional

from overparam.core import compute
from overparam.core.datasets import Examples, Split
from overparam.core.models import mlp_ensemble_init
from overparam.imperfect_data import data_diet as dd
from overparam.imperfect_data.data_diet import training as training_module
from tests.conftest import refuses
from tests.hub import hub_folder

SMALL = dd.Config(
    n_train=120,
    replicas=4,
    hidden=(16,),
    other_hidden=(8,),
    epochs=3,
    batch_size=16,
    score_epochs=(0, 1, 2),
    score_epoch=2,
    prune=(0.5, 0.7),
)


def problem(n=9, d=5, classes=4, seed=0, dtype=torch.float64):
    generator = compute.generator(seed)
    x = torch.randn(n, d, generator=generator, dtype=dtype)
    return x, torch.randint(classes, (n,), generator=generator)


def loop(model, x, labels):
    """Gradient norms by one backward pass an example."""
    norms = []
    parameters = [p for p in model.parameters() if p.requires_grad]
    for one, label in zip(x, labels, strict=True):
        gradients = torch.autograd.grad(functional.cross_entropy(model(one[None]), label[None]), parameters)
        norms.append(math.sqrt(sum(float(g.square().sum()) for g in gradients)))
    return torch.tensor(norms, dtype=x.dtype)


# --- EL2N -------------------------------------------------------------------------------------------------------


@given(n=st.integers(1, 8), classes=st.integers(2, 6), seed=st.integers(0, 99))
@settings(max_examples=20)
def test_el2n_is_the_distance_from_the_softmax_to_the_label(n, classes, seed):
    generator = compute.generator(seed)
    logits = 3 * torch.randn(2, n, classes, generator=generator, dtype=torch.float64)
    labels = torch.randint(classes, (n,), generator=generator)
    scores = dd.el2n_scores(logits, labels)
    for replica, i in itertools.product(range(2), range(n)):
        weights = [math.exp(v) for v in logits[replica, i].tolist()]
        error = [w / sum(weights) - (c == int(labels[i])) for c, w in enumerate(weights)]
        assert scores[replica, i].item() == pytest.approx(math.sqrt(sum(e * e for e in error)), rel=1e-9)
    assert ((scores >= 0) & (scores <= math.sqrt(2) + 1e-12)).all()


def test_el2n_stands_huge_logits_and_tells_confident_predictions_apart():
    logits = torch.tensor([[1e4, 0, -1e4], [0, 1e4, 0], [20, 0, 0], [25, 0, 0]])
    scores = dd.el2n_scores(logits, torch.tensor([0, 0, 0, 0]))
    assert scores[0] == 0
    assert scores[1].item() == pytest.approx(math.sqrt(2))
    for score, margin in zip(scores[2:].tolist(), (20, 25), strict=True):  # 1 - p would be 0 in float32
        assert score == pytest.approx(math.sqrt(6) * math.exp(-margin), rel=1e-4)


@pytest.mark.parametrize("classes", [2, 10])
def test_exercise_el2n_of_a_network_that_starts_at_zero_tells_nothing(classes):
    scores = dd.el2n_scores(torch.zeros(5, classes), torch.arange(5) % classes)
    torch.testing.assert_close(scores, torch.full((5,), math.sqrt((classes - 1) / classes)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scores_follow_their_inputs_dtype(dtype):
    x, labels = problem(dtype=dtype)
    assert dd.el2n_scores(x, labels.int() % 4).dtype == dtype
    assert dd.grand_scores(nn.Linear(5, 4, dtype=dtype), x.double(), labels).dtype == dtype
    parameters = mlp_ensemble_init(2, (5, 6, 4), generator=compute.generator(0), dtype=dtype)
    assert dd.mlp_ensemble_grand(parameters, x, labels).dtype == dtype


# --- GraNd ------------------------------------------------------------------------------------------------------


class Network(nn.Module):
    """With everything that a per-example gradient can get wrong: batch norm, dropout and a frozen layer."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.drop = nn.Linear(5, 7), nn.BatchNorm1d(7), nn.Dropout(0.5)
        self.last = nn.Linear(7, 4)
        self.first.bias.requires_grad_(False)

    def forward(self, x):
        return self.last(self.drop(self.norm(self.first(x)).relu()))


@pytest.mark.parametrize("chunk_size", [1, 4, 256])
def test_grand_is_the_norm_of_one_backward_pass_an_example_in_evaluation_mode(chunk_size):
    torch.manual_seed(0)
    model = Network().double()
    x, labels = problem()
    model.norm(model.first(3 * x + 1))  # running statistics that differ from a batch's
    model.train()
    model.drop.eval()  # a mixture of modes has to come back as it was
    model.last.weight.grad = torch.ones_like(model.last.weight)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    scores = dd.grand_scores(model, x, labels, chunk_size=chunk_size)
    assert [m.training for m in model.modules()] == [True, True, True, False, True]
    assert model.first.weight.grad is None
    assert (model.last.weight.grad == 1).all()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert not scores.requires_grad
    torch.testing.assert_close(scores, loop(model.eval(), x, labels), rtol=1e-10, atol=0)


def test_grand_restores_the_mode_after_a_refusal():
    model = nn.Sequential(nn.Dropout(), nn.Linear(5, 4)).double().train()
    x, _ = problem(n=2)
    with refuses(ValueError, match=r"0\.\.3, got 4"):
        dd.grand_scores(model, x, torch.tensor([0, 4]))
    assert all(m.training for m in model.modules())


@given(bias=st.booleans(), n=st.integers(1, 6), seed=st.integers(0, 99))
@settings(max_examples=15)
def test_exercise_grand_of_a_linear_model_is_el2n_times_the_length_of_its_input(bias, n, seed):
    torch.manual_seed(seed)
    x, labels = problem(n=n, seed=seed)
    model = nn.Linear(5, 4, bias=bias, dtype=torch.float64)
    expected = dd.el2n_scores(model(x).detach(), labels) * (x.square().sum(1) + bias).sqrt()
    torch.testing.assert_close(dd.grand_scores(model, x, labels), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("dims", [(5, 4), (5, 6, 4), (5, 8, 6, 4)])
def test_the_closed_form_for_mlps_is_the_generic_score_of_every_replica(dims):
    x, labels = problem()
    parameters = mlp_ensemble_init(3, dims, generator=compute.generator(1), dtype=torch.float64)
    scores = dd.mlp_ensemble_grand([p + 0.1 for p in parameters], x, labels)
    for k in range(3):
        layers = []
        for weight, bias in zip(parameters[::2], parameters[1::2], strict=True):
            layer = nn.Linear(*weight.shape[1:], dtype=torch.float64)
            layer.weight.data, layer.bias.data = weight[k].mT + 0.1, bias[k, 0] + 0.1
            layers += [layer, nn.ReLU()]
        model = nn.Sequential(*layers[:-1])
        torch.testing.assert_close(scores[k], dd.grand_scores(model, x, labels), rtol=1e-10, atol=0)
        torch.testing.assert_close(scores[k], loop(model, x, labels), rtol=1e-10, atol=0)


# --- Forgetting -------------------------------------------------------------------------------------------------


@given(times=st.integers(0, 8), n=st.integers(1, 6), seed=st.integers(0, 99))
@settings(max_examples=25)
def test_forgetting_counts_the_transitions_from_right_to_wrong(times, n, seed):
    correct = torch.rand(times, n, generator=compute.generator(seed)) < 0.5
    for i, score in enumerate(dd.forgetting_scores(correct).tolist()):
        visits = correct[:, i].tolist()
        events = sum(before and not after for before, after in itertools.pairwise(visits))
        assert score == (events if any(visits) else math.inf)
    assert torch.equal(dd.forgetting_scores(correct), dd.forgetting_scores(correct.long()))


def test_the_first_visit_is_no_event_and_the_never_learned_is_infinite():
    correct = torch.tensor([[0, 1, 1, 0], [1, 0, 1, 0], [1, 1, 1, 0], [1, 0, 1, 0]])
    assert dd.forgetting_scores(correct).tolist() == [0, 2, 0, math.inf]


# --- Subsets and labels -----------------------------------------------------------------------------------------


@given(scores=st.lists(st.sampled_from([0.0, 1.0, 2.5, math.inf, -math.inf]), min_size=1, max_size=12), data=st.data())
@settings(max_examples=40)
def test_subsets_are_slices_of_the_stable_ascending_order(scores, data):
    n = len(scores)
    keep = data.draw(st.integers(1, n))
    offset = data.draw(st.integers(0, n - keep))
    order = sorted(range(n), key=lambda i: (scores[i], i))
    tensor = torch.tensor(scores)
    assert dd.keep_indices(tensor, keep).tolist() == sorted(order[n - keep :])
    assert dd.keep_indices(tensor, keep, rule="easiest").tolist() == sorted(order[:keep])
    window = dd.keep_indices(tensor, keep, rule="window", offset=offset)
    assert window.tolist() == sorted(order[offset : offset + keep])
    assert window.dtype == torch.int64


def test_the_window_counts_from_the_easy_end():
    scores = torch.tensor([0.3, 0.1, 0.4, 0.2])
    assert dd.keep_indices(scores, 2, rule="window", offset=1).tolist() == [0, 3]
    assert torch.equal(dd.keep_indices(scores, 2, rule="window", offset=2), dd.keep_indices(scores, 2))


@given(n=st.integers(0, 40), fraction=st.floats(0, 1), classes=st.integers(2, 5), seed=st.integers(0, 99))
@settings(max_examples=25)
def test_corruption_moves_an_exact_number_of_labels_and_each_to_another_class(n, fraction, classes, seed):
    labels = torch.randint(classes, (n,), generator=compute.generator(seed))
    noisy, moved = dd.corrupt_labels(labels, fraction, classes, generator=compute.generator(seed))
    assert torch.equal(moved, noisy != labels)
    assert int(moved.sum()) == round(fraction * n)
    assert ((noisy >= 0) & (noisy < classes)).all()


def test_corrupted_labels_spread_evenly_over_the_other_classes():
    noisy, _ = dd.corrupt_labels(torch.full((30_000,), 2), 1.0, 5, generator=compute.generator(0))
    np.testing.assert_allclose(noisy.bincount(minlength=5) / 30_000, [0.25, 0.25, 0, 0.25, 0.25], atol=0.01)


LOGITS, LABELS, SCORES = torch.zeros(3, 4), torch.tensor([0, 1, 2]), torch.tensor([0.5, 0.1, 0.2])
LINEAR = nn.Linear(4, 4)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: dd.el2n_scores(torch.zeros(4), LABELS), r"logits .*\(4,\)"),
        (lambda: dd.el2n_scores(LOGITS, LABELS[:2]), r"labels .*\(3,\), got \(2,\)"),
        (lambda: dd.el2n_scores(LOGITS, LABELS[:, None]), r"labels .*got \(3, 1\)"),
        (lambda: dd.el2n_scores(LOGITS, LABELS + 2), r"labels .*0\.\.3, got 4"),
        (lambda: dd.el2n_scores(LOGITS, LABELS - 1), r"labels .*0\.\.3, got -1"),
        (lambda: dd.grand_scores(LINEAR, LOGITS, LABELS, chunk_size=0), "chunk_size .*got 0"),
        (lambda: dd.grand_scores(LINEAR, LOGITS, LABELS[:2]), r"labels .*got \(2,\)"),
        (lambda: dd.grand_scores(LINEAR, LOGITS, LABELS + 3), r"labels .*0\.\.3, got 4"),
        (lambda: dd.grand_scores(LINEAR, LOGITS[:0], LABELS[:0]), r"x .*got shape \(0, 4\)"),
        (lambda: dd.grand_scores(nn.Flatten(), LOGITS, LABELS), "requires a gradient, got 0"),
        (lambda: dd.forgetting_scores(LABELS), r"correct .*got \(3,\)"),
        (lambda: dd.keep_indices(SCORES, 0), "keep .*got 0"),
        (lambda: dd.keep_indices(SCORES, 4), "keep .*got 4"),
        (lambda: dd.keep_indices(LOGITS, 1), r"scores .*got shape \(3, 4\)"),
        (lambda: dd.keep_indices(torch.tensor([0.0, math.nan]), 1), "scores .*nan at 1"),
        (lambda: dd.keep_indices(SCORES, 1, rule="softest"), "rule .*'softest'"),
        (lambda: dd.keep_indices(SCORES, 2, rule="window", offset=2), "offset 2 and keep 2"),
        (lambda: dd.keep_indices(SCORES, 2, rule="window", offset=-1), "offset .*-1"),
        (lambda: dd.keep_indices(SCORES, 2, offset=1), "offset .*got 1 with 'hardest'"),
        (lambda: dd.corrupt_labels(LABELS, 1.5, 4, generator=compute.generator(0)), "fraction .*1.5"),
        (lambda: dd.corrupt_labels(LABELS, math.nan, 4, generator=compute.generator(0)), "fraction .*nan"),
        (lambda: dd.corrupt_labels(LABELS, 0.5, 1, generator=compute.generator(0)), "num_classes .*got 1"),
        (lambda: dd.corrupt_labels(LABELS, 0.5, 2, generator=compute.generator(0)), r"labels .*0\.\.1, got 2"),
        (lambda: dd.corrupt_labels(LABELS[None], 0.5, 4, generator=compute.generator(0)), r"labels .*\(1, 3\)"),
        (lambda: dd.train(dd.build(SMALL), dd.training_data(SMALL), SMALL, LABELS, diary=dd.Diary()), "subset of 3"),
        (lambda: dd.Config(batch_size=1198), "batch_size .*1197, got 1198"),
        (lambda: dd.Config(retrained=9), "retrained .*8, got 9"),
        (lambda: dd.Config(retrained=0), "retrained .*got 0"),
        (lambda: dd.Config(score_epoch=3), "score_epoch .*got 3"),
        (lambda: dd.Config(score_epochs=(4, 2)), r"score_epochs .*\(4, 2\)"),
        (lambda: dd.Config(score_epochs=(-1, 4)), "score_epochs .*-1"),
        (lambda: dd.Config(epochs=7), "score_epochs .*epoch 7, got 8"),
        (lambda: dd.Config(prune=(0.5, 1.0)), r"prune .*1\.0"),
        (lambda: dd.Config(hidden=(128, 0)), "hidden .*got 0"),
        (lambda: dd.Config(lr_drops=(1.2,)), r"lr_drops .*1\.2"),
        (lambda: dd.Config(source="somewhere"), "source .*'somewhere'"),
        (lambda: dd.Config(dataset="cifar10", source="nowhere"), "source .*'nowhere'"),
    ],
)
def test_bad_input_is_refused_by_value(call, match):
    with refuses(ValueError, match=match):
        call()


@pytest.mark.parametrize("labels", [torch.zeros(3), torch.zeros(3, dtype=torch.float64), torch.zeros(3).bool()])
def test_labels_that_are_no_integers_are_refused_by_their_dtype(labels):
    for call in (
        lambda: dd.el2n_scores(LOGITS, labels),
        lambda: dd.grand_scores(LINEAR, LOGITS, labels),
        lambda: dd.corrupt_labels(labels, 0.5, 4, generator=compute.generator(0)),
    ):
        with refuses(TypeError, match=str(labels.dtype)):
            call()


# --- Training ---------------------------------------------------------------------------------------------------


def test_training_on_a_subset_is_each_networks_own_nesterov_descent_for_the_steps_of_the_full_set():
    config = dataclasses.replace(SMALL, epochs=2, lr_drops=(0.5,), score_epochs=(0,), score_epoch=0)
    data, networks = dd.training_data(config), dd.build(config)
    kept = dd.random_subsets(config, 4, 40)
    assert len({tuple(row.tolist()) for row in kept}) == 4
    starts = [[p[k].detach().clone().requires_grad_() for p in networks.parameters()] for k in range(4)]
    measured = dd.train(networks, data, config, kept)
    steps = 2 * (120 // 16)
    order = dd.stream(config, "batches")
    batches = []
    while len(batches) < steps:  # two batches of 16 a pass over 40 examples
        batches += torch.rand(4, 40, generator=order).argsort(1)[:, :32].split(16, dim=1)
    for k, leaves in enumerate(starts):
        optimizer = torch.optim.SGD(leaves, config.lr, momentum=0.9, weight_decay=config.weight_decay, nesterov=True)
        for step in range(steps):
            optimizer.param_groups[0]["lr"] = config.lr * (1 if step < steps // 2 else 0.2)
            index = kept[k][batches[step][k]]
            w1, b1, w2, b2 = leaves
            logits = (data.x[index] @ w1 + b1).relu() @ w2 + b2
            optimizer.zero_grad()
            functional.cross_entropy(logits, data.labels[index]).backward()
            optimizer.step()
        for ours, theirs in zip(networks.parameters(), leaves, strict=True):
            torch.testing.assert_close(ours[k], theirs, rtol=1e-4, atol=1e-5)
        w1, b1, w2, b2 = leaves
        predicted = ((data.test.x @ w1 + b1).relu() @ w2 + b2).argmax(1)
        assert measured[k].item() == pytest.approx((predicted == data.test.y).double().mean().item(), abs=0.002)


def test_a_diary_scores_the_network_of_its_epoch_and_notes_every_visit():
    data, networks, diary = dd.training_data(SMALL), dd.build(SMALL), dd.Diary()
    start = dd.build(SMALL)
    dd.train(networks, data, SMALL, diary=diary)
    assert [len(part) for part in (diary.el2n, diary.grand, diary.correct)] == [3, 3, 3]
    torch.testing.assert_close(diary.el2n[0], dd.el2n_scores(start.logits(data.x), data.labels))
    torch.testing.assert_close(diary.grand[0], start.grand(data.x, data.labels))
    after_two = dd.build(SMALL)
    dd.train(after_two, data, SMALL, epochs=2)
    torch.testing.assert_close(diary.el2n[2], dd.el2n_scores(after_two.logits(data.x), data.labels))
    stacked = torch.stack(diary.correct)
    torch.testing.assert_close(diary.forgetting()[1], dd.forgetting_scores(stacked[:, 1]))
    # 112 of 120 are visited in the first epoch: no more can have been right in it.
    assert (diary.correct[0].sum(1) <= 112).all()


def test_replicas_share_neither_start_nor_batch_order():
    networks, diary = dd.build(SMALL), dd.Diary()
    dd.train(networks, dd.training_data(SMALL), SMALL, diary=diary)
    for scores in (diary.el2n[0], diary.el2n[2]):
        assert all(not torch.allclose(a, b) for a, b in itertools.combinations(scores, 2))


def test_fewer_examples_than_a_batch_make_smaller_batches():
    few = dd.train(dd.build(SMALL), dd.training_data(SMALL), SMALL, torch.tensor([3, 5, 8]))
    assert few.shape == (4,)


def test_labels_are_noisy_in_training_alone_and_pixels_are_centred_by_it():
    clean, noisy = (dd.training_data(dd.Config(), noisy=flag) for flag in (False, True))
    assert torch.equal(clean.x, noisy.x)
    assert torch.equal(clean.test.y, noisy.test.y)
    assert torch.equal(noisy.labels != clean.labels, noisy.moved)
    assert int(noisy.moved.sum()) == 120
    assert not clean.moved.any()
    torch.testing.assert_close(clean.x.mean(0), torch.zeros(64), atol=1e-6, rtol=0)
    assert ((clean.x + clean.mean) * 16).round().unique().tolist() == list(range(17))


def test_the_window_skips_a_fifth_more_than_the_noise():
    config = dd.Config()
    assert dd.kept_after(config, 0.5) == 598
    assert dd.window_offset(config) == 1197 - 598 - 144
    assert dd.window_offset(dataclasses.replace(config, noise=0.9)) == 0
    assert dd.window_offset(config, 0.0) == 599


# --- Images -----------------------------------------------------------------------------------------------------


def test_augmentation_is_a_crop_of_the_mirrored_border_and_a_reflection():
    image = torch.rand(3, 16, 16, generator=compute.generator(0))
    padded = functional.pad(image, [4] * 4, mode="reflect")
    crops = {}
    for flipped, dy, dx in itertools.product((False, True), range(9), range(9)):
        crop = padded[:, dy : dy + 16, dx : dx + 16]
        crops[(crop.flip(2) if flipped else crop).numpy().tobytes()] = (flipped, dy, dx)
    many = dd.crop_and_flip(image.expand(2, 1000, 3, 16, 16), generator=compute.generator(1)).flatten(0, 1)
    seen = [crops[each.contiguous().numpy().tobytes()] for each in many]
    assert len(set(seen)) == 162
    assert sum(flipped for flipped, _, _ in seen) == pytest.approx(1000, abs=100)


def test_full_scale_takes_two_steps_and_scores_with_its_own_pipeline(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder, _ = hub_folder(tmp_path / "hub", "cifar10", (32, 32, 3), n_train=2, n_test=1)
    tiny = {"n_train": 2, "batch_size": 1, "epochs": 1, "replicas": 1, "score_epochs": (0,), "score_epoch": 0}
    config = dataclasses.replace(dd.FULL, source=str(folder), **tiny)
    data, networks, diary = dd.training_data(config, noisy=True), dd.build(config), dd.Diary()
    assert data.x.shape == (2, 3, 32, 32)
    assert sum(p.numel() for p in networks.parameters()) == 11_173_962
    (start,) = copy.deepcopy(networks.each)
    assert dd.train(networks, data, config, diary=diary).shape == (1,)
    assert diary.forgetting().shape == (1, 2)
    assert not torch.equal(start.classifier.weight, networks.each[0].classifier.weight)
    torch.testing.assert_close(diary.grand[0][0], loop(start.eval(), data.x, data.labels), rtol=1e-3, atol=1e-3)
    assert dd.build_other(config).grand(data.x, data.labels).shape == (1, 2)


def test_full_scale_has_the_steps_of_the_official_scripts():
    assert dd.FULL.steps == 78_000
    assert [share * 200 for share in dd.FULL.lr_drops] == [60, 120, 160]


def test_too_small_a_set_is_refused(monkeypatch):
    few = Examples(torch.zeros(2, 3, 32, 32), torch.zeros(2, dtype=torch.int64))
    monkeypatch.setattr(training_module, "hub_images", lambda *_, **__: Split(few, few, few))
    with refuses(ValueError, match="n_train.*at most the 2 training images, got 50000"):
        dd.training_data(dd.FULL)


# --- The run ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def result():
    return dd.run(SMALL, device="cpu", progress=False)


def test_the_run_keeps_what_its_fields_say(result):
    assert result.pruned.tolist() == [0.5, 0.7]
    assert result.hardest.shape == result.random.shape == (2, 4)
    assert result.by_el2n.shape == result.by_grand.shape == (3, 4)
    assert torch.equal(result.hardest[0], result.by_el2n[2])
    data = dd.training_data(SMALL)
    early = result.el2n[2].mean(0)
    cases = {
        "easiest": (early, "easiest"),
        "by_other": (result.other_el2n.mean(0), "hardest"),
        "by_forgetting": (result.forgetting.mean(0), "hardest"),
    }
    for name, (scores, rule) in cases.items():
        again = dd.retrain(data, SMALL, dd.keep_indices(scores, 60, rule=rule))
        assert torch.equal(getattr(result, name), again)
    again = dd.retrain(data, SMALL, dd.keep_indices(result.grand[0].mean(0), 60))
    assert torch.equal(result.by_grand[0], again)
    assert result.forgetting.min() >= 0


def test_the_noisy_run_trains_on_noisy_labels_within_its_window(result):
    noisy = dd.training_data(SMALL, noisy=True)
    window = dd.keep_indices(result.noisy_el2n, 60, rule="window", offset=120 - 60 - 14)
    assert (result.kept, result.offset) == (60, 46)
    assert torch.equal(result.noisy_window, dd.retrain(noisy, SMALL, window))
    assert torch.equal(result.moved, noisy.moved)


def test_the_gallery_shows_the_ends_of_the_ranking(result):
    assert result.gallery.shape == (3, 20, 64)
    lowest = result.el2n[2].mean(0).argmin()
    data = dd.training_data(SMALL)
    torch.testing.assert_close(result.gallery[0, 0], data.x[lowest] + data.mean)
    assert int(result.gallery_labels[0, 0]) == int(data.labels[lowest])
    assert not result.gallery_moved[:2].any()


def test_rank_correlation_is_scipys_and_has_none_without_a_ranking():
    x = torch.randint(4, (2, 30), generator=compute.generator(0)).double()
    assert dd.spearman(x[0], x[1]) == pytest.approx(spearmanr(x[0], x[1]).statistic)
    assert math.isnan(dd.spearman(x[0], torch.ones(30)))


def test_reproducibility_compares_means_of_halves_with_single_networks():
    scores = torch.rand(4, 30, generator=compute.generator(0))
    halves = spearmanr(scores[:2].mean(0), scores[2:].mean(0)).statistic
    single = np.mean([spearmanr(scores[i], scores[j]).statistic for i in range(4) for j in range(i)])
    assert dd.reproducibility(scores) == pytest.approx(halves - single)
    assert math.isnan(dd.reproducibility(scores[:1]))


def test_auroc_is_the_share_of_pairs_in_order():
    scores, mask = torch.tensor([0.1, 0.4, 0.4, 0.9]), torch.tensor([False, False, True, True])
    assert dd.auroc(scores, mask) == pytest.approx((1 + 0.5 + 1 + 1) / 4)
    assert math.isnan(dd.auroc(scores, torch.zeros(4, dtype=torch.bool)))


def synthetic(result, **accuracies):
    """A result in which every subset does as given, 0.9 where nothing is."""
    shapes = {f.name: getattr(result, f.name) for f in dataclasses.fields(result)}
    names = ("full", "hardest", "random", "by_el2n", "by_grand", "by_other", "noisy_hardest", "noisy_window")
    filled = {name: torch.full_like(shapes[name], 0.9) for name in names}
    for name, values in accuracies.items():
        column = torch.as_tensor(values, dtype=torch.float64)
        filled[name] = (column if filled[name].ndim == 1 else column[:, None]).expand_as(filled[name])
    scores = torch.linspace(0, 1, 120).expand(3, 4, 120)
    noisy = torch.where(result.moved, 1.0, 0.1)
    return dataclasses.replace(result, **filled, el2n=scores, grand=scores**2, noisy_el2n=noisy)


GOOD = {
    "full": [0.9],
    "hardest": [0.9, 0.9],
    "random": [0.87, 0.85],
    "by_el2n": [0.8, 0.9, 0.9],
    "by_grand": [0.8, 0.9, 0.9],
    "noisy_hardest": [0.8],
}


@pytest.mark.parametrize(
    ("change", "fails"),
    [
        ({}, {"averaging"}),  # equal networks gain nothing by averaging
        ({"full": [0.906]}, {"half_is_enough"}),
        ({"random": [0.87, 0.895]}, {"beats_random"}),
        ({"by_el2n": [0.8, 0.88, 0.9]}, {"one_epoch_suffices"}),
        ({"by_el2n": [0.83, 0.9, 0.9]}, {"one_epoch_suffices"}),
        ({"by_grand": [0.865, 0.9, 0.9]}, {"grand_init_fails"}),
        ({"by_other": [0.88]}, {"transfers"}),
        ({"noisy_window": [0.82]}, {"finds_noise"}),
    ],
)
def test_each_claim_fails_where_its_own_measurement_does(result, change, fails):
    verdicts = {c.id: c.holds for c in dd.claims(synthetic(result, **(GOOD | change)))}
    assert {name for name, holds in verdicts.items() if not holds} == fails | {"averaging"}


def test_a_tiny_run_claims_without_raising_and_what_it_cannot_measure_does_not_hold():
    config = dataclasses.replace(
        SMALL, n_train=20, batch_size=16, replicas=1, epochs=1, score_epochs=(1,), score_epoch=1, noise=0.0
    )
    verdicts = {c.id: c for c in dd.claims(dd.run(config, device="cpu", progress=False))}
    for name in ("grand_init_fails", "averaging"):
        assert math.isnan(verdicts[name].measured)
    assert not any(verdicts[n].holds for n in ("one_epoch_suffices", "grand_init_fails", "averaging", "finds_noise"))
