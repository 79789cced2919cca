/* check_vmm.c - virtual memory management: addresses, physical memory, mappings, rights. */
#include "conformance.h"

static CUmemAllocationProp device_prop(void)
{
    CUmemAllocationProp prop;

    memset(&prop, 0, sizeof(prop));
    prop.type = CU_MEM_ALLOCATION_TYPE_PINNED;
    prop.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    return prop;
}

/* A context on a device that has it. returns the granularity, of which sizes here are multiples */
static size_t begin_vmm(void)
{
    CUmemAllocationProp prop = device_prop();
    size_t granule = 0;

    begin();
    if (!device_attribute(CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED))
        check_skip("no virtual memory management (attribute 102)");
    OK(cuMemGetAllocationGranularity(&granule, &prop, CU_MEM_ALLOC_GRANULARITY_MINIMUM));
    return granule;
}

static CUdeviceptr reserve(size_t bytes)
{
    CUdeviceptr p = 0;

    OK(cuMemAddressReserve(&p, bytes, 0, 0, 0));
    return p;
}

static CUmemGenericAllocationHandle create(size_t bytes)
{
    CUmemAllocationProp prop = device_prop();
    CUmemGenericAllocationHandle handle = 0;

    OK(cuMemCreate(&handle, bytes, &prop, 0));
    return handle;
}

static CUresult allow(CUdeviceptr p, size_t bytes, CUmemAccess_flags flags)
{
    CUmemAccessDesc access;

    memset(&access, 0, sizeof(access));
    access.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    access.flags = flags;
    return cuMemSetAccess(p, bytes, &access, 1);
}

static unsigned long long rights(CUdeviceptr p)
{
    CUmemLocation location = {CU_MEM_LOCATION_TYPE_DEVICE, 0};
    unsigned long long flags = 77;

    OK(cuMemGetAccess(&flags, &location, p));
    return flags;
}

/* Mapped for reading and writing. */
static void map(CUdeviceptr p, size_t bytes, CUmemGenericAllocationHandle handle)
{
    OK(cuMemMap(p, bytes, 0, handle, 0));
    OK(allow(p, bytes, CU_MEM_ACCESS_FLAGS_PROT_READWRITE));
}

static void granularity(void)
{
    CUmemAllocationProp prop = device_prop();
    size_t least = begin_vmm(), best = 0;

    OK(cuMemGetAllocationGranularity(&best, &prop, CU_MEM_ALLOC_GRANULARITY_RECOMMENDED));
    answer("minimum", (long long)least);
    EXPECT(best >= least && best % least == 0);
    prop.type = CU_MEM_ALLOCATION_TYPE_INVALID; /* says nothing of sizes */
    OK(cuMemGetAllocationGranularity(&best, &prop, CU_MEM_ALLOC_GRANULARITY_MINIMUM));
}

/* Kernels and copies use a mapping like any memory. */
static void used_like_any(void)
{
    size_t granule = begin_vmm(), words = granule / 2; /* of two granules */
    CUmemGenericAllocationHandle a, b;
    CUdeviceptr p, q;
    uint32_t *in;

    p = reserve(4 * granule);
    EXPECT(p % granule == 0);
    a = create(granule);
    b = create(granule);
    map(p, granule, a);
    map(p + granule, granule, b);
    EXPECT_EQ(rights(p + granule + 5), CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
    launch_fill(0, p, words, 3);
    OK(cuCtxSynchronize());
    EXPECT_PATTERN(p, words, 3); /* one copy over both mappings */
    in = pattern_new(words, 4);
    OK(cuMemcpyHtoD(p, in, words * 4));
    launch_triple(0, p, words);
    q = device_alloc(words * 4);
    OK(cuMemcpyDtoD(q, p, words * 4));
    OK(cuMemcpyDtoH(in, q, words * 4));
    for (size_t i = 0; i < words; i++)
        EXPECT_EQ(in[i], tk_pattern(i, 4) * 3 + 1);
    OK(cuMemUnmap(p, 2 * granule)); /* both in one call */
    OK(cuMemRelease(a));
    OK(cuMemRelease(b));
    OK(cuMemAddressFree(p, 4 * granule));
}

/* One handle at two addresses: what is written here is read there, and it stays when it moves. */
static void mapped_twice(void)
{
    size_t granule = begin_vmm(), words = granule / 4;
    CUmemGenericAllocationHandle a;
    CUdeviceptr p = reserve(4 * granule);

    a = create(granule);
    map(p, granule, a);
    map(p + 2 * granule, granule, a);
    launch_fill(0, p, words, 5);
    launch_triple(0, p + 2 * granule, words);
    OK(cuCtxSynchronize());
    OK(cuMemUnmap(p, granule));
    OK(cuMemUnmap(p + 2 * granule, granule));
    map(p + 3 * granule, granule, a);
    {
        uint32_t *got = pattern_new(words, 0);

        OK(cuMemcpyDtoH(got, p + 3 * granule, granule));
        for (size_t i = 0; i < words; i++)
            EXPECT_EQ(got[i], tk_pattern(i, 5) * 3 + 1);
    }
}

/* A handle lives while it is referenced or mapped. */
static void released_while_mapped(void)
{
    size_t granule = begin_vmm(), words = granule / 4;
    CUmemGenericAllocationHandle a, again = 0;
    CUmemAllocationProp prop;
    CUdeviceptr p = reserve(2 * granule);

    a = create(granule);
    map(p, granule, a);
    OK(cuMemRelease(a));
    launch_fill(0, p, words, 6);
    OK(cuCtxSynchronize());
    EXPECT_PATTERN(p, words, 6);
    OK(cuMemRetainAllocationHandle(&again, (void *)(uintptr_t)(p + 12)));
    EXPECT_EQ(again, a);
    OK(cuMemGetAllocationPropertiesFromHandle(&prop, again));
    EXPECT_EQ(prop.location.type, CU_MEM_LOCATION_TYPE_DEVICE);
    EXPECT_EQ(prop.location.id, 0);
    OK(cuMemUnmap(p, granule));
    map(p + granule, granule, again);
    EXPECT_PATTERN(p + granule, words, 6);
    OK(cuMemUnmap(p + granule, granule));
    OK(cuMemRelease(again));
    EXPECT_ERROR("retain_unmapped",
                 cuMemRetainAllocationHandle(&again, (void *)(uintptr_t)(p + granule)));
}

/* What is created is taken from the card, and given back with the last that holds it. */
static void capacity(void)
{
    size_t granule = begin_vmm(), bytes = 32 * granule, before, during, after, total;
    CUmemGenericAllocationHandle a;
    CUmemAllocationProp prop = device_prop();
    CUdeviceptr p = reserve(bytes);

    a = create(bytes); /* whatever the driver keeps for the first time */
    OK(cuMemRelease(a));
    OK(cuMemGetInfo(&before, &total));
    a = create(bytes);
    OK(cuMemMap(p, bytes, 0, a, 0));
    OK(cuMemRelease(a));
    OK(cuMemGetInfo(&during, &total));
    EXPECT(before - during >= bytes);
    OK(cuMemUnmap(p, bytes));
    OK(cuMemGetInfo(&after, &total));
    EXPECT(after >= during + bytes);
    EXPECT_CU(CUDA_ERROR_OUT_OF_MEMORY,
              cuMemCreate(&a, (total / granule + 64) * granule, &prop, 0));
    a = create(granule); /* and nothing is spoilt */
    OK(cuMemRelease(a));
}

/* Memory of the host, where the device may have it. */
static void host_located(void)
{
    size_t granule = begin_vmm(), words = granule / 4, free_before, free_after, total;
    CUmemAllocationProp prop = device_prop();
    CUmemGenericAllocationHandle a = 0;
    CUdeviceptr p = reserve(granule);

    if (!device_attribute(CU_DEVICE_ATTRIBUTE_HOST_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED))
        check_skip("no virtual memory management of host memory (attribute 145)");
    prop.location.type = CU_MEM_LOCATION_TYPE_HOST;
    OK(cuMemGetInfo(&free_before, &total));
    OK(cuMemCreate(&a, granule, &prop, 0));
    OK(cuMemGetInfo(&free_after, &total));
    EXPECT(free_before - free_after < granule || free_after > free_before);
    map(p, granule, a);
    launch_fill(0, p, words, 7);
    launch_triple(0, p, words);
    OK(cuCtxSynchronize());
    {
        uint32_t *got = pattern_new(words, 0);

        OK(cuMemcpyDtoH(got, p, granule));
        for (size_t i = 0; i < words; i++)
            EXPECT_EQ(got[i], tk_pattern(i, 7) * 3 + 1);
    }
    OK(cuMemUnmap(p, granule));
    OK(cuMemRelease(a));
}

static void refused(void)
{
    size_t granule = begin_vmm();
    CUmemAllocationProp prop = device_prop();
    CUmemGenericAllocationHandle a = create(2 * granule), b;
    CUdeviceptr p = reserve(4 * granule), q = 0;

    EXPECT_ERROR("create_odd_size", cuMemCreate(&b, granule / 2, &prop, 0));
    EXPECT_ERROR("create_nothing", cuMemCreate(&b, 0, &prop, 0));
    EXPECT_ERROR("create_flags", cuMemCreate(&b, granule, &prop, 1));
    prop.location.type = CU_MEM_LOCATION_TYPE_HOST_NUMA_CURRENT;
    EXPECT_ERROR("create_numa_current", cuMemCreate(&b, granule, &prop, 0));
    prop.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    prop.location.id = 1000;
    EXPECT_ERROR("create_no_device", cuMemCreate(&b, granule, &prop, 0));
    EXPECT_ERROR("reserve_nothing", cuMemAddressReserve(&q, 0, 0, 0, 0));
    EXPECT_ERROR("reserve_odd_alignment", cuMemAddressReserve(&q, granule, 3 * granule, 0, 0));
    OK(cuMemAddressReserve(&q, granule, 8 * granule, 0, 0));
    EXPECT(q % (8 * granule) == 0);
    OK(cuMemAddressFree(q, granule));
    EXPECT_ERROR("map_offset", cuMemMap(p, granule, granule, a, 0));
    EXPECT_ERROR("map_odd_size", cuMemMap(p, granule / 2, 0, a, 0));
    EXPECT_ERROR("map_odd_address", cuMemMap(p + granule / 2, granule, 0, a, 0));
    EXPECT_ERROR("map_too_much", cuMemMap(p, 3 * granule, 0, a, 0));
    EXPECT_ERROR("map_unreserved", cuMemMap(q, granule, 0, a, 0));
    OK(cuMemAddressFree(p, 4 * granule));
    OK(cuMemRelease(a));
}

/* Four granules of addresses, two of memory mapped at their beginning, without rights. */
static CUdeviceptr begin_mapped(size_t *granule, CUmemGenericAllocationHandle *a)
{
    CUdeviceptr p;

    *granule = begin_vmm();
    p = reserve(4 * *granule);
    *a = create(2 * *granule);
    OK(cuMemMap(p, 2 * *granule, 0, *a, 0));
    return p;
}

/* A handle is mapped whole, and over nothing. What lies beyond a reservation is not asked for: the
 * driver may have more of it reserved than the program knows. */
static void map_refused(void)
{
    CUmemGenericAllocationHandle a;
    size_t granule;
    CUdeviceptr p = begin_mapped(&granule, &a);

    EXPECT_EQ(rights(p), CU_MEM_ACCESS_FLAGS_PROT_NONE);
    EXPECT_ERROR("part", cuMemMap(p + 2 * granule, granule, 0, a, 0));
    EXPECT_ERROR("offset", cuMemMap(p + 2 * granule, 2 * granule, granule, a, 0));
    EXPECT_ERROR("over", cuMemMap(p + granule, 2 * granule, 0, a, 0));
}

static void unmap_refused(void)
{
    CUmemGenericAllocationHandle a;
    size_t granule;
    CUdeviceptr p = begin_mapped(&granule, &a);

    EXPECT_ERROR("half", cuMemUnmap(p, granule));
    EXPECT_ERROR("other_half", cuMemUnmap(p + granule, granule));
    EXPECT_ERROR("beyond", cuMemUnmap(p, 3 * granule));
    OK(cuMemUnmap(p, 2 * granule));
    EXPECT_ERROR("twice", cuMemUnmap(p, 2 * granule));
}

static void access_refused(void)
{
    CUmemGenericAllocationHandle a;
    size_t granule;
    CUdeviceptr p = begin_mapped(&granule, &a);

    EXPECT_ERROR("beyond", allow(p, 3 * granule, CU_MEM_ACCESS_FLAGS_PROT_READWRITE));
    EXPECT_ERROR("unmapped", allow(p + 2 * granule, granule, CU_MEM_ACCESS_FLAGS_PROT_READWRITE));
}

static void free_refused(void)
{
    CUmemGenericAllocationHandle a;
    size_t granule;
    CUdeviceptr p = begin_mapped(&granule, &a);

    EXPECT_ERROR("part", cuMemAddressFree(p, 2 * granule));
    OK(cuMemUnmap(p, 2 * granule));
    OK(cuMemAddressFree(p, 4 * granule));
    EXPECT_ERROR("twice", cuMemAddressFree(p, 4 * granule));
    OK(cuMemRelease(a));
}

#define VMM_CHECKS(X)                                                                              \
    X(granularity)                                                                                 \
    X(used_like_any)                                                                               \
    X(mapped_twice)                                                                                \
    X(released_while_mapped)                                                                       \
    X(capacity)                                                                                    \
    X(host_located)                                                                                \
    X(refused)                                                                                     \
    X(map_refused)                                                                                 \
    X(unmap_refused)                                                                               \
    X(access_refused)                                                                              \
    X(free_refused)
CHECK_GROUP(vmm, VMM_CHECKS);

/* What the device may not do: each is error 700 at the next wait. */

/* A granule that is mapped with these rights, or only reserved. */
static CUdeviceptr guarded(int is_mapped, CUmemAccess_flags flags, size_t *granule)
{
    CUmemGenericAllocationHandle a;
    CUdeviceptr p;

    *granule = begin_vmm();
    warm_up();
    p = reserve(*granule);
    if (!is_mapped)
        return p;
    a = create(*granule);
    OK(cuMemMap(p, *granule, 0, a, 0));
    if (flags != CU_MEM_ACCESS_FLAGS_PROT_NONE)
        OK(allow(p, *granule, flags));
    return p;
}

static void expect_illegal(CUdeviceptr p)
{
    launch_fill(0, p, 64, 1);
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS, cuCtxSynchronize());
    EXPECT_CU(CUDA_ERROR_ILLEGAL_ADDRESS, cuCtxSynchronize());
}

static void reserved_only(void)
{
    size_t granule;

    expect_illegal(guarded(0, CU_MEM_ACCESS_FLAGS_PROT_NONE, &granule));
}

static void no_access_until_it_is_set(void)
{
    size_t granule;

    expect_illegal(guarded(1, CU_MEM_ACCESS_FLAGS_PROT_NONE, &granule));
}

static void write_to_read_only(void)
{
    size_t granule;
    CUdeviceptr out, p = guarded(1, CU_MEM_ACCESS_FLAGS_PROT_READ, &granule);
    uint64_t words = 64;

    out = device_alloc(64 * 4);
    LAUNCH(kernel("tk_copy"), 1, 64, 0, &out, &p, &words); /* reading is allowed */
    OK(cuCtxSynchronize());
    expect_illegal(p);
}

static void after_unmap(void)
{
    size_t granule;
    CUdeviceptr p = guarded(1, CU_MEM_ACCESS_FLAGS_PROT_READWRITE, &granule);

    launch_fill(0, p, 64, 1);
    OK(cuCtxSynchronize());
    OK(cuMemUnmap(p, granule));
    expect_illegal(p);
}

/* A new mapping has none of the rights that the one before had. */
static void mapped_again(void)
{
    size_t granule;
    CUdeviceptr p = guarded(1, CU_MEM_ACCESS_FLAGS_PROT_READWRITE, &granule);
    CUmemGenericAllocationHandle a = create(granule);

    OK(cuMemUnmap(p, granule));
    OK(cuMemMap(p, granule, 0, a, 0));
    expect_illegal(p);
}

static void access_taken_away(void)
{
    size_t granule;
    CUdeviceptr p = guarded(1, CU_MEM_ACCESS_FLAGS_PROT_READWRITE, &granule);

    launch_fill(0, p, 64, 1);
    OK(cuCtxSynchronize());
    OK(allow(p, granule, CU_MEM_ACCESS_FLAGS_PROT_NONE));
    EXPECT_EQ(rights(p), CU_MEM_ACCESS_FLAGS_PROT_NONE);
    expect_illegal(p);
}

#define VMM_ILLEGAL_CHECKS(X)                                                                      \
    X(reserved_only)                                                                               \
    X(no_access_until_it_is_set)                                                                   \
    X(write_to_read_only)                                                                          \
    X(after_unmap)                                                                                 \
    X(mapped_again)                                                                                \
    X(access_taken_away)
CHECK_GROUP(vmm_illegal, VMM_ILLEGAL_CHECKS);
