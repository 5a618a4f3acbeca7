package interop;

/** RabbitMQ's reply texts, letter by letter. */
final class Texts {
    static final String LOGIN_REFUSED = "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. "
            + "For details see the broker logfile.";

    private Texts() {
    }

    static String noQueue(String name) {
        return "NOT_FOUND - no queue '" + name + "' in vhost '/'";
    }

    static String noExchange(String name) {
        return "NOT_FOUND - no exchange '" + name + "' in vhost '/'";
    }

    static String locked(String name) {
        return "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '" + name + "' in vhost '/'. "
                + "It could be originally declared on another connection or the exclusive property value "
                + "does not match that of the original declaration.";
    }

    static String otherDurability(String name) {
        return "PRECONDITION_FAILED - inequivalent arg 'durable' for queue '" + name + "' in vhost '/': "
                + "received 'false' but current is 'true'";
    }

    static String unknownDeliveryTag(long tag) {
        return "PRECONDITION_FAILED - unknown delivery tag " + tag;
    }

    static String reservedName(String name) {
        return "ACCESS_REFUSED - queue name '" + name + "' contains reserved prefix 'amq.*'";
    }

    static String exclusiveUse(String name) {
        return "ACCESS_REFUSED - queue '" + name + "' in vhost '/' in exclusive use";
    }
}
