/* fuzz_pytorch.c - any bytes as a file of torch.save(), in either form; and, for what a fuzzer
 * would hardly come to by itself, as the pickle inside an archive that is right.
 *
 * Beyond what the sanitizers see, tensors that are taken lie inside the file, and so does whatever
 * their strides reach.
 *
 * Seeds: tests/fuzz/seeds/pickle tests/data/files
 * Options: -max_len=16384 -dict=tests/fuzz/pickle.dict
 */
#include "../unit/zip_file.h"
#include "fuzz.h"
#include "pytorch.h"
#include <sys/stat.h>

typedef int read_source(const struct byte_source *source, struct checkpoint_builder *builder,
                        size_t file, struct input_error *error);

static void check(const struct checkpoint *c, uint64_t file_bytes)
{
    size_t i, k;

    for (i = 0; i < c->tensor_count; i++) {
        const struct tensor *t = &c->tensors[i];
        uint64_t elements = 1, last = 0;

        fuzz_require(t->offset <= file_bytes && t->bytes <= file_bytes - t->offset);
        fuzz_require(strlen(t->name) == t->name_bytes);
        fuzz_require(checkpoint_find_name(c, t->name) == i);
        for (k = 0; k < t->rank; k++) {
            elements *= t->shape[k];
            if (t->strides)
                last += (t->shape[k] - 1) * t->strides[k];
        }
        if (t->strides)
            fuzz_require(t->bytes == (last + 1) * (dtype_block_bits(t->dtype) / 8));
        else
            fuzz_require(t->bytes == elements * (dtype_block_bits(t->dtype) / 8));
    }
}

static void try_file(read_source *read, const void *data, size_t bytes)
{
    const struct stat status = {.st_size = (off_t)bytes};
    const struct byte_source source = {.memory = data, .fd = -1, .bytes = bytes};
    struct checkpoint_builder builder;
    struct checkpoint *c = NULL;
    struct input_error error;
    size_t file;

    input_error_clear(&error);
    if (checkpoint_builder_begin(&builder, CHECKPOINT_PYTORCH))
        return;
    if (checkpoint_builder_add_file(&builder, "fuzz", &status, &file) ||
        read(&source, &builder, file, &error)) {
        checkpoint_builder_abandon(&builder);
        fuzz_check_refusal(&error);
        return;
    }
    if (checkpoint_builder_finish(&builder, &c, &error)) {
        fuzz_check_refusal(&error);
        return;
    }
    check(c, bytes);
    checkpoint_close(c);
}

static void try_pickle(const void *data, size_t bytes)
{
    static const char zeros[4096];
    const struct zip_file_member members[] = {
        {"m/data.pkl", data, bytes},
        {"m/data/0", zeros, sizeof(zeros)},
        {"m/data/1", zeros, 16},
    };
    struct zip_file file;

    zip_file_make(&file, members, 3, ZIP_FILE_DESCRIPTORS);
    try_file(pytorch_read_source, file.data, file.bytes);
    zip_file_free(&file);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    if (pytorch_identify(data, bytes, bytes))
        try_file(pytorch_read_source, data, bytes);
    else if (pytorch_legacy_identify(data, bytes, bytes))
        try_file(pytorch_legacy_read_source, data, bytes);
    else
        try_pickle(data, bytes);
    return 0;
}
