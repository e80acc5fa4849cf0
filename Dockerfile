# Foreshock as one image, whatever of it a container runs: `foreshock worker`, `monitor`, `dashboard`, `run`.
#
#   docker build -t foreshock .                                                       torch for the CPU
#   docker build -t foreshock --build-arg TORCH=https://download.pytorch.org/whl/cu130 .   for CUDA; run with --gpus

# What installs: it needs pip and the checkout, and neither is in the image.
FROM python:3.11-slim-bookworm AS build
ARG TORCH=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
RUN python -m venv /opt/foreshock
ENV PATH=/opt/foreshock/bin:$PATH
# torch alone changes seldom and weighs most: a layer of its own, made again only when its pin is.
COPY constraints.txt ./
RUN pip install --index-url "$TORCH" --extra-index-url https://pypi.org/simple \
    "$(grep -E '^torch==' constraints.txt)"
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY ingest ingest
COPY model model
COPY monitor monitor
COPY dashboard dashboard
COPY foreshock foreshock
RUN pip install -c constraints.txt '.[postgres]'

FROM python:3.11-slim-bookworm
# A number, so that Kubernetes can tell that it is not root.
RUN groupadd --gid 10001 foreshock && useradd --uid 10001 --gid foreshock --no-create-home --home-dir /tmp foreshock
COPY --from=build /opt/foreshock /opt/foreshock
COPY LICENSE NOTICE /opt/foreshock/
ENV PATH=/opt/foreshock/bin:$PATH PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1
USER 10001:10001
# A settings file lies here as foreshock.toml, if there is one.
WORKDIR /srv/foreshock
# /metrics and /healthz of run, worker and monitor; the dashboard's pages.
EXPOSE 9464 8501
ENTRYPOINT ["foreshock"]
CMD ["--help"]
