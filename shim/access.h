/* access.h - one copy or memset of the program, as the spans of device memory that it uses.
 *
 * entry_copy.c describes each call and brackets the real one: access_begin() before it,
 * access_end() after it, both unless the first refuses, on the same thread, with nothing of the
 * program's in between. A description may name more than the call touches, never less: a span that
 * was left out could be moved while the copy runs.
 */
#ifndef BERTH_ACCESS_H
#define BERTH_ACCESS_H

#include "cuda_abi.h"

enum access_kind { ACCESS_READ, ACCESS_WRITE };

/* Is every byte of the span used, or some of them (rows of a pitched copy)? */
enum access_cover { ACCESS_WHOLE, ACCESS_PARTS };

/* Where the bytes that a write leaves behind come from. */
enum access_source {
    ACCESS_FROM_ELSEWHERE, /* from an array, a memset, or rows that are not adjacent */
    ACCESS_FROM_HOST,      /* from bytes at host_src */
    ACCESS_FROM_EITHER,    /* unified addressing: from host_src, which may be a device address; no
                              host may read there before it has been asked what it is */
};

/* When the bytes at host_src may be read by the driver. */
enum access_order {
    ACCESS_SYNC,  /* done with the source when the call returns */
    ACCESS_ASYNC, /* perhaps later, in stream order, where the source is pinned */
};

/* One span, [addr, addr + bytes), the gaps between rows included. addr need not be in any range of
 * ours: unified copies put host addresses here too. */
struct transfer_access {
    CUdeviceptr addr;
    size_t bytes;
    enum access_kind kind;
    enum access_cover cover;
    enum access_source source; /* of a write */
    const void *host_src;      /* bytes adjacent bytes, else NULL */
};

/* Most calls have one or two spans; a batch has two for each of its copies. */
#define ACCESS_INLINE 8

struct access_call {
    const char *name; /* the driver's symbol, for logs */
    CUstream stream;  /* never NULL: CU_STREAM_LEGACY, CU_STREAM_PER_THREAD, or the program's */
    enum access_order order;
    size_t count;
    struct transfer_access *spans; /* first the inline ones; the heap's in a large batch */
    struct transfer_access inline_spans[ACCESS_INLINE];
    void *held; /* access_begin() leaves here what access_end() gives back */
};

/* Make what the call uses ready for it.
 *
 * call     borrowed until access_end()
 * returns  CUDA_SUCCESS; CUDA_ERROR_INVALID_VALUE for a span that leaves its allocation: then the
 *          call is not made and access_end() is not called
 * locks    call with none held; returns with none held
 */
CUresult access_begin(struct access_call *call);

/* The call has been handed to the driver.
 *
 * result  what the driver said. On failure nothing may be assumed to have been written
 */
void access_end(struct access_call *call, CUresult result);

#endif
