// Runs claims against a browser, one after another, until one does not hold. CHROMIUM names the
// browser's executable (default: chromium in the usual place).

import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { chromium } from 'playwright-core';

export const PATIENCE = 30_000; // how long a thing may take that must happen, in ms

const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium';
let passed = 0;

/** One claim, which `check` throws at if it does not hold. */
export async function step(claim, check) {
  try {
    await check();
  } catch (error) {
    error.claim = claim;
    throw error;
  }
  passed++;
  console.log(`ok: ${claim}`);
}

/** Waits until `holds` does; `what` names it when it never does. */
export async function eventually(what, holds) {
  const began = Date.now();
  while (!await holds()) {
    assert.ok(Date.now() - began < PATIENCE, `${what}: not within ${PATIENCE / 1000} s`);
    await sleep(10);
  }
}

/** Gives `claims` a browser, started with `more` arguments, reports, and ends the process: 0 if all hold, else 1. */
export async function run(claims, more = []) {
  if (!existsSync(executablePath)) {
    console.error(`there is no ${executablePath}: install chromium, or name a browser in CHROMIUM`);
    process.exit(1);
  }
  const browser = await chromium.launch({
    executablePath,
    args: [
      '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-sync',
      '--disable-background-networking', '--disable-component-update', ...more,
    ],
  });
  let failure;
  try {
    await claims(browser);
  } catch (error) {
    failure = error;
    console.error(`FAILED: ${error.claim ?? 'the test itself'}\n${error.message}`);
  } finally {
    await browser.close();
  }
  console.log(`${passed} passed, ${failure ? 1 : 0} failed`);
  process.exit(failure ? 1 : 0);
}
