"""Upsample or upweight: closed forms, brute force over finite sets, and torch's own sampler and modules as peers."""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import nn
from torch.nn import functional
from torch.utils.data import WeightedRandomSampler

from overparam.core import compute
from overparam.imperfect_data import upsample_upweight as uu
from tests.conftest import refuses

probe_module = importlib.import_module("overparam.imperfect_data.upsample_upweight.probe")

SMALL = uu.Config(
    names=(40, 10),
    val_names=8,
    context=2,
    embed=4,
    hidden=8,
    replicas=2,
    steps=12,
    batch_size=8,
    eval_every=4,
    probe_examples=6,
    probe_step=6,
)

SIZES = st.lists(st.floats(1, 1e7), min_size=2, max_size=6)
TAUS = st.floats(1, 200)
FEW = settings(max_examples=25)


# --- Two ways to balance ----------------------------------------------------------------------------------------


def test_temperature_one_is_proportional_and_infinity_is_uniform():
    sizes = [600, 300, 100]
    torch.testing.assert_close(uu.temperature_probs(sizes, 1.0), torch.tensor([0.6, 0.3, 0.1]).double())
    torch.testing.assert_close(uu.temperature_probs(sizes, math.inf), torch.full((3,), 1 / 3).double())


@FEW
@given(sizes=SIZES, tau=st.floats(0.2, 200))
def test_temperature_probs_are_powers_of_the_sizes(sizes, tau):
    powers = np.array(sizes) ** (1 / tau)
    np.testing.assert_allclose(uu.temperature_probs(sizes, tau), powers / powers.sum(), rtol=1e-9)


def test_a_temperature_near_zero_takes_the_largest_domain_and_does_not_overflow():
    for tau in (1e-3, 1e-300, 5e-324):
        assert uu.temperature_probs([3.0, 9e6, 1.0], tau).tolist() == [0, 1, 0]


@FEW
@given(sizes=SIZES, tau=TAUS, seed=st.integers(0, 99))
def test_full_gradients_of_both_methods_are_the_same(sizes, tau, seed):
    weights = uu.scalarization_weights(sizes, tau)
    share = torch.tensor(sizes, dtype=torch.float64) / sum(sizes)
    assert float(share @ weights) == pytest.approx(1)
    gradients = torch.randn(len(sizes), 3, generator=compute.generator(seed)).double()
    weighted = (share * weights) @ gradients
    torch.testing.assert_close(weighted, uu.temperature_probs(sizes, tau) @ gradients, rtol=1e-9, atol=1e-12)


@FEW
@given(sizes=SIZES, tau=TAUS)
def test_the_variance_factor_is_one_plus_chi_squared(sizes, tau):
    target, drawn = uu.temperature_probs(sizes, tau), np.array(sizes) / sum(sizes)
    expected = 1 + chisquare(target.numpy(), drawn).statistic
    assert uu.variance_factor(sizes, tau) == pytest.approx(expected, rel=1e-9)


@FEW
@given(sizes=SIZES, tau=TAUS)
def test_the_variance_factor_grows_with_temperature_at_the_rate_of_the_corrected_proof(sizes, tau):
    """D log F / ds = 2 (E_{2s-1}[log n] - E_s[log n]) with s = 1/tau, where E_r weights by n^r."""
    assert uu.variance_factor(sizes, 1.5 * tau) >= uu.variance_factor(sizes, tau) * (1 - 1e-12)
    s, step, logs = 1 / tau, 1e-5, np.log(sizes)

    def mean_log(r):
        weight = np.exp(r * (logs - logs.max()))
        return weight @ logs / weight.sum()

    ends = [math.log(uu.variance_factor(sizes, 1 / (s + h))) for h in (-step, step)]
    assert (ends[1] - ends[0]) / (2 * step) == pytest.approx(2 * (mean_log(2 * s - 1) - mean_log(s)), abs=1e-4)


def test_the_numbers_of_the_exercise():
    assert uu.temperature_probs([40e6, 0.6e6], 5.0).tolist() == pytest.approx([0.6985, 0.3015], abs=1e-4)
    factors = [uu.variance_factor([40e6, 0.6e6], tau) for tau in (5.0, 3.0, 2.0)]
    assert factors == pytest.approx([6.648, 3.301, 1.611], abs=1e-3)


def test_sampling_can_be_the_noisier_one():
    assert uu.variance_gap([10, 0.1], [100, 1], 5.0) == pytest.approx(-1.195, abs=1e-3)
    assert uu.variance_gap([1, 1], [100, 1], 5.0) == pytest.approx(uu.variance_factor([100, 1], 5.0) - 1)


@FEW
@given(sizes=SIZES, tau=TAUS, seed=st.integers(0, 99))
def test_the_gap_is_a_covariance_of_weights_and_weighted_moments(sizes, tau, seed):
    moments = torch.rand(len(sizes), generator=compute.generator(seed)).double().numpy()
    share = np.array(sizes) / sum(sizes)
    weights = (np.array(sizes) ** (1 / tau) / (np.array(sizes) ** (1 / tau)).sum()) / share
    covariance = share @ (weights * weights * moments) - (share @ weights) * (share @ (weights * moments))
    assert uu.variance_gap(moments, sizes, tau) == pytest.approx(covariance, rel=1e-6, abs=1e-9)


@FEW
@given(ratio=st.floats(1.5, 1e4), tau=st.floats(1.5, 50), above=st.floats(1.01, 3))
def test_of_two_domains_the_gap_changes_sign_where_the_moments_ratio_is_that_of_the_inverse_weights(ratio, tau, above):
    threshold = ratio ** (1 / tau - 1)
    assert uu.variance_gap([1, threshold * above], [ratio, 1], tau) > 0
    assert uu.variance_gap([1, threshold / above], [ratio, 1], tau) < 0


# --- The variance of an estimator -------------------------------------------------------------------------------


def finite_set(seed=0, counts=(7, 3, 2)):
    generator = compute.generator(seed)
    domains = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    order = torch.randperm(len(domains), generator=generator)
    return torch.randn(len(domains), 4, generator=generator).double() + 1, domains[order]


def enumerated(grads, domains, tau, method):
    """Mean and trace of the covariance by writing the estimator's law out, one outcome after the other."""
    counts = [int((domains == i).sum()) for i in range(int(domains.max()) + 1)]
    power = [n ** (1 / tau) for n in counts]
    target = [x / sum(power) for x in power]
    law = []
    for grad, i in zip(grads.double(), domains.tolist(), strict=True):
        if method == "sampling":
            law.append((target[i] / counts[i], grad))
        else:
            law.append((1 / len(domains), grad * target[i] * len(domains) / counts[i]))
    mean = sum(chance * value for chance, value in law)
    return mean, float(sum(chance * (value - mean).square().sum() for chance, value in law))


@pytest.mark.parametrize("method", uu.METHODS)
@pytest.mark.parametrize("tau", [0.7, 1.0, 5.0, 100.0])
def test_gradient_variance_is_that_of_the_enumerated_estimator(method, tau):
    for seed in range(3):
        grads, domains = finite_set(seed)
        expected = enumerated(grads, domains, tau, method)[1]
        assert uu.gradient_variance(grads, domains, tau, method=method) == pytest.approx(expected, rel=1e-12)


@FEW
@given(seed=st.integers(0, 99), tau=TAUS)
def test_the_difference_of_the_variances_is_the_gap(seed, tau):
    grads, domains = finite_set(seed)
    moments = [float(grads[domains == i].square().sum(1).mean()) for i in range(3)]
    weighted, sampled = (
        uu.gradient_variance(grads, domains, tau, method=method) for method in ("scalarization", "sampling")
    )
    assert weighted - sampled == pytest.approx(uu.variance_gap(moments, [7, 3, 2], tau), rel=1e-9, abs=1e-9)


def test_gradient_variance_of_drawn_batches_agrees():
    grads, domains = finite_set()
    rows = [grads[domains == i] for i in range(3)]
    domain, index = uu.sample_batch([7, 3, 2], 5.0, 200_000, generator=compute.generator(1))
    drawn = torch.stack([functional.pad(r, (0, 0, 0, 7 - len(r))) for r in rows])[domain, index]
    exact = uu.gradient_variance(grads, domains, 5.0, method="sampling")
    assert float(drawn.var(0).sum()) == pytest.approx(exact, rel=0.02)


def test_gradient_variance_accumulates_in_double_precision():
    grads, domains = finite_set()
    shifted = (grads + 1e4).float()
    exact = uu.gradient_variance(shifted.double(), domains, 5.0, method="sampling")
    assert uu.gradient_variance(shifted, domains, 5.0, method="sampling") == pytest.approx(exact, rel=1e-12)


# --- Schedules and draws ----------------------------------------------------------------------------------------


def test_cooldown_is_one_step_and_no_ramp():
    path = [uu.cooldown(step, 10) for step in range(10)]
    assert path == [5.0] * 5 + [1.0] * 5
    assert [uu.cooldown(step, 5, high=3.0, low=2.0, switch=0.3) for step in range(5)] == [3.0, 3.0, 2.0, 2.0, 2.0]
    assert {uu.cooldown(step, 4, switch=0.0) for step in range(4)} == {1.0}
    assert {uu.cooldown(step, 4, switch=1.0) for step in range(4)} == {5.0}


def test_sample_batch_draws_what_torchs_weighted_sampler_draws():
    sizes, tau, n = [900, 90, 10], 3.0, 60_000
    power = np.array(sizes) ** (1 / tau)
    each = np.repeat(power / power.sum() / sizes, sizes)
    peer = torch.tensor(list(WeightedRandomSampler(each.tolist(), n, generator=compute.generator(1))))
    domain, index = uu.sample_batch(sizes, tau, n, generator=compute.generator(0))
    ours = torch.tensor([0, 900, 990])[domain] + index
    bounds = torch.tensor([0, 900, 990, 1000])
    for low, high in itertools.pairwise(bounds.tolist()):
        shares = [((low <= draws) & (draws < high)).double().mean().item() for draws in (ours, peer)]
        assert shares[0] == pytest.approx(shares[1], abs=0.015)
    assert chisquare(torch.bincount(index[domain == 2], minlength=10)).pvalue > 1e-3


def test_draws_repeat_with_their_generator_and_stay_in_their_domain():
    one, other = (uu.sample_batch([5, 1], 100.0, 500, generator=compute.generator(3)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    domain, index = one
    assert domain.dtype == index.dtype == torch.int64
    assert set(index[domain == 0].tolist()) == set(range(5))
    assert set(index[domain == 1].tolist()) == {0}


# --- Text and model ---------------------------------------------------------------------------------------------


def test_names_are_sorted_lower_case_and_single():
    names = uu.display_names("en")
    assert names == sorted(set(names))
    assert all(name == name.lower() for name in names)
    assert {"france", "vietnamese", "euro", "arabic"} <= set(names)
    assert 1000 < len(uu.display_names("vi")) < 2000


def spell(windows, corpus, texts):
    """Names back from windows: the targets up to each boundary."""
    letters = ["|", *sorted({c for text in texts for name in text for c in name})]
    assert len(letters) == corpus.symbols
    return "".join(letters[i] for i in windows[:, -1].tolist()).split("|")[:-1]


def test_no_held_out_name_is_a_training_name():
    config = dataclasses.replace(uu.Config(), replicas=2)
    corpus = uu.build_corpus(config)
    texts = [uu.display_names(locale) for locale in config.locales]
    seen = []
    for replica, domain in itertools.product(range(2), range(2)):
        train, val = (spell(part[replica][domain], corpus, texts) for part in (corpus.train, corpus.val))
        assert (len(train), len(val)) == (config.names[domain], 150)
        assert len(set(train) | set(val)) == len(train) + len(val)
        assert set(train) | set(val) <= set(texts[domain])
        seen.append(train)
    assert seen[1] != seen[3]  # each replica has names of its own


def test_windows_hold_the_language_what_came_before_and_what_comes_next():
    corpus = uu.build_corpus(SMALL)
    for domain, windows in enumerate(corpus.train[0]):
        assert (windows[:, 0] == corpus.symbols + domain).all()
        starts = windows[:, 1:3].sum(1) == 0
        assert int(starts.sum()) == SMALL.names[domain] == int((windows[:, -1] == 0).sum())
        following = ~starts.roll(-1)[:-1]
        assert torch.equal(windows[1:, 1:-1][following], windows[:-1, 2:][following])
    assert corpus.sizes(0) == [len(windows) for windows in corpus.train[0]]


def test_the_reader_model_has_the_briefs_size():
    parameters = uu.language_model_init(2, 106, 2, 4, 16, 128, generator=compute.generator(0))
    assert sum(p.numel() for p in parameters) == 2 * 25_770


class Plain(nn.Module):
    """One model of the ensemble as anybody writes it."""

    def __init__(self, parameters):
        super().__init__()
        table, w1, b1, w2, b2 = parameters
        self.embedding = nn.Embedding.from_pretrained(table.clone(), freeze=False)
        self.hidden, self.output = nn.Linear(*w1.shape), nn.Linear(*w2.shape)
        with torch.no_grad():
            for layer, weight, bias in ((self.hidden, w1, b1), (self.output, w2, b2)):
                layer.weight.copy_(weight.mT)
                layer.bias.copy_(bias[0])

    def forward(self, tokens):
        return self.output(self.hidden(self.embedding(tokens).flatten(1)).relu())


def test_the_ensembles_models_are_plain_modules():
    parameters = uu.language_model_init(3, 9, 2, 2, 4, 8, generator=compute.generator(0))
    tokens = torch.randint(9, (3, 5, 3), generator=compute.generator(1))
    logits = uu.language_model(parameters, tokens)
    for i in range(3):
        torch.testing.assert_close(logits[i], Plain([p[i] for p in parameters])(tokens[i]))
    shared = uu.language_model(parameters, tokens[:1])
    torch.testing.assert_close(shared[2], Plain([p[2] for p in parameters])(tokens[0]))


@pytest.mark.parametrize("variant", uu.VARIANTS)
def test_training_is_that_of_a_module_alone(variant):
    config = dataclasses.replace(SMALL, probe_step=SMALL.steps)
    corpus = uu.build_corpus(config)
    history = uu.train(corpus, config, (variant,))
    start = uu.language_model_init(
        1, corpus.symbols, 2, 2, 4, 8, embed_std=config.embed_std, generator=uu.stream(config, "start", 0)
    )
    model = Plain([p[0] for p in start])
    optimizer = torch.optim.Adam(model.parameters(), lr=config.lr, betas=(0.9, 0.98))
    text, sizes = torch.cat(corpus.train[0]), corpus.sizes(0)
    weights = torch.ones(2)
    if variant == "scalarization":
        power = torch.tensor(sizes).double() ** (1 / config.tau)
        weights = (power / power.sum() * sum(sizes) / torch.tensor(sizes)).float()
    for batch in uu.batches(corpus, config, (variant,)):
        rows = text[batch[0]]
        losses = functional.cross_entropy(model(rows[:, :-1]), rows[:, -1], reduction="none")
        optimizer.zero_grad()
        (weights[rows[:, 0] - corpus.symbols] * losses).mean().backward()
        optimizer.step()
    alone = [model.embedding.weight, model.hidden.weight.mT, model.hidden.bias[None]]
    for ours, theirs in zip(history.snapshot, alone, strict=False):
        torch.testing.assert_close(ours, theirs.detach(), rtol=1e-3, atol=1e-5)
    held = corpus.val[0][1]
    expected = functional.cross_entropy(model(held[:, :-1]), held[:, -1]).item()
    assert history.val[0, 0, 1, -1].item() == pytest.approx(expected, rel=1e-3)


def test_variants_share_their_start_and_their_draws_until_they_part():
    config = dataclasses.replace(SMALL, switch=1 / 3)
    history = uu.train(uu.build_corpus(config), config)
    losses = dict(zip(uu.VARIANTS, history.val, strict=True))
    assert all(torch.equal(loss[..., 0], losses["hot"][..., 0]) for loss in losses.values())
    for one, other in (("cooldown", "sampling"), ("heat_up", "proportional")):
        torch.testing.assert_close(losses[one][..., 1], losses[other][..., 1])
        assert not torch.allclose(losses[one][..., 2], losses[other][..., 2])


def test_scalarization_sees_the_proportional_batches():
    corpus = uu.build_corpus(SMALL)
    for batch in uu.batches(corpus, SMALL, ("proportional", "scalarization")):
        assert torch.equal(batch[0], batch[1])
        assert batch[0].max() < sum(corpus.sizes(0)) <= batch[2].min()


# --- The probe --------------------------------------------------------------------------------------------------


def per_example(snapshot, windows):
    """Gradients in rows, by a loop."""
    rows = []
    for window in windows:
        leaves = [p[None].double().requires_grad_() for p in snapshot]
        gradients = torch.autograd.grad(uu.character_losses(leaves, window[None, None])[0, 0], leaves)
        rows.append(torch.cat([g.flatten() for g in gradients]))
    return torch.stack(rows)


@pytest.fixture(scope="module")
def probed():
    config = dataclasses.replace(SMALL, names=(6, 2), probe_examples=1000)
    corpus = uu.build_corpus(config)
    snapshot = uu.train(corpus, config, ("proportional",)).snapshot
    return config, corpus, snapshot, per_example(snapshot, torch.cat(corpus.train[0]))


def test_the_probe_of_every_example_is_the_exact_variance(probed):
    config, corpus, snapshot, grads = probed
    measured = uu.probe(snapshot, corpus, config)
    domains = torch.repeat_interleave(torch.arange(2), torch.tensor(corpus.sizes(0)))
    for i, method in enumerate(uu.METHODS):
        for j, tau in enumerate(measured.taus):
            exact = uu.gradient_variance(grads, domains, tau, method=method)
            assert float(measured.variance[i, j]) == pytest.approx(exact, rel=1e-9)
    assert float(measured.full_gap.max()) < 1e-13
    assert measured.norms.shape == (2, probe_module.PROBE_BATCHES)


def test_full_gradients_are_those_of_the_enumerated_estimators(probed):
    _, corpus, snapshot, grads = probed
    domains = torch.repeat_interleave(torch.arange(2), torch.tensor(corpus.sizes(0)))
    both = uu.full_gradients([p.double() for p in snapshot], corpus.train[0], 5.0)
    for gradient, method in zip(both, uu.METHODS, strict=True):
        torch.testing.assert_close(gradient, enumerated(grads, domains, 5.0, method)[0], rtol=1e-9, atol=1e-12)


def test_gradient_norms_are_those_of_weighted_means(probed):
    _, corpus, snapshot, grads = probed
    weights = torch.tensor([[1.0, 4.0, 0.5], [2.0, 0.0, 1.0]])
    windows = torch.cat(corpus.train[0])
    measured = uu.gradient_norms([p.double() for p in snapshot], windows[:6].view(2, 3, -1), weights)
    expected = [(weights[i, :, None] * grads[3 * i : 3 * i + 3]).mean(0).norm() for i in range(2)]
    torch.testing.assert_close(measured, torch.stack(expected))


# --- The run ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def result():
    return uu.run(SMALL, device="cpu", progress=False)


def test_the_run_measures_what_its_fields_say(result):
    assert result.steps.tolist() == [0, 4, 8, 12]
    assert result.val.shape == (6, 2, 2, 4)
    assert result.train.shape == (6, 2, 4)
    assert result.sizes.shape == (2, 2)
    torch.testing.assert_close(result.low("sampling"), result.val[1, :, 1].mean(0))
    torch.testing.assert_close(result.high("cooldown"), result.val[4, :, 0].mean(0))


def made(result):
    """A result in which every number is typed in: five times of recording, one replica."""
    curves = {
        "proportional": [5.0, 3.5, 3.0, 2.9, 2.7],
        "sampling": [5.0, 2.8, 2.6, 2.7, 2.8],
        "hot": [5.0, 2.7, 2.6, 2.8, 3.0],
        "scalarization": [5.0, 3.0, 2.8, 2.7, 2.7],
        "cooldown": [5.0, 2.8, 2.6, 2.6, 2.6],
        "heat_up": [5.0, 3.5, 3.0, 2.6, 2.6],
    }
    low = torch.tensor([curves[variant] for variant in uu.VARIANTS], dtype=torch.float64)
    high = torch.tensor([2.4, 2.5, 2.6, 2.5, 2.41, 2.5], dtype=torch.float64)[:, None].expand(6, 5)
    probe = dataclasses.replace(
        result.probe,
        full_gap=torch.tensor([1e-15, 2e-15, 1e-16]),
        variance=torch.tensor([[1.0, 1.0, 1.0], [1.5, 3.0, 5.0]]),
    )
    steps = torch.tensor([0, 3, 6, 9, 12])
    val, train = torch.stack([high, low], 1)[:, None], torch.zeros(6, 1, 5)
    return dataclasses.replace(result, sizes=result.sizes[:1], steps=steps, val=val, train=train, probe=probe)


def test_claims_read_what_they_say(result):
    measured = {claim.id: claim for claim in uu.claims(made(result))}
    expected = {
        "equal_full_gradients": 2e-15,
        "scalarization_is_noisier": 3.0,
        "gap_grows_with_temperature": 2.0,
        "sampling_converges_faster": 2.0,
        "high_temperature_overfits": 0.4,
        "cooldown_gets_both": 0.1,
    }
    assert list(measured) == list(expected)
    assert [claim.measured for claim in measured.values()] == pytest.approx(list(expected.values()))
    assert all(claim.holds for claim in measured.values())


def test_claims_can_fail(result):
    flat = made(result)
    probe = dataclasses.replace(flat.probe, full_gap=torch.ones(3) * 1e-6, variance=torch.ones(2, 3))
    flat = dataclasses.replace(flat, val=torch.full_like(flat.val, 2.0), probe=probe)
    assert not any(claim.holds for claim in uu.claims(flat))
    never = dataclasses.replace(flat, val=torch.full_like(flat.val, math.nan))
    assert not any(claim.holds for claim in uu.claims(never))


def test_a_target_that_is_never_reached_takes_for_ever(result):
    assert uu.steps_to(torch.tensor([0, 5]), torch.tensor([3.0, 2.0]), 1.0) == math.inf
    slow = made(result)
    slow.val[uu.VARIANTS.index("scalarization")] = 4.0
    race = uu.claims(slow)[3]
    assert race.measured == math.inf
    assert race.holds
    slow.val[uu.VARIANTS.index("sampling")] = 4.0
    assert not uu.claims(slow)[3].holds


@pytest.mark.parametrize("draw", [uu.plot, uu.plot_variance, uu.plot_norms])
def test_figures_draw_any_result(result, draw):
    figure = draw(result)
    figure.canvas.draw()
    assert all(axes.get_xlabel() for axes in figure.axes)
    assert figure.axes[0].get_ylabel()


def test_full_scale_takes_two_steps(monkeypatch):
    monkeypatch.setattr(probe_module, "PROBE_BATCHES", 1)
    config = dataclasses.replace(
        uu.FULL, steps=2, val_names=2, probe_examples=1, replicas=1, probe_step=2, batch_size=8
    )
    corpus = uu.build_corpus(config)
    history = uu.train(corpus, config, ("scalarization", "cooldown"))
    assert history.val.shape == (2, 1, 6, 2)
    assert history.val.isfinite().all()
    assert history.snapshot[1].shape == (9 * 64, 1024)
    few = uu.Corpus(tuple(tuple(w[:20] for w in r) for r in corpus.train), corpus.val, corpus.symbols)
    assert float(uu.probe(history.snapshot, few, config).full_gap.max()) < 1e-10


# --- Types and refusals -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_inputs_decide_dtype_and_device(dtype):
    sizes = torch.tensor([10, 2], dtype=dtype)
    assert uu.temperature_probs(sizes, 5.0).dtype == uu.scalarization_weights(sizes, 5.0).dtype == torch.float64
    parameters = [p.to(dtype) for p in uu.language_model_init(2, 9, 2, 2, 4, 8, generator=compute.generator(0))]
    tokens = torch.zeros(2, 5, 4, dtype=torch.int64)
    assert uu.character_losses(parameters, tokens).dtype == dtype
    assert uu.gradient_norms([p[0] for p in parameters], tokens, torch.ones(2, 5)).dtype == dtype
    there = [p.to("meta") for p in parameters]
    assert uu.language_model(there, tokens.to("meta")[..., 1:]).device.type == "meta"
    assert uu.character_losses(there, tokens.to("meta")).device.type == "meta"


GRADS, DOMAINS = finite_set()
G = compute.generator(0)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: uu.temperature_probs([], 1.0), r"sizes.*\(0,\)"),
        (lambda: uu.temperature_probs(torch.ones(2, 2), 1.0), r"sizes.*\(2, 2\)"),
        (lambda: uu.temperature_probs(3.0, 1.0), r"sizes.*\(\)"),
        (lambda: uu.temperature_probs([1, 0], 1.0), "sizes.*got 0"),
        (lambda: uu.temperature_probs([1, -2], 1.0), "sizes.*-2"),
        (lambda: uu.temperature_probs([1, math.nan], 1.0), "sizes.*nan"),
        (lambda: uu.temperature_probs([1, math.inf], 1.0), "sizes.*inf"),
        (lambda: uu.temperature_probs([1, 2], 0.0), "tau.*0.0"),
        (lambda: uu.scalarization_weights([1, 2], -1.0), "tau.*-1.0"),
        (lambda: uu.scalarization_weights([1, -3], 1.0), "sizes.*-3"),
        (lambda: uu.variance_factor([1, 2], math.nan), "tau.*nan"),
        (lambda: uu.variance_gap([1, -0.5], [1, 2], 5.0), "second_moments.*-0.5"),
        (lambda: uu.variance_gap([1, math.nan], [1, 2], 5.0), "second_moments.*nan"),
        (lambda: uu.variance_gap([1, 2, 3], [1, 2], 5.0), r"second_moments.*2 domains.*\(3,\)"),
        (lambda: uu.variance_gap([1, 2], [1, 2], -2.0), "tau.*-2.0"),
        (lambda: uu.gradient_variance(GRADS, DOMAINS, 5.0, method="other"), "method.*other"),
        (lambda: uu.gradient_variance(GRADS, DOMAINS[:5], 5.0, method="sampling"), r"\(12, 4\), \(5,\)"),
        (lambda: uu.gradient_variance(GRADS[0], DOMAINS, 5.0, method="sampling"), r"\(4,\)"),
        (lambda: uu.gradient_variance(GRADS, 2 * DOMAINS, 5.0, method="sampling"), "none of domain 1"),
        (lambda: uu.gradient_variance(GRADS, DOMAINS - 1, 5.0, method="sampling"), "domains.*-1"),
        (lambda: uu.gradient_variance(GRADS, DOMAINS, 0.0, method="sampling"), "tau.*0.0"),
        (lambda: uu.gradient_variance(GRADS, DOMAINS, -1.0, method="scalarization"), "tau.*-1.0"),
        (lambda: uu.cooldown(10, 10), "step.*10"),
        (lambda: uu.cooldown(-1, 10), "step.*-1"),
        (lambda: uu.cooldown(0, 0), "total.*0"),
        (lambda: uu.cooldown(0, 10, switch=1.5), "switch.*1.5"),
        (lambda: uu.cooldown(0, 10, switch=math.nan), "switch.*nan"),
        (lambda: uu.cooldown(0, 10, high=0.0), "high.*0.0"),
        (lambda: uu.cooldown(0, 10, low=-1.0), "low.*-1.0"),
        (lambda: uu.sample_batch([5, 3], 5.0, 0, generator=G), "batch.*0"),
        (lambda: uu.sample_batch([5, 2.5], 5.0, 1, generator=G), "sizes.*2.5"),
        (lambda: uu.sample_batch([5, 0], 5.0, 1, generator=G), "sizes.*0"),
        (lambda: uu.sample_batch([5, 3], 0.0, 1, generator=G), "tau.*0.0"),
        (lambda: uu.display_names("xx"), "xx"),
        (lambda: uu.display_names("no-such-thing"), "no-such-thing"),
        (lambda: uu.display_names(""), "locales.*''"),
        (lambda: uu.temperatures("warm", SMALL), "variant.*warm"),
        (lambda: uu.Config(names=(40, 1200)), "names.*40, 1200"),
        (lambda: uu.Config(names=(40, 0)), "names.*0"),
        (lambda: uu.Config(locales=("en",)), "locales.*'en'"),
        (lambda: uu.Config(locales=("en", "en")), "locales.*'en', 'en'"),
        (lambda: uu.Config(tau=1.0), "tau.*1.0"),
        (lambda: uu.Config(tau=200.0), "tau.*200.0"),
        (lambda: uu.Config(switch=-0.1), "switch.*-0.1"),
        (lambda: uu.Config(probe_step=601), "probe_step.*600.*601"),
        (lambda: uu.build_corpus(uu.Config(names=(5000, 40))), "en.*5000"),
    ],
)
def test_bad_input_is_refused_with_its_value(call, match):
    with refuses(ValueError, match=match):
        call()
