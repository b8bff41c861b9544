"""Ensembles against separate torch.nn networks, the laws of the weights, and ResNet-18 written out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kstest
from torch import nn
from torch.nn import functional

from overparam.core import compute, models
from tests.conftest import refuses


def ensemble(replicas, dims, seed=0, dtype=torch.float64):
    """Random parameters, with every bias away from zero."""
    generator = compute.generator(seed)
    parameters = models.mlp_ensemble_init(replicas, dims, generator=generator, dtype=dtype)
    return [
        p if i % 2 == 0 else torch.randn(p.shape, generator=generator, dtype=dtype) for i, p in enumerate(parameters)
    ]


def as_modules(parameters):
    """One torch.nn network for each replica, with its weights."""
    networks = []
    for k in range(len(parameters[0])):
        layers = []
        for weight, bias in zip(parameters[::2], parameters[1::2], strict=True):
            linear = nn.Linear(*weight.shape[1:], dtype=weight.dtype)
            linear.weight.data, linear.bias.data = weight[k].T.clone(), bias[k, 0].clone()
            layers += [linear, nn.ReLU()]
        networks.append(nn.Sequential(*layers[:-1]))
    return networks


# --- Ensembles of MLPs ------------------------------------------------------------------------------------------


@given(
    replicas=st.integers(1, 4),
    dims=st.lists(st.integers(1, 6), min_size=2, max_size=5),
    n=st.integers(1, 5),
    kind=st.sampled_from(["one batch for all, no axis", "one batch for all", "one for each"]),
)
@settings(max_examples=40)
def test_an_ensemble_is_its_networks_one_by_one_in_outputs_features_and_gradients(replicas, dims, n, kind):
    parameters = ensemble(replicas, dims)
    networks = as_modules(parameters)
    shape = {"one batch for all, no axis": (n,), "one batch for all": (1, n), "one for each": (replicas, n)}[kind]
    x = torch.randn(*shape, dims[0], generator=compute.generator(1), dtype=torch.float64)
    each = x.expand(replicas, n, dims[0])
    outputs = torch.stack([network(z) for network, z in zip(networks, each, strict=True)])
    features = torch.stack([network[:-1](z) for network, z in zip(networks, each, strict=True)])
    leaves = [p.clone().requires_grad_() for p in parameters]
    torch.testing.assert_close(models.mlp_ensemble_forward(leaves, x), outputs)
    torch.testing.assert_close(models.mlp_ensemble_features(leaves, x), features)
    models.mlp_ensemble_forward(leaves, x).square().sum().backward()
    outputs.square().sum().backward()
    for k, network in enumerate(networks):
        linears = [layer for layer in network if isinstance(layer, nn.Linear)]
        for linear, weight, bias in zip(linears, leaves[::2], leaves[1::2], strict=True):
            torch.testing.assert_close(weight.grad[k].T, linear.weight.grad)
            torch.testing.assert_close(bias.grad[k, 0], linear.bias.grad)


def test_weights_start_normal_with_he_variance_and_biases_at_zero():
    parameters = models.mlp_ensemble_init(3, (50, 200, 8), generator=compute.generator(0))
    assert [tuple(p.shape) for p in parameters] == [(3, 50, 200), (3, 1, 200), (3, 200, 8), (3, 1, 8)]
    for weight, fan_in in ((parameters[0], 50), (parameters[2], 200)):
        for replica in weight:
            assert kstest(replica.flatten().numpy() * np.sqrt(fan_in / 2), "norm").pvalue > 1e-3
    assert not parameters[1].any()
    assert not parameters[3].any()
    correlation = np.corrcoef(parameters[0].flatten(1).numpy())
    np.testing.assert_allclose(correlation, np.eye(3), atol=0.05)  # replicas are independent


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_same_generator_gives_the_same_ensemble_and_another_another(dtype):
    one, again, other = (
        models.mlp_ensemble_init(2, (3, 4), generator=compute.generator(seed), dtype=dtype) for seed in (0, 0, 1)
    )
    assert all(map(torch.equal, one, again))
    assert not torch.equal(one[0], other[0])
    assert {p.dtype for p in one} == {dtype}
    assert not any(p.requires_grad for p in one)


@pytest.mark.parametrize(
    ("replicas", "dims", "match"),
    [
        (0, (2, 3), "replicas must be an integer of at least 1, got 0"),
        (1, (2,), r"input and an output width, got \(2,\)"),
        (1, (), r"got \(\)"),
        (1, (2, 0, 3), "width must be an integer of at least 1, got 0"),
        (1, (2, 2.5), r"got 2\.5"),
    ],
)
def test_an_ensemble_without_networks_or_layers_is_refused(replicas, dims, match):
    with refuses(ValueError, match=match):
        models.mlp_ensemble_init(replicas, dims, generator=compute.generator(0))


# --- ResNet-18 --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("classes", "channels", "known"),
    [
        (10, 3, 11_173_962),  # as everyone counts it for CIFAR-10
        (100, 3, 11_220_132),  # ... and CIFAR-100
        (10, 1, 11_173_962 - 2 * 64 * 9),
    ],
)
def test_the_parameters_number_as_the_literature_has_them(classes, channels, known):
    network = models.ResNet18(classes, channels, generator=compute.generator(0))
    assert sum(p.numel() for p in network.parameters()) == known


def by_hand(state, images, training):
    """ResNet-18 from its weights alone, stage by stage; the shape of a layer says where it strides."""

    def convolve(x, name, stride):
        kernel = state[f"{name}.weight"]
        return functional.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)

    def norm(x, name):
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        if training:
            mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3), unbiased=False)
        columns = mean, var, state[f"{name}.weight"], state[f"{name}.bias"]
        mean, var, scale, shift = (z[:, None, None] for z in columns)
        return (x - mean) / (var + 1e-5).sqrt() * scale + shift

    x = norm(convolve(images, "stem.0", 1), "stem.1").clamp(min=0)
    for i in range(8):
        name, stride = f"blocks.{i}", 2 if i in (2, 4, 6) else 1
        y = norm(convolve(x, f"{name}.residual.0", stride), f"{name}.residual.1").clamp(min=0)
        y = norm(convolve(y, f"{name}.residual.3", 1), f"{name}.residual.4")
        if stride == 2:
            x = norm(convolve(x, f"{name}.shortcut.0", 2), f"{name}.shortcut.1")
        x = (x + y).clamp(min=0)
    features = x.mean((2, 3))
    return features, features @ state["classifier.weight"].T + state["classifier.bias"]


@pytest.mark.parametrize("training", [True, False])
def test_resnet_computes_what_its_weights_say(training):
    network = models.ResNet18(7, generator=compute.generator(0)).double().train(training)
    generator = compute.generator(1)
    for name, buffer in network.named_buffers():
        if name.endswith(("mean", "var")):
            buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    images = torch.randn(2, 3, 16, 16, generator=generator, dtype=torch.float64)
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    features, logits = by_hand(state, images, training)
    with torch.no_grad():
        torch.testing.assert_close(network(images), logits)
        torch.testing.assert_close(network.features(images), features)
    assert (features >= 0).all()


def test_resnets_weights_follow_their_laws_and_only_the_generator():
    torch.manual_seed(0)
    one = models.ResNet18(10, generator=compute.generator(0))
    torch.manual_seed(1)
    same, other = (models.ResNet18(10, generator=compute.generator(seed)) for seed in (0, 1))
    for name, parameter in one.state_dict().items():
        assert torch.equal(parameter, same.state_dict()[name])
    for module, changed in zip(one.modules(), other.modules(), strict=True):
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * module.kernel_size[0] ** 2
            sample = module.weight.detach().flatten()[:5000].numpy()
            assert kstest(sample * np.sqrt(fan_out / 2), "norm").pvalue > 1e-4
            assert not torch.equal(module.weight, changed.weight)
            assert module.bias is None
    bound = 512**-0.5
    for tensor in one.classifier.parameters():
        sample = tensor.detach().flatten().numpy()
        assert kstest(sample, "uniform", (-bound, 2 * bound)).pvalue > 1e-3


# --- The transformer on rows ------------------------------------------------------------------------------------


def torchs_block(block, width, heads, feedforward):
    """The pre-norm layer of torch with a block's weights."""
    layer = nn.TransformerEncoderLayer(
        width, heads, feedforward, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    ).double()
    attention = block.attention
    projections = attention.query, attention.key, attention.value
    layer.load_state_dict(
        {
            "self_attn.in_proj_weight": torch.cat([p.weight for p in projections]),
            "self_attn.in_proj_bias": torch.cat([p.bias for p in projections]),
            "self_attn.out_proj.weight": attention.output.weight,
            "self_attn.out_proj.bias": attention.output.bias,
            "linear1.weight": block.feedforward[0].weight,
            "linear1.bias": block.feedforward[0].bias,
            "linear2.weight": block.feedforward[2].weight,
            "linear2.bias": block.feedforward[2].bias,
            "norm1.weight": block.norm1.weight,
            "norm1.bias": block.norm1.bias,
            "norm2.weight": block.norm2.weight,
            "norm2.bias": block.norm2.bias,
        }
    )
    return layer


@given(rows=st.integers(1, 5), pixels=st.integers(1, 5), heads=st.integers(1, 3), layers=st.integers(1, 3))
@settings(max_examples=15)
def test_a_row_transformer_is_torchs_encoder_on_the_rows(rows, pixels, heads, layers):
    generator = compute.generator(0)
    sizes = {"rows": rows, "pixels": pixels, "width": 4 * heads, "heads": heads, "layers": layers, "feedforward": 6}
    network = models.RowTransformer(**sizes, num_classes=3, generator=generator).double()
    for parameter in network.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    images = torch.randn(2, rows, pixels, generator=generator, dtype=torch.float64)
    tokens = images @ network.embedding.weight.T + network.embedding.bias + network.positions
    for block in network.blocks:
        tokens = torchs_block(block, 4 * heads, heads, 6)(tokens)
    logits = tokens.mean(1) @ network.head.weight.T + network.head.bias
    torch.testing.assert_close(network(images), logits)
    torch.testing.assert_close(network(images.flatten(1)), logits)
    torch.testing.assert_close(network(images[:, None]), logits)
    torch.testing.assert_close(network.features(images), tokens.mean(1))


def test_a_row_transformer_mixes_with_the_attention_that_is_handed_in():
    class Average(models.SelfAttention):
        def __init__(self, width, heads):
            super().__init__(width, heads)
            self.mix = Mean()

    class Mean(nn.Module):
        def forward(self, q, k, v):
            assert q.shape == k.shape == v.shape == (5, 2, 8, 16)
            return v.mean(-2, keepdim=True).expand_as(v)

    network = models.RowTransformer(attention=Average, generator=compute.generator(0))
    tokens = torch.randn(5, 8, 32, generator=compute.generator(1))
    attention = network.blocks[0].attention
    expected = attention.output(attention.value(tokens).mean(1, keepdim=True).expand_as(tokens))
    torch.testing.assert_close(attention(tokens), expected)
    network(torch.zeros(5, 8, 8))


def test_a_row_transformers_weights_follow_their_laws_and_only_the_generator():
    torch.manual_seed(0)
    one = models.RowTransformer(generator=compute.generator(0))
    torch.manual_seed(1)
    same, other = (models.RowTransformer(generator=compute.generator(seed)) for seed in (0, 1))
    assert sum(p.numel() for p in one.parameters()) == 17_632 + 330  # counted by hand, without and with the head
    assert all(torch.equal(p, same.state_dict()[name]) for name, p in one.state_dict().items())
    for module, changed in zip(one.modules(), other.modules(), strict=True):
        if isinstance(module, nn.Linear):
            bound = module.in_features**-0.5
            sample = torch.cat([module.weight.detach().flatten(), module.bias.detach()]).numpy()
            assert kstest(sample, "uniform", (-bound, 2 * bound)).pvalue > 1e-3
            assert not torch.equal(module.weight, changed.weight)
    assert kstest(one.positions.detach().flatten().numpy() / 0.02, "norm").pvalue > 1e-3


@pytest.mark.parametrize(
    ("sizes", "match"),
    [
        ({"heads": 5}, "width must be a multiple of the 5 heads, got 32"),
        ({"heads": 0}, "heads must be an integer of at least 1, got 0"),
        ({"layers": 0}, "layers.*0"),
        ({"rows": 0}, "rows.*0"),
        ({"num_classes": -1}, "num_classes.*-1"),
    ],
)
def test_a_row_transformer_of_impossible_size_is_refused(sizes, match):
    with refuses(ValueError, match=match):
        models.RowTransformer(**sizes)
