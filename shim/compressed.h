/* compressed.h - code images that lie compressed in a fatbin.
 *
 * The lengths are the image's own word, so none of them is trusted: nothing is read outside the
 * compressed bytes, and what is allocated is bounded by what they can unpack to.
 */
#ifndef BERTH_COMPRESSED_H
#define BERTH_COMPRESSED_H

#include <stddef.h>
#include <stdint.h>

/* Flags of a fatbin's entry. */
#define COMPRESSED_LZ4  0x2000u
#define COMPRESSED_ZSTD 0x8000u

/* Unpack one image.
 *
 * flags           of its entry; with neither or both of the two above nothing is unpacked
 * bytes           of the compressed data
 * unpacked_bytes  as the entry says; the data has to unpack to exactly that
 * returns         the image, NULL for data that is not right, and without memory
 * owner           the caller frees it
 * source          fatbins of CUDA 12 and 13, read: a single zstd frame, a single LZ4 block
 */
unsigned char *compressed_unpack(uint64_t flags, const unsigned char *data, size_t bytes,
                                 uint64_t unpacked_bytes);

#endif
