"""The host memory that Berth takes, and whether it grows while a program goes on and on.

The heap is glibc's count of what is allocated, of the whole process. What Berth has of it is the
difference to the same program without Berth that has its weights in managed memory: the simulated
driver keeps the same books for both. The device's memory and the homes of the weights are mappings
and not in it.
"""
import json
import os

from .common import MIB, execute, program, read_stats, under_berth

SHAPES = {"dense": "a step that is learned", "moe": "steps that never repeat"}
MIB_OF_WEIGHTS = 64
GROWTH_TARGET_BYTES = 64 << 10     # in the second half of the run
STEPS_TO_SETTLE = 2000             # in the first half, or nothing is said of growth


def run(shape, mode, arguments, folder):
    stats = os.path.join(folder, "stats.json")
    seconds = arguments.minutes * 60 / len(SHAPES) if mode == "berth" else 1
    command = [program("workload"), "--shape", shape, "--mib", str(MIB_OF_WEIGHTS), "--seconds",
               f"{seconds:.1f}", "--seed", str(arguments.seed), "--mode",
               "plain" if mode == "berth" else mode]
    if mode == "berth":
        command = under_berth(MIB_OF_WEIGHTS * MIB // 2, stats, command)
    out, *_ = execute(command, arguments.seed)
    if mode == "berth":
        read_stats(stats)
    return [json.loads(line) for line in out.splitlines()[1:]]


def judge(shape, berth, managed, verdicts):
    # What has been seen of the program is kept up to a bound, which the first half reaches.
    settled, last = berth[len(berth) // 2], berth[-1]
    row = {"shape": shape, "steps": last["steps"], "seconds": round(last["ns"] / 1e9, 1),
           "heap_growth_bytes": last["heap_bytes"] - settled["heap_bytes"],
           "resident_growth_bytes": last["resident_bytes"] - settled["resident_bytes"],
           "own_heap_bytes": last["heap_bytes"] - managed[-1]["heap_bytes"],
           "samples": berth}
    print(f"{shape:10} {row['steps']:9} steps {row['seconds']:7.1f} s  heap grew by "
          f"{row['heap_growth_bytes']:8} bytes, resident memory by {row['resident_growth_bytes']:9};"
          f" Berth's own heap {row['own_heap_bytes'] / 1024:.0f} KiB", flush=True)
    if settled["steps"] >= STEPS_TO_SETTLE:
        verdicts.at_most("memory", f"{shape}: heap growth in {row['seconds'] / 2:.0f} s",
                         row["heap_growth_bytes"], GROWTH_TARGET_BYTES, "bytes", 0)
        verdicts.at_most("memory", f"{shape}: resident growth in {row['seconds'] / 2:.0f} s",
                         row["resident_growth_bytes"], MIB, "bytes", 0)
    verdicts.tell("memory", f"{shape}: Berth's own heap", row["own_heap_bytes"], "bytes", 0)
    return row


def measure(arguments, folder, verdicts):
    return [judge(shape, run(shape, "berth", arguments, folder),
                  run(shape, "managed", arguments, folder), verdicts) for shape in SHAPES]
