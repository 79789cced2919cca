#include "range.h"
#include "backend.h"
#include "deferred.h"
#include "log.h"
#include "object.h"
#include "range_index.h"
#include "residency.h"
#include "size.h"
#include "stats.h"
#include "unwanted.h"
#include <stdlib.h>

/* A shared range is left when an allocation does not fit behind the others: the more is packed
 * already, the larger is the next one, so that such tails stay a small share. */
#define SHARED_RANGE_MIN  ((size_t)32 << 20)
#define SHARED_RANGE_MAX  ((size_t)1 << 30)
#define RANGES_PER_BUDGET 2 /* at least */

/* A range of its own that was emptied serves again for what takes this share of it at least. */
#define REUSED_SHARE 2

static struct range *g_ranges; /* g_range_lock */

static size_t whole_pages(size_t bytes)
{
    return (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
}

/* Reserve address space and make it known to residency.
 *
 * bytes    wanted
 * least    taken where the driver has not so much
 */
static CUresult range_create(struct residency *res, CUdevice device, CUcontext ctx, size_t bytes,
                             size_t least, int shared, struct range **out)
{
    const struct driver *drv = driver_get();
    size_t extent_bytes = residency_extent_bytes(res);
    struct range *r = calloc(1, sizeof(*r));
    CUresult result;

    if (!r)
        return CUDA_ERROR_OUT_OF_MEMORY;
    r->bytes = whole_pages(bytes);
    r->extent_bytes = extent_bytes;
    r->device = device;
    r->ctx = ctx;
    r->shared = shared;
    r->base = unwanted_take(ctx, r->bytes);
    if (!r->base) {
        result = backend_um.reserve(drv, device, r->bytes, &r->base);
        if (result != CUDA_SUCCESS && whole_pages(least) < r->bytes) {
            stats_note(result); /* the program will not see it */
            r->bytes = whole_pages(least);
            result = backend_um.reserve(drv, device, r->bytes, &r->base);
        }
        if (result != CUDA_SUCCESS)
            goto err_free;
    }
    result = residency_attach(res, r);
    if (result != CUDA_SUCCESS)
        goto err_keep;
    *out = r;
    return CUDA_SUCCESS;

err_keep:
    unwanted_keep(ctx, r->base, r->bytes);
err_free:
    free(r);
    return result;
}

/* Give a range that was taken out back to the driver, which waits for all work of its context, and
 * free it. returns the driver's code */
static CUresult range_destroy(struct range *r)
{
    CUresult result;

    residency_detach(residency_get(r->device), r);
    result = stats_note(backend_um.release(driver_get(), r->base, r->bytes));
    residency_forget(residency_get(r->device), r);
    free(r);
    return result;
}

/* The same of a range that came to nothing, in a call that must not wait. */
static void range_discard(struct range *r)
{
    residency_detach(residency_get(r->device), r);
    unwanted_keep(r->ctx, r->base, r->bytes);
    residency_forget(residency_get(r->device), r);
    free(r);
}

static size_t align_up(size_t n)
{
    return (n + RANGE_ALIGN - 1) / RANGE_ALIGN * RANGE_ALIGN;
}

/* Find room for bytes in a shared range: behind the cursor, else in a hole that a free left. The
 * write lock is held. returns 1 and the offset */
static int find_room(struct range *r, size_t bytes, size_t *offset)
{
    size_t at = 0;

    if (r->bytes - r->cursor >= bytes) {
        *offset = r->cursor;
        return 1;
    }
    if (!r->freed)
        return 0;
    for (const struct allocation *a = range_allocation_after(r->base);
         a && a->base < r->base + r->bytes; a = range_allocation_after(a->base + a->bytes)) {
        size_t first = a->base - r->base;

        if (first - at >= bytes) {
            *offset = at;
            return 1;
        }
        at = align_up(first + a->bytes);
    }
    *offset = at;
    return at + bytes <= r->bytes;
}

/* Put an allocation into a shared range that has room. returns 1 when there was one, 0, or -1 when
 * out of memory */
static int pack(struct allocation *a, struct residency *res)
{
    size_t used = 0;

    range_write_lock();
    for (struct range *r = g_ranges; r; r = r->next) {
        size_t offset;

        if (!r->shared || r->device != a->device || r->ctx != a->ctx ||
            !find_room(r, a->bytes, &offset))
            continue;
        a->base = r->base + offset;
        a->range = r;
        if (range_index_insert(a)) {
            range_unlock();
            return -1;
        }
        r->live++;
        r->emptied = 0;
        used = align_up(offset + a->bytes);
        if (used > r->cursor) /* a hole at the end may reach past it */
            r->cursor = used;
        range_unlock();
        residency_occupy(res, r, a->base, a->base + a->bytes);
        return 1;
    }
    range_unlock();
    a->range = NULL;
    return 0;
}

/* A range of its own costs an allocation the rest of its last page: bytes that take room and are
 * moved for nothing. */
static int wants_own_range(size_t bytes)
{
    size_t waste = (PAGE_BYTES - bytes % PAGE_BYTES) % PAGE_BYTES;

    return bytes >= RANGE_PACK_MAX && waste <= bytes / RANGE_WASTE;
}

/* The size of the next shared range of a context, which must hold bytes: address space, which costs
 * nothing until something is put into it. */
static size_t shared_range_bytes(CUdevice device, CUcontext ctx, size_t bytes)
{
    uint64_t share = residency_budget(device) / RANGES_PER_BUDGET;
    size_t least = SHARED_RANGE_MIN, packed = 0;

    range_read_lock();
    for (const struct range *r = g_ranges; r; r = r->next)
        if (r->shared && r->ctx == ctx)
            packed += r->bytes;
    range_unlock();
    while (least < bytes || (least < SHARED_RANGE_MAX && 2 * least <= share))
        least *= 2;
    if (packed <= least)
        return least;
    return packed < SHARED_RANGE_MAX ? packed / least * least : SHARED_RANGE_MAX;
}

static struct range *unlink_range(struct range **link)
{
    struct range *r = *link;

    *link = r->next;
    r->next = NULL;
    return r;
}

/* The ranges of a context that frees in stream order have emptied go, in a call that waits for the
 * context anyway. */
static void destroy_emptied(CUcontext ctx)
{
    for (;;) {
        struct range **link = &g_ranges, *emptied;

        range_write_lock();
        while (*link && !((*link)->emptied && (*link)->ctx == ctx))
            link = &(*link)->next;
        emptied = *link ? unlink_range(link) : NULL;
        range_unlock();
        if (!emptied)
            break;
        range_destroy(emptied);
    }
}

static int is_emptied_own(const struct range *r, CUcontext ctx)
{
    return !r->shared && r->emptied && r->ctx == ctx;
}

/* Give an allocation an emptied range that another had for its own, the smallest that is large
 * enough and not larger than most_bytes. returns as pack() */
static int reuse_emptied(struct allocation *a, struct residency *res, size_t most_bytes)
{
    struct range *best = NULL;
    int found = 0;

    range_write_lock();
    for (struct range *r = g_ranges; r; r = r->next)
        if (is_emptied_own(r, a->ctx) && r->bytes >= a->bytes && r->bytes <= most_bytes &&
            (!best || r->bytes < best->bytes))
            best = r;
    if (best) {
        a->base = best->base;
        a->range = best;
        found = range_index_insert(a) ? -1 : 1;
        if (found > 0) {
            best->live = 1;
            best->emptied = 0;
        }
    }
    range_unlock();
    if (found > 0)
        residency_occupy(res, a->range, a->base, a->base + a->bytes);
    return found;
}

/* The size of the next range that an allocation of a context has for its own. Where none of those
 * that were emptied was large enough, there is room in it to grow: else what grows bit by bit would
 * leave a range behind each time. It is address space, which costs nothing until it is used. */
static size_t own_range_bytes(CUcontext ctx, size_t bytes)
{
    int outgrown = 0;

    range_read_lock();
    for (const struct range *r = g_ranges; r && !outgrown; r = r->next)
        outgrown = is_emptied_own(r, ctx) && r->bytes < bytes;
    range_unlock();
    return outgrown ? REUSED_SHARE * whole_pages(bytes) : bytes;
}

static void link_range(struct range *r)
{
    range_write_lock();
    r->next = g_ranges;
    g_ranges = r;
    range_unlock();
}

/* Put an allocation into a shared range, a new one where none has room. */
static CUresult alloc_packed(struct allocation *a, struct residency *res)
{
    struct range *made = NULL;
    int packed;

    while (!(packed = pack(a, res))) {
        size_t bytes = shared_range_bytes(a->device, a->ctx, a->bytes);
        CUresult result = range_create(res, a->device, a->ctx, bytes, a->bytes, 1, &made);

        if (result != CUDA_SUCCESS)
            return result;
        link_range(made);
    }
    return packed > 0 ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

/* Give an allocation a range of its own. */
static CUresult alloc_own(struct allocation *a, struct residency *res)
{
    size_t pages_bytes = whole_pages(a->bytes);
    int failed, reused = reuse_emptied(a, res, REUSED_SHARE * pages_bytes);
    struct range *r;
    CUresult result;

    if (reused)
        return reused > 0 ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
    result =
        range_create(res, a->device, a->ctx, own_range_bytes(a->ctx, a->bytes), a->bytes, 0, &r);
    if (result != CUDA_SUCCESS)
        return result;
    a->base = r->base;
    a->range = r;
    range_write_lock();
    failed = range_index_insert(a);
    if (!failed) {
        r->live = 1;
        r->next = g_ranges;
        g_ranges = r;
    }
    range_unlock();
    if (failed) {
        range_discard(r);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    residency_occupy(res, r, a->base, a->base + a->bytes);
    return CUDA_SUCCESS;
}

static CUresult alloc_paged(struct residency *res, CUdevice device, CUcontext ctx, size_t bytes,
                            CUdeviceptr *out)
{
    struct allocation *a = allocation_new(0, bytes, ALLOCATION_PAGED, device, ctx);
    uint64_t free_bytes, total_bytes;
    CUresult result = CUDA_ERROR_OUT_OF_MEMORY;

    if (!a)
        return result;
    range_capacity(device, &free_bytes, &total_bytes);
    if (bytes > free_bytes) {
        deferred_wait();
        range_capacity(device, &free_bytes, &total_bytes);
    }
    if (bytes <= free_bytes) {
        result = wants_own_range(bytes) ? alloc_own(a, res) : alloc_packed(a, res);
        if (result == CUDA_ERROR_OUT_OF_MEMORY && reuse_emptied(a, res, SIZE_MAX) > 0) {
            stats_note(result); /* the program will not see it */
            result = CUDA_SUCCESS;
        }
    } else {
        range_tell_full(device, bytes);
    }
    if (result == CUDA_SUCCESS)
        *out = a->base;
    else
        allocation_free(a);
    return result;
}

/* Link what the driver allocated; without memory for that it stays uncounted, unnamed, and
 * otherwise as good. returns 0 or -1 */
static int index_plain(CUdeviceptr base, size_t bytes, CUdevice device, CUcontext ctx)
{
    struct allocation *a = allocation_new(base, bytes, ALLOCATION_PLAIN, device, ctx);
    int failed;

    if (!a)
        return -1;
    range_write_lock();
    failed = range_index_insert(a);
    range_unlock();
    if (failed)
        allocation_free(a);
    return failed;
}

/* The driver's own allocation, counted. What the program itself takes comes first: our extents make
 * room for it within the budget, and on the card when that is smaller than the budget says. */
static CUresult alloc_plain(struct residency *res, CUdevice device, CUcontext ctx, size_t bytes,
                            range_plain_fn *plain, void *plain_arg, CUdeviceptr *out)
{
    int asked_again = 0;
    CUresult result;

    if (!ctx)
        return plain(plain_arg, out);
    if (res)
        residency_charge(res, (int64_t)bytes);
    result = plain(plain_arg, out);
    while (result == CUDA_ERROR_OUT_OF_MEMORY && res && residency_shrink(res, bytes, &asked_again))
        result = plain(plain_arg, out);
    if ((result != CUDA_SUCCESS || index_plain(*out, bytes, device, ctx)) && res)
        residency_charge(res, -(int64_t)bytes);
    return result;
}

CUresult range_alloc(size_t bytes, range_plain_fn *plain, void *plain_arg, CUdeviceptr *out)
{
    const struct driver *drv = driver_get();
    struct residency *res = NULL;
    CUcontext ctx = NULL;
    CUdevice device = -1;
    char size[SIZE_TEXT_BYTES];
    CUresult result;

    if (stats_note(drv->cuCtxGetCurrent(&ctx)) == CUDA_SUCCESS && ctx &&
        stats_note(drv->cuCtxGetDevice(&device)) == CUDA_SUCCESS)
        res = residency_get(device);
    else
        ctx = NULL;
    deferred_retire();
    if (res && bytes >= RANGE_PLAIN_MAX) {
        result = alloc_paged(res, device, ctx, bytes, out);
        if (result == CUDA_SUCCESS)
            return result;
        if (result == CUDA_ERROR_OUT_OF_MEMORY)
            return result; /* neither the card nor the host has room: the answer that it gives */
        stats_add(refused, 1);
        log_warn("range",
                 "an allocation of %s could not be paged (driver error %d): it stays in VRAM, as "
                 "without berth",
                 size_format(bytes, SIZE_BINARY, size), (int)result);
    }
    result = alloc_plain(res, device, ctx, bytes, plain, plain_arg, out);
    if (result == CUDA_ERROR_OUT_OF_MEMORY && res && bytes && bytes < RANGE_PLAIN_MAX)
        result = alloc_paged(res, device, ctx, bytes, out);
    return result;
}

/* Take the allocation that starts at base out of the index; NULL when there is none. A range that
 * nobody uses any more is unlinked as well and handed out for destruction; without empty it stays,
 * emptied. */
static struct allocation *take_out(CUdeviceptr base, struct range **empty)
{
    struct allocation *a;

    if (empty)
        *empty = NULL;
    range_write_lock();
    a = range_index_take(base);
    if (a && a->range) {
        residency_vacate(residency_get(a->device), a->range, a->base, a->base + a->bytes);
        a->range->freed++;
        if (--a->range->live == 0 && !empty) {
            a->range->emptied = 1;
            a->range->cursor = a->range->freed = 0;
        } else if (a->range->live == 0) {
            struct range **link = &g_ranges;

            while (*link != a->range)
                link = &(*link)->next;
            *empty = unlink_range(link);
        }
    }
    if (a)
        object_clear(a);
    range_unlock();
    return a;
}

/* range_free(), but for ranges that others have emptied.
 *
 * ctx      set to the allocation's when it is gone; else left alone
 */
static CUresult free_one(CUdeviceptr base, int *paged, CUcontext *ctx)
{
    struct range_view view;
    struct range *empty;
    struct allocation *a;
    CUresult result = CUDA_SUCCESS;

    *paged = 0;
    deferred_retire();
    if (!range_find(base, &view) || view.base != base || view.leaving) {
        /* Freed before, or never handed out: the driver would take it for a whole range of ours. */
        *paged = range_owns(base);
        return *paged ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
    }
    if (view.kind == ALLOCATION_PAGED) {
        /* The driver's free waits for the work that may use the memory, and so do we: the room may
         * be packed anew at once. */
        result = deferred_synchronize(view.ctx);
        if (result != CUDA_SUCCESS) {
            *paged = 1;
            return result;
        }
    }
    a = take_out(base, &empty);
    if (!a) { /* another thread was quicker: not the driver's to free, if it ever was */
        *paged = view.kind == ALLOCATION_PAGED;
        return *paged ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
    }
    *paged = a->kind == ALLOCATION_PAGED;
    if (!*paged && residency_get(a->device))
        residency_charge(residency_get(a->device), -(int64_t)a->bytes);
    if (empty)
        result = range_destroy(empty);
    *ctx = a->ctx;
    free(a);
    return result;
}

CUresult range_free(CUdeviceptr base, int *paged)
{
    CUcontext ctx = NULL;
    CUresult result = free_one(base, paged, &ctx);

    /* A plain one is freed by the driver next, which waits as well. */
    if (ctx) {
        destroy_emptied(ctx);
        unwanted_release(ctx);
    }
    return result;
}

CUresult range_free_async(CUdeviceptr base, CUstream stream, int *paged)
{
    struct range_view view;
    CUcontext ctx;

    if (!range_find(base, &view) || view.base != base || view.kind != ALLOCATION_PAGED)
        return free_one(base, paged, &ctx);
    return deferred_free(base, view.ctx, stream, paged);
}

void range_retire(CUdeviceptr base)
{
    free(take_out(base, NULL));
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

static void forget(struct allocation *a)
{
    struct residency *res = residency_get(a->device);

    if (a->kind == ALLOCATION_PLAIN && res)
        residency_charge(res, -(int64_t)a->bytes);
    allocation_free(a);
}

void range_context_destroyed(CUcontext ctx)
{
    struct range *mine = NULL;

    deferred_drop_context(ctx);
    unwanted_forget(ctx);
    range_write_lock();
    range_index_take_context(ctx, forget);
    for (struct range **link = &g_ranges; *link;) {
        struct range *r = *link;

        if (r->ctx != ctx) {
            link = &r->next;
            continue;
        }
        *link = r->next;
        r->next = mine;
        mine = r;
    }
    range_unlock();
    while (mine) {
        struct range *next = mine->next;

        residency_detach(residency_get(mine->device), mine);
        residency_forget(residency_get(mine->device), mine); /* the context is about to take it */
        free(mine);
        mine = next;
    }
}
