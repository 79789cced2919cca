/* dtype.h - the element types of tensors, and how many bits they take.
 *
 * Sizes are counted in bits and in blocks, never in rounded bytes, so that 4-bit, 6-bit and
 * block-quantised types are exact. A type exists only as a row of this table.
 */
#ifndef BERTH_POLICY_DTYPE_H
#define BERTH_POLICY_DTYPE_H

#include <stddef.h>
#include <stdint.h>

/* The formats that know a type by this name. */
#define DTYPE_IN_SAFETENSORS 0x1u
#define DTYPE_IN_GGUF        0x2u

/* name      as the format writes it and as berth prints it
 * elements  in one block: 1 but for block-quantised types
 * bits      of one block
 * formats   which know it
 *
 * source    the safetensors format description: bits per element; GGML's block layouts
 */
#define DTYPES(X)                                                                                  \
    X(F4, 1, 4, DTYPE_IN_SAFETENSORS)                                                              \
    X(F6_E2M3, 1, 6, DTYPE_IN_SAFETENSORS)                                                         \
    X(F6_E3M2, 1, 6, DTYPE_IN_SAFETENSORS)                                                         \
    X(BOOL, 1, 8, DTYPE_IN_SAFETENSORS)                                                            \
    X(U8, 1, 8, DTYPE_IN_SAFETENSORS)                                                              \
    X(I8, 1, 8, DTYPE_IN_SAFETENSORS | DTYPE_IN_GGUF)                                              \
    X(F8_E5M2, 1, 8, DTYPE_IN_SAFETENSORS)                                                         \
    X(F8_E4M3, 1, 8, DTYPE_IN_SAFETENSORS)                                                         \
    X(F8_E8M0, 1, 8, DTYPE_IN_SAFETENSORS)                                                         \
    X(F8_E4M3FNUZ, 1, 8, DTYPE_IN_SAFETENSORS)                                                     \
    X(F8_E5M2FNUZ, 1, 8, DTYPE_IN_SAFETENSORS)                                                     \
    X(I16, 1, 16, DTYPE_IN_SAFETENSORS | DTYPE_IN_GGUF)                                            \
    X(U16, 1, 16, DTYPE_IN_SAFETENSORS)                                                            \
    X(F16, 1, 16, DTYPE_IN_SAFETENSORS | DTYPE_IN_GGUF)                                            \
    X(BF16, 1, 16, DTYPE_IN_SAFETENSORS | DTYPE_IN_GGUF)                                           \
    X(I32, 1, 32, DTYPE_IN_SAFETENSORS | DTYPE_IN_GGUF)                                            \
    X(U32, 1, 32, DTYPE_IN_SAFETENSORS)                                                            \
    X(F32, 1, 32, DTYPE_IN_SAFETENSORS | DTYPE_IN_GGUF)                                            \
    X(I64, 1, 64, DTYPE_IN_SAFETENSORS | DTYPE_IN_GGUF)                                            \
    X(U64, 1, 64, DTYPE_IN_SAFETENSORS)                                                            \
    X(F64, 1, 64, DTYPE_IN_SAFETENSORS | DTYPE_IN_GGUF)                                            \
    X(C64, 1, 64, DTYPE_IN_SAFETENSORS)                                                            \
    X(Q4_0, 32, 18 * 8, DTYPE_IN_GGUF)                                                             \
    X(Q4_1, 32, 20 * 8, DTYPE_IN_GGUF)                                                             \
    X(Q5_0, 32, 22 * 8, DTYPE_IN_GGUF)                                                             \
    X(Q5_1, 32, 24 * 8, DTYPE_IN_GGUF)                                                             \
    X(Q8_0, 32, 34 * 8, DTYPE_IN_GGUF)                                                             \
    X(Q8_1, 32, 36 * 8, DTYPE_IN_GGUF)                                                             \
    X(Q2_K, 256, 84 * 8, DTYPE_IN_GGUF)                                                            \
    X(Q3_K, 256, 110 * 8, DTYPE_IN_GGUF)                                                           \
    X(Q4_K, 256, 144 * 8, DTYPE_IN_GGUF)                                                           \
    X(Q5_K, 256, 176 * 8, DTYPE_IN_GGUF)                                                           \
    X(Q6_K, 256, 210 * 8, DTYPE_IN_GGUF)                                                           \
    X(Q8_K, 256, 292 * 8, DTYPE_IN_GGUF)                                                           \
    X(IQ2_XXS, 256, 66 * 8, DTYPE_IN_GGUF)                                                         \
    X(IQ2_XS, 256, 74 * 8, DTYPE_IN_GGUF)                                                          \
    X(IQ3_XXS, 256, 98 * 8, DTYPE_IN_GGUF)                                                         \
    X(IQ1_S, 256, 50 * 8, DTYPE_IN_GGUF)                                                           \
    X(IQ4_NL, 32, 18 * 8, DTYPE_IN_GGUF)                                                           \
    X(IQ3_S, 256, 110 * 8, DTYPE_IN_GGUF)                                                          \
    X(IQ2_S, 256, 82 * 8, DTYPE_IN_GGUF)                                                           \
    X(IQ4_XS, 256, 136 * 8, DTYPE_IN_GGUF)                                                         \
    X(IQ1_M, 256, 56 * 8, DTYPE_IN_GGUF)                                                           \
    X(TQ1_0, 256, 54 * 8, DTYPE_IN_GGUF)                                                           \
    X(TQ2_0, 256, 66 * 8, DTYPE_IN_GGUF)                                                           \
    X(MXFP4, 32, 17 * 8, DTYPE_IN_GGUF)                                                            \
    X(NVFP4, 64, 36 * 8, DTYPE_IN_GGUF)                                                            \
    X(Q1_0, 128, 18 * 8, DTYPE_IN_GGUF)                                                            \
    X(Q2_0, 64, 18 * 8, DTYPE_IN_GGUF)

enum dtype {
#define X(name, elements, bits, formats) DTYPE_##name,
    DTYPES(X)
#undef X
        DTYPE_COUNT
};

/* The name of a type: "BF16".
 *
 * returns  a static string; "?" for a value that is no row
 */
const char *dtype_name(enum dtype dtype);

/* Find a type by its name, upper and lower case as written.
 *
 * formats  DTYPE_IN_*, the formats whose names count
 * returns  0 and *out, or -ENOENT
 */
int dtype_find(const char *name, unsigned formats, enum dtype *out);

/* The bits of one block of a type, and its elements. Both are 0 for a value that is no row. */
unsigned dtype_block_bits(enum dtype dtype);
unsigned dtype_block_elements(enum dtype dtype);

/* How many bytes a dense tensor takes.
 *
 * shape    rank extents; rank 0 is one element, an extent of 0 makes no bytes
 * bytes    set on success only
 * returns  0; -EOVERFLOW where the elements or their bits pass 2^64 - 1, even where an extent of 0
 *          follows; -EDOM where they are no whole number of bytes or the last extent is no whole
 *          number of blocks
 */
int dtype_tensor_bytes(enum dtype dtype, const uint64_t *shape, size_t rank, uint64_t *bytes);

#endif
