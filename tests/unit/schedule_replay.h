/* schedule_replay.h - traces of a step, and a judge of the plans that are made for them.
 *
 * A window of frames is filled by the plan's loads in order. Every launch must find what it touches
 * there or among what stays, and both together never exceed the budget.
 */
#ifndef BERTH_TEST_SCHEDULE_REPLAY_H
#define BERTH_TEST_SCHEDULE_REPLAY_H

#include "schedule.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MB (1u << 20)

struct trace {
    uint32_t first[4096];
    uint32_t extent[16384];
    size_t launches;
    struct schedule_extent extents[1024];
    size_t extent_count;
};

static inline void launch(struct trace *t, size_t count, const uint32_t *extents)
{
    uint32_t at = t->first[t->launches];

    memcpy(&t->extent[at], extents, count * sizeof(*extents));
    t->first[++t->launches] = at + (uint32_t)count;
}

/* layers launches, each of which touches per_launch extents of its own, and extent `shared` if that
 * is a real one. */
static inline void make_layers(struct trace *t, uint32_t layers, uint32_t per_launch,
                               int with_shared)
{
    memset(t, 0, sizeof(*t));
    for (uint32_t l = 0; l < layers; l++) {
        uint32_t set[64], n = 0;

        for (uint32_t i = 0; i < per_launch; i++)
            set[n++] = l * per_launch + i;
        if (with_shared)
            set[n++] = layers * per_launch;
        launch(t, n, set);
    }
    t->extent_count = layers * per_launch + (with_shared ? 1 : 0);
    for (size_t i = 0; i < t->extent_count; i++)
        t->extents[i].bytes = 2 * MB;
}

static inline struct schedule_trace view(const struct trace *t)
{
    return (struct schedule_trace){.first = t->first, .extent = t->extent, .launches = t->launches};
}

static inline void plan(const struct trace *t, uint64_t budget, struct schedule_plan *out)
{
    struct schedule_trace step = view(t);

    assert_int_equal(schedule_plan_create(&step, t->extents, t->extent_count, budget, 0,
                                          SCHEDULE_AHEAD_WIDE, out),
                     0);
}

/* Make room: what was used longest ago leaves, but never what the present launch has used. */
static inline void evict(const struct trace *t, uint64_t *used, uint64_t since, uint64_t *held,
                         uint64_t budget)
{
    while (*held > budget) {
        size_t oldest = SIZE_MAX;

        for (size_t e = 0; e < t->extent_count; e++)
            if (used[e] && used[e] <= since && (oldest == SIZE_MAX || used[e] < used[oldest]))
                oldest = e;
        assert_true(oldest != SIZE_MAX);
        *held -= t->extents[oldest].bytes;
        used[oldest] = 0;
    }
}

/* Three steps of the plan within the budget. The first fills the window; from then on each launch
 * must find what it touches through the plan's own loads. */
static inline void replay(const struct trace *t, const struct schedule_plan *p, uint64_t budget)
{
    uint64_t *used = calloc(t->extent_count, sizeof(*used)); /* 0: not in the window */
    uint64_t clock = 0, held = p->fixed_bytes;

    for (int round = 0; round < 3; round++) {
        size_t next = 0;

        for (size_t l = 0; l < t->launches; l++) {
            uint64_t since = clock;

            for (uint32_t i = t->first[l]; i < t->first[l + 1]; i++) {
                uint32_t e = t->extent[i];
                int loaded =
                    next < p->load_count && p->load[next].launch == l && p->load[next].extent == e;

                if (p->fixed[e]) {
                    assert_false(loaded);
                    continue;
                }
                next += loaded;
                assert_true(round == 0 || loaded || used[e]);
                if (!used[e])
                    held += t->extents[e].bytes;
                used[e] = ++clock;
                evict(t, used, since, &held, budget);
            }
        }
        assert_int_equal(next, p->load_count);
    }
    free(used);
}

#endif
