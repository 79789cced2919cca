/* Libraries: code that belongs to no context, and its kernels. */
#include <stdlib.h>
#include <string.h>

#include "context.h"
#include "module.h"
#include "stream.h"

static CUlibrary g_libraries; /* those that are loaded; driver lock */

static CUresult kernels_create(CUlibrary library)
{
    const size_t count = ptx_module_kernel_count(library->image->ptx);

    library->kernels = calloc(count + 1, sizeof(CUkernel));
    if (!library->kernels)
        return CUDA_ERROR_OUT_OF_MEMORY;
    while (library->kernel_count < count) {
        CUkernel kernel = handle_create(HANDLE_KERNEL, sizeof(*kernel));

        if (!kernel)
            return CUDA_ERROR_OUT_OF_MEMORY;
        kernel->library = library;
        kernel->index = library->kernel_count;
        kernel->kernel = ptx_module_kernel_at(library->image->ptx, kernel->index);
        library->kernels[library->kernel_count++] = kernel;
    }
    return CUDA_SUCCESS;
}

static void library_destroy(CUlibrary library)
{
    size_t i;

    driver_lock();
    if (library->link) {
        *library->link = library->next;
        if (library->next)
            library->next->link = library->link;
    }
    driver_unlock();
    for (i = 0; i < library->kernel_count; i++)
        handle_destroy(library->kernels[i], HANDLE_KERNEL);
    free(library->kernels);
    image_unref(library->image);
    handle_destroy(library, HANDLE_LIBRARY);
}

/* Takes over the caller's reference to image, on failure too. */
static CUresult library_create(struct image *image, CUlibrary *out)
{
    CUlibrary library = handle_create(HANDLE_LIBRARY, sizeof(*library));
    CUresult res;

    if (!library) {
        image_unref(image);
        return CUDA_ERROR_OUT_OF_MEMORY;
    }
    library->image = image;
    res = kernels_create(library);
    if (res != CUDA_SUCCESS) {
        library_destroy(library);
        return res;
    }
    driver_lock();
    library->next = g_libraries;
    library->link = &g_libraries;
    if (library->next)
        library->next->link = &library->next;
    g_libraries = library;
    driver_unlock();
    *out = library;
    return CUDA_SUCCESS;
}

void library_forget_locked(CUmodule module)
{
    CUmodule *link = &module->library->modules;

    while (*link != module)
        link = &(*link)->library_next;
    *link = module->library_next;
}

/* The library's module in ctx, NULL when there is none yet. Driver lock held. */
static CUmodule find_module(CUlibrary library, CUcontext ctx)
{
    CUmodule module;

    for (module = library->modules; module; module = module->library_next) {
        if (module->ctx == ctx)
            return module;
    }
    return NULL;
}

/* What cuKernelSetAttribute said before the module was there. */
static void module_take_attributes(CUmodule module, CUlibrary library)
{
    const int device = module->ctx->device;
    size_t i;

    for (i = 0; i < module->function_count; i++) {
        int bytes = atomic_load(&library->kernels[i]->dynamic_shared_bytes[device]);

        if (bytes)
            atomic_store(&module->functions[i]->dynamic_shared_bytes, bytes);
    }
}

/* Two threads may get here at once; the one that comes second takes what the first has made. */
CUresult library_module(CUlibrary library, CUcontext ctx, CUmodule *out)
{
    CUmodule module, first;
    CUresult res;

    driver_lock();
    first = find_module(library, ctx);
    driver_unlock();
    if (first) {
        *out = first;
        return CUDA_SUCCESS;
    }
    res = module_create(ctx, library->image, library, &module);
    if (res != CUDA_SUCCESS)
        return res;
    module_take_attributes(module, library);
    driver_lock();
    first = find_module(library, ctx);
    if (!first) {
        module->library_next = library->modules;
        library->modules = module;
    }
    driver_unlock();
    if (first)
        module_destroy(module);
    *out = first ? first : module;
    return CUDA_SUCCESS;
}

/* Loading
 * -----------------------------------------------------------------------------------------*/

static CUresult load(CUlibrary *out, const void *code, CUjit_option *options, void **values,
                     unsigned count)
{
    struct load_log log;
    struct image *image;
    CUresult res;

    if (!out || !code || (count && (!options || !values)))
        return CUDA_ERROR_INVALID_VALUE;
    load_log_find(&log, count, options, values);
    res = image_load(code, &log, &image);
    load_log_report(&log, count, options, values);
    return res == CUDA_SUCCESS ? library_create(image, out) : res;
}

SIM_ENTRY(cuLibraryLoadData, CUlibrary *out, const void *code, CUjit_option *options, void **values,
          unsigned int count, CUlibraryOption *library_options, void **library_values,
          unsigned int library_count)
{
    CUresult res = sim_call();

    if (res != CUDA_SUCCESS)
        return res;
    if (library_count && (!library_options || !library_values))
        return CUDA_ERROR_INVALID_VALUE;
    return load(out, code, options, values, count);
}

SIM_ENTRY(cuLibraryLoadFromFile, CUlibrary *out, const char *path, CUjit_option *options,
          void **values, unsigned int count, CUlibraryOption *library_options,
          void **library_values, unsigned int library_count)
{
    CUresult res = sim_call();
    char *data;

    if (res != CUDA_SUCCESS)
        return res;
    if (!path || (library_count && (!library_options || !library_values)))
        return CUDA_ERROR_INVALID_VALUE;
    res = image_read_file(path, &data);
    if (res != CUDA_SUCCESS)
        return res;
    res = load(out, data, options, values, count);
    free(data);
    return res;
}

/* It goes from every context that it has become a module of, when what is queued there is done. */
SIM_ENTRY(cuLibraryUnload, CUlibrary library)
{
    CUresult res = sim_call();

    if (res != CUDA_SUCCESS)
        return res;
    if (!handle_is(library, HANDLE_LIBRARY))
        return CUDA_ERROR_INVALID_HANDLE;
    for (;;) {
        CUmodule module;

        driver_lock();
        module = library->modules;
        if (module)
            library_forget_locked(module);
        driver_unlock();
        if (!module)
            break;
        stream_drain_context(module->ctx);
        module_destroy(module);
    }
    library_destroy(library);
    return CUDA_SUCCESS;
}

/* Questions about a library
 * -----------------------------------------------------------------------*/

static CUresult enter_library(CUlibrary library)
{
    CUresult res = sim_call();

    if (res != CUDA_SUCCESS)
        return res;
    return handle_is(library, HANDLE_LIBRARY) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

SIM_ENTRY(cuLibraryGetKernel, CUkernel *out, CUlibrary library, const char *name)
{
    CUresult res = enter_library(library);
    size_t i;

    if (res != CUDA_SUCCESS)
        return res;
    if (!out || !name)
        return CUDA_ERROR_INVALID_VALUE;
    for (i = 0; i < library->kernel_count; i++) {
        if (strcmp(ptx_kernel_name(library->kernels[i]->kernel), name) == 0) {
            *out = library->kernels[i];
            return CUDA_SUCCESS;
        }
    }
    return CUDA_ERROR_NOT_FOUND;
}

SIM_ENTRY(cuLibraryGetKernelCount, unsigned int *count, CUlibrary library)
{
    CUresult res = enter_library(library);

    if (res != CUDA_SUCCESS)
        return res;
    if (!count)
        return CUDA_ERROR_INVALID_VALUE;
    *count = (unsigned)library->kernel_count;
    return CUDA_SUCCESS;
}

SIM_ENTRY(cuLibraryEnumerateKernels, CUkernel *kernels, unsigned int count, CUlibrary library)
{
    CUresult res = enter_library(library);
    size_t i;

    if (res != CUDA_SUCCESS)
        return res;
    if (!kernels || !count)
        return CUDA_ERROR_INVALID_VALUE;
    for (i = 0; i < count && i < library->kernel_count; i++)
        kernels[i] = library->kernels[i];
    return CUDA_SUCCESS;
}

/* The library's module in the current context. */
static CUresult enter_library_module(CUlibrary library, CUmodule *module)
{
    CUcontext ctx;
    CUresult res = sim_enter(&ctx, NULL);

    if (res == CUDA_SUCCESS)
        res = enter_library(library);
    return res == CUDA_SUCCESS ? library_module(library, ctx, module) : res;
}

SIM_ENTRY(cuLibraryGetModule, CUmodule *out, CUlibrary library)
{
    if (!out)
        return CUDA_ERROR_INVALID_VALUE;
    return enter_library_module(library, out);
}

SIM_ENTRY(cuLibraryGetGlobal, CUdeviceptr *addr, size_t *bytes, CUlibrary library, const char *name)
{
    CUmodule module;
    CUresult res;

    if ((!addr && !bytes) || !name)
        return CUDA_ERROR_INVALID_VALUE;
    res = enter_library_module(library, &module);
    return res == CUDA_SUCCESS ? module_find_global(module, name, addr, bytes) : res;
}

/* PTX that the translator takes declares no managed variables. */
SIM_ENTRY(cuLibraryGetManaged, CUdeviceptr *addr, size_t *bytes, CUlibrary library,
          const char *name)
{
    CUresult res = enter_library(library);

    if (res != CUDA_SUCCESS)
        return res;
    return (addr || bytes) && name ? CUDA_ERROR_NOT_FOUND : CUDA_ERROR_INVALID_VALUE;
}

/* Kernels
 * -----------------------------------------------------------------------------------------*/

static CUresult enter_kernel(CUkernel kernel)
{
    CUresult res = sim_call();

    if (res != CUDA_SUCCESS)
        return res;
    return handle_is(kernel, HANDLE_KERNEL) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

SIM_ENTRY(cuKernelGetFunction, CUfunction *out, CUkernel kernel)
{
    CUmodule module;
    CUcontext ctx;
    CUresult res;

    res = sim_enter(&ctx, NULL);
    if (res == CUDA_SUCCESS)
        res = enter_kernel(kernel);
    if (res != CUDA_SUCCESS)
        return res;
    if (!out)
        return CUDA_ERROR_INVALID_VALUE;
    res = library_module(kernel->library, ctx, &module);
    if (res == CUDA_SUCCESS)
        *out = module->functions[kernel->index];
    return res;
}

SIM_ENTRY(cuKernelGetLibrary, CUlibrary *out, CUkernel kernel)
{
    CUresult res = enter_kernel(kernel);

    if (res != CUDA_SUCCESS)
        return res;
    if (!out)
        return CUDA_ERROR_INVALID_VALUE;
    *out = kernel->library;
    return CUDA_SUCCESS;
}

SIM_ENTRY(cuKernelGetName, const char **name, CUkernel kernel)
{
    CUresult res = enter_kernel(kernel);

    if (res != CUDA_SUCCESS)
        return res;
    if (!name)
        return CUDA_ERROR_INVALID_VALUE;
    *name = ptx_kernel_name(kernel->kernel);
    return CUDA_SUCCESS;
}

SIM_ENTRY(cuKernelGetParamInfo, CUkernel kernel, size_t index, size_t *offset, size_t *bytes)
{
    CUresult res = enter_kernel(kernel);

    return res == CUDA_SUCCESS ? kernel_param_info(kernel->kernel, index, offset, bytes) : res;
}

SIM_ENTRY(cuKernelGetAttribute, int *value, CUfunction_attribute attribute, CUkernel kernel,
          CUdevice device)
{
    CUresult res = sim_call_device(device);
    int set;

    if (res == CUDA_SUCCESS)
        res = enter_kernel(kernel);
    if (res != CUDA_SUCCESS)
        return res;
    if (!value)
        return CUDA_ERROR_INVALID_VALUE;
    set = atomic_load(&kernel->dynamic_shared_bytes[device]);
    if (attribute == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES && set) {
        *value = set;
        return CUDA_SUCCESS;
    }
    return kernel_attribute(kernel->library->image, kernel->kernel, (int)attribute, value);
}

/* Holds for the modules on that device that are there, and for those to come. */
static void kernel_set_dynamic_shared(CUkernel kernel, int device, int bytes)
{
    CUmodule module;

    driver_lock();
    atomic_store(&kernel->dynamic_shared_bytes[device], bytes);
    for (module = kernel->library->modules; module; module = module->library_next) {
        if (module->ctx->device == device)
            atomic_store(&module->functions[kernel->index]->dynamic_shared_bytes, bytes);
    }
    driver_unlock();
}

SIM_ENTRY(cuKernelSetAttribute, CUfunction_attribute attribute, int value, CUkernel kernel,
          CUdevice device)
{
    CUresult res = sim_call_device(device);

    if (res == CUDA_SUCCESS)
        res = enter_kernel(kernel);
    if (res != CUDA_SUCCESS)
        return res;
    if (attribute == CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT)
        return value >= -1 && value <= 100 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
    if (attribute != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES)
        return CUDA_ERROR_INVALID_VALUE;
    res = kernel_check_dynamic_shared(kernel->kernel, value);
    if (res == CUDA_SUCCESS)
        kernel_set_dynamic_shared(kernel, device, value);
    return res;
}

SIM_ENTRY(cuKernelSetCacheConfig, CUkernel kernel, int config, CUdevice device)
{
    CUresult res = sim_call_device(device);

    if (res == CUDA_SUCCESS)
        res = enter_kernel(kernel);
    if (res != CUDA_SUCCESS)
        return res;
    return config >= 0 && config <= 3 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
