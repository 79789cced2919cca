/* entry_code.c - modules, libraries and the functions in them.
 *
 * Parameter layouts come from here where the driver does not tell them.
 */
#include "entry.h"
#include "layout.h"

static CUresult module_loaded(CUresult result, const CUmodule *out, const void *image)
{
    if (result == CUDA_SUCCESS && !entry_is_passive())
        layout_image_loaded(*out, LAYOUT_MODULE, image);
    return result;
}

CUresult cuModuleLoad(CUmodule *out, const char *path)
{
    CUresult result = driver_get()->cuModuleLoad(out, path);

    if (result == CUDA_SUCCESS && !entry_is_passive())
        layout_file_loaded(*out, LAYOUT_MODULE, path);
    return result;
}

CUresult cuModuleLoadData(CUmodule *out, const void *image)
{
    return module_loaded(driver_get()->cuModuleLoadData(out, image), out, image);
}

CUresult cuModuleLoadDataEx(CUmodule *out, const void *image, unsigned int num_options,
                            CUjit_option *options, void **values)
{
    return module_loaded(driver_get()->cuModuleLoadDataEx(out, image, num_options, options, values),
                         out, image);
}

CUresult cuModuleLoadFatBinary(CUmodule *out, const void *image)
{
    return module_loaded(driver_get()->cuModuleLoadFatBinary(out, image), out, image);
}

CUresult cuModuleUnload(CUmodule module)
{
    if (!entry_is_passive())
        layout_unloaded(module);
    return driver_get()->cuModuleUnload(module);
}

CUresult cuModuleGetFunction(CUfunction *out, CUmodule module, const char *name)
{
    return driver_get()->cuModuleGetFunction(out, module, name);
}

CUresult cuLibraryLoadData(CUlibrary *out, const void *image, CUjit_option *jit_options,
                           void **jit_values, unsigned int num_jit_options,
                           CUlibraryOption *options, void **values, unsigned int num_options)
{
    CUresult result = driver_get()->cuLibraryLoadData(
        out, image, jit_options, jit_values, num_jit_options, options, values, num_options);

    if (result == CUDA_SUCCESS && !entry_is_passive())
        layout_image_loaded(*out, LAYOUT_LIBRARY, image);
    return result;
}

CUresult cuLibraryLoadFromFile(CUlibrary *out, const char *path, CUjit_option *jit_options,
                               void **jit_values, unsigned int num_jit_options,
                               CUlibraryOption *options, void **values, unsigned int num_options)
{
    CUresult result = driver_get()->cuLibraryLoadFromFile(
        out, path, jit_options, jit_values, num_jit_options, options, values, num_options);

    if (result == CUDA_SUCCESS && !entry_is_passive())
        layout_file_loaded(*out, LAYOUT_LIBRARY, path);
    return result;
}

CUresult cuLibraryUnload(CUlibrary library)
{
    if (!entry_is_passive())
        layout_unloaded(library);
    return driver_get()->cuLibraryUnload(library);
}

CUresult cuLibraryGetKernel(CUkernel *out, CUlibrary library, const char *name)
{
    return driver_get()->cuLibraryGetKernel(out, library, name);
}

CUresult cuKernelGetFunction(CUfunction *out, CUkernel kernel)
{
    return driver_get()->cuKernelGetFunction(out, kernel);
}
