import { screen, type ScreenWords } from '@gate/shared/words/screen.ts';
import { speaker } from '@gate/shared/words/words.ts';
import { describe, expect, it } from 'vitest';
import type { GateMessage } from './message.ts';
import { items } from './status.ts';

const say = speaker<ScreenWords>('en', screen.en);
const well: GateMessage['status'] = {
  link: 'online',
  synced_age_s: 40,
  pending: 3,
  clock: 'signed',
  camera: 'ok',
  gate_io: 'ok',
  storage: 'ok',
};

const gate: GateMessage['gate'] = { name: 'North', direction: 'in' };

function line(change: Partial<GateMessage['status']>, sinceMs = 0): string[] {
  return items({ status: { ...well, ...change }, gate }, sinceMs, false, 'en', say).map((item) => item.text);
}

function unwell(change: Partial<GateMessage['status']>, closed = false): string[] {
  return items({ status: { ...well, ...change }, gate: { ...gate, closed } }, 0, false, 'en', say)
    .filter((item) => !item.well)
    .map((item) => item.text);
}

describe('status line', () => {
  it('says every part in words', () => {
    expect(line({})).toEqual(['Online', 'Synced 40 s ago', '3 to send', 'Time signed', 'Camera ok', 'Relay ok']);
  });

  it.each([
    ['15 minutes are still online', 900, 0, 'Online'],
    ['a second more is offline', 901, 0, 'OFFLINE'],
    ['the age grows while no message comes', 880, 21_000, 'OFFLINE'],
  ])('%s', (_name, synced, since, expected) => {
    expect(line({ synced_age_s: synced }, since)[0]).toBe(expected);
  });

  it.each<[string, Partial<GateMessage['status']>, string[]]>([
    ['a cut link', { link: 'offline' }, ['OFFLINE']],
    ['never linked', { link: 'never', synced_age_s: null }, ['NOT YET LINKED', 'Never synced']],
    ['no time', { clock: 'unknown' }, ['TIME UNKNOWN']],
    ['a stuck camera', { camera: 'stalled' }, ['CAMERA STUCK']],
    ['no camera', { camera: 'missing' }, ['NO CAMERA']],
    ['no hand', { gate_io: 'lost' }, ['RELAY LOST']],
    ['no record', { storage: 'fault' }, ['STORAGE FAULT']],
    ['a memory that fills', { space_alarm: true, space_percent: 93 }, ['MEMORY 93 % FULL']],
    ['a memory with room', { space_alarm: false, space_percent: 40 }, []],
    ['events the cloud refused', { quarantined: 2 }, ['2 SET ASIDE']],
    ['a gate nobody set up', { not_deciding: 'not_set_up' }, ['NOT SET UP YET']],
    ['a withdrawn gate', { not_deciding: 'withdrawn' }, ['WITHDRAWN BY THE OFFICE']],
    ['a card from another machine', { not_deciding: 'other_machine' }, ['CARD OF ANOTHER MACHINE']],
    ['a replica that cannot be read', { not_deciding: 'unreadable' }, ['MEMORY UNREADABLE']],
    ['a reason of a newer gate', { not_deciding: 'moonstruck' }, ['NOT DECIDING']],
    ['nothing', { quarantined: 0, not_deciding: null }, []],
  ])('%s is a word of its own', (_name, change, expected) => {
    expect(unwell(change)).toEqual(expected);
  });

  it('says that the lane is closed whatever the screen shows', () => {
    expect(unwell({}, true)).toEqual(['LANE CLOSED']);
  });
});
