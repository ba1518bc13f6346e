// The live picture as the server sends it, and what the page works out from it.
import type { Tone } from '@gate/shared/shapes.ts';

export interface ZoneNow {
  id: string;
  name: string;
  capacity: number;
  /** Null while nobody knows; never shown as 0. */
  occupancy: number | null;
  low: number | null;
  high: number | null;
  percent: number | null;
  state: 'open' | 'near_full' | 'full';
  as_of_ms: number | null;
  warn_percent: number;
}
export interface GateNow {
  id: string;
  zone_id: string;
  name: string;
  direction: 'in' | 'out';
  state: 'never_seen' | 'online' | 'degraded' | 'offline';
  last_seen_ms: number | null;
  pending: number | null;
  software: string | null;
  clock_trust: string | null;
  /** Parts that don't work, by name. */
  broken: string[];
}
export interface Bucket {
  start_ms: number;
  entries: number;
  exits: number;
}
export interface Refused {
  reason: string;
  count: number;
  title_en: string;
  title_ro: string;
}
export interface Overview {
  seq: number;
  now_ms: number;
  zones: ZoneNow[];
  gates: GateNow[];
  rates: { bucket_s: number; buckets: Bucket[] };
  refusals: Refused[];
  /** What waits for somebody in the inbox. */
  open_conflicts: number;
}

export interface OverviewMessage {
  seq: number;
  overview: Overview;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function asOverview(value: unknown): Overview | null {
  if (!isRecord(value) || typeof value['seq'] !== 'number' || typeof value['now_ms'] !== 'number') return null;
  if (!Array.isArray(value['zones']) || !Array.isArray(value['gates']) || !isRecord(value['rates'])) return null;
  return value as unknown as Overview;
}

export function parseLive(text: string): OverviewMessage | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (!isRecord(value) || typeof value['seq'] !== 'number') return null;
  const overview = asOverview(value['overview']);
  return overview === null ? null : { seq: value['seq'], overview };
}

/** Whether the zone's count may be believed at all: one of its gates must have reported (of an outer zone, any gate). */
export function isKnown(zone: ZoneNow, gates: readonly GateNow[]): boolean {
  if (zone.occupancy === null || zone.as_of_ms === null) return false;
  const own = gates.filter((gate) => gate.zone_id === zone.id);
  return (own.length > 0 ? own : gates).some((gate) => gate.state !== 'never_seen');
}

/** Half the width of what is possible, or null when the count is exact. */
export function uncertainty(zone: ZoneNow): number | null {
  if (zone.occupancy === null || zone.low === null || zone.high === null || zone.low === zone.high) return null;
  return Math.max(zone.high - zone.occupancy, zone.occupancy - zone.low);
}

/** Entries less exits in the newest bucket and, weighted, the part of the one before that lies within 15 minutes. */
export function trend(overview: Overview, nowMs: number): number | null {
  const { bucket_s, buckets } = overview.rates;
  const last = buckets.at(-1);
  if (!last) return null;
  const span = bucket_s * 1_000;
  const into = Math.min(1, Math.max(0, (nowMs - last.start_ms) / span));
  const before = buckets.at(-2);
  const change = last.entries - last.exits + (before ? (before.entries - before.exits) * (1 - into) : 0);
  return Math.round(change);
}

export function gateTone(state: GateNow['state']): Tone {
  const tones: Record<GateNow['state'], Tone> = { never_seen: 'quiet', online: 'go', degraded: 'warn', offline: 'stop' };
  return tones[state];
}

export function zoneTone(state: ZoneNow['state']): Tone {
  const tones: Record<ZoneNow['state'], Tone> = { open: 'go', near_full: 'warn', full: 'stop' };
  return tones[state];
}

/** A round number at or above `value`, for the top of a scale. */
export function scaleTop(value: number): number {
  if (value <= 4) return 4;
  const step = 10 ** Math.floor(Math.log10(value));
  for (const factor of [1, 2, 4, 5, 10]) {
    if (value <= factor * step) return factor * step;
  }
  return 10 * step;
}
