# SPDX-License-Identifier: MIT
"""Time a LoRA training step of PyTorch and PEFT; prints JSON. graft_step.cpp is the counterpart."""

import argparse
import json
import os
import statistics
import time
from importlib.metadata import version

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, BertForSequenceClassification
from transformers.utils import logging

sequences, length = 16, 128


def peak_bytes():
    """The most memory this process ever had resident."""
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="folder of the model")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dropout", action="store_true", help="at the model's own rates")
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    config = AutoConfig.from_pretrained(options.model, num_labels=2)
    if not options.dropout:
        config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
    model = BertForSequenceClassification.from_pretrained(
        options.model, config=config, attn_implementation="sdpa", dtype=torch.float32
    )
    lora = LoraConfig(task_type="SEQ_CLS", r=8, lora_alpha=16, target_modules=["query", "value"])
    model = get_peft_model(model, lora).train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, weight_decay=0.01)
    ids = torch.randint(0, config.vocab_size, (sequences, length))
    mask = torch.ones_like(ids)
    labels = torch.arange(sequences) % 2

    def step():
        optimizer.zero_grad()
        loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        return loss.item()

    step()
    step()
    seconds = []
    for _ in range(options.steps):
        start = time.perf_counter()
        loss = step()
        seconds.append(time.perf_counter() - start)
    median = statistics.median(seconds)
    result = {
        "step_seconds": median,
        "fastest_seconds": min(seconds),
        "tokens_per_second": sequences * length / median,
        "peak_bytes": peak_bytes(),
        "trained_parameters": sum(p.numel() for p in trained),
        "loss": loss,
        "torch": version("torch"),
        "transformers": version("transformers"),
        "peft": version("peft"),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
