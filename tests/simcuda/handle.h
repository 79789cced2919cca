/* handle.h - the objects behind the driver's opaque handles, and telling a good handle from a stale
 * one.
 *
 * Every such object starts with a struct handle. A destroyed object keeps its memory: it loses its
 * kind at once and is used again only after HANDLE_QUARANTINE younger ones of its kind have died,
 * so that a program or a shim that uses a stale handle gets error 400 instead of a crash.
 */
#ifndef SIMCUDA_HANDLE_H
#define SIMCUDA_HANDLE_H

#include <stdatomic.h>
#include <stddef.h>

#define HANDLE_QUARANTINE 256

enum handle_kind {
    HANDLE_DEAD,
    HANDLE_CONTEXT,
    HANDLE_STREAM,
    HANDLE_EVENT,
    HANDLE_MODULE,
    HANDLE_FUNCTION,
    HANDLE_LIBRARY,
    HANDLE_KERNEL,
    HANDLE_PHYSICAL,
    HANDLE_KINDS,
};

struct handle {
    _Atomic unsigned tag; /* says the kind; never a small number, so that garbage is noticed */
    struct handle *next;  /* in the free list of its kind; handle lock */
};

/* A zeroed object of that kind; bytes must be the same for every object of a kind.
 *
 * returns  NULL when memory is out
 * owner    handle_destroy()
 * locks    takes the handle lock
 */
void *handle_create(enum handle_kind kind, size_t bytes);
/* The handle is no good any more, but somebody still works with the object. */
void handle_kill(void *object);
/* Nobody works with the object any more. */
void handle_destroy(void *object, enum handle_kind kind);

/* How many objects of that kind are alive. */
unsigned handle_count(enum handle_kind kind);

/* Is it a live object of that kind? object may be NULL, a small number or stale, not garbage. */
int handle_is(const void *object, enum handle_kind kind);

#endif
