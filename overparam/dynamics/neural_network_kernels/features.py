"""Random features that take a layer's input and its parameters apart."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from overparam.core import checks

TWO_PI = 2 * math.pi


def _gaussian(z: Tensor) -> Tensor:
    return torch.exp(-z.square() / 2)


#: Functions with a Fourier transform that :func:`draw_frequencies` can sample.
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"sin": torch.sin, "cos": torch.cos, "gaussian": _gaussian}
#: Who gets the frequency: both sides its root, or one of them the whole of it.
SPLITS = ("symmetric", "input", "weight")


def draw_projections(
    m: int,
    d: int,
    *,
    orthogonal: bool = False,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float64,
) -> Float[Tensor, "{m} {d}"]:
    r"""Gaussian vectors :math:`g \sim N(0, I_d)`, m of them, independent or orthogonal in blocks of d.

    A block is a uniformly random orthogonal matrix whose rows are rescaled by independent :math:`\chi_d` norms, so
    that each row alone is still exactly Gaussian; the last block is cut.

    Raises
    ------
    ValueError
        If a size is below 1.
    """
    checks.integer(1, m=m, d=d)
    if not orthogonal:
        return torch.randn(m, d, generator=generator, dtype=dtype)
    Q, R = torch.linalg.qr(torch.randn(-(-m // d), d, d, generator=generator, dtype=dtype))
    # Without the sign of R's diagonal the law of Q would depend on the algorithm, and not be uniform.
    rows = (Q * R.diagonal(dim1=-2, dim2=-1).sign()[:, None, :]).mT.flatten(0, 1)[:m]
    norms = torch.randn(m, d, generator=generator, dtype=dtype).norm(dim=1)
    return rows * norms[:, None]


def draw_frequencies(
    activation: str, m: int, *, generator: torch.Generator | None = None, dtype: torch.dtype = torch.float64
) -> tuple[Float[Tensor, " {m}"], Complex[Tensor, " {m}"]]:
    r"""Frequencies and weights with :math:`f(z) = \mathbb{E}\,[\text{weight}\; e^{2\pi i \xi z}]`.

    * sin: :math:`\xi = \pm 1/(2\pi)` with equal probability, weight :math:`\operatorname{sign}(\xi)/i`;
    * cos: the same frequencies, weight 1;
    * gaussian, :math:`e^{-z^2/2}`: :math:`\xi \sim N(0, (2\pi)^{-2})`, weight 1.

    Raises
    ------
    ValueError
        If the activation is another, or ``m`` is below 1.
    """
    checks.one_of(tuple(ACTIVATIONS), activation=activation)
    checks.integer(1, m=m)
    if activation == "gaussian":
        xi = torch.randn(m, generator=generator, dtype=dtype) / TWO_PI
    else:
        xi = (2 * torch.randint(2, (m,), generator=generator) - 1).to(dtype) / TWO_PI
    one, zero = torch.ones_like(xi), torch.zeros_like(xi)
    return xi, torch.complex(zero, -xi.sign()) if activation == "sin" else torch.complex(one, zero)


@dataclass(frozen=True)
class URF:
    r"""Universal random features: :math:`\mathbb{E}\operatorname{Re}\,\Phi(x) \cdot \Psi(w, b) = f(w \cdot x + b)`.

    For :math:`g \sim N(0, I)` the positive-feature identity

    .. math::
        \mathbb{E}\,\Lambda_g(\rho x)\,\Lambda_g(\eta w) = e^{\rho\eta\, x \cdot w}, \qquad
        \Lambda_g(u) = (1 + 4M)^{d/4} \exp\!\big(-M\|g\|^2 + \sqrt{1 + 4M}\; g \cdot u - \tfrac12 u \cdot u\big)

    holds for complex :math:`\rho, \eta` too, if :math:`u \cdot u` is the bilinear square and nothing is conjugated.
    With :math:`\rho\eta = 2\pi i \xi` it makes every wave of f's Fourier transform a product of features.

    Parameters
    ----------
    activation
        The name of f.
    G, xi, weight
        Projections, frequencies and weights of the m features (:func:`draw_projections`, :func:`draw_frequencies`).
    M
        Above -1/4; a little above 0 tames the tails, much above 0 hurts.
    split
        "symmetric", :math:`\rho = \eta = \sqrt{2\pi i \xi}`; "input", :math:`\rho = 2\pi i \xi` and
        :math:`\eta = 1`; "weight", the reverse.

    References
    ----------
    Sehanobish et al. (2024), universal random features and the softmax-kernel features they are made of.
    """

    activation: str
    G: Float[Tensor, "m d"]
    xi: Float[Tensor, " m"]
    weight: Complex[Tensor, " m"]
    M: float
    split: str

    def x(self, x: Float[Tensor, "*n d"]) -> Complex[Tensor, "*n m"]:
        r"""Features :math:`\Phi(x)` of inputs.

        Raises
        ------
        ValueError
            If the inputs have another size than the projections.
        """
        return self._lambda(x, _root(self.xi, self.split, "input"))

    def w(self, W: Float[Tensor, "*k d"], b: Float[Tensor, "*k"] | None = None) -> Complex[Tensor, "*k m"]:
        r"""Features :math:`\Psi(w, b)` of weight rows and their biases (None: no bias).

        Raises
        ------
        ValueError
            If the rows have another size than the projections, or the biases do not match them.
        """
        if b is not None and b.shape != W.shape[:-1]:
            raise ValueError(f"b must hold one bias for each row of {tuple(W.shape)}, got shape {tuple(b.shape)}")
        phase = None if b is None else TWO_PI * self.xi * b[..., None]
        return self.weight * self._lambda(W, _root(self.xi, self.split, "weight"), phase)

    def _lambda(self, u: Tensor, root: Tensor, phase: Tensor | None = None) -> Tensor:
        """Lambda of ``root * u`` over the root of m, in polar form, so that the large product is a real one."""
        m, d = self.G.shape
        if u.ndim < 1 or u.shape[-1] != d:
            raise ValueError(f"vectors must have size {d} like the projections, got shape {tuple(u.shape)}")
        along, square = math.sqrt(1 + 4 * self.M) * (u @ self.G.mT), u.square().sum(-1, keepdim=True) / 2
        root_square = root.square()
        # The bilinear square of root * u: root² |u|², and not its modulus.
        logarithm = along * root.real - square * root_square.real - self.M * self.G.square().sum(1)
        angle = along * root.imag - square * root_square.imag
        angle = angle if phase is None else angle + phase
        constant = (1 + 4 * self.M) ** (d / 4) / math.sqrt(m)
        return torch.polar(constant * logarithm.exp(), angle)


def _root(xi: Tensor, split: str, side: str) -> Tensor:
    """The factor of ``side``, so that the two sides' factors have the product 2 pi i xi."""
    whole = TWO_PI * 1j * xi
    if split == "symmetric":
        return whole.sqrt()
    return whole if split == side else torch.ones_like(whole)


def universal_features(
    activation: str,
    m: int,
    d: int,
    *,
    M: float = 0.0,
    split: str = "symmetric",
    orthogonal: bool = False,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float64,
) -> URF:
    """Draw m universal random features for vectors of size d: first the projections, then the frequencies.

    Raises
    ------
    ValueError
        If the activation or the split is unknown, ``M`` is not above -1/4 and finite, or a size is below 1.
    """
    checks.one_of(tuple(ACTIVATIONS), activation=activation)
    checks.one_of(SPLITS, split=split)
    if not (math.isfinite(M) and M > -0.25):
        raise ValueError(f"M must be above -1/4 and finite, got {M!r}")
    G = draw_projections(m, d, orthogonal=orthogonal, generator=generator, dtype=dtype)
    xi, weight = draw_frequencies(activation, m, generator=generator, dtype=dtype)
    return URF(activation, G, xi, weight, M, split)


def estimate(phi: Complex[Tensor, "*n m"], psi: Complex[Tensor, "k m"]) -> Float[Tensor, "*n k"]:
    r"""The estimated layer, :math:`\operatorname{Re}(\Phi \Psi^\top)`, without a conjugate.

    Raises
    ------
    ValueError
        If the numbers of features differ.
    """
    if phi.shape[-1] != psi.shape[-1]:
        raise ValueError(f"phi and psi must have equally many features, got {phi.shape[-1]} and {psi.shape[-1]}")
    return real_features(phi) @ real_weights(psi).mT


def real_features(phi: Complex[Tensor, "*n m"]) -> Float[Tensor, "*n p"]:
    r"""The real form :math:`[\operatorname{Re}\Phi, \operatorname{Im}\Phi]`, p = 2m."""
    return torch.cat([phi.real, phi.imag], -1)


def real_weights(psi: Complex[Tensor, "*k m"]) -> Float[Tensor, "*k p"]:
    r"""The real form :math:`[\operatorname{Re}\Psi, -\operatorname{Im}\Psi]`, p = 2m."""
    return torch.cat([psi.real, -psi.imag], -1)


def relu_features(z: Float[Tensor, "*n d"], G: Float[Tensor, "m d"]) -> Float[Tensor, "*n m"]:
    r"""ReLU features :math:`\operatorname{ReLU}(Gz) / \sqrt m`, for inputs and weights alike.

    Their dot product estimates :func:`arc_cosine_kernel`, and not :math:`\operatorname{ReLU}(w \cdot x)`.

    Raises
    ------
    ValueError
        If the vectors have another size than the projections.
    """
    if z.ndim < 1 or z.shape[-1] != G.shape[-1]:
        raise ValueError(f"vectors must have size {G.shape[-1]} like the projections, got shape {tuple(z.shape)}")
    return (z @ G.mT).relu() / math.sqrt(len(G))


def arc_cosine_kernel(x: Float[Tensor, "n d"], w: Float[Tensor, "k d"]) -> Float[Tensor, "n k"]:
    r"""The first arc-cosine kernel, :math:`\mathbb{E}\operatorname{ReLU}(g \cdot x)\operatorname{ReLU}(g \cdot w)`.

    In closed form :math:`\frac{\|x\|\|w\|}{2\pi}(\sin\theta + (\pi - \theta)\cos\theta)`, where :math:`\theta` is the
    angle; 0 for a zero vector.

    Raises
    ------
    ValueError
        If the sizes of the vectors differ.

    References
    ----------
    Cho & Saul, Kernel Methods for Deep Learning, 2009.
    """
    if x.shape[-1] != w.shape[-1]:
        raise ValueError(f"x and w must have vectors of one size, got {x.shape[-1]} and {w.shape[-1]}")
    norms = x.norm(dim=-1)[:, None] * w.norm(dim=-1)
    cosine = torch.where(norms > 0, x @ w.mT / norms.clamp(min=torch.finfo(norms.dtype).tiny), 0.0).clamp(-1, 1)
    angle = cosine.arccos()
    return norms / TWO_PI * (angle.sin() + (math.pi - angle) * cosine)
