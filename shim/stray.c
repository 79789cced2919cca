/* stray.c - what kernels write elsewhere than in the turn of the step that was recorded. */
#include "pager.h"
#include <utlist.h>

#define TURNS_FIRST 4 /* in a row, whose strays have the wrong room, before it is changed */
#define TURNS_MOST  64
#define MORE        4u /* one in so many bytes, and an extent at least: room for more than a turn's */
#define LITTLE      8u /* one in so many bytes of the room is too little to go on keeping it */
#define SHARE_MOST  2u /* one in so many bytes of all room */
#define TURN_LONG   2u /* times the launches of a step: the program is not in it any more */

/* For what a turn touches, and some more: the next one may lie beside it. */
static uint64_t room_for(const struct residency *res, uint64_t turn_bytes)
{
    uint64_t more = turn_bytes / MORE > res->extent_bytes ? turn_bytes / MORE : res->extent_bytes;

    return turn_bytes ? turn_bytes + more : 0;
}

void stray_begin(struct residency *res, uint64_t turn_bytes)
{
    res->strays = (struct strays){
        .wanted_bytes = room_for(res, turn_bytes),
        .turn = res->strays.turn,
        .patience = TURNS_FIRST,
    };
}

uint64_t stray_room(const struct residency *res, uint64_t limit)
{
    uint64_t others = learn_least_window(res), room = res->strays.wanted_bytes;

    if (!res->by_weights)
        return 0;
    for (uint32_t i = 0; i < res->table_count; i++)
        if (res->table[i]->range && res->table[i]->place == SCHEDULE_KEEP)
            others += res->table[i]->bytes;
    others = others < limit ? limit - others : 0;
    room = room < limit / SHARE_MOST ? room : limit / SHARE_MOST;
    return room < others ? room : others;
}

void stray_planned(struct residency *res, uint64_t given_bytes)
{
    struct strays *s = &res->strays;

    s->given_bytes = given_bytes;
    s->turn++;
    s->turn_began = res->clock;
    s->turn_bytes = s->most_bytes = 0;
    s->wrong = 0;
}

/* Is it one of those that the plan knows nothing of? */
static int is_unplanned(const struct residency *res, const struct extent *e)
{
    return stray_is(res, e) && !e->fixed &&
           (e->id >= res->plan.extent_count || res->plan.first_load[e->id] == SCHEDULE_NONE);
}

/* Launches have been coming for so long that the program cannot be in the turn any more. */
static int is_turn_over(const struct residency *res)
{
    return res->clock - res->strays.turn_began > TURN_LONG * res->plan.launches;
}

void stray_touch(struct residency *res, struct extent *e)
{
    struct strays *s = &res->strays;

    if (!extent_is_present(e) && is_turn_over(res)) {
        learn_miss(res); /* also of one in the plan: its weights may have gone */
        return;
    }
    if (!is_unplanned(res, e))
        return;
    if (e->turn != s->turn)
        s->turn_bytes += e->bytes;
    e->turn = s->turn;
}

/* Has a turn's strays the room that they need, and not far too much? */
static int is_right(const struct strays *s)
{
    return s->turn_bytes <= s->wanted_bytes && s->turn_bytes >= s->wanted_bytes / LITTLE;
}

/* Each time it takes longer until the next: to plan takes a while, and there may be no room. */
static void change_room(struct residency *res)
{
    struct strays *s = &res->strays;
    uint64_t room = room_for(res, s->most_bytes);

    s->wrong = 0;
    s->patience = s->patience < TURNS_MOST ? 2 * s->patience : TURNS_MOST;
    if (room == s->wanted_bytes)
        return;
    s->wanted_bytes = room;
    res->misplaced = 1;
    pager_wake(res);
}

void stray_note_turn(struct residency *res)
{
    struct strays *s = &res->strays;

    if (!is_right(s))
        s->wrong++;
    else
        s->wrong -= s->wrong > 0;
    if (!s->wrong)
        s->most_bytes = 0;
    else if (s->most_bytes < s->turn_bytes)
        s->most_bytes = s->turn_bytes;
    if (s->wrong >= s->patience)
        change_room(res);
    s->turn++;
    s->turn_began = res->clock;
    s->turn_bytes = 0;
}

int stray_has_room(const struct residency *res, const struct extent *e)
{
    return e->allocations && is_unplanned(res, e);
}

int64_t stray_room_left(const struct residency *res)
{
    int64_t left = (int64_t)res->strays.given_bytes;
    const struct extent *e;

    if (!res->by_weights)
        return 0;
    DL_FOREACH(res->streaming, e)
    {
        if (stray_has_room(res, e))
            left -= e->bytes;
    }
    return left;
}
