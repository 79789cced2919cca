#!/usr/bin/env python3
"""A language model in PyTorch and transformers, as people run one: nothing here knows of Berth.

    llm.py make FOLDER [--layers N]                    write a checkpoint of random weights
    llm.py run FOLDER RESULT [--gpu-mib N] [--tokens N]  generate from it; RESULT gets a JSON object

With --gpu-mib accelerate places the model (device_map="auto") with so much of the GPU and the rest in
host memory; without, all of it goes to the GPU. RESULT: the tokens, a hash over the bits of every token's
logits, seconds to load and for each token. Exit 77 with a reason where PyTorch has no GPU.
"""
import argparse
import hashlib
import json
import statistics
import sys
import time

try:
    import torch
    import transformers
except ImportError as error:
    print(f"llm: skipped: {error}")
    sys.exit(77)

SEED = 1
PROMPT_TOKENS = 48
WARM_TOKENS = 6  # before those that are timed
SHAPE = {"hidden_size": 2048, "intermediate_size": 5632, "num_attention_heads": 16,
         "num_key_value_heads": 4, "vocab_size": 32000, "max_position_embeddings": 2048}


def make(arguments):
    config = transformers.LlamaConfig(num_hidden_layers=arguments.layers, **SHAPE)
    torch.manual_seed(SEED)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        model = transformers.LlamaForCausalLM(config)
    model.save_pretrained(arguments.folder, max_shard_size="1GB")
    print(sum(p.numel() * p.element_size() for p in model.parameters()))


def load(arguments):
    placed = {}
    if arguments.gpu_mib:
        placed = {"device_map": "auto",
                  "max_memory": {0: arguments.gpu_mib << 20, "cpu": 1 << 40}}
    model = transformers.AutoModelForCausalLM.from_pretrained(arguments.folder,
                                                              dtype=torch.bfloat16, **placed)
    return (model if placed else model.to("cuda")).eval()


@torch.inference_mode()
def generate(model, count):
    """Greedily, a token at a time: the tokens, the hash of all logits, each token's seconds."""
    torch.manual_seed(SEED)
    tokens = torch.randint(SHAPE["vocab_size"], (1, PROMPT_TOKENS), device="cuda")
    found, seconds, digest, past = [], [], hashlib.sha256(), None
    for _ in range(count):
        start = time.perf_counter()
        out = model(input_ids=tokens, past_key_values=past, use_cache=True)
        logits, past = out.logits[:, -1:], out.past_key_values
        tokens = logits.argmax(-1).to("cuda")
        found.append(tokens.item())
        seconds.append(time.perf_counter() - start)
        digest.update(logits.float().cpu().numpy().tobytes())
    return found, digest.hexdigest(), seconds


def run(arguments):
    start = time.perf_counter()
    model = load(arguments)
    torch.cuda.synchronize()
    loaded = time.perf_counter() - start
    tokens, digest, seconds = generate(model, arguments.tokens)
    again = generate(model, PROMPT_TOKENS // 8)
    result = {"card": torch.cuda.get_device_name(), "torch": torch.__version__,
              "transformers": transformers.__version__, "tokens": tokens, "logits": digest,
              "again": again[1], "load_s": loaded, "first_token_s": seconds[0],
              "token_s": statistics.median(seconds[WARM_TOKENS:])}
    with open(arguments.result, "w", encoding="utf-8") as file:
        json.dump(result, file, indent=1)
    print(json.dumps(result))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("make")
    command.add_argument("folder")
    command.add_argument("--layers", type=int, default=24)
    command.set_defaults(work=make)
    command = commands.add_parser("run")
    command.add_argument("folder")
    command.add_argument("result")
    command.add_argument("--gpu-mib", type=int)
    command.add_argument("--tokens", type=int, default=30)
    command.set_defaults(work=run)
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("llm: skipped: PyTorch has no GPU here")
        sys.exit(77)
    arguments.work(arguments)


if __name__ == "__main__":
    main()
