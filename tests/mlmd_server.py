"""ML Metadata's own server as far as clients see it: its gRPC service in front of a store of the same library.

The real one is a binary for containers (Kubeflow Pipelines installs it); what it does with a request is what the library does.
"""

from concurrent import futures

import grpc
from ml_metadata import errors
from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2, metadata_store_service_pb2, metadata_store_service_pb2_grpc

_SERVICE = metadata_store_service_pb2.DESCRIPTOR.services_by_name["MetadataStoreService"]
_CODES = {code.value[0]: code for code in grpc.StatusCode}


class MlmdServer:
    """A server on a port of 127.0.0.1.

    Args:
        connection: The store behind it.

    Attributes:
        port: On 127.0.0.1.
        calls: The names of the methods that were called, in order.
    """

    def __init__(self, connection: metadata_store_pb2.ConnectionConfig):
        store = MetadataStore(connection)
        self.calls: list[str] = []
        # One thread: a store of the library is for one.
        self._server = grpc.server(futures.ThreadPoolExecutor(1))

        def make_method(method):
            def answer(_, request, context):
                self.calls.append(method.name)
                response = metadata_store_service_pb2.__dict__[method.output_type.name]()
                try:
                    store._call(method.name, request, response)
                except errors.StatusError as error:
                    context.abort(_CODES[error.error_code], error.message)
                return response

            return answer

        methods = {method.name: make_method(method) for method in _SERVICE.methods}
        servicer = type("Servicer", (metadata_store_service_pb2_grpc.MetadataStoreServiceServicer,), methods)
        metadata_store_service_pb2_grpc.add_MetadataStoreServiceServicer_to_server(servicer(), self._server)
        self.port = self._server.add_insecure_port("127.0.0.1:0")

    def __enter__(self) -> "MlmdServer":
        self._server.start()
        return self

    def __exit__(self, *details: object) -> None:
        self._server.stop(None)
