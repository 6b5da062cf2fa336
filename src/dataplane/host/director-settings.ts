/** What is wanted of the whole virtual server, as engines take it. */
import type { VirtualServer } from '../config/service-types.js';
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
