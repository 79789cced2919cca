/* ptx_build.h - translated C, compiled by the system's compiler, cached and loaded.
 *
 * A cached object's name is the hash of everything that went into it: the C text, the compiler and
 * its flags. Nothing is ever loaded from a folder, or a file, that somebody else could have
 * written; where the cache cannot be used, a private folder is, for this one load.
 */
#ifndef SIMCUDA_PTX_BUILD_H
#define SIMCUDA_PTX_BUILD_H

#include <stddef.h>

/* Compile C text, or find what was compiled before, and load it.
 *
 * handle   receives what dlopen() gave
 * returns  0, 218 when the compiler rejects the text, 221 when there is none, 2 when there is no
 *          room to work in; the log says more
 * owner    dlclose(handle)
 * locks    none; any number of threads and processes at once
 */
int ptx_build(const char *source, size_t bytes, char *log, size_t log_bytes, void **handle);

#endif
