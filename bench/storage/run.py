# SPDX-License-Identifier: MIT
"""Compare the storages of frozen weights on SST-2: dev accuracies of LoRA, and bytes, three seeds each.

Writes results/storage.json and .md; with --storages only those are measured, and the others keep what is there.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

here = Path(__file__).resolve().parent
sys.path.insert(0, str(here.parent))
import common

# The program's names, and the report's where they differ.
storages = {"f32": "f32", "bf16": "bf16", "int8": "int8", "int8-inputs": "int8, inputs too", "nf4": "nf4"}
seeds = (1, 2, 3)


def error_of(values):
    """The standard error of a mean."""
    return statistics.stdev(values) / len(values) ** 0.5


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", type=Path, required=True, help="graft-bench-storage")
    parser.add_argument("--model", required=True, help="folder of all-MiniLM-L6-v2")
    parser.add_argument("--train", required=True, help="SST-2, lines text<TAB>label")
    parser.add_argument("--dev", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--storages", type=lambda text: text.split(","), default=list(storages))
    options = parser.parse_args()

    facts = common.machine() | {"threads": options.threads}
    runs = {storage: [] for storage in options.storages}
    if set(storages) - set(runs):
        before = json.loads((common.results / "storage.json").read_text())
        if before["machine"] | {"date": facts["date"]} != facts:
            raise SystemExit("--storages: the results there are of another machine")
        runs = {s: runs[s] if s in runs else before["runs"][s] for s in storages}
    for seed in seeds:
        for storage in options.storages:
            command = [options.program, storage, options.model, options.train, options.dev, seed]
            output, share = common.undisturbed(command, options.threads, 1, 1)
            run = json.loads(output) | {"seed": seed, "share_of_others": share}
            runs[storage].append(run)
            print(storage, seed, run, flush=True)

    plain = [100 * run["accuracy"] for run in runs["f32"]]
    rows = []
    for storage, found in runs.items():
        accuracies = [100 * run["accuracy"] for run in found]
        apart = statistics.mean(accuracies) - statistics.mean(plain)
        error = (error_of(accuracies) ** 2 + error_of(plain) ** 2) ** 0.5
        verdict = "" if storage == "f32" else f"{apart:+.2f} ({abs(apart) / error:.1f} standard errors)"
        size = f"{found[0]['frozen_bytes'] / 1e6:.1f}" if found[0]["frozen_bytes"] else "mapped file"
        rows.append(
            [storages[storage], f"{statistics.mean(accuracies):.2f} ± {error_of(accuracies):.2f}", verdict, size]
        )
    common.write_json("storage.json", {"machine": facts, "runs": runs})
    head = ["frozen weights", "dev accuracy, %", "against f32", "their MB"]
    (common.results / "storage.md").write_text(
        "# Storages of frozen weights\n\n"
        "MiniLM on SST-2 (6920 sentences, 3 epochs, batches of 16, AdamW 1e-3, the model's own dropout): LoRA of rank 8 "
        "on query and value over frozen weights in each format; dev accuracy of the best epoch, mean and standard error "
        f"of seeds {', '.join(map(str, seeds))}. The word table stays in the mapped file.\n\n"
        + common.table(head, rows)
        + f"\n{common.described(facts)}. Made by bench/storage/run.py.\n"
    )


if __name__ == "__main__":
    main()
