/* stats_metrics.c - a report as metrics in Prometheus' text format. */
#include "stats_views.h"

#include "policy/utf8.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Write a label's value: backslash, quote and newline are escaped, what is no UTF-8 replaced. */
static void print_label(FILE *out, const char *text)
{
    size_t bytes = strlen(text);

    fputc('"', out);
    for (size_t i = 0; i < bytes;) {
        uint32_t code;
        size_t length = utf8_decode((const unsigned char *)text + i, bytes - i, &code);

        if (length == 0)
            fputs("\xef\xbf\xbd", out); /* U+FFFD */
        else if (code == '\n')
            fputs("\\n", out);
        else if (code == '"' || code == '\\')
            fprintf(out, "\\%c", (int)code);
        else
            fwrite(text + i, 1, length, out);
        i += length ? length : 1;
    }
    fputc('"', out);
}

static int is_time(const struct stats_value_info *info)
{
    size_t length = strlen(info->key);

    return length > 3 && strcmp(info->key + length - 3, "_ns") == 0;
}

/* Prometheus counts in seconds, and its counters end in _total. */
static void print_name(FILE *out, const char *group, const struct stats_value_info *info)
{
    int length = (int)strlen(info->key) - (is_time(info) ? 3 : 0);

    fprintf(out, "berth_%s_%.*s%s%s", group, length, info->key, is_time(info) ? "_seconds" : "",
            info->kind == STATS_COUNTER ? "_total" : "");
}

static void print_head(FILE *out, const char *group, const struct stats_value_info *info)
{
    fputs("# HELP ", out);
    print_name(out, group, info);
    fprintf(out, " %s.\n# TYPE ", info->help);
    print_name(out, group, info);
    fprintf(out, " %s\n", info->kind == STATS_COUNTER ? "counter" : "gauge");
}

static void print_value(FILE *out, const void *base, const struct stats_value_info *info)
{
    uint64_t value;

    memcpy(&value, (const char *)base + info->offset, sizeof(value));
    if (is_time(info))
        fprintf(out, " %" PRIu64 ".%09" PRIu64 "\n", value / 1000000000, value % 1000000000);
    else if (info->kind == STATS_SHARE)
        fprintf(out, " %.9f\n", (double)value / STATS_SHARE_ONE);
    else
        fprintf(out, " %" PRIu64 "\n", value);
}

static void print_process_labels(FILE *out, const struct stats_report *report)
{
    fprintf(out, "pid=\"%" PRId32 "\",program=", report->pid);
    print_label(out, report->program);
}

/* copy tells parameters of the same name apart, for a series must not stand twice: a model that was
 * uploaded two times has every name two times. */
static void print_parameter_labels(FILE *out, const struct stats_report *report, size_t index,
                                   const unsigned *copies)
{
    fputc('{', out);
    print_process_labels(out, report);
    fputs(",name=", out);
    print_label(out, report->parameters[index].name);
    if (copies[index])
        fprintf(out, ",copy=\"%u\"", copies[index]);
}

static int compare_names(const void *a, const void *b)
{
    const struct stats_parameter *left = *(const struct stats_parameter *const *)a;
    const struct stats_parameter *right = *(const struct stats_parameter *const *)b;
    int order = strcmp(left->name, right->name);

    return order ? order : (left > right) - (left < right);
}

/* Count for each parameter how many before it have its name. returns an array, or NULL */
static unsigned *count_copies(const struct stats_report *report)
{
    size_t count = report->parameter_count;
    const struct stats_parameter **sorted = calloc(count + 1, sizeof(*sorted));
    unsigned *copies = calloc(count + 1, sizeof(*copies));

    if (!sorted || !copies) {
        free(sorted);
        free(copies);
        return NULL;
    }
    for (size_t i = 0; i < count; i++)
        sorted[i] = &report->parameters[i];
    qsort(sorted, count, sizeof(*sorted), compare_names);
    for (size_t i = 1; i < count; i++) {
        if (strcmp(sorted[i]->name, sorted[i - 1]->name) == 0)
            copies[sorted[i] - report->parameters] = copies[sorted[i - 1] - report->parameters] + 1;
    }
    free(sorted);
    return copies;
}

static void print_identity(const struct stats_report *report, FILE *out)
{
    fputs("# HELP berth_info The program under berth.\n# TYPE berth_info gauge\nberth_info{", out);
    print_process_labels(out, report);
    fputs(",backend=", out);
    print_label(out, report->backend);
    fputs(",driver=", out);
    print_label(out, report->driver);
    fputs("} 1\n", out);
}

static void print_devices(const struct stats_report *report, FILE *out)
{
    for (size_t row = 0; row < stats_device_value_count; row++) {
        const struct stats_device_info *info = &stats_device_values[row];
        const uint64_t *values = (const uint64_t *)((const char *)report + info->offset);

        fprintf(out, "# HELP berth_%s %s.\n# TYPE berth_%s gauge\n", info->key, info->help,
                info->key);
        for (unsigned i = 0; i < report->device_count; i++) {
            if (values[i] == STATS_NO_BUDGET)
                continue;
            fprintf(out, "berth_%s{", info->key);
            print_process_labels(out, report);
            fprintf(out, ",device=\"%u\"} %" PRIu64 "\n", i, values[i]);
        }
    }
}

static int is_told(const struct stats_parameter *parameter, const struct stats_value_info *info)
{
    uint64_t value;

    memcpy(&value, (const char *)parameter + info->offset, sizeof(value));
    return value != STATS_NOT_TOLD;
}

static void print_parameters(const struct stats_report *report, const unsigned *copies, FILE *out)
{
    fputs("# HELP berth_parameter_bytes Size of the parameter.\n"
          "# TYPE berth_parameter_bytes gauge\n",
          out);
    for (size_t i = 0; i < report->parameter_count; i++) {
        const struct stats_parameter *parameter = &report->parameters[i];

        fputs("berth_parameter_bytes", out);
        print_parameter_labels(out, report, i, copies);
        fputs(",dtype=", out);
        print_label(out, parameter->dtype);
        fprintf(out, ",tier=\"%s\",evidence=\"%s\"} %" PRIu64 "\n",
                parameter->is_freed ? "freed" : stats_tier_name(parameter->tier),
                stats_evidence_name(parameter->evidence), parameter->bytes);
    }
    for (size_t value = 0; value < stats_parameter_value_count; value++) {
        const struct stats_value_info *info = &stats_parameter_values[value];

        print_head(out, "parameter", info);
        for (size_t i = 0; i < report->parameter_count; i++) {
            if (info->may_lack && !is_told(&report->parameters[i], info))
                continue;
            print_name(out, "parameter", info);
            print_parameter_labels(out, report, i, copies);
            fputc('}', out);
            print_value(out, &report->parameters[i], info);
        }
    }
}

int stats_metrics_print(const struct stats_report *report, FILE *out)
{
    unsigned *copies = count_copies(report);

    if (!copies)
        return -ENOMEM;
    print_identity(report, out);
    print_devices(report, out);
    for (size_t i = 0; i < stats_value_count; i++) {
        const struct stats_value_info *info = &stats_values[i];

        print_head(out, info->group, info);
        print_name(out, info->group, info);
        fputc('{', out);
        print_process_labels(out, report);
        fputc('}', out);
        print_value(out, report, info);
    }
    fputs("# HELP berth_unknown_entry_points_total Look-ups of driver functions that this berth "
          "does not know.\n# TYPE berth_unknown_entry_points_total counter\n",
          out);
    for (size_t i = 0; i < report->unknown_count; i++) {
        fputs("berth_unknown_entry_points_total{", out);
        print_process_labels(out, report);
        fputs(",name=", out);
        print_label(out, report->unknown[i].name);
        fprintf(out, "} %" PRIu64 "\n", report->unknown[i].count);
    }
    print_parameters(report, copies, out);
    free(copies);
    return 0;
}
