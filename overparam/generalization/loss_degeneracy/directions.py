"""Where a network can move without being noticed: the three kinds of degenerate direction, written down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from jaxtyping import Float
from torch import Tensor

from overparam.core import checks
from overparam.generalization.loss_degeneracy.networks import (
    Trace,
    balance_biases,
    check_finite,
    check_network,
    check_tolerance,
    forward,
    random_mlp,
    trace,
)

#: Singular values below this share of the largest count as zero when a rank is taken.
RANK_TOLERANCE = 1e-9
#: The networks of :func:`planted`.
KINDS = ("generic", "dependent_inputs", "unread", "dead", "synchronised")


@dataclass(frozen=True)
class Degeneracy:
    """The degenerate directions of a network of ``parameters`` N.

    ``activation``, ``jacobian`` and ``synchronised`` count the directions of each kind alone, ``free`` the dimension
    of their union, of which ``directions`` is an orthonormal basis.
    """

    parameters: int
    activation: int
    jacobian: int
    synchronised: int
    free: int
    directions: Float[Tensor, "N free"]


def rank(matrix: Float[Tensor, "n N"]) -> int:
    """The numerical rank, by singular values relative to the largest."""
    values = torch.linalg.svdvals(_reduced(matrix))
    return int((values > RANK_TOLERANCE * values.max()).sum())


def firing_groups(weights: Sequence[Float[Tensor, "_ _"]], X: Float[Tensor, "n d"]) -> list[list[list[int]]]:
    """Live hidden neurons that fire on the same examples, layer by layer.

    A neuron is live if it fires on at least one example and the output depends on it somewhere. A neuron that
    fires like no other is a group of its own.

    Returns
    -------
    For each hidden layer its groups, each a rising list of indices, ordered by their first member.

    Raises
    ------
    ValueError
        As for :func:`~overparam.generalization.loss_degeneracy.networks.forward`.
    """
    return _groups(trace(weights, X))


def _groups(seen: Trace) -> list[list[list[int]]]:
    layers = []
    for gate, jacobian in zip(seen.gates, seen.jacobians, strict=False):
        # The Jacobian in the pre-activation contains the gate: a neuron that never fires has none.
        live = jacobian.abs().amax((0, 1)) > 0
        members: dict[bytes, list[int]] = {}
        for neuron in torch.nonzero(live)[:, 0].tolist():
            members.setdefault(gate[:, neuron].cpu().numpy().tobytes(), []).append(neuron)
        layers.append(list(members.values()))
    return layers


def degenerate_directions(
    weights: Sequence[Float[Tensor, "_ _"]], X: Float[Tensor, "n d"], tol: float = 1e-10
) -> Degeneracy:
    r"""All directions of the three kinds as explicit tangent vectors, and the dimension of their span.

    1. *Activation.* A null vector of the Gram matrix :math:`\langle f^l f^{l\top}\rangle`, in any row of
       :math:`W^l`.
    2. *Jacobian.* A null vector of :math:`\langle (\partial F/\partial p^{l+1})^\top (\partial F/\partial
       p^{l+1})\rangle`, in any column of :math:`W^l`.
    3. *Synchronised.* Rows of :math:`W^l` in a group of :func:`firing_groups` mix as :math:`(I + \epsilon) W^l`, and
       the columns of :math:`W^{l+1}` that read them as :math:`W^{l+1} (I - \epsilon)`. In a group that always fires
       the constant mixes in too.

    The kinds overlap, so the span is counted and not the vectors. It always lies in the null space of the behavioural
    Hessian, and in generic position it is all of it.

    Parameters
    ----------
    weights, X
        The network and the data on which its behaviour counts.
    tol
        Eigenvalues of the two Gram matrices below this share of the largest count as zero.

    Raises
    ------
    ValueError
        As for :func:`~overparam.generalization.loss_degeneracy.networks.forward`; if ``tol`` is not in (0, 1), or the
        weights or X are not finite.

    References
    ----------
    Bushnaq et al. (2024), Section 3.
    """
    check_tolerance(tol)
    check_network(weights, X)
    check_finite(X=X, **{f"weights[{layer}]": W for layer, W in enumerate(weights)})
    seen = trace(weights, X)
    activation, jacobian = _activation(weights, seen, tol), _jacobian(weights, seen, tol)
    synchronised = _synchronised(weights, _groups(seen), seen)
    directions = _orthonormal(torch.cat([activation, jacobian, synchronised], 1))
    return Degeneracy(
        parameters=len(directions),
        activation=activation.shape[1],  # these vectors and the next are orthonormal already
        jacobian=jacobian.shape[1],
        synchronised=_orthonormal(synchronised).shape[1],
        free=directions.shape[1],
        directions=directions,
    )


def _activation(weights: Sequence[Tensor], seen: Trace, tol: float) -> Tensor:
    blocks = []
    for layer, (W, act) in enumerate(zip(weights, seen.acts, strict=True)):
        null = _null_space(act, tol)
        every_row = torch.eye(W.shape[0], dtype=W.dtype, device=W.device)
        blocks.append(_placed(torch.kron(every_row, null), weights, layer))
    return torch.cat(blocks, 1)


def _jacobian(weights: Sequence[Tensor], seen: Trace, tol: float) -> Tensor:
    blocks = []
    for layer, (W, jacobian) in enumerate(zip(weights, seen.jacobians, strict=True)):
        null = _null_space(jacobian.flatten(0, 1), tol)
        every_column = torch.eye(W.shape[1], dtype=W.dtype, device=W.device)
        blocks.append(_placed(torch.kron(null, every_column), weights, layer))
    return torch.cat(blocks, 1)


def _synchronised(weights: Sequence[Tensor], groups: list[list[list[int]]], seen: Trace) -> Tensor:
    blocks = [weights[0].new_zeros(sum(W.numel() for W in weights), 0)]
    for layer, layer_groups in enumerate(groups):
        for group in layer_groups:
            always = bool(seen.gates[layer][:, group[0]].all())
            before, after = _mixing(weights[layer], weights[layer + 1], group, always)
            blocks.append(_placed(before, weights, layer) + _placed(after, weights, layer + 1))
    return torch.cat(blocks, 1)


def _mixing(W: Tensor, W_next: Tensor, group: list[int], always: bool) -> tuple[Tensor, Tensor]:
    """What each pair (a, b) of a group changes before and after it, one column a pair; the constant is a last b."""
    members = torch.tensor(group, device=W.device)
    constant = torch.zeros_like(W[:1])
    constant[:, -1] = 1
    inputs = torch.cat([W[members], constant]) if always else W[members]  # what is mixed in, (b, d_l + 1)
    readers = torch.cat([members, members.new_tensor([W_next.shape[1] - 1])])[: len(inputs)]  # columns that read b
    a, b = (torch.arange(count, device=W.device) for count in (len(group), len(inputs)))
    before = W.new_zeros(len(a), len(b), *W.shape)
    before[a[:, None], b, members[:, None]] = inputs.expand(len(a), -1, -1)
    after = W.new_zeros(len(a), len(b), *W_next.shape)
    after[a[:, None], b, :, readers] = -W_next.mT[members][:, None].expand(-1, len(b), -1)
    return before.flatten(2).flatten(0, 1).mT, after.flatten(2).flatten(0, 1).mT


def _placed(columns: Tensor, weights: Sequence[Tensor], layer: int) -> Tensor:
    """Tangent vectors of one layer as vectors over all parameters."""
    starts = [0, *accumulate(W.numel() for W in weights)]
    everywhere = columns.new_zeros(starts[-1], columns.shape[1])
    everywhere[starts[layer] : starts[layer + 1]] = columns
    return everywhere


def _null_space(rows: Tensor, tol: float) -> Tensor:
    """Orthonormal null vectors of the Gram matrix of ``rows``, from their own singular values: twice the digits."""
    _, values, Vt = torch.linalg.svd(_reduced(rows), full_matrices=True)
    seen = int((values.square() > tol * values.max().square()).sum())
    # A GPU's Vt is row-major, and torch.kron refuses what is then column-major.
    return Vt[seen:].mT.clone(memory_format=torch.contiguous_format)


def _orthonormal(vectors: Tensor) -> Tensor:
    """An orthonormal basis of the span of vectors, whatever their lengths."""
    if vectors.shape[1] == 0:
        return vectors
    U, values, _ = torch.linalg.svd(vectors / vectors.norm(dim=0), full_matrices=False)
    return U[:, values > RANK_TOLERANCE * values.max()]


def _reduced(rows: Tensor) -> Tensor:
    """A matrix of at most as many rows as columns with the same singular values and right singular vectors."""
    return torch.linalg.qr(rows, mode="r").R


def planted(
    kind: str, sizes: Sequence[int], n: int, generator: torch.Generator, s: int = 3
) -> tuple[list[Float[Tensor, "_ _"]], Float[Tensor, "n d"]]:
    """A random network with balanced biases, and data, into which one degeneracy has been planted.

    Parameters
    ----------
    kind
        ``generic``: none. ``dependent_inputs``: the last input is a combination of the others. ``unread``: the
        second layer does not read the first hidden neuron. ``dead``: that neuron never fires. ``synchronised``: the
        first ``s`` hidden neurons always fire.
    sizes
        Widths from input to output, at least one of them hidden.
    n
        Examples, standard normal.
    generator
        CPU generator; every kind draws the same numbers.
    s
        Neurons to synchronise.

    Raises
    ------
    ValueError
        If the kind is unknown, a size or ``n`` is below 1, there is no hidden layer, ``s`` is more than it has, or
        there is no second input for the last to depend on.
    """
    checks.one_of(KINDS, kind=kind)
    checks.integer(1, n=n, s=s)
    if len(sizes) < 3:
        raise ValueError(f"sizes must name at least one hidden layer, got {tuple(sizes)}")
    if kind == "synchronised" and s > sizes[1]:
        raise ValueError(f"s must be at most the {sizes[1]} neurons of the first hidden layer, got {s}")
    if kind == "dependent_inputs" and sizes[0] < 2:
        raise ValueError(f"sizes must start with at least 2 inputs for one to depend on another, got {tuple(sizes)}")
    weights = random_mlp(sizes, generator)
    X = torch.randn(n, sizes[0], generator=generator, dtype=torch.float64)
    mixture = torch.randn(sizes[0] - 1, generator=generator, dtype=torch.float64)
    if kind == "dependent_inputs":
        X[:, -1] = X[:, :-1] @ mixture
    first, second, *later = balance_biases(weights, X)
    if kind == "unread":
        second[:, 0] = 0
    elif kind == "dead":
        first[0, -1] = -1e3
    elif kind == "synchronised":
        first[:s, -1] = 50
    # What was planted has moved the inputs of the later layers; they are balanced anew.
    return [first, *balance_biases([second, *later], forward([first], X).relu())], X
