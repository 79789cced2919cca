/* size.h - sizes as people write them: "8GiB", "1.5GB", "500Mb".
 *
 * A size means exactly what Hugging Face accelerate makes of it, rounding included: the number is a
 * double, its product with the unit is truncated. tests/data/units.json holds accelerate's answers.
 */
#ifndef BERTH_POLICY_SIZE_H
#define BERTH_POLICY_SIZE_H

#include <stddef.h>
#include <stdint.h>

/* suffix   compared without regard to case
 * bytes    of one unit
 * bits     1 where a final small b (Gb, gb) counts bits; GiB, Gib and gib all count bytes
 */
#define SIZE_UNITS(X)                                                                              \
    X("GiB", 1073741824.0, 0)                                                                      \
    X("MiB", 1048576.0, 0)                                                                         \
    X("KiB", 1024.0, 0)                                                                            \
    X("GB", 1e9, 1)                                                                                \
    X("MB", 1e6, 1)                                                                                \
    X("KB", 1e3, 1)

/* For error messages: what a size may look like. */
#define SIZE_EXPECTED "a size such as 8GiB, 500MB or 33554432 (KiB, MiB, GiB, KB, MB, GB)"

/* accelerate takes a bare number only as an integer, never as a string; berth's flags and policy
 * files have nothing but strings for some of them.
 */
enum size_plain {
    SIZE_PLAIN_REFUSED,  /* a unit must follow, as accelerate has it */
    SIZE_PLAIN_ACCEPTED, /* "33554432" is that many bytes */
};

/* Read a size. The locale is not consulted.
 *
 * text     a terminated string: blanks, a number ("8", "1.5", ".5", "1e3"), blanks, a unit
 * bytes    set on success only
 * returns  0; -EINVAL where it is no size or is negative; -ERANGE from 2^64 on
 */
int size_parse(const char *text, enum size_plain plain, uint64_t *bytes);

enum size_base {
    SIZE_DECIMAL, /* 33.6 MB */
    SIZE_BINARY,  /* 32.0 MiB */
};

#define SIZE_TEXT_BYTES 16

/* Write a size for people, with one decimal rounded to nearest; bytes below the first unit exactly.
 *
 * text     SIZE_TEXT_BYTES long
 * returns  text
 */
const char *size_format(uint64_t bytes, enum size_base base, char text[SIZE_TEXT_BYTES]);

#endif
