// One build recipe for both pages, because both are served by a Rust binary
// under `default-src 'self'`: nothing inline, nothing from another host.
import { svelte } from '@sveltejs/vite-plugin-svelte';
import type { UserConfig } from 'vite';

export function page(): UserConfig {
  return {
    base: '/',
    plugins: [svelte()],
    build: {
      outDir: 'dist',
      emptyOutDir: true,
      // A data: address would be refused by the content security policy.
      assetsInlineLimit: 0,
      // The polyfill is a script of its own and every browser we support has the feature.
      modulePreload: { polyfill: false },
      target: 'es2022',
      reportCompressedSize: false,
    },
  };
}
