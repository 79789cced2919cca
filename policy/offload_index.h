/* offload_index.h - the index.json of an offload folder: which weights it holds, and where.
 *
 *     {"a.weight": {"dtype": "bfloat16", "shape": [16, 16]},             bytes in a.weight.dat
 *      "b.weight": {"safetensors_file": path, "weight_name": name, "dtype": "float32"}}
 *
 * The layout is Hugging Face accelerate's; its types have torch's names. What this reads is
 * believed only as far as the text goes: that the files are there, and are as large,
 * offload_folder.h checks.
 */
#ifndef BERTH_POLICY_OFFLOAD_INDEX_H
#define BERTH_POLICY_OFFLOAD_INDEX_H

#include "dtype.h"
#include "error.h"
#include <cjson/cJSON.h>
#include <stdbool.h>

#define OFFLOAD_INDEX_FILE  "index.json"
#define OFFLOAD_DATA_SUFFIX ".dat"

/* Where the bytes of a type may stand. */
#define OFFLOAD_IN_DATA        0x1u /* in a .dat file, which numpy has a type for */
#define OFFLOAD_IN_SAFETENSORS 0x2u /* behind a pointer */

/* dtype   ours
 * torch   its name in an index
 * places  OFFLOAD_IN_*
 *
 * F4 is counted in pairs by torch: half as many elements in the last dimension. bfloat16 stands in
 * its .dat as int16, which is the same 16 bits. F6 has no name in torch.
 *
 * source  what accelerate 1.15.0 writes and reads back
 */
#define OFFLOAD_DTYPES(X)                                                                          \
    X(BOOL, "bool", OFFLOAD_IN_DATA | OFFLOAD_IN_SAFETENSORS)                                      \
    X(U8, "uint8", OFFLOAD_IN_DATA | OFFLOAD_IN_SAFETENSORS)                                       \
    X(I8, "int8", OFFLOAD_IN_DATA | OFFLOAD_IN_SAFETENSORS)                                        \
    X(F8_E5M2, "float8_e5m2", OFFLOAD_IN_DATA | OFFLOAD_IN_SAFETENSORS)                            \
    X(F8_E4M3, "float8_e4m3fn", OFFLOAD_IN_DATA | OFFLOAD_IN_SAFETENSORS)                          \
    X(F8_E8M0, "float8_e8m0fnu", OFFLOAD_IN_DATA | OFFLOAD_IN_SAFETENSORS)                         \
    X(F8_E4M3FNUZ, "float8_e4m3fnuz", OFFLOAD_IN_DATA | OFFLOAD_IN_SAFETENSORS)                    \
    X(F8_E5M2FNUZ, "float8_e5m2fnuz", OFFLOAD_IN_DATA | OFFLOAD_IN_SAFETENSORS)                    \
    X(I16, "int16", OFFLOAD_IN_DATA | OFFLOAD_IN_SAFETENSORS)                                      \
    X(U16, "uint16", OFFLOAD_IN_DATA | OFFLOAD_IN_SAFETENSORS)                                     \
    X(F16, "float16", OFFLOAD_IN_DATA | OFFLOAD_IN_SAFETENSORS)                                    \
    X(BF16, "bfloat16", OFFLOAD_IN_DATA | OFFLOAD_IN_SAFETENSORS)                                  \
    X(I32, "int32", OFFLOAD_IN_DATA | OFFLOAD_IN_SAFETENSORS)                                      \
    X(U32, "uint32", OFFLOAD_IN_DATA | OFFLOAD_IN_SAFETENSORS)                                     \
    X(F32, "float32", OFFLOAD_IN_DATA | OFFLOAD_IN_SAFETENSORS)                                    \
    X(I64, "int64", OFFLOAD_IN_DATA | OFFLOAD_IN_SAFETENSORS)                                      \
    X(U64, "uint64", OFFLOAD_IN_DATA | OFFLOAD_IN_SAFETENSORS)                                     \
    X(F64, "float64", OFFLOAD_IN_DATA | OFFLOAD_IN_SAFETENSORS)                                    \
    X(C64, "complex64", OFFLOAD_IN_DATA | OFFLOAD_IN_SAFETENSORS)                                  \
    X(F4, "float4_e2m1fn_x2", OFFLOAD_IN_SAFETENSORS)

/* torch's name of a type.
 *
 * places   OFFLOAD_IN_*: any of them will do
 * returns  a static string; NULL where the type cannot stand there
 */
const char *offload_dtype_name(enum dtype dtype, unsigned places);

/* Find a type by torch's name.
 *
 * returns  0 and *out, or -ENOENT
 */
int offload_dtype_find(const char *name, unsigned places, enum dtype *out);

/* May the bytes of a weight of this name stand in <name>.dat? Not where that is no plain name of a
 * file in the folder: '/' or '\' in it, "." or "..", or more letters than a file's name can have.
 */
bool offload_name_is_plain(const char *name);

struct offload_entry {
    const char *name;
    const uint64_t *shape; /* rank extents; NULL where a pointer has none, which it need not */
    size_t rank;
    enum dtype dtype; /* DTYPE_COUNT where a pointer has none */
    uint64_t bytes;   /* in <name>.dat; 0 for a pointer */

    /* A pointer; both are NULL for a weight in <name>.dat. */
    const char *safetensors_file; /* absolute, or from the working directory or the folder */
    const char *weight_name;      /* there */
};

struct offload_index {
    struct offload_entry *entries; /* in the order of the text */
    size_t count;
    uint64_t *shapes; /* all of them, one behind the other */
    cJSON *root;      /* owned where offload_index_parse() made it, else NULL */
};

/* Read an index that is parsed already.
 *
 * text, bytes  what json_parse() was given
 * root         what it made of it; the entries' strings are there
 * out          set on success only
 * error        filled on failure, but for the file's name
 * returns      0; -EINVAL where the content is refused; -ENOMEM
 * owner        the caller frees *out with offload_index_release()
 */
int offload_index_read(const char *text, size_t bytes, const cJSON *root, struct offload_index *out,
                       struct input_error *error);

/* The same for a text, which need not be terminated. The strings go with *out. */
int offload_index_parse(const char *text, size_t bytes, struct offload_index *out,
                        struct input_error *error);

void offload_index_release(struct offload_index *index);

#endif
