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
  page.on('framenavigated', () => navigations++);
  if (prepare) await page.addInitScript(prepare);
  await page.goto(url);
  assert.equal(await page.locator('#guest').count(), 1, `PHP knows no guest at ${url}`);

  const self = {
    errors,
    navigations: () => navigations,
    number: async () => Number(await page.textContent('#guest')),
    cookies: () => context.cookies(url),
    documentCookie: () => page.evaluate('document.cookie'),
    reload: () => page.reload(),
    transport: () => page.textContent('#transport'),
    status: state => page.waitForFunction(
      state => document.getElementById('status').textContent === state, state),
    count: text => page.locator('#messages .text').filter({ hasText: text }).count(),
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
  await step('what was pushed while the line was cut arrives afterwards, once', async () => {
    line.cut();
    await a.status('reconnecting');
    await pushFromElsewhere(a, 'while away');
    await sleep(FAIR_WAIT);
    assert.equal(await a.count('while away'), 0, 'the line was not cut');
    line.restore();
    await a.arrives('while away');
    await a.status('live');
    await a.push('after');
    await a.arrives('after');
    await sleep(FAIR_WAIT);
    assert.deepEqual([await a.count('while away'), await a.count('after'), await a.count('for A')], [1, 1, 1]);
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
