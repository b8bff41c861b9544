"""The layer whose input and parameters have been taken apart, bundled layers, and their optimum in closed form."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from overparam.core import checks
from overparam.dynamics.neural_network_kernels.features import URF, real_features, real_weights


class SNNKLayer(nn.Module):
    r"""A feed-forward layer :math:`x \mapsto f(Wx + b)` as a linear readout of frozen random features.

    Parameters
    ----------
    urf
        The features; projections and frequencies become buffers and are not trained.
    weight
        W, (out, d), cast to the features' dtype and device. The layer's only parameter, ``weight`` of shape
        (out, 2m), starts at the real form of :math:`\Psi(W, b)`.
    bias
        b, (out,), or None.

    Raises
    ------
    ValueError
        If the sizes do not fit.
    """

    G: Tensor
    xi: Tensor
    amplitude: Tensor

    def __init__(self, urf: URF, weight: Float[Tensor, "out d"], bias: Float[Tensor, " out"] | None = None) -> None:
        super().__init__()
        self.activation, self.M, self.split = urf.activation, urf.M, urf.split
        self.register_buffer("G", urf.G)
        self.register_buffer("xi", urf.xi)
        # As two real columns: Module.to(dtype) would drop the imaginary part of a complex buffer.
        self.register_buffer("amplitude", torch.view_as_real(urf.weight))
        with torch.no_grad():
            psi = urf.w(weight.to(urf.G), None if bias is None else bias.to(urf.G))
        self.weight = nn.Parameter(real_weights(psi))

    @classmethod
    def from_linear(cls, linear: nn.Linear, urf: URF) -> SNNKLayer:
        """The layer that replaces ``f(linear(x))``."""
        return cls(urf, linear.weight, linear.bias)

    @property
    def urf(self) -> URF:
        """The frozen features, where the module is."""
        amplitude = torch.view_as_complex(self.amplitude)
        return URF(self.activation, self.G, self.xi, amplitude, self.M, self.split)

    def forward(self, x: Float[Tensor, "*n d"]) -> Float[Tensor, "*n out"]:
        """Estimates of the layer's outputs; a ``ValueError`` if the inputs have another size."""
        return real_features(self.urf.x(x)) @ self.weight.mT


def bundle(next_weight: Float[Tensor, "k out"], layer_weight: Float[Tensor, "out p"]) -> Float[Tensor, "k p"]:
    r"""The next matrix multiplied into an SNNK layer's: :math:`W_2 f(W_1 x + b_1) \approx (W_2 \Psi_1)\,\Phi(x)`.

    The width ``out`` of the layer that vanishes is no longer a number of parameters.

    Raises
    ------
    ValueError
        If the matrices cannot be multiplied.
    """
    if next_weight.ndim != 2 or layer_weight.ndim != 2 or next_weight.shape[1] != layer_weight.shape[0]:
        raise ValueError(f"cannot bundle sizes {tuple(next_weight.shape)} and {tuple(layer_weight.shape)}")
    return next_weight @ layer_weight


def ridge_readout(features: Float[Tensor, "n p"], targets: Float[Tensor, "n k"], lam: float) -> Float[Tensor, "k p"]:
    r"""The readout B that minimizes :math:`\|A B^\top - T\|_F^2 + \lambda\|B\|_F^2`.

    The smaller of two systems is solved: :math:`(A^\top A + \lambda I)\,B^\top = A^\top T` with p unknowns, or its dual
    :math:`B^\top = A^\top (A A^\top + \lambda I)^{-1} T` with n.

    Raises
    ------
    ValueError
        If ``lam`` is not positive and finite, or features and targets differ in length.
    """
    checks.positive(lam=lam)
    if features.ndim != 2 or targets.ndim != 2 or len(features) != len(targets):
        shapes = f"{tuple(features.shape)} and {tuple(targets.shape)}"
        raise ValueError(f"features and targets must be matrices of one length, got {shapes}")
    n, p = features.shape
    primal = p <= n
    gram = features.mT @ features if primal else features @ features.mT
    gram.diagonal().add_(lam)
    factor = torch.linalg.cholesky(gram)
    if primal:
        return torch.cholesky_solve(features.mT @ targets, factor).mT
    return (features.mT @ torch.cholesky_solve(targets, factor)).mT
