/* match_entry.h - what match.c knows of one tensor, and how it is read when it is needed.
 *
 * What was read once is kept: an entry is read at most twice, its head and then the rest of its
 * fingerprint.
 */
#ifndef BERTH_POLICY_MATCH_ENTRY_H
#define BERTH_POLICY_MATCH_ENTRY_H

#include "match.h"

struct match_reader {
    match_read_fn *read;
    void *arg;
};

enum match_entry_flags {
    MATCH_ENTRY_HEAD_READ = 1,
    MATCH_ENTRY_BEGUN = 2,
    MATCH_ENTRY_PRINT_READ = 4,
    MATCH_ENTRY_UNREADABLE = 8, /* of a checkpoint that was dropped */
};

struct match_entry {
    const struct checkpoint *checkpoint;
    const struct tensor *tensor;
    struct fingerprint print; /* of the tensor. BEGUN: its head; PRINT_READ: all of it */
    uint64_t head;            /* HEAD_READ: of the file's bytes from where the tensor begins */
    uint64_t bound_devices;   /* a bit for each */
    unsigned flags;           /* MATCH_ENTRY_* */
};

/* What stands in the entry's file at an offset. None of it is kept in the entry.
 *
 * offset   from the start of the file
 * returns  0, or -errno: beyond the file, or what read said
 */
int match_entry_read(const struct match_reader *reader, const struct match_entry *entry,
                     uint64_t offset, uint64_t bytes, struct fingerprint *out);
/* The head of it alone, and the rest of what has its head. */
int match_entry_read_head(const struct match_reader *reader, const struct match_entry *entry,
                          uint64_t offset, uint64_t bytes, struct fingerprint *out);
int match_entry_read_rest(const struct match_reader *reader, const struct match_entry *entry,
                          uint64_t offset, struct fingerprint *print);
/* The same with the head of what follows, for a long run (fingerprint_read_on()).
 *
 * next     set where the file goes on: next->bytes is 0 where it does not
 */
int match_entry_read_on(const struct match_reader *reader, const struct match_entry *entry,
                        uint64_t offset, struct fingerprint *print, struct fingerprint *next);

/* Have entry->print, as far as its head: all of it where one read does that as well.
 *
 * returns  1, 0 where it cannot be read
 */
int match_entry_begin(const struct match_reader *reader, struct match_entry *entry);

/* What the file holds from where the tensor begins, beyond its end where it is a short one.
 *
 * returns  1, 0 where the file holds less than a head
 */
int match_entry_run_head(const struct match_reader *reader, struct match_entry *entry,
                         uint64_t *head);

/* The tensor's fingerprint.
 *
 * returns  NULL where it cannot be read
 */
const struct fingerprint *match_entry_print(const struct match_reader *reader,
                                            struct match_entry *entry);

#endif
