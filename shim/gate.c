#include "gate.h"
#include "monotonic.h"
#include "stats.h"
#include "thread.h"
#include <pthread.h>
#include <sys/mman.h>

#define LOOK_NS       1000000 /* between looks at gates that may have been closed for too long */
#define LOOKS_IDLE    100     /* that found none closed: then the thread sleeps until one is */
#define PAGE_OF_WORDS 4096u

static pthread_mutex_t g_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t g_closing;
static struct gates *g_closed; /* g_lock */
static int g_sleeps;           /* g_lock: the thread is to be woken */
static pthread_once_t g_once = PTHREAD_ONCE_INIT;
static int g_runs; /* set once */

static void open_forgotten_gates(void)
{
    for (struct gates *g = g_closed; g; g = g->next) {
        if (g->was_seen)
            atomic_store_explicit(&g->words[g->closed], g->number, memory_order_release);
        g->was_seen = 1;
    }
}

static void *look_after_gates(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&g_lock);
    for (unsigned idle = 0;; idle = g_closed ? 0 : idle + 1) {
        struct timespec until;

        g_sleeps = idle >= LOOKS_IDLE;
        while (g_sleeps) {
            pthread_cond_wait(&g_closing, &g_lock);
            idle = 0;
        }
        until = monotonic_timespec(monotonic_now_ns() + LOOK_NS);
        pthread_cond_timedwait(&g_closing, &g_lock, &until);
        open_forgotten_gates();
    }
    return NULL;
}

static void start_thread(void)
{
    monotonic_cond_init(&g_closing);
    g_runs = !thread_start(look_after_gates, NULL);
}

static int make_words(const struct driver *drv, struct gates *gates)
{
    void *page;

    pthread_once(&g_once, start_thread);
    if (!g_runs || !drv->cuStreamWaitValue32_v2)
        return 0;
    page = mmap(NULL, PAGE_OF_WORDS, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED)
        return 0;
    /* A copy on write would leave the device with the page that this process no longer has. */
    if (madvise(page, PAGE_OF_WORDS, MADV_DONTFORK) ||
        stats_note(drv->cuMemHostRegister_v2(page, PAGE_OF_WORDS, CU_MEMHOSTREGISTER_DEVICEMAP))) {
        munmap(page, PAGE_OF_WORDS);
        return 0;
    }
    gates->words = page;
    return 1;
}

static void list_closed(struct gates *gates, unsigned which)
{
    pthread_mutex_lock(&g_lock);
    gates->closed = which;
    gates->was_seen = 0;
    gates->next = g_closed;
    g_closed = gates;
    if (g_sleeps) {
        g_sleeps = 0;
        pthread_cond_signal(&g_closing);
    }
    pthread_mutex_unlock(&g_lock);
}

int gate_close(const struct driver *drv, struct gates *gates, unsigned which, CUstream stream)
{
    CUresult result;

    if (!gates->refused && !gates->words)
        gates->refused = !make_words(drv, gates);
    if (gates->refused)
        return 0;
    gates->number++;
    list_closed(gates, which); /* before: whatever the call does, the gate is opened */
    result = drv->cuStreamWaitValue32_v2(stream, (CUdeviceptr)(uintptr_t)&gates->words[which],
                                         gates->number, CU_STREAM_WAIT_VALUE_GEQ);
    if (result == CUDA_SUCCESS)
        return 1;
    if (result != CUDA_ERROR_NOT_SUPPORTED)
        stats_note(result);
    gates->refused = 1; /* loads are as good without, only not as calm */
    gate_open(gates);
    return 0;
}

void gate_open(struct gates *gates)
{
    struct gates **link = &g_closed;

    pthread_mutex_lock(&g_lock);
    while (*link != gates)
        link = &(*link)->next;
    *link = gates->next;
    atomic_store_explicit(&gates->words[gates->closed], gates->number, memory_order_release);
    pthread_mutex_unlock(&g_lock);
}

void gate_free(const struct driver *drv, struct gates *gates, int gone)
{
    if (!gates->words)
        return;
    if (!gone)
        stats_note(drv->cuMemHostUnregister((void *)gates->words));
    munmap((void *)gates->words, PAGE_OF_WORDS);
    gates->words = NULL;
}
