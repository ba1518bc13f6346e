// How a page finds its words: a catalogue has the same keys in every language,
// and a plural entry is chosen by the language's own rules.

export type Lang = 'en' | 'ro';
export const LANGS: readonly Lang[] = ['en', 'ro'];

export interface Plural {
  one: string;
  few?: string;
  other: string;
}

export type Entry = string | Plural;
export type Catalogue = Record<string, Entry>;

/** The same keys as `C`, and a plural where `C` has one. */
export type SameKeys<C extends Catalogue> = { [K in keyof C]: C[K] extends string ? string : Plural };

export type Values = Record<string, string | number>;

export type Say<C extends Catalogue> = (key: keyof C & string, values?: Values) => string;

const pluralRules: Record<Lang, Intl.PluralRules> = {
  en: new Intl.PluralRules('en'),
  ro: new Intl.PluralRules('ro'),
};

/** `say('scans', { n: 20 })`: `n` picks the plural, every `{name}` is filled in. */
export function speaker<C extends Catalogue>(lang: Lang, catalogue: SameKeys<C>): Say<C> {
  const number = new Intl.NumberFormat(lang);
  return (key, values = {}) => {
    const entry: Entry = catalogue[key];
    const text = typeof entry === 'string' ? entry : choose(lang, entry, values['n']);
    return text.replace(/\{(\w+)\}/g, (whole, name: string) => {
      const value = values[name];
      if (value === undefined) return whole;
      return typeof value === 'number' ? number.format(value) : value;
    });
  };
}

function choose(lang: Lang, entry: Plural, n: string | number | undefined): string {
  const form = pluralRules[lang].select(typeof n === 'number' ? n : 0);
  if (form === 'one') return entry.one;
  if (form === 'few') return entry.few ?? entry.other;
  return entry.other;
}

/** The language to begin with, from what the browser prefers. */
export function preferred(languages: readonly string[]): Lang {
  for (const language of languages) {
    const found = LANGS.find((lang) => language.toLowerCase().startsWith(lang));
    if (found) return found;
  }
  return 'en';
}
