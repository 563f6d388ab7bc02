# SPDX-License-Identifier: MIT
"""What graft-serve answers under load: requests per second and how long they take.

Writes results/serve_load.json and .md. Takes about four minutes on a quiet machine.

Each connection asks again as soon as it is answered, a text of 8 to 24 words at a time, on this
machine, so clients and server share the processors. The adapters are equal LoRAs (rank 8 on query and
value), each loaded on its own: what they say does not change how long it takes. The server's threads wait
without holding a processor (OMP_WAIT_POLICY=passive).
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import common

adapters = 64
# name, options of the server, connections, adapters that are asked
cases = (
    ("one at a time, 1 adapter", ["--max-wait", "0"], 1, 1),
    ("one at a time, 64 adapters", ["--max-wait", "0"], 1, adapters),
    ("64 at once, 1 adapter", [], 64, 1),
    ("64 at once, 64 adapters", [], 64, adapters),
    ("64 at once, 64 adapters, batches of 1", ["--max-batch", "1"], 64, adapters),
)


def train(options, folder):
    """An adapter: which one does not matter."""
    lines = [f"the film is {word} and {other}\t{n % 2}" for n, (word, other) in
             enumerate([("good", "long"), ("bad", "short"), ("quiet", "very good"), ("a story", "old")])]
    data = folder / "train.tsv"
    data.write_text("\n".join(lines * 4) + "\n")
    subprocess.run(
        [options.programs / "examples" / "graft-finetune", "--model", options.model, "--train", data,
         "--dev", data, "--strategy", "lora", "--epochs", "1", "--out", folder / "adapter", "--quiet"],
        check=True,
    )
    return folder / "adapter"


class Server:
    def __init__(self, options, adapter, words):
        named = [word for i in range(adapters) for word in ("--adapter", f"a{i}={adapter}")]
        self.process = subprocess.Popen(
            [options.programs / "examples" / "graft-serve", "--model", options.model, "--port", "0",
             *named, *words],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_WAIT_POLICY": "passive"},  # others need the processors, too
        )
        self.port = self.process.stdout.readline().rsplit(":", 1)[1].strip()

    def seconds(self):
        """What the processors have worked for it."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self):
        self.process.terminate()
        if self.process.wait() != 0:
            raise SystemExit("graft-serve did not end as it should")


def ask(options, server, connections, asked, seconds):
    command = [options.programs / "bench" / "graft-bench-serve-load", server.port, str(connections),
               str(asked), str(seconds)]
    start, busy, own = time.monotonic(), common.busy_seconds(), server.seconds()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    own = server.seconds() - own + after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return found | {"share_of_others": round(common.share_of_others(start, busy, own), 3)}


def measure(options, adapter):
    """Each case's least disturbed run."""
    found = {}
    for name, words, connections, asked in cases:
        server = Server(options, adapter, words)
        ask(options, server, connections, asked, 2)
        runs = []
        for _ in range(options.tries):
            common.wait_until_quiet()
            runs.append(ask(options, server, connections, asked, options.seconds))
            if runs[-1]["share_of_others"] <= 0.05:
                break
        server.end()
        found[name] = min(runs, key=lambda run: run["share_of_others"])
        print(name, found[name], flush=True)
    return found


def text_of(found, facts):
    slowest = found[cases[0][0]]["requests_per_second"]
    rows = [
        [name, f"{run['requests_per_second']:.0f}", f"{run['requests_per_second'] / slowest:.2f}",
         f"{1e3 * run['median_seconds']:.1f}", f"{1e3 * run['p99_seconds']:.1f}", run["failed"]]
        for name, run in found.items()
    ]
    head = ["requests", "per second", "times the first", "median, ms", "99 %, ms", "failed"]
    return (
        "# graft-serve under load\n\n"
        "Requests of one text of 8 to 24 words, all-MiniLM-L6-v2 under LoRA of rank 8 on query and "
        "value, from clients on the same machine that ask again as soon as they are answered, a "
        "connection for each request. Made by bench/serve/run.py.\n\n"
        + common.table(head, rows)
        + "\n"
        + common.described(facts)
        + ".\n"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--programs", required=True, type=Path, help="build/release")
    parser.add_argument("--model", required=True, help="folder of all-MiniLM-L6-v2")
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--tries", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options, train(options, Path(folder)))
    facts = common.machine() | {"threads": os.environ.get("OMP_NUM_THREADS", os.cpu_count())}
    common.write_json("serve_load.json", {"machine": facts, "cases": found})
    (common.results / "serve_load.md").write_text(text_of(found, facts))


if __name__ == "__main__":
    main()
