"""The connection to ML Metadata that a runner's configuration describes."""

import os
from pathlib import Path
from typing import Any, TypeAlias

from ml_metadata.proto import metadata_store_pb2

from components.errors import UserError
from configs.runner_schema import (
    ClusterRunnerConfig,
    DatabaseSection,
    GrpcSection,
    KubeflowRunnerConfig,
    LocalRunnerConfig,
    MysqlSection,
    PostgresqlSection,
    SqliteSection,
)

ConnectionConfig: TypeAlias = metadata_store_pb2.ConnectionConfig | metadata_store_pb2.MetadataStoreClientConfig


def make_connection_config(runner: LocalRunnerConfig | ClusterRunnerConfig) -> ConnectionConfig:
    """Returns the connection; an SQLite file and its folder are made when they are first written.

    Raises:
        UserError: If the MySQL password cannot be read, or the runner has no store of this kind.
    """
    if not isinstance(runner, LocalRunnerConfig | KubeflowRunnerConfig):
        raise UserError(
            "Vertex AI has a metadata store of its own, which this command does not read. See the lineage of a run in the "
            "Google Cloud console, or give a runner with a store (--runner)."
        )
    return make_connection(runner.metadata, runner.root if isinstance(runner, LocalRunnerConfig) else "")


def make_connection(
    section: SqliteSection | MysqlSection | PostgresqlSection | GrpcSection, root: str
) -> ConnectionConfig:
    """Returns the connection of a `metadata` section; an SQLite file is below `root`.

    Raises:
        UserError: If the MySQL password cannot be read.
    """
    match section:
        case SqliteSection():
            config = metadata_store_pb2.ConnectionConfig()
            config.sqlite.filename_uri = str(Path(root).resolve() / section.path)
            config.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
            return config
        case GrpcSection():
            return metadata_store_pb2.MetadataStoreClientConfig(host=section.host, port=section.port)
        case MysqlSection():
            return _make_mysql(section)
        case PostgresqlSection():
            return _make_postgresql(section)


def _make_mysql(section: MysqlSection) -> metadata_store_pb2.ConnectionConfig:
    config = metadata_store_pb2.ConnectionConfig()
    config.mysql.host = section.host
    config.mysql.port = section.port
    config.mysql.database = section.database
    config.mysql.user = section.user
    config.mysql.password = _read_password(section)
    return config


def _make_postgresql(section: PostgresqlSection) -> metadata_store_pb2.ConnectionConfig:
    config = metadata_store_pb2.ConnectionConfig()
    config.postgresql.host = section.host
    config.postgresql.port = str(section.port)
    # Stands in SQL as well, where another quote would be needed: hence plain names only.
    config.postgresql.dbname = section.database
    config.postgresql.user = _quote(section.user)
    config.postgresql.password = _quote(_read_password(section))
    return config


def _quote(value: str) -> str:
    """Quotes a value of a connection string: ML Metadata 1.17 puts these together with spaces and quotes nothing."""
    escaped = value.replace("\\", r"\\").replace("'", r"\'")
    return f"'{escaped}'"


def _read_password(section: DatabaseSection) -> str:
    if section.password_file is not None:
        try:
            # Whoever writes a file by hand ends it with a new line, which belongs to no password.
            return Path(section.password_file).read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
        except (OSError, UnicodeDecodeError) as error:
            # What is not there, and looks like no path, may be the password itself.
            is_shown = "/" in section.password_file or os.path.lexists(section.password_file)
            place = section.password_file if is_shown else "a file"
            reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
            raise UserError(
                f"the password of the metadata store must be the text of {place} that metadata.password_file names, "
                f"which cannot be read: {reason}."
            ) from None
    password = os.environ.get(section.password_env)
    if password is None:
        raise UserError(
            f"the password of the metadata store must be in the environment variable {section.password_env} "
            "(metadata.password_env), which is not set, or in a file that metadata.password_file names."
        )
    return password


def describe_connection(config: ConnectionConfig) -> str:
    """Returns the kind and the place of a store, without user and password."""
    if isinstance(config, metadata_store_pb2.MetadataStoreClientConfig):
        return f"grpc at {config.host}:{config.port}"
    if config.HasField("sqlite"):
        return f"sqlite at {config.sqlite.filename_uri}"
    kind = "postgresql" if config.HasField("postgresql") else "mysql"
    server = getattr(config, kind)
    return f"{kind} at {server.host}:{server.port}"


def _check_not_lost(path: Path) -> None:
    """An empty file is a new store to SQLite, and what is left of one after a crash of the file system."""
    if not path.is_file() or path.stat().st_size:
        return
    for folder in (path.parent / "artifacts", path.parent / "serving"):
        if folder.is_dir() and any(folder.iterdir()):
            raise UserError(
                f"the metadata store must not be lost: {path} has 0 bytes, though {folder} holds what earlier runs made. Restore the file from "
                "a copy; or remove it, and a new store is begun, which knows nothing of those runs."
            )


def open_writable_store(config: ConnectionConfig) -> Any:
    """Returns the store (`ml_metadata.MetadataStore`); an SQLite file and tables that are missing are made.

    Raises:
        UserError: If it cannot be reached.
    """
    from ml_metadata.metadata_store import MetadataStore

    if isinstance(config, metadata_store_pb2.ConnectionConfig) and config.HasField("sqlite"):
        path = Path(config.sqlite.filename_uri)
        path.parent.mkdir(parents=True, exist_ok=True)
        _check_not_lost(path)
    try:
        return MetadataStore(config)
    except Exception as error:
        raise UserError(
            f"the metadata store ({describe_connection(config)}) must be reachable and an ML Metadata store: {error}"
        ) from error
