/* stats.c - writing this process's counters file.
 *
 * The file is mapped once and in full. Its pages come into being as they are used, and each is
 * reserved with fallocate() before it is touched: on a full /dev/shm a write to a hole would end
 * the program with SIGBUS.
 */
#include "stats.h"

#include "log.h"
#include "stats_earlier.h"
#include "stats_ended.h"
#include "stats_exporter.h"
#include "stats_report.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define CHUNK_BYTES  (256u << 10) /* what is reserved at a time */
#define NO_RECORD    STATS_ENDED_NONE
#define NAME_BYTES   4096u /* a longer name is cut */
#define OTHERS       "(others)"
#define OTHERS_INDEX (STATS_UNKNOWN_MAX - 1)

/* Before stats_open(), and when there is no memory for more. It has no room for records. */
static struct stats_header g_private;
static _Atomic(struct stats_header *) g_stats = &g_private;

static pthread_mutex_t g_lock = PTHREAD_MUTEX_INITIALIZER;

/* All guarded by g_lock. */
static struct {
    pid_t pid;    /* of the process that opened; 0 when none did */
    int has_file; /* path is ours; otherwise the memory is private */
    struct stats_exporter exporter;
    int full_told;
    char path[STATS_PATH_BYTES];
    dev_t device;
    ino_t inode;
    struct stats_record *records; /* NULL without memory for them */
    char *names;
    size_t records_reserved; /* bytes of each tail that may be touched */
    size_t names_reserved;
    uint32_t free_head; /* of the records to use again, or NO_RECORD */
    struct stats_ended *ended;
} g_writer = {.free_head = NO_RECORD};

static atomic_uint g_next_shard;
static _Thread_local unsigned g_shard __attribute__((tls_model("initial-exec"))); /* index + 1 */

struct stats_header *stats(void)
{
    return atomic_load_explicit(&g_stats, memory_order_acquire);
}

CUresult stats_note(CUresult result)
{
    switch (result) {
    case CUDA_SUCCESS:
    case CUDA_ERROR_NOT_READY:
    case CUDA_ERROR_NOT_INITIALIZED:
    case CUDA_ERROR_DEINITIALIZED:
    case CUDA_ERROR_INVALID_CONTEXT:
        break;
    default:
        stats_add(driver_failures, 1);
    }
    return result;
}

struct stats_shard *stats_shard(void)
{
    if (!g_shard)
        g_shard =
            atomic_fetch_add_explicit(&g_next_shard, 1, memory_order_relaxed) % STATS_SHARDS + 1;
    return &stats()->shard[g_shard - 1];
}

void stats_peak(_Atomic uint64_t *peak, uint64_t value)
{
    uint64_t seen = atomic_load_explicit(peak, memory_order_relaxed);

    while (seen < value && !atomic_compare_exchange_weak_explicit(
                               peak, &seen, value, memory_order_relaxed, memory_order_relaxed))
        ;
}

/* Opening -------------------------------------------------------------------------------------- */

/* Create the file in full length, with pages only for the header.
 *
 * returns  a descriptor, or -1: then nothing is left behind
 */
static int create_file(const char *path)
{
    struct rlimit limit;
    int fd;

    /* A file longer than this limit is not refused: the kernel sends SIGXFSZ. */
    if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur < STATS_FILE_BYTES)
        return -1;
    unlink(path); /* of an earlier process with our pid, or of this one before an exec */
    fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    if (ftruncate(fd, (off_t)STATS_FILE_BYTES) != 0 ||
        fallocate(fd, 0, 0, sizeof(struct stats_header)) != 0) {
        unlink(path);
        close(fd);
        return -1;
    }
    return fd;
}

static struct stats_header *map_file(void)
{
    struct stat status;
    void *map;
    int fd;

    stats_file_path(g_writer.path, geteuid(), getpid());
    fd = create_file(g_writer.path);
    if (fd < 0)
        return NULL;
    map = mmap(NULL, STATS_FILE_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (map == MAP_FAILED || fstat(fd, &status) != 0) {
        if (map != MAP_FAILED)
            munmap(map, STATS_FILE_BYTES);
        unlink(g_writer.path);
        close(fd);
        return NULL;
    }
    g_writer.device = status.st_dev;
    g_writer.inode = status.st_ino;
    close(fd);
    return map;
}

static struct stats_header *map_private(void)
{
    void *map = mmap(NULL, STATS_FILE_BYTES, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return map == MAP_FAILED ? NULL : map;
}

static void fill_header(struct stats_header *header, const char *driver_text, const char *backend)
{
    struct timespec now;

    header->layout = STATS_LAYOUT;
    header->header_bytes = sizeof(struct stats_header);
    header->record_bytes = sizeof(struct stats_record);
    header->pid = getpid();
    header->start_ticks = stats_process_start(header->pid);
    header->pid_namespace = stats_namespace("pid");
    header->mount_namespace = stats_namespace("mnt");
    clock_gettime(CLOCK_REALTIME, &now);
    header->opened_ns = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    snprintf(header->program, sizeof(header->program), "%s", program_invocation_short_name);
    snprintf(header->driver, sizeof(header->driver), "%s", driver_text ? driver_text : "");
    snprintf(header->backend, sizeof(header->backend), "%s", backend ? backend : "");
    for (size_t i = 0; i < STATS_DEVICES_MAX; i++) {
#define X(name, help)                                                                              \
    atomic_store_explicit(&header->name[i], STATS_NO_BUDGET, memory_order_relaxed);
        STATS_DEVICE_VALUES(X)
#undef X
    }
    atomic_store_explicit(&header->magic, STATS_MAGIC, memory_order_release);
}

/* Take over what was counted before there was a file. */
static void carry_over(struct stats_header *header)
{
    if (header == &g_private)
        return;
#define X(name) atomic_store_explicit(&header->name, g_private.name, memory_order_relaxed);
    STATS_COUNTERS(X)
#undef X
    for (size_t i = 0; i < STATS_SHARDS; i++) {
#define X(name)                                                                                    \
    atomic_store_explicit(&header->shard[i].name, g_private.shard[i].name, memory_order_relaxed);
        STATS_LAUNCH_COUNTERS(X)
#undef X
    }
    memcpy(header->unknown, g_private.unknown, sizeof(header->unknown)); /* guarded by g_lock */
}

void stats_open(const char *driver_text, const char *backend, const char *export_path)
{
    struct stats_header *header;
    uint32_t earlier_count;

    pthread_mutex_lock(&g_lock);
    if (g_writer.pid)
        goto unlock;
    earlier_count = stats_earlier_keep();
    header = map_file();
    g_writer.has_file = header != NULL;
    if (!header) {
        header = map_private();
        log_info("stats", "no room in " STATS_FOLDER ", `berth stats` cannot see this program");
    }
    g_writer.records_reserved = 0;
    g_writer.names_reserved = 0;
    g_writer.free_head = NO_RECORD;
    g_writer.ended = NULL; /* of a parent before the fork, if any: its memory is the parent's */
    g_writer.records = NULL;
    if (header) {
        g_writer.records = (struct stats_record *)((char *)header + STATS_RECORDS_OFFSET);
        g_writer.names = (char *)header + STATS_NAMES_OFFSET;
    } else {
        header = &g_private;
    }
    g_writer.pid = getpid();
    g_writer.exporter = stats_exporter_choose(header, export_path);
    carry_over(header);
    fill_header(header, driver_text, backend);
    header->earlier_count = earlier_count;
    atomic_store_explicit(&g_stats, header, memory_order_release);
unlock:
    pthread_mutex_unlock(&g_lock);
}

void stats_detach(void)
{
    struct stats_header *header = stats();

    pthread_mutex_init(&g_lock, NULL);
    if (!g_writer.pid || g_writer.pid == getpid())
        return;
    if (header != &g_private) {
        /* Where this fails the child writes into the parent's file: wrong numbers, no harm else. */
        mmap(header, STATS_FILE_BYTES, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    } else {
        memset(&g_private, 0, sizeof(g_private));
    }
    g_writer.pid = 0;
    g_writer.has_file = 0;
    g_writer.exporter.is_self = 0;
    g_writer.exporter.launcher = 0;
    g_writer.records = NULL;
}

/* Closing -------------------------------------------------------------------------------------- */

/* Leave the JSON. The lock keeps records as they are meanwhile; counters may go on moving. */
static void export_report(const struct stats_header *header)
{
    struct stats_view view = {
        .header = header,
        .records = g_writer.records,
        .names = g_writer.names,
        .record_count = atomic_load_explicit(&header->record_count, memory_order_relaxed),
        .names_bytes = atomic_load_explicit(&header->names_used, memory_order_relaxed),
    };
    struct stats_report report;
    int err;

    err = stats_report_make(&view, &report);
    if (!err) {
        err = stats_report_export(&report, header->export_path);
        stats_report_release(&report);
    }
    if (err)
        log_error("stats", "cannot write %s: %s; set BERTH_STATS to a file that can be written",
                  header->export_path, strerror(-err));
}

void stats_close(void)
{
    struct stats_header *header = stats();
    int launcher_reads;

    pthread_mutex_lock(&g_lock);
    if (!g_writer.pid || g_writer.pid != getpid())
        goto unlock;
    atomic_store_explicit(&header->ended, 1, memory_order_relaxed);
    /* A launcher that is gone reads nothing any more. */
    launcher_reads =
        g_writer.has_file && g_writer.exporter.launcher && g_writer.exporter.launcher == getppid();
    if (!launcher_reads) {
        if (g_writer.exporter.is_self)
            export_report(header);
        if (g_writer.has_file)
            unlink(g_writer.path);
    }
    g_writer.exporter.is_self = 0;
    g_writer.has_file = 0;
    g_writer.records = NULL; /* the file's holes may no longer be touched */
unlock:
    pthread_mutex_unlock(&g_lock);
}

/* Records -------------------------------------------------------------------------------------- */

/* Reserve the next chunk of a tail, so that touching it cannot fail.
 *
 * offset    of the tail in the file
 * reserved  bytes of the tail that are reserved; raised on success
 */
static int reserve_chunk(size_t offset, size_t *reserved)
{
    struct stat status;
    int fd;
    int err = -1;

    if (!g_writer.has_file) {
        *reserved += CHUNK_BYTES; /* private memory has no holes that can fail */
        return 0;
    }
    /* Opened anew each time: a descriptor that we kept could be closed by the program, and its
     * number belong to a file of the program's own. */
    fd = open(g_writer.path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0) {
        if (fstat(fd, &status) == 0 && status.st_dev == g_writer.device &&
            status.st_ino == g_writer.inode)
            err = fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)(offset + *reserved), CHUNK_BYTES);
        close(fd);
    }
    if (err) {
        if (!g_writer.full_told++)
            log_warn("stats", "no more room in " STATS_FOLDER ", some parameters are not listed");
        return -1;
    }
    *reserved += CHUNK_BYTES;
    return 0;
}

static int reserve(size_t offset, size_t needed, size_t room, size_t *reserved)
{
    if (needed > room)
        return -1;
    while (*reserved < needed) {
        if (reserve_chunk(offset, reserved))
            return -1;
    }
    return 0;
}

/* Give a record room for its name. returns 0, or -1 when the names are full. */
static int place_name(struct stats_header *header, struct stats_record *record, size_t bytes)
{
    uint32_t used = atomic_load_explicit(&header->names_used, memory_order_relaxed);

    if (record->name_room > bytes)
        return 0;
    if (reserve(STATS_NAMES_OFFSET, used + bytes + 1, STATS_NAMES_BYTES, &g_writer.names_reserved))
        return -1;
    record->name_offset = used;
    record->name_room = (uint32_t)bytes + 1;
    atomic_store_explicit(&header->names_used, used + (uint32_t)bytes + 1, memory_order_release);
    return 0;
}

/* Take a released record, else a new one. returns NULL when the file is full. */
static struct stats_record *take_record(struct stats_header *header)
{
    uint32_t count = atomic_load_explicit(&header->record_count, memory_order_relaxed);
    struct stats_record *record;

    if (!g_writer.records)
        return NULL;
    if (g_writer.free_head != NO_RECORD) {
        record = &g_writer.records[g_writer.free_head];
        g_writer.free_head = record->next_free;
        return record;
    }
    if (reserve(STATS_RECORDS_OFFSET, (count + 1) * sizeof(*record),
                STATS_RECORDS_MAX * sizeof(*record), &g_writer.records_reserved))
        return NULL;
    atomic_store_explicit(&header->record_count, count + 1, memory_order_release);
    return &g_writer.records[count];
}

static void give_record(struct stats_record *record)
{
    record->next_free = g_writer.free_head;
    g_writer.free_head = (uint32_t)(record - g_writer.records);
}

/* Go on with the record of a parameter that was freed. NULL when there is none. */
static struct stats_record *take_ended(const char *name, unsigned device)
{
    uint32_t index = g_writer.records ? stats_ended_find(g_writer.ended, name) : NO_RECORD;
    struct stats_record *record;

    if (index == NO_RECORD || g_writer.records[index].device != device)
        return NULL;
    record = &g_writer.records[index];
    stats_ended_remove(&g_writer.ended, name);
    atomic_fetch_add_explicit(&record->generation, 1, memory_order_release);
    /* What is written here next must not be seen before the generation. */
    atomic_thread_fence(memory_order_seq_cst);
    return record;
}

/* Keep a named record as it is. returns 0, or -1 when it must be given back instead */
static int keep_ended(const struct stats_record *record)
{
    if (record->evidence == STATS_EVIDENCE_NONE)
        return -1;
    return stats_ended_add(&g_writer.ended, g_writer.names + record->name_offset,
                           record->name_bytes, (uint32_t)(record - g_writer.records));
}

/* A record that nobody has seen, or whose generation says that it is being written. */
static struct stats_record *take_new(const char *name)
{
    size_t name_bytes = strnlen(name, NAME_BYTES);
    struct stats_header *header = stats();
    struct stats_record *record = take_record(header);

    if (record && place_name(header, record, name_bytes)) {
        give_record(record);
        record = NULL;
    }
    if (!record)
        return NULL;
    memcpy(g_writer.names + record->name_offset, name, name_bytes);
    record->name_bytes = (uint32_t)name_bytes;
    record->loads = 0;
    record->evictions = 0;
    record->h2d_bytes = 0;
    record->stall_ns = 0;
    record->touches = 0;
    record->first_touch = 0;
    return record;
}

struct stats_record *stats_record_create(const char *name, enum stats_evidence evidence,
                                         const char *dtype, unsigned rank, const uint64_t *shape,
                                         uint64_t bytes, unsigned device)
{
    struct stats_record *record = NULL;

    pthread_mutex_lock(&g_lock);
    if (evidence != STATS_EVIDENCE_NONE)
        record = take_ended(name, device);
    if (!record)
        record = take_new(name);
    if (!record)
        goto unlock;

    record->evidence = (uint8_t)evidence;
    record->device = (uint8_t)device;
    record->rank = (uint8_t)(rank < STATS_RANK_MAX ? rank : STATS_RANK_MAX);
    memset(record->shape, 0, sizeof(record->shape));
    if (record->rank)
        memcpy(record->shape, shape, record->rank * sizeof(*shape));
    snprintf(record->dtype, sizeof(record->dtype), "%s", dtype);
    record->tier = STATS_TIER_HOST;
    record->bytes = bytes;
    record->resident_bytes = 0;
    record->place = 0;
    record->freed = 0;
    atomic_fetch_add_explicit(&record->generation, 1, memory_order_release);
unlock:
    pthread_mutex_unlock(&g_lock);
    return record;
}

/* Is the record in the memory that is in use now? One from before a fork lies in memory that is
 * zero and that nobody reads. g_lock is held. */
static int is_ours(const struct stats_record *record)
{
    return g_writer.records && record >= g_writer.records &&
           record < g_writer.records + STATS_RECORDS_MAX;
}

/* The record is listed no more. g_lock is held. */
static void end_record(struct stats_record *record)
{
    atomic_fetch_add_explicit(&record->generation, 1, memory_order_release);
    /* What is written here next must not be seen before the generation. */
    atomic_thread_fence(memory_order_seq_cst);
    give_record(record);
}

void stats_record_release(struct stats_record *record)
{
    if (!record)
        return;
    pthread_mutex_lock(&g_lock);
    atomic_store_explicit(&record->freed, 1, memory_order_relaxed);
    if (is_ours(record) && keep_ended(record))
        end_record(record);
    pthread_mutex_unlock(&g_lock);
}

void stats_record_count_touches(struct stats_record *record, int are_counted)
{
    uint64_t before = are_counted ? STATS_NOT_TOLD : 0;

    atomic_compare_exchange_strong_explicit(&record->touches, &before,
                                            are_counted ? 0 : STATS_NOT_TOLD, memory_order_relaxed,
                                            memory_order_relaxed);
}

void stats_record_first_touch(struct stats_record *record)
{
    uint64_t none = 0;

    if (!atomic_load_explicit(&record->first_touch, memory_order_relaxed))
        atomic_compare_exchange_strong_explicit(&record->first_touch, &none,
                                                stats_add(touched, 1) + 1, memory_order_relaxed,
                                                memory_order_relaxed);
}

/* Launches touch a parameter as a whole, so that its parts have counted the same ones. */
static void merge_touches(struct stats_record *into, const struct stats_record *record)
{
    if (record->touches > into->touches)
        into->touches = record->touches;
    if (record->first_touch && (!into->first_touch || record->first_touch < into->first_touch))
        into->first_touch = record->first_touch;
}

void stats_record_merge(struct stats_record *into, struct stats_record *record)
{
    if (!record)
        return;
    pthread_mutex_lock(&g_lock);
    if (into) {
        into->loads += record->loads;
        into->evictions += record->evictions;
        into->h2d_bytes += record->h2d_bytes;
        into->stall_ns += record->stall_ns;
        merge_touches(into, record);
    }
    if (is_ours(record))
        end_record(record);
    pthread_mutex_unlock(&g_lock);
}

void stats_unknown(const char *name)
{
    struct stats_header *header;
    struct stats_unknown *entry;
    const char *stored = name;
    uint32_t count;

    pthread_mutex_lock(&g_lock);
    header = stats();
    for (size_t i = 0; i < STATS_UNKNOWN_MAX; i++) {
        entry = &header->unknown[i];
        count = atomic_load_explicit(&entry->count, memory_order_relaxed);
        if (i == OTHERS_INDEX)
            stored = OTHERS;
        if (!count)
            snprintf(entry->name, sizeof(entry->name), "%s", stored);
        else if (strncmp(entry->name, stored, sizeof(entry->name) - 1) != 0)
            continue;
        atomic_store_explicit(&entry->count, count + 1, memory_order_release);
        break;
    }
    pthread_mutex_unlock(&g_lock);
}
