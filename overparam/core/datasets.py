"""Data that several chapters share: generated or bundled at reader scale, fetched to the cache at full scale.

Everything random is drawn from a seeded CPU generator, and every image is a float tensor with its label an
int64. Nothing here downloads unless a full-scale function is called.
"""

from __future__ import annotations

import importlib
import random
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from overparam.core import checks, compute

DIGITS = 1797
DIGITS_TEST = 600


class Examples(NamedTuple):
    """Inputs and their labels, in the same order."""

    x: Float[Tensor, "n ..."]
    y: Int[Tensor, " n"]


@dataclass(frozen=True)
class Split:
    """Training, validation and test examples; validation is empty where none was asked for."""

    train: Examples
    val: Examples
    test: Examples

    def whole(self) -> Examples:
        """All examples as one set: training first, then validation, then test."""
        return Examples(*(torch.cat(parts) for parts in zip(self.train, self.val, self.test, strict=True)))

    def to(self, device: torch.device) -> Split:
        """The same split on another device."""
        return Split(*(Examples(e.x.to(device), e.y.to(device)) for e in (self.train, self.val, self.test)))


def digits(
    n_train: int | None = None,
    n_val: int = 0,
    *,
    seed: int = 0,
    flatten: bool = True,
    center: bool = True,
    scale: Literal["unit", "rms", "raw"] = "unit",
) -> Split:
    """scikit-learn's 1,797 handwritten digits of 8 x 8 pixels, split by a seeded permutation.

    Parameters
    ----------
    n_train, n_val
        Images for training and validation; the rest is for testing. ``n_train=None`` leaves 600 for testing.
    seed
        Decides the permutation: training comes first in it, then validation, then test.
    flatten
        Images as vectors of 64 pixels, else as 1 x 8 x 8.
    center
        Subtract the mean training image.
    scale
        "unit" divides the pixels by 16 (to [0, 1] before centring), "raw" leaves 0..16, "rms" scales so that
        the training pixels have a root mean square of 1.

    Returns
    -------
    A split of float32 images and int64 labels 0..9.

    Raises
    ------
    ValueError
        If the sizes do not leave at least one image for training and one for testing, or ``scale`` is unknown.
    """
    from sklearn.datasets import load_digits

    checks.one_of(("unit", "rms", "raw"), scale=scale)
    checks.integer(0, n_val=n_val)
    n_train = DIGITS - DIGITS_TEST - n_val if n_train is None else n_train
    checks.integer(1, n_train=n_train)
    if n_train + n_val >= DIGITS:
        raise ValueError(f"n_train + n_val must leave some of {DIGITS} digits, got {n_train} + {n_val}")
    pixels, targets = load_digits(return_X_y=True)
    order = torch.randperm(DIGITS, generator=compute.generator(seed))
    images = torch.as_tensor(pixels, dtype=torch.float32)[order]
    labels = torch.as_tensor(targets, dtype=torch.int64)[order]
    images = images / 16 if scale == "unit" else images
    images = images - images[:n_train].mean(0) if center else images
    images = images / images[:n_train].square().mean().sqrt() if scale == "rms" else images
    images = images if flatten else images.reshape(-1, 1, 8, 8)
    sizes = [n_train, n_val, DIGITS - n_train - n_val]
    return Split(*(Examples(x, y) for x, y in zip(images.split(sizes), labels.split(sizes), strict=True)))


def mnist1d(n: int = 5000, *, seed: int = 0) -> Split:
    """MNIST-1D: generated signals of length 40 in ten classes, 80 % for training and the rest for testing.

    Parameters
    ----------
    n
        Signals in all, a multiple of 10. The package's own default is 5,000.
    seed
        Added to 42, the package's own seed. The global states of ``random`` and ``numpy.random``, which the
        package seeds, are left as they were.

    Raises
    ------
    MissingExtraError
        If the package ``mnist1d`` is missing.
    ValueError
        If ``n`` is not a positive multiple of 10.

    References
    ----------
    Greydanus & Kobak, Scaling Down Deep Learning with MNIST-1D, ICML 2024.
    """
    checks.integer(10, n=n)
    if n % 10:
        raise ValueError(f"n must be a multiple of 10, one share for each class, got {n}")
    package = optional("mnist1d.data", extra="scaling")
    arguments = package.get_dataset_args()
    arguments.num_samples, arguments.seed = n, 42 + seed
    python_state, numpy_state = random.getstate(), np.random.get_state()
    try:
        data = package.make_dataset(arguments)
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
    train, test = (
        Examples(torch.as_tensor(data[x], dtype=torch.float32), torch.as_tensor(data[y], dtype=torch.int64))
        for x, y in (("x", "y"), ("x_test", "y_test"))
    )
    return Split(train, Examples(train.x[:0], train.y[:0]), test)


def flip_labels(
    labels: Int[Tensor, " n"],
    rate: float,
    num_classes: int,
    *,
    exact: bool,
    generator: torch.Generator,
) -> tuple[Int[Tensor, " n"], Bool[Tensor, " n"]]:
    """Symmetric label noise: some labels move, each to a uniformly drawn *other* class.

    Parameters
    ----------
    labels
        Clean labels 0..num_classes-1.
    rate
        The share to move, in [0, 1].
    num_classes
        At least 2.
    exact
        True moves exactly ``round(rate * n)`` labels; False moves each with probability ``rate``, independently.
    generator
        CPU generator.

    Returns
    -------
    The noisy labels and the mask of those that moved, on the labels' device.

    Raises
    ------
    ValueError
        If ``rate``, ``num_classes`` or a label lies outside its range.
    """
    checks.probability(rate=rate)
    checks.integer(2, num_classes=num_classes)
    if labels.numel() and not (labels.min() >= 0 and labels.max() < num_classes):
        raise ValueError(f"labels must lie in 0..{num_classes - 1}, got {labels.min()}..{labels.max()}")
    n = len(labels)
    if exact:
        moved = torch.zeros(n, dtype=torch.bool)
        moved[torch.randperm(n, generator=generator)[: round(rate * n)]] = True
    else:
        moved = torch.rand(n, generator=generator) < rate
    shift = torch.randint(1, num_classes, (n,), generator=generator).to(labels)
    moved = moved.to(labels.device)
    return torch.where(moved, (labels + shift) % num_classes, labels), moved


def crop_and_mirror(
    padded: Float[Tensor, "*batch c _ _"], border: int, *, generator: torch.Generator
) -> Float[Tensor, "*batch c _ _"]:
    """The usual augmentation of small images: a crop out of a border and, every other time, a mirror image.

    Parameters
    ----------
    padded
        Images with a border on all sides, filled as the caller likes.
    border
        Its width in pixels; the crops are without it.
    generator
        CPU generator: a corner 0..2 ``border`` along each axis and a mirror for each image.

    Raises
    ------
    ValueError
        If ``border`` is negative or leaves nothing of the images.
    """
    checks.integer(0, border=border)
    flat = padded.flatten(0, -4)
    h, w = (side - 2 * border for side in flat.shape[-2:])
    if min(h, w) < 1:
        raise ValueError(f"border must leave something of images of shape {tuple(flat.shape[-2:])}, got {border}")
    n = len(flat)
    corners = torch.randint(2 * border + 1, (2, n, 1), generator=generator)
    mirrored = torch.rand(n, 1, generator=generator) < 0.5
    rows = (corners[0] + torch.arange(h)).to(flat.device)
    columns = (corners[1] + torch.where(mirrored, torch.arange(w).flip(0), torch.arange(w))).to(flat.device)
    index = torch.arange(n, device=flat.device)[:, None, None]
    crops = flat.movedim(1, -1)[index, rows[:, :, None], columns[:, None, :]].movedim(-1, 1)
    return crops.reshape(*padded.shape[:-2], h, w)


def random_low_rank(
    n1: int,
    n2: int,
    singular_values: tuple[float, ...] | list[float],
    *,
    psd: bool = False,
    generator: torch.Generator | None = None,
    dtype: torch.dtype = torch.float64,
) -> Float[Tensor, "{n1} {n2}"]:
    r"""A random matrix :math:`U \operatorname{diag}(s) V^\top` with given singular values.

    Parameters
    ----------
    n1, n2
        Its size.
    singular_values
        Positive, at most ``min(n1, n2)`` of them.
    psd
        Use one orthonormal factor twice, so that the matrix is symmetric positive semi-definite.

    Raises
    ------
    ValueError
        If the rank does not fit, a singular value is not positive, or ``psd`` with ``n1 != n2``.
    """
    checks.integer(1, n1=n1, n2=n2)
    rank = len(singular_values)
    if not 1 <= rank <= min(n1, n2):
        raise ValueError(f"the rank must lie in 1..{min(n1, n2)} for a {n1} x {n2} matrix, got {rank}")
    for value in singular_values:
        checks.positive(singular_value=value)
    if psd and n1 != n2:
        raise ValueError(f"a positive semi-definite matrix is square, got {n1} x {n2}")
    left = random_orthonormal(n1, rank, generator=generator, dtype=dtype)
    right = left if psd else random_orthonormal(n2, rank, generator=generator, dtype=dtype)
    return (left * torch.tensor(singular_values, dtype=dtype)) @ right.mT


def random_orthonormal(
    n: int, k: int, *, generator: torch.Generator | None = None, dtype: torch.dtype = torch.float64
) -> Float[Tensor, "{n} {k}"]:
    """``k <= n`` orthonormal columns, uniform (Haar): QR of a Gaussian matrix, with R's diagonal made positive.

    Raises
    ------
    ValueError
        If there are no columns or more than rows.
    """
    checks.integer(1, n=n)
    if not 1 <= k <= n:
        raise ValueError(f"k must lie in 1..{n} for columns of length {n}, got {k}")
    q, r = torch.linalg.qr(torch.randn(n, k, generator=generator, dtype=dtype))
    return q * r.diagonal().sign()


class MissingExtraError(ImportError):
    """A package is missing that an extra installs; the message names the extra."""


def optional(module: str, *, extra: str) -> ModuleType:
    """Import a module that only an extra installs.

    Raises
    ------
    MissingExtraError
        If it is missing.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise MissingExtraError(f"{package} is missing; install it with: pip install 'overparam[{extra}]'") from error


# --- Full scale -------------------------------------------------------------------------------------------------


class HubSet(NamedTuple):
    """Where a data set stands on the Hugging Face hub, and what its columns and splits are called."""

    path: str
    image: str
    label: str
    splits: tuple[str, str] = ("train", "test")


HUB_SETS = {
    "cifar10": HubSet("uoft-cs/cifar10", "img", "label"),
    "cifar100": HubSet("uoft-cs/cifar100", "img", "fine_label"),
    "mnist": HubSet("ylecun/mnist", "image", "label"),
}


def hub_images(name: str, *, n_val: int = 0, seed: int = 0, source: str | Path | None = None) -> Split:
    """A full-scale image set from the Hugging Face hub, kept in the user's cache directory.

    Parameters
    ----------
    name
        "cifar10", "cifar100" or "mnist".
    n_val
        Training images set aside for validation, by a seeded permutation.
    source
        A folder of parquet files in the hub's layout (``train-*.parquet``, ``test-*.parquet``) to read instead.

    Returns
    -------
    Channel-first float32 images in [0, 1], minus the mean training pixel of each channel and divided by its
    standard deviation.

    Raises
    ------
    ValueError
        If the name is unknown, or ``n_val`` leaves nothing to train on.
    MissingExtraError
        If the extra ``full`` is not installed.
    """
    checks.one_of(tuple(HUB_SETS), name=name)
    checks.integer(0, n_val=n_val)
    train, test = (_hub_split(HUB_SETS[name], split, source) for split in HUB_SETS[name].splits)
    if n_val >= len(train.y):
        raise ValueError(f"n_val must be below the {len(train.y)} training images, got {n_val}")
    order = torch.randperm(len(train.y), generator=compute.generator(seed))
    val, train = (Examples(train.x[i], train.y[i]) for i in (order[:n_val], order[n_val:]))
    mean = train.x.mean((0, 2, 3), keepdim=True)
    std = train.x.std((0, 2, 3), keepdim=True)
    return Split(*(Examples((e.x - mean) / std, e.y) for e in (train, val, test)))


def _hub_split(where: HubSet, split: str, source: str | Path | None) -> Examples:
    hub: Any = optional("datasets", extra="full")
    place = where.path if source is None else str(source)
    rows = hub.load_dataset(place, split=split, cache_dir=str(cache_directory() / "hub"))
    images = np.stack([np.asarray(image) for image in rows[where.image]])
    images = images[..., None] if images.ndim == 3 else images
    pixels = torch.from_numpy(images).movedim(-1, 1).float() / 255
    return Examples(pixels, torch.tensor(rows[where.label], dtype=torch.int64))


def fetch(url: str, checksum: str) -> Path:
    """A single file, downloaded once into the user's cache directory and checked.

    Parameters
    ----------
    url
        Where it is.
    checksum
        What it must be, as pooch writes it: ``"sha256:…"``.

    Raises
    ------
    ValueError
        If what arrived is something else.
    """
    import pooch

    return Path(pooch.retrieve(url, known_hash=checksum, path=cache_directory() / "files"))


def cache_directory() -> Path:
    """The folder of this user's cache in which downloads are kept."""
    from platformdirs import user_cache_path

    return user_cache_path("overparam")
