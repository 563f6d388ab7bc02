# SPDX-License-Identifier: MIT
"""PyTorch checkpoints for the tests of graft's reader: good ones, and files that must be refused.

    python torch_files.py          # in the environment of requirements-adapters.txt; writes torch_files/

What the good ones hold is said in tests/io/torch_file.cpp. The bad ones are pickles written by hand
that ask for something else than tensors, and archives that do not hold together.
"""

import io
import shutil
import struct
import zipfile
import zlib
from collections import OrderedDict
from pathlib import Path

import torch

folder = Path(__file__).parent / "torch_files"


# --- good ones ---


def make_good():
    kinds = ["float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8"]
    tensors = {kind: torch.arange(6).view(2, 3).to(getattr(torch, kind)) for kind in kinds}
    tensors |= {"bool": torch.tensor([True, False]), "scalar": torch.tensor(2.5)}
    tensors |= {"empty": torch.zeros(0, 3)}
    torch.save(tensors, folder / "dtypes.bin")

    base = torch.arange(24.0).view(2, 3, 4)
    strided = {"base": base, "transposed": base.permute(2, 0, 1), "row": base[1], "columns": base[0, :, 1:3]}
    strided |= {"last": base[1, 2, 3], "parameter": torch.nn.Parameter(torch.ones(2))}
    torch.save(strided, folder / "strided.bin")

    layer = torch.nn.Linear(2, 1)
    layer.load_state_dict({"weight": torch.tensor([[1.0, 2.0]]), "bias": torch.tensor([3.0])})
    torch.save(layer.state_dict(), folder / "state_dict.bin")  # which has attributes


# --- bad ones ---


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


def archive(data, storages=None, method=zipfile.ZIP_STORED, more=()):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as zipped:
        entries = {"data.pkl": data, "data/0": struct.pack("<4f", 1, 2, 3, 4), **(storages or {})}
        for name, content in [*entries.items(), *more]:
            zipped.writestr(zipfile.ZipInfo(f"x/{name}"), content, method)
    return file.getvalue()


def write(name, content):
    (folder / f"{name}.bin").write_bytes(content)


def make_bad():
    run = text("touch executed")
    calls = {
        "reduce": b"cos\nsystem\n(" + run + b"tR",
        "builtin": b"cbuiltins\neval\n(" + run + b"tR",
        "torch_function": b"ctorch\nload\n(" + run + b"tR",
        "inst": b"(" + run + b"ios\nsystem\n",
        "obj": b"(cos\nsystem\n" + run + b"o",
        "newobj": b"ccollections\nOrderedDict\n)\x81",
        "stack_global": text("os") + text("system") + b"\x93(" + run + b"tR",
        "build_object": tensor() + b"}b",
        "build_state": b"ccollections\nOrderedDict\n)Rcos\nsystem\nb",
        "hooks": tensor(hooks=b"}(" + text("h") + text("h") + b"u"),
    }
    for name, value in calls.items():
        write(f"call_{name}", archive(pickle(value)))

    sizes = {
        "shape": tensor((2**40,), (1,)),
        "beyond": tensor((4,), (1,), 1),
        "stride": tensor((2, 2), (3, 1)),
        "expanded": tensor((2**40,), (0,)),
        "product": tensor((2**32, 2**32), (0, 0)),
        "empty": tensor((2**62, 2**62, 0), (1, 1, 1)),
        "negative": tensor((-1,), (1,)),
        "rank": tensor((1,) * 9, (1,) * 9),
        "storage": tensor(of=storage(elements=2**40)),
        "storage_type": tensor(of=storage(kind="DoubleStorage")),
        "no_storage": tensor(of=storage(key="7")),
    }
    for name, value in sizes.items():
        write(f"size_{name}", archive(pickle(value)))
    one = text("0") + tensor((2, 2), (1, 2)) + b"q\x00"
    many = b"".join(text(str(i)) + b"h\x00" for i in range(1, 400))
    write("size_copies", archive(b"\x80\x02}(" + one + many + b"u."))

    deep = b")" + b"\x85" * 4000
    doubled = b")q\x00" + b"h\x00h\x00\x86q\x00" * 64
    values = {
        "deep": deep,
        "doubled": doubled,
        "list": b"]",
        "number": number(3),
        "dictionary": b"}" + b"(" + text("v") + tensor() + b"u",
        "memo": b"h\x05",
        "underflow": b"s",
    }
    for name, value in values.items():
        write(f"value_{name}", archive(pickle(value)))
    write("value_twice", archive(b"\x80\x02}(" + (text("w") + tensor()) * 2 + b"u."))
    write("value_cut", archive(pickle(tensor())[:-9]))
    write("value_more", archive(pickle(tensor()) + b"."))
    write("value_protocol", archive(b"\x80\x04}."))
    write("value_name", archive(b"\x80\x02}(" + number(1) + tensor() + b"u."))

    good = archive(pickle(tensor()))
    write("zip_good", good)
    write("zip_deflated", archive(pickle(tensor()), method=zipfile.ZIP_DEFLATED))
    write("zip_truncated", good[: len(good) // 2])
    flipped = bytearray(good)
    flipped[good.index(struct.pack("<4f", 1, 2, 3, 4))] ^= 1
    write("zip_damaged", bytes(flipped))
    write("zip_big_endian", archive(pickle(tensor()), {"byteorder": b"big"}))
    write("zip_no_pickle", archive(pickle(tensor())).replace(b"data.pkl", b"data.bin"))
    write("zip_twice", archive(pickle(tensor()), {"data/1": b""}).replace(b"x/data/1", b"x/data/0"))
    two = bytearray(archive(pickle(tensor()), {"data/1": struct.pack("<4f", 1, 2, 3, 4)}))
    first, second = two.index(b"PK\x01\x02"), two.rindex(b"PK\x01\x02")
    middle = two.index(b"PK\x01\x02", first + 1)
    two[second + 42 : second + 46] = two[middle + 42 : middle + 46]  # one place for both
    two[second + 46 : second + 54] = b"x/data/0"
    write("zip_same_name", bytes(two))
    lying = bytearray(archive(pickle(tensor()), {"data/1": b""}))
    inner = lying.index(b"PK\x03\x04", 1)  # the entry of data/0 lies within that of data.pkl
    at = lying.index(b"PK\x01\x02")
    size = struct.unpack_from("<I", lying, at + 24)[0] + 60
    start = 30 + len("x/data.pkl")
    struct.pack_into("<I", lying, at + 16, zlib.crc32(bytes(lying[start : start + size])))
    struct.pack_into("<II", lying, at + 20, size, size)
    assert start + size > inner
    write("zip_overlapping", bytes(lying))
    sixty_four = bytearray(good)
    at = sixty_four.index(b"PK\x01\x02")
    struct.pack_into("<II", sixty_four, at + 20, 0xFFFFFFFF, 0xFFFFFFFF)
    write("zip_64", bytes(sixty_four))
    outside = bytearray(good)
    struct.pack_into("<I", outside, outside.index(b"PK\x01\x02") + 42, len(good) - 8)
    write("zip_outside", bytes(outside))
    torch.save({"w": torch.ones(1)}, folder / "zip_none.bin", _use_new_zipfile_serialization=False)


if __name__ == "__main__":
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    make_good()
    make_bad()
