// The line at the bottom: a word for every part of the gate, and a capital
// word for every part that isn't well. Staleness is a word, never only a colour.
import { age } from '@gate/shared/format.ts';
import type { ScreenWords } from '@gate/shared/words/screen.ts';
import type { Lang, Say } from '@gate/shared/words/words.ts';
import type { GateMessage } from './message.ts';

/** After this long without a sync the gate calls itself offline, whatever its link says. */
export const STALE_AFTER_S = 15 * 60;

export interface Item {
  part: 'deciding' | 'lane' | 'link' | 'synced' | 'pending' | 'quarantined' | 'clock' | 'camera' | 'gate_io' | 'storage' | 'space' | 'sound';
  text: string;
  well: boolean;
}

/** Why a gate does not decide, in the page's words; a reason that a newer gate gives has none yet. */
const NOT_DECIDING = ['not_set_up', 'withdrawn', 'other_machine', 'unreadable'] as const;

/** `sinceMs` is how long ago the message came: its ages have grown by that much. */
export function items(
  { status, gate }: Pick<GateMessage, 'status' | 'gate'>,
  sinceMs: number,
  soundBlocked: boolean,
  lang: Lang,
  say: Say<ScreenWords>,
): Item[] {
  const syncedS = status.synced_age_s === null ? null : status.synced_age_s + sinceMs / 1_000;
  const stale = syncedS !== null && syncedS > STALE_AFTER_S;
  const link = status.link === 'online' && stale ? 'offline' : status.link;
  const list: Item[] = [];
  if (status.not_deciding) {
    const why = NOT_DECIDING.find((known) => known === status.not_deciding) ?? 'not_deciding';
    list.push({ part: 'deciding', text: say(why), well: false });
  }
  if (gate.closed) list.push({ part: 'lane', text: say('lane_closed'), well: false });
  list.push(
    { part: 'link', text: say(`link_${link}`), well: link === 'online' },
    {
      part: 'synced',
      text: syncedS === null ? say('synced_never') : say('synced', { age: age(lang, syncedS * 1_000) }),
      well: syncedS !== null && !stale,
    },
    { part: 'pending', text: say('pending', { n: status.pending }), well: true },
    { part: 'clock', text: say(`clock_${status.clock}`), well: status.clock !== 'unknown' },
    { part: 'camera', text: say(`camera_${status.camera}`), well: status.camera === 'ok' },
    { part: 'gate_io', text: say(`gate_io_${status.gate_io}`), well: status.gate_io === 'ok' },
  );
  if (status.quarantined) list.push({ part: 'quarantined', text: say('quarantined', { n: status.quarantined }), well: false });
  if (status.storage === 'fault') list.push({ part: 'storage', text: say('storage_fault'), well: false });
  if (status.space_alarm) list.push({ part: 'space', text: say('space_alarm', { n: status.space_percent ?? 90 }), well: false });
  if (soundBlocked) list.push({ part: 'sound', text: say('sound_blocked'), well: false });
  return list;
}
