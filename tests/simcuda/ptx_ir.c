/* ptx_ir.c - the unit: its arena, its text and the way out on an error. */
#include "ptx_ir.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_BYTES ((size_t)64 * 1024)

struct ptx_chunk {
    struct ptx_chunk *next;
    size_t used, capacity;
    _Alignas(16) uint8_t bytes[];
};

static const struct {
    const char *name;
    uint8_t bytes;
    char class;
} g_types[PTX_TYPE_COUNT] = {[PTX_TYPE_NONE] = {"", 0, 0},
#define X(name, bytes, class) [PTX_##name] = {#name, bytes, class},
                             PTX_TYPES(X)
#undef X
};

unsigned ptx_type_bytes(enum ptx_type type)
{
    return g_types[type].bytes;
}

char ptx_type_class(enum ptx_type type)
{
    return g_types[type].class;
}

const char *ptx_type_name(enum ptx_type type)
{
    return g_types[type].name;
}

enum ptx_type ptx_type_find(const char *name)
{
    for (int i = PTX_TYPE_NONE + 1; i < PTX_TYPE_COUNT; i++)
        if (strcmp(g_types[i].name, name) == 0)
            return (enum ptx_type)i;
    return PTX_TYPE_NONE;
}

static void leave(struct ptx_unit *unit, int result)
{
    unit->result = result;
    longjmp(*unit->fail, 1);
}

void ptx_fail(struct ptx_unit *unit, int line, const char *format, ...)
{
    va_list args;
    int used;

    if (unit->log_bytes > 0) {
        used = snprintf(unit->log, unit->log_bytes, "ptx line %d: ", line);
        if (used >= 0 && (size_t)used < unit->log_bytes) {
            va_start(args, format);
            vsnprintf(unit->log + used, unit->log_bytes - (size_t)used, format, args);
            va_end(args);
        }
    }
    leave(unit, 218); /* CUDA_ERROR_INVALID_PTX */
    __builtin_unreachable();
}

void ptx_fail_with(struct ptx_unit *unit, int result, const char *format, ...)
{
    va_list args;

    if (unit->log_bytes > 0) {
        va_start(args, format);
        vsnprintf(unit->log, unit->log_bytes, format, args);
        va_end(args);
    }
    leave(unit, result);
    __builtin_unreachable();
}

void *ptx_alloc(struct ptx_unit *unit, size_t bytes)
{
    struct ptx_chunk *chunk = unit->chunks;
    void *out;

    bytes = (bytes + 15) & ~(size_t)15;
    if (!chunk || chunk->capacity - chunk->used < bytes) {
        size_t capacity = bytes > CHUNK_BYTES ? bytes : CHUNK_BYTES;

        chunk = calloc(1, sizeof(*chunk) + capacity);
        if (!chunk)
            ptx_fail_with(unit, 2, "ptx: out of host memory while translating");
        chunk->capacity = capacity;
        chunk->next = unit->chunks;
        unit->chunks = chunk;
    }
    out = chunk->bytes + chunk->used;
    chunk->used += bytes;
    return out;
}

char *ptx_strdup(struct ptx_unit *unit, const char *text, size_t bytes)
{
    char *out = ptx_alloc(unit, bytes + 1);

    memcpy(out, text, bytes);
    return out;
}

char *ptx_format(struct ptx_unit *unit, const char *format, ...)
{
    va_list args;
    int bytes;
    char *out;

    va_start(args, format);
    bytes = vsnprintf(NULL, 0, format, args);
    va_end(args);
    out = ptx_alloc(unit, (size_t)bytes + 1);
    va_start(args, format);
    vsnprintf(out, (size_t)bytes + 1, format, args);
    va_end(args);
    return out;
}

void *ptx_grow(struct ptx_unit *unit, void *items, unsigned count, unsigned *capacity,
               size_t item_bytes)
{
    void *grown;

    if (count < *capacity)
        return items;
    *capacity = *capacity ? *capacity * 2 : 8;
    grown = ptx_alloc(unit, *capacity * item_bytes);
    if (count)
        memcpy(grown, items, count * item_bytes);
    return grown;
}

void ptx_unit_free(struct ptx_unit *unit)
{
    while (unit->chunks) {
        struct ptx_chunk *next = unit->chunks->next;

        free(unit->chunks);
        unit->chunks = next;
    }
    free(unit->out.data);
    unit->out = (struct ptx_text){0};
}

static void reserve(struct ptx_unit *unit, size_t bytes)
{
    struct ptx_text *out = &unit->out;
    size_t capacity = out->capacity ? out->capacity : 64 * 1024;
    char *data;

    while (capacity - out->bytes < bytes)
        capacity *= 2;
    if (capacity == out->capacity)
        return;
    data = realloc(out->data, capacity);
    if (!data)
        ptx_fail_with(unit, 2, "ptx: out of host memory while translating");
    out->data = data;
    out->capacity = capacity;
}

void ptx_put(struct ptx_unit *unit, const char *format, ...)
{
    va_list args;
    int bytes;

    reserve(unit, 256);
    for (;;) {
        size_t room = unit->out.capacity - unit->out.bytes;

        va_start(args, format);
        bytes = vsnprintf(unit->out.data + unit->out.bytes, room, format, args);
        va_end(args);
        if ((size_t)bytes < room)
            break;
        reserve(unit, (size_t)bytes + 1);
    }
    unit->out.bytes += (size_t)bytes;
}

struct ptx_func *ptx_unit_func(struct ptx_unit *unit, const char *name)
{
    for (struct ptx_func *f = unit->funcs; f; f = f->next)
        if (strcmp(f->name, name) == 0)
            return f;
    return NULL;
}

struct ptx_var *ptx_unit_global(struct ptx_unit *unit, const char *name)
{
    for (struct ptx_var *v = unit->globals; v; v = v->next)
        if (strcmp(v->name, name) == 0)
            return v;
    return NULL;
}
