/** What is wanted of the whole virtual server, as engines take it. */
import type { VirtualServer } from '../config/service-types.js';
import { ApplyError } from '../face.js';
import type { Settings } from '../ipvs/settings.js';

export function settingsOf(wanted: VirtualServer): Settings {
  const { tcpSeconds, tcpFinSeconds, udpSeconds } = wanted;
  const { sloppyTcp, secureTcp, dropEntry, dropPacket, dropRate } = wanted;
  const { expireNodestConn, expireQuiescentTemplate, connReuseMode } = wanted;
  return {
    timeouts: { tcp: tcpSeconds, tcpFin: tcpFinSeconds, udp: udpSeconds },
    ...{ sloppyTcp, secureTcp, dropEntry, dropPacket, dropRate },
    ...{ expireNodestConn, expireQuiescentTemplate, connReuseMode },
  };
}

/** The table of connections has its size from the first configuration on. */
export function refuseOtherSize({ connections }: VirtualServer, capacity: number): void {
  if (connections === capacity) return;
  throw new ApplyError(
    `virtualServer.connections: the table is for ${capacity} while the data plane runs, got ${connections}; restart it`,
  );
}
