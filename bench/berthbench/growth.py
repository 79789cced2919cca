"""What a launch and a step cost beside ever more parameters and ranges; growth.c does the work.

Three quarters of what a step reads may stay, so that it streams; the parameters and ranges beside it
are never read meanwhile. Costs are processor time: of the thread for a launch (the shortest of the
steps), of the whole process for a step. What grows is judged by the largest count over the smallest.
"""
import json
import os
import struct

from .common import MIB, execute, program, read_stats, under_berth

PARAMS = (100, 1000, 10000, 100000)
RANGES = (10, 100, 1000, 10000)
BUDGET_BYTES = 48 * MIB
GROWTH_TARGET = 1.5
PARAM_BYTES = 1024
CACHE_ENTRIES = 512  # as in shim/launch.c


def write_checkpoint(path, count):
    """A safetensors file of so many parameters, zeros but for a word in each."""
    tensors = {f"layers.{i}.weight": {"dtype": "F32", "shape": [16, 16],
                                      "data_offsets": [i * PARAM_BYTES, (i + 1) * PARAM_BYTES]}
               for i in range(count)}
    head = json.dumps(tensors, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(head)) + head)
        for i in range(count):
            file.write(struct.pack("<Q", i + 1) + bytes(PARAM_BYTES - 8))


def run(params, ranges, arguments, folder):
    """(plain, under Berth)"""
    stats, path = os.path.join(folder, "stats.json"), os.path.join(folder, "growth.safetensors")
    command = [program("growth"), "--params", str(params), "--ranges", str(ranges)]
    if params:
        write_checkpoint(path, params)
        command += ["--file", path]
    settings = {"VRAM": "180GiB"}
    plain = json.loads(execute(command, arguments.seed, settings=settings)[0])
    berth = under_berth(BUDGET_BYTES, stats, command)
    berth[2:2] = ["--max-memory", "cpu=1000GiB"]
    berth = json.loads(execute(berth, arguments.seed, settings=settings)[0])
    read_stats(stats)
    return plain, berth


def cache_entry_bytes(plain, berth):
    """At most: all that Berth has of the heap beside 64 tensors, of which most is that cache."""
    return (berth["heap_prepared_bytes"] - plain["heap_prepared_bytes"]) / CACHE_ENTRIES


def measure(arguments, folder, verdicts):
    rows = {}
    print(f"{'beside':16} {'launch ns':>10} {'step us':>9} {'sweep ns':>9} {'upload ns':>10} "
          f"{'heap/param':>10} {'cached':>8}   (under Berth; plain)")
    for what, counts in (("params", PARAMS), ("ranges", RANGES)):
        for count in counts:
            if count > max(counts) * arguments.growth_max:
                continue
            params, ranges = (count, 0) if what == "params" else (0, count)
            plain, berth = run(params, ranges, arguments, folder)
            rows.setdefault(what, []).append({"count": count, "plain": plain, "berth": berth})
            own = (berth["heap_loaded_bytes"] - plain["heap_loaded_bytes"]) / count
            cached = cache_entry_bytes(plain, berth)
            print(f"{count:9} {what:6} {berth['launch_ns']:4};{plain['launch_ns']:5} "
                  f"{berth['step_us']:5.0f};{plain['step_us']:3.0f} {berth['sweep_ns']:4.0f};"
                  f"{plain['sweep_ns']:4.0f} {berth['upload_ns']:5.0f};{plain['upload_ns']:4.0f} "
                  f"{own:10.0f} {cached:8.0f}", flush=True)
    judge(rows, verdicts)
    return rows


def judge(rows, verdicts):
    for what, found in rows.items():
        first, last = found[0]["berth"], found[-1]["berth"]
        span = f"{found[0]['count']} to {found[-1]['count']} {what}"
        for key in ("launch_ns", "step_us"):
            verdicts.at_most("growth", f"{key[:-3]} from {span}: times", last[key] / first[key],
                             GROWTH_TARGET)
    if "params" not in rows:
        return
    found = rows["params"][-1]
    verdicts.tell("memory", "heap for each parameter",
                  (found["berth"]["heap_loaded_bytes"] - found["plain"]["heap_loaded_bytes"])
                  / found["count"], "bytes", 0)
    verdicts.tell("memory", "heap for each launch that is remembered, at most",
                  cache_entry_bytes(found["plain"], found["berth"]), "bytes", 0)
