#include "procaddr.h"

#include <stdatomic.h>
#include <string.h>

#include "procaddr_table.h"
#include "sim.h"
#include "tests/simcuda/exports.h"

static const struct row {
    const char *symbol;
    int since;
} TABLE[] = {
#define X(symbol, since) {#symbol, since},
    PROCADDR_TABLE(X)
#undef X
};

#define ROWS      (sizeof(TABLE) / sizeof(*TABLE))
#define TWIN_SIZE (sizeof("_ptsz") - 1)

/* Does the symbol carry that base name? Sets *twin when it is a per-thread twin. */
static int row_has_name(const struct row *row, const char *name, size_t length, int *twin)
{
    const char *suffix = row->symbol + length;

    if (strncmp(row->symbol, name, length) != 0)
        return 0;
    if (suffix[0] == '_' && suffix[1] == 'v' && suffix[2] >= '2' && suffix[2] <= '9')
        suffix += 3;
    *twin = strcmp(suffix, "_ptsz") == 0 || strcmp(suffix, "_ptds") == 0;
    return suffix[*twin ? TWIN_SIZE : 0] == '\0';
}

/* Is row a better answer than best? A twin beats what is none, then the newer ABI wins. */
static int row_is_better(const struct row *row, int twin, const struct row *best, int best_twin)
{
    if (!best)
        return 1;
    if (twin != best_twin)
        return twin;
    return row->since > best->since;
}

static const struct row *table_find(const char *name, int version, int twins, int driver_version,
                                    int *known)
{
    const size_t length = strlen(name);
    const struct row *best = NULL;
    int best_twin = 0;
    size_t i;

    *known = 0;
    for (i = 0; i < ROWS; i++) {
        int twin;

        if (!row_has_name(&TABLE[i], name, length, &twin) || TABLE[i].since > driver_version)
            continue;
        *known = 1;
        if (TABLE[i].since > version || (twin && !twins))
            continue;
        if (row_is_better(&TABLE[i], twin, best, best_twin)) {
            best = &TABLE[i];
            best_twin = twin;
        }
    }
    return best;
}

static int export_index(const char *symbol)
{
    unsigned i;

    for (i = 0; i < export_count(); i++) {
        if (strcmp(export_name(i), symbol) == 0)
            return (int)i;
    }
    return -1;
}

int procaddr_find(const char *name, int version, uint64_t flags, int driver_version,
                  CUdriverProcAddressQueryResult *status)
{
    const int twins = (flags & CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM) != 0;
    const struct row *row;
    int known;

    row = table_find(name, version, twins, driver_version, &known);
    if (status)
        *status = row     ? CU_GET_PROC_ADDRESS_SUCCESS
                  : known ? CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT
                          : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    return row ? export_index(row->symbol) : -1;
}

/* Without parameter info the two functions that give it are as absent as in an old driver. */
static int is_hidden(const char *name)
{
    return !sim_setting(SIM_PARAM_INFO) &&
           (strcmp(name, "cuFuncGetParamInfo") == 0 || strcmp(name, "cuKernelGetParamInfo") == 0);
}

static CUresult get_proc_address(const char *name, void **function, int version, uint64_t flags,
                                 CUdriverProcAddressQueryResult *status)
{
    const uint64_t both =
        CU_GET_PROC_ADDRESS_LEGACY_STREAM | CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM;
    const int driver_version = (int)sim_setting(SIM_DRIVER_VERSION);
    int index = -1;

    if (!name || !function || (flags & ~both) || (flags & both) == both || version > driver_version)
        return CUDA_ERROR_INVALID_VALUE;
    if (status)
        *status = CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    if (!is_hidden(name))
        index = procaddr_find(name, version, flags, driver_version, status);
    *function = index < 0 ? NULL : export_address((unsigned)index);
    return CUDA_SUCCESS;
}

/* Both work before cuInit: it is how a program finds cuInit. What is not there is an error to the
 * first form, which writes nothing, while the second answers with NULL and the status. */
SIM_ENTRY(cuGetProcAddress, const char *name, void **function, int version, cuuint64_t flags)
{
    void *found = NULL;
    CUresult res = get_proc_address(name, function ? &found : NULL, version, flags, NULL);

    if (res == CUDA_SUCCESS && !found)
        return CUDA_ERROR_NOT_FOUND;
    if (res == CUDA_SUCCESS)
        *function = found;
    return res;
}

SIM_ENTRY(cuGetProcAddress_v2, const char *name, void **function, int version, cuuint64_t flags,
          CUdriverProcAddressQueryResult *status)
{
    return get_proc_address(name, function, version, flags, status);
}

/* The tables behind it are private to NVIDIA's own libraries: there are none here. */
SIM_ENTRY(cuGetExportTable, const void **table, const CUuuid *id)
{
    if (!table || !id)
        return CUDA_ERROR_INVALID_VALUE;
    *table = NULL;
    return CUDA_ERROR_NOT_FOUND;
}
