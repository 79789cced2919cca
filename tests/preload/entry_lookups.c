/* entry_lookups - what NVIDIA's runtime asks for, asked again.
 *
 * tests/data/cudart-13.0-lookups.txt is every look-up that cudart 13.0 makes when a program starts,
 * in order. Each is made of us, in both forms, and of the real driver. Where the real answer is the
 * address of one of its exports, ours has to be what a direct call of that name reaches: the hook
 * where there is one, else the same address. Failures and statuses have to be the real driver's
 * own.
 *
 * run: only=berth seeds=1
 */
#include "entry_check.h"

#define LOOKUPS 440

typedef CUresult lookup_v1(const char *symbol, void **pfn, int version, cuuint64_t flags);
typedef CUresult lookup_v2(const char *symbol, void **pfn, int version, cuuint64_t flags,
                           CUdriverProcAddressQueryResult *status);

static void *g_ours;
static void *g_real;
static lookup_v1 *g_ask_real;
static lookup_v2 *g_ask_real_v2;
static int g_hooked;
static int g_answered;

static int is_hooked(const char *symbol)
{
    for (int hook = 0; hook < HOOK_COUNT; hook++)
        if (strcmp(g_rows[hook].symbol, symbol) == 0)
            return 1;
    return 0;
}

/* What a program has to be given where the real driver gives an address. */
static void *expected(void *real)
{
    for (int id = 0; real && id < EXPORT_COUNT; id++) {
        if (dlsym(g_real, g_names[id]) != real)
            continue;
        if (!is_hooked(g_names[id]))
            return real;
        g_hooked++;
        return dlsym(g_ours, g_names[id]);
    }
    return real;
}

static void check_look_up(const char *name, int version, cuuint64_t flags)
{
    CUdriverProcAddressQueryResult status = CU_GET_PROC_ADDRESS_SUCCESS;
    CUdriverProcAddressQueryResult real_status = CU_GET_PROC_ADDRESS_SUCCESS;
    void *real = NULL;
    void *found = NULL;
    CUresult real_res = g_ask_real_v2(name, &real, version, flags, &real_status);
    CUresult res = cuGetProcAddress_v2(name, &found, version, flags, &status);

    CHECK(res == real_res, "%s@%d flags=%d: %d, real %d", name, version, (int)flags, res, real_res);
    CHECK(status == real_status, "%s@%d flags=%d: status %d, real %d", name, version, (int)flags,
          status, real_status);
    CHECK(found == expected(real), "%s@%d flags=%d: in %s", name, version, (int)flags,
          file_of(found));
    g_answered += real != NULL;

    real = found = NULL;
    real_res = g_ask_real(name, &real, version, flags);
    res = cuGetProcAddress(name, &found, version, flags);
    CHECK(res == real_res, "%s@%d flags=%d: %d, real %d", name, version, (int)flags, res, real_res);
    CHECK(found == expected(real), "%s@%d flags=%d: in %s", name, version, (int)flags,
          file_of(found));
}

static int replay(const char *path)
{
    FILE *file = fopen(path, "r");
    char line[256];
    int count = 0;

    if (!file) {
        printf("cannot open %s: run the tests from the root of the repository\n", path);
        exit(1);
    }
    while (fgets(line, sizeof(line), file)) {
        char *at = strchr(line, '@');
        int version;
        int flags;

        if (!at || sscanf(at, "@%d flags=%d", &version, &flags) != 2) {
            printf("%s: not a look-up: %s", path, line);
            exit(1);
        }
        *at = '\0';
        check_look_up(line, version, (cuuint64_t)flags);
        count++;
    }
    fclose(file);
    return count;
}

/* Some that are easily got wrong, spelled out: the same name in several ABIs and streams. */
static void check_known(void)
{
    static const struct {
        const char *name;
        int version;
        int flags;
        const char *symbol;
    } known[] = {
        {"cuMemcpyHtoD", 3020, 0, "cuMemcpyHtoD_v2"},
        {"cuMemcpyHtoD", 7000, 2, "cuMemcpyHtoD_v2_ptds"},
        {"cuMemcpyHtoDAsync", 13000, 2, "cuMemcpyHtoDAsync_v2_ptsz"},
        {"cuMemAlloc", 3020, 2, "cuMemAlloc_v2"},
        {"cuMemAdvise", 8000, 0, "cuMemAdvise"},
        {"cuMemAdvise", 12020, 0, "cuMemAdvise_v2"},
        {"cuMemPrefetchAsync", 12010, 2, "cuMemPrefetchAsync_ptsz"},
        {"cuMemPrefetchAsync", 13000, 2, "cuMemPrefetchAsync_v2_ptsz"},
        {"cuMemcpyBatchAsync", 12080, 0, "cuMemcpyBatchAsync"},
        {"cuMemcpyBatchAsync", 13000, 0, "cuMemcpyBatchAsync_v2"},
        {"cuGetProcAddress", 11030, 0, "cuGetProcAddress"},
        {"cuGetProcAddress", 12000, 0, "cuGetProcAddress_v2"},
        {"cuCtxSynchronize", 2000, 0, "cuCtxSynchronize"},
        {"cuCtxSynchronize", 13000, 0, "cuCtxSynchronize_v2"},
        {"cuCtxDestroy", 2000, 0, "cuCtxDestroy"},
        {"cuCtxDestroy", 4000, 0, "cuCtxDestroy_v2"},
        {"cuLaunchKernel", 4000, 0, "cuLaunchKernel"},
        {"cuLaunchKernel", 7000, 2, "cuLaunchKernel_ptsz"},
    };

    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        void *found = NULL;
        CUresult res = cuGetProcAddress_v2(known[i].name, &found, known[i].version,
                                           (cuuint64_t)known[i].flags, NULL);

        CHECK(res == CUDA_SUCCESS && found == dlsym(g_ours, known[i].symbol), "%s@%d: not %s",
              known[i].name, known[i].version, known[i].symbol);
    }
}

int main(void)
{
    const char *folder = getenv("BERTH_TEST_DATA");
    char path[4096];
    int count;

    g_ours = open_ours();
    g_real = open_real();
    *(void **)&g_ask_real = dlsym(g_real, "cuGetProcAddress");
    *(void **)&g_ask_real_v2 = dlsym(g_real, "cuGetProcAddress_v2");

    snprintf(path, sizeof(path), "%s/cudart-13.0-lookups.txt", folder ? folder : "tests/data");
    count = replay(path);
    CHECK(count == LOOKUPS, "%d look-ups in %s", count, path);
    /* The driver of this test must answer most of them, or nothing has been looked at. */
    CHECK(g_answered > LOOKUPS / 2, "only %d answered", g_answered);
    CHECK(g_hooked > 100, "only %d hooked", g_hooked);
    check_known();
    return check_report();
}
