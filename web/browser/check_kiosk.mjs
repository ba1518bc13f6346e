// The driver's screen: every kind, at every size, in sun and night, for every eye.
import { readFile } from 'node:fs/promises';
import { gateStates } from '../mock/states.mjs';
import { accessible, MODES, watch } from './axe.mjs';
import { settled, showGate } from './chromium.mjs';
import { contrast, decode, difference, meanLuminance } from './measure.mjs';

const SIZES = [
  [800, 480],
  [1024, 600],
  [1280, 800],
  // Mounted upright, and as small as it gets.
  [360, 740],
];
const DEFICIENCIES = ['achromatopsia', 'deuteranopia', 'protanopia', 'tritanopia'];
const ALERTS = new Set(['deny', 'check', 'full', 'closed', 'fault']);
/** One state for each kind, for comparing kinds with each other. */
const KINDS = ['idle', 'wait', 'admit', 'deny', 'check', 'full', 'closed', 'fault', 'free_exit'];

async function measure(page) {
  return page.evaluate(() => {
    const main = document.querySelector('main');
    const title = document.querySelector('.first .title');
    const style = getComputedStyle(title);
    let ground = title;
    while (getComputedStyle(ground).backgroundColor === 'rgba(0, 0, 0, 0)' && ground.parentElement) ground = ground.parentElement;
    const pen = document.createElement('canvas').getContext('2d');
    pen.font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
    const box = main.getBoundingClientRect();
    const inner = document.querySelector('.words').getBoundingClientRect();
    const texts = [...document.querySelectorAll('.words p')].filter((one) => one.offsetParent !== null);
    const range = document.createRange();
    range.selectNodeContents(title);
    const tops = new Set([...range.getClientRects()].map((rect) => Math.round(rect.top)));
    const live = document.querySelector('.words');
    return {
      share: (box.width * box.height) / (innerWidth * innerHeight),
      capHeight: pen.measureText('H').actualBoundingBoxAscent / Math.min(innerWidth, innerHeight),
      ink: style.color,
      ground: getComputedStyle(ground).backgroundColor,
      groundImage: getComputedStyle(ground).backgroundImage,
      lines: tops.size,
      cut: texts.filter((text) => {
        const rect = text.getBoundingClientRect();
        const over = text.scrollWidth > text.clientWidth + 1;
        return over || rect.right > innerWidth || rect.top < inner.top - 1 || rect.bottom > Math.min(inner.bottom, box.bottom) + 1;
      }).map((text) => text.textContent),
      scrolls: document.documentElement.scrollHeight > innerHeight || document.documentElement.scrollWidth > innerWidth,
      cursor: getComputedStyle(main).cursor,
      select: getComputedStyle(main).userSelect,
      role: live.getAttribute('role'),
      live: live.getAttribute('aria-live'),
      lang: live.getAttribute('lang'),
      htmlLang: document.documentElement.lang,
      firstLang: title.closest('[lang]').getAttribute('lang'),
      name: title.textContent,
      title: document.title,
    };
  });
}

async function readable(report, page, name, kind, where) {
  const seen = await measure(page);
  report.atLeast('UX-01 verdict covers of the viewport', seen.share, 0.6, where);
  report.atLeast('UX-05 contrast of the word', contrast(seen.ink, seen.ground), 7, where);
  report.expect(seen.groundImage === 'none', `a picture behind the word: ${where}`);
  // The idle line is an invitation, not a verdict, and stands in two languages at once.
  if (kind !== 'idle') report.atLeast('UX-05 cap height of the screen', seen.capHeight, 0.12, where);
  report.expect(seen.cut.length === 0, `cut off: ${seen.cut.join(' | ')}: ${where}`);
  report.expect(!seen.scrolls, `scrolls: ${where}`);
  report.expect(seen.cursor === 'none' && seen.select === 'none', `cursor or selection: ${where}`);
  report.expect(seen.lang === seen.firstLang && seen.lang === seen.htmlLang, `lang ${seen.lang}/${seen.htmlLang}: ${where}`);
  const wanted = gateStates[name]?.screen.lang;
  if (wanted) report.expect(seen.lang === wanted, `speaks ${seen.lang}, asked for ${wanted}: ${where}`);
  if (kind !== 'idle') {
    const role = ALERTS.has(kind) || kind === 'disconnected' ? 'alert' : 'status';
    report.expect(seen.role === role && seen.live === 'assertive', `role ${seen.role}/${seen.live}: ${where}`);
  }
  report.expect(seen.title !== '', `no page title: ${where}`);
  return seen.name;
}

export async function checkKiosk(report, browser, gate) {
  const context = await browser.newContext({ locale: 'en', viewport: { width: 800, height: 480 } });
  const page = await context.newPage();
  watch(report, page, 'kiosk');
  gate.show('idle');
  await page.goto(`http://127.0.0.1:${gate.port}/`);
  await page.waitForSelector('main[data-kind="idle"]');
  const states = Object.entries(gateStates).map(([name, state]) => [name, state.screen.kind]);

  for (const [width, height] of SIZES) {
    await page.setViewportSize({ width, height });
    for (const [name, kind] of states) {
      await showGate(gate, page, name, kind);
      await readable(report, page, name, kind, `${name} ${width}x${height}`);
    }
  }

  await page.setViewportSize({ width: 800, height: 480 });
  for (const [mode, media] of Object.entries(MODES)) {
    await page.emulateMedia(media);
    for (const [name, kind] of states) {
      await showGate(gate, page, name, kind);
      if (mode === 'dark') await readable(report, page, name, kind, `${name} night`);
      await accessible(report, page, `kiosk ${name} ${mode}`);
    }
  }

  await everyReason(report, page, gate);
  await staffAnswers(report, page, gate);
  await staffClose(report, page, gate);
  await manyEyes(report, context, page, gate);
  await page.emulateMedia(MODES.light);
  await words(report, page, gate);
  await calm(report, page, gate);
  await cutOff(report, page, gate);
  await context.close();
  await turnsOver(report, browser, gate);
}

/** The gate's own list of reasons, so that a new sentence that doesn't fit is found here and not in the rain. */
async function everyReason(report, page, gate) {
  await page.emulateMedia(MODES.light);
  const source = await readFile(new URL('../../gate-core/src/reason.rs', import.meta.url), 'utf8');
  const pair = '[[(]\\s*"([^"]+)",\\s*"([^"]+)",?\\s*[\\])]';
  const found = [...source.matchAll(new RegExp(`${pair},\\s*${pair}`, 'g'))];
  report.expect(found.length >= 30, `only ${found.length} reasons were found in gate-core/src/reason.rs`);
  const sentences = found.flatMap((one) => [[one, 'en'], [one, 'ro']]);
  for (const [width, height] of [SIZES.at(-1), SIZES[0]]) {
    await page.setViewportSize({ width, height });
    for (const [[, en, enAdvice, ro, roAdvice], lang] of sentences) {
      // The state decides the language: deny_long speaks Romanian, check English.
      const [state, kind] = lang === 'ro' ? ['deny_long', 'deny'] : ['check', 'check'];
      gate.show(state, { en: { title: en, advice: enAdvice }, ro: { title: ro, advice: roAdvice } });
      await page.waitForSelector(`main[data-kind="${kind}"] .first .title:text-is("${lang === 'ro' ? ro : en}")`);
      await settled(page);
      await readable(report, page, state, kind, `"${lang === 'ro' ? ro : en}" ${width}x${height}`);
    }
  }
}

async function staffAnswers(report, page, gate) {
  await showGate(gate, page, 'question', 'check');
  const boxes = await page.locator('.answers button').evaluateAll((all) => all.map((one) => one.getBoundingClientRect().toJSON()));
  report.expect(boxes.length === 2, 'a question has two answers');
  for (const box of boxes) report.atLeast('UX-21 height of an answer (px)', Math.min(box.width, box.height), 64, 'question 800x480');
  report.atLeast('UX-21 gap between answers (px)', boxes[1].left - boxes[0].right, 16, 'question 800x480');
  gate.heard.length = 0;
  await page.locator('.answers .yes').click();
  for (let turn = 0; turn < 50 && gate.heard.length === 0; turn += 1) await settled(page);
  report.expect(gate.heard[0]?.answer === 'yes' && gate.heard[0]?.presentation > 0, `heard ${JSON.stringify(gate.heard)}`);
}

/** D72: staff hold the gate's name and say what becomes of the lane; a short touch does nothing, and asking ends by itself. */
async function staffClose(report, page, gate) {
  const name = page.locator('footer .gate');
  const asked = page.locator('.answers button');
  const hold = async (ms) => {
    await name.hover();
    await page.mouse.down();
    await page.waitForTimeout(ms);
    await page.mouse.up();
    await settled(page);
  };
  // As long as it takes: a busy machine may be late with what a second brings.
  const holdUntilAsked = async () => {
    await name.hover();
    await page.mouse.down();
    await asked.nth(1).waitFor();
    await page.mouse.up();
    await settled(page);
  };
  await showGate(gate, page, 'idle', 'idle');
  report.expect((await page.locator('footer button').count()) === 0, 'a gate without staff has nothing to hold');
  for (const [state, kind, wanted] of [
    ['idle_staffed', 'idle', 'close'],
    ['closed_by_staff', 'closed', 'open'],
  ]) {
    await showGate(gate, page, state, kind);
    const box = await name.boundingBox();
    report.atLeast('UX-21 height of the name that staff hold (px)', Math.min(box.width, box.height), 64, `${state} 800x480`);
    await hold(300);
    report.expect((await asked.count()) === 0, `${state}: a short touch asks nothing`);
    await holdUntilAsked();
    report.expect((await asked.count()) === 2, `${state}: a held touch asks`);
    await readable(report, page, state, kind, `${state} asking 800x480`);
    await accessible(report, page, `kiosk ${state} asking`);
    gate.heard.length = 0;
    await page.locator('.answers .no').click();
    await settled(page);
    report.expect((await asked.count()) === 0 && gate.heard.length === 0, `${state}: back changes nothing`);
    await holdUntilAsked();
    await page.locator('.answers button').last().click();
    for (let turn = 0; turn < 50 && gate.heard.length === 0; turn += 1) await settled(page);
    report.expect(gate.heard[0]?.lane === wanted && (await asked.count()) === 0, `${state}: heard ${JSON.stringify(gate.heard)}`);
  }
  await showGate(gate, page, 'withdrawn', 'fault');
  const line = await page.locator('footer').innerText();
  report.expect(line.includes('WITHDRAWN BY THE OFFICE'), `a withdrawn gate does not say so: ${line}`);
  await showGate(gate, page, 'idle_near_full', 'idle');
  const places = await page.locator('.first .places').innerText();
  report.expect(places === '20 places left (47 min ago)', `an old number says "${places}"`);
}

async function manyEyes(report, context, page, gate) {
  const session = await context.newCDPSession(page);
  const brightness = new Map();
  for (const scheme of ['light', 'dark']) {
    await page.emulateMedia(MODES[scheme]);
    const pictures = new Map();
    const names = new Map();
    for (const kind of KINDS) {
      await showGate(gate, page, kind, kind);
      names.set(kind, (await page.locator('.first .title').textContent()) ?? '');
      for (const type of DEFICIENCIES) {
        await session.send('Emulation.setEmulatedVisionDeficiency', { type });
        const picture = decode(await page.screenshot({ animations: 'disabled' }));
        pictures.set(`${kind} ${type}`, picture);
      }
      await session.send('Emulation.setEmulatedVisionDeficiency', { type: 'none' });
      brightness.set(`${kind} ${scheme}`, meanLuminance(decode(await page.screenshot({ animations: 'disabled' }))));
    }
    for (const one of KINDS) {
      for (const other of KINDS) {
        if (one >= other) continue;
        report.expect(names.get(one) !== names.get(other), `${one} and ${other} say the same word`);
        for (const type of DEFICIENCIES) {
          const share = difference(pictures.get(`${one} ${type}`), pictures.get(`${other} ${type}`));
          report.atLeast('UX-02 pixels that tell two kinds apart', share, 0.1, `${one}/${other} ${type} ${scheme}`);
        }
      }
    }
  }
  for (const kind of KINDS) {
    const ratio = brightness.get(`${kind} dark`) / brightness.get(`${kind} light`);
    report.atMost('UX-05 night light as a share of sun light', ratio, 0.5, kind);
  }
}

async function words(report, page, gate) {
  await showGate(gate, page, 'idle_near_full', 'idle');
  const line = await page.locator('footer').innerText();
  report.expect(line.includes('OFFLINE'), `47 minutes without a sync don't say OFFLINE: ${line}`);
  await showGate(gate, page, 'fault', 'fault');
  const all = await page.locator('footer').innerText();
  for (const word of ['OFFLINE', 'Synced 26 h ago', '1,284 to send', 'TIME UNKNOWN', 'CAMERA STUCK', 'RELAY LOST', 'STORAGE FAULT']) {
    report.expect(all.includes(word), `the status line lacks ${word}: ${all}`);
  }
  for (const [state, word] of [['other_machine', 'CARD OF ANOTHER MACHINE'], ['other_machine_ro', 'CARD DIN ALT APARAT']]) {
    await showGate(gate, page, state, 'fault');
    const why = await page.locator('footer .alarm').first().innerText();
    report.expect(why === word, `${state} says why it does not decide as ${why}`);
  }
  await showGate(gate, page, 'fault', 'fault');
  const order = await page.evaluate(() =>
    ['red', 'yellow', 'green'].map((name) => document.querySelector(`.lamp.${name} .glass`).getBoundingClientRect().top),
  );
  report.expect(order[0] < order[1] && order[1] < order[2], 'lamps are not red over yellow over green');
}

async function calm(report, page, gate) {
  await page.emulateMedia({ ...MODES.light, reducedMotion: 'reduce' });
  await showGate(gate, page, 'fault', 'fault');
  report.expect((await page.evaluate(() => document.getAnimations().length)) === 0, 'something moves although motion is unwanted');
  await showGate(gate, page, 'idle', 'idle');
  report.expect((await page.locator('.idle .first').count()) === 2, 'idle alternates although motion is unwanted');
  await page.emulateMedia({ reducedMotion: 'no-preference' });
}

/** UX-07: the invitation changes its first language every five seconds, by a clock moved by hand. */
async function turnsOver(report, browser, gate) {
  const context = await browser.newContext({ locale: 'en', viewport: { width: 800, height: 480 } });
  const page = await context.newPage();
  await page.clock.install();
  gate.show('idle');
  await page.goto(`http://127.0.0.1:${gate.port}/`);
  await page.waitForSelector('main[data-kind="idle"]');
  // Read in the middle of each five seconds, where a tick early or late changes nothing.
  await page.clock.runFor(2_000);
  const heard = [await page.locator('.first .title').textContent()];
  // Fewer than the fifteen seconds after which the page says that it hears nothing.
  for (let turn = 0; turn < 2; turn += 1) {
    await page.clock.runFor(5_000);
    heard.push(await page.locator('.first .title').textContent());
  }
  const wanted = ['Show your code', 'Arătați codul', 'Show your code'];
  report.expect(heard.join() === wanted.join(), `idle turned over as ${heard.join(' / ')}`);
  report.expect((await page.locator('.second .title').count()) === 1, 'the other language stands beneath');
  await context.close();
}

async function cutOff(report, page, gate) {
  await showGate(gate, page, 'admit', 'admit');
  gate.cut();
  await page.waitForSelector('main[data-kind="disconnected"]', { timeout: 8_000 });
  await settled(page);
  for (const [mode, media] of Object.entries(MODES)) {
    await page.emulateMedia(media);
    await settled(page);
    await accessible(report, page, `kiosk disconnected ${mode}`);
  }
  await page.emulateMedia(MODES.light);
  await readable(report, page, 'disconnected', 'disconnected', 'disconnected 800x480');
  gate.heal();
  gate.show('deny');
  await page.waitForSelector('main[data-kind="deny"]', { timeout: 15_000 });
  report.expect(true, 'comes back');
}
