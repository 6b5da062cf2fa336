/** The virtual server on the control socket. */
import { parseEdits } from '../../dataplane/config/service-edit-schema.js';
import { SYNC_ROLES } from '../../dataplane/config/service-types.js';
import type { VirtualServerReport } from '../../dataplane/report.js';
import type { Running } from '../running.js';
import { readJson } from '../socket/body.js';
import type { Exchange, Handler } from '../socket/exchange.js';
import { sendList } from '../socket/list.js';

/** Of IPVS in Linux, which ipvsadm asks for. */
const IPVS_VERSION = '1.2.1';

export const VIRTUAL_SERVER_ROUTES: Readonly<Record<string, Readonly<Record<string, Handler>>>> = {
  '/v1/ipvs': { GET: ({ running }) => report(running) },
  '/v1/ipvs/connections': { GET: connections },
  '/v1/connections': { GET: connections },
  '/v1/services': { GET: ({ running }) => running.dataplane.services() },
  '/v1/ipvs/wanted': {
    GET: ({ running }) => {
      const { services, virtualServer } = running.config!;
      return { services, virtualServer };
    },
  },
  '/v1/ipvs/edits': {
    POST: async ({ running, request }) => running.edit(parseEdits(await readJson(request))),
  },
  '/v1/ipvs/zero': {
    POST: async ({ running, request }) => {
      const which = (await readJson(request)) ?? {};
      return running.edit(parseEdits([{ ...(which as object), do: 'zero' }]));
    },
  },
};

/** There may be a million. */
function connections(exchange: Exchange): Promise<void> {
  return sendList(exchange, exchange.running.dataplane.eachConnection());
}

/** A request is only answered once a configuration runs. */
function report({ config, dataplane }: Running): VirtualServerReport {
  const { virtualServer } = config!;
  const { tcpSeconds, tcpFinSeconds, udpSeconds, connections, sync } = virtualServer;
  return {
    version: IPVS_VERSION,
    tableSize: connections,
    timeouts: { tcpSeconds, tcpFinSeconds, udpSeconds },
    daemons: SYNC_ROLES.flatMap((role) => (sync[role] === null ? [] : { role, ...sync[role] })),
    services: dataplane.services(),
  };
}
