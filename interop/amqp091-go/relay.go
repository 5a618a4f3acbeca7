package main

import (
	"io"
	"net"
	"sync"
)

// relay is a TCP relay on a free port whose connections can be cut, as a failing network would.
type relay struct {
	listener net.Listener
	lock     sync.Mutex
	sockets  []*net.TCPConn
}

func openRelay() *relay {
	opened := &relay{listener: must(net.Listen("tcp", "127.0.0.1:0"))}
	go opened.accept()
	return opened
}

func (r *relay) port() string {
	_, port, _ := net.SplitHostPort(r.listener.Addr().String())
	return port
}

// cut resets every connection that passes through; new ones are welcome.
func (r *relay) cut() {
	r.lock.Lock()
	defer r.lock.Unlock()
	for _, socket := range r.sockets {
		_ = socket.SetLinger(0)
		_ = socket.Close()
	}
	r.sockets = nil
}

func (r *relay) close() {
	_ = r.listener.Close()
	r.cut()
}

func (r *relay) accept() {
	for {
		client, err := r.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", broker.Host)
		if err != nil {
			_ = client.Close()
			continue
		}
		r.lock.Lock()
		r.sockets = append(r.sockets, client.(*net.TCPConn), server.(*net.TCPConn))
		r.lock.Unlock()
		go pump(client, server)
		go pump(server, client)
	}
}

func pump(source, sink net.Conn) {
	_, _ = io.Copy(sink, source)
	_ = sink.(*net.TCPConn).CloseWrite()
}
