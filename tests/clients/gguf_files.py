"""Write GGUF files from seeds with the package gguf, and hold what `berth inspect` says against them.

    gguf_files.py BERTH FOLDER SEED...

Closes with the line "N passed, N failed, 0 skipped"; a test is one path that was inspected.
"""
import hashlib
import json
import os
import random
import subprocess
import sys

import gguf
import numpy

# The package's size of Q8_1 is that of a layout which GGML gave up: 40 bytes instead of 36.
TYPES = [t for t in gguf.GGMLQuantizationType if t.name != "Q8_1"]
VALUE = gguf.GGUFValueType


def add_entries(writer, rng):
    """Entries of every type in a random order, some of them as long as real vocabularies."""
    adds = [
        lambda: writer.add_uint8("test.u8", rng.randrange(1 << 8)),
        lambda: writer.add_int8("test.i8", -rng.randrange(1 << 7)),
        lambda: writer.add_uint16("test.u16", rng.randrange(1 << 16)),
        lambda: writer.add_int16("test.i16", -rng.randrange(1 << 15)),
        lambda: writer.add_uint32("test.u32", rng.randrange(1 << 32)),
        lambda: writer.add_int32("test.i32", -rng.randrange(1 << 31)),
        lambda: writer.add_float32("test.f32", rng.random()),
        lambda: writer.add_uint64("test.u64", rng.randrange(1 << 64)),
        lambda: writer.add_int64("test.i64", -rng.randrange(1 << 63)),
        lambda: writer.add_float64("test.f64", rng.random()),
        lambda: writer.add_bool("test.bool", rng.random() < 0.5),
        lambda: writer.add_string("test.string", "é" * rng.randrange(1, 100000)),
        lambda: writer.add_array("test.tokens", [str(i) * rng.randrange(9) for i in range(20000)]),
        lambda: writer.add_array("test.scores", [rng.random() for _ in range(20000)]),
        lambda: writer.add_key_value("test.nested", [[1, 2], [3]], VALUE.ARRAY),
        lambda: writer.add_block_count(rng.randrange(1, 100)),
    ]
    rng.shuffle(adds)
    for add in adds:
        add()


def write(path, rng, parts):
    """Returns what the files hold, by name: dtype, shape, bytes, SHA-256."""
    writer = gguf.GGUFWriter(path, "llama", split_max_tensors=rng.randrange(5, 20) if parts else 0)
    wanted = {}

    if rng.random() < 0.5 and not parts:
        writer.add_custom_alignment(1 << rng.randrange(3, 13))
    add_entries(writer, rng)
    for number, dtype in enumerate(rng.sample(TYPES, len(TYPES)) * 2):
        elements, block_bytes = gguf.GGML_QUANT_SIZES[dtype]
        outer = [rng.randrange(1, 5) for _ in range(rng.randrange(4))]
        blocks = rng.randrange(1, 5)
        content = rng.randbytes(blocks * block_bytes * int(numpy.prod(outer, dtype=int)))
        name = f"blk.{number}.{dtype.name}"
        writer.add_tensor(name, numpy.frombuffer(content, numpy.uint8).reshape(outer + [blocks * block_bytes]),
                          raw_dtype=dtype)
        wanted[name] = (dtype.name, outer + [blocks * elements], len(content), hashlib.sha256(content).hexdigest())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return wanted


def inspect(berth, path):
    """What berth says is there, with the hash of the bytes where it says so."""
    said = subprocess.run([berth, "inspect", "--json", path], capture_output=True, text=True)
    if said.returncode:
        raise ValueError(said.stderr.strip())
    found = {}
    for t in json.loads(said.stdout)["tensors"]:
        with open(t["file"], "rb") as file:
            file.seek(t["offset"])
            content = file.read(t["bytes"])
        found[t["name"]] = (t["dtype"], t["shape"], t["bytes"], hashlib.sha256(content).hexdigest())
    return found


def compare(berth, path, wanted):
    try:
        found = inspect(berth, path)
    except ValueError as error:
        print(f"FAIL gguf: {path}: {error}")
        return False
    wrong = [name for name in wanted if found.get(name) != wanted[name]]
    wrong += [name for name in found if name not in wanted]
    for name in wrong[:5]:
        print(f"FAIL gguf: {path}: {name}: {found.get(name)} instead of {wanted.get(name)}")
    return not wrong


def main():
    berth, folder, seeds = sys.argv[1], sys.argv[2], sys.argv[3:]
    passed = failed = 0

    for seed in seeds:
        rng = random.Random(int(seed))
        parts = int(seed) % 2 == 0
        here = os.path.join(folder, seed)
        os.makedirs(here)
        wanted = write(os.path.join(here, "model.gguf"), rng, parts)
        files = sorted(os.listdir(here))
        if (len(files) > 1) != parts:
            sys.exit(f"gguf: the package wrote {files}")
        for path in [here] + [os.path.join(here, name) for name in files]:
            if compare(berth, path, wanted):
                passed += 1
            else:
                failed += 1
    print(f"{passed} passed, {failed} failed, 0 skipped")
    sys.exit(failed > 0)


main()
