# SPDX-License-Identifier: MIT
"""What PEFT computes for methods other than plain LoRA, all on the tiny `bert` but convolutions.

make_golden.py calls make_all(); README.md says what the files hold beyond a plain run."""

import os
import tempfile
from importlib.metadata import version

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

import make_golden as golden

query_value = ["query", "value"]
feed_forward_output = r".*\.layer\.\d+\.output\.dense"  # and not attention.output.dense
head = ["classifier"]


def adapted(method, config, base=None):
    """The tiny bert with a fresh adapter and head; every trained value is random."""
    import peft

    model = peft.get_peft_model(base or golden.load("bert"), config).double().eval()
    golden.randomize_trainable(model, f"bert/{method}")
    return model


def settle(parameter, around, key):
    """Values near `around`, exact in float32."""
    with torch.no_grad():
        parameter.copy_((around * (1 + 0.3 * golden.normal(key, parameter.shape))).float())


def record(model, method, settings, rate=1e-2, longest=None, extra=None, **own):
    data = golden.make_batch("bert", longest)
    golden.record(model, "bert", method, "peft", data, rate, settings, extra, **own)


# --- LoRA and what starts from it ---


def lora_settings(**options):
    base = dict(r=4, lora_alpha=8, lora_dropout=0.0, bias="none")
    return {**base, "target_modules": query_value, "modules_to_save": head, **options}


def lora_config(settings):
    import peft

    own = {k: list(v) if isinstance(v, list) else v for k, v in settings.items()}
    return peft.LoraConfig(task_type="SEQ_CLS", **own)  # PEFT adds to the lists it is given


def make_dora():
    """y = W x + b + (m / n - 1) W x + (m / n) s B A x, n = row norms of W + s B A, a constant in
    the gradient; m starts at the row norms of W."""
    settings = lora_settings(use_dora=True)
    model = adapted("dora", lora_config(settings))
    sites = {path: m for path, m in model.named_modules() if hasattr(m, "lora_magnitude_vector")}
    assert len(sites) == 6
    for path, site in sites.items():
        norms = site.get_base_layer().weight.detach().norm(dim=1)
        settle(site.lora_magnitude_vector["default"].weight, norms, f"bert/dora/{path}")
    record(model, "dora", settings)


def make_lora_fa():
    """A stays as it is, B is trained by plain AdamW. (PEFT's own LoRA-FA optimizer also takes
    dB (A A^T)^-1 / s^2 for the gradient dB, in bfloat16 where it can.)"""
    settings = lora_settings()
    model = adapted("lora_fa", lora_config(settings))
    frozen = {n: p for n, p in model.named_parameters() if "lora_A" in n}
    for parameter in frozen.values():
        parameter.requires_grad_(False)
    extra = {f"init.{golden.public_name(n)}": p.float() for n, p in frozen.items()}
    record(model, "lora_fa", settings, extra=extra, notes={"frozen": "lora_A"})


def make_lora_plus():
    """PEFT says which parameters learn faster; which ones decay stays this folder's rule."""
    from peft.optimizers import create_loraplus_optimizer

    ratio = 16
    settings = lora_settings()
    model = adapted("lora_plus", lora_config(settings))

    def two_rates(decayed, undecayed, rate):
        theirs = create_loraplus_optimizer(
            model, torch.optim.AdamW, lr=rate, loraplus_lr_ratio=ratio
        )
        rates = {id(p): group["lr"] for group in theirs.param_groups for p in group["params"]}
        groups = [
            {"params": [p], "weight_decay": decay, "lr": rates[id(p)]}
            for decay, own in [(golden.weight_decay, decayed), (0.0, undecayed)]
            for p in own.values()
        ]
        return torch.optim.AdamW(groups, lr=rate, betas=golden.betas, eps=golden.eps)

    notes = {"rate_ratio": str(ratio), "faster": "lora_B and every vector (classifier.bias)"}
    record(model, "lora_plus", settings, rate=1e-3, optimizer_of=two_rates, notes=notes)


def make_decomposed(method):
    """PiSSA and OLoRA: A and B come out of W, which keeps the rest. PEFT decomposes in float32."""
    import peft

    if not golden.wanted(method):
        return
    settings = lora_settings(init_lora_weights=method)
    base = golden.load("bert").float()
    before = {n: p.detach().clone() for n, p in base.named_parameters()}
    model = peft.get_peft_model(base, lora_config(settings)).double().eval()
    heads = {n: p for n, p in model.named_parameters() if p.requires_grad and "classifier" in n}
    golden.randomize(heads, f"bert/{method}")

    rest = {}
    for path, module in model.named_modules():
        if hasattr(module, "lora_A"):
            name = f"{golden.public_name(path)}.weight"
            weight = module.get_base_layer().weight.detach()
            whole = weight + module.get_delta_weight("default")
            assert (whole - before[name]).abs().max() < 1e-5
            rest[f"base.{name}"] = weight.float()
    assert len(rest) == 6

    with tempfile.TemporaryDirectory() as folder:

        def as_plain_lora():
            start = os.path.join(folder, "start")
            end = os.path.join(folder, "end")
            model.save_pretrained(end, path_initial_model_for_weight_conversion=start)
            plain = load_file(os.path.join(end, "adapter_model.safetensors"))
            return {f"plain.{golden.public_name(n)}": value for n, value in plain.items()}

        config = model.peft_config["default"]
        config.init_lora_weights = True  # else reading `start` would decompose W once more
        model.save_pretrained(os.path.join(folder, "start"))
        config.init_lora_weights = method
        notes = {"decomposed_in": "float32"}
        record(model, method, settings, extra=rest, finish=as_plain_lora, notes=notes)


# --- VeRA, AdaLoRA, IA3 ---


def make_vera(method, targets):
    """y = W x + b + v * (B (d * (A x))) with one A and one B for all sites, of which a site takes
    the first columns of A and the first rows of B; d is vera_lambda_d, v is vera_lambda_b."""
    import peft

    if not golden.wanted(method):
        return
    settings = dict(r=4, save_projection=True, d_initial=0.1, projection_prng_key=0)
    settings |= {"vera_dropout": 0.0, "target_modules": targets, "modules_to_save": head}
    own = {**settings, "modules_to_save": list(head)}
    model = adapted(method, peft.VeraConfig(task_type="SEQ_CLS", **own))
    inside = model.base_model
    shared = {f"shared.vera_{x}": getattr(inside, f"vera_{x}")["default"].float() for x in "AB"}
    record(model, method, settings, extra=shared)


def make_adalora():
    """delta W = B (E * A) alpha / (r + 1e-5), r = init_r also when fewer entries of E are left.

    loss = cross-entropy + orth_reg_weight * orth, orth = the mean over all lora_A and lora_B of the
    Frobenius norms |A A^T - 1|, |B^T B - 1|. After each optimizer step, `step` counted from 0, with
    the step's gradient g and the values p after it, for every element of A, E and B while
    step < total_step - tfinal:

        i = |p g|,  I = beta1 I + (1 - beta1) i,  U = beta2 U + (1 - beta2) |i - I|  (the new I)

    and, if tinit < step <= last and deltaT divides step (at `last` always),

        score of a triplet = (I U of E) + mean over in of (I U of A) + mean over out of (I U of B)
        budget = int((first - target) (1 - (step - tinit) / (last - tinit))^3 + target)
        last = total_step - tfinal
        first = init_r * sites, target = target_r * sites
        E = 0 wherever the score is at most the (first - budget)-th smallest of all sites.

    Later steps repeat the last of these masks. A masked E is trained on and may come back."""
    import peft

    if not golden.wanted("adalora"):
        return
    settings = dict(init_r=4, target_r=2, tinit=2, tfinal=2, deltaT=1, beta1=0.85, beta2=0.85)
    settings |= dict(orth_reg_weight=0.5, total_step=golden.steps, lora_alpha=8, lora_dropout=0.0)
    settings |= {"target_modules": query_value, "modules_to_save": head}
    own = {k: list(v) if isinstance(v, list) else v for k, v in settings.items()}
    base = golden.load("bert").float()  # PEFT trains its constant `ranknum` in any other type
    model = adapted("adalora", peft.AdaLoraConfig(task_type="SEQ_CLS", **own), base)
    assert not any(p.requires_grad for n, p in model.named_parameters() if "ranknum" in n)
    sites = [n for n, _ in model.base_model.model.named_parameters() if "lora_E" in n]
    ranks, orth = [torch.ones(len(sites), settings["init_r"], dtype=torch.int64)], []

    def regularised(model, data):
        ids, mask = data.padded()
        out = model(input_ids=ids, attention_mask=mask, labels=data.labels)
        plain = F.cross_entropy(out.logits, data.labels)
        orth.append(((out.loss - plain) / settings["orth_reg_weight"]).detach())
        return out.logits, out.loss

    def allocate(step):
        model.base_model.update_and_allocate(step)
        pattern = model.peft_config["default"].rank_pattern
        now = torch.tensor([pattern[n] for n in sites]).long() if pattern else ranks[0]
        masked = torch.stack([model.base_model.model.get_parameter(n)[:, 0] == 0 for n in sites])
        assert torch.equal(masked, now == 0)
        ranks.append(now)

    record(
        model,
        "adalora",
        settings,
        forward=regularised,
        after_step=allocate,
        finish=lambda: {"ranks": torch.stack(ranks), "orth": torch.stack(orth)},
        notes={"sites": " ".join(golden.public_name(n).removesuffix(".lora_E") for n in sites)},
    )


def make_ia3():
    """y = l * (W x + b) at key and value, y = W (l * x) + b at the feed-forward output."""
    import peft

    if not golden.wanted("ia3"):
        return
    settings = {"target_modules": rf".*\.(key|value)|{feed_forward_output}"}
    settings |= {"feedforward_modules": feed_forward_output, "modules_to_save": head}
    own = {**settings, "modules_to_save": list(head)}
    model = adapted("ia3", peft.IA3Config(task_type="SEQ_CLS", **own))
    scales = {n: p for n, p in model.named_parameters() if "ia3_l" in n}
    assert len(scales) == 9
    for name, parameter in scales.items():
        settle(parameter, 1.0, f"bert/ia3/{name}")
    record(model, "ia3", settings)


# --- prompts ---


def make_prompt(method, cls, rows, computed, **options):
    """`computed` where the rows come out of a network: then they are recorded as `prompt`."""
    import peft

    if not golden.wanted(method):
        return
    settings = dict(num_virtual_tokens=rows, **options)
    model = adapted(method, getattr(peft, cls)(task_type="SEQ_CLS", **settings))
    finish = lambda: {"prompt": model.get_prompt_embedding_to_save("default")}
    longest = golden.peers["bert"].longest - rows  # PEFT gives the rows positions of their own
    record(model, method, settings, longest=longest, finish=finish if computed else None)


def make_norms():
    norms = golden.norm_parameters(golden.load("bert"))
    chosen = lambda n: n in norms or n.startswith("classifier.")
    golden.train_only("bert", "norms", chosen, 1e-2, {"trained": "every layer norm, classifier"})


# --- convolutions ---


def make_conv(method, channels, size, out, rank=0, **geometry):
    """y = conv2d(x), with a LoRA around it where there is a rank; the gradients of (m * y).sum().

    PEFT gives lora_A the stride and padding of the layer it goes around, but not its dilation, with
    which lora_A's images would have another size than the layer's; here lora_A has it."""
    import peft

    if not golden.wanted(method):
        return
    layer = torch.nn.Conv2d(channels, out, **geometry)
    model = torch.nn.Sequential(layer)
    if rank:
        settings = peft.LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=["0"])
        model = peft.get_peft_model(model, settings)
        model.base_model.model[0].lora_A["default"].dilation = layer.dilation
    model = model.double()
    name = lambda n: golden.public_name(n).replace(".base_layer", "").removeprefix("0.")
    golden.randomize({name(n): p for n, p in model.named_parameters()}, f"conv/{method}")
    model.requires_grad_(True)

    x = golden.normal(f"conv/{method}/x", (3, channels, *size)).double().requires_grad_()
    y = model(x)
    m = golden.normal(f"conv/{method}/m", y.shape).double()
    (m * y).sum().backward()
    tensors = {"x": x, "y": y, "m": m, "grad.x": x.grad}
    for n, p in model.named_parameters():
        tensors |= {f"init.{name(n)}": p.float(), f"grad.{name(n)}": p.grad}
    numbers = {"rank": rank, "in": channels, "out": out, "groups": layer.groups}
    metadata = {key: str(number) for key, number in numbers.items()}
    pairs = {key: getattr(layer, key) for key in ["kernel_size", "stride", "padding", "dilation"]}
    for key, (height, width) in {"size": size, **pairs}.items():
        metadata |= {f"{key}.height": str(height), f"{key}.width": str(width)}
    for package in ["torch", "peft"]:
        metadata[package] = version(package)
    os.makedirs("conv", exist_ok=True)
    golden.write_safetensors(f"conv/{method}.safetensors", tensors, metadata)
    golden.recorded.add(method)
    print(f"conv/{method}: {list(x.shape)} -> {list(y.shape)}")


def make_convs():
    strided = dict(kernel_size=(3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2))
    grouped = dict(kernel_size=3, stride=2, padding=2, dilation=2, groups=2)
    make_conv("conv2d", 3, (6, 5), 4, **strided)
    make_conv("conv2d_grouped", 4, (7, 6), 6, **grouped)
    make_conv("lora_conv2d", 3, (6, 5), 4, rank=2, **strided)
    make_conv("lora_conv2d_grouped", 4, (7, 6), 6, rank=4, **grouped)


def make_all():
    for method in ["dora", "lora_fa", "lora_plus"]:
        if golden.wanted(method):
            globals()[f"make_{method}"]()
    golden.make_lora("bert", "lora_embedding", ["word_embeddings", "query"])
    patterns = dict(rank_pattern={"value": 2}, alpha_pattern={"value": 16})
    golden.make_lora("bert", "lora_patterns", query_value, **patterns)
    make_decomposed("pissa")
    make_decomposed("olora")
    make_vera("vera", query_value)
    make_vera("vera_ffn", ["query", "intermediate.dense"])
    make_vera("vera_sliced", rf".*\.query|.*\.intermediate\.dense|{feed_forward_output}")
    make_adalora()
    make_ia3()
    make_prompt("prompt", "PromptTuningConfig", 5, False)
    make_prompt("p_tuning", "PromptEncoderConfig", 5, True, encoder_hidden_size=10)
    make_prompt("prefix", "PrefixTuningConfig", 4, False)
    projected = dict(prefix_projection=True, encoder_hidden_size=10)
    make_prompt("prefix_mlp", "PrefixTuningConfig", 4, True, **projected)
    make_norms()
    make_convs()
