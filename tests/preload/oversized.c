/* oversized.c - an object larger than the budget is read in place, sparsely and whole.
 *
 * The card itself is smaller than what is allocated: the plain driver would refuse.
 *
 * run: max-memory=0=8MiB env=SIMCUDA_VRAM=32MiB only=berth
 * stats: .weights.peak_resident_bytes <= 8 * 2**20
 * stats: .errors.refused == 0
 * report: .devices[0].peak_device_bytes <= 32 * 2**20
 * stats: .launches.resident + .launches.waited < .launches.count
 * stats: .needed_bytes["0"] >= 48 * 2**20 and .asked_bytes["0"] == 8 * 2**20
 * report: .devices[0].remote_read_bytes > 0
 */
#include "common.h"
#include <string.h>

#define ROWS      12288u
#define ROW_WORDS 1024u /* 48 MiB */
#define PICKED    64u

int main(int argc, char **argv)
{
    uint64_t seed = program_seed(argc, argv), n = (uint64_t)ROWS * ROW_WORDS;
    uint64_t count = PICKED, row_words = ROW_WORDS;
    uint32_t *table = need(n * 4), *picked = need(PICKED * ROW_WORDS * 4), rows[PICKED];
    CUdeviceptr device_table, device_rows, device_out;
    void *params[] = {&device_out, &device_table, &device_rows, &count, &row_words};
    struct kernels k;

    start(0, &k);
    fill_pattern(table, n, 7);
    for (unsigned i = 0; i < PICKED; i++)
        rows[i] = (uint32_t)(next_random(&seed) % ROWS);
    CUDA_CHECK(cuMemAlloc(&device_table, n * 4));
    CUDA_CHECK(cuMemAlloc(&device_rows, sizeof(rows)));
    CUDA_CHECK(cuMemAlloc(&device_out, PICKED * ROW_WORDS * 4));
    CUDA_CHECK(cuMemcpyHtoD(device_table, table, n * 4));
    CUDA_CHECK(cuMemcpyHtoD(device_rows, rows, sizeof(rows)));
    for (int step = 0; step < 4; step++) {
        launch_words(k.gather, NULL, count * row_words, params);
        CUDA_CHECK(cuMemcpyDtoH(picked, device_out, PICKED * ROW_WORDS * 4));
        for (unsigned i = 0; i < PICKED; i++)
            EXPECT(
                !memcmp(picked + i * ROW_WORDS, table + (size_t)rows[i] * ROW_WORDS, ROW_WORDS * 4),
                "row %u of step %d is wrong", i, step);
    }
    EXPECT(device_hash(&k, device_table, n, NULL) == tk_hash_of_pattern(n, 7),
           "the table reads otherwise as a whole");
    return 0;
}
