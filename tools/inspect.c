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
#define X(id, name, argument, help) {name, argument, help, 0},
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
    fprintf(out, ", \"bytes\": %" PRIu64 ", \"file\": ", tensor_dense_bytes(tensor));
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

/* id, title, alignment, spare. What is left out in most checkpoints stands at the end. */
#define INSPECT_COLUMNS(X)                                                                         \
    X(NAME, "tensor", TABLE_SHRINKS, 0)                                                            \
    X(DTYPE, "dtype", TABLE_LEFT, 0)                                                               \
    X(SHAPE, "shape", TABLE_LEFT, 1)                                                               \
    X(BYTES, "bytes", TABLE_RIGHT, 0)                                                              \
    X(OFFSET, "offset", TABLE_RIGHT, 3)                                                            \
    X(STRIDES, "strides", TABLE_LEFT, 4)                                                           \
    X(FILE, "file", TABLE_LEFT, 2)

enum inspect_column {
#define X(id, title, align, spare) COLUMN_##id,
    INSPECT_COLUMNS(X)
#undef X
        COLUMN_COUNT
};

static const struct table_column g_columns[] = {
#define X(id, title, align, spare) {title, align, spare},
    INSPECT_COLUMNS(X)
#undef X
};

static const char *extents_text(const uint64_t *extents, size_t rank, const char *scalar,
                                char *text, size_t bytes)
{
    size_t used = 0;

    snprintf(text, bytes, "%s", scalar);
    for (size_t i = 0; i < rank && used < bytes; i++)
        used +=
            (size_t)snprintf(text + used, bytes - used, "%s%" PRIu64, i ? " x " : "", extents[i]);
    return text;
}

/* The name of a tensor's file without its folder, which is the same for all. */
static const char *file_name(const struct checkpoint *checkpoint, const struct tensor *tensor)
{
    const char *path = checkpoint->files[tensor->file].path, *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* Which columns there are: some say nothing of most checkpoints.
 *
 * shown    gets their ids
 * returns  how many
 */
static size_t choose_columns(const struct checkpoint *checkpoint, enum inspect_column *shown)
{
    bool any_strides = false;
    size_t count = 0;

    for (size_t i = 0; i < checkpoint->tensor_count; i++)
        any_strides |= checkpoint->tensors[i].strides != NULL;
    for (int id = 0; id < COLUMN_COUNT; id++) {
        if ((id == COLUMN_STRIDES && !any_strides) ||
            (id == COLUMN_FILE && checkpoint->file_count < 2))
            continue;
        shown[count++] = (enum inspect_column)id;
    }
    return count;
}

static void add_row(struct table *table, const struct checkpoint *checkpoint,
                    const struct tensor *tensor, const enum inspect_column *shown, size_t count)
{
    char shape[256], strides[256], bytes[24], offset[24];
    const char *cells[COLUMN_COUNT], *row[COLUMN_COUNT];

    snprintf(bytes, sizeof(bytes), "%" PRIu64, tensor_dense_bytes(tensor));
    snprintf(offset, sizeof(offset), "%" PRIu64, tensor->offset);
    cells[COLUMN_NAME] = tensor->name;
    cells[COLUMN_DTYPE] = dtype_name((enum dtype)tensor->dtype);
    cells[COLUMN_SHAPE] = extents_text(tensor->shape, tensor->rank, "scalar", shape, sizeof(shape));
    cells[COLUMN_BYTES] = bytes;
    cells[COLUMN_OFFSET] = offset;
    cells[COLUMN_STRIDES] =
        tensor->strides ? extents_text(tensor->strides, tensor->rank, "", strides, sizeof(strides))
                        : "";
    cells[COLUMN_FILE] = file_name(checkpoint, tensor);
    for (size_t i = 0; i < count; i++)
        row[i] = cells[shown[i]];
    table_add(table, row);
}

static void print_tied(const struct checkpoint *checkpoint, FILE *out)
{
    const uint32_t *members;
    size_t cursor = 0;
    size_t count;

    while ((count = checkpoint_next_tied(checkpoint, &cursor, &members))) {
        fputs("tied: ", out);
        for (size_t i = 0; i < count; i++) {
            fputs(i ? ", " : "", out);
            terminal_print_clean(out, checkpoint->tensors[members[i]].name);
        }
        fputc('\n', out);
    }
}

static int print_table(const struct checkpoint *checkpoint, FILE *out)
{
    struct table_column columns[COLUMN_COUNT];
    enum inspect_column shown[COLUMN_COUNT];
    size_t count = choose_columns(checkpoint, shown);
    char size[SIZE_TEXT_BYTES];
    struct table table;
    int err;

    for (size_t i = 0; i < count; i++)
        columns[i] = g_columns[shown[i]];
    table_begin(&table, columns, count);
    for (size_t i = 0; i < checkpoint->tensor_count; i++)
        add_row(&table, checkpoint, &checkpoint->tensors[i], shown, count);
    err = table_print(&table, out);
    table_free(&table);
    fputc('\n', out);
    print_tied(checkpoint, out);
    fprintf(out, "%zu tensors, %" PRIu64 " bytes (%s), %s", checkpoint->tensor_count,
            checkpoint->total_bytes, size_format(checkpoint->total_bytes, SIZE_BINARY, size),
            checkpoint_format_name(checkpoint->format));
    if (checkpoint->file_count > 1)
        fprintf(out, ", %zu files", checkpoint->file_count);
    fputc('\n', out);
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
    .text =
        "Example: what the model consists of, and how large its largest tensors are.\n\n"
        "  berth inspect model.safetensors\n"
        "  berth inspect model.safetensors --json | jq '.tensors | max_by(.bytes)'\n"
        "  berth inspect Llama-3.1-8B/\n\n"
        "A checkpoint is a file, the *.index.json of one in shards, or a folder that has one of\n"
        "either. Its header is read, never the tensors' bytes. The formats are:\n\n"
#define X(id, name, identify, read) "  " name "\n"
    CHECKPOINT_FORMATS(X),
#undef X
    .options = g_options,
    .option_count = INSPECT_OPTION_COUNT,
    .usage_exit = TOOL_USAGE,
    .run = inspect_main,
};
