"""tinygrad's operations on its CUDA device, against its own interpreter, which runs them in Python.

    tinygrad_operations.py RESULTS [products]

Integers must be the same, floats within what the device's approximations allow. Products of half
matrices, which tinygrad gives to the tensor cores, are of small numbers, and exact. Whatever came out
goes to RESULTS as JSON. With `products` these are all that is done.
"""
import json
import math
import random
import sys

from tinygrad import Tensor, dtypes

COUNT = 64
INTEGERS = (dtypes.int8, dtypes.int16, dtypes.int32, dtypes.int64,
            dtypes.uint8, dtypes.uint16, dtypes.uint32, dtypes.uint64)
FLOATS = (dtypes.float16, dtypes.float32, dtypes.float64)
OF_ALL = {
    "arithmetic": lambda a, b: (a + b) * a - b,
    "maximum": lambda a, b: a.maximum(b),
    "compare": lambda a, b: (a < b).where(a, b) + (a == b).cast(a.dtype),
    "sum": lambda a, b: (a.reshape(8, 8) * b.reshape(8, 8)).sum(1),
    "most": lambda a, b: a.reshape(8, 8).max(0),
    "move": lambda a, b: a.reshape(8, 8).permute(1, 0).pad(((1, 1), (0, 2))).flip(0),
    "gather": lambda a, b: a.cat(b)[Tensor([3, 99, 127, 0], device=a.device)],
    "to int": lambda a, b: a.cast(dtypes.int32) + b.cast(dtypes.bool).cast(dtypes.int32),
    "to float": lambda a, b: a.cast(dtypes.float32) * 0.5,
}
OF_INTEGERS = {
    "divide": lambda a, b: a // (b | 1) + a % (b | 1),
    "bits": lambda a, b: ((a ^ b) & ~a) | (a >> 1) + (b << 2),
}
OF_FLOATS = {
    "divide": lambda a, b: a / (b.abs() + 1) + b.reciprocal(),
    "roots": lambda a, b: a.abs().sqrt() + (b.abs() + 1).rsqrt(),
    "powers": lambda a, b: a.exp() + (b.abs() + 1).log() + a.exp2() + b.sin(),
    "whole": lambda a, b: a.floor() + b.ceil() + a.trunc() + b.round(),
    "softmax": lambda a, b: a.reshape(8, 8).softmax(1),
}


def tolerance(dtype):
    return {dtypes.float16: 4e-3, dtypes.float32: 4e-6, dtypes.float64: 1e-12}.get(dtype, 0)


def inputs(dtype, source):
    if dtype in FLOATS:
        return [[source.randint(1, 256) * source.choice((-1, 1)) / 64 for _ in range(COUNT)]
                for _ in range(2)]
    low, high = (0, 200) if dtype in dtypes.uints else (-100, 100)
    return [[source.randint(low, high) for _ in range(COUNT)] for _ in range(2)]


def check(name, got, want, allowed):
    for i, (a, b) in enumerate(zip(got, want, strict=True)):
        if a != b and not (math.isnan(a) and math.isnan(b)) and \
                not abs(a - b) <= allowed * max(1.0, abs(b)):
            raise SystemExit(f"tinygrad: {name}: element {i} is {a!r}, not {b!r}")
    return got


def operate(dtype, operations, source):
    values, out = inputs(dtype, source), {}
    for name, operation in operations.items():
        name = f"{name} of {dtype.name}"
        result = [operation(*(Tensor(v, dtype=dtype, device=device).realize() for v in values))
                  for device in ("CUDA", "PYTHON")]
        allowed = max(tolerance(dtype), tolerance(result[0].dtype))
        got, want = (r.flatten().tolist() for r in result)
        out[name] = check(name, got, want, allowed)
    return out


def multiply(source, accumulator):
    n = 64
    a, b = ([[source.randint(-4, 4) for _ in range(n)] for _ in range(n)] for _ in range(2))
    product = Tensor(a, dtype=dtypes.half, device="CUDA").realize().matmul(
        Tensor(b, dtype=dtypes.half, device="CUDA").realize(), dtype=accumulator)
    want = [float(sum(x * y for x, y in zip(row, column))) for row in a for column in zip(*b)]
    return check(f"product in {accumulator.name}", product.flatten().tolist(), want, 0)


def main(results_path, only=None):
    source, out = random.Random(7), {}
    for dtype in () if only else INTEGERS:
        out |= operate(dtype, OF_ALL | OF_INTEGERS, source)
    for dtype in () if only else FLOATS:
        # PTX has no approximations of doubles, so tinygrad's renderer cannot do the others.
        of_floats = OF_FLOATS if dtype != dtypes.float64 else {"whole": OF_FLOATS["whole"]}
        out |= operate(dtype, OF_ALL | of_floats, source)
    for accumulator in (dtypes.float32, dtypes.half):
        out[f"product in {accumulator.name}"] = multiply(source, accumulator)
    with open(results_path, "w", encoding="utf-8") as file:
        json.dump(out, file)


if __name__ == "__main__":
    main(*sys.argv[1:])
