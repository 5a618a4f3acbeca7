"""Looks into the broker on localhost between and after the documents' examples: `check.py QUESTION`."""

import sys
import time

import pika

LIMIT_S = 20


def main(question):
    parameters = pika.ConnectionParameters("127.0.0.1")
    with pika.BlockingConnection(parameters) as connection:
        QUESTIONS[question](connection)
    print("as expected")


def durable_and_persistent(connection):
    channel = connection.channel()
    # Declared again with another durability it would be refused.
    ready = channel.queue_declare("task_queue", durable=True).method.message_count
    equal(ready, 1, "messages in task_queue")
    _, properties, body = channel.basic_get("task_queue")
    equal((properties.delivery_mode, body), (2, b"Hello World!"), "delivery mode and body")


def hello_is_empty(connection):
    equal(count_after_consumer(connection, "hello"), 0, "messages in hello")


def publish_another(connection):
    connection.channel().basic_publish("", "hello", b"another")


def first_is_gone(connection):
    """The interrupt may have come between the print and the acknowledgement of the last message only."""
    left = wait_for_consumers(connection, "hello", 0, durable=True).message_count
    if left:
        _, _, body = connection.channel().basic_get("hello", auto_ack=True)
        equal((left, body), (1, b"another"), "what is left")


def message_is_back(connection):
    equal(count_after_consumer(connection, "task_queue"), 1, "messages in task_queue")
    method, _, body = connection.channel().basic_get("task_queue", auto_ack=True)
    equal((method.redelivered, body), (True, b"Hello World!"), "what is back")


def declare_logs(connection):
    channel = connection.channel()
    channel.exchange_declare("logs", "fanout")
    channel.queue_declare("heard")
    channel.queue_bind("heard", "logs")


def print_heard(connection):
    method, _, body = connection.channel().basic_get("heard", auto_ack=True)
    equal(method is not None, True, "a message through logs")
    print("heard", repr(body.decode()))


def publish_to_testq1(connection):
    channel = connection.channel()
    wait_for_consumers(connection, "testq1", 1)
    channel.basic_publish("", "testq1", b"for the old client")


def count_after_consumer(connection, queue):
    """What is ready once the interrupted consumer's connection has gone."""
    return wait_for_consumers(connection, queue, 0).message_count


def wait_for_consumers(connection, queue, count, durable=False):
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        channel = connection.channel()
        # The example declares the queue in the same way: whoever comes first, it is the same queue.
        found = channel.queue_declare(queue, durable=durable).method
        channel.close()
        if found.consumer_count == count:
            return found
        connection.process_data_events(time_limit=0.02)
    raise AssertionError(f"{queue}: not {count} consumers within {LIMIT_S} s")


def equal(actual, expected, what):
    if actual != expected:
        raise AssertionError(f"{what}: expected {expected!r}, found {actual!r}")


QUESTIONS = {
    "durable-and-persistent": durable_and_persistent,
    "hello-is-empty": hello_is_empty,
    "publish-another": publish_another,
    "first-is-gone": first_is_gone,
    "message-is-back": message_is_back,
    "declare-logs": declare_logs,
    "print-heard": print_heard,
    "publish-to-testq1": publish_to_testq1,
}

main(sys.argv[1])
