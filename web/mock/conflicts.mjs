// A canned inbox: one of every kind, some that are closed, and enough of them for a second page.

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

export const people = [
  { id: 'u1', name: 'Ana Ionescu', role: 'owner' },
  { id: 'u2', name: 'Mihai Popescu', role: 'manager' },
  { id: 'u3', name: 'Ștefania Constantinescu-Brâncoveanu', role: 'manager' },
];

const DEVICE = '01a1f8f8-90e0-7f36-9666-12ded3751650';
const event = (seq, kind, gate, at, heard = at + 2_000) => ({
  id: `${DEVICE}/000000000000000b/${seq}`,
  form: 'event',
  kind,
  gate_id: gate,
  at_ms: at,
  received_ms: heard,
  reason: null,
  bytes: 'a7626964582101a1f8f890e07f36966612ded3751650'.repeat(6),
});

function make(now) {
  let n = 0;
  const one = (kind, age, more = {}) => {
    n += 1;
    const at = now - age;
    return {
      id: n.toString(16).padStart(64, '3'),
      kind,
      standing: true,
      evidence: `what was found, in a sentence for experts (${kind})`,
      details: null,
      gate_id: null,
      device_id: null,
      zone_id: null,
      pass: null,
      product_id: null,
      at_ms: at,
      raised_ms: at + 2_000,
      state: 'open',
      owner: people[0],
      resolved_ms: null,
      resolved_by: null,
      note: null,
      fenced: false,
      events: [],
      against: [],
      ...more,
    };
  };
  const closed = { state: 'resolved', resolved_by: 'u2', note: 'Talked to the driver, all is well.' };
  return [
    one('count_due', 5 * HOUR, {
      zone_id: 'z1',
      details: {
        reasons: ['drift', 'unsure', 'quiet'],
        counted: 12,
        low: 6,
        high: 12,
        unsure: 6,
        drift: 4,
        passed: 412,
        last_passed_ms: now - 10 * HOUR,
        last_counted_ms: now - 9 * 24 * HOUR,
      },
    }),
    one('double_use', 20 * MINUTE, {
      gate_id: 'g2',
      pass: 'TM-6f1d0c5e9a7b4c3d8e2f1a0b9c8d7e6f',
      product_id: 1,
      raised_ms: now - 6 * MINUTE,
      evidence: `pass TM-6f1d0c5e9a7b4c3d8e2f1a0b9c8d7e6f may be used 1 times in all; ${DEVICE}/000000000000000b/41 is one more`,
      events: [event(41, 'authorised', 'g2', now - 20 * MINUTE, now - 6 * MINUTE)],
      against: [event(17, 'authorised', 'g1', now - 26 * MINUTE)],
    }),
    one('fork', 40 * MINUTE, {
      gate_id: 'g3',
      device_id: DEVICE,
      fenced: true,
      owner: people[2],
      events: [event(0, 'epoch_opened', 'g3', now - 40 * MINUTE)],
      against: [event(5, 'opened', 'g3', now - 44 * MINUTE)],
    }),
    one('over_capacity', 2 * HOUR, { zone_id: 'z1', gate_id: 'g1', standing: false, details: { occupancy: 223, capacity: 220 } }),
    one('poison', 3 * HOUR, {
      gate_id: 'g1',
      device_id: DEVICE,
      events: [
        { ...event(9, null, 'g1', now - 3 * HOUR), id: 'c0ffee'.padEnd(64, '0'), form: 'parked', reason: "it recounts a zone that is not this venue's" },
      ],
    }),
    one('drift', 4 * HOUR, { zone_id: 'z2', details: { drift: 3 } }),
    one('revoked_use', 6 * HOUR, { gate_id: 'g2', pass: 'PT-0a7b4c3d8e2f1a0b9c8d7e6f6f1d0c5e', owner: people[1], events: [event(44, 'authorised', 'g2', now - 6 * HOUR, now - 5 * HOUR)] }),
    one('late_exit', 8 * HOUR, { gate_id: 'g3', zone_id: 'z1', raised_ms: now - 3 * HOUR, events: [event(51, 'exit_button', 'g3', now - 8 * HOUR, now - 3 * HOUR)] }),
    one('passage_after_annulment', 9 * HOUR, { gate_id: 'g1', events: [event(60, 'passed', 'g1', now - 9 * HOUR)], against: [event(59, 'annulled', 'g1', now - 9 * HOUR - 4_000)] }),
    one('clock_fault', 10 * HOUR, { gate_id: 'g2', details: { by_s: -5_400 }, events: [event(61, 'clock_stepped', 'g2', now - 10 * HOUR)] }),
    one('journal_shorter', 11 * HOUR, { gate_id: 'g2', device_id: DEVICE, events: [event(0, 'epoch_opened', 'g2', now - 11 * HOUR)] }),
    one('recount_lost', 12 * HOUR, {
      zone_id: 'z2',
      details: { observed: 41, held: 44 },
      events: [{ ...event(70, 'recounted', '00000000-0000-0000-0000-000000000000', now - 12 * HOUR) }],
      against: [event(71, 'recounted', 'g1', now - 12 * HOUR)],
    }),
    one('cloud_restored', 13 * HOUR, { gate_id: 'g1', events: [{ ...event(1, null, null, null), id: '4711 3d1adf2d', form: 'word', received_ms: null, bytes: null }] }),
    one('withdrawn_device', 14 * HOUR, { gate_id: 'g3', device_id: DEVICE }),
    one('double_use', 30 * HOUR, { ...closed, gate_id: 'g1', resolved_ms: now - 28 * HOUR }),
    one('count_due', 50 * HOUR, { state: 'resolved', standing: false, resolved_ms: now - 47 * HOUR, zone_id: 'z2', details: { reasons: ['old'], counted: 30, low: 30, high: 30, passed: 340, last_counted_ms: null } }),
    ...Array.from({ length: 22 }, (_, index) => one('late_exit', (60 + index) * HOUR, { ...closed, gate_id: 'g3', resolved_ms: now - 59 * HOUR })),
  ];
}

const REPLAY = {
  same: true,
  en: ['The code was read and is one of ours.', 'The signature is genuine.', 'It is valid now.', 'As far as this gate had heard, it was not used yet.', 'There was a free place.'],
  ro: ['Codul a fost citit și este de-al nostru.', 'Semnătura este autentică.', 'Este valabil acum.', 'Din câte auzise această poartă, nu fusese folosit încă.', 'Era un loc liber.'],
};

/** The inbox's part of the cloud. `become('quiet')` empties it. */
export function startInbox() {
  const PAGE = 20;
  let all = make(Date.now());
  const shown = (one) => Object.fromEntries(Object.entries(one).filter(([name]) => !['fenced', 'events', 'against'].includes(name)));
  const change = (id, more) => {
    all = all.map((one) => (one.id === id ? { ...one, ...more } : one));
    return shown(all.find((one) => one.id === id));
  };
  return {
    fill(full) {
      all = full ? make(Date.now()) : [];
    },
    waiting: () => all.filter((one) => one.state === 'open' && one.standing).length,
    list(query) {
      const state = query.get('state') ?? 'open';
      const kind = query.get('kind');
      const from = Number(query.get('after') ?? 0);
      const found = all.filter((one) => (state === 'all' || one.state === state) && (!kind || one.kind === kind));
      found.sort((a, b) => b.raised_ms - a.raised_ms);
      const next = from + PAGE < found.length ? `/v1/venues/v1/conflicts?state=${state}&after=${from + PAGE}` : null;
      return { items: found.slice(from, from + PAGE).map(shown), next };
    },
    one: (id) => all.find((one) => one.id === id) ?? null,
    assign: (id, person) => change(id, { owner: people.find((one) => one.id === person) ?? people[0] }),
    resolve: (id, note) => change(id, { state: 'resolved', fenced: false, resolved_ms: Date.now(), resolved_by: 'u1', note }),
    counted(zone) {
      for (const one of all) {
        if (one.kind === 'count_due' && one.zone_id === zone && one.state === 'open') change(one.id, { state: 'resolved', standing: false, resolved_ms: Date.now() });
      }
    },
    replay: () => REPLAY,
  };
}
