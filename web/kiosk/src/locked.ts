// The screen stands in a public place: nothing a hand can do to it may lead
// away from the verdict. The browser's own kiosk mode does the rest.

const ZOOM_KEYS = new Set(['+', '-', '=', '0']);

export function closeTheWaysOut(page: Document): void {
  const refuse = (event: Event) => event.preventDefault();
  for (const kind of ['contextmenu', 'dragstart', 'selectstart', 'drop', 'dragover', 'gesturestart', 'auxclick']) {
    page.addEventListener(kind, refuse, { passive: false });
  }
  page.addEventListener(
    'wheel',
    (event) => {
      event.preventDefault();
    },
    { passive: false },
  );
  page.addEventListener('keydown', (event) => {
    const zooms = (event.ctrlKey || event.metaKey) && ZOOM_KEYS.has(event.key);
    const leaves = event.altKey && (event.key === 'ArrowLeft' || event.key === 'ArrowRight');
    if (zooms || leaves) event.preventDefault();
  });
}
