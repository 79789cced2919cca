"""Write state dicts from seeds with torch.save(), and hold what `berth inspect` says against torch.load().

    pytorch_files.py BERTH FOLDER FIRST_SEED COUNT

Closes with the line "N passed, N failed, 0 skipped"; a test is one file.
"""
import json
import os
import random
import subprocess
import sys
from collections import OrderedDict

import numpy
import torch

# What both forms can hold, and what only the zip archive can.
DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64",
          "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool", "C64": "complex64"}
NEWER = {"F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E4M3FNUZ": "float8_e4m3fnuz",
         "F8_E5M2FNUZ": "float8_e5m2fnuz", "F8_E8M0": "float8_e8m0fnu", "U16": "uint16",
         "U32": "uint32", "U64": "uint64"}
NEWER = {ours: theirs for ours, theirs in NEWER.items() if hasattr(torch, theirs)}
OURS = {getattr(torch, theirs): ours for ours, theirs in {**DTYPES, **NEWER}.items()}


def make_tensor(rng, legacy):
    dtype = getattr(torch, rng.choice(list((DTYPES if legacy else {**DTYPES, **NEWER}).values())))
    shape = [rng.choice([0, 1, 1]) if rng.random() < 0.2 else rng.randrange(1, 8)
             for _ in range(rng.randrange(4))]
    count = int(numpy.prod(shape, dtype=int)) * torch.empty(0, dtype=dtype).element_size()
    raw = torch.tensor(list(rng.randbytes(count)), dtype=torch.uint8)
    if dtype == torch.bool:
        raw = raw & 1
    return raw.view(dtype).reshape(shape)


def make_view(rng, t):
    views = [lambda: t.view(t.shape), lambda: t.reshape(-1), lambda: t.unsqueeze(0).expand(3, *t.shape)]
    if t.dim() > 1:
        views.append(lambda: t.transpose(0, t.dim() - 1))
    if t.dim() > 0:
        views.append(lambda: t[..., ::2])
        views.append(lambda: t[1:])
    return rng.choice(views)()


def make_other(rng):
    return rng.choice([None, True, 1.5, 2**70, -5, "s", b"bytes", (1, 2), {1, 2}, frozenset([3]), 1j,
                       torch.Size([1, 2]), torch.float32, torch.device("cpu"), [1, [2]], bytearray(b"x"),
                       torch.strided])


def dress(rng, t):
    """A tensor as modules have it: a parameter, one with an attribute, or as it is."""
    chance = rng.random()
    if chance > 0.85 and t.is_floating_point():
        t = torch.nn.Parameter(t, requires_grad=rng.random() < 0.5)
    elif chance > 0.8:
        t = t.view(t.shape)
    if rng.random() > 0.9:
        t.note = {"a": 1}
    return t


def make_state(rng, legacy, depth=0):
    state = OrderedDict() if rng.random() < 0.5 else {}
    made = []
    for i in range(rng.randrange(1, 8)):
        key = rng.choice([f"k{i}", f"layer.{i}.weight", i, f"ünï {i}\n"])
        chance = rng.random()
        if chance < 0.12 and depth < 3:
            state[key] = make_state(rng, legacy, depth + 1)
        elif chance < 0.2:
            state[key] = make_other(rng)
        elif chance < 0.3:
            state[key] = [make_tensor(rng, legacy) for _ in range(rng.randrange(3))]
        elif chance < 0.5 and made:
            state[key] = make_view(rng, rng.choice(made))
        else:
            made.append(make_tensor(rng, legacy))
            state[key] = dress(rng, made[-1])
    if isinstance(state, OrderedDict):
        state._metadata = OrderedDict(v={"version": 1})
    return state


def flatten(value, prefix, out):
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    for key, entry in entries:
        name = str(key) if prefix is None else f"{prefix}.{key}"
        if isinstance(entry, torch.Tensor):
            out[name] = entry
        elif isinstance(entry, (dict, list, tuple)) and not isinstance(entry, torch.Size):
            flatten(entry, name, out)


def dense(t):
    t = t.detach().clone(memory_format=torch.contiguous_format)
    return t.reshape(-1).view(torch.uint8).numpy().tobytes() if t.numel() else b""


def read(file, row, element):
    """A tensor's bytes in row-major order, from where its strides say that they are."""
    file.seek(row["offset"])
    if "strides" not in row:
        return file.read(row["bytes"])
    span = 1 + sum((extent - 1) * stride for extent, stride in zip(row["shape"], row["strides"]))
    return numpy.lib.stride_tricks.as_strided(
        numpy.frombuffer(file.read(span * element), dtype=f"V{element}"), shape=row["shape"],
        strides=[stride * element for stride in row["strides"]]).tobytes()


def describe(berth, path, state):
    """What berth says and what torch says, in the same form."""
    made = subprocess.run([berth, "inspect", path, "--json"], capture_output=True, text=True, check=False)
    if made.returncode:
        return made.stderr.strip(), None
    wanted, storages, document = {}, {}, json.loads(made.stdout)
    flatten(state, None, wanted)
    for name, t in wanted.items():
        storages.setdefault(t.untyped_storage()._cdata, []).append(name)
    with open(path, "rb") as file:
        ours = [(row["name"], row["dtype"], row["shape"],
                 read(file, row, wanted[row["name"]].element_size()) if row["name"] in wanted else None)
                for row in document["tensors"]]
    theirs = [(name, OURS[t.dtype], list(t.shape), dense(t)) for name, t in wanted.items()]
    return ((ours, sorted(map(sorted, document["tied"]))),
            (theirs, sorted(sorted(names) for names in storages.values() if len(names) > 1)))


def main():
    berth, folder, first, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    path, passed, failed = os.path.join(folder, "model.bin"), 0, 0

    for seed in range(first, first + count):
        rng = random.Random(seed)
        legacy = seed % 3 == 0
        torch.save(make_state(rng, legacy), path, pickle_protocol=2 + seed % 4,
                   _use_new_zipfile_serialization=not legacy)
        ours, theirs = describe(berth, path, torch.load(path, weights_only=False))
        if ours == theirs:
            passed += 1
        else:
            failed += 1
            print(f"FAIL pytorch: seed {seed}: {str(ours)[:400]} instead of {str(theirs)[:400]}")
    print(f"{passed} passed, {failed} failed, 0 skipped")
    sys.exit(failed > 0)


main()
