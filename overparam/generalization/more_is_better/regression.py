"""The regression itself: random features, the kernels they converge to, and ridge regression for all ridges at once."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from overparam.core import checks


def gaussian_features(
    X: Float[Tensor, "n m"], eigvals: Float[Tensor, " m"], k: int, generator: torch.Generator
) -> Float[Tensor, "n {k}"]:
    r"""Random projections :math:`X \operatorname{diag}(\sqrt{\lambda})\, G^\top / \sqrt{k}` with G of N(0, 1) entries.

    On data from N(0, I) their kernel has the eigenvalues :math:`\lambda_i` for infinite k, and the coordinates of x
    as eigenfunctions.

    Raises
    ------
    ValueError
        If k is below 1, an eigenvalue is negative, or there is not one for each column of X.
    """
    checks.integer(1, k=k)
    if X.ndim != 2 or eigvals.shape != X.shape[1:]:
        raise ValueError(f"X must have a column for each eigenvalue, got {tuple(X.shape)} and {tuple(eigvals.shape)}")
    if (bad := eigvals[~(eigvals >= 0)]).numel():
        raise ValueError(f"eigvals must be at least 0, got {float(bad[0]):g}")
    G = torch.randn(k, X.shape[1], generator=generator, dtype=X.dtype).to(X.device)
    return (X * eigvals.sqrt()) @ G.mT / math.sqrt(k)


def relu_features(X: Float[Tensor, "n d"], k: int, generator: torch.Generator) -> Float[Tensor, "n {k}"]:
    r"""A random hidden layer :math:`\operatorname{relu}(\sqrt{2/d}\, W x) / \sqrt{k}` with W of N(0, 1) entries.

    Raises
    ------
    ValueError
        If k is below 1 or X is not a matrix.
    """
    checks.integer(1, k=k)
    _check_inputs(X=X)
    d = X.shape[1]
    W = torch.randn(k, d, generator=generator, dtype=X.dtype).to(X.device)
    return (X @ W.mT * math.sqrt(2 / d)).relu() / math.sqrt(k)


def arccos_kernel(X: Float[Tensor, "n d"], Z: Float[Tensor, "l d"] | None = None) -> Float[Tensor, "n l"]:
    r"""The kernel of :func:`relu_features` for infinite k.

    With t the angle between x and x',

    .. math:: K(x, x') = \frac{|x|\,|x'|}{d}\, \frac{\sin t + (\pi - t) \cos t}{\pi}.

    Parameters
    ----------
    X, Z
        Inputs; without ``Z`` the kernel is that of X with itself, and exactly symmetric.

    Raises
    ------
    ValueError
        If an input is not a matrix or the dimensions differ.

    References
    ----------
    Cho & Saul, Kernel Methods for Deep Learning, NeurIPS 2009, order 1.
    """
    other = X if Z is None else Z
    _check_inputs(X=X, Z=other)
    if other.shape[1] != X.shape[1]:
        raise ValueError(f"Z must have dimension {X.shape[1]} like X, got shape {tuple(other.shape)}")
    lengths = X.norm(dim=1)[:, None] * other.norm(dim=1)
    smallest = torch.finfo(X.dtype).tiny
    cosine = (X @ other.mT / lengths.clamp(min=smallest)).clamp(-1, 1)
    angle = cosine.acos()
    K = lengths / X.shape[1] * (angle.sin() + (math.pi - angle) * cosine) / math.pi
    return (K + K.mT) / 2 if Z is None else K


def kernel_eigenstructure(
    K: Float[Tensor, "n n"], y: Float[Tensor, "n ..."]
) -> tuple[Float[Tensor, " n"], Float[Tensor, "n ..."]]:
    r"""Eigenvalues and target coefficients under the uniform measure on N points.

    :math:`\lambda` are the eigenvalues of K divided by N, falling and clipped at 0, and :math:`v = V^\top y / \sqrt{N}`
    with the eigenvectors V.

    Raises
    ------
    ValueError
        If K is not square or y does not have N rows.
    """
    if K.ndim != 2 or K.shape[0] != K.shape[1] or not len(K):
        raise ValueError(f"K must be square, got shape {tuple(K.shape)}")
    if y.ndim not in (1, 2) or len(y) != len(K):
        raise ValueError(f"y must have {len(K)} rows like K, got shape {tuple(y.shape)}")
    eigvals, vectors = torch.linalg.eigh(K)
    return (eigvals.flip(0) / len(K)).clamp(min=0), vectors.flip(1).mT @ y / math.sqrt(len(K))


def rf_regression(
    train_phi: Float[Tensor, "n k"],
    train_y: Float[Tensor, " n"],
    test_phi: Float[Tensor, "l k"],
    test_y: Float[Tensor, " l"],
    ridges: Float[Tensor, " r"],
) -> tuple[Float[Tensor, " r"], Float[Tensor, " r"]]:
    r"""Training and test error of ridge regression on features, for every ridge from one eigendecomposition.

    The prediction is :math:`f(x) = \phi(x)\, \Phi^\top (\Phi \Phi^\top + \delta I)^{-1} y`; a ridge :math:`\delta` of 0
    stands for the pseudo-inverse.

    Parameters
    ----------
    train_phi, train_y
        Features :math:`\Phi` and labels of the training samples.
    test_phi, test_y
        The same of the test samples.
    ridges
        Each at least 0, in units of the features' squared length, and not multiplied by n.

    Returns
    -------
    Mean squared errors on the training and on the test samples, one a ridge.

    Raises
    ------
    ValueError
        If a ridge is negative or not finite, or rows or columns do not match.
    """
    if train_phi.ndim != 2 or test_phi.ndim != 2 or train_phi.shape[1] != test_phi.shape[1] or not train_phi.shape[1]:
        shapes = f"{tuple(train_phi.shape)} and {tuple(test_phi.shape)}"
        raise ValueError(f"train_phi and test_phi must have the same k >= 1 features, got {shapes}")
    return kernel_regression(train_phi @ train_phi.mT, train_y, test_phi @ train_phi.mT, test_y, ridges)


def kernel_regression(
    K: Float[Tensor, "n n"],
    train_y: Float[Tensor, " n"],
    K_test: Float[Tensor, "l n"],
    test_y: Float[Tensor, " l"],
    ridges: Float[Tensor, " r"],
) -> tuple[Float[Tensor, " r"], Float[Tensor, " r"]]:
    r"""The same as :func:`rf_regression` from a kernel between training samples, and between test and training samples.

    With :math:`K = Q E Q^\top` the residual on the training samples is :math:`Q\, \delta (E + \delta)^{-1} Q^\top y`,
    and its length does not depend on Q.

    Raises
    ------
    ValueError
        If a ridge is negative or not finite, or the shapes do not match.
    """
    n = len(K)
    if K.shape != (n, n) or K_test.ndim != 2 or K_test.shape[1] != n or not (n and len(K_test)):
        raise ValueError(f"K must be square and K_test match it, got {tuple(K.shape)} and {tuple(K_test.shape)}")
    if train_y.shape != (n,) or test_y.shape != (len(K_test),):
        labels = f"{tuple(train_y.shape)} and {tuple(test_y.shape)}"
        raise ValueError(f"there must be {n} training and {len(K_test)} test labels, one a row, got {labels}")
    if ridges.ndim != 1:
        raise ValueError(f"ridges must be a vector, got shape {tuple(ridges.shape)}")
    if (bad := ridges[~((ridges >= 0) & ridges.isfinite())]).numel():
        raise ValueError(f"ridges must be finite and at least 0, got {float(bad[0]):g}")
    spectrum, Q = torch.linalg.eigh(K)
    spectrum = spectrum.clamp(min=0)[:, None]
    target = (Q.mT @ train_y)[:, None]
    null = spectrum <= n * torch.finfo(K.dtype).eps * spectrum[-1]
    dropped = null & (ridges == 0)  # by the pseudo-inverse
    inverse = torch.where(dropped, 0.0, 1 / (spectrum + ridges))
    residual = torch.where(dropped, 1.0, ridges * inverse) * target
    predicted = (K_test @ Q) @ (inverse * target)
    return residual.square().mean(0), (predicted - test_y[:, None]).square().mean(0)


def _check_inputs(**inputs: Tensor) -> None:
    for name, x in inputs.items():
        if x.ndim != 2 or not x.shape[1]:
            raise ValueError(f"{name} must be a matrix of samples in rows, got shape {tuple(x.shape)}")
