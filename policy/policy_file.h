/* policy_file.h - what the user wants: budgets, placement, units, groups, backend, checkpoint.
 *
 * A policy comes from a JSON file (policy.schema.json describes it), from flags, or from both.
 * Taken as they are, too: a bare device map or max_memory dictionary, in JSON or as Python prints
 * it. Nothing is guessed: an unknown field, a value out of bounds or a repeated key refuses the
 * whole file, for a misread budget is worse than none.
 */
#ifndef BERTH_POLICY_POLICY_FILE_H
#define BERTH_POLICY_POLICY_FILE_H

#include "dtype.h"
#include "error.h"
#include "load_dtype.h"
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
    X(OFF, off)

enum policy_backend {
#define X(name, word) POLICY_BACKEND_##name,
    POLICY_BACKENDS(X)
#undef X
        POLICY_BACKEND_COUNT
};

/* A dtype that weights take on when they are loaded, as torch calls it, "torch." before it or not.
 *
 * word     in the policy file
 * dtype    without DTYPE_
 */
#define POLICY_DTYPES(X)                                                                           \
    X(float64, F64)                                                                                \
    X(float32, F32)                                                                                \
    X(float16, F16)                                                                                \
    X(bfloat16, BF16)                                                                              \
    X(float8_e4m3fn, F8_E4M3)                                                                      \
    X(float8_e5m2, F8_E5M2)                                                                        \
    X(int8, I8)                                                                                    \
    X(uint8, U8)

/* Budgets, POLICY_UNSET where there is none. */
struct policy_memory {
    uint64_t device_bytes[POLICY_DEVICES_MAX];
    uint64_t cpu_bytes;
    uint64_t disk_bytes;
};

struct policy_map_entry {
    char *prefix;   /* a module or a tensor; "" is the root */
    int place;      /* a GPU index or enum policy_place */
    uint32_t order; /* where it stands in the file, from 0 */
};

struct policy_map {
    struct policy_map_entry *entries; /* in strcmp() order of the prefixes */
    size_t count;
};

/* Names or patterns (pattern.h), in the file's order; none is "". */
struct policy_names {
    char **names;
    size_t count;
};

/* A part of the model that stays in VRAM until another group runs. */
struct policy_group {
    char *name;
    struct policy_names patterns; /* of modules and tensors; at least one */
};

struct policy {
    struct policy_memory max_memory;
    struct policy_map map;
    struct policy_names no_split;         /* patterns of modules that are placed as a whole */
    struct policy_names no_split_classes; /* the same by the class name of the module */
    struct policy_names *tied;            /* tied_count groups of two or more names of one tensor */
    size_t tied_count;
    struct policy_names preload; /* patterns: the first touch of a unit loads all of it */
    struct policy_group *groups; /* in the file's order */
    size_t group_count;
    char *checkpoint;     /* usable from the current folder; NULL where none was given */
    char *offload_folder; /* likewise */
    enum policy_backend backend;
    enum dtype dtype;                    /* DTYPE_COUNT where weights keep the checkpoint's */
    struct load_special *special_dtypes; /* what some weights have instead, in the file's order */
    size_t special_dtype_count;
    bool no_split_given;  /* else every repeated block is a unit; given and empty: none is */
    bool backend_given;   /* a flag or the environment decides where it is not */
    bool strict;          /* what cannot be done as asked is an error, not a warning */
    bool offload_buffers; /* page allocations that no checkpoint explains */
};

/* Read a policy file, or a bare Hugging Face device map or max_memory dictionary.
 *
 * path     of the file; a relative "checkpoint" or "offload_folder" counts from its folder
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

/* Read a policy file and say everything that is wrong with it, not only the first.
 *
 * errors   gets the first room errors, in the file's order; room is at least 1
 * count    set on failure: how many errors were filled. Where text is no JSON that is one
 */
int policy_read_errors(const char *path, struct policy **out, struct input_error *errors,
                       size_t room, size_t *count);

/* The same from memory. */
int policy_parse_errors(const char *text, size_t bytes, const char *path, struct policy **out,
                        struct input_error *errors, size_t room, size_t *count);

/* A policy that wants nothing: no budget, no map, backend auto.
 *
 * returns  NULL when out of memory
 * owner    the caller frees it with policy_free()
 */
struct policy *policy_new(void);

/* Add a special dtype behind those that a policy has.
 *
 * pattern  bytes of it, at least 1; need not be terminated
 * returns  0 or -ENOMEM
 */
int policy_add_special_dtype(struct policy *policy, const char *pattern, size_t bytes,
                             enum dtype dtype);

/* What a policy says of the types that weights are loaded as. Borrowed from it. */
struct load_dtypes policy_load_dtypes(const struct policy *policy);

/* Free a policy. NULL is allowed. */
void policy_free(struct policy *policy);

/* For error messages: the devices that have a budget. */
#define POLICY_MEMORY_DEVICES "a GPU index from 0 to 63, cpu or disk"

/* Find the budget of a device: "0", "cuda:0", "cpu", "disk".
 *
 * returns  a place in memory; NULL where there is no such device
 */
uint64_t *policy_memory_find(struct policy_memory *memory, const char *device);

/* Make every budget unset. */
void policy_memory_clear(struct policy_memory *memory);

/* Add the budgets of a flag or an environment variable: "0=8GiB,cpu=64GiB".
 *
 * text     devices are 0, 1, ..., cuda:0, ..., cpu and disk; sizes are size_parse()'s, plain bytes
 * too memory   gets the budgets; a device that has one already is refused, so that a flag cannot
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

/* The word for a place: "0", "cpu", "disk".
 *
 * text     POLICY_PLACE_BYTES long
 * returns  text
 */
#define POLICY_PLACE_BYTES 8
const char *policy_place_name(int place, char text[POLICY_PLACE_BYTES]);

/* Read the word for a dtype of POLICY_DTYPES, "torch." before it or not.
 *
 * returns  0; -EINVAL and error, with the nearest word
 */
int policy_parse_dtype(const char *text, enum dtype *out, struct input_error *error);

/* The word for a dtype of POLICY_DTYPES; NULL for another. */
const char *policy_dtype_name(enum dtype dtype);

/* Add an entry behind those that a map has. policy_map_sort() follows the last one.
 *
 * returns  0 or -ENOMEM
 */
int policy_map_add(struct policy_map *map, const char *prefix, int place);

/* Put the entries of a map that was filled by hand into the order that policy_resolve() needs. */
void policy_map_sort(struct policy_map *map);

/* How many entries of the map say so: a GPU index, POLICY_CPU or POLICY_DISK. */
size_t policy_map_count(const struct policy_map *map, int place);

/* The entry that says where a tensor lives; NULL where no prefix covers it. */
const struct policy_map_entry *policy_map_find(const struct policy_map *map, const char *name);

/* Where a tensor lives by the map: its longest prefix that ends at a dot or at the name's end.
 *
 * name     a tensor or module: "model.layers.1.mlp.weight"; layers.1 does not cover layers.10
 * returns  a GPU index, POLICY_CPU, POLICY_DISK, or POLICY_NOWHERE. Takes O(dots * log n)
 */
int policy_resolve(const struct policy_map *map, const char *name);

#endif
