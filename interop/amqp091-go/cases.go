package main

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

type oneCase struct {
	name string
	body func()
}

var cases = []oneCase{
	{"publish-consume", publishConsume},
	{"publisher-confirms", publisherConfirms},
	{"manual-ack", manualAck},
	{"redelivery-after-nack", redeliveryAfterNack},
	{"redelivery-after-connection-loss", redeliveryAfterConnectionLoss},
	{"prefetch", prefetch},
	{"mandatory-return", mandatoryReturn},
	{"headers-round-trip", headersRoundTrip},
	{"empty-body", func() { bodyRoundTrip(nil) }},
	{"large-body", largeBody},
	{"error-404", error404},
	{"error-405", error405},
	{"error-406", error406},
	{"error-403", error403},
	{"login-refused", loginRefused},
	{"consumer-cancel-notification", consumerCancelNotification},
	{"reconnect", reconnect},
}

func publishConsume() {
	connection := connect()
	defer connection.Close()
	channel := open(connection)
	exchange, queue := unique(), unique()
	check(nil, channel.ExchangeDeclare(exchange, "topic", false, true, false, false, nil))
	check(channel.QueueDeclare(queue, false, true, false, false, nil))
	check(nil, channel.QueueBind(queue, "a.*.c", exchange, false, nil))
	sent := amqp.Publishing{
		ContentType: "text/plain", ContentEncoding: "utf-8", DeliveryMode: amqp.Persistent, Priority: 3,
		CorrelationId: "c", ReplyTo: "r", Expiration: "60000", MessageId: "m",
		Timestamp: time.Unix(1700000000, 0), Type: "t", UserId: broker.User.Username(), AppId: "a",
	}
	for number := 0; number < 100; number++ {
		sent.Body = []byte(fmt.Sprint(number))
		check(nil, channel.Publish(exchange, "a.b.c", false, false, sent))
		check(nil, channel.Publish(exchange, "a.b", false, false, sent))
	}
	messages := consume(channel, queue)
	for number := 0; number < 100; number++ {
		message := next(messages)
		equal(string(message.Body), fmt.Sprint(number), "body")
		equal([]string{message.Exchange, message.RoutingKey}, []string{exchange, "a.b.c"}, "origin")
		equal(message.Redelivered, false, "redelivered")
		equal(message.DeliveryTag, uint64(number+1), "delivery tag")
		received := amqp.Publishing{
			ContentType: message.ContentType, ContentEncoding: message.ContentEncoding,
			DeliveryMode: message.DeliveryMode, Priority: message.Priority,
			CorrelationId: message.CorrelationId, ReplyTo: message.ReplyTo, Expiration: message.Expiration,
			MessageId: message.MessageId, Timestamp: message.Timestamp, Type: message.Type,
			UserId: message.UserId, AppId: message.AppId, Body: sent.Body,
		}
		equal(received, sent, "properties")
		check(nil, message.Ack(false))
	}
}

func publisherConfirms() {
	connection := connect()
	defer connection.Close()
	channel := open(connection)
	check(nil, channel.Confirm(false))
	queue := declare(channel, amqp.Table{"x-max-length": 50, "x-overflow": "reject-publish"})
	confirmations := channel.NotifyPublish(make(chan amqp.Confirmation, 51))
	for number := 1; number <= 50; number++ {
		publish(channel, queue, "confirmed")
	}
	for number := uint64(1); number <= 50; number++ {
		equal(next(confirmations), amqp.Confirmation{DeliveryTag: number, Ack: true}, "confirm")
	}
	equal(readyMessages(channel, queue), 50, "messages")
	publish(channel, queue, "one too many")
	equal(next(confirmations), amqp.Confirmation{DeliveryTag: 51, Ack: false}, "a full queue's answer")
}

func manualAck() {
	connection := connect()
	defer connection.Close()
	channel := open(connection)
	queue := declare(channel, nil)
	for number := 0; number < 3; number++ {
		publish(channel, queue, "work")
	}
	messages := consume(channel, queue)
	_, second, third := next(messages), next(messages), next(messages)
	equal(third.DeliveryTag, uint64(3), "delivery tag")
	check(nil, second.Ack(true))
	check(nil, channel.Close())
	channel = open(connection)
	left, _, err := channel.Get(queue, false)
	check(nil, err)
	equal(left.Redelivered, true, "redelivered")
	equal(left.MessageCount, uint32(0), "messages left")
	check(nil, left.Ack(false))
	check(nil, channel.Close())
	isEmpty(connection, queue, "something after the last acknowledgement")
}

func redeliveryAfterNack() {
	connection := connect()
	defer connection.Close()
	channel := open(connection)
	queue := declare(channel, nil)
	publish(channel, queue, "again")
	messages := consume(channel, queue)
	message := next(messages)
	equal(message.Redelivered, false, "first delivery")
	check(nil, message.Nack(false, true))
	message = next(messages)
	equal(message.Redelivered, true, "second delivery")
	check(nil, message.Reject(true))
	message = next(messages)
	equal(message.Redelivered, true, "third delivery")
	equal(string(message.Body), "again", "body")
	check(nil, message.Nack(false, false))
	check(nil, channel.Close())
	isEmpty(connection, queue, "something after nack without requeue")
}

func redeliveryAfterConnectionLoss() {
	connection, relay := connect(), openRelay()
	defer connection.Close()
	defer relay.close()
	channel := open(connection)
	queue := must(channel.QueueDeclare(unique(), false, false, false, false, nil)).Name
	publish(channel, queue, "survives")
	lost := must(amqp.Dial(brokerURL(relay.port(), "")))
	equal(next(consume(open(lost), queue)).Redelivered, false, "first delivery")
	relay.cut()
	message := next(consume(channel, queue))
	equal(message.Redelivered, true, "after the loss")
	equal(string(message.Body), "survives", "body")
	check(nil, message.Ack(false))
	check(channel.QueueDelete(queue, false, false, false))
}

func prefetch() {
	connection := connect()
	defer connection.Close()
	channel := open(connection)
	queue := declare(channel, nil)
	for number := 0; number < 5; number++ {
		publish(channel, queue, fmt.Sprint(number))
	}
	check(nil, channel.Qos(2, 0, false))
	messages := consume(channel, queue)
	first := next(messages)
	next(messages)
	equal(readyMessages(channel, queue), 3, "messages held back")
	check(nil, first.Ack(false))
	equal(string(next(messages).Body), "2", "body of one more")
	equal(readyMessages(channel, queue), 2, "messages held back")
}

func mandatoryReturn() {
	connection := connect()
	defer connection.Close()
	channel := open(connection)
	check(nil, channel.Confirm(false))
	returns := channel.NotifyReturn(make(chan amqp.Return, 1))
	confirmations := channel.NotifyPublish(make(chan amqp.Confirmation, 1))
	nowhere := unique()
	sent := amqp.Publishing{Headers: amqp.Table{"h": int32(1)}, MessageId: "m", Body: []byte("back")}
	check(nil, channel.Publish("", nowhere, true, false, sent))
	equal(next(confirmations), amqp.Confirmation{DeliveryTag: 1, Ack: true}, "confirm")
	select {
	case returned := <-returns:
		equal(returned, amqp.Return{
			ReplyCode: 312, ReplyText: "NO_ROUTE", RoutingKey: nowhere,
			Headers: sent.Headers, MessageId: sent.MessageId, Body: sent.Body,
		}, "basic.return")
	default:
		panic("the confirm came before the return")
	}
}

func headersRoundTrip() {
	headers := amqp.Table{
		"boolean": true, "other boolean": false,
		"int8": int8(-128), "uint8": byte(255), "int16": int16(-32768), "uint16": uint16(65535),
		"int32": int32(-2147483648), "uint32": uint32(4294967295), "int64": int64(-(1 << 62)),
		"float": float32(2.5), "double": 2.25, "decimal": amqp.Decimal{Scale: 2, Value: 314},
		"text": "Grüße", "octets": []byte{0, 1, 127, 128, 255}, "timestamp": time.Unix(1700000000, 0),
		"nothing": nil, "array": []any{int32(1), "two", nil, []any{float32(3.5), true}, amqp.Table{"deep": int64(1)}},
		"table": amqp.Table{"nested": amqp.Table{"deepest": int32(-1)}, "empty": amqp.Table{}},
		"":      "an empty key", strings.Repeat("k", 255): "the longest key",
	}
	connection := connect()
	defer connection.Close()
	channel := open(connection)
	queue := declare(channel, nil)
	check(nil, channel.Publish("", queue, false, false, amqp.Publishing{Headers: headers}))
	equal(next(consume(channel, queue)).Headers, headers, "headers")
}

func largeBody() {
	body := make([]byte, 8*1024*1024)
	check(rand.Read(body))
	bodyRoundTrip(body)
}

func bodyRoundTrip(body []byte) {
	connection := connect()
	defer connection.Close()
	channel := open(connection)
	queue := declare(channel, nil)
	check(nil, channel.Publish("", queue, false, false, amqp.Publishing{Body: body}))
	if received := next(consume(channel, queue)).Body; !bytes.Equal(received, body) {
		panic(fmt.Sprintf("%d octets went out, others came back", len(body)))
	}
}

func error404() {
	connection, missing := connect(), unique()
	defer connection.Close()
	refused(connection, 404, noQueue(missing), func(channel *amqp.Channel) {
		_, _ = channel.QueueDeclarePassive(missing, false, false, false, false, nil)
	})
	refused(connection, 404, noQueue(missing), func(channel *amqp.Channel) {
		_, _ = channel.Consume(missing, "", false, false, false, false, nil)
	})
	refused(connection, 404, noExchange(missing), func(channel *amqp.Channel) {
		_ = channel.Publish(missing, "key", false, false, amqp.Publishing{})
	})
}

func error405() {
	owner, other := connect(), connect()
	defer owner.Close()
	defer other.Close()
	queue := declare(open(owner), nil)
	refused(other, 405, locked(queue), func(channel *amqp.Channel) {
		_, _ = channel.QueueDeclare(queue, false, false, true, false, nil)
	})
	refused(other, 405, locked(queue), func(channel *amqp.Channel) {
		_, _ = channel.Consume(queue, "", false, false, false, false, nil)
	})
}

func error406() {
	connection := connect()
	defer connection.Close()
	channel := open(connection)
	queue := must(channel.QueueDeclare(unique(), true, false, false, false, nil)).Name
	refused(connection, 406, otherDurability(queue), func(channel *amqp.Channel) {
		_, _ = channel.QueueDeclare(queue, false, false, false, false, nil)
	})
	refused(connection, 406, unknownDeliveryTag(42), func(channel *amqp.Channel) {
		_ = channel.Ack(42, false)
	})
	check(channel.QueueDelete(queue, false, false, false))
}

func error403() {
	connection, reserved := connect(), "amq."+unique()
	defer connection.Close()
	refused(connection, 403, reservedName(reserved), func(channel *amqp.Channel) {
		_, _ = channel.QueueDeclare(reserved, false, false, false, false, nil)
	})
	channel := open(connection)
	queue := declare(channel, nil)
	check(channel.Consume(queue, "", false, true, false, false, nil))
	refused(connection, 403, exclusiveUse(queue), func(channel *amqp.Channel) {
		_, _ = channel.Consume(queue, "", false, false, false, false, nil)
	})
}

func loginRefused() {
	_, err := amqp.Dial(brokerURL("", "wrong"))
	var refusal *amqp.Error
	if !errors.As(err, &refusal) {
		panic(fmt.Sprintf("expected a refusal, found %v", err))
	}
	equal(refusal.Code, 403, "reply code")
}

func consumerCancelNotification() {
	connection, other := connect(), connect()
	defer connection.Close()
	defer other.Close()
	channel := open(connection)
	queue := must(channel.QueueDeclare(unique(), false, false, false, false, nil)).Name
	cancelled := channel.NotifyCancel(make(chan string, 1))
	check(channel.Consume(queue, "mine", false, false, false, false, nil))
	check(open(other).QueueDelete(queue, false, false, false))
	equal(next(cancelled), "mine", "cancelled consumer")
	declare(channel, nil)
}

// reconnect leaves it to the client to restore its connection, channel, queue and consumer.
func reconnect() {
	publisher, relay := connect(), openRelay()
	defer publisher.Close()
	defer relay.close()
	often := &amqp.ReconnectionConfig{MaxRetryCount: 50, RetryInterval: 50 * time.Millisecond}
	connection := must(amqp.DialConfig(brokerURL(relay.port(), ""), amqp.Config{
		Recovery: &amqp.Recovery{
			ReconnectionConfig: often,
			ConnectionRecovery: &amqp.DefaultConnectionRecovery{},
			TopologyRecovery:   &amqp.DefaultTopologyRecovery{},
		},
	}))
	defer connection.Close()
	states := make(chan *amqp.StateChanged, 16)
	connection.NotifyStateChange(states)
	channel := open(connection)
	queue := declare(channel, nil)
	messages := consume(channel, queue)
	relay.cut()
	for next(states).To != amqp.StateOpen {
	}
	publish(open(publisher), queue, "after")
	equal(string(next(messages).Body), "after", "body")
}
