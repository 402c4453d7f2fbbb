// The page: Bitrix's client as the SDK delivers it, for the user named in the query. The tests look
// at `client`, and at what came of it.
'use strict';

const received = []; // '<sender> <text>' of every message, in the order the client gave them
const log = []; // what the client has to say: '<level> <text>'

const user = Number(new URLSearchParams(location.search).get('user'));

async function callMethod(method, params) {
  const response = await fetch(`/rest/${user}/hook/${method}`, {
    method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(params),
  });
  if (!response.ok) throw new Error(`${method}: ${response.status}`);
  const answer = await response.json();
  return { getData: () => answer };
}

// All that the client wants of an SDK's REST object. The SDK's own insist on https, or on a frame of the portal.
const make = ({ method, params }) => callMethod(method, params);
const b24 = { callMethod, actions: { v2: { call: { make } } } };
const client = new B24Js.B24PullClientManager({ b24, userId: user, siteId: 's1' });

const levels = ['debug', 'info', 'notice', 'warning', 'error', 'critical', 'alert', 'emergency'];
client.setLogger(Object.fromEntries(levels.map(level => [level, async (message, context = {}) => {
  log.push(`${level} ${message} ${context.errorType ?? ''} ${context.error?.message ?? ''}`.trim());
}])));

for (const type of ['server', 'client']) {
  client.subscribe({
    type,
    moduleId: 'test',
    callback: ({ params, extra }) => {
      received.push(`${type === 'client' ? extra.sender.id : 'site'} ${params.text}`);
    },
  });
}
client.start().catch(error => log.push(`error start ${error?.message ?? error?.ex?.error ?? error}`));
