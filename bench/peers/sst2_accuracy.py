# SPDX-License-Identifier: MIT
"""Compare dev accuracies on SST-2 with those of PyTorch, PEFT and adapters, three seeds each.

Both sides: the same sentences, the model's own dropout, batches of 16 of like length, AdamW, a
linear schedule with 6 % warm-up, clipping at norm 1, the same rates and number of epochs, the
accuracy of the best epoch. Ours is graft-finetune. Writes results/sst2_accuracy.json and .md after
every run; with --resume it goes on where an earlier call with the same setting ended. Runs itself
with --train-peer in the environment of the peer.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import common

methods = ("full", "head", "lora", "houlsby", "pfeiffer", "parallel")
seeds = (1, 2, 3)
batch, longest, warmup = 16, 64, 0.06
file_name = "sst2_accuracy.json"


# --- the peer's side ---


def epoch_batches(ids, generator):
    """Shuffled; pools of 50 batches are sorted by length, cut, and the batches shuffled."""
    import torch

    order = torch.randperm(len(ids), generator=generator).tolist()
    pool = 50 * batch
    pools = [order[at : at + pool] for at in range(0, len(order), pool)]
    order = [i for p in pools for i in sorted(p, key=lambda i: -len(ids[i]))]
    batches = [order[at : at + batch] for at in range(0, len(order), batch)]
    return [batches[i] for i in torch.randperm(len(batches), generator=generator).tolist()]


def accuracy(model, ids, labels):
    import torch

    model.eval()
    order = sorted(range(len(ids)), key=lambda i: -len(ids[i]))
    hits = 0
    with torch.no_grad():
        for at in range(0, len(order), 32):
            chosen = order[at : at + 32]
            inputs = common.padded([ids[i] for i in chosen], [labels[i] for i in chosen])
            logits = model(**inputs).logits
            hits += (logits.argmax(1) == inputs["labels"]).sum().item()
    model.train()
    return hits / len(ids)


def train_peer(options):
    common.quiet()
    import torch

    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    generator = torch.Generator().manual_seed(options.seed)
    ids, labels = common.encode(
        options.model, common.read_tsv(options.train, options.examples), longest
    )
    dev = common.encode(options.model, common.read_tsv(options.dev), longest)
    model = common.build(options.model, options.train_peer, dropout=True)
    optimizer = common.make_optimizer(model, common.rates[options.train_peer])
    trained = [p for p in model.parameters() if p.requires_grad]
    steps = math.ceil(len(ids) / batch) * options.epochs
    rise = math.ceil(warmup * steps)

    def factor(step):
        return step / rise if step < rise else max(0.0, 1 - (step - rise) / max(steps - rise, 1))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    start = time.perf_counter()
    scores = []
    for _ in range(options.epochs):
        for chosen in epoch_batches(ids, generator):
            inputs = common.padded([ids[i] for i in chosen], [labels[i] for i in chosen])
            common.train_step(model, inputs, optimizer, trained)
            schedule.step()
        scores.append(accuracy(model, *dev))
    result = {"accuracy": max(scores), "seconds": time.perf_counter() - start}
    print(json.dumps(result | {"peak_bytes": common.peak_bytes()}))


# --- both ---


def run_peer(options, method, seed):
    python = options.adapters if method in common.in_adapters else options.peft
    command = [python, __file__, "--train-peer", method, "--seed", str(seed)]
    for name in ("model", "train", "dev", "examples", "epochs", "threads"):
        command += ["--" + name, str(getattr(options, name))]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def run_graft(options, method, seed):
    with tempfile.TemporaryDirectory() as folder:
        found = str(Path(folder) / "result.json")
        command = [options.program, "--strategy", method, "--seed", str(seed), "--quiet"]
        command += ["--model", options.model, "--train", options.train, "--dev", options.dev]
        command += ["--limit", str(options.examples), "--epochs", str(options.epochs)]
        command += ["--batch", str(batch), "--max-length", str(longest)]
        command += ["--lr", str(common.rates[method]), "--threads", str(options.threads)]
        command += ["--out", folder, "--json", found]
        subprocess.run(command, check=True)
        result = json.loads(Path(found).read_text())
    return {
        "accuracy": result["dev_accuracy"],
        "seconds": result["train_seconds"],
        "peak_bytes": result["peak_memory_bytes"],
    }


def mean_and_error(values):
    if len(values) < 2:
        return statistics.mean(values), float("nan")
    return statistics.mean(values), statistics.stdev(values) / math.sqrt(len(values))


def summary(runs):
    """Means over seeds, and whether the two means differ by at most two standard errors."""
    rows = {}
    for method, sides in runs.items():
        if not all(sides.values()):
            continue
        row = {}
        for side, found in sides.items():
            row[side], row[side + "_error"] = mean_and_error([r["accuracy"] for r in found])
            row[side + "_seconds"] = statistics.median(r["seconds"] for r in found)
            row[side + "_peak_bytes"] = max(r["peak_bytes"] for r in found)
        row["error_of_difference"] = math.hypot(row["graft_error"], row["peer_error"])
        difference = abs(row["graft"] - row["peer"])
        row["within_two_errors"] = difference <= 2 * row["error_of_difference"]
        rows[method] = row
    return rows


def setting(options):
    chosen = {"examples": options.examples, "epochs": options.epochs, "threads": options.threads}
    chosen |= {"batch": batch, "longest": longest, "seeds": list(seeds), "rates": common.rates}
    return chosen


def earlier_runs(options):
    file = common.results / file_name
    if options.resume and file.exists():
        found = json.loads(file.read_text())
        if found["setting"] == setting(options):
            return found["runs"]
    return {method: {"peer": [], "graft": []} for method in methods}


def write(options, facts, peers, runs):
    rows = summary(runs)
    common.write_json(
        file_name,
        {"machine": facts, **peers, "setting": setting(options), "summary": rows, "runs": runs},
    )
    head = ["method", "peer: accuracy", "graft: accuracy", "difference", "2 × its error", "within"]
    head += ["peer: MB", "graft: MB"]
    lines = []
    for method, r in rows.items():
        cells = [f"{100 * r[s]:.2f} ± {100 * r[s + '_error']:.2f}" for s in ("peer", "graft")]
        cells += [f"{100 * (r['graft'] - r['peer']):+.2f}"]
        cells += [f"{200 * r['error_of_difference']:.2f}"]
        cells += ["yes" if r["within_two_errors"] else "no"]
        for side in ("peer", "graft"):
            cells.append(f"{r[side + '_peak_bytes'] / 1e6:.0f}")
        lines.append([method, *cells])
    text = (
        "# Accuracy beside PyTorch\n\n"
        f"all-MiniLM-L6-v2 on SST-2: {options.examples} training sentences, {options.epochs} "
        f"epochs, the whole dev set, the model's own dropout, {len(seeds)} seeds each. Percent, "
        "mean ± standard error over the seeds; peak memory of the process.\n\n"
        + common.table(head, lines)
        + f"\n{common.described(facts)}. Peers of full, head, lora: "
        + f"{common.described(peers['full, head, lora'])}; of the others: "
        + f"{common.described(peers['houlsby, pfeiffer, parallel'])}. "
        + "Made by bench/peers/sst2_accuracy.py.\n"
    )
    (common.results / "sst2_accuracy.md").write_text(text)


def compare(options):
    facts = common.machine()
    peers = {
        "full, head, lora": common.versions_in(options.peft, "torch", "transformers", "peft"),
        "houlsby, pfeiffer, parallel": common.versions_in(
            options.adapters, "torch", "transformers", "adapters"
        ),
    }
    runs = earlier_runs(options)
    for seed in seeds:
        for method in methods:
            for side, run in (("peer", run_peer), ("graft", run_graft)):
                if any(r["seed"] == seed for r in runs[method][side]):
                    continue
                found = run(options, method, seed)
                runs[method][side].append({"seed": seed, **found})
                print(method, seed, side, found, flush=True)
                write(options, facts, peers, runs)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="folder of all-MiniLM-L6-v2")
    parser.add_argument("--train", required=True, help="SST-2, lines text<TAB>label")
    parser.add_argument("--dev", required=True)
    parser.add_argument("--examples", type=int, default=2000, help="of the training file")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--program", help="graft-finetune")
    parser.add_argument("--peft", help="python with torch, transformers, peft")
    parser.add_argument("--adapters", help="python with torch, transformers, adapters")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--train-peer", choices=sorted(common.rates))
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    train_peer(options) if options.train_peer else compare(options)


if __name__ == "__main__":
    main()
