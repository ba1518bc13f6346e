import { describe, expect, it } from 'vitest';
import { answer, laneUse, parse } from './message.ts';

const whole = {
  seq: 12,
  gate: { name: 'North', direction: 'in' },
  screen: { kind: 'deny', reason: 'already_used', lamp: 'red', sound: 'error', presentation: 3, lang: 'ro', words: {}, detail: null, question: null },
  zone: null,
  status: { link: 'online', synced_age_s: 4, pending: 0, clock: 'ntp', camera: 'ok', gate_io: 'ok', storage: 'ok' },
};
const withScreen = (screen: object) => JSON.stringify({ ...whole, screen: { ...whole.screen, ...screen } });

it('answers name the presentation they are about', () => {
  expect(JSON.parse(answer(true, 7))).toEqual({ answer: 'yes', presentation: 7 });
  expect(JSON.parse(answer(false, 8))).toEqual({ answer: 'no', presentation: 8 });
});

it('the lane is closed and reopened by name', () => {
  expect(JSON.parse(laneUse(true))).toEqual({ lane: 'close' });
  expect(JSON.parse(laneUse(false))).toEqual({ lane: 'open' });
});

describe('a message from the gate', () => {
  it('is taken as it is', () => {
    expect(parse(JSON.stringify(whole))).toEqual(whole);
  });

  it.each([
    ['a kind from a newer gate', { kind: 'levitate' }, { kind: 'fault' }],
    ['no kind', { kind: undefined }, { kind: 'fault' }],
    ['an unknown lamp', { lamp: 'blue' }, { lamp: 'fault' }],
    ['an unknown sound', { sound: 'fanfare' }, { sound: null }],
    ['an unknown language', { lang: 'fr' }, { lang: null }],
    ['missing words', { words: null }, { words: {} }],
  ])('%s is never read as an admission', (_name, change, expected) => {
    expect(parse(withScreen(change))?.screen).toMatchObject(expected);
  });

  it.each(['', 'null', '[]', '{"seq":1}', '{"seq":"1","gate":{},"screen":{},"status":{}}', '{"gate":{},"screen":{},"status":{}}'])(
    '%s cannot be shown',
    (text) => {
      expect(parse(text)).toBeNull();
    },
  );
});
