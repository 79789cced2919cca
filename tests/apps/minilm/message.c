/* message.c - see message.h. */
#include "message.h"

#include <stdarg.h>
#include <string.h>

void die(const char *format, ...)
{
    va_list args;

    fflush(stdout);
    fputs("minilm: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    exit(1);
}

void *allocate(size_t bytes)
{
    void *memory = malloc(bytes ? bytes : 1);

    if (!memory)
        die("out of memory: %zu bytes", bytes);
    return memory;
}

char *path_join(const char *directory, const char *name)
{
    size_t bytes = strlen(directory) + strlen(name) + 2;
    char *path = allocate(bytes);

    snprintf(path, bytes, "%s/%s", directory, name);
    return path;
}

void check(CUresult result, const char *what)
{
    const char *text = NULL;

    if (result == CUDA_SUCCESS)
        return;
    if (cuGetErrorString(result, &text) != CUDA_SUCCESS || !text)
        text = "no such error";
    die("%s: %s (%d): %s", what, cuda_error_name(result), (int)result, text);
}
