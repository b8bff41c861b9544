"""The pieces of neural network kernels against quadrature, closed forms, torch's layers and scikit-learn."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from sklearn.kernel_approximation import RBFSampler
from sklearn.linear_model import Ridge
from torch import nn

from overparam.core import compute
from overparam.dynamics import neural_network_kernels as nnk
from tests.conftest import refuses

SMALL = nnk.Config(
    d=4,
    pairs=5,
    counts=(8, 16, 32),
    draws=4,
    relu_count=500,
    hidden=8,
    train_steps=5,
    bundle_counts=(8, 16, 32),
    closed_counts=(8, 16),
    train_size=100,
)
KINDS = [(name, split) for name in nnk.ACTIVATIONS for split in nnk.SPLITS]


def features(activation="sin", m=64, d=5, seed=0, **kinds):
    return nnk.universal_features(activation, m, d, generator=compute.generator(seed), **kinds)


def vectors(*shape, seed=1, dtype=torch.float64):
    return torch.randn(*shape, generator=compute.generator(seed), dtype=dtype)


# --- Draws ------------------------------------------------------------------------------------------------------


def test_orthogonal_projections_are_orthogonal_in_blocks_with_gaussian_norms():
    G = nnk.draw_projections(100, 40, orthogonal=True, generator=compute.generator(0))
    assert G.shape == (100, 40)
    for block in G.split(40):
        gram = block @ block.mT
        torch.testing.assert_close(gram, torch.diag(gram.diagonal()), atol=1e-10, rtol=0)
    many = nnk.draw_projections(4000, 8, orthogonal=True, generator=compute.generator(1))
    assert stats.kstest(many.square().sum(1).numpy(), "chi2", args=(8,)).pvalue > 1e-3
    assert stats.kstest(many[:, 3].numpy(), "norm").pvalue > 1e-3


def test_independent_projections_are_gaussian():
    G = nnk.draw_projections(2000, 8, generator=compute.generator(0))
    assert stats.kstest(G.flatten().numpy(), "norm").pvalue > 1e-3


def test_the_rotation_of_a_block_is_uniform():
    """Under Haar measure every entry of a 2 x 2 rotation is a cosine of a uniform angle, and both signs occur."""
    G = nnk.draw_projections(4000, 2, orthogonal=True, generator=compute.generator(2))
    angle = torch.atan2(G[:, 1], G[:, 0]).numpy()
    assert stats.kstest(angle, "uniform", args=(-math.pi, 2 * math.pi)).pvalue > 1e-3


@pytest.mark.parametrize("name", ["sin", "cos"])
def test_both_frequencies_together_are_the_function_exactly(name):
    xi, weight = nnk.draw_frequencies(name, 50, generator=compute.generator(0))
    plus, minus = int((xi > 0).int().argmax()), int((xi < 0).int().argmax())
    z = vectors(20)
    waves = [weight[j] * torch.exp(2j * math.pi * xi[j] * z) for j in (plus, minus)]
    torch.testing.assert_close(sum(waves) / 2, nnk.ACTIVATIONS[name](z) + 0j, atol=1e-14, rtol=0)
    assert 10 < int((xi > 0).sum()) < 40


def test_gaussian_frequencies_have_the_gaussians_spectrum():
    xi, weight = nnk.draw_frequencies("gaussian", 20_000, generator=compute.generator(0))
    assert stats.kstest((2 * math.pi * xi).numpy(), "norm").pvalue > 1e-3
    waves = (weight * torch.exp(2j * math.pi * xi * 1.3)).mean()
    assert abs(complex(waves) - math.exp(-(1.3**2) / 2)) < 0.02


# --- Universal random features ----------------------------------------------------------------------------------


@pytest.mark.parametrize("split", nnk.SPLITS)
@pytest.mark.parametrize("M", [-0.1, 0.0, 0.2])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_the_feature_identity_holds_under_quadrature(split, M, sign):
    """In one dimension Gauss-Hermite quadrature replaces the draw of g, and no noise is left."""
    nodes, masses = np.polynomial.hermite_e.hermegauss(80)
    G, mass = torch.tensor(nodes)[:, None], torch.tensor(masses / math.sqrt(2 * math.pi))
    xi = torch.full((80,), sign * 0.17, dtype=torch.float64)
    weight = torch.full((80,), 0.3 - 0.4j, dtype=torch.complex128)
    urf = nnk.URF("sin", G, xi, weight, M, split)
    x, w, b = vectors(3, 1, seed=1), vectors(4, 1, seed=2), vectors(4, seed=3)
    products = torch.einsum("j,nj,kj->nk", mass + 0j, urf.x(x), urf.w(w, b)) * 80
    exact = (0.3 - 0.4j) * torch.exp(2j * math.pi * sign * 0.17 * (x @ w.mT + b))
    torch.testing.assert_close(products, exact, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("M", [-0.05, 0.0, 0.3])
def test_the_second_moment_is_the_chapters_formula(M):
    nodes, masses = np.polynomial.hermite_e.hermegauss(120)
    G, mass = torch.tensor(nodes)[:, None], torch.tensor(masses / math.sqrt(2 * math.pi))
    xi, weight = nnk.draw_frequencies("sin", 120, generator=compute.generator(0))
    urf, x, w = nnk.URF("sin", G, xi, weight, M, "symmetric"), vectors(3, 1, seed=1), vectors(3, 1, seed=2)
    moment = (120 * urf.x(x) * urf.w(w)).abs().square() @ mass
    growth = (1 + 4 * M) / (1 + 8 * M) * (x + w).square().sum(1)
    torch.testing.assert_close(moment, (1 + 4 * M) / math.sqrt(1 + 8 * M) * growth.exp(), rtol=1e-8, atol=0)


@pytest.mark.parametrize(("name", "split"), [k for k in KINDS if k[0] != "gaussian" or k[1] == "symmetric"])
def test_the_estimate_is_the_layer_on_average(name, split):
    urf = features(name, m=100_000, d=4, split=split, M=0.05)
    x, w = (torch.nn.functional.normalize(vectors(3, 4, seed=s), dim=1) for s in (1, 2))
    b = vectors(3, seed=3)
    terms = 100_000 * (urf.x(x)[:, None] * urf.w(w, b)).real
    z = (terms.mean(-1) - nnk.ACTIVATIONS[name](x @ w.mT + b)) / (terms.std(-1) / math.sqrt(100_000))
    assert float(z.abs().max()) < 5


def test_the_estimate_multiplies_without_a_conjugate():
    urf = features()
    phi, psi = urf.x(vectors(3, 5)), urf.w(vectors(2, 5, seed=2), vectors(2, seed=3))
    expected = [[sum(complex(p) * complex(q) for p, q in zip(a, c, strict=True)).real for c in psi] for a in phi]
    np.testing.assert_allclose(nnk.estimate(phi, psi), expected, rtol=1e-12)
    torch.testing.assert_close(nnk.real_features(phi) @ nnk.real_weights(psi).mT, nnk.estimate(phi, psi))


def test_more_features_are_the_same_estimate_with_less_noise():
    x, w = (torch.nn.functional.normalize(vectors(40, 8, seed=s), dim=1) for s in (1, 2))
    exact = torch.sin(x @ w.mT)

    def error(m):
        draws = [features(m=m, d=8, M=0.05, seed=s) for s in range(100)]
        return float(torch.stack([nnk.estimate(u.x(x), u.w(w)) - exact for u in draws]).square().mean().sqrt())

    assert error(400) / error(25) == pytest.approx(1 / 4, rel=0.2)


def test_the_input_split_of_the_sine_gives_random_fourier_features():
    M = 0.03
    urf, x = features(m=30, M=M, split="input"), vectors(4, 5)
    wave = torch.exp(1j * math.sqrt(1 + 4 * M) * urf.xi.sign() * (x @ urf.G.mT))
    envelope = torch.exp(x.square().sum(1, keepdim=True) / 2 - M * urf.G.square().sum(1))
    torch.testing.assert_close(urf.x(x), (1 + 4 * M) ** (5 / 4) / math.sqrt(30) * envelope * wave)


def test_those_features_span_what_scikit_learns_sampler_spans():
    """Of pairwise opposite frequencies, Re and Im are scikit-learn's cosines up to a rotation of each pair."""
    urf, x = features(m=50, d=5, split="input"), torch.nn.functional.normalize(vectors(6, 5), dim=1)
    sampler = RBFSampler(gamma=0.5, n_components=100, random_state=0).fit(x.numpy())
    G = urf.G * urf.xi.sign()[:, None]
    sampler.random_weights_ = torch.cat([G, G]).mT.numpy()
    sampler.random_offset_ = np.repeat([0.0, -math.pi / 2], 50)
    ours = nnk.real_features(urf.x(x)) / math.exp(0.5)  # the common norm of the inputs
    np.testing.assert_allclose(ours, sampler.transform(x.numpy()), atol=1e-12)


@given(seed=st.integers(0, 99), name=st.sampled_from(["sin", "cos"]))
@settings(max_examples=20)
def test_the_real_form_keeps_every_product(seed, name):
    urf = features(name, m=7, d=3, seed=seed)
    phi, psi = urf.x(vectors(2, 2, 3, seed=seed)), urf.w(vectors(4, 3, seed=seed + 1))
    torch.testing.assert_close(nnk.real_features(phi) @ nnk.real_weights(psi).mT, (phi @ psi.mT).real)


# --- ReLU features ----------------------------------------------------------------------------------------------


def test_the_arc_cosine_kernel_is_an_expectation_over_gaussians():
    x, w = vectors(1, 2, seed=1), vectors(1, 2, seed=2)

    def integrand(angle):  # polar coordinates: the radius integrates to 1, the direction is uniform
        g = torch.tensor([math.cos(angle), math.sin(angle)]).double()
        return 2 * float((g @ x[0]).relu() * (g @ w[0]).relu()) / (2 * math.pi)

    expected = integrate.quad(integrand, 0, 2 * math.pi, limit=200)[0]
    assert float(nnk.arc_cosine_kernel(x, w)) == pytest.approx(expected, rel=1e-6)


def test_relu_features_estimate_the_arc_cosine_kernel_and_no_relu():
    G = nnk.draw_projections(200_000, 3, generator=compute.generator(0))
    x, w = vectors(3, 3, seed=1), vectors(2, 3, seed=2)
    kernel = nnk.relu_features(x, G) @ nnk.relu_features(w, G).mT
    torch.testing.assert_close(kernel, nnk.arc_cosine_kernel(x, w), atol=0.03, rtol=0.02)


@given(scale=st.floats(0.1, 10), seed=st.integers(0, 99))
def test_the_arc_cosine_kernel_is_symmetric_and_homogeneous(scale, seed):
    x, w = vectors(3, 4, seed=seed), vectors(2, 4, seed=seed + 1)
    kernel = nnk.arc_cosine_kernel(x, w)
    torch.testing.assert_close(nnk.arc_cosine_kernel(w, x).mT, kernel)
    torch.testing.assert_close(nnk.arc_cosine_kernel(scale * x, w), scale * kernel)
    torch.testing.assert_close(nnk.arc_cosine_kernel(x, x).diagonal(), x.square().sum(1) / 2)


def test_a_zero_vector_has_kernel_zero():
    kernel = nnk.arc_cosine_kernel(torch.zeros(1, 3).double(), vectors(2, 3))
    assert torch.equal(kernel, torch.zeros_like(kernel))


# --- Layers -----------------------------------------------------------------------------------------------------


def test_an_snnk_layer_starts_as_the_layer_it_replaces():
    linear = nn.Linear(8, 3).double()
    nn.init.normal_(linear.weight, std=0.3, generator=compute.generator(0))
    x = torch.nn.functional.normalize(vectors(50, 8), dim=1)
    layer = nnk.SNNKLayer.from_linear(linear, features(m=60_000, d=8, split="input"))
    exact = torch.sin(linear(x)).detach()
    assert float((layer(x).detach() - exact).square().mean().sqrt()) < 0.02
    urf = layer.urf
    torch.testing.assert_close(layer(x), nnk.estimate(urf.x(x), urf.w(linear.weight, linear.bias)))


def test_the_readout_is_the_layers_only_parameter():
    layer = nnk.SNNKLayer(features(m=6), vectors(2, 5), vectors(2))
    assert [(name, p.shape) for name, p in layer.named_parameters()] == [("weight", (2, 12))]
    layer(vectors(3, 4, 5)).sum().backward()
    assert layer.weight.grad.abs().sum() > 0


def test_a_layer_moves_to_another_dtype_and_comes_back_from_its_state():
    layer, x = nnk.SNNKLayer(features(m=6), vectors(2, 5)), vectors(3, 5)
    other = nnk.SNNKLayer(features(m=6, seed=9), vectors(2, 5, seed=9))
    other.load_state_dict(layer.state_dict())
    torch.testing.assert_close(other(x), layer(x), rtol=0, atol=0)
    torch.testing.assert_close(other.to(torch.float32)(x.float()).double(), layer(x), atol=1e-5, rtol=1e-5)
    assert nnk.SNNKLayer.from_linear(nn.Linear(5, 2), features(m=6)).weight.dtype == torch.float64


def test_bundling_is_the_next_layer_on_the_snnk_layer():
    layer, W2, x = nnk.SNNKLayer(features(m=6), vectors(3, 5), vectors(3)), vectors(2, 3), vectors(4, 5)
    bundled = nnk.bundle(W2, layer.weight)
    torch.testing.assert_close(nnk.real_features(layer.urf.x(x)) @ bundled.mT, layer(x) @ W2.mT)


@pytest.mark.parametrize(("n", "p"), [(30, 8), (8, 30), (9, 9)])
def test_the_ridge_readout_is_scikit_learns(n, p):
    A, T = vectors(n, p), vectors(n, 3, seed=2)
    peer = Ridge(alpha=0.7, fit_intercept=False).fit(A.numpy(), T.numpy())
    np.testing.assert_allclose(nnk.ridge_readout(A, T, 0.7), peer.coef_, atol=1e-10)


@given(n=st.integers(1, 12), p=st.integers(1, 12), lam=st.floats(1e-3, 10), seed=st.integers(0, 99))
@settings(max_examples=30)
def test_the_ridge_readout_has_a_vanishing_gradient(n, p, lam, seed):
    A, T = vectors(n, p, seed=seed), vectors(n, 2, seed=seed + 1)
    B = nnk.ridge_readout(A, T, lam)
    torch.testing.assert_close((B @ A.mT - T.mT) @ A + lam * B, torch.zeros_like(B), atol=1e-9, rtol=0)


# --- Experiment -------------------------------------------------------------------------------------------------


def test_the_digits_have_norm_one_and_the_sine_network_stays_capped():
    data = nnk.unit_digits(SMALL)
    torch.testing.assert_close(data.test.x.norm(dim=1), torch.ones(1697).double())
    config = dataclasses.replace(SMALL, weight_cap=0.5)
    W1, b1, W2 = nnk.train_sine_network(data, config, generator=compute.generator(0))
    assert W1.shape == (8, 64)
    assert b1.shape == (8,)
    assert W2.shape == (10, 8)
    assert float(W1.norm(dim=1).max()) <= 0.5 * (1 + 1e-9)


def test_the_closed_form_readout_is_the_ridge_optimum_in_units_of_the_features():
    data = nnk.unit_digits(SMALL)
    urf = features(m=20, d=64, split="input")
    A = nnk.real_features(urf.x(data.train.x)).numpy()
    peer = Ridge(alpha=1e-3 * 100 * (A**2).mean(), fit_intercept=False).fit(A, np.eye(10)[data.train.y])
    np.testing.assert_allclose(nnk.closed_form_readout(urf, data, SMALL), peer.coef_, atol=1e-7)


def test_full_scale_takes_two_steps():
    less = {"draws": 2, "counts": (64, 128, 256), "relu_count": 1000, "train_steps": 2, "bundle_counts": (64, 128)}
    result = nnk.run(dataclasses.replace(nnk.FULL, **less), device="cpu", progress=False)
    claims = {c.id: c for c in nnk.claims(result)}
    assert math.isnan(claims["bundling_converges"].measured)  # two counts are too few for a slope
    assert not claims["bundling_converges"].holds
    assert result.mlp_parameters == 64 * 512 + 512 + 512 * 10 + 10


@pytest.mark.parametrize(
    ("dtype", "complex_dtype"), [(torch.float32, torch.complex64), (torch.float64, torch.complex128)]
)
def test_the_inputs_decide_dtype_and_device(dtype, complex_dtype):
    urf, x = features(m=4, d=3, dtype=dtype), vectors(2, 3, dtype=dtype)
    assert {urf.x(x).dtype, urf.w(x, x[:, 0]).dtype, urf.weight.dtype} == {complex_dtype}
    assert nnk.arc_cosine_kernel(x, x).dtype == nnk.relu_features(x, urf.G).dtype == dtype
    assert nnk.ridge_readout(x, x, 1.0).dtype == dtype
    there = nnk.SNNKLayer(urf, x, x[:, 0]).to("meta")
    assert there(x.to("meta")).device.type == "meta"
    assert nnk.arc_cosine_kernel(x.to("meta"), x.to("meta")).device.type == "meta"


X, URF5 = vectors(2, 3), features()


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: nnk.universal_features("tanh", 4, 3), "activation.*tanh"),
        (lambda: nnk.universal_features("sin", 4, 3, split="both"), "split.*both"),
        (lambda: nnk.universal_features("sin", 4, 3, M=-0.25), "M must.*-0.25"),
        (lambda: nnk.universal_features("sin", 4, 3, M=math.nan), "M must.*nan"),
        (lambda: nnk.universal_features("sin", 0, 3), "m must.*0"),
        (lambda: nnk.universal_features("sin", 4, 0), "d must.*0"),
        (lambda: nnk.draw_projections(0, 3), "m must.*0"),
        (lambda: nnk.draw_projections(3, -1, orthogonal=True), "d must.*-1"),
        (lambda: nnk.draw_frequencies("relu", 3), "activation.*relu"),
        (lambda: nnk.draw_frequencies("sin", 0), "m must.*0"),
        (lambda: URF5.x(X), r"size 5.*\(2, 3\)"),
        (lambda: URF5.w(X), r"size 5.*\(2, 3\)"),
        (lambda: URF5.w(vectors(2, 5), vectors(3)), r"\(2, 5\).*\(3,\)"),
        (lambda: nnk.SNNKLayer(URF5, X), r"size 5.*\(2, 3\)"),
        (lambda: nnk.SNNKLayer(URF5, vectors(2, 5))(X), r"size 5.*\(2, 3\)"),
        (lambda: nnk.estimate(URF5.x(vectors(2, 5)), features(m=3).w(vectors(2, 5))), "64 and 3"),
        (lambda: nnk.relu_features(X, vectors(4, 5)), r"size 5.*\(2, 3\)"),
        (lambda: nnk.arc_cosine_kernel(X, vectors(2, 4)), "3 and 4"),
        (lambda: nnk.bundle(X, X), r"\(2, 3\) and \(2, 3\)"),
        (lambda: nnk.ridge_readout(X, X, 0.0), "lam.*0.0"),
        (lambda: nnk.ridge_readout(X, X, -1.0), "lam.*-1.0"),
        (lambda: nnk.ridge_readout(X, vectors(3, 1), 1.0), r"\(2, 3\) and \(3, 1\)"),
        (lambda: nnk.Config(counts=(64, 16)), r"counts.*\(64, 16\)"),
        (lambda: nnk.Config(closed_counts=()), r"closed_counts.*\(\)"),
        (lambda: nnk.Config(bundle_counts=(0, 5)), "bundle_counts.*at least 1, got 0"),
        (lambda: nnk.Config(M=-1.0), "M must.*-1.0"),
        (lambda: nnk.Config(train_size=1797), "1797"),
        (lambda: nnk.Config(draws=1), "draws.*1"),
    ],
)
def test_bad_input_is_refused_with_its_value(call, match):
    with refuses(ValueError, match=match):
        call()
