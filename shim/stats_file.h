/* stats_file.h - the counters file that a running program shares with `berth stats`.
 *
 * One file in shared memory for each process, readable at any moment: also while the program hangs,
 * and after it was killed. The shim is the only writer. A reader copies what it needs with pread()
 * and must not trust a single number in it before it has checked it against the file's length.
 *
 *     [ header | records: STATS_RECORDS_MAX, sparse | names: STATS_NAMES_BYTES, sparse ]
 *
 * Both tails are reserved in full and stay holes until they are used.
 */
#ifndef BERTH_STATS_FILE_H
#define BERTH_STATS_FILE_H

#include <limits.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define STATS_MAGIC       0x3153544154534842ull /* "BHSTATS1", little-endian */
#define STATS_LAYOUT      5u
#define STATS_DEVICES_MAX 64u /* as many as a policy has */
#define STATS_RECORDS_MAX (1u << 20)
#define STATS_NAMES_BYTES (256u << 20)
#define STATS_UNKNOWN_MAX 64u
#define STATS_SHARDS      16u
#define STATS_RANK_MAX    8u

#define STATS_NO_BUDGET UINT64_MAX /* a device whose memory is not limited */
#define STATS_NOT_TOLD  UINT64_MAX /* what is not known of a parameter */

/* Counters that the launch path bumps: one shard for each of a few threads, so that threads do not
 * share a cache line. A reader adds the shards up.
 *
 * launches.count = all kernel launches seen; resident = those that found everything in place;
 * waited = those that waited, on the host or by an event, for a load; sparse = those that found or
 * needed all but a large object, which they read little of and were left to read in place. The rest
 * went ahead with what was there and read in place: unknown = those of which nobody told while
 * extents came and went where their parameters lie; captured = those into a graph. oversized = of
 * all, those with an object that is larger than the room for it, and so is read in place.
 * stall = what launches waited on the host, most of it harmless: for earlier work to end and make
 * room. starved = of that, while the device had none of the program's work to run.
 */
#define STATS_LAUNCH_COUNTERS(X)                                                                   \
    X(launches)                                                                                    \
    X(launches_resident)                                                                           \
    X(launches_waited)                                                                             \
    X(launches_unknown)                                                                            \
    X(launches_captured)                                                                           \
    X(launches_sparse)                                                                             \
    X(launches_oversized)                                                                          \
    X(stall_ns)                                                                                    \
    X(starved_ns)                                                                                  \
    X(overhead_ns)

/* Counters of the slow paths. Bytes unless the name says otherwise; "now" values may go down. */
#define STATS_COUNTERS(X)                                                                          \
    X(weights_total_bytes)     /* now: uploaded objects in paged ranges */                         \
    X(weights_named_bytes)     /* now: of those, bound to a parameter */                           \
    X(weights_ambiguous_bytes) /* now: of those, what fits several parameters or says too little   \
                                */                                                                 \
    X(weights_vram_bytes)      /* now: of those, in VRAM */                                        \
    X(weights_peak_total_bytes)                                                                    \
    X(weights_peak_named_bytes)                                                                    \
    X(weights_peak_vram_bytes)                                                                     \
    X(weights_peak_ambiguous_bytes) /* as it was when allocations were freed */                    \
    X(resident_bytes)               /* now: VRAM that the program holds, paged and plain */        \
    X(peak_resident_bytes)                                                                         \
    X(plain_bytes) /* now: VRAM that the program holds outside paged ranges */                     \
    X(h2d_bytes)   /* moved by the pager */                                                        \
    X(h2d_count)                                                                                   \
    X(link_timed_bytes) /* of one of the fastest of the loads timed of late: with the next, */     \
    X(link_timed_ns)    /* the link's speed */                                                     \
    X(first_load_ns)    /* when, on CLOCK_MONOTONIC; 0 while nothing was loaded */                 \
    X(last_load_ns)                                                                                \
    X(d2h_bytes)                                                                                   \
    X(disk_read_bytes)                                                                             \
    X(dropped_bytes) /* given up without a copy */                                                 \
    X(written_back_bytes)                                                                          \
    X(upload_bytes) /* copied host to device by the program itself */                              \
    X(evictions)                                                                                   \
    X(steps)                                                                                       \
    X(launches_per_step) /* now; 0 while no step is learned */                                     \
    X(step_load_bytes)   /* now: what the step's plan loads in each step; 0 likewise */            \
    X(touched)           /* count: of first touches, see stats_record */                           \
    X(paging_ended)      /* count: devices on which trouble ended it */                            \
    X(driver_failures)   /* count: calls of ours that the driver refused */                        \
    X(refused)           /* count: allocations passed through because they could not be paged */

/* What is known of each device; STATS_NO_BUDGET where nothing is.
 *
 * budget   in force
 * asked    the budget that the user gave
 * needed   the budget that would have held all that the program had allocated when that was most
 * card     VRAM that there was for the program when it began, as far as is known by now
 */
#define STATS_DEVICE_VALUES(X)                                                                     \
    X(budget_bytes, "VRAM that weights may take")                                                  \
    X(asked_bytes, "VRAM that the user allowed")                                                   \
    X(needed_bytes, "VRAM that would have held all of the program's allocations")                  \
    X(card_bytes, "VRAM that there was for the program when it began")

/* How a parameter's name is known.
 *
 * NONE       anonymous
 * FILE       the source lay inside a mapping of the checkpoint
 * CONTENT    the bytes are the checkpoint's
 * FRAMEWORK  the framework said so
 */
#define STATS_EVIDENCES(X)                                                                         \
    X(NONE, none)                                                                                  \
    X(FILE, file)                                                                                  \
    X(CONTENT, content)                                                                            \
    X(FRAMEWORK, framework)

enum stats_evidence {
#define X(name, word) STATS_EVIDENCE_##name,
    STATS_EVIDENCES(X)
#undef X
        STATS_EVIDENCE_COUNT
};

/* Where the bytes are now. */
#define STATS_TIERS(X)                                                                             \
    X(VRAM, vram)                                                                                  \
    X(HOST, host)                                                                                  \
    X(DISK, disk)

enum stats_tier {
#define X(name, word) STATS_TIER_##name,
    STATS_TIERS(X)
#undef X
        STATS_TIER_COUNT
};

/* One parameter, or one anonymous object. The generation is odd while the record is live; it is
 * stored last (release) when the record is filled and raised again before it is used anew, so that
 * a reader who finds the same odd value before and after has read one parameter and not two. */
struct stats_record {
    _Atomic uint32_t generation;
    uint32_t name_offset; /* into the names */
    uint32_t name_bytes;
    uint32_t name_room; /* bytes reserved at name_offset, for the record's next name */
    uint32_t next_free; /* the writer's list of records to use again */
    uint8_t evidence;
    _Atomic uint8_t tier;
    uint8_t rank;
    uint8_t device;
    _Atomic uint8_t place; /* the policy's, less POLICY_NOWHERE: 0 where it says nothing */
    _Atomic uint8_t freed; /* 1 once the object is gone: the rest is as it was then */
    char dtype[16];        /* NUL-terminated; empty when not known */
    uint64_t shape[STATS_RANK_MAX];
    _Atomic uint64_t bytes;          /* of the object */
    _Atomic uint64_t resident_bytes; /* now */
    _Atomic uint64_t loads;
    _Atomic uint64_t evictions;
    _Atomic uint64_t h2d_bytes;
    _Atomic uint64_t stall_ns;
    _Atomic uint64_t touches;     /* STATS_NOT_TOLD where nobody counts them */
    _Atomic uint64_t first_touch; /* 1, 2, ... among all records; 0 where there was none */
};

struct stats_shard {
#define X(name) _Atomic uint64_t name;
    STATS_LAUNCH_COUNTERS(X)
#undef X
    char pad[128 - (10 * sizeof(uint64_t)) % 128];
};

struct stats_unknown {
    _Atomic uint32_t count; /* stored last (release) when the name is filled */
    char name[60];
};

struct stats_header {
    _Atomic uint64_t magic; /* stored last (release) */
    uint32_t layout;
    uint32_t header_bytes; /* sizeof(struct stats_header) of the writer */
    uint32_t record_bytes;
    int32_t pid;
    uint64_t start_ticks;       /* of the process, from /proc: tells it from a later one */
    uint64_t pid_namespace;     /* inode of /proc/self/ns/pid: where pid means something */
    uint64_t mount_namespace;   /* of /proc/self/ns/mnt: where export_path does */
    uint64_t opened_ns;         /* CLOCK_REALTIME, as the times of files are */
    int32_t launcher;           /* the parent that reads this file at the end; 0 for none */
    char export_path[PATH_MAX]; /* where JSON is to be left, as an absolute path; "" for nowhere */
    _Atomic uint32_t record_count; /* records ever used: the scan's bound */
    _Atomic uint32_t names_used;   /* bytes */
    _Atomic uint32_t ended;        /* 1 once the program left in an orderly way */
    _Atomic uint32_t step_learned;
    char program[256]; /* basename, NUL-terminated */
    char driver[256];  /* "libcuda.so.1 13000" */
    char backend[16];  /* "um", "off" */
#define X(name, help) _Atomic uint64_t name[STATS_DEVICES_MAX];
    STATS_DEVICE_VALUES(X)
#undef X
    _Atomic uint32_t device_count; /* of these */
    uint32_t earlier_count;        /* programs that counted in this process, before an exec */
#define X(name) _Atomic uint64_t name;
    STATS_COUNTERS(X)
#undef X
    struct stats_shard shard[STATS_SHARDS];
    struct stats_unknown unknown[STATS_UNKNOWN_MAX]; /* asked for, known to no table of ours */
};

#define STATS_RECORDS_OFFSET sizeof(struct stats_header)
#define STATS_NAMES_OFFSET   (STATS_RECORDS_OFFSET + STATS_RECORDS_MAX * sizeof(struct stats_record))
#define STATS_FILE_BYTES     (STATS_NAMES_OFFSET + STATS_NAMES_BYTES)

/* The folder of the files, and the room for one's whole path. */
#define STATS_FOLDER     "/dev/shm"
#define STATS_PATH_BYTES 64

/* The counters of one process at one moment: a reader's copy, or the writer's own memory. */
struct stats_view {
    const struct stats_header *header;
    const struct stats_record *records;
    const char *names;
    uint32_t record_count; /* at most what records holds, whatever the header says */
    uint32_t names_bytes;  /* at most what names holds */
    uid_t owner;           /* of the file; in a reader's copy */

    /* A reader's copy has the generations a second time, read after the records; NULL for the
     * writer's own memory, which nobody changes while its lock is held. */
    const uint32_t *generations;
    void *copy; /* what stats_file_release() frees */
};

/* Make the path of a process's file.
 *
 * path     STATS_PATH_BYTES long
 */
void stats_file_path(char path[STATS_PATH_BYTES], uid_t uid, pid_t pid);

/* Read a pid out of a file's name.
 *
 * name     without its folder
 * returns  the pid, or 0 where the name is not that of a file of this user
 */
pid_t stats_file_pid(const char *name, uid_t uid);

/* Copy a counters file and check it.
 *
 * path     any file
 * view     set on success only
 * returns  0; -ENOMSG where it is no counters file; -EPROTO where another version of berth wrote
 *          it; -EBADMSG where it is damaged; -ENOMEM; else what the file system said
 * owner    the caller frees the copy with stats_file_release()
 */
int stats_file_read(const char *path, struct stats_view *view);
void stats_file_release(struct stats_view *view);

/* When a process began.
 *
 * returns  clock ticks since boot, or 0 where there is no such process
 * source   proc(5), /proc/pid/stat, field 22
 */
uint64_t stats_process_start(pid_t pid);

/* The parent of a process, or 0 where there is no such process. */
pid_t stats_process_parent(pid_t pid);

/* A namespace of this process, or 0 where it cannot be told.
 *
 * kind     "pid" or "mnt"
 */
uint64_t stats_namespace(const char *kind);

/* What has become of the process that wrote a header.
 *
 * GONE     its pid is nobody's, or that of a later process
 * UNREAPED it has ended, and its parent has not waited for it
 * LIVES    also while its first thread alone has ended, and one of another pid namespace, which
 *          cannot be asked about
 */
enum stats_process {
    STATS_PROCESS_GONE,
    STATS_PROCESS_UNREAPED,
    STATS_PROCESS_LIVES,
};

enum stats_process stats_process_find(const struct stats_header *header);

#endif
