"""Drives a daemon with the official Python package `vici`: usage drive.py SOCKET LOCAL REMOTE.

Loads a connection and its secret, initiates with log lines, lists the SAs and follows events. Prints one line
per fact as `key value`; the scenario that runs it checks them.
"""

import socket
import sys
import threading

import vici


def session(path):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.connect(path)
    return vici.Session(sock)


def text(value):
    return value.decode() if isinstance(value, bytes) else value


def follow(path, ready, seen):
    listener = session(path)
    stream = listener.listen(["ike-updown", "child-updown"], timeout=0.1)
    ready.set()
    for name, event in stream:
        if name is None:
            if seen["stop"].is_set():
                return
            continue
        seen["events"].append((text(name), "up" if event.get("up") == b"yes" else "down"))


def main():
    path, local, remote, local_ts, remote_ts = sys.argv[1:6]
    control = session(path)
    version = control.version()
    print("daemon", text(version["daemon"]))
    control.load_shared(
        {"id": "py", "type": "ike", "data": "the quick brown fox", "owners": ["left.example.org", "right.example.org"]}
    )
    print("shared", ",".join(text(k) for k in control.get_shared()["keys"]))
    control.load_conn(
        {
            "py": {
                "version": "2",
                "local_addrs": [local],
                "remote_addrs": [remote],
                "local": {"auth": "psk", "id": "left.example.org"},
                "remote": {"auth": "psk", "id": "right.example.org"},
                "children": {"net": {"local_ts": [local_ts], "remote_ts": [remote_ts]}},
            }
        }
    )
    print("conns", ",".join(text(c) for c in control.get_conns()["conns"]))
    for conn in control.list_conns():
        for name in conn:
            print("listed", name)

    seen = {"events": [], "stop": threading.Event()}
    ready = threading.Event()
    follower = threading.Thread(target=follow, args=(path, ready, seen))
    follower.start()
    ready.wait()
    # The listener subscribes when it is first iterated; give it that moment.
    seen["stop"].wait(0.5)

    for line in control.initiate({"child": "net", "ike": "py", "timeout": "10000"}):
        print("log", text(line["group"]), text(line["msg"]))
    for sa in control.list_sas():
        for name, ike in sa.items():
            print("sa", name, text(ike["state"]))
            for child in ike["child-sas"].values():
                print("child", text(child["name"]), text(child["state"]), text(child["spi-in"]))

    counted = [control.get_counters(), control.get_counters({"name": "py"}), control.get_counters({"all": "yes"})]
    for counters in counted:
        for name, values in counters["counters"].items():
            print("counters '%s'" % name, len(values), text(values["ike-auth-in-resp"]))
    control.reset_counters()
    print("reset", text(control.get_counters()["counters"][""]["ike-init-out-req"]))
    control.install({"child": "net", "ike": "py"})
    print("installed", sum(1 for _ in control.list_policies({"trap": "yes"})))
    control.uninstall({"child": "net"})
    try:
        control.uninstall({"child": "net"})
    except vici.exception.CommandException as error:
        print("refused", error)

    try:
        control.load_conn({"broken": {"remote_addr": ["192.0.2.9"]}})
    except vici.exception.CommandException as error:
        print("refused", error)
    try:
        for _ in control.initiate({"child": "nosuch"}):
            pass
    except vici.exception.CommandException as error:
        print("refused", error)

    control.load_pool({"rw": {"addrs": "10.77.0.0/28", "dns": ["10.77.0.14"], "25": ["example.org"]}})
    for name, pool in control.get_pools({"leases": "yes"}).items():
        print("pool", name, "size", text(pool["size"]), "leases", len(pool["leases"]))
    try:
        control.load_pool({"rw": {"addrs": "10.77.0.0/28", "dsn": ["10.77.0.14"]}})
    except vici.exception.CommandException as error:
        print("refused", error)
    control.unload_pool({"name": "rw"})
    print("pools", len(control.get_pools()))

    for _ in control.terminate({"ike": "py"}):
        pass
    seen["stop"].wait(0.5)
    seen["stop"].set()
    follower.join()
    for name, direction in seen["events"]:
        print("event", name, direction)
    control.unload_conn({"name": "py"})
    print("left", len(control.get_conns()["conns"]))


main()
