/* ptx.h - PTX text, translated once to C, compiled with the system's compiler and loaded.
 *
 * Semantics are the PTX ISA's. What the translator does not know fails the load with the line in
 * the log, never silently. Compiled objects are cached by a hash of the text, the translator's
 * version and the compiler, in $SIMCUDA_CACHE, else $XDG_CACHE_HOME/simcuda, else ~/.cache/simcuda,
 * else /tmp/simcuda-<uid>; several processes may fill the cache at once.
 */
#ifndef SIMCUDA_PTX_H
#define SIMCUDA_PTX_H

#include "mmu.h"

struct ptx_module;
struct ptx_kernel;

struct ptx_param {
    uint32_t offset; /* in the parameter buffer */
    uint32_t bytes;
};

struct ptx_global {
    const char *name;
    uint64_t bytes;
    uint32_t align;
    int is_const;                   /* .const: read only on the device */
    const void *initial;            /* bytes of initial data, NULL for zero */
    const struct ptx_reloc *relocs; /* where the initial data holds addresses of variables */
    size_t reloc_count;
};

/* The 8 bytes at offset become the device address of the module's global of that index, plus
 * addend. */
struct ptx_reloc {
    uint64_t offset;
    size_t global;
    int64_t addend;
};

/* What one launch needs; all of it outlives the call of ptx_kernel_run_block(). */
struct ptx_launch {
    uint32_t grid[3];
    uint32_t block[3];
    uint32_t dynamic_shared_bytes;
    const void *params;          /* ptx_kernel_param_bytes() bytes, laid out by offsets */
    const uint64_t *global_addr; /* device address of each module global, by index */
};

/* Translate, compile and load.
 *
 * text     PTX, not necessarily NUL-terminated; text_bytes long
 * log      receives the error with its line, NUL-terminated; may be NULL when log_bytes is 0
 * returns  0, else a CUresult: 218 (does not parse, or holds what is not supported), 222 (PTX
 *          version), 221 (there is no C compiler), 2 (out of memory)
 * owner    ptx_module_unload()
 * locks    none; any number of threads at once
 */
int ptx_module_load(const char *text, size_t text_bytes, char *log, size_t log_bytes,
                    struct ptx_module **out);
void ptx_module_unload(struct ptx_module *module);

/* Module-scope .global and .const variables, in order of declaration. Returns the count. */
size_t ptx_module_globals(const struct ptx_module *module, const struct ptx_global **out);

size_t ptx_module_kernel_count(const struct ptx_module *module);
const struct ptx_kernel *ptx_module_kernel_at(const struct ptx_module *module, size_t index);
/* returns NULL when there is no .entry of that name. */
const struct ptx_kernel *ptx_module_kernel(const struct ptx_module *module, const char *name);

const char *ptx_kernel_name(const struct ptx_kernel *kernel);
size_t ptx_kernel_params(const struct ptx_kernel *kernel, const struct ptx_param **out);
size_t ptx_kernel_param_bytes(const struct ptx_kernel *kernel);
uint32_t ptx_kernel_static_shared_bytes(const struct ptx_kernel *kernel);
uint32_t ptx_kernel_max_threads(const struct ptx_kernel *kernel); /* .maxntid, else 1024 */

/* Run one thread block to its end, on the calling thread.
 *
 * block_id  which block of the grid
 * run       memory of the device; run->fault is set when an access was illegal, or for what the
 *           kernel itself does wrong (716 misaligned; 719 trap, shared or local memory out of
 *           bounds, a barrier that not all reach; 718 wild jump; 710 assert)
 * returns   0, else run->fault
 */
int ptx_kernel_run_block(const struct ptx_kernel *kernel, const struct ptx_launch *launch,
                         const uint32_t block_id[3], struct mmu_run *run);

#endif
