/* What the report says of the engines: since the start, and in the windows of the profiler's calls.
 */
#include <pthread.h>
#include <string.h>

#include "pace.h"

static const char *const ENGINES[PACE_ENGINES] = {"h2d", "d2h", "compute"};

struct totals {
    struct pace_queue queue[SIM_DEVICES_MAX][PACE_ENGINES];
    uint64_t ns;
};

static pthread_mutex_t g_lock = PTHREAD_MUTEX_INITIALIZER;
static struct totals g_open; /* as it stood when the window was opened; all below: g_lock */
static struct totals g_sum;  /* of the windows that were closed */
static int g_is_open;

static void totals_read(struct totals *totals)
{
    int d;

    for (d = 0; d < SIM_DEVICES_MAX; d++)
        pace_snapshot(d, totals->queue[d]);
    totals->ns = pace_now_ns();
}

void pace_window_open(void)
{
    pthread_mutex_lock(&g_lock);
    if (!g_is_open)
        totals_read(&g_open);
    g_is_open = 1;
    pthread_mutex_unlock(&g_lock);
}

static void queue_add(struct pace_queue *sum, const struct pace_queue *now,
                      const struct pace_queue *before)
{
    sum->busy_ns += now->busy_ns - before->busy_ns;
    sum->bytes += now->bytes - before->bytes;
    sum->operations += now->operations - before->operations;
    sum->overrun_ns += now->overrun_ns - before->overrun_ns;
}

void pace_window_close(void)
{
    struct totals now;
    int d, e;

    pthread_mutex_lock(&g_lock);
    if (g_is_open) {
        totals_read(&now);
        for (d = 0; d < SIM_DEVICES_MAX; d++) {
            for (e = 0; e < PACE_ENGINES; e++)
                queue_add(&g_sum.queue[d][e], &now.queue[d][e], &g_open.queue[d][e]);
        }
        g_sum.ns += now.ns - g_open.ns;
    }
    g_is_open = 0;
    pthread_mutex_unlock(&g_lock);
}

static void report_totals(FILE *file, const struct totals *totals, int devices)
{
    int d, e;

    fprintf(file, "{\"ns\":%llu,\"devices\":[", (unsigned long long)totals->ns);
    for (d = 0; d < devices; d++) {
        fprintf(file, "%s{", d ? "," : "");
        for (e = 0; e < PACE_ENGINES; e++) {
            const struct pace_queue *queue = &totals->queue[d][e];

            fprintf(file,
                    "%s\"%s\":{\"busy_ns\":%llu,\"bytes\":%llu,\"operations\":%llu,"
                    "\"overrun_ns\":%llu}",
                    e ? "," : "", ENGINES[e], (unsigned long long)queue->busy_ns,
                    (unsigned long long)queue->bytes, (unsigned long long)queue->operations,
                    (unsigned long long)queue->overrun_ns);
        }
        fprintf(file, "}");
    }
    fprintf(file, "]}");
}

void pace_report(FILE *file, int devices)
{
    const struct pace_costs *costs = pace_costs();
    struct totals totals;

    totals_read(&totals);
    fprintf(file, "{\"scale\":%llu,\"costs\":{", (unsigned long long)pace_scale());
#define X(field, setting) fprintf(file, "\"" #field "\":%llu,", (unsigned long long)costs->field);
    PACE_COSTS(X)
#undef X
    fprintf(file, "\"block_bytes\":%u},\"all\":", 2u << 20);
    report_totals(file, &totals, devices);
    fprintf(file, ",\"window\":");
    pthread_mutex_lock(&g_lock);
    report_totals(file, &g_sum, devices);
    pthread_mutex_unlock(&g_lock);
    fprintf(file, "}");
}
