/* layout.h - where a kernel's parameters lie in its parameter buffer.
 *
 * From the driver where it tells (cuFuncGetParamInfo, 12.4 and later), else from the cubin. A
 * layout once published is never changed, but for the function's habit, and never freed while the
 * process lives: launches read it without a lock. A function's layout is forgotten as a whole with
 * all others when code is unloaded.
 */
#ifndef BERTH_LAYOUT_H
#define BERTH_LAYOUT_H

#include "driver.h"
#include <stddef.h>
#include <stdint.h>

#define LAYOUT_PARAMS_MAX 512

/* What launches of a function have taught. */
struct layout_habit {
    _Atomic uint8_t reading; /* enum reading of residency.h */
};

struct layout {
    CUfunction function;
    uint64_t epoch; /* of layout_forget_all() when it was made */
    uint32_t count;
    uint32_t known; /* 0: nobody knows; params cannot be scanned */
    struct layout_habit *habit;
    struct {
        uint32_t offset;
        uint32_t bytes;
    } param[];
};

/* The layout of a function; made on the first call for it. NULL when out of memory. */
const struct layout *layout_get(CUfunction function);

enum layout_owner {
    LAYOUT_MODULE, /* of the current context */
    LAYOUT_LIBRARY,
};

/* A code image was loaded: remember its kernels' layouts, where the driver does not tell. The same
 * name may stand for another kernel in each image.
 *
 * owner    the CUmodule or CUlibrary
 * code     the image, NULL for none; path: of the file that the driver has read it from
 * locks    a leaf; call with none held
 */
void layout_image_loaded(const void *owner, enum layout_owner kind, const void *code);
void layout_file_loaded(const void *owner, enum layout_owner kind, const char *path);

/* A function's handle may soon stand for another function. */
void layout_forget_all(void);

/* A module or library is about to be unloaded: that too, and its image is forgotten. */
void layout_unloaded(const void *owner);

/* A context has gone, and its modules' images with it. */
void layout_context_destroyed(CUcontext ctx);

#endif
