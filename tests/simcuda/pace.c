/* Durations, engines, and sleeping through them. */
#include "pace.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#define NS_PER_S 1000000000u
/* A thread's calls that follow one another closely queue up from the end of the one before, so that
 * waking up late does not add up. Simulated time. */
#define HOST_SLACK_NS 2000u

struct pace_device {
    struct pace_queue queue[PACE_ENGINES];
    uint64_t turn_next; /* kernels take turns in the order in which they came */
    uint64_t turn_now;
    uint64_t kernel_began_ns;
};

static pthread_mutex_t g_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t g_turn = PTHREAD_COND_INITIALIZER;
static struct pace_device g_devices[SIM_DEVICES_MAX]; /* g_lock */
static uint64_t g_scale;                              /* fixed after the start, like those below */
static uint64_t g_start_ns;
static struct pace_costs g_costs;
static struct pace_clock g_clock;

_Thread_local struct pace_tally t_pace_tally __attribute__((tls_model("initial-exec")));
static _Thread_local uint64_t t_work_ns __attribute__((tls_model("initial-exec")));
static _Thread_local uint64_t t_host_ns __attribute__((tls_model("initial-exec")));

static uint64_t later(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

/* Arithmetic ----------------------------------------------------------------------------------- */

uint64_t pace_bytes_ns(uint64_t bytes, uint64_t bytes_per_s)
{
    if (!bytes_per_s)
        return 0;
    return (uint64_t)(((unsigned __int128)bytes * NS_PER_S + bytes_per_s - 1) / bytes_per_s);
}

uint64_t pace_reserve(struct pace_queue *queue, uint64_t ready_ns, uint64_t ns, uint64_t bytes)
{
    const uint64_t start = later(ready_ns, queue->free_ns);

    queue->free_ns = start + ns;
    queue->busy_ns += ns;
    queue->bytes += bytes;
    queue->operations++;
    return start;
}

uint64_t pace_kernel_ns(const struct pace_costs *costs, const struct pace_kernel *kernel)
{
    return costs->launch_ns + pace_bytes_ns(kernel->touched_bytes, costs->memory_bytes_per_s) +
           kernel->moved.gpu_faults * costs->gpu_fault_ns +
           pace_bytes_ns(kernel->moved.h2d_bytes, costs->h2d_bytes_per_s) +
           pace_bytes_ns(kernel->moved.d2h_bytes, costs->d2h_bytes_per_s);
}

/* The clock ------------------------------------------------------------------------------------ */

static uint64_t real_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* The thread may be the program's: its timer slack is put back. */
static void real_sleep_until_ns(uint64_t ns)
{
    const struct timespec until = {(time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S)};
    const int slack = prctl(PR_GET_TIMERSLACK);

    prctl(PR_SET_TIMERSLACK, 1ul);
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        ;
    if (slack > 0)
        prctl(PR_SET_TIMERSLACK, (unsigned long)slack);
}

void pace_init(void)
{
    const struct pace_clock real = {real_now_ns, real_sleep_until_ns};
    struct pace_costs costs = {
#define X(field, setting) .field = sim_setting(SIM_##setting),
        PACE_COSTS(X)
#undef X
    };

    if (!costs.line_bytes) {
        fprintf(stderr, "simcuda: SIMCUDA_LINE must not be 0; taking 128\n");
        costs.line_bytes = 128;
    }
    pace_start(sim_setting(SIM_PACE), &costs, &real);
}

void pace_start(uint64_t scale, const struct pace_costs *costs, const struct pace_clock *clock)
{
    int d;

    g_scale = scale;
    g_costs = *costs;
    g_clock = *clock;
    g_start_ns = scale ? clock->now_ns() : 0;
    for (d = 0; d < SIM_DEVICES_MAX; d++)
        g_devices[d] = (struct pace_device){.turn_next = 0};
}

int pace_is_on(void)
{
    return g_scale != 0;
}

uint64_t pace_scale(void)
{
    return g_scale;
}

const struct pace_costs *pace_costs(void)
{
    return &g_costs;
}

uint64_t pace_now_ns(void)
{
    return g_scale ? (g_clock.now_ns() - g_start_ns) / g_scale : 0;
}

static void sleep_until(uint64_t ns)
{
    const uint64_t real_ns = g_start_ns + ns * g_scale;

    if (g_clock.now_ns() < real_ns)
        g_clock.sleep_until_ns(real_ns);
}

void pace_snapshot(int device, struct pace_queue out[PACE_ENGINES])
{
    pthread_mutex_lock(&g_lock);
    memcpy(out, g_devices[device].queue, sizeof(g_devices[device].queue));
    pthread_mutex_unlock(&g_lock);
}

/* Work of a stream ----------------------------------------------------------------------------- */

void pace_work_begin(uint64_t ready_ns)
{
    t_work_ns = ready_ns;
}

uint64_t pace_work_ns(void)
{
    return t_work_ns;
}

void pace_work_catch_up(void)
{
    if (g_scale)
        t_work_ns = later(t_work_ns, pace_now_ns());
}

void pace_work_spend(uint64_t ns)
{
    if (!g_scale)
        return;
    t_work_ns += ns;
    sleep_until(t_work_ns);
}

struct pace_slot pace_slot_begin(int device, enum pace_engine engine, uint64_t bytes, uint64_t ns)
{
    struct pace_slot slot = {.queue = NULL};

    if (!g_scale)
        return slot;
    pthread_mutex_lock(&g_lock);
    slot.queue = &g_devices[device].queue[engine];
    slot.start_ns = pace_reserve(slot.queue, t_work_ns, ns, bytes);
    pthread_mutex_unlock(&g_lock);
    slot.end_ns = slot.start_ns + ns;
    slot.bytes = bytes;
    sleep_until(slot.start_ns);
    slot.began_ns = pace_now_ns();
    return slot;
}

void pace_slot_reach(struct pace_slot *slot, uint64_t done_bytes)
{
    if (slot->queue && slot->bytes)
        sleep_until(slot->start_ns + (uint64_t)((unsigned __int128)(slot->end_ns - slot->start_ns) *
                                                done_bytes / slot->bytes));
}

/* Real work lasted from began_ns to now; it had ns. g_lock held. */
static void note_overrun(struct pace_queue *queue, uint64_t began_ns, uint64_t ns)
{
    const uint64_t took_ns = pace_now_ns() - began_ns;

    if (took_ns > ns)
        queue->overrun_ns += took_ns - ns;
}

void pace_slot_end(struct pace_slot *slot)
{
    if (!slot->queue)
        return;
    pthread_mutex_lock(&g_lock);
    note_overrun(slot->queue, slot->began_ns, slot->end_ns - slot->start_ns);
    pthread_mutex_unlock(&g_lock);
    t_work_ns = later(t_work_ns, slot->end_ns);
    sleep_until(t_work_ns);
}

void pace_work_transfer(int device, enum pace_engine engine, uint64_t bytes, uint64_t ns)
{
    uint64_t start_ns;

    if (!g_scale || !bytes)
        return;
    pthread_mutex_lock(&g_lock);
    start_ns = pace_reserve(&g_devices[device].queue[engine], t_work_ns, ns, bytes);
    pthread_mutex_unlock(&g_lock);
    t_work_ns = start_ns + ns;
    sleep_until(t_work_ns);
}

void pace_kernel_begin(int device)
{
    struct pace_device *d = &g_devices[device];
    uint64_t turn;

    if (!g_scale)
        return;
    pthread_mutex_lock(&g_lock);
    turn = d->turn_next++;
    while (d->turn_now != turn)
        pthread_cond_wait(&g_turn, &g_lock);
    t_work_ns = later(t_work_ns, d->queue[PACE_COMPUTE].free_ns);
    d->kernel_began_ns = pace_now_ns();
    pthread_mutex_unlock(&g_lock);
    pace_tally_take();
}

/* What a kernel's faults move takes its turn on the engine, and the kernel waits for it. What it
 * reads and writes in place has no turn: while the engine is busy, each has half of the link, for
 * packets of both travel in between each other. g_lock held. returns when all is through */
static uint64_t kernel_link(struct pace_queue *queue, uint64_t start_ns, uint64_t moved_bytes,
                            uint64_t remote_bytes, uint64_t bytes_per_s)
{
    const uint64_t moved_ns = pace_bytes_ns(moved_bytes, bytes_per_s);
    const uint64_t remote_ns = pace_bytes_ns(remote_bytes, bytes_per_s);
    uint64_t end_ns = start_ns, busy_ns;

    if (remote_bytes) {
        busy_ns = queue->free_ns > start_ns ? queue->free_ns - start_ns : 0;
        end_ns += remote_ns + (busy_ns < remote_ns ? busy_ns : remote_ns);
        pace_reserve(queue, start_ns, remote_ns, remote_bytes);
    }
    if (moved_bytes)
        end_ns = later(end_ns, pace_reserve(queue, start_ns, moved_ns, moved_bytes) + moved_ns);
    return end_ns;
}

void pace_kernel_end(int device, const struct pace_kernel *kernel)
{
    struct pace_device *d = &g_devices[device];
    const uint64_t start_ns = t_work_ns;
    uint64_t end_ns;

    if (!g_scale)
        return;
    pthread_mutex_lock(&g_lock);
    end_ns = start_ns + pace_kernel_ns(&g_costs, kernel);
    end_ns = later(end_ns, kernel_link(&d->queue[PACE_H2D], start_ns, kernel->moved.h2d_bytes,
                                       kernel->remote_read_bytes, g_costs.h2d_bytes_per_s));
    end_ns = later(end_ns, kernel_link(&d->queue[PACE_D2H], start_ns, kernel->moved.d2h_bytes,
                                       kernel->remote_write_bytes, g_costs.d2h_bytes_per_s));
    pace_reserve(&d->queue[PACE_COMPUTE], start_ns, end_ns - start_ns, kernel->touched_bytes);
    note_overrun(&d->queue[PACE_COMPUTE], d->kernel_began_ns, end_ns - start_ns);
    pthread_mutex_unlock(&g_lock);
    t_work_ns = end_ns;
    sleep_until(end_ns);
    pthread_mutex_lock(&g_lock);
    d->turn_now++;
    pthread_cond_broadcast(&g_turn);
    pthread_mutex_unlock(&g_lock);
}

struct pace_tally pace_tally_take(void)
{
    const struct pace_tally tally = t_pace_tally;

    t_pace_tally = (struct pace_tally){.h2d_bytes = 0};
    return tally;
}

void pace_slow(enum pace_engine engine)
{
    static const enum sim_setting settings[PACE_ENGINES] = {SIM_SLOW_H2D_US, SIM_SLOW_D2H_US,
                                                            SIM_SLOW_KERNEL_US};
    const uint64_t us = sim_setting(settings[engine]);

    if (!us)
        return;
    real_sleep_until_ns(real_now_ns() + us * 1000);
    pace_work_catch_up();
}

/* The host ------------------------------------------------------------------------------------- */

/* Where the thread's time goes on. */
static uint64_t host_ns(void)
{
    const uint64_t now = pace_now_ns();

    return t_host_ns <= now && now - t_host_ns <= HOST_SLACK_NS ? t_host_ns : now;
}

void pace_host_spend(uint64_t ns)
{
    if (!g_scale || !ns)
        return;
    t_host_ns = host_ns() + ns;
    sleep_until(t_host_ns);
}

void pace_host_fault(int device, uint64_t d2h_bytes)
{
    uint64_t ready_ns, ns;

    if (!g_scale)
        return;
    ready_ns = host_ns() + g_costs.cpu_fault_ns;
    ns = pace_bytes_ns(d2h_bytes, g_costs.d2h_bytes_per_s);
    if (d2h_bytes) {
        pthread_mutex_lock(&g_lock);
        ready_ns = ns + pace_reserve(&g_devices[device].queue[PACE_D2H], ready_ns, ns, d2h_bytes);
        pthread_mutex_unlock(&g_lock);
    }
    t_host_ns = ready_ns;
    sleep_until(t_host_ns);
}
