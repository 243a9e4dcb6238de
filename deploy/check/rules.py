"""What must hold between the objects of one set-up, and no schema knows. Each rule yields what is wrong, in words."""

from objects import containers, has_port, labels, matches, name, ports

# The metrics that Weir offers to autoscalers.
SCALE_METRICS = {"weir_egress_bits_per_second", "weir_egress_utilization"}

PROBES = {"startupProbe": "/startupz", "readinessProbe": "/readyz", "livenessProbe": "/healthz"}


def unique(all_):
    seen = set()
    for item in all_.items:
        key = name(item)
        if key in seen:
            yield f"{key} is there twice"
        seen.add(key)


def services(all_):
    for service in all_.of("Service"):
        spec = service["spec"]
        chosen = all_.selected(spec.get("selector"))
        if not chosen:
            yield f"{name(service)} selects no pods: {spec.get('selector')}"
        for port in spec["ports"]:
            for owner in chosen:
                if not has_port(owner["spec"]["template"], port.get("targetPort", port["port"])):
                    yield f"{name(service)} leads to port {port.get('targetPort')}, which {name(owner)} has not"
            if spec.get("type") in ("LoadBalancer", "NodePort") and 1985 in (port["port"], port.get("targetPort")):
                yield f"{name(service)} shows the API to the world"
            if spec.get("type") in ("LoadBalancer", "NodePort") and port.get("targetPort") == "api":
                yield f"{name(service)} shows the API to the world"


def selectors(all_):
    workloads = all_.workloads()
    for item in workloads:
        selector = item["spec"]["selector"]["matchLabels"]
        for other in workloads:
            hit = matches(selector, labels(other["spec"]["template"]))
            if other is item and not hit:
                yield f"{name(item)} does not select its own pods"
            if other is not item and hit:
                yield f"{name(item)} selects the pods of {name(other)} too"
        for spread in item["spec"]["template"]["spec"].get("topologySpreadConstraints", []):
            if not matches(spread["labelSelector"]["matchLabels"], labels(item["spec"]["template"])):
                yield f"{name(item)} spreads other pods than its own over {spread['topologyKey']}"
        if item["kind"] == "StatefulSet":
            service = all_.find("Service", item["spec"]["serviceName"])
            if not service or service["spec"].get("clusterIP") != "None":
                yield f"{name(item)}: serviceName {item['spec']['serviceName']} is no headless Service"


def clusters(all_):
    """Pods that share a configuration, a budget or a Service belong to one cluster: they share all Services."""
    behind, shared = {}, {}
    for service in all_.of("Service"):
        # All pods of several clusters may have one name together, for metrics and ?scope=cluster.
        if service["spec"].get("clusterIP") != "None":
            for owner in all_.selected(service["spec"].get("selector")):
                behind.setdefault(name(owner), set()).add(name(service))
                shared.setdefault(name(service), set()).add(name(owner))
    for item in all_.of("PodDisruptionBudget"):
        shared[name(item)] = {name(owner) for owner in all_.selected(item["spec"]["selector"]["matchLabels"])}
    for owner in all_.workloads():
        for volume in owner["spec"]["template"]["spec"].get("volumes", []):
            if "configMap" in volume:
                shared.setdefault(f"ConfigMap/{volume['configMap']['name']}", set()).add(name(owner))
    for what, owners in shared.items():
        if len({frozenset(behind.get(owner, ())) for owner in owners}) > 1:
            yield f"{what} is for several clusters: {', '.join(sorted(owners))}"


def probes(all_):
    for owner, pod in all_.pods():
        for container in containers(pod):
            where = f"{name(owner)}, {container['name']}"
            own = {"spec": {"containers": [container]}}
            for kind in PROBES:
                get = container.get(kind, {}).get("httpGet")
                if get and not has_port(own, get["port"]):
                    yield f"{where}: {kind} asks port {get['port']}, which it has not"
            if container["name"] == "weir" and owner["kind"] != "Pod":
                for kind, path in PROBES.items():
                    get = container.get(kind, {}).get("httpGet", {})
                    if (get.get("path"), get.get("port")) != (path, "api"):
                        yield f"{where}: {kind} is not {path} of the port api"


def references(all_):
    for owner, pod in all_.pods():
        volumes = {}
        for volume in pod["spec"].get("volumes", []):
            volumes[volume["name"]] = volume
            wanted = volume.get("configMap", {}).get("name")
            if wanted and not all_.find("ConfigMap", wanted):
                yield f"{name(owner)} mounts ConfigMap/{wanted}, which is not there"
        mounted = {mount["name"] for c in containers(pod) for mount in c.get("volumeMounts", [])}
        for extra in volumes.keys() - mounted:
            yield f"{name(owner)}: nobody mounts the volume {extra}"
        for missing in mounted - volumes.keys():
            yield f"{name(owner)}: there is no volume {missing}"


def security(all_):
    for owner, pod in all_.pods():
        spec, where = pod["spec"], name(owner)
        context = spec.get("securityContext", {})
        if context.get("runAsNonRoot") is not True or context.get("runAsUser") != 65532:
            yield f"{where} may run as root, or not as user 65532"
        if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
            yield f"{where} has no seccomp profile"
        if spec.get("automountServiceAccountToken") is not False:
            yield f"{where} is given a token for the cluster's API"
        if spec.get("enableServiceLinks") is not False:
            yield f"{where} is given variables like WEIR_EDGE_SERVICE_HOST, which look like settings"
        for container in containers(pod):
            yield from _confined(container, f"{where}, {container['name']}")


def _confined(container, where):
    context = container.get("securityContext", {})
    if context.get("allowPrivilegeEscalation") is not False:
        yield f"{where} may gain rights"
    if context.get("readOnlyRootFilesystem") is not True:
        yield f"{where} may write to its image"
    if context.get("capabilities", {}).get("drop") != ["ALL"]:
        yield f"{where} keeps capabilities"
    if context.get("runAsUser", 1) == 0 or context.get("privileged"):
        yield f"{where} runs as root"
    resources = container.get("resources", {})
    if "memory" not in resources.get("limits", {}) or not {"cpu", "memory"} <= resources.get("requests", {}).keys():
        yield f"{where} does not say what memory and CPU it needs"
    tag = container["image"].rpartition("/")[2].partition(":")[2]
    if not tag or tag == "latest":
        yield f"{where}: the image {container['image']} has no fixed version"


def budgets(all_):
    protected = {}
    for item in all_.of("PodDisruptionBudget"):
        spec = item["spec"]
        chosen = all_.selected(spec["selector"]["matchLabels"])
        if not chosen:
            yield f"{name(item)} protects no pods"
        for owner in chosen:
            # Kubernetes evicts no pod that has two.
            if protected.setdefault(name(owner), name(item)) != name(item):
                yield f"{name(owner)} has two budgets: {protected[name(owner)]} and {name(item)}"
        count = sum(owner["spec"].get("replicas", 1) for owner in chosen)
        if spec.get("maxUnavailable", 1) == 0 or spec.get("minAvailable", 0) in (count, "100%"):
            yield f"{name(item)} keeps nodes from ever being emptied"


def autoscalers(all_):
    scaled = {}
    for item in all_.of("HorizontalPodAutoscaler"):
        spec = item["spec"]
        target = all_.find(spec["scaleTargetRef"]["kind"], spec["scaleTargetRef"]["name"])
        if not target:
            yield f"{name(item)} scales {spec['scaleTargetRef']['name']}, which is not there"
            continue
        if name(target) in scaled:
            yield f"{name(target)} has two autoscalers"
        scaled[name(target)] = item
        # Kubernetes takes a number that is not there, or no longer, for 1, and stops all others until the scaler acts.
        if target["spec"].get("replicas", 1) < spec["minReplicas"]:
            yield f"{name(target)} begins with fewer pods than its autoscaler's minimum"
        if not spec["minReplicas"] <= spec["maxReplicas"]:
            yield f"{name(item)} has a minimum above its maximum"
        for metric in spec["metrics"]:
            if metric["type"] == "Pods" and metric["pods"]["metric"]["name"] not in SCALE_METRICS:
                yield f"{name(item)} asks for a metric that Weir has not: {metric['pods']['metric']['name']}"
    for item in all_.of("Deployment"):
        if "replicas" not in item["spec"] and name(item) not in scaled:
            yield f"{name(item)} says not how many pods it has"


def policies(all_):
    for item in all_.of("NetworkPolicy"):
        spec = item["spec"]
        chosen = all_.selected(spec["podSelector"].get("matchLabels"))
        if not chosen:
            yield f"{name(item)} is about no pods"
        for rule in spec.get("ingress", []):
            for port in rule.get("ports", []):
                known = any(has_port(owner["spec"]["template"], port["port"]) for owner in chosen)
                # A port by number may be for pods that another overlay has.
                if isinstance(port["port"], str) and not known:
                    yield f"{name(item)} opens port {port['port']}, which its pods have not"
        yield from _reachable(all_, item, chosen)


def _reachable(all_, policy, chosen):
    """What a Service shows to the world, its pods' policy must let in."""
    for service in all_.of("Service"):
        if service["spec"].get("type") not in ("LoadBalancer", "NodePort"):
            continue
        for owner in all_.selected(service["spec"]["selector"]):
            if owner not in chosen:
                continue
            by_name, _ = ports(owner["spec"]["template"])
            free = [p["port"] for r in policy["spec"].get("ingress", []) if "from" not in r for p in r["ports"]]
            free = {by_name.get(port, port) for port in free}
            for port in service["spec"]["ports"]:
                target = by_name.get(port["targetPort"], port["targetPort"])
                if target not in free:
                    yield f"{name(policy)} keeps the world from port {target}, which {name(service)} shows to it"


def monitors(all_):
    for item in all_.of("ServiceMonitor"):
        selector = item["spec"]["selector"]["matchLabels"]
        chosen = [service for service in all_.of("Service") if matches(selector, labels(service))]
        if not chosen:
            yield f"{name(item)} selects no Service"
        seen = []
        for service in chosen:
            seen += [name(owner) for owner in all_.selected(service["spec"]["selector"])]
            for endpoint in item["spec"]["endpoints"]:
                if endpoint["port"] not in [port.get("name") for port in service["spec"]["ports"]]:
                    yield f"{name(item)} asks port {endpoint['port']}, which {name(service)} has not"
        for owner in all_.workloads():
            if seen.count(name(owner)) != 1:
                yield f"{name(item)} reads {name(owner)} {seen.count(name(owner))} times"


ALL = [unique, services, selectors, clusters, probes, references, security, budgets, autoscalers, policies, monitors]


def broken(all_):
    """Everything that is wrong with these objects."""
    return [text for rule in ALL for text in rule(all_)]
