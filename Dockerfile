# Any base with python3, 3.11 or newer, and its venv module.
ARG BASE=python:3.13-slim-bookworm

FROM ${BASE} AS build
RUN python3 -m venv /gatepost
ENV PATH=/gatepost/bin:$PATH
WORKDIR /source
COPY requirements/run.txt requirements/
RUN pip install --no-cache-dir --only-binary :all: --require-hashes --requirement requirements/run.txt
COPY . .
RUN pip install --no-cache-dir --no-build-isolation --no-deps . \
    && pip uninstall --yes setuptools pip

FROM ${BASE}
RUN useradd --uid 10001 --no-create-home --home-dir /data gatepost \
    && install --directory --owner gatepost --group gatepost /data
COPY --from=build /gatepost /gatepost
ENV PATH=/gatepost/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    GATEPOST_ENVIRONMENT=production \
    GATEPOST_DATABASE_URL=sqlite:////data/gatepost.db
USER 10001
WORKDIR /data
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 CMD ["python3", "-c", \
    "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health/live', timeout=2)"]
CMD ["gatepost", "serve", "--host", "0.0.0.0"]
