#include "schedule_tempo.h"

#define BUSY_PERCENT   92 /* of a step's time: the link sets the pace */
#define FASTER_PERCENT 95 /* of the lean plan's time: the wide one is worth its bytes */

void schedule_tempo_begin(struct schedule_tempo *tempo)
{
    *tempo = (struct schedule_tempo){.phase = TEMPO_LEAN, .ahead = SCHEDULE_AHEAD_LEAN};
}

void schedule_tempo_replanned(struct schedule_tempo *tempo, int is_wide)
{
    if (is_wide && tempo->phase == TEMPO_LEAN)
        tempo->phase = TEMPO_DECIDED;
    tempo->steps = 0;
    tempo->fastest_ns = 0;
}

static int is_share(uint64_t part, uint64_t whole, unsigned percent)
{
    return (double)part * 100 >= (double)whole * percent;
}

/* The fastest step with the present plan is known. returns 1 when another plan is wanted */
static int decide(struct schedule_tempo *tempo, uint64_t link_ns)
{
    if (tempo->phase == TEMPO_LEAN) {
        tempo->lean_ns = tempo->fastest_ns;
        if (is_share(link_ns, tempo->fastest_ns, BUSY_PERCENT)) {
            tempo->phase = TEMPO_DECIDED;
            return 0;
        }
        tempo->phase = TEMPO_WIDE;
        tempo->ahead = SCHEDULE_AHEAD_WIDE;
        return 1;
    }
    tempo->phase = TEMPO_DECIDED;
    if (!is_share(tempo->fastest_ns, tempo->lean_ns, FASTER_PERCENT))
        return 0;
    tempo->ahead = SCHEDULE_AHEAD_LEAN;
    return 1;
}

int schedule_tempo_note(struct schedule_tempo *tempo, uint64_t step_ns, uint64_t link_ns)
{
    if (tempo->phase == TEMPO_DECIDED || ++tempo->steps <= SCHEDULE_TEMPO_SETTLE)
        return 0;
    if (!tempo->fastest_ns || step_ns < tempo->fastest_ns)
        tempo->fastest_ns = step_ns;
    if (!link_ns || tempo->steps < SCHEDULE_TEMPO_SETTLE + SCHEDULE_TEMPO_STEPS)
        return 0;
    return decide(tempo, link_ns);
}
