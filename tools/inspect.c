/* inspect.c - `berth inspect`: every tensor of a checkpoint. */
#include "table.h"
#include "tool.h"

#include "policy/checkpoint.h"
#include "policy/json_write.h"
#include "policy/size.h"
#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* id, option, its value, help */
#define INSPECT_OPTIONS(X) X(JSON, "json", NULL, "one JSON document")

enum inspect_option {
#define X(id, name, argument, help) INSPECT_##id,
    INSPECT_OPTIONS(X)
#undef X
        INSPECT_OPTION_COUNT
};

static const struct tool_option g_options[] = {
#define X(id, name, argument, help) {name, argument, help},
    INSPECT_OPTIONS(X)
#undef X
};

/* JSON ----------------------------------------------------------------------------------------- */

static void write_tensor(const struct checkpoint *checkpoint, const struct tensor *tensor,
                         FILE *out)
{
    const char *path = checkpoint->files[tensor->file].path;

    fputs("{\"name\": ", out);
    json_write_string(out, tensor->name, tensor->name_bytes);
    fprintf(out, ", \"dtype\": \"%s\", \"shape\": ", dtype_name((enum dtype)tensor->dtype));
    json_write_shape(out, tensor->shape, tensor->rank);
    if (tensor->strides) {
        fputs(", \"strides\": ", out);
        json_write_shape(out, tensor->strides, tensor->rank);
    }
    fprintf(out, ", \"bytes\": %" PRIu64 ", \"file\": ", tensor->bytes);
    json_write_string(out, path, strlen(path));
    fprintf(out, ", \"offset\": %" PRIu64 "}", tensor->offset);
}

static void write_tied(const struct checkpoint *checkpoint, FILE *out)
{
    const char *between = "";
    const uint32_t *members;
    size_t cursor = 0;
    size_t count;

    while ((count = checkpoint_next_tied(checkpoint, &cursor, &members))) {
        fputs(between, out);
        for (size_t i = 0; i < count; i++) {
            const struct tensor *tensor = &checkpoint->tensors[members[i]];

            fputs(i ? ", " : "[", out);
            json_write_string(out, tensor->name, tensor->name_bytes);
        }
        fputc(']', out);
        between = ", ";
    }
}

static void print_json(const struct checkpoint *checkpoint, FILE *out)
{
    fprintf(out, "{\"version\": 1, \"format\": \"%s\",\n \"tensors\": [",
            checkpoint_format_name(checkpoint->format));
    for (size_t i = 0; i < checkpoint->tensor_count; i++) {
        fputs(i ? ",\n             " : "", out);
        write_tensor(checkpoint, &checkpoint->tensors[i], out);
    }
    fputs("],\n \"tied\": [", out);
    write_tied(checkpoint, out);
    fputs("]}\n", out);
}

/* The table ------------------------------------------------------------------------------------ */

static const struct table_column g_columns[] = {
    {"tensor", TABLE_SHRINKS, 0}, {"dtype", TABLE_LEFT, 0},   {"shape", TABLE_LEFT, 1},
    {"bytes", TABLE_RIGHT, 0},    {"offset", TABLE_RIGHT, 3}, {"file", TABLE_LEFT, 2},
};

static const char *shape_text(const struct tensor *tensor, char *text, size_t bytes)
{
    size_t used = 0;

    snprintf(text, bytes, "scalar");
    for (size_t i = 0; i < tensor->rank && used < bytes; i++)
        used += (size_t)snprintf(text + used, bytes - used, "%s%" PRIu64, i ? " x " : "",
                                 tensor->shape[i]);
    return text;
}

/* The file is a column only where there are several. */
static int print_table(const struct checkpoint *checkpoint, FILE *out)
{
    size_t columns = sizeof(g_columns) / sizeof(g_columns[0]);
    char shape[256], bytes[24], offset[24], size[SIZE_TEXT_BYTES];
    struct table table;
    int err;

    table_begin(&table, g_columns, checkpoint->file_count > 1 ? columns : columns - 1);
    for (size_t i = 0; i < checkpoint->tensor_count; i++) {
        const struct tensor *tensor = &checkpoint->tensors[i];
        const char *cells[] = {
            tensor->name,
            dtype_name((enum dtype)tensor->dtype),
            shape_text(tensor, shape, sizeof(shape)),
            bytes,
            offset,
            checkpoint->files[tensor->file].path,
        };

        snprintf(bytes, sizeof(bytes), "%" PRIu64, tensor->bytes);
        snprintf(offset, sizeof(offset), "%" PRIu64, tensor->offset);
        table_add(&table, cells);
    }
    err = table_print(&table, out);
    table_free(&table);
    fprintf(out, "\n%zu tensors, %" PRIu64 " bytes (%s), %s\n", checkpoint->tensor_count,
            checkpoint->total_bytes, size_format(checkpoint->total_bytes, SIZE_BINARY, size),
            checkpoint_format_name(checkpoint->format));
    return err;
}

static int inspect_main(const struct tool_command *command, int argc, char **argv)
{
    int given[INSPECT_OPTION_COUNT] = {0};
    char line[INPUT_ERROR_TEXT_BYTES];
    struct checkpoint *checkpoint;
    struct input_error error;
    int first, status;
    int err = 0;

    status = tool_parse_options(command, argc, argv, tool_set_given, given, &first);
    if (status != TOOL_OPTIONS_GO_ON)
        return status;
    if (argc - first != 1) {
        tool_error("inspect: %s; for example: berth inspect model.safetensors",
                   argc == first ? "no checkpoint given" : "more than one checkpoint given");
        return TOOL_USAGE;
    }
    if (checkpoint_open(argv[first], &checkpoint, &error)) {
        tool_error("inspect: %s", input_error_format(&error, line, sizeof(line)));
        return TOOL_FAILED;
    }
    if (given[INSPECT_JSON])
        print_json(checkpoint, stdout);
    else
        err = print_table(checkpoint, stdout);
    checkpoint_close(checkpoint);
    if (err) {
        tool_error("inspect: %s; close other programs", strerror(-err));
        return TOOL_FAILED;
    }
    return tool_finish_output(TOOL_OK);
}

const struct tool_command tool_inspect = {
    .name = "inspect",
    .summary = "List every tensor of a checkpoint",
    .usage = "CHECKPOINT [--json]",
    .text = "Example: what the model consists of, and how large its largest tensors are.\n\n"
            "  berth inspect model.safetensors\n"
            "  berth inspect model.safetensors --json | jq '.tensors | max_by(.bytes)'\n\n"
            "A checkpoint is a safetensors file. Only its header is read.\n",
    .options = g_options,
    .option_count = INSPECT_OPTION_COUNT,
    .usage_exit = TOOL_USAGE,
    .run = inspect_main,
};
