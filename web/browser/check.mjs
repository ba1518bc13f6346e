// Looks at every screen with a real browser and fails where a promise of the design isn't kept:
// npm run build && npm run browser
import { startCloud, startGate } from '../mock/server.mjs';
import { checkBuild } from './check_build.mjs';
import { checkDashboard } from './check_dashboard.mjs';
import { checkKiosk } from './check_kiosk.mjs';
import { openBrowser } from './chromium.mjs';
import { measurePaint } from './paint.mjs';
import { Report } from './report.mjs';

const started = performance.now();
const report = new Report();
const [gate, cloud, browser] = await Promise.all([startGate(), startCloud(), openBrowser()]);
try {
  await checkBuild(report);
  await measurePaint(report, browser, gate);
  const parts = await Promise.allSettled([checkKiosk(report, browser, gate), checkDashboard(report, browser, cloud)]);
  for (const part of parts) {
    if (part.status === 'rejected') report.expect(false, `stopped early: ${part.reason?.stack ?? part.reason}`);
  }
} finally {
  await browser.close();
  await gate.stop();
  await cloud.stop();
}
report.print((performance.now() - started) / 1_000);
process.exitCode = report.failures.length === 0 ? 0 : 1;
