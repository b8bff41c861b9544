"""Where words come from: a synthetic corpus whose analogies are known, and text; and how analogies are counted."""

from __future__ import annotations

import math
import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from overparam.core import checks, datasets


def analogy_corpus(
    bases: int,
    attributes: int,
    contexts: int,
    *,
    noise: float = 0.3,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float64,
) -> Float[Tensor, "v v"]:
    r"""A joint distribution of words and contexts in which analogies hold by construction.

    The first bases · attributes words form a grid; word (i, j) has index i · attributes + j and is seen with context
    c in proportion to :math:`\text{base}_{ic}\,\text{attr}_{jc}`, so that its log-probabilities are a sum of two
    parts. (bases + attributes) · contexts context words follow.

    Parameters
    ----------
    bases, attributes, contexts
        Sizes of the grid, and context words for each base and attribute.
    noise
        Weight of a part that every word has to itself, against a weight of 1 for the product.
    generator
        CPU generator; bases, attributes and the words' own parts are cubed uniform numbers, drawn in this order.

    Returns
    -------
    P, symmetric, zero but for the block of grid words and contexts and its transpose, of sum 1.

    Raises
    ------
    ValueError
        If there are fewer than 2 bases or attributes, no contexts, or negative noise.
    """
    checks.integer(2, bases=bases, attributes=attributes)
    checks.integer(1, contexts=contexts)
    checks.non_negative(noise=noise)
    grid, columns = bases * attributes, (bases + attributes) * contexts
    base, attribute, own = (
        torch.rand(rows, columns, generator=generator, dtype=dtype) ** 3 for rows in (bases, attributes, grid)
    )
    shared = (base[:, None] * attribute).flatten(0, 1)
    rows = (_rows_to_one(shared) + noise * _rows_to_one(own)) / (1 + noise)
    P = torch.zeros(grid + columns, grid + columns, dtype=dtype)
    P[:grid, grid:], P[grid:, :grid] = rows, rows.mT
    return P / P.sum()


def _rows_to_one(weights: Tensor) -> Tensor:
    return weights / weights.sum(1, keepdim=True)


def analogy_accuracy(E: Float[Tensor, "h v"], bases: int, attributes: int) -> float:
    r"""The share of analogies (i, j) : (i, j') = (i', j) : (i', j') that the embeddings solve.

    For all i != i', j != j', the grid word nearest by cosine to :math:`e_{ij'} - e_{ij} + e_{i'j}`, its three words
    left out, must be (i', j'). Embeddings have length 1; k words tied within 1e-9 count 1/k.

    Parameters
    ----------
    E
        Embeddings, one a column, the grid's first; further columns are ignored.
    bases, attributes
        Sizes of the grid.

    Raises
    ------
    ValueError
        If there are fewer than 2 bases or attributes, or E has fewer columns than the grid has words.
    """
    checks.integer(2, bases=bases, attributes=attributes)
    grid = bases * attributes
    if E.ndim != 2 or E.shape[1] < grid:
        raise ValueError(f"E must be a matrix of at least {grid} columns, got shape {tuple(E.shape)}")
    unit = functional.normalize(E[:, :grid], dim=0)
    gram = unit.mT @ unit
    word = torch.arange(grid, device=E.device).view(bases, attributes)
    solved = sum(_solved(gram, word, i) for i in range(bases))
    return float(solved) / (grid * (bases - 1) * (attributes - 1))


def _solved(gram: Tensor, word: Tensor, i: int) -> Tensor:
    """The analogies solved whose first base is i; one base at a time bounds the memory."""
    bases, attributes = word.shape
    rows = gram.view(bases, attributes, -1)
    # [i', j, j', candidate]; up to the length of the query, which all candidates share.
    cosine = (rows - rows[i])[:, :, None] + rows[i]
    counts = (torch.arange(n, device=word.device) for n in (bases, attributes, attributes))
    other_i, j, other_j = torch.meshgrid(*counts, indexing="ij")
    asked = torch.stack([word[i, other_j], word[i, j], word[other_i, j]], -1)
    cosine.scatter_(-1, asked, -math.inf)
    near = cosine.amax(-1) - 1e-9
    won = cosine.gather(-1, word[other_i, other_j, None])[..., 0] >= near
    share = won / (cosine >= near[..., None]).sum(-1).to(gram.dtype)
    return share[(other_i != i) & (other_j != j)].sum()


#: The paper's smaller corpus: 10^8 characters of Wikipedia, about 17 million words in lower case.
TEXT8 = ("http://mattmahoney.net/dc/text8.zip", "a6640522afe85d1963ad56c05b0ede0a0c000dddc9671758a6cc09b7a38e5232")


def text8(source: str | Path | None = None) -> list[str]:
    """The words of text8 in order, downloaded once (31 MB) and checked, or read from a zip file in its format."""
    path = datasets.fetch(TEXT8[0], f"sha256:{TEXT8[1]}") if source is None else Path(source)
    with zipfile.ZipFile(path) as archive:
        return archive.read("text8").decode("ascii").split()


def skip_gram_pairs(
    words: Sequence[str], vocabulary: int, *, window: int = 8, dtype: torch.dtype = torch.float64
) -> tuple[Float[Tensor, "{vocabulary} {vocabulary}"], list[str]]:
    """The joint distribution of two words at most ``window`` apart, and the words that its rows stand for.

    Parameters
    ----------
    words
        A text. Words outside the vocabulary are taken out before distances are counted, as word2vec does.
    vocabulary
        How many of the most frequent words to keep, the most frequent first.
    window
        The largest distance; the paper's code has 8.

    Raises
    ------
    ValueError
        If ``vocabulary`` or ``window`` is below 1, or the text has fewer words than asked for.
    """
    checks.integer(1, vocabulary=vocabulary, window=window)
    kept = [word for word, _ in Counter(words).most_common(vocabulary)]
    if len(kept) < vocabulary:
        raise ValueError(f"the text has {len(kept)} different words, got vocabulary {vocabulary}")
    index = {word: i for i, word in enumerate(kept)}
    text = torch.tensor([index[word] for word in words if word in index])
    if len(text) < 2:
        raise ValueError(f"a pair needs 2 words of the vocabulary, got {len(text)}")
    counts = torch.zeros(vocabulary**2, dtype=dtype)
    for distance in range(1, min(window, len(text) - 1) + 1):
        pairs = text[:-distance] * vocabulary + text[distance:]
        counts += torch.bincount(pairs, minlength=vocabulary**2)
    counts = counts.view(vocabulary, vocabulary)
    counts = counts + counts.mT
    return counts / counts.sum(), kept
