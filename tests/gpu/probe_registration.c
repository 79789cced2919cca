/* probe_registration.c - can the mapping of a file be registered for the device?
 *
 * A file in TMPDIR (/tmp) is mapped in several ways, and each mapping registered with and without
 * READ_ONLY. Where that works, its bytes are copied and compared. What pinning costs, of memory
 * that exists already and of fresh memory, stands beside it.
 *
 * To pin the pages of a file may take the kernel forever. So each question is asked in a child of
 * its own, small, and with a time limit: what it has found until then counts, and
 * "<question>_unfinished" tells where it was. The parent forks them before its first driver call.
 *
 * Answers: does registering a file mapping need MAP_SHARED with READ_ONLY (attribute
 * 113), and does it lock page cache (locked_kB); what pinning costs for each MiB.
 */
#include "probe.h"

#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define FILE_BYTES    (32 * MIB) /* at most */
#define LIMIT_MS      4000       /* of one question; all of them together in less than 40 s */
#define END_MS        500        /* until a child that was killed is gone, or is left behind */
#define FIGURES_BYTES ((size_t)4096)

/* What a child has found, in memory that it shares with its parent. */
struct found {
    const char *stage; /* that it is in, a text of the program */
    char figures[FIGURES_BYTES];
};

struct source {
    CUdeviceptr device;
    void *bytes;
    size_t count; /* of bytes */
    int fd;
    struct found *found;
};

static const struct way {
    const char *name;
    int protection, mapping;
    unsigned int flags;
} g_ways[] = {
    {"shared_read_only_flagged", PROT_READ, MAP_SHARED,
     CU_MEMHOSTREGISTER_READ_ONLY | CU_MEMHOSTREGISTER_DEVICEMAP},
    {"shared_read_only", PROT_READ, MAP_SHARED, CU_MEMHOSTREGISTER_DEVICEMAP},
    {"private_read_only_flagged", PROT_READ, MAP_PRIVATE,
     CU_MEMHOSTREGISTER_READ_ONLY | CU_MEMHOSTREGISTER_DEVICEMAP},
    {"private_read_only", PROT_READ, MAP_PRIVATE, CU_MEMHOSTREGISTER_DEVICEMAP},
    {"shared_writable", PROT_READ | PROT_WRITE, MAP_SHARED, CU_MEMHOSTREGISTER_DEVICEMAP},
};

/* What has been found so far is safe; the next thing begins. */
static void stage(struct probe *p, struct source *s, const char *name)
{
    fflush(p->out);
    s->found->stage = name;
}

static void upload(struct probe *p, void *state)
{
    const struct source *s = state;

    CUDA_CHECK(cuMemcpyHtoDAsync(s->device, s->bytes, s->count, p->stream));
}

/* Memory of this process that cannot leave it, as the kernel counts it. */
static double locked_kb(void)
{
    double sum = 0, kb;
    char line[128];
    FILE *file = fopen("/proc/self/status", "r");

    while (file && fgets(line, sizeof(line), file))
        if (sscanf(line, "VmLck: %lf", &kb) == 1 || sscanf(line, "VmPin: %lf", &kb) == 1)
            sum += kb;
    if (file)
        fclose(file);
    return sum;
}

/* Byte i of each page of the file is its number. */
static void ask_file(struct probe *p, struct source *s, const struct way *way)
{
    char *page = probe_host_alloc(PAGE_BYTES);
    double start = probe_now_ns();
    struct statfs about;

    (void)way;
    stage(p, s, "write");
    for (size_t at = 0; at < s->count; at += PAGE_BYTES) {
        memset(page, (int)(at / PAGE_BYTES + 1), PAGE_BYTES);
        if (pwrite(s->fd, page, PAGE_BYTES, (off_t)at) != (ssize_t)PAGE_BYTES)
            probe_fail("no room in TMPDIR");
    }
    probe_number(p, "file_write_ns_per_MiB", (probe_now_ns() - start) / (double)(s->count / MIB));
    if (fstatfs(s->fd, &about) == 0)
        probe_number(p, "filesystem_magic", (double)about.f_type);
    free(page);
}

/* Are the last bytes that were uploaded those of the file? */
static int is_uploaded(struct source *s, char *page)
{
    CUDA_CHECK(cuMemcpyDtoH(page, s->device + s->count - PAGE_BYTES, PAGE_BYTES));
    return memcmp(page, (char *)s->bytes + s->count - PAGE_BYTES, PAGE_BYTES) == 0;
}

static void use_registered(struct probe *p, const char *name, struct source *s)
{
    char *page = probe_host_alloc(PAGE_BYTES);
    CUdeviceptr mapped;
    CUresult result;

    stage(p, s, "copy");
    CUDA_CHECK(cuMemsetD8(s->device, 0, s->count));
    CUDA_CHECK(cuCtxSynchronize()); /* the fill is not ordered before other streams' work */
    probe_figure(p, name, "h2d_GB_per_s",
                 (double)s->count / probe_measure(p, NULL, upload, s).whole_ns);
    if (!is_uploaded(s, page))
        probe_fail("a registered mapping gave other bytes than the file's");
    stage(p, s, "device pointer");
    result = cuMemHostGetDevicePointer(&mapped, s->bytes, 0);
    probe_figure(p, name, "device_pointer_error", result);
    free(page);
}

/* The device and its memory, and a mapping of the file. */
static void open_mapping(struct probe *p, struct source *s, int protection, int mapping)
{
    stage(p, s, "open");
    probe_open(p);
    CUDA_CHECK(cuMemAlloc(&s->device, s->count));
    stage(p, s, "map");
    s->bytes = mmap(NULL, s->count, protection, mapping | MAP_POPULATE, s->fd, 0);
    if (s->bytes == MAP_FAILED)
        probe_fail("mmap failed");
}

static void ask_way(struct probe *p, struct source *s, const struct way *way)
{
    double before, start;
    CUresult result;

    open_mapping(p, s, way->protection, way->mapping);
    stage(p, s, "register");
    before = locked_kb();
    start = probe_now_ns();
    result = cuMemHostRegister(s->bytes, s->count, way->flags);
    probe_figure(p, way->name, "register_ns_per_MiB",
                 (probe_now_ns() - start) / (double)(s->count / MIB));
    probe_figure(p, way->name, "error", result);
    if (result != CUDA_SUCCESS)
        return;
    probe_figure(p, way->name, "locked_kB", locked_kb() - before);
    use_registered(p, way->name, s);
    stage(p, s, "unregister");
    CUDA_CHECK(cuMemHostUnregister(s->bytes));
}

static void ask_unregistered(struct probe *p, struct source *s, const struct way *way)
{
    (void)way;
    open_mapping(p, s, PROT_READ, MAP_SHARED);
    stage(p, s, "copy");
    probe_number(p, "unregistered_h2d_GB_per_s",
                 (double)s->count / probe_measure(p, NULL, upload, s).whole_ns);
}

static void ask_pinning(struct probe *p, struct source *s, const struct way *way)
{
    double mib = (double)(p->bytes / MIB), start;
    void *memory;

    (void)way;
    stage(p, s, "open");
    probe_open(p);
    stage(p, s, "alloc");
    start = probe_now_ns();
    CUDA_CHECK(cuMemHostAlloc(&memory, p->bytes, 0));
    probe_number(p, "host_alloc_ns_per_MiB", (probe_now_ns() - start) / mib);
    start = probe_now_ns();
    CUDA_CHECK(cuMemFreeHost(memory));
    probe_number(p, "host_free_ns_per_MiB", (probe_now_ns() - start) / mib);
    memory = probe_host_alloc(p->bytes);
    stage(p, s, "register");
    start = probe_now_ns();
    CUDA_CHECK(cuMemHostRegister(memory, p->bytes, 0));
    probe_number(p, "register_ns_per_MiB", (probe_now_ns() - start) / mib);
    start = probe_now_ns();
    CUDA_CHECK(cuMemHostUnregister(memory));
    probe_number(p, "unregister_ns_per_MiB", (probe_now_ns() - start) / mib);
    free(memory);
}

typedef void (*ask_fn)(struct probe *p, struct source *s, const struct way *way);

static void child(struct probe *p, struct source *s, ask_fn ask, const struct way *way)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    p->out = fmemopen(s->found->figures, FIGURES_BYTES, "w");
    if (!p->out)
        probe_fail("no memory on the host");
    ask(p, s, way);
    fflush(p->out);
    _exit(0);
}

/* Does the other end of a pipe close within that time? */
static int is_closed(int fd, int limit_ms)
{
    struct pollfd end = {.fd = fd};

    return poll(&end, 1, limit_ms) == 1;
}

/* Ask in a child, which has the only other end of a pipe; its figures become ours. */
static void ask_in_child(struct probe *p, struct source *s, const char *name, ask_fn ask,
                         const struct way *way)
{
    int ends[2], status = 0, is_late;
    char member[128];
    pid_t pid;

    memset(s->found, 0, sizeof(*s->found));
    if (pipe(ends) || (pid = fork()) < 0)
        probe_fail("no child process");
    if (pid == 0)
        child(p, s, ask, way);
    close(ends[1]);
    is_late = !is_closed(ends[0], LIMIT_MS);
    if (is_late)
        kill(pid, SIGKILL);
    if (!is_late || is_closed(ends[0], END_MS)) /* else the kernel does not let it go */
        waitpid(pid, &status, 0);
    close(ends[0]);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        probe_skip("no GPU");
    fputs(s->found->figures, p->out);
    if (is_late || status) {
        snprintf(member, sizeof(member), "%s_%s", name, is_late ? "unfinished" : "failed");
        probe_text(p, member, s->found->stage ? s->found->stage : "start");
    }
}

/* A file without a name. */
static int make_file(void)
{
    const char *folder = getenv("TMPDIR");
    char path[512];
    int fd;

    snprintf(path, sizeof(path), "%s/probe-XXXXXX", folder && *folder ? folder : "/tmp");
    fd = mkstemp(path);
    if (fd < 0)
        probe_fail("no file in TMPDIR");
    unlink(path);
    return fd;
}

void probe_registration(struct probe *p)
{
    struct source s = {.count = p->bytes < FILE_BYTES ? p->bytes : FILE_BYTES, .fd = make_file()};

    s.count = s.count / PAGE_BYTES * PAGE_BYTES;
    s.found =
        mmap(NULL, sizeof(*s.found), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (s.found == MAP_FAILED || !s.count)
        probe_fail("no memory on the host");
    probe_number(p, "file_bytes", (double)s.count);
    ask_in_child(p, &s, "file", ask_file, NULL);
    ask_in_child(p, &s, "unregistered", ask_unregistered, NULL);
    for (size_t i = 0; i < sizeof(g_ways) / sizeof(g_ways[0]); i++)
        ask_in_child(p, &s, g_ways[i].name, ask_way, &g_ways[i]);
    ask_in_child(p, &s, "pinning", ask_pinning, NULL);
    probe_open(p);
    probe_number(p, "attribute_113",
                 probe_attribute(CU_DEVICE_ATTRIBUTE_READ_ONLY_HOST_REGISTER_SUPPORTED));
    munmap(s.found, sizeof(*s.found));
    close(s.fd);
}
