/* offload_copy.h - the bytes of a checkpoint's tensors on their way into files.
 *
 * Bytes are copied in the kernel where it can and is quicker, and written densely whatever strides
 * a tensor has. A source that is not the file any more whose header was read is refused, before and
 * after its bytes were copied. What was written is on the disk only after copy_flush().
 */
#ifndef BERTH_TOOLS_OFFLOAD_COPY_H
#define BERTH_TOOLS_OFFLOAD_COPY_H

#include "policy/checkpoint.h"
#include <signal.h>

#define COPY_ERROR_BYTES 2048
#define COPY_UNFLUSHED   8 /* up to so many files are flushed one by one */

/* Why work ended: one line that says what could not be done, and what to do. */
struct copy_error {
    char text[COPY_ERROR_BYTES];
};

/* Set the line. returns code */
int copy_fail(struct copy_error *error, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same for a call that failed: "<what>: No space left on device; make room".
 *
 * number   errno
 * returns  -number
 */
int copy_fail_system(struct copy_error *error, int number, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

struct copy {
    const struct checkpoint *checkpoint;
    uint64_t done_bytes, total_bytes;
    void (*progress)(const struct copy *copy); /* called now and then; may be NULL */
    const volatile sig_atomic_t *stop;         /* not 0: a signal asks to end */
    struct copy_error *error;

    /* The rest belongs to offload_copy.c. */
    int source; /* -1, or the file source_file of the checkpoint */
    size_t source_file;
    char *buffer;
    int in_kernel; /* until the kernel says that it cannot */
    int unflushed[COPY_UNFLUSHED];
    size_t unflushed_count; /* all files; those of unflushed[] are open */
    int syncfs_tells;       /* of what could not be written */
    int flush_errno;
};

/* owner    the caller ends with copy_end() */
void copy_begin(struct copy *copy, const struct checkpoint *checkpoint, struct copy_error *error);
void copy_end(struct copy *copy);

/* Write bytes, all of them.
 *
 * returns  0; -errno and the error, which calls the file name
 */
int copy_write(struct copy *copy, int to, uint64_t at, const void *bytes, size_t count,
               const char *name);

/* Take room for a file of which all will be written, where its file system can and it is worth it.
 *
 * returns  0; -errno and the error, -ENOSPC where the disk has no room for it
 */
int copy_reserve(struct copy *copy, int to, uint64_t bytes, const char *name);

/* Write a tensor densely. The disk begins with it meanwhile.
 *
 * to       writable
 * at       where its bytes go
 * name     what the file is called in errors
 * returns  0; -ESTALE where the source has changed; -EINTR where a signal asked to end; else what
 *          the system said. The error is set
 */
int copy_tensor(struct copy *copy, const struct tensor *tensor, int to, uint64_t at,
                const char *name);

/* Hand over a file that is complete. */
void copy_finish_file(struct copy *copy, int file);

/* See that the last source is unchanged and that all files are on the disk. Many are flushed with
 * their file system, in one go.
 *
 * folder   that they are in, opened before the first was made
 */
int copy_flush(struct copy *copy, int folder);

#endif
