"""
The headers that a Voice Connector adds to the INVITE of a bridge.

They follow a captured INVITE
(aws-samples/amazon-chime-pstn-audio-with-amazon-lex-ivr, README): the headers of
C{CallAndBridge} unchanged, plus those that AWS adds.
"""

from __future__ import annotations

from collections.abc import Mapping


def invite_headers(arn: str, headers: Mapping[str, str]) -> dict[str, str]:
    """
    Return the headers of the INVITE.

    @param arn: the ARN of the called Voice Connector.
    @param headers: the C{SipHeaders} of the action.
    """
    return {
        **headers,
        "X-SMA-Max-Forwards": "4",
        "X-VoiceConnector-ID": arn.rpartition("/")[2],
        "X-Amzn-TargetArn": arn,
    }
