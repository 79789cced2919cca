/* context.h - contexts, the stack of them that each thread has, and the primary context of a
 * device.
 *
 * A context that was destroyed keeps its object for good, marked dead: threads that still have it
 * current are told so (709). Nobody but context.c makes a context alive or dead.
 */
#ifndef SIMCUDA_CONTEXT_H
#define SIMCUDA_CONTEXT_H

#include <pthread.h>
#include <stdatomic.h>

#include "handle.h"
#include "sim.h"

#define CONTEXT_LIMITS 7 /* the CUlimit values that are kept, from 0 */

struct CUctx_st {
    struct handle handle;
    int device;
    int is_primary;
    CUcontext older; /* in the list of all; fixed */
    uint64_t id;     /* of this life; never reused */
    unsigned flags;
    unsigned api_version;
    _Atomic int alive;
    _Atomic int sticky; /* CUresult of the first fault, 0 while there is none */
    _Atomic int
        held; /* a thread keeps all others out: context_hold(); written with the hold lock */
    _Atomic int cache_config;
    _Atomic size_t limits[CONTEXT_LIMITS];

    struct CUstream_st *legacy;  /* the NULL stream; set while alive */
    struct CUstream_st *streams; /* all of them, in no order; queue lock */
    struct CUevent_st *events;   /* queue lock */
    unsigned workers;            /* threads that serve the streams; queue lock */
    struct CUmod_st *modules;    /* driver lock */
};

/* The driver lock. */
void driver_lock(void);
void driver_unlock(void);

/* The context on top of the calling thread's stack, or NULL; no checks. */
CUcontext context_current(void);
/* Make ctx alive on its device with flags. returns 0; 2; 46 for a lost device; the error of an
 * earlier fault */
CUresult context_open(CUcontext ctx, int device, unsigned flags);
/* Run what is queued to its end, then take streams, events, modules and memory away. */
void context_close(CUcontext ctx);
/* A new object, dead. returns NULL when memory is out */
CUcontext context_new(void);

/* Every context object there ever was, the newest first; the list only grows. */
CUcontext context_first(void);
CUcontext context_next(CUcontext ctx);

/* Keep all other threads out of ctx: their calls wait in sim_enter() until context_let_go(). For a
 * call that waits for the device's work with the driver's lock on the context held. */
void context_hold(CUcontext ctx);
void context_let_go(CUcontext ctx);

/* 0, else 201 for a handle that is no context and 709 for one that was destroyed. */
CUresult context_check(CUcontext ctx);

/* The device has fallen off the bus: every context on it gets that sticky error, and no new one can
 * be made there (46). */
void context_lose_device(int device, CUresult fault);

#endif
