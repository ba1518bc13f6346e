// The overview of one venue, kept current: pushed while the live channel
// stands, fetched every ten seconds while it doesn't, and always dated.
import { browserClock, browserSocket, LiveChannel } from '@gate/shared/live.ts';
import { api, ApiError } from './api.ts';
import { asOverview, parseLive, type Overview, type OverviewMessage } from './overview.ts';

export const POLL_S = 10;
/** The server speaks at least every ten seconds, changed or not: three times silent is a dead line. */
const SILENCE_MS = 32_000;
const PATIENCE_MS = 4_000;

export type StreamState = 'connecting' | 'live' | 'polling' | 'stale';

export class OverviewStream {
  overview = $state.raw<Overview | null>(null);
  state = $state<StreamState>('connecting');
  /** The server's own clock, carried forward by ours: ages don't depend on the viewer's clock. */
  nowMs = $state(0);
  /** When the newest overview came, by the server's clock. */
  receivedMs = $state(0);

  #venue: string;
  #onLoggedOut: () => void;
  #receivedAt = 0;
  #channel: LiveChannel<OverviewMessage>;
  #cancelPoll: (() => void) | null = null;
  #stopped = false;

  constructor(venue: string, onLoggedOut: () => void) {
    this.#venue = venue;
    this.#onLoggedOut = onLoggedOut;
    this.#channel = new LiveChannel<OverviewMessage>({
      connect: (after, events) => browserSocket(api.livePath(venue, after), events),
      parse: parseLive,
      onMessage: (message) => this.#take(message.overview),
      onState: (state) => this.#follow(state === 'live'),
      clock: browserClock,
      random: Math.random,
      firstDelayMs: 400,
      longestDelayMs: 20_000,
      silenceMs: SILENCE_MS,
      quietResume: true,
    });
  }

  start(): () => void {
    this.#channel.start();
    // The first picture doesn't wait for the channel to open.
    void this.#poll({ fallingBack: false });
    const ticking = setInterval(() => this.#tick(), 1_000);
    return () => {
      this.#stopped = true;
      this.#channel.stop();
      this.#cancelPoll?.();
      clearInterval(ticking);
    };
  }

  #take(overview: Overview): void {
    this.overview = overview;
    this.#receivedAt = performance.now();
    this.nowMs = this.receivedMs = overview.now_ms;
  }

  #tick(): void {
    if (this.overview) this.nowMs = this.overview.now_ms + (performance.now() - this.#receivedAt);
  }

  #follow(live: boolean): void {
    if (live) {
      this.state = 'live';
      this.#cancelPoll?.();
      this.#cancelPoll = null;
    } else if (!this.#stopped) {
      this.#cancelPoll ??= browserClock.after(PATIENCE_MS, () => void this.#poll({ fallingBack: true }));
    }
  }

  async #poll({ fallingBack }: { fallingBack: boolean }): Promise<void> {
    try {
      const overview = asOverview(await api.overview(this.#venue));
      if (this.#stopped || this.#channel.state === 'live') return;
      if (overview && overview.seq >= (this.#channel.lastSeq ?? 0)) {
        this.#channel.seen(overview.seq);
        this.#take(overview);
      }
      if (fallingBack) this.state = 'polling';
    } catch (error) {
      if (this.#stopped) return;
      if (error instanceof ApiError && error.status === 401) {
        this.#onLoggedOut();
        return;
      }
      this.state = 'stale';
    }
    if (fallingBack && this.#channel.state !== 'live') {
      this.#cancelPoll = browserClock.after(POLL_S * 1_000, () => void this.#poll({ fallingBack: true }));
    }
  }
}
