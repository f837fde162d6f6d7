"""Errors as they come over gRPC, which the local server does not speak."""

import logging

import pytest
from google.api_core import exceptions as api
from google.auth import exceptions as auth

from components.errors import UserError
from configs.runner_schema import VertexRunnerConfig
from pipeline.vertex.errors import explain_errors

RUNNER = VertexRunnerConfig(kind="vertex", project="p", region="us-west1", pipeline_root="gs://b/r")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (api.PermissionDenied("no"), "is not allowed. The credentials need the role roles/aiplatform.user in the project; the API"),
        (api.Unauthenticated("no"), "the credentials are not valid"),
        (auth.RefreshError("no"), "the credentials are not valid"),
        (api.ServiceUnavailable("Getting metadata from plugin failed with error: invalid_grant"), "the credentials are not valid"),
        (api.NotFound("no"), "something was not found"),
        (api.ResourceExhausted("no"), "a quota is used up"),
        (api.AlreadyExists("no"), "there is one of that name already"),
        (api.InvalidArgument("no"), "was refused"),
        (api.FailedPrecondition("no"), "was refused"),
        (api.ServiceUnavailable("no"), "could not be reached"),
        (api.DeadlineExceeded("no"), "could not be reached"),
        (auth.TransportError("no"), "could not be reached"),
    ],
)  # fmt: skip
def test_each_has_its_way_out(error, words):
    with pytest.raises(UserError) as caught, explain_errors(RUNNER, "do it"):
        raise error
    assert str(caught.value).startswith("to do it in project p, region us-west1 ")
    assert words in str(caught.value)
    assert caught.value.__cause__ is error


def test_a_defect_keeps_its_traceback_and_logs_are_as_before(caplog):
    with pytest.raises(ZeroDivisionError), explain_errors(RUNNER, "do it"):
        logging.getLogger("google.cloud.aiplatform").error("kept back")
        _ = 1 / 0
    logging.getLogger("google.cloud.aiplatform").error("not kept back")
    assert caplog.messages == ["not kept back"]
