# Strategy: documents made from $S, the one of a program that ran: odd names, widths, earlier and later
# versions, and every value damaged in turn. What is shown is whole or one line of refusal.

"$PYTHON" - "$S" >"$WORK/odd.json" <<'END'
import json, sys
d = json.load(open(sys.argv[1]))
d["program"] = "odd \"name\"\n\x1b[31m"
d["parameters"] = [
    {"name": "layer.%d.weight" % i, "dtype": "F32", "shape": [384, 1536], "bytes": 2359296,
     "tier": "host", "evidence": "file", "loads": i, "evictions": i, "h2d_bytes": i * 2359296,
     "stall_ns": i * 1000} for i in range(101)]
d["parameters"] += [dict(d["parameters"][5], name="back\\slash \"quoted\" ünï\x1b"),
                    dict(d["parameters"][5])]
d["parameters"][100]["name"] += ".long" * 20
d["unknown_entry_points"] = {"cuNew": 2}
print(json.dumps(d))
END
expect "a table of many parameters" 0 'and 83 more of .* --all' "$BERTH" stats "$WORK/odd.json"
check "what was moved is told in sizes of the parameter" grep -qE '^layer.99.weight .* 222.8 MiB +99.0 ' "$WORK/out"
check "those that stalled most come first" test \
    "$(grep '^layer' "$WORK/out" | head -n 1 | grep -c layer.100.weight)" = 1
check "and are named in the summary" grep -qE '^ {11}layer.99.weight \(99.0 us\)$' "$WORK/out"
check "advice is the last word" bash -c 'tail -n 1 "$1" | grep -qE "^(advice|  ) +[A-Z0-9]"' - "$WORK/out"
check "nothing escapes into a pipe" bash -c '! grep -q "$(printf "\033")" "$WORK/out"'
check "no column for places that there are not" bash -c '! grep -q "^parameter .* place" "$1"' - "$WORK/out"
sed 's/"name": "layer.100.weight[^}]*"evidence": "file"/&, "place": 0/; s/"name": "layer.99.weight"[^}]*"evidence": "file"/&, "place": "cpu"/' \
    "$WORK/odd.json" >"$WORK/placed.json"
expect "a table of places" 0 '^layer.99.weight .* cpu$' "$BERTH" stats "$WORK/placed.json"
check "names GPUs" grep -qE '^layer.100.weight.* 0$' "$WORK/out"
check "and leaves open what the map does" grep -qE '^layer.98.weight .* -$' "$WORK/out"
expect "--all" 0 '^layer.0.weight' "$BERTH" stats "$WORK/odd.json" --all
check "--all leaves nothing out" test "$(grep -c '^layer' "$WORK/out")" = 102
expect "--json of odd names" 0 '' "$BERTH" stats --json "$WORK/odd.json"
check "odd names come back as they were" "$PYTHON" -c 'import json, sys
assert json.load(open(sys.argv[1])) == json.load(open(sys.argv[2]))' "$WORK/odd.json" "$WORK/out"
expect "--prometheus" 0 '^berth_transfers_h2d_bytes_total\{pid=' "$BERTH" stats --prometheus "$WORK/odd.json"
cat >"$WORK/metrics.py" <<'END'
# The text format, strictly: every series once, of a type that was declared before it.
import re, sys
types, seen = {}, set()
label = r'[a-z]+="(?:[^"\\\n]|\\[\\"n])*"'
for line in open(sys.argv[1], encoding="utf-8", newline="\n"):
    line = line.rstrip("\n")
    if line.startswith("# "):
        kind, name, text = line[2:].split(" ", 2)
        if kind == "TYPE":
            assert name not in types
            types[name] = text
        continue
    m = re.fullmatch(r"([a-z_0-9]+)(\{%s(?:,%s)*\})? (\d+(?:\.\d{9})?)" % (label, label), line)
    assert m, line
    assert m[1] in types and (types[m[1]] == "counter") == m[1].endswith("_total"), line
    assert (m[1], m[2]) not in seen, line
    seen.add((m[1], m[2]))
assert len(seen) > 5 * 103
END
check "the metrics are well formed" "$PYTHON" "$WORK/metrics.py" "$WORK/out"
cat >"$WORK/width.py" <<'END'
# On a terminal no line is longer than that is wide, and there is colour unless NO_COLOR is set.
import fcntl, os, pty, re, struct, sys, termios
def show(env, columns=110):
    pid, master = pty.fork()
    if pid == 0:
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        os.execve(sys.argv[1], sys.argv[1:], dict(os.environ, TERM="xterm", **env))
    text = b""
    while True:
        try:
            piece = os.read(master, 65536)
        except OSError:
            break
        if not piece:
            break
        text += piece
    assert os.waitpid(pid, 0)[1] == 0
    return text.decode()
text = show({})
assert "\x1b[1m" in text
assert re.search(r"\n[^ ]*layer\.100\.weight\S*\.\.\S*long ", text)
table = re.sub("\x1b\\[[0-9]*m", "", text).split("\r\n\r\n")[1].split("\r\n")
assert max(len(line) for line in table) == 110, table
assert "\x1b" not in show({"NO_COLOR": "1"})
# Narrower and narrower: columns go, words wrap, and what matters most stays.
for columns in 80, 60, 40:
    text = show({"NO_COLOR": "1"}, columns)
    lines = text.split("\r\n")
    assert max(len(line) for line in lines if " " in line.strip()) <= columns, (columns, text)
    head = next(line for line in lines if line.startswith("parameter "))
    assert "stalled" in head and "times" not in head and ("size" in head) == (columns > 40), head
    assert re.search(r"\nlayer\.100\S*\.\.\S*long ", text) and "layer.99.weight" in text, text
assert len(show({}, 1)) > 1000
END
on_terminal "a terminal" "$WORK/width.py" "$BERTH" stats "$WORK/odd.json"
"$BERTH" stats bench/results/demo-*.json >"$WORK/out"
check "the README shows the demo that is kept" bash -c 'sed -n "/^program/,/^steps/p; /^advice/p" "$1" |
    { n=0; while IFS= read -r line; do grep -qxF -- "$line" README.md || exit 1; n=$((n + 1)); done; [ $n -gt 10 ]; }' \
    - "$WORK/out"
"$PYTHON" - "$S" >"$WORK/link.json" <<'END'
import json, sys
d = json.load(open(sys.argv[1]))
d["link"] = {"bytes_per_s": 20 << 30, "share": 0.25, "span_ns": 10**9}
print(json.dumps(d))
END
expect "the share of the link that was reached" 0 \
    '^link +25% of its speed: 5.0 GiB/s from the first load to the last, 20.0 GiB/s within a load$' \
    "$BERTH" stats "$WORK/link.json"
sed -i 's/"share": 0.25/"share": 0.0/' "$WORK/link.json"
expect "a single load" 0 '^link +20.0 GiB/s within a load$' "$BERTH" stats "$WORK/link.json"
"$PYTHON" - "$S" >"$WORK/freed.json" <<'END'
import json, sys
d = json.load(open(sys.argv[1]))
d["weights"].update(total_bytes=40 << 20, named_bytes=0, vram_bytes=6 << 20, host_bytes=34 << 20, allocated_bytes=20 << 20)
print(json.dumps(d))
END
expect "weights that were freed in part" 0 '^ +at most 6.0 MiB in VRAM at a time; 20.0 MiB not freed by the end$' \
    "$BERTH" stats "$WORK/freed.json"
check "are not counted in objects" grep -qx 'weights    40.0 MiB, 0 B of them named' "$WORK/out"
sed -i 's/"allocated_bytes": 20971520/"allocated_bytes": 0/' "$WORK/freed.json"
expect "weights that were freed" 0 '^ +at most 6.0 MiB in VRAM at a time; all freed by the end$' \
    "$BERTH" stats "$WORK/freed.json"
sed -i 's/"allocated_bytes": 0/"allocated_bytes": 41943040/; s/"name": "anonymous[^}]*"evidence": "none"/&, "freed": true/' "$WORK/freed.json"
expect "weights that are all there" 0 '^ +6.0 MiB in VRAM, 34.0 MiB only in host memory$' "$BERTH" stats "$WORK/freed.json"
check "and what was freed says where it was" grep -qE '^anonymous@.* was (vram|host) ' "$WORK/out"
check "are counted, and what was freed is not" grep -q '^weights    40.0 MiB in 0 objects, ' "$WORK/out"
expect "metrics of what was freed" 0 ',tier="freed",' "$BERTH" stats --prometheus "$WORK/freed.json"
sed -i 's/"freed": true/"freed": 1/' "$WORK/freed.json"
expect "freed, and no truth value" 125 'freed is neither true nor false' "$BERTH" stats "$WORK/freed.json"
expect "two forms at once" 2 'exclude each other' "$BERTH" stats --json --prometheus "$S"
expect "two files at once" 2 'is enough' "$BERTH" stats "$S" "$S"
expect "a missing file of statistics" 125 'nothing.json' "$BERTH" stats "$WORK/nothing.json"
expect "a file that is no statistics" 125 'stats: tests/cli: 1:1: ' "$BERTH" stats tests/cli
echo '{"version": 2}' >"$WORK/later.json"
expect "statistics of a later version" 125 'version 2' "$BERTH" stats "$WORK/later.json"
sed 's/"resident_bytes"/"resident"/' "$S" >"$WORK/short.json"
expect "statistics with a part missing" 125 'weights.resident_bytes is missing' "$BERTH" stats "$WORK/short.json"
"$PYTHON" - "$S" >"$WORK/early.json" <<'END'
import json, sys
d = json.load(open(sys.argv[1]))
for later in "asked_bytes", "needed_bytes", "card_bytes", "link", "paging", "policy":
    del d[later]
for later in "ambiguous_bytes", "vram_bytes", "allocated_bytes":
    del d["weights"][later]
print(json.dumps(d))
END
expect "statistics of an earlier berth" 0 '^budget +GPU 0: 32.0 MiB$' "$BERTH" stats "$WORK/early.json"
cat >"$WORK/damage.py" <<'END'
# Every value of the document in turn is left out, or is of a wrong type: one line, exit code 125.
import copy, json, subprocess, sys
berth, source, target = sys.argv[1:]
whole = json.load(open(source))
# What documents of before have not: it may be missing.
later = ("asked_bytes", "needed_bytes", "card_bytes", "link", "paging", "policy")
def places(value, path=()):
    if path:
        yield path
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], path + (key,))
def damaged():
    for path in places(whole):
        for replacement in (None, [], {}, "x", -1, 1.5, 2**60):
            d = copy.deepcopy(whole)
            at = d
            for key in path[:-1]:
                at = at[key]
            if replacement is None:
                if isinstance(at, list):
                    continue
                del at[path[-1]]
                if path[0] in ("budget_bytes", "unknown_entry_points") and len(path) > 1:
                    continue
                if path[0] in later or path[-1] in ("ambiguous_bytes", "vram_bytes", "allocated_bytes"):
                    continue
            elif type(at[path[-1]]) is type(replacement) and replacement not in (-1, 2**60):
                continue
            else:
                at[path[-1]] = replacement
            yield path, replacement, json.dumps(d)
count = 0
for path, replacement, text in damaged():
    with open(target, "w") as f:
        f.write(text)
    r = subprocess.run([berth, "stats", target], capture_output=True, text=True)
    assert r.returncode == 125 and r.stdout == "", (path, replacement, r)
    assert r.stderr.startswith("berth: stats: ") and r.stderr.count("\n") == 1, (path, r)
    count += 1
assert count > 100
END
expect "damaged statistics" 0 '' "$PYTHON" "$WORK/damage.py" "$BERTH" "$S" "$WORK/damaged.json"
expect "a number that is no PID" 125 'no process has such a number' "$BERTH" stats 99999999999999999999
