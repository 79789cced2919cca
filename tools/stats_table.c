/* stats_table.c - a report for people. */
#include "stats_views.h"

#include "policy/size.h"
#include "stats_advice.h"
#include "stats_text.h"
#include "table.h"
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define LABEL_COLUMNS 10
#define WORST_MAX     3

/* One way to write sizes in all of the table. */
static const char *size_text(uint64_t bytes, char text[SIZE_TEXT_BYTES])
{
    return size_format(bytes, SIZE_BINARY, text);
}

/* The summary ---------------------------------------------------------------------------------- */

/* A line of the summary: what it is about in a column of its own, then text, which goes on in the
 * second column where the terminal ends. Text may hold names from elsewhere: it is cleaned.
 */
static void print_line(FILE *out, const char *label, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void print_line(FILE *out, const char *label, const char *format, ...)
{
    const struct terminal_style *style = terminal_style(out);
    char *text = NULL;
    va_list args;

    va_start(args, format);
    if (vasprintf(&text, format, args) < 0)
        text = NULL;
    va_end(args);
    fprintf(out, "%s%-*s%s ", style->title, LABEL_COLUMNS, label, style->end);
    terminal_print_wrapped(out, LABEL_COLUMNS + 1, text ? text : "?");
    free(text);
}

static void print_program(const struct stats_report *report, FILE *out)
{
    print_line(out, "program", "%s, pid %" PRId32, report->program, report->pid);
    if (*report->driver)
        print_line(out, "backend", "%s, driver %s", *report->backend ? report->backend : "none",
                   report->driver);
    else
        print_line(out, "backend", "none, for no driver was asked for a GPU, or none could be had");
}

static void print_budgets(const struct stats_report *report, FILE *out)
{
    char budget[SIZE_TEXT_BYTES], needed[SIZE_TEXT_BYTES];
    int any = 0;

    for (unsigned i = 0; i < report->device_count; i++) {
        if (report->budget_bytes[i] == STATS_NO_BUDGET)
            continue;
        size_text(report->budget_bytes[i], budget);
        size_text(report->needed_bytes[i], needed);
        if (report->needed_bytes[i] == STATS_NO_BUDGET)
            print_line(out, any ? "" : "budget", "GPU %u: %s", i, budget);
        else if (report->needed_bytes[i] <= report->budget_bytes[i])
            print_line(out, any ? "" : "budget", "GPU %u: %s, all %s of the program fit", i, budget,
                       needed);
        else
            print_line(out, any ? "" : "budget", "GPU %u: %s of the %s that the program takes", i,
                       budget, needed);
        any = 1;
    }
    if (!any)
        print_line(out, "budget", "none");
}

/* Where those weights are, or were, that the line before speaks of. Documents of before do not say.
 */
static void print_residency(const struct stats_report *report, FILE *out)
{
    char vram[SIZE_TEXT_BYTES], host[SIZE_TEXT_BYTES], disk[SIZE_TEXT_BYTES];
    char left[SIZE_TEXT_BYTES];

    size_text(report->weights_vram_bytes, vram);
    if (!report->weights_vram_bytes && !report->weights_allocated_bytes)
        return;
    if (report->weights_allocated_bytes >= report->weights_total_bytes)
        print_line(out, "", "%s in VRAM, %s only in host memory%s%s", vram,
                   size_text(report->weights_host_bytes, host),
                   report->weights_disk_bytes ? ", only on disk: " : "",
                   report->weights_disk_bytes ? size_text(report->weights_disk_bytes, disk) : "");
    else if (report->weights_allocated_bytes)
        print_line(out, "", "at most %s in VRAM at a time; %s not freed by the end", vram,
                   size_text(report->weights_allocated_bytes, left));
    else
        print_line(out, "", "at most %s in VRAM at a time; all freed by the end", vram);
}

static size_t allocated_count(const struct stats_report *report)
{
    size_t count = 0;

    for (size_t i = 0; i < report->parameter_count; i++)
        count += !report->parameters[i].is_freed;
    return count;
}

static void print_weights(const struct stats_report *report, FILE *out)
{
    char total[SIZE_TEXT_BYTES], named[SIZE_TEXT_BYTES], resident[SIZE_TEXT_BYTES];
    char peak[SIZE_TEXT_BYTES], ambiguous[SIZE_TEXT_BYTES], objects[48] = "";
    size_t count = allocated_count(report);

    /* What was freed is counted in bytes alone, for it need not have a record any more. */
    if (report->weights_allocated_bytes >= report->weights_total_bytes)
        snprintf(objects, sizeof(objects), " in %zu object%s", count, count == 1 ? "" : "s");
    print_line(out, "weights", "%s%s, %s of them named",
               size_text(report->weights_total_bytes, total), objects,
               size_text(report->weights_named_bytes, named));
    if (report->weights_ambiguous_bytes)
        print_line(out, "", "%s fit several parameters by their content, and stay anonymous",
                   size_text(report->weights_ambiguous_bytes, ambiguous));
    print_residency(report, out);
    print_line(out, "vram", "%s now, at most %s: weights and the program's other memory",
               size_text(report->weights_resident_bytes, resident),
               size_text(report->weights_peak_resident_bytes, peak));
}

/* Named weights that no launch touched, where touches were counted. */
static uint64_t untouched_bytes(const struct stats_report *report)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < report->parameter_count; i++)
        if (!report->parameters[i].touches && report->parameters[i].evidence != STATS_EVIDENCE_NONE)
            bytes += report->parameters[i].bytes;
    return bytes;
}

/* What would have been placed otherwise. */
static void print_places(const struct stats_report *report, FILE *out)
{
    uint64_t untouched = untouched_bytes(report);
    char size[SIZE_TEXT_BYTES];

    if (untouched)
        print_line(out, "untouched", "%s, by any launch: berth plan --stats places them last",
                   size_text(untouched, size));
    if (report->policy_disk_bytes)
        print_line(out, "policy", "%s on disk by the device_map, kept in host memory",
                   size_text(report->policy_disk_bytes, size));
    if (report->policy_elsewhere_bytes)
        print_line(out, report->policy_disk_bytes ? "" : "policy",
                   "%s on another GPU by the device_map than the program put them on",
                   size_text(report->policy_elsewhere_bytes, size));
}

static void print_transfers(const struct stats_report *report, FILE *out)
{
    char h2d[SIZE_TEXT_BYTES], d2h[SIZE_TEXT_BYTES], dropped[SIZE_TEXT_BYTES];
    char disk[SIZE_TEXT_BYTES];

    print_line(
        out, "moved", "%s to the GPU in %" PRIu64 " loads, %s back, %s given up without a copy%s%s",
        size_text(report->transfers_h2d_bytes, h2d), report->transfers_h2d_count,
        size_text(report->transfers_d2h_bytes, d2h),
        size_text(report->transfers_dropped_bytes, dropped),
        report->transfers_disk_read_bytes ? ", read from disk: " : "",
        report->transfers_disk_read_bytes ? size_text(report->transfers_disk_read_bytes, disk)
                                          : "");
}

static void print_link(const struct stats_report *report, FILE *out)
{
    double share = (double)report->link_share / STATS_SHARE_ONE;
    char speed[SIZE_TEXT_BYTES], reached[SIZE_TEXT_BYTES], text[STATS_TEXT_BYTES];

    if (!report->link_bytes_per_s)
        return;
    size_text(report->link_bytes_per_s, speed);
    if (!report->link_share) { /* of a single load there is no time but its own */
        print_line(out, "link", "%s/s within a load", speed);
        return;
    }
    size_text((uint64_t)(share * (double)report->link_bytes_per_s), reached);
    print_line(out, "link",
               "%s of its speed: %s/s from the first load to the last, %s/s within a load",
               stats_share_text(share, text), reached, speed);
}

/* Whom launches waited for longest. returns 0 where nobody, else how many of worst are filled */
static size_t find_worst(const struct stats_report *report,
                         const struct stats_parameter *worst[WORST_MAX])
{
    size_t count = 0;

    for (size_t i = 0; i < report->parameter_count; i++) {
        const struct stats_parameter *parameter = &report->parameters[i];
        size_t at = count;

        while (at > 0 && worst[at - 1]->stall_ns < parameter->stall_ns)
            at--;
        if (!parameter->stall_ns || at == WORST_MAX)
            continue;
        count += count < WORST_MAX;
        for (size_t j = count - 1; j > at; j--)
            worst[j] = worst[j - 1];
        worst[at] = parameter;
    }
    return count;
}

static void print_stalls(const struct stats_report *report, FILE *out)
{
    const struct stats_parameter *worst[WORST_MAX];
    char stall[STATS_TEXT_BYTES], starved[STATS_TEXT_BYTES];
    size_t count = find_worst(report, worst);

    if (!report->launches_stall_ns && !count) {
        print_line(out, "stalls", "none");
        return;
    }
    print_line(out, "stalls", "launches waited %s, %s of it with no work queued on the GPU%s",
               stats_time_text(report->launches_stall_ns, stall),
               stats_time_text(report->paging_starved_ns, starved), count ? "; longest for" : "");
    for (size_t i = 0; i < count; i++)
        print_line(out, "", "%s (%s)", worst[i]->name, stats_time_text(worst[i]->stall_ns, stall));
}

static void print_launches(const struct stats_report *report, FILE *out)
{
    uint64_t served =
        report->launches_resident + report->launches_waited + report->paging_sparse_launches;
    uint64_t rest = report->launches_count > served ? report->launches_count - served : 0;
    char overhead[STATS_TEXT_BYTES], sparse[64] = "";

    if (report->paging_sparse_launches)
        snprintf(sparse, sizeof(sparse), ", %" PRIu64 " read little of a large weight in place",
                 report->paging_sparse_launches);
    print_line(out, "launches",
               "%" PRIu64 ": %" PRIu64 " found all in VRAM, %" PRIu64 " waited, %" PRIu64
               " read over the link%s; berth itself took %s",
               report->launches_count, report->launches_resident, report->launches_waited, rest,
               sparse, stats_time_text(report->launches_overhead_ns, overhead));
    if (report->steps_learned)
        print_line(out, "steps", "%" PRIu64 " of %" PRIu64 " launches each", report->steps_count,
                   report->steps_launches_per_step);
    else if (stats_fits(report))
        print_line(out, "steps", "not looked for while everything fits");
    else
        print_line(out, "steps", "no repeating sequence of launches found");
}

static void print_errors(const struct stats_report *report, FILE *out)
{
    const struct terminal_style *style = terminal_style(out);

    if (report->errors_driver_failures || report->errors_refused)
        fprintf(out,
                "%s%-*s%s %s%" PRIu64 " driver calls of berth's failed, %" PRIu64
                " allocations could not be paged%s\n",
                style->title, LABEL_COLUMNS, "errors", style->end, style->alarm,
                report->errors_driver_failures, report->errors_refused, style->end);
    for (size_t i = 0; i < report->unknown_count; i++) {
        const struct stats_report_unknown *unknown = &report->unknown[i];

        if (unknown->count > 1)
            print_line(out, i ? "" : "unknown", "%s (%" PRIu64 " times)", unknown->name,
                       unknown->count);
        else
            print_line(out, i ? "" : "unknown", "%s%s", unknown->name,
                       i ? "" : " (a driver function that this berth does not know)");
    }
}

/* The parameters ------------------------------------------------------------------------------- */

static int compare_cost(const void *a, const void *b)
{
    const struct stats_parameter *left = *(const struct stats_parameter *const *)a;
    const struct stats_parameter *right = *(const struct stats_parameter *const *)b;

    if (left->stall_ns != right->stall_ns)
        return left->stall_ns < right->stall_ns ? 1 : -1;
    if (left->h2d_bytes != right->h2d_bytes)
        return left->h2d_bytes < right->h2d_bytes ? 1 : -1;
    if (left->bytes != right->bytes)
        return left->bytes < right->bytes ? 1 : -1;
    return strcmp(left->name, right->name);
}

/* Without a device_map in force nothing has a place: then that column is left out, the last. */
static const struct table_column g_columns[] = {
    {"parameter", TABLE_SHRINKS, 0}, {"dtype", TABLE_LEFT, 6},    {"size", TABLE_RIGHT, 1},
    {"tier", TABLE_LEFT, 2},         {"named by", TABLE_LEFT, 7}, {"moved", TABLE_RIGHT, 4},
    {"times", TABLE_RIGHT, 8},       {"stalled", TABLE_RIGHT, 0}, {"place", TABLE_LEFT, 3},
};
#define COLUMN_COUNT (sizeof(g_columns) / sizeof(g_columns[0]))

static size_t column_count(const struct stats_report *report)
{
    for (size_t i = 0; i < report->parameter_count; i++) {
        if (report->parameters[i].place != POLICY_NOWHERE)
            return COLUMN_COUNT;
    }
    return COLUMN_COUNT - 1;
}

/* Loads are of extents, and where a parameter begins and ends in others' they say little of it:
 * what was moved for it is told in sizes of its own. */
static void add_parameter(struct table *table, const struct stats_parameter *parameter)
{
    char size[SIZE_TEXT_BYTES], moved[SIZE_TEXT_BYTES], stalled[STATS_TEXT_BYTES];
    char tier[16], times[24] = "0", place[POLICY_PLACE_BYTES] = "-";
    const char *cells[COLUMN_COUNT] = {
        parameter->name,
        *parameter->dtype ? parameter->dtype : "-",
        size_text(parameter->bytes, size),
        tier,
        stats_evidence_name(parameter->evidence),
        size_text(parameter->h2d_bytes, moved),
        times,
        stats_time_text(parameter->stall_ns, stalled),
        place,
    };

    if (parameter->place != POLICY_NOWHERE)
        policy_place_name(parameter->place, place);
    snprintf(tier, sizeof(tier), "%s%s", parameter->is_freed ? "was " : "",
             stats_tier_name(parameter->tier));
    if (parameter->h2d_bytes && parameter->bytes)
        snprintf(times, sizeof(times), "%.1f",
                 (double)parameter->h2d_bytes / (double)parameter->bytes);
    table_add(table, cells);
}

static void print_rest(const struct stats_parameter *const *rest, size_t count, FILE *out)
{
    const struct terminal_style *style = terminal_style(out);
    char size[SIZE_TEXT_BYTES], moved[SIZE_TEXT_BYTES], text[160];
    uint64_t bytes = 0, moved_bytes = 0;

    for (size_t i = 0; i < count; i++) {
        bytes += rest[i]->bytes;
        moved_bytes += rest[i]->h2d_bytes;
    }
    snprintf(text, sizeof(text),
             "and %zu more of %s, %s moved: --all shows them, --json lists them", count,
             size_text(bytes, size), size_text(moved_bytes, moved));
    fputs(style->dim, out);
    terminal_print_wrapped(out, 0, text);
    fputs(style->end, out);
}

static int print_parameters(const struct stats_report *report, enum stats_table_rows rows,
                            FILE *out)
{
    size_t count = report->parameter_count, shown = count;
    const struct stats_parameter **sorted;
    struct table table;
    int err;

    if (!count)
        return 0;
    sorted = calloc(count, sizeof(*sorted));
    if (!sorted)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++)
        sorted[i] = &report->parameters[i];
    qsort(sorted, count, sizeof(*sorted), compare_cost);
    if (rows == STATS_TABLE_TOP && count > STATS_TABLE_ROWS)
        shown = STATS_TABLE_ROWS;
    table_begin(&table, g_columns, column_count(report));
    for (size_t i = 0; i < shown; i++)
        add_parameter(&table, sorted[i]);
    fputc('\n', out);
    err = table_print(&table, out);
    table_free(&table);
    if (!err && shown < count)
        print_rest(sorted + shown, count - shown, out);
    free(sorted);
    return err;
}

static void print_advice(const struct stats_report *report, FILE *out)
{
    struct stats_advice advice;

    stats_advice_make(report, &advice);
    fputc('\n', out);
    for (size_t i = 0; i < advice.count; i++)
        print_line(out, i ? "" : "advice", "%s", advice.line[i]);
}

int stats_table_print(const struct stats_report *report, enum stats_table_rows rows, FILE *out)
{
    int err;

    print_program(report, out);
    print_budgets(report, out);
    print_weights(report, out);
    print_places(report, out);
    print_transfers(report, out);
    print_link(report, out);
    print_stalls(report, out);
    print_launches(report, out);
    print_errors(report, out);
    err = print_parameters(report, rows, out);
    if (!err)
        print_advice(report, out);
    return err;
}
