# The controller. It needs no rights on the machine.
FROM --platform=${BUILDPLATFORM:-linux} golang:1.26 AS build
ARG TARGETARCH
WORKDIR /src
COPY . .
RUN ci/images.sh programs "$TARGETARCH" && mv build/images/*/out /out

FROM scratch
COPY --from=build /out/kube-weir /out/weirctl /usr/local/bin/
LABEL org.opencontainers.image.title="kube-weir"
LABEL org.opencontainers.image.licenses="Apache-2.0"
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/kube-weir"]
