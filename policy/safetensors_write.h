/* safetensors_write.h - the header of a safetensors file that is to be written. */
#ifndef BERTH_POLICY_SAFETENSORS_WRITE_H
#define BERTH_POLICY_SAFETENSORS_WRITE_H

#include "checkpoint.h"

/* What stands in front of the tensors' bytes, and where each tensor's bytes go. */
struct safetensors_layout {
    char *header; /* with its length in front and padding behind */
    size_t header_bytes;
    uint64_t *offsets; /* from the start of the file, one for each tensor */
    uint64_t file_bytes;
};

/* Lay out dense copies of tensors, in the order in which they are given but for their bytes: types
 * with wider elements come first, so that each is aligned where the file is mapped.
 *
 * tensors  count of them; their types are of safetensors
 * out      set on success only
 * returns  0; -EFBIG where the header is longer than readers accept, or the file than 2^63; -ENOMEM
 * owner    the caller frees *out with safetensors_layout_release()
 */
int safetensors_layout_make(const struct tensor *const *tensors, size_t count,
                            struct safetensors_layout *out);

void safetensors_layout_release(struct safetensors_layout *layout);

#endif
