import js from '@eslint/js';
import globals from 'globals';
import svelte from 'eslint-plugin-svelte';
import ts from 'typescript-eslint';
import svelteConfig from './svelte.config.js';

export default ts.config(
  { ignores: ['**/dist/', '**/node_modules/'] },
  js.configs.recommended,
  ...ts.configs.strict,
  ...ts.configs.stylistic,
  ...svelte.configs.recommended,
  { languageOptions: { globals: { ...globals.browser } } },
  {
    files: ['**/*.svelte', '**/*.svelte.ts'],
    languageOptions: { parserOptions: { parser: ts.parser, extraFileExtensions: ['.svelte'], svelteConfig } },
  },
  { files: ['mock/**', 'browser/**', '*.config.*'], languageOptions: { globals: { ...globals.node } } },
  {
    rules: {
      'no-console': 'error',
      eqeqeq: 'error',
      'svelte/no-at-html-tags': 'error',
      // The content security policy refuses style attributes; classes and CSSOM are the two ways.
      'svelte/no-inline-styles': ['error', { allowTransitions: false }],
    },
  },
  { files: ['mock/**', 'browser/**'], rules: { 'no-console': 'off' } },
  // Addresses are built by route.svelte.ts; there is no SvelteKit resolver here.
  { rules: { 'svelte/no-navigation-without-resolve': 'off' } },
);
