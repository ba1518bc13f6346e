// How many things in the inbox wait for somebody, for the number beside its name.
import { api } from './api.ts';
import { asOverview } from './overview.ts';

const EVERY_MS = 60_000;

class Waiting {
  /** Null while it is not known. */
  count = $state<number | null>(null);

  /** Asks now and once a minute. */
  follow(venue: string): () => void {
    void this.look(venue);
    const asking = setInterval(() => void this.look(venue), EVERY_MS);
    return () => clearInterval(asking);
  }

  async look(venue: string): Promise<void> {
    try {
      this.count = asOverview(await api.overview(venue))?.open_conflicts ?? null;
    } catch {
      // A number of which nothing is known is not shown; the page itself says what is wrong.
      this.count = null;
    }
  }
}

export const waiting = new Waiting();
