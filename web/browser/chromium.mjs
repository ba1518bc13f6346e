// One headless Chromium for the pictures and the checks.
import { chromium } from 'playwright-core';

export async function openBrowser() {
  const browser = await chromium.launch({
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
  const plain = browser.newContext.bind(browser);
  browser.newContext = async (...given) => {
    const context = await plain(...given);
    await context.addInitScript(noteHeard);
    return context;
  };
  return browser;
}

/** Runs in each page: notes the number of the newest message that came over a WebSocket. */
function noteHeard() {
  const Plain = globalThis.WebSocket;
  globalThis.WebSocket = class extends Plain {
    constructor(...given) {
      super(...given);
      this.addEventListener('message', (message) => {
        globalThis.heardSeq = JSON.parse(message.data).seq;
      });
    }
  };
}

/** Waits until the page shows its last state: fonts are in and two frames were painted. */
export async function settled(page) {
  await page.evaluate(async () => {
    await document.fonts.ready;
    await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  });
}

/** Shows a gate state and waits until the page has heard of it and draws it: the one before may be of the same kind. */
export async function showGate(gate, page, name, kind) {
  const seq = gate.show(name);
  await page.waitForFunction((wanted) => globalThis.heardSeq >= wanted, seq);
  await page.waitForSelector(`main[data-kind="${kind}"]`);
  await settled(page);
}
