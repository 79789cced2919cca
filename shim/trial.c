/* trial.c - which functions read large objects sparsely: found out by letting one launch read in
 * place, and timing it on the device.
 *
 * A launch that is narrow for the object that it is given (a look-up of some rows in an embedding
 * table) may touch little of it; or all, in a loop. Bringing such an object in for the former costs
 * a thousand times what it reads. So the first such launch of a function reads in place what is
 * absent. Reading all of it over the link takes as long as loading it would; a launch that takes
 * less than half of that is sparse, and its function's launches go on reading in place, timed again
 * ever more seldom. Where two in a row take longer it is dense, for good: one may have met what was
 * just given up, which the device finds by faults, and finds at once the next time.
 *
 * Until the trial has run, what was absent stays so, whoever asks for it: a program may queue more
 * launches that use it, and what they would load the trial would find there.
 *
 * What no link is fast enough for is sparse whatever loads take, and what a common one carries is
 * not (to load what is read in part costs some; to read all of it in place, for ever, costs most).
 * In between, the link's speed must be known from some runs of loads, and they may all have been
 * slow: a function that is taken for sparse by mistake would load no more, and nothing would ever
 * show how fast loads are. So launches that would be tried next load instead, until as many runs
 * more have been timed.
 */
#include "log.h"
#include "pager.h"
#include "stats.h"

/* A trial is dense that takes 1 / DENSE_SHARE of the load's time or longer. */
#define DENSE_SHARE 2
/* Absent, for a trial of an object of which most is there. The link takes 0.15 ms or longer. */
#define ENOUGH_BYTES ((uint64_t)8 << 20)
/* More than any link to a host carries: NVLink-C2C has 450. */
#define NO_LINK_BYTES_PER_NS 512
/* What a common link carries, PCIe 5.0 with 16 lanes. */
#define LINK_BYTES_PER_NS 56

static uint64_t absent_bytes(const struct residency_trial *trial)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < trial->count; i++)
        if (trial->set[i]->state == EXTENT_ABSENT)
            bytes += trial->set[i]->bytes;
    return bytes;
}

static uint64_t all_bytes(const struct residency_trial *trial)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < trial->count; i++)
        bytes += trial->set[i]->bytes;
    return bytes;
}

/* Is so much absent that reading it would show in a launch's time? */
static int is_enough(const struct residency_trial *trial)
{
    uint64_t absent = absent_bytes(trial);

    return absent >= ENOUGH_BYTES || absent >= all_bytes(trial) / 2;
}

/* Events with timing: the lane's spare ones have none. */
static int make_events(const struct driver *drv, struct use *use)
{
    CUevent ended = NULL;

    if (stats_note(drv->cuEventCreate(&use->began, CU_EVENT_DEFAULT)) != CUDA_SUCCESS) {
        use->began = NULL;
        return -1;
    }
    if (stats_note(drv->cuEventCreate(&ended, CU_EVENT_DEFAULT)) != CUDA_SUCCESS) {
        stats_note(drv->cuEventDestroy_v2(use->began));
        use->began = NULL;
        return -1;
    }
    use->event = ended;
    return 0;
}

int trial_is_due(const struct residency *res, const struct residency_trial *trial)
{
    uint8_t verdict = atomic_load_explicit(trial->verdict, memory_order_relaxed);

    return link_speed_is_known(&res->link) && verdict != READING_TRIED &&
           verdict != READING_DENSE && is_enough(trial);
}

int trial_is_on(const struct residency_trial *trial)
{
    return atomic_load_explicit(trial->verdict, memory_order_relaxed) == READING_TRIED;
}

void trial_begin(struct residency *res, struct use *use, struct residency_trial *trial,
                 CUstream stream)
{
    if (make_events(res->drv, use))
        return;
    if (stats_note(res->drv->cuEventRecord(use->began, stream)) != CUDA_SUCCESS) {
        trial_end(res, use, 0);
        return;
    }
    use->trial = ++res->trial_number;
    for (size_t i = 0; i < trial->count; i++)
        trial->set[i]->trial = use->trial;
    use->trial_bytes = absent_bytes(trial);
    use->doubted = atomic_load_explicit(trial->verdict, memory_order_relaxed) == READING_DOUBTED;
    use->verdict = trial->verdict;
    atomic_store_explicit(use->verdict, READING_TRIED, memory_order_relaxed);
}

int trial_leaves(const struct residency *res, struct extent *e)
{
    const struct use *use = e->trial ? res->uses : NULL;

    while (use && use->trial != e->trial)
        use = use->next;
    if (!use)
        e->trial = 0;
    return use != NULL;
}

/* What of the object has come before is of no use there. */
static void give_up_object(struct residency *res, const struct use *use)
{
    for (uint32_t i = 0; i < res->table_count; i++)
        if (res->table[i]->trial == use->trial)
            res->table[i]->sparse = 1;
}

/* Does the plan know of all of it? */
static int is_planned(const struct residency *res, const struct use *use)
{
    for (uint32_t i = 0; i < res->table_count; i++) {
        const struct extent *e = res->table[i];

        if (e->trial == use->trial && !e->fixed &&
            (i >= res->plan.extent_count || res->plan.first_load[i] == SCHEDULE_NONE))
            return 0;
    }
    return 1;
}

/* The time that the launch took, against what loading the same bytes takes. */
static enum reading judge(struct residency *res, const struct use *use)
{
    uint64_t ns = transfer_elapsed_ns(res->drv, use->began, use->event);
    struct link_load speed = link_speed_get(&res->link);
    double load_ns = (double)use->trial_bytes / (double)speed.bytes * (double)speed.ns;

    log_debug("trial", "%llu bytes read in place took %llu ns, loading them takes %.0f",
              (unsigned long long)use->trial_bytes, (unsigned long long)ns, load_ns);
    if (ns && ns < use->trial_bytes / NO_LINK_BYTES_PER_NS)
        return READING_SPARSE;
    if (!ns || ns >= use->trial_bytes / LINK_BYTES_PER_NS)
        return use->doubted ? READING_DENSE : READING_DOUBTED;
    res->link_doubted = 1;
    if (!trial_link_is_sure(res) && res->link_tries < LINK_TRIES_MAX)
        return READING_UNKNOWN;
    if ((double)ns * DENSE_SHARE < load_ns) {
        res->link_since = res->link.noted;
        return READING_SPARSE;
    }
    return use->doubted ? READING_DENSE : READING_DOUBTED;
}

void trial_end(struct residency *res, struct use *use, int has_run)
{
    if (use->verdict) {
        enum reading found = use->doubted ? READING_DOUBTED : READING_UNKNOWN;

        if (has_run)
            found = judge(res, use);
        atomic_store_explicit(use->verdict, (uint8_t)found, memory_order_relaxed);
        if (found == READING_SPARSE)
            give_up_object(res, use);
        if (found == READING_DENSE) {
            range_changed(); /* launches that were resolved without the objects are resolved anew */
            if (res->learned && !is_planned(res, use)) /* the step was recorded without them, too */
                learn_forget(res);
        }
    }
    use->verdict = NULL;
    use->trial = 0;
    if (!use->began)
        return;
    stats_note(res->drv->cuEventDestroy_v2(use->began));
    stats_note(res->drv->cuEventDestroy_v2(use->event));
    use->began = use->event = NULL;
}
