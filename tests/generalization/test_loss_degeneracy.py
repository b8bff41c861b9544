"""The pieces of degeneracy against autograd, exact symmetries, networkx and scikit-learn."""

from __future__ import annotations

import dataclasses
import math
from itertools import pairwise

import networkx
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.decomposition import PCA
from torch import nn

from overparam.core import compute
from overparam.generalization import loss_degeneracy as ld
from overparam.generalization.loss_degeneracy import networks
from tests.conftest import refuses

SMALL = ld.Config(
    sizes=(4, 5, 4, 2), examples=60, synchronised=2, bus=2, hidden=5, blocks=2, grid=6, widths=(2, 4), steps=20
)
SIZES = (6, 8, 7, 3)


def network(kind="generic", sizes=SIZES, n=300, seed=0, s=3):
    return ld.planted(kind, sizes, n, compute.generator(seed), s)


def flat(weights):
    return torch.cat([W.flatten() for W in weights])


def unflat(theta, weights):
    parts = theta.split([W.numel() for W in weights])
    return [part.view_as(W) for part, W in zip(parts, weights, strict=True)]


def autograd_jacobian(weights, X):
    return torch.func.jacrev(lambda theta: ld.forward(unflat(theta, weights), X))(flat(weights)).flatten(0, 1)


# --- Networks ---------------------------------------------------------------------------------------------------


def test_the_network_is_the_one_that_torch_builds():
    weights, X = network()
    layers = []
    for W in weights:
        layer = nn.Linear(W.shape[1] - 1, W.shape[0]).double()
        layer.weight.data, layer.bias.data = W[:, :-1], W[:, -1]
        layers += [layer, nn.ReLU()]
    torch.testing.assert_close(ld.forward(weights, X), nn.Sequential(*layers[:-1])(X))
    torch.testing.assert_close(ld.trace(weights, X).output, ld.forward(weights, X))


@given(sizes=st.lists(st.integers(1, 5), min_size=2, max_size=4), n=st.integers(1, 6), seed=st.integers(0, 99))
@settings(max_examples=8)
def test_the_parameter_jacobian_is_that_of_autograd(sizes, n, seed):
    generator = compute.generator(seed)
    weights = ld.random_mlp(sizes, generator)
    X = torch.randn(n, sizes[0], generator=generator, dtype=torch.float64)
    torch.testing.assert_close(ld.parameter_jacobian(weights, X), autograd_jacobian(weights, X))


def test_the_trace_names_what_every_layer_sees():
    weights, X = network(n=5)
    seen = ld.trace(weights, X)
    assert [tuple(act.shape) for act in seen.acts] == [(5, 7), (5, 9), (5, 8)]
    assert [tuple(gate.shape) for gate in seen.gates] == [(5, 8), (5, 7)]
    assert [tuple(jacobian.shape) for jacobian in seen.jacobians] == [(5, 3, 8), (5, 3, 7), (5, 3, 3)]
    assert all((act[:, -1] == 1).all() for act in seen.acts)
    for i in range(5):  # the output's derivative in the bias is that in the pre-activation
        one = ld.parameter_jacobian(weights, X[i : i + 1])
        torch.testing.assert_close(one[:, 6 : 8 * 7 : 7], seen.jacobians[0][i])


@pytest.mark.parametrize("chunk", [7, 2048])
def test_the_behavioural_hessian_is_that_of_autograd(monkeypatch, chunk):
    monkeypatch.setattr(networks, "CHUNK", chunk)
    weights, X = network(sizes=(3, 4, 3, 2), n=20)
    target = ld.forward(weights, X)

    def behaviour(theta):
        return (ld.forward(unflat(theta, weights), X) - target).square().sum() / (2 * len(X))

    hessian = torch.autograd.functional.hessian(behaviour, flat(weights))
    torch.testing.assert_close(ld.behavioral_hessian(weights, X), hessian, atol=1e-12, rtol=1e-10)


def test_effective_parameters_are_eigenvalues_above_the_tolerance():
    rotation = torch.linalg.qr(torch.randn(4, 4, generator=compute.generator(0), dtype=torch.float64)).Q
    hessian = rotation @ torch.diag(torch.tensor([1.0, 0.1, 1e-3, 0.0]).double()) @ rotation.mT
    assert [ld.effective_parameters(hessian, epsilon) for epsilon in (2, 0.5, 1e-2, 1e-6)] == [0, 1, 2, 3]


def test_balanced_biases_let_every_hidden_neuron_fire_on_half_the_data():
    generator = compute.generator(1)
    X = torch.randn(101, 4, generator=generator, dtype=torch.float64)
    weights = ld.random_mlp((4, 6, 5, 2), generator)
    before = [W.clone() for W in weights]
    for gate in ld.trace(ld.balance_biases(weights, X), X).gates:
        assert (gate.sum(0) == 50).all()
    assert all(torch.equal(W, old) for W, old in zip(weights, before, strict=True))  # a new list, the old one is kept


# --- Directions -------------------------------------------------------------------------------------------------


def test_firing_groups_are_live_neurons_with_one_pattern():
    X = torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None]
    #        fires on x > 0.1, twice as steep, x < 0.3, never, always, on x > 0.1 but is not read
    first = torch.tensor([[1, -0.1], [2, -0.2], [-1, 0.3], [1, -5], [0.1, 5], [1, -0.1]]).double()
    second = torch.tensor([[1, 1, 1, 1, 1, 0, 0.5]]).double()
    assert ld.firing_groups([first, second], X) == [[[0, 1], [2], [4]]]


@pytest.mark.parametrize(
    ("kind", "free", "kinds"),
    [
        ("generic", 15, (0, 0, 15)),
        ("dependent_inputs", 15 + 8, (8, 0, 15)),
        ("unread", 14 + 7, (0, 7, 14)),
        ("dead", 14 + 7 + 7, (7, 7, 14)),
        ("synchronised", 15 + 9 - 3 + 3, (0, 0, 24)),
    ],
)
def test_what_was_planted_is_counted_and_is_all_there_is(kind, free, kinds):
    weights, X = network(kind)
    found = ld.degenerate_directions(weights, X)
    assert (found.activation, found.jacobian, found.synchronised) == kinds
    assert (found.parameters, found.free) == (143, free)
    assert np.linalg.matrix_rank(autograd_jacobian(weights, X).numpy(), rtol=1e-9) == 143 - free
    assert ld.rank(autograd_jacobian(weights, X)) == 143 - free


@given(
    kind=st.sampled_from(ld.KINDS),
    sizes=st.lists(st.integers(2, 5), min_size=3, max_size=4),
    n=st.integers(2, 30),
    seed=st.integers(0, 999),
)
@settings(max_examples=25)
def test_the_directions_are_orthonormal_and_in_the_null_space_however_odd_the_network(kind, sizes, n, seed):
    weights, X = network(kind, sizes, n, seed, s=2)
    found = ld.degenerate_directions(weights, X, tol=1e-20)
    J = ld.parameter_jacobian(weights, X)
    assert found.directions.shape == (J.shape[1], found.free)
    gram = found.directions.mT @ found.directions
    torch.testing.assert_close(gram, torch.eye(found.free, dtype=gram.dtype), atol=1e-10, rtol=0)
    assert (J @ found.directions).norm() <= 1e-6 * J.norm()


def test_a_gpus_memory_layout_of_singular_vectors_changes_nothing(monkeypatch):
    svd, (weights, X) = torch.linalg.svd, network("dependent_inputs")
    expected = ld.degenerate_directions(weights, X).directions

    def row_major(*args, **kwargs):
        U, values, Vt = svd(*args, **kwargs)
        return U, values, Vt.contiguous()

    monkeypatch.setattr(torch.linalg, "svd", row_major)
    assert torch.equal(ld.degenerate_directions(weights, X).directions, expected)


def test_mixing_a_group_and_unmixing_what_reads_it_is_a_path_of_equal_networks_along_the_directions():
    weights, X = network("synchronised")
    E = torch.zeros(9, 9).double()  # the eighth neuron and the constant, which stays as it is, included
    E[:3, [0, 1, 2, 8]] = torch.randn(3, 4, generator=compute.generator(5), dtype=E.dtype)

    def along(t):
        mixed = torch.eye(9).double() + t * E
        constant = torch.tensor([[0.0] * 6 + [1.0]]).double()
        first = mixed[:8] @ torch.cat([weights[0], constant])
        return [first, weights[1] @ torch.linalg.inv(mixed), weights[2]]

    torch.testing.assert_close(ld.forward(along(0.05), X), ld.forward(weights, X))
    tangent = (flat(along(1e-6)) - flat(along(-1e-6))) / 2e-6
    along_directions = ld.degenerate_directions(weights, X).directions
    projected = along_directions @ (along_directions.mT @ tangent)
    torch.testing.assert_close(projected, tangent, atol=1e-7, rtol=1e-6)


def test_duplicate_neurons_are_of_two_kinds_and_are_counted_once():
    weights, X = network()
    weights[0][1], weights[1][:, 1] = weights[0][0], 2 * weights[1][:, 0]
    found = ld.degenerate_directions(weights, X)
    assert found.free < found.activation + found.jacobian + found.synchronised
    assert found.free == 143 - ld.rank(autograd_jacobian(weights, X))


def test_a_linear_network_is_free_where_the_inputs_are_dependent():
    weights = ld.random_mlp((3, 2), compute.generator(0))
    X = torch.randn(2, 3, generator=compute.generator(1), dtype=torch.float64)
    found = ld.degenerate_directions(weights, X)  # 2 examples span 2 of the 4 columns, in each of 2 rows
    assert (found.activation, found.jacobian, found.synchronised, found.free) == (4, 0, 0, 4)


def test_planted_structure_is_there():
    weights, X = network("dependent_inputs")
    assert np.linalg.matrix_rank(X.numpy()) == 5
    weights, X = network("unread")
    assert (weights[1][:, 0] == 0).all()
    weights, X = network("dead")
    assert not ld.trace(weights, X).gates[0][:, 0].any()
    weights, X = network("synchronised", s=4)
    first, second = (gate.double().mean(0).tolist() for gate in ld.trace(weights, X).gates)
    assert first == pytest.approx([1.0] * 4 + [0.5] * 4, abs=0.01)
    assert second == pytest.approx([0.5] * 7, abs=0.01)


# --- Bases and modules ------------------------------------------------------------------------------------------


def layer(n=40, k=3, d=5, seed=0):
    generator = compute.generator(seed)
    acts = torch.randn(n, d, generator=generator, dtype=torch.float64) + 0.5
    return acts, torch.randn(n, k, d, generator=generator, dtype=torch.float64)


def test_the_interaction_basis_of_two_diagonal_matrices():
    acts = math.sqrt(2) * torch.diag(torch.tensor([2.0, 1.0])).double()  # G = diag(4, 1)
    jac = torch.diag(torch.tensor([1.0, 3.0])).double().expand(2, -1, -1)  # M = diag(1, 9)
    basis = ld.interaction_basis(acts, jac)
    assert basis.importance.tolist() == pytest.approx([9, 4])
    torch.testing.assert_close(basis.C.abs(), torch.tensor([[0.0, 3.0], [1.0, 0.0]]).double())


@given(n=st.integers(8, 30), k=st.integers(1, 4), d=st.integers(1, 5), seed=st.integers(0, 99), center=st.booleans())
@settings(max_examples=30)
def test_the_interaction_basis_makes_both_moments_diagonal(n, k, d, seed, center):
    acts, jac = layer(n, k, d, seed)
    basis = ld.interaction_basis(acts, jac, center=center)
    hat, J_hat = ld.coordinates(basis, acts), jac @ basis.C_pinv
    eye = torch.eye(d, dtype=acts.dtype)
    torch.testing.assert_close(hat.mT @ hat / n, torch.diag(basis.importance), atol=1e-8, rtol=0)
    torch.testing.assert_close((J_hat.mT @ J_hat).mean(0), eye, atol=1e-8, rtol=0)
    torch.testing.assert_close(basis.C @ basis.C_pinv, eye, atol=1e-8, rtol=0)
    deviations = acts.numpy() - center * acts.numpy().mean(0)
    M = np.einsum("nki,nkj->ij", jac, jac) / n
    product = np.linalg.eigvals(deviations.T @ deviations / n @ M).real
    np.testing.assert_allclose(basis.importance, np.sort(product)[::-1], rtol=1e-7)


@given(seed=st.integers(0, 99), center=st.booleans())
@settings(max_examples=20)
def test_an_invertible_map_changes_the_interaction_basis_in_signs_only(seed, center):
    acts, jac = layer(seed=seed)
    T = ld.random_invertible(5, compute.generator(seed + 1000))
    basis = ld.interaction_basis(acts, jac, center=center)
    moved = ld.interaction_basis(acts @ T.mT, jac @ torch.linalg.inv(T), center=center)
    torch.testing.assert_close(moved.importance, basis.importance)
    hat, moved_hat = ld.coordinates(basis, acts), ld.coordinates(moved, acts @ T.mT)
    torch.testing.assert_close(moved_hat.abs(), hat.abs(), atol=1e-7, rtol=1e-7)


def test_directions_that_are_not_seen_or_not_read_are_dropped():
    acts, jac = layer()
    acts[:, 1] = acts[:, 0]
    jac[:, :, 4] = 0
    basis = ld.interaction_basis(acts, jac)
    assert basis.C.shape == (3, 5)
    torch.testing.assert_close(basis.C @ basis.C_pinv, torch.eye(3, dtype=acts.dtype))
    assert len(ld.interaction_basis(acts, torch.zeros_like(jac)).importance) == 0
    assert len(ld.interaction_basis(torch.ones_like(acts), jac, center=True).importance) == 0


def test_the_principal_basis_is_that_of_scikit_learn():
    acts, _ = layer()
    basis, peer = ld.pca_basis(acts, center=True), PCA().fit(acts.numpy())
    np.testing.assert_allclose(basis.importance, peer.explained_variance_ * 39 / 40)
    np.testing.assert_allclose(basis.C.abs(), np.abs(peer.components_), atol=1e-10)
    torch.testing.assert_close(basis.C @ basis.C.mT, torch.eye(5, dtype=acts.dtype))


def test_edges_are_mean_squares_of_the_derivatives_between_coordinates():
    acts, jac = layer(k=4)
    after = ld.pca_basis(layer(d=4, seed=1)[0])
    before = ld.interaction_basis(acts, jac)
    E = ld.edge_strengths(after, jac, before)
    expected = np.mean([(after.C @ J @ before.C_pinv).numpy() ** 2 for J in jac], axis=0)
    np.testing.assert_allclose(E, expected)


def test_logarithmic_weights_count_orders_of_magnitude_above_the_tolerance():
    E = torch.tensor([[1.0, 1e-3], [1e-7, 0.0]]).double()
    torch.testing.assert_close(ld.log_weights(E, 1e-5), torch.tensor([[5.0, 2.0], [0.0, 0.0]]).double())


@given(sizes=st.lists(st.integers(1, 5), min_size=2, max_size=4), seed=st.integers(0, 99))
@settings(max_examples=30)
def test_modularity_is_that_of_networkx(sizes, seed):
    generator = compute.generator(seed)
    weights = [torch.rand(b, a, generator=generator, dtype=torch.float64) for a, b in pairwise(sizes)]
    labels = torch.randint(3, (sum(sizes),), generator=generator).numpy()
    graph, offset = networkx.Graph(), 0
    graph.add_nodes_from(range(sum(sizes)))
    for w in weights:
        b, a = w.shape
        graph.add_weighted_edges_from((offset + j, offset + a + i, float(w[i, j])) for i in range(b) for j in range(a))
        offset += a
    communities = [set(np.nonzero(labels == label)[0].tolist()) for label in np.unique(labels)]
    assert ld.modularity(weights, labels) == pytest.approx(networkx.community.modularity(graph, communities))
    assert ld.modularity([w.numpy() for w in weights], labels.tolist()) == ld.modularity(weights, labels)


def test_two_separate_halves_are_found_as_modules():
    block = torch.block_diag(torch.ones(2, 3), torch.ones(3, 2)).double()
    labels, Q = ld.find_modules([block, block.mT], seed=3)
    assert labels[[0, 1, 2, 5, 6, 10, 11, 12]].tolist() == [labels[0]] * 8
    assert len(set(labels.tolist())) == 2
    assert pytest.approx(0.5) == Q
    assert pytest.approx(ld.modularity([block, block.mT], labels)) == Q


def test_a_graph_without_edges_has_no_modularity():
    empty = [torch.zeros(2, 3).double()]
    assert ld.modularity(empty, [0, 0, 1, 1, 2]) == 0
    labels, Q = ld.find_modules(empty)
    assert (labels.tolist(), Q) == ([0, 1, 2, 3, 4], 0)


def test_random_maps_scale_within_their_spread():
    values = torch.linalg.svdvals(ld.random_invertible(6, compute.generator(0), spread=0.5))
    assert math.exp(-0.5) <= float(values.min()) <= float(values.max()) <= math.exp(0.5)
    isometry = ld.random_invertible(4, compute.generator(0), spread=0)
    torch.testing.assert_close(isometry @ isometry.mT, torch.eye(4).double())


def test_the_scrambled_network_hides_two_independent_halves():
    buses = ld.scrambled_modules(SMALL, compute.generator(0))
    for J, to_output, after in zip(buses.local, buses.to_output, buses.to_output[1:], strict=False):
        torch.testing.assert_close(to_output, after @ J)
    # The first half of the outputs depends on the first module's input alone: on the grid, on the row.
    output = buses.acts[-1].view(6, 6, 4)
    torch.testing.assert_close(output[:, :1, :2].expand(-1, 6, -1), output[:, :, :2])
    torch.testing.assert_close(output[:1, :, 2:].expand(6, -1, -1), output[:, :, 2:])
    # Small differences between neighbouring data follow the Jacobian wherever no gate changes in between.
    f, z = buses.acts[1], buses.acts[0]
    straight = (f[:, None] - f) - ((z[:, None] - z)[:, :, None] @ buses.local[0][:, None].mT)[:, :, 0]
    same = straight.abs().amax(-1) < 1e-9
    assert int(same.sum()) > len(f)  # more than the pairs of a datum with itself


def test_without_centring_the_modules_stay_mixed():
    config = ld.Config()
    buses = ld.scrambled_modules(config, compute.generator(0))
    assert ld.measure_modules(buses, "IB", config).cross < 1e-20
    assert ld.measure_modules(buses, "IB", config, center=False).cross > 1e-3


# --- The experiment ---------------------------------------------------------------------------------------------


def test_students_trained_as_one_batch_are_students_trained_alone():
    generator = compute.generator(0)
    X = torch.randn(30, 3, generator=generator, dtype=torch.float64)
    Y = ld.forward(ld.random_mlp((3, 2, 2), generator), X)
    start = [ld.random_mlp((3, width, 2), generator) for width in (2, 5)]
    together = ld.train_students(start, X, Y, SMALL)
    for i in range(2):
        (alone,) = ld.train_students([start[i]], X, Y, SMALL)
        for W, other, first in zip(together[i], alone, start[i], strict=True):
            assert W.shape == first.shape
            assert not torch.equal(W, first)
            torch.testing.assert_close(W, other, atol=1e-9, rtol=1e-9)


def test_a_step_along_an_exactly_flat_direction_changes_nothing_at_any_distance():
    weights, X = network("unread")
    step = torch.zeros(143, 2).double()
    step[:7, 0] = 100  # the unread neuron's inputs
    step[-1, 1] = 1  # an output's bias, which every example notices alike
    changes = ld.behaviour_changes(weights, X, step)
    assert changes.tolist() == [0, pytest.approx(0.5)]


def test_full_scale_takes_two_steps():
    full = dataclasses.replace(ld.FULL, sizes=(20, 8, 7, 5), examples=300, widths=(4, 128), steps=2)
    result = ld.run(full, device="cpu", progress=False)
    assert result.students.parameters[-1] == 128 * 5 + 2 * 129
    assert len(ld.claims(result)) == 6


@pytest.mark.parametrize("seed", [14, 15])
def test_a_network_too_small_to_do_anything_is_measured_all_the_same(seed):
    tiny = {"bus": 1, "hidden": 1, "grid": 2, "synchronised": 1, "widths": (1, 2), "teacher": 1, "steps": 1}
    config = ld.Config(seed=seed, sizes=(2, 1, 1), examples=1, student_examples=1, **tiny)
    assert len(ld.claims(ld.run(config, device="cpu", progress=False))) == 6


def test_a_result_that_measured_nothing_holds_no_claim():
    result = ld.run(SMALL, device="cpu", progress=False)
    nothing = dataclasses.replace(
        result,
        planted=tuple(dataclasses.replace(p, curvature=math.nan, valley=math.nan) for p in result.planted),
        ib_change=math.nan,
        modular=tuple(dataclasses.replace(m, cross=math.nan, Q=math.nan) for m in result.modular),
        students=dataclasses.replace(result.students, trained=(0, 0)),
    )
    assert not any(claim.holds for claim in ld.claims(nothing))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_inputs_decide_dtype_and_device(dtype):
    weights, X = network()
    weights, X = [W.to(dtype) for W in weights], X.to(dtype)
    found = ld.degenerate_directions(weights, X)
    seen = ld.trace(weights, X)
    basis = ld.interaction_basis(seen.acts[1], seen.jacobians[1] @ weights[1], tol=1e-5)
    tensors = found.directions, ld.behavioral_hessian(weights, X), basis.C, seen.output, *ld.balance_biases(weights, X)
    assert {tensor.dtype for tensor in tensors} == {dtype}
    assert (found.parameters, found.synchronised) == (143, 15)
    meta = [W.to("meta") for W in weights], X.to("meta")
    for function in (ld.forward, ld.parameter_jacobian, ld.behavioral_hessian):
        assert function(*meta).device.type == "meta"


W1, W2, X3 = torch.ones(2, 4).double(), torch.ones(1, 3).double(), torch.ones(5, 3).double()
ACTS, JAC = layer()
BASIS = ld.pca_basis(ACTS)
EDGES = torch.ones(2, 3).double()
NETWORK_FUNCTIONS = (
    ld.forward,
    ld.trace,
    ld.parameter_jacobian,
    ld.behavioral_hessian,
    ld.firing_groups,
    ld.degenerate_directions,
    ld.balance_biases,
)


@pytest.mark.parametrize("function", NETWORK_FUNCTIONS)
def test_a_network_that_does_not_fit_is_refused_everywhere(function):
    for weights, X, match in (
        ([], X3, r"at least one matrix, got \[\]"),
        ([W1, W1], X3, "layer 1 must have 3 columns, got 4"),
        ([W1[0]], X3, r"matrices, got shape \(4,\) in layer 0"),
        ([W1, W2], X3[:0], r"n >= 1, 3.*\(0, 3\)"),
        ([W1, W2], X3[:, :2], r"n >= 1, 3.*\(5, 2\)"),
        ([W1, W2], X3[0], r"n >= 1, 3.*\(3,\)"),
    ):
        with refuses(ValueError, match=match):
            function(weights, X)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: ld.effective_parameters(torch.eye(2), 0.0), "epsilon.*0.0"),
        (lambda: ld.effective_parameters(torch.eye(2), -1.0), "epsilon.*-1.0"),
        (lambda: ld.effective_parameters(torch.ones(2, 3), 1.0), r"square.*\(2, 3\)"),
        (lambda: ld.effective_parameters(torch.full((2, 2), math.nan), 1.0), "hessian.*nan"),
        (lambda: ld.degenerate_directions([W1, W2], X3, tol=0.0), r"tol.*\(0, 1\), got 0.0"),
        (lambda: ld.degenerate_directions([W1, W2], X3, tol=1.0), "tol.*got 1.0"),
        (lambda: ld.degenerate_directions([W1, W2], X3, tol=math.nan), "tol.*got nan"),
        (lambda: ld.degenerate_directions([W1, W2], X3 * math.inf), "X must be finite, got inf"),
        (lambda: ld.degenerate_directions([W1, W2 * math.nan], X3), r"weights\[1\] must be finite, got nan"),
        (lambda: ld.random_mlp((3,), compute.generator(0)), r"at least.*\(3,\)"),
        (lambda: ld.random_mlp((3, 0), compute.generator(0)), "sizes.*got 0"),
        (lambda: network("asleep"), "kind.*asleep"),
        (lambda: network(sizes=(3, 2)), r"hidden layer, got \(3, 2\)"),
        (lambda: network(n=0), "n must.*got 0"),
        (lambda: network("synchronised", s=9), "at most the 8.*got 9"),
        (lambda: network(s=0), "s must.*got 0"),
        (lambda: network("dependent_inputs", sizes=(1, 3, 2)), r"2 inputs.*\(1, 3, 2\)"),
        (lambda: ld.interaction_basis(ACTS, JAC[1:]), r"\(40, k, 5\).*\(39, 3, 5\)"),
        (lambda: ld.interaction_basis(ACTS, JAC[..., 1:]), r"\(40, k, 5\).*\(40, 3, 4\)"),
        (lambda: ld.interaction_basis(ACTS, ACTS), r"\(40, k, 5\).*\(40, 5\)"),
        (lambda: ld.interaction_basis(ACTS[:0], JAC[:0]), r"acts.*\(0, 5\)"),
        (lambda: ld.interaction_basis(ACTS, JAC * math.nan), "jac must be finite, got nan"),
        (lambda: ld.interaction_basis(ACTS, JAC, tol=2.0), "tol.*2.0"),
        (lambda: ld.pca_basis(ACTS, tol=-1e-9), "tol.*-1e-09"),
        (lambda: ld.pca_basis(ACTS[0]), r"acts.*\(5,\)"),
        (lambda: ld.pca_basis(ACTS * math.inf), "acts must be finite, got -?inf"),
        (lambda: ld.edge_strengths(BASIS, JAC, BASIS), r"n >= 1, 5, 5.*\(40, 3, 5\)"),
        (lambda: ld.log_weights(EDGES, 0.0), "epsilon.*0.0"),
        (lambda: ld.log_weights(-EDGES, 1.0), "E must not be negative.*got -1"),
        (lambda: ld.modularity([], []), r"two layers, got \[\]"),
        (lambda: ld.modularity([-2 * EDGES], [0] * 5), "weights must not be negative.*got -2"),
        (lambda: ld.modularity([EDGES * math.nan], [0] * 5), "finite, got nan"),
        (lambda: ld.modularity([EDGES, EDGES], [0] * 7), r"chain: \(2, 3\)"),
        (lambda: ld.modularity([EDGES], [0] * 4), r"5 nodes, got shape \(4,\)"),
        (lambda: ld.modularity([EDGES[0]], [0] * 3), r"matrices, got shape \(3,\)"),
        (lambda: ld.find_modules([-EDGES]), "got -1"),
        (lambda: ld.find_modules([EDGES], seed=-1), "seed.*-1"),
        (lambda: ld.random_invertible(0, compute.generator(0)), "d must.*got 0"),
        (lambda: ld.random_invertible(2, compute.generator(0), spread=-1.0), "spread.*-1.0"),
        (lambda: ld.measure_modules(ld.scrambled_modules(SMALL, compute.generator(0)), "ICA", SMALL), "name.*ICA"),
        (lambda: ld.Config(sizes=(6, 3)), r"hidden layer and an output, got \(6, 3\)"),
        (lambda: ld.Config(sizes=(6, 8, 0)), "sizes.*got 0"),
        (lambda: ld.Config(synchronised=9), "at most the 8 neurons, got 9"),
        (lambda: ld.Config(widths=(4,)), r"widths.*2 entries.*\(4,\)"),
        (lambda: ld.Config(widths=(8, 4)), r"each above the last, got \(8, 4\)"),
        (lambda: ld.Config(grid=1), "grid.*got 1"),
    ],
)
def test_bad_input_is_refused_with_its_value(call, match):
    with refuses(ValueError, match=match):
        call()
