"""What a call of cuLaunchKernel costs the program's thread; launch.c says how it is timed."""
import json
import os
import re
import shutil
import statistics

from . import common
from .common import execute, fail, program, read_stats, spread, under_berth

BATCH_LAUNCHES = 256  # as in launch.c
TRACED_BATCHES = 4
ADDED_NS_TARGET = 150
SECOND_THREAD_NS_TARGET = 40

# What the launches of each state find: the program's memory, the budget, and what Berth's
# statistics must say for the run to have been of that state.
STATES = (
    ("fits", "hot", "1GiB", lambda s: not s["steps"]["learned"]
     and s["transfers"]["h2d_count"] == 0 and s["launches"]["overhead_ns"] == 0),
    ("settled", "hot", "80MiB", lambda s: s["transfers"]["h2d_count"] > 0
     and s["launches"]["waited"] < s["launches"]["count"] / 10),
    ("streaming", "stream", "84MiB", lambda s: s["steps"]["learned"]
     and s["steps"]["launches_per_step"] == 18 and s["transfers"]["h2d_count"] > 0),
)


def launch_run(memory, arguments, state, folder):
    command = [program("launch"), "--memory", memory, "--batches", str(arguments.batches),
               "--seed", str(arguments.seed)]
    if state:
        name, _, budget, is_state = state
        stats = os.path.join(folder, "stats.json")
        command = under_berth(budget, stats, command)
    out, _, _, _ = execute(command, arguments.seed)
    if state and not is_state(read_stats(stats)):
        found = read_stats(stats)
        fail(f"the run was not of the state {name}: {found['launches']}, {found['transfers']}")
    figures = [json.loads(line) for line in out.splitlines()]
    return {(f["threads"], f["pointers"]): f for f in figures}


def traced_run(memory, pointers, budget, arguments, folder):
    """Instructions of one launch on the program's thread, as callgrind counts them."""
    command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={folder}/callgrind",
               "--toggle-collect=timed_launches", "--collect-atstart=no", program("launch"),
               "--memory", memory, "--threads", "1", "--pointers", str(pointers), "--batches",
               str(TRACED_BATCHES), "--seed", str(arguments.seed)]
    if budget:
        command = under_berth(budget, os.path.join(folder, "stats.json"), command)
    _, err, _, _ = execute(command, arguments.seed)
    found = re.search(r"Collected : (\d+)", err)
    if not found:
        fail(f"callgrind counted nothing:\n{err}")
    return int(found.group(1)) / (TRACED_BATCHES * BATCH_LAUNCHES)


def count_instructions(arguments, folder):
    """By state and pointers: (plain, under Berth); empty where there is no valgrind."""
    found = {}
    if common.is_real:
        return found  # valgrind runs no real driver
    if not shutil.which("valgrind"):
        print("bench: no valgrind: instructions are not counted")
        return found
    for name, memory, budget, _ in STATES:
        for pointers in (1, 8, 32):
            found[name, pointers] = [traced_run(memory, pointers, b, arguments, folder)
                                     for b in (None, budget)]
    return found


def launch_rounds(arguments, folder):
    """By state: the (plain, Berth) figures of each round, run in turns."""
    rounds = {state[0]: [] for state in STATES}
    for i in range(arguments.rounds):
        for state in STATES:
            pair = [launch_run(state[1], arguments, s, folder)
                    for s in ((None, state) if i % 2 == 0 else (state, None))]
            rounds[state[0]].append(pair if i % 2 == 0 else pair[::-1])
    return rounds


def judge_launches(rounds, instructions):
    rows = []
    for name, *_ in STATES:
        for threads, pointers in sorted(rounds[name][0][0]):
            pairs = [(p[threads, pointers], b[threads, pointers]) for p, b in rounds[name]]
            row = {"state": name, "threads": threads, "pointers": pointers}
            for key, side in (("plain_ns", 0), ("berth_ns", 1)):
                row[key] = {"min": min(pair[side]["min_ns"] for pair in pairs),
                            "median": round(statistics.median(pair[side]["median_ns"]
                                                              for pair in pairs), 1),
                            "max": max(pair[side]["max_ns"] for pair in pairs)}
            row["added_ns"] = spread([b["median_ns"] - p["median_ns"] for p, b in pairs])
            row["added_ns_of_minima"] = round(row["berth_ns"]["min"] - row["plain_ns"]["min"], 1)
            row["ratio"] = spread([b["median_ns"] / p["median_ns"] for p, b in pairs], 3)
            if threads == 1 and (name, pointers) in instructions:
                plain, berth = instructions[name, pointers]
                row["instructions"] = {"plain": round(plain), "berth": round(berth)}
            rows.append(row)
    return rows


def show_launches(rows):
    print(f"{'state':10} {'thr':>3} {'ptr':>3} {'plain ns':>9} {'berth ns':>9} "
          f"{'added ns (min..max of rounds)':>30} {'of minima':>9} {'ratio':>6} {'instr.':>7}")
    for row in rows:
        added = row["added_ns"]
        text = f"{added['median']:.0f} ({added['min']:.0f}..{added['max']:.0f})"
        count = row.get("instructions")
        more = f"+{count['berth'] - count['plain']}" if count else ""
        print(f"{row['state']:10} {row['threads']:3} {row['pointers']:3} "
              f"{row['plain_ns']['median']:9.1f} {row['berth_ns']['median']:9.1f} {text:>30} "
              f"{row['added_ns_of_minima']:9.1f} {row['ratio']['median']:6.2f} {more:>7}")


def judge(rows, verdicts):
    """At most 150 ns with everything resident; and what a second thread launches meanwhile costs the
    first next to nothing."""
    added = {(row["state"], row["threads"], row["pointers"]): row["added_ns_of_minima"]
             for row in rows}
    for state in ("fits", "settled"):
        for pointers in (1, 8, 32):
            for threads in (1, 2):
                verdicts.at_most("launch", f"{state}, {pointers} pointers, {threads} thread(s): added",
                                 added[state, threads, pointers], ADDED_NS_TARGET, "ns", 1)
            verdicts.at_most("launch", f"{state}, {pointers} pointers: two threads over one",
                             added[state, 2, pointers] - added[state, 1, pointers],
                             SECOND_THREAD_NS_TARGET, "ns", 1)


def measure(arguments, folder, verdicts):
    instructions = count_instructions(arguments, folder)
    rows = judge_launches(launch_rounds(arguments, folder), instructions)
    show_launches(rows)
    judge(rows, verdicts)
    return {"rounds": arguments.rounds, "batches": arguments.batches,
            "launches_per_batch": BATCH_LAUNCHES, "figures": rows}
