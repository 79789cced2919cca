#include "handle.h"

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define LOWEST_OBJECT 65536u

struct graveyard {
    struct handle *first;
    struct handle **last;
    size_t count;
};

static pthread_mutex_t g_lock = PTHREAD_MUTEX_INITIALIZER;
static struct graveyard g_graves[HANDLE_KINDS];
static _Atomic unsigned g_live[HANDLE_KINDS];

static unsigned tag_of(enum handle_kind kind)
{
    return 0x51AC0000u + (unsigned)kind;
}

/* The oldest dead object, when enough younger ones lie behind it; else NULL. Handle lock held. */
static struct handle *graveyard_take(struct graveyard *graves)
{
    struct handle *oldest = graves->first;

    if (graves->count <= HANDLE_QUARANTINE)
        return NULL;
    graves->first = oldest->next;
    graves->count--;
    return oldest;
}

void *handle_create(enum handle_kind kind, size_t bytes)
{
    struct handle *object;

    pthread_mutex_lock(&g_lock);
    object = graveyard_take(&g_graves[kind]);
    pthread_mutex_unlock(&g_lock);

    if (object)
        memset((char *)object + sizeof(*object), 0, bytes - sizeof(*object));
    else
        object = calloc(1, bytes);
    if (!object)
        return NULL;
    object->next = NULL;
    atomic_store(&object->tag, tag_of(kind));
    atomic_fetch_add(&g_live[kind], 1);
    return object;
}

void handle_kill(void *object)
{
    struct handle *handle = object;
    const unsigned kind = atomic_exchange(&handle->tag, tag_of(HANDLE_DEAD)) - tag_of(HANDLE_DEAD);

    if (kind != HANDLE_DEAD && kind < HANDLE_KINDS)
        atomic_fetch_sub(&g_live[kind], 1);
}

unsigned handle_count(enum handle_kind kind)
{
    return atomic_load(&g_live[kind]);
}

void handle_destroy(void *object, enum handle_kind kind)
{
    struct handle *handle = object;
    struct graveyard *graves = &g_graves[kind];

    handle_kill(object);
    pthread_mutex_lock(&g_lock);
    handle->next = NULL;
    if (graves->count++ == 0)
        graves->last = &graves->first;
    *graves->last = handle;
    graves->last = &handle->next;
    pthread_mutex_unlock(&g_lock);
}

int handle_is(const void *object, enum handle_kind kind)
{
    const struct handle *handle = object;

    /* Small numbers are what programs pass by mistake, and never where an object is. */
    return (uintptr_t)handle >= LOWEST_OBJECT &&
           atomic_load_explicit(&handle->tag, memory_order_acquire) == tag_of(kind);
}
