#include "entry.h"
#include "log.h"
#include "stats.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define X(name, symbol, since, null_stream, params) (void *)symbol,
static void *const g_hook_functions[HOOK_COUNT] = {HOOKS(X)};
#undef X

static _Atomic(const struct hook_index *) g_index;
static atomic_int g_passive;

/* fork ------------------------------------------------------------------------------------------*/

int entry_is_passive(void)
{
    return atomic_load_explicit(&g_passive, memory_order_relaxed);
}

static void child_starts(void)
{
    stats_detach();
    atomic_store_explicit(&g_passive, 1, memory_order_relaxed);
}

__attribute__((constructor)) static void entry_start(void)
{
    int err = pthread_atfork(NULL, NULL, child_starts);

    if (err)
        log_warn("entry", "cannot watch fork: %s; do not use CUDA in forked children",
                 strerror(err));
}

/* Look-up ---------------------------------------------------------------------------------------*/

/* The index over the real driver's addresses; built by the first thread that asks, and by others
 * that ask meanwhile: one of the equal results is kept.
 *
 * returns  NULL without a driver or memory
 */
static const struct hook_index *index_get(void)
{
    const struct hook_index *index = atomic_load_explicit(&g_index, memory_order_acquire);
    const struct hook_index *expected = NULL;
    const struct driver *drv = driver_get();
    void *real[EXPORT_COUNT];
    struct hook_index *built;

    if (index || !drv->handle)
        return index;
    built = malloc(sizeof(*built));
    if (!built)
        return NULL;
    for (int id = 0; id < EXPORT_COUNT; id++)
        real[id] = dlsym(drv->handle, g_export_names[id]);
    hook_index_build(built, real);
    if (atomic_compare_exchange_strong(&g_index, &expected, built))
        return built;
    free(built);
    return expected;
}

void *entry_substitute(void *address, const char *name, int version, cuuint64_t flags)
{
    const struct hook_index *index = index_get();
    int hook;

    if (!index)
        return address;
    hook = hook_index_find(index, address, name, version, flags);
    if (hook >= 0)
        return g_hook_functions[hook];
    if (hook == HOOK_UNKNOWN) {
        stats_unknown(name);
        log_debug("entry", "unknown entry point %s version=%d flags=%llu", name, version,
                  (unsigned long long)flags);
    }
    return address;
}

CUresult cuGetProcAddress(const char *symbol, void **pfn, int version, cuuint64_t flags)
{
    CUresult res = driver_get()->cuGetProcAddress(symbol, pfn, version, flags);

    if (res == CUDA_SUCCESS && symbol && pfn && *pfn)
        *pfn = entry_substitute(*pfn, symbol, version, flags);
    return res;
}

CUresult cuGetProcAddress_v2(const char *symbol, void **pfn, int version, cuuint64_t flags,
                             CUdriverProcAddressQueryResult *status)
{
    CUresult res = driver_get()->cuGetProcAddress_v2(symbol, pfn, version, flags, status);

    if (res == CUDA_SUCCESS && symbol && pfn && *pfn)
        *pfn = entry_substitute(*pfn, symbol, version, flags);
    return res;
}

/* Trampolines
 * ------------------------------------------------------------------------------------*/

/* cuGetErrorName() and cuGetErrorString() where there is no driver: programs print what they get.
 */
static CUresult error_text(CUresult error, const char **text)
{
    if (!text)
        return CUDA_ERROR_INVALID_VALUE;
    *text = error == CUDA_ERROR_NO_DEVICE ? "no CUDA driver" : "unknown error (no CUDA driver)";
    return CUDA_SUCCESS;
}

static void *resolve_without_driver(unsigned int id)
{
    if (id == EXPORT_cuGetErrorName || id == EXPORT_cuGetErrorString)
        return (void *)error_text;
    return (void *)driver_no_device;
}

void *entry_resolve(unsigned int id)
{
    const struct driver *drv = driver_get();
    void *real;

    if (!drv->handle)
        return resolve_without_driver(id);
    real = dlsym(drv->handle, g_export_names[id]);
    if (!real) {
        /* The slot stays as it is, so that every such call comes by here and is counted. */
        stats_unknown(g_export_names[id]);
        return (void *)driver_not_supported;
    }
    __atomic_store_n(&entry_slots[id], real, __ATOMIC_RELEASE);
    return real;
}
