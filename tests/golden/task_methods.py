# SPDX-License-Identifier: MIT
"""What PyTorch and PEFT compute for tasks other than a class for each sequence: a number, a class
for each token, the place of an answer, and how alike two texts are.

make_golden.py calls make_all(); README.md says what the files hold beyond a plain run. A run is
computed twice before it is recorded: all sequences padded, as the library does it, and one by one
with head, pooling and loss written out below. Outputs, loss and every gradient must be the same,
and so must the loss that the library itself gives where it has one."""

import copy
from dataclasses import dataclass
from typing import Callable

import torch
import torch.nn.functional as F
import transformers
from torch.nn.utils.rnn import pad_sequence

import make_golden as golden

full, lora = "full", "lora"


# --- batches ---


@dataclass
class batch:
    """Packed sequences and what is asked of them, by the names it has in the file."""

    once: golden.batch
    asked: dict
    types: torch.Tensor | None = None

    def cut(self, packed):
        return [packed[a:b] for a, b in zip(self.once.offsets, self.once.offsets[1:])]

    def alone(self):
        """A model's arguments for each sequence by itself."""
        alone = [{"input_ids": run[None]} for run in self.once.runs()]
        if self.types is not None:
            for arguments, run in zip(alone, self.cut(self.types)):
                arguments["token_type_ids"] = run[None]
        return alone

    def together(self):
        ids, mask = self.once.padded()
        arguments = {"input_ids": ids, "attention_mask": mask}
        if self.types is not None:
            types = pad_sequence(self.cut(self.types), batch_first=True)
            arguments["token_type_ids"] = types
        return arguments

    def mask(self):
        return self.once.padded()[1].bool()

    def tensors(self):
        out = self.once.tensors()
        del out["input.labels"]
        if self.types is not None:
            out["input.types"] = self.types
        return out | self.asked


def halves(once):
    """Token types of pairs: the second half of each sequence is of the second text."""
    runs = [(torch.arange(len(run)) >= (len(run) + 1) // 2).long() for run in once.runs()]
    return torch.cat(runs)


def numbers_of_pairs(name):
    once = golden.make_batch(name)
    targets = torch.tensor([0.5, -1.25, 2.0, 0.0, 1.5]).double()
    return batch(once, {"input.targets": targets}, halves(once))


def classes_of_tokens(name, longest=None):
    """The first and the last token of a sequence are asked for nothing, nor is every fifth."""
    once = golden.make_batch(name, longest)
    labels = torch.arange(len(once.ids)).remainder(golden.labels)
    labels[::5] = -100
    labels[once.offsets[:-1]] = -100
    labels[[end - 1 for end in once.offsets[1:]]] = -100
    return batch(once, {"input.labels": labels})


def places_of_answers(name):
    """A question and a text in which the second sequence's answer is not to be found."""
    once = golden.make_batch(name)
    answers = torch.tensor([[4, 5], [0, 0], [11, 14], [2, 2], [7, 9]])
    has_types = name == "bert"
    return batch(once, {"input.answers": answers}, halves(once) if has_types else None)


def two_texts(asked):
    """Five texts, each followed by the one it is compared with, of another length."""
    first, others = golden.make_batch("bert"), golden.make_batch("distilbert")
    runs = [run for pair in zip(first.runs(), others.runs()[::-1]) for run in pair]
    offsets = [sum(len(run) for run in runs[:i]) for i in range(len(runs) + 1)]
    return batch(golden.batch(torch.cat(runs), offsets, first.labels, first.pad), asked)


# --- what models say, as the libraries compute it: outputs and loss ---


def regression(model, data):
    logits = model(**data.together()).logits
    return logits, F.mse_loss(logits[:, 0], data.asked["input.targets"])


def rows_of_prompt(model):
    learned = model.peft_config["default"] if hasattr(model, "peft_config") else None
    return learned.num_virtual_tokens if learned and learned.is_prompt_learning else 0


def token_classification(model, data):
    """PEFT gives logits to prompt rows too; nobody asks for them."""
    logits = model(**data.together()).logits[:, rows_of_prompt(model) :][data.mask()]
    return logits, F.cross_entropy(logits, data.asked["input.labels"])


def unwrapped(model):
    """The library's model, in which PEFT's adapters are."""
    return model.get_base_model() if hasattr(model, "peft_config") else model


def question_answering(model, data):
    """Padding is no place for an answer. (PEFT's own model for this task takes token types and does
    not hand them on.)"""
    out, mask = unwrapped(model)(**data.together()), data.mask()
    loss = 0
    for logits, answer in zip([out.start_logits, out.end_logits], data.asked["input.answers"].T):
        loss = loss + F.cross_entropy(logits.masked_fill(~mask, -torch.inf), answer) / 2
    return torch.stack([out.start_logits[mask], out.end_logits[mask]], 1), loss


def cosine(model, data):
    """CosineSimilarityLoss of sentence-transformers."""
    vectors = model(**data.together())
    alike = F.cosine_similarity(vectors[::2], vectors[1::2])
    return vectors, F.mse_loss(alike, data.asked["input.targets"])


def ranking(model, data):
    """MultipleNegativesRankingLoss of sentence-transformers."""
    vectors = model(**data.together())
    unit = F.normalize(vectors)
    scores = 20 * unit[::2] @ unit[1::2].T
    return vectors, F.cross_entropy(scores, torch.arange(len(scores)))


# --- the same, sequence by sequence and written out ---


def parameters_of(model):
    return {golden.public_name(n): p for n, p in model.named_parameters()}


def hidden_rows(model, data):
    """What the encoder gives for each sequence's own tokens."""
    encoder = unwrapped(model).base_model
    rows = rows_of_prompt(model)
    if not rows:
        return [encoder(**arguments).last_hidden_state[0] for arguments in data.alone()]
    prompt = model.prompt_encoder["default"].embedding.weight
    words = encoder.get_input_embeddings().weight
    inputs = [torch.cat([prompt, words[run]])[None] for run in data.once.runs()]
    return [encoder(inputs_embeds=x).last_hidden_state[0, rows:] for x in inputs]


def log_share(scores, place):
    return scores[place] - scores.exp().sum().log()


def regression_by_hand(model, data):
    p = parameters_of(model)
    rows = []
    for hidden in hidden_rows(model, data):
        pooled = (p["bert.pooler.dense.weight"] @ hidden[0] + p["bert.pooler.dense.bias"]).tanh()
        rows.append(p["classifier.weight"] @ pooled + p["classifier.bias"])
    gaps = [row[0] - target for row, target in zip(rows, data.asked["input.targets"])]
    return torch.stack(rows), sum(gap * gap for gap in gaps) / len(gaps)


def token_classification_by_hand(model, data):
    p = parameters_of(model)
    hidden = torch.cat(hidden_rows(model, data))
    logits = hidden @ p["classifier.weight"].T + p["classifier.bias"]
    labels = data.asked["input.labels"].tolist()
    terms = [-log_share(row, label) for row, label in zip(logits, labels) if label >= 0]
    return logits, sum(terms) / len(terms)


def question_answering_by_hand(model, data):
    p = parameters_of(model)
    rows, loss = [], 0
    answers = data.asked["input.answers"].tolist()
    for hidden, (first, last) in zip(hidden_rows(model, data), answers):
        rows.append(hidden @ p["qa_outputs.weight"].T + p["qa_outputs.bias"])
        start, end = rows[-1].T
        loss = loss - (log_share(start, first) + log_share(end, last)) / 2 / len(answers)
    return torch.cat(rows), loss


def mean_vectors(model, data):
    runs = [model.bert(**arguments).last_hidden_state[0] for arguments in data.alone()]
    return torch.stack([run.sum(0) / len(run) for run in runs])


def cosines(vectors):
    """[n, n]: of each first text with every second one."""
    of = lambda u, v: (u * v).sum() / ((u * u).sum() * (v * v).sum()) ** 0.5
    return torch.stack([torch.stack([of(u, v) for v in vectors[1::2]]) for u in vectors[::2]])


def cosine_by_hand(model, data):
    vectors = mean_vectors(model, data)
    gaps = cosines(vectors).diagonal() - data.asked["input.targets"]
    return vectors, (gaps * gaps).sum() / len(gaps)


def ranking_by_hand(model, data):
    vectors = mean_vectors(model, data)
    scores = 20 * cosines(vectors)
    return vectors, -sum(log_share(row, i) for i, row in enumerate(scores)) / len(scores)


# --- the library's own losses ---


def library_regression(model, data):
    return model(**data.together(), labels=data.asked["input.targets"]).loss


def library_token_classification(model, data):
    labels = pad_sequence(data.cut(data.asked["input.labels"]), True, padding_value=-100)
    labels = F.pad(labels, (rows_of_prompt(model), 0), value=-100)
    return model(**data.together(), labels=labels).loss


def library_question_answering(model, data):
    """One by one: padding takes part in its softmax."""
    places = zip(data.alone(), data.asked["input.answers"])
    places = [(arguments, answer[:1], answer[1:]) for arguments, answer in places]
    run = unwrapped(model)
    losses = [run(**a, start_positions=s, end_positions=e).loss for a, s, e in places]
    return sum(losses) / len(losses)


# --- models ---


class sentence_encoder(torch.nn.Module):
    """The mean of a sequence's rows; `bert` may have an adapter of PEFT's in it."""

    def __init__(self, bert):
        super().__init__()
        self.bert = bert

    def forward(self, attention_mask, **arguments):
        hidden = self.bert(attention_mask=attention_mask, **arguments).last_hidden_state
        mask = attention_mask[..., None]
        return (hidden * mask).sum(1) / mask.sum(1)


@dataclass
class task:
    suffix: str  # of the class in transformers
    head: str | None
    peft_type: str
    forward: Callable
    by_hand: Callable
    library: Callable | None
    options: dict  # of the model


tasks = {
    "regression": task(
        "ForSequenceClassification",
        "classifier",
        "SEQ_CLS",
        regression,
        regression_by_hand,
        library_regression,
        dict(num_labels=1, problem_type="regression"),
    ),
    "tokens": task(
        "ForTokenClassification",
        "classifier",
        "TOKEN_CLS",
        token_classification,
        token_classification_by_hand,
        library_token_classification,
        dict(num_labels=golden.labels),
    ),
    "answers": task(
        "ForQuestionAnswering",
        "qa_outputs",
        "QUESTION_ANS",
        question_answering,
        question_answering_by_hand,
        library_question_answering,
        dict(num_labels=2),
    ),
    "cosine": task(
        "Model",
        None,
        "FEATURE_EXTRACTION",
        cosine,
        cosine_by_hand,
        None,
        dict(add_pooling_layer=False),
    ),
    "ranking": task(
        "Model",
        None,
        "FEATURE_EXTRACTION",
        ranking,
        ranking_by_hand,
        None,
        dict(add_pooling_layer=False),
    ),
}
class_names = {"bert": "Bert", "roberta": "Roberta", "distilbert": "DistilBert"}


def load(name, what):
    cls = getattr(transformers, class_names[name] + what.suffix)
    model, report = cls.from_pretrained(
        name,
        attn_implementation="eager",
        ignore_mismatched_sizes=True,
        output_loading_info=True,
        **what.options,
    )
    lacking = [*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])]
    assert all(what.head and key.startswith(what.head) for key in lacking), lacking
    return model.double().eval()


def grafted(model, what, method):
    """PEFT's model around it, and what is said of it in the file."""
    import peft

    if method == full:
        return model, {"trained": "everything"}
    settings = {"task_type": what.peft_type}
    if method == lora:
        settings |= dict(r=4, lora_alpha=8, lora_dropout=0.0, bias="none")
        settings |= dict(target_modules=["query", "value"])
        settings |= dict(modules_to_save=[what.head]) if what.head else {}
        cls = peft.LoraConfig
    else:
        settings |= dict(num_virtual_tokens=5)
        cls = peft.PromptTuningConfig
    config = cls(**copy.deepcopy(settings))  # PEFT adds to the lists it is given
    return peft.get_peft_model(model, config).double().eval(), settings


# --- the goldens ---


def check(model, data, what):
    """Two ways to the same outputs, loss and gradients; a third to the loss."""
    trained = [p for p in model.parameters() if p.requires_grad]
    (outputs, loss), (by_hand, second) = what.forward(model, data), what.by_hand(model, data)

    def same(a, b):
        return ((a - b).abs() <= 1e-12 * b.abs().clamp(min=1)).all()

    assert same(outputs, by_hand) and same(loss, second)
    gradients = zip(torch.autograd.grad(loss, trained), torch.autograd.grad(second, trained))
    assert all(same(a, b) for a, b in gradients)
    assert what.library is None or same(what.library(model, data), loss)


def make(kind, name, method, data):
    run = kind if method == full else f"{kind}_{method}"
    if not golden.wanted(run):
        return
    what = tasks[kind]
    model, settings = grafted(load(name, what), what, method)
    model = model if what.head else sentence_encoder(model)
    key = f"{name}/{run}"
    extra = {}
    if method != full:
        golden.randomize_trainable(model, key)
    elif what.head:  # the checkpoint says nothing of it
        head = {n: p for n, p in model.named_parameters() if n.startswith(what.head)}
        golden.randomize(head, key)
        extra = {f"init.{n}": p.detach().float() for n, p in head.items()}
    golden.record(
        model,
        name,
        run,
        "peft",
        data,
        1e-3 if method == full else 1e-2,
        settings,
        extra,
        check=lambda model, data: check(model, data, what),
        forward=what.forward,
    )


def make_all():
    for method in [full, lora]:
        make("regression", "bert", method, numbers_of_pairs("bert"))
    for name in class_names:
        make("tokens", name, full, classes_of_tokens(name))
        make("answers", name, full, places_of_answers(name))
    make("tokens", "bert", lora, classes_of_tokens("bert"))
    make("tokens", "bert", "prompt", classes_of_tokens("bert", longest=15))
    make("answers", "bert", lora, places_of_answers("bert"))
    alike = {"input.targets": torch.tensor([1.0, 0.25, 0.75, -0.5, 0.0]).double()}
    for method in [full, lora]:
        make("cosine", "bert", method, two_texts(alike))
    make("ranking", "bert", full, two_texts({}))
