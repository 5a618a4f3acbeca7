// Command interop runs Go's amqp091-go through the cases of the interoperability suite.
package main

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"reflect"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	timeLimit = 60 * time.Second
	patience  = 20 * time.Second
)

var broker *url.URL

func main() {
	if len(os.Args) == 5 && os.Args[1] == "tls" {
		run(tlsCases(os.Args[2], os.Args[3], os.Args[4]))
	}
	address := os.Getenv("LEVERET_URL")
	if len(os.Args) > 1 {
		address = os.Args[1]
	}
	parsed, err := url.Parse(address)
	if err != nil || parsed.Host == "" {
		fmt.Fprintln(os.Stderr, "usage: program URL, or LEVERET_URL in the environment")
		os.Exit(2)
	}
	broker = parsed
	run(cases)
}

// run ends the program.
func run(cases []oneCase) {
	failures := 0
	for _, one := range cases {
		if problem := outcome(one.body); problem != "" {
			failures++
			fmt.Printf("FAILED %s: %s\n", one.name, strings.ReplaceAll(problem, "\n", " "))
		} else {
			fmt.Printf("ok %s\n", one.name)
		}
	}
	if failures > 0 {
		os.Exit(1)
	}
	os.Exit(0)
}

// outcome is empty when the case held, otherwise why not.
func outcome(body func()) string {
	done := make(chan string, 1)
	go func() {
		defer func() {
			if problem := recover(); problem != nil {
				done <- fmt.Sprint(problem)
				return
			}
			done <- ""
		}()
		body()
	}()
	select {
	case problem := <-done:
		return problem
	case <-time.After(timeLimit):
		return fmt.Sprintf("no answer within %s", timeLimit)
	}
}

// brokerURL is the broker's address, at another port where one is given.
func brokerURL(port string, password string) string {
	if port == "" {
		port = broker.Port()
	}
	if password == "" {
		password, _ = broker.User.Password()
	}
	return fmt.Sprintf("amqp://%s:%s@%s:%s", broker.User.Username(), password, broker.Hostname(), port)
}

func connect() *amqp.Connection {
	return must(amqp.Dial(brokerURL("", "")))
}

func open(connection *amqp.Connection) *amqp.Channel {
	return must(connection.Channel())
}

// unique is a name no other run uses, short enough for every reply text to stay under 252 octets.
func unique() string {
	octets := make([]byte, 6)
	check(rand.Read(octets))
	return "io-" + hex.EncodeToString(octets)
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func check(_ any, err error) {
	if err != nil {
		panic(err)
	}
}

func equal(actual, expected any, what string) {
	if !reflect.DeepEqual(actual, expected) {
		panic(fmt.Sprintf("%s: expected %#v, found %#v", what, expected, actual))
	}
}

// next is what arrives on a Go channel, or a failure when nothing does.
func next[T any](arrivals <-chan T) T {
	select {
	case item, ok := <-arrivals:
		if !ok {
			panic("closed where something should have arrived")
		}
		return item
	case <-time.After(patience):
		panic(fmt.Sprintf("nothing arrived within %s", patience))
	}
}

func declare(channel *amqp.Channel, arguments amqp.Table) string {
	return must(channel.QueueDeclare(unique(), false, false, true, false, arguments)).Name
}

func publish(channel *amqp.Channel, key string, body string) {
	check(nil, channel.Publish("", key, false, false, amqp.Publishing{Body: []byte(body)}))
}

func consume(channel *amqp.Channel, queue string) <-chan amqp.Delivery {
	return must(channel.Consume(queue, "", false, false, false, false, nil))
}

func readyMessages(channel *amqp.Channel, queue string) int {
	return must(channel.QueueDeclarePassive(queue, false, false, false, false, nil)).Messages
}

func isEmpty(connection *amqp.Connection, queue string, what string) {
	_, found, err := open(connection).Get(queue, false)
	check(nil, err)
	equal(found, false, what)
}

// refused expects the channel to be closed with exactly this, and the connection to go on.
func refused(connection *amqp.Connection, code int, text string, request func(*amqp.Channel)) {
	channel := open(connection)
	closed := channel.NotifyClose(make(chan *amqp.Error, 1))
	request(channel)
	reason := next(closed)
	equal(reason.Code, code, "reply code")
	equal(reason.Reason, text, "reply text")
	check(nil, open(connection).Close())
}
