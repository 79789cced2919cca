"""A program of somebody else's making: tinygrad, on its CUDA device, with its own PTX renderer.

    tinygrad_minilm.py MODEL GOLDEN RESULTS

Loads the sentence encoder of the folder MODEL with tinygrad's safe_load, embeds the sentences of
GOLDEN, some at a time and all of them several times over, and writes the embeddings to RESULTS as
JSON, every bit of them. They must be those of GOLDEN within TOLERANCE, and the same each time.

The encoder is a function under TinyJit: the first call runs kernel by kernel, the second records,
the others replay, with tinygrad's memory planner packing the activations into one buffer.
"""
import json
import os
import sys

from tinygrad import Device, Tensor, TinyJit, dtypes
from tinygrad.nn.state import safe_load

TOLERANCE = 1e-3
BATCH = 2
ROUNDS = 2


class Encoder:
    def __init__(self, folder):
        with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
            self.config = json.load(file)
        stored = safe_load(os.path.join(folder, "model.safetensors"))
        # position_ids are no weights, and what pools for another task is not used here.
        self.weights = {name: tensor.to(Device.DEFAULT) for name, tensor in stored.items()
                        if tensor.dtype == dtypes.float32 and not name.startswith("pooler.")}
        Tensor.realize(*self.weights.values())

    def linear(self, x, name):
        return x.linear(self.weights[name + ".weight"].T, self.weights[name + ".bias"])

    def norm(self, x, name):
        x = x.layernorm(eps=self.config["layer_norm_eps"])
        return x * self.weights[name + ".LayerNorm.weight"] + self.weights[name + ".LayerNorm.bias"]

    def heads(self, x, name):
        x = self.linear(x, name)
        return x.reshape(*x.shape[:2], self.config["num_attention_heads"], -1).transpose(1, 2)

    def layer(self, x, mask, name):
        query, key, value = (self.heads(x, f"{name}.attention.self.{part}")
                             for part in ("query", "key", "value"))
        mixed = query.scaled_dot_product_attention(key, value, attn_mask=mask)
        mixed = self.linear(mixed.transpose(1, 2).flatten(2), name + ".attention.output.dense")
        x = self.norm(x + mixed, name + ".attention.output")
        wide = self.linear(x, name + ".intermediate.dense")
        wide = wide * 0.5 * (1 + (wide * 0.5 ** 0.5).erf())
        return self.norm(x + self.linear(wide, name + ".output.dense"), name + ".output")

    def __call__(self, ids, present):
        """ids [sentences, tokens]; present likewise, 1 where there is a token and 0 where none."""
        x = self.weights["embeddings.word_embeddings.weight"][ids]
        x = x + self.weights["embeddings.position_embeddings.weight"][:ids.shape[1]]
        x = self.norm(x + self.weights["embeddings.token_type_embeddings.weight"][0], "embeddings")
        mask = ((present - 1) * 1e9).reshape(ids.shape[0], 1, 1, ids.shape[1])
        for i in range(self.config["num_hidden_layers"]):
            x = self.layer(x, mask, f"encoder.layer.{i}")
        pooled = (x * present.unsqueeze(-1)).sum(1) / present.sum(1, keepdim=True)
        return (pooled / pooled.square().sum(-1, keepdim=True).sqrt()).realize()


def embed(encoder, sentences):
    """The embeddings of all sentences; every batch has the shape of the longest sentence."""
    tokens, out = max(len(s["ids"]) for s in sentences), []
    for first in range(0, len(sentences), BATCH):
        batch = [s["ids"] for s in sentences[first:first + BATCH]]
        ids = Tensor([i + [0] * (tokens - len(i)) for i in batch]).realize()
        present = Tensor([[1.0] * len(i) + [0.0] * (tokens - len(i)) for i in batch]).realize()
        out += encoder(ids, present).tolist()
    return out


def main(folder, golden_path, results_path):
    with open(golden_path, encoding="utf-8") as file:
        golden = json.load(file)
    if len(golden) % BATCH:
        raise SystemExit(f"tinygrad: {len(golden)} sentences are no whole batches")
    encoder = TinyJit(Encoder(folder))
    first = embed(encoder, golden)
    for _ in range(ROUNDS - 1):
        if embed(encoder, golden) != first:
            raise SystemExit("tinygrad: other embeddings than the first time")
    for sentence, embedding in zip(golden, first):
        worst = max(abs(a - b) for a, b in zip(sentence["embedding"], embedding, strict=True))
        if not worst <= TOLERANCE:
            raise SystemExit(f"tinygrad: off by {worst}: {sentence['text']!r}")
    with open(results_path, "w", encoding="utf-8") as file:
        json.dump([[x.hex() for x in embedding] for embedding in first], file)


if __name__ == "__main__":
    main(*sys.argv[1:])
