// Which page is shown. Addresses are plain paths, so that a page can be bookmarked and the back button works.
export const PAGES = ['live', 'issue', 'lookup', 'gates', 'zones', 'vendors'] as const;
export type PageName = (typeof PAGES)[number];

export const hrefs: Record<PageName, string> = {
  live: '/',
  issue: '/issue',
  lookup: '/lookup',
  gates: '/gates',
  zones: '/zones',
  vendors: '/vendors',
};

function pageAt(path: string): PageName | null {
  const plain = path.length > 1 ? path.replace(/\/+$/, '') : path;
  return PAGES.find((page) => hrefs[page] === plain) ?? null;
}

class Route {
  page = $state<PageName | null>(pageAt(location.pathname));
  /** Counts moves inside the app: the first page must not steal focus, later ones move it to their heading. */
  moves = $state(0);

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

  go(page: PageName): void {
    history.pushState(null, '', hrefs[page]);
    this.#arrive();
  }

  #arrive(): void {
    this.page = pageAt(location.pathname);
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
    this.go(page);
  }
}

export const route = new Route();
