"""Random subspaces: from d numbers to D, by a dense, a sparse or an implicit matrix of nearly orthonormal columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float, Num
from torch import Tensor, nn
from torch.nn import functional

from overparam.core import checks

#: Bits of an index that one product of :func:`fast_walsh_hadamard` transforms: matrices of 16 rows keep BLAS busy.
RADIX_BITS = 4


def fast_walsh_hadamard(x: Num[Tensor, "*batch n"]) -> Num[Tensor, "*batch n"]:
    r"""The unnormalised Walsh-Hadamard transform :math:`H_n x` along the last axis, in Sylvester's order.

    :math:`H_1 = 1` and :math:`H_{2n} = H_2 \otimes H_n` with
    :math:`H_2 = \bigl(\begin{smallmatrix} 1 & 1 \\ 1 & -1 \end{smallmatrix}\bigr)`, so :math:`H_n` acts on each bit
    of an index by itself. A product transforms the leading four bits and turns them to the end; after all bits have
    had their turn the order is the old one. That is O(n log n), and H is symmetric with :math:`H_n H_n = n I`.

    Raises
    ------
    ValueError
        If n is not a power of two; 1 is one.

    References
    ----------
    Li et al. (2018), appendix on the Fastfood transform; Le, Sarlós & Smola (2013).
    """
    n = x.shape[-1] if x.ndim else 0
    if n < 1 or n & (n - 1):
        raise ValueError(f"n must be a power of two, got {n}")
    bits = n.bit_length() - 1
    turns = [RADIX_BITS] * (bits // RADIX_BITS) + [bits % RADIX_BITS] * (bits % RADIX_BITS > 0)
    for turn in turns:
        H = _hadamard(turn, x.dtype, x.device)
        x = (x.unflatten(-1, (len(H), -1)).mT @ H).flatten(-2)
    return x


@cache
def _hadamard(bits: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    H = torch.ones(1, 1, dtype=dtype, device=device)
    for _ in range(bits):
        H = torch.cat([torch.cat([H, H], 1), torch.cat([H, -H], 1)])
    return H


class Projection(nn.Module):
    """A fixed random linear map from d to D numbers; a subclass draws its matrix P and multiplies by it.

    Parameters
    ----------
    D, d
        Numbers out and in, 1 <= d <= D.

    Raises
    ------
    ValueError
        If d does not lie in 1..D; from ``forward``, if v is not of length d.
    """

    def __init__(self, D: int, d: int) -> None:
        super().__init__()
        checks.integer(1, D=D, d=d)
        if d > D:
            raise ValueError(f"d must be at most D = {D}, got {d}")
        self.D, self.d = D, d

    def forward(self, v: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch D"]:
        """The products P v, one for each row of v."""
        if v.ndim == 0 or v.shape[-1] != self.d:
            raise ValueError(f"v must be of length d = {self.d}, got shape {tuple(v.shape)}")
        return self._multiply(v)

    def _multiply(self, v: Tensor) -> Tensor:
        raise NotImplementedError

    def nested(self, v: Float[Tensor, "n_d d"], dims: Sequence[int]) -> Float[Tensor, "n_d D"]:
        """The products of row k with the first ``dims[k]`` columns of P; entries beyond them count as zero.

        Raises
        ------
        ValueError
            If v is not of shape (dims, d), or the dimensions do not increase within 1..d.
        """
        check_dims(dims, self.d)
        if v.shape != (len(dims), self.d):
            raise ValueError(f"v must be ({len(dims)}, {self.d}), got {tuple(v.shape)}")
        return self._nested(v, dims)

    def _nested(self, v: Tensor, dims: Sequence[int]) -> Tensor:
        column = torch.arange(self.d, device=v.device)
        mask = column < torch.tensor(dims, device=v.device)[:, None]
        return self._multiply(v * mask)

    def matrix(self) -> Float[Tensor, "D d"]:
        """P itself, dense: the images of the unit vectors."""
        like = next(buffer for buffer in self.buffers() if buffer.is_floating_point())
        return self(torch.eye(self.d, dtype=like.dtype, device=like.device)).mT


class DenseProjection(Projection):
    """Independent N(0, 1) entries, every column divided by its norm: D d numbers to keep and to multiply by.

    Raises
    ------
    ValueError
        As for :class:`Projection`.
    """

    columns: Tensor

    def __init__(self, D: int, d: int, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(D, d)
        P = torch.randn(D, d, generator=generator, dtype=dtype)
        self.register_buffer("columns", (P / P.norm(dim=0)).mT.contiguous())

    def _multiply(self, v: Tensor) -> Tensor:
        return v @ self.columns

    def _nested(self, v: Tensor, dims: Sequence[int]) -> Tensor:
        return _Staircase.apply(v, self.columns, tuple(dims))


class _Staircase(torch.autograd.Function):
    """The masked product without its zeros: columns between two dimensions serve only the rows from there on."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, columns: Tensor, dims: tuple[int, ...]) -> Tensor:
        ctx.save_for_backward(columns)
        ctx.dims = dims
        theta = v.new_zeros(len(dims), columns.shape[1])
        for k, (low, high) in enumerate(pairwise((0, *dims))):
            theta[k:].addmm_(v[k:, low:high], columns[low:high])
        return theta

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,), (columns,) = gradients, ctx.saved_tensors
        to_v = gradient.new_zeros(len(ctx.dims), len(columns))
        for k, (low, high) in enumerate(pairwise((0, *ctx.dims))):
            to_v[k:, low:high] = gradient[k:] @ columns[low:high].mT
        return to_v, None, None


class SparseProjection(Projection):
    r"""Entries of :math:`\pm 1`, each there with probability ``density``, every column divided by its norm.

    Parameters
    ----------
    density
        None is :math:`1/\sqrt{D}`, with which a column holds about :math:`\sqrt{D}` numbers.

    Raises
    ------
    ValueError
        As for :class:`Projection`, and if ``density`` is not in (0, 1].

    References
    ----------
    Li, Hastie & Church, Very Sparse Random Projections, KDD 2006.
    """

    P: Tensor

    def __init__(
        self,
        D: int,
        d: int,
        generator: torch.Generator,
        dtype: torch.dtype = torch.float32,
        *,
        density: float | None = None,
    ) -> None:
        super().__init__(D, d)
        share = 1 / math.sqrt(D) if density is None else density
        if not 0 < share <= 1:
            raise ValueError(f"density must lie in (0, 1], got {density!r}")
        row, column = _sparse_places(D, d, share, generator)
        count = torch.bincount(column, minlength=d)
        sign = torch.randint(2, row.shape, generator=generator).to(dtype) * 2 - 1
        values = sign * count[column].to(dtype).rsqrt()
        P = torch.sparse_coo_tensor(torch.stack([row, column]), values, (D, d), check_invariants=True)
        self.register_buffer("P", P.coalesce())

    def _multiply(self, v: Tensor) -> Tensor:
        return torch.sparse.mm(self.P, v.reshape(-1, self.d).mT).mT.reshape(*v.shape[:-1], self.D)


def _sparse_places(D: int, d: int, density: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Rows and columns of the entries that are there: D d coin tosses by the gaps between their heads."""
    expected = D * d * density
    draws = math.ceil(expected + 6 * math.sqrt(expected) + 6)
    ends = [torch.zeros(1, dtype=torch.float64)]
    while ends[-1][-1] <= D * d:
        tail = 1 - torch.rand(draws, generator=generator, dtype=torch.float64)  # in (0, 1]
        gaps = (tail.log() / math.log1p(-density) if density < 1 else tail * 0).floor() + 1
        ends.append(ends[-1][-1] + gaps.cumsum(0))
    places = torch.cat(ends[1:]).long() - 1
    places = places[places < D * d]
    column = places // D
    empty = (torch.bincount(column, minlength=d) == 0).nonzero()[:, 0]
    row = torch.cat([places % D, torch.randint(D, empty.shape, generator=generator)])
    return row, torch.cat([column, empty])


class FastfoodProjection(Projection):
    r"""The first D rows and d columns of :math:`H G \Pi H B / \sqrt{D \sum_i G_i^2}`, never formed.

    H is the unnormalised Hadamard matrix of the next power of two :math:`L \ge D`, B a diagonal of random signs,
    :math:`\Pi` a permutation, G a diagonal of N(0, 1). Every entry of :math:`H B` is :math:`\pm 1`, so a column of
    :math:`G \Pi H B` has the norm of G's diagonal, and H multiplies it by :math:`\sqrt{L}`. Of its L rows D are
    kept: the columns are of unit length exactly if D = L, and in the mean over random rows otherwise. Only the first
    d signs of B matter, so 2 L + d numbers are kept, and a product is O(L log L).

    Raises
    ------
    ValueError
        As for :class:`Projection`.

    References
    ----------
    Le, Sarlós & Smola, Fastfood, ICML 2013; Li et al. (2018), appendix, with the same scale in the authors' code.
    """

    signs: Tensor
    gaussian: Tensor
    permutation: Tensor

    def __init__(self, D: int, d: int, generator: torch.Generator, dtype: torch.dtype = torch.float32) -> None:
        super().__init__(D, d)
        L = 1 << (D - 1).bit_length()
        self.register_buffer("signs", torch.randint(2, (d,), generator=generator).to(dtype) * 2 - 1)
        self.register_buffer("permutation", torch.randperm(L, generator=generator).int())
        self.register_buffer("gaussian", torch.randn(L, generator=generator, dtype=dtype))

    def _multiply(self, v: Tensor) -> Tensor:
        padded = functional.pad(v * self.signs, (0, len(self.gaussian) - self.d))
        mixed = fast_walsh_hadamard(padded).index_select(-1, self.permutation) * self.gaussian
        scale = (self.D * self.gaussian.square().sum()).rsqrt()
        return fast_walsh_hadamard(mixed)[..., : self.D] * scale


#: The projections by name.
PROJECTIONS: dict[str, type[Projection]] = {
    "dense": DenseProjection,
    "sparse": SparseProjection,
    "fastfood": FastfoodProjection,
}
KINDS = tuple(PROJECTIONS)


def project(
    kind: str, D: int, d: int, generator: torch.Generator, dtype: torch.dtype = torch.float32
) -> DenseProjection | SparseProjection | FastfoodProjection:
    """A random projection from d to D numbers, the same for the same state of the generator.

    Parameters
    ----------
    kind
        "dense", "sparse" or "fastfood".
    D, d
        Parameters of the network, and dimension of the subspace.
    generator
        CPU generator.

    Raises
    ------
    ValueError
        If the kind is unknown or d does not lie in 1..D.
    """
    checks.one_of(KINDS, kind=kind)
    return PROJECTIONS[kind](D, d, generator, dtype)  # pyright: ignore


def check_dims(dims: Sequence[int], D: int | None = None) -> None:
    """Raise ``ValueError`` unless dimensions are there, increase, and lie in 1..D."""
    for d in dims:
        checks.integer(1, dims=d)
    checks.increasing(dims=tuple(dims))
    if D is not None and dims[-1] > D:
        raise ValueError(f"dims must be at most {D}, got {dims[-1]}")
