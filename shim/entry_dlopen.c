/* entry_dlopen.c - a program that opens the driver by its path gets this library.
 *
 * dlopen() and dlmopen() are the only names besides the driver's own that we export. Every call
 * goes on to glibc's function by a jump that leaves the caller's return address where it is: glibc
 * reads from it who is calling, and so whose RUNPATH counts (entry_dlopen_jump.S).
 */
#include "driver_path.h"
#include "entry.h"
#include "log.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <string.h>

/* Where glibc's functions are; looked up at the first call, which may come before any constructor.
 */
static _Atomic(void *) g_dlopen;
static _Atomic(void *) g_dlmopen;

static void *next_function(_Atomic(void *) *kept, const char *name)
{
    void *found = atomic_load_explicit(kept, memory_order_relaxed);

    if (!found) {
        found = driver_next_symbol(name);
        atomic_store_explicit(kept, found, memory_order_relaxed);
    }
    return found;
}

/* Is it the driver that the program asks for? The program sees our errno and dlerror() nowhere. */
static int wants_driver(const char *path)
{
    char driver[PATH_MAX];
    int saved_errno = errno;
    int wanted;

    if (!path || !strstr(path, "libcuda.so"))
        return 0;
    if (driver_path_find(driver, sizeof(driver)))
        driver[0] = '\0';
    wanted = driver_path_is_driver(path, driver);
    errno = saved_errno;
    if (wanted)
        log_debug("entry", "dlopen %s answered with " DRIVER_SONAME, path);
    return wanted;
}

struct entry_dlopen_route entry_route_dlopen(const char *path)
{
    struct entry_dlopen_route route = {path, next_function(&g_dlopen, "dlopen")};

    if (wants_driver(path))
        route.path = DRIVER_SONAME;
    return route;
}

/* Another name space has no copy of ours, and must not get one: two of us would page one card. What
 * is opened there is the driver itself, and what it allocates is not paged. */
struct entry_dlopen_route entry_route_dlmopen(const char *path, long name_space)
{
    struct entry_dlopen_route route = {path, next_function(&g_dlmopen, "dlmopen")};

    if (!wants_driver(path))
        return route;
    if (name_space == LM_ID_BASE)
        route.path = DRIVER_SONAME;
    else
        log_warn(
            "entry",
            "%s is loaded by dlmopen() into a name space of its own, where berth sees no calls: "
            "what is allocated there is not paged",
            path);
    return route;
}
