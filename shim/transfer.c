#include "transfer.h"
#include <stdlib.h>

struct lane *transfer_lane(struct lane **list, CUcontext ctx)
{
    struct lane *lane;

    for (lane = *list; lane; lane = lane->next)
        if (lane->ctx == ctx)
            return lane;
    lane = calloc(1, sizeof(*lane));
    if (!lane)
        return NULL;
    lane->ctx = ctx;
    lane->next = *list;
    *list = lane;
    return lane;
}

CUresult transfer_open_streams(const struct driver *drv, struct lane *lane)
{
    CUresult result = CUDA_SUCCESS;

    if (!lane->h2d)
        result = drv->cuStreamCreate(&lane->h2d, CU_STREAM_NON_BLOCKING);
    if (result == CUDA_SUCCESS && !lane->d2h)
        result = drv->cuStreamCreate(&lane->d2h, CU_STREAM_NON_BLOCKING);
    return result;
}

CUevent transfer_spare_event(struct lane *lane)
{
    return lane->event_count ? lane->events[--lane->event_count] : NULL;
}

CUevent transfer_take_event(const struct driver *drv, struct lane *lane)
{
    CUevent event = transfer_spare_event(lane);

    if (event)
        return event;
    if (drv->cuEventCreate(&event, CU_EVENT_DISABLE_TIMING) != CUDA_SUCCESS)
        return NULL;
    return event;
}

void transfer_give_event(const struct driver *drv, struct lane *lane, CUevent event)
{
    if (lane->event_count == lane->event_room) {
        size_t room = lane->event_room ? 2 * lane->event_room : 64;
        CUevent *grown = realloc(lane->events, room * sizeof(CUevent));

        if (!grown) {
            drv->cuEventDestroy_v2(event);
            return;
        }
        lane->events = grown;
        lane->event_room = room;
    }
    lane->events[lane->event_count++] = event;
}

void transfer_close(const struct driver *drv, struct lane **list, CUcontext ctx, int gone)
{
    for (struct lane **link = list; *link; link = &(*link)->next) {
        struct lane *lane = *link;

        if (lane->ctx != ctx)
            continue;
        *link = lane->next;
        for (size_t i = 0; i < lane->event_count && !gone; i++)
            drv->cuEventDestroy_v2(lane->events[i]);
        if (lane->h2d && !gone)
            drv->cuStreamDestroy_v2(lane->h2d);
        if (lane->d2h && !gone)
            drv->cuStreamDestroy_v2(lane->d2h);
        free(lane->events);
        free(lane);
        return;
    }
}
