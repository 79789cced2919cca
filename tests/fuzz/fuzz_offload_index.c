/* fuzz_offload_index.c - any bytes as the index of an offload folder.
 *
 * An index that is taken must keep the reader's promise: a weight's name makes a file's name inside
 * the folder, its bytes are what type and shape make, and a pointer has a file and a name.
 *
 * Seeds: tests/fuzz/seeds/offload_index tests/data/files/offload/index.json
 */
#include "fuzz.h"
#include "offload_index.h"

static void check_data(const struct offload_entry *entry)
{
    uint64_t bytes;

    fuzz_require(!strchr(entry->name, '/') && offload_name_is_plain(entry->name));
    fuzz_require(entry->shape && !entry->weight_name);
    fuzz_require(dtype_tensor_bytes(entry->dtype, entry->shape, entry->rank, &bytes) == 0);
    fuzz_require(bytes == entry->bytes);
    fuzz_require(offload_dtype_name(entry->dtype, OFFLOAD_IN_DATA) != NULL);
}

static void check_pointer(const struct offload_entry *entry)
{
    fuzz_require(entry->safetensors_file[0] && entry->weight_name && entry->bytes == 0);
    fuzz_require(entry->dtype == DTYPE_COUNT ||
                 offload_dtype_name(entry->dtype, OFFLOAD_IN_SAFETENSORS));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct offload_index index;
    struct input_error error;
    const uint64_t *next;
    size_t i, d;

    input_error_clear(&error);
    if (offload_index_parse((const char *)data, bytes, &index, &error)) {
        fuzz_check_refusal(&error);
        return 0;
    }
    for (i = 0, next = index.shapes; i < index.count; i++) {
        const struct offload_entry *entry = &index.entries[i];

        if (entry->safetensors_file)
            check_pointer(entry);
        else
            check_data(entry);
        fuzz_require(!entry->shape || entry->shape == next);
        for (d = 0; d < entry->rank; d++)
            fuzz_require(*next++ < UINT64_C(1) << 53);
    }
    offload_index_release(&index);
    return 0;
}
