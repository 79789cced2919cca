#include "safetensors.h"
#include "json.h"
#include "read_fully.h"
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LENGTH_BYTES 8u /* the u64 in front of the header */

/* One header on its way into a builder. */
struct reader {
    const char *text; /* the header's JSON */
    uint64_t text_bytes;
    uint64_t data_bytes; /* of the file behind the header */
    cJSON *root;
    struct checkpoint_builder *builder;
    size_t file;
    uint64_t *shape; /* of the tensor at hand */
    size_t shape_room;
    struct input_error *error;
};

static uint64_t load_length(const void *head)
{
    uint64_t length;

    memcpy(&length, head, sizeof(length));
    return le64toh(length);
}

bool safetensors_identify(const void *head, size_t head_bytes, uint64_t file_bytes)
{
    uint64_t length;

    if (head_bytes < LENGTH_BYTES + 1 || file_bytes < LENGTH_BYTES)
        return false;
    length = load_length(head);
    return length <= SAFETENSORS_HEADER_MAX && length <= file_bytes - LENGTH_BYTES &&
           ((const char *)head)[LENGTH_BYTES] == '{';
}

/* Offsets in errors count from the start of the file, and a header has no lines to speak of. */
static int from_file_start(struct input_error *error, int res)
{
    if (error->offset != INPUT_ERROR_NO_OFFSET)
        error->offset += LENGTH_BYTES;
    error->line = error->column = 0;
    return res;
}

/* Refuse a value of the header: what was expected there, and what it is instead. */
static int refuse(const struct reader *r, const cJSON *item, const cJSON *found,
                  const char *expected)
{
    char text[160];

    input_error_set(r->error, -EINVAL, INPUT_ERROR_NO_OFFSET, expected, "%s",
                    json_describe(found, text, sizeof(text)));
    json_locate(r->text, r->text_bytes, r->root, item, r->error);
    return from_file_start(r->error, -EINVAL);
}

static int refuse_memory(const struct reader *r)
{
    return input_error_set(r->error, -ENOMEM, INPUT_ERROR_NO_OFFSET,
                           "memory for the table of tensors", "none left");
}

/* Check the 8 bytes in front of the header.
 *
 * head     at least LENGTH_BYTES of the file
 */
static int check_length(const void *head, uint64_t file_bytes, struct input_error *error)
{
    uint64_t length = load_length(head);

    if (length > SAFETENSORS_HEADER_MAX)
        return input_error_set(error, -EINVAL, 0,
                               "a safetensors file, which begins with the length of its header, at "
                               "most 100000000",
                               "%" PRIu64, length);
    if (length > file_bytes - LENGTH_BYTES)
        return input_error_set(error, -EINVAL, 0, "a safetensors header that ends inside the file",
                               "a header of %" PRIu64 " bytes in a file of %" PRIu64, length,
                               file_bytes);
    return 0;
}

static int check_file_bytes(uint64_t file_bytes, struct input_error *error)
{
    if (file_bytes < LENGTH_BYTES)
        return input_error_set(error, -EINVAL, 0, "a safetensors file: 8 bytes or more", "%" PRIu64,
                               file_bytes);
    return 0;
}

/* Check what JSON alone would allow around the object. */
static int check_frame(const struct reader *r)
{
    uint64_t end = r->text_bytes;

    if (end == 0 || r->text[0] != '{')
        return input_error_set(
            r->error, -EINVAL, LENGTH_BYTES, "'{' at the start of a safetensors header",
            end == 0 ? "an empty header" : "byte 0x%02x", end == 0 ? 0 : (unsigned char)r->text[0]);
    while (end > 0 && r->text[end - 1] == ' ')
        end--;
    if (r->text[end - 1] != '}')
        return input_error_set(r->error, -EINVAL, LENGTH_BYTES + end - 1,
                               "'}' and nothing but spaces at the end of the header", "byte 0x%02x",
                               (unsigned char)r->text[end - 1]);
    return 0;
}

static int check_metadata(const struct reader *r, const cJSON *metadata)
{
    const cJSON *entry;

    input_error_set_field(r->error, metadata->string, strlen(metadata->string));
    if (!cJSON_IsObject(metadata))
        return refuse(r, metadata, metadata, "an object of strings");
    cJSON_ArrayForEach(entry, metadata)
    {
        if (!cJSON_IsString(entry))
            return refuse(r, entry, entry, "a string");
    }
    return 0;
}

static int read_dtype(const struct reader *r, const cJSON *entry, enum dtype *out)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(entry, "dtype");

    if (!cJSON_IsString(item) || dtype_find(item->valuestring, DTYPE_IN_SAFETENSORS, out))
        return refuse(r, item ? item : entry, item, "a dtype of safetensors (F32, BF16, I8, ...)");
    return 0;
}

/* Read the shape into r->shape, which grows to the longest shape of the file. */
static int read_shape(struct reader *r, const cJSON *entry, uint16_t *rank)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(entry, "shape"), *extent;
    size_t count = 0;

    if (!cJSON_IsArray(item))
        return refuse(r, item ? item : entry, item, "a shape: an array of integers");
    cJSON_ArrayForEach(extent, item)
    {
        if (count == TENSOR_RANK_MAX)
            return refuse(r, item, item, "a shape of at most 65535 extents");
        if (count == r->shape_room) {
            size_t room = count ? count * 2 : 8;
            uint64_t *larger = reallocarray(r->shape, room, sizeof(*larger));

            if (!larger)
                return refuse_memory(r);
            r->shape = larger;
            r->shape_room = room;
        }
        if (json_get_u64(extent, &r->shape[count]))
            return refuse(r, extent, extent, "an extent: an integer from 0 on");
        count++;
    }
    *rank = (uint16_t)count;
    return 0;
}

static int read_data_offsets(const struct reader *r, const cJSON *entry, uint64_t *begin,
                             uint64_t *end)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(entry, "data_offsets");
    const cJSON *first = cJSON_IsArray(item) ? item->child : NULL;
    const cJSON *second = first ? first->next : NULL;

    if (!second || second->next)
        return refuse(r, item ? item : entry, item, "data_offsets: an array of two integers");
    if (json_get_u64(first, begin))
        return refuse(r, first, first, "an offset: an integer from 0 on");
    if (json_get_u64(second, end))
        return refuse(r, second, second, "an offset: an integer from 0 on");
    if (*begin > *end || *end > r->data_bytes) {
        if (*begin > *end)
            input_error_set(r->error, -EINVAL, 0, "offsets in order", "%" PRIu64 " to %" PRIu64,
                            *begin, *end);
        else
            input_error_set(r->error, -EINVAL, 0, "data inside the file, which may be incomplete",
                            "bytes %" PRIu64 " to %" PRIu64 " of %" PRIu64, *begin, *end,
                            r->data_bytes);
        json_locate(r->text, r->text_bytes, r->root, item, r->error);
        return from_file_start(r->error, -EINVAL);
    }
    return 0;
}

/* Check that type and shape make as many bytes as the offsets span. */
static int check_bytes(const struct reader *r, const cJSON *entry, const struct tensor *tensor)
{
    static const char expected[] = "a shape whose bytes data_offsets spans";
    uint64_t bytes;
    int res = dtype_tensor_bytes(tensor->dtype, tensor->shape, tensor->rank, &bytes);

    if (res == 0 && bytes == tensor->bytes)
        return 0;
    if (res == -EOVERFLOW)
        input_error_set(r->error, -EINVAL, 0, expected, "more than 2^64 elements or bits");
    else if (res)
        input_error_set(r->error, -EINVAL, 0, expected, "no whole number of bytes");
    else
        input_error_set(r->error, -EINVAL, 0, expected, "%" PRIu64 " bytes in a span of %" PRIu64,
                        bytes, tensor->bytes);
    json_locate(r->text, r->text_bytes, r->root, entry, r->error);
    return from_file_start(r->error, -EINVAL);
}

static int read_tensor(struct reader *r, const cJSON *entry)
{
    struct tensor tensor = {.name = entry->string, .file = (uint32_t)r->file};
    size_t name_bytes = strlen(entry->string);
    uint64_t begin = 0, end = 0;
    enum dtype dtype = DTYPE_COUNT;
    int res;

    input_error_set_field(r->error, entry->string, name_bytes);
    if (!cJSON_IsObject(entry))
        return refuse(r, entry, entry, "an object with dtype, shape and data_offsets");
    res = read_dtype(r, entry, &dtype);
    if (res == 0)
        res = read_shape(r, entry, &tensor.rank);
    if (res == 0)
        res = read_data_offsets(r, entry, &begin, &end);
    if (res)
        return res;

    tensor.name_bytes = (uint32_t)name_bytes;
    tensor.shape = r->shape;
    tensor.dtype = dtype;
    tensor.offset = LENGTH_BYTES + r->text_bytes + begin;
    tensor.bytes = end - begin;
    res = check_bytes(r, entry, &tensor);
    if (res)
        return res;
    return checkpoint_builder_add_tensor(r->builder, &tensor) ? refuse_memory(r) : 0;
}

static int compare_spans(const void *a, const void *b, void *tensors)
{
    const struct tensor *t = tensors;
    const struct tensor *l = &t[*(const uint32_t *)a], *r = &t[*(const uint32_t *)b];

    if (l->offset != r->offset)
        return l->offset < r->offset ? -1 : 1;
    if (l->bytes != r->bytes)
        return l->bytes < r->bytes ? -1 : 1;
    return (l > r) - (l < r);
}

/* Check that the tensors that were added, in the order of their offsets, leave no byte out.
 *
 * order    count indexes from 0 on, which are sorted here
 */
static int check_gaps(const struct reader *r, uint32_t *order, size_t count, struct tensor *tensors)
{
    uint64_t next = LENGTH_BYTES + r->text_bytes;
    size_t i;

    qsort_r(order, count, sizeof(*order), compare_spans, tensors);
    for (i = 0; i < count; i++) {
        const struct tensor *t = &tensors[order[i]];

        if (t->offset != next) {
            input_error_set_field(r->error, t->name, t->name_bytes);
            return input_error_set(r->error, -EINVAL, next, "the next tensor's bytes here",
                                   "%s: they begin at byte %" PRIu64,
                                   t->offset > next ? "a gap" : "an overlap", t->offset);
        }
        next += t->bytes;
    }
    if (next != LENGTH_BYTES + r->text_bytes + r->data_bytes)
        return input_error_set(r->error, -EINVAL, next, "the end of the file after the last tensor",
                               "%" PRIu64 " bytes more",
                               LENGTH_BYTES + r->text_bytes + r->data_bytes - next);
    return 0;
}

static int check_coverage(const struct reader *r, size_t first_tensor)
{
    struct checkpoint *c = r->builder->checkpoint;
    size_t count = c->tensor_count - first_tensor, i;
    uint32_t *order = calloc(count ? count : 1, sizeof(*order));
    int res;

    if (!order)
        return refuse_memory(r);
    for (i = 0; i < count; i++)
        order[i] = (uint32_t)i;
    r->error->field[0] = '\0';
    res = check_gaps(r, order, count, count ? c->tensors + first_tensor : NULL);
    free(order);
    return res;
}

/* Read the parsed header. */
static int read_root(struct reader *r)
{
    size_t first_tensor = r->builder->checkpoint->tensor_count;
    const cJSON *entry;
    int res = 0;

    cJSON_ArrayForEach(entry, r->root)
    {
        res = strcmp(entry->string, "__metadata__") == 0 ? check_metadata(r, entry)
                                                         : read_tensor(r, entry);
        if (res)
            return res;
    }
    res = check_coverage(r, first_tensor);
    if (res == 0)
        r->builder->checkpoint->files[r->file].data_offset = LENGTH_BYTES + r->text_bytes;
    return res;
}

/* Read a header whose length was checked. */
static int read_header(const char *text, uint64_t text_bytes, uint64_t file_bytes,
                       struct checkpoint_builder *builder, size_t file, struct input_error *error)
{
    struct reader r = {.text = text,
                       .text_bytes = text_bytes,
                       .data_bytes = file_bytes - LENGTH_BYTES - text_bytes,
                       .builder = builder,
                       .file = file,
                       .error = error};
    int res = check_frame(&r);

    if (res)
        return res;
    res = json_parse(text, text_bytes, JSON_INTEGERS, &r.root, error);
    if (res)
        return from_file_start(error, res);
    res = read_root(&r);
    free(r.shape);
    cJSON_Delete(r.root);
    return res;
}

int safetensors_parse(const void *head, size_t head_bytes, uint64_t file_bytes,
                      struct checkpoint_builder *builder, size_t file, struct input_error *error)
{
    int res = check_file_bytes(head_bytes < file_bytes ? head_bytes : file_bytes, error);

    if (res == 0)
        res = check_length(head, file_bytes, error);
    if (res)
        return res;
    if (load_length(head) > head_bytes - LENGTH_BYTES)
        return input_error_set(error, -EINVAL, 0, "the whole header", "%zu bytes of the file",
                               head_bytes);
    return read_header((const char *)head + LENGTH_BYTES, load_length(head), file_bytes, builder,
                       file, error);
}

int safetensors_read(int fd, uint64_t file_bytes, struct checkpoint_builder *builder, size_t file,
                     struct input_error *error)
{
    char head[LENGTH_BYTES];
    uint64_t length;
    char *text;
    int res;

    res = check_file_bytes(file_bytes, error);
    if (res == 0)
        res = read_fully(fd, head, sizeof(head), 0, error);
    if (res == 0)
        res = check_length(head, file_bytes, error);
    if (res)
        return res;

    length = load_length(head);
    text = malloc(length ? length : 1);
    if (!text)
        return input_error_set(error, -ENOMEM, 0, "memory for the header", "none left");
    res = read_fully(fd, text, length, LENGTH_BYTES, error);
    if (res == 0)
        res = read_header(text, length, file_bytes, builder, file, error);
    free(text);
    return res;
}
