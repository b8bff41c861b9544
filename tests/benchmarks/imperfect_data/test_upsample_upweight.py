"""Eighteen language models as one batched ensemble, against a loop of modules with an optimizer each."""

from __future__ import annotations

import dataclasses

import torch
from torch import nn
from torch.nn import functional

from overparam.imperfect_data import upsample_upweight as uu


class CharacterModel(nn.Module):
    """An embedding and an MLP, as torch's own layers."""

    def __init__(self, table, w1, b1, w2, b2):
        super().__init__()
        self.embedding = nn.Embedding.from_pretrained(table.clone(), freeze=False)
        self.layers = nn.Sequential(nn.Linear(*w1.shape), nn.ReLU(), nn.Linear(*w2.shape))
        with torch.no_grad():
            for layer, weight, bias in ((self.layers[0], w1, b1), (self.layers[2], w2, b2)):
                layer.weight.copy_(weight.mT)
                layer.bias.copy_(bias[0])

    def forward(self, tokens):
        return self.layers(self.embedding(tokens).flatten(1))


def test_ensemble_training(compare):
    """A hundred steps of all six variants in three replicas, with the same batches and validations."""
    config = dataclasses.replace(uu.Config(), steps=100, eval_every=100, probe_step=100)
    corpus = uu.build_corpus(config)
    windows = torch.cat([domain for replica in corpus.train for domain in replica])
    shape = corpus.symbols, 2, config.context, config.embed, config.hidden
    start = [
        uu.language_model_init(1, *shape, embed_std=config.embed_std, generator=uu.stream(config, "start", replica))
        for replica in range(config.replicas)
    ]
    variants = len(uu.VARIANTS)

    def ours():
        return uu.train(corpus, config).snapshot[1]

    def peer():
        models, batches = [], torch.stack(list(uu.batches(corpus, config, uu.VARIANTS)))
        for k in range(config.replicas * variants):
            replica, variant = divmod(k, variants)
            weights = torch.ones(2)
            if uu.VARIANTS[variant] == "scalarization":
                weights = uu.scalarization_weights(corpus.sizes(replica), config.tau).float()
            model = CharacterModel(*(p[0] for p in start[replica]))
            held_out = [*corpus.val[replica], corpus.train[replica][-1]]
            validate(model, held_out)
            fit(model, windows, batches[:, k], weights, corpus.symbols, config.lr)
            validate(model, held_out)
            models.append(model)
        return models[0].layers[0].weight.detach().mT

    torch.testing.assert_close(ours(), peer(), rtol=1e-3, atol=1e-4)
    compare(ours, peer, target=4, rounds=5)


def fit(model, windows, batches, weights, symbols, lr):
    optimizer = torch.optim.Adam(model.parameters(), lr=lr, betas=(0.9, 0.98))
    for batch in batches:
        rows = windows[batch]
        optimizer.zero_grad()
        losses = functional.cross_entropy(model(rows[:, :-1]), rows[:, -1], reduction="none")
        (weights[rows[:, 0] - symbols] * losses).mean().backward()
        optimizer.step()


@torch.no_grad()
def validate(model, texts):
    return [functional.cross_entropy(model(rows[:, :-1]), rows[:, -1]).item() for rows in texts]
