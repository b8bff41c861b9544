"""The model against autograd and L-BFGS, metrics against numpy, the flow against scipy, networks against modules."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from overparam.core import compute
from overparam.core.datasets import Examples, Split, random_orthonormal
from overparam.generalization import neural_collapse as nc
from overparam.generalization.neural_collapse import experiment
from tests.conftest import refuses

SMALL = nc.Config(
    K=3,
    n=4,
    d=5,
    flow_time=4.0,
    flow_steps=20,
    images=60,
    width=10,
    depth=2,
    steps=6,
    checkpoints=(0, 3, 6),
)
STRENGTHS = (0.05, 0.005, 0.05)


def features(K=3, n=4, d=5, seed=0, dtype=torch.float64):
    return torch.randn(d, K * n, generator=compute.generator(seed), dtype=dtype)


def near(K=3, n=4, d=5, eps=0.1, seed=0, strengths=STRENGTHS):
    generator = compute.generator(seed)
    basis = random_orthonormal(d, K, generator=generator)
    W, H = nc.collapsed_minimizer(K, n, d, *strengths[:2], basis)
    delta = torch.randn(d, K * n, generator=generator, dtype=torch.float64)
    return basis, W, H, eps * delta * H.norm() / delta.norm()


# --- Metrics ----------------------------------------------------------------------------------------------------


def test_targets_come_class_by_class():
    assert nc.one_hot_targets(2, 3).tolist() == [[1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1]]


@settings(max_examples=5)
@given(K=st.integers(2, 5), n=st.integers(1, 5), d=st.integers(1, 7), seed=st.integers(0, 99))
def test_within_and_between_covariance_add_up_to_the_total(K, n, d, seed):
    H = features(K, n, d, seed)
    total = np.cov(H.numpy(), bias=True).reshape(d, d)
    within, between = nc.covariances(H, K)
    np.testing.assert_allclose((within + between).numpy(), total, atol=1e-12)
    M, Z = nc.class_means(H, K)
    for k in range(K):
        np.testing.assert_allclose(M[:, k].numpy(), H[:, k * n : (k + 1) * n].numpy().mean(1), atol=1e-13)
    torch.testing.assert_close(M.repeat_interleave(n, 1) + Z, H)


@pytest.mark.parametrize(("K", "d"), [(3, 5), (4, 4), (6, 3)])
def test_nc1_is_numpys_with_a_rank_cut(K, d):
    H = features(K, 6, d)
    within, between = (S.numpy() for S in nc.covariances(H, K))
    expected = np.trace(within @ np.linalg.pinv(between, rcond=1e-10)) / K
    assert nc.nc1(H, K) == pytest.approx(expected, rel=1e-10)
    assert nc.nc1_trace(H, K) == pytest.approx(np.trace(within) / np.trace(between), rel=1e-12)


@settings(max_examples=5)
@given(seed=st.integers(0, 99), scale=st.floats(0.01, 100))
def test_collapse_does_not_depend_on_scale_rotation_or_shift(seed, scale):
    H, rotation = features(seed=seed), random_orthonormal(5, 5, generator=compute.generator(seed))
    moved = scale * rotation @ H + torch.ones(5, 1, dtype=H.dtype)
    for metric in (nc.nc1, nc.nc1_trace, nc.nc2):
        assert metric(moved, 3) == pytest.approx(metric(H, 3), rel=1e-6)
    assert nc.nc2(scale * rotation @ H, 3, "orthogonal") == pytest.approx(nc.nc2(H, 3, "orthogonal"), rel=1e-6)


def test_collapsed_features_have_no_distance_to_either_frame():
    _, W, H, _ = near()
    values = [nc.nc1(H, 3), nc.nc1_trace(H, 3), nc.nc2(H, 3), nc.nc2(H, 3, "orthogonal"), nc.nc3(W, H, 3)]
    assert values == pytest.approx([0] * 5, abs=1e-14)


def test_distances_of_a_bent_frame_by_hand():
    # Two classes with means (1, 0) and (1, 1), one sample each: raw Gram ((1, 1), (1, 2)) of norm sqrt 7.
    H = torch.tensor([[1.0, 1.0], [0.0, 1.0]]).double()
    expected = math.sqrt(2 - 2 * 3 / math.sqrt(14))
    assert nc.nc2(H, 2, "orthogonal") == pytest.approx(expected, rel=1e-12)
    assert nc.nc2(H, 2) == pytest.approx(0, abs=1e-14)  # two centred means are opposite
    assert nc.nc3(torch.eye(2).double(), H, 2) == pytest.approx(math.sqrt(2 - 2 * 2 / math.sqrt(6)), rel=1e-12)


# --- The model --------------------------------------------------------------------------------------------------


def test_the_objective_is_its_definition_sample_by_sample():
    H, H0, W = features(), features(seed=1), features(1, 3, 5, 2).mT
    total = 0.0
    for i in range(12):
        target = torch.eye(3).double()[i // 4]
        error, tie = W @ H[:, i] - target, H[:, i] - H0[:, i]
        total += float(error @ error + 0.005 * H[:, i] @ H[:, i] + 0.05 * tie @ tie) / (2 * 12)
    total += 0.05 * float((W * W).sum()) / 6
    assert float(nc.objective(W, H, H0, *STRENGTHS)) == pytest.approx(total, rel=1e-12)


@settings(max_examples=5)
@given(K=st.integers(2, 4), n=st.integers(1, 4), d=st.integers(2, 6), seed=st.integers(0, 99))
def test_each_block_is_stationary_by_autograd(K, n, d, seed):
    H, H0 = features(K, n, d, seed), features(K, n, d, seed + 1)
    W = nc.optimal_classifier(H, K, 0.05).requires_grad_()
    (gradient,) = torch.autograd.grad(nc.objective(W, H, H0, *STRENGTHS), W)
    assert float(gradient.abs().max()) < 1e-12
    best = nc.optimal_features(W.detach(), H0, K, 0.005, 0.05).requires_grad_()
    (gradient,) = torch.autograd.grad(nc.objective(W.detach(), best, H0, *STRENGTHS), best)
    assert float(gradient.abs().max()) < 1e-12


def test_the_classifier_is_ridge_regression_by_numpy_and_differentiable():
    H = features()
    # Least squares with the penalty as further rows.
    rows = np.vstack([H.mT.numpy(), math.sqrt(4 * 0.05) * np.eye(5)])
    targets = np.vstack([nc.one_hot_targets(3, 4).mT.numpy(), np.zeros((5, 3))])
    expected = np.linalg.lstsq(rows, targets, rcond=None)[0].T
    np.testing.assert_allclose(nc.optimal_classifier(H, 3, 0.05).numpy(), expected, atol=1e-12)
    assert torch.autograd.gradcheck(lambda x: nc.optimal_classifier(x, 2, 0.05), features(2, 2, 2).requires_grad_())


@settings(max_examples=5)
@given(
    K=st.integers(2, 4),
    extra=st.integers(0, 3),
    lw=st.floats(0.01, 1),
    lh=st.floats(0.001, 0.9),
    seed=st.integers(0, 9),
)
def test_the_collapsed_minimiser_is_stationary_and_has_its_value(K, extra, lw, lh, seed):
    basis = random_orthonormal(K + extra, K, generator=compute.generator(seed))
    W, H = nc.collapsed_minimizer(K, 3, K + extra, lw, lh, basis)
    W.requires_grad_(), H.requires_grad_()
    value = nc.objective(W, H, H.detach(), lw, lh, 0.0)
    for gradient in torch.autograd.grad(value, (W, H)):
        assert float(gradient.abs().max()) < 1e-12
    rho = math.sqrt(lw * lh)
    assert float(value.detach()) == pytest.approx(rho * (2 - rho) / 2, rel=1e-10)
    torch.testing.assert_close((W @ H).detach(), (1 - rho) * nc.one_hot_targets(K, 3))


def test_free_features_end_at_the_value_of_the_collapsed_minimiser():
    start = features(seed=3)
    *_, H = nc.central_path_flow(start, 3, 0.5, 0.2, 60.0, 120)
    rho = math.sqrt(0.1)
    value = nc.objective(nc.optimal_classifier(H, 3, 0.5), H, H, 0.5, 0.2, 0.0)
    assert float(value) == pytest.approx(rho * (2 - rho) / 2, rel=1e-9)
    assert nc.nc2(H, 3, "orthogonal") < 1e-6


def test_the_minimiser_is_that_of_lbfgs_far_from_collapse_too():
    _, _, collapsed, delta = near(eps=0.6)
    H0 = collapsed + delta
    W, H, taken = nc.solve_near(H0, 3, *STRENGTHS)
    assert 1 <= taken < 300
    start = [nc.optimal_classifier(H0, 3, 0.05), H0.clone()]
    for block in start:
        block.requires_grad_()
    optimizer = torch.optim.LBFGS(
        start, max_iter=250, tolerance_grad=1e-10, tolerance_change=1e-15, line_search_fn="strong_wolfe"
    )

    def closure():
        optimizer.zero_grad()
        loss = nc.objective(*start, H0, *STRENGTHS)
        loss.backward()
        return loss

    optimizer.step(closure)
    # Differences of a loss in float64 resolve the place of its minimum to about 1e-6.
    torch.testing.assert_close(W, start[0].detach(), atol=1e-5, rtol=0)
    torch.testing.assert_close(H, start[1].detach(), atol=1e-5, rtol=0)


@settings(max_examples=5)
@given(K=st.integers(2, 4), n=st.integers(1, 4), extra=st.integers(0, 3), seed=st.integers(0, 99))
def test_the_solution_is_a_fixed_point_of_both_blocks_that_plain_alternation_finds_too(K, n, extra, seed):
    strengths = (0.05, 0.005, 0.5)
    _, _, collapsed, delta = near(K, n, K + extra, 0.3, seed, strengths)
    W, H, _ = nc.solve_near(collapsed + delta, K, *strengths)
    torch.testing.assert_close(nc.optimal_classifier(H, K, 0.05), W, atol=1e-11, rtol=0)
    torch.testing.assert_close(nc.optimal_features(W, collapsed + delta, K, 0.005, 0.5), H, atol=1e-12, rtol=0)
    other = collapsed + delta
    for _ in range(150):
        other = nc.optimal_features(nc.optimal_classifier(other, K, 0.05), collapsed + delta, K, 0.005, 0.5)
    torch.testing.assert_close(H, other, atol=1e-7, rtol=0)


def test_one_round_trip_is_one_round_trip():
    H0 = features()
    first = nc.optimal_features(nc.optimal_classifier(H0, 3, 0.05), H0, 3, 0.005, 0.05)
    W, _, taken = nc.solve_near(H0, 3, *STRENGTHS, iters=1)
    assert taken == 1
    torch.testing.assert_close(W, nc.optimal_classifier(first, 3, 0.05))


def test_unperturbed_features_stay_where_they_are():
    _, W, H, _ = near()
    found = nc.solve_near(H, 3, *STRENGTHS)
    torch.testing.assert_close(found[0], W)
    torch.testing.assert_close(found[1], H)


def test_the_factors_of_the_exercise():
    factors = nc.shrink_factors(0.04, 0.09, 0.5)
    assert list(factors.values()) == pytest.approx([0.25, 0.5 / 0.59, 1, 1, 0.5 / 0.8384], rel=1e-12)
    assert set(nc.shrink_factors(0.05, 0.0, 0.1).values()) == {1.0}


@settings(max_examples=4)
@given(K=st.integers(2, 4), extra=st.integers(0, 3), lw=st.floats(0.02, 0.5), lh=st.floats(0.01, 0.5))
def test_the_linear_map_is_the_derivative_of_the_minimiser(K, extra, lw, lh):
    strengths = (lw, lh, 0.3)
    basis, _, H, delta = near(K, 3, K + extra, 1e-4, K, strengths)
    ahead, behind = (nc.solve_near(H + sign * delta, K, *strengths)[1] for sign in (1, -1))
    linear = nc.first_order_map(delta, basis, K, *strengths)
    torch.testing.assert_close((ahead - behind) / 2, linear, atol=1e-4 * float(delta.abs().max()), rtol=0)


def test_the_blocks_are_orthogonal_and_complete():
    basis, _, _, delta = near(K=3, d=6)
    parts = list(nc.perturbation_blocks(delta, basis, 3).values())
    torch.testing.assert_close(sum(parts), delta)
    gram = torch.tensor([[float((a * b).sum()) for a in parts] for b in parts])
    torch.testing.assert_close(gram, torch.diag(gram.diagonal()), atol=1e-12, rtol=0)


# --- The flow ---------------------------------------------------------------------------------------------------


@settings(max_examples=5)
@given(K=st.integers(2, 4), n=st.integers(2, 4), d=st.integers(2, 6), lh=st.floats(0, 0.5), seed=st.integers(0, 99))
def test_classes_tighten_and_separate_from_any_start(K, n, d, lh, seed):
    t, within, between, _ = nc.central_path_flow(features(K, n, d, seed), K, 0.1, lh, 1.0, 12)
    assert bool((torch.diff(torch.exp(2 * lh * t) * within) < 0).all())
    assert bool((torch.diff(torch.exp(2 * lh * t) * between) > 0).all())


def test_the_flow_is_that_of_scipy_on_the_gradient_of_the_objective():
    from scipy.integrate import solve_ivp

    H0 = features()

    def velocity(_, flat):
        H = torch.tensor(flat).view_as(H0).requires_grad_()
        W = nc.optimal_classifier(H.detach(), 3, 0.05)
        (gradient,) = torch.autograd.grad(nc.objective(W, H, H0, 0.05, 0.01, 0.0), H)
        return (-12 * gradient).flatten().numpy()

    solution = solve_ivp(velocity, (0, 3), H0.flatten().numpy(), rtol=1e-9, atol=1e-10)
    t, within, between, H = nc.central_path_flow(H0, 3, 0.05, 0.01, 3.0, 120)
    np.testing.assert_allclose(H.flatten().numpy(), solution.y[:, -1], atol=1e-5)
    assert (t[0], t[-1], len(t), len(within), len(between)) == (0, 3, 121, 121, 121)
    for traces, covariance in zip((within, between), nc.covariances(H, 3), strict=True):
        assert float(traces[-1]) == pytest.approx(float(covariance.trace()), rel=1e-12)


# --- Networks ---------------------------------------------------------------------------------------------------


def examples(count=30, p=6, K=3, dtype=torch.float64):
    generator = compute.generator(5)
    return torch.randn(count, p, generator=generator, dtype=dtype), torch.arange(count) % K


def trained(decays=((0.01, 0.02), (0.1, 0.0)), checkpoints=(0, 4, 8), dtype=torch.float64):
    return nc.train_nets(*examples(dtype=dtype), 3, 7, 2, 8, 0.01, decays, compute.generator(1), checkpoints)


def test_a_batch_of_networks_is_a_loop_over_modules():
    X, y = examples()
    ratios, accuracies = trained()
    for i, (feature, last) in enumerate(((0.01, 0.02), (0.1, 0.0))):
        net = torch.nn.Sequential(
            torch.nn.Linear(6, 7), torch.nn.ReLU(), torch.nn.Linear(7, 7), torch.nn.ReLU(), torch.nn.Linear(7, 3)
        ).double()
        generator = compute.generator(1)
        for layer in net[::2]:
            start = torch.randn(layer.in_features, layer.out_features, generator=generator, dtype=torch.float64)
            layer.weight.data = (start * math.sqrt(2 / layer.in_features)).mT.contiguous()
            layer.bias.data.zero_()
        optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
        for _ in range(8):
            optimizer.zero_grad()
            loss = 0.5 * (net(X) - torch.nn.functional.one_hot(y, 3)).square().sum(1).mean()
            loss = loss + 0.5 * feature * (net[0].weight.square().sum() + net[2].weight.square().sum())
            (loss + 0.5 * last * net[4].weight.square().sum()).backward()
            optimizer.step()
        order = y.argsort(stable=True)
        layers = [X[order], net[:2](X[order]), net[:4](X[order])]
        expected = [nc.nc1_trace(layer.detach().mT, 3) for layer in layers]
        assert ratios[i, -1].tolist() == pytest.approx(expected, rel=1e-8)
        assert float(accuracies[i, -1]) == float((net(X).argmax(1) == y).double().mean())


def test_networks_share_their_start_and_decay_divides_them():
    ratios, accuracies = trained()
    assert (ratios.shape, accuracies.shape) == ((2, 3, 3), (2, 3))
    assert torch.equal(ratios[0, 0], ratios[1, 0])
    assert not torch.equal(ratios[0, -1], ratios[1, -1])


def test_labels_may_come_in_any_number():
    X, _ = examples(7, 2)
    y = torch.tensor([0, 1, 1, 2, 2, 2, 2])
    groups = [X[y == k].numpy() for k in range(3)]
    means = np.stack([group.mean(0) for group in groups])
    within = sum(((group - group.mean(0)) ** 2).sum() for group in groups) / 7
    between = ((means - means.mean(0)) ** 2).sum() / 3
    assert float(nc.trace_ratio(X[None], y, 3)) == pytest.approx(within / between, rel=1e-12)


# --- The experiment ---------------------------------------------------------------------------------------------


def test_full_scale_takes_two_steps_on_images_of_the_real_shape(monkeypatch):
    generator = compute.generator(0)
    few = Examples(torch.randn(120, 1, 28, 28, generator=generator), torch.arange(120) % 10)
    monkeypatch.setattr(experiment, "hub_images", lambda *_, **__: Split(few, few, few))
    full = dataclasses.replace(nc.FULL, images=100, steps=2, checkpoints=(0, 2), draws=1, flow_steps=4)
    result = nc.run(full, device="cpu", progress=False)
    assert result.nc1.shape == (1, 3, 2, 7)
    assert len(nc.claims(result)) == 7


@pytest.mark.parametrize("changes", [{"n": 1}, {"d": 3}, {"eps": (0.1,), "multipliers": (1.0,)}, {"checkpoints": (0,)}])
def test_an_experiment_too_small_to_show_anything_is_measured_all_the_same(changes):
    result = nc.run(dataclasses.replace(SMALL, draws=1, **changes), device="cpu", progress=False)
    assert len(nc.claims(result)) == 7


def test_a_result_that_measured_nothing_holds_no_claim():
    result = nc.run(SMALL, device="cpu", progress=False)
    near = dataclasses.replace(
        result.near,
        residual=result.near.residual * math.nan,
        factors=dict.fromkeys(result.near.factors, math.nan),
        ratio=math.nan,
        sweep=result.near.sweep * math.nan,
    )
    flow = dataclasses.replace(result.flow, within=result.flow.within * math.nan)
    nothing = dataclasses.replace(result, near=near, flow=flow, nc1=result.nc1 * math.nan)
    assert not any(claim.holds for claim in nc.claims(nothing))


def test_features_of_the_wrong_size_of_decay_are_no_fair_start():
    config = dataclasses.replace(SMALL, n=12, d=8)
    basis, direction = nc.draw_perturbation(config, compute.generator(0))
    _, collapsed = nc.collapsed_minimizer(3, 12, 8, 0.05, 0.005, basis)
    common = collapsed + 0.02 * collapsed.norm() * direction
    fair, unfair = (nc.sweep_decays(config, basis, direction, 1.0, 4.0, start) for start in (None, common))
    assert fair[0] == pytest.approx(fair[1], rel=0.01)
    assert unfair[0] != pytest.approx(unfair[1], rel=0.01)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_inputs_decide_dtype_and_device(dtype):
    H = features(dtype=dtype)
    basis = random_orthonormal(5, 3, generator=compute.generator(0), dtype=dtype)
    W, collapsed = nc.collapsed_minimizer(3, 4, 5, 0.05, 0.005, basis)
    solved = nc.solve_near(collapsed + 0.01 * H, 3, *STRENGTHS)
    flow = nc.central_path_flow(H, 3, 0.05, 0.01, 1.0, 3)
    linear = nc.first_order_map(H, basis, 3, *STRENGTHS)
    value = nc.objective(W, H, H, *STRENGTHS)
    assert {x.dtype for x in (W, collapsed, *solved[:2], *flow, linear, value, *nc.covariances(H, 3))} == {dtype}
    meta = H.to("meta")
    tensors = (
        nc.optimal_classifier(meta, 3, 0.05),
        nc.optimal_features(W.to("meta"), meta, 3, 0.005, 0.05),
        nc.objective(W.to("meta"), meta, meta, *STRENGTHS),
        nc.first_order_map(meta, basis.to("meta"), 3, *STRENGTHS),
        *nc.central_path_flow(meta, 3, 0.05, 0.01, 1.0, 2),
    )
    assert {x.device.type for x in tensors} == {"meta"}


H, W = features(), features(1, 3, 5).mT
BASIS = random_orthonormal(5, 3, generator=compute.generator(0))
EQUAL = torch.ones(5, 12).double()
X, Y = examples()
NET = {
    "X": X,
    "y": Y,
    "K": 3,
    "width": 4,
    "depth": 1,
    "steps": 2,
    "lr": 0.1,
    "decays": ((0.0, 0.0),),
    "checkpoints": (0, 2),
}


def net(**changes):
    return nc.train_nets(**{**NET, "generator": compute.generator(0), **changes})


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: nc.one_hot_targets(1, 3), "K must.*got 1"),
        (lambda: nc.one_hot_targets(3, 0), "n must.*got 0"),
        (lambda: nc.class_means(H, 5), r"5 classes, got \(5, 12\)"),
        (lambda: nc.class_means(H, 1), "K must.*got 1"),
        (lambda: nc.class_means(H[:, :0], 3), r"n >= 1.*\(5, 0\)"),
        (lambda: nc.class_means(H[0], 3), r"got \(12,\)"),
        (lambda: nc.covariances(H, 7), r"7 classes, got \(5, 12\)"),
        (lambda: nc.nc1(EQUAL, 3), "between-class.*got class means of spread 0"),
        (lambda: nc.nc1_trace(EQUAL, 3), "between-class.*zero"),
        (lambda: nc.nc1_trace(0 * EQUAL, 3), "between-class.*zero"),
        (lambda: nc.nc2(EQUAL, 3), "between-class.*zero"),
        (lambda: nc.nc2(0 * EQUAL, 3, "orthogonal"), "means must not vanish, got norm 0"),
        (lambda: nc.nc2(H, 3, "tetrahedral"), "frame.*tetrahedral"),
        (lambda: nc.nc3(0 * W, H, 3), "W must not vanish"),
        (lambda: nc.nc3(W.mT, H, 3), r"W must.*\(3, 5\), got \(5, 3\)"),
        (lambda: nc.objective(W, H, H[:, 1:], *STRENGTHS), r"H0 must.*\(5, 11\)"),
        (lambda: nc.objective(W[:, 1:], H, H, *STRENGTHS), r"W must.*\(3, 4\)"),
        (lambda: nc.objective(W, H, H, 0.1, -0.2, 0.1), "lambda_h.*-0.2"),
        (lambda: nc.objective(W, H, H, -0.1, 0.2, 0.1), "lambda_w.*-0.1"),
        (lambda: nc.objective(W, H, H, 0.1, 0.2, -0.3), "beta.*-0.3"),
        (lambda: nc.optimal_classifier(H, 3, 0.0), "lambda_w.*0.0"),
        (lambda: nc.optimal_classifier(H, 3, math.nan), "lambda_w.*nan"),
        (lambda: nc.optimal_classifier(H, 5, 0.1), r"5 classes, got \(5, 12\)"),
        (lambda: nc.optimal_features(W, H, 3, -0.1, 0.1), "lambda_h.*-0.1"),
        (lambda: nc.optimal_features(W, H, 3, 0.1, 0.0), "beta.*0.0"),
        (lambda: nc.optimal_features(W[1:], H, 3, 0.1, 0.1), r"W must.*\(2, 5\)"),
        (lambda: nc.collapsed_minimizer(1, 2, 5, 0.1, 0.1, BASIS), "K must.*got 1"),
        (lambda: nc.collapsed_minimizer(3, 0, 5, 0.1, 0.1, BASIS), "n must.*got 0"),
        (lambda: nc.collapsed_minimizer(3, 2, 2, 0.1, 0.1, BASIS), "d must.*got 2"),
        (lambda: nc.collapsed_minimizer(3, 2, 4, 0.1, 0.1, BASIS), r"basis must.*\(4, 3\), got \(5, 3\)"),
        (lambda: nc.collapsed_minimizer(3, 2, 5, 0.1, 0.1, 2 * BASIS), "orthonormal.*3.0"),
        (lambda: nc.collapsed_minimizer(3, 2, 5, 0.1, 0.0, BASIS), "lambda_h.*0.0"),
        (lambda: nc.collapsed_minimizer(3, 2, 5, 0.0, 0.1, BASIS), "lambda_w.*0.0"),
        (lambda: nc.collapsed_minimizer(3, 2, 5, 2.0, 0.5, BASIS), r"below 1, got 2.0 \* 0.5"),
        (lambda: nc.solve_near(H, 3, 2.0, 0.6, 0.1), r"below 1, got 2.0 \* 0.6"),
        (lambda: nc.solve_near(H, 3, 0.1, 0.1, 0.0), "beta.*0.0"),
        (lambda: nc.solve_near(H, 3, 0.1, -0.1, 0.1), "lambda_h.*-0.1"),
        (lambda: nc.solve_near(H, 3, 0.0, 0.1, 0.1), "lambda_w.*0.0"),
        (lambda: nc.solve_near(H, 5, *STRENGTHS), r"5 classes, got \(5, 12\)"),
        (lambda: nc.solve_near(H, 3, *STRENGTHS, iters=0), "iters.*0"),
        (lambda: nc.solve_near(H, 3, *STRENGTHS, tol=0.0), "tol.*0.0"),
        (lambda: nc.shrink_factors(0.1, 0.1, -1.0), "beta.*-1.0"),
        (lambda: nc.shrink_factors(1.0, 1.0, 1.0), r"below 1, got 1.0 \* 1.0"),
        (lambda: nc.first_order_map(H, BASIS[1:], 3, *STRENGTHS), "orthonormal"),
        (lambda: nc.first_order_map(H[1:], BASIS, 3, *STRENGTHS), r"4 rows, got shape \(5, 3\)"),
        (lambda: nc.first_order_map(H, BASIS[:, 1:], 3, *STRENGTHS), r"3 columns.*\(5, 2\)"),
        (lambda: nc.central_path_flow(H, 3, 0.1, 0.1, 0.0, 5), "time.*0.0"),
        (lambda: nc.central_path_flow(H, 3, 0.1, 0.1, 1.0, 0), "steps.*0"),
        (lambda: nc.central_path_flow(H, 3, 0.0, 0.1, 1.0, 5), "lambda_w.*0.0"),
        (lambda: nc.central_path_flow(H, 3, 0.1, -0.1, 1.0, 5), "lambda_h.*-0.1"),
        (lambda: nc.central_path_flow(H, 5, 0.1, 0.1, 1.0, 5), r"5 classes, got \(5, 12\)"),
        (lambda: net(K=1), "K must.*got 1"),
        (lambda: net(K=2), r"0\.\.1, got 0\.\.2"),
        (lambda: net(K=4), "none of class 3"),
        (lambda: net(y=Y[1:]), r"\(30, 6\) and \(29,\)"),
        (lambda: net(width=0), "width.*0"),
        (lambda: net(depth=0), "depth.*0"),
        (lambda: net(steps=0), "steps.*0"),
        (lambda: net(lr=0.0), "lr.*0.0"),
        (lambda: net(decays=()), r"decays.*\(\)"),
        (lambda: net(decays=((0.0, -1.0),)), "last_decay.*-1.0"),
        (lambda: net(checkpoints=(0, 3)), r"0\.\.2, got \(0, 3\)"),
        (lambda: nc.Config(d=3), "d must.*got 3"),
        (lambda: nc.Config(eps=()), r"eps.*\(\)"),
        (lambda: nc.Config(eps=(0.1, -0.1)), "got -0.1"),
        (lambda: nc.Config(multipliers=(1.0, 5000.0)), r"below 1, got 250.0 \* 0.005"),
        (lambda: nc.Config(flow_decays=(-0.1,)), "flow_decay.*-0.1"),
        (lambda: nc.Config(decays=((0.1, 0.1),)), r"three pairs.*\(\(0.1, 0.1\),\)"),
        (lambda: nc.Config(checkpoints=(0, 2000)), r"0\.\.1500, got \(0, 2000\)"),
        (lambda: nc.Config(dataset="digits", source="here"), "source.*'here'"),
    ],
)
def test_bad_input_is_refused_with_its_value(call, match):
    with refuses(ValueError, match=match):
        call()
