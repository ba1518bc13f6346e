// Pressed by mistake is pressed shortly: something happens only to a finger that stays for a second.

const HOLD_MS = 1_000;

/** Calls `held` when `node` was held for a second; by keyboard a press of the button is meant as it is. */
export function whenHeld(node: HTMLElement, held: () => void): () => void {
  let timer: ReturnType<typeof setTimeout> | null = null;
  const release = () => {
    if (timer !== null) clearTimeout(timer);
    timer = null;
    node.classList.remove('held');
  };
  const press = () => {
    release();
    node.classList.add('held');
    timer = setTimeout(() => {
      release();
      held();
    }, HOLD_MS);
  };
  const click = (event: MouseEvent) => {
    // No pointer was down for it.
    if (event.detail === 0) held();
  };
  const ends = ['pointerup', 'pointerleave', 'pointercancel'] as const;
  node.addEventListener('pointerdown', press);
  for (const end of ends) node.addEventListener(end, release);
  node.addEventListener('click', click);
  return () => {
    release();
    node.removeEventListener('pointerdown', press);
    for (const end of ends) node.removeEventListener(end, release);
    node.removeEventListener('click', click);
  };
}
