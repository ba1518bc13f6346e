// The live channel: one WebSocket that sends the whole state every time.
//
// It exists so that a page never has to guess whether what it shows is current.
// It resumes after the last sequence number it saw, drops what is older than
// what it shows, counts what it missed, and waits longer after each failure.
// A state told again under the same number is shown again: ages move on their own.
// Sockets, timers and chance are given to it, so that tests need neither.

export type LinkState = 'connecting' | 'live' | 'waiting' | 'closed';

/** What the channel needs of a socket. A browser's WebSocket fits after `browserSocket`. */
export interface Socket {
  send(text: string): void;
  close(): void;
}

export interface SocketEvents {
  opened(): void;
  text(data: string): void;
  /** Called at most once, whatever the cause. */
  lost(): void;
}

export interface Clock {
  /** Milliseconds that only go forward. */
  now(): number;
  after(ms: number, run: () => void): () => void;
}

export interface Message {
  seq: number;
}

export interface LiveOptions<M extends Message> {
  connect(after: number | null, events: SocketEvents): Socket;
  /** Null when the text isn't a message this page understands. */
  parse(text: string): M | null;
  onMessage(message: M): void;
  onState(state: LinkState): void;
  clock: Clock;
  /** In [0, 1): spreads reconnects of many screens. */
  random(): number;
  firstDelayMs: number;
  longestDelayMs: number;
  /** A connection silent for longer than this is taken for dead. Absent: silence is fine. */
  silenceMs?: number;
  /** The server keeps quiet after a resume until something is newer: an opened line is then a live one. */
  quietResume?: boolean;
}

export interface LiveCounts {
  connections: number;
  outdated: number;
  missed: number;
  unreadable: number;
}

/** Doubles from `first` to `longest`, then spreads over the upper half so that screens don't return in step. */
export function backOff(attempt: number, first: number, longest: number, chance: number): number {
  const full = Math.min(longest, first * 2 ** Math.min(attempt, 30));
  return Math.round(full / 2 + (full / 2) * chance);
}

export class LiveChannel<M extends Message> {
  readonly counts: LiveCounts = { connections: 0, outdated: 0, missed: 0, unreadable: 0 };
  lastSeq: number | null = null;

  #options: LiveOptions<M>;
  #socket: Socket | null = null;
  #generation = 0;
  #failures = 0;
  #firstOfConnection = true;
  #cancelRetry: (() => void) | null = null;
  #cancelSilence: (() => void) | null = null;
  #state: LinkState = 'closed';

  constructor(options: LiveOptions<M>) {
    this.#options = options;
  }

  get state(): LinkState {
    return this.#state;
  }

  start(): void {
    if (this.#state === 'closed') this.#open();
  }

  stop(): void {
    this.#drop();
    this.#cancelRetry?.();
    this.#cancelRetry = null;
    this.#enter('closed');
  }

  /** Something else (polling) has shown `seq`: an older message must not replace it. */
  seen(seq: number): void {
    if (this.lastSeq === null || seq > this.lastSeq) this.lastSeq = seq;
  }

  /** False when nobody is there to hear it: nothing is kept for later, because an answer is only good now. */
  send(text: string): boolean {
    if (this.#state !== 'live' || !this.#socket) return false;
    this.#socket.send(text);
    return true;
  }

  #open(): void {
    const generation = ++this.#generation;
    const current = () => generation === this.#generation;
    this.#firstOfConnection = true;
    this.counts.connections += 1;
    this.#enter('connecting');
    this.#listenForSilence();
    this.#socket = this.#options.connect(this.lastSeq, {
      opened: () => {
        if (!current()) return;
        this.#listenForSilence();
        if (this.#options.quietResume && this.lastSeq !== null) this.#enter('live');
      },
      text: (data) => {
        if (current()) this.#take(data);
      },
      lost: () => {
        if (current()) this.#fail();
      },
    });
  }

  #take(data: string): void {
    this.#listenForSilence();
    const message = this.#options.parse(data);
    if (message === null) {
      this.counts.unreadable += 1;
      return;
    }
    // The first message of a connection is believed whatever its number: a server that
    // was restored or restarted counts from elsewhere, and its state is the true one.
    const last = this.lastSeq;
    if (!this.#firstOfConnection && last !== null && message.seq < last) {
      this.counts.outdated += 1;
      return;
    }
    if (last !== null && message.seq > last + 1) this.counts.missed += message.seq - last - 1;
    this.#firstOfConnection = false;
    this.#failures = 0;
    this.lastSeq = message.seq;
    this.#enter('live');
    this.#options.onMessage(message);
  }

  #fail(): void {
    this.#drop();
    const { firstDelayMs, longestDelayMs, random, clock } = this.#options;
    const delay = backOff(this.#failures, firstDelayMs, longestDelayMs, random());
    this.#failures += 1;
    this.#enter('waiting');
    this.#cancelRetry = clock.after(delay, () => {
      this.#cancelRetry = null;
      this.#open();
    });
  }

  #drop(): void {
    this.#generation += 1;
    this.#cancelSilence?.();
    this.#cancelSilence = null;
    this.#socket?.close();
    this.#socket = null;
  }

  #listenForSilence(): void {
    this.#cancelSilence?.();
    this.#cancelSilence = null;
    const limit = this.#options.silenceMs;
    if (limit === undefined) return;
    this.#cancelSilence = this.#options.clock.after(limit, () => this.#fail());
  }

  #enter(state: LinkState): void {
    if (this.#state === state) return;
    this.#state = state;
    this.#options.onState(state);
  }
}

export const browserClock: Clock = {
  now: () => performance.now(),
  after(ms, run) {
    const id = setTimeout(run, ms);
    return () => clearTimeout(id);
  },
};

/** Opens `path` on this page's own host, as ws: or wss: like the page itself. */
export function browserSocket(path: string, events: SocketEvents): Socket {
  const scheme = location.protocol === 'https:' ? 'wss:' : 'ws:';
  const socket = new WebSocket(`${scheme}//${location.host}${path}`);
  socket.onopen = () => events.opened();
  socket.onmessage = (event) => {
    if (typeof event.data === 'string') events.text(event.data);
  };
  // A failed opening reports both error and close; close alone is enough.
  socket.onclose = () => events.lost();
  return { close: () => socket.close(), send: (text) => socket.send(text) };
}
