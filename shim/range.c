#include "range.h"
#include "backend.h"
#include "context_wait.h"
#include "deferred.h"
#include "log.h"
#include "object.h"
#include "range_index.h"
#include "range_list.h"
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

/* An emptied range serves again for what takes this share of the pages that it has at least. */
#define REUSED_SHARE 2

/* That work of contexts is waited for before memory is refused: for what is kept; and for what the
 * program is freeing, which it may well expect to be free once that work has run. */
#define GIVE_BACK_PATIENCE_NS 2000000000ull
#define FREES_PATIENCE_NS     10000000000ull

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
    result = unwanted_free(r->ctx, r->base, r->bytes);
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
    for (struct range *r = range_list_first(); r; r = r->next) {
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
        used = align_up(offset + a->bytes);
        range_list_note_used(r, used);
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
    for (const struct range *r = range_list_first(); r; r = r->next)
        if (r->shared && r->ctx == ctx)
            packed += r->bytes;
    range_unlock();
    while (least < bytes || (least < SHARED_RANGE_MAX && 2 * least <= share))
        least *= 2;
    if (packed <= least)
        return least;
    return packed < SHARED_RANGE_MAX ? packed / least * least : SHARED_RANGE_MAX;
}

/* Give an allocation an emptied range that another had for its own, one that has no more than
 * most_bytes of pages. returns as pack() */
static int reuse_emptied(struct allocation *a, struct residency *res, size_t most_bytes)
{
    struct range *r;
    int found = 0;

    range_write_lock();
    r = range_list_find_emptied(a->ctx, a->bytes, most_bytes);
    if (r) {
        a->base = r->base;
        a->range = r;
        found = range_index_insert(a) ? -1 : 1;
        if (found > 0)
            range_list_note_used(r, whole_pages(a->bytes));
    }
    range_unlock();
    if (found > 0)
        residency_occupy(res, r, a->base, a->base + a->bytes);
    return found;
}

/* The size of the next range that an allocation of a context has for its own. Where it is somewhat
 * larger than one that was emptied, there is room in it to grow: else what grows bit by bit would
 * leave a range behind each time. It is address space, which costs nothing until it is used. */
static size_t own_range_bytes(CUcontext ctx, size_t bytes)
{
    int outgrown;

    range_read_lock();
    outgrown = range_list_is_outgrown(ctx, bytes, REUSED_SHARE);
    range_unlock();
    return outgrown ? REUSED_SHARE * whole_pages(bytes) : bytes;
}

/* A new range is about to be made for an allocation. Where there is room for it by our account, but
 * not beside the pages of what is kept, that goes first. */
static void make_way(const struct allocation *a)
{
    uint64_t kept_bytes = range_list_kept_bytes(), free_bytes, total_bytes;

    if (!kept_bytes)
        return;
    range_capacity(a->device, &free_bytes, &total_bytes);
    if (kept_bytes + a->bytes > free_bytes)
        range_give_back();
}

static void link_range(struct range *r)
{
    range_write_lock();
    range_list_add(r);
    range_unlock();
}

/* Put an allocation into a shared range, a new one where none has room. */
static CUresult alloc_packed(struct allocation *a, struct residency *res)
{
    struct range *made = NULL;
    int packed;

    while (!(packed = pack(a, res))) {
        CUresult result;

        make_way(a);
        result = range_create(res, a->device, a->ctx,
                              shared_range_bytes(a->device, a->ctx, a->bytes), a->bytes, 1, &made);
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
    make_way(a);
    result =
        range_create(res, a->device, a->ctx, own_range_bytes(a->ctx, a->bytes), a->bytes, 0, &r);
    if (result != CUDA_SUCCESS)
        return result;
    a->base = r->base;
    a->range = r;
    range_write_lock();
    failed = range_index_insert(a);
    if (!failed) {
        range_list_add(r);
        range_list_note_used(r, whole_pages(a->bytes));
    }
    range_unlock();
    if (failed) {
        range_discard(r);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    residency_occupy(res, r, a->base, a->base + a->bytes);
    return CUDA_SUCCESS;
}

/* Give an allocation a place of its kind; where the driver has none, whatever place is left. */
static CUresult put_somewhere(struct allocation *a, struct residency *res)
{
    CUresult result = wants_own_range(a->bytes) ? alloc_own(a, res) : alloc_packed(a, res);

    if (result != CUDA_ERROR_OUT_OF_MEMORY ||
        (reuse_emptied(a, res, SIZE_MAX) <= 0 && pack(a, res) <= 0))
        return result;
    stats_note(result); /* the program will not see it */
    return CUDA_SUCCESS;
}

/* What is being freed in stream order leaves room, once the work before it has run. */
static void await_frees(void)
{
    struct context_set set = {.count = 0};

    deferred_add_contexts(&set);
    context_wait_each(&set, FREES_PATIENCE_NS);
    deferred_retire();
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
        await_frees();
        range_capacity(device, &free_bytes, &total_bytes);
    }
    if (bytes <= free_bytes) {
        result = put_somewhere(a, res);
        if (result == CUDA_ERROR_OUT_OF_MEMORY && range_give_back()) {
            stats_note(result); /* the program will not see it */
            result = put_somewhere(a, res);
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
    if (result == CUDA_ERROR_OUT_OF_MEMORY && ctx && range_give_back())
        result = alloc_plain(res, device, ctx, bytes, plain, plain_arg, out);
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
            range_list_note_emptied(a->range);
        } else if (a->range->live == 0) {
            range_list_remove(a->range);
            *empty = a->range;
        }
    }
    if (a)
        object_clear(a);
    range_unlock();
    return a;
}

/* range_free(), but for ranges that others have emptied.
 *
 * waited   set to the context that was waited for; else left alone
 */
static CUresult free_one(CUdeviceptr base, int *paged, CUcontext *waited)
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
        *waited = view.ctx;
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
    free(a);
    return result;
}

static int destroy_all(struct range *chain)
{
    int any = chain != NULL;

    while (chain) {
        struct range *next = chain->next;

        range_destroy(chain);
        chain = next;
    }
    return any;
}

static struct range *take_emptied(CUcontext ctx, enum emptied which)
{
    struct range *taken;

    if (!range_list_kept_bytes())
        return NULL;
    range_write_lock();
    taken = range_list_take_emptied(ctx, which);
    range_unlock();
    return taken;
}

void range_waited(CUcontext ctx)
{
    deferred_retire();
    destroy_all(take_emptied(ctx, EMPTIED_OLD));
    unwanted_release(ctx);
}

int range_give_back(void)
{
    struct context_set set = {.count = 0};
    int given = 0;

    deferred_retire();
    deferred_add_contexts(&set);
    range_read_lock();
    range_list_add_emptied(&set);
    range_unlock();
    context_wait_each(&set, GIVE_BACK_PATIENCE_NS);
    deferred_retire();
    for (size_t i = 0; i < set.count; i++) {
        struct context_hold hold;

        if (!context_hold(&hold, set.ctx[i]))
            continue;
        given |= destroy_all(take_emptied(set.ctx[i], EMPTIED_ANY));
        context_let_go(&hold);
    }
    return given;
}

CUresult range_free(CUdeviceptr base, int *paged)
{
    CUcontext waited = NULL;
    CUresult result = free_one(base, paged, &waited);

    if (waited)
        range_waited(waited);
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

static void forget(struct allocation *a)
{
    struct residency *res = residency_get(a->device);

    if (a->kind == ALLOCATION_PLAIN && res)
        residency_charge(res, -(int64_t)a->bytes);
    allocation_free(a);
}

void range_context_destroyed(CUcontext ctx)
{
    struct range *mine;

    deferred_drop_context(ctx);
    unwanted_forget(ctx);
    range_write_lock();
    range_index_take_context(ctx, forget);
    mine = range_list_take_context(ctx);
    range_unlock();
    while (mine) {
        struct range *next = mine->next;

        residency_detach(residency_get(mine->device), mine);
        residency_forget(residency_get(mine->device), mine); /* the context is about to take it */
        free(mine);
        mine = next;
    }
}
