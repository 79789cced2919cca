/* stats_file.h - the layout of the counters file that a running program shares with `berth stats`.
 *
 * One file in shared memory for each process, readable at any moment: also while the program hangs,
 * and after it was killed. The shim is the only writer; a reader maps it read-only and must not
 * trust a single number in it before it has checked it against the file's length.
 *
 *     [ header | records: STATS_RECORDS_MAX, sparse | names: STATS_NAMES_BYTES, sparse ]
 *
 * Both tails are reserved in full and stay holes until they are used.
 */
#ifndef BERTH_STATS_FILE_H
#define BERTH_STATS_FILE_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define STATS_MAGIC       0x3153544154534842ull /* "BHSTATS1", little-endian */
#define STATS_LAYOUT      1u
#define STATS_DEVICES_MAX 16u
#define STATS_RECORDS_MAX (1u << 20)
#define STATS_NAMES_BYTES (256u << 20)
#define STATS_UNKNOWN_MAX 64u
#define STATS_SHARDS      16u

/* Counters that the launch path bumps: one shard for each of a few threads, so that threads do not
 * share a cache line. A reader adds the shards up.
 *
 * launches.count = all kernel launches seen; resident = those that found everything in place;
 * waited = those that waited, on the host or by an event, for a load.
 */
#define STATS_LAUNCH_COUNTERS(X)                                                                   \
    X(launches)                                                                                    \
    X(launches_resident)                                                                           \
    X(launches_waited)                                                                             \
    X(stall_ns)                                                                                    \
    X(overhead_ns)

/* Counters of the slow paths. Bytes unless the name says otherwise; "now" values may go down. */
#define STATS_COUNTERS(X)                                                                          \
    X(weights_total_bytes)      /* now: uploaded objects in paged ranges */                        \
    X(weights_named_bytes)      /* now: of those, bound to a parameter */                          \
    X(resident_bytes)           /* now: extents in VRAM or on their way there */                   \
    X(peak_resident_bytes)                                                                         \
    X(plain_bytes)              /* now: VRAM that the program holds outside paged ranges */        \
    X(in_place_bytes)           /* now: read in place through the host mapping */                  \
    X(h2d_bytes)                /* moved by the pager */                                           \
    X(h2d_count)                                                                                   \
    X(d2h_bytes)                                                                                   \
    X(disk_read_bytes)                                                                             \
    X(dropped_bytes)            /* given up without a copy */                                      \
    X(written_back_bytes)                                                                          \
    X(upload_bytes)             /* copied host to device by the program itself */                  \
    X(evictions)                                                                                   \
    X(steps)                                                                                       \
    X(launches_per_step)        /* now; 0 while no step is learned */                              \
    X(driver_failures)          /* count: calls of ours that the driver refused */                 \
    X(refused)                  /* count: allocations passed through because they could not be paged */

/* How a parameter's name is known. */
enum stats_evidence {
    STATS_EVIDENCE_NONE,      /* anonymous */
    STATS_EVIDENCE_FILE,      /* the source lay inside a mapping of the checkpoint */
    STATS_EVIDENCE_CONTENT,   /* the bytes are the checkpoint's */
    STATS_EVIDENCE_FRAMEWORK, /* the framework said so */
};

enum stats_tier {
    STATS_TIER_VRAM,
    STATS_TIER_HOST,
    STATS_TIER_DISK,
};

/* One parameter, or one anonymous object. live is stored last (release) when the record is filled,
 * and is cleared when the object is freed; a cleared record may be used again. */
struct stats_record {
    _Atomic uint32_t live;
    uint32_t name_offset; /* into the names */
    uint32_t name_bytes;
    uint8_t evidence;
    _Atomic uint8_t tier;
    uint8_t rank;
    uint8_t device;
    char dtype[16]; /* NUL-terminated; empty when not known */
    uint64_t shape[8];
    _Atomic uint64_t bytes;          /* of the object */
    _Atomic uint64_t resident_bytes; /* now */
    _Atomic uint64_t loads;
    _Atomic uint64_t evictions;
    _Atomic uint64_t h2d_bytes;
    _Atomic uint64_t stall_ns;
};

struct stats_shard {
#define X(name) _Atomic uint64_t name;
    STATS_LAUNCH_COUNTERS(X)
#undef X
    char pad[128 - (5 * sizeof(uint64_t)) % 128];
};

struct stats_header {
    uint64_t magic;
    uint32_t layout;
    uint32_t header_bytes; /* sizeof(struct stats_header) of the writer */
    uint32_t record_bytes;
    int32_t pid;
    _Atomic uint32_t record_count; /* records ever used: the scan's bound */
    _Atomic uint32_t names_used;   /* bytes */
    _Atomic uint32_t ended;        /* 1 once the program left in an orderly way */
    _Atomic uint32_t step_learned;
    char program[256];             /* basename, NUL-terminated */
    char driver[256];              /* "libcuda.so.1 13000" */
    char backend[16];              /* "um", "off" */
    _Atomic uint64_t budget_bytes[STATS_DEVICES_MAX];
    _Atomic uint32_t device_count;
    uint32_t reserved;
#define X(name) _Atomic uint64_t name;
    STATS_COUNTERS(X)
#undef X
    struct stats_shard shard[STATS_SHARDS];
    struct {
        _Atomic uint32_t count;
        char name[60];
    } unknown[STATS_UNKNOWN_MAX]; /* entry points asked for that no table of ours knows */
};

#endif
