/* A program that uses the driver as little as a program can, and waits where it is told to. */
#include <dlfcn.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t count;
static int ready = -1;

static void counted(int number)
{
    char byte = (char)number;

    count++;
    if (write(ready, &byte, 1) != 1)
        _exit(99);
}

static void finished(int number)
{
    (void)number;
    _exit(count);
}

static void *function(const char *name)
{
    void *lib = dlopen("libcuda.so.1", RTLD_NOW);
    void *found = lib ? dlsym(lib, name) : NULL;

    if (!found) {
        fprintf(stderr, "client: %s: %s\n", name, dlerror());
        exit(98);
    }
    return found;
}

static void use_cuda(void)
{
    int (*init)(unsigned) = (int (*)(unsigned))function("cuInit");
    int (*retain)(void **, int) = (int (*)(void **, int))function("cuDevicePrimaryCtxRetain");
    int (*set)(void *) = (int (*)(void *))function("cuCtxSetCurrent");
    int (*alloc)(unsigned long long *, size_t) =
        (int (*)(unsigned long long *, size_t))function("cuMemAlloc_v2");
    int (*copy)(unsigned long long, const void *, size_t) =
        (int (*)(unsigned long long, const void *, size_t))function("cuMemcpyHtoD_v2");
    unsigned long long device = 0;
    size_t bytes = 8 << 20;
    void *context = NULL;

    if (init(0) || retain(&context, 0) || set(context) || alloc(&device, bytes) ||
        copy(device, calloc(1, bytes), bytes))
        exit(97);
}

static void wait_at(const char *path)
{
    char byte;
    int fd = open(path, O_RDONLY);

    while (read(fd, &byte, 1) > 0)
        ;
    close(fd);
}

/* In this process, or in a child whose pid is printed and whose end is waited for. */
static void execute(char **argv, char **words, int in_child)
{
    pid_t child = in_child ? fork() : 0;

    if (child == 0) {
        words[-1] = argv[0];
        execv(argv[0], words - 1);
        _exit(95);
    }
    printf("child %d\n", (int)child);
    waitpid(child, NULL, 0);
    exit(0);
}

/* cuda | exec WORD... | spawn WORD... | exit N | kill N | env NAME | count FIFO | ready FIFO |
 * wait FIFO */
int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];

        if (strcmp(word, "cuda") == 0) {
            use_cuda();
            continue;
        }
        if (strcmp(word, "exec") == 0 || strcmp(word, "spawn") == 0)
            execute(argv, argv + i + 1, word[0] == 's');
        if (++i >= argc)
            return 96;
        if (strcmp(word, "exit") == 0) {
            return atoi(argv[i]);
        } else if (strcmp(word, "kill") == 0) {
            kill(getpid(), atoi(argv[i]));
        } else if (strcmp(word, "env") == 0) {
            printf("%s\n", getenv(argv[i]) ? getenv(argv[i]) : "");
        } else if (strcmp(word, "count") == 0) {
            signal(SIGUSR1, counted);
            signal(SIGINT, counted);
            signal(SIGTERM, finished);
            ready = open(argv[i], O_WRONLY);
            count = -1;
            counted(0);
            for (;;)
                pause();
        } else if (strcmp(word, "ready") == 0) {
            ready = open(argv[i], O_WRONLY);
            counted(0);
        } else if (strcmp(word, "wait") == 0) {
            wait_at(argv[i]);
        }
    }
    return 0;
}
