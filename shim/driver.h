/* driver.h - the real driver's functions.
 *
 * A struct driver is filled once and never changed: from the real library by driver_get(), with
 * fakes by tests. Nobody in shim/ calls a cu* function by its exported name, for that is our own
 * hook or trampoline: always drv->cuX(). A function that this driver lacks answers
 * CUDA_ERROR_NOT_SUPPORTED and is counted by its name (stats_unknown), but for the OPTIONAL rows
 * below, which are NULL then and have to be tested for.
 */
#ifndef BERTH_DRIVER_H
#define BERTH_DRIVER_H

#include "hooks.h"

/* X(need, symbol, params)
 *
 * What Berth calls for its own ends and does not stand in for. OPTIONAL: may be NULL.
 *
 * source: CUDA Driver API reference 13.0
 */
/* clang-format off */
#define DRIVER_CALLS(X) \
    X(REQUIRED, cuDriverGetVersion, (int *version)) \
    X(REQUIRED, cuGetErrorName, (CUresult error, const char **name)) \
    X(REQUIRED, cuGetErrorString, (CUresult error, const char **text)) \
    X(REQUIRED, cuDeviceGet, (CUdevice *dev, int ordinal)) \
    X(REQUIRED, cuDeviceGetCount, (int *count)) \
    X(REQUIRED, cuDeviceGetName, (char *name, int bytes, CUdevice dev)) \
    X(REQUIRED, cuDeviceGetAttribute, (int *value, CUdevice_attribute attribute, CUdevice dev)) \
    X(REQUIRED, cuCtxGetCurrent, (CUcontext *ctx)) \
    X(REQUIRED, cuCtxSetCurrent, (CUcontext ctx)) \
    X(REQUIRED, cuCtxPushCurrent_v2, (CUcontext ctx)) \
    X(REQUIRED, cuCtxPopCurrent_v2, (CUcontext *ctx)) \
    X(REQUIRED, cuCtxGetDevice, (CUdevice *dev)) \
    X(REQUIRED, cuDevicePrimaryCtxGetState, (CUdevice dev, unsigned int *flags, int *active)) \
    X(REQUIRED, cuStreamCreate, (CUstream *stream, unsigned int flags)) \
    X(REQUIRED, cuStreamDestroy_v2, (CUstream stream)) \
    X(REQUIRED, cuStreamWaitEvent, (CUstream stream, CUevent event, unsigned int flags)) \
    X(REQUIRED, cuStreamSynchronize, (CUstream stream)) \
    X(REQUIRED, cuStreamQuery, (CUstream stream)) \
    X(REQUIRED, cuEventCreate, (CUevent *event, unsigned int flags)) \
    X(REQUIRED, cuEventRecord, (CUevent event, CUstream stream)) \
    X(REQUIRED, cuEventQuery, (CUevent event)) \
    X(REQUIRED, cuEventSynchronize, (CUevent event)) \
    X(REQUIRED, cuEventDestroy_v2, (CUevent event)) \
    X(REQUIRED, cuMemHostRegister_v2, (void *ptr, size_t bytes, unsigned int flags)) \
    X(REQUIRED, cuMemHostUnregister, (void *ptr)) \
    X(OPTIONAL, cuEventElapsedTime, (float *milliseconds, CUevent start, CUevent end)) \
    X(OPTIONAL, cuArray3DGetDescriptor_v2, (CUDA_ARRAY3D_DESCRIPTOR *descriptor, CUarray array)) \
    X(OPTIONAL, cuCtxGetId, (CUcontext ctx, unsigned long long *id)) \
    X(OPTIONAL, cuStreamGetCtx, (CUstream stream, CUcontext *ctx)) \
    X(OPTIONAL, cuStreamWaitValue32_v2, \
      (CUstream stream, CUdeviceptr addr, uint32_t value, unsigned int flags)) \
    X(OPTIONAL, cuStreamIsCapturing, (CUstream stream, CUstreamCaptureStatus *status)) \
    X(OPTIONAL, cuThreadExchangeStreamCaptureMode, (CUstreamCaptureMode *mode)) \
    X(OPTIONAL, cuFuncGetModule, (CUmodule *module, CUfunction function)) \
    X(OPTIONAL, cuFuncGetName, (const char **name, CUfunction function)) \
    X(OPTIONAL, cuFuncGetParamInfo, \
      (CUfunction function, size_t index, size_t *offset_bytes, size_t *size_bytes)) \
    X(OPTIONAL, cuKernelGetParamInfo, \
      (CUkernel kernel, size_t index, size_t *offset_bytes, size_t *size_bytes)) \
    X(OPTIONAL, cuKernelGetName, (const char **name, CUkernel kernel))
/* clang-format on */

struct driver {
#define X(name, symbol, since, null_stream, params) CUresult(*symbol) params;
    HOOKS(X)
#undef X
#define X(need, symbol, params) CUresult(*symbol) params;
    DRIVER_CALLS(X)
#undef X
    void *handle;        /* what dlopen() gave; NULL when there is no driver */
    const char *path;    /* of the library; "" when there is no driver */
    const char *missing; /* a REQUIRED symbol that it lacks: do not page; NULL when complete */
};

/* Fill the functions of drv.
 *
 * find     answers a symbol with its address, or NULL
 * arg      handed to find
 * returns  nothing; drv->missing says what is lacking. handle and path are left as they are
 * locks    none
 */
void driver_fill(struct driver *drv, void *(*find)(void *arg, const char *symbol), void *arg);

/* The real driver of this process; loads it on the first call.
 *
 * returns  never NULL. Where no driver can be loaded, every function answers
 *          CUDA_ERROR_NO_DEVICE; that is logged once
 * locks    takes none: threads that come first together each load it (the loader counts) and one
 *          result is kept. A lock held over dlopen() could deadlock with a library whose
 *          constructor calls the driver
 */
const struct driver *driver_get(void);

/* Functions that stand for what is not there. They take any parameters. */
CUresult driver_not_supported(void); /* answers CUDA_ERROR_NOT_SUPPORTED */
CUresult driver_no_device(void);     /* answers CUDA_ERROR_NO_DEVICE */

/* The next dlopen() and dlmopen() after ours in the look-up order: glibc's.
 *
 * returns  "dlopen" or "dlmopen" found past the object that this code is in; never NULL in a
 *          process that glibc has loaded
 */
void *driver_next_symbol(const char *name);

#endif
