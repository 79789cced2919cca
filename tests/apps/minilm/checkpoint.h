/* checkpoint.h - a safetensors file, mapped read-only and open.
 *
 * The mapping holds the tensors' bytes where they are uploaded from; whoever would rather read()
 * them can do that too.
 *
 * source: the safetensors format: u64 length of the header, JSON header, data
 */
#ifndef MINILM_CHECKPOINT_H
#define MINILM_CHECKPOINT_H

#include <stddef.h>

#define TENSOR_RANK_MAX 4

struct tensor {
    char *name;
    char *dtype;
    size_t shape[TENSOR_RANK_MAX];
    size_t rank;
    const void *data; /* in the mapping */
    size_t bytes;
};

struct checkpoint {
    void *map;
    size_t map_bytes;
    int fd;
    struct tensor *tensors; /* in the order of the header */
    size_t count;
    size_t data_bytes; /* all tensors together */
};

/* Map a file and read its header; dies with one line where it is not a whole safetensors file.
 *
 * owner  checkpoint_close() unmaps it and frees the tensors
 */
void checkpoint_open(const char *path, struct checkpoint *out);
void checkpoint_close(struct checkpoint *checkpoint);

/* Read a tensor's bytes from the file; dies with one line where that fails. */
void checkpoint_read(const struct checkpoint *checkpoint, const struct tensor *tensor, void *out);

#endif
