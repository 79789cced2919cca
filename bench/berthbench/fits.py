"""A program whose model fits: the sentence encoder with a budget that holds everything."""
import os
import re
import shutil
import statistics
import sys

from . import common
from .common import OUT, ROOT, execute, fail, read_stats, spread, under_berth


def write_sentences(arguments, folder):
    golden = os.path.join(ROOT, "tests", "data", "minilm.json")
    out, _, _, _ = execute([sys.executable, os.path.join(ROOT, "tests", "apps",
                                                         "check_embeddings.py"),
                            golden, "--sentences"], arguments.seed)
    path = os.path.join(folder, "sentences.txt")
    with open(path, "wb") as file:
        file.write(out)
    return path


def minilm_command(repeat):
    return [os.path.join(OUT, "apps", "minilm"), "--model", os.path.join(OUT, "model", "minilm"),
            "--json", "--repeat", str(repeat)]


def minilm_run(sentences, repeat, berth, arguments, folder):
    stats = os.path.join(folder, "stats.json")
    command = minilm_command(repeat)
    if berth:
        command = under_berth("1GiB", stats, command)
    with open(sentences, "rb") as stdin:
        out, _, wall, cpu = execute(command, arguments.seed, stdin)
    if berth and read_stats(stats)["transfers"]["h2d_count"]:
        fail("minilm was paged, though everything fits")
    return {"out": out, "wall": wall, "cpu": cpu}


def measure_pairs(arguments, folder):
    """Pairs of the sentence encoder: with all of its start, and long enough to forget the start."""
    sentences = write_sentences(arguments, folder)
    minilm_run(sentences, 1, False, arguments, folder)  # the file and the kernels are cached now
    rows = []
    for repeat in (1, arguments.repeat):
        pairs = []
        for i in range(arguments.pairs):
            pair = [minilm_run(sentences, repeat, berth, arguments, folder)
                    for berth in ((0, 1) if i % 2 == 0 else (1, 0))]
            pairs.append(pair if i % 2 == 0 else pair[::-1])
            if pair[0]["out"] != pair[1]["out"]:
                fail("minilm: other bits than without berth")
        row = {"repeat": repeat, "pairs": len(pairs)}
        for key in ("cpu", "wall"):
            plain, berth = ([pair[side][key] for pair in pairs] for side in (0, 1))
            row[f"plain_{key}_s"] = spread(plain, 4)
            row[f"berth_{key}_s"] = spread(berth, 4)
            row[f"{key}_ratio"] = spread([b / p for p, b in zip(plain, berth)], 4)
            row[f"{key}_ratio"]["quartiles"] = [
                round(q, 4) for q in statistics.quantiles([b / p for p, b in zip(plain, berth)])]
            row[f"{key}_ratio_of_minima"] = round(min(berth) / min(plain), 4)
        rows.append(row)
    return rows


def show_fits(rows):
    print(f"{'minilm':10} {'pairs':>5} {'plain':>8} {'berth':>8} {'ratio (quartiles)':>26} "
          f"{'of minima':>9}")
    for row in rows:
        for key in ("cpu", "wall"):
            ratio = row[f"{key}_ratio"]
            text = (f"{ratio['median']:.4f} ({ratio['quartiles'][0]:.4f}.."
                    f"{ratio['quartiles'][2]:.4f})")
            print(f"{'x' + str(row['repeat']) + ' ' + key:10} {row['pairs']:5} "
                  f"{row[f'plain_{key}_s']['median']:7.3f}s {row[f'berth_{key}_s']['median']:7.3f}s "
                  f"{text:>26} {row[f'{key}_ratio_of_minima']:9.4f}")


def count_instructions(arguments, folder):
    """Instructions of the demo, plain and under Berth, from its start to its end: other programs on the
    machine do not change them. None where there is no valgrind, or no time for it."""
    if arguments.quick or common.is_real:  # valgrind runs no real driver
        return None
    if not shutil.which("valgrind"):
        print("bench: no valgrind: instructions are not counted")
        return None
    sentences, found = write_sentences(arguments, folder), []
    for budget in (None, "1GiB"):
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/callgrind",
                   *minilm_command(1)]
        if budget:
            command = under_berth(budget, os.path.join(folder, "stats.json"), command)
        with open(sentences, "rb") as stdin:
            _, err, _, _ = execute(command, arguments.seed, stdin)
        found.append(int(re.search(r"Collected : (\d+)", err).group(1)))
    print(f"{'minilm':10} instructions: plain {found[0]}, berth {found[1]}: "
          f"{found[1] / found[0]:.5f}")
    return {"plain": found[0], "berth": found[1], "ratio": round(found[1] / found[0], 5)}


def measure(arguments, folder, verdicts):
    if not os.path.exists(os.path.join(OUT, "model", "minilm")):
        fail("no model; make demo fetches it")
    rows = measure_pairs(arguments, folder)
    show_fits(rows)
    for row in rows:
        verdicts.at_most("fits", f"minilm x{row['repeat']}: CPU time, berth / plain",
                         row["cpu_ratio_of_minima"], 1.01, "", 4)
    instructions = count_instructions(arguments, folder)
    if instructions:
        verdicts.at_most("fits", "minilm: instructions, berth / plain", instructions["ratio"], 1.01,
                         "", 5)
    return {"pairs": rows, "instructions": instructions}
