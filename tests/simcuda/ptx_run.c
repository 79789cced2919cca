/* ptx_run.c - the scheduler of a block's threads. */
#include "ptx_run.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define BARRIERS 16
#define POISON   0xff /* fresh shared and local memory: NaN as floats, -1 as integers */
#define PADDING  32   /* an aligned access may begin on the last byte of a buffer */

struct schedule {
    struct ptx_block *block;
    const struct ptx_entry *entry;
    struct ptx_thread *threads;
    uint8_t *frames;
    uint64_t frame_bytes;
    uint32_t count;
    uint32_t over;               /* threads that have exited */
    uint32_t arrived[BARRIERS];  /* by bar.arrive since the barrier last completed */
    uint32_t expected[BARRIERS]; /* of those who arrived; 0: nobody said */
};

static uint64_t round_up(uint64_t bytes)
{
    return (bytes + 63) & ~(uint64_t)63;
}

/* One thread runs until it waits or ends; returns false after a fault. */
static bool run_thread(struct schedule *s, struct ptx_thread *t)
{
    uint8_t *frame = s->frames + t->linear * s->frame_bytes;

    do {
        int status;

        t->wait = PTX_WAIT_NONE;
        status = s->entry->thread(t, frame, NULL);
        if (status == PTX_FAULTED)
            return false;
        if (status != PTX_SUSPENDED) {
            t->wait = PTX_WAIT_OVER;
            s->over++;
            return true;
        }
        if (t->wait == PTX_WAIT_BARRIER || t->wait == PTX_WAIT_ARRIVE) {
            if (t->bar_id >= BARRIERS) {
                ptx_fault(s->block->run, PTX_FAULT_LAUNCH_FAILED, 0);
                return false;
            }
            if (t->wait == PTX_WAIT_ARRIVE) {
                s->arrived[t->bar_id]++;
                s->expected[t->bar_id] = t->bar_count;
            }
        }
    } while (t->wait == PTX_WAIT_ARRIVE);
    return true;
}

/* The members of the collective that this lane waits in, if all of them have come; else 0. A lane
 * that exited is no longer waited for. */
static uint32_t complete_group(const struct ptx_thread *warp, uint32_t lanes, uint32_t lane)
{
    uint32_t mask = warp[lane].mask, members = 0;

    for (uint32_t i = 0; i < lanes; i++) {
        const struct ptx_thread *t = &warp[i];

        if (!(mask >> i & 1) || t->wait == PTX_WAIT_OVER)
            continue;
        if (t->wait != PTX_WAIT_WARP || t->mask != mask || t->op != warp[lane].op)
            return 0;
        members |= 1u << i;
    }
    return members;
}

static uint32_t same_place(const struct ptx_thread *warp, uint32_t lanes, uint32_t lane)
{
    uint32_t members = 0;

    for (uint32_t i = 0; i < lanes; i++)
        if (warp[i].wait == PTX_WAIT_CONVERGED && warp[i].place == warp[lane].place)
            members |= 1u << i;
    return members;
}

static void release(struct ptx_thread *warp, uint32_t members)
{
    ptx_warp_finish(warp, members);
    for (uint32_t i = 0; i < 32; i++)
        if (members >> i & 1)
            warp[i].wait = PTX_WAIT_NONE;
}

/* Finish what collectives of the warp can be finished. Those without a mask are for whoever stands
 * at the instruction, so they come last, one place at a time: the first in the code, so that lanes
 * that went another way can catch up. */
static bool finish_collectives(struct ptx_thread *warp, uint32_t lanes)
{
    bool finished = false;
    uint32_t first = lanes;

    for (uint32_t i = 0; i < lanes; i++) {
        uint32_t members = warp[i].wait == PTX_WAIT_WARP ? complete_group(warp, lanes, i) : 0;

        if (members) {
            release(warp, members);
            finished = true;
        } else if (warp[i].wait == PTX_WAIT_CONVERGED &&
                   (first == lanes || warp[i].place < warp[first].place)) {
            first = i;
        }
    }
    if (finished || first == lanes)
        return finished;
    release(warp, same_place(warp, lanes, first));
    return true;
}

/* Turns for a warp until all of its threads wait for others; returns false after a fault. */
static bool run_warp(struct schedule *s, uint32_t first, bool *moved)
{
    struct ptx_thread *warp = &s->threads[first];
    uint32_t lanes = s->count - first < 32 ? s->count - first : 32;

    do {
        for (uint32_t i = 0; i < lanes; i++) {
            if (warp[i].wait != PTX_WAIT_NONE)
                continue;
            *moved = true;
            if (!run_thread(s, &warp[i]))
                return false;
        }
    } while (finish_collectives(warp, lanes));
    return true;
}

/* How many threads stand at a barrier. The hardware counts whole warps: lanes that the block does
 * not have, or that exited, come with those that are there. */
static uint32_t count_waiting(const struct schedule *s, uint32_t id, uint32_t *whole_warps,
                              uint32_t *expected)
{
    uint32_t waiting = 0;

    *whole_warps = 0;
    for (uint32_t first = 0; first < s->count; first += 32) {
        uint32_t here = 0, gone = 0;

        for (uint32_t i = first; i < first + 32; i++) {
            const struct ptx_thread *t = &s->threads[i];

            if (i >= s->count || t->wait == PTX_WAIT_OVER) {
                gone++;
            } else if (t->wait == PTX_WAIT_BARRIER && t->bar_id == id) {
                here++;
                if (t->bar_count)
                    *expected = t->bar_count;
            }
        }
        waiting += here;
        *whole_warps += here ? here + gone : 0;
    }
    return waiting;
}

static void release_barrier(struct schedule *s, uint32_t id, uint32_t waiting)
{
    uint32_t yes = 0;

    for (uint32_t i = 0; i < s->count; i++)
        if (s->threads[i].wait == PTX_WAIT_BARRIER && s->threads[i].bar_id == id)
            yes += s->threads[i].in_pred != 0;
    for (uint32_t i = 0; i < s->count; i++) {
        struct ptx_thread *t = &s->threads[i];

        if (t->wait != PTX_WAIT_BARRIER || t->bar_id != id)
            continue;
        t->out = t->op == PTX_BAR_POPC ? yes : t->op == PTX_BAR_AND ? yes == waiting : yes != 0;
        t->wait = PTX_WAIT_NONE;
    }
    s->arrived[id] = 0;
    s->expected[id] = 0;
}

static bool finish_barriers(struct schedule *s)
{
    bool finished = false;

    for (uint32_t id = 0; id < BARRIERS; id++) {
        uint32_t expected = s->expected[id], whole_warps;
        uint32_t waiting = count_waiting(s, id, &whole_warps, &expected);
        bool complete = expected ? whole_warps + s->arrived[id] >= expected
                                 : waiting + s->arrived[id] >= s->count - s->over;

        if ((waiting || (expected && s->arrived[id])) && complete) {
            release_barrier(s, id, waiting);
            finished = true;
        }
    }
    return finished;
}

static int run_schedule(struct schedule *s)
{
    while (s->over < s->count) {
        bool moved = false;

        for (uint32_t first = 0; first < s->count; first += 32)
            if (!run_warp(s, first, &moved))
                return s->block->run->fault;
        if (!finish_barriers(s) && !moved) {
            ptx_fault(s->block->run, PTX_FAULT_LAUNCH_FAILED, 0);
            return s->block->run->fault;
        }
    }
    return 0;
}

static void start_threads(struct schedule *s, uint8_t *local, uint64_t local_bytes)
{
    const uint32_t *dim = s->block->block;

    for (uint32_t i = 0; i < s->count; i++) {
        struct ptx_thread *t = &s->threads[i];

        *t = (struct ptx_thread){
            .block = s->block,
            .tid = {i % dim[0], i / dim[0] % dim[1], i / dim[0] / dim[1]},
            .linear = i,
            .lane = i % 32,
            .warp = i / 32,
            .local = local + i * (local_bytes + PADDING),
            .local_bytes = local_bytes,
            .frame_end = s->frames + (i + 1) * s->frame_bytes,
            .wait = PTX_WAIT_NONE,
        };
        memset(s->frames + i * s->frame_bytes, 0, 16); /* pc 0: from the beginning */
    }
}

int ptx_run_waiting(struct ptx_block *block, const struct ptx_entry *entry, uint64_t local_bytes)
{
    struct schedule s = {.block = block, .entry = entry, .count = block->threads};
    uint64_t shared_bytes = round_up(block->shared_bytes + PADDING);
    uint64_t thread_bytes = round_up(s.count * sizeof(struct ptx_thread));
    uint64_t all_local = round_up(s.count * (local_bytes + PADDING));
    uint8_t *memory;
    int res;

    s.frame_bytes = round_up(entry->frame_bytes);
    memory = aligned_alloc(64, shared_bytes + thread_bytes + all_local + s.count * s.frame_bytes);
    if (!memory) {
        ptx_fault(block->run, 2, 0); /* CUDA_ERROR_OUT_OF_MEMORY */
        return block->run->fault;
    }
    block->shared = memory;
    s.threads = (struct ptx_thread *)(memory + shared_bytes);
    s.frames = memory + shared_bytes + thread_bytes + all_local;
    memset(block->shared, POISON, block->shared_bytes);
    if (local_bytes)
        memset(memory + shared_bytes + thread_bytes, POISON, all_local);
    start_threads(&s, memory + shared_bytes + thread_bytes, local_bytes);
    res = run_schedule(&s);
    free(memory);
    return res;
}

int ptx_run_straight(struct ptx_block *block, const struct ptx_entry *entry, uint64_t local_bytes)
{
    uint64_t shared_bytes = round_up(block->shared_bytes + PADDING);
    uint8_t *memory = aligned_alloc(64, shared_bytes + round_up(local_bytes + PADDING));
    int status;

    if (!memory) {
        ptx_fault(block->run, 2, 0); /* CUDA_ERROR_OUT_OF_MEMORY */
        return block->run->fault;
    }
    block->shared = memory;
    memset(block->shared, POISON, block->shared_bytes);
    memset(memory + shared_bytes, POISON, local_bytes);
    status = entry->block(block, memory + shared_bytes, local_bytes);
    free(memory);
    return status == PTX_FAULTED ? block->run->fault : 0;
}
