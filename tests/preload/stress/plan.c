/* plan.c - drawing operations, and finding which of them conflict. */
#include "stress.h"

#include <string.h>

const struct kind_row g_kinds[KIND_COUNT] = {
#define X(name, operands, written, weight) {#name, operands, written, weight},
    STRESS_KINDS(X)
#undef X
};

/* Who used a tensor since it was last written, that write included. */
struct history {
    uint32_t *operation;
    unsigned count, room;
    int written; /* operation[0] is a write */
};

unsigned stress_home(unsigned thread)
{
    return thread % SIDES;
}

static uint64_t pick(uint64_t *seed, uint64_t below)
{
    return next_random(seed) % below;
}

static enum kind pick_kind(uint64_t *seed)
{
    unsigned total = 0, at;

    for (int k = 0; k < KIND_COUNT; k++)
        total += g_kinds[k].weight;
    at = (unsigned)pick(seed, total);
    for (int k = 0; k < KIND_COUNT; k++) {
        if (at < g_kinds[k].weight)
            return (enum kind)k;
        at -= g_kinds[k].weight;
    }
    return KIND_TRIPLE;
}

static int is_taken(const struct operation *op, unsigned tensor)
{
    for (unsigned i = 0; i < op->operands; i++)
        if (op->tensor[i] == tensor)
            return 1;
    return 0;
}

/* Operands, no tensor twice. A copy between contexts has its source in the other one. */
static void pick_operands(struct operation *op, uint64_t *seed)
{
    while (op->operands < g_kinds[op->kind].operands) {
        unsigned side = op->kind == KIND_PEER_COPY && op->operands ? !op->side : op->side;
        unsigned t = (unsigned)pick(seed, g_tensor_count);

        if (g_tensors[t].side != side || is_taken(op, t) ||
            (op->kind == KIND_REALLOCATE && g_tensors[t].inner))
            continue;
        op->tensor[op->operands++] = (uint16_t)t;
    }
}

/* Mostly one of the thread's own streams; in the other context the default streams only. */
static void pick_lane(struct operation *op, uint64_t *seed)
{
    op->side = stress_home(op->thread);
    if (pick(seed, 12) == 0) {
        op->side = !op->side;
        op->lane = pick(seed, 2) ? LANE_LEGACY : LANE_PER_THREAD;
    } else {
        uint64_t at = pick(seed, 2 * STREAMS + 3);

        op->lane = at < 2 * STREAMS    ? (unsigned)at / 2
                   : at == 2 * STREAMS ? LANE_LEGACY
                                       : LANE_PER_THREAD;
    }
}

static void add_after(struct operation *op, uint32_t earlier)
{
    for (unsigned i = 0; i < op->after_count; i++)
        if (op->after[i] == earlier)
            return;
    op->after = realloc(op->after, (op->after_count + 1) * sizeof(*op->after));
    EXPECT(op->after, "no memory for the plan");
    op->after[op->after_count++] = earlier;
}

static void add_user(struct history *h, uint32_t user)
{
    if (h->count == h->room) {
        h->room = h->room ? 2 * h->room : 8;
        h->operation = realloc(h->operation, h->room * sizeof(*h->operation));
        EXPECT(h->operation, "no memory for the plan");
    }
    h->operation[h->count++] = user;
}

/* A write comes after all that used the tensor since the last write, a read after that write. */
static void find_conflicts(struct plan *plan)
{
    struct history *all = calloc(g_tensor_count, sizeof(*all));

    EXPECT(all, "no memory for the plan");
    for (uint32_t o = 0; o < plan->count; o++) {
        struct operation *op = &plan->operations[o];

        for (unsigned i = 0; i < op->operands; i++) {
            struct history *h = &all[op->tensor[i]];
            int writes = i < g_kinds[op->kind].written;
            unsigned behind = writes ? h->count : h->count && h->written;

            for (unsigned u = 0; u < behind; u++)
                add_after(op, h->operation[u]);
            if (writes) {
                h->count = 0;
                h->written = 1;
            }
            add_user(h, o);
        }
    }
    for (uint32_t o = 0; o < plan->count; o++)
        for (unsigned i = 0; i < plan->operations[o].after_count; i++)
            plan->operations[plan->operations[o].after[i]].waiters++;
    for (unsigned t = 0; t < g_tensor_count; t++)
        free(all[t].operation);
    free(all);
}

static void reserve(struct plan *plan, unsigned count)
{
    plan->count = count;
    plan->operations = calloc(count, sizeof(*plan->operations));
    EXPECT(plan->operations, "no memory for the plan");
}

void plan_draw(struct plan *plan, unsigned threads, unsigned count, uint64_t *seed)
{
    reserve(plan, count);
    for (unsigned o = 0; o < count; o++) {
        struct operation *op = &plan->operations[o];

        op->thread = (unsigned)pick(seed, threads);
        op->kind = o % 400 == 200 ? KIND_VISIT : pick_kind(seed);
        op->draw = next_random(seed);
        pick_lane(op, seed);
        pick_operands(op, seed);
    }
    find_conflicts(plan);
}

void plan_draw_loop(struct plan *plan, unsigned length, unsigned rounds, uint64_t *seed)
{
    static const enum kind kinds[] = {KIND_TRIPLE, KIND_COPY,     KIND_MERGE,   KIND_OPTIMIZE,
                                      KIND_EIGHT,  KIND_BY_VALUE, KIND_SCATTER, KIND_TRIPLE};
    unsigned thread = (unsigned)pick(seed, SIDES), lane = (unsigned)pick(seed, STREAMS);

    reserve(plan, length * rounds);
    for (unsigned o = 0; o < length; o++) {
        struct operation *op = &plan->operations[o];

        op->thread = thread;
        op->side = stress_home(thread);
        op->lane = lane;
        op->kind = kinds[pick(seed, sizeof(kinds) / sizeof(kinds[0]))];
        op->draw = next_random(seed);
        pick_operands(op, seed);
        for (unsigned r = 1; r < rounds; r++)
            plan->operations[r * length + o] = *op;
    }
    find_conflicts(plan);
}

void plan_free(struct plan *plan)
{
    for (unsigned o = 0; o < plan->count; o++)
        free(plan->operations[o].after);
    free(plan->operations);
    plan->operations = NULL;
}
