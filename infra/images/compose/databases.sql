-- Run once, on an empty volume.
CREATE DATABASE sluice;
CREATE DATABASE mlflow;
CREATE DATABASE mlflow_auth;
CREATE DATABASE prefect;
