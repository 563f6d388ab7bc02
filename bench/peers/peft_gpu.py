# SPDX-License-Identifier: MIT
"""Time training steps of PyTorch, transformers and PEFT; a line of JSON per case.

bench/gpu/step.cpp is the counterpart and has the same cases, models, tunings and lengths. What is done here:
SDPA attention; with --precision bf16 the base in bf16, what is trained in fp32, under bf16 autocast; AdamW
(fused on a GPU), clipping at norm 1; nothing in a step waits for the device. Fixed shapes have no mask. With
the lengths of SST-2, sequences of like length share a batch and each batch is padded to its longest, rounded up
to 8 tokens; batches come in random order.
"""

import argparse
import gc
import json
import random
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import common

common.quiet()

import torch
from peft import LoraConfig, get_peft_model
from torch import nn
from transformers import BertConfig, BertForSequenceClassification

sizes = {
    "minilm": {"hidden_size": 384, "num_hidden_layers": 6, "intermediate_size": 1536},
    "bert_base": {},
    "tiny": {
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 128,
        "vocab_size": 1000,
    },
}


class Bottleneck(nn.Module):
    """h + U silu(D h), behind a sub-layer's dropout."""

    def __init__(self, dropout, width):
        super().__init__()
        self.dropout = dropout
        self.down = nn.Linear(width, 48)
        self.up = nn.Linear(48, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, h):
        h = self.dropout(h)
        return h + self.up(nn.functional.silu(self.down(h)))


def load(options):
    torch.manual_seed(1)
    rates = {"hidden_dropout_prob": options.dropout, "attention_probs_dropout_prob": options.dropout}
    if options.model in sizes:
        config = BertConfig(num_labels=2, **sizes[options.model], **rates)
        config._attn_implementation = "sdpa"
        return BertForSequenceClassification(config)
    return BertForSequenceClassification.from_pretrained(
        options.model, num_labels=2, attn_implementation="sdpa", dtype=torch.float32, **rates
    )


def tuned(options, tuning):
    model = load(options)
    if tuning != "full":
        model.requires_grad_(False)
    if tuning == "lora":
        lora = LoraConfig(
            task_type="SEQ_CLS", r=8, lora_alpha=16, target_modules=["query", "value"]
        )
        model = get_peft_model(model, lora)
    elif tuning == "frozen":  # LoRA's way back with nothing on it
        attention = model.bert.encoder.layer[0].attention.self
        attention.query.bias.requires_grad_(True)
        attention.value.bias.requires_grad_(True)
    elif tuning == "houlsby":
        for layer in model.bert.encoder.layer:
            for output in (layer.attention.output, layer.output):
                output.dropout = Bottleneck(output.dropout, model.config.hidden_size)
    if tuning in ("frozen", "head", "houlsby"):
        model.classifier.requires_grad_(True)
    for parameter in model.parameters():
        if options.precision == "bf16" and not parameter.requires_grad:
            parameter.data = parameter.data.to(torch.bfloat16)
    return model.to(options.device).train()


def batches_of(options, shape, vocabulary):
    """Batches in memory that the device can copy from, and how many tokens of texts each has."""
    batch, length = shape.split("x")
    batch, steps = int(batch), options.warm_up + 1 + options.rounds * options.steps
    generator = torch.Generator().manual_seed(1)
    pinned = options.device == "cuda"

    def made(lengths):
        longest = max(lengths)
        if length == "sst2":
            longest = (longest + 7) // 8 * 8
        inputs = {
            "input_ids": torch.randint(0, vocabulary, (batch, longest), generator=generator),
            "labels": torch.arange(batch) % 2,
        }
        if length == "sst2":
            inputs["attention_mask"] = (
                torch.arange(longest)[None, :] < torch.tensor(lengths)[:, None]
            ).long()
        if pinned:
            inputs = {name: tensor.pin_memory() for name, tensor in inputs.items()}
        return inputs, sum(lengths)

    if length != "sst2":
        return [made([int(length)] * batch) for _ in range(min(steps, 8))]
    lengths = sorted(common.drawn_lengths(options.lengths, batch * steps))
    batches = [made(lengths[i : i + batch]) for i in range(0, len(lengths), batch)]
    random.Random(1).shuffle(batches)
    return batches


def measured(options, mode, tuning, shape):
    on_gpu = options.device == "cuda"
    wait = torch.cuda.synchronize if on_gpu else lambda: None
    torch._dynamo.reset()  # what was compiled before holds a model
    gc.collect()
    if on_gpu:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    model = tuned(options, tuning)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, weight_decay=0.01, fused=on_gpu)
    batches = batches_of(options, shape, model.config.vocab_size)
    network = model
    if mode == "compile":
        network = torch.compile(model)
    elif mode == "graphs":
        network = torch.compile(model, mode="reduce-overhead")
    autocast = torch.autocast(
        options.device, dtype=torch.bfloat16, enabled=options.precision == "bf16"
    )

    def step(number):
        inputs, _ = batches[number % len(batches)]
        inputs = {k: v.to(options.device, non_blocking=True) for k, v in inputs.items()}
        if mode == "graphs":
            torch.compiler.cudagraph_mark_step_begin()
        return common.train_step(network, inputs, optimizer, trained, autocast)

    start = time.perf_counter()
    for number in range(options.warm_up):
        step(number)
    wait()
    first = time.perf_counter() - start
    if shape.endswith("sst2") and mode != "eager":  # every shape that comes is compiled before it is timed
        for number in range(len(batches)):
            step(number)
        wait()
    start = time.perf_counter()
    step(options.warm_up)
    wait()
    steps = max(1, min(int(0.25 / (time.perf_counter() - start)), options.steps))
    seconds, tokens, number = [], 0, options.warm_up + 1
    for _ in range(options.rounds):
        start = time.perf_counter()
        for _ in range(steps):
            loss = step(number)
            tokens += batches[number % len(batches)][1]
            number += 1
        wait()
        seconds.append((time.perf_counter() - start) / steps)
    if on_gpu:
        peak = torch.cuda.max_memory_allocated() - before
        free, total = torch.cuda.mem_get_info()
        used, device = total - free, torch.cuda.get_device_name()
    else:
        peak, used, device = common.peak_bytes(), 0, "cpu"
    return {
        "device": device,
        "precision": options.precision,
        "step_seconds": statistics.median(seconds),
        "fastest_seconds": min(seconds),
        "slowest_seconds": max(seconds),
        "tokens_per_second": tokens / options.rounds / steps / statistics.median(seconds),
        "warm_up_seconds": first,
        "peak_bytes": peak,
        "device_used_bytes": used,
        "trained_parameters": sum(p.numel() for p in trained),
        "loss": loss.item(),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="+", help="TUNING:SHAPE, as of graft-bench-gpu-step")
    parser.add_argument("--model", default="minilm", help="minilm, bert_base, tiny or a folder")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--precision", default="bf16", choices=("bf16", "f32"))
    parser.add_argument(
        "--modes",
        default="eager,compile",
        help="of eager, compile (torch.compile), graphs (its mode reduce-overhead)",
    )
    parser.add_argument("--lengths", help='file of lines "tokens count", for 32xsst2')
    parser.add_argument("--warm-up", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--dropout", type=float, default=0.0)
    options = parser.parse_args()

    torch.backends.cuda.matmul.allow_tf32 = False
    versions = common.versions("torch", "transformers", "peft")
    for mode in options.modes.split(","):
        for case in options.cases:
            tuning, shape = case.split(":")
            line = {"side": mode, "model": options.model, "tuning": tuning, "shape": shape}
            line |= measured(options, mode, tuning, shape)
            print(json.dumps(line | versions), flush=True)


if __name__ == "__main__":
    main()
