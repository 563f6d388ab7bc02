# SPDX-License-Identifier: MIT
"""Inputs for the fuzz targets to begin with: the files of tests/hostile/corpus and of tests/golden, as
each target takes them.

    python3 seeds.py FOLDER        # writes FOLDER/TARGET/...
"""

import hashlib
import json
import sys
import zipfile
from pathlib import Path

tests = Path(__file__).resolve().parent.parent
hostile, golden = tests / "hostile" / "corpus", tests / "golden"
longest = 1 << 16  # bytes of a seed


def write(target, content):
    if 0 < len(content) <= longest:
        folder = Path(sys.argv[1]) / target
        folder.mkdir(parents=True, exist_ok=True)
        (folder / hashlib.sha1(content).hexdigest()).write_bytes(content)


def files(pattern):
    for root in (hostile, golden):
        yield from sorted(p for p in root.rglob(pattern) if p.is_file())


def bytes_of(path):
    return path.read_bytes() if path.is_file() else b""


for path in files("*.safetensors"):
    write("safetensors", path.read_bytes())

for path in files("*.bin"):
    content = path.read_bytes()
    write("archive", content)
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith("/data.pkl"):
                    write("pickle", archive.read(name))
    except Exception:  # many are no archives
        pass

kinds = {
    "config.json": b"m",
    "head_config.json": b"t",
    "graft_adapter.json": b"g",
    "model.safetensors.index.json": b"i",
}
for path in files("*.json"):
    content = path.read_bytes()
    if path.name == "adapter_config.json":
        write("configs", (b"p" if b"peft_type" in content else b"h") + content)
    elif path.name in kinds:
        write("configs", kinds[path.name] + content)
    elif path.parent.name in ("configs", "json"):
        for kind in b"mhtpgij":
            write("configs", bytes([kind]) + content)
    elif path.parent.name == "questions" or path.name.startswith("questions"):
        write("tables", b"q" + content)


def shortened(content):
    """A tokenizer.json of few tokens: one that a fuzzer can change."""
    try:
        whole = json.loads(content)
        vocabulary = whole["model"]["vocab"]
        kept = {t: i for t, i in vocabulary.items() if len(t) == 1 or not t[:1].isalpha()}
        whole["model"]["vocab"] = dict(list(kept.items())[:300])
        if "merges" in whole["model"]:
            whole["model"]["merges"] = []
        return json.dumps(whole).encode()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return content


def tokenizer(folder):
    config, text = bytes_of(folder / "tokenizer_config.json"), "A first [MASK] text, Éa.".encode()
    if (folder / "tokenizer.json").is_file():
        whole = bytes_of(folder / "tokenizer.json")
        for one in {whole, shortened(whole)}:
            write("tokenizer", b"j" + b"\0".join([text, one, config]))
    if (folder / "vocab.txt").is_file():
        words = b"\n".join(bytes_of(folder / "vocab.txt").split(b"\n")[:200])
        write("tokenizer", b"v" + b"\0".join([text, words, config, bytes_of(folder / "added_tokens.json")]))
    if (folder / "vocab.json").is_file():
        merges = bytes_of(folder / "merges.txt")
        write("tokenizer", b"b" + b"\0".join([text, bytes_of(folder / "vocab.json"), config, merges]))


for root in (hostile, golden):
    for folder in sorted({p.parent for p in root.rglob("*") if p.name in
                          ("tokenizer.json", "vocab.txt", "vocab.json")}):
        tokenizer(folder)

for path in files("*.tsv"):
    for kind in b"tps":
        write("tables", bytes([kind]) + path.read_bytes())
for path in files("*.words"):
    write("tables", b"w" + path.read_bytes())
write("tables", b"s" + b"sentence\tlabel\na b\t1.5\nc\t-2\n")
write("tables", b"p" + "one\ttwo\tyes\nthree\tfour\tno\n".encode())
write("tables", b"w" + b"Ann B-PER\nruns O\n\n-DOCSTART- O\nit\tO\n")
question = {"context": "Añd so on", "qas": [{"id": "1", "question": "?", "answers": [{"text": "so", "answer_start": 4}]}]}
write("tables", b"q" + json.dumps({"data": [{"paragraphs": [question]}]}).encode())


def adapter(letter, folder, config, weights):
    if (folder / config).is_file() and (folder / weights).is_file():
        write("adapter", letter + bytes_of(folder / config) + b"\0" + bytes_of(folder / weights))


for root in (hostile, golden):
    for folder in sorted(p for p in root.rglob("*") if p.is_dir()):
        adapter(b"g", folder, "graft_adapter.json", "graft_adapter.safetensors")
        adapter(b"p", folder, "adapter_config.json", "adapter_model.safetensors")
        adapter(b"q", folder, "adapter_config.json", "adapter_model.bin")
        adapter(b"h", folder, "adapter_config.json", "adapter.safetensors")
        adapter(b"i", folder, "adapter_config.json", "pytorch_adapter.bin")

for path in sorted((hostile / "body").glob("*")):
    write("body", path.read_bytes())
for body in ({"adapter": "a", "texts": ["one", "two"]}, {"adapter": None, "pairs": [["a", "b"]]}, {"texts": []}):
    write("body", json.dumps(body).encode())
