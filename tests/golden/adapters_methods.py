# SPDX-License-Identifier: MIT
"""What AdapterHub computes on the tiny `bert` for options, compositions and other methods.

make_golden.py calls make_all(); README.md says what the files hold. Adapters are called a, b, c.
What is frozen but not in the checkpoint (fused adapters, VeRA's bases, the base of an orthogonal
map) is among `init` too. Everything is random; weights of norms and scales lie around one.

Each sequence alone. A gate averages over the sequence, and AdapterHub counts the padding, so what
it gives depends on the rest of the batch. Gated methods (and Split, which wants equal lengths) are
therefore recorded from runs of one sequence at a time, without padding.

LoReFT. A unit with weights W [r, in], b [r] gives h + (W h + b - R h) R, h a row; DiReFT leaves
out R h. Units 0 adapt the first min(3, n) rows of a sequence of n, units 1 the last min(2, n); both
read the layer's output, and where they meet, unit 1 wins. R [r, in] is what torch's
parametrizations.orthogonal makes of `...weight.original` P [r, in] and the frozen
`...weight.0.base` Z [in, in], with one Householder reflection per row of P:

    v_k[i] = P[k, i] for i > k, 1 for i = k, 0 for i < k        H_k = I - 2 v_k v_k' / (v_k' v_k)
    R'     = Z (H_0 H_1 ... H_{r-1}) [:, :r] diag(sign)         sign_k = int(P[k, k])

P[k, i] with i < k is unused and has a zero gradient; so has the diagonal, a constant that torch
truncates to an integer. Weight decay would turn R into zero in the first step, so here P is not
decayed. A fresh P is -1 on the diagonal and 0 elsewhere, which gives R' = Z [:, :r].
"""

import itertools
import json
import math
import types
from importlib.metadata import version

import adapters
import adapters.composition as blocks
import torch

import make_golden as golden

rate = 1e-2
factor = 2.5  # 16 // 2.5 = 6, the width of a bottleneck


# --- a model with adapters, and its values ---


def with_adapters(configs, setup=None, fusion=None):
    """The tiny bert; the head and what `setup` names are trained, of a fusion only its layer."""
    model = golden.load("bert")
    adapters.init(model)
    for name, config in configs.items():
        model.add_adapter(name, config=config)
    if fusion:
        model.add_adapter_fusion(setup, fusion)
        model.train_adapter_fusion(setup)
    else:
        model.train_adapter(setup or "a")
    return model.double().eval()


def added(model):
    """Parameters that the checkpoint lacks, and the head; one that layers share comes once."""
    base = {name for name, _ in golden.load("bert").named_parameters()}
    head = ("classifier.",)
    return {n: p for n, p in model.named_parameters() if n not in base or n.startswith(head)}


def randomize(model, method):
    parameters = added(model)
    assert all(n in parameters for n, p in model.named_parameters() if p.requires_grad)
    golden.randomize(parameters, f"bert/{method}", golden.norm_parameters(model))
    with torch.no_grad():
        for name, parameter in parameters.items():
            if name.endswith(".scaling"):
                parameter += 1.0
                parameter.copy_(parameter.float())


def frozen_values(model):
    frozen = {n: p for n, p in added(model).items() if not p.requires_grad}
    frozen |= {n: b for n, b in model.named_buffers() if n.endswith(".base")}
    for name, value in frozen.items():
        assert torch.equal(value.float().double(), value), name
    return {f"init.{name}": value.detach().float() for name, value in frozen.items()}


def describe(config):
    described = {"class": type(config).__name__, **config.to_dict()}
    if isinstance(config, adapters.ReftConfig):  # whose dictionary leaves this out
        described["subtract_projection"] = config.subtract_projection
    return described


def summary(configs, setup, fusion):
    """The configuration for the metadata: that of a, or of every adapter and what joins them."""
    described = {name: describe(config) for name, config in configs.items()}
    if setup is None:
        return described["a"]
    shape = {"block": type(setup).__name__, "children": list(setup.children)}
    for key in ["weights", "batch_sizes"]:
        if hasattr(setup, key):
            shape[key] = getattr(setup, key)
    joined = {"adapters": described, "setup": shape}
    return joined | ({"fusion": describe(fusion)} if fusion else {})


def make(method, configs, setup=None, *, fusion=None, change=None, data=None, **options):
    """`change(model)` may replace the model's forward, or values, before anything is recorded;
    it may give more tensors. `options` are those of golden.record."""
    if not golden.wanted(method):
        return
    if not isinstance(configs, dict):
        configs = {"a": configs}
    model = with_adapters(configs, setup, fusion)
    randomize(model, method)
    more = change(model) if change else None
    extra = frozen_values(model) | (more or {})
    config = summary(configs, setup, fusion)
    data = data or golden.make_batch("bert")
    golden.record(model, "bert", method, "adapters", data, rate, config, extra, **options)


# --- running each sequence alone ---

alone_note = {"batch": "each sequence alone, without padding"}


def run_alone(model, before=None):
    """Replace the model's forward; `before(tokens)` is called with each sequence's length."""
    run = model.forward

    def forward(input_ids, attention_mask=None):
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        rows = [ids[kept.bool()] for ids, kept in zip(input_ids, mask)]
        logits = []
        for row in rows:
            if before:
                before(len(row))
            logits.append(run(input_ids=row[None]).logits)
        return types.SimpleNamespace(logits=torch.cat(logits))

    model.forward = forward


def make_alone(method, config, **options):
    make(method, config, change=run_alone, notes=alone_note, **options)


# --- bottlenecks ---


def make_bottlenecks():
    def seq(**options):
        return adapters.SeqBnConfig(reduction_factor=factor, **options)

    def par(**options):
        return adapters.ParBnConfig(reduction_factor=factor, **options)

    make("bn_ln_before", seq(ln_before=True))
    make("bn_ln_after", seq(ln_after=True))
    make("bn_adapter_residual_before_ln", seq(ln_after=True, adapter_residual_before_ln=True))
    make("bn_original_ln_before_only", seq(original_ln_after=False))
    make("bn_no_original_ln", seq(original_ln_before=False, original_ln_after=False))
    make("bn_residual_input", seq(residual_before_ln=False))
    make("bn_post_add", seq(residual_before_ln="post_add"))
    make("bn_post_add_only", seq(residual_before_ln="post_add", original_ln_after=False))
    mh = dict(mh_adapter=True, output_adapter=False, original_ln_before=False)
    make("bn_mh_only", seq(**mh))
    make("bn_learned_scale", seq(scaling="learned"))
    make("bn_channel_scale", seq(scaling="channel"))
    make_alone("bn_gated", seq(use_gating=True))
    double = adapters.DoubleSeqBnConfig(reduction_factor=factor, leave_out=[0])
    make("bn_leave_out", double)
    widths = {"0": 4.0, "2": 2.0, "default": factor}  # 4, 6, 8
    make("bn_reduction_map", adapters.SeqBnConfig(reduction_factor=widths))
    make("bn_tanh", seq(non_linearity="tanh"))
    make("bn_identity", seq(non_linearity="linear"))

    # stochastic depth acts in training only, and wants torchvision
    plus = adapters.AdapterPlusConfig(reduction_factor=factor, stochastic_depth=0.0)
    make("adapter_plus", plus)
    make("scaled_parallel", par(scaling="learned"))
    make("parallel_mh", par(mh_adapter=True))
    make_alone("parallel_gated", par(use_gating=True))
    make("parallel_ln_after", par(ln_after=True))


def make_compacters():
    shape = dict(reduction_factor=factor, phm_dim=2)
    make("compacter", adapters.CompacterConfig(**shape))
    make("compacter_plus", adapters.CompacterPlusPlusConfig(reduction_factor=2.0, phm_dim=4))

    def phm(**options):
        return adapters.SeqBnConfig(phm_layer=True, phm_dim=2, **options)

    own = dict(shared_phm_rule=False, factorized_phm_W=False)
    make("phm", phm(reduction_factor=factor, **own))
    make("phm_factorized_rule", phm(reduction_factor=factor, factorized_phm_rule=True))
    # a shared W needs a whole reduction factor
    make("phm_shared_w", phm(reduction_factor=2, shared_W_phm=True, phm_rank=2))


# --- unions ---


def make_unions():
    prefix = adapters.PrefixTuningConfig(prefix_length=4, bottleneck_size=10)
    bottleneck = adapters.ParBnConfig(reduction_factor=factor)
    make("mam", adapters.MAMConfig(prefix, bottleneck))
    parts = [
        prefix,
        adapters.SeqBnConfig(reduction_factor=factor),
        adapters.LoRAConfig(r=2, alpha=2),
    ]
    make_alone("unipelt", adapters.UniPELTConfig(*parts))


# --- prefixes and prompts ---


def make_prefixes():
    make("prefix_flat", adapters.PrefixTuningConfig(flat=True, prefix_length=4))
    mlp = adapters.PrefixTuningConfig(prefix_length=4, bottleneck_size=10)
    make("prefix_mlp_adapterhub", mlp)
    two_gates = dict(use_gating=True, shared_gating=False)
    make_alone("prefix_gated", mlp.replace(flat=True, **two_gates))
    for name, combine in [("", "prefix"), ("_after_first", "prefix_after_bos")]:
        prompt = adapters.PromptTuningConfig(prompt_length=5, combine=combine)
        make(f"prompt_adapterhub{name}", prompt, data=golden.make_batch("bert", 15))


# --- composition ---


def make_compositions():
    def seq(names):
        return {name: adapters.SeqBnConfig(reduction_factor=factor) for name in names}

    make_fusions(seq("abc"))
    make("stack", seq("abc"), blocks.Stack("a", "b", "c"))
    average = blocks.Average("a", "b", weights=[0.25, 0.75])
    make("average", seq("ab"), average)
    make_split(seq("ab"))
    make_batch_split(seq("ab"))
    make_parallel(seq("ab"))
    make_tasks(seq("ab"))
    lora = {name: adapters.LoRAConfig(r=2, alpha=6) for name in "ab"}
    make("stack_lora", lora, blocks.Stack("a", "b"))
    make("average_lora", lora, average)


def make_fusions(configs):
    """The regulariser of the value matrices is not in `loss`, but has a scalar of its own.

    AdapterTrainer adds its gradient after every step, so to that of the next one;
    fuse_regularised adds it to each step, the first included, and it is in its `loss`."""
    dynamic, static = adapters.DynamicAdapterFusionConfig(), adapters.StaticAdapterFusionConfig()
    setup = blocks.Fuse(*configs)

    def regulariser(model):
        value = model.bert.get_fusion_regularization_loss()
        return {} if value is None else {"regulariser": value.detach().clone()}

    def with_regulariser(model, data):
        logits, loss = golden.mean_cross_entropy(model, data)
        return logits, loss + model.bert.get_fusion_regularization_loss()

    notes = {"regulariser": "0.01 * sum of squares of (value.weight - identity), not in loss"}
    make("fuse", configs, setup, fusion=dynamic, change=regulariser, notes=notes)
    make("fuse_static", configs, setup, fusion=static)
    notes = {"regulariser": notes["regulariser"].replace("not in", "in")}
    options = dict(fusion=dynamic, change=regulariser, forward=with_regulariser, notes=notes)
    make("fuse_regularised", configs, setup, **options)


def make_split(configs):
    """The first (n + 1) / 2 of n tokens go to a, the rest to b."""
    setup = blocks.Split("a", "b", splits=[1, 1])

    def change(model):
        def cut(tokens):
            first = (tokens + 1) // 2
            model.active_adapters = blocks.Split("a", "b", splits=[first, tokens - first])

        run_alone(model, cut)

    notes = {**alone_note, "splits": "[(n + 1) // 2, n // 2] of n tokens"}
    make("split", configs, setup, change=change, notes=notes)


def make_batch_split(configs):
    """Sequences 0 and 1 through a, the others through b; alone, each with its own."""
    sizes = [2, 3]
    setup = blocks.BatchSplit("a", "b", batch_sizes=sizes)
    first = golden.make_batch("bert").runs()[: sizes[0]]

    def change(model):
        run = model.forward

        def forward(input_ids, **options):
            if len(input_ids) == sum(sizes):
                model.active_adapters = setup
            else:
                mine = any(torch.equal(input_ids[0], row) for row in first)
                model.active_adapters = "a" if mine else "b"
            return run(input_ids=input_ids, **options)

        model.forward = forward

    make("batch_split", configs, setup, change=change)


def make_parallel(configs):
    """Logits only: five rows from a, then five from b."""
    method = "parallel_composition"
    if not golden.wanted(method):
        return
    setup = blocks.Parallel("a", "b")
    model = with_adapters(configs, setup)
    randomize(model, method)
    data = golden.make_batch("bert")
    with torch.no_grad():
        logits = golden.logits_of(model, data)
        for name, part in zip(configs, logits.split(5)):
            model.active_adapters = name
            assert (golden.logits_of(model, data) - part).abs().max() < 1e-12
    out = {**data.tensors(), "logits": logits}
    out |= {f"init.{n}": p.detach().float() for n, p in added(model).items()}
    config = json.dumps(summary(configs, setup, None), sort_keys=True)
    metadata = {"model": "bert", "method": method, "config": config}
    for package in ["torch", "transformers", "adapters"]:
        metadata[package] = version(package)
    golden.write_safetensors(f"bert/{method}.safetensors", out, metadata)
    print(f"bert/{method}: logits only")


def make_tasks(configs):
    """Parallel adapters with a head each: every sequence twice, for the three classes of task 0 and
    the two of task 1. A row's logits of the other task are -inf; `loss` is the mean over all rows,
    labels counted through both tasks. (AdapterHub's heads read the pooler's rows of all adapters, so
    half of what each gives is not meant.)"""
    method = "tasks"
    if not golden.wanted(method):
        return
    model = adapters.BertAdapterModel.from_pretrained("bert")
    model.delete_head("default")
    classes = dict(zip(configs, (3, 2)))
    for name, config in configs.items():
        model.add_adapter(name, config=config)
        model.add_classification_head(name, num_labels=classes[name], layers=1, use_pooler=True)
    setup = blocks.Parallel(*configs)
    model.train_adapter(setup)
    model.double().eval()
    golden.randomize_trainable(model, f"bert/{method}")
    run, alone = model.forward, itertools.cycle(configs)

    def forward(input_ids, attention_mask=None):
        if len(input_ids) == 1:  # one sequence for one task, in turn
            name = next(alone)
            model.active_adapters = model.active_head = name
            parts = [torch.zeros(0, n).double() for n in classes.values()]
            parts[list(configs).index(name)] = run(input_ids).logits
        else:
            model.active_adapters = setup
            model.active_head = list(configs)
            outs = run(input_ids[::2], attention_mask=attention_mask[::2])
            parts = [out.logits.chunk(2)[i] for i, out in enumerate(outs)]
        mine = torch.block_diag(*[torch.ones_like(part) for part in parts]).bool()
        logits = torch.block_diag(*parts).masked_fill(~mine, -math.inf)
        rows = torch.arange(len(logits)).view(-1, len(input_ids) // 2 or 1).T.flatten()
        return types.SimpleNamespace(logits=logits[rows])

    model.forward = forward
    once = golden.make_batch("bert")
    runs = [run for run in once.runs() for _ in configs]
    offsets = [sum(len(run) for run in runs[:i]) for i in range(len(runs) + 1)]
    labels = torch.stack([once.labels, 3 + (once.labels + torch.arange(5)) % 2], 1).flatten()
    data = golden.batch(torch.cat(runs), offsets, labels, once.pad)
    tasks = {"input.tasks": torch.arange(len(runs)) % 2}
    config = summary(configs, setup, None)
    golden.record(model, "bert", method, "adapters", data, rate, config, tasks)


# --- the rest ---


def make_others():
    make("ia3_adapterhub", adapters.IA3Config())
    make("vera_adapterhub", adapters.VeraConfig(r=4, alpha=8))
    places = dict(prefix_positions=3, suffix_positions=2, r=2)
    make("loreft", adapters.LoReftConfig(**places), change=orthogonal, **undecayed_orthogonal)
    make("noreft", adapters.NoReftConfig(**places))
    make("direft", adapters.DiReftConfig(**places))


def hadamard(key):
    """A 16 x 16 orthogonal matrix that float32 holds exactly: rows shuffled, some negated."""
    pair = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64) / 2**0.5
    square = torch.kron(pair, pair).round(decimals=12)
    order = golden.normal(f"{key}/order", (16,)).argsort()
    signs = golden.normal(f"{key}/signs", (16, 1)).sign()
    return torch.kron(square, square)[order] * signs


def orthogonal(model):
    """A unit's reflections get values where it reads them, its diagonal is +1 or -1."""
    for name, module in model.named_modules():
        if not name.endswith("projection.parametrizations.weight"):
            continue
        module[0].base = hadamard(name)
        with torch.no_grad():
            raw = module.original
            signs = golden.normal(f"{name}/diagonal", (len(raw),)).sign().diag()
            raw.copy_(raw.triu(1))
            raw[:, : len(raw)] += signs
        rows = module()
        assert torch.allclose(rows @ rows.mT, torch.eye(len(rows)).double(), atol=1e-14)
        assert torch.allclose(rows, reflected(raw, module[0].base), atol=1e-14)


def reflected(raw, base):
    """R as the text at the top of this file says, to hold it against torch."""
    result = torch.eye(*raw.mT.shape, dtype=raw.dtype)
    for k in reversed(range(len(raw))):
        v = raw[k].clone()
        v[:k], v[k] = 0.0, 1.0
        result = result - 2.0 / (v @ v) * torch.outer(v, v @ result)
    return (base @ result * raw.diagonal().int()).mT


def adamw_sparing_orthogonal(decayed, undecayed, rate):
    spared = {n: p for n, p in decayed.items() if ".parametrizations." in n}
    decayed = {n: p for n, p in decayed.items() if n not in spared}
    return golden.adamw(decayed, undecayed | spared, rate)


undecayed_orthogonal = dict(
    optimizer_of=adamw_sparing_orthogonal,
    notes={"undecayed": "bias, layer norm, orthogonal"},
)


def make_all():
    make_bottlenecks()
    make_compacters()
    make_unions()
    make_prefixes()
    make_compositions()
    make_others()
