#include "pickle.h"
#include "pickle_ops.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct opcode {
    int (*run)(struct pickle_machine *m, const struct pickle_argument *argument);
    int follows;
};

static const struct opcode g_opcodes[256] = {
#define X(code, follows, run) [code] = {run, follows},
    PICKLE_OPCODES(X)
#undef X
};

/* Take two lines: a global's module and its name. */
static int take_lines(struct pickle_machine *m, struct pickle_argument *argument)
{
    const unsigned char *at = m->data + m->next, *end;
    size_t line, left;

    argument->text = at;
    for (line = 0; line < 2; line++) {
        left = m->bytes - m->next;
        end = memchr(at, '\n', left < PICKLE_NAME_BYTES_MAX + 1 ? left : PICKLE_NAME_BYTES_MAX + 1);
        if (!end && left <= PICKLE_NAME_BYTES_MAX)
            return pickle_machine_refuse_end(m, PICKLE_NAME_BYTES_MAX + 1);
        if (!end)
            return pickle_machine_refuse(m, "a global's module and name, of at most 255 bytes",
                                         "a longer line");
        m->next += (size_t)(end + 1 - at);
        at = end + 1;
    }
    argument->number = (uint64_t)(at - argument->text);
    return 0;
}

/* Take what follows an opcode; all that is read of a pickle is checked here against its end. */
static int take_argument(struct pickle_machine *m, int follows, struct pickle_argument *argument)
{
    size_t width = follows == PICKLE_LINES ? 0 : (size_t)(follows & ~PICKLE_TEXT_BEHIND), i;

    if (follows == PICKLE_LINES)
        return take_lines(m, argument);
    if (width > m->bytes - m->next)
        return pickle_machine_refuse_end(m, width);
    argument->number = 0;
    for (i = 0; i < width; i++)
        argument->number |= (uint64_t)m->data[m->next + i] << 8 * i;
    m->next += width;
    if (!(follows & PICKLE_TEXT_BEHIND))
        return 0;
    if (argument->number > m->bytes - m->next)
        return pickle_machine_refuse_end(m, argument->number);
    argument->text = m->data + m->next;
    m->next += argument->number;
    return 0;
}

static int step(struct pickle_machine *m)
{
    struct pickle_argument argument = {0};
    const struct opcode *opcode;
    int res;

    m->at = m->next;
    if (m->at == m->bytes)
        return pickle_machine_refuse_end(m, 1);
    opcode = &g_opcodes[m->data[m->next++]];
    if (!opcode->run)
        return input_error_set(m->error, -EINVAL, m->base + m->at,
                               "an opcode that state dicts need", "0x%02x", m->data[m->at]);
    res = take_argument(m, opcode->follows, &argument);
    return res ? res : opcode->run(m, &argument);
}

static int begin(struct pickle_machine *m)
{
    struct pickle *p;

    m->pickle = p = calloc(1, sizeof(*m->pickle));
    if (!p)
        return pickle_machine_refuse_memory(m);
    p->values =
        pickle_machine_grow(NULL, 0, PICKLE_VALUE_FIRST, &m->value_room, sizeof(*p->values));
    m->stack.entries = pickle_machine_grow(NULL, 0, 1, &m->stack.room, sizeof(*m->stack.entries));
    if (!p->values || !m->stack.entries)
        return pickle_machine_refuse_memory(m);
    p->values[PICKLE_VALUE_NULL] = (struct pickle_value){.kind = PICKLE_NULL};
    p->values[PICKLE_VALUE_FALSE] = (struct pickle_value){.kind = PICKLE_BOOL};
    p->values[PICKLE_VALUE_TRUE] = (struct pickle_value){.kind = PICKLE_BOOL, .integer = 1};
    p->values[PICKLE_VALUE_EMPTY_TUPLE] = (struct pickle_value){.kind = PICKLE_TUPLE};
    p->value_count = PICKLE_VALUE_FIRST;
    return 0;
}

int pickle_read(const void *data, size_t bytes, uint64_t base, const struct pickle_global *globals,
                size_t global_count, struct pickle **out, struct input_error *error)
{
    struct pickle_machine m = {.data = data,
                               .bytes = bytes < PICKLE_BYTES_MAX ? bytes : PICKLE_BYTES_MAX,
                               .base = base,
                               .globals = globals,
                               .global_count = global_count,
                               .error = error};
    int res = begin(&m);

    while (res == 0 && !m.stopped)
        res = step(&m);
    free(m.stack.entries);
    free(m.marks.entries);
    free(m.memo.entries);
    if (res) {
        pickle_free(m.pickle);
        return res;
    }
    *out = m.pickle;
    return 0;
}

void pickle_free(struct pickle *pickle)
{
    if (!pickle)
        return;
    free(pickle->values);
    free(pickle->elements);
    free(pickle->items);
    free(pickle);
}

const struct pickle_value *pickle_element(const struct pickle *pickle,
                                          const struct pickle_value *value, size_t index)
{
    if (value->kind != PICKLE_TUPLE || index >= value->count)
        return NULL;
    return &pickle->values[pickle->elements[value->elements + index]];
}

const char *pickle_kind_name(const struct pickle_value *value)
{
    static const char *const names[] = {
        [PICKLE_NULL] = "None",
        [PICKLE_BOOL] = "a bool",
        [PICKLE_INTEGER] = "an integer",
        [PICKLE_LONG] = "an integer beyond 64 bits",
        [PICKLE_FLOAT] = "a float",
        [PICKLE_STRING] = "a string",
        [PICKLE_BYTES] = "bytes",
        [PICKLE_TUPLE] = "a tuple",
        [PICKLE_LIST] = "a list",
        [PICKLE_DICT] = "a dict",
        [PICKLE_SET] = "a set",
        [PICKLE_GLOBAL] = "a global",
        [PICKLE_PERSISTENT] = "a storage",
        [PICKLE_OBJECT] = "an object",
    };

    return names[value->kind];
}
