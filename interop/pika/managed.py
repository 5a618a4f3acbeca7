"""A broker that is administered over its management API while pika uses it."""

import base64
import json
import urllib.parse
import urllib.request

import pika


def manage(management, method, path, body=None):
    url = urllib.parse.urlsplit(management)
    request = urllib.request.Request(f"{url.scheme}://{url.hostname}:{url.port}/api/{path}", method=method)
    name = f"{url.username or 'guest'}:{url.password or 'guest'}"
    request.add_header("Authorization", "Basic " + base64.b64encode(name.encode()).decode())
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, timeout=30) as answer:
        if answer.status not in (200, 201, 204):
            raise AssertionError(f"{method} {path}: {answer.status}")


def connect(amqp, user, virtual_host):
    """A connection of a user whose password is his name."""
    url = urllib.parse.urlsplit(amqp)
    return pika.BlockingConnection(pika.ConnectionParameters(
        url.hostname, url.port, virtual_host, pika.PlainCredentials(user, user)))


def version(connection):
    """Of RabbitMQ, or the one that the broker behaves as: two numbers."""
    words = connection._impl.server_properties["version"].split(".")
    return tuple(int(word) for word in words[:2])
