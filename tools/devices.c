/* devices.c - asking the driver, in a child. */
#include "devices.h"

#include "shim/cuda_abi.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* A driver that loads firmware takes seconds; one that takes longer is left to the program. */
#define ANSWER_LIMIT_MS 30000

enum question {
    ASK_COUNT,
    ASK_FREE, /* too: contexts take a second or more */
};

/* What the child sends: it fits a pipe's atomic write. */
struct answer {
    int count; /* -ENODATA where the driver does not say */
    uint64_t free_bytes[DEVICES_MAX];
};

static uint64_t ask_free(void *library, int index)
{
    CUresult (*get)(CUdevice * device, int index);
    CUresult (*retain)(CUcontext * context, CUdevice device);
    CUresult (*set)(CUcontext context);
    CUresult (*info)(size_t * free_bytes, size_t * total_bytes);
    CUcontext context;
    CUdevice device;
    size_t left, total;

    get = (CUresult(*)(CUdevice *, int))dlsym(library, "cuDeviceGet");
    retain = (CUresult(*)(CUcontext *, CUdevice))dlsym(library, "cuDevicePrimaryCtxRetain");
    set = (CUresult(*)(CUcontext))dlsym(library, "cuCtxSetCurrent");
    info = (CUresult(*)(size_t *, size_t *))dlsym(library, "cuMemGetInfo_v2");
    if (!get || !retain || !set || !info || get(&device, index) != CUDA_SUCCESS ||
        retain(&context, device) != CUDA_SUCCESS || set(context) != CUDA_SUCCESS ||
        info(&left, &total) != CUDA_SUCCESS)
        return 0;
    return left;
}

static void ask(const char *driver, enum question question, struct answer *answer)
{
    void *library = dlopen(driver, RTLD_NOW | RTLD_LOCAL);
    CUresult (*init)(unsigned int flags);
    CUresult (*get_count)(int *count);
    int count, i;

    if (!library)
        return;
    init = (CUresult(*)(unsigned int))dlsym(library, "cuInit");
    get_count = (CUresult(*)(int *))dlsym(library, "cuDeviceGetCount");
    if (!init || !get_count || init(0) != CUDA_SUCCESS || get_count(&count) != CUDA_SUCCESS)
        return;
    answer->count = count;
    for (i = 0; i < count && i < DEVICES_MAX && question == ASK_FREE; i++)
        answer->free_bytes[i] = ask_free(library, i);
}

/* In the child. What the driver prints is for the program's own start, not for ours. */
static void answer_and_exit(const char *driver, enum question question, int out)
{
    int nowhere = open("/dev/null", O_RDWR | O_CLOEXEC);
    struct answer answer = {.count = -ENODATA};

    if (nowhere >= 0) {
        dup2(nowhere, STDOUT_FILENO);
        dup2(nowhere, STDERR_FILENO);
    }
    ask(driver, question, &answer);
    if (write(out, &answer, sizeof(answer)) != sizeof(answer))
        _exit(1);
    _exit(0);
}

static void ask_in_child(const char *driver, enum question question, struct answer *answer)
{
    struct pollfd answered = {.events = POLLIN};
    int ends[2];
    pid_t child;
    int ready;

    answer->count = -ENODATA;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return;
    child = fork();
    if (child == 0)
        answer_and_exit(driver, question, ends[1]);
    close(ends[1]);
    if (child > 0) {
        answered.fd = ends[0];
        do {
            ready = poll(&answered, 1, ANSWER_LIMIT_MS);
        } while (ready < 0 && errno == EINTR);
        if (ready <= 0 || read(ends[0], answer, sizeof(*answer)) != sizeof(*answer))
            answer->count = -ENODATA;
        kill(child, SIGKILL); /* it has said all it had to; its teardown would only take time */
        waitpid(child, NULL, 0);
    }
    close(ends[0]);
}

int devices_count(const char *driver)
{
    struct answer answer;

    ask_in_child(driver, ASK_COUNT, &answer);
    return answer.count;
}

int devices_free(const char *driver, uint64_t free_bytes[DEVICES_MAX])
{
    struct answer answer = {.count = 0};

    ask_in_child(driver, ASK_FREE, &answer);
    memcpy(free_bytes, answer.free_bytes, sizeof(answer.free_bytes));
    return answer.count;
}
