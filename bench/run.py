# SPDX-License-Identifier: MIT
"""Run the Google Benchmark programs; writes results/op, step, epochs, predict and adapter_bank, each
.json and .md."""

import argparse
import json
import subprocess
from pathlib import Path

import common


known = {
    *("name", "real_time", "cpu_time", "time_unit", "iterations", "run_name", "run_type"),
    *("family_index", "per_family_instance_index", "repetitions", "repetition_index", "threads"),
}
units = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}


def measured(program, options):
    """Name -> seconds and counters, each benchmark in a process of its own."""
    names = subprocess.run(
        [program, "--benchmark_list_tests", f"--benchmark_filter={options.filter or '.'}"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.split()
    found = {}
    for name in names:
        command = [program, "--benchmark_format=json", f"--benchmark_filter=^{name}$"]
        command.append(f"--benchmark_min_time={options.min_time}")
        output, share = common.undisturbed(command, options.threads)
        run = json.loads(output)["benchmarks"][0]
        found[name.removesuffix("/real_time").removesuffix("/manual_time")] = {
            "seconds": run["real_time"] * units[run["time_unit"]],
            "iterations": run["iterations"],
            "share_of_others": round(share, 3),
            **{key: value for key, value in run.items() if key not in known},
        }
        print(name, f"{run['real_time']:.0f} {run['time_unit']}", f"{share:.2f}", flush=True)
    return found


def op_table(found):
    rows = []
    for name, run in found.items():
        speed = f"{run['GFLOP/s']:.1f} GFLOP/s" if "GFLOP/s" in run else f"{run['GB/s']:.1f} GB/s"
        rows.append([f"`{name}`", f"{1e6 * run['seconds']:.0f}", f"{run['items/s']:.3g}", speed])
    return common.table(["operation", "µs", "items/s", "speed"], rows)


def step_table(found):
    rows = []
    for name, run in found.items():
        model, strategy = name.split("/")
        rows.append(
            [
                model,
                strategy,
                f"{1e3 * run['seconds']:.0f}",
                f"{run['tokens/s']:.0f}",
                f"{run['GFLOP']:.1f}",
                f"{run['GFLOP/s']:.0f}",
                *(
                    f"{run[key] / 1e6:.2f}"
                    for key in ("cache_bytes", "peak_bytes", "gradient_bytes", "optimizer_bytes")
                ),
            ]
        )
    head = [
        "model",
        "strategy",
        "ms",
        "tokens/s",
        "GFLOP",
        "GFLOP/s",
        "cache, MB",
        "peak, MB",
        "gradient, MB",
        "optimizer, MB",
    ]
    return common.table(head, rows)


def predict_table(found):
    rows = []
    for name, run in found.items():
        model, adapters = name.split("/")
        all_ms, fewer_ms = 1e3 * run["all_seconds"], 1e3 * run["fewer_seconds"]
        rows.append([model, adapters, f"{all_ms:.1f}", f"{fewer_ms:.1f}", f"{run['gain']:.3f}"])
    return common.table(["model", "adapters", "ms, none dropped", "ms", "gain"], rows)


def adapter_bank_table(found):
    modes = {
        "plain": "a LoRA model of its own",
        "one": "bank, one adapter",
        "eight": "bank, 8 adapters",
        "per_sequence": "bank, 64 adapters",
        "of_512": "bank, 64 of 512 adapters",
    }
    rows, notes = [], ""
    for name, run in found.items():
        if "resident_bytes" in run:
            mb = {key: f"{run[key] / 1e6:.1f} MB" for key in run if "bytes" in key}
            notes = (
                f"\nA base of {mb['resident_bytes']} in its file: one process alone has "
                f"{mb['share_bytes_of_one']} of it, two have {mb['share_bytes_of_two']} each, of which "
                f"they changed {mb['changed_bytes']} (Pss and Private_Dirty of the mapping).\n"
            )
            continue
        for mode, words in modes.items():
            share = run.get(f"{mode}_of_one", 1.0)
            speed = run[f"{mode}_tokens/s"]
            rows.append([name.split("/")[0], words, f"{speed:.0f}", f"{100 * share:.1f} %"])
    return common.table(["model", "rows by", "tokens/s", "of one adapter"], rows) + notes


def epochs_table(found):
    rows = []
    for name, run in found.items():
        model, strategy = name.split("/")
        rows.append(
            [
                model,
                strategy,
                f"{run['tokens/s_without']:.0f}",
                f"{run['tokens/s']:.0f}",
                f"{run['gain']:.2f}",
                f"{run['first_epoch']:.2f}",
                f"{run['kept_bytes'] / 1e6:.1f}",
            ]
        )
    head = ["model", "trained", "tokens/s, nothing kept", "tokens/s", "gain", "first epoch", "kept, MB"]
    return common.table(head, rows)


pages = {
    "adapter_bank": (
        "# Many adapters over one base\n\n64 sequences of 64 tokens, fp32, LoRA on query and value of "
        "ranks 4, 8, 16 and 32 in turn, each with a head of its own; one adapter has rank 16. The modes "
        "are measured in turns; medians of speeds and of ratios. Made by bench/run.py from "
        "adapter_bank.cpp.\n\n",
        adapter_bank_table,
    ),
    "op": (
        "# Operations\n\nEvery operation of the CPU backend at the sizes of MiniLM and BERT-base, "
        "16 × 128 tokens, fp32. Names give the operation and its columns: in and out for products. "
        "GB/s counts every operand once. Made by bench/run.py from op_*.cpp.\n\n",
        op_table,
    ),
    "step": (
        "# Training steps\n\nForward, loss, backward, clipping and AdamW on 16 × 128 random "
        "tokens, fp32, dropout off, random weights. GFLOP are those of the products that the step "
        "asks for (2 n k m each) and of attention (4 · pairs of tokens · width forward, twice that "
        "backward), counted while it runs. Cache: what forward keeps for backward. Peak: the most "
        "that lay in the workspace at once. Made by bench/run.py from step.cpp.\n\n",
        step_table,
    ),
    "epochs": (
        "# Epochs after the first\n\n1024 random sentences of the lengths of SST-2's, 32 per step, fp32, "
        "dropout off: whole epochs of training with what the layers below everything trained make of "
        "the sentences kept, in turns with epochs that compute it; medians. First epoch: its time, in "
        "which the kept rows are computed, over that of one without. Made by bench/run.py from "
        "epochs.cpp.\n\n",
        epochs_table,
    ),
    "predict": (
        "# Predicting with dropped adapters\n\nForward passes on 16 × 128 random tokens, fp32, with "
        "Pfeiffer adapters of width 48 of which the lowest are dropped at run time (AdapterDrop), in "
        "turns with all of them; medians. Training without the lowest adapters is `pfeiffer_above3` in "
        "step.md. Made by bench/run.py from predict.cpp.\n\n",
        predict_table,
    ),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("programs", type=Path, help="folder of the benchmark programs")
    parser.add_argument("which", choices=pages, nargs="*", default=list(pages))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--min-time", type=float, default=0.5, help="seconds per benchmark")
    parser.add_argument("--filter", default="", help="regular expression of names")
    options = parser.parse_args()
    facts = common.machine() | {"threads": options.threads}
    for which in options.which:
        found = {}
        programs = [
            options.programs / p.stem for p in sorted(Path(__file__).parent.glob(f"{which}*.cpp"))
        ]
        for program in programs:
            found |= measured(program, options)
        common.write_json(f"{which}.json", {"machine": facts, "benchmarks": found})
        text, table = pages[which]
        (common.results / f"{which}.md").write_text(
            text + table(found) + f"\n{common.described(facts)}.\n"
        )


if __name__ == "__main__":
    main()
