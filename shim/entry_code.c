/* entry_code.c - modules, libraries and the functions in them.
 *
 * Parameter layouts come from here where the driver does not tell them.
 */
#include "entry.h"
#include "layout.h"

static CUresult loaded(CUresult result, const void *image)
{
    if (result == CUDA_SUCCESS)
        layout_image_loaded(image);
    return result;
}

static CUresult loaded_from(CUresult result, const char *path)
{
    if (result == CUDA_SUCCESS)
        layout_file_loaded(path);
    return result;
}

CUresult cuModuleLoad(CUmodule *out, const char *path)
{
    return loaded_from(driver_get()->cuModuleLoad(out, path), path);
}

CUresult cuModuleLoadData(CUmodule *out, const void *image)
{
    return loaded(driver_get()->cuModuleLoadData(out, image), image);
}

CUresult cuModuleLoadDataEx(CUmodule *out, const void *image, unsigned int num_options,
                            CUjit_option *options, void **values)
{
    return loaded(driver_get()->cuModuleLoadDataEx(out, image, num_options, options, values),
                  image);
}

CUresult cuModuleLoadFatBinary(CUmodule *out, const void *image)
{
    return loaded(driver_get()->cuModuleLoadFatBinary(out, image), image);
}

CUresult cuModuleUnload(CUmodule module)
{
    layout_forget_all();
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
    return loaded(driver_get()->cuLibraryLoadData(out, image, jit_options, jit_values,
                                                  num_jit_options, options, values, num_options),
                  image);
}

CUresult cuLibraryLoadFromFile(CUlibrary *out, const char *path, CUjit_option *jit_options,
                               void **jit_values, unsigned int num_jit_options,
                               CUlibraryOption *options, void **values, unsigned int num_options)
{
    return loaded_from(driver_get()->cuLibraryLoadFromFile(out, path, jit_options, jit_values,
                                                           num_jit_options, options, values,
                                                           num_options),
                       path);
}

CUresult cuLibraryUnload(CUlibrary library)
{
    layout_forget_all();
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
