"""Holds `berth inspect --json` against files.json, which lists what other libraries wrote.

    golden.py BERTH FOLDER

One line for each file or folder of FOLDER/files.json: `ok NAME`, or what is wrong with it.
"""
import hashlib
import itertools
import json
import subprocess
import sys

# Bytes of an element, for gathering views that are not dense. Blocks are never strided.
ELEMENT_BYTES = {"F64": 8, "I64": 8, "C64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2,
                 "U8": 1, "I8": 1, "BOOL": 1, "F8_E4M3": 1, "F8_E5M2": 1}


def dense(tensor, files):
    """The bytes of a tensor in row-major order, from the place that berth names."""
    data, offset = files[tensor["file"]], tensor["offset"]
    if "strides" not in tensor:
        return data[offset:offset + tensor["bytes"]]
    size = ELEMENT_BYTES[tensor["dtype"]]
    out = bytearray()
    for index in itertools.product(*map(range, tensor["shape"])):
        at = offset + size * sum(i * s for i, s in zip(index, tensor["strides"]))
        out += data[at:at + size]
    return bytes(out)


def compare(document, listing):
    """Yield what differs."""
    wanted = {name: t for name, t in listing.items() if not name.startswith("_")}
    got = {t["name"]: t for t in document["tensors"]}
    files = {t["file"]: open(t["file"], "rb").read() for t in document["tensors"]}
    if set(got) != set(wanted) or len(got) != len(document["tensors"]):
        # What stands beside the listed tensors (a note) is no tensor.
        yield f"tensors {sorted(set(got) ^ set(wanted))} are on one side only"
        return
    for name, want in wanted.items():
        for key in ("dtype", "shape", "bytes"):
            if got[name][key] != want[key]:
                yield f"{name}: {key} {got[name][key]}, not {want[key]}"
        data = dense(got[name], files)
        if len(data) != want["bytes"] or hashlib.sha256(data).hexdigest() != want["sha256"]:
            yield f"{name}: other bytes"
    tied = [sorted(group) for group in document["tied"]]
    if sorted(tied) != sorted(sorted(group) for group in listing.get("_tied", [])):
        yield f"tied {tied}, not {listing.get('_tied', [])}"


def check(berth, path, listing):
    run = subprocess.run([berth, "inspect", "--json", path], capture_output=True, text=True)
    if "_refuse" in listing:
        reason = listing["_refuse"].split(": ")[-1]
        if run.returncode == 0 or reason not in run.stderr:
            yield f"not refused for {reason}: exit code {run.returncode}, {run.stderr.strip()}"
    elif run.returncode:
        yield run.stderr.strip()
    else:
        yield from compare(json.loads(run.stdout), listing)


def main():
    berth, folder = sys.argv[1:]
    for name, listing in json.load(open(f"{folder}/files.json")).items():
        wrong = list(check(berth, f"{folder}/{name}", listing))
        print(f"{name}: {'; '.join(wrong)}" if wrong else f"ok golden {name}")


main()
