/* stats_report.c - the counters added up, and their JSON document. */
#include "stats_report.h"

#include "policy/json_write.h"
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const struct stats_value_info stats_values[] = {
#define ROW(group, key, kind, help, may_lack)                                                      \
    {#group, #key, STATS_##kind, help, offsetof(struct stats_report, group##_##key), may_lack},
#define X(group, key, kind, help)     ROW(group, key, kind, help, 0)
#define LATER(group, key, kind, help) ROW(group, key, kind, help, 1)
    STATS_VALUES(X, LATER)
#undef LATER
#undef X
#undef ROW
};
const size_t stats_value_count = sizeof(stats_values) / sizeof(stats_values[0]);

const struct stats_device_info stats_device_values[] = {
#define X(name, help) {#name, help, offsetof(struct stats_report, name)},
    STATS_DEVICE_VALUES(X)
#undef X
};
const size_t stats_device_value_count =
    sizeof(stats_device_values) / sizeof(stats_device_values[0]);

const struct stats_value_info stats_parameter_values[] = {
#define ROW(key, kind, help, may_lack)                                                             \
    {NULL, #key, STATS_##kind, help, offsetof(struct stats_parameter, key), may_lack},
#define X(key, kind, help)     ROW(key, kind, help, 0)
#define LATER(key, kind, help) ROW(key, kind, help, 1)
    STATS_PARAMETER_VALUES(X, LATER)
#undef LATER
#undef X
#undef ROW
};
const size_t stats_parameter_value_count =
    sizeof(stats_parameter_values) / sizeof(stats_parameter_values[0]);

const char *stats_evidence_name(enum stats_evidence evidence)
{
    static const char *const names[] = {
#define X(name, word) #word,
        STATS_EVIDENCES(X)
#undef X
    };

    return evidence < STATS_EVIDENCE_COUNT ? names[evidence] : names[STATS_EVIDENCE_NONE];
}

const char *stats_tier_name(enum stats_tier tier)
{
    static const char *const names[] = {
#define X(name, word) #word,
        STATS_TIERS(X)
#undef X
    };

    return tier < STATS_TIER_COUNT ? names[tier] : names[STATS_TIER_HOST];
}

/* Making a report ------------------------------------------------------------------------------ */

static uint64_t load(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

/* Does the report say what the weights were at most, as some were freed by the program's end? */
static int weights_are_past(const struct stats_report *report)
{
    return report->weights_allocated_bytes < report->weights_total_bytes;
}

static void add_counters(const struct stats_header *header, struct stats_report *report)
{
    int ended = atomic_load_explicit(&header->ended, memory_order_relaxed) != 0;

    report->weights_allocated_bytes = load(&header->weights_total_bytes);
    /* A tidy program has freed its weights by its end: then it is said what they were. */
    report->weights_total_bytes =
        ended ? load(&header->weights_peak_total_bytes) : report->weights_allocated_bytes;
    report->weights_named_bytes =
        load(ended ? &header->weights_peak_named_bytes : &header->weights_named_bytes);
    report->weights_ambiguous_bytes = load(&header->weights_ambiguous_bytes);
    if (ended && load(&header->weights_peak_ambiguous_bytes) > report->weights_ambiguous_bytes)
        report->weights_ambiguous_bytes = load(&header->weights_peak_ambiguous_bytes);
    report->weights_vram_bytes = load(weights_are_past(report) ? &header->weights_peak_vram_bytes
                                                               : &header->weights_vram_bytes);
    report->weights_resident_bytes = load(&header->resident_bytes);
    report->weights_peak_resident_bytes = load(&header->peak_resident_bytes);
    report->transfers_h2d_bytes = load(&header->h2d_bytes);
    report->transfers_h2d_count = load(&header->h2d_count);
    report->transfers_d2h_bytes = load(&header->d2h_bytes);
    report->transfers_disk_read_bytes = load(&header->disk_read_bytes);
    report->transfers_dropped_bytes = load(&header->dropped_bytes);
    report->transfers_written_back_bytes = load(&header->written_back_bytes);
    report->steps_learned = atomic_load_explicit(&header->step_learned, memory_order_relaxed) != 0;
    report->steps_launches_per_step = load(&header->launches_per_step);
    report->steps_count = load(&header->steps);
    report->errors_driver_failures = load(&header->driver_failures);
    report->errors_refused = load(&header->refused);
    report->paging_ended = load(&header->paging_ended);
    report->paging_step_bytes = load(&header->step_load_bytes);
    for (size_t i = 0; i < STATS_SHARDS; i++) {
        report->launches_count += load(&header->shard[i].launches);
        report->launches_resident += load(&header->shard[i].launches_resident);
        report->launches_waited += load(&header->shard[i].launches_waited);
        report->launches_stall_ns += load(&header->shard[i].stall_ns);
        report->launches_overhead_ns += load(&header->shard[i].overhead_ns);
        report->paging_starved_ns += load(&header->shard[i].starved_ns);
        report->paging_unknown_launches += load(&header->shard[i].launches_unknown);
        report->paging_oversized_launches += load(&header->shard[i].launches_oversized);
        report->paging_captured_launches += load(&header->shard[i].launches_captured);
        report->paging_sparse_launches += load(&header->shard[i].launches_sparse);
    }
}

#define MOST_BYTES_PER_S 1e15 /* more is a damaged file */

/* What the link did between the first load and the last. Timed loads say how fast it is; they are a
 * sample, so that the loads may seem to have taken longer than there was time. */
static void add_link(const struct stats_header *header, struct stats_report *report)
{
    uint64_t first_ns = load(&header->first_load_ns), last_ns = load(&header->last_load_ns);
    double timed_ns = (double)load(&header->link_timed_ns);
    double timed_bytes = (double)load(&header->link_timed_bytes);
    double busy_ns, bytes_per_s, share;

    report->link_span_ns = last_ns > first_ns ? last_ns - first_ns : 0;
    if (timed_ns <= 0 || timed_bytes <= 0)
        return;
    bytes_per_s = timed_bytes * 1e9 / timed_ns;
    report->link_bytes_per_s = bytes_per_s < MOST_BYTES_PER_S ? (uint64_t)bytes_per_s : 0;
    busy_ns = (double)report->transfers_h2d_bytes * timed_ns / timed_bytes;
    share = report->link_span_ns ? busy_ns / (double)report->link_span_ns : 0;
    report->link_share = (uint64_t)((share < 1 ? share : 1) * STATS_SHARE_ONE);
}

static void add_unknown(const struct stats_header *header, struct stats_report *report)
{
    for (size_t i = 0; i < STATS_UNKNOWN_MAX; i++) {
        struct stats_report_unknown *unknown = &report->unknown[report->unknown_count];
        uint32_t count;

        count = atomic_load_explicit(&header->unknown[i].count, memory_order_acquire);
        if (!count)
            continue;
        unknown->count = count;
        memcpy(unknown->name, header->unknown[i].name, sizeof(unknown->name));
        report->unknown_count++;
    }
}

static void add_identity(const struct stats_header *header, struct stats_report *report)
{
    uint32_t devices = atomic_load_explicit(&header->device_count, memory_order_relaxed);

    report->pid = header->pid;
    memcpy(report->program, header->program, sizeof(report->program));
    memcpy(report->driver, header->driver, sizeof(report->driver));
    memcpy(report->backend, header->backend, sizeof(report->backend));
    report->device_count = devices < STATS_DEVICES_MAX ? devices : STATS_DEVICES_MAX;
    for (unsigned i = 0; i < report->device_count; i++) {
#define X(name, help) report->name[i] = load(&header->name[i]);
        STATS_DEVICE_VALUES(X)
#undef X
    }
}

/* Is this record of one parameter from its first byte to its last, and does its name lie inside? */
static int record_is_whole(const struct stats_view *view, uint32_t index)
{
    const struct stats_record *record = &view->records[index];
    uint32_t generation = atomic_load_explicit(&record->generation, memory_order_acquire);

    if (generation % 2 == 0)
        return 0;
    if (view->generations && view->generations[index] != generation)
        return 0;
    return record->name_offset < view->names_bytes &&
           record->name_bytes < view->names_bytes - record->name_offset;
}

static void read_record(const struct stats_view *view, const struct stats_record *record,
                        char *text, struct stats_parameter *parameter)
{
    uint8_t tier = atomic_load_explicit(&record->tier, memory_order_relaxed);

    memcpy(text, view->names + record->name_offset, record->name_bytes);
    text[record->name_bytes] = '\0';
    parameter->name = text;
    memcpy(parameter->dtype, record->dtype, sizeof(parameter->dtype));
    parameter->dtype[sizeof(parameter->dtype) - 1] = '\0';
    memcpy(parameter->shape, record->shape, sizeof(parameter->shape));
    parameter->rank = record->rank < STATS_RANK_MAX ? record->rank : STATS_RANK_MAX;
    parameter->tier = tier < STATS_TIER_COUNT ? tier : STATS_TIER_HOST;
    parameter->evidence =
        record->evidence < STATS_EVIDENCE_COUNT ? record->evidence : STATS_EVIDENCE_NONE;
    parameter->device = record->device;
    parameter->place = POLICY_NOWHERE + atomic_load_explicit(&record->place, memory_order_relaxed);
    parameter->is_freed = atomic_load_explicit(&record->freed, memory_order_relaxed) != 0;
    parameter->bytes = load(&record->bytes);
    parameter->resident_bytes = load(&record->resident_bytes);
#define X(key, kind, help) parameter->key = load(&record->key);
    STATS_PARAMETER_VALUES(X, X)
#undef X
    if (!load(&view->header->touched)) /* no launch was looked at so far */
        parameter->touches = STATS_NOT_TOLD;
    if (parameter->touches == STATS_NOT_TOLD)
        parameter->first_touch = STATS_NOT_TOLD;
}

static int add_parameters(const struct stats_view *view, struct stats_report *report)
{
    size_t count = 0, text_bytes = 0;
    char *text;

    for (uint32_t i = 0; i < view->record_count; i++) {
        if (!record_is_whole(view, i))
            continue;
        count++;
        text_bytes += (size_t)view->records[i].name_bytes + 1;
    }
    report->parameters = calloc(count ? count : 1, sizeof(*report->parameters));
    report->text = malloc(text_bytes ? text_bytes : 1);
    if (!report->parameters || !report->text)
        return -ENOMEM;
    text = report->text;
    for (uint32_t i = 0; i < view->record_count && report->parameter_count < count; i++) {
        struct stats_parameter *parameter = &report->parameters[report->parameter_count];

        if (!record_is_whole(view, i))
            continue;
        read_record(view, &view->records[i], text, parameter);
        text += view->records[i].name_bytes + 1;
        report->parameter_count++;
    }
    return 0;
}

/* What the policy asks for and does not get. */
static void add_unfollowed(struct stats_report *report)
{
    for (size_t i = 0; i < report->parameter_count; i++) {
        const struct stats_parameter *parameter = &report->parameters[i];

        if (parameter->place == POLICY_DISK && parameter->tier != STATS_TIER_DISK)
            report->policy_disk_bytes += parameter->bytes;
        else if (parameter->place >= 0 && (unsigned)parameter->place != parameter->device)
            report->policy_elsewhere_bytes += parameter->bytes;
    }
}

/* What is not in VRAM lies at its home: on the host, or on disk. */
static void divide_weights(struct stats_report *report)
{
    if (weights_are_past(report)) {
        if (report->weights_total_bytes > report->weights_vram_bytes)
            report->weights_host_bytes = report->weights_total_bytes - report->weights_vram_bytes;
        return;
    }
    for (size_t i = 0; i < report->parameter_count; i++) {
        const struct stats_parameter *parameter = &report->parameters[i];

        if (parameter->is_freed || parameter->bytes <= parameter->resident_bytes)
            continue;
        if (parameter->tier == STATS_TIER_DISK)
            report->weights_disk_bytes += parameter->bytes - parameter->resident_bytes;
        else
            report->weights_host_bytes += parameter->bytes - parameter->resident_bytes;
    }
}

int stats_report_make(const struct stats_view *view, struct stats_report *report)
{
    int err;

    memset(report, 0, sizeof(*report));
    add_identity(view->header, report);
    add_counters(view->header, report);
    add_link(view->header, report);
    add_unknown(view->header, report);
    err = add_parameters(view, report);
    if (err) {
        stats_report_release(report);
        return err;
    }
    divide_weights(report);
    add_unfollowed(report);
    return 0;
}

void stats_report_release(struct stats_report *report)
{
    free(report->parameters);
    free(report->text);
    memset(report, 0, sizeof(*report));
}

/* Writing it ----------------------------------------------------------------------------------- */

static void write_text(FILE *out, const char *text)
{
    json_write_string(out, text, strlen(text));
}

static uint64_t value_at(const void *base, const struct stats_value_info *info)
{
    uint64_t value;

    memcpy(&value, (const char *)base + info->offset, sizeof(value));
    return value;
}

static void write_values(const struct stats_report *report, FILE *out)
{
    for (size_t i = 0; i < stats_value_count; i++) {
        const struct stats_value_info *info = &stats_values[i];
        int first = i == 0 || strcmp(info->group, stats_values[i - 1].group) != 0;
        int last = i + 1 == stats_value_count || strcmp(info->group, stats_values[i + 1].group);
        uint64_t value = value_at(report, info);

        if (first)
            fprintf(out, "  \"%s\": {", info->group);
        if (info->kind == STATS_BOOL)
            fprintf(out, "\"%s\": %s", info->key, value ? "true" : "false");
        else if (info->kind == STATS_SHARE)
            fprintf(out, "\"%s\": %" PRIu64 ".%06" PRIu64, info->key, value / STATS_SHARE_ONE,
                    value % STATS_SHARE_ONE);
        else
            fprintf(out, "\"%s\": %" PRIu64, info->key, value);
        fputs(last ? "},\n" : ", ", out);
    }
}

/* As in a device map. */
static void write_place(int place, FILE *out)
{
    if (place >= 0)
        fprintf(out, ", \"place\": %d", place);
    else if (place != POLICY_NOWHERE)
        fprintf(out, ", \"place\": \"%s\"", place == POLICY_CPU ? "cpu" : "disk");
}

static void write_parameter(const struct stats_parameter *parameter, FILE *out)
{
    fputs("{\"name\": ", out);
    write_text(out, parameter->name);
    fputs(", \"dtype\": ", out);
    write_text(out, parameter->dtype);
    fputs(", \"shape\": ", out);
    json_write_shape(out, parameter->shape, parameter->rank);
    fprintf(out, ", \"bytes\": %" PRIu64 ", \"tier\": \"%s\", \"evidence\": \"%s\"",
            parameter->bytes, stats_tier_name(parameter->tier),
            stats_evidence_name(parameter->evidence));
    write_place(parameter->place, out);
    if (parameter->is_freed)
        fputs(", \"freed\": true", out);
    for (size_t i = 0; i < stats_parameter_value_count; i++) {
        const struct stats_value_info *info = &stats_parameter_values[i];
        uint64_t value = value_at(parameter, info);

        if (!info->may_lack || value != STATS_NOT_TOLD)
            fprintf(out, ", \"%s\": %" PRIu64, info->key, value);
    }
    fputc('}', out);
}

static void write_devices(const struct stats_report *report, FILE *out)
{
    for (size_t row = 0; row < stats_device_value_count; row++) {
        const struct stats_device_info *info = &stats_device_values[row];
        const uint64_t *values = (const uint64_t *)((const char *)report + info->offset);
        const char *between = "";

        fprintf(out, "%s\"%s\": {", row > 1 ? ", " : "  ", info->key);
        for (unsigned i = 0; i < report->device_count; i++) {
            if (values[i] == STATS_NO_BUDGET)
                continue;
            fprintf(out, "%s\"%u\": %" PRIu64, between, i, values[i]);
            between = ", ";
        }
        fputs(row == 0 || row + 1 == stats_device_value_count ? "},\n" : "}", out);
    }
}

int stats_report_write(const struct stats_report *report, FILE *out)
{
    fprintf(out, "{\n  \"version\": %d, \"pid\": %" PRId32 ", \"program\": ", STATS_REPORT_VERSION,
            report->pid);
    write_text(out, report->program);
    fputs(", \"backend\": ", out);
    write_text(out, report->backend);
    fputs(", \"driver\": ", out);
    write_text(out, report->driver);
    fputs(",\n", out);
    write_devices(report, out);
    write_values(report, out);
    fputs("  \"unknown_entry_points\": {", out);
    for (size_t i = 0; i < report->unknown_count; i++) {
        fputs(i ? ", " : "", out);
        write_text(out, report->unknown[i].name);
        fprintf(out, ": %" PRIu64, report->unknown[i].count);
    }
    fputs("},\n  \"parameters\": [", out);
    for (size_t i = 0; i < report->parameter_count; i++) {
        fputs(i ? ",\n                 " : "", out);
        write_parameter(&report->parameters[i], out);
    }
    fputs("]\n}\n", out);
    errno = 0;
    if (fflush(out) != 0 || ferror(out))
        return errno ? -errno : -EIO;
    return 0;
}

/* mode     of fopen() */
static int write_file(const struct stats_report *report, const char *path, const char *mode)
{
    FILE *out;
    int err;

    out = fopen(path, mode);
    if (!out)
        return -errno;
    err = stats_report_write(report, out);
    if (fclose(out) != 0 && !err)
        err = -errno;
    return err;
}

int stats_report_export(const struct stats_report *report, const char *path)
{
    char target[PATH_MAX];
    char temporary[PATH_MAX + 32];
    struct stat status;
    int err;

    if (stat(path, &status) == 0 && !S_ISREG(status.st_mode))
        return write_file(report, path, "we");
    /* Through a symbolic link to what it names, so that the link stays. */
    if (!realpath(path, target)) {
        if (strlen(path) >= sizeof(target))
            return -ENAMETOOLONG;
        strcpy(target, path);
    }
    snprintf(temporary, sizeof(temporary), "%s.%d.tmp", target, (int)getpid());
    /* In a folder that others may write into, what has this name already may be a trap of theirs.
     */
    if (unlink(temporary) != 0 && errno != ENOENT)
        return -errno;
    err = write_file(report, temporary, "wxe");
    if (!err && rename(temporary, target) != 0)
        err = -errno;
    if (err)
        unlink(temporary);
    return err;
}
