{{/* The start of every name. */}}
{{- define "weir.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* What all pods of this release have in common. */}}
{{- define "weir.selector" -}}
app.kubernetes.io/name: weir
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* Labels of every object. */}}
{{- define "weir.labels" -}}
{{ include "weir.selector" . }}
app.kubernetes.io/part-of: weir
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "weir.originSelector" -}}
{{ include "weir.selector" . }}
app.kubernetes.io/component: origin
{{- end -}}

{{- define "weir.hasOrigin" -}}
{{- if not .Values.origin.external }}yes{{ end -}}
{{- end -}}

{{/* nginx stands beside the only origin, or nowhere. */}}
{{- define "weir.hasNginx" -}}
{{- if and .Values.nginx.enabled (include "weir.hasOrigin" .) -}}
{{- if gt (int .Values.origin.replicas) 1 -}}
{{- fail (print "nginx.enabled with origin.replicas > 1: each nginx would have the streams of one origin only; "
  "set nginx.enabled: false, and HLS comes through the edges") -}}
{{- end -}}
yes
{{- end -}}
{{- end -}}

{{/* The edge clusters that are on, each with the defaults filled in, as YAML. */}}
{{- define "weir.edges" -}}
{{- $edges := dict -}}
{{- range $name, $own := .Values.edges -}}
{{- $edge := mergeOverwrite (deepCopy $.Values.edgeDefaults) (deepCopy (default dict $own)) -}}
{{- if $edge.enabled -}}
{{- $_ := set $edges $name $edge -}}
{{- end -}}
{{- end -}}
{{- range $name, $edge := $edges -}}
{{- if $edge.joins -}}
{{- if not (hasKey $edges $edge.joins) -}}
{{- fail (printf "edges.%s.joins: there is no edge cluster %q" $name $edge.joins) -}}
{{- end -}}
{{- if (get $edges $edge.joins).joins -}}
{{- fail (printf "edges.%s.joins: %q has no Service of its own" $name $edge.joins) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml $edges -}}
{{- end -}}

{{/* The Secret with the API's tokens. */}}
{{- define "weir.tokensSecret" -}}
{{- default (printf "%s-tokens" (include "weir.fullname" .)) .Values.tokens.existingSecret -}}
{{- end -}}

{{/* The Secret with the checks of publishers and players, if there is one. */}}
{{- define "weir.authSecret" -}}
{{- if .Values.auth.existingSecret -}}
{{- .Values.auth.existingSecret -}}
{{- else if or .Values.auth.publish .Values.auth.play -}}
{{- printf "%s-auth" (include "weir.fullname" .) -}}
{{- end -}}
{{- end -}}

{{/* The Secret with the token of the edges, if there is one. */}}
{{- define "weir.edgeTokenSecret" -}}
{{- if .Values.edgeToken.existingSecret -}}
{{- .Values.edgeToken.existingSecret -}}
{{- else if .Values.edgeToken.value -}}
{{- printf "%s-edge-token" (include "weir.fullname" .) -}}
{{- end -}}
{{- end -}}

{{/* `http` or `https`: how the API is reached. */}}
{{- define "weir.apiScheme" -}}
{{- ternary "https" "http" (not (empty .Values.apiTls.secretName)) -}}
{{- end -}}

{{/* The keys of a configuration (dict) that Weir reads at its start only. A change of these starts pods again. */}}
{{- define "weir.startKeys" -}}
{{- $rtmp := default dict .rtmp -}}
{{- $http := default dict .http -}}
{{- $api := default dict .api -}}
{{- $metrics := default dict .metrics -}}
{{- $handover := default dict .handover -}}
{{- dict "role" .role "workers" .workers "rtmp.listen" $rtmp.listen "rtmp.chunk_size" $rtmp.chunk_size
  "http.listen" $http.listen "api.listen" $api.listen "metrics.listen" $metrics.listen
  "name" .name "log_file" .log_file "pid_file" .pid_file "work_dir" .work_dir
  "rtmp.tls" (empty $rtmp.tls | not) "rtmp.tls.listen" (dig "tls" "listen" "" $rtmp)
  "http.tls" (empty $http.tls | not) "http.tls.listen" (dig "tls" "listen" "" $http)
  "api.tls" (hasKey $api "tls") "handover.socket" $handover.socket | toJson -}}
{{- end -}}

{{/* What is the same in every configuration. */}}
{{- define "weir.commonConfig" -}}
drain:
  notice: {{ printf "%ds" (int .Values.drain.noticeSeconds) }}
  timeout: {{ printf "%ds" (int .Values.drain.timeoutSeconds) }}
{{- if .Values.apiTls.secretName }}
api:
  tls:
    cert: /etc/weir-tls/tls.crt
    key: /etc/weir-tls/tls.key
{{- end }}
{{- end -}}

{{/* Who may read the API without a token: pods, for ?scope=cluster. With tokens.secretName only those who have one. */}}
{{- define "weir.readFrom" -}}
{{- list "127.0.0.0/8" "::1/128" "10.0.0.0/8" "172.16.0.0/12" "192.168.0.0/16" "100.64.0.0/10" "fc00::/7" | toJson -}}
{{- end -}}

{{/* The configuration of the origins. */}}
{{- define "weir.originConfig" -}}
{{- $name := include "weir.fullname" . -}}
{{- $peers := list (printf "%s-origins:1985" $name) -}}
{{- if fromYaml (include "weir.edges" .) -}}
{{- $peers = append $peers (printf "%s-edge-peers:1985" $name) -}}
{{- end -}}
{{- $hls := dict "dir" "/data/hls" "part" "200ms" -}}
{{- $config := dict "role" "origin" "api" (dict "peers" $peers "read_from" (fromJsonArray (include "weir.readFrom" .))) "hls" $hls "limits" (dict "memory" "1GiB") -}}
{{- $config = mergeOverwrite $config (fromYaml (include "weir.commonConfig" .)) (deepCopy .Values.config) -}}
{{- mergeOverwrite $config (deepCopy .Values.origin.config) | toYaml -}}
{{- end -}}

{{/* The configuration of an edge cluster: (dict "root" $ "edge" its values). */}}
{{- define "weir.edgeConfig" -}}
{{- $name := include "weir.fullname" .root -}}
{{- $origins := .root.Values.origin.external -}}
{{- if not $origins -}}
{{- /* Each origin's own address. One origin has a second name, with one address for whichever pod is ready: name
servers may remember a pod that has been replaced. */ -}}
{{- $origins = list (printf "rtmp://%s-origins:1935" $name) -}}
{{- if le (int .root.Values.origin.replicas) 1 -}}
{{- $origins = append $origins (printf "rtmp://%s-origin:1935" $name) -}}
{{- end -}}
{{- end -}}
{{- $config := dict "role" "edge" "edge" (dict "origins" $origins) "limits" (dict "memory" "1GiB") -}}
{{- if .root.Values.edgeTls.secretName -}}
{{- $own := dict "cert" "/etc/weir-edge-tls/tls.crt" "key" "/etc/weir-edge-tls/tls.key" -}}
{{- range $section, $port := dict "rtmp" 1936 "http" 8443 -}}
{{- $tls := dict "listen" (printf "0.0.0.0:%d" $port) "certificates" (list $own) -}}
{{- $_ := set $config $section (dict "tls" $tls) -}}
{{- end -}}
{{- end -}}
{{- if .root.Values.originTls.secretName -}}
{{- $_ := set (get $config "edge") "tls" (dict "ca" "/etc/weir-origin-tls/ca.crt") -}}
{{- end -}}
{{- $readFrom := fromJsonArray (include "weir.readFrom" .root) -}}
{{- $_ := set $config "api" (dict "peers" (list (printf "%s-edge-peers:1985" $name)) "read_from" $readFrom) -}}
{{- $config = mergeOverwrite $config (fromYaml (include "weir.commonConfig" .root)) (deepCopy .root.Values.config) -}}
{{- mergeOverwrite $config (deepCopy .edge.config) (dict "limits" (deepCopy .edge.limits)) | toYaml -}}
{{- end -}}

{{/*
How many pods an edge cluster has, or nothing: (dict "root" $ "edge" its values "name" that of its Deployment).

With an autoscaler the number is the autoscaler's, and still it is said: Kubernetes takes a number that was there and is
no longer for 1. So it is the one that runs, or at the first install the autoscaler's minimum.
*/}}
{{- define "weir.replicas" -}}
{{- $space := .root.Release.Namespace -}}
{{- $scale := .edge.autoscaling -}}
{{- $running := 0 -}}
{{- with lookup "apps/v1" "Deployment" $space .name -}}
{{- $running = int (dig "spec" "replicas" 0 .) -}}
{{- end -}}
{{- if $scale.enabled -}}
{{- if $scale.setReplicas -}}
{{- max $running (int $scale.minReplicas) -}}
{{- end -}}
{{- else -}}
{{- $was := lookup "autoscaling/v2" "HorizontalPodAutoscaler" $space .name -}}
{{- if and $was (gt $running (int .edge.replicas)) -}}
{{- $text := "%s: %d edges run, and without autoscaling it would be %d at once. Say replicas: %d, and fewer later" -}}
{{- fail (printf $text .name $running (int .edge.replicas) $running) -}}
{{- end -}}
{{- .edge.replicas -}}
{{- end -}}
{{- end -}}
