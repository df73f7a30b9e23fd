"""Runs every command of an unmodified swanctl before an IKE daemon, and prints what it says and how it exits.

Each line is a step, the path of a key, and its value; what differs between any two runs with one daemon is replaced by what
it is. The daemon has the connections 'home', whose peer answers, 'road', whose client has an address of the pool 'clients',
and 'mute', whose peer does not answer, and a certificate with its authority.

Its argument is the root file system that swanctl stands in.
"""
import platform
import re
import signal
import subprocess
import sys
import time

from told import name, neutral

ROOT = sys.argv[1]
PROGRAM = ["chroot", ROOT, "swanctl"] if ROOT != "/" else ["swanctl"]

# The number of the system call rt_sigtimedwait, as /proc has it.
WAITING_FOR_A_SIGNAL = {"x86_64": "128", "aarch64": "137"}[platform.machine()]

# What stands in lines about SAs and is another's each time.
NUMBERS = [
    (r"#\d+", "#N"), (r"\b[0-9a-f]{16}_", "SPI_"), (r"\b[0-9a-f]{8}\b", "SPI"), (r"\b\d+s\b", "Ns"),
    (r" +\d+ (bytes|packets)", r" N \1"), (r"reqid \d+", "reqid N"), (r"\[\d+\]", "[N]"),
    # Whether a packet has passed already is the peer's haste.
    (r"packets, +Ns ago", "packets"), (r"expires in \d+ days", "expires in N days"),
]


def show(path, value):
    print(f"{path} = {value}")


def as_shown(step, said, is_about_sas):
    """A listing for people: its indented lines stand below the line before them, and have their first word as a key."""
    path = []
    for line in said.splitlines():
        if not line.strip():
            continue
        depth = (len(line) - len(line.lstrip())) // 2
        for pattern, number in NUMBERS if is_about_sas else NUMBERS[-1:]:
            line = re.sub(pattern, number, line)
        found = re.match(r"([^:\s]+( [\w ]+)?):\s*(.*)$", line.strip()) or re.match(r"(\S+)()\s*(.*)$", line.strip())
        key, value = found.group(1), found.group(3)
        path = path[:depth] + [key]
        show("/".join([step] + path), re.sub(r" +", " ", value))


def as_dumped(step, said):
    """What --raw and --pretty print: sections, lists and values, in one line or in many."""
    path, values = [], []
    said = re.sub(r"(\S+)\s+\{", r" \1{ ", said.replace(" = ", "=")).replace("{", "{ ").replace("}", " } ")
    for token in said.split():
        if token.endswith("{"):
            path.append(name("/".join(path), token[:-1]))
        elif token == "}":
            path.pop()
        elif "=" in token:
            key, _, value = token.partition("=")
            values.append((path + [key], [value]))
        elif values:
            # Values have blanks, too.
            values[-1][1].append(token)
    for path, words in values:
        key, value = path[-1], " ".join(words)
        is_list = value.startswith("[")
        value = "[" + value.strip("[] ") + "]" if is_list else neutral(key, value)
        show("/".join([step] + path), value)


def complaint(step, said):
    """Each line of standard error up to where the daemon's own words begin; charon's usage is swanctl's own."""
    for line in said.splitlines():
        line = re.sub(r"failed: .*", "failed: SENTENCE", line)
        show(f"{step}/complaint", line)


def log(step, said):
    """The lines that a daemon logs are its own: what they are about is compared, and the words of the end."""
    groups = sorted(set(re.findall(r"^\d*\[([A-Z]{3})\]", said, re.M)))
    show(f"{step}/groups", "[" + ", ".join(groups) + "]")
    for line in said.splitlines():
        if not re.match(r"\d*\[[A-Z]{3}\]", line):
            show(f"{step}/end", line)


def run(step, *arguments, shape=as_shown):
    """Runs a command to its end."""
    done = subprocess.run(PROGRAM + list(arguments), capture_output=True, text=True, timeout=30)
    show(f"{step}/exit", done.returncode)
    if done.returncode < 0 or shape is None:
        pass
    elif "--raw" in arguments or "--pretty" in arguments:
        as_dumped(step, done.stdout)
    elif shape is as_shown:
        as_shown(step, done.stdout, is_about_sas=step.startswith("sas"))
    else:
        shape(step, done.stdout)
    complaint(step, done.stderr)


def in_each_form(step, *arguments):
    run(step, *arguments)
    run(f"{step}-raw", *arguments, "--raw")
    run(f"{step}-pretty", *arguments, "--pretty")


class Following:
    """A command that goes on until it is ended."""

    def __init__(self, step, *arguments):
        self.step = step
        # What swanctl prints into a pipe it keeps until it ends, which is soon enough.
        self.process = subprocess.Popen(
            PROGRAM + list(arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        # Once it has registered it does nothing but wait for a signal.
        deadline = time.monotonic() + 10
        while not self.is_waiting() and time.monotonic() < deadline:
            time.sleep(0.01)

    def is_waiting(self):
        with open(f"/proc/{self.process.pid}/syscall") as call:
            return call.read().split()[0] == WAITING_FOR_A_SIGNAL

    def end(self, shape):
        self.process.send_signal(signal.SIGINT)
        said, complained = self.process.communicate(timeout=20)
        show(f"{self.step}/exit", self.process.returncode)
        shape(self.step, said)
        complaint(self.step, complained)


def about_sas(step, said):
    as_shown(step, said, is_about_sas=True)


# What is loaded, what the daemon is, and what it lists of that.
run("load-all", "--load-all", "--noprompt")
run("load-all-raw", "--load-all", "--noprompt", "--raw")
run("load-creds", "--load-creds", "--noprompt")
run("load-creds-clear", "--load-creds", "--noprompt", "--clear")
run("load-conns", "--load-conns")
run("load-pools", "--load-pools")
run("load-authorities", "--load-authorities")
run("load-no-file", "--load-conns", "--file", "/nowhere/swanctl.conf")
run("conns-none", "--list-conns")
run("load-conns-again", "--load-conns")
in_each_form("conns", "--list-conns")
in_each_form("pools", "--list-pools")
in_each_form("pools-leases", "--list-pools", "--leases")
run("pools-named", "--list-pools", "--name", "clients")
run("pools-unknown", "--list-pools", "--name", "nobody")
in_each_form("authorities", "--list-authorities")
run("authorities-named", "--list-authorities", "--name", "lab")
run("authorities-unknown", "--list-authorities", "--name", "nobody")
in_each_form("certs", "--list-certs")
run("certs-short", "--list-certs", "--short", "--utc")
run("certs-pem", "--list-certs", "--pem")
run("certs-subject", "--list-certs", "--subject", "left.test")
run("certs-subject-unknown", "--list-certs", "--subject", "nobody")
for kind in ["x509", "x509_ac", "x509_crl", "ocsp_response", "pubkey", "any", "bad"]:
    run(f"certs-{kind}", "--list-certs", "--type", kind)
for flag in ["none", "ca", "aa", "ocsp", "any", "bad"]:
    run(f"certs-flag-{flag}", "--list-certs", "--type", "x509", "--flag", flag)
run("flush-certs", "--flush-certs")
run("flush-certs-type", "--flush-certs", "--type", "x509_crl", "--raw")
run("algs", "--list-algs")
run("stats", "--stats", shape=None)
run("stats-pretty", "--stats", "--pretty")
run("version", "--version")
run("version-daemon", "--version", "--daemon", "--pretty")
run("reload-settings", "--reload-settings")
run("reload-settings-raw", "--reload-settings", "--raw")
run("help", "--help")
run("unknown-command", "--no-such-command")
run("unknown-option", "--list-sas", "--no-such-option")

# Policies that wait for packets.
run("install-unknown", "--install", "--child", "nobody")
run("install-nothing", "--install")
run("install-of-another", "--install", "--child", "net", "--ike", "mute")
run("uninstall-unknown", "--uninstall", "--child", "nobody")
run("pols-none", "--list-pols")
run("install", "--install", "--child", "later")
run("install-again", "--install", "--child", "later", "--pretty")
run("install-passing", "--install", "--child", "passing", "--ike", "home")
in_each_form("pols", "--list-pols")
run("pols-trap", "--list-pols", "--trap")
run("pols-pass", "--list-pols", "--pass")
run("pols-drop", "--list-pols", "--drop")
run("pols-named", "--list-pols", "--child", "later")
run("uninstall", "--uninstall", "--child", "later")
run("uninstall-again", "--uninstall", "--child", "later")
run("uninstall-passing", "--uninstall", "--child", "passing", "--ike", "home", "--raw")
run("pols-after", "--list-pols")

# What cannot be done to an SA.
run("initiate-nothing", "--initiate", shape=log)
run("initiate-unknown", "--initiate", "--child", "nobody", shape=log)
run("initiate-unknown-raw", "--initiate", "--child", "nobody", "--raw")
run("initiate-of-another", "--initiate", "--child", "net", "--ike", "mute", shape=log)
run("initiate-bad-timeout", "--initiate", "--child", "net", "--timeout", "soon", "--loglevel", "-1", shape=log)
run("terminate-first", "--terminate", "--ike", "home", "--timeout", "20", "--loglevel", "-1", shape=log)
run("terminate-nothing", "--terminate", shape=log)
run("terminate-unknown", "--terminate", "--ike", "nobody", shape=log)
run("terminate-unknown-id", "--terminate", "--child-id", "4000", "--raw")
run("rekey-nothing", "--rekey")
run("rekey-unknown", "--rekey", "--ike", "nobody")
run("rekey-unknown-raw", "--rekey", "--child-id", "4000", "--raw")
run("redirect-nothing", "--redirect", "--ike", "road")
run("redirect-bad", "--redirect", "--ike", "road", "--gateway", "")
run("redirect-unknown", "--redirect", "--ike", "nobody", "--gateway", "192.0.2.9")
run("redirect-unknown-peer", "--redirect", "--peer-ip", "192.0.2.77", "--gateway", "192.0.2.9", "--raw")
in_each_form("sas-of-client", "--list-sas")

# An IKE_SA that is being made.
run("initiate-mute", "--initiate", "--child", "unheard", "--timeout", "1", "--loglevel", "-1", shape=log)
run("sas-mute", "--list-sas", "--ike", "mute")
run("sas-mute-pretty", "--list-sas", "--ike", "mute", "--pretty")
run("rekey-mute", "--rekey", "--ike", "mute")
run("rekey-mute-child", "--rekey", "--child", "unheard")
run("sas-mute-rekeyed", "--list-sas", "--ike", "mute")
run("terminate-mute-child", "--terminate", "--child", "unheard", "--timeout", "1", "--loglevel", "-1", shape=log)
run("terminate-mute", "--terminate", "--ike", "mute", "--force", "--loglevel", "-1", shape=log)
run("sas-mute-after", "--list-sas", "--ike", "mute")

# An SA from its beginning to its end, as those see it who follow what happens.
followed = [Following("log", "--log"), Following("monitor", "--monitor-sa")]
followed_raw = Following("monitor-raw", "--monitor-sa", "--raw")
run("initiate", "--initiate", "--child", "net", "--timeout", "20", shape=log)
in_each_form("sas", "--list-sas", "--ike", "home")
run("sas-child", "--list-sas", "--child", "net", "--noblock")
run("sas-other-child", "--list-sas", "--ike", "home", "--child", "nobody")
run("sas-unknown", "--list-sas", "--ike", "nobody")
run("sas-unknown-id", "--list-sas", "--ike-id", "4000")
run("initiate-quietly", "--initiate", "--child", "second", "--timeout", "20", "--loglevel", "-1", shape=log)
run("initiate-raw", "--initiate", "--child", "third", "--timeout", "20", "--loglevel", "-1", "--raw")
run("sas-children", "--list-sas", "--ike", "home")
run("terminate-child", "--terminate", "--child", "third", "--timeout", "20", "--loglevel", "-1", shape=log)
run("terminate-child-pretty", "--terminate", "--child", "second", "--timeout", "20", "--loglevel", "-1", "--pretty")
run("terminate", "--terminate", "--ike", "home", "--timeout", "20", shape=log)
run("sas-after", "--list-sas", "--ike", "home")
followed_raw.end(as_dumped)
followed[1].end(about_sas)
followed[0].end(log)

# What is counted.
run("counters", "--counters", shape=None)
run("counters-pretty", "--counters", "--pretty")
run("counters-named", "--counters", "--name", "home", shape=None)
run("counters-unknown", "--counters", "--name", "nobody")
run("counters-all", "--counters", "--all", shape=None)
run("counters-reset-unknown", "--counters", "--reset", "--name", "nobody")
run("counters-reset", "--counters", "--reset", "--all")
run("counters-reset-raw", "--counters", "--reset", "--raw")
