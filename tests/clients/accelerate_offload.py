"""Offload folders of berth and of accelerate, each read by the other; accelerate_offload runs it.

    accelerate_offload.py BERTH FOLDER
"""
import json
import os
import subprocess
import sys

import accelerate
import safetensors.torch
import torch
from accelerate.utils import OffloadedWeightsLoader, load_offloaded_weights, offload_state_dict

BERTH, WORK = map(os.path.abspath, sys.argv[1:])
passed = failed = 0


def check(name, truth):
    global passed, failed
    passed += bool(truth)
    failed += not truth
    if not truth:
        print("FAIL accelerate_offload: " + name)


def berth(*arguments):
    done = subprocess.run([BERTH, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        print("FAIL accelerate_offload: %s: %s" % (arguments, done.stderr))
        sys.exit(1)
    return done.stdout


def bits(tensor):
    """A tensor's type, shape and bytes: equal for NaNs, too."""
    tensor = tensor.detach().contiguous()
    data = tensor.reshape(-1).view(torch.uint8).numpy().tobytes() if tensor.numel() else b""
    return tensor.dtype, tuple(tensor.shape), data


def equal(read, wanted):
    return set(read) == set(wanted) and all(bits(read[name]) == bits(wanted[name]) for name in wanted)


def every_type():
    generator = torch.Generator().manual_seed(7)
    kinds = [torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16,
             torch.bfloat16, torch.float32, torch.float64, torch.complex64]
    kinds += [getattr(torch, name) for name in ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz",
              "float8_e5m2fnuz", "float8_e8m0fnu", "uint16", "uint32", "uint64") if hasattr(torch, name)]
    tensors = {}
    for kind in kinds:
        wide = torch.empty(0, dtype=kind).element_size()
        for shape in ((), (5,), (3, 4), (2, 1, 3)):
            count = torch.Size(shape).numel() * wide
            # A byte of a bool is 0 or 1.
            raw = torch.randint(0, 2 if kind == torch.bool else 256, (count,), generator=generator,
                                dtype=torch.int64).to(torch.uint8)
            name = "%s.%s" % (str(kind).replace("torch.", ""), "x".join(map(str, shape)) or "scalar")
            tensors[name] = raw.view(kind).reshape(shape)
    tensors["empty"] = torch.empty(0, 4)
    tensors["layers.0.\u00fc \"q\"..weight"] = torch.arange(4, dtype=torch.int32)
    return tensors


tensors = every_type()

# What accelerate writes, we read.
theirs = os.path.join(WORK, "theirs")
offload_state_dict(theirs, tensors)
listing = json.loads(berth("inspect", theirs, "--json"))["tensors"]
check("inspect lists the names in order", [t["name"] for t in listing] == list(tensors))
check("inspect lists the shapes", all(tuple(t["shape"]) == tuple(tensors[t["name"]].shape) for t in listing))
restored = os.path.join(WORK, "restored.safetensors")
berth("offload", "--restore", theirs, restored)
check("accelerate's folder restored", equal(safetensors.torch.load_file(restored), tensors))

# What we write, accelerate reads; names and types that no .dat can have, too.
tensors["with/a slash"] = torch.arange(6, dtype=torch.float32).reshape(2, 3)
if hasattr(torch, "float4_e2m1fn_x2"):
    tensors["four bits"] = torch.arange(8, dtype=torch.uint8).view(torch.float4_e2m1fn_x2).reshape(2, 4)
model = os.path.join(WORK, "model.safetensors")
safetensors.torch.save_file(tensors, model)
for name, options in (("copies", []), ("pointers", ["--pointers"])):
    ours = os.path.join(WORK, name)
    berth("offload", model, ours, *options)
    read = OffloadedWeightsLoader(save_folder=ours)
    check("our folder with " + name, equal({key: read[key] for key in read}, tensors))
    berth("offload", "--restore", ours, restored)
    check("our folder with %s restored" % name, equal(safetensors.torch.load_file(restored), tensors))
os.chdir("/")
read = OffloadedWeightsLoader(save_folder=os.path.join(WORK, "copies"))
check("our folder from elsewhere", equal({key: read[key] for key in read}, tensors))

# Into a model, as its users do.
network = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.LayerNorm(16), torch.nn.Linear(16, 4)).bfloat16()
wanted = {name: tensor.clone() for name, tensor in network.state_dict().items()}
safetensors.torch.save_file(wanted, model)
ours = os.path.join(WORK, "network")
berth("offload", model, ours)
with open(os.path.join(ours, "index.json")) as file:
    index = json.load(file)
with torch.no_grad():
    for parameter in network.parameters():
        parameter.zero_()
load_offloaded_weights(network, index, ours)
check("a model with our folder's weights", equal(network.state_dict(), wanted))

print("accelerate %s, torch %s" % (accelerate.__version__, torch.__version__))
print("%d passed, %d failed, 0 skipped" % (passed, failed))
sys.exit(failed != 0)
