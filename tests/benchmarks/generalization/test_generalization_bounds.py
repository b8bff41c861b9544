"""Batched training against single networks, and batched elimination against one system at a time."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from overparam.core import compute
from overparam.generalization import generalization_bounds as gb

STEPS = 30


@pytest.mark.parametrize("points", ["pool", "sample"])
def test_batched_training(compare, points):
    config, generator = gb.Config(), compute.generator(0)
    size = config.nets, getattr(config, points)
    Y = torch.randint(10, size, generator=generator)
    for dtype in (torch.float64, torch.float32):
        X = torch.randn(*size, 64, generator=generator, dtype=dtype)
        start = gb.train_batch(X, Y, config.hidden, 10, 0, config.lr, compute.generator(1))[2:]

        def ours(X=X):
            return list(gb.train_batch(X, Y, config.hidden, 10, STEPS, config.lr, compute.generator(1))[:2])

        def peer(X=X, start=start):
            nets = [single_network(*one, config.lr) for one in zip(X, Y, *start, strict=True)]
            return [torch.stack(weights) for weights in zip(*nets, strict=True)]

        if dtype == torch.float64:  # in float32 Adam's first steps amplify the rounding of small gradients
            torch.testing.assert_close(ours(), peer(), rtol=1e-7, atol=1e-9)
    compare(ours, peer, target=3, rounds=3)


def single_network(x, y, W1, W2, lr):
    inputs, hidden, classes = x.shape[1], len(W1), len(W2)
    layers = nn.Linear(inputs, hidden, bias=False), nn.ReLU(), nn.Linear(hidden, classes, bias=False)
    net = nn.Sequential(*layers)
    net[0].weight.data, net[2].weight.data = W1.clone(), W2.clone()
    optimizer = torch.optim.Adam(net.parameters(), lr=lr)
    for _ in range(STEPS):
        optimizer.zero_grad()
        functional.cross_entropy(net(x), y).backward()
        optimizer.step()
    return net[0].weight.detach(), net[2].weight.detach()


def test_batched_elimination(compare):
    config, generator, q = gb.Config(), compute.generator(0), 3
    A = torch.randint(q, (config.systems, 14, config.field_d), generator=generator)
    y = (A @ torch.randint(q, (config.systems, config.field_d, 1), generator=generator)).squeeze(-1) % q
    systems = [
        [[*row, value] for row, value in zip(a, b, strict=True)] for a, b in zip(A.tolist(), y.tolist(), strict=True)
    ]

    def ours():
        return gb.field_solve(A, y, q)[0]

    def peer():
        return [solve([list(row) for row in system], config.field_d, q) for system in systems]

    assert ours().tolist() == peer()
    compare(ours, peer, target=50, rounds=3)


def solve(rows, d, q):
    """Gauss-Jordan elimination of one augmented matrix in plain Python."""
    done, pivots = 0, []
    for j in range(d):
        pivot = next((i for i in range(done, len(rows)) if rows[i][j]), None)
        if pivot is None:
            continue
        rows[done], rows[pivot] = rows[pivot], rows[done]
        inverse = pow(rows[done][j], -1, q)
        rows[done] = [value * inverse % q for value in rows[done]]
        for i, row in enumerate(rows):
            if i != done and row[j]:
                factor = row[j]
                rows[i] = [(value - factor * lead) % q for value, lead in zip(row, rows[done], strict=True)]
        pivots.append(j)
        done += 1
    w = [0] * d
    for row, j in zip(rows, pivots, strict=False):
        w[j] = row[d]
    return w
