/* link_speed.c - the ring of timed loads, and their order by speed. */
#include "link_speed.h"
#include <string.h>

_Static_assert(LINK_LOADS <= 256, "a load's place in the ring fits a byte");

static int is_faster(const struct link_load *a, const struct link_load *b)
{
    return (double)a->bytes * (double)b->ns > (double)b->bytes * (double)a->ns;
}

static void take_out(struct link_speed *link, unsigned place)
{
    unsigned at = 0;

    while (link->order[at] != place)
        at++;
    link->count--;
    memmove(&link->order[at], &link->order[at + 1], link->count - at);
}

static void put_in(struct link_speed *link, unsigned place)
{
    unsigned at = link->count++;

    while (at > 0 && is_faster(&link->load[place], &link->load[link->order[at - 1]])) {
        link->order[at] = link->order[at - 1];
        at--;
    }
    link->order[at] = (uint8_t)place;
}

void link_speed_note(struct link_speed *link, uint64_t bytes, uint64_t ns)
{
    unsigned place = link->next;

    link->next = (place + 1) % LINK_LOADS;
    link->noted++;
    if (link->count == LINK_LOADS)
        take_out(link, place);
    link->load[place] = (struct link_load){.bytes = bytes, .ns = ns};
    put_in(link, place);
}

struct link_load link_speed_get(const struct link_speed *link)
{
    unsigned quick = link->count / LINK_TOO_QUICK;

    if (!link->count)
        return (struct link_load){0};
    if (!quick && link->count > 1)
        quick = 1;
    return link->load[link->order[quick]];
}
