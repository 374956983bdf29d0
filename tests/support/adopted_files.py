"""What a team has in its config repository before Enclii: a kustomization with an overlay, and a chart with values."""

from __future__ import annotations

from pathlib import Path

_POD = """\
      securityContext: {runAsNonRoot: true, runAsUser: 10001, seccompProfile: {type: RuntimeDefault}}
      terminationGracePeriodSeconds: 1
      containers:
        - name: server
          image: IMAGE
          ports: [{containerPort: 8080}]
          securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
          readinessProbe: {httpGet: {path: /index.html, port: 8080}, periodSeconds: 1}
"""
_BASE = f"""\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: server
spec:
  replicas: 1
  selector: {{matchLabels: {{app: server}}}}
  strategy: {{rollingUpdate: {{maxUnavailable: 0}}}}
  template:
    metadata:
      labels: {{app: server}}
    spec:
{_POD.replace("IMAGE", "acme/web")}"""
_OVERLAY = """\
# Production of the web shop.  Ask #platform before you scale it.
apiVersion: kustomize.config.k8s.io/v1beta1
kind: Kustomization

resources:
- ../../base
namePrefix: prod-   # as everywhere
labels:
- {includeSelectors: true, pairs: {team: "shop"}}

replicas:
  - name:   server
    count: 2

images:
  - name: acme/web
    newName: ghcr.io/acme/web        # ours
    newTag: 'v1.2.3'  # by hand, until now
"""
_TEMPLATE = f"""\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{{{ .Release.Name }}}}-server
spec:
  replicas: {{{{ .Values.replicaCount }}}}
  selector: {{matchLabels: {{app: {{{{ .Release.Name | quote }}}}}}}}
  template:
    metadata:
      labels: {{app: {{{{ .Release.Name | quote }}}}}}
    spec:
{_POD.replace("IMAGE", '"{{ .Values.image.repository }}:{{ .Values.image.tag }}"')}"""
_VALUES = """\
# values of production
replicaCount: 2
image:
  repository: "ghcr.io/acme/web"   # no tag here
  tag: v1.2.3
  pullPolicy: IfNotPresent
ingress: {enabled: false,   hosts: []}
""".replace("\n", "\r\n")

OVERLAY = "apps/web/overlays/production"
CHART = "charts/web"
VALUES = "values/production/web.yaml"


def kustomization(folder: Path) -> Path:
    """A base and its overlay; the file that names the image."""
    _write(folder / "apps/web/base/deployment.yaml", _BASE)
    _write(folder / "apps/web/base/kustomization.yaml", "resources: [deployment.yaml]\n")
    return _write(folder / OVERLAY / "kustomization.yaml", _OVERLAY)


def chart(folder: Path) -> Path:
    """A chart, and apart from it the values of one environment, as an editor on Windows wrote them."""
    _write(folder / CHART / "Chart.yaml", "apiVersion: v2\nname: web\nversion: 0.1.0\n")
    _write(folder / CHART / "values.yaml", "replicaCount: 1\nimage: {repository: '', tag: ''}\n")
    _write(folder / CHART / "templates/deployment.yaml", _TEMPLATE)
    return _write(folder / VALUES, _VALUES)


def _write(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text.encode())
    return file
