# Airflow with this project in it: every service of docker-compose.yaml but the databases runs this image.
# The slim variant holds Airflow's core alone. Everything else comes from constraints.txt, which the tests run with;
# the full image brings seventy providers at versions of their own.
ARG BASE_IMAGE=apache/airflow:slim-3.3.2-python3.12
FROM ${BASE_IMAGE}

COPY requirements.txt requirements-deploy.txt constraints.txt /opt/otn/
RUN pip install --no-cache-dir --no-input \
        -r /opt/otn/requirements.txt -r /opt/otn/requirements-deploy.txt -c /opt/otn/constraints.txt

# Volumes take over who owns a folder from the image.
USER root
RUN install -d -o airflow -g root -m 0700 /var/lib/otn /var/lib/otn/spool /var/lib/otn/journal
USER airflow

# Owned by root: a program that goes wrong cannot change its own code.
COPY pyproject.toml /opt/otn/
COPY sql /opt/otn/sql
COPY dags /opt/otn/dags
COPY campaigns /opt/otn/campaigns
COPY plugins /opt/otn/plugins

ENV PYTHONPATH=/opt/otn/plugins:/opt/otn \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/otn/dags \
    AIRFLOW__CORE__PLUGINS_FOLDER=/opt/otn/plugins \
    AIRFLOW__CORE__LOAD_EXAMPLES=False \
    OTN_HOME=/var/lib/otn \
    OTN_SPOOL_DIR=/var/lib/otn/spool \
    OTN_ERASURE_JOURNAL=/var/lib/otn/journal/erasures.jsonl

# An image that cannot even import its own code is not worth pushing.
RUN python -m otn --version
