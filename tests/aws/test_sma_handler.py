"""The Lambda function as AWS invokes it: settings, responses and reports."""

from __future__ import annotations

import contextlib
import io
import json
import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from unittest import mock

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.aws import sma
from chime_gateway.aws.sma import read_settings
from tests.support.lambda_events import (
    OTHER_VC,
    VC,
    event,
    playing,
    succeeded,
    update,
)


class SettingsTests(SynchronousTestCase):
    def test_the_environment_is_read_by_its_documented_names(self) -> None:
        environ = {
            "VOICE_CONNECTOR_ARN": VC,
            "FALLBACK_VOICE_CONNECTOR_ARN": OTHER_VC,
            "FALLBACK_NUMBER": "+4930550123",
            "CALLER_ID_NUMBER": "+12065550100",
            "GREETING_TEXT": "Hello",
            "APOLOGY_TEXT": "Sorry",
            "READY_URL": "https://gw.example.com/ready",
            "MODE": "bridge",
            "CALL_SECRET": "0123456789abcdef,fedcba9876543210",
            "TRANSFER_ALLOW": "+49,sip:",
            "EVENTS_QUEUE": "https://sqs.eu-central-1.amazonaws.com/1/gw-events-",
        }
        self.assertEqual(list(read_settings(environ)), list(environ.values()))

    def test_an_invalid_variable_is_named(self) -> None:
        wrong: list[tuple[dict[str, str], str]] = [
            ({}, "VOICE_CONNECTOR_ARN"),
            ({"MODE": "loud"}, "MODE"),
            ({"VOICE_CONNECTOR_ARN": "x.voiceconnector.chime.aws"}, "ARN"),
            ({"VOICE_CONNECTOR_ARN": VC, "FALLBACK_NUMBER": "911"}, "FALLBACK_NUMBER"),
            ({"VOICE_CONNECTOR_ARN": VC, "CALL_SECRET": "short"}, "CALL_SECRET"),
            ({"VOICE_CONNECTOR_ARN": VC, "CALL_SECRET": "x" * 16 + ","}, "CALL_SECRET"),
        ]
        for environ, name in wrong:
            with self.assertRaisesRegex(ValueError, name):
                read_settings(environ)
        self.assertEqual(read_settings({"MODE": "kinesis"}).voice_connector_arn, "")


class HandlerTests(SynchronousTestCase):
    """The function as AWS invokes it, alone in a process."""

    def test_it_needs_only_the_standard_library_and_imports_little(self) -> None:
        code = (
            "import sys; sys.path.insert(0, sys.argv[1]); import sma;"
            "heavy = {'botocore', 'twisted', 'attrs', 'urllib.request', 'ssl'};"
            "print(sorted(heavy & set(sys.modules)))"
        )
        folder = str(sma.__file__).rpartition("/")[0]
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", code, folder],
            capture_output=True,
            text=True,
            check=True,
        )
        self.assertEqual(done.stdout.strip(), "[]")

    def test_a_response_is_json_with_version_actions_and_all_attributes(self) -> None:
        with mock.patch.dict("os.environ", {"VOICE_CONNECTOR_ARN": VC}):
            answer = sma.handler(event("NEW_INBOUND_CALL"), None)
        self.assertEqual(json.loads(json.dumps(answer)), answer)
        self.assertEqual(answer["SchemaVersion"], "1.0")
        self.assertEqual(answer["Actions"][0]["Type"], "CallAndBridge")
        self.assertEqual(answer["TransactionAttributes"]["state"], "bridging")

    def test_unchanged_actions_are_omitted_from_the_response(self) -> None:
        with (
            mock.patch.dict("os.environ", {"VOICE_CONNECTOR_ARN": VC}),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            answer = sma.handler(update({"Action": "dance"}), None)
        self.assertNotIn("Actions", answer)

    def test_an_unreachable_queue_does_not_affect_the_call(self) -> None:
        attributes = {
            "state": "talking",
            "playing": "k1",
            "events": "http://127.0.0.1:9/queue",
        }
        environ = {
            "MODE": "kinesis",
            "AWS_REGION": "us-east-1",
            "EVENTS_QUEUE": "http://127.0.0.1:9/queue",
        }
        printed = io.StringIO()
        with (
            mock.patch.dict("os.environ", environ),
            contextlib.redirect_stdout(printed),
        ):
            answer = sma.handler(
                succeeded("PlayAudio", playing("k1"), attributes=attributes)
            )
        self.assertEqual(answer["Actions"][0]["Type"], "Pause")
        self.assertIn("could not send", printed.getvalue())

    def test_reports_are_sent_only_to_queues(self) -> None:
        for url in (
            "http://example.com/q",
            "https://example.com/q",
            "https://example.com/.amazonaws.com/",
            "https://amazonaws.com.example.com/q",
            "file:///etc/passwd",
            "x",
        ):
            with self.assertRaises(OSError):
                sma.send_report(url, {}, {})

    def test_the_signature_equals_botocores(self) -> None:
        environ = {
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
            "AWS_SESSION_TOKEN": "token/with+signs=",
            "AWS_REGION": "eu-central-1",
        }
        body = b'{"QueueUrl":"https://sqs.eu-central-1.amazonaws.com/1/q"}'
        host = "sqs.eu-central-1.amazonaws.com"
        now = time.gmtime(1_790_000_000)
        ours = sma.sign(host, body, now, environ, "sqs")
        request = AWSRequest(
            "POST",
            f"https://{host}/",
            data=body,
            headers={k: ours[k] for k in ("content-type", "x-amz-target")},
        )
        request.context["timestamp"] = ours["x-amz-date"]
        credentials = Credentials(
            environ["AWS_ACCESS_KEY_ID"],
            environ["AWS_SECRET_ACCESS_KEY"],
            environ["AWS_SESSION_TOKEN"],
        )
        signer = SigV4Auth(credentials, "sqs", "eu-central-1")
        with mock.patch("botocore.auth.get_current_datetime", create=True) as clock:
            clock.return_value = datetime(*now[:6], tzinfo=UTC)
            signer.add_auth(request)
        found = re.search(r"Signature=(\w+)", request.headers["Authorization"])
        assert found is not None
        self.assertIn(found[1], ours["authorization"])
