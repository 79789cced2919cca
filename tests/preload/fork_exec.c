/* fork_exec.c - children: one that leaves CUDA alone, one that ends by exit(), one that runs
 * another program, and one that runs this program again, which then has a driver of its own.
 *
 * The parent's weights are still right after each of them.
 *
 * stats: .weights.total_bytes == 12 * 2**20
 * stats: 0 < .weights.peak_resident_bytes <= 8 * 2**20
 * stats: .errors.driver_failures == 0
 * run: max-memory=0=8MiB
 * run: max-memory=0=8MiB via=preload only=berth
 */
#include "weights.h"

#include <errno.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define TENSORS 6
#define WORDS   ((uint64_t)(2 * MIB / 4))

/* Waits for the child and fails unless it ended with this code. */
static void expect_end(pid_t child, int code)
{
    int status = 0;

    EXPECT(child > 0);
    while (waitpid(child, &status, 0) < 0)
        EXPECT(errno == EINTR);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != code)
        FAIL("the child ended with status %#x, expected exit code %d", status, code);
}

static int encode(int rounds)
{
    struct weights weights[TENSORS];
    CUdeviceptr out;

    context_new(0);
    for (uint32_t i = 0; i < TENSORS; i++)
        weights_upload(&weights[i], WORDS, 50 + i);
    CUDA_CHECK(cuMemAlloc(&out, 8 * TENSORS));
    for (int i = 0; i < rounds; i++)
        weights_check(weights, TENSORS, out, 0);
    return 0;
}

int main(int argc, char **argv)
{
    struct weights weights[TENSORS];
    CUdeviceptr out;
    pid_t child;

    if (argc > 1 && strcmp(argv[1], "again") == 0)
        return encode(2);
    context_new(0);
    for (uint32_t i = 0; i < TENSORS; i++)
        weights_upload(&weights[i], WORDS, i);
    CUDA_CHECK(cuMemAlloc(&out, 8 * TENSORS));
    weights_check(weights, TENSORS, out, 0);

    child = fork();
    if (child == 0)
        _exit(3);
    expect_end(child, 3);
    weights_check(weights, TENSORS, out, 0);

    child = fork();
    if (child == 0)
        exit(4);
    expect_end(child, 4);
    weights_check(weights, TENSORS, out, 0);

    EXPECT(system("exit 5") == 5 << 8);
    weights_check(weights, TENSORS, out, 0);

    /* The statistics of the parent are not the child's to write. */
    child = fork();
    if (child == 0) {
        unsetenv("BERTH_STATS");
        unsetenv("SIMCUDA_REPORT");
        execl("/proc/self/exe", argv[0], "again", (char *)NULL);
        _exit(127);
    }
    weights_check(weights, TENSORS, out, 0);
    expect_end(child, 0);
    for (int i = 0; i < TENSORS; i++)
        weights_read_back(&weights[i]);
    return 0;
}
