"""What ONNX Runtime says, in words for callers: what is wrong with the file or the request.

Pure: text in, text out. Leaves out the runtime's codes, paths, source lines and C++ signatures, and
says what to do where that is known. Never raises anything itself.
"""

from __future__ import annotations

import re
from typing import Final

MAX_TEXT: Final = 300

# What the runtime says of a file, and what that means. Groups are filled in by number.
_MEANINGS: Final = (
    (
        r"xternal (?:data (?!for)|initializer)|Random-access reads",
        "the model's external data is missing, too short, or outside of the artifact",
    ),
    (
        r"Opset (\d+) is under development.*domain (\S+) is till opset (\d+)",
        (
            r"the model is of opset \1 of domain \2, but ONNX Runtime here goes up to opset \3: "
            "export it for an older one"
        ),
    ),
    (
        r"Unsupported model IR version: (\d+), max supported IR version: (\d+)",
        (
            r"the model is of IR version \1, but ONNX Runtime here goes up to version \2: "
            "save it with an older onnx"
        ),
    ),
    (
        r"(\S+):(\w+)\(-?\d+\) is not a registered function/op",
        (
            r"the model uses operator \2 of domain \1, which isn't part of ONNX: custom operators "
            "aren't supported here"
        ),
    ),
    (
        r'In Node, \("[^"]*", (\w+), .*No opset import for domain \'([^\']*)\'',
        r"the model uses operator \1 of domain \2, but doesn't say of which opset",
    ),
    (
        r"No Op registered for (\w+) with domain_version of (\d+)",
        r"there is no operator \1 in opset \2, by which the model says it was made",
    ),
    (
        r"Could not find an implementation for (\w+)\((\d+)\)",
        r"ONNX Runtime has no operator \1 (opset \2) for the types that the model uses it with",
    ),
    (
        r"MLDataType for: (\S+) is not currently registered",
        r"the model uses \1, which ONNX Runtime doesn't support",
    ),
)
_CORRUPT: Final = frozenset({"InvalidProtobuf", "InvalidArgument", "NoSuchFile"})


def why(error: Exception) -> str:
    """Why a model can't be loaded, as one line without paths."""
    text = re.sub(r"\s+", " ", str(error)[:20_000])
    for pattern, meaning in _MEANINGS:
        match = re.search(pattern, text)
        if match is not None:
            return match.expand(meaning)[:MAX_TEXT]
    if type(error).__name__ in _CORRUPT:
        return "the ONNX file is corrupt or cut short"
    return f"ONNX Runtime can't load the model: {first_line(error)}"


def is_out_of_memory(error: Exception) -> bool:
    return re.search(r"(?i)bad.?alloc|failed to allocate|out of memory", str(error)) is not None


def is_bad_input(error: Exception) -> bool:
    """Whether the values are to blame; the runtime's other kinds of error blame the model."""
    return type(error).__name__ == "InvalidArgument"


def first_line(error: Exception) -> str:
    """The first line of what ONNX Runtime says, without its codes, paths and source lines."""
    line = (str(error).strip().splitlines() or [""])[0][:4000]
    line = re.sub(r"/onnxruntime_src/\S+ [^()]*\(.*?\) (?:\[with .*?\] )?(?=[A-Z\[])", "", line)
    line = re.sub(r"\[ONNXRuntimeError\] : \d+ : \w+ : ", "", line)
    line = re.sub(r"\w+\.(?:cc|h):\d+ (?:\w+ )?", "", line)
    line = re.sub(r"(Load model from )?/\S+( failed:)?", "", line)
    return re.sub(r"\s+", " ", line).strip(" :")[:MAX_TEXT]
