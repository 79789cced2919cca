#include "compressed.h"
#include <limits.h>
#include <lz4.h>
#include <stdlib.h>
#include <zstd.h>

#define UNPACKED_MAX  ((uint64_t)1 << 30) /* far above any image of a single architecture */
#define LZ4_RATIO_MAX 255u                /* a byte of a match's length stands for so many */

/* Can the data unpack to that many bytes? Asked before anything is allocated. */
static int is_plausible(uint64_t flags, const unsigned char *data, size_t bytes,
                        uint64_t unpacked_bytes)
{
    if (!bytes || bytes > INT_MAX || !unpacked_bytes || unpacked_bytes > UNPACKED_MAX)
        return 0;
    if (flags & COMPRESSED_LZ4)
        return unpacked_bytes / LZ4_RATIO_MAX <= bytes;
    return ZSTD_getFrameContentSize(data, bytes) == unpacked_bytes; /* a frame says it too */
}

static int unpack(uint64_t flags, const unsigned char *data, size_t bytes, unsigned char *out,
                  size_t out_bytes)
{
    if (flags & COMPRESSED_ZSTD)
        return ZSTD_decompress(out, out_bytes, data, bytes) == out_bytes;
    return LZ4_decompress_safe((const char *)data, (char *)out, (int)bytes, (int)out_bytes) ==
           (int)out_bytes;
}

unsigned char *compressed_unpack(uint64_t flags, const unsigned char *data, size_t bytes,
                                 uint64_t unpacked_bytes)
{
    unsigned char *out;

    flags &= COMPRESSED_LZ4 | COMPRESSED_ZSTD;
    if ((flags != COMPRESSED_LZ4 && flags != COMPRESSED_ZSTD) ||
        !is_plausible(flags, data, bytes, unpacked_bytes))
        return NULL;
    out = malloc(unpacked_bytes);
    if (out && !unpack(flags, data, bytes, out, unpacked_bytes)) {
        free(out);
        out = NULL;
    }
    return out;
}
