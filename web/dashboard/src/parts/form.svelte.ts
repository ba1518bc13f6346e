// One way for every form to send: once at a time, with what went wrong in words.
import { ApiError } from '../api.ts';
import { say } from '../preferences.svelte.ts';

/** The answer to something the person just did. */
export interface Told {
  tone: 'good' | 'bad';
  text: string;
}

/** The refusals that can meet anybody on any page, by the server's name for them. */
const KNOWN = {
  login_needed: 'session_ended',
  role: 'managers_only',
  not_found: 'not_there',
  storage: 'server_full',
} as const;

export function inWords(error: unknown): string {
  if (!(error instanceof ApiError)) throw error;
  if (error.noAnswer) return say('no_answer');
  const known = Object.entries(KNOWN).find(([code]) => code === error.code)?.[1];
  if (known) return say(known);
  if (error.status >= 500) return say('server_trouble');
  // The rest is in the server's own words, which often say the same of the whole and of the field.
  return say('something_wrong', { why: eachOnce([error.detail ?? error.title, ...error.fields.map((field) => field.detail)]) });
}

/** What is wrong with the fields of a form, in the form's own words by the name the server has for each field. */
export function fieldsWrong(error: ApiError, words: Record<string, string>): string | null {
  const said = error.fields.map((field) => words[field.pointer]).filter((text) => text !== undefined);
  return said.length === 0 ? null : eachOnce(said);
}

function eachOnce(texts: string[]): string {
  return texts.filter((text, index) => text !== '' && texts.indexOf(text) === index).join(' ');
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
