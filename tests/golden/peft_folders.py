# SPDX-License-Identifier: MIT
"""Adapter folders as PEFT's save_pretrained writes them, a method, model and option each, and the
outputs of the models that PeftModel.from_pretrained makes of them.

    python peft_folders.py            writes peft_folders/
    python peft_folders.py --check DIR    reads folders of the same names that graft wrote, and compares

All are on the tiny models of models/. expected.safetensors holds `FAMILY.ids` [3, longest], -1 where a
text is over, and `CASE` in float64, a row of outputs per text or, of models for tokens, per token.
"""

import argparse
import hashlib
import json
import os
import shutil
import sys
import warnings

import torch
import transformers
from safetensors.torch import load_file, save_file

here = os.path.dirname(os.path.abspath(__file__))
out = os.path.join(here, "peft_folders")
families = ["bert", "roberta", "distilbert", "roberta_prelayernorm"]
texts = {"bert": [5, 9, 2], "roberta": [4, 8, 3], "distilbert": [6, 9, 2], "roberta_prelayernorm": [5, 7, 3]}

query = {"distilbert": "q_lin"}
key = {"distilbert": "k_lin"}
value = {"distilbert": "v_lin"}
outer = {"distilbert": "lin2"}


def of(table, family, otherwise):
    return table.get(family, otherwise)


def targets(family):
    return [of(query, family, "query"), of(value, family, "value")]




def linear_pattern(family):
    if family == "distilbert":
        return r".*\.(q_lin|k_lin|v_lin|out_lin|lin1|lin2)"
    return r".*\.layer\.\d+\..*(query|key|value|dense)"


def module(family, layer_number, part):
    stack = "distilbert.transformer" if family == "distilbert" else f"{family}.encoder"
    inside = "attention" if family == "distilbert" else "attention.self"
    return f"{stack}.layer.{layer_number}.{inside}.{part}"


def word_table(family):
    return "word_embeddings"


def cases(family):
    """name -> (PEFT's config class, its options, kind of the model)"""
    q, v = targets(family)
    head = ["pre_classifier", "classifier"] if family == "distilbert" else ["classifier"]
    lora = dict(r=4, lora_alpha=8, target_modules=[q, v], modules_to_save=head)
    longest = {"lora_bias": True, "target_modules": linear_pattern(family)}
    yield "lora", ("LoraConfig", lora, "classes")
    yield "lora_all", ("LoraConfig", {**lora, "target_modules": linear_pattern(family), "r": 2}, "classes")
    yield "lora_linear", ("LoraConfig", {**lora, "target_modules": "all-linear", "r": 3}, "classes")
    yield "lora_root", ("LoraConfig", {**lora, "use_rslora": True, "lora_alpha": 3.5}, "classes")
    yield "lora_patterns", ("LoraConfig", {**lora, "rank_pattern": {q: 2, module(family, 1, v): 5},
                                           "alpha_pattern": {rf"layer\.0\..*{v}": 20, q: 6}}, "classes")
    yield "lora_bias", ("LoraConfig", {**lora, **longest}, "classes")
    yield "lora_only", ("LoraConfig", {**lora, "bias": "lora_only"}, "classes")
    yield "lora_biases", ("LoraConfig", {**lora, "bias": "all"}, "classes")
    yield "lora_layers", ("LoraConfig", {**lora, "layers_to_transform": [1]}, "classes")
    yield "lora_excluded", ("LoraConfig", {**lora, "exclude_modules": rf".*\.layer\.0\..*{q}"}, "classes")
    yield "lora_words", ("LoraConfig", {**lora, "target_modules": [word_table(family), q]}, "classes")
    yield "lora_tokens", ("LoraConfig", {**lora, "trainable_token_indices": {word_table(family): [7, 3, 20]}}, "classes")
    yield "lora_half", ("LoraConfig", lora, "half")
    yield "lora_bfloat", ("LoraConfig", lora, "bfloat")
    yield "lora_regression", ("LoraConfig", lora, "number")
    yield "lora_words_of", ("LoraConfig", {**lora, "modules_to_save": None}, "tags")
    yield "lora_answers", ("LoraConfig", {**lora, "modules_to_save": None}, "answers")
    yield "lora_encoder", ("LoraConfig", {**lora, "modules_to_save": None}, "encoder")
    yield "lora_no_head", ("LoraConfig", {**lora, "modules_to_save": None}, "frozen head")
    yield "dora", ("LoraConfig", {**lora, "use_dora": True}, "classes")
    yield "dora_root", ("LoraConfig", {**lora, "use_dora": True, "use_rslora": True, "r": 2}, "classes")
    yield "adalora", ("AdaLoraConfig", dict(init_r=3, target_r=2, lora_alpha=6, target_modules=[q, v],
                                            total_step=10, modules_to_save=head), "classes")
    k, o = of(key, family, "key"), of(outer, family, "output.dense")
    yield "ia3", ("IA3Config", dict(target_modules=[k, v, o], feedforward_modules=[o], modules_to_save=head), "classes")
    yield "vera", ("VeraConfig", dict(r=5, target_modules=[q, v], modules_to_save=head), "classes")
    sizes = dict(token_dim=12, num_attention_heads=3, num_layers=3) if family == "distilbert" else {}
    yield "prompt", ("PromptTuningConfig", dict(num_virtual_tokens=4, **sizes), "classes")
    yield "p_tuning", ("PromptEncoderConfig", dict(num_virtual_tokens=3, encoder_hidden_size=6, **sizes), "classes")
    if family in ("bert", "roberta"):
        yield "prefix", ("PrefixTuningConfig", dict(num_virtual_tokens=4), "classes")
    yield "tokens", ("TrainableTokensConfig", dict(token_indices=[9, 2], target_modules=[word_table(family)]), "frozen head")


def task_of(kind):
    return {"tags": "TOKEN_CLS", "answers": "QUESTION_ANS", "encoder": "FEATURE_EXTRACTION",
            "frozen head": None}.get(kind, "SEQ_CLS")


def base(family, kind):
    auto = {"tags": transformers.AutoModelForTokenClassification,
            "answers": transformers.AutoModelForQuestionAnswering,
            "encoder": transformers.AutoModel}.get(kind, transformers.AutoModelForSequenceClassification)
    folder = os.path.join(here, "models", family)
    own = {"number": {"num_labels": 1, "ignore_mismatched_sizes": True},
           "answers": {"num_labels": 2}}.get(kind, {})
    torch.manual_seed(3)
    return auto.from_pretrained(folder, **own).eval()


def draw(name, shape):
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little") % (1 << 62)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def ids_of(family):
    generator = torch.Generator().manual_seed(len(family))
    longest = max(texts[family])
    ids = torch.full((len(texts[family]), longest), -1, dtype=torch.int64)
    for i, n in enumerate(texts[family]):
        ids[i, :n] = torch.randint(4, 60, (n,), generator=generator)
    ids[0, 1], ids[1, 2], ids[2, 1] = 7, 3, 9  # among the trained tokens
    return ids


def outputs(model, family, kind):
    rows = []
    with torch.no_grad():
        for row in ids_of(family):
            text = row[row >= 0][None]
            y = model(input_ids=text, attention_mask=torch.ones_like(text))
            if kind == "answers":
                rows.append(torch.stack([y.start_logits[0], y.end_logits[0]], dim=1))
            elif kind == "encoder":
                rows.append(y.last_hidden_state[0])
            else:
                rows.append(y.logits[0] if kind == "tags" else y.logits)
    return torch.cat(rows)


def opened(folder, family, kind, strict=True):
    """The model of a folder, in double; what PEFT warns of is an error."""
    import peft

    model = base(family, kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        warnings.simplefilter("error" if strict else "always", UserWarning)
        model = peft.PeftModel.from_pretrained(model, folder)
    return model.double().eval()


def write():
    import peft

    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    expected = {}
    for family in families:
        expected[f"{family}.ids"] = ids_of(family)
        for name, (cls, options, kind) in cases(family):
            case = f"{family}.{name}"
            own = json.loads(json.dumps(options))
            config = getattr(peft, cls)(task_type=task_of(kind), **own)
            model = peft.get_peft_model(base(family, kind), config)
            with torch.no_grad():
                for path, p in model.named_parameters():
                    if p.requires_grad:
                        around = 1.0 if "ia3_l" in path or "magnitude" in path else 0.0
                        p.copy_(around + 0.3 * draw(f"{case}.{path}", p.shape))
            if cls == "AdaLoraConfig":  # directions that were taken away; all of one site
                names = [n[: -len(".default")] for n, _ in model.named_parameters() if n.endswith("lora_E.default")]
                masks = [[True, False, True], [True] * 3, [False, True, False]]
                model.peft_config["default"].rank_pattern = {
                    n.removeprefix("base_model.model."): masks[i % 3] for i, n in enumerate(names)}
            if kind in ("half", "bfloat"):
                model = model.to(torch.float16 if kind == "half" else torch.bfloat16)
            folder = os.path.join(out, case)
            model.save_pretrained(folder)
            os.remove(os.path.join(folder, "README.md"))
            path = os.path.join(folder, "adapter_config.json")
            text = json.load(open(path))
            text["base_model_name_or_path"] = family
            json.dump(text, open(path, "w"), indent=1, sort_keys=True)
            expected[case] = outputs(opened(folder, family, kind, False), family, kind).contiguous()
            print(case, tuple(expected[case].shape))
    save_file(expected, os.path.join(out, "expected.safetensors"))


def check(folder):
    expected = load_file(os.path.join(out, "expected.safetensors"))
    worst, count, failed = 0.0, 0, []
    for family in families:
        for name, (_, _, kind) in cases(family):
            case = f"{family}.{name}"
            if not os.path.exists(os.path.join(folder, case)):
                assert name == "tokens", case  # which PEFT has no other form for
                continue
            try:
                found = outputs(opened(os.path.join(folder, case), family, kind), family, kind)
                far = (found - expected[case]).abs().max().item()
            except Exception as e:  # whatever PEFT throws
                failed.append(f"{case}: {type(e).__name__}: {e}")
                continue
            worst, count = max(worst, far), count + 1
            if not far <= 1e-5:
                failed.append(f"{case}: outputs differ by {far:g}")
    print(f"{count} folders read, outputs differ by at most {worst:.2g}")
    for line in failed:
        print("FAILED", line)
    sys.exit(1 if failed or not count else 0)


if __name__ == "__main__":
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--check", metavar="DIR")
    chosen = arguments.parse_args()
    check(chosen.check) if chosen.check else write()
