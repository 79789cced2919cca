#include "checkpoint.h"
#include "checkpoint_build.h"
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

size_t checkpoint_find_name(const struct checkpoint *checkpoint, const char *name)
{
    size_t first = 0, end = checkpoint->tensor_count;

    while (first < end) {
        size_t middle = first + (end - first) / 2;
        uint32_t index = checkpoint->by_name[middle];
        int order = strcmp(checkpoint->tensors[index].name, name);

        if (order == 0)
            return index;
        if (order < 0)
            first = middle + 1;
        else
            end = middle;
    }
    return CHECKPOINT_NONE;
}

const char *checkpoint_metadata(const struct checkpoint *checkpoint, const char *key)
{
    size_t i;

    for (i = 0; i < checkpoint->metadata_count; i++) {
        if (strcmp(checkpoint->entries[i].key, key) == 0)
            return checkpoint->entries[i].text;
    }
    return NULL;
}

static const struct tensor *located(const struct checkpoint *checkpoint, size_t rank)
{
    return &checkpoint->tensors[checkpoint->by_location[rank]];
}

static int same_range(const struct tensor *a, const struct tensor *b)
{
    return a->file == b->file && a->offset == b->offset && a->bytes == b->bytes;
}

/* How many tensors in the order of by_location begin at or before a byte. */
static size_t count_begun(const struct checkpoint *checkpoint, size_t file, uint64_t offset)
{
    size_t first = 0, end = checkpoint->located_count;

    while (first < end) {
        size_t middle = first + (end - first) / 2;
        const struct tensor *t = located(checkpoint, middle);

        if (t->file < file || (t->file == file && t->offset <= offset))
            first = middle + 1;
        else
            end = middle;
    }
    return first;
}

size_t checkpoint_find_offset(const struct checkpoint *checkpoint, size_t file, uint64_t offset)
{
    size_t rank = count_begun(checkpoint, file, offset);

    while (rank-- > 0) {
        const struct tensor *t = located(checkpoint, rank);

        if (t->file != file)
            break;
        if (offset - t->offset < t->bytes) {
            while (rank > 0 && same_range(located(checkpoint, rank - 1), t))
                rank--;
            return checkpoint->by_location[rank];
        }
        if (!checkpoint->has_views)
            break;
    }
    return CHECKPOINT_NONE;
}

size_t checkpoint_by_location(const struct checkpoint *checkpoint, size_t rank)
{
    return rank < checkpoint->located_count ? checkpoint->by_location[rank] : CHECKPOINT_NONE;
}

size_t checkpoint_find_file(const struct checkpoint *checkpoint, dev_t device, ino_t inode)
{
    size_t i;

    for (i = 0; i < checkpoint->file_count; i++) {
        if (checkpoint->files[i].device == device && checkpoint->files[i].inode == inode)
            return i;
    }
    return CHECKPOINT_NONE;
}

int checkpoint_file_compare(const struct checkpoint_file *file, const struct stat *status)
{
    int64_t mtime_ns = (int64_t)status->st_mtim.tv_sec * 1000000000 + status->st_mtim.tv_nsec;

    if (file->device != status->st_dev || file->inode != status->st_ino ||
        file->bytes != (uint64_t)status->st_size || file->mtime_ns != mtime_ns)
        return -ESTALE;
    return 0;
}

uint64_t tensor_dense_bytes(const struct tensor *tensor)
{
    uint64_t bytes = 0;

    /* The reader has asked this of the same shape, so that it cannot fail. */
    dtype_tensor_bytes(tensor->dtype, tensor->shape, tensor->rank, &bytes);
    return bytes;
}

size_t checkpoint_next_tied(const struct checkpoint *checkpoint, size_t *cursor,
                            const uint32_t **members)
{
    size_t first = *cursor, end = first;

    while (end < checkpoint->tied_count && checkpoint->tensors[checkpoint->tied[end]].storage ==
                                               checkpoint->tensors[checkpoint->tied[first]].storage)
        end++;
    *cursor = end;
    *members = checkpoint->tied ? &checkpoint->tied[first] : NULL;
    return end - first;
}
