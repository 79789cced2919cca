/* probe_registration.c - can the mapping of a file be registered for the device?
 *
 * A file of p->bytes in TMPDIR (/tmp) is mapped in several ways, and each mapping registered with
 * and without READ_ONLY. Where that works, its bytes are copied and compared. What pinning costs,
 * of memory that exists already and of fresh memory, stands beside it.
 *
 * Answers of CUDA-FACTS: does registering a file mapping need MAP_SHARED with READ_ONLY (attribute
 * 113), and does it lock page cache (locked_kB); what pinning costs for each MiB.
 */
#include "probe.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

struct source {
    CUdeviceptr device;
    void *bytes;
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

static void upload(struct probe *p, void *state)
{
    const struct source *s = state;

    CUDA_CHECK(cuMemcpyHtoDAsync(s->device, s->bytes, p->bytes, p->stream));
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

/* A file of p->bytes that has no name; byte i of each page is its number. */
static int make_file(struct probe *p, char *page)
{
    const char *folder = getenv("TMPDIR");
    char path[512];
    struct statfs about;
    int fd;

    snprintf(path, sizeof(path), "%s/probe-XXXXXX", folder && *folder ? folder : "/tmp");
    fd = mkstemp(path);
    if (fd < 0)
        probe_fail("no file in TMPDIR");
    unlink(path);
    for (size_t at = 0; at < p->bytes; at += PAGE_BYTES) {
        memset(page, (int)(at / PAGE_BYTES + 1), PAGE_BYTES);
        if (write(fd, page, PAGE_BYTES) != (ssize_t)PAGE_BYTES)
            probe_fail("no room in TMPDIR");
    }
    if (fstatfs(fd, &about) == 0)
        probe_number(p, "filesystem_magic", (double)about.f_type);
    return fd;
}

/* Are the last bytes that were uploaded those of the file? */
static int is_uploaded(struct probe *p, struct source *s, char *page)
{
    CUDA_CHECK(cuMemcpyDtoH(page, s->device + p->bytes - PAGE_BYTES, PAGE_BYTES));
    return memcmp(page, (char *)s->bytes + p->bytes - PAGE_BYTES, PAGE_BYTES) == 0;
}

static void use_registered(struct probe *p, const char *name, struct source *s, char *page)
{
    CUdeviceptr mapped;
    CUresult result;

    CUDA_CHECK(cuMemsetD8(s->device, 0, p->bytes));
    CUDA_CHECK(cuCtxSynchronize()); /* the fill is not ordered before other streams' work */
    probe_figure(p, name, "h2d_GB_per_s",
                 (double)p->bytes / probe_measure(p, NULL, upload, s).whole_ns);
    if (!is_uploaded(p, s, page))
        probe_fail("a registered mapping gave other bytes than the file's");
    result = cuMemHostGetDevicePointer(&mapped, s->bytes, 0);
    probe_figure(p, name, "device_pointer_error", result);
}

static void show_way(struct probe *p, const struct way *way, int fd, struct source *s, char *page)
{
    double before, start;
    CUresult result;

    s->bytes = mmap(NULL, p->bytes, way->protection, way->mapping | MAP_POPULATE, fd, 0);
    if (s->bytes == MAP_FAILED)
        probe_fail("mmap failed");
    before = locked_kb();
    start = probe_now_ns();
    result = cuMemHostRegister(s->bytes, p->bytes, way->flags);
    probe_figure(p, way->name, "register_ns_per_MiB",
                 (probe_now_ns() - start) / (double)(p->bytes / MIB));
    probe_figure(p, way->name, "error", result);
    if (result == CUDA_SUCCESS) {
        probe_figure(p, way->name, "locked_kB", locked_kb() - before);
        use_registered(p, way->name, s, page);
        CUDA_CHECK(cuMemHostUnregister(s->bytes));
    }
    munmap(s->bytes, p->bytes);
}

static void show_unregistered(struct probe *p, int fd, struct source *s)
{
    s->bytes = mmap(NULL, p->bytes, PROT_READ, MAP_SHARED | MAP_POPULATE, fd, 0);
    if (s->bytes == MAP_FAILED)
        probe_fail("mmap failed");
    probe_number(p, "unregistered_h2d_GB_per_s",
                 (double)p->bytes / probe_measure(p, NULL, upload, s).whole_ns);
    munmap(s->bytes, p->bytes);
}

static void show_pinning(struct probe *p)
{
    double mib = (double)(p->bytes / MIB), start = probe_now_ns();
    void *memory;

    CUDA_CHECK(cuMemHostAlloc(&memory, p->bytes, 0));
    probe_number(p, "host_alloc_ns_per_MiB", (probe_now_ns() - start) / mib);
    start = probe_now_ns();
    CUDA_CHECK(cuMemFreeHost(memory));
    probe_number(p, "host_free_ns_per_MiB", (probe_now_ns() - start) / mib);
    memory = probe_host_alloc(p->bytes);
    start = probe_now_ns();
    CUDA_CHECK(cuMemHostRegister(memory, p->bytes, 0));
    probe_number(p, "register_ns_per_MiB", (probe_now_ns() - start) / mib);
    start = probe_now_ns();
    CUDA_CHECK(cuMemHostUnregister(memory));
    probe_number(p, "unregister_ns_per_MiB", (probe_now_ns() - start) / mib);
    free(memory);
}

void probe_registration(struct probe *p)
{
    struct source s = {0};
    char *page;
    int fd;

    probe_open(p);
    page = probe_host_alloc(PAGE_BYTES);
    probe_number(p, "attribute_113",
                 probe_attribute(CU_DEVICE_ATTRIBUTE_READ_ONLY_HOST_REGISTER_SUPPORTED));
    CUDA_CHECK(cuMemAlloc(&s.device, p->bytes));
    fd = make_file(p, page);
    show_unregistered(p, fd, &s);
    for (size_t i = 0; i < sizeof(g_ways) / sizeof(g_ways[0]); i++)
        show_way(p, &g_ways[i], fd, &s, page);
    show_pinning(p);
    close(fd);
    free(page);
}
