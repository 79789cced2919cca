/* Requests, and the calls that they are held against. */
#include "gate.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"
#include "tests/simcuda/exports.h"

#define REQUESTS    16
#define CALLERS     32
#define EXPORTS_MAX 1024

/* An object file that calls came from. */
struct caller {
    char *path;
    int may_fail;
    uint64_t calls[EXPORTS_MAX];
    uint64_t failed[EXPORTS_MAX];
};

/* Tells the jumps of gate_jump.S to ask; until the settings are known they do. */
extern unsigned char gate_is_shut;
unsigned char gate_is_shut = 1;

static pthread_once_t g_once = PTHREAD_ONCE_INIT;
static pthread_mutex_t g_lock = PTHREAD_MUTEX_INITIALIZER;
static struct gate_request g_requests[REQUESTS]; /* fixed after the first call */
static uint64_t g_counts[REQUESTS];              /* g_lock, as all below */
static unsigned g_request_count;
static struct caller *g_callers[CALLERS]; /* the last one takes in whoever finds no room */
static unsigned g_caller_count;

/* Requests ------------------------------------------------------------------------------------- */

int gate_request_parse(const char *text, size_t length, struct gate_request *out)
{
    struct gate_request request = {.code = CUDA_ERROR_OUT_OF_MEMORY};
    const char *colon = memchr(text, ':', length);
    const char *end = text + length;
    char *rest;

    if (!colon || colon == text || (size_t)(colon - text) >= sizeof(request.name))
        return -EINVAL;
    memcpy(request.name, text, (size_t)(colon - text));
    if (colon + 1 >= end || colon[1] < '0' || colon[1] > '9')
        return -EINVAL;
    request.first = strtoull(colon + 1, &rest, 10);
    if (*rest == '+' && rest < end) {
        request.is_open = 1;
        rest++;
    }
    if (rest + 1 < end && *rest == ':' && rest[1] >= '0' && rest[1] <= '9')
        request.code = (int)strtol(rest + 1, &rest, 10);
    if (rest != end || !request.first || !request.code)
        return -EINVAL;
    *out = request;
    return 0;
}

int gate_request_names(const struct gate_request *request, const char *symbol)
{
    const size_t length = strlen(request->name);
    const char *rest = symbol + length;

    if (strcmp(request->name, "any") == 0)
        return 1;
    if (strncmp(symbol, request->name, length) != 0)
        return 0;
    if (rest[0] == '_' && rest[1] == 'v' && rest[2] >= '2' && rest[2] <= '9')
        rest += 3;
    return !*rest || strcmp(rest, "_ptsz") == 0 || strcmp(rest, "_ptds") == 0;
}

int gate_request_hits(const struct gate_request *request, uint64_t count)
{
    return request->is_open ? count >= request->first : count == request->first;
}

static int is_known(const struct gate_request *request)
{
    unsigned i;

    for (i = 0; i < export_count(); i++) {
        if (gate_request_names(request, export_name(i)))
            return 1;
    }
    return 0;
}

static void requests_read(void)
{
    const char *text = sim_setting_text(SIM_FAIL);

    while (*text) {
        const size_t length = strcspn(text, ",");
        struct gate_request *request = &g_requests[g_request_count];

        if (g_request_count == REQUESTS || gate_request_parse(text, length, request) != 0 ||
            !is_known(request))
            fprintf(stderr, "simcuda: SIMCUDA_FAIL: cannot take %.*s\n", (int)length, text);
        else
            g_request_count++;
        text += length + (text[length] == ',');
    }
}

static void gate_open(void)
{
    requests_read();
    gate_is_shut = g_request_count || *sim_setting_text(SIM_CALLS);
}

/* Calls ---------------------------------------------------------------------------------------- */

/* Who called, by its return address. g_lock held; NULL when there is no memory for it. */
static struct caller *caller_of(const void *from)
{
    const char *wanted = sim_setting_text(SIM_FAIL_CALLER);
    const char *path = "";
    struct caller *caller;
    Dl_info info;
    unsigned i;

    if (dladdr(from, &info) && info.dli_fname)
        path = info.dli_fname;
    for (i = 0; i < g_caller_count; i++) {
        if (strcmp(g_callers[i]->path, path) == 0)
            return g_callers[i];
    }
    if (g_caller_count == CALLERS)
        return g_callers[CALLERS - 1];
    caller = calloc(1, sizeof(*caller));
    if (!caller)
        return NULL;
    caller->path = strdup(path);
    if (!caller->path) {
        free(caller);
        return NULL;
    }
    caller->may_fail = strstr(path, wanted) != NULL;
    g_callers[g_caller_count++] = caller;
    return caller;
}

/* g_lock held. returns the code that the call is to fail with, or 0 */
static int request_for(unsigned index)
{
    int code = 0;
    unsigned i;

    for (i = 0; i < g_request_count; i++) {
        if (gate_request_names(&g_requests[i], export_name(index)) &&
            gate_request_hits(&g_requests[i], ++g_counts[i]) && !code)
            code = g_requests[i].code;
    }
    return code;
}

/* Asked by every export while the gate is shut. returns what the call answers instead of doing
 * anything, or 0 */
int gate_call(unsigned index, const void *from);
int gate_call(unsigned index, const void *from)
{
    struct caller *caller;
    int code = 0;

    pthread_once(&g_once, gate_open);
    if (!gate_is_shut)
        return 0;
    pthread_mutex_lock(&g_lock);
    caller = caller_of(from);
    if (caller) {
        caller->calls[index]++;
        code = caller->may_fail ? request_for(index) : 0;
        caller->failed[index] += code != 0;
    }
    pthread_mutex_unlock(&g_lock);
    if (code)
        sim_log("%s fails with %d, as requested", export_name(index), code);
    return code;
}

void gate_forked(void)
{
    gate_is_shut = 0;
}

void gate_report(void)
{
    const char *path = sim_setting_text(SIM_CALLS);
    unsigned c, i;
    FILE *file;

    if (!*path)
        return;
    file = fopen(path, "w");
    if (!file) {
        fprintf(stderr, "simcuda: cannot write SIMCUDA_CALLS=%s: %m\n", path);
        return;
    }
    pthread_mutex_lock(&g_lock);
    for (c = 0; c < g_caller_count; c++) {
        for (i = 0; i < export_count(); i++) {
            if (g_callers[c]->calls[i])
                fprintf(file, "%s\t%llu\t%llu\t%s\n", export_name(i),
                        (unsigned long long)g_callers[c]->calls[i],
                        (unsigned long long)g_callers[c]->failed[i], g_callers[c]->path);
        }
    }
    pthread_mutex_unlock(&g_lock);
    if (fclose(file) != 0)
        fprintf(stderr, "simcuda: cannot write SIMCUDA_CALLS=%s: %m\n", path);
}
