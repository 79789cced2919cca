/* quantised.h - which tensors travel with a quantised weight: scales, zero points, code books.
 *
 * A quantised weight is useless without its companions, so that they are one unit. Each scheme has
 * its own names for them; the weight is told by its companions' names, never by its values. Sizes
 * are those of the tensors as they are stored, so that packed types add up exactly.
 */
#ifndef BERTH_POLICY_QUANTISED_H
#define BERTH_POLICY_QUANTISED_H

#include "module_tree.h"
#include <stdint.h>

/* Companions that stand beside their weight in the same module.
 *
 * companion  the last part of its name
 * weights    the last parts that its weight may have, the first that is there counts
 *
 * source     the names that bitsandbytes (8 bit), GPTQ, AWQ, Marlin, EXL2 and EXL3, HQQ, AQLM,
 * EETQ, QuIP#, fp8 and NVFP4 exporters, compressed-tensors and torchao write
 */
#define QUANTISED_BESIDE(X)                                                                        \
    X("SCB", "weight")                                                                             \
    X("weight_format", "weight")                                                                   \
    X("qzeros", "qweight")                                                                         \
    X("scales", "qweight|weight|codes")                                                            \
    X("g_idx", "qweight")                                                                          \
    X("s", "B|B_24")                                                                               \
    X("B_meta", "B_24")                                                                            \
    X("workspace", "B|B_24|qweight")                                                               \
    X("scale_packed", "weight_packed")                                                             \
    X("meta", "weight_packed|W_q")                                                                 \
    X("bitmask", "compressed")                                                                     \
    X("row_offsets", "compressed")                                                                 \
    X("shape", "compressed")                                                                       \
    X("q_scale", "q_weight")                                                                       \
    X("q_scale_max", "q_weight")                                                                   \
    X("q_groups", "q_weight")                                                                      \
    X("q_group_map", "q_weight")                                                                   \
    X("q_perm", "q_weight")                                                                        \
    X("q_invperm", "q_weight")                                                                     \
    X("suh", "trellis")                                                                            \
    X("svh", "trellis")                                                                            \
    X("mcg", "trellis")                                                                            \
    X("mul1", "trellis")                                                                           \
    X("scale", "W_q|weight")                                                                       \
    X("zero", "W_q")                                                                               \
    X("codebooks", "codes")                                                                        \
    X("SU", "Qidxs")                                                                               \
    X("SV", "Qidxs")                                                                               \
    X("Wscale", "Qidxs")                                                                           \
    X("codebook_id", "Qidxs")                                                                      \
    X("scale_weight", "weight")                                                                    \
    X("scale_input", "weight")                                                                     \
    X("comfy_quant", "weight")                                                                     \
    X("input_scale", "weight|weight_packed|qweight")                                               \
    X("input_zero_point", "weight|weight_packed")                                                  \
    X("input_global_scale", "weight|weight_packed")                                                \
    X("output_scale", "weight|weight_packed")                                                      \
    X("output_zero_point", "weight|weight_packed")                                                 \
    X("activation_scale", "weight")                                                                \
    X("act_scale", "weight")                                                                       \
    X("k_scale", "weight|weight_packed")                                                           \
    X("v_scale", "weight|weight_packed")                                                           \
    X("kv_scale", "weight|weight_packed")                                                          \
    X("pre_quant_scale", "weight")

/* Companions whose name is their weight's and an ending: weight_scale of weight or of
 * weight_packed, gate_up_proj_scales of gate_up_proj_blocks.
 */
#define QUANTISED_ENDINGS(X)                                                                       \
    X("_scale")                                                                                    \
    X("_scale_inv")                                                                                \
    X("_scale_2")                                                                                  \
    X("_scale_ub")                                                                                 \
    X("_scales")                                                                                   \
    X("_global_scale")                                                                             \
    X("_zero_point")                                                                               \
    X("_g_idx")                                                                                    \
    X("_shape")

/* What the weight itself may end in, for the endings above. */
#define QUANTISED_WEIGHTS(X)                                                                       \
    X("")                                                                                          \
    X("_packed")                                                                                   \
    X("_blocks")                                                                                   \
    X("_qdata")

/* Whose companion each tensor is.
 *
 * Whatever stands below a tensor belongs to it, as in bitsandbytes' weight.absmax,
 * weight.quant_map, weight.nested_absmax, weight.nested_quant_map and
 * weight.quant_state.bitsandbytes__nf4; and so does what a module named weight has beside its _data
 * (quanto). Takes O(bytes of all names).
 *
 * owners   by tensor: the weight that it travels with, itself where it is no companion. A weight is
 *          never a companion. Room for tree->tensor_count of them
 * returns  0 or -ENOMEM
 */
int quantised_find(const struct module_tree *tree, uint32_t *owners);

#endif
