"""Prefix learning as a theorem needs it: one attention layer whose m prefix vectors are trained by gradient descent."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from overparam.core import checks


def paired_init(
    m: int, d: int, *, generator: torch.Generator | None = None, dtype: torch.dtype = torch.float64
) -> tuple[Float[Tensor, "{m} {d}"], Float[Tensor, " {m}"]]:
    r"""Prefix vectors in pairs of opposite sign.

    With :math:`w_{r+m/2} = w_r \sim N(0, I)` and :math:`a_{r+m/2} = -a_r = \pm 1` the model is 0 on every input.

    Parameters
    ----------
    m, d
        Number and dimension of the vectors, m even.
    generator
        CPU generator, of the vectors first and then of the signs.

    Returns
    -------
    W and a, on the CPU.

    Raises
    ------
    ValueError
        If m is odd or below 2, or d below 1.
    """
    checks.integer(2, m=m)
    checks.integer(1, d=d)
    if m % 2:
        raise ValueError(f"m must be even to make pairs, got {m}")
    W = torch.randn(m // 2, d, generator=generator, dtype=dtype)
    a = 2 * torch.randint(2, (m // 2,), generator=generator).to(dtype) - 1
    return torch.cat([W, W]), torch.cat([a, -a])


def prefix_model(W: Float[Tensor, "m d"], a: Float[Tensor, " m"], X: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    r"""Attention of each input over the prefix alone, whose vectors are keys and signed values.

    .. math:: F(W, x) = m \sum_r \operatorname{softmax}(W x)_r\, a_r w_r

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    _check_model(W, a, X)
    return _model(W, a, (X @ W.mT).softmax(-1))


def prefix_ntk(W: Float[Tensor, "m d"], a: Float[Tensor, " m"], X: Float[Tensor, "n d"]) -> Float[Tensor, "nd nd"]:
    r"""The neural tangent kernel :math:`K = J J^\top`, with J the Jacobian of all outputs in W.

    With :math:`s = \operatorname{softmax}(W x_i)`, and :math:`F_{ij}` output j on input i,

    .. math:: \frac{\partial F_{ij}}{\partial w_r} = m s_r \big(a_r e_j + (a_r w_{rj} - F_{ij} / m)\, x_i\big).

    Returns
    -------
    K, of which row ``i * d + j`` belongs to output j on input i.

    Raises
    ------
    ValueError
        If the shapes do not fit.
    """
    _check_model(W, a, X)
    (m, d), s = W.shape, (X @ W.mT).softmax(-1)
    as_value = a[:, None, None] * torch.eye(d, dtype=W.dtype, device=W.device)  # (m, j, e_j)
    as_key = a[:, None] * W - _model(W, a, s)[:, None] / m  # (n, m, j)
    J = m * s[:, :, None, None] * (as_value + as_key[..., None] * X[:, None, None, :])
    J = J.transpose(1, 2).reshape(len(X) * d, m * d)
    return J @ J.mT


def train_prefix(
    W: Float[Tensor, "m d"],
    a: Float[Tensor, " m"],
    X: Float[Tensor, "n d"],
    Y: Float[Tensor, "n d"],
    *,
    steps: int,
    eta: float,
) -> tuple[Float[Tensor, "m d"], Float[Tensor, " times"]]:
    r"""Gradient descent in W on :math:`\frac12 \sum_i \|F(W, x_i) - y_i\|^2`; the signs a stay.

    A vector is moved twice by an input with error :math:`e_i`, as a value and as a key:

    .. math:: \nabla_{w_r} = m \sum_i \Big(a_r s_r e_i + s_r \big(c_r - \textstyle\sum_q s_q c_q\big) x_i\Big),
        \qquad s = \operatorname{softmax}(W x_i), \quad c_r = a_r \langle e_i, w_r\rangle.

    Parameters
    ----------
    W, a
        The start, not changed in place.
    X, Y
        Inputs and targets.
    steps, eta
        Number of steps, and the step size; up to 1 over the largest eigenvalue of the kernel is stable.

    Returns
    -------
    The trained W, and the ``steps + 1`` losses: before every step, and after the last.

    Raises
    ------
    ValueError
        If ``steps`` is below 1, ``eta`` not positive and finite, or the shapes do not fit.
    """
    checks.integer(1, steps=steps)
    checks.positive(eta=eta)
    _check_model(W, a, X)
    if Y.shape != X.shape:
        raise ValueError(f"Y must be as X, {tuple(X.shape)}, got {tuple(Y.shape)}")
    m, losses = len(W), []
    for step in range(steps + 1):
        s = (X @ W.mT).softmax(-1)
        error = _model(W, a, s) - Y
        losses.append(error.square().sum() / 2)
        if step < steps:
            c = a * (error @ W.mT)
            as_key = s * (c - (s * c).sum(-1, keepdim=True))
            W = W - eta * m * ((a * s).mT @ error + as_key.mT @ X)
    return W, torch.stack(losses)


def _model(W: Tensor, a: Tensor, s: Tensor) -> Tensor:
    return len(W) * (a * s) @ W


def _check_model(W: Tensor, a: Tensor, X: Tensor) -> None:
    if W.ndim != 2 or X.ndim != 2 or a.shape != W.shape[:1] or W.shape[1] != X.shape[1]:
        raise ValueError(
            f"W, a and X must be (m, d), (m,) and (n, d), got {tuple(W.shape)}, {tuple(a.shape)} and {tuple(X.shape)}"
        )
