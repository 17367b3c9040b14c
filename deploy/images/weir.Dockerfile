# What runs on every node: weir, and the commands to look at it with.
FROM --platform=${BUILDPLATFORM:-linux} golang:1.26 AS build
ARG TARGETARCH
WORKDIR /src
COPY . .
RUN ci/images.sh programs "$TARGETARCH" && mv build/images/*/out /out

FROM scratch
COPY --from=build /out/weir /out/weirctl /out/gobgp /usr/local/bin/
LABEL org.opencontainers.image.title="weir"
LABEL org.opencontainers.image.licenses="Apache-2.0"
ENTRYPOINT ["/usr/local/bin/weir"]
