# Debian's nginx; replaces nginx:1.28 when no registry answers. It includes curl, as that image does, for health checks.
ARG DEBIAN_IMAGE=debian:13-slim
FROM ${DEBIAN_IMAGE}
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends curl nginx \
 && rm -rf /var/lib/apt/lists/* /var/log/apt/* /var/log/dpkg.log
STOPSIGNAL SIGQUIT
CMD ["nginx", "-g", "daemon off;"]
