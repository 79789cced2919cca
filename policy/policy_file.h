/* policy_file.h - what the user wants: budgets, placement, backend, checkpoint.
 *
 * A policy comes from a JSON file (policy.schema.json describes it), from flags, or from both.
 * Nothing is guessed: an unknown field, a value out of bounds or a repeated key refuses the whole
 * file, for a misread budget is worse than none.
 */
#ifndef BERTH_POLICY_POLICY_FILE_H
#define BERTH_POLICY_POLICY_FILE_H

#include "error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define POLICY_VERSION     1
#define POLICY_DEVICES_MAX 64         /* GPU indexes 0 to 63 */
#define POLICY_UNSET       UINT64_MAX /* a budget that nobody gave */
#define POLICY_BYTES_MAX   16777216   /* a policy file is smaller */

/* Where a weight lives between uses: a GPU index from 0 on, or one of these. */
enum policy_place {
    POLICY_CPU = -1,     /* pinned host memory */
    POLICY_DISK = -2,    /* the checkpoint's file */
    POLICY_NOWHERE = -3, /* no entry of the map covers it */
};

/* word     as --backend and the policy file have it */
#define POLICY_BACKENDS(X)                                                                         \
    X(AUTO, auto)                                                                                  \
    X(UM, um)                                                                                      \
    X(VMM, vmm)                                                                                    \
    X(OFF, off)

enum policy_backend {
#define X(name, word) POLICY_BACKEND_##name,
    POLICY_BACKENDS(X)
#undef X
        POLICY_BACKEND_COUNT
};

/* Budgets, POLICY_UNSET where there is none. */
struct policy_memory {
    uint64_t device_bytes[POLICY_DEVICES_MAX];
    uint64_t cpu_bytes;
};

struct policy_map_entry {
    char *prefix; /* a module or a tensor; "" is the root */
    int place;    /* a GPU index or enum policy_place */
};

struct policy_map {
    struct policy_map_entry *entries; /* in strcmp() order of the prefixes */
    size_t count;
};

struct policy {
    struct policy_memory max_memory;
    struct policy_map map;
    char *checkpoint; /* usable from the current folder; NULL where none was given */
    enum policy_backend backend;
    bool backend_given;   /* a flag or the environment decides where it is not */
    bool strict;          /* what cannot be done as asked is an error, not a warning */
    bool offload_buffers; /* page allocations that no checkpoint explains */
};

/* Read a policy file, or a bare Hugging Face device map.
 *
 * path     of the file; a relative "checkpoint" counts from its folder
 * out      set on success only
 * error    filled on failure: one line with line and column
 * returns  0; -EINVAL where the content is refused; -ENOMEM; else what the file system said
 * owner    the caller frees *out with policy_free()
 */
int policy_read(const char *path, struct policy **out, struct input_error *error);

/* The same from memory.
 *
 * text     bytes of it; need not be terminated
 * path     what the text is called in errors; a relative "checkpoint" counts from its folder
 */
int policy_parse(const char *text, size_t bytes, const char *path, struct policy **out,
                 struct input_error *error);

/* A policy that wants nothing: no budget, no map, backend auto.
 *
 * returns  NULL when out of memory
 * owner    the caller frees it with policy_free()
 */
struct policy *policy_new(void);

/* Free a policy. NULL is allowed. */
void policy_free(struct policy *policy);

/* For error messages: the devices that have a budget. */
#define POLICY_MEMORY_DEVICES "a GPU index from 0 to 63 or cpu"

/* Find the budget of a device: "0", "cuda:0", "cpu".
 *
 * returns  a place in memory; NULL where there is no such device
 */
uint64_t *policy_memory_find(struct policy_memory *memory, const char *device);

/* Make every budget unset. */
void policy_memory_clear(struct policy_memory *memory);

/* Add the budgets of a flag or an environment variable: "0=8GiB,cpu=64GiB".
 *
 * text     devices are 0, 1, ..., cuda:0, ... and cpu; sizes are size_parse()'s, plain bytes too
 * memory   gets the budgets; a device that has one already is refused, so that a flag cannot
 *          silently contradict its repetition
 * error    filled on failure; its file is ""
 * returns  0 or -EINVAL; on failure memory is as it was
 */
int policy_parse_max_memory(const char *text, struct policy_memory *memory,
                            struct input_error *error);

/* Let the budgets that are set in one replace those in another: flags before the file.
 *
 * memory   is changed
 * stronger wins where it is set
 */
void policy_memory_override(struct policy_memory *memory, const struct policy_memory *stronger);

/* Read the word for a backend.
 *
 * returns  0; -EINVAL and error, with the nearest word
 */
int policy_parse_backend(const char *text, enum policy_backend *out, struct input_error *error);

/* The word for a backend: "um". */
const char *policy_backend_name(enum policy_backend backend);

/* Read the word for a place as device maps have it: "cpu", "disk", "cuda", "cuda:1".
 *
 * place    set on success only; "cuda" is GPU 0
 * returns  0 or -EINVAL
 */
int policy_parse_place(const char *text, int *place);

/* Put the entries of a map that was filled by hand into the order that policy_resolve() needs. */
void policy_map_sort(struct policy_map *map);

/* Where a tensor lives by the map: its longest prefix that ends at a dot or at the name's end.
 *
 * name     a tensor or module: "model.layers.1.mlp.weight"; layers.1 does not cover layers.10
 * returns  a GPU index, POLICY_CPU, POLICY_DISK, or POLICY_NOWHERE. Takes O(dots * log n)
 */
int policy_resolve(const struct policy_map *map, const char *name);

#endif
