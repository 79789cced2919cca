#include "gguf.h"
#include "gguf_reader.h"
#include "gguf_split.h"
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define ALIGNMENT_DEFAULT 32u
#define TENSOR_BYTES_MIN  24u /* length, rank, type, offset */

/* The types of tensors: number in the file, row of DTYPES. */
#define TENSOR_TYPES(X)                                                                            \
    X(0, F32)                                                                                      \
    X(1, F16)                                                                                      \
    X(2, Q4_0)                                                                                     \
    X(3, Q4_1)                                                                                     \
    X(6, Q5_0)                                                                                     \
    X(7, Q5_1)                                                                                     \
    X(8, Q8_0)                                                                                     \
    X(9, Q8_1)                                                                                     \
    X(10, Q2_K)                                                                                    \
    X(11, Q3_K)                                                                                    \
    X(12, Q4_K)                                                                                    \
    X(13, Q5_K)                                                                                    \
    X(14, Q6_K)                                                                                    \
    X(15, Q8_K)                                                                                    \
    X(16, IQ2_XXS)                                                                                 \
    X(17, IQ2_XS)                                                                                  \
    X(18, IQ3_XXS)                                                                                 \
    X(19, IQ1_S)                                                                                   \
    X(20, IQ4_NL)                                                                                  \
    X(21, IQ3_S)                                                                                   \
    X(22, IQ2_S)                                                                                   \
    X(23, IQ4_XS)                                                                                  \
    X(24, I8)                                                                                      \
    X(25, I16)                                                                                     \
    X(26, I32)                                                                                     \
    X(27, I64)                                                                                     \
    X(28, F64)                                                                                     \
    X(29, IQ1_M)                                                                                   \
    X(30, BF16)                                                                                    \
    X(34, TQ1_0)                                                                                   \
    X(35, TQ2_0)                                                                                   \
    X(39, MXFP4)                                                                                   \
    X(40, NVFP4)                                                                                   \
    X(41, Q1_0)                                                                                    \
    X(42, Q2_0)

static uint64_t pad(uint64_t bytes, uint64_t alignment)
{
    return (bytes + alignment - 1) & ~(alignment - 1);
}

static int read_tensor_type(struct gguf_reader *r, uint16_t *dtype)
{
    uint64_t at = r->in.at;
    uint32_t type;
    int res = gguf_input_u32(&r->in, &type);

    if (res)
        return res;
    switch (type) {
#define X(number, name)                                                                            \
    case number:                                                                                   \
        *dtype = DTYPE_##name;                                                                     \
        return 0;
        TENSOR_TYPES(X)
#undef X
    }
    return input_error_set(r->error, -EINVAL, at,
                           "a type of tensors that GGUF has (0 F32, 1 F16, "
                           "2 Q4_0, ..., 42 Q2_0)",
                           "%" PRIu32, type);
}

/* Read rank and extents, which the file has innermost first. */
static int read_shape(struct gguf_reader *r, uint64_t shape[GGUF_RANK_MAX], uint16_t *rank)
{
    uint64_t at = r->in.at, extent;
    uint32_t count, i;
    int res = gguf_input_u32(&r->in, &count);

    if (res)
        return res;
    if (count > GGUF_RANK_MAX)
        return input_error_set(r->error, -EINVAL, at, "at most 4 extents", "%" PRIu32, count);
    for (i = 0; i < count; i++) {
        at = r->in.at;
        res = gguf_input_u64(&r->in, &extent);
        if (res)
            return res;
        if (extent > INT64_MAX)
            return input_error_set(r->error, -EINVAL, at, "an extent from 0 on", "%" PRId64,
                                   (int64_t)extent);
        shape[count - 1 - i] = extent;
    }
    *rank = (uint16_t)count;
    return 0;
}

static int count_bytes(struct gguf_reader *r, uint64_t at, struct tensor *tensor)
{
    enum dtype dtype = (enum dtype)tensor->dtype;
    int res = dtype_tensor_bytes(dtype, tensor->shape, tensor->rank, &tensor->bytes);

    if (res == -EOVERFLOW)
        return input_error_set(r->error, -EINVAL, at, "extents whose elements can be counted",
                               "more than 2^64 elements or bits");
    if (res)
        return input_error_set(r->error, -EINVAL, at, "a first extent of whole blocks",
                               "%" PRIu64 " elements in blocks of %u (%s)",
                               tensor->rank ? tensor->shape[tensor->rank - 1] : 1,
                               dtype_block_elements(dtype), dtype_name(dtype));
    return 0;
}

/* Read one tensor's entry.
 *
 * next  where its bytes have to begin, from the start of the data; moved to the next one's place
 */
static int read_tensor(struct gguf_reader *r, uint64_t *next)
{
    struct tensor tensor = {.file = (uint32_t)r->file, .storage = STORAGE_OWN};
    uint64_t shape[GGUF_RANK_MAX] = {0}, at;
    char name[GGUF_NAME_MAX];
    struct gguf_text text;
    int res =
        gguf_read_name(r, GGUF_NAME_MAX, "a tensor's name: UTF-8 text of at most 63 bytes", &text);

    if (res)
        return res;
    memcpy(name, text.bytes, text.length);
    tensor.name = name;
    tensor.name_bytes = (uint32_t)text.length;
    tensor.shape = shape;
    at = r->in.at;
    res = read_shape(r, shape, &tensor.rank);
    if (res == 0)
        res = read_tensor_type(r, &tensor.dtype);
    if (res == 0)
        res = count_bytes(r, at, &tensor);
    at = r->in.at;
    if (res == 0)
        res = gguf_input_u64(&r->in, &tensor.offset);
    if (res)
        return res;
    if (tensor.offset != *next)
        return input_error_set(r->error, -EINVAL, at,
                               "the offset at which the tensors before end, with their padding",
                               "%" PRIu64 " instead of %" PRIu64, tensor.offset, *next);
    if (tensor.bytes > r->in.file_bytes || *next > r->in.file_bytes)
        return input_error_set(
            r->error, -EINVAL, at, "data inside the file, which may be incomplete",
            "%" PRIu64 " bytes at %" PRIu64 " of the data, in a file of %" PRIu64, tensor.bytes,
            *next, r->in.file_bytes);
    *next += pad(tensor.bytes, r->alignment);
    return checkpoint_builder_add_tensor(r->builder, &tensor) ? gguf_refuse_memory(r) : 0;
}

/* Now that it is known where the data begins: move the tensors there, and see that they are. */
static int place_tensors(struct gguf_reader *r, size_t first)
{
    struct checkpoint *c = r->builder->checkpoint;
    uint64_t start = pad(r->in.at, r->alignment);
    size_t i;

    c->files[r->file].data_offset = start < r->in.file_bytes ? start : r->in.file_bytes;
    for (i = first; i < c->tensor_count; i++) {
        struct tensor *t = &c->tensors[i];

        t->offset += start;
        if (t->bytes && (t->offset > r->in.file_bytes || t->bytes > r->in.file_bytes - t->offset)) {
            input_error_set_field(r->error, t->name, t->name_bytes);
            return input_error_set(r->error, -EINVAL, r->in.file_bytes,
                                   "data inside the file, which may be incomplete",
                                   "bytes %" PRIu64 " to %" PRIu64 " of %" PRIu64, t->offset,
                                   t->offset + t->bytes, r->in.file_bytes);
        }
    }
    return 0;
}

static int read_tensors(struct gguf_reader *r)
{
    size_t first = r->builder->checkpoint->tensor_count;
    uint64_t next = 0, i;
    int res = 0;

    for (i = 0; i < r->tensor_count && res == 0; i++)
        res = read_tensor(r, &next);
    return res ? res : place_tensors(r, first);
}

/* The file ------------------------------------------------------------------------------------- */

bool gguf_identify(const void *head, size_t head_bytes, uint64_t file_bytes)
{
    return head_bytes >= 4 && file_bytes >= 4 && memcmp(head, "GGUF", 4) == 0;
}

static int check_version(struct gguf_reader *r)
{
    static const char expected[] = "GGUF version 2 or 3, little-endian";
    uint32_t version = 0;
    int res = gguf_input_u32(&r->in, &version);

    if (res || version == 2 || version == 3)
        return res;
    /* A version in the upper half is one of the lower half with its bytes swapped. */
    if (version && (version & 0xFFFF) == 0)
        return input_error_set(r->error, -EINVAL, 4, expected,
                               "a big-endian file of version %" PRIu32, __builtin_bswap32(version));
    return input_error_set(r->error, -EINVAL, 4, expected, "version %" PRIu32, version);
}

/* Read the numbers of tensors and entries, and see that the file could hold so many. */
static int read_counts(struct gguf_reader *r)
{
    static const char expected[] = "no more than the file could hold";
    uint64_t left;
    int res = gguf_input_u64(&r->in, &r->tensor_count);

    if (res == 0)
        res = gguf_input_u64(&r->in, &r->entry_count);
    if (res)
        return res;
    left = gguf_input_left(&r->in);
    if (r->entry_count > left / GGUF_ENTRY_BYTES_MIN)
        return input_error_set(r->error, -EINVAL, 16, expected,
                               "%" PRIu64 " entries in %" PRIu64 " bytes", r->entry_count, left);
    left -= r->entry_count * GGUF_ENTRY_BYTES_MIN;
    if (r->tensor_count > left / TENSOR_BYTES_MIN)
        return input_error_set(r->error, -EINVAL, 8, expected,
                               "%" PRIu64 " tensors in %" PRIu64 " bytes", r->tensor_count, left);
    return 0;
}

static int read_file(struct gguf_reader *r)
{
    const unsigned char *magic;
    int res = gguf_input_take(&r->in, 4, &magic);

    r->alignment = ALIGNMENT_DEFAULT;
    if (res == 0 && memcmp(magic, "GGUF", 4) != 0)
        res = input_error_set(r->error, -EINVAL, 0, "a GGUF file, which begins with \"GGUF\"",
                              "other bytes");
    if (res == 0)
        res = check_version(r);
    if (res == 0)
        res = read_counts(r);
    if (res == 0)
        res = gguf_read_entries(r);
    if (res == 0)
        res = read_tensors(r);
    if (res == 0)
        r->error->field[0] = '\0';
    return res;
}

int gguf_parse(const void *head, size_t head_bytes, uint64_t file_bytes,
               struct checkpoint_builder *builder, size_t file, struct input_error *error)
{
    struct gguf_reader r = {.builder = builder, .file = file, .error = error};

    gguf_input_begin_memory(&r.in, head, head_bytes, file_bytes, error);
    return read_file(&r);
}

int gguf_read(int fd, uint64_t file_bytes, struct checkpoint_builder *builder, size_t file,
              struct input_error *error)
{
    struct gguf_reader r = {.builder = builder, .file = file, .error = error};
    int res = gguf_input_begin_file(&r.in, fd, file_bytes, error);

    if (res)
        return res;
    res = read_file(&r);
    gguf_input_end(&r.in);
    /* A descriptor that a program has open needs no name; it is read for itself. */
    if (res == 0 && (builder->with_parts || file > 0))
        res = gguf_split_check(builder->checkpoint->files[file].path, &r.split, error);
    if (res == 0 && builder->with_parts && r.split.count > 1)
        res = gguf_split_read(builder, &r.split, error);
    return res;
}
