/* upload.h - what was copied to the device, and which parameter it is.
 *
 * Every host-to-device copy passes here, whatever allocation it goes to. Bytes are named by
 * evidence (where they come from: provenance.h; what they are: content.h), never by guess; what has
 * no evidence is anonymous, and is paged all the same.
 */
#ifndef BERTH_UPLOAD_H
#define BERTH_UPLOAD_H

#include "driver.h"
#include <stddef.h>

/* A copy from the host defined [dst, dst + bytes).
 *
 * source   host address of the bytes, which are as they were when the copy was made; a few of them
 *          are read, where the kernel's tables say that they can be
 * locks    takes range.h's lock for writing, and content.h's
 */
void upload_record(CUdeviceptr dst, const void *source, size_t bytes);

/* A copy or memset on the device wrote [dst, dst + bytes): what lies there is no longer what was
 * uploaded. */
void upload_mark_written(CUdeviceptr dst, size_t bytes);

#endif
