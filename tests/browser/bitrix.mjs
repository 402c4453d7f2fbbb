// Guests on pages of a site with Bitrix's pull module: the stub in fixtures/bitrix-stub, whose pages have the
// client of the SDK as BX.PULL (the module's own is not to be had; the SDK's is its port, by the same makers, with
// the same getDebugInfo and capturePullEvent). The Rust tests in tests/lesson.rs run it:
//
//     node bitrix.mjs SCENE http://127.0.0.1:8000/

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { PATIENCE, eventually, run, step } from './run.mjs';

const FAIR_WAIT = 500; // how long we watch for what must not happen, in ms

const [scene, site] = process.argv.slice(2);

/** What another visitor's page or a cron job of the site does. */
async function ask(path) {
  const response = await fetch(new URL(path, site));
  const body = await response.text();
  assert.equal(response.status, 200, `${path}: ${response.status} ${body}`);
  return body;
}

class Visitor {
  errors = []; // what pages threw
  events = []; // what BX.PULL logs of every command
  configs = 0; // how often a configuration was asked for

  static async arrive(browser, { user, prepare } = {}) {
    const self = new Visitor();
    const context = self.context = await browser.newContext();
    if (user) await context.addCookies([{ name: 'BITRIX_STUB_USER', value: user, url: site }]);
    const page = self.page = await context.newPage();
    page.setDefaultTimeout(PATIENCE);
    page.on('pageerror', error => self.errors.push(error.message));
    page.on('console', message => {
      const [, json] = message.text().match(/^info onPullEvent (.*)$/) ?? [];
      if (json) self.events.push(JSON.parse(json));
    });
    page.on('request', request => {
      if (new URL(request.url()).pathname.startsWith('/rest/pull.config.get')) self.configs++;
    });
    if (prepare) await page.addInitScript(prepare);
    return self;
  }

  async open(path = '/page.php') {
    await this.page.goto(new URL(path, site).href);
    await this.page.waitForFunction(() => BX.PULL.isConnected());
  }

  number() {
    return this.page.evaluate(() => BX.PULL._guestUserId);
  }

  close() {
    assert.deepEqual(this.errors, []);
    return this.context.close();
  }
}

/** The lesson's third step: what a guest sees of the connection and of messages is what a user sees. */
async function looking(browser) {
  const guest = await Visitor.arrive(browser);
  const user = await Visitor.arrive(browser, { user: '42' });
  const both = [guest, user];
  const info = ({ page }) => page.evaluate(() => BX.PULL.getDebugInfo());
  for (const visitor of both) await visitor.open();
  const number = await guest.number();

  await step('getDebugInfo() shows a guest what it shows a user', async () => {
    const [ours, theirs] = [await info(guest), await info(user)];
    assert.deepEqual(Object.keys(ours), Object.keys(theirs));
    assert.ok(number < 0);
    assert.deepEqual([ours.UserId, ours['Guest userId']], [`${number}(guest)`, number]);
    assert.deepEqual([theirs.UserId, theirs['Guest userId']], ['42', '-']);
    for (const name of Object.keys(ours)) {
      if (!['UserId', 'Guest userId', 'Path', 'ChannelDie', 'ChannelDieShared'].includes(name)) {
        assert.deepEqual(ours[name], theirs[name], name);
      }
    }
    assert.deepEqual([ours.Connect, ours['WebSocket connected'], ours['Server type']], ['Y', 'Y', 'local']);
    for (const end of [ours.ChannelDie, ours.ChannelDieShared]) assert.ok(Date.parse(end) > Date.now(), end);
    assert.equal(new URL(ours.Path).pathname, new URL(theirs.Path).pathname);
  });
  await step('capturePullEvent() logs every command that comes, and nothing before', async () => {
    await ask(`/send?to=${number}&text=before`);
    await eventually('it has come', async () => (await info(guest))['Session history']?.stub?.hello === 1);
    for (const { page } of both) await page.evaluate(() => BX.PULL.capturePullEvent());
    await ask(`/send?to=${number},42&text=seen`);
    for (const { events } of both) await eventually('the event is logged', () => events.length > 0);
    const [ours, theirs] = both.map(({ events }) => events.at(-1));
    for (const { moduleId, command, params } of [ours, theirs]) {
      assert.deepEqual({ moduleId, command, params }, { moduleId: 'stub', command: 'hello', params: { text: 'seen' } });
    }
    assert.deepEqual(Object.keys(ours.extra), Object.keys(theirs.extra));
    assert.ok(!guest.events.some(({ params }) => params.text === 'before'));
    for (const visitor of both) {
      const { 'Last message': last, 'Session history': history } = await info(visitor);
      assert.match(last, /^\d{26}$/);
      assert.equal(history.stub.hello, visitor === guest ? 2 : 1);
    }
  });
  await step('the next page uses the configuration that the browser has', async () => {
    for (const visitor of both) await visitor.open();
    assert.deepEqual(both.map(({ configs }) => configs), [1, 1]);
  });
  for (const visitor of both) await visitor.close();
}

/** Everybody, on a site whose module names its own shared channel to guests. */
async function sendingToAll(browser) {
  const withoutWebsocket = () => delete window.WebSocket;
  const visitors = {
    websocket: await Visitor.arrive(browser),
    polling: await Visitor.arrive(browser, { prepare: withoutWebsocket }),
    user: await Visitor.arrive(browser, { user: '42' }),
  };
  for (const { page } of Object.values(visitors)) {
    await page.addInitScript(() => addEventListener('load', () => {
      window.received = [];
      BX.PULL.subscribe({ moduleId: 'test', command: 'check', callback: ({ by }) => received.push(by) });
    }));
  }
  for (const visitor of Object.values(visitors)) await visitor.open();
  const has = async expected => {
    for (const [name, texts] of Object.entries(expected)) {
      const received = () => visitors[name].page.evaluate(() => received);
      await eventually(`${name} receives`, async () => (await received()).length >= texts.length).catch(() => {});
      assert.deepEqual(await received(), texts, name);
    }
  };
  await step('sendToAll alone reaches guests whose configuration has the module\'s shared channel', async () => {
    await ask('/all.php');
    await has({ websocket: ['all'], polling: ['all'] });
  });
  await step('AddShared reaches guests and users, one copy each', async () => {
    await ask('/shared.php');
    await has({ websocket: ['all', 'shared'], polling: ['all', 'shared'], user: ['shared'] });
    await sleep(FAIR_WAIT);
    await has({ websocket: ['all', 'shared'], polling: ['all', 'shared'], user: ['shared'] });
  });
  for (const visitor of Object.values(visitors)) await visitor.close();
}

/** What docs/guests.md has for pages: the site's init.php and cached.html hold it, word for word. */
async function recipes(browser) {
  const guest = await Visitor.arrive(browser);
  const price = () => guest.page.waitForFunction(() => document.title === '990');
  await step('OnEpilog: keys and start, where no module does it', async () => {
    await guest.open();
    assert.ok(await guest.number() < 0);
    await guest.page.evaluate(() => BX.PULL.capturePullEvent());
    await ask(`/send?to=${await guest.number()}&text=one`);
    await eventually('the message', () => guest.events.length === 1);
  });
  const number = await guest.number();
  await step('a cached page gets the number from guest.js, and its client serves the guest', async () => {
    await guest.open('/cached.html');
    assert.equal(await guest.number(), number);
    await ask('/price.php');
    await price();
  });
  await step('guest.js works wherever it is loaded', async () => {
    const core = '<script src="/bitrix/js/main/core/core.js"></script>';
    const own = '<script src="/pullgate/guest.js"></script>';
    const placed = {
      'before the core': own + core,
      'behind the core': core + own,
      'async, before': own.replace(' ', ' async ') + core,
      'async, behind': core + own.replace(' ', ' async '),
      'defer, before': own.replace(' ', ' defer ') + core,
      'defer, before a deferred core': own.replace(' ', ' defer ') + core.replace(' ', ' defer '),
      'async, before an async core': own.replace(' ', ' async ') + core.replace(' ', ' async '),
      'at the end of the body': `${core}</head><body>${own}`,
    };
    let html;
    await guest.page.route('**/placed', route => route.fulfill({ contentType: 'text/html', body: html }));
    const keys = async () => {
      await guest.page.goto(new URL('/placed', site).href, { waitUntil: 'load' });
      return guest.page.evaluate(() => ({
        message: window.BX?.message?.pull_guest_user_id ?? null,
        mode: window.BX?.message?.pull_guest_mode ?? null,
        server: window.BX?.message?.pull_server_enabled ?? null,
        own: window.pullgate.pull_guest_user_id,
      }));
    };
    for (const [place, scripts] of Object.entries(placed)) {
      html = `<!doctype html><head>${scripts}`;
      assert.deepEqual(await keys(), { message: number, mode: 'Y', server: 'Y', own: number }, place);
    }
    html = `<!doctype html>${core}<script>BX.message({ USER_ID: '42', pull_guest_mode: 'N' });</script>${own}`;
    assert.deepEqual(await keys(), { message: null, mode: 'N', server: null, own: number }, 'a user\'s page');
  });
  await guest.close();
}

/** Why the documented place of the keys matters. */
async function keysTooLate(browser) {
  await step('keys behind the client\'s script: it never asks', async () => {
    const { page, ...guest } = await Visitor.arrive(browser);
    const failure = page.waitForEvent('pageerror');
    await page.goto(new URL('/page.php', site).href);
    assert.match((await failure).message, /userId/);
    assert.ok(await page.evaluate(() => BX.message.pull_guest_user_id < 0 && !BX.PULL.isConnected()));
    assert.equal(guest.configs, 0);
  });
}

await run({ keys_too_late: keysTooLate, looking, sending_to_all: sendingToAll, recipes }[scene]);
