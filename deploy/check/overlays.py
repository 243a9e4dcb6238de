"""What the overlays do to the set-up that they are put on: what they are for, and nothing else of it."""

import pathlib
import shutil
import tempfile

import yaml

from objects import WORKLOADS, Objects, containers, name, parse

# An object of the base that an overlay takes away.
GONE = object()

# What each overlay is for: the objects of the base that it changes, and where in them. An overlay that is not here is
# refused.
CHANGES = {
    "canary": {},
    "edge-token": {
        "Deployment/weir-edge": ["spec.template.spec.containers.0.env"],
        "Deployment/weir-origin": ["spec.template.spec.containers.0.env"],
    },
    "network-policy": {},
    "one-address": {"Service/weir-edge": ["spec.ports"], "Service/weir-http": ["spec.type"]},
    "second-cluster": {},
    "tls": {
        "Deployment/weir-edge": [
            *(f"spec.template.spec.containers.0.{part}" for part in ("env", "ports", "volumeMounts")),
            "spec.template.spec.volumes",
        ],
        "Service/weir-edge": ["spec.ports"],
    },
    "three-origins": {
        "Deployment/weir-origin": GONE,
        "ConfigMap/weir-nginx-config": GONE,
        "ConfigMap/weir-origin-config": ["data"],
        "ConfigMap/weir-edge-config": ["data"],
        "Service/weir-http": ["spec.selector", "spec.ports"],
    },
}

# Pods that an overlay puts behind Services of the base, and whose Services these are. No others may be there.
JOINS = {
    "canary": {"Deployment/weir-edge-canary": "Deployment/weir-edge"},
    "three-origins": {"StatefulSet/weir-origin": "Deployment/weir-origin"},
}

# Objects that an overlay copies from the base, with the end that their names have more, and what else is different.
COPIES = {
    "canary": ("-canary", {
        "Deployment/weir-edge": [
            "spec.replicas",
            "metadata.labels.track",
            "spec.selector.matchLabels.track",
            "spec.template.metadata.labels.track",
            "spec.template.spec.containers.0.image",
        ],
    }),
    "second-cluster": ("-partners", {
        "Deployment/weir-edge": ["spec.replicas", "spec.template.spec.containers.0.resources"],
        "Service/weir-edge": [],
        "Service/weir-edge-peers": [],
        "PodDisruptionBudget/weir-edge": [],
        "ConfigMap/weir-edge-config": ["data"],
    }),
}

# An overlay of somebody's own, as the guide describes it.
IMAGE = "registry.example.com/live/weir:0.1.7"
OWN_KUSTOMIZATION = """\
namespace: live
images: [{ name: weir, newName: registry.example.com/live/weir, newTag: 0.1.7 }]
"""

# What such an overlay may say of the base's objects by their names: the names must go on meaning these.
OWN_OBJECTS = """\
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: { name: own }
spec:
  scaleTargetRef: { apiVersion: apps/v1, kind: Deployment, name: weir-edge }
  minReplicas: 3
  maxReplicas: 6
  metrics: [{ type: Resource, resource: { name: cpu, target: { type: Utilization, averageUtilization: 70 } } }]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: { name: own }
spec:
  defaultBackend: { service: { name: weir-edge, port: { name: http } } }
---
apiVersion: v1
kind: Pod
metadata: { name: own }
spec:
  containers: [{ name: own, image: "own:1", envFrom: [{ configMapRef: { name: weir-edge-config } }] }]
"""


def differences(left, right, path=""):
    """Where two objects are not the same."""
    if isinstance(left, dict) and isinstance(right, dict):
        for key in sorted(left.keys() | right.keys()):
            yield from differences(left.get(key), right.get(key), f"{path}.{key}" if path else key)
    elif isinstance(left, list) and isinstance(right, list) and len(left) == len(right):
        for index, (one, other) in enumerate(zip(left, right)):
            yield from differences(one, other, f"{path}.{index}")
    elif left != right:
        yield path


def _but(permitted, paths):
    """The paths that are not below one of those permitted."""
    return [path for path in paths if not any(f"{path}.".startswith(f"{prefix}.") for prefix in permitted)]


def broken(base, items, overlay):
    """Everything that is wrong with the objects `items` of an overlay, where without it there are those of `base`."""
    if overlay not in CHANGES:
        return ["overlays.py does not say what it is for"]
    base, now = Objects(base), Objects(items)
    found = [*kept(base, now, CHANGES[overlay]), *chosen(base, now, JOINS.get(overlay, {}))]
    return found + list(copied(base, now, *COPIES.get(overlay, ("", {}))))


def kept(base, now, changes):
    """What was there before is there still, and as it was."""
    for item in base.items:
        wanted, after = changes.get(name(item), []), now.find(item["kind"], item["metadata"]["name"])
        if (after is None) != (wanted is GONE):
            yield f"{name(item)} is {'gone' if after is None else 'there still'}"
        elif after is not None:
            for path in _but(wanted, differences(item, after)):
                yield f"{name(item)} is not as it was: {path}"


SPREAD = "the spread of "


def _selectors(all_):
    """Who chooses pods, and by which labels. A NetworkPolicy may choose any: it is for the pods of every cluster."""
    for item in all_.items:
        selector = item.get("spec", {}).get("selector", {})
        if item["kind"] == "Service":
            yield name(item), selector
        elif item["kind"] in (*WORKLOADS, "PodDisruptionBudget"):
            yield name(item), selector["matchLabels"]
        if item["kind"] in WORKLOADS:
            for spread in item["spec"]["template"]["spec"].get("topologySpreadConstraints", []):
                yield SPREAD + name(item), spread["labelSelector"]["matchLabels"]


def chosen(base, now, joins):
    """Who chose pods before chooses no new ones, and who is new none of the old ones: but for pods that join others."""
    def names(owners):
        return {name(owner) for owner in owners}

    old = names(base.workloads())
    before = {who: (labels, names(base.selected(labels))) for who, labels in _selectors(base)}
    for who, labels in _selectors(now):
        after, missing = names(now.selected(labels)), set()
        if who not in before:
            beside = joins.get(who.removeprefix(SPREAD)) if who.startswith(SPREAD) else None
            wanted = (after - old) | {beside}
        elif before[who][0] != labels:
            continue  # Other labels than before: `kept` judges that.
        elif who in old:
            wanted = before[who][1]
        else:
            joined = {new for new, beside in joins.items() if beside in before[who][1]}
            wanted, missing = before[who][1] | joined, joined - after
        for other in sorted(after - wanted):
            yield f"{who} chooses the pods of {other}"
        for other in sorted(missing):
            yield f"{who} does not choose the pods of {other}"


def copied(base, now, end, copies):
    """Copies are what they are copies of."""
    for original, different in copies.items():
        kind, copy = original.split("/")[0], f"{original.split('/')[1]}{end}"
        one, other = base.find(*original.split("/")), now.find(kind, copy)
        if one is None or other is None:
            yield f"there is no {original if one is None else f'{kind}/{copy}'}"
            continue
        renamed = yaml.safe_load(yaml.safe_dump(other, width=10_000).replace(end, ""))
        for path in _but(different, differences(one, renamed)):
            yield f"{kind}/{copy} is not as {original}: {path}"


def composed(manifests, render):
    """What is wrong where overlays stand in an overlay of somebody's own, each and all that go together."""
    with tempfile.TemporaryDirectory() as folder:
        tree = pathlib.Path(folder, "kubernetes")
        shutil.copytree(manifests, tree)
        # The third cluster, as the overlay describes it.
        partners = tree / "overlays/second-cluster/partners"
        shutil.copytree(partners, partners.with_name("vips"))
        for file in partners.with_name("vips").iterdir():
            file.write_text(file.read_text(encoding="utf-8").replace("partners", "vips"), encoding="utf-8")
        sets = {overlay: ([f"overlays/{overlay}"], []) for overlay in CHANGES}
        clusters = ["overlays/second-cluster/partners", "overlays/second-cluster/vips"]
        sets["all"] = (["base", *clusters, "overlays/canary/edge"], ["components/network-policy"])
        for head in ("", OWN_KUSTOMIZATION):
            base = _own(tree, render, head, ["base"], [])
            for overlay, (resources, components) in sets.items():
                items = _own(tree, render, head, resources, components)
                what = f"{overlay}{', with a namespace and an image' if head else ''}"
                known = overlay if overlay in CHANGES else "canary"
                found = broken(base, items, known)
                if overlay == "all":
                    found += copied(Objects(base), Objects(items), *COPIES["second-cluster"])
                    found += copied(Objects(base), Objects(items), "-vips", COPIES["second-cluster"][1])
                yield from (f"{what}: {text}" for text in [*found, *(_images(items) if head else [])])


def _own(tree, render, head, resources, components):
    """Renders an overlay of somebody's own."""
    folder = tree / "own"
    folder.mkdir(exist_ok=True)
    (folder / "own.yaml").write_text(OWN_OBJECTS, encoding="utf-8")
    paths = {"resources": [*(f"../{path}" for path in resources), "own.yaml"]}
    paths["components"] = [f"../{path}" for path in components]
    (folder / "kustomization.yaml").write_text(head + yaml.safe_dump(paths), encoding="utf-8")
    return parse(render(folder))


def _images(items):
    """One image for every pod."""
    for owner in Objects(items).workloads():
        for container in containers(owner["spec"]["template"]):
            if container["name"] == "weir" and container["image"] != IMAGE:
                yield f"{name(owner)} has the image {container['image']}"
