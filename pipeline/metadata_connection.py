"""The connection to ML Metadata that a runner's configuration describes."""

import os
from pathlib import Path

from ml_metadata.proto import metadata_store_pb2

from components.errors import UserError
from configs.schema import RunnerConfig, SqliteSection


def make_connection_config(runner: RunnerConfig) -> metadata_store_pb2.ConnectionConfig:
    """Returns the connection; an SQLite file and its folder are made when they are first written.

    Raises:
        UserError: If the environment variable of the MySQL password is not set.
    """
    config = metadata_store_pb2.ConnectionConfig()
    section = runner.metadata
    if isinstance(section, SqliteSection):
        config.sqlite.filename_uri = str(Path(runner.root).resolve() / section.path)
        config.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
        return config
    password = os.environ.get(section.password_env)
    if password is None:
        raise UserError(
            f"the password of the metadata store must be in the environment variable {section.password_env} "
            "(metadata.password_env), which is not set."
        )
    config.mysql.host = section.host
    config.mysql.port = section.port
    config.mysql.database = section.database
    config.mysql.user = section.user
    config.mysql.password = password
    return config
