#!/usr/bin/env python3
"""Hold minilm's output against the golden file.

    check_embeddings.py GOLDEN --sentences          the sentences, one a line
    check_embeddings.py GOLDEN --ids FILE           token ids: equal
    check_embeddings.py GOLDEN --embeddings FILE    token ids equal, embeddings within 5e-4

FILE is what `minilm --json` printed for those sentences. Prints one line; exit 1 where they
disagree.
"""
import json
import sys

TOLERANCE = 5e-4


def compare(golden, got, with_embeddings):
    """What is wrong, or None; and the largest difference of an embedding."""
    worst = 0.0
    if len(got) != len(golden):
        return f"{len(got)} sentences, not {len(golden)}", worst
    for want, have in zip(golden, got):
        name = repr(want["text"])
        if have["text"] != want["text"]:
            return f"text {have['text']!r}, not {name}", worst
        if have["ids"] != want["ids"]:
            return f"{name}: ids {have['ids']}, not {want['ids']}", worst
        if not with_embeddings:
            continue
        if len(have["embedding"]) != len(want["embedding"]):
            return f"{name}: {len(have['embedding'])} values", worst
        for index, (a, b) in enumerate(zip(want["embedding"], have["embedding"])):
            if not abs(a - b) <= TOLERANCE:
                return f"{name}: value {index} is {b}, not {a}", worst
            worst = max(worst, abs(a - b))
    return None, worst


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        golden = json.load(file)
    if sys.argv[2] == "--sentences":
        for entry in golden:
            sys.stdout.buffer.write(entry["text"].encode() + b"\n")
        return 0
    with_embeddings = {"--ids": False, "--embeddings": True}[sys.argv[2]]
    with open(sys.argv[3], encoding="utf-8") as file:
        got = [json.loads(line) for line in file.read().split("\n") if line]
    wrong, worst = compare(golden, got, with_embeddings)
    if wrong:
        print(wrong)
        return 1
    detail = f", embeddings within {worst:.1e}" if with_embeddings else ""
    print(f"{len(golden)} sentences: ids equal{detail}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
