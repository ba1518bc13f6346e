import { inbox, type InboxWords } from '@gate/shared/words/inbox.ts';
import { LANGS, speaker } from '@gate/shared/words/words.ts';
import { describe, expect, it } from 'vitest';
import { countFacts, doings, isDecision, KINDS, numbers, says, shortPass, stateOf, title, type ConflictWhole } from './conflicts.ts';

const time = (ms: number) => `at ${ms}`;
const span = (seconds: number) => `${seconds} s`;

describe('every kind', () => {
  it.each(KINDS)('%s says what it is, what happened and what to do, in both languages', (kind) => {
    for (const lang of LANGS) {
      const say = speaker<InboxWords>(lang, inbox[lang]);
      for (const key of [`k_${kind}`, `w_${kind}`, `d_${kind}`] as const) expect(say(key).length, `${lang} ${key}`).toBeGreaterThan(10);
    }
  });

  it('has words that nobody must be an engineer for', () => {
    for (const lang of LANGS) {
      for (const [key, words] of Object.entries(inbox[lang])) {
        const text = typeof words === 'string' ? words : Object.values(words).join(' ');
        if (/^[wdk]_/.test(key)) expect(text, key).not.toMatch(/journal|epoch|hash|event|fence|replica|_/i);
      }
    }
  });
});

it.each<[string, string | null, string | null]>([
  ['count_due', 'Pool', 'Count who is in Pool'],
  ['count_due', null, 'A zone should be counted'],
  ['drift', 'Pool', 'More left than came in'],
  ['something_newer', 'Pool', null],
])('%s in %s is called %s', (kind, zone, expected) => {
  const line = title({ kind, zone_id: 'z' }, zone);
  expect(line && speaker<InboxWords>('en', inbox.en)(...line)).toBe(expected);
});

it.each([
  ['open', true, null, 'warn', 'state_open'],
  ['open', false, null, 'quiet', 'state_over'],
  ['resolved', true, 'p', 'go', 'state_closed'],
  ['resolved', false, null, 'go', 'state_ended'],
] as const)('%s, standing %s, resolved by %s', (conflictState, standing, resolved_by, tone, word) => {
  expect(stateOf({ state: conflictState, standing, resolved_by })).toEqual({ tone, word });
});

it.each<[string, Partial<ConflictWhole>, string[]]>([
  ['anything', {}, ['close']],
  ['a report that is kept aside', { kind: 'poison' }, ['retry', 'close']],
  ['a device that waits', { kind: 'fork', fenced: true }, ['release', 'withdraw']],
  ['a device that was let go on', { kind: 'fork' }, ['close']],
  ['what is closed', { kind: 'poison', state: 'resolved' }, []],
])('%s can be ended by %o', (_name, change, expected) => {
  expect(doings({ kind: 'drift', fenced: false, state: 'open', ...change })).toEqual(expected);
});

it.each<[string, Record<string, unknown> | null, string[]]>([
  ['over_capacity', { occupancy: 223, capacity: 220 }, ['223 were counted for 220 places.']],
  ['over_capacity', null, []],
  ['over_capacity', { occupancy: 'many' }, []],
  ['drift', { drift: 1 }, ['1 more exit was seen than entries.']],
  ['recount_lost', { observed: 4, held: 6 }, ['The count of 6 holds, the count of 4 was put aside.']],
  ['clock_fault', { by_s: -90 }, ['The clock jumped by -90 s.']],
  ['fork', { anything: 1 }, []],
  ['count_due', { reasons: ['drift'], drift: 3 }, ['At one time there had been 3 more exits than entries: somebody came in unseen.']],
  ['count_due', { reasons: ['unsure', 'quiet'], unsure: 2, last_passed_ms: 7 }, [
    'For 2 openings it is not known whether the gate really opened.',
    'Nothing has passed since at 7, and by the count somebody is still inside.',
  ]],
  ['count_due', { reasons: ['old'], passed: 60, last_counted_ms: null }, ['60 passages, and nobody has counted yet.']],
  ['count_due', { reasons: ['old', 'newer'], passed: 60, last_counted_ms: 1 }, ['60 passages since the last count, more than 30 days ago.']],
])('the numbers of %s %o', (kind, details, expected) => {
  const say = speaker<InboxWords>('en', inbox.en);
  expect(numbers({ kind, details }, time, span).map((line) => say(...line))).toEqual(expected);
});

it.each<[Record<string, unknown> | null, string | null, number | null]>([
  [{ counted: 12, low: 12, high: 12, last_counted_ms: 5 }, '12 inside', 5],
  [{ counted: 12, low: 9, high: 12, last_counted_ms: null }, '12 inside, perhaps only 9', null],
  [null, null, null],
])('a zone that should be counted: %o', (details, words, lastMs) => {
  const facts = countFacts({ kind: 'count_due', details });
  expect(facts && speaker<InboxWords>('en', inbox.en)(...facts.line)).toBe(words);
  expect(facts?.lastMs ?? null).toBe(lastMs);
});

it.each([
  ['event', 'authorised', 'ev_authorised', true],
  ['event', 'refused', 'ev_refused', true],
  ['event', 'overridden', 'ev_overridden', false],
  ['parked', null, 'ev_parked', false],
  ['word', null, 'ev_word', false],
  ['event', 'something_newer', 'ev_word', false],
] as const)('evidence %s %s', (form, kind, key, decided) => {
  expect(says({ form, kind })).toBe(key);
  expect(isDecision({ form, kind })).toBe(decided);
});

it.each([
  ['TM-6f1d0c5e9a7b4c3d8e2f1a0b9c8d7e6f', 'TM-6f1d0c5e…'],
  ['6f1d0c5e9a7b4c3d8e2f1a0b9c8d7e6f', '6f1d0c5e…'],
  ['TM-6f1d', 'TM-6f1d'],
])('%s is shown as %s', (pass, short) => {
  expect(shortPass(pass)).toBe(short);
});
