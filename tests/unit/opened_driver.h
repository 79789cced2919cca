/* opened_driver.h - the simulated driver, opened as a program would open it: its entry points by
 * name, and checks for a child process, which the first thing that does not hold ends.
 */
#ifndef TESTS_OPENED_DRIVER_H
#define TESTS_OPENED_DRIVER_H

#include <dlfcn.h>

#include "tests/apps/cuda_api.h"

#define TEXT_OF(x) #x
#define TEXT(x)    TEXT_OF(x)
#define CALL(name) ((__typeof__(&name))entry(TEXT(name)))

#define HOLDS(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "line %d: %s\n", __LINE__, #condition);                                \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)
#define OK(call) HOLDS((call) == CUDA_SUCCESS)

static void *g_library;

static inline void *entry(const char *name)
{
    void *function = dlsym(g_library, name);

    HOLDS(function);
    return function;
}

#endif
