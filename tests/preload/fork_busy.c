/* fork_busy.c - children of a program whose other threads launch, allocate and free at that moment.
 *
 * A child of fork has no driver: whatever it calls is refused, at once, although the thread that
 * held a lock when the process was copied is not there to give it back. It ends by exit() all the
 * same. Children of vfork and of posix_spawn share the parent's memory until they run something
 * else; what they run, this program again among it, has a driver of its own. Children are also
 * killed. None of it changes what the parent computes.
 *
 * stats: .weights.total_bytes >= 6 * 2**20
 * stats: 0 < .weights.peak_resident_bytes <= 8 * 2**20
 * stats: .errors.driver_failures == 0
 * run: max-memory=0=8MiB
 * run: max-memory=0=8MiB via=preload only=berth
 */
#include "weights.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define THREADS  3
#define TENSORS  3
#define CHILDREN 12 /* of each kind that ends at once */
#define WORDS    ((uint64_t)(2 * MIB / 4))

static CUcontext g_context;
static atomic_int g_stop;

static void *work(void *arg)
{
    struct weights own;
    CUstream stream;
    CUdeviceptr out;

    CUDA_CHECK(cuCtxSetCurrent(g_context));
    CUDA_CHECK(cuStreamCreate(&stream, CU_STREAM_DEFAULT));
    CUDA_CHECK(cuMemAlloc(&out, 8));
    while (!atomic_load(&g_stop)) {
        weights_upload(&own, WORDS / 2, *(uint32_t *)arg);
        weights_check(&own, 1, out, stream);
        CUDA_CHECK(cuMemFree(own.p));
    }
    CUDA_CHECK(cuMemFree(out));
    CUDA_CHECK(cuStreamDestroy(stream));
    return NULL;
}

static void expect_end(pid_t child, int status_expected)
{
    int status = 0;

    EXPECT(child > 0);
    while (waitpid(child, &status, 0) < 0)
        EXPECT(errno == EINTR);
    if (status != status_expected)
        FAIL("the child ended with status %#x, expected %#x", status, status_expected);
}

/* In a child: how many of these calls are not refused. */
static int count_accepted(CUdeviceptr p)
{
    CUdeviceptr other, out = p;
    uint64_t words = 1;
    unsigned type;
    uint32_t word = 0;
    size_t free_bytes, total_bytes;
    void *params[] = {&p, &words, &out};

    return (cuMemAlloc(&other, 4 * MIB) == CUDA_SUCCESS) +
           (cuMemcpyHtoD(p, &word, 4) == CUDA_SUCCESS) +
           (cuMemcpyDtoH(&word, p, 4) == CUDA_SUCCESS) + (cuMemsetD32(p, 0, 1) == CUDA_SUCCESS) +
           (cuLaunchKernel(NULL, 1, 1, 1, 1, 1, 1, 0, NULL, params, NULL) == CUDA_SUCCESS) +
           (cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, p) == CUDA_SUCCESS) +
           (cuMemGetInfo(&free_bytes, &total_bytes) == CUDA_SUCCESS) +
           (cuCtxSynchronize() == CUDA_SUCCESS) + (cuMemFree(p) == CUDA_SUCCESS);
}

static void fork_children(CUdeviceptr p)
{
    pid_t child[CHILDREN];

    for (int i = 0; i < CHILDREN; i++) {
        child[i] = fork();
        if (child[i] == 0) {
            /* Where another thread was ending the process just then, because a call of it failed,
             * glibc's lock of exit() stays taken in this copy: it ends all the same. */
            alarm(20);
            exit(count_accepted(p));
        }
    }
    for (int i = 0; i < CHILDREN; i++)
        expect_end(child[i], 0);
    for (int i = 0; i < CHILDREN; i++) {
        child[0] = fork();
        if (child[0] == 0) {
            kill(getpid(), i % 2 ? SIGKILL : SIGABRT);
            _exit(99);
        }
        expect_end(child[0], i % 2 ? SIGKILL : SIGABRT);
    }
}

/* A function of its own: what the child changes in it is the parent's too. */
static pid_t vfork_child(int runs_program)
{
    pid_t child = vfork();

    if (child == 0) {
        if (runs_program)
            execl("/bin/true", "true", (char *)NULL);
        _exit(runs_program ? 127 : 3);
    }
    return child;
}

static void vfork_children(void)
{
    for (int i = 0; i < CHILDREN; i++) {
        expect_end(vfork_child(0), 3 << 8);
        expect_end(vfork_child(1), 0);
    }
}

/* The statistics of the parent are not the child's to write. */
static char **environment_of_child(void)
{
    static char *kept[1024];
    size_t count = 0;

    for (char **variable = environ; *variable && count < 1023; variable++)
        if (strncmp(*variable, "BERTH_STATS=", 12) && strncmp(*variable, "SIMCUDA_REPORT=", 15))
            kept[count++] = *variable;
    return kept;
}

static void spawn_children(char *name)
{
    char *again[] = {name, "again", NULL}, *nothing[] = {"true", NULL};
    pid_t child, other;

    EXPECT(posix_spawn(&child, "/proc/self/exe", NULL, NULL, again, environment_of_child()) == 0);
    EXPECT(posix_spawn(&other, "/bin/true", NULL, NULL, nothing, environ) == 0);
    expect_end(other, 0);
    expect_end(child, 0);
}

static int use_cuda(void)
{
    struct weights weights;
    CUdeviceptr out;

    context_new(0);
    weights_upload(&weights, WORDS, 7);
    CUDA_CHECK(cuMemAlloc(&out, 8));
    weights_check(&weights, 1, out, NULL);
    return 0;
}

int main(int argc, char **argv)
{
    static uint32_t seed[THREADS];
    struct weights weights[TENSORS];
    pthread_t threads[THREADS];
    CUdeviceptr out;

    if (argc > 1 && strcmp(argv[1], "again") == 0)
        return use_cuda();
    g_context = context_new(0);
    for (uint32_t i = 0; i < TENSORS; i++)
        weights_upload(&weights[i], WORDS, i);
    CUDA_CHECK(cuMemAlloc(&out, 8 * TENSORS));
    for (uint32_t i = 0; i < THREADS; i++) {
        seed[i] = 100 + i;
        EXPECT(pthread_create(&threads[i], NULL, work, &seed[i]) == 0);
    }
    fork_children(weights[0].p);
    vfork_children();
    spawn_children(argv[0]);
    weights_check(weights, TENSORS, out, NULL);
    atomic_store(&g_stop, 1);
    for (int i = 0; i < THREADS; i++)
        EXPECT(pthread_join(threads[i], NULL) == 0);
    for (int i = 0; i < TENSORS; i++)
        weights_read_back(&weights[i]);
    return 0;
}
