"""All purchases of one size as one ensemble against a loop of modules; exact transport against Sinkhorn's."""

from __future__ import annotations

import numpy as np
import ot
import torch
from torch import nn
from torch.nn import functional

from overparam.core import compute
from overparam.core.models import mlp_ensemble_init
from overparam.imperfect_data import projektor as pj


def as_module(parameters, k):
    """One network of the ensemble as a plain module."""
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    for layer, weight, bias in zip(model[::2], parameters[::2], parameters[1::2], strict=True):
        layer.weight.data, layer.bias.data = weight[k].mT.clone(), bias[k, 0].clone()
    return model


def test_ensemble_training(compare):
    """The 396 purchases of 60 examples, side by side and one after the other, from the same starts."""
    config = pj.Config()
    goods = pj.market(config)
    pilots = [places[: config.pilot] for places in goods.sources]
    bought = pj.purchases(pilots, pj.mixtures(10), config.n0, config.repeats, compute.generator(0)).flatten(0, 1)
    dims = (64, config.hidden, 10)
    parameters = mlp_ensemble_init(len(bought), dims, generator=compute.generator(1))

    def ours():
        recipe = {"dims": dims, "lr": config.lr, "steps": config.steps}
        return pj.train_mlps(goods.data, bought, goods.val, **recipe, generator=compute.generator(1))

    def peer():
        return torch.stack([alone(as_module(parameters, k), goods, one, config) for k, one in enumerate(bought)])

    # Sums in another order turn a decision here and there in sixty steps of Adam.
    torch.testing.assert_close(ours(), peer(), rtol=0, atol=0.03)
    assert (ours() - peer()).abs().mean() < 1e-3
    compare(ours, peer, target=10, rounds=2)


def alone(model, goods, purchase, config):
    """One network as people train it; its error on the validation data."""
    optimizer = torch.optim.Adam(model.parameters(), lr=config.lr)
    x, y = goods.data.x[purchase], goods.data.y[purchase]
    for _ in range(config.steps):
        optimizer.zero_grad()
        functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    with torch.no_grad():
        return (model(goods.val.x).argmax(1) != goods.val.y).double().mean()


def test_exact_transport(compare):
    """360 examples against 397, by the network simplex and by Sinkhorn's iteration at the official code's 1e-2."""
    config = pj.Config()
    costs, _ = pj.pilot_costs(pj.market(config), config)
    p = np.full(3, 1 / 3)
    weights, target, stacked = np.full(360, 1 / 360), np.full(397, 1 / 397), np.concatenate(costs)

    def ours():
        return pj.mixture_ot(costs, p)[0]

    def peer():
        return ot.sinkhorn2(weights, target, stacked, reg=1e-2, warn=False)

    # After its default of 1,000 iterations the peer has not converged and misses the marginals, so that it may even
    # fall below the least cost; with a regularization for which it converges, it is far above.
    assert abs(float(peer()) / ours() - 1) < 0.05
    assert float(ot.sinkhorn2(weights, target, stacked, reg=1.0)) / ours() > 1.3
    compare(ours, peer, target=1, rounds=3)
