{{- define "kms.name" -}}{{ .Release.Name | trunc 50 | trimSuffix "-" }}-kms{{- end -}}
{{- define "kms.labels" -}}
app.kubernetes.io/name: sipmikey-kms
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}
