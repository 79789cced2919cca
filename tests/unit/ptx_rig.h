/* ptx_rig.h - a device for tests of the PTX translator: flat memory behind a page table of its own.
 *
 * Allocations lie one after another from RIG_BASE on, each with the unmapped rest of its page
 * behind it; whatever the page table does not know goes to a miss handler that faults with 700.
 * Page 0 of a read-only allocation refuses writes.
 */
#ifndef TESTS_PTX_RIG_H
#define TESTS_PTX_RIG_H

#include <string.h>

#include "data.h"
#include "tests/simcuda/ptx.h"

#define RIG_BASE    0x7e0000000000ull
#define RIG_GLOBALS 64

struct rig {
    struct mmu mmu;
    struct mmu_run run;
    uint64_t next; /* address of the next allocation */
    uint64_t fault_addr;
    struct ptx_module *module;
    uint64_t global_addr[RIG_GLOBALS];
    char log[1024];
};

static void *rig_miss(struct mmu_run *run, uint64_t addr, unsigned bytes, enum mmu_access access)
{
    (void)bytes;
    (void)access;
    if (!run->fault) {
        run->fault = 700;
        run->fault_addr = addr;
    }
    return NULL;
}

static inline struct rig *rig_new(void)
{
    struct rig *rig = calloc(1, sizeof(*rig));

    assert_non_null(rig);
    rig->run.mmu = &rig->mmu;
    rig->run.miss = rig_miss;
    rig->next = RIG_BASE;
    return rig;
}

static inline struct mmu_entry *rig_entry(struct rig *rig, uint64_t addr)
{
    struct mmu_entry **table = &rig->mmu.level1[addr >> (MMU_PAGE_SHIFT + MMU_LEVEL_BITS)];

    if (!*table)
        *table = calloc(MMU_LEVEL_SIZE, sizeof(**table));
    assert_non_null(*table);
    return &(*table)[(addr >> MMU_PAGE_SHIFT) & (MMU_LEVEL_SIZE - 1)];
}

/* Whole pages, zeroed. */
static inline uint64_t rig_alloc(struct rig *rig, size_t bytes)
{
    uint64_t addr = rig->next;

    for (uint64_t at = 0; at < bytes; at += MMU_PAGE_BYTES) {
        struct mmu_entry *entry = rig_entry(rig, addr + at);

        entry->backing = calloc(1, MMU_PAGE_BYTES);
        assert_non_null(entry->backing);
        entry->allowed = MMU_READ | MMU_WRITE;
        rig->next += MMU_PAGE_BYTES;
    }
    rig->next += MMU_PAGE_BYTES; /* a hole behind every allocation */
    return addr;
}

/* Where the bytes lie on the host; they may be used up to the end of the page. */
static inline void *rig_at(struct rig *rig, uint64_t addr)
{
    return rig_entry(rig, addr)->backing + (addr & (MMU_PAGE_BYTES - 1));
}

static inline void rig_put_globals(struct rig *rig)
{
    const struct ptx_global *globals;
    size_t count = ptx_module_globals(rig->module, &globals);

    assert_true(count <= RIG_GLOBALS);
    for (size_t i = 0; i < count; i++)
        rig->global_addr[i] = rig_alloc(rig, globals[i].bytes);
    for (size_t i = 0; i < count; i++) {
        uint8_t *at = rig_at(rig, rig->global_addr[i]);

        if (globals[i].initial)
            memcpy(at, globals[i].initial, globals[i].bytes);
        for (size_t r = 0; r < globals[i].reloc_count; r++) {
            uint64_t value = rig->global_addr[globals[i].relocs[r].global] +
                             (uint64_t)globals[i].relocs[r].addend;

            memcpy(at + globals[i].relocs[r].offset, &value, 8);
        }
        if (globals[i].is_const)
            rig_entry(rig, rig->global_addr[i])->allowed = MMU_READ;
    }
}

static inline int rig_try_load(struct rig *rig, const char *text)
{
    if (rig->module)
        ptx_module_unload(rig->module);
    rig->module = NULL;
    return ptx_module_load(text, strlen(text), rig->log, sizeof(rig->log), &rig->module);
}

static inline void rig_load(struct rig *rig, const char *text)
{
    int res = rig_try_load(rig, text);

    if (res)
        fail_msg("load gave %d: %s", res, rig->log);
    rig_put_globals(rig);
}

/* tests/data/ptx/NAME.ptx */
static inline void rig_load_file(struct rig *rig, const char *name)
{
    char path[256], *text;

    snprintf(path, sizeof(path), "ptx/%s.ptx", name);
    text = data_read(path, NULL);
    rig_load(rig, text);
    free(text);
}

static inline void rig_free(struct rig *rig)
{
    ptx_module_unload(rig->module);
    for (size_t i = 0; i < MMU_LEVEL_SIZE; i++) {
        for (size_t j = 0; rig->mmu.level1[i] && j < MMU_LEVEL_SIZE; j++)
            free(rig->mmu.level1[i][j].backing);
        free(rig->mmu.level1[i]);
    }
    free(rig);
}

/* Run a grid of blocks, each of that many threads. params are laid out by the caller.
 * returns 0 or the fault */
static inline int rig_run(struct rig *rig, const char *kernel, uint32_t grid, uint32_t block,
                          uint32_t shared, const void *params)
{
    const struct ptx_kernel *k = ptx_module_kernel(rig->module, kernel);
    struct ptx_launch launch = {
        .grid = {grid, 1, 1},
        .block = {block, 1, 1},
        .dynamic_shared_bytes = shared,
        .params = params,
        .global_addr = rig->global_addr,
    };

    if (!k)
        fail_msg("no kernel '%s'", kernel);
    rig->run.fault = 0;
    rig->run.fault_addr = 0;
    for (uint32_t x = 0; x < grid; x++) {
        const uint32_t id[3] = {x, 0, 0};
        int res = ptx_kernel_run_block(k, &launch, id, &rig->run);

        if (res)
            return res;
    }
    return 0;
}

#endif
