"""XOR clusters, a two-layer network, and gradient descent in the span of the data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from overparam.core import checks
from overparam.core.datasets import random_orthonormal

ACTIVATIONS = ("relu", "linear")


# --- The problem ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class XorData:
    r"""Samples of the XOR clusters.

    ``y`` are the observed labels, some flipped, and ``clean`` the true ones, both :math:`\pm 1` in the dtype of ``x``.
    ``cluster`` is 0, 1, 2, 3 for the centres :math:`+\mu_1, -\mu_1, +\mu_2, -\mu_2`; the rows of ``mu`` are
    :math:`\mu_1` and :math:`\mu_2`.
    """

    x: Float[Tensor, "n p"]
    y: Float[Tensor, " n"]
    clean: Float[Tensor, " n"]
    cluster: Int[Tensor, " n"]
    mu: Float[Tensor, "2 p"]

    def to(self, device: torch.device) -> XorData:
        """The same data on another device."""
        return XorData(*(z.to(device) for z in (self.x, self.y, self.clean, self.cluster, self.mu)))


def xor_clusters(
    n: int,
    p: int,
    mu_norm: float,
    noise: float,
    generator: torch.Generator,
    mu: Float[Tensor, "2 {p}"] | None = None,
    balanced: bool = False,
    dtype: torch.dtype = torch.float32,
) -> XorData:
    r"""Draw samples :math:`x = \text{centre} + N(0, I_p)`, and flip a share of their labels.

    The clean label is :math:`+1` around :math:`\pm\mu_1` and :math:`-1` around :math:`\pm\mu_2`.

    Parameters
    ----------
    n, p
        Samples and dimensions.
    mu_norm
        The common norm of the two orthogonal means, in standard deviations of a coordinate.
    noise
        The probability with which a label is flipped, in [0, 0.5).
    generator
        CPU generator.
    mu
        The means of earlier data, for a test set; ``mu_norm`` is then not used. None draws their directions.
    balanced
        True draws exactly n/4 samples a cluster (the first ones get what is left over) and flips exactly
        ``round(noise * n_k)`` of the n_k in each; False draws both independently, as the paper does.
    dtype
        Of ``x`` and the labels.

    Raises
    ------
    ValueError
        If ``n < 1``, ``p < 2``, ``mu_norm`` is not positive, ``noise`` lies outside [0, 0.5), or ``mu`` is not 2 x p.
    """
    checks.integer(1, n=n)
    checks.integer(2, p=p)
    checks.positive(mu_norm=mu_norm)
    check_noise(noise)
    if mu is not None and mu.shape != (2, p):
        raise ValueError(f"mu must be two means of dimension {p}, got shape {tuple(mu.shape)}")
    x = torch.randn(n, p, generator=generator, dtype=dtype)
    order = torch.rand(n, generator=generator, dtype=torch.float64)
    luck = torch.rand(n, generator=generator, dtype=torch.float64)
    if balanced:
        cluster = order.argsort().argsort() % 4
        flipped = torch.zeros(n, dtype=torch.bool)
        for k in range(4):
            members = torch.nonzero(cluster == k).flatten()
            flipped[members[luck[members].argsort()[: round(noise * len(members))]]] = True
    else:
        cluster, flipped = (4 * order).long(), luck < noise
    if mu is None:
        mu = mu_norm * random_orthonormal(p, 2, generator=generator).mT
    mu = mu.to(x)
    side = (1 - 2 * (cluster % 2)).to(x)
    x += side[:, None] * mu[cluster // 2]
    clean = (1 - 2 * (cluster // 2)).to(x)
    return XorData(x, torch.where(flipped, -clean, clean), clean, cluster, mu)


def check_noise(noise: float) -> None:
    """Raise ``ValueError`` unless ``noise`` lies in [0, 0.5); at 0.5 the labels say nothing."""
    if not 0 <= noise < 0.5:
        raise ValueError(f"noise must lie in [0, 0.5), got {noise!r}")


def init_network(
    m: int,
    p: int,
    scale: float,
    generator: torch.Generator,
    symmetric: bool = False,
    dtype: torch.dtype = torch.float32,
) -> tuple[Float[Tensor, "{m} {p}"], Float[Tensor, " {m}"]]:
    r"""First-layer weights :math:`w_j \sim N(0, \text{scale}^2 I_p)` and fixed signs :math:`a_j = \pm 1/\sqrt m`.

    With ``symmetric`` the second half of the neurons copies the first with the opposite sign, so that the network
    starts as the zero function, whatever its scale.

    Raises
    ------
    ValueError
        If a size is below 1, ``scale`` is not positive, or ``m`` is odd and the start symmetric.
    """
    checks.integer(1, m=m, p=p)
    checks.positive(scale=scale)
    if symmetric and m % 2:
        raise ValueError(f"m must be even for a symmetric start, got {m}")
    drawn = m // 2 if symmetric else m
    W0 = scale * torch.randn(drawn, p, generator=generator, dtype=dtype)
    signs = 2 * torch.randint(2, (drawn,), generator=generator).to(W0) - 1
    if symmetric:
        W0, signs = torch.cat([W0, W0]), torch.cat([signs, -signs])
    return W0, signs / math.sqrt(m)


# --- Gradient descent in the span of the data -------------------------------------------------------------------


class Prepared(NamedTuple):
    """What a test set contributes to its outputs at every time: computed once, by :meth:`GramTrainer.prepare`."""

    start: Float[Tensor, "k m"]
    gram: Float[Tensor, "k n"]


class GramTrainer:
    r"""Full-batch gradient descent on the first layer of :math:`f(x) = \sum_j a_j\,\sigma(\langle w_j, x\rangle)`.

    The loss is the mean logistic loss :math:`\frac1n\sum_i\log(1 + e^{-y_i f(x_i)})`. Its gradient lies in the span of
    the samples, so that :math:`W_t = W_0 + C_t^\top X` at all times. With :math:`P = X W_0^\top` and
    :math:`G = X X^\top` the pre-activations on the training set are :math:`P + G C`, and one step is

    .. math:: C \leftarrow C + \frac{\eta}{n}\, (g \odot y)\, a^\top \odot 1[P + G C > 0],
              \qquad g_i = \frac{1}{1 + e^{y_i f(x_i)}}.

    It costs :math:`O(n^2 m)` instead of the :math:`O(n m p)` of a step on the weights, which are never formed, and
    it is the same step.

    Parameters
    ----------
    x, y
        The training set; labels are :math:`\pm 1`.
    W0, a
        The start and the fixed second layer (:func:`init_network`).
    step
        The step size :math:`\eta`.
    activation
        "relu", with derivative 0 at 0, or "linear", the identity.

    Attributes
    ----------
    t
        Steps taken.
    C
        The coefficients of the samples in the neurons' changes, (n, m).

    Raises
    ------
    ValueError
        If the shapes do not fit, a label is not :math:`\pm 1`, ``step`` is not positive or the activation unknown.
    """

    def __init__(
        self,
        x: Float[Tensor, "n p"],
        y: Float[Tensor, " n"],
        W0: Float[Tensor, "m p"],
        a: Float[Tensor, " m"],
        step: float,
        activation: str = "relu",
    ) -> None:
        checks.positive(step=step)
        checks.one_of(ACTIVATIONS, activation=activation)
        _check_training_set(x, y, W0, a)
        self.x, self.y, self.W0, self.a = x, y, W0, a
        self.step, self.activation = step, activation
        self.P, self.G = x @ W0.mT, x @ x.mT
        self.C = torch.zeros_like(self.P)
        self.t = 0

    def advance(self, steps: int = 1) -> GramTrainer:
        """Take some steps; returns the trainer itself.

        Raises
        ------
        ValueError
            If ``steps`` is negative.
        """
        checks.integer(0, steps=steps)
        for _ in range(steps):
            pre = self.P + self.G @ self.C
            pull = self.y * torch.sigmoid(-self.y * (self._activate(pre) @ self.a))
            gate = (pre > 0) if self.activation == "relu" else torch.ones_like(pre)
            self.C = self.C + (self.step / len(self.y)) * pull[:, None] * gate * self.a
        self.t += steps
        return self

    def train_output(self) -> Float[Tensor, " n"]:
        """The outputs f on the training set."""
        return self._activate(self.P + self.G @ self.C) @ self.a

    def prepare(self, x_test: Float[Tensor, "k p"]) -> Prepared:
        """The two products of a test set that every later :meth:`output` needs.

        They depend on the training set and the start alone, so that trainers which share both share them too.

        Raises
        ------
        ValueError
            If the test points have another dimension than the training points.
        """
        self._check_dimension("x_test", x_test)
        return Prepared(x_test @ self.W0.mT, x_test @ self.x.mT)

    def output(self, x_test: Float[Tensor, "k p"], cache: Prepared | None = None) -> Float[Tensor, " k"]:
        """The outputs f on test points; ``cache`` is what :meth:`prepare` has returned for the same points.

        Raises
        ------
        ValueError
            If the dimension differs from the training points', or the cache is of another number of points.
        """
        self._check_dimension("x_test", x_test)
        start, gram = self.prepare(x_test) if cache is None else cache
        if len(start) != len(x_test):
            raise ValueError(f"cache must be of {len(x_test)} test points, got {len(start)}")
        return self._activate(start + gram @ self.C) @ self.a

    def weights(self) -> Float[Tensor, "m p"]:
        """The weights W, formed on demand."""
        return self.W0 + self.C.mT @ self.x

    def alignment(self, mu: Float[Tensor, "k p"]) -> Float[Tensor, "m k"]:
        """The inner products of every neuron with every row of ``mu``, without forming the weights.

        Raises
        ------
        ValueError
            If the rows have another dimension than the training points.
        """
        self._check_dimension("mu", mu)
        return self.W0 @ mu.mT + self.C.mT @ (self.x @ mu.mT)

    def _activate(self, pre: Tensor) -> Tensor:
        return pre.relu() if self.activation == "relu" else pre

    def _check_dimension(self, name: str, points: Tensor) -> None:
        if points.ndim != 2 or points.shape[1] != self.x.shape[1]:
            raise ValueError(f"{name} must be rows of dimension {self.x.shape[1]}, got shape {tuple(points.shape)}")


def _check_training_set(x: Tensor, y: Tensor, W0: Tensor, a: Tensor) -> None:
    if x.ndim != 2 or not x.numel():
        raise ValueError(f"x must be a matrix (n, p) with entries, got shape {tuple(x.shape)}")
    if y.shape != x.shape[:1]:
        raise ValueError(f"y must be {len(x)} labels, got shape {tuple(y.shape)}")
    if W0.ndim != 2 or not W0.numel() or W0.shape[1] != x.shape[1]:
        raise ValueError(f"W0 must be neurons of dimension {x.shape[1]}, got shape {tuple(W0.shape)}")
    if a.shape != W0.shape[:1]:
        raise ValueError(f"a must be {len(W0)} signs, got shape {tuple(a.shape)}")
    if (bad := y[y.abs() != 1]).numel():
        raise ValueError(f"y must be labels -1 or 1, got {bad[0].item():g}")


# --- What to look at --------------------------------------------------------------------------------------------


def linear_direction(x: Float[Tensor, "n p"], y: Float[Tensor, " n"]) -> Float[Tensor, " p"]:
    r"""The classifier :math:`\sum_i y_i x_i` that a network from a vanishing start is a multiple of after one step."""
    return y @ x


def accuracy(output: Float[Tensor, " n"], labels: Float[Tensor, " n"]) -> float:
    """The share of outputs with their label's sign; a zero has none and counts as an error. NaN for no outputs."""
    return float((output * labels > 0).double().mean())


def own_mean_ratio(alignment: Float[Tensor, "*b m 2"], a: Float[Tensor, "*#b m"]) -> Float[Tensor, "*b"]:
    r"""How much more a neuron looks at the mean of its own class than at the other one.

    The mean over the neurons of :math:`|\langle w_j, \mu_\text{own}\rangle|`, divided by that of
    :math:`|\langle w_j, \mu_\text{other}\rangle|`. A neuron's own class is the one that it votes for: that of
    :math:`\mu_1` for :math:`a_j > 0`, and of :math:`\mu_2` otherwise.
    """
    size = alignment.double().abs()
    own = torch.where(a > 0, size[..., 0], size[..., 1])
    other = torch.where(a > 0, size[..., 1], size[..., 0])
    return own.mean(-1) / other.mean(-1)


def plane_output(
    alignment: Float[Tensor, "m 2"], a: Float[Tensor, " m"], coordinates: Float[Tensor, "*b 2"]
) -> Float[Tensor, "*b"]:
    r"""The network's output at :math:`u\mu_1 + v\mu_2`, which needs no more of a neuron than its two alignments.

    ``coordinates`` are the pairs (u, v).
    """
    return (coordinates @ alignment.mT).relu() @ a
