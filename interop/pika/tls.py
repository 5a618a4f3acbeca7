"""pika over TLS: the cases of `tests/interop/tls.rs`. Arguments: port, our certificates, a stranger's."""

import ssl
import sys

import pika
from pika.exceptions import AMQPError

from cases import Cases, equal, unique

cases = Cases()
BODY = b"0123456789abcdef" * 20_000


def context(authority, certificate=None):
    made = ssl.create_default_context(cafile=f"{authority}/ca_certificate.pem")
    if certificate:
        made.load_cert_chain(f"{certificate}/client_certificate.pem", f"{certificate}/client_key.pem")
    return made


def connect(port, tls, credentials):
    options = pika.SSLOptions(tls, "localhost")
    return pika.BlockingConnection(
        pika.ConnectionParameters("127.0.0.1", port, credentials=credentials, ssl_options=options)
    )


def talk(connection):
    channel = connection.channel()
    queue = channel.queue_declare(unique(), exclusive=True).method.queue
    channel.confirm_delivery()
    channel.basic_publish("", queue, BODY)
    _, _, body = channel.basic_get(queue, auto_ack=True)
    equal(body, BODY, "body")
    connection.close()


def refused(port, tls, credentials):
    try:
        connect(port, tls, credentials)
    except (AMQPError, ssl.SSLError, OSError):
        return
    raise AssertionError("not refused")


@cases.case("without-certificate")
def without_certificate(port, ours, strange):
    password = pika.PlainCredentials("CN=client,O=Leveret", "secret")
    talk(connect(port, context(ours), password))


@cases.case("with-certificate")
def with_certificate(port, ours, strange):
    talk(connect(port, context(ours, ours), pika.credentials.ExternalCredentials()))


@cases.case("server-of-a-stranger")
def server_of_a_stranger(port, ours, strange):
    refused(port, context(strange, ours), pika.credentials.ExternalCredentials())


@cases.case("client-of-a-stranger")
def client_of_a_stranger(port, ours, strange):
    refused(port, context(ours, strange), pika.credentials.ExternalCredentials())


cases.run(int(sys.argv[1]), sys.argv[2], sys.argv[3])
