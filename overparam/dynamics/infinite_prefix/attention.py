"""Attention over a prefix, and the same with the prefix replaced by two sums."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from itertools import combinations_with_replacement, pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from overparam.core import checks
from overparam.core.progress import track

FeatureMap = Callable[[Tensor], Tensor]


# --- Feature maps -----------------------------------------------------------------------------------------------


def elu_features(x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
    r"""The paper's features :math:`\phi(x) = \operatorname{elu}(x / d^{1/4}) + 1`: positive, and d of them.

    :math:`\phi(q) \cdot \phi(k)` is no approximation of :math:`\exp(q \cdot k / \sqrt d)`. What stands for the
    prefix, Z and k, is therefore learned with these features, not computed.

    References
    ----------
    Katharopoulos et al., Transformers are RNNs, ICML 2020, for elu + 1; the division is that of the official code.
    """
    return functional.elu(x / x.shape[-1] ** 0.25) + 1


def taylor_features(x: Float[Tensor, "*batch d"], degree: int) -> Float[Tensor, "*batch r"]:
    r"""All monomials of :math:`x / d^{1/4}` up to a degree g, each over :math:`\sqrt{\alpha!}`.

    With the multi-index :math:`\alpha`, the feature :math:`\prod_i x_i^{\alpha_i} / \sqrt{\alpha!}` of the scaled
    x appears once, so that by the multinomial theorem

    .. math:: \phi(q) \cdot \phi(k) = \sum_{j \le g} t^j / j!, \qquad t = q \cdot k / \sqrt d.

    Parameters
    ----------
    x
        Queries or keys.
    degree
        g, at least 0; there are :math:`\binom{d + g}{g}` features, by degree.

    Raises
    ------
    ValueError
        If ``degree`` is negative.

    References
    ----------
    Alman & Song, Fast Attention Requires Bounded Entries, NeurIPS 2023, who use the features in a proof.
    """
    checks.integer(0, degree=degree)
    scaled = x / x.shape[-1] ** 0.25
    levels = [torch.ones_like(x[..., :1])]
    steps, norm = _monomials(x.shape[-1], degree)
    for parents, variables in steps:
        levels.append(levels[-1][..., parents.to(x.device)] * scaled[..., variables.to(x.device)])
    return torch.cat(levels, -1) / norm.to(x)


@cache
def _monomials(d: int, degree: int) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
    """How each degree's monomials follow from the last one's, as (parent, variable) indices; and sqrt(alpha!)."""
    levels = [list(combinations_with_replacement(range(d), g)) for g in range(degree + 1)]
    steps = []
    for lower, upper in pairwise(levels):
        place = {monomial: i for i, monomial in enumerate(lower)}
        parents = torch.tensor([place[monomial[:-1]] for monomial in upper])
        steps.append((parents, torch.tensor([monomial[-1] for monomial in upper])))
    powers = [math.prod(math.factorial(m.count(i)) for i in set(m)) for level in levels for m in level]
    return steps, torch.tensor(powers, dtype=torch.float64).sqrt()


# --- Attention --------------------------------------------------------------------------------------------------


def prefix_attention(
    q: Float[Tensor, "*bq n_q d"],
    k: Float[Tensor, "*bk n_k d"],
    v: Float[Tensor, "*bv n_k e"],
    k_prefix: Float[Tensor, "*bkp m d"],
    v_prefix: Float[Tensor, "*bvp m e"],
    *,
    causal: bool = False,
) -> Float[Tensor, "*b n_q e"]:
    r"""Softmax attention over m prefix positions and the input.

    .. math:: \operatorname{softmax}\big([q K_P^\top, q k^\top] / \sqrt d\big)\, [V_P; v]

    Parameters
    ----------
    q, k, v
        Queries, keys and values of the input; batch and head dimensions broadcast.
    k_prefix, v_prefix
        :math:`K_P, V_P`, the prefix.
    causal
        Query i sees the inputs up to ``i + n_k - n_q``; all of the prefix is visible to every query.

    Raises
    ------
    ValueError
        If the shapes do not fit, or ``causal`` with more queries than keys.
    """
    _check_inputs(q, k, v, causal)
    _check_prefix(k_prefix, v_prefix)
    if k_prefix.shape[-1] != k.shape[-1] or v_prefix.shape[-1] != v.shape[-1]:
        raise ValueError(
            f"the prefix must have keys and values as wide as the input's {tuple(k.shape)} and {tuple(v.shape)}, "
            f"got {tuple(k_prefix.shape)} and {tuple(v_prefix.shape)}"
        )
    _check_batches(q=q, k=k, v=v, k_prefix=k_prefix, v_prefix=v_prefix)
    before = q @ k_prefix.mT / math.sqrt(q.shape[-1])
    own = _logits(q, k, causal)
    batch = torch.broadcast_shapes(before.shape[:-2], own.shape[:-2])
    logits = torch.cat([z.expand(*batch, *z.shape[-2:]) for z in (before, own)], -1)
    on_prefix, on_input = logits.softmax(-1).split([before.shape[-1], own.shape[-1]], -1)
    return on_prefix @ v_prefix + on_input @ v


def compress_prefix(
    k_prefix: Float[Tensor, "*bk m d"], v_prefix: Float[Tensor, "*bv m e"], feature_map: FeatureMap = elu_features
) -> tuple[Float[Tensor, "*b r e"], Float[Tensor, "*bk r 1"]]:
    r"""A prefix of any length as two sums over its positions.

    .. math:: Z = \sum_i \phi(K_{P,i})\, V_{P,i}^\top, \qquad k = \sum_i \phi(K_{P,i})

    Returns
    -------
    Z and k, for :func:`ntk_attention` with the same feature map.

    Raises
    ------
    ValueError
        If there are not as many keys as values, or their batch dimensions do not broadcast.
    """
    _check_prefix(k_prefix, v_prefix)
    _check_batches(k_prefix=k_prefix, v_prefix=v_prefix)
    features = feature_map(k_prefix)
    return features.mT @ v_prefix, features.sum(-2)[..., None]


def ntk_attention(
    q: Float[Tensor, "*bq n_q d"],
    k: Float[Tensor, "*bk n_k d"],
    v: Float[Tensor, "*bv n_k e"],
    Z: Float[Tensor, "*bz r e"],
    k_sum: Float[Tensor, "*bs r 1"],
    *,
    feature_map: FeatureMap = elu_features,
    causal: bool = False,
) -> Float[Tensor, "*b n_q e"]:
    r"""Attention whose prefix is Z and k.

    .. math:: \frac{A v + \phi(q) Z}{A 1 + \phi(q) k}, \qquad A = \exp(q k^\top / \sqrt d)

    It is :func:`prefix_attention` where :math:`\phi(q) \cdot \phi(k') = \exp(q \cdot k' / \sqrt d)` and Z, k come
    from :func:`compress_prefix`.

    Parameters
    ----------
    q, k, v, causal
        As for :func:`prefix_attention`, with at least one key.
    Z, k_sum
        What stands for the prefix, used as given: a denominator of 0 or below is the caller's to prevent.
    feature_map
        :math:`\phi`, from (..., d) to (..., r).

    Raises
    ------
    ValueError
        If the shapes do not fit, or ``causal`` with more queries than keys.

    References
    ----------
    Liang, Shi, Song & Yang (2025), Algorithm "NTK-Attention".
    """
    _check_inputs(q, k, v, causal)
    if not k.shape[-2]:
        raise ValueError(f"the input must have a key, got k of shape {tuple(k.shape)}")
    phi = feature_map(q)
    for name, z, width in (("Z", Z, v.shape[-1]), ("k_sum", k_sum, 1)):
        if z.ndim < 2 or z.shape[-2:] != (phi.shape[-1], width):
            raise ValueError(f"{name} must be (..., {phi.shape[-1]}, {width}) for these features, got {tuple(z.shape)}")
    _check_batches(q=q, k=k, v=v, Z=Z, k_sum=k_sum)
    logits = _logits(q, k, causal)
    # Both sums are divided by exp(M), which cancels. Without the 0, exp(-M) would overflow where all logits are low.
    M = logits.detach().amax(-1, keepdim=True).clamp(min=0)
    A, phi = (logits - M).exp(), phi * (-M).exp()
    return (A @ v + phi @ Z) / (A.sum(-1, keepdim=True) + phi @ k_sum)


def learn_compression(
    q: Float[Tensor, "s n d"],
    k: Float[Tensor, "s n_k d"],
    v: Float[Tensor, "s n_k e"],
    targets: Float[Tensor, "lengths s n e"],
    lengths: Sequence[int],
    *,
    steps: int,
    lr: float,
    progress: bool = False,
) -> tuple[Float[Tensor, "lengths 1 d e"], Float[Tensor, "lengths 1 d 1"]]:
    r"""Z and k with ELU features, learned by Adam to reproduce the outputs of attention over prefixes.

    With m positions both sums are of order m, so :math:`Z = m \hat Z` and :math:`k = \exp(l)` are written in
    numbers of order one, from :math:`\hat Z = 0` and :math:`l = \log(m / d)`; k stays positive that way. All lengths
    train in one batch, each on its own relative squared error.

    Parameters
    ----------
    q, k, v
        Queries, keys and values of s sequences.
    targets
        The outputs to reproduce, for every length.
    lengths
        m, the numbers of positions that the targets come from.
    steps, lr
        Steps of Adam on all sequences, and its rate.
    progress
        Show a bar.

    Returns
    -------
    Z and k for every length, to broadcast over sequences.

    Raises
    ------
    ValueError
        If a length or ``steps`` is below 1, ``lr`` not positive and finite, or the targets are not one for each length.
    """
    checks.integer(1, steps=steps)
    checks.positive(lr=lr)
    for m in lengths:
        checks.integer(1, lengths=m)
    if len(targets) != len(lengths):
        raise ValueError(f"there must be targets for each of the {len(lengths)} lengths, got {len(targets)}")
    m = torch.tensor(lengths, device=q.device, dtype=q.dtype)[:, None, None, None]
    Z_hat = q.new_zeros(len(lengths), 1, q.shape[-1], v.shape[-1], requires_grad=True)
    log_k = (m / q.shape[-1]).log().repeat(1, 1, q.shape[-1], 1).requires_grad_()
    optimizer = torch.optim.Adam([Z_hat, log_k], lr=lr)
    size = targets.square().sum((1, 2, 3))
    for _ in track(range(steps), progress, "learning Z and k"):
        optimizer.zero_grad()
        errors = ntk_attention(q, k, v, m * Z_hat, log_k.exp()) - targets
        (errors.square().sum((1, 2, 3)) / size).sum().backward()
        optimizer.step()
    return (m * Z_hat).detach(), log_k.detach().exp()


class NTKAttention(nn.Module):
    r"""The trainable layer: :func:`ntk_attention` with ELU features, :math:`Z` and :math:`|k|` learned per head.

    Parameters
    ----------
    head_dim
        d.
    heads
        Heads; queries, keys and values are (..., heads, n, d).
    k_init
        Every entry of k at the start, positive. At 0 its gradient would be 0 for ever, as :math:`|k|` has none there.

    Raises
    ------
    ValueError
        If a size is below 1 or ``k_init`` is not positive.

    References
    ----------
    The official code for :math:`|k|`; its start at 0 for vision transformers is deliberately not followed.
    """

    def __init__(self, head_dim: int, heads: int = 1, *, k_init: float = 0.02) -> None:
        super().__init__()
        checks.integer(1, head_dim=head_dim, heads=heads)
        checks.positive(k_init=k_init)
        self.Z = nn.Parameter(torch.zeros(heads, head_dim, head_dim))
        self.k = nn.Parameter(torch.full((heads, head_dim, 1), float(k_init)))

    def forward(
        self,
        q: Float[Tensor, "*bq n_q d"],
        k: Float[Tensor, "*bk n_k d"],
        v: Float[Tensor, "*bv n_k d"],
        causal: bool = False,
    ) -> Float[Tensor, "*b n_q d"]:
        """Mix the values, with the learned prefix among the keys."""
        return ntk_attention(q, k, v, self.Z, self.k.abs(), causal=causal)


def _logits(q: Tensor, k: Tensor, causal: bool) -> Tensor:
    logits = q @ k.mT / math.sqrt(q.shape[-1])
    if not causal:
        return logits
    n_q, n_k = logits.shape[-2:]
    hidden = torch.ones(n_q, n_k, dtype=torch.bool, device=q.device).triu(n_k - n_q + 1)
    return logits.masked_fill(hidden, -math.inf)


def _check_inputs(q: Tensor, k: Tensor, v: Tensor, causal: bool) -> None:
    if min(q.ndim, k.ndim, v.ndim) < 2 or q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise ValueError(
            "q, k and v must be (..., n_q, d), (..., n_k, d) and (..., n_k, d_v), "
            f"got {tuple(q.shape)}, {tuple(k.shape)} and {tuple(v.shape)}"
        )
    if causal and q.shape[-2] > k.shape[-2]:
        raise ValueError(f"causal attention needs no more queries than keys, got {q.shape[-2]} and {k.shape[-2]}")


def _check_prefix(k_prefix: Tensor, v_prefix: Tensor) -> None:
    if min(k_prefix.ndim, v_prefix.ndim) < 2 or k_prefix.shape[-2] != v_prefix.shape[-2]:
        raise ValueError(
            "k_prefix and v_prefix must be (..., m, d) and (..., m, d_v), "
            f"got {tuple(k_prefix.shape)} and {tuple(v_prefix.shape)}"
        )


def _check_batches(**tensors: Tensor) -> None:
    try:
        torch.broadcast_shapes(*(z.shape[:-2] for z in tensors.values()))
    except RuntimeError:
        shapes = ", ".join(f"{name} {tuple(z.shape)}" for name, z in tensors.items())
        raise ValueError(f"batch and head dimensions must broadcast, got {shapes}") from None
