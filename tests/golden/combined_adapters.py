# SPDX-License-Identifier: MIT
"""What PEFT makes of several LoRA adapters (add_weighted_adapter), in the environment of
requirements-peft.txt:  python combined_adapters.py

`models/combined.safetensors`: adapters `a` to `d` on a BERT of two layers, in the names of graft
(`a.layer.0.attention.query.lora.a`), F32; for each combination its A and B at every place, F64. The
metadata says what the adapters and the combinations are. What draws at random has density 1.

PEFT leaves `use_rslora` of the first adapter in the configuration of what it makes, whose B A is
then taken √r times; so no rank-stabilised adapter comes first here, and it is B A that counts."""

import json
from importlib.metadata import version
from pathlib import Path

import torch
from transformers import BertConfig, BertModel

import make_golden as golden

adapters = {
    "a": dict(r=2, lora_alpha=4, target_modules=["query", "value", "word_embeddings"]),
    "b": dict(
        r=2, lora_alpha=3, use_rslora=True, target_modules=["query", "key", "word_embeddings"]
    ),
    "c": dict(r=4, lora_alpha=2, target_modules=["query", "value"]),
    "d": dict(r=2, lora_alpha=1, target_modules=["query", "key", "value", "word_embeddings"]),
}
of_one_rank = dict(adapters=["a", "b", "d"], weights=[0.7, 1.5, -0.4])
of_all_ranks = dict(adapters=["a", "b", "c", "d"], weights=[0.7, -1.5, 1.0, 2.0])
by_frequency = dict(majority_sign_method="frequency")
combinations = [
    dict(combination_type="linear", **of_one_rank),
    dict(combination_type="magnitude_prune", density=0.4, **of_one_rank),
    dict(combination_type="ties", density=0.6, **of_one_rank),
    dict(combination_type="ties", density=0.6, **by_frequency, **of_one_rank),
    dict(combination_type="dare_linear", density=1.0, **of_one_rank),
    dict(combination_type="dare_ties", density=1.0, **of_one_rank),
    dict(combination_type="cat", **of_all_ranks),
    dict(combination_type="svd", **of_all_ranks),
    dict(combination_type="svd", svd_rank=3, **of_all_ranks),
    dict(combination_type="magnitude_prune_svd", density=0.3, **of_all_ranks),
    dict(combination_type="ties_svd", density=0.5, svd_rank=5, **of_all_ranks),
    dict(combination_type="ties_svd", density=0.5, **by_frequency, **of_all_ranks),
    dict(combination_type="dare_linear_svd", density=1.0, **of_all_ranks),
    dict(combination_type="dare_ties_svd", density=1.0, **of_all_ranks),
]


def ours(module):
    steps = {"base_model.model.": "", "encoder.": "", "self.": "", "word_embeddings": "word"}
    for theirs, of_graft in steps.items():
        module = module.replace(theirs, of_graft)
    return module


def factors(model, adapter):
    """A and B at each place, under graft's names; a table's A is the transpose of PEFT's."""
    found = {}
    for path, module in model.named_modules():
        if adapter in getattr(module, "lora_embedding_A", {}):
            found[ours(path) + ".lora.embedding_a"] = module.lora_embedding_A[adapter].data.T
            found[ours(path) + ".lora.embedding_b"] = module.lora_embedding_B[adapter].data
        elif adapter in getattr(module, "lora_A", {}):
            found[ours(path) + ".lora.a"] = module.lora_A[adapter].weight.data
            found[ours(path) + ".lora.b"] = module.lora_B[adapter].weight.data
    return found


def make_all():
    import peft

    torch.set_default_dtype(torch.float64)  # PEFT makes tensors of its own of the weights
    torch.manual_seed(0)  # for the signs of zeros that PEFT fills up with
    sizes = dict(vocab_size=23, hidden_size=16, num_hidden_layers=2, num_attention_heads=2)
    base = BertModel(BertConfig(**sizes, intermediate_size=24, max_position_embeddings=8))
    configs = {name: peft.LoraConfig(**options) for name, options in adapters.items()}
    model = peft.get_peft_model(base.double(), configs["a"], adapter_name="a")
    for name in list(configs)[1:]:
        model.add_adapter(name, configs[name])
    tensors = {}
    for name in configs:
        for path, values in factors(model, name).items():
            values.copy_(0.3 * golden.normal(f"combined/{name}/{path}", values.shape))
            tensors[f"{name}.{path}"] = values.float()
    for number, options in enumerate(combinations):
        model.base_model.add_weighted_adapter(adapter_name=f"made{number}", **options)
        for path, values in factors(model, f"made{number}").items():
            tensors[f"{number}.{path}"] = values.double()
    metadata = {package: version(package) for package in ["peft", "torch"]}
    metadata["adapters"] = json.dumps(adapters)
    metadata["combinations"] = json.dumps(combinations)
    golden.write_safetensors(
        Path(__file__).parent / "models" / "combined.safetensors", tensors, metadata
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    make_all()
