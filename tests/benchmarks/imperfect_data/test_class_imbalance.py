"""Replicas as batched matrix products against three other ways to train them; ranks against a sweep of thresholds."""

from __future__ import annotations

import dataclasses
from functools import partial

import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional

from overparam.core import compute
from overparam.imperfect_data import class_imbalance as ci

#: Batches that every contestant trains on.
STEPS = 40
CONFIG = dataclasses.replace(ci.Config(), steps=STEPS, lr_drops=())
SGD = partial(torch.optim.SGD, lr=CONFIG.lr, momentum=CONFIG.momentum, weight_decay=CONFIG.weight_decay, fused=True)


def module():
    """The reader's network as one writes it."""
    low, high = CONFIG.channels
    layers = [nn.Conv2d(1, low, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(low, high, 3, padding=1)]
    layers += [nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(4 * high, CONFIG.hidden), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(CONFIG.hidden, 10))


def started(networks):
    """Modules with the weights of the stacked networks."""
    low, high = CONFIG.channels
    modules = []
    for k in range(networks.count):
        w = [weight[k].detach() for weight in networks.weights]
        kernels = [
            w[0].mT.reshape(low, 1, 3, 3),
            w[1].reshape(3, 3, low, high).permute(3, 2, 0, 1),
            w[2].reshape(4, high, -1).transpose(0, 1).flatten(0, 1).mT,
            w[3].mT,
        ]
        made = module()
        with torch.no_grad():
            layers = [layer for layer in made if isinstance(layer, (nn.Conv2d, nn.Linear))]
            for layer, weight in zip(layers, kernels, strict=True):
                layer.weight.copy_(weight)
                layer.bias.zero_()
        modules.append(made)
    return modules


def loop(modules, images, labels, batches):
    """One network after the other."""
    for network, rows in zip(modules, batches.unbind(1), strict=True):
        optimizer = SGD(network.parameters())
        for row in rows:
            optimizer.zero_grad()
            functional.cross_entropy(network(images[row]), labels[row]).backward()
            optimizer.step()
    return torch.stack([network[-1].weight.detach() for network in modules])


def mapped(modules, images, labels, batches):
    """``torch.func.vmap`` over stacked parameters."""
    parameters, _ = stack_module_state(modules)
    skeleton, optimizer = modules[0], SGD(list(parameters.values()))
    forward = vmap(lambda state, x: functional_call(skeleton, state, (x,)))
    for batch in batches:
        optimizer.zero_grad()
        logits = forward(parameters, images[batch])
        functional.cross_entropy(logits.flatten(0, 1), labels[batch].flatten(), reduction="sum").div(
            batch.shape[1]
        ).backward()
        optimizer.step()
    return parameters["9.weight"].detach()


def grouped(modules, images, labels, batches):
    """``conv2d`` with one group a network."""
    k = len(modules)
    state = {name: value.detach() for name, value in stack_module_state(modules)[0].items()}
    for name in ("0.weight", "0.bias", "3.weight", "3.bias"):
        state[name] = state[name].flatten(0, 1)
    state = {name: value.clone().requires_grad_() for name, value in state.items()}
    optimizer = SGD(list(state.values()))
    for batch in batches:
        optimizer.zero_grad()
        x = images[batch][:, :, 0].transpose(0, 1)
        for layer in ("0", "3"):
            x = functional.conv2d(x, state[f"{layer}.weight"], state[f"{layer}.bias"], padding=1, groups=k)
            x = functional.max_pool2d(x.relu(), 2)
        x = x.unflatten(1, (k, -1)).transpose(0, 1).flatten(2)
        x = torch.baddbmm(state["7.bias"][:, None], x, state["7.weight"].mT).relu()
        x = torch.baddbmm(state["9.bias"][:, None], x, state["9.weight"].mT)
        functional.cross_entropy(x.flatten(0, 1), labels[batch].flatten(), reduction="sum").div(
            batch.shape[1]
        ).backward()
        optimizer.step()
    return state["9.weight"].detach()


@pytest.mark.parametrize(("peer", "target"), [(loop, 1.5), (mapped, 1), (grouped, 1)])
def test_ensemble_training(compare, peer, target):
    """Forty steps of four networks; the peers have their batches drawn in advance."""
    data, networks = ci.imbalanced_data(CONFIG), ci.build(CONFIG)
    indices = ci.training_indices(data, CONFIG, 50, method="oversample")
    order = torch.arange(64).view(4, 2, 4, 2).transpose(1, 2).flatten().argsort()
    images = data.pool.x[:, :, 4][:, order].reshape(-1, 1, 8, 8).contiguous()
    draws = ci.stream(CONFIG, "batches")
    shape = CONFIG.replicas, CONFIG.batch_size
    uniform = torch.stack([torch.rand(*shape, generator=draws, dtype=torch.float64) for _ in range(STEPS)])
    batches = torch.stack([indices.gather(1, (each * indices.shape[1]).long()) for each in uniform])

    def ours(steps=STEPS):
        trained = ci.build(CONFIG)
        ci.train(trained, data, indices, dataclasses.replace(CONFIG, steps=steps))
        return trained.weights[-1].detach().mT

    def theirs(steps=STEPS):
        return peer(started(networks), images, data.pool.y, batches[:steps])

    # Later on a ReLU at its kink can fall to either side.
    torch.testing.assert_close(ours(10), theirs(10), rtol=1e-3, atol=1e-4)
    compare(ours, theirs, target=target, rounds=9)


def test_multiclass_auc(compare):
    generator = compute.generator(0)
    scores = torch.randn(10_000, 10, generator=generator, dtype=torch.float64).softmax(1)
    labels = torch.randint(10, (10_000,), generator=generator)

    def ours():
        return ci.multiclass_auc(scores, labels)

    def peer():
        return roc_auc_score(labels.numpy(), scores.numpy(), multi_class="ovr", average="macro")

    assert abs(ours() - peer()) < 1e-12
    compare(ours, peer, target=1, rounds=7)
