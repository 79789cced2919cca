/* Marks of one kernel in the page table, and a hash table of lines across the link. */
#include "touched.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_SIZE 64

struct touched_page {
    uint64_t page; /* address / (32 lines); 0: a free slot */
    uint32_t read; /* a bit for each line */
    uint32_t written;
};

/* Device memory -------------------------------------------------------------------------------- */

static int entries_grow(struct touched *touched)
{
    const size_t capacity = touched->capacity ? 2 * touched->capacity : FIRST_SIZE;
    struct mmu_entry **entries = realloc(touched->entries, capacity * sizeof(struct mmu_entry *));

    if (!entries)
        return 0;
    touched->entries = entries;
    touched->capacity = capacity;
    return 1;
}

/* The entry has not this granule yet. */
static void mark(struct mmu_run *run, struct mmu_entry *entry, uint32_t granule)
{
    struct touched *touched = run->touched;

    if (!entry->touched) {
        if (touched->count == touched->capacity && !entries_grow(touched)) {
            touched->is_short = 1;
            return;
        }
        touched->entries[touched->count++] = entry;
    }
    entry->touched |= granule;
    touched->local_bytes += MMU_GRANULE_BYTES;
}

void touched_watch(struct touched *touched, struct mmu_run *run)
{
    run->touched = touched;
    run->touch = mark;
}

void touched_local(struct mmu_run *run, uint64_t addr)
{
    struct mmu_entry *table, *entry;

    if (!run->touch)
        return;
    table = run->mmu->level1[addr >> (MMU_PAGE_SHIFT + MMU_LEVEL_BITS)];
    if (!table)
        return;
    entry = &table[(addr >> MMU_PAGE_SHIFT) & (MMU_LEVEL_SIZE - 1)];
    if (!(entry->touched & mmu_granule(addr)))
        mark(run, entry, mmu_granule(addr));
}

/* The link ------------------------------------------------------------------------------------- */

static struct touched_page *page_slot(struct touched_page *pages, size_t capacity, uint64_t page)
{
    size_t at = (size_t)((page * 0x9E3779B97F4A7C15u) >> 32) & (capacity - 1);

    while (pages[at].page && pages[at].page != page)
        at = (at + 1) & (capacity - 1);
    return &pages[at];
}

static int pages_grow(struct touched *touched)
{
    const size_t capacity = touched->page_capacity ? 2 * touched->page_capacity : FIRST_SIZE;
    struct touched_page *pages = calloc(capacity, sizeof(*pages));
    size_t i;

    if (!pages)
        return 0;
    for (i = 0; i < touched->page_capacity; i++) {
        if (touched->pages[i].page)
            *page_slot(pages, capacity, touched->pages[i].page) = touched->pages[i];
    }
    free(touched->pages);
    touched->pages = pages;
    touched->page_capacity = capacity;
    return 1;
}

void touched_remote(struct mmu_run *run, uint64_t addr, enum mmu_access access)
{
    struct touched *touched = run->touched;
    struct touched_page *page;
    uint64_t line, number;

    if (!touched)
        return;
    if (2 * touched->page_count >= touched->page_capacity && !pages_grow(touched)) {
        touched->is_short = 1;
        return;
    }
    number = addr / touched->line_bytes / 32;
    line = (uint64_t)1 << (addr / touched->line_bytes % 32);
    page = page_slot(touched->pages, touched->page_capacity, number);
    if (!page->page) {
        page->page = number;
        touched->page_count++;
    }
    if (access == MMU_READ && !(page->read & line)) {
        page->read |= (uint32_t)line;
        touched->remote_read_bytes += touched->line_bytes;
    } else if (access == MMU_WRITE && !(page->written & line)) {
        page->written |= (uint32_t)line;
        touched->remote_write_bytes += touched->line_bytes;
    }
}

void touched_end(struct touched *touched)
{
    size_t i;

    for (i = 0; i < touched->count; i++)
        touched->entries[i]->touched = 0;
    free(touched->entries);
    free(touched->pages);
    touched->entries = NULL;
    touched->pages = NULL;
    touched->count = touched->capacity = 0;
    touched->page_count = touched->page_capacity = 0;
}
