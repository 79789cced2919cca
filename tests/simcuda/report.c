#include <stdatomic.h>
#include <stdio.h>

#include "init.h"
#include "memory.h"
#include "pace.h"
#include "stream.h"
#include "tests/simcuda/exports.h"

#define EXPORTS_MAX 1024

static _Atomic uint64_t g_unmodelled[EXPORTS_MAX];

int export_unmodelled(unsigned index)
{
    CUresult res = sim_call();

    if (res != CUDA_SUCCESS)
        return res;
    if (atomic_fetch_add(&g_unmodelled[index], 1) == 0)
        sim_log("%s is not modelled: answering 801", export_name(index));
    return CUDA_ERROR_NOT_SUPPORTED;
}

uint64_t export_unmodelled_calls(unsigned index)
{
    return atomic_load(&g_unmodelled[index]);
}

static void report_device(FILE *file, int device)
{
    struct memory_counters counters;
    const char *separator = "";

    memory_counters(device, &counters);
    fprintf(file, "%s{", device ? "," : "");
#define X(name)                                                                                    \
    fprintf(file, "%s\"" #name "\":%llu", separator, (unsigned long long)counters.name);           \
    separator = ",";
    MEMORY_COUNTERS(X)
#undef X
    fprintf(file, "}");
}

static void report_unmodelled(FILE *file)
{
    const char *separator = "";
    unsigned i;

    for (i = 0; i < export_count(); i++) {
        unsigned long long calls = export_unmodelled_calls(i);

        if (!calls)
            continue;
        fprintf(file, "%s\"%s\":%llu", separator, export_name(i), calls);
        separator = ",";
    }
}

/* What the program, or who stands in for it, has left. */
static void report_left(FILE *file)
{
    fprintf(file,
            "\"allocated\":{\"device\":%llu,\"managed\":%llu,\"host\":%llu,\"registered\":%llu}",
            (unsigned long long)memory_allocated(MEMORY_DEVICE),
            (unsigned long long)memory_allocated(MEMORY_MANAGED),
            (unsigned long long)memory_allocated(MEMORY_HOST),
            (unsigned long long)memory_allocated(MEMORY_REGISTERED));
    fprintf(file, ",\"alive\":{\"streams\":%u,\"events\":%u,\"modules\":%u}",
            handle_count(HANDLE_STREAM), handle_count(HANDLE_EVENT), handle_count(HANDLE_MODULE));
}

void report_write(void)
{
    const char *path = sim_setting_text(SIM_REPORT);
    FILE *file;
    int i;

    if (!*path)
        return;
    file = fopen(path, "w");
    if (!file) {
        fprintf(stderr, "simcuda: cannot write SIMCUDA_REPORT=%s: %m\n", path);
        return;
    }
    fprintf(file, "{\"launches\":%llu,\"devices\":[", (unsigned long long)launch_count());
    for (i = 0; i < sim_device_count(); i++)
        report_device(file, i);
    fprintf(file, "],");
    report_left(file);
    fprintf(file, ",\"unmodelled\":{");
    report_unmodelled(file);
    fprintf(file, "}");
    if (pace_is_on()) {
        fprintf(file, ",\"pace\":");
        pace_report(file, sim_device_count());
    }
    fprintf(file, "}\n");
    if (fclose(file) != 0)
        fprintf(stderr, "simcuda: cannot write SIMCUDA_REPORT=%s: %m\n", path);
}
