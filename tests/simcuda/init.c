/* The driver's life: cuInit, what every call asks first, fork, and the end of the process. */
#include "init.h"

#include <pthread.h>
#include <stdatomic.h>

#include "context.h"
#include "gate.h"
#include "memory.h"
#include "pace.h"
#include "stream.h"

enum life {
    LIFE_NONE, /* before cuInit */
    LIFE_READY,
    LIFE_FORKED, /* a child: threads and memory are the parent's */
    LIFE_ENDING,
};

static _Atomic int g_life;
static pthread_mutex_t g_init_lock = PTHREAD_MUTEX_INITIALIZER;
static int g_device_count;

/* Nothing of the driver survives fork: the workers are not there and locks may be held by nobody.
 */
static void life_after_fork(void)
{
    gate_forked();
    atomic_store(&g_life, LIFE_FORKED);
}

static CUresult life_begin(void)
{
    int count = (int)sim_setting(SIM_DEVICES);
    CUresult res;

    if (sim_setting(SIM_HELP))
        sim_setting_help();
    res = (CUresult)memory_init(count);
    if (res != CUDA_SUCCESS)
        return res;
    if (pthread_atfork(NULL, NULL, life_after_fork) != 0)
        return CUDA_ERROR_OUT_OF_MEMORY;
    stream_init();
    pace_init();
    g_device_count = count;
    atomic_store(&g_life, LIFE_READY);
    return CUDA_SUCCESS;
}

SIM_ENTRY(cuInit, unsigned int flags)
{
    CUresult res = CUDA_SUCCESS;

    if (flags != 0)
        return CUDA_ERROR_INVALID_VALUE;
    if (atomic_load(&g_life) == LIFE_NONE) {
        pthread_mutex_lock(&g_init_lock);
        if (atomic_load(&g_life) == LIFE_NONE)
            res = life_begin();
        pthread_mutex_unlock(&g_init_lock);
    }
    return res == CUDA_SUCCESS ? sim_call() : res;
}

SIM_ENTRY(cuDriverGetVersion, int *version)
{
    if (!version)
        return CUDA_ERROR_INVALID_VALUE;
    *version = (int)sim_setting(SIM_DRIVER_VERSION);
    return CUDA_SUCCESS;
}

/* There is no profiler to start; the report's window is what lies between the two. */
SIM_ENTRY(cuProfilerStart, void)
{
    CUresult res = sim_enter(NULL, NULL);

    if (res == CUDA_SUCCESS)
        pace_window_open();
    return res;
}

SIM_ENTRY(cuProfilerStop, void)
{
    CUresult res = sim_enter(NULL, NULL);

    if (res == CUDA_SUCCESS)
        pace_window_close();
    return res;
}

CUresult sim_call(void)
{
    switch (atomic_load_explicit(&g_life, memory_order_acquire)) {
    case LIFE_READY:
        return stream_in_host_function() ? CUDA_ERROR_NOT_PERMITTED : CUDA_SUCCESS;
    case LIFE_ENDING:
        return CUDA_ERROR_DEINITIALIZED;
    default:
        return CUDA_ERROR_NOT_INITIALIZED;
    }
}

CUresult sim_call_device(CUdevice device)
{
    CUresult res = sim_call();

    if (res != CUDA_SUCCESS)
        return res;
    return device >= 0 && device < g_device_count ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

int sim_device_count(void)
{
    return atomic_load(&g_life) == LIFE_NONE ? 0 : g_device_count;
}

int sim_stopping(void)
{
    return atomic_load_explicit(&g_life, memory_order_relaxed) == LIFE_ENDING;
}

/* Runs after the program's own exit handlers. Workers may still be in the middle of something, and
 * the program may have freed nothing: none of that may hang or crash the way out. */
__attribute__((destructor)) static void life_end(void)
{
    int ready = LIFE_READY;

    if (!atomic_compare_exchange_strong(&g_life, &ready, LIFE_ENDING))
        return;
    stream_stop_workers();
    report_write();
    gate_report();
}
