#include "driver.h"
#include "driver_path.h"
#include "log.h"
#include "stats.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

typedef void *dlopen_function(const char *path, int flags);

static _Atomic(const struct driver *) g_driver;

/* What is kept when there is no driver, or no memory to remember one in. */
static const struct driver g_no_driver = {
#define X(name, symbol, since, null_stream, params)                                                \
    .symbol = (CUresult(*) params)(void (*)(void))driver_no_device,
    HOOKS(X)
#undef X
#define X(need, symbol, params) .symbol = (CUresult(*) params)(void (*)(void))driver_no_device,
        DRIVER_CALLS(X)
#undef X
            .path = "",
    .missing = DRIVER_SONAME,
};

CUresult driver_not_supported(void)
{
    return CUDA_ERROR_NOT_SUPPORTED;
}

CUresult driver_no_device(void)
{
    return CUDA_ERROR_NO_DEVICE;
}

void *driver_next_symbol(const char *name)
{
    return dlsym(RTLD_NEXT, name);
}

/* What a driver without the function is filled with: one for each name, so that it can be counted.
 */
#define MISSING(symbol)                                                                            \
    static CUresult missing_##symbol(void)                                                         \
    {                                                                                              \
        stats_unknown(#symbol);                                                                    \
        return CUDA_ERROR_NOT_SUPPORTED;                                                           \
    }
#define MISSING_REQUIRED(symbol) MISSING(symbol)
#define MISSING_OPTIONAL(symbol)
#define X(name, symbol, since, null_stream, params) MISSING(symbol)
HOOKS(X)
#undef X
#define X(need, symbol, params) MISSING_##need(symbol)
DRIVER_CALLS(X)
#undef X

/* A function that has to be there: what was found, else what stands for it. */
static void *required(struct driver *drv, void *found, const char *symbol, void *missing)
{
    if (found)
        return found;
    if (!drv->missing)
        drv->missing = symbol;
    return missing;
}

void driver_fill(struct driver *drv, void *(*find)(void *arg, const char *symbol), void *arg)
{
    void *found;

    drv->missing = NULL;
#define X(name, symbol, since, null_stream, params)                                                \
    found = find(arg, #symbol);                                                                    \
    *(void **)&drv->symbol = found ? found : (void *)missing_##symbol;
    HOOKS(X)
#undef X
#define FILL_REQUIRED(found, symbol) required(drv, found, #symbol, (void *)missing_##symbol)
#define FILL_OPTIONAL(found, symbol) found
#define X(need, symbol, params)                                                                    \
    found = find(arg, #symbol);                                                                    \
    *(void **)&drv->symbol = FILL_##need(found, symbol);
    DRIVER_CALLS(X)
#undef X
}

static void *find_in_library(void *handle, const char *symbol)
{
    return dlsym(handle, symbol);
}

/* Load the library at path into drv.
 *
 * Our own opening goes straight to glibc's dlopen(): the one that we export would lead back here.
 * An absolute path makes glibc map a second object although ours has the same SONAME.
 */
static int load_library(struct driver *drv, const char *path)
{
    dlopen_function *open_library = (dlopen_function *)driver_next_symbol("dlopen");
    const char *why;

    drv->handle = open_library ? open_library(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    if (!drv->handle) {
        why = dlerror();
        log_error("driver", "cannot load %s: %s; every CUDA call will fail", path,
                  why ? why : "no dlopen");
        return -1;
    }
    driver_fill(drv, find_in_library, drv->handle);
    return 0;
}

/* The library stays loaded: another thread has it open too. */
static void release(struct driver *drv)
{
    free((char *)drv->path);
    free(drv);
}

static struct driver *load(void)
{
    const char *chosen = secure_getenv("BERTH_DRIVER");
    struct driver *drv;
    char path[PATH_MAX];
    int err;

    err = driver_path_find(path, sizeof(path));
    if (err) {
        log_error("driver", "%s%s%s%s; every CUDA call will fail",
                  err != -ENOENT ? "BERTH_DRIVER: " : "", err != -ENOENT && chosen ? chosen : "",
                  err != -ENOENT ? ": " : "", driver_path_error(err));
        return NULL;
    }
    drv = calloc(1, sizeof(*drv));
    if (!drv)
        return NULL;
    drv->path = strdup(path);
    if (!drv->path || load_library(drv, path)) {
        release(drv);
        return NULL;
    }
    return drv;
}

const struct driver *driver_get(void)
{
    const struct driver *drv = atomic_load_explicit(&g_driver, memory_order_acquire);
    const struct driver *expected = NULL;
    struct driver *loaded;

    if (drv)
        return drv;

    loaded = load();
    drv = loaded ? loaded : &g_no_driver;
    if (atomic_compare_exchange_strong(&g_driver, &expected, drv)) {
        log_info("driver", "the real driver: %s", loaded ? drv->path : "none");
        return drv;
    }
    if (loaded)
        release(loaded);
    return expected;
}
