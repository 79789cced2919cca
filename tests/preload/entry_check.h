/* entry_check.h - what the entry_*.c programs have in common: counted checks, and the two
 * libraries.
 *
 * The programs look at addresses only, so that they need no function of the shim for tests: ours is
 * the library that defines what a plain call reaches, the real driver is the one that BERTH_DRIVER
 * names. A program that is not under berth says so and exits with 77.
 */
#ifndef BERTH_TESTS_ENTRY_CHECK_H
#define BERTH_TESTS_ENTRY_CHECK_H

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hooks.h"

#define SKIPPED 77

/* The tables of hooks.c, which is in the library and not in these programs. */
#define X(name, symbol, since, null_stream, params)                                                \
    {#name, #symbol, since, NULL_STREAM_##null_stream, EXPORT_##symbol},
static const struct hook_row g_rows[HOOK_COUNT] = {HOOKS(X)};
#undef X
#define X(name) #name,
static const char *const g_names[EXPORT_COUNT] = {DRIVER_EXPORTS(X)};
#undef X

static int g_checks;
static int g_failures;

#define CHECK(condition, ...)                                                                      \
    do {                                                                                           \
        g_checks++;                                                                                \
        if (!(condition)) {                                                                        \
            g_failures++;                                                                          \
            printf("%s:%d: %s: ", __FILE__, __LINE__, #condition);                                 \
            printf(__VA_ARGS__);                                                                   \
            printf("\n");                                                                          \
        }                                                                                          \
    } while (0)

static inline int check_report(void)
{
    printf("%d checks, %d failed\n", g_checks, g_failures);
    return g_failures ? 1 : 0;
}

/* The file of the library that an address is in. */
static inline const char *file_of(void *address)
{
    Dl_info info;

    return dladdr(address, &info) ? info.dli_fname : "(nowhere)";
}

/* The library that stands between the program and its driver. Exits where there is none. */
static inline void *open_ours(void)
{
    const char *driver = getenv("BERTH_DRIVER");
    void *reached = dlsym(RTLD_DEFAULT, "cuInit");
    void *ours;

    if (!driver || !reached || !dlsym(RTLD_DEFAULT, "cuMemGetInfo_v2") ||
        strstr(file_of(reached), "libberth") == NULL) {
        printf("skipped: not under berth (LD_PRELOAD=libberth.so, BERTH_DRIVER=...)\n");
        exit(SKIPPED);
    }
    ours = dlopen(file_of(reached), RTLD_NOW | RTLD_NOLOAD);
    if (!ours) {
        printf("cannot open %s again: %s\n", file_of(reached), dlerror());
        exit(1);
    }
    return ours;
}

/* The real driver, by the way that the shim does not see: glibc's own dlopen(). */
static inline void *open_real(void)
{
    void *libc = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
    void *(*open_library)(const char *, int) = NULL;
    void *real = NULL;

    if (libc)
        *(void **)&open_library = dlsym(libc, "dlopen");
    if (open_library)
        real = open_library(getenv("BERTH_DRIVER"), RTLD_NOW | RTLD_LOCAL);
    if (!real) {
        printf("cannot open the real driver %s: %s\n", getenv("BERTH_DRIVER"), dlerror());
        exit(1);
    }
    return real;
}

#endif
