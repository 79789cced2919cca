/* stats.h - the counters of this process, in a file that outlives it.
 *
 * Everything here is safe from any thread, takes no lock on the launch path and never fails its
 * caller: without shared memory the counters live in private memory and only the file is missing.
 */
#ifndef BERTH_STATS_H
#define BERTH_STATS_H

#include "cuda_abi.h"
#include "stats_file.h"

/* Set by `berth run` for the program that it launches; a child of that program inherits both, and
 * knows by the pid that it is not the one whose statistics are asked for. */
#define STATS_LAUNCHER_VARIABLE "BERTH_LAUNCHER_PID"
#define STATS_PID_VARIABLE      "BERTH_STATS_PID"

/* The counters. Never NULL; another address after stats_open(), so do not keep it.
 *
 * locks    none
 */
struct stats_header *stats(void);

/* Create the file (name: berth-<uid>-<pid>, in /dev/shm, mode 0600) and count there from now on.
 * What was counted before is taken along. A second call does nothing, but for a fork's child after
 * stats_detach().
 *
 * driver_text  "libcuda.so.1 13000"; copied
 * backend      "um", "off"; copied
 * export_path  from BERTH_STATS: where JSON is left at an orderly end when no launcher does it, and
 *              after any other by the next berth; NULL or "" for none. Copied. A relative one
 *              counts from the current folder
 *
 * locks        takes the statistics' own
 */
void stats_open(const char *driver_text, const char *backend, const char *export_path);

/* In the child of a fork: the parent's file is no longer ours. The counters and records stay
 * where they are, private and zero, so that pointers to them stay good.
 *
 * locks    none; resets the statistics' own, which another thread of the parent may have held
 */
void stats_detach(void);

/* At an orderly end: leaves the JSON if that is this process's task, and removes the file unless a
 * launcher waits to read it. Counters may be bumped afterwards; nobody will see them.
 *
 * locks    takes the statistics' own
 */
void stats_close(void);

/* Count a driver call of our own that was refused, where the failure goes no further. That work is
 * not done yet, that there is no context, and a call before cuInit or at the end are no failures.
 *
 * returns  the call's result
 * locks    none
 */
CUresult stats_note(CUresult result);

#define stats_add(counter, n)                                                                      \
    atomic_fetch_add_explicit(&stats()->counter, (uint64_t)(n), memory_order_relaxed)
#define stats_sub(counter, n)                                                                      \
    atomic_fetch_sub_explicit(&stats()->counter, (uint64_t)(n), memory_order_relaxed)
#define stats_set(counter, n)                                                                      \
    atomic_store_explicit(&stats()->counter, (uint64_t)(n), memory_order_relaxed)

/* Raise a peak to at least value. */
void stats_peak(_Atomic uint64_t *peak, uint64_t value);

/* The calling thread's shard. Threads get theirs in turn.
 *
 * locks    none
 */
struct stats_shard *stats_shard(void);

/* Count a driver entry point that no table of ours knows. When the list is full the rest is counted
 * together, as "(others)".
 *
 * locks    takes the statistics' own
 */
void stats_unknown(const char *name);

/* A new record for an object.
 *
 * name     copied
 * dtype    "" where it is not known; copied
 * shape    rank extents, of which STATS_RANK_MAX are kept; may be NULL where rank is 0
 * bytes    of the object
 * returns  a record in tier host, nothing loaded yet; NULL when the file is full or there is none:
 *          the caller goes on without
 * owner    the caller ends it with stats_record_release()
 * locks    takes the statistics' own
 */
struct stats_record *stats_record_create(const char *name, enum stats_evidence evidence,
                                         const char *dtype, unsigned rank, const uint64_t *shape,
                                         uint64_t bytes, unsigned device);

/* End a record; NULL is allowed. A named one stays to be seen, as it was and marked as freed, until
 * its parameter comes again. */
void stats_record_release(struct stats_record *record);

/* Are launches looked at for the record's parameter? What was counted of it before stays. */
void stats_record_count_touches(struct stats_record *record, int are_counted);

/* A launch touches the record's parameter, perhaps for the first time: that is told at once. Its
 * count of launches is raised by whoever counts them. Not for one whose touches are not counted.
 *
 * locks    none
 */
void stats_record_first_touch(struct stats_record *record);

/* A record's object has become part of another's: its counts go there, and it is listed no more.
 *
 * into     NULL is allowed, then the counts are lost
 * record   NULL is allowed; ended
 * locks    takes the statistics' own
 */
void stats_record_merge(struct stats_record *into, struct stats_record *record);

#endif
