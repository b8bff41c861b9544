"""The Interaction Basis of a layer, the graph of interactions between layers, and the modules of that graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import ArrayLike
from torch import Tensor

from overparam.core import checks
from overparam.core.datasets import optional
from overparam.generalization.loss_degeneracy.networks import check_finite, check_tolerance


@dataclass(frozen=True)
class Basis:
    r"""Coordinates :math:`\hat f = C (f - \mu)` of a layer, and the way back :math:`f - \mu = C^+ \hat f`.

    ``importance`` belongs to the rows of C and falls.
    """

    C: Float[Tensor, "m d"]
    C_pinv: Float[Tensor, "d m"]
    importance: Float[Tensor, " m"]
    mean: Float[Tensor, " d"]


def interaction_basis(
    acts: Float[Tensor, "n d"], jac: Float[Tensor, "n k d"], tol: float = 1e-9, center: bool = False
) -> Basis:
    r"""The basis in which what a layer holds and what the output notices are diagonal at once.

    With :math:`\langle (f - \mu)(f - \mu)^\top \rangle = U D U^\top`, the whitened activations are
    :math:`y = D^{-1/2} U^\top (f - \mu)`; with :math:`\langle J_y^\top J_y\rangle = V \Lambda V^\top`,

    .. math:: C = \Lambda^{1/2} V^\top D^{-1/2} U^\top, \qquad C^+ = U D^{1/2} V \Lambda^{-1/2}.

    Then :math:`\langle \hat f \hat f^\top\rangle = \Lambda` and :math:`\langle \hat J^\top \hat J\rangle = I`. The map
    :math:`f \to Tf`, :math:`J \to J T^{-1}` changes nothing but signs, for every invertible T.

    Parameters
    ----------
    acts
        Activations f of the layer, one example a row.
    jac
        The Jacobian :math:`\partial F / \partial f` of each example.
    tol
        Eigenvalues of either matrix below this share of the largest are dropped, with their directions.
    center
        Subtract the mean activation; else :math:`\mu = 0`, for activations that contain the constant.

    Raises
    ------
    ValueError
        If acts and jac do not fit or are not finite, there is no example, or ``tol`` is not in (0, 1).

    References
    ----------
    Bushnaq et al. (2024), Section 6.
    """
    _check_layer(acts, tol)
    if jac.ndim != 3 or jac.shape[::2] != acts.shape:
        raise ValueError(f"jac must be ({len(acts)}, k, {acts.shape[1]}) for these acts, got {tuple(jac.shape)}")
    check_finite(jac=jac)
    mean = _mean(acts, center)
    D, U = _leading(_second_moment(acts - mean), tol)
    unwhiten = U * D.sqrt()
    importance, V = _leading(_second_moment((jac @ unwhiten).flatten(0, 1)) * jac.shape[1], tol)
    scale = importance.sqrt()
    return Basis((V * scale).mT @ (U / D.sqrt()).mT, unwhiten @ (V / scale), importance, mean)


def pca_basis(acts: Float[Tensor, "n d"], tol: float = 1e-9, center: bool = False) -> Basis:
    """The principal directions of a layer as orthonormal rows, by falling second moment.

    Parameters and errors as for :func:`interaction_basis`, which also asks what the output notices.
    """
    _check_layer(acts, tol)
    mean = _mean(acts, center)
    D, U = _leading(_second_moment(acts - mean), tol)
    return Basis(U.mT, U, D, mean)


def edge_strengths(
    basis_next: Basis, jac_local: Float[Tensor, "n d_next d"], basis: Basis
) -> Float[Tensor, "m_next m"]:
    r"""How strongly the directions of a layer act on those of the next.

    :math:`E_{ij} = \langle (\partial \hat f^{l+1}_i / \partial \hat f^l_j)^2 \rangle`, from the local Jacobian
    :math:`\partial f^{l+1} / \partial f^l` of each example.

    Raises
    ------
    ValueError
        If the Jacobian does not fit the two bases.
    """
    wanted = (basis_next.C.shape[1], basis.C.shape[1])
    if jac_local.ndim != 3 or len(jac_local) < 1 or jac_local.shape[1:] != wanted:
        raise ValueError(f"jac_local must be (n >= 1, {wanted[0]}, {wanted[1]}), got {tuple(jac_local.shape)}")
    return (basis_next.C @ jac_local @ basis.C_pinv).square().mean(0)


def log_weights(E: Float[Tensor, "m_next m"], epsilon: float) -> Float[Tensor, "m_next m"]:
    r"""The orders of magnitude by which an interaction exceeds the tolerance: :math:`\log_{10} \max(E/\epsilon, 1)`.

    Raises
    ------
    ValueError
        If ``epsilon`` is not positive and finite, or a strength is negative or not finite.

    References
    ----------
    Bushnaq et al. (2024), Section 5.
    """
    checks.positive(epsilon=epsilon)
    _check_strengths("E", E)
    return (E / epsilon).clamp(min=1).log10()


def modularity(
    weights: Sequence[Float[Tensor, "_ _"] | Float[np.ndarray, "_ _"]], labels: ArrayLike | Int[Tensor, " nodes"]
) -> float:
    r"""Newman's modularity of a layered graph.

    :math:`Q = \sum_c \big( w_c / w - (\deg_c / 2w)^2 \big)` with the total weight w, the weight :math:`w_c` within
    community c and the sum :math:`\deg_c` of its nodes' degrees.

    Parameters
    ----------
    weights
        Non-negative edge weights between neighbouring layers, :math:`(m_{l+1}, m_l)` each.
    labels
        The community of every node, those of the first layer first.

    Returns
    -------
    Q, and 0 for a graph without edges.

    Raises
    ------
    ValueError
        If there are no weights, one is negative or not finite, the layers do not chain, or the labels do not number
        the nodes.
    """
    arrays, starts = _graph(weights)
    named = torch.as_tensor(labels).cpu().numpy()
    if named.shape != (starts[-1],):
        raise ValueError(f"labels must number the {starts[-1]} nodes, got shape {named.shape}")
    community = np.unique(named, return_inverse=True)[1]
    total = sum(float(w.sum()) for w in arrays)
    if total == 0:
        return 0.0
    degree, within = np.zeros(starts[-1]), 0.0
    for w, (low, mid, high) in zip(arrays, _triples(starts), strict=True):
        degree[low:mid] += w.sum(0)
        degree[mid:high] += w.sum(1)
        within += float(w[community[mid:high, None] == community[low:mid]].sum())
    return within / total - float(np.square(np.bincount(community, degree) / (2 * total)).sum())


def find_modules(
    weights: Sequence[Float[Tensor, "_ _"] | Float[np.ndarray, "_ _"]], seed: int = 0
) -> tuple[Int[np.ndarray, " nodes"], float]:
    """Communities of a layered graph by the Louvain method, and their :func:`modularity`.

    Parameters
    ----------
    weights
        As for :func:`modularity`.
    seed
        Of the order in which Louvain visits the nodes.

    Returns
    -------
    The community of every node, the larger communities first, and Q.

    Raises
    ------
    ValueError
        As for :func:`modularity`; if the seed is negative.
    MissingExtraError
        Without networkx; the message names the extra to install.

    References
    ----------
    Blondel et al. (2008).
    """
    checks.integer(0, seed=seed)
    arrays, starts = _graph(weights)
    networkx = optional("networkx", extra="generalization")
    graph = networkx.Graph()
    graph.add_nodes_from(range(starts[-1]))
    for w, (low, mid, _) in zip(arrays, _triples(starts), strict=True):
        rows, columns = np.nonzero(w)
        edges = zip((rows + mid).tolist(), (columns + low).tolist(), w[rows, columns].tolist(), strict=True)
        graph.add_weighted_edges_from(edges)
    communities = networkx.community.louvain_communities(graph, seed=seed)
    labels = np.empty(starts[-1], dtype=np.int64)
    for label, members in enumerate(sorted(communities, key=lambda nodes: (-len(nodes), min(nodes)))):
        labels[list(members)] = label
    return labels, modularity(arrays, labels)


def random_invertible(
    d: int, generator: torch.Generator, spread: float = 1.0, *, dtype: torch.dtype = torch.float64
) -> Float[Tensor, "{d} {d}"]:
    r"""A random invertible map: orthogonal, :math:`\operatorname{diag}(e^{U(-s, s)})`, orthogonal, with s = ``spread``.

    Raises
    ------
    ValueError
        If ``d`` is below 1, or ``spread`` negative or not finite.
    """
    checks.integer(1, d=d)
    checks.non_negative(spread=spread)
    left, right = (torch.linalg.qr(torch.randn(d, d, generator=generator, dtype=dtype)).Q for _ in range(2))
    scales = (spread * (2 * torch.rand(d, generator=generator, dtype=dtype) - 1)).exp()
    return left * scales @ right


def _mean(acts: Tensor, center: bool) -> Tensor:
    return acts.mean(0) if center else torch.zeros_like(acts[0])


def _second_moment(rows: Tensor) -> Tensor:
    return rows.mT @ rows / len(rows)


def _leading(matrix: Tensor, tol: float) -> tuple[Tensor, Tensor]:
    """Eigenvalues that fall, down to ``tol`` times the first, and their eigenvectors."""
    if len(matrix) == 0:  # a layer that never varies has no direction
        return matrix.diagonal(), matrix
    values, vectors = torch.linalg.eigh(matrix)
    kept = values > tol * values[-1]
    return values[kept].flip(0), vectors[:, kept].flip(1)


def _check_layer(acts: Tensor, tol: float) -> None:
    check_tolerance(tol)
    if acts.ndim != 2 or len(acts) < 1 or acts.shape[1] < 1:
        raise ValueError(f"acts must be (n >= 1, d >= 1), got {tuple(acts.shape)}")
    check_finite(acts=acts)


def _check_strengths(name: str, values: Tensor) -> None:
    if (bad := values[~((values >= 0) & values.isfinite())]).numel():
        raise ValueError(f"{name} must not be negative and must be finite, got {bad[0].item():g}")


def _graph(weights: Sequence[Any]) -> tuple[list[np.ndarray], list[int]]:
    """The weights as arrays, and the number of the first node of every layer, and of all."""
    tensors = [torch.as_tensor(w).detach().cpu() for w in weights]
    if not tensors:
        raise ValueError(f"weights must join at least two layers, got {list(weights)}")
    for w in tensors:
        if w.ndim != 2:
            raise ValueError(f"weights must be matrices, got shape {tuple(w.shape)}")
        _check_strengths("weights", w)
    for before, after in pairwise(tensors):
        if after.shape[1] != before.shape[0]:
            raise ValueError(f"weights must chain: {tuple(after.shape)} does not follow {tuple(before.shape)}")
    sizes = [tensors[0].shape[1], *(w.shape[0] for w in tensors)]
    return [w.double().numpy() for w in tensors], [0, *accumulate(sizes)]


def _triples(starts: list[int]) -> list[tuple[int, int, int]]:
    return list(zip(starts, starts[1:], starts[2:], strict=False))
