# Strategy: policies are explained and refused. A policy's figures are held against what inspect says of
# the same checkpoint; of refusals, that all errors come at once and how the command ends.

cat >"$WORK/policy.json" <<'END'
{"version": 1, "max_memory": {"0": "8KiB", "cpu": "1GiB"},
 "device_map": {"embed": 0, "layers": 0, "layers.2": "cpu", "layers.10": "cpu", "layers.11": "cpu", "": "disk"},
 "groups": {"blocks": ["layers.*"]}, "preload": ["*.attn"]}
END
expect "check" 0 '^0 +7 +[0-9.]+ KiB +8.0 KiB +stays in VRAM$' "$BERTH" check "$WORK/policy.json" --checkpoint "$CHECKPOINT"
check "check folds blocks in one place" grep -qE '^layers.10 to 11 +cpu +6 ' "$WORK/out"
check "check names the largest unit that streams" grep -qE '^window +room in VRAM for what streams, of which layers\.[0-9]+ is the largest unit: ' "$WORK/out"
check "check ends with ok" test "$(tail -n 1 "$WORK/out")" = ok
"$BERTH" inspect "$CHECKPOINT" --json >"$WORK/inspected"
expect "check --json" 0 '"ok": true' "$BERTH" check --json "$WORK/policy.json" --checkpoint "$CHECKPOINT"
cat >"$WORK/compare.py" <<'END'
import json, sys
got, policy, tensors = (json.load(open(p)) for p in sys.argv[1:4])
keys, devices = {}, {}
for t in tensors["tensors"]:
    # The longest key that is the name or ends at one of its dots.
    key = max((k for k in policy["device_map"] if k == "" or (t["name"] + ".").startswith(k + ".")), key=len)
    for table, name in ((keys, key), (devices, str(policy["device_map"][key]))):
        count, size = table.get(name, (0, 0))
        table[name] = count + 1, size + t["bytes"]
assert [k["key"] for k in got["keys"]] == list(policy["device_map"])
assert {k["key"]: (k["tensors"], k["bytes"]) for k in got["keys"]} == keys
assert {d["device"]: (d["tensors"], d["bytes"]) for d in got["devices"]} == devices
assert {d["device"]: d.get("max_memory") for d in got["devices"]} == {"0": 8192, "cpu": 1 << 30, "disk": None}
assert got["checkpoint"]["bytes"] == sum(size for _, size in keys.values())
blocks = [t["bytes"] for t in tensors["tensors"] if t["name"].startswith("layers.")]
assert got["groups"] == [{"group": "blocks", "tensors": len(blocks), "bytes": sum(blocks)}]
assert got["errors"] == got["warnings"] == [] and got["uncovered"] == {"tensors": 0, "bytes": 0}
END
check "check --json says what inspect says" "$PYTHON" "$WORK/compare.py" "$WORK/out" "$WORK/policy.json" "$WORK/inspected"

# The policy's own checkpoint counts from its folder.
cp "$CHECKPOINT" "$WORK/m.safetensors"
echo '{"version": 1, "checkpoint": "m.safetensors", "device_map": "cpu_offload"}' >"$WORK/policy.json"
expect "check with the policy's own checkpoint" 0 'm.safetensors: safetensors, 26 tensors' "$BERTH" check "$WORK/policy.json"
echo '{"version": 1, "checkpoint": "gone.safetensors"}' >"$WORK/policy.json"
expect "check of a checkpoint that is not there" 1 '^error +checkpoint: .*gone.safetensors' "$BERTH" check "$WORK/policy.json"
printf "OrderedDict([('embed', 0), ('', device(type='cuda', index=1))])\n" >"$WORK/policy.json"
expect "check of a printed device map" 0 '^\(all the rest\) +1 +25 ' "$BERTH" check "$WORK/policy.json" --checkpoint "$CHECKPOINT"
echo "{0: '10GiB', 'cpu': '30GiB'}" >"$WORK/policy.json"
expect "check of a printed max_memory" 0 '^cpu +- +- +30.0 GiB' "$BERTH" check "$WORK/policy.json"
check "check without a checkpoint says so" grep -q 'none given: names and sizes are not checked' "$WORK/out"

# What Python itself prints of maps that accelerate made is taken for the same map as their JSON is.
cat >"$WORK/print.py" <<'END'
import collections, json, pprint, subprocess, sys
class device:  # as torch prints its own
    def __init__(self, index): self.index = index
    def __repr__(self): return "device(type='cuda', index=%d)" % self.index
berth, path, maps = sys.argv[1:4]
def keys(text):
    open(path, "w").write(text)
    out = subprocess.run([berth, "check", "--json", path], stdout=subprocess.PIPE)
    assert out.returncode == 0, text
    return json.loads(out.stdout)["keys"]
tried = 0
for line in open(maps):
    for run in json.loads(line)["runs"]:
        pairs = run.get("device_map")
        if not pairs or len(pairs) < 2 or tried == 25:
            continue
        tried += 1
        ordered = collections.OrderedDict(pairs)
        want = [{"key": k, "device": str(v), "tensors": 0, "bytes": 0} for k, v in ordered.items()]
        devices = {k: device(v) if isinstance(v, int) else v for k, v in ordered.items()}
        for text in json.dumps(ordered), repr(dict(ordered)), repr(ordered), repr(devices), pprint.pformat(devices, sort_dicts=False):
            assert keys(text) == want, text
assert tried == 25
END
check "check takes what Python prints" "$PYTHON" "$WORK/print.py" "$BERTH" "$WORK/policy.json" tests/data/maps.jsonl

# Every error at once, first those of the file, then those of what it says.
cat >"$WORK/policy.json" <<'END'
{"version": 2, "max_memry": {}, "device_map": {"a": "gpu", "b": 99}, "tied": [["a"]]}
END
expect "check of a file with errors" 1 'check: .*: refused: 5 errors' "$BERTH" check "$WORK/policy.json"
check "check shows all of them" test "$(grep -cE '^error +.*policy.json:1:[0-9]+: ' "$WORK/out")" = 5
check "check knows the field that was meant" grep -q 'did you mean "max_memory"' "$WORK/out"
cat >"$WORK/policy.json" <<'END'
{"version": 1, "max_memory": {"0": 100}, "device_map": {"embed": 0, "layrs": 0, "norm": "cpu"},
 "tied": [["embed.weight", "norm.weight"]], "groups": {"a": ["embed"], "b": ["*"]}, "preload": ["*.mlp"]}
END
expect "check of what contradicts itself" 1 'refused: 4 errors' "$BERTH" check "$WORK/policy.json" --checkpoint "$CHECKPOINT"
for want in 'error +device_map: no key covers steps and 23 more' 'error +max_memory.0: the map puts 2.3 KiB' \
    'error +tied: .*one size' 'error +groups: embed.weight is in a and in b' \
    'warning +device_map.layrs: matches no tensor' 'warning +preload: "\*.mlp" matches no'; do
    check "check says: $want" grep -qE "^$want" "$WORK/out"
done
echo '{"version": 1, "strict": true, "preload": ["*.mlp"]}' >"$WORK/policy.json"
expect "check of a strict policy" 1 '^error +preload' "$BERTH" check "$WORK/policy.json" --checkpoint "$CHECKPOINT"
expect "check --json of a strict policy" 1 '"ok": false' "$BERTH" check --json "$WORK/policy.json" --checkpoint "$CHECKPOINT"
check "check --json is one document" json "$WORK/out" \
    'd["errors"] == [{"field": "preload", "text": "\"*.mlp\" matches no module and no tensor"}] and d["warnings"] == []'
echo '{"version": 1, "strict": true, "device_map": {"": "disk"}, "groups": {"all": ["*"]}}' >"$WORK/policy.json"
expect "check of a strict policy for disk" 1 '^error +device_map.*disk is as cpu' "$BERTH" check "$WORK/policy.json" --checkpoint "$CHECKPOINT"
expect "check of a strict policy with groups" 1 '^error +groups.*not followed' "$BERTH" check "$WORK/policy.json" --checkpoint "$CHECKPOINT"
expect "check of a missing policy" 125 'nothing.json: expected a readable policy file' "$BERTH" check "$WORK/nothing.json"
expect "check of nothing" 2 'no policy given' "$BERTH" check
expect "check of two" 2 'more than one' "$BERTH" check a b
expect "check with a mistyped option" 2 'did you mean --checkpoint' "$BERTH" check a --checkpont b
expect "check --help" 0 'print\(model.hf_device_map\)' "$BERTH" check --help
