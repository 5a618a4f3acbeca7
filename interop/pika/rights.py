"""RabbitMQ's table of rights, row by row, with pika: `rights.py AMQP_URL MANAGEMENT_URL`.

Each operation is tried by a user with no right, with each right alone, and with all three. The outcome is
either that it works, or the refusal of the first right that is missing, in the server's words. The same
program holds on RabbitMQ (`interop/oracle/rights`), whose words before 3.12 do not name the right.
"""

import re
import sys

from pika.exceptions import AMQPConnectionError, ChannelClosedByBroker, ConnectionClosedByBroker

import managed

AMQP, MANAGEMENT = sys.argv[1:3]
HOST = "rights"
USER = "mallory"
GRANTS = {
    "none": ("", "", ""),
    "configure": (".*", "", ""),
    "write": ("", ".*", ""),
    "read": ("", "", ".*"),
    "all": (".*", ".*", ".*"),
}


def manage(method, path, body=None):
    managed.manage(MANAGEMENT, method, path, body)


def connect(user):
    return managed.connect(AMQP, user, HOST)


def grant(rights):
    configure, write, read = rights
    manage("PUT", f"permissions/{HOST}/{USER}", {"configure": configure, "write": write, "read": read})


class Need:
    """A right that an operation asks for."""

    def __init__(self, right, kind, name):
        self.right, self.kind, self.name = right, kind, name

    def refusal(self, names_right):
        which = f"{self.right} access" if names_right else "access"
        name = self.name if self.name.startswith("(?:") else re.escape(self.name)
        return (403, f"ACCESS_REFUSED - {which} to {self.kind} '{name}' in vhost '{HOST}' "
                     f"refused for user '{USER}'")


def queue(right, name="q"):
    return Need(right, "queue", name)


def exchange(right, name="x"):
    return Need(right, "exchange", name)


GENERATED = r"(?:amq\.gen-[-_A-Za-z0-9]{22})"
ALTERNATE = {"alternate-exchange": "y"}
DEAD = {"x-dead-letter-exchange": "y"}


def declare_exchange(name, arguments=None, passive=False):
    return lambda channel: channel.exchange_declare(
        name, "topic", passive=passive, durable=True, arguments=arguments)


def declare_queue(name, arguments=None, passive=False):
    return lambda channel: channel.queue_declare(
        name, passive=passive, durable=True, exclusive=name == "", arguments=arguments)


def publish(to, key):
    def request(channel):
        channel.confirm_delivery()
        channel.basic_publish(to, key, b"body")
    return request


def take_and_settle(channel):
    """What asks for no right: it works on what was taken with one."""
    channel.basic_qos(prefetch_count=1)
    channel.basic_recover(requeue=True)
    channel.tx_select()
    channel.tx_commit()
    channel.tx_rollback()


def reply_consumer(channel):
    channel.basic_consume("amq.rabbitmq.reply-to", lambda *_: None, auto_ack=True)


# What is done, how, and the rights that it asks for, in the order in which they are asked for.
OPERATIONS = [
    ("declare a new exchange", declare_exchange("new-x"), [exchange("configure", "new-x")]),
    ("declare an exchange that is there", declare_exchange("x"), [exchange("configure")]),
    ("declare an exchange passively", declare_exchange("x", passive=True), []),
    ("declare a new exchange with an alternate", declare_exchange("new-ae", ALTERNATE),
     [exchange("configure", "new-ae"), exchange("read", "new-ae"), exchange("write", "y")]),
    ("declare one with an alternate that is there", declare_exchange("with-ae", ALTERNATE),
     [exchange("configure", "with-ae")]),
    ("delete an exchange", lambda channel: channel.exchange_delete("old-x"), [exchange("configure", "old-x")]),
    ("delete an exchange that is not there", lambda channel: channel.exchange_delete("nothing"),
     [exchange("configure", "nothing")]),
    ("bind an exchange", lambda channel: channel.exchange_bind("y", "x", "k"),
     [exchange("write", "y"), exchange("read", "x")]),
    ("unbind an exchange", lambda channel: channel.exchange_unbind("y", "x", "k"),
     [exchange("write", "y"), exchange("read", "x")]),
    ("declare a new queue", declare_queue("new-q"), [queue("configure", "new-q")]),
    ("declare a queue that is there", declare_queue("q"), [queue("configure")]),
    ("declare a queue that the server names", declare_queue(""), [queue("configure", GENERATED)]),
    ("declare a queue passively", declare_queue("q", passive=True), []),
    ("declare a new queue with dead letters", declare_queue("new-dlx", DEAD),
     [queue("configure", "new-dlx"), queue("read", "new-dlx"), exchange("write", "y")]),
    ("declare one with dead letters that is there", declare_queue("with-dlx", DEAD),
     [queue("configure", "with-dlx")]),
    ("delete a queue", lambda channel: channel.queue_delete("old-q"), [queue("configure", "old-q")]),
    ("delete a queue that is not there", lambda channel: channel.queue_delete("nothing"),
     [queue("configure", "nothing")]),
    ("bind a queue", lambda channel: channel.queue_bind("q", "x", "k"), [queue("write"), exchange("read")]),
    ("unbind a queue", lambda channel: channel.queue_unbind("q", "x", "k"), [queue("write"), exchange("read")]),
    ("purge a queue", lambda channel: channel.queue_purge("q"), [queue("read")]),
    ("get a message", lambda channel: channel.basic_get("q"), [queue("read")]),
    ("consume", lambda channel: channel.basic_consume("q", lambda *_: None), [queue("read")]),
    ("consume direct replies", reply_consumer, []),
    ("publish to an exchange", publish("x", "k"), [exchange("write")]),
    ("publish to one that is not there", publish("nothing", "k"), [exchange("write", "nothing")]),
    ("publish to the default exchange", publish("", "q"), [exchange("write", "amq.default")]),
    ("set a prefetch, recover, use a transaction", take_and_settle, []),
]

# Works only as far as the right is concerned: then the server says that it is not there.
MISSING = {"publish to one that is not there"}


def prepare():
    manage("PUT", f"vhosts/{HOST}", {})
    manage("PUT", "users/guardian", {"password": "guardian", "tags": ""})
    manage("PUT", f"permissions/{HOST}/guardian", {"configure": ".*", "write": ".*", "read": ".*"})
    manage("PUT", f"users/{USER}", {"password": USER, "tags": ""})


def furnish(channel):
    for name in ("new-x", "new-ae"):
        channel.exchange_delete(name)
    for name in ("new-q", "new-dlx"):
        channel.queue_delete(name)
    for name in ("x", "y", "old-x"):
        declare_exchange(name)(channel)
    declare_exchange("with-ae", ALTERNATE)(channel)
    for name in ("q", "old-q"):
        declare_queue(name)(channel)
    declare_queue("with-dlx", DEAD)(channel)


def attempt(connection, request):
    channel = connection.channel()
    try:
        request(channel)
    except ChannelClosedByBroker as closed:
        return (closed.reply_code, closed.reply_text)
    channel.close()
    return None


def check(name, granted, needs, refused, names_right):
    missing = [need for need in needs if granted not in (need.right, "all")]
    if missing:
        code, text = missing[0].refusal(names_right)
        if refused is None or refused[0] != code or not re.fullmatch(text, refused[1]):
            return f"{name}, granted {granted}: expected {code} {text}, found {refused}"
    elif name in MISSING:
        if refused is None or refused[0] != 404:
            return f"{name}, granted {granted}: expected 404, found {refused}"
    elif refused is not None:
        return f"{name}, granted {granted}: {refused}"
    return None


def rights(names_right):
    guardian = connect("guardian")
    faults = []
    for granted, patterns in GRANTS.items():
        grant(patterns)
        for name, request, needs in OPERATIONS:
            furnish(guardian.channel())
            connection = connect(USER)
            fault = check(name, granted, needs, attempt(connection, request), names_right)
            faults.extend([fault] if fault else [])
            connection.close()
    return faults


TOPICS = [
    ("publish", lambda channel, key: publish("x", key)(channel), "write"),
    ("bind", lambda channel, key: channel.queue_bind("q", "x", key), "read"),
    ("unbind", lambda channel, key: channel.queue_unbind("q", "x", key), "read"),
]


def topics(names_right):
    """Keys that begin with the user's name may be written, with the virtual host's read."""
    grant(GRANTS["all"])
    furnish(connect("guardian").channel())
    manage("PUT", f"topic-permissions/{HOST}/{USER}",
           {"exchange": "x", "write": r"^{username}\.", "read": r"^{vhost}\."})
    faults = []
    for name, request, right in TOPICS:
        for key in (f"{USER}.a", f"{HOST}.a", "other"):
            connection = connect(USER)
            refused = attempt(connection, lambda channel: request(channel, key))
            connection.close()
            allowed = key.startswith(USER if right == "write" else HOST)
            which = f"{right} access" if names_right else "access"
            words = (403, f"ACCESS_REFUSED - {which} to topic '{key}' in exchange 'x' in vhost '{HOST}' "
                          f"refused for user '{USER}'")
            if refused != (None if allowed else words):
                faults.append(f"{name} with key {key}: {refused}")
    manage("DELETE", f"topic-permissions/{HOST}/{USER}")
    return faults


def doors():
    """A virtual host without an entry for the user stays closed, and a user's end ends his connections."""
    faults = []
    manage("DELETE", f"permissions/{HOST}/{USER}")
    try:
        connect(USER)
        faults.append("a virtual host was open without a permission")
    except (AMQPConnectionError, ConnectionClosedByBroker) as refused:
        expected = f"NOT_ALLOWED - access to vhost '{HOST}' refused for user '{USER}'"
        found = repr(refused).replace("\\'", "'")
        if expected not in found or "530" not in found:
            faults.append(f"expected 530 {expected}, found {found}")
    grant(GRANTS["all"])
    connection = connect(USER)
    manage("DELETE", f"users/{USER}")
    try:
        while True:
            connection.process_data_events(time_limit=10)
    except ConnectionClosedByBroker as closed:
        expected = (320, f"CONNECTION_FORCED - user '{USER}' is deleted")
        if (closed.reply_code, closed.reply_text) != expected:
            faults.append(f"expected {expected}, found {closed!r}")
    return faults


def main():
    prepare()
    with managed.connect(AMQP, "guardian", HOST) as connection:
        names_right = managed.version(connection) >= (3, 12)
    faults = rights(names_right) + topics(names_right) + doors()
    manage("DELETE", f"vhosts/{HOST}")
    manage("DELETE", "users/guardian")
    for fault in faults:
        print(fault)
    print(f"{len(GRANTS) * len(OPERATIONS)} rows of rights, {3 * len(TOPICS)} of topics: {len(faults)} faults")
    sys.exit(1 if faults else 0)


main()
