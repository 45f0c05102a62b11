"""Whether validators find the miner: the metagraph's address is this machine's, and its port can be reached."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterator

import psutil

from tasks.doctor.finding import Finding, error, not_asked, ok, warning
from tasks.doctor.miner.asking import asking
from tasks.doctor.miner.metagraph import Member, hotkey_of, read_metagraph
from tasks.doctor.registry import Context, check

SECONDS = 3.0
LOOPBACK = "127.0.0.1"
SERVE = "set neuron.external_ip and port to what others reach, and start the neuron again, which publishes its axon"


@check("metagraph address")
def address(context: Context) -> Iterator[Finding]:
    """The commonest reason why no validator ever asks."""
    with asking() as asked:
        yield from judge_address(_member(context), own_addresses(), context.miner.address if context.miner else None)
    yield from asked.findings


@check("axon port")
def port(context: Context) -> Iterator[Finding]:
    """Reachable from here is less than reachable from outside, which only somebody outside can know."""
    published: str | None = None
    with asking():
        member = _member(context)
        published = member.axon if member else None
    host, number = split_axon(published) if published else (None, None)
    options = context.miner
    wanted = (options.port if options else None) or number
    if not wanted:
        yield not_asked("no port of the axon is known", "--port, or a metagraph with axons")
        return
    own = [one for one in own_addresses() if not ipaddress.ip_address(one).is_loopback]
    listens = [one for one in (LOOPBACK, *own) if connects(one, wanted)]
    if not listens:
        yield error(f"nothing listens on port {wanted} of this machine", "start the neuron: `streetvision neuron`")
        return
    if listens == [LOOPBACK]:
        yield error(
            f"port {wanted} answers on loopback alone", "neuron.host: 0.0.0.0, and let the firewall pass the port"
        )
    else:
        yield ok(f"port {wanted} answers at {', '.join(listens)}")
    yield _from_outside(host or (options.address if options else None), own, wanted)


def judge_address(member: Member | None, own: list[str], given: str | None) -> Iterator[Finding]:
    """Compare what the metagraph says with this machine.

    Args:
        member: of the metagraph; None where the hotkey is not registered, which another check says.
        own: addresses of this machine's interfaces.
        given: address that others see, as a person says; None: unknown.
    """
    if member is None or member.axon is None:
        yield not_asked("the metagraph has no address of this miner")
        return
    host, number = split_axon(member.axon)
    if host in ("0.0.0.0", "0", "") or number == 0:  # noqa: S104 - what the chain has for none
        yield error(f"uid {member.uid} has published no address ({member.axon})", SERVE)
    elif given is not None and host != given:
        yield error(f"the metagraph has {member.axon}, and this machine is {given}", SERVE)
    elif given is None and host not in own:
        private = all(map(is_private, own))
        why = "all its own are private, so it may be behind NAT" if private else f"its own are {', '.join(own)}"
        found = f"the metagraph has {member.axon}, which is no address of this machine; {why}"
        confirm = "where the router forwards the port, say so with --address; else " + SERVE
        yield warning(found, confirm) if private else error(found, SERVE)
    elif is_private(host):
        yield error(f"the metagraph has {member.axon}, a private address that no validator reaches", SERVE)
    else:
        yield ok(f"the metagraph has {member.axon}, which is this machine's")


def split_axon(axon: str) -> tuple[str, int]:
    """Host and port of `ip:port`, IPv6 in brackets; a text of another form has port 0."""
    host, _, number = axon.rpartition(":")
    return host.strip("[]"), int(number) if number.isdecimal() else 0


def is_private(host: str) -> bool:
    """Whether an address is of a network that no other one reaches; a name is none."""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return False


def own_addresses() -> list[str]:
    """Addresses of this machine's interfaces but loopback, IPv4 first."""
    families = {socket.AF_INET: 0, socket.AF_INET6: 1}
    found = [one for many in psutil.net_if_addrs().values() for one in many if one.family in families]
    texts = [one.address.partition("%")[0] for one in sorted(found, key=lambda one: families[one.family])]
    return [
        one for one in texts if not (ipaddress.ip_address(one).is_loopback or ipaddress.ip_address(one).is_link_local)
    ]


def connects(host: str, number: int, seconds: float = SECONDS) -> bool:
    """Whether a TCP connection comes about."""
    try:
        with socket.create_connection((host, number), timeout=seconds):
            return True
    except OSError:
        return False


def _from_outside(host: str | None, own: list[str], number: int) -> Finding:
    ask = f"from another machine: `nc -vz {host or 'ADDRESS'} {number}`"
    if host is None or host in own:
        return not_asked(f"whether port {number} can be reached from outside, only another machine can tell", ask)
    if connects(host, number):
        return ok(f"port {number} answers at {host} too")
    # many routers do not lead a packet back to where it came from
    return warning(
        f"port {number} does not answer at {host} as seen from here", f"forward the port on the router; {ask}"
    )


def _member(context: Context) -> Member | None:
    hotkey = hotkey_of(context)
    return read_metagraph(context).find(hotkey)
