// Which page is shown. Addresses are plain paths, so that a page can be bookmarked and the back button works.
export const PAGES = ['live', 'inbox', 'issue', 'lookup', 'gates', 'zones', 'vendors'] as const;
export type PageName = (typeof PAGES)[number];

export const hrefs: Record<PageName, string> = {
  live: '/',
  inbox: '/inbox',
  issue: '/issue',
  lookup: '/lookup',
  gates: '/gates',
  zones: '/zones',
  vendors: '/vendors',
};

/** The one thing of a page that is open, where a page has such: `/inbox/3d1adf…`. */
function itemAt(path: string): string | null {
  return /^\/inbox\/([0-9a-f]{1,64})\/*$/.exec(path)?.[1] ?? null;
}

function pageAt(path: string): PageName | null {
  if (itemAt(path) !== null) return 'inbox';
  const plain = path.length > 1 ? path.replace(/\/+$/, '') : path;
  return PAGES.find((page) => hrefs[page] === plain) ?? null;
}

class Route {
  page = $state<PageName | null>(pageAt(location.pathname));
  /** Counts moves inside the app: the first page must not steal focus, later ones move it to their heading. */
  moves = $state(0);
  /** Counts openings and closings of an item within one page, which places the focus itself. */
  steps = $state(0);
  /** What is open on the page, by its id. */
  item = $state<string | null>(itemAt(location.pathname));

  follow(): () => void {
    const back = () => this.#arrive();
    const click = (event: MouseEvent) => this.#click(event);
    addEventListener('popstate', back);
    document.addEventListener('click', click);
    return () => {
      removeEventListener('popstate', back);
      document.removeEventListener('click', click);
    };
  }

  go(path: string): void {
    history.pushState(null, '', path);
    this.#arrive();
  }

  #arrive(): void {
    const page = pageAt(location.pathname);
    const item = itemAt(location.pathname);
    // Within a page the page itself says where to look.
    const within = page === this.page && item !== this.item;
    this.page = page;
    this.item = item;
    if (within) {
      this.steps += 1;
      return;
    }
    this.moves += 1;
    scrollTo(0, 0);
  }

  /** Ordinary links stay links: only a plain left click on one of our own pages is taken over. */
  #click(event: MouseEvent): void {
    if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const link = event.target instanceof Element ? event.target.closest('a') : null;
    if (!link || link.target || link.hasAttribute('download') || link.origin !== location.origin) return;
    const page = pageAt(link.pathname);
    if (page === null || link.hash) return;
    event.preventDefault();
    this.go(link.pathname);
  }
}

export const route = new Route();
