/* pickle_machine.h - the stack machine of pickle.c: its state and how values get on and off its
 * stack.
 *
 * Every opcode takes at least one byte of the pickle and makes at most one value, so that memory is
 * bounded by the pickle's length. No opcode reaches below the last mark.
 */
#ifndef BERTH_POLICY_PICKLE_MACHINE_H
#define BERTH_POLICY_PICKLE_MACHINE_H

#include "pickle.h"
#include <stdbool.h>

#define PICKLE_NAME_BYTES_MAX 255u /* of a global's module and of its name */

/* Values that every pickle has, so that the opcodes for them need no memory. */
enum {
    PICKLE_VALUE_NULL,
    PICKLE_VALUE_FALSE,
    PICKLE_VALUE_TRUE,
    PICKLE_VALUE_EMPTY_TUPLE,
    PICKLE_VALUE_FIRST
};

struct pickle_numbers {
    uint32_t *entries;
    size_t count, room;
};

struct pickle_machine {
    const unsigned char *data;
    size_t bytes;
    size_t at;   /* of the opcode at hand */
    size_t next; /* of what follows it */
    uint64_t base;
    const struct pickle_global *globals;
    size_t global_count;
    struct pickle *pickle;
    size_t value_room, element_room, item_room;
    struct pickle_numbers stack; /* of values */
    struct pickle_numbers marks; /* how high the stack was at each mark */
    struct pickle_numbers
        memo; /* values by the pickle's numbers; PICKLE_NONE where there is none */
    size_t memo_used;
    bool stopped;
    struct input_error *error;
};

/* What follows an opcode. */
struct pickle_argument {
    uint64_t number;           /* of a fixed width, or the length of text */
    const unsigned char *text; /* in the pickle */
};

/* Refuse the opcode at hand: -EINVAL, -ENODATA where the pickle ends although wanted more bytes
 * were announced, -ENOMEM. */
int pickle_machine_refuse(const struct pickle_machine *m, const char *expected, const char *found);
int pickle_machine_refuse_end(const struct pickle_machine *m, uint64_t wanted);
int pickle_machine_refuse_memory(const struct pickle_machine *m);

/* Make room for more entries of an array, which grows by doubling.
 *
 * array    a malloc()ed array of room entries or NULL; count of them are used
 * more     at least 1
 * returns  the array, perhaps elsewhere, or NULL with the old one left as it was
 */
void *pickle_machine_grow(void *array, size_t count, size_t more, size_t *room, size_t entry_bytes);

/* Add a number to an array.
 *
 * returns  0 or -ENOMEM
 */
int pickle_machine_append(struct pickle_numbers *numbers, uint32_t number);

/* Put a value on the stack: one that is there already, or a new one.
 *
 * returns  0; -ENOMEM and the error filled
 */
int pickle_machine_push(struct pickle_machine *m, uint32_t value);
int pickle_machine_push_new(struct pickle_machine *m, struct pickle_value value);

/* The value of an index; valid until the next value is made. */
struct pickle_value *pickle_machine_value(const struct pickle_machine *m, uint32_t index);

/* Check that so many values lie above the last mark. */
int pickle_machine_need(const struct pickle_machine *m, size_t count);

/* Take the topmost value, which is known to be there. */
uint32_t pickle_machine_pop(struct pickle_machine *m);

/* Take the last mark away, and all that lies above it.
 *
 * values   gets count values, which stay there until the next push
 */
int pickle_machine_pop_mark(struct pickle_machine *m, const uint32_t **values, size_t *count);

#endif
