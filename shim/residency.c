#include "residency.h"
#include "checkpoint.h"
#include "config.h"
#include "context_wait.h"
#include "entry.h"
#include "log.h"
#include "monotonic.h"
#include "object.h"
#include "pager.h"
#include "size.h"
#include "stats.h"
#include <stdlib.h>
#include <string.h>

#define PATIENCE_NS    2000000000ull
#define COPY_POLL_NS   50000 /* between looks at copies back */
#define EXTENTS_LEAST  3     /* of room: what runs, what comes next, and what goes meanwhile */
#define BYTES_TOLD_MAX (((uint64_t)1 << 53) - 1) /* beyond that no JSON holds it exactly */
#define MARGIN_SHARE   16 /* of the free VRAM, left alone when no budget is given */

_Static_assert(STATS_DEVICES_MAX == POLICY_DEVICES_MAX, "a GPU with a budget is paged");

static pthread_mutex_t g_registry_lock = PTHREAD_MUTEX_INITIALIZER;
static struct residency *_Atomic g_residency[STATS_DEVICES_MAX];
static _Atomic int g_tried[STATS_DEVICES_MAX];
static _Atomic int g_any_active;

static void tell_device(_Atomic uint64_t *values, CUdevice device, uint64_t bytes)
{
    atomic_store_explicit(&values[device], bytes, memory_order_relaxed);
}

static void warn_budget_cut(CUdevice device, uint64_t budget_bytes, uint64_t bytes)
{
    char before[SIZE_TEXT_BYTES], now[SIZE_TEXT_BYTES];

    log_warn("residency",
             "GPU %d has less free memory than its budget of %s: berth keeps to %s; end other "
             "programs on that GPU, or give a smaller budget",
             device, size_format(budget_bytes, SIZE_BINARY, before),
             size_format(bytes, SIZE_BINARY, now));
}

/* What the policy gives, at most what the card has: beyond that the driver itself would evict, in
 * an order of its own and without our knowing. */
static uint64_t choose_budget(const struct driver *drv, CUdevice device)
{
    uint64_t given = config()->policy->max_memory.device_bytes[device];
    size_t free_bytes = 0, total_bytes = 0;
    CUdevice current = -1;

    if (given != POLICY_UNSET)
        tell_device(stats()->asked_bytes, device, given < BYTES_TOLD_MAX ? given : BYTES_TOLD_MAX);

    /* What is free can be asked only from inside a context of the device. */
    if (stats_note(drv->cuCtxGetDevice(&current)) != CUDA_SUCCESS || current != device ||
        stats_note(drv->cuMemGetInfo_v2(&free_bytes, &total_bytes)) != CUDA_SUCCESS) {
        if (stats_note(drv->cuDeviceTotalMem_v2(&free_bytes, device)) != CUDA_SUCCESS)
            return given != POLICY_UNSET ? given : 0;
    }
    tell_device(stats()->card_bytes, device, free_bytes);
    if (given <= free_bytes)
        return given;
    free_bytes -= free_bytes / MARGIN_SHARE;
    if (given != POLICY_UNSET)
        warn_budget_cut(device, given, free_bytes);
    return free_bytes;
}

/* What the driver's calls cost beside what they move is spread over more bytes in larger extents;
 * but a window of some extents is to be a small share of the budget. source: an H100 with driver
 * 580, where extents of 2, 4 and 8 MiB streamed 30, 37 and 38 GB/s, and larger ones no more. */
static size_t choose_extent_bytes(uint64_t budget_bytes)
{
    if (budget_bytes >= (uint64_t)2 << 30)
        return 4 * PAGE_BYTES;
    return budget_bytes >= (uint64_t)512 << 20 ? 2 * PAGE_BYTES : PAGE_BYTES;
}

/* A checkpoint that the user named and that is larger than the budget will not fit: then nothing
 * has to be born in VRAM and copied back when the first allocation is one too many. */
static int is_known_not_to_fit(uint64_t budget_bytes)
{
    const char *path = config()->policy->checkpoint;
    struct checkpoint *checkpoint;
    struct input_error error;
    uint64_t bytes;

    if (!path)
        return 0;
    if (checkpoint_open(path, &checkpoint, &error)) {
        char line[INPUT_ERROR_TEXT_BYTES];

        log_warn("residency", "the checkpoint that was given is not used: %s",
                 input_error_format(&error, line, sizeof(line)));
        return 0;
    }
    bytes = checkpoint->total_bytes;
    checkpoint_close(checkpoint);
    return bytes > budget_bytes;
}

static struct residency *create(CUdevice device)
{
    const struct driver *drv = driver_get();
    const char *reason = NULL;
    struct residency *res;

    if (!backend_um.supports(drv, device, &reason)) {
        log_warn("residency", "GPU %d is not paged, all is as without berth: %s", device, reason);
        return NULL;
    }
    res = calloc(1, sizeof(*res));
    if (!res)
        return NULL;
    res->drv = drv;
    res->backend = &backend_um;
    res->device = device;
    res->budget_bytes = choose_budget(drv, device);
    res->extent_bytes = choose_extent_bytes(res->budget_bytes);
    res->patience_ns = PATIENCE_NS;
    res->requests_tail = &res->requests;
    res->uses_tail = &res->uses;
    res->last_touched = EXTENT_NONE;
    res->vacated = EXTENT_NONE;
    pthread_mutex_init(&res->lock, NULL);
    monotonic_cond_init(&res->work);
    monotonic_cond_init(&res->progress);
    tell_device(stats()->budget_bytes, device, res->budget_bytes);
    tell_device(stats()->needed_bytes, device, 0);
    if (atomic_load_explicit(&stats()->device_count, memory_order_relaxed) <= (unsigned)device)
        stats_set(device_count, device + 1);
    if (is_known_not_to_fit(res->budget_bytes))
        residency_activate(res);
    return res;
}

struct residency *residency_get(CUdevice device)
{
    struct residency *res;

    if (device < 0 || device >= (int)STATS_DEVICES_MAX || config()->off || entry_is_passive())
        return NULL;
    if (atomic_load_explicit(&g_tried[device], memory_order_acquire))
        return atomic_load_explicit(&g_residency[device], memory_order_acquire);
    pthread_mutex_lock(&g_registry_lock);
    if (!atomic_load_explicit(&g_tried[device], memory_order_relaxed)) {
        res = create(device);
        atomic_store_explicit(&g_residency[device], res, memory_order_release);
        atomic_store_explicit(&g_tried[device], 1, memory_order_release);
    }
    pthread_mutex_unlock(&g_registry_lock);
    return atomic_load_explicit(&g_residency[device], memory_order_acquire);
}

int residency_active(CUdevice device)
{
    struct residency *res;

    if (device < 0 || device >= (int)STATS_DEVICES_MAX)
        return 0;
    res = atomic_load_explicit(&g_residency[device], memory_order_acquire);
    return res && atomic_load_explicit(&res->active, memory_order_relaxed);
}

int residency_any_active(void)
{
    return atomic_load_explicit(&g_any_active, memory_order_relaxed);
}

uint64_t residency_budget(CUdevice device)
{
    struct residency *res = residency_get(device);
    uint64_t bytes;

    if (!res)
        return 0;
    pthread_mutex_lock(&res->lock);
    bytes = res->budget_bytes;
    pthread_mutex_unlock(&res->lock);
    return bytes;
}

uint64_t residency_limit(struct residency *res)
{
    uint64_t bytes;

    pthread_mutex_lock(&res->lock);
    bytes = room_limit(res);
    pthread_mutex_unlock(&res->lock);
    return bytes;
}

int residency_link_wants_loads(struct residency *res, struct extent *const *set, size_t count)
{
    int wants, loads = 0;

    pthread_mutex_lock(&res->lock);
    wants = (res->link_doubted ? !trial_link_is_sure(res) : !link_speed_is_known(&res->link)) &&
            res->link_tries < LINK_TRIES_MAX;
    for (size_t i = 0; i < count && wants && !loads; i++)
        loads = set[i]->state == EXTENT_ABSENT;
    res->link_tries += (unsigned)loads;
    pthread_mutex_unlock(&res->lock);
    return wants;
}

size_t residency_extent_bytes(const struct residency *res)
{
    return res->extent_bytes;
}

/* Paging needs room for a few extents, beside a page at least for what the program holds plain. */
static uint64_t least_budget(const struct residency *res)
{
    uint64_t plain = plain_pages_bytes(res) ? plain_pages_bytes(res) : PAGE_BYTES;

    return plain + EXTENTS_LEAST * res->extent_bytes;
}

static void warn_budget_tiny(const struct residency *res)
{
    uint64_t least = least_budget(res);
    char budget[SIZE_TEXT_BYTES], enough[SIZE_TEXT_BYTES];

    if (res->budget_bytes >= least)
        return;
    log_warn("residency",
             "the budget of %s for GPU %d is too small to move weights in and out: most of them "
             "are read over the link, which is slow; give %s or more",
             size_format(res->budget_bytes, SIZE_BINARY, budget), res->device,
             size_format(least, SIZE_BINARY, enough));
}

/* Let a range rest on the host; one that refuses is asked a second time. Where its context is
 * coming to its end the range may have gone with that already: then a refusal says nothing. */
static CUresult rest_on_host(struct residency *res, const struct range *range)
{
    struct context_hold hold;
    int is_held = context_hold(&hold, range->ctx);
    CUresult result = CUDA_ERROR_UNKNOWN;

    for (int tries = 0; tries < 2 && result != CUDA_SUCCESS; tries++) {
        result =
            res->backend->rest(res->drv, res->device, range->base, range->bytes, BACKEND_REST_HOST);
        if (is_held)
            stats_note(result);
    }
    if (!is_held)
        return CUDA_SUCCESS;
    context_let_go(&hold);
    return result;
}

/* Let all ranges rest on the host. One that does not keeps no other from it: the driver moves its
 * pages about as kernels touch them, which is far slower than reading in place. returns the last
 * failure */
static CUresult rest_all_on_host(struct residency *res)
{
    CUresult failure = CUDA_SUCCESS;

    for (uint32_t i = 0; i < res->table_count; i++) {
        const struct range *range = res->table[i]->range;
        CUresult result;

        if (!range || range->extents[0] != res->table[i])
            continue; /* once for each range */
        result = rest_on_host(res, range);
        if (result != CUDA_SUCCESS)
            failure = result;
    }
    return failure;
}

void residency_activate(struct residency *res)
{
    CUresult result;

    if (pager_start(res)) {
        pager_break(res, NULL, "starting the pager", CUDA_ERROR_OPERATING_SYSTEM);
        return;
    }
    result = rest_all_on_host(res);
    if (result != CUDA_SUCCESS) {
        pager_break(res, NULL, "advising", result);
        return;
    }
    atomic_store_explicit(&res->active, 1, memory_order_release);
    atomic_store_explicit(&g_any_active, 1, memory_order_release);
    warn_budget_tiny(res);
    log_debug("residency", "device %d pages: %llu bytes are wanted, the budget is %llu",
              res->device, (unsigned long long)(res->total_bytes + res->plain_bytes),
              (unsigned long long)res->budget_bytes);
}

/* VRAM that the program holds, plain and paged, on all devices together. */
static void count_vram(int64_t bytes)
{
    stats_add(resident_bytes, bytes);
    stats_peak(&stats()->peak_resident_bytes,
               atomic_load_explicit(&stats()->resident_bytes, memory_order_relaxed));
}

void residency_count(struct residency *res, int64_t bytes)
{
    res->resident_bytes += (uint64_t)bytes;
    count_vram(bytes);
}

void residency_count_need(struct residency *res)
{
    stats_peak(&stats()->needed_bytes[res->device], res->total_bytes + plain_pages_bytes(res));
}

int residency_is_valid(const struct residency *res)
{
    uint64_t there = 0, ahead = 0, total = 0;

    for (uint32_t i = 0; i < res->table_count; i++) {
        const struct extent *e = res->table[i];

        if (!e->range)
            continue;
        if (e->state != EXTENT_ABSENT)
            there += e->bytes;
        ahead += e->ahead;
        if (e->allocations)
            total += e->bytes;
        if (atomic_load_explicit(&e->settled, memory_order_relaxed) &&
            (e->state != EXTENT_RESIDENT || !e->fixed || !res->learned))
            return 0;
        if (e->id != i || (e->ready && e->state != EXTENT_RESIDENT))
            return 0;
    }
    /* A range that is about to be given back counts until it has been. */
    return total == res->total_bytes && there <= res->resident_bytes &&
           ahead <= res->cursor_load - res->cursor_use && !*res->uses_tail && !*res->requests_tail;
}

/* Wait until the pager has given back what no longer fits. The lock is held. Without progress for a
 * while the wait ends: what holds the room may itself wait for this thread. */
static void wait_until_it_fits(struct residency *res)
{
    struct patience patience;

    patience_begin(res, &patience);
    res->no_victim = 0; /* that is found out anew */
    pager_wake(res);
    while (res->resident_bytes > room_limit(res) && !res->broken && !res->no_victim &&
           patience_wait(res, &patience))
        ;
}

void residency_charge(struct residency *res, int64_t bytes)
{
    pthread_mutex_lock(&res->lock);
    res->plain_bytes += (uint64_t)bytes;
    if (!is_active(res) && !res->broken && res->total_bytes && res->total_bytes > room_limit(res))
        residency_activate(res);
    extent_reclaim(res, 0);
    learn_room_changed(res);
    if (is_active(res) && bytes > 0)
        wait_until_it_fits(res);
    stats_add(plain_bytes, bytes);
    count_vram(bytes);
    residency_count_need(res);
    pthread_mutex_unlock(&res->lock);
}

/* What the card has free, where the calling thread can ask that; else 0. */
static uint64_t free_on_card(const struct residency *res)
{
    size_t free_bytes = 0, total_bytes = 0;
    CUdevice current = -1;

    if (stats_note(res->drv->cuCtxGetDevice(&current)) != CUDA_SUCCESS || current != res->device ||
        stats_note(res->drv->cuMemGetInfo_v2(&free_bytes, &total_bytes)) != CUDA_SUCCESS)
        return 0;
    return free_bytes;
}

/* May something be on its way out of VRAM? It counts as gone by our account, but not by the card's.
 * While the pager must wait, a context may be ending whose streams cannot be asked: that is to be
 * found out later. The lock is held. */
static int is_copying_back(const struct residency *res)
{
    const struct lane *lane = res->lanes;

    if (res->paused)
        return 1;
    while (lane &&
           !(lane->d2h && stats_note(res->drv->cuStreamQuery(lane->d2h)) == CUDA_ERROR_NOT_READY))
        lane = lane->next;
    return lane != NULL;
}

/* Wait until all of it has gone, or bytes are free; not for ever, for what holds a copy up may
 * itself wait for this thread. The lock is held, and given up in between. returns 0 when there was
 * nothing to wait for, or in vain */
static int wait_for_copies_back(struct residency *res, uint64_t bytes)
{
    uint64_t deadline_ns = monotonic_now_ns() + res->patience_ns, free_bytes;

    if (!is_copying_back(res))
        return 0;
    do {
        const uint64_t until_ns = monotonic_now_ns() + COPY_POLL_NS;
        const struct timespec until = monotonic_timespec(until_ns);

        if (until_ns > deadline_ns)
            return 0;
        pthread_cond_timedwait(&res->progress, &res->lock, &until);
        pthread_mutex_unlock(&res->lock);
        free_bytes = free_on_card(res);
        pthread_mutex_lock(&res->lock);
    } while (free_bytes < bytes && is_copying_back(res));
    return 1;
}

/* Keep to a budget that has been found to fit. The lock is held. */
static void cut_budget(struct residency *res, uint64_t bytes)
{
    int was_enough = is_active(res) && res->budget_bytes >= least_budget(res);

    warn_budget_cut(res->device, res->budget_bytes, bytes);
    res->budget_bytes = bytes;
    if (was_enough)
        warn_budget_tiny(res);
    tell_device(stats()->budget_bytes, res->device, bytes);
    tell_device(stats()->card_bytes, res->device, bytes);
    learn_forget(res);
}

/* Give up what is over the budget, until bytes are free. The lock is held. returns 1 when anything
 * went; then the lock was given up for a while */
static int give_up_the_rest(struct residency *res, uint64_t bytes)
{
    uint64_t before = res->resident_bytes;

    extent_reclaim(res, 0);
    if (!is_active(res) && !res->broken && res->resident_bytes > room_limit(res))
        residency_activate(res);
    if (is_active(res))
        wait_until_it_fits(res);
    if (res->resident_bytes >= before)
        return 0;
    wait_for_copies_back(res, bytes);
    return 1;
}

int residency_shrink(struct residency *res, uint64_t bytes, int *asked_again)
{
    uint64_t free_bytes, keep;
    int gone, given = 0;

    pthread_mutex_lock(&res->lock);
    gone = wait_for_copies_back(res, bytes);
    pthread_mutex_unlock(&res->lock);
    free_bytes = free_on_card(res);
    if (!*asked_again && (gone || free_bytes >= bytes)) {
        *asked_again = 1;
        return 1;
    }
    pthread_mutex_lock(&res->lock);
    keep = res->plain_bytes;
    if (res->resident_bytes + free_bytes > bytes)
        keep += res->resident_bytes + free_bytes - bytes;
    if (res->resident_bytes && !res->broken && free_bytes < bytes) {
        /* The card is smaller than the budget says: it stays at what has been found to fit. */
        if (keep < res->budget_bytes)
            cut_budget(res, keep);
        given = give_up_the_rest(res, bytes);
    }
    pthread_mutex_unlock(&res->lock);
    if (given)
        *asked_again = 0;
    return given;
}

void residency_context_destroyed(CUcontext ctx, int gone)
{
    for (unsigned i = 0; i < STATS_DEVICES_MAX; i++) {
        struct residency *res = atomic_load_explicit(&g_residency[i], memory_order_acquire);
        struct use **link;

        if (!res)
            continue;
        pthread_mutex_lock(&res->lock);
        res->paused++;
        while (res->handling)
            pthread_cond_wait(&res->progress, &res->lock);
        res->paused--;
        for (link = &res->uses; *link;) {
            struct use *use = *link;

            if (!use->lane || use->lane->ctx != ctx) {
                link = &use->next;
                continue;
            }
            if (gone)
                use->event = use->began = NULL;
            if (use->recorded) {
                use_end(res, link, 0);
            } else { /* its launch is in the driver at this moment and ends it, without the event */
                use->event = use->began = NULL;
                use->lane = NULL;
                link = &use->next;
            }
        }
        transfer_close(res->drv, &res->lanes, ctx, gone);
        if (res->pager_ctx == ctx)
            res->pager_ctx = NULL;
        pager_mend(res, ctx);
        pager_wake(res);
        pthread_mutex_unlock(&res->lock);
    }
}

static struct residency *existing(CUdevice device)
{
    if (device < 0 || device >= (int)STATS_DEVICES_MAX)
        return NULL;
    return atomic_load_explicit(&g_residency[device], memory_order_acquire);
}

int residency_pause(CUdevice device)
{
    struct residency *res = existing(device);

    if (!res)
        return 0;
    pthread_mutex_lock(&res->lock);
    res->paused++;
    while (res->handling)
        pthread_cond_wait(&res->progress, &res->lock);
    pthread_mutex_unlock(&res->lock);
    return 1;
}

void residency_resume(CUdevice device)
{
    struct residency *res = existing(device);

    if (!res)
        return;
    pthread_mutex_lock(&res->lock);
    res->paused--;
    pager_wake(res);
    pthread_mutex_unlock(&res->lock);
}

void residency_stop(void)
{
    for (unsigned i = 0; i < STATS_DEVICES_MAX; i++) {
        struct residency *res = atomic_load_explicit(&g_residency[i], memory_order_acquire);

        /* Not even a try to lock: a thread that the program left behind may hold it for ever. */
        if (res)
            res->broken = BROKEN_FOR_GOOD;
    }
}
