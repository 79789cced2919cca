#include "schedule_tempo.h"

#define BUSY_PERCENT   92 /* of a step's time: the link sets the pace */
#define FASTER_PERCENT 98 /* of the best time so far: less is no matter of chance */

static void time_anew(struct schedule_tempo *tempo)
{
    tempo->steps = 0;
    tempo->fastest_ns = 0;
}

void schedule_tempo_begin(struct schedule_tempo *tempo)
{
    *tempo = (struct schedule_tempo){.phase = TEMPO_LEAN, .ahead = SCHEDULE_AHEAD_LEAN};
}

void schedule_tempo_replanned(struct schedule_tempo *tempo)
{
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

/* returns 1 when that takes another plan */
static int try_next(struct schedule_tempo *tempo)
{
    tempo->phase = tempo->phase == TEMPO_LEAN ? TEMPO_CALM : TEMPO_DEEP;
    time_anew(tempo);
    if (tempo->phase == TEMPO_CALM)
        tempo->calm = 1;
    else
        tempo->ahead = SCHEDULE_AHEAD_DEEP;
    return tempo->phase == TEMPO_DEEP;
}

/* The fastest step with what is being tried is known. returns 1 when another plan is wanted */
static int decide(struct schedule_tempo *tempo, uint64_t link_ns)
{
    switch (tempo->phase) {
    case TEMPO_LEAN:
        tempo->best_ns = tempo->fastest_ns;
        break;
    case TEMPO_CALM:
        tempo->calm = is_better(tempo);
        break;
    case TEMPO_DEEP:
        tempo->phase = TEMPO_DECIDED;
        if (is_better(tempo))
            return 0;
        tempo->ahead = SCHEDULE_AHEAD_LEAN;
        return 1;
    case TEMPO_DECIDED:
        return 0;
    }
    if (!is_share(link_ns, tempo->best_ns, BUSY_PERCENT))
        return try_next(tempo);
    tempo->phase = TEMPO_DECIDED;
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
