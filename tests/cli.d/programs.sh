# Strategy: statistics of programs that run, stop, are killed or have ended: the document is held
# against CLI.md key for key, and `berth stats` finds the program that is meant. Leaves $S, the document
# of a killed program, and document.py to the parts that follow.

cat >"$WORK/document.py" <<'END'
# The document of CLI.md, key for key.
import json, sys
d = json.load(open(sys.argv[1]))
LATER = ["asked_bytes", "needed_bytes", "card_bytes", "link", "paging", "policy"]
assert [key for key in d if key in LATER] == LATER
assert list(d["policy"]) == ["disk_bytes", "elsewhere_bytes"]
assert list(d["link"]) == ["bytes_per_s", "share", "span_ns"] and 0 <= d["link"]["share"] <= 1
assert [key for key in d if key not in LATER] == ["version", "pid", "program", "backend", "driver", "budget_bytes", "weights",
                   "transfers", "launches", "steps", "errors", "unknown_entry_points",
                   "parameters"], list(d)
keys = {
    "weights": ["total_bytes", "named_bytes", "resident_bytes", "host_bytes", "disk_bytes",
                "peak_resident_bytes", "ambiguous_bytes", "vram_bytes", "allocated_bytes"],
    "transfers": ["h2d_bytes", "h2d_count", "d2h_bytes", "disk_read_bytes", "dropped_bytes",
                  "written_back_bytes"],
    "launches": ["count", "resident", "waited", "stall_ns", "overhead_ns"],
    "steps": ["learned", "launches_per_step", "count"],
    "errors": ["driver_failures", "refused"],
}
for group, names in keys.items():
    assert list(d[group]) == names, d[group]
    for name in names:
        assert type(d[group][name]) is (bool if name == "learned" else int)
assert d["version"] == 1 and type(d["pid"]) is int
for p in d["parameters"]:
    told = [key for key in p if key not in ("place", "freed", "touches", "first_touch")]
    assert ("touches" in p) == ("first_touch" in p) and p.get("place", 0) in (0, "cpu", "disk"), p
    assert told == ["name", "dtype", "shape", "bytes", "tier", "evidence", "loads", "evictions",
                       "h2d_bytes", "stall_ns"], p
END
S=$WORK/stats.json
expect "--stats of a program that ends" 5 '' run --stats "$S" --max-memory 0=32MiB "$CLIENT" cuda exit 5
check "its document" "$PYTHON" "$WORK/document.py" "$S"
check "its program" json "$S" 'd["program"] == "client" and d["backend"] == "um"'
check "its driver" json "$S" 'd["driver"].startswith("libcuda.so")'
check "its budget" json "$S" 'd["budget_bytes"] == {"0": 32 << 20}'
check "its weights" json "$S" 'd["weights"]["total_bytes"] == 8 << 20'
expect "stats of the file" 0 '^program +client, pid ' "$BERTH" stats "$S"
expect "stats --json of the file" 0 '' "$BERTH" stats "$S" --json
check "stats --json is the file" cmp -s "$S" "$WORK/out"
# No budget is larger than the card, and its document is one that berth stats reads.
expect "a budget that no card has" 0 'less free memory than its budget' \
    env SIMCUDA_VRAM=64MiB "$WORK/bin/run" --stats "$S" --max-memory 0=17179869183GiB "$CLIENT" cuda
check "the budget is what the card has" json "$S" '0 < d["budget_bytes"]["0"] < 64 << 20'
expect "stats of a budget that no card has" 0 'budget +GPU 0: [0-9.]+ MiB' "$BERTH" stats "$S"
rm -f "$S"
expect "--stats without CUDA" 4 '' run --stats "$S" "$CLIENT" exit 4
check "its document without CUDA" "$PYTHON" "$WORK/document.py" "$S"
expect "stats without CUDA" 0 '^advice +The program itself never used the GPU' "$BERTH" stats "$S"
check "speak of no backend" grep -q '^backend    none, ' "$WORK/out"
rm -f "$S"
expect "--stats of a crash" 134 '' bash -c 'run "$@"; exit' - --stats "$S" "$CLIENT" cuda kill 6
check "its document after a crash" json "$S" 'd["weights"]["total_bytes"] == 8 << 20'
echo kept >"$S"
expect "--stats of a program that cannot start" 127 '' run --stats "$S" "$WORK/lost-script"
check "the old file stays" grep -q kept "$S"
printf '#!/bin/sh\n"%s" cuda exit 0\nexec "%s" cuda exit 8\n' "$CLIENT" "$CLIENT" >"$WORK/script"
expect "--stats of a program behind a script" 8 '' run --stats "$S" "$WORK/script"
check "its document behind a script" json "$S" 'd["program"] == "client"'
(cd "$WORK" && ln -sf target.json link.json && echo old >target.json)
expect "--stats through a symbolic link" 0 '' run --stats "$WORK/link.json" "$CLIENT" cuda
check "the link stays" test -L "$WORK/link.json" -a -s "$WORK/target.json"
expect "--stats into a pipe" 0 '"version": 1' bash -c 'run --stats /dev/stdout "$0" cuda | cat' "$CLIENT"
LD_PRELOAD=$OUT/libberth.so:$OUT/berth-stub/libcuda.so BERTH_DRIVER=$SIM BERTH_STATS=$WORK/alone.json \
    "$CLIENT" cuda exit 0
check "statistics without a launcher" "$PYTHON" "$WORK/document.py" "$WORK/alone.json"

start "$BERTH" run --driver "$SIM" --stats "$S" --max-memory 0=32MiB -- \
    "$CLIENT" cuda ready "$WORK/fifo" wait "$WORK/gate"
pid=$(child)
alone "stats of a living program" "$pid"
expect "stats of a PID" 0 '^weights +8.0 MiB in 1 object,' "$BERTH" stats "$pid"
expect "stats of the launcher's PID" 0 "pid $pid" "$BERTH" stats "$launcher"
expect "stats --json of a living program" 0 '' "$BERTH" stats "$pid" --json
check "its document while it lives" "$PYTHON" "$WORK/document.py" "$WORK/out"
kill -STOP "$pid"
expect "stats of a stopped program" 0 'anonymous@' "$BERTH" stats "$pid"
kill -CONT "$pid"
other=$launcher
exec 4<&3
LD_PRELOAD=$OUT/libberth.so:$OUT/berth-stub/libcuda.so BERTH_DRIVER=$SIM \
    start "$CLIENT" cuda ready "$WORK/fifo" wait "$WORK/gate"
alone "stats of two programs" "$pid" "$launcher"
kill -KILL "$launcher"
ended "a killed program without a launcher" 137
expect "stats of a PID that is gone and left its file" 0 "pid $launcher" "$BERTH" stats "$launcher"
alone "which the next command passes over" "$pid"
check "and removes" test ! -e "/dev/shm/berth-$(id -u)-$launcher"
expect "stats of a PID that is gone" 125 'no program of yours with this PID' "$BERTH" stats "$launcher"
LD_PRELOAD=$OUT/libberth.so:$OUT/berth-stub/libcuda.so BERTH_DRIVER=$SIM \
    start "$CLIENT" cuda ready "$WORK/fifo" wait "$WORK/gate"
kill -KILL "$launcher"
ended "another killed program without a launcher" 137
expect "berth run after it" 0 '' run true
check "removes its file too" test ! -e "/dev/shm/berth-$(id -u)-$launcher"
launcher=$other
exec 3<&4 4<&-
rm -f "$S"
kill -KILL "$pid"
ended "a killed program leaves its statistics" 137
check "its document after kill -9" json "$S" "d['pid'] == $pid and d['weights']['total_bytes'] == 8 << 20"
check "nothing stays in shared memory" test ! -e "/dev/shm/berth-$(id -u)-$pid"
