#include "safetensors.h"
#include "json.h"
#include "json_string.h"
#include "json_walk.h"
#include "read_fully.h"
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LENGTH_BYTES 8u /* the u64 in front of the header */
#define ABSENT       0u /* as a place in the header, where its first '{' is */

/* One header on its way into a builder. Places in it are as json_walk.h has them. */
struct reader {
    const char *text; /* the header's JSON */
    uint64_t text_bytes;
    uint64_t data_bytes; /* of the file behind the header */
    struct checkpoint_builder *builder;
    size_t file;
    char *name; /* of the tensor at hand, where it has escapes */
    size_t name_room;
    uint64_t *shape; /* of the tensor at hand */
    size_t shape_room;
    struct input_error *error;
};

/* Where a tensor and what it consists of stand: keys, or ABSENT. */
struct entry {
    size_t at, dtype, shape, offsets;
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

/* Refuse a value of the header: what was expected there, and what it is instead.
 *
 * place    what the error points to: the value, or its key
 * value    ABSENT where there is none
 */
static int refuse(const struct reader *r, size_t place, size_t value, const char *expected)
{
    char text[160] = "nothing";

    if (value != ABSENT)
        json_walk_describe(r->text, value, text, sizeof(text));
    return input_error_set(r->error, -EINVAL, LENGTH_BYTES + place, expected, "%s", text);
}

/* Refuse a member of a tensor, which may be missing. */
static int refuse_member(const struct reader *r, const struct entry *entry, size_t key,
                         const char *expected)
{
    if (key == ABSENT)
        return refuse(r, entry->at, ABSENT, expected);
    return refuse(r, key, json_walk_value(r->text, key), expected);
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

static int check_metadata(const struct reader *r, size_t key)
{
    size_t at = json_walk_value(r->text, key);
    bool more;

    if (r->text[at] != '{')
        return refuse(r, key, at, "an object of strings");
    for (more = json_walk_enter(r->text, &at); more; more = json_walk_next(r->text, &at)) {
        size_t value = json_walk_value(r->text, at);

        if (r->text[value] != '"')
            return refuse(r, at, value, "a string");
        at = json_walk_skip(r->text, value);
    }
    return 0;
}

static int read_dtype(const struct reader *r, const struct entry *entry, enum dtype *out)
{
    static const char expected[] = "a dtype of safetensors (F32, BF16, I8, ...)";
    char name[32];
    size_t value, bytes;

    if (entry->dtype == ABSENT)
        return refuse_member(r, entry, ABSENT, expected);
    value = json_walk_value(r->text, entry->dtype);
    if (r->text[value] != '"')
        return refuse_member(r, entry, entry->dtype, expected);
    bytes = json_string_decode(r->text, value, name, sizeof(name) - 1);
    name[bytes] = '\0';
    if (dtype_find(name, DTYPE_IN_SAFETENSORS, out))
        return refuse_member(r, entry, entry->dtype, expected);
    return 0;
}

/* Make room for one more extent in r->shape, which grows to the longest shape of the file. */
static int grow_shape(struct reader *r, size_t count)
{
    size_t room = count ? count * 2 : 8;
    uint64_t *larger;

    if (count < r->shape_room)
        return 0;
    larger = reallocarray(r->shape, room, sizeof(*larger));
    if (!larger)
        return refuse_memory(r);
    r->shape = larger;
    r->shape_room = room;
    return 0;
}

static int read_shape(struct reader *r, const struct entry *entry, uint16_t *rank)
{
    size_t at = entry->shape == ABSENT ? ABSENT : json_walk_value(r->text, entry->shape);
    size_t count = 0;
    bool more;

    if (at == ABSENT || r->text[at] != '[')
        return refuse_member(r, entry, entry->shape, "a shape: an array of integers");
    for (more = json_walk_enter(r->text, &at); more; more = json_walk_next(r->text, &at)) {
        if (count == TENSOR_RANK_MAX)
            return refuse_member(r, entry, entry->shape, "a shape of at most 65535 extents");
        if (grow_shape(r, count))
            return -ENOMEM;
        if (json_walk_u64(r->text, at, &r->shape[count]))
            return refuse(r, at, at, "an extent: an integer from 0 on");
        at = json_walk_skip(r->text, at);
        count++;
    }
    *rank = (uint16_t)count;
    return 0;
}

/* Read an array of two integers.
 *
 * returns  0; -EDOM where it is no such array; -EINVAL with the error set where one is no offset
 */
static int read_two(const struct reader *r, size_t at, uint64_t pair[2])
{
    size_t places[2], count = 0;
    bool more;

    if (r->text[at] != '[')
        return -EDOM;
    for (more = json_walk_enter(r->text, &at); more; more = json_walk_next(r->text, &at)) {
        if (count == 2)
            return -EDOM;
        places[count++] = at;
        at = json_walk_skip(r->text, at);
    }
    if (count != 2)
        return -EDOM;
    for (count = 0; count < 2; count++) {
        if (json_walk_u64(r->text, places[count], &pair[count]))
            return refuse(r, places[count], places[count], "an offset: an integer from 0 on");
    }
    return 0;
}

static int read_data_offsets(const struct reader *r, const struct entry *entry, uint64_t pair[2])
{
    int res = -EDOM;

    if (entry->offsets != ABSENT)
        res = read_two(r, json_walk_value(r->text, entry->offsets), pair);
    if (res == -EDOM)
        return refuse_member(r, entry, entry->offsets, "data_offsets: an array of two integers");
    if (res)
        return res;
    if (pair[0] > pair[1])
        return input_error_set(r->error, -EINVAL, LENGTH_BYTES + entry->offsets, "offsets in order",
                               "%" PRIu64 " to %" PRIu64, pair[0], pair[1]);
    if (pair[1] > r->data_bytes)
        return input_error_set(r->error, -EINVAL, LENGTH_BYTES + entry->offsets,
                               "data inside the file, which may be incomplete",
                               "bytes %" PRIu64 " to %" PRIu64 " of %" PRIu64, pair[0], pair[1],
                               r->data_bytes);
    return 0;
}

/* Check that type and shape make as many bytes as the offsets span. */
static int check_bytes(const struct reader *r, const struct entry *entry,
                       const struct tensor *tensor)
{
    static const char expected[] = "a shape whose bytes data_offsets spans";
    const uint64_t place = LENGTH_BYTES + entry->at;
    uint64_t bytes;
    int res = dtype_tensor_bytes(tensor->dtype, tensor->shape, tensor->rank, &bytes);

    if (res == 0 && bytes == tensor->bytes)
        return 0;
    if (res == -EOVERFLOW)
        return input_error_set(r->error, -EINVAL, place, expected,
                               "more than 2^64 elements or bits");
    if (res)
        return input_error_set(r->error, -EINVAL, place, expected, "no whole number of bytes");
    return input_error_set(r->error, -EINVAL, place, expected,
                           "%" PRIu64 " bytes in a span of %" PRIu64, bytes, tensor->bytes);
}

/* Find the members of a tensor. What else it has is nobody's concern. */
static int find_members(const struct reader *r, struct entry *entry)
{
    size_t at = json_walk_value(r->text, entry->at);
    bool more;

    if (r->text[at] != '{')
        return refuse(r, entry->at, at, "an object with dtype, shape and data_offsets");
    for (more = json_walk_enter(r->text, &at); more; more = json_walk_next(r->text, &at)) {
        if (json_string_is(r->text, at, "dtype"))
            entry->dtype = at;
        else if (json_string_is(r->text, at, "shape"))
            entry->shape = at;
        else if (json_string_is(r->text, at, "data_offsets"))
            entry->offsets = at;
        at = json_walk_skip(r->text, json_walk_value(r->text, at));
    }
    return 0;
}

/* Take a name out of the text, in which it stays where it has no escapes. */
static int read_name(struct reader *r, size_t key, struct tensor *tensor)
{
    bool escaped;
    size_t end = json_string_end(r->text, key, &escaped), room = end - key;

    tensor->name = r->text + key + 1;
    tensor->name_bytes = (uint32_t)(room - 2);
    if (!escaped)
        return 0;
    if (room > r->name_room) {
        char *larger = realloc(r->name, room);

        if (!larger)
            return refuse_memory(r);
        r->name = larger;
        r->name_room = room;
    }
    tensor->name = r->name;
    tensor->name_bytes = (uint32_t)json_string_decode(r->text, key, r->name, room);
    return 0;
}

static int read_tensor(struct reader *r, size_t key, struct tensor *tensor)
{
    struct entry entry = {.at = key};
    enum dtype dtype = DTYPE_COUNT;
    uint64_t span[2];
    int res = find_members(r, &entry);

    if (res == 0)
        res = read_dtype(r, &entry, &dtype);
    if (res == 0)
        res = read_shape(r, &entry, &tensor->rank);
    if (res == 0)
        res = read_data_offsets(r, &entry, span);
    if (res)
        return res;

    tensor->shape = r->shape;
    tensor->dtype = (uint16_t)dtype;
    tensor->offset = LENGTH_BYTES + r->text_bytes + span[0];
    tensor->bytes = span[1] - span[0];
    res = check_bytes(r, &entry, tensor);
    if (res)
        return res;
    return checkpoint_builder_add_tensor(r->builder, tensor) ? refuse_memory(r) : 0;
}

/* Read a member of the header: a tensor, or the metadata. */
static int read_member(struct reader *r, size_t key)
{
    struct tensor tensor = {.file = (uint32_t)r->file};
    int res = read_name(r, key, &tensor);

    if (res)
        return res;
    if (json_string_is(r->text, key, "__metadata__"))
        res = check_metadata(r, key);
    else
        res = read_tensor(r, key, &tensor);
    if (res)
        input_error_set_field(r->error, tensor.name, tensor.name_bytes);
    return res;
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
    size_t i = 1;

    while (i < count && compare_spans(&order[i - 1], &order[i], tensors) < 0)
        i++;
    if (i < count)
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
    res = check_gaps(r, order, count, count ? c->tensors + first_tensor : NULL);
    free(order);
    return res;
}

/* Read the header, which is a JSON object. */
static int read_root(struct reader *r)
{
    size_t first_tensor = r->builder->checkpoint->tensor_count, at = json_walk_begin(r->text);
    bool more;
    int res;

    for (more = json_walk_enter(r->text, &at); more; more = json_walk_next(r->text, &at)) {
        res = read_member(r, at);
        if (res)
            return res;
        at = json_walk_skip(r->text, json_walk_value(r->text, at));
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
    res = json_check(text, text_bytes, JSON_INTEGERS, error);
    if (res)
        return from_file_start(error, res);
    res = read_root(&r);
    free(r.shape);
    free(r.name);
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
