# One Dockerfile for all services, for platform and for simulators: `npm run images` says it with all arguments. By hand:
#   docker build --build-arg SERVICE=orders --tag sidecart/orders .
# Targets: `runtime` (the last) and `dev`, for live updates.
# Base images by argument: a mirror, a digest, or for the runtime another with glibc and libstdc++.
ARG NODE_IMAGE=node:24-bookworm-slim
ARG RUNTIME_IMAGE=debian:bookworm-slim

# The manifests without the sources: as long as they stay the same, so do the layers with the npm packages.
FROM ${NODE_IMAGE} AS manifests
WORKDIR /app
COPY packages packages
COPY services services
COPY platform platform
COPY provider provider
RUN find . -type f ! -name package.json -delete && find . -type d -empty -delete
COPY package.json package-lock.json .npmrc ./

FROM ${NODE_IMAGE} AS packages
WORKDIR /app
COPY --from=manifests /app ./
# Which registry npm asks is not said here; a build argument NPM_CONFIG_REGISTRY does.
ARG NPM_CONFIG_REGISTRY
RUN npm ci --omit=dev --ignore-scripts --no-audit --no-fund --no-update-notifier && rm -rf ~/.npm

# The sources of one service, under the paths that the runtime image has as well: the same manifests run both.
FROM ${NODE_IMAGE} AS sources
WORKDIR /from
COPY services services
COPY platform platform
COPY provider provider
COPY components/brokers components/brokers
ARG SERVICE
RUN mkdir /app && cd /app \
  && if [ -d "/from/services/${SERVICE}" ]; then folder=services/${SERVICE} main=src/main.ts; else folder=${SERVICE} main=main.ts; fi \
  && if ! [ -f "/from/${folder}/${main}" ]; then echo "There is no service '${SERVICE}': --build-arg SERVICE=orders" >&2; exit 1; fi \
  && mkdir -p "${folder}" && cp -r "/from/${folder}/." "${folder}" \
  && ln -s "${folder}/${main}" main.mjs \
  && ln -s "${folder}/migrations" migrations \
  && ln -s packages/kit/src/migrate.ts migrate.mjs \
  && cp /from/components/brokers/*-streams.generated.yaml streams.yaml

# For live updates: Node runs the sources as they are, and starts anew when one changes.
FROM packages AS dev
RUN chown 10001:10001 /app && chown -R 10001:10001 packages services platform provider
COPY --chown=10001:10001 packages packages
COPY --chown=10001:10001 --from=sources /app ./
ENV HOST=0.0.0.0
USER 10001:10001
ENTRYPOINT ["node", "--watch", "--enable-source-maps", "/app/main.mjs"]

# Bundles all services at once, which takes as long as one: the stage is the same for every image.
FROM ${NODE_IMAGE} AS build
WORKDIR /app
COPY --from=manifests /app ./
ARG NPM_CONFIG_REGISTRY
RUN npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier && rm -rf ~/.npm
COPY local/bundle-program.ts local/
COPY k8s/image-files.ts k8s/
COPY packages packages
COPY platform platform
COPY provider provider
COPY services services
COPY components/brokers components/brokers
COPY topology.yaml ./
RUN node k8s/image-files.ts --out=/images

FROM build AS image
ARG SERVICE
RUN if ! [ -f "/images/${SERVICE}/app/main.mjs" ]; then echo "There is no service '${SERVICE}': --build-arg SERVICE=orders" >&2; exit 1; fi

# With the folders it is in: a folder that a copy makes gets the time of the build, and no two builds the same layer.
FROM ${NODE_IMAGE} AS node
RUN mkdir -p /layer/usr/local/bin && cp /usr/local/bin/node /layer/usr/local/bin \
  && find /layer -exec touch --date=1980-01-01T00:00:00Z {} +

# No RUN from here on, so that an image without a shell can be the base.
FROM ${RUNTIME_IMAGE} AS runtime
COPY --from=node /layer /
ARG SERVICE
COPY --from=image /images/${SERVICE} /
ENV NODE_ENV=production HOST=0.0.0.0
WORKDIR /app
USER 10001:10001
# Node is process 1: it gets the signals. A small young generation: the default lets it grow by tens of megabytes that
# these services never need.
ENTRYPOINT ["/usr/local/bin/node", "--enable-source-maps", "--max-semi-space-size=8", "/app/main.mjs"]
ARG VERSION
ARG REVISION
ARG CREATED
ARG SOURCE
LABEL org.opencontainers.image.title="sidecart/${SERVICE}" \
  org.opencontainers.image.version="${VERSION}" \
  org.opencontainers.image.revision="${REVISION}" \
  org.opencontainers.image.created="${CREATED}" \
  org.opencontainers.image.source="${SOURCE}" \
  org.opencontainers.image.licenses="Apache-2.0"
