/* exit_no_free.c - a program that ends with work queued and nothing freed, in every way to end.
 *
 * Twelve tensors, three times what the budget holds. However it ends, it must end, and the
 * statistics must be left behind.
 *
 * stats: .weights.total_bytes == 24 * 2**20
 * stats: .weights.allocated_bytes == 24 * 2**20 == .weights.vram_bytes + .weights.host_bytes
 * stats: 0 < .weights.peak_resident_bytes <= 8 * 2**20
 * stats: .errors.driver_failures == 0
 * run: max-memory=0=8MiB
 * run: max-memory=0=8MiB via=preload
 * run: max-memory=0=8MiB arg=_exit
 * run: max-memory=0=8MiB arg=thread
 * run: max-memory=0=8MiB arg=kill
 * exit: signal-9
 * run: max-memory=0=8MiB arg=segv
 * exit: signal-11
 */
#include "weights.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define TENSORS 12
#define WORDS   ((uint64_t)(2 * MIB / 4))

static void *exit_in_thread(void *arg)
{
    (void)arg;
    exit(0);
}

int main(int argc, char **argv)
{
    const char *way = argc > 1 ? argv[1] : "return";
    struct weights weights[TENSORS];
    CUstream streams[2];
    CUdeviceptr out;
    pthread_t thread;

    context_new(0);
    for (uint32_t i = 0; i < TENSORS; i++)
        weights_upload(&weights[i], WORDS, i);
    for (int i = 0; i < 2; i++)
        CUDA_CHECK(cuStreamCreate(&streams[i], CU_STREAM_NON_BLOCKING));
    CUDA_CHECK(cuMemAlloc(&out, 8 * TENSORS));
    weights_check(weights, TENSORS, out, streams[0]);
    for (int round = 0; round < 3; round++)
        for (int i = 0; i < TENSORS; i++)
            weights_hash(&weights[i], out + 8 * (CUdeviceptr)i, streams[i % 2]);
    if (strcmp(way, "_exit") == 0)
        _exit(0);
    if (strcmp(way, "segv") == 0) {
#ifdef __SANITIZE_ADDRESS__
        puts("the address sanitizer takes this signal for itself");
        fflush(stdout);
        _exit(77);
#endif
        raise(SIGSEGV);
    }
    if (strcmp(way, "kill") == 0)
        kill(getpid(), SIGKILL);
    if (strcmp(way, "thread") == 0) {
        EXPECT(pthread_create(&thread, NULL, exit_in_thread, NULL) == 0);
        pthread_join(thread, NULL);
    }
    return 0;
}
