// Pictures of every screen, to be looked at by people: npm run shots [folder] [only]
import { mkdir } from 'node:fs/promises';
import { gateStates } from '../mock/states.mjs';
import { startCloud, startGate } from '../mock/server.mjs';
import { openBrowser, settled, showGate } from './chromium.mjs';

const folder = process.argv[2] ?? '/tmp/shots';
const only = process.argv[3] ?? '';
await mkdir(folder, { recursive: true });
const gate = await startGate();
const cloud = await startCloud();
const browser = await openBrowser();

async function kiosk(size, scheme) {
  const [width, height] = size;
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, locale: 'en' });
  const page = await context.newPage();
  gate.heal();
  gate.show('idle');
  await page.goto(`http://127.0.0.1:${gate.port}/`);
  for (const [name, state] of Object.entries(gateStates)) {
    await showGate(gate, page, name, state.screen.kind);
    await page.screenshot({ path: `${folder}/kiosk-${width}-${scheme}-${name}.png` });
  }
  for (const [name, kind] of [['idle_staffed', 'idle'], ['closed_by_staff', 'closed']]) {
    await showGate(gate, page, name, kind);
    // By keyboard a press is enough.
    await page.locator('footer .gate').press('Enter');
    await page.waitForSelector('.answers');
    await settled(page);
    await page.screenshot({ path: `${folder}/kiosk-${width}-${scheme}-${name}-asking.png` });
  }
  gate.cut();
  await page.waitForSelector('main[data-kind="disconnected"]');
  await settled(page);
  await page.screenshot({ path: `${folder}/kiosk-${width}-${scheme}-disconnected.png` });
  await context.close();
}

async function dashboard(width, lang, theme) {
  const height = { 360: 640, 1280: 800, 1920: 1080 }[width];
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: theme, locale: lang });
  const page = await context.newPage();
  const at = (path) => `http://127.0.0.1:${cloud.port}${path}`;
  const shot = async (name, fullPage = true) => {
    await settled(page);
    await page.screenshot({ path: `${folder}/dash-${width}-${lang}-${theme}-${name}.png`, fullPage });
  };
  cloud.become('setup');
  await page.goto(at('/'));
  await page.waitForSelector('form');
  await shot('setup');
  cloud.become('login');
  await page.goto(at('/'));
  await page.waitForSelector('form');
  await shot('login');
  cloud.become('near_full');
  await page.goto(at('/'));
  await page.waitForSelector('[role=meter]');
  await shot('live-first', false);
  await shot('live');
  for (const state of ['open', 'full', 'unknown', 'empty']) {
    cloud.become(state);
    await page.goto(at('/'));
    await page.waitForSelector(state === 'empty' ? '.start' : '.gauge');
    await shot(`live-${state}`);
  }
  cloud.become('near_full');
  cloud.become('quiet');
  await page.goto(at('/inbox'));
  await page.waitForSelector('.none');
  await shot('inbox-none');
  cloud.become('full_inbox');
  await page.goto(at('/inbox'));
  await page.waitForSelector('.found li');
  await shot('inbox');
  await page.locator('.states button').last().click();
  await page.waitForSelector('.found > button');
  await shot('inbox-all');
  for (const [kind, act] of [['count_due'], ['double_use', explainFirst], ['fork', askTwice], ['poison', tryAgain], ['recount_lost', countBlank]]) {
    await page.goto(at('/inbox'));
    await page.selectOption('.filters select', kind);
    await page.waitForSelector('.found li');
    await page.waitForFunction(() => document.querySelectorAll('.found li').length < 5);
    await page.locator('.found li a').first().click();
    await page.waitForSelector('#conflict + *');
    if (act) await act(page);
    await shot(`inbox-${kind}`);
  }
  cloud.become('login');
  await page.locator('.open form').first().locator('button').click();
  await page.waitForSelector('dialog[open] form');
  await shot('log-in-again', false);
  cloud.become('near_full');
  for (const path of ['issue', 'lookup', 'gates', 'zones', 'vendors']) {
    await page.goto(at(`/${path}`));
    await page.waitForSelector('form');
    if (path === 'gates') {
      await page.click('td.act button');
      await page.waitForSelector('output');
    }
    if (path === 'lookup') {
      await page.fill('input.code', 'U7QM4ZTD');
      await page.click('button.primary');
      await page.waitForSelector('dl');
    }
    if (path === 'issue') {
      await page.click('button.primary');
      await page.waitForSelector('.issued');
    }
    await shot(path);
  }
  await context.close();
}

async function explainFirst(page) {
  await page.locator('.open li button').first().click();
  await page.waitForSelector('.open ol');
}

async function askTwice(page) {
  await page.locator('.open input').fill('Card was with the electrician');
  await page.locator('.open button[value=withdraw]').click();
  await page.waitForSelector('.open button[value=sure]');
}

async function countBlank(page) {
  await page.locator('.open input[type=number]').fill('40');
  await page.locator('.open form').first().locator('input').last().fill(' ');
  await page.locator('.open form').first().locator('button').click();
  await page.waitForSelector('.open [role=alert]');
}

async function tryAgain(page) {
  await page.locator('.open input').fill('The zone is there now');
  await page.locator('.open button[value=retry]').click();
  await page.waitForSelector('.open [role=alert]');
}

if (!only || only.startsWith('kiosk')) {
  for (const scheme of ['light', 'dark']) {
    for (const size of [[800, 480], [1280, 800], [360, 740]]) await kiosk(size, scheme);
  }
}
if (!only || only.startsWith('dash')) {
  for (const width of [360, 1280, 1920]) {
    for (const lang of ['en', 'ro']) {
      for (const theme of ['light', 'dark']) await dashboard(width, lang, theme);
    }
  }
}
await browser.close();
await gate.stop();
await cloud.stop();
