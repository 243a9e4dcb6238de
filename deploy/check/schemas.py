"""Are the objects what the API server of each Kubernetes version takes? Keys that it does not know are errors."""

import functools
import json
import pathlib
import re

import jsonschema
import kubernetes_validate
import referencing

from objects import name

# The versions that are promised.
VERSIONS = [f"1.{minor}" for minor in range(28, 37)]


@functools.lru_cache(maxsize=None)
def _folder(version):
    schemas = pathlib.Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
    return schemas / f"v{version}.0-local-strict"


@functools.lru_cache(maxsize=None)
def _definitions(version):
    text = (_folder(version) / "_definitions.json").read_text(encoding="utf-8")
    return referencing.Resource.from_contents(json.loads(text))


@functools.lru_cache(maxsize=None)
def _validator(version, kind, api_version):
    """The package's own way to find a schema, without reading the definitions again for each object."""
    group = re.sub(r"^([^./]*)(?:\.[^/]*)?/", r"\1-", api_version)
    file = _folder(version) / f"{kind.lower()}-{group}.json"
    if not file.is_file():
        return None
    schema = json.loads(file.read_text(encoding="utf-8"))
    registry = _definitions(version) @ (referencing.Resource.from_contents(schema) @ referencing.Registry())
    return jsonschema.validators.Draft202012Validator(schema, registry=registry)


@functools.lru_cache(maxsize=None)
def _models():
    from cloudcoil.models.prometheus_operator import v1

    return {"ServiceMonitor": v1.ServiceMonitor, "PrometheusRule": v1.PrometheusRule}


def _unknown(have, known, path=""):
    """What the model did not take up."""
    if isinstance(have, dict) and isinstance(known, dict):
        for key, value in have.items():
            if key not in known:
                yield f"{path}.{key} is unknown"
            else:
                yield from _unknown(value, known[key], f"{path}.{key}")
    elif isinstance(have, list) and isinstance(known, list):
        for index, (left, right) in enumerate(zip(have, known)):
            yield from _unknown(left, right, f"{path}[{index}]")


def _operator(item):
    """Objects of the Prometheus operator, by the models that are made from its CRDs."""
    model = _models().get(item["kind"])
    if model is None:
        yield "there is no schema for this kind"
        return
    try:
        known = model.model_validate(item)
    except ValueError as error:
        yield " ".join(str(error).split())
        return
    yield from _unknown(item, known.model_dump(by_alias=True, exclude_none=True, mode="json"))


def broken(items):
    """Everything that some version refuses."""
    found = []
    for item in items:
        if item["apiVersion"].startswith("monitoring.coreos.com/"):
            found += [f"{name(item)}: {text}" for text in _operator(item)]
            continue
        for version in VERSIONS:
            validator = _validator(version, item["kind"], item["apiVersion"])
            if validator is None:
                found.append(f"{name(item)}: Kubernetes {version} has no {item['kind']} of {item['apiVersion']}")
                continue
            for error in validator.iter_errors(item):
                path = ".".join(str(part) for part in error.path)
                found.append(f"{name(item)}: Kubernetes {version} refuses {path}: {error.message[:200]}")
    return found
