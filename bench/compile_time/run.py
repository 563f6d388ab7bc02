# SPDX-License-Identifier: MIT
"""Measure what programs over graft cost to compile, at -O2.

A file that loads, fine-tunes and evaluates BERT classifiers under 1, 2 or 4 tunings, each with rules
for the top half of a model of 6, 12 or 24 layers: the CPU backend and the plain functions compiled
elsewhere (graft::cpu_compiled), or in the file; examples/hello_graft.cpp; and #include <Eigen/Core>.
Writes results/compile_time.json and .md: CPU seconds, memory of the compiler, bytes of object code.

With --check nothing is written: a few of them are compiled in turns, --repeats times at most, and a ratio
of two that stays above its limit is an error.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import common

tunings = [  # K: half the layers
    "on(at::query | at::value, lora{.rank = 8}, top(K)), on(at::head, train{})",
    "on(at::feed_forward_join, bottleneck{.width = 48}, top(K)), on(at::head, train{})",
    "on(at::layer, train{}, top(K)), on(at::pooler, train{}), on(at::head, train{})",
    "on(at::attention | at::feed_forward, bottleneck{.width = 48}, top(K)), on(at::head, train{})",
]
everywhere = ["on(at::query | at::value, lora{.rank = 8}), on(at::head, train{})"]

program = """\
#include <graft/cpu.hpp>
using namespace graft;
{structs}
template <class T>
double run(const char* folder, const example_list& train, const example_list& dev) {{
  auto model = bert_classifier<cpu<float>, T>::load(folder, {{.labels = 2}});
  return fit(model, train, dev).best()->loss;
}}
double run_all(const char* folder, const example_list& train, const example_list& dev) {{
  return {calls};
}}
"""


def source(rules, layers):
    structs = [
        f"struct tuning_{i} {{ static constexpr recipe rules{{{rule}}}; }};"
        for i, rule in enumerate(rules)
    ]
    calls = [f"run<tuning_{i}>(folder, train, dev)" for i in range(len(rules))]
    text = program.format(structs="\n".join(structs), calls=" + ".join(calls))
    return text.replace("K)", f"{layers // 2})")


def compiled(compiler, flags, text, repeats=1):
    """The fastest of several compilations."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        file, out = Path(folder) / "program.cpp", Path(folder) / "program.o"
        file.write_text(text)
        command = [compiler, "-std=c++20", "-O2", *flags, "-c", str(file), "-o", str(out)]
        for _ in range(repeats):
            child = subprocess.Popen(command)
            _, status, usage = os.wait4(child.pid, 0)
            if status:
                raise SystemExit("the compiler failed")
            found.append((usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024))
        sizes = subprocess.run(["size", str(out)], capture_output=True, text=True, check=True)
        text_bytes, data_bytes = map(int, sizes.stdout.splitlines()[1].split()[:2])
    seconds, memory = min(found)
    return {
        "cpu_seconds": round(seconds, 2),
        "compiler_bytes": memory,
        "object_bytes": text_bytes + data_bytes,
    }


# What is compiled in how many times the CPU time of what, at most.
limits = [
    ("examples/hello_graft.cpp, all in the file", "#include <Eigen/Core>", 6.7),
    ("examples/hello_graft.cpp", "#include <Eigen/Core>", 3.0),
    ("1 tuning, 12 layers", "#include <Eigen/Core>", 13.5),
    ("2 tunings, 12 layers", "1 tuning, 12 layers", 1.45),
]


def check(cases, compiler, rounds):
    """The first ratio that is above its limit, in words. Each file's fastest compilation counts, of as few rounds as
    bring all ratios below, of `rounds` at most: other programs only ever slow a compiler down."""
    names = dict.fromkeys(name for of, to, _ in limits for name in (to, of))
    seconds = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            flags, text = cases[name]
            seconds[name].append(compiled(compiler, flags, text)["cpu_seconds"])
        ratios = [(min(seconds[of]) / min(seconds[to]), limit) for of, to, limit in limits]
        if all(ratio <= limit for ratio, limit in ratios):
            break
    above = None
    for (of, to, limit), (ratio, _) in zip(limits, ratios):
        line = f"{of}: expected at most {limit:g} times the time of {to}, found {ratio:.2f}"
        print(line)
        above = above or (line if ratio > limit else None)
    return above


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compiler", default="g++")
    own = Path(__file__).resolve().parent.parent.parent / "include"
    parser.add_argument("--include", type=Path, default=own, help="graft's headers")
    parser.add_argument("--eigen", default="/usr/include/eigen3", help="include folder of Eigen")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1, help="compilers at a time")
    parser.add_argument("--check", action="store_true", help="ratios against their limits; no results")
    options = parser.parse_args()

    flags = ["-I", str(options.include), "-isystem", options.eigen]
    cases = {"#include <Eigen/Core>": (["-isystem", options.eigen], "#include <Eigen/Core>\n")}
    extern = [*flags, "-DGRAFT_CPU_EXTERN", "-DGRAFT_EXTERN"]
    cases["#include <graft/cpu.hpp>"] = (extern, "#include <graft/cpu.hpp>\n")
    hello = (own.parent / "examples/hello_graft.cpp").read_text()
    cases["examples/hello_graft.cpp"] = (extern, hello)
    cases["1 tuning, no depth ranges"] = (extern, source(everywhere, 0))
    for count in (1, 2, 4):
        for layers in (6, 12, 24):
            name = f"{count} tuning{'s' if count > 1 else ''}, {layers} layers"
            cases[name] = (extern, source(tunings[:count], layers))
    cases["#include <graft/cpu.hpp>, all in the file"] = (flags, "#include <graft/cpu.hpp>\n")
    cases["examples/hello_graft.cpp, all in the file"] = (flags, hello)
    cases["1 tuning, 12 layers, all in the file"] = (flags, source(tunings[:1], 12))
    for name, file in (("backend", "backend/cpu_extern.cpp"), ("plain functions", "graft_extern.cpp")):
        cases[f"the {name} alone"] = (extern, (options.include / "graft" / file).read_text())
    if options.check:
        raise SystemExit(check(cases, options.compiler, options.repeats))

    facts = common.machine() | {"flags": "-std=c++20 -O2"}
    if options.compiler != "g++":
        version = subprocess.run([options.compiler, "--version"], capture_output=True, text=True)
        number = re.search(r"\d+\.\d+\.\d+", version.stdout)
        facts["compiler"] = f"{Path(options.compiler).name} {number.group() if number else ''}"
    found = {}

    def measure(case):
        name, (case_flags, text) = case
        found[name] = compiled(options.compiler, case_flags, text, options.repeats)
        print(name, found[name], flush=True)
        write(facts, {n: found[n] for n in cases if n in found}, options.repeats)

    with ThreadPoolExecutor(options.jobs) as pool:
        list(pool.map(measure, cases.items()))


def write(facts, found, repeats):
    common.write_json("compile_time.json", {"machine": facts, "cases": found})
    rows = [
        [
            re.sub("^#include <.*?>", r"`\g<0>`", name),
            f"{r['cpu_seconds']:.1f}",
            f"{r['compiler_bytes'] / 1e6:.0f}",
            f"{r['object_bytes'] / 1e3:.0f}",
        ]
        for name, r in found.items()
    ]
    head = ["source file", "CPU seconds", "compiler, MB", "object, kB"]
    text = (
        "# Compile time\n\n"
        "A file that loads, fine-tunes and evaluates BERT classifiers under 1, 2 or 4 tunings "
        "whose rules reach the top 3, 6 or 12 layers (depth is dynamic, so it costs nothing), and the first "
        "example. The CPU backend and graft's plain functions are compiled once per program "
        "(graft::cpu_compiled) unless all is in the file. "
        f"The fastest of {repeats} compilations; the object's code and data.\n\n"
        + common.table(head, rows)
        + f"\n{common.described(facts)}. Made by bench/compile_time/run.py.\n"
    )
    (common.results / "compile_time.md").write_text(text)


if __name__ == "__main__":
    main()
