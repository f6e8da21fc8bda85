"""
The networks on which a SIP carrier in memory is tested.

Tests are written for IPv4.  The same test also runs on other networks: addresses and
descriptions are translated on the way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_address, ip_network
from types import ModuleType
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from chime_gateway.rtp.ports import Address
from chime_gateway.settings.values import Network as Addresses
from chime_gateway.settings.values import SipSettings

#: Documentation addresses that tests use, and their replacements in IPv6.
_NETWORKS = {
    "192.0.2": "2001:db8:2::",
    "198.51.100": "2001:db8:64::",
    "203.0.113": "2001:db8:cb::",
    "10.0.0": "2001:db8:a::",
}
_IPV4 = re.compile(
    r"(?<![\d.])(" + "|".join(map(re.escape, _NETWORKS)) + r")\.(\d{1,3})(?![\d.])"
)
_IPV6 = re.compile(r"(IN IP6 |\[?)(2001:db8:[0-9a-f:]+?)(\]|(?=[;,>\s\"]|\Z))")
_LENGTH = re.compile(r"(?<=\r\nContent-Length: )\d+(?=\r\n)")


class Network:
    """IPv4, without translation."""

    interface = ""

    def host(self, host: str) -> str:
        """Return an address as the gateway sees it."""
        return host

    def host_back(self, host: str) -> str:
        return host

    def there(self, data: bytes) -> bytes:
        """Translate a message to the gateway; C{back}: from it."""
        return data

    def back(self, data: bytes) -> bytes:
        return data

    def address(self, address: Address) -> Address:
        return self.host(address[0]), address[1]

    def address_back(self, address: Address) -> Address:
        return self.host_back(address[0]), address[1]

    # -- above the sockets, which show mapped addresses as IPv4 ---------------------

    def name(self, host: str) -> str:
        """Return the address to which a name resolves."""
        return host

    def seen(self, address: Address) -> Address:
        """Translate the source of a media packet; C{told}: its destination."""
        return address

    def told(self, address: Address) -> Address:
        return address

    def settings(self, settings: SipSettings) -> SipSettings:
        return evolve(
            settings,
            listen=tuple(
                evolve(one, interface=self.interface) for one in settings.listen
            ),
        )


class DualStack(Network):
    """An IPv6 socket that accepts IPv4: callers have mapped addresses."""

    interface = "::"

    def host(self, host: str) -> str:
        return f"::ffff:{host}"

    def host_back(self, host: str) -> str:
        mapped = getattr(ip_address(host), "ipv4_mapped", None)
        assert mapped is not None, f"{host} cannot be sent to from a socket of IPv6"
        return str(mapped)


class IPv6(Network):
    """IPv6 only, in all messages."""

    interface = "2001:db8:2::10"

    def host(self, host: str) -> str:
        return _IPV4.sub(lambda found: _ipv6(found), host)

    def host_back(self, host: str) -> str:
        return _ipv4(host)

    def there(self, data: bytes) -> bytes:
        def written(found: re.Match[str]) -> str:
            before = found.string[: found.start()]
            is_bare = before.endswith(("IN IP4 ", "received="))
            return _ipv6(found) if is_bare else f"[{_ipv6(found)}]"

        def translated(text: str) -> str:
            return _IPV4.sub(written, text).replace("IN IP4 2001", "IN IP6 2001")

        return _translate(data, translated)

    def back(self, data: bytes) -> bytes:
        def written(found: re.Match[str]) -> str:
            if found[1] == "IN IP6 ":
                return f"IN IP4 {_ipv4(found[2])}"
            is_bare = found.string[: found.start()].endswith("received=")
            where = found.string[max(0, found.start() - 60) : found.end() + 20]
            assert is_bare == (found[1] != "["), f"brackets, where it says {where!r}"
            return _ipv4(found[2])

        return _translate(data, lambda text: _IPV6.sub(written, text))

    def name(self, host: str) -> str:
        return self.host(host)

    def seen(self, address: Address) -> Address:
        return self.address(address)

    def told(self, address: Address) -> Address:
        return self.address_back(address)

    def settings(self, settings: SipSettings) -> SipSettings:
        def network(allowed: Addresses) -> Addresses:
            prefix = _NETWORKS[str(allowed.network_address).rpartition(".")[0]]
            return ip_network(f"{prefix}/48")

        return evolve(
            super().settings(settings),
            allow=tuple(network(one) for one in settings.allow),
            public_address=self.host(settings.public_address),
        )


def _ipv6(found: re.Match[str]) -> str:
    return f"{_NETWORKS[found[1]]}{int(found[2]):x}"


def _ipv4(host: str) -> str:
    for ipv4, ipv6 in _NETWORKS.items():
        if host.startswith(ipv6):
            return f"{ipv4}.{int(host.removeprefix(ipv6) or '0', 16)}"
    raise AssertionError(f"{host} is of no network of these tests")


def _translate(data: bytes, translated: Callable[[str], str]) -> bytes:
    """Translate a message, and correct its Content-Length if it was correct before."""
    try:
        head, separator, body = data.decode("utf-8").partition("\r\n\r\n")
    except UnicodeDecodeError:
        return data
    new_body = translated(body)
    found = _LENGTH.search(head + separator)
    new_head = translated(head)
    if found is not None and int(found[0]) == len(body.encode()):
        size = str(len(new_body.encode()))
        new_head = _LENGTH.sub(size, new_head + separator).removesuffix(separator)
    return (new_head + separator + new_body).encode()


#: Networks by the suffix of the test classes' names.
NETWORKS: Mapping[str, Network] = {"OverIPv6": IPv6(), "OnDualStack": DualStack()}


def on_every_network(*modules: ModuleType) -> Iterator[type[SynchronousTestCase]]:
    """Repeat the tests of these modules for each of L{NETWORKS}."""
    from tests.support.sip_peer import SipWorld

    for module in modules:
        for name, case in vars(module).items():
            is_test = isinstance(case, type) and issubclass(case, SynchronousTestCase)
            if not is_test or case.__module__ != module.__name__:
                continue
            for word, network in NETWORKS.items():

                def run(
                    self: Any, result: Any, network: Any = network, case: Any = case
                ) -> Any:
                    before, SipWorld.network = SipWorld.network, network
                    try:
                        return case.run(self, result)
                    finally:
                        SipWorld.network = before

                yield type(f"{name}{word}", (case,), {"run": run})
