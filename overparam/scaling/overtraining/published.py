"""The losses and errors of the paper's models that were trained on RedPajama."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float

#: Parameters of a model, and for each token multiplier its loss on C4 and its mean top-1 error on 17 and on 46 tasks.
#: The models were trained on RedPajama by Gadre et al. (2024), who publish these numbers under the MIT licence,
#: Copyright (c) 2024 mlfoundations, https://github.com/mlfoundations/scaling; rounded here to four decimals.
_PUBLISHED = {
    10_569_312: {
        5: (6.1239, 0.8187, 0.7508),
        10: (5.7232, 0.8146, 0.7532),
        20: (5.3870, 0.8135, 0.7532),
        40: (5.1078, 0.8177, 0.7551),
        80: (4.8231, 0.8112, 0.7538),
        160: (4.6705, 0.7859, 0.7427),
        320: (4.5723, 0.7671, 0.7338),
        640: (4.4921, 0.7712, 0.7390),
    },
    78_914_048: {
        5: (5.0388, 0.8124, 0.7520),
        10: (4.1643, 0.7313, 0.7248),
        20: (3.8999, 0.7250, 0.7193),
        40: (3.7441, 0.7025, 0.7152),
        80: (3.6345, 0.6990, 0.7135),
        160: (3.5525, 0.6818, 0.7097),
        320: (3.4895, 0.6681, 0.7023),
        640: (3.4254, 0.6634, 0.7027),
    },
    153_677_376: {
        5: (4.0790, 0.7467, 0.7292),
        10: (3.7329, 0.6942, 0.7106),
        20: (3.5311, 0.6710, 0.7030),
        40: (3.4010, 0.6640, 0.6981),
        80: (3.3139, 0.6513, 0.6959),
        160: (3.2389, 0.6386, 0.6924),
        320: (3.1681, 0.6296, 0.6875),
        640: (3.1051, 0.6153, 0.6786),
    },
    411_616_256: {
        5: (3.6452, 0.6806, 0.7069),
        10: (3.2738, 0.6597, 0.6974),
        20: (3.1498, 0.6366, 0.6858),
        40: (3.0483, 0.6133, 0.6823),
        80: (2.9739, 0.6081, 0.6765),
        160: (2.9088, 0.5903, 0.6677),
        320: (2.8035, 0.5491, 0.6494),
        640: (2.7682, 0.5401, 0.6451),
    },
    1_439_795_200: {20: (2.7688, 0.5473, 0.6462), 640: (2.5021, 0.4752, 0.6000)},
    6_889_410_560: {20: (2.4250, 0.4716, 0.5981)},
}


def published_runs() -> dict[str, Float[np.ndarray, " runs"]]:
    """The 35 models trained on RedPajama, as arrays ``N``, ``M``, ``loss``, ``err17`` and ``err46``.

    ``N`` counts all parameters, with embeddings; ``M`` is the number of training tokens for each; ``loss`` is in nats
    a token on C4; ``err17`` and ``err46`` are mean top-1 errors on the paper's two sets of downstream tasks.

    References
    ----------
    Gadre et al. (2024), whose data are under the MIT licence.
    """
    rows = [(N, M, *measured) for N, runs in _PUBLISHED.items() for M, measured in runs.items()]
    columns = np.array(rows, dtype=np.float64).T
    return dict(zip(("N", "M", "loss", "err17", "err46"), columns, strict=True))


def small_runs(published: dict[str, np.ndarray]) -> Bool[np.ndarray, " runs"]:
    """The five that the loss law is fitted to: all below 1e9 parameters at M = 20, and the smallest at M = 320."""
    N, M = published["N"], published["M"]
    return ((N < 1e9) & (M == 20)) | ((N.min() == N) & (M == 320))


def error_runs(published: dict[str, np.ndarray]) -> Bool[np.ndarray, " runs"]:
    """The six that the error law is fitted to: the same and the model of 1.4B parameters at M = 20."""
    N, M = published["N"], published["M"]
    return small_runs(published) | ((N > 1e9) & (N < 5e9) & (M == 20))


def large_runs(published: dict[str, np.ndarray]) -> Bool[np.ndarray, " runs"]:
    """The two that are predicted: 1.4B at M = 640 and 6.9B at M = 20, in this order."""
    N, M = published["N"], published["M"]
    return ((N > 1e9) & (M == 640)) | (N.max() == N)
