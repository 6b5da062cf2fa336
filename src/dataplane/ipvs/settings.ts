/**
 * What holds for the whole virtual server: `ipvsadm --set` and net.ipv4.vs.*, under IPVS's names and with its defaults.
 * Control sends it whole; an engine replaces what it has and never writes it.
 */

/** Of drop_entry, drop_packet, secure_tcp: 0 never, 1 and 2 while the table of connections is nearly full, 3 always. */
export type Level = 0 | 1 | 2 | 3;

export interface Settings {
  /** seconds, of all services that say nothing */
  timeouts: { tcp: number; tcpFin: number; udp: number };
  /** TCP connections may begin with any packet but a RST */
  sloppyTcp: boolean;
  /** another table of TCP states, under which a connection counts only once the server has answered */
  secureTcp: Level;
  /** half-open and idle connections are ended before their time */
  dropEntry: Level;
  /** of the packets that would begin a connection some are dropped */
  dropPacket: Level;
  /** at level 3, one of so many */
  dropRate: number;
  /** a connection whose destination was removed ends at its next packet */
  expireNodestConn: boolean;
  /** a persistence template whose destination has weight 0 isn't used */
  expireQuiescentTemplate: boolean;
  /**
   * Bits: whether a SYN on a connection that is over begins another (1: in TIME_WAIT or CLOSE; 2: in FIN_WAIT too where no
   * answers are seen). 0: it goes where the connection went.
   */
  connReuseMode: number;
}

export const DEFAULTS: Settings = {
  timeouts: { tcp: 900, tcpFin: 120, udp: 300 },
  sloppyTcp: false,
  ...{ secureTcp: 0, dropEntry: 0, dropPacket: 0, dropRate: 10 },
  ...{ expireNodestConn: false, expireQuiescentTemplate: false, connReuseMode: 1 },
};
