import { describe, expect, it } from 'vitest';
import { asOverview, isKnown, parseLive, scaleTop, trend, uncertainty, type GateNow, type Overview, type ZoneNow } from './overview.ts';

const zone: ZoneNow = {
  id: 'z',
  name: 'Lot',
  capacity: 220,
  occupancy: 198,
  low: 198,
  high: 198,
  percent: 90,
  state: 'near_full',
  as_of_ms: 1,
  warn_percent: 90,
};
const gate: GateNow = {
  id: 'g',
  zone_id: 'z',
  name: 'North',
  direction: 'in',
  state: 'online',
  last_seen_ms: 1,
  pending: 0,
  software: '1',
  clock_trust: 'ntp',
  broken: [],
};

describe('a count', () => {
  it.each<[string, Partial<ZoneNow>, Partial<GateNow>, boolean]>([
    ['is known when a gate reported', {}, {}, true],
    ['is known when the only gate went offline', {}, { state: 'offline' }, true],
    ['is unknown when no gate was ever seen', { occupancy: 0 }, { state: 'never_seen' }, false],
    ['is unknown without a number', { occupancy: null }, {}, false],
    ['is unknown without an age', { as_of_ms: null }, {}, false],
    ['may be a known zero', { occupancy: 0 }, {}, true],
    ['of an outer zone is known when any gate reported', { id: 'outer' }, {}, true],
  ])('%s', (_name, zoneChange, gateChange, known) => {
    expect(isKnown({ ...zone, ...zoneChange }, [{ ...gate, ...gateChange }])).toBe(known);
  });

  it('is unknown while only another zone has reported', () => {
    const silent: GateNow = { ...gate, state: 'never_seen' };
    expect(isKnown(zone, [silent, { ...gate, zone_id: 'elsewhere' }])).toBe(false);
  });

  it.each<[number | null, number | null, number | null]>([
    [198, 198, null],
    [194, 202, 4],
    [198, 205, 7],
    [190, 199, 8],
    [null, null, null],
  ])('between %s and %s is off by %s at most', (low, high, off) => {
    expect(uncertainty({ ...zone, low, high })).toBe(off);
  });
});

describe('trend', () => {
  const at = (buckets: { start_ms: number; entries: number; exits: number }[]): Overview => ({
    seq: 1,
    now_ms: 0,
    zones: [],
    gates: [],
    rates: { bucket_s: 900, buckets },
    refusals: [],
    open_conflicts: 0,
  });
  const earlier = { start_ms: 0, entries: 20, exits: 10 };
  const newest = { start_ms: 900_000, entries: 2, exits: 5 };
  it.each([
    ['nothing is known without buckets', [], 0, null],
    ['a bucket just begun counts the one before', [earlier, newest], 900_000, 7],
    ['half way it counts half of it', [earlier, newest], 1_350_000, 2],
    ['at its end it stands alone', [earlier, newest], 1_800_000, -3],
  ])('%s', (_name, buckets, now, expected) => {
    expect(trend(at(buckets), now)).toBe(expected);
  });
});

describe('a live message', () => {
  const overview = { seq: 3, now_ms: 1, zones: [], gates: [], rates: { bucket_s: 900, buckets: [] }, refusals: [], open_conflicts: 0 };
  it('is read', () => {
    expect(parseLive(JSON.stringify({ seq: 3, overview }))?.overview).toEqual(overview);
  });
  it.each(['', '{}', '{"seq":1}', '{"seq":1,"overview":{}}', '[1]'])('%s is refused', (text) => {
    expect(parseLive(text)).toBeNull();
  });
  it('polled answers are checked the same way', () => {
    expect(asOverview({ ...overview, zones: null })).toBeNull();
  });
});

it.each([
  [0, 4],
  [3, 4],
  [7, 10],
  [11, 20],
  [23, 40],
  [41, 50],
  [99, 100],
  [101, 200],
])('a scale for %i ends at %i', (value, top) => {
  expect(scaleTop(value)).toBe(top);
});
