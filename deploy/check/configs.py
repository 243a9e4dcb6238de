"""What must hold of the configurations in the ConfigMaps: weir accepts them, and they fit the pods around them."""

import base64
import functools
import os
import re
import subprocess
import tempfile

import yaml

from objects import has_port, name

# What objects on their way may take beside limits.memory and edge.hls_cache (docs/guide/configuration.md).
HLS_ON_THE_WAY = 128 << 20
HLS_CACHE = 64 << 20

# What a container needs beyond what Weir counts: sockets' buffers, the program, threads.
MEMORY_RESERVE = 128 << 20

# Seconds between the end of a drain and the kill: for a machine that is slow, and a hook of nginx.
GRACE_RESERVE = 10

UNITS = {"": 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}
SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}


def size(text):
    number, unit = re.fullmatch(r"(\d+)([A-Za-z]*)", str(text)).groups()
    return int(number) * UNITS[unit]


def seconds(text):
    return sum(int(number) * SECONDS[unit] for number, unit in re.findall(r"(\d+)(ms|h|m|s)", text))


@functools.lru_cache(maxsize=None)
def accepted(weir, text, environment):
    """What `weir check` says against it, or None."""
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "weir.yaml")
        with open(file, "w", encoding="utf-8") as out:
            out.write(text)
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("WEIR_")}
        command = [weir, "check", "--text-only", "--config", file]
        everything = inherited | dict(environment)
        done = subprocess.run(command, env=everything, capture_output=True, text=True, check=False)
        return None if done.returncode == 0 else (done.stderr or done.stdout).strip().replace(folder + "/", "")


def secret_values(all_, container):
    """The variables of a container that come from Secrets of this set-up."""
    found = {}
    for variable in container.get("env", []):
        ref = variable.get("valueFrom", {}).get("secretKeyRef")
        if not ref:
            # As Kubernetes does it: $(NAME) is a variable before this one.
            named = lambda match: found.get(match[1], match[0])
            found[variable["name"]] = re.sub(r"\$\((\w+)\)", named, variable["value"])
            continue
        secret = all_.find("Secret", ref["name"])
        value = (secret or {}).get("data", {}).get(ref["key"])
        if value is not None:
            found[variable["name"]] = base64.b64decode(value).decode()
        elif secret and not ref.get("optional"):
            raise LookupError(f"{variable['name']}: Secret/{ref['name']} has no key {ref['key']}")
    return found


def broken(all_, weir):
    """Everything that is wrong with the configurations of these objects."""
    return [f"{name(owner)}: {text}" for owner in all_.workloads() for text in _broken(all_, owner, weir)]


def _broken(all_, owner, weir):
    pod = owner["spec"]["template"]
    container = next((c for c in pod["spec"]["containers"] if c["name"] == "weir"), None)
    if container is None:
        yield "it has no container weir"
        return
    text = _text(all_, pod, container)
    if text is None:
        yield f"its arguments {container.get('args')} name no file of a ConfigMap"
        return
    try:
        environment = secret_values(all_, container)
    except LookupError as error:
        yield str(error)
        return
    refusal = accepted(weir, text, tuple(sorted(environment.items())))
    if refusal:
        yield f"weir check refuses its configuration: {refusal}"
        return
    config = yaml.safe_load(text)
    for section in ("rtmp", "http"):
        if own := environment.get(f"WEIR_{section.upper()}__TLS"):
            config.setdefault(section, {})["tls"] = yaml.safe_load(own)
    yield from _fits_pod(owner, pod, container, config)
    yield from _fits_others(all_, owner, config)


def _text(all_, pod, container):
    """The configuration that the container's arguments name."""
    args = container.get("args", [])
    path = args[args.index("--config") + 1] if "--config" in args[:-1] else ""
    volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", [])}
    for mount in container.get("volumeMounts", []):
        folder, _, file = path.rpartition("/")
        config_map = volumes.get(mount["name"], {}).get("configMap")
        # A subPath would never see a changed ConfigMap.
        if mount["mountPath"] == folder and config_map and "subPath" not in mount:
            return (all_.find("ConfigMap", config_map["name"]) or {}).get("data", {}).get(file)
    return None


def _fits_pod(owner, pod, container, config):
    role = pod["metadata"]["labels"]["app.kubernetes.io/component"]
    if config.get("role", "origin") != role:
        yield f"its role is {config.get('role')}, and its label says {role}"
    drain = {"notice": "5s", "timeout": "60s"} | config.get("drain", {})
    grace = pod["spec"]["terminationGracePeriodSeconds"]
    if grace < seconds(drain["timeout"]) + GRACE_RESERVE:
        yield f"it is killed after {grace} s, when it may still drain ({drain})"
    needs = size(config.get("limits", {}).get("memory", "2GiB")) + MEMORY_RESERVE
    if role == "edge":
        needs += size(config["edge"].get("hls_cache", HLS_CACHE)) + HLS_ON_THE_WAY
    if needs > size(container["resources"]["limits"]["memory"]):
        yield f"it may use {needs >> 20} MiB, more than its limit {container['resources']['limits']['memory']}"
    for section, port in (("rtmp", 1935), ("http", 8080), ("api", 1985)):
        listen = config.get(section, {}).get("listen", f"0.0.0.0:{port}")
        for address in [listen] if isinstance(listen, str) else listen:
            if not has_port(pod, int(address.rpartition(":")[2])):
                yield f"it listens on {address}, and no port of the pod says so"
    for section, port in (("rtmp", 1936), ("http", 8443)):
        tls = config.get(section, {}).get("tls")
        if tls and not has_port(pod, int(str(tls.get("listen", port)).rpartition(":")[2])):
            yield f"it speaks TLS ({section}.tls), and no port of the pod says so"
        mounts = [mount["mountPath"] for mount in container.get("volumeMounts", [])]
        for own in tls["certificates"] if tls else []:
            if own["key"].rpartition("/")[0] not in mounts:
                yield f"{own['key']} ({section}.tls) is in no volume"
    if role == "origin":
        folder = config.get("hls", {}).get("dir", "/data/hls") + "/"
        mounts = [m for m in container.get("volumeMounts", []) if not m.get("readOnly")]
        if not any(folder.startswith(mount["mountPath"].rstrip("/") + "/") for mount in mounts):
            yield f"it writes HLS to {folder}, where it may not write"
    if owner["kind"] == "Deployment" and role == "origin" and owner["spec"]["replicas"] != 1:
        yield "more than one origin without stable names"


def _fits_others(all_, mine, config):
    """The names in it are Services that lead somewhere."""
    for origin in config.get("edge", {}).get("origins", []):
        host, _, port = origin.removeprefix("rtmp://").rpartition(":")
        if "." in host or host.startswith("["):
            continue
        service = all_.find("Service", host)
        if not service:
            yield f"edge.origins: there is no Service {host}"
            continue
        have = {item["port"] for item in service["spec"]["ports"]}
        missing = {int(port), config["edge"].get("http_port", 8080)} - have
        if missing:
            yield f"edge.origins: Service {host} has no port {sorted(missing)}"
        chosen = all_.selected(service["spec"]["selector"])
        many = sum(owner["spec"].get("replicas", 2) for owner in chosen) > 1
        if many and service["spec"].get("clusterIP") != "None":
            yield f"edge.origins: {host} hides several origins behind one address; edges must see each"
        for owner in chosen:
            if owner["spec"]["template"]["metadata"]["labels"]["app.kubernetes.io/component"] != "origin":
                yield f"edge.origins: {host} leads to {name(owner)}, which is no origin"
    own = False
    for peer in config.get("api", {}).get("peers", []):
        host, _, port = peer.rpartition(":")
        service = all_.find("Service", host)
        if not service or service["spec"].get("clusterIP") != "None" or int(port) != 1985:
            yield f"api.peers: {peer} is not the API behind a headless Service"
        own = own or bool(service and mine in all_.selected(service["spec"]["selector"]))
    if config["role"] == "edge" and config.get("api", {}).get("peers") and not own:
        yield "api.peers: all of them are other edges; is this the configuration of another cluster?"
