// What the gate tells its screen: the whole state, every time.
// A newer gate may say more than this page knows; it is shown what it can
// show, and a kind it doesn't know becomes FAULT, never a guess at ADMIT.
import type { Lamp } from '@gate/shared/shapes.ts';
import type { Lang } from '@gate/shared/words/words.ts';
import type { Sound } from './sound.ts';

export const KINDS = ['idle', 'wait', 'admit', 'deny', 'check', 'full', 'closed', 'fault', 'free_exit'] as const;
export type Kind = (typeof KINDS)[number];

export interface Verdict {
  title: string;
  advice: string;
}

export interface Detail {
  used_at_ms?: number | null;
  used_at_gate?: string | null;
  until_ms?: number | null;
  right_gates?: string[];
}

/** Something only a person can decide; sent where staff stand by. */
export interface Question {
  text: string | null;
  /** Further things that one yes covers, in words. */
  also?: Partial<Record<Lang, Verdict>>[];
}

export interface GateMessage {
  seq: number;
  gate: {
    name: string;
    direction: 'in' | 'out';
    /** Staff stand by: they may answer, and take the lane out of use. */
    staffed?: boolean;
    /** Out of use, whatever the screen shows at this moment. */
    closed?: boolean;
  };
  screen: {
    kind: Kind;
    reason: string | null;
    lamp: Lamp;
    sound: Sound | null;
    presentation: number;
    lang: Lang | null;
    words: Partial<Record<Lang, Verdict>>;
    detail: Detail | null;
    question?: Question | null;
  };
  zone: { name: string; occupancy: number | null; capacity: number; near_full: boolean } | null;
  status: {
    link: 'online' | 'offline' | 'never';
    synced_age_s: number | null;
    pending: number;
    quarantined?: number;
    clock: 'signed' | 'ntp' | 'continued' | 'unknown';
    camera: 'ok' | 'stalled' | 'missing';
    gate_io: 'ok' | 'lost';
    storage: 'ok' | 'fault';
    /** How full the gate's memory is; null without a limit. */
    space_percent?: number | null;
    /** So full that somebody should do something. */
    space_alarm?: boolean;
    /** Why this gate lets nobody in by itself; null while it decides. */
    not_deciding?: string | null;
  };
}

const LAMPS: readonly string[] = ['red', 'yellow', 'green', 'fault', 'yellow_flash', 'off'];
const SOUNDS: readonly string[] = ['entry', 'exit', 'attention', 'error'];

/** What the page may say back: yes or no to the question it shows. */
export function answer(yes: boolean, presentation: number): string {
  return JSON.stringify({ answer: yes ? 'yes' : 'no', presentation });
}

/** Takes the lane out of use, or into use again. */
export function laneUse(closed: boolean): string {
  return JSON.stringify({ lane: closed ? 'close' : 'open' });
}

/** Null when the text can't be shown at all. */
export function parse(text: string): GateMessage | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (!isRecord(value) || typeof value['seq'] !== 'number') return null;
  const { gate, screen, status } = value;
  if (!isRecord(gate) || !isRecord(screen) || !isRecord(status)) return null;
  const known = (KINDS as readonly unknown[]).includes(screen['kind']);
  const message = value as unknown as GateMessage;
  return {
    ...message,
    zone: isRecord(value['zone']) ? message.zone : null,
    screen: {
      ...message.screen,
      kind: known ? message.screen.kind : 'fault',
      lamp: LAMPS.includes(String(screen['lamp'])) ? message.screen.lamp : 'fault',
      sound: SOUNDS.includes(String(screen['sound'])) ? message.screen.sound : null,
      lang: screen['lang'] === 'en' || screen['lang'] === 'ro' ? screen['lang'] : null,
      words: isRecord(screen['words']) ? message.screen.words : {},
      detail: isRecord(screen['detail']) ? message.screen.detail : null,
      question: isRecord(screen['question']) ? (message.screen.question ?? null) : null,
    },
  };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
