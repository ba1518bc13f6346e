// The office: every page in two languages, light, dark and forced colours, on a phone, by keyboard, and when the line drops.
import { accessible, MODES, watch } from './axe.mjs';
import { settled } from './chromium.mjs';

/** Three of the canned inbox, by their place in it. */
const [COUNT, DOUBLE, FORK] = ['1', '2', '3'].map((n) => n.padStart(64, '3'));

/** Each page with what shows that it has arrived, and the state of the server it is for. */
const PAGES = [
  { name: 'setup', state: 'setup', path: '/', ready: 'form' },
  { name: 'login', state: 'login', path: '/', ready: 'form' },
  { name: 'live', state: 'near_full', path: '/', ready: '[role=meter]' },
  { name: 'live open', state: 'open', path: '/', ready: '[role=meter]' },
  { name: 'live unknown', state: 'unknown', path: '/', ready: '.gauge' },
  { name: 'live empty', state: 'empty', path: '/', ready: '.start' },
  { name: 'inbox', state: 'full_inbox', path: '/inbox', ready: '.found li' },
  { name: 'inbox opened', state: 'full_inbox', path: `/inbox/${FORK}`, ready: '.open form' },
  { name: 'inbox to count', state: 'full_inbox', path: `/inbox/${COUNT}`, ready: '.open form' },
  { name: 'inbox explained', state: 'full_inbox', path: `/inbox/${DOUBLE}`, ready: '.open form' },
  { name: 'inbox empty', state: 'quiet', path: '/inbox', ready: '.none h2' },
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
    const firsts = ['setup', 'login', 'live', 'inbox', 'issue', 'lookup', 'gates', 'zones', 'vendors', 'not found'].map((name) => titles.get(name));
    report.expect(new Set(firsts).size === firsts.length, `page titles repeat: ${firsts.join(' / ')}`);
    await context.close();
  }
  const context = await browser.newContext({ locale: 'en', viewport: { width: 360, height: 640 } });
  const page = await context.newPage();
  watch(report, page, 'dashboard phone');
  await firstLook(report, page, cloud, at);
  await keyboard(report, page, cloud, at);
  await inboxByKeyboard(report, page, cloud, at);
  await inboxOnAPhone(report, page, cloud, at);
  await refused(report, browser, cloud, at);
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
  if (name === 'inbox explained') {
    await page.locator('.open li button').first().click();
    await page.waitForSelector('.open ol');
    for (const summary of await page.locator('.open summary').all()) await summary.click();
  }
  if (name === 'issue') {
    await page.locator('form button').click();
    await page.waitForSelector('.issued');
  }
}

/** The inbox, from the list to a closed item, with nothing but the keyboard; what happens is said aloud. */
async function inboxByKeyboard(report, page, cloud, at) {
  cloud.become('full_inbox');
  await page.setViewportSize({ width: 1280, height: 800 });
  await page.goto(at('/inbox'));
  await page.waitForSelector('.found li');
  report.expect((await page.locator('.badge').innerText()) === '13', 'what waits is counted beside the name of the page');
  report.expect((await page.getByRole('link', { name: /^Inbox\W*13 waiting$/ }).count()) === 1, 'and said in words');
  report.expect((await page.locator('.count[role=status]').innerText()) === '14 shown', 'how many are shown is said');
  // The first: used too often, because it was noticed last.
  await page.locator('.filters select').focus();
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await page.waitForSelector('.open form');
  report.expect((await focusedText(page)) === 'Pass used too often', 'an opened item takes the focus to its heading');
  report.expect(page.url().endsWith(`/inbox/${DOUBLE}`), 'what is open has an address');
  report.expect((await page.locator('.open dd', { hasText: 'TM-6f1d0c5e…' }).count()) === 1, 'the pass is named as short as people say it');
  await page.locator('.open button', { hasText: 'Explain this decision' }).first().focus();
  await page.keyboard.press('Enter');
  await page.waitForSelector('.open [role=status] ol');
  report.expect(/decided again today, the answer is the same/i.test(await page.locator('.open .answer').first().innerText()), 'a decision is explained');
  await page.locator('.open select').focus();
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  await page.waitForSelector('.open [role=status]:has-text("Mihai Popescu looks at it now.")');
  await page.locator('.open input').focus();
  await page.keyboard.press('Enter');
  report.expect((await page.locator('.found li').count()) === 14, 'nothing is closed without a note');
  await page.keyboard.type('Copied by a guest');
  await page.keyboard.press('Enter');
  await page.waitForSelector('.open [role=status]:has-text("Closed.")');
  await page.waitForFunction(() => document.querySelectorAll('.found li').length === 13);
  await page.waitForFunction(() => document.querySelector('.badge').textContent === '12');
  const facts = await page.locator('.open').innerText();
  report.expect(/Copied by a guest/.test(facts) && /by Ana Ionescu/.test(facts), `it says who closed it and why: ${facts}`);
  // What can't be done is said, and nothing is lost of what was typed.
  await page.goto(at('/inbox'));
  await page.waitForSelector('.found li');
  await page.selectOption('.filters select', 'poison');
  await page.waitForFunction(() => document.querySelectorAll('.found li').length === 1);
  await page.locator('.found li a').click();
  await page.waitForSelector('.open form');
  await page.locator('.open input').fill('The zone is there now');
  await page.locator('.open button[value=retry]').click();
  await page.waitForSelector('.open [role=alert]:has-text("It still cannot be used")');
  report.expect((await page.locator('.open input').inputValue()) === 'The zone is there now', 'the note stays');
  // All, then more of them: the focus goes to the first new one.
  await page.goto(at('/inbox'));
  await page.waitForSelector('.found li');
  await page.locator('.states button', { hasText: 'All' }).click();
  await page.waitForSelector('.more');
  const shown = await page.locator('.found li').count();
  const states = await page.locator('.found li').evaluateAll((items) => items.map((item) => /Closed|Ended/.test(item.textContent)));
  report.expect(states.indexOf(true) > 0 && !states.slice(states.indexOf(true)).includes(false), 'what is open comes first');
  await page.locator('.more').focus();
  await page.keyboard.press('Enter');
  await page.waitForFunction((before) => document.querySelectorAll('.found li').length > before, shown);
  const at_ = await page.evaluate(() => [...document.querySelectorAll('.found li a')].indexOf(document.activeElement));
  report.expect(at_ === shown, `after “Show more” the focus is on item ${at_}, not ${shown}`);
  const ids = await page.locator('.found li a').evaluateAll((links) => links.map((link) => link.href));
  report.expect(new Set(ids).size === ids.length && ids.length === 38, `nothing is doubled or missed: ${ids.length}`);
}

/** On a phone what is open takes the place of the list; a zone is counted there, and that ends the reminder. */
async function inboxOnAPhone(report, page, cloud, at) {
  cloud.become('full_inbox');
  await page.setViewportSize({ width: 360, height: 640 });
  await page.goto(at('/inbox'));
  await page.waitForSelector('.found li');
  await page.locator('.found a', { hasText: 'Count who is in Main car park' }).click();
  await page.waitForSelector('.open form');
  report.expect(!(await page.locator('.found').isVisible()), 'the list makes room');
  const said = await page.locator('.open').innerText();
  for (const part of ['4 more exits than entries', '6 openings', 'somebody is still inside', '12 inside, perhaps only 6', '9 days ago']) {
    report.expect(said.includes(part), `the reminder lacks ${part}: ${said}`);
  }
  await page.locator('.open input[type=number]').fill('9');
  await page.locator('.open form').first().locator('input').last().fill('walked through');
  await page.keyboard.press('Enter');
  await page.waitForSelector('.open [role=status]:has-text("It said 12, now it says 9.")');
  await page.waitForSelector('.open :text("Ended by itself")');
  await page.locator('.back a').click();
  await page.waitForSelector('.found li >> visible=true');
  report.expect((await page.evaluate(() => document.activeElement?.tagName)) === 'H1', 'back, to the heading, because it is no longer in the list');
  await page.locator('.found li a').nth(3).click();
  await page.waitForSelector('.open form');
  await page.goBack();
  await page.waitForSelector('.found li >> visible=true');
  const back = await page.evaluate(() => [...document.querySelectorAll('.found li a')].indexOf(document.activeElement));
  report.expect(back === 3, `back to where one was: ${back}`);
  await page.goto(at(`/inbox/${'a'.repeat(64)}`));
  await page.waitForSelector('.open :text("no longer in the inbox")');
  report.expect(true, 'what is gone is said to be');
}

async function focusedText(page) {
  await page.waitForFunction(() => document.activeElement?.tagName === 'H2');
  return page.evaluate(() => document.activeElement.textContent);
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

/** A count and a note that the server, the network or an ended session refuses: it is said in the reader's language, and nothing typed is lost. */
async function refused(report, browser, cloud, at) {
  const said = {
    en: {
      count: '“How it was counted” must be a few words',
      note: '“What you found out” must be a few words',
      gone: 'The server does not answer.',
      ended: 'Your session had ended, so this was not done.',
      counted: 'It said 12, now it says 7.',
      still_in: 'this browser is still logged in',
      wrong: 'E-mail and password do not match',
    },
    ro: {
      count: '„Cum s-a numărat” trebuie să fie câteva cuvinte',
      note: '„Ce ați aflat” trebuie să fie câteva cuvinte',
      gone: 'Serverul nu răspunde.',
      ended: 'Sesiunea se încheiase, deci nu s-a făcut nimic.',
      counted: 'Era 12, acum este 7.',
      still_in: 'acest navigator este încă în cont',
      wrong: 'E-mailul și parola nu se potrivesc',
    },
  };
  for (const [locale, texts] of Object.entries(said)) {
    const context = await browser.newContext({ locale, viewport: { width: 360, height: 740 } });
    const page = await context.newPage();
    watch(report, page, `dashboard refused ${locale}`);
    cloud.become('full_inbox');
    await page.goto(at(`/inbox/${COUNT}`));
    await page.waitForSelector('.open form');
    const [counting, closing] = [page.locator('.open form').first(), page.locator('.open form').last()];
    const [count, how, note] = [counting.locator('input').first(), counting.locator('input').last(), closing.locator('input')];
    const kept = async (name, why) => {
      await page.waitForSelector(`.open [role=alert]:has-text("${texts[name]}")`);
      const typed = [await count.inputValue(), await how.inputValue(), await note.inputValue()].join('|');
      report.expect(typed === why, `${name} ${locale}: of what was typed is left ${typed}`);
    };
    await count.fill('7');
    await how.fill('  ');
    await note.fill(' ');
    await how.press('Enter');
    await kept('count', '7|  | ');
    await note.press('Enter');
    await kept('note', '7|  | ');
    await how.fill('walked through');
    await note.fill('Counted at closing');
    cloud.become('dead');
    await how.press('Enter');
    await kept('gone', '7|walked through|Counted at closing');
    cloud.become('heal');
    // Logged out elsewhere, or overnight.
    cloud.become('login');
    await how.press('Enter');
    await page.waitForSelector('dialog[open] form');
    await kept('ended', '7|walked through|Counted at closing');
    report.expect((await page.evaluate(() => document.activeElement?.type)) === 'email', `the focus is not where one logs in: ${locale}`);
    report.expect((await page.locator('h1').count()) === 1, `a second h1 to log in again: ${locale}`);
    for (const [mode, media] of Object.entries(MODES)) {
      await page.emulateMedia(media);
      await settled(page);
      await accessible(report, page, `dashboard log in again ${locale} ${mode}`);
    }
    await page.emulateMedia(MODES.light);
    await narrow(report, page, `log in again ${locale}`);
    await page.locator('dialog input[type=email]').fill('ana@example.test');
    await page.locator('dialog input[type=password]').fill('wrong');
    await page.keyboard.press('Enter');
    await page.waitForSelector(`dialog [role=alert]:has-text("${texts.wrong}")`);
    await page.locator('dialog input[type=password]').fill('four plain words');
    await page.keyboard.press('Enter');
    await page.waitForSelector('dialog', { state: 'hidden' });
    await kept('ended', '7|walked through|Counted at closing');
    await how.press('Enter');
    await page.waitForSelector(`.open [role=status]:has-text("${texts.counted}")`);
    // Whoever logs out without a network is told that they are still in, and sees nothing more.
    cloud.become('dead');
    await page.locator('button.menu').click();
    await page.locator('button.out').click();
    await page.waitForSelector(`[role=alert]:has-text("${texts.still_in}")`);
    report.expect((await page.locator('.found, form, button.menu').count()) === 0, `nothing is shown that needs a session: ${locale}`);
    await accessible(report, page, `dashboard still in ${locale}`);
    cloud.become('heal');
    await page.locator('[role=alert] button').click();
    await page.waitForSelector('form input[type=password]');
    await context.close();
  }
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
