/* copy.h - copies and sets of linear memory: when they run, and when the call comes back.
 *
 * A box is read and written by the stream's worker, row by row. What the host may rely on when the
 * call returns depends on what the two addresses are:
 *
 *     source     target     synchronous call           asynchronous call
 *     pageable   device     when the source is staged  the same, or when done; by seed
 *     pinned     device     when done                  at once, the source is read later
 *     device     pinned     when done                  at once
 *     device     pageable   when done                  when done
 *     device     device     at once                    at once
 *     managed anywhere      when done                  at once
 *     host       host       when done                  when done if either is pageable
 *
 * source: CUDA Driver API reference 13.0, "API synchronization behavior"
 */
#ifndef SIMCUDA_COPY_H
#define SIMCUDA_COPY_H

#include "sim.h"

/* What an entry point says that an address is. */
enum copy_side {
    COPY_ANY,    /* the address itself tells */
    COPY_HOST,   /* not device memory */
    COPY_DEVICE, /* something that the device can reach by its address */
};

enum copy_call {
    COPY_SYNCHRONOUS,
    COPY_ASYNCHRONOUS,
    COPY_SOURCE_READ_BEFORE_RETURN, /* asynchronous, but for the source */
};

/* One end of a copy: where the box begins, how far its rows and its slices are apart. */
struct copy_end {
    uint64_t addr;
    size_t pitch_bytes;
    size_t slice_bytes;
    enum copy_side side;
};

struct copy_box {
    struct copy_end dst;
    struct copy_end src;
    size_t width_bytes;
    size_t height; /* rows of a slice */
    size_t depth;  /* slices */
};

/* Check and queue a copy, and wait as the table says. An empty box succeeds.
 *
 * stream   a handle of the current context or a default stream
 * returns  0; 1 for an address that is not of its side or does not hold the box; as stream_enter()
 */
CUresult copy_submit(CUstream stream, const struct copy_box *box, enum copy_call call);

/* The same for bytes in a row. */
CUresult copy_submit_linear(CUstream stream, uint64_t dst, enum copy_side dst_side, uint64_t src,
                            enum copy_side src_side, size_t bytes, enum copy_call call);

#endif
