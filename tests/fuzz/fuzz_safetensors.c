/* fuzz_safetensors.c - any bytes as a safetensors file.
 *
 * Beyond what the sanitizers see, a file that is taken must keep the reader's promise: its tensors
 * cover the data exactly, and every look-up finds what the table says.
 *
 * Seeds: tests/fuzz/seeds/safetensors tests/data/files
 */
#include "fuzz.h"
#include "safetensors.h"
#include <sys/stat.h>

static void check(const struct checkpoint *c, uint64_t file_bytes)
{
    uint64_t next = c->files[0].data_offset;
    size_t rank, i;

    for (rank = 0; (i = checkpoint_by_location(c, rank)) != CHECKPOINT_NONE; rank++) {
        fuzz_require(c->tensors[i].offset == next);
        next += c->tensors[i].bytes;
        fuzz_require(checkpoint_find_offset(c, 0, next - 1) == i);
    }
    fuzz_require(next == file_bytes && c->files[0].data_offset + c->total_bytes == next);
    for (i = 0; i < c->tensor_count; i++) {
        fuzz_require(strlen(c->tensors[i].name) == c->tensors[i].name_bytes);
        fuzz_require(checkpoint_find_name(c, c->tensors[i].name) == i);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    const struct stat status = {.st_size = (off_t)bytes};
    struct checkpoint_builder builder;
    struct checkpoint *c = NULL;
    struct input_error error;
    size_t file;

    input_error_clear(&error);
    if (checkpoint_builder_begin(&builder, CHECKPOINT_SAFETENSORS))
        return 0;
    if (checkpoint_builder_add_file(&builder, "fuzz", &status, &file) ||
        safetensors_parse(data, bytes, bytes, &builder, file, &error)) {
        checkpoint_builder_abandon(&builder);
        fuzz_check_refusal(&error);
        return 0;
    }
    fuzz_require(checkpoint_builder_finish(&builder, &c, &error) == 0);
    check(c, bytes);
    checkpoint_close(c);
    return 0;
}
