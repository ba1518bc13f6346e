// UX-01: how long a verdict takes from its message to the glass, on a processor four times slower than this one.
// Reported and never failed on, because it is time on a machine that may be busy.
import { showGate } from './chromium.mjs';

const ROUNDS = 30;
/** A screen runs for weeks: the first pictures of each kind, which also load its letters, are not the rule. */
const WARMING = 4;

export async function measurePaint(report, browser, gate) {
  const context = await browser.newContext({ locale: 'en', viewport: { width: 800, height: 480 } });
  const page = await context.newPage();
  await page.addInitScript(() => {
    globalThis.painted = [];
    const Plain = globalThis.WebSocket;
    globalThis.WebSocket = class extends Plain {
      constructor(...given) {
        super(...given);
        this.addEventListener('message', () => {
          const arrived = performance.now();
          // The second frame begins once the first, with the verdict in it, was handed over.
          requestAnimationFrame(() => requestAnimationFrame(() => globalThis.painted.push(performance.now() - arrived)));
        });
      }
    };
  });
  await page.goto(`http://127.0.0.1:${gate.port}/`);
  await page.waitForSelector('main');
  const session = await context.newCDPSession(page);
  await session.send('Emulation.setCPUThrottlingRate', { rate: 4 });
  for (let round = 0; round < ROUNDS + WARMING; round += 1) {
    if (round === WARMING) await page.evaluate(() => globalThis.painted.splice(0));
    const kind = round % 2 === 0 ? 'admit' : 'deny';
    await showGate(gate, page, kind, kind);
  }
  const times = (await page.evaluate(() => globalThis.painted)).sort((a, b) => a - b);
  report.expect(times.length >= ROUNDS, `only ${times.length} of ${ROUNDS} verdicts were seen to be painted`);
  report.note('UX-01 message to paint, p50 ms (4x slower)', times[Math.floor(times.length * 0.5)] ?? NaN);
  report.note('UX-01 message to paint, p95 ms (4x slower)', times[Math.floor(times.length * 0.95)] ?? NaN);
  await context.close();
}
