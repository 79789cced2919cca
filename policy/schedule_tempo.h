/* schedule_tempo.h - how the plan of a step is followed, by the time that steps take.
 *
 * A window with room for a few extents beside the launch that runs (lean) lets more stay, and is
 * all that is needed where the link sets the pace. Nobody says whether it does, so a plan begins
 * lean, and its steps are timed: while they take what the link takes, nothing is faster. Else the
 * driver's own work may set the pace, or the program's host, whose calls that work holds up: then
 * it is better to load so that the calls are short (calm), though a load takes longer to begin. Or
 * kernels do, or the time that a load takes to begin: then more must be on its way (deep). Calm is
 * timed, then deep with the faster of both, and what was fastest stays.
 *
 *     LEAN --> CALM --> DEEP --> DECIDED
 *       |        |                 ^
 *       +--------+-link is busy----+
 *
 * Pure functions: no clock, no locks.
 */
#ifndef BERTH_POLICY_SCHEDULE_TEMPO_H
#define BERTH_POLICY_SCHEDULE_TEMPO_H

#include "schedule.h"

#define SCHEDULE_TEMPO_SETTLE                                                                      \
    2u                          /* steps of a new plan that are not timed: it moves what it keeps */
#define SCHEDULE_TEMPO_STEPS 4u /* that are timed, and the fastest counts: programs pause */

enum schedule_tempo_phase { TEMPO_LEAN, TEMPO_CALM, TEMPO_DEEP, TEMPO_DECIDED };

struct schedule_tempo {
    enum schedule_tempo_phase phase;
    enum schedule_ahead ahead; /* to plan with */
    int calm;                  /* to load so that the calls are short */
    unsigned steps;            /* of what is being timed so far */
    uint64_t fastest_ns;       /* of those that were timed */
    uint64_t best_ns;          /* the fastest step with the best so far */
};

/* A step has been found: nothing is known of its pace. */
void schedule_tempo_begin(struct schedule_tempo *tempo);

/* Its plan was made (anew): what was timed was another's. */
void schedule_tempo_replanned(struct schedule_tempo *tempo);

/* A step of the plan has passed.
 *
 * step_ns  that it took
 * link_ns  that its loads take the link at least; 0: nobody knows yet, and nothing is decided
 * returns  1 when the plan is to be made anew, with tempo->ahead
 */
int schedule_tempo_note(struct schedule_tempo *tempo, uint64_t step_ns, uint64_t link_ns);

#endif
