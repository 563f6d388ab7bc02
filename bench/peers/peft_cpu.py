# SPDX-License-Identifier: MIT
"""Train a classifier through the steps of a plan with PyTorch and PEFT or adapters; prints a line of JSON.

bench/peers/step.cpp is the counterpart: same plan, same line. What is done here: SDPA attention, no mask where
all sequences are as long, else each batch padded to its longest; AdamW (fused), clipping at norm 1; with
--precision bf16 under autocast; with --compile through torch.compile, every batch once before steps are timed.
--bucketed sorts what comes behind the first --warm-up steps by length. `write` makes the plans.
"""

import argparse
import json
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import common

batch, rate = 16, 1e-4


def base_of(folder):
    """BERT-base with random weights, where the folder has no checkpoint."""
    from transformers import BertConfig, BertModel

    if not Path(folder, "config.json").exists():
        BertModel(BertConfig()).save_pretrained(folder)


def lengths_of(shape, steps):
    if shape == "sst2":
        lengths = common.drawn_lengths(Path(__file__).with_name("sst2_lengths.txt"), batch * steps)
        random.Random(1).shuffle(lengths)
        return lengths
    return [int(shape)] * (batch * steps)


def write(options):
    import torch

    torch.manual_seed(1)
    base_of(options.model)
    for method in options.methods.split(","):
        model = common.build(options.model, method, dropout=False)
        for shape, steps in (word.split(":") for word in options.shapes.split(",")):
            draw = random.Random(2)
            draw_id = lambda: draw.randrange(model.config.vocab_size)
            ids = [[draw_id() for _ in range(n)] for n in lengths_of(shape, int(steps))]
            labels = [i % 2 for i in range(len(ids))]
            path = Path(options.write, f"{method}-{shape}")
            common.write_plan(path, method, model, ids, labels, batch, rate)


def batches_of(options, ids, labels, size):
    order = list(range(len(ids)))
    if options.bucketed:
        warm = options.warm_up * size
        order[warm:] = sorted(order[warm:], key=lambda i: len(ids[i]))
    chosen = [order[at : at + size] for at in range(0, len(order), size)]
    if options.bucketed:
        rest = chosen[options.warm_up :]
        random.Random(1).shuffle(rest)
        chosen[options.warm_up :] = rest
    batches = []
    for members in chosen:
        runs = [ids[i] for i in members]
        inputs = common.padded(runs, [labels[i] for i in members])
        if min(map(len, runs)) == max(map(len, runs)):
            del inputs["attention_mask"]
        batches.append((inputs, sum(map(len, runs))))
    return batches


def train(options):
    import torch

    torch.set_num_threads(options.threads)
    torch.manual_seed(1)
    model = common.build(options.model, options.method, dropout=False)
    ids, labels, size, learning_rate = common.read_plan(options.plan, model)
    optimizer = common.make_optimizer(model, learning_rate, fused=True)
    trained = [p for p in model.parameters() if p.requires_grad]
    batches = batches_of(options, ids, labels, size)
    network = torch.compile(model) if options.compile else model
    autocast = torch.autocast("cpu", dtype=torch.bfloat16, enabled=options.precision == "bf16")

    def step(inputs):
        return common.train_step(network, inputs, optimizer, trained, autocast).item()

    losses, seconds, first_step = [], [], 0
    for number, (inputs, _) in enumerate(batches):
        if options.compile and number == options.warm_up:
            for others, _ in batches[number:]:
                step(others)
        start = time.perf_counter()
        losses.append(step(inputs))
        seconds.append(time.perf_counter() - start)
        first_step = first_step or common.seconds_since_start()
    result = {
        "losses": losses,
        "seconds": seconds,
        "tokens": [tokens for _, tokens in batches],
        "first_step_seconds": first_step,
        "peak_bytes": common.peak_bytes(),
        "trained_parameters": sum(p.numel() for p in trained),
        "padded_tokens": [inputs["input_ids"].numel() for inputs, _ in batches],
    }
    print(json.dumps(result))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="folder of the model; of BERT-base, which `write` fills if it is empty")
    parser.add_argument("--plan")
    parser.add_argument("--method", help="the plan's")
    parser.add_argument("--precision", default="f32", choices=("f32", "bf16"))
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--bucketed", action="store_true")
    parser.add_argument("--warm-up", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--write", help="folder to write plans METHOD-LENGTHS to, and nothing else")
    parser.add_argument("--methods")
    parser.add_argument("--shapes", help="LENGTHS:STEPS,…; lengths: a number, or sst2")
    options = parser.parse_args()
    common.quiet()
    write(options) if options.write else train(options)


if __name__ == "__main__":
    main()
