"""Credentials for Google Cloud, and its errors in words that say what to do."""

import contextlib
import logging
from collections.abc import Iterator
from typing import Any

from components.errors import UserError
from configs.runner_schema import VertexRunnerConfig

_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


def load_credentials() -> Any:
    """Returns the Application Default Credentials.

    Raises:
        UserError: If there are none.
    """
    import google.auth
    from google.auth.exceptions import DefaultCredentialsError

    try:
        credentials, _ = google.auth.default(scopes=[_SCOPE])
    except DefaultCredentialsError as error:
        raise UserError(
            "Vertex AI needs Google Cloud credentials (Application Default Credentials), and this environment has none that can "
            f"be used: {_shorten(error)} On a workstation run `gcloud auth application-default login`; elsewhere set "
            "GOOGLE_APPLICATION_CREDENTIALS to a credentials file, or run on Google Cloud with an attached service account or "
            "workload identity. Nothing was submitted."
        ) from error
    return credentials


@contextlib.contextmanager
def explain_errors(runner: VertexRunnerConfig, action: str) -> Iterator[None]:
    """Turns what Google's clients raise inside into a UserError with project, region and the way out.

    What the clients print themselves, even of errors that they get over, is kept back.

    Args:
        runner: Whose project and region are named.
        action: What was tried, as an infinitive.
    """
    import requests
    from google.api_core import exceptions as api
    from google.auth import exceptions as auth

    where = f"in project {runner.project}, region {runner.region}"
    account = f" as {runner.service_account}" if runner.service_account else ""
    reasons: list[tuple[tuple[type[Exception], ...], str]] = [
        (
            (api.Forbidden,),
            "is not allowed. The credentials need the role roles/aiplatform.user in the project"
            + (f", and roles/iam.serviceAccountUser on the account that the steps run{account}" if account else "")
            + f"; the API must be enabled: gcloud services enable aiplatform.googleapis.com --project {runner.project}",
        ),
        (
            (api.Unauthorized, auth.RefreshError),
            "failed: the credentials are not valid (any more). Renew them: gcloud auth application-default login",
        ),
        ((api.NotFound,), "failed: something was not found. Check `project` and `region` of the runner"),
        (
            (api.TooManyRequests,),
            f"failed: a quota is used up. Wait, or ask for more: "
            f"https://console.cloud.google.com/iam-admin/quotas?project={runner.project}",
        ),
        ((api.Conflict,), "failed: there is one of that name already. Try again"),
        ((api.BadRequest,), "was refused. Change what the message names"),
        (
            (api.ServerError, api.RetryError, requests.RequestException, auth.TransportError),
            "failed: Vertex AI could not be reached or did not answer. Check the network and `region`, then try again",
        ),
    ]
    disabled = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    except tuple(kind for kinds, _ in reasons for kind in kinds) as error:
        # Over gRPC, credentials that cannot be renewed look like a server that cannot be reached.
        seen = auth.RefreshError() if "metadata from plugin failed" in str(error) else error
        reason = next(text for kinds, text in reasons if isinstance(seen, kinds))
        raise UserError(f"to {action} {where} {reason}. Google's message: {_shorten(error)}") from error
    finally:
        logging.disable(disabled)


def _shorten(error: Exception) -> str:
    """The first line, at most 500 characters, with a full stop."""
    text = str(getattr(error, "message", None) or error).strip().partition("\n")[0][:500]
    return text if text.endswith(".") else f"{text}."
