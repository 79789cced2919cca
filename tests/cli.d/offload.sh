# Strategy: what offload writes is read by Python, which knows the layout from its description alone, and
# held against the checksums of the files that it came from; what it refuses stays as it is. Then every
# call that changes files fails or kills it (offload_faults.py), two work on one folder, a signal comes.

OFFLOAD=$WORK/offload
FAULTS=$WORK/faults.so
"$CC" -shared -fPIC -o "$FAULTS" tests/cli.d/faults.c -ldl || exit 1
mkdir "$OFFLOAD"
cat >"$OFFLOAD/compare.py" <<'END'
import hashlib, json, os, struct, sys
place, key = sys.argv[1:]
want = json.load(open("tests/data/files/files.json"))[key]
want.pop("_tied", None), want.pop("_note", None)
names = {"float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64",
         "int32": "I32", "int16": "I16", "int8": "I8", "uint8": "U8", "bool": "BOOL",
         "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2", "complex64": "C64"}
def safetensors(path):
    raw = open(path, "rb").read()
    n = 8 + struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:n])
    assert header.pop("__metadata__", {"format": "pt"})["format"] == "pt" and n % 8 == 0
    for t in header.values():
        size = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2}.get(t["dtype"], 1)
        assert os.path.basename(path) == "single.safetensors" or t["data_offsets"][0] % size == 0
    return {k: (t["dtype"], t["shape"], raw[n + t["data_offsets"][0]:n + t["data_offsets"][1]])
            for k, t in header.items()}
def folder(path):
    found = {}
    for name, entry in json.load(open(path + "/index.json")).items():
        if "safetensors_file" in entry:
            assert os.path.isabs(entry["safetensors_file"])
            found[name] = safetensors(entry["safetensors_file"])[entry["weight_name"]]
            assert found[name][0] == names[entry["dtype"]]
        else:
            data = open("%s/%s.dat" % (path, name), "rb").read()
            found[name] = (names[entry["dtype"]], entry["shape"], b"" if 0 in entry["shape"] else data)
    return found
found = folder(place) if os.path.isdir(place) else safetensors(place)
assert list(found) != [] and set(found) == set(want), set(found) ^ set(want)
for name, (dtype, shape, data) in found.items():
    assert (dtype, shape, hashlib.sha256(data).hexdigest()) == \
        (want[name]["dtype"], want[name]["shape"], want[name]["sha256"]), name
END
# compare PLACE KEY: what was written there is what tests/data/files/files.json says of KEY.
compare() { check "offload: $1 holds $2" "$PYTHON" "$OFFLOAD/compare.py" "$OFFLOAD/$1" "$2"; }

expect "offload" 0 '^.*/one: 26 tensors, 5.3 KiB$' "$BERTH" offload "$CHECKPOINT" "$OFFLOAD/one"
compare one single.safetensors
expect "offload --restore" 0 '26 tensors' "$BERTH" offload --restore "$OFFLOAD/one" "$OFFLOAD/one.safetensors"
compare one.safetensors single.safetensors
for key in sharded offload zip.bin views.bin nested.bin legacy.bin; do
    if ! "$BERTH" inspect "tests/data/files/$key" >"$WORK/out" 2>&1; then
        skip "offload of $key" "this berth does not read it"
        continue
    fi
    expect "offload of $key" 0 'tensors' "$BERTH" offload "tests/data/files/$key" "$OFFLOAD/$key"
    compare "$key" "$key"
done
expect "offload replaces" 0 'what was there is replaced$' "$BERTH" offload tests/data/files/offload "$OFFLOAD/one"
compare one offload
check "offload leaves nothing beside" test -z "$(find "$OFFLOAD" -name '.*')"
expect "offload --pointers" 0 'none of them copied' "$BERTH" offload "$CHECKPOINT" "$OFFLOAD/pointers" --pointers
compare pointers single.safetensors
check "offload --pointers copies nothing" test "$(ls "$OFFLOAD/pointers")" = index.json
expect "offload follows pointers" 0 '' "$BERTH" offload --restore "$OFFLOAD/pointers" "$OFFLOAD/again.safetensors"
compare again.safetensors single.safetensors
expect "offload --json" 0 '"pointed_bytes": 0' "$BERTH" offload "$OFFLOAD/one" "$OFFLOAD/json" --json
check "offload --json is a document" json "$WORK/out" \
    'd["version"] == 1 and d["tensors"] == 22 and d["bytes"] == d["copied_bytes"] == 5345 and not d["replaced"]'
mkdir "$OFFLOAD/empty"
expect "offload into an empty folder" 0 '' "$BERTH" offload "$CHECKPOINT" "$OFFLOAD/empty/"
compare empty single.safetensors
ln -s one "$OFFLOAD/link"
expect "offload through a link" 0 '' "$BERTH" offload "$CHECKPOINT" "$OFFLOAD/link"
compare one single.safetensors
check "offload leaves the link" test -L "$OFFLOAD/link"
expect "offload onto itself" 0 '' "$BERTH" offload "$OFFLOAD/one" "$OFFLOAD/one"
compare one single.safetensors

listing() { find "$OFFLOAD" -mindepth 1 -printf '%p %i %s %T@\n' | sort | sha256sum; }
# refuses NAME PATTERN ARGUMENTS...: and nothing of what is there changes.
refuses() {
    local name=$1 pattern=$2 before

    shift 2
    before=$(listing)
    expect "offload refuses $name" 125 "$pattern" "$BERTH" offload "$@"
    check "offload changes nothing: $name" test "$before" = "$(listing)"
}
expect "offload of nothing" 2 'two paths are needed' "$BERTH" offload "$CHECKPOINT"
expect "offload into a nameless folder" 2 'two paths are needed' "$BERTH" offload "$CHECKPOINT" ''
expect "offload: --restore and --pointers" 2 'leave out one' "$BERTH" offload --restore --pointers a b
mkdir "$OFFLOAD/mine" "$OFFLOAD/other" && echo mine >"$OFFLOAD/mine/notes"
cp -r "$OFFLOAD/one" "$OFFLOAD/more" && echo mine >"$OFFLOAD/more/x.dat"
cp -r "$OFFLOAD/one" "$OFFLOAD/deep" && mkdir "$OFFLOAD/deep/folder"
refuses "a folder of the user's" 'is no offload folder: .*/mine/index.json' "$CHECKPOINT" "$OFFLOAD/mine"
refuses "a folder with a file of the user's" "more/x.dat: is not in the folder's index" "$CHECKPOINT" "$OFFLOAD/more"
refuses "a folder with a folder in it" 'deep/folder: is no part of an offload folder' "$CHECKPOINT" "$OFFLOAD/deep"
refuses "a file instead of a folder" 'is a file; name a folder' "$CHECKPOINT" "$OFFLOAD/one.safetensors"
refuses "a folder in no folder" 'no folder around it' "$CHECKPOINT" "$OFFLOAD/none/one"
refuses "/" 'cannot be replaced|no part of' "$CHECKPOINT" /
refuses "a missing checkpoint" 'No such file' "$OFFLOAD/none" "$OFFLOAD/new"
refuses "pointers into a folder" 'is for safetensors checkpoints' --pointers "$OFFLOAD/one" "$OFFLOAD/new"
refuses "pointers into what is replaced" 'lies in the folder' --pointers "$OFFLOAD/one/berth.safetensors" "$OFFLOAD/one"
refuses "to restore what is no folder" 'is no offload folder' --restore "$CHECKPOINT" "$OFFLOAD/new"
refuses "to restore over a folder" 'cannot be looked at|is not replaced' --restore "$OFFLOAD/one" "$OFFLOAD/other"
refuses "to restore over another file" 'it is no safetensors file' --restore "$OFFLOAD/one" "$OFFLOAD/mine/notes"
cp "$CHECKPOINT" "$OFFLOAD/model.safetensors"
"$BERTH" offload --pointers "$OFFLOAD/model.safetensors" "$OFFLOAD/into" >/dev/null
refuses "to restore over what it points into" 'points into it' --restore "$OFFLOAD/into" "$OFFLOAD/model.safetensors"
cp -r "$OFFLOAD/one" "$OFFLOAD/bad" && rm "$OFFLOAD/bad/codes.dat"
refuses "to restore a broken folder" 'bad/codes.dat: codes: expected' --restore "$OFFLOAD/bad" "$OFFLOAD/new"
if "$BERTH" inspect tests/data/files/tiny.gguf >"$WORK/out" 2>&1; then
    refuses "types of GGUF alone" 'Q8_0, which no offload folder can hold' tests/data/files/tiny.gguf "$OFFLOAD/new"
else
    skip "offload of tiny.gguf" "this berth does not read it"
fi

# faulty AT WHAT CALL ARGUMENTS...: the command as faults.c disturbs it.
cat >"$WORK/bin/faulty" <<'END'
#!/bin/sh
FAULT_AT=$1 FAULT_DO=$2 FAULT_CALL=$3 LD_PRELOAD=$WORK/faults.so
export FAULT_AT FAULT_DO FAULT_CALL LD_PRELOAD
shift 3
exec "$BERTH" offload "$@"
END
chmod +x "$WORK/bin/faulty"
for number in 18 22 38 95; do # EXDEV, EINVAL, ENOSYS, EOPNOTSUPP
    expect "offload without copies in the kernel ($number)" 0 '' faulty 0 $number copy tests/data/files/offload "$OFFLOAD/one"
    compare one offload
done
expect "offload replaces by a copy through memory" 0 "is replaced" "$BERTH" offload "$CHECKPOINT" "$OFFLOAD/one"
"$PYTHON" - <<'END' >"$OFFLOAD/large.safetensors" || exit 1
import json, struct, sys
header = json.dumps({"large": {"dtype": "I8", "shape": [1 << 18], "data_offsets": [0, 1 << 18]}}).encode()
sys.stdout.buffer.write(struct.pack("<Q", len(header)) + header + b"large-ne" * (1 << 15))
END
for number in 22 38 95; do # EINVAL, ENOSYS, EOPNOTSUPP
    expect "offload without reserved room ($number)" 0 '1 tensors' \
        faulty 0 $number reserve "$OFFLOAD/large.safetensors" "$OFFLOAD/reserved"
    check "offload without reserved room ($number) copies all" \
        cmp <(tail -c $((1 << 18)) "$OFFLOAD/large.safetensors") "$OFFLOAD/reserved/large.dat"
done
expect "offload beyond the limit of a file's size" 125 'File too large; raise the limit .*ulimit -f' \
    bash -c 'ulimit -f 100; exec "$0" "$@"' "$BERTH" offload "$OFFLOAD/large.safetensors" "$OFFLOAD/reserved"
check "offload beyond a limit leaves nothing beside" test -z "$(find "$OFFLOAD" -name '.*')"
expect "offload to a full disk" 125 'No space left on device; make room' \
    faulty 1 28 reserve "$OFFLOAD/large.safetensors" "$OFFLOAD/reserved"
expect "offload where the disk cannot be told to begin" 0 '1 tensors' \
    faulty 0 5 begin "$OFFLOAD/large.safetensors" "$OFFLOAD/reserved"
expect "offload where folders cannot be exchanged" 125 'cannot exchange two folders.*remove it first' \
    faulty 1 22 exchange "$CHECKPOINT" "$OFFLOAD/one"
compare one single.safetensors

mkfifo "$OFFLOAD/told" "$OFFLOAD/gate"
FAULT_TOLD=$OFFLOAD/told FAULT_GATE=$OFFLOAD/gate \
    faulty 5 wait create tests/data/files/offload "$OFFLOAD/one" >"$OFFLOAD/first" 2>&1 &
first=$!
timeout "$LIMIT_S" head -c 1 "$OFFLOAD/told" >/dev/null
expect "offload waits for nobody" 125 'another berth offload is at work' "$BERTH" offload "$CHECKPOINT" "$OFFLOAD/one"
compare one single.safetensors
timeout "$LIMIT_S" sh -c ': >"$1"' sh "$OFFLOAD/gate"
wait "$first"
check "offload goes on beside another" grep -q 'what was there is replaced' "$OFFLOAD/first"
compare one offload

expect "offload ends by a signal" 143 'ended by a signal' faulty 2 term write "$CHECKPOINT" "$OFFLOAD/one"
compare one offload
check "offload cleans up after a signal" test -z "$(find "$OFFLOAD" -name '.*')"

# In memory where there is such a file system: thousands of flushes say nothing more on a disk.
memory=$(mktemp -d -p /dev/shm 2>/dev/null) || memory=$(mktemp -d -p "$WORK")
trap 'kill $(jobs -p) 2>/dev/null; rm -rf "$WORK" "$memory"' EXIT
for scenario in new empty replace left many restore; do
    mkdir "$memory/$scenario"
    check "offload: every call fails: $scenario" \
        "$PYTHON" tests/cli.d/offload_faults.py "$BERTH" "$FAULTS" "$memory/$scenario" "$scenario"
done
rm -rf "$memory"
