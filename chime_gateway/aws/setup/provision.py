"""
Creates an installation, brings it up to date, or removes it.

Everything is found by its name, each time anew: there is no file of what was done, so
an interrupted run is simply repeated.  L{chime_gateway.aws.setup.installation}
describes what is wanted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import jmespath
from attrs import frozen
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError
from botocore.session import Session

from chime_gateway.aws.setup.request import TAG
from chime_gateway.aws.setup.resource import (
    Request,
    Resource,
    Setting,
    Unknown,
    fill,
    is_within,
    with_what_is_there,
)
from chime_gateway.errors import ConfigError
from chime_gateway.net.aws.errors import iam_action, is_denied
from chime_gateway.net.backoff import BackOff

_NOTHING: Final[Mapping[str, Any]] = {}

#: What is new may not be known everywhere for so long.
_SETTLE_SECONDS: Final = 60.0
_PAUSE_SECONDS: Final = 2.0

_THROTTLED_ATTEMPTS: Final = 6
_THROTTLED: Final = BackOff.doubling(0.5, 16.0)

#: Refusals that pass: a role that is not known yet, a function that is changing.
_UNSETTLED: Final[Mapping[str, str]] = {
    "InvalidParameterValueException": "assumed",
    "ResourceConflictException": "in progress",
    "ConflictException": "",
    "ResourceInUseException": "",
    "MalformedPolicyDocument": "principal",
    "QueueDeletedRecently": "",
    "OperationAborted": "",
}

#: The settings of a resource that is not there, or that has none of these.
_ABSENT: Final = (
    *("NotFoundException", "NoSuchEntity", "ResourceNotFoundException"),
    *("NoSuchTagSet", "NoSuchPublicAccessBlockConfiguration"),
    *("NoSuchLifecycleConfiguration", "NoSuchBucketPolicy"),
)


class Refused(ConfigError):
    """
    AWS said no; the text says what to do about it.

    @ivar code: as the service has it.
    """

    def __init__(self, request: Request, code: str, message: str) -> None:
        self.code = code
        text = f"{request.service} {request.operation}: {code}: {message}"
        if is_denied(code):
            action = iam_action(request.service, request.operation)
            text += f"\n  allow {action} to these credentials"
        elif "ExpiredToken" in code or code == "InvalidClientTokenId":
            text += "\n  the credentials are wrong or have expired: log in again"
        super().__init__(text)


class Cloud:
    """
    AWS, by blocking requests: for a command, not for the gateway.

    @param sleep: waits so many seconds.
    """

    def __init__(
        self,
        region: str,
        session: Session | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.region = region
        self.references: dict[str, str] = {}
        self._session = session or Session()
        self._sleep = sleep
        self._clients: dict[str, Any] = {}

    def close(self) -> None:
        """Give the connections back."""
        for client in self._clients.values():
            client.close()

    def ask(
        self, request: Request, more: Mapping[str, Any] = _NOTHING
    ) -> dict[str, Any]:
        """
        All pages of the answer, in one.

        @param more: parameters that take the place of the request's.
        @raise Refused: it was.
        @raise Unknown: the request means something that does not exist.
        """
        answer = self._ask_slowly(request, more)
        page = answer
        while page.get("NextToken") and "NextToken" not in request.parameters:
            page = self._ask_slowly(request, {**more, "NextToken": page["NextToken"]})
            for key, value in page.items():
                if isinstance(value, list):
                    answer[key] = [*answer.get(key, ()), *value]
        return answer

    def ask_patiently(
        self, request: Request, more: Mapping[str, Any] = _NOTHING
    ) -> dict[str, Any]:
        """
        The same, and again while AWS has not made up its mind.

        @raise Refused: it was.
        """
        waited = 0.0
        while True:
            try:
                return self.ask(request, more)
            except Refused as exc:
                hint = _UNSETTLED.get(exc.code)
                passes = hint is not None and hint in str(exc).lower()
                if not passes or waited >= _SETTLE_SECONDS:
                    raise
            self._sleep(_PAUSE_SECONDS)
            waited += _PAUSE_SECONDS

    def _ask_slowly(self, request: Request, more: Mapping[str, Any]) -> dict[str, Any]:
        """botocore knows most services' ways of saying too fast, and not Chime's."""
        for attempt in range(1, _THROTTLED_ATTEMPTS + 1):
            try:
                return self._ask_once(request, more)
            except Refused as exc:
                if not exc.code.startswith("Throttl"):
                    raise
                last = exc
            self._sleep(_THROTTLED.pause(attempt))
        raise last

    def _ask_once(self, request: Request, more: Mapping[str, Any]) -> dict[str, Any]:
        parameters = fill(request.parameters, self.references)
        try:
            client = self._client(request.service)
            method = getattr(client, xform_name(request.operation))
            answer: dict[str, Any] = method(**{**parameters, **more})
        except ClientError as exc:
            error = exc.response.get("Error", {})
            raise Refused(
                request, str(error.get("Code", "")), str(error.get("Message", ""))
            ) from exc
        except NoCredentialsError as exc:
            raise ConfigError(
                "there are no AWS credentials: aws sso login, or set AWS_PROFILE"
            ) from exc
        except BotoCoreError as exc:
            raise ConfigError(f"{request.service} {request.operation}: {exc}") from exc
        return answer

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = self._session.create_client(
                service,
                region_name=self.region,
                config=Config(
                    retries={"max_attempts": 6, "mode": "standard"},
                    connect_timeout=5,
                    read_timeout=30,
                ),
            )
        return self._clients[service]

    # -- what is there -----------------------------------------------------------

    def find(self, resource: Resource) -> bool:
        """Whether it is there; what others need to know of it is then known."""
        lookup = resource.lookup
        try:
            answer: Any = self.ask(lookup.request)
        except Unknown:
            return False
        except Refused as exc:
            if exc.code in lookup.absent:
                return False
            raise
        if lookup.items:
            items = jmespath.search(lookup.items, answer) or []
            match = fill(lookup.match, self.references)
            found = [item for item in items if is_within(match, item)]
            if not found:
                return False
            answer = found[0]
        self._learn(lookup.references, answer)
        return True

    def _learn(self, references: Mapping[str, str], answer: Mapping[str, Any]) -> None:
        for name, path in references.items():
            value = jmespath.search(path, answer)
            if value is not None:
                self.references[name] = str(value)

    def is_ours(self, resource: Resource, name: str) -> bool:
        """Whether its tags say that we made it."""
        if resource.tags is None:
            return not resource.kept
        try:
            tags = jmespath.search(resource.tags_path, self.ask(resource.tags))
        except Refused as exc:
            if exc.code in _ABSENT:
                return False
            raise
        if isinstance(tags, list):
            tags = {tag["Key"]: tag["Value"] for tag in tags}
        return bool(tags) and tags.get(TAG) == name

    def is_set(self, setting: Setting) -> bool:
        if setting.read is None:
            return False
        try:
            path = fill(setting.path, self.references)
            found = jmespath.search(path, self.ask(setting.read))
            return is_within(fill(setting.wanted, self.references), found)
        except Unknown:
            return False
        except Refused as exc:
            if exc.code in _ABSENT:
                return False
            raise

    def put(self, setting: Setting) -> None:
        """
        @raise ConfigError: it cannot work with what is there.
        """
        for request in setting.write:
            if request.operation == "CreatePolicyVersion":
                # Five are allowed.
                _forget_versions(self, request)
            found = self.ask(setting.read) if setting.read and setting.keeps else {}
            kept = with_what_is_there(setting, request, found, self.references)
            self.ask_patiently(request, kept)

    def create(self, resource: Resource) -> None:
        answers = [self.ask_patiently(request) for request in resource.create]
        self._learn(resource.created, answers[0])


@frozen
class Change:
    """
    @ivar action: C{create}, C{set}, C{delete}, C{keep}, or C{confirm}: something
        that is done only when it is asked for once more.
    """

    action: str
    what: str
    detail: str = ""

    def __str__(self) -> str:
        sign = {"create": "+", "set": "~", "delete": "-", "confirm": "?"}
        detail = f": {self.detail}" if self.detail else ""
        return f"{sign.get(self.action, ' ')} {self.action:8} {self.what}{detail}"


def plan(cloud: Cloud, resources: Iterable[Resource]) -> Iterator[Change]:
    """What L{apply} would do; nothing is changed."""
    yield from _go_through(cloud, resources, is_real=False)


def apply(cloud: Cloud, resources: Iterable[Resource]) -> Iterator[Change]:
    """Do it, telling each change when it is done."""
    yield from _go_through(cloud, resources, is_real=True)


def _go_through(
    cloud: Cloud, resources: Iterable[Resource], *, is_real: bool
) -> Iterator[Change]:
    for resource in resources:
        is_there = cloud.find(resource)
        for name, wanted in resource.secrets.items():
            cloud.references[name] = wanted(cloud.references.get(name, ""))
        if not is_there:
            if resource.needs_confirmation:
                yield Change("confirm", resource.what, resource.needs_confirmation)
                continue
            if not resource.create:
                why = resource.hint or resource.kept
                raise ConfigError(f"there is no {resource.what}: {why}")
            if is_real:
                cloud.create(resource)
            yield Change("create", resource.what, _named(resource, cloud))
        changed = False
        for setting in resource.settings:
            if not is_there and setting.is_born_so:
                continue
            if is_there or is_real:
                if cloud.is_set(setting):
                    continue
                if is_real:
                    cloud.put(setting)
            changed = True
            yield Change("set", resource.what, setting.what)
        if is_there and not changed:
            yield Change("keep", resource.what, _named(resource, cloud))


def _named(resource: Resource, cloud: Cloud) -> str:
    names = {**resource.lookup.references, **resource.created}
    shown = [name for name in names if name not in resource.secrets]
    known = [cloud.references[name] for name in shown if name in cloud.references]
    return known[0] if known else ""


def destroy(
    cloud: Cloud, resources: Iterable[Resource], name: str, *, is_real: bool
) -> Iterator[Change]:
    """
    Take away what was made, last things first; all else is left and named.

    @param name: of the installation, as the tags have it.
    """
    known = [(resource, cloud.find(resource)) for resource in resources]
    for resource, is_there in reversed(known):
        if not is_there:
            continue
        if resource.kept:
            if resource.settings:
                yield Change("keep", resource.what, "not made here; as it was set")
            continue
        if not cloud.is_ours(resource, name):
            yield Change("keep", resource.what, f"it has no tag {TAG}={name}")
            continue
        if is_real:
            _empty(cloud, resource)
            for request in resource.delete:
                try:
                    cloud.ask_patiently(request)
                except Refused as exc:
                    if exc.code not in (*_ABSENT, *resource.lookup.absent):
                        raise
        yield Change("delete", resource.what, _named(resource, cloud))


def _empty(cloud: Cloud, resource: Resource) -> None:
    """A bucket goes only when nothing is in it; versions of a policy likewise."""
    for request in resource.delete:
        if request.operation == "DeleteBucket":
            _empty_bucket(cloud, request)
        elif request.operation == "DeletePolicy":
            _forget_versions(cloud, request)
        elif request.operation == "DeleteQueue":
            _forget_reports(cloud, request)


def _forget_reports(cloud: Cloud, request: Request) -> None:
    """A gateway that died left the queue behind in which it was told things."""
    name = fill(request.parameters["QueueUrl"], cloud.references).rpartition("/")[2]
    if not name.endswith("-notices"):
        return
    prefix = {"QueueNamePrefix": f"{name.removesuffix('notices')}events-"}
    for url in cloud.ask(Request("sqs", "ListQueues", prefix)).get("QueueUrls", ()):
        queue = {"QueueUrl": url}
        tags = cloud.ask(Request("sqs", "ListQueueTags", queue)).get("Tags", {})
        if tags.get(TAG) == "events":
            cloud.ask(Request("sqs", "DeleteQueue", queue))


def _forget_versions(cloud: Cloud, request: Request) -> None:
    """Of a policy, all but the one in force."""
    policy = {"PolicyArn": request.parameters["PolicyArn"]}
    for version in cloud.ask(Request("iam", "ListPolicyVersions", policy))["Versions"]:
        if not version["IsDefaultVersion"]:
            which = {**policy, "VersionId": version["VersionId"]}
            cloud.ask(Request("iam", "DeletePolicyVersion", which))


def _empty_bucket(cloud: Cloud, request: Request) -> None:
    bucket = request.parameters
    while True:
        listed = cloud.ask(Request("s3", "ListObjectsV2", bucket))
        keys = [{"Key": item["Key"]} for item in listed.get("Contents", ())]
        if not keys:
            return
        objects = {"Objects": keys, "Quiet": True}
        cloud.ask(Request("s3", "DeleteObjects", {**bucket, "Delete": objects}))
