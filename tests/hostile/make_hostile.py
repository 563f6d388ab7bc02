# SPDX-License-Identifier: MIT
"""Malformed and malicious files for the tests of graft's readers (tests/io/hostile.cpp).

    python3 make_hostile.py        # writes corpus/

Each file or folder has one thing wrong with it, which its name says; what is else in it is right, so that
the reader gets there. Names that end in "_fine" are of files that look hostile and are not. Needs nothing
but Python, and always writes the same bytes. (Pickles that call functions, and broken archives, are also
in tests/golden/torch_files.)
"""

import io
import json
import shutil
import struct
import zipfile
import zlib
from pathlib import Path

corpus = Path(__file__).resolve().parent / "corpus"
huge, most = 2**62, 2**63 - 1


def write(name, content):
    path = corpus / name
    path.parent.mkdir(parents=True, exist_ok=True)
    assert not path.exists(), name
    path.write_bytes(content.encode() if isinstance(content, str) else content)


# --- JSON, and what is written as such ---


class raw(str):
    """JSON text that stands for itself."""


def dump(value):
    if isinstance(value, raw):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(k)}:{dump(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(dump, value)) + "]"
    return json.dumps(value)


def nested(depth, opening="[", closing="]"):
    return raw(opening * depth + closing * depth)


def json_syntax():
    broken = {
        "deep_lists": "[" * 5000 + "]" * 5000,
        "deep_objects": '{"a":' * 1000 + "1" + "}" * 1000,
        "deep_open": "[" * 3000,
        "depth_65": nested(65),
        "depth_64_fine": nested(64),
        "twice": '{"a": 1, "a": 2}',
        "twice_inside": '{"a": {"b": 1, "b": 1}}',
        "twice_escaped": '{"a": 1, "\\u0061": 2}',
        "nan": '{"a": NaN}',
        "infinity": '{"a": -Infinity}',
        "beyond_double": '{"a": 1e999}',
        "beyond_double_digits": '{"a": ' + "9" * 400 + "}",
        "beyond_uint64_fine": '{"a": 18446744073709551616}',
        "leading_zero": '{"a": 01}',
        "hexadecimal": '{"a": 0x10}',
        "plus": '{"a": +1}',
        "no_digits": '{"a": 1e}',
        "minus": "-",
        "comment": '{"a": 1 /* one */}',
        "trailing_comma": '{"a": 1,}',
        "two_values": "{}{}",
        "text_behind": "{} x",
        "zero_byte_behind": "{}\0",
        "zero_byte_inside": '{"a\0b": 1}',
        "control_character": '{"a\x01b": 1}',
        "not_utf8": b'{"\xff\xfe": 1}',
        "overlong_utf8": b'{"\xc0\xaf": 1}',
        "surrogate_utf8": b'{"\xed\xa0\x80": 1}',
        "beyond_unicode": b'{"\xf4\x90\x80\x80": 1}',
        "cut_utf8": b'{"a": "\xe2\x82',
        "lone_surrogate": '{"a": "\\ud800"}',
        "wrong_surrogate": '{"a": "\\ud800\\u0041"}',
        "bad_escape": '{"a": "\\x41"}',
        "utf16": "{}".encode("utf-16"),
        "cut_string": '{"a": "b',
        "cut_object": '{"a": 1',
        "cut_literal": '{"a": tru',
        "single_quotes": "{'a': 1}",
        "nothing": "",
        "blanks": " \n\t ",
        "long_key": '{"' + "k" * 2000 + '": 1e999}',
    }
    for name, text in broken.items():
        write(f"json/{name}.json", text)


# --- safetensors ---


def safetensors(tensors, data=None, metadata=None):
    """tensors: name -> (dtype, shape, bytes) or the header's own entry, a dict or raw."""
    header, content = ({} if metadata is None else {"__metadata__": metadata}), b""
    for name, entry in tensors.items():
        if isinstance(entry, tuple):
            kind, shape, values = entry
            entry = {"dtype": kind, "shape": shape, "data_offsets": [len(content), len(content) + len(values)]}
            content += values
        header[name] = entry
    return packed(dump(header), content if data is None else data)


def packed(header, data=b"", length=None):
    header = header.encode() if isinstance(header, str) else header
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def entry(kind="F32", shape=(2,), begin=0, end=8):
    return {"dtype": kind, "shape": list(shape), "data_offsets": [begin, end]}


def floats(*shape, value=0.5):
    count = 1
    for size in shape:
        count *= size
    return ("F32", list(shape), struct.pack("<f", value) * count)


def safetensors_files():
    eight = bytes(8)
    good = safetensors({"a": floats(2)})
    one = lambda value: safetensors({"a": value}, eight)
    files = {
        "nothing": b"",
        "seven_bytes": bytes(7),
        "no_header": bytes(8),
        "length_alone": struct.pack("<Q", 100),
        "length_of_all": packed("{}", length=2**64 - 1),
        "length_negative": packed("{}", length=2**63),
        "length_above_limit": packed("{}", length=100_000_001),
        "length_one_more": packed("{}", length=3),
        "length_one_less": packed(dump({"a": entry()}), eight, length=len(dump({"a": entry()})) - 1),
        "cut_in_header": good[:20],
        "cut_in_data": good[:-1],
        "more_data": good + b"\0",
        "list": packed("[]"),
        "number": packed("3"),
        "text": packed('"a"'),
        "blank_header": packed("    "),
        "zeros_header": packed(bytes(16)),
        "html": b"<!DOCTYPE html><html><head></head><body>404</body></html>",
        "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12345\n",
        "pickle": b"\x80\x02}q\x00.",
        "zip": b"PK\x03\x04" + bytes(40),
        "deep": packed('{"a":' + nested(500) + "}"),
        "twice": packed('{"a": %s, "a": %s}' % ((dump(entry()),) * 2), eight),
        "twice_in_entry": packed('{"a": {"dtype": "F32", "dtype": "F64", "shape": [2], "data_offsets": [0, 8]}}', eight),
        "not_utf8": packed(b'{"\xff": ' + dump(entry()).encode() + b"}", eight),
        "zero_byte": packed('{"a\0": %s}' % dump(entry()), eight),
        "beyond_double": one({**entry(), "shape": [raw("1e999")]}),
        "entry_null": one(None),
        "entry_list": one([1, 2]),
        "entry_empty": one({}),
        "no_dtype": one({"shape": [2], "data_offsets": [0, 8]}),
        "no_shape": one({"dtype": "F32", "data_offsets": [0, 8]}),
        "no_offsets": one({"dtype": "F32", "shape": [2]}),
        "dtype_unknown": one(entry("F31")),
        "dtype_small_letters": one(entry("f32")),
        "dtype_number": one({**entry(), "dtype": 32}),
        "dtype_with_zero": one(entry("F32\0")),
        "dtype_long": one(entry("F" * 1000)),
        "dtype_wrong": one(entry("F64")),
        "shape_negative": one(entry(shape=[-2])),
        "shape_two_negatives": one(entry(shape=[-1, -2])),
        "shape_fraction": one(entry(shape=[2.0])),
        "shape_text": one(entry(shape=["2"])),
        "shape_nested": one(entry(shape=[[2]])),
        "shape_number": one({**entry(), "shape": 2}),
        "shape_uint64": one(entry(shape=[2**64 - 1])),
        "shape_overflow": one(entry(shape=[2**32, 2**32])),
        "shape_wraps": one(entry(shape=[2**33, 2**31, 2])),
        "shape_wraps_to_8": one(entry(shape=[huge + 2])),
        "shape_empty_overflow": one(entry(shape=[0, huge, huge], end=0)),
        "shape_overflow_empty": one(entry(shape=[huge, huge, 0], end=0)),
        "shape_many_fine": one(entry(shape=[2] + [1] * 500)),
        "shape_many_twos": one(entry(shape=[2] * 64)),
        "offsets_swapped": one(entry(begin=8, end=0)),
        "offsets_outside": one(entry(begin=8, end=16)),
        "offsets_negative": one(entry(begin=-8, end=0)),
        "offsets_huge": one(entry(begin=huge, end=huge + 8)),
        "offsets_uint64": one(entry(begin=2**64 - 8, end=2**64 - 1)),
        "offsets_beyond": one(entry(begin=0, end=2**64)),
        "offsets_one": one({**entry(), "data_offsets": [0]}),
        "offsets_three": one({**entry(), "data_offsets": [0, 8, 8]}),
        "offsets_fraction": one({**entry(), "data_offsets": [0, 8.0]}),
        "gap_before": safetensors({"a": entry(begin=8, end=16)}, bytes(16)),
        "gap_between": safetensors({"a": entry(end=8), "b": entry(begin=12, end=20)}, bytes(20)),
        "overlap": safetensors({"a": entry(end=8), "b": entry(begin=4, end=12)}, bytes(12)),
        "overlap_all": safetensors({"a": entry(end=8), "b": entry(end=8)}, eight),
        "overlap_inside": safetensors({"a": entry(shape=[4], end=16), "b": entry(begin=4, end=12)}, bytes(16)),
        "metadata_list": packed('{"__metadata__": []}'),
        "metadata_number": packed('{"__metadata__": {"a": 1}}'),
        "metadata_nested": packed('{"__metadata__": {"a": {"b": "c"}}}'),
        "metadata_twice": packed('{"__metadata__": {}, "__metadata__": {}}'),
        "many_entries": safetensors({str(i): entry(shape=[1], begin=0, end=4) for i in range(50)}, eight),
        "name_escapes_fine": safetensors({"../../etc/passwd": floats(2)}),
        "name_zero_fine": safetensors({"a\0b": floats(2)}),
        "name_empty_fine": safetensors({"": floats(2)}),
        "name_long_fine": safetensors({"n" * 1000: floats(2)}),
        "scalar_fine": safetensors({"a": floats()}),
        "empty_fine": safetensors({"a": floats(0, 3), "b": floats(3, 0), "c": floats(2)}),
        "no_tensors_fine": packed("{}"),
    }
    for name, content in files.items():
        write(f"safetensors/{name}.safetensors", content)


# --- shards and config.json ---


def shards():
    good = safetensors({"a": floats(2)})
    outside = {
        "parent": "../escaped.safetensors",
        "absolute": "/etc/passwd",
        "inside": "sub/x.safetensors",
        "backslash": "..\\x.safetensors",
        "drive": "C:x.safetensors",
        "zero": "x.safetensors\0.txt",
        "dots": "..",
        "dot": ".",
        "empty": "",
        "missing": "y.safetensors",
        "long": "y" * 300,
        "device": "../../../../../../dev/zero",
        "itself": "model.safetensors.index.json",
        "newline": "x\n.safetensors",
    }
    for name, shard in outside.items():
        write(f"shards/{name}/model.safetensors.index.json", dump({"weight_map": {"a": shard}}))
        write(f"shards/{name}/x.safetensors", good)
    maps = {
        "map_list": [],
        "map_missing": None,
        "map_numbers": {"a": 1},
        "map_empty": {},
        "map_lists": {"a": ["x.safetensors"]},
        "map_unlisted": {"b": "x.safetensors"},
        "map_more": {"a": "x.safetensors", "b": "x.safetensors"},
        "map_many": {str(i): f"{i}.safetensors" for i in range(100)},
    }
    for name, value in maps.items():
        write(f"shards/{name}/model.safetensors.index.json", dump({"weight_map": value}))
        write(f"shards/{name}/x.safetensors", good)


tiny = {
    "model_type": "bert", "architectures": ["BertForSequenceClassification"], "vocab_size": 11,
    "max_position_embeddings": 7, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 12, "type_vocab_size": 2, "pad_token_id": 0, "num_labels": 2,
}


def configs():
    changes = {
        "labels_huge": {"num_labels": 2**31 - 1},
        "labels_million": {"num_labels": 10**6},
        "labels_negative": {"num_labels": -1},
        "labels_beyond": {"num_labels": 2**40},
        "labels_text": {"num_labels": "2"},
        "labels_list": {"id2label": ["a", "b"]},
        "labels_hole": {"id2label": {"0": "a", "2": "b"}},
        "labels_huge_key": {"id2label": {"99999999999999999999": "a"}},
        "labels_negative_key": {"id2label": {"-1": "a"}},
        "labels_numbers": {"id2label": {"0": 1}},
        "layers_huge": {"num_hidden_layers": 2**31 - 1},
        "layers_zero": {"num_hidden_layers": 0},
        "layers_negative": {"num_hidden_layers": -2},
        "layers_beyond": {"num_hidden_layers": 2**64},
        "layers_fraction": {"num_hidden_layers": 2.5},
        "layers_list": {"num_hidden_layers": [2]},
        "heads_zero": {"num_attention_heads": 0},
        "heads_three": {"num_attention_heads": 3},
        "heads_huge": {"num_attention_heads": 2**31 - 1},
        "width_zero": {"hidden_size": 0},
        "width_negative": {"hidden_size": -8},
        "width_beyond": {"hidden_size": 2**31},
        "width_null": {"hidden_size": None},
        "inner_zero": {"intermediate_size": 0},
        "vocabulary_zero": {"vocab_size": 0},
        "vocabulary_text": {"vocab_size": "11"},
        "positions_zero": {"max_position_embeddings": 0},
        "positions_fewer_than_first": {"model_type": "roberta", "pad_token_id": 6},
        "padding_most": {"model_type": "roberta", "pad_token_id": 2**31 - 1},
        "padding_negative": {"pad_token_id": -1},
        "padding_outside": {"pad_token_id": 11},
        "types_negative": {"type_vocab_size": -1},
        "dropout_one": {"hidden_dropout_prob": 1},
        "dropout_negative": {"hidden_dropout_prob": -0.1},
        "dropout_huge": {"attention_probs_dropout_prob": 1e308},
        "dropout_text": {"classifier_dropout": "0.1"},
        "epsilon_zero": {"layer_norm_eps": 0},
        "epsilon_negative": {"layer_norm_eps": -1e-5},
        "epsilon_nan": {"layer_norm_eps": raw("NaN")},
        "activation_unknown": {"hidden_act": "__import__('os')"},
        "activation_list": {"hidden_act": ["gelu"]},
        "type_unknown": {"model_type": "gpt2"},
        "type_number": {"model_type": 3},
        "type_zero": {"model_type": "bert\0"},
        "architectures_text": {"architectures": "BertModel"},
        "architectures_numbers": {"architectures": [1]},
        "position_kind": {"position_embedding_type": "relative_key"},
        "decoder": {"is_decoder": True},
    }
    for name, change in changes.items():
        write(f"configs/{name}.json", dump({**tiny, **change}))
    for name, text in {"list": "[]", "null": "null", "empty": "{}", "deep": '{"a":' + nested(300) + "}"}.items():
        write(f"configs/{name}.json", text)


def base_tensors():
    names = {"bert.embeddings.word_embeddings.weight": (11, 8), "bert.embeddings.position_embeddings.weight": (7, 8),
             "bert.embeddings.token_type_embeddings.weight": (2, 8), "bert.embeddings.LayerNorm.weight": (8,),
             "bert.embeddings.LayerNorm.bias": (8,), "bert.pooler.dense.weight": (8, 8), "bert.pooler.dense.bias": (8,),
             "classifier.weight": (2, 8), "classifier.bias": (2,)}
    for i in range(1):
        at = f"bert.encoder.layer.{i}."
        for module, out, into in (("attention.self.query", 8, 8), ("attention.self.key", 8, 8),
                                  ("attention.self.value", 8, 8), ("attention.output.dense", 8, 8),
                                  ("intermediate.dense", 12, 8), ("output.dense", 8, 12)):
            names |= {f"{at}{module}.weight": (out, into), f"{at}{module}.bias": (out,)}
        for norm in ("attention.output", "output"):
            names |= {f"{at}{norm}.LayerNorm.weight": (8,), f"{at}{norm}.LayerNorm.bias": (8,)}
    return names


def models():
    """Folders that are a model but for one thing."""
    shapes = base_tensors()
    weights = safetensors({name: floats(*shape) for name, shape in shapes.items()})
    query = "bert.encoder.layer.0.attention.self.query.weight"
    small = {**tiny, "num_hidden_layers": 1}
    write("models/base_fine/config.json", dump(small))
    write("models/base_fine/model.safetensors", weights)
    sizes = {
        "width_huge": {"hidden_size": 2**31 - 2},
        "width_65536": {"hidden_size": 65536},
        "inner_huge": {"intermediate_size": 2**31 - 1},
        "layers_1000": {"num_hidden_layers": 1000},
        "layers_2": {"num_hidden_layers": 2},
        "vocabulary_huge": {"vocab_size": 2**31 - 1},
        "positions_huge": {"max_position_embeddings": 2**31 - 1},
        "types_huge": {"type_vocab_size": 2**31 - 1},
        "labels_million": {"num_labels": 1_000_000},
        "labels_none": {"num_labels": 0},
    }
    few = safetensors({"a": floats(2)})
    for name, change in sizes.items():
        write(f"models/{name}/config.json", dump({**small, **change}))
        write(f"models/{name}/model.safetensors", weights if name == "layers_2" else few)
    tensors = {
        "tensor_missing": {k: v for k, v in shapes.items() if k != query},
        "tensor_transposed": {**shapes, "bert.encoder.layer.0.output.dense.weight": (12, 8)},
        "tensor_empty": {**shapes, query: (0, 8)},
        "tensor_scalar": {**shapes, query: ()},
        "tensor_more": {**shapes, "bert.encoder.layer.1.output.dense.weight": (1,)},
    }
    for name, those in tensors.items():
        write(f"models/{name}/config.json", dump(small))
        write(f"models/{name}/model.safetensors", safetensors({n: floats(*s) for n, s in those.items()}))
    integers = {n: floats(*s) for n, s in shapes.items()} | {query: ("I32", [8, 8], bytes(256))}
    write("models/tensor_integers/config.json", dump(small))
    write("models/tensor_integers/model.safetensors", safetensors(integers))


# --- PEFT's adapters ---

lora = {"peft_type": "LORA", "task_type": "SEQ_CLS", "r": 2, "lora_alpha": 4, "target_modules": ["query"],
        "layers_to_transform": [0]}
module = "base_model.model.bert.encoder.layer.{}.attention.self.query"


def lora_tensors(rank=2, name="query"):
    tensors = {}
    for i in range(1):
        at = module.format(i).replace("query", name)
        tensors |= {f"{at}.lora_A.weight": floats(rank, 8), f"{at}.lora_B.weight": floats(8, rank)}
    return tensors


def peft_folder(name, config=None, tensors=None, file=None):
    write(f"peft/{name}/adapter_config.json", dump({**lora, **(config or {})}) if not isinstance(config, str) else config)
    content = safetensors(lora_tensors() if tensors is None else tensors) if file is None else file
    write(f"peft/{name}/adapter_model.safetensors", content)


def peft():
    peft_folder("good_fine")
    patterns = {
        "endless": "(a*)*b(.*a)*((.*)*)*c",
        "endless_plus": "((((.+)+)+)+)+$",
        "endless_words": "(x+x+)+y",
        "lookaheads": ".*(?=.*" * 8 + "x" + ")" * 8,
        "lookaheads_not": "(?!.*" * 12 + "x" + ")" * 12 + ".*",
        "lookaheads_in_loop": "(?:(?=(?:(?=(?:(?=.*).)*x).)*x).)*x",
        "groups": "(" * 900 + "a" + ")" * 900,
        "groups_open": "(" * 2000,
        "groups_empty": "()" * 1000,
        "counts": "(a?){1000}",
        "counts_nested": "((a?){100}){100}",
        "counts_nested_four": "((((a?){50}){50}){50}){50}",
        "counts_huge": "a{2000000000}",
        "counts_beyond": "a{99999999999999999999}",
        "counts_wrong": "a{5,2}",
        "counts_of_nothing": "(){50000}",
        "alternatives": "|".join("a" * 1000),
        "alternatives_empty": "|" * 1990,
        "options": "a?" * 990,
        "options_groups": "(a?)" * 490,
        "stars": "a*" * 990,
        "back_reference": "(a)\\1",
        "back_reference_none": "\\9",
        "class_open": "[a-",
        "class_swapped": "[z-a]",
        "class_of_none": "[[:nothing:]]",
        "class_equal": "[[=a=]]",
        "class_collating": "[[.space.]]",
        "escape_at_end": "a\\",
        "python_only": "(?P<name>query)",
        "python_flags": "(?i)QUERY",
        "look_behind": "(?<=a)query",
        "not_ascii": "\u00fcberall\U0001f600",
        "zero": "query\0",
        "stars_alone": "**",
        "long": "a" * 3000,
        "newlines": "\n" * 100,
    }
    # Those that are regular expressions, and name no module.
    of_nothing = {"class_collating", "class_equal", "endless", "endless_words", "newlines", "not_ascii", "zero"}
    for name, pattern in patterns.items():
        peft_folder(f"pattern_{name}" + ("_fine" if name in of_nothing else ""), {"target_modules": pattern, "layers_to_transform": None}, {})
    for name in ("lookaheads", "counts_nested", "groups"):
        peft_folder(f"excluded_{name}", {"exclude_modules": patterns[name], "layers_to_transform": None}, {})
        peft_folder(f"rank_pattern_{name}", {"rank_pattern": {patterns[name]: 3}})
        peft_folder(f"alpha_pattern_{name}", {"alpha_pattern": {patterns[name]: 3}})
    changes = {
        "rank_zero": {"r": 0},
        "rank_negative": {"r": -2},
        "rank_huge": {"r": 2**31 - 1},
        "rank_beyond": {"r": 2**31},
        "rank_fraction": {"r": 2.0},
        "rank_text": {"r": "2"},
        "rank_of_pattern_huge": {"rank_pattern": {"query": 1e308}},
        "rank_of_pattern_negative": {"rank_pattern": {"query": -1}},
        "rank_of_pattern_fraction": {"rank_pattern": {"query": 2.5}},
        "rank_of_pattern_text": {"rank_pattern": {"query": "2"}},
        "alpha_text": {"lora_alpha": "4"},
        "alpha_beyond": {"lora_alpha": raw("1e400")},
        "alpha_nan": {"lora_alpha": raw("NaN")},
        "dropout_one": {"lora_dropout": 1.0},
        "dropout_negative": {"lora_dropout": -1},
        "targets_numbers": {"target_modules": [1, 2]},
        "targets_object": {"target_modules": {"query": True}},
        "targets_none": {"target_modules": []},
        "targets_others": {"target_modules": ["key"]},
        "targets_escape": {"target_modules": ["../query"]},
        "targets_many": {"target_modules": [f"m{i}" for i in range(500)]},
        "layers_negative": {"layers_to_transform": [-1]},
        "layers_huge": {"layers_to_transform": huge},
        "layers_text": {"layers_to_transform": "0"},
        "saved_missing": {"modules_to_save": "classifier"},
        "type_unknown": {"peft_type": "OFT"},
        "type_number": {"peft_type": 1},
        "type_of_another": {"peft_type": "IA3"},
        "type_prompt": {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 3},
        "type_vera": {"peft_type": "VERA"},
        "type_adalora": {"peft_type": "ADALORA"},
        "dora_without_length": {"use_dora": True},
        "dora_text": {"use_dora": "yes"},
        "replication": {"layer_replication": [[0, 10**9]]},
        "starts_from_base": {"init_lora_weights": "pissa"},
        "transformer_parts": {"num_transformer_submodules": -1},
        "token_rows_text": {"trainable_token_indices": "all"},
        "token_rows_deep": {"trainable_token_indices": nested(60)},
    }
    for name, change in changes.items():
        peft_folder(name, change)
    peft_folder("twice", dump(lora)[:-1] + ', "r": 3}')
    peft_folder("not_an_object", "[]")
    peft_folder("deep", '{"peft_type": "LORA", "eva_config": ' + nested(500) + "}")
    first = module.format(0)
    tensors = {
        "a_missing": {k: v for k, v in lora_tensors().items() if k != f"{first}.lora_A.weight"},
        "b_missing": {k: v for k, v in lora_tensors().items() if k != f"{first}.lora_B.weight"},
        "ranks_differ": lora_tensors() | {f"{first}.lora_B.weight": floats(8, 3)},
        "rank_other": lora_tensors(3),
        "sizes_of_another": lora_tensors() | {f"{first}.lora_A.weight": floats(2, 9)},
        "outputs_of_another": lora_tensors() | {f"{first}.lora_B.weight": floats(9, 2)},
        "scalars": {k: floats() for k in lora_tensors()},
        "vectors": {k: floats(16) for k in lora_tensors()},
        "five_dimensions": {k: floats(2, 2, 2, 1, 2) for k in lora_tensors()},
        "empty": {k: floats(0, 8) if "_A" in k else floats(8, 0) for k in lora_tensors()},
        "empty_huge": {k: ("F32", [0, huge // 2], b"") if "_A" in k else ("F32", [huge // 2, 0], b"") for k in lora_tensors()},
        "empty_overflow": {k: ("F32", [0, huge, huge], b"") for k in lora_tensors()},
        "integers": {k: ("I64", s[1], bytes(128)) for k, s in lora_tensors().items()},
        "booleans": {k: ("BOOL", s[1], bytes(16)) for k, s in lora_tensors().items()},
        "no_tensors": {},
        "layer_outside": lora_tensors() | {module.format(7) + ".lora_A.weight": floats(2, 8), module.format(7) + ".lora_B.weight": floats(8, 2)},
        "layer_huge": lora_tensors() | {module.format(10**30) + ".lora_A.weight": floats(2, 8)},
        "layer_negative": lora_tensors() | {module.format(-1) + ".lora_A.weight": floats(2, 8)},
        "layer_not_decimal": lora_tensors() | {module.format("0x1") + ".lora_A.weight": floats(2, 8)},
        "name_zero": lora_tensors() | {first + "\0.lora_A.weight": floats(2, 8)},
        "name_escapes": lora_tensors() | {"../../../etc/passwd": floats(2)},
        "name_empty": lora_tensors() | {"": floats(2)},
        "name_prefix_alone": lora_tensors() | {"base_model.model.": floats(2)},
        "name_ending_alone": lora_tensors() | {".weight": floats(2), ".lora_A.weight": floats(2)},
        "name_wrapped": lora_tensors() | {"_orig_mod." * 500 + "x": floats(2)},
        "name_format": lora_tensors() | {"%s%n%x{}": floats(2)},
        "ia3_here": lora_tensors() | {first + ".ia3_l": floats(8, 1)},
        "on_a_norm": lora_tensors() | {first.replace("self.query", "output.LayerNorm") + ".lora_A.weight": floats(2, 8),
                                       first.replace("self.query", "output.LayerNorm") + ".lora_B.weight": floats(8, 2)},
        "on_a_table": lora_tensors() | {"base_model.model.bert.embeddings.word_embeddings.lora_embedding_A": floats(2, 11),
                                        "base_model.model.bert.embeddings.word_embeddings.lora_embedding_B": floats(8, 2)},
        "base_weight": lora_tensors() | {first + ".base_layer.weight": floats(9, 9)},
        "head_empty": lora_tensors() | {"base_model.model.classifier.weight": floats(0, 8), "base_model.model.classifier.bias": floats(0)},
        "head_scalar": lora_tensors() | {"base_model.model.classifier.weight": floats()},
        "head_huge": lora_tensors() | {"base_model.model.classifier.weight": ("F32", [huge // 2, 0], b"")},
    }
    for name, those in tensors.items():
        peft_folder(f"tensors_{name}", tensors=those)
    peft_folder("rank_of_pattern_zero", {"rank_pattern": {"query": 0}}, {k: floats(0, 8) if "_A" in k else floats(8, 0) for k in lora_tensors()})
    peft_folder("values_nan_fine", {}, {k: floats(*v[1], value=float("nan")) for k, v in lora_tensors().items()})
    peft_folder("values_infinite_fine", {}, {k: floats(*v[1], value=float("inf")) for k, v in lora_tensors().items()})
    peft_folder("file_cut", file=safetensors(lora_tensors())[:-3])
    peft_folder("file_pickle", file=b"\x80\x02cos\nsystem\n(X\x04\x00\x00\x00touctR.")
    e = {k.replace("_A.weight", "_A").replace("_B.weight", "_B"): v for k, v in lora_tensors().items()}
    e |= {f"{module.format(i)}.lora_E": floats(2, 1) for i in range(1)}
    adalora = {"peft_type": "ADALORA", "init_r": 2}
    peft_folder("adalora_fine", adalora, e)
    peft_folder("adalora_e_longer", adalora, e | {f"{first}.lora_E": floats(3, 1)})
    peft_folder("adalora_e_empty", adalora, e | {f"{first}.lora_E": floats(0, 1)})
    peft_folder("adalora_e_scalar", adalora, e | {f"{first}.lora_E": floats()})
    gone = {f"{first}.lora_A": ("F32", [0, 2**58], b""), f"{first}.lora_B": ("F32", [2**58, 0], b""), f"{first}.lora_E": floats(0, 1)}
    peft_folder("adalora_empty_huge", adalora, e | gone)
    ia3 = {"peft_type": "IA3", "feedforward_modules": []}
    scale = {f"{module.format(i)}.ia3_l": floats(8, 1) for i in range(1)}
    peft_folder("ia3_fine", ia3, scale)
    peft_folder("ia3_too_long", ia3, scale | {f"{first}.ia3_l": floats(9, 1)})
    peft_folder("ia3_matrix", ia3, scale | {f"{first}.ia3_l": floats(8, 8)})
    peft_folder("ia3_empty", ia3, scale | {f"{first}.ia3_l": floats(0, 1)})
    vera = {"peft_type": "VERA", "r": 2}
    shared = {f"{module.format(i)}.vera_lambda_{p}": floats(n) for i in range(1) for p, n in (("d", 2), ("b", 8))}
    both = {"base_model.vera_A": floats(2, 8), "base_model.vera_B": floats(8, 2)}
    peft_folder("vera_fine", vera, shared | both)
    peft_folder("vera_a_small", vera, shared | both | {"base_model.vera_A": floats(1, 1)})
    peft_folder("vera_a_empty", vera, shared | both | {"base_model.vera_A": floats(0, 8)})
    peft_folder("vera_a_scalar", vera, shared | both | {"base_model.vera_A": floats()})
    peft_folder("vera_b_missing", vera, shared | {"base_model.vera_A": floats(2, 8)})
    peft_folder("vera_d_longer", vera, shared | both | {f"{first}.vera_lambda_d": floats(5)})
    peft_folder("vera_d_empty", vera, shared | both | {f"{first}.vera_lambda_d": floats(0)})
    prompt = {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": 3}
    peft_folder("prompt_rows_differ", prompt, {"prompt_embeddings": floats(2, 8)})
    peft_folder("prompt_narrow", prompt, {"prompt_embeddings": floats(3, 5)})
    peft_folder("prompt_scalar", prompt, {"prompt_embeddings": floats()})
    peft_folder("prompt_none", {**prompt, "num_virtual_tokens": 0}, {"prompt_embeddings": floats(0, 8)})
    peft_folder("prompt_negative", {**prompt, "num_virtual_tokens": -3}, {"prompt_embeddings": floats(3, 8)})
    peft_folder("prompt_longer_than_positions", {**prompt, "num_virtual_tokens": 9}, {"prompt_embeddings": floats(9, 8)})
    prefix = {"peft_type": "PREFIX_TUNING", "num_virtual_tokens": 3}
    peft_folder("prefix_odd", prefix, {"prompt_embeddings": floats(3, 33)})
    peft_folder("prefix_narrow", prefix, {"prompt_embeddings": floats(3, 4)})
    peft_folder("prefix_empty", prefix, {"prompt_embeddings": floats(3, 0)})
    tokens = {"peft_type": "TRAINABLE_TOKENS"}
    delta = "base_model.model.bert.embeddings.word_embeddings.token_adapter.trainable_tokens_delta"
    for name, indices in {"fine": [1, 2], "negative": [-1, 2], "outside": [1, 11], "huge": [1, most], "beyond": [1, 2**64],
                          "fraction": [1.0, 2], "one": [1], "none": [], "nested": [[1], [2]]}.items():
        peft_folder(f"tokens_{name}", {**tokens, "token_indices": indices}, {delta: floats(2, 8)})
    peft_folder("tokens_narrow", {**tokens, "token_indices": [1, 2]}, {delta: floats(2, 5)})
    peft_folder("tokens_scalar", {**tokens, "token_indices": [1]}, {delta: floats()})
    peft_folder("tokens_of_no_table", {**tokens, "token_indices": {"lm_head": [1, 2]}}, {delta: floats(2, 8)})


# --- AdapterHub's adapters ---

bottleneck = {"architecture": None, "mh_adapter": False, "output_adapter": True, "reduction_factor": 4, "non_linearity": "relu",
              "original_ln_before": True, "residual_before_ln": True, "leave_out": [1]}
frame = {"name": "a", "model_type": "bert", "model_name": "base", "hidden_size": 8, "version": "adapters.1.3.0"}


def bottleneck_tensors(width=2):
    tensors = {}
    for i in range(1):
        at = f"bert.encoder.layer.{i}.output.adapters.a."
        tensors |= {f"{at}adapter_down.0.weight": floats(width, 8), f"{at}adapter_down.0.bias": floats(width),
                    f"{at}adapter_up.weight": floats(8, width), f"{at}adapter_up.bias": floats(8)}
    return tensors


def adapterhub():
    def folder(name, options=None, outer=None, tensors=None, more=None):
        config = dump({**frame, "config": {**bottleneck, **(options or {})} if not isinstance(options, raw) else options, **(outer or {})})
        write(f"adapterhub/{name}/adapter_config.json", config)
        write(f"adapterhub/{name}/adapter.safetensors", safetensors(bottleneck_tensors() if tensors is None else tensors))
        for file, content in (more or {}).items():
            write(f"adapterhub/{name}/{file}", content)

    folder("good_fine")
    compacter = {"phm_layer": True, "phm_dim": 2, "phm_rank": 1}
    options = {
        "factor_zero": {"reduction_factor": 0},
        "factor_negative": {"reduction_factor": -4},
        "factor_tiny": {"reduction_factor": 1e-300},
        "factor_huge": {"reduction_factor": 1e308},
        "factor_text": {"reduction_factor": "4"},
        "factor_of_no_layer": {"reduction_factor": {"7": 4}},
        "factor_deep": {"reduction_factor": nested(60)},
        "left_out_negative": {"leave_out": [-1]},
        "left_out_huge": {"leave_out": [huge]},
        "left_out_all": {"leave_out": [0, 1]},
        "left_out_text": {"leave_out": "all"},
        "activation_unknown": {"non_linearity": "eval"},
        "activation_zero": {"non_linearity": "relu\0"},
        "scaling_text": {"scaling": "much"},
        "architecture_number": {"architecture": 3},
        "architecture_unknown": {"architecture": "exec"},
        "union_empty": {"architecture": "union", "configs": []},
        "union_text": {"architecture": "union", "configs": "all"},
        "union_of_numbers": {"architecture": "union", "configs": [1, 2]},
        "union_of_unions": {"architecture": "union", "configs": [{"architecture": "union", "configs": []}]},
        "union_of_equals": {"architecture": "union", "configs": [bottleneck, bottleneck]},
        "compacter_dim_zero": {**compacter, "phm_dim": 0},
        "compacter_dim_huge": {**compacter, "phm_dim": 2**31 - 1},
        "compacter_rank_huge": {**compacter, "phm_rank": 2**31 - 1},
        "compacter_dim_odd": {**compacter, "phm_dim": 3},
        "lora_rank_huge": {"architecture": "lora", "r": 2**31 - 1},
        "lora_rank_negative": {"architecture": "lora", "r": -1},
        "lora_letters": {"architecture": "lora", "attn_matrices": ["q", "../k"]},
        "lora_letters_twice": {"architecture": "lora", "attn_matrices": ["q", "q"]},
        "prefix_huge": {"architecture": "prefix_tuning", "prefix_length": 2**31 - 1, "flat": True},
        "prefix_hidden_huge": {"architecture": "prefix_tuning", "bottleneck_size": 2**31 - 1},
        "prefix_zero": {"architecture": "prefix_tuning", "prefix_length": 0},
        "prompt_huge": {"architecture": "prompt_tuning", "prompt_length": 2**31 - 1},
        "invertible": {"inv_adapter": "nice"},
        "drop_beyond": {"dropout": raw("1e999")},
    }
    for name, change in options.items():
        folder(name, change)
    folder("config_null", raw("null"))
    folder("config_list", raw("[]"))
    folder("config_text", raw('"pfeiffer"'))
    folder("config_deep", raw('{"a": ' + nested(400) + "}"))
    for name, outer in {"name_number": {"name": 3}, "name_escapes": {"name": "../../a"}, "name_long": {"name": "a" * 1000},
                        "width_other": {"hidden_size": 9}, "width_huge": {"hidden_size": 2**64}, "model_other": {"model_type": "gpt2"},
                        "version_huge": {"version": "adapters.99999999999999999999.1"}}.items():
        folder(name, outer=outer)
    first = "bert.encoder.layer.0.output.adapters.a.adapter_down.0.weight"
    folder("tensor_missing", tensors={k: v for k, v in bottleneck_tensors().items() if k != first})
    folder("tensor_wrong", tensors=bottleneck_tensors() | {first: floats(3, 8)})
    folder("tensor_empty", tensors=bottleneck_tensors() | {first: floats(0, 8)})
    folder("tensor_integers", tensors=bottleneck_tensors() | {first: ("I32", [2, 8], bytes(64))})
    folder("tensor_more", tensors=bottleneck_tensors() | {"bert.invertible_adapters.a.F.0.weight": floats(2)})
    folder("tensor_under_two_names", tensors=bottleneck_tensors() | {first.removeprefix("bert."): floats(2, 8)})
    head = {**frame, "model_class": "BertForSequenceClassification", "config": None, "num_labels": 2, "label2id": {"a": 0, "b": 1}}
    those = {"classifier.weight": floats(2, 8), "classifier.bias": floats(2)}

    def head_folder(name, change, tensors=None):
        folder(f"head_{name}", more={"head_config.json": dump({**head, **change}),
                                     "model_head.safetensors": safetensors(those if tensors is None else tensors)})

    head_folder("fine", {})
    head_folder("labels_huge", {"num_labels": 2**40})
    head_folder("labels_million", {"num_labels": 10**6})
    head_folder("labels_zero", {"num_labels": 0})
    head_folder("labels_negative", {"label2id": {"a": -1, "b": 0}})
    head_folder("labels_outside", {"label2id": {"a": 0, "b": huge}})
    head_folder("labels_same", {"label2id": {"a": 0, "b": 0}})
    head_folder("labels_list", {"label2id": ["a", "b"]})
    head_folder("class_unknown", {"model_class": "BertForPreTraining"})
    head_folder("flexible_text", {"config": "classification", "name": "a"})
    head_folder("flexible_layers", {"config": {"head_type": "classification", "layers": 2**31, "num_labels": 2}, "name": "a"})
    head_folder("weights_other", {}, {"classifier.weight": floats(3, 8), "classifier.bias": floats(3)})

    def fusion(name, change, setup=None):
        config = {"config": {"key": True, "query": True, "value": True}, "name": "a,b", "adapter_names": ["a", "b"]}
        at = f"adapterhub/{name}/" + ("" if setup is None else "a,b/")
        write(at + "adapter_fusion_config.json", dump({**config, **change}))
        if setup is not None:
            write(f"adapterhub/{name}/adapter_setup.json", dump(setup))

    for name, names in {"parent": ["..", "b"], "escapes": ["../a", "b"], "absolute": ["/etc", "b"], "zero": ["a\0", "b"],
                        "parent_zero": ["..\0", "b"], "empty": ["", "b"], "one": ["a"], "many": ["a"] * 100, "numbers": [1, 2]}.items():
        fusion(f"fusion_{name}", {"adapter_names": names})
    single = lambda *names: {"type": "Fuse", "children": [{"type": "single", "children": [n]} for n in names]}
    for name, setup in {"text": {"adapter_setup": "Fuse"}, "deep": {"adapter_setup": nested(60, '{"children":[', "]}")},
                        "escapes": {"adapter_setup": single("..", "/etc")}, "none": {"adapter_setup": single()},
                        "stack": {"adapter_setup": {"type": "Stack", "children": []}},
                        "long": {"adapter_setup": single("a" * 300)}}.items():
        fusion(f"setup_{name}", {}, setup)


# --- graft's own adapters ---


def graft():
    good = {"format": 1, "strategy": "lora", "recipe": [], "decorations": {}, "seed": 0, "base": {"name": "b", "fingerprint": "0"},
            "departed": [], "forms": {}}
    at = "layer.{}.attention.query"
    numbers = {"rank": 2, "alpha": 4, "dropout": 0, "over_root": 0}
    for i in range(1):
        good["decorations"][at.format(i)] = {"lora": numbers}

    def tensors(rank=2):
        return {f"{at.format(i)}.lora.{p}": floats(*s) for i in range(1) for p, s in (("a", (rank, 8)), ("b", (8, rank)))}

    def folder(name, change=None, those=None, text=None):
        write(f"graft/{name}/graft_adapter.json", dump({**good, **(change or {})}) if text is None else text)
        write(f"graft/{name}/graft_adapter.safetensors", safetensors(tensors() if those is None else those))

    folder("good_fine")
    both = lambda **change: {"decorations": {at.format(0): {"lora": {**numbers, **change}}}}
    numbers_wrong = {
        "rank_huge": both(rank=10**9),
        "rank_beyond_int": both(rank=1e300),
        "rank_negative": both(rank=-1),
        "rank_fraction": both(rank=1.5),
        "rank_zero": both(rank=0),
        "rank_other": both(rank=3),
        "rank_text": both(rank="2"),
        "rank_null": both(rank=None),
        "alpha_huge_fine": both(alpha=1e308),
        "alpha_beyond": both(alpha=raw("1e309")),
        "dropout_two": both(dropout=2),
        "dropout_negative": both(dropout=-1e-9),
        "over_root_huge": both(over_root=1e300),
        "over_root_half": both(over_root=0.5),
        "number_unknown": both(**{"../x": 3}),
    }
    for name, change in numbers_wrong.items():
        folder(name, change)
    places = {
        "place_norm": "layer.0.attention.norm", "place_join": "layer.0.attention_join", "place_nowhere": "nowhere",
        "place_empty": "", "place_layer_huge": "layer.99999999999999999999.attention.query", "place_layer_7": "layer.7.attention.query",
        "place_layer_negative": "layer.-1.attention.query", "place_layer_alone": "layer.", "place_zero": "layer.0.attention.query\0",
        "place_table": "embeddings.word", "place_head": "head.classifier", "place_memory": "layer.0.attention.memory",
        "place_adapter": "layer.0.attention.adapter.adapter.adapter", "place_long": "layer.0." + "a." * 300,
        "place_format": "%s%n", "place_layer_max": f"layer.{most}.attention.query",
    }
    for name, place in places.items():
        folder(name, {"decorations": {**good["decorations"], place: {"lora": numbers}}},
               {**tensors(), f"{place}.lora.a": floats(2, 8), f"{place}.lora.b": floats(8, 2)})
    methods = {"method_unknown": {"exec": {}}, "method_two": {"lora": numbers, "dora": numbers}, "method_ia3_without_form": {"ia3": {}},
               "method_bottleneck": {"bottleneck": {"width": 10**9}}, "method_vera": {"vera": {"rank": 2}}, "method_none": {}}
    for name, these in methods.items():
        folder(name, {"decorations": {at.format(0): these}})
    changes = {
        "format_2": {"format": 2}, "format_text": {"format": "1"}, "format_huge": {"format": 2**64},
        "decorations_list": {"decorations": []}, "decorations_null": {"decorations": None}, "decorations_of_lists": {"decorations": {"a": []}},
        "decorations_of_numbers": {"decorations": {"a": {"lora": 3}}}, "forms_elsewhere_fine": {"forms": {"b": {"lora": {}}}},
        "forms_numbers": {"forms": {at.format(0): {"lora": {"bias": 1}}}}, "seed_negative": {"seed": -1}, "seed_beyond": {"seed": 2**64},
        "task_unknown": {"task": "translation"}, "task_number": {"task": 1}, "labels_numbers": {"task": "classification", "labels": [1]},
        "labels_text": {"labels": "a"}, "tasks_of_numbers": {"tasks": [1]}, "tasks_without_labels": {"tasks": [{"name": "a"}]},
        "departed_numbers": {"departed": [1]}, "base_null": {"base": None}, "base_text": {"base": "b"}, "recipe_missing": {"recipe": None},
        "departed_nowhere_fine": {"departed": ["nowhere"]},
    }
    for name, change in changes.items():
        folder(name, change)
    folder("list", text="[]")
    folder("empty", text="{}")
    folder("cut", text=dump(good)[:-5])
    folder("deep", text='{"recipe": ' + nested(400) + "}")
    first = f"{at.format(0)}.lora."
    for name, those in {
        "tensor_missing": {k: v for k, v in tensors().items() if k != first + "a"},
        "tensor_other": tensors() | {first + "a": floats(2, 9)},
        "tensor_empty": tensors() | {first + "a": floats(0, 8)},
        "tensor_scalar": tensors() | {first + "a": floats()},
        "tensor_cube": tensors() | {first + "a": floats(2, 2, 4)},
        "tensor_integers": tensors() | {first + "a": ("I8", [2, 8], bytes(16))},
        "tensor_more": tensors() | {"layer.0.attention.query.weight": floats(8, 8)},
        "tensor_huge_empty": tensors() | {first + "b": ("F32", [0, 2**60], b"")},
        "tensor_of_base": tensors() | {"embeddings.word.weight": floats(11, 8)},
        "tensor_head": tensors() | {"head.classifier.weight": floats(3, 8), "head.classifier.bias": floats(2)},
        "tensor_head_empty": tensors() | {"head.classifier.weight": floats(0, 8), "head.classifier.bias": floats(0)},
        "tensor_bias": tensors() | {first + "bias": floats(9)},
        "tensors_of_rank_3": tensors(3),
        "tensors_none": {},
    }.items():
        folder(name, those=those)


# --- PyTorch's files ---


def text(string):
    return b"X" + struct.pack("<I", len(string)) + string.encode()


def number(n):
    return b"J" + struct.pack("<i", n) if -(2**31) <= n < 2**31 else b"\x8a\x08" + struct.pack("<q", n)


def numbers(values):
    return b"(" + b"".join(map(number, values)) + b"t"


def storage(key="0", elements=4, kind="FloatStorage"):
    return b"(" + text("storage") + f"ctorch\n{kind}\n".encode() + text(key) + text("cpu") + number(elements) + b"tQ"


def tensor(shape=(4,), strides=(1,), offset=0, of=None, hooks=b"ccollections\nOrderedDict\n)R"):
    arguments = (of or storage()) + number(offset) + numbers(shape) + numbers(strides) + b"\x89" + hooks
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"tR"


def pickle(value, key="w"):
    return b"\x80\x02}(" + text(key) + value + b"u."


def archive(data, entries=(), method=zipfile.ZIP_STORED, name="x"):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as zipped:
        for entry_name, content in [("data.pkl", data), ("data/0", struct.pack("<4f", 1, 2, 3, 4)), *entries]:
            zipped.writestr(zipfile.ZipInfo(f"{name}/{entry_name}"), content, method)
    return file.getvalue()


def changed(content, at, form, *values):
    copy = bytearray(content)
    struct.pack_into("<" + form, copy, at, *values)
    return bytes(copy)


def torch():
    run = text("touch executed")
    pickles = {
        "call_posix": b"cposix\nsystem\n(" + run + b"tR",
        "call_subprocess": b"csubprocess\nPopen\n(" + run + b"tR",
        "call_getattr": b"c__builtin__\ngetattr\n(cbuiltins\n__import__\n" + run + b"tR",
        "call_exec": b"cbuiltins\nexec\n(" + text("import os") + b"tR",
        "call_dotted": b"ctorch._utils\n_rebuild_tensor_v2.__globals__\n",
        "call_other_module": b"ctorch._utils \n_rebuild_tensor_v2\n)R",
        "call_carriage_return": b"ctorch._utils\r\n_rebuild_tensor_v2\r\n)R",
        "call_codecs": b"c_codecs\nencode\n(" + run + text("latin1") + b"tR",
        "call_storage": b"ctorch\nFloatStorage\n)R",
        "call_tensor_as_function": tensor() + b")R",
        "call_dictionary": b"})R",
        "call_without_arguments": b"ctorch._utils\n_rebuild_tensor_v2\n)R",
        "call_parameter_of_text": b"ctorch._utils\n_rebuild_parameter\n" + text("a") + b"\x89})\x87R",
        "call_newobj_ex": b"ccollections\nOrderedDict\n)}\x92",
        "call_extension": b"\x82\x01",
        "call_persistent_text": b"P0\n",
        "call_by_frame": b"\x95" + struct.pack("<Q", 2**63),
        "global_cut": b"ctorch._utils",
        "global_empty": b"c\n\n",
        "global_long": b"c" + b"a" * 1000 + b"\n" + b"b" * 1000 + b"\n",
        "text_beyond": b"X\xff\xff\xff\xff",
        "text_not_utf8": b"X\x02\x00\x00\x00\xff\xfe",
        "bytes": b"B\x04\x00\x00\x00aaaa",
        "unicode_line": b"Va\n",
        "integer_line": b"I12\n",
        "float": b"G" + struct.pack(">d", 1.0),
        "long_nine_bytes": b"\x8a\x09" + bytes(9),
        "long_cut": b"\x8a\x08" + bytes(3),
        "long_four": b"\x8b" + struct.pack("<i", -1),
        "marks": b"(" * 1000,
        "mark_popped": b"(\x85",
        "mark_under_item": number(1) + b"(s",
        "tuples_of_many": b")" * 1000 + b"t",
        "items_odd": b"}(" + number(1) + b"u",
        "items_of_number": number(1) + b"(" + text("a") + number(2) + b"u",
        "memo_huge_fine": tensor() + b"r\xff\xff\xff\xff",
        "memo_of_none": b"j\xff\xff\xff\xff",
        "memo_of_mark": b"(q\x00",
        "dictionary_of_itself": b"}q\x00(" + text("a") + b"h\x00u",
        "stop_early": b".",
        "build_of_number": number(1) + b"}b",
        "storage_of_four": b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + number(4) + b"tQ",
        "storage_of_text": text("0") + b"Q",
        "storage_key_escapes": tensor(of=storage(key="../data.pkl")),
        "storage_key_empty": tensor(of=storage(key="")),
        "storage_type_unknown": tensor(of=storage(kind="ComplexFloatStorage")),
        "storage_type_call": b"(" + text("storage") + b"ccollections\nOrderedDict\n" + text("0") + text("cpu") + number(4) + b"tQ",
        "storage_negative": tensor(of=storage(elements=-4)),
        "offset_huge": tensor((1,), (1,), most),
        "offset_negative": tensor((1,), (1,), -1),
        "offset_behind_empty_fine": tensor((0,), (1,), 2**40),
        "strides_huge": tensor((2,), (most,)),
        "strides_negative": tensor((2,), (-1,), 3),
        "strides_overflow": tensor((2, 2), (huge, huge)),
        "strides_fewer": tensor((2, 2), (1,)),
        "sizes_empty_overflow": tensor((0, huge, huge), (1, 1, 1)),
        "sizes_of_text": b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage() + number(0) + b"(" + text("4") + b"t" + numbers((1,)) + b"\x89}tR",
        "scalar_behind_end": tensor((), (), 4),
        "expanded": tensor((2**20,), (0,)),
    }
    for name, value in pickles.items():
        write(f"torch/pickle_{name}.bin", archive(pickle(value)))
    write("torch/scalar_fine.bin", archive(pickle(tensor((), (), 3))))
    write("torch/name_escapes_fine.bin", archive(pickle(tensor(), "../../etc/passwd")))
    write("torch/pickle_empty.bin", archive(b""))
    write("torch/pickle_alone.bin", pickle(tensor()))
    write("torch/pickle_text_protocol.bin", archive(b"(dp0\n."))
    write("torch/pickle_two_results.bin", archive(b"\x80\x02}}."))
    good = archive(pickle(tensor()))
    end = good.rindex(b"PK\x05\x06")
    first = good.index(b"PK\x01\x02")
    archives = {
        "nothing": b"",
        "end_alone": good[end:],
        "end_cut": good[:-1],
        "end_twice_fine": good + good[end:],
        "comment_longer": changed(good, end + 20, "H", 9),
        "count_more": changed(good, end + 8, "HH", 9, 9),
        "count_fewer": changed(good, end + 8, "HH", 1, 1),
        "count_huge": changed(good, end + 8, "HH", 0xFFFE, 0xFFFE),
        "count_none": changed(good, end + 8, "HH", 0, 0),
        "parts": changed(good, end + 4, "HH", 1, 1),
        "list_outside": changed(good, end + 16, "I", len(good) + 1),
        "list_at_start": changed(good, end + 16, "I", 0),
        "list_longer": changed(good, end + 12, "I", len(good)),
        "list_zip64": changed(good, end + 16, "I", 0xFFFFFFFF),
        "name_longer": changed(good, first + 28, "H", 0xFFFF),
        "name_other": changed(good, first + 46, "B", ord("y")),
        "extra_longer": changed(good, first + 30, "H", 0xFFFF),
        "local_extra_longer": changed(good, 28, "H", 0xFFFF),
        "local_missing": changed(good, 0, "I", 0),
        "size_more": changed(good, first + 20, "II", 10**6, 10**6),
        "size_huge": changed(good, first + 20, "II", 0xFFFFFFFE, 0xFFFFFFFE),
        "size_differs": changed(good, first + 20, "I", 1),
        "place_outside": changed(good, first + 42, "I", 0xFFFFFFFE),
        "place_of_itself": changed(good, first + 42, "I", first),
        "checksum": changed(good, first + 16, "I", 0),
        "encrypted": changed(good, first + 8, "H", 1),
        "method_99": changed(good, first + 10, "H", 99),
        "two_pickles": archive(pickle(tensor()), [("data.pkl", pickle(tensor()))]),
        "storage_odd": archive(pickle(tensor(of=storage("1"))), [("data/1", b"12345")]),
        "byteorder_long": archive(pickle(tensor()), [("byteorder", b"little" * 100)]),
        "pickle_deeper": archive(pickle(tensor()), name="x/y"),
        "bomb": archive(pickle(tensor()), [("data/1", bytes(50000))], zipfile.ZIP_DEFLATED),
    }
    for name, content in archives.items():
        write(f"torch/zip_{name}.bin", content)
    # Many entries that are all the same bytes: reading each would take as long as a much larger file.
    size, count = 5000, 100
    sum_of = zlib.crc32(bytes(size))
    local = b"PK\x03\x04" + struct.pack("<HHHHHIIIHH", 20, 0, 0, 0, 0, sum_of, size, size, 1, 0) + b"a" + bytes(size)
    record = b"PK\x01\x02" + struct.pack("<HHHHHHIIIHHHHHII", 20, 20, 0, 0, 0, 0, sum_of, size, size, 1, 0, 0, 0, 0, 0, 0) + b"a"
    write("torch/zip_same_bytes.bin", local + record * count
          + b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, count, count, len(record) * count, len(local), 0))


# --- tokenizers ---


def tokenizers():
    words = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "[MASK]": 4, "a": 5, "##b": 6}
    processor = {"type": "TemplateProcessing",
                 "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
                 "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                 "special_tokens": {"[CLS]": {"id": "[CLS]", "ids": [2], "tokens": ["[CLS]"]}}}
    wordpiece = {"type": "WordPiece", "unk_token": "[UNK]", "vocab": words, "continuing_subword_prefix": "##", "max_input_chars_per_word": 100}
    good = {"model": wordpiece, "pre_tokenizer": {"type": "BertPreTokenizer"}, "normalizer": None, "added_tokens": [], "post_processor": processor}

    def folder(name, change=None, model=None, files=None):
        whole = {**good, **(change or {})}
        if model is not None:
            whole["model"] = {**wordpiece, **model}
        write(f"tokenizer/{name}/tokenizer.json", dump(whole))
        for file, content in (files or {}).items():
            write(f"tokenizer/{name}/{file}", content)

    folder("good_fine")
    models = {
        "vocab_empty": {"vocab": {}}, "vocab_list": {"vocab": ["a"]}, "vocab_null": {"vocab": None}, "id_negative": {"vocab": {**words, "c": -1}},
        "id_beyond": {"vocab": {**words, "c": 2**31}}, "id_uint64": {"vocab": {**words, "c": 2**64 - 1}}, "id_fraction": {"vocab": {**words, "c": 7.0}},
        "id_text": {"vocab": {**words, "c": "7"}}, "id_largest_fine": {"vocab": {**words, "c": 2**31 - 1}}, "id_twice_fine": {"vocab": {**words, "c": 5}},
        "unknown_missing": {"unk_token": "<none>"}, "unknown_null": {"unk_token": None}, "kind_unknown": {"type": "Unigram"}, "kind_number": {"type": 3},
        "prefix_number": {"continuing_subword_prefix": 3}, "prefix_long_fine": {"continuing_subword_prefix": "#" * 1000},
        "prefix_empty_fine": {"continuing_subword_prefix": ""}, "characters_negative": {"max_input_chars_per_word": -1},
        "characters_beyond": {"max_input_chars_per_word": 2**31}, "token_empty_fine": {"vocab": {**words, "": 7}},
        "token_long_fine": {"vocab": {**words, "a" * 1000: 7}},
    }
    for name, change in models.items():
        folder(name, model=change)
    bpe = {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "<s>": 3, "</s>": 4, "<unk>": 5}, "merges": ["a b"]}
    splitter = {"type": "ByteLevel", "add_prefix_space": False}

    def bpe_folder(name, change=None, split=None):
        folder(f"bpe_{name}", {"model": {**bpe, **(change or {})}, "pre_tokenizer": {**splitter, **(split or {})}, "post_processor": None})

    bpe_folder("good_fine")
    for name, change in {"merge_one": {"merges": ["ab"]}, "merge_three": {"merges": ["a b ab"]}, "merge_list_three": {"merges": [["a", "b", "c"]]},
                         "merge_numbers": {"merges": [[1, 2]]}, "merge_unknown": {"merges": ["a c"]}, "merge_whole_unknown": {"merges": ["b a"]},
                         "merge_empty": {"merges": [""]}, "merge_blank": {"merges": [" "]}, "merges_text": {"merges": "a b"},
                         "merges_null": {"merges": None}, "merges_twice_fine": {"merges": ["a b", "a b"]}, "dropout": {"dropout": 0.1},
                         "unknown_missing": {"unk_token": "<none>"}, "fallback": {"byte_fallback": True}}.items():
        bpe_folder(name, change)
    bpe_folder("no_regex", split={"use_regex": False})
    bpe_folder("prefix_text", split={"add_prefix_space": "no"})
    token = {"id": 7, "content": "<new>", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    for name, added in {"empty": [{**token, "content": ""}], "id_negative": [{**token, "id": -1}], "id_other": [{**token, "content": "a"}],
                        "id_missing": [{"content": "x"}], "flags_text": [{**token, "lstrip": "yes"}], "text": "x", "null": [None],
                        "nested": [[token]], "blank_fine": [{**token, "content": " ", "lstrip": True, "rstrip": True}]}.items():
        folder(f"added_{name}", {"added_tokens": added})
    single = processor["single"]
    for name, change in {"kind_unknown": {"type": "exec"}, "kind_missing": {"type": None}, "no_text": {"single": []}, "two_texts": {"single": single * 2},
                         "b_in_single": {"single": [{"Sequence": {"id": "B", "type_id": 0}}]}, "c": {"single": [{"Sequence": {"id": "C", "type_id": 0}}]},
                         "special_unknown": {"special_tokens": {}}, "special_id": {"special_tokens": {"[CLS]": {"ids": [99]}}},
                         "special_id_negative": {"special_tokens": {"[CLS]": {"ids": [-1]}}}, "special_id_text": {"special_tokens": {"[CLS]": {"ids": "2"}}},
                         "type_negative": {"single": [{"Sequence": {"id": "A", "type_id": -1}}]}, "items_text": {"single": "A"},
                         "item_empty": {"single": [{}]}}.items():
        folder(f"processor_{name}", {"post_processor": {**processor, **change}})
    folder("processor_sequence_nested", {"post_processor": {"type": "Sequence", "processors": [{"type": "Sequence", "processors": []}]}})
    folder("processor_sequence_two", {"post_processor": {"type": "Sequence", "processors": [processor, processor]}})
    folder("processor_bert_short", {"post_processor": {"type": "BertProcessing", "cls": ["[CLS]"], "sep": ["[SEP]", 3]}})
    folder("processor_bert_id", {"post_processor": {"type": "BertProcessing", "cls": ["[CLS]", 99], "sep": ["[SEP]", 3]}})
    folder("normalizer_unknown", {"normalizer": {"type": "Replace"}})
    folder("normalizer_text", {"normalizer": "NFC"})
    folder("splitter_unknown", {"pre_tokenizer": {"type": "Split"}})
    folder("splitter_missing", {"pre_tokenizer": None})
    for name, content in {"config_list": "[]", "config_cut": "{", "config_class_number": '{"tokenizer_class": 1}',
                          "config_role_number": '{"pad_token": 3}', "config_role_empty": '{"pad_token": ""}',
                          "config_role_content": '{"pad_token": {"content": 1}}', "config_deep": '{"pad_token": ' + nested(2000) + "}",
                          "config_not_utf8": b'{"pad_token": "\xff"}', "config_zero_behind": "{}\0{"}.items():
        folder(name, files={"tokenizer_config.json": content})
    for name, content in {"nothing": "", "list": "[]", "deep": "[" * 4000, "no_model": "{}", "model_list": '{"model": []}', "not_utf8": b'{"model": "\xff"}',
                          "zero_byte": "{\0}", "cut": dump(good)[:200]}.items():
        write(f"tokenizer/json_{name}/tokenizer.json", content)
    vocabulary = "\n".join(words) + "\n"
    for name, content in {"nothing": "", "no_specials": "a\nb\n", "no_sep": vocabulary.replace("[SEP]\n", ""), "not_utf8": vocabulary.encode() + b"\xff\n",
                          "zero_byte_fine": vocabulary + "\0\n", "blank_lines_fine": vocabulary + "\n" * 200, "long_line_fine": vocabulary + "x" * 1000,
                          "utf16": vocabulary.encode("utf-16")}.items():
        write(f"tokenizer/vocab_{name}/vocab.txt", content)
    for name, content in {"id_text": {"7": {"content": "x"}, "x": {"content": "y"}}, "id_negative": {"-1": {"content": "x"}}, "id_beyond": {"99999999999": {"content": "x"}},
                          "id_blank": {" 7": {"content": "x"}}, "id_other": {"9": {"content": "a"}}, "list": [1], "empty": {"7": {"content": ""}}}.items():
        write(f"tokenizer/decoder_{name}/vocab.txt", vocabulary)
        write(f"tokenizer/decoder_{name}/tokenizer_config.json", dump({"added_tokens_decoder": content}))
    for name, content in {"negative": {"x": -1}, "beyond": {"x": 2**40}, "other": {"a": 9}, "empty": {"": 9}, "list": ["x"], "text": {"x": "9"}}.items():
        write(f"tokenizer/listed_{name}/vocab.txt", vocabulary)
        write(f"tokenizer/listed_{name}/added_tokens.json", dump(content))
    pair = dump(bpe["vocab"])
    for name, merges in {"one_column": "ab\n", "three_columns": "a b c\n", "unknown": "a z\n", "empty_line": "a b\n\n", "not_utf8": b"\xff \xff\n",
                         "zero_byte": "a\0 b\n"}.items():
        write(f"tokenizer/merges_{name}/vocab.json", pair)
        write(f"tokenizer/merges_{name}/merges.txt", merges)


# --- examples ---


def tables():
    lines = {
        "nothing": "", "header_alone": "text\tlabel\n", "one_column": "a\n", "three_columns": "a\tb\tc\n", "empty_text": "\tb\n", "empty_label": "a\t\n",
        "empty_line": "a\tb\n\nc\td\n", "not_utf8": b"a\xff\tb\n", "overlong": b"\xc0\x80\tb\n", "surrogate": b"\xed\xa0\x80\tb\n", "cut_utf8": b"a\tb\xe2\x82",
        "utf16": "a\tb\n".encode("utf-16"), "tabs": "\t" * 1000, "carriage_returns": "a\tb\rc\td\r", "zero_bytes_fine": "a\0\tb\0\n",
        "long_label_fine": "a\t" + "9" * 1000 + "\nb\t" + "0" * 1000 + "\n", "mark_alone": b"\xef\xbb\xbf",
    }
    for name, content in lines.items():
        write(f"labelled/{name}.tsv", content)
    for name, label in {"nan": "nan", "infinite": "inf", "beyond": "1e999", "hexadecimal": "0x1p3", "blank": " 1", "two": "1 2", "comma": "1,5", "long": "1" * 1000}.items():
        write(f"scores/{name}.tsv", f"a\t{label}\n")
    for name, content in {"two_columns": "a\tb\n", "four_columns": "a\tb\tc\td\n", "empty_second": "a\t\tc\n"}.items():
        write(f"pairs/{name}.tsv", content)
    for name, content in {"nothing": "", "one_column": "word\n", "blank_lines": "\n \n\t\n", "document_alone": "-DOCSTART- O\n", "not_utf8": b"a\xff O\n",
                          "zero_byte_fine": "a\0 O\n", "one_column_after": "a O\nb\n", "long_fine": "a" * 1000 + " O\n"}.items():
        write(f"words/{name}.words", content)
    answer = {"text": "so", "answer_start": 3}
    for name, change in {"start_negative": {"answer_start": -1}, "start_beyond": {"answer_start": 2**31}, "start_outside": {"answer_start": 100},
                         "start_wrong": {"answer_start": 4}, "start_at_end": {"answer_start": 8}, "start_fraction": {"answer_start": 3.0}, "start_text": {"answer_start": "3"},
                         "text_empty": {"text": ""}, "text_longer": {"text": "so on and on"}, "text_number": {"text": 3}}.items():
        paragraph = {"context": "An so on", "qas": [{"id": "q", "question": "?", "answers": [{**answer, **change}]}]}
        write(f"questions/{name}.json", dump({"data": [{"paragraphs": [paragraph]}]}))
    for name, content in {"nothing": "", "list": "[]", "no_data": "{}", "data_object": '{"data": {}}', "no_paragraphs": '{"data": [{}]}', "none": '{"data": []}',
                          "context_number": '{"data": [{"paragraphs": [{"context": 1, "qas": []}]}]}',
                          "qas_text": '{"data": [{"paragraphs": [{"context": "a", "qas": "b"}]}]}',
                          "id_missing": '{"data": [{"paragraphs": [{"context": "a", "qas": [{"question": "b"}]}]}]}',
                          "deep": '{"data": ' + "[" * 3000, "not_utf8": b'{"data": ["\xff"]}'}.items():
        write(f"questions/{name}.json", content)


# --- requests to graft-serve ---


def bodies():
    for name, content in {
        "nothing": "", "list": "[]", "null": "null", "empty": "{}", "deep": "[" * 2000 + "]" * 2000, "deep_texts": '{"texts": ' + nested(200) + "}",
        "texts_text": '{"texts": "a"}', "texts_numbers": '{"texts": [1, 2]}', "texts_null": '{"texts": [null]}', "texts_object": '{"texts": {"0": "a"}}',
        "texts_not_utf8": b'{"texts": ["\xff"]}', "texts_lone_surrogate": '{"texts": ["\\udc00"]}', "texts_none": '{"texts": []}',
        "texts_twice": '{"texts": ["a"], "texts": ["b"]}', "texts_and_pairs": '{"texts": ["a"], "pairs": [["a", "b"]]}', "pairs_one": '{"pairs": [["a"]]}',
        "pairs_three": '{"pairs": [["a", "b", "c"]]}', "pairs_flat": '{"pairs": ["a", "b"]}', "pairs_numbers": '{"pairs": [[1, 2]]}',
        "adapter_number": '{"adapter": 3, "texts": ["a"]}', "adapter_list": '{"adapter": ["a"], "texts": ["a"]}', "adapter_object": '{"adapter": {}, "texts": ["a"]}',
        "cut": '{"texts": ["a"', "behind": '{"texts": ["a"]} x', "zero_byte": '{"texts": ["a"]}\0', "beyond_double": '{"texts": ["a"], "x": 1e999}',
        "nan": '{"texts": ["a"], "x": NaN}', "utf16": '{"texts": ["a"]}'.encode("utf-16"), "form": "adapter=a&texts=b", "many": '{"texts": [' + ",".join(['""'] * 500) + "]}",
    }.items():
        write(f"body/{name}.json", content)


if __name__ == "__main__":
    shutil.rmtree(corpus, ignore_errors=True)
    for part in (json_syntax, safetensors_files, shards, configs, models, peft, adapterhub, graft, torch, tokenizers, tables, bodies):
        part()
    files = [p for p in corpus.rglob("*") if p.is_file()]
    print(f"{len(files)} files, {sum(p.stat().st_size for p in files)} bytes")
