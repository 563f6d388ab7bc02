# SPDX-License-Identifier: MIT
"""Folders as AdapterHub's `adapters` saves them, and what its models compute with them.

    python adapterhub_folders.py          # in the environment of requirements-adapters.txt
    python adapterhub_folders.py --check DIR    # reads folders of the same names that graft wrote

adapterhub/<model>_<case>/ is what save_adapter wrote, on the checkpoints models/<model>, the adapter being
called a; adapterhub/<model>.safetensors has the batch (input.ids, input.offsets) and logits.<case>, in
float64. Where two tensors of a module are one, AdapterHub cannot write safetensors: those cases are
pickles. An answer's logits are [tokens, 2], those of tokens [tokens, labels].
"""

import json
import os
import shutil
import sys
from pathlib import Path

import adapters
import torch
import transformers
from adapters import composition as blocks
from safetensors.torch import load_file

import make_golden as golden

out = Path(__file__).parent.resolve() / "adapterhub"
factor = {"bert": 4, "roberta": 3, "distilbert": 2}  # widths 4, 6, 6
seen = {}  # the tensors of each model's file


def per_sequence(model, data):
    """Each sequence alone: gates average over padding, too."""
    return torch.cat([model(input_ids=run[None]).logits for run in data.runs()])


def per_token(model, data):
    return torch.cat([model(input_ids=run[None]).logits[0] for run in data.runs()])


def answers(model, data):
    found = [model(input_ids=run[None]) for run in data.runs()]
    return torch.cat([torch.stack([o.start_logits[0], o.end_logits[0]], 1) for o in found])


def randomize(model, key, base):
    """What the checkpoint lacks, and the head; scales lie around one."""
    own = {n: p for n, p in model.named_parameters() if n not in base or p.requires_grad}
    golden.randomize(own, f"adapterhub/{key}", golden.norm_parameters(model))
    with torch.no_grad():
        for name, parameter in own.items():
            if name.endswith((".scaling", "loras.a.lora_B")):
                parameter += 1.0
                parameter.copy_(parameter.float())


def load(name, cls):
    if cls == "flexible":
        model = adapters.AutoAdapterModel.from_pretrained(name)
        model.delete_head("default")
        return model
    if cls:
        model = cls.from_pretrained(name, num_labels=2)
    else:
        model = golden.load(name).float()
    adapters.init(model)
    return model


def make(name, case, config, *, cls=None, head=None, pickle=False, logits=per_sequence, longest=None):
    model = load(name, cls)
    base = {n for n, _ in model.named_parameters()}
    model.add_adapter("a", config=config)
    if head:
        head(model)
    model.train_adapter("a")
    randomize(model, f"{name}/{case}", base)
    save(model, name, case, logits, longest, lambda to: model.save_adapter(to, "a", use_safetensors=not pickle))


def save(model, name, case, logits, longest, write):
    model.double().eval()
    data = golden.make_batch(name, longest or 15)
    tensors = seen.setdefault(name, {k: v for k, v in data.tensors().items() if k != "input.labels"})
    with torch.no_grad():
        tensors[f"logits.{case}"] = logits(model, data)
    model.float()
    write(str(out / f"{name}_{case}"))


def sequence_head(**options):
    return lambda model: model.add_classification_head("a", num_labels=3, **options)


def make_bert():
    by = factor["bert"]
    seq = adapters.SeqBnConfig(reduction_factor=by)
    make("bert", "seq_bn", seq)
    make("bert", "seq_bn_pickle", seq, pickle=True)
    make("bert", "widths", adapters.SeqBnConfig(reduction_factor={"1": 2, "default": by}, leave_out=[0]))
    make("bert", "double_seq_bn", adapters.DoubleSeqBnConfig(reduction_factor=by))
    make("bert", "par_bn", adapters.ParBnConfig(reduction_factor=by))
    make("bert", "scaled_par_bn", adapters.ParBnConfig(reduction_factor=by, scaling="learned"))
    norms = dict(ln_before=True, ln_after=True, use_gating=True, residual_before_ln="post_add")
    make("bert", "norms", adapters.SeqBnConfig(reduction_factor=by, **norms), pickle=True)
    make("bert", "compacter", adapters.CompacterPlusPlusConfig(reduction_factor=by, phm_dim=2))
    make("bert", "lora", adapters.LoRAConfig(r=2, alpha=6))
    make("bert", "ia3", adapters.IA3Config())
    prefix = adapters.PrefixTuningConfig(prefix_length=3, bottleneck_size=5)
    flat = adapters.PrefixTuningConfig(flat=True, prefix_length=3, leave_out=[1])
    make("bert", "prefix_flat", flat, pickle=True)
    make("bert", "mam", adapters.MAMConfig(prefix, adapters.ParBnConfig(reduction_factor=by)), pickle=True)
    parts = [prefix, seq, adapters.LoRAConfig(r=2, alpha=2)]
    make("bert", "unipelt", adapters.UniPELTConfig(*parts), pickle=True)
    make("bert", "prompt", adapters.PromptTuningConfig(prompt_length=5))

    lora = adapters.LoRAConfig(r=2, alpha=6)
    make("bert", "flexible", lora, cls="flexible", head=sequence_head())
    make("bert", "pooler", lora, cls="flexible", head=sequence_head(layers=1, use_pooler=True))
    tagging = lambda model: model.add_tagging_head("a", num_labels=4)
    make("bert", "tagging", lora, cls="flexible", head=tagging, logits=per_token)
    make("bert", "answers", lora, cls=transformers.BertForQuestionAnswering, logits=answers)
    make_fusion("bert", seq)
    make_old("bert", by)


def make_fusion(name, config):
    model = load(name, None)
    base = {n for n, _ in model.named_parameters()}
    for adapter in "ab":
        model.add_adapter(adapter, config=config)
    setup = blocks.Fuse("a", "b")
    model.add_adapter_fusion(setup)
    model.train_adapter_fusion(setup)
    randomize(model, f"{name}/fusion", base)

    def write(to):
        model.save_adapter_setup(to, setup, head_setup=True, use_safetensors=True)
        for adapter in "ab":  # the head once more
            for file in ["head_config.json", "model_head.safetensors"]:
                (Path(to) / adapter / file).unlink()

    save(model, name, "fusion", per_sequence, None, write)


def make_old(name, by):
    """As files were before there was a version: "gelu" is the approximation, other names."""
    config = adapters.SeqBnConfig(reduction_factor=by, non_linearity="gelu_new")
    make(name, "old", config, pickle=True)
    folder = out / f"{name}_old"
    file = folder / "adapter_config.json"
    saved = json.loads(file.read_text())
    then = {"non_linearity": "gelu", "attention_type": "sentence-lvl-dynamic", "new_attention_norm": False}
    then["invertible_adapter"] = {"block_type": "nice", "non_linearity": "relu", "reduction_factor": 2}
    kept = ["ln_after", "ln_before", "mh_adapter", "output_adapter", "original_ln_after", "original_ln_before"]
    kept += ["residual_before_ln", "adapter_residual_before_ln", "reduction_factor"]
    saved["config"] = {key: saved["config"][key] for key in kept} | then
    del saved["version"]
    saved["type"] = "text_task"
    file.write_text(json.dumps(saved, indent=2, sort_keys=True))
    weights = torch.load(folder / "pytorch_adapter.bin")
    weights = {k.replace(".adapters.", ".layer_text_task_adapters."): v for k, v in weights.items()}
    torch.save(weights, folder / "pytorch_adapter.bin")


def make_others():
    for name in ["roberta", "distilbert"]:
        by = factor[name]
        make(name, "seq_bn", adapters.SeqBnConfig(reduction_factor=by))
        make(name, "double_seq_bn", adapters.DoubleSeqBnConfig(reduction_factor=by))
        make(name, "lora", adapters.LoRAConfig(r=2, alpha=6, intermediate_lora=True, output_lora=True))
        prefix = adapters.PrefixTuningConfig(prefix_length=3, flat=True)
        make(name, "prefix_flat", prefix, pickle=True)
        function = "relu" if name == "distilbert" else "tanh"
        head = sequence_head(activation_function=function)
        make(name, "flexible", adapters.LoRAConfig(r=2, alpha=6), cls="flexible", head=head)


def check(written):
    """What the models compute with folders that graft wrote. No tensor may be missing or left over."""
    worst, failed, count = 0.0, [], 0
    for folder in sorted(Path(written).iterdir()):
        name, case = folder.name.split("_", 1)
        head = json.loads((folder / "head_config.json").read_text())
        if head["model_class"] == "BertAdapterModel":
            model = load(name, "flexible")
        else:
            cls = getattr(transformers, head["model_class"])
            model = cls.from_pretrained(name, num_labels=head["num_labels"], ignore_mismatched_sizes=True)
            adapters.init(model)
        info = {}
        if case == "fusion":
            model.load_adapter_setup(str(folder), use_safetensors=True, set_active=True)
            model.load_head(str(folder), use_safetensors=True)
        else:
            model.load_adapter(str(folder), use_safetensors=True, set_active=True, loading_info=info)
        state = model.state_dict()
        missing = set(info.get("missing_keys", []))
        # What modules share has several names, and is in the file under one.
        there = {t.data_ptr() for name, t in state.items() if name not in missing}
        left = [n for n in missing if state[n].data_ptr() not in there] + info.get("unexpected_keys", [])
        if left:
            failed.append(f"{folder.name}: {len(left)} keys missing or left over: {left[0]}")
        model.double().eval()
        logits = {"tagging": per_token, "answers": answers}.get(case, per_sequence)
        with torch.no_grad():
            found = logits(model, golden.make_batch(name, 15))
        far = float((found - load_file(out / f"{name}.safetensors")[f"logits.{case}"]).abs().max())
        worst, count = max(worst, far), count + 1
        if not far <= 1e-5:
            failed.append(f"{folder.name}: logits differ by {far:g}")
    print(f"{count} folders read, logits differ by at most {worst:.2g}")
    for line in failed:
        print("FAILED", line)
    sys.exit(1 if failed or not count else 0)


if __name__ == "__main__":
    transformers.logging.set_verbosity_error()
    os.chdir(out.parent / "models")  # so that no file holds the path of this machine
    if sys.argv[1:2] == ["--check"]:
        check(sys.argv[2])
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    make_bert()
    make_others()
    for name, tensors in seen.items():
        golden.write_safetensors(out / f"{name}.safetensors", tensors, {"adapters": adapters.__version__})
