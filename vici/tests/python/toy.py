"""Drives examples/toy_daemon with the official Python package `vici`: usage toy.py SOCKET."""

import socket
import sys
import threading

import vici


def connect():
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(20)
    sock.connect(sys.argv[1])
    return vici.Session(sock)


session = connect()
assert session.version() == {"daemon": b"toy", "version": b"1.0"}

sas = list(session.list_sas({"count": "500"}))
assert len(sas) == 500
assert sas[499]["gw"]["child-sas"]["net-500"]["local-ts"] == [b"10.0.0.0/24"]
assert list(session.list_sas({"count": "0"})) == []

assert [log["msg"] for log in session.initiate({"child": "net"})] == [b"sending", b"receiving", b"established"]

# the package's own load_conn raises if the answer is not a success
session.load_conn({"gw": {"version": "2", "remote_addrs": ["192.0.2.1"], "children": {"net": {"local_ts": []}}}})
try:
    session.load_conn({})
    raise SystemExit("a failure was taken for a success")
except vici.exception.CommandException as error:
    assert "nothing to load" in str(error), error

try:
    session.get_pools({})
    raise SystemExit("an unknown command was taken for a known one")
except vici.exception.SessionException as error:
    assert "2" in str(error), error

# events on one connection while others work
ticks = []
for label, event in connect().listen(["log"]):
    assert label == "log" or label == b"log", label
    ticks.append(event["msg"])
    if len(ticks) == 3:
        break
assert all(tick.startswith(b"tick ") for tick in ticks)


def many():
    own = connect()
    for _ in range(50):
        assert len(list(own.list_sas({"count": "20"}))) == 20


threads = [threading.Thread(target=many) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("ok")
