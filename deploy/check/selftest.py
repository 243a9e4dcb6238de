"""Each rule, with a set-up that breaks it: a rule that sees nothing is none."""

import copy
import unittest

import configs
import overlays
import rules
import schemas
from objects import Objects, parse

# Set by check.py: rendered set-ups that obey all rules, and the weir program.
BASE = EVERYTHING = CANARY = PARTNERS = WEIR = ""


class Broken(unittest.TestCase):
    def setUp(self):
        self.use(BASE)

    def use(self, text):
        self.all = Objects(parse(text))

    def pod(self, owner="weir-edge", kind="Deployment"):
        return self.all.find(kind, owner)["spec"]["template"]

    def weir(self, owner="weir-edge"):
        return self.pod(owner)["spec"]["containers"][0]

    def configure(self, old, new):
        data = self.all.find("ConfigMap", "weir-edge-config")["data"]
        self.assertIn(old, data["weir.yaml"])
        data["weir.yaml"] = data["weir.yaml"].replace(old, new)

    def assert_says(self, words, found):
        self.assertTrue(any(words in text for text in found), f"nothing says {words!r}: {found}")

    def by_rules(self, words):
        self.assert_says(words, rules.broken(self.all))

    def by_configs(self, words):
        self.assert_says(words, configs.broken(self.all, WEIR))

    def by_schemas(self, words):
        self.assert_says(words, schemas.broken(self.all.items))


class Schemas(Broken):
    def test_an_unknown_key(self):
        self.pod()["spec"]["restartPolice"] = "Always"
        self.by_schemas("restartPolice")

    def test_a_wrong_type(self):
        self.all.find("Deployment", "weir-edge")["spec"]["replicas"] = "three"
        self.by_schemas("Kubernetes 1.28 refuses spec.replicas")
        self.by_schemas("Kubernetes 1.36 refuses spec.replicas")

    def test_what_only_newer_versions_have(self):
        self.weir()["lifecycle"] = {"preStop": {"sleep": {"seconds": 5}}}
        found = schemas.broken(self.all.items)
        self.assert_says("Kubernetes 1.28 refuses", found)
        self.assertFalse([text for text in found if "1.36" in text])

    def test_an_unknown_kind(self):
        self.all.items[0]["kind"] = "ConfigMop"
        self.by_schemas("has no ConfigMop")

    def test_the_operators_kinds(self):
        self.use(EVERYTHING)
        endpoint = self.all.find("ServiceMonitor", "live")["spec"]["endpoints"][0]
        endpoint["intervall"] = "15s"
        self.by_schemas("intervall is unknown")
        endpoint["port"] = ["api"]
        self.by_schemas("ServiceMonitor/live")

    def test_a_key_set_twice(self):
        with self.assertRaises(Exception):
            parse("a: 1\na: 2\n")


class Rules(Broken):
    def test_nothing_is_wrong_to_begin_with(self):
        self.assertEqual(rules.broken(self.all) + configs.broken(self.all, WEIR), [])

    def test_the_same_object_twice(self):
        self.all.items.append(self.all.items[0])
        self.by_rules("is there twice")

    def test_a_service_without_pods(self):
        self.all.find("Service", "weir-edge")["spec"]["selector"]["track"] = "none"
        self.by_rules("Service/weir-edge selects no pods")

    def test_a_service_to_a_port_that_is_not_there(self):
        self.all.find("Service", "weir-http")["spec"]["ports"][0]["targetPort"] = "hsl"
        self.by_rules("Service/weir-http leads to port hsl")

    def test_the_api_for_the_world(self):
        self.all.find("Service", "weir-edge")["spec"]["ports"].append({"port": 80, "targetPort": "api"})
        self.by_rules("shows the API to the world")

    def test_pods_of_another_deployment(self):
        self.pod("weir-origin")["metadata"]["labels"].update(self.pod()["metadata"]["labels"])
        self.by_rules("selects the pods of Deployment/weir-origin too")
        self.by_rules("Deployment/weir-origin does not select its own pods")

    def test_one_configuration_for_two_clusters(self):
        self.use(PARTNERS)
        self.pod()["spec"]["volumes"][0]["configMap"]["name"] = "weir-edge-config-partners"
        self.by_rules("ConfigMap/weir-edge-config-partners is for several clusters")
        self.by_configs("Deployment/weir-edge: api.peers: all of them are other edges")

    def test_one_service_for_two_clusters(self):
        self.use(PARTNERS)
        del self.all.find("Service", "weir-edge")["spec"]["selector"]["app.kubernetes.io/instance"]
        self.by_rules("Service/weir-edge is for several clusters")

    def test_one_budget_for_two_clusters(self):
        self.use(PARTNERS)
        del self.all.find("PodDisruptionBudget", "weir-edge")["spec"]["selector"]["matchLabels"][
            "app.kubernetes.io/instance"
        ]
        self.by_rules("PodDisruptionBudget/weir-edge is for several clusters")
        self.by_rules("Deployment/weir-edge-partners has two budgets")

    def test_spreading_something_else(self):
        self.pod()["spec"]["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"] = {"a": "b"}
        self.by_rules("spreads other pods than its own")

    def test_a_probe_of_a_port_that_is_not_there(self):
        self.weir()["readinessProbe"]["httpGet"]["port"] = "probe"
        self.by_rules("readinessProbe asks port probe")

    def test_a_missing_probe(self):
        del self.weir()["startupProbe"]
        self.by_rules("startupProbe is not /startupz")

    def test_a_config_map_that_is_not_there(self):
        self.pod()["spec"]["volumes"][0]["configMap"]["name"] = "other"
        self.by_rules("mounts ConfigMap/other")

    def test_a_volume_that_is_not_there(self):
        self.weir()["volumeMounts"][0]["name"] = "other"
        self.by_rules("there is no volume other")

    def test_rights(self):
        for change, words in [
            (lambda c, s: c["securityContext"].pop("readOnlyRootFilesystem"), "may write to its image"),
            (lambda c, s: c["securityContext"].pop("capabilities"), "keeps capabilities"),
            (lambda c, s: c["securityContext"].pop("allowPrivilegeEscalation"), "may gain rights"),
            (lambda c, s: c["resources"].pop("limits"), "what memory"),
            (lambda c, s: c.update(image="weir:latest"), "no fixed version"),
            (lambda c, s: c.update(image="registry:5000/weir"), "no fixed version"),
            (lambda c, s: s["securityContext"].pop("seccompProfile"), "no seccomp profile"),
            (lambda c, s: s["securityContext"].update(runAsUser=0), "may run as root"),
            (lambda c, s: s.pop("automountServiceAccountToken"), "given a token"),
            (lambda c, s: s.pop("enableServiceLinks"), "look like settings"),
        ]:
            with self.subTest(words):
                self.use(BASE)
                change(self.weir(), self.pod()["spec"])
                self.by_rules(words)

    def test_budgets(self):
        budget = self.all.find("PodDisruptionBudget", "weir-edge")["spec"]
        budget["maxUnavailable"] = 0
        self.by_rules("keeps nodes from ever being emptied")
        budget["selector"]["matchLabels"]["track"] = "none"
        self.by_rules("protects no pods")

    def test_autoscalers(self):
        self.use(EVERYTHING)
        scaler = self.all.find("HorizontalPodAutoscaler", "live-edge-main")["spec"]
        scaler["metrics"][1]["pods"]["metric"]["name"] = "weir_viewers"
        self.by_rules("a metric that Weir has not: weir_viewers")
        deployment = self.all.find("Deployment", "live-edge-main")["spec"]
        deployment["replicas"] = 1
        self.by_rules("begins with fewer pods than")
        del deployment["replicas"]
        self.by_rules("begins with fewer pods than")
        scaler["scaleTargetRef"]["name"] = "other"
        self.by_rules("scales other, which is not there")

    def test_policies(self):
        self.use(EVERYTHING)
        policy = self.all.find("NetworkPolicy", "live-edge")["spec"]
        policy["ingress"][0]["ports"].pop()
        self.by_rules("keeps the world from port 8443")
        policy["ingress"][0]["ports"].append({"protocol": "TCP", "port": "hls"})
        self.by_rules("opens port hls")
        policy["podSelector"]["matchLabels"]["track"] = "none"
        self.by_rules("is about no pods")

    def test_monitors(self):
        self.use(EVERYTHING)
        del self.all.find("Service", "live-origins")["metadata"]["labels"]["weir/metrics"]
        self.by_rules("reads Deployment/live-origin 0 times")


class Overlays(Broken):
    """Each on the base, with one thing wrong."""

    def overlay(self, rendered, folder, words, change=lambda all_: None):
        self.use(rendered)
        self.assertEqual(overlays.broken(parse(BASE), self.all.items, folder), [])
        change(self.all)
        self.assert_says(words, overlays.broken(parse(BASE), self.all.items, folder))

    def partners(self, words, change):
        self.overlay(PARTNERS, "second-cluster", words, change)

    def test_an_overlay_that_is_not_known(self):
        self.assert_says("does not say what it is for", overlays.broken(parse(BASE), parse(BASE), "other"))

    def test_the_main_edges_with_the_partners_configuration(self):
        def change(all_):
            volume = all_.find("Deployment", "weir-edge")["spec"]["template"]["spec"]["volumes"][0]
            volume["configMap"]["name"] = "weir-edge-config-partners"

        self.partners("Deployment/weir-edge is not as it was: spec.template.spec.volumes.0.configMap.name", change)

    def test_an_object_that_is_gone(self):
        self.partners("ConfigMap/weir-edge-config is gone", lambda all_: all_.items.remove(
            all_.find("ConfigMap", "weir-edge-config")))

    def test_an_object_that_should_be_gone(self):
        self.assert_says("Deployment/weir-origin is there still", overlays.broken(
            parse(BASE), parse(BASE), "three-origins"))

    def test_the_partners_service_with_the_main_pods(self):
        def change(all_):
            del all_.find("Service", "weir-edge-partners")["spec"]["selector"]["app.kubernetes.io/instance"]

        self.partners("Service/weir-edge-partners chooses the pods of Deployment/weir-edge", change)

    def test_the_main_service_and_budget_with_the_partners_pods(self):
        def change(all_):
            pod = all_.find("Deployment", "weir-edge-partners")["spec"]["template"]
            pod["metadata"]["labels"]["app.kubernetes.io/instance"] = "weir-edge"

        for who in ("Service/weir-edge", "PodDisruptionBudget/weir-edge", "Deployment/weir-edge", "the spread of "):
            with self.subTest(who):
                self.partners(who, change)

    def test_a_canary_that_nobody_reaches(self):
        def change(all_):
            pod = all_.find("Deployment", "weir-edge-canary")["spec"]["template"]
            pod["metadata"]["labels"]["app.kubernetes.io/instance"] = "other"

        words = "Service/weir-edge does not choose the pods of Deployment/weir-edge-canary"
        self.overlay(CANARY, "canary", words, change)

    def test_a_copy_that_is_none(self):
        def change(all_):
            pod = all_.find("Deployment", "weir-edge-canary")["spec"]["template"]["spec"]
            pod["terminationGracePeriodSeconds"] = 30

        words = "Deployment/weir-edge-canary is not as Deployment/weir-edge: spec.template.spec.termination"
        self.overlay(CANARY, "canary", words, change)
        self.partners("there is no PodDisruptionBudget/weir-edge-partners", lambda all_: all_.items.remove(
            all_.find("PodDisruptionBudget", "weir-edge-partners")))

    def test_a_name_that_comes_to_mean_another_object(self):
        base = parse(BASE) + parse(overlays.OWN_OBJECTS)
        now = copy.deepcopy(base)
        now[-3]["spec"]["scaleTargetRef"]["name"] = "weir-edge-canary"
        self.assert_says("HorizontalPodAutoscaler/own is not as it was", overlays.broken(base, now, "network-policy"))


class Configs(Broken):
    def test_weir_refuses_it(self):
        self.configure("http_port: 8080", "http_prot: 8080")
        self.by_configs("http_prot")

    def test_a_setting_of_the_environment_that_weir_refuses(self):
        self.weir()["env"].append({"name": "WEIR_EDGE__ORIGIN", "value": "x"})
        self.by_configs("weir check refuses")

    def test_no_configuration(self):
        self.weir()["args"] = ["serve"]
        self.by_configs("name no file of a ConfigMap")

    def test_a_role_that_is_not_the_labels(self):
        self.pod()["metadata"]["labels"]["app.kubernetes.io/component"] = "origin"
        self.by_configs("its label says origin")

    def test_a_grace_period_that_is_too_short(self):
        self.configure("timeout: 60s", "timeout: 1m10s")
        self.by_configs("is killed after 75 s")

    def test_too_little_memory(self):
        self.configure("memory: 1GiB", "memory: 2GiB")
        self.by_configs("more than its limit 2Gi")

    def test_a_port_that_is_not_the_pods(self):
        self.configure("role: edge", "role: edge\nrtmp: { listen: '0.0.0.0:1936' }")
        self.by_configs("listens on 0.0.0.0:1936")

    def test_tls_without_a_port_or_a_volume(self):
        own = "{ cert: /etc/tls/tls.crt, key: /etc/tls/tls.key }"
        self.configure("role: edge", f"role: edge\nrtmp: {{ tls: {{ certificates: [{own}] }} }}")
        self.by_configs("speaks TLS (rtmp.tls)")
        self.by_configs("/etc/tls/tls.key (rtmp.tls) is in no volume")

    def test_tls_that_a_variable_switches_on_without_a_port_or_a_volume(self):
        own = "{ certificates: [{ cert: /etc/tls/tls.crt, key: /etc/tls/tls.key }] }"
        self.weir()["env"].append({"name": "WEIR_HTTP__TLS", "value": own})
        self.by_configs("speaks TLS (http.tls)")
        self.by_configs("/etc/tls/tls.key (http.tls) is in no volume")

    def test_an_origin_that_is_not_there(self):
        self.configure("weir-origin:1935", "weir-orign:1935")
        self.by_configs("there is no Service weir-orign")

    def test_several_origins_behind_one_address(self):
        self.all.find("Deployment", "weir-origin")["spec"]["replicas"] = 2
        self.by_configs("hides several origins")

    def test_peers_behind_one_address(self):
        del self.all.find("Service", "weir-edge-peers")["spec"]["clusterIP"]
        self.by_configs("is not the API behind a headless Service")

    def test_hls_where_nothing_may_be_written(self):
        data = self.all.find("ConfigMap", "weir-origin-config")["data"]
        data["weir.yaml"] = data["weir.yaml"].replace("/data/hls", "/var/hls")
        self.by_configs("where it may not write")
