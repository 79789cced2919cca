"""What all measurements share: how programs are run, and how figures are told and judged."""
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OUT = os.path.abspath(os.path.join(ROOT, os.environ.get("OUT", "build")))
MIB = 1 << 20
card_options = []  # of workload.c, where is_real
is_real = False  # whatever driver the environment leads to, and nothing that a simulator would tell
VERDICT_WORDS = {True: "met", False: "NOT MET", None: ""}


def fail(text):
    print(f"bench: FAILED: {text}")
    sys.exit(1)


def program(name):
    return os.path.join(OUT, "bench", name)


def environment(seed, settings=None):
    """A program's environment: the simulated driver, no random delays, and these SIMCUDA_ settings."""
    env = dict(os.environ)
    if is_real:
        return env
    env["LD_LIBRARY_PATH"] = os.path.join(OUT, "simcuda")
    env["BERTH_DRIVER"] = os.path.join(OUT, "simcuda", "libcuda.so.1")
    env["SIMCUDA_CACHE"] = os.path.join(OUT, "simcuda-cache")
    env["SIMCUDA_SEED"] = str(seed)
    env["SIMCUDA_DELAY_US"] = "0"
    env.update({f"SIMCUDA_{name}": str(value) for name, value in (settings or {}).items()})
    return env


def workload_options():
    return card_options if is_real else []


def execute(command, seed, stdin=None, settings=None, may_fail=False):
    """Standard output, error, wall and user + system seconds; ends the benchmark on any failure."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.monotonic()
        process = subprocess.Popen(command, env=environment(seed, settings), cwd=ROOT, stdout=out,
                                   stderr=err, stdin=stdin or subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if process.returncode and not may_fail:
            fail(f"{' '.join(command)}: exit code {process.returncode}\n{err.read().decode()}")
        return out.read(), err.read().decode(), wall, usage.ru_utime + usage.ru_stime


def under_berth(budget, stats, command):
    return [os.path.join(OUT, "berth"), "run", "--max-memory", f"0={budget}", "--stats", stats,
            "--"] + command


def read_stats(path):
    with open(path, encoding="utf-8") as file:
        stats = json.load(file)
    if any(stats["errors"].values()):
        fail(f"berth met trouble: {stats['errors']}")
    return stats


def read_json(path):
    with open(path, encoding="utf-8") as file:
        return json.load(file)


def spread(values, digits=1):
    """The median of some values, and those that it lies among."""
    return {"median": round(statistics.median(values), digits),
            "min": round(min(values), digits), "max": round(max(values), digits)}


class Verdicts:
    """The figures that have a target: what was asked, what came out, and whether that is enough."""

    def __init__(self):
        self.rows = []

    def at_most(self, section, what, value, target, unit="", digits=3):
        self._add(section, what, value, "<=", target, unit, digits, value <= target)

    def at_least(self, section, what, value, target, unit="", digits=3):
        self._add(section, what, value, ">=", target, unit, digits, value >= target)

    def tell(self, section, what, value, unit="", digits=3, target=""):
        """A figure that belongs into the table and has no target; "n/a" where others of its kind have."""
        self.rows.append({"section": section, "what": what, "value": round(value, digits),
                          "target": target, "unit": unit, "met": None})

    def _add(self, section, what, value, relation, target, unit, digits, is_met):
        self.rows.append({"section": section, "what": what, "value": round(value, digits),
                          "target": f"{relation} {target}", "unit": unit, "met": bool(is_met)})

    def show(self):
        print(f"\n{'section':8} {'figure':46} {'value':>11} {'target':>10} {'unit':9} verdict")
        for row in self.rows:
            print(f"{row['section']:8} {row['what']:46} {row['value']:>11} {row['target']:>10} "
                  f"{row['unit']:9} {VERDICT_WORDS[row['met']]}")
        judged = [row["met"] for row in self.rows if row["met"] is not None]
        print(f"bench: {sum(judged)} of {len(judged)} targets met")
