// What the page knows at this moment: the gate's last message, how old it is,
// and whether the gate is still talking to us.
import { browserClock, browserSocket, LiveChannel } from '@gate/shared/live.ts';
import { answer, laneUse, parse, type GateMessage } from './message.ts';
import { Speaker } from './sound.ts';

/** A shorter cut isn't worth alarming a driver; a longer one makes the picture a lie. */
const TOLERATED_CUT_MS = 3_000;
/** A gate whose process hangs keeps its sockets open; a new connection gets the state at once. */
const SILENCE_MS = 15_000;

export class GateState {
  message = $state.raw<GateMessage | null>(null);
  connected = $state(false);
  /** Neither message nor hope for three seconds: what is drawn may be wrong. */
  lost = $state(false);
  /** performance.now() of the last message. */
  receivedAt = $state(0);
  now = $state(performance.now());
  soundBlocked = $state(false);

  #speaker = new Speaker();
  #presentation: number | null = null;
  #lostTimer: (() => void) | null = null;
  #channel: LiveChannel<GateMessage> | null = null;

  start(): () => void {
    const channel = new LiveChannel<GateMessage>({
      connect: (_after, events) => browserSocket('/ws', events),
      parse,
      onMessage: (message) => this.#show(message),
      onState: (state) => this.#link(state === 'live'),
      clock: browserClock,
      random: Math.random,
      firstDelayMs: 200,
      longestDelayMs: 4_000,
      silenceMs: SILENCE_MS,
    });
    this.#channel = channel;
    this.#link(false);
    channel.start();
    void this.#speaker.wake();
    const ticking = setInterval(() => {
      this.now = performance.now();
      this.soundBlocked = this.#speaker.blocked;
    }, 500);
    const touched = () => void this.#speaker.wake();
    document.addEventListener('pointerdown', touched);
    return () => {
      channel.stop();
      this.#lostTimer?.();
      clearInterval(ticking);
      document.removeEventListener('pointerdown', touched);
    };
  }

  /** Staff answered the question on the screen. The gate decides what that means, and only for this presentation. */
  answer(yes: boolean): void {
    if (this.message) this.#channel?.send(answer(yes, this.message.screen.presentation));
  }

  /** Staff take the lane out of use, or into use again. */
  close(closed: boolean): void {
    this.#channel?.send(laneUse(closed));
  }

  #show(message: GateMessage): void {
    const { presentation, sound } = message.screen;
    // The first message after loading may be an old verdict: it is shown, not sounded.
    const fresh = this.#presentation !== null && this.#presentation !== presentation;
    this.#presentation = presentation;
    this.message = message;
    this.now = this.receivedAt = performance.now();
    if (fresh && sound !== null) this.#speaker.play(sound);
  }

  #link(connected: boolean): void {
    this.connected = connected;
    if (connected) {
      this.#lostTimer?.();
      this.#lostTimer = null;
      this.lost = false;
    } else {
      this.#lostTimer ??= browserClock.after(TOLERATED_CUT_MS, () => {
        this.lost = true;
      });
    }
  }
}
