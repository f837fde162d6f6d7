"""The connection to the API of Kubeflow Pipelines, through kfp's own client. Importing this takes two seconds (kfp).

Credentials come from the environment alone:

- `KUBEFLOW_TOKEN`: a bearer token, e.g. of `kubectl create token`;
- what kfp reads itself: `KF_PIPELINES_ENDPOINT` (the host, where the runner's YAML has none), the variables
  `KF_PIPELINES_IAP_OAUTH2_CLIENT_ID`, `KF_PIPELINES_APP_OAUTH2_CLIENT_ID` and `…_SECRET`, `~/.config/kfp/context.json`, and
  inside of the cluster the service account's token;
- `SSL_CERT_FILE`: certificates to trust instead of the public ones.
"""

import contextlib
import io
import json
import os
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import kfp
import kfp_server_api
import urllib3
from kfp_server_api.rest import RESTClientObject

from components.addresses import hide_password, is_read_on_the_way
from components.errors import UserError
from configs.runner_schema import KubeflowRunnerConfig

TOKEN_VARIABLE = "KUBEFLOW_TOKEN"
CERTIFICATES_VARIABLE = "SSL_CERT_FILE"
# Seconds for connecting and for an answer.
TIMEOUT = (10, 60)
PAGE_SIZE = 100
_MOST_PAGES = 10_000
_PORT_FORWARD = (
    "`kubectl port-forward --namespace kubeflow service/ml-pipeline-ui 8080:80` makes it http://localhost:8080"
)
_HOST_KEY = "`host` in the runner's YAML"


class _QuickRest(RESTClientObject):
    """Waits for a limited time, and takes no web page for an answer."""

    def request(self, method: str, url: str, **options: Any) -> Any:
        options["_request_timeout"] = options.get("_request_timeout") or TIMEOUT
        try:
            response = super().request(method, url, **options)
            kind = response.urllib3_response.headers.get("Content-Type", "no content type")
            if "json" not in kind:
                # The generated client would read it as an object without any field.
                raise kfp_server_api.ApiException(status=response.status, reason=f"it sent {kind}")
        except kfp_server_api.ApiException as error:
            # The generated client decodes it, whatever it is.
            error.body = (error.body or b"").decode("utf-8", "replace").encode()
            raise
        return response


class _QuickClient(kfp.Client):
    """kfp's client, but it fails at once: as it is, it tries for half a minute, or waits without end for an answer."""

    def _load_config(self, *args: Any, **options: Any) -> kfp_server_api.Configuration:
        config = super()._load_config(*args, **options)
        config.retries = urllib3.Retry(0, raise_on_redirect=False)
        return config

    def get_kfp_healthz(self, sleep_duration: int = 0) -> kfp_server_api.V2beta1GetHealthzResponse:
        _check_token_is_kept(self._existing_config.host)
        # The constructor may ask this, and `connect` does: it is the first request. All services share the connection.
        self._healthz_api.api_client.rest_client = _QuickRest(self._existing_config)
        with explain_errors(get_host(self), "connect"):
            return self._healthz_api.healthz_service_get_healthz()


def _check_token_is_kept(host: str) -> None:
    if os.environ.get(TOKEN_VARIABLE) and is_read_on_the_way(host):
        raise UserError(
            "a token is sent by https, to this machine, or within a cluster (a name such as ml-pipeline-ui.kubeflow.svc): everybody on "
            f"the way reads http. Received: {_drop_password(host)}, and the environment variable {TOKEN_VARIABLE}. Correct {_HOST_KEY}, "
            f"forward a port ({_PORT_FORWARD}), or unset the variable."
        )


def connect(runner: KubeflowRunnerConfig) -> kfp.Client:
    """Returns a client that has reached the API.

    Raises:
        UserError: If it cannot be reached, refuses the credentials, or they cannot be sent.
    """
    host = runner.host or os.environ.get("KF_PIPELINES_ENDPOINT")
    with explain_errors(host or "the host that kfp finds", "connect"):
        # The namespace is not given: where there is no host, kfp would look for the API itself in it.
        client = _QuickClient(
            host=host,
            existing_token=_read_token(),
            ssl_ca_cert=os.environ.get(CERTIFICATES_VARIABLE) or None,
        )
    client.get_kfp_healthz()
    return client


def _read_token() -> str | None:
    token = os.environ.get(TOKEN_VARIABLE, "").strip()
    # An error of the HTTP library would show it.
    if not re.fullmatch(r"[!-~]*", token):
        raise UserError(f"the environment variable {TOKEN_VARIABLE} must hold one token: ASCII, no space, one line.")
    return token or None


def get_host(client: kfp.Client) -> str:
    """Returns the address that a client talks to, without a password that may stand in it."""
    return _drop_password(client._existing_config.host)


def get_namespace(client: kfp.Client, runner: KubeflowRunnerConfig) -> str | None:
    """Returns the namespace of runs and schedules; None where Kubeflow has one user and needs none."""
    return runner.namespace or client.get_user_namespace() or None


def list_all(fetch: Callable[..., Any], items: str, **options: Any) -> list[Any]:
    """Returns the items of all pages of a list.

    Args:
        fetch: One of the client's `list_…`.
        items: The name of the items in its answer.
        **options: Go to `fetch`.
    """
    found: list[Any] = []
    token, seen = "", set[str]()
    while token not in seen and len(seen) < _MOST_PAGES:
        seen.add(token)
        page = fetch(page_token=token, page_size=PAGE_SIZE, **options)
        found += getattr(page, items) or []
        token = page.next_page_token or ""
        if not token:
            return found
    raise UserError(
        f"Kubeflow's lists of {items} must come to an end. Received: {len(seen):,} pages, and a next one. Look at the server."
    )


def make_name_filter(name: str) -> str:
    """Returns the filter of a list that leaves the items with this display name."""
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": name}]})


@contextlib.contextmanager
def explain_errors(host: str, action: str) -> Iterator[None]:
    """Turns errors of the connection and refusals of the API into messages; holds back what kfp prints.

    Args:
        host: Where the API is.
        action: What is tried, e.g. "pause the schedule".

    Raises:
        UserError: Instead of them.
    """
    host = _drop_password(host)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except kfp_server_api.ApiException as error:
        raise UserError(_explain_answer(host, action, error)) from error
    except urllib3.exceptions.HTTPError as error:
        raise UserError(_explain_connection(host, action, error)) from error


def _drop_password(host: str) -> str:
    return hide_password(host).replace("***@", "")


def _explain_connection(host: str, action: str, error: Exception) -> str:
    cause = getattr(error, "reason", None) or error
    # After its own name for the connection.
    text = str(cause).rpartition("): ")[2].removeprefix("Failed to establish a new connection: ").rstrip(".")
    rule = f"the API of Kubeflow Pipelines must be reachable to {action}. {host} is not: {text}."
    if isinstance(cause, urllib3.exceptions.SSLError):
        return (
            f"{rule} If its certificate is not a public one, name the file with it in the environment variable "
            f"{CERTIFICATES_VARIABLE}; if it speaks no TLS, write http:// in {_HOST_KEY}."
        )
    return f"{rule} Correct {_HOST_KEY}, or forward a port: {_PORT_FORWARD}."


def _explain_answer(host: str, action: str, error: kfp_server_api.ApiException) -> str:
    said = _read_message(error)
    if error.status in (401, 403):
        state = "is set; it may have expired" if os.environ.get(TOKEN_VARIABLE) else "is not set"
        return (
            f"the credentials must allow to {action}. {host} refused them ({error.status}){said}. The environment variable "
            f"{TOKEN_VARIABLE} {state}. Put a token into it, e.g. of `kubectl create token default-editor "
            "--audience pipelines.kubeflow.org --namespace NAMESPACE`, and check `namespace` in the runner's YAML."
        )
    if error.status == 404:
        return (
            f"what is needed to {action} must exist. {host} answered 404{said}. If the API is elsewhere, correct {_HOST_KEY} "
            f"({_PORT_FORWARD}); otherwise it may have been deleted meanwhile: list again."
        )
    if error.status is not None and error.status < 400:
        return (
            f"{host} must answer as the API of Kubeflow Pipelines does to {action}. It answered {error.status}{said}: a page, "
            f"perhaps for logging in. Correct {_HOST_KEY}, put a token into the environment variable {TOKEN_VARIABLE}, or "
            f"forward a port: {_PORT_FORWARD}."
        )
    return f"Kubeflow Pipelines at {host} must be able to {action}. It answered {error.status}{said}."


def _read_message(error: kfp_server_api.ApiException) -> str:
    """Returns what the API says, as the end of a sentence."""
    text = str(error.reason or "")
    try:
        body = json.loads(error.body or "")
    except (ValueError, RecursionError):
        body = None
    if isinstance(body, dict):
        text = str(body.get("message") or body.get("error") or body.get("error_message") or text)
    text = " ".join(text.split())[:500].rstrip(". ")
    return f": {text}" if text else ""
