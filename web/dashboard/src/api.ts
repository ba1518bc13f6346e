// Every call to the server, with the shapes it answers. Errors are problem+json;
// one that isn't (a proxy, no network) is told apart, because the cure differs.

import type { Conflict, ConflictState, ConflictWhole, Person, Recounted, Replayed } from './conflicts.ts';

export interface FieldProblem {
  pointer: string;
  detail: string;
}

export class ApiError extends Error {
  constructor(
    /** 0 when no answer came at all. */
    readonly status: number,
    readonly title: string,
    readonly detail: string | null,
    readonly fields: FieldProblem[],
    /** The server's lasting name for it; null when what answered wasn't our server. */
    readonly code: string | null = null,
  ) {
    super(detail ?? title);
  }
  get noAnswer(): boolean {
    return this.status === 0;
  }
}

export interface Venue {
  id: string;
  code: string;
  name: string;
  role: string;
  time_zone: string;
}
export interface Session {
  user: { id: string; name: string; email: string };
  venues: Venue[];
}

export interface Zone {
  id: string;
  name: string;
  capacity: number;
  /** Minutes after midnight at which it begins again with nobody in it each day; null: never. */
  daily_reset_min: number | null;
}
export interface Gate {
  id: string;
  name: string;
  direction: 'in' | 'out';
  zone_id: string;
  staffed: boolean;
  /** Null until a device has used its enrolment code. */
  device_id: string | null;
}
export interface GateAsked {
  name: string;
  direction: 'in' | 'out';
  zone_id: string;
  staffed: boolean;
  egress?: 'free' | 'scan';
}
export interface Enrolment {
  code: string;
  expires_ms: number;
}
export interface Vendor {
  id: string;
  name: string;
  code: string;
  active: boolean;
}
export interface Product {
  id: number;
  name: string;
  number: number;
  exposure: Exposure;
}
/** What can happen to one pass while gates can't hear each other, said in advance, and what did. */
export interface Exposure {
  /** Extra uses in its whole life, at most; null where it may be used without end. */
  extra_in_all: number | null;
  /** Extra uses on one day, at most; null where there is no limit per day. */
  extra_per_day: number | null;
  /** Extra uses of all its passes that gates have reported. */
  extra_uses: number;
}
export interface Batch {
  batch_id: string;
  count: number;
  links: { pdf: string };
}
export interface BatchAsked {
  vendor_id: string;
  product_id: number;
  count: number;
  valid_from_ms: number;
  valid_until_ms: number;
  /** Gates greet the holders in Romanian first. */
  romanian: boolean;
  /** The holders are children: staff are asked for an adult where the product wants it. */
  child: boolean;
}
export interface BatchRow {
  batch_id: string;
  vendor_id: string;
  product_id: number;
  count: number;
  valid_until_ms: number;
  issued_ms: number;
}
export type PassStatus = 'valid' | 'used' | 'blocked' | 'revoked' | 'expired' | 'not_yet_valid' | 'superseded';
export interface PassUse {
  gate: string;
  direction: string;
  at_ms: number;
  annulled: boolean;
}
export interface PassFound {
  cti: string;
  short_code: string;
  status: PassStatus;
  vendor: string;
  product: string;
  valid_from_ms: number;
  valid_until_ms: number;
  /** Newest first. */
  uses: PassUse[];
}

const TIMEOUT_MS = 20_000;

/** A part of a long list, and the address of the next one. */
export interface Part<T> {
  items: T[];
  next: string | null;
}

let whenEnded: (() => void) | null = null;

/** What is done when somebody asks for something and their session has ended. What a page asks by itself interrupts nobody. */
export function onSessionEnd(run: () => void): void {
  whenEnded = run;
}

const noAnswer = () => new ApiError(0, 'no answer', null, []);

async function part<T>(path: string): Promise<Part<T>> {
  const response = await send('GET', path);
  const next = /<([^>]+)>;\s*rel="?next"?/.exec(response.headers.get('link') ?? '')?.[1] ?? null;
  return { items: (await read(response)) as T[], next };
}

async function call<T>(
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
  ended: (() => void) | null = whenEnded,
): Promise<T> {
  const response = await send(method, path, body, headers, ended);
  if (response.status === 204) return undefined as T;
  return (await read(response)) as T;
}

/** The line may break in the middle of an answer, and a hotel's network answers with a page of its own. */
async function read(response: Response): Promise<unknown> {
  try {
    const text = await response.text();
    return text === '' ? undefined : JSON.parse(text);
  } catch {
    throw noAnswer();
  }
}

async function send(
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
  ended: (() => void) | null = whenEnded,
): Promise<Response> {
  const init: RequestInit = {
    method,
    credentials: 'same-origin',
    headers: { accept: 'application/json', ...headers },
    signal: AbortSignal.timeout(TIMEOUT_MS),
  };
  if (method !== 'GET') init.headers = { ...init.headers, 'X-Requested-With': 'gate-dashboard' };
  if (body !== undefined) {
    init.headers = { ...init.headers, 'content-type': 'application/json' };
    init.body = JSON.stringify(body);
  }
  let response: Response;
  try {
    response = await fetch(path, init);
  } catch {
    throw noAnswer();
  }
  if (response.ok) return response;
  const error = await problem(response);
  if (error.code === 'login_needed') ended?.();
  throw error;
}

async function problem(response: Response): Promise<ApiError> {
  const isProblem = response.headers.get('content-type')?.includes('json') ?? false;
  if (!isProblem) return new ApiError(response.status, `${response.status} ${response.statusText}`, null, []);
  const body = ((await read(response)) ?? {}) as {
    title?: string;
    detail?: string;
    code?: string;
    errors?: { pointer?: string; detail?: string }[];
  };
  return new ApiError(
    response.status,
    body.title ?? response.statusText,
    body.detail ?? null,
    (body.errors ?? []).map((field) => ({ pointer: field.pointer ?? '', detail: field.detail ?? '' })),
    body.code ?? null,
  );
}

/** Random even where the page is served over plain HTTP on a LAN, which has no crypto.randomUUID. */
export function newKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

const list = <T,>(path: string) => call<T[]>('GET', path);
const at = (venue: string, rest: string) => `/v1/venues/${encodeURIComponent(venue)}/${rest}`;

export const api = {
  setup: () => call<{ owner_exists: boolean }>('GET', '/v1/setup'),
  createOwner: (owner: { email: string; name: string; password: string; venue_name: string; time_zone: string }) =>
    call<unknown>('POST', '/v1/setup', owner),
  session: () => call<Session>('GET', '/v1/session'),
  logIn: (email: string, password: string) => call<unknown>('POST', '/v1/session', { email, password }),
  logOut: () => call<unknown>('DELETE', '/v1/session'),

  overview: (venue: string) => call<unknown>('GET', at(venue, 'overview'), undefined, {}, null),
  livePath: (venue: string, after: number | null) => at(venue, after === null ? 'live' : `live?after=${after}`),

  zones: (venue: string) => list<Zone>(at(venue, 'zones')),
  addZone: (venue: string, zone: { name: string; capacity: number; daily_reset_min: number | null }) =>
    call<Zone>('POST', at(venue, 'zones'), zone),
  changeZone: (venue: string, zone: string, change: { daily_reset_min: number | null }) =>
    call<Zone>('PATCH', at(venue, `zones/${encodeURIComponent(zone)}`), change),
  gates: (venue: string) => list<Gate>(at(venue, 'gates')),
  addGate: (venue: string, gate: GateAsked) =>
    call<Gate>('POST', at(venue, 'gates'), gate),
  enrol: (venue: string, gate: string) => call<Enrolment>('POST', at(venue, `gates/${encodeURIComponent(gate)}/enrolment`), {}),
  vendors: (venue: string) => list<Vendor>(at(venue, 'vendors')),
  addVendor: (venue: string, vendor: { name: string; code?: string }) => call<Vendor>('POST', at(venue, 'vendors'), vendor),
  setVendorActive: (venue: string, vendor: string, active: boolean) =>
    call<unknown>('PATCH', at(venue, `vendors/${encodeURIComponent(vendor)}`), { active }),
  products: (venue: string) => list<Product>(at(venue, 'products')),
  addProduct: (venue: string, product: { name: string; number: number; rules: unknown }) =>
    call<Product>('POST', at(venue, 'products'), product),
  batches: (venue: string) => list<BatchRow>(at(venue, 'batches')),
  sheetPath: (venue: string, batch: string) => at(venue, `batches/${encodeURIComponent(batch)}/sheet.pdf`),
  issue: (venue: string, key: string, batch: BatchAsked) =>
    call<Batch>('POST', at(venue, 'batches'), batch, { 'Idempotency-Key': key }),
  lookup: (venue: string, code: string) => call<{ passes: PassFound[] }>('GET', at(venue, `passes/lookup?code=${encodeURIComponent(code)}`)),
  people: (venue: string) => list<Person>(at(venue, 'people')),
  conflicts: (venue: string, state: ConflictState, kind: string) =>
    part<Conflict>(at(venue, `conflicts?state=${state}&limit=50${kind === '' ? '' : `&kind=${encodeURIComponent(kind)}`}`)),
  moreConflicts: (next: string) => part<Conflict>(next),
  conflict: (venue: string, id: string) => call<ConflictWhole>('GET', at(venue, `conflicts/${encodeURIComponent(id)}`)),
  assign: (venue: string, id: string, person: string) =>
    call<Conflict>('POST', at(venue, `conflicts/${encodeURIComponent(id)}/assign`), { person_id: person }),
  resolve: (venue: string, id: string, action: 'close' | 'release' | 'withdraw' | 'retry', note: string) =>
    call<Conflict>('POST', at(venue, `conflicts/${encodeURIComponent(id)}/resolve`), { action, note }),
  replay: (venue: string, event: string) => call<Replayed>('GET', at(venue, `events/${event.split('/').map(encodeURIComponent).join('/')}/replay`)),
  recount: (venue: string, zone: string, observed: number, reason: string) =>
    call<Recounted>('POST', at(venue, `zones/${encodeURIComponent(zone)}/recount`), { observed, reason }),
  revoke: (venue: string, cti: string) => call<unknown>('POST', at(venue, `passes/${encodeURIComponent(cti)}/revoke`), {}),
};
