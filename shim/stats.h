/* stats.h - the counters of this process, in a file that outlives it.
 *
 * Everything here is safe from any thread, takes no lock on the launch path and never fails its
 * caller: without shared memory the counters live in private memory and only the file is missing.
 */
#ifndef BERTH_STATS_H
#define BERTH_STATS_H

#include "stats_file.h"

struct stats_header *stats(void); /* never NULL */

/* Create the file (name: berth-<uid>-<pid>, in /dev/shm, mode 0600). Called once by entry; a second
 * call does nothing. export_path, from BERTH_STATS, is where JSON is left at an orderly end when no
 * launcher does it; NULL for none. */
void stats_open(const char *driver_text, const char *backend, const char *export_path);
/* In the child of a fork: the parent's file is no longer ours. */
void stats_detach(void);
/* At an orderly end: writes the JSON if it is this process's task, removes the file. */
void stats_close(void);

#define stats_add(counter, n)                                                                      \
    atomic_fetch_add_explicit(&stats()->counter, (uint64_t)(n), memory_order_relaxed)
#define stats_sub(counter, n)                                                                      \
    atomic_fetch_sub_explicit(&stats()->counter, (uint64_t)(n), memory_order_relaxed)
#define stats_set(counter, n)                                                                      \
    atomic_store_explicit(&stats()->counter, (uint64_t)(n), memory_order_relaxed)

/* Raise a peak to at least value. */
void stats_peak(_Atomic uint64_t *peak, uint64_t value);

/* The calling thread's shard. */
struct stats_shard *stats_shard(void);

/* Count a driver entry point that no table of ours knows. */
void stats_unknown(const char *name);

/* A new record for an object; name is copied. returns NULL when the file is full: the caller goes on
 * without. owner: stats_record_release() */
struct stats_record *stats_record_create(const char *name, enum stats_evidence evidence,
                                         const char *dtype, unsigned rank, const uint64_t *shape,
                                         uint64_t bytes, unsigned device);
void stats_record_release(struct stats_record *record);

#endif
