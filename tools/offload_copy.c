/* offload_copy.c - the bytes of a checkpoint's tensors on their way into files. */
#include "offload_copy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#define CHUNK_BYTES  (UINT64_C(8) << 20) /* in one call of the kernel, or before the disk begins */
#define BUFFER_BYTES (UINT64_C(128) << 10) /* stays in the processor's cache */

/* From this size on a file's room is reserved, and the disk is told to begin with it before the
 * end. Both take longer than they save for what is small. */
#define LARGE_BYTES (UINT64_C(256) << 10)

int copy_fail(struct copy_error *error, int code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(error->text, sizeof(error->text), format, args);
    va_end(args);
    return code;
}

/* What a user can do about an error. */
static const char *advice(int number)
{
    switch (number) {
    case ENOSPC:
    case EDQUOT:
        return "make room there, or name another disk";
    case EACCES:
    case EPERM:
    case EROFS:
        return "name a place that you may write to";
    case EMFILE:
    case ENFILE:
        return "raise the limit of open files (ulimit -n)";
    case EIO:
        return "the disk has a fault";
    case EFBIG:
        return "raise the limit of a file's size (ulimit -f), or name another disk";
    default:
        return "see what is there";
    }
}

int copy_fail_system(struct copy_error *error, int number, const char *format, ...)
{
    char what[COPY_ERROR_BYTES];
    va_list args;

    va_start(args, format);
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);
    return copy_fail(error, -number, "%.1800s: %s; %s", what, strerrordesc_np(number),
                     advice(number));
}

/* Does syncfs() tell when something could not be written?
 *
 * source   syncfs(2): since Linux 5.8
 */
static int syncfs_tells(void)
{
    struct utsname system;
    int major, minor;

    return uname(&system) == 0 && sscanf(system.release, "%d.%d", &major, &minor) == 2 &&
           major * 1000 + minor >= 5008;
}

static void close_unflushed(struct copy *copy)
{
    size_t i;

    for (i = 0; i < copy->unflushed_count && i < COPY_UNFLUSHED; i++)
        close(copy->unflushed[i]);
    copy->unflushed_count = 0;
}

void copy_begin(struct copy *copy, const struct checkpoint *checkpoint, struct copy_error *error)
{
    memset(copy, 0, sizeof(*copy));
    copy->checkpoint = checkpoint;
    copy->error = error;
    copy->source = -1;
    copy->in_kernel = 1;
    copy->syncfs_tells = syncfs_tells();
}

void copy_end(struct copy *copy)
{
    if (copy->source >= 0)
        close(copy->source);
    close_unflushed(copy);
    free(copy->buffer);
}

static int fail_stopped(struct copy *copy)
{
    return copy_fail(copy->error, -EINTR, "ended by a signal; nothing was changed");
}

static int moved(struct copy *copy, uint64_t bytes)
{
    copy->done_bytes += bytes;
    if (copy->progress)
        copy->progress(copy);
    return copy->stop && *copy->stop ? fail_stopped(copy) : 0;
}

int copy_write(struct copy *copy, int to, uint64_t at, const void *bytes, size_t count,
               const char *name)
{
    size_t done = 0;

    while (done < count) {
        ssize_t wrote = pwrite(to, (const char *)bytes + done, count - done, (off_t)(at + done));

        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            return copy_fail_system(copy->error, wrote < 0 ? errno : EIO, "%s: cannot be written",
                                    name);
        done += (size_t)wrote;
    }
    return 0;
}

/* Take room at once for what will be written: the file system has less to decide with each piece,
 * and a full disk shows before the bytes are copied.
 */
int copy_reserve(struct copy *copy, int to, uint64_t bytes, const char *name)
{
    if (bytes < LARGE_BYTES)
        return 0;
    while (fallocate(to, 0, 0, (off_t)bytes) < 0) {
        if (errno == EINTR && !(copy->stop && *copy->stop))
            continue;
        if (errno == EINTR)
            return fail_stopped(copy);
        if (errno == EOPNOTSUPP || errno == ENOSYS || errno == EPERM || errno == EINVAL)
            return 0;
        return copy_fail_system(copy->error, errno, "%s: cannot be written", name);
    }
    return 0;
}

/* Tell the disk to begin with what was copied, so that it works while the next bytes are copied.
 * What fails here fails again, or is told, when all is flushed.
 *
 * at       where the bytes lie that were copied
 * begun    of these; grows up to done
 * last     it goes no further
 */
static void begin_writing(int to, uint64_t at, uint64_t *begun, uint64_t done, int last)
{
    uint64_t bytes = done - *begun;

    if (bytes < (last ? LARGE_BYTES : CHUNK_BYTES))
        return;
    sync_file_range(to, (off_t)(at + *begun), (off_t)bytes, SYNC_FILE_RANGE_WRITE);
    *begun = done;
}

/* The source --------------------------------------------------------------------------------------
 */

static int check_source(struct copy *copy)
{
    const struct checkpoint_file *file = &copy->checkpoint->files[copy->source_file];
    struct stat status;

    if (fstat(copy->source, &status) == 0 && checkpoint_file_compare(file, &status) == 0)
        return 0;
    return copy_fail(copy->error, -ESTALE,
                     "%s: changed since its header was read; try again when nobody writes to it",
                     file->path);
}

static int open_source(struct copy *copy, size_t file)
{
    const char *path = copy->checkpoint->files[file].path;
    int res;

    if (copy->source >= 0 && copy->source_file == file)
        return 0;
    if (copy->source >= 0) {
        res = check_source(copy);
        close(copy->source);
        copy->source = -1;
        if (res)
            return res;
    }
    copy->source = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (copy->source < 0)
        return copy_fail_system(copy->error, errno, "%s: cannot be read", path);
    copy->source_file = file;
    posix_fadvise(copy->source, 0, 0, POSIX_FADV_SEQUENTIAL);
    return check_source(copy);
}

static int refuse_short(struct copy *copy)
{
    return copy_fail(copy->error, -ESTALE, "%s: ended before the bytes that its header names",
                     copy->checkpoint->files[copy->source_file].path);
}

/* Ways to copy ------------------------------------------------------------------------------------
 */

/* Can the other way do what the kernel refused? It cannot mend a full or a broken disk. */
static int is_for_fallback(int number)
{
    return number == EXDEV || number == EINVAL || number == EOPNOTSUPP || number == ENOSYS ||
           number == EPERM || number == EBADF || number == ETXTBSY;
}

/* Is the kernel quicker? It hands on page by page, and shares blocks where the file system can.
 * Where pages do not line up it can share none, and splits each page in two: half as fast as a
 * buffer.
 */
static int is_for_kernel(uint64_t from, uint64_t at)
{
    return (from - at) % (uint64_t)sysconf(_SC_PAGESIZE) == 0;
}

/* Copy in the kernel, as far as it goes.
 *
 * done     grows by what was copied
 * returns  0 where all was copied or the rest is for the fallback
 */
static int copy_in_kernel(struct copy *copy, uint64_t from, int to, uint64_t at, uint64_t bytes,
                          uint64_t *done, const char *name)
{
    uint64_t begun = *done;

    while (copy->in_kernel && *done < bytes) {
        off64_t in = (off64_t)(from + *done), out = (off64_t)(at + *done);
        uint64_t chunk = bytes - *done < CHUNK_BYTES ? bytes - *done : CHUNK_BYTES;
        ssize_t got = copy_file_range(copy->source, &in, to, &out, chunk, 0);
        int res;

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0 && !is_for_fallback(errno))
            return copy_fail_system(copy->error, errno, "%s: cannot be written", name);
        if (got <= 0) { /* some file systems say 0 for what they cannot; an end shows below */
            copy->in_kernel = got == 0;
            return 0;
        }
        *done += (uint64_t)got;
        begin_writing(to, at, &begun, *done, *done == bytes);
        res = moved(copy, (uint64_t)got);
        if (res)
            return res;
    }
    return 0;
}

static int get_buffer(struct copy *copy)
{
    if (!copy->buffer)
        copy->buffer = malloc(BUFFER_BYTES);
    return copy->buffer ? 0 : copy_fail(copy->error, -ENOMEM, "out of memory; close programs");
}

static int copy_range(struct copy *copy, uint64_t from, int to, uint64_t at, uint64_t bytes,
                      const char *name)
{
    uint64_t done = 0, begun;
    int res = 0;

    if (is_for_kernel(from, at))
        res = copy_in_kernel(copy, from, to, at, bytes, &done, name);
    begun = done;
    if (res == 0 && done < bytes)
        res = get_buffer(copy);
    while (res == 0 && done < bytes) {
        uint64_t chunk = bytes - done < BUFFER_BYTES ? bytes - done : BUFFER_BYTES;
        ssize_t got = pread(copy->source, copy->buffer, chunk, (off_t)(from + done));

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return copy_fail_system(copy->error, errno, "%s: cannot be read",
                                    copy->checkpoint->files[copy->source_file].path);
        if (got == 0)
            return refuse_short(copy);
        res = copy_write(copy, to, at + done, copy->buffer, (size_t)got, name);
        done += (uint64_t)got;
        if (res == 0) {
            begin_writing(to, at, &begun, done, done == bytes);
            res = moved(copy, (uint64_t)got);
        }
    }
    return res;
}

/* A tensor with strides, walked in row-major order: runs of bytes that lie together. */
struct walk {
    const struct tensor *tensor;
    uint64_t element_bytes, run_bytes;
    uint32_t rank;   /* dimensions outside of a run */
    uint64_t *at;    /* rank indexes */
    uint64_t offset; /* of the run, from the tensor's first byte */
};

static int begin_walk(struct walk *walk, const struct tensor *tensor)
{
    uint64_t run = 1;

    walk->tensor = tensor;
    walk->element_bytes = dtype_block_bits((enum dtype)tensor->dtype) / 8;
    walk->rank = tensor->rank;
    walk->offset = 0;
    while (walk->rank &&
           (tensor->strides[walk->rank - 1] == run || tensor->shape[walk->rank - 1] == 1))
        run *= tensor->shape[--walk->rank];
    walk->run_bytes = run * walk->element_bytes;
    walk->at = calloc(walk->rank ? walk->rank : 1, sizeof(*walk->at));
    return walk->at ? 0 : -ENOMEM;
}

/* Go to the next run; past the last one to the first again. */
static void next_run(struct walk *walk)
{
    const struct tensor *tensor = walk->tensor;

    for (uint32_t d = walk->rank; d-- > 0;) {
        uint64_t step = tensor->strides[d] * walk->element_bytes;

        walk->offset += step;
        if (++walk->at[d] < tensor->shape[d])
            return;
        walk->offset -= step * tensor->shape[d];
        walk->at[d] = 0;
    }
}

/* Fill a buffer with what comes next; a run may begin in one buffer and end in another.
 *
 * into_run  bytes of the run that stand in the buffer before
 */
static void gather(struct walk *walk, const char *first, char *to, uint64_t bytes,
                   uint64_t *into_run)
{
    while (bytes) {
        uint64_t part = walk->run_bytes - *into_run;

        if (part > bytes)
            part = bytes;
        memcpy(to, first + walk->offset + *into_run, part);
        to += part;
        bytes -= part;
        *into_run += part;
        if (*into_run == walk->run_bytes) {
            *into_run = 0;
            next_run(walk);
        }
    }
}

static int write_view(struct copy *copy, const struct tensor *tensor, const char *first, int to,
                      uint64_t at, const char *name)
{
    uint64_t bytes = tensor_dense_bytes(tensor), done = 0, begun = 0, into_run = 0;
    struct walk walk;
    int res;

    if (begin_walk(&walk, tensor))
        return copy_fail(copy->error, -ENOMEM, "out of memory; close programs");
    for (res = get_buffer(copy); res == 0 && done < bytes;) {
        uint64_t chunk = bytes - done < BUFFER_BYTES ? bytes - done : BUFFER_BYTES;

        gather(&walk, first, copy->buffer, chunk, &into_run);
        res = copy_write(copy, to, at + done, copy->buffer, chunk, name);
        done += chunk;
        if (res == 0) {
            begin_writing(to, at, &begun, done, done == bytes);
            res = moved(copy, chunk);
        }
    }
    free(walk.at);
    return res;
}

static int copy_view(struct copy *copy, const struct tensor *tensor, int to, uint64_t at,
                     const char *name)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), skip = tensor->offset % page;
    size_t bytes = tensor->bytes + skip;
    char *map;
    int res;

    map = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE, copy->source, (off_t)(tensor->offset - skip));
    if (map == MAP_FAILED)
        return copy_fail_system(copy->error, errno, "%s: cannot be mapped",
                                copy->checkpoint->files[copy->source_file].path);
    res = write_view(copy, tensor, map + skip, to, at, name);
    munmap(map, bytes);
    return res;
}

int copy_tensor(struct copy *copy, const struct tensor *tensor, int to, uint64_t at,
                const char *name)
{
    int res = open_source(copy, tensor->file);

    if (res)
        return res;
    return tensor->strides ? copy_view(copy, tensor, to, at, name)
                           : copy_range(copy, tensor->offset, to, at, tensor->bytes, name);
}

/* The disk ----------------------------------------------------------------------------------------
 */

/* A flush of each of many files would wait for the disk as many times. */
void copy_finish_file(struct copy *copy, int file)
{
    size_t index = copy->unflushed_count++;

    if (index < COPY_UNFLUSHED) {
        copy->unflushed[index] = file;
        return;
    }
    if (!copy->syncfs_tells && fsync(file) < 0 && !copy->flush_errno)
        copy->flush_errno = errno;
    close(file);
}

int copy_flush(struct copy *copy, int folder)
{
    int number = copy->flush_errno;
    size_t i;

    if (copy->source >= 0) {
        int res = check_source(copy);

        if (res)
            return res;
    }
    if (copy->unflushed_count > COPY_UNFLUSHED && copy->syncfs_tells) {
        if (syncfs(folder) < 0)
            number = errno;
    } else {
        for (i = 0; i < copy->unflushed_count && i < COPY_UNFLUSHED && !number; i++) {
            if (fsync(copy->unflushed[i]) < 0)
                number = errno;
        }
    }
    close_unflushed(copy);
    return number ? copy_fail_system(copy->error, number, "what was copied cannot be flushed") : 0;
}
