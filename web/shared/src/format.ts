// Numbers, ages and moments as people say them, in the page's language.
import { common } from './words/everywhere.ts';
import { speaker, type Lang } from './words/words.ts';

const sayCommon = { en: speaker<typeof common.en>('en', common.en), ro: speaker<typeof common.en>('ro', common.ro) };

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** How long ago, in words. Null is never; a future moment (clocks disagree) is just now. */
export function age(lang: Lang, ms: number | null): string {
  const say = sayCommon[lang];
  if (ms === null) return say('never');
  if (ms < 5_000) return say('age_now');
  if (ms < MINUTE) return say('age_seconds', { n: Math.floor(ms / 1_000) });
  if (ms < HOUR) return say('age_minutes', { n: Math.floor(ms / MINUTE) });
  if (ms < 2 * DAY) return say('age_hours', { n: Math.floor(ms / HOUR) });
  return say('age_days', { n: Math.floor(ms / DAY) });
}

export function number(lang: Lang, value: number): string {
  return new Intl.NumberFormat(lang).format(value);
}

/** A title in capitals, as the driver's screen shows it, as a line in a list. */
export function sentence(lang: Lang, title: string): string {
  const lower = title.toLocaleLowerCase(lang);
  return lower.charAt(0).toLocaleUpperCase(lang) + lower.slice(1);
}

/** `percent` is 0..100 and may be over 100 (a debt). */
export function percent(lang: Lang, value: number): string {
  return new Intl.NumberFormat(lang, { style: 'percent', maximumFractionDigits: 0 }).format(value / 100);
}

/** A length of time in its largest sensible unit, with its sign. */
export function span(lang: Lang, seconds: number): string {
  const size = Math.abs(seconds) * 1_000;
  const [unit, length] = size < 2 * MINUTE ? ['second', 1_000] : size < 2 * HOUR ? ['minute', MINUTE] : size < 2 * DAY ? ['hour', HOUR] : ['day', DAY];
  return new Intl.NumberFormat(lang, { style: 'unit', unit, unitDisplay: 'long' }).format(Math.trunc((seconds * 1_000) / length));
}

/** Hours and minutes in the venue's zone. */
export function clockTime(lang: Lang, ms: number, timeZone?: string): string {
  return new Intl.DateTimeFormat(lang, { hour: '2-digit', minute: '2-digit', hourCycle: 'h23', ...zone(timeZone) }).format(ms);
}

export function dateTime(lang: Lang, ms: number, timeZone?: string): string {
  return new Intl.DateTimeFormat(lang, {
    day: 'numeric',
    month: 'short',
    year: 'numeric',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
    ...zone(timeZone),
  }).format(ms);
}

/** The time alone when it was within the last 12 hours, else with its day. */
export function moment(lang: Lang, ms: number, nowMs: number, timeZone?: string): string {
  return Math.abs(nowMs - ms) < 12 * HOUR ? clockTime(lang, ms, timeZone) : dateTime(lang, ms, timeZone);
}

function zone(timeZone: string | undefined): { timeZone?: string } {
  return timeZone === undefined ? {} : { timeZone };
}
