/* entry_routes - every way that leads a program to the driver leads it to the same functions.
 *
 * For each route and each name the address that the route gives is compared with the one in our own
 * library: all 637 names where a route gives names, each row of the hook table where it gives
 * look-ups or links. The functions are not called, but for cuGetProcAddress(), which has to be.
 *
 * run: only=berth seeds=1
 * run: only=berth seeds=1 via=preload
 */
#include "entry_check.h"

#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

static void *g_ours;

/* What the linker bound this program to: DT_NEEDED libcuda.so.1. */
#define X(name, symbol, since, null_stream, params) (void *)symbol,
static void *const g_linked[HOOK_COUNT] = {HOOKS(X)};
#undef X

static void check_all_exports(const char *route, void *library)
{
    CHECK(library != NULL, "%s: %s", route, dlerror());
    for (int id = 0; library && id < EXPORT_COUNT; id++) {
        void *expected = dlsym(g_ours, g_names[id]);

        CHECK(expected != NULL, "we do not export %s", g_names[id]);
        CHECK(dlsym(library, g_names[id]) == expected, "%s: %s is in %s", route, g_names[id],
              file_of(dlsym(library, g_names[id])));
    }
}

static void check_needed(void)
{
    for (int hook = 0; hook < HOOK_COUNT; hook++)
        CHECK(g_linked[hook] == dlsym(g_ours, g_rows[hook].symbol), "needed: %s is in %s",
              g_rows[hook].symbol, file_of(g_linked[hook]));
}

/* dlopen()
 * ---------------------------------------------------------------------------------------*/

static void check_by_name(void)
{
    check_all_exports("dlopen libcuda.so.1", dlopen("libcuda.so.1", RTLD_NOW));
    check_all_exports("dlopen libcuda.so", dlopen("libcuda.so", RTLD_LAZY));
    check_all_exports("dlmopen libcuda.so.1", dlmopen(LM_ID_BASE, "libcuda.so.1", RTLD_NOW));
}

static void check_by_path(void)
{
    const char *driver = getenv("BERTH_DRIVER");
    char absolute[PATH_MAX];
    char folder[] = "/tmp/berth-routes-XXXXXX";
    char link[PATH_MAX];
    char before[PATH_MAX];

    CHECK(realpath(driver, absolute) != NULL, "%s", driver);
    check_all_exports("absolute path", dlopen(absolute, RTLD_NOW));
    check_all_exports("dlmopen absolute path", dlmopen(LM_ID_BASE, absolute, RTLD_NOW));

    CHECK(mkdtemp(folder) != NULL, "%s", folder);
    snprintf(link, sizeof(link), "%s/libcuda.so.999.1", folder);
    CHECK(symlink(absolute, link) == 0, "%s", link);
    check_all_exports("symbolic link", dlopen(link, RTLD_NOW));
    CHECK(getcwd(before, sizeof(before)) && chdir(folder) == 0, "%s", folder);
    check_all_exports("relative path", dlopen("./libcuda.so.999.1", RTLD_NOW));
    CHECK(chdir(before) == 0 && unlink(link) == 0 && rmdir(folder) == 0, "%s", folder);
}

/* What is no driver is none of our business. */
static void check_others(void)
{
    void *math = dlopen("libm.so.6", RTLD_NOW);

    CHECK(math && dlsym(math, "cos"), "libm.so.6: %s", dlerror());
    CHECK(dlopen("/nonexistent/libcuda.so.1", RTLD_NOW) == NULL, "a file that does not exist");
    CHECK(dlopen("libcuda.so.12345", RTLD_NOW) == NULL, "a name that does not exist");
    CHECK(dlopen(NULL, RTLD_NOW) != NULL, "the program itself");
}

/* RTLD_DEEPBIND
 * ----------------------------------------------------------------------------------*/

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
static void check_deepbind(void)
{
    printf("left out: RTLD_DEEPBIND, which sanitizers refuse\n");
}
#else
/* A library that is linked against the driver and opened with RTLD_DEEPBIND looks its names up in
 * its own dependencies first: the dependency has to be ours. It is compiled here, for it must be
 * one that the linker has bound. */
static void *build_deep_library(const char *folder)
{
    char source[PATH_MAX];
    char library[PATH_MAX];
    char command[4 * PATH_MAX];
    FILE *file;

    snprintf(source, sizeof(source), "%s/deep.c", folder);
    snprintf(library, sizeof(library), "%s/deep.so", folder);
    file = fopen(source, "w");
    if (!file)
        return NULL;
    for (int hook = 0; hook < HOOK_COUNT; hook++)
        fprintf(file, "extern int %s(void);\n", g_rows[hook].symbol);
    fprintf(file, "void *deep_linked(int hook)\n{\n    switch (hook) {\n");
    for (int hook = 0; hook < HOOK_COUNT; hook++)
        fprintf(file, "    case %d: return (void *)%s;\n", hook, g_rows[hook].symbol);
    fprintf(file, "    }\n    return 0;\n}\n");
    fclose(file);
    snprintf(command, sizeof(command),
             "env -u LD_PRELOAD ${CC:-cc} -shared -fPIC -o '%s' '%s' '%s'", library, source,
             getenv("BERTH_DRIVER"));
    if (system(command) != 0)
        return NULL;
    return dlopen(library, RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
}

static void check_deepbind(void)
{
    char folder[] = "/tmp/berth-deep-XXXXXX";
    char command[PATH_MAX];
    void *(*deep_linked)(int hook);
    void *deep;

    check_all_exports("dlopen RTLD_DEEPBIND", dlopen("libcuda.so.1", RTLD_NOW | RTLD_DEEPBIND));
    CHECK(mkdtemp(folder) != NULL, "%s", folder);
    deep = build_deep_library(folder);
    CHECK(deep != NULL, "a library for RTLD_DEEPBIND: %s", dlerror());
    if (deep) {
        *(void **)&deep_linked = dlsym(deep, "deep_linked");
        for (int hook = 0; hook < HOOK_COUNT; hook++)
            CHECK(deep_linked(hook) == g_linked[hook], "deepbind: %s is in %s", g_rows[hook].symbol,
                  file_of(deep_linked(hook)));
    }
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    CHECK(system(command) == 0, "%s", command);
}
#endif

/* cuGetProcAddress()
 * -----------------------------------------------------------------------------*/

/* Each row by the look-up that it answers. The two forms know nothing of each other. */
static void check_look_ups(void)
{
    for (int hook = 0; hook < HOOK_COUNT; hook++) {
        const struct hook_row *row = &g_rows[hook];
        cuuint64_t flags = row->null_stream == NULL_STREAM_PER_THREAD
                               ? CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM
                               : CU_GET_PROC_ADDRESS_DEFAULT;
        CUdriverProcAddressQueryResult status = CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
        void *first = NULL;
        void *second = NULL;

        CHECK(cuGetProcAddress(row->name, &first, row->since, flags) == CUDA_SUCCESS, "%s",
              row->symbol);
        CHECK(first == g_linked[hook], "cuGetProcAddress %s@%d: %s", row->symbol, row->since,
              file_of(first));
        CHECK(cuGetProcAddress_v2(row->name, &second, row->since, flags, &status) == CUDA_SUCCESS,
              "%s", row->symbol);
        CHECK(second == g_linked[hook], "cuGetProcAddress_v2 %s@%d: %s", row->symbol, row->since,
              file_of(second));
        CHECK(status == CU_GET_PROC_ADDRESS_SUCCESS, "%s: status %d", row->symbol, (int)status);
    }
}

/* A program may not want the status. */
static void check_look_up_without_status(void)
{
    void *found = NULL;

    CHECK(cuGetProcAddress_v2("cuInit", &found, 2000, 0, NULL) == CUDA_SUCCESS, "cuInit");
    CHECK(found == (void *)cuInit, "cuInit is in %s", file_of(found));
}

int main(void)
{
    g_ours = open_ours();
    check_needed();
    check_by_name();
    check_by_path();
    check_others();
    check_deepbind();
    check_look_ups();
    check_look_up_without_status();
    return check_report();
}
