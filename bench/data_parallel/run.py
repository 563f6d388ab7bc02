# SPDX-License-Identifier: MIT
"""What training in several processes costs: bytes per step, measured sums and steps, predictions.

Writes results/data_parallel.json and .md. Takes about four minutes on a quiet machine.

Each of N processes trains a copy of the model on 16 x 128 tokens per step, and the gradients of the n
trained parameters, 4 bytes each, are added up once per optimizer step, after backward. Adding up V
bytes in N processes means that each of them sends and receives at least

    2 (N - 1) / N * V                                     (Patarasu and Yuan 2009)

which a ring does in 2 (N - 1) messages of V / N bytes, one after another. With a latency of a seconds
per message and a bandwidth of b bytes per second in each direction

    sum(N) = 2 (N - 1) (a k + V / (N b))                  (Thakur, Rabenseifner and Gropp 2005)

in k pieces, as mpi_group cuts large sums. Small sums need fewer messages than that. If a step takes t
seconds in one process, the share of N processes that is left for training is

    efficiency(N) = t / (t + sum(N)).

P. Patarasu, X. Yuan: Bandwidth optimal all-reduce algorithms for clusters of workstations. Journal of
Parallel and Distributed Computing 69(2), 2009. R. Thakur, R. Rabenseifner, W. Gropp: Optimization of
collective communication operations in MPICH. International Journal of High Performance Computing
Applications 19(1), 2005.
"""

import argparse
import json
import math
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import common

models = {"minilm": "MiniLM-L6", "bert_base": "BERT-base"}
strategies = ("full", "lora_query_value", "pfeiffer", "bitfit", "prompt")
# Latency, seconds: TCP over Ethernet, a fast Ethernet, remote memory access.
networks = {"1 Gbit/s": (50e-6, 1e9 / 8), "10 Gbit/s": (20e-6, 1e10 / 8), "100 Gbit/s": (2e-6, 1e11 / 8)}
counts = (1, 2, 4, 8, 16, 32, 64)
piece = 4 * 2**20  # bytes that mpi_group sums at once
measured_pairs = [("minilm", s) for s in strategies]
measured_pairs += [("bert_base", "full"), ("bert_base", "lora_query_value")]


def wire_bytes(gradient_bytes, processes):
    return 2 * (processes - 1) / processes * gradient_bytes


def sum_seconds(gradient_bytes, processes, latency, bandwidth):
    messages = 2 * (processes - 1) * math.ceil(gradient_bytes / piece)
    return latency * messages + wire_bytes(gradient_bytes, processes) / bandwidth


def efficiency(step_seconds, gradient_bytes, processes, latency, bandwidth):
    return step_seconds / (step_seconds + sum_seconds(gradient_bytes, processes, latency, bandwidth))


def run(options, processes, threads, words):
    command = [options.mpirun, "-n", str(processes), "--bind-to", "none", "--oversubscribe"]
    output, share = common.undisturbed([*command, options.program, *words], threads, tries=3)
    found = json.loads(output)
    print(processes, "x", threads, *words, found, f"{share:.2f}", flush=True)
    return found, round(share, 3)


def time_step(options, processes, threads, model, strategy):
    steps = 4 if model == "minilm" else 1
    found, share = run(options, processes, threads, ["step", model, strategy, str(steps)])
    return found | {"threads": threads, "share_of_others": share}


def measure(options):
    sums, share = run(options, 2, 1, ["sum"])
    cores = os.cpu_count()
    steps = {}
    for model in models:
        for strategy in strategies:
            steps[f"{model}/{strategy}"] = time_step(options, 1, cores, model, strategy)
    pairs = {
        f"{model}/{strategy}": {
            "one": time_step(options, 1, 1, model, strategy),
            "two": time_step(options, 2, 1, model, strategy),
        }
        for model, strategy in measured_pairs
    }
    return {"sums": sums, "sums_share_of_others": share, "steps": steps, "pairs": pairs}


def predicted(steps):
    return {
        name: {
            network: {
                n: efficiency(step["step_seconds"], step["gradient_bytes"], n, *facts)
                for n in counts
            }
            for network, facts in networks.items()
        }
        for name, step in steps.items()
    }


def amount(number, unit=""):
    for prefix, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {prefix}{unit}".rstrip()
    return f"{number:.3g} {unit}".rstrip()


def titled(name):
    model, strategy = name.split("/")
    return [models[model], f"`{strategy}`"]


def byte_table(steps):
    rows = []
    for name, step in steps.items():
        gradient, full = step["gradient_bytes"], steps[name.split("/")[0] + "/full"]
        rows.append(
            [
                *titled(name),
                amount(gradient / 4),
                *(amount(wire_bytes(gradient, n), "B") for n in (2, 8, 64)),
                f"{full['gradient_bytes'] / gradient:.0f}",
                f"{1e3 * step['step_seconds']:.0f}",
            ]
        )
    head = ["model", "strategy", "trained", "2 processes", "8", "64", "times less than full", "step, ms"]
    return common.table(head, rows)


def sum_table(sums):
    rows = [
        [amount(s["bytes"], "B"), f"{1e6 * s['seconds']:.1f}", f"{s['bytes'] / s['seconds'] / 1e9:.2f}"]
        for s in sums
    ]
    return common.table(["gradient", "µs", "GB/s"], rows)


def pair_table(pairs):
    rows = []
    for name, pair in pairs.items():
        one, two = pair["one"]["step_seconds"], pair["two"]["step_seconds"]
        rows.append(
            [
                *titled(name),
                f"{1e3 * one:.0f}",
                f"{1e3 * two:.0f}",
                f"{1e3 * pair['two']['sum_seconds']:.1f}",
                f"{2 * one / two:.2f}",
                f"{100 * one / two:.0f}",
            ]
        )
    head = ["model", "strategy", "1 process, ms", "2 processes, ms", "of it sum and waiting, ms"]
    return common.table([*head, "tokens/s, times", "efficiency, %"], rows)


def prediction_table(found, network):
    rows = [
        [*titled(name), *(f"{100 * of[network][n]:.4g}" for n in counts)] for name, of in found.items()
    ]
    return common.table(["model", "strategy", *(f"N = {n}" for n in counts)], rows)


def write(facts, found):
    efficiencies = predicted(found["steps"])
    stated = {n: {"latency": a, "bytes_per_second": b} for n, (a, b) in networks.items()}
    common.write_json(
        "data_parallel.json",
        {"machine": facts, **found, "networks": stated, "efficiency": efficiencies},
    )
    text = (
        "# Training in several processes\n\n"
        "Each process takes 16 × 128 random tokens per step, fp32, dropout off, random weights; gradients "
        "are added up by `mpi_group` after backward. What is not trained is never sent.\n\n"
        "## Bytes\n\nWhat each process sends, and receives, per step: 2 (N − 1) / N times 4 bytes per "
        f"trained parameter. The step is that of one process on {os.cpu_count()} cores.\n\n"
        + byte_table(found["steps"])
        + "\n## Sums, measured\n\n`mpi_group::sum` in two processes through shared memory, medians; GB/s "
        "are bytes of the gradient per second.\n\n"
        + sum_table(found["sums"])
        + "\n## Steps, measured\n\nOne process of one thread beside two, each with a batch of its own. The "
        "sum includes waiting for the slower process.\n\n"
        + pair_table(found["pairs"])
        + "\n## Efficiency, predicted\n\nt / (t + 2 (N − 1) (a k + V / (N b))) in percent: t the step of the "
        "first table, V its gradient in k pieces of 4 MB, a the latency, b the bandwidth; nothing is sent "
        "while backward runs. Ring: Thakur et al. 2005, Patarasu and Yuan 2009.\n"
    )
    for network, (latency, _) in networks.items():
        text += f"\n{network}, {1e6 * latency:.0f} µs:\n\n" + prediction_table(efficiencies, network)
    text += f"\n{common.described(facts)}. Made by bench/data_parallel/run.py.\n"
    (common.results / "data_parallel.md").write_text(text)


def mpi_version(mpirun):
    done = subprocess.run([mpirun, "--version"], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[0].replace("mpirun ", "").replace("(", "").replace(")", "")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", type=Path, help="graft-bench-data-parallel")
    parser.add_argument("--mpirun", default="mpirun")
    options = parser.parse_args()
    if os.geteuid() == 0:  # Open MPI asks twice
        os.environ["OMPI_ALLOW_RUN_AS_ROOT"] = os.environ["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1"
    facts = common.machine() | {"mpi": mpi_version(options.mpirun)}
    write(facts, measure(options))


if __name__ == "__main__":
    main()
