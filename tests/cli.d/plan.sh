# Strategy: what plan writes is what check takes, under every budget and strategy, and covers every
# tensor of every golden checkpoint; the figures are check's own. Then wrong words, and files that
# cannot be.

expect "plan" 0 '^streams +[0-9.]+ (B|KiB) for each step' "$BERTH" plan "$CHECKPOINT" --max-memory 0=2500
expect "plan within the budget" 0 '^streams +nothing' "$BERTH" plan "$CHECKPOINT" --max-memory 0=1GiB
check "plan without -o writes nothing" grep -qE '^policy +not written' "$WORK/out"
expect "plan -o -" 0 '"device_map": \{' "$BERTH" plan "$CHECKPOINT" --max-memory 0=2500 -o -
cp "$WORK/out" "$WORK/planned.json"
expect "plan -o FILE" 0 "^policy +$WORK/policy.json" "$BERTH" plan "$CHECKPOINT" --max-memory 0=2500 -o "$WORK/policy.json"
check "plan writes the same into a file" "$PYTHON" -c 'import json, sys
one, other = (json.load(open(path)) for path in sys.argv[1:])
assert list(one["device_map"].items()) == list(other["device_map"].items())
assert one["max_memory"] == other["max_memory"]' "$WORK/planned.json" "$WORK/policy.json"
check "plan leaves nothing beside it" test -z "$(ls "$WORK" | grep '^policy.json\.')"
expect "plan --json" 0 '"streamed_bytes": [1-9]' "$BERTH" plan "$CHECKPOINT" --max-memory 0=2500 --json
check "plan --json holds the policy" "$PYTHON" -c 'import json, sys
got, policy = (json.load(open(path)) for path in sys.argv[1:])
assert got["policy"]["device_map"] == policy["device_map"]
assert got["streamed_bytes"] == sum(d["bytes"] for d in got["check"]["devices"] if d["device"] in ("cpu", "disk"))
' "$WORK/out" "$WORK/policy.json"
expect "plan --link" 0 'at 12.5 GB/s$' "$BERTH" plan "$CHECKPOINT" --max-memory 0=2500 --link 12.5

cat >"$WORK/agree.py" <<'END'
import json, subprocess, sys
berth, work, *checkpoints = sys.argv[1:]
runs = 0
for path in checkpoints:
    found = subprocess.run([berth, "inspect", path, "--json"], capture_output=True, text=True)
    total = sum(t["bytes"] for t in json.loads(found.stdout)["tensors"])
    for share in (0, 10, 35, 50, 90, 200):
        for strategy in ("auto", "balanced", "balanced_low_0", "sequential"):
            for more in ([], ["--no-split", "none"], ["--offload-buffers"]):
                memory = f"0={total * share // 100},1={total * share // 200},cpu={total * 6 // 10}"
                made = subprocess.run([berth, "plan", path, "--max-memory", memory, "--strategy", strategy, "-o",
                                       work + "/p.json", *more], capture_output=True, text=True)
                assert made.returncode == 0 and not made.stderr, (path, memory, strategy, made)
                held = subprocess.run([berth, "check", work + "/p.json", "--checkpoint", path, "--json"],
                                      capture_output=True, text=True)
                assert held.returncode == 0, (path, memory, strategy, held)
                assert json.loads(held.stdout)["uncovered"]["tensors"] == 0, (path, memory, strategy)
                runs += 1
print(runs)
END
expect "plan agrees with check" 0 '^[1-9]' "$PYTHON" "$WORK/agree.py" "$BERTH" "$WORK" "$CHECKPOINT" \
    tests/data/files/sharded tests/data/files/tiny.gguf tests/data/files/zip.bin tests/data/files/offload

# Without a budget: nine tenths of what each GPU has free, as the driver tells.
expect "plan by what is free" 0 '' env BERTH_DRIVER="$SIM" SIMCUDA_DEVICES=2 SIMCUDA_VRAM=64MiB \
    "$BERTH" plan "$CHECKPOINT" -o "$WORK/free.json"
check "plan by what is free leaves a margin" json "$WORK/free.json" \
    'list(d["max_memory"]) == ["0", "1"] and d["max_memory"]["0"] in ("56MiB", "57MiB")'
expect "plan by one budget" 0 '' env BERTH_DRIVER="$SIM" SIMCUDA_DEVICES=2 \
    "$BERTH" plan "$CHECKPOINT" --max-memory 1=32MiB -o "$WORK/free.json"
check "plan by one budget takes no other GPU" json "$WORK/free.json" 'd["max_memory"] == {"1": "32MiB"}'

# A dtype makes the model smaller than its file, and a special one larger in part; check counts alike.
total=$("$BERTH" plan "$CHECKPOINT" --max-memory 0=1GiB --json |
    "$PYTHON" -c 'import json, sys; print(json.load(sys.stdin)["check"]["devices"][0]["bytes"])')
expect "plan --dtype" 0 '"dtype": "float8_e5m2"' \
    "$BERTH" plan "$CHECKPOINT" --max-memory 0=1GiB --dtype float8_e5m2 --json -o "$WORK/dtype.json"
check "plan --dtype counts less" json "$WORK/out" "d['check']['devices'][0]['bytes'] < $total"
expect "plan --dtype PATTERN=WORD" 0 '"\*": "float64"' "$BERTH" plan "$CHECKPOINT" --max-memory 0=1GiB --dtype '*=float64' --json
check "plan --dtype PATTERN=WORD counts more" json "$WORK/out" "d['check']['devices'][0]['bytes'] > $total"
expect "check of a dtype" 0 'as float8_e5m2' "$BERTH" check "$WORK/dtype.json"
expect "plan with an unknown dtype" 2 '--dtype: expected float64, .*did you mean "bfloat16"' \
    "$BERTH" plan "$CHECKPOINT" --max-memory 0=1GiB --dtype lm_head=bfloat
expect "plan with a dtype for nothing" 2 '--dtype: expected a pattern' "$BERTH" plan "$CHECKPOINT" --max-memory 0=1GiB --dtype =float32

expect "plan of nothing" 2 'no checkpoint given; for example' "$BERTH" plan --max-memory 0=1GiB
if "$BERTH" plan "$CHECKPOINT" >/dev/null 2>&1; then
    skip "plan without a driver" "this machine has one"
else
    expect "plan of a missing checkpoint, without a driver" 125 'nothing.safetensors: ' \
        "$BERTH" plan "$WORK/nothing.safetensors"
    expect "plan without a driver" 2 'no GPU has a budget, and no CUDA driver tells .*--max-memory 0=8GiB' \
        "$BERTH" plan "$CHECKPOINT" --max-memory cpu=1GiB
fi
expect "plan with a driver that is none" 2 'no GPU has a budget, and BERTH_DRIVER names no CUDA driver; .*--max-memory 0=8GiB' \
    env BERTH_DRIVER="$PWD/$CHECKPOINT" "$BERTH" plan "$CHECKPOINT"
expect "plan with an unknown strategy" 2 'auto, balanced, balanced_low_0 (or|and) sequential.*did you mean "balanced"' \
    "$BERTH" plan "$CHECKPOINT" --max-memory 0=1GiB --strategy balance
expect "plan with a bad size" 2 '^berth: plan: --max-memory: ' "$BERTH" plan "$CHECKPOINT" --max-memory 0=much
expect "plan with one tied name" 2 '--tied: expected two or more names' "$BERTH" plan "$CHECKPOINT" --max-memory 0=1GiB --tied embed.weight
expect "plan with a bad link" 2 '--link: expected gigabytes' "$BERTH" plan "$CHECKPOINT" --max-memory 0=1GiB --link fast
expect "plan of a missing file" 125 'gone.safetensors' "$BERTH" plan "$WORK/gone.safetensors" --max-memory 0=1GiB
expect "plan into a missing folder" 125 'name a file that can be written' "$BERTH" plan "$CHECKPOINT" --max-memory 0=1GiB -o "$WORK/none/p.json"
expect "plan that fits nowhere" 1 'max_memory.disk: the map puts .* nothing was written' \
    "$BERTH" plan "$CHECKPOINT" --max-memory 0=1,cpu=1,disk=10 -o "$WORK/nowhere.json"
check "plan that fits nowhere writes nothing" test ! -e "$WORK/nowhere.json"

# What is no file of its own is written to and never replaced: a link's target, a pipe.
echo old >"$WORK/target.json"
ln -s target.json "$WORK/link.json"
expect "plan -o LINK" 0 '' "$BERTH" plan "$CHECKPOINT" --max-memory 0=1GiB -o "$WORK/link.json"
check "plan leaves the link" test -L "$WORK/link.json"
check "plan writes what the link points to" json "$WORK/target.json" 'd["device_map"] == {"": 0}'
mkfifo "$WORK/pipe"
timeout "$LIMIT_S" cat "$WORK/pipe" >"$WORK/piped.json" &
reader=$!
expect "plan -o PIPE" 0 '' "$BERTH" plan "$CHECKPOINT" --max-memory 0=1GiB -o "$WORK/pipe"
# Where the pipe was replaced, nobody opens what the reader waits for.
if [ -p "$WORK/pipe" ]; then wait "$reader"; else kill "$reader"; fi
check "plan leaves the pipe" test -p "$WORK/pipe"
check "plan writes into the pipe" json "$WORK/piped.json" 'd["device_map"] == {"": 0}'
expect "plan with a umask" 0 '' bash -c 'umask 077 && exec "$BERTH" plan "$0" --max-memory 0=1GiB -o "$WORK/mask.json"' "$CHECKPOINT"
check "plan keeps to the umask" test "$(stat -c %a "$WORK/mask.json")" = 600

# A recorded run: what it touched stays, what it never touched goes last, and the program moves less under
# such a plan than under one that knows nothing of it. The plan's 16 MiB leave the program's 20 a window.
MODEL=$WORK/experts.safetensors
experts() { timeout "$LIMIT_S" run --max-memory 0=20MiB "$@" -- "$OUT/preload/experts" --model "$MODEL" >"$WORK/out" 2>"$WORK/err"; }
check "a run to plan by" experts --stats "$WORK/run.json"
expect "stats of a run tell what was never touched" 0 '^untouched +6.0 MiB, by any launch: berth plan --stats' \
    "$BERTH" stats "$WORK/run.json"
expect "plan --stats" 0 'at [0-9.]+ GB/s, as measured in that run$' "$BERTH" plan "$MODEL" \
    --max-memory 0=16MiB --stats "$WORK/run.json" -o "$WORK/hot.json"
check "plan --stats tells what was never touched" grep -qE '^ +of that, 6.0 MiB .*run.json never touched$' "$WORK/out"
check "plan --stats keeps what was touched most" json "$WORK/hot.json" \
    'all(d["device_map"]["layers.%d.%s" % (i, what)] == 0 for i in range(3) for what in ("shared", "experts.%d" % i))'
expect "plan --stats and --link" 0 'at 12.5 GB/s$' "$BERTH" plan "$MODEL" --max-memory 0=20MiB --stats "$WORK/run.json" --link 12.5
expect "plan --stats --json" 0 '"untouched_bytes": 6291456' "$BERTH" plan "$MODEL" --max-memory 0=20MiB --stats "$WORK/run.json" --json
expect "plan --stats of little host memory" 0 '' "$BERTH" plan "$MODEL" \
    --max-memory 0=16MiB,cpu=20MiB --stats "$WORK/run.json" -o "$WORK/little.json"
check "what was never touched goes to disk" json "$WORK/little.json" \
    'all(d["device_map"]["layers.%d.experts.%d" % (i, (i + 5) % 6)] == "disk" for i in range(3))'
expect "plan without a run" 0 '' "$BERTH" plan "$MODEL" --max-memory 0=16MiB -o "$WORK/cold.json"
check "a run by such a plan" experts --policy "$WORK/cold.json" --stats "$WORK/cold-run.json"
check "a run by the plan that knows" experts --policy "$WORK/hot.json" --stats "$WORK/hot-run.json"
sed 's/"place": 0/"place": 1/; s/"disk_bytes": 0, "else/"disk_bytes": 5, "else/; s/"elsewhere_bytes": 0/"elsewhere_bytes": 7/' \
    "$WORK/hot-run.json" >"$WORK/unfollowed.json"
expect "stats tell what of a policy was not followed" 0 '^policy +5 B on disk by the device_map' "$BERTH" stats "$WORK/unfollowed.json"
check "and what is on another GPU" grep -qE '^ +7 B on another GPU by the device_map' "$WORK/out"
check "it moves less than half" "$PYTHON" -c 'import json, sys
hot, cold = (json.load(open(path))["transfers"]["h2d_bytes"] for path in sys.argv[1:])
assert 0 < 2 * hot < cold, (hot, cold)' "$WORK/hot-run.json" "$WORK/cold-run.json"
check "what stays by the plan was loaded once" json "$WORK/hot-run.json" \
    'all(p["loads"] == 1 for p in d["parameters"] if p["place"] == 0)'

expect "plan by a missing run" 125 '^berth: plan: --stats: .*gone.json: No such file.*; give a file that berth run --stats left' \
    "$BERTH" plan "$MODEL" --max-memory 0=20MiB --stats "$WORK/gone.json"
expect "plan by what is no run" 1 '^berth: plan: --stats: .*hot.json: .*give a file that berth run --stats left' \
    "$BERTH" plan "$MODEL" --max-memory 0=20MiB --stats "$WORK/hot.json"
expect "plan by a run of another model" 1 'run.json: expected a run of this model, found none of its [0-9]+ tensors' \
    "$BERTH" plan "$CHECKPOINT" --max-memory 0=2500 --stats "$WORK/run.json"
check "a run in which all fits" run --max-memory 0=64MiB --stats "$WORK/fits.json" -- "$OUT/preload/experts" --model "$MODEL" >/dev/null
expect "plan by a run in which all fits" 1 'fits.json: expected a run that had to page, .*smaller --max-memory' \
    "$BERTH" plan "$MODEL" --max-memory 0=20MiB --stats "$WORK/fits.json"
expect "plan by a run with another strategy" 2 '--stats: only the strategy auto plans by a run' \
    "$BERTH" plan "$MODEL" --max-memory 0=20MiB --stats "$WORK/run.json" --strategy balanced
rm -f "$MODEL"
