// What a product's passes can be used too often while gates are apart, beside what was counted.
import type { Lang } from '@gate/shared/words/words.ts';
import { number } from '@gate/shared/format.ts';
import type { Exposure } from './api.ts';

/** Which sentence says it, and with which numbers. */
export function exposureWords(
  lang: Lang,
  { extra_in_all: inAll, extra_per_day: perDay, extra_uses: found }: Exposure,
): [name: 'exposure_none' | 'exposure_all' | 'exposure_day', values: { most: string; found: string }] {
  const values = (most: number) => ({ most: number(lang, most), found: number(lang, found) });
  if (inAll !== null && inAll > 0) return ['exposure_all', values(inAll)];
  if (perDay !== null && perDay > 0) return ['exposure_day', values(perDay)];
  return ['exposure_none', values(0)];
}
