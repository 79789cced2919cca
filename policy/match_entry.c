#include "match_entry.h"
#include <errno.h>

struct file_reader {
    const struct match_reader *reader;
    const struct checkpoint *checkpoint;
    size_t file;
};

static int read_file(void *arg, uint64_t offset, void *out, size_t bytes)
{
    const struct file_reader *r = arg;

    return r->reader->read(r->reader->arg, r->checkpoint, r->file, offset, out, bytes);
}

/* Is [offset, offset + bytes) in the entry's file? */
static int is_in_file(const struct match_entry *e, uint64_t offset, uint64_t bytes)
{
    uint64_t file_bytes = e->checkpoint->files[e->tensor->file].bytes;

    return !(e->flags & MATCH_ENTRY_UNREADABLE) && offset <= file_bytes &&
           bytes <= file_bytes - offset;
}

int match_entry_read(const struct match_reader *reader, const struct match_entry *e,
                     uint64_t offset, uint64_t bytes, struct fingerprint *out)
{
    struct file_reader file = {reader, e->checkpoint, e->tensor->file};

    return is_in_file(e, offset, bytes) ? fingerprint_read(read_file, &file, offset, bytes, out)
                                        : -EINVAL;
}

int match_entry_read_head(const struct match_reader *reader, const struct match_entry *e,
                          uint64_t offset, uint64_t bytes, struct fingerprint *out)
{
    struct file_reader file = {reader, e->checkpoint, e->tensor->file};

    return is_in_file(e, offset, bytes)
               ? fingerprint_read_head(read_file, &file, offset, bytes, out)
               : -EINVAL;
}

int match_entry_read_rest(const struct match_reader *reader, const struct match_entry *e,
                          uint64_t offset, struct fingerprint *print)
{
    struct file_reader file = {reader, e->checkpoint, e->tensor->file};

    return is_in_file(e, offset, print->bytes)
               ? fingerprint_read_rest(read_file, &file, offset, print)
               : -EINVAL;
}

int match_entry_read_on(const struct match_reader *reader, const struct match_entry *e,
                        uint64_t offset, struct fingerprint *print, struct fingerprint *next)
{
    struct file_reader file = {reader, e->checkpoint, e->tensor->file};
    int goes_on = is_in_file(e, offset, print->bytes + FINGERPRINT_HEAD_BYTES);

    next->bytes = 0;
    return is_in_file(e, offset, print->bytes)
               ? fingerprint_read_on(read_file, &file, offset, print, goes_on ? next : NULL)
               : -EINVAL;
}

int match_entry_begin(const struct match_reader *reader, struct match_entry *e)
{
    const struct tensor *t = e->tensor;

    if (e->flags & (MATCH_ENTRY_UNREADABLE | MATCH_ENTRY_BEGUN))
        return !(e->flags & MATCH_ENTRY_UNREADABLE);
    if (t->bytes <= FINGERPRINT_WHOLE_BYTES) {
        if (match_entry_read(reader, e, t->offset, t->bytes, &e->print))
            return 0;
        e->flags |= MATCH_ENTRY_PRINT_READ;
    } else if (match_entry_read_head(reader, e, t->offset, t->bytes, &e->print)) {
        return 0;
    }
    e->flags |= MATCH_ENTRY_BEGUN;
    return 1;
}

int match_entry_run_head(const struct match_reader *reader, struct match_entry *e, uint64_t *head)
{
    struct fingerprint read;

    if (e->tensor->bytes >= FINGERPRINT_HEAD_BYTES) {
        if (!match_entry_begin(reader, e))
            return 0;
        *head = e->print.head;
        return 1;
    }
    if (!(e->flags & MATCH_ENTRY_HEAD_READ)) {
        if (match_entry_read_head(reader, e, e->tensor->offset, FINGERPRINT_HEAD_BYTES, &read))
            return 0;
        e->head = read.head;
        e->flags |= MATCH_ENTRY_HEAD_READ;
    }
    *head = e->head;
    return !(e->flags & MATCH_ENTRY_UNREADABLE);
}

const struct fingerprint *match_entry_print(const struct match_reader *reader,
                                            struct match_entry *e)
{
    if (!match_entry_begin(reader, e))
        return NULL;
    if (!(e->flags & MATCH_ENTRY_PRINT_READ) &&
        match_entry_read_rest(reader, e, e->tensor->offset, &e->print))
        return NULL;
    e->flags |= MATCH_ENTRY_PRINT_READ;
    return &e->print;
}
