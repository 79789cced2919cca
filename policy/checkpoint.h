/* checkpoint.h - the tensors that a checkpoint's files hold: names, types, shapes, places,
 * storages.
 *
 * One interface for every format. A checkpoint is read once and never changes afterwards, so any
 * thread may read it without a lock. It holds no file open and none of the tensors' bytes.
 * Whoever reads those bytes compares the file with checkpoint_file_compare() first: a file that was
 * replaced or written to since must be refused, for its offsets may mean something else now.
 */
#ifndef BERTH_POLICY_CHECKPOINT_H
#define BERTH_POLICY_CHECKPOINT_H

#include "dtype.h"
#include "error.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct stat;
struct checkpoint_chunk;
struct checkpoint_entry;

#define CHECKPOINT_NONE SIZE_MAX /* no such tensor, no such file */

#define CHECKPOINT_HEAD_BYTES   512u  /* as much of a file as checkpoint_identify() looks at */
#define CHECKPOINT_METADATA_MAX 4096u /* longer strings are templates and licences: not kept */
#define TENSOR_RANK_MAX         UINT16_MAX

/* A format exists only as a row of this table.
 *
 * id        CHECKPOINT_<id>
 * name      the word that berth prints
 * identify  could these be the first bytes of such a file? As checkpoint_identify()
 * read      adds what a file holds to a builder; struct checkpoint_reader in checkpoint_build.h
 * says how. Both are NULL for a format that is no single file
 */
#define CHECKPOINT_FORMATS(X)                                                                      \
    X(SAFETENSORS, "safetensors", safetensors_identify, safetensors_read)                          \
    X(GGUF, "gguf", gguf_identify, gguf_read)                                                      \
    X(PYTORCH, "pytorch", pytorch_identify, pytorch_read)                                          \
    X(PYTORCH_LEGACY, "pytorch-legacy", pytorch_legacy_identify, pytorch_legacy_read)              \
    X(OFFLOAD, "offload", NULL, NULL)

enum checkpoint_format {
    CHECKPOINT_UNKNOWN,
#define X(id, name, identify, read) CHECKPOINT_##id,
    CHECKPOINT_FORMATS(X)
#undef X
        CHECKPOINT_FORMAT_COUNT
};

/* 56 bytes; with its name, its shape and its places in both indexes a tensor takes about 150.
 *
 * A dense tensor's bytes are those of its elements. A view with strides spans what lies between its
 * first and its last element: more than its elements where it leaves some out, less where it
 * repeats some (a stride of 0). What it takes as a dense copy, on a device or in the offload
 * folder, is tensor_dense_bytes().
 *
 * Tensors of one storage share memory: one is a view of another, or they are one parameter under
 * two names. Who moves one of them moves them all, for they must stay together to stay tied.
 */
struct tensor {
    const char *name;        /* in the checkpoint's arena; UTF-8 without NUL */
    const uint64_t *shape;   /* rank extents; not NULL where rank is 0 */
    const uint64_t *strides; /* in elements; NULL where row-major and dense */
    uint64_t offset;         /* from the start of its file */
    uint64_t bytes;          /* in the file, from offset on; may be 0 */
    uint32_t name_bytes;     /* without the NUL */
    uint32_t file;           /* index in checkpoint.files */
    uint32_t storage;        /* below checkpoint.storage_count; numbered as they are met */
    uint16_t rank;
    uint16_t dtype;
};

/* What identifies a file, taken from the descriptor that was read. */
struct checkpoint_file {
    char *path; /* as it was opened */
    dev_t device;
    ino_t inode;
    uint64_t bytes;
    int64_t mtime_ns;
    uint64_t data_offset; /* where the tensors' bytes begin: everything before is header */
};

struct checkpoint {
    enum checkpoint_format format;
    struct checkpoint_file *files;
    size_t file_count;
    struct tensor *tensors; /* in the order of the header */
    size_t tensor_count;
    size_t storage_count; /* as many as tensors where nothing is shared */
    uint64_t total_bytes; /* of all tensors; what several share is counted once */

    /* The rest belongs to checkpoint.c and checkpoint_build.c. */
    uint32_t *by_name;     /* tensor_count indexes, in strcmp() order of the names */
    uint32_t *by_location; /* located_count indexes of tensors with bytes: file, offset, order */
    size_t located_count;
    uint32_t *tied; /* tied_count indexes of tensors that share their storage: storage, order */
    size_t tied_count;
    bool has_views;                   /* some ranges overlap without being the same */
    struct checkpoint_entry *entries; /* metadata_count of them */
    size_t metadata_count;
    struct checkpoint_chunk *arena; /* names, shapes, strides, metadata */
};

/* Say what a file is from its first bytes. The file's name is not asked.
 *
 * head        the first head_bytes of the file, CHECKPOINT_HEAD_BYTES of them where it has so many
 * file_bytes  the size of the whole file
 * returns     the format whose reader may be tried; it may still refuse the file. Cheap enough to
 *             ask about every file that a program maps
 */
enum checkpoint_format checkpoint_identify(const void *head, size_t head_bytes,
                                           uint64_t file_bytes);

/* The word for a format: "safetensors"; "unknown" for a file of none. */
const char *checkpoint_format_name(enum checkpoint_format format);

/* Read the table of tensors of a checkpoint. Only headers are read, never the tensors' bytes.
 *
 * path     a checkpoint file; an *.index.json; a folder with one of either, where a model in parts
 *          counts as one file
 * out      set on success only
 * error    filled on failure: one line
 * returns  0; -EINVAL where the content is refused; -ENOMEM; else what the file system said
 * owner    the caller frees *out with checkpoint_close()
 */
int checkpoint_open(const char *path, struct checkpoint **out, struct input_error *error);

/* The same for a file that is open already: a program's own descriptor, or one of a deleted file.
 *
 * fd       readable; neither moved (pread) nor closed
 * path     what the file is called in errors and in checkpoint.files
 */
int checkpoint_open_fd(int fd, const char *path, struct checkpoint **out,
                       struct input_error *error);

/* Free a checkpoint. NULL is allowed. */
void checkpoint_close(struct checkpoint *checkpoint);

/* Find a tensor by its whole name.
 *
 * returns  its index, or CHECKPOINT_NONE; takes O(log n)
 */
size_t checkpoint_find_name(const struct checkpoint *checkpoint, const char *name);

/* What a checkpoint says of itself: "general.architecture" of a GGUF file, for example.
 *
 * key      as the file has it
 * returns  the value as text: a string as it is, an integer in decimal digits, "true" or "false".
 * It lives as long as the checkpoint. NULL where the key is absent, and for what no decision needs:
 * arrays, fractions and strings of more than CHECKPOINT_METADATA_MAX bytes
 */
const char *checkpoint_metadata(const struct checkpoint *checkpoint, const char *key);

/* Find the tensor that a byte of a file belongs to.
 *
 * file     index in checkpoint.files
 * offset   from the start of the file
 * returns  the index of a tensor with offset in [tensor.offset, tensor.offset + tensor.bytes), the
 *          first in the header's order of those with the same range; CHECKPOINT_NONE for a byte of
 *          a header or of padding. Takes O(log n), O(n) only where tensors are views into others
 */
size_t checkpoint_find_offset(const struct checkpoint *checkpoint, size_t file, uint64_t offset);

/* The tensors of one file that have bytes, in the order of their offsets.
 *
 * rank     0, 1, ... in the whole checkpoint: file after file
 * returns  the index of a tensor, or CHECKPOINT_NONE past the last
 */
size_t checkpoint_by_location(const struct checkpoint *checkpoint, size_t rank);

/* Find a file of the checkpoint by what the kernel calls it (stat, /proc/self/maps).
 *
 * returns  its index in checkpoint.files, or CHECKPOINT_NONE
 */
size_t checkpoint_find_file(const struct checkpoint *checkpoint, dev_t device, ino_t inode);

/* Is this still the file that was read?
 *
 * status   of the file now, from fstat() or stat()
 * returns  0, or -ESTALE where device, inode, size or time of last change differ
 */
int checkpoint_file_compare(const struct checkpoint_file *file, const struct stat *status);

/* What a tensor takes as a dense copy: all its elements, each once, in row-major order. */
uint64_t tensor_dense_bytes(const struct tensor *tensor);

/* Walk over the groups of tied tensors: those with the same storage. These are the same bytes of
 * the same file, ranges that overlap there, and whatever else a format says is one storage: also
 * views that have no byte in common.
 *
 * cursor   0 before the first call; belongs to the walk
 * members  the group's tensor indexes, in the header's order; valid as long as the checkpoint. The
 *          groups come in the order of their first members
 * returns  how many members, at least 2; 0 when there is no further group
 */
size_t checkpoint_next_tied(const struct checkpoint *checkpoint, size_t *cursor,
                            const uint32_t **members);

#endif
