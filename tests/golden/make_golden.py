# SPDX-License-Identifier: MIT
"""Record what Hugging Face PEFT and AdapterHub compute, as golden files for graft's tests.

Run it twice, `peft` first (it writes the checkpoints that `adapters` reads), each time in the
environment that the requirements file of that name pins; README.md beside this file has the
commands and says what each file holds. Everything is computed in float64 on one thread with
dropout off, from values that are exact in float32, so that two runs write identical bytes.
"""

import argparse
import copy
import hashlib
import json
import os
import re
import shutil
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import load_file, safe_open
from torch.nn.utils.rnn import pad_sequence

steps = 10
betas = (0.9, 0.999)
eps = 1e-8
weight_decay = 0.01
labels = 3
vocabulary = 67


# --- safetensors, written here so that the order of the header does not depend on a hash map ---

type_names = {
    torch.float64: "F64",
    torch.int64: "I64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
}


def write_safetensors(path, tensors, metadata, padded=True):
    """Widest type first, so that every tensor of a padded file lies at a multiple of its size.

    A file that is not padded has a header of odd length, so that none does."""
    header, offset = {"__metadata__": metadata}, 0
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    for name in order:
        tensor = tensors[name]
        size = tensor.numel() * tensor.element_size()
        header[name] = {
            "dtype": type_names[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8 if padded else 1 - len(text) % 2)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for name in order:
            flat = tensors[name].detach().contiguous().reshape(-1)
            file.write(flat.view(torch.uint8).numpy().tobytes())


def write_json(path, value):
    path.write_text(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


# --- random values ---


def normal(key, shape):
    seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:7], "little")
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float32)


def norm_parameters(model):
    """Names of the parameters of all layer norms."""
    return {
        f"{path}.{name}"
        for path, module in model.named_modules()
        if isinstance(module, torch.nn.LayerNorm)
        for name, _ in module.named_parameters(recurse=False)
    }


def randomize(parameters, key, norms=()):
    """Standard deviation 0.3 everywhere, around 1 for the weights of layer norms."""
    with torch.no_grad():
        for name, parameter in parameters.items():
            mean = 1.0 if name in norms and name.endswith("weight") else 0.0
            parameter.copy_(mean + 0.3 * normal(f"{key}/{name}", parameter.shape))


def to_half_grid(model):
    """Values that float16 and bfloat16 both hold exactly: 8 significant bits, none tiny."""
    with torch.no_grad():
        for parameter in model.parameters():
            value = parameter.to(torch.bfloat16).to(torch.float32)
            smallest = torch.tensor(2.0**-10)
            parameter.copy_(torch.where(value.abs() < smallest, smallest, value))


# --- models ---

bert_sizes = dict(
    vocab_size=vocabulary,
    hidden_size=16,
    num_hidden_layers=3,
    num_attention_heads=2,
    intermediate_size=24,
    max_position_embeddings=20,
    num_labels=labels,
)
distilbert_sizes = dict(
    vocab_size=vocabulary,
    dim=12,
    n_layers=3,
    n_heads=2,
    hidden_dim=20,
    max_position_embeddings=20,
    num_labels=labels,
)


@dataclass
class peer:
    """A tiny model: its class and configuration, and what the methods need to know of it."""

    cls: type
    config: transformers.PretrainedConfig
    longest: int  # in tokens
    pad: int
    query_value: list = field(default_factory=lambda: ["query", "value"])
    head: list = field(default_factory=lambda: ["classifier"])
    reduction: float = 1.0  # hidden size // reduction = 6


peers = {
    "bert": peer(
        transformers.BertForSequenceClassification,
        transformers.BertConfig(**bert_sizes),
        longest=20,
        pad=0,
        reduction=2.5,
    ),
    "roberta": peer(
        transformers.RobertaForSequenceClassification,
        transformers.RobertaConfig(
            **{**bert_sizes, "hidden_size": 18, "num_hidden_layers": 2},
            type_vocab_size=1,
            layer_norm_eps=1e-5,
        ),
        longest=18,
        pad=1,
        reduction=3.0,
    ),
    "roberta_prelayernorm": peer(
        transformers.RobertaPreLayerNormForSequenceClassification,
        transformers.RobertaPreLayerNormConfig(
            **{**bert_sizes, "hidden_size": 12, "num_hidden_layers": 2, "intermediate_size": 20},
            type_vocab_size=1,
            layer_norm_eps=1e-5,
        ),
        longest=18,
        pad=1,
        reduction=2.0,
    ),
    "distilbert": peer(
        transformers.DistilBertForSequenceClassification,
        transformers.DistilBertConfig(**distilbert_sizes),
        longest=20,
        pad=0,
        query_value=["q_lin", "v_lin"],
        head=["pre_classifier", "classifier"],
        reduction=2.0,
    ),
    "bert_mlm": peer(
        transformers.BertForMaskedLM,
        transformers.BertConfig(**{**bert_sizes, "num_hidden_layers": 2}),
        longest=20,
        pad=0,
    ),
}


def make_checkpoint(name):
    model = peers[name].cls(peers[name].config)
    randomize(dict(model.named_parameters()), name, norm_parameters(model))
    if name == "bert":
        to_half_grid(model)
    model.save_pretrained(name)


def load(name, cls=None):
    model = (cls or peers[name].cls).from_pretrained(name, attn_implementation="eager")
    return model.double().eval()


def make_variants():
    """The bert folder in other forms; each holds exactly the same values."""
    full = load_file("bert/model.safetensors")
    config = json.loads(Path("bert/config.json").read_text())
    metadata = {"format": "pt"}

    def variant(name, tensors, padded=True, **changes):
        folder = Path(f"bert_{name}")
        folder.mkdir(exist_ok=True)
        write_json(folder / "config.json", {**config, **changes})
        write_safetensors(folder / "model.safetensors", tensors, metadata, padded)

    bare = {k.removeprefix("bert."): v for k, v in full.items() if k.startswith("bert.")}
    bare["embeddings.position_ids"] = torch.arange(config["max_position_embeddings"])[None]
    variant("bare", bare, architectures=["BertModel"])
    gamma = lambda k: k.replace("Norm.weight", "Norm.gamma").replace("Norm.bias", "Norm.beta")
    variant("gamma_beta", {gamma(k): v for k, v in full.items()})
    variant("misaligned", full, padded=False)
    variant("f16", {k: v.half() for k, v in full.items()}, dtype="float16")
    variant("bf16", {k: v.bfloat16() for k, v in full.items()}, dtype="bfloat16")
    model = peers["bert"].cls.from_pretrained("bert")
    model.save_pretrained("bert_sharded", max_shard_size="12KB")
    assert len(list(Path("bert_sharded").glob("*.safetensors"))) == 3

    for form in ["f16", "bf16", "misaligned", "sharded"]:
        for key, value in peers["bert"].cls.from_pretrained(f"bert_{form}").state_dict().items():
            assert torch.equal(value.float(), full[key]), (form, key)


# --- the batch ---


@dataclass
class batch:
    """Five sequences, packed; pad is only for the peer, which wants a rectangle."""

    ids: torch.Tensor
    offsets: list
    labels: torch.Tensor
    pad: int
    positions: torch.Tensor | None = None  # of the masked tokens, in the packed order

    def runs(self):
        return [self.ids[a:b] for a, b in zip(self.offsets, self.offsets[1:])]

    def padded(self):
        ids = pad_sequence(self.runs(), batch_first=True, padding_value=self.pad)
        mask = pad_sequence([torch.ones_like(run) for run in self.runs()], batch_first=True)
        return ids, mask

    def tensors(self):
        out = {
            "input.ids": self.ids,
            "input.offsets": torch.tensor(self.offsets),
            "input.labels": self.labels,
        }
        if self.positions is not None:
            out["input.positions"] = self.positions
        return out


def make_batch(name, longest=None):
    """Lengths from two tokens to the most the model takes; ids never hold the padding token."""
    lengths = [7, 2, longest or peers[name].longest, 3, 11]
    offsets = [sum(lengths[:i]) for i in range(len(lengths) + 1)]
    first, last, lowest = 2, 3, 5
    generator = torch.Generator().manual_seed(len(name))
    ids = torch.randint(lowest, vocabulary, (offsets[-1],), generator=generator)
    ids[offsets[:-1]] = first
    ids[[end - 1 for end in offsets[1:]]] = last
    if name != "bert_mlm":
        return batch(ids, offsets, torch.tensor([2, 0, 1, 1, 0]), peers[name].pad)
    positions = torch.tensor([1, 4, 9, 15, 27, 30, 33, 41])
    targets, mask_token = ids[positions].clone(), 4
    ids[positions] = mask_token
    return batch(ids, offsets, targets, peers[name].pad, positions)


def logits_of(model, data):
    ids, mask = data.padded()
    logits = model(input_ids=ids, attention_mask=mask).logits
    return logits if data.positions is None else logits[mask.bool()][data.positions]


def check_padding(model, data):
    """Padding must not matter: each sequence alone gives the same logits."""
    alone = [model(input_ids=run[None]).logits for run in data.runs()]
    alone = torch.cat(alone) if data.positions is None else torch.cat(alone, 1)[0, data.positions]
    together = logits_of(model, data)
    assert torch.equal(alone.isinf(), together.isinf())
    assert (alone - together)[alone.isfinite()].abs().max() < 1e-12


# --- one golden ---

only = set()  # the methods to record; empty means all
recorded = set()


def wanted(method):
    return not only or method in only


def public_name(name):
    """The peer's own module path, without what PEFT puts around and into it."""
    for part in ["base_model.model.", "base_model.", ".modules_to_save", ".default"]:
        name = name.replace(part, "")
    return name


def adamw(decayed, undecayed, rate):
    """Both arguments map names to parameters."""
    groups = [
        {"params": list(decayed.values()), "weight_decay": weight_decay},
        {"params": list(undecayed.values()), "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=rate, betas=betas, eps=eps)


def mean_cross_entropy(model, data):
    logits = logits_of(model, data)
    return logits, F.cross_entropy(logits, data.labels)


def record(
    model,
    name,
    method,
    path,
    data,
    rate,
    config,
    extra=None,
    *,
    optimizer_of=adamw,
    forward=mean_cross_entropy,  # gives logits and loss
    check=check_padding,  # called with model and data before anything else
    after_backward=None,  # called with the number of the step, from 0
    after_step=None,  # the same
    finish=None,  # called after the last step, gives more tensors
    notes=None,  # more metadata
):
    """Logits, loss, every gradient, ten AdamW steps; the model ends as it began."""
    trainable = {n: p for n, p in model.named_parameters() if p.requires_grad}
    norms = norm_parameters(model)
    check(model, data)
    out = {**data.tensors(), **(extra or {})}
    names = {n: public_name(n) for n in trainable}
    assert len(set(names.values())) == len(names)
    start = {n: p.detach().clone() for n, p in trainable.items()}
    assert all(torch.equal(value.float().double(), value) for value in start.values())
    if len(start) < len(list(model.parameters())):  # else the checkpoint says it all
        out |= {f"init.{names[n]}": value.float() for n, value in start.items()}

    undecayed = {n: p for n, p in trainable.items() if n.endswith("bias") or n in norms}
    decayed = {n: p for n, p in trainable.items() if n not in undecayed}
    optimizer = optimizer_of(decayed, undecayed, rate)
    losses = []
    for step in range(steps + 1):
        optimizer.zero_grad()
        logits, loss = forward(model, data)
        assert loss.dtype == torch.float64
        losses.append(loss.detach())
        loss.backward()
        if after_backward:
            after_backward(step)
        if step == 0:
            out["logits"], out["loss"] = logits.detach(), loss.detach()
            out |= {f"grad.{names[n]}": p.grad.clone() for n, p in trainable.items()}
        if step < steps:
            optimizer.step()
            if after_step:
                after_step(step)
    out["losses"] = torch.stack(losses)
    out |= {f"final.{names[n]}": p.detach().clone() for n, p in trainable.items()}
    out |= finish() if finish else {}
    assert all(tensor.isfinite().all() for name, tensor in out.items() if name != "logits")

    metadata = {
        "model": name,
        "method": method,
        "config": json.dumps(config, sort_keys=True),
        "optimizer": "AdamW",
        "learning_rate": repr(rate),
        "betas": json.dumps(betas),
        "eps": repr(eps),
        "weight_decay": repr(weight_decay),
        "undecayed": "bias, layer norm",
        "steps": str(steps),
        **(notes or {}),
    }
    for package in ["torch", "transformers", path]:
        metadata[package] = version(package)
    write_safetensors(f"{name}/{method}.safetensors", out, metadata)
    recorded.add(method)
    with torch.no_grad():
        for n, value in start.items():
            trainable[n].copy_(value)
    print(f"{name}/{method}: {len(trainable)} tensors, loss {losses[0]:.4f} -> {losses[-1]:.4f}")


def randomize_trainable(model, key):
    """Adapter and head get values of their own, also where the peer starts at zero."""
    randomize({n: p for n, p in model.named_parameters() if p.requires_grad}, key)


def tidy_config(path, base):
    """What a peer writes about an adapter, in one order and free of the folder it came from."""
    config = json.loads(path.read_text())
    for key, value in config.items():
        if key in ("base_model_name_or_path", "model_name"):
            config[key] = base
        elif isinstance(value, list) and all(isinstance(item, str) for item in value):
            config[key] = sorted(value)
    write_json(path, config)


# --- the methods ---


def train_only(name, method, chosen, rate, config):
    if not wanted(method):
        return
    model = load(name)
    for n, parameter in model.named_parameters():
        parameter.requires_grad_(chosen(n))
    data = make_batch(name)
    extra = pair_of_types(model, data) if (name, method) == ("bert", "full") else None
    record(model, name, method, "peft", data, rate, config, extra)


def pair_of_types(model, data):
    """Logits of the same batch with the second half of each sequence of token type 1."""
    ids, mask = data.padded()
    runs = [(torch.arange(len(run)) >= (len(run) + 1) // 2).long() for run in data.runs()]
    types = pad_sequence(runs, batch_first=True)
    logits = model(input_ids=ids, attention_mask=mask, token_type_ids=types).logits
    return {"pair.types": torch.cat(runs), "pair.logits": logits.detach()}


def make_lora(name, method, targets, **options):
    import peft

    if not wanted(method):
        return
    settings = dict(r=4, lora_alpha=8, lora_dropout=0.0, bias="none", **options)
    settings |= {"target_modules": targets, "modules_to_save": peers[name].head}
    own = copy.deepcopy(settings)  # PEFT adds to the lists it is given
    config = peft.LoraConfig(task_type="SEQ_CLS", **own)
    model = peft.get_peft_model(load(name), config).double().eval()
    randomize_trainable(model, f"{name}/{method}")
    record(model, name, method, "peft", make_batch(name), 1e-2, settings)
    if name == "bert" and method in ("lora", "rslora"):
        folder = Path(f"{name}/{method}_peft")
        shutil.rmtree(folder, ignore_errors=True)
        model.float().save_pretrained(folder)
        (folder / "README.md").unlink()
        tidy_config(folder / "adapter_config.json", name)


def make_bottleneck(name, method, cls, options):
    import adapters

    if not wanted(method):
        return
    model = load(name)
    data = make_batch(name)
    with safe_open(f"{name}/full.safetensors", "pt") as full:
        gap = (logits_of(model, data) - full.get_tensor("logits")).abs().max()
    assert gap < 1e-12, f"{name}: the two environments compute different base models, by {gap}"
    adapters.init(model)
    config = getattr(adapters, cls)(**options)
    model.add_adapter("a", config=config)
    model.train_adapter("a")
    model.double().eval()
    trained = {n for n, p in model.named_parameters() if p.requires_grad}
    assert all(".adapters.a." in n or n.split(".")[0] in peers[name].head for n in trained)
    down = [p for n, p in model.named_parameters() if n.endswith("adapter_down.0.weight")]
    assert down and all(len(p) == 6 for p in down)
    randomize_trainable(model, f"{name}/{method}")
    record(model, name, method, "adapters", data, 1e-2, {"class": cls, **config.to_dict()})
    if name == "bert":
        folder = Path(f"{name}/{method}_adapterhub")
        shutil.rmtree(folder, ignore_errors=True)
        model.float().save_adapter(str(folder), "a", use_safetensors=True)
        for config_file in folder.glob("*.json"):
            tidy_config(config_file, name)


def make_checkpoints():
    for name in peers:
        shutil.rmtree(name, ignore_errors=True)
        make_checkpoint(name)
    shutil.rmtree("bert_sharded", ignore_errors=True)
    make_variants()


def make_peft():
    import peft_methods
    import pre_norm_methods
    import task_methods

    if not only:
        make_checkpoints()
    for name in ["bert", "roberta", "distilbert"]:
        train_only(name, "full", lambda n: True, 1e-3, {"trained": "everything"})
        make_lora(name, "lora", peers[name].query_value)
    make_lora("bert", "rslora", ["query", "value"], use_rslora=True)
    make_lora("bert", "lora_all", r".*\.layer\.\d+\..*(query|key|value|dense)")
    head = re.compile(r"classifier\.")
    bias = lambda n: n.endswith("bias") or bool(head.match(n))
    train_only("bert", "bitfit", bias, 1e-2, {"trained": "every bias, classifier"})
    top = lambda n: n.startswith("bert.encoder.layer.2.") or bool(head.match(n))
    train_only("bert", "top1", top, 1e-2, {"trained": "bert.encoder.layer.2, classifier"})
    train_only("bert_mlm", "mlm", lambda n: True, 1e-3, {"trained": "everything"})
    peft_methods.make_all()
    pre_norm_methods.make_peft()
    task_methods.make_all()


def make_adapters():
    import adapters_methods
    import pre_norm_methods

    for name in ["bert", "roberta", "distilbert"]:
        factor = peers[name].reduction
        make_bottleneck(name, "houlsby", "DoubleSeqBnConfig", dict(reduction_factor=factor))
        make_bottleneck(name, "pfeiffer", "SeqBnConfig", dict(reduction_factor=factor))
        make_bottleneck(name, "parallel", "ParBnConfig", dict(reduction_factor=factor, scaling=4.0))
    adapters_methods.make_all()
    pre_norm_methods.make_adapters()


# --- sentence vectors of a real model ---


def make_minilm(folder, texts):
    """Mean over the tokens, then unit length."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder, attn_implementation="eager")
    model.double().eval()
    ids, vectors = [], []
    with torch.no_grad():
        for text in texts:
            encoded = tokenizer(text, truncation=True, max_length=256, padding=False)["input_ids"]
            hidden = model(input_ids=torch.tensor([encoded])).last_hidden_state[0]
            ids.append(torch.tensor(encoded))
            vectors.append(F.normalize(hidden.mean(0), dim=0))
    offsets = torch.tensor([0] + [len(run) for run in ids]).cumsum(0)
    tensors = {
        "input.ids": torch.cat(ids),
        "input.offsets": offsets,
        "embeddings": torch.stack(vectors).float(),
    }
    metadata = {"model": "all-MiniLM-L6-v2", "pooling": "mean, unit length", "max_length": "256"}
    for package in ["torch", "transformers", "tokenizers"]:
        metadata[package] = version(package)
    write_safetensors("minilm_sentences.safetensors", tensors, metadata)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("environment", choices=["peft", "adapters"])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "models")
    parser.add_argument("--minilm", type=Path, help="folder of all-MiniLM-L6-v2 (peft only)")
    parser.add_argument("--only", metavar="METHOD[,METHOD]", help="record only these")
    options = parser.parse_args()
    only.update(options.only.split(",") if options.only else [])
    pins = Path(__file__).with_name(f"requirements-{options.environment}.txt").read_text()
    for package, pin in re.findall(r"^(\w+)==(\S+)$", pins, re.M):
        if version(package).split("+")[0] != pin:
            parser.error(f"{package} {pin} is wanted, {version(package)} is installed")
    minilm = options.minilm and options.minilm.resolve()
    texts = json.loads((Path(__file__).parent / "models/minilm_sentences.json").read_text())
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    options.out.mkdir(parents=True, exist_ok=True)
    os.chdir(options.out)  # so that no file holds the path of this machine
    if options.environment == "adapters":
        make_adapters()
    else:
        make_peft()
        if minilm:
            make_minilm(minilm, texts)
    if only - recorded:
        parser.error(f"no such method: {', '.join(sorted(only - recorded))}")


if __name__ == "__main__":
    import make_golden  # under its own name, so that the files of methods share this module

    make_golden.main()
