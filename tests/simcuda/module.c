/* Modules: an image's globals and functions in one context. */
#include "module.h"

#include <stdlib.h>
#include <string.h>

#include "context.h"
#include "memory.h"
#include "stream.h"

#define GLOBAL_ALIGN 256u /* at least, of each global */

/* Where each global goes in the module's one allocation. returns how many bytes that takes */
static size_t globals_layout(CUmodule module)
{
    const struct ptx_global *globals;
    size_t count = ptx_module_globals(module->image->ptx, &globals);
    size_t bytes = 0, i;

    for (i = 0; i < count; i++) {
        size_t align = globals[i].align > GLOBAL_ALIGN ? globals[i].align : GLOBAL_ALIGN;

        bytes = (bytes + align - 1) / align * align;
        module->global_addrs[i] = bytes;
        bytes += globals[i].bytes;
    }
    return bytes;
}

/* Where a global's initial value holds addresses of globals; all of them are placed by now. */
static int addresses_fill(CUmodule module, int device, size_t index,
                          const struct ptx_global *global)
{
    int fault = 0;
    size_t i;

    for (i = 0; i < global->reloc_count && !fault; i++) {
        const struct ptx_reloc *reloc = &global->relocs[i];
        const uint64_t value = module->global_addrs[reloc->global] + (uint64_t)reloc->addend;

        fault = memory_copy(device, module->global_addrs[index] + reloc->offset, (uintptr_t)&value,
                            sizeof(value));
    }
    return fault;
}

/* Globals are zero where the code gives no value. */
static CUresult globals_fill(CUmodule module, int device, size_t bytes)
{
    const struct ptx_global *globals;
    size_t count = ptx_module_globals(module->image->ptx, &globals);
    const uint8_t zero = 0;
    int fault;
    size_t i;

    fault = memory_set(device, module->globals, bytes, &zero, 1);
    for (i = 0; i < count && !fault; i++) {
        module->global_addrs[i] += module->globals;
        if (globals[i].initial)
            fault = memory_copy(device, module->global_addrs[i], (uintptr_t)globals[i].initial,
                                globals[i].bytes);
    }
    for (i = 0; i < count && !fault; i++)
        fault = addresses_fill(module, device, i, &globals[i]);
    return (CUresult)fault;
}

static CUresult globals_create(CUmodule module)
{
    const struct ptx_global *globals;
    size_t count = ptx_module_globals(module->image->ptx, &globals);
    const int device = module->ctx->device;
    size_t bytes;
    CUresult res;

    if (!count)
        return CUDA_SUCCESS;
    module->global_addrs = calloc(count, sizeof(*module->global_addrs));
    if (!module->global_addrs)
        return CUDA_ERROR_OUT_OF_MEMORY;
    bytes = globals_layout(module);
    res = memory_alloc(MEMORY_MODULE, device, module->ctx, bytes, 0, &module->globals);
    return res == CUDA_SUCCESS ? globals_fill(module, device, bytes) : res;
}

static CUresult functions_create(CUmodule module)
{
    const size_t count = ptx_module_kernel_count(module->image->ptx);

    module->functions = calloc(count + 1, sizeof(CUfunction));
    if (!module->functions)
        return CUDA_ERROR_OUT_OF_MEMORY;
    while (module->function_count < count) {
        CUfunction function = handle_create(HANDLE_FUNCTION, sizeof(*function));

        if (!function)
            return CUDA_ERROR_OUT_OF_MEMORY;
        function->module = module;
        function->kernel = ptx_module_kernel_at(module->image->ptx, module->function_count);
        atomic_store(&function->dynamic_shared_bytes,
                     kernel_default_dynamic_shared(function->kernel));
        atomic_store(&function->carveout, -1);
        module->functions[module->function_count++] = function;
    }
    return CUDA_SUCCESS;
}

void module_destroy(CUmodule module)
{
    size_t i;

    driver_lock();
    if (module->link) {
        *module->link = module->next;
        if (module->next)
            module->next->link = module->link;
    }
    driver_unlock();
    for (i = 0; i < module->function_count; i++)
        handle_destroy(module->functions[i], HANDLE_FUNCTION);
    free(module->functions);
    if (module->globals)
        memory_free(MEMORY_MODULE, module->globals);
    free(module->global_addrs);
    image_unref(module->image);
    handle_destroy(module, HANDLE_MODULE);
}

CUresult module_create(CUcontext ctx, struct image *image, CUlibrary library, CUmodule *out)
{
    CUmodule module = handle_create(HANDLE_MODULE, sizeof(*module));
    CUresult res;

    if (!module)
        return CUDA_ERROR_OUT_OF_MEMORY;
    atomic_fetch_add(&image->references, 1);
    module->ctx = ctx;
    module->image = image;
    module->library = library;
    res = functions_create(module);
    if (res == CUDA_SUCCESS)
        res = globals_create(module);
    if (res != CUDA_SUCCESS) {
        module_destroy(module);
        return res;
    }
    driver_lock();
    module->next = ctx->modules;
    module->link = &ctx->modules;
    if (module->next)
        module->next->link = &module->next;
    ctx->modules = module;
    driver_unlock();
    *out = module;
    return CUDA_SUCCESS;
}

void module_close_context(CUcontext ctx)
{
    CUmodule module;

    for (;;) {
        driver_lock();
        module = ctx->modules;
        if (module && module->library)
            library_forget_locked(module);
        driver_unlock();
        if (!module)
            return;
        module_destroy(module);
    }
}

CUresult module_find_global(CUmodule module, const char *name, CUdeviceptr *addr, size_t *bytes)
{
    const struct ptx_global *globals;
    size_t count = ptx_module_globals(module->image->ptx, &globals);
    size_t i;

    for (i = 0; i < count; i++) {
        if (strcmp(globals[i].name, name) != 0)
            continue;
        if (addr)
            *addr = module->global_addrs[i];
        if (bytes)
            *bytes = globals[i].bytes;
        return CUDA_SUCCESS;
    }
    return CUDA_ERROR_NOT_FOUND;
}

/* Loading
 * -----------------------------------------------------------------------------------------*/

static CUresult load(CUmodule *out, const void *data, unsigned count, const CUjit_option *options,
                     void **values)
{
    struct load_log log;
    struct image *image;
    CUcontext ctx;
    CUresult res;

    res = sim_enter(&ctx, NULL);
    if (res != CUDA_SUCCESS)
        return res;
    if (!out || !data || (count && (!options || !values)))
        return CUDA_ERROR_INVALID_VALUE;
    load_log_find(&log, count, options, values);
    res = image_load(data, &log, &image);
    load_log_report(&log, count, options, values);
    if (res != CUDA_SUCCESS)
        return res;
    res = module_create(ctx, image, NULL, out);
    image_unref(image);
    return res;
}

/* The wrapper of a fatbin is no image: that is between a program and the runtime. */
static CUresult load_image(CUmodule *out, const void *image, unsigned int count,
                           CUjit_option *options, void **values)
{
    CUresult res = sim_enter(NULL, NULL);

    if (res != CUDA_SUCCESS)
        return res;
    if (image && image_is_wrapper(image))
        return CUDA_ERROR_INVALID_IMAGE;
    return load(out, image, count, options, values);
}

SIM_ENTRY(cuModuleLoadDataEx, CUmodule *out, const void *image, unsigned int count,
          CUjit_option *options, void **values)
{
    return load_image(out, image, count, options, values);
}

SIM_ENTRY(cuModuleLoadData, CUmodule *out, const void *image)
{
    return load_image(out, image, 0, NULL, NULL);
}

SIM_ENTRY(cuModuleLoadFatBinary, CUmodule *out, const void *fatbin)
{
    return load_image(out, fatbin, 0, NULL, NULL);
}

SIM_ENTRY(cuModuleLoad, CUmodule *out, const char *path)
{
    CUresult res = sim_enter(NULL, NULL);
    char *data;

    if (res != CUDA_SUCCESS)
        return res;
    if (!path)
        return CUDA_ERROR_INVALID_VALUE;
    res = image_read_file(path, &data);
    if (res != CUDA_SUCCESS)
        return res;
    res = load_image(out, data, 0, NULL, NULL);
    free(data);
    return res;
}

/* Kernels of it may still be queued, so all that the context does comes first. */
SIM_ENTRY(cuModuleUnload, CUmodule module)
{
    CUcontext ctx;
    CUresult res = sim_enter(&ctx, NULL);

    if (res != CUDA_SUCCESS)
        return res;
    if (!handle_is(module, HANDLE_MODULE))
        return CUDA_ERROR_INVALID_HANDLE;
    if (module->library)
        return CUDA_ERROR_NOT_PERMITTED;
    stream_drain_context(module->ctx);
    module_destroy(module);
    return (CUresult)atomic_load(&ctx->sticky);
}

/* Questions
 * ---------------------------------------------------------------------------------------*/

static CUresult enter_module(CUmodule module)
{
    CUresult res = sim_enter(NULL, NULL);

    if (res != CUDA_SUCCESS)
        return res;
    return handle_is(module, HANDLE_MODULE) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE;
}

SIM_ENTRY(cuModuleGetFunction, CUfunction *out, CUmodule module, const char *name)
{
    CUresult res = enter_module(module);
    size_t i;

    if (res != CUDA_SUCCESS)
        return res;
    if (!out || !name)
        return CUDA_ERROR_INVALID_VALUE;
    for (i = 0; i < module->function_count; i++) {
        if (strcmp(ptx_kernel_name(module->functions[i]->kernel), name) == 0) {
            *out = module->functions[i];
            return CUDA_SUCCESS;
        }
    }
    return CUDA_ERROR_NOT_FOUND;
}

SIM_ENTRY(cuModuleGetGlobal_v2, CUdeviceptr *addr, size_t *bytes, CUmodule module, const char *name)
{
    CUresult res = enter_module(module);

    if (res != CUDA_SUCCESS)
        return res;
    if ((!addr && !bytes) || !name)
        return CUDA_ERROR_INVALID_VALUE;
    return module_find_global(module, name, addr, bytes);
}

SIM_ENTRY(cuModuleGetFunctionCount, unsigned int *count, CUmodule module)
{
    CUresult res = enter_module(module);

    if (res != CUDA_SUCCESS)
        return res;
    if (!count)
        return CUDA_ERROR_INVALID_VALUE;
    *count = (unsigned)module->function_count;
    return CUDA_SUCCESS;
}

SIM_ENTRY(cuModuleEnumerateFunctions, CUfunction *functions, unsigned int count, CUmodule module)
{
    CUresult res = enter_module(module);
    size_t i;

    if (res != CUDA_SUCCESS)
        return res;
    if (!functions || !count)
        return CUDA_ERROR_INVALID_VALUE;
    for (i = 0; i < count && i < module->function_count; i++)
        functions[i] = module->functions[i];
    return CUDA_SUCCESS;
}

#define LOADING_EAGER 1 /* CUmoduleLoadingMode */

SIM_ENTRY(cuModuleGetLoadingMode, int *mode)
{
    CUresult res = sim_call();

    if (res != CUDA_SUCCESS)
        return res;
    if (!mode)
        return CUDA_ERROR_INVALID_VALUE;
    *mode = LOADING_EAGER;
    return CUDA_SUCCESS;
}
