# Strategy: what inspect says of a checkpoint is held against the file's own header, read by Python.

expect "inspect" 0 '^embed.weight +F32 +37 x 16 +2368 +2104$' "$BERTH" inspect "$CHECKPOINT"
check "inspect shows the totals" grep -qE '^26 tensors, 5389 bytes' "$WORK/out"
expect "inspect --json" 0 '"version": 1' "$BERTH" inspect "$CHECKPOINT" --json
cat >"$WORK/compare.py" <<'END'
import json, os, struct, sys
d = json.load(open(sys.argv[1]))
path = sys.argv[2]
raw = open(path, "rb").read()
n = struct.unpack("<Q", raw[:8])[0]
header = json.loads(raw[8:8 + n])
header.pop("__metadata__", None)
assert d["version"] == 1 and d["format"] == "safetensors" and d["tied"] == []
assert {t["name"] for t in d["tensors"]} == set(header) and len(d["tensors"]) == len(header)
for t in d["tensors"]:
    h = header[t["name"]]
    assert set(t) == {"name", "dtype", "shape", "bytes", "file", "offset"}
    assert t["dtype"] == h["dtype"] and t["shape"] == h["shape"] and t["file"] == path
    assert t["offset"] == 8 + n + h["data_offsets"][0]
    assert t["bytes"] == h["data_offsets"][1] - h["data_offsets"][0]
END
check "inspect --json says what the file says" "$PYTHON" "$WORK/compare.py" "$WORK/out" "$CHECKPOINT"
expect "inspect of a missing file" 125 'nothing.safetensors' "$BERTH" inspect "$WORK/nothing.safetensors"
expect "inspect of no checkpoint" 125 'expected' "$BERTH" inspect tests/cli
expect "inspect of a folder" 0 '^embed.weight +F32 +37 x 16 +2368 +[0-9]+  model-00001-of-00002.safetensors$' \
    "$BERTH" inspect tests/data/files/sharded
check "inspect shows how many files" grep -qE '^26 tensors, 5389 bytes .*, safetensors, 2 files$' "$WORK/out"
expect "inspect of an index" 0 '"file": "tests/data/files/sharded/model-00002-of-00002.safetensors"' \
    "$BERTH" inspect --json tests/data/files/sharded/model.safetensors.index.json
expect "inspect of a folder of several" 125 'expected .*the path of the one .* single.safetensors' \
    "$BERTH" inspect tests/data/files
expect "inspect of a folder of none" 125 'expected a folder with a model file' "$BERTH" inspect tests/cli.d
# Shards of PyTorch's have an index too; but not together with others.
mkdir "$WORK/pytorch"
cp tests/data/files/zip.bin tests/data/files/sharded/model-00002-of-00002.safetensors "$WORK/pytorch"
echo '{"weight_map": {"embed.weight": "zip.bin"}}' >"$WORK/pytorch/pytorch_model.bin.index.json"
expect "inspect of PyTorch's shards" 0 '^26 tensors, 5389 bytes .*, pytorch$' \
    "$BERTH" inspect "$WORK/pytorch/pytorch_model.bin.index.json"
echo '{"weight_map": {"steps": "model-00002-of-00002.safetensors", "x": "zip.bin"}}' \
    >"$WORK/pytorch/pytorch_model.bin.index.json"
expect "inspect of shards of two formats" 125 \
    'zip.bin: expected a safetensors file like the others, found a pytorch file' \
    "$BERTH" inspect "$WORK/pytorch"
expect "inspect shows views and ties" 0 '^tied: a, t, tail, same$' "$BERTH" inspect tests/data/files/views.bin
check "inspect shows strides" grep -qE '^t +F32 +6 x 4 +96 +[0-9]+  1 x 6$' "$WORK/out"
expect "inspect of nothing" 2 'no checkpoint given' "$BERTH" inspect
expect "inspect of two" 2 'more than one' "$BERTH" inspect a b
