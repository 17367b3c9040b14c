{{/* image NAME: the lines of a container that say what runs in it. */}}
{{- define "weir.image" -}}
image: {{ .root.Values.image.registry }}/{{ .name }}:{{ .root.Values.image.tag | default .root.Chart.AppVersion }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
{{- end }}
