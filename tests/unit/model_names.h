/* model_names.h - the tensors of real models by name, made small: for tests of units and plans. */
#ifndef BERTH_TEST_MODEL_NAMES_H
#define BERTH_TEST_MODEL_NAMES_H

#include "built_checkpoint.h"
#include <stdio.h>

/* Add one tensor for each name; %zu in them is the layer. NULL ends a list. */
static inline void model_add_layer(struct built *b, const char *const *names, size_t layer)
{
    for (; *names; names++) {
        char name[160];

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(name, sizeof(name), *names, layer);
#pragma GCC diagnostic pop
        built_add(b, name, 16 + 8 * (strlen(name) % 5));
    }
}

static inline void model_add_layers(struct built *b, const char *const *names, size_t layers)
{
    size_t i;

    for (i = 0; i < layers; i++)
        model_add_layer(b, names, i);
}

#define MODEL_NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})

static inline struct checkpoint *model_llama(size_t layers)
{
    struct built b;

    built_begin(&b);
    built_add(&b, "model.embed_tokens.weight", 4096);
    model_add_layers(
        &b,
        MODEL_NAMES(
            "model.layers.%zu.self_attn.q_proj.weight", "model.layers.%zu.self_attn.k_proj.weight",
            "model.layers.%zu.self_attn.v_proj.weight", "model.layers.%zu.self_attn.o_proj.weight",
            "model.layers.%zu.mlp.gate_proj.weight", "model.layers.%zu.mlp.up_proj.weight",
            "model.layers.%zu.mlp.down_proj.weight", "model.layers.%zu.input_layernorm.weight",
            "model.layers.%zu.post_attention_layernorm.weight"),
        layers);
    built_add(&b, "model.norm.weight", 64);
    built_add(&b, "lm_head.weight", 4096);
    return built_finish(&b);
}

static inline struct checkpoint *model_gpt2(void)
{
    struct built b;

    built_begin(&b);
    model_add_layers(&b,
                     MODEL_NAMES("h.%zu.ln_1.weight", "h.%zu.ln_1.bias", "h.%zu.attn.c_attn.weight",
                                 "h.%zu.attn.c_attn.bias", "h.%zu.mlp.c_fc.weight"),
                     12);
    built_add(&b, "wpe.weight", 256);
    built_add(&b, "wte.weight", 1024);
    return built_finish(&b);
}

static inline struct checkpoint *model_bert(void)
{
    struct built b;

    built_begin(&b);
    model_add_layer(&b,
                    MODEL_NAMES("bert.embeddings.word_embeddings.weight",
                                "bert.embeddings.position_embeddings.weight",
                                "bert.embeddings.LayerNorm.weight"),
                    0);
    model_add_layers(&b,
                     MODEL_NAMES("bert.encoder.layer.%zu.attention.self.query.weight",
                                 "bert.encoder.layer.%zu.attention.output.dense.weight",
                                 "bert.encoder.layer.%zu.output.dense.weight"),
                     12);
    built_add(&b, "bert.pooler.dense.weight", 64);
    return built_finish(&b);
}

static inline struct checkpoint *model_t5(void)
{
    struct built b;
    size_t i;

    built_begin(&b);
    for (i = 0; i < 6; i++) {
        model_add_layer(&b,
                        MODEL_NAMES("decoder.block.%zu.layer.0.SelfAttention.q.weight",
                                    "decoder.block.%zu.layer.1.EncDecAttention.q.weight",
                                    "decoder.block.%zu.layer.2.DenseReluDense.wi.weight"),
                        i);
        if (i == 0)
            built_add(&b, "decoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
                      32);
    }
    built_add(&b, "decoder.final_layer_norm.weight", 16);
    model_add_layers(&b,
                     MODEL_NAMES("encoder.block.%zu.layer.0.SelfAttention.q.weight",
                                 "encoder.block.%zu.layer.1.DenseReluDense.wi.weight"),
                     6);
    built_add(&b, "encoder.final_layer_norm.weight", 16);
    built_add(&b, "shared.weight", 2048);
    return built_finish(&b);
}

/* Mixtral: experts are a list within the layer. DeepSeek's first layer has none. */
static inline struct checkpoint *model_mixtral(size_t layers, size_t dense)
{
    struct built b;
    size_t i, j;

    built_begin(&b);
    built_add(&b, "model.embed_tokens.weight", 512);
    for (i = 0; i < layers; i++) {
        model_add_layer(&b,
                        MODEL_NAMES("model.layers.%zu.self_attn.q_proj.weight",
                                    "model.layers.%zu.self_attn.o_proj.weight",
                                    "model.layers.%zu.input_layernorm.weight"),
                        i);
        if (i < dense)
            model_add_layer(&b, MODEL_NAMES("model.layers.%zu.mlp.up_proj.weight"), i);
        for (j = 0; i >= dense && j < 8; j++) {
            char name[128];

            snprintf(name, sizeof(name), "model.layers.%zu.block_sparse_moe.experts.%zu.w1.weight",
                     i, j);
            built_add(&b, name, 128);
            name[strlen(name) - strlen("1.weight")] = '2';
            built_add(&b, name, 128);
        }
    }
    built_add(&b, "lm_head.weight", 512);
    return built_finish(&b);
}

/* The UNet of SDXL as diffusers has it, some of its blocks. */
static inline struct checkpoint *model_unet(void)
{
    struct built b;

    built_begin(&b);
    model_add_layer(&b,
                    MODEL_NAMES("conv_in.weight", "time_embedding.linear_1.weight",
                                "down_blocks.0.resnets.0.conv1.weight",
                                "down_blocks.0.resnets.1.conv1.weight",
                                "down_blocks.0.downsamplers.0.conv.weight"),
                    0);
    model_add_layers(
        &b,
        MODEL_NAMES("down_blocks.1.resnets.%zu.conv1.weight",
                    "down_blocks.1.attentions.%zu.proj_in.weight",
                    "down_blocks.1.attentions.%zu.transformer_blocks.0.attn1.to_q.weight",
                    "down_blocks.1.attentions.%zu.transformer_blocks.0.attn1.to_out.0.weight",
                    "down_blocks.1.attentions.%zu.transformer_blocks.1.ff.net.0.proj.weight"),
        2);
    model_add_layer(&b,
                    MODEL_NAMES("mid_block.resnets.0.conv1.weight",
                                "mid_block.resnets.1.conv1.weight",
                                "mid_block.attentions.0.transformer_blocks.0.attn1.to_q.weight",
                                "conv_out.weight"),
                    0);
    return built_finish(&b);
}

static inline struct checkpoint *model_whisper(void)
{
    struct built b;

    built_begin(&b);
    built_add(&b, "model.decoder.embed_tokens.weight", 512);
    model_add_layers(&b,
                     MODEL_NAMES("model.decoder.layers.%zu.self_attn.q_proj.weight",
                                 "model.decoder.layers.%zu.fc1.weight"),
                     4);
    model_add_layer(&b, MODEL_NAMES("model.encoder.conv1.weight"), 0);
    model_add_layers(&b,
                     MODEL_NAMES("model.encoder.layers.%zu.self_attn.q_proj.weight",
                                 "model.encoder.layers.%zu.fc1.weight"),
                     4);
    return built_finish(&b);
}

#endif
