# SPDX-License-Identifier: MIT
"""Run graft-bench-gpu-kernels; writes gpu_kernels.json and .md."""

import argparse
import json
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import common


def row(run):
    def told(key, pattern):
        return pattern.format(run[key]) if run.get(key) is not None else ""

    return [
        run["operation"],
        run["sizes"],
        f"{run['device_us']:.1f}",
        f"{run['host_us']:.1f}",
        told("gb_per_second", "{:.0f}"),
        told("tflop_per_second", "{:.1f}"),
        "" if run["share"] is None else f"{100 * run['share']:.0f} %",
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program", help="graft-bench-gpu-kernels")
    parser.add_argument("options", nargs="*", help="of the program")
    parser.add_argument("--out", type=Path, default=common.results)
    options, more = parser.parse_known_args()
    command = [options.program, *options.options, *more]
    runs = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        for line in program.stdout:
            print(line, end="", flush=True)
            runs.append(json.loads(line))
    if program.returncode != 0:
        raise SystemExit(f"{options.program}: ended with {program.returncode}")
    facts = {k: v for k, v in common.machine().items() if k not in ("flags", "eigen")}
    facts |= runs.pop(0) | {"driver": common.gpu_driver()}
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "gpu_kernels.json").write_text(
        json.dumps({"machine": facts, "operations": runs}, indent=2) + "\n"
    )
    head = ["operation", "rows × columns", "µs", "µs of the host", "GB/s", "TFLOP/s", "share"]
    text = (
        "# Operations of the GPU backend\n\n"
        "µs of the device, calls queued one behind the other, medians of 21 rounds; those of the host are what "
        "queuing a call takes: where they are more, the operation alone is bound by the host. Every operand "
        "counts once. Share: the time that the operation's bytes, at the rate of a copy, or its products, at "
        "that of 8192³, would take at least, whichever is longer, over the time it took.\n\n"
        + common.table(head, [row(run) for run in runs])
        + f"\n{common.described(facts)}. Made by bench/gpu/kernels.py.\n"
    )
    (options.out / "gpu_kernels.md").write_text(text)


if __name__ == "__main__":
    main()
