"""A program of somebody else's making: NVIDIA's Python binding of the driver API, on PTX.

    cuda_bindings.py --make WEIGHTS              writes a small safetensors file
    cuda_bindings.py PTX WEIGHTS RESULTS         uses the driver, writes what it computed as JSON

Uploads every tensor from a mapping of the file, hashes all of them on the device several times over as
a model's steps would read its weights, reads them back, and tries streams, events, pinned memory and
globals. Every result is checked against the file; the JSON is for comparing one run with another.
"""
import ctypes
import json
import mmap
import random
import struct
import sys

TENSORS = 12
WORDS = 512 * 1024  # of each tensor but the first, which the host hashes too
SMALL_WORDS = 4096
STEPS = 4
MASK = (1 << 64) - 1


def make(path):
    """A checkpoint of a dozen tensors, random bytes, the same each time."""
    source = random.Random(20)
    header, offset, parts = {}, 0, []
    for i in range(TENSORS):
        data = source.randbytes(4 * (SMALL_WORDS if i == 0 else WORDS))
        header[f"layers.{i}.weight"] = {"dtype": "I32", "shape": [len(data) // 4 // 64, 64],
                                        "data_offsets": [offset, offset + len(data)]}
        parts.append(data)
        offset += len(data)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + b"".join(parts))


def mix(i, word):
    """What tk_hash() adds for the word at index i (test_kernels.h)."""
    x = ((i + 1) * 0x9E3779B97F4A7C15 & MASK) ^ (word * 0xFF51AFD7ED558CCD & MASK)
    x ^= x >> 32
    return x * 0xC4CEB9FE1A85EC53 & MASK


def check(answer):
    """The values of an answer of the binding; an error ends the program."""
    code, *values = answer
    if code != driver.CUresult.CUDA_SUCCESS:
        raise SystemExit(f"cuda_bindings: driver error {code!r}")
    return values[0] if len(values) == 1 else values


class Client:
    def __init__(self, ptx):
        check(driver.cuInit(0))
        self.device = check(driver.cuDeviceGet(0))
        self.context = check(driver.cuDevicePrimaryCtxRetain(self.device))
        check(driver.cuCtxSetCurrent(self.context))
        self.module = check(driver.cuModuleLoadData(ptx))
        self.stream = check(driver.cuStreamCreate(driver.CUstream_flags.CU_STREAM_NON_BLOCKING))
        self.sums = check(driver.cuMemAlloc(8 * TENSORS))

    def launch(self, name, blocks, threads, values, types):
        function = check(driver.cuModuleGetFunction(self.module, name.encode()))
        check(driver.cuLaunchKernel(function, blocks, 1, 1, threads, 1, 1, 0, self.stream,
                                    (tuple(values), tuple(types)), 0))

    def upload(self, address, size):
        pointer = check(driver.cuMemAlloc(size))
        check(driver.cuMemcpyHtoD(pointer, address, size))
        return pointer

    def hashes(self, tensors):
        """The hash of every tensor, all in one stream, with a single wait at the end."""
        for i, (pointer, size) in enumerate(tensors):
            self.launch("tk_hash", 1, 256, (int(pointer), size // 4, int(self.sums) + 8 * i),
                        (ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint64))
        out = (ctypes.c_uint64 * TENSORS)()
        check(driver.cuStreamSynchronize(self.stream))
        check(driver.cuMemcpyDtoH(ctypes.addressof(out), self.sums, 8 * TENSORS))
        return list(out)[:len(tensors)]


def expect(condition, text):
    if not condition:
        raise SystemExit(f"cuda_bindings: not so: {text}")


def try_events(client):
    """Two streams ordered by an event, a pinned buffer between them; the time between two events."""
    words, size = 10000, 40000
    other = check(driver.cuStreamCreate(driver.CUstream_flags.CU_STREAM_NON_BLOCKING))
    first, last = (check(driver.cuEventCreate(0)) for _ in range(2))
    scratch = check(driver.cuMemAlloc(size))
    pinned = check(driver.cuMemAllocHost(size))
    check(driver.cuEventRecord(first, client.stream))
    client.launch("tk_fill", 8, 128, (int(scratch), words, 7),
                  (ctypes.c_uint64, ctypes.c_uint64, ctypes.c_uint32))
    check(driver.cuEventRecord(last, client.stream))
    check(driver.cuStreamWaitEvent(other, last, 0))
    check(driver.cuMemcpyDtoHAsync(pinned, scratch, size, other))
    check(driver.cuStreamSynchronize(other))
    got = ctypes.string_at(int(pinned), size)
    expect(check(driver.cuEventElapsedTime(first, last)) >= 0, "time goes on")
    code, _ = driver.cuEventQuery(last), None
    expect(code[0] == driver.CUresult.CUDA_SUCCESS, "the event is complete")
    check(driver.cuMemFreeHost(pinned))
    check(driver.cuMemFree(scratch))
    check(driver.cuStreamDestroy(other))
    return [int.from_bytes(got[k:k + 4], "little") for k in range(0, 40, 4)]


def main(ptx_path, weights_path, results_path):
    with open(ptx_path, "rb") as file:
        client = Client(file.read() + b"\0")
    with open(weights_path, "rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    length = struct.unpack("<Q", mapped[:8])[0]
    header = json.loads(mapped[8:8 + length])
    base = ctypes.addressof(ctypes.c_char.from_buffer(mapped)) + 8 + length
    tensors, bounds = [], []
    for entry in header.values():
        begin, end = entry["data_offsets"]
        tensors.append((client.upload(base + begin, end - begin), end - begin))
        bounds.append((8 + length + begin, 8 + length + end))

    hashes = client.hashes(tensors)
    small = memoryview(mapped)[bounds[0][0]:bounds[0][1]].cast("I")
    expect(hashes[0] == sum(mix(i, word) for i, word in enumerate(small)) & MASK,
           "the hash of the first tensor")
    for step in range(STEPS):
        expect(client.hashes(tensors) == hashes, f"the hashes of step {step}")
    for (pointer, size), (begin, end) in zip(tensors, bounds):
        back = bytearray(size)
        check(driver.cuMemcpyDtoH(back, pointer, size))
        expect(back == mapped[begin:end], "the bytes of a tensor, read back")
    counter, size = check(driver.cuModuleGetGlobal(client.module, b"tk_counter"))
    expect(size == 4, "the size of tk_counter")
    pattern = try_events(client)
    # The weights stay until the process ends, as in most scripts; what else there was goes.
    check(driver.cuMemFree(client.sums))
    check(driver.cuStreamDestroy(client.stream))
    check(driver.cuModuleUnload(client.module))
    with open(results_path, "w", encoding="utf-8") as file:
        json.dump({"hashes": hashes, "pattern": pattern}, file)
    return 0


if __name__ == "__main__":
    if sys.argv[1] == "--make":
        make(sys.argv[2])
        sys.exit(0)
    from cuda.bindings import driver
    sys.exit(main(*sys.argv[1:]))
