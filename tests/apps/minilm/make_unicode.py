#!/usr/bin/env python3
"""Write unicode_data.c: what BERT's uncased tokenizer has to know of Unicode.

    python3 make_unicode.py > unicode_data.c

Everything comes from Python's own unicodedata: the general category of a character, and what is
left of it after canonical decomposition, removal of non-spacing marks and lower-casing.
"""
import unicodedata

WORD, SPACE, DROP, PUNCT, CJK = range(5)
IDEOGRAPHS = (
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F),
    (0x2B740, 0x2B81F), (0x2B920, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)
COMPATIBILITY = ((0xF900, 0xFAFF), (0x2F800, 0x2FA1F))
HANGUL = range(0xAC00, 0xD7A4)


def class_of(code):
    category = unicodedata.category(chr(code))
    if chr(code) in "\t\n\r" or category in ("Zs", "Zl", "Zp"):
        return SPACE
    if code == 0xFFFD or category in ("Cc", "Cf", "Co", "Mn"):
        return DROP
    if category[0] == "P" or (code < 128 and not chr(code).isalnum()):
        return PUNCT
    if any(first <= code <= last for first, last in IDEOGRAPHS):
        return CJK
    return WORD


def fold(code):
    parts = unicodedata.normalize("NFD", chr(code))
    return [ord(c) for c in "".join(p for p in parts if unicodedata.category(p) != "Mn").lower()]


def folds():
    """Characters that fold to something else, but for marks (dropped) and Hangul (arithmetic)."""
    out = {}
    for code in range(0x110000):
        if 0xD800 <= code < 0xE000 or code in HANGUL or class_of(code) == DROP:
            continue
        to = fold(code)
        if to != [code]:
            out[code] = to
    return out


def is_compatibility(code):
    return any(first <= code <= last for first, last in COMPATIBILITY)


def runs(single):
    """Merge code -> code into (first, count, stride, delta), stride 1 or 2."""
    codes, done = sorted(single), set()
    for code in codes:
        if code in done:
            continue
        delta, best, best_stride = single[code] - code, 1, 1
        for stride in (1, 2):
            count = 1
            while single.get(code + stride * count, -1) - (code + stride * count) == delta:
                count += 1
            crossed = stride == 2 and any(code + 2 * i + 1 in single for i in range(count - 1))
            if count > best and not crossed:
                best, best_stride = count, stride
        done.update(range(code, code + best * best_stride, best_stride))
        yield code, best, best_stride, delta


def table(items, per_line):
    items = list(items)
    for i in range(0, len(items), per_line):
        print("    " + " ".join(item + "," for item in items[i:i + per_line]))


def main():
    every = folds()
    single = {c: t[0] for c, t in every.items() if len(t) == 1 and not is_compatibility(c)}
    print("/* unicode_data.c - written by make_unicode.py from Unicode "
          f"{unicodedata.unidata_version}; do not edit. */")
    print('#include "unicode_data.h"\n\n/* clang-format off */\n')

    print("const uint32_t unicode_class_starts[] = {")
    starts, last = [], None
    for code in range(0x110000):
        kind = class_of(code)
        if kind != last:
            starts.append(f"{code << 3 | kind}")
            last = kind
    table(starts, 10)
    print("};\nconst size_t unicode_class_start_count =\n    "
          "sizeof(unicode_class_starts) / sizeof(unicode_class_starts[0]);\n")

    print("const struct unicode_fold_run unicode_fold_runs[] = {")
    table((f"{{{c:#x}, {n}, {s}, {d}}}" for c, n, s, d in runs(single)), 4)
    print("};\nconst size_t unicode_fold_run_count = "
          "sizeof(unicode_fold_runs) / sizeof(unicode_fold_runs[0]);\n")

    print("const struct unicode_expansion unicode_expansions[] = {")
    table((f"{{{c:#x}, {{{', '.join(f'{x:#x}' for x in t)}}}}}"
           for c, t in sorted(every.items()) if len(t) > 1), 2)
    print("};\nconst size_t unicode_expansion_count = "
          "sizeof(unicode_expansions) / sizeof(unicode_expansions[0]);\n")

    for name, (first, end) in zip(("f900", "2f800"), COMPATIBILITY):
        print(f"const uint32_t unicode_ideographs_{name}[] = {{")
        table((f"{every.get(c, [c])[0]}" for c in range(first, end + 1)), 12)
        print("};\n" if name == "f900" else "};")


main()
