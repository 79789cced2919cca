#include "extent_pool.h"
#include "pager.h"
#include "stats.h"
#include <stdlib.h>
#include <string.h>
#include <utlist.h>

/* The extents of a range that has gone, as far as no other has taken them. */
struct spare {
    struct extent **extents;
    size_t count;
    struct spare *prev, *next;
};

static pthread_mutex_t g_lock = PTHREAD_MUTEX_INITIALIZER;
static struct spare *g_spare[STATS_DEVICES_MAX]; /* g_lock: the oldest first */

static void free_spare(CUdevice device, struct spare *spare)
{
    DL_DELETE(g_spare[device], spare);
    free(spare);
}

/* What was given last of those that have just so many: it is the likeliest to come again. The lock
 * is held. */
static struct extent **take_alike(CUdevice device, size_t count)
{
    struct spare *head = g_spare[device], *spare = head ? head->prev : NULL;
    struct extent **extents;

    while (spare && spare->count != count)
        spare = spare == head ? NULL : spare->prev;
    if (!spare)
        return NULL;
    extents = spare->extents;
    free_spare(device, spare);
    return extents;
}

/* Gather extents, the longest unused first. The lock is held. returns how many were there */
static size_t gather(CUdevice device, struct extent **extents, size_t count)
{
    size_t have = 0;

    while (have < count && g_spare[device]) {
        struct spare *spare = g_spare[device];
        size_t n = spare->count < count - have ? spare->count : count - have;

        spare->count -= n;
        memcpy(&extents[have], &spare->extents[spare->count], n * sizeof(*extents));
        have += n;
        if (!spare->count) {
            free(spare->extents);
            free_spare(device, spare);
        }
    }
    return have;
}

struct extent **extent_pool_take(CUdevice device, size_t count)
{
    struct extent **extents, *made;
    size_t have;

    pthread_mutex_lock(&g_lock);
    extents = take_alike(device, count);
    pthread_mutex_unlock(&g_lock);
    if (extents)
        return extents;
    extents = malloc(count * sizeof(struct extent *));
    if (!extents)
        return NULL;
    pthread_mutex_lock(&g_lock);
    have = gather(device, extents, count);
    pthread_mutex_unlock(&g_lock);
    if (have == count)
        return extents;
    made = calloc(count - have, sizeof(*made));
    if (!made) {
        extent_pool_give(device, extents, have);
        return NULL;
    }
    for (size_t i = 0; have + i < count; i++) {
        made[i].id = EXTENT_NONE;
        extents[have + i] = &made[i];
    }
    return extents;
}

void extent_pool_give(CUdevice device, struct extent **extents, size_t count)
{
    struct spare *spare = count ? malloc(sizeof(*spare)) : NULL;

    if (!spare) { /* the extents are lost; a launch cache may look there still */
        free(extents);
        return;
    }
    spare->extents = extents;
    spare->count = count;
    pthread_mutex_lock(&g_lock);
    DL_APPEND(g_spare[device], spare);
    pthread_mutex_unlock(&g_lock);
}
