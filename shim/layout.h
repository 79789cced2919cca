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

/* A code image was loaded: remember its kernels' layouts by name, where the driver does not tell.
 */
void layout_image_loaded(const void *image);

/* The same for an image that the driver has read from a file. */
void layout_file_loaded(const char *path);

/* Code was unloaded: a function's handle may soon stand for another function. */
void layout_forget_all(void);

#endif
