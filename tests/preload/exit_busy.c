/* exit_busy.c - a program that ends while its threads launch, allocate, copy and free: in every way
 * to end, called by one of those threads or by the first one.
 *
 * Nobody waits for the threads. Whatever they are in the middle of, the process must end as it was
 * told to and the statistics must be left behind.
 *
 * stats: .weights.total_bytes >= 8 * 2**20
 * stats: 0 < .weights.peak_resident_bytes <= 8 * 2**20
 * stats: .errors.driver_failures == 0
 * run: max-memory=0=8MiB arg=exit
 * run: max-memory=0=8MiB arg=exit via=preload
 * run: max-memory=0=8MiB arg=exit-thread
 * run: max-memory=0=8MiB arg=_exit
 * run: max-memory=0=8MiB arg=quick_exit
 * run: max-memory=0=8MiB arg=pthread_exit
 * run: max-memory=0=8MiB arg=abort
 * exit: signal-6
 * run: max-memory=0=8MiB arg=fault
 * exit: signal-11
 * run: max-memory=0=8MiB arg=kill
 * exit: signal-9
 * run: max-memory=0=8MiB arg=term
 * exit: signal-15
 * run: max-memory=0=8MiB arg=exec
 * run: max-memory=0=8MiB arg=exec-thread
 * run: max-memory=0=8MiB arg=exec-other
 */
#include "weights.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#define THREADS 4
#define TENSORS 4
#define ROUNDS  2 /* of every thread, before the end */
#define WORDS   ((uint64_t)(MIB / 4))

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int rounds[THREADS];
} g_progress = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, {0}};

static CUcontext g_context;
static CUfunction g_hash;
static const char *g_way;
static char *g_program;

/* A driver that is on its way out refuses; whoever hears of it has nothing more to do. */
static void check(CUresult result)
{
    while (result == CUDA_ERROR_DEINITIALIZED)
        pause();
    if (result != CUDA_SUCCESS) {
        fprintf(stderr, "%s while the program runs\n", cuda_error_name(result));
        _exit(1);
    }
}

static void end(void)
{
    static volatile int *const nobody = NULL;

    if (strncmp(g_way, "exit", 4) == 0)
        exit(0);
    if (strcmp(g_way, "_exit") == 0)
        _exit(0);
    if (strcmp(g_way, "quick_exit") == 0)
        quick_exit(0);
    if (strcmp(g_way, "abort") == 0)
        abort();
    if (strcmp(g_way, "kill") == 0)
        kill(getpid(), SIGKILL);
    if (strcmp(g_way, "term") == 0)
        kill(getpid(), SIGTERM);
    if (strcmp(g_way, "fault") == 0) {
#ifdef __SANITIZE_ADDRESS__
        puts("the address sanitizer takes this signal for itself");
        fflush(stdout);
        _exit(EXIT_SKIP);
#endif
        *nobody = 1;
    }
    if (strcmp(g_way, "exec-other") == 0)
        execl("/bin/true", "true", (char *)NULL);
    if (strncmp(g_way, "exec", 4) == 0)
        execl("/proc/self/exe", g_program, "again", (char *)NULL);
    for (;;)
        pause();
}

static void say_round(int thread)
{
    pthread_mutex_lock(&g_progress.lock);
    g_progress.rounds[thread]++;
    pthread_cond_broadcast(&g_progress.changed);
    pthread_mutex_unlock(&g_progress.lock);
}

static void wait_for_rounds(void)
{
    pthread_mutex_lock(&g_progress.lock);
    for (int i = 0; i < THREADS; i++)
        while (g_progress.rounds[i] < ROUNDS)
            pthread_cond_wait(&g_progress.changed, &g_progress.lock);
    pthread_mutex_unlock(&g_progress.lock);
}

static void one_round(const void *bytes, CUdeviceptr out, CUstream stream)
{
    CUdeviceptr p[TENSORS];
    uint64_t words = WORDS;

    for (int i = 0; i < TENSORS; i++) {
        void *params[] = {&p[i], &words, &out};

        check(cuMemAlloc(&p[i], WORDS * 4));
        check(cuMemcpyHtoDAsync(p[i], bytes, WORDS * 4, stream));
        check(cuLaunchKernel(g_hash, 1, 1, 1, 256, 1, 1, 0, stream, params, NULL));
    }
    for (int i = 0; i < TENSORS; i++)
        check(cuMemFree(p[i]));
}

static void *work(void *arg)
{
    int thread = *(int *)arg;
    void *bytes = calloc(WORDS, 4);
    CUdeviceptr out;
    CUstream stream;

    EXPECT(bytes != NULL);
    check(cuCtxSetCurrent(g_context));
    check(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    check(cuMemAlloc(&out, 8));
    for (int round = 0;; round++) {
        one_round(bytes, out, stream);
        say_round(thread);
        if (thread == 0 && strstr(g_way, "-thread") && round > ROUNDS)
            end();
    }
    return NULL;
}

/* Called by the first thread when it ends before the others. */
static void say_ended(void *ended)
{
    pthread_mutex_lock(&g_progress.lock);
    *(int *)ended = 1;
    pthread_cond_broadcast(&g_progress.changed);
    pthread_mutex_unlock(&g_progress.lock);
}

static void *end_after_first(void *ended)
{
    pthread_mutex_lock(&g_progress.lock);
    while (!*(int *)ended)
        pthread_cond_wait(&g_progress.changed, &g_progress.lock);
    pthread_mutex_unlock(&g_progress.lock);
    exit(0);
}

static void end_first_thread(void)
{
    static int ended;
    pthread_key_t key;
    pthread_t thread;

    EXPECT(pthread_key_create(&key, say_ended) == 0 && pthread_setspecific(key, &ended) == 0);
    EXPECT(pthread_create(&thread, NULL, end_after_first, &ended) == 0);
    pthread_exit(NULL);
}

int main(int argc, char **argv)
{
    static struct weights weights[8];
    static int index[THREADS];
    pthread_t thread;

    g_way = argc > 1 ? argv[1] : "exit";
    g_program = argv[0];
    g_context = context_new(0);
    g_hash = kernel("tk_hash");
    for (uint32_t i = 0; i < 8; i++)
        weights_upload(&weights[i], WORDS, i);
    if (strcmp(g_way, "again") == 0)
        return 0;
    for (int i = 0; i < THREADS; i++) {
        index[i] = i;
        EXPECT(pthread_create(&thread, NULL, work, &index[i]) == 0);
    }
    wait_for_rounds();
    if (strcmp(g_way, "pthread_exit") == 0)
        end_first_thread();
    if (!strstr(g_way, "-thread"))
        end();
    for (;;)
        pause();
}
