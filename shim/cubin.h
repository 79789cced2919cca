/* cubin.h - parameter layouts of the kernels in a code image.
 *
 * Reads ELF cubins, PTX text, and fatbins of either, compressed or not, bare or behind nvcc's
 * wrapper.
 * Images come from the program and are as trustworthy as it is; all the same nothing is read
 * outside what their own headers claim.
 */
#ifndef BERTH_CUBIN_H
#define BERTH_CUBIN_H

#include <stddef.h>
#include <stdint.h>

#define CUBIN_PARAMS_MAX 512

struct cubin_param {
    uint32_t offset;
    uint32_t bytes;
};

/* Called once for each kernel; params are sorted by their ordinal. name lives as long as the call.
 */
typedef void cubin_kernel_fn(void *arg, const char *name, const struct cubin_param *params,
                             size_t count);

/* Walk over the kernels of an image.
 *
 * image    what the driver took: a cubin (ELF), a fatbin, a wrapper that points to one, or PTX text
 * returns  how many kernels were found; 0 for what is not understood
 */
size_t cubin_walk(const void *image, cubin_kernel_fn *fn, void *arg);

/* The same for what a file holds, which may be cut short or another one by now: nothing outside of
 * it is read, and no wrapper is followed.
 *
 * file     bytes of them, and a zero behind, which ends a text
 */
size_t cubin_walk_file(const void *file, size_t bytes, cubin_kernel_fn *fn, void *arg);

#endif
