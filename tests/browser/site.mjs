// The site behind pullgate, as far as Bitrix's client and push server see one: REST methods of the
// module Push & Pull, and its publishing. Answers and requests have the shape that the module gives them.

import assert from 'node:assert/strict';
import { createHmac, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import { publication } from './protobuf.mjs';
import { eventually } from './run.mjs';

const REVISION = 19; // what the module and the client must agree on
const CHANNEL_LIFE = 43_205; // s
const MESSAGE_LIFE = 3_600; // s

const here = name => readFileSync(new URL(name, import.meta.url));
const FILES = {
  '/': ['text/html', '<!doctype html><script src="b24jssdk.js"></script><script src="page.js"></script>'],
  '/b24jssdk.js': ['text/javascript', here('node_modules/@bitrix24/b24jssdk/dist/umd/index.min.js')],
  '/page.js': ['text/javascript', here('page.js')],
};

const channelId = () => randomBytes(16).toString('hex');
const iso = date => date.toISOString().replace(/\.\d+Z$/, '+00:00');

export class Site {
  #users = new Map();
  #shared = channelId();
  #key;
  #publishUrl;

  /** `key` signs channels; `publishUrl` is where pullgate takes what a back end publishes. */
  constructor(key, publishUrl) {
    this.#key = key;
    this.#publishUrl = publishUrl;
  }

  /** Serves on the unix socket `path`. */
  async listen(path) {
    const server = http.createServer((request, response) => {
      const { pathname } = new URL(request.url, 'http://site');
      const [, rest, user, method] = pathname.match(/^\/(rest)\/(\d+)\/hook\/([a-z.]+)$/) ?? [];
      if (rest) return this.#answer(this.#users.get(Number(user)), method, request, response);
      const [type, body] = FILES[pathname] ?? [];
      response.writeHead(body ? 200 : 404, { 'content-type': `${type}; charset=utf-8` }).end(body);
    });
    await new Promise(resolve => server.listen(path, resolve));
  }

  /** A new user, whose client is told to speak `version` with the push server at `host`. */
  user({ version, websocket, host }) {
    const id = this.#users.size + 7;
    const user = { id, version, websocket, host, private: channelId(), public: channelId() };
    this.#users.set(id, user);
    return user;
  }

  // --- REST

  async #answer(user, method, request, response) {
    let body = '';
    for await (const chunk of request) body += chunk;
    const result = {
      'pull.config.get': () => this.#config(user),
      'pull.channel.public.list': () => this.#publicChannels(JSON.parse(body).users),
      'pull.watch.extend': () => [],
    }[method]();
    response.writeHead(200, { 'content-type': 'application/json; charset=utf-8' });
    response.end(JSON.stringify({ result, time: {} }));
  }

  #config(user) {
    const { version, host } = user;
    const publicId = this.#signed(user.public, `public:${user.public}`);
    const privateId = version > 3
      ? this.#signed(`${user.private}:${user.public}`)
      : this.#signed(user.private);
    return {
      server: {
        version,
        server_enabled: true,
        mode: 'personal',
        hostname: host,
        long_polling: `http://${host}/bitrix/sub/`,
        long_pooling_secure: `https://${host}/bitrix/sub/`,
        websocket_enabled: user.websocket,
        websocket: `ws://${host}/bitrix/subws/`,
        websocket_secure: `wss://${host}/bitrix/subws/`,
        publish_enabled: version > 3,
        publish: `http://${host}/bitrix/rest/`,
        publish_secure: `https://${host}/bitrix/rest/`,
        config_timestamp: 0,
      },
      api: { revision_web: REVISION, revision_mobile: 3 },
      channels: {
        shared: { id: this.#signed(this.#shared), ...this.#life(), type: 'shared' },
        private: {
          id: privateId,
          public_id: version > 3 ? publicId : '',
          ...this.#life(),
          type: 'private',
        },
      },
      publicChannels: version > 3 ? this.#publicChannels([user.id]) : false,
      serverTime: iso(new Date()),
    };
  }

  #publicChannels(ids) {
    return Object.fromEntries(ids.map(id => {
      const { public: publicId } = this.#users.get(id);
      const signature = this.#sign(`public:${publicId}`);
      return [id, { user_id: id, public_id: publicId, signature, ...this.#life() }];
    }));
  }

  #life() {
    const now = Date.now();
    return { start: iso(new Date(now)), end: iso(new Date(now + CHANNEL_LIFE * 1000)) };
  }

  #sign(text) {
    return createHmac('sha1', this.#key).update(text).digest('hex');
  }

  #signed(channel, text = channel) {
    return `${channel}.${this.#sign(text)}`;
  }

  // --- Publishing

  /** To `user` alone, in the form of its version of the push server. */
  push(user, text) {
    return this.#publish(user.version, user.private, text);
  }

  /** To everyone. */
  pushToAll(version, text) {
    return this.#publish(version, this.#shared, text);
  }

  async #publish(version, channel, text) {
    const now = new Date();
    const body = JSON.stringify({
      module_id: 'test',
      command: 'message',
      params: { text },
      extra: {
        server_time: iso(now),
        server_time_unix: now.getTime() / 1000,
        server_name: 'site',
        revision_web: REVISION,
        revision_mobile: 3,
      },
    });
    const response = version > 3
      ? await this.#request('binaryMode=true', { body: publication(channel, body, MESSAGE_LIFE) })
      : await this.#request(`CHANNEL_ID=${channel}`, {
        body, headers: { 'message-expiry': String(MESSAGE_LIFE) },
      });
    assert.equal(response.status, 200, `publishing ${text}: ${response.status}`);
  }

  /** Waits until pullgate says that `user` is online. */
  online(user) {
    return eventually(`user ${user.id} is online`, async () => {
      const response = await this.#request(`CHANNEL_ID=${user.private}`, { method: 'GET' });
      return (await response.text()).includes(user.private);
    });
  }

  /** Waits until pullgate has so many connections at most: with Redis a user is online for a while without one. */
  connections(most) {
    return eventually(`there are ${most} connections`, async () => {
      const [{ websockets, pollings }] = await (await fetch(`${this.#publishUrl}server-stat/`)).json();
      return websockets + pollings <= most;
    });
  }

  #request(query, options) {
    return fetch(`${this.#publishUrl}bitrix/pub/?${query}`, { method: 'POST', ...options });
  }
}
