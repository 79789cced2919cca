/* message.h - how the program says that it cannot go on: one line, "minilm: ...", and exit 1. */
#ifndef MINILM_MESSAGE_H
#define MINILM_MESSAGE_H

#include "tests/apps/cuda_api.h"

/* Print one line and exit with 1. Never returns. */
__attribute__((noreturn, format(printf, 1, 2))) void die(const char *format, ...);

/* malloc() that never fails: it dies instead. The caller frees. */
void *allocate(size_t bytes);

/* A directory and a file name in one path, on the heap. The caller frees. */
char *path_join(const char *directory, const char *name);

/* Die where a driver call failed; what names the call. */
void check(CUresult result, const char *what);

#endif
