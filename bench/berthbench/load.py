"""The first load: what crosses the link, and how long it takes to the first result, at a quarter of
the memory, against plain; on the paced device."""
import json
import os

from . import common
from .common import (MIB, execute, program, read_json, read_stats, under_berth, workload_options)

PERCENT = 25


def moved_by(report, stats, berth, loaded):
    """What crossed the link in the window, each way. A real card counts nothing: Berth does, and a
    plain program copies what it loads."""
    if not common.is_real:
        moved = read_json(report)["pace"]["window"]["devices"][0]
        return moved["h2d"]["bytes"], moved["d2h"]["bytes"]
    if not berth:
        return loaded["bytes"], 0
    transfers = read_stats(stats)["transfers"]
    return transfers["h2d_bytes"], transfers["d2h_bytes"]


def run(shape, berth, window, arguments, folder):
    """Simulated nanoseconds to the first result, and what crossed the link in the window."""
    report, stats = os.path.join(folder, "report.json"), os.path.join(folder, "stats.json")
    # What Berth counts is of the whole run: where that must do, the run ends with its window.
    steps = 0 if common.is_real and window == "load" else 1
    command = [program("workload"), "--shape", shape, "--mib", str(arguments.mib), "--warm", "0",
               "--steps", str(steps), "--window", window, "--seed", str(arguments.seed)]
    command += workload_options()
    budget = arguments.mib * MIB * PERCENT // 100
    pace = 1 if common.is_real else arguments.pace
    if berth:
        command = under_berth(budget, stats, command)
    settings = {"PACE": arguments.pace, "LINE": 4096, "REPORT": report,
                "VRAM": f"{4 * arguments.mib + 256}MiB"}
    out, *_ = execute(command, arguments.seed, settings=settings)
    loaded, *step = (json.loads(line) for line in out.splitlines())
    first = step[0] if step else {"ns": 0, "hash": None}
    to_device, to_host = moved_by(report, stats, berth, loaded)
    if berth:
        read_stats(stats)
    return {"load_ms": loaded["load_ns"] / pace / 1e6,
            "first_ms": (loaded["load_ns"] + first["ns"]) / pace / 1e6,
            "bytes": loaded["bytes"], "budget_bytes": budget, "hash": first["hash"],
            "h2d_bytes": to_device, "d2h_bytes": to_host}


def measure(arguments, folder, verdicts):
    rows = []
    print(f"{'shape':10} {'load: to':>10} {'and from':>10} {'budget':>8} {'with step: to':>13} "
          f"{'and from':>10} {'weights':>8} {'plain first':>12} {'berth first':>12}")
    for shape in arguments.shapes:
        plain = run(shape, False, "first", arguments, folder)
        load = run(shape, True, "load", arguments, folder)
        first = run(shape, True, "first", arguments, folder)
        rows.append({"shape": shape, "plain": plain, "berth_load": load, "berth_first": first})
        print(f"{shape:10} {load['h2d_bytes'] / MIB:9.1f}M {load['d2h_bytes'] / MIB:9.1f}M "
              f"{load['budget_bytes'] / MIB:7.1f}M {first['h2d_bytes'] / MIB:12.1f}M "
              f"{first['d2h_bytes'] / MIB:9.1f}M {load['bytes'] / MIB:7.1f}M "
              f"{plain['first_ms']:10.2f}ms {first['first_ms']:10.2f}ms", flush=True)
        verdicts.at_most("load", f"{shape}: to the device / budget, loading",
                         load["h2d_bytes"] / load["budget_bytes"], 1.0)
        verdicts.tell("load", f"{shape}: with the first step, to / weights",
                      first["h2d_bytes"] / first["bytes"])
        verdicts.tell("load", f"{shape}: with the first step, back / budget",
                      first["d2h_bytes"] / first["budget_bytes"])
        verdicts.tell("load", f"{shape}: time to the first result, berth / plain",
                      first["first_ms"] / plain["first_ms"])
    return rows
