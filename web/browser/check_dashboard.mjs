// The office: every page in two languages, light, dark and forced colours, on a phone, by keyboard, and when the line drops.
import { accessible, MODES, watch } from './axe.mjs';
import { settled } from './chromium.mjs';

/** Each page with what shows that it has arrived, and the state of the server it is for. */
const PAGES = [
  { name: 'setup', state: 'setup', path: '/', ready: 'form' },
  { name: 'login', state: 'login', path: '/', ready: 'form' },
  { name: 'live', state: 'near_full', path: '/', ready: '[role=meter]' },
  { name: 'live open', state: 'open', path: '/', ready: '[role=meter]' },
  { name: 'live unknown', state: 'unknown', path: '/', ready: '.gauge' },
  { name: 'live empty', state: 'empty', path: '/', ready: '.start' },
  { name: 'issue', state: 'near_full', path: '/issue', ready: 'form' },
  { name: 'lookup', state: 'near_full', path: '/lookup', ready: 'form' },
  { name: 'gates', state: 'near_full', path: '/gates', ready: 'form' },
  { name: 'zones', state: 'near_full', path: '/zones', ready: 'form' },
  { name: 'vendors', state: 'near_full', path: '/vendors', ready: 'form' },
  { name: 'not found', state: 'near_full', path: '/nowhere', ready: 'h1' },
];

export async function checkDashboard(report, browser, cloud) {
  const at = (path) => `http://127.0.0.1:${cloud.port}${path}`;
  for (const locale of ['en', 'ro']) {
    const context = await browser.newContext({ locale, viewport: { width: 1280, height: 800 } });
    const page = await context.newPage();
    watch(report, page, `dashboard ${locale}`);
    const titles = new Map();
    for (const { name, state, path, ready } of PAGES) {
      cloud.become(state);
      await page.setViewportSize({ width: 1280, height: 800 });
      await page.goto(at(path));
      await page.waitForSelector(ready);
      await act(page, name);
      const where = `${name} ${locale}`;
      report.expect((await page.evaluate(() => document.documentElement.lang)) === locale, `lang: ${where}`);
      report.expect((await page.locator('h1').count()) === 1, `exactly one h1: ${where}`);
      titles.set(name, await page.title());
      for (const [mode, media] of Object.entries(MODES)) {
        if (locale === 'ro' && mode !== 'light') continue;
        await page.emulateMedia(media);
        await settled(page);
        await accessible(report, page, `dashboard ${where} ${mode}`);
      }
      await narrow(report, page, where);
    }
    const firsts = ['setup', 'login', 'live', 'issue', 'lookup', 'gates', 'zones', 'vendors', 'not found'].map((name) => titles.get(name));
    report.expect(new Set(firsts).size === firsts.length, `page titles repeat: ${firsts.join(' / ')}`);
    await context.close();
  }
  const context = await browser.newContext({ locale: 'en', viewport: { width: 360, height: 640 } });
  const page = await context.newPage();
  watch(report, page, 'dashboard phone');
  await firstLook(report, page, cloud, at);
  await keyboard(report, page, cloud, at);
  await lineDrops(report, page, cloud, at);
  await context.close();
}

/** Brings a page into its fullest state. */
async function act(page, name) {
  if (name === 'gates') {
    await page.locator('td.act button').first().click();
    await page.waitForSelector('output');
  }
  if (name === 'lookup') {
    await page.fill('input.code', 'U7QM4ZTD');
    await page.locator('form button').click();
    await page.waitForSelector('dl');
  }
  if (name === 'issue') {
    await page.locator('form button').click();
    await page.waitForSelector('.issued');
  }
}

async function narrow(report, page, where) {
  await page.setViewportSize({ width: 320, height: 640 });
  await settled(page);
  const seen = await page.evaluate(() => {
    const targets = [...document.querySelectorAll('button, input, select, nav a, a.button, a.brand')].filter((one) => one.offsetParent !== null);
    return {
      wide: document.documentElement.scrollWidth,
      small: targets.filter((one) => one.getBoundingClientRect().height < 44).map((one) => one.outerHTML.slice(0, 80)),
    };
  });
  report.expect(seen.wide <= 320, `needs ${seen.wide} px, has 320: ${where}`);
  report.expect(seen.small.length === 0, `targets under 44 px: ${seen.small.join(' ')}: ${where}`);
}

async function firstLook(report, page, cloud, at) {
  cloud.become('near_full');
  await page.goto(at('/'));
  await page.waitForSelector('[role=meter]');
  await settled(page);
  const bottom = await page.evaluate(() => document.querySelector('.facts').getBoundingClientRect().bottom);
  report.atMost('UX-30 first look ends at (px of 640)', bottom, 640, 'live 360x640');
  const meter = page.locator('[role=meter]');
  report.expect((await meter.getAttribute('aria-valuenow')) === '90', 'the meter has its value');
  report.expect(/198 of 220, 90%.*between 194 and 205/.test((await meter.getAttribute('aria-valuetext')) ?? ''), 'the meter says its value');
  const text = await page.locator('.facts').innerText();
  for (const part of ['± 7', '14 min ago', '90% warning', '100% full', 'As of 1']) {
    report.expect(text.includes(part), `the first look lacks ${part}: ${text}`);
  }
  cloud.become('unknown');
  await page.goto(at('/'));
  await page.waitForSelector('.gauge');
  const unknown = await page.locator('.zone').innerText();
  report.expect(/Unknown/.test(unknown) && !/\b0\b/.test(unknown), `unknown is shown as a number: ${unknown}`);
}

async function keyboard(report, page, cloud, at) {
  cloud.become('setup');
  await page.setViewportSize({ width: 1280, height: 800 });
  await page.goto(at('/'));
  await page.waitForSelector('form');
  report.expect((await page.locator('select').last().inputValue()) !== '', 'the time zone is filled in');
  await page.locator('form button').focus();
  await page.keyboard.press('Enter');
  const focused = await page.evaluate(() => document.activeElement?.tagName);
  report.expect(focused === 'INPUT' && (await page.locator('[aria-invalid]').count()) === 4, 'an empty form says what is missing and goes there');
  for (const text of ['Ana', 'Tab', 'ana@example.test', 'Tab', 'four plain words', 'Tab', 'Riverside', 'Tab']) {
    await (text === 'Tab' ? page.keyboard.press('Tab') : page.keyboard.type(text));
  }
  await page.keyboard.press('Tab');
  cloud.become('near_full');
  await page.keyboard.press('Enter');
  await page.waitForSelector('[role=meter]');
  // From the top of the page to the chart's table, with nothing but Tab and Enter.
  await page.goto(at('/'));
  await page.waitForSelector('[role=meter]');
  let reached = false;
  for (let press = 0; press < 30 && !reached; press += 1) {
    await page.keyboard.press('Tab');
    const outline = await page.evaluate(() => {
      const style = getComputedStyle(document.activeElement);
      return { text: document.activeElement.textContent, width: parseFloat(style.outlineWidth), kind: style.outlineStyle };
    });
    report.expect(outline.kind !== 'none' && outline.width >= 2, `focus can't be seen on ${outline.text}`);
    reached = outline.text === 'Show as table';
  }
  report.expect(reached, 'the table can be reached by keyboard');
  await page.keyboard.press('Enter');
  await page.waitForSelector('.scroll table');
  report.expect((await page.locator('.scroll tbody tr').count()) === 32, 'the table has a row for each bar');
  await accessible(report, page, 'dashboard live as table');
  await page.locator('nav a', { hasText: 'Vendors' }).focus();
  await page.keyboard.press('Enter');
  await page.waitForSelector('h1:has-text("Vendors")');
  await page.waitForFunction(() => document.activeElement?.tagName === 'H1');
  report.expect(true, 'a move inside the app takes the focus to the heading');
}

async function lineDrops(report, page, cloud, at) {
  cloud.become('heal');
  cloud.become('near_full');
  await page.goto(at('/'));
  await page.waitForSelector('.head :text-is("Live")');
  cloud.become('cut');
  await page.waitForSelector('.head :text("Refreshing every 10 s")', { timeout: 12_000 });
  await accessible(report, page, 'dashboard polling');
  cloud.become('heal');
  await page.waitForSelector('.head :text-is("Live")', { timeout: 30_000 });
  report.expect(true, 'the line comes back');
}
