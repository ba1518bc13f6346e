import { describe, expect, it } from 'vitest';
import { age, clockTime, moment, number, percent, sentence, span } from './format.ts';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

describe('age', () => {
  it.each([
    [null, 'never', 'niciodată'],
    [-3 * SECOND, 'just now', 'chiar acum'],
    [0, 'just now', 'chiar acum'],
    [42 * SECOND, '42 s ago', 'acum 42 s'],
    [59_999, '59 s ago', 'acum 59 s'],
    [MINUTE, '1 min ago', 'acum 1 min'],
    [HOUR - 1, '59 min ago', 'acum 59 min'],
    [3 * HOUR, '3 h ago', 'acum 3 h'],
    [2 * DAY, '2 days ago', 'acum 2 zile'],
    [20 * DAY, '20 days ago', 'acum 20 de zile'],
    [101 * DAY, '101 days ago', 'acum 101 zile'],
  ])('%s ms', (ms, en, ro) => {
    expect(age('en', ms)).toBe(en);
    expect(age('ro', ms)).toBe(ro);
  });
});

describe('numbers and moments', () => {
  it('groups digits as the language does', () => {
    expect(number('en', 12_345)).toBe('12,345');
    expect(number('ro', 12_345)).toBe('12.345');
  });
  it('writes percent, also over a hundred', () => {
    expect(percent('en', 90)).toBe('90%');
    expect(percent('ro', 104.4).replace(/\s/g, ' ')).toBe('104 %');
  });
  it('shows a time in the venue zone, not the viewer zone', () => {
    const noonUtc = Date.UTC(2026, 6, 1, 12, 0);
    expect(clockTime('ro', noonUtc, 'Europe/Bucharest')).toBe('15:00');
    expect(clockTime('en', noonUtc, 'America/New_York')).toBe('08:00');
  });
  it('adds the day once it is no longer today', () => {
    const at = Date.UTC(2026, 6, 1, 12, 0);
    expect(moment('en', at, at + HOUR, 'UTC')).toBe('12:00');
    expect(moment('en', at, at + DAY, 'UTC')).toContain('Jul');
  });
});

describe('sentence', () => {
  it.each([
    ['en', 'LOT FULL', 'Lot full'],
    ['ro', 'ÎNCĂ NU ESTE VALABIL', 'Încă nu este valabil'],
    ['ro', '', ''],
  ] as const)('%s %s', (lang, title, expected) => {
    expect(sentence(lang, title)).toBe(expected);
  });
});

it.each([
  [90, '90 seconds', '90 de secunde'],
  [-5_400, '-90 minutes', '-90 de minute'],
  [3 * 3_600, '3 hours', '3 ore'],
  [20 * 86_400, '20 days', '20 de zile'],
])('a length of %i s', (seconds, en, ro) => {
  expect([span('en', seconds), span('ro', seconds)]).toEqual([en, ro]);
});
