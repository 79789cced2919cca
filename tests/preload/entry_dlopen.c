/* entry_dlopen - that dlopen() passes through us unchanged for everything but the driver.
 *
 * Two libraries are compiled here: an outer one that has a RUNPATH, and an inner one that only that
 * RUNPATH finds. glibc takes the caller's RUNPATH by the return address of dlopen(), so the outer
 * one finds the inner one only if that address is still its own.
 *
 * run: only=berth seeds=1
 * run: only=berth seeds=1 via=preload
 */
#include "entry_check.h"

#include <errno.h>
#include <limits.h>
#include <link.h>
#include <unistd.h>

static const char g_inner[] = "int inner_value(void)\n{\n    return 42;\n}\n";

static const char g_outer[] =
    "#define _GNU_SOURCE\n"
    "#include <dlfcn.h>\n"
    "void *outer_dlopen(const char *name)\n{\n    return dlopen(name, RTLD_NOW);\n}\n"
    "void *outer_dlmopen(const char *name)\n"
    "{\n    return dlmopen(LM_ID_BASE, name, RTLD_NOW);\n}\n";

static int build(const char *folder, const char *name, const char *text, const char *options)
{
    char source[PATH_MAX];
    char command[4 * PATH_MAX];
    FILE *file;

    snprintf(source, sizeof(source), "%s/%s.c", folder, name);
    file = fopen(source, "w");
    if (!file)
        return -errno;
    fputs(text, file);
    fclose(file);
    snprintf(command, sizeof(command),
             "env -u LD_PRELOAD ${CC:-cc} -shared -fPIC -o '%s/%s.so' '%s' %s", folder, name,
             source, options);
    return system(command) == 0 ? 0 : -EINVAL;
}

typedef void *open_function(const char *name);

/* A sanitizer's own dlopen() comes between and calls ours: the caller is the sanitizer then. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
static const char *const g_openers[] = {"outer_dlmopen"};
#else
static const char *const g_openers[] = {"outer_dlopen", "outer_dlmopen"};
#endif

static void check_runpath(const char *folder)
{
    char options[PATH_MAX];
    char path[PATH_MAX];
    void *outer;

    snprintf(options, sizeof(options), "-Wl,--enable-new-dtags -Wl,-rpath,'%s'", folder);
    CHECK(build(folder, "berthinner", g_inner, "") == 0, "inner");
    CHECK(build(folder, "berthouter", g_outer, options) == 0, "outer");
    snprintf(path, sizeof(path), "%s/berthouter.so", folder);
    outer = dlopen(path, RTLD_NOW);
    CHECK(outer != NULL, "%s", dlerror());
    CHECK(dlopen("berthinner.so", RTLD_NOW) == NULL, "found without the RUNPATH");

    for (size_t i = 0; outer && i < sizeof(g_openers) / sizeof(g_openers[0]); i++) {
        open_function *open_inner;
        void *inner;

        *(void **)&open_inner = dlsym(outer, g_openers[i]);
        inner = open_inner("berthinner.so");
        CHECK(inner != NULL, "%s: %s", g_openers[i], dlerror());
        CHECK(inner && dlsym(inner, "inner_value"), "%s", g_openers[i]);
        CHECK(open_inner("berthnone.so") == NULL, "%s found what is not there", g_openers[i]);
        if (inner)
            dlclose(inner);
    }
}

/* Flags and name spaces arrive as they were given. */
static void check_arguments(const char *folder)
{
    char path[PATH_MAX];
    void *inner;

    snprintf(path, sizeof(path), "%s/berthinner.so", folder);
    CHECK(dlopen(path, RTLD_NOW | RTLD_NOLOAD) == NULL, "RTLD_NOLOAD was lost");
    CHECK(dlsym(RTLD_DEFAULT, "inner_value") == NULL, "before RTLD_GLOBAL");
    inner = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
    CHECK(inner && dlsym(RTLD_DEFAULT, "inner_value"), "RTLD_GLOBAL was lost: %s", dlerror());
}

/* Sanitizers have one copy of themselves and cannot be in two name spaces. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
static void check_name_spaces(const char *folder)
{
    char path[PATH_MAX];
    char absolute[PATH_MAX];
    struct link_map *map = NULL;
    void *apart;
    void *driver;

    snprintf(path, sizeof(path), "%s/berthinner.so", folder);
    apart = dlmopen(LM_ID_NEWLM, path, RTLD_NOW);
    CHECK(apart != NULL, "%s", dlerror());
    CHECK(apart && dlsym(apart, "inner_value") != dlsym(RTLD_DEFAULT, "inner_value"),
          "the name space was lost");

    /* There the driver is the driver, the very file that was asked for: a second copy of ours would
     * page the same card. */
    snprintf(path, sizeof(path), "%s/libcuda.so.999.1", folder);
    CHECK(realpath(getenv("BERTH_DRIVER"), absolute) && symlink(absolute, path) == 0, "%s", path);
    driver = dlmopen(LM_ID_NEWLM, path, RTLD_NOW);
    CHECK(driver != NULL, "%s", dlerror());
    CHECK(driver && dlinfo(driver, RTLD_DI_LINKMAP, &map) == 0 && strcmp(map->l_name, path) == 0,
          "opened %s", map ? map->l_name : "nothing");
    CHECK(driver && dlsym(driver, "cuInit") != dlsym(RTLD_DEFAULT, "cuInit"), "ours, twice");
}
#else
static void check_name_spaces(const char *folder)
{
    (void)folder;
    printf("left out: dlmopen() into a new name space, under a sanitizer\n");
}
#endif

static void check_errors(void)
{
    const char *text;

    dlerror();
    CHECK(dlopen("/nonexistent/berth/libother.so", RTLD_NOW) == NULL, "found");
    text = dlerror();
    CHECK(text && strstr(text, "/nonexistent/berth/libother.so"), "dlerror: %s",
          text ? text : "nothing");
    CHECK(dlopen("/nonexistent/berth/libcuda.so.1", RTLD_NOW) == NULL, "found");
    text = dlerror();
    CHECK(text && strstr(text, "/nonexistent/berth/libcuda.so.1"), "dlerror: %s",
          text ? text : "nothing");
    errno = EDOM;
    CHECK(dlopen("libcuda.so.1", RTLD_NOW) != NULL && errno == EDOM, "errno %d", errno);
}

int main(void)
{
    char folder[] = "/tmp/berth-dlopen-XXXXXX";
    char command[PATH_MAX];

    open_ours();
    CHECK(mkdtemp(folder) != NULL, "%s", folder);
    check_runpath(folder);
    check_arguments(folder);
    check_name_spaces(folder);
    check_errors();
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    CHECK(system(command) == 0, "%s", command);
    return check_report();
}
