/* context_end.h - a thread that is about to destroy a context, as far as context_wait.c is told. */
#ifndef BERTH_TEST_CONTEXT_END_H
#define BERTH_TEST_CONTEXT_END_H

#include "context_wait.h"
#include <stdatomic.h>

struct end {
    CUcontext ctx;
    _Atomic int begun; /* it need not wait any more */
};

static inline void *end_in_thread(void *arg)
{
    struct end *end = arg;

    context_wait_leave(end->ctx, CONTEXT_WAIT_ENDS);
    atomic_store(&end->begun, 1);
    return NULL;
}

#endif
