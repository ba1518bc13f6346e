import { expect, test } from 'vitest';
import { minuteOf, timeOf } from './daily.ts';

test('a time of the day is minutes and back', () => {
  for (const [text, minute] of [['00:00', 0], ['03:00', 180], ['09:05', 545], ['23:59', 1439]] as const) {
    expect(minuteOf(text)).toBe(minute);
    expect(timeOf(minute)).toBe(text);
  }
  expect(minuteOf('03:00:30')).toBe(180);
  for (const nothing of ['', '3', 'noon', '24:00', '99:99']) expect(minuteOf(nothing)).toBe(null);
});
