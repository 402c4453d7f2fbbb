// Bitrix's own client (`PullClient` of @bitrix24/b24jssdk, as published) in a browser, against pullgate,
// with each version of the protocol over each transport. The Rust test tests/browser.rs runs it:
//
//     node pull_client.mjs SITE PUBLISH SOCKET KEY
//
// SITE and PUBLISH are the addresses of pullgate's listeners, SOCKET is where it expects the site,
// KEY signs channels. A poll must wait for a few seconds at most.

import assert from 'node:assert/strict';
import { relay } from './relay.mjs';
import { PATIENCE, eventually, run, step } from './run.mjs';
import { Site } from './site.mjs';

const MODES = [
  { version: 3, websocket: true },
  { version: 3, websocket: false },
  { version: 4, websocket: true },
  { version: 4, websocket: false },
];

if (process.argv.length !== 6) {
  console.error('usage: node pull_client.mjs SITE PUBLISH SOCKET KEY');
  process.exit(2);
}
const [front, publish, socket, key] = process.argv.slice(2);
const site = new Site(key, `http://${publish}/`);
await site.listen(socket);

/** A browser of its own, whose line to pullgate can be cut, with a user of its own. */
class Visitor {
  sockets = []; // the URLs of all websockets
  answers = []; // 'METHOD path status' of every answer
  errors = []; // what the page threw
  expected = []; // what the page has received

  static async arrive(browser, mode) {
    const self = new Visitor();
    self.line = await relay(`http://${front}/`);
    const url = new URL(self.line.url);
    self.user = site.user({ ...mode, host: url.host });
    // To the browser, the site and the push server are two origins.
    url.hostname = 'localhost';
    url.searchParams.set('user', self.user.id);
    self.url = url.href;
    const context = await browser.newContext();
    const page = self.page = await context.newPage();
    page.setDefaultTimeout(PATIENCE);
    page.on('pageerror', error => self.errors.push(error.message));
    page.on('websocket', socket => self.sockets.push(new URL(socket.url())));
    page.on('response', response => {
      const { pathname } = new URL(response.url());
      self.answers.push(`${response.request().method()} ${pathname} ${response.status()}`);
    });
    return self;
  }

  async open() {
    this.expected = [];
    await this.page.goto(this.url);
    await site.online(this.user);
  }

  async leave() {
    await this.page.goto('about:blank');
    await site.connections(0);
  }

  /** The line is cut, and both ends have noticed. `others` are still connected. */
  async cut(others = 0) {
    // A browser repeats a GET by itself whose kept connection broke. Only when the new one breaks too
    // does the client hear of it.
    await eventually('the client notices the cut', async () => {
      this.line.cut();
      return await this.page.evaluate(() => client.status) !== 'online';
    });
    await site.connections(others);
  }

  /**
   * These come next; and in all, nothing has come but what was expected, in that order. The client
   * drops what comes twice, and what it cannot read, and says so.
   */
  async receives(...messages) {
    this.expected.push(...messages);
    const arrived = this.page.waitForFunction(count => received.length >= count, this.expected.length);
    await arrived.catch(() => {}); // What is missing says more than that time is up.
    assert.deepEqual(await this.page.evaluate('received'), this.expected);
    const log = await this.page.evaluate('log');
    assert.deepEqual(log.filter(line => /duplicate|parse|PULL ERROR/i.test(line)), []);
  }

  /** Publishes to users, as scripts of the page would. The client does not tell when it is done. */
  send(text, ...users) {
    return this.page.evaluate(
      ([text, users]) => client.sendMessage(users, 'test', 'message', { text }, 3600),
      [text, users.map(user => user.id)]);
  }

  answered(answer) {
    return eventually(answer, () => this.answers.includes(answer));
  }

  /** For a failure: what the client said, and what went over the line. */
  async story() {
    const log = await this.page.evaluate(() => log).catch(error => [error.message]);
    return ['', ...log, ...this.errors, ...this.sockets, ...this.answers].join('\n  ');
  }
}

for (const mode of MODES) mode.name = `version ${mode.version}, ${mode.websocket ? 'websocket' : 'polling'}`;

await run(async browser => {
  for (const mode of MODES) {
    const visitor = await Visitor.arrive(browser, mode);
    const claim = (claim, check) => step(`${mode.name}: ${claim}`, async () => {
      try {
        await check();
      } catch (error) {
        error.message += await visitor.story();
        throw error;
      }
    });
    const { user } = visitor;
    const binary = mode.version > 3 ? 'true' : null;

    if (mode.websocket) {
      await claim('connects', async () => {
        await visitor.open();
        await visitor.page.waitForFunction(() => client.status === 'online');
        assert.equal(visitor.sockets.length, 1);
        assert.equal(visitor.sockets[0].pathname, '/bitrix/subws/');
        assert.equal(visitor.sockets[0].searchParams.get('binaryMode'), binary);
      });
    } else {
      await claim('a poll that found nothing tells where to go on', async () => {
        await site.push(user, 'before');
        await visitor.open();
        await visitor.page.waitForFunction(() => client.session.mid);
        await visitor.answered('GET /bitrix/sub/ 304');
        assert.equal(visitor.sockets.length, 0);
      });
    }
    await claim('receives what the site publishes, to the user and to all', async () => {
      await site.push(user, 'one');
      await visitor.receives('site one');
      await site.pushToAll(mode.version, 'всем');
      await visitor.receives('site всем');
    });
    await claim('after a cut line gets what it missed, once and in order', async () => {
      await visitor.cut();
      for (const text of ['two', 'three', 'four']) await site.push(user, text);
      await visitor.receives();
      visitor.line.restore();
      await visitor.receives('site two', 'site three', 'site four');
      await site.push(user, 'five');
      await visitor.receives('site five');
    });
    await claim('after a reload goes on where it was', async () => {
      await visitor.leave();
      await site.push(user, 'six');
      await visitor.open();
      await visitor.receives('site six');
      await site.push(user, 'seven');
      await visitor.receives('site seven');
    });
    if (mode.version > 3) {
      const other = await Visitor.arrive(browser, mode);
      await claim('clients publish to each other', async () => {
        await other.open();
        await visitor.send('hello', other.user);
        await other.receives(`${user.public} hello`);
        await other.send('hello yourself', user);
        await visitor.receives(`${other.user.public} hello yourself`);
        if (mode.websocket) {
          assert.ok(!visitor.answers.some(answer => answer.startsWith('POST /bitrix/rest/')));
        } else {
          await visitor.answered('POST /bitrix/rest/ 200');
        }
      });
      await claim('a client gets what another published while its line was cut', async () => {
        await other.cut(1);
        await visitor.send('where are you', other.user, user);
        await visitor.receives(`${user.public} where are you`);
        await other.receives();
        other.line.restore();
        await other.receives(`${user.public} where are you`);
        await site.push(other.user, 'eight');
        await other.receives('site eight');
      });
      await other.page.context().close();
    }
    await claim('nothing was thrown', () => assert.deepEqual(visitor.errors, []));
    await visitor.page.context().close();
  }
});
