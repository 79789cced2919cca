"""Every call by which `berth offload` changes files fails, or is the last thing that the command does.

    offload_faults.py BERTH FAULTS_LIBRARY FOLDER SCENARIO

Whatever happens, who looks at the folder (or the file) sees all of the old one or all of the new one,
by our own reading of the layout; the old one, where the command reports a failure before the change.
The next run succeeds and leaves nothing of the failed one. Of the run that nothing disturbs, the order
of its calls is checked: everything new is flushed before it takes its name, the name is before
anything old is removed.
"""
import errno
import hashlib
import json
import os
import shutil
import signal
import struct
import subprocess
import sys

BERTH, LIBRARY, WORK, SCENARIO = sys.argv[1:]
FAULTS = [str(errno.ENOSPC), "kill", "done-kill", "short"]
OLD, NEW = os.path.join(WORK, "old.safetensors"), os.path.join(WORK, "new.safetensors")
PLACE = os.path.join(WORK, "place")
TARGET = os.path.join(PLACE, "offload")
RESTORE = SCENARIO == "restore"
BESIDE = "berth.safetensors"


def write_checkpoint(path, tensors):
    header, data = {}, b""
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % 4096) # the first tensor lies on a page: the kernel copies it
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def read_safetensors(path):
    with open(path, "rb") as file:
        raw = file.read()
    data = 8 + struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:data])
    header.pop("__metadata__", None)
    assert len(raw) == data + max((t["data_offsets"][1] for t in header.values()), default=0)
    return {name: (t["dtype"], t["shape"], raw[data + t["data_offsets"][0]:data + t["data_offsets"][1]])
            for name, t in header.items()}


NAMES = {"float32": "F32", "int8": "I8", "bfloat16": "BF16", "float4_e2m1fn_x2": "F4"}


def read_folder(path):
    """All tensors of an offload folder; a file too much or of a wrong size is an error."""
    files = set(os.listdir(path))
    with open(os.path.join(path, "index.json")) as file:
        index = json.load(file)
    files.remove("index.json")
    tensors = {}
    for name, entry in index.items():
        if "safetensors_file" in entry:
            assert entry["safetensors_file"] == os.path.join(path, BESIDE), entry
            tensors[name] = read_safetensors(entry["safetensors_file"])[entry["weight_name"]]
            assert tensors[name][0] == NAMES[entry["dtype"]]
            files.discard(BESIDE)
            continue
        with open(os.path.join(path, name + ".dat"), "rb") as file:
            content = file.read()
        if 0 in entry["shape"]:
            assert content == b"\0"
            content = b""
        tensors[name] = (NAMES[entry["dtype"]], entry["shape"], content)
        files.remove(name + ".dat")
    assert not files, files
    return tensors


def run(*arguments, at=None, do=None, log=None):
    environment = dict(os.environ, LD_PRELOAD=LIBRARY)
    if at is not None:
        environment.update(FAULT_AT=str(at), FAULT_DO=do)
    if log:
        environment["FAULT_LOG"] = log
        open(log, "w").close()
    return subprocess.run([BERTH, "offload", *arguments], env=environment, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, text=True)


old = {"a": ("F32", [3], b"old-old-old-"), "b.weight": ("I8", [2, 2], b"OLD!"), "gone": ("I8", [1], b"x"),
       "gone/too": ("I8", [2], b"yz")}
# The large one's room is reserved, and the disk begins with it early.
new = {"large": ("I8", [1 << 18], b"large-ne" * (1 << 15)), "a": ("F32", [3], b"new-new-new-"), "b.weight": ("BF16", [2], b"NEW!"), "empty": ("F32", [0, 4], b""),
       "x/y": ("I8", [3], b"new"), "four": ("F4", [2, 4], b"1234"), "scalar": ("F32", [], b"1.0f")}
if SCENARIO == "many": # so many that they are not flushed one by one
    new.update({"layers.%d" % i: ("I8", [1], b"n") for i in range(8)})
write_checkpoint(OLD, old)
write_checkpoint(NEW, new)
if RESTORE:
    SOURCE = os.path.join(WORK, "source")
    shutil.rmtree(SOURCE, ignore_errors=True)
    assert run(NEW, SOURCE).returncode == 0
    ARGUMENTS = ["--restore", SOURCE, TARGET]
else:
    ARGUMENTS = [NEW, TARGET]


def prepare():
    """What is there before: nothing, an empty folder, a folder or a file; perhaps what a killed run left."""
    shutil.rmtree(PLACE, ignore_errors=True)
    os.mkdir(PLACE)
    if SCENARIO == "empty":
        os.mkdir(TARGET)
    elif RESTORE:
        shutil.copy(OLD, TARGET)
    elif SCENARIO in ("replace", "left", "many"):
        assert run(OLD, TARGET).returncode == 0
        os.chmod(TARGET, 0o751)
    if SCENARIO == "left":
        assert run(OLD, os.path.join(PLACE, ".offload.berth-offload")).returncode == 0


def state():
    """old, new or an error; what does not exist or is empty is old where nothing was there before."""
    if SCENARIO in ("new", "empty") and (not os.path.exists(TARGET) or not os.listdir(TARGET)):
        return "old"
    tensors = read_safetensors(TARGET) if RESTORE else read_folder(TARGET)
    tensors = {name: (t[0], [2, 4] if name == "four" else t[1], t[2]) for name, t in tensors.items()}
    assert tensors in (old, new), tensors
    return "new" if tensors == new else "old"


def check_order(lines):
    """Of the log of a run: what is dirty when names change?"""
    dirty, renamed, flushed, removed = set(), False, False, 0
    for line in lines:
        call, path = line.split(" ", 1)
        beside = ".berth-offload" in path
        if call in ("create", "mkdir", "reserve", "write", "copy", "truncate", "chmod"):
            assert not renamed and beside, line
            dirty.add(path)
            if call == "create" and not RESTORE:
                dirty.add(os.path.dirname(path))
        elif call == "begin":
            assert not renamed and path in dirty, line # no flush: it stays dirty
        elif call == "syncfs":
            assert not renamed and SCENARIO == "many", line
            dirty.clear()
        elif call == "fsync" and not renamed:
            dirty.discard(path)
        elif call == "fsync":
            assert path == os.path.realpath(PLACE), line
            flushed = True
        elif call in ("rename", "exchange"):
            assert not renamed and not dirty and path == os.path.realpath(TARGET), (line, dirty)
            assert call == ("exchange" if SCENARIO in ("replace", "left", "many") else "rename")
            renamed = True
        elif renamed:
            assert flushed, line
            removed += 1
    assert renamed and flushed and ("syncfs" in [line.split(" ")[0] for line in lines]) == (SCENARIO == "many")
    assert {"reserve", "begin", "write"} | (set() if RESTORE else {"copy"}) <= {line.split(" ")[0] for line in lines}, lines
    assert removed == (len(old) + 2 if SCENARIO in ("replace", "left", "many") else 0), removed


def check_one(at, do, log):
    """Returns whether the fault was met."""
    prepare()
    result = run(*ARGUMENTS, at=at, do=do, log=log)
    with open(log) as file:
        lines = file.read().splitlines()
    hits = [line for line in lines if line.startswith("fault ")]
    if not hits:
        assert result.returncode == 0, result
        return False
    where = "%s at %d: %s" % (do, at, hits[0])
    changed = any(line.split(" ")[0] in ("rename", "exchange") for line in lines)
    if do in ("kill", "done-kill", "short"):
        assert result.returncode == -signal.SIGKILL, (where, result)
    elif result.returncode:
        assert result.returncode == 125 and result.stderr.count("\n") == 1, (where, result)
        assert changed or state() == "old", where
        # A run that fails cleans up after itself, where that is not what fails.
        assert changed or SCENARIO == "left" or "unlink" in where or "rmdir" in where or \
            ".offload.berth-offload" not in os.listdir(PLACE), where
        if do == str(errno.ENOSPC):
            assert "No space left on device; make room" in result.stderr, (where, result)
    elif hits[0].startswith("fault begin "):
        # Only the time that it takes suffers; that it cannot be flushed shows at the end.
        assert not result.stderr and state() == "new", (where, result)
    else:
        # What cannot be removed any more is said, and is no failure.
        assert ("unlink" in where or "rmdir" in where) and "is left" in result.stderr, (where, result)
        assert state() == "new", where
    try:
        state()
    except Exception as e:
        raise AssertionError("%s: a mixture: %r" % (where, e))
    again = run(*ARGUMENTS)
    assert again.returncode == 0 and not again.stderr, (where, again)
    assert state() == "new" and os.listdir(PLACE) == ["offload"], (where, os.listdir(PLACE))
    if SCENARIO in ("replace", "many"):
        assert os.stat(TARGET).st_mode & 0o777 == 0o751, where
    return True


log = os.path.join(WORK, "log")
prepare()
assert state() == "old"
result = run(*ARGUMENTS, log=log)
assert result.returncode == 0 and not result.stderr and state() == "new", result
with open(log) as file:
    calls = file.read().splitlines()
# What was left goes first.
check_order(calls[next(i for i, line in enumerate(calls) if line.startswith("create")):])
met = 0
for do in FAULTS:
    for at, line in enumerate(calls, 1):
        if do != "short" or line.startswith(("write", "copy")):
            assert check_one(at, do, log), (at, do)
            met += 1
assert not check_one(len(calls) + 1, "kill", log)
print("%s: %d faults in %d calls" % (SCENARIO, met, len(calls)))
