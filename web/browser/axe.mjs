import axe from 'axe-core';

const TAGS = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];

/** WCAG 2.2 AA on the page as it stands. Evaluated from outside, so the page's own policy stays strict. */
export async function accessible(report, page, where) {
  if (!(await page.evaluate(() => 'axe' in globalThis))) await page.evaluate(axe.source);
  const violations = await page.evaluate(async (tags) => {
    const result = await globalThis.axe.run(document, { runOnly: { type: 'tag', values: tags }, resultTypes: ['violations'] });
    return result.violations.map((one) => `${one.id} at ${one.nodes.map((node) => node.target.join(' ')).join(', ')}`);
  }, TAGS);
  report.expect(violations.length === 0, `axe: ${violations.join('; ')}: ${where}`);
}

/** Everything the page must never do, wherever it is: break its own policy, fail aloud, or call another host. */
export function watch(report, page, name) {
  page.on('pageerror', (error) => report.expect(false, `${name} threw ${error.message}`));
  page.on('console', (message) => {
    const text = message.text();
    if (/Content.Security.Policy|Refused to/i.test(text)) report.expect(false, `${name} broke its policy: ${text}`);
  });
  page.on('request', (request) => {
    const { hostname, protocol } = new URL(request.url());
    report.expect(hostname === '127.0.0.1' && protocol !== 'data:', `${name} asked another host: ${request.url()}`);
  });
}

export const MODES = {
  light: { colorScheme: 'light', forcedColors: 'none' },
  dark: { colorScheme: 'dark', forcedColors: 'none' },
  'forced colours': { colorScheme: 'dark', forcedColors: 'active' },
};
