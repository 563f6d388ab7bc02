# SPDX-License-Identifier: MIT
"""Time training steps on one thread, on two, and on two beside a busy neighbour, in turns.

The step is that of bench/peers (LoRA on MiniLM, 16 x 128 tokens). The neighbour is one process that computes all the
time; two threads then have one and a half processors of two. Writes results/threads.json and .md.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import common


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", required=True, help="graft-bench-step")
    parser.add_argument("--model", required=True, help="folder of all-MiniLM-L6-v2")
    parser.add_argument("--plan", required=True, help="of peft_cpu.py --write: lora-128")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--warm-up", type=int, default=2)
    options = parser.parse_args()

    def speed(threads, busy):
        neighbour = None
        if busy:
            neighbour = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        try:
            command = [options.program, options.model, options.plan]
            output, share = common.undisturbed(command, threads, 1, 1)
        finally:
            if neighbour:
                neighbour.kill()
                neighbour.wait()
        run = json.loads(output.strip().splitlines()[-1])
        seconds, tokens = run["seconds"][options.warm_up :], run["tokens"][options.warm_up :]
        return statistics.median(t / s for t, s in zip(tokens, seconds)), share

    cases = {"one thread": (1, False), "two threads": (2, False), "two, a busy neighbour": (2, True)}
    found = {name: [] for name in cases}
    for _ in range(options.rounds):
        for name, (threads, busy) in cases.items():
            found[name].append(speed(threads, busy))
            print(name, found[name][-1], flush=True)
    one = statistics.median(s for s, _ in found["one thread"])
    two = statistics.median(s for s, _ in found["two threads"])
    rows = []
    for name, runs in found.items():
        speeds = [s for s, _ in runs]
        middle = statistics.median(speeds)
        rows.append(
            [name, f"{middle:.0f} ({min(speeds):.0f}–{max(speeds):.0f})", f"{middle / one:.2f}", f"{middle / two:.2f}"]
        )
    facts = common.machine()
    common.write_json("threads.json", {"machine": facts, "runs": found})
    (common.results / "threads.md").write_text(
        "# Threads\n\n"
        "Steps of LoRA on MiniLM, 16 × 128 tokens, fp32: medians of the steps of a process, then of the rounds, with the "
        "least and the most. The neighbour is a process that computes all the time on one of the two processors.\n\n"
        + common.table(["", "tokens/s", "of one thread", "of two threads"], rows)
        + f"\n{common.described(facts)}. Made by bench/threads.py.\n"
    )


if __name__ == "__main__":
    main()
