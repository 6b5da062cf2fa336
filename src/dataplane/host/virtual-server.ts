/** The rows of the virtual server: what is wanted of it, how busy its destinations are, and its connections. */

import type { Service } from '../config/service-types.js';
import type { Connections } from '../ipvs/connections.js';
import { ENGINE_DATA, ENGINE_LENGTH, type Extras } from '../ipvs/extras.js';
import {
  CLIENT,
  CLIENT_PORTS,
  DESTINATION,
  EXTRA,
  FLAG_SYNCED,
  KIND,
  KIND_DESTINATION_IPV6,
  KIND_IPV6,
  KIND_TEMPLATE,
  NETWORK,
  protocolOf,
  STATE,
  TICKS_PER_SECOND,
  ticksAt,
  VIRTUAL,
  wordsAt,
} from '../ipvs/record.js';
import {
  type ConnectionRow,
  type DestinationRow,
  NOTHING_CARRIED,
  type ServiceRow,
  type Statement,
} from '../ipvs/service-report.js';
import { stateName } from '../ipvs/states.js';
import { addressText } from './addresses.js';

const PROTOCOLS: Readonly<Record<number, ConnectionRow['protocol']>> = { 6: 'tcp', 17: 'udp', 132: 'sctp' };

type Busy = Pick<DestinationRow, 'active' | 'inactive' | 'persistent'>;

const IDLE: Busy = { active: 0, inactive: 0, persistent: 0 };

/**
 * As they are in force.
 * @param carried by a service, or by one of its destinations
 */
export function virtualServerRows(
  services: readonly Service[],
  busy: (of: Service, address: string) => Busy = () => IDLE,
  isLocal: (of: Service, address: string) => boolean = () => false,
  carried: (of: Service, address?: string) => Statement = () => NOTHING_CARRIED,
): ServiceRow[] {
  return services.map((service) => {
    const { network, listen, scheduler, schedulerFlags, persistence, onePacket, destinations } = service;
    return {
      ...{ network, listen, scheduler, schedulerFlags, persistence, onePacket },
      ...carried(service),
      destinations: destinations.map(
        ({ address, weight, forward, tunnel, upperThreshold, lowerThreshold }) => ({
          ...{ address, weight, tunnel, upperThreshold, lowerThreshold },
          forward: forward !== 'nat' && isLocal(service, address) ? 'local' : forward,
          ...busy(service, address),
          ...carried(service, address),
        }),
      ),
    };
  });
}

/**
 * Every connection that has not run out, one by one.
 * @param clock the engines', milliseconds
 * @param nameOf of the network with the index; null: there is none, so it is the host's own side
 */
export function* connectionRows(
  connections: Connections,
  extras: Extras,
  clock: () => number,
  nameOf: (network: number) => string | null = () => null,
): Generator<ConnectionRow> {
  const { records, expires, highWater } = connections;
  for (let connection = 0; connection < highWater; connection++) {
    if (expires[connection] === 0) continue;
    const now = ticksAt(clock());
    const left = (expires[connection]! - now) | 0;
    if (left <= 0) continue;
    const at = connections.at(connection);
    const kind = records[at + KIND]!;
    const ports = records[at + CLIENT_PORTS]!;
    const protocol = protocolOf(kind);
    const client = (kind & KIND_IPV6) !== 0;
    const server = (kind & KIND_DESTINATION_IPV6) !== 0;
    yield {
      network: nameOf(records[at + NETWORK]!),
      protocol: PROTOCOLS[protocol] ?? 'ip',
      state: stateName(protocol, records[at + STATE]! & 0xff, (kind & KIND_TEMPLATE) !== 0),
      expiresSeconds: Math.ceil(left / TICKS_PER_SECOND),
      source: end(records, at + CLIENT, client, ports >>> 16),
      virtual: end(records, at + VIRTUAL, client, ports & 0xffff),
      destination: end(records, at + DESTINATION, server, kind >>> 16),
      engine: engineOf(extras, kind, records[at + EXTRA]!),
      ...((records[at + STATE]! & FLAG_SYNCED) !== 0 && { synced: true }),
    };
  }
}

/** What a template's persistence engine goes by. @param extra 1 + the row that has it, 0: none has */
function engineOf(extras: Extras, kind: number, extra: number): ConnectionRow['engine'] {
  if ((kind & KIND_TEMPLATE) === 0 || extra === 0) return null;
  const at = extras.at(extra - 1);
  const from = 4 * at + ENGINE_DATA;
  const data = Buffer.from(extras.bytes.slice(from, from + extras.words[at + ENGINE_LENGTH]!));
  return { name: 'sip', data: data.toString('latin1') };
}

function end(records: Int32Array, at: number, wide: boolean, port: number): string {
  const text = addressText(wide ? 6 : 4, wordsAt(records, at));
  return wide ? `[${text}]:${port}` : `${text}:${port}`;
}
