/* ptx_warp.c - what the threads of a warp compute together. */
#include "ptx_run.h"

/* Lane that a shuffle reads from; *inside says whether it lies in the thread's segment. */
static uint32_t shuffle_source(const struct ptx_thread *t, int *inside)
{
    uint32_t b = t->in_b & 31, clamp = t->in_c & 31, segment = t->in_c >> 8 & 31;
    uint32_t most = (t->lane & segment) | (clamp & ~segment);
    uint32_t least = t->lane & segment;
    int32_t from;

    switch (t->op) {
    case PTX_SHFL_UP:
        from = (int32_t)t->lane - (int32_t)b;
        *inside = from >= (int32_t)most;
        break;
    case PTX_SHFL_DOWN:
        from = (int32_t)(t->lane + b);
        *inside = from <= (int32_t)most;
        break;
    case PTX_SHFL_BFLY:
        from = (int32_t)(t->lane ^ b);
        *inside = from <= (int32_t)most;
        break;
    default:
        from = (int32_t)(least | (b & ~segment));
        *inside = from <= (int32_t)most;
        break;
    }
    return *inside ? (uint32_t)from & 31 : t->lane;
}

/* A lane that takes no part has nothing to give: poison, as on a device it is anything. */
static void shuffle(struct ptx_thread *warp, uint32_t members)
{
    for (uint32_t lane = 0; lane < 32; lane++) {
        struct ptx_thread *t = &warp[lane];
        uint32_t from;
        int inside;

        if (!(members >> lane & 1))
            continue;
        from = shuffle_source(t, &inside);
        t->out = members >> from & 1 ? warp[from].in : 0xdeadbeef;
        t->out_pred = (uint32_t)inside;
    }
}

static uint32_t ballot(const struct ptx_thread *warp, uint32_t members)
{
    uint32_t yes = 0;

    for (uint32_t lane = 0; lane < 32; lane++)
        if ((members >> lane & 1) && warp[lane].in_pred)
            yes |= 1u << lane;
    return yes;
}

/* Members that brought the same value as this lane. */
static uint32_t same_value(const struct ptx_thread *warp, uint32_t members, uint32_t lane)
{
    uint32_t same = 0;

    for (uint32_t i = 0; i < 32; i++)
        if ((members >> i & 1) && warp[i].in == warp[lane].in)
            same |= 1u << i;
    return same;
}

static uint32_t reduce_two(enum ptx_collective op, uint32_t a, uint32_t b)
{
    switch (op) {
    case PTX_REDUX_ADD:
        return a + b;
    case PTX_REDUX_MIN_S:
        return (int32_t)a < (int32_t)b ? a : b;
    case PTX_REDUX_MIN_U:
        return a < b ? a : b;
    case PTX_REDUX_MAX_S:
        return (int32_t)a > (int32_t)b ? a : b;
    case PTX_REDUX_MAX_U:
        return a > b ? a : b;
    case PTX_REDUX_AND:
        return a & b;
    case PTX_REDUX_OR:
        return a | b;
    default:
        return a ^ b;
    }
}

static uint32_t reduce(const struct ptx_thread *warp, uint32_t members, uint32_t first)
{
    uint32_t value = (uint32_t)warp[first].in;

    for (uint32_t i = first + 1; i < 32; i++)
        if (members >> i & 1)
            value = reduce_two(warp[first].op, value, (uint32_t)warp[i].in);
    return value;
}

static void finish_one(struct ptx_thread *warp, uint32_t members, uint32_t first, uint32_t lane,
                       uint32_t yes)
{
    struct ptx_thread *t = &warp[lane];

    t->out_pred = 0;
    switch (t->op) {
    case PTX_VOTE_ALL:
        t->out = yes == members;
        break;
    case PTX_VOTE_ANY:
        t->out = yes != 0;
        break;
    case PTX_VOTE_UNI:
        t->out = yes == 0 || yes == members;
        break;
    case PTX_VOTE_BALLOT:
        t->out = yes;
        break;
    case PTX_MATCH_ANY:
        t->out = same_value(warp, members, lane);
        break;
    case PTX_MATCH_ALL:
        t->out_pred = same_value(warp, members, lane) == members;
        t->out = t->out_pred ? members : 0;
        break;
    case PTX_ELECT:
        t->out = first;
        t->out_pred = lane == first;
        break;
    case PTX_ACTIVE:
        t->out = members;
        break;
    case PTX_SYNC:
        break;
    default:
        t->out = reduce(warp, members, first);
        break;
    }
}

void ptx_warp_finish(struct ptx_thread *warp, uint32_t members)
{
    uint32_t first = (uint32_t)__builtin_ctz(members), yes;

    if (warp[first].op >= PTX_SHFL_UP && warp[first].op <= PTX_SHFL_IDX) {
        shuffle(warp, members);
        return;
    }
    if (warp[first].op >= PTX_MMA) {
        ptx_matrix_finish(warp, members);
        return;
    }
    yes = ballot(warp, members);
    for (uint32_t lane = 0; lane < 32; lane++)
        if (members >> lane & 1)
            finish_one(warp, members, first, lane, yes);
}
