// A stand-in for the gate and the cloud, so that every screen can be looked at
// without either. It serves the built pages under the same strict policy.
//
//   npm run build && npm run mock
//
// then open the printed addresses; /mock on each lists the states and switches between them.

import { createServer } from 'node:http';
import { readFile } from 'node:fs/promises';
import { extname, join, normalize } from 'node:path';
import { fileURLToPath } from 'node:url';
import { WebSocketServer } from 'ws';
import { people, startInbox } from './conflicts.mjs';
import * as canned from './states.mjs';

const WEB = fileURLToPath(new URL('..', import.meta.url));
const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.woff2': 'font/woff2',
};
/** As the gate and the cloud send them. */
const POLICIES = {
  'kiosk/dist': "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
  'dashboard/dist':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; connect-src 'self'; manifest-src 'self'; worker-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
};

async function serveFile(dist, path, response) {
  const wanted = normalize(path).replace(/^(\.\.[/\\])+/, '');
  const known = TYPES[extname(wanted)] ? wanted : '/index.html';
  let body;
  try {
    body = await readFile(join(WEB, dist, known));
  } catch {
    response.writeHead(404).end();
    return;
  }
  response.writeHead(200, {
    'content-type': TYPES[extname(known)],
    'content-security-policy': POLICIES[dist],
    'x-content-type-options': 'nosniff',
  });
  response.end(body);
}

function json(response, status, value) {
  const type = status >= 400 ? 'application/problem+json' : 'application/json';
  response.writeHead(status, { 'content-type': type }).end(value === undefined ? '' : JSON.stringify(value));
}

const problem = (response, status, code, title, detail, errors = []) =>
  json(response, status, { type: `/problems/${code}`, status, title, detail, code, errors });

/** As the cloud reads a line of text: one that isn't blank. */
function blank(response, pointer, text, limit) {
  if (String(text ?? '').trim() !== '') return false;
  const detail = `One line of 1 to ${limit} characters is needed.`;
  problem(response, 422, 'invalid', 'A value is not accepted', detail, [{ pointer, detail }]);
  return true;
}

async function bodyOf(request) {
  let text = '';
  for await (const part of request) text += part;
  return text === '' ? {} : JSON.parse(text);
}

function switchPage(response, names, current) {
  const items = names.map((name) => `<li><a href="/mock/${name}">${name}${name === current ? ' (now)' : ''}</a></li>`).join('');
  response.writeHead(200, { 'content-type': 'text/html' }).end(`<!doctype html><title>mock</title><ul>${items}</ul>`);
}

async function listen(server, port) {
  await new Promise((resolve) => server.listen(port, '127.0.0.1', resolve));
  return server.address().port;
}

/** A gate's screen server. `show(name, words)` changes what it says; `cut()` and `heal()` break its sockets. */
export async function startGate(port = 0) {
  let name = 'idle';
  let seq = 0;
  let presentation = 0;
  let healthy = true;
  const sockets = new Set();
  const say = () => JSON.stringify({ seq, ...withPresentation(canned.gateStates[name]) });
  let saying = null;
  const withPresentation = (state) => ({
    ...state,
    screen: { ...state.screen, presentation, words: saying ?? state.screen.words },
  });

  const server = createServer((request, response) => {
    const path = new URL(request.url, 'http://gate').pathname;
    if (path === '/mock') return switchPage(response, [...Object.keys(canned.gateStates), 'cut', 'heal'], name);
    if (path.startsWith('/mock/')) {
      const to = path.slice(6);
      if (to === 'cut') gate.cut();
      else if (to === 'heal') gate.heal();
      else if (canned.gateStates[to]) gate.show(to);
      response.writeHead(303, { location: '/mock' }).end();
      return undefined;
    }
    return void serveFile('kiosk/dist', path === '/' ? '/index.html' : path, response);
  });
  const accept = new WebSocketServer({ noServer: true });
  server.on('upgrade', (request, socket, head) => {
    if (!healthy || request.url !== '/ws') {
      socket.destroy();
      return;
    }
    accept.handleUpgrade(request, socket, head, (ws) => {
      sockets.add(ws);
      ws.on('close', () => sockets.delete(ws));
      ws.on('message', (text) => gate.heard.push(JSON.parse(String(text))));
      ws.send(say());
    });
  });

  const gate = {
    port: await listen(server, port),
    /** What the page said. */
    heard: [],
    /** Gives the number of the message that says so. */
    show(next, words = null) {
      name = next;
      saying = words;
      seq += 1;
      presentation += 1;
      for (const ws of sockets) ws.send(say());
      return seq;
    },
    cut() {
      healthy = false;
      for (const ws of sockets) ws.terminate();
    },
    heal() {
      healthy = true;
    },
    async stop() {
      gate.cut();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return gate;
}

/** The cloud as far as the dashboard can see it. */
export async function startCloud(port = 0) {
  let name = 'near_full';
  let seq = 100;
  let owner = true;
  let loggedIn = true;
  let live = true;
  let answering = true;
  const made = { zones: [...canned.zones], gates: [...canned.gates], vendors: [...canned.vendors], products: [...canned.products] };
  const sockets = new Set();
  const inbox = startInbox();
  const overview = () => ({ seq, now_ms: Date.now(), open_conflicts: inbox.waiting(), ...canned.overviews[name](Date.now()) });
  const push = () => {
    for (const ws of sockets) ws.send(JSON.stringify({ seq, overview: overview() }));
  };

  const routes = {
    'GET /v1/setup': () => ({ owner_exists: owner }),
    'POST /v1/setup': () => {
      owner = loggedIn = true;
      return {};
    },
    'POST /v1/session': (body, response) => {
      if (body.password === 'wrong') return problem(response, 401, 'wrong_login', 'Not logged in', 'The e-mail address or the password is wrong.');
      loggedIn = true;
      return {};
    },
    'DELETE /v1/session': () => {
      loggedIn = false;
      return {};
    },
  };
  const venueRoutes = {
    'GET overview': () => overview(),
    'POST gates/*/enrolment': () => ({ code: 'K7QM4ZTD', expires_ms: Date.now() + 7 * 24 * 3_600_000 }),
    'PATCH vendors/*': (body, id) => {
      made.vendors = made.vendors.map((one) => (one.id === id ? { ...one, ...body } : one));
      return {};
    },
    'GET people': () => people,
    'GET conflicts/*': (_, id, response) => inbox.one(id) ?? problem(response, 404, 'not_found', 'Not found', 'There is no such conflict here.'),
    'POST conflicts/*/assign': (body, id) => inbox.assign(id, body.person_id),
    'POST conflicts/*/resolve': (body, id, response) => {
      if (blank(response, '/note', body.note, 500)) return undefined;
      if (body.action !== 'retry') return inbox.resolve(id, body.note);
      return problem(response, 409, 'still_aside', 'It clashes with what is there', "It still can't be applied, for the same reason.");
    },
    'POST zones/*/recount': (body, id, response) => {
      if (blank(response, '/reason', body.reason, 200)) return undefined;
      inbox.counted(id);
      return { event: 'e', before: 12, after: body.observed };
    },
    'GET events/*/*/*/replay': () => inbox.replay(),
    'GET batches': () => canned.batches,
    'POST batches': (body) => ({ batch_id: `b${seq++}`, count: body.count, links: { pdf: '/v1/venues/v1/batches/b/sheet.pdf' } }),
    'POST passes/*/revoke': () => ({}),
  };
  for (const kind of ['zones', 'gates', 'vendors', 'products']) {
    venueRoutes[`GET ${kind}`] = () => made[kind];
    venueRoutes[`POST ${kind}`] = (body) => {
      const row = { id: `n${seq++}`, active: true, code: 'NN', ...body };
      made[kind].push(row);
      return row;
    };
  }

  const server = createServer((request, response) => {
    void answer(request, response);
  });
  async function answer(request, response) {
    const url = new URL(request.url, 'http://cloud');
    if (url.pathname === '/mock') return switchPage(response, [...Object.keys(canned.overviews), 'setup', 'login', 'quiet', 'full_inbox', 'cut', 'heal'], name);
    if (url.pathname.startsWith('/mock/')) {
      cloud.become(url.pathname.slice(6));
      return response.writeHead(303, { location: '/mock' }).end();
    }
    if (!url.pathname.startsWith('/v1/')) return serveFile('dashboard/dist', url.pathname === '/' ? '/index.html' : url.pathname, response);
    if (!answering) return request.socket.destroy();
    const body = await bodyOf(request);
    if (request.method !== 'GET' && request.headers['x-requested-with'] !== 'gate-dashboard') {
      return problem(response, 403, 'forged', 'Not from our own page', 'The header X-Requested-With is missing.');
    }
    const open = routes[`${request.method} ${url.pathname}`];
    if (open) {
      const value = open(body, response);
      return response.writableEnded ? undefined : json(response, 200, value);
    }
    if (!loggedIn) return problem(response, 401, 'login_needed', 'Not logged in', 'Log in, then try again.');
    if (url.pathname === '/v1/session') return json(response, 200, canned.session);
    const rest = /^\/v1\/venues\/[^/]+\/(.+)$/.exec(url.pathname)?.[1] ?? '';
    if (rest === 'passes/lookup') {
      const found = canned.pass(url.searchParams.get('code') ?? '', Date.now());
      return found ? json(response, 200, { passes: [found] }) : problem(response, 404, 'not_found', 'Not found', 'There is no such pass here.');
    }
    if (rest === 'conflicts') {
      const { items, next } = inbox.list(url.searchParams);
      if (next !== null) response.setHeader('link', `<${next}>; rel="next"`);
      return json(response, 200, items);
    }
    const parts = rest.split('/');
    const shape = parts[0] === 'events' ? 'events/*/*/*/replay' : parts.length > 1 ? [parts[0], '*', ...parts.slice(2)].join('/') : rest;
    const route = venueRoutes[`${request.method} ${shape}`];
    if (!route) return problem(response, 404, 'not_found', 'Not found', rest);
    const value = route(body, parts[1], response);
    return response.writableEnded ? undefined : json(response, 200, value);
  }

  const accept = new WebSocketServer({ noServer: true });
  server.on('upgrade', (request, socket, head) => {
    if (!live || !loggedIn || !/^\/v1\/venues\/[^/]+\/live/.test(request.url)) {
      socket.destroy();
      return;
    }
    accept.handleUpgrade(request, socket, head, (ws) => {
      sockets.add(ws);
      ws.on('close', () => sockets.delete(ws));
      ws.send(JSON.stringify({ seq, overview: overview() }));
    });
  });
  const beat = setInterval(push, 15_000);
  beat.unref();

  const cloud = {
    port: await listen(server, port),
    become(next) {
      owner = next !== 'setup';
      if (next === 'quiet' || next === 'full_inbox') inbox.fill(next === 'full_inbox');
      loggedIn = next !== 'setup' && next !== 'login';
      if (next === 'cut') {
        live = false;
        for (const ws of sockets) ws.terminate();
      } else if (next === 'dead') {
        live = answering = false;
        for (const ws of sockets) ws.terminate();
      } else if (next === 'heal') {
        live = answering = true;
      } else if (canned.overviews[next]) {
        name = next;
        seq += 1;
        push();
      }
    },
    async stop() {
      clearInterval(beat);
      for (const ws of sockets) ws.terminate();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return cloud;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const gate = await startGate(4601);
  const cloud = await startCloud(4602);
  console.log(`driver's screen  http://127.0.0.1:${gate.port}/   states: http://127.0.0.1:${gate.port}/mock`);
  console.log(`dashboard        http://127.0.0.1:${cloud.port}/   states: http://127.0.0.1:${cloud.port}/mock`);
}
