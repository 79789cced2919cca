#include "pickle_machine.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

int pickle_machine_refuse_memory(const struct pickle_machine *m)
{
    return input_error_set(m->error, -ENOMEM, m->base + m->at, "memory for the pickle's values",
                           "none left");
}

int pickle_machine_refuse(const struct pickle_machine *m, const char *expected, const char *found)
{
    return input_error_set(m->error, -EINVAL, m->base + m->at, expected, "%s", found);
}

int pickle_machine_refuse_end(const struct pickle_machine *m, uint64_t wanted)
{
    return input_error_set(
        m->error, -ENODATA, m->base + m->next, "a pickle that ends with STOP inside its file",
        "%zu bytes where %" PRIu64 " more were announced", m->bytes - m->next, wanted);
}

/* Memory --------------------------------------------------------------------------------------- */

void *pickle_machine_grow(void *array, size_t count, size_t more, size_t *room, size_t entry_bytes)
{
    size_t wanted = *room ? *room : 64;
    void *larger;

    if (more <= *room - count)
        return array;
    while (wanted - count < more)
        wanted *= 2;
    larger = reallocarray(array, wanted, entry_bytes);
    if (larger)
        *room = wanted;
    return larger;
}

int pickle_machine_append(struct pickle_numbers *numbers, uint32_t number)
{
    uint32_t *larger =
        pickle_machine_grow(numbers->entries, numbers->count, 1, &numbers->room, sizeof(*larger));

    if (!larger)
        return -ENOMEM;
    numbers->entries = larger;
    numbers->entries[numbers->count++] = number;
    return 0;
}

/* The stack ------------------------------------------------------------------------------------ */

int pickle_machine_push(struct pickle_machine *m, uint32_t value)
{
    return pickle_machine_append(&m->stack, value) ? pickle_machine_refuse_memory(m) : 0;
}

int pickle_machine_push_new(struct pickle_machine *m, struct pickle_value value)
{
    struct pickle *p = m->pickle;
    struct pickle_value *larger =
        pickle_machine_grow(p->values, p->value_count, 1, &m->value_room, sizeof(*larger));

    if (!larger)
        return pickle_machine_refuse_memory(m);
    p->values = larger;
    value.at = (uint32_t)m->at;
    p->values[p->value_count] = value;
    return pickle_machine_push(m, (uint32_t)p->value_count++);
}

/* What lies on the stack above the last mark. */
static size_t count_loose(const struct pickle_machine *m)
{
    return m->stack.count - (m->marks.count ? m->marks.entries[m->marks.count - 1] : 0);
}

struct pickle_value *pickle_machine_value(const struct pickle_machine *m, uint32_t index)
{
    return &m->pickle->values[index];
}

int pickle_machine_need(const struct pickle_machine *m, size_t count)
{
    if (count_loose(m) < count)
        return pickle_machine_refuse(m, "values on the stack for this opcode", "too few of them");
    return 0;
}

uint32_t pickle_machine_pop(struct pickle_machine *m)
{
    return m->stack.entries[--m->stack.count];
}

int pickle_machine_pop_mark(struct pickle_machine *m, const uint32_t **values, size_t *count)
{
    if (m->marks.count == 0)
        return pickle_machine_refuse(m, "a MARK before this opcode", "none");
    *count = count_loose(m);
    m->marks.count--;
    m->stack.count -= *count;
    *values = m->stack.entries + m->stack.count;
    return 0;
}
