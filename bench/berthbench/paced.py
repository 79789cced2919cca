"""Models that do not fit: the time of a step against the limit, and the bytes that it streams.

Every figure is of the steps between cuProfilerStart and cuProfilerStop of workload.c; the simulated
driver's report says what its engines moved meanwhile. Times are simulated: real time over the pace.

limit   a step cannot take less than its kernels take with everything resident (measured: the plain
        program on the same paced device), nor less than the link takes for the bytes that it streams:
        max(compute, streamed / link). Where each step reads the whole model (minilm, dense, eager, phases)
        that holds for each step alone, and the limit is the sum over steps; where it does not (moe,
        alternate) it holds for their total.
ideal   the same limit for the fewest bytes that must be streamed (optimum.py), whoever decides.
"""
import json
import os
import statistics

from .common import (MIB, execute, fail, program, read_json, read_stats, spread, under_berth,
                     workload_options)
from .optimum import check, fewest, online, rows

# warm: steps before those that are measured: the first pass loads, a step is known once it has come
# round twice, the first turns of a new plan move what it keeps, and up to three ways are tried, of
# six steps each, for one of them to be settled on. A prompt with its tokens is one
# turn of 8 steps, two alternating models one of 4. The peers have nothing to learn.
# of: the shape of workload.c, where it has another name. host_ns: of the host before each launch.
# times: how much larger the model is than --mib says, up to MIB_MOST. An expert's matrices shall be
# larger than a page, as they are; a step reads a quarter of them.
SHAPES = {
    "minilm": {"warm": 24, "peer_warm": 2, "steps": 8, "by_step": True},
    "dense": {"warm": 24, "peer_warm": 2, "steps": 6, "by_step": True},
    "eager": {"warm": 24, "peer_warm": 2, "steps": 6, "by_step": True, "of": "dense", "host_ns": 80000},
    "phases": {"warm": 24, "peer_warm": 8, "steps": 8, "by_step": True},
    "moe": {"warm": 24, "peer_warm": 2, "steps": 24, "by_step": False, "times": 4},
    "alternate": {"warm": 16, "peer_warm": 4, "steps": 8, "by_step": False},
}
BUDGETS = (25, 50, 75, 95)
MIB_MOST = 4096  # the host holds a model about three times
PEERS = ("managed", "sync", "buffered")
LARGE_PERCENT = 90
MANAGED_PERCENT = 50  # managed is measured at twice oversubscribed only: it takes its time
SHARE_TARGET = 0.95
BYTES_TARGET = 1.05  # of the fewest
HINDSIGHT_TARGET = 0.85  # moe: of the ideal
TRACE_BEYOND = 64  # steps that the optimum sees behind the measured ones
TILES = 16
ACTIVATIONS_BYTES = 2 * (256 << 10)  # as in workload.c


def link(arguments):
    """The simulated driver's settings for the link that was asked for."""
    if not arguments.link_gb_per_s:
        return {}
    rate = round(arguments.link_gb_per_s * 1e9)
    return {"LINK_H2D": rate, "LINK_D2H": rate}


class Bench:
    """One shape at one size, on one paced device."""

    def __init__(self, shape, mib, scale, seed, folder, settings=None):
        self.shape, self.mib, self.scale, self.seed, self.folder = shape, mib, scale, seed, folder
        self.counts = SHAPES[shape]
        # Kernels read sixteen bytes of every 4 KiB: each access stands for all of them.
        self.settings = {"PACE": scale, "LINE": 4096, **(settings or {})}
        self.trace = self._trace()
        self.plain = self.run("plain", None)
        self.link_bytes_per_s = self.plain["costs"]["h2d_bytes_per_s"]

    def _command(self, mode="plain"):
        return [program("workload"), "--shape", self.counts.get("of", self.shape),
                "--host-ns", str(self.counts.get("host_ns", 0) * self.scale), "--mib", str(self.mib), "--mode", mode,
                "--warm", str(self.warm(mode)), "--steps", str(self.counts["steps"]),
                "--seed", str(self.seed), "--tiles", str(TILES)] + workload_options()

    def warm(self, mode):
        return self.counts["peer_warm" if mode in PEERS else "warm"]

    def _trace(self):
        command = self._command() + ["--trace"]
        command[command.index("--steps") + 1] = str(self.counts["steps"] + TRACE_BEYOND)
        return json.loads(execute(command, self.seed)[0])

    def budget_bytes(self, percent):
        return sum(t["bytes"] for t in self.trace["tensors"]) * percent // 100

    def run(self, mode, percent):
        """One program: plain, berth, or a peer. returns its measured steps."""
        report = os.path.join(self.folder, "report.json")
        stats = os.path.join(self.folder, "stats.json")
        settings = {**self.settings, "REPORT": report, "VRAM": f"{4 * self.mib + 256}MiB"}
        budget = self.budget_bytes(percent) if percent else 0
        command = self._command(mode if mode in PEERS else "plain")
        if mode == "berth":
            command = under_berth(budget, stats, command)
        elif mode == "managed":
            settings["VRAM"] = str(budget)
        elif mode in PEERS:
            command += ["--budget-bytes", str(budget - self.trace["working_bytes"])]
        out, _, wall, _ = execute(command, self.seed, settings=settings)
        lines = [json.loads(line) for line in out.splitlines()]
        steps = [line for line in lines[1:] if line["measured"]]
        pace = read_json(report)["pace"]
        window = pace["window"]["devices"][0]
        found = {"mode": mode, "wall_s": round(wall, 1),
                 "step_ns": [round(step["ns"] / self.scale) for step in steps],
                 "phases": [step["phase"] for step in steps],
                 "hashes": [line["hash"] for line in lines[1:]],
                 "load_ns": round(lines[0]["load_ns"] / self.scale),
                 "device_bytes": lines[0]["device_bytes"], "costs": pace["costs"],
                 "h2d_bytes": window["h2d"]["bytes"], "d2h_bytes": window["d2h"]["bytes"],
                 "overrun_share": sum(window[e]["overrun_ns"] for e in window)
                 / pace["window"]["ns"]}
        if mode != "plain" and found["hashes"] != self.plain["hashes"][:len(found["hashes"])]:
            fail(f"{self.shape} {mode} at {percent}%: other bits than plain")
        if mode == "berth":
            found["stats"] = read_stats(stats)
        return found

    def fewest(self, percent, mode, of=fewest):
        """Bytes of each measured step, at least. The activations are always there."""
        return of(self.trace, self.budget_bytes(percent) - ACTIVATIONS_BYTES, self.warm(mode),
                  self.counts["steps"])

    def limit_ns(self, moved):
        """What the measured steps take at least that stream these bytes."""
        compute = self.plain["step_ns"]
        link = [b * 1e9 / self.link_bytes_per_s for b in moved]
        if self.counts["by_step"]:
            return sum(max(c, l) for c, l in zip(compute, link))
        return max(sum(compute), sum(link))

    def row(self, percent, run, streamed_bytes):
        """What is known alike on a simulated device and on a card. streamed_bytes: None, not known."""
        steps, total = self.counts["steps"], sum(run["step_ns"])
        moved = self.fewest(percent, run["mode"])
        least, ideal_ns = sum(moved), self.limit_ns(moved)
        if streamed_bytes is not None and streamed_bytes != least:
            # It is known of all the steps together: each has its share.
            moved = [streamed_bytes * (m / least if least else 1 / steps) for m in moved]
        limit_ns = self.limit_ns(moved)
        return {"shape": self.shape, "mib": self.mib, "percent": percent, "mode": run["mode"],
                "budget_bytes": self.budget_bytes(percent), "steps": steps,
                "warm_steps": self.warm(run["mode"]),
                "step_ms": spread([ns / 1e6 for ns in run["step_ns"]], 3),
                "mean_step_ms": round(total / steps / 1e6, 3),
                "limit_ms": round(limit_ns / steps / 1e6, 3),
                "ideal_ms": round(ideal_ns / steps / 1e6, 3),
                "compute_ms": round(sum(self.plain["step_ns"]) / steps / 1e6, 3),
                "share": limit_ns / total, "ideal_share": ideal_ns / total,
                "streamed_bytes": None if streamed_bytes is None else streamed_bytes / steps,
                "fewest_bytes": least / steps,
                "rows_bytes": sum(rows(self.trace, self.warm(run["mode"]), steps)) / steps,
                "bytes_ratio": streamed_bytes / least if streamed_bytes and least else None,
                "device_bytes": run["device_bytes"], "wall_s": run["wall_s"]}

    def judge(self, percent, run):
        steps, total = self.counts["steps"], sum(run["step_ns"])
        row = self.row(percent, run, run["h2d_bytes"])
        row["written_back_bytes"] = run["d2h_bytes"] / steps
        row["link_busy"] = run["h2d_bytes"] * 1e9 / self.link_bytes_per_s / total
        row["overrun_share"] = run["overrun_share"]
        if self.shape == "phases":
            for phase in ("prefill", "decode"):
                row[f"{phase}_ms"] = round(statistics.mean(
                    ns for ns, p in zip(run["step_ns"], run["phases"]) if p == phase) / 1e6, 3)
        if self.shape == "moe":
            possible = self.fewest(percent, run["mode"], online)
            row["online_ms"] = round(self.limit_ns(possible) / steps / 1e6, 3)
            row["online_share"] = self.limit_ns(possible) / total
            row["online_bytes_ratio"] = run["h2d_bytes"] / sum(possible) if sum(possible) else None
        if "stats" in run:
            row["launches"] = run["stats"]["launches"]
            row["learned"] = run["stats"]["steps"]
        return row


HEADER = (f"{'shape':10} {'MiB':>5} {'%':>3} {'program':9} {'step ms':>8} {'limit':>8} {'share':>6} "
          f"{'ideal':>6} {'streamed':>9} {'fewest':>8} {'ratio':>6} {'link':>5} {'overrun':>7}")


def show(row):
    ratio = f"{row['bytes_ratio']:.3f}" if row["bytes_ratio"] else "-"
    print(f"{row['shape']:10} {row['mib']:5} {row['percent']:3} {row['mode']:9} "
          f"{row['mean_step_ms']:8.3f} {row['limit_ms']:8.3f} {row['share']:6.3f} "
          f"{row['ideal_share']:6.3f} {row['streamed_bytes'] / MIB:7.1f}M {row['fewest_bytes'] / MIB:7.1f}M {ratio:>6} "
          f"{row['link_busy']:5.2f} {row['overrun_share']:7.4f}", flush=True)


def measure(arguments, folder, verdicts):
    found = []
    wrong = check()
    if wrong:
        fail(f"the optimum is none: {wrong}")
    print(HEADER)
    for shape in arguments.shapes:
        bench = None
        for percent in arguments.budgets:
            mib = arguments.mib * SHAPES[shape].get("times", 1)
            mib = max(min(mib, MIB_MOST), arguments.mib_large if percent >= LARGE_PERCENT else 0)
            if not bench or bench.mib != mib:
                bench = Bench(shape, mib, arguments.pace, arguments.seed, folder, link(arguments))
            by_mode = {}
            for mode in ("berth",) + arguments.peers:
                if mode == "managed" and percent != MANAGED_PERCENT:
                    continue
                row = by_mode[mode] = bench.judge(percent, bench.run(mode, percent))
                found.append(row)
                show(row)
            judge(by_mode, verdicts)
    return found


def judge(by_mode, verdicts):
    berth = by_mode["berth"]
    name = f"{berth['shape']} at {berth['percent']}%"
    if berth["shape"] == "moe":
        verdicts.at_least("paced", f"{name}: share of what hindsight allows", berth["ideal_share"],
                          HINDSIGHT_TARGET)
    else:
        verdicts.at_least("paced", f"{name}: share of the limit", berth["share"], SHARE_TARGET)
        verdicts.tell("paced", f"{name}: share of the ideal", berth["ideal_share"])
    # Rows are no lower bound: where they could make a difference of the target's, there is no verdict.
    if berth["bytes_ratio"] and berth["rows_bytes"] > (BYTES_TARGET - 1) * berth["fewest_bytes"]:
        verdicts.tell("paced", f"{name}: streamed / fewest", berth["bytes_ratio"], target="n/a")
    elif berth["bytes_ratio"]:
        verdicts.at_most("paced", f"{name}: streamed / fewest", berth["bytes_ratio"], BYTES_TARGET)
    if "online_share" in berth:
        verdicts.tell("paced", f"{name}: share of what is possible online", berth["online_share"])
        verdicts.tell("paced", f"{name}: streamed / possible online", berth["online_bytes_ratio"])
    for mode, row in by_mode.items():
        if mode == "managed":
            verdicts.at_least("paced", f"{name}: managed / berth, time",
                              row["mean_step_ms"] / berth["mean_step_ms"], 10)
            verdicts.tell("paced", f"{name}: managed / ideal, time",
                          row["mean_step_ms"] / row["ideal_ms"])
        elif mode != "berth":
            verdicts.at_least("paced", f"{name}: {mode} / berth, time",
                              row["mean_step_ms"] / berth["mean_step_ms"], 1)
