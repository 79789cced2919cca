/* link_speed.h - how fast the link to a device is, from loads that were timed.
 *
 * A load may be slower than the link: it met a kernel that reads in place, or a host that was slow
 * to hand its pages in. It may also seem faster than any link, for the driver found that there was
 * nothing to copy. So it is neither the average that counts nor the fastest: it is one of the
 * fastest of the last LINK_LOADS, behind a share of them that may have moved nothing.
 *
 * No locks here: who owns the struct guards it.
 */
#ifndef BERTH_LINK_SPEED_H
#define BERTH_LINK_SPEED_H

#include <stdint.h>

#define LINK_LOADS     128u /* that are looked at */
#define LINK_KNOWN     4u   /* loads, of which two have met nothing on their way, it is hoped */
#define LINK_TOO_QUICK 16u  /* one in so many loads may have moved nothing; always at least one */

struct link_load {
    uint64_t bytes, ns;
};

struct link_speed {
    struct link_load load[LINK_LOADS]; /* a ring */
    uint8_t order[LINK_LOADS];         /* of the loads there are, the fastest first */
    unsigned count;                    /* of them */
    unsigned next;                     /* where the next one goes */
    unsigned noted;                    /* loads, ever */
};

/* A load of so many bytes took so long on the device; neither is 0. */
void link_speed_note(struct link_speed *link, uint64_t bytes, uint64_t ns);

/* The load that stands for the link's speed.
 *
 * returns  0 in both while none was noted
 */
struct link_load link_speed_get(const struct link_speed *link);

/* Were there enough loads to judge by? */
static inline int link_speed_is_known(const struct link_speed *link)
{
    return link->count >= LINK_KNOWN;
}

#endif
