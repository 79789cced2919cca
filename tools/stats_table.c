/* stats_table.c - a report for people. */
#include "stats_views.h"

#include "policy/size.h"
#include "table.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define TIME_TEXT_BYTES 32

/* One way to write sizes in all of the table. */
static const char *size_text(uint64_t bytes, char text[SIZE_TEXT_BYTES])
{
    return size_format(bytes, SIZE_BINARY, text);
}

static const char *time_text(uint64_t ns, char text[TIME_TEXT_BYTES])
{
    static const struct {
        double ns;
        const char *unit;
    } units[] = {{1e9, "s"}, {1e6, "ms"}, {1e3, "us"}};

    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if ((double)ns >= units[i].ns) {
            snprintf(text, TIME_TEXT_BYTES, "%.1f %s", (double)ns / units[i].ns, units[i].unit);
            return text;
        }
    }
    snprintf(text, TIME_TEXT_BYTES, "%" PRIu64 " ns", ns);
    return text;
}

/* The summary ---------------------------------------------------------------------------------- */

/* Begin a line: what it is about, in a column of its own. */
static void print_label(FILE *out, const char *label)
{
    const struct terminal_style *style = terminal_style(out);

    fprintf(out, "%s%-10s%s ", style->title, label, style->end);
}

static void print_program(const struct stats_report *report, FILE *out)
{
    print_label(out, "program");
    terminal_print_clean(out, report->program);
    fprintf(out, ", pid %" PRId32 "\n", report->pid);
    print_label(out, "backend");
    terminal_print_clean(out, *report->backend ? report->backend : "none");
    fputs(", driver ", out);
    terminal_print_clean(out, *report->driver ? report->driver : "none");
    fputc('\n', out);
}

static void print_weights(const struct stats_report *report, FILE *out)
{
    char total[SIZE_TEXT_BYTES], named[SIZE_TEXT_BYTES], resident[SIZE_TEXT_BYTES];
    char host[SIZE_TEXT_BYTES], disk[SIZE_TEXT_BYTES], peak[SIZE_TEXT_BYTES];
    char ambiguous[SIZE_TEXT_BYTES];
    const char *between = "";

    print_label(out, "budget");
    for (unsigned i = 0; i < report->device_count; i++) {
        if (report->budget_bytes[i] == STATS_NO_BUDGET)
            continue;
        fprintf(out, "%sGPU %u: %s", between, i, size_text(report->budget_bytes[i], total));
        between = ", ";
    }
    fprintf(out, "%s\n", *between ? "" : "none");
    print_label(out, "vram");
    fprintf(out, "%s taken, at most %s; the program's own allocations count\n",
            size_text(report->weights_resident_bytes, resident),
            size_text(report->weights_peak_resident_bytes, peak));
    print_label(out, "weights");
    fprintf(out, "%s in %zu object%s, %s of them named\n",
            size_text(report->weights_total_bytes, total), report->parameter_count,
            report->parameter_count == 1 ? "" : "s", size_text(report->weights_named_bytes, named));
    if (report->weights_ambiguous_bytes) {
        print_label(out, "");
        fprintf(out, "%s fit several parameters by their content, and stay anonymous\n",
                size_text(report->weights_ambiguous_bytes, ambiguous));
    }
    print_label(out, "");
    fprintf(out, "%s in host memory only, %s on disk only\n",
            size_text(report->weights_host_bytes, host),
            size_text(report->weights_disk_bytes, disk));
}

static void print_transfers(const struct stats_report *report, FILE *out)
{
    char h2d[SIZE_TEXT_BYTES], d2h[SIZE_TEXT_BYTES], disk[SIZE_TEXT_BYTES];
    char dropped[SIZE_TEXT_BYTES], written[SIZE_TEXT_BYTES];

    print_label(out, "moved");
    fprintf(out, "%s to the GPU in %" PRIu64 " copies, %s back (%s changed), %s read from disk\n",
            size_text(report->transfers_h2d_bytes, h2d), report->transfers_h2d_count,
            size_text(report->transfers_d2h_bytes, d2h),
            size_text(report->transfers_written_back_bytes, written),
            size_text(report->transfers_disk_read_bytes, disk));
    print_label(out, "");
    fprintf(out, "%s dropped without a copy\n",
            size_text(report->transfers_dropped_bytes, dropped));
}

static void print_launches(const struct stats_report *report, FILE *out)
{
    char stall[TIME_TEXT_BYTES], overhead[TIME_TEXT_BYTES];

    print_label(out, "launches");
    fprintf(out,
            "%" PRIu64 ": %" PRIu64 " found all in VRAM, %" PRIu64 " waited %s; berth took %s\n",
            report->launches_count, report->launches_resident, report->launches_waited,
            time_text(report->launches_stall_ns, stall),
            time_text(report->launches_overhead_ns, overhead));
    print_label(out, "steps");
    if (report->steps_learned)
        fprintf(out, "%" PRIu64 " of %" PRIu64 " launches each\n", report->steps_count,
                report->steps_launches_per_step);
    else
        fputs("no repeating sequence found\n", out);
}

static void print_errors(const struct stats_report *report, FILE *out)
{
    const struct terminal_style *style = terminal_style(out);

    if (!report->errors_driver_failures && !report->errors_refused && !report->unknown_count)
        return;
    print_label(out, "errors");
    fprintf(out,
            "%s%" PRIu64 " driver calls failed, %" PRIu64 " allocations could not be paged%s\n",
            style->alarm, report->errors_driver_failures, report->errors_refused, style->end);
    if (!report->unknown_count)
        return;
    print_label(out, "unknown");
    for (size_t i = 0; i < report->unknown_count; i++) {
        fputs(i ? ", " : "", out);
        terminal_print_clean(out, report->unknown[i].name);
        if (report->unknown[i].count > 1)
            fprintf(out, " (%" PRIu64 " times)", report->unknown[i].count);
    }
    fputc('\n', out);
}

/* The parameters ------------------------------------------------------------------------------- */

static int compare_moved(const void *a, const void *b)
{
    const struct stats_parameter *left = *(const struct stats_parameter *const *)a;
    const struct stats_parameter *right = *(const struct stats_parameter *const *)b;

    if (left->h2d_bytes != right->h2d_bytes)
        return left->h2d_bytes < right->h2d_bytes ? 1 : -1;
    if (left->bytes != right->bytes)
        return left->bytes < right->bytes ? 1 : -1;
    return strcmp(left->name, right->name);
}

static const struct table_column g_columns[] = {
    {"parameter", TABLE_SHRINKS}, {"dtype", TABLE_LEFT},    {"size", TABLE_RIGHT},
    {"tier", TABLE_LEFT},         {"known by", TABLE_LEFT}, {"loads", TABLE_RIGHT},
    {"evictions", TABLE_RIGHT},   {"moved", TABLE_RIGHT},   {"stalled", TABLE_RIGHT},
};

static void add_parameter(struct table *table, const struct stats_parameter *parameter)
{
    char size[SIZE_TEXT_BYTES], moved[SIZE_TEXT_BYTES], stalled[TIME_TEXT_BYTES];
    char loads[24], evictions[24];
    const char *cells[] = {
        parameter->name,
        *parameter->dtype ? parameter->dtype : "-",
        size_text(parameter->bytes, size),
        stats_tier_name(parameter->tier),
        stats_evidence_name(parameter->evidence),
        loads,
        evictions,
        size_text(parameter->h2d_bytes, moved),
        time_text(parameter->stall_ns, stalled),
    };

    snprintf(loads, sizeof(loads), "%" PRIu64, parameter->loads);
    snprintf(evictions, sizeof(evictions), "%" PRIu64, parameter->evictions);
    table_add(table, cells);
}

static void print_rest(const struct stats_parameter *const *rest, size_t count, FILE *out)
{
    const struct terminal_style *style = terminal_style(out);
    char size[SIZE_TEXT_BYTES], moved[SIZE_TEXT_BYTES];
    uint64_t bytes = 0, moved_bytes = 0;

    for (size_t i = 0; i < count; i++) {
        bytes += rest[i]->bytes;
        moved_bytes += rest[i]->h2d_bytes;
    }
    fprintf(out, "%sand %zu more of %s, %s moved: --all shows them, --json lists them%s\n",
            style->dim, count, size_text(bytes, size), size_text(moved_bytes, moved), style->end);
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
    qsort(sorted, count, sizeof(*sorted), compare_moved);
    if (rows == STATS_TABLE_TOP && count > STATS_TABLE_ROWS)
        shown = STATS_TABLE_ROWS;
    table_begin(&table, g_columns, sizeof(g_columns) / sizeof(g_columns[0]));
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

int stats_table_print(const struct stats_report *report, enum stats_table_rows rows, FILE *out)
{
    print_program(report, out);
    print_weights(report, out);
    print_transfers(report, out);
    print_launches(report, out);
    print_errors(report, out);
    return print_parameters(report, rows, out);
}
