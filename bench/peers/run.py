# SPDX-License-Identifier: MIT
"""Time training steps of graft on the CPU beside PyTorch with PEFT or adapters, and the FMA roof, in turns.

Every measurement is a process of its own; both sides take the same steps from the same initial values, and their
losses are compared. Writes results/step_cpu.json and .md after every round, and a table of the README. --add
keeps the cases there that are not measured, so that a long run may be made in parts.
"""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path

here = Path(__file__).resolve().parent
sys.path.insert(0, str(here.parent))
import common

file_name = "step_cpu"
models = {
    "minilm": {"width": 384, "inner": 1536, "layers": 6},
    "bert_base": {"width": 768, "inner": 3072, "layers": 12},
}
model_names = {"minilm": "MiniLM", "bert_base": "BERT-base"}
tunings = {
    "full": "full",
    "lora": "LoRA r=8 q,v",
    "lora16_all": "LoRA r=16 all linear",
    "houlsby": "Houlsby 48",
    "head": "head only",
    "top2": "top 2",
}
side_names = {
    "graft": "graft",
    "eigen": "graft, Eigen's products",
    "base alone": "graft, base alone",
    "eager": "peer",
    "compile": "peer, compiled",
    "eager bucketed": "peer, bucketed",
    "compile bucketed": "peer, bucketed, compiled",
}


def operations(model, tuning, lengths):
    """Floating-point operations of a step over sequences of these lengths.

    T tokens, P = Σ length², D = 4 width² + 2 width inner the weights of a layer's six dense maps. Each layer takes
    2 T D + 4 P width forward; where something is trained in it or below, 2 T D + 8 P width back to its input, less
    what lies below the lowest trained part; 2 T per trained dense weight; 6 T per weight of an adapter. The last
    layer counts like the others, although graft makes no more of it than the head reads.
    """
    width, inner, layers = model["width"], model["inner"], model["layers"]
    tokens, pairs = sum(lengths), sum(n * n for n in lengths)
    dense = 4 * width**2 + 2 * width * inner
    way_back = {"head": 0, "top2": 2}.get(tuning, layers)
    trained_layers = {"full": layers, "top2": 2}.get(tuning, 0)
    below = {  # the lowest trained part, in the lowest layer
        "lora": 2 * tokens * 3 * width**2,
        "lora16_all": 2 * tokens * 3 * width**2,
        "top2": 2 * tokens * 3 * width**2,
        "houlsby": 2 * tokens * 4 * width**2 + 8 * pairs * width,
    }.get(tuning, 0)
    adapter = {
        "lora": 8 * 2 * 2 * width,
        "lora16_all": 16 * (4 * 2 * width + 2 * (width + inner)),
        "houlsby": 2 * 2 * 48 * width,
    }.get(tuning, 0)
    return (
        layers * (2 * tokens * dense + 4 * pairs * width)
        + way_back * (2 * tokens * dense + 8 * pairs * width)
        - below
        + trained_layers * 2 * tokens * dense
        + layers * 6 * tokens * adapter
    )


def write_plans(options, model, folder, into):
    """The plans of a model, by whichever environment builds each tuning."""
    shapes = ",".join(f"{s}:{options.warm_up + steps_of(options, s)}" for s in options.shapes)
    for python, chosen in (
        (options.peft, [t for t in options.tunings if t not in common.in_adapters]),
        (options.adapters, [t for t in options.tunings if t in common.in_adapters]),
    ):
        if chosen:
            command = [python, here / "peft_cpu.py", folder, "--write", into, "--shapes", shapes]
            common.undisturbed([*command, "--methods", ",".join(chosen)], options.threads, 1, 1)


def steps_of(options, shape):
    return options.steps * (5 if shape == "sst2" else 1)


def command_of(options, side, case, folder, plan):
    if side == "graft":
        stored = ["bf16"] if case[3] == "bf16" else []
        return [options.programs / "graft-bench-step", folder, plan, *stored]
    if side == "eigen":
        return [options.eigen / "graft-bench-step", folder, plan]
    if side == "base alone":
        return [options.programs / "graft-bench-step", folder, plan.with_name(f"head-{case[2]}"), "base"]
    _, tuning, shape, precision = case
    python = options.adapters if tuning in common.in_adapters else options.peft
    command = [python, here / "peft_cpu.py", folder, "--plan", plan, "--method", tuning]
    command += ["--precision", precision, "--warm-up", options.warm_up, "--threads", options.threads]
    return command + [f"--{word}" for word in side.split() if word != "eager"]


def last_line(options, command):
    output, share = common.undisturbed(
        command, options.threads, options.most, options.tries, options.patience
    )
    return json.loads(output.strip().splitlines()[-1]) | {"share_of_others": share}


def sides_of(options, tuning, shape, precision, slower):
    sides = ["graft"]
    if precision == "f32" and options.eigen:
        sides.append("eigen")
    if precision == "f32" and tuning == "lora" and "head" in options.tunings:
        sides.append("base alone")
    for order in ("", " bucketed") if shape == "sst2" else ("",):
        sides += [mode + order for mode in options.modes if mode + order not in slower]
    return sides


def rounds_of(options, root):
    """Measures, and gives the runs after every round: {case: {side: [run …]}}, and what the roof was."""
    folders, runs, roofs = {}, {}, []
    for model in options.models:
        folders[model] = getattr(options, model) or root / model
        folders[model].mkdir(exist_ok=True)
        (root / f"plans_{model}").mkdir()
        write_plans(options, model, folders[model], root / f"plans_{model}")
    cases = [
        (model, tuning, shape, precision)
        for model in options.models
        for tuning in options.tunings
        for shape in options.shapes
        for precision in options.precisions
    ]
    for turn in range(options.rounds):
        for case in cases:
            model, tuning, shape, precision = case
            sides = runs.setdefault(case, {})
            command = [options.programs / "graft-bench-fma-roof", options.threads]
            roofs.append(last_line(options, command)["gflops"])
            slower = {  # compiled, where that was no faster in the first round
                side
                for side, found in sides.items()
                if side.startswith("compile")
                and sum(found[0]["seconds"][options.warm_up :])
                >= sum(sides[side.replace("compile", "eager")][0]["seconds"][options.warm_up :])
            }
            for side in sides_of(options, tuning, shape, precision, slower if turn else ()):
                plan = root / f"plans_{model}" / f"{tuning}-{shape}"
                run = last_line(options, command_of(options, side, case, folders[model], plan))
                seconds = sum(run["seconds"][options.warm_up :])
                run["tokens_per_second"] = sum(run["tokens"][options.warm_up :]) / seconds
                sides.setdefault(side, []).append(run)
                print(
                    turn, *case, side, f"{run['tokens_per_second']:.0f} tokens/s",
                    f"{run['peak_bytes'] / 1e6:.0f} MB", f"{100 * run['share_of_others']:.0f} % others",
                    flush=True,
                )  # fmt: skip
        yield runs, roofs


def spread(values):
    return {"median": statistics.median(values), "least": min(values), "most": max(values)}


def difference(ours, theirs):
    """Between the losses of the first step, and of all steps."""
    apart = [abs(a - b) / abs(b) for a, b in zip(ours["losses"], theirs["losses"])]
    return {"first": apart[0], "largest": max(apart)}


def case_of(options, case, sides, roof):
    model, tuning, shape, precision = case
    count = 16 * len(next(iter(sides.values()))[0]["tokens"])
    found = {"model": model, "tuning": tuning, "shape": shape, "precision": precision}
    found |= {"steps": steps_of(options, shape), "rounds": options.rounds_done, "roof_gflops": roof}
    found |= {"base": "checkpoint" if getattr(options, model) else "random weights"}
    if "graft" in sides:
        found |= {"engine": sides["graft"][0]["engine"]}
    if shape == "sst2":
        lengths = common.drawn_lengths(here / "sst2_lengths.txt", count)
    else:
        lengths = [int(shape)] * count
    # In the mean over all lengths, which those of the timed steps stand for.
    per_token = operations(models[model], tuning, lengths) / sum(lengths)
    found |= {"flops_per_token": per_token, "sides": {}}
    for side, runs in sides.items():
        speed = spread([run["tokens_per_second"] for run in runs])
        kept = {
            "tokens_per_second": speed,
            "share_of_roof": speed["median"] * per_token * 1e-9 / roof,
            "peak_bytes": statistics.median(run["peak_bytes"] for run in runs),
            "first_step_seconds": spread([run["first_step_seconds"] for run in runs]),
            "trained_parameters": runs[0]["trained_parameters"],
            "share_of_others": [run["share_of_others"] for run in runs],
            "first_losses": runs[0]["losses"][:3],
        }
        if side == "base alone":
            kept["lora_costs"] = statistics.median(
                b["tokens_per_second"] / a["tokens_per_second"] - 1 for a, b in zip(sides["graft"], runs)
            )
        elif side not in ("graft", "eigen") and "graft" in sides:
            ours = sides["graft"]
            pairs = list(zip(ours, runs))
            kept["graft_is_faster_by"] = spread(
                [a["tokens_per_second"] / b["tokens_per_second"] for a, b in pairs]
            )
            kept["graft_needs_of_memory"] = statistics.median(
                a["peak_bytes"] / b["peak_bytes"] for a, b in pairs
            )
            if "eigen" in sides:
                kept["eigen_is_faster_by"] = spread(
                    [a["tokens_per_second"] / b["tokens_per_second"] for a, b in zip(sides["eigen"], runs)]
                )
            if side == "eager":
                kept["losses_differ_by"] = difference(ours[0], runs[0])
        found["sides"][side] = kept
    return found


def row_of(found, side):
    f = found["sides"][side]
    speed, start = f["tokens_per_second"], f["first_step_seconds"]
    name = "graft" if side == "graft" else side_names[side]
    row = [name, f"{speed['median']:.0f} ({speed['least']:.0f}–{speed['most']:.0f})"]
    row += [f"{100 * f['share_of_roof']:.0f} %", f"{f['peak_bytes'] / 1e6:.0f}", f"{start['median']:.1f}"]
    if "lora_costs" in f:
        return row + [f"LoRA costs {100 * f['lora_costs']:+.1f} %", "", ""]
    if "graft_is_faster_by" not in f:
        return row + ["", "", ""]
    by, apart = f["graft_is_faster_by"], f.get("losses_differ_by")
    row += [f"{by['median']:.2f} × ({by['least']:.2f}–{by['most']:.2f})"]
    if "eigen_is_faster_by" in f:
        row[-1] += f", with Eigen {f['eigen_is_faster_by']['median']:.2f} ×"
    row += [f"{f['graft_needs_of_memory']:.2f} ×", f"{apart['largest']:.0e}" if apart else ""]
    return row


def write_readme(cases):
    """The table of MiniLM in fp32 between the README's two marks; of two peers the faster."""
    rows = []
    for tuning, name in tunings.items():
        row = [name]
        for shape in ("128", "sst2"):
            wanted = {"model": "minilm", "tuning": tuning, "shape": shape, "precision": "f32"}
            for f in (c["sides"] for c in cases if wanted.items() <= c.items()):
                least = lambda bucketed: min(
                    kept["graft_is_faster_by"]["median"]
                    for side, kept in f.items()
                    if "graft_is_faster_by" in kept and side.endswith("bucketed") == bucketed
                )
                row += [f"{f['graft']['tokens_per_second']['median']:.0f}", f"{least(False):.2f}"]
                if shape == "128":
                    row += [f"{100 * f['graft']['share_of_roof']:.0f} %"]
                    row += [f"{f['graft']['peak_bytes'] / 1e6:.0f} MB"]
                    row += [f"{f['eager']['graft_needs_of_memory']:.2f}"]
                else:
                    row += [f"{least(True):.2f}"]
        if len(row) == 9:
            rows.append(row)
    head = ["", "16 × 128: tokens/s", "peer's ×", "of the roof", "peak memory", "peer's ×"]
    head += ["SST-2: tokens/s", "peer's ×", "bucketed peer's ×"]
    path = here.parent.parent / "README.md"
    before, mark, rest = path.read_text().partition("<!-- step_cpu, by bench/peers/run.py -->\n")
    if mark and rows:
        _, end, after = rest.partition("<!-- end of step_cpu -->\n")
        path.write_text(before + mark + common.table(head, rows) + end + after)


def write(options, versions, cases, roofs):
    kept, path = [], common.results / f"{file_name}.json"
    facts = common.machine() | {"threads": options.threads}
    if options.add and path.exists():
        before = json.loads(path.read_text())
        key = lambda c: (c["model"], c["tuning"], c["shape"], c["precision"])
        measured = {key(case) for case in cases}
        if before["machine"] | {"date": facts["date"]} != facts or before["peers"] != versions:
            raise SystemExit("--add: the results there are of another machine or of other versions")
        kept = [case for case in before["cases"] if key(case) not in measured]
        roofs = before["roofs"] + roofs
    order = lambda c: (list(models).index(c["model"]), c["precision"] != "f32", c["shape"])
    cases = sorted(kept + cases, key=order)
    common.write_json(
        path.name, {"machine": facts, "peers": versions, "roofs": roofs, "cases": cases}
    )
    head = ["tuning", "side", "tokens/s (least–most)", "of the roof", "peak MB", "first step, s"]
    head += ["graft is as fast", "graft's memory", "losses apart"]
    tables = ""
    for group in dict.fromkeys((c["model"], c["precision"], c["shape"]) for c in cases):
        model, precision, shape = group
        chosen = [c for c in cases if (c["model"], c["precision"], c["shape"]) == group]
        counts = sorted({(c["rounds"], c["steps"]) for c in chosen})
        rows = []
        for tuning in tunings:
            for c in chosen:
                if c["tuning"] == tuning:
                    rows += [[tunings[tuning], *row_of(c, side)] for side in c["sides"]]
        said = "fp32" if precision == "f32" else "bf16: graft's frozen weights (full: none), the peer's autocast"
        lengths = "16 sequences of SST-2's lengths" if shape == "sst2" else f"16 × {shape} tokens"
        rounds = ", ".join(f"{r} of {s} steps" for r, s in counts)
        others = max(max(f["share_of_others"]) for c in chosen for f in c["sides"].values())
        tables += f"## {model_names[model]}, {lengths}, {said}\n\nBase: {chosen[0]['base']}. Rounds: {rounds}; "
        tables += f"other processes took at most {100 * others:.0f} % of the processors.\n\n"
        tables += common.table(head, rows) + "\n"
    text = (
        "# Training steps beside PyTorch\n\n"
        "Forward, loss, backward, clipping at norm 1, AdamW; dropout 0; random tokens; both sides take the same "
        "batches from the same initial values. A round is a process of each side, in turns; medians over the "
        "rounds, of speeds and of the ratios within a round, with the least and the most. Peer: PyTorch with "
        "SDPA, PEFT or (Houlsby) adapters, fused AdamW. Tokens are those of the texts, without padding: graft's "
        "batches are packed; the peer's are padded to their longest, in random order the very batches that "
        "graft takes, bucketed the same texts sorted by length. `torch.compile` was measured "
        "again where the first round was faster by it. Peak memory is the process's (VmHWM, imports included). First "
        "step: from the start of the process to the end of its first step, files in memory. graft's matrix products are "
        f"those of {' or '.join(sorted({c['engine'] for c in cases if 'engine' in c}))} unless another engine is "
        "named. Losses apart: the "
        "largest relative difference over all steps. Base alone: what LoRA needs of the frozen network, forward and "
        "back through every layer; LoRA's cost is over that, in a round.\n\n"
        "The roof is that of a loop of fp32 multiply-adds on registers as wide as the processor has, measured before every "
        f"case, the most of all: {max(roofs):.0f} GFLOP/s. Operations of a step: with T tokens, P the sum of squared lengths, w the "
        "width and D = 4 w² + 2 w · inner, each layer counts 2 T D + 4 P w forward; where something is trained in "
        "it or below, 2 T D + 8 P w back, less what lies below the lowest trained part; 2 T per trained dense "
        "weight; 6 T per weight of an adapter; the last layer like the others, although graft makes no more of it "
        "than the head reads. Embeddings, norms and the head are not counted.\n\n"
        + tables
        + f"{common.described(facts)}; "
        + "; ".join(f"{name}: {common.described(v)}" for name, v in versions.items())
        + ". Made by bench/peers/run.py.\n"
    )
    (common.results / f"{file_name}.md").write_text(text)
    write_readme(cases)


def main():
    words = lambda text: text.split(",")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", type=Path, required=True, help="folder of graft-bench-*")
    parser.add_argument("--eigen", type=Path, help="such a folder, built with GRAFT_CPU_ENGINE=eigen")
    parser.add_argument("--peft", required=True, help="python with torch, transformers, peft")
    parser.add_argument("--adapters", help="python with torch, transformers, adapters")
    parser.add_argument("--minilm", type=Path, help="folder of all-MiniLM-L6-v2")
    parser.add_argument("--bert-base", type=Path, help="its folder; without, random weights")
    parser.add_argument("--models", type=words, default=list(models))
    parser.add_argument("--tunings", type=words, default=list(tunings))
    parser.add_argument("--shapes", type=words, default=["128", "sst2"], help="a length, or sst2")
    parser.add_argument("--precisions", type=words, default=["f32", "bf16"])
    parser.add_argument("--modes", type=words, default=["eager", "compile"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=6, help="timed in a round, 5 times as many of SST-2")
    parser.add_argument("--warm-up", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--most", type=float, default=0.05, help="share of others in a measurement")
    parser.add_argument("--tries", type=int, default=20, help="to come below it")
    parser.add_argument("--patience", type=float, default=600, help="seconds to wait for a quiet moment")
    parser.add_argument("--add", action="store_true")
    options = parser.parse_args()
    if "minilm" in options.models and not options.minilm:
        parser.error("--minilm: expected the folder of the model")
    if set(options.tunings) & set(common.in_adapters) and not options.adapters:
        parser.error("--adapters: expected the python that has them")

    versions = {"PEFT": common.versions_in(options.peft, "torch", "transformers", "peft")}
    if options.adapters:
        versions["adapters"] = common.versions_in(
            options.adapters, "torch", "transformers", "adapters"
        )
    with tempfile.TemporaryDirectory() as root:
        for turn, (runs, roofs) in enumerate(rounds_of(options, Path(root))):
            options.rounds_done = turn + 1
            roof = max(roofs)
            found = [case_of(options, case, sides, roof) for case, sides in runs.items()]
            for case in found:
                apart = case["sides"].get("eager", {}).get("losses_differ_by")
                if apart and apart["first"] > (1e-4 if case["precision"] == "f32" else 2e-2):
                    raise SystemExit(f"{case['model']} {case['tuning']}: first losses differ: {apart}")
            write(options, versions, found, roofs)


if __name__ == "__main__":
    main()
