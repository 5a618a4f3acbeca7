package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"os"

	amqp "github.com/rabbitmq/amqp091-go"
)

// tlsCases are those of tests/interop/tls.rs. Arguments: port, our certificates, a stranger's.
func tlsCases(port, ours, strange string) []oneCase {
	password := &amqp.PlainAuth{Username: "CN=client,O=Leveret", Password: "secret"}
	external := &amqp.ExternalAuth{}
	return []oneCase{
		{"without-certificate", func() { talkOverTLS(port, trusting(ours, ""), password) }},
		{"with-certificate", func() { talkOverTLS(port, trusting(ours, ours), external) }},
		{"server-of-a-stranger", func() { refusedOverTLS(port, trusting(strange, ours), external) }},
		{"client-of-a-stranger", func() { refusedOverTLS(port, trusting(ours, strange), external) }},
	}
}

func trusting(authority, certificate string) *tls.Config {
	text := must(os.ReadFile(authority + "/ca_certificate.pem"))
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		panic("no certificate of an authority")
	}
	config := &tls.Config{RootCAs: pool, ServerName: "localhost"}
	if certificate != "" {
		pair := must(tls.LoadX509KeyPair(certificate+"/client_certificate.pem", certificate+"/client_key.pem"))
		// Sent whatever authorities the server names.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return &pair, nil
		}
	}
	return config
}

func dialTLS(port string, config *tls.Config, auth amqp.Authentication) (*amqp.Connection, error) {
	return amqp.DialConfig("amqps://127.0.0.1:"+port, amqp.Config{
		SASL:            []amqp.Authentication{auth},
		TLSClientConfig: config,
	})
}

func talkOverTLS(port string, config *tls.Config, auth amqp.Authentication) {
	connection := must(dialTLS(port, config, auth))
	defer connection.Close()
	channel := must(connection.Channel())
	queue := must(channel.QueueDeclare("", false, true, true, false, nil))
	check(nil, channel.Confirm(false))
	body := bytes.Repeat([]byte("0123456789abcdef"), 20000)
	message := amqp.Publishing{Body: body}
	must(channel.PublishWithDeferredConfirm("", queue.Name, false, false, message)).Wait()
	delivery, found, err := channel.Get(queue.Name, true)
	check(nil, err)
	if !found || !bytes.Equal(delivery.Body, body) {
		panic("the message did not come back as it was")
	}
}

func refusedOverTLS(port string, config *tls.Config, auth amqp.Authentication) {
	if _, err := dialTLS(port, config, auth); err == nil {
		panic("not refused")
	}
}
