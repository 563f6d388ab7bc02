# SPDX-License-Identifier: MIT
"""Every strategy of graft-finetune on SST-2, three seeds each, some beside PyTorch + PEFT or adapters.

The setting is sst2_accuracy.py's, whose runs are taken over; rates are common.rates, elsewhere the
program's own. Writes results/sst2_methods.json and .md after every run; called again, it goes on.
Accuracies do not mind a busy machine, seconds do: `--timing` trains each strategy once more, for one
epoch of 400 sentences, one after another in quiet moments.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import common
import sst2_accuracy as base

file_name = "sst2_methods.json"
beside = ("full", "head", "lora", "dora", "ia3", "prompt", "prefix", "houlsby", "pfeiffer")
beside += ("parallel", "compacter")


def strategies(program):
    """The names that the program's help lists, in its order."""
    help_text = subprocess.run([program, "--help"], stdout=subprocess.PIPE, text=True).stdout
    lines = help_text.split("Strategies")[1].splitlines()[1:]
    names = []
    for line in lines:
        if not line.startswith("  "):
            break
        names.append(line.split()[0])
    return names


def command_of(options, method, seed, examples, epochs, threads, folder):
    command = [options.program, "--strategy", method, "--seed", str(seed), "--quiet"]
    command += ["--model", options.model, "--train", options.train, "--dev", options.dev]
    command += ["--limit", str(examples), "--epochs", str(epochs)]
    command += ["--batch", str(base.batch), "--max-length", str(base.longest)]
    command += ["--threads", str(threads), "--out", folder, "--json", f"{folder}/result.json"]
    if method in common.rates:
        command += ["--lr", str(common.rates[method])]
    return command


def run_graft(options, method, seed):
    with tempfile.TemporaryDirectory() as folder:
        command = command_of(
            options, method, seed, options.examples, options.epochs, options.threads, folder
        )
        subprocess.run(command, check=True)
        result = json.loads((Path(folder) / "result.json").read_text())
    return {
        "accuracy": result["dev_accuracy"],
        "trained": result["trainable_parameters"],
        "seconds": result["train_seconds"],
        "peak_bytes": result["peak_memory_bytes"],
        "adapter_bytes": result["adapter_bytes"],
    }


def time_graft(options, method):
    """Trained parameters, and sentences a second on all cores; the faster of two runs."""
    examples, cores = 400, os.cpu_count()
    with tempfile.TemporaryDirectory() as folder:
        dev = Path(folder) / "dev.tsv"
        dev.write_text("".join(Path(options.dev).read_text().splitlines(keepends=True)[:16]))
        few = argparse.Namespace(**{**vars(options), "dev": str(dev)})
        command = command_of(few, method, 1, examples, 1, cores, folder)
        seconds = []
        for _ in range(2):
            common.undisturbed(command, cores, tries=3)
            result = json.loads((Path(folder) / "result.json").read_text())
            seconds.append(result["train_seconds"])
    return {
        "trained": result["trainable_parameters"],
        "sentences/s": round(examples / min(seconds), 1),
    }


def earlier(options):
    """What an earlier call of this script and of sst2_accuracy.py found in the same setting."""
    runs, speeds = {}, {}
    for name in ("sst2_accuracy.json", file_name):
        path = common.results / name
        if not path.exists():
            continue
        found = json.loads(path.read_text())
        if {k: found["setting"][k] for k in ("examples", "epochs", "batch", "longest")} != {
            "examples": options.examples,
            "epochs": options.epochs,
            "batch": base.batch,
            "longest": base.longest,
        }:
            continue
        speeds |= found.get("speeds", {})
        for method, sides in found["runs"].items():
            for side, results in sides.items():
                for r in results:
                    runs.setdefault(method, {"graft": {}, "peer": {}})[side][r["seed"]] = r
    return runs, speeds


def percent(results):
    mean, error = base.mean_and_error([r["accuracy"] for r in results])
    said = {1: " (one seed)", 2: f" ± {100 * error:.2f} (two seeds)"}
    return f"{100 * mean:.2f}" + said.get(len(results), f" ± {100 * error:.2f}")


def write(options, facts, names, runs, speeds):
    listed = {
        m: {side: [found[s] for s in sorted(found)] for side, found in runs[m].items()}
        for m in names
        if m in runs
    }
    setting = {"examples": options.examples, "epochs": options.epochs, "batch": base.batch}
    setting |= {"longest": base.longest, "seeds": list(base.seeds), "threads": options.threads}
    found = {"machine": facts, "setting": setting, "speeds": speeds, "runs": listed}
    common.write_json(file_name, found)
    head = ["strategy", "trained", "accuracy", "peer's", "difference, in its errors"]
    head += ["sentences/s", "MB"]
    lines = []
    for method, sides in listed.items():
        ours, peers = sides["graft"], sides["peer"]
        if not ours:
            continue
        known = [*ours, speeds.get(method, {})]
        mean, error = base.mean_and_error([r["accuracy"] for r in ours])
        cells = [f"`{method}`", next((f"{r['trained']:,}" for r in known if "trained" in r), "")]
        cells.append(percent(ours))
        if peers:
            other, other_error = base.mean_and_error([r["accuracy"] for r in peers])
            both = (error**2 + other_error**2) ** 0.5
            cells.append(percent(peers))
            cells.append(f"{(mean - other) / both:+.1f}" if both > 0 else "")
        else:
            cells += ["", ""]
        cells.append(f"{speeds[method]['sentences/s']:.0f}" if method in speeds else "")
        cells.append(f"{max(r['peak_bytes'] for r in ours) / 1e6:.0f}")
        lines.append(cells)
    text = (
        "# Every strategy on SST-2\n\n"
        f"all-MiniLM-L6-v2, {options.examples} training sentences, {options.epochs} epochs, the whole "
        "dev set, 3 seeds each unless said: percent right, mean ± standard error; beside PyTorch with PEFT or "
        "adapters where there is a figure; the difference in standard errors of the difference. Learning "
        "rates are those both were given where both ran (bench/common.py), else graft-finetune's own; "
        f"sentences trained per second on {os.cpu_count()} cores, measured apart (a run trains "
        f"{options.examples * options.epochs}); peak memory.\n\n"
        + common.table(head, lines)
        + f"\n{common.described(facts)}. Made by bench/peers/sst2_methods.py.\n"
    )
    (common.results / "sst2_methods.md").write_text(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="folder of all-MiniLM-L6-v2")
    parser.add_argument("--train", required=True, help="SST-2, lines text<TAB>label")
    parser.add_argument("--dev", required=True)
    parser.add_argument("--examples", type=int, default=2000, help="of the training file")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--program", required=True, help="graft-finetune")
    parser.add_argument("--peft", required=True, help="python with torch, transformers, peft")
    parser.add_argument("--adapters", required=True, help="python with torch, transformers, adapters")
    parser.add_argument("--no-peers", action="store_true")
    parser.add_argument("--timing", action="store_true", help="measure speeds instead")
    options = parser.parse_args()

    facts = common.machine()
    names = strategies(options.program)
    runs, speeds = earlier(options)
    lock = Lock()

    if options.timing:
        for method in names:
            speeds[method] = time_graft(options, method)
            print(method, speeds[method], flush=True)
            write(options, facts, names, runs, speeds)
        return

    def one(job):
        side, method, seed = job
        run = base.run_peer if side == "peer" else run_graft
        found = {"seed": seed, **run(options, method, seed)}
        with lock:
            runs.setdefault(method, {"graft": {}, "peer": {}})[side][seed] = found
            print(method, seed, side, found, flush=True)
            write(options, facts, names, runs, speeds)

    jobs = []
    for seed in base.seeds:
        for method in names:
            known = runs.get(method, {"graft": {}, "peer": {}})
            if seed not in known["graft"]:
                jobs.append(("graft", method, seed))
            if method in beside and seed not in known["peer"] and not options.no_peers:
                jobs.append(("peer", method, seed))
    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(one, jobs))
    write(options, facts, names, runs, speeds)


if __name__ == "__main__":
    main()
