# SPDX-License-Identifier: MIT
"""Time a LoRA step of graft beside PyTorch and PEFT, and the FMA roof, taking turns.

Every measurement is a process of its own. Writes results/step_cpu.json and .md.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import common

parameters = 6 * (4 * 384 * 384 + 2 * 384 * 1536)  # of the linear layers of MiniLM
tokens = 16 * 128


def last_line(command, threads):
    output, share = common.undisturbed(command, threads)
    return json.loads(output.strip().splitlines()[-1]) | {"share_of_others": share}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="folder of all-MiniLM-L6-v2")
    parser.add_argument("--programs", type=Path, required=True, help="folder of graft-bench-*")
    parser.add_argument("--peft", required=True, help="python with torch, transformers, peft")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()

    peer = [options.peft, Path(__file__).with_name("peft_step.py"), options.model]
    peer += ["--steps", options.steps, "--threads", options.threads]
    ours = [options.programs / "graft-bench-step", options.model, options.steps]
    roof = [options.programs / "graft-bench-fma-roof", options.threads]
    runs = {"off": {"peer": [], "graft": []}, "on": {"peer": [], "graft": []}}
    roofs = []
    for turn in range(options.rounds):
        for dropout, sides in runs.items():
            extra = ["--dropout"] if dropout == "on" else []
            roofs.append(last_line(roof, options.threads)["gflops"])
            sides["peer"].append(last_line(peer + extra, options.threads))
            sides["graft"].append(last_line(ours + extra, options.threads))
            print(
                turn,
                dropout,
                sides["peer"][-1]["step_seconds"],
                sides["graft"][-1]["step_seconds"],
                roofs[-1],
                flush=True,
            )

    versions = common.versions_in(options.peft, "torch", "transformers", "peft")
    facts = common.machine() | {"threads": options.threads}
    highest = max(roofs)
    work = 4 * parameters * tokens * 1e-9
    found, rows = {}, []
    for dropout, sides in runs.items():
        median = lambda side, key: statistics.median(run[key] for run in sides[side])
        found[dropout] = {}
        for side in ("peer", "graft"):
            seconds = median(side, "step_seconds")
            found[dropout][side] = {
                "step_seconds": seconds,
                "fastest_seconds": min(run["fastest_seconds"] for run in sides[side]),
                "tokens_per_second": tokens / seconds,
                "gflops": work / seconds,
                "share_of_roof": work / seconds / highest,
                "peak_bytes": median(side, "peak_bytes"),
                "rounds": [run["step_seconds"] for run in sides[side]],
                "share_of_others": [run["share_of_others"] for run in sides[side]],
            }
            f = found[dropout][side]
            name = "PyTorch + PEFT" if side == "peer" else "graft"
            rows.append(
                [
                    f"{name}, dropout {dropout}",
                    f"{1e3 * seconds:.0f}",
                    f"{1e3 * f['fastest_seconds']:.0f}",
                    f"{f['tokens_per_second']:.0f}",
                    f"{f['gflops']:.0f}",
                    f"{100 * f['share_of_roof']:.0f} %",
                    f"{f['peak_bytes'] / 1e6:.0f}",
                ]
            )
        p, g = found[dropout]["peer"], found[dropout]["graft"]
        found[dropout]["speed_ratio"] = p["step_seconds"] / g["step_seconds"]
        found[dropout]["memory_ratio"] = g["peak_bytes"] / p["peak_bytes"]
        rows.append(
            [
                "ratio",
                f"{found[dropout]['speed_ratio']:.2f} × as fast",
                "",
                "",
                "",
                "",
                f"{100 * found[dropout]['memory_ratio']:.0f} %",
            ]
        )
    kept = ("trained_parameters", "cache_bytes", "gradient_bytes", "optimizer_bytes")
    details = {key: runs["off"]["graft"][0][key] for key in kept}
    common.write_json(
        "step_cpu.json",
        {
            "machine": facts,
            "peer": versions,
            "fma_roof_gflops": highest,
            "roofs": roofs,
            "gflop_of_linear_layers": work,
            "dropout": found,
            "graft": details,
        },
    )
    head = ["", "ms per step", "fastest", "tokens/s", "GFLOP/s", "of the FMA roof", "peak MB"]
    text = (
        "# A LoRA step beside PyTorch\n\n"
        "all-MiniLM-L6-v2, LoRA with rank 8 on query and value, 16 × 128 tokens, fp32, "
        f"{options.threads} threads: forward, loss, backward, clipping, AdamW. PyTorch with SDPA "
        "attention, graft with the Eigen engine. Medians over "
        f"{options.rounds} processes of {options.steps} steps each, taking turns; the fastest "
        "step; peak memory of the process (VmHWM, imports included).\n\n"
        f"GFLOP/s counts 4 · parameters · tokens = {work:.1f} GFLOP for the linear layers of the "
        "encoder and nothing else; the roof is that of a loop of multiply-adds on registers, "
        f"{highest:.0f} GFLOP/s in the same run.\n\n"
        + common.table(head, rows)
        + f"\n{common.described(facts)}; {common.described(versions)}. "
        "Made by bench/peers/run.py.\n"
    )
    (common.results / "step_cpu.md").write_text(text)


if __name__ == "__main__":
    main()
