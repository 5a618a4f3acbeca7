'use strict';
// Node's amqplib, its promise API: the cases of the interoperability suite.

const assert = require('node:assert');
const crypto = require('node:crypto');
const amqp = require('amqplib');
const { Relay } = require('./relay');

const TIME_LIMIT_MS = 60000;
const WAIT_MS = 20000;
const broker = new URL(process.argv[2] || process.env.LEVERET_URL);
const cases = [];

const unique = () => `io-${crypto.randomBytes(6).toString('hex')}`;

function url(port = broker.port, password = broker.password) {
  return `amqp://${broker.username}:${password}@${broker.hostname}:${port}`;
}

/** Gives `body` a connection and closes it afterwards, also when the case fails. */
async function connected(body, port) {
  const connection = await amqp.connect(url(port));
  connection.on('error', () => {});
  try {
    return await body(connection);
  } finally {
    await connection.close().catch(() => {});
  }
}

async function relayed(body) {
  const relay = new Relay(broker.hostname, Number(broker.port));
  try {
    return await body(relay, await relay.open());
  } finally {
    relay.close();
  }
}

function within(milliseconds, promise, what) {
  let timer;
  const limit = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`${what}: none within ${milliseconds} ms`)), milliseconds);
  });
  return Promise.race([promise, limit]).finally(() => clearTimeout(timer));
}

/** What arrives by callback, taken one at a time. */
class Arrivals {
  constructor() {
    this.waiting = [];
    this.arrived = [];
    this.push = (item) => {
      const taker = this.waiting.shift();
      if (taker) taker(item);
      else this.arrived.push(item);
    };
  }

  next() {
    if (this.arrived.length) return Promise.resolve(this.arrived.shift());
    return within(WAIT_MS, new Promise((resolve) => this.waiting.push(resolve)), 'arrival');
  }
}

async function consume(channel, queue, options) {
  const messages = new Arrivals();
  messages.tag = (await channel.consume(queue, messages.push, options)).consumerTag;
  return messages;
}

const readyMessages = async (channel, queue) => (await channel.checkQueue(queue)).messageCount;

/** The channel is closed with exactly this, and the connection goes on. */
async function refused(connection, [code, classId, methodId], text, request) {
  const channel = await connection.createConfirmChannel();
  const closed = new Arrivals();
  channel.on('error', closed.push);
  await Promise.resolve(request(channel)).catch(() => {});
  const error = await closed.next();
  assert.deepStrictEqual([error.code, error.classId, error.methodId], [code, classId, methodId]);
  const found = /with message "(.*)"$/.exec(error.message);
  assert.strictEqual(found && found[1], text);
  await (await connection.createChannel()).close();
}

const texts = {
  noQueue: (name) => `NOT_FOUND - no queue '${name}' in vhost '/'`,
  noExchange: (name) => `NOT_FOUND - no exchange '${name}' in vhost '/'`,
  locked: (name) =>
    `RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '${name}' in vhost '/'. ` +
    'It could be originally declared on another connection or the exclusive property value ' +
    'does not match that of the original declaration.',
  otherDurability: (name) =>
    `PRECONDITION_FAILED - inequivalent arg 'durable' for queue '${name}' in vhost '/': ` +
    "received 'false' but current is 'true'",
  unknownDeliveryTag: (tag) => `PRECONDITION_FAILED - unknown delivery tag ${tag}`,
  reservedName: (name) => `ACCESS_REFUSED - queue name '${name}' contains reserved prefix 'amq.*'`,
  exclusiveUse: (name) => `ACCESS_REFUSED - queue '${name}' in vhost '/' in exclusive use`,
};

cases.push(['publish-consume', () => connected(async (connection) => {
  const channel = await connection.createChannel();
  const [exchange, queue] = [unique(), unique()];
  await channel.assertExchange(exchange, 'topic', { durable: false, autoDelete: true });
  await channel.assertQueue(queue, { durable: false, autoDelete: true });
  await channel.bindQueue(queue, exchange, 'a.*.c');
  const properties = {
    contentType: 'text/plain', contentEncoding: 'utf-8', deliveryMode: 2, priority: 3,
    correlationId: 'c', replyTo: 'r', expiration: '60000', messageId: 'm', timestamp: 1700000000,
    type: 't', userId: broker.username, appId: 'a',
  };
  for (let number = 0; number < 100; number += 1) {
    channel.publish(exchange, 'a.b.c', Buffer.from(`${number}`), properties);
    channel.publish(exchange, 'a.b', Buffer.from('elsewhere'), properties);
  }
  const messages = await consume(channel, queue);
  for (let number = 0; number < 100; number += 1) {
    const message = await messages.next();
    assert.strictEqual(message.content.toString(), `${number}`);
    assert.deepStrictEqual({ ...message.fields }, {
      consumerTag: messages.tag, deliveryTag: number + 1, redelivered: false, exchange,
      routingKey: 'a.b.c',
    });
    for (const [key, value] of Object.entries(properties)) {
      assert.strictEqual(message.properties[key], value, key);
    }
    channel.ack(message);
  }
})]);

cases.push(['publisher-confirms', () => connected(async (connection) => {
  const channel = await connection.createConfirmChannel();
  const queue = unique();
  const limits = { 'x-max-length': 50, 'x-overflow': 'reject-publish' };
  await channel.assertQueue(queue, { exclusive: true, arguments: limits });
  for (let number = 0; number < 50; number += 1) channel.sendToQueue(queue, Buffer.from('c'));
  await within(WAIT_MS, channel.waitForConfirms(), 'confirms');
  assert.strictEqual(await readyMessages(channel, queue), 50);
  channel.sendToQueue(queue, Buffer.from('one too many'));
  await assert.rejects(within(WAIT_MS, channel.waitForConfirms(), 'nack'), /nacked/);
})]);

cases.push(['manual-ack', () => connected(async (connection) => {
  const channel = await connection.createChannel();
  const queue = unique();
  await channel.assertQueue(queue, { exclusive: true });
  for (let number = 0; number < 3; number += 1) channel.sendToQueue(queue, Buffer.from('work'));
  const messages = await consume(channel, queue);
  const received = [await messages.next(), await messages.next(), await messages.next()];
  assert.deepStrictEqual(received.map((message) => message.fields.deliveryTag), [1, 2, 3]);
  channel.ack(received[1], true);
  await channel.close();
  const second = await connection.createChannel();
  const left = await second.get(queue);
  assert.deepStrictEqual([left.fields.redelivered, left.fields.messageCount], [true, 0]);
  second.ack(left);
  await second.close();
  assert.strictEqual(await (await connection.createChannel()).get(queue), false);
})]);

cases.push(['redelivery-after-nack', () => connected(async (connection) => {
  const channel = await connection.createChannel();
  const queue = unique();
  await channel.assertQueue(queue, { exclusive: true });
  channel.sendToQueue(queue, Buffer.from('again'));
  const messages = await consume(channel, queue);
  let message = await messages.next();
  assert.strictEqual(message.fields.redelivered, false);
  channel.nack(message, false, true);
  message = await messages.next();
  assert.deepStrictEqual([message.fields.redelivered, `${message.content}`], [true, 'again']);
  channel.reject(message, true);
  message = await messages.next();
  assert.deepStrictEqual([message.fields.redelivered, `${message.content}`], [true, 'again']);
  channel.nack(message, false, false);
  await channel.close();
  assert.strictEqual(await (await connection.createChannel()).get(queue), false);
})]);

cases.push(['redelivery-after-connection-loss', () => connected((connection) => relayed(async (relay, port) => {
  const channel = await connection.createChannel();
  const queue = unique();
  await channel.assertQueue(queue, { durable: false });
  channel.sendToQueue(queue, Buffer.from('survives'));
  const lost = await amqp.connect(url(port));
  const closed = new Arrivals();
  lost.on('error', () => {});
  lost.on('close', closed.push);
  const held = await (await consume(await lost.createChannel(), queue)).next();
  assert.strictEqual(held.fields.redelivered, false);
  relay.cut();
  await closed.next();
  const message = await (await consume(channel, queue)).next();
  assert.deepStrictEqual([message.fields.redelivered, `${message.content}`], [true, 'survives']);
  channel.ack(message);
  await channel.deleteQueue(queue);
}))]);

cases.push(['prefetch', () => connected(async (connection) => {
  const channel = await connection.createChannel();
  const queue = unique();
  await channel.assertQueue(queue, { exclusive: true });
  for (let number = 0; number < 5; number += 1) channel.sendToQueue(queue, Buffer.from(`${number}`));
  await channel.prefetch(2);
  const messages = await consume(channel, queue);
  const first = await messages.next();
  await messages.next();
  assert.deepStrictEqual([await readyMessages(channel, queue), messages.arrived.length], [3, 0]);
  channel.ack(first);
  assert.strictEqual(`${(await messages.next()).content}`, '2');
  assert.deepStrictEqual([await readyMessages(channel, queue), messages.arrived.length], [2, 0]);
})]);

cases.push(['mandatory-return', () => connected(async (connection) => {
  const channel = await connection.createConfirmChannel();
  const returned = new Arrivals();
  const order = [];
  channel.on('return', (message) => { order.push('return'); returned.push(message); });
  const nowhere = unique();
  const options = { mandatory: true, headers: { h: 1 }, messageId: 'm' };
  channel.publish('', nowhere, Buffer.from('back'), options, () => order.push('confirm'));
  await within(WAIT_MS, channel.waitForConfirms(), 'confirm');
  const message = await returned.next();
  assert.deepStrictEqual({ ...message.fields },
    { replyCode: 312, replyText: 'NO_ROUTE', exchange: '', routingKey: nowhere });
  assert.strictEqual(`${message.content}`, 'back');
  assert.deepStrictEqual([{ ...message.properties.headers }, message.properties.messageId], [{ h: 1 }, 'm']);
  assert.deepStrictEqual(order, ['return', 'confirm']);
})]);

cases.push(['headers-round-trip', () => connected(async (connection) => {
  const typed = (type, value) => ({ '!': type, value });
  const sent = {
    boolean: true, 'other boolean': false,
    int8: -128, uint8: typed('uint8', 255), int16: -32768, uint16: typed('uint16', 65535),
    int32: -2147483648, uint32: typed('uint32', 4294967295), int64: -(2 ** 52),
    double: 2.25, float: typed('float', 2.5),
    decimal: typed('decimal', { places: 2, digits: 314 }), text: 'Grüße',
    octets: Buffer.from(Array.from({ length: 256 }, (_, octet) => octet)),
    timestamp: typed('timestamp', 1700000000), nothing: null,
    array: [1, 'two', null, [3.5, true], { deep: 100000 }],
    table: { nested: { deeper: { deepest: -1 } }, empty: {}, none: [] },
    '': 'an empty key', ['k'.repeat(255)]: 'the longest key',
  };
  // This client reads the typed numbers back as plain ones.
  const expected = { ...sent, uint8: 255, uint16: 65535, uint32: 4294967295, float: 2.5 };
  const channel = await connection.createChannel();
  const queue = unique();
  await channel.assertQueue(queue, { exclusive: true });
  channel.sendToQueue(queue, Buffer.alloc(0), { headers: sent });
  const { headers } = (await (await consume(channel, queue)).next()).properties;
  assert.deepStrictEqual(headers, expected);
})]);

const bodyRoundTrip = (body) => connected(async (connection) => {
  const channel = await connection.createConfirmChannel();
  const queue = unique();
  await channel.assertQueue(queue, { exclusive: true });
  channel.sendToQueue(queue, body);
  const { content } = await (await consume(channel, queue)).next();
  assert.ok(content.equals(body), `${body.length} octets went out, others came back`);
});

cases.push(['empty-body', () => bodyRoundTrip(Buffer.alloc(0))]);
cases.push(['large-body', () => bodyRoundTrip(crypto.randomBytes(8 * 1024 * 1024))]);

cases.push(['error-404', () => connected(async (connection) => {
  const missing = unique();
  await refused(connection, [404, 50, 10], texts.noQueue(missing), (channel) => channel.checkQueue(missing));
  await refused(connection, [404, 60, 20], texts.noQueue(missing), (channel) => channel.consume(missing, () => {}));
  await refused(connection, [404, 40, 10], texts.noExchange(missing), (channel) => channel.checkExchange(missing));
  await refused(connection, [404, 60, 40], texts.noExchange(missing), (channel) => {
    channel.publish(missing, 'key', Buffer.from('lost'));
  });
})]);

cases.push(['error-405', () => connected((owner) => connected(async (other) => {
  const queue = unique();
  await (await owner.createChannel()).assertQueue(queue, { exclusive: true });
  await refused(other, [405, 50, 10], texts.locked(queue), (channel) => channel.assertQueue(queue, { exclusive: true }));
  await refused(other, [405, 60, 20], texts.locked(queue), (channel) => channel.consume(queue, () => {}));
}))]);

cases.push(['error-406', () => connected(async (connection) => {
  const queue = unique();
  const channel = await connection.createChannel();
  await channel.assertQueue(queue, { durable: true });
  await refused(connection, [406, 50, 10], texts.otherDurability(queue), (other) => other.assertQueue(queue, { durable: false }));
  await refused(connection, [406, 60, 80], texts.unknownDeliveryTag(42), (other) => {
    other.ack({ fields: { deliveryTag: 42 } });
  });
  await channel.deleteQueue(queue);
})]);

cases.push(['error-403', () => connected(async (connection) => {
  const [queue, reserved] = [unique(), `amq.${unique()}`];
  await refused(connection, [403, 50, 10], texts.reservedName(reserved), (channel) => channel.assertQueue(reserved));
  const channel = await connection.createChannel();
  await channel.assertQueue(queue, { exclusive: true });
  await consume(channel, queue, { exclusive: true });
  await refused(connection, [403, 60, 20], texts.exclusiveUse(queue), (other) => other.consume(queue, () => {}));
})]);

cases.push(['login-refused', async () => {
  const refusal = 'Login was refused using authentication mechanism PLAIN. For details see the broker logfile.';
  await assert.rejects(amqp.connect(url(broker.port, 'wrong')), (error) => {
    assert.match(error.message, /403 \(ACCESS-REFUSED\)/);
    assert.ok(error.message.includes(`ACCESS_REFUSED - ${refusal}`), error.message);
    return true;
  });
}]);

cases.push(['consumer-cancel-notification', () => connected((connection) => connected(async (other) => {
  const channel = await connection.createChannel();
  const queue = unique();
  await channel.assertQueue(queue, { durable: false });
  const messages = await consume(channel, queue);
  await (await other.createChannel()).deleteQueue(queue);
  assert.strictEqual(await messages.next(), null, 'a cancellation arrives as a null message');
  await channel.assertQueue('', { exclusive: true });
}))]);

cases.push(['reconnect', () => connected((publisher) => relayed(async (relay, port) => {
  const queue = unique();
  const messages = new Arrivals();
  const recovery = {
    initialDelay: 50,
    setup: async (model) => {
      const channel = await model.createChannel();
      await channel.assertQueue(queue, { durable: false, autoDelete: false });
      await channel.consume(queue, messages.push, { noAck: true });
    },
  };
  const connection = await amqp.connect(url(port), { recovery });
  connection.on('error', () => {});
  const reconnections = new Arrivals();
  connection.on('connect', () => reconnections.push(true));
  relay.cut();
  await reconnections.next();
  const channel = await publisher.createChannel();
  channel.sendToQueue(queue, Buffer.from('after'));
  assert.strictEqual(`${(await messages.next()).content}`, 'after');
  await connection.close();
  await channel.deleteQueue(queue);
}))]);

async function main() {
  let failures = 0;
  for (const [name, body] of cases) {
    try {
      await within(TIME_LIMIT_MS, body(), name);
      console.log(`ok ${name}`);
    } catch (error) {
      failures += 1;
      console.log(`FAILED ${name}: ${String(error.message || error).replace(/\s*\n\s*/g, ' ')}`);
      console.error(error);
    }
  }
  process.exit(failures ? 1 : 0);
}

main();
