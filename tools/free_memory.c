#include "free_memory.h"

#include "devices.h"
#include "shim/driver_path.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>

#define HOST_MARGIN_SHARE 16 /* of what the host has free, left alone */
#define GPU_MARGIN_SHARE  10 /* of what a GPU has free, left to what the program computes with */
#define MIB               ((uint64_t)1 << 20)

uint64_t free_memory_host_bytes(void)
{
    FILE *file = fopen("/proc/meminfo", "re");
    unsigned long long kib = 0;
    char line[128];

    if (!file)
        return POLICY_UNSET;
    while (!kib && fgets(line, sizeof(line), file))
        sscanf(line, "MemAvailable: %llu kB", &kib);
    fclose(file);
    return kib ? kib * 1024 - kib * 1024 / HOST_MARGIN_SHARE : POLICY_UNSET;
}

const char *free_memory_of_gpus(struct policy_memory *memory)
{
    uint64_t free_bytes[DEVICES_MAX];
    char driver[PATH_MAX];
    int err = driver_path_find(driver, sizeof(driver)), count, i, budgets = 0;

    if (err == -ENOENT)
        return "no CUDA driver tells what the GPUs have free";
    if (err)
        return "BERTH_DRIVER names no CUDA driver";
    count = devices_free(driver, free_bytes);
    for (i = 0; i < count && i < DEVICES_MAX && i < POLICY_DEVICES_MAX; i++) {
        if (free_bytes[i] < MIB)
            continue;
        memory->device_bytes[i] = (free_bytes[i] - free_bytes[i] / GPU_MARGIN_SHARE) / MIB * MIB;
        budgets++;
    }
    return budgets ? NULL : "the CUDA driver does not tell what any GPU has free";
}
