"""A row of the grid as one stacked run, against nine runs, and a thousand refits as one batch, against a loop."""

from __future__ import annotations

import functools

import numpy as np
import torch
from sklearn.linear_model import LinearRegression
from torch import nn

from overparam.core import compute
from overparam.core import language as lang
from overparam.scaling import step_law as sl

CONFIG = sl.Config()
WIDTH, TOKENS, BATCH = 8, 16_384, 64


@functools.cache
def language():
    made = lang.zipf_language()
    assert len(made.joint) + len(made.cumulative) > 0  # both are made now, not while the clock runs
    return made


def train(lrs):
    options = {"seed": 0, "final_lr": CONFIG.min_lr, "device": "cpu"}
    return lang.train_students(language(), WIDTH, TOKENS // BATCH, BATCH, lrs, **options).test[:, -1]


def test_nine_learning_rates_in_one_run_against_nine_runs(compare):
    def peer():
        return torch.cat([train([lr]) for lr in CONFIG.lrs])

    torch.testing.assert_close(train(CONFIG.lrs), peer(), rtol=1e-4, atol=0)
    compare(lambda: train(CONFIG.lrs), peer, target=3)


def test_nine_learning_rates_in_one_run_against_torch_modules(compare):
    def peer():
        return torch.stack([module_run(lr) for lr in CONFIG.lrs])

    torch.testing.assert_close(train(CONFIG.lrs), peer(), rtol=1e-3, atol=0)
    compare(lambda: train(CONFIG.lrs), peer, target=3, rounds=3)


def module_run(peak):
    """One run as one writes it: a module, AdamW, and a schedule; on the same start and the same tokens."""
    vocab, steps = language().vocab, TOKENS // BATCH
    starts, tokens, _ = (compute.generator(seed) for seed in compute.seeds(0, 3))
    students = lang.init_students(language(), WIDTH, 1, generator=starts)
    network = nn.Sequential(nn.Linear(2 * vocab, WIDTH), nn.ReLU(), nn.Linear(WIDTH, vocab))
    with torch.no_grad():
        network[0].weight.copy_(students.first[:-1, 0].T)
        network[0].bias.zero_()
        network[2].weight.copy_(students.second[0].T)
        network[2].bias.copy_(students.bias[0])
    optimizer = torch.optim.AdamW(network.parameters(), lr=1.0, betas=lang.BETAS, weight_decay=0.0)
    rates = lang.learning_rates([peak], steps, final=CONFIG.min_lr)[:, 0].tolist()
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rates[min(step, steps - 1)])
    contexts, targets = lang.sample(language(), TOKENS, tokens)
    inputs = lang.input_rows(contexts, vocab)[:, :2]
    for rows, target in zip(inputs.split(BATCH), targets.split(BATCH), strict=True):
        x = torch.zeros(BATCH, 2 * vocab).scatter_(1, rows, 1.0)
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(x), target).backward()
        optimizer.step()
        scheduler.step()
    with torch.no_grad():
        every = lang.input_rows(torch.arange(vocab**2), vocab)[:, :2]
        x = torch.zeros(vocab**2, 2 * vocab).scatter_(1, every, 1.0)
        return -(language().joint * network(x).double().log_softmax(-1)).sum()


def test_a_thousand_refits_in_one_batch(compare):
    generator = np.random.default_rng(0)
    N, D = (np.repeat(10.0 ** generator.uniform(3, 9, 9), 5) for _ in range(2))
    lr, batch = sl.STEP_LAW(N, D)
    runs = N, D, lr * generator.lognormal(0, 0.3, 45), batch * generator.lognormal(0, 0.3, 45), np.ones(45)

    def ours():
        return sl.bootstrap_hyper_law(*runs, generator=compute.generator(0))

    def peer():
        logs = np.log(runs[:4])
        draws = torch.randint(45, (1000, 45), generator=compute.generator(0)).numpy()
        return np.array([refit(*logs[:, draw]) for draw in draws])

    np.testing.assert_allclose(ours()[:, [1, 2, 4]], peer(), rtol=1e-6, atol=1e-9)
    compare(ours, peer, target=3, rounds=3)


def refit(log_N, log_D, log_lr, log_batch):
    rate = LinearRegression().fit(np.stack([log_N, log_D], 1), log_lr)
    size = LinearRegression().fit(log_D[:, None], log_batch)
    return [*rate.coef_, *size.coef_]
