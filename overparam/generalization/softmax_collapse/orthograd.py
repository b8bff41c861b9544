"""perpGrad: gradients without the part that only scales the weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

#: Added to squared norms and norms before a division, as in the authors' code.
TINY = 1e-30


@torch.no_grad()
def orthogonalize_gradients_(params: Iterable[Tensor]) -> None:
    r"""Replace the gradient of every tensor, in place, by its part orthogonal to the tensor, at the old length.

    With a parameter tensor :math:`w` and its gradient :math:`g`, both flattened,

    .. math:: g_\perp = g - \frac{\langle w, g\rangle}{\langle w, w\rangle + 10^{-30}}\, w, \qquad
              g \leftarrow \frac{\lVert g\rVert}{\lVert g_\perp\rVert + 10^{-30}}\, g_\perp.

    Parameters
    ----------
    params
        Tensors; one without a gradient is left alone, and a tensor of zeros keeps its gradient.

    References
    ----------
    Prieto et al. (2025), the definition of perpGrad; class ``OrthoGrad`` of the authors' code.
    """
    for p in params:
        if p.grad is None:
            continue
        # In float64: float32 loses the square of a gradient below 1e-23, and float16 the 1e-30.
        w, g = p.detach().flatten().double(), p.grad.flatten().double()
        orthogonal = g - (w @ g) / (w @ w + TINY) * w
        p.grad.copy_((orthogonal * (g.norm() / (orthogonal.norm() + TINY))).view_as(p))


class OrthoGrad(torch.optim.Optimizer):
    r"""Any optimizer, on gradients from which :func:`orthogonalize_gradients_` has removed the part along the weights.

    The projection comes before the base's moments and leaves its decoupled weight decay alone.

    Parameters
    ----------
    params
        Tensors or parameter groups.
    base
        The class of the optimizer that steps.
    **base_kwargs
        Its arguments, such as ``lr``.

    Attributes
    ----------
    base
        The optimizer that steps; it shares the parameter groups and the state.

    References
    ----------
    Prieto et al. (2025), the definition of perpGrad; class ``OrthoGrad`` of the authors' code.
    """

    def __init__(
        self,
        params: Iterable[Any],
        base: Callable[..., torch.optim.Optimizer] = torch.optim.AdamW,
        **base_kwargs: Any,
    ) -> None:
        super().__init__(params, {})
        self.base = base(self.param_groups, **base_kwargs)
        self.defaults = self.base.defaults
        self._share()

    def _share(self) -> None:
        # A scheduler that changes a group here must change the base's.
        self.param_groups, self.state = self.base.param_groups, self.base.state

    def step(self, closure: Callable[[], Any] | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Project the gradients, those of the closure if there is one, and let the base step."""
        if closure is None:
            self._project()
            return self.base.step()

        def projected() -> Any:
            with torch.enable_grad():
                loss = closure()
            self._project()
            return loss

        return self.base.step(projected)

    def _project(self) -> None:
        for group in self.param_groups:
            orthogonalize_gradients_(group["params"])

    def state_dict(self) -> dict[str, Any]:
        """The base's state."""
        return self.base.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the base's state."""
        self.base.load_state_dict(state_dict)
        self._share()


@torch.no_grad()
def nlm_cosine(params: Iterable[Tensor]) -> float:
    r"""The cosine between :math:`-\nabla L` and :math:`\theta`, over all parameters together.

    For a network that is positively homogeneous in its parameters (no biases), a step along :math:`\theta` scales the
    logits and changes nothing else: at 1, training is nothing but naive loss minimization.

    Parameters
    ----------
    params
        Tensors with their current gradients; one without a gradient is left out.

    Returns
    -------
    The cosine, or NaN where a gradient or the parameters vanish.

    References
    ----------
    Prieto et al. (2025), the definition of naive loss minimization.
    """
    dot = grads = weights = 0.0
    for p in params:
        if p.grad is None:
            continue
        w, g = p.detach().flatten().double(), p.grad.flatten().double()
        dot, grads, weights = dot - float(w @ g), grads + float(g @ g), weights + float(w @ w)
    scale = math.sqrt(grads) * math.sqrt(weights)
    return dot / scale if scale > 0 else math.nan
