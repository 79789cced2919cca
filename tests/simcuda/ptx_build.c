/* ptx_build.c - the compiler, the cache and the loader.
 *
 * cc is started with posix_spawn: a fork would copy the host program's mappings, among them memory
 * whose pages fault by design. It gets no LD_PRELOAD, so that a shim that watches this process
 * stays out of the compiler.
 */
#include "ptx_build.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* Changed whenever the meaning of cached objects changes otherwise than through their C text. */
#define CACHE_VERSION   "1"
#define KEY_CHARS       33
#define COMPILER_WORDS  8
#define COMPILER_ABSENT 127

extern char **environ;

struct build {
    const char *source;
    size_t bytes;
    char *log;
    size_t log_bytes;
    char compiler_text[256];
    char *compiler[COMPILER_WORDS + 1]; /* words of compiler_text */
    char key[KEY_CHARS];
    char folder[PATH_MAX]; /* the cache, or where this one build may work */
    bool is_cache;
};

static void say(struct build *b, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void say(struct build *b, const char *format, ...)
{
    va_list args;

    if (b->log_bytes == 0)
        return;
    va_start(args, format);
    vsnprintf(b->log, b->log_bytes, format, args);
    va_end(args);
}

static const char *const g_flags[] = {"-std=gnu11",        "-O2",     "-fPIC",
                                      "-shared",           "-w",      "-ffp-contract=off",
                                      "-fno-math-errno",   "-fwrapv", "-fno-strict-aliasing",
                                      "-fno-trapping-math"};

/* fma as one instruction where the host has it; without it the C library's function is as exact. */
static const char *fma_flag(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("fma"))
        return "-mfma";
#endif
    return "-O2";
}

static void find_compiler(struct build *b)
{
    const char *text = getenv("SIMCUDA_CC");
    char *rest;

    snprintf(b->compiler_text, sizeof(b->compiler_text), "%s", text && *text ? text : "cc");
    rest = b->compiler_text;
    for (int i = 0; i < COMPILER_WORDS; i++)
        b->compiler[i] = strtok_r(i ? NULL : rest, " ", &rest);
}

/* Size and time of the compiler's file tell one version from another without starting it. */
static void hash_compiler(struct build *b, XXH3_state_t *state)
{
    const char *path = getenv("PATH");
    char candidate[PATH_MAX];
    struct stat st;

    for (int i = 0; b->compiler[i]; i++)
        XXH3_128bits_update(state, b->compiler[i], strlen(b->compiler[i]) + 1);
    while (path && b->compiler[0]) {
        size_t n = strcspn(path, ":");
        bool absolute = strchr(b->compiler[0], '/') != NULL;

        snprintf(candidate, sizeof(candidate), "%.*s/%s", absolute ? 0 : (int)n,
                 absolute ? "" : path, b->compiler[0]);
        if (stat(absolute ? b->compiler[0] : candidate, &st) == 0) {
            XXH3_128bits_update(state, &st.st_size, sizeof(st.st_size));
            XXH3_128bits_update(state, &st.st_mtim, sizeof(st.st_mtim));
            return;
        }
        path = path[n] ? path + n + 1 : NULL;
    }
}

static void make_key(struct build *b)
{
    XXH3_state_t state;
    XXH128_hash_t hash;

    XXH3_INITSTATE(&state);
    XXH3_128bits_reset(&state);
    XXH3_128bits_update(&state, CACHE_VERSION, sizeof(CACHE_VERSION));
    for (size_t i = 0; i < sizeof(g_flags) / sizeof(g_flags[0]); i++)
        XXH3_128bits_update(&state, g_flags[i], strlen(g_flags[i]) + 1);
    XXH3_128bits_update(&state, fma_flag(), strlen(fma_flag()) + 1);
    hash_compiler(b, &state);
    XXH3_128bits_update(&state, b->source, b->bytes);
    hash = XXH3_128bits_digest(&state);
    snprintf(b->key, sizeof(b->key), "%016llx%016llx", (unsigned long long)hash.high64,
             (unsigned long long)hash.low64);
}

/* Ours, and writable by nobody else. */
static bool is_private(const struct stat *st)
{
    return st->st_uid == geteuid() && (st->st_mode & 022) == 0;
}

static bool make_private_folder(const char *path)
{
    struct stat st;
    char part[PATH_MAX];

    for (const char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(part, sizeof(part), "%.*s", (int)(slash - path), path);
        mkdir(part, 0700);
    }
    mkdir(path, 0700);
    return lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && is_private(&st) &&
           access(path, W_OK | X_OK) == 0;
}

static bool try_cache(struct build *b, const char *base, const char *suffix)
{
    if (!base || base[0] != '/')
        return false;
    if (snprintf(b->folder, sizeof(b->folder), "%s%s", base, suffix) >= (int)sizeof(b->folder))
        return false;
    return make_private_folder(b->folder);
}

static int choose_folder(struct build *b)
{
    const char *own = getenv("SIMCUDA_CACHE");
    const char *tmp = getenv("TMPDIR");
    char shared[64];

    snprintf(shared, sizeof(shared), "/tmp/simcuda-%u", (unsigned)geteuid());
    b->is_cache = own && *own ? try_cache(b, own, "")
                              : try_cache(b, getenv("XDG_CACHE_HOME"), "/simcuda") ||
                                    try_cache(b, getenv("HOME"), "/.cache/simcuda") ||
                                    try_cache(b, shared, "");
    if (b->is_cache)
        return 0;
    snprintf(b->folder, sizeof(b->folder), "%s/simcuda-XXXXXX", tmp && *tmp == '/' ? tmp : "/tmp");
    if (mkdtemp(b->folder))
        return 0;
    say(b, "ptx: no folder to compile kernels in: %s: %s; set SIMCUDA_CACHE", b->folder,
        strerror(errno));
    return 2;
}

static int path_in(const struct build *b, char *out, const char *middle, const char *name)
{
    return snprintf(out, PATH_MAX, "%s/%s%s", b->folder, middle, name) < PATH_MAX ? 0
                                                                                  : -ENAMETOOLONG;
}

/* Load an object and see that it is the one that was asked for. */
static void *load(struct build *b, const char *path)
{
    struct stat st;
    const char *key;
    void *handle;

    if (lstat(path, &st) != 0 || !S_ISREG(st.st_mode) || !is_private(&st))
        return NULL;
    handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        say(b, "ptx: cannot load the compiled kernels: %s", dlerror());
        return NULL;
    }
    key = dlsym(handle, "ptx_key");
    if (key && strcmp(key, b->key) == 0)
        return handle;
    say(b, "ptx: %s is not what its name says", path);
    dlclose(handle);
    return NULL;
}

static int write_source(const struct build *b, const char *path)
{
    FILE *file = fopen(path, "we");
    int failed;

    if (!file)
        return -errno;
    fwrite(b->source, 1, b->bytes, file);
    fprintf(file, "const char ptx_key[] = \"%s\";\n", b->key);
    failed = ferror(file);
    if (fclose(file) != 0 || failed)
        return -EIO;
    return 0;
}

/* The environment without what would follow the host program into the compiler. It has a PATH: gcc
 * finds its own parts by it. */
static char **clean_environment(void)
{
    size_t n = 0, kept = 0;
    char **env;

    while (environ[n])
        n++;
    env = calloc(n + 2, sizeof(*env));
    if (!env)
        return NULL;
    for (size_t i = 0; i < n; i++)
        if (strncmp(environ[i], "LD_PRELOAD=", 11) != 0)
            env[kept++] = environ[i];
    if (!getenv("PATH"))
        env[kept] = "PATH=/usr/local/bin:/usr/bin:/bin";
    return env;
}

static int spawn(char *const argv[], const char *messages, pid_t *child)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t all, none;
    char **env = clean_environment();
    int res;

    if (!env)
        return ENOMEM;
    sigfillset(&all);
    sigemptyset(&none);
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, 1, messages, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&files, 1, 2);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    res = posix_spawnp(child, argv[0], &files, &attributes, argv, env);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    free(env);
    return res;
}

/* returns the exit status; -1 when somebody else reaped the child, so that only its output tells */
static int wait_for(pid_t child)
{
    int status;

    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static void quote_messages(struct build *b, const char *path)
{
    char text[600];
    size_t n = 0;
    FILE *file = fopen(path, "re");

    if (file) {
        n = fread(text, 1, sizeof(text) - 1, file);
        fclose(file);
    }
    text[n] = 0;
    say(b, "ptx: the C compiler '%s' failed:\n%s", b->compiler[0], text);
}

static int run_compiler(struct build *b, char *source, char *object, const char *messages)
{
    char *argv[COMPILER_WORDS + sizeof(g_flags) / sizeof(g_flags[0]) + 8];
    size_t n = 0;
    pid_t child;
    int res;

    for (int i = 0; b->compiler[i]; i++)
        argv[n++] = b->compiler[i];
    for (size_t i = 0; i < sizeof(g_flags) / sizeof(g_flags[0]); i++)
        argv[n++] = (char *)g_flags[i];
    argv[n++] = (char *)fma_flag();
    argv[n++] = "-o";
    argv[n++] = object;
    argv[n++] = source;
    argv[n++] = "-lm";
    argv[n] = NULL;
    res = spawn(argv, messages, &child);
    if (res == 0)
        res = wait_for(child);
    else
        res = res == ENOENT || res == EACCES ? COMPILER_ABSENT : 1;
    if (res == COMPILER_ABSENT) {
        say(b,
            "ptx: kernels need a C compiler and '%s' cannot be run: install gcc (apt-get "
            "install gcc), or name another in SIMCUDA_CC",
            b->compiler[0] ? b->compiler[0] : "");
        return 221;
    }
    if (res > 0 || access(object, R_OK) != 0) {
        quote_messages(b, messages);
        return 218;
    }
    return 0;
}

/* Compile in a folder of our own, then move the object to its name in one step. */
static int compile(struct build *b, const char *object)
{
    static const char *const leftovers[] = {"k.c", "k.so", "messages"};
    char work[PATH_MAX], source[PATH_MAX], fresh[PATH_MAX], messages[PATH_MAX];
    int res = 2;

    if (path_in(b, work, "build-XXXXXX", "") || !mkdtemp(work)) {
        say(b, "ptx: cannot write to %s: %s", b->folder, strerror(errno));
        return 2;
    }
    if (snprintf(source, PATH_MAX, "%s/k.c", work) >= PATH_MAX ||
        snprintf(fresh, PATH_MAX, "%s/k.so", work) >= PATH_MAX ||
        snprintf(messages, PATH_MAX, "%s/messages", work) >= PATH_MAX || write_source(b, source))
        say(b, "ptx: cannot write to %s", work);
    else
        res = run_compiler(b, source, fresh, messages);
    if (res == 0 && (chmod(fresh, 0700) != 0 || rename(fresh, object) != 0)) {
        say(b, "ptx: cannot write %s: %s", object, strerror(errno));
        res = 2;
    }
    for (size_t i = 0; i < sizeof(leftovers) / sizeof(leftovers[0]); i++) {
        char path[PATH_MAX + 16];

        snprintf(path, sizeof(path), "%s/%s", work, leftovers[i]);
        unlink(path);
    }
    rmdir(work);
    return res;
}

int ptx_build(const char *source, size_t bytes, char *log, size_t log_bytes, void **handle)
{
    struct build b = {.source = source, .bytes = bytes, .log = log, .log_bytes = log_bytes};
    char object[PATH_MAX];
    int res;

    find_compiler(&b);
    make_key(&b);
    res = choose_folder(&b);
    if (res)
        return res;
    if (path_in(&b, object, b.key, ".so")) {
        say(&b, "ptx: the name of the cache is too long");
        return 2;
    }
    *handle = b.is_cache ? load(&b, object) : NULL;
    if (!*handle) {
        res = compile(&b, object);
        if (res == 0) {
            *handle = load(&b, object);
            res = *handle ? 0 : 218;
        }
    }
    if (!b.is_cache) {
        unlink(object);
        rmdir(b.folder);
    }
    if (res == 0 && log_bytes > 0)
        log[0] = 0;
    return res;
}
