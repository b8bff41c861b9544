"""How the scales of an MLP go with its width, and what that decides."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from overparam.core import checks

#: Exponents closer than this are equal.
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Parametrization:
    r"""How an MLP of L hidden layers scales with its width n: the exponents a, b (L + 1 each) and c.

    Layer l multiplies by :math:`n^{-a_l} w^l`, the trainable :math:`w^l` starts at :math:`N(0, n^{-2 b_l})`, and
    SGD moves it at the rate :math:`\eta n^{-c}`.

    Raises
    ------
    ValueError
        If ``a`` and ``b`` differ in length or are shorter than 2, or an exponent is not finite.
    """

    a: tuple[float, ...]
    b: tuple[float, ...]
    c: float

    def __post_init__(self) -> None:
        if len(self.a) != len(self.b) or len(self.a) < 2:
            raise ValueError(f"a and b need one exponent a layer, at least 2 layers, got {self.a} and {self.b}")
        if bad := [z for z in (*self.a, *self.b, self.c) if not math.isfinite(z)]:
            raise ValueError(f"exponents must be finite, got {bad[0]!r}")


def standard(hidden: int, c: float = 0.0) -> Parametrization:
    """The standard parametrization: variance 1/fan-in, no multipliers, and a rate of order ``n**-c``."""
    checks.integer(1, hidden=hidden)
    return Parametrization((0.0,) * (hidden + 1), (0.0,) + (0.5,) * hidden, c)


def ntk(hidden: int) -> Parametrization:
    """The neural tangent parametrization: unit weights, the scale in the multipliers, a rate of order 1."""
    checks.integer(1, hidden=hidden)
    return Parametrization((0.0,) + (0.5,) * hidden, (0.0,) * (hidden + 1), 0.0)


def mup(hidden: int) -> Parametrization:
    """The maximal update parametrization: all weights of variance 1/n, the first layer up, the last down by √n."""
    checks.integer(1, hidden=hidden)
    return Parametrization((-0.5,) + (0.0,) * (hidden - 1) + (0.5,), (0.5,) * (hidden + 1), 0.0)


def mean_field() -> Parametrization:
    """The mean-field parametrization of one hidden layer: output divided by n, rate multiplied by n."""
    return Parametrization((0.0, 1.0), (0.0, 0.0), -1.0)


def shift(p: Parametrization, theta: float) -> Parametrization:
    r"""The same trained function written differently: :math:`a + \theta`, :math:`b - \theta`, :math:`c - 2\theta`."""
    return Parametrization(tuple(a + theta for a in p.a), tuple(b - theta for b in p.b), p.c - 2 * theta)


def feature_exponent(p: Parametrization) -> float:
    r"""The exponent r: after O(1) steps the last features have moved by :math:`\Theta(n^{-r})`.

    .. math:: r = \min(a_{L+1} + b_{L+1},\ 2 a_{L+1} + c) + c - 1 + \min_{l \le L}\,(2 a_l + [l = 1]).

    The first term is the size of the gradient that reaches the features, the second the layer that turns it into
    the largest change: a sum over n aligned coordinates for every layer but the first.
    """
    through_output = min(p.a[-1] + p.b[-1], 2 * p.a[-1] + p.c)
    return through_output + p.c - 1 + min([2 * p.a[0] + 1, *(2 * a for a in p.a[1:-1])])


def is_stable(p: Parametrization) -> bool:
    """Whether activations and logits are of order 1 at the start (logits at most) and stay bounded in training."""
    r, output = feature_exponent(p), p.a[-1] + p.b[-1]
    starts_at_one = _zero(p.a[0] + p.b[0]) and all(
        _zero(a + b - 0.5) for a, b in zip(p.a[1:-1], p.b[1:-1], strict=True)
    )
    at_least = (output - 0.5, r, 2 * p.a[-1] + p.c - 1, output + r - 1)
    return starts_at_one and min(at_least) >= -TOLERANCE


def is_nontrivial(p: Parametrization) -> bool:
    """Whether the parametrization is stable and its function moves by order 1 in O(1) steps."""
    moves = _zero(p.a[-1] + p.b[-1] + feature_exponent(p) - 1) or _zero(2 * p.a[-1] + p.c - 1)
    return is_stable(p) and moves


def classify(p: Parametrization) -> str:
    """The fate of the infinitely wide network: "unstable", "trivial", "kernel" or "feature learning".

    References
    ----------
    Yang & Hu (2021), the classification of abc-parametrizations and the dynamical dichotomy.
    """
    if not is_stable(p):
        return "unstable"
    if not is_nontrivial(p):
        return "trivial"
    return "feature learning" if _zero(feature_exponent(p)) else "kernel"


def _zero(exponent: float) -> bool:
    return abs(exponent) <= TOLERANCE


class ABCMLP(nn.Module):
    r"""An MLP without biases in any parametrization.

    :math:`h^1 = n^{-a_1} w^1 x / \sqrt{d_{in}}`, :math:`h^{l+1} = n^{-a_{l+1}} w^{l+1} \phi(h^l)`, and the logits
    are :math:`h^{L+1}`.

    Parameters
    ----------
    d_in, width, d_out
        Sizes of the input, of every hidden layer (n), and of the output.
    p
        The parametrization; it decides the number of layers.
    generator
        CPU generator of the standard normal draws, layer by layer; the exponents only scale them, so that one seed
        is one network in every parametrization.
    activation
        :math:`\phi`, elementwise.
    """

    def __init__(
        self,
        d_in: int,
        width: int,
        d_out: int,
        p: Parametrization,
        *,
        generator: torch.Generator | None = None,
        activation: Callable[[Tensor], Tensor] = torch.tanh,
        dtype: torch.dtype = torch.float64,
    ) -> None:
        super().__init__()
        checks.integer(1, d_in=d_in, width=width, d_out=d_out)
        self.p, self.width, self.activation = p, width, activation
        sizes = pairwise([d_in, *[width] * (len(p.a) - 1), d_out])
        draws = (torch.randn(out, fan_in, generator=generator, dtype=dtype) for fan_in, out in sizes)
        self.w = nn.ParameterList(width**-b * draw for b, draw in zip(p.b, draws, strict=True))

    def preactivations(self, x: Float[Tensor, "n d"]) -> list[Float[Tensor, "n _"]]:
        """All preactivations from the first hidden layer to the logits, one tensor a layer."""
        d_in = self.w[0].shape[1]
        if x.ndim != 2 or x.shape[1] != d_in:
            raise ValueError(f"x must have shape (n, {d_in}), got {tuple(x.shape)}")
        scales = [self.width**-a for a in self.p.a]
        layers = [scales[0] / math.sqrt(d_in) * (x @ self.w[0].mT)]
        for scale, w in zip(scales[1:], self.w[1:], strict=True):
            layers.append(scale * (self.activation(layers[-1]) @ w.mT))
        return layers

    def forward(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n c"]:
        """Logits."""
        return self.preactivations(x)[-1]

    def learning_rate(self, eta: float) -> float:
        r"""The rate :math:`\eta n^{-c}` that the parametrization asks of SGD."""
        return eta * self.width**-self.p.c


def sgd(model: ABCMLP, x: Float[Tensor, "n d"], y: Float[Tensor, "n c"], *, eta: float, steps: int) -> list[float]:
    r"""Full-batch gradient descent on the mean of :math:`\frac12 \|f(x) - y\|^2` over the examples, in place.

    Returns
    -------
    The losses before each step.

    Raises
    ------
    ValueError
        If ``eta`` or ``steps`` is not positive, or the shapes do not fit.
    """
    checks.positive(eta=eta)
    checks.integer(1, steps=steps)
    expected = (len(x), model.w[-1].shape[0])
    if y.shape != expected:
        raise ValueError(f"y must have shape {expected}, got {tuple(y.shape)}")
    weights, rate, losses = list(model.w), model.learning_rate(eta), []
    for _ in range(steps):
        loss = (model(x) - y).square().sum(1).mean() / 2
        losses.append(loss.item())
        with torch.no_grad():
            for w, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
                w.sub_(gradient, alpha=rate)
    return losses
