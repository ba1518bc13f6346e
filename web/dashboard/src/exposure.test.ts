import { expect, test } from 'vitest';
import { exposureWords } from './exposure.ts';

test.each([
  ['at one gate only', { extra_in_all: 0, extra_per_day: null, extra_uses: 0 }, 'exposure_none', '0', '0'],
  ['without a limit', { extra_in_all: null, extra_per_day: null, extra_uses: 0 }, 'exposure_none', '0', '0'],
  ['one entry, four gates', { extra_in_all: 3, extra_per_day: null, extra_uses: 2 }, 'exposure_all', '3', '2'],
  ['one a day, two gates', { extra_in_all: null, extra_per_day: 1, extra_uses: 0 }, 'exposure_day', '1', '0'],
  ['both limits: the one for its whole life', { extra_in_all: 30, extra_per_day: 1, extra_uses: 1200 }, 'exposure_all', '30', '1,200'],
] as const)('%s', (_name, exposure, name, most, found) => {
  expect(exposureWords('en', exposure)).toEqual([name, { most, found }]);
});
