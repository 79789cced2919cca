/* entry_code.c - modules, libraries and the functions in them. */
#include "entry.h"

CUresult cuModuleLoad(CUmodule *out, const char *path)
{
    return driver_get()->cuModuleLoad(out, path);
}

CUresult cuModuleLoadData(CUmodule *out, const void *image)
{
    return driver_get()->cuModuleLoadData(out, image);
}

CUresult cuModuleLoadDataEx(CUmodule *out, const void *image, unsigned int num_options,
                            CUjit_option *options, void **values)
{
    return driver_get()->cuModuleLoadDataEx(out, image, num_options, options, values);
}

CUresult cuModuleLoadFatBinary(CUmodule *out, const void *image)
{
    return driver_get()->cuModuleLoadFatBinary(out, image);
}

CUresult cuModuleUnload(CUmodule module)
{
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
    return driver_get()->cuLibraryLoadData(out, image, jit_options, jit_values, num_jit_options,
                                           options, values, num_options);
}

CUresult cuLibraryUnload(CUlibrary library)
{
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
