/* ptx_params.h - parameter layouts of the kernels in PTX text.
 *
 * Reads the heads of .entry directives and nothing else. Text comes from the program; it is read up
 * to its end and not a byte further, whatever it holds. What is not understood is passed over: then
 * the kernel has no layout.
 */
#ifndef BERTH_PTX_PARAMS_H
#define BERTH_PTX_PARAMS_H

#include "cubin.h"

/* Walk over the kernels of a PTX text.
 *
 * text     up to a NUL or bytes, whichever comes first
 * returns  how many kernels were found
 * source   PTX ISA, kernel function parameters: each lies at the next multiple of its alignment
 */
size_t ptx_params_walk(const char *text, size_t bytes, cubin_kernel_fn *fn, void *arg);

#endif
