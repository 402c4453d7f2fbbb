// The pages that docs/guests.md gives to sites without Bitrix (docs/examples), against pullgate's own
// guest mode. The Rust test tests/browser.rs runs it, once for each version of the protocol:
//
//     node guest_pages.mjs SITE PUBLISH SOCKET
//
// SITE and PUBLISH are the addresses of pullgate's listeners, SOCKET is where it expects the site. A poll
// must wait for a few seconds at most.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { relay } from './relay.mjs';
import { PATIENCE, eventually, run, step } from './run.mjs';

if (process.argv.length < 5) {
  console.error('usage: node guest_pages.mjs SITE PUBLISH SOCKET');
  process.exit(2);
}
const [front, publish, socket] = process.argv.slice(2);

// --- The site: files, and nothing else

const here = name => readFileSync(new URL(name, import.meta.url));
const FILES = {
  '/events': ['text/html', here('../../docs/examples/events.html')],
  '/client': ['text/html', here('../../docs/examples/client.html')],
  '/b24jssdk.js': ['text/javascript', here('node_modules/@bitrix24/b24jssdk/dist/umd/index.min.js')],
};
const server = http.createServer((request, response) => {
  const [type, body] = FILES[request.url] ?? [];
  response.writeHead(body ? 200 : 404, { 'content-type': `${type}; charset=utf-8` }).end(body);
});
await new Promise(resolve => server.listen(socket, resolve));

/** Sends prices to a guest, from PHP and by number, as a site's cron job would. */
async function send(guest, ...prices) {
  const program = `require ${JSON.stringify(new URL('../../compat/php/Guest.php', import.meta.url).pathname)};
    foreach (array_slice($argv, 2) as $price) {
      $message = ['module_id' => 'shop', 'command' => 'price', 'params' => ['id' => 5, 'price' => (int)$price]];
      if (!Pullgate\\Guest::send([$argv[1]], $message)) throw new Exception(Pullgate\\Guest::lastError());
    }`;
  await promisify(execFile)('php', ['-r', program, '--', guest, ...prices], {
    env: { ...process.env, PULLGATE_PUBLISH_URL: `http://${publish}` },
  });
}

// --- A guest

/** A browser of its own, whose line to pullgate can be cut, with a page open. */
class Visitor {
  errors = []; // what the page threw
  requests = []; // the path of everything it asked for
  first = []; // the prices that came to begin with

  static async arrive(browser, path, prepare) {
    const self = new Visitor();
    self.line = await relay(`http://${front}/`);
    const context = await browser.newContext();
    const page = self.page = await context.newPage();
    page.setDefaultTimeout(PATIENCE);
    page.on('pageerror', error => self.errors.push(error.message));
    page.on('request', request => self.requests.push(new URL(request.url()).pathname));
    page.on('websocket', socket => self.requests.push(new URL(socket.url()).pathname));
    if (prepare) await page.addInitScript(prepare);
    await page.goto(new URL(path, self.line.url).href);
    self.number = await page.evaluate(async () => {
      const keys = await (await fetch('/pullgate/guest.js')).text();
      return keys.match(/"pull_guest_user_id":(-\d+)/)[1];
    });
    return self;
  }

  /** The line is cut, and the page has noticed: `online` no longer holds there. */
  async cut(online) {
    // A browser repeats by itself a GET whose kept connection broke.
    await eventually('the page notices the cut', async () => {
      this.line.cut();
      return !await this.page.evaluate(online);
    });
  }

  /** Sends prices until the page shows one. `misses`: as a client that polls may, until it has a mid to go on from. */
  async begin(misses) {
    let sent = 0;
    await eventually('a first message', async () => {
      if (sent === 0 || misses) await send(this.number, ++sent);
      return (await this.items()).length > 0;
    });
    const shown = Number((await this.items())[0].split(' ')[1]);
    assert.ok(misses || shown === 1);
    for (let price = shown; price <= sent; price++) this.first.push(price);
  }

  items() {
    return this.page.locator('#messages li').allTextContents();
  }

  /** In all, the page has shown these, in this order, after those that came to begin with. */
  async shows(...prices) {
    const expected = [...this.first, ...prices].map(price => `5: ${price}`);
    await eventually('messages', async () => (await this.items()).length >= expected.length).catch(() => {});
    assert.deepEqual(await this.items(), expected);
  }
}

/** What every page promises. `online` is an expression in it. */
async function promises(name, browser, path, online, prepare) {
  const claim = (text, check) => step(`${name}: ${text}`, check);
  const [guest, other] = [
    await Visitor.arrive(browser, path, prepare), await Visitor.arrive(browser, path, prepare),
  ];
  await claim('connects', async () => {
    assert.notEqual(guest.number, other.number);
    for (const { page } of [guest, other]) await page.waitForFunction(online);
  });
  await claim('receives what PHP sends by number', async () => {
    for (const visitor of [guest, other]) await visitor.begin(prepare !== undefined);
    await send(guest.number, 101, 102);
    await guest.shows(101, 102);
  });
  await claim('after a cut line gets what it missed, once and in order', async () => {
    await guest.cut(online);
    await send(guest.number, 103, 104, 105);
    await guest.shows(101, 102);
    guest.line.restore();
    await guest.shows(101, 102, 103, 104, 105);
    await send(guest.number, 106);
    await guest.shows(101, 102, 103, 104, 105, 106);
  });
  await claim('another guest got nothing of it', async () => {
    await send(other.number, 200);
    await other.shows(200);
    await sleep(500);
    await guest.shows(101, 102, 103, 104, 105, 106);
  });
  await claim('nothing was thrown', () => assert.deepEqual([...guest.errors, ...other.errors], []));
  await Promise.all([guest, other].map(({ page }) => page.context().close()));
  return guest;
}

await run(async browser => {
  const open = 'events.readyState === 1';
  await promises('EventSource', browser, '/events', open);
  await step('EventSource: a page that comes back before it had any message has missed none', async () => {
    const guest = await Visitor.arrive(browser, '/events');
    await guest.page.waitForFunction(open);
    await guest.cut(open);
    await send(guest.number, 100);
    guest.line.restore();
    await guest.shows(100);
  });
  const online = 'client.status === "online"';
  const socket = await promises('client, websocket', browser, '/client', online);
  assert.ok(socket.requests.includes('/bitrix/subws/') && !socket.requests.includes('/bitrix/sub/'));
  const polling = await promises('client, polling', browser, '/client', online, () => delete window.WebSocket);
  assert.ok(polling.requests.includes('/bitrix/sub/') && !polling.requests.includes('/bitrix/subws/'));
});
