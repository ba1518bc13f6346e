// What does not fit together, as the server tells it, and what the page makes of it.
import type { Tone } from '@gate/shared/shapes.ts';
import type { InboxWords } from '@gate/shared/words/inbox.ts';

export const KINDS = [
  'count_due',
  'double_use',
  'revoked_use',
  'over_capacity',
  'drift',
  'late_exit',
  'passage_after_annulment',
  'recount_lost',
  'clock_fault',
  'fork',
  'journal_shorter',
  'withdrawn_device',
  'poison',
  'cloud_restored',
] as const;
export type Kind = (typeof KINDS)[number];

export type ConflictState = 'open' | 'resolved';

export interface Conflict {
  id: string;
  /** One of `KINDS`, or a newer one. */
  kind: string;
  /** It is still so. */
  standing: boolean;
  /** What was found, in an English sentence for experts. */
  evidence: string;
  /** The numbers in it, by name. */
  details: Record<string, unknown> | null;
  gate_id: string | null;
  device_id: string | null;
  zone_id: string | null;
  pass: string | null;
  product_id: number | null;
  at_ms: number;
  raised_ms: number;
  state: ConflictState;
  owner: { id: string; name: string } | null;
  resolved_ms: number | null;
  /** Null with a `resolved_ms`: it ended by itself. */
  resolved_by: string | null;
  note: string | null;
}
export interface Evidence {
  id: string;
  form: 'event' | 'parked' | 'word';
  kind: string | null;
  gate_id: string | null;
  at_ms: number | null;
  received_ms: number | null;
  reason: string | null;
  bytes: string | null;
}
export interface ConflictWhole extends Conflict {
  /** Its device waits for this to be decided. */
  fenced: boolean;
  events: Evidence[];
  against: Evidence[];
}
export interface Person {
  id: string;
  name: string;
  role: string;
}
export interface Replayed {
  same: boolean;
  en: string[];
  ro: string[];
}
export interface Recounted {
  before: number;
  after: number;
}

type Key = keyof InboxWords & string;
/** A sentence of the inbox with its numbers. */
export type Line = [key: Key, values?: Record<string, string | number>];

export function isKind(kind: string): kind is Kind {
  return (KINDS as readonly string[]).includes(kind);
}

/** Where a gate is that is no gate: what the office itself wrote. */
export const NO_GATE = '00000000-0000-0000-0000-000000000000';

/** What it is called in a list. A kind this page has no word for keeps the server's. */
export function title(conflict: Pick<Conflict, 'kind' | 'zone_id'>, zoneName: string | null): Line | null {
  if (!isKind(conflict.kind)) return null;
  if (conflict.kind === 'count_due' && zoneName !== null) return ['count_zone', { zone: zoneName }];
  return [`k_${conflict.kind}`];
}

/** Whether somebody has to do something: a shape and a word each. */
export function stateOf(conflict: Pick<Conflict, 'state' | 'standing' | 'resolved_by'>): { tone: Tone; word: Key } {
  if (conflict.state === 'resolved') return { tone: 'go', word: conflict.resolved_by === null ? 'state_ended' : 'state_closed' };
  return conflict.standing ? { tone: 'warn', word: 'state_open' } : { tone: 'quiet', word: 'state_over' };
}

/** Whether counting who is inside is the cure. */
export function isCounted(kind: string): boolean {
  return kind === 'count_due' || kind === 'drift' || kind === 'over_capacity' || kind === 'recount_lost';
}

export type Doing = 'close' | 'release' | 'withdraw' | 'retry';

/** How it can be ended, the likeliest first. A device that waits must be decided about. */
export function doings(conflict: Pick<ConflictWhole, 'kind' | 'fenced' | 'state'>): Doing[] {
  if (conflict.state === 'resolved') return [];
  if (conflict.fenced) return ['release', 'withdraw'];
  return conflict.kind === 'poison' ? ['retry', 'close'] : ['close'];
}

const number = (details: Record<string, unknown>, name: string): number | null => {
  const value = details[name];
  return typeof value === 'number' ? value : null;
};

/** The numbers of a conflict in sentences; `time` writes a moment, `span` a length of time in seconds. */
export function numbers(
  conflict: Pick<Conflict, 'kind' | 'details'>,
  time: (ms: number) => string,
  span: (seconds: number) => string,
): Line[] {
  const details = conflict.details ?? {};
  const has = (name: string) => number(details, name);
  switch (conflict.kind) {
    case 'over_capacity': {
      const [occupancy, capacity] = [has('occupancy'), has('capacity')];
      return occupancy === null || capacity === null ? [] : [['num_over', { occupancy, capacity }]];
    }
    case 'drift': {
      const n = has('drift');
      return n === null ? [] : [['num_drift', { n }]];
    }
    case 'recount_lost': {
      const [observed, held] = [has('observed'), has('held')];
      return observed === null || held === null ? [] : [['num_recounts', { observed, held }]];
    }
    case 'clock_fault': {
      const by = has('by_s');
      return by === null ? [] : [['num_clock', { by: span(by) }]];
    }
    case 'count_due':
      return reasons(details, time);
    default:
      return [];
  }
}

function reasons(details: Record<string, unknown>, time: (ms: number) => string): Line[] {
  const named = Array.isArray(details['reasons']) ? (details['reasons'] as unknown[]) : [];
  const lines: Line[] = [];
  for (const reason of named) {
    if (reason === 'drift') lines.push(['why_drift', { n: number(details, 'drift') ?? 0 }]);
    if (reason === 'unsure') lines.push(['why_unsure', { n: number(details, 'unsure') ?? 0 }]);
    const last = number(details, 'last_passed_ms');
    if (reason === 'quiet' && last !== null) lines.push(['why_quiet', { time: time(last) }]);
    if (reason === 'old') {
      const counted = number(details, 'last_counted_ms') !== null;
      lines.push([counted ? 'why_old' : 'why_never', { n: number(details, 'passed') ?? 0 }]);
    }
  }
  return lines;
}

/** What a zone counted when it was suggested to count it, and when it was counted last (null: never). */
export function countFacts(conflict: Pick<Conflict, 'kind' | 'details'>): { line: Line; lastMs: number | null } | null {
  if (conflict.kind !== 'count_due' || conflict.details === null) return null;
  const [n, low, high] = ['counted', 'low', 'high'].map((name) => number(conflict.details ?? {}, name));
  if (n === null || n === undefined) return null;
  const exact = low === null || low === undefined || high === null || high === undefined || low === high;
  return { line: exact ? ['counted_exact', { n }] : ['counted_between', { n, low }], lastMs: number(conflict.details, 'last_counted_ms') };
}

const EVENTS = [
  'epoch_opened',
  'authorised',
  'opened',
  'not_opened',
  'passed',
  'annulled',
  'refused',
  'noise',
  'repeated',
  'overridden',
  'exit_button',
  'fire',
  'recounted',
  'health',
  'clock_stepped',
  'lane_closed',
] as const;

/** What a piece of evidence says. */
export function says(evidence: Pick<Evidence, 'form' | 'kind'>): Key {
  if (evidence.form === 'parked') return 'ev_parked';
  const kind = EVENTS.find((known) => known === evidence.kind);
  return kind === undefined ? 'ev_word' : `ev_${kind}`;
}

/** Whether the server can decide it again and say why. */
export function isDecision(evidence: Pick<Evidence, 'form' | 'kind'>): boolean {
  return evidence.form === 'event' && (evidence.kind === 'authorised' || evidence.kind === 'refused');
}

/** Of a pass, what people can tell apart: the vendor and the first characters. */
export function shortPass(pass: string): string {
  const [vendor, rest] = pass.includes('-') ? [pass.slice(0, pass.indexOf('-') + 1), pass.slice(pass.indexOf('-') + 1)] : ['', pass];
  return rest.length > 8 ? `${vendor}${rest.slice(0, 8)}…` : pass;
}
