"""
The headers that a Voice Connector puts into the INVITE of a bridge.

As a captured INVITE has them
(aws-samples/amazon-chime-pstn-audio-with-amazon-lex-ivr, README): headers of
C{CallAndBridge} verbatim, and AWS' own beside them.
"""

from __future__ import annotations

from collections.abc import Mapping


def invite_headers(arn: str, headers: Mapping[str, str]) -> dict[str, str]:
    """
    @param arn: of the Voice Connector that is called.
    @param headers: C{SipHeaders} of the action.
    """
    return {
        **headers,
        "X-SMA-Max-Forwards": "4",
        "X-VoiceConnector-ID": arn.rpartition("/")[2],
        "X-Amzn-TargetArn": arn,
    }
