/* story.c - sizes, bounds and attributes tell one story, and it is that of device memory.
 *
 * run: max-memory=0=8MiB max-memory=cpu=64MiB env=SIMCUDA_VRAM=24MiB arg=--paged arg=1 only=berth
 * stderr: no room for an allocation of 16.0 MiB: [0-9.]+ [KM]iB are left of the 72.0 MiB
 * run: backend=off arg=--paged arg=0
 * run: only=plain arg=--paged arg=0
 */
#include "common.h"
#include <string.h>

#define MIB ((size_t)1 << 20)

/* A copy that leaves a paged allocation is refused, whatever lies behind it. */
static void check_bounds(CUdeviceptr base, size_t bytes)
{
    unsigned char host[64];

    CUDA_CHECK(cuMemcpyDtoH(host, base + bytes - 64, 64));
    EXPECT(cuMemcpyDtoH(host, base + bytes - 63, 64) == CUDA_ERROR_INVALID_VALUE,
           "read beyond the end");
    EXPECT(cuMemcpyHtoD(base + bytes - 1, host, 2) == CUDA_ERROR_INVALID_VALUE,
           "written beyond the end");
    EXPECT(cuMemsetD8(base + bytes / 2, 0, bytes) == CUDA_ERROR_INVALID_VALUE,
           "set beyond the end");
    EXPECT(cuMemcpyDtoD(base, base + bytes - 8, 16) == CUDA_ERROR_INVALID_VALUE,
           "copied from beyond the end");
}

static void check_pointer(CUdeviceptr base, size_t bytes)
{
    CUdeviceptr range_base = 0, probe = base + bytes / 2 + 1, start = 0;
    unsigned type = 0, managed = 9;
    size_t range_bytes = 0;
    int device = -1;
    void *host = NULL;
    CUpointer_attribute attributes[] = {CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
                                        CU_POINTER_ATTRIBUTE_IS_MANAGED,
                                        CU_POINTER_ATTRIBUTE_RANGE_SIZE};
    void *values[] = {&type, &managed, &range_bytes};

    CUDA_CHECK(cuMemGetAddressRange(&range_base, &range_bytes, probe));
    EXPECT(range_base == base && range_bytes == bytes, "address range %llx + %zu", range_base,
           range_bytes);
    CUDA_CHECK(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, probe));
    EXPECT(type == CU_MEMORYTYPE_DEVICE, "memory type %u", type);
    managed = 0;
    CUDA_CHECK(cuPointerGetAttribute(&managed, CU_POINTER_ATTRIBUTE_IS_MANAGED, probe));
    EXPECT(!(managed & 0xff), "is managed");
    CUDA_CHECK(cuPointerGetAttribute(&start, CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, probe));
    EXPECT(start == base, "range start %llx", start);
    CUDA_CHECK(cuPointerGetAttribute(&device, CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, probe));
    EXPECT(device == 0, "device %d", device);
    EXPECT(cuPointerGetAttribute(&host, CU_POINTER_ATTRIBUTE_HOST_POINTER, probe) ==
               CUDA_ERROR_INVALID_VALUE,
           "device memory has a host pointer");
    type = range_bytes = 0;
    CUDA_CHECK(cuPointerGetAttributes(3, attributes, values, probe));
    EXPECT(type == CU_MEMORYTYPE_DEVICE && !(managed & 0xff) && range_bytes == bytes,
           "attributes together: type %u, managed %u, bytes %zu", type, managed & 0xff,
           range_bytes);
}

/* Hints are for managed memory; a discard would even lose the bytes. It does not matter where in
 * the span the memory is that is not. */
static void check_no_hints(const CUdeviceptr *p, const size_t *sizes)
{
    CUmemLocation location = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = 0};
    CUdeviceptr managed, begins = p[3] - 4096, spans[2] = {p[2], p[3]};
    size_t first = 0, around = 8192, whole[2] = {sizes[2], sizes[3]};
    int preferred;
    CUstream stream;

    CUDA_CHECK(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    CUDA_CHECK(cuMemAllocManaged(&managed, MIB, CU_MEM_ATTACH_GLOBAL));
    EXPECT(cuMemAdvise(begins, around, CU_MEM_ADVISE_SET_READ_MOSTLY, location) ==
               CUDA_ERROR_INVALID_VALUE,
           "advice that reaches into device memory is taken");
    EXPECT(cuMemRangeGetAttribute(&preferred, sizeof(preferred),
                                  CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION, begins,
                                  around) == CUDA_ERROR_INVALID_VALUE,
           "device memory has attributes of managed memory");
    for (int i = 0; i < 2; i++) {
        spans[0] = i ? managed : p[2];
        whole[0] = i ? MIB : sizes[2];
        EXPECT(cuMemPrefetchBatchAsync(spans, whole, 2, &location, &first, 1, 0, stream) ==
                   CUDA_ERROR_INVALID_VALUE,
               "device memory is prefetched");
        EXPECT(cuMemDiscardBatchAsync(spans, whole, 2, 0, stream) == CUDA_ERROR_INVALID_VALUE,
               "device memory is discarded");
        EXPECT(cuMemDiscardAndPrefetchBatchAsync(spans, whole, 2, &location, &first, 1, 0,
                                                 stream) == CUDA_ERROR_INVALID_VALUE,
               "device memory is discarded and prefetched");
    }
    EXPECT(cuMemDiscardBatchAsync(&managed, &around, 1, 0, stream) != CUDA_ERROR_INVALID_VALUE,
           "managed memory is not discarded");
    CUDA_CHECK(cuMemFree(managed));
    CUDA_CHECK(cuStreamDestroy(stream));
}

int main(int argc, char **argv)
{
    const size_t sizes[] = {100, 70000, 3 * MIB + 5, 20 * MIB};
    int paged = (int)option(argc, argv, "paged", 0);
    CUmemLocation location = {.type = CU_MEM_LOCATION_TYPE_DEVICE, .id = 0};
    size_t free_before, free_after, total, device_total, sum = 0;
    CUdeviceptr p[4], more[8], base = 0;
    struct kernels k;
    int n = 0;

    start(0, &k);
    CUDA_CHECK(cuMemGetInfo(&free_before, &total));
    CUDA_CHECK(cuDeviceTotalMem(&device_total, 0));
    EXPECT(total == device_total, "total %zu and %zu", total, device_total);
    for (int i = 0; i < (paged ? 4 : 3); i++) {
        CUDA_CHECK(cuMemAlloc(&p[i], sizes[i]));
        EXPECT(p[i] % 256 == 0, "alignment of %llx", p[i]);
        check_pointer(p[i], sizes[i]);
        if (paged && i > 0)
            check_bounds(p[i], sizes[i]);
        EXPECT(cuMemAdvise(p[i], sizes[i], CU_MEM_ADVISE_SET_READ_MOSTLY, location) ==
                   CUDA_ERROR_INVALID_VALUE,
               "advice on device memory is taken");
        sum += sizes[i];
    }
    CUDA_CHECK(cuMemGetInfo(&free_after, &total));
    if (paged) {
        /* The driver's own figures tell of others on the card, too. */
        EXPECT(free_before - free_after >= sum, "free fell by %zu for %zu",
               free_before - free_after, sum);
        check_no_hints(p, sizes);
        /* More than the card has, up to what it says that it has; then the driver's own error. */
        EXPECT(total == 72 * MIB, "total is %zu", total);
        while (n < 8 && cuMemAlloc(&more[n], 16 * MIB) == CUDA_SUCCESS)
            n++;
        EXPECT(n == 3, "%d more allocations", n);
        EXPECT(cuMemAlloc(&more[n], 16 * MIB) == CUDA_ERROR_OUT_OF_MEMORY, "not error 2");
        while (n)
            CUDA_CHECK(cuMemFree(more[--n]));
    }
    for (int i = 0; i < (paged ? 4 : 3); i++)
        CUDA_CHECK(cuMemFree(p[i]));
    EXPECT(cuMemFree(p[2]) == CUDA_ERROR_INVALID_VALUE, "freed twice");
    if (paged) {
        /* The driver itself may have put other memory there. */
        EXPECT(cuMemGetAddressRange(&base, NULL, p[2]) != CUDA_SUCCESS, "freed memory has bounds");
        EXPECT(cuMemsetD8(p[2], 0, 64) == CUDA_ERROR_INVALID_VALUE, "freed memory is set");
        CUDA_CHECK(cuMemGetInfo(&free_after, &total));
        EXPECT(free_after == free_before, "free is %zu, was %zu", free_after, free_before);
    }
    return 0;
}
