'use strict';
// A TCP relay on a free port whose connections can be cut, as a failing network would.

const net = require('node:net');

class Relay {
  constructor(host, port) {
    this.sockets = new Set();
    this.listener = net.createServer((client) => {
      const server = net.connect(port, host);
      for (const [source, sink] of [[client, server], [server, client]]) {
        this.sockets.add(source);
        source.on('error', () => {});
        source.on('close', () => this.sockets.delete(source));
        source.pipe(sink);
      }
    });
  }

  open() {
    return new Promise((resolve) => {
      this.listener.listen(0, '127.0.0.1', () => resolve(this.listener.address().port));
    });
  }

  /** Resets every connection that passes through; new ones are welcome. */
  cut() {
    for (const socket of this.sockets) socket.resetAndDestroy();
    this.sockets.clear();
  }

  close() {
    this.listener.close();
    this.cut();
  }
}

module.exports = { Relay };
