/* architecture_table.h - the common models: their kinds, their blocks' classes, what they tie.
 *
 * Facts about Hugging Face transformers, diffusers and GGUF, written once; architecture.c reads
 * them.
 */
#ifndef BERTH_POLICY_ARCHITECTURE_TABLE_H
#define BERTH_POLICY_ARCHITECTURE_TABLE_H

/* Where a class's modules stand, as the last parts of their paths; a ^ in front means the whole
 * path.
 * ".*" is an integer: "model.layers.*" finds model.layers.0 and language_model.model.layers.0.
 */
#define PLACE_DECODER  "^layers.*|model.layers.*|language_model.layers.*|text_model.layers.*"
#define PLACE_BACKBONE "^layers.*|backbone.layers.*"
#define PLACE_LAYER    "encoder.layer.*"
#define PLACE_VIT      "encoder.layer.*|^layers.*"
#define PLACE_ENCODER  "encoder.layers.*"
#define PLACE_DECODER2 "decoder.layers.*"
#define PLACE_T5       "encoder.block.*|decoder.block.*"
#define PLACE_H        "h.*"

/* A class that models are made of.
 *
 * class    as a framework has it, and as no_split_module_classes names it
 * places   where its modules stand
 */
#define ARCHITECTURE_BLOCKS(X)                                                                     \
    X("AlbertLayerGroup", "albert_layer_groups.*")                                                 \
    X("ArceeDecoderLayer", PLACE_DECODER)                                                          \
    X("BaichuanLayer", PLACE_DECODER)                                                              \
    X("BambaDecoderLayer", PLACE_DECODER)                                                          \
    X("BarkBlock", "coarse_acoustics.layers.*|fine_acoustics.layers.*|semantic.layers.*")          \
    X("BartDecoderLayer", PLACE_DECODER2)                                                          \
    X("BartEncoderLayer", PLACE_ENCODER)                                                           \
    X("BasicTransformerBlock", "transformer_blocks.*")                                             \
    X("BeitLayer", PLACE_VIT)                                                                      \
    X("BertEmbeddings", "^embeddings|bert.embeddings")                                             \
    X("BertLayer", PLACE_LAYER)                                                                    \
    X("BigBirdLayer", PLACE_LAYER)                                                                 \
    X("BioGptDecoderLayer", "^layers.*|biogpt.layers.*")                                           \
    X("BlenderbotDecoderLayer", PLACE_DECODER2)                                                    \
    X("BlenderbotEncoderLayer", PLACE_ENCODER)                                                     \
    X("BloomBlock", PLACE_H)                                                                       \
    X("CLIPEncoderLayer", PLACE_ENCODER)                                                           \
    X("CLIPTextEmbeddings", "^embeddings|text_model.embeddings")                                   \
    X("CLIPVisionEmbeddings", "^embeddings|vision_model.embeddings|vision_tower.embeddings")       \
    X("CamembertEmbeddings", "^embeddings|roberta.embeddings")                                     \
    X("CamembertLayer", PLACE_LAYER)                                                               \
    X("CodeGenBlock", PLACE_H)                                                                     \
    X("CogVideoXBlock", "transformer_blocks.*")                                                    \
    X("Cohere2DecoderLayer", PLACE_DECODER)                                                        \
    X("CohereDecoderLayer", PLACE_DECODER)                                                         \
    X("ConvNextStage", "encoder.stages.*")                                                         \
    X("CrossAttnDownBlock2D", "^down_blocks.*|unet.down_blocks.*")                                 \
    X("CrossAttnUpBlock2D", "^up_blocks.*|unet.up_blocks.*")                                       \
    X("DbrxBlock", "transformer.blocks.*|^blocks.*")                                               \
    X("DebertaLayer", PLACE_LAYER)                                                                 \
    X("DebertaV2Layer", PLACE_LAYER)                                                               \
    X("DeepseekV2DecoderLayer", PLACE_DECODER)                                                     \
    X("DeepseekV3DecoderLayer", PLACE_DECODER)                                                     \
    X("DeiTLayer", PLACE_VIT)                                                                      \
    X("Dinov2Layer", PLACE_VIT)                                                                    \
    X("ElectraLayer", PLACE_LAYER)                                                                 \
    X("Ernie4_5DecoderLayer", PLACE_DECODER)                                                       \
    X("Ernie4_5_MoeDecoderLayer", PLACE_DECODER)                                                   \
    X("Exaone4DecoderLayer", PLACE_DECODER)                                                        \
    X("FalconDecoderLayer", PLACE_H)                                                               \
    X("FalconH1DecoderLayer", PLACE_DECODER)                                                       \
    X("FalconMambaBlock", PLACE_BACKBONE)                                                          \
    X("FluxSingleTransformerBlock", "single_transformer_blocks.*")                                 \
    X("FluxTransformerBlock", "transformer_blocks.*")                                              \
    X("GLMBlock", "transformer.encoder.layers.*")                                                  \
    X("GPT2Block", PLACE_H)                                                                        \
    X("GPTBigCodeBlock", PLACE_H)                                                                  \
    X("GPTJBlock", PLACE_H)                                                                        \
    X("GPTNeoBlock", PLACE_H)                                                                      \
    X("GPTNeoXLayer", "^layers.*|gpt_neox.layers.*")                                               \
    X("Gemma2DecoderLayer", PLACE_DECODER)                                                         \
    X("Gemma3DecoderLayer", PLACE_DECODER)                                                         \
    X("Gemma3nTextDecoderLayer", PLACE_DECODER)                                                    \
    X("GemmaDecoderLayer", PLACE_DECODER)                                                          \
    X("Glm4DecoderLayer", PLACE_DECODER)                                                           \
    X("Glm4MoeDecoderLayer", PLACE_DECODER)                                                        \
    X("GlmDecoderLayer", PLACE_DECODER)                                                            \
    X("GptOssDecoderLayer", PLACE_DECODER)                                                         \
    X("GraniteDecoderLayer", PLACE_DECODER)                                                        \
    X("GraniteMoeDecoderLayer", PLACE_DECODER)                                                     \
    X("GraniteMoeHybridDecoderLayer", PLACE_DECODER)                                               \
    X("HubertEncoderLayer", PLACE_ENCODER)                                                         \
    X("HunYuanDenseV1DecoderLayer", PLACE_DECODER)                                                 \
    X("HunyuanVideoSingleTransformerBlock", "single_transformer_blocks.*")                         \
    X("HunyuanVideoTransformerBlock", "transformer_blocks.*")                                      \
    X("Idefics2EncoderLayer", PLACE_ENCODER)                                                       \
    X("Idefics3EncoderLayer", PLACE_ENCODER)                                                       \
    X("InternLM2DecoderLayer", PLACE_DECODER)                                                      \
    X("InternVLVisionLayer", PLACE_LAYER)                                                          \
    X("JambaAttentionDecoderLayer", PLACE_DECODER)                                                 \
    X("JambaMambaDecoderLayer", PLACE_DECODER)                                                     \
    X("JointTransformerBlock", "transformer_blocks.*")                                             \
    X("LTXVideoTransformerBlock", "transformer_blocks.*")                                          \
    X("Lfm2DecoderLayer", PLACE_DECODER)                                                           \
    X("Llama4TextDecoderLayer", PLACE_DECODER)                                                     \
    X("Llama4VisionEncoderLayer", "vision_model.model.layers.*")                                   \
    X("LlamaDecoderLayer", PLACE_DECODER)                                                          \
    X("LongT5Block", PLACE_T5)                                                                     \
    X("LongformerLayer", PLACE_LAYER)                                                              \
    X("M2M100DecoderLayer", PLACE_DECODER2)                                                        \
    X("M2M100EncoderLayer", PLACE_ENCODER)                                                         \
    X("MBartDecoderLayer", PLACE_DECODER2)                                                         \
    X("MBartEncoderLayer", PLACE_ENCODER)                                                          \
    X("MPNetLayer", PLACE_LAYER)                                                                   \
    X("MT5Block", PLACE_T5)                                                                        \
    X("Mamba2Block", PLACE_BACKBONE)                                                               \
    X("MambaBlock", PLACE_BACKBONE)                                                                \
    X("MarianDecoderLayer", PLACE_DECODER2)                                                        \
    X("MarianEncoderLayer", PLACE_ENCODER)                                                         \
    X("MiniMaxDecoderLayer", PLACE_DECODER)                                                        \
    X("MistralDecoderLayer", PLACE_DECODER)                                                        \
    X("MixtralDecoderLayer", PLACE_DECODER)                                                        \
    X("MllamaCrossAttentionDecoderLayer", PLACE_DECODER)                                           \
    X("MllamaSelfAttentionDecoderLayer", PLACE_DECODER)                                            \
    X("MllamaVisionEncoderLayer", "global_transformer.layers.*|transformer.layers.*")              \
    X("MochiTransformerBlock", "transformer_blocks.*")                                             \
    X("ModernBertEncoderLayer", "^layers.*|model.layers.*")                                        \
    X("MptBlock", "transformer.blocks.*|^blocks.*")                                                \
    X("NemotronDecoderLayer", PLACE_DECODER)                                                       \
    X("NllbMoeDecoderLayer", PLACE_DECODER2)                                                       \
    X("NllbMoeEncoderLayer", PLACE_ENCODER)                                                        \
    X("NomicBertLayer", "^layers.*|nomic_bert.layers.*|encoder.layers.*")                          \
    X("OPTDecoderLayer", PLACE_DECODER2)                                                           \
    X("Olmo2DecoderLayer", PLACE_DECODER)                                                          \
    X("Olmo3DecoderLayer", PLACE_DECODER)                                                          \
    X("OlmoDecoderLayer", PLACE_DECODER)                                                           \
    X("OlmoeDecoderLayer", PLACE_DECODER)                                                          \
    X("PegasusDecoderLayer", PLACE_DECODER2)                                                       \
    X("PegasusEncoderLayer", PLACE_ENCODER)                                                        \
    X("PersimmonDecoderLayer", PLACE_DECODER)                                                      \
    X("Phi3DecoderLayer", PLACE_DECODER)                                                           \
    X("PhiDecoderLayer", PLACE_DECODER)                                                            \
    X("PhimoeDecoderLayer", PLACE_DECODER)                                                         \
    X("PixtralAttentionLayer", "transformer.layers.*")                                             \
    X("QWenBlock", PLACE_H)                                                                        \
    X("Qwen2AudioEncoderLayer", "audio_tower.layers.*")                                            \
    X("Qwen2DecoderLayer", PLACE_DECODER)                                                          \
    X("Qwen2MoeDecoderLayer", PLACE_DECODER)                                                       \
    X("Qwen2VLDecoderLayer", PLACE_DECODER)                                                        \
    X("Qwen2VLVisionBlock", "visual.blocks.*")                                                     \
    X("Qwen2_5_VLDecoderLayer", PLACE_DECODER)                                                     \
    X("Qwen2_5_VLVisionBlock", "visual.blocks.*")                                                  \
    X("Qwen3DecoderLayer", PLACE_DECODER)                                                          \
    X("Qwen3MoeDecoderLayer", PLACE_DECODER)                                                       \
    X("Qwen3NextDecoderLayer", PLACE_DECODER)                                                      \
    X("Qwen3VLMoeTextDecoderLayer", PLACE_DECODER)                                                 \
    X("Qwen3VLMoeVisionBlock", "visual.blocks.*")                                                  \
    X("Qwen3VLTextDecoderLayer", PLACE_DECODER)                                                    \
    X("Qwen3VLVisionBlock", "visual.blocks.*")                                                     \
    X("QwenImageTransformerBlock", "transformer_blocks.*")                                         \
    X("ResnetBlock2D", "resnets.*")                                                                \
    X("RobertaEmbeddings", "^embeddings|roberta.embeddings")                                       \
    X("RobertaLayer", PLACE_LAYER)                                                                 \
    X("RwkvBlock", "rwkv.blocks.*|^blocks.*")                                                      \
    X("SamVisionLayer", "vision_encoder.layers.*")                                                 \
    X("SanaTransformerBlock", "transformer_blocks.*")                                              \
    X("SiglipEncoderLayer", PLACE_ENCODER)                                                         \
    X("SmolLM3DecoderLayer", PLACE_DECODER)                                                        \
    X("SmolVLMEncoderLayer", PLACE_ENCODER)                                                        \
    X("Speech2TextDecoderLayer", PLACE_DECODER2)                                                   \
    X("Speech2TextEncoderLayer", PLACE_ENCODER)                                                    \
    X("StableLmDecoderLayer", PLACE_DECODER)                                                       \
    X("Starcoder2DecoderLayer", PLACE_DECODER)                                                     \
    X("SwinStage", PLACE_ENCODER)                                                                  \
    X("Swinv2Stage", PLACE_ENCODER)                                                                \
    X("SwitchTransformersBlock", PLACE_T5)                                                         \
    X("T5Block", PLACE_T5)                                                                         \
    X("TransformerBlock", "transformer.layer.*")                                                   \
    X("UMT5Block", PLACE_T5)                                                                       \
    X("UpBlock2D", "^up_blocks.*|unet.up_blocks.*")                                                \
    X("ViTLayer", PLACE_VIT)                                                                       \
    X("WanTransformerBlock", "^blocks.*|transformer.blocks.*")                                     \
    X("Wav2Vec2EncoderLayer", PLACE_ENCODER)                                                       \
    X("WavLMEncoderLayer", PLACE_ENCODER)                                                          \
    X("WhisperDecoderLayer", PLACE_DECODER2)                                                       \
    X("WhisperEncoderLayer", PLACE_ENCODER)                                                        \
    X("XGLMDecoderLayer", PLACE_DECODER)                                                           \
    X("XLMRobertaEmbeddings", "^embeddings|roberta.embeddings")                                    \
    X("XLMRobertaLayer", PLACE_LAYER)                                                              \
    X("Zamba2HybridLayer", PLACE_DECODER)                                                          \
    X("Zamba2MambaDecoderLayer", PLACE_DECODER)

/* Which parameters are one where tie_word_embeddings says so.
 *
 * names    the last parts of their names, the one that holds the bytes first. A ~ in front marks a
 *          parameter of the inner model, whose name begins as the first one's does; the others
 *          belong to the head
 * more     another such group, or ""
 */
#define ARCHITECTURE_TIES(X)                                                                       \
    X(NONE, "", "")                                                                                \
    X(LM, "~embed_tokens.weight|lm_head.weight", "")                                               \
    X(GPT, "~wte.weight|lm_head.weight", "")                                                       \
    X(WORDS, "~word_embeddings.weight|lm_head.weight", "")                                         \
    X(MAMBA, "~embeddings.weight|lm_head.weight", "")                                              \
    X(NEOX, "~embed_in.weight|embed_out.weight", "")                                               \
    X(BIOGPT, "~embed_tokens.weight|output_projection.weight", "")                                 \
    X(DECODER, "~decoder.embed_tokens.weight|lm_head.weight", "")                                  \
    X(WHISPER, "~decoder.embed_tokens.weight|proj_out.weight", "")                                 \
    X(SHARED,                                                                                      \
      "~shared.weight|~encoder.embed_tokens.weight|~decoder.embed_tokens.weight|lm_head.weight",   \
      "")                                                                                          \
    X(BERT, "~embeddings.word_embeddings.weight|cls.predictions.decoder.weight",                   \
      "cls.predictions.bias|cls.predictions.decoder.bias")                                         \
    X(ROBERTA, "~embeddings.word_embeddings.weight|lm_head.decoder.weight",                        \
      "lm_head.bias|lm_head.decoder.bias")                                                         \
    X(ALBERT, "~embeddings.word_embeddings.weight|predictions.decoder.weight",                     \
      "predictions.bias|predictions.decoder.bias")                                                 \
    X(DISTILBERT, "~embeddings.word_embeddings.weight|vocab_projector.weight", "")                 \
    X(ELECTRA, "~embeddings.word_embeddings.weight|generator_lm_head.weight", "")                  \
    X(MODERNBERT, "~embeddings.tok_embeddings.weight|decoder.weight", "")

/* A kind of model.
 *
 * kind     model_type of config.json, or the class of a part of a diffusion pipeline
 * gguf     general.architecture of its GGUF files; "" where llama.cpp has none
 * tied     1 where embeddings are tied unless config.json says otherwise: libraries leave a field
 * out that has its default ties     a row of ARCHITECTURE_TIES classes  of its blocks
 */
#define ARCHITECTURES(X)                                                                           \
    X("albert", "", 1, ALBERT, "AlbertLayerGroup")                                                 \
    X("arcee", "arcee", 0, LM, "ArceeDecoderLayer")                                                \
    X("baichuan", "baichuan", 0, LM, "BaichuanLayer")                                              \
    X("bamba", "", 0, LM, "BambaDecoderLayer")                                                     \
    X("bark", "", 0, NONE, "BarkBlock")                                                            \
    X("bart", "", 1, SHARED, "BartEncoderLayer|BartDecoderLayer")                                  \
    X("beit", "", 0, NONE, "BeitLayer")                                                            \
    X("bert", "bert", 1, BERT, "BertLayer|BertEmbeddings")                                         \
    X("big_bird", "", 1, BERT, "BigBirdLayer")                                                     \
    X("biogpt", "", 1, BIOGPT, "BioGptDecoderLayer")                                               \
    X("blenderbot", "", 1, SHARED, "BlenderbotEncoderLayer|BlenderbotDecoderLayer")                \
    X("bloom", "bloom", 1, WORDS, "BloomBlock")                                                    \
    X("camembert", "bert", 1, ROBERTA, "CamembertLayer|CamembertEmbeddings")                       \
    X("chatglm", "chatglm", 0, NONE, "GLMBlock")                                                   \
    X("clip", "clip", 0, NONE, "CLIPEncoderLayer|CLIPTextEmbeddings|CLIPVisionEmbeddings")         \
    X("clip_text_model", "", 0, NONE, "CLIPEncoderLayer|CLIPTextEmbeddings")                       \
    X("clip_vision_model", "clip", 0, NONE, "CLIPEncoderLayer|CLIPVisionEmbeddings")               \
    X("codegen", "", 0, GPT, "CodeGenBlock")                                                       \
    X("cohere", "command-r", 1, LM, "CohereDecoderLayer")                                          \
    X("cohere2", "cohere2", 1, LM, "Cohere2DecoderLayer")                                          \
    X("convnext", "", 0, NONE, "ConvNextStage")                                                    \
    X("dbrx", "dbrx", 0, NONE, "DbrxBlock")                                                        \
    X("deberta", "", 1, BERT, "DebertaLayer")                                                      \
    X("deberta-v2", "", 1, BERT, "DebertaV2Layer")                                                 \
    X("deepseek_v2", "deepseek2", 0, LM, "DeepseekV2DecoderLayer")                                 \
    X("deepseek_v3", "deepseek2", 0, LM, "DeepseekV3DecoderLayer")                                 \
    X("deit", "", 0, NONE, "DeiTLayer")                                                            \
    X("dinov2", "", 0, NONE, "Dinov2Layer")                                                        \
    X("distilbert", "", 1, DISTILBERT, "TransformerBlock")                                         \
    X("electra", "", 1, ELECTRA, "ElectraLayer")                                                   \
    X("ernie4_5", "ernie4_5", 1, LM, "Ernie4_5DecoderLayer")                                       \
    X("ernie4_5_moe", "ernie4_5-moe", 1, LM, "Ernie4_5_MoeDecoderLayer")                           \
    X("exaone4", "exaone4", 0, LM, "Exaone4DecoderLayer")                                          \
    X("falcon", "falcon", 1, WORDS, "FalconDecoderLayer")                                          \
    X("falcon_h1", "falcon-h1", 0, LM, "FalconH1DecoderLayer")                                     \
    X("falcon_mamba", "mamba", 1, MAMBA, "FalconMambaBlock")                                       \
    X("fuyu", "", 0, LM, "PersimmonDecoderLayer")                                                  \
    X("gemma", "gemma", 1, LM, "GemmaDecoderLayer")                                                \
    X("gemma2", "gemma2", 1, LM, "Gemma2DecoderLayer")                                             \
    X("gemma3", "", 1, LM, "Gemma3DecoderLayer|SiglipEncoderLayer")                                \
    X("gemma3_text", "gemma3", 1, LM, "Gemma3DecoderLayer")                                        \
    X("gemma3n_text", "gemma3n", 1, LM, "Gemma3nTextDecoderLayer")                                 \
    X("glm", "chatglm", 0, LM, "GlmDecoderLayer")                                                  \
    X("glm4", "glm4", 0, LM, "Glm4DecoderLayer")                                                   \
    X("glm4_moe", "glm4moe", 0, LM, "Glm4MoeDecoderLayer")                                         \
    X("gpt2", "gpt2", 1, GPT, "GPT2Block")                                                         \
    X("gpt_bigcode", "starcoder", 1, GPT, "GPTBigCodeBlock")                                       \
    X("gpt_neo", "", 1, GPT, "GPTNeoBlock")                                                        \
    X("gpt_neox", "gptneox", 0, NEOX, "GPTNeoXLayer")                                              \
    X("gpt_oss", "gpt-oss", 0, LM, "GptOssDecoderLayer")                                           \
    X("gptj", "gptj", 0, GPT, "GPTJBlock")                                                         \
    X("granite", "granite", 0, LM, "GraniteDecoderLayer")                                          \
    X("granitemoe", "granitemoe", 0, LM, "GraniteMoeDecoderLayer")                                 \
    X("granitemoehybrid", "granitehybrid", 0, LM, "GraniteMoeHybridDecoderLayer")                  \
    X("hubert", "", 0, NONE, "HubertEncoderLayer")                                                 \
    X("hunyuan_v1_dense", "hunyuan-dense", 0, LM, "HunYuanDenseV1DecoderLayer")                    \
    X("idefics2", "", 0, LM, "Idefics2EncoderLayer|MistralDecoderLayer")                           \
    X("idefics3", "", 0, LM, "Idefics3EncoderLayer|LlamaDecoderLayer")                             \
    X("internlm2", "internlm2", 0, NONE, "InternLM2DecoderLayer")                                  \
    X("internvl", "", 1, LM, "InternVLVisionLayer|Qwen2DecoderLayer|LlamaDecoderLayer")            \
    X("jamba", "jamba", 0, LM, "JambaAttentionDecoderLayer|JambaMambaDecoderLayer")                \
    X("lfm2", "lfm2", 1, LM, "Lfm2DecoderLayer")                                                   \
    X("llama", "llama", 0, LM, "LlamaDecoderLayer")                                                \
    X("llama4", "", 0, LM, "Llama4TextDecoderLayer|Llama4VisionEncoderLayer")                      \
    X("llama4_text", "llama4", 0, LM, "Llama4TextDecoderLayer")                                    \
    X("llava", "", 0, LM, "LlamaDecoderLayer|CLIPEncoderLayer|CLIPVisionEmbeddings")               \
    X("llava_next", "", 0, LM, "LlamaDecoderLayer|CLIPEncoderLayer|CLIPVisionEmbeddings")          \
    X("llava_onevision", "", 0, LM, "Qwen2DecoderLayer|SiglipEncoderLayer")                        \
    X("longformer", "", 1, ROBERTA, "LongformerLayer")                                             \
    X("longt5", "", 1, SHARED, "LongT5Block")                                                      \
    X("m2m_100", "", 1, SHARED, "M2M100EncoderLayer|M2M100DecoderLayer")                           \
    X("mamba", "mamba", 1, MAMBA, "MambaBlock")                                                    \
    X("mamba2", "mamba2", 0, MAMBA, "Mamba2Block")                                                 \
    X("marian", "", 1, SHARED, "MarianEncoderLayer|MarianDecoderLayer")                            \
    X("mbart", "", 1, SHARED, "MBartEncoderLayer|MBartDecoderLayer")                               \
    X("minimax", "", 0, LM, "MiniMaxDecoderLayer")                                                 \
    X("mistral", "llama", 0, LM, "MistralDecoderLayer")                                            \
    X("mistral3", "", 1, LM, "MistralDecoderLayer|PixtralAttentionLayer")                          \
    X("mixtral", "llama", 0, LM, "MixtralDecoderLayer")                                            \
    X("mllama", "", 0, LM,                                                                         \
      "MllamaSelfAttentionDecoderLayer|MllamaCrossAttentionDecoderLayer|MllamaVisionEncoderLayer") \
    X("modernbert", "modern-bert", 1, MODERNBERT, "ModernBertEncoderLayer")                        \
    X("mpnet", "", 1, ROBERTA, "MPNetLayer")                                                       \
    X("mpt", "mpt", 1, GPT, "MptBlock")                                                            \
    X("mt5", "t5", 1, SHARED, "MT5Block")                                                          \
    X("nemotron", "nemotron", 0, LM, "NemotronDecoderLayer")                                       \
    X("nllb-moe", "", 1, SHARED, "NllbMoeEncoderLayer|NllbMoeDecoderLayer")                        \
    X("nomic_bert", "nomic-bert", 1, BERT, "NomicBertLayer")                                       \
    X("olmo", "olmo", 0, LM, "OlmoDecoderLayer")                                                   \
    X("olmo2", "olmo2", 0, LM, "Olmo2DecoderLayer")                                                \
    X("olmo3", "", 0, LM, "Olmo3DecoderLayer")                                                     \
    X("olmoe", "olmoe", 0, LM, "OlmoeDecoderLayer")                                                \
    X("opt", "", 1, DECODER, "OPTDecoderLayer")                                                    \
    X("paligemma", "", 1, LM, "GemmaDecoderLayer|Gemma2DecoderLayer|SiglipEncoderLayer")           \
    X("pegasus", "", 1, SHARED, "PegasusEncoderLayer|PegasusDecoderLayer")                         \
    X("persimmon", "", 0, LM, "PersimmonDecoderLayer")                                             \
    X("phi", "phi2", 0, LM, "PhiDecoderLayer")                                                     \
    X("phi3", "phi3", 0, LM, "Phi3DecoderLayer")                                                   \
    X("phimoe", "phimoe", 0, LM, "PhimoeDecoderLayer")                                             \
    X("pixtral", "", 0, NONE, "PixtralAttentionLayer")                                             \
    X("qwen", "qwen", 0, NONE, "QWenBlock")                                                        \
    X("qwen2", "qwen2", 0, LM, "Qwen2DecoderLayer")                                                \
    X("qwen2_5_vl", "qwen2vl", 0, LM, "Qwen2_5_VLDecoderLayer|Qwen2_5_VLVisionBlock")              \
    X("qwen2_audio", "", 0, LM, "Qwen2DecoderLayer|Qwen2AudioEncoderLayer")                        \
    X("qwen2_moe", "qwen2moe", 0, LM, "Qwen2MoeDecoderLayer")                                      \
    X("qwen2_vl", "qwen2vl", 0, LM, "Qwen2VLDecoderLayer|Qwen2VLVisionBlock")                      \
    X("qwen3", "qwen3", 0, LM, "Qwen3DecoderLayer")                                                \
    X("qwen3_moe", "qwen3moe", 0, LM, "Qwen3MoeDecoderLayer")                                      \
    X("qwen3_next", "qwen3next", 0, LM, "Qwen3NextDecoderLayer")                                   \
    X("qwen3_vl", "qwen3vl", 0, LM, "Qwen3VLTextDecoderLayer|Qwen3VLVisionBlock")                  \
    X("qwen3_vl_moe", "qwen3vlmoe", 0, LM, "Qwen3VLMoeTextDecoderLayer|Qwen3VLMoeVisionBlock")     \
    X("roberta", "bert", 1, ROBERTA, "RobertaLayer|RobertaEmbeddings")                             \
    X("rwkv", "", 0, NONE, "RwkvBlock")                                                            \
    X("sam", "", 1, NONE, "SamVisionLayer")                                                        \
    X("siglip", "", 0, NONE, "SiglipEncoderLayer")                                                 \
    X("siglip_vision_model", "clip", 0, NONE, "SiglipEncoderLayer")                                \
    X("smollm3", "smollm3", 1, LM, "SmolLM3DecoderLayer")                                          \
    X("smolvlm", "", 0, LM, "SmolVLMEncoderLayer|LlamaDecoderLayer")                               \
    X("speech_to_text", "", 1, DECODER, "Speech2TextEncoderLayer|Speech2TextDecoderLayer")         \
    X("stablelm", "stablelm", 0, LM, "StableLmDecoderLayer")                                       \
    X("starcoder2", "starcoder2", 1, LM, "Starcoder2DecoderLayer")                                 \
    X("swin", "", 0, NONE, "SwinStage")                                                            \
    X("swinv2", "", 0, NONE, "Swinv2Stage")                                                        \
    X("switch_transformers", "", 1, SHARED, "SwitchTransformersBlock")                             \
    X("t5", "t5", 1, SHARED, "T5Block")                                                            \
    X("umt5", "t5", 1, SHARED, "UMT5Block")                                                        \
    X("vit", "", 0, NONE, "ViTLayer")                                                              \
    X("wav2vec2", "", 0, NONE, "Wav2Vec2EncoderLayer")                                             \
    X("wavlm", "", 0, NONE, "WavLMEncoderLayer")                                                   \
    X("whisper", "", 1, WHISPER, "WhisperEncoderLayer|WhisperDecoderLayer")                        \
    X("xglm", "", 1, LM, "XGLMDecoderLayer")                                                       \
    X("xlm-roberta", "bert", 1, ROBERTA, "XLMRobertaLayer|XLMRobertaEmbeddings")                   \
    X("zamba2", "", 1, LM, "Zamba2HybridLayer|Zamba2MambaDecoderLayer")                            \
    X("AutoencoderKL", "", 0, NONE, "BasicTransformerBlock|ResnetBlock2D")                         \
    X("CogVideoXTransformer3DModel", "", 0, NONE, "CogVideoXBlock")                                \
    X("FluxTransformer2DModel", "flux", 0, NONE,                                                   \
      "FluxTransformerBlock|FluxSingleTransformerBlock")                                           \
    X("HunyuanVideoTransformer3DModel", "hyvid", 0, NONE,                                          \
      "HunyuanVideoTransformerBlock|HunyuanVideoSingleTransformerBlock")                           \
    X("LTXVideoTransformer3DModel", "ltxv", 0, NONE, "LTXVideoTransformerBlock")                   \
    X("MochiTransformer3DModel", "", 0, NONE, "MochiTransformerBlock")                             \
    X("PixArtTransformer2DModel", "", 0, NONE, "BasicTransformerBlock")                            \
    X("QwenImageTransformer2DModel", "qwen_image", 0, NONE, "QwenImageTransformerBlock")           \
    X("SD3Transformer2DModel", "sd3", 0, NONE, "JointTransformerBlock")                            \
    X("SanaTransformer2DModel", "", 0, NONE, "SanaTransformerBlock")                               \
    X("UNet2DConditionModel", "", 0, NONE,                                                         \
      "BasicTransformerBlock|ResnetBlock2D|CrossAttnDownBlock2D|CrossAttnUpBlock2D|UpBlock2D")     \
    X("WanTransformer3DModel", "wan", 0, NONE, "WanTransformerBlock")

#endif
