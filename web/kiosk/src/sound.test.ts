import { describe, expect, it } from 'vitest';
import { PATTERNS, type Sound } from './sound.ts';

const sounds = Object.keys(PATTERNS) as Sound[];

/** When it sounds and when it is silent, in 20 ms steps: pitch removed. */
function rhythm(sound: Sound): string {
  let steps = '';
  for (let at = 0; at < 700; at += 20) {
    steps += PATTERNS[sound].some((tone) => at >= tone.atMs && at < tone.atMs + tone.forMs) ? '#' : '.';
  }
  return steps;
}

describe('sounds', () => {
  it.each(sounds)('%s is over within 700 ms', (sound) => {
    for (const tone of PATTERNS[sound]) expect(tone.atMs + tone.forMs).toBeLessThanOrEqual(700);
  });

  it('have four rhythms that differ by at least 100 ms of sound or silence', () => {
    for (const one of sounds) {
      for (const other of sounds) {
        if (one === other) continue;
        const differing = [...rhythm(one)].filter((step, index) => step !== rhythm(other)[index]).length;
        expect(differing * 20, `${one} and ${other}`).toBeGreaterThanOrEqual(100);
      }
    }
  });
});
