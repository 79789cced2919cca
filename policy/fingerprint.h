/* fingerprint.h - a few numbers that tell a run of bytes from others.
 *
 * Two runs with different fingerprints differ. Equal fingerprints mean that the runs have one
 * length and agree wherever they were looked at: everywhere in up to FINGERPRINT_WHOLE_BYTES, else
 * in their first line, the head, their last one, and lines at fixed places between, one for each 4
 * MiB at most. Memory and a file are looked at in the same places, so that a fingerprint can be
 * held against either, also when the bytes that it was taken of are gone.
 */
#ifndef BERTH_POLICY_FINGERPRINT_H
#define BERTH_POLICY_FINGERPRINT_H

#include <stddef.h>
#include <stdint.h>

#define FINGERPRINT_WHOLE_BYTES 4096u /* what is no longer is looked at as a whole */
#define FINGERPRINT_HEAD_BYTES  128u  /* a line */
#define FINGERPRINT_LINES_MAX   16u

struct fingerprint {
    uint64_t bytes;
    uint64_t head;   /* of the first line, or of all where there is less */
    uint64_t word;   /* the first 8 bytes; 0 where there are less */
    uint64_t sample; /* of all that is looked at */
    /* Less than 16 bytes, or one 8-byte word again and again, are no evidence by themselves. */
    int weak, head_weak;
};

/* Read from a file.
 *
 * returns  0, or -errno where not all bytes could be read
 */
typedef int fingerprint_read_fn(void *arg, uint64_t offset, void *out, size_t bytes);

/* Look at no more than the head of a run in memory: all but sample and weak are set.
 *
 * bytes    of the run, of which the first FINGERPRINT_HEAD_BYTES are read
 */
void fingerprint_begin(const void *run, uint64_t bytes, struct fingerprint *out);

/* Look at the rest of what was begun: FINGERPRINT_WHOLE_BYTES at most are read, whatever its
 * length. */
void fingerprint_finish(const void *run, struct fingerprint *print);

/* The same of a run in a file.
 *
 * offset   from the start of the file
 * returns  0; what read said, and then the fingerprint is not to be used
 */
int fingerprint_read_head(fingerprint_read_fn *read, void *arg, uint64_t offset, uint64_t bytes,
                          struct fingerprint *out);
int fingerprint_read_rest(fingerprint_read_fn *read, void *arg, uint64_t offset,
                          struct fingerprint *print);

/* The same, and the head of what follows the run, which takes no further read. For a run that is
 * longer than FINGERPRINT_WHOLE_BYTES, in a file that goes on for FINGERPRINT_HEAD_BYTES. */
int fingerprint_read_on(fingerprint_read_fn *read, void *arg, uint64_t offset,
                        struct fingerprint *print, struct fingerprint *next);

/* Both at once, with one read where the run is looked at as a whole. */
void fingerprint_take(const void *run, uint64_t bytes, struct fingerprint *out);
int fingerprint_read(fingerprint_read_fn *read, void *arg, uint64_t offset, uint64_t bytes,
                     struct fingerprint *out);

/* Were two runs equal wherever they were looked at? */
int fingerprint_equal(const struct fingerprint *a, const struct fingerprint *b);

#endif
