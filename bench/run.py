# SPDX-License-Identifier: MIT
"""Run the Google Benchmark programs; writes results/op.json, results/step.json and tables."""

import argparse
import json
import os
import subprocess
from pathlib import Path

import common


def measured(program, options):
    """Name -> seconds and counters, of one program's benchmarks."""
    command = [str(program), "--benchmark_format=json", f"--benchmark_min_time={options.min_time}"]
    if options.filter:
        command.append(f"--benchmark_filter={options.filter}")
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    per_second = {"ns": 1e9, "us": 1e6, "ms": 1e3, "s": 1.0}
    known = {
        "name",
        "real_time",
        "cpu_time",
        "time_unit",
        "iterations",
        "run_name",
        "run_type",
        "family_index",
        "per_family_instance_index",
        "repetitions",
        "repetition_index",
        "threads",
    }
    found = {}
    for run in json.loads(done.stdout)["benchmarks"]:
        counters = {key: value for key, value in run.items() if key not in known}
        seconds = run["real_time"] / per_second[run["time_unit"]]
        found[run["name"].removesuffix("/real_time")] = {
            "seconds": seconds,
            "iterations": run["iterations"],
            **counters,
        }
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
                    for key in ("cache_bytes", "gradient_bytes", "optimizer_bytes")
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
        "gradient, MB",
        "optimizer, MB",
    ]
    return common.table(head, rows)


pages = {
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
        "backward), counted while it runs. Cache: what forward keeps for backward. Made by "
        "bench/run.py from step.cpp.\n\n",
        step_table,
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
