"""Generates Python stubs with types from `proto/` into `cluster/pb/`.

A `.proto` file imports its neighbours by their path under `proto/`, as every other language's compiler expects.
protoc turns that path into a Python import, so `orrery/kv/v1` would become the package `orrery`, which is the
roof of this house. The imports are therefore rewritten to live under `cluster.pb` after generation.
"""

import re
import shutil
import sys
from pathlib import Path

import grpc_tools
from google.api import http_pb2
from grpc_tools import protoc

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "proto"
TARGET = ROOT / "cluster" / "pb"

IMPORT = re.compile(r"^(from|import) (etcd|orrery)(\.[\w.]+)", re.MULTILINE)
"""Import statements of generated files that name a package under proto/."""
REFERENCE = re.compile(r"(?<![\w.\"'/])(etcd|orrery)((?:\.\w+)+_pb2)")
"""Dotted uses of those packages inside typed stubs."""


def main() -> int:
    """Generates every stub anew. Returns protoc's exit code."""
    files = sorted(str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.proto"))
    shutil.rmtree(TARGET, ignore_errors=True)
    TARGET.mkdir(parents=True)
    well_known = Path(grpc_tools.__file__).parent / "_proto"
    # google/api/annotations.proto comes with googleapis-common-protos, beside its generated module.
    google_api = Path(http_pb2.__file__).parent.parent.parent
    bin_dir = Path(sys.executable).parent
    code = protoc.main(
        [
            "protoc",
            f"--plugin=protoc-gen-mypy={bin_dir / 'protoc-gen-mypy'}",
            f"--plugin=protoc-gen-mypy_grpc={bin_dir / 'protoc-gen-mypy_grpc'}",
            f"-I{SOURCE}",
            f"-I{well_known}",
            f"-I{google_api}",
            f"--python_out={TARGET}",
            f"--grpc_python_out={TARGET}",
            f"--mypy_out=quiet:{TARGET}",
            f"--mypy_grpc_out=quiet:{TARGET}",
            *files,
        ]
    )
    if code != 0:
        return int(code)
    for path in [*TARGET.rglob("*.py"), *TARGET.rglob("*.pyi")]:
        text = IMPORT.sub(r"\1 cluster.pb.\2\3", path.read_text())
        if path.suffix == ".pyi":
            text = REFERENCE.sub(r"cluster.pb.\1\2", text)
        path.write_text(text)
    for folder in [TARGET, *(path for path in TARGET.rglob("*") if path.is_dir())]:
        (folder / "__init__.py").touch()
    return 0


if __name__ == "__main__":
    sys.exit(main())
