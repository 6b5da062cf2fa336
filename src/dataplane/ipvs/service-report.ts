/** What the virtual server says of itself: the rows of `viaduct ipvsadm -L`, the same over the control socket and in the library. */
import type { TunnelChecksum, TunnelType } from './destination.js';

/** Which service: the network whose clients it serves (null: the host's own side), and where it listens. */
export interface ServiceKey {
  network: string | null;
  listen: string;
}

/**
 * Since the service or destination exists, or was set to zero. In: from clients. Packets as links carry them, those of
 * a super-packet each; bytes of IP packets.
 */
export interface ServiceCounts {
  conns: number;
  inPackets: number;
  outPackets: number;
  inBytes: number;
  outBytes: number;
}

/** A second each, averaged over some seconds as IPVS's estimator does. */
export interface ServiceRates {
  cps: number;
  inPps: number;
  outPps: number;
  inBps: number;
  outBps: number;
}

/** What a service, a destination or the virtual server as a whole has carried. */
export interface Statement {
  stats: ServiceCounts;
  rates: ServiceRates;
}

/** How many connections, or persistence templates, are in a state. */
export interface StateCount {
  protocol: ConnectionRow['protocol'];
  template: boolean;
  /** IPVS's name */
  state: string;
  count: number;
}

/** The virtual server as a whole. */
export interface VirtualServerStats extends Statement {
  /** persistence templates among them */
  connections: { size: number; capacity: number; states: StateCount[] };
  /** synchronisation with other directors; absent: there is none */
  sync?: SyncCounts[];
}

/** What a synchronisation daemon has sent or taken since it was started. */
export interface SyncCounts {
  role: 'master' | 'backup';
  messages: number;
  connections: number;
  /** messages or connections that were not taken or sent, by reason */
  refused: Record<string, number>;
}

export interface ServiceRow extends ServiceKey, Statement {
  scheduler: string;
  schedulerFlags: readonly string[];
  persistence: { timeoutSeconds: number; mask: number; engine: string | null } | null;
  onePacket: boolean;
  /** absent: it has neither health checks nor a sorry server */
  health?: ServiceHealth;
  /** in the configuration's order; the sorry server behind them while it serves */
  destinations: DestinationRow[];
}

export interface ServiceHealth {
  /** enough destinations are up */
  quorum: boolean;
  /** weights of the usable destinations */
  weight: number;
  /** the sorry server serves in their place */
  sorry: boolean;
}

export interface DestinationHealth {
  up: boolean;
  /** ISO 8601: when it came up or went down, or its checks began */
  since: string;
  /** what the last check that failed found; null: the last one went well */
  error: string | null;
}

export interface DestinationRow extends Statement {
  address: string;
  weight: number;
  /** local: it is this host itself, whatever was asked for */
  forward: 'nat' | 'local' | 'tunnel' | 'route';
  tunnel: { type: TunnelType; port: number; checksum: TunnelChecksum };
  upperThreshold: number;
  lowerThreshold: number;
  /** connections that count as active, that don't, and persistence templates */
  active: number;
  inactive: number;
  persistent: number;
  /** absent: it isn't checked */
  health?: DestinationHealth;
  /** it is wanted, but not in the service: it is down, or the sorry server serves; `ipvsadm -L` leaves it out */
  out?: true;
}

export interface ConnectionRow {
  network: string | null;
  /** ip: the template of a mark's persistence */
  protocol: 'tcp' | 'udp' | 'sctp' | 'ip';
  /** IPVS's name: ESTABLISHED, FIN_WAIT, UDP, … */
  state: string;
  expiresSeconds: number;
  /** address and port of the client, of the service as the client addressed it, and of the destination */
  source: string;
  virtual: string;
  destination: string;
  /** what the persistence engine goes by; null: none has it */
  engine: { name: string; data: string } | null;
  /** another director told of it */
  synced?: true;
}

/** A synchronisation daemon that runs. */
export interface SyncRow {
  role: 'master' | 'backup';
  interface: string;
  syncId: number;
  group: string;
  port: number;
  ttl: number;
  maxLength: number;
}

export interface VirtualServerReport {
  /** of IPVS, whose place this takes */
  version: string;
  /** connections that the table holds */
  tableSize: number;
  timeouts: { tcpSeconds: number; tcpFinSeconds: number; udpSeconds: number };
  daemons: SyncRow[];
  services: ServiceRow[];
}

export const NOTHING_CARRIED: Statement = {
  stats: { conns: 0, inPackets: 0, outPackets: 0, inBytes: 0, outBytes: 0 },
  rates: { cps: 0, inPps: 0, outPps: 0, inBps: 0, outBps: 0 },
};
