"""A Voice Connector's notices about streaming."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.aws.sma import source_uri
from chime_gateway.errors import RemoteProtocolError
from chime_gateway.wire.kinesis.stream_notice import Status, StreamNotice, parse_notice

#: A real notice, with made-up numbers.
STARTED: dict[str, Any] = {
    "version": "0",
    "id": "ac48f3fe-0b49-7b20-56af-bcefec745020",
    "detail-type": "Chime VoiceConnector Streaming Status",
    "source": "aws.chime",
    "account": "112233445566",
    "time": "2023-04-05T22:14:02Z",
    "region": "us-east-1",
    "resources": [],
    "detail": {
        "callId": "089b1d79-d4ca-4f74-b36b-681f606937f6",
        "direction": "Inbound",
        "fromNumber": "+18155551212",
        "isCaller": False,
        "mediaType": "audio/L16",
        "startFragmentNumber": "91343852333181437442444219794598596340754947404",
        "startTime": "2023-04-05T22:14:02.238Z",
        "streamArn": "arn:aws:kinesisvideo:us-east-1:112233445566:stream/"
        "ChimeVoiceConnector-bfggco08s5m5esgxfskzks-94709a8e/1680731924044",
        "toNumber": "+19285557777",
        "transactionId": "ec97a8ff-3f83-4de2-8d73-d988070f6af4",
        "voiceConnectorId": "bfggco08s5m5esgxfskzks",
        "streamingStatus": "STARTED",
        "version": "0",
    },
}


def with_detail(**changes: Any) -> str:
    detail = {**STARTED["detail"], **changes}
    detail = {key: value for key, value in detail.items() if value is not ...}
    return json.dumps({**STARTED, "detail": detail})


def parsed(body: str) -> StreamNotice:
    notice = parse_notice(body)
    assert notice is not None
    return notice


class NoticeTests(SynchronousTestCase):
    def test_a_start_names_the_leg_and_its_stream(self) -> None:
        notice = parsed(json.dumps(STARTED))
        detail = STARTED["detail"]
        self.assertEqual(
            notice,
            StreamNotice(
                status=Status.STARTED,
                transaction_id=detail["transactionId"],
                call_id=detail["callId"],
                control_id=detail["transactionId"],
                voice_connector_id="bfggco08s5m5esgxfskzks",
                is_caller=False,
                caller="+18155551212",
                called="+19285557777",
                stream_arn=detail["streamArn"],
                after_fragment=detail["startFragmentNumber"],
            ),
        )
        self.assertNotIn("5551212", repr(notice))

    def test_the_lambda_s_transaction_is_found_in_the_dialled_number(self) -> None:
        transaction = "f47ac10b-58cc-4372-a567-0e02b2c3d479"
        notice = parsed(with_detail(toNumber=source_uri(transaction, "+12065550100")))
        self.assertEqual(notice.control_id, transaction)
        self.assertEqual(notice.called, "+12065550100")
        notice = parsed(with_detail(toNumber=source_uri(transaction, "anonymous")))
        self.assertEqual((notice.control_id, notice.called), (transaction, ""))

    @given(st.uuids(), st.from_regex(r"\+[1-9][0-9]{1,14}", fullmatch=True))
    def test_every_transaction_and_number_is_read_back(
        self, transaction: Any, number: str
    ) -> None:
        notice = parsed(with_detail(toNumber=source_uri(str(transaction), number)))
        self.assertEqual(notice.control_id, str(transaction))
        self.assertIn(notice.called, (number, ""))

    def test_other_states_need_fewer_members(self) -> None:
        for status in ("ENDED", "UPDATED", "FAILED"):
            notice = parsed(
                with_detail(
                    streamingStatus=status,
                    streamArn=...,
                    isCaller=...,
                    fromNumber=...,
                    failureReason="Internal failure",
                )
            )
            self.assertEqual(notice.status.value, status)
            self.assertIsNone(notice.is_caller)

    def test_a_notice_within_an_sns_notification_is_read(self) -> None:
        envelope = {"Type": "Notification", "TopicArn": "arn:aws:sns:x"}
        body = json.dumps({**envelope, "Message": json.dumps(STARTED)})
        self.assertEqual(parsed(body), parsed(json.dumps(STARTED)))

    def test_other_messages_are_ignored(self) -> None:
        for body in ("{}", '{"detail-type":"EC2 Instance State-change"}'):
            self.assertIsNone(parse_notice(body))

    def test_undocumented_content_is_rejected(self) -> None:
        wrong = (
            "",
            "no json",
            "[]",
            "1",
            "[" * 100_000,
            '{"TopicArn":"x","Message":"no json"}',
            json.dumps({**STARTED, "detail": "text"}),
            with_detail(streamingStatus="PAUSED"),
            with_detail(streamingStatus=...),
            with_detail(streamingStatus=["STARTED"]),
            with_detail(transactionId=""),
            with_detail(callId=...),
            with_detail(callId=7),
            with_detail(streamArn=...),
            with_detail(streamArn="arn:aws:s3:::bucket"),
            with_detail(toNumber="9" * 5000),
        )
        for body in wrong:
            with self.assertRaises(RemoteProtocolError, msg=body[:80]):
                parse_notice(body)

    @given(st.text(max_size=100))
    def test_any_other_text_is_rejected_or_ignored(self, body: str) -> None:
        with contextlib.suppress(RemoteProtocolError):
            self.assertIsNone(parse_notice(body))
