"""All dimensions at once against one after the other, and the fast transform against the dense product."""

from __future__ import annotations

from itertools import pairwise

import torch
from scipy.linalg import hadamard
from torch.nn import functional

from overparam.core import compute
from overparam.generalization import intrinsic_dimension as intrinsic


def test_training_in_nested_subspaces(compare):
    config = intrinsic.Config()
    sizes = config.sizes(config.method_width)
    (x, y), _ = intrinsic.load_data(config, 0)
    theta0 = intrinsic.init_flat(sizes, compute.generator(1))

    def ours(steps=100):
        options = {"steps": steps, "lr": config.lr, "batch": config.batch, "theta0": theta0}
        return intrinsic.train_subspace(sizes, x, y, config.dims, **options, generator=compute.generator(2))

    def peer(steps=100):
        generator = compute.generator(2)
        P = torch.randn(len(theta0), config.dims[-1], generator=generator)
        P, state = P / P.norm(dim=0), generator.get_state()
        thetas = []
        for d in config.dims:
            generator.set_state(state)  # the same minibatches for all
            train = one_subspace(sizes, x, y, theta0, P[:, :d].contiguous(), config, generator)
            thetas.append(train(steps))
        return torch.stack(thetas)

    # Adam magnifies rounding step by step, so agreement is asked for after a few.
    torch.testing.assert_close(ours(10), peer(10), rtol=1e-3, atol=1e-3)
    compare(ours, peer, target=3)


def one_subspace(sizes, x, y, theta0, P, config, generator):
    """Subspace training of one network, as one writes it for one dimension."""
    v = torch.zeros(P.shape[1], requires_grad=True)
    shapes = [shape for fan_in, fan_out in pairwise(sizes) for shape in ((fan_out, fan_in), (fan_out,))]
    counts = [torch.Size(shape).numel() for shape in shapes]
    optimizer = torch.optim.Adam([v], lr=config.lr)

    def train(steps):
        for _ in range(steps):
            seen = torch.randint(len(x), (config.batch,), generator=generator)
            parts = [part.view(shape) for part, shape in zip((theta0 + P @ v).split(counts), shapes, strict=True)]
            hidden = functional.linear(x[seen], *parts[:2])
            hidden = functional.linear(hidden.relu(), *parts[2:4])
            logits = functional.linear(hidden.relu(), *parts[4:])
            optimizer.zero_grad()
            functional.cross_entropy(logits, y[seen]).backward()
            optimizer.step()
        return (theta0 + P @ v).detach()

    return train


def test_fast_walsh_hadamard(compare):
    x = torch.randn(9, 4096, generator=compute.generator(0), dtype=torch.float64)
    H = torch.as_tensor(hadamard(4096), dtype=x.dtype)

    def ours():
        return intrinsic.fast_walsh_hadamard(x)

    def peer():
        return x @ H

    torch.testing.assert_close(ours(), peer(), rtol=0, atol=1e-10)
    compare(ours, peer, target=20, rounds=20)


def test_fastfood_product(compare):
    # The brief's target is one of memory, which a unit test holds; this is what the product costs.
    D, d = 26_122, 1000
    fastfood = intrinsic.project("fastfood", D, d, compute.generator(0))
    P = fastfood.matrix().contiguous()
    v = torch.randn(d, generator=compute.generator(1))

    def ours():
        return fastfood(v)

    def peer():
        return P @ v

    torch.testing.assert_close(ours(), peer(), rtol=1e-4, atol=1e-4)
    compare(ours, peer, target=1, rounds=20)
