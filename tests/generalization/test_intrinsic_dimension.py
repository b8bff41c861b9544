"""The subspaces against scipy and scikit-learn, the networks against torch's modules, the toy problem by its rank."""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import hadamard
from sklearn.datasets import load_digits
from sklearn.random_projection import SparseRandomProjection
from torch import nn

from overparam.core import compute
from overparam.core.datasets import Examples, Split
from overparam.generalization import intrinsic_dimension as intrinsic
from overparam.generalization.intrinsic_dimension import experiment
from tests.conftest import refuses

SMALL = intrinsic.Config(
    toy_sizes=(40, 80),
    toy_dims=12,
    n_train=200,
    widths=(4, 8),
    dims=(2, 5, 10),
    method_width=8,
    steps=20,
    batch=16,
    memory_examples=20,
    memory_width=4,
    memory_dims=(4, 8),
    memory_steps=20,
)
SIZES = (3, 4, 5, 2)


def data(n=12, p=3, classes=2, seed=0, dtype=torch.float32):
    generator = compute.generator(seed)
    return torch.randn(n, p, generator=generator, dtype=dtype), torch.randint(classes, (n,), generator=generator)


def module(theta, sizes):
    """The same network from torch's parts."""
    layers, at = [], 0
    for fan_in, fan_out in pairwise(sizes):
        layer = nn.Linear(fan_in, fan_out, dtype=theta.dtype)
        layer.weight.data = theta[at : at + fan_in * fan_out].view(fan_out, fan_in).clone()
        at += fan_in * fan_out
        layer.bias.data = theta[at : at + fan_out].clone()
        at += fan_out
        layers += [layer, nn.ReLU()]
    assert at == len(theta)
    return nn.Sequential(*layers[:-1])


# --- Projections ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024])
def test_the_fast_transform_is_the_product_with_scipys_hadamard_matrix(n):
    x = torch.randn(2, 3, n, generator=compute.generator(n), dtype=torch.float64)
    torch.testing.assert_close(intrinsic.fast_walsh_hadamard(x), x @ torch.as_tensor(hadamard(n)).double())
    assert torch.equal(intrinsic.fast_walsh_hadamard(torch.eye(n).long()), torch.as_tensor(hadamard(n)))


@given(bits=st.integers(0, 9), seed=st.integers(0, 99))
@settings(max_examples=20)
def test_the_fast_transform_twice_multiplies_by_n_and_is_its_own_gradient(bits, seed):
    n = 2**bits
    x = torch.randn(n, generator=compute.generator(seed), dtype=torch.float64, requires_grad=True)
    once = intrinsic.fast_walsh_hadamard(x)
    torch.testing.assert_close(intrinsic.fast_walsh_hadamard(once), n * x)
    weights = torch.randn(n, generator=compute.generator(seed + 100), dtype=torch.float64)
    (gradient,) = torch.autograd.grad(once @ weights, x)
    torch.testing.assert_close(gradient, intrinsic.fast_walsh_hadamard(weights))


@pytest.mark.parametrize("kind", intrinsic.KINDS)
@given(D=st.integers(1, 70), share=st.floats(0, 1), seed=st.integers(0, 99))
@settings(max_examples=15)
def test_a_projection_is_the_product_with_its_matrix_and_the_same_for_the_same_seed(kind, D, share, seed):
    d = max(1, round(share * D))
    projection = intrinsic.project(kind, D, d, compute.generator(seed), torch.float64)
    P = projection.matrix()
    assert P.shape == (D, d)
    v = torch.randn(2, 3, d, generator=compute.generator(seed), dtype=torch.float64)
    torch.testing.assert_close(projection(v), v @ P.mT)
    torch.testing.assert_close(projection(v[0, 0]), P @ v[0, 0])
    assert torch.equal(intrinsic.project(kind, D, d, compute.generator(seed), torch.float64).matrix(), P)
    if kind != "fastfood" or D & (D - 1) == 0:
        torch.testing.assert_close(P.norm(dim=0), torch.ones(d, dtype=P.dtype))


# In Fastfood two columns meet through the squares of G alone, which vary by 2: sqrt(2 / L) instead of sqrt(1 / D).
@pytest.mark.parametrize(("kind", "cosine"), [("dense", 3000**-0.5), ("sparse", 3000**-0.5), ("fastfood", 2048**-0.5)])
def test_columns_are_of_unit_length_and_nearly_orthogonal_over_the_whole_vector(kind, cosine):
    P = intrinsic.project(kind, 3000, 60, compute.generator(1), torch.float64).matrix()
    gram = P.mT @ P
    assert float((gram.diagonal() - 1).abs().max()) < 0.15
    assert float(gram.diagonal().mean()) == pytest.approx(1, abs=0.01)
    others = gram[~torch.eye(60, dtype=torch.bool)]
    assert float(others.square().mean().sqrt()) == pytest.approx(cosine, rel=0.1)


def test_dense_columns_are_gaussian_vectors_of_unit_length():
    G = torch.randn(30, 4, generator=compute.generator(3))
    P = intrinsic.project("dense", 30, 4, compute.generator(3)).matrix()
    np.testing.assert_allclose(P, G.numpy() / np.linalg.norm(G.numpy(), axis=0), rtol=1e-6)


def test_sparse_columns_have_the_law_of_scikit_learn():
    D, d = 900, 400
    P = intrinsic.project("sparse", D, d, compute.generator(0), torch.float64).matrix()
    peer = SparseRandomProjection(d, random_state=0).fit(np.zeros((1, D))).components_.toarray().T
    peer /= np.linalg.norm(peer, axis=0)
    for moment in (lambda Q: (Q != 0).sum(0).mean(), lambda Q: (Q != 0).sum(0).std(), lambda Q: (Q**4).sum(0).mean()):
        assert moment(P.numpy()) == pytest.approx(moment(peer), rel=0.1)
    counts = (P != 0).sum(0)
    assert float(counts.double().mean()) == pytest.approx(math.sqrt(D), abs=4 * math.sqrt(math.sqrt(D) / d))
    # One size in a column, either sign, any row.
    torch.testing.assert_close(P.abs().amax(0), counts.double().rsqrt())
    assert abs(float(P.sign().sum())) < 4 * math.sqrt(float(counts.sum()))
    assert int((P != 0).any(1).sum()) > 0.99 * D


@pytest.mark.parametrize("density", [1e-9, 0.1, 1.0])
def test_no_sparse_column_is_empty_and_a_density_of_one_is_full(density):
    P = intrinsic.SparseProjection(50, 40, compute.generator(0), density=density).matrix()
    counts = (P != 0).sum(0)
    assert int(counts.min()) >= 1
    assert int(counts.max()) <= 50
    assert float(counts.double().mean()) == pytest.approx(max(1, 50 * density), rel=0.15)


def test_fastfood_is_the_product_of_its_five_factors():
    D, d, L = 23, 9, 32
    projection = intrinsic.FastfoodProjection(D, d, compute.generator(5), torch.float64)
    H = hadamard(L).astype(float)
    B = np.zeros((L, d))
    B[np.arange(d), np.arange(d)] = projection.signs
    G, Pi = np.diag(projection.gaussian), np.eye(L)[projection.permutation.numpy()]
    P = (H @ G @ Pi @ H @ B)[:D] / (np.sqrt(L * np.trace(G**2)) * np.sqrt(D / L))
    np.testing.assert_allclose(projection.matrix(), P, atol=1e-12)
    assert sorted(projection.permutation.tolist()) == list(range(L))
    assert set(projection.signs.tolist()) == {-1.0, 1.0}


def test_fastfood_keeps_hundreds_of_times_less_than_the_matrix():
    fastfood = intrinsic.project("fastfood", 26_122, 1000, compute.generator(0))
    kept = sum(buffer.nbytes for buffer in fastfood.buffers())
    assert 4 * 26_122 * 1000 / kept > 350


@pytest.mark.parametrize("kind", intrinsic.KINDS)
def test_the_dtype_is_the_one_asked_for_and_gradients_reach_v(kind):
    for dtype in (torch.float32, torch.float64):
        projection = intrinsic.project(kind, 20, 6, compute.generator(0), dtype)
        v = torch.zeros(3, 6, dtype=dtype, requires_grad=True)
        theta = projection(v)
        assert theta.dtype == projection.matrix().dtype == dtype
        theta.sum().backward()
        assert v.grad is not None
        torch.testing.assert_close(v.grad[0], projection.matrix().sum(0))
        assert not list(projection.parameters())


@pytest.mark.parametrize("kind", intrinsic.KINDS)
@given(dims=st.lists(st.integers(1, 12), min_size=1, max_size=5, unique=True).map(sorted), seed=st.integers(0, 99))
@settings(max_examples=15)
def test_a_nested_product_uses_the_first_columns_only_and_so_does_its_gradient(kind, dims, seed):
    projection = intrinsic.project(kind, 20, 12, compute.generator(seed), torch.float64)
    P, generator = projection.matrix(), compute.generator(seed + 100)
    v, weights = (torch.randn(len(dims), n, generator=generator, dtype=torch.float64) for n in (12, 20))
    v.requires_grad_(True)
    theta = projection.nested(v, dims)
    (gradient,) = torch.autograd.grad((theta * weights).sum(), v)
    for k, d in enumerate(dims):
        torch.testing.assert_close(theta[k], P[:, :d] @ v[k, :d])
        torch.testing.assert_close(gradient[k, :d], P[:, :d].mT @ weights[k])
        assert not gradient[k, d:].any()


# --- Networks ---------------------------------------------------------------------------------------------------


@given(sizes=st.lists(st.integers(1, 5), min_size=2, max_size=4), seed=st.integers(0, 99))
@settings(max_examples=15)
def test_the_flat_network_is_the_one_that_torch_builds(sizes, seed):
    starts = [intrinsic.init_flat(sizes, compute.generator(seed + k)).double() for k in range(3)]
    theta = torch.stack(starts) + torch.randn(3, len(starts[0]), generator=compute.generator(seed)).double()
    modules = [module(row, sizes) for row in theta]
    assert intrinsic.parameter_count(sizes) == sum(p.numel() for p in modules[0].parameters())
    x = torch.randn(3, 4, sizes[0], generator=compute.generator(seed), dtype=torch.float64)
    own = torch.stack([net(batch) for net, batch in zip(modules, x, strict=True)])
    torch.testing.assert_close(intrinsic.mlp_forward(theta, x, sizes), own)
    shared = torch.stack([net(x[0]) for net in modules])
    torch.testing.assert_close(intrinsic.mlp_forward(theta, x[0], sizes), shared)


def test_the_start_is_he_normal_layer_by_layer_with_zero_biases():
    theta = intrinsic.init_flat((50, 200, 10), compute.generator(0))
    generator = compute.generator(0)
    first = torch.randn(200, 50, generator=generator) * math.sqrt(2 / 50)
    last = torch.randn(10, 200, generator=generator) * math.sqrt(2 / 200)
    expected = torch.cat([first.flatten(), torch.zeros(200), last.flatten(), torch.zeros(10)])
    torch.testing.assert_close(theta, expected, rtol=1e-6, atol=0)


def test_accuracy_counts_right_decisions_in_float64():
    x, y = data()
    theta = torch.stack([intrinsic.init_flat(SIZES, compute.generator(seed)) for seed in (0, 1)])
    right = [int((module(row, SIZES)(x).argmax(1) == y).sum()) for row in theta]
    seen = intrinsic.accuracy(theta, x, y, SIZES)
    assert seen.dtype == torch.float64
    assert seen.tolist() == [count / 12 for count in right]
    shape = intrinsic.mlp_forward(theta.to("meta"), x.to("meta"), SIZES)
    assert (shape.device.type, shape.shape) == ("meta", (2, 12, 2))


@pytest.mark.parametrize("kind", intrinsic.KINDS)
@pytest.mark.parametrize("batch", [None, 5])
def test_each_subspace_trains_as_if_it_were_alone(kind, batch):
    x, y = data(dtype=torch.float64)
    D, dims, lr = intrinsic.parameter_count(SIZES), (2, 3, 7), 0.1
    options = {"kind": kind, "steps": 6, "lr": lr, "batch": batch}
    trained = intrinsic.train_subspace(SIZES, x, y, dims, **options, generator=compute.generator(4))
    for row, d in zip(trained, dims, strict=True):
        generator = compute.generator(4)
        theta0 = intrinsic.init_flat(SIZES, generator).double()
        P = intrinsic.project(kind, D, 7, generator, torch.float64).matrix()[:, :d]
        v = torch.zeros(d, dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.Adam([v], lr=lr)
        for _ in range(6):
            seen = torch.arange(12) if batch is None else torch.randint(12, (batch,), generator=generator)
            parameters, net = (theta0 + P @ v), module(theta0, SIZES)
            split = parameters.split([p.numel() for p in net.parameters()])
            named = {name: t.view_as(p) for (name, p), t in zip(net.named_parameters(), split, strict=True)}
            loss = nn.functional.cross_entropy(torch.func.functional_call(net, named, (x[seen],)), y[seen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        torch.testing.assert_close(row, (theta0 + P @ v).detach())


def test_a_trained_network_stays_in_its_subspace_and_a_given_start_costs_the_generator_nothing():
    x, y = data(dtype=torch.float64)
    theta0 = intrinsic.init_flat(SIZES, compute.generator(9))
    options = {"steps": 5, "lr": 0.1, "batch": 4}
    trained = intrinsic.train_subspace(SIZES, x, y, (3, 6), **options, generator=compute.generator(1), theta0=theta0)
    P = intrinsic.project("dense", len(theta0), 6, compute.generator(1), torch.float64).matrix()
    for row, d in zip(trained, (3, 6), strict=True):
        moved = row - theta0.double()
        residual = moved - P[:, :d] @ torch.linalg.lstsq(P[:, :d], moved[:, None]).solution[:, 0]
        assert float(moved.norm()) > 0.1
        assert float(residual.norm()) < 1e-10


def test_direct_training_is_that_of_torch():
    x, y = data()
    trained = intrinsic.train_direct(SIZES, x, y, steps=5, lr=0.01, batch=4, generator=compute.generator(2))
    generator = compute.generator(2)
    net = module(intrinsic.init_flat(SIZES, generator), SIZES)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(5):
        seen = torch.randint(12, (4,), generator=generator)
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x[seen]), y[seen]).backward()
        optimizer.step()
    expected = torch.cat([p.detach().flatten() for p in net.parameters()])
    torch.testing.assert_close(trained[0], expected, rtol=1e-4, atol=1e-5)


# --- The measurement --------------------------------------------------------------------------------------------


def test_the_first_crossing_counts_even_if_performance_falls_again():
    assert intrinsic.intrinsic_dimension((5, 10, 20, 40), [0.2, 0.91, 0.5, 0.95], 1.0) == 10
    assert intrinsic.intrinsic_dimension((5, 10, 20, 40), [0.2, 0.4, 0.5, 0.95], 0.5, fraction=1.0) == 20
    assert intrinsic.intrinsic_dimension((5, 10), torch.tensor([0.95, 1.0]), 1.0, interpolate=True) == 5
    assert intrinsic.intrinsic_dimension((5, 10), [0.1, 0.2], 1.0, interpolate=True) == math.inf
    assert intrinsic.intrinsic_dimension((5, 10), [0.1, 0.2], math.nan) == math.inf


@given(
    dims=st.lists(st.integers(1, 999), min_size=1, max_size=8, unique=True).map(sorted),
    seed=st.integers(0, 999),
    fraction=st.floats(0.01, 1),
)
def test_the_interpolated_dimension_lies_on_the_line_in_the_logarithm_of_d(dims, seed, fraction):
    values = np.random.default_rng(seed).random(len(dims))
    exact = intrinsic.intrinsic_dimension(dims, values, 0.9, fraction)
    between = intrinsic.intrinsic_dimension(dims, values, 0.9, fraction, interpolate=True)
    assert between <= exact
    if math.isinf(exact) or exact == dims[0]:
        assert between == exact
        return
    i = dims.index(int(exact))
    assert dims[i - 1] <= between <= dims[i]
    assert np.interp(math.log(between), np.log(dims[i - 1 : i + 1]), values[i - 1 : i + 1]) == pytest.approx(
        fraction * 0.9
    )


def test_the_toy_problem_sums_its_groups():
    A, b = intrinsic.toy_problem(12, 3)
    theta = torch.arange(12).double()
    assert (A @ theta).tolist() == [sum(range(4)), sum(range(4, 8)), sum(range(8, 12))]
    assert b.tolist() == [1, 2, 3]


@given(groups=st.integers(1, 6), members=st.integers(1, 9), seed=st.integers(0, 99))
@settings(max_examples=20)
def test_the_toy_problem_is_solved_from_as_many_dimensions_as_it_has_groups(groups, members, seed):
    D, generator = groups * members, compute.generator(seed)
    A, b = intrinsic.toy_problem(D, groups)
    theta0 = torch.randn(D, generator=generator, dtype=torch.float64)
    P = intrinsic.project("dense", D, D, generator, torch.float64).matrix()
    for d in range(1, D + 1):
        seen = A @ P[:, :d]
        wanted = (b - A @ theta0).numpy()
        # What of the residual lies off the columns' span, by numpy.
        U, s, _ = np.linalg.svd(seen.numpy(), full_matrices=False)
        U = U[:, s > 1e-10 * s[0]]
        expected = ((wanted - U @ (U.T @ wanted)) ** 2).sum()
        assert intrinsic.toy_best_loss(A, b, theta0, P[:, :d]) == pytest.approx(expected, abs=1e-9)
        assert U.shape[1] == min(d, groups)


def test_dependent_columns_do_not_solve_the_toy_problem():
    A, b = intrinsic.toy_problem(200)
    P = intrinsic.project("dense", 200, 9, compute.generator(0), torch.float64).matrix()
    mixed = P @ torch.randn(9, 15, generator=compute.generator(1), dtype=torch.float64)
    theta0 = torch.zeros(200, dtype=torch.float64)
    assert intrinsic.toy_best_loss(A, b, theta0, mixed) > 1e-8
    assert intrinsic.toy_best_loss(A, b, theta0, mixed) == pytest.approx(intrinsic.toy_best_loss(A, b, theta0, P))


# --- The experiment ---------------------------------------------------------------------------------------------


def test_digits_are_standardized_by_the_training_pixels_and_divided_without_a_rest():
    train, validation = intrinsic.load_data(SMALL, 3)
    assert (len(train.y), len(validation.y)) == (200, 1597)
    assert float(train.x.mean()) == pytest.approx(0, abs=1e-5)
    assert float(train.x.std()) == pytest.approx(1, rel=1e-5)
    pixels = np.concatenate([train.x, validation.x])
    pixels = np.round((pixels - pixels.min()) / (pixels.max() - pixels.min()) * 16)
    assert sorted(map(tuple, pixels)) == sorted(map(tuple, load_digits().data))


def test_a_run_measures_what_its_pieces_do():
    result = intrinsic.run(SMALL, device="cpu", progress=False)
    assert result.parameters == (4 * 65 + 4 * 5 + 10 * 5, 8 * 65 + 8 * 9 + 10 * 9)
    assert result.toy_dimension() == [10, 10]
    assert torch.equal(result.methods[intrinsic.KINDS.index("dense")], result.accuracy[1])
    assert result.methods.shape == (3, 3)
    data_seed, _, _, first, _ = compute.seeds(0, 5)
    train, validation = intrinsic.load_data(SMALL, data_seed)
    options = {"steps": 20, "batch": 16}
    theta = intrinsic.train_subspace(
        (64, 4, 4, 10), *train, (2, 5, 10), lr=SMALL.lr, **options, generator=compute.generator(first)
    )
    assert torch.equal(result.accuracy[0], intrinsic.accuracy(theta, *validation, (64, 4, 4, 10)))
    direct = intrinsic.train_direct(
        (64, 4, 4, 10), *train, lr=SMALL.direct_lr, **options, generator=compute.generator(first)
    )
    assert float(result.baseline[0]) == float(intrinsic.accuracy(direct, *validation, (64, 4, 4, 10))[0])


def test_full_scale_takes_two_steps_on_images_of_the_real_shape(monkeypatch):
    generator = compute.generator(0)
    few = Examples(torch.randn(30, 1, 28, 28, generator=generator), torch.arange(30) % 10)
    monkeypatch.setattr(experiment, "hub_images", lambda *_, **__: Split(few, few, few))
    # The wide dense matrices are what takes time and memory: 1.2 GB at D = 199,210.
    full = dataclasses.replace(
        intrinsic.FULL,
        n_train=30,
        widths=(50, 400),
        method_width=50,
        dims=(50, 60),
        steps=2,
        memory_examples=20,
        memory_width=50,
        memory_dims=(40, 80),
        memory_steps=2,
    )
    result = intrinsic.run(full, device="cpu", progress=False)
    assert result.parameters == (42_310, 478_410)
    assert result.accuracy.shape == (2, 2)
    assert len(intrinsic.claims(result)) == 6


def test_no_claim_holds_with_a_number_that_is_missing():
    result = intrinsic.run(SMALL, device="cpu", progress=False)
    names = ("toy_loss", "baseline", "accuracy", "methods", "memory_true", "memory_shuffled")
    blank = dataclasses.replace(result, **{name: getattr(result, name) * math.nan for name in names})
    assert not any(claim.holds for claim in intrinsic.claims(blank))


def measured(result, claim_id):
    return next(claim for claim in intrinsic.claims(result) if claim.id == claim_id)


def test_claims_are_about_the_numbers_they_name():
    result = intrinsic.run(SMALL, device="cpu", progress=False)
    rows = torch.tensor([[0.1, 0.5, 1.0], [0.2, 1.0, 1.0]], dtype=torch.float64)
    ideal = dataclasses.replace(
        result,
        baseline=torch.ones(2).double(),
        accuracy=rows,
        parameters=(100, 10_000),
        memory_true=torch.tensor([0.95, 1.0]).double(),
        memory_shuffled=torch.tensor([0.1, 0.2]).double(),
    )
    d90 = [5 * 2 ** (0.4 / 0.5), 2 * 2.5 ** (0.7 / 0.8)]
    assert ideal.d90() == pytest.approx(d90)
    assert measured(ideal, "few_suffice").measured == pytest.approx(d90[1] / 10_000)
    assert measured(ideal, "few_suffice").holds
    assert measured(ideal, "width_invariant").measured == pytest.approx(d90[0] / d90[1])
    assert measured(ideal, "width_invariant").holds
    assert not measured(dataclasses.replace(ideal, parameters=(100, 900)), "width_invariant").holds
    # Shuffled labels that are never memorized count with the largest dimension that was tried.
    assert measured(ideal, "shuffled_labels").measured == 2
    assert measured(ideal, "no_solution_below").measured == 0.2
    weak = dataclasses.replace(ideal, baseline=torch.tensor([0.9, 1.0]).double())
    assert not measured(weak, "few_suffice").holds


G = compute.generator(0)
X, Y = data()
THETA = torch.ones(2, intrinsic.parameter_count(SIZES))
TRAIN = {"steps": 2, "lr": 0.1, "batch": 2, "generator": G}
A, B = intrinsic.toy_problem(20)
T0 = torch.zeros(20, dtype=torch.float64)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: intrinsic.fast_walsh_hadamard(torch.ones(6)), "power of two, got 6"),
        (lambda: intrinsic.fast_walsh_hadamard(torch.ones(2, 0)), "power of two, got 0"),
        (lambda: intrinsic.fast_walsh_hadamard(torch.tensor(1.0)), "power of two, got 0"),
        (lambda: intrinsic.project("dense", 5, 0, G), "d must.*got 0"),
        (lambda: intrinsic.project("sparse", 5, 6, G), "at most D = 5, got 6"),
        (lambda: intrinsic.project("fastfood", 0, 1, G), "D must.*got 0"),
        (lambda: intrinsic.project("fourier", 5, 2, G), "kind.*fourier"),
        (lambda: intrinsic.SparseProjection(5, 2, G, density=0.0), r"density.*\(0, 1\], got 0.0"),
        (lambda: intrinsic.SparseProjection(5, 2, G, density=1.5), "density.*1.5"),
        (lambda: intrinsic.SparseProjection(5, 2, G, density=math.nan), "density.*nan"),
        (lambda: intrinsic.project("dense", 5, 2, G)(torch.ones(3)), r"d = 2, got shape \(3,\)"),
        (lambda: intrinsic.project("dense", 5, 2, G).nested(torch.ones(1, 3), (2,)), r"\(1, 2\), got \(1, 3\)"),
        (lambda: intrinsic.project("dense", 5, 2, G).nested(torch.ones(1, 2), (3,)), "at most.*2, got 3"),
        (lambda: intrinsic.parameter_count((3,)), r"at least.*\(3,\)"),
        (lambda: intrinsic.init_flat((3, 0), G), "sizes.*got 0"),
        (lambda: intrinsic.mlp_forward(THETA[:, 1:], X, SIZES), r"\(B, 53\).*\(2, 52\)"),
        (lambda: intrinsic.mlp_forward(THETA[0], X, SIZES), r"\(B, 53\).*\(53,\)"),
        (lambda: intrinsic.mlp_forward(THETA, X[:, 1:], SIZES), r"n, 3.*\(12, 2\)"),
        (lambda: intrinsic.accuracy(THETA, X[None], Y, SIZES), r"\(2, n, 3\), got \(1, 12, 3\)"),
        (lambda: intrinsic.train_subspace(SIZES, X, Y, (), **TRAIN), r"dims.*\(\)"),
        (lambda: intrinsic.train_subspace(SIZES, X, Y, (3, 3), **TRAIN), r"each above the last.*\(3, 3\)"),
        (lambda: intrinsic.train_subspace(SIZES, X, Y, (0, 3), **TRAIN), "dims.*got 0"),
        (lambda: intrinsic.train_subspace(SIZES, X, Y, (3, 54), **TRAIN), "at most 53, got 54"),
        (lambda: intrinsic.train_subspace(SIZES, X, Y, (3,), kind="fft", **TRAIN), "kind.*fft"),
        (lambda: intrinsic.train_subspace(SIZES, X, Y, (3,), theta0=THETA[0, 1:], **TRAIN), r"D = 53.*\(52,\)"),
        (lambda: intrinsic.train_subspace(SIZES, X, Y, (3,), **{**TRAIN, "lr": 0.0}), "lr.*0.0"),
        (lambda: intrinsic.train_direct(SIZES, X, Y, **{**TRAIN, "steps": 0}), "steps.*got 0"),
        (lambda: intrinsic.train_direct(SIZES, X, Y, **{**TRAIN, "batch": 0}), "batch.*got 0"),
        (lambda: intrinsic.intrinsic_dimension((), [], 1.0), r"dims.*\(\)"),
        (lambda: intrinsic.intrinsic_dimension((2, 1), [0.1, 0.2], 1.0), r"each above the last.*\(2, 1\)"),
        (lambda: intrinsic.intrinsic_dimension((0, 1), [0.1, 0.2], 1.0), "dims.*got 0"),
        (lambda: intrinsic.intrinsic_dimension((1, 2), [0.1], 1.0), "2 dims, got 1"),
        (lambda: intrinsic.intrinsic_dimension((1,), [0.1], 1.0, fraction=0.0), r"fraction.*\(0, 1\], got 0.0"),
        (lambda: intrinsic.intrinsic_dimension((1,), [0.1], 1.0, fraction=1.1), "fraction.*1.1"),
        (lambda: intrinsic.intrinsic_dimension((1,), [0.1], 1.0, fraction=math.nan), "fraction.*nan"),
        (lambda: intrinsic.toy_problem(25), "multiple of groups = 10, got 25"),
        (lambda: intrinsic.toy_problem(0), "D must.*got 0"),
        (lambda: intrinsic.toy_best_loss(A, B, T0[1:], torch.ones(20, 2)), r"theta0.*\(19,\)"),
        (lambda: intrinsic.toy_best_loss(A, B, T0, torch.ones(19, 2)), r"20 rows.*\(19, 2\)"),
        (lambda: intrinsic.Config(toy_sizes=(25,)), "multiple.*25"),
        (lambda: intrinsic.Config(toy_sizes=(10,)), "at most the 10.*got 20"),
        (lambda: intrinsic.Config(fraction=1.5), "fraction.*1.5"),
        (lambda: intrinsic.Config(widths=()), r"widths.*\(\)"),
        (lambda: intrinsic.Config(widths=(32, 16)), r"widths.*\(32, 16\)"),
        (lambda: intrinsic.Config(method_width=20), "method_width.*20"),
        (lambda: intrinsic.Config(dims=(5, 2000)), "at most 1482, got 2000"),
        (lambda: intrinsic.Config(memory_dims=(80, 40)), r"each above the last.*\(80, 40\)"),
        (lambda: intrinsic.Config(memory_examples=1301), "memory_examples.*1301"),
    ],
)
def test_bad_input_is_refused_with_its_value(call, match):
    with refuses(ValueError, match=match):
        call()
