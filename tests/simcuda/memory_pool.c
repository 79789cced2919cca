#include "memory_pool.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"
#include "sim.h"
#include "stream.h"

struct pooled {
    CUdeviceptr addr;
    size_t bytes;
    int is_freeing; /* its free is queued: it can be freed no more */
    struct pooled *next;
};

struct CUmemPoolHandle_st {
    int device;
    int is_default;
    int is_destroyed; /* goes with its last allocation */
    int reuse[3];     /* the three REUSE attributes */
    cuuint64_t release_threshold;
    cuuint64_t used;
    cuuint64_t used_high;
    struct pooled *first;
    struct CUmemPoolHandle_st *next;
};

static pthread_mutex_t g_lock = PTHREAD_MUTEX_INITIALIZER;
static struct CUmemPoolHandle_st *g_pools;
static CUmemoryPool g_default[SIM_DEVICES_MAX];
static CUmemoryPool g_current[SIM_DEVICES_MAX];

/* Pools; the lock is held -------------------------------------------------------------------- */

static CUmemoryPool pool_new(int device)
{
    CUmemoryPool pool = calloc(1, sizeof(*pool));

    if (!pool)
        return NULL;
    pool->device = device;
    pool->reuse[0] = pool->reuse[1] = pool->reuse[2] = 1;
    pool->next = g_pools;
    g_pools = pool;
    return pool;
}

static CUmemoryPool pool_default(int device)
{
    if (!g_default[device]) {
        g_default[device] = pool_new(device);
        if (g_default[device])
            g_default[device]->is_default = 1;
    }
    return g_default[device];
}

static CUmemoryPool pool_current(int device)
{
    return g_current[device] ? g_current[device] : pool_default(device);
}

static int pool_is(CUmemoryPool handle)
{
    CUmemoryPool pool;

    for (pool = g_pools; pool; pool = pool->next) {
        if (pool == handle)
            return !pool->is_destroyed;
    }
    return 0;
}

static void pool_collect(CUmemoryPool pool)
{
    CUmemoryPool *link = &g_pools;

    if (!pool->is_destroyed || pool->first)
        return;
    while (*link != pool)
        link = &(*link)->next;
    *link = pool->next;
    free(pool);
}

static struct pooled *pooled_find(CUdeviceptr addr, CUmemoryPool *owner)
{
    struct pooled *pooled;
    CUmemoryPool pool;

    for (pool = g_pools; pool; pool = pool->next) {
        for (pooled = pool->first; pooled; pooled = pooled->next) {
            if (pooled->addr == addr) {
                *owner = pool;
                return pooled;
            }
        }
    }
    return NULL;
}

CUmemoryPool memory_pool_of(CUdeviceptr addr)
{
    CUmemoryPool pool = NULL;

    pthread_mutex_lock(&g_lock);
    pooled_find(addr, &pool);
    pthread_mutex_unlock(&g_lock);
    return pool;
}

void memory_pool_forget(CUdeviceptr addr)
{
    struct pooled *pooled, **link;
    CUmemoryPool pool;

    pthread_mutex_lock(&g_lock);
    pooled = pooled_find(addr, &pool);
    if (pooled) {
        for (link = &pool->first; *link != pooled; link = &(*link)->next)
            ;
        *link = pooled->next;
        pool->used -= pooled->bytes;
        free(pooled);
        pool_collect(pool);
    }
    pthread_mutex_unlock(&g_lock);
}

/* Allocate and free in stream order ---------------------------------------------------------- */

static CUresult pooled_add(CUmemoryPool pool, CUdeviceptr addr, size_t bytes)
{
    struct pooled *pooled = calloc(1, sizeof(*pooled));

    if (!pooled)
        return CUDA_ERROR_OUT_OF_MEMORY;
    pooled->addr = addr;
    pooled->bytes = bytes;
    pthread_mutex_lock(&g_lock);
    pooled->next = pool->first;
    pool->first = pooled;
    pool->used += bytes;
    if (pool->used > pool->used_high)
        pool->used_high = pool->used;
    pthread_mutex_unlock(&g_lock);
    return CUDA_SUCCESS;
}

static CUresult alloc_async(CUdeviceptr *out, size_t bytes, CUmemoryPool pool, int use_current,
                            CUstream handle)
{
    CUstream stream;
    CUresult res = stream_enter(handle, &stream);

    if (res != CUDA_SUCCESS)
        return res;
    pthread_mutex_lock(&g_lock);
    if (use_current)
        pool = pool_current(sim_context_device(stream->ctx));
    else if (!pool_is(pool))
        pool = NULL;
    pthread_mutex_unlock(&g_lock);
    if (!pool || !out)
        return CUDA_ERROR_INVALID_VALUE;
    res = memory_alloc(MEMORY_DEVICE, pool->device, stream->ctx, bytes, 0, out);
    if (res == CUDA_ERROR_OUT_OF_MEMORY) {
        /* Memory whose free is queued is the pool's to give out again. */
        res = sim_context_synchronize(stream->ctx);
        if (res == CUDA_SUCCESS)
            res = memory_alloc(MEMORY_DEVICE, pool->device, stream->ctx, bytes, 0, out);
    }
    if (res != CUDA_SUCCESS)
        return res;
    res = pooled_add(pool, *out, bytes);
    if (res != CUDA_SUCCESS)
        memory_free(MEMORY_DEVICE, *out);
    return res;
}

static int free_run(void *arg)
{
    const CUdeviceptr *addr = arg;

    memory_pool_forget(*addr);
    memory_free(MEMORY_DEVICE, *addr);
    return 0;
}

/* returns 1 when the free of a pool's allocation has been queued before */
static int free_mark(CUdeviceptr addr)
{
    struct pooled *pooled;
    CUmemoryPool pool;
    int is_twice = 0;

    pthread_mutex_lock(&g_lock);
    pooled = pooled_find(addr, &pool);
    if (pooled) {
        is_twice = pooled->is_freeing;
        pooled->is_freeing = 1;
    }
    pthread_mutex_unlock(&g_lock);
    return is_twice;
}

static CUresult free_async(CUdeviceptr addr, CUstream handle)
{
    struct memory_info info;
    CUdeviceptr *arg;
    CUstream stream;
    CUresult res = stream_enter(handle, &stream);

    if (res != CUDA_SUCCESS)
        return res;
    if (!memory_find(addr, &info) || info.base != addr || info.kind != MEMORY_DEVICE ||
        free_mark(addr))
        return CUDA_ERROR_INVALID_VALUE;
    arg = malloc(sizeof(*arg));
    if (!arg)
        return CUDA_ERROR_OUT_OF_MEMORY;
    *arg = addr;
    return sim_stream_enqueue(stream->ctx, stream, free_run, arg, free);
}

SIM_ENTRY_PTSZ(cuMemAllocAsync, (CUdeviceptr * dptr, size_t bytes, CUstream stream),
               alloc_async(dptr, bytes, NULL, 1, stream))

SIM_ENTRY_PTSZ(cuMemAllocFromPoolAsync,
               (CUdeviceptr * dptr, size_t bytes, CUmemoryPool pool, CUstream stream),
               alloc_async(dptr, bytes, pool, 0, stream))

SIM_ENTRY_PTSZ(cuMemFreeAsync, (CUdeviceptr dptr, CUstream stream), free_async(dptr, stream))

/* Pools of a device -------------------------------------------------------------------------- */

SIM_ENTRY(cuDeviceGetDefaultMemPool, CUmemoryPool *pool, CUdevice device)
{
    CUresult res = sim_call_device(device);

    if (res != CUDA_SUCCESS)
        return res;
    if (!pool)
        return CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&g_lock);
    *pool = pool_default(device);
    pthread_mutex_unlock(&g_lock);
    return *pool ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

SIM_ENTRY(cuDeviceGetMemPool, CUmemoryPool *pool, CUdevice device)
{
    CUresult res = sim_call_device(device);

    if (res != CUDA_SUCCESS)
        return res;
    if (!pool)
        return CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_lock(&g_lock);
    *pool = pool_current(device);
    pthread_mutex_unlock(&g_lock);
    return *pool ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

SIM_ENTRY(cuDeviceSetMemPool, CUdevice device, CUmemoryPool pool)
{
    CUresult res = sim_call_device(device);

    if (res != CUDA_SUCCESS)
        return res;
    pthread_mutex_lock(&g_lock);
    if (pool_is(pool) && pool->device == device)
        g_current[device] = pool;
    else
        res = CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_unlock(&g_lock);
    return res;
}

SIM_ENTRY(cuMemPoolCreate, CUmemoryPool *pool, const CUmemPoolProps *props)
{
    CUresult res = sim_call();

    if (res != CUDA_SUCCESS)
        return res;
    if (!pool || !props || props->allocType != CU_MEM_ALLOCATION_TYPE_PINNED ||
        props->handleTypes != 0)
        return CUDA_ERROR_INVALID_VALUE;
    if (props->location.type != CU_MEM_LOCATION_TYPE_DEVICE)
        return CUDA_ERROR_NOT_SUPPORTED;
    res = sim_call_device(props->location.id);
    if (res != CUDA_SUCCESS)
        return res;
    pthread_mutex_lock(&g_lock);
    *pool = pool_new(props->location.id);
    pthread_mutex_unlock(&g_lock);
    return *pool ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
}

SIM_ENTRY(cuMemPoolDestroy, CUmemoryPool pool)
{
    CUresult res = sim_call();
    int d;

    if (res != CUDA_SUCCESS)
        return res;
    pthread_mutex_lock(&g_lock);
    if (pool_is(pool) && !pool->is_default) {
        for (d = 0; d < SIM_DEVICES_MAX; d++) {
            if (g_current[d] == pool)
                g_current[d] = NULL;
        }
        pool->is_destroyed = 1;
        pool_collect(pool);
    } else {
        res = CUDA_ERROR_INVALID_VALUE;
    }
    pthread_mutex_unlock(&g_lock);
    return res;
}

/* Nothing is kept back, so there is nothing to trim. */
SIM_ENTRY(cuMemPoolTrimTo, CUmemoryPool pool, size_t keep_bytes)
{
    CUresult res = sim_call();

    (void)keep_bytes;
    if (res != CUDA_SUCCESS)
        return res;
    pthread_mutex_lock(&g_lock);
    res = pool_is(pool) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_unlock(&g_lock);
    return res;
}

/* Attributes; the lock is held --------------------------------------------------------------- */

static CUresult attribute_get(CUmemoryPool pool, CUmemPool_attribute attribute, void *value)
{
    switch (attribute) {
    case CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES:
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC:
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES:
        *(int *)value = pool->reuse[attribute - CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES];
        return CUDA_SUCCESS;
    case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD:
        *(cuuint64_t *)value = pool->release_threshold;
        return CUDA_SUCCESS;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT:
    case CU_MEMPOOL_ATTR_USED_MEM_CURRENT:
        *(cuuint64_t *)value = pool->used;
        return CUDA_SUCCESS;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH:
    case CU_MEMPOOL_ATTR_USED_MEM_HIGH:
        *(cuuint64_t *)value = pool->used_high;
        return CUDA_SUCCESS;
    }
    return CUDA_ERROR_INVALID_VALUE;
}

static CUresult attribute_set(CUmemoryPool pool, CUmemPool_attribute attribute, const void *value)
{
    switch (attribute) {
    case CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES:
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC:
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES:
        pool->reuse[attribute - CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES] =
            *(const int *)value != 0;
        return CUDA_SUCCESS;
    case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD:
        pool->release_threshold = *(const cuuint64_t *)value;
        return CUDA_SUCCESS;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH:
    case CU_MEMPOOL_ATTR_USED_MEM_HIGH:
        /* High marks can only be put back. */
        if (*(const cuuint64_t *)value != 0)
            return CUDA_ERROR_INVALID_VALUE;
        pool->used_high = pool->used;
        return CUDA_SUCCESS;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT:
    case CU_MEMPOOL_ATTR_USED_MEM_CURRENT:
        break;
    }
    return CUDA_ERROR_INVALID_VALUE;
}

SIM_ENTRY(cuMemPoolGetAttribute, CUmemoryPool pool, CUmemPool_attribute attribute, void *value)
{
    CUresult res = sim_call();

    if (res != CUDA_SUCCESS)
        return res;
    pthread_mutex_lock(&g_lock);
    res = value && pool_is(pool) ? attribute_get(pool, attribute, value) : CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_unlock(&g_lock);
    return res;
}

SIM_ENTRY(cuMemPoolSetAttribute, CUmemoryPool pool, CUmemPool_attribute attribute, void *value)
{
    CUresult res = sim_call();

    if (res != CUDA_SUCCESS)
        return res;
    pthread_mutex_lock(&g_lock);
    res = value && pool_is(pool) ? attribute_set(pool, attribute, value) : CUDA_ERROR_INVALID_VALUE;
    pthread_mutex_unlock(&g_lock);
    return res;
}
