// What the builds and the lock file must not contain, read as text.
import { readdir, readFile } from 'node:fs/promises';

const WEB = new URL('..', import.meta.url);

export async function checkBuild(report) {
  for (const name of ['kiosk', 'dashboard']) {
    const html = await readFile(new URL(`${name}/dist/index.html`, WEB), 'utf8');
    report.expect(!/<script(?![^>]*\ssrc=)/.test(html), `${name}: an inline script`);
    report.expect(!/<style|\sstyle=|\son[a-z]+=/.test(html), `${name}: an inline style or handler`);
    report.expect(!/https?:\/\//.test(html), `${name}: another host in index.html`);
    report.expect(/src="\/assets\//.test(html), `${name}: assets are not addressed from the root`);
    for (const file of await readdir(new URL(`${name}/dist/assets/`, WEB))) {
      if (!file.endsWith('.css')) continue;
      const css = await readFile(new URL(`${name}/dist/assets/${file}`, WEB), 'utf8');
      report.expect(!/url\(\s*["']?(https?:|data:|\/\/)/.test(css), `${name}/${file}: fetches from another host or a data address`);
    }
  }
  const lock = JSON.parse(await readFile(new URL('package-lock.json', WEB), 'utf8'));
  const addressed = Object.entries(lock.packages).filter(([, entry]) => /:\/\//.test(entry.resolved ?? ''));
  report.expect(addressed.length === 0, `the lock file has download addresses: ${addressed.map(([name]) => name).join(', ')}`);
}
