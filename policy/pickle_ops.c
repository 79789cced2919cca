#include "pickle_ops.h"
#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* Numbers and text ----------------------------------------------------------------------------- */

int pickle_op_proto(struct pickle_machine *m, const struct pickle_argument *argument)
{
    if (argument->number < 2 || argument->number > 5)
        return input_error_set(m->error, -EINVAL, m->base + m->at, "a pickle of protocol 2 to 5",
                               "protocol %" PRIu64, argument->number);
    return 0;
}

int pickle_op_frame(struct pickle_machine *m, const struct pickle_argument *argument)
{
    return argument->number > m->bytes - m->next ? pickle_machine_refuse_end(m, argument->number)
                                                 : 0;
}

int pickle_op_none(struct pickle_machine *m, const struct pickle_argument *argument)
{
    (void)argument;
    return pickle_machine_push(m, PICKLE_VALUE_NULL);
}

int pickle_op_newtrue(struct pickle_machine *m, const struct pickle_argument *argument)
{
    (void)argument;
    return pickle_machine_push(m, PICKLE_VALUE_TRUE);
}

int pickle_op_newfalse(struct pickle_machine *m, const struct pickle_argument *argument)
{
    (void)argument;
    return pickle_machine_push(m, PICKLE_VALUE_FALSE);
}

static int push_integer(struct pickle_machine *m, int64_t integer)
{
    return pickle_machine_push_new(
        m, (struct pickle_value){.kind = PICKLE_INTEGER, .integer = integer});
}

int pickle_op_unsigned(struct pickle_machine *m, const struct pickle_argument *argument)
{
    return push_integer(m, (int64_t)argument->number);
}

int pickle_op_binint(struct pickle_machine *m, const struct pickle_argument *argument)
{
    return push_integer(m, (int32_t)argument->number);
}

static int push_text(struct pickle_machine *m, enum pickle_kind kind,
                     const struct pickle_argument *argument)
{
    return pickle_machine_push_new(m, (struct pickle_value){.kind = (uint8_t)kind,
                                                            .count = (uint32_t)argument->number,
                                                            .text = (const char *)argument->text});
}

int pickle_op_long(struct pickle_machine *m, const struct pickle_argument *argument)
{
    uint64_t integer = 0;
    size_t i;

    if (argument->number > 8)
        return push_text(m, PICKLE_LONG, argument);
    for (i = 0; i < argument->number; i++)
        integer |= (uint64_t)argument->text[i] << 8 * i;
    if (i > 0 && i < 8 && argument->text[i - 1] & 0x80)
        integer |= UINT64_MAX << 8 * i;
    return push_integer(m, (int64_t)integer);
}

int pickle_op_binfloat(struct pickle_machine *m, const struct pickle_argument *argument)
{
    (void)argument;
    return pickle_machine_push_new(m, (struct pickle_value){.kind = PICKLE_FLOAT});
}

int pickle_op_string(struct pickle_machine *m, const struct pickle_argument *argument)
{
    return push_text(m, PICKLE_STRING, argument);
}

int pickle_op_bytes(struct pickle_machine *m, const struct pickle_argument *argument)
{
    return push_text(m, PICKLE_BYTES, argument);
}

/* Containers ----------------------------------------------------------------------------------- */

int pickle_op_mark(struct pickle_machine *m, const struct pickle_argument *argument)
{
    (void)argument;
    return pickle_machine_append(&m->marks, (uint32_t)m->stack.count)
               ? pickle_machine_refuse_memory(m)
               : 0;
}

int pickle_op_empty_tuple(struct pickle_machine *m, const struct pickle_argument *argument)
{
    (void)argument;
    return pickle_machine_push(m, PICKLE_VALUE_EMPTY_TUPLE);
}

/* Make a tuple of what was just taken from the stack and still lies there. */
static int push_tuple(struct pickle_machine *m, const uint32_t *values, size_t count)
{
    struct pickle *p = m->pickle;
    size_t first = p->element_count;
    uint32_t *larger;

    if (count == 0)
        return pickle_machine_push(m, PICKLE_VALUE_EMPTY_TUPLE);
    larger = pickle_machine_grow(p->elements, first, count, &m->element_room, sizeof(*larger));
    if (!larger)
        return pickle_machine_refuse_memory(m);
    p->elements = larger;
    memcpy(p->elements + first, values, count * sizeof(*values));
    p->element_count += count;
    return pickle_machine_push_new(m, (struct pickle_value){.kind = PICKLE_TUPLE,
                                                            .count = (uint32_t)count,
                                                            .elements = (uint32_t)first});
}

int pickle_op_tuple(struct pickle_machine *m, const struct pickle_argument *argument)
{
    const uint32_t *values = NULL;
    size_t count = 0;
    int res = pickle_machine_pop_mark(m, &values, &count);

    (void)argument;
    return res ? res : push_tuple(m, values, count);
}

static int push_short_tuple(struct pickle_machine *m, size_t count)
{
    int res = pickle_machine_need(m, count);

    if (res)
        return res;
    m->stack.count -= count;
    return push_tuple(m, m->stack.entries + m->stack.count, count);
}

int pickle_op_tuple1(struct pickle_machine *m, const struct pickle_argument *argument)
{
    (void)argument;
    return push_short_tuple(m, 1);
}

int pickle_op_tuple2(struct pickle_machine *m, const struct pickle_argument *argument)
{
    (void)argument;
    return push_short_tuple(m, 2);
}

int pickle_op_tuple3(struct pickle_machine *m, const struct pickle_argument *argument)
{
    (void)argument;
    return push_short_tuple(m, 3);
}

static int push_empty(struct pickle_machine *m, enum pickle_kind kind)
{
    return pickle_machine_push_new(
        m, (struct pickle_value){.kind = (uint8_t)kind, .items = {PICKLE_NONE, PICKLE_NONE}});
}

int pickle_op_empty_list(struct pickle_machine *m, const struct pickle_argument *argument)
{
    (void)argument;
    return push_empty(m, PICKLE_LIST);
}

int pickle_op_empty_dict(struct pickle_machine *m, const struct pickle_argument *argument)
{
    (void)argument;
    return push_empty(m, PICKLE_DICT);
}

int pickle_op_empty_set(struct pickle_machine *m, const struct pickle_argument *argument)
{
    (void)argument;
    return push_empty(m, PICKLE_SET);
}

static int append_item(struct pickle_machine *m, uint32_t container, uint32_t key, uint32_t value)
{
    struct pickle *p = m->pickle;
    struct pickle_value *to = pickle_machine_value(m, container);
    struct pickle_item *larger =
        pickle_machine_grow(p->items, p->item_count, 1, &m->item_room, sizeof(*larger));

    if (!larger)
        return pickle_machine_refuse_memory(m);
    p->items = larger;
    p->items[p->item_count] = (struct pickle_item){key, value, PICKLE_NONE};
    if (to->count == 0)
        to->items.first = (uint32_t)p->item_count;
    else
        p->items[to->items.last].next = (uint32_t)p->item_count;
    to->items.last = (uint32_t)p->item_count++;
    to->count++;
    return 0;
}

/* The container on top of the stack, which stays there. */
static int peek_container(struct pickle_machine *m, enum pickle_kind kind, uint32_t *container)
{
    const struct pickle_value *value;
    int res = pickle_machine_need(m, 1);

    if (res)
        return res;
    *container = m->stack.entries[m->stack.count - 1];
    value = pickle_machine_value(m, *container);
    if (value->kind == kind || (kind == PICKLE_DICT && value->kind == PICKLE_OBJECT &&
                                (m->globals[value->global].flags & PICKLE_IS_MAPPING)))
        return 0;
    return pickle_machine_refuse(m,
                                 kind == PICKLE_DICT   ? "a dict to set items of"
                                 : kind == PICKLE_LIST ? "a list to append to"
                                                       : "a set to add to",
                                 pickle_kind_name(value));
}

static int append_all(struct pickle_machine *m, const uint32_t *values, size_t count)
{
    uint32_t list = PICKLE_NONE;
    int res = peek_container(m, PICKLE_LIST, &list);
    size_t i;

    for (i = 0; i < count && res == 0; i++)
        res = append_item(m, list, PICKLE_NONE, values[i]);
    return res;
}

static int set_all(struct pickle_machine *m, const uint32_t *values, size_t count)
{
    uint32_t dict = PICKLE_NONE;
    int res = peek_container(m, PICKLE_DICT, &dict);
    size_t i;

    if (res == 0 && count % 2 != 0)
        return pickle_machine_refuse(m, "keys and values in pairs", "a key without a value");
    for (i = 0; i < count && res == 0; i += 2)
        res = append_item(m, dict, values[i], values[i + 1]);
    return res;
}

int pickle_op_append(struct pickle_machine *m, const struct pickle_argument *argument)
{
    int res = pickle_machine_need(m, 2);

    (void)argument;
    if (res)
        return res;
    m->stack.count--;
    return append_all(m, m->stack.entries + m->stack.count, 1);
}

int pickle_op_appends(struct pickle_machine *m, const struct pickle_argument *argument)
{
    const uint32_t *values = NULL;
    size_t count = 0;
    int res = pickle_machine_pop_mark(m, &values, &count);

    (void)argument;
    return res ? res : append_all(m, values, count);
}

int pickle_op_setitem(struct pickle_machine *m, const struct pickle_argument *argument)
{
    int res = pickle_machine_need(m, 3);

    (void)argument;
    if (res)
        return res;
    m->stack.count -= 2;
    return set_all(m, m->stack.entries + m->stack.count, 2);
}

int pickle_op_setitems(struct pickle_machine *m, const struct pickle_argument *argument)
{
    const uint32_t *values = NULL;
    size_t count = 0;
    int res = pickle_machine_pop_mark(m, &values, &count);

    (void)argument;
    return res ? res : set_all(m, values, count);
}

int pickle_op_additems(struct pickle_machine *m, const struct pickle_argument *argument)
{
    const uint32_t *values = NULL;
    size_t count = 0;
    uint32_t set = PICKLE_NONE;
    int res = pickle_machine_pop_mark(m, &values, &count);

    (void)argument;
    return res ? res : peek_container(m, PICKLE_SET, &set);
}

int pickle_op_frozenset(struct pickle_machine *m, const struct pickle_argument *argument)
{
    const uint32_t *values = NULL;
    size_t count = 0;
    int res = pickle_machine_pop_mark(m, &values, &count);

    (void)argument;
    return res ? res : push_empty(m, PICKLE_SET);
}

/* Globals and objects -------------------------------------------------------------------------- */

static bool is_text(const char *word, const char *text, size_t bytes)
{
    return strlen(word) == bytes && memcmp(word, text, bytes) == 0;
}

static int push_global(struct pickle_machine *m, const char *module, size_t module_bytes,
                       const char *name, size_t name_bytes)
{
    size_t i;

    for (i = 0; i < m->global_count; i++) {
        if (is_text(m->globals[i].module, module, module_bytes) &&
            is_text(m->globals[i].name, name, name_bytes))
            return pickle_machine_push_new(
                m, (struct pickle_value){.kind = PICKLE_GLOBAL, .global = (uint16_t)i});
    }
    return input_error_set(m->error, -EINVAL, m->base + m->at,
                           "a global that state dicts need, such as collections.OrderedDict",
                           "\"%.*s.%.*s\"", (int)module_bytes, module, (int)name_bytes, name);
}

int pickle_op_global(struct pickle_machine *m, const struct pickle_argument *argument)
{
    const char *module = (const char *)argument->text;
    const char *name = (const char *)memchr(module, '\n', argument->number) + 1;
    const char *end = module + argument->number - 1; /* the second newline */

    return push_global(m, module, (size_t)(name - 1 - module), name, (size_t)(end - name));
}

int pickle_op_stack_global(struct pickle_machine *m, const struct pickle_argument *argument)
{
    const struct pickle_value *module, *name;
    int res = pickle_machine_need(m, 2);

    (void)argument;
    if (res)
        return res;
    name = pickle_machine_value(m, pickle_machine_pop(m));
    module = pickle_machine_value(m, pickle_machine_pop(m));
    if (module->kind != PICKLE_STRING || name->kind != PICKLE_STRING ||
        module->count > PICKLE_NAME_BYTES_MAX || name->count > PICKLE_NAME_BYTES_MAX)
        return pickle_machine_refuse(
            m, "a global's module and name, strings of at most 255 bytes",
            pickle_kind_name(module->kind == PICKLE_STRING ? name : module));
    return push_global(m, module->text, module->count, name->text, name->count);
}

int pickle_op_reduce(struct pickle_machine *m, const struct pickle_argument *argument)
{
    const struct pickle_value *callable;
    uint32_t args;
    int res = pickle_machine_need(m, 2);

    (void)argument;
    if (res)
        return res;
    args = pickle_machine_pop(m);
    callable = pickle_machine_value(m, pickle_machine_pop(m));
    if (callable->kind != PICKLE_GLOBAL || !(m->globals[callable->global].flags & PICKLE_MAY_CALL))
        return pickle_machine_refuse(m, "a function or class of state dicts to be called",
                                     callable->kind == PICKLE_GLOBAL
                                         ? m->globals[callable->global].name
                                         : pickle_kind_name(callable));
    if (pickle_machine_value(m, args)->kind != PICKLE_TUPLE)
        return pickle_machine_refuse(m, "a tuple of arguments",
                                     pickle_kind_name(pickle_machine_value(m, args)));
    return pickle_machine_push_new(m, (struct pickle_value){.kind = PICKLE_OBJECT,
                                                            .global = callable->global,
                                                            .args = args,
                                                            .items = {PICKLE_NONE, PICKLE_NONE}});
}

/* An object's state (a dict's _metadata) says nothing of its tensors. */
int pickle_op_build(struct pickle_machine *m, const struct pickle_argument *argument)
{
    const struct pickle_value *object;
    int res = pickle_machine_need(m, 2);

    (void)argument;
    if (res)
        return res;
    pickle_machine_pop(m);
    object = pickle_machine_value(m, m->stack.entries[m->stack.count - 1]);
    if (object->kind != PICKLE_OBJECT)
        return pickle_machine_refuse(m, "an object that is given its state",
                                     pickle_kind_name(object));
    return 0;
}

int pickle_op_binpersid(struct pickle_machine *m, const struct pickle_argument *argument)
{
    uint32_t id;
    int res = pickle_machine_need(m, 1);

    (void)argument;
    if (res)
        return res;
    id = pickle_machine_pop(m);
    if (pickle_machine_value(m, id)->kind != PICKLE_TUPLE)
        return pickle_machine_refuse(m, "a persistent id, a tuple",
                                     pickle_kind_name(pickle_machine_value(m, id)));
    return pickle_machine_push_new(m, (struct pickle_value){.kind = PICKLE_PERSISTENT, .args = id});
}

/* The memo ------------------------------------------------------------------------------------- */

/* Number what is on top of the stack. Who writes pickles counts from 0 or 1 on, so that a number is
 * never above the count of bytes before it. */
static int memoize(struct pickle_machine *m, uint64_t number)
{
    int res = pickle_machine_need(m, 1);

    if (res)
        return res;
    if (number > m->at)
        return input_error_set(m->error, -EINVAL, m->base + m->at,
                               "a memo number that is no larger than the bytes before it",
                               "%" PRIu64, number);
    while (m->memo.count <= number) {
        if (pickle_machine_append(&m->memo, PICKLE_NONE))
            return pickle_machine_refuse_memory(m);
    }
    m->memo_used += m->memo.entries[number] == PICKLE_NONE;
    m->memo.entries[number] = m->stack.entries[m->stack.count - 1];
    return 0;
}

int pickle_op_put(struct pickle_machine *m, const struct pickle_argument *argument)
{
    return memoize(m, argument->number);
}

int pickle_op_memoize(struct pickle_machine *m, const struct pickle_argument *argument)
{
    (void)argument;
    return memoize(m, m->memo_used);
}

int pickle_op_get(struct pickle_machine *m, const struct pickle_argument *argument)
{
    if (argument->number >= m->memo.count || m->memo.entries[argument->number] == PICKLE_NONE)
        return input_error_set(m->error, -EINVAL, m->base + m->at,
                               "the number of a value in the memo", "%" PRIu64, argument->number);
    return pickle_machine_push(m, m->memo.entries[argument->number]);
}

int pickle_op_stop(struct pickle_machine *m, const struct pickle_argument *argument)
{
    (void)argument;
    if (m->stack.count != 1 || m->marks.count != 0)
        return pickle_machine_refuse(m, "one value on the stack at STOP",
                                     m->stack.count == 0 ? "none" : "more, or a MARK");
    m->pickle->root = pickle_machine_pop(m);
    m->pickle->bytes = m->next;
    m->stopped = true;
    return 0;
}
