"""The programs of the section paced on a real card.

The same steps with the same peers; what differs is what can be known. Link and computing are measured:
the link by tests/gpu's probe, computing by the plain program with everything resident. What Berth streamed
in the measured steps is what it streamed in all of the run less what it did in one that stops before
them. What the peers stream is not counted. Budgets are Berth's own flag and the peers' own buffers: the card
is never filled. So plain managed memory is left out: it would need a card with just that much memory.
"""
import json
import os
import time

from . import common
from .common import execute, fail, read_stats, under_berth
from .paced import HEADER, PEERS, SHAPES, Bench
from .paced import judge as judge_paced


class CardBench(Bench):
    """One shape at one size on the card."""

    def __init__(self, shape, mib, link_bytes_per_s, seed, folder):
        self.card_link = link_bytes_per_s
        super().__init__(shape, mib, 1, seed, folder)

    def steps_of(self, command, budget, stats):
        if budget:
            command = under_berth(budget, stats, command)
        out, _, wall, _ = execute(command, self.seed)
        return [json.loads(line) for line in out.splitlines()], wall

    def run(self, mode, percent):
        stats = os.path.join(self.folder, "stats.json")
        budget = self.budget_bytes(percent) if percent else 0
        command = self._command(mode if mode in PEERS else "plain")
        if mode in PEERS:
            command += ["--budget-bytes", str(budget - self.trace["working_bytes"])]
        lines, wall = self.steps_of(command, budget if mode == "berth" else 0, stats)
        steps = [line for line in lines[1:] if line["measured"]]
        found = {"mode": mode, "wall_s": round(wall, 1), "step_ns": [s["ns"] for s in steps],
                 "phases": [s["phase"] for s in steps], "hashes": [s["hash"] for s in lines[1:]],
                 "device_bytes": lines[0]["device_bytes"],
                 "costs": {"h2d_bytes_per_s": self.card_link}}
        if mode != "plain" and found["hashes"] != self.plain["hashes"][:len(found["hashes"])]:
            fail(f"{self.shape} {mode} at {percent}%: other bits than plain")
        if mode == "berth":
            found["stats"] = read_stats(stats)
            command[command.index("--steps") + 1] = "0"
            self.steps_of(command, budget, stats)
            before = read_stats(stats)["transfers"]
            found["moved"] = {key: max(0, found["stats"]["transfers"][key] - before[key])
                              for key in ("h2d_bytes", "d2h_bytes")}
        return found

    def judge(self, percent, run):
        row = self.row(percent, run, run["moved"]["h2d_bytes"] if "moved" in run else None)
        if "moved" in run:
            row["written_back_bytes"] = run["moved"]["d2h_bytes"] / self.counts["steps"]
            row["launches"], row["learned"] = run["stats"]["launches"], run["stats"]["steps"]
        return row


def show(row):
    ratio = f"{row['bytes_ratio']:.3f}" if row["bytes_ratio"] else "-"
    streamed = "-" if row["streamed_bytes"] is None else f"{row['streamed_bytes'] / common.MIB:.1f}M"
    print(f"{row['shape']:10} {row['mib']:5} {row['percent']:3} {row['mode']:9} "
          f"{row['mean_step_ms']:8.3f} {row['limit_ms']:8.3f} {row['share']:6.3f} {row['ideal_share']:6.3f} "
          f"{streamed:>9} {row['fewest_bytes'] / common.MIB:7.1f}M {ratio:>6}", flush=True)


def measure(arguments, folder, verdicts):
    rows, start = [], time.monotonic()
    print("bench: managed: left out: it needs a card that is filled, and that can hang one")
    print(HEADER[:HEADER.index("  link")])
    for shape in arguments.shapes:
        mib = arguments.mib * SHAPES[shape].get("times", 1)
        bench = None
        for percent in arguments.budgets:
            by_mode = {}
            if arguments.limit_s and time.monotonic() - start > arguments.limit_s:
                print(f"bench: {shape} at {percent}%: left out, for there is no time left")
                continue
            bench = bench or CardBench(shape, mib, arguments.link["h2d_pinned_GB_per_s"] * 1e9,
                                       arguments.seed, folder)
            for mode in ("berth",) + tuple(m for m in arguments.peers if m != "managed"):
                row = by_mode[mode] = bench.judge(percent, bench.run(mode, percent))
                rows.append(row)
                show(row)
            judge_paced(by_mode, verdicts)
    return rows
