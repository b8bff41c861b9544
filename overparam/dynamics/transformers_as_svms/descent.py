"""One layer of attention, and normalized gradient descent on its weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from overparam.core import checks

PARAMETERIZATIONS = ("W", "KQ")

Direction = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def attention_data(
    runs: int,
    n: int,
    T: int,
    d: int,
    *,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float64,
) -> tuple[
    Float[Tensor, "{runs} {n} {T} {d}"],
    Float[Tensor, "{runs} {n} {d}"],
    Float[Tensor, "{runs} {d}"],
    Float[Tensor, "{runs} {n}"],
]:
    r"""Random datasets: tokens X, queries Z and a head v of unit norm in uniform directions, labels Y of :math:`\pm1`.

    Parameters
    ----------
    runs
        Independent datasets.
    n, T, d
        Inputs of a dataset, tokens of an input, coordinates of a token.

    Returns
    -------
    X (runs, n, T, d), Z (runs, n, d), v (runs, d) and Y (runs, n), all of ``dtype``.

    Raises
    ------
    ValueError
        If ``T`` is below 2 or another size below 1.
    """
    checks.integer(1, runs=runs, n=n, d=d)
    checks.integer(2, T=T)
    shapes = (runs, n, T, d), (runs, n, d), (runs, d)
    X, Z, v = (functional.normalize(torch.randn(s, generator=generator, dtype=dtype), dim=-1) for s in shapes)
    Y = 2 * torch.randint(2, (runs, n), generator=generator).to(dtype) - 1
    return X, Z, v, Y


def token_scores(
    X: Float[Tensor, "runs n T d"], v: Float[Tensor, "runs d"], Y: Float[Tensor, "runs n"]
) -> Float[Tensor, "runs n T"]:
    r"""The score :math:`\gamma_{it} = Y_i\, v^\top x_{it}`: what a token contributes to the right answer."""
    return Y[..., None] * (X @ v[:, None, :, None])[..., 0]


def attention(
    W: Float[Tensor, "*k runs d d"], X: Float[Tensor, "runs n T d"], Z: Float[Tensor, "runs n d"]
) -> Float[Tensor, "*k runs n T"]:
    r"""The attention that the query pays to each token, :math:`s_i = \operatorname{softmax}(X_i W z_i)`.

    Raises
    ------
    ValueError
        If ``W`` is not d x d.
    """
    return _logits(W, X, Z).softmax(-1)


def attention_loss(
    W: Float[Tensor, "*k runs d d"],
    X: Float[Tensor, "runs n T d"],
    Z: Float[Tensor, "runs n d"],
    scores: Float[Tensor, "runs n T"],
) -> Float[Tensor, "*k runs"]:
    r"""The logistic loss :math:`\frac1n \sum_i \log(1 + \exp(-s_i^\top \gamma_i))` of each run.

    Raises
    ------
    ValueError
        If ``W`` is not d x d.
    """
    return functional.softplus(-(attention(W, X, Z) * scores).sum(-1)).mean(-1)


def _logits(W: Tensor, X: Tensor, Z: Tensor) -> Tensor:
    d = X.shape[-1]
    if W.ndim < 2 or W.shape[-2:] != (d, d):
        raise ValueError(f"W must be {d} x {d} for tokens of {d} coordinates, got shape {tuple(W.shape)}")
    # First W z, which is T times smaller than X W.
    return (X @ (Z @ W.mT)[..., None])[..., 0]


def gradient_direction(
    W: Float[Tensor, "runs d d"],
    X: Float[Tensor, "runs n T d"],
    Z: Float[Tensor, "runs n d"],
    scores: Float[Tensor, "runs n T"],
) -> Float[Tensor, "runs d d"]:
    r"""The gradient of the loss divided by its Frobenius norm, exact however small the gradient is.

    With the margin :math:`m = s^\top \gamma` and the logistic function :math:`\sigma`, the gradient in the logits of
    one input is

    .. math:: -\sigma(-m)\, s_t (\gamma_t - m) = -\sigma(-m) \sum_\tau s_t s_\tau (\gamma_t - \gamma_\tau).

    On the left, :math:`\gamma_t - m` of the selected token is a difference of numbers of size 1 that vanishes with
    the attention to all others: below 1e-16 it is rounding. On the right nothing cancels. The logarithms of
    :math:`\sigma(-m) s_t s_\tau` are taken and the largest of the run is subtracted before exponentiating, so that
    nothing underflows either; the scale that is lost is the one that the normalization takes out.

    Returns
    -------
    One matrix a run; zero for a run in which all tokens of each input have the same score.

    Raises
    ------
    ValueError
        If ``W`` is not d x d.
    """
    log_s = _logits(W, X, Z).log_softmax(-1)
    margin = (log_s.exp() * scores).sum(-1)
    gap = scores[..., :, None] - scores[..., None, :]
    log_weighted = log_s + functional.logsigmoid(-margin)[..., None]
    log_pair = log_s[..., :, None] + log_weighted[..., None, :]
    # A pair of equal scores has no pull, and must not set the scale of the others.
    log_pair = log_pair.masked_fill(gap == 0, -math.inf)
    largest = log_pair.amax((-3, -2, -1), keepdim=True).clamp(min=torch.finfo(W.dtype).min)
    in_logits = -(gap * (log_pair - largest).exp()).sum(-1)
    return _unit(_pull_back(in_logits, X, Z))


def naive_direction(
    W: Float[Tensor, "runs d d"],
    X: Float[Tensor, "runs n T d"],
    Z: Float[Tensor, "runs n d"],
    scores: Float[Tensor, "runs n T"],
) -> Float[Tensor, "runs d d"]:
    r"""The textbook gradient :math:`-\sigma(-m)\, s_t (\gamma_t - m)`, normalized: what autograd computes.

    It is here to be compared with :func:`gradient_direction`, whose formula it equals and whose digits it loses.

    Raises
    ------
    ValueError
        If ``W`` is not d x d.
    """
    s = attention(W, X, Z)
    margin = (s * scores).sum(-1, keepdim=True)
    return _unit(_pull_back(-torch.sigmoid(-margin) * s * (scores - margin), X, Z))


def _pull_back(in_logits: Tensor, X: Tensor, Z: Tensor) -> Tensor:
    r"""From gradients in the logits to one in W: the sum of :math:`X_i^\top g_i z_i^\top` over the inputs."""
    return (in_logits[..., None, :] @ X)[..., 0, :].mT @ Z


def _unit(G: Tensor) -> Tensor:
    return G / torch.linalg.matrix_norm(G, keepdim=True).clamp(min=torch.finfo(G.dtype).tiny)


@dataclass(frozen=True)
class Path:
    """A batch of training runs: the recorded ``steps``, counted from 1, and W after each of them."""

    steps: Int[Tensor, " k"]
    W: Float[Tensor, "k runs d d"]


def normalized_gd(
    X: Float[Tensor, "runs n T d"],
    Z: Float[Tensor, "runs n d"],
    scores: Float[Tensor, "runs n T"],
    *,
    parameterization: str = "W",
    steps: int,
    lr: float = 0.1,
    init_scale: float = 0.0,
    head_dim: int | None = None,
    generator: torch.Generator | None = None,
    record_every: int | None = None,
    direction: Direction = gradient_direction,
) -> Path:
    r"""Normalized gradient descent on the attention weights, all runs as one batch.

    With G the gradient in W, one step is :math:`W \leftarrow W - \eta\, G / \|G\|_F`, or, with
    :math:`W = K Q^\top`, :math:`K \leftarrow K - \eta\, GQ / \|GQ\|_F` and
    :math:`Q \leftarrow Q - \eta\, G^\top K / \|G^\top K\|_F`, both from the old K and Q.

    Parameters
    ----------
    X, Z, scores
        Tokens, queries and token scores of each run.
    parameterization
        "W" or "KQ".
    steps, lr
        The number of steps and their length :math:`\eta`.
    init_scale
        Standard deviation of the Gaussian start. "W" may start from 0; for "KQ" zero is a saddle.
    head_dim
        Columns of K and Q, d if None; "W" has none.
    generator
        CPU generator of the start. It serves one run after the other, so that the first runs of a batch start alike
        however many follow.
    record_every
        Record every so many steps and the last; None records the last only.
    direction
        The normalized gradient in W; :func:`naive_direction` shows what rounding does to it.

    Raises
    ------
    ValueError
        If the parameterization is unknown, a number is out of its range, or the shapes do not fit.

    References
    ----------
    Ataee Tarzanagh et al. (2023), experiments; their repository's README has both updates.
    """
    checks.one_of(PARAMETERIZATIONS, parameterization=parameterization)
    checks.integer(1, steps=steps)
    checks.positive(lr=lr)
    checks.non_negative(init_scale=init_scale)
    if parameterization == "KQ" and init_scale == 0:
        raise ValueError(f"init_scale must be positive for KQ, whose zero is a saddle, got {init_scale!r}")
    _check_problem(X, Z, scores)
    d = X.shape[-1]
    record_every = steps if record_every is None else record_every
    columns = d if head_dim is None else head_dim
    checks.integer(1, record_every=record_every, head_dim=columns)

    def start(*shape: int) -> Tensor:
        drawn = [torch.randn(shape, generator=generator, dtype=X.dtype) for _ in range(len(X))]
        return init_scale * torch.stack(drawn).to(X.device)

    factored = parameterization == "KQ"
    if factored:
        K, Q = start(2, d, columns).unbind(1)
        W = K @ Q.mT
    else:
        W = start(d, d) if init_scale else X.new_zeros(len(X), d, d)
        K = Q = W  # not read
    times, recorded = [], []
    for step in range(1, steps + 1):
        G = direction(W, X, Z, scores)
        if factored:
            K, Q = K - lr * _unit(G @ Q), Q - lr * _unit(G.mT @ K)
            W = K @ Q.mT
        else:
            W = W - lr * G
        if step % record_every == 0 or step == steps:
            times.append(step)
            recorded.append(W)
    return Path(torch.tensor(times, device=X.device), torch.stack(recorded))


def _check_problem(X: Tensor, Z: Tensor, scores: Tensor) -> None:
    if X.ndim != 4 or 0 in X.shape or X.shape[2] < 2:
        raise ValueError(f"X must be (runs, n, T, d) with T at least 2, got shape {tuple(X.shape)}")
    runs, n, T, d = X.shape
    if Z.shape != (runs, n, d) or scores.shape != (runs, n, T):
        shapes = f"{tuple(Z.shape)} and {tuple(scores.shape)}"
        raise ValueError(f"Z and scores must be {(runs, n, d)} and {(runs, n, T)}, got {shapes}")
