/* test_ptx_cache.c - the compiler behind the translator, and the cache of compiled kernels.
 *
 * Strategy: each test has a cache folder of its own. That an object is used again shows by a
 * compiler that cannot run any more; that a bad one is not, by results. Folders and objects that
 * others could write must not be loaded from. Several processes fill one cache at once.
 */
#include <dirent.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ptx_rig.h"

static char g_folder[] = "/tmp/test-ptx-cache-XXXXXX";

static const char g_text[] = ".version 7.8\n.target sm_70\n.address_size 64\n"
                             ".visible .entry k(.param .u64 p0, .param .u32 p1)\n{\n"
                             ".reg .b64 d; .reg .b32 r; ld.param.u64 d, [p0];\n"
                             "ld.param.u32 r, [p1]; add.u32 r, r, 1; st.global.u32 [d], r;\n"
                             "ret;\n}\n";

/* The object in the cache, or "" when there is none; counts what else lies there. */
static const char *find_object(int *others)
{
    static char path[512];
    DIR *folder = opendir(g_folder);
    struct dirent *entry;

    path[0] = 0;
    *others = 0;
    assert_non_null(folder);
    while ((entry = readdir(folder))) {
        if (strstr(entry->d_name, ".so"))
            snprintf(path, sizeof(path), "%s/%s", g_folder, entry->d_name);
        else if (entry->d_name[0] != '.')
            (*others)++;
    }
    closedir(folder);
    return path;
}

static int setup(void **state)
{
    (void)state;
    strcpy(g_folder, "/tmp/test-ptx-cache-XXXXXX");
    assert_non_null(mkdtemp(g_folder));
    setenv("SIMCUDA_CACHE", g_folder, 1);
    unsetenv("SIMCUDA_CC");
    return 0;
}

static int teardown(void **state)
{
    int others;
    const char *object;

    (void)state;
    chmod(g_folder, 0700);
    while (*(object = find_object(&others)))
        unlink(object);
    assert_int_equal(others, 0); /* no working folder is left behind */
    assert_int_equal(rmdir(g_folder), 0);
    return 0;
}

/* returns what loading gave; a kernel that loads must also compute. */
static int load_and_run(char *log, size_t log_bytes)
{
    struct rig *rig = rig_new();
    struct {
        uint64_t out;
        uint32_t n;
    } params = {rig_alloc(rig, 64), 41};
    int res = rig_try_load(rig, g_text);

    snprintf(log, log_bytes, "%s", rig->log);
    if (res == 0) {
        assert_int_equal(rig_run(rig, "k", 1, 1, 0, &params), 0);
        assert_int_equal(*(uint32_t *)rig_at(rig, params.out), 42);
    }
    rig_free(rig);
    return res;
}

static void test_object_is_used_again(void **state)
{
    struct stat before, after;
    char log[1024];
    int others;

    (void)state;
    assert_int_equal(load_and_run(log, sizeof(log)), 0);
    assert_int_equal(stat(find_object(&others), &before), 0);
    assert_int_equal(before.st_mode & 0777, 0700);
    assert_int_equal(load_and_run(log, sizeof(log)), 0);
    assert_int_equal(stat(find_object(&others), &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);
    assert_memory_equal(&before.st_mtim, &after.st_mtim, sizeof(before.st_mtim));
}

static void check_replaced(void)
{
    struct stat before, after;
    char log[1024];
    int others;

    assert_int_equal(stat(find_object(&others), &before), 0);
    assert_int_equal(load_and_run(log, sizeof(log)), 0);
    assert_int_equal(stat(find_object(&others), &after), 0);
    assert_int_not_equal(before.st_ino, after.st_ino);
}

static void test_bad_object_is_replaced(void **state)
{
    char log[1024];
    int others;

    (void)state;
    assert_int_equal(load_and_run(log, sizeof(log)), 0);
    assert_int_equal(truncate(find_object(&others), 0), 0);
    check_replaced();
    assert_int_equal(truncate(find_object(&others), 100), 0);
    check_replaced();
    /* Somebody else could have written it. */
    assert_int_equal(chmod(find_object(&others), 0722), 0);
    check_replaced();
}

/* An object under another's name: what it holds is not what its name says. */
static void test_exchanged_object_is_replaced(void **state)
{
    char log[1024], name[512], command[1200];
    int others;

    (void)state;
    assert_int_equal(load_and_run(log, sizeof(log)), 0);
    snprintf(name, sizeof(name), "%s", find_object(&others));
    snprintf(command, sizeof(command),
             "N=%s; echo 'const char ptx_key[] = \"no\";' | cc -shared -fPIC -x c - -o $N.new && "
             "chmod 700 $N.new && mv $N.new $N",
             name);
    assert_int_equal(system(command), 0);
    check_replaced();
}

static void test_unsafe_folder_is_not_used(void **state)
{
    char log[1024];
    int others;

    (void)state;
    assert_int_equal(chmod(g_folder, 0777), 0);
    assert_int_equal(load_and_run(log, sizeof(log)), 0);
    assert_string_equal(find_object(&others), "");
    assert_int_equal(others, 0);
}

static void test_linked_folder_is_not_used(void **state)
{
    char link[64], log[1024];
    int others;

    (void)state;
    snprintf(link, sizeof(link), "%s-link", g_folder);
    assert_int_equal(symlink(g_folder, link), 0);
    setenv("SIMCUDA_CACHE", link, 1);
    assert_int_equal(load_and_run(log, sizeof(log)), 0);
    assert_string_equal(find_object(&others), "");
    unlink(link);
}

static void test_folder_is_made(void **state)
{
    char deep[128], log[1024];
    struct stat st;
    int others;

    (void)state;
    snprintf(deep, sizeof(deep), "%s/a/b", g_folder);
    setenv("SIMCUDA_CACHE", deep, 1);
    assert_int_equal(load_and_run(log, sizeof(log)), 0);
    assert_int_equal(stat(deep, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    snprintf(log, sizeof(log), "rm -r %s/a", g_folder);
    assert_int_equal(system(log), 0);
    assert_string_equal(find_object(&others), "");
}

static void test_no_compiler(void **state)
{
    char log[1024];

    (void)state;
    setenv("SIMCUDA_CC", "/nonexistent/cc", 1);
    assert_int_equal(load_and_run(log, sizeof(log)), 221);
    assert_non_null(strstr(log, "/nonexistent/cc"));
    assert_non_null(strstr(log, "install gcc"));
}

static void test_failing_compiler(void **state)
{
    char log[1024];

    (void)state;
    setenv("SIMCUDA_CC", "cc -DX -no-such-flag-at-all", 1);
    assert_int_equal(load_and_run(log, sizeof(log)), 218);
    assert_non_null(strstr(log, "no-such-flag-at-all"));
    setenv("SIMCUDA_CC", "true", 1); /* says that it worked and wrote nothing */
    assert_int_equal(load_and_run(log, sizeof(log)), 218);
}

/* The words of SIMCUDA_CC are a command, and its objects are not those of another command. */
static void test_other_compiler(void **state)
{
    char log[1024];
    int others;

    (void)state;
    assert_int_equal(load_and_run(log, sizeof(log)), 0);
    unlink(find_object(&others));
    setenv("SIMCUDA_CC", "cc -O1", 1);
    assert_int_equal(load_and_run(log, sizeof(log)), 0);
    assert_string_not_equal(find_object(&others), "");
    setenv("SIMCUDA_CC", "/nonexistent/cc -O1", 1);
    assert_int_equal(load_and_run(log, sizeof(log)), 221);
}

/* A host program that ignores SIGCHLD never gets the compiler's exit code. */
static void test_ignored_children(void **state)
{
    char log[1024];
    int res;

    (void)state;
    signal(SIGCHLD, SIG_IGN);
    res = load_and_run(log, sizeof(log));
    signal(SIGCHLD, SIG_DFL);
    assert_int_equal(res, 0);
}

/* A compiler of ours that fails when it is told of libraries to preload, or finds signals ignored
 * or blocked as its parent has them (SIGUSR1 and SIGUSR2 stand in the last four digits of the
 * masks). */
static void test_compiler_starts_clean(void **state)
{
    char path[64], log[1024];
    sigset_t blocked, before;
    FILE *script;
    int res;

    (void)state;
    snprintf(path, sizeof(path), "%s/wary.so.sh", g_folder); /* removed with the objects */
    script = fopen(path, "w");
    assert_non_null(script);
    fputs("#!/bin/sh\n[ -z \"$LD_PRELOAD\" ] || exit 1\n"
          "grep -q '^SigIgn:.*0000$' /proc/self/status || exit 1\n"
          "grep -q '^SigBlk:.*0000$' /proc/self/status || exit 1\n"
          "exec cc \"$@\"\n",
          script);
    fclose(script);
    assert_int_equal(chmod(path, 0700), 0);
    setenv("SIMCUDA_CC", path, 1);
    setenv("LD_PRELOAD", "/nonexistent/preloaded.so", 1);
    signal(SIGUSR1, SIG_IGN);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR2);
    sigprocmask(SIG_BLOCK, &blocked, &before);
    res = load_and_run(log, sizeof(log));
    sigprocmask(SIG_SETMASK, &before, NULL);
    signal(SIGUSR1, SIG_DFL);
    unsetenv("LD_PRELOAD");
    assert_int_equal(res, 0);
}

static void test_no_path(void **state)
{
    char *path = strdup(getenv("PATH"));
    char log[1024];
    int res;

    (void)state;
    unsetenv("PATH");
    res = load_and_run(log, sizeof(log));
    setenv("PATH", path, 1);
    free(path);
    assert_int_equal(res, 0);
}

static void test_many_processes(void **state)
{
    pid_t children[6];
    char log[1024];
    int others;

    (void)state;
    for (int i = 0; i < 6; i++) {
        children[i] = fork();
        assert_true(children[i] >= 0);
        if (children[i] == 0)
            _exit(load_and_run(log, sizeof(log)));
    }
    for (int i = 0; i < 6; i++) {
        int status;

        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    assert_string_not_equal(find_object(&others), "");
}

#define CACHE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CACHE_TEST(test_object_is_used_again),
        CACHE_TEST(test_bad_object_is_replaced),
        CACHE_TEST(test_exchanged_object_is_replaced),
        CACHE_TEST(test_unsafe_folder_is_not_used),
        CACHE_TEST(test_linked_folder_is_not_used),
        CACHE_TEST(test_folder_is_made),
        CACHE_TEST(test_no_compiler),
        CACHE_TEST(test_failing_compiler),
        CACHE_TEST(test_other_compiler),
        CACHE_TEST(test_ignored_children),
        CACHE_TEST(test_compiler_starts_clean),
        CACHE_TEST(test_no_path),
        CACHE_TEST(test_many_processes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
