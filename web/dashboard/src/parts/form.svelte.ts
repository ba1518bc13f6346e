// One way for every form to send: once at a time, with what went wrong in words.
import { ApiError } from '../api.ts';
import { say } from '../preferences.svelte.ts';

/** The answer to something the person just did. */
export interface Told {
  tone: 'good' | 'bad';
  text: string;
}

export function inWords(error: unknown): string {
  if (!(error instanceof ApiError)) throw error;
  if (error.noAnswer) return say('no_answer');
  const fields = error.fields.map((field) => field.detail).filter(Boolean);
  return say('something_wrong', { why: [error.detail ?? error.title, ...fields].join(' ') });
}

export class Sending {
  busy = $state(false);
  told = $state.raw<Told | null>(null);

  /** Runs `work` unless one is running; tells `done` or the error. True when it worked. */
  async run<T>(work: () => Promise<T>, done: (answer: T) => string | null, wrong?: (error: ApiError) => string | null): Promise<boolean> {
    if (this.busy) return false;
    this.busy = true;
    this.told = null;
    try {
      const text = done(await work());
      this.told = text === null ? null : { tone: 'good', text };
      return true;
    } catch (error) {
      const special = error instanceof ApiError ? (wrong?.(error) ?? null) : null;
      this.told = { tone: 'bad', text: special ?? inWords(error) };
      return false;
    } finally {
      this.busy = false;
    }
  }
}
