/* fake_driver.h - a driver without a device, for the unit tests of shim/.
 *
 * It keeps books instead of bytes: which pages are allocated, where they are, what each stream has
 * waited for. The work of a stream that is held is done when the test says so; every other stream's
 * is done at once. What no correct shim would do (an event used after it was destroyed, a page
 * prefetched that is not allocated, a drop that overtakes its load) is counted in g_fake.misuse,
 * and what it was is printed.
 *
 * Included by one test each, which links the shim without shim/entry*.c and shim/driver.c: what
 * those would define stands here.
 */
#ifndef BERTH_TEST_FAKE_DRIVER_H
#define BERTH_TEST_FAKE_DRIVER_H

#include "config.h"
#include "entry.h"
#include "stats.h"
#include "tests/unit/fake_books.h"
#include "tests/unit/fake_streams.h"
#include <sched.h>
#include <time.h>

static struct policy g_fake_policy;
static struct config g_fake_config;
static int g_fake_passive;

/* What entry.c and config.c would define --------------------------------------------------------*/

int entry_is_passive(void)
{
    return g_fake_passive;
}

const struct config *config(void)
{
    return &g_fake_config;
}

/* The calls -------------------------------------------------------------------------------------*/

static inline CUresult fake_cuDeviceGetAttribute(int *value, CUdevice_attribute attribute,
                                                 CUdevice dev)
{
    (void)dev;
    FAKE_ENTER("cuDeviceGetAttribute");
    *value = attribute == CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS ? g_fake.concurrent : 1;
    return fake_leave(CUDA_SUCCESS);
}

static inline CUresult fake_cuGetErrorName(CUresult error, const char **name)
{
    (void)error;
    *name = "AN_ERROR";
    return CUDA_SUCCESS;
}

static inline CUresult fake_cuCtxGetCurrent(CUcontext *ctx)
{
    *ctx = t_fake_ctx;
    return CUDA_SUCCESS;
}

static inline CUresult fake_cuCtxSetCurrent(CUcontext ctx)
{
    FAKE_ENTER("cuCtxSetCurrent");
    if (ctx && ctx->destroyed) {
        FAKE_MISUSE("a context is made current that was destroyed");
        return fake_leave(CUDA_ERROR_CONTEXT_IS_DESTROYED);
    }
    t_fake_ctx = ctx;
    return fake_leave(CUDA_SUCCESS);
}

static inline CUresult fake_cuCtxPushCurrent(CUcontext ctx)
{
    t_fake_pushed = t_fake_ctx;
    return fake_cuCtxSetCurrent(ctx);
}

static inline CUresult fake_cuCtxPopCurrent(CUcontext *ctx)
{
    *ctx = t_fake_ctx;
    t_fake_ctx = t_fake_pushed;
    return CUDA_SUCCESS;
}

static inline CUresult fake_cuCtxGetDevice(CUdevice *dev)
{
    if (!t_fake_ctx)
        return CUDA_ERROR_INVALID_CONTEXT;
    *dev = t_fake_ctx->device;
    return CUDA_SUCCESS;
}

static inline CUresult fake_cuCtxSynchronize(void)
{
    FAKE_ENTER("cuCtxSynchronize");
    g_fake.syncs++;
    g_fake.synced = t_fake_ctx;
    return fake_leave(CUDA_SUCCESS);
}

static inline CUresult fake_cuMemGetInfo(size_t *free_bytes, size_t *total_bytes)
{
    FAKE_ENTER("cuMemGetInfo");
    *free_bytes = ((size_t)1 << 30) - g_fake.others_bytes;
    *total_bytes = (size_t)2 << 30;
    return fake_leave(CUDA_SUCCESS);
}

static inline CUresult fake_cuDeviceTotalMem(size_t *bytes, CUdevice dev)
{
    (void)dev;
    FAKE_ENTER("cuDeviceTotalMem");
    *bytes = (size_t)2 << 30;
    return fake_leave(CUDA_SUCCESS);
}

static inline CUresult fake_cuMemHostRegister(void *ptr, size_t bytes, unsigned int flags)
{
    (void)ptr;
    (void)bytes;
    (void)flags;
    FAKE_ENTER("cuMemHostRegister");
    g_fake.registered++;
    return fake_leave(CUDA_SUCCESS);
}

static inline CUresult fake_cuMemHostUnregister(void *ptr)
{
    (void)ptr;
    FAKE_ENTER("cuMemHostUnregister");
    g_fake.registered--;
    return fake_leave(CUDA_SUCCESS);
}

static inline CUresult fake_cuMemAllocManaged(CUdeviceptr *out, size_t bytes, unsigned int flags)
{
    size_t pages = (bytes + FAKE_PAGE - 1) / FAKE_PAGE;

    FAKE_ENTER("cuMemAllocManaged");
    if (!t_fake_ctx)
        return fake_leave(CUDA_ERROR_INVALID_CONTEXT);
    if (flags != CU_MEM_ATTACH_GLOBAL || g_fake.next_page + pages > FAKE_PAGES)
        return fake_leave(CUDA_ERROR_INVALID_VALUE);
    *out = FAKE_BASE + g_fake.next_page * FAKE_PAGE;
    for (size_t i = 0; i < pages; i++)
        g_fake.page[g_fake.next_page + i] =
            (struct fake_page){.allocated = i ? 1 : 2, .preferred = -2, .at = -1};
    g_fake.next_page += pages + 1; /* a gap, so that neighbours never touch by chance */
    g_fake.live_managed_bytes += pages * FAKE_PAGE;
    fake_trace("managed(%zu) ", bytes / FAKE_PAGE);
    return fake_leave(CUDA_SUCCESS);
}

static inline CUresult fake_cuMemAlloc(CUdeviceptr *out, size_t bytes)
{
    FAKE_ENTER("cuMemAlloc");
    if (g_fake.plain_limit && g_fake.live_plain_bytes + bytes > g_fake.plain_limit)
        return fake_leave(CUDA_ERROR_OUT_OF_MEMORY);
    *out = FAKE_PLAIN + g_fake.next_plain;
    g_fake.next_plain += (bytes + 511) / 512 * 512;
    g_fake.live_plain_bytes += bytes;
    return fake_leave(CUDA_SUCCESS);
}

static inline CUresult fake_cuMemFree(CUdeviceptr addr)
{
    struct fake_page *p;
    size_t pages = 0;

    FAKE_ENTER("cuMemFree");
    p = addr >= FAKE_PLAIN ? NULL : fake_pages("cuMemFree", addr, FAKE_PAGE);
    if (!p)
        return fake_leave(CUDA_SUCCESS);
    if (!t_fake_ctx)
        return fake_leave(CUDA_ERROR_INVALID_CONTEXT);
    if (p->allocated != 2)
        FAKE_MISUSE("a free in the middle of an allocation");
    do {
        fake_set_place(p, -1);
        p->allocated = 0;
        pages++;
        p++;
    } while (p->allocated == 1);
    g_fake.live_managed_bytes -= pages * FAKE_PAGE;
    fake_trace("free ");
    return fake_leave(CUDA_SUCCESS);
}

static inline CUresult fake_cuMemAdvise(CUdeviceptr addr, size_t bytes, CUmem_advise advice,
                                        CUdevice device)
{
    static const char *const names[] = {
        "?",           "READ_MOSTLY",    "not READ_MOSTLY", "PREFERRED", "not PREFERRED",
        "ACCESSED_BY", "not ACCESSED_BY"};
    struct fake_page *p;

    FAKE_ENTER("cuMemAdvise");
    p = fake_pages("cuMemAdvise", addr, bytes);
    for (size_t i = 0; p && i < bytes / FAKE_PAGE; i++, p++) {
        if (advice == CU_MEM_ADVISE_SET_READ_MOSTLY) {
            if (p->moves && !fake_is_done(p->loader, p->load_order))
                FAKE_MISUSE("what an earlier load was to move becomes a duplicate without guard");
            p->read_mostly = 1;
        }
        if (advice == CU_MEM_ADVISE_UNSET_READ_MOSTLY) {
            if (p->read_mostly && p->at >= 0)
                fake_set_place(p, -1); /* the duplicate goes */
            p->read_mostly = 0;
        }
        if (advice == CU_MEM_ADVISE_SET_PREFERRED_LOCATION)
            p->preferred = (int8_t)device;
        if (advice == CU_MEM_ADVISE_SET_ACCESSED_BY)
            p->accessed = 1;
    }
    fake_trace("%s(%zu, %d) ", names[advice], bytes / FAKE_PAGE, device);
    return fake_leave(CUDA_SUCCESS);
}

static inline void fake_move(struct fake_page *p, CUdevice device, CUstream stream)
{
    if (device == CU_DEVICE_CPU) {
        if (p->at >= 0 && !fake_is_done(p->loader, p->load_order) && stream->seen < p->load_order)
            FAKE_MISUSE("a drop overtakes the load of the same page");
        p->mapped = 1;
        if (p->read_mostly && p->at >= 0) /* the duplicate stays */
            return;
    } else {
        if (p->read_mostly && !p->mapped && p->at < 0)
            FAKE_MISUSE("a duplicate without guard");
        p->loader = stream;
        p->load_order = g_fake.order;
        p->moves = !p->read_mostly;
    }
    fake_set_place(p, device);
}

static inline CUresult fake_cuMemPrefetchAsync(CUdeviceptr addr, size_t bytes, CUdevice device,
                                               CUstream stream)
{
    struct fake_page *p;

    FAKE_ENTER("cuMemPrefetchAsync");
    p = fake_pages("cuMemPrefetchAsync", addr, bytes);
    if (!stream->alive || stream->ctx != t_fake_ctx)
        FAKE_MISUSE("a prefetch on a stream that is none, or of another context");
    g_fake.order++;
    if (device == CU_DEVICE_CPU) {
        g_fake.drops++;
        if (p && p->at >= 0)
            g_fake.drop_order[p->at] = g_fake.order;
    } else {
        g_fake.loads++;
        g_fake.gated_loads += (unsigned)fake_is_gated(stream);
        if (stream->seen < g_fake.drop_order[device] &&
            g_fake.known_done < g_fake.drop_order[device])
            FAKE_MISUSE("a load does not wait for the drop that makes its room");
    }
    for (size_t i = 0; p && i < bytes / FAKE_PAGE; i++)
        fake_move(&p[i], device, stream);
    fake_trace("prefetch(%zu, %d) ", bytes / FAKE_PAGE, device);
    return fake_leave(CUDA_SUCCESS);
}

static struct driver g_fake_driver = {
    .cuDeviceGetAttribute = fake_cuDeviceGetAttribute,
    .cuGetErrorName = fake_cuGetErrorName,
    .cuCtxGetCurrent = fake_cuCtxGetCurrent,
    .cuCtxSetCurrent = fake_cuCtxSetCurrent,
    .cuCtxPushCurrent_v2 = fake_cuCtxPushCurrent,
    .cuCtxPopCurrent_v2 = fake_cuCtxPopCurrent,
    .cuCtxGetDevice = fake_cuCtxGetDevice,
    .cuCtxSynchronize = fake_cuCtxSynchronize,
    .cuStreamSynchronize = fake_cuStreamSynchronize,
    .cuStreamQuery = fake_cuStreamQuery,
    .cuMemGetInfo_v2 = fake_cuMemGetInfo,
    .cuDeviceTotalMem_v2 = fake_cuDeviceTotalMem,
    .cuStreamCreate = fake_cuStreamCreate,
    .cuStreamDestroy_v2 = fake_cuStreamDestroy,
    .cuStreamGetCtx = fake_cuStreamGetCtx,
    .cuStreamIsCapturing = fake_cuStreamIsCapturing,
    .cuStreamWaitEvent = fake_cuStreamWaitEvent,
    .cuStreamWaitValue32_v2 = fake_cuStreamWaitValue32,
    .cuMemHostRegister_v2 = fake_cuMemHostRegister,
    .cuMemHostUnregister = fake_cuMemHostUnregister,
    .cuEventCreate = fake_cuEventCreate,
    .cuEventDestroy_v2 = fake_cuEventDestroy,
    .cuEventRecord = fake_cuEventRecord,
    .cuEventQuery = fake_cuEventQuery,
    .cuEventSynchronize = fake_cuEventSynchronize,
    .cuMemAllocManaged = fake_cuMemAllocManaged,
    .cuMemAlloc_v2 = fake_cuMemAlloc,
    .cuMemFree_v2 = fake_cuMemFree,
    .cuMemAdvise = fake_cuMemAdvise,
    .cuMemPrefetchAsync = fake_cuMemPrefetchAsync,
    .path = "fake",
};

const struct driver *driver_get(void)
{
    return &g_fake_driver;
}

/* What tests call -------------------------------------------------------------------------------*/

/* A context, current in this thread. */
static inline CUcontext fake_context(CUdevice device)
{
    CUcontext ctx = calloc(1, sizeof(*ctx));

    g_fake.kept[g_fake.kept_count++] = ctx;
    ctx->device = device;
    t_fake_ctx = ctx;
    return ctx;
}

/* A stream of the program's, in the current context; held: its work ends by fake_finish(). */
static inline CUstream fake_program_stream(int held)
{
    CUstream s = calloc(1, sizeof(*s));

    pthread_mutex_lock(&g_fake.lock);
    g_fake.kept[g_fake.kept_count++] = s;
    pthread_mutex_unlock(&g_fake.lock);
    s->ctx = t_fake_ctx;
    s->alive = 1;
    s->held = held;
    return s;
}

/* Wait for what another thread of the shim's does on its own. */
#define WAIT_FOR(condition)                                                                        \
    do {                                                                                           \
        time_t until = time(NULL) + 10;                                                            \
                                                                                                   \
        while (!(condition)) {                                                                     \
            assert_true(time(NULL) < until);                                                       \
            sched_yield();                                                                         \
        }                                                                                          \
    } while (0)

/* What a field of g_fake is now. */
#define FAKE_READ(field)                                                                           \
    ({                                                                                             \
        __typeof__(field) value_;                                                                  \
                                                                                                   \
        pthread_mutex_lock(&g_fake.lock);                                                          \
        value_ = (field);                                                                          \
        pthread_mutex_unlock(&g_fake.lock);                                                        \
        value_;                                                                                    \
    })

/* Stop calls of a kind, or let them go on (NULL). */
static inline void fake_gate(const char *kind)
{
    pthread_mutex_lock(&g_fake.lock);
    g_fake.gate = kind;
    pthread_cond_broadcast(&g_fake.finished);
    pthread_mutex_unlock(&g_fake.lock);
}

/* The work of a held stream up to a number has run. */
static inline void fake_finish_to(CUstream stream, uint64_t order)
{
    pthread_mutex_lock(&g_fake.lock);
    fake_run_to(stream, order);
    pthread_mutex_unlock(&g_fake.lock);
}

/* All that is queued on a stream so far has run. */
static inline void fake_finish(CUstream stream)
{
    fake_finish_to(stream, FAKE_READ(g_fake.order));
}

/* Wait until a held stream has unfinished work, and finish the oldest piece of it.
 *
 * returns  0 when g_fake.finisher_ends was set
 */
static inline int fake_finish_oldest(void)
{
    CUevent oldest = NULL;
    CUstream stream = NULL;
    uint64_t order = 0;

    pthread_mutex_lock(&g_fake.lock);
    for (;;) {
        for (size_t i = 0; i < g_fake.event_count; i++)
            if (g_fake.events[i]->pending && (!oldest || g_fake.events[i]->order < oldest->order))
                oldest = g_fake.events[i];
        if (oldest || g_fake.finisher_ends)
            break;
        pthread_cond_wait(&g_fake.queued, &g_fake.lock);
    }
    if (oldest) {
        stream = oldest->stream;
        order = oldest->order;
    }
    pthread_mutex_unlock(&g_fake.lock);
    if (oldest)
        fake_finish_to(stream, order);
    return oldest != NULL;
}

/* The budgets of a device and of the host; before the device's first use. */
static inline void fake_budget(CUdevice device, uint64_t bytes, uint64_t cpu_bytes)
{
    g_fake_config.policy = &g_fake_policy;
    g_fake_policy.max_memory.device_bytes[device] = bytes;
    g_fake_policy.max_memory.cpu_bytes = cpu_bytes;
}

static inline struct fake_page *fake_page_at(CUdeviceptr addr)
{
    return &g_fake.page[(addr - FAKE_BASE) / FAKE_PAGE];
}

static inline void fake_fail(const char *kind, unsigned skip, unsigned count, CUresult result)
{
    pthread_mutex_lock(&g_fake.lock);
    g_fake.fail_kind = kind;
    g_fake.fail_skip = skip;
    g_fake.fail_count = count;
    g_fake.fail_result = result;
    pthread_mutex_unlock(&g_fake.lock);
}

static inline CUresult fake_plain(void *arg, CUdeviceptr *out)
{
    return g_fake_driver.cuMemAlloc_v2(out, *(size_t *)arg);
}

/* The name of a statistics record. */
static inline const char *fake_record_name(const struct stats_record *record)
{
    static char name[256];

    snprintf(name, sizeof(name), "%.*s", (int)record->name_bytes,
             (const char *)stats() + STATS_NAMES_OFFSET + record->name_offset);
    return name;
}

#endif
