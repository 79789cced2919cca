#include "schedule_tempo.h"

#define BUSY_PERCENT   92 /* of a step's time: the link sets the pace */
#define FASTER_PERCENT 95 /* of the best time so far: it is worth its price */

static void time_anew(struct schedule_tempo *tempo)
{
    tempo->steps = 0;
    tempo->fastest_ns = 0;
}

void schedule_tempo_begin(struct schedule_tempo *tempo)
{
    *tempo = (struct schedule_tempo){.phase = TEMPO_LEAN, .ahead = SCHEDULE_AHEAD_LEAN};
}

void schedule_tempo_replanned(struct schedule_tempo *tempo, int is_wide)
{
    tempo->is_wide = is_wide;
    time_anew(tempo);
}

static int is_share(uint64_t part, uint64_t whole, unsigned percent)
{
    return (double)part * 100 >= (double)whole * percent;
}

/* Was what has just been timed worth trying? */
static int is_better(struct schedule_tempo *tempo)
{
    if (is_share(tempo->fastest_ns, tempo->best_ns, FASTER_PERCENT))
        return 0;
    tempo->best_ns = tempo->fastest_ns;
    return 1;
}

/* The window is known. */
static void try_calm(struct schedule_tempo *tempo, uint64_t link_ns)
{
    if (is_share(link_ns, tempo->best_ns, BUSY_PERCENT)) {
        tempo->phase = TEMPO_DECIDED;
        return;
    }
    tempo->phase = TEMPO_CALM;
    tempo->calm = 1;
    time_anew(tempo);
}

/* The fastest step with what is being tried is known. returns 1 when another plan is wanted */
static int decide(struct schedule_tempo *tempo, uint64_t link_ns)
{
    int better;

    switch (tempo->phase) {
    case TEMPO_LEAN:
        tempo->best_ns = tempo->fastest_ns;
        if (tempo->is_wide || is_share(link_ns, tempo->best_ns, BUSY_PERCENT)) {
            try_calm(tempo, link_ns);
            return 0;
        }
        tempo->phase = TEMPO_WIDE;
        tempo->ahead = SCHEDULE_AHEAD_WIDE;
        return 1;
    case TEMPO_WIDE:
        better = is_better(tempo);
        tempo->ahead = better ? SCHEDULE_AHEAD_WIDE : SCHEDULE_AHEAD_LEAN;
        try_calm(tempo, link_ns);
        return !better;
    case TEMPO_CALM:
        tempo->calm = is_better(tempo);
        tempo->phase = TEMPO_DECIDED;
        return 0;
    case TEMPO_DECIDED:
        break;
    }
    return 0;
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
