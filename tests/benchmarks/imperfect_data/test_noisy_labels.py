"""One cumulative sum over the features against a masked product for each k; one ensemble against separate networks."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn
from torch.nn import functional

from overparam.core import compute
from overparam.core.datasets import Examples
from overparam.core.training import epoch_batches
from overparam.imperfect_data import noisy_labels as nl


@pytest.mark.parametrize("dim", [128, 512])
def test_nested_logits(compare, dim):
    generator = compute.generator(0)
    features = torch.randn(600, dim, generator=generator).relu()
    weight, bias = torch.randn(10, dim, generator=generator), torch.randn(10, generator=generator)
    masks = torch.ones(dim, dim).tril()

    def ours():
        return nl.nested_logits(features, weight, bias)

    def peer():
        return torch.stack([functional.linear(features * mask, weight, bias) for mask in masks])

    torch.testing.assert_close(ours(), peer(), rtol=1e-4, atol=1e-4)
    compare(ours, peer, target=2, rounds=7)


def test_ensemble_training(compare):
    """Nested Dropout for two epochs: 6 networks as stacked tensors, and the same 6 one after the other."""
    config = dataclasses.replace(nl.Config(), epochs=2)
    data = nl.noisy_data(config)
    few = Examples(data.test.x[:1], data.test.y[:1])  # training is what counts here
    data = dataclasses.replace(data, val=few, test=few)
    start = [part.detach() for part in nl.build(config).stacked]
    order = nl.stream(config, "batches")
    batches = torch.stack(list(epoch_batches(config.networks, config.n_train, config.batch_size, 2, generator=order)))
    dist, draws = nl.nested_distribution(config.features, config.nested_std), nl.stream(config, "masks")
    masks = torch.stack([nl.nested_mask(dist, config.networks, generator=draws).float() for _ in batches])

    def ours():
        networks = nl.build(config)
        nl.train(networks, data, config, "nested")
        return networks.classifier()[0].detach()

    def peer():
        # With its batches and masks drawn in advance.
        each = range(config.networks)
        return torch.stack([alone([part[i] for part in start], batches[:, i], masks[:, i], config, data) for i in each])

    torch.testing.assert_close(ours(), peer(), rtol=1e-3, atol=1e-4)
    compare(ours, peer, target=3, rounds=9)


def alone(start, batches, masks, config, data):
    """One network of the ensemble as a plain module."""
    extractor = nn.Sequential(
        nn.Linear(64, config.hidden), nn.ReLU(), nn.Linear(config.hidden, config.features), nn.ReLU()
    )
    classifier = nn.Linear(config.features, 10)
    with torch.no_grad():
        for layer, weight, bias in zip((extractor[0], extractor[2], classifier), start[::2], start[1::2], strict=True):
            layer.weight.copy_(weight.mT)
            layer.bias.copy_(bias[0])
    parameters = [*extractor.parameters(), *classifier.parameters()]
    optimizer = torch.optim.SGD(parameters, config.lr, momentum=config.momentum, weight_decay=config.weight_decay)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [round(config.lr_drops[0] * len(batches))])
    for batch, mask in zip(batches, masks, strict=True):
        optimizer.zero_grad()
        logits = classifier(extractor(data.x[batch]) * mask)
        functional.cross_entropy(logits, data.labels[batch]).backward()
        optimizer.step()
        scheduler.step()
    return classifier.weight.detach()
