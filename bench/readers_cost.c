/* readers_cost.c - what it takes to open a checkpoint: time, and memory for each tensor.
 *
 *     readers-cost PATH ROUNDS
 *
 * Opens the checkpoint ROUNDS times and prints one line of JSON for it. Memory is what the
 * allocator has handed out: `held` while the checkpoint is open, `peak` above what was held before,
 * while it is being opened.
 */
#include "policy/checkpoint.h"
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t allocated_bytes(void)
{
    const struct mallinfo2 info = mallinfo2();

    return info.uordblks + info.hblkhd;
}

/* Forget what the process once had: a program that was started by a larger one inherits its peak.
 */
static void reset_peak(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "w");

    if (file) {
        fputs("5", file);
        fclose(file);
    }
}

/* The most memory that the process had at once since reset_peak(). */
static uint64_t peak_bytes(void)
{
    FILE *file = fopen("/proc/self/status", "r");
    uint64_t kib = 0;
    char line[256];

    while (file && fgets(line, sizeof(line), file) && sscanf(line, "VmHWM: %" SCNu64, &kib) != 1)
        ;
    if (file)
        fclose(file);
    return kib * 1024;
}

int main(int argc, char **argv)
{
    const int rounds = argc == 3 ? atoi(argv[2]) : 0;
    uint64_t held = 0, peak = 0, start;
    struct checkpoint *checkpoint;
    struct input_error error;
    char line[INPUT_ERROR_TEXT_BYTES];

    if (rounds < 1) {
        fprintf(stderr, "usage: readers-cost PATH ROUNDS\n");
        return 2;
    }
    printf("{\"open_ns\": [");
    for (int i = 0; i < rounds; i++) {
        const uint64_t before = allocated_bytes();
        uint64_t peak_before;

        reset_peak();
        peak_before = peak_bytes();
        start = now_ns();
        if (checkpoint_open(argv[1], &checkpoint, &error)) {
            fprintf(stderr, "%s\n", input_error_format(&error, line, sizeof(line)));
            return 1;
        }
        printf("%s%" PRIu64, i ? ", " : "", now_ns() - start);
        if (i == 0) {
            held = allocated_bytes() - before;
            peak = peak_bytes() - peak_before;
        }
        if (i + 1 < rounds)
            checkpoint_close(checkpoint);
    }
    printf("], \"files\": %zu, \"tensors\": %zu, \"bytes\": %" PRIu64 ", \"held_bytes\": %" PRIu64
           ", \"peak_bytes\": %" PRIu64 "}\n",
           checkpoint->file_count, checkpoint->tensor_count, checkpoint->total_bytes, held, peak);
    checkpoint_close(checkpoint);
    return 0;
}
