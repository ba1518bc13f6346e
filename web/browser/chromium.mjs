// One headless Chromium for the pictures and the checks.
import { chromium } from 'playwright-core';

export async function openBrowser() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    headless: true,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
      '--autoplay-policy=no-user-gesture-required',
    ],
  });
}

/** Waits until the page shows its last state: fonts are in and two frames were painted. */
export async function settled(page) {
  await page.evaluate(async () => {
    await document.fonts.ready;
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  });
}

/** Shows a gate state and waits until the page draws it. */
export async function showGate(gate, page, name, kind) {
  gate.show(name);
  await page.waitForSelector(`main[data-kind="${kind}"]`);
  await settled(page);
}
