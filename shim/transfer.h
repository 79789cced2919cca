/* transfer.h - our own streams and events, for each of the program's contexts.
 *
 * Streams are non-blocking, so that they order against nothing of the program's; events carry no
 * timing. Nothing here is ever synchronised with a context or a device. Guarded by the lock of the
 * residency that owns the list.
 */
#ifndef BERTH_TRANSFER_H
#define BERTH_TRANSFER_H

#include "driver.h"
#include <stddef.h>

struct lane {
    CUcontext ctx;
    CUstream h2d; /* NULL until the first load in this context */
    CUstream d2h;
    CUevent *events; /* not in use now */
    size_t event_count, event_room;
    struct lane *next;
};

/* The lane of a context; made on the first call. NULL when out of memory. */
struct lane *transfer_lane(struct lane **list, CUcontext ctx);

/* Make the lane's streams; its context is current. returns CUDA_SUCCESS or the driver's code */
CUresult transfer_open_streams(const struct driver *drv, struct lane *lane);

/* An event of the lane's context that was used before; NULL when none is at hand. */
CUevent transfer_spare_event(struct lane *lane);
/* The same, else a new one; the context is current. NULL when there is none. */
CUevent transfer_take_event(const struct driver *drv, struct lane *lane);
/* Give an event back; no later wait for it is queued. */
void transfer_give_event(const struct driver *drv, struct lane *lane, CUevent event);

/* Take the lane of a context out of the list and free it. gone: its handles are invalid already. */
void transfer_close(const struct driver *drv, struct lane **list, CUcontext ctx, int gone);

#endif
