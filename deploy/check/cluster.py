"""As much of a Kubernetes API server as Helm needs to install and upgrade: objects in memory, and nothing runs."""

import base64
import contextlib
import http.server
import json
import threading

import yaml

# The kinds that the chart makes, by group and version.
KINDS = {
    "v1": {"ConfigMap": "configmaps", "Secret": "secrets", "Service": "services", "Pod": "pods"},
    "apps/v1": {"Deployment": "deployments", "StatefulSet": "statefulsets"},
    "autoscaling/v2": {"HorizontalPodAutoscaler": "horizontalpodautoscalers"},
    "policy/v1": {"PodDisruptionBudget": "poddisruptionbudgets"},
}

VERBS = ["create", "delete", "get", "list", "patch", "update"]


def _discovery(path):
    """What kinds there are."""
    if path == "/version":
        return {"major": "1", "minor": "36", "gitVersion": "v1.36.0"}
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        versions = [{"groupVersion": group, "version": group.split("/")[1]} for group in KINDS if "/" in group]
        groups = [{"name": v["groupVersion"].split("/")[0], "versions": [v], "preferredVersion": v} for v in versions]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
    group = path.removeprefix("/apis/").removeprefix("/api/")
    if group in KINDS:
        kinds = [{"name": many, "singularName": "", "namespaced": True, "kind": kind, "verbs": VERBS}
                 for kind, many in KINDS[group].items()]
        return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group, "resources": kinds}
    return None


def _merged(old, patch):
    """A merge patch. Lists of a strategic one are replaced, which no number of pods depends on."""
    if not isinstance(patch, dict) or not isinstance(old, dict):
        return patch
    merged = {key: value for key, value in old.items() if key not in patch}
    changed = {key: _merged(old.get(key, {}), value) for key, value in patch.items() if value is not None}
    return merged | {key: value for key, value in changed.items() if not key.startswith("$")}


def _fields(data):
    """The fields of a protobuf message that have a length: number and bytes, in their order."""
    at = 0

    def number():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        tag, value = number(), number()
        if tag & 7 == 2:
            yield tag >> 3, data[at : at + value]
            at += value


def _read(text, content_type):
    """An object as clients send it. Newer ones send Secrets, in which Helm keeps its releases, as protobuf."""
    if "protobuf" not in content_type:
        return yaml.safe_load(text)
    secret = list(_fields(dict(_fields(text.removeprefix(b"k8s\0")))[2]))
    metadata = list(_fields(dict(secret)[1]))
    pairs = [dict(_fields(value)) for field, value in metadata if field == 11]
    data = [dict(_fields(value)) for field, value in secret if field == 2]
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": dict(metadata)[1].decode(),
            "labels": {pair[1].decode(): pair[2].decode() for pair in pairs},
        },
        "data": {item[1].decode(): base64.b64encode(item[2]).decode() for item in data},
        "type": dict(secret)[3].decode(),
    }


class Cluster:
    """The objects, by path, and the numbers of pods that each Deployment has had, one after the other."""

    def __init__(self):
        self.objects = {}
        self.numbers = {}

    def store(self, path, item):
        if item.get("kind") == "Deployment":
            # As Kubernetes fills it in.
            item["spec"].setdefault("replicas", 1)
            self.count(item)
        self.objects[path] = item
        return item

    def count(self, deployment):
        had = self.numbers.setdefault(deployment["metadata"]["name"], [])
        if had[-1:] != [deployment["spec"]["replicas"]]:
            had.append(deployment["spec"]["replicas"])

    def scale(self, name, replicas):
        """What an autoscaler does."""
        deployment = self.objects[f"/apis/apps/v1/namespaces/live/deployments/{name}"]
        deployment["spec"]["replicas"] = replicas
        self.count(deployment)

    def answer(self, method, path, query, body, content_type):
        """Status and object."""
        known = _discovery(path)
        if known is not None:
            return 200, known
        if method == "POST":
            return 201, self.store(f"{path}/{body['metadata']['name']}", body)
        if method == "GET" and path.endswith("/secrets"):
            # In which Helm keeps its releases. Nothing else is listed.
            return 200, {"kind": "SecretList", "apiVersion": "v1", "items": self.chosen(path, query)}
        old = self.objects.get(path)
        if old is None and "apply-patch" not in content_type:
            return 404, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
        if method == "GET":
            return 200, old
        if method == "DELETE":
            return 200, self.objects.pop(path)
        # Helm alone says what is in its objects, so what it applies is the whole of them.
        return 200, self.store(path, body if method == "PUT" or "apply-patch" in content_type else _merged(old, body))

    def chosen(self, path, query):
        wanted = [part.split("=") for part in query.get("labelSelector", "").split(",") if "=" in part]
        items = [item for key, item in self.objects.items() if key.startswith(f"{path}/")]
        return [item for item in items if all(item["metadata"].get("labels", {}).get(k) == v for k, v in wanted)]


def _handler(cluster):
    class Handler(http.server.BaseHTTPRequestHandler):
        """Each method is the same: read, ask the cluster, answer."""

        def do(self):
            text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            content_type = self.headers.get("Content-Type") or ""
            body = _read(text, content_type) if text else None
            path, _, query = self.path.partition("?")
            query = dict(part.split("=", 1) for part in query.split("&") if "=" in part)
            query = {key: value.replace("%3D", "=").replace("%2C", ",") for key, value in query.items()}
            status, item = cluster.answer(self.command, path, query, body, content_type)
            answer = json.dumps(item).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do

        def log_message(self, *_):
            pass

    return Handler


@contextlib.contextmanager
def running():
    """A cluster, and the address of its API."""
    cluster = Cluster()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(cluster))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield cluster, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
