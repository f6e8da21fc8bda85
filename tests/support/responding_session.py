"""A session with the agent; the test decides what the service does with responses."""

from __future__ import annotations

from tests.support.realtime_session import SessionTestCase


class RespondingTestCase(SessionTestCase):
    def started(self, response_id: str, **more: object) -> None:
        self.receive("response.created", response={"id": response_id, **more})

    def done(self, response_id: str, status: str, message: str = "") -> None:
        response = {
            "id": response_id,
            "status": status,
            "status_details": {"error": {"message": message}},
        }
        self.receive("response.done", response=response)

    def creates(self) -> list[str]:
        """Return the instructions of requested responses."""
        commands = [entry[1] for entry in self.log if entry[0] == "send"]
        return [
            command.get("response", {}).get("instructions", "")
            for command in commands
            if command["type"] == "response.create"
        ]

    def notes(self) -> list[str]:
        return [entry[1] for entry in self.log if entry[0] == "oddity_seen"]

    def failures(self) -> list[tuple[str, float]]:
        """Return the reported failures to say something: why, and until when."""
        return [
            (entry[1], entry[3]) for entry in self.log if entry[0] == "answer_failed"
        ]
