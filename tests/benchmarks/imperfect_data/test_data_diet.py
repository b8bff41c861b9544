"""The closed form of GraNd against a backward pass an example; one ensemble against a loop over modules."""

from __future__ import annotations

import dataclasses

import torch
from torch import nn
from torch.nn import functional

from overparam.core.training import epoch_batches
from overparam.imperfect_data import data_diet as dd


def as_modules(parameters):
    """Every replica of stacked MLPs as a plain module."""
    networks = []
    for k in range(len(parameters[0])):
        layers = []
        for weight, bias in zip(parameters[::2], parameters[1::2], strict=True):
            layer = nn.Linear(*weight.shape[1:])
            layer.weight.data, layer.bias.data = weight[k].mT.clone(), bias[k, 0].clone()
            layers += [layer, nn.ReLU()]
        networks.append(nn.Sequential(*layers[:-1]))
    return networks


def gradient_norm(model, x, label):
    gradients = torch.autograd.grad(functional.cross_entropy(model(x), label), list(model.parameters()))
    return torch.stack([g.square().sum() for g in gradients]).sum().sqrt()


def test_grand_in_closed_form(compare):
    """All 1,197 digits, one network."""
    config = dd.Config(replicas=1)
    data, networks = dd.training_data(config), dd.build(config)
    (model,) = as_modules([p.detach() for p in networks.parameters()])

    def ours():
        return networks.grand(data.x, data.labels)

    def peer():
        each = zip(data.x.split(1), data.labels.split(1), strict=True)
        return torch.stack([gradient_norm(model, x, label) for x, label in each])

    torch.testing.assert_close(ours()[0], peer(), rtol=1e-5, atol=1e-5)
    compare(ours, peer, target=20)


def test_ensemble_training(compare):
    """8 networks for two epochs as stacked tensors, and one after the other as modules with the same batches."""
    config = dataclasses.replace(dd.Config(), epochs=2, score_epochs=(0,), score_epoch=0)
    data = dd.training_data(config)
    start = [p.detach().clone() for p in dd.build(config).parameters()]
    order = dd.stream(config, "batches")
    batches = torch.stack(list(epoch_batches(8, config.n_train, config.batch_size, 2, generator=order)))

    def ours():
        networks = dd.build(config)
        accuracies = dd.train(networks, data, config)
        return networks.stacked[-2].detach(), accuracies

    def peer():
        networks = as_modules(start)
        each = [alone(network, batches[:, k], data, config) for k, network in enumerate(networks)]
        return torch.stack([network[-1].weight.mT for network in networks]).detach(), torch.stack(each)

    torch.testing.assert_close(ours(), peer(), rtol=1e-3, atol=1e-3)
    compare(ours, peer, target=2, rounds=9)


def alone(network, batches, data, config):
    """One network as people train it; its accuracy on the test data."""
    optimizer = torch.optim.SGD(
        network.parameters(), config.lr, momentum=config.momentum, weight_decay=config.weight_decay, nesterov=True
    )
    drops = [round(share * len(batches)) for share in config.lr_drops]
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, drops, gamma=0.2)
    for batch in batches:
        optimizer.zero_grad()
        functional.cross_entropy(network(data.x[batch]), data.labels[batch]).backward()
        optimizer.step()
        scheduler.step()
    with torch.no_grad():
        return (network(data.test.x).argmax(1) == data.test.y).double().mean()
