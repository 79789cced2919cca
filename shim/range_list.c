#include "range_list.h"

static struct range *g_ranges; /* g_range_lock */
static _Atomic uint64_t g_kept_bytes;

struct range *range_list_first(void)
{
    return g_ranges;
}

uint64_t range_list_kept_bytes(void)
{
    return atomic_load_explicit(&g_kept_bytes, memory_order_relaxed);
}

static void leave_emptied(struct range *r)
{
    if (r->emptied)
        atomic_fetch_sub_explicit(&g_kept_bytes, r->used, memory_order_relaxed);
    r->emptied = 0;
}

void range_list_add(struct range *r)
{
    r->next = g_ranges;
    g_ranges = r;
}

/* Take out what link leads to. */
static struct range *unlink_range(struct range **link)
{
    struct range *r = *link;

    *link = r->next;
    r->next = NULL;
    leave_emptied(r);
    return r;
}

void range_list_remove(struct range *r)
{
    struct range **link = &g_ranges;

    while (*link != r)
        link = &(*link)->next;
    unlink_range(link);
}

void range_list_note_used(struct range *r, size_t end)
{
    leave_emptied(r);
    r->live++;
    if (end > r->used)
        r->used = end;
}

void range_list_note_emptied(struct range *r)
{
    r->emptied = 1;
    r->cursor = r->freed = 0;
    atomic_fetch_add_explicit(&g_kept_bytes, r->used, memory_order_relaxed);
}

static int is_emptied_own(const struct range *r, CUcontext ctx)
{
    return !r->shared && r->emptied && r->ctx == ctx;
}

struct range *range_list_find_emptied(CUcontext ctx, size_t bytes, size_t most)
{
    struct range *best = NULL;
    size_t best_more = 0;

    for (struct range *r = g_ranges; r; r = r->next) {
        size_t more = r->used < bytes ? bytes - r->used : 0;

        if (!is_emptied_own(r, ctx) || r->bytes < bytes || r->used > most)
            continue;
        if (best && (more > best_more || (more == best_more && r->bytes >= best->bytes)))
            continue;
        best = r;
        best_more = more;
    }
    return best;
}

int range_list_is_outgrown(CUcontext ctx, size_t bytes, size_t times)
{
    const struct range *r = g_ranges;

    while (r && !(is_emptied_own(r, ctx) && r->bytes < bytes && bytes < times * r->bytes))
        r = r->next;
    return r != NULL;
}

void range_list_add_emptied(struct context_set *set)
{
    for (const struct range *r = g_ranges; r; r = r->next)
        if (r->emptied)
            context_set_add(set, r->ctx);
}

static int is_any(struct range *r)
{
    (void)r;
    return 1;
}

static int is_emptied(struct range *r)
{
    return r->emptied != 0;
}

static int is_emptied_old(struct range *r)
{
    return r->emptied && r->emptied++ > 1;
}

static struct range *take(CUcontext ctx, int (*is_to_go)(struct range *))
{
    struct range *taken = NULL;

    for (struct range **link = &g_ranges; *link;) {
        struct range *r = *link;

        if (r->ctx != ctx || !is_to_go(r)) {
            link = &r->next;
            continue;
        }
        unlink_range(link);
        r->next = taken;
        taken = r;
    }
    return taken;
}

struct range *range_list_take_emptied(CUcontext ctx, enum emptied which)
{
    return take(ctx, which == EMPTIED_OLD ? is_emptied_old : is_emptied);
}

struct range *range_list_take_context(CUcontext ctx)
{
    return take(ctx, is_any);
}

int range_owns(CUdeviceptr addr)
{
    return range_owns_any(addr, 1);
}

int range_owns_any(CUdeviceptr addr, size_t bytes)
{
    int owns = 0;

    range_read_lock();
    for (const struct range *r = g_ranges; r && !owns; r = r->next)
        owns = addr - r->base < r->bytes || r->base - addr < bytes;
    range_unlock();
    return owns;
}

int range_check_span(CUdeviceptr addr, size_t bytes)
{
    const struct allocation *a;
    int err = 0;

    if (!bytes)
        return 0;
    range_read_lock();
    a = range_allocation_at(addr);
    if (a) {
        err = a->kind == ALLOCATION_PAGED && bytes > a->base + a->bytes - addr;
    } else {
        for (const struct range *r = g_ranges; r && !err; r = r->next)
            err = addr - r->base < r->bytes;
    }
    range_unlock();
    return err ? -1 : 0;
}
