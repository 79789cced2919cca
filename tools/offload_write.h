/* offload_write.h - what goes into an offload folder, and into the file that is made of one again.
 */
#ifndef BERTH_TOOLS_OFFLOAD_WRITE_H
#define BERTH_TOOLS_OFFLOAD_WRITE_H

#include "offload_copy.h"
#include "offload_stage.h"

enum offload_means {
    OFFLOAD_COPIES,   /* every weight's bytes, in a file each */
    OFFLOAD_POINTERS, /* into the checkpoint, which must stay where it is */
};

struct offload_result {
    uint64_t bytes;         /* of all weights, dense */
    uint64_t copied_bytes;  /* what the folder or the file takes for them */
    uint64_t pointed_bytes; /* what is not copied, but pointed to */
};

/* Fill a new folder with a checkpoint. A weight goes into <name>.dat; where it cannot (its name is
 * no file's name, or numpy has no such type) into STAGE_BESIDE, a safetensors file in the folder.
 *
 * returns  0; -errno and the error. What was written is on the disk but for the folder's own entry
 */
int offload_write_folder(struct copy *copy, const struct stage *stage, enum offload_means means,
                         struct offload_result *result);

/* Fill a new safetensors file with a checkpoint. */
int offload_write_file(struct copy *copy, const struct stage *stage, struct offload_result *result);

#endif
