/* fake_streams.h - streams and events of the fake driver (fake_driver.h): a stream waits for others
 * and for words of memory, an event stands for what was queued on a stream so far.
 */
#ifndef BERTH_TEST_FAKE_STREAMS_H
#define BERTH_TEST_FAKE_STREAMS_H

#include "tests/unit/fake_books.h"

static inline CUresult fake_cuStreamSynchronize(CUstream stream)
{
    CUstream s;

    FAKE_ENTER("cuStreamSynchronize");
    s = fake_stream(stream);
    if (s && s->held)
        fake_run_to(s, g_fake.order);
    return fake_leave(CUDA_SUCCESS);
}

static inline CUresult fake_cuStreamQuery(CUstream stream)
{
    FAKE_ENTER("cuStreamQuery");
    return fake_leave(stream->held ? CUDA_ERROR_NOT_READY : CUDA_SUCCESS);
}

static inline CUresult fake_cuStreamCreate(CUstream *stream, unsigned int flags)
{
    CUstream s;

    FAKE_ENTER("cuStreamCreate");
    if (!t_fake_ctx)
        return fake_leave(CUDA_ERROR_INVALID_CONTEXT);
    if (flags != CU_STREAM_NON_BLOCKING)
        FAKE_MISUSE("a stream of ours that blocks");
    s = calloc(1, sizeof(*s));
    s->ctx = t_fake_ctx;
    s->alive = 1;
    s->held = g_fake.hold_new;
    g_fake.streams[g_fake.stream_count++] = s;
    g_fake.live_streams++;
    *stream = s;
    return fake_leave(CUDA_SUCCESS);
}

static inline CUresult fake_cuStreamDestroy(CUstream stream)
{
    FAKE_ENTER("cuStreamDestroy");
    if (!stream->alive)
        FAKE_MISUSE("a stream is destroyed twice");
    stream->alive = 0;
    g_fake.live_streams--;
    return fake_leave(CUDA_SUCCESS);
}

static inline CUresult fake_cuStreamGetCtx(CUstream stream, CUcontext *ctx)
{
    CUstream s;

    FAKE_ENTER("cuStreamGetCtx");
    s = fake_stream(stream);
    if (!s)
        return fake_leave(CUDA_ERROR_INVALID_CONTEXT);
    *ctx = s->ctx;
    return fake_leave(CUDA_SUCCESS);
}

static inline CUresult fake_cuStreamIsCapturing(CUstream stream, CUstreamCaptureStatus *status)
{
    (void)stream;
    FAKE_ENTER("cuStreamIsCapturing");
    *status = g_fake.capturing ? CU_STREAM_CAPTURE_STATUS_ACTIVE : CU_STREAM_CAPTURE_STATUS_NONE;
    return fake_leave(CUDA_SUCCESS);
}

/* g_fake.lock is held. */
static inline void fake_note_wait(CUstream stream, CUevent event)
{
    for (int i = 0; i < FAKE_WAITS; i++) {
        struct fake_wait *wait = &stream->waits[i];

        if (wait->of && wait->of != event->stream)
            continue;
        wait->of = event->stream;
        if (event->order > wait->order)
            wait->order = event->order;
        return;
    }
    FAKE_MISUSE("a stream waits for more streams than are written down");
}

/* Has stream waited for the work of another up to a number? g_fake.lock is held. */
static inline int fake_has_waited(CUstream stream, CUstream of, uint64_t order)
{
    for (int i = 0; i < FAKE_WAITS; i++)
        if (stream->waits[i].of == of)
            return stream->waits[i].order >= order;
    return 0;
}

static inline CUresult fake_cuStreamWaitEvent(CUstream stream, CUevent event, unsigned int flags)
{
    CUstream s;

    (void)flags;
    FAKE_ENTER("cuStreamWaitEvent");
    s = fake_stream(stream);
    if (!s || !s->alive || !event->alive)
        FAKE_MISUSE("a wait for what was destroyed");
    else {
        fake_note_wait(s, event);
        if (event->order > s->seen)
            s->seen = event->order;
    }
    fake_trace("wait ");
    return fake_leave(CUDA_SUCCESS);
}

static inline int fake_is_gated(CUstream stream)
{
    return stream->gate && (int32_t)(atomic_load(stream->gate) - stream->gate_value) < 0;
}

static inline CUresult fake_cuStreamWaitValue32(CUstream stream, CUdeviceptr addr, uint32_t value,
                                                unsigned int flags)
{
    FAKE_ENTER("cuStreamWaitValue32");
    if (flags != CU_STREAM_WAIT_VALUE_GEQ || !stream->alive || fake_is_gated(stream))
        FAKE_MISUSE("a gate that is no gate, or of a stream that has gone or has another");
    stream->gate = (const _Atomic uint32_t *)(uintptr_t)addr;
    stream->gate_value = value;
    if (!fake_is_gated(stream))
        FAKE_MISUSE("a gate is open from the start");
    fake_trace("gate ");
    return fake_leave(CUDA_SUCCESS);
}

static inline CUresult fake_cuEventCreate(CUevent *event, unsigned int flags)
{
    CUevent e;

    FAKE_ENTER("cuEventCreate");
    if (!t_fake_ctx)
        return fake_leave(CUDA_ERROR_INVALID_CONTEXT);
    e = calloc(1, sizeof(*e));
    e->ctx = t_fake_ctx;
    e->alive = 1;
    e->timed = flags == CU_EVENT_DEFAULT;
    g_fake.events[g_fake.event_count++] = e;
    g_fake.live_events++;
    *event = e;
    return fake_leave(CUDA_SUCCESS);
}

static inline CUresult fake_cuEventDestroy(CUevent event)
{
    FAKE_ENTER("cuEventDestroy");
    if (!event->alive)
        FAKE_MISUSE("an event is destroyed twice");
    event->alive = 0;
    g_fake.live_events--;
    return fake_leave(CUDA_SUCCESS);
}

static inline CUresult fake_cuEventRecord(CUevent event, CUstream stream)
{
    CUstream s;

    FAKE_ENTER("cuEventRecord");
    s = fake_stream(stream);
    if (!s || !s->alive || !event->alive) {
        FAKE_MISUSE("an event or stream that was destroyed is recorded");
        return fake_leave(CUDA_ERROR_INVALID_HANDLE);
    }
    if (s->ctx != event->ctx)
        return fake_leave(CUDA_ERROR_INVALID_HANDLE);
    if (fake_is_gated(s))
        FAKE_MISUSE("a gate is left closed");
    event->stream = s;
    event->order = ++g_fake.order;
    event->loads = g_fake.loads;
    event->pending = s->held;
    pthread_cond_broadcast(&g_fake.queued);
    return fake_leave(CUDA_SUCCESS);
}

static inline CUresult fake_cuEventQuery(CUevent event)
{
    FAKE_ENTER("cuEventQuery");
    if (!event->alive)
        FAKE_MISUSE("an event that was destroyed is queried");
    if (!event->pending && event->order > g_fake.known_done)
        g_fake.known_done = event->order;
    return fake_leave(event->pending ? CUDA_ERROR_NOT_READY : CUDA_SUCCESS);
}

static inline CUresult fake_cuEventSynchronize(CUevent event)
{
    FAKE_ENTER("cuEventSynchronize");
    g_fake.synchronizing++;
    while (event->alive && event->pending)
        pthread_cond_wait(&g_fake.finished, &g_fake.lock);
    g_fake.synchronizing--;
    if (event->order > g_fake.known_done)
        g_fake.known_done = event->order;
    return fake_leave(CUDA_SUCCESS);
}

#endif
