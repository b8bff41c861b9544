"""NTK-Attention's two sums, against torch's attention over the stored prefix, at the brief's middle length."""

from __future__ import annotations

from functools import partial

import torch
from torch.nn import functional

from overparam.core import compute
from overparam.dynamics import infinite_prefix as ip

HEADS, QUERIES, D, M = 4, 64, 32, 4096


def problem(d, m, dtype):
    """q, k and v, and a prefix's keys and values, per head."""
    generator = compute.generator(0)
    sizes = (QUERIES, QUERIES, QUERIES, m, m)
    return [0.3 * torch.randn(HEADS, size, d, generator=generator, dtype=dtype) for size in sizes]


def over_the_prefix(q, k, v, k_prefix, v_prefix):
    """As prefix tuning is written: the prefix is part of the cache."""
    keys, values = torch.cat([k_prefix, k], -2), torch.cat([v_prefix, v], -2)
    return functional.scaled_dot_product_attention(q, keys, values)


def test_ntk_attention_over_a_long_prefix(compare):
    # The same output, where the features are exact enough ...
    phi = partial(ip.taylor_features, degree=8)
    q, k, v, k_prefix, v_prefix = problem(4, M, torch.float64)
    sums = ip.compress_prefix(k_prefix, v_prefix, phi)
    torch.testing.assert_close(
        ip.ntk_attention(q, k, v, *sums, feature_map=phi), over_the_prefix(q, k, v, k_prefix, v_prefix)
    )
    # ... and the same work with the features that the layer learns with.
    q, k, v, k_prefix, v_prefix = problem(D, M, torch.float32)
    Z, k_sum = ip.compress_prefix(k_prefix, v_prefix)
    compare(
        lambda: [ip.ntk_attention(q, k, v, Z, k_sum) for _ in range(20)],
        lambda: [over_the_prefix(q, k, v, k_prefix, v_prefix) for _ in range(20)],
        target=15,
    )
