/* sha256.h - SHA-256 of a piece of memory, for comparing files with what other libraries wrote.
 *
 * source   FIPS 180-4. The constants are computed as the standard defines them: the first 32 bits
 *          of the fractions of the square and cube roots of the first primes
 */
#ifndef BERTH_TESTS_UNIT_SHA256_H
#define BERTH_TESTS_UNIT_SHA256_H

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define SHA256_HEX_BYTES 65

static inline uint32_t sha256_rotate(uint32_t x, unsigned by)
{
    return x >> by | x << (32 - by);
}

/* The first 32 bits behind the point of a root; long double has bits to spare for that. */
static inline uint32_t sha256_fraction(long double root)
{
    return (uint32_t)((root - floorl(root)) * 4294967296.0L);
}

static inline void sha256_constants(uint32_t state[8], uint32_t k[64])
{
    unsigned candidate = 1, found = 0, d;

    while (found < 64) {
        candidate++;
        for (d = 2; d * d <= candidate && candidate % d != 0; d++)
            ;
        if (d * d <= candidate)
            continue;
        if (found < 8)
            state[found] = sha256_fraction(sqrtl(candidate));
        k[found++] = sha256_fraction(cbrtl(candidate));
    }
}

static inline void sha256_block(uint32_t state[8], const uint32_t k[64], const uint8_t block[64])
{
    uint32_t w[64], v[8];
    unsigned i;

    for (i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
               (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    for (; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];

        w[i] = w[i - 16] + w[i - 7] + (sha256_rotate(a, 7) ^ sha256_rotate(a, 18) ^ a >> 3) +
               (sha256_rotate(b, 17) ^ sha256_rotate(b, 19) ^ b >> 10);
    }
    memcpy(v, state, sizeof(v));
    for (i = 0; i < 64; i++) {
        uint32_t a = v[0], e = v[4];
        uint32_t one = v[7] + k[i] + w[i] + ((e & v[5]) ^ (~e & v[6])) +
                       (sha256_rotate(e, 6) ^ sha256_rotate(e, 11) ^ sha256_rotate(e, 25));
        uint32_t two = ((a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2])) +
                       (sha256_rotate(a, 2) ^ sha256_rotate(a, 13) ^ sha256_rotate(a, 22));

        memmove(v + 1, v, 7 * sizeof(v[0]));
        v[4] += one;
        v[0] = one + two;
    }
    for (i = 0; i < 8; i++)
        state[i] += v[i];
}

/* Write the digest of bytes of data as 64 hexadecimal digits. */
static inline const char *sha256_hex(const void *data, size_t bytes, char hex[SHA256_HEX_BYTES])
{
    const uint8_t *in = data;
    uint32_t state[8], k[64];
    uint8_t tail[128] = {0};
    size_t rest = bytes % 64, tail_bytes = rest < 56 ? 64 : 128, i;

    sha256_constants(state, k);
    for (i = 0; i + 64 <= bytes; i += 64)
        sha256_block(state, k, in + i);
    if (rest)
        memcpy(tail, in + bytes - rest, rest);
    tail[rest] = 0x80;
    for (i = 0; i < 8; i++)
        tail[tail_bytes - 1 - i] = (uint8_t)((uint64_t)bytes * 8 >> 8 * i);
    for (i = 0; i < tail_bytes; i += 64)
        sha256_block(state, k, tail + i);
    for (i = 0; i < 8; i++)
        snprintf(hex + 8 * i, 9, "%08x", state[i]);
    return hex;
}

#endif
