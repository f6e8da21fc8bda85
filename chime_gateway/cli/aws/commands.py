"""
C{chimegw aws}: sets up an installation in AWS, checks it, and removes it.

L{chime_gateway.aws} does the work.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, Final

import attrs
from twisted.internet.defer import Deferred
from twisted.python import usage

from chime_gateway.app.command_options import CommandOptions
from chime_gateway.aws.inspection.inventory import Item, plan
from chime_gateway.aws.inspection.probes import from_here
from chime_gateway.aws.inspection.verify import verify
from chime_gateway.aws.removal.destroy import destroy
from chime_gateway.aws.setup.cloud import Cloud
from chime_gateway.aws.setup.commands import script
from chime_gateway.aws.setup.gateway_settings import (
    OPERATORS,
    gateway_settings,
    left_to_say,
)
from chime_gateway.aws.setup.installation import resources
from chime_gateway.aws.setup.provision import Change, apply
from chime_gateway.aws.setup.request import InstallationRequest
from chime_gateway.aws.setup.resource import Request
from chime_gateway.cli.aws.options import AwsCommand
from chime_gateway.cli.aws.package import PackageOptions
from chime_gateway.settings.sources import (
    process_environment,
    read_env_file,
    read_sip_allow,
    update_env_file,
)

#: How a plan is summed up.
_STATES: Final = {
    "ok": "as it should be",
    "missing": "missing",
    "differs": "to set",
    "foreign": "foreign",
    "extra": "extra",
    "confirm": "to confirm",
    "unknown": "unknown",
}


def _counted(changes: list[Change], text: str) -> str:
    kinds = {
        "create": "to create",
        "set": "to set",
        "delete": "to delete",
        "confirm": "to confirm",
        "blocked": "blocked",
    }
    return _summed(kinds, [change.action for change in changes], text)


def _summed(kinds: Mapping[str, str], found: list[str], text: str) -> str:
    counts = {told: found.count(kind) for kind, told in kinds.items()}
    told = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
    return f"{told or 'nothing to do'}; {text}"


class PlanOptions(AwsCommand):
    synopsis = "[--region R] [--gateway HOST] [--number +1..] [--search AREACODE]"
    longdesc = (
        "Compare what should exist with what exists, one line each: ok, missing,"
        " differs, foreign (it has the name but belongs to somebody else), extra (it"
        " belongs to this installation, but these options do not ask for it)."
    )
    optParameters: ClassVar = [
        ["search", "s", None, "List numbers for sale, of this area code (US)."],
        ["country", None, "US", "Country of --search."],
    ]

    def work(self, installation: InstallationRequest, cloud: Cloud) -> int:
        if self["search"] is not None:
            return self._search(cloud)
        items = plan(cloud, installation, resources(installation))
        found: list[Item] = self.show(items, "changes")
        if not self["json"]:
            states = [item.state for item in found]
            print(_summed(_STATES, states, "nothing was changed"))
        return 0

    def _search(self, cloud: Cloud) -> int:
        parameters = {"Country": self["country"], "MaxResults": 20}
        if self["search"]:
            parameters["AreaCode"] = self["search"]
        request = Request("chime-sdk-voice", "SearchAvailablePhoneNumbers", parameters)
        numbers = cloud.ask(request).get("E164PhoneNumbers", [])
        if self["json"]:
            print(json.dumps({"numbers": numbers}))
        else:
            print("\n".join(numbers) or "no number is for sale there; try another area")
            if numbers:
                print("buy one: chimegw aws apply --order NUMBER --confirm-order ...")
        return 0 if numbers else 1


class ApplyOptions(AwsCommand):
    synopsis = "[--region R] --gateway HOST --number +1.. [options]"
    longdesc = (
        "Create what is missing and correct what differs. It can be repeated at any"
        " time, even after an interrupted run."
    )
    optParameters: ClassVar = [
        ["env-file", "e", None, "Write the gateway's settings to this file."],
    ]
    optFlags: ClassVar = [
        ["rotate-call-secret", None, "Add a new call secret; the old one stays valid."],
        ["retire-call-secret", None, "Remove the old call secret."],
    ]

    def postOptions(self) -> None:
        super().postOptions()
        if self["rotate-call-secret"] and self["retire-call-secret"]:
            raise usage.UsageError("--rotate-call-secret first, --retire-.. later")

    def installation(self) -> InstallationRequest:
        chosen = [what for what in ("rotate", "retire") if self[f"{what}-call-secret"]]
        return attrs.evolve(super().installation(), call_secret=(*chosen, "keep")[0])

    def work(self, installation: InstallationRequest, cloud: Cloud) -> int:
        told: dict[str, Any] = {}
        changes = self.show(self._apply(installation, cloud, told), "changes", told)
        is_done = all(change.action != "confirm" for change in changes)
        if not self["json"]:
            env_file = self["env-file"]
            there = read_env_file(env_file) if env_file else {}
            where = f" are in {env_file}" if env_file else ""
            print("done" if is_done else "not finished: a line with ? says what to add")
            print(f"The gateway's settings{where}:")
            for name, value in told["gateway"].items():
                print(f"  {name}={value}")
            if installation.call_secret == "keep":
                for name, what in left_to_say(installation).items():
                    if not there.get(name):
                        print(f"  # {name}={what}")
            if "," in cloud.references.get("CALL_SECRET", ""):
                print(
                    "The old call secret is still valid. When all gateways have the new"
                    f" one, run: chimegw aws apply --region {installation.region}"
                    f" --name {installation.name} --retire-call-secret"
                )
        return 0 if is_done else 1

    def _apply(
        self, installation: InstallationRequest, cloud: Cloud, told: dict[str, Any]
    ) -> Iterator[Change]:
        yield from apply(cloud, resources(installation))
        known = gateway_settings(installation, cloud.references)
        if self["env-file"]:
            # The secret is in a file of mode 0600; do not print it as well.
            update_env_file(self["env-file"], known, kept=OPERATORS)
            known.pop("CHIMEGW_CALL_SECRET", None)
        told["gateway"] = known


class VerifyOptions(AwsCommand):
    synopsis = "[the same options as for apply] [--expected-calls N]"
    longdesc = (
        "Check an installation, from the number to the gateway, and say how to fix each"
        " problem. Exit status 1: there is one."
    )
    optParameters: ClassVar = [
        ["expected-calls", "n", 5, "Number of simultaneous calls.", int],
    ]

    def work(self, installation: InstallationRequest, cloud: Cloud) -> int:
        findings = self.show(
            verify(
                cloud,
                installation,
                resources(installation),
                from_here(),
                expected_calls=self["expected-calls"],
                allowed=read_sip_allow(process_environment()),
            ),
            "findings",
        )
        wrong = sum(not finding.is_good for finding in findings)
        if not self["json"]:
            print(f"{wrong} of {len(findings)} checks found something")
        return 1 if wrong else 0


class DestroyOptions(AwsCommand):
    synopsis = "[--region R] [--name NAME] [--yes] [--delete-buckets]"
    longdesc = (
        "Remove what apply has created, whatever its options were: it is found by its"
        " tag. Without --yes, only show what that is. What stays is shown with the"
        " reason; exit status 1: something could not be removed. It can be repeated at"
        " any time, even after an interrupted run."
    )
    optFlags: ClassVar = [
        ["yes", "y", "Remove it."],
        ["delete-buckets", None, "Delete the bucket and its contents as well."],
    ]

    def work(self, installation: InstallationRequest, cloud: Cloud) -> int:
        is_real = bool(self["yes"])
        items = destroy(
            cloud,
            installation,
            is_real=is_real,
            with_buckets=bool(self["delete-buckets"]),
        )
        changes = self.show(items, "changes")
        if not self["json"]:
            said = "done" if is_real else "nothing was changed: use --yes"
            print(_counted(changes, said))
        return 1 if any(change.action == "blocked" for change in changes) else 0


class CommandsOptions(AwsCommand):
    synopsis = "[the same options as for apply]"
    longdesc = "Print the same as a shell script of AWS CLI commands."

    def run(self, reactor: Any) -> int:  # type: ignore[override]
        installation = self.installation()
        lines = list(script(installation, resources(installation)))
        if self["json"]:
            print(json.dumps({"script": lines}, indent=2))
        else:
            print("\n".join(lines))
        return 0


class AwsOptions(CommandOptions):
    synopsis = "COMMAND [options]"
    longdesc = "Set an installation up in AWS, look after it, take it away."
    subCommands: ClassVar = [
        ["plan", None, PlanOptions, "Show what exists and what would change."],
        ["apply", None, ApplyOptions, "Make what is missing, set what differs."],
        ["verify", None, VerifyOptions, "Check it from the number to the gateway."],
        ["destroy", None, DestroyOptions, "Remove what apply has created."],
        ["commands", None, CommandsOptions, "Print it as AWS CLI commands."],
        ["package-lambda", None, PackageOptions, "Build the Lambda's zip file."],
    ]

    def postOptions(self) -> None:
        if self.subCommand is None:
            raise usage.UsageError("which command? Try: chimegw aws --help")

    def run(self, reactor: Any) -> Deferred[int] | int:
        run: Callable[[Any], Deferred[int] | int] = self.subOptions.run
        return run(reactor)
