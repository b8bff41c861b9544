"""The pieces of learning with imbalanced classes against closed forms, peer libraries, and plain modules."""

from __future__ import annotations

import collections
import copy
import dataclasses
import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from imblearn.over_sampling import RandomOverSampler
from imblearn.under_sampling import RandomUnderSampler
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.nn import functional

from overparam.core import compute
from overparam.imperfect_data import class_imbalance as ci
from tests.conftest import refuses
from tests.hub import hub_folder

SMALL = ci.Config(
    n_max=20,
    minority=4,
    rhos=(1, 10),
    rho=10,
    replicas=2,
    channels=(3, 4),
    hidden=8,
    steps=12,
    phase2_steps=4,
    batch_size=16,
)


def labels_of(counts, seed=0):
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    return labels[torch.randperm(len(labels), generator=compute.generator(seed))]


# --- Sizes of classes -------------------------------------------------------------------------------------------


def test_step_counts_are_the_papers_example():
    # Figure 1a: of ten classes five have 500 images and five have 5,000.
    assert ci.step_counts(10, range(5), 5000, 10).tolist() == [500] * 5 + [5000] * 5
    # Figure 1b has the same total at another ratio and share of minority classes.
    assert ci.step_counts(10, range(9), 5000, 2).sum() == ci.step_counts(10, range(5), 5000, 10).sum()
    assert ci.step_counts(3, (2, 0), 100, 50).tolist() == [2, 100, 2]
    assert ci.step_counts(3, (), 7, 7).tolist() == [7, 7, 7]


@given(classes=st.integers(2, 20), n_max=st.integers(1, 500), data=st.data())
def test_linear_counts_run_evenly_from_the_smallest_to_the_largest(classes, n_max, data):
    rho = data.draw(st.floats(1, n_max))
    counts = ci.linear_counts(classes, n_max, rho)
    exact = [n_max / rho + i * (n_max - n_max / rho) / (classes - 1) for i in range(classes)]
    assert counts.dtype.kind == "i"
    assert np.abs(counts - exact).max() <= 0.5 + 1e-9
    assert counts[-1] == n_max


def test_linear_and_step_imbalance_of_half_the_classes_have_one_total():
    # Section 4.3.
    assert ci.linear_counts(10, 5000, 50).sum() == ci.step_counts(10, range(5), 5000, 50).sum()


# --- Subsets and resampling -------------------------------------------------------------------------------------


@given(sizes=st.lists(st.integers(0, 12), min_size=1, max_size=6), seed=st.integers(0, 99), data=st.data())
@settings(max_examples=40)
def test_a_subsample_has_the_counts_and_no_example_twice(sizes, seed, data):
    labels = labels_of(sizes, seed)
    counts = [data.draw(st.integers(0, size)) for size in sizes]
    chosen = ci.subsample(labels, counts, generator=compute.generator(seed))
    assert labels[chosen].bincount(minlength=len(sizes)).tolist() == counts
    assert (chosen.diff() > 0).all()


def test_smaller_counts_choose_from_what_larger_counts_chose():
    labels = labels_of([30, 30, 30])
    many = ci.subsample(labels, [20, 20, 20], generator=compute.generator(1)).tolist()
    few = ci.subsample(labels, np.array([2, 20, 9]), generator=compute.generator(1)).tolist()
    assert set(few) < set(many)
    assert set(few) != set(ci.subsample(labels, [2, 20, 9], generator=compute.generator(2)).tolist())


@given(
    sizes=st.lists(st.integers(0, 15), min_size=1, max_size=6).filter(any),
    level=st.floats(0, 1),
    seed=st.integers(0, 99),
)
@settings(max_examples=60)
def test_resampling_reaches_the_level_from_either_side(sizes, level, seed):
    labels, there = labels_of(sizes, seed), [size for size in sizes if size]
    low, high = min(there), max(there)
    chosen = ci.resample_indices(labels, method="oversample", level=level, generator=compute.generator(seed))
    floor = round(low + level * (high - low))
    assert labels[chosen].bincount(minlength=len(sizes)).tolist() == [size and max(size, floor) for size in sizes]
    assert set(chosen.tolist()) == set(range(len(labels)))  # all originals stay
    assert (chosen.diff() >= 0).all()
    chosen = ci.resample_indices(labels, method="undersample", level=level, generator=compute.generator(seed))
    ceiling = round(high - level * (high - low))
    assert labels[chosen].bincount(minlength=len(sizes)).tolist() == [min(size, ceiling) for size in sizes]
    assert (chosen.diff() > 0).all()


def test_oversampling_draws_uniformly_from_the_class():
    labels = labels_of([4, 4004])
    rare = (labels == 0).nonzero()[:, 0].tolist()
    chosen = ci.resample_indices(labels, method="oversample", generator=compute.generator(0)).tolist()
    repeats = collections.Counter(i for i in chosen if i in rare)
    # Each of the four is there once and then as a binomial variable of 4,000 trials at 1/4 has it.
    assert all(abs(repeats[i] - 1001) < 5 * math.sqrt(4000 * 0.25 * 0.75) for i in rare)


@pytest.mark.parametrize(("method", "peer"), [("oversample", RandomOverSampler), ("undersample", RandomUnderSampler)])
def test_resampling_gives_the_class_sizes_of_imbalanced_learn(method, peer):
    labels = labels_of([3, 17, 40])
    ours = labels[ci.resample_indices(labels, method=method, generator=compute.generator(0))]
    _, theirs = peer(random_state=0).fit_resample(np.zeros((60, 1)), labels.numpy())
    assert collections.Counter(ours.tolist()) == collections.Counter(theirs.tolist())


# --- Thresholding -----------------------------------------------------------------------------------------------


@given(share=st.floats(0.01, 0.99), x=st.floats(-5, 5))
def test_thresholding_the_exact_posterior_gives_the_balanced_one(share, x):
    densities = [math.exp(-((x + 1) ** 2) / 2), math.exp(-((x - 1) ** 2) / 2)]
    joint = torch.tensor([share * densities[0], (1 - share) * densities[1]], dtype=torch.float64)
    balanced = ci.threshold(joint / joint.sum(), [share, 1 - share])
    assert balanced[1].item() == pytest.approx(1 / (1 + math.exp(-2 * x)), rel=1e-9)


def test_thresholding_takes_shares_or_counts():
    probs = torch.tensor([[0.8, 0.2], [0.5, 0.5]], dtype=torch.float64)
    raw = ci.threshold(probs, torch.tensor([3, 1]), normalize=False)
    torch.testing.assert_close(raw, probs / torch.tensor([0.75, 0.25], dtype=torch.float64))
    torch.testing.assert_close(ci.threshold(probs, np.array([0.75, 0.25]), normalize=False), raw)
    torch.testing.assert_close(ci.threshold(probs, [3, 1]), raw / raw.sum(1, keepdim=True))


def test_a_uniform_prior_changes_nothing():
    probs = torch.rand(3, 5, 4, generator=compute.generator(0), dtype=torch.float64).softmax(-1)
    torch.testing.assert_close(ci.threshold(probs, [7] * 4), probs)


# --- The ranking ------------------------------------------------------------------------------------------------


@given(n=st.integers(4, 40), classes=st.integers(2, 5), values=st.integers(2, 50), seed=st.integers(0, 999))
@settings(max_examples=60)
def test_the_auc_is_scikit_learns_and_the_share_of_ordered_pairs(n, classes, values, seed):
    generator = compute.generator(seed)
    n = max(n, classes)
    labels = torch.cat([torch.arange(classes), torch.randint(classes, (n - classes,), generator=generator)])
    scores = torch.randint(values, (n, classes), generator=generator).double()  # with ties
    ours = ci.multiclass_auc(scores, labels)
    one_hot = functional.one_hot(labels, classes).numpy()
    assert ours == pytest.approx(roc_auc_score(one_hot, scores.numpy(), average="macro"), abs=1e-12)
    areas = []
    for label, column in enumerate(scores.mT):
        gaps = column[labels == label][:, None] - column[labels != label]
        areas.append(float((gaps > 0).double().mean() + (gaps == 0).double().mean() / 2))
    assert ours == pytest.approx(sum(areas) / classes, abs=1e-12)


def test_the_auc_ignores_a_factor_a_class_but_not_one_an_example():
    generator = compute.generator(0)
    labels = torch.arange(3).repeat(40)
    probs = (torch.randn(120, 3, generator=generator, dtype=torch.float64) + functional.one_hot(labels)).softmax(1)
    raw, prior = ci.multiclass_auc(probs, labels), [0.9, 0.09, 0.01]
    assert ci.multiclass_auc(ci.threshold(probs, prior, normalize=False), labels) == raw
    assert abs(ci.multiclass_auc(ci.threshold(probs, prior), labels) - raw) > 1e-3


def test_a_perfect_ranking_has_area_one_and_infinite_scores_are_ranked():
    labels = torch.tensor([0, 1, 2, 2])
    assert ci.multiclass_auc(functional.one_hot(labels).double(), labels) == 1
    assert ci.multiclass_auc(-functional.one_hot(labels).double(), labels) == 0
    assert ci.multiclass_auc(torch.zeros(4, 3), labels) == 0.5
    assert ci.multiclass_auc(functional.one_hot(labels).double().log(), labels) == 1


# --- Networks ---------------------------------------------------------------------------------------------------


SHAPE = {"side": 8, "in_channels": 1, "channels": (5, 7), "hidden": 6, "num_classes": 10}


def as_modules(networks, side):
    """The stacked networks as torch's own modules, with float64 weights."""
    modules = []
    for k in range(networks.count):
        weights = [w[k].detach().double() for w in networks.weights]
        biases = [b[k, 0].detach().double() for b in networks.biases]
        wide = weights[0].shape[1], weights[1].shape[1]
        layers = [
            nn.Conv2d(1, wide[0], 3, padding=1),
            nn.Conv2d(*wide, 3, padding=1),
            nn.Linear(weights[2].shape[0], weights[2].shape[1]),
            nn.Linear(*weights[3].shape),
        ]
        kernels = [
            weights[0].mT.reshape(wide[0], 1, 3, 3),
            weights[1].reshape(3, 3, wide[0], wide[1]).permute(3, 2, 0, 1),
            weights[2].reshape((side // 4) ** 2, wide[1], -1).transpose(0, 1).flatten(0, 1).mT,
            weights[3].mT,
        ]
        for layer, weight, bias in zip(layers, kernels, biases, strict=True):
            layer.weight, layer.bias = nn.Parameter(weight.clone()), nn.Parameter(bias.clone())
        convolutions = [layers[0], nn.MaxPool2d(2), nn.ReLU(), layers[1], nn.MaxPool2d(2), nn.ReLU(), nn.Flatten()]
        modules.append(nn.Sequential(*convolutions, layers[2], nn.ReLU(), layers[3]))
    return modules


@pytest.mark.parametrize("side", [8, 12])
def test_stacked_networks_are_torchs_convolutions(side):
    generator = compute.generator(0)
    networks = ci.StackedCNNs(3, **{**SHAPE, "side": side}, generator=generator).double()
    for bias in networks.biases:
        nn.init.normal_(bias, generator=generator)
    images = torch.randn(3, 4, 1, side, side, generator=generator, dtype=torch.float64)
    prepared = networks.prepare(images.flatten(0, 1)).unflatten(0, (3, 4))
    logits = networks(prepared)
    modules = as_modules(networks, side)
    theirs = torch.stack([module(x) for module, x in zip(modules, images, strict=True)])
    torch.testing.assert_close(logits, theirs, rtol=1e-10, atol=1e-10)
    logits.square().sum().backward()
    theirs.square().sum().backward()
    for k, module in enumerate(modules):
        gradient = networks.weights[0].grad
        assert gradient is not None
        torch.testing.assert_close(gradient[k].mT.reshape(5, 1, 3, 3), module[0].weight.grad, rtol=1e-9, atol=1e-9)


def test_the_reader_network_has_the_briefs_size_and_he_normal_weights():
    networks = ci.build(ci.Config(replicas=20))
    assert sum(p.numel() for p in networks.parameters()) == 20 * 13_706
    assert isinstance(networks, ci.StackedCNNs)
    for weight, fan_in in zip(networks.weights, (9, 144, 128, 64), strict=True):
        assert weight.std().item() == pytest.approx(math.sqrt(2 / fan_in), rel=0.05)
    assert not any(bias.any() for bias in networks.biases)
    assert sum(p.numel() for p in networks.head()) == 20 * 650


# --- Data and training ------------------------------------------------------------------------------------------


def test_replicas_differ_in_their_rare_classes_and_ratios_in_nothing_else():
    config = ci.Config()
    data = ci.imbalanced_data(config)
    assert data.pool.x.shape == (1197, 64, 9)
    assert data.test.y.bincount().tolist() == [60] * 10
    assert data.minority.sum(1).tolist() == [5] * 4
    assert len({tuple(row) for row in data.minority.tolist()}) > 1
    for rho, rare in ((1, 100), (10, 10), (50, 2)):
        expected = np.where(data.minority.numpy(), rare, 100)
        assert (ci.class_sizes(data, config, rho) == expected).all()
    for few, many in zip(data.subset(config, 50).tolist(), data.subset(config, 1).tolist(), strict=True):
        assert set(few) < set(many)


def test_the_pool_is_centred_and_shares_no_image_with_the_test_set():
    data = ci.imbalanced_data(SMALL)
    middle = data.pool.x[:, :, 4]  # the middle of each patch is the image
    assert middle.mean().item() == pytest.approx(0, abs=1e-6)
    assert middle.max() - middle.min() == pytest.approx(1)
    pool = {row.numpy().tobytes() for row in middle}
    assert not pool & {row.numpy().tobytes() for row in data.test.x[:, :, 4]}


@pytest.mark.parametrize("seed", range(8))
def test_every_seed_has_a_hundred_images_of_each_class(seed):
    assert ci.imbalanced_data(ci.Config(seed=seed)).pool.y.bincount().min() >= 100


def test_training_indices_are_the_replicas_own_images():
    config = ci.Config()
    data = ci.imbalanced_data(config)
    over = ci.training_indices(data, config, 50, method="oversample")
    under = ci.training_indices(data, config, 50, method="undersample")
    part = ci.training_indices(data, config, 50, method="oversample", level=0.1)
    assert (over.shape, under.shape, part.shape) == ((4, 1000), (4, 20), (4, 560))
    for subset, *resampled in zip(data.subset(config, 50), over, under, part, strict=True):
        assert all(set(row.tolist()) <= set(subset.tolist()) for row in resampled)


def test_the_ensemble_trains_as_its_networks_would_alone():
    config = dataclasses.replace(SMALL, replicas=2, steps=10)
    data, networks = ci.imbalanced_data(config), ci.build(config)
    modules = [module.float() for module in as_modules(networks, 8)]
    indices = ci.training_indices(data, config, 10, method="oversample")
    ci.train(networks, data, indices, config)
    images = data.pool.x[:, :, 4]
    inverse = torch.arange(64).view(4, 2, 4, 2).transpose(1, 2).flatten().argsort()
    images = images[:, inverse].view(-1, 1, 8, 8)
    draws = ci.stream(config, "batches")
    optimizers = [torch.optim.SGD(m.parameters(), config.lr, momentum=0.9, weight_decay=5e-4) for m in modules]
    for step in range(10):
        places = torch.rand(2, config.batch_size, generator=draws, dtype=torch.float64) * indices.shape[1]
        for module, optimizer, row, place in zip(modules, optimizers, indices, places, strict=True):
            optimizer.param_groups[0]["lr"] = config.lr if step < 6 else config.lr / 10
            optimizer.zero_grad()
            batch = row[place.long()]
            functional.cross_entropy(module(images[batch]), data.pool.y[batch]).backward()
            optimizer.step()
    for ours, theirs in zip(networks.weights[-1], modules, strict=True):
        torch.testing.assert_close(ours.mT, theirs[-1].weight, rtol=1e-3, atol=1e-5)


def test_the_second_phase_tunes_the_last_layer_alone():
    data, networks = ci.imbalanced_data(SMALL), ci.build(SMALL)
    before = copy.deepcopy(networks.state_dict())
    ci.tune_head(networks, data, data.subset(SMALL, 10), SMALL)
    changed = {name for name, value in networks.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"weights.3", "biases.3"}
    assert all(p.requires_grad for p in networks.parameters())


def test_per_class_accuracy_is_the_recall():
    from sklearn.metrics import recall_score

    generator = compute.generator(0)
    probs = torch.rand(2, 60, 4, generator=generator, dtype=torch.float64)
    labels = torch.randint(4, (60,), generator=generator)
    recalls = ci.per_class_accuracy(probs, labels)
    for each, decided in zip(recalls, probs.argmax(-1), strict=True):
        np.testing.assert_allclose(each, recall_score(labels, decided, average=None))


# --- Full scale -------------------------------------------------------------------------------------------------


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A folder like cifar10's on the hub."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return hub_folder(tmp_path / "hub", "cifar10", (32, 32, 3), n_train=90, n_test=4)[0]


def test_full_scale_takes_two_steps_of_each_phase(stand_in):
    tiny = {"n_max": 2, "rhos": (1, 2), "rho": 2, "replicas": 1, "steps": 2, "phase2_steps": 2, "batch_size": 2}
    config = dataclasses.replace(ci.FULL, source=str(stand_in), **tiny)
    data, networks = ci.imbalanced_data(config), ci.build(config)
    assert data.pool.x.shape[1:] == (3, 32, 32)
    assert sum(p.numel() for p in networks.parameters()) == 1_369_738  # Table 3, counted by hand
    assert sum(p.numel() for p in networks.head()) == 192 * 192 + 192 + 192 * 10 + 10
    again = ci.build(config)
    state = torch.random.get_rng_state()
    for each in (networks, again):
        ci.train(each, data, ci.training_indices(data, config, 2, method="oversample"), config)
    assert torch.equal(torch.random.get_rng_state(), state)  # dropout leaves the global generator alone
    before = copy.deepcopy(networks.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(before.values(), again.state_dict().values(), strict=True))
    ci.tune_head(networks, data, data.subset(config, 2), config)
    changed = {name for name, value in networks.state_dict().items() if not torch.equal(value, before[name])}
    assert changed <= {f"each.0.{layer}.{kind}" for layer in (17, 19) for kind in ("weight", "bias")}
    assert networks.probabilities(data.test.x).shape == (1, 4, 10)


def test_full_scale_is_the_papers():
    assert ci.FULL.steps == 70_000
    assert [round(share * ci.FULL.steps) for share in ci.FULL.lr_drops] == [40_000, 50_000, 60_000]
    assert ci.FULL.phase2_lr == pytest.approx(ci.FULL.lr / 10)
    assert ci.FULL.minority / 10 == 0.5


# --- The run ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def result():
    return ci.run(SMALL, device="cpu", progress=False)


def test_the_run_measures_what_its_fields_say(result):
    assert result.auc.shape == result.threshold_accuracy.shape == (3, 2, 2)
    assert (result.auc[:, 0] == result.auc[:1, 0]).all()  # at ratio 1 nothing is resampled
    assert (result.threshold_auc - result.auc).abs().max() < 1e-9
    torch.testing.assert_close(result.curve_auc[:, -1], result.auc[:2, 1])
    assert result.confusion.sum(2).allclose(torch.ones(3, 10, dtype=torch.float64))
    torch.testing.assert_close(result.confusion[0].diagonal().mean(), result.accuracy[0, 1].mean())
    torch.testing.assert_close(result.confusion[1].diagonal().mean(), result.threshold_accuracy[0, 1].mean())
    rare = result.confusion[2].diagonal()[:4].mean()
    torch.testing.assert_close(rare, result.rare_test[1, -1].mean())
    assert result.curve_steps.tolist() == [1, 2, 4, 5, 6, 7, 8, 10, 11, 12]


def made(result, **change):
    """A result in which every method scores the same, but for the changes."""
    flat = {
        name: torch.full_like(getattr(result, name), 0.9)
        for name in ("auc", "accuracy", "threshold_auc", "threshold_accuracy", "two_phase_auc", "two_phase_accuracy")
    }
    flat |= {name: torch.full_like(getattr(result, name), 0.9) for name in ("partial_auc", "curve_auc")}
    return dataclasses.replace(result, **{**flat, **change})


IDS = [
    "imbalance_hurts",
    "oversampling_helps",
    "oversampling_dominates",
    "thresholding_restores_accuracy",
    "oversample_completely",
    "oversampling_does_not_overfit",
    "two_phase_gives_back",
]


def test_claims_are_the_briefs_and_can_fail(result):
    assert [claim.id for claim in ci.claims(result)] == IDS
    verdicts = {claim.id: claim.holds for claim in ci.claims(made(result))}
    assert [name for name, holds in verdicts.items() if holds] == ["oversample_completely", IDS[5]]
    falling = torch.linspace(0.95, 0.9, 10)[None, :, None].expand_as(result.curve_auc).double()
    worse = made(result, partial_auc=torch.full_like(result.partial_auc, 0.95), curve_auc=falling)
    assert not any(claim.holds for claim in ci.claims(worse))


def test_claims_read_means_over_replicas(result):
    auc = torch.tensor([[0.99, 0.90], [0.99, 0.97], [0.99, 0.94]]).double()[..., None].expand(3, 2, 2)
    accuracy = torch.tensor([[0.9, 0.6], [0.9, 0.8], [0.9, 0.7]]).double()[..., None].expand(3, 2, 2)
    spread = torch.tensor([-0.01, 0.01]).double()
    good = made(
        result,
        auc=auc + spread,
        threshold_auc=auc + spread,
        accuracy=accuracy + spread,
        threshold_accuracy=accuracy + 0.1,
        partial_auc=torch.tensor([0.93, 0.97]).double(),
        two_phase_auc=torch.tensor([[0.96, 0.96], [0.94, 0.96]]).double(),
        two_phase_accuracy=torch.tensor([[0.7, 0.7], [0.6, 0.7]]).double(),
    )
    found = ci.claims(good)
    assert [claim.measured for claim in found] == pytest.approx([0.09, 0.07, 0.02, 0.1, 0.02, 0.0, 0.05], abs=1e-6)
    assert all(claim.holds for claim in found)


def test_nothing_measured_is_nothing_claimed(result):
    nan = {
        f.name: torch.full_like(value, math.nan)
        for f in dataclasses.fields(result)
        if isinstance(value := getattr(result, f.name), torch.Tensor) and value.is_floating_point()
    }
    assert not any(claim.holds for claim in ci.claims(dataclasses.replace(result, **nan)))


def test_a_run_without_imbalance_is_a_run():
    config = dataclasses.replace(SMALL, rhos=(1,), rho=1, steps=2, phase2_steps=1)
    assert [claim.id for claim in ci.claims(ci.run(config, device="cpu", progress=False))] == IDS


@pytest.mark.parametrize("draw", [ci.plot, ci.plot_confusion, ci.plot_training, ci.plot_remaining])
def test_figures_draw_any_result(result, draw):
    figure = draw(result)
    figure.canvas.draw()
    assert figure.axes[0].get_xlabel()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_inputs_decide_dtype_and_device(dtype):
    probs = torch.rand(6, 3, generator=compute.generator(0), dtype=dtype).softmax(1)
    assert ci.threshold(probs, [1, 2, 3]).dtype == dtype
    assert isinstance(ci.multiclass_auc(probs, torch.tensor([0, 1, 2, 0, 1, 2])), float)
    there = ci.threshold(probs.to("meta"), [1, 2, 3])
    assert (there.device.type, there.dtype) == ("meta", dtype)
    networks = ci.build(SMALL).to("meta", dtype)
    logits = networks(networks.prepare(torch.empty(5, 1, 8, 8, device="meta", dtype=dtype)).expand(2, 5, 64, 9))
    assert (logits.shape, logits.device.type, logits.dtype) == ((2, 5, 10), "meta", dtype)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_labels_may_be_of_any_integer_type(dtype):
    labels = labels_of([2, 5]).to(dtype)
    for method in ("oversample", "undersample"):
        assert ci.resample_indices(labels, method=method, generator=compute.generator(0)).dtype == torch.int64
    assert ci.subsample(labels, [1, 2], generator=compute.generator(0)).dtype == torch.int64
    scores = torch.rand(7, 2, generator=compute.generator(0))
    assert ci.multiclass_auc(scores, labels) == ci.multiclass_auc(scores, labels.long())


# --- Refusals ---------------------------------------------------------------------------------------------------

G = compute.generator(0)
Y = labels_of([2, 3])
P = torch.full((5, 2), 0.5)
subsample = partial(ci.subsample, Y, generator=G)
resample = partial(ci.resample_indices, generator=G)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: ci.step_counts(1, (), 10, 2), "num_classes.*1"),
        (lambda: ci.step_counts(3, (1, 1), 10, 2), r"minority.*once.*\[1, 1\]"),
        (lambda: ci.step_counts(3, (3,), 10, 2), r"minority.*0\.\.2.*3"),
        (lambda: ci.step_counts(3, (-1,), 10, 2), r"minority.*0\.\.2.*-1"),
        (lambda: ci.step_counts(3, (1,), 10, 0.5), r"rho.*\[1, n_max = 10\].*0.5"),
        (lambda: ci.step_counts(3, (1,), 10, 11), "rho.*11"),
        (lambda: ci.step_counts(3, (1,), 10, math.nan), "rho.*nan"),
        (lambda: ci.step_counts(3, (1,), 0, 1), "n_max.*0"),
        (lambda: ci.linear_counts(1, 10, 2), "num_classes.*1"),
        (lambda: ci.linear_counts(3, 10, 0.9), "rho.*0.9"),
        (lambda: ci.linear_counts(3, 10, 20), "rho.*20"),
        (lambda: subsample([3, 3]), "class 0 has 2 examples.*3"),
        (lambda: subsample([1, 1, 1]), "class 2 has 0 examples.*1"),
        (lambda: subsample([-1, 1]), "counts.*-1"),
        (lambda: ci.subsample(Y[None], [1, 1], generator=G), r"labels.*\(1, 5\)"),
        (lambda: resample(Y, method="smote"), "method.*smote"),
        (lambda: resample(Y, method="oversample", level=1.5), r"level.*\[0, 1\].*1.5"),
        (lambda: resample(Y, method="undersample", level=-0.1), "level.*-0.1"),
        (lambda: resample(Y, method="undersample", level=math.nan), "level.*nan"),
        (lambda: resample(Y[:0], method="oversample"), r"labels.*\(0,\)"),
        (lambda: resample(Y.double(), method="oversample"), "labels.*float64"),
        (lambda: resample(Y - 1, method="oversample"), "labels.*-1"),
        (lambda: ci.threshold(P, [1, 2, 3]), r"prior.*\(5, 2\).*\(3,\)"),
        (lambda: ci.threshold(P, [[0.5, 0.5]]), r"prior.*\(1, 2\)"),
        (lambda: ci.threshold(P, [1, 0]), "prior.*positive.*0.0"),
        (lambda: ci.threshold(P, [1, -2]), "prior.*positive.*-2.0"),
        (lambda: ci.threshold(P, [1, math.nan]), "prior.*nan"),
        (lambda: ci.multiclass_auc(torch.full((5, 2), math.nan), Y), "scores.*nan"),
        (lambda: ci.multiclass_auc(P, Y[:4]), r"labels.*\(5, 2\).*\(4,\)"),
        (lambda: ci.multiclass_auc(P, Y[:, None]), r"labels.*\(5, 1\)"),
        (lambda: ci.multiclass_auc(torch.zeros(5, 3), Y), "class 2"),
        (lambda: ci.multiclass_auc(P, Y * 0), "class 1"),
        (lambda: ci.multiclass_auc(P, Y + 1), r"labels.*0\.\.1.*2"),
        (lambda: ci.multiclass_auc(P, Y - 1), "labels.*-1"),
        (lambda: ci.multiclass_auc(P[:, :1], Y * 0), "num_classes.*1"),
        (lambda: ci.Config(dataset="mnist"), "dataset.*mnist"),
        (lambda: ci.Config(source="folder"), "source.*folder"),
        (lambda: ci.Config(dataset="cifar10", source="no-such-folder"), "source.*no-such-folder"),
        (lambda: ci.Config(minority=10), "minority.*10"),
        (lambda: ci.Config(rho=20), r"rho.*\(1, 10, 50\).*20"),
        (lambda: ci.Config(rhos=(10, 1), rho=10), r"rhos.*\(10, 1\)"),
        (lambda: ci.Config(rhos=(1, 50, 200)), "rho.*200"),
        (lambda: ci.Config(channels=(16, 0)), "channels.*0"),
        (lambda: ci.Config(channels=(16,)), r"channels.*\(16,\)"),
        (lambda: ci.Config(lr_drops=(math.nan,)), "lr_drops.*nan"),
        (lambda: ci.imbalanced_data(ci.Config(n_max=130)), "fewer.*130"),
        (
            lambda: ci.StackedCNNs(1, side=10, in_channels=1, channels=(1, 1), hidden=1, num_classes=2, generator=G),
            "10",
        ),
    ],
)
def test_bad_input_is_refused_with_its_value(call, match):
    with refuses(ValueError, match=match):
        call()


@pytest.mark.parametrize("field", [f.name for f in dataclasses.fields(ci.Config) if f.type in ("int", "float")])
def test_every_number_of_the_configuration_has_a_range(field):
    value = -1 if isinstance(getattr(ci.Config(), field), int) else math.nan
    with refuses(ValueError, match=f"{field}.*{value}"):
        ci.Config(**{field: value})
