/* Strategy: each source of ties alone on names as real models have them, then together; then what
 * the user lists wrongly; then that sets grow the same in whatever order they are told (seeds).
 */
#include "built_checkpoint.h"
#include "tie.h"
#include <errno.h>

#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})

static struct model_config model(const char *kind, const char *architecture)
{
    struct model_config config = {.kinds.count = 1, .architectures.count = *architecture != '\0'};

    strcpy(config.kinds.text[0], kind);
    strcpy(config.architectures.text[0], architecture);
    return config;
}

static struct ties *find(const struct checkpoint *checkpoint, const struct model_config *config)
{
    struct ties *ties = NULL;
    struct input_error error;

    assert_int_equal(ties_find(checkpoint, config, NULL, 0, &ties, &error), 0);
    return ties;
}

static const char *name_of(const struct checkpoint *checkpoint, const struct ties *ties,
                           uint32_t name)
{
    return name < ties->tensor_count ? checkpoint->tensors[name].name
                                     : ties->absent[name - ties->tensor_count];
}

/* One group has just these names, in this order. */
static void check_group(const struct checkpoint *checkpoint, const struct ties *ties, size_t group,
                        const char *const *names)
{
    size_t i;

    assert_true(group < ties->count);
    for (i = 0; names[i]; i++) {
        uint32_t name;

        assert_true(i < ties->groups[group].count);
        name = ties->groups[group].members[i].name;
        assert_string_equal(name_of(checkpoint, ties, name), names[i]);
        assert_int_equal(ties->group_of[name], group);
    }
    assert_int_equal(ties->groups[group].count, i);
}

/* What a configuration ties in a checkpoint of some names: one group, or none where tied is NULL.
 */
static void check_config(const struct model_config *config, const char *const *names,
                         const char *const *tied)
{
    struct checkpoint *checkpoint = built_names(names);
    struct ties *ties = find(checkpoint, config);

    assert_int_equal(ties->count, tied ? 1 : 0);
    if (tied) {
        check_group(checkpoint, ties, 0, tied);
        assert_int_equal(ties->groups[0].members[0].source, TIE_CONFIG);
        assert_int_equal(ties->groups[0].bits, 16 * 8);
    }
    ties_free(ties);
    checkpoint_close(checkpoint);
}

static void nothing_tied(void **state)
{
    struct checkpoint *checkpoint = built_names(NAMES("a.weight", "b.weight"));
    struct ties *ties = find(checkpoint, NULL);

    (void)state;
    assert_int_equal(ties->count, 0);
    assert_int_equal(ties->name_count, 2);
    assert_int_equal(ties->group_of[0], TIE_NONE);
    assert_int_equal(ties->group_of[1], TIE_NONE);
    ties_free(ties);
    ties_free(NULL);
    checkpoint_close(checkpoint);
}

static void storages(void **state)
{
    struct checkpoint *checkpoint;
    struct ties *ties;
    struct built b;

    (void)state;
    built_begin(&b);
    built_add_at(&b, "a", 0, 100);
    built_add_at(&b, "other", 100, 60);
    built_add_at(&b, "b", 0, 100);
    built_add_at(&b, "q", 200, 30);
    built_add_at(&b, "v", 240, 30); /* apart from q, but for k: a storage of views */
    built_add_at(&b, "k", 220, 30);
    checkpoint = built_finish(&b);
    ties = find(checkpoint, NULL);
    assert_int_equal(ties->count, 2);
    check_group(checkpoint, ties, 0, NAMES("a", "b"));
    check_group(checkpoint, ties, 1, NAMES("q", "v", "k"));
    assert_int_equal(ties->groups[0].bits, 800);
    assert_int_equal(ties->groups[1].bits, 70 * 8);
    assert_int_equal(ties->groups[1].members[2].source, TIE_STORAGE);
    assert_int_equal(ties->group_of[1], TIE_NONE);
    assert_int_equal(ties->member_count, 5);
    ties_free(ties);
    checkpoint_close(checkpoint);
}

static void decoders(void **state)
{
    struct model_config gpt = model("gpt2", "GPT2LMHeadModel"), inner = model("gpt2", "GPT2Model");
    struct model_config llama = model("llama", "LlamaForCausalLM");
    struct model_config gemma = model("gemma", "GemmaForCausalLM");

    (void)state;
    check_config(&gpt, NAMES("lm_head.weight", "transformer.wte.weight", "transformer.wpe.weight"),
                 NAMES("lm_head.weight", "transformer.wte.weight"));
    check_config(&gpt, NAMES("wte.weight", "h.0.ln_1.weight"),
                 NAMES("wte.weight", "lm_head.weight"));
    check_config(&inner, NAMES("wte.weight"), NULL);
    check_config(&inner, NAMES("wte.weight", "lm_head.weight"),
                 NAMES("wte.weight", "lm_head.weight"));
    check_config(&gemma, NAMES("model.embed_tokens.weight", "model.norm.weight"),
                 NAMES("model.embed_tokens.weight", "lm_head.weight"));
    check_config(&llama, NAMES("model.embed_tokens.weight", "lm_head.weight"), NULL);
    llama.tie_word_embeddings = MODEL_TIE_YES;
    check_config(&llama, NAMES("model.embed_tokens.weight", "lm_head.weight"),
                 NAMES("model.embed_tokens.weight", "lm_head.weight"));
    gemma.tie_word_embeddings = MODEL_TIE_NO;
    check_config(&gemma, NAMES("model.embed_tokens.weight"), NULL);
    /* One that only begins alike, and one without the embedding. */
    gemma.tie_word_embeddings = MODEL_TIE_YES;
    check_config(&gemma, NAMES("model.xembed_tokens.weight", "norm.weight"), NULL);
    check_config(&gemma, NAMES("model.norm.weight"), NULL);
}

static void other_kinds(void **state)
{
    struct model_config t5 = model("t5", "T5ForConditionalGeneration");
    struct model_config bart = model("bart", "BartForConditionalGeneration");
    struct model_config whisper = model("whisper", "WhisperForConditionalGeneration");
    struct model_config vision = model("gemma3", "Gemma3ForConditionalGeneration");
    struct model_config minilm = model("bert", "BertModel");

    (void)state;
    check_config(&t5, NAMES("encoder.block.0.layer.0.weight", "shared.weight"),
                 NAMES("shared.weight", "encoder.embed_tokens.weight",
                       "decoder.embed_tokens.weight", "lm_head.weight"));
    check_config(&bart, NAMES("model.shared.weight"),
                 NAMES("model.shared.weight", "model.encoder.embed_tokens.weight",
                       "model.decoder.embed_tokens.weight", "lm_head.weight"));
    check_config(&whisper, NAMES("model.decoder.embed_tokens.weight", "model.encoder.conv1.weight"),
                 NAMES("model.decoder.embed_tokens.weight", "proj_out.weight"));
    check_config(
        &vision, NAMES("language_model.model.embed_tokens.weight"),
        NAMES("language_model.model.embed_tokens.weight", "language_model.lm_head.weight"));
    check_config(&vision, NAMES("model.language_model.embed_tokens.weight"),
                 NAMES("model.language_model.embed_tokens.weight", "lm_head.weight"));
    check_config(&minilm, NAMES("embeddings.word_embeddings.weight"), NULL);
}

static void two_groups(void **state)
{
    struct model_config bert = model("bert", "BertForMaskedLM");
    struct checkpoint *checkpoint =
        built_names(NAMES("bert.embeddings.word_embeddings.weight", "cls.predictions.bias"));
    struct ties *ties = find(checkpoint, &bert);

    (void)state;
    assert_int_equal(ties->count, 2);
    check_group(checkpoint, ties, 0,
                NAMES("bert.embeddings.word_embeddings.weight", "cls.predictions.decoder.weight"));
    check_group(checkpoint, ties, 1, NAMES("cls.predictions.bias", "cls.predictions.decoder.bias"));
    ties_free(ties);
    checkpoint_close(checkpoint);
}

/* What looks tied and is not: a head of its own, quantised or of another size; two embeddings. */
static void not_tied(void **state)
{
    struct model_config gemma = model("gemma", "GemmaForCausalLM");
    struct checkpoint *checkpoint;
    struct ties *ties;
    struct built b;

    (void)state;
    check_config(&gemma, NAMES("model.embed_tokens.weight", "lm_head.qweight", "lm_head.scales"),
                 NULL);
    check_config(&gemma, NAMES("model.embed_tokens.weight", "lm_head.bias"),
                 NAMES("model.embed_tokens.weight", "lm_head.weight"));
    check_config(&gemma, NAMES("talker.embed_tokens.weight", "thinker.embed_tokens.weight"), NULL);
    built_begin(&b);
    built_add(&b, "model.embed_tokens.weight", 100);
    built_add(&b, "lm_head.weight", 104);
    checkpoint = built_finish(&b);
    ties = find(checkpoint, &gemma);
    assert_int_equal(ties->count, 0);
    ties_free(ties);
    checkpoint_close(checkpoint);
}

static void listed(void **state)
{
    const char *const first[] = {"b", "missing"}, *const second[] = {"c", "a", "missing"};
    const struct tie_list lists[] = {{first, 2}, {second, 3}};
    struct checkpoint *checkpoint = built_names(NAMES("a", "b", "c", "d"));
    struct input_error error;
    struct ties *ties;

    (void)state;
    assert_int_equal(ties_find(checkpoint, NULL, lists, 1, &ties, &error), 0);
    assert_int_equal(ties->count, 1);
    check_group(checkpoint, ties, 0, NAMES("b", "missing"));
    assert_int_equal(ties->groups[0].members[0].source, TIE_POLICY);
    ties_free(ties);
    assert_int_equal(ties_find(checkpoint, NULL, lists, 2, &ties, &error), 0);
    assert_int_equal(ties->count, 1);
    check_group(checkpoint, ties, 0, NAMES("a", "b", "c", "missing"));
    assert_int_equal(ties->groups[0].bits, 16 * 8);
    assert_int_equal(ties->name_count, 5);
    ties_free(ties);
    checkpoint_close(checkpoint);
}

static void check_wrong(const struct checkpoint *checkpoint, const char *const *names, size_t count,
                        const char *line)
{
    const struct tie_list list = {names, count};
    char got[INPUT_ERROR_TEXT_BYTES];
    struct ties *ties = NULL;
    struct input_error error;

    assert_int_equal(ties_check_list(checkpoint, &list, &error), -EINVAL);
    assert_string_equal(input_error_format(&error, got, sizeof(got)), line);
    assert_int_equal(ties_find(checkpoint, NULL, &list, 1, &ties, &error), -EINVAL);
    assert_null(ties);
    assert_string_equal(input_error_format(&error, got, sizeof(got)), line);
}

static void wrong_lists(void **state)
{
    struct checkpoint *checkpoint;
    struct tie_list many;
    struct ties *ties = NULL;
    struct input_error error;
    const char **names;
    struct built b;
    size_t i;

    (void)state;
    built_begin(&b);
    built_add(&b, "a", 16);
    built_add(&b, "b", 24);
    checkpoint = built_finish(&b);
    check_wrong(checkpoint, NAMES("a"), 1,
                "tied: expected two names or more of one parameter, found 1");
    check_wrong(checkpoint, NAMES("x", "y"), 2,
                "tied: expected a name that is in the checkpoint, found \"x\" and \"y\"");
    check_wrong(checkpoint, NAMES("a", "x", "b"), 3,
                "tied: expected tensors of one size, found a of 16 bytes and b of 24 bytes");
    many = (struct tie_list){NULL, 4 * TIE_ABSENT_MAX};
    names = calloc(many.count, sizeof(*names));
    for (i = 1; i < many.count; i++) {
        char name[32];

        sprintf(name, "absent%zu", i);
        names[i] = strdup(name);
    }
    names[0] = "a";
    many.names = names;
    assert_int_equal(ties_find(checkpoint, NULL, &many, 1, &ties, &error), -E2BIG);
    assert_null(ties);
    for (i = 1; i < many.count; i++)
        free((char *)names[i]);
    free(names);
    checkpoint_close(checkpoint);
}

/* All three at once make one object; each name keeps what tied it first. */
static void together(void **state)
{
    struct model_config gpt = model("gpt2", "GPT2LMHeadModel");
    const char *const names[] = {"wte.weight", "copy.weight"};
    const struct tie_list list = {names, 2};
    struct checkpoint *checkpoint;
    struct input_error error;
    struct ties *ties;
    struct built b;

    (void)state;
    built_begin(&b);
    built_add_at(&b, "wte.weight", 0, 64);
    built_add_at(&b, "view.weight", 0, 64);
    built_add_at(&b, "copy.weight", 64, 64);
    checkpoint = built_finish(&b);
    assert_int_equal(ties_find(checkpoint, &gpt, &list, 1, &ties, &error), 0);
    assert_int_equal(ties->count, 1);
    check_group(checkpoint, ties, 0,
                NAMES("wte.weight", "view.weight", "copy.weight", "lm_head.weight"));
    assert_int_equal(ties->groups[0].bits, 64 * 8);
    assert_int_equal(ties->groups[0].members[1].source, TIE_STORAGE);
    assert_int_equal(ties->groups[0].members[2].source, TIE_POLICY);
    assert_int_equal(ties->groups[0].members[3].source, TIE_CONFIG);
    ties_free(ties);
    checkpoint_close(checkpoint);
}

/* Sets of names that are joined pair by pair are those that a slow relabelling finds. */
static void any_order(void **state)
{
    enum { NAMES_MAX = 40, PAIRS = 25 };
    unsigned seed;

    (void)state;
    for (seed = 1; seed <= 50; seed++) {
        char names[NAMES_MAX][8];
        const char *pairs[PAIRS][2];
        struct tie_list lists[PAIRS];
        unsigned label[NAMES_MAX], random = seed;
        struct checkpoint *checkpoint;
        struct input_error error;
        struct ties *ties;
        struct built b;
        size_t i, j;

        built_begin(&b);
        for (i = 0; i < NAMES_MAX; i++) {
            sprintf(names[i], "t%zu", i);
            built_add(&b, names[i], 8);
            label[i] = (unsigned)i;
        }
        for (i = 0; i < PAIRS; i++) {
            unsigned l = (unsigned)rand_r(&random) % NAMES_MAX;
            unsigned r = (unsigned)rand_r(&random) % NAMES_MAX, from = label[r];

            pairs[i][0] = names[l];
            pairs[i][1] = names[r];
            lists[i] = (struct tie_list){pairs[i], 2};
            for (j = 0; j < NAMES_MAX; j++)
                label[j] = label[j] == from ? label[l] : label[j];
        }
        checkpoint = built_finish(&b);
        assert_int_equal(ties_find(checkpoint, NULL, lists, PAIRS, &ties, &error), 0);
        for (i = 0; i < NAMES_MAX; i++) {
            for (j = 0; j < i; j++) {
                bool one = ties->group_of[i] == ties->group_of[j] && ties->group_of[i] != TIE_NONE;

                assert_int_equal(one, label[i] == label[j]);
            }
        }
        ties_free(ties);
        checkpoint_close(checkpoint);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_tied), cmocka_unit_test(storages),    cmocka_unit_test(decoders),
        cmocka_unit_test(other_kinds),  cmocka_unit_test(two_groups),  cmocka_unit_test(not_tied),
        cmocka_unit_test(listed),       cmocka_unit_test(wrong_lists), cmocka_unit_test(together),
        cmocka_unit_test(any_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
