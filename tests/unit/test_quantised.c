/* Strategy: one layer as each scheme writes it, every companion once, with the weight that it
 * belongs to; names that look alike and are nobody's companions; then properties on random names
 * (seeds).
 */
#include "data.h"
#include "quantised.h"
#include <stdbool.h>
#include <string.h>

#define NAMES_MAX 64

struct layer {
    const char *names[NAMES_MAX];
    size_t count;
    struct module_tree *tree;
    uint32_t owners[NAMES_MAX];
};

static void make_layer(struct layer *l, const char *const *names)
{
    struct module_tensor tensors[NAMES_MAX];
    struct input_error error;

    memset(l, 0, sizeof(*l));
    for (; names[l->count]; l->count++) {
        l->names[l->count] = names[l->count];
        tensors[l->count] = (struct module_tensor){.name = names[l->count],
                                                   .name_bytes = (uint32_t)strlen(names[l->count]),
                                                   .bits = 8,
                                                   .tie = MODULE_NONE};
    }
    assert_int_equal(module_tree_create(tensors, l->count, &l->tree, &error), 0);
    assert_int_equal(quantised_find(l->tree, l->owners), 0);
}

/* The first of these names is the weight of all the others; a name with a ! is its own. */
static void check_scheme(const char *const *given)
{
    const char *names[NAMES_MAX + 1] = {NULL};
    struct layer l;
    size_t i;

    for (i = 0; given[i]; i++)
        names[i] = given[i] + (given[i][0] == '!');
    make_layer(&l, names);
    for (i = 0; i < l.count; i++) {
        size_t owner = given[i][0] == '!' ? i : 0;

        if (l.owners[i] != owner)
            fail_msg("%s belongs to %s", names[i], names[l.owners[i]]);
    }
    module_tree_free(l.tree);
}

#define SCHEME(...) check_scheme((const char *const[]){__VA_ARGS__, NULL})

static void bitsandbytes(void **state)
{
    (void)state;
    SCHEME("model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.up_proj.weight.absmax",
           "model.layers.0.mlp.up_proj.weight.quant_map",
           "model.layers.0.mlp.up_proj.weight.nested_absmax",
           "model.layers.0.mlp.up_proj.weight.nested_quant_map",
           "model.layers.0.mlp.up_proj.weight.quant_state.bitsandbytes__nf4",
           "!model.layers.0.mlp.up_proj.bias");
    SCHEME("h.0.weight", "h.0.weight.quant_state.bitsandbytes__fp4", "!h.1.weight");
    SCHEME("fc.weight", "fc.SCB", "fc.weight_format", "!fc.bias", "!other.SCB");
}

static void gptq_and_awq(void **state)
{
    (void)state;
    SCHEME("l.q_proj.qweight", "l.q_proj.qzeros", "l.q_proj.scales", "l.q_proj.g_idx",
           "!l.q_proj.bias", "!l.k_proj.scales");
    SCHEME("l.q_proj.qweight", "l.q_proj.qzeros", "l.q_proj.scales", "!l.norm.weight");
    SCHEME("l.q_proj.B", "l.q_proj.s", "l.q_proj.workspace", "!l.q_proj.bias");
    SCHEME("l.q_proj.B_24", "l.q_proj.B_meta", "l.q_proj.s", "l.q_proj.workspace");
    SCHEME("l.q_proj.qweight", "l.q_proj.scales", "l.q_proj.workspace");
}

static void fp8(void **state)
{
    (void)state;
    SCHEME("l.fc.weight", "l.fc.weight_scale", "l.fc.input_scale", "!l.fc.bias");
    SCHEME("l.fc.weight", "l.fc.weight_scale_inv", "l.fc.activation_scale");
    SCHEME("l.fc.weight", "l.fc.weight_scale", "l.fc.weight_scale_2", "l.fc.input_scale",
           "l.fc.k_scale", "l.fc.v_scale", "l.fc.output_scale", "l.fc.pre_quant_scale");
    SCHEME("l.fc.weight", "l.fc.scale_weight", "l.fc.scale_input", "l.fc.comfy_quant");
    SCHEME("l.fc.weight", "l.fc.scale");
    SCHEME("l.fc.weight", "l.fc.weight_scales");
    SCHEME("!l.attn.k_scale", "!l.attn.v_scale", "!l.attn.q_proj.weight");
}

static void compressed_tensors(void **state)
{
    (void)state;
    SCHEME("l.fc.weight_packed", "l.fc.weight_scale", "l.fc.weight_zero_point", "l.fc.weight_shape",
           "l.fc.weight_g_idx", "l.fc.weight_global_scale", "l.fc.input_global_scale",
           "l.fc.input_scale", "!l.fc.bias");
    SCHEME("l.fc.weight_packed", "l.fc.scale_packed", "l.fc.meta");
    SCHEME("l.fc.weight.compressed", "l.fc.weight.bitmask", "l.fc.weight.shape",
           "l.fc.weight.row_offsets", "!l.fc.bias");
    SCHEME("l.fc.weight", "l.fc.weight_scale", "l.fc.weight_zero_point", "l.fc.input_zero_point");
}

static void experts(void **state)
{
    (void)state;
    SCHEME("mlp.experts.gate_up_proj_blocks", "mlp.experts.gate_up_proj_scales",
           "!mlp.experts.gate_up_proj_bias", "!mlp.experts.down_proj_blocks");
    SCHEME("mlp.experts.gate_up_proj", "mlp.experts.gate_up_proj_scale", "!mlp.experts.down_proj");
    SCHEME("mlp.experts.w1", "mlp.experts.w1_scale_inv", "!mlp.experts.w2");
}

static void others(void **state)
{
    (void)state;
    SCHEME("l.q.q_weight", "l.q.q_scale", "l.q.q_scale_max", "l.q.q_groups", "l.q.q_group_map",
           "l.q.q_perm", "l.q.q_invperm", "!l.q.bias");
    SCHEME("l.q.trellis", "l.q.suh", "l.q.svh", "l.q.mcg");
    SCHEME("l.q.W_q", "l.q.scale", "l.q.zero", "l.q.meta");
    SCHEME("l.q.codes", "l.q.codebooks", "l.q.scales");
    SCHEME("l.q.Qidxs", "l.q.SU", "l.q.SV", "l.q.Wscale", "l.q.codebook_id");
    SCHEME("l.q.weight._data", "l.q.weight._scale", "l.q.weight._shift");
    SCHEME("l.q._weight_qdata", "l.q._weight_scale", "l.q._weight_zero_point");
    SCHEME("qweight", "scales", "qzeros");
}

static void nobody(void **state)
{
    (void)state;
    SCHEME("!logit_scale", "!scale", "!_scale", "!norm.scale", "!norm.bias", "!a._scale",
           "!x.scales", "!x.zero", "!weights._scale", "!weights._data", "!b.weight",
           "!b.weight_scale_", "!s", "!t.Weight_scale");
}

/* A companion of a companion goes with the weight; a part too long for a buffer is no companion's.
 */
static void chains(void **state)
{
    char weight[400] = "m.", scale[420];

    (void)state;
    SCHEME("a.w", "a.w_scale", "a.w_scale_scale", "a.w_scale.absmax");
    memset(weight + 2, 'w', 300);
    weight[302] = '\0';
    snprintf(scale, sizeof(scale), "!%s_scale", weight);
    memmove(weight + 1, weight, 303);
    weight[0] = '!';
    SCHEME(weight, scale);
}

/* Whatever the names: an owner is its own, and has the same module or stands above. */
static void any_names(void **state)
{
    static const char *const parts[] = {
        "a",   "weight",  "weight_scale", "qweight", "scales", "absmax",
        "w",   "w_scale", "w_packed",     "_data",   "_scale", "scale_packed",
        "W_q", "scale",   "meta",         "s",       "B"};
    enum { PARTS = sizeof(parts) / sizeof(parts[0]) };
    unsigned seed;

    (void)state;
    for (seed = 1; seed <= 200; seed++) {
        char text[NAMES_MAX][64];
        const char *names[NAMES_MAX + 1] = {NULL};
        size_t count = 0, tries, i;
        unsigned random = seed;
        struct layer l;

        for (tries = 0; tries < NAMES_MAX; tries++) {
            unsigned depth = 1 + (unsigned)rand_r(&random) % 3;

            text[count][0] = '\0';
            while (depth--) {
                strcat(text[count], parts[(unsigned)rand_r(&random) % PARTS]);
                strcat(text[count], depth ? "." : "");
            }
            for (i = 0; i < count && strcmp(text[i], text[count]) != 0; i++)
                ;
            if (i == count) {
                names[count] = text[count];
                count++;
            }
        }
        make_layer(&l, names);
        for (i = 0; i < count; i++) {
            const char *owner = names[l.owners[i]], *dot = strrchr(owner, '.');
            size_t module = dot ? (size_t)(dot - owner) : 0;

            assert_int_equal(l.owners[l.owners[i]], l.owners[i]);
            assert_true(strncmp(owner, names[i], module) == 0);
        }
        module_tree_free(l.tree);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bitsandbytes), cmocka_unit_test(gptq_and_awq),
        cmocka_unit_test(fp8),          cmocka_unit_test(compressed_tensors),
        cmocka_unit_test(experts),      cmocka_unit_test(others),
        cmocka_unit_test(nobody),       cmocka_unit_test(chains),
        cmocka_unit_test(any_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
