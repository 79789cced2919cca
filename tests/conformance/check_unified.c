/* check_unified.c - managed memory: what advice and prefetch say of themselves, and what is
 * refused.
 *
 * Where a page is cannot be asked of a real driver; its attributes can.
 */
#include "conformance.h"

static const CUmemLocation g_device = {CU_MEM_LOCATION_TYPE_DEVICE, 0};
static const CUmemLocation g_host = {CU_MEM_LOCATION_TYPE_HOST, 0};

static int range_attribute(CUmem_range_attribute attribute, CUdeviceptr p, size_t bytes)
{
    int value = -77;

    OK(cuMemRangeGetAttribute(&value, sizeof(value), attribute, p, bytes));
    return value;
}

static int last_prefetch(CUdeviceptr p, size_t bytes)
{
    return range_attribute(CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION, p, bytes);
}

static void arguments(void)
{
    CUdeviceptr p = 0;

    begin();
    need_concurrent_managed();
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemAllocManaged(&p, 0, CU_MEM_ATTACH_GLOBAL));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemAllocManaged(&p, MIB, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemAllocManaged(&p, MIB, CU_MEM_ATTACH_SINGLE));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemAllocManaged(NULL, MIB, CU_MEM_ATTACH_GLOBAL));
    OK(cuMemAllocManaged(&p, MIB, CU_MEM_ATTACH_HOST));
    OK(cuMemFree(p));
}

/* Nobody has prefetched: invalid; two halves to two places: invalid as a whole. */
static void last_prefetch_location(void)
{
    CUdeviceptr p;

    begin();
    need_concurrent_managed();
    p = managed_alloc(8 * MIB);
    EXPECT(last_prefetch(p, 8 * MIB) == CU_DEVICE_INVALID);
    OK(cuMemPrefetchAsync(p, 4 * MIB, g_device, 0, 0));
    OK(cuCtxSynchronize());
    EXPECT(last_prefetch(p, 4 * MIB) == 0);
    EXPECT(last_prefetch(p + 2 * MIB, 2 * MIB) == 0);
    EXPECT(last_prefetch(p, 8 * MIB) == CU_DEVICE_INVALID);
    OK(cuMemPrefetchAsync(p + 4 * MIB, 4 * MIB, g_host, 0, 0));
    OK(cuCtxSynchronize());
    EXPECT(last_prefetch(p + 4 * MIB, 4 * MIB) == CU_DEVICE_CPU);
    EXPECT(last_prefetch(p, 8 * MIB) == CU_DEVICE_INVALID);
    OK(cuMemPrefetchAsync(p, 8 * MIB, g_device, 0, 0));
    OK(cuCtxSynchronize());
    EXPECT(last_prefetch(p, 8 * MIB) == 0);
}

static void read_mostly(void)
{
    CUdeviceptr p;

    begin();
    need_concurrent_managed();
    p = managed_alloc(8 * MIB);
    EXPECT(range_attribute(CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, p, 8 * MIB) == 0);
    OK(cuMemAdvise(p, 4 * MIB, CU_MEM_ADVISE_SET_READ_MOSTLY, g_device));
    EXPECT(range_attribute(CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, p, 4 * MIB) == 1);
    EXPECT(range_attribute(CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, p, 8 * MIB) == 0);
    OK(cuMemAdvise(p, 8 * MIB, CU_MEM_ADVISE_SET_READ_MOSTLY, g_device));
    EXPECT(range_attribute(CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, p, 8 * MIB) == 1);
    OK(cuMemAdvise(p + 2 * MIB, 2 * MIB, CU_MEM_ADVISE_UNSET_READ_MOSTLY, g_device));
    EXPECT(range_attribute(CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, p, 8 * MIB) == 0);
    EXPECT(range_attribute(CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, p, 2 * MIB) == 1);
    EXPECT(range_attribute(CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, p + 2 * MIB, 2 * MIB) == 0);
}

static void preferred_location(void)
{
    CUdeviceptr p;

    begin();
    need_concurrent_managed();
    p = managed_alloc(8 * MIB);
    EXPECT(range_attribute(CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION, p, 8 * MIB) ==
           CU_DEVICE_INVALID);
    OK(cuMemAdvise(p, 4 * MIB, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, g_host));
    EXPECT(range_attribute(CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION, p, 4 * MIB) == CU_DEVICE_CPU);
    EXPECT(range_attribute(CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION, p, 8 * MIB) ==
           CU_DEVICE_INVALID);
    OK(cuMemAdvise(p, 8 * MIB, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, g_device));
    EXPECT(range_attribute(CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION, p, 8 * MIB) == 0);
    OK(cuMemAdvise(p, 8 * MIB, CU_MEM_ADVISE_UNSET_PREFERRED_LOCATION, g_device));
    EXPECT(range_attribute(CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION, p, 8 * MIB) ==
           CU_DEVICE_INVALID);
}

/* A list of devices, filled up with the invalid one. */
static void accessed_by(void)
{
    int who[3] = {7, 7, 7};
    CUdeviceptr p;

    begin();
    need_concurrent_managed();
    p = managed_alloc(4 * MIB);
    OK(cuMemAdvise(p, 4 * MIB, CU_MEM_ADVISE_SET_ACCESSED_BY, g_device));
    OK(cuMemRangeGetAttribute(who, sizeof(who), CU_MEM_RANGE_ATTRIBUTE_ACCESSED_BY, p, 4 * MIB));
    EXPECT(who[0] == 0 && who[1] == CU_DEVICE_INVALID && who[2] == CU_DEVICE_INVALID);
    OK(cuMemAdvise(p, 4 * MIB, CU_MEM_ADVISE_UNSET_ACCESSED_BY, g_device));
    OK(cuMemRangeGetAttribute(who, sizeof(who), CU_MEM_RANGE_ATTRIBUTE_ACCESSED_BY, p, 4 * MIB));
    EXPECT(who[0] == CU_DEVICE_INVALID && who[1] == CU_DEVICE_INVALID);
}

static void errors(void)
{
    CUmemLocation no_device = {CU_MEM_LOCATION_TYPE_DEVICE, 4711};
    CUmem_range_attribute which = CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY;
    size_t value_bytes = sizeof(int);
    CUdeviceptr p, plain;
    int value = 0;
    void *values = &value;

    begin();
    need_concurrent_managed();
    p = managed_alloc(4 * MIB);
    plain = device_alloc(4 * MIB);
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemPrefetchAsync(plain, 4 * MIB, g_device, 0, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuMemAdvise(plain, 4 * MIB, CU_MEM_ADVISE_SET_READ_MOSTLY, g_device));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemPrefetchAsync(p, 0, g_device, 0, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemPrefetchAsync(p, MIB, g_device, 1, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_DEVICE, cuMemPrefetchAsync(p, MIB, no_device, 0, 0));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuMemAdvise(p, MIB, CU_MEM_ADVISE_SET_PREFERRED_LOCATION, no_device));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE, cuMemAdvise(p, MIB, (CUmem_advise)99, g_device));
    EXPECT_CU(CUDA_ERROR_INVALID_VALUE,
              cuMemRangeGetAttribute(&value, 3, CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, p, MIB));
    EXPECT_ERROR("attribute_of_plain",
                 cuMemRangeGetAttribute(&value, 4, CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY, plain, MIB));
    EXPECT_ERROR("attributes_of_plain",
                 cuMemRangeGetAttributes(&values, &value_bytes, &which, 1, plain, MIB));
    OK(cuCtxSynchronize());
}

/* Managed memory that nobody has touched takes nothing from the device. */
static void capacity(void)
{
    size_t before = 0, with = 0, resident = 0, total = 0;
    CUdeviceptr p;

    begin();
    need_concurrent_managed();
    warm_up();
    OK(cuMemGetInfo(&before, &total));
    if (before < 64 * MIB)
        check_skip("only %zu bytes are free", before);
    p = managed_alloc(32 * MIB);
    OK(cuMemGetInfo(&with, &total));
    EXPECT(with + 16 * MIB > before);
    OK(cuMemPrefetchAsync(p, 32 * MIB, g_device, 0, 0));
    OK(cuCtxSynchronize());
    OK(cuMemGetInfo(&resident, &total));
    note("resident_took_bytes", (long long)(with - resident));
    OK(cuMemFree(p));
}

/* What fresh managed memory holds is not promised; the record shows what this driver gives. */
static void fresh(void)
{
    const uint32_t *host;
    int zeros = 0;

    begin();
    need_concurrent_managed();
    host = (const uint32_t *)(uintptr_t)managed_alloc(4096);
    for (int i = 0; i < 1024; i++)
        zeros += host[i] == 0;
    note("zero_words_of_1024", zeros);
}

#define UNIFIED_CHECKS(X)                                                                          \
    X(arguments)                                                                                   \
    X(last_prefetch_location)                                                                      \
    X(read_mostly) X(preferred_location) X(accessed_by) X(errors) X(capacity) X(fresh)
CHECK_GROUP(unified, UNIFIED_CHECKS);
