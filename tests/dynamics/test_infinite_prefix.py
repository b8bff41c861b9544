"""Prefix attention, its compression, prefix learning and adapters, against torch's attention, autograd and loops."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import math
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from overparam.core import compute, models
from overparam.core.datasets import Examples
from overparam.dynamics import infinite_prefix as ip
from overparam.dynamics.infinite_prefix import adaptation
from tests.conftest import refuses
from tests.hub import hub_folder

SMALL = ip.Config(
    d=3,
    length=4,
    samples=8,
    prefix_lengths=(4, 64),
    degrees=(1, 2),
    fit_steps=5,
    prefix_counts=(2, 4, 32),
    gd_steps=10,
    pretrain_steps=2,
    adapt_steps=2,
)
PREFIX_COUNT = {"head": 0, "prefix": 1024, "ntk": 1088, "lora": 512, "full": 17_632}


def draw(*shape, seed=0, scale=1.0, dtype=torch.float64):
    return scale * torch.randn(*shape, generator=compute.generator(seed), dtype=dtype)


def problem(batch=(), n_q=4, n_k=4, m=5, d=3, e=3, dtype=torch.float64):
    """q, k, v and a prefix's keys and values."""
    shapes = (*batch, n_q, d), (*batch, n_k, d), (*batch, n_k, e), (*batch, m, d), (*batch, m, e)
    return [draw(*shape, seed=i, scale=0.7, dtype=dtype) for i, shape in enumerate(shapes)]


# --- Feature maps -----------------------------------------------------------------------------------------------


@given(d=st.integers(1, 5), degree=st.integers(0, 5), seed=st.integers(0, 99))
@settings(max_examples=25)
def test_taylor_features_have_the_truncated_exponential_as_their_kernel(d, degree, seed):
    x, y = draw(2, d, seed=seed)
    features = ip.taylor_features(torch.stack([x, y]), degree)
    assert features.shape == (2, math.comb(d + degree, degree))
    t = float(x @ y) / math.sqrt(d)
    assert float(features[0] @ features[1]) == pytest.approx(sum(t**j / math.factorial(j) for j in range(degree + 1)))


def test_taylor_features_are_the_monomials_over_the_roots_of_their_factorials():
    x = np.array([0.3, -1.2, 2.0])
    powers = sorted(a for a in itertools.product(range(4), repeat=3) if sum(a) <= 3)
    expected = [
        np.prod((x / 3**0.25) ** a) / math.sqrt(math.prod(math.factorial(i) for i in a)) for a in map(np.array, powers)
    ]
    np.testing.assert_allclose(np.sort(ip.taylor_features(torch.tensor(x), 3)), np.sort(expected))


def test_features_of_a_lower_degree_come_first():
    x = draw(5, 4)
    torch.testing.assert_close(ip.taylor_features(x, 4)[:, : math.comb(6, 2)], ip.taylor_features(x, 2))


def test_elu_features_are_positive_and_follow_their_formula():
    x = draw(100, 16, scale=5)
    z = x.numpy() / 2  # 16 ** (1 / 4)
    np.testing.assert_allclose(ip.elu_features(x), np.where(z > 0, z + 1, np.exp(z)))
    assert (ip.elu_features(x) > 0).all()


# --- Attention --------------------------------------------------------------------------------------------------


@given(
    batch=st.sampled_from([(), (2,), (2, 3)]),
    n_q=st.integers(1, 4),
    more=st.integers(0, 3),
    m=st.integers(0, 6),
    e=st.integers(1, 4),
    causal=st.booleans(),
)
@settings(max_examples=25)
def test_prefix_attention_is_torchs_attention_over_the_prefix_and_the_input(batch, n_q, more, m, e, causal):
    n_k = n_q + more
    q, k, v, k_prefix, v_prefix = problem(batch, n_q, n_k, m, 3, e)
    # A loop says what is visible: all of the prefix, and the input up to the query's own place at the end.
    visible = [[j < m or j - m <= i + n_k - n_q or not causal for j in range(m + n_k)] for i in range(n_q)]
    keys, values = torch.cat([k_prefix, k], -2), torch.cat([v_prefix, v], -2)
    expected = functional.scaled_dot_product_attention(q, keys, values, attn_mask=torch.tensor(visible))
    torch.testing.assert_close(ip.prefix_attention(q, k, v, k_prefix, v_prefix, causal=causal), expected)


def test_one_prefix_serves_all_of_a_batch():
    q, k, v, _, _ = problem((6, 2))
    k_prefix, v_prefix = draw(2, 5, 3, seed=8), draw(2, 5, 3, seed=9)
    each = [ip.prefix_attention(*one, k_prefix, v_prefix) for one in zip(q, k, v, strict=True)]
    torch.testing.assert_close(ip.prefix_attention(q, k, v, k_prefix, v_prefix), torch.stack(each))
    Z, k_sum = ip.compress_prefix(k_prefix, v_prefix)
    each = [ip.ntk_attention(*one, Z, k_sum) for one in zip(q, k, v, strict=True)]
    torch.testing.assert_close(ip.ntk_attention(q, k, v, Z, k_sum), torch.stack(each))


def test_heads_may_share_keys_and_differ_in_values():
    q, k, v, _, _ = problem((2,))
    k_prefix, v_prefix = draw(5, 3, seed=8), draw(2, 5, 3, seed=9)
    expected = ip.prefix_attention(q, k, v, k_prefix.expand(2, 5, 3), v_prefix)
    torch.testing.assert_close(ip.prefix_attention(q, k, v, k_prefix, v_prefix), expected)
    expected = ip.ntk_attention(q, k, v, *ip.compress_prefix(k_prefix.expand(2, 5, 3), v_prefix))
    torch.testing.assert_close(ip.ntk_attention(q, k, v, *ip.compress_prefix(k_prefix, v_prefix)), expected)


@pytest.mark.parametrize("causal", [False, True])
def test_with_features_that_are_exact_the_compression_is_exact(causal):
    phi = partial(ip.taylor_features, degree=16)
    q, k, v, k_prefix, v_prefix = problem((2,), n_q=3, m=50, e=2)
    Z, k_sum = ip.compress_prefix(k_prefix, v_prefix, phi)
    compressed = ip.ntk_attention(q, k, v, Z, k_sum, feature_map=phi, causal=causal)
    torch.testing.assert_close(compressed, ip.prefix_attention(q, k, v, k_prefix, v_prefix, causal=causal))


def test_the_error_of_the_compression_falls_with_the_degree():
    q, k, v, k_prefix, v_prefix = problem(m=200)
    exact = ip.prefix_attention(q, k, v, k_prefix, v_prefix)
    errors = []
    for degree in (1, 3, 5, 7):
        phi = partial(ip.taylor_features, degree=degree)
        sums = ip.compress_prefix(k_prefix, v_prefix, phi)
        errors.append(float((ip.ntk_attention(q, k, v, *sums, feature_map=phi) - exact).norm()))
    assert all(later < earlier / 3 for earlier, later in itertools.pairwise(errors))


def by_loop(q, k, v, Z, k_sum):
    """The fraction of the definition, query by query, with nothing subtracted from any exponent."""
    rows = []
    for query in q:
        weights = [math.exp(float(query @ key) / math.sqrt(len(query))) for key in k]
        phi = functional.elu(query / len(query) ** 0.25) + 1
        above = sum(w * value for w, value in zip(weights, v, strict=True)) + phi @ Z
        rows.append(above / (sum(weights) + float(phi @ k_sum)))
    return torch.stack(rows)


def test_ntk_attention_is_the_fraction_of_its_definition():
    q, k, v, _, _ = problem(n_k=6, e=2)
    Z, k_sum = draw(3, 2, seed=7), draw(3, 1, seed=8).abs()
    torch.testing.assert_close(ip.ntk_attention(q, k, v, Z, k_sum), by_loop(q, k, v, Z, k_sum))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("sign", [-1, 1])
def test_logits_of_any_size_overflow_nothing(dtype, sign):
    # Logits of 2000 / sqrt(2): low ones leave the prefix alone, high ones the input alone.
    q, k = torch.full((1, 2), 1000.0, dtype=dtype), torch.full((3, 2), sign * 1.0, dtype=dtype)
    v, Z, k_sum = torch.arange(6, dtype=dtype).view(3, 2), torch.ones(2, 2, dtype=dtype), torch.ones(2, 1, dtype=dtype)
    expected = v.mean(0, keepdim=True) if sign == 1 else torch.ones(1, 2, dtype=dtype)
    torch.testing.assert_close(ip.ntk_attention(q, k, v, Z, k_sum), expected)


@given(cuts=st.lists(st.integers(0, 20), max_size=4), seed=st.integers(0, 99))
@settings(max_examples=25)
def test_a_prefix_may_be_compressed_piece_by_piece(cuts, seed):
    k_prefix, v_prefix = draw(20, 3, seed=seed), draw(20, 2, seed=seed + 100)
    edges = [0, *sorted(cuts), 20]
    pieces = [ip.compress_prefix(k_prefix[i:j], v_prefix[i:j]) for i, j in itertools.pairwise(edges)]
    Z, k_sum = ip.compress_prefix(k_prefix, v_prefix)
    torch.testing.assert_close(sum(piece[0] for piece in pieces), Z)
    torch.testing.assert_close(sum(piece[1] for piece in pieces), k_sum)
    torch.testing.assert_close(Z, torch.einsum("mr,me->re", ip.elu_features(k_prefix), v_prefix))
    torch.testing.assert_close(k_sum[:, 0], ip.elu_features(k_prefix).sum(0))


def test_the_trainable_layer_starts_small_and_keeps_its_denominator_positive():
    layer = ip.NTKAttention(8, 2, k_init=0.3)
    assert {name: tuple(p.shape) for name, p in layer.named_parameters()} == {"Z": (2, 8, 8), "k": (2, 8, 1)}
    assert not layer.Z.any()
    assert (layer.k == 0.3).all()
    q, k, v = (draw(4, 2, 5, 8, seed=i, dtype=torch.float32) for i in range(3))
    out = layer(q, k, v)
    layer.k.data.neg_()  # |k| is what counts
    torch.testing.assert_close(layer(q, k, v), out)
    expected = ip.ntk_attention(q, k, v, layer.Z, layer.k.abs(), causal=True)
    torch.testing.assert_close(layer(q, k, v, causal=True), expected)


def test_a_k_of_zero_has_no_gradient():
    layer = ip.NTKAttention(4)
    layer.k.data.zero_()
    q, k, v = (draw(5, 4, seed=i, dtype=torch.float32) for i in range(3))
    layer(q, k, v).square().sum().backward()
    assert not layer.k.grad.any()
    assert layer.Z.grad.any()


def test_z_and_k_can_be_learned_at_every_length():
    q, k, v, k_prefix, v_prefix = problem((12,), d=4, e=4, m=64)
    lengths = (16, 64)
    targets = torch.stack([ip.prefix_attention(q, k, v, k_prefix[0, :m], v_prefix[0, :m]) for m in lengths])
    Z, k_sum = ip.learn_compression(q, k, v, targets, lengths, steps=60, lr=0.1)
    assert Z.shape == (2, 1, 4, 4)
    assert (k_sum > 0).all()
    alone = ip.prefix_attention(q, k, v, k_prefix[0, :0], v_prefix[0, :0])
    learned = ip.ntk_attention(q, k, v, Z, k_sum)
    for out, target in zip(learned, targets, strict=True):
        assert (out - target).norm() < 0.2 * (alone - target).norm()
    one, _ = ip.learn_compression(q, k, v, targets[1:], lengths[1:], steps=60, lr=0.1)
    torch.testing.assert_close(one[0], Z[1])  # the lengths do not see each other


# --- Prefix learning --------------------------------------------------------------------------------------------


@given(half=st.integers(1, 6), d=st.integers(1, 4), n=st.integers(1, 3), seed=st.integers(0, 99))
@settings(max_examples=25)
def test_pairs_start_at_zero_and_leave_half_of_the_vectors_redundant(half, d, n, seed):
    W, a = ip.paired_init(2 * half, d, generator=compute.generator(seed))
    X = draw(n, d, seed=seed + 1)
    assert set(a.tolist()) <= {-1.0, 1.0}
    assert float(a.sum()) == 0
    torch.testing.assert_close(ip.prefix_model(W, a, X), torch.zeros(n, d, dtype=W.dtype), atol=1e-13, rtol=0)
    assert int(torch.linalg.matrix_rank(ip.prefix_ntk(W, a, X), atol=1e-9)) <= min(n, half) * d


def general(m=5, d=3, n=4):
    """A model that does not start in pairs, so that no term vanishes."""
    a = torch.tensor([1.0, -1, 1, 1, -1], dtype=torch.float64)[:m]
    return draw(m, d), a, draw(n, d, seed=1), draw(n, d, seed=2)


def test_the_prefix_model_is_a_signed_softmax_average_times_m():
    W, a, X, _ = general()
    for x, out in zip(X, ip.prefix_model(W, a, X), strict=True):
        weights = np.exp(W.numpy() @ x.numpy())
        expected = 5 * sum(
            s * sign * w for s, sign, w in zip(weights / weights.sum(), a.tolist(), W.numpy(), strict=True)
        )
        np.testing.assert_allclose(out, expected)


def test_the_kernel_is_that_of_autograds_jacobian():
    W, a, X, _ = general()
    J = torch.func.jacrev(ip.prefix_model)(W, a, X).reshape(12, 15)
    torch.testing.assert_close(ip.prefix_ntk(W, a, X), J @ J.mT)


def test_a_step_is_a_gradient_step_and_losses_are_recorded_before_steps_and_after_the_last():
    W, a, X, Y = general()
    expected, losses, start = W.clone().requires_grad_(), [], W.clone()
    optimizer = torch.optim.SGD([expected], lr=0.01)
    for _ in range(3):
        optimizer.zero_grad()
        loss = (ip.prefix_model(expected, a, X) - Y).square().sum() / 2
        losses.append(float(loss.detach()))
        loss.backward()
        optimizer.step()
    losses.append(float((ip.prefix_model(expected.detach(), a, X) - Y).square().sum() / 2))
    trained, recorded = ip.train_prefix(W, a, X, Y, steps=3, eta=0.01)
    torch.testing.assert_close(trained, expected.detach())
    np.testing.assert_allclose(recorded, losses)
    assert torch.equal(W, start)


# --- Adapters ---------------------------------------------------------------------------------------------------


def transformer(seed=0):
    return ip.RowTransformer(generator=compute.generator(seed))


def attentions(model):
    return [module for module in model.modules() if hasattr(module, "attach")]


@pytest.mark.parametrize("mode", ip.ADAPTERS)
def test_an_adapter_has_the_parameters_it_should_and_freezes_the_rest(mode):
    model = transformer()
    extra = ip.adapt(model, mode, generator=compute.generator(1))
    assert sum(p.numel() for p in extra) == PREFIX_COUNT[mode]
    trainable = {id(p) for p in model.parameters() if p.requires_grad}
    assert trainable == {id(p) for p in [*extra, *model.head.parameters()]}
    before = copy.deepcopy(model.state_dict())
    data = Examples(draw(8, 1, 8, 8, dtype=torch.float32), torch.arange(8))
    groups = [{"params": [p for p in model.parameters() if p.requires_grad], "lr": 0.1}]
    ip.fit(model, data, groups, steps=2, batch_size=4, generator=compute.generator(2))
    for name, p in model.named_parameters():
        moved = not torch.equal(p, before[name])
        # A softmax does not see what the bias of the keys adds to all logits of a query.
        assert moved == p.requires_grad or name.endswith("key.bias")


@pytest.mark.parametrize("mode", ["head", "lora", "full"])
def test_an_adapter_that_starts_at_zero_changes_nothing(mode):
    model, images = transformer(), draw(3, 1, 8, 8, dtype=torch.float32)
    before = model(images)
    ip.adapt(model, mode, generator=compute.generator(1))
    torch.testing.assert_close(model(images), before)


def test_the_prefix_adapter_attends_to_its_prefix():
    attention = attentions(transformer())[0]
    attention.attach("prefix", prefix=3, generator=compute.generator(1))
    q, k, v = (draw(4, 2, 8, 16, seed=i, dtype=torch.float32) for i in range(3))
    prefix = (p.expand(4, -1, -1, -1) for p in (attention.mix.k_prefix, attention.mix.v_prefix))
    keys, values = (torch.cat([p, z], -2) for p, z in zip(prefix, (k, v), strict=True))
    torch.testing.assert_close(attention.mix(q, k, v), functional.scaled_dot_product_attention(q, keys, values))


def test_lora_adds_a_product_of_its_rank():
    base = nn.Linear(6, 4)
    layer = ip.LoRA(base, 2, generator=compute.generator(0))
    layer.up.data.copy_(draw(2, 4, dtype=torch.float32))
    update = layer(torch.eye(6)) - base(torch.eye(6))
    torch.testing.assert_close(update, layer.down @ layer.up)
    assert int(torch.linalg.matrix_rank(update)) == 2


def test_attaching_again_replaces_the_adapter():
    model, images = transformer(), draw(3, 1, 8, 8, dtype=torch.float32)
    before, names = model(images), set(model.state_dict())
    for mode in ip.ADAPTERS:
        ip.adapt(model, mode, generator=compute.generator(1))
    assert sum(p.numel() for p in ip.adapt(model, "ntk")) == PREFIX_COUNT["ntk"]
    ip.adapt(model, "head")
    torch.testing.assert_close(model(images), before)
    assert set(model.state_dict()) == names


@pytest.mark.parametrize("mode", ip.ADAPTERS)
def test_adapters_follow_their_generator_and_the_models_dtype(mode):
    one, same, other = (transformer().double() for _ in range(3))
    for model, seed in ((one, 1), (same, 1), (other, 2)):
        ip.adapt(model, mode, prefix=2, rank=3, generator=compute.generator(seed))
    for name, tensor in one.state_dict().items():
        assert tensor.dtype == torch.float64
        assert torch.equal(tensor, same.state_dict()[name])
    changed = [name for name, tensor in one.state_dict().items() if not torch.equal(tensor, other.state_dict()[name])]
    assert bool(changed) == (mode in ("prefix", "lora"))


# --- The paper's backbone ---------------------------------------------------------------------------------------


def hub_names(model):
    """The weights of a VisionTransformer, but its head's, under the names of the hub's file."""
    state = {
        "embeddings.cls_token": model.token,
        "embeddings.position_embeddings": model.positions,
        "pooler.dense.weight": torch.zeros(3, 3),
    }
    layers = {"embeddings.patch_embeddings.projection": model.embedding, "layernorm": model.norm}
    for i, block in enumerate(model.blocks):
        at = f"encoder.layer.{i}"
        layers |= {f"{at}.attention.attention.{n}": getattr(block.attention, n) for n in ("query", "key", "value")}
        layers |= {f"{at}.attention.output.dense": block.attention.output}
        layers |= {f"{at}.intermediate.dense": block.feedforward[0], f"{at}.output.dense": block.feedforward[2]}
        layers |= {f"{at}.layernorm_before": block.norm1, f"{at}.layernorm_after": block.norm2}
    for name, layer in layers.items():
        state |= {f"{name}.weight": layer.weight, f"{name}.bias": layer.bias}
    return {name: tensor.detach().clone() for name, tensor in state.items()}


def tiny_vit(seed):
    model = ip.VisionTransformer(image=8, patch=4, width=8, heads=2, layers=2, feedforward=12, num_classes=3)
    for i, p in enumerate(model.parameters()):
        p.data.copy_(draw(*p.shape, seed=seed + i, dtype=p.dtype))
    return model


@pytest.mark.parametrize("prefix", ["", "vit."])
def test_a_checkpoint_brings_all_weights_but_the_heads(prefix):
    source, model, images = tiny_vit(0), tiny_vit(100), draw(2, 3, 8, 8, dtype=torch.float32)
    head = copy.deepcopy(model.head.state_dict())
    state = {prefix + name: tensor for name, tensor in hub_names(source).items()}
    model.load_checkpoint(state)
    torch.testing.assert_close(model.features(images), source.features(images))
    assert all(torch.equal(tensor, head[name]) for name, tensor in model.head.state_dict().items())
    del state[f"{prefix}layernorm.bias"]
    with pytest.raises(RuntimeError, match=r"norm\.bias"):
        model.load_checkpoint(state)


def test_the_vision_transformer_is_its_encoder_on_patches_and_a_class_token():
    model, images = tiny_vit(0), draw(2, 3, 8, 8, dtype=torch.float32)
    patches = images.unfold(2, 4, 4).unfold(3, 4, 4).permute(0, 2, 3, 1, 4, 5).reshape(2, 4, 48)
    embedded = patches @ model.embedding.weight.flatten(1).mT + model.embedding.bias
    tokens = torch.cat([model.token.expand(2, 1, 8), embedded], 1) + model.positions
    out = model.blocks(tokens)[:, 0]
    out = (out - out.mean(-1, keepdim=True)) / out.std(-1, keepdim=True, correction=0)
    expected = (out * model.norm.weight + model.norm.bias) @ model.head.weight.mT + model.head.bias
    torch.testing.assert_close(model(images), expected, atol=1e-4, rtol=1e-4)


def test_the_vision_transformer_has_the_parameters_that_the_literature_counts():
    with torch.device("meta"):
        model = ip.VisionTransformer(num_classes=1000, generator=compute.generator(0))
    assert sum(p.numel() for p in model.parameters()) == 86_567_656
    extra = sum(p.numel() for p in ip.adapt(model.to_empty(device="cpu").to("meta"), "ntk"))
    assert extra == 12 * 12 * (64 * 64 + 64)


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """A folder like cifar100's on the hub, and ViT-B/16's weights cut to one block."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder, _ = hub_folder(tmp_path / "hub", "cifar100", (32, 32, 3), n_train=3, n_test=2, classes=100)
    one_block = partial(ip.VisionTransformer, layers=1)
    monkeypatch.setattr(adaptation, "VisionTransformer", one_block)
    model = one_block()
    model.positions.data.copy_(draw(*model.positions.shape, dtype=torch.float32))
    torch.save(hub_names(model), tmp_path / "weights.bin")
    return {"source": str(folder), "checkpoint": str(tmp_path / "weights.bin")}


def test_full_scale_takes_two_steps(stand_in):
    shorter = {"samples": 4, "prefix_lengths": (4, 256), "prefix_counts": (4, 8), "adapters": ("ntk",)}
    steps = {"fit_steps": 2, "gd_steps": 2, "adapt_steps": 2, "batch_size": 1, "adapter_lr": (0.1,)}
    result = ip.run(dataclasses.replace(ip.FULL, **shorter, **steps, **stand_in), device="cpu", progress=False)
    assert result.taylor_error.shape == (2, 2)
    assert result.trainable.tolist() == [12 * (64 * 64 + 64)]
    assert math.isnan(result.pretrained_accuracy)
    assert np.isfinite(result.loss_curves).all()
    assert all(claim.holds is False for claim in ip.claims(result) if math.isnan(claim.measured))


# --- The run ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def result():
    return ip.run(SMALL, device="cpu", progress=False)


def test_the_run_measures_what_its_fields_say(result):
    assert result.taylor_error.shape == (2, 2)
    assert result.loss_curves.shape == (3, 11)
    np.testing.assert_array_equal(result.loss_ratio, result.loss_curves[:, -1] / result.loss_curves[:, 0])
    assert np.ptp(result.loss_curves[:, 0]) < 1e-12  # every prefix starts at 0, on the same targets
    assert result.trainable.tolist() == list(PREFIX_COUNT.values())
    assert 0 <= result.pretrained_accuracy <= 1
    assert np.isclose(result.min_eigenvalue[:2], 0, atol=1e-9).all()


def test_the_parts_draw_from_streams_of_their_own(result):
    changed = dataclasses.replace(SMALL, prefix_lengths=(8, 64), gd_steps=5, adapters=("ntk",), adapter_lr=(0.3,))
    other = ip.run(changed, device="cpu", progress=False)
    np.testing.assert_array_equal(other.taylor_error[1], result.taylor_error[1])
    np.testing.assert_array_equal(other.loss_curves, result.loss_curves[:, :6])
    assert other.accuracy[0] == result.accuracy[2]
    assert other.pretrained_accuracy == result.pretrained_accuracy


def test_claims_need_no_more_adapters_than_head_and_ntk_and_fail_without_raising(result):
    few = dataclasses.replace(result.config, adapters=("ntk", "head"), adapter_lr=(0.3, 0.01))
    gain = dataclasses.replace(result, config=few, accuracy=np.array([0.9, 0.5]), trainable=np.array([1088, 0]))
    held = {claim.id: claim for claim in ip.claims(gain)}
    assert held["ntk_adapts"].measured == pytest.approx(0.4)
    assert held["ntk_adapts"].holds
    fields = ("accuracy", "loss_ratio", "movement", "min_eigenvalue", "learned_error", "taylor_error")
    broken = dataclasses.replace(gain, **{name: np.full_like(getattr(gain, name), math.nan) for name in fields})
    assert not any(claim.holds for claim in ip.claims(broken))


def test_the_new_task_is_the_old_one_turned():
    config = dataclasses.replace(SMALL, train_images=100, batch_size=50)
    _, train, test, _ = ip.pretrained(config, 5, torch.device("cpu"))
    assert train.x.shape == (100, 1, 8, 8)
    assert len(test.y) == 1697
    assert (float(train.x.min()), float(train.x.max())) == (-1.0, 1.0)
    from sklearn.datasets import load_digits

    pixels, _ = load_digits(return_X_y=True)
    originals = {np.rot90(image.reshape(8, 8)).tobytes() for image in (pixels / 8 - 1).astype(np.float32)}
    assert all(image.numpy().tobytes() in originals for image in train.x[:, 0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_inputs_decide_dtype_and_device(dtype):
    q, k, v, k_prefix, v_prefix = problem(dtype=dtype)
    W, a = ip.paired_init(4, 3, generator=compute.generator(0), dtype=dtype)
    taylor = partial(ip.taylor_features, degree=2)
    for to in (lambda z: z, lambda z: z.to("meta")):
        Z, k_sum = ip.compress_prefix(to(k_prefix), to(v_prefix), taylor)
        outputs = [
            ip.prefix_attention(*map(to, (q, k, v, k_prefix, v_prefix)), causal=True),
            ip.ntk_attention(*map(to, (q, k, v)), Z, k_sum, feature_map=taylor, causal=True),
            ip.elu_features(to(q)),
            ip.prefix_model(to(W), to(a), to(q)),
            ip.prefix_ntk(to(W), to(a), to(q)),
        ]
        assert {out.dtype for out in outputs} == {dtype}
        assert {out.device for out in outputs} == {to(q).device}
    trained, losses = ip.train_prefix(W, a, q, v, steps=2, eta=0.1)
    assert {trained.dtype, losses.dtype} == {dtype}


Q, K, V, KP, VP = problem()
Z3, S3 = torch.ones(3, 3, dtype=torch.float64), torch.ones(3, 1, dtype=torch.float64)
W4, A4 = ip.paired_init(4, 3, generator=compute.generator(0))
RowAttention = partial(ip.Attention, 32, 2)


def learn(lengths, steps=2, lr=0.1):
    return ip.learn_compression(Q[None], K[None], V[None], V[None, None], lengths, steps=steps, lr=lr)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: ip.prefix_attention(Q[:, :2], K, V, KP, VP), r"q, k and v.*\(4, 2\)"),
        (lambda: ip.prefix_attention(Q, K, V[:2], KP, VP), r"q, k and v.*\(2, 3\)"),
        (lambda: ip.prefix_attention(Q, K, V, KP[:2], VP), r"k_prefix and v_prefix.*\(2, 3\) and \(5, 3\)"),
        (lambda: ip.prefix_attention(Q, K, V, KP[:, :2], VP), r"as wide.*\(5, 2\)"),
        (lambda: ip.prefix_attention(Q.expand(2, 4, 3), K.expand(3, 4, 3), V, KP, VP), r"broadcast.*\(3, 4, 3\)"),
        (lambda: ip.prefix_attention(Q, K[:2], V[:2], KP, VP, causal=True), "causal.*4 and 2"),
        (lambda: ip.ntk_attention(Q, K[:2], V[:2], Z3, S3, causal=True), "causal.*4 and 2"),
        (lambda: ip.ntk_attention(Q, K[:, :2], V, Z3, S3), r"q, k and v.*\(4, 2\)"),
        (lambda: ip.ntk_attention(Q, K[:0], V[:0], Z3, S3), r"must have a key.*\(0, 3\)"),
        (lambda: ip.ntk_attention(Q, K, V, Z3[:2], S3), r"Z must be.*3, 3.*\(2, 3\)"),
        (lambda: ip.ntk_attention(Q, K, V, Z3, S3[:, 0]), r"k_sum must be.*3, 1.*\(3,\)"),
        (lambda: ip.ntk_attention(Q, K, V, Z3, S3, feature_map=lambda x: ip.taylor_features(x, 2)), r"10, 3.*\(3, 3\)"),
        (lambda: ip.compress_prefix(KP[:3], VP), r"\(3, 3\) and \(5, 3\)"),
        (lambda: ip.compress_prefix(KP.expand(2, 5, 3), VP.expand(3, 5, 3)), r"broadcast.*\(3, 5, 3\)"),
        (lambda: ip.taylor_features(Q, -1), "degree.*-1"),
        (lambda: learn((2, 4)), "2 lengths.*1"),
        (lambda: learn((0,)), "lengths.*0"),
        (lambda: learn((2,), steps=0), "steps.*0"),
        (lambda: learn((2,), lr=0.0), "lr.*0.0"),
        (lambda: ip.NTKAttention(0), "head_dim.*0"),
        (lambda: ip.NTKAttention(4, 0), "heads.*0"),
        (lambda: ip.NTKAttention(4, k_init=0.0), "k_init.*0.0"),
        (lambda: ip.NTKAttention(4, k_init=-0.1), "k_init.*-0.1"),
        (lambda: ip.NTKAttention(4)(Q, K, V), r"Z must be.*3, 3.*\(1, 4, 4\)"),
        (lambda: ip.paired_init(5, 3), "m must be even.*5"),
        (lambda: ip.paired_init(0, 3), "m must be an integer of at least 2, got 0"),
        (lambda: ip.paired_init(4, 0), "d must.*0"),
        (lambda: ip.prefix_model(W4, A4, Q[:, :2]), r"\(4, 2\)"),
        (lambda: ip.prefix_ntk(W4, A4[:3], Q), r"\(3,\)"),
        (lambda: ip.train_prefix(W4, A4, Q, V, steps=0, eta=0.1), "steps.*0"),
        (lambda: ip.train_prefix(W4, A4, Q, V, steps=2, eta=0.0), "eta.*0.0"),
        (lambda: ip.train_prefix(W4, A4, Q, V, steps=2, eta=-1.0), "eta.*-1.0"),
        (lambda: ip.train_prefix(W4, A4, Q, V[:2], steps=2, eta=0.1), r"Y must.*\(4, 3\).*\(2, 3\)"),
        (lambda: RowAttention().attach("adapter"), "mode.*adapter"),
        (lambda: RowAttention().attach("prefix", prefix=0), "prefix.*0"),
        (lambda: RowAttention().attach("lora", rank=0), "rank.*0"),
        (lambda: ip.adapt(transformer(), "bitfit"), "mode.*bitfit"),
        (lambda: ip.Config(adapters=("head", "bitfit"), adapter_lr=(0.1, 0.1)), "adapters.*bitfit"),
        (lambda: ip.Config(adapters=("head", "ntk")), "adapter_lr must have one rate"),
        (lambda: ip.Config(adapter_lr=(0.01, 0.03, -0.3, 0.03, 0.003)), "adapter_lr.*-0.3"),
        (lambda: ip.Config(prefix_counts=(2, 5)), "prefix_counts.*even, got 5"),
        (lambda: ip.Config(prefix_counts=()), r"prefix_counts .*each above the last, got \(\)"),
        (lambda: ip.Config(prefix_lengths=(16, 4)), r"prefix_lengths .*each above the last, got \(16, 4\)"),
        (lambda: ip.Config(degrees=(-1, 2)), "degrees.*-1"),
        (lambda: ip.Config(samples=1), "samples.*1"),
        (lambda: ip.Config(train_images=1797), "train_images.*got 1797"),
        (lambda: ip.Config(batch_size=1001), "batch_size.*1000.*1001"),
        (lambda: ip.Config(source="folder"), "source.*folder"),
        (lambda: ip.Config(checkpoint="file"), "checkpoint.*file"),
        (lambda: ip.Config(dataset="food101"), "dataset.*food101"),
        (lambda: models.SelfAttention(32, 5), "multiple of the 5 heads, got 32"),
    ],
)
def test_bad_input_is_refused_with_its_value(call, match):
    with refuses(ValueError, match=match):
        call()
