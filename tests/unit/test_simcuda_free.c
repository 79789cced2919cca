/* Strategy: a thread frees memory while a stream is held up, and waits in the driver; another one
 * keeps asking whether that stream is there. It gets no answer until the free has one. That it
 * waits is seen from the system, which shows a thread asleep that otherwise never sleeps.
 */
#include <dlfcn.h>
#include <libgen.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/apps/cuda_api.h"

#define TEXT_OF(x) #x
#define TEXT(x)    TEXT_OF(x)
#define CALL(name) ((__typeof__(&name))dlsym(g_library, TEXT(name)))
#define OK(call)   assert_int_equal(call, CUDA_SUCCESS)

#define PATIENCE_S 60

static void *g_library;
static CUcontext g_context;
static CUstream g_held;
static sem_t g_gate;
static CUdeviceptr g_memory;
static _Atomic long g_asker;       /* its number for the system */
static _Atomic uint64_t g_refused; /* answers that the held stream is not there yet */

static void wait_at_gate(void *arg)
{
    (void)arg;
    sem_wait(&g_gate);
}

static void *free_memory(void *arg)
{
    (void)arg;
    CALL(cuCtxSetCurrent)(g_context);
    return (void *)(intptr_t)CALL(cuMemFree)(g_memory);
}

static void *ask(void *arg)
{
    __typeof__(&cuStreamQuery) query = CALL(cuStreamQuery);
    CUresult result;

    (void)arg;
    CALL(cuCtxSetCurrent)(g_context);
    g_asker = syscall(SYS_gettid);
    while ((result = query(g_held)) == CUDA_ERROR_NOT_READY)
        g_refused++;
    return (void *)(intptr_t)result;
}

/* What the system says of a thread: R, S, ... */
static char state_of(long thread)
{
    char path[64], state = '?';
    FILE *file;

    snprintf(path, sizeof(path), "/proc/self/task/%ld/stat", thread);
    file = fopen(path, "r");
    if (!file)
        return state;
    if (fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
        state = '?';
    fclose(file);
    return state;
}

/* It takes locks, where it may sleep for a moment: so it must sleep without a word meanwhile. */
static int is_kept_waiting(void)
{
    uint64_t refused = g_refused;

    for (int i = 0; i < 1000; i++) {
        if (state_of(g_asker) != 'S' || g_refused != refused)
            return 0;
        sched_yield();
    }
    return 1;
}

static void test_a_free_that_waits_keeps_others_waiting(void **state)
{
    pthread_t freer, asker;
    time_t until = time(NULL) + PATIENCE_S;
    void *result;
    int waits;

    (void)state;
    OK(CALL(cuMemAlloc)(&g_memory, 1 << 20));
    OK(CALL(cuStreamCreate)(&g_held, CU_STREAM_NON_BLOCKING));
    OK(CALL(cuLaunchHostFunc)(g_held, wait_at_gate, NULL));
    assert_int_equal(pthread_create(&asker, NULL, ask, NULL), 0);
    while (!g_refused)
        sched_yield();
    assert_int_equal(pthread_create(&freer, NULL, free_memory, NULL), 0);
    do {
        waits = is_kept_waiting();
    } while (!waits && time(NULL) < until);
    sem_post(&g_gate);
    pthread_join(freer, &result);
    assert_null(result);
    pthread_join(asker, &result);
    assert_null(result);
    assert_true(waits);
    OK(CALL(cuStreamDestroy)(g_held));
}

/* The library lies beside the folder of this program. */
static int start(void **state)
{
    char program[PATH_MAX], path[PATH_MAX + 32];
    ssize_t length = readlink("/proc/self/exe", program, sizeof(program) - 1);

    (void)state;
    if (length < 0)
        return -1;
    program[length] = '\0';
    snprintf(path, sizeof(path), "%s/../simcuda/libcuda.so.1", dirname(program));
    g_library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!g_library || sem_init(&g_gate, 0, 0) || CALL(cuInit)(0) != CUDA_SUCCESS)
        return -1;
    if (CALL(cuDevicePrimaryCtxRetain)(&g_context, 0) != CUDA_SUCCESS)
        return -1;
    return CALL(cuCtxSetCurrent)(g_context) == CUDA_SUCCESS ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_free_that_waits_keeps_others_waiting),
    };

    return cmocka_run_group_tests(tests, start, NULL);
}
