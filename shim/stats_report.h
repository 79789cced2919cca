/* stats_report.h - the counters added up: what the JSON document, the table and the metrics show.
 *
 * A report is plain numbers of one moment. A value exists only as a row of STATS_VALUES or
 * STATS_PARAMETER_VALUES: the struct, the writer, the reader and the metrics come from these rows.
 * Renaming one breaks scripts: the document is a promise.
 */
#ifndef BERTH_STATS_REPORT_H
#define BERTH_STATS_REPORT_H

#include "policy/policy_file.h"
#include "stats_file.h"
#include <stdio.h>

#define STATS_REPORT_VERSION 1

/* What a value is: it may fall (gauge), or it only grows (counter), or it is true or false, or a
 * share: from 0 to 1, held in parts of STATS_SHARE_ONE. */
enum stats_kind {
    STATS_GAUGE,
    STATS_COUNTER,
    STATS_BOOL,
    STATS_SHARE,
};

#define STATS_SHARE_ONE 1000000u

/* X      a value of the first documents
 * LATER  one that came later: a document without it is read as well, with zero for it
 *
 * group  object of the document; its rows stand together
 * key    within the group; the field of the report is group_key
 * kind   STATS_*
 * help   for people and for metrics
 */
#define STATS_VALUES(X, LATER)                                                                     \
    X(weights, total_bytes, GAUGE, "Weights in paged allocations")                                 \
    X(weights, named_bytes, GAUGE, "Weights bound to a parameter")                                 \
    X(weights, resident_bytes, GAUGE, "VRAM taken by weights and the program's own allocations")   \
    X(weights, host_bytes, GAUGE, "Weights in host memory only")                                   \
    X(weights, disk_bytes, GAUGE, "Weights in the checkpoint's file only")                         \
    X(weights, peak_resident_bytes, GAUGE, "Most VRAM that was taken at once")                     \
    LATER(weights, ambiguous_bytes, GAUGE, "Weights whose content fits several parameters")        \
    LATER(weights, vram_bytes, GAUGE, "Weights in VRAM; once some were freed, at most")            \
    LATER(weights, allocated_bytes, GAUGE, "Weights that the program has not freed")               \
    X(transfers, h2d_bytes, COUNTER, "Bytes moved from host to device by the pager")               \
    X(transfers, h2d_count, COUNTER, "Copies from host to device by the pager")                    \
    X(transfers, d2h_bytes, COUNTER, "Bytes moved from device to host by the pager")               \
    X(transfers, disk_read_bytes, COUNTER, "Bytes read from the checkpoint's file")                \
    X(transfers, dropped_bytes, COUNTER, "Bytes dropped from VRAM without a copy")                 \
    X(transfers, written_back_bytes, COUNTER, "Changed bytes written back to their home")          \
    X(launches, count, COUNTER, "Kernel launches")                                                 \
    X(launches, resident, COUNTER, "Kernel launches that found every weight in VRAM")              \
    X(launches, waited, COUNTER, "Kernel launches that waited for a weight")                       \
    X(launches, stall_ns, COUNTER, "Time that launches waited for weights")                        \
    X(launches, overhead_ns, COUNTER, "Time that launches spent in berth")                         \
    X(steps, learned, BOOL, "Whether the repeating sequence of launches is known")                 \
    X(steps, launches_per_step, GAUGE, "Kernel launches in a step")                                \
    X(steps, count, COUNTER, "Steps done")                                                         \
    X(errors, driver_failures, COUNTER, "Driver calls of berth's own that failed")                 \
    X(errors, refused, COUNTER, "Allocations passed through because they could not be paged")      \
    LATER(link, bytes_per_s, GAUGE, "Speed of the link to the GPU, from loads that were timed")    \
    LATER(link, share, SHARE, "Share of the time from the first load to the last that loads took") \
    LATER(link, span_ns, GAUGE, "Time from the first load to the last")                            \
    LATER(paging, ended, COUNTER, "Devices on which trouble ended paging")                         \
    LATER(paging, step_bytes, GAUGE, "Bytes that are loaded in each step, by plan")                \
    LATER(paging, starved_ns, COUNTER, "Time that launches waited with nothing to run on the GPU") \
    LATER(paging, unknown_launches, COUNTER, "Kernel launches whose parameters nobody could tell") \
    LATER(paging, oversized_launches, COUNTER, "Kernel launches with a weight too large to load")  \
    LATER(paging, captured_launches, COUNTER, "Kernel launches into a graph, weights not in VRAM") \
    LATER(paging, sparse_launches, COUNTER, "Kernel launches that read little of a large weight")  \
    LATER(policy, disk_bytes, GAUGE, "Weights that the policy puts on disk: they are on the host") \
    LATER(policy, elsewhere_bytes, GAUGE, "Weights that the policy puts on a GPU they are not on")

/* The same for one parameter. Of a LATER one that is not known the report has STATS_NOT_TOLD, and
 * the document nothing: nobody counts the touches of what is too small to be paged, nor any while
 * everything fits. first_touch is an ordinal among all parameters, from 1 on. */
#define STATS_PARAMETER_VALUES(X, LATER)                                                           \
    X(loads, COUNTER, "Times that the parameter was brought into VRAM")                            \
    X(evictions, COUNTER, "Times that the parameter was dropped from VRAM")                        \
    X(h2d_bytes, COUNTER, "Bytes moved from host to device for the parameter")                     \
    X(stall_ns, COUNTER, "Time that launches waited for the parameter")                            \
    LATER(touches, COUNTER, "Launches that touched the parameter")                                 \
    LATER(first_touch, GAUGE, "When it was first touched, counted in parameters; 0 for never")

struct stats_parameter {
    const char *name; /* NUL-terminated, in the report's text */
    char dtype[16];   /* empty where it is not known */
    uint64_t shape[STATS_RANK_MAX];
    unsigned rank;
    enum stats_tier tier;
    enum stats_evidence evidence;
    uint64_t bytes;
    uint64_t resident_bytes; /* not in the document */
    unsigned device;         /* nor is this */
    int place;               /* what the policy's device_map says, or POLICY_NOWHERE */
    int is_freed;            /* by the program: the rest is as it was then */
#define X(key, kind, help) uint64_t key;
    STATS_PARAMETER_VALUES(X, X)
#undef X
};

struct stats_report_unknown {
    uint64_t count;
    char name[60];
};

struct stats_report {
    int32_t pid;
    char program[256];
    char driver[256];
    char backend[16];
    unsigned device_count; /* of the next, STATS_NO_BUDGET where nothing is known */
#define X(name, help) uint64_t name[STATS_DEVICES_MAX];
    STATS_DEVICE_VALUES(X)
#undef X
#define X(group, key, kind, help) uint64_t group##_##key;
    STATS_VALUES(X, X)
#undef X
    size_t unknown_count;
    struct stats_report_unknown unknown[STATS_UNKNOWN_MAX];
    size_t parameter_count;
    struct stats_parameter *parameters; /* in the order in which they were uploaded */
    char *text;                         /* the names */
};

struct stats_value_info {
    const char *group;
    const char *key;
    enum stats_kind kind;
    const char *help;
    size_t offset; /* of the uint64_t in struct stats_report, or in struct stats_parameter */
    int may_lack;  /* a document may be without it */
};

extern const struct stats_value_info stats_values[];
extern const size_t stats_value_count;
extern const struct stats_value_info stats_parameter_values[]; /* group is NULL */
extern const size_t stats_parameter_value_count;

/* A row of STATS_DEVICE_VALUES. */
struct stats_device_info {
    const char *key;
    const char *help;
    size_t offset; /* of the array in struct stats_report */
};

extern const struct stats_device_info stats_device_values[];
extern const size_t stats_device_value_count;

/* The words of the document: "file", "host". */
const char *stats_evidence_name(enum stats_evidence evidence);
const char *stats_tier_name(enum stats_tier tier);

/* Add up the counters of a view.
 *
 * report   set on success only; it keeps nothing of the view
 * returns  0 or -ENOMEM
 * owner    the caller frees the report's memory with stats_report_release()
 */
int stats_report_make(const struct stats_view *view, struct stats_report *report);
void stats_report_release(struct stats_report *report);

/* Write a report as one JSON document with a newline at its end.
 *
 * returns  0, or -errno where the stream reports an error
 */
int stats_report_write(const struct stats_report *report, FILE *out);

/* Leave a report as a file. A regular file is replaced as a whole, so that nobody ever reads half a
 * document; anything else (a pipe, a terminal) is written to.
 *
 * returns  0 or -errno, and the file is as it was
 */
int stats_report_export(const struct stats_report *report, const char *path);

#endif
