/* pytorch_tensor.c - one tensor of a pickle: its dtype, shape, strides and bytes. */
#include "pytorch_globals.h"
#include "pytorch_state.h"
#include <errno.h>
#include <inttypes.h>
#include <string.h>

static int refuse(const struct pytorch_state *s, const struct pickle_value *at,
                  const char *expected, const struct pickle_value *found)
{
    return input_error_set(s->error, -EINVAL, s->pickle_offset + at->at, expected, "%s",
                           found ? pickle_kind_name(found) : "none");
}

static bool is_string(const struct pickle_value *value, const char *word)
{
    return value && value->kind == PICKLE_STRING && value->count == strlen(word) &&
           memcmp(value->text, word, value->count) == 0;
}

static bool is_count(const struct pickle_value *value)
{
    return value && value->kind == PICKLE_INTEGER && value->integer >= 0;
}

/* Read which part of a storage is meant: (key, first element, elements). Only files from before
 * PyTorch 0.4 say so; later ones have None there, or nothing. */
static int read_view(const struct pytorch_state *s, const struct pickle_value *at,
                     const struct pickle_value *view, uint64_t element_bytes,
                     struct pytorch_storage_id *id)
{
    const struct pickle_value *first, *count;

    id->view_offset = 0;
    id->view_bytes = id->bytes;
    if (!view || view->kind == PICKLE_NULL)
        return 0;
    first = pickle_element(s->pickle, view, 1);
    count = pickle_element(s->pickle, view, 2);
    if (!is_count(first) || !is_count(count))
        return refuse(s, at, "a view of a storage: its key, offset and length", view);
    if ((uint64_t)first->integer > id->bytes / element_bytes ||
        (uint64_t)count->integer > id->bytes / element_bytes - (uint64_t)first->integer)
        return input_error_set(s->error, -EINVAL, s->pickle_offset + at->at,
                               "a view inside its storage",
                               "elements %" PRId64 " to %" PRId64 " + %" PRId64, first->integer,
                               first->integer, count->integer);
    id->view_offset = (uint64_t)first->integer * element_bytes;
    id->view_bytes = (uint64_t)count->integer * element_bytes;
    return 0;
}

int pytorch_read_storage_id(const struct pytorch_state *s, const struct pickle_value *value,
                            struct pytorch_storage_id *id)
{
    const struct pickle_value *tuple, *class, *key, *count;
    uint64_t element_bytes;

    if (value->kind != PICKLE_PERSISTENT)
        return refuse(s, value, "a storage", value);
    tuple = &s->pickle->values[value->args];
    class = pickle_element(s->pickle, tuple, 1);
    key = pickle_element(s->pickle, tuple, 2);
    count = pickle_element(s->pickle, tuple, 4);
    if (!is_string(pickle_element(s->pickle, tuple, 0), "storage"))
        return refuse(s, value, "an id that begins with \"storage\"",
                      pickle_element(s->pickle, tuple, 0));
    if (!class || pytorch_role_of(class) != PYTORCH_STORAGE || class->kind != PICKLE_GLOBAL)
        return refuse(s, value, "a class of storages, such as torch.FloatStorage", class);
    if (!key || key->kind != PICKLE_STRING || key->count > PYTORCH_KEY_BYTES_MAX)
        return refuse(s, value, "a storage's key, a string of at most 255 bytes", key);
    if (!is_count(count))
        return refuse(s, value, "how many elements a storage has", count);

    id->key = key->text;
    id->key_bytes = key->count;
    id->dtype = pytorch_dtype_of(class);
    element_bytes = dtype_block_bits(id->dtype) / 8;
    if (__builtin_mul_overflow((uint64_t)count->integer, element_bytes, &id->bytes))
        return input_error_set(s->error, -EINVAL, s->pickle_offset + value->at,
                               "a storage of less than 2^64 bytes", "%" PRId64 " elements",
                               count->integer);
    return read_view(s, value, pickle_element(s->pickle, tuple, 5), element_bytes, id);
}

bool pytorch_is_tensor(const struct pickle_value *value)
{
    enum pytorch_role role = pytorch_role_of(value);

    return value->kind == PICKLE_OBJECT && (role == PYTORCH_TENSOR || role == PYTORCH_TENSOR_V3 ||
                                            role == PYTORCH_PARAMETER || role == PYTORCH_FROM_TYPE);
}

/* Find the call that makes the tensor itself, under the parameter or the type that it was made
 * into.
 *
 * role     TENSOR or TENSOR_V3
 * args     of that call
 */
static int unwrap(const struct pytorch_state *s, const struct pickle_value *value,
                  enum pytorch_role *role, const struct pickle_value **args)
{
    const struct pickle_value *function = value, *class;

    *args = &s->pickle->values[value->args];
    if (pytorch_role_of(value) == PYTORCH_PARAMETER) {
        function = pickle_element(s->pickle, *args, 0);
        if (!function || function->kind != PICKLE_OBJECT)
            return refuse(s, value, "a tensor that a parameter is made of", function);
        *args = &s->pickle->values[function->args];
    }
    if (pytorch_role_of(function) == PYTORCH_FROM_TYPE) {
        const struct pickle_value *outer = *args;

        function = pickle_element(s->pickle, outer, 0);
        class = pickle_element(s->pickle, outer, 1);
        *args = pickle_element(s->pickle, outer, 2);
        if (!class || pytorch_role_of(class) != PYTORCH_CLASS)
            return refuse(s, value, "the class of a tensor", class);
        if (!function || !*args)
            return refuse(s, value, "a function and its arguments", NULL);
    }
    *role = pytorch_role_of(function);
    if (*role != PYTORCH_TENSOR && *role != PYTORCH_TENSOR_V3)
        return refuse(s, value, "a function that makes a tensor", function);
    return 0;
}

/* Read a tuple of extents or of strides.
 *
 * value    a tuple, or a torch.Size made of one
 * out      PYTORCH_RANK_MAX numbers
 */
static int read_extents(const struct pytorch_state *s, const struct pickle_value *at,
                        const struct pickle_value *value, uint64_t *out, size_t *rank)
{
    size_t i;

    if (value && value->kind == PICKLE_OBJECT && pytorch_role_of(value) == PYTORCH_SIZE)
        value = pickle_element(s->pickle, &s->pickle->values[value->args], 0);
    if (!value || value->kind != PICKLE_TUPLE || value->count > PYTORCH_RANK_MAX)
        return refuse(s, at, "a tuple of at most 64 extents", value);
    for (i = 0; i < value->count; i++) {
        const struct pickle_value *extent = pickle_element(s->pickle, value, i);

        if (!is_count(extent))
            return refuse(s, at, "an extent or stride: an integer from 0 on", extent);
        out[i] = (uint64_t)extent->integer;
    }
    *rank = value->count;
    return 0;
}

/* How many elements lie between a tensor's first and what follows its last; 0 where it has none.
 *
 * returns  0, or -EOVERFLOW
 */
static int count_span(const uint64_t *shape, const uint64_t *strides, size_t rank, uint64_t *span)
{
    uint64_t reach;
    size_t i;

    *span = 1;
    for (i = 0; i < rank; i++) {
        if (shape[i] == 0) {
            *span = 0;
            return 0;
        }
        if (__builtin_mul_overflow(shape[i] - 1, strides[i], &reach) ||
            __builtin_add_overflow(*span, reach, span))
            return -EOVERFLOW;
    }
    return 0;
}

/* Do the strides say the same as none: row-major, without a gap? That of a single row is nowhere
 * used. */
static bool is_dense(const uint64_t *shape, const uint64_t *strides, size_t rank)
{
    uint64_t dense = 1;

    while (rank-- > 0) {
        if (shape[rank] != 1 && strides[rank] != dense)
            return false;
        dense *= shape[rank];
    }
    return true;
}

/* Find a tensor's bytes in its storage.
 *
 * first    element of the storage that the tensor begins with
 */
static int place_tensor(struct pytorch_state *s, const struct pickle_value *at,
                        const struct pickle_value *storage, uint64_t first, struct tensor *t)
{
    struct pytorch_storage_id id = {0};
    struct pytorch_place place = {0};
    uint64_t dense = 0, span = 0, element_bytes = dtype_block_bits(t->dtype) / 8, room, end;
    int res = pytorch_read_storage_id(s, storage, &id);

    if (res == 0)
        res = s->find(s, &id, s->pickle_offset + at->at, &place);
    if (res)
        return res;
    if (dtype_tensor_bytes(t->dtype, t->shape, t->rank, &dense) ||
        count_span(t->shape, t->strides, t->rank, &span))
        return input_error_set(s->error, -EINVAL, s->pickle_offset + at->at,
                               "a shape and strides of less than 2^64 bits", "larger ones");
    room = id.view_bytes / element_bytes;
    if (span && (__builtin_add_overflow(first, span, &end) || end > room))
        return input_error_set(
            s->error, -EINVAL, s->pickle_offset + at->at, "a tensor inside its storage",
            "%" PRIu64 " elements from %" PRIu64 " on in a storage of %" PRIu64, span, first, room);
    if (span == 0 && first > room)
        first = room;
    if (span == 0 || is_dense(t->shape, t->strides, t->rank))
        t->strides = NULL;
    t->offset = place.offset + id.view_offset + first * element_bytes;
    t->bytes = span * element_bytes;
    t->storage = place.storage;
    t->file = (uint32_t)s->file;
    return 0;
}

/* Refuse a tensor whose bytes are not its values: complex ones may be conjugated, and their parts
 * negated, when they are read. What is to be done is said in a dict, or nothing is.
 *
 * metadata  of the call that makes the tensor; may be NULL
 */
static int check_metadata(const struct pytorch_state *s, const struct pickle_value *at,
                          const struct pickle_value *metadata)
{
    uint32_t item;

    if (!metadata || metadata->kind != PICKLE_DICT)
        return 0;
    for (item = metadata->items.first; item != PICKLE_NONE; item = s->pickle->items[item].next) {
        const struct pickle_value *key = &s->pickle->values[s->pickle->items[item].key];
        const struct pickle_value *value = &s->pickle->values[s->pickle->items[item].value];

        if ((is_string(key, "conj") || is_string(key, "neg")) && value->kind == PICKLE_BOOL &&
            value->integer)
            return input_error_set(s->error, -EINVAL, s->pickle_offset + at->at,
                                   "a tensor whose bytes are its values; save it after "
                                   "resolve_conj() and resolve_neg()",
                                   "one that is %s when it is read",
                                   is_string(key, "conj") ? "conjugated" : "negated");
    }
    return 0;
}

int pytorch_read_tensor(struct pytorch_state *s, const struct pickle_value *value,
                        struct tensor *tensor, uint64_t *extents)
{
    const struct pickle_value *args = NULL, *storage, *class, *first, *dtype;
    enum pytorch_role role = PYTORCH_OPAQUE;
    size_t rank = 0, stride_count = 0;
    int res = unwrap(s, value, &role, &args);

    if (res)
        return res;
    storage = pickle_element(s->pickle, args, 0);
    first = pickle_element(s->pickle, args, 1);
    if (!storage || storage->kind != PICKLE_PERSISTENT)
        return refuse(s, value, "a storage that holds the tensor", storage);
    if (!is_count(first))
        return refuse(s, value, "an offset into the storage: an integer from 0 on", first);
    res = read_extents(s, value, pickle_element(s->pickle, args, 2), extents, &rank);
    if (res == 0)
        res = read_extents(s, value, pickle_element(s->pickle, args, 3), extents + PYTORCH_RANK_MAX,
                           &stride_count);
    if (res)
        return res;
    if (rank != stride_count)
        return input_error_set(s->error, -EINVAL, s->pickle_offset + value->at,
                               "as many strides as extents", "%zu and %zu", stride_count, rank);
    class = pickle_element(s->pickle, &s->pickle->values[storage->args], 1);
    dtype = role == PYTORCH_TENSOR_V3 ? pickle_element(s->pickle, args, 6) : class;
    if (!dtype || dtype->kind != PICKLE_GLOBAL ||
        pytorch_role_of(dtype) != (dtype == class ? PYTORCH_STORAGE : PYTORCH_DTYPE))
        return refuse(s, value, "a dtype such as torch.float32", dtype);
    res = check_metadata(s, value,
                         pickle_element(s->pickle, args, role == PYTORCH_TENSOR_V3 ? 7 : 6));
    if (res)
        return res;
    tensor->dtype = (uint16_t)pytorch_dtype_of(dtype);
    tensor->rank = (uint16_t)rank;
    tensor->shape = extents;
    tensor->strides = extents + PYTORCH_RANK_MAX;
    return place_tensor(s, value, storage, (uint64_t)first->integer, tensor);
}
