# nginx as Debian has it; stands for nginx:1.28 where no registry answers. That has curl, for health checks.
ARG DEBIAN_IMAGE=debian:13-slim
FROM ${DEBIAN_IMAGE}
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends curl nginx \
 && rm -rf /var/lib/apt/lists/* /var/log/apt/* /var/log/dpkg.log
STOPSIGNAL SIGQUIT
CMD ["nginx", "-g", "daemon off;"]
