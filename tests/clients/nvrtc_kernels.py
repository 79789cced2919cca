"""A program of somebody else's making, as far as the device goes: PTX that NVRTC writes.

    nvrtc_kernels.py NVRTC INCLUDE ARCHITECTURE RESULTS

Compiles nvrtc_kernels.cu with the library NVRTC for ARCHITECTURE (compute_90), the headers from the
folder INCLUDE, runs every kernel, and compares what each leaves with what Python computes: exactly
where the order of operations is known, within a tolerance where the library's approximations are.
The bytes of all results go to RESULTS, for comparing one run with another.
"""
import ctypes
import itertools
import math
import os
import random
import struct
import sys

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "nvrtc_kernels.cu")
BUFFER_BYTES = 1 << 20  # of each allocation at least: large enough to be worth moving
BLOCK, BLOCKS = 256, 4
N = BLOCK * BLOCKS
ROW = 512  # of matvec
LAYERS = 6
U32, U64 = (1 << 32) - 1, (1 << 64) - 1
JIT_ERROR_LOG_BUFFER, JIT_ERROR_LOG_BYTES = 5, 6


class Half(float):
    """A float that is passed as __half."""


def die(text):
    raise SystemExit(f"nvrtc: {text}")


def compile_ptx(library, include, architecture):
    nvrtc, program = ctypes.CDLL(library), ctypes.c_void_p()

    def check(result):
        if result:
            size = ctypes.c_size_t()
            nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
            log = ctypes.create_string_buffer(size.value + 1)
            nvrtc.nvrtcGetProgramLog(program, log)
            die(f"NVRTC error {result} for {architecture}: {log.value.decode()}")

    with open(SOURCE, "rb") as file:
        source = file.read()
    options = [f"--gpu-architecture={architecture}".encode(), f"-I{include}".encode()]
    size = ctypes.c_size_t()
    check(nvrtc.nvrtcCreateProgram(ctypes.byref(program), source, b"nvrtc_kernels.cu", 0, None, None))
    check(nvrtc.nvrtcCompileProgram(program, len(options),
                                    (ctypes.c_char_p * len(options))(*options)))
    check(nvrtc.nvrtcGetPTXSize(program, ctypes.byref(size)))
    ptx = ctypes.create_string_buffer(size.value)
    check(nvrtc.nvrtcGetPTX(program, ptx))
    check(nvrtc.nvrtcDestroyProgram(ctypes.byref(program)))
    return ptx.raw


class Gpu:
    """The driver, by the names that its library exports."""

    def __init__(self, ptx):
        self.cuda, self.context = ctypes.CDLL("libcuda.so.1"), ctypes.c_void_p()
        self.module, self.results = ctypes.c_void_p(), []
        log = ctypes.create_string_buffer(4096)
        names = (ctypes.c_int * 2)(JIT_ERROR_LOG_BUFFER, JIT_ERROR_LOG_BYTES)
        values = (ctypes.c_void_p * 2)(ctypes.addressof(log), len(log))
        self.call("cuInit", 0)
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(self.context), 0)
        self.call("cuCtxSetCurrent", self.context)
        if self.cuda.cuModuleLoadDataEx(ctypes.byref(self.module), ptx, 2, names, values):
            die(f"the module does not load: {log.value.decode()}")

    def call(self, name, *args):
        result = getattr(self.cuda, name)(*args)
        if result:
            die(f"{name} gave {result}")

    def upload(self, code, values):
        data = struct.pack(f"<{len(values)}{code}", *values)
        return self.upload_bytes(data)

    def upload_bytes(self, data):
        pointer = ctypes.c_uint64()
        self.call("cuMemAlloc_v2", ctypes.byref(pointer), ctypes.c_size_t(max(len(data), BUFFER_BYTES)))
        self.call("cuMemcpyHtoD_v2", pointer, data, ctypes.c_size_t(len(data)))
        return pointer

    def download(self, pointer, code, count):
        data = ctypes.create_string_buffer(struct.calcsize(f"<{count}{code}"))
        self.call("cuMemcpyDtoH_v2", data, pointer, ctypes.c_size_t(len(data)))
        self.results.append(data.raw)
        return struct.unpack(f"<{count}{code}", data.raw)

    def launch(self, name, *args, grid=(BLOCKS, 1), block=(BLOCK, 1), shared=0):
        function = ctypes.c_void_p()
        held = [self.argument(value) for value in args]
        params = (ctypes.c_void_p * len(held))(*[ctypes.addressof(value) for value in held])
        self.call("cuModuleGetFunction", ctypes.byref(function), self.module, name.encode())
        self.call("cuLaunchKernel", function, *grid, 1, *block, 1, shared, None, params, None)

    def argument(self, value):
        if isinstance(value, Half):
            return ctypes.c_uint16(struct.unpack("<H", struct.pack("<e", value))[0])
        if isinstance(value, int):
            return ctypes.c_uint32(value)
        return value

    def synchronize(self):
        self.call("cuCtxSynchronize")


def f32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


def f16(x):
    return struct.unpack("<e", struct.pack("<e", x))[0]


def bf16(x):
    """The bits of x rounded to bfloat16, to the nearest even."""
    bits = struct.unpack("<I", struct.pack("<f", x))[0]
    return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16


def from_bf16(bits):
    return struct.unpack("<f", struct.pack("<I", bits << 16))[0]


def s32(x):
    return (x & U32) - ((x & 0x80000000) << 1)


def s64(x):
    return (x & U64) - ((x & 1 << 63) << 1)


def expect(name, got, want, tolerance=0.0):
    """got and want alike: exactly, or within tolerance of the larger of 1 and the value."""
    if len(got) != len(want):
        die(f"{name}: {len(got)} values, not {len(want)}")
    for i, (a, b) in enumerate(zip(got, want)):
        if a != b and not abs(a - b) <= tolerance * max(1.0, abs(b)):
            die(f"{name}: element {i} is {a!r}, not {b!r}")


class Data:
    """Inputs, the same each time. Floats are multiples of 1/64, so that sums of them are exact."""

    def __init__(self):
        source = random.Random(4)
        self.floats = [source.randint(-256, 256) / 64 for _ in range(N)]
        self.ints = [source.randint(-4000, 4000) for _ in range(N)]
        self.words = [source.getrandbits(32) for _ in range(2 * N)]
        self.wide = [source.getrandbits(63) for _ in range(N)]
        self.bytes = source.randbytes(4 * N)
        self.matrix = [source.randint(-8, 8) / 8 for _ in range(2 * 64 * 64)]
        self.layers = [[source.randint(-8, 8) / 8 for _ in range(ROW * ROW)] for _ in range(LAYERS)]


def check_reductions(gpu, data):
    for name, code, values in (("float", "f", data.floats), ("double", "d", data.floats),
                               ("int", "i", data.ints), ("u64", "Q", data.wide)):
        out = gpu.upload(code, [0, 0])
        gpu.launch(f"reduce_{name}", gpu.upload(code, values), out, N, grid=(1, 1))
        total = sum(values) & U64 if name == "u64" else sum(values)
        expect(f"reduce_{name}", gpu.download(out, code, 2), [total, max(values)])


def check_softmax(gpu, data):
    columns, rows = 256, N // 256
    out, want = gpu.upload("f", [0.0] * N), []
    gpu.launch("softmax", gpu.upload("f", data.floats), out, columns, grid=(rows, 1), block=(64, 1))
    for row in range(rows):
        values = data.floats[row * columns:(row + 1) * columns]
        powers = [math.exp(v - max(values)) for v in values]
        want += [p / sum(powers) for p in powers]
    expect("softmax", gpu.download(out, "f", N), want, 1e-6)


def check_scan(gpu, data):
    out, want = gpu.upload("i", [0] * N), []
    gpu.launch("scan", gpu.upload("i", data.ints), out)
    for first in range(0, N, BLOCK):
        want += itertools.accumulate(data.ints[first:first + BLOCK])
    expect("scan", gpu.download(out, "i", N), want)


def check_histogram(gpu, data):
    out = gpu.upload("I", [0] * 16)
    gpu.launch("histogram", gpu.upload("i", data.ints), out)
    expect("histogram", gpu.download(out, "I", 16),
           [sum(v & 15 == k for v in data.ints) for k in range(16)])


def check_atomics(gpu, data):
    words = gpu.upload("i", [5, 5, 5000, -5000, -1, 0, 0, 0, 0, 0, 0])
    wide, floats, doubles = gpu.upload("Q", [1, 0, 0]), gpu.upload("f", [0]), gpu.upload("d", [0.5])
    gpu.launch("atomics", gpu.upload("i", data.ints), words, wide, floats, doubles)
    total, ands, ors, xors, up, down = sum(data.ints), -1, 0, 0, 0, 0
    for v in data.ints:
        ands, ors, xors = ands & v, ors | v, xors ^ v
        up = 0 if up >= 1000 else up + 1
        down = 1000 if down == 0 or down > 1000 else down - 1
    expect("atomics on int", gpu.download(words, "i", 11),
           [5 + total, 5 - total, min(data.ints), max(data.ints), ands, ors, xors, up, down, 1, 77])
    order = 0
    for i in range(N):
        order ^= i << 32
    largest = max((v & U32) << 20 | i for i, v in enumerate(data.ints))
    expect("atomics on u64", gpu.download(wide, "Q", 3),
           [1 + sum((v & U32) << 20 for v in data.ints) & U64, largest, order])
    expect("atomicAdd of float", gpu.download(floats, "f", 1), [total])
    expect("atomicAdd of double", gpu.download(doubles, "d", 1), [0.5 + total])


def check_vectors(gpu, data):
    out, small = gpu.upload("f", [0.0] * N), gpu.upload("b", [0] * 2 * N)
    gpu.launch("reverse_quads", gpu.upload("f", data.floats), out, N // 4, grid=(2, 1), block=(64, 1))
    expect("reverse_quads", gpu.download(out, "f", N), data.floats[::-1])
    packed = gpu.upload("H", [0] * 2 * N)
    gpu.launch("pack_bytes", gpu.upload_bytes(data.bytes), packed, small)
    quads = list(zip(*[iter(data.bytes)] * 4))
    expect("pack_bytes, ushort2", gpu.download(packed, "H", 2 * N),
           [v for x, y, z, w in quads for v in (x * y, z + w)])
    expect("pack_bytes, char2", gpu.download(small, "B", 2 * N),
           [v & 255 for x, y, z, w in quads for v in (x - w, y ^ z)])


def chosen(v):
    arms = {0: lambda: 7, 1: lambda: v * 3, 2: lambda: v - 9 ^ 0x55, 3: lambda: v ^ 0x55,
            4: lambda: v << 2, 5: lambda: -v, 6: lambda: int(v / 3), 7: lambda: int(math.fmod(v, 7)),
            8: lambda: v | 64, 9: lambda: v * v, 10: lambda: v >> 3}
    return arms.get(v & 15, lambda: -1)()


def check_flow(gpu, data):
    ints, out = gpu.upload("i", data.ints), gpu.upload("i", [0] * N)
    gpu.launch("choose", ints, out)
    expect("choose", gpu.download(out, "i", N), [chosen(v) for v in data.ints])
    gpu.launch("calls", ints, out)
    expect("calls", gpu.download(out, "i", N),
           [(v * v if v & 1 else 2 * v) + 2 * (v & 7) + 3 for v in data.ints])
    gpu.launch("sort_local", ints, out, grid=(2, 1), block=(N // 32, 1))
    expect("sort_local", gpu.download(out, "i", N),
           [v for first in range(0, N, 16) for v in sorted(data.ints[first:first + 16])])


def reversed_bits(x, bits):
    return int(format(x, f"0{bits}b")[::-1], 2)


def first_set(x):
    return (x & -x).bit_length()


def permuted(x, y, selector):
    both = (x | y << 32).to_bytes(8, "little")
    return int.from_bytes([both[selector >> 4 * k & 7] for k in range(4)], "little")


def signed_bytes(x):
    return struct.unpack("<4b", struct.pack("<I", x))


def integer(a, y):
    x, w = a, a << 32 | y
    x = x + y.bit_count() + 32 - y.bit_length() + first_set(y) & U32
    x ^= reversed_bits(y, 32) + permuted(x, y, 0x3160) & U32
    left, right = (y << 32 | x) << 7 >> 32 & U32, (y << 32 | x) >> 9 & U32
    x = x + ((x * y >> 32) ^ left ^ right) & U32
    x = x + abs(x - y) + 5 + (x + y >> 1) + x // (y | 1) + x % (y | 1) & U32
    x = sum(p * q for p, q in zip(signed_bytes(x), signed_bytes(y))) + a & U32
    x ^= (s32(x) >> 5) + max(s32(x), s32(y)) + min(x, y) & U32
    w = w + w.bit_count() + 64 - w.bit_length() + first_set(w) & U64
    w ^= reversed_bits(w, 64) + (w * 0x123456789ABCDEF >> 64) & U64
    w = w + w // (y | 1) + w % (x | 1) + (s64(w) >> (y & 63)) & U64
    return x, w


def check_integers(gpu, data):
    a, b = data.words[:N], data.words[N:]
    out, wide = gpu.upload("I", [0] * N), gpu.upload("Q", [0] * N)
    gpu.launch("integers", gpu.upload("I", a), gpu.upload("I", b), out, wide)
    want = [integer(x, y) for x, y in zip(a, b)]
    expect("integers, 32 bits", gpu.download(out, "I", N), [x for x, _ in want])
    expect("integers, 64 bits", gpu.download(wide, "Q", N), [w for _, w in want])


def check_votes(gpu, data):
    out, want = gpu.upload("I", [0] * 5 * N), []
    gpu.launch("votes", gpu.upload("i", data.ints), out)
    for i, v in enumerate(data.ints):
        lane, warp = i % 32, data.ints[i // 32 * 32:i // 32 * 32 + 32]
        block = data.ints[i // BLOCK * BLOCK:i // BLOCK * BLOCK + BLOCK]
        want += [sum((w & 1) << k for k, w in enumerate(warp)),
                 any(w == 3 for w in warp) << 1 | 1,
                 sum((w & 3 == v & 3) << k for k, w in enumerate(warp)),
                 (warp[lane & 24 | 5] ^ warp[lane + 3 if lane < 29 else lane]) & U32,
                 sum(w & 1 for w in block)]
    expect("votes", gpu.download(out, "I", 5 * N), want)


def check_globals(gpu, data):
    out, turns, size = gpu.upload("f", [0.0] * N), ctypes.c_uint64(), ctypes.c_size_t()
    floats = gpu.upload("f", data.floats)
    gpu.launch("globals", floats, out)
    weights, bias = [0.5, -1.0, 2.0, 0.25], [1, 2, 3, 4]
    expect("globals", gpu.download(out, "f", N),
           [x * weights[i & 3] + bias[3 if x > 0 else 0] for i, x in enumerate(data.floats)])
    gpu.call("cuModuleGetGlobal_v2", ctypes.byref(turns), ctypes.byref(size), gpu.module, b"turns")
    expect("a global counter", gpu.download(turns, "I", 1), [N])


def check_matmul(gpu, data):
    n, out = 64, gpu.upload("f", [0.0] * 64 * 64)
    a, b = data.matrix[:n * n], data.matrix[n * n:]
    gpu.launch("matmul", gpu.upload("f", a), gpu.upload("f", b), out, n,
               grid=(n // 16, n // 16), block=(16, 16), shared=2048)
    columns = [b[j::n] for j in range(n)]
    expect("matmul", gpu.download(out, "f", n * n),
           [sum(x * y for x, y in zip(a[i:i + n], c)) for i in range(0, n * n, n) for c in columns])


class Filter(ctypes.Structure):
    _fields_ = [("taps", ctypes.c_int), ("tap", ctypes.c_float * 5), ("scale", ctypes.c_double),
                ("input", ctypes.c_uint64), ("offset", ctypes.c_byte * 3)]


def check_by_value(gpu, data):
    tap, offset = (0.5, 1.0, -2.0, 0.25, 4.0), (1, -2, 3)
    out, floats = gpu.upload("f", [0.0] * N), gpu.upload("f", data.floats)
    gpu.launch("by_value", Filter(5, tap, 0.5, floats.value, offset), out, N)
    expect("by_value", gpu.download(out, "f", N),
           [0.5 * sum(t * data.floats[(i + k) % N] for k, t in enumerate(tap)) + offset[i % 3]
            for i in range(N)])


def library_floats(x):
    away = math.copysign(math.floor(abs(x) + 0.5), x)
    return [math.sin(x) + 2 * math.cos(x), math.exp(x) + math.log1p(abs(x)),
            math.tanh(x) * math.erf(x), (abs(x) + 0.5) ** 1.7,
            math.fmod(x, 0.375) + 1 / math.sqrt(x * x + 1),
            away + math.floor(x) * 2 + math.trunc(x) * 4 + round(x) * 8,
            math.atan2(x, 2) + math.copysign(abs(x) ** (1 / 3), x),
            x / 3 + x * x + 1 + math.lgamma(x * x + 0.5)]


def check_library(gpu, data):
    out, wide = gpu.upload("f", [0.0] * 8 * N), gpu.upload("d", [0.0] * 4 * N)
    gpu.launch("library", gpu.upload("f", data.floats), out, wide)
    expect("library, float", gpu.download(out, "f", 8 * N),
           [v for x in data.floats for v in library_floats(x)], 4e-6)
    expect("library, double", gpu.download(wide, "d", 4 * N),
           [v for x in data.floats
            for v in (math.sin(x) + math.exp(x), math.log(x * x + 1) + math.tanh(x),
                      (abs(x) + 0.5) ** -2.5 + math.erf(x),
                      math.sqrt(x * x + 2) / (1 + abs(x)) + math.atan(x))], 1e-13)


def check_conversions(gpu, data):
    ints, wide = gpu.upload("i", [0] * 4 * N), gpu.upload("q", [0] * N)
    doubles, want = gpu.upload("d", [0.0] * N), [[], [], []]
    gpu.launch("conversions", gpu.upload("f", data.floats), ints, wide, doubles)
    for i, x in enumerate(data.floats):
        bits = struct.unpack("<i", struct.pack("<f", x))[0]
        whole = math.trunc(x)
        want[0] += [round(x), math.ceil(x) * 1000 + math.floor(x), whole + (whole & 0xFFFF), bits >> 16]
        want[1].append(s64(int(f32(x * 1e6)) + struct.unpack("<q", struct.pack("<d", x))[0]))
        want[2].append(float(round(x) + i + (want[1][-1] >> 40)))
    expect("conversions, int", gpu.download(ints, "i", 4 * N), want[0])
    expect("conversions, long long", gpu.download(wide, "q", N), want[1])
    expect("conversions, double", gpu.download(doubles, "d", N), want[2])


def toward_zero(x):
    """x, a float, cut to half."""
    near = f16(x)
    if abs(near) > abs(x):
        bits = struct.unpack("<H", struct.pack("<e", near))[0] - 1
        near = struct.unpack("<e", struct.pack("<H", bits))[0]
    return near


def check_half(gpu, data):
    x, y, a = data.floats, data.floats[::-1], Half(0.75)
    halves, sums, out = gpu.upload("e", x), gpu.upload("e", y), gpu.upload("f", [0.0] * N)
    gpu.launch("half_axpy", halves, sums, out, a, grid=(BLOCKS // 2, 1))
    want = [f16(a * p + q) for p, q in zip(x, y)]
    expect("half_axpy", gpu.download(sums, "e", N), want)
    got = gpu.download(out, "f", N)
    expect("hexp", got[::2], [math.exp(v) for v in want[::2]], 1e-3)
    expect("hadd", got[1::2], [f16(v - a) for v in want[1::2]])
    ints, out = gpu.upload("i", [0] * N), gpu.upload("e", [0.0] * 4 * N)
    gpu.launch("half_misc", halves, gpu.upload("e", y), out, ints)
    expect("half_misc", gpu.download(out, "e", 4 * N),
           [v for p, q in zip(x, y)
            for v in (f16(p * q), max(p, -q) if p < q else f16(p - q), min(max(f16(p + q), 0), 1),
                      toward_zero(f32(p / 3)))])
    expect("half to int", gpu.download(ints, "i", N),
           [round(p) * 100 + math.floor(q) for p, q in zip(x, y)])


def check_bfloat16(gpu, data):
    weights = [from_bf16(bf16(1 + k / 128)) for k in range(BLOCK)]
    out, want = gpu.upload("H", [0] * N), []
    gpu.launch("rms_norm", gpu.upload("H", [bf16(x) for x in data.floats]),
               gpu.upload("H", [bf16(w) for w in weights]), out)
    for first in range(0, N, BLOCK):
        row = [from_bf16(bf16(x)) for x in data.floats[first:first + BLOCK]]
        scale = 1 / math.sqrt(sum(x * x for x in row) / BLOCK + 1e-6)
        want += [x * scale * w for x, w in zip(row, weights)]
    expect("rms_norm", [from_bf16(v) for v in gpu.download(out, "H", N)], want, 2 ** -8)


def check_tensor_cores(gpu, data):
    n, out = 64, gpu.upload("f", [0.0] * 64 * 64)
    a, b = data.matrix[:n * n], data.matrix[n * n:]
    gpu.launch("tensor_cores", gpu.upload("e", a), gpu.upload("e", b), out, n,
               grid=(n // 16, n // 16), block=(32, 1))
    columns = [b[j::n] for j in range(n)]
    expect("tensor_cores", gpu.download(out, "f", n * n),
           [2 * sum(x * y for x, y in zip(a[i:i + n], c))
            for i in range(0, n * n, n) for c in columns])


def split(word, code):
    return struct.unpack("<" + code, struct.pack("<I", word))


def joined(values, bits):
    return sum((v & (1 << bits) - 1) << bits * k for k, v in enumerate(values))


def of_parts(x, y):
    bytes_of = list(zip(split(x, "4B"), split(y, "4B")))
    signed_of, halves = zip(split(x, "4b"), split(y, "4b")), list(zip(split(x, "2H"), split(y, "2H")))
    return [joined([abs(p - q) for p, q in bytes_of], 8),
            sum(abs(p - q) for p, q in signed_of) + sum(abs(p - q) for p, q in halves),
            joined([max(p, q) for p, q in bytes_of], 8) ^ joined([p + q for p, q in halves], 16),
            joined([-(p > q) for p, q in bytes_of], 8) ^
            joined([p + q + 1 >> 1 for p, q in bytes_of], 8)]


def check_parts(gpu, data):
    a, b, out = data.words[:N], data.words[N:], gpu.upload("I", [0] * 4 * N)
    gpu.launch("parts", gpu.upload("I", a), gpu.upload("I", b), out)
    expect("parts", gpu.download(out, "I", 4 * N),
           [v for x, y in zip(a, b) for v in of_parts(x, y)])


def small_floats(mantissa_bits, bias, count):
    """The values of the first codes of an 8 bit float, from 0 on."""
    one = 1 << mantissa_bits
    return [(code % one + (one if code >= one else 0)) * 2.0 **
            (max(code // one, 1) - bias - mantissa_bits) for code in range(count)]


def nearest(x, values):
    """The code of the value that is nearest to x, an even one of two."""
    code = min(range(len(values)), key=lambda c: (abs(values[c] - abs(x)), c & 1))
    return code | (0x80 if math.copysign(1, x) < 0 else 0)


def check_bytes(gpu, data):
    e4m3, e5m2 = small_floats(3, 7, 0x7F), small_floats(2, 15, 0x7C)
    floats = data.floats[:-4] + [1000.0, -449.0, 2.0 ** -10, -0.0]
    small, wide = gpu.upload("B", [0] * N), gpu.upload("B", [0] * N)
    back = gpu.upload("f", [0.0] * N)
    gpu.launch("bytes", gpu.upload("f", floats), small, wide, back)
    want = [(nearest(x, e4m3), nearest(x * 64, e5m2)) for x in floats]
    expect("e4m3", gpu.download(small, "B", N), [p for p, _ in want])
    expect("e5m2", gpu.download(wide, "B", N), [q for _, q in want])
    expect("8 bit floats", gpu.download(back, "f", N),
           [math.copysign(e4m3[p & 127], x) + math.copysign(e5m2[q & 127], x)
            for x, (p, q) in zip(floats, want)])


def check_pairs(gpu, data):
    a, b = [v / 4 for v in data.matrix[:2 * N]], data.matrix[2 * N:4 * N]
    out, sums = gpu.upload("f", [0.0] * 2 * N), gpu.upload("f", [0.0] * 8)
    gpu.launch("pairs", gpu.upload("f", a), gpu.upload("f", b), out, sums)
    want = [(x + y) * y + x * x for x, y in zip(a, b)]
    expect("pairs", gpu.download(out, "f", 2 * N), want)
    expect("atomicAdd of float4", gpu.download(sums, "f", 8),
           [sum(v[first::4]) for odd in (0, 2) for v in (want, b) for first in (odd, odd + 1)])


def check_layers(gpu, data):
    """The same few matrices over and over, as a model's steps use its weights."""
    x = data.matrix[:ROW]
    layers = [gpu.upload("f", layer) for layer in data.layers]
    vector, out = gpu.upload("f", x), gpu.upload("f", [0.0] * ROW * LAYERS)
    for _ in range(4):
        for k, layer in enumerate(layers):
            gpu.launch("matvec", layer, vector, ctypes.c_uint64(out.value + 4 * ROW * k), ROW,
                       grid=(ROW // 8, 1))
    expect("matvec", gpu.download(out, "f", ROW * LAYERS),
           [sum(a * b for a, b in zip(layer[i:i + ROW], x))
            for layer in data.layers for i in range(0, ROW * ROW, ROW)])


def main(library, include, architecture, results_path):
    gpu, data = Gpu(compile_ptx(library, include, architecture)), Data()
    checks = [value for name, value in globals().items() if name.startswith("check_")]
    for check in checks:
        check(gpu, data)
    gpu.synchronize()
    gpu.call("cuModuleUnload", gpu.module)
    with open(results_path, "wb") as file:
        file.write(b"".join(gpu.results))


if __name__ == "__main__":
    main(*sys.argv[1:])
