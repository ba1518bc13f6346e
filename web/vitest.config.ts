import { defineConfig } from 'vitest/config';

// Only plain logic is tested here; pages are looked at by a real browser in browser/check.mjs.
export default defineConfig({
  test: { include: ['{shared,kiosk,dashboard}/src/**/*.test.ts'], environment: 'node' },
});
