// The verdict's word is as large as its place allows and never smaller than a
// driver can read: cap height at least 12 % of the screen's shorter side.
// Words come from the gate in two languages, so their length isn't known here.

/** Barlow Condensed's capitals are 0.7 em tall; 17.4 % of that side leaves a little over 12 %. */
export const SMALLEST = 0.174;
const LARGEST = 0.4;
const STEPS = 7;
/** What gives way before the word would be cut: 0 nothing, 1 the advice's size, 2 the sign's, 3 the second advice. */
const TIGHTEST = 3;

/** Sizes found before, because a gate says the same few dozen sentences all day and measuring costs frames. */
const found = new Map<string, { title: string; tight: string }>();
const MOST_REMEMBERED = 500;

/** Sets `--title` (px) and `data-tight` on `face` so that the only child of `box` fits inside it. */
export function fit(face: HTMLElement, box: HTMLElement): void {
  const inner = box.firstElementChild;
  if (!(inner instanceof HTMLElement)) return;
  const order = inner.querySelector('.first')?.getAttribute('lang') ?? '';
  const key = [innerWidth, innerHeight, face.clientHeight, document.fonts.status, face.dataset['kind'], order, inner.textContent].join('|');
  const known = found.get(key);
  if (known) {
    apply(face, known.title, known.tight);
    return;
  }
  search(face, box, inner);
  if (found.size >= MOST_REMEMBERED) found.clear();
  found.set(key, { title: face.style.getPropertyValue('--title'), tight: face.dataset['tight'] ?? '0' });
}

function search(face: HTMLElement, box: HTMLElement, inner: HTMLElement): void {
  const side = Math.min(window.innerWidth, window.innerHeight);
  const smallest = side * SMALLEST;
  const fitsAt = (size: number, tight: string) => {
    apply(face, `${size.toFixed(1)}px`, tight);
    return inner.offsetHeight <= box.clientHeight && inner.scrollWidth <= inner.clientWidth && wordsFit(inner);
  };
  let tight = 0;
  while (tight < TIGHTEST && !fitsAt(smallest, String(tight))) tight += 1;
  let good = smallest;
  let bad = side * LARGEST;
  for (let step = 0; step < STEPS; step += 1) {
    const middle = (good + bad) / 2;
    if (fitsAt(middle, String(tight))) good = middle;
    else bad = middle;
  }
  fitsAt(good, String(tight));
}

function apply(face: HTMLElement, title: string, tight: string): void {
  face.style.setProperty('--title', title);
  face.dataset['tight'] = tight;
}

function wordsFit(inner: HTMLElement): boolean {
  for (const line of inner.querySelectorAll<HTMLElement>('.title')) {
    if (line.scrollWidth > line.clientWidth) return false;
  }
  return true;
}
