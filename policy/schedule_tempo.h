/* schedule_tempo.h - how far ahead of a launch its window reaches, by the time that steps take.
 *
 * A window with room for a few extents beside the launch that runs (lean) lets more stay, and is
 * all that is needed where the link sets the pace. Where kernels do, the bytes of a whole launch
 * must come while another runs. Nobody says which it is, so a plan begins lean, and its steps are
 * timed: while they take what the link takes, no other is faster. Else the wide one is timed, too,
 * and the faster of the two stays.
 *
 *     LEAN --link is busy--> DECIDED
 *       |                       ^
 *       +--it is not--> WIDE ---+
 *
 * Pure functions: no clock, no locks.
 */
#ifndef BERTH_POLICY_SCHEDULE_TEMPO_H
#define BERTH_POLICY_SCHEDULE_TEMPO_H

#include "schedule.h"

#define SCHEDULE_TEMPO_SETTLE                                                                      \
    2u                          /* steps of a new plan that are not timed: it moves what it keeps */
#define SCHEDULE_TEMPO_STEPS 4u /* that are timed, and the fastest counts: programs pause */

enum schedule_tempo_phase { TEMPO_LEAN, TEMPO_WIDE, TEMPO_DECIDED };

struct schedule_tempo {
    enum schedule_tempo_phase phase;
    enum schedule_ahead ahead; /* to plan with */
    unsigned steps;            /* of the present plan so far */
    uint64_t fastest_ns;       /* of those that were timed */
    uint64_t lean_ns;          /* the fastest step with the lean plan */
};

/* A step has been found: nothing is known of its pace. */
void schedule_tempo_begin(struct schedule_tempo *tempo);

/* Its plan was made (anew): what was timed was another's. One that is wide though lean was asked
 * for leaves nothing to decide. */
void schedule_tempo_replanned(struct schedule_tempo *tempo, int is_wide);

/* A step of the plan has passed.
 *
 * step_ns  that it took
 * link_ns  that its loads take the link at least; 0: nobody knows yet, and nothing is decided
 * returns  1 when the plan is to be made anew, with tempo->ahead
 */
int schedule_tempo_note(struct schedule_tempo *tempo, uint64_t step_ns, uint64_t link_ns);

#endif
