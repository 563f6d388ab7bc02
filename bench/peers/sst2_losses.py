# SPDX-License-Identifier: MIT
"""Compare the losses of the first 100 steps on SST-2 with those of PyTorch, PEFT and adapters.

Initial values, data order and token ids are equal, dropout is off, the rate constant. Writes
results/sst2_losses.json and .md. Runs itself with --record in the environment of the peer.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import common

methods = ("full", "lora", "houlsby")
batch, steps, longest = 16, 100, 64


def record(options):
    """The peer's side: writes the plan, prints the losses."""
    common.quiet()
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    examples = common.read_tsv(options.train)
    order = torch.randperm(len(examples))[: batch * steps].tolist()
    ids, labels = common.encode(options.model, [examples[i] for i in order], longest)
    model = common.build(options.model, options.record, dropout=False)
    rate = common.rates[options.record]
    common.write_plan(options.plan, options.record, model, ids, labels, batch, rate)

    optimizer = common.make_optimizer(model, rate)
    trained = [p for p in model.parameters() if p.requires_grad]
    losses = []
    for at in range(0, batch * steps, batch):
        inputs = common.padded(ids[at : at + batch], labels[at : at + batch])
        losses.append(common.train_step(model, inputs, optimizer, trained).item())
    print(json.dumps(losses))


def last_line(command, **environment):
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, **environment}
    )
    return json.loads(done.stdout.strip().splitlines()[-1])


def compare(options):
    record_options = ["--model", options.model, "--train", options.train]
    record_options += ["--threads", str(options.threads)]
    rows, found = [], {}
    for method in methods:
        python = options.adapters if method in common.in_adapters else options.peft
        with tempfile.TemporaryDirectory() as folder:
            plan = str(Path(folder) / "plan.safetensors")
            theirs = last_line(
                [python, __file__, "--record", method, "--plan", plan, *record_options]
            )
            ours = last_line(
                [options.program, options.model, plan], OMP_NUM_THREADS=str(options.threads)
            )["losses"]
        assert len(ours) == len(theirs) == steps
        worst = max(abs(a - b) / abs(b) for a, b in zip(ours, theirs))
        found[method] = {
            "rate": common.rates[method],
            "largest_relative_difference": worst,
            "agrees_to_1e-3": worst <= 1e-3,
            "graft": ours,
            "peer": theirs,
        }
        rows.append([method, common.rates[method], f"{theirs[0]:.6f}", f"{ours[0]:.6f}"])
        rows[-1] += [f"{theirs[-1]:.6f}", f"{ours[-1]:.6f}", f"{worst:.1e}"]
        rows[-1] += ["yes" if worst <= 1e-3 else "no"]
        print(method, worst, flush=True)
    facts = common.machine()
    peft = common.versions_in(options.peft, "torch", "transformers", "peft")
    adapters = common.versions_in(options.adapters, "torch", "transformers", "adapters")
    common.write_json(
        "sst2_losses.json",
        {"machine": facts, "full, lora": peft, "houlsby": adapters, "methods": found},
    )
    head = ["method", "rate", "peer, step 1", "graft, step 1", f"peer, step {steps}"]
    head += [f"graft, step {steps}", "largest relative difference", "within 1e-3"]
    text = (
        "# Losses beside PyTorch\n\n"
        f"all-MiniLM-L6-v2 on SST-2, {steps} steps of {batch} sentences, fp32, dropout 0, AdamW, "
        "constant rate, clipping at norm 1; equal initial values, data order and token ids. "
        "The differences are over all steps.\n\n"
        + common.table(head, rows)
        + f"\n{common.described(facts)}. Peers of full and lora: {common.described(peft)}; "
        + f"of houlsby: {common.described(adapters)}. Made by bench/peers/sst2_losses.py.\n"
    )
    (common.results / "sst2_losses.md").write_text(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="folder of all-MiniLM-L6-v2")
    parser.add_argument("--train", required=True, help="SST-2, lines text<TAB>label")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--program", help="graft-bench-step")
    parser.add_argument("--peft", help="python with torch, transformers, peft")
    parser.add_argument("--adapters", help="python with torch, transformers, adapters")
    parser.add_argument("--record", choices=methods)
    parser.add_argument("--plan")
    options = parser.parse_args()
    record(options) if options.record else compare(options)


if __name__ == "__main__":
    main()
