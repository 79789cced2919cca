/* Strategy: the default units, patterns and classes on the names of real models; quantised layers
 * and ties in units. Whole models are test_unit_models.c's.
 */
#include "model_names.h"
#include "unit_rig.h"
#include <errno.h>

#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})

static void repeated_blocks(void **state)
{
    const struct unit_options none = {0};
    struct unit_table *t = unit_rig_make(model_llama(32), &none);
    size_t end;

    (void)state;
    unit_rig_check(t);
    unit_rig_check_blocks(t, UNIT_REPEATED, "model.layers.", 32, 0);
    assert_int_equal(t->count, 32 + 3);
    assert_int_equal(t->units[1].count, 9);
    assert_int_equal(t->units[1].place, POLICY_NOWHERE);
    unit_rig_drop(t);
    t = unit_rig_make(model_gpt2(), &none);
    unit_rig_check_blocks(t, UNIT_REPEATED, "h.", 12, 0);
    assert_int_equal(t->count, 12 + 2);
    unit_rig_drop(t);
    t = unit_rig_make(model_bert(), &none);
    unit_rig_check_blocks(t, UNIT_REPEATED, "bert.encoder.layer.", 12, 0);
    assert_int_equal(t->count, 12 + 4);
    unit_rig_drop(t);
    t = unit_rig_make(model_t5(), &none);
    unit_rig_check(t);
    end = unit_rig_check_blocks(t, UNIT_REPEATED, "decoder.block.", 6, 0);
    unit_rig_check_blocks(t, UNIT_REPEATED, "encoder.block.", 6, end);
    assert_int_equal(unit_rig_count(t, UNIT_REPEATED), 12);
    unit_rig_drop(t);
    t = unit_rig_make(model_whisper(), &none);
    end = unit_rig_check_blocks(t, UNIT_REPEATED, "model.decoder.layers.", 4, 0);
    unit_rig_check_blocks(t, UNIT_REPEATED, "model.encoder.layers.", 4, end);
    unit_rig_drop(t);
}

static void nested_lists(void **state)
{
    const struct unit_options none = {0};
    struct unit_table *t = unit_rig_make(model_mixtral(4, 0), &none);

    (void)state;
    unit_rig_check_units(
        t, UNIT_REPEATED,
        NAMES("model.layers.0", "model.layers.1", "model.layers.2", "model.layers.3"));
    unit_rig_drop(t);
    /* One layer without experts, in front; its neighbour has many more names. */
    t = unit_rig_make(model_mixtral(2, 1), &none);
    unit_rig_check_units(t, UNIT_REPEATED, NAMES("model.layers.0", "model.layers.1"));
    unit_rig_drop(t);
    t = unit_rig_make(model_mixtral(1, 0), &none);
    unit_rig_check_units(t, UNIT_REPEATED, NAMES("model.layers.0"));
    unit_rig_drop(t);
    t = unit_rig_make(model_unet(), &none);
    unit_rig_check_units(t, UNIT_REPEATED,
                         NAMES("down_blocks.0", "down_blocks.1", "mid_block.resnets.0",
                               "mid_block.resnets.1", "mid_block.attentions.0"));
    unit_rig_drop(t);
}

/* Members that have nothing in common are no blocks, and neither are those at the root. */
static void unlike_members(void **state)
{
    const struct unit_options none = {0};
    struct unit_table *t = unit_rig_make(
        built_names(NAMES("embedders.0.text_model.layers.0.q.weight",
                          "embedders.0.text_model.layers.1.q.weight",
                          "embedders.1.model.resblocks.0.attn.weight",
                          "embedders.1.model.resblocks.1.attn.weight", "embedders.1.model.proj",
                          "0.auto_model.layer.0.w.weight", "0.auto_model.layer.1.w.weight",
                          "1.linear.weight", "list.0", "list.1", "list.02.weight")),
        &none);

    (void)state;
    unit_rig_check_units(t, UNIT_REPEATED,
                         NAMES("embedders.0.text_model.layers.0", "embedders.0.text_model.layers.1",
                               "embedders.1.model.resblocks.0", "embedders.1.model.resblocks.1",
                               "0.auto_model.layer.0", "0.auto_model.layer.1"));
    unit_rig_check_units(
        t, UNIT_TENSOR,
        NAMES("embedders.1.model.proj", "1.linear.weight", "list.0", "list.1", "list.02.weight"));
    unit_rig_drop(t);
    /* A tensor of the list is no member of it. */
    t = unit_rig_make(built_names(NAMES("m.0", "m.1.a.w", "m.2.b.w")), &none);
    assert_int_equal(unit_rig_count(t, UNIT_REPEATED), 0);
    unit_rig_drop(t);
}

/* The one member that is like another may stand anywhere. */
static void small_member(void **state)
{
    const struct unit_options none = {0};
    struct unit_table *t = unit_rig_make(
        built_names(NAMES("m.0.a.w", "m.0.b.w", "m.1.a.w", "m.1.b.w", "m.1.c.w", "m.1.d.w",
                          "m.1.e.w", "m.1.f.w", "m.1.g.w", "m.2.x.w", "m.2.y.w")),
        &none);

    (void)state;
    unit_rig_check_units(t, UNIT_REPEATED, NAMES("m.0", "m.1", "m.2"));
    unit_rig_drop(t);
}

/* A planner is told which modules are of one kind. */
static void kinds_of_modules(void **state)
{
    const char *const given[] = {"decoder.block.*", "*.block.1", "T5Block"};
    struct unit_table *t = unit_rig_make(model_t5(), &(struct unit_options){0});
    uint8_t decoder = t->whole[t->units[0].node], encoder;

    (void)state;
    encoder = t->whole[t->units[unit_table_find(t, "encoder.block.0")].node];
    assert_int_equal(decoder, t->whole[t->units[unit_table_find(t, "decoder.block.5")].node]);
    assert_int_equal(encoder, t->whole[t->units[unit_table_find(t, "encoder.block.5")].node]);
    assert_int_not_equal(decoder, encoder);
    assert_int_equal(t->whole[0] + t->whole[1], 0);
    unit_rig_drop(t);
    t = unit_rig_make(model_t5(), &(struct unit_options){.no_split = given, .no_split_count = 3});
    decoder = t->whole[t->units[unit_table_find(t, "decoder.block.1")].node];
    encoder = t->whole[t->units[unit_table_find(t, "encoder.block.0")].node];
    assert_int_equal(decoder, t->whole[t->units[unit_table_find(t, "decoder.block.0")].node]);
    assert_int_equal(encoder, t->whole[t->units[unit_table_find(t, "encoder.block.5")].node]);
    assert_int_not_equal(encoder, t->whole[t->units[unit_table_find(t, "encoder.block.1")].node]);
    assert_int_not_equal(encoder, decoder);
    unit_rig_drop(t);
}

static void turned_off(void **state)
{
    const char *const none[] = {"none"};
    struct unit_options off = {.no_split_given = true};
    struct unit_table *t = unit_rig_make(model_llama(3), &off);

    (void)state;
    unit_rig_check(t);
    assert_int_equal(unit_rig_count(t, UNIT_TENSOR), t->count);
    assert_int_equal(t->count, t->checkpoint->tensor_count);
    unit_rig_drop(t);
    off = (struct unit_options){.no_split = none, .no_split_count = 1};
    t = unit_rig_make(model_llama(3), &off);
    assert_int_equal(t->count, t->checkpoint->tensor_count);
    unit_rig_drop(t);
}

static void patterns(void **state)
{
    const char *const given[] = {"model.layers.1*", "*.mlp", "model.layers.1.mlp", "lm_head",
                                 "nothing.*"};
    const struct unit_options options = {.no_split = given, .no_split_count = 5};
    struct unit_table *t = unit_rig_make(model_llama(3), &options);

    (void)state;
    unit_rig_check_units(
        t, UNIT_PATTERN,
        NAMES("model.layers.0.mlp", "model.layers.1", "model.layers.2.mlp", "lm_head"));
    assert_int_equal(t->units[unit_table_find(t, "model.layers.1")].rule, 0);
    assert_int_equal(t->units[unit_table_find(t, "lm_head")].rule, 3);
    assert_int_equal(t->matches[0], 1);
    assert_int_equal(t->matches[1], 2);
    assert_int_equal(t->matches[2], 0);
    assert_int_equal(t->matches[3], 1);
    assert_int_equal(t->matches[4], 0);
    assert_int_equal(unit_rig_count(t, UNIT_REPEATED), 0);
    unit_rig_drop(t);
}

static void classes(void **state)
{
    const char *const given[] = {"LlamaDecoderLayer"}, *const more[] = {"lm_head",
                                                                        "LlamaDecoderLayer"};
    struct model_config llama = {.kinds.count = 1};
    struct unit_options options = {.no_split_classes = given, .no_split_class_count = 1};
    struct unit_table *t;

    (void)state;
    t = unit_rig_make(model_llama(4), &options);
    unit_rig_check_blocks(t, UNIT_CLASS, "model.layers.", 4, 0);
    assert_int_equal(t->matches[0], 4);
    unit_rig_drop(t);
    /* By pattern, a word that no module has is a class. */
    strcpy(llama.kinds.text[0], "llama");
    options = (struct unit_options){.no_split = more, .no_split_count = 2, .config = &llama};
    t = unit_rig_make(model_llama(4), &options);
    assert_int_equal(unit_rig_count(t, UNIT_PATTERN), 5);
    assert_int_equal(t->matches[0], 1);
    assert_int_equal(t->matches[1], 4);
    unit_rig_drop(t);
    /* A class of other models finds nothing where nobody knows the kind. */
    options = (struct unit_options){.no_split_classes = given, .no_split_class_count = 1};
    t = unit_rig_make(model_gpt2(), &options);
    assert_int_equal(t->matches[0], 0);
    assert_int_equal(unit_rig_count(t, UNIT_REPEATED), 0);
    unit_rig_drop(t);
}

static void check_refused(const struct unit_options *options, const char *line)
{
    struct checkpoint *checkpoint = model_llama(2);
    struct unit_table *table = NULL;
    char got[INPUT_ERROR_TEXT_BYTES];
    struct input_error error;

    assert_int_equal(unit_table_create(checkpoint, options, &table, &error), -EINVAL);
    assert_null(table);
    assert_string_equal(input_error_format(&error, got, sizeof(got)), line);
    checkpoint_close(checkpoint);
}

static void refused(void **state)
{
    const char *const class[] = {"LlamaDecoderLayr"}, *const tied[] = {"lm_head.weight"};
    const struct tie_list list = {tied, 1};
    struct model_config llama = {.kinds.count = 1};
    struct unit_options options = {.no_split_classes = class, .no_split_class_count = 1};

    (void)state;
    check_refused(&options, "no_split_classes: expected a known class of blocks, perhaps "
                            "LlamaDecoderLayer, or a pattern such as model.layers.*, found "
                            "\"LlamaDecoderLayr\"");
    strcpy(llama.kinds.text[0], "llama");
    options = (struct unit_options){.no_split = class, .no_split_count = 1, .config = &llama};
    check_refused(&options, "no_split: expected a class of llama: LlamaDecoderLayer, found "
                            "\"LlamaDecoderLayr\"");
    options = (struct unit_options){.tied = &list, .tied_count = 1};
    check_refused(&options, "tied: expected two names or more of one parameter, found 1");
}

static void gguf_file(void **state)
{
    const char *const given[] = {"LlamaDecoderLayer"};
    struct unit_options options = {0};
    struct checkpoint *checkpoint = NULL;
    struct model_config config;
    struct input_error error;
    struct unit_table *t;

    (void)state;
    assert_int_equal(checkpoint_open(data_path("files/tiny.gguf"), &checkpoint, &error), 0);
    t = unit_rig_make(checkpoint, &options);
    unit_rig_check_blocks(t, UNIT_REPEATED, "blk.", 2, 0);
    unit_table_free(t);
    model_config_set_gguf(&config, checkpoint_metadata(checkpoint, "general.architecture"));
    options = (struct unit_options){
        .config = &config, .no_split_classes = given, .no_split_class_count = 1};
    t = unit_rig_make(checkpoint, &options);
    unit_rig_check_blocks(t, UNIT_CLASS, "blk.", 2, 0);
    assert_int_equal(t->bits, checkpoint->total_bytes * 8);
    unit_rig_drop(t);
}

static void quantised_layers(void **state)
{
    const struct unit_options off = {.no_split_given = true};
    struct unit_table *t = unit_rig_make(
        built_names(NAMES("l.0.q.weight", "l.0.q.weight.absmax", "l.0.q.weight.quant_map",
                          "l.0.q.bias", "l.0.k.qweight", "l.0.k.scales", "l.0.k.bias",
                          "l.0.k.qzeros", "l.0.norm.weight", "e.blocks_blocks", "e.sub.weight",
                          "e.blocks_scales", "w_packed", "w_scale")),
        &off);

    (void)state;
    unit_rig_check_units(t, UNIT_QUANTISED, NAMES("l.0.q.weight", "l.0.k"));
    unit_rig_check_units(
        t, UNIT_TENSOR,
        NAMES("w_packed", "l.0.q.bias", "l.0.norm.weight", "e.blocks_blocks", "e.sub.weight"));
    assert_int_equal(t->units[unit_table_find(t, "l.0.k")].count, 4);
    assert_int_equal(t->units[unit_table_find(t, "l.0.k.qzeros")].bits, 4 * 16 * 8);
    assert_int_equal(unit_table_find(t, "e.blocks_scales"), unit_table_find(t, "e.blocks_blocks"));
    assert_int_equal(unit_table_find(t, "w_scale"), unit_table_find(t, "w_packed"));
    assert_int_equal(unit_table_find(t, "l.0"), UNIT_NONE);
    unit_rig_drop(t);
}

static void tied_names(void **state)
{
    struct model_config gpt = {.kinds.count = 1, .architectures.count = 1};
    const struct unit_options options = {.config = &gpt};
    struct unit_table *t;
    struct built b;

    (void)state;
    strcpy(gpt.kinds.text[0], "gpt2");
    strcpy(gpt.architectures.text[0], "GPT2LMHeadModel");
    t = unit_rig_make(model_gpt2(), &options);
    unit_rig_check(t);
    assert_int_equal(unit_table_find(t, "lm_head.weight"), unit_table_find(t, "wte.weight"));
    assert_string_equal(unit_table_name(t, (uint32_t)t->checkpoint->tensor_count),
                        "lm_head.weight");
    unit_rig_drop(t);
    /* A name within a block, of an object whose first name is elsewhere: it moves with the first.
     */
    built_begin(&b);
    built_add_at(&b, "first.weight", 0, 64);
    built_add(&b, "h.0.own.weight", 32);
    built_add_at(&b, "h.0.again.weight", 0, 64);
    built_add(&b, "h.1.own.weight", 32);
    built_add_at(&b, "h.1.again.weight", 0, 64);
    built_add_at(&b, "head.weight", 0, 64);
    t = unit_rig_make(built_finish(&b), &(struct unit_options){0});
    unit_rig_check(t);
    assert_int_equal(t->count, 3);
    assert_int_equal(t->units[0].count, 4);
    assert_int_equal(t->units[0].bits, 64 * 8);
    assert_int_equal(t->units[1].bits, 32 * 8);
    assert_int_equal(unit_table_find(t, "head.weight"), 0);
    assert_int_equal(unit_table_find(t, "h.1.again.weight"), 0);
    assert_int_equal(unit_table_find(t, "h.1"), 2);
    unit_rig_drop(t);
}

/* Companions that share a storage with those of other weights. */
static void tied_companions(void **state)
{
    struct unit_table *t;
    struct built b;

    (void)state;
    built_begin(&b);
    built_add(&b, "a.weight", 64);
    built_add_at(&b, "a.weight.quant_map", 64, 8);
    built_add(&b, "b.weight", 64);
    built_add_at(&b, "b.weight.quant_map", 64, 8);
    t = unit_rig_make(built_finish(&b), &(struct unit_options){0});
    unit_rig_check(t);
    assert_int_equal(t->count, 2);
    assert_int_equal(t->units[0].bits, 72 * 8);
    assert_int_equal(t->units[1].bits, 64 * 8);
    unit_rig_drop(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(repeated_blocks),  cmocka_unit_test(nested_lists),
        cmocka_unit_test(unlike_members),   cmocka_unit_test(small_member),
        cmocka_unit_test(kinds_of_modules), cmocka_unit_test(turned_off),
        cmocka_unit_test(patterns),         cmocka_unit_test(classes),
        cmocka_unit_test(refused),          cmocka_unit_test(gguf_file),
        cmocka_unit_test(quantised_layers), cmocka_unit_test(tied_names),
        cmocka_unit_test(tied_companions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
