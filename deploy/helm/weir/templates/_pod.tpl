{{/*
Annotations of a pod: (dict "root" $ "config" its configuration as a dict "auth" whether it checks clients "extra" more).
Weir reads its ConfigMap again when it changes, so only what it reads at its start is in the checksum.
*/}}
{{- define "weir.podAnnotations" -}}
{{- $root := .root -}}
{{- $start := include "weir.startKeys" .config -}}
{{- $env := dict "admin" $root.Values.tokens.adminToken "read" $root.Values.tokens.readToken
  "protect" $root.Values.tokens.protectReads -}}
{{- if include "weir.edgeTokenSecret" $root -}}
{{- $_ := set $env "edge" $root.Values.edgeToken -}}
{{- end -}}
{{- if .auth -}}
{{- $_ := set $env "publish" $root.Values.auth.publish -}}
{{- $_ := set $env "play" $root.Values.auth.play -}}
{{- end -}}
checksum/config: {{ printf "%s %s" $start (toJson $env) | sha256sum }}
kubectl.kubernetes.io/default-container: weir
{{- with .extra }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* What all pods have: (dict "root" $ "values" those of the origin or the edge cluster). */}}
{{- define "weir.podCommon" -}}
# Weir talks to nobody's API.
automountServiceAccountToken: false
# The variables that Kubernetes would make of Services (WEIR_EDGE_SERVICE_HOST) look like settings of Weir.
enableServiceLinks: false
# drain.timeout and a reserve. Weir ends by itself before that.
terminationGracePeriodSeconds: {{ add .root.Values.drain.timeoutSeconds 15 }}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile:
    type: RuntimeDefault
{{- end -}}

{{- define "weir.confined" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end -}}

{{/* Pods with these labels over nodes and zones: (dict "selector" YAML "when" what to do if that is not possible). */}}
{{- define "weir.spread" -}}
{{- range $key := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
- maxSkew: 1
  topologyKey: {{ $key }}
  whenUnsatisfiable: {{ $.when }}
  labelSelector:
    matchLabels:
      {{- $.selector | nindent 6 }}
{{- end }}
{{- end -}}

{{/*
The container of Weir: (dict "root" $ "image" that of an edge cluster "resources" YAML "auth" whether it checks clients
"media" whether it writes HLS "edge" whether it has origins).
*/}}
{{- define "weir.container" -}}
{{- $root := .root -}}
{{- $image := mergeOverwrite (deepCopy $root.Values.image) (deepCopy (default dict .image)) -}}
{{- $scheme := upper (include "weir.apiScheme" $root) -}}
- name: weir
  image: "{{ $image.repository }}:{{ default $root.Chart.AppVersion $image.tag }}"
  imagePullPolicy: {{ $image.pullPolicy }}
  args: [serve, --config, /etc/weir/weir.yaml]
  env:
    {{- $tokens := include "weir.tokensSecret" $root }}
    - name: WEIR_API__ADMIN_TOKENS
      valueFrom: { secretKeyRef: { name: {{ $tokens }}, key: admin-token } }
    {{- if $root.Values.tokens.protectReads }}
    - name: WEIR_API__READ_TOKENS
      valueFrom: { secretKeyRef: { name: {{ $tokens }}, key: read-token } }
    - name: WEIR_API__PEER_TOKEN
      valueFrom: { secretKeyRef: { name: {{ $tokens }}, key: read-token } }
    {{- end }}
    {{- $edgeToken := include "weir.edgeTokenSecret" $root }}
    {{- if and .edge $edgeToken }}
    - name: WEIR_EDGE__TOKEN
      valueFrom: { secretKeyRef: { name: {{ $edgeToken }}, key: edge-token } }
    {{- else if $edgeToken }}
    {{- if and .auth (include "weir.authSecret" $root) }}
    {{- fail (print "edgeToken with auth.applyTo: all: the origins would have two lists of checks; set auth.applyTo: edges, "
      "or add the check edge to auth.publish and auth.play yourself") }}
    {{- end }}
    # Kubernetes puts it into the checks below.
    - name: EDGE_TOKEN
      valueFrom: { secretKeyRef: { name: {{ $edgeToken }}, key: edge-token } }
    {{- range $what := uniq $root.Values.edgeToken.require }}
    - name: WEIR_AUTH__{{ upper $what }}
      value: '[{"edge": {"tokens": ["$(EDGE_TOKEN)"]}}]'
    {{- end }}
    {{- end }}
    {{- $auth := include "weir.authSecret" $root }}
    {{- if and .auth $auth }}
    - name: WEIR_AUTH__PUBLISH
      valueFrom: { secretKeyRef: { name: {{ $auth }}, key: publish, optional: true } }
    - name: WEIR_AUTH__PLAY
      valueFrom: { secretKeyRef: { name: {{ $auth }}, key: play, optional: true } }
    {{- end }}
  ports:
    - { name: rtmp, containerPort: 1935 }
    - { name: http, containerPort: 8080 }
    {{- if and .edge $root.Values.edgeTls.secretName }}
    - { name: rtmps, containerPort: 1936 }
    - { name: https, containerPort: 8443 }
    {{- end }}
    - { name: api, containerPort: 1985 }
  # Listening, and its shards run. Up to a minute, then the container is started again.
  startupProbe:
    httpGet: { path: /startupz, port: api, scheme: {{ $scheme }} }
    periodSeconds: 1
    failureThreshold: 60
  # An edge is ready when it reaches an origin, or serves streams already.
  readinessProbe:
    httpGet: { path: /readyz, port: api, scheme: {{ $scheme }} }
    periodSeconds: 2
    failureThreshold: 2
    timeoutSeconds: 2
  livenessProbe:
    httpGet: { path: /healthz, port: api, scheme: {{ $scheme }} }
    periodSeconds: 10
    failureThreshold: 3
    timeoutSeconds: 5
  # No preStop hook: on SIGTERM Weir goes on serving while the Services forget it (drain.notice), then lets its clients
  # go.
  resources:
    {{- toYaml .resources | nindent 4 }}
  securityContext:
    {{- include "weir.confined" . | nindent 4 }}
  volumeMounts:
    - { name: config, mountPath: /etc/weir, readOnly: true }
    {{- if .media }}
    - { name: media, mountPath: /data }
    {{- end }}
    {{- if $root.Values.apiTls.secretName }}
    - { name: api-tls, mountPath: /etc/weir-tls, readOnly: true }
    {{- end }}
    {{- if and .edge $root.Values.edgeTls.secretName }}
    - { name: edge-tls, mountPath: /etc/weir-edge-tls, readOnly: true }
    {{- end }}
    {{- if and .edge $root.Values.originTls.secretName }}
    - { name: origin-tls, mountPath: /etc/weir-origin-tls, readOnly: true }
    {{- end }}
{{- end -}}

{{/* The volumes of every pod: (dict "root" $ "config" the ConfigMap's name "edge" whether it has origins). */}}
{{- define "weir.volumes" -}}
- name: config
  configMap: { name: {{ .config }} }
{{- with .root.Values.apiTls.secretName }}
- name: api-tls
  secret: { secretName: {{ . }}, defaultMode: 288 } # 0440: the group of the pod reads it
{{- end }}
{{- if and .edge .root.Values.edgeTls.secretName }}
- name: edge-tls
  secret: { secretName: {{ .root.Values.edgeTls.secretName }}, defaultMode: 288 } # 0440, as above
{{- end }}
{{- if and .edge .root.Values.originTls.secretName }}
- name: origin-tls
  secret:
    secretName: {{ .root.Values.originTls.secretName }}
    items: [{ key: ca.crt, path: ca.crt }]
{{- end }}
{{- end -}}
