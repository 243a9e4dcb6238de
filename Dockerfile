# The image of Weir: one static program and nothing that could start another.
#
#   docker build --tag weir .
#
# How to run it: docs/guide/install.md. `cargo xtask image` makes the same image without Docker: it builds the program as the
# first stage does, and runs the last stage of this file as it is.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
# With an explicit target, RUSTFLAGS are for the program alone: procedural macros cannot be static.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    target="$(rustc -vV | sed -n 's/^host: //p')" \
 && RUSTFLAGS="-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs" \
    cargo build --release --locked --package weir-server --bin weir --target "$target" \
 && install -D "target/$target/release/weir" /image/root/weir \
 && install -D -m 644 /etc/ssl/certs/ca-certificates.crt /image/root/etc/ssl/certs/ca-certificates.crt \
 && install -d /image/data

FROM scratch
ARG VERSION=0.1.0
ARG SOURCE=""
LABEL org.opencontainers.image.title="Weir" \
      org.opencontainers.image.description="A live-streaming server: RTMP in; RTMP, HTTP-FLV and HLS out" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.source="$SOURCE" \
      org.opencontainers.image.version="$VERSION"
# Who is user 65532, and that names are looked up in /etc/hosts first; links to the program where SRS's image has its
# own (docs/adr/0062-paths-of-srs.md).
COPY deploy/image/ /
COPY --from=build /image/root/ /
# Everything that Weir writes: HLS goes to ./data/hls, and ./data is a link to this.
COPY --from=build --chown=65532:65532 /image/data/ /data/
VOLUME ["/data"]
WORKDIR /usr/local/srs
USER 65532:65532
# RTMP, HTTP (HTTP-FLV, HLS, pages), API (with probes and metrics).
EXPOSE 1935 8080 1985
STOPSIGNAL SIGTERM
ENTRYPOINT ["/weir"]
