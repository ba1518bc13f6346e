import { describe, expect, it } from 'vitest';
import { backOff, LiveChannel, type Clock, type LinkState, type Message, type SocketEvents } from './live.ts';

/** Time that moves only when told to. */
class HandClock implements Clock {
  #now = 0;
  #due: { at: number; run: () => void }[] = [];
  now() {
    return this.#now;
  }
  after(ms: number, run: () => void) {
    const entry = { at: this.#now + ms, run };
    this.#due.push(entry);
    return () => {
      this.#due = this.#due.filter((other) => other !== entry);
    };
  }
  pass(ms: number) {
    const until = this.#now + ms;
    for (;;) {
      const next = this.#due.filter((entry) => entry.at <= until).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.#due = this.#due.filter((other) => other !== next);
      this.#now = next.at;
      next.run();
    }
    this.#now = until;
  }
}

function world(more: { silenceMs?: number; quietResume?: boolean } = {}) {
  const clock = new HandClock();
  const seen: number[] = [];
  const states: LinkState[] = [];
  const asked: (number | null)[] = [];
  const sockets: { events: SocketEvents; closed: boolean }[] = [];
  const sent: string[] = [];
  const channel = new LiveChannel<Message>({
    connect(after, events) {
      asked.push(after);
      const socket = { events, closed: false };
      sockets.push(socket);
      return {
        send: (text) => sent.push(text),
        close() {
          socket.closed = true;
        },
      };
    },
    parse: (text) => (text.startsWith('{') ? (JSON.parse(text) as Message) : null),
    onMessage: (message) => seen.push(message.seq),
    onState: (state) => states.push(state),
    clock,
    random: () => 0,
    firstDelayMs: 200,
    longestDelayMs: 1_600,
    ...more,
  });
  const socket = () => {
    const last = sockets.at(-1);
    if (!last) throw new Error('no socket was opened');
    return last;
  };
  const say = (seq: number) => socket().events.text(JSON.stringify({ seq }));
  return { clock, seen, states, asked, sockets, sent, channel, socket, say };
}

describe('back-off', () => {
  it.each([
    [0, 0, 100],
    [0, 0.999, 200],
    [1, 0, 200],
    [3, 0, 800],
    [4, 0, 800],
    [400, 0.999, 1_599],
  ])('attempt %i with chance %d waits %i ms', (attempt, chance, expected) => {
    expect(backOff(attempt, 200, 1_600, chance)).toBeGreaterThanOrEqual(expected - 1);
    expect(backOff(attempt, 200, 1_600, chance)).toBeLessThanOrEqual(expected + 1);
  });
});

describe('live channel', () => {
  it('resumes after the last number it saw', () => {
    const { channel, socket, say, clock, asked, seen } = world();
    channel.start();
    say(7);
    say(8);
    socket().events.lost();
    clock.pass(100);
    say(9);
    expect(asked).toEqual([null, 8]);
    expect(seen).toEqual([7, 8, 9]);
    expect(channel.counts.missed).toBe(0);
  });

  it('never goes back within a connection', () => {
    const { channel, say, seen } = world();
    channel.start();
    say(3);
    say(2);
    say(4);
    expect(seen).toEqual([3, 4]);
    expect(channel.counts.outdated).toBe(1);
  });

  it('shows a state told again, because its ages have moved', () => {
    const { channel, say, seen } = world();
    channel.start();
    say(3);
    say(3);
    expect(seen).toEqual([3, 3]);
    expect(channel.counts).toMatchObject({ outdated: 0, missed: 0 });
  });

  it('is live again at once when a resumed server has nothing newer to say', () => {
    const { channel, say, socket, clock, states } = world({ quietResume: true });
    channel.start();
    socket().events.opened();
    expect(states.at(-1)).toBe('connecting');
    say(3);
    socket().events.lost();
    clock.pass(100);
    socket().events.opened();
    expect(states.at(-1)).toBe('live');
  });

  it('counts a gap and still shows the newest state', () => {
    const { channel, say, seen } = world();
    channel.start();
    say(1);
    say(5);
    expect(seen).toEqual([1, 5]);
    expect(channel.counts.missed).toBe(3);
  });

  it('believes a restarted server that counts from the beginning', () => {
    const { channel, say, socket, clock, seen } = world();
    channel.start();
    say(900);
    socket().events.lost();
    clock.pass(100);
    say(1);
    say(2);
    expect(seen).toEqual([900, 1, 2]);
  });

  it('waits longer after each failure and shortly again after a success', () => {
    const { channel, say, socket, clock, sockets } = world();
    channel.start();
    for (const wait of [100, 200, 400, 800, 800]) {
      const before = sockets.length;
      socket().events.lost();
      clock.pass(wait - 1);
      expect(sockets.length).toBe(before);
      clock.pass(1);
      expect(sockets.length).toBe(before + 1);
    }
    say(1);
    socket().events.lost();
    clock.pass(100);
    expect(sockets.length).toBe(7);
  });

  it('an opened socket that never speaks does not count as a success', () => {
    const { channel, socket, clock, sockets } = world();
    channel.start();
    socket().events.opened();
    socket().events.lost();
    clock.pass(100);
    socket().events.opened();
    socket().events.lost();
    clock.pass(199);
    expect(sockets.length).toBe(2);
  });

  it('takes a silent connection for dead, closes it and hears nothing from it', () => {
    const { channel, socket, say, clock, sockets, seen, states } = world({ silenceMs: 1_000 });
    channel.start();
    say(1);
    clock.pass(999);
    say(2);
    clock.pass(1_000);
    const dead = sockets[0];
    expect(dead?.closed).toBe(true);
    expect(states.at(-1)).toBe('waiting');
    clock.pass(100);
    dead?.events.text('{"seq":3}');
    dead?.events.lost();
    expect(seen).toEqual([1, 2]);
    expect(sockets.length).toBe(2);
    expect(socket().closed).toBe(false);
  });

  it('sends only while somebody listens', () => {
    const { channel, say, socket, sent } = world();
    expect(channel.send('a')).toBe(false);
    channel.start();
    expect(channel.send('b')).toBe(false);
    say(1);
    expect(channel.send('c')).toBe(true);
    socket().events.lost();
    expect(channel.send('d')).toBe(false);
    expect(sent).toEqual(['c']);
  });

  it('survives text it cannot read', () => {
    const { channel, socket, say, seen } = world();
    channel.start();
    socket().events.text('not json');
    say(1);
    expect(seen).toEqual([1]);
    expect(channel.counts.unreadable).toBe(1);
  });

  it('ends for good when stopped', () => {
    const { channel, socket, clock, sockets, states } = world({ silenceMs: 1_000 });
    channel.start();
    socket().events.lost();
    channel.stop();
    clock.pass(60_000);
    expect(sockets.length).toBe(1);
    expect(states).toEqual(['connecting', 'waiting', 'closed']);
  });

  it('loses and repeats nothing over fifty cuts', () => {
    const { channel, socket, say, clock, seen } = world();
    channel.start();
    for (let seq = 1; seq <= 50; seq += 1) {
      say(seq);
      socket().events.lost();
      clock.pass(1_600);
    }
    expect(seen).toEqual(Array.from({ length: 50 }, (_, index) => index + 1));
    expect(channel.counts).toMatchObject({ missed: 0, outdated: 0, connections: 51 });
  });
});
