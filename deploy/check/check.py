"""Checks everything below deploy/: `cargo xtask test deploy` runs it, with the tools that it has installed.

Every Kustomize folder and every variant of the chart is rendered by an old and a new kubectl and Helm. What comes out
must be the same, be accepted by each Kubernetes version, and obey the rules in rules.py and configs.py. selftest.py
shows that these rules see what they are for.
"""

import argparse
import functools
import json
import os
import pathlib
import re
import subprocess
import sys
import unittest

import cluster
import configs
import overlays
import rules
import schemas
import selftest
from objects import Objects, parse

HERE = pathlib.Path(__file__).parent
DEPLOY = HERE.parent
ROOT = DEPLOY.parent
CHART = DEPLOY / "helm/weir"
KUSTOMIZE = DEPLOY / "kubernetes"

# What the chart carries a copy of, because it can only read its own files.
COPIES = {
    "files/nginx.conf": DEPLOY / "kubernetes/base/origin/nginx.conf",
    "files/alerts.yaml": DEPLOY / "monitoring/alerts.yaml",
    "files/dashboard.json": DEPLOY / "monitoring/grafana/weir.json",
}

# Values that the chart must refuse, and what it must say about it.
REFUSED = {
    "edges.main.replica=3": "replica",
    "config.role=edge": "role",
    "image.tag=latest": "tag",
    "origin.replicas=3": "HLS comes through the edges",
    "edges.canary.joins=other": "there is no edge cluster",
    "drain.timeoutSeconds=0": "timeoutSeconds",
    "edges.main.autoscaling.enabled=true,edges.main.autoscaling.cpuUtilization=0": "by nothing",
    "edges.peers.replicas=1": "peers",
    "edgeToken.value=a b": "edgeToken",
    "edgeToken.value=a,auth.applyTo=all,auth.existingSecret=b": "two lists of checks",
}

# Keys of the configuration that have values of their own in the chart.
OWN_VALUES = {"role", "drain", "auth"}

# Drawn by chance otherwise, and different in each rendering.
TOKEN = "tokens.adminToken=a-token"

# What a reload applies must not start pods again, and what it cannot apply must: values, and whether pods start again.
RESTARTS = {
    "edges.main.limits.egress=1Gbps": False,
    "config.play.gop=false": False,
    "config.limits.connections=7": False,
    "config.workers=3": True,
    "config.rtmp.chunk_size=4096": True,
    "config.http.listen={0.0.0.0:8080}": True,
    "config.metrics.listen={0.0.0.0:9972}": True,
    "config.log_file=/data/weir.log": True,
    "config.work_dir=/data": True,
    "apiTls.secretName=tls": True,
    "edgeTls.secretName=tls": True,
    "edgeToken.value=a-secret": True,
}


class Tools:
    """The programs, each in an old and a new version."""

    def __init__(self, folder, weir):
        self.versions = sorted(folder.glob("kubernetes-*"))
        self.weir = weir
        self.environment = dict(os.environ)
        for kind in ("CACHE", "CONFIG", "DATA"):
            self.environment[f"HELM_{kind}_HOME"] = str(folder / "helm")
        # No cluster is asked, and none that this machine may know.
        self.environment["KUBECONFIG"] = os.devnull

    def run(self, program, *args):
        done = subprocess.run(
            [str(program), *map(str, args)], env=self.environment, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(done.stderr.strip() or done.stdout.strip())
        return done.stdout

    def same(self, program, *args):
        """What every version of the program prints; it must be the same."""
        printed = [self.run(version / program, *args) for version in self.versions]
        if len(printed) < 2:
            raise RuntimeError("there are no two versions of the tools; run: cargo xtask test tools")
        if len({tuple(map(str, parse(text))) for text in printed}) != 1:
            raise RuntimeError(f"{' and '.join(v.name for v in self.versions)} do not make the same of it")
        return printed[0]

    @functools.lru_cache(maxsize=None)
    def kustomize(self, folder):
        return self.same("kubectl", "kustomize", folder)

    @functools.lru_cache(maxsize=None)
    def chart(self, *args):
        return self.same("helm", "template", "weir", CHART, "--namespace", "live", *args)


def whole(tools, text):
    """Everything that is wrong with a set-up."""
    items = parse(text)
    if not items:
        return ["nothing was rendered"]
    objects = Objects(items)
    return schemas.broken(items) + rules.broken(objects) + configs.broken(objects, tools.weir)


def kustomizations(tools):
    folders = [KUSTOMIZE / "base", *sorted((KUSTOMIZE / "overlays").iterdir())]
    for folder in folders:
        yield f"kustomize {folder.relative_to(ROOT)}", lambda folder=folder: whole(tools, tools.kustomize(folder))
    base = KUSTOMIZE / "base"
    for folder in folders[1:]:
        yield f"kustomize {folder.relative_to(ROOT)}, beside the base", lambda folder=folder: overlays.broken(
            parse(tools.kustomize(base)), parse(tools.kustomize(folder)), folder.name
        )
    yield "kustomize, overlays in overlays", lambda: overlays.composed(
        KUSTOMIZE, lambda folder: tools.same("kubectl", "kustomize", folder)
    )


def charts(tools):
    yield "chart, defaults", lambda: whole(tools, tools.chart("--set", TOKEN))
    for file in sorted((HERE / "values").glob("*.yaml")):
        yield f"chart, {file.stem}", lambda file=file: whole(tools, tools.chart("--set", TOKEN, "--values", file))
    yield "chart, autoscaling", lambda: scaling(tools)
    yield "chart, lint", lambda: lint(tools)
    yield "chart, copies", copies
    yield "chart, keys of the configuration", lambda: keys(tools)
    yield "chart, monitoring", lambda: monitoring(tools)
    for values, word in REFUSED.items():
        yield f"chart, refuses {values}", lambda values=values, word=word: refuses(tools, values, word)
    for values, restarts in RESTARTS.items():
        yield f"chart, {values} {'starts' if restarts else 'leaves'} pods", (
            lambda values=values, restarts=restarts: starts(tools, values, restarts)
        )


def lint(tools):
    for file in [None, *sorted((HERE / "values").glob("*.yaml"))]:
        for version in tools.versions:
            tools.run(version / "helm", "lint", "--strict", "--quiet", CHART, *(["--values", file] if file else []))
    return []


def copies():
    for copy, original in COPIES.items():
        file = CHART / copy
        if original.is_file() and (not file.is_file() or file.read_bytes() != original.read_bytes()):
            relative = [path.relative_to(ROOT) for path in (original, file)]
            yield f"the chart's copy is not the original; run: cp {relative[0]} {relative[1]}"


def keys(tools):
    """`config` takes every key that Weir knows."""
    known = set(json.loads(tools.run(tools.weir, "schema"))["properties"]) - OWN_VALUES
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    taken = set(schema["definitions"]["config"]["properties"])
    for key in sorted(known ^ taken):
        yield f"config.{key}: {'the chart refuses it' if key in known else 'Weir has no such key'}"


def monitoring(tools):
    """What the chart has of alerts and dashboards, it installs."""
    kinds = {f"{item['kind']}/{item['metadata']['name']}" for item in everything(tools)}
    carried = {"files/alerts.yaml": "PrometheusRule/live", "files/dashboard.json": "ConfigMap/live-dashboard"}
    for copy, wanted in carried.items():
        if (CHART / copy).is_file() and wanted not in kinds:
            yield f"{wanted} is not rendered"
    if "ServiceMonitor/live" not in kinds:
        yield "ServiceMonitor/live is not rendered"


def everything(tools):
    return parse(tools.chart("--set", TOKEN, "--values", HERE / "values/everything.yaml"))


def refuses(tools, values, word):
    for version in tools.versions:
        try:
            tools.run(version / "helm", "template", "weir", CHART, "--set", values)
        except RuntimeError as error:
            if word not in str(error):
                yield f"{version.name} refuses it without a word of {word!r}: {error}"
        else:
            yield f"{version.name} takes it"


def starts(tools, values, restarts):
    def template(*more):
        edge = Objects(parse(tools.chart("--set", TOKEN, *more))).find("Deployment", "weir-edge-main")
        return edge["spec"]["template"]

    if (template() != template("--set", values)) != restarts:
        yield "it does not"


SCALED = "edges.main.autoscaling.enabled=true"


def scaling(tools):
    """Autoscaling is switched on, used and switched off, and no pod is stopped by that or by an upgrade meanwhile."""
    edge = "weir-edge-main"
    for version in tools.versions:
        with cluster.running() as (live, address):
            def helm(*values, version=version, address=address):
                given = [word for value in values for word in ("--set", value)]
                tools.run(version / "helm", "upgrade", "--install", "weir", CHART, "--namespace", "live",
                          "--kube-apiserver", address, "--disable-openapi-validation", *given)

            helm()
            helm(SCALED, "edges.main.autoscaling.minReplicas=2")
            live.scale(edge, 7)
            helm(SCALED, "config.play.gop=false")
            try:
                helm("edges.main.replicas=4")
                yield f"{version.name}: switched off at 7 edges, it goes to 4 without a word"
            except RuntimeError as error:
                if "replicas: 7" not in str(error):
                    raise
            helm("edges.main.replicas=7")
            helm("edges.main.replicas=4")
            # By the values, by the autoscaler, and by the values again.
            if live.numbers[edge] != [3, 7, 4]:
                yield f"{version.name}: the edges were {live.numbers[edge]} one after the other, not 3, 7, 4"
            helm("edges.main.replicas=4", "edges.other.autoscaling.enabled=true",
                 "edges.other.autoscaling.minReplicas=5")
            if live.numbers["weir-edge-other"] != [5]:
                yield f"{version.name}: a new cluster with autoscaling begins with {live.numbers['weir-edge-other']}"


def guide(_tools):
    """Files and versions that the documentation names."""
    first, last = schemas.VERSIONS[0], schemas.VERSIONS[-1]
    if f"Kubernetes {first} to {last}" not in (ROOT / "docs/guide/kubernetes.md").read_text(encoding="utf-8"):
        yield f"docs/guide/kubernetes.md does not say that it runs on Kubernetes {first} to {last}"
    for page in (ROOT / "docs/guide/kubernetes.md", ROOT / "compose.yaml"):
        for path in re.findall(r"\b(?:deploy|docs)/[\w./-]*[\w]", page.read_text(encoding="utf-8")):
            if not (ROOT / path).exists():
                yield f"{page.relative_to(ROOT)} names {path}, which is not there"


# Lines that somebody who wants TLS takes this away from.
OPTIONAL = "# TLS: "


def written(file, with_tls):
    """A file as it is, or with its optional lines."""
    text = file.read_text(encoding="utf-8")
    if with_tls and OPTIONAL not in text:
        raise LookupError(f"{file.relative_to(ROOT)} has no lines that begin with {OPTIONAL!r}")
    return text.replace(OPTIONAL, "") if with_tls else text


def compose(tools):
    """compose.yaml and the configurations that it mounts, as they are and with their lines for TLS."""
    yield from composed(tools, False)
    yield from composed(tools, True)
    edge = parse(written(ROOT / "compose.yaml", True))[0]["services"]["edge"]
    config = parse(written(DEPLOY / "compose/edge.yaml", True))[0]
    for section, port in (("rtmp", 1936), ("http", 8443)):
        if not any(words.endswith(f":{port}") for words in edge["ports"]):
            yield f"edge: with {section}.tls nobody reaches port {port}"
        for own in config[section]["tls"]["certificates"]:
            folder = own["key"].rpartition("/")[0]
            if not any(words.split(":")[1] == folder for words in edge["volumes"]):
                yield f"edge: {own['key']} ({section}.tls) is in no volume"


def systemd(tools):
    """The configuration of the unit, as it is and with its lines for TLS."""
    for with_tls in (False, True):
        refusal = configs.accepted(tools.weir, written(DEPLOY / "systemd/weir.yaml", with_tls), ())
        if refusal:
            yield f"{refusal}{' (with TLS)' if with_tls else ''}"


def srs(tools):
    """The objects of SRS's documentation: each version takes them, and Weir their configuration."""
    items = parse((HERE / "srs/edge-cluster.yaml").read_text(encoding="utf-8"))
    yield from schemas.broken(items)
    if len(items) != 6:
        yield f"six objects are {len(items)}"
    config = Objects(items).find("ConfigMap", "srs-edge-config")["data"]["srs.conf"]
    refusal = configs.accepted(tools.weir, config, ())
    if refusal:
        yield f"srs-edge-config: {refusal}"


def composed(tools, with_tls):
    for file in sorted((DEPLOY / "compose").glob("*.yaml")):
        # The origin has no viewers from outside.
        text = written(file, with_tls and file.name == "edge.yaml")
        refusal = configs.accepted(tools.weir, text, ())
        if refusal:
            yield refusal
    services = parse(written(ROOT / "compose.yaml", with_tls))[0]["services"]
    for name, service in services.items():
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0]
            # Who wants TLS makes the folder for the certificate.
            own = with_tls and source == "./certificates"
            if source.startswith("./") and not own and not (ROOT / source).exists():
                yield f"{name} mounts {source}, which is not there"
        config = next((word for word in service.get("command", []) if word.startswith("/etc/weir/")), None)
        if config and not (DEPLOY / "compose" / pathlib.Path(config).name).is_file():
            yield f"{name} reads {config}, which is not there"
        image = service.get("image", "weir:0.1.0")
        if not image.rpartition("/")[2].partition(":")[2] or image.endswith(":latest"):
            yield f"{name}: the image {image} has no fixed version"
        if not service.get("read_only") or service.get("cap_drop") != ["ALL"]:
            yield f"{name} may write to its image, or keeps capabilities"


def self_tests(tools):
    selftest.BASE = tools.kustomize(KUSTOMIZE / "base")
    selftest.CANARY = tools.kustomize(KUSTOMIZE / "overlays/canary")
    selftest.PARTNERS = tools.kustomize(KUSTOMIZE / "overlays/second-cluster")
    selftest.EVERYTHING = tools.chart("--set", TOKEN, "--values", HERE / "values/everything.yaml")
    selftest.WEIR = tools.weir
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromModule(selftest).run(result)
    if result.testsRun == 0:
        yield "no self-test ran"
    for test, text in result.failures + result.errors:
        yield f"{test}: {text}"


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--tools", type=pathlib.Path, required=True)
    arguments.add_argument("--weir", required=True)
    given = arguments.parse_args()
    tools = Tools(given.tools, given.weir)
    checks = [*kustomizations(tools), *charts(tools)]
    checks += [(text, lambda do=do: do(tools)) for text, do in
               {"guide": guide, "compose.yaml": compose, "SRS's six objects": srs, "systemd": systemd, "rules see what they are for": self_tests}.items()]
    failed = 0
    for text, check in checks:
        try:
            wrong = list(check())
        except Exception as error:
            wrong = [f"{type(error).__name__}: {error}"]
        failed += bool(wrong)
        print(f"{'FAILED' if wrong else 'ok':<8}{text}", flush=True)
        for line in wrong:
            print(f"        {line}")
    print(f"{len(checks) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
