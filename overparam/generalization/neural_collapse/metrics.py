"""How collapsed features are: class means, covariances, and the three measures of neural collapse."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from overparam.core import checks

#: What the class means can be compared with.
FRAMES = ("simplex", "orthogonal")


def check_features(H: Tensor, K: int) -> int:
    """The number of samples of each class, n, of features (d, Kn); refuses what does not divide."""
    checks.integer(2, K=K)
    if H.ndim != 2 or H.shape[1] < K or H.shape[1] % K:
        raise ValueError(
            f"features must be (d, K n) with n >= 1 samples of each of the {K} classes, got {tuple(H.shape)}"
        )
    return H.shape[1] // K


def one_hot_targets(K: int, n: int, dtype: torch.dtype = torch.float64) -> Float[Tensor, "{K} {K}*{n}"]:
    r"""The targets :math:`Y = I_K \otimes 1_n^\top`: n samples of the first class, then n of the second, and so on.

    Raises
    ------
    ValueError
        If K is below 2 or n below 1.
    """
    checks.integer(2, K=K)
    checks.integer(1, n=n)
    return torch.eye(K, dtype=dtype).repeat_interleave(n, 1)


def class_means(H: Float[Tensor, "d N"], K: int) -> tuple[Float[Tensor, "d {K}"], Float[Tensor, "d N"]]:
    r"""The class means M, and the residual Z of every sample: :math:`H = M \otimes 1_n^\top + Z`.

    Raises
    ------
    ValueError
        If K is below 2 or the columns of H are no multiple of it.
    """
    n = check_features(H, K)
    M = H.unflatten(1, (K, n)).mean(2)
    return M, H - M.repeat_interleave(n, 1)


def covariances(H: Float[Tensor, "d N"], K: int) -> tuple[Float[Tensor, "d d"], Float[Tensor, "d d"]]:
    r"""Within classes :math:`\Sigma_W = ZZ^\top/(Kn)`, between them :math:`\Sigma_B = CC^\top/K`, C centred means.

    Raises
    ------
    ValueError
        If K is below 2 or the columns of H are no multiple of it.
    """
    M, Z = class_means(H, K)
    C = M - M.mean(1, keepdim=True)
    return Z @ Z.mT / H.shape[1], C @ C.mT / K


def nc1(H: Float[Tensor, "d N"], K: int) -> float:
    r"""Within-class variability, :math:`\operatorname{tr}(\Sigma_W \Sigma_B^+)/K`; 0 at collapse.

    The pseudo-inverse is taken of the centred means C, :math:`\|C^+ Z\|^2/(Kn)`, and keeps at most K - 1 directions:
    the last singular value of C is rounding.

    Raises
    ------
    ValueError
        If all class means are equal, K is below 2, or the columns of H are no multiple of it.

    References
    ----------
    Papyan, Han & Donoho (2020), NC1.
    """
    C, Z = _centred(H, K)
    U, s, _ = torch.linalg.svd(C, full_matrices=False)
    kept = s > s[0] * max(C.shape) * torch.finfo(s.dtype).eps
    kept[K - 1 :] = False
    return float(((U[:, kept].mT @ Z) / s[kept, None]).square().sum() / H.shape[1])


def nc1_trace(H: Float[Tensor, "d N"], K: int) -> float:
    r"""The ratio :math:`\operatorname{tr} \Sigma_W / \operatorname{tr} \Sigma_B`, called NC1~: NC1 without an inverse.

    Raises
    ------
    ValueError
        If all class means are equal, K is below 2, or the columns of H are no multiple of it.

    References
    ----------
    Tirer et al. (2023), the measure of its theorems.
    """
    C, Z = _centred(H, K)
    return float(Z.square().sum() / H.shape[1] / (C.square().sum() / K))


def nc2(H: Float[Tensor, "d N"], K: int, frame: str = "simplex") -> float:
    r"""Distance of the class means' Gram matrix from that of a frame, both at unit Frobenius norm.

    Parameters
    ----------
    H, K
        Features class by class, and the number of classes.
    frame
        "simplex" compares the centred means with :math:`I - 11^\top/K`, "orthogonal" the means with :math:`I`.

    Raises
    ------
    ValueError
        If the frame is unknown, the means to compare vanish, K is below 2, or H has no multiple of K columns.

    References
    ----------
    Papyan, Han & Donoho (2020), NC2.
    """
    checks.one_of(FRAMES, frame=frame)
    target = torch.eye(K, dtype=H.dtype, device=H.device)
    if frame == "simplex":
        vectors, target = _centred(H, K)[0], target - 1 / K
    else:
        vectors = class_means(H, K)[0]
    gram = vectors.mT @ vectors
    return float((_unit(gram, "the Gram matrix of the means") - target / target.norm()).norm())


def nc3(W: Float[Tensor, "K d"], H: Float[Tensor, "d N"], K: int) -> float:
    r"""Distance of the classifier from the class means, :math:`\|W/\|W\| - M^\top/\|M\|\|`.

    Raises
    ------
    ValueError
        If W is not (K, d) or vanishes, the means vanish, K is below 2, or H has no multiple of K columns.

    References
    ----------
    Papyan, Han & Donoho (2020), NC3.
    """
    M, _ = class_means(H, K)
    if W.shape != M.mT.shape:
        raise ValueError(f"W must have shape {tuple(M.mT.shape)}, got {tuple(W.shape)}")
    return float((_unit(W, "W") - _unit(M.mT, "the matrix of means")).norm())


def _centred(H: Tensor, K: int) -> tuple[Tensor, Tensor]:
    """The centred means and the residuals; refuses means that differ by rounding only."""
    M, Z = class_means(H, K)
    C = M - M.mean(1, keepdim=True)
    spread = float(C.norm())
    if spread <= 10 * torch.finfo(H.dtype).eps * float(M.norm()):
        raise ValueError(f"the between-class covariance must not be zero, got class means of spread {spread:g}")
    return C, Z


def _unit(matrix: Tensor, name: str) -> Tensor:
    norm = float(matrix.norm())
    if norm == 0:
        raise ValueError(f"{name} must not vanish, got norm {norm:g}")
    return matrix / norm
