/* Contexts: their life, the stack of them of each thread. */
#include "context.h"

#include "memory.h"
#include "module.h"
#include "stream.h"

#define STACK_DEPTH 64
#define API_VERSION 13000u

#define DEVICE_UNAVAILABLE 46 /* CUDA_ERROR_DEVICE_UNAVAILABLE */

/* CU_CTX_SCHED_*, MAP_HOST, LMEM_RESIZE_TO_MAX, COREDUMP_ENABLE, USER_COREDUMP_ENABLE, SYNC_MEMOPS
 */
#define KNOWN_FLAGS 0xFFu
#define SCHED_MASK  0x07u

static pthread_mutex_t g_driver_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t g_hold_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t g_let_go = PTHREAD_COND_INITIALIZER; /* g_hold_lock */
static CUcontext _Atomic g_contexts;                       /* the newest */
static _Atomic uint64_t g_context_ids;
static _Atomic int g_lost[SIM_DEVICES_MAX];
static _Atomic int g_fault; /* CUresult of the first fault of device work in this process */

static __thread CUcontext t_stack[STACK_DEPTH];
static __thread unsigned t_depth;

static const size_t LIMIT_DEFAULTS[CONTEXT_LIMITS] = {
    1024,    /* CU_LIMIT_STACK_SIZE */
    1 << 20, /* CU_LIMIT_PRINTF_FIFO_SIZE */
    8 << 20, /* CU_LIMIT_MALLOC_HEAP_SIZE */
    2,       /* CU_LIMIT_DEV_RUNTIME_SYNC_DEPTH */
    2048,    /* CU_LIMIT_DEV_RUNTIME_PENDING_LAUNCH_COUNT */
    64,      /* CU_LIMIT_MAX_L2_FETCH_GRANULARITY */
    0,       /* CU_LIMIT_PERSISTING_L2_CACHE_SIZE */
};

void driver_lock(void)
{
    pthread_mutex_lock(&g_driver_lock);
}

void driver_unlock(void)
{
    pthread_mutex_unlock(&g_driver_lock);
}

CUcontext context_first(void)
{
    return atomic_load(&g_contexts);
}

CUcontext context_next(CUcontext ctx)
{
    return ctx->older;
}

CUcontext context_current(void)
{
    return t_depth ? t_stack[t_depth - 1] : NULL;
}

CUresult context_check(CUcontext ctx)
{
    if (!handle_is(ctx, HANDLE_CONTEXT))
        return CUDA_ERROR_INVALID_CONTEXT;
    return atomic_load(&ctx->alive) ? CUDA_SUCCESS : CUDA_ERROR_CONTEXT_IS_DESTROYED;
}

/* Wait until no other thread holds ctx. The hold lock is held. */
static void wait_until_let_go(CUcontext ctx)
{
    while (atomic_load(&ctx->held))
        pthread_cond_wait(&g_let_go, &g_hold_lock);
}

void context_hold(CUcontext ctx)
{
    pthread_mutex_lock(&g_hold_lock);
    wait_until_let_go(ctx);
    atomic_store(&ctx->held, 1);
    pthread_mutex_unlock(&g_hold_lock);
}

void context_let_go(CUcontext ctx)
{
    pthread_mutex_lock(&g_hold_lock);
    atomic_store(&ctx->held, 0);
    pthread_cond_broadcast(&g_let_go);
    pthread_mutex_unlock(&g_hold_lock);
}

static void pass_hold(CUcontext ctx)
{
    if (!atomic_load(&ctx->held))
        return;
    pthread_mutex_lock(&g_hold_lock);
    wait_until_let_go(ctx);
    pthread_mutex_unlock(&g_hold_lock);
}

CUresult sim_enter(CUcontext *ctx, int *device)
{
    CUcontext current;
    CUresult res;

    res = sim_call();
    if (res != CUDA_SUCCESS)
        return res;
    current = context_current();
    if (!current)
        return CUDA_ERROR_INVALID_CONTEXT;
    pass_hold(current);
    res = context_check(current);
    if (res != CUDA_SUCCESS)
        return res;
    if (ctx)
        *ctx = current;
    if (device)
        *device = current->device;
    return (CUresult)atomic_load(&current->sticky);
}

int sim_context_device(CUcontext ctx)
{
    return ctx->device;
}

static void set_sticky(CUcontext ctx, CUresult fault)
{
    int none = 0;

    if (atomic_compare_exchange_strong(&ctx->sticky, &none, (int)fault))
        sim_log("context %llu is lost: error %d", (unsigned long long)ctx->id, (int)fault);
}

/* Every context of the device, or of all for a negative one. */
static void set_sticky_on(int device, CUresult fault)
{
    CUcontext ctx;

    for (ctx = context_first(); ctx; ctx = context_next(ctx)) {
        if (atomic_load(&ctx->alive) && (device < 0 || ctx->device == device))
            set_sticky(ctx, fault);
    }
}

void sim_fault(CUresult fault)
{
    int none = 0;

    atomic_compare_exchange_strong(&g_fault, &none, (int)fault);
    set_sticky_on(-1, (CUresult)atomic_load(&g_fault));
}

/* Life
 * --------------------------------------------------------------------------------------------*/

CUcontext context_new(void)
{
    CUcontext ctx = handle_create(HANDLE_CONTEXT, sizeof(*ctx));

    if (!ctx)
        return NULL;
    ctx->older = atomic_load(&g_contexts);
    while (!atomic_compare_exchange_weak(&g_contexts, &ctx->older, ctx))
        continue;
    return ctx;
}

void context_lose_device(int device, CUresult fault)
{
    atomic_store(&g_lost[device], 1);
    set_sticky_on(device, fault);
}

CUresult context_open(CUcontext ctx, int device, unsigned flags)
{
    CUresult res;
    int i;

    if (atomic_load(&g_lost[device]))
        return (CUresult)DEVICE_UNAVAILABLE;
    if (atomic_load(&g_fault))
        return (CUresult)atomic_load(&g_fault);
    res = memory_charge(device, (long long)sim_setting(SIM_CONTEXT_BYTES));
    if (res != CUDA_SUCCESS)
        return res;
    ctx->device = device;
    ctx->flags = flags;
    ctx->api_version = API_VERSION;
    ctx->id = atomic_fetch_add(&g_context_ids, 1) + 1;
    for (i = 0; i < CONTEXT_LIMITS; i++)
        atomic_store(&ctx->limits[i], LIMIT_DEFAULTS[i]);
    atomic_store(&ctx->cache_config, 0);
    atomic_store(&ctx->sticky, 0);
    ctx->legacy = stream_create(ctx, CU_STREAM_DEFAULT, 0, 0);
    if (!ctx->legacy) {
        memory_charge(device, -(long long)sim_setting(SIM_CONTEXT_BYTES));
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    atomic_store(&ctx->alive, 1);
    if (atomic_load(&g_fault)) /* it came too late to find this context alive */
        set_sticky(ctx, (CUresult)atomic_load(&g_fault));
    return CUDA_SUCCESS;
}

void context_close(CUcontext ctx)
{
    queue_lock();
    atomic_store(&ctx->alive, 0);
    queue_unlock();
    stream_close_context(ctx);
    event_close_context(ctx);
    module_close_context(ctx);
    memory_context_destroyed(ctx);
    memory_charge(ctx->device, -(long long)sim_setting(SIM_CONTEXT_BYTES));
}

/* The stack
 * ---------------------------------------------------------------------------------------*/

static CUresult stack_push(CUcontext ctx)
{
    if (t_depth == STACK_DEPTH)
        return CUDA_ERROR_OUT_OF_MEMORY;
    t_stack[t_depth++] = ctx;
    return CUDA_SUCCESS;
}

static CUresult push(CUcontext ctx)
{
    CUresult res = sim_call();

    if (res != CUDA_SUCCESS)
        return res;
    res = context_check(ctx);
    return res == CUDA_SUCCESS ? stack_push(ctx) : res;
}

static CUresult pop(CUcontext *ctx)
{
    CUresult res = sim_call();

    if (res != CUDA_SUCCESS)
        return res;
    if (!t_depth)
        return CUDA_ERROR_INVALID_CONTEXT;
    t_depth--;
    if (ctx)
        *ctx = t_stack[t_depth];
    return CUDA_SUCCESS;
}

SIM_ENTRY(cuCtxPushCurrent_v2, CUcontext ctx)
{
    return push(ctx);
}

SIM_ENTRY(cuCtxPushCurrent, CUcontext ctx)
{
    return push(ctx);
}

SIM_ENTRY(cuCtxPopCurrent_v2, CUcontext *ctx)
{
    return pop(ctx);
}

SIM_ENTRY(cuCtxPopCurrent, CUcontext *ctx)
{
    return pop(ctx);
}

SIM_ENTRY(cuCtxSetCurrent, CUcontext ctx)
{
    CUresult res = sim_call();

    if (res != CUDA_SUCCESS)
        return res;
    if (!ctx) {
        if (t_depth)
            t_depth--;
        return CUDA_SUCCESS;
    }
    res = context_check(ctx);
    if (res != CUDA_SUCCESS)
        return res;
    if (!t_depth)
        return stack_push(ctx);
    t_stack[t_depth - 1] = ctx;
    return CUDA_SUCCESS;
}

SIM_ENTRY(cuCtxGetCurrent, CUcontext *ctx)
{
    CUresult res = sim_call();

    if (res != CUDA_SUCCESS)
        return res;
    if (!ctx)
        return CUDA_ERROR_INVALID_VALUE;
    *ctx = context_current();
    return CUDA_SUCCESS;
}

/* Making and destroying
 * ---------------------------------------------------------------------------*/

static CUresult create(CUcontext *out, unsigned flags, CUdevice device)
{
    CUcontext ctx;
    CUresult res;

    res = sim_call_device(device);
    if (res != CUDA_SUCCESS)
        return res;
    if (!out || (flags & ~KNOWN_FLAGS))
        return CUDA_ERROR_INVALID_VALUE;
    ctx = context_new();
    if (!ctx)
        return CUDA_ERROR_OUT_OF_MEMORY;
    res = context_open(ctx, device, flags);
    if (res != CUDA_SUCCESS)
        return res;
    res = stack_push(ctx);
    if (res != CUDA_SUCCESS) {
        context_close(ctx);
        return res;
    }
    *out = ctx;
    return CUDA_SUCCESS;
}

SIM_ENTRY(cuCtxCreate_v2, CUcontext *out, unsigned int flags, CUdevice device)
{
    return create(out, flags, device);
}

/* Execution affinity needs a partitioned device, which this is not. */
SIM_ENTRY(cuCtxCreate_v3, CUcontext *out, void *affinity, int affinity_count, unsigned int flags,
          CUdevice device)
{
    if (affinity || affinity_count)
        return CUDA_ERROR_NOT_SUPPORTED;
    return create(out, flags, device);
}

struct create_params { /* CUctxCreateParams */
    void *affinity;
    int affinity_count;
    void *graphics;
};

SIM_ENTRY(cuCtxCreate_v4, CUcontext *out, struct create_params *params, unsigned int flags,
          CUdevice device)
{
    if (params && (params->affinity || params->affinity_count || params->graphics))
        return CUDA_ERROR_NOT_SUPPORTED;
    return create(out, flags, device);
}

/* A context that is current in other threads stays so, and every call of theirs gives 709. */
static CUresult destroy(CUcontext ctx)
{
    CUresult res = sim_call();

    if (res != CUDA_SUCCESS)
        return res;
    if (!ctx)
        return CUDA_ERROR_INVALID_VALUE;
    res = context_check(ctx);
    if (res != CUDA_SUCCESS)
        return res;
    if (ctx->is_primary)
        return CUDA_ERROR_INVALID_CONTEXT;
    if (context_current() == ctx)
        t_depth--;
    context_close(ctx);
    return CUDA_SUCCESS;
}

SIM_ENTRY(cuCtxDestroy_v2, CUcontext ctx)
{
    return destroy(ctx);
}

SIM_ENTRY(cuCtxDestroy, CUcontext ctx)
{
    return destroy(ctx);
}

SIM_ENTRY(cuCtxDetach, CUcontext ctx)
{
    return destroy(ctx);
}

/* Questions and settings
 * --------------------------------------------------------------------------*/

/* The context that is asked about: NULL means the current one. */
static CUresult enter_given(CUcontext *ctx)
{
    CUresult res;

    if (!*ctx)
        return sim_enter(ctx, NULL);
    res = sim_call();
    if (res != CUDA_SUCCESS)
        return res;
    res = context_check(*ctx);
    return res == CUDA_SUCCESS ? (CUresult)atomic_load(&(*ctx)->sticky) : res;
}

static CUresult get_device(CUdevice *device, CUcontext ctx)
{
    CUresult res = enter_given(&ctx);

    if (res != CUDA_SUCCESS)
        return res;
    if (!device)
        return CUDA_ERROR_INVALID_VALUE;
    *device = ctx->device;
    return CUDA_SUCCESS;
}

SIM_ENTRY(cuCtxGetDevice, CUdevice *device)
{
    return get_device(device, NULL);
}

SIM_ENTRY(cuCtxGetDevice_v2, CUdevice *device, CUcontext ctx)
{
    return get_device(device, ctx);
}

static CUresult synchronize(CUcontext ctx)
{
    CUresult res = enter_given(&ctx);

    return res == CUDA_SUCCESS ? sim_context_synchronize(ctx) : res;
}

SIM_ENTRY(cuCtxSynchronize, void)
{
    return synchronize(NULL);
}

SIM_ENTRY(cuCtxSynchronize_v2, CUcontext ctx)
{
    return synchronize(ctx);
}

SIM_ENTRY(cuCtxGetFlags, unsigned int *flags)
{
    CUcontext ctx;
    CUresult res = sim_enter(&ctx, NULL);

    if (res != CUDA_SUCCESS)
        return res;
    if (!flags)
        return CUDA_ERROR_INVALID_VALUE;
    driver_lock();
    *flags = ctx->flags;
    driver_unlock();
    return CUDA_SUCCESS;
}

SIM_ENTRY(cuCtxSetFlags, unsigned int flags)
{
    CUcontext ctx;
    CUresult res = sim_enter(&ctx, NULL);

    if (res != CUDA_SUCCESS)
        return res;
    if (flags & ~KNOWN_FLAGS)
        return CUDA_ERROR_INVALID_VALUE;
    driver_lock();
    ctx->flags = flags;
    driver_unlock();
    return CUDA_SUCCESS;
}

SIM_ENTRY(cuCtxGetId, CUcontext ctx, unsigned long long *id)
{
    CUresult res = enter_given(&ctx);

    if (res != CUDA_SUCCESS)
        return res;
    if (!id)
        return CUDA_ERROR_INVALID_VALUE;
    *id = ctx->id;
    return CUDA_SUCCESS;
}

SIM_ENTRY(cuCtxGetApiVersion, CUcontext ctx, unsigned int *version)
{
    CUresult res = enter_given(&ctx);

    if (res != CUDA_SUCCESS)
        return res;
    if (!version)
        return CUDA_ERROR_INVALID_VALUE;
    *version = ctx->api_version;
    return CUDA_SUCCESS;
}
