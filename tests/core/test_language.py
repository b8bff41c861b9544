"""The language of known entropy against brute force, its students against autograd and torch's own AdamW."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch.nn import functional

from overparam.core import compute
from overparam.core import language as lang
from tests.conftest import refuses

LRS = (0.003, 0.01, 0.05)
SMALL = lang.zipf_language(5, features=7)


def students(replicas=3, width=4, dtype=torch.float64, seed=0):
    """Students of the small language that differ, with every bias away from zero."""
    generator = compute.generator(seed)
    same = lang.init_students(SMALL, width, replicas, generator=generator, dtype=dtype)
    return same.like(same.flat + 0.3 * torch.randn(same.flat.shape, generator=generator, dtype=dtype))


def dense_logits(first, second, bias, contexts, mask=None):
    """One student as a modeller would write it: one-hot inputs, two dense layers."""
    vocab = bias.shape[-1]
    one_hot = [functional.one_hot(token, vocab).to(first) for token in (contexts // vocab, contexts % vocab)]
    hidden = (torch.cat(one_hot, 1) @ first[:-1] + first[-1]).relu()
    return (hidden if mask is None else hidden * mask) @ second + bias


def one_by_one(parts):
    """The parameters of each student, as leaves for autograd."""
    replicas = zip(parts.first.unbind(1), parts.second, parts.bias, strict=True)
    return [[p.clone().requires_grad_() for p in replica] for replica in replicas]


# --- The language -----------------------------------------------------------------------------------------------


def test_the_language_is_its_definition_loop_by_loop():
    V, K, zipf, decay, beta = 4, 6, 1.5, 0.7, 1.3
    language = lang.zipf_language(V, zipf=zipf, features=K, decay=decay, beta=beta, seed=3)
    generator = compute.generator(3)
    A, B, G = (torch.randn(*s, generator=generator, dtype=torch.float64).numpy() for s in ((V, K), (V, K), (K, V)))
    hidden = np.array([[[max(A[a, k] + B[b, k], 0) for k in range(K)] for b in range(V)] for a in range(V)])
    T = np.zeros((V, V, V))
    for a, b, y in np.ndindex(V, V, V):
        T[a, b, y] = sum((hidden[a, b, k] - hidden[..., k].mean()) * G[k, y] * (k + 1) ** -decay for k in range(K))
    T *= beta / T.std()
    p = np.array([(i + 1) ** -zipf for i in range(V)])
    p /= p.sum()
    entropy = 0.0
    for a, b, y in np.ndindex(V, V, V):
        log_prob = T[a, b, y] - np.log(np.exp(T[a, b]).sum())
        assert float(language.log_prob[a * V + b, y]) == pytest.approx(log_prob, abs=1e-12)
        assert float(language.weight[a * V + b]) == pytest.approx(p[a] * p[b], rel=1e-12)
        entropy -= p[a] * p[b] * np.exp(log_prob) * log_prob
    assert language.entropy == pytest.approx(entropy, rel=1e-12)


@pytest.mark.parametrize(("seed", "entropy"), [(0, 2.940), (1, 3.065)])
def test_the_default_languages_have_the_entropies_of_the_briefs(seed, entropy):
    assert lang.zipf_language(seed=seed).entropy == pytest.approx(entropy, abs=5e-4)


@given(vocab=st.integers(2, 8), beta=st.floats(0.1, 5), zipf=st.floats(0, 3), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_probabilities_are_probabilities_and_the_entropy_is_below_that_of_chance(vocab, beta, zipf, seed):
    language = lang.zipf_language(vocab, zipf=zipf, features=5, beta=beta, seed=seed)
    assert float(language.joint.sum()) == pytest.approx(1, abs=1e-12)
    torch.testing.assert_close(language.joint.sum(1), language.weight)
    assert float(language.cumulative[-1]) == 1
    assert 0 < language.entropy < math.log(vocab)


def test_a_language_without_rules_has_the_entropy_of_chance():
    assert lang.zipf_language(6, features=3, beta=0.0).entropy == pytest.approx(math.log(6), rel=1e-12)


def test_sampled_frequencies_are_the_probabilities():
    n, V = 100_000, SMALL.vocab
    contexts, targets = lang.sample(SMALL, n, compute.generator(0))
    count = np.bincount((contexts * V + targets).numpy(), minlength=V**3).reshape(V * V, V)
    assert chisquare(count.sum(1), n * SMALL.weight.numpy()).pvalue > 0.01
    prob, enough = SMALL.log_prob.exp().numpy(), count.sum(1) > 2000
    assert enough.sum() > 10
    for seen, p in zip(count[enough], prob[enough], strict=True):
        keep = p > 1e-3
        seen, p = np.append(seen[keep], seen[~keep].sum()), np.append(p[keep], p[~keep].sum())
        assert chisquare(seen[p > 0], seen.sum() * p[p > 0]).pvalue > 1e-3


def test_an_impossible_token_is_never_sampled():
    certain = torch.tensor([0, 1, 1, 0])  # the next token after each of the four contexts
    log_prob = torch.where(functional.one_hot(certain, 2) == 1, 0.0, -math.inf).double()
    language = lang.ZipfLanguage(torch.tensor([0.5, 0, 0.25, 0.25]).double(), log_prob, 0.0, 2)
    contexts, targets = lang.sample(language, 1000, compute.generator(0))
    assert torch.equal(targets, certain[contexts])
    assert set(contexts.tolist()) == {0, 2, 3}


@given(n=st.integers(1, 50), chunk=st.integers(1, 60), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_a_fresh_stream_is_one_long_sample_however_it_is_cut(n, chunk, seed):
    whole = lang.sample(SMALL, n, compute.generator(seed))
    pieces = list(lang.token_stream(SMALL, n, compute.generator(seed), chunk=chunk))
    assert [len(piece.targets) for piece in pieces[:-1]] == [chunk] * (len(pieces) - 1)
    for expected, got in zip(whole, zip(*pieces, strict=True), strict=True):
        assert torch.equal(torch.cat(got), expected)


@given(dataset=st.integers(1, 30), epochs=st.integers(1, 4), chunk=st.integers(1, 40), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_a_finite_set_is_seen_whole_once_in_every_epoch(dataset, epochs, chunk, seed):
    held = Counter(zip(*(x.tolist() for x in lang.sample(SMALL, dataset, compute.generator(seed))), strict=True))
    pieces = lang.token_stream(SMALL, dataset * epochs, compute.generator(seed), dataset=dataset, chunk=chunk)
    seen = [pair for c, y in pieces for pair in zip(c.tolist(), y.tolist(), strict=True)]
    assert [Counter(seen[i : i + dataset]) for i in range(0, len(seen), dataset)] == [held] * epochs


def test_every_epoch_has_an_order_of_its_own():
    (tokens,) = lang.token_stream(SMALL, 300, compute.generator(0), dataset=100)
    orders = {tuple(epoch.tolist()) for epoch in tokens.contexts.split(100)}
    assert len(orders) == 3


# --- The student ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "count"), [(4, 836), (8, 1608), (16, 3152), (32, 6240), (64, 12416), (128, 24768)])
def test_parameters_are_counted_as_in_the_briefs(width, count):
    assert lang.student_parameters(64, width) == count


def test_a_start_has_as_many_parameters_as_counted_and_the_variances_of_its_law():
    start = lang.init_students(lang.zipf_language(64, features=8), 200, 2, generator=compute.generator(0))
    assert start.flat.numel() == sum(part.numel() for part in start[1:]) == 2 * lang.student_parameters(64, 200)
    assert float(start.first[:-1].var()) == pytest.approx(1 / 2, rel=0.03)
    assert float(start.second.var()) == pytest.approx(1 / 200, rel=0.03)
    assert not start.first[-1].any()
    assert all(torch.equal(*parts) for parts in (start.first.unbind(1), start.second, start.bias))


def test_a_start_without_a_hidden_layer_knows_the_unigram():
    start = lang.init_students(SMALL, 3, 1, generator=compute.generator(0), dtype=torch.float64)
    start.second.zero_()
    unigram = SMALL.joint.sum(0)
    assert float(lang.exact_loss(start, SMALL.joint)[0]) == pytest.approx(float(-(unigram * unigram.log()).sum()))


@pytest.mark.parametrize("dropped", [False, True])
def test_the_gradient_is_autograd_s_on_one_hot_inputs(dropped):
    parts = students()
    contexts, targets = lang.sample(SMALL, 40, compute.generator(1))
    mask = (torch.rand(40, 1, 4, generator=compute.generator(2)) > 0.4).double() / 0.6 if dropped else None
    gradient = parts.like(torch.full_like(parts.flat, math.nan))
    log_prob = lang.backpropagate(parts, gradient, lang.input_rows(contexts, 5), targets, mask)
    for r, leaves in enumerate(one_by_one(parts)):
        logits = dense_logits(*leaves, contexts, None if mask is None else mask[:, 0])
        loss = functional.cross_entropy(logits, targets)
        expected = torch.autograd.grad(loss, leaves)
        got = gradient.first[:, r], gradient.second[r], gradient.bias[r]
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-13)
        torch.testing.assert_close(-log_prob[r].mean(), loss.detach())


def test_the_exact_loss_is_the_mean_over_every_context_and_token():
    parts = students()
    loss = lang.exact_loss(parts, SMALL.joint)
    for r, leaves in enumerate(one_by_one(parts)):
        log_q = dense_logits(*leaves, torch.arange(25)).log_softmax(1).detach()
        expected = -sum(
            float(SMALL.weight[c] * SMALL.log_prob[c, y].exp() * log_q[c, y]) for c in range(25) for y in range(5)
        )
        assert float(loss[r]) == pytest.approx(expected, rel=1e-12)


@given(seed=st.integers(0, 99), width=st.integers(1, 6))
@settings(max_examples=20, deadline=None)
def test_no_student_is_better_than_the_entropy(seed, width):
    assert (lang.exact_loss(students(2, width, seed=seed), SMALL.joint) > SMALL.entropy).all()


def test_the_pieces_follow_dtype_and_device():
    for dtype in (torch.float32, torch.float64):
        parts = students(dtype=dtype)
        assert lang.exact_loss(parts, SMALL.joint.to(dtype)).dtype == dtype
    parts = parts.like(parts.flat.to("meta"))
    rows, targets = (
        torch.zeros(6, 3, dtype=torch.int64, device="meta"),
        torch.zeros(6, dtype=torch.int64, device="meta"),
    )
    assert lang.backpropagate(parts, parts.zeros(), rows, targets).device.type == "meta"
    assert lang.exact_loss(parts, SMALL.joint.to("meta")).device.type == "meta"


# --- Training ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_steps_are_torch_s_adamw_for_each_learning_rate(dtype, rtol):
    parts, generator = students(dtype=dtype), compute.generator(1)
    leaves = one_by_one(parts)
    peers = [
        torch.optim.AdamW(p, lr=lr, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.0)
        for p, lr in zip(leaves, LRS, strict=True)
    ]
    mean, square = torch.zeros(2, *parts.flat.shape, dtype=dtype)
    for step in range(1, 4):
        size = 10.0 ** -torch.randint(0, 9, parts.flat.shape, generator=generator)  # down to eps and below
        gradient = parts.like(size * torch.randn(parts.flat.shape, generator=generator, dtype=dtype))
        for r, own in enumerate(leaves):
            for leaf, grad in zip(own, (gradient.first[:, r], gradient.second[r], gradient.bias[r]), strict=True):
                leaf.grad = grad.clone()
            peers[r].step()
        lang.adamw_step(parts, gradient, mean, square, torch.tensor(LRS, dtype=dtype)[:, None], step)
    for r, own in enumerate(leaves):
        got = parts.first[:, r], parts.second[r], parts.bias[r]
        torch.testing.assert_close(got, tuple(p.detach() for p in own), rtol=rtol, atol=rtol)


@pytest.mark.parametrize("final", [None, 0.002, [0.0003, 0.001, 0.005]])
def test_learning_rates_are_the_closed_form(final):
    steps = 60
    rates = lang.learning_rates(LRS, steps, final=final)
    ends = LRS if final is None else [final] * 3 if isinstance(final, float) else final
    for r, (peak, end) in enumerate(zip(LRS, ends, strict=True)):
        for t in range(steps):
            warm = min(1, (t + 1) / 3)  # 5 % of 60 steps
            cosine = end + (peak - end) * (1 + math.cos(math.pi * t / steps)) / 2
            assert float(rates[t, r]) == pytest.approx(warm * cosine, rel=1e-12)


def test_a_constant_rate_is_the_peak_after_the_warm_up():
    rates = lang.learning_rates(LRS, 100)
    torch.testing.assert_close(rates[4:], torch.tensor(LRS, dtype=torch.float64).expand(96, 3))
    torch.testing.assert_close(rates[:4, 0], LRS[0] * torch.tensor([0.2, 0.4, 0.6, 0.8], dtype=torch.float64))
    assert lang.learning_rates(LRS, 1).tolist() == [list(LRS)]


@pytest.mark.parametrize(("dataset", "dropout"), [(None, 0.0), (24, 0.3)])
def test_a_run_is_the_loop_one_would_write_with_autograd(dataset, dropout):
    steps, batch, width, lr = 12, 8, 4, 0.05
    runs = lang.train_students(
        SMALL,
        width,
        steps,
        batch,
        [lr],
        seed=5,
        eval_at=range(1, 13),
        final_lr=0.01,
        dropout=dropout,
        dataset=dataset,
        device="cpu",
        dtype=torch.float64,
    )
    starts, tokens, masks = (compute.generator(stream) for stream in compute.seeds(5, 3))
    start = lang.init_students(SMALL, width, 1, generator=starts, dtype=torch.float64)
    (leaves,), rates = one_by_one(start), lang.learning_rates([lr], steps, final=0.01)
    optimizer = torch.optim.AdamW(leaves, betas=(0.9, 0.95), weight_decay=0.0)
    (stream,) = lang.token_stream(SMALL, steps * batch, tokens, dataset=dataset)
    for t, (contexts, targets) in enumerate(zip(*(x.split(batch) for x in stream), strict=True)):
        keep = (torch.rand(batch, width, generator=masks) >= dropout).double() / (1 - dropout) if dropout else None
        loss = functional.cross_entropy(dense_logits(*leaves, contexts, keep), targets)
        optimizer.param_groups[0]["lr"] = float(rates[t, 0])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        log_q = dense_logits(*leaves, torch.arange(25)).log_softmax(1)
        assert float(runs.train[0, t]) == pytest.approx(loss.item(), rel=1e-9)
        assert float(runs.test[0, t]) == pytest.approx(-(SMALL.joint * log_q).sum().item(), rel=1e-9)


@given(
    lrs=st.lists(st.floats(1e-3, 0.1), min_size=2, max_size=4),
    width=st.integers(1, 6),
    dropout=st.sampled_from([0.0, 0.4]),
    dataset=st.sampled_from([None, 20]),
    seed=st.integers(0, 99),
)
@settings(max_examples=10, deadline=None)
def test_stacked_runs_are_the_runs_alone(lrs, width, dropout, dataset, seed):
    def train(lrs):
        return lang.train_students(
            SMALL,
            width,
            15,
            6,
            lrs,
            seed=seed,
            eval_at=[0, 7, 15],
            final_lr=1e-3,
            dropout=dropout,
            dataset=dataset,
            device="cpu",
            dtype=torch.float64,
        )

    stacked, alone = train(lrs), [train([lr]) for lr in lrs]
    assert stacked.steps.tolist() == [0, 7, 15]
    torch.testing.assert_close(stacked.test, torch.cat([run.test for run in alone]), rtol=1e-9, atol=0)
    torch.testing.assert_close(
        stacked.train, torch.cat([run.train for run in alone]), rtol=1e-9, atol=0, equal_nan=True
    )


def train(steps=20, lrs=LRS, **options):
    return lang.train_students(SMALL, 4, steps, 8, lrs, **{"seed": 0, "device": "cpu", **options})


def test_the_same_seed_gives_the_same_losses_bit_for_bit_and_another_seed_others():
    first, second, other = train(), train(), train(seed=1)
    assert torch.equal(first.test, second.test)
    assert torch.equal(first.train, second.train)
    assert (first.test != other.test).all()


def test_measuring_does_not_disturb_a_run():
    often = train(eval_at=range(1, 21))
    torch.testing.assert_close(often.test[:, -1:], train().test, rtol=0, atol=0)
    torch.testing.assert_close(often.train.mean(1, keepdim=True), train().train, rtol=1e-6, atol=0)


def test_training_loss_is_measured_before_the_update_and_is_nan_where_there_was_none():
    runs = train(eval_at=[0, 1])
    assert runs.train[:, 0].isnan().all()
    assert len(set(runs.train[:, 1].tolist())) == len(set(runs.test[:, 0].tolist())) == 1
    assert len(set(runs.test[:, 1].tolist())) == len(LRS)


def test_dropout_is_off_at_evaluation_and_leaves_start_and_tokens_as_they_are():
    still = {"lrs": [1e-30], "eval_at": [0, 20], "dtype": torch.float64}
    plain, dropped = train(**still), train(**still, dropout=0.5)
    assert torch.equal(plain.test, dropped.test)
    assert plain.train[0, 1] != dropped.train[0, 1]


def test_one_and_many_epochs_begin_at_the_same_student_with_the_same_tokens():
    still = {"lrs": [1e-30], "eval_at": [0, 20], "dtype": torch.float64}
    one, many = train(**still), train(**still, dataset=20 * 8)
    torch.testing.assert_close(one.train, many.train, equal_nan=True)  # one whole epoch, in another order
    assert torch.equal(one.test, many.test)


def test_single_precision_is_enough():
    torch.testing.assert_close(train(steps=50).test, train(steps=50, dtype=torch.float64).test, rtol=1e-4, atol=0)


def test_runs_learn_and_more_epochs_overfit():
    long = {"steps": 700, "lrs": [0.02], "eval_at": [0, 350, 700]}
    one, many = train(**long), train(**long, dataset=64)
    assert SMALL.entropy < one.test[0, -1] < one.test[0, 0] - 0.1
    assert abs(float(one.test[0, -1] - one.train[0, -1])) < 0.1 < float(many.test[0, -1] - many.train[0, -1])


def test_nothing_that_comes_back_is_an_inference_tensor():
    language = lang.zipf_language(3, features=2)
    runs = lang.train_students(language, 2, 2, 2, LRS, seed=0, device="cpu")
    for table in (runs.steps, runs.test, runs.train, language.joint, language.cumulative):
        assert not table.is_inference()


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: lang.zipf_language(1), "vocab.*1"),
        (lambda: lang.zipf_language(8, features=0), "features.*0"),
        (lambda: lang.zipf_language(8, zipf=-1.0), "zipf.*-1.0"),
        (lambda: lang.zipf_language(8, decay=math.nan), "decay.*nan"),
        (lambda: lang.zipf_language(8, beta=math.inf), "beta.*inf"),
        (lambda: lang.zipf_language(8, seed=-1), "seed.*-1"),
        (lambda: lang.sample(SMALL, 0, compute.generator(0)), "n must.*0"),
        (lambda: list(lang.token_stream(SMALL, 5, compute.generator(0), dataset=0)), "dataset.*0"),
        (lambda: list(lang.token_stream(SMALL, 5, compute.generator(0), chunk=0)), "chunk.*0"),
        (lambda: lang.student_parameters(64, 0), "width.*0"),
        (lambda: lang.student_parameters(2.5, 4), "vocab.*2.5"),
        (lambda: lang.init_students(SMALL, 4, 0, generator=compute.generator(0)), "replicas.*0"),
        (lambda: lang.learning_rates([], 5), "at least one"),
        (lambda: lang.learning_rates([0.1, -0.2], 5), "lr must.*-0.2"),
        (lambda: lang.learning_rates([0.1, math.nan], 5), "lr must.*nan"),
        (lambda: lang.learning_rates([0.1], 0), "steps.*0"),
        (lambda: lang.learning_rates([0.1], 5, final=-0.1), "final_lr.*-0.1"),
        (lambda: lang.learning_rates([0.1], 5, final=[0.1, 0.2]), "1, one for each run, got 2"),
        (lambda: train(steps=0), "steps.*0"),
        (lambda: train(seed=0.5), "seed.*0.5"),
        (lambda: train(dropout=1.0), "dropout.*1.0"),
        (lambda: train(dataset=-3), "dataset.*-3"),
        (lambda: train(eval_at=[]), "eval_at.*at least 1 entry"),
        (lambda: train(eval_at=[21]), r"eval_at must lie in 0\.\.20, got \[21\]"),
        (lambda: train(eval_at=[5, 5]), r"each above the last, got \[5, 5\]"),
        (lambda: train(eval_at=[1.5]), "eval_at.*1.5"),
        (lambda: train(lrs=[]), "at least one"),
        (lambda: train(device="abacus"), "abacus"),
        (lambda: lang.train_students(SMALL, 4, 5, 0, LRS, seed=0), "batch.*0"),
    ],
)
def test_bad_input_is_refused_with_its_value(call, match):
    with refuses(ValueError, match=match):
        call()
