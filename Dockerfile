# One image for all Foreshock containers: `foreshock worker`, `monitor`, `dashboard`, `serve` and `run`.
#
#   docker build -t foreshock .                                                       torch for the CPU
#   docker build -t foreshock --build-arg TORCH=https://download.pytorch.org/whl/cu130 .   for CUDA; run with --gpus

# The build stage needs pip and the checkout. Neither is in the final image.
FROM python:3.11-slim-bookworm AS build
ARG TORCH=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
RUN python -m venv /opt/foreshock
ENV PATH=/opt/foreshock/bin:$PATH
# torch is the largest package and rarely changes, so it gets its own layer, which is rebuilt only when constraints.txt changes.
COPY constraints.txt ./
RUN pip install -c constraints.txt --index-url "$TORCH" --extra-index-url https://pypi.org/simple \
    "$(grep -E '^torch==' constraints.txt)"
# The other packages, each file compared with its hash. They change more rarely than the code.
COPY deploy/requirements.txt ./
RUN pip install --require-hashes --no-deps -r requirements.txt
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY ingest ingest
COPY model model
COPY monitor monitor
COPY dashboard dashboard
COPY foreshock foreshock
# Built with the setuptools that is installed already, not with the newest one from outside.
RUN pip install --no-deps --no-build-isolation . && pip check

FROM python:3.11-slim-bookworm
# A numeric user, so that Kubernetes can verify that it is not root.
RUN groupadd --gid 10001 foreshock && useradd --uid 10001 --gid foreshock --no-create-home --home-dir /tmp foreshock
COPY --from=build /opt/foreshock /opt/foreshock
COPY LICENSE NOTICE /opt/foreshock/
ENV PATH=/opt/foreshock/bin:$PATH PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1
USER 10001:10001
# Mount a settings file here as foreshock.toml, if you have one.
WORKDIR /srv/foreshock
# 9464: /metrics and /healthz of run, worker, monitor and serve. 8501: the dashboard. 8600: serve.
EXPOSE 9464 8501 8600
ENTRYPOINT ["foreshock"]
CMD ["--help"]
