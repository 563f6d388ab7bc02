# SPDX-License-Identifier: MIT
"""What the comparisons share: data, peer models, facts about the machine, tables."""

import datetime
import json
import os
import platform
import re
import resource
import subprocess
import time
from contextlib import nullcontext
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

results = Path(__file__).resolve().parent / "results"
rates = {
    "full": 3e-5,
    "head": 1e-2,
    "lora": 5e-4,
    "dora": 5e-4,
    "ia3": 5e-3,
    "prompt": 1e-2,
    "prefix": 1e-2,
    "houlsby": 5e-4,
    "pfeiffer": 5e-4,
    "parallel": 5e-4,
    "compacter": 2e-3,
}
# The others run in the environment of PEFT.
in_adapters = ("houlsby", "pfeiffer", "parallel", "compacter")


def read_tsv(path, limit=None):
    """Lines text<TAB>label."""
    with open(path, encoding="utf-8") as file:
        lines = [line.rstrip("\n").rsplit("\t", 1) for line in file]
    return [(text, int(label)) for text, label in lines[:limit]]


def peak_bytes():
    """The most memory this process ever had resident."""
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def seconds_since_start():
    """Since this process was started, to a tick of the system (0.01 s)."""
    ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def drawn_lengths(path, count):
    """As drawn_lengths of bench/gpu/lengths.hpp: lengths of sequences as a file of counts has them."""
    lines = [tuple(map(int, line.split())) for line in Path(path).read_text().splitlines()]
    total = float(sum(n for _, n in lines))
    lengths = []
    for i in range(count):
        turns = i * 0.6180339887498949
        left, at = (turns - int(turns)) * total, 0
        while at + 1 < len(lines) and left >= lines[at][1]:
            left -= lines[at][1]
            at += 1
        lengths.append(lines[at][0])
    return lengths


def versions(*packages):
    found = {}
    for package in packages:
        try:
            found[package] = version(package).split("+")[0]
        except PackageNotFoundError:
            pass
    return found


def versions_in(python, *packages):
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import common, json"
    code += f"; print(json.dumps(common.versions{packages!r}))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def eigen_version():
    code = "EIGEN_WORLD_VERSION EIGEN_MAJOR_VERSION EIGEN_MINOR_VERSION"
    source = f"#include <Eigen/Core>\ngraft_version {code}\n"
    command = ["g++", "-E", "-P", "-I", "/usr/include/eigen3", "-xc++", "-"]
    done = subprocess.run(command, input=source, capture_output=True, text=True)
    found = re.search(r"^graft_version (\d+) (\d+) (\d+)", done.stdout, re.M)
    return ".".join(found.groups()) if found else "unknown"


def machine():
    """What every result names; neither hosts nor paths."""
    facts = Path("/proc/cpuinfo").read_text()
    cpu = re.search(r"model name\s*: (.*)", facts)
    level = 4 if " avx512vl" in facts else 3  # as the preset release chooses
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    compiler = subprocess.run(["g++", "-dumpfullversion"], capture_output=True, text=True)
    return {
        "date": datetime.date.today().isoformat(),
        "cpu": cpu.group(1).strip() if cpu else platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "compiler": f"g++ {compiler.stdout.strip()}",
        "flags": f"-O3 -DNDEBUG -march=x86-64-v{level}",
        "eigen": eigen_version(),
    }


def gpu_driver():
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True).stdout.split()[0]
    except (FileNotFoundError, IndexError):
        return "none"


def described(facts):
    """The line under a table."""
    return "; ".join(f"{name.replace('_', ' ')} {value}" for name, value in facts.items())


def write_json(name, value):
    results.mkdir(exist_ok=True)
    (results / name).write_text(json.dumps(value, indent=2) + "\n")


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(str(cell) for cell in line) + " |\n" for line in lines)


# --- measuring on a machine that others may use too ---


def busy_seconds():
    """What all processors have worked since the start of the system."""
    line = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    user, nice, system, _idle, _wait, irq, soft_irq, _steal = map(int, line)
    return (user + nice + system + irq + soft_irq) / os.sysconf("SC_CLK_TCK")


def share_of_others(start, busy, own):
    seconds = time.monotonic() - start
    return max(0.0, busy_seconds() - busy - own) / (seconds * os.cpu_count())


def wait_until_quiet(most=0.05, patience=600.0):
    end = time.monotonic() + patience
    while most < 1 and time.monotonic() < end:
        start, busy = time.monotonic(), busy_seconds()
        time.sleep(2)
        if share_of_others(start, busy, 0) <= most:
            return


def undisturbed(command, threads, most=0.05, tries=20, patience=600.0):
    """The output of a command that hardly anything ran beside, and the share of that.

    Waits for a quiet moment, for `patience` seconds at most, and tries again when others took more than
    `most` of the processors; after `tries` the least disturbed output.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    best = None
    for _ in range(tries):
        wait_until_quiet(most, patience)
        start, busy = time.monotonic(), busy_seconds()
        own = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(
            [str(word) for word in command],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=True,
            env=environment,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        own = after.ru_utime + after.ru_stime - own.ru_utime - own.ru_stime
        share = share_of_others(start, busy, own)
        if best is None or share < best[1]:
            best = done.stdout, share
        if share <= most:
            break
    return best


# --- what needs torch ---


def quiet():
    os.environ["HF_HUB_OFFLINE"] = "1"
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()


def encode(folder, examples, longest):
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    texts = [text for text, _ in examples]
    ids = tokenizer(texts, truncation=True, max_length=longest, padding=False)["input_ids"]
    return ids, [label for _, label in examples]


def padded(ids, labels):
    """A batch as the model's arguments."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    runs = [torch.tensor(run) for run in ids]
    return {
        "input_ids": pad_sequence(runs, batch_first=True),
        "attention_mask": pad_sequence([torch.ones_like(run) for run in runs], batch_first=True),
        "labels": torch.tensor(labels),
    }


def build(folder, method, dropout):
    """A classifier of two classes that trains what `method` says; the pooler in full and top2 alone.

    Adapters begin as identities, as graft's do.
    """
    from transformers import AutoConfig, BertForSequenceClassification

    config = AutoConfig.from_pretrained(folder, num_labels=2)
    if not dropout:
        config.hidden_dropout_prob = config.attention_probs_dropout_prob = 0.0
    model = BertForSequenceClassification.from_pretrained(folder, config=config).float()
    if method in ("head", "top2"):
        trained = ["classifier."]
        if method == "top2":
            trained += [f"bert.encoder.layer.{config.num_hidden_layers - k}." for k in (1, 2)]
            trained += ["bert.pooler."]
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.startswith(tuple(trained)))
    elif method in ("lora", "lora16_all", "dora", "ia3", "prompt", "prefix"):
        import peft

        targets = ["query", "value"]
        inner = r".*layer\.\d+\.output\.dense"
        chosen = {
            "lora": lambda: peft.LoraConfig(
                task_type="SEQ_CLS", r=8, lora_alpha=16, target_modules=targets
            ),
            "lora16_all": lambda: peft.LoraConfig(
                task_type="SEQ_CLS",
                r=16,
                lora_alpha=16,
                target_modules=r".*encoder\..*(query|key|value|dense)",
            ),
            "dora": lambda: peft.LoraConfig(
                task_type="SEQ_CLS", r=8, lora_alpha=16, target_modules=targets, use_dora=True
            ),
            "ia3": lambda: peft.IA3Config(
                task_type="SEQ_CLS",
                target_modules=rf".*self\.(key|value)|{inner}",
                feedforward_modules=inner,
            ),
            "prompt": lambda: peft.PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=10),
            "prefix": lambda: peft.PrefixTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=10),
        }
        model = peft.get_peft_model(model, chosen[method]())
    elif method in in_adapters:
        import adapters

        cls = {
            "houlsby": "DoubleSeqBnConfig",
            "pfeiffer": "SeqBnConfig",
            "parallel": "ParBnConfig",
            "compacter": "CompacterConfig",
        }
        options = {"reduction_factor": config.hidden_size / 48}
        if method != "compacter":
            options["init_weights"] = "mam_adapter"
        if method == "parallel":
            options["scaling"] = 4.0
        adapters.init(model)
        model.add_adapter("a", config=getattr(adapters, cls[method])(**options))
        model.train_adapter("a")
    return model.train()


def make_optimizer(model, rate, **options):
    """AdamW whose decay passes over norms and biases."""
    import torch

    trained = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    bare = [p for n, p in trained if n.endswith("bias") or "LayerNorm" in n]
    decayed = [p for n, p in trained if not (n.endswith("bias") or "LayerNorm" in n)]
    groups = [
        {"params": decayed, "weight_decay": 0.01},
        {"params": bare, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW([g for g in groups if g["params"]], lr=rate, **options)


def train_step(model, inputs, optimizer, trained, autocast=nullcontext()):
    """A step, its gradients clipped at norm 1; the loss, which nobody has waited for."""
    import torch

    optimizer.zero_grad()
    with autocast:
        loss = model(**inputs).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(trained, 1.0)
    optimizer.step()
    return loss.detach()


# --- plans: what graft-bench-step takes the steps from ---

# graft's paths for what the peers call their parameters.
renamings = [
    (r"^base_model\.model\.|^bert\.|\.modules_to_save|\.default", ""),
    (r"^encoder\.layer\.", "layer."),
    (r"\.adapters\.a\.adapter_down\.0", ".adapter.down"),
    (r"\.adapters\.a\.adapter_up", ".adapter.up"),
    (r"attention\.output\.adapter\.", "attention.adapter."),
    (r"(\d)\.output\.adapter\.", r"\1.feed_forward.adapter."),
    (r"attention\.self\.", "attention."),
    (r"attention\.output\.dense", "attention.output"),
    (r"attention\.output\.LayerNorm", "attention_join.norm"),
    (r"intermediate\.dense", "feed_forward.input"),
    (r"(\d)\.output\.dense", r"\1.feed_forward.output"),
    (r"(\d)\.output\.LayerNorm", r"\1.feed_forward_join.norm"),
    (r"lora_A\.weight", "lora.a"),
    (r"lora_B\.weight", "lora.b"),
    (r"(word|position|token_type)_embeddings", r"\1"),
    (r"embeddings\.LayerNorm", "embeddings.norm"),
    (r"^pooler\.dense", "pooler"),
    (r"^classifier", "head.classifier"),
]


def path_of(name):
    before = None
    while before != name:  # prefixes may be stacked
        before, (pattern, to) = name, renamings[0]
        name = re.sub(pattern, to, name)
    for pattern, to in renamings[1:]:
        name = re.sub(pattern, to, name)
    return name


def is_fresh(name):
    """Whether a parameter is one that the checkpoint lacks."""
    return any(part in name for part in ("classifier.", "lora_", "adapter"))


def write_plan(path, method, model, ids, labels, batch, rate):
    """A file of steps: batches in order, labels, and the initial values of what the checkpoint lacks."""
    import torch
    from safetensors.torch import save_file

    lengths = torch.tensor([0] + [len(run) for run in ids])
    plan = {
        "ids": torch.tensor([token for run in ids for token in run], dtype=torch.int32),
        "offsets": lengths.cumsum(0).to(torch.int32),
        "labels": torch.tensor(labels, dtype=torch.int32),
    }
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and is_fresh(name):
            plan["init." + path_of(name)] = parameter.detach().clone()
    save_file(plan, path, {"method": method, "rate": repr(rate), "batch": str(batch)})


def read_plan(path, model):
    """Runs of ids, labels, batch and rate; gives `model` the plan's initial values."""
    import torch
    from safetensors import safe_open

    with safe_open(path, "pt") as plan, torch.no_grad():
        flat, labels = plan.get_tensor("ids").tolist(), plan.get_tensor("labels").tolist()
        offsets, about = plan.get_tensor("offsets").tolist(), plan.metadata()
        for name, parameter in model.named_parameters():
            if parameter.requires_grad and is_fresh(name):
                parameter.copy_(plan.get_tensor("init." + path_of(name)))
    ids = [flat[a:b] for a, b in zip(offsets, offsets[1:])]
    return ids, labels, int(about["batch"]), float(about["rate"])
