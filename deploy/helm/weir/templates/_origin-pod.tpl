{{/* The pod of an origin, metadata and spec: the same in a Deployment and in a StatefulSet. */}}
{{- define "weir.originPod" -}}
{{- $name := include "weir.fullname" . -}}
{{- $auth := eq .Values.auth.applyTo "all" -}}
{{- $extra := deepCopy .Values.origin.podAnnotations -}}
{{- if include "weir.hasNginx" . -}}
{{- $_ := set $extra "checksum/nginx" (.Files.Get "files/nginx.conf" | sha256sum) -}}
{{- end -}}
metadata:
  labels:
    {{- include "weir.labels" . | nindent 4 }}
    app.kubernetes.io/component: origin
  annotations:
    {{- $config := fromYaml (include "weir.originConfig" .) }}
    {{- include "weir.podAnnotations" (dict "root" . "config" $config "auth" $auth "extra" $extra) | nindent 4 }}
spec:
  {{- include "weir.podCommon" (dict "root" . "values" .Values.origin) | nindent 2 }}
  {{- if gt (int .Values.origin.replicas) 1 }}
  topologySpreadConstraints:
    {{- $selector := include "weir.originSelector" . }}
    {{- include "weir.spread" (dict "selector" $selector "when" "ScheduleAnyway") | nindent 4 }}
  {{- end }}
  containers:
    {{- $container := dict "root" . "resources" .Values.origin.resources "auth" $auth "media" true }}
    {{- include "weir.container" $container | nindent 4 }}
    {{- if include "weir.hasNginx" . }}
    - name: nginx
      image: "{{ .Values.nginx.image.repository }}:{{ .Values.nginx.image.tag }}"
      imagePullPolicy: {{ .Values.nginx.image.pullPolicy }}
      command: [nginx, -c, /etc/weir-nginx/nginx.conf, -g, daemon off;]
      ports:
        - { name: hls, containerPort: 8081 }
      readinessProbe:
        httpGet: { path: /healthz, port: hls }
        periodSeconds: 2
        failureThreshold: 2
      livenessProbe:
        httpGet: { path: /healthz, port: hls }
        periodSeconds: 10
        failureThreshold: 3
        timeoutSeconds: 5
      lifecycle:
        # nginx stops listening at once. Players are still sent here until every node has heard that the pod goes away.
        preStop:
          exec: { command: [sleep, "10"] }
      resources:
        {{- toYaml .Values.nginx.resources | nindent 8 }}
      securityContext:
        # The user of this image.
        runAsUser: 101
        runAsGroup: 101
        {{- include "weir.confined" . | nindent 8 }}
      volumeMounts:
        - { name: nginx-config, mountPath: /etc/weir-nginx, readOnly: true }
        - { name: media, mountPath: /data, readOnly: true }
        - { name: nginx-tmp, mountPath: /tmp }
    {{- end }}
  volumes:
    {{- include "weir.volumes" (dict "root" . "config" (printf "%s-origin" $name)) | nindent 4 }}
    # Segments. They outlive a restart of a container, and go with the pod.
    - name: media
      emptyDir: { sizeLimit: {{ .Values.origin.hlsSize }} }
    {{- if include "weir.hasNginx" . }}
    - name: nginx-config
      configMap: { name: {{ $name }}-nginx }
    - name: nginx-tmp
      emptyDir: { sizeLimit: 256Mi }
    {{- end }}
{{- end -}}
