/* pickle.h - what a pickle says, without doing any of it.
 *
 * A pickle is a program for a stack machine; Python's own runs it with every function that it
 * names. This one knows the opcodes that state dicts need, calls nothing, imports nothing, and
 * makes a table of values: a call of a function that its user listed becomes an object with its
 * arguments, any other name is refused. Time and memory are in proportion to the pickle's length.
 *
 * source   pickletools.py of CPython, protocols 2 to 5
 */
#ifndef BERTH_POLICY_PICKLE_H
#define BERTH_POLICY_PICKLE_H

#include "error.h"

#define PICKLE_BYTES_MAX 67108864u  /* some hundred thousand tensors */
#define PICKLE_NONE      UINT32_MAX /* no such value, no further item */

/* What may be done with a global, or'ed. */
#define PICKLE_MAY_CALL   0x1u
#define PICKLE_IS_MAPPING 0x2u /* what its call makes takes items as a dict does */

/* A global that a pickle may name. */
struct pickle_global {
    const char *module, *name;
    unsigned flags; /* PICKLE_*; 0 for one that only stands for itself: a class, a dtype */
};

enum pickle_kind {
    PICKLE_NULL, /* Python's None */
    PICKLE_BOOL,
    PICKLE_INTEGER,
    PICKLE_LONG, /* an integer beyond 64 bits: its bytes, little-endian, two's complement */
    PICKLE_FLOAT,
    PICKLE_STRING,
    PICKLE_BYTES,
    PICKLE_TUPLE,
    PICKLE_LIST,
    PICKLE_DICT,
    PICKLE_SET, /* without its members */
    PICKLE_GLOBAL,
    PICKLE_PERSISTENT, /* what the pickle's owner keeps elsewhere, under an id */
    PICKLE_OBJECT,     /* what a call would have made */
};

struct pickle_value {
    uint8_t kind;    /* enum pickle_kind */
    uint16_t global; /* GLOBAL, OBJECT: index in the table of globals */
    uint32_t at;     /* of the opcode that made it, from the start of the pickle */
    uint32_t count;  /* bytes of text; elements of a tuple; items of a list, a dict or an object */
    uint32_t args;   /* OBJECT: its arguments, a tuple; PERSISTENT: its id, a tuple */
    union {
        int64_t integer;   /* BOOL, INTEGER */
        const char *text;  /* STRING, BYTES, LONG: in the pickle; not terminated */
        uint32_t elements; /* TUPLE: the first in pickle.elements */
        struct {
            uint32_t first, last; /* LIST, DICT, OBJECT: in pickle.items; PICKLE_NONE where empty */
        } items;
    };
};

/* One item of a list or of a dict, in the order in which they came. */
struct pickle_item {
    uint32_t key; /* PICKLE_NONE in a list */
    uint32_t value;
    uint32_t next; /* in pickle.items, or PICKLE_NONE */
};

struct pickle {
    struct pickle_value *values;
    uint32_t *elements; /* of tuples: indexes of values */
    struct pickle_item *items;
    size_t value_count, element_count, item_count;
    uint32_t root; /* the value that the pickle stands for */
    size_t bytes;  /* the pickle's length: what follows is not its own */
};

/* Read a pickle.
 *
 * data     bytes of it, perhaps more; must stay as long as the result, which refers to it
 * base     where it begins in its file: offsets in errors count from there
 * globals  global_count of them, fewer than 65536
 * out      set on success only. Values may be shared, and one may contain itself
 * error    filled on failure, but for the file's name
 * returns  0; -EINVAL where the content is refused; -ENODATA where it goes on after the last byte;
 *          -ENOMEM
 * owner    the caller frees *out with pickle_free()
 */
int pickle_read(const void *data, size_t bytes, uint64_t base, const struct pickle_global *globals,
                size_t global_count, struct pickle **out, struct input_error *error);

/* Free a pickle. NULL is allowed. */
void pickle_free(struct pickle *pickle);

/* An element of a tuple.
 *
 * returns  NULL where value is no tuple or shorter
 */
const struct pickle_value *pickle_element(const struct pickle *pickle,
                                          const struct pickle_value *value, size_t index);

/* What a value is, in a word: "a string". For lines that refuse it. */
const char *pickle_kind_name(const struct pickle_value *value);

#endif
