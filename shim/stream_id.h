/* stream_id.h - which stream a handle of the program's stands for.
 *
 * The handles of the default streams are the same everywhere, and stand for another stream in each
 * context; CU_STREAM_PER_THREAD in each thread as well. What two streams run is in no order.
 */
#ifndef BERTH_STREAM_ID_H
#define BERTH_STREAM_ID_H

#include "driver.h"
#include <pthread.h>

struct stream_id {
    CUstream handle;
    CUcontext ctx;
    pthread_t thread; /* that handed the handle in */
};

/* A handle that the calling thread uses; ctx: that the stream is in. */
static inline struct stream_id stream_id_of(CUstream handle, CUcontext ctx)
{
    return (struct stream_id){handle ? handle : CU_STREAM_LEGACY, ctx, pthread_self()};
}

static inline int stream_id_is(const struct stream_id *stream, const struct stream_id *other)
{
    return stream->handle == other->handle && stream->ctx == other->ctx &&
           (stream->handle != CU_STREAM_PER_THREAD || pthread_equal(stream->thread, other->thread));
}

#endif
