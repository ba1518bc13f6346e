// Canned answers of a gate and of the cloud, one for everything a screen can show.
// Words are samples; the real ones come from the gate's list of reasons.

const HOUR = 3_600_000;

const well = {
  link: 'online',
  synced_age_s: 42,
  pending: 3,
  clock: 'signed',
  camera: 'ok',
  gate_io: 'ok',
  storage: 'ok',
};

function screen(kind, lamp, sound, en, ro, more = {}) {
  return {
    screen: {
      kind,
      reason: more.reason ?? null,
      lamp,
      sound,
      lang: more.lang ?? null,
      words: { en: { title: en[0], advice: en[1] }, ro: { title: ro[0], advice: ro[1] } },
      detail: more.detail ?? null,
      question: more.question ?? null,
    },
    status: { ...well, ...more.status },
    zone: more.zone === undefined ? { name: 'Lot', occupancy: 143, capacity: 220, near_full: false } : more.zone,
    gate: more.gate ?? { name: 'North entrance', direction: 'in' },
  };
}

export const gateStates = {
  idle: screen('idle', 'red', null, ['', ''], ['', '']),
  idle_near_full: screen('idle', 'yellow', null, ['', ''], ['', ''], {
    zone: { name: 'Lot', occupancy: 200, capacity: 220, near_full: true },
    status: { link: 'offline', synced_age_s: 47 * 60, pending: 128, clock: 'continued' },
  }),
  memory_fills: screen('idle', 'red', null, ['', ''], ['', ''], {
    status: { link: 'offline', synced_age_s: 31 * 24 * 3600, pending: 60_214, clock: 'continued', space_percent: 93, space_alarm: true },
  }),
  memory_fills_ro: screen('deny', 'red', 'error', ['REVOKED', 'This pass was withdrawn.'], ['RETRAS', 'Acest permis a fost retras.'], {
    reason: 'revoked', lang: 'ro', detail: { used_at_ms: null, used_at_gate: null, right_gates: [] },
    status: { link: 'offline', synced_age_s: 31 * 24 * 3600, pending: 60_214, clock: 'continued', space_percent: 93, space_alarm: true },
  }),
  wait: screen('wait', 'yellow', null, ['ONE MOMENT', 'Checking your code.'], ['O CLIPĂ', 'Verificăm codul.']),
  admit: screen('admit', 'green', 'entry', ['WELCOME', 'Drive in slowly.'], ['BINE AȚI VENIT', 'Intrați încet.']),
  deny: screen(
    'deny',
    'red',
    'error',
    ['ALREADY USED', 'This pass was used before. Ask the vendor for a new one.'],
    ['FOLOSIT DEJA', 'Acest permis a fost folosit. Cereți altul de la vânzător.'],
    { reason: 'already_used', detail: { used_at_ms: Date.now() - 2 * HOUR, used_at_gate: 'South entrance', right_gates: [] } },
  ),
  deny_long: screen(
    'deny',
    'red',
    'error',
    ['SUBSCRIPTION NOT KNOWN HERE', 'This gate does not know your subscription yet. Please ask the staff to check.'],
    ['ABONAMENTUL NU ESTE CUNOSCUT', 'Poarta nu cunoaște încă abonamentul dumneavoastră. Rugați personalul să verifice acum.'],
    { reason: 'unknown_pass', lang: 'ro', detail: { used_at_ms: null, used_at_gate: null, right_gates: ['Intrarea principală'] } },
  ),
  check: screen(
    'check',
    'yellow_flash',
    'attention',
    ['CHECK WITH STAFF', 'A child comes with an adult. Please wait here.'],
    ['AȘTEPTAȚI PERSONALUL', 'Copilul intră însoțit de un adult. Așteptați aici.'],
    { reason: 'child', lang: 'en' },
  ),
  question: screen(
    'check',
    'yellow_flash',
    'attention',
    ['CHILD WITH ADULT ONLY', 'A child may enter only with an adult. Call staff.'],
    ['COPIL DOAR CU ADULT', 'Copilul intră doar însoțit de un adult. Chemați personalul.'],
    { reason: 'child_needs_adult', lang: 'en', question: { text: 'Is the adult with a wristband there?' }, gate: { name: 'Poolside', direction: 'in', staffed: true, closed: false } },
  ),
  full: screen(
    'full',
    'red',
    'error',
    ['LOT FULL', 'Wait for a place or use the south lot.'],
    ['PARCARE PLINĂ', 'Așteptați un loc sau mergeți la parcarea de sud.'],
    { reason: 'full', zone: { name: 'Lot', occupancy: 220, capacity: 220, near_full: true } },
  ),
  closed: screen(
    'closed',
    'red',
    null,
    ['CLOSED', 'Open from 08:00 to 22:00.'],
    ['ÎNCHIS', 'Deschis între 08:00 și 22:00.'],
    { status: { link: 'never', synced_age_s: null, clock: 'unknown' } },
  ),
  fault: screen(
    'fault',
    'fault',
    'error',
    ['CALL STAFF', 'This gate can not record. It stays shut.'],
    ['CHEMAȚI PERSONALUL', 'Poarta nu poate înregistra. Rămâne închisă.'],
    {
      status: {
        link: 'offline',
        synced_age_s: 26 * 3_600,
        pending: 1_284,
        clock: 'unknown',
        camera: 'stalled',
        gate_io: 'lost',
        storage: 'fault',
      },
    },
  ),
  idle_staffed: screen('idle', 'red', null, ['', ''], ['', ''], {
    gate: { name: 'Poolside', direction: 'in', staffed: true, closed: false },
  }),
  closed_by_staff: screen(
    'closed',
    'red',
    null,
    ['OUT OF ORDER', 'This lane is closed. Use another one.'],
    ['SCOASĂ DIN FUNCȚIUNE', 'Această bandă este închisă. Folosiți alta.'],
    { reason: 'out_of_order', gate: { name: 'Poolside', direction: 'in', staffed: true, closed: true } },
  ),
  withdrawn: screen(
    'fault',
    'fault',
    'attention',
    ['CALL STAFF', 'This gate is out of order.'],
    ['CHEMAȚI PERSONALUL', 'Poarta nu funcționează.'],
    { reason: 'lane_fault', status: { not_deciding: 'withdrawn', link: 'offline', synced_age_s: 3 * 3_600 } },
  ),
  other_machine: screen(
    'fault',
    'fault',
    'attention',
    ['CALL STAFF', 'The gate has a fault. Your pass stays valid.'],
    ['CHEMAȚI PERSONALUL', 'Poarta are o defecțiune. Permisul rămâne valabil.'],
    { reason: 'lane_fault', status: { not_deciding: 'other_machine', link: 'offline', synced_age_s: 3 * 3_600 } },
  ),
  other_machine_ro: screen(
    'fault',
    'fault',
    'attention',
    ['CALL STAFF', 'The gate has a fault. Your pass stays valid.'],
    ['CHEMAȚI PERSONALUL', 'Poarta are o defecțiune. Permisul rămâne valabil.'],
    { reason: 'lane_fault', lang: 'ro', status: { not_deciding: 'other_machine', link: 'offline', synced_age_s: 3 * 3_600 } },
  ),
  free_exit: screen('free_exit', 'green', 'exit', ['GOODBYE', 'The exit is free. Drive slowly.'], ['DRUM BUN', 'Ieșirea este liberă. Mergeți încet.'], {
    gate: { name: 'South exit', direction: 'out' },
  }),
};

export const session = {
  user: { id: 'u1', name: 'Ana Ionescu', email: 'ana@example.test' },
  venues: [
    { id: 'v1', code: 'RM', name: 'Riverside market', role: 'owner', time_zone: 'Europe/Bucharest' },
    { id: 'v2', code: 'PL', name: 'Piscina de vară', role: 'manager', time_zone: 'Europe/Bucharest' },
  ],
};

function buckets(now) {
  const start = Math.floor(now / 900_000) * 900_000;
  return Array.from({ length: 32 }, (_, index) => {
    const wave = Math.exp(-(((index - 17) / 7) ** 2));
    return {
      start_ms: start - (31 - index) * 900_000,
      entries: Math.round(wave * 24 + ((index * 7) % 5)),
      exits: Math.round(Math.exp(-(((index - 24) / 8) ** 2)) * 19 + ((index * 5) % 4)),
    };
  });
}

function gatesNow(now, change = {}) {
  const one = (id, name, direction, state, age, pending) => ({
    id,
    name,
    direction,
    state: change[id] ?? state,
    last_seen_ms: age === null ? null : now - age,
    pending,
    software: age === null ? null : '0.1.0',
    clock_trust: age === null ? null : 'signed',
    zone_id: 'z1',
    broken: (change[id] ?? state) === 'degraded' ? ['camera'] : [],
  });
  return [
    one('g1', 'North entrance', 'in', 'online', 4_000, 0),
    one('g2', 'South entrance', 'in', 'degraded', 190_000, 12),
    one('g3', 'South exit', 'out', 'offline', 14 * 60_000, 31),
    one('g4', 'Poarta de serviciu', 'out', 'never_seen', null, null),
  ];
}

const refusals = [
  { reason: 'already_used', count: 14, title_en: 'Already used', title_ro: 'Folosit deja' },
  { reason: 'expired', count: 9, title_en: 'Expired', title_ro: 'Expirat' },
  { reason: 'full', count: 6, title_en: 'Lot full', title_ro: 'Parcare plină' },
  { reason: 'bad_signature', count: 2, title_en: 'Not a genuine pass', title_ro: 'Permis neautentic' },
];

function zone(now, change) {
  return {
    id: 'z1',
    name: 'Main car park',
    capacity: 220,
    occupancy: 198,
    low: 198,
    high: 198,
    percent: 90,
    state: 'near_full',
    as_of_ms: now - 12_000,
    warn_percent: 90,
    ...change,
  };
}

/** Each takes the current time, because ages must look alive. */
export const overviews = {
  near_full: (now) => ({
    zones: [zone(now, { low: 194, high: 205 })],
    gates: gatesNow(now),
    rates: { bucket_s: 900, buckets: buckets(now) },
    refusals,
  }),
  open: (now) => ({
    zones: [
      zone(now, { occupancy: 87, low: 87, high: 87, percent: 40, state: 'open' }),
      zone(now, { id: 'outer', name: 'Overflow', capacity: 60, occupancy: 0, low: 0, high: 0, percent: 0, state: 'open' }),
    ],
    gates: gatesNow(now, { g2: 'online', g3: 'online' }),
    rates: { bucket_s: 900, buckets: buckets(now) },
    refusals: refusals.slice(0, 2),
  }),
  full: (now) => ({
    zones: [zone(now, { occupancy: 223, low: 223, high: 223, percent: 101, state: 'full' })],
    gates: gatesNow(now, { g2: 'online', g3: 'online' }),
    rates: { bucket_s: 900, buckets: buckets(now) },
    refusals,
  }),
  unknown: (now) => ({
    zones: [zone(now, { occupancy: null, low: null, high: null, percent: null, state: 'open', as_of_ms: null })],
    gates: gatesNow(now, { g1: 'never_seen', g2: 'never_seen', g3: 'never_seen' }).map((gate) => ({ ...gate, last_seen_ms: null, pending: null })),
    rates: { bucket_s: 900, buckets: [] },
    refusals: [],
  }),
  empty: () => ({ zones: [], gates: [], rates: { bucket_s: 900, buckets: [] }, refusals: [] }),
};

export const zones = [
  { id: 'z1', name: 'Main car park', capacity: 220, daily_reset_min: 180 },
  { id: 'z2', name: 'Overflow', capacity: 60, daily_reset_min: null },
];
export const gates = [
  { id: 'g1', name: 'North entrance', direction: 'in', zone_id: 'z1', staffed: false, device_id: 'd1' },
  { id: 'g2', name: 'South entrance', direction: 'in', zone_id: 'z1', staffed: false, device_id: 'd1' },
  { id: 'g3', name: 'South exit', direction: 'out', zone_id: 'z1', staffed: false, device_id: null },
];
export const vendors = [
  { id: 'w1', name: 'Tacos Maria', code: 'TM', active: true },
  { id: 'w2', name: 'Plăcinte la Țuțu', code: 'PT', active: true },
  { id: 'w3', name: 'Old Books & Records of the Riverside', code: 'OB', active: false },
];
export const products = [{ id: 1, name: 'Visitor pass', number: 1, exposure: { gates: 2, extra_in_all: 1, extra_per_day: null, extra_uses: 3 } }];

export const batches = [
  { batch_id: 'b1', vendor_id: 'w1', product_id: 1, count: 250, valid_from_ms: 0, valid_until_ms: 0, issued_ms: Date.now() - 26 * HOUR },
  { batch_id: 'b2', vendor_id: 'w2', product_id: 1, count: 1, valid_from_ms: 0, valid_until_ms: 0, issued_ms: Date.now() - 90 * HOUR },
];

export function pass(code, now) {
  const base = {
    cti: '6f1d0c5e9a7b4c3d8e2f1a0b9c8d7e6f',
    vendor: 'Tacos Maria',
    product: 'Visitor pass',
    valid_from_ms: now - 6 * HOUR,
    valid_until_ms: now + 6 * HOUR,
    short_code: code,
    uses: [],
  };
  if (code.startsWith('0')) return null;
  if (code.startsWith('U')) return { ...base, status: 'used', uses: [{ gate_id: 'g1', gate: 'North entrance', direction: 'in', at_ms: now - HOUR, annulled: false }] };
  if (code.startsWith('R')) return { ...base, status: 'revoked' };
  return { ...base, status: 'valid' };
}
