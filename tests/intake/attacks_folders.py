"""Configurations that name code, programs among the files, and what a folder can hold on disk."""

from __future__ import annotations

import json
import os
import socket
from typing import TYPE_CHECKING

from .builders import CONFIG, field, model, write
from .corpus import attack

if TYPE_CHECKING:
    from pathlib import Path

TEMPLATE = "{{ ''.__class__.__mro__[1].__subclasses__() }}"


def _file(label: str, source: str, said: str, name: str, content: bytes | str) -> None:
    @attack(label, source, said)
    def make(folder: Path, canary: Path) -> None:
        del canary
        write(model(folder), {name: content})


def _with(**values: object) -> str:
    return json.dumps(CONFIG | values)


for _label, _source, _said, _name, _content in (
    (
        "auto_map",
        "CWE-94",
        "asks for code of its own (auto_map)",
        "config.json",
        _with(auto_map={"AutoModel": "modeling.Evil"}),
    ),
    (
        "auto_map in a nested configuration",
        "CWE-94",
        "asks for code of its own (auto_map)",
        "config.json",
        _with(text_config={"auto_map": {"AutoModel": "other/repository--modeling.Evil"}}),
    ),
    (
        "trust_remote_code",
        "CWE-94",
        "asks to trust remote code",
        "tokenizer_config.json",
        '{"trust_remote_code": true}',
    ),
    (
        "chat template that reaches Python",
        "CVE-2024-34359",
        "has a chat template that reaches for more",
        "tokenizer_config.json",
        json.dumps({"chat_template": TEMPLATE}),
    ),
    (
        "chat template in a file of its own",
        "CVE-2024-34359",
        "has a chat template that reaches for more",
        "chat_template.jinja",
        TEMPLATE,
    ),
    (
        "Hydra's _target_",
        "CVE-2025-23304",
        "names a Python object to call (_target_)",
        "model_config.json",
        '{"encoder": {"_target_": "os.system", "command": "id"}}',
    ),
    (
        "jsonpickle",
        "CWE-502",
        "names a Python object to make (jsonpickle)",
        "state.json",
        '{"py/reduce": [{"py/type": "os.system"}, {"py/tuple": ["id"]}]}',
    ),
    ("JSON nested 100,000 deep", "CWE-674", "is nested too deeply", "vocab.json", "[" * 100_000),
    (
        "JSON number of 5,000 digits",
        "CVE-2020-10735",
        "is not JSON",
        "vocab.json",
        "[" + "9" * 5000 + "]",
    ),
    (
        "JSON with a repeated key",
        "CWE-436",
        "it has the key 'a' twice",
        "vocab.json",
        '{"a": 1, "a": 2}',
    ),
    (
        "JSON of millions of empty lists",
        "CWE-400",
        "holds more values than any",
        "vocab.json",
        "[" + "[]," * 4_100_000 + "[]]",
    ),
    ("JSON in UTF-16", "CWE-436", "is not JSON", "vocab.json", "{}".encode("utf-16")),
    ("text with a zero byte", "CWE-158", "holds the control code 0x00", "notes.txt", "a\0b"),
    ("text that is not UTF-8", "CWE-176", "is no text", "README.md", b"caf\xe9"),
    (
        "tokenizer with bytes behind it",
        "CWE-434",
        "it is no SentencePiece model",
        "tokenizer.model",
        field(1, field(1, "a")) + b"payload",
    ),
    (
        "program as model.bin",
        "CWE-434",
        "a shared library (ELF)",
        "model.bin",
        b"\x7fELF" + bytes(60),
    ),
    (
        "Windows program as a tokenizer",
        "CWE-434",
        "is a program or a library (Windows PE)",
        "tokenizer.model",
        b"MZ" + bytes(58) + (64).to_bytes(4, "little") + b"PE\0\0",
    ),
    ("shared library", "CWE-114", "(ELF)", "custom_op.so", b"\x7fELF" + bytes(60)),
    ("Python beside the weights", "CWE-94", "may hold code", "modeling.py", "import os\n"),
    ("compiled Python", "CWE-94", "is compiled Python", "a.pyc", b"\xa7\r\r\n" + bytes(60)),
    ("notebook", "CWE-94", "may hold code", "example.ipynb", "{}"),
    ("script as a README", "CWE-434", "is a script (#!)", "README", "#!/bin/sh\nid\n"),
    (
        "WebAssembly as weights",
        "CWE-434",
        "is a program (WebAssembly)",
        "model.bin",
        b"\0asm\1\0\0\0",
    ),
    ("YAML", "CVE-2020-14343", "is YAML", "config.yaml", "!!python/object/apply:os.system [id]"),
    ("TensorFlow graph", "CWE-94", "may hold a TensorFlow graph", "saved_model.pb", b"\x08\x01"),
    ("GGUF", "CVE-2024-34359", "is a GGUF model", "model.gguf", b"GGUF\3\0\0\0"),
    ("file of no known kind", "CWE-20", "is a file that no reader claims", "data.xyz", b"\x01\x02"),
):
    _file(_label, _source, _said, _name, _content)


@attack("symbolic link to a file", "CWE-59", "is a symbolic link")
def link_to_file(folder: Path, canary: Path) -> None:
    del canary
    (model(folder) / "vocab.json").symlink_to("/etc/hostname")


@attack("symbolic link to a folder", "CWE-59", "is a symbolic link")
def link_to_folder(folder: Path, canary: Path) -> None:
    del canary
    (model(folder) / "assets").symlink_to("/etc")


@attack("hard link", "CWE-62", "has another name elsewhere (a hard link)")
def hard_link(folder: Path, canary: Path) -> None:
    secret = write(canary.parent, {"secret": "{}"}) / "secret"
    os.link(secret, model(folder) / "vocab.json")


@attack("pipe", "CWE-73", "is a pipe")
def pipe(folder: Path, canary: Path) -> None:
    del canary
    os.mkfifo(model(folder) / "vocab.json")


@attack("socket", "CWE-73", "is a socket")
def unix_socket(folder: Path, canary: Path) -> None:
    del canary
    model(folder)
    here = os.open(folder, os.O_RDONLY)
    try:
        # By the folder's descriptor: a socket's whole path has at most 108 bytes.
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(f"/proc/self/fd/{here}/vocab.json")
    finally:
        os.close(here)


@attack("sparse file of 8 GiB", "CWE-409", "is sparse")
def sparse(folder: Path, canary: Path) -> None:
    del canary
    with (model(folder) / "weights.bin").open("wb") as file:
        file.truncate(8 << 30)


@attack("name that is not in normal form C", "CWE-176", "not in Unicode's normal form C")
def decomposed_name(folder: Path, canary: Path) -> None:
    del canary
    write(model(folder), {"cafe\u0301.txt": "a"})


@attack("name that is written backwards", "CVE-2021-42574", "has a control character in its name")
def backwards_name(folder: Path, canary: Path) -> None:
    del canary
    write(model(folder), {"model\u202etxt.exe": "a"})


@attack("name that is not UTF-8", "CWE-176", "has a name that is not UTF-8")
def name_of_bytes(folder: Path, canary: Path) -> None:
    del canary
    (model(folder) / os.fsdecode(b"caf\xe9.txt")).write_text("a")


@attack("name with a backslash", "CWE-22", "has a backslash in its name")
def backslash_name(folder: Path, canary: Path) -> None:
    del canary
    write(model(folder), {"folder\\evil.txt": "a"})


@attack("names that differ by capitals", "CVE-2021-21300", "by capitals or accents' spelling only")
def capitals(folder: Path, canary: Path) -> None:
    del canary
    write(model(folder), {"Vocab.txt": "a", "vocab.txt": "b"})


@attack("folders without end", "CWE-674", "lies more than 16 folders deep")
def deep_folders(folder: Path, canary: Path) -> None:
    del canary
    write(model(folder), {"/".join("d" * 20) + "/a.txt": "a"})
