"""Asks an IKE daemon for everything that VICI has, with the library that others use, and prints what it answers.

Each line is a step, the path of a key, and its value; what differs between any two runs of one daemon is replaced by what
it is. The daemon has a connection 'home' with a child 'net', its peer answers, and nothing else is loaded.
"""
import socket
import sys

from vici import Session
from vici.exception import CommandException, EventUnknownException, SessionException
from vici.protocol import FiniteStream, Message

from told import lines, text


class Recorder(Session):
    """The library's session, which lets one see the answers that it turns into exceptions."""

    def _communicate(self, packet):
        answer = super()._communicate(packet)
        self.answer = answer.payload.getvalue()[answer.payload.tell():]
        return answer


def connect():
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(sys.argv[1])
    sock.settimeout(30)
    return Recorder(sock)


session = connect()


def show(step, value):
    for path, said in lines(step, value):
        print(f"{path} = {said}")


def ask(step, command, message=None):
    try:
        show(step, session.request(command, message))
    except CommandException:
        show(step, dict(Message.deserialize(FiniteStream(session.answer))))
    except SessionException as error:
        show(step, {"refused": "as no command" if "unexpected" in str(error).lower() else text(error)})


def stream(step, command, event, message=None):
    try:
        events = [dict(event) for event in session.streamed_request(command, event, message)]
    except CommandException as error:
        show(step, {"success": "no"})
        return
    # charon lists what it keeps in hash tables.
    events.sort(key=lambda event: sorted(event.keys()))
    show(step, {"events": str(len(events))})
    for event in events:
        show(step, event)


# What the daemon is.
ask("version", "version")
ask("stats", "stats")
ask("algorithms", "get-algorithms")

# What is loaded, and what cannot be.
ask("conns", "get-conns")
stream("list-conns", "list-conns", "list-conn")
stream("list-conns-named", "list-conns", "list-conn", {"ike": "nobody"})
ask("load-conn-nothing", "load-conn", {})
ask("load-conn-unknown-key", "load-conn", {"x": {"no_such_key": "yes"}})
ask("load-conn-bad-value", "load-conn", {"x": {"encap": "perhaps"}})
ask("load-conn-list-for-value", "load-conn", {"x": {"encap": ["yes"]}})
ask("load-conn-bad-proposal", "load-conn", {"x": {"proposals": ["aes128-rot13"]}})
extra = {
    "local_addrs": ["192.0.2.77"], "remote_addrs": ["192.0.2.78", "2001:db8::/64"], "version": "2", "mobike": "no",
    "proposals": ["aes128-sha256-modp2048", "default"], "rekey_time": "2h", "dpd_delay": "30", "unique": "never",
    "local-b": {"auth": "psk", "id": "b.test"}, "remote": {"auth": "eap-md5", "id": "%any", "eap_id": "%any"},
    "local-a": {"auth": "psk", "id": "a.test", "round": "2"},
    "children": {
        "one": {"local_ts": ["10.5.0.0/24[253/40443]", "fd05::/64"], "remote_ts": ["dynamic"], "rekey_bytes": "5000000",
                "dpd_action": "restart", "close_action": "trap", "esp_proposals": ["aes128gcm16"]},
        "pass": {"mode": "pass", "local_ts": ["10.6.0.0/24"], "remote_ts": ["10.7.0.0/24"]},
    },
}
ask("load-conn", "load-conn", {"extra": extra})
ask("load-conn-again", "load-conn", {"extra": extra})
stream("list-conns-extra", "list-conns", "list-conn", {"ike": "extra"})
ask("unload-conn-unknown", "unload-conn", {"name": "nobody"})
ask("unload-conn-nothing", "unload-conn", {})

ask("load-pool", "load-pool", {"p": {"addrs": "10.77.0.0/24", "dns": ["10.77.0.1", "fd77::1"], "subnet": ["10.0.0.0/8"]}})
ask("load-pool-range", "load-pool", {"q": {"addrs": "10.78.0.5-10.78.0.9"}})
ask("load-pool-nothing", "load-pool", {"r": {}})
ask("load-pool-bad", "load-pool", {"r": {"addrs": "here"}})
ask("load-pool-unknown", "load-pool", {"r": {"addrs": "10.79.0.0/24", "nothing": ["10.0.0.1"]}})
ask("pools", "get-pools")
ask("pools-leases", "get-pools", {"leases": "yes", "name": "q"})
ask("pools-unknown", "get-pools", {"name": "z"})
ask("unload-pool", "unload-pool", {"name": "q"})
ask("unload-pool-unknown", "unload-pool", {"name": "z"})

ask("load-shared", "load-shared", {"id": "one", "type": "ike", "data": "secret", "owners": ["a.test", "192.0.2.9"]})
ask("load-shared-eap", "load-shared", {"id": "two", "type": "EAP", "data": "secret", "owners": ["alice"]})
ask("load-shared-bad-type", "load-shared", {"type": "other", "data": "secret"})
ask("load-shared-no-data", "load-shared", {"type": "ike"})
ask("shared", "get-shared")
ask("unload-shared", "unload-shared", {"id": "two"})
ask("unload-shared-unknown", "unload-shared", {"id": "two"})
ask("unload-shared-nothing", "unload-shared", {})
ask("keys", "get-keys")
ask("load-key-bad", "load-key", {"type": "rsa", "data": "no key"})
ask("load-key-no-type", "load-key", {"data": "no key"})
ask("unload-key-unknown", "unload-key", {"id": "00" * 20})
ask("load-token-nothing", "load-token", {})
ask("load-cert-bad", "load-cert", {"type": "X509", "flag": "NONE", "data": "no certificate"})
ask("load-cert-bad-type", "load-cert", {"type": "X510", "data": "no certificate"})
stream("list-certs", "list-certs", "list-cert")
stream("list-certs-bad", "list-certs", "list-cert", {"type": "X510"})
ask("flush-certs", "flush-certs")
ask("flush-certs-bad", "flush-certs", {"type": "X510"})
ask("authorities", "get-authorities")
stream("list-authorities", "list-authorities", "list-authority")
ask("load-authority-bad", "load-authority", {"ca": {"cacert": "no certificate"}})
ask("load-authority-nothing", "load-authority", {"ca": {"crl_uris": ["http://192.0.2.1/crl"]}})
ask("unload-authority-unknown", "unload-authority", {"name": "ca"})

# What is not there.
ask("no-such-command", "no-such-command")
try:
    list(session.streamed_request("list-sas", "no-such-event"))
except EventUnknownException:
    show("no-such-event", {"refused": "as no event"})
ask("initiate-nothing", "initiate", {})
ask("initiate-unknown", "initiate", {"child": "nobody", "timeout": "1000"})
ask("terminate-nothing", "terminate", {})
ask("terminate-unknown", "terminate", {"ike": "nobody"})
ask("rekey-unknown", "rekey", {"child": "nobody"})
ask("redirect-nothing", "redirect", {"ike": "home"})
ask("redirect-unknown", "redirect", {"ike": "nobody", "gateway": "192.0.2.9"})
ask("install-unknown", "install", {"child": "nobody"})
ask("install-nothing", "install", {})
ask("uninstall-unknown", "uninstall", {"child": "nobody"})
stream("list-sas-none", "list-sas", "list-sa")

stream("list-policies", "list-policies", "list-policy", {"pass": "yes", "drop": "yes", "trap": "yes"})

# An SA.
ask("initiate", "initiate", {"child": "net", "timeout": "20000", "loglevel": "-1"})
stream("list-sas", "list-sas", "list-sa")
stream("list-sas-noblock", "list-sas", "list-sa", {"noblock": "yes", "ike": "home"})
stream("list-sas-other-child", "list-sas", "list-sa", {"child": "other"})
stream("list-sas-other", "list-sas", "list-sa", {"ike": "other"})
ask("counters", "get-counters")
ask("counters-named", "get-counters", {"name": "home"})
ask("counters-unknown", "get-counters", {"name": "nobody"})
ask("counters-all", "get-counters", {"all": "yes"})
ask("terminate-child", "terminate", {"child": "net", "timeout": "20000", "loglevel": "-1"})
ask("initiate-ike", "initiate", {"ike": "home", "timeout": "1000", "loglevel": "-1"})
ask("terminate-ike", "terminate", {"ike": "home", "timeout": "20000", "loglevel": "-1"})
stream("list-sas-after", "list-sas", "list-sa")
ask("reset-counters", "reset-counters")
ask("reset-counters-unknown", "reset-counters", {"name": "nobody"})
ask("counters-reset", "get-counters")

ask("reload-settings", "reload-settings")
ask("unload-conn", "unload-conn", {"name": "extra"})
ask("conns-after", "get-conns")
ask("clear-creds", "clear-creds")
ask("shared-after", "get-shared")
