/* backend.h - the ways of giving an address its bytes.
 *
 * A backend knows how; it never decides what or when: residency does. Addresses that reserve()
 * handed out keep their bytes whatever the other verbs do, so a wrong decision is slow, never
 * wrong. Verbs may be called from any thread whose current context is the one that the range was
 * reserved in; for one extent they never overlap.
 */
#ifndef BERTH_BACKEND_H
#define BERTH_BACKEND_H

#include "driver.h"

/* How an extent is loaded, and so how it must be dropped. */
enum backend_mode {
    BACKEND_SHARED, /* the home keeps its copy: dropping costs nothing. For weights */
    BACKEND_MOVED,  /* the only copy moves: dropping copies it back. For what kernels write */
};

/* Which load of an extent it is. */
enum backend_turn {
    BACKEND_FIRST, /* the first since it rests at the home, or nothing is known of others */
    BACKEND_AGAIN, /* all of it has been loaded and dropped since, and the stream of the load runs
                      behind that drop */
};

/* Who may use a range without a fault while it is not loaded. */
enum backend_rest {
    BACKEND_REST_DEVICE, /* everything fits: pages are born in VRAM and stay */
    BACKEND_REST_HOST,   /* pages are born at the home; the device reads it in place */
};

struct backend {
    const char *name;

    /* Can this device be paged at all? reason is set to one line for people when it cannot. */
    int (*supports)(const struct driver *drv, CUdevice device, const char **reason);

    /* Address space with bytes behind it, aligned to PAGE_BYTES.
     * returns  CUDA_SUCCESS, else the driver's code and nothing is held
     * owner    release() */
    CUresult (*reserve)(const struct driver *drv, CUdevice device, size_t bytes, CUdeviceptr *out);
    CUresult (*release)(const struct driver *drv, CUdeviceptr base, size_t bytes);

    /* Say where pages rest from now on; pages that exist stay where they are. */
    CUresult (*rest)(const struct driver *drv, CUdevice device, CUdeviceptr base, size_t bytes,
                     enum backend_rest where);

    /* Queue the bytes' way into VRAM on stream: they are there when its later work runs. No load
     * of them in BACKEND_MOVED may be on its way still when they are loaded in BACKEND_SHARED. One
     * that fails may have done a part: before the next, drop in BACKEND_SHARED undoes that. */
    CUresult (*load)(const struct driver *drv, CUdevice device, CUdeviceptr addr, size_t bytes,
                     enum backend_mode mode, enum backend_turn turn, CUstream stream);

    /* Give the VRAM back. What kernels or copies wrote is kept: queued on stream for the home. One
     * that fails loses nothing, and is to be done again in the same mode. */
    CUresult (*drop)(const struct driver *drv, CUdevice device, CUdeviceptr addr, size_t bytes,
                     enum backend_mode mode, CUstream stream);
};

extern const struct backend backend_um;

#endif
