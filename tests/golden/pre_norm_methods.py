# SPDX-License-Identifier: MIT
"""What the peers compute on a tiny pre-LN encoder, `roberta_prelayernorm`.

make_golden.py calls make_peft() and make_adapters(); README.md says what the files hold.

AdapterHub does not support this model. In a pre-LN encoder that it does support (its ViT) it puts a
BottleneckLayer in the place of either residual connection, which is given the sub-layer's output, the
residual and no norm. Here the model gets the same BottleneckLayers in the same places; they are called
what they are in AdapterHub's RoBERTa."""

import types

import torch
from safetensors.torch import safe_open

import make_golden as golden

name = "roberta_prelayernorm"
head = "classifier."
factor = 2.0  # 12 // 2 = 6, the width of a bottleneck


def make_peft():
    golden.train_only(name, "full", lambda n: True, 1e-3, {"trained": "everything"})
    golden.make_lora(name, "lora", golden.peers[name].query_value)
    norms = golden.norm_parameters(golden.load(name))
    chosen = lambda n: n in norms or n.startswith(head)
    golden.train_only(name, "norms", chosen, 1e-2, {"trained": "every layer norm, classifier"})


def join_forward(self, hidden_states, input_tensor):
    hidden_states = self.dropout(self.dense(hidden_states))
    return self.join[0].bottleneck_layer_forward(hidden_states, input_tensor, None)


def with_adapter(config):
    from adapters import ModelAdaptersConfig
    from adapters.composition import Stack
    from adapters.methods.bottleneck import BottleneckLayer

    model = golden.load(name)
    with safe_open(f"{name}/full.safetensors", "pt") as full:
        gap = golden.logits_of(model, golden.make_batch(name)) - full.get_tensor("logits")
    assert gap.abs().max() < 1e-12, "the two environments compute different base models"
    adapters_config = ModelAdaptersConfig()
    adapters_config.add("a", config=config)
    adapters_config.active_setup = Stack("a")
    for parameter in model.base_model.parameters():
        parameter.requires_grad_(False)
    for index, layer in enumerate(model.base_model.encoder.layer):
        for output, place in [
            (layer.attention.output, "mh_adapter"),
            (layer.output, "output_adapter"),
        ]:
            join = BottleneckLayer(place)
            join.init_adapters(model.config, adapters_config)
            join.add_adapter("a", index)
            output.adapters = join.adapters
            output.join = [join]  # in a list: its parameters are listed once
            output.forward = types.MethodType(join_forward, output)
    return model.double().eval()


def make(method, config):
    if not golden.wanted(method):
        return
    model = with_adapter(config)
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
    assert all(".adapters.a." in n or n.startswith(head) for n in trained)
    down = [p for n, p in trained.items() if ".adapter_down." in n and p.ndim == 2]
    assert down and all(len(p) == 6 for p in down)
    golden.randomize(trained, f"{name}/{method}", golden.norm_parameters(model))
    with torch.no_grad():
        for n, parameter in trained.items():
            if n.endswith(".scaling"):
                parameter += 1.0
                parameter.copy_(parameter.float())
    described = {"class": type(config).__name__, **config.to_dict()}
    golden.record(model, name, method, "adapters", golden.make_batch(name), 1e-2, described)


def make_adapters():
    import adapters

    def seq(**options):
        return adapters.SeqBnConfig(reduction_factor=factor, **options)

    both = dict(reduction_factor=factor, scaling=4.0, mh_adapter=True)
    make("houlsby", adapters.DoubleSeqBnConfig(reduction_factor=factor))
    make("pfeiffer", seq())
    make("pfeiffer_both", seq(mh_adapter=True))
    make("parallel", adapters.ParBnConfig(**both))
    make("bn_ln_before", seq(ln_before=True))
    make("bn_ln_after", seq(ln_after=True))
    make("bn_adapter_residual_before_ln", seq(ln_after=True, adapter_residual_before_ln=True))
    make("bn_original_ln_before_only", seq(original_ln_after=False))
    make("bn_no_original_ln", seq(original_ln_before=False, original_ln_after=False))
    make("bn_residual_input", seq(residual_before_ln=False))
    plus = adapters.AdapterPlusConfig(reduction_factor=factor, stochastic_depth=0.0)
    make("adapter_plus", plus)
