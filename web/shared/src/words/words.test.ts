import { describe, expect, it } from 'vitest';
import { common } from './everywhere.ts';
import { inbox } from './inbox.ts';
import { office, type OfficeWords } from './office.ts';
import { screen } from './screen.ts';
import { preferred, speaker, type Catalogue, type Plural } from './words.ts';

const catalogues: [string, { en: Catalogue; ro: Catalogue }][] = [
  ['common', common],
  ['screen', screen],
  ['office', office],
  ['inbox', inbox],
];

function texts(entry: string | Plural | undefined): string[] {
  if (entry === undefined) return [];
  return typeof entry === 'string' ? [entry] : Object.values(entry as unknown as Record<string, string>);
}

const holes = (text: string) => [...text.matchAll(/\{(\w+)\}/g)].map((match) => match[1]).sort();

describe.each(catalogues)('%s words', (_name, { en, ro }) => {
  it('have the same keys in both languages', () => {
    expect(Object.keys(ro).sort()).toEqual(Object.keys(en).sort());
  });

  it('are never empty and fill the same holes', () => {
    for (const key of Object.keys(en)) {
      const wanted = holes(texts(en[key])[0] ?? '');
      for (const text of [...texts(en[key]), ...texts(ro[key])]) {
        expect(text.trim(), key).not.toBe('');
        expect(holes(text), key).toEqual(wanted);
      }
    }
  });

  it('have one, few and other wherever Romanian counts', () => {
    for (const [key, entry] of Object.entries(ro)) {
      if (typeof entry === 'string') continue;
      expect(Object.keys(entry).sort(), key).toEqual(['few', 'one', 'other']);
      expect(entry.other, `${key}: twenty and more take "de"`).toContain('{n} de ');
    }
  });

  it('use comma below, never the cedilla', () => {
    for (const entry of Object.values({ ...ro })) {
      for (const text of texts(entry)) expect(text).not.toMatch(/[\u015E\u015F\u0162\u0163]/);
    }
  });
});

describe('plurals', () => {
  const say = speaker<OfficeWords>('ro', office.ro);
  it.each([
    [0, '0 scanări'],
    [1, '1 scanare'],
    [2, '2 scanări'],
    [19, '19 scanări'],
    [20, '20 de scanări'],
    [100, '100 de scanări'],
    [101, '101 scanări'],
    [120, '120 de scanări'],
    [2_000, '2.000 de scanări'],
  ])('%i in Romanian', (n, expected) => {
    expect(say('scans', { n })).toBe(expected);
  });
  it('in English', () => {
    expect(speaker<OfficeWords>('en', office.en)('scans', { n: 1 })).toBe('1 scan');
    expect(speaker<OfficeWords>('en', office.en)('scans', { n: 1_200 })).toBe('1,200 scans');
  });
});

it.each([
  [['ro-MD', 'en'], 'ro'],
  [['de', 'RO'], 'ro'],
  [['en-GB', 'ro'], 'en'],
  [['fr'], 'en'],
  [[], 'en'],
])('a browser that prefers %s begins in %s', (languages, expected) => {
  expect(preferred(languages)).toBe(expected);
});
