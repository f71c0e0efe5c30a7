# gate on a CPU. Models, policies and the run folder are mounted; nothing is downloaded at run time.
#   docker build -t gate .
#   docker run --rm --network none -v "$PWD:/work" gate check baseline incoming --policy policy.yaml
FROM python:3.11-slim-bookworm AS build
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY gate ./gate
# torch's own package index has a CPU build a tenth the size of the default one: --build-arg TORCH_INDEX=<its address>.
ARG TORCH_INDEX=
RUN python -m venv /opt/gate \
    && /opt/gate/bin/pip install --no-cache-dir ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"} -c constraints.txt .

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="gate" \
      org.opencontainers.image.description="Diff two open-weight models and stop a behaviour regression before release" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/gate /opt/gate
RUN useradd --create-home --uid 10001 gate
ENV PATH=/opt/gate/bin:$PATH \
    HF_HUB_OFFLINE=1 \
    GATE_STORE=/home/gate/.cache/gate
USER gate
WORKDIR /work
HEALTHCHECK --interval=5m --timeout=60s CMD ["gate", "doctor"]
ENTRYPOINT ["gate"]
CMD ["--help"]
