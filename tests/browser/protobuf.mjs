// What the back end sends to push servers of version 4, written by hand: the client's encoder must
// not be its own witness. The messages are those of compat/proto/pull.proto.

/** A field that holds bytes, text or a message. */
function field(number, content) {
  const bytes = Buffer.from(content);
  return Buffer.concat([Buffer.from([number << 3 | 2, ...varint(bytes.length)]), bytes]);
}

function number(field, value) {
  return Buffer.from([field << 3, ...varint(value)]);
}

function varint(value) {
  return value < 128 ? [value] : [value % 128 + 128, ...varint(Math.floor(value / 128))];
}

/** A `RequestBatch` with one message to a private channel (hex), kept for `expiry` seconds. */
export function publication(channel, body, expiry) {
  const receiver = Buffer.concat([field(1, Buffer.from(channel, 'hex')), number(2, 1)]);
  const message = Buffer.concat([field(1, receiver), field(3, body), number(4, expiry)]);
  return field(1, field(1, field(1, message)));
}
