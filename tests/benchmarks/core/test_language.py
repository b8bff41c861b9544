"""All learning rates in one stacked run, against one run after the other and against torch's modules and AdamW."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from overparam.core import compute
from overparam.core import language as lang

STEPS, BATCH = 400, 64
SETTINGS = {"overtraining": (4, 8, 2.5), "step_law": (9, 8, 3), "one_epoch": (3, 64, 1.5)}  # runs, width, target


@pytest.fixture(scope="module")
def language():
    language = lang.zipf_language()
    assert len(language.joint) + len(language.cumulative) > 0  # both are made now, not while the clock runs
    return language


def train(language, width, lrs):
    return lang.train_students(language, width, STEPS, BATCH, lrs, seed=0, device="cpu").test[:, 0]


@pytest.mark.parametrize("chapter", SETTINGS)
def test_stacked_against_one_run_after_the_other(compare, language, chapter):
    runs, width, target = SETTINGS[chapter]
    lrs = [0.003 * 1.3**k for k in range(runs)]

    def ours():
        return train(language, width, lrs)

    def peer():
        return torch.cat([train(language, width, [lr]) for lr in lrs])

    torch.testing.assert_close(ours(), peer(), rtol=1e-4, atol=0)
    compare(ours, peer, target=target)


@pytest.mark.parametrize("chapter", SETTINGS)
def test_stacked_against_modules_and_autograd(compare, language, chapter):
    runs, width, target = SETTINGS[chapter]
    lrs = [0.003 * 1.3**k for k in range(runs)]
    compare(lambda: train(language, width, lrs), lambda: [module(language, width, lr) for lr in lrs], target=target)


def module(language, width, lr):
    """One run as a modeller would write it."""
    vocab, generator = language.vocab, compute.generator(0)
    network = nn.Sequential(nn.Linear(2 * vocab, width), nn.ReLU(), nn.Linear(width, vocab))
    optimizer = torch.optim.AdamW(network.parameters(), lr=lr, betas=lang.BETAS, weight_decay=0.0)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1, (step + 1) / (0.05 * STEPS)))
    for _ in range(STEPS):
        contexts, targets = lang.sample(language, BATCH, generator)
        rows = lang.input_rows(contexts, vocab)[:, :2]
        inputs = torch.zeros(BATCH, 2 * vocab).scatter_(1, rows, 1.0)
        optimizer.zero_grad()
        functional.cross_entropy(network(inputs), targets).backward()
        optimizer.step()
        scheduler.step()
    return network


@pytest.mark.parametrize(("runs", "width", "batch", "target"), [(4, 8, 64, 0.7), (3, 64, 64, 1.5), (9, 16, 512, 2)])
def test_a_lookup_against_the_one_hot_product(compare, language, runs, width, batch, target):
    """Both passes of the first layer: a tie for narrow students and small minibatches, won elsewhere."""
    students = lang.init_students(language, width, runs, generator=compute.generator(0))
    rows = lang.input_rows(lang.sample(language, batch, compute.generator(1)).contexts, language.vocab)
    table = students.first.flatten(1)
    delta, gradient = torch.randn(batch, runs * width), torch.empty_like(table)

    @torch.inference_mode()
    def ours():
        for _ in range(STEPS):
            hidden = lang.hidden_layer(students, rows)
            gradient.zero_().index_add_(0, rows.flatten(), delta.repeat_interleave(3, 0))
        return hidden.flatten(1)

    @torch.inference_mode()
    def peer():
        for _ in range(STEPS):
            inputs = torch.zeros(batch, len(table)).scatter_(1, rows, 1.0)
            hidden = torch.mm(inputs, table).relu_()
            torch.mm(inputs.mT, delta, out=gradient)
        return hidden

    torch.testing.assert_close(ours(), peer())
    compare(ours, peer, target=target)
