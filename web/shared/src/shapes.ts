// The names of what is drawn, apart from the drawings, so that plain logic can speak of them.

/** What the lamp column shows. FAULT alternates yellow and red. */
export type Lamp = 'red' | 'yellow' | 'green' | 'fault' | 'yellow_flash' | 'off';

/** One outline per kind of verdict. */
export type SignKind = 'admit' | 'deny' | 'check' | 'full' | 'closed' | 'fault' | 'wait' | 'free_exit' | 'disconnected';

/** How a state is meant: each tone has a shape of its own. */
export type Tone = 'go' | 'warn' | 'stop' | 'quiet';
