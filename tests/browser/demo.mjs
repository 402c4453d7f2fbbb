// Drives the demo's page as people would: two browsers, a reload, a cut line.
//
//     node demo.mjs http://127.0.0.1:8000/
//
// Each step is a claim; the first that does not hold ends the run with exit code 1.

import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { relay } from './relay.mjs';
import { PATIENCE, run, step } from './run.mjs';

const FAIR_WAIT = 1_000; // how long we watch for what must not happen, in ms

if (process.argv.length !== 3) {
  console.error('usage: node demo.mjs URL');
  process.exit(2);
}
const site = new URL(process.argv[2]);

// --- A visitor

/** A browser of its own, with the demo's page open and live. */
async function visitor(browser, url, prepare) {
  const context = await browser.newContext();
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  const errors = [];
  page.on('pageerror', error => errors.push(error.message));
  let navigations = 0;
  const configs = []; // the requests for a configuration: 'target body'
  page.on('request', request => {
    const { pathname, search } = new URL(request.url());
    if (pathname.startsWith('/rest/')) configs.push(`${pathname}${search} ${request.postData()}`);
  });
  page.on('framenavigated', () => navigations++);
  if (prepare) await page.addInitScript(prepare);
  await page.goto(url);
  assert.equal(await page.locator('#guest').count(), 1, `PHP knows no guest at ${url}`);

  const self = {
    errors,
    configs,
    navigations: () => navigations,
    number: async () => Number(await page.textContent('#guest')),
    cookies: () => context.cookies(url),
    documentCookie: () => page.evaluate('document.cookie'),
    // What the page is told that asks for the configuration of a guest.
    config: guest => page.evaluate(async guest => {
      const body = new URLSearchParams({ pull_guest_id: guest, CACHE: 'N' });
      const response = await fetch('/rest/pull.config.get.json', { method: 'POST', body });
      return { status: response.status, ...await response.json() };
    }, guest),
    reload: () => page.reload(),
    transport: () => page.textContent('#transport'),
    status: state => page.waitForFunction(
      state => document.getElementById('status').textContent === state, state),
    count: text => page.locator('#messages .text').filter({ hasText: text }).count(),
    texts: async () => (await page.locator('#messages .text').allTextContents()).reverse(), // the newest is on top
    arrives: text => page.locator('#messages .text').filter({ hasText: text }).first().waitFor(),
    async push(text) {
      await page.fill('#text', text);
      await page.click('#push');
    },
  };
  await self.status('live');
  return self;
}

/** What the visitor's other tab would do: asks PHP for a message, past the cut line. */
async function pushFromElsewhere(who, text) {
  const cookie = (await who.cookies()).map(({ name, value }) => `${name}=${value}`).join('; ');
  const response = await fetch(new URL('send.php', site), {
    method: 'POST', headers: { cookie }, body: new URLSearchParams({ text }),
  });
  assert.equal(response.status, 200, `send.php answered ${response.status} ${await response.text()}`);
}

// --- The claims

await run(async browser => {
  const line = await relay(site);
  let a, b, number;

  await step('the first page makes the browser a guest and is live over a websocket', async () => {
    [a, b] = await Promise.all([visitor(browser, line.url), visitor(browser, site.href)]);
    for (const who of [a, b]) assert.equal(await who.transport(), 'websocket');
  });
  await step('each browser is a guest of its own, with a negative number', async () => {
    number = await a.number();
    for (const n of [number, await b.number()]) assert.ok(Number.isInteger(n) && n < 0, `guest ${n}`);
    assert.notEqual(number, await b.number());
  });
  await step('each asks for its own configuration, as the client of Bitrix does', async () => {
    for (const who of [a, b]) {
      const target = '/rest/pull.config.get.json?logTag=client_start';
      assert.deepEqual(who.configs, [`${target} pull_guest_id=${await who.number()}&CACHE=N`]);
    }
  });
  await step('a thief who has the number but not the cookie gets nothing', async () => {
    const { status, error } = await b.config(number);
    assert.deepEqual([status, error], [403, 'AUTHORIZE_ERROR']);
    assert.equal((await a.config(number)).status, 200);
  });
  await step('no script of the page can read the cookie', async () => {
    const [cookie] = await a.cookies();
    assert.ok(cookie, 'there is no cookie');
    assert.deepEqual([cookie.httpOnly, cookie.sameSite], [true, 'Lax']);
    assert.equal(await a.documentCookie(), '');
  });
  await step('what PHP pushes appears without a reload, and only there', async () => {
    const before = a.navigations();
    await a.push('for A');
    await a.arrives('for A');
    assert.equal(a.navigations(), before, 'the page was loaded again');
    await b.push('for B');
    await b.arrives('for B');
    await sleep(FAIR_WAIT);
    assert.deepEqual([await a.count('for A'), await a.count('for B')], [1, 0], 'A: for A, for B');
    assert.deepEqual([await b.count('for A'), await b.count('for B')], [0, 1], 'B: for A, for B');
  });
  await step('a reload keeps the number and what was stored', async () => {
    await a.reload();
    await a.status('live');
    assert.equal(await a.number(), number);
    await a.arrives('for A');
    assert.equal(await a.count('for A'), 1);
  });
  await step('what was pushed while the line was cut arrives afterwards, once and in order', async () => {
    const missed = ['missed 1', 'missed 2', 'missed 3'];
    line.cut();
    await a.status('reconnecting');
    for (const text of missed) await pushFromElsewhere(a, text);
    await sleep(FAIR_WAIT);
    assert.equal(await a.count('missed'), 0, 'the line was not cut');
    line.restore();
    await a.arrives('missed 3');
    await a.status('live');
    await a.push('after');
    await a.arrives('after');
    await sleep(FAIR_WAIT);
    assert.deepEqual(await a.texts(), ['for A', ...missed, 'after']);
  });
  await step('without websockets, long polling does the same', async () => {
    const c = await visitor(browser, site.href, () => {
      window.WebSocket = class {
        constructor() {
          setTimeout(() => this.onclose());
        }
      };
    });
    assert.equal(await c.transport(), 'long polling');
    for (const text of ['first poll', 'second poll', 'third poll']) {
      await c.push(text);
      await c.arrives(text);
    }
    await sleep(FAIR_WAIT);
    for (const text of ['first poll', 'second poll', 'third poll']) assert.equal(await c.count(text), 1, text);
    assert.deepEqual(c.errors, []);
  });
  await step('no page threw an error', () => assert.deepEqual([...a.errors, ...b.errors], []));
});
