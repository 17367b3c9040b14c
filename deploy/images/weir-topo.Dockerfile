# Servers and clients to try a cluster with: every answer says who gave it, and whom it saw.
FROM --platform=${BUILDPLATFORM:-linux} golang:1.26 AS build
ARG TARGETARCH
WORKDIR /src
COPY . .
RUN ci/images.sh programs "$TARGETARCH" && mv build/images/*/out /out

FROM scratch
COPY --from=build /out/weir-topo /usr/local/bin/
LABEL org.opencontainers.image.title="weir-topo"
LABEL org.opencontainers.image.licenses="Apache-2.0"
ENTRYPOINT ["/usr/local/bin/weir-topo"]
