"""The learning rates of every arm in one stacked run, against one run after the other."""

from __future__ import annotations

from itertools import product

import torch

from overparam.core.language import train_students, zipf_language
from overparam.scaling import one_epoch as oe

CONFIG, STEPS = oe.Config(), 400


def test_stacked_learning_rates(compare):
    language = zipf_language(seed=CONFIG.seed)
    assert len(language.joint) + len(language.cumulative) > 0  # both are made now, not while the clock runs

    def arms(lrs):
        options = {"seed": CONFIG.seed, "eval_at": (STEPS // 2, STEPS), "device": "cpu"}
        runs = [
            train_students(language, CONFIG.hidden, STEPS, CONFIG.batch, lrs, dataset=tokens, dropout=rate, **options)
            for tokens, rate in product((None, CONFIG.dataset), CONFIG.dropouts)
        ]
        return torch.stack([run.test for run in runs])

    def ours():
        return arms(CONFIG.lrs)

    def peer():
        return torch.cat([arms((lr,)) for lr in CONFIG.lrs], 1)

    torch.testing.assert_close(ours(), peer(), rtol=1e-3, atol=0)
    compare(ours, peer, target=1.5)
