// Words both pages use: how old something is.
import type { SameKeys } from './words.ts';

const en = {
  age_now: 'just now',
  age_seconds: '{n} s ago',
  age_minutes: '{n} min ago',
  age_hours: '{n} h ago',
  age_days: { one: '{n} day ago', other: '{n} days ago' },
  never: 'never',
};

const ro: SameKeys<typeof en> = {
  age_now: 'chiar acum',
  age_seconds: 'acum {n} s',
  age_minutes: 'acum {n} min',
  age_hours: 'acum {n} h',
  age_days: { one: 'acum {n} zi', few: 'acum {n} zile', other: 'acum {n} de zile' },
  never: 'niciodată',
};

export const common = { en, ro };
