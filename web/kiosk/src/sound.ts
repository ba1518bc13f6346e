// Four sounds told apart by rhythm, not by pitch, and each over within 700 ms,
// so that a driver with the window half open knows the answer without looking.

export type Sound = 'entry' | 'exit' | 'attention' | 'error';

export interface Tone {
  atMs: number;
  forMs: number;
  hz: number;
}

export const PATTERNS: Record<Sound, readonly Tone[]> = {
  // short, long
  entry: [
    { atMs: 0, forMs: 90, hz: 880 },
    { atMs: 130, forMs: 260, hz: 1175 },
  ],
  // long, short
  exit: [
    { atMs: 0, forMs: 320, hz: 1175 },
    { atMs: 380, forMs: 90, hz: 880 },
  ],
  // three even beats
  attention: [
    { atMs: 0, forMs: 110, hz: 988 },
    { atMs: 220, forMs: 110, hz: 988 },
    { atMs: 440, forMs: 110, hz: 988 },
  ],
  // one long low note
  error: [{ atMs: 0, forMs: 620, hz: 196 }],
};

const VOLUME = 0.5;
const EDGE_S = 0.008;

export class Speaker {
  #audio: AudioContext | null = null;

  /** True when the browser holds sound back until somebody touches the page. */
  get blocked(): boolean {
    return this.#audio?.state === 'suspended';
  }

  /** Opens the audio device early, because the first opening can take half a second. */
  async wake(): Promise<void> {
    this.#audio ??= new AudioContext({ latencyHint: 'interactive' });
    // The browser may leave this unanswered until a touch: whoever waits must not need it.
    await this.#audio.resume();
  }

  play(sound: Sound): void {
    const audio = this.#audio;
    if (!audio) return;
    const start = audio.currentTime + 0.02;
    for (const tone of PATTERNS[sound]) {
      const oscillator = audio.createOscillator();
      const gain = audio.createGain();
      const from = start + tone.atMs / 1_000;
      const to = from + tone.forMs / 1_000;
      oscillator.type = sound === 'error' ? 'sawtooth' : 'triangle';
      oscillator.frequency.value = tone.hz;
      gain.gain.setValueAtTime(0, from);
      gain.gain.linearRampToValueAtTime(VOLUME, from + EDGE_S);
      gain.gain.setValueAtTime(VOLUME, to - EDGE_S);
      gain.gain.linearRampToValueAtTime(0, to);
      oscillator.connect(gain).connect(audio.destination);
      oscillator.start(from);
      oscillator.stop(to);
    }
  }
}
