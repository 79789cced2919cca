/* module.h - loaded code: images, modules in a context, libraries without one, functions and
 * kernels.
 *
 *     image (translated PTX, shared) <- module (its globals in one context) <- CUfunction
 *                                    <- library (no context)                <- CUkernel
 *
 * A library becomes a module in a context when something of it is first used there. A kernel's
 * handle may stand where a function's is wanted for a launch; nobody else tells the two apart.
 *
 * Lists are guarded by the driver lock; what a live module or library consists of does not change.
 */
#ifndef SIMCUDA_MODULE_H
#define SIMCUDA_MODULE_H

#include <stdatomic.h>

#include "handle.h"
#include "ptx.h"
#include "sim.h"

/* Translated code. Counted, because a library and its modules share it. */
struct image {
    _Atomic unsigned references;
    struct ptx_module *ptx;
    int ptx_version; /* of .target: 70 for sm_70; 0 when the text names none */
};

struct CUfunc_st {
    struct handle handle;
    CUmodule module;
    const struct ptx_kernel *kernel;
    _Atomic int dynamic_shared_bytes; /* the most that a launch may ask for */
    _Atomic int carveout;
};

struct CUmod_st {
    struct handle handle;
    CUcontext ctx;
    struct image *image;
    CUlibrary library; /* NULL for one that the program loaded as a module */
    CUfunction *functions;
    size_t function_count;
    CUdeviceptr globals;           /* one allocation for all of them, 0 when there are none */
    uint64_t *global_addrs;        /* by index of ptx_module_globals() */
    struct CUmod_st *next, **link; /* in the context's list */
    struct CUmod_st *library_next; /* in the library's list */
};

struct CUkern_st {
    struct handle handle;
    CUlibrary library;
    size_t index; /* of the kernel in the image, and of the function in each module */
    const struct ptx_kernel *kernel;
    _Atomic int dynamic_shared_bytes[SIM_DEVICES_MAX]; /* 0: not set for that device */
};

struct CUlib_st {
    struct handle handle;
    struct image *image;
    CUkernel *kernels;
    size_t kernel_count;
    struct CUmod_st *modules;      /* where it has become one */
    struct CUlib_st *next, **link; /* in the list of all */
};

/* What the program asked about a load: where to write the log. */
struct load_log {
    char *text;
    size_t bytes;
};

/* The PTX text of an image as a program hands it over: PTX, a fatbin, or the wrapper of one.
 *
 * unpacked NULL, or where the text lies that was compressed in the image
 * log      receives why there is none; may have 0 bytes
 * returns  0; 209 when there is only machine code; 200 for what is none of these, or damaged; 2
 * owner    text borrows from image, or from unpacked, which the caller frees
 */
CUresult image_find_ptx(const void *image, const char **text, size_t *bytes, char **unpacked,
                        const struct load_log *log);

/* Is it the wrapper of a fatbin, rather than the fatbin itself? */
int image_is_wrapper(const void *image);

/* Translate. returns 0, 209, 218, 222, 2; owner image_unref() */
CUresult image_load(const void *data, const struct load_log *log, struct image **out);
void image_unref(struct image *image);
/* Read a file, with a NUL after it. returns 0, 301, 2; owner free() */
CUresult image_read_file(const char *path, char **data);

/* JIT options as the driver takes them: arrays of names and of values that stand in pointers. */
void load_log_find(struct load_log *log, unsigned count, const CUjit_option *options,
                   void **values);
/* Tell the program how many bytes its log buffers got. */
void load_log_report(const struct load_log *log, unsigned count, const CUjit_option *options,
                     void **values);

/* Make the image a module of ctx; takes a reference to it on success. library may be NULL. */
CUresult module_create(CUcontext ctx, struct image *image, CUlibrary library, CUmodule *out);
/* Take it away when nothing uses it any more. It is on no list of a library. */
void module_destroy(CUmodule module);
/* Every module of ctx goes, those of libraries too. */
void module_close_context(CUcontext ctx);
/* Where a global lies in the module. returns 0 or 500 */
CUresult module_find_global(CUmodule module, const char *name, CUdeviceptr *addr, size_t *bytes);

/* The library as a module of ctx, made when it is first asked for. */
CUresult library_module(CUlibrary library, CUcontext ctx, CUmodule *out);
/* A module of a library goes: take it off the library's list. Driver lock held. */
void library_forget_locked(CUmodule module);

/* The function that a handle for a launch in ctx means: one of ctx itself, or a CUkernel.
 *
 * returns  0; 400 for no such handle or a function of another context; as library_module()
 */
CUresult function_resolve(CUfunction handle, CUcontext ctx, CUfunction *out);
/* One attribute of a kernel of image on our devices. returns 0 or 1 */
CUresult kernel_attribute(const struct image *image, const struct ptx_kernel *kernel, int attribute,
                          int *value);
/* The dynamic shared memory that a launch may ask for until the program allows more. */
int kernel_default_dynamic_shared(const struct ptx_kernel *kernel);
/* Offset and size of a parameter. returns 0; 1 past the last one; 801 as set */
CUresult kernel_param_info(const struct ptx_kernel *kernel, size_t index, size_t *offset,
                           size_t *bytes);
/* Is that dynamic shared memory possible beside the static one? returns 0 or 1 */
CUresult kernel_check_dynamic_shared(const struct ptx_kernel *kernel, int bytes);
/* How many blocks of that many threads share a multiprocessor; 0 when not even one fits. */
int kernel_blocks_per_multiprocessor(const struct ptx_kernel *kernel, int threads, size_t dynamic);

#endif
