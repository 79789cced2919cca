/* Stream objects: made, looked up, taken away; the default streams. */
#include "stream.h"

#include <pthread.h>

#include "context.h"

#define RANDOM_STREAMS 0x57AEu /* salt */

static _Atomic uint64_t g_stream_ids;
static _Atomic uint64_t g_thread_ids;
static pthread_key_t g_thread_key; /* runs thread_ends() for a thread that has default streams */

/* The calling thread: who it is, and the default stream that it asked for last. */
static __thread uint64_t t_thread;
static __thread uint64_t t_cached_ctx; /* id of the context that t_cached_stream belongs to */
static __thread CUstream t_cached_stream;
static __thread int t_in_host_function;

int stream_in_host_function(void)
{
    return t_in_host_function;
}

void stream_host_function(enum host_function state)
{
    t_in_host_function = state == HOST_FUNCTION_BEGINS;
}

/* Each seed has its own mix of brisk and sluggish streams. */
static unsigned pick_laziness(uint64_t *random)
{
    static const unsigned char choices[] = {0, 1, 2, 4, 16};

    return choices[sim_random_next(random) % sizeof(choices)];
}

CUstream stream_create(CUcontext ctx, unsigned flags, int priority, uint64_t thread)
{
    CUstream stream = handle_create(HANDLE_STREAM, sizeof(*stream));

    if (!stream)
        return NULL;
    stream->ctx = ctx;
    stream->flags = flags;
    stream->priority = priority;
    stream->is_blocking = !(flags & CU_STREAM_NON_BLOCKING);
    stream->id = atomic_fetch_add(&g_stream_ids, 1) + 1;
    stream->thread = thread;
    stream->random = sim_setting(SIM_SEED) * 0x9FB21C651E98DF25u + stream->id * RANDOM_STREAMS;
    stream->laziness = pick_laziness(&stream->random);
    stream->last = &stream->first;
    stream->references = 1;
    atomic_init(&stream->done, 0);
    pthread_cond_init(&stream->wake, NULL);
    pthread_cond_init(&stream->progress, NULL);

    queue_lock();
    stream->next = ctx->streams;
    stream->link = &ctx->streams;
    if (stream->next)
        stream->next->link = &stream->next;
    ctx->streams = stream;
    queue_unlock();
    return stream;
}

/* Default streams
 * ---------------------------------------------------------------------------------*/

static uint64_t thread_id(void)
{
    if (!t_thread) {
        t_thread = atomic_fetch_add(&g_thread_ids, 1) + 1;
        pthread_setspecific(g_thread_key, &t_thread);
    }
    return t_thread;
}

/* The calling thread's stream among the context's; NULL when it has none. Queue lock held. */
static CUstream find_of_thread(CUcontext ctx, uint64_t thread)
{
    CUstream stream;

    for (stream = ctx->streams; stream; stream = stream->next) {
        if (stream->thread == thread && !stream->is_closing)
            return stream;
    }
    return NULL;
}

static CUstream stream_of_thread(CUcontext ctx)
{
    const uint64_t thread = thread_id();
    CUstream stream;

    if (t_cached_ctx == ctx->id)
        return t_cached_stream;
    queue_lock();
    stream = find_of_thread(ctx, thread);
    queue_unlock();
    if (!stream)
        stream = stream_create(ctx, CU_STREAM_DEFAULT, 0, thread);
    if (stream) {
        t_cached_ctx = ctx->id;
        t_cached_stream = stream;
    }
    return stream;
}

/* In a child of fork the lock may be held by a thread that is not there, so nothing is done. */
static void thread_ends(void *arg)
{
    const uint64_t *thread = arg;
    CUcontext ctx;

    if (sim_call() != CUDA_SUCCESS)
        return;
    for (ctx = context_first(); ctx; ctx = context_next(ctx)) {
        CUstream stream;

        queue_lock();
        stream = find_of_thread(ctx, *thread);
        if (stream)
            stream->references++;
        queue_unlock();
        if (!stream)
            continue;
        stream_close(stream);
        queue_lock();
        stream_unref_locked(stream);
        queue_unlock();
    }
}

void stream_init(void)
{
    pthread_key_create(&g_thread_key, thread_ends);
}

/* Handles
 * -----------------------------------------------------------------------------------------*/

static int is_default(CUstream handle)
{
    return handle == NULL || handle == CU_STREAM_LEGACY || handle == CU_STREAM_PER_THREAD;
}

CUresult stream_resolve(CUcontext ctx, CUstream handle, CUstream *out)
{
    if (handle == CU_STREAM_PER_THREAD) {
        *out = stream_of_thread(ctx);
        return *out ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY;
    }
    if (is_default(handle)) {
        *out = ctx->legacy;
        return CUDA_SUCCESS;
    }
    if (!handle_is(handle, HANDLE_STREAM))
        return CUDA_ERROR_INVALID_HANDLE;
    *out = handle;
    return CUDA_SUCCESS;
}

/* ctx is the current context, NULL when there need be none. */
static CUresult enter(CUcontext ctx, CUstream handle, CUstream *out)
{
    CUresult res = stream_resolve(ctx, handle, out);

    return res == CUDA_SUCCESS ? (CUresult)atomic_load(&(*out)->ctx->sticky) : res;
}

CUresult stream_enter(CUstream handle, CUstream *out)
{
    CUcontext ctx;
    CUresult res = sim_enter(&ctx, NULL);

    return res == CUDA_SUCCESS ? enter(ctx, handle, out) : res;
}

CUresult stream_enter_own_context(CUstream handle, CUstream *out)
{
    CUresult res;

    if (is_default(handle))
        return stream_enter(handle, out);
    res = sim_call();
    return res == CUDA_SUCCESS ? enter(NULL, handle, out) : res;
}

/* For the other parts
 * -----------------------------------------------------------------------------*/

CUresult sim_stream_enqueue(CUcontext ctx, CUstream stream, int (*run)(void *arg), void *arg,
                            void (*release)(void *arg))
{
    struct work_spec spec = {.run = run, .arg = arg, .release = release};
    CUresult res;

    res = stream_resolve(ctx, stream, &stream);
    if (res == CUDA_SUCCESS)
        return stream_queue(stream, &spec, NULL);
    if (release)
        release(arg);
    return res;
}

CUresult sim_stream_synchronize(CUcontext ctx, CUstream stream)
{
    CUresult res;

    res = stream_resolve(ctx, stream, &stream);
    if (res != CUDA_SUCCESS)
        return res;
    stream_drain(stream);
    return (CUresult)atomic_load(&stream->ctx->sticky);
}

CUresult sim_context_synchronize(CUcontext ctx)
{
    stream_drain_context(ctx);
    return (CUresult)atomic_load(&ctx->sticky);
}
