/* entry_fake - the trampolines and the start, on drivers made for the purpose.
 *
 * The program writes small libraries that export the driver's names, compiles them, and starts
 * itself once for each case with BERTH_DRIVER on one of them, since a process loads its driver
 * once. The functions of the complete one record their arguments and answer with the number of
 * their name, so that a jump to a wrong slot or a register that was not kept shows.
 *
 * run: only=berth seeds=1 backend=off
 * stderr: berth: error driver: BERTH_DRIVER: /nonexistent/[^ ]*: the file does not exist
 */
#include "entry_check.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define NUMBER_BASE 5000
#define THREADS     8

/* Integers in six registers, doubles in eight, and two on the stack. */
typedef int any_function(long a, long b, long c, long d, long e, long f, double x0, double x1,
                         double x2, double x3, double x4, double x5, double x6, double x7, long g,
                         long h);

/* The libraries
 * ----------------------------------------------------------------------------------*/

static const char g_prologue[] =
    "#include <string.h>\n"
    "long fake_longs[8]; double fake_doubles[8];\n"
    "__attribute__((noinline)) static int record(int number, long a, long b, long c, long d, long e,\n"
    "    long f, double x0, double x1, double x2, double x3, double x4, double x5, double x6,\n"
    "    double x7, long g, long h)\n"
    "{\n"
    "    long l[8] = {a, b, c, d, e, f, g, h};\n"
    "    double x[8] = {x0, x1, x2, x3, x4, x5, x6, x7};\n"
    "    memcpy(fake_longs, l, sizeof(l)); memcpy(fake_doubles, x, sizeof(x));\n"
    "    return number;\n"
    "}\n";

/* lacking: a name that the library does not export; NULL for none. */
static int write_library(const char *folder, const char *name, const char *lacking)
{
    char source[PATH_MAX];
    char command[4 * PATH_MAX];
    FILE *file;

    snprintf(source, sizeof(source), "%s/%s.c", folder, name);
    file = fopen(source, "w");
    if (!file)
        return -errno;
    fputs(g_prologue, file);
    for (int id = 0; id < EXPORT_COUNT; id++) {
        if (lacking && strcmp(g_names[id], lacking) == 0)
            continue;
        fprintf(file,
                "int %s(long a, long b, long c, long d, long e, long f, double x0, double x1,\n"
                "    double x2, double x3, double x4, double x5, double x6, double x7, long g,\n"
                "    long h) { return record(%d, a, b, c, d, e, f, x0, x1, x2, x3, x4, x5, x6,\n"
                "    x7, g, h); }\n",
                g_names[id], NUMBER_BASE + id);
    }
    fclose(file);
    snprintf(command, sizeof(command),
             "env -u LD_PRELOAD ${CC:-cc} -shared -fPIC -Wl,-soname,libcuda.so.1 -Wl,-Bsymbolic "
             "-o '%s/%s.so' '%s'",
             folder, name, source);
    return system(command) == 0 ? 0 : -EINVAL;
}

/* Cases
 * ------------------------------------------------------------------------------------------*/

static any_function *export_at(int id)
{
    any_function *function = NULL;

    *(void **)&function = dlsym(RTLD_DEFAULT, g_names[id]);
    return function;
}

static int is_hooked(int id)
{
    for (int hook = 0; hook < HOOK_COUNT; hook++)
        if ((int)g_rows[hook].id == id)
            return 1;
    return 0;
}

static int call_numbered(any_function *function, long seed)
{
    return function(seed, seed + 1, seed + 2, seed + 3, seed + 4, seed + 5, (double)seed + 0.5,
                    (double)seed + 1.5, (double)seed + 2.5, (double)seed + 3.5, (double)seed + 4.5,
                    (double)seed + 5.5, (double)seed + 6.5, (double)seed + 7.5, seed + 6, seed + 7);
}

/* The first call goes through the slow path, the second through the slot: both with every argument.
 */
static void case_arguments(void)
{
    void *real = open_real();
    long *longs = dlsym(real, "fake_longs");
    double *doubles = dlsym(real, "fake_doubles");

    for (int id = 0; id < EXPORT_COUNT; id++) {
        if (is_hooked(id))
            continue;
        for (int call = 0; call < 2; call++) {
            long seed = 100000L * (id + 1) + 1000 * call;
            int number = call_numbered(export_at(id), seed);

            CHECK(number == NUMBER_BASE + id, "%s: answered %d", g_names[id], number);
            for (int i = 0; i < 8; i++) {
                CHECK(longs[i] == seed + i, "%s: integer argument %d", g_names[id], i);
                CHECK(doubles[i] == (double)seed + i + 0.5, "%s: double argument %d", g_names[id],
                      i);
            }
        }
    }
}

/* Whichever function comes first loads the driver: also one that is hooked. */
static void case_first_hook(void)
{
    CUdeviceptr addr = 0;
    CUresult res = cuMemAlloc_v2(&addr, 16);

    CHECK((int)res == NUMBER_BASE + EXPORT_cuMemAlloc_v2, "cuMemAlloc_v2: %d", (int)res);
}

static pthread_barrier_t g_start;

static void *first_call(void *arg)
{
    int id = *(int *)arg;
    long answer;

    pthread_barrier_wait(&g_start);
    answer = call_numbered(export_at(id), 1);
    return (void *)answer;
}

static void case_threads(void)
{
    pthread_t threads[THREADS];
    int ids[THREADS];
    void *answer;
    int count = 0;

    pthread_barrier_init(&g_start, NULL, THREADS);
    for (int id = 0; count < THREADS; id += 7) {
        if (is_hooked(id))
            continue;
        ids[count] = id;
        CHECK(pthread_create(&threads[count], NULL, first_call, &ids[count]) == 0, "thread");
        count++;
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], &answer);
        CHECK((long)answer == NUMBER_BASE + ids[i], "%s: %ld", g_names[ids[i]], (long)answer);
    }
    pthread_barrier_destroy(&g_start);
}

/* The driver lacks cuArrayCreate: the name is there all the same and says that it cannot. */
static void case_lacking_trampoline(void)
{
    for (int call = 0; call < 2; call++)
        CHECK(call_numbered(export_at(EXPORT_cuArrayCreate), 1) == CUDA_ERROR_NOT_SUPPORTED,
              "cuArrayCreate");
    CHECK(call_numbered(export_at(EXPORT_cuArrayCreate_v2), 1) ==
              NUMBER_BASE + EXPORT_cuArrayCreate_v2,
          "cuArrayCreate_v2");
}

/* It lacks a function that is hooked. */
static void case_lacking_hook(void)
{
    CHECK(cuMemAdvise_v2(0, 0, CU_MEM_ADVISE_SET_READ_MOSTLY, (CUmemLocation){0}) ==
              CUDA_ERROR_NOT_SUPPORTED,
          "cuMemAdvise_v2");
    CHECK((int)cuMemAdvise(0, 0, CU_MEM_ADVISE_SET_READ_MOSTLY, 0) ==
              NUMBER_BASE + EXPORT_cuMemAdvise,
          "cuMemAdvise");
}

static void case_no_driver(void)
{
    const char *text = NULL;
    CUresult (*error_string)(CUresult, const char **) = NULL;
    void *found = NULL;

    CHECK(cuInit(0) == CUDA_ERROR_NO_DEVICE, "cuInit");
    CHECK(cuInit(0) == CUDA_ERROR_NO_DEVICE, "cuInit again");
    CHECK(call_numbered(export_at(EXPORT_cuArrayCreate), 1) == CUDA_ERROR_NO_DEVICE, "unhooked");
    CHECK(cuGetProcAddress_v2("cuInit", &found, 13000, 0, NULL) == CUDA_ERROR_NO_DEVICE, "look-up");
    CHECK(found == NULL, "a function without a driver");
    *(void **)&error_string = dlsym(RTLD_DEFAULT, "cuGetErrorString");
    CHECK(error_string(CUDA_ERROR_NO_DEVICE, &text) == CUDA_SUCCESS && text, "cuGetErrorString");
    CHECK(error_string(CUDA_ERROR_NO_DEVICE, NULL) == CUDA_ERROR_INVALID_VALUE, "nowhere to write");
}

/* fork, then calls in the child; and a child that starts another program. */
static void case_fork(void)
{
    int status = -1;
    pid_t child;

    case_first_hook();
    child = fork();
    if (child == 0) {
        CUresult res = cuMemcpyHtoD_v2(0, &status, 1);

        _exit((int)res == NUMBER_BASE + EXPORT_cuMemcpyHtoD_v2 &&
                      call_numbered(export_at(EXPORT_cuArrayCreate), 1) ==
                          NUMBER_BASE + EXPORT_cuArrayCreate
                  ? 0
                  : 1);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0, "child: status %d", status);
    CHECK(system("true") == 0, "a program started by the child");
    case_first_hook();
}

struct test_case {
    const char *name;
    const char *driver; /* a library in the folder; with a slash: as it is */
    void (*run)(void);
};

static const struct test_case g_cases[] = {
    {"arguments", "complete.so", case_arguments},
    {"first-hook", "complete.so", case_first_hook},
    {"threads", "complete.so", case_threads},
    {"lacking-trampoline", "no-array.so", case_lacking_trampoline},
    {"lacking-hook", "no-advise.so", case_lacking_hook},
    {"no-driver", "/nonexistent/libcuda.so.1", case_no_driver},
    {"fork", "complete.so", case_fork},
};

/* Start this program again for one case. */
static void run_case(const struct test_case *test, const char *folder)
{
    char driver[PATH_MAX];
    int status = -1;
    pid_t child;

    snprintf(driver, sizeof(driver), "%s%s%s", strchr(test->driver, '/') ? "" : folder,
             strchr(test->driver, '/') ? "" : "/", test->driver);
    child = fork();
    if (child == 0) {
        setenv("BERTH_DRIVER", driver, 1);
        execl("/proc/self/exe", "entry_fake", test->name, (char *)NULL);
        _exit(127);
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child, "%s", test->name);
    CHECK(status == 0, "case %s: status %d", test->name, status);
}

static int run_named(const char *name)
{
    for (size_t i = 0; i < sizeof(g_cases) / sizeof(g_cases[0]); i++) {
        if (strcmp(g_cases[i].name, name) == 0) {
            g_cases[i].run();
            return g_failures ? check_report() : 0;
        }
    }
    return 2;
}

int main(int argc, char **argv)
{
    char folder[] = "/tmp/berth-fake-XXXXXX";
    char command[PATH_MAX];

    open_ours();
    if (argc > 1)
        return run_named(argv[1]);

    CHECK(mkdtemp(folder) != NULL, "%s", folder);
    CHECK(write_library(folder, "complete", NULL) == 0, "complete");
    CHECK(write_library(folder, "no-array", "cuArrayCreate") == 0, "no-array");
    CHECK(write_library(folder, "no-advise", "cuMemAdvise_v2") == 0, "no-advise");
    for (size_t i = 0; i < sizeof(g_cases) / sizeof(g_cases[0]); i++)
        run_case(&g_cases[i], folder);
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    CHECK(system(command) == 0, "%s", command);
    return check_report();
}
