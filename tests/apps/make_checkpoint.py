#!/usr/bin/env python3
"""Generate a model directory of exactly the shape of all-MiniLM-L6-v2, for want of a network.

    python3 make_checkpoint.py DIRECTORY

Names, dtypes, sizes and file offsets of model.safetensors are those of the real checkpoint; the
values are pseudo-random, small and the same on every machine, and no two tensors hold the same
bytes. The embeddings mean nothing, but they are as good for comparing bits. vocab.txt has as many
tokens as the real one, the special ones in the same places. Only the standard library is used.
"""
import json
import random
import struct
import sys
from pathlib import Path

HIDDEN, WIDE, LAYERS, HEADS = 384, 1536, 6, 12
VOCABULARY, POSITIONS, MAX_TOKENS = 30522, 512, 256
HEADER_BYTES = 11408
SEED = 20260

# The top byte of a little-endian float, by a random byte: +-2^-7 to 2^-5, and +1 to 2.
SMALL_TOP = bytes(0x3C if byte & 1 else 0xBC for byte in range(256))
SCALE_TOP = bytes([0x3F]) * 256
# The second byte of a layer norm's scale: its exponent bit, and a fraction below 1/8.
SCALE_SECOND = bytes(0x80 | byte & 0x0F for byte in range(256))


def shapes():
    """Name -> (dtype, shape), as the checkpoint has them."""
    out = {
        "embeddings.position_ids": ("I64", [1, POSITIONS]),
        "embeddings.position_embeddings.weight": ("F32", [POSITIONS, HIDDEN]),
        "embeddings.token_type_embeddings.weight": ("F32", [2, HIDDEN]),
        "embeddings.word_embeddings.weight": ("F32", [VOCABULARY, HIDDEN]),
        "pooler.dense.weight": ("F32", [HIDDEN, HIDDEN]),
        "pooler.dense.bias": ("F32", [HIDDEN]),
    }
    norms = ["embeddings"]
    for layer in range(LAYERS):
        prefix = f"encoder.layer.{layer}."
        norms += [prefix + "attention.output", prefix + "output"]
        for name, rows, cols in (
            ("attention.self.query", HIDDEN, HIDDEN), ("attention.self.key", HIDDEN, HIDDEN),
            ("attention.self.value", HIDDEN, HIDDEN), ("attention.output.dense", HIDDEN, HIDDEN),
            ("intermediate.dense", WIDE, HIDDEN), ("output.dense", HIDDEN, WIDE),
        ):
            out[prefix + name + ".weight"] = ("F32", [rows, cols])
            out[prefix + name + ".bias"] = ("F32", [rows])
    for prefix in norms:
        out[prefix + ".LayerNorm.weight"] = ("F32", [HIDDEN])
        out[prefix + ".LayerNorm.bias"] = ("F32", [HIDDEN])
    return out


def file_order(name):
    """The real file's order: position_ids first because of its wider dtype, then by name."""
    return (name != "embeddings.position_ids", name)


def count_of(shape):
    count = 1
    for extent in shape:
        count *= extent
    return count


def values(name, shape, source):
    if name == "embeddings.position_ids":
        return struct.pack(f"<{POSITIONS}q", *range(POSITIONS))
    data = bytearray(source.randbytes(count_of(shape) * 4))
    if name.endswith("LayerNorm.weight"):
        data[2::4] = data[2::4].translate(SCALE_SECOND)
        data[3::4] = data[3::4].translate(SCALE_TOP)
    else:
        data[3::4] = data[3::4].translate(SMALL_TOP)
    return data


def write_weights(path):
    source = random.Random(SEED)
    tensors = dict(sorted(shapes().items(), key=lambda item: file_order(item[0])))
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, (dtype, shape) in tensors.items():
        end = offset + count_of(shape) * (8 if dtype == "I64" else 4)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode().ljust(HEADER_BYTES)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, (_, shape) in tensors.items():
            file.write(values(name, shape, source))


def vocabulary():
    """[PAD], unused places, special tokens, single characters, words and ##pieces of syllables."""
    tokens = ["[PAD]"] + [f"[unused{i}]" for i in range(99)]
    tokens += ["[UNK]", "[CLS]", "[SEP]", "[MASK]"] + [f"[unused{i}]" for i in range(99, 994)]
    letters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    tokens += letters + ["##" + letter for letter in letters]
    syllables = [c + v for c in "bcdfghjklmnprstvwz" for v in "aeiou"]
    words = syllables + [a + b for a in syllables for b in syllables]
    words += [a + b + "n" for a in syllables for b in syllables]
    words += [a + b + "s" for a in syllables for b in syllables]
    for word in words:
        tokens += [word, "##" + word]
    return tokens[:VOCABULARY]


def main():
    directory = Path(sys.argv[1])
    directory.mkdir(parents=True, exist_ok=True)
    write_weights(directory / "model.safetensors")
    (directory / "vocab.txt").write_text("\n".join(vocabulary()) + "\n")
    (directory / "sentence_bert_config.json").write_text(
        json.dumps({"max_seq_length": MAX_TOKENS, "do_lower_case": False}) + "\n")
    (directory / "config.json").write_text(json.dumps({
        "model_type": "bert", "hidden_act": "gelu", "hidden_size": HIDDEN,
        "intermediate_size": WIDE, "layer_norm_eps": 1e-12, "max_position_embeddings": POSITIONS,
        "num_attention_heads": HEADS, "num_hidden_layers": LAYERS, "type_vocab_size": 2,
        "vocab_size": VOCABULARY}, indent=2) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: make_checkpoint.py DIRECTORY")
    main()
