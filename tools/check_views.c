/* check_views.c - what `berth check` found, for people and for machines. */
#include "check_views.h"

#include "policy/json_write.h"
#include "policy/size.h"
#include "table.h"
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define LABEL_COLUMNS 10

/* For people ----------------------------------------------------------------------------------- */

static void print_label(FILE *out, const char *colour, const char *label, const char *text)
{
    fprintf(out, "%s%-*s%s ", colour, LABEL_COLUMNS, label, terminal_style(out)->end);
    terminal_print_wrapped(out, LABEL_COLUMNS + 1, text);
}

/* What a place means under a program that knows nothing of it. */
static const char *place_meaning(int place)
{
    return place == POLICY_CPU    ? "pinned host memory, streamed"
           : place == POLICY_DISK ? "as cpu, until there is a disk tier"
                                  : "stays in VRAM";
}

/* The cells for what something holds: nothing is known of that without a checkpoint. */
static void describe_holding(const struct policy_check *check, size_t count, uint64_t bytes,
                             char tensors[24], char size[SIZE_TEXT_BYTES])
{
    snprintf(tensors, 24, "-");
    snprintf(size, SIZE_TEXT_BYTES, "-");
    if (!check->tensors)
        return;
    snprintf(tensors, 24, "%zu", count);
    size_format(bytes, SIZE_BINARY, size);
}

static const struct table_column g_place_columns[] = {
    {"device", TABLE_LEFT, 0},      {"tensors", TABLE_RIGHT, 1},       {"size", TABLE_RIGHT, 0},
    {"max_memory", TABLE_RIGHT, 0}, {"its weights", TABLE_SHRINKS, 0},
};

static int print_places(const struct policy_check *check, FILE *out)
{
    struct table table;
    int err;

    table_begin(&table, g_place_columns, sizeof(g_place_columns) / sizeof(g_place_columns[0]));
    for (size_t i = 0; i < check->place_count; i++) {
        const struct policy_holding *place = &check->places[i];
        char tensors[24], size[SIZE_TEXT_BYTES], limit[SIZE_TEXT_BYTES] = "-";
        const char *cells[] = {place->name, tensors, size, limit, place_meaning(place->place)};

        describe_holding(check, place->tensors, place->bytes, tensors, size);
        if (place->limit != POLICY_UNSET)
            size_format(place->limit, SIZE_BINARY, limit);
        table_add(&table, cells);
    }
    err = table_print(&table, out);
    table_free(&table);
    fputc('\n', out);
    return err;
}

/* Split "model.layers.7" into what stands before its last number, and the number.
 *
 * returns  how many bytes stand before it; 0 where the name does not end so
 */
static size_t split_number(const char *name, unsigned long *number)
{
    const char *dot = strrchr(name, '.');
    const char *digits = dot ? dot + 1 : name;
    char *end;

    if (!dot || !*digits || strspn(digits, "0123456789") != strlen(digits) || strlen(digits) > 9)
        return 0;
    *number = strtoul(digits, &end, 10);
    return (size_t)(digits - name);
}

/* Do the keys a and b belong on one line: X.3 and X.4, in one place? */
static int continues(const struct policy_holding *a, const struct policy_holding *b)
{
    unsigned long first, second;
    size_t bytes = split_number(a->name, &first);

    return bytes && a->place == b->place && !a->tensors == !b->tensors &&
           split_number(b->name, &second) == bytes && strncmp(a->name, b->name, bytes) == 0 &&
           second == first + 1;
}

static const struct table_column g_key_columns[] = {
    {"key", TABLE_SHRINKS, 0}, {"device", TABLE_LEFT, 0},        {"tensors", TABLE_RIGHT, 2},
    {"size", TABLE_RIGHT, 0},  {"there so far", TABLE_RIGHT, 1},
};

/* One line for keys [first, end) of a run of blocks. */
static void add_keys(struct table *table, const struct policy_check *check, size_t first,
                     size_t end)
{
    const struct policy_holding *keys = check->keys;
    char name[300], tensors[24], size[SIZE_TEXT_BYTES], place[POLICY_PLACE_BYTES];
    char so_far[SIZE_TEXT_BYTES] = "-";
    const char *cells[] = {name, place, tensors, size, so_far};
    uint64_t bytes = 0, total = 0;
    size_t count = 0;

    for (size_t i = 0; i < end; i++)
        total += keys[i].place == keys[first].place ? keys[i].bytes : 0;
    if (check->tensors)
        size_format(total, SIZE_BINARY, so_far);

    for (size_t i = first; i < end; i++) {
        bytes += keys[i].bytes;
        count += keys[i].tensors;
    }
    snprintf(name, sizeof(name), "%s%s%s", *keys[first].name ? keys[first].name : "(all the rest)",
             end - first > 1 ? " to " : "",
             end - first > 1 ? strrchr(keys[end - 1].name, '.') + 1 : "");
    describe_holding(check, count, bytes, tensors, size);
    policy_place_name(keys[first].place, place);
    table_add(table, cells);
}

static int print_keys(const struct policy_check *check, FILE *out)
{
    struct table table;
    size_t first = 0;
    int err;

    table_begin(&table, g_key_columns, sizeof(g_key_columns) / sizeof(g_key_columns[0]));
    for (size_t end = 1; end <= check->key_count; end++) {
        if (end < check->key_count && continues(&check->keys[end - 1], &check->keys[end]))
            continue;
        add_keys(&table, check, first, end);
        first = end;
    }
    err = table_print(&table, out);
    table_free(&table);
    fputc('\n', out);
    return err;
}

static void print_streamed(const struct policy_check *check, FILE *out)
{
    char size[SIZE_TEXT_BYTES], *text;

    if (!check->streamed_unit ||
        asprintf(&text, "room in VRAM for what streams, of which %s is the largest unit: %s",
                 check->streamed_unit, size_format(check->streamed_bytes, SIZE_BINARY, size)) < 0)
        return;
    print_label(out, terminal_style(out)->title, "window", text);
    fputc('\n', out);
    free(text);
}

static void print_groups(const struct policy_check *check, FILE *out)
{
    for (size_t i = 0; i < check->group_count; i++) {
        char size[SIZE_TEXT_BYTES], text[400];

        snprintf(text, sizeof(text), "%s: %zu tensors, %s", check->groups[i].name,
                 check->groups[i].tensors, size_format(check->groups[i].bytes, SIZE_BINARY, size));
        print_label(out, terminal_style(out)->title, "group", text);
    }
    if (check->group_count)
        fputc('\n', out);
}

static void print_findings(const struct policy_check *check, FILE *out)
{
    const struct terminal_style *style = terminal_style(out);

    for (size_t i = 0; i < check->finding_count; i++) {
        const struct policy_finding *finding = &check->findings[i];
        int error = finding->severity == POLICY_ERROR;
        char *text;

        if (asprintf(&text, "%s%s%s", finding->field, *finding->field ? ": " : "", finding->text) <
            0)
            text = NULL;
        print_label(out, error ? style->alarm : style->title, error ? "error" : "warning",
                    text ? text : finding->text);
        free(text);
    }
}

static void print_checkpoint(const struct check_report *report, FILE *out)
{
    const struct policy_check *check = report->check;
    const char *dtype = policy_dtype_name(report->policy->dtype);
    char size[SIZE_TEXT_BYTES], *text;

    if (!report->checkpoint) {
        print_label(out, terminal_style(out)->title, "checkpoint",
                    report->checkpoint_path
                        ? report->checkpoint_path
                        : "none given: names and sizes are not checked; --checkpoint names one");
        return;
    }
    if (asprintf(&text, "%s: %s, %zu tensors in %zu units, %s%s%s", report->checkpoint_path,
                 checkpoint_format_name(report->checkpoint->format), check->tensors,
                 check->unit_count, size_format(check->bytes, SIZE_BINARY, size),
                 dtype ? " as " : "", dtype ? dtype : "") < 0)
        return;
    print_label(out, terminal_style(out)->title, "checkpoint", text);
    free(text);
}

int check_print_table(const struct check_report *report, FILE *out)
{
    const struct policy_check *check = report->check;
    const struct terminal_style *style = terminal_style(out);
    int err = 0;

    print_label(out, style->title, "policy", report->path);
    print_checkpoint(report, out);
    if (!report->policy->map.count && !check->error_count)
        print_label(out, style->title, "device_map",
                    "none: what stays in VRAM is chosen by use, within max_memory");
    fputc('\n', out);
    if (check->place_count)
        err = print_places(check, out);
    if (!err && check->key_count)
        err = print_keys(check, out);
    print_streamed(check, out);
    print_groups(check, out);
    print_findings(check, out);
    if (!check->error_count)
        fprintf(out, "%s%s\n", check->finding_count ? "\n" : "", "ok");
    return err;
}

/* JSON ----------------------------------------------------------------------------------------- */

static void write_text(const char *text, FILE *out)
{
    json_write_string(out, text, strlen(text));
}

static void write_holdings(const char *label, const char *name, const struct policy_holding *first,
                           size_t count, FILE *out)
{
    char place[POLICY_PLACE_BYTES];

    fprintf(out, ",\n \"%s\": [", label);
    for (size_t i = 0; i < count; i++) {
        const struct policy_holding *holding = &first[i];

        fprintf(out, "%s{\"%s\": ", i ? ",\n  " : "\n  ", name);
        write_text(holding->name, out);
        if (strcmp(name, "key") == 0)
            fprintf(out, ", \"device\": \"%s\"", policy_place_name(holding->place, place));
        fprintf(out, ", \"tensors\": %zu, \"bytes\": %" PRIu64, holding->tensors, holding->bytes);
        if (holding->limit != POLICY_UNSET)
            fprintf(out, ", \"max_memory\": %" PRIu64, holding->limit);
        fputc('}', out);
    }
    fputc(']', out);
}

static void write_findings(const char *label, const struct policy_finding *first, size_t count,
                           FILE *out)
{
    fprintf(out, ",\n \"%s\": [", label);
    for (size_t i = 0; i < count; i++) {
        fputs(i ? ",\n  {\"field\": " : "\n  {\"field\": ", out);
        write_text(first[i].field, out);
        fputs(", \"text\": ", out);
        write_text(first[i].text, out);
        fputc('}', out);
    }
    fputc(']', out);
}

void check_print_json(const struct check_report *report, FILE *out)
{
    const struct policy_check *check = report->check;

    fputs("{\"version\": 1, \"policy\": ", out);
    write_text(report->path, out);
    fprintf(out, ", \"ok\": %s,\n \"checkpoint\": ", check->error_count ? "false" : "true");
    if (report->checkpoint) {
        fputs("{\"path\": ", out);
        write_text(report->checkpoint_path, out);
        fprintf(out,
                ", \"format\": \"%s\", \"tensors\": %zu, \"units\": %zu, \"bytes\": %" PRIu64 "}",
                checkpoint_format_name(report->checkpoint->format), check->tensors,
                check->unit_count, check->bytes);
    } else {
        fputs("null", out);
    }
    write_holdings("devices", "device", check->places, check->place_count, out);
    write_holdings("keys", "key", check->keys, check->key_count, out);
    write_holdings("groups", "group", check->groups, check->group_count, out);
    fprintf(out, ",\n \"uncovered\": {\"tensors\": %zu, \"bytes\": %" PRIu64 "}",
            check->uncovered.tensors, check->uncovered.bytes);
    if (check->streamed_unit) {
        fputs(",\n \"largest_streamed\": {\"unit\": ", out);
        write_text(check->streamed_unit, out);
        fprintf(out, ", \"bytes\": %" PRIu64 "}", check->streamed_bytes);
    }
    write_findings("errors", check->findings, check->error_count, out);
    write_findings("warnings", check->findings + check->error_count,
                   check->finding_count - check->error_count, out);
    fputs("}\n", out);
}
