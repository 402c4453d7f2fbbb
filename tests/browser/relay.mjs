// A line between a browser and pullgate that can be cut.

import net from 'node:net';

/**
 * A TCP relay to `target` (a URL); `url` leads through it. `cut` breaks all connections, and so
 * does every further one. A new connection is then neither served nor refused, as where packets are
 * lost, until `restore`.
 */
export async function relay(target) {
  const { hostname, port } = new URL(target);
  const open = new Set(); // the sockets of both sides
  const waiting = new Set(); // connections made while it was cut
  let whole = true;

  function carry(downstream) {
    const upstream = net.connect(port || 80, hostname);
    for (const [from, to] of [[downstream, upstream], [upstream, downstream]]) {
      open.add(from);
      from.pipe(to);
      from.on('error', () => to.destroy());
      from.on('close', () => {
        open.delete(from);
        to.destroy();
      });
    }
  }

  const server = net.createServer(downstream => {
    if (whole) return carry(downstream);
    waiting.add(downstream);
    downstream.on('error', () => downstream.destroy());
    downstream.on('close', () => waiting.delete(downstream));
  });
  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}/`,
    cut() {
      whole = false;
      for (const socket of [...open, ...waiting]) socket.destroy();
    },
    restore() {
      whole = true;
      for (const downstream of waiting) carry(downstream);
      waiting.clear();
    },
  };
}
