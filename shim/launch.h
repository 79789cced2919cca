/* launch.h - which extents a kernel launch touches.
 *
 * Every aligned 8-byte word of a launch's parameters that points into a paged allocation stands for
 * the object there, whole. The prediction only changes when a byte arrives, never whether: what it
 * misses is read in place. Parameter layouts are cached for each function; which extents a set of
 * pointers stands for is cached for each thread, so that a launch whose extents are all settled
 * takes no lock and allocates nothing.
 */
#ifndef BERTH_LAUNCH_H
#define BERTH_LAUNCH_H

#include "access.h"
#include "driver.h"
#include <stddef.h>
#include <stdint.h>

struct use;

/* A launch is about to be queued: make its extents resident and pin them.
 *
 * function  a CUfunction, or a CUkernel cast to one
 * params    kernelParams of the launch; NULL when extra is used
 * extra     as cuLaunchKernel takes it; NULL
 * threads   of the whole grid: a launch that is narrow for an object may read little of it
 * stream    normalised: never 0
 * returns   what launch_end() wants; NULL in most cases
 */
struct use *launch_begin(CUfunction function, void **params, void **extra, uint64_t threads,
                         CUstream stream);

/* Does a stream capture? Nothing of ours goes into one that does. Also 1 when it cannot be told. */
int launch_is_capturing(CUstream stream);

/* A copy or memset is about to be queued: keep what is resident of its spans from being dropped
 * while it runs. Copies read and write pages where they are, so nothing is loaded.
 *
 * returns  what launch_end() wants
 */
struct use *launch_hold_spans(const struct transfer_access *spans, size_t count, CUstream stream);

/* Tell the statistics of the launches of this thread that touched parameters and are not counted as
 * yet: at the end of the program, before they are read.
 *
 * locks    none
 */
void launch_tell_touches(void);

/* The launch was queued, or result says why not. */
void launch_end(struct use *use, CUstream stream, CUresult result);

#endif
