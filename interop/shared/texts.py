"""RabbitMQ's reply texts, letter by letter, as the programs expect them."""

LOGIN_REFUSED = (
    "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. "
    "For details see the broker logfile."
)


def no_queue(queue):
    return f"NOT_FOUND - no queue '{queue}' in vhost '/'"


def no_exchange(exchange):
    return f"NOT_FOUND - no exchange '{exchange}' in vhost '/'"


def locked(queue):
    return (
        f"RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '{queue}' in vhost '/'. "
        "It could be originally declared on another connection or the exclusive property value "
        "does not match that of the original declaration."
    )


def other_durability(queue):
    return (
        f"PRECONDITION_FAILED - inequivalent arg 'durable' for queue '{queue}' in vhost '/': "
        "received 'false' but current is 'true'"
    )


def unknown_delivery_tag(tag):
    return f"PRECONDITION_FAILED - unknown delivery tag {tag}"


def reserved_name(queue):
    return f"ACCESS_REFUSED - queue name '{queue}' contains reserved prefix 'amq.*'"


def exclusive_use(queue):
    return f"ACCESS_REFUSED - queue '{queue}' in vhost '/' in exclusive use"
