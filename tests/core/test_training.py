"""Ensemble training against K separate runs of torch's own optimizers, and batches that miss nobody."""

from __future__ import annotations

import contextlib
from functools import partial
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from overparam.core import compute, models, training
from tests.conftest import refuses
from tests.core.test_models import as_modules, ensemble

K, N, DIMS = 3, 20, (4, 6, 3)
OPTIMIZERS = {
    "SGD with momentum": partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=0.01),
    "Nesterov": partial(torch.optim.SGD, lr=0.1, momentum=0.8, nesterov=True),
    "Adam": partial(torch.optim.Adam, lr=0.01, betas=(0.8, 0.9)),
    "AdamW": partial(torch.optim.AdamW, lr=0.01, weight_decay=0.1),
}


def problem(seed=0):
    generator = compute.generator(seed)
    x = torch.randn(N, DIMS[0], generator=generator, dtype=torch.float64)
    return x, torch.randint(DIMS[-1], (N,), generator=generator), ensemble(K, DIMS, seed)


def batches(epochs=3, seed=1):
    return training.epoch_batches(K, N, 6, epochs, generator=compute.generator(seed))


def mean_losses(parameters, x, y, batch):
    logits = models.mlp_ensemble_forward(parameters, x[batch])
    return functional.cross_entropy(logits.mT, y[batch], reduction="none").mean(1)


# --- Ensembles --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("scheduled", [True, False])
def test_an_ensemble_trains_as_its_networks_would_one_by_one(name, scheduled):
    x, y, parameters = problem()
    factors = [1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5, 0.5]
    networks = as_modules(parameters)
    for k, network in enumerate(networks):
        optimizer = OPTIMIZERS[name](network.parameters())
        lr = optimizer.defaults["lr"]
        for taken, batch in enumerate(batches()):
            if scheduled:
                optimizer.param_groups[0]["lr"] = lr * factors[taken]
            optimizer.zero_grad()
            functional.cross_entropy(network(x[batch[k]]), y[batch[k]]).backward()
            optimizer.step()
    training.train_ensemble(
        parameters,
        partial(mean_losses, parameters, x, y),
        batches(),
        optimizer=OPTIMIZERS[name],
        schedule=training.step_schedule(8, {0.5: 0.5}) if scheduled else None,
    )
    for k, network in enumerate(networks):
        linears = [layer for layer in network if isinstance(layer, nn.Linear)]
        for linear, weight, bias in zip(linears, parameters[::2], parameters[1::2], strict=True):
            torch.testing.assert_close(weight[k].T, linear.weight.data)
            torch.testing.assert_close(bias[k, 0], linear.bias.data)


def train(parameters, x, y, **kwargs):
    losses = partial(mean_losses, parameters, x, y)
    training.train_ensemble(parameters, losses, batches(), optimizer=partial(torch.optim.SGD, lr=0.1), **kwargs)


def test_checkpoints_see_the_parameters_after_so_many_steps():
    x, y, parameters = problem()
    seen = {}

    def keep(taken):
        assert not torch.is_grad_enabled()
        seen[taken] = [p.clone() for p in parameters]

    train(parameters, x, y, checkpoints={0, 2, 9, 10, -1}, on_checkpoint=keep)
    assert list(seen) == [0, 2, 9]
    assert all(map(torch.equal, seen[9], parameters))
    assert all(map(torch.equal, seen[0], problem()[2]))
    # Two steps of gradient descent written out.
    weights = [p.clone().requires_grad_() for p in seen[0]]
    for _, batch in zip(range(2), batches(), strict=False):
        gradients = torch.autograd.grad(mean_losses(weights, x, y, batch).sum(), weights)
        weights = [(w - 0.1 * g).detach().requires_grad_() for w, g in zip(weights, gradients, strict=True)]
    torch.testing.assert_close([w.detach() for w in weights], seen[2])


def test_without_someone_to_call_checkpoints_change_nothing():
    (x, y, one), other = problem(), problem()[2]
    train(one, x, y, checkpoints={0, 1})
    train(other, x, y)
    assert all(map(torch.equal, one, other))


def interrupted(_):
    raise KeyboardInterrupt


def no_optimizer(_):
    raise ValueError("no such optimizer")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({}, None),
        ({"checkpoints": {3}, "on_checkpoint": interrupted}, KeyboardInterrupt),
        ({"schedule": interrupted}, KeyboardInterrupt),
        ({"optimizer": no_optimizer}, ValueError),
    ],
)
def test_parameters_come_back_with_requires_grad_as_it_was_even_after_a_failure(arguments, error):
    x, y, parameters = problem()
    parameters[1].requires_grad_(True)
    before = [p.requires_grad for p in parameters]
    losses = partial(mean_losses, parameters, x, y)
    common = {"optimizer": partial(torch.optim.SGD, lr=0.1), **arguments}
    if error is None:
        training.train_ensemble(parameters, losses, batches(), **common)
    else:
        with pytest.raises(error):
            training.train_ensemble(parameters, losses, batches(), **common)
    assert [p.requires_grad for p in parameters] == before
    assert all(p.grad is None for p in parameters)
    assert all(p.is_leaf for p in parameters)


# --- Batches ----------------------------------------------------------------------------------------------------


@given(
    replicas=st.integers(1, 4),
    n=st.integers(1, 30),
    size=st.integers(1, 30),
    epochs=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_an_epoch_visits_every_example_at_most_once_and_drops_less_than_a_batch(replicas, n, size, epochs, seed):
    size = min(size, n)
    stream = list(training.epoch_batches(replicas, n, size, epochs, generator=compute.generator(seed)))
    per_epoch = n // size
    assert len(stream) == epochs * per_epoch
    assert {tuple(batch.shape) for batch in stream} == {(replicas, size)}
    for epoch in range(epochs):
        visited = torch.cat(stream[epoch * per_epoch : (epoch + 1) * per_epoch], 1)
        for row in visited.tolist():
            assert len(set(row)) == len(row) == n - n % size
            assert set(row) <= set(range(n))


def test_every_replica_and_every_epoch_has_an_order_of_its_own():
    orders = torch.cat(list(training.epoch_batches(3, 50, 50, 4, generator=compute.generator(0))))
    assert len({tuple(order) for order in orders.tolist()}) == 12
    again = torch.cat(list(training.epoch_batches(3, 50, 50, 4, generator=compute.generator(0))))
    assert torch.equal(orders, again)
    # Over many orders every example stands in every place alike: mean place 24.5, standard error 14.4 / sqrt(2000).
    many = torch.cat(list(training.epoch_batches(2000, 50, 50, 1, generator=compute.generator(1))))
    assert (many.argsort(1).double().mean(0) - 24.5).abs().max() < 5 * 14.4 / 2000**0.5


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((0, 5, 2, 1), "replicas must be an integer of at least 1, got 0"),
        ((1, 0, 1, 1), "n must be .*got 0"),
        ((1, 5, 0, 1), "batch_size must be .*got 0"),
        ((1, 5, 2, 0), "epochs must be .*got 0"),
        ((1, 5, 6, 1), "batch_size must be at most the 5 examples, got 6"),
    ],
)
def test_batches_that_do_not_exist_are_refused_at_the_call(arguments, match):
    with refuses(ValueError, match=match):
        training.epoch_batches(*arguments, generator=compute.generator(0))


# --- Schedules --------------------------------------------------------------------------------------------------


def test_a_step_schedule_drops_where_it_says():
    factor = training.step_schedule(10, {0.8: 0.01, 0.5: 0.1})
    assert [factor(taken) for taken in range(11)] == [1.0] * 5 + [0.1] * 3 + [0.01] * 3
    assert training.step_schedule(10, {})(10) == 1.0
    assert training.step_schedule(10, {0.0: 0.5})(0) == 0.5


def test_a_drop_schedule_falls_by_one_factor_each_time_in_whatever_order_the_drops_are_named():
    factor = training.drop_schedule(10, (0.8, 0.5), 0.2)
    assert [factor(taken) for taken in range(11)] == [1.0] * 5 + [0.2] * 3 + [0.2**2] * 3
    assert training.drop_schedule(10, (), 0.1)(10) == 1.0


# --- Evaluation mode --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fails", [False, True])
def test_in_evaluation_all_modules_are_and_afterwards_each_is_as_it_was(fails):
    model = nn.Sequential(nn.Dropout(), nn.Sequential(nn.BatchNorm1d(3)))
    model[1].eval()
    with contextlib.suppress(KeyboardInterrupt), training.evaluating(model):
        assert not any(module.training for module in model.modules())
        if fails:
            raise KeyboardInterrupt
    assert [module.training for module in model.modules()] == [True, True, False, False]


# --- Accuracy ---------------------------------------------------------------------------------------------------


@given(k=st.integers(1, 3), n=st.integers(1, 9), c=st.integers(1, 4), seed=st.integers(0, 99), shared=st.booleans())
def test_accuracy_counts_the_rows_whose_first_largest_logit_is_the_label(k, n, c, seed, shared):
    generator = compute.generator(seed)
    logits = torch.randint(-2, 3, (k, n, c), generator=generator).float()  # many ties
    labels = torch.randint(c, (1 if shared else k, n), generator=generator)
    expected = [
        sum(row.index(max(row)) == label for row, label in zip(rows, own, strict=True)) / n
        for rows, own in zip(logits.tolist(), labels.expand(k, n).tolist(), strict=True)
    ]
    measured = training.accuracy(logits, labels)
    assert measured.tolist() == expected
    assert measured.dtype == torch.float64
    assert training.accuracy(logits[0], labels[0]).item() == expected[0]


# --- Any module as an ensemble ----------------------------------------------------------------------------------


def convolutional(seed):
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Tanh(), nn.Flatten(), nn.Linear(8, 3)).double()
    network[1].running_mean.normal_()
    return network.eval()


def test_stacked_modules_are_the_loop_over_them_in_outputs_and_gradients():
    networks = [convolutional(seed) for seed in range(K)]
    state, forward = training.stack_modules(networks)
    x = torch.randn(K, 5, 1, 4, 4, generator=compute.generator(0), dtype=torch.float64)
    expected = torch.stack([network(z) for network, z in zip(networks, x, strict=True)])
    torch.testing.assert_close(forward(state, x), expected)
    forward(state, x).square().sum().backward()
    expected.square().sum().backward()
    for name, stacked in state.items():
        assert stacked.shape[0] == K
        if stacked.requires_grad:
            own = torch.stack([network.get_parameter(name).grad for network in networks])
            torch.testing.assert_close(stacked.grad, own)
    assert sorted(state) == sorted(networks[0].state_dict())


def test_stacked_modules_train_as_an_ensemble_does_and_leave_the_modules_alone():
    x = torch.randn(N, 1, 4, 4, generator=compute.generator(0), dtype=torch.float64)
    y = torch.randn(N, 3, generator=compute.generator(1), dtype=torch.float64)
    networks, untouched = ([convolutional(seed) for seed in range(K)] for _ in range(2))
    state, forward = training.stack_modules(networks)
    names = [name for name, tensor in state.items() if tensor.requires_grad]
    leaves = [state[name] for name in names]
    training.train_ensemble(
        leaves,
        lambda batch: (forward(state, x[batch]) - y[batch]).square().mean((1, 2)),
        batches(),
        optimizer=partial(torch.optim.Adam, lr=0.01),
    )
    for network, same in zip(networks, untouched, strict=True):
        assert all(map(torch.equal, network.parameters(), same.parameters()))
    for k, network in enumerate(networks):
        optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
        for batch in batches():
            optimizer.zero_grad()
            (network(x[batch[k]]) - y[batch[k]]).square().mean().backward()
            optimizer.step()
        for name, leaf in zip(names, leaves, strict=True):
            torch.testing.assert_close(leaf[k].detach(), network.get_parameter(name).detach())


def test_the_checkpoints_of_a_longer_run_are_those_of_a_shorter_one():
    x, y, parameters = problem()
    path = []
    train(parameters, x, y, checkpoints=range(10), on_checkpoint=lambda _: path.append(parameters[0].clone()))
    assert len(path) == 10
    assert all(not torch.equal(*pair) for pair in pairwise(path))
