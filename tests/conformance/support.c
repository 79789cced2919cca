/* support.c - verdicts, contexts, kernels, gates: what the checks share. */
#include "conformance.h"

#include <stdarg.h>
#include <unistd.h>

#define EXIT_FAIL 1
#define EXIT_SKIP 77

void check_fail(const char *file, int line, const char *format, ...)
{
    va_list args;

    printf("%s:%d: ", file, line);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
    fflush(stdout);
    _exit(EXIT_FAIL);
}

void check_skip(const char *format, ...)
{
    va_list args;

    printf("@skip ");
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
    fflush(stdout);
    _exit(EXIT_SKIP);
}

void answer(const char *key, long long value)
{
    printf("@answer %s %lld\n", key, value);
}

void answer_text(const char *key, const char *value)
{
    printf("@answer %s \"%s\n", key, value);
}

void note(const char *key, long long value)
{
    printf("@note %s %lld\n", key, value);
}

void note_text(const char *key, const char *value)
{
    printf("@note %s \"%s\n", key, value);
}

CUdevice begin_device(void)
{
    CUdevice device;

    OK(cuInit(0));
    OK(cuDeviceGet(&device, 0));
    return device;
}

CUcontext begin(void)
{
    begin_device();
    return new_context();
}

CUcontext new_context(void)
{
    CUcontext context = NULL;

    OK(cuCtxCreate(&context, NULL, 0, 0));
    EXPECT(context != NULL);
    return context;
}

int device_attribute(CUdevice_attribute attribute)
{
    int value = -1;

    OK(cuDeviceGetAttribute(&value, attribute, 0));
    return value;
}

void need_concurrent_managed(void)
{
    if (!device_attribute(CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY))
        check_skip("the device has no managed memory (attribute 83)");
    if (!device_attribute(CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS))
        check_skip("host and device may not use managed memory at once (attribute 89)");
}

/* The module of the context that loaded it last; checks with several contexts load their own. */
CUmodule test_module(void)
{
    static __thread CUmodule module;
    static __thread CUcontext owner;
    CUcontext current = NULL;

    OK(cuCtxGetCurrent(&current));
    EXPECT(current != NULL);
    if (owner != current) {
        OK(cuModuleLoadData(&module, ptx_test_kernels));
        owner = current;
    }
    return module;
}

CUfunction kernel(const char *name)
{
    CUfunction function = NULL;

    OK(cuModuleGetFunction(&function, test_module(), name));
    EXPECT(function != NULL);
    return function;
}

void launch_fill(CUstream stream, CUdeviceptr p, uint64_t words, uint32_t seed)
{
    LAUNCH(kernel("tk_fill"), 32, 128, stream, &p, &words, &seed);
}

void launch_copy(CUstream stream, CUdeviceptr dst, CUdeviceptr src, uint64_t words)
{
    LAUNCH(kernel("tk_copy"), 32, 128, stream, &dst, &src, &words);
}

void launch_triple(CUstream stream, CUdeviceptr p, uint64_t words)
{
    LAUNCH(kernel("tk_triple"), 32, 128, stream, &p, &words);
}

void launch_work(CUstream stream, CUdeviceptr out)
{
    uint32_t x = 1;
    uint64_t rounds = 50000;

    LAUNCH(kernel("tk_work"), 1, 1, stream, &out, &x, &rounds);
}

void warm_up(void)
{
    CUdeviceptr p = device_alloc(64);

    launch_fill(0, p, 4, 1);
    launch_copy(0, p + 16, p, 4);
    launch_triple(0, p, 4);
    launch_work(0, p + 32);
    OK(cuCtxSynchronize());
    OK(cuMemFree(p));
}

CUdeviceptr device_alloc(size_t bytes)
{
    CUdeviceptr p = 0;

    OK(cuMemAlloc(&p, bytes));
    EXPECT(p != 0);
    return p;
}

CUdeviceptr managed_alloc(size_t bytes)
{
    CUdeviceptr p = 0;

    OK(cuMemAllocManaged(&p, bytes, CU_MEM_ATTACH_GLOBAL));
    EXPECT(p != 0);
    return p;
}

void *pinned_alloc(size_t bytes)
{
    void *p = NULL;

    OK(cuMemAllocHost(&p, bytes));
    EXPECT(p != NULL);
    return p;
}

CUstream new_stream(unsigned flags)
{
    CUstream stream = NULL;

    OK(cuStreamCreate(&stream, flags));
    EXPECT(stream != NULL);
    return stream;
}

CUevent new_event(unsigned flags)
{
    CUevent event = NULL;

    OK(cuEventCreate(&event, flags));
    EXPECT(event != NULL);
    return event;
}

void fill_host(uint32_t *p, uint64_t words, uint32_t seed)
{
    for (uint64_t i = 0; i < words; i++)
        p[i] = tk_pattern(i, seed);
}

uint32_t *pattern_new(uint64_t words, uint32_t seed)
{
    uint32_t *p = malloc(words * sizeof(*p));

    EXPECT(p != NULL);
    fill_host(p, words, seed);
    return p;
}

void expect_host_pattern(const char *file, int line, const uint32_t *p, uint64_t words,
                         uint32_t seed)
{
    for (uint64_t i = 0; i < words; i++)
        if (p[i] != tk_pattern(i, seed))
            check_fail(file, line, "word %llu of %llu is %#x, expected %#x of pattern %u",
                       (unsigned long long)i, (unsigned long long)words, p[i], tk_pattern(i, seed),
                       seed);
}

void expect_pattern(const char *file, int line, CUdeviceptr p, uint64_t words, uint32_t seed)
{
    uint32_t *copy = malloc(words * sizeof(*copy));

    EXPECT(copy != NULL);
    OK(cuMemcpyDtoH(copy, p, words * sizeof(*copy)));
    expect_host_pattern(file, line, copy, words, seed);
    free(copy);
}

static void gate_wait(void *arg)
{
    struct gate *gate = arg;

    sem_post(&gate->entered);
    while (sem_wait(&gate->opened) != 0)
        continue;
}

void gate_close(struct gate *gate, CUstream stream)
{
    EXPECT(sem_init(&gate->entered, 0, 0) == 0);
    EXPECT(sem_init(&gate->opened, 0, 0) == 0);
    OK(cuLaunchHostFunc(stream, gate_wait, gate));
    while (sem_wait(&gate->entered) != 0)
        continue;
}

void gate_open(struct gate *gate)
{
    sem_post(&gate->opened);
}

struct thread_call {
    void (*function)(void *arg);
    void *arg;
};

static void *thread_main(void *arg)
{
    struct thread_call *call = arg;

    call->function(call->arg);
    return NULL;
}

void in_thread(void (*function)(void *arg), void *arg)
{
    struct thread_call call = {function, arg};
    pthread_t thread;

    EXPECT(pthread_create(&thread, NULL, thread_main, &call) == 0);
    EXPECT(pthread_join(thread, NULL) == 0);
}
