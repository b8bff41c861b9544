"""Parametrizations against hand computation, torch and the library mup; word embeddings against autograd and loops."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import math
import zipfile
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from overparam.core import compute
from overparam.dynamics import infinite_width_features as iw
from tests.conftest import refuses

SMALL = iw.Config(
    widths=(8, 16, 32),
    nets=1,
    samples=12,
    steps=2,
    bases=3,
    attributes=2,
    contexts=2,
    w2v_steps=3,
    w2v_widths=(8, 16, 64),
    w2v_nets=2,
    ntk_steps=3,
    ntk_widths=(16, 64),
)


def digits(samples=10):
    generator = compute.generator(7)
    x = torch.randn(samples, 5, generator=generator, dtype=torch.float64)
    return x, torch.randn(samples, 3, generator=generator, dtype=torch.float64)


def mlp(p, width=6, seed=0, **kwargs):
    return iw.ABCMLP(5, width, 3, p, generator=compute.generator(seed), **kwargs)


def pairs(v=4, u=3, seed=0):
    weights = torch.rand(v, u, generator=compute.generator(seed), dtype=torch.float64)
    return weights / weights.sum()


def descend(loss, groups):
    """One step of plain SGD; torch's own would import its compiler, which takes seconds."""
    parameters = [(p, group["lr"]) for group in groups for p in group["params"]]
    gradients = torch.autograd.grad(loss, [p for p, _ in parameters])
    with torch.no_grad():
        for (p, lr), gradient in zip(parameters, gradients, strict=True):
            p -= lr * gradient


# --- The classification -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("p", "exponent", "kind"),
    [
        (iw.standard(1), 0.5 - 1 + 1 - 0.5, "unstable"),
        (iw.standard(2), -1, "unstable"),
        (iw.standard(5), -1, "unstable"),
        (iw.standard(1, c=1), 1.5, "kernel"),
        (iw.standard(2, c=1), 0.5, "kernel"),
        (iw.standard(2, c=0.99), 0.49, "unstable"),
        (iw.standard(2, c=1.5), 1.0, "trivial"),
        (iw.ntk(1), 0.5, "kernel"),
        (iw.ntk(2), 0.5, "kernel"),
        (iw.ntk(4), 0.5, "kernel"),
        (iw.mup(1), 0, "feature learning"),
        (iw.mup(2), 0, "feature learning"),
        (iw.mup(4), 0, "feature learning"),
        (iw.mean_field(), 0, "feature learning"),
        # The wrong toy: the standard net with its output divided by n and nothing else changed.
        (iw.Parametrization((0, 0, 1), (0, 0.5, 0.5), 0), 0.5, "trivial"),
        # muP without the large first layer: it still learns, in the second.
        (iw.Parametrization((0, 0, 0.5), (0, 0.5, 0.5), 0), 0, "feature learning"),
    ],
)
def test_every_named_parametrization_has_the_exponent_and_the_fate_of_the_paper(p, exponent, kind):
    assert iw.feature_exponent(p) == pytest.approx(exponent, abs=1e-12)
    assert iw.classify(p) == kind
    assert iw.is_stable(p) is (kind != "unstable")
    assert iw.is_nontrivial(p) is (kind in ("kernel", "feature learning"))


def test_the_exponent_weighs_every_layer_and_both_ways_through_the_output():
    # a = (1, .3, .2 | .7), b_out = .1, c = .4: min(.8, 1.8) + .4 - 1 + min(3, .6, .4) = .6
    assert iw.feature_exponent(iw.Parametrization((1, 0.3, 0.2, 0.7), (0, 0, 0, 0.1), 0.4)) == pytest.approx(0.6)
    # a_1 counts with its one: min(.8, 1.8) + .4 - 1 + min(-1 + 1, .6, .4) = .2
    assert iw.feature_exponent(iw.Parametrization((-0.5, 0.3, 0.2, 0.7), (0, 0, 0, 0.1), 0.4)) == pytest.approx(0.2)
    # c below zero: min(.8, -.6) - 2 - 1 + min(3, .6, .4) = -3.2
    assert iw.feature_exponent(iw.Parametrization((1, 0.3, 0.2, 0.7), (0, 0, 0, 0.1), -2)) == pytest.approx(-3.2)


def test_mean_field_is_mup_with_one_hidden_layer_and_the_kernels_reach_from_ntk_to_mup():
    assert iw.shift(iw.mup(1), 0.5) == iw.mean_field()
    for a in (0.0, 0.1, 0.25, 0.4, 0.5):
        edge = iw.Parametrization((-0.5, 0, a), (0.5, 0.5, 0.5), 1 - 2 * a)
        assert iw.classify(edge) == ("feature learning" if a == 0.5 else "kernel")


eighths = st.integers(-12, 12).map(lambda k: k / 8)


exponents = st.lists(st.tuples(eighths, eighths), min_size=2, max_size=4)


@given(layers=exponents, c=eighths, theta=st.floats(-3, 3))
def test_the_classification_does_not_see_a_shift(layers, c, theta):
    p = iw.Parametrization(*zip(*layers, strict=True), c)
    shifted = iw.shift(p, theta)
    assert iw.classify(shifted) == iw.classify(p)
    assert iw.feature_exponent(shifted) == pytest.approx(iw.feature_exponent(p), abs=1e-9)


@given(
    hidden=st.integers(1, 3),
    name=st.sampled_from(["standard", "ntk", "mup"]),
    theta=st.floats(-1, 1),
    width=st.integers(1, 7),
)
@settings(max_examples=15)
def test_the_trained_network_does_not_see_a_shift(hidden, name, theta, width):
    p = getattr(iw, name)(hidden)
    (x, y), models = digits(), [mlp(q, width) for q in (p, iw.shift(p, theta))]
    losses = [iw.sgd(model, x, y, eta=0.1, steps=3) for model in models]
    assert losses[0] == pytest.approx(losses[1], rel=1e-9)
    for one, other in zip(*(model.preactivations(x) for model in models), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-9)


# --- The MLP ----------------------------------------------------------------------------------------------------


def test_the_standard_parametrization_is_a_plain_torch_network():
    x, y = digits()
    ours = mlp(iw.standard(2), width=6)
    plain = nn.Sequential(*(nn.Linear(*s, bias=False) for s in ((5, 6), (6, 6), (6, 3)))).double()
    layers = nn.Sequential(plain[0], nn.Tanh(), plain[1], nn.Tanh(), plain[2])
    for layer, w in zip(plain, ours.w, strict=True):
        layer.weight.data.copy_(w.data)
    for expected in iw.sgd(ours, x, y, eta=0.3, steps=4):
        # The book divides the first layer by the root of d_in in front of the weight, torch's users inside it.
        loss = functional.mse_loss(layers(x / math.sqrt(5)), y) * 3 / 2
        assert loss.item() == pytest.approx(expected)
        descend(loss, [{"params": list(layers.parameters()), "lr": 0.3}])
    torch.testing.assert_close(ours(x), layers(x / math.sqrt(5)))


def test_the_exponents_scale_the_same_draws():
    p = iw.Parametrization((-0.25, 0.5, 1.0), (0.75, 0.25, -0.5), -1.5)
    x, _ = digits()
    g = compute.generator(0)
    draws = [torch.randn(*s, generator=g, dtype=torch.float64) for s in ((16, 5), (16, 16), (3, 16))]
    model = mlp(p, width=16, activation=torch.relu)
    h = 16**0.25 * x @ (16**-0.75 * draws[0]).T / math.sqrt(5)
    h2 = h.clamp(min=0) @ (16**-0.25 * draws[1]).T / 4
    logits = h2.clamp(min=0) @ (4 * draws[2]).T / 16
    for ours, by_hand in zip(model.preactivations(x), (h, h2, logits), strict=True):
        torch.testing.assert_close(ours, by_hand)
    assert model.learning_rate(0.2) == pytest.approx(0.2 * 64)


@pytest.mark.parametrize("width", [1, 4, 32])
def test_mup_trains_the_function_of_the_library_mup(width):
    library = pytest.importorskip("mup")

    def network(n):
        hidden = nn.Linear(5, n, bias=False), nn.Linear(n, n, bias=False)
        return nn.Sequential(hidden[0], nn.Tanh(), hidden[1], nn.Tanh(), library.MuReadout(n, 3, bias=False)).double()

    peer = network(width)
    library.set_base_shapes(peer, network(1), delta=network(2), rescale_params=False)
    ours, (x, y) = mlp(iw.mup(2), width), digits()
    weights = [w.data for w in ours.w]
    # mup keeps the first and the last weight at order 1; the shift symmetry, layer by layer.
    for layer, w in zip(peer[::2], (width**0.5 * weights[0], weights[1], width**0.5 * weights[2]), strict=True):
        layer.weight.data.copy_(w)
    groups = library.MuSGD(peer.parameters(), impl=lambda groups, **_: groups, lr=0.2)
    for expected in iw.sgd(ours, x, y, eta=0.2, steps=5):
        loss = (peer(x / math.sqrt(5)) - y).square().sum(1).mean() / 2
        assert loss.item() == pytest.approx(expected)
        descend(loss, groups)
    torch.testing.assert_close(ours(x), peer(x / math.sqrt(5)))


# --- Word embeddings --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_the_loss_is_the_cross_entropy_of_every_pair(scale):
    P = pairs()
    A, B = iw.finite_factors(5, 4, 3, generator=compute.generator(1))
    loss = 0.0
    for a, b in itertools.product(range(4), range(3)):
        logits = torch.stack([scale * A[:, a] @ B[:, c] for c in range(3)])
        loss -= P[a, b] * math.log(logits.exp()[b] / logits.exp().sum())
    assert float(iw.word2vec_loss(A, B, P, scale)) == pytest.approx(float(loss))


@pytest.mark.parametrize("width", [1, 7])
@pytest.mark.parametrize("kind", ["muP", "NTK"])
def test_a_word_step_is_a_gradient_step_of_the_network_in_its_own_weights(width, kind):
    P, eta = pairs(), 0.7
    A, B = iw.finite_factors(width, 4, 3, generator=compute.generator(1))
    # As a network: unit Gaussian weights U and V, f = V'U/n at the rate eta n in muP, f = V'U/√n at eta in NTK.
    U, V = ((math.sqrt(width) * Z).requires_grad_() for Z in (A, B))
    multiplier, rate = (1 / width, eta * width) if kind == "muP" else (width**-0.5, eta)
    loss = sum(
        P[a].sum() * functional.cross_entropy(multiplier * (V.T @ U[:, a])[None], (P[a] / P[a].sum())[None])
        for a in range(4)
    )
    gradients = torch.autograd.grad(loss, (U, V))
    ours = iw.train_word2vec(A, B, P, eta=eta, steps=1, output_scale=1.0 if kind == "muP" else math.sqrt(width))
    for new, weight, gradient in zip(ours, (U, V), gradients, strict=True):
        torch.testing.assert_close(math.sqrt(width) * new, weight - rate * gradient)


def test_no_steps_leave_the_factors_alone_and_a_batch_is_its_nets_one_by_one():
    P = pairs()
    nets = [iw.finite_factors(6, 4, 3, generator=compute.generator(seed)) for seed in range(3)]
    A, B = (torch.stack(z) for z in zip(*nets, strict=True))
    assert torch.equal(iw.train_word2vec(A, B, P, eta=1.0, steps=0)[0], A)
    batch = iw.train_word2vec(A, B, P, eta=1.0, steps=5, output_scale=2.0)
    losses = iw.word2vec_loss(*batch, P, 2.0)
    for k, net in enumerate(nets):
        alone = iw.train_word2vec(*net, P, eta=1.0, steps=5, output_scale=2.0)
        torch.testing.assert_close(batch[0][k], alone[0])
        torch.testing.assert_close(losses[k], iw.word2vec_loss(*alone, P, 2.0))


@given(seed=st.integers(0, 99), extra=st.integers(0, 20))
@settings(max_examples=20)
def test_every_orthonormal_start_trains_the_same_limit(seed, extra):
    P = pairs(seed=seed)
    start = torch.randn(7 + extra, 7, generator=compute.generator(seed), dtype=torch.float64)
    Q = torch.linalg.qr(start)[0]
    limit = iw.train_word2vec(*iw.limit_factors(4, 3), P, eta=2.0, steps=15)
    tall = iw.train_word2vec(Q[:, :4], Q[:, 4:], P, eta=2.0, steps=15)
    for one, other in itertools.product((0, 1), repeat=2):
        torch.testing.assert_close(tall[one].mT @ tall[other], limit[one].mT @ limit[other])


def test_a_very_wide_net_is_close_to_the_limit_and_four_times_the_width_comes_twice_as_near():
    P = pairs()
    limit, _ = iw.train_word2vec(*iw.limit_factors(4, 3), P, eta=2.0, steps=15)
    gaps = []
    for width in (2_000, 32_000):
        nets = [iw.finite_factors(width, 4, 3, generator=compute.generator(seed)) for seed in range(8)]
        A, _ = iw.train_word2vec(*(torch.stack(z) for z in zip(*nets, strict=True)), P, eta=2.0, steps=15)
        gaps.append(float((A.mT @ A - limit.mT @ limit).norm(dim=(1, 2)).mean()))
    assert gaps[1] < 0.05
    assert 2.5 < gaps[0] / gaps[1] < 6.5


def test_a_wide_ntk_net_follows_the_ntk_limit_from_its_own_start():
    P, width = pairs(), 40_000
    A, B = iw.finite_factors(width, 4, 3, generator=compute.generator(0))
    scale = math.sqrt(width)
    trained = iw.train_word2vec(A, B, P, eta=2.0, steps=30, output_scale=scale)
    start = scale * A.mT @ B
    f = iw.ntk_limit_word2vec(start, P, eta=2.0, steps=30)
    assert (f - start).abs().max() > 0.5
    torch.testing.assert_close(scale * trained[0].mT @ trained[1], f, atol=0.05, rtol=0)
    assert (trained[0] - A).norm() / A.norm() < 0.02


def test_the_ntk_limit_fits_the_conditional_distribution_in_the_end():
    P = pairs()
    f = iw.ntk_limit_word2vec(torch.zeros_like(P), P, eta=5.0, steps=2000)
    torch.testing.assert_close(f.softmax(1), P / P.sum(1, keepdim=True), atol=1e-6, rtol=0)


# --- Corpora and analogies --------------------------------------------------------------------------------------


def test_the_corpus_is_the_distribution_that_loops_make_of_the_same_draws():
    g = compute.generator(5)
    bases, attributes, contexts, noise = 3, 2, 2, 0.4
    grid, columns = 6, 10
    base, attr, own = (torch.rand(n, columns, generator=g, dtype=torch.float64) ** 3 for n in (bases, attributes, grid))
    P = iw.analogy_corpus(bases, attributes, contexts, noise=noise, generator=compute.generator(5))
    assert P.shape == (16, 16)
    for i, j in itertools.product(range(bases), range(attributes)):
        word = i * attributes + j
        seen = [float(base[i, c] * attr[j, c]) for c in range(columns)]
        row = [
            (seen[c] / sum(seen) + noise * float(own[word, c] / own[word].sum())) / (1 + noise) for c in range(columns)
        ]
        assert P[word, grid:].tolist() == pytest.approx([z / (2 * grid) for z in row])
    assert torch.equal(P, P.mT)
    assert P[:grid, :grid].abs().sum() + P[grid:, grid:].abs().sum() == 0
    assert float(P.sum()) == pytest.approx(1)


def test_without_noise_the_log_probabilities_solve_every_analogy():
    P = iw.analogy_corpus(4, 3, 5, noise=0.0, generator=compute.generator(0))
    logs = P[:12, 12:].log().view(4, 3, -1)
    additive = logs - logs.mean(2, keepdim=True)
    torch.testing.assert_close(additive[1, 2] - additive[1, 0], additive[3, 2] - additive[3, 0])


def by_hand(E, bases, attributes):
    unit = [E[:, w] / E[:, w].norm() for w in range(bases * attributes)]
    score = 0.0
    for (i, k), (j, m) in itertools.product(
        itertools.permutations(range(bases), 2), itertools.permutations(range(attributes), 2)
    ):
        asked = i * attributes + m, i * attributes + j, k * attributes + j
        query = unit[asked[0]] - unit[asked[1]] + unit[asked[2]]
        cosine = {w: float(query @ unit[w]) for w in range(bases * attributes) if w not in asked}
        best = [w for w, value in cosine.items() if value >= max(cosine.values()) - 1e-9]
        score += (k * attributes + m in best) / len(best)
    return score / (bases * (bases - 1) * attributes * (attributes - 1))


@given(seed=st.integers(0, 99), bases=st.integers(2, 4), attributes=st.integers(2, 3), tied=st.booleans())
@settings(max_examples=20)
def test_analogies_are_counted_as_loops_count_them(seed, bases, attributes, tied):
    generator = compute.generator(seed)
    E = torch.randn(3, bases * attributes + 2, generator=generator, dtype=torch.float64)
    E = torch.cat([E[:, :1].expand(-1, 3), E[:, 3:]], 1) if tied else E
    assert iw.analogy_accuracy(E, bases, attributes) == pytest.approx(by_hand(E, bases, attributes))


@given(seed=st.integers(0, 99))
@settings(max_examples=10)
def test_lengths_and_rotations_of_the_embeddings_do_not_matter(seed):
    generator = compute.generator(seed)
    E = torch.randn(4, 6, generator=generator, dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(4, 4, generator=generator, dtype=torch.float64))[0]
    lengths = 0.1 + torch.rand(6, generator=generator, dtype=torch.float64)
    assert iw.analogy_accuracy(rotation @ E * lengths, 3, 2) == pytest.approx(iw.analogy_accuracy(E, 3, 2))


def test_a_grid_solves_everything_and_orthogonal_words_are_at_chance():
    grid = torch.stack(
        [torch.cat([torch.eye(4)[i], torch.eye(3)[j]]) for i, j in itertools.product(range(4), range(3))], 1
    ).double()
    assert iw.analogy_accuracy(grid, 4, 3) == 1
    assert iw.analogy_accuracy(iw.limit_factors(12, 5)[0], 4, 3) == pytest.approx(1 / 9)
    assert math.isnan(iw.analogy_accuracy(grid * math.nan, 4, 3))


def test_pairs_of_a_text_are_counted_within_the_window(tmp_path):
    text = ["the", "cat", "saw", "the", "dog", "and", "the", "dog", "saw", "a", "cat"]
    with zipfile.ZipFile(tmp_path / "text8.zip", "w") as archive:
        archive.writestr("text8", " " + " ".join(text))
    assert iw.text8(tmp_path / "text8.zip") == text
    P, kept = iw.skip_gram_pairs(text, 4, window=2)
    assert kept == ["the", "cat", "saw", "dog"]
    left = [word for word in text if word in kept]
    counts = Counter(
        (one, other) for (i, one), (j, other) in itertools.product(enumerate(left), repeat=2) if 1 <= abs(i - j) <= 2
    )
    for i, j in itertools.product(range(4), repeat=2):
        assert float(P[i, j]) == pytest.approx(counts[kept[i], kept[j]] / counts.total())
    A, B = iw.train_word2vec(*iw.limit_factors(4, 4), P, eta=0.5, steps=20)
    assert iw.word2vec_loss(A, B, P) < math.log(4)
    assert float(iw.skip_gram_pairs(text[:2], 2, window=8)[0].sum()) == 1  # a window longer than the text


# --- The experiment ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_inputs_decide_the_dtype(dtype):
    x, y = (z.to(dtype) for z in digits())
    model = mlp(iw.mup(2), dtype=dtype)
    iw.sgd(model, x, y, eta=0.1, steps=1)
    assert {h.dtype for h in model.preactivations(x)} == {dtype}
    P = pairs().to(dtype)
    A, B = iw.train_word2vec(*iw.limit_factors(4, 3, dtype), P, eta=1.0, steps=2)
    assert {A.dtype, B.dtype, iw.word2vec_loss(A, B, P).dtype} == {dtype}
    assert {Z.dtype for Z in iw.finite_factors(3, 4, 3, dtype=dtype)} == {dtype}
    assert iw.ntk_limit_word2vec(torch.zeros_like(P), P, eta=1.0, steps=2).dtype == dtype
    corpus = iw.analogy_corpus(2, 2, 2, dtype=dtype)
    assert corpus.dtype == dtype
    assert 0 <= iw.analogy_accuracy(corpus, 2, 2) <= 1


def test_full_scale_takes_two_steps():
    assert max(iw.FULL.widths) == max(iw.FULL.w2v_widths) == 16384
    config = dataclasses.replace(
        iw.FULL, widths=(64,), nets=1, steps=2, w2v_widths=(8,), w2v_nets=1, w2v_steps=2, ntk_widths=(8,), ntk_steps=2
    )
    result = iw.run(config, device="cpu", progress=False)
    assert result.embeddings.shape == (2, 2 * 864, 288)
    assert result.losses.floor < result.losses.limit < math.log(864)
    assert [claim.id for claim in iw.claims(result) if claim.holds] == ["abc_shift"]


def test_claims_of_what_could_not_be_measured_do_not_hold():
    result = iw.run(SMALL, device="cpu", progress=False)
    fields = [f.name for f in dataclasses.fields(result) if f.name not in ("config", "losses", "embeddings")]
    broken = dataclasses.replace(
        result,
        **{name: copy.deepcopy(getattr(result, name)) * math.nan for name in fields},
        losses=iw.Losses(*[math.nan] * 4),
    )
    assert not any(claim.holds for claim in iw.claims(broken))
    one = dataclasses.replace(SMALL, widths=(8,), w2v_widths=(8,), ntk_widths=(8,), samples=1)
    assert not any(claim.holds for claim in iw.claims(iw.run(one, device="cpu", progress=False))[4:])


def test_the_digits_are_the_first_of_the_set_centred_and_of_unit_size():
    x, y = iw.first_digits(64)
    assert y.argmax(1)[:12].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    assert y.sum() == 64
    torch.testing.assert_close(x.mean(0), torch.zeros(64).double(), atol=1e-12, rtol=0)
    assert float(x.square().mean()) == pytest.approx(1)


A4, B3, P43 = torch.ones(2, 4).double(), torch.ones(2, 3).double(), pairs()
X5, Y3 = digits()
MODEL = mlp(iw.mup(1))


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: iw.Parametrization((0.0, 0.5), (0.0,), 0.0), r"\(0.0, 0.5\) and \(0.0,\)"),
        (lambda: iw.Parametrization((0.0,), (0.0,), 0.0), r"at least 2 layers, got \(0.0,\)"),
        (lambda: iw.Parametrization((0.0, math.nan), (0.0, 0.0), 0.0), "finite, got nan"),
        (lambda: iw.Parametrization((0.0, 0.5), (0.0, 0.0), math.inf), "finite, got inf"),
        (lambda: iw.standard(0), "hidden.*0"),
        (lambda: iw.ntk(0), "hidden.*0"),
        (lambda: iw.mup(-2), "hidden.*-2"),
        (lambda: iw.ABCMLP(0, 4, 3, iw.mup(1)), "d_in.*0"),
        (lambda: iw.ABCMLP(5, 0, 3, iw.mup(1)), "width.*0"),
        (lambda: iw.ABCMLP(5, 4, 0, iw.mup(1)), "d_out.*0"),
        (lambda: MODEL(X5[:, :4]), r"\(n, 5\), got \(10, 4\)"),
        (lambda: MODEL.preactivations(X5[0]), r"\(n, 5\), got \(5,\)"),
        (lambda: iw.sgd(MODEL, X5, Y3, eta=0.0, steps=1), "eta.*0.0"),
        (lambda: iw.sgd(MODEL, X5, Y3, eta=math.nan, steps=1), "eta.*nan"),
        (lambda: iw.sgd(MODEL, X5, Y3, eta=0.1, steps=0), "steps.*0"),
        (lambda: iw.sgd(MODEL, X5, Y3[:, :2], eta=0.1, steps=1), r"\(10, 3\), got \(10, 2\)"),
        (lambda: iw.sgd(MODEL, X5[:, :4], Y3, eta=0.1, steps=1), r"\(n, 5\), got \(10, 4\)"),
        (lambda: iw.limit_factors(0, 3), "d_in.*0"),
        (lambda: iw.limit_factors(3, 0), "d_out.*0"),
        (lambda: iw.finite_factors(0, 3, 3), "width.*0"),
        (lambda: iw.finite_factors(3, -1, 3), "d_in.*-1"),
        (lambda: iw.word2vec_loss(A4, B3, -P43), "negative, got -0"),
        (lambda: iw.word2vec_loss(A4, B3, 2 * P43), "sum to 1, got 2"),
        (lambda: iw.word2vec_loss(A4, B3, P43 * math.nan), "negative, got nan"),
        (lambda: iw.word2vec_loss(A4, B3, P43[0]), r"matrix, got shape \(3,\)"),
        (lambda: iw.word2vec_loss(A4, B3, P43.mT), r"4 x 3.*\(3, 4\)"),
        (lambda: iw.word2vec_loss(A4, B3[:1], P43), r"\(2, 4\) and \(1, 3\)"),
        (lambda: iw.word2vec_loss(A4, B3, P43, -1.0), "output_scale.*-1.0"),
        (lambda: iw.train_word2vec(A4, B3, P43, eta=0.0, steps=1), "eta.*0.0"),
        (lambda: iw.train_word2vec(A4, B3, P43, eta=1.0, steps=-1), "steps.*-1"),
        (lambda: iw.train_word2vec(A4, B3, P43, eta=1.0, steps=1, output_scale=0.0), "output_scale.*0.0"),
        (lambda: iw.train_word2vec(A4, B3, P43 / 2, eta=1.0, steps=1), "sum to 1, got 0.5"),
        (lambda: iw.train_word2vec(A4[0], B3[0], P43, eta=1.0, steps=1), r"\(4,\) and \(3,\)"),
        (lambda: iw.ntk_limit_word2vec(P43.mT, P43, eta=1.0, steps=1), r"\(4, 3\) of P, got \(3, 4\)"),
        (lambda: iw.ntk_limit_word2vec(P43, P43 * 3, eta=1.0, steps=1), "sum to 1, got 3"),
        (lambda: iw.ntk_limit_word2vec(P43, P43, eta=-1.0, steps=1), "eta.*-1.0"),
        (lambda: iw.ntk_limit_word2vec(P43, P43, eta=1.0, steps=-3), "steps.*-3"),
        (lambda: iw.analogy_corpus(1, 2, 2), "bases.*1"),
        (lambda: iw.analogy_corpus(2, 1, 2), "attributes.*1"),
        (lambda: iw.analogy_corpus(2, 2, 0), "contexts.*0"),
        (lambda: iw.analogy_corpus(2, 2, 2, noise=-0.1), "noise.*-0.1"),
        (lambda: iw.analogy_accuracy(A4, 1, 4), "bases.*1"),
        (lambda: iw.analogy_accuracy(A4, 2, 0), "attributes.*0"),
        (lambda: iw.analogy_accuracy(A4, 3, 2), r"at least 6 columns, got shape \(2, 4\)"),
        (lambda: iw.analogy_accuracy(A4[0], 2, 2), r"at least 4 columns, got shape \(4,\)"),
        (lambda: iw.skip_gram_pairs(["a", "b"], 3), "2 different words, got vocabulary 3"),
        (lambda: iw.skip_gram_pairs(["a", "b"], 0), "vocabulary.*0"),
        (lambda: iw.skip_gram_pairs(["a", "b"], 2, window=0), "window.*0"),
        (lambda: iw.skip_gram_pairs(["a"], 1), "2 words of the vocabulary, got 1"),
        (lambda: iw.Config(widths=(64, 64)), r"widths .*each above the last.*\(64, 64\)"),
        (lambda: iw.Config(w2v_widths=()), r"w2v_widths .*each above the last.*\(\)"),
        (lambda: iw.Config(ntk_widths=(0, 4)), "ntk_widths.*0"),
        (lambda: iw.Config(samples=1798), "1797, got 1798"),
        (lambda: iw.Config(bases=1), "bases.*1"),
    ],
)
def test_bad_input_is_refused_with_its_value(call, match):
    with refuses(ValueError, match=match):
        call()
