/* copy_describe.h - the spans of device memory that a copy or a memset uses.
 *
 * Pure arithmetic on the call's arguments: no driver, no lock, no memory of its own but that of a
 * large batch. Arguments that cannot be meant (sizes that overflow the address space) give no
 * spans: the real driver refuses such a call.
 */
#ifndef BERTH_COPY_DESCRIBE_H
#define BERTH_COPY_DESCRIBE_H

#include "access.h"

/* Start a description without spans.
 *
 * name    the driver's symbol; borrowed for good
 * stream  as the program gave it; NULL becomes null_stream
 */
void copy_describe_start(struct access_call *call, const char *name, enum access_order order,
                         CUstream stream, CUstream null_stream);

/* Give back what a large batch took. The call may not be used afterwards. */
void copy_describe_end(struct access_call *call);

/* Make room for a number of spans.
 *
 * returns  0, else -ENOMEM and the call is as it was
 */
int copy_describe_reserve(struct access_call *call, size_t count);

/* Host to device, adjacent bytes. */
void copy_describe_upload(struct access_call *call, CUdeviceptr dst, const void *src, size_t bytes);

/* Device to host or to an array. */
void copy_describe_read(struct access_call *call, CUdeviceptr src, size_t bytes);

/* From an array to the device. */
void copy_describe_write(struct access_call *call, CUdeviceptr dst, size_t bytes);

/* Device to device. */
void copy_describe_device(struct access_call *call, CUdeviceptr dst, CUdeviceptr src, size_t bytes);

/* Either address may be the host's. */
void copy_describe_unified(struct access_call *call, CUdeviceptr dst, CUdeviceptr src,
                           size_t bytes);

/* height rows of width elements of element_bytes each, pitch bytes apart. */
void copy_describe_memset(struct access_call *call, CUdeviceptr dst, size_t pitch,
                          size_t element_bytes, size_t width, size_t height);

void copy_describe_2d(struct access_call *call, const CUDA_MEMCPY2D *copy);
void copy_describe_3d(struct access_call *call, const CUDA_MEMCPY3D *copy);
void copy_describe_3d_peer(struct access_call *call, const CUDA_MEMCPY3D_PEER *copy);

/* count unified copies.
 *
 * returns  0, else -ENOMEM and nothing is described
 */
int copy_describe_batch(struct access_call *call, const CUdeviceptr *dsts, const CUdeviceptr *srcs,
                        const size_t *sizes, size_t count);

/* How many bytes an element of an array has; 0 where that is not known. */
typedef size_t copy_element_fn(CUarray array);

/* count boxes between pointers and arrays. Their widths are in bytes, with an array on either side
 * in elements of the array; elements of an unknown size are taken for single bytes.
 *
 * returns  0, else -ENOMEM and nothing is described
 */
int copy_describe_3d_batch(struct access_call *call, const CUDA_MEMCPY3D_BATCH_OP *ops,
                           size_t count, copy_element_fn *element_bytes);

#endif
