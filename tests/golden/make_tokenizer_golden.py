# SPDX-License-Identifier: MIT
"""Records what Hugging Face's fast tokenizers make of awkward texts, into tokenizer/ beside this file.

The small vocabularies are trained here, on the texts themselves. With --minilm DIR (a folder with
all-MiniLM-L6-v2) the ids of the real vocabulary are recorded too; without it, those that were
recorded before are kept.

    python make_tokenizer_golden.py [--minilm DIR]

Needs tokenizers and transformers (recorded with 0.23 and 5.23).
"""

import argparse
import json
import random
import shutil
from collections import Counter
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import BertTokenizer, RobertaTokenizer

HERE = Path(__file__).parent / "tokenizer"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]

PLAIN = """
The quick brown fox jumps over the lazy dog.
A gripping, well-acted film that never loses its way.
the plot is thin, the jokes are thinner and the ending is a mess
unaffable unbelievably internationalization
HELLO World hElLo wORLD
don't can't won't I'm you're they've she'll he'd it's
DON'T CAN'T IT'S 'Tis the season 'twas rock 'n' roll
the dogs' bones and James's hat, '' and ''' and 's alone
'sound 'tree 'read 'very 'move 'llama 'door
it’s a “smart” quote – with dashes — and … dots
1 22 333 4444 55555 3.14159 1,000,000 1e-5 0xFF 12:30 2024-01-31 50% #1 №5
½ ¼ ² ³ ⅷ Ⅻ ① ⑳ ㊿ 四 ٣ ५ ๓ 𝟘𝟙
a1b2c3 abc123def 123abc456
https://example.org/path?query=1&other=two#frag
mail.user+tag@example.co.uk, ftp://host:21/%7Efile
C:\\\\temp\\\\new_file.txt /usr/local/bin
$ + < = > ^ ` | ~
a$b+c<d=e>f^g`h|i~j
!"#$%&'()*+,-./:;<=>?@[\\]^_{|}
... ---- ____ ==== **** ???!!! ;;::
¡Hola! ¿Qué tal? «bonjour» „Guten Tag“ 「日本」 ・。、
résumé naïve café Zürich Ångström señor façade
Crème Brûlée À LA CARTE ÉCOLE
Straße GROẞ weiß
İstanbul ISPARTA ılık Iğdır İİ
ΟΔΥΣΣΕΥΣ Οδυσσεύς ς σ Σ ΣΑΣ
Ελληνικά Ύψος ΐ ΰ
Привет мир ЁЛКА ёлка Йод й
Київ Їжак ґанок
Tiếng Việt Nguyễn Đường ưở
Łódź Żółć ørsted ÆON Œuvre þorn ÐÐ
中文字符测试
我爱北京天安门
日本語とEnglishの混在テスト
カタカナ ひらがな ガギグ ﾊﾝｶｸ
한국어 문장입니다 한글
สวัสดีชาวโลก ก็ น้ำ
مرحبا بالعالم اَلْعَرَبِيَّةُ
שלום עולם שָׁלוֹם
हिन्दी में लिखा हुआ क़ ज़
தமிழ் తెలుగు ಕನ್ನಡ മലയാളം
ქართული ᲥᲐᲠᲗᲣᲚᲘ
Հայերեն և ԵՒ
አማርኛ ភាសាខ្មែរ မြန်မာ བོད
𠀀𠀁 𪜀 𫝀 𫠠 𫤠 豈 丽
𝔘𝔫𝔦𝔠𝔬𝔡𝔢 ℌ ℝ ™ © ® ° µ Å K Ω
ﬁne ﬂow ǆ Ǆ ǅ ŉ
ＦＵＬＬ　ｗｉｄｔｈ，ｔｅｘｔ！
😀 😃😄 👍🏽 🏳️‍🌈 👨‍👩‍👧‍👦 🇩🇪 ❤️ ☺
hello😀world 👩🏾‍🚀rocket
→ ← ↔ ∑ ∫ ≠ ≤ √ ∞ ♥ ♪ ☃ ★
€5 £6 ¥7 ₹8 ¢9 ₿1
x² + y² = z²; E=mc²
a_b __init__ snake_case CamelCase
[CLS] at the start
ends with [SEP]
in the [MASK] middle
[MASK][MASK][MASK]
[mask] [Mask] [ MASK ] [MASK
[UNK] and [PAD] and [CLS][SEP]
x[MASK]y é[MASK]中[SEP]
<s> </s> <mask> <pad> <unk>
some   <mask>   spaces<mask>here <mask><mask> x
<s>joined</s>text<mask >
Graft and GRAFT and graft and grafting ungrafted
@@ a@@ @@b x @@ y @@@ @@, -@@-
before   <tag>   after <tag><tag> a<tag>b
é<tag>é [MASK] <tag> [MASK]
""".strip("\n").replace("\\\\", "\\").split("\n")

ODD = [
    "",
    " ",
    "     ",
    "\t\n\r ",
    "\u3000\u00a0",
    "leading",
    " leading",
    "  leading",
    "trailing ",
    "trailing  ",
    "tab\tseparated\tvalues",
    "line\nbreak\r\nand\rreturn\n\n\nend",
    "vertical\x0bform\x0cfeed",
    "a \n b  \n\n  c",
    "non\u00a0breaking\u00a0space \u00a0x",
    "zero\u200bwidth\u200cspaces\u200dhere\ufeff",
    "en\u2002quad\u2003thin\u2009hair\u200aline\u2028para\u2029math\u205fend",
    "ogham\u1680mark mongolian\u180evowel",
    "soft\u00adhyphen word\u2060joiner rtl\u200fmark \u202eoverride\u202c",
    "nul\x00inside",
    "\x00",
    "bell\x07 esc\x1b[0m del\x7f c1\x85next \x9f",
    "\x1c\x1d\x1e\x1f unit separators",
    "replacement\ufffdcharacter \ufffd",
    "private\ue000use \U000f0000 \U0010fffd",
    "unassigned\u0378here \u0e5c \U0003fffd\U000effff",
    "noncharacter\ufffe\uffff \ufdd0",
    "e\u0301 composed \u00e9 decomposed",
    "A\u030a \u00c5 \u212b",
    "o\u0323\u0302 \u1ed9 o\u0302\u0323",
    "q\u0307\u0323 q\u0323\u0307",
    "\u0301alone \u0301\u0302\u0303",
    "Z" + "\u0351" * 20 + "algo",
    "\uac00 \u1100\u1161 \uac01 \u1100\u1161\u11a8",
    "\u0958 \u0915\u093c \u0929",
    "i\u0307 \u0130 I\u0307",
    "\u1e9e \u00df SS",
    "\u01c4\u01c5\u01c6 \u1f88 \u1fb3 \u1ffc",
    "a" * 99,
    "a" * 100,
    "a" * 101,
    "b" * 150 + " tail",
    "\u00e9" * 100,
    "\u00e9" * 101,
    "e\u0301" * 100,
    "e\u0301" * 101,
    "\u4e2d" * 120,
    "ab" * 60 + "." + "cd" * 40,
    "-" * 120,
    "don't" * 25,
    "x" * 40 + "'s " + "1" * 60,
    "\U0001f600" * 101,
    "  two  spaces   three    four",
    "a  b",
    "a\u00a0 b",
    "a \u00a0b",
    "a\t b",
    "a \tb",
    "\n\nparagraph",
    "end\n",
    "end \n ",
    "1 2  3   4",
    ". .  .   .",
    " .a 1. a.1 '1 1's",
    "\u00b2x \u2160\u2161 x\u00bd",
    "\u0301a \u0903x \u20dd",
    "can \u2019t \u02bcs",
    "\u2e3a\u2e3b\u3030 \ufe58\ufe4f\uff0d",
    "\u055a\u0589\u05be\u061f\u066a\u0964\u0e4f\u104a",
    "\u00a7\u00b6\u00b7\u00bf \u2020\u2021 \u203b",
    "\u00a8\u00af\u00b4\u00b8 \u02c6\u02dc",
    "\ufb01\ufb02 \u2126 \u212a",
    "\U00010400\U00010428 \U0001e900\U0001e922",
    "\U0001d400 \U0001f170 \u24b6\u24d0",
    "\u3400 \u4dbf \u4dc0 \u9fff \ua000",
    "\uf900 \ufaff \U0002f800 \U0002fa1f \U0002fa20",
    "\U00020000 \U0002a6df \U0002a6e0 \U0002a700 \U0002b73f \U0002b740 \U0002b81f",
    "\U0002b820 \U0002b91f \U0002b920 \U0002ceaf \U0002ceb0 \U00030000",
    "[MASK] ",
    " [MASK]",
    "\u00a0[MASK]\u00a0",
    "[MASK]\x00[SEP]",
    "[MA\u200bSK]",
    "\u3000<mask>\u3000",
    "\n<mask>\n",
    "<mask>",
    "</s>",
    "@@",
    "\u00e9@@ @@\u0301 1@@ _@@ \u24b6@@ \u200d@@",
    "gra\u0301ft GRAFT\u0301",
    "<tag>\u3000\n<tag>\u00a0<mask>",
]


def mixtures(count):
    """Random strings of awkward pieces, the same every time."""
    pieces = [" ", "  ", "\n", "\t", "\u00a0", "'s", "'", "n't", "the", "ing", "Un", "film", "42",
              ".", "$", "^", "\u00e9", "e\u0301", "\u0130", "\u03a3", "\u4e2d", "\uac00", "\u200d",
              "\U0001f600", "\x00", "\ufffd", "\u00ad", "[MASK]", "<mask>", "[SEP]", "@@", "<tag>",
              "Graft", "\u0915\u093c", "\u0e49", "\u00df", "-", "_", "\u2019", "\u00bd"]
    source = random.Random(7)
    return ["".join(source.choices(pieces, k=source.randint(3, 14))) for _ in range(count)]


TEXTS = PLAIN + ODD + mixtures(40)

PAIR_TEXTS = ["", "a", "the film", "a gripping film", "don't lose its way, the jokes are thin",
              "The quick brown fox jumps over the lazy dog."]


def write_json(path, value):
    path.write_text(json.dumps(value, separators=(",", ":")) + "\n", encoding="utf-8")


def train_wordpiece(lowercase):
    """The most frequent characters and pieces. (WordPieceTrainer breaks ties at random.)"""
    normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    splitter = pre_tokenizers.BertPreTokenizer()
    characters, pieces = Counter(), Counter()
    for text in PLAIN + ODD[:-12]:
        for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text)):
            for begin in range(min(len(word), 30)):
                head = "##" if begin else ""
                characters[head + word[begin]] += 1
                for length in range(2, min(9, len(word) - begin + 1)):
                    pieces[head + word[begin : begin + length]] += length

    def best(counts, how_many):
        return sorted(counts, key=lambda token: (-counts[token], token))[:how_many]

    return SPECIAL + best(characters, 420) + best(pieces, 675)


def train_byte_bpe():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=900, min_frequency=1, show_progress=False,
        special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.train_from_iterator(PLAIN + ODD, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]


def folder(name):
    path = HERE / name
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def bert_uncased():
    """tokenizer.json, with added tokens of every kind."""
    path = folder("bert_uncased")
    tokenizer = BertTokenizer(vocab={t: i for i, t in enumerate(train_wordpiece(True))})
    tokenizer.add_tokens([
        AddedToken("GRAFT", normalized=True),
        AddedToken("@@", single_word=True, normalized=False),
        AddedToken("<tag>", lstrip=True, rstrip=True, normalized=False),
    ])
    (path / "tokenizer.json").write_text(tokenizer.backend_tokenizer.to_str() + "\n")
    write_json(path / "tokenizer_config.json", {"tokenizer_class": "BertTokenizer"})
    return tokenizer


def bert_cased():
    """vocab.txt and tokenizer_config.json."""
    path = folder("bert_cased")
    (path / "vocab.txt").write_text("\n".join(train_wordpiece(False)) + "\n", encoding="utf-8")
    write_json(path / "tokenizer_config.json",
               {"tokenizer_class": "BertTokenizer", "do_lower_case": False})
    return BertTokenizer.from_pretrained(path)


def roberta(vocab, merges):
    """tokenizer.json."""
    path = folder("roberta")
    mask = AddedToken("<mask>", lstrip=True, special=True, normalized=False)
    tokenizer = RobertaTokenizer(vocab=vocab, merges=merges, mask_token=mask)
    (path / "tokenizer.json").write_text(tokenizer.backend_tokenizer.to_str() + "\n")
    return tokenizer


def roberta_prefix(vocab, merges):
    """vocab.json, merges.txt and tokenizer_config.json, with add_prefix_space."""
    path = folder("roberta_prefix")
    mask = AddedToken("<mask>", lstrip=True, special=True, normalized=False)
    write_json(path / "vocab.json", vocab)
    (path / "merges.txt").write_text(
        "#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in merges), encoding="utf-8")
    write_json(path / "tokenizer_config.json",
               {"tokenizer_class": "RobertaTokenizer", "add_prefix_space": True,
                "mask_token": {"content": "<mask>", "lstrip": True, "normalized": False}})
    return RobertaTokenizer(vocab=vocab, merges=merges, mask_token=mask, add_prefix_space=True)


def ids_of(tokenizer):
    return {"plain": [tokenizer(t, add_special_tokens=False).input_ids for t in TEXTS],
            "framed": [tokenizer(t).input_ids for t in TEXTS]}


def cuts_of(tokenizer, pair_overhead):
    """Truncation of single texts and of pairs, at every length that could matter."""
    cuts = []
    backend = tokenizer.backend_tokenizer  # transformers takes a pair with "" for a single text

    def record(texts, length):
        backend.enable_truncation(length, strategy="longest_first")
        got = backend.encode(*texts)
        cuts.append({"texts": texts, "max_length": length, "ids": got.ids, "types": got.type_ids})

    for text in PAIR_TEXTS:
        for length in (2, 3, 5, 8, 64):
            record([text], length)
    for first in PAIR_TEXTS:
        for second in PAIR_TEXTS:
            for length in (pair_overhead, pair_overhead + 1, pair_overhead + 4, pair_overhead + 7,
                           64):
                record([first, second], length)
    return cuts


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minilm", help="folder of all-MiniLM-L6-v2")
    arguments = parser.parse_args()

    golden_path = HERE / "ids.json"
    before = json.loads(golden_path.read_text()) if golden_path.exists() else {}
    vocab, merges = train_byte_bpe()
    tokenizers = {
        "bert_uncased": bert_uncased(),
        "bert_cased": bert_cased(),
        "roberta": roberta(vocab, merges),
        "roberta_prefix": roberta_prefix(vocab, merges),
    }
    golden = {"texts": TEXTS, "ids": {n: ids_of(t) for n, t in tokenizers.items()}}
    golden["cuts"] = {"bert_uncased": cuts_of(tokenizers["bert_uncased"], 3),
                      "roberta": cuts_of(tokenizers["roberta"], 4)}
    if arguments.minilm:
        golden["minilm"] = ids_of(BertTokenizer.from_pretrained(arguments.minilm))["plain"]
    elif before.get("texts") == TEXTS and "minilm" in before:
        golden["minilm"] = before["minilm"]
    write_json(golden_path, golden)


if __name__ == "__main__":
    main()
