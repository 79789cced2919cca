/* fuzz_gguf.c - any bytes as a GGUF file: all of it, and as the head of a much larger one.
 *
 * A file that is taken must keep the reader's promise: the tensors follow one another, each at the
 * padded end of the one before, inside the file, and every look-up finds what the table says.
 *
 * Seeds: tests/fuzz/seeds/gguf tests/data/files/tiny.gguf
 */
#include "fuzz.h"
#include "gguf.h"
#include <sys/stat.h>

static void check(const struct checkpoint *c, uint64_t file_bytes)
{
    uint64_t next = c->files[0].data_offset;
    size_t rank, i;

    fuzz_require(next <= file_bytes);
    for (rank = 0; (i = checkpoint_by_location(c, rank)) != CHECKPOINT_NONE; rank++) {
        const struct tensor *t = &c->tensors[i];

        fuzz_require(t->offset >= next && t->bytes <= file_bytes - t->offset);
        fuzz_require(checkpoint_find_offset(c, 0, t->offset + t->bytes - 1) == i);
        next = t->offset + t->bytes;
    }
    fuzz_require(c->storage_count == c->tensor_count);
    for (i = 0; i < c->tensor_count; i++) {
        const struct tensor *t = &c->tensors[i];
        uint64_t bytes;

        fuzz_require(strlen(t->name) == t->name_bytes && t->name_bytes <= GGUF_NAME_MAX);
        fuzz_require(checkpoint_find_name(c, t->name) == i);
        fuzz_require(dtype_tensor_bytes(t->dtype, t->shape, t->rank, &bytes) == 0);
        fuzz_require(bytes == t->bytes);
    }
    for (i = 0; i < c->metadata_count; i++)
        fuzz_require(checkpoint_metadata(c, c->entries[i].key) == c->entries[i].text);
}

static void read_as(const uint8_t *data, size_t bytes, uint64_t file_bytes)
{
    const struct stat status = {.st_size = (off_t)file_bytes};
    struct checkpoint_builder builder;
    struct checkpoint *c = NULL;
    struct input_error error;
    size_t file;

    input_error_clear(&error);
    if (checkpoint_builder_begin(&builder, CHECKPOINT_GGUF))
        return;
    if (checkpoint_builder_add_file(&builder, "fuzz", &status, &file) ||
        gguf_parse(data, bytes, file_bytes, &builder, file, &error))
        checkpoint_builder_abandon(&builder);
    else if (checkpoint_builder_finish(&builder, &c, &error) == 0)
        check(c, file_bytes);
    if (!c)
        fuzz_check_refusal(&error);
    checkpoint_close(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    read_as(data, bytes, bytes);
    read_as(data, bytes, bytes + (UINT64_C(1) << 40));
    return 0;
}
