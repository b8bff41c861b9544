"""All runs as one batch with the gradient in closed form, against one run after the other through autograd."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from overparam.core import compute
from overparam.dynamics import transformers_as_svms as svm

RUNS, STEPS, LR = 20, 60, 0.1


@pytest.mark.parametrize("parameterization", ["W", "KQ"])
def test_batched_attention(compare, parameterization):
    config = svm.Config()
    X, Z, v, Y = svm.attention_data(RUNS, config.n, config.T, config.d, generator=compute.generator(0))
    scale = 0.3 if parameterization == "KQ" else 0.0

    def ours():
        scores = svm.token_scores(X, v, Y)
        return svm.normalized_gd(
            X,
            Z,
            scores,
            parameterization=parameterization,
            steps=STEPS,
            lr=LR,
            init_scale=scale,
            generator=compute.generator(1),
        ).W[-1]

    def peer():
        generator = compute.generator(1)
        starts = [torch.randn(2, config.d, config.d, generator=generator, dtype=X.dtype) * scale for _ in range(RUNS)]
        return torch.stack([train(parameterization, *run) for run in zip(X, Z, v, Y, starts, strict=True)])

    torch.testing.assert_close(ours(), peer(), rtol=1e-8, atol=1e-10)
    compare(ours, peer, target=20, rounds=2)


class Attention(nn.Module):
    """One layer of cross-attention with a fixed head, as one writes it for one data set."""

    def __init__(self, parameterization, v, start):
        super().__init__()
        self.v = v
        if parameterization == "W":
            self.W = nn.Parameter(start[0].clone())
        else:
            self.K, self.Q = nn.Parameter(start[0].clone()), nn.Parameter(start[1].clone())

    def weights(self):
        return self.W if hasattr(self, "W") else self.K @ self.Q.T

    def forward(self, X, Z):
        s = torch.softmax((X @ self.weights() @ Z[..., None])[..., 0], dim=-1)
        return (s[..., None] * X).sum(1) @ self.v


def train(parameterization, X, Z, v, Y, start):
    model = Attention(parameterization, v, start)
    optimizer = torch.optim.SGD(model.parameters(), lr=LR)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = functional.softplus(-Y * model(X, Z)).mean()
        loss.backward()
        for parameter in model.parameters():
            parameter.grad /= parameter.grad.norm()
        optimizer.step()
    return model.weights().detach()
