# SPDX-License-Identifier: MIT
"""Time training steps of graft on a GPU beside PyTorch and PEFT, in turns.

Every turn is a process of each side, which times all cases one after the other. Writes results/step_gpu.json
and .md. With --device cpu both sides compute on the CPU, and nothing is written but below --out: a trial of the
scripts, at --models tiny.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

here = Path(__file__).resolve().parent
sys.path.insert(0, str(here.parent))
import common

lengths = here / "sst2_lengths.txt"
names = {"eager": "PyTorch + PEFT", "compile": "… compiled", "graphs": "… compiled, CUDA graphs"}


def lines_of(command):
    """What a program says, as it says it."""
    found = []
    with subprocess.Popen([str(w) for w in command], stdout=subprocess.PIPE, text=True) as run:
        for line in run.stdout:
            if line.startswith("{"):
                found.append(json.loads(line))
                f = found[-1]
                print(
                    f["side"], f["model"], f["tuning"], f["shape"], f["precision"],
                    f"{1e3 * f['step_seconds']:.3f} ms", f"{f['tokens_per_second']:.0f} tokens/s",
                    f"{f['peak_bytes'] / 1e6:.0f} MB", flush=True,
                )  # fmt: skip
    if run.returncode != 0:
        raise SystemExit(f"{command[0]}: ended with {run.returncode}")
    return found


def medians(runs):
    """The lines of one case and side, of all turns, as one."""
    merged = dict(runs[0])
    for key in ("step_seconds", "tokens_per_second", "peak_bytes"):
        merged[key] = statistics.median(run[key] for run in runs)
    merged["fastest_seconds"] = min(run["fastest_seconds"] for run in runs)
    merged["turns"] = [run["step_seconds"] for run in runs]
    return merged


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", required=True, help="graft-bench-gpu-step")
    parser.add_argument("--peft", default=sys.executable, help="python with torch and peft")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--precision", default="bf16", choices=("bf16", "f32"))
    parser.add_argument("--models", default="minilm,bert_base")
    parser.add_argument("--tunings", default="lora,frozen,head,houlsby,full", help="of graft")
    parser.add_argument("--peer-tunings", default="lora", help="… of the peer")
    parser.add_argument("--shapes", default="32x128,64x512,32xsst2")
    parser.add_argument("--modes", default="eager,compile", help="of the peer: with graphs, too")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--warm-up", type=int, default=10)
    parser.add_argument("--dropout", default="0")
    parser.add_argument("--out", type=Path, default=common.results)
    options = parser.parse_args()
    if options.device == "cpu" and options.out == common.results:
        parser.error("--out: results of a CPU are no results of a GPU: expected another folder")

    shared = ["--warm-up", options.warm_up, "--rounds", options.rounds, "--steps", options.steps]
    shared += ["--lengths", lengths, "--dropout", options.dropout]
    cases = lambda tunings: [f"{t}:{s}" for s in options.shapes.split(",") for t in tunings.split(",")]
    precision = options.precision if options.device == "cuda" else "f32"
    runs = {}
    for _ in range(options.turns):
        for model in options.models.split(","):
            ours = [options.program, "--model", model, "--precision", precision, *shared]
            theirs = [options.peft, here / "peft_gpu.py", "--model", model, "--device"]
            theirs += [options.device, "--precision", precision, "--modes", options.modes, *shared]
            found = lines_of(ours + cases(options.tunings))
            found += lines_of(theirs + cases(options.peer_tunings))
            for f in found:
                runs.setdefault((f["model"], f["shape"], f["tuning"]), {}).setdefault(
                    f["side"], []
                ).append(f)

    results, rows = [], []
    for (model, shape, tuning), sides in runs.items():
        best = {side: medians(lines) for side, lines in sides.items()}
        peers = {side: f for side, f in best.items() if side != "graft"}
        entry = {"model": model, "shape": shape, "tuning": tuning, "sides": best}
        if peers and "graft" in best:
            fastest = min(peers.values(), key=lambda f: f["step_seconds"])
            leanest = min(peers.values(), key=lambda f: f["peak_bytes"])
            entry["speed_ratio"] = fastest["step_seconds"] / best["graft"]["step_seconds"]
            entry["memory_ratio"] = best["graft"]["peak_bytes"] / leanest["peak_bytes"]
        over_frozen = runs.get((model, shape, "frozen"), {}).get("graft")
        if tuning == "lora" and over_frozen:
            base = medians(over_frozen)["step_seconds"]
            entry["over_frozen"] = best["graft"]["step_seconds"] / base - 1
        results.append(entry)
        for side, f in best.items():
            row = [
                model,
                shape,
                tuning,
                names.get(side, side),
                f"{1e3 * f['step_seconds']:.3f}",
                f"{f['tokens_per_second']:.0f}",
                f"{f['peak_bytes'] / 1e6:.0f}",
            ]
            of_graft = side == "graft"
            row.append(f"{entry['speed_ratio']:.2f} ×" if of_graft and peers else "")
            row.append(f"{100 * entry['memory_ratio']:.0f} %" if of_graft and peers else "")
            over = of_graft and "over_frozen" in entry
            row.append(f"{100 * entry['over_frozen']:+.1f} %" if over else "")
            rows.append(row)

    first = next(iter(next(iter(runs.values())).values()))[0]
    facts = {k: v for k, v in common.machine().items() if k not in ("flags", "eigen")}
    facts |= {"device": first["device"], "driver": common.gpu_driver(), "precision": precision}
    versions = common.versions_in(options.peft, "torch", "transformers", "peft")
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "step_gpu.json").write_text(
        json.dumps({"machine": facts, "peer": versions, "cases": results}, indent=2) + "\n"
    )
    head = ["model", "shape", "tuning", "", "ms per step", "tokens/s", "peak MB",
            "of the faster peer", "of the leaner peer's memory", "over frozen"]  # fmt: skip
    text = (
        "# Training steps on a GPU beside PyTorch\n\n"
        "Forward, loss, backward, clipping, AdamW; random weights and tokens, dropout "
        f"{options.dropout}. graft: `graft::training::advance` over packed batches made on the host while it "
        "runs; frozen weights and activations in the precision below, what is trained in fp32. PyTorch: SDPA, "
        "the base in that precision, what is trained in fp32, autocast; batches made beforehand; SST-2's "
        "sequences sorted by length, padded per batch, tokens counted without padding. `frozen` goes LoRA's way "
        f"back with nothing on it. Medians of {options.rounds} rounds of {options.steps} steps (fewer of slow ones), waited for at the "
        f"end of a round, then of {options.turns} processes, taking turns. Memory: what tensors had at most "
        "(PyTorch: max_memory_allocated, in which cuBLAS's workspace counts too).\n\n"
        + common.table(head, rows)
        + f"\n{common.described(facts)}; {common.described(versions)}. Made by bench/peers/run_gpu.py.\n"
    )
    (options.out / "step_gpu.md").write_text(text)


if __name__ == "__main__":
    main()
