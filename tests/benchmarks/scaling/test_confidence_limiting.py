"""All arms in one batched product a layer, against a network and an optimizer for each."""

from __future__ import annotations

import torch
from torch import nn

from overparam.core import compute
from overparam.core.datasets import mnist1d
from overparam.core.models import mlp_ensemble_init
from overparam.core.training import epoch_batches
from overparam.scaling import confidence_limiting as cl


def test_four_arms_at_once(compare):
    config = cl.Config(epochs=12, evals=1)
    data = mnist1d(seed=config.seed)

    def ours():
        return cl.run(config, device="cpu", progress=False).coverage[-1]

    def peer():
        return torch.stack([separate_run(config, data, N) for N in config.train_N])

    # Training amplifies the rounding; the arms differ by a hundred times as much.
    torch.testing.assert_close(ours(), peer(), atol=2e-3, rtol=0)
    compare(ours, peer, target=1.5, rounds=3)


def separate_run(config, data, N):
    """One arm as one writes it: modules, Adam, the loss in plain floating point, and pass@N at the end."""
    start, order, pairs = (compute.generator(seed) for seed in compute.seeds(config.seed, 3))
    weights = mlp_ensemble_init(1, (40, 128, 128, 10), generator=start)
    model = nn.Sequential(nn.Linear(40, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
    with torch.no_grad():
        for layer, weight, bias in zip(model[::2], weights[::2], weights[1::2], strict=True):
            layer.weight.copy_(weight[0].T)
            layer.bias.copy_(bias[0, 0])
    optimizer = torch.optim.Adam(model.parameters(), lr=config.lr)
    for batch in epoch_batches(1, 4000, config.batch, config.epochs, generator=order):
        x, y = data.train.x[batch[0]], data.train.y[batch[0]]
        logp = model(x).log_softmax(-1).gather(1, y[:, None]).view(-1, 2).sum(1)
        loss = -(1 - (1 - logp.exp()) ** N).log().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        problems = torch.rand(config.pairings, 1000, generator=pairs).argsort(1).view(-1, 2)
        p = model(data.test.x).double().softmax(-1).gather(1, data.test.y[:, None])[:, 0][problems].prod(1)
        return torch.stack([(1 - (1 - p) ** N).mean() for N in config.test_N])
