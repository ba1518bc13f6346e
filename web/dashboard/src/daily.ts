// A time of the day as the server holds it (minutes after midnight) and as a time field shows it.

/** `03:00` as 180; nothing, or no time at all, as null. */
export function minuteOf(text: string): number | null {
  const found = /^(\d{2}):(\d{2})/.exec(text);
  if (found === null) return null;
  const minute = Number(found[1]) * 60 + Number(found[2]);
  return minute < 1440 ? minute : null;
}

/** 180 as `03:00`. */
export function timeOf(minute: number): string {
  const two = (value: number) => String(value).padStart(2, '0');
  return `${two(Math.floor(minute / 60))}:${two(minute % 60)}`;
}
