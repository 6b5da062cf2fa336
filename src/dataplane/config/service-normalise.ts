/** The one spelling of valid services: addresses canonical, ports and masks that were left out filled in. */
import type { z } from 'zod';
import { canonicalAddress, parsePrefix } from './address.js';
import { type Listen, listenText, parseListen, parseSocket, socketText } from './service-address.js';
import { service as serviceSchema, type virtualServerSettings } from './service-schema.js';
import type { Destination, Service, SyncDaemon, VirtualServer } from './service-types.js';

type ParsedService = z.output<typeof serviceSchema>;
type ParsedDestination = NonNullable<ParsedService['destinations']>[number];
type ParsedVirtualServer = z.output<typeof virtualServerSettings>;

export function normaliseService(parsed: ParsedService): Service {
  const listen = parseListen(parsed.listen)!;
  const { persistence, health } = parsed;
  return {
    ...parsed,
    listen: listenText(listen),
    schedulerFlags: [...(parsed.schedulerFlags ?? [])].sort(),
    persistence: persistence && {
      ...persistence,
      mask: persistence.mask ?? (listen.family === 4 ? 32 : 128),
    },
    allow: (parsed.allow ?? []).map((prefix) => {
      const { address, bits } = parsePrefix(prefix)!;
      return `${address}/${bits}`;
    }),
    sorryServer: parsed.sorryServer && destination(parsed.sorryServer, listen),
    destinations: (parsed.destinations ?? []).map((each) => destination(each, listen)),
    health:
      health !== null && 'digest' in health
        ? { ...health, digest: health.digest?.toLowerCase() ?? null }
        : health,
  };
}

/** A service of which nothing else was said. */
export function newService({ network, listen }: Pick<Service, 'network' | 'listen'>): Service {
  return normaliseService(serviceSchema.parse({ network, listen }));
}

function destination(parsed: ParsedDestination, listen: Listen): Destination {
  const { address, port } = parseSocket(parsed.address)!;
  const own = listen.protocol === 'mark' ? 0 : listen.port;
  return { ...parsed, address: socketText(address, port ?? own) };
}

export function normaliseVirtualServer(parsed: ParsedVirtualServer): VirtualServer {
  const { sync } = parsed;
  return { ...parsed, sync: { master: daemon(sync.master), backup: daemon(sync.backup) } };
}

function daemon(parsed: SyncDaemon | null): SyncDaemon | null {
  if (parsed === null) return null;
  const { peers, group } = parsed;
  return {
    ...parsed,
    group: canonicalAddress(group) ?? group,
    ...(peers && { peers: peers.map((each) => canonicalAddress(each) ?? each) }),
  };
}
