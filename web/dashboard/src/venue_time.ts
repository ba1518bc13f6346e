// A form's "2026-11-21T18:00" is wall time at the venue, wherever the manager sits.

/** Epoch milliseconds of a wall time in a zone. A time skipped by a clock change is read as if the clock had not yet changed. */
export function fromWall(wall: string, timeZone: string): number | null {
  const match = /^(\d{4})-(\d{2})-(\d{2})T(\d{2}):(\d{2})/.exec(wall);
  if (!match) return null;
  const [year, month, day, hour, minute] = match.slice(1).map(Number) as [number, number, number, number, number];
  const asUtc = Date.UTC(year, month - 1, day, hour, minute);
  const before = asUtc - offset(asUtc - 24 * 3_600_000, timeZone);
  const guess = asUtc - offset(before, timeZone);
  return toWall(guess, timeZone) === wall.slice(0, 16) ? guess : before;
}

/** The wall time at the venue, as a datetime-local field wants it. */
export function toWall(ms: number, timeZone: string): string {
  return new Date(ms + offset(ms, timeZone)).toISOString().slice(0, 16);
}

/** How far the zone's wall clock is ahead of UTC at that moment, in milliseconds. */
function offset(ms: number, timeZone: string): number {
  const parts = new Intl.DateTimeFormat('en-US', {
    timeZone,
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: 'numeric',
    minute: 'numeric',
    second: 'numeric',
  }).formatToParts(ms);
  const value = (type: string) => Number(parts.find((part) => part.type === type)?.value ?? 0);
  const wall = Date.UTC(value('year'), value('month') - 1, value('day'), value('hour'), value('minute'), value('second'));
  return wall - Math.floor(ms / 1_000) * 1_000;
}
