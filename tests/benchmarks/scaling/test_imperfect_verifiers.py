"""Programs as tables, a block at once, against an interpreter that runs each of them input by input."""

from __future__ import annotations

import torch

from overparam.core import compute
from overparam.scaling import imperfect_verifiers as iv


def test_eight_thousand_programs(compare):
    m, table, generator = 64, iv.operations(64), compute.generator(0)
    # All of five operations: a shorter chain ends in identities, for which the peer would have nothing to do.
    tasks = iv.draw_tasks(160, table, min_length=5, generator=generator)
    rates = iv.slip_rates(tasks.difficulty, 0.35)
    written = iv.write_programs(tasks, rates, 50, generator=generator)
    blocks = list(zip(*(part.flatten(0, 1).split(2000) for part in written), strict=True))
    kinds, guards = (part.flatten(0, 1).tolist() for part in written)
    programs = [list(zip(*program, strict=True)) for program in zip(kinds, guards, strict=True)]
    functions = (
        lambda x: (x + 1) % m,
        lambda x: (x + 5) % m,
        lambda x: m - 1 - x,
        lambda x: 2 * x % m,
        lambda x: abs(x - m // 3),
        lambda x: x ^ 1,
    )

    def ours():
        return [iv.execute(*block, table) for block in blocks]

    def peer():
        return [[interpret(program, x, functions) for x in range(m)] for program in programs]

    assert torch.equal(torch.cat(ours()), torch.tensor(peer()))
    compare(ours, peer, target=50)


def interpret(program, x, functions):
    for kind, guard in program:
        if x >= guard:
            x = functions[kind](x)
    return x
