// Two sites by https on one listener, over HTTP/2, and a certificate that is renewed meanwhile.
//
//     node https.mjs PORT FOLDER PID
//
// The sites are one.test and two.test; FOLDER has one.pem, one.key, two.pem and two.key, PID is pullgate's. Each step is a
// claim; the first that does not hold ends the run with exit code 1.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { connect } from 'node:tls';
import { PATIENCE, run, step } from './run.mjs';

const [port, folder, pid] = process.argv.slice(2);
const names = ['one.test', 'two.test'];

/** The certificate that lies on disk. */
const onDisk = name => new X509Certificate(readFileSync(join(folder, `${name.split('.')[0]}.pem`)));

/** The serial number of the certificate that a new connection is shown. */
const shown = name => new Promise((resolve, reject) => {
  const socket = connect({ port, servername: name, rejectUnauthorized: false }, () => {
    resolve(socket.getPeerX509Certificate().serialNumber);
    socket.destroy();
  });
  socket.on('error', reject);
});

/** A visitor of its own, whose page is live. */
async function visitor(browser, name) {
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  const page = await context.newPage();
  page.setDefaultTimeout(PATIENCE);
  const sockets = [];
  page.on('websocket', socket => {
    sockets.push(socket.url());
    socket.on('close', () => sockets.push('closed'));
  });
  const response = await page.goto(`https://${name}:${port}/`);
  const live = () => document.getElementById('status').textContent === 'live';
  await page.waitForFunction(live);
  return {
    sockets,
    certificate: await response.securityDetails(),
    protocol: await page.evaluate("performance.getEntriesByType('navigation')[0].nextHopProtocol"),
    transport: () => page.textContent('#transport'),
    async push(text) {
      await page.fill('#text', text);
      await page.click('#push');
      await page.locator('#messages .text').filter({ hasText: text }).first().waitFor();
    },
  };
}

await run(async browser => {
  const visitors = {};
  await step('each site has its certificate, and is served over HTTP/2', async () => {
    for (const name of names) {
      const who = visitors[name] = await visitor(browser, name);
      assert.equal(who.protocol, 'h2');
      assert.equal(who.certificate.subjectName, name);
      assert.equal(await shown(name), onDisk(name).serialNumber);
    }
    assert.notEqual(onDisk(names[0]).serialNumber, onDisk(names[1]).serialNumber);
  });
  await step('the client of Bitrix is live over a websocket of its own connection', async () => {
    for (const name of names) {
      assert.equal(await visitors[name].transport(), 'websocket');
      assert.equal(visitors[name].sockets.length, 1);
      assert.ok(visitors[name].sockets[0].startsWith(`wss://${name}:${port}/`), visitors[name].sockets[0]);
      await visitors[name].push(`for ${name}`);
    }
  });
  await step('a certificate is renewed on disk, and new connections get it', async () => {
    const before = onDisk('one.test').serialNumber;
    execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes',
      '-subj', '/CN=one.test', '-addext', 'subjectAltName=DNS:one.test', '-days', '30',
      '-keyout', join(folder, 'one.key'), '-out', join(folder, 'one.pem')], { stdio: 'ignore' });
    const renewed = onDisk('one.test');
    assert.notEqual(renewed.serialNumber, before);
    process.kill(Number(pid), 'SIGHUP');
    const end = Date.now() + PATIENCE;
    while (await shown('one.test') !== renewed.serialNumber) {
      assert.ok(Date.now() < end, 'the old one is still shown');
      await sleep(50);
    }
    assert.equal(await shown('two.test'), onDisk('two.test').serialNumber);
    const fresh = await visitor(browser, 'one.test');
    assert.equal(fresh.certificate.validTo, Date.parse(renewed.validTo) / 1000);
  });
  await step('the websockets that were open stay, and messages come by them', async () => {
    for (const name of names) {
      await visitors[name].push(`behind the renewal, for ${name}`);
      assert.equal(visitors[name].sockets.length, 1, String(visitors[name].sockets));
    }
  });
}, ['--host-resolver-rules=MAP * 127.0.0.1']);
