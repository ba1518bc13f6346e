// What this viewer chose for this browser: language, light or dark, venue.
import { inbox, type InboxWords } from '@gate/shared/words/inbox.ts';
import { office, type OfficeWords } from '@gate/shared/words/office.ts';
import { LANGS, preferred, speaker, type Lang, type Say } from '@gate/shared/words/words.ts';

const inboxSayings: Record<Lang, Say<InboxWords>> = {
  en: speaker<InboxWords>('en', inbox.en),
  ro: speaker<InboxWords>('ro', inbox.ro),
};

export type Theme = 'auto' | 'light' | 'dark';

const sayings: Record<Lang, Say<OfficeWords>> = {
  en: speaker<OfficeWords>('en', office.en),
  ro: speaker<OfficeWords>('ro', office.ro),
};

/** A browser may refuse storage (private windows); choices then last as long as the page. */
function stored(key: string): string | null {
  try {
    return localStorage.getItem(`gate.${key}`);
  } catch {
    return null;
  }
}

function store(key: string, value: string): void {
  try {
    localStorage.setItem(`gate.${key}`, value);
  } catch {
    return;
  }
}

const storedLang = LANGS.find((lang) => lang === stored('lang'));
const storedTheme = (['auto', 'light', 'dark'] as const).find((theme) => theme === stored('theme'));
const darkDevice = matchMedia('(prefers-color-scheme: dark)');

class Preferences {
  #lang = $state<Lang>(storedLang ?? preferred(navigator.languages));
  #theme = $state<Theme>(storedTheme ?? 'auto');
  #venue = $state<string | null>(stored('venue'));

  get lang(): Lang {
    return this.#lang;
  }
  set lang(lang: Lang) {
    this.#lang = lang;
    store('lang', lang);
    document.documentElement.lang = lang;
  }
  get theme(): Theme {
    return this.#theme;
  }
  set theme(theme: Theme) {
    this.#theme = theme;
    store('theme', theme);
    paint();
  }
  get venue(): string | null {
    return this.#venue;
  }
  set venue(venue: string | null) {
    this.#venue = venue;
    if (venue !== null) store('venue', venue);
  }
}

export const preferences = new Preferences();

/** A word in the chosen language. Templates that use it follow the switch. */
export const say: Say<OfficeWords> = (key, values) => sayings[preferences.lang](key, values);

/** A word of the inbox in the chosen language. */
export const sayInbox: Say<InboxWords> = (key, values) => inboxSayings[preferences.lang](key, values);

function paint(): void {
  const dark = preferences.theme === 'dark' || (preferences.theme === 'auto' && darkDevice.matches);
  document.documentElement.dataset['theme'] = dark ? 'dark' : 'light';
}

export function followPreferences(): void {
  document.documentElement.lang = preferences.lang;
  darkDevice.addEventListener('change', paint);
  paint();
}
