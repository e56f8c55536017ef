# Debian's Python; replaces python:3.13-slim when no registry answers.
ARG DEBIAN_IMAGE=debian:13-slim
FROM ${DEBIAN_IMAGE}
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends \
        ca-certificates python-is-python3 python3 python3-pip python3-venv \
 && rm -rf /var/lib/apt/lists/* /var/log/apt/* /var/log/dpkg.log
CMD ["python3"]
