import { describe, expect, it } from 'vitest';
import { fromWall, toWall } from './venue_time.ts';

const BUCHAREST = 'Europe/Bucharest';

describe('wall time at the venue', () => {
  it.each([
    ['winter', '2026-11-21T18:00', BUCHAREST, '2026-11-21T16:00:00.000Z'],
    ['summer', '2026-07-01T18:00', BUCHAREST, '2026-07-01T15:00:00.000Z'],
    ['the other side of the world', '2026-07-01T09:30', 'America/Los_Angeles', '2026-07-01T16:30:00.000Z'],
    ['half an hour zone', '2026-07-01T09:30', 'Asia/Kolkata', '2026-07-01T04:00:00.000Z'],
    ['a time that happens twice is the first of the two', '2026-10-25T03:30', BUCHAREST, '2026-10-25T00:30:00.000Z'],
    ['a skipped time lands after the gap', '2026-03-29T03:30', BUCHAREST, '2026-03-29T01:30:00.000Z'],
  ])('%s', (_name, wall, zone, expected) => {
    const ms = fromWall(wall, zone);
    expect(ms === null ? null : new Date(ms).toISOString()).toBe(expected);
  });

  it('comes back as it was typed', () => {
    for (const wall of ['2026-03-29T02:59', '2026-03-29T04:00', '2026-10-25T04:00', '2026-12-31T23:59']) {
      expect(toWall(fromWall(wall, BUCHAREST) ?? 0, BUCHAREST)).toBe(wall);
    }
  });

  it('refuses what is not a time', () => {
    expect(fromWall('', BUCHAREST)).toBeNull();
    expect(fromWall('tomorrow', BUCHAREST)).toBeNull();
  });
});
