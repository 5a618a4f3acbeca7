package main

import "fmt"

// RabbitMQ's reply texts, letter by letter.

func noQueue(name string) string {
	return fmt.Sprintf("NOT_FOUND - no queue '%s' in vhost '/'", name)
}

func noExchange(name string) string {
	return fmt.Sprintf("NOT_FOUND - no exchange '%s' in vhost '/'", name)
}

func locked(name string) string {
	return fmt.Sprintf("RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '%s' in vhost '/'. "+
		"It could be originally declared on another connection or the exclusive property value "+
		"does not match that of the original declaration.", name)
}

func otherDurability(name string) string {
	return fmt.Sprintf("PRECONDITION_FAILED - inequivalent arg 'durable' for queue '%s' in vhost '/': "+
		"received 'false' but current is 'true'", name)
}

func unknownDeliveryTag(tag int) string {
	return fmt.Sprintf("PRECONDITION_FAILED - unknown delivery tag %d", tag)
}

func reservedName(name string) string {
	return fmt.Sprintf("ACCESS_REFUSED - queue name '%s' contains reserved prefix 'amq.*'", name)
}

func exclusiveUse(name string) string {
	return fmt.Sprintf("ACCESS_REFUSED - queue '%s' in vhost '/' in exclusive use", name)
}
